#ifndef DEAI_PLUGINS_COMPUTE_CPU_CACHE_H
#define DEAI_PLUGINS_COMPUTE_CPU_CACHE_H

#include "kernels.h"

#include "plugins/compute/lm/columns.h"

/* The KV cache of one sequence (layout in kernels.h).

   Threads  A head of one position is written by one thread; reads after a barrier.
   Memory   One mapping; a page becomes resident when a position on it is written. */

struct lm_cache {
  lm_cache_head head;
  lm_kv *heads; /* layer x kv head */
  uint8_t *memory;
  uint64_t bytes;
  uint32_t kv_heads;
};

/* lm_cache_bytes returns the bytes of a cache of positions tokens. */
uint64_t lm_cache_bytes(const lm_shape *shape, uint32_t positions);

/* lm_cache_open makes an empty cache. DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t lm_cache_open(lm_backend *owner, const lm_shape *shape, uint32_t positions,
                                      lm_cache **cache_out);

/* lm_cache_close frees it; NULL is fine. */
void lm_cache_close(lm_cache *cache);

/* lm_cache_write_k stores k at position of one head. */
void lm_cache_write_k(const lm_kv *kv, uint32_t position, const lm_head *k);

/* lm_cache_write_v stores v at position of one head. */
void lm_cache_write_v(const lm_kv *kv, uint32_t position, const lm_value *v);

#endif
