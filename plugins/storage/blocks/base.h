#ifndef DEAI_PLUGINS_STORAGE_BLOCKS_BASE_H
#define DEAI_PLUGINS_STORAGE_BLOCKS_BASE_H

#include "deai/status.h"
#include "deai/types.h"

#include <stddef.h>

/* What every part of the block store shares: the text of an error and a growing buffer.

   Threads  [any]; an object belongs to one thread at a time.
   Memory   A blocks_buf owns its bytes until blocks_buf_free; a zeroed one is empty and valid.
   Limits   A text is cut at BLOCKS_ERROR_BYTES - 1 bytes. */

#define BLOCKS_ERROR_BYTES 320

/* The reason of a failure: what was expected, what was found, what to do. Filled only when the
   function that was given it fails. Every err parameter may be NULL. */
typedef struct blocks_error {
  char text[BLOCKS_ERROR_BYTES];
} blocks_error;

typedef struct blocks_buf {
  uint8_t *ptr;
  size_t len; /* bytes in use, <= cap */
  size_t cap;
} blocks_buf;

/* blocks_fail writes the text into err (unless NULL) and returns status, so that a refusal is one
   line. */
int32_t blocks_fail(blocks_error *err, int32_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* blocks_fail_errno is blocks_fail for a failed system call: appends the text of code and returns
   DEAI_EFULL for ENOSPC and EDQUOT, DEAI_ENOMEM for ENOMEM, else DEAI_EIO. */
int32_t blocks_fail_errno(blocks_error *err, int code, const char *what);

/* blocks_buf_reserve makes room for cap bytes in all and keeps the first len; DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t blocks_buf_reserve(blocks_buf *buf, size_t cap);

/* blocks_buf_add appends len bytes; DEAI_ENOMEM, with buf as it was. */
DEAI_MUST_CHECK int32_t blocks_buf_add(blocks_buf *buf, const void *bytes, size_t len);

/* blocks_buf_free gives the bytes back and leaves an empty buffer. */
void blocks_buf_free(blocks_buf *buf);

/* blocks_buf_bytes returns the bytes in use, borrowed until the next change of buf. */
static inline deai_bytes blocks_buf_bytes(const blocks_buf *buf) {
  return deai_bytes_of(buf->ptr, buf->len);
}

#endif
