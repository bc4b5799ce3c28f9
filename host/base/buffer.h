#ifndef DEAI_HOST_BASE_BUFFER_H
#define DEAI_HOST_BASE_BUFFER_H

#include "deai/plugin.h"

/* Shared bulk bytes: the memory behind deai_buffer of the SDK, counted per process.

   Threads  [any]; the count of owners is atomic, the bytes are not guarded.
   Memory   The last deai_buffer_drop frees it. */

/* deai_buffer_new makes a buffer of len bytes with one owner; NULL when memory is refused. */
DEAI_MUST_CHECK deai_buffer *deai_buffer_new(uint64_t len);

/* deai_buffer_of makes a buffer with a copy of bytes. */
DEAI_MUST_CHECK deai_buffer *deai_buffer_of(deai_bytes bytes);

/* deai_buffer_keep adds an owner and returns buffer. */
deai_buffer *deai_buffer_keep(deai_buffer *buffer);

/* deai_buffer_drop removes an owner; NULL is allowed. */
void deai_buffer_drop(deai_buffer *buffer);

/* deai_buffer_total returns the bytes of all living buffers of the process, for /metrics. */
uint64_t deai_buffer_total(void);

#endif
