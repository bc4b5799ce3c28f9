#include "plugins/compute/lm/exact.h"

#include "plugins/compute/lm/model.h"
#include "tests/plugins/compute/lm/tiny.h"
#include "tests/testing.h"

#include <fenv.h>
#include <math.h>
#include <stdlib.h>

#include "host/base/banned.h"

static double ulps(float got, double expected) {
  float near = (float)fabs(expected);
  double unit = (double)(nextafterf(near, INFINITY) - near);
  return fabs((double)got - expected) / unit;
}

START_TEST(rounding_other_than_nearest_is_noticed) {
  static const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
  for (size_t i = 0; i < 3; i++) {
    ck_assert_int_eq(fesetround(modes[i]), 0);
    bool nearest = lm_rounds_to_nearest();
    ck_assert_int_eq(fesetround(FE_TONEAREST), 0);
    ck_assert(!nearest);
  }
  ck_assert(lm_rounds_to_nearest());
}
END_TEST

START_TEST(store_keeps_the_range) {
  uint32_t fault = 0;
  ck_assert_uint_eq(lm_bits(lm_store(-0.0f, &fault)), 0);
  ck_assert_uint_eq(lm_bits(lm_store(-0x1.fffffep-61f, &fault)), 0);
  ck_assert(lm_store(0x1p-60f, &fault) == 0x1p-60f);
  ck_assert(lm_store(-0x1.fffffep59f, &fault) == -0x1.fffffep59f);
  ck_assert_uint_eq(fault, 0);
  const float bad[] = {0x1p60f, -0x1p60f, INFINITY, -INFINITY, NAN};
  for (size_t i = 0; i < 5; i++) {
    fault = 0;
    ck_assert_uint_eq(lm_bits(lm_store(bad[i], &fault)), 0);
    ck_assert_uint_eq(fault, 1);
  }
}
END_TEST

START_TEST(halves_decode_and_round) {
  for (uint32_t h = 0; h < 0x7c00; h++) {
    int exponent = (int)(h >> 10);
    double expected = exponent == 0 ? ldexp(h, -24) : ldexp(1024 + (h & 1023), exponent - 25);
    ck_assert((double)lm_half((uint16_t)h) == expected);
    ck_assert((double)lm_half((uint16_t)(h | 0x8000)) == -expected);
    ck_assert_uint_eq(lm_half_of((float)expected), h);
    if (h == 0x7bff) break;
    float middle = (lm_half((uint16_t)h) + lm_half((uint16_t)(h + 1))) * 0.5f;
    ck_assert_uint_eq(lm_half_of(middle), h + (h & 1));
    ck_assert_uint_eq(lm_half_of(nextafterf(middle, 1e9f)), h + 1);
    ck_assert_uint_eq(lm_half_of(nextafterf(middle, 0.0f)), h);
  }
  ck_assert_uint_eq(lm_half_of(65519.0f), 0x7bff);
  ck_assert_uint_eq(lm_half_of(65520.0f), 0x7c00);
  ck_assert_uint_eq(lm_half_of(0x1p59f), 0x7c00);
  ck_assert_uint_eq(lm_half_of(0x1p-60f), 0);
}
END_TEST

START_TEST(exponential_is_within_an_ulp) {
  double worst = 0.0;
  for (uint32_t b = lm_bits(0x1p-20f); b < lm_bits(88.0f); b += 97) {
    float x = lm_float(b);
    double over = ulps(lm_ex(x), exp((double)x));
    worst = over > worst ? over : worst;
    double under = x > 86.0f ? 0.0 : ulps(lm_ex(-x), exp(-(double)x));
    worst = under > worst ? under : worst;
  }
  ck_assert_double_lt(worst, 1.0);
  ck_assert(lm_ex(0.0f) == 1.0f);
  ck_assert_uint_eq(lm_bits(lm_ex(-86.00001f)), 0);
  ck_assert_uint_eq(lm_bits(lm_ex(-0x1p80f)), 0);
}
END_TEST

START_TEST(reciprocal_and_root_are_within_two_ulps) {
  double worst_rc = 0.0;
  double worst_rsq = 0.0;
  for (uint32_t m = 0; m < 1u << 24; m += 5) { /* all mantissas by steps, both parities */
    float a = lm_float(0x3f800000u + m);
    double rc = ulps(lm_rc(a), 1.0 / (double)a);
    double rsq = ulps(lm_rsq(a), 1.0 / sqrt((double)a));
    worst_rc = rc > worst_rc ? rc : worst_rc;
    worst_rsq = rsq > worst_rsq ? rsq : worst_rsq;
  }
  ck_assert_double_lt(worst_rc, 1.26);
  ck_assert_double_lt(worst_rsq, 1.95);
  for (int e = -119; e < 120; e++) {
    ck_assert_double_lt(ulps(lm_rc(ldexpf(1.7f, e)), 1.0 / (double)ldexpf(1.7f, e)), 1.26);
    ck_assert_double_lt(ulps(lm_rsq(ldexpf(1.7f, e)), 1.0 / sqrt((double)ldexpf(1.7f, e))), 1.95);
  }
}
END_TEST

START_TEST(silu_is_within_four_ulps) {
  double worst = 0.0;
  for (uint32_t b = lm_bits(0x1p-20f); b < lm_bits(79.0f); b += 211) {
    for (int sign = -1; sign <= 1; sign += 2) {
      float x = lm_float(b) * (float)sign;
      double error = ulps(lm_silu(x), (double)x / (1.0 + exp(-(double)x)));
      worst = error > worst ? error : worst;
    }
  }
  ck_assert_double_lt(worst, 3.3);
}
END_TEST

START_TEST(integers_become_floats_truncated) {
  ck_assert(lm_i2f(0) == 0.0f);
  ck_assert(lm_i2f((1 << 24) - 1) == 16777215.0f);
  ck_assert(lm_i2f((1 << 25) + 3) == 33554434.0f);
  ck_assert(lm_i2f(INT64_MAX) == 0x1.fffffep62f);
}
END_TEST

START_TEST(norm_and_softmax_are_near_the_truth) {
  uint64_t seed = 5;
  float x[576];
  float w[576];
  float y[576];
  uint32_t fault = 0;
  for (int scale = -30; scale <= 30; scale += 6) {
    double sum = 0.0;
    for (int i = 0; i < 576; i++) {
      x[i] = ldexpf((float)(int32_t)tiny_random(&seed) * 0x1p-31f, scale);
      w[i] = 1.0f;
      sum += (double)x[i] * (double)x[i];
    }
    lm_rms_norm(x, w, 576, 1e-5f, y, &fault);
    double r = 1.0 / sqrt(sum / 576 + (double)1e-5f);
    for (int i = 0; i < 576; i++)
      ck_assert_double_le(fabs((double)y[i] - (double)x[i] * r), 1e-6 * fabs((double)x[i] * r));
  }
  ck_assert_uint_eq(fault, 0);
  double sum = 0.0;
  for (int i = 0; i < 576; i++)
    sum += exp((double)(y[i] = (float)(int32_t)tiny_random(&seed) * 0x1p-28f));
  float p[576];
  memcpy(p, y, sizeof p);
  lm_softmax(p, 576);
  for (int i = 0; i < 576; i++)
    ck_assert_double_lt(fabs((double)p[i] - exp((double)y[i]) / sum), 5e-7);
}
END_TEST

START_TEST(rope_table_is_half_an_ulp_of_one_off) {
  enum { CTX = 8192, PAIRS = 32 };
  float *table = malloc(sizeof(float) * CTX * PAIRS * 2);
  ck_assert_ptr_nonnull(table);
  const double bases[] = {1e4, 1e5, 1e6};
  for (int b = 0; b < 3; b++) {
    lm_rope_table(table, CTX, PAIRS, bases[b], 1.0);
    for (uint32_t p = 0; p < CTX; p += 7) {
      for (uint32_t i = 0; i < PAIRS; i++) {
        double angle = p * pow(bases[b], -2.0 * i / (2.0 * PAIRS));
        const float *at = table + 2 * ((size_t)p * PAIRS + i);
        ck_assert_double_lt(fabs((double)at[0] - cos(angle)), 6e-8);
        ck_assert_double_lt(fabs((double)at[1] - sin(angle)), 6e-8);
      }
    }
  }
  free(table);
}
END_TEST

START_TEST(double_helpers_are_near_libm) {
  for (double x = 0x1p-30; x < 0x1p40; x *= 1.37)
    ck_assert_double_lt(fabs(lm_ln(x) - log(x)), 1e-14 * (1.0 + fabs(log(x))));
  ck_assert(lm_inverse_root(64) == 0.125f);
  ck_assert(lm_inverse_root(96) == (float)(1.0 / sqrt(96.0)));
  ck_assert_int_eq(lm_round_even(2.5), 2);
  ck_assert_int_eq(lm_round_even(-3.5), -4);
  ck_assert_int_eq(lm_round_even(-1e15 - 0.25), INT64_C(-1000000000000000));
}
END_TEST

START_TEST(quantiser_is_within_half_a_step) {
  uint64_t seed = 9;
  for (int round = 0; round < 2000; round++) {
    float x[32];
    int16_t q[32];
    int8_t bytes[32];
    int32_t asum;
    int32_t expected = 0;
    for (int i = 0; i < 32; i++)
      x[i] = ldexpf((float)(int32_t)tiny_random(&seed) * 0x1p-31f, round % 100 - 50);
    float d = lm_quantise_block(x, q, &asum);
    float coarse = lm_quantise_bytes(x, bytes);
    for (int i = 0; i < 32; i++) {
      double v = (double)x[i];
      ck_assert_double_le(fabs(v - (double)q[i] * (double)d), 0.502 * (double)d);
      ck_assert_double_le(fabs(v - (double)bytes[i] * (double)coarse), 0.5001 * (double)coarse);
      expected += q[i];
    }
    ck_assert_int_eq(asum, expected);
  }
  float x[32] = {0};
  int16_t q[32];
  int8_t bytes[32];
  int32_t asum = 1;
  ck_assert(lm_quantise_block(x, q, &asum) == 0.0f);
  ck_assert(lm_quantise_bytes(x, bytes) == 0.0f);
  ck_assert_int_eq(asum, 0);
  x[7] = -3.0f; /* the largest becomes the end of the range */
  x[8] = 1.5f;
  ck_assert(lm_quantise_block(x, q, &asum) == 3.0f * (1.0f / 4095.0f));
  ck_assert_int_eq(q[7], -4095);
  ck_assert_int_eq(q[8], 2048); /* 2047.5, ties to even */
  ck_assert_int_eq(asum, 2048 - 4095);
  ck_assert(lm_quantise_bytes(x, bytes) == 3.0f * (1.0f / 127.0f));
  ck_assert_int_eq(bytes[7], -127);
  ck_assert_int_eq(bytes[8], 64);
}
END_TEST

START_TEST(requantised_blocks_refuse_what_does_not_fit) {
  float x[32] = {0};
  uint8_t block[34];
  ck_assert(lm_requantise(x, block));
  const float bad[] = {INFINITY, NAN, 0x1p60f, 65504.0f * 128.0f};
  for (int i = 0; i < 4; i++) {
    x[3] = bad[i];
    ck_assert(!lm_requantise(x, block));
  }
  x[3] = 1.0f;
  x[4] = -0.5f;
  ck_assert(lm_requantise(x, block));
  uint16_t half;
  memcpy(&half, block, 2);
  ck_assert_double_lt(fabs((double)lm_half(half) - 1.0 / 127), 1e-5);
  ck_assert_int_eq((int8_t)block[2 + 3], 127);
}
END_TEST

/* The hardest rows for M6: d q = -m, so that weights cancel while the terms are large. */
START_TEST(hostile_rows_cannot_overflow_an_accumulator) {
  uint64_t seed = 77;
  for (int round = 0; round < 400; round++) {
    enum { BLOCKS = 64 };
    uint8_t row[BLOCKS * 20];
    bool bad = false;
    int32_t exponent = 0;
    uint16_t d = (uint16_t)(tiny_random(&seed) % 0x6c00);
    uint16_t q = (uint16_t)(tiny_random(&seed) % 16);
    uint16_t m = (uint16_t)(lm_half_of(fminf(lm_half(d) * (float)q, 65504.0f)) | 0x8000u);
    for (int b = 0; b < BLOCKS; b++) {
      memcpy(row + (size_t)b * 20, &d, 2);
      memcpy(row + (size_t)b * 20 + 2, &m, 2);
      memset(row + (size_t)b * 20 + 4, q | q << 4, 16);
    }
    ck_assert(lm_tensor_exponent(lm_row_bound(LM_Q4_1, row, BLOCKS, &bad), &exponent));
    ck_assert(!bad);
    double sum = 0.0;
    for (int b = 0; b < BLOCKS; b++) {
      float s = lm_half(d) * 0x1.fffffep-1f;
      float p = (float)(32 * q * LM_ACT_MAX) * s;
      p = p + lm_half(m) * (0x1.fffffep-1f * (float)(32 * LM_ACT_MAX));
      sum += fabs((double)p * ldexp(1.0, exponent));
    }
    ck_assert_double_lt(sum, 0x1p30);
  }
  uint8_t block[20] = {0, 0x7c};
  bool bad = false;
  (void)lm_row_bound(LM_Q4_1, block, 1, &bad);
  ck_assert(bad);
  int32_t exponent;
  ck_assert(!lm_tensor_exponent(((UINT64_C(1) << 62) - 1) / 4095 + 1, &exponent));
  ck_assert(lm_tensor_exponent(((UINT64_C(1) << 62) - 1) / 4095, &exponent));
  ck_assert_int_eq(exponent, 54 - 62);
  ck_assert(lm_tensor_exponent(0, &exponent));
  ck_assert_int_eq(exponent, 54);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("exact");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, rounding_other_than_nearest_is_noticed);
  tcase_add_test(tests, store_keeps_the_range);
  tcase_add_test(tests, halves_decode_and_round);
  tcase_add_test(tests, exponential_is_within_an_ulp);
  tcase_add_test(tests, reciprocal_and_root_are_within_two_ulps);
  tcase_add_test(tests, silu_is_within_four_ulps);
  tcase_add_test(tests, integers_become_floats_truncated);
  tcase_add_test(tests, norm_and_softmax_are_near_the_truth);
  tcase_add_test(tests, rope_table_is_half_an_ulp_of_one_off);
  tcase_add_test(tests, double_helpers_are_near_libm);
  tcase_add_test(tests, quantiser_is_within_half_a_step);
  tcase_add_test(tests, requantised_blocks_refuse_what_does_not_fit);
  tcase_add_test(tests, hostile_rows_cannot_overflow_an_accumulator);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
