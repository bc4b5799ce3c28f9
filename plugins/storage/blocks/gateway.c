#include "gateway.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "host/base/banned.h"

#define PREFIX          "/ipfs/"
#define CODEC_CBOR      0x51 /* multicodec:table.csv */
#define CODEC_JSON      0x0200
#define CODEC_DAG_JSON  0x0129
#define CODEC_NOT_BUILT 1u /* no codec: a form that is not in this build */
#define CODEC_RAW_BLOCK 2u /* no codec: the block as it is */

typedef struct format_row {
  const char *name; /* of ?format= */
  const char *type; /* of Accept */
  uint64_t codec;
} format_row;

static const format_row formats[] = {
    {"raw", "application/vnd.ipld.raw", CODEC_RAW_BLOCK},
    {"car", "application/vnd.ipld.car", CODEC_NOT_BUILT},
    {"tar", "application/x-tar", CODEC_NOT_BUILT},
    {"ipns-record", "application/vnd.ipfs.ipns-record", CODEC_NOT_BUILT},
    {"dag-cbor", "application/vnd.ipld.dag-cbor", BLOCKS_CODEC_DAG_CBOR},
    {"dag-json", "application/vnd.ipld.dag-json", CODEC_DAG_JSON},
    {"cbor", "application/cbor", CODEC_CBOR},
    {"json", "application/json", CODEC_JSON},
};

typedef struct ending_row {
  const char *ending;
  const char *type;
} ending_row;

static const ending_row endings[] = {
    {".html", "text/html; charset=utf-8"},
    {".htm", "text/html; charset=utf-8"},
    {".txt", "text/plain; charset=utf-8"},
    {".md", "text/plain; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".json", "application/json"},
    {".svg", "image/svg+xml"},
    {".png", "image/png"},
    {".jpg", "image/jpeg"},
    {".jpeg", "image/jpeg"},
    {".gif", "image/gif"},
    {".webp", "image/webp"},
    {".pdf", "application/pdf"},
    {".mp4", "video/mp4"},
    {".webm", "video/webm"},
    {".mp3", "audio/mpeg"},
    {".wasm", "application/wasm"},
};

static bool str_is(deai_str text, const char *other) {
  return deai_str_eq(text, deai_str_of(other)) != 0;
}

static bool str_starts(deai_str text, const char *prefix) {
  size_t len = strlen(prefix);
  return text.len >= len && memcmp(text.ptr, prefix, len) == 0;
}

static deai_str str_from(deai_str text, uint64_t at) {
  return (deai_str){text.ptr + at, text.len - at};
}

/* str_until returns what is before the first c and sets *rest to what is behind it. */
static deai_str str_until(deai_str text, char c, deai_str *rest) {
  const char *end = text.len > 0 ? memchr(text.ptr, c, (size_t)text.len) : NULL;
  uint64_t len = end != NULL ? (uint64_t)(end - text.ptr) : text.len;
  *rest = end != NULL ? str_from(text, len + 1) : (deai_str){NULL, 0};
  return (deai_str){text.ptr, len};
}

static deai_str str_trim(deai_str text) {
  while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t'))
    text = str_from(text, 1);
  while (text.len > 0 && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t'))
    text.len--;
  return text;
}

static deai_str header(const deai_http_request *head, const char *name) {
  const deai_text_pair *pairs = head->h.items;
  for (uint64_t i = 0; i < head->h.count; i++) {
    if (str_is(pairs[i].key, name)) return pairs[i].value;
  }
  return (deai_str){NULL, 0};
}

/* ---- the request ---- */

static const format_row *format_of_query(deai_str query, bool *named_out) {
  while (query.len > 0) {
    deai_str value;
    deai_str pair = str_until(query, '&', &query);
    deai_str key = str_until(pair, '=', &value);
    if (!str_is(key, "format")) continue;
    *named_out = true;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
      if (str_is(value, formats[i].name)) return &formats[i];
    }
    return NULL;
  }
  return NULL;
}

/* format_of_accept returns the first known content type of Accept that is no page or anything. */
static const format_row *format_of_accept(deai_str accept) {
  while (accept.len > 0) {
    deai_str rest;
    deai_str type = str_trim(str_until(str_until(accept, ',', &accept), ';', &rest));
    if (str_is(type, "*/*") || str_starts(type, "text/")) return NULL;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
      bool page_type = formats[i].codec == CODEC_JSON || formats[i].codec == CODEC_CBOR;
      if (!page_type && str_is(type, formats[i].type)) return &formats[i];
    }
  }
  return NULL;
}

static int32_t form_read(const deai_http_request *head, blocks_request *out, blocks_error *err) {
  bool named = false;
  const format_row *format = format_of_query(head->query, &named);
  if (named && format == NULL) {
    (void)blocks_fail(err, DEAI_EINVAL, "expected format=raw or none, found another");
    return 400;
  }
  if (!named) format = format_of_accept(header(head, "accept"));
  if (format == NULL) return 0;
  out->type = format->type;
  if (format->codec == CODEC_NOT_BUILT) {
    (void)blocks_fail(err, DEAI_EUNSUPPORTED,
                      "%s is not in this build; ask for format=raw, block by block", format->name);
    return 501;
  }
  out->form = format->codec == CODEC_RAW_BLOCK ? BLOCKS_FORM_RAW : BLOCKS_FORM_CODEC;
  out->codec = format->codec;
  if (out->path.len > 0) {
    (void)blocks_fail(err, DEAI_EINVAL,
                      "expected a bare CID with this format, found a path below it; resolve the "
                      "path first");
    return 400;
  }
  return 0;
}

int32_t blocks_request_read(const deai_http_request *head, blocks_request *out, blocks_error *err) {
  *out = (blocks_request){.whole = head->path};
  out->head = str_is(head->method, "HEAD");
  if (!out->head && !str_is(head->method, "GET")) {
    (void)blocks_fail(err, DEAI_EUNSUPPORTED, "expected GET or HEAD, found %.16s",
                      head->method.len < 16 ? "another method" : "a long one");
    return 405;
  }
  if (!str_starts(head->path, PREFIX)) {
    (void)blocks_fail(err, DEAI_EINVAL, "expected a path that starts with " PREFIX);
    return 400;
  }
  out->cid = str_until(str_from(head->path, sizeof PREFIX - 1), '/', &out->path);
  while (out->path.len > 0 && out->path.ptr[0] == '/')
    out->path = str_from(out->path, 1);
  out->none_match = header(head, "if-none-match");
  out->range = header(head, "range");
  out->if_range = header(head, "if-range");
  deai_str cache = header(head, "cache-control");
  while (cache.len > 0)
    out->only_if_cached =
        out->only_if_cached || str_is(str_trim(str_until(cache, ',', &cache)), "only-if-cached");
  return form_read(head, out, err);
}

bool blocks_etag_match(deai_str list, const char *etag, bool weak) {
  while (list.len > 0) {
    deai_str one = str_trim(str_until(list, ',', &list));
    if (str_is(one, "*")) return true;
    if (weak && str_starts(one, "W/")) one = str_from(one, 2);
    if (str_is(one, etag)) return true;
  }
  return false;
}

/* number_read reads digits; false when there are none, others, or too many. */
static bool number_read(deai_str text, uint64_t *out) {
  uint64_t value = 0;
  if (text.len == 0 || text.len > 18) return false;
  for (uint64_t i = 0; i < text.len; i++) {
    if (text.ptr[i] < '0' || text.ptr[i] > '9') return false;
    value = value * 10 + (uint64_t)(text.ptr[i] - '0');
  }
  *out = value;
  return true;
}

int32_t blocks_range_read(deai_str range, uint64_t size, uint64_t *first_out, uint64_t *len_out) {
  deai_str last_text;
  uint64_t first = 0;
  uint64_t last = UINT64_MAX;
  *first_out = 0;
  *len_out = size;
  if (!str_starts(range, "bytes=") || memchr(range.ptr, ',', (size_t)range.len) != NULL) return 200;
  deai_str spec = str_trim(str_from(range, 6));
  if (spec.len == 0 || memchr(spec.ptr, '-', (size_t)spec.len) == NULL) return 200;
  deai_str first_text = str_trim(str_until(spec, '-', &last_text));
  last_text = str_trim(last_text);
  if (last_text.len > 0 && !number_read(last_text, &last)) return 200;
  if (first_text.len == 0) { /* the last so many bytes */
    if (last_text.len == 0) return 200;
    if (last == 0 || size == 0) return 416;
    *len_out = last < size ? last : size;
    *first_out = size - *len_out;
    return 206;
  }
  if (!number_read(first_text, &first) || last < first) return 200;
  if (first >= size) return 416;
  if (last > size - 1) last = size - 1;
  *first_out = first;
  *len_out = last - first + 1;
  return 206;
}

/* ---- the answer ---- */

static bool name_before(const char *a, deai_str b) {
  size_t len = strlen(a);
  if (len != b.len) return len < b.len;
  return memcmp(a, b.ptr, len) < 0;
}

int32_t blocks_answer_add(blocks_answer *answer, const char *name, const char *format, ...) {
  size_t room = sizeof answer->text - answer->text_len;
  char *value = answer->text + answer->text_len;
  va_list list;
  va_start(list, format);
  int len = vsnprintf(value, room, format, list);
  va_end(list);
  if (len < 0 || (size_t)len >= room || len > (int)DEAI_HTTP_VALUE_MAX ||
      answer->count == BLOCKS_GATEWAY_HEADERS_MAX)
    return DEAI_ETOOLARGE;
  uint32_t at = answer->count++;
  while (at > 0 && name_before(name, answer->pairs[at - 1].key)) {
    answer->pairs[at] = answer->pairs[at - 1];
    at--;
  }
  answer->pairs[at] = (deai_text_pair){deai_str_of(name), {value, (uint64_t)len}};
  answer->text_len += (uint32_t)len;
  return DEAI_OK;
}

int32_t blocks_escape_url(blocks_buf *out, deai_bytes text, bool slash) {
  static const char hex[] = "0123456789ABCDEF";
  int32_t status = blocks_buf_reserve(out, out->len + (size_t)text.len * 3);
  for (uint64_t i = 0; i < text.len && status == DEAI_OK; i++) {
    uint8_t c = text.ptr[i];
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 c == '-' || c == '.' || c == '_' || c == '~' || (slash && c == '/');
    char escaped[3] = {'%', hex[c >> 4], hex[c & 15]};
    status = plain ? blocks_buf_add(out, &c, 1) : blocks_buf_add(out, escaped, sizeof escaped);
  }
  return status;
}

static const char *html_of(uint8_t c) {
  if (c == '&') return "&amp;";
  if (c == '<') return "&lt;";
  if (c == '>') return "&gt;";
  if (c == '"') return "&quot;";
  return c == '\'' ? "&#39;" : NULL;
}

int32_t blocks_escape_html(blocks_buf *out, deai_bytes text) {
  bool odd = !deai_utf8_check((deai_str){(const char *)text.ptr, text.len});
  for (uint64_t i = 0; i < text.len && !odd; i++)
    odd = text.ptr[i] < 0x20 || text.ptr[i] == 0x7f;
  if (odd) return blocks_escape_url(out, text, false);
  int32_t status = DEAI_OK;
  for (uint64_t i = 0; i < text.len && status == DEAI_OK; i++) {
    const char *escaped = html_of(text.ptr[i]);
    status = escaped != NULL ? blocks_buf_add(out, escaped, strlen(escaped))
                             : blocks_buf_add(out, text.ptr + i, 1);
  }
  return status;
}

const char *blocks_content_type(deai_str path) {
  for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
    size_t len = strlen(endings[i].ending);
    if (path.len > len && strncasecmp(path.ptr + path.len - len, endings[i].ending, len) == 0)
      return endings[i].type;
  }
  return "application/octet-stream";
}
