#include "fake.h"

#include "tests/plugins/compute/lm/tiny.h"
#include "tests/testing.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/base/banned.h"

/* Dispatch and life; the methods have their own tests: test_jobs.c, test_encode.c, test_shelf.c. */

START_TEST(settings_that_break_their_limits_are_refused) {
  char err[DEAI_ERR_CAP] = "";
  ck_assert_int_eq(fake_begin(&(fake_options){.cid = "bnonsense"}, err, sizeof err), DEAI_EINVAL);
  ck_assert_msg(strstr(err, "settings.models") != NULL, "%s", err);
}
END_TEST

START_TEST(unknown_methods_are_refused) {
  (void)fake_open(&(fake_options){.queue = 1});
  const fake_answer *a =
      fake_at(fake_call_service("dream", deai_bytes_of("\xa0", 1), deai_bytes_of(NULL, 0), 0));
  ck_assert_int_eq(a->status, DEAI_EUNSUPPORTED);
  ck_assert_ptr_nonnull(strstr(a->why, "dream"));
  fake_close();
}
END_TEST

START_TEST(what_is_over_or_unknown_is_ignored) {
  deai_inst *inst = fake_open(&(fake_options){.queue = 1});
  int descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);
  deai_part part = {.size = (uint32_t)sizeof part, .attachment = descriptor};
  ck_assert_int_ge(descriptor, 0);
  ck_assert_int_eq(lm_service_part(inst, 77, &part), DEAI_OK);
  ck_assert_int_eq(fcntl(descriptor, F_GETFD), -1); /* closed: it was ours */
  lm_service_drain(inst, 77);
  lm_service_cancel(inst, 77, DEAI_ECANCELLED);
  fake_tick();
  fake_close();
}
END_TEST

START_TEST(models_tells_what_is_offered) {
  deai_lm_model row;
  (void)fake_open(&(fake_options){.path = fake_tiny("service.gguf", 3), .context = 100});
  (void)fake_models(&row);
  ck_assert_uint_eq(row.ctx, 100);
  ck_assert_uint_eq(row.load, 0);
  ck_assert_uint_eq(row.price_in, 3);
  ck_assert_uint_eq(row.price_out, 7);
  ck_assert(deai_str_eq(row.name, deai_str_of("tiny")));
  fake_close();
}
END_TEST

START_TEST(a_stop_in_a_long_prompt_returns_at_once) {
  uint32_t prompt[TINY_CTX];
  struct timespec from;
  struct timespec to;
  (void)fake_open(&(fake_options){.path = fake_tiny("service.gguf", 3), .queue = 64});
  for (uint32_t i = 0; i < TINY_CTX; i++)
    prompt[i] = i;
  deai_lm_job job = {
      .ids = TINY_CTX - 2, .max = 2, .model = fake_models(NULL), .sampler = {.p = 1000000}};
  for (int i = 0; i < 60; i++) {
    prompt[0] = (uint32_t)i; /* no prefix in common */
    (void)fake_job("generate", &job, prompt, NULL);
  }
  (void)clock_gettime(CLOCK_MONOTONIC, &from);
  fake_close();
  (void)clock_gettime(CLOCK_MONOTONIC, &to);
  ck_assert_int_lt(to.tv_sec - from.tv_sec, 2);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("service");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, settings_that_break_their_limits_are_refused);
  tcase_add_test(tests, unknown_methods_are_refused);
  tcase_add_test(tests, what_is_over_or_unknown_is_ignored);
  tcase_add_test(tests, models_tells_what_is_offered);
  tcase_add_test(tests, a_stop_in_a_long_prompt_returns_at_once);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
