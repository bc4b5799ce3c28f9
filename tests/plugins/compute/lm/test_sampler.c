#include "plugins/compute/lm/sampler.h"

#include "tests/testing.h"
#include "tiny.h"

#include <math.h>
#include <string.h>

#include "host/base/banned.h"

#define COUNT 1000

static float logits[COUNT];

static void set_up(void) {
  uint64_t seed = 8;
  for (int i = 0; i < COUNT; i++)
    logits[i] = (float)(int32_t)tiny_random(&seed) * 0x1p-29f;
}

static uint32_t pick(lm_sampler sampler, uint64_t position) {
  uint32_t id = UINT32_MAX;
  ck_assert_int_eq(lm_sampler_check(&sampler), DEAI_OK);
  ck_assert_int_eq(lm_sampler_pick(&sampler, logits, COUNT, position, &id), DEAI_OK);
  return id;
}

START_TEST(settings_are_checked) {
  ck_assert_int_eq(lm_sampler_check(&(lm_sampler){.p = 0}), DEAI_EINVAL);
  ck_assert_int_eq(lm_sampler_check(&(lm_sampler){.p = LM_MICRO + 1}), DEAI_EINVAL);
  ck_assert_int_eq(lm_sampler_check(&(lm_sampler){.t = 100000001, .p = 1}), DEAI_EINVAL);
  ck_assert_uint_eq(lm_micro_of(-0.1), UINT32_MAX);
  ck_assert_uint_eq(lm_micro_of(NAN), UINT32_MAX);
  ck_assert_uint_eq(lm_micro_of(1e9), UINT32_MAX);
  ck_assert_uint_eq(lm_micro_of(0.7), 700000);
  ck_assert_uint_eq(lm_micro_of(1.0), LM_MICRO);
}
END_TEST

START_TEST(greedy_takes_the_lowest_of_equals) {
  logits[500] = logits[20] = 50.0f;
  ck_assert_uint_eq(lm_sampler_greedy(logits, COUNT), 20);
  ck_assert_uint_eq(pick((lm_sampler){.p = LM_MICRO}, 3), 20);
  ck_assert_uint_eq(pick((lm_sampler){.t = 700000, .k = 1, .p = LM_MICRO, .seed = 4}, 3), 20);
  ck_assert_uint_eq(pick((lm_sampler){.t = 1, .p = 1, .seed = 4}, 3), 20);
}
END_TEST

START_TEST(cuts_that_cut_nothing_change_nothing) {
  for (uint64_t position = 0; position < 300; position++) {
    lm_sampler open = {.t = 1000000, .p = LM_MICRO, .seed = 77};
    uint32_t id = pick(open, position);
    open.k = COUNT;
    ck_assert_uint_eq(pick(open, position), id);
    open.k = COUNT + 5;
    ck_assert_uint_eq(pick(open, position), id);
    ck_assert_uint_eq(pick(open, position), id);
  }
}
END_TEST

START_TEST(cuts_keep_the_best) {
  uint32_t better[COUNT];
  double total = 0.0;
  for (int i = 0; i < COUNT; i++) {
    better[i] = 0;
    total += exp((double)logits[i]);
    for (int j = 0; j < COUNT; j++)
      better[i] += logits[j] > logits[i] ? 1 : 0;
  }
  for (uint64_t position = 0; position < 300; position++) {
    uint32_t id = pick((lm_sampler){.t = 1000000, .k = 5, .p = LM_MICRO, .seed = 1}, position);
    ck_assert_uint_lt(better[id], 5);
    id = pick((lm_sampler){.t = 1000000, .p = 300000, .seed = 1}, position);
    double above = 0.0;
    for (int j = 0; j < COUNT; j++)
      above += logits[j] > logits[id] ? exp((double)logits[j]) : 0.0;
    ck_assert_double_lt(above / total, 0.3001);
    id = pick((lm_sampler){.t = 1000000, .k = 5, .p = 10000, .seed = 1}, position);
    ck_assert_uint_eq(better[id], 0);
  }
}
END_TEST

START_TEST(draws_follow_the_weights) {
  enum { DRAWS = 20000 };
  float three[3] = {0.0f, 1.0f, 2.0f};
  uint32_t seen[3] = {0};
  lm_sampler sampler = {.t = 1000000, .p = LM_MICRO, .seed = 9};
  for (uint64_t position = 0; position < DRAWS; position++) {
    uint32_t id;
    ck_assert_int_eq(lm_sampler_pick(&sampler, three, 3, position, &id), DEAI_OK);
    seen[id]++;
  }
  double total = 1.0 + exp(1.0) + exp(2.0);
  for (int i = 0; i < 3; i++)
    ck_assert_double_lt(fabs(seen[i] / (double)DRAWS - exp(i) / total), 0.012);
}
END_TEST

START_TEST(logprobs_are_those_of_temperature_one) {
  lm_logprob rows[1 + LM_LOGPROBS_MAX];
  double total = 0.0;
  for (int i = 0; i < COUNT; i++)
    total += exp((double)logits[i]);
  ck_assert_uint_eq(lm_logprobs(logits, COUNT, 123, 20, rows), 21);
  ck_assert_uint_eq(rows[0].id, 123);
  ck_assert_uint_eq(rows[1].id, lm_sampler_greedy(logits, COUNT));
  for (int i = 0; i < 21; i++) {
    double expected = (double)logits[rows[i].id] - log(total);
    ck_assert_double_lt(fabs((double)rows[i].micro * 1e-6 - expected), 3e-6);
    if (i > 1) ck_assert(logits[rows[i].id] <= logits[rows[i - 1].id]);
  }
  float wild[2] = {0x1p59f, -0x1p59f};
  ck_assert_uint_eq(lm_logprobs(wild, 2, 1, 5, rows), 3);
  ck_assert_int_eq(rows[0].micro, INT64_C(-1000000000000000));
}
END_TEST

int main(void) {
  Suite *suite = suite_create("sampler");
  TCase *tests = tcase_create("all");
  tcase_add_checked_fixture(tests, set_up, NULL);
  tcase_add_test(tests, settings_are_checked);
  tcase_add_test(tests, greedy_takes_the_lowest_of_equals);
  tcase_add_test(tests, cuts_that_cut_nothing_change_nothing);
  tcase_add_test(tests, cuts_keep_the_best);
  tcase_add_test(tests, draws_follow_the_weights);
  tcase_add_test(tests, logprobs_are_those_of_temperature_one);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
