#include "plugins/compute/cpu/weights.h"

#include "run.h"
#include "tests/plugins/compute/lm/tiny.h"
#include "tests/testing.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

typedef struct raw {
  const lm_packed *packed;
  uint32_t rows;
} raw;

/* The embedding row of a block by the definition of its format. */
static float value_of(lm_format format, const uint8_t *block, uint32_t i) {
  uint16_t scales[2];
  memcpy(scales, block, sizeof scales);
  uint32_t head = format == LM_Q4_1 ? 4 : 2;
  if (format == LM_Q8_0) return (float)(int8_t)block[head + i] * lm_half(scales[0]);
  int32_t q = i < 16 ? block[head + i] & 15 : block[head + i - 16] >> 4;
  if (format == LM_Q4_0) return (float)(q - 8) * lm_half(scales[0]);
  float product = (float)q * lm_half(scales[0]);
  return product + lm_half(scales[1]);
}

static int32_t check_rows(void *user, uint32_t first_row, uint32_t row_count,
                          const uint8_t *blocks) {
  raw *r = user;
  float row[TINY_EMBD];
  uint32_t fault = 0;
  for (uint32_t i = 0; i < row_count; i++) {
    lm_weights_row(r->packed, first_row + i, row, &fault);
    for (uint32_t k = 0; k < TINY_EMBD; k++) {
      const uint8_t *block =
          blocks + ((size_t)i * r->packed->blocks + k / 32) * lm_block_bytes(r->packed->format);
      float expected = lm_store(value_of(r->packed->format, block, k % 32), &fault);
      ck_assert(lm_bits(row[k]) == lm_bits(expected));
    }
    r->rows++;
  }
  ck_assert_uint_eq(fault, 0);
  return DEAI_OK;
}

START_TEST(rows_come_back_as_they_lay_in_the_file) {
  static const uint32_t types[] = {0, 1, 2, 3, 8};
  tiny_file file = {0};
  tiny_model(&file, &(tiny_options){.type = types[_i], .seed = 6, .vocab_extra = 3}, NULL);
  lm_model *model = run_model(tiny_save(&file, "weights.gguf"), 0);
  tiny_free(&file);
  lm_weights weights;
  lm_error error = {{0}};
  ck_assert_int_eq(lm_weights_open(model, &weights, &error), DEAI_OK);
  raw r = {.packed = &weights.embedding};
  int32_t exponent;
  ck_assert_int_eq(
      lm_model_read(model, lm_model_embedding(model), check_rows, &r, &exponent, &error), DEAI_OK);
  ck_assert_uint_eq(r.rows, TINY_VOCAB + 3);
  ck_assert_int_eq(exponent, weights.embedding.exponent);
  ck_assert_ptr_eq(weights.output.quants, weights.embedding.quants);
  lm_weights_close(&weights);
  lm_weights_close(&weights);
  lm_model_close(model);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("weights");
  TCase *tests = tcase_create("all");
  tcase_add_loop_test(tests, rows_come_back_as_they_lay_in_the_file, 0, 5);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
