/* Each AVX2 kernel alone against the portable one, bit for bit. */
#include "plugins/compute/cpu/kernels.h"

#include "pieces.h"
#include "tests/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define WIDE 96

static const uint32_t types[] = {2, 3, 8};

static bool missing(void) {
  if (lm_kernels_avx2() != NULL) return false;
  printf("kernels_avx2: skipped, this processor or build has no AVX2\n");
  return true;
}

static void same(const float *a, const float *b, size_t count) {
  for (size_t i = 0; i < count; i++)
    ck_assert_msg(lm_bits(a[i]) == lm_bits(b[i]), "value %zu: %a and %a", i, (double)a[i],
                  (double)b[i]);
}

START_TEST(matmul) {
  if (missing()) return;
  enum { COLUMNS = 9 };
  lm_weights weights;
  lm_model *model = pieces_weights(types[_i], &weights);
  const lm_packed *w = &weights.output;
  lm_acts acts = pieces_acts(lm_kernels_c(), COLUMNS, w->cols, 5);
  size_t count = (size_t)COLUMNS * w->groups * 8;
  float *plain = pieces_room((uint32_t)count);
  float *fast = pieces_room((uint32_t)count);
  for (uint32_t columns = 1; columns <= COLUMNS; columns++) {
    for (uint32_t group = 0; group < w->groups; group += 5) {
      uint32_t faults[COLUMNS] = {0};
      uint32_t groups = w->groups - group < 7 ? w->groups - group : 7;
      uint32_t first = COLUMNS - columns;
      lm_kernels_c()->matmul(w, group, groups, &acts, first, columns, plain, 64, faults);
      lm_kernels_avx2()->matmul(w, group, groups, &acts, first, columns, fast, 64, faults);
      same(plain, fast, count);
    }
  }
  free(plain);
  free(fast);
  pieces_acts_free(&acts);
  lm_weights_close(&weights);
  lm_model_close(model);
}
END_TEST

static void quantise_one(const float *x, uint32_t n) {
  int8_t q[2][WIDE];
  float d[2][WIDE / 32];
  int32_t sums[2][WIDE / 32];
  lm_kernels_c()->quantise(x, n, q[0], d[0], sums[0]);
  lm_kernels_avx2()->quantise(x, n, q[1], d[1], sums[1]);
  ck_assert_int_eq(memcmp(q[0], q[1], n), 0);
  ck_assert_int_eq(memcmp(sums[0], sums[1], n / 32 * sizeof(int32_t)), 0);
  same(d[0], d[1], n / 32);
}

START_TEST(columns) {
  if (missing()) return;
  static const float scales[] = {0.0f, 1e-30f, 1e-3f, 1.0f, 300.0f, 0x1p59f};
  float *x = pieces_room(WIDE);
  float *w = pieces_room(WIDE);
  float *plain = pieces_room(WIDE);
  float *fast = pieces_room(WIDE);
  uint64_t seed = 77;
  for (size_t round = 0; round < 60; round++) {
    float scale = scales[round % 6];
    uint32_t faults[2] = {0};
    pieces_floats(x, WIDE, scale, &seed);
    pieces_floats(w, WIDE, 2.0f, &seed);
    if (round % 7 == 0) x[round] = scale;
    quantise_one(x, WIDE);
    lm_kernels_c()->rms_norm(x, w, WIDE, 1e-5f, plain, &faults[0]);
    lm_kernels_avx2()->rms_norm(x, w, WIDE, 1e-5f, fast, &faults[1]);
    same(plain, fast, WIDE);
    memcpy(plain, x, WIDE * sizeof *x);
    memcpy(fast, x, WIDE * sizeof *x);
    lm_kernels_c()->add(plain, x, WIDE, &faults[0]);
    lm_kernels_avx2()->add(fast, x, WIDE, &faults[1]);
    same(plain, fast, WIDE);
    lm_kernels_c()->gate(plain, w, WIDE, &faults[0]);
    lm_kernels_avx2()->gate(fast, w, WIDE, &faults[1]);
    same(plain, fast, WIDE);
    ck_assert_uint_eq(faults[0], faults[1]);
  }
  free(x);
  free(w);
  free(plain);
  free(fast);
}
END_TEST

START_TEST(attention) {
  if (missing()) return;
  enum { MOST = 70 };
  lm_cache *cache = pieces_cache(MOST, 8);
  const lm_kv *kv = &cache->heads[0];
  lm_head query;
  uint64_t seed = 2;
  int32_t room[2][MOST + 8];
  float *out[4];
  for (int i = 0; i < 4; i++)
    out[i] = pieces_room(MOST);
  for (uint32_t n = 1; n <= MOST; n++) {
    uint32_t faults[2] = {0};
    pieces_head(&query, &seed);
    lm_kernels_c()->scores(&query, kv, n, 0.125f, out[0], &faults[0]);
    lm_kernels_avx2()->scores(&query, kv, n, 0.125f, out[1], &faults[1]);
    same(out[0], out[1], n);
    lm_kernels_c()->softmax(out[0], n);
    lm_kernels_avx2()->softmax(out[1], n);
    same(out[0], out[1], n);
    lm_kernels_c()->values(out[0], kv, n, room[0], out[2], &faults[0]);
    lm_kernels_avx2()->values(out[1], kv, n, room[1], out[3], &faults[1]);
    same(out[2], out[3], PIECES_DIM);
    ck_assert_uint_eq(faults[0], faults[1]);
  }
  for (int i = 0; i < 4; i++)
    free(out[i]);
  lm_cache_close(cache);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("kernels_avx2");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_loop_test(tests, matmul, 0, 3);
  tcase_add_test(tests, columns);
  tcase_add_test(tests, attention);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
