#include "schema.h"

#include "deai/cbor.h"
#include "deai/plugin.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define PATH_MAX_BYTES 256u
#define TEXT_MAX       4096u

/* Where we are, for error texts; one for each level of nesting. */
typedef struct place {
  const char *file;
  char path[PATH_MAX_BYTES];
  uint32_t depth;
  char *err;
  uint32_t err_cap;
} place;

typedef struct unit {
  const char *format;
  const char *suffix;
  uint64_t factor;
} unit;

static const unit units[] = {
    {"bytes", "GiB", UINT64_C(1) << 30},
    {"bytes", "MiB", UINT64_C(1) << 20},
    {"bytes", "KiB", UINT64_C(1) << 10},
    {"bytes", "TiB", UINT64_C(1) << 40},
    {"bytes", "", 1},
    {"duration", "ms", 1},
    {"duration", "s", 1000},
    {"duration", "m", 60000},
    {"duration", "h", 3600000},
    {"duration", "d", 86400000},
    {"share", "%", 10000},
    {"coins", "", UINT64_C(1000000000)},
    {"", "", 1},
};

static int32_t wrong(const place *at, struct fy_node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* first_token returns the first scalar in node: where it begins, near enough. */
static struct fy_token *first_token(struct fy_node *node) {
  for (uint32_t depth = 0; node != NULL && depth < DEAI_SCHEMA_DEPTH_MAX; depth++) {
    if (fy_node_is_scalar(node)) return fy_node_get_scalar_token(node);
    if (fy_node_is_sequence(node)) {
      node = fy_node_sequence_get_by_index(node, 0);
    } else {
      struct fy_node_pair *pair = fy_node_mapping_get_by_index(node, 0);
      node = pair != NULL ? fy_node_pair_key(pair) : NULL;
    }
  }
  return NULL;
}

static int32_t wrong(const place *at, struct fy_node *node, const char *format, ...) {
  char text[DEAI_ERR_CAP];
  va_list list;
  va_start(list, format);
  (void)vsnprintf(text, sizeof text, format, list);
  va_end(list);
  struct fy_token *token = first_token(node);
  const struct fy_mark *mark = token != NULL ? fy_token_start_mark(token) : NULL;
  int line = mark != NULL ? mark->line + 1 : 1;
  int column = mark != NULL ? mark->column + 1 : 1;
  return deai_err(at->err, at->err_cap, DEAI_EINVAL, "%s:%d:%d: %s: %s", at->file, line, column,
                  at->path[0] != 0 ? at->path : "the document", text);
}

/* unit_number reads digits with an optional fraction and multiplies by factor, exactly. */
static int32_t unit_number(const char *text, size_t len, uint64_t factor, uint64_t *out) {
  uint64_t value = 0;
  uint64_t scale = 0; /* 10^digits after the point */
  if (len == 0 || len > 20 || text[0] == '.') return DEAI_EINVAL;
  for (size_t i = 0; i < len; i++) {
    if (text[i] == '.' && scale == 0 && i + 1 < len) {
      scale = 1;
      continue;
    }
    if (text[i] < '0' || text[i] > '9') return DEAI_EINVAL;
    if (value > (UINT64_MAX - 9) / 10) return DEAI_EINVAL;
    value = value * 10 + (uint64_t)(text[i] - '0');
    if (scale > 0) scale *= 10;
  }
  if (scale == 0) scale = 1;
  uint64_t product = 0;
  if (__builtin_mul_overflow(value, factor, &product)) return DEAI_EINVAL;
  if (product % scale != 0 || product / scale > INT64_MAX) return DEAI_EINVAL;
  *out = product / scale;
  return DEAI_OK;
}

int32_t deai_schema_unit(const char *text, const char *format, uint64_t *out) {
  size_t digits = strspn(text, "0123456789.");
  for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
    if (strcmp(units[i].format, format) != 0 || strcmp(units[i].suffix, text + digits) != 0)
      continue;
    return unit_number(text, digits, units[i].factor, out);
  }
  return DEAI_EINVAL;
}

static const char *schema_text(const json_t *schema, const char *key) {
  const char *text = json_string_value(json_object_get(schema, key));
  return text == NULL ? "" : text;
}

static uint64_t schema_number(const json_t *schema, const char *key, uint64_t absent) {
  const json_t *value = json_object_get(schema, key);
  json_int_t number = json_integer_value(value);
  return json_is_integer(value) && number >= 0 ? (uint64_t)number : absent;
}

/* ---- the schema itself ---- */

static int32_t check_level(json_t *schema, uint32_t depth, char *err, uint32_t err_cap);

static int32_t check_keys(json_t *schema, char *err, uint32_t err_cap) {
  static const char *const known[] = {
      "type",      "properties",  "required", "additionalProperties",
      "items",     "maxItems",    "enum",     "minLength",
      "maxLength", "minimum",     "maximum",  "format",
      "default",   "description", "secret"};
  const char *key = NULL;
  json_t *value = NULL;
  json_object_foreach(schema, key, value) {
    bool found = false;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
      found = found || !strcmp(key, known[i]);
    if (!found)
      return deai_err(err, err_cap, DEAI_EUNSUPPORTED, "schema: \"%s\" is not in the subset", key);
  }
  return DEAI_OK;
}

/* check_texts refuses a list of texts that holds anything else. */
static int32_t check_texts(const json_t *schema, const char *key, char *err, uint32_t err_cap) {
  const json_t *list = json_object_get(schema, key);
  bool good = list == NULL || json_is_array(list);
  for (size_t i = 0; good && i < json_array_size(list); i++)
    good = json_is_string(json_array_get(list, i));
  if (good) return DEAI_OK;
  return deai_err(err, err_cap, DEAI_EINVAL, "schema: expected a list of texts in \"%s\"", key);
}

static int32_t check_object(json_t *schema, uint32_t depth, char *err, uint32_t err_cap) {
  json_t *properties = json_object_get(schema, "properties");
  json_t *others = json_object_get(schema, "additionalProperties");
  const char *key = NULL;
  json_t *value = NULL;
  if (json_object_size(properties) > DEAI_SCHEMA_KEYS_MAX)
    return deai_err(err, err_cap, DEAI_EINVAL, "schema: expected at most %u properties",
                    DEAI_SCHEMA_KEYS_MAX);
  json_object_foreach(properties, key, value) {
    if (key[0] == 0 || strlen(key) > DEAI_NAME_MAX)
      return deai_err(err, err_cap, DEAI_EINVAL, "schema: expected keys of 1 to %u bytes",
                      DEAI_NAME_MAX);
    int32_t status = check_level(value, depth + 1, err, err_cap);
    if (status != DEAI_OK) return status;
  }
  return others == NULL || json_is_false(others) ? DEAI_OK
                                                 : check_level(others, depth + 1, err, err_cap);
}

static int32_t check_level(json_t *schema, uint32_t depth, char *err, uint32_t err_cap) {
  const char *type = schema_text(schema, "type");
  if (!json_is_object(schema) || depth > DEAI_SCHEMA_DEPTH_MAX)
    return deai_err(err, err_cap, DEAI_EINVAL, "schema: expected an object, at most %u deep",
                    DEAI_SCHEMA_DEPTH_MAX);
  int32_t status = check_keys(schema, err, err_cap);
  if (status == DEAI_OK) status = check_texts(schema, "enum", err, err_cap);
  if (status == DEAI_OK) status = check_texts(schema, "required", err, err_cap);
  if (status != DEAI_OK) return status;
  if (!strcmp(type, "object")) return check_object(schema, depth, err, err_cap);
  if (!strcmp(type, "array"))
    return check_level(json_object_get(schema, "items"), depth + 1, err, err_cap);
  if (!strcmp(type, "string") || !strcmp(type, "boolean") || !strcmp(type, "integer"))
    return DEAI_OK;
  return deai_err(err, err_cap, DEAI_EUNSUPPORTED, "schema: the type \"%s\" is not in the subset",
                  type);
}

int32_t deai_schema_check(json_t *schema, char *err, uint32_t err_cap) {
  return check_level(schema, 0, err, err_cap);
}

/* ---- values ---- */

static int32_t apply_level(json_t *schema, struct fy_node *node, const place *at,
                           deai_cbor_writer *writer);

static const char *node_text(struct fy_node *node, char room[TEXT_MAX]) {
  size_t len = 0;
  const char *text = fy_node_get_scalar(node, &len);
  if (text == NULL || len >= TEXT_MAX) return NULL;
  memcpy(room, text, len);
  room[len] = 0;
  return room;
}

static int32_t apply_string(json_t *schema, struct fy_node *node, const place *at,
                            deai_cbor_writer *writer) {
  char room[TEXT_MAX];
  const char *text = node == NULL ? schema_text(schema, "default") : node_text(node, room);
  json_t *choices = json_object_get(schema, "enum");
  if (text == NULL) return wrong(at, node, "expected a text below %u bytes", TEXT_MAX);
  uint64_t len = strlen(text);
  if (len < schema_number(schema, "minLength", 0) ||
      len > schema_number(schema, "maxLength", TEXT_MAX))
    return wrong(at, node, "expected %" PRIu64 " to %" PRIu64 " bytes, found %" PRIu64,
                 schema_number(schema, "minLength", 0),
                 schema_number(schema, "maxLength", TEXT_MAX), len);
  bool found = choices == NULL;
  char list[256] = "";
  for (size_t i = 0; i < json_array_size(choices); i++) {
    const char *choice = json_string_value(json_array_get(choices, i));
    size_t used = strlen(list);
    found = found || !strcmp(choice, text);
    (void)snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "",
                   choice[0] != 0 ? choice : "\"\"");
  }
  if (!found) return wrong(at, node, "expected one of %s, found \"%s\"", list, text);
  if (!deai_utf8_check(deai_str_of(text))) return wrong(at, node, "expected UTF-8");
  deai_cbor_put_text(writer, deai_str_of(text));
  return DEAI_OK;
}

static int32_t apply_integer(json_t *schema, struct fy_node *node, const place *at,
                             deai_cbor_writer *writer) {
  char room[TEXT_MAX];
  const char *format = schema_text(schema, "format");
  const json_t *preset = json_object_get(schema, "default");
  uint64_t value = schema_number(schema, "default", 0);
  const char *text = node == NULL ? json_string_value(preset) : node_text(node, room);
  if (node != NULL || text != NULL) {
    if (text == NULL || deai_schema_unit(text, format, &value) != DEAI_OK)
      return wrong(at, node, "expected a whole number%s%s, found \"%s\"",
                   format[0] != 0 ? " with a unit of " : "", format,
                   text != NULL ? text : "a list or map");
  }
  uint64_t least = schema_number(schema, "minimum", 0);
  uint64_t most = schema_number(schema, "maximum", INT64_MAX);
  if (value < least || value > most)
    return wrong(at, node, "expected %" PRIu64 " to %" PRIu64 ", found %" PRIu64, least, most,
                 value);
  deai_cbor_put_uint(writer, value);
  return DEAI_OK;
}

static int32_t apply_boolean(json_t *schema, struct fy_node *node, const place *at,
                             deai_cbor_writer *writer) {
  char room[TEXT_MAX];
  bool value = json_is_true(json_object_get(schema, "default"));
  const char *text = node == NULL ? NULL : node_text(node, room);
  if (node != NULL) {
    if (text == NULL || (strcmp(text, "true") != 0 && strcmp(text, "false") != 0))
      return wrong(at, node, "expected true or false, found \"%s\"",
                   text != NULL ? text : "a list or map");
    value = strcmp(text, "true") == 0;
  }
  deai_cbor_put_bool(writer, value);
  return DEAI_OK;
}

static place place_below(const place *at, const char *key) {
  place below = *at;
  size_t len = strlen(at->path);
  (void)snprintf(below.path + len, sizeof below.path - len, "%s%s", len > 0 ? "." : "", key);
  below.depth++;
  return below;
}

static int32_t apply_array(json_t *schema, struct fy_node *node, const place *at,
                           deai_cbor_writer *writer) {
  int count = 0;
  if (node != NULL && !fy_node_is_sequence(node)) return wrong(at, node, "expected a list");
  if (node != NULL) count = fy_node_sequence_item_count(node);
  uint64_t most = schema_number(schema, "maxItems", DEAI_SCHEMA_LIST_MAX);
  if (count < 0 || (uint64_t)count > most)
    return wrong(at, node, "expected at most %" PRIu64 " items, found %d", most, count);
  deai_cbor_put_array(writer, (uint64_t)count);
  for (int i = 0; i < count; i++) {
    char index[16];
    (void)snprintf(index, sizeof index, "%d", i);
    place below = place_below(at, index);
    int32_t status = apply_level(json_object_get(schema, "items"),
                                 fy_node_sequence_get_by_index(node, i), &below, writer);
    if (status != DEAI_OK) return status;
  }
  return DEAI_OK;
}

/* One key of an object with its schema and what was written for it. */
typedef struct member {
  char key[DEAI_NAME_MAX + 1];
  json_t *schema;
  struct fy_node *node;
} member;

static int member_order(const void *a, const void *b) {
  const member *one = a;
  const member *two = b;
  size_t len_one = strlen(one->key);
  size_t len_two = strlen(two->key);
  if (len_one != len_two) return len_one < len_two ? -1 : 1;
  return strcmp(one->key, two->key);
}

/* check_required refuses a map that lacks a key which the schema requires. */
static int32_t check_required(json_t *schema, struct fy_node *node, const place *at) {
  json_t *required = json_object_get(schema, "required");
  for (size_t i = 0; i < json_array_size(required); i++) {
    const char *key = json_string_value(json_array_get(required, i));
    place below = place_below(at, key);
    if (node == NULL || fy_node_mapping_lookup_by_string(node, key, strlen(key)) == NULL)
      return wrong(&below, node, "expected this key, found none; add it");
  }
  return DEAI_OK;
}

/* members_declared collects the declared keys: those written, and those with a default. */
static void members_declared(json_t *schema, struct fy_node *node, member *list, uint32_t *count) {
  const char *key = NULL;
  json_t *value = NULL;
  json_object_foreach(json_object_get(schema, "properties"), key, value) {
    struct fy_node *found =
        node == NULL ? NULL : fy_node_mapping_lookup_by_string(node, key, strlen(key));
    bool preset = json_object_get(value, "default") != NULL ||
                  !strcmp(schema_text(value, "type"), "object") ||
                  !strcmp(schema_text(value, "type"), "array");
    if (found == NULL && !preset) continue;
    (void)snprintf(list[*count].key, sizeof list[*count].key, "%s", key);
    list[*count].schema = value;
    list[(*count)++].node = found;
  }
}

static int32_t member_other(json_t *schema, struct fy_node_pair *pair, const place *at,
                            member *list, uint32_t *count) {
  char room[TEXT_MAX];
  json_t *others = json_object_get(schema, "additionalProperties");
  struct fy_node *key_node = fy_node_pair_key(pair);
  const char *key = key_node != NULL ? node_text(key_node, room) : NULL;
  if (key == NULL || fy_node_is_alias(key_node) || key[0] == 0 || strlen(key) > DEAI_NAME_MAX)
    return wrong(at, key_node, "expected a key of 1 to %u bytes", DEAI_NAME_MAX);
  if (json_object_get(json_object_get(schema, "properties"), key) != NULL) return DEAI_OK;
  if (!json_is_object(others))
    return wrong(at, key_node, "expected no key \"%s\"; remove it or mend its spelling", key);
  if (*count == DEAI_SCHEMA_KEYS_MAX)
    return wrong(at, key_node, "expected at most %u keys", DEAI_SCHEMA_KEYS_MAX);
  (void)snprintf(list[*count].key, sizeof list[*count].key, "%s", key);
  list[*count].schema = others;
  list[(*count)++].node = fy_node_pair_value(pair);
  return DEAI_OK;
}

static bool node_is_null(struct fy_node *node) {
  char room[TEXT_MAX];
  if (node == NULL || fy_node_is_null(node)) return true;
  const char *text = fy_node_is_scalar(node) ? node_text(node, room) : NULL;
  return text != NULL && text[0] == 0;
}

static int32_t apply_object(json_t *schema, struct fy_node *node, const place *at,
                            deai_cbor_writer *writer) {
  uint32_t count = 0;
  void *iterator = NULL;
  struct fy_node_pair *pair = NULL;
  if (node_is_null(node)) node = NULL;
  if (node != NULL && !fy_node_is_mapping(node)) return wrong(at, node, "expected a map of keys");
  member *list = calloc(DEAI_SCHEMA_KEYS_MAX, sizeof *list);
  if (list == NULL) return DEAI_ENOMEM;
  int32_t status = check_required(schema, node, at);
  members_declared(schema, node, list, &count);
  while (status == DEAI_OK && node != NULL &&
         (pair = fy_node_mapping_iterate(node, &iterator)) != NULL)
    status = member_other(schema, pair, at, list, &count);
  if (status == DEAI_OK) {
    qsort(list, count, sizeof *list, member_order);
    deai_cbor_put_map(writer, count);
  }
  for (uint32_t i = 0; i < count && status == DEAI_OK; i++) {
    place below = place_below(at, list[i].key);
    deai_cbor_put_text(writer, deai_str_of(list[i].key));
    status = apply_level(list[i].schema, list[i].node, &below, writer);
  }
  free(list);
  return status;
}

static int32_t apply_level(json_t *schema, struct fy_node *node, const place *at,
                           deai_cbor_writer *writer) {
  const char *type = schema_text(schema, "type");
  if (at->depth > DEAI_SCHEMA_DEPTH_MAX) return wrong(at, node, "expected less nesting");
  if (node != NULL && fy_node_is_alias(node))
    return wrong(at, node, "expected a value, found an alias; write it out");
  if (!strcmp(type, "object")) return apply_object(schema, node, at, writer);
  if (!strcmp(type, "array")) return apply_array(schema, node, at, writer);
  if (!strcmp(type, "integer")) return apply_integer(schema, node, at, writer);
  if (!strcmp(type, "boolean")) return apply_boolean(schema, node, at, writer);
  return apply_string(schema, node, at, writer);
}

int32_t deai_schema_apply(json_t *schema, struct fy_node *node, const char *file, const char *path,
                          deai_buf out, uint64_t *len_out, char *err, uint32_t err_cap) {
  place at = {.file = file, .err = err, .err_cap = err_cap};
  (void)snprintf(at.path, sizeof at.path, "%s", path);
  deai_cbor_writer writer = deai_cbor_writer_of(out);
  int32_t status = apply_level(schema, node, &at, &writer);
  if (status == DEAI_OK && writer.status != DEAI_OK)
    status = wrong(&at, NULL, "expected at most %" PRIu64 " bytes of settings", out.cap);
  *len_out = writer.len;
  return status;
}
