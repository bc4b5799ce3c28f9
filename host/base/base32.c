#include "base32.h"

#include "banned.h"

static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";

int32_t deai_base32_put(deai_bytes bytes, char *out, uint64_t cap) {
  uint32_t held = 0, bits = 0;
  uint64_t at = 0;
  if (bytes.len > UINT64_MAX / 16 || cap < DEAI_BASE32_LEN(bytes.len) + 1) return DEAI_ETOOLARGE;
  for (uint64_t i = 0; i < bytes.len; i++) {
    held = (held << 8 | bytes.ptr[i]) & 0xfffu;
    for (bits += 8; bits >= 5; bits -= 5)
      out[at++] = digits[held >> (bits - 5) & 31u];
  }
  if (bits > 0) out[at++] = digits[held << (5 - bits) & 31u];
  out[at] = 0;
  return DEAI_OK;
}

static int32_t digit_of(char c) {
  if (c >= 'a' && c <= 'z') return c - 'a';
  if (c >= '2' && c <= '7') return c - '2' + 26;
  return -1;
}

int32_t deai_base32_get(deai_str text, deai_buf out, uint64_t *len_out) {
  uint32_t held = 0, bits = 0;
  uint64_t at = 0;
  for (uint64_t i = 0; i < text.len; i++) {
    int32_t digit = digit_of(text.ptr[i]);
    if (digit < 0) return DEAI_EINVAL;
    held = (held << 5 | (uint32_t)digit) & 0xfffu;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    if (at == out.cap) return DEAI_ETOOLARGE;
    out.ptr[at++] = (uint8_t)(held >> bits);
  }
  if (bits >= 5 || (held & ((1u << bits) - 1u)) != 0) return DEAI_EINVAL;
  *len_out = at;
  return DEAI_OK;
}
