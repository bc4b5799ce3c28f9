#include "cache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "host/base/banned.h"

static uint64_t head_bytes(const lm_shape *shape, uint32_t room) {
  uint64_t values = (uint64_t)room * shape->head_dim;
  uint64_t scales = values / LM_BLOCK * sizeof(float);
  return values * sizeof(int16_t) + values + 2 * scales;
}

static uint32_t room_for(uint32_t positions) {
  return (positions + 7) / 8 * 8;
}

uint64_t lm_cache_bytes(const lm_shape *shape, uint32_t positions) {
  return head_bytes(shape, room_for(positions)) * shape->layers * shape->kv_heads;
}

static void place_heads(lm_cache *cache, const lm_shape *shape, uint32_t room) {
  uint64_t values = (uint64_t)room * shape->head_dim;
  uint8_t *at = cache->memory;
  for (uint32_t i = 0; i < shape->layers * shape->kv_heads; i++) {
    lm_kv *kv = &cache->heads[i];
    *kv = (lm_kv){.positions = room, .blocks = shape->head_dim / LM_BLOCK};
    kv->k = (int16_t *)(void *)at;
    kv->v = (int8_t *)(at + values * sizeof *kv->k);
    kv->kd = (float *)(void *)(kv->v + values);
    kv->vd = kv->kd + values / LM_BLOCK;
    at += head_bytes(shape, room);
  }
}

int32_t lm_cache_open(lm_backend *owner, const lm_shape *shape, uint32_t positions,
                      lm_cache **cache_out) {
  *cache_out = NULL;
  lm_cache *cache = calloc(1, sizeof *cache);
  if (cache == NULL) return DEAI_ENOMEM;
  cache->head = (lm_cache_head){.owner = owner, .positions = positions};
  cache->kv_heads = shape->kv_heads;
  cache->bytes = lm_cache_bytes(shape, positions);
  cache->heads = calloc((size_t)shape->layers * shape->kv_heads, sizeof *cache->heads);
  void *memory = mmap(NULL, (size_t)cache->bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  cache->memory = memory == MAP_FAILED ? NULL : memory;
  if (cache->heads == NULL || cache->memory == NULL) {
    lm_cache_close(cache);
    return DEAI_ENOMEM;
  }
  place_heads(cache, shape, room_for(positions));
  *cache_out = cache;
  return DEAI_OK;
}

void lm_cache_close(lm_cache *cache) {
  if (cache == NULL) return;
  if (cache->memory != NULL) (void)munmap(cache->memory, (size_t)cache->bytes);
  free(cache->heads);
  free(cache);
}

void lm_cache_write_k(const lm_kv *kv, uint32_t position, const lm_head *k) {
  for (uint32_t b = 0; b < kv->blocks; b++) {
    size_t at = (size_t)(position / 8) * kv->blocks + b;
    kv->kd[at * 8 + position % 8] = k->d[b];
    int16_t *to = kv->k + at * 256 + (size_t)(position % 8) * 2;
    for (size_t v = 0; v < LM_BLOCK / 2; v++)
      memcpy(to + v * 16, k->q + b * LM_BLOCK + v * 2, 2 * sizeof *to);
  }
}

void lm_cache_write_v(const lm_kv *kv, uint32_t position, const lm_value *v) {
  size_t values = (size_t)kv->blocks * LM_BLOCK;
  int8_t *out = kv->v + (size_t)(position / 2) * values * 2 + position % 2;
  for (size_t i = 0; i < values; i++)
    out[2 * i] = v->q[i];
  for (uint32_t b = 0; b < kv->blocks; b++)
    kv->vd[(size_t)b * kv->positions + position] = v->d[b];
}
