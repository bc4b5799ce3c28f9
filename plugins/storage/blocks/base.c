#include "base.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define BUF_BYTES_MIN 256

int32_t blocks_fail(blocks_error *err, int32_t status, const char *format, ...) {
  if (err == NULL) return status;
  va_list args;
  va_start(args, format);
  (void)vsnprintf(err->text, sizeof err->text, format, args);
  va_end(args);
  return status;
}

int32_t blocks_fail_errno(blocks_error *err, int code, const char *what) {
  char room[128];
  const char *text = strerror_r(code, room, sizeof room);
  if (code == ENOSPC || code == EDQUOT)
    return blocks_fail(err, DEAI_EFULL, "%s: %s; free some space on that disk", what, text);
  if (code == ENOMEM) return blocks_fail(err, DEAI_ENOMEM, "%s: %s", what, text);
  return blocks_fail(err, DEAI_EIO, "%s: %s", what, text);
}

int32_t blocks_buf_reserve(blocks_buf *buf, size_t cap) {
  if (cap <= buf->cap) return DEAI_OK;
  if (cap > SIZE_MAX / 2) return DEAI_ENOMEM;
  size_t grown = buf->cap + buf->cap / 2;
  if (grown < cap) grown = cap;
  if (grown < BUF_BYTES_MIN) grown = BUF_BYTES_MIN;
  uint8_t *ptr = realloc(buf->ptr, grown);
  if (ptr == NULL) return DEAI_ENOMEM;
  buf->ptr = ptr;
  buf->cap = grown;
  return DEAI_OK;
}

int32_t blocks_buf_add(blocks_buf *buf, const void *bytes, size_t len) {
  if (len > SIZE_MAX / 2 - buf->len) return DEAI_ENOMEM;
  int32_t status = blocks_buf_reserve(buf, buf->len + len);
  if (status != DEAI_OK) return status;
  if (len > 0) memcpy(buf->ptr + buf->len, bytes, len);
  buf->len += len;
  return DEAI_OK;
}

void blocks_buf_free(blocks_buf *buf) {
  free(buf->ptr);
  *buf = (blocks_buf){0};
}
