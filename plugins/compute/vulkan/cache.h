#ifndef DEAI_PLUGINS_COMPUTE_VULKAN_CACHE_H
#define DEAI_PLUGINS_COMPUTE_VULKAN_CACHE_H

#include "graph.h"

/* The KV cache of one sequence on the device: for each layer the K records of all positions of each
   kv head, then the V records (a record: shaders/job.glsl). Matmuls write to it by its address,
   attention reads a layer through a view.

   Threads  One at a time, as all of a backend.
   Memory   One allocation for all positions; drivers on the processor touch what is written. */

/* lm_vk_cache_bytes returns the bytes of a cache of positions tokens. */
uint64_t lm_vk_cache_bytes(const lm_backend *backend, uint32_t positions);

/* lm_vk_cache_open makes an empty cache. DEAI_ENOMEM, also when a layer is beyond what one view of
   the device takes. */
DEAI_MUST_CHECK int32_t lm_vk_cache_open(lm_backend *backend, uint32_t positions,
                                         lm_cache **cache_out);

/* lm_vk_cache_close frees it; NULL is fine. */
void lm_vk_cache_close(lm_cache *cache);

#endif
