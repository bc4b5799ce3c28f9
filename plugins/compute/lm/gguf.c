#include "gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

#define MAGIC          0x46554747u /* "GGUF" */
#define VERSION        3u
#define READ_AHEAD     (1u << 20)
#define ALIGNMENT      32u
#define ALIGNMENT_MAX  65536u
#define TENSOR_ROW_MIN 24u /* name length, dim count, type, offset: what a tensor takes at least */
#define KEY_ROW_MIN    13u /* key length, type, one byte */

typedef struct gguf_key {
  uint64_t name; /* offsets into the buffer, which moves while it grows */
  uint64_t name_len;
  uint64_t value;
  uint64_t count; /* of array elements */
  uint32_t type;
  uint32_t element;
  deai_str text; /* the name, once the buffer is final */
} gguf_key;

struct lm_gguf {
  int descriptor;
  uint64_t file_bytes;
  uint8_t *buffer;
  uint64_t filled;
  uint64_t at; /* next byte to parse, <= filled */
  gguf_key *keys;
  uint32_t key_count;
  lm_gguf_tensor *tensors; /* sorted by name */
  uint32_t tensor_count;
};

static const uint8_t value_bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

typedef struct tensor_kind {
  uint32_t type;
  uint32_t weights;
  uint32_t bytes;
  const char *name;
} tensor_kind;

/* bytes 0 = known by name, not read here (ggml.h, enum ggml_type) */
static const tensor_kind kinds[] = {
    {0, 1, 4, "F32"},     {1, 1, 2, "F16"},     {2, 32, 18, "Q4_0"},   {3, 32, 20, "Q4_1"},
    {6, 32, 0, "Q5_0"},   {7, 32, 0, "Q5_1"},   {8, 32, 34, "Q8_0"},   {9, 32, 0, "Q8_1"},
    {10, 256, 0, "Q2_K"}, {11, 256, 0, "Q3_K"}, {12, 256, 0, "Q4_K"},  {13, 256, 0, "Q5_K"},
    {14, 256, 0, "Q6_K"}, {15, 256, 0, "Q8_K"}, {20, 32, 0, "IQ4_NL"}, {23, 256, 0, "IQ4_XS"},
    {28, 1, 0, "F64"},    {30, 1, 0, "BF16"},   {34, 256, 0, "TQ1_0"}, {35, 256, 0, "TQ2_0"},
};

static int32_t read_at(int descriptor, uint64_t offset, uint8_t *out, size_t len) {
  while (len > 0) {
    ssize_t got = pread(descriptor, out, len, (off_t)offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return DEAI_EIO;
    out += got;
    offset += (uint64_t)got;
    len -= (size_t)got;
  }
  return DEAI_OK;
}

/* need makes len bytes at g->at available, reading ahead of the parser. */
static int32_t need(lm_gguf *g, uint64_t len, lm_error *error) {
  if (len <= g->filled - g->at) return DEAI_OK;
  if (len > g->file_bytes - g->at)
    return lm_fail(error, DEAI_EINVAL,
                   "GGUF: %" PRIu64 " more bytes expected at byte %" PRIu64
                   ", the file ends at %" PRIu64 "; fetch it again",
                   len, g->at, g->file_bytes);
  if (len > LM_GGUF_HEADER_MAX - g->at)
    return lm_fail(error, DEAI_ETOOLARGE,
                   "GGUF: header within %u bytes expected, found more; use another file",
                   LM_GGUF_HEADER_MAX);
  uint64_t end = g->at + len + READ_AHEAD + g->filled / 2;
  if (end > g->file_bytes) end = g->file_bytes;
  if (end > LM_GGUF_HEADER_MAX) end = LM_GGUF_HEADER_MAX;
  uint8_t *grown = realloc(g->buffer, (size_t)end);
  if (grown == NULL) return lm_fail(error, DEAI_ENOMEM, "GGUF: no memory for the header");
  g->buffer = grown;
  if (read_at(g->descriptor, g->filled, grown + g->filled, (size_t)(end - g->filled)) != DEAI_OK)
    return lm_fail(error, DEAI_EIO, "GGUF: reading the header failed at byte %" PRIu64, g->filled);
  g->filled = end;
  return DEAI_OK;
}

static uint64_t little(const uint8_t *at, uint32_t len) {
  uint64_t value = 0;
  for (uint32_t i = 0; i < len; i++)
    value |= (uint64_t)at[i] << (8 * i);
  return value;
}

static int32_t take(lm_gguf *g, uint32_t len, uint64_t *out, lm_error *error) {
  int32_t status = need(g, len, error);
  if (status != DEAI_OK) return status;
  *out = little(g->buffer + g->at, len);
  g->at += len;
  return DEAI_OK;
}

static int32_t take_text(lm_gguf *g, uint64_t max, uint64_t *offset, uint64_t *len,
                         lm_error *error) {
  int32_t status = take(g, 8, len, error);
  if (status != DEAI_OK) return status;
  if (*len > max)
    return lm_fail(error, DEAI_EINVAL,
                   "GGUF: a name of at most %" PRIu64 " bytes expected at byte %" PRIu64
                   ", found one of %" PRIu64 "; fetch the file again",
                   max, g->at, *len);
  status = need(g, *len, error);
  if (status != DEAI_OK) return status;
  *offset = g->at;
  g->at += *len;
  return DEAI_OK;
}

static int32_t skip_strings(lm_gguf *g, uint64_t count, lm_error *error) {
  for (uint64_t i = 0; i < count; i++) {
    uint64_t offset;
    uint64_t len;
    int32_t status = take_text(g, LM_GGUF_HEADER_MAX, &offset, &len, error);
    if (status != DEAI_OK) return status;
  }
  return DEAI_OK;
}

static int32_t skip_numbers(lm_gguf *g, uint64_t count, uint32_t bytes, lm_error *error) {
  if (count > LM_GGUF_HEADER_MAX / bytes)
    return lm_fail(error, DEAI_EINVAL, "GGUF: %" PRIu64 " array elements found, too many", count);
  int32_t status = need(g, count * bytes, error);
  if (status == DEAI_OK) g->at += count * bytes;
  return status;
}

static int32_t bad_type(uint64_t type, lm_error *error) {
  return lm_fail(error, DEAI_EINVAL, "GGUF: value type 0 to 12 expected, found %" PRIu64, type);
}

static int32_t parse_array(lm_gguf *g, gguf_key *key, lm_error *error) {
  uint64_t element;
  int32_t status = take(g, 4, &element, error);
  if (status == DEAI_OK) status = take(g, 8, &key->count, error);
  if (status != DEAI_OK) return status;
  if (element > LM_GGUF_F64) return bad_type(element, error);
  if (element == LM_GGUF_ARRAY)
    return lm_fail(error, DEAI_EUNSUPPORTED,
                   "GGUF: arrays of depth 1 expected, found a nested one; convert the model again");
  key->element = (uint32_t)element;
  key->value = g->at;
  if (element == LM_GGUF_STRING) return skip_strings(g, key->count, error);
  return skip_numbers(g, key->count, value_bytes[element], error);
}

static int32_t parse_key(lm_gguf *g, gguf_key *key, lm_error *error) {
  uint64_t type;
  int32_t status = take_text(g, LM_GGUF_KEY_MAX, &key->name, &key->name_len, error);
  if (status == DEAI_OK) status = take(g, 4, &type, error);
  if (status != DEAI_OK) return status;
  if (type > LM_GGUF_F64) return bad_type(type, error);
  key->type = (uint32_t)type;
  key->value = g->at;
  if (type == LM_GGUF_ARRAY) return parse_array(g, key, error);
  if (type == LM_GGUF_STRING)
    return take_text(g, LM_GGUF_HEADER_MAX, &key->value, &key->count, error);
  return skip_numbers(g, 1, value_bytes[type], error);
}

static const tensor_kind *kind_of(uint64_t type) {
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
    if (kinds[i].type == type) return &kinds[i];
  return NULL;
}

static int32_t size_tensor(lm_gguf_tensor *tensor, const tensor_kind *kind, lm_error *error) {
  uint64_t count = 1;
  for (uint32_t i = 0; i < tensor->dim_count; i++) {
    uint64_t dim = tensor->dims[i];
    if (dim == 0 || dim > UINT32_MAX || __builtin_mul_overflow(count, dim, &count) ||
        count > UINT64_MAX / 8)
      return lm_fail(
          error, DEAI_EINVAL,
          "GGUF: dimensions of 1 to 2^32 expected, found %" PRIu64 "; fetch the file again", dim);
  }
  if (tensor->dims[0] % kind->weights != 0)
    return lm_fail(error, DEAI_EINVAL,
                   "GGUF: %s rows in multiples of %u expected, found %" PRIu64
                   "; fetch the file again",
                   kind->name, kind->weights, tensor->dims[0]);
  tensor->bytes = count / kind->weights * kind->bytes;
  return DEAI_OK;
}

static int32_t parse_tensor_type(lm_gguf_tensor *tensor, uint64_t type, lm_error *error) {
  const tensor_kind *kind = kind_of(type);
  if (kind == NULL)
    return lm_fail(error, DEAI_EUNSUPPORTED, "GGUF: tensor type %" PRIu64 " is unknown", type);
  if (kind->bytes == 0)
    return lm_fail(error, DEAI_EUNSUPPORTED,
                   "GGUF: tensors of F32, F16, Q4_0, Q4_1 or Q8_0 expected, found %s; take another "
                   "quantisation of the model",
                   kind->name);
  tensor->type = (uint32_t)type;
  return size_tensor(tensor, kind, error);
}

/* The name is kept as an offset in name.len until the buffer is final: see bind_names. */
static int32_t parse_tensor(lm_gguf *g, lm_gguf_tensor *tensor, uint64_t *name, lm_error *error) {
  uint64_t dim_count;
  uint64_t type;
  int32_t status = take_text(g, LM_GGUF_NAME_MAX, name, &tensor->name.len, error);
  if (status == DEAI_OK) status = take(g, 4, &dim_count, error);
  if (status != DEAI_OK) return status;
  if (dim_count < 1 || dim_count > LM_GGUF_DIMS_MAX)
    return lm_fail(error, DEAI_EINVAL, "GGUF: 1 to 4 dimensions expected, found %" PRIu64,
                   dim_count);
  tensor->dim_count = (uint32_t)dim_count;
  for (uint32_t i = 0; i < LM_GGUF_DIMS_MAX; i++) {
    tensor->dims[i] = 1;
    if (i < dim_count) status = take(g, 8, &tensor->dims[i], error);
    if (status != DEAI_OK) return status;
  }
  status = take(g, 4, &type, error);
  if (status == DEAI_OK) status = take(g, 8, &tensor->offset, error);
  if (status != DEAI_OK) return status;
  return parse_tensor_type(tensor, type, error);
}

static int text_order(deai_str a, deai_str b) {
  size_t len = (size_t)(a.len < b.len ? a.len : b.len);
  int order = len == 0 ? 0 : memcmp(a.ptr, b.ptr, len);
  if (order != 0) return order;
  return a.len < b.len ? -1 : a.len > b.len;
}

static int tensor_order(const void *a, const void *b) {
  return text_order(((const lm_gguf_tensor *)a)->name, ((const lm_gguf_tensor *)b)->name);
}

static int key_order(const void *a, const void *b) {
  return text_order(((const gguf_key *)a)->text, ((const gguf_key *)b)->text);
}

static int32_t refuse_twice(deai_str name, lm_error *error) {
  return lm_fail(error, DEAI_EINVAL,
                 "GGUF: each name once expected, found '%.*s' twice; fetch the file again",
                 name.len > LM_GGUF_NAME_MAX ? (int)LM_GGUF_NAME_MAX : (int)name.len, name.ptr);
}

static int32_t sort_keys(lm_gguf *g, lm_error *error) {
  for (uint32_t i = 0; i < g->key_count; i++)
    g->keys[i].text =
        (deai_str){.ptr = (const char *)g->buffer + g->keys[i].name, .len = g->keys[i].name_len};
  if (g->key_count > 0) qsort(g->keys, g->key_count, sizeof *g->keys, key_order);
  for (uint32_t i = 1; i < g->key_count; i++)
    if (deai_str_eq(g->keys[i - 1].text, g->keys[i].text))
      return refuse_twice(g->keys[i].text, error);
  return DEAI_OK;
}

static int32_t alignment_of(lm_gguf *g, uint64_t *out, lm_error *error) {
  *out = ALIGNMENT;
  int32_t status = lm_gguf_uint(g, "general.alignment", out);
  if (status == DEAI_ENOTFOUND) return DEAI_OK;
  if (status != DEAI_OK || *out < 8 || *out > ALIGNMENT_MAX || (*out & (*out - 1)) != 0)
    return lm_fail(error, DEAI_EINVAL,
                   "GGUF: general.alignment as a power of two, 8 to %u, expected", ALIGNMENT_MAX);
  return DEAI_OK;
}

static int32_t place_tensors(lm_gguf *g, const uint64_t *names, lm_error *error) {
  uint64_t alignment;
  int32_t status = alignment_of(g, &alignment, error);
  if (status != DEAI_OK) return status;
  uint64_t data = (g->at + alignment - 1) / alignment * alignment;
  for (uint32_t i = 0; i < g->tensor_count; i++) {
    lm_gguf_tensor *tensor = &g->tensors[i];
    tensor->name.ptr = (const char *)g->buffer + names[i];
    uint64_t end;
    if (tensor->offset % alignment != 0 || __builtin_add_overflow(tensor->offset, data, &end) ||
        __builtin_add_overflow(end, tensor->bytes, &end) || end > g->file_bytes)
      return lm_fail(
          error, DEAI_EINVAL,
          "GGUF: tensor '%.*s' expected aligned and within the %" PRIu64
          " bytes of the file, found %" PRIu64 " bytes at %" PRIu64 "; fetch the file again",
          (int)tensor->name.len, tensor->name.ptr, g->file_bytes, tensor->bytes, tensor->offset);
    tensor->offset += data;
  }
  if (g->tensor_count > 0) qsort(g->tensors, g->tensor_count, sizeof *g->tensors, tensor_order);
  for (uint32_t i = 1; i < g->tensor_count; i++)
    if (deai_str_eq(g->tensors[i - 1].name, g->tensors[i].name))
      return refuse_twice(g->tensors[i].name, error);
  return DEAI_OK;
}

static int32_t parse_tensors(lm_gguf *g, lm_error *error) {
  uint64_t *names = calloc((size_t)g->tensor_count + 1, sizeof *names);
  g->tensors = calloc((size_t)g->tensor_count + 1, sizeof *g->tensors);
  int32_t status = DEAI_OK;
  if (names == NULL || g->tensors == NULL)
    status = lm_fail(error, DEAI_ENOMEM, "GGUF: no memory for the tensor table");
  for (uint32_t i = 0; status == DEAI_OK && i < g->tensor_count; i++)
    status = parse_tensor(g, &g->tensors[i], &names[i], error);
  if (status == DEAI_OK) status = sort_keys(g, error);
  if (status == DEAI_OK) status = place_tensors(g, names, error);
  free(names);
  return status;
}

static int32_t check_count(const lm_gguf *g, const char *what, uint64_t count, uint64_t max,
                           uint64_t row_bytes, lm_error *error) {
  if (count <= max && count <= g->file_bytes / row_bytes) return DEAI_OK;
  return lm_fail(error, DEAI_EINVAL,
                 "GGUF: at most %" PRIu64 " %s expected, found %" PRIu64 "; fetch the file again",
                 max, what, count);
}

static int32_t parse_counts(lm_gguf *g, lm_error *error) {
  uint64_t magic = 0;
  uint64_t version = 0;
  uint64_t tensors = 0;
  uint64_t keys = 0;
  int32_t status = take(g, 4, &magic, error);
  if (status == DEAI_OK && magic != MAGIC)
    return lm_fail(error, DEAI_EINVAL,
                   "GGUF: the magic GGUF expected, found %08x; this is no model file",
                   (unsigned)magic);
  if (status == DEAI_OK) status = take(g, 4, &version, error);
  if (status == DEAI_OK && version != VERSION)
    return lm_fail(error, DEAI_EUNSUPPORTED,
                   "GGUF: version 3 expected, found %" PRIu64 "; convert the model again", version);
  if (status == DEAI_OK) status = take(g, 8, &tensors, error);
  if (status == DEAI_OK) status = take(g, 8, &keys, error);
  if (status == DEAI_OK)
    status = check_count(g, "tensors", tensors, LM_GGUF_TENSORS_MAX, TENSOR_ROW_MIN, error);
  if (status == DEAI_OK)
    status = check_count(g, "keys", keys, LM_GGUF_KEYS_MAX, KEY_ROW_MIN, error);
  g->tensor_count = (uint32_t)tensors;
  g->key_count = (uint32_t)keys;
  return status;
}

static int32_t parse(lm_gguf *g, lm_error *error) {
  int32_t status = parse_counts(g, error);
  if (status != DEAI_OK) return status;
  g->keys = calloc((size_t)g->key_count + 1, sizeof *g->keys);
  if (g->keys == NULL) return lm_fail(error, DEAI_ENOMEM, "GGUF: no memory for the keys");
  for (uint32_t i = 0; status == DEAI_OK && i < g->key_count; i++)
    status = parse_key(g, &g->keys[i], error);
  return status == DEAI_OK ? parse_tensors(g, error) : status;
}

static int32_t open_file(lm_gguf *g, int descriptor, lm_error *error) {
  struct stat info;
  if (fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size < 0)
    return lm_fail(error, DEAI_EIO, "GGUF: a regular file expected; check the path");
  g->file_bytes = (uint64_t)info.st_size;
  g->descriptor = fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
  if (g->descriptor < 0) return lm_fail(error, DEAI_EIO, "GGUF: no descriptor is free");
  return parse(g, error);
}

int32_t lm_gguf_open(int descriptor, lm_gguf **gguf_out, lm_error *error) {
  *gguf_out = NULL;
  lm_gguf *g = calloc(1, sizeof *g);
  if (g == NULL) return lm_fail(error, DEAI_ENOMEM, "GGUF: no memory");
  g->descriptor = -1;
  int32_t status = open_file(g, descriptor, error);
  if (status != DEAI_OK) {
    lm_gguf_close(g);
    return status;
  }
  *gguf_out = g;
  return DEAI_OK;
}

void lm_gguf_close(lm_gguf *gguf) {
  if (gguf == NULL) return;
  if (gguf->descriptor >= 0) (void)close(gguf->descriptor);
  free(gguf->buffer);
  free(gguf->keys);
  free(gguf->tensors);
  free(gguf);
}

static const gguf_key *find_key(const lm_gguf *g, const char *name) {
  gguf_key wanted = {.text = deai_str_of(name)};
  if (g->key_count == 0) return NULL;
  return bsearch(&wanted, g->keys, g->key_count, sizeof *g->keys, key_order);
}

int32_t lm_gguf_uint(const lm_gguf *gguf, const char *key, uint64_t *out) {
  const gguf_key *found = find_key(gguf, key);
  if (found == NULL) return DEAI_ENOTFOUND;
  uint32_t type = found->type;
  bool is_signed =
      type == LM_GGUF_I8 || type == LM_GGUF_I16 || type == LM_GGUF_I32 || type == LM_GGUF_I64;
  if (type == LM_GGUF_F32 || type == LM_GGUF_F64 || type == LM_GGUF_STRING || type == LM_GGUF_ARRAY)
    return DEAI_EINVAL;
  uint64_t value = little(gguf->buffer + found->value, value_bytes[type]);
  if (is_signed && value >> (8 * value_bytes[type] - 1) != 0) return DEAI_EINVAL;
  *out = value;
  return DEAI_OK;
}

int32_t lm_gguf_float(const lm_gguf *gguf, const char *key, double *out) {
  const gguf_key *found = find_key(gguf, key);
  if (found == NULL) return DEAI_ENOTFOUND;
  if (found->type == LM_GGUF_F32) {
    float value;
    memcpy(&value, gguf->buffer + found->value, sizeof value);
    *out = (double)value;
    return DEAI_OK;
  }
  if (found->type != LM_GGUF_F64) return DEAI_EINVAL;
  memcpy(out, gguf->buffer + found->value, sizeof *out);
  return DEAI_OK;
}

int32_t lm_gguf_text(const lm_gguf *gguf, const char *key, deai_str *out) {
  const gguf_key *found = find_key(gguf, key);
  if (found == NULL) return DEAI_ENOTFOUND;
  if (found->type != LM_GGUF_STRING) return DEAI_EINVAL;
  *out = (deai_str){.ptr = (const char *)gguf->buffer + found->value, .len = found->count};
  return DEAI_OK;
}

int32_t lm_gguf_list(const lm_gguf *gguf, const char *key, lm_gguf_array *out) {
  const gguf_key *found = find_key(gguf, key);
  if (found == NULL) return DEAI_ENOTFOUND;
  if (found->type != LM_GGUF_ARRAY) return DEAI_EINVAL;
  *out = (lm_gguf_array){
      .type = found->element, .count = found->count, .bytes = gguf->buffer + found->value};
  return DEAI_OK;
}

int32_t lm_gguf_texts(const lm_gguf *gguf, const char *key, uint64_t max, deai_str **out,
                      uint64_t *count_out) {
  lm_gguf_array list;
  int32_t status = lm_gguf_list(gguf, key, &list);
  if (status != DEAI_OK) return status;
  if (list.type != LM_GGUF_STRING) return DEAI_EINVAL;
  if (list.count > max) return DEAI_ETOOLARGE;
  deai_str *texts = calloc((size_t)list.count + 1, sizeof *texts);
  if (texts == NULL) return DEAI_ENOMEM;
  const uint8_t *at = list.bytes; /* walked once at open, so every length is known to fit */
  for (uint64_t i = 0; i < list.count; i++) {
    uint64_t len = little(at, 8);
    texts[i] = (deai_str){.ptr = (const char *)at + 8, .len = len};
    at += 8 + len;
  }
  *out = texts;
  *count_out = list.count;
  return DEAI_OK;
}

uint32_t lm_gguf_tensor_count(const lm_gguf *gguf) {
  return gguf->tensor_count;
}

const lm_gguf_tensor *lm_gguf_tensor_at(const lm_gguf *gguf, uint32_t index) {
  return &gguf->tensors[index];
}

int64_t lm_gguf_tensor_find(const lm_gguf *gguf, const char *name) {
  lm_gguf_tensor wanted = {.name = deai_str_of(name)};
  if (gguf->tensor_count == 0) return -1;
  const lm_gguf_tensor *found =
      bsearch(&wanted, gguf->tensors, gguf->tensor_count, sizeof *gguf->tensors, tensor_order);
  return found == NULL ? -1 : found - gguf->tensors;
}

int32_t lm_gguf_read(const lm_gguf *gguf, uint64_t offset, void *out, size_t len) {
  return read_at(gguf->descriptor, offset, out, len);
}
