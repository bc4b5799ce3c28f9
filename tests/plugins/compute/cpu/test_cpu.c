#include "plugins/compute/cpu/cpu.h"

#include "run.h"
#include "tests/plugins/compute/lm/tiny.h"
#include "tests/testing.h"

#include <string.h>

#include "host/base/banned.h"

static lm_model *model;

static void set_up(void) {
  tiny_file file = {0};
  tiny_options options = {.type = 8, .seed = 1};
  tiny_model(&file, &options, NULL);
  model = run_model(tiny_save(&file, "cpu.gguf"), 0);
  tiny_free(&file);
}

static void tear_down(void) {
  lm_model_close(model);
}

START_TEST(wrong_settings_are_refused) {
  static const lm_backend_config rows[] = {
      {.device = "gpu"}, {.device = "AVX2"}, {.threads = LM_CPU_THREADS_MAX + 1}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    lm_backend *backend = NULL;
    lm_error error = {{0}};
    ck_assert_int_eq(lm_cpu_backend()->open(model, &rows[i], &backend, &error), DEAI_EINVAL);
    ck_assert_ptr_null(backend);
    ck_assert_ptr_nonnull(strstr(error.text, "expected"));
  }
}
END_TEST

START_TEST(a_cancelled_read_ends_open) {
  atomic_bool stop;
  lm_backend *backend = NULL;
  lm_error error = {{0}};
  lm_backend_config config = {.threads = 1};
  atomic_init(&stop, true);
  lm_model_watch(model, &stop);
  ck_assert_int_eq(lm_cpu_backend()->open(model, &config, &backend, &error), DEAI_ECANCELLED);
  ck_assert_ptr_null(backend);
  atomic_store(&stop, false);
  ck_assert_int_eq(lm_cpu_backend()->open(model, &config, &backend, &error), DEAI_OK);
  lm_cpu_backend()->close(backend);
}
END_TEST

START_TEST(caches_have_their_limits) {
  const lm_backend_ops *ops = lm_cpu_backend();
  lm_backend *backend = run_backend(model, "c", 1);
  lm_cache *cache = NULL;
  ck_assert_int_eq(ops->cache_new(backend, 0, &cache), DEAI_EINVAL);
  ck_assert_int_eq(ops->cache_new(backend, TINY_CTX + 1, &cache), DEAI_EINVAL);
  ck_assert_ptr_null(cache);
  ck_assert_uint_lt(ops->cache_bytes(backend, 8), ops->cache_bytes(backend, TINY_CTX));
  ck_assert_int_eq(ops->cache_new(backend, TINY_CTX, &cache), DEAI_OK);
  ops->cache_truncate(cache, 5); /* shorter than that already */
  ops->cache_delete(cache);
  ops->cache_delete(NULL);
  ops->close(backend);
  ops->close(NULL);
}
END_TEST

START_TEST(a_backend_tells_what_it_is) {
  const lm_backend_ops *ops = lm_cpu_backend();
  lm_backend *backend = run_backend(model, "c", 3);
  ck_assert_str_eq(ops->name, "cpu");
  ck_assert_str_eq(ops->describe(backend), "cpu, c kernels, 3 threads");
  ck_assert_uint_gt(ops->memory(backend), 10000);
  ops->close(backend);
  backend = run_backend(model, "", 0); /* as many as there are */
  ck_assert_ptr_nonnull(strstr(ops->describe(backend), "thread"));
  ops->close(backend);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("cpu");
  TCase *tests = tcase_create("all");
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_test(tests, wrong_settings_are_refused);
  tcase_add_test(tests, a_cancelled_read_ends_open);
  tcase_add_test(tests, caches_have_their_limits);
  tcase_add_test(tests, a_backend_tells_what_it_is);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
