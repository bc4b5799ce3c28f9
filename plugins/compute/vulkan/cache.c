#include "cache.h"

#include <stdlib.h>

#include "host/base/banned.h"

#define VIEW_ALIGN 256u /* the most that minTexelBufferOffsetAlignment may be */

static uint64_t layer_bytes(const lm_shape *s, uint32_t positions) {
  uint64_t texels = (uint64_t)s->head_dim / 8 + 1 + s->head_dim / 16 + 1; /* of K and of V */
  uint64_t bytes = texels * LM_VK_TEXEL * s->kv_heads * positions;
  return (bytes + VIEW_ALIGN - 1) / VIEW_ALIGN * VIEW_ALIGN;
}

uint64_t lm_vk_cache_bytes(const lm_backend *backend, uint32_t positions) {
  return layer_bytes(backend->shape, positions) * backend->shape->layers;
}

static int32_t open_layers(lm_cache *cache) {
  lm_vk_device *d = &cache->head.owner->device;
  uint32_t layers = cache->head.owner->shape->layers;
  int32_t status = lm_vk_pool_open(d, layers, layers, 0, &cache->pool);
  for (uint32_t i = 0; status == DEAI_OK && i < layers; i++) {
    status = lm_vk_view_open(d, &cache->memory, i * cache->layer_bytes, cache->layer_bytes, false,
                             &cache->views[i]);
    if (status == DEAI_OK) status = lm_vk_set_open(d, cache->pool, 2, &cache->sets[i]);
    if (status == DEAI_OK) lm_vk_set_texels(d, cache->sets[i], 0, cache->views[i]);
  }
  return status;
}

int32_t lm_vk_cache_open(lm_backend *backend, uint32_t positions, lm_cache **cache_out) {
  *cache_out = NULL;
  lm_cache *cache = calloc(1, sizeof *cache);
  if (cache == NULL) return DEAI_ENOMEM;
  uint32_t layers = backend->shape->layers;
  cache->head = (lm_cache_head){.owner = backend, .positions = positions};
  cache->layer_bytes = layer_bytes(backend->shape, positions);
  cache->views = calloc(layers, sizeof *cache->views);
  cache->sets = calloc(layers, sizeof *cache->sets);
  int32_t status = cache->views == NULL || cache->sets == NULL ? DEAI_ENOMEM : DEAI_OK;
  if (status == DEAI_OK)
    status = lm_vk_buffer_open(&backend->device, lm_vk_cache_bytes(backend, positions), LM_VK_LOCAL,
                               &cache->memory);
  if (status == DEAI_OK) status = open_layers(cache);
  if (status != DEAI_OK) {
    lm_vk_cache_close(cache);
    return status == DEAI_EIO ? DEAI_EIO : DEAI_ENOMEM;
  }
  *cache_out = cache;
  return DEAI_OK;
}

void lm_vk_cache_close(lm_cache *cache) {
  if (cache == NULL) return;
  lm_vk_device *d = &cache->head.owner->device;
  for (uint32_t i = 0; cache->views != NULL && i < cache->head.owner->shape->layers; i++)
    vkDestroyBufferView(d->device, cache->views[i], NULL);
  vkDestroyDescriptorPool(d->device, cache->pool, NULL);
  lm_vk_buffer_close(d, &cache->memory);
  free(cache->views);
  free(cache->sets);
  free(cache);
}
