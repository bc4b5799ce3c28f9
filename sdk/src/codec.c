#include "deai/codec.h"

#include <stdarg.h>
#include <stdio.h>

#define FRAMES_MAX     40 /* open structs and lists: two a level of nesting, and bare tables */
#define FIELDS_MAX     64 /* bits of `has` */
#define SUB_TABLES_MAX 16 /* nesting of tables */
#define ARENA_ALIGN    UINT64_C(16)

static const deai_field signed_fields[] = {
    DEAI_F_BYTES(deai_signed, body, NULL, 1, UINT32_MAX),
    DEAI_F_FIXED(deai_signed, key, NULL, DEAI_KEY_BYTES),
    DEAI_F_FIXED(deai_signed, sig, NULL, DEAI_SIG_BYTES),
};
const deai_table deai_signed_table = DEAI_TABLE_TUPLE("signed", deai_signed, signed_fields);

/* What is open: a struct whose fields are walked, or a list of structs. */
typedef struct frame {
  const deai_table *table;
  uint8_t *value;      /* the struct, or the first item of the list */
  uint64_t left;       /* pairs of a decoded map, or items of a list, still to come */
  uint64_t count;      /* items of a list */
  uint32_t next_field; /* of a struct */
  uint8_t is_list;
} frame;

typedef struct codec {
  frame frames[FRAMES_MAX];
  uint32_t depth;
  deai_cbor_reader reader; /* decode */
  deai_arena *arena;
  deai_cbor_writer *writer; /* encode */
  char *err;
  uint32_t err_cap;
} codec;

static const char *const kind_names[] = {
    "an integer", "a negative integer", "bytes", "a text", "a list", "a map", "a CID", "a bool"};

static int32_t fail(const codec *state, int32_t status, const deai_table *table,
                    const deai_field *field, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

static int32_t fail(const codec *state, int32_t status, const deai_table *table,
                    const deai_field *field, const char *format, ...) {
  va_list args;
  int used;
  if (state->err == NULL || state->err_cap == 0) return status;
  if (field == NULL || field->key == NULL) {
    long at = field == NULL ? 0 : (long)(field - table->fields);
    used = field == NULL ? snprintf(state->err, state->err_cap, "%s: ", table->name)
                         : snprintf(state->err, state->err_cap, "%s.%ld: ", table->name, at);
  } else {
    used = snprintf(state->err, state->err_cap, "%s.%s: ", table->name, field->key);
  }
  if (used < 0 || (uint32_t)used >= state->err_cap) return status;
  va_start(args, format);
  (void)vsnprintf(state->err + used, state->err_cap - (uint32_t)used, format, args);
  va_end(args);
  return status;
}

static uint64_t kind_size(uint32_t kind, uint64_t fixed, const deai_table *sub) {
  switch (kind) {
  case DEAI_FIELD_UINT:
  case DEAI_FIELD_INT:
    return sizeof(uint64_t);
  case DEAI_FIELD_BOOL:
    return 1;
  case DEAI_FIELD_TEXT:
    return sizeof(deai_str);
  case DEAI_FIELD_BYTES:
  case DEAI_FIELD_CID:
  case DEAI_FIELD_ANY:
    return sizeof(deai_bytes);
  case DEAI_FIELD_FIXED:
    return fixed;
  case DEAI_FIELD_STRUCT:
    return sub != NULL ? sub->size : 0;
  case DEAI_FIELD_ENUM:
    return sizeof(uint32_t);
  case DEAI_FIELD_LIST:
  case DEAI_FIELD_TEXT_MAP:
  case DEAI_FIELD_UINT_MAP:
    return sizeof(deai_list);
  default:
    return 0;
  }
}

static uint64_t item_size(const deai_field *field) {
  return kind_size(field->item, field->item_max, field->sub);
}

/* The limits of one value: of the field itself, or of one item of its list. */
typedef struct limits {
  uint32_t kind;
  uint64_t min;
  uint64_t max;
} limits;

static limits limits_field(const deai_field *field) {
  limits out = {field->kind, field->min, field->max};
  return out;
}

static limits limits_item(const deai_field *field) {
  limits out = {field->item, 0, field->item_max};
  if (field->item == DEAI_FIELD_FIXED) out.min = field->item_max;
  if (field->item == DEAI_FIELD_CID) {
    out.min = 1;
    if (out.max == 0 || out.max > DEAI_CID_MAX) out.max = DEAI_CID_MAX;
  }
  if (field->item == DEAI_FIELD_ANY) out.min = 1;
  return out;
}

void *deai_arena_take(deai_arena *arena, uint64_t len) {
  if (arena == NULL || arena->used > arena->cap) return NULL;
  uint64_t left = arena->cap - arena->used;
  if (len > left) return NULL;
  uint64_t whole = (len + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
  void *out = arena->base + arena->used;
  arena->used += whole > left ? left : whole;
  return out;
}

static int32_t push(codec *state, const deai_table *table, uint8_t *value, uint64_t count,
                    uint8_t is_list) {
  if (state->depth == FRAMES_MAX)
    return fail(state, DEAI_EINVAL, table, NULL, "expected at most %d levels, found more",
                FRAMES_MAX);
  frame top = {table, value, count, count, 0, is_list};
  state->frames[state->depth++] = top;
  return DEAI_OK;
}

static int32_t has_optional(const deai_table *table) {
  for (uint32_t i = 0; i < table->field_count; i++) {
    if (table->fields[i].optional) return 1;
  }
  return 0;
}

static uint64_t has_of(const deai_table *table, const uint8_t *value) {
  uint64_t has = UINT64_MAX;
  if (has_optional(table)) memcpy(&has, value, sizeof has);
  return has;
}

static int32_t field_present(const deai_table *table, uint32_t at, uint64_t has) {
  return !table->fields[at].optional || (has >> at & 1u) != 0;
}

/* ---- decode ---- */

static int32_t wrong_kind(const codec *state, const frame *top, const deai_field *field,
                          const char *expected, int32_t kind) {
  const char *found = kind < 0 || kind > 7 ? "the end" : kind_names[kind];
  return fail(state, DEAI_EINVAL, top->table, field, "expected %s, found %s", expected, found);
}

static int32_t out_of_range(const codec *state, const deai_table *table, const deai_field *field,
                            const char *what, const limits *range, uint64_t found) {
  return fail(state, DEAI_EINVAL, table, field, "expected %s of %llu to %llu, found %llu", what,
              (unsigned long long)range->min, (unsigned long long)range->max,
              (unsigned long long)found);
}

static int32_t decode_int(const codec *state, const frame *top, const deai_field *field,
                          const deai_cbor_item *item, uint8_t *out) {
  int64_t value;
  if (item->kind != DEAI_CBOR_UINT && item->kind != DEAI_CBOR_NEGINT)
    return wrong_kind(state, top, field, "an integer", item->kind);
  if (item->number > INT64_MAX)
    return fail(state, DEAI_EINVAL, top->table, field, "expected 64 bits with sign, found more");
  value = item->kind == DEAI_CBOR_UINT ? (int64_t)item->number : -1 - (int64_t)item->number;
  memcpy(out, &value, sizeof value);
  return DEAI_OK;
}

static int32_t decode_enum(const codec *state, const frame *top, const deai_field *field,
                           const deai_cbor_item *item, uint8_t *out) {
  if (item->kind != DEAI_CBOR_TEXT) return wrong_kind(state, top, field, "a text", item->kind);
  deai_str text = {(const char *)item->span.ptr, item->span.len};
  for (uint32_t i = 0; field->names[i] != NULL; i++) {
    if (deai_str_eq(text, deai_str_of(field->names[i]))) {
      memcpy(out, &i, sizeof i);
      return DEAI_OK;
    }
  }
  int shown = text.len > 32 ? 32 : (int)text.len;
  return fail(state, DEAI_EINVAL, top->table, field,
              "expected %s or another known word, found %.*s", field->names[0], shown, text.ptr);
}

static int32_t decode_uint(const codec *state, const frame *top, const deai_field *field,
                           const limits *range, const deai_cbor_item *item, uint8_t *out) {
  if (item->kind != DEAI_CBOR_UINT)
    return wrong_kind(state, top, field, "an unsigned integer", item->kind);
  if (item->number < range->min || item->number > range->max)
    return out_of_range(state, top->table, field, "a number", range, item->number);
  memcpy(out, &item->number, sizeof item->number);
  return DEAI_OK;
}

static int32_t decode_bool(const codec *state, const frame *top, const deai_field *field,
                           const deai_cbor_item *item, uint8_t *out) {
  if (item->kind != DEAI_CBOR_SIMPLE || item->number > 21)
    return wrong_kind(state, top, field, "true or false", item->kind);
  *out = item->number == 21;
  return DEAI_OK;
}

static int32_t decode_span(const codec *state, const frame *top, const deai_field *field,
                           const limits *range, const deai_cbor_item *item, uint8_t *out) {
  int32_t wanted = range->kind == DEAI_FIELD_TEXT ? DEAI_CBOR_TEXT : DEAI_CBOR_BYTES;
  deai_bytes span = item->span;
  if (item->kind != wanted) return wrong_kind(state, top, field, kind_names[wanted], item->kind);
  if (range->kind == DEAI_FIELD_CID) span = deai_bytes_of(span.ptr + 1, span.len - 1);
  if (span.len < range->min || span.len > range->max)
    return out_of_range(state, top->table, field, "a length", range, span.len);
  if (range->kind == DEAI_FIELD_FIXED) {
    if (span.len > 0) memcpy(out, span.ptr, (size_t)span.len);
  } else if (range->kind == DEAI_FIELD_TEXT) {
    deai_str text = {(const char *)span.ptr, span.len};
    memcpy(out, &text, sizeof text);
  } else {
    memcpy(out, &span, sizeof span);
  }
  return DEAI_OK;
}

static int32_t decode_any(codec *state, const frame *top, const deai_field *field,
                          const limits *range, uint8_t *out) {
  deai_bytes span;
  if (deai_cbor_skip(&state->reader, &span) != DEAI_OK)
    return fail(state, DEAI_EINVAL, top->table, field, "expected an item, found: %s",
                state->reader.why);
  if (span.len < range->min || span.len > range->max)
    return out_of_range(state, top->table, field, "an item with a length", range, span.len);
  memcpy(out, &span, sizeof span);
  return DEAI_OK;
}

/* Reads one value that holds no struct. */
static int32_t decode_plain(codec *state, const frame *top, const deai_field *field, limits range,
                            uint8_t *out) {
  deai_cbor_item item;
  if (range.kind == DEAI_FIELD_ANY) return decode_any(state, top, field, &range, out);
  int32_t kind = deai_cbor_peek(&state->reader);
  if (range.kind == DEAI_FIELD_CID && kind != DEAI_CBOR_TAG)
    return wrong_kind(state, top, field, "a CID", kind);
  if (deai_cbor_next(&state->reader, &item) != DEAI_OK)
    return fail(state, DEAI_EINVAL, top->table, field, "%s", state->reader.why);
  switch (range.kind) {
  case DEAI_FIELD_UINT:
    return decode_uint(state, top, field, &range, &item, out);
  case DEAI_FIELD_INT:
    return decode_int(state, top, field, &item, out);
  case DEAI_FIELD_BOOL:
    return decode_bool(state, top, field, &item, out);
  case DEAI_FIELD_ENUM:
    return decode_enum(state, top, field, &item, out);
  case DEAI_FIELD_CID:
    if (deai_cbor_next(&state->reader, &item) != DEAI_OK)
      return fail(state, DEAI_EINVAL, top->table, field, "%s", state->reader.why);
    break;
  default:
    break;
  }
  return decode_span(state, top, field, &range, &item, out);
}

/* Reads the head of a list or map and takes room for its items. */
static int32_t decode_list_head(codec *state, const frame *top, const deai_field *field,
                                int32_t kind, uint64_t each, deai_list *list) {
  deai_cbor_item item;
  limits range = limits_field(field);
  memset(list, 0, sizeof *list);
  if (deai_cbor_next(&state->reader, &item) != DEAI_OK)
    return fail(state, DEAI_EINVAL, top->table, field, "%s", state->reader.why);
  if (item.kind != kind) return wrong_kind(state, top, field, kind_names[kind], item.kind);
  if (item.number < range.min || item.number > range.max)
    return out_of_range(state, top->table, field, "a count", &range, item.number);
  list->count = item.number;
  if (item.number == 0) return DEAI_OK;
  if (each != 0 && item.number > UINT64_MAX / each) return DEAI_ENOMEM;
  list->items = deai_arena_take(state->arena, item.number * each);
  if (list->items == NULL)
    return fail(state, DEAI_ENOMEM, top->table, field, "no room for %llu items",
                (unsigned long long)item.number);
  memset(list->items, 0, (size_t)(item.number * each));
  return DEAI_OK;
}

static int32_t decode_list(codec *state, const frame *top, const deai_field *field, uint8_t *out) {
  deai_list list;
  uint64_t each = item_size(field);
  int32_t status = decode_list_head(state, top, field, DEAI_CBOR_ARRAY, each, &list);
  if (status != DEAI_OK) return status;
  memcpy(out, &list, sizeof list);
  if (field->item == DEAI_FIELD_STRUCT) return push(state, field->sub, list.items, list.count, 1);
  limits range = limits_item(field);
  for (uint64_t i = 0; i < list.count && status == DEAI_OK; i++)
    status = decode_plain(state, top, field, range, (uint8_t *)list.items + i * each);
  return status;
}

static int32_t decode_pairs(codec *state, const frame *top, const deai_field *field, uint8_t *out) {
  deai_list list;
  int32_t is_text = field->kind == DEAI_FIELD_TEXT_MAP;
  uint64_t each = is_text ? sizeof(deai_text_pair) : sizeof(deai_uint_pair);
  uint64_t value_at = is_text ? offsetof(deai_text_pair, value) : offsetof(deai_uint_pair, value);
  limits key = {DEAI_FIELD_TEXT, 0, is_text ? field->item_max : DEAI_NAME_MAX};
  limits value = {is_text ? DEAI_FIELD_TEXT : DEAI_FIELD_UINT, 0, field->item_max};
  int32_t status = decode_list_head(state, top, field, DEAI_CBOR_MAP, each, &list);
  if (status != DEAI_OK) return status;
  memcpy(out, &list, sizeof list);
  for (uint64_t i = 0; i < list.count && status == DEAI_OK; i++) {
    uint8_t *pair = (uint8_t *)list.items + i * each;
    status = decode_plain(state, top, field, key, pair);
    if (status == DEAI_OK) status = decode_plain(state, top, field, value, pair + value_at);
  }
  return status;
}

/* Opens the struct of table at out: reads its head and pushes its frame. */
static int32_t decode_open(codec *state, const deai_table *table, uint8_t *out) {
  deai_cbor_item item;
  if (table->form == DEAI_FORM_BARE) return push(state, table, out, 1, 0);
  if (deai_cbor_next(&state->reader, &item) != DEAI_OK)
    return fail(state, DEAI_EINVAL, table, NULL, "%s", state->reader.why);
  int32_t wanted = table->form == DEAI_FORM_MAP ? DEAI_CBOR_MAP : DEAI_CBOR_ARRAY;
  if (item.kind != wanted)
    return fail(state, DEAI_EINVAL, table, NULL, "expected %s, found %s", kind_names[wanted],
                kind_names[item.kind]);
  if (table->form == DEAI_FORM_TUPLE && item.number != table->field_count)
    return fail(state, DEAI_EINVAL, table, NULL, "expected %u items, found %llu",
                table->field_count, (unsigned long long)item.number);
  return push(state, table, out, item.number, 0);
}

/* top is a copy: pushing a frame may not move what this function still reads. */
static int32_t decode_field(codec *state, frame top, uint32_t at) {
  const deai_field *field = &top.table->fields[at];
  uint8_t *out = top.value + field->offset;
  if (field->optional) {
    uint64_t has = has_of(top.table, top.value) | (uint64_t)1 << at;
    memcpy(top.value, &has, sizeof has);
  }
  switch (field->kind) {
  case DEAI_FIELD_STRUCT:
    return decode_open(state, field->sub, out);
  case DEAI_FIELD_LIST:
    return decode_list(state, &top, field, out);
  case DEAI_FIELD_TEXT_MAP:
  case DEAI_FIELD_UINT_MAP:
    return decode_pairs(state, &top, field, out);
  default:
    return decode_plain(state, &top, field, limits_field(field), out);
  }
}

static int key_compare(deai_str a, deai_str b) {
  if (a.len != b.len) return a.len < b.len ? -1 : 1;
  return a.len == 0 ? 0 : memcmp(a.ptr, b.ptr, (size_t)a.len);
}

static int32_t decode_unknown(codec *state, const frame *top, deai_str key) {
  if (top->table->ignore_unknown) {
    if (deai_cbor_skip(&state->reader, NULL) == DEAI_OK) return DEAI_OK;
    return fail(state, DEAI_EINVAL, top->table, NULL, "%s", state->reader.why);
  }
  int shown = key.len > 32 ? 32 : (int)key.len;
  return fail(state, DEAI_EINVAL, top->table, NULL, "expected only known keys, found %.*s", shown,
              key.ptr);
}

/* Passes the fields from top->next_field on whose keys stand before key (all that are left when
   key is NULL); each must be optional. */
static int32_t decode_pass(codec *state, frame *top, const deai_str *key) {
  const deai_table *table = top->table;
  while (top->next_field < table->field_count) {
    const deai_field *field = &table->fields[top->next_field];
    if (key != NULL && key_compare(deai_str_of(field->key), *key) >= 0) break;
    if (!field->optional)
      return fail(state, DEAI_EINVAL, table, field, "expected this key, found none");
    top->next_field++;
  }
  return DEAI_OK;
}

/* One step of a map: its next pair, or its end. */
static int32_t decode_map_step(codec *state, frame *top) {
  deai_cbor_item item;
  if (top->left == 0) {
    int32_t status = decode_pass(state, top, NULL);
    state->depth--;
    return status;
  }
  top->left--;
  if (deai_cbor_next(&state->reader, &item) != DEAI_OK || item.kind != DEAI_CBOR_TEXT)
    return fail(state, DEAI_EINVAL, top->table, NULL, "expected a text as key");
  deai_str key = {(const char *)item.span.ptr, item.span.len};
  int32_t status = decode_pass(state, top, &key);
  if (status != DEAI_OK) return status;
  uint32_t at = top->next_field;
  if (at < top->table->field_count &&
      key_compare(deai_str_of(top->table->fields[at].key), key) == 0) {
    top->next_field++;
    return decode_field(state, *top, at);
  }
  return decode_unknown(state, top, key);
}

static int32_t decode_step(codec *state) {
  frame *top = &state->frames[state->depth - 1];
  if (top->is_list) {
    if (top->left == 0) {
      state->depth--;
      return DEAI_OK;
    }
    uint64_t at = top->count - top->left--;
    return decode_open(state, top->table, top->value + at * top->table->size);
  }
  if (top->table->form == DEAI_FORM_MAP) return decode_map_step(state, top);
  if (top->next_field == top->table->field_count) {
    state->depth--;
    return DEAI_OK;
  }
  uint32_t at = top->next_field++;
  return decode_field(state, *top, at);
}

int32_t deai_decode(const deai_table *table, deai_bytes bytes, void *out, deai_arena *arena,
                    char *err, uint32_t err_cap) {
  codec state;
  const char *why = NULL;
  uint64_t used = arena != NULL ? arena->used : 0;
  state.depth = 0;
  state.arena = arena;
  state.writer = NULL;
  state.err = err;
  state.err_cap = err_cap;
  state.reader = deai_cbor_reader_of(bytes);
  memset(out, 0, table->size);
  if (err != NULL && err_cap > 0) err[0] = 0;
  if (deai_cbor_check(bytes, 0, &why) != DEAI_OK)
    return fail(&state, DEAI_EINVAL, table, NULL, "expected strict DAG-CBOR, found: %s", why);
  int32_t status = decode_open(&state, table, out);
  while (status == DEAI_OK && state.depth > 0)
    status = decode_step(&state);
  if (status != DEAI_OK && arena != NULL) arena->used = used;
  return status;
}

/* ---- encode ---- */

static int32_t encode_span(codec *state, const frame *top, const deai_field *field,
                           const limits *range, const uint8_t *value) {
  deai_bytes span;
  if (range->kind == DEAI_FIELD_FIXED) {
    span = deai_bytes_of(value, range->max);
  } else {
    memcpy(&span, value, sizeof span);
  }
  if (span.len < range->min || span.len > range->max)
    return out_of_range(state, top->table, field, "a length", range, span.len);
  deai_str text = {(const char *)span.ptr, span.len};
  if (range->kind == DEAI_FIELD_TEXT) {
    deai_cbor_put_text(state->writer, text);
  } else if (range->kind == DEAI_FIELD_CID) {
    deai_cbor_put_cid(state->writer, span);
  } else if (range->kind == DEAI_FIELD_ANY) {
    if (deai_cbor_check(span, 0, NULL) != DEAI_OK)
      return fail(state, DEAI_EINVAL, top->table, field, "expected one strict item, found another");
    deai_cbor_put_raw(state->writer, span);
  } else {
    deai_cbor_put_bytes(state->writer, span);
  }
  return DEAI_OK;
}

static int32_t encode_enum(codec *state, const frame *top, const deai_field *field,
                           const uint8_t *value) {
  uint32_t index;
  memcpy(&index, value, sizeof index);
  for (uint32_t i = 0; field->names[i] != NULL; i++) {
    if (i != index) continue;
    deai_cbor_put_text(state->writer, deai_str_of(field->names[i]));
    return DEAI_OK;
  }
  return fail(state, DEAI_EINVAL, top->table, field, "expected the index of a word, found %u",
              index);
}

static int32_t encode_number(codec *state, const frame *top, const deai_field *field,
                             const limits *range, const uint8_t *value) {
  uint64_t number;
  int64_t with_sign;
  memcpy(&number, value, sizeof number);
  memcpy(&with_sign, value, sizeof with_sign);
  if (range->kind == DEAI_FIELD_INT) {
    deai_cbor_put_int(state->writer, with_sign);
    return DEAI_OK;
  }
  if (number < range->min || number > range->max)
    return out_of_range(state, top->table, field, "a number", range, number);
  deai_cbor_put_uint(state->writer, number);
  return DEAI_OK;
}

static int32_t encode_plain(codec *state, const frame *top, const deai_field *field, limits range,
                            const uint8_t *value) {
  switch (range.kind) {
  case DEAI_FIELD_UINT:
  case DEAI_FIELD_INT:
    return encode_number(state, top, field, &range, value);
  case DEAI_FIELD_BOOL:
    if (*value > 1)
      return fail(state, DEAI_EINVAL, top->table, field, "expected 0 or 1, found %u", *value);
    deai_cbor_put_bool(state->writer, *value);
    return DEAI_OK;
  case DEAI_FIELD_ENUM:
    return encode_enum(state, top, field, value);
  default:
    return encode_span(state, top, field, &range, value);
  }
}

static int32_t encode_count(const codec *state, const frame *top, const deai_field *field,
                            const deai_list *list) {
  limits range = limits_field(field);
  if (list->count >= range.min && list->count <= range.max) return DEAI_OK;
  return out_of_range(state, top->table, field, "a count", &range, list->count);
}

static int32_t encode_list(codec *state, const frame *top, const deai_field *field,
                           const uint8_t *value) {
  deai_list list;
  memcpy(&list, value, sizeof list);
  int32_t status = encode_count(state, top, field, &list);
  if (status != DEAI_OK) return status;
  deai_cbor_put_array(state->writer, list.count);
  if (field->item == DEAI_FIELD_STRUCT) return push(state, field->sub, list.items, list.count, 1);
  uint64_t each = item_size(field);
  for (uint64_t i = 0; i < list.count && status == DEAI_OK; i++) {
    const uint8_t *item = (const uint8_t *)list.items + i * each;
    status = encode_plain(state, top, field, limits_item(field), item);
  }
  return status;
}

static int32_t encode_pairs(codec *state, const frame *top, const deai_field *field,
                            const uint8_t *value) {
  deai_list list;
  int32_t is_text = field->kind == DEAI_FIELD_TEXT_MAP;
  uint64_t each = is_text ? sizeof(deai_text_pair) : sizeof(deai_uint_pair);
  uint64_t value_at = is_text ? offsetof(deai_text_pair, value) : offsetof(deai_uint_pair, value);
  limits key = {DEAI_FIELD_TEXT, 0, is_text ? field->item_max : DEAI_NAME_MAX};
  limits inner = {is_text ? DEAI_FIELD_TEXT : DEAI_FIELD_UINT, 0, field->item_max};
  memcpy(&list, value, sizeof list);
  int32_t status = encode_count(state, top, field, &list);
  if (status != DEAI_OK) return status;
  deai_cbor_put_map(state->writer, list.count);
  for (uint64_t i = 0; i < list.count && status == DEAI_OK; i++) {
    const uint8_t *pair = (const uint8_t *)list.items + i * each;
    status = encode_plain(state, top, field, key, pair);
    if (status == DEAI_OK) status = encode_plain(state, top, field, inner, pair + value_at);
  }
  return status;
}

static int32_t encode_open(codec *state, const deai_table *table, uint8_t *value) {
  uint64_t has = has_of(table, value);
  uint64_t count = 0;
  for (uint32_t i = 0; i < table->field_count; i++)
    count += field_present(table, i, has) ? 1u : 0u;
  if (table->form == DEAI_FORM_MAP) deai_cbor_put_map(state->writer, count);
  if (table->form == DEAI_FORM_TUPLE) deai_cbor_put_array(state->writer, count);
  return push(state, table, value, count, 0);
}

static int32_t encode_field(codec *state, frame top, uint32_t at) {
  const deai_field *field = &top.table->fields[at];
  uint8_t *value = top.value + field->offset;
  if (field->key != NULL) deai_cbor_put_text(state->writer, deai_str_of(field->key));
  switch (field->kind) {
  case DEAI_FIELD_STRUCT:
    return encode_open(state, field->sub, value);
  case DEAI_FIELD_LIST:
    return encode_list(state, &top, field, value);
  case DEAI_FIELD_TEXT_MAP:
  case DEAI_FIELD_UINT_MAP:
    return encode_pairs(state, &top, field, value);
  default:
    return encode_plain(state, &top, field, limits_field(field), value);
  }
}

static int32_t encode_step(codec *state) {
  frame *top = &state->frames[state->depth - 1];
  if (top->is_list) {
    if (top->left == 0) {
      state->depth--;
      return DEAI_OK;
    }
    uint64_t at = top->count - top->left--;
    return encode_open(state, top->table, top->value + at * top->table->size);
  }
  uint64_t has = has_of(top->table, top->value);
  while (top->next_field < top->table->field_count &&
         !field_present(top->table, top->next_field, has))
    top->next_field++;
  if (top->next_field == top->table->field_count) {
    state->depth--;
    return DEAI_OK;
  }
  uint32_t at = top->next_field++;
  return encode_field(state, *top, at);
}

int32_t deai_encode(const deai_table *table, const void *value, deai_cbor_writer *writer, char *err,
                    uint32_t err_cap) {
  codec state;
  const char *why = NULL;
  uint64_t start = writer->len;
  state.depth = 0;
  state.arena = NULL;
  state.writer = writer;
  state.err = err;
  state.err_cap = err_cap;
  if (err != NULL && err_cap > 0) err[0] = 0;
  /* The walk of encode only reads; it shares its frames with decode, which writes. */
  int32_t status = encode_open(&state, table, (uint8_t *)(uintptr_t)value);
  while (status == DEAI_OK && state.depth > 0)
    status = encode_step(&state);
  if (status != DEAI_OK) return status;
  if (writer->status != DEAI_OK)
    return fail(&state, DEAI_ETOOLARGE, table, NULL, "expected at most %llu bytes, found %llu",
                (unsigned long long)writer->cap, (unsigned long long)writer->len);
  /* What leaves passes the same judge as what comes in: UTF-8, key order, CIDs, depth. */
  deai_bytes made = deai_bytes_of(writer->ptr + start, writer->len - start);
  if (deai_cbor_check(made, 0, &why) != DEAI_OK)
    return fail(&state, DEAI_EINVAL, table, NULL, "expected strict DAG-CBOR, made: %s", why);
  return DEAI_OK;
}

/* ---- the tables themselves ---- */

typedef struct table_place {
  const deai_table *table;
  uint32_t next_field;
} table_place;

static int32_t check_item(const codec *state, const deai_table *table, const deai_field *field) {
  int32_t plain = field->item >= DEAI_FIELD_UINT && field->item <= DEAI_FIELD_ENUM;
  if (!plain) return fail(state, DEAI_EINVAL, table, field, "a list of this kind cannot be");
  if (field->item == DEAI_FIELD_ENUM && field->names == NULL)
    return fail(state, DEAI_EINVAL, table, field, "names are missing");
  int32_t limited = field->item == DEAI_FIELD_UINT || field->item == DEAI_FIELD_TEXT ||
                    field->item == DEAI_FIELD_BYTES || field->item == DEAI_FIELD_FIXED ||
                    field->item == DEAI_FIELD_ANY;
  if (limited && field->item_max == 0)
    return fail(state, DEAI_EINVAL, table, field, "the limit of an item is missing");
  return DEAI_OK;
}

static int32_t check_field(const codec *state, const deai_table *table, const deai_field *field) {
  uint64_t size = kind_size(field->kind, field->max, field->sub);
  int32_t needs_sub = field->kind == DEAI_FIELD_STRUCT ||
                      (field->kind == DEAI_FIELD_LIST && field->item == DEAI_FIELD_STRUCT);
  int32_t has_max = field->kind != DEAI_FIELD_INT && field->kind != DEAI_FIELD_STRUCT &&
                    field->kind != DEAI_FIELD_ENUM;
  if (needs_sub && field->sub == NULL)
    return fail(state, DEAI_EINVAL, table, field, "the sub table is missing");
  if (size == 0) return fail(state, DEAI_EINVAL, table, field, "unknown kind or size 0");
  if (field->offset > table->size || size > table->size - field->offset)
    return fail(state, DEAI_EINVAL, table, field, "the member lies outside the struct");
  if (has_max && (field->max == 0 || field->min > field->max))
    return fail(state, DEAI_EINVAL, table, field, "the limits are missing or crossed");
  if (field->kind == DEAI_FIELD_CID && field->max > DEAI_CID_MAX)
    return fail(state, DEAI_EINVAL, table, field, "the limit of a CID is %d", DEAI_CID_MAX);
  if (field->kind == DEAI_FIELD_ENUM && field->names == NULL)
    return fail(state, DEAI_EINVAL, table, field, "names are missing");
  if (field->kind == DEAI_FIELD_LIST) return check_item(state, table, field);
  if (field->kind == DEAI_FIELD_TEXT_MAP || field->kind == DEAI_FIELD_UINT_MAP)
    return field->item_max > 0 ? DEAI_OK
                               : fail(state, DEAI_EINVAL, table, field, "item_max is missing");
  return DEAI_OK;
}

static int32_t check_keys(const codec *state, const deai_table *table) {
  for (uint32_t i = 0; i < table->field_count; i++) {
    const deai_field *field = &table->fields[i];
    if (table->form != DEAI_FORM_MAP) {
      if (field->key != NULL || field->optional)
        return fail(state, DEAI_EINVAL, table, field, "only a map has keys and optional fields");
      continue;
    }
    if (field->key == NULL) return fail(state, DEAI_EINVAL, table, field, "a key is missing");
    if (i > 0 && key_compare(deai_str_of(field[-1].key), deai_str_of(field->key)) >= 0)
      return fail(state, DEAI_EINVAL, table, field, "the key is not in canonical order");
  }
  return DEAI_OK;
}

static int32_t check_one(const codec *state, const deai_table *table) {
  int32_t status = DEAI_OK;
  uint64_t floor = has_optional(table) ? sizeof(uint64_t) : 0;
  if (table->field_count > FIELDS_MAX || table->size == 0 || table->form > DEAI_FORM_BARE)
    return fail(state, DEAI_EINVAL, table, NULL, "form, size or count of fields is wrong");
  if (table->form == DEAI_FORM_BARE && table->field_count != 1)
    return fail(state, DEAI_EINVAL, table, NULL, "a bare table has one field");
  for (uint32_t i = 0; i < table->field_count && status == DEAI_OK; i++) {
    if (table->fields[i].offset < floor)
      return fail(state, DEAI_EINVAL, table, &table->fields[i], "the member lies over has");
    status = check_field(state, table, &table->fields[i]);
  }
  return status == DEAI_OK ? check_keys(state, table) : status;
}

int32_t deai_table_check(const deai_table *table, char *err, uint32_t err_cap) {
  codec state;
  table_place places[SUB_TABLES_MAX];
  uint32_t depth = 1;
  state.err = err;
  state.err_cap = err_cap;
  places[0].table = table;
  places[0].next_field = 0;
  int32_t status = check_one(&state, table);
  while (status == DEAI_OK && depth > 0) {
    table_place *top = &places[depth - 1];
    if (top->next_field == top->table->field_count) {
      depth--;
      continue;
    }
    const deai_table *sub = top->table->fields[top->next_field++].sub;
    if (sub == NULL) continue;
    if (depth == SUB_TABLES_MAX)
      return fail(&state, DEAI_EINVAL, sub, NULL, "tables are nested deeper than %d",
                  SUB_TABLES_MAX);
    places[depth].table = sub;
    places[depth++].next_field = 0;
    status = check_one(&state, sub);
  }
  return status;
}
