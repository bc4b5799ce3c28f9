/* The reference kernels against their definition in double. */
#include "plugins/compute/cpu/kernels.h"

#include "pieces.h"
#include "tests/plugins/compute/lm/tiny.h"
#include "tests/testing.h"

#include <math.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define COLUMNS 3

static const uint32_t types[] = {2, 3, 8};

static double weight_sum(const lm_packed *w, uint32_t row, const lm_acts *acts, uint32_t column,
                         double *size_out) {
  float *weights = pieces_room(w->cols);
  uint32_t fault = 0;
  double sum = 0.0;
  lm_weights_row(w, row, weights, &fault);
  *size_out = 0.0;
  for (uint32_t i = 0; i < w->cols; i++) {
    size_t block = (size_t)column * acts->blocks + i / LM_BLOCK;
    double d = ldexp((double)acts->d[block], acts->e[column]);
    double term = (double)weights[i] * acts->q[(size_t)column * acts->cols + i] * d;
    sum += term;
    *size_out += fabs(term);
  }
  free(weights);
  return sum;
}

START_TEST(matmul_is_the_sum_of_products) {
  lm_weights weights;
  lm_model *model = pieces_weights(types[_i], &weights);
  const lm_packed *w = &weights.output; /* its last group has missing rows */
  lm_acts acts = pieces_acts(lm_kernels_c(), COLUMNS, w->cols, 5);
  float *y = pieces_room(COLUMNS * (w->rows + 8));
  uint32_t faults[COLUMNS] = {0};
  y[w->rows] = 77.0f;
  lm_kernels_c()->matmul(w, 0, w->groups, &acts, 0, COLUMNS, y, w->rows + 8, faults);
  ck_assert(y[w->rows] == 77.0f); /* rows beyond the matrix are not written */
  for (uint32_t c = 0; c < COLUMNS; c++) {
    for (uint32_t r = 0; r < w->rows; r++) {
      double size;
      double expected = weight_sum(w, r, &acts, c, &size);
      double found = (double)y[(size_t)c * (w->rows + 8) + r];
      ck_assert_double_lt(fabs(found - expected), 1e-4 * size + 1e-9);
    }
    ck_assert_uint_eq(faults[c], 0);
  }
  free(y);
  pieces_acts_free(&acts);
  lm_weights_close(&weights);
  lm_model_close(model);
}
END_TEST

START_TEST(columns_do_not_know_each_other) {
  lm_weights weights;
  lm_model *model = pieces_weights(types[_i], &weights);
  const lm_packed *w = &weights.output;
  lm_acts acts = pieces_acts(lm_kernels_c(), COLUMNS, w->cols, 5);
  float *all = pieces_room(COLUMNS * w->rows);
  float *one = pieces_room(w->rows);
  uint32_t faults[COLUMNS] = {0};
  lm_kernels_c()->matmul(w, 0, w->groups, &acts, 0, COLUMNS, all, w->rows, faults);
  for (uint32_t c = 0; c < COLUMNS; c++) {
    lm_kernels_c()->matmul(w, 0, w->groups, &acts, c, 1, one, w->rows, faults);
    for (uint32_t r = 0; r < w->rows; r++)
      ck_assert(lm_bits(one[r]) == lm_bits(all[(size_t)c * w->rows + r]));
  }
  free(all);
  free(one);
  pieces_acts_free(&acts);
  lm_weights_close(&weights);
  lm_model_close(model);
}
END_TEST

START_TEST(values_of_two_to_the_sixty_are_faults) {
  float *x = pieces_room(32);
  float *y = pieces_room(32);
  uint32_t fault = 0;
  for (int i = 0; i < 32; i++)
    x[i] = y[i] = 0x1p58f;
  lm_kernels_c()->add(x, y, 32, &fault);
  ck_assert_uint_eq(fault, 0);
  lm_kernels_c()->add(x, x, 32, &fault);
  ck_assert_uint_eq(fault, 1);
  fault = 0;
  for (int i = 0; i < 32; i++)
    x[i] = 0x1p30f;
  lm_kernels_c()->gate(x, y, 32, &fault);
  ck_assert_uint_eq(fault, 1);
  free(x);
  free(y);
}
END_TEST

START_TEST(gate_and_softmax_are_near_their_formulas) {
  float *gate = pieces_room(64);
  float *up = pieces_room(64);
  float *x = pieces_room(64);
  uint64_t seed = 3;
  uint32_t fault = 0;
  double total = 0.0;
  pieces_floats(gate, 64, 9.0f, &seed);
  pieces_floats(up, 64, 3.0f, &seed);
  for (int i = 0; i < 64; i++)
    x[i] = gate[i];
  lm_kernels_c()->gate(x, up, 64, &fault);
  for (int i = 0; i < 64; i++) {
    double expected = (double)gate[i] / (1.0 + exp(-(double)gate[i])) * (double)up[i];
    ck_assert_double_lt(fabs((double)x[i] - expected), 1e-6 * fabs(expected) + 1e-12);
  }
  lm_kernels_c()->softmax(gate, 61);
  for (int i = 0; i < 61; i++)
    total += (double)gate[i];
  ck_assert_double_lt(fabs(total - 1.0), 1e-5);
  free(gate);
  free(up);
  free(x);
}
END_TEST

START_TEST(attention_is_near_its_formula) {
  enum { N = 21 };
  lm_cache *cache = pieces_cache(N, 8);
  lm_head query;
  lm_head head;
  lm_value value;
  uint64_t seed = 2;
  uint64_t again = 8;
  uint32_t fault = 0;
  int32_t room[24];
  float *scores = pieces_room(N);
  float *out = pieces_room(PIECES_DIM);
  double mixed[PIECES_DIM] = {0};
  pieces_head(&query, &seed);
  lm_kernels_c()->scores(&query, &cache->heads[0], N, 0.125f, scores, &fault);
  for (uint32_t i = 0; i < N; i++) {
    double sum = 0.0;
    pieces_head(&head, &again); /* K of position i, as the cache got it */
    for (uint32_t j = 0; j < PIECES_DIM; j++)
      sum += (double)query.q[j] * (double)query.d[j / 32] * head.q[j] * (double)head.d[j / 32];
    ck_assert_double_lt(fabs((double)scores[i] - sum * 0.125), 1e-5 * fabs(sum) + 1e-3);
    pieces_value(&value, &again);
    for (uint32_t j = 0; j < PIECES_DIM; j++)
      mixed[j] += (double)value.q[j] * (double)value.d[j / 32] / N;
  }
  for (uint32_t i = 0; i < N; i++)
    scores[i] = 1.0f / N;
  lm_kernels_c()->values(scores, &cache->heads[0], N, room, out, &fault);
  for (uint32_t j = 0; j < PIECES_DIM; j++)
    ck_assert_double_lt(fabs((double)out[j] - mixed[j]), 1e-4);
  ck_assert_uint_eq(fault, 0);
  free(scores);
  free(out);
  lm_cache_close(cache);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("kernels_c");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, values_of_two_to_the_sixty_are_faults);
  tcase_add_loop_test(tests, matmul_is_the_sum_of_products, 0, 3);
  tcase_add_loop_test(tests, columns_do_not_know_each_other, 0, 3);
  tcase_add_test(tests, gate_and_softmax_are_near_their_formulas);
  tcase_add_test(tests, attention_is_near_its_formula);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
