#include "deai/cbor.h"

#define MAJOR_UINT   0u
#define MAJOR_BYTES  2u
#define MAJOR_TEXT   3u
#define MAJOR_ARRAY  4u
#define MAJOR_MAP    5u
#define MAJOR_TAG    6u
#define MAJOR_SIMPLE 7u

#define SIMPLE_FALSE   20u
#define SIMPLE_TRUE    21u
#define SIMPLE_NULL    22u
#define SIMPLE_FLOAT64 27u

#define TAG_CID        42u
#define DEEP_DEPTH_MAX 1024u

/* One open array or map of a walk. */
typedef struct level {
  uint64_t left;   /* items that are still to come; a map counts keys and values */
  deai_bytes last; /* the key before, of a map */
  uint8_t is_map;
} level;

typedef struct walk {
  level *levels;
  uint32_t depth;
  uint32_t depth_max;
  uint32_t flags;
} walk;

/* ---- writer ---- */

deai_cbor_writer deai_cbor_writer_of(deai_buf buf) {
  deai_cbor_writer writer = {buf.ptr, buf.cap, 0, DEAI_OK};
  if (buf.ptr == NULL) writer.cap = 0;
  return writer;
}

static void writer_append(deai_cbor_writer *writer, const void *ptr, uint64_t len) {
  if (len > UINT64_MAX - writer->len) {
    writer->len = UINT64_MAX;
    writer->status = DEAI_ETOOLARGE;
    return;
  }
  if (writer->status == DEAI_OK && len > writer->cap - writer->len) {
    writer->status = DEAI_ETOOLARGE;
  }
  if (writer->status == DEAI_OK && len > 0) memcpy(writer->ptr + writer->len, ptr, (size_t)len);
  writer->len += len;
}

static void writer_head(deai_cbor_writer *writer, uint32_t major, uint64_t number) {
  uint8_t head[9];
  uint32_t extra = 0;
  uint32_t info = (uint32_t)(number & 31u);
  if (number >= 24) {
    uint32_t code = 24;
    extra = 1;
    while (extra < 8 && (number >> (8 * extra)) != 0) {
      extra *= 2;
      code++;
    }
    info = code;
  }
  head[0] = (uint8_t)(major << 5 | info);
  for (uint32_t i = 0; i < extra; i++)
    head[1 + i] = (uint8_t)(number >> (8 * (extra - 1 - i)));
  writer_append(writer, head, 1 + (uint64_t)extra);
}

void deai_cbor_put_uint(deai_cbor_writer *writer, uint64_t value) {
  writer_head(writer, MAJOR_UINT, value);
}

void deai_cbor_put_int(deai_cbor_writer *writer, int64_t value) {
  if (value >= 0) {
    writer_head(writer, MAJOR_UINT, (uint64_t)value);
  } else {
    writer_head(writer, 1, (uint64_t)(-1 - value));
  }
}

void deai_cbor_put_bytes(deai_cbor_writer *writer, deai_bytes value) {
  writer_head(writer, MAJOR_BYTES, value.len);
  writer_append(writer, value.ptr, value.len);
}

void deai_cbor_put_text(deai_cbor_writer *writer, deai_str value) {
  writer_head(writer, MAJOR_TEXT, value.len);
  writer_append(writer, value.ptr, value.len);
}

void deai_cbor_put_bool(deai_cbor_writer *writer, int32_t value) {
  writer_head(writer, MAJOR_SIMPLE, value ? SIMPLE_TRUE : SIMPLE_FALSE);
}

void deai_cbor_put_null(deai_cbor_writer *writer) {
  writer_head(writer, MAJOR_SIMPLE, SIMPLE_NULL);
}

void deai_cbor_put_cid(deai_cbor_writer *writer, deai_bytes cid) {
  static const uint8_t prefix = 0;
  writer_head(writer, MAJOR_TAG, TAG_CID);
  writer_head(writer, MAJOR_BYTES, cid.len == UINT64_MAX ? cid.len : cid.len + 1);
  writer_append(writer, &prefix, 1);
  writer_append(writer, cid.ptr, cid.len);
}

void deai_cbor_put_array(deai_cbor_writer *writer, uint64_t count) {
  writer_head(writer, MAJOR_ARRAY, count);
}

void deai_cbor_put_map(deai_cbor_writer *writer, uint64_t count) {
  writer_head(writer, MAJOR_MAP, count);
}

void deai_cbor_put_raw(deai_cbor_writer *writer, deai_bytes items) {
  writer_append(writer, items.ptr, items.len);
}

/* ---- reader ---- */

deai_cbor_reader deai_cbor_reader_of(deai_bytes bytes) {
  deai_cbor_reader reader = {bytes.ptr, bytes.len, 0, DEAI_OK, NULL};
  return reader;
}

static int32_t refuse(deai_cbor_reader *reader, const char *why) {
  if (reader->status == DEAI_OK) {
    reader->status = DEAI_EINVAL;
    reader->why = why;
  }
  return reader->status;
}

/* The bytes that follow the first one of a valid UTF-8 character, and the range of the second one
   (RFC 3629, section 4). Returns 0 for a byte that starts none. */
static uint32_t utf8_follow(uint8_t first, uint8_t *low, uint8_t *high) {
  *low = 0x80;
  *high = 0xbf;
  if (first >= 0xc2 && first <= 0xdf) return 1;
  if (first == 0xe0) *low = 0xa0;
  if (first == 0xed) *high = 0x9f;
  if (first >= 0xe0 && first <= 0xef) return 2;
  if (first == 0xf0) *low = 0x90;
  if (first == 0xf4) *high = 0x8f;
  if (first >= 0xf0 && first <= 0xf4) return 3;
  return 0;
}

int32_t deai_utf8_check(deai_str text) {
  const uint8_t *at = (const uint8_t *)text.ptr;
  uint64_t i = 0;
  while (i < text.len) {
    uint8_t low, high;
    if (at[i] < 0x80) {
      i++;
      continue;
    }
    uint32_t follow = utf8_follow(at[i], &low, &high);
    if (follow == 0 || text.len - i <= follow) return 0;
    if (at[i + 1] < low || at[i + 1] > high) return 0;
    for (uint32_t k = 2; k <= follow; k++) {
      if (at[i + k] < 0x80 || at[i + k] > 0xbf) return 0;
    }
    i += 1 + (uint64_t)follow;
  }
  return 1;
}

/* Reads one unsigned LEB128 number of at most 9 bytes in its shortest form (multiformats
   unsigned-varint). Returns 1 and moves *at, or 0. */
static int32_t varint_next(deai_bytes bytes, uint64_t *at, uint64_t *out) {
  uint64_t value = 0;
  for (uint32_t i = 0; i < 9 && *at < bytes.len; i++) {
    uint8_t byte = bytes.ptr[(*at)++];
    value |= (uint64_t)(byte & 0x7fu) << (7 * i);
    if ((byte & 0x80u) == 0) {
      *out = value;
      return i == 0 || byte != 0;
    }
  }
  return 0;
}

/* A binary CID: version 0 is a bare SHA-256 multihash of 34 bytes; version 1 is version, codec,
   hash code, digest length and exactly so many bytes (multiformats CID specification). */
static int32_t cid_check(deai_bytes cid) {
  uint64_t at = 0, version, codec, hash, len;
  if (cid.len == 34 && cid.ptr[0] == 0x12 && cid.ptr[1] == 0x20) return 1;
  if (!varint_next(cid, &at, &version) || version != 1) return 0;
  if (!varint_next(cid, &at, &codec) || !varint_next(cid, &at, &hash)) return 0;
  if (!varint_next(cid, &at, &len)) return 0;
  return len == cid.len - at;
}

/* Reads the number of a head whose first byte was taken; 0 when it is cut or not shortest. */
static int32_t head_number(deai_cbor_reader *reader, uint32_t info, uint64_t *out) {
  uint64_t value = 0;
  if (info < 24) {
    *out = info;
    return 1;
  }
  if (info > 27) return refuse(reader, "expected a definite length, found 28 to 31"), 0;
  uint32_t extra = 1u << (info - 24);
  if (reader->len - reader->at < extra) return refuse(reader, "the item is cut short"), 0;
  for (uint32_t i = 0; i < extra; i++)
    value = value << 8 | reader->ptr[reader->at++];
  uint64_t least = info == 24 ? 24 : (uint64_t)1 << (4 * extra);
  if (value < least) return refuse(reader, "the number is not in its shortest form"), 0;
  *out = value;
  return 1;
}

static int32_t next_simple(deai_cbor_reader *reader, uint32_t info, uint32_t flags,
                           deai_cbor_item *out) {
  out->number = info;
  if (info == SIMPLE_FALSE || info == SIMPLE_TRUE || info == SIMPLE_NULL) return DEAI_OK;
  if (info != SIMPLE_FLOAT64)
    return refuse(reader, "expected false, true or null, found another simple value");
  if ((flags & DEAI_CBOR_FLOAT64) == 0) return refuse(reader, "floats are not allowed here");
  if (reader->len - reader->at < 8) return refuse(reader, "the item is cut short");
  const uint8_t *at = reader->ptr + reader->at;
  if ((at[0] & 0x7fu) == 0x7f && (at[1] & 0xf0u) == 0xf0)
    return refuse(reader, "expected a finite float, found NaN or infinity");
  out->span = deai_bytes_of(at, 8);
  reader->at += 8;
  return DEAI_OK;
}

static int32_t next_span(deai_cbor_reader *reader, uint32_t major, deai_cbor_item *out) {
  if (out->number > reader->len - reader->at)
    return refuse(reader, "a length is greater than the bytes that are left");
  out->span = deai_bytes_of(reader->ptr + reader->at, out->number);
  reader->at += out->number;
  if (major == MAJOR_TEXT) {
    deai_str text = {(const char *)out->span.ptr, out->span.len};
    if (!deai_utf8_check(text)) return refuse(reader, "a text is not valid UTF-8");
  }
  return DEAI_OK;
}

/* Looks at the byte string behind tag 42 without taking it. */
static int32_t next_tag(deai_cbor_reader *reader, deai_cbor_item *out) {
  deai_cbor_item cid = {0, 0, {NULL, 0}};
  uint64_t at = reader->at;
  if (out->number != TAG_CID) return refuse(reader, "expected tag 42, found another tag");
  if (at == reader->len || reader->ptr[at] >> 5 != MAJOR_BYTES)
    return refuse(reader, "tag 42 must stand before a byte string");
  reader->at++;
  if (!head_number(reader, reader->ptr[at] & 31u, &cid.number)) return reader->status;
  if (next_span(reader, MAJOR_BYTES, &cid) != DEAI_OK) return reader->status;
  reader->at = at;
  if (cid.span.len == 0 || cid.span.ptr[0] != 0 ||
      !cid_check(deai_bytes_of(cid.span.ptr + 1, cid.span.len - 1)))
    return refuse(reader, "tag 42 must hold 0x00 and a CID");
  return DEAI_OK;
}

static int32_t next_with(deai_cbor_reader *reader, uint32_t flags, deai_cbor_item *out) {
  memset(out, 0, sizeof *out);
  if (reader->status != DEAI_OK) return reader->status;
  if (reader->at == reader->len) return refuse(reader, "expected an item, found the end");
  uint8_t first = reader->ptr[reader->at++];
  uint32_t major = first >> 5;
  out->kind = (int32_t)major;
  if (major == MAJOR_SIMPLE) return next_simple(reader, first & 31u, flags, out);
  if (!head_number(reader, first & 31u, &out->number)) return reader->status;
  uint64_t left = reader->len - reader->at;
  if (major == MAJOR_ARRAY && out->number > left)
    return refuse(reader, "an array counts more items than there are bytes");
  if (major == MAJOR_MAP && out->number > left / 2)
    return refuse(reader, "a map counts more pairs than there are bytes");
  if (major == MAJOR_BYTES || major == MAJOR_TEXT) return next_span(reader, major, out);
  if (major == MAJOR_TAG) return next_tag(reader, out);
  return DEAI_OK;
}

int32_t deai_cbor_next(deai_cbor_reader *reader, deai_cbor_item *out) {
  return next_with(reader, 0, out);
}

int32_t deai_cbor_peek(const deai_cbor_reader *reader) {
  if (reader->status != DEAI_OK || reader->at == reader->len) return -1;
  return reader->ptr[reader->at] >> 5;
}

/* ---- whole items ---- */

static int32_t key_order(deai_cbor_reader *reader, level *open, deai_bytes key) {
  if (open->last.ptr != NULL) {
    if (key.len < open->last.len) return refuse(reader, "map keys are not in order");
    if (key.len == open->last.len) {
      int order = key.len == 0 ? 0 : memcmp(open->last.ptr, key.ptr, (size_t)key.len);
      if (order == 0) return refuse(reader, "a map key stands twice");
      if (order > 0) return refuse(reader, "map keys are not in order");
    }
  }
  open->last = key;
  return DEAI_OK;
}

static int32_t walk_open(deai_cbor_reader *reader, walk *state, const deai_cbor_item *item) {
  if (state->depth == state->depth_max) return refuse(reader, "nested too deep");
  level *open = &state->levels[state->depth++];
  open->is_map = item->kind == DEAI_CBOR_MAP;
  open->left = open->is_map ? 2 * item->number : item->number;
  open->last = deai_bytes_of(NULL, 0);
  return DEAI_OK;
}

/* Reads the next item of a walk: a key when the innermost level is a map that waits for one. */
static int32_t walk_step(deai_cbor_reader *reader, walk *state) {
  deai_cbor_item item;
  level *top = state->depth > 0 ? &state->levels[state->depth - 1] : NULL;
  if (next_with(reader, state->flags, &item) != DEAI_OK) return reader->status;
  if (top != NULL && top->is_map && top->left % 2 == 0) {
    if (item.kind != DEAI_CBOR_TEXT) return refuse(reader, "a map key is not a text");
    if (key_order(reader, top, item.span) != DEAI_OK) return reader->status;
  }
  if (item.kind == DEAI_CBOR_TAG) { /* its byte string was looked at by next_tag */
    if (next_with(reader, state->flags, &item) != DEAI_OK) return reader->status;
  }
  if (top != NULL) top->left--;
  if (item.kind == DEAI_CBOR_ARRAY || item.kind == DEAI_CBOR_MAP)
    return walk_open(reader, state, &item);
  return DEAI_OK;
}

static int32_t walk_item(deai_cbor_reader *reader, walk *state) {
  do {
    if (walk_step(reader, state) != DEAI_OK) return reader->status;
    while (state->depth > 0 && state->levels[state->depth - 1].left == 0)
      state->depth--;
  } while (state->depth > 0);
  return DEAI_OK;
}

int32_t deai_cbor_skip(deai_cbor_reader *reader, deai_bytes *span_out) {
  level levels[DEAI_CBOR_DEPTH_MAX];
  walk state = {levels, 0, DEAI_CBOR_DEPTH_MAX, 0};
  uint64_t start = reader->at;
  if (walk_item(reader, &state) != DEAI_OK) return reader->status;
  if (span_out != NULL) *span_out = deai_bytes_of(reader->ptr + start, reader->at - start);
  return DEAI_OK;
}

static int32_t check_with(deai_cbor_reader *reader, walk *state) {
  if (walk_item(reader, state) != DEAI_OK) return reader->status;
  if (reader->at != reader->len) return refuse(reader, "bytes follow the item");
  return DEAI_OK;
}

static int32_t check_deep(deai_cbor_reader *reader, uint32_t flags) {
  level levels[DEEP_DEPTH_MAX];
  walk state = {levels, 0, DEEP_DEPTH_MAX, flags};
  return check_with(reader, &state);
}

int32_t deai_cbor_check(deai_bytes bytes, uint32_t flags, const char **why_out) {
  deai_cbor_reader reader = deai_cbor_reader_of(bytes);
  level levels[DEAI_CBOR_DEPTH_MAX];
  walk state = {levels, 0, DEAI_CBOR_DEPTH_MAX, flags};
  int32_t status =
      (flags & DEAI_CBOR_DEEP) != 0 ? check_deep(&reader, flags) : check_with(&reader, &state);
  if (why_out != NULL) *why_out = reader.why;
  return status;
}
