#include "weights.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "host/base/banned.h"

static size_t quant_block(lm_format format) {
  return format == LM_Q8_0 ? 256 : 128;
}

static size_t scale_block(lm_format format) {
  return format == LM_Q4_1 ? 16 : 8;
}

static uint64_t round_up(uint64_t bytes) {
  return (bytes + 63) / 64 * 64;
}

static lm_packed shape_of(const lm_matrix *m) {
  return (lm_packed){.format = m->format,
                     .rows = m->rows,
                     .cols = m->cols,
                     .blocks = m->cols / LM_BLOCK,
                     .groups = (m->rows + 7) / 8};
}

static uint64_t packed_bytes(const lm_matrix *m) {
  lm_packed p = shape_of(m);
  uint64_t blocks = (uint64_t)p.groups * p.blocks;
  return round_up(blocks * quant_block(p.format)) + round_up(blocks * scale_block(p.format) * 2);
}

/* half_word puts every second of 8 nibbles into 16 bits, the first lowest. */
static uint16_t half_word(const uint8_t *q) {
  return (uint16_t)(q[0] | q[2] << 4 | q[4] << 8 | q[6] << 12);
}

/* pack_q4 writes the 16 bytes of a file's block, weights i and i + 16 in byte i, as 4 words. */
static void pack_q4(const uint8_t *from, uint8_t *to) {
  uint8_t q[LM_BLOCK + 1]; /* one more, which half_word leaves out */
  for (size_t i = 0; i < LM_BLOCK / 2; i++) {
    q[i] = from[i] & 15u;
    q[i + LM_BLOCK / 2] = from[i] >> 4;
  }
  for (size_t v = 0; v < 4; v++) {
    const uint16_t halves[2] = {half_word(q + 8 * v), half_word(q + 8 * v + 1)};
    memcpy(to + v * 32, halves, sizeof halves);
  }
}

static void pack_q8(const uint8_t *from, uint8_t *to) {
  for (size_t v = 0; v < 8; v++, from += 4) {
    const uint8_t word[4] = {from[0], from[2], from[1], from[3]};
    memcpy(to + v * 32, word, sizeof word);
  }
}

static void pack_row(const lm_packed *p, uint32_t row, const uint8_t *blocks) {
  size_t lane = row % 8;
  bool has_min = p->format == LM_Q4_1;
  for (uint32_t b = 0; b < p->blocks; b++, blocks += lm_block_bytes(p->format)) {
    size_t at = (size_t)(row / 8) * p->blocks + b;
    uint16_t *scale = p->scales + at * scale_block(p->format) + lane;
    uint8_t *quants = p->quants + at * quant_block(p->format) + lane * 4;
    memcpy(&scale[0], blocks, 2);
    if (has_min) memcpy(&scale[8], blocks + 2, 2);
    if (p->format == LM_Q8_0)
      pack_q8(blocks + 2, quants);
    else
      pack_q4(blocks + (has_min ? 4 : 2), quants);
  }
}

static int32_t pack_rows(void *user, uint32_t first_row, uint32_t row_count,
                         const uint8_t *blocks) {
  const lm_packed *p = user;
  size_t row_bytes = (size_t)p->blocks * lm_block_bytes(p->format);
  for (uint32_t i = 0; i < row_count; i++)
    pack_row(p, first_row + i, blocks + i * row_bytes);
  return DEAI_OK;
}

static int32_t load_matrix(const lm_model *model, const lm_matrix *matrix, lm_weights *weights,
                           uint64_t *used, lm_packed *out, lm_error *error) {
  lm_packed p = shape_of(matrix);
  uint64_t quants = round_up((uint64_t)p.groups * p.blocks * quant_block(p.format));
  p.quants = weights->memory + *used;
  p.scales = (uint16_t *)(void *)(weights->memory + *used + quants);
  *used += packed_bytes(matrix);
  int32_t status = lm_model_read(model, matrix, pack_rows, &p, &p.exponent, error);
  *out = p;
  return status;
}

static uint64_t total_bytes(const lm_model *model) {
  const lm_shape *shape = lm_model_shape(model);
  uint64_t bytes = packed_bytes(lm_model_embedding(model));
  if (lm_model_output(model) != lm_model_embedding(model))
    bytes += packed_bytes(lm_model_output(model));
  for (uint32_t layer = 0; layer < shape->layers; layer++)
    for (uint32_t w = 0; w < LM_WEIGHT_COUNT; w++)
      bytes += packed_bytes(lm_model_matrix(model, layer, (lm_weight)w));
  return bytes;
}

static int32_t load_all(const lm_model *model, lm_weights *weights, lm_error *error) {
  const lm_shape *shape = lm_model_shape(model);
  uint64_t used = 0;
  int32_t status = DEAI_OK;
  for (uint32_t i = 0; status == DEAI_OK && i < shape->layers * LM_WEIGHT_COUNT; i++)
    status = load_matrix(
        model, lm_model_matrix(model, i / LM_WEIGHT_COUNT, (lm_weight)(i % LM_WEIGHT_COUNT)),
        weights, &used, &weights->layers[i], error);
  if (status == DEAI_OK)
    status =
        load_matrix(model, lm_model_embedding(model), weights, &used, &weights->embedding, error);
  weights->output = weights->embedding;
  if (status == DEAI_OK && lm_model_output(model) != lm_model_embedding(model))
    status = load_matrix(model, lm_model_output(model), weights, &used, &weights->output, error);
  return status;
}

int32_t lm_weights_open(const lm_model *model, lm_weights *weights, lm_error *error) {
  *weights = (lm_weights){.bytes = total_bytes(model)};
  weights->layers =
      calloc((size_t)lm_model_shape(model)->layers * LM_WEIGHT_COUNT, sizeof *weights->layers);
  void *memory = mmap(NULL, (size_t)weights->bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  weights->memory = memory == MAP_FAILED ? NULL : memory;
  int32_t status = DEAI_ENOMEM;
  if (weights->layers == NULL || weights->memory == NULL) {
    (void)lm_fail(error, status, "cpu: %llu bytes expected for the weights, the system has less",
                  (unsigned long long)weights->bytes);
  } else {
    (void)madvise(weights->memory, (size_t)weights->bytes, MADV_HUGEPAGE);
    status = load_all(model, weights, error);
  }
  if (status != DEAI_OK) lm_weights_close(weights);
  return status;
}

void lm_weights_close(lm_weights *weights) {
  if (weights->memory != NULL) (void)munmap(weights->memory, (size_t)weights->bytes);
  free(weights->layers);
  *weights = (lm_weights){0};
}

static float row_value(const lm_packed *w, const uint8_t *quants, uint32_t i, float d, float m) {
  if (w->format == LM_Q8_0) {
    int8_t q;
    memcpy(&q, quants + (size_t)(i / 4) * 32 + i % 4 / 2 + i % 2 * 2, 1);
    return (float)q * d;
  }
  uint16_t half;
  memcpy(&half, quants + (size_t)(i / 8) * 32 + (size_t)(i % 2) * 2, sizeof half);
  int32_t q = half >> i % 8 / 2 * 4 & 15;
  if (w->format == LM_Q4_0) return (float)(q - 8) * d;
  float product = (float)q * d;
  return product + m;
}

void lm_weights_row(const lm_packed *w, uint32_t row, float *out, uint32_t *fault) {
  bool has_min = w->format == LM_Q4_1;
  for (uint32_t b = 0; b < w->blocks; b++) {
    size_t at = (size_t)(row / 8) * w->blocks + b;
    const uint16_t *scale = w->scales + at * scale_block(w->format) + row % 8;
    const uint8_t *quants = w->quants + at * quant_block(w->format) + (size_t)(row % 8) * 4;
    float d = lm_half(scale[0]);
    float m = has_min ? lm_half(scale[8]) : 0.0f;
    for (uint32_t i = 0; i < LM_BLOCK; i++)
      out[b * LM_BLOCK + i] = lm_store(row_value(w, quants, i, d, m), fault);
  }
}
