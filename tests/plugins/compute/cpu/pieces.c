#include "pieces.h"

#include "run.h"
#include "tests/plugins/compute/lm/tiny.h"
#include "tests/testing.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

void pieces_floats(float *out, uint32_t count, float scale, uint64_t *seed) {
  for (uint32_t i = 0; i < count; i++) {
    int32_t value = (int32_t)(tiny_random(seed) >> 40) - (1 << 23);
    out[i] = (float)value * 0x1p-23f * scale;
  }
}

static void *aligned(size_t bytes) {
  void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
  ck_assert_ptr_nonnull(memory);
  memset(memory, 0, (bytes + 63) / 64 * 64);
  return memory;
}

float *pieces_room(uint32_t count) {
  return aligned(((size_t)count + 7) / 8 * 8 * sizeof(float));
}

lm_model *pieces_weights(uint32_t type, lm_weights *weights) {
  tiny_file file = {0};
  tiny_options options = {.type = type, .seed = 6 + type, .vocab_extra = 3, .untied = true};
  lm_error error = {{0}};
  tiny_model(&file, &options, NULL);
  lm_model *model = run_model(tiny_save(&file, "pieces.gguf"), 0);
  tiny_free(&file);
  ck_assert_int_eq(lm_weights_open(model, weights, &error), DEAI_OK);
  return model;
}

static void finish_column(lm_acts *acts, uint32_t column) {
  float *d = acts->d + (size_t)column * acts->blocks;
  uint32_t most = 0;
  for (uint32_t b = 0; b < acts->blocks; b++)
    most = lm_bits(d[b]) > most ? lm_bits(d[b]) : most;
  acts->e[column] = lm_column_exponent(most);
  for (uint32_t b = 0; b < acts->blocks; b++) {
    size_t at = (size_t)column * acts->blocks + b;
    d[b] = d[b] * lm_pow2(-acts->e[column]);
    acts->da[at] = d[b] * (float)acts->asum[at];
  }
}

lm_acts pieces_acts(const lm_kernels *kernels, uint32_t columns, uint32_t cols, uint64_t seed) {
  lm_acts acts = {.cols = cols, .blocks = cols / LM_BLOCK};
  size_t blocks = (size_t)columns * acts.blocks;
  acts.q = aligned((size_t)columns * cols * sizeof *acts.q);
  acts.d = aligned(blocks * sizeof(float));
  acts.da = aligned(blocks * sizeof(float));
  acts.asum = aligned(blocks * sizeof(int32_t));
  acts.e = aligned(columns * sizeof(int32_t));
  float *x = pieces_room(cols);
  for (uint32_t c = 0; c < columns; c++) {
    pieces_floats(x, cols, c % 3 == 0 ? 40.0f : 0.7f, &seed);
    kernels->quantise(x, cols, acts.q + (size_t)c * cols, acts.d + (size_t)c * acts.blocks,
                      acts.asum + (size_t)c * acts.blocks);
    finish_column(&acts, c);
  }
  free(x);
  return acts;
}

void pieces_acts_free(lm_acts *acts) {
  free(acts->q);
  free(acts->d);
  free(acts->da);
  free(acts->asum);
  free(acts->e);
}

static int32_t quant(int32_t most, uint64_t *seed) {
  return (int32_t)(tiny_random(seed) % (2 * (uint32_t)most + 1)) - most;
}

static void scales(float *d, uint64_t *seed) {
  for (int b = 0; b < PIECES_DIM / LM_BLOCK; b++)
    d[b] = (float)(1 + tiny_random(seed) % 1000) * 0x1p-12f;
}

void pieces_head(lm_head *head, uint64_t *seed) {
  memset(head, 0, sizeof *head);
  for (int i = 0; i < PIECES_DIM; i++)
    head->q[i] = (int16_t)quant(LM_ACT_MAX, seed);
  scales(head->d, seed);
}

void pieces_value(lm_value *value, uint64_t *seed) {
  memset(value, 0, sizeof *value);
  for (int i = 0; i < PIECES_DIM; i++)
    value->q[i] = (int8_t)quant(LM_BYTE_MAX, seed);
  scales(value->d, seed);
}

lm_cache *pieces_cache(uint32_t positions, uint64_t seed) {
  lm_shape shape = {.layers = 1, .kv_heads = 1, .head_dim = PIECES_DIM};
  lm_cache *cache = NULL;
  lm_head head;
  lm_value value;
  ck_assert_int_eq(lm_cache_open(NULL, &shape, positions, &cache), DEAI_OK);
  for (uint32_t i = 0; i < positions; i++) {
    pieces_head(&head, &seed);
    lm_cache_write_k(&cache->heads[0], i, &head);
    pieces_value(&value, &seed);
    lm_cache_write_v(&cache->heads[0], i, &value);
  }
  return cache;
}
