#include "weights.h"

#include "plugins/compute/lm/exact.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

/* One matrix in the memory of the host, on its way to the device. */
typedef struct packing {
  lm_vk_matrix *matrix;
  uint32_t *quants;
  float *scales;
  int32_t *exponents;
  const lm_matrix *part;
  uint32_t base;  /* row of the part's first row */
  uint32_t which; /* part */
  bool turns;
} packing;

static bool has_min(uint32_t format) {
  return format == (uint32_t)LM_Q4_1 || format == LM_VK_WIDE;
}

static bool is_byte(uint32_t format) {
  return format >= (uint32_t)LM_Q8_0;
}

static size_t block_words(uint32_t format) {
  return is_byte(format) ? 8 * LM_VK_UNIT : 4 * LM_VK_UNIT;
}

static size_t block_scales(uint32_t format) {
  return has_min(format) ? 2 * LM_VK_UNIT : LM_VK_UNIT;
}

static size_t block_count(const lm_vk_matrix *m) {
  return (size_t)m->units * m->blocks;
}

/* row_place returns the row of the whole that row r of the part becomes. */
static uint32_t row_place(const packing *p, uint32_t r) {
  if (!p->turns) return p->base + r;
  return r / 32 * LM_VK_UNIT + r % 32 / 4 * 8 + (p->which == 1 ? 4 : 0) + r % 4;
}

/* block_quants takes the 32 quants of a block of any format as bytes: 4 bits as 0 to 15, unless
   centred, which takes the 8 of Q4_0 off. */
static void block_quants(lm_format format, const uint8_t *block, bool centred, uint8_t *q) {
  if (format == LM_Q8_0) {
    memcpy(q, block + 2, LM_BLOCK);
    return;
  }
  const uint8_t *from = block + (format == LM_Q4_1 ? 4 : 2);
  uint8_t off = format == LM_Q4_0 && centred ? 8 : 0;
  for (size_t i = 0; i < LM_BLOCK / 2; i++) {
    q[i] = (uint8_t)((from[i] & 15u) - off);
    q[i + LM_BLOCK / 2] = (uint8_t)((from[i] >> 4) - off);
  }
}

static void put_bytes(uint32_t *to, uint32_t lane, uint32_t slot, const uint8_t *q) {
  for (size_t part = 0; part < 2; part++)
    memcpy(to + ((slot * 2 + part) * LM_VK_LANES + lane) * 4, q + part * 16, 16);
}

static void put_nibbles(uint32_t *to, uint32_t lane, uint32_t slot, const uint8_t *q) {
  for (size_t v = 0; v < 8; v++) {
    uint32_t word = 0;
    for (size_t k = 0; k < 4; k++)
      word |= (uint32_t)q[4 * v + k] << (4 * k);
    size_t texel = (slot / 2 * 2 + v / 4) * LM_VK_LANES + lane;
    to[texel * 4 + v % 4] |= word << (16 * (slot & 1u));
  }
}

static float scale_at(const uint8_t *bytes) {
  uint16_t half;
  memcpy(&half, bytes, sizeof half);
  return lm_half(half);
}

static void put_row(const packing *p, uint32_t place, const uint8_t *blocks) {
  const lm_vk_matrix *m = p->matrix;
  uint32_t lane = place % LM_VK_UNIT / 8;
  uint32_t slot = place % 8;
  uint8_t q[LM_BLOCK];
  for (uint32_t b = 0; b < m->blocks; b++, blocks += lm_block_bytes(p->part->format)) {
    size_t at = (size_t)(place / LM_VK_UNIT) * m->blocks + b;
    float *scales = p->scales + at * block_scales(m->format);
    uint32_t *quants = p->quants + at * block_words(m->format);
    block_quants(p->part->format, blocks, is_byte(m->format), q);
    if (is_byte(m->format))
      put_bytes(quants, lane, slot, q);
    else
      put_nibbles(quants, lane, slot, q);
    if (has_min(m->format)) {
      float *pair = scales + (slot / 2 * LM_VK_LANES + lane) * 4 + slot % 2 * 2;
      pair[0] = scale_at(blocks);
      pair[1] = p->part->format == LM_Q4_1 ? scale_at(blocks + 2) : 0.0f;
    } else {
      scales[(slot / 4 * LM_VK_LANES + lane) * 4 + slot % 4] = scale_at(blocks);
    }
  }
}

static int32_t put_rows(void *user, uint32_t first_row, uint32_t row_count, const uint8_t *blocks) {
  const packing *p = user;
  size_t row_bytes = (size_t)p->matrix->blocks * lm_block_bytes(p->part->format);
  for (uint32_t i = 0; i < row_count; i++)
    put_row(p, row_place(p, first_row + i), blocks + i * row_bytes);
  return DEAI_OK;
}

/* fold_exponent multiplies the scales of the part's rows by 2^xT, which is exact. */
static void fold_exponent(const packing *p, int32_t exponent) {
  const lm_vk_matrix *m = p->matrix;
  float factor = lm_pow2(exponent);
  uint32_t each = has_min(m->format) ? 2 : 4; /* rows of a texel */
  for (uint32_t r = 0; r < p->part->rows; r++) {
    uint32_t place = row_place(p, r);
    uint32_t slot = place % 8;
    p->exponents[p->turns ? place / LM_VK_UNIT * 2 + p->which : place / 32] = exponent;
    for (uint32_t b = 0; b < m->blocks; b++) {
      size_t at = (size_t)(place / LM_VK_UNIT) * m->blocks + b;
      float *texel = p->scales + at * block_scales(m->format) +
                     (slot / each * LM_VK_LANES + place % LM_VK_UNIT / 8) * 4;
      for (uint32_t i = 0; i < 4 / each; i++)
        texel[slot % each * (4 / each) + i] *= factor;
    }
  }
}

static int32_t read_parts(packing *p, const lm_model *model, const lm_matrix *const *parts,
                          uint32_t count, lm_error *error) {
  for (uint32_t i = 0; i < count; i++) {
    int32_t exponent = 0;
    p->part = parts[i];
    p->which = i;
    int32_t status = lm_model_read(model, parts[i], put_rows, p, &exponent, error);
    if (status != DEAI_OK) return status;
    fold_exponent(p, exponent);
    p->base += parts[i]->rows;
  }
  return DEAI_OK;
}

static int32_t put_on_device(lm_vk_device *d, lm_vk_buffer *buffer, const void *from,
                             uint64_t bytes, bool floating, VkBufferView *view_out) {
  int32_t status = lm_vk_buffer_open(d, bytes, LM_VK_LOCAL, buffer);
  if (status == DEAI_OK) status = lm_vk_upload(d, buffer, 0, from, bytes);
  if (status == DEAI_OK && view_out != NULL)
    status = lm_vk_view_open(d, buffer, 0, bytes, floating, view_out);
  return status;
}

static int32_t put_all(lm_vk_device *d, const packing *p, lm_error *error) {
  lm_vk_matrix *m = p->matrix;
  size_t blocks = block_count(m);
  int32_t status = put_on_device(d, &m->quants, p->quants, blocks * block_words(m->format) * 4,
                                 false, &m->quants_view);
  if (status == DEAI_OK)
    status = put_on_device(d, &m->scales, p->scales, blocks * block_scales(m->format) * 4, true,
                           &m->scales_view);
  if (status == DEAI_OK)
    status = put_on_device(d, &m->exponents, p->exponents, (uint64_t)m->units * 2 * 4, false, NULL);
  if (status == DEAI_OK) return DEAI_OK;
  return lm_fail(error, status,
                 "vulkan: room for a matrix of %u x %u weights expected, the device has less",
                 m->rows, m->blocks * LM_BLOCK);
}

static uint32_t common_format(const lm_matrix *const *parts, uint32_t count) {
  uint32_t format = (uint32_t)parts[0]->format;
  for (uint32_t i = 1; i < count; i++)
    if ((uint32_t)parts[i]->format != format) return LM_VK_WIDE;
  return format;
}

int32_t lm_vk_matrix_open(lm_vk_device *device, const lm_model *model,
                          const lm_matrix *const *parts, uint32_t part_count, bool turns,
                          lm_vk_matrix *matrix, lm_error *error) {
  *matrix = (lm_vk_matrix){.format = common_format(parts, part_count),
                           .blocks = parts[0]->cols / LM_BLOCK};
  for (uint32_t i = 0; i < part_count; i++)
    matrix->rows += parts[i]->rows;
  matrix->units = (matrix->rows + LM_VK_UNIT - 1) / LM_VK_UNIT;
  packing p = {.matrix = matrix, .turns = turns};
  size_t blocks = block_count(matrix);
  p.quants = calloc(blocks, block_words(matrix->format) * sizeof *p.quants);
  p.scales = calloc(blocks, block_scales(matrix->format) * sizeof *p.scales);
  p.exponents = calloc(matrix->units, 2 * sizeof *p.exponents);
  int32_t status = DEAI_ENOMEM;
  if (p.quants == NULL || p.scales == NULL || p.exponents == NULL)
    (void)lm_fail(error, status, "vulkan: no memory to read the weights");
  else
    status = read_parts(&p, model, parts, part_count, error);
  if (status == DEAI_OK) status = put_all(device, &p, error);
  free(p.quants);
  free(p.scales);
  free(p.exponents);
  if (status != DEAI_OK) lm_vk_matrix_close(device, matrix);
  return status;
}

void lm_vk_matrix_close(lm_vk_device *device, lm_vk_matrix *m) {
  if (m->quants_view != VK_NULL_HANDLE) vkDestroyBufferView(device->device, m->quants_view, NULL);
  if (m->scales_view != VK_NULL_HANDLE) vkDestroyBufferView(device->device, m->scales_view, NULL);
  lm_vk_buffer_close(device, &m->quants);
  lm_vk_buffer_close(device, &m->scales);
  lm_vk_buffer_close(device, &m->exponents);
  *m = (lm_vk_matrix){0};
}

uint64_t lm_vk_matrix_bytes(const lm_vk_matrix *matrix) {
  return matrix->quants.bytes + matrix->scales.bytes + matrix->exponents.bytes;
}
