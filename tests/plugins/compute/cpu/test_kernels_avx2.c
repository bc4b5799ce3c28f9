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
  int16_t q[2][WIDE];
  int8_t bytes[2][WIDE];
  float d[2][WIDE / 32];
  int32_t sums[2][WIDE / 32];
  lm_kernels_c()->quantise(x, n, q[0], d[0], sums[0]);
  lm_kernels_avx2()->quantise(x, n, q[1], d[1], sums[1]);
  ck_assert_int_eq(memcmp(q[0], q[1], n * sizeof *q[0]), 0);
  ck_assert_int_eq(memcmp(sums[0], sums[1], n / 32 * sizeof(int32_t)), 0);
  same(d[0], d[1], n / 32);
  lm_kernels_c()->quantise_bytes(x, n, bytes[0], d[0]);
  lm_kernels_avx2()->quantise_bytes(x, n, bytes[1], d[1]);
  ck_assert_int_eq(memcmp(bytes[0], bytes[1], n), 0);
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

/* Every number at the end of its range: the largest sums there are. */
START_TEST(ends_of_the_range) {
  if (missing()) return;
  lm_shape shape = {.layers = 1, .kv_heads = 1, .head_dim = PIECES_DIM};
  lm_cache *cache = NULL;
  lm_head head = {.d = {1.0f, 1.0f}};
  float *out[2] = {pieces_room(8), pieces_room(8)};
  uint32_t fault = 0;
  ck_assert_int_eq(lm_cache_open(NULL, &shape, 8, &cache), DEAI_OK);
  for (uint32_t i = 0; i < 8; i++) {
    for (uint32_t k = 0; k < PIECES_DIM; k++)
      head.q[k] = (int16_t)((i >> k % 3 & 1) != 0 ? -LM_ACT_MAX : LM_ACT_MAX);
    lm_cache_write_k(&cache->heads[0], i, &head);
  }
  lm_kernels_c()->scores(&head, &cache->heads[0], 8, 1.0f, out[0], &fault);
  lm_kernels_avx2()->scores(&head, &cache->heads[0], 8, 1.0f, out[1], &fault);
  same(out[0], out[1], 8);
  ck_assert(out[0][7] == (float)(PIECES_DIM * LM_ACT_MAX * LM_ACT_MAX));
  ck_assert(out[0][0] == -out[0][7]);
  free(out[0]);
  free(out[1]);
  lm_cache_close(cache);
}
END_TEST

START_TEST(ends_of_the_range_of_weights) {
  if (missing()) return;
  enum { COLS = 64 };
  _Alignas(32) uint8_t quants[2 * 256];
  _Alignas(32) uint16_t scales[2 * 16];
  int16_t q[COLS];
  float d[2] = {0.5f, 0.5f};
  int32_t asum[2] = {32 * LM_ACT_MAX, 32 * -LM_ACT_MAX};
  float da[2] = {0.5f * (float)asum[0], 0.5f * (float)asum[1]};
  int32_t e = 0;
  lm_acts acts = {.cols = COLS, .blocks = 2, .q = q, .d = d, .da = da, .asum = asum, .e = &e};
  lm_packed w = {.format = (lm_format)types[_i], .rows = 8, .cols = COLS, .blocks = 2, .groups = 1};
  w.quants = quants;
  w.scales = scales;
  for (int i = 0; i < COLS; i++)
    q[i] = (int16_t)(i < 32 ? LM_ACT_MAX : -LM_ACT_MAX);
  for (int i = 0; i < 32; i++)
    scales[i] = 0x3c00; /* 1 */
  for (int sign = 0; sign < 2; sign++) {
    float y[2][8];
    uint32_t fault = 0;
    memset(quants, sign == 0 ? 0x80 : 0xff, sizeof quants);
    if (w.format == LM_Q8_0 && sign == 1) memset(quants + 256, 0x7f, 256);
    lm_kernels_c()->matmul(&w, 0, 1, &acts, 0, 1, y[0], 8, &fault);
    lm_kernels_avx2()->matmul(&w, 0, 1, &acts, 0, 1, y[1], 8, &fault);
    same(y[0], y[1], 8);
    ck_assert_uint_eq(fault, 0);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("kernels_avx2");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_loop_test(tests, matmul, 0, 3);
  tcase_add_test(tests, columns);
  tcase_add_test(tests, attention);
  tcase_add_test(tests, ends_of_the_range);
  tcase_add_loop_test(tests, ends_of_the_range_of_weights, 0, 3);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
