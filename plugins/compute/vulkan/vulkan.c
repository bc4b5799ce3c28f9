#include "vulkan.h"

#include "cache.h"
#include "graph.h"

#include "plugins/compute/lm/columns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

/* Invocations that share a row and that share the positions of a head: a processor has 8 lanes and
   few cores, a card wants many. Sums are integers, so no result depends on these. */
#define CARD_SPLIT 16u
#define CARD_LANES 64u
#define HOST_SPLIT 1u
#define HOST_LANES 8u

static void vulkan_close(lm_backend *backend) {
  if (backend == NULL) return;
  lm_vk_graph_close(backend);
  lm_vk_close(&backend->device);
  free(backend);
}

/* warm runs one column, then a tile of them, so that a driver that compiles at the first dispatch
   does it now and not in somebody's first answer. */
static int32_t warm(lm_backend *b, lm_error *error) {
  lm_column columns[LM_VK_TILE];
  uint8_t fault[LM_VK_TILE];
  uint32_t room = b->shape->ctx < LM_VK_TILE ? b->shape->ctx : LM_VK_TILE;
  lm_cache *cache = NULL;
  float *hidden = malloc((size_t)LM_VK_TILE * b->shape->embd * sizeof *hidden);
  float *logits = malloc((size_t)LM_VK_TILE * b->shape->vocab * sizeof *logits);
  const lm_outputs outputs = {.hidden = hidden, .logits = logits, .fault = fault};
  int32_t status = hidden == NULL || logits == NULL ? DEAI_ENOMEM : DEAI_OK;
  if (status == DEAI_OK) status = lm_vk_cache_open(b, room, &cache);
  for (uint32_t i = 0; i < room; i++)
    columns[i] = (lm_column){.cache = cache, .position = i, .want = true};
  if (status == DEAI_OK) status = lm_vk_graph_run(b, columns, 1, &outputs);
  if (status == DEAI_OK) status = lm_vk_graph_run(b, columns, room, &outputs);
  lm_vk_cache_close(cache);
  free(hidden);
  free(logits);
  if (status == DEAI_OK) return DEAI_OK;
  return lm_fail(error, status, "vulkan: a first pass expected to run on %.64s, it did not",
                 b->device.properties.deviceName);
}

static int32_t fill(lm_backend *b, const lm_backend_config *config, lm_error *error) {
  int32_t status = lm_vk_open(config->device, sizeof(lm_vk_push), &b->device, error);
  if (status != DEAI_OK) return status;
  b->split = b->device.on_processor ? HOST_SPLIT : CARD_SPLIT;
  b->lanes = b->device.on_processor ? HOST_LANES : CARD_LANES;
  (void)snprintf(b->text, sizeof b->text, "vulkan, %s", b->device.properties.deviceName);
  status = lm_vk_graph_open(b, error);
  return status == DEAI_OK ? warm(b, error) : status;
}

static int32_t vulkan_open(const lm_model *model, const lm_backend_config *config,
                           lm_backend **backend_out, lm_error *error) {
  *backend_out = NULL;
  lm_backend *b = calloc(1, sizeof *b);
  if (b == NULL) return lm_fail(error, DEAI_ENOMEM, "vulkan: no memory");
  b->model = model;
  b->shape = lm_model_shape(model);
  int32_t status = fill(b, config, error);
  if (status != DEAI_OK) {
    vulkan_close(b);
    return status;
  }
  *backend_out = b;
  return DEAI_OK;
}

static const char *vulkan_describe(const lm_backend *backend) {
  return backend->text;
}

static uint64_t vulkan_memory(const lm_backend *backend) {
  uint64_t bytes = lm_vk_matrix_bytes(&backend->embedding.matrix);
  if (backend->output.set != backend->embedding.set)
    bytes += lm_vk_matrix_bytes(&backend->output.matrix);
  for (uint32_t i = 0; i < backend->shape->layers * LM_VK_WEIGHTS; i++)
    bytes += lm_vk_matrix_bytes(&backend->layers[i].matrix);
  return bytes;
}

static int32_t vulkan_cache_new(lm_backend *backend, uint32_t positions, lm_cache **cache_out) {
  *cache_out = NULL;
  if (positions < 1 || positions > backend->shape->ctx) return DEAI_EINVAL;
  return lm_vk_cache_open(backend, positions, cache_out);
}

static int32_t vulkan_forward(lm_backend *backend, const lm_column *columns, uint32_t count,
                              const lm_outputs *outputs) {
  if (!lm_columns_ok(backend, backend->shape->vocab, columns, count)) return DEAI_EINVAL;
  int32_t status = lm_vk_graph_run(backend, columns, count, outputs);
  if (status == DEAI_OK) lm_columns_done(columns, count);
  return status;
}

const lm_backend_ops *lm_vulkan_backend(void) {
  static const lm_backend_ops ops = {.name = "vulkan",
                                     .open = vulkan_open,
                                     .describe = vulkan_describe,
                                     .memory = vulkan_memory,
                                     .cache_new = vulkan_cache_new,
                                     .cache_bytes = lm_vk_cache_bytes,
                                     .cache_truncate = lm_columns_truncate,
                                     .cache_delete = lm_vk_cache_close,
                                     .forward = vulkan_forward,
                                     .close = vulkan_close};
  return &ops;
}
