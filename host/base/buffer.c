#include "buffer.h"

#include "assertion.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "banned.h"

typedef struct shared_buffer {
  deai_buffer face; /* first, so that a deai_buffer is one of these */
  atomic_uint owners;
  uint8_t bytes[];
} shared_buffer;

static atomic_uint_fast64_t total_bytes;

deai_buffer *deai_buffer_new(uint64_t len) {
  if (len > SIZE_MAX - sizeof(shared_buffer)) return NULL;
  shared_buffer *made = malloc(sizeof *made + (size_t)len);
  if (made == NULL) return NULL;
  made->face.ptr = made->bytes;
  made->face.len = len;
  atomic_init(&made->owners, 1);
  atomic_fetch_add(&total_bytes, len);
  return &made->face;
}

deai_buffer *deai_buffer_of(deai_bytes bytes) {
  deai_buffer *made = deai_buffer_new(bytes.len);
  if (made != NULL && bytes.len > 0) memcpy(made->ptr, bytes.ptr, (size_t)bytes.len);
  return made;
}

deai_buffer *deai_buffer_keep(deai_buffer *buffer) {
  shared_buffer *shared = (shared_buffer *)(void *)buffer;
  DEAI_ASSERT(atomic_fetch_add(&shared->owners, 1) > 0);
  return buffer;
}

void deai_buffer_drop(deai_buffer *buffer) {
  if (buffer == NULL) return;
  shared_buffer *shared = (shared_buffer *)(void *)buffer;
  unsigned before = atomic_fetch_sub(&shared->owners, 1);
  DEAI_ASSERT(before > 0);
  if (before > 1) return;
  atomic_fetch_sub(&total_bytes, buffer->len);
  free(shared);
}

uint64_t deai_buffer_total(void) {
  return atomic_load(&total_bytes);
}
