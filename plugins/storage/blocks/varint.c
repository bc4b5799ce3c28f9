#include "varint.h"

#include "host/base/banned.h"

#define MULTIFORMATS_BYTES_MAX 9 /* multiformats/unsigned-varint: 63 bits */

int32_t blocks_varint_read(deai_bytes bytes, uint64_t *value_out) {
  uint64_t value = 0;
  for (uint32_t i = 0; i < MULTIFORMATS_BYTES_MAX && i < bytes.len; i++) {
    uint8_t byte = bytes.ptr[i];
    value |= (uint64_t)(byte & 0x7f) << (7 * i);
    if (byte & 0x80) continue;
    if (byte == 0 && i > 0) return DEAI_EINVAL;
    *value_out = value;
    return (int32_t)i + 1;
  }
  return DEAI_EINVAL;
}

int32_t blocks_varint_read_pb(deai_bytes bytes, uint64_t *value_out) {
  uint64_t value = 0;
  for (uint32_t i = 0; i < BLOCKS_VARINT_BYTES_MAX && i < bytes.len; i++) {
    uint8_t byte = bytes.ptr[i];
    if (i == BLOCKS_VARINT_BYTES_MAX - 1 && byte > 1) return DEAI_EINVAL;
    value |= (uint64_t)(byte & 0x7f) << (7 * i);
    if (byte & 0x80) continue;
    *value_out = value;
    return (int32_t)i + 1;
  }
  return DEAI_EINVAL;
}

size_t blocks_varint_write(uint64_t value, uint8_t out[BLOCKS_VARINT_BYTES_MAX]) {
  size_t len = 0;
  while (value >= 0x80) {
    out[len++] = (uint8_t)(value | 0x80);
    value >>= 7;
  }
  out[len++] = (uint8_t)value;
  return len;
}

size_t blocks_varint_len(uint64_t value) {
  size_t len = 1;
  while (value >= 0x80) {
    value >>= 7;
    len++;
  }
  return len;
}
