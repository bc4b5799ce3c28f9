#include "plugins/compute/vulkan/weights.h"

#include "plugins/compute/cpu/weights.h"
#include "tests/testing.h"
#include "twin.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

/* A matrix read back from the device. */
typedef struct back {
  const lm_vk_matrix *matrix;
  uint32_t *quants;
  float *scales;
  int32_t *exponents;
} back;

static void *download(lm_vk_device *device, const lm_vk_buffer *buffer) {
  lm_vk_buffer shared;
  void *bytes = malloc((size_t)buffer->bytes);
  ck_assert_ptr_nonnull(bytes);
  ck_assert_int_eq(lm_vk_buffer_open(device, buffer->bytes, LM_VK_SHARED, &shared), DEAI_OK);
  ck_assert_int_eq(lm_vk_begin(device), DEAI_OK);
  const VkBufferCopy copy = {.size = buffer->bytes};
  vkCmdCopyBuffer(device->commands, buffer->buffer, shared.buffer, 1, &copy);
  ck_assert_int_eq(lm_vk_finish(device), DEAI_OK);
  memcpy(bytes, shared.mapped, (size_t)buffer->bytes);
  lm_vk_buffer_close(device, &shared);
  return bytes;
}

static back read_back(lm_vk_device *device, const lm_vk_matrix *matrix) {
  return (back){.matrix = matrix,
                .quants = download(device, &matrix->quants),
                .scales = download(device, &matrix->scales),
                .exponents = download(device, &matrix->exponents)};
}

static void back_free(back *b) {
  free(b->quants);
  free(b->scales);
  free(b->exponents);
}

/* value returns weight k of block b of row by the words of weights.h. */
static float value(const back *m, uint32_t row, uint32_t b, uint32_t k, int32_t exponent) {
  uint32_t format = m->matrix->format;
  bool low = format == LM_Q4_1 || format == LM_VK_WIDE;
  bool byte = format >= LM_Q8_0;
  size_t at = (size_t)(row / 64) * m->matrix->blocks + b;
  size_t lane = row % 64 / 8;
  size_t slot = row % 8;
  size_t part = k / 16;
  float down = lm_pow2(-exponent);
  size_t texel =
      byte ? at * 128 + (slot * 2 + part) * 8 + lane : at * 64 + (slot / 2 * 2 + part) * 8 + lane;
  uint32_t word = m->quants[texel * 4 + k % 16 / 4];
  int32_t q = byte ? (int8_t)(word >> (8 * (k % 4)) & 255)
                   : (int32_t)(word >> (4 * (k % 4) + 16 * (slot & 1)) & 15);
  if (format == LM_Q4_0) q -= 8;
  const float *scale = low ? m->scales + (at * 32 + slot / 2 * 8 + lane) * 4 + slot % 2 * 2
                           : m->scales + (at * 16 + slot / 4 * 8 + lane) * 4 + slot % 4;
  float product = (float)q * (scale[0] * down);
  return low ? product + scale[1] * down : product;
}

static void compare_row(const back *m, uint32_t place, uint32_t exponent_at,
                        const lm_packed *packed, uint32_t row) {
  float expected[128];
  uint32_t fault = 0;
  ck_assert_uint_le(packed->cols, 128);
  ck_assert_int_eq(m->exponents[exponent_at], packed->exponent);
  lm_weights_row(packed, row, expected, &fault);
  for (uint32_t i = 0; i < packed->cols; i++) {
    float found = value(m, place, i / 32, i % 32, packed->exponent);
    ck_assert(lm_bits(lm_store(found, &fault)) == lm_bits(expected[i]));
  }
}

/* rows of a part that begins at row base of the whole; turn < 0: one after the other. */
static void compare_part(const back *m, uint32_t base, int turn, const lm_packed *packed) {
  for (uint32_t row = 0; row < packed->rows; row++) {
    uint32_t place = base + row;
    if (turn >= 0) place = row / 32 * 64 + row % 32 / 4 * 8 + (uint32_t)turn * 4 + row % 4;
    compare_row(m, place, turn >= 0 ? place / 64 * 2 + (uint32_t)turn : place / 32, packed, row);
  }
}

START_TEST(a_cancelled_read_leaves_nothing) {
  lm_vk_device device;
  lm_vk_matrix matrix;
  lm_error error = {{0}};
  atomic_bool stop;
  if (!twin_has_device()) return;
  lm_model *model = twin_tiny(&(tiny_options){.type = 3, .seed = 8});
  const lm_matrix *parts[] = {lm_model_embedding(model)};
  atomic_init(&stop, true);
  lm_model_watch(model, &stop);
  ck_assert_int_eq(lm_vk_open(NULL, 64, &device, &error), DEAI_OK);
  ck_assert_int_eq(lm_vk_matrix_open(&device, model, parts, 1, false, &matrix, &error),
                   DEAI_ECANCELLED);
  ck_assert_uint_eq(lm_vk_matrix_bytes(&matrix), 0);
  lm_vk_matrix_close(&device, &matrix);
  lm_vk_close(&device);
  lm_model_close(model);
}
END_TEST

START_TEST(rows_lie_where_the_shader_looks_for_them) {
  static const tiny_options rows[] = {{.type = 0},
                                      {.type = 2},
                                      {.type = 3, .vocab_extra = 3},
                                      {.type = 8},
                                      {.type = 2, .mixed = true},
                                      {.type = 3, .mixed = true}};
  lm_vk_device device;
  lm_vk_matrix matrix;
  lm_weights host;
  lm_error error = {{0}};
  tiny_options options = rows[_i];
  options.seed = 30 + (uint64_t)_i;
  if (!twin_has_device()) return;
  lm_model *model = twin_tiny(&options);
  const lm_matrix *all[LM_WEIGHT_COUNT];
  for (uint32_t w = 0; w < LM_WEIGHT_COUNT; w++)
    all[w] = lm_model_matrix(model, 1, (lm_weight)w);
  const lm_packed *packed;
  ck_assert_int_eq(lm_weights_open(model, &host, &error), DEAI_OK);
  packed = host.layers + LM_WEIGHT_COUNT;
  ck_assert_int_eq(lm_vk_open(NULL, 64, &device, &error), DEAI_OK);
  ck_assert_int_eq(lm_vk_matrix_open(&device, model, all, 3, false, &matrix, &error), DEAI_OK);
  ck_assert_uint_eq(matrix.format, options.mixed ? LM_VK_WIDE : (uint32_t)all[0]->format);
  back m = read_back(&device, &matrix);
  compare_part(&m, 0, -1, &packed[LM_ATTN_Q]);
  compare_part(&m, all[0]->rows, -1, &packed[LM_ATTN_K]);
  compare_part(&m, all[0]->rows + all[1]->rows, -1, &packed[LM_ATTN_V]);
  back_free(&m);
  lm_vk_matrix_close(&device, &matrix);
  ck_assert_int_eq(lm_vk_matrix_open(&device, model, &all[LM_FFN_GATE], 2, true, &matrix, &error),
                   DEAI_OK);
  m = read_back(&device, &matrix);
  compare_part(&m, 0, 0, &packed[LM_FFN_GATE]);
  compare_part(&m, 0, 1, &packed[LM_FFN_UP]);
  back_free(&m);
  lm_vk_matrix_close(&device, &matrix);
  lm_vk_close(&device);
  lm_weights_close(&host);
  lm_model_close(model);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("vulkan weights");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, a_cancelled_read_leaves_nothing);
  tcase_add_loop_test(tests, rows_lie_where_the_shader_looks_for_them, 0, 6);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
