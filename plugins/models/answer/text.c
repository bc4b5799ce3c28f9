#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

void answer_text_put(answer_text *text, const void *ptr, size_t len) {
  if (text->status != DEAI_OK || len == 0) return;
  if (len > ANSWER_TEXT_MAX - text->len) {
    text->status = DEAI_ETOOLARGE;
    return;
  }
  if (text->len + len > text->cap) {
    size_t cap = 2 * (text->len + len) + 64;
    uint8_t *grown = realloc(text->ptr, cap);
    if (grown == NULL) {
      text->status = DEAI_ENOMEM;
      return;
    }
    text->ptr = grown;
    text->cap = cap;
  }
  memcpy(text->ptr + text->len, ptr, len);
  text->len += len;
}

void answer_text_add(answer_text *text, const char *string) {
  answer_text_put(text, string, strlen(string));
}

void answer_text_free(answer_text *text) {
  free(text->ptr);
  *text = (answer_text){0};
}

/* escape returns the short escape of c, or 0. */
static char escape(uint8_t c) {
  switch (c) {
  case '"':
    return '"';
  case '\\':
    return '\\';
  case '\n':
    return 'n';
  case '\r':
    return 'r';
  case '\t':
    return 't';
  default:
    return 0;
  }
}

void answer_text_json(answer_text *text, deai_str value) {
  uint64_t plain = 0; /* start of the run that needs no escape */
  answer_text_put(text, "\"", 1);
  for (uint64_t i = 0; i < value.len; i++) {
    uint8_t c = (uint8_t)value.ptr[i];
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    answer_text_put(text, value.ptr + plain, (size_t)(i - plain));
    plain = i + 1;
    char code[8];
    if (escape(c) != 0)
      (void)snprintf(code, sizeof code, "\\%c", escape(c));
    else
      (void)snprintf(code, sizeof code, "\\u%04x", (unsigned)c);
    answer_text_add(text, code);
  }
  if (plain < value.len) answer_text_put(text, value.ptr + plain, (size_t)(value.len - plain));
  answer_text_put(text, "\"", 1);
}

void answer_text_uint(answer_text *text, uint64_t value) {
  char digits[24];
  (void)snprintf(digits, sizeof digits, "%" PRIu64, value);
  answer_text_add(text, digits);
}

void answer_text_micro(answer_text *text, int64_t micro) {
  char digits[40];
  uint64_t size = micro < 0 ? UINT64_C(0) - (uint64_t)micro : (uint64_t)micro;
  int len = snprintf(digits, sizeof digits, "%s%" PRIu64 ".%06" PRIu64, micro < 0 ? "-" : "",
                     size / 1000000, size % 1000000);
  while (len > 0 && digits[len - 1] == '0')
    len--;
  if (len > 0 && digits[len - 1] == '.') len--;
  answer_text_put(text, digits, (size_t)len);
}

void answer_hex(answer_text *text, deai_bytes bytes) {
  static const char digits[] = "0123456789abcdef";
  for (uint64_t i = 0; i < bytes.len; i++) {
    char pair[2] = {digits[bytes.ptr[i] >> 4], digits[bytes.ptr[i] & 15]};
    answer_text_put(text, pair, 2);
  }
}

/* in_groups writes bytes in groups of bits (5 or 6), high bits first, without padding. */
static void in_groups(answer_text *text, deai_bytes bytes, uint32_t bits, const char *digits) {
  uint32_t held = 0;
  uint32_t held_bits = 0;
  uint32_t mask = (UINT32_C(1) << bits) - 1;
  for (uint64_t i = 0; i < bytes.len; i++) {
    held = (held << 8 | bytes.ptr[i]) & 0xffff;
    held_bits += 8;
    while (held_bits >= bits) {
      held_bits -= bits;
      answer_text_put(text, &digits[(held >> held_bits) & mask], 1);
    }
  }
  if (held_bits > 0) answer_text_put(text, &digits[(held << (bits - held_bits)) & mask], 1);
}

void answer_base64url(answer_text *text, deai_bytes bytes) {
  in_groups(text, bytes, 6, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
}

void answer_cid_text(answer_text *text, deai_bytes cid) {
  uint8_t whole[DEAI_CID_MAX + 2] = {1, 0x70}; /* version 1, dag-pb */
  uint64_t before = cid.len == 34 && cid.ptr[0] == 0x12 && cid.ptr[1] == 0x20 ? 2 : 0;
  if (cid.len > DEAI_CID_MAX) return;
  if (cid.len > 0) memcpy(whole + before, cid.ptr, (size_t)cid.len);
  answer_text_add(text, "b");
  in_groups(text, deai_bytes_of(whole, before + cid.len), 5, "abcdefghijklmnopqrstuvwxyz234567");
}
