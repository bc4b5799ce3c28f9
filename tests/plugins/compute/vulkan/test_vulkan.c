/* The backend as a whole, on small models of every weight format: the bits of the C kernels. */
#include "plugins/compute/vulkan/vulkan.h"

#include "tests/plugins/compute/cpu/run.h"
#include "tests/testing.h"
#include "twin.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define TOKENS 96u

static twin pair;

static bool set_up(const tiny_options *options) {
  if (!twin_has_device()) return false;
  twin_open(&pair, twin_tiny(options), "c");
  return true;
}

START_TEST(a_device_that_is_not_there_is_named) {
  lm_model *model = twin_tiny(&(tiny_options){.type = 3, .seed = 1});
  lm_backend *backend = NULL;
  lm_error error = {{0}};
  lm_backend_config config = {.device = "no such card"};
  ck_assert_int_eq(lm_vulkan_backend()->open(model, &config, &backend, &error), DEAI_EUNSUPPORTED);
  ck_assert_ptr_null(backend);
  ck_assert_ptr_nonnull(strstr(error.text, "expected"));
  lm_vulkan_backend()->close(NULL);
  lm_vulkan_backend()->cache_delete(NULL);
  lm_model_close(model);
}
END_TEST

START_TEST(a_cancelled_read_ends_open) {
  atomic_bool stop;
  lm_backend *backend = NULL;
  lm_error error = {{0}};
  lm_backend_config config = {.threads = 0};
  if (!twin_has_device()) return;
  lm_model *model = twin_tiny(&(tiny_options){.type = 3, .seed = 1});
  atomic_init(&stop, true);
  lm_model_watch(model, &stop);
  ck_assert_int_eq(lm_vulkan_backend()->open(model, &config, &backend, &error), DEAI_ECANCELLED);
  ck_assert_ptr_null(backend);
  lm_model_close(model);
}
END_TEST

START_TEST(wrong_columns_change_nothing) {
  if (!set_up(&(tiny_options){.type = 3, .seed = 2})) return;
  const lm_backend_ops *ops = lm_vulkan_backend();
  lm_backend *backend = pair.device.backend;
  lm_cache *cache = NULL;
  uint8_t fault[LM_COLUMNS_MAX];
  lm_outputs outputs = {.fault = fault};
  ck_assert_int_eq(ops->cache_new(backend, 0, &cache), DEAI_EINVAL);
  ck_assert_int_eq(ops->cache_new(backend, TINY_CTX + 1, &cache), DEAI_EINVAL);
  ck_assert_ptr_null(cache);
  ck_assert_int_eq(ops->cache_new(backend, 2, &cache), DEAI_OK);
  lm_column wrong[] = {
      {.cache = cache, .position = 1}, {.cache = cache, .token = TINY_VOCAB}, {.cache = NULL}};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    ck_assert_int_eq(ops->forward(backend, &wrong[i], 1, &outputs), DEAI_EINVAL);
  lm_column good[3];
  for (uint32_t i = 0; i < 3; i++)
    good[i] = (lm_column){.cache = cache, .token = i, .position = i};
  ck_assert_int_eq(ops->forward(backend, good, 0, &outputs), DEAI_EINVAL);
  ck_assert_int_eq(ops->forward(backend, good, 3, &outputs), DEAI_EINVAL); /* the cache has two */
  ck_assert_int_eq(ops->forward(backend, good, 2, &outputs), DEAI_OK);
  ops->cache_delete(cache);
  twin_close(&pair);
}
END_TEST

START_TEST(faults_are_those_of_c) {
  uint32_t ids[8];
  twin_run run;
  if (!set_up(&(tiny_options){.type = 8, .seed = 3, .loud = 1e17f})) return;
  twin_ids(ids, 8, 5);
  twin_run_open(&run, &pair, 1, 8);
  twin_feed(&run, ids, 8, 1);
  ck_assert_uint_eq(run.faults, 8);
  twin_run_close(&run);
  twin_close(&pair);
}
END_TEST

static const uint32_t types[] = {0, 1, 2, 3, 8}; /* F32, F16, Q4_0, Q4_1, Q8_0 */
static const uint32_t chunks[] = {1, 3, 16, 64};

START_TEST(every_format_and_chunk_gives_the_bits_of_c) {
  tiny_options options = {
      .type = types[_i], .seed = 40 + types[_i], .untied = _i % 2 == 1, .vocab_extra = 3};
  uint32_t ids[TOKENS];
  if ((size_t)_i >= run_less("formats", 3, 5) || !set_up(&options)) return;
  twin_ids(ids, TOKENS, 7 + types[_i]);
  for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
    twin_run run;
    twin_run_open(&run, &pair, 1, TOKENS);
    twin_feed(&run, ids, TOKENS, chunks[i]);
    ck_assert_uint_eq(run.faults, 0);
    twin_run_close(&run);
  }
  twin_close(&pair);
}
END_TEST

START_TEST(mixed_formats_and_heads_of_every_size_do_too) {
  static const tiny_options rows[] = {{.type = 3, .mixed = true},
                                      {.type = 2, .mixed = true, .head_dim = 64},
                                      {.type = 3, .head_dim = 96},
                                      {.type = 8, .head_dim = 128}};
  tiny_options options = rows[_i];
  uint32_t ids[TOKENS];
  options.seed = 60 + (uint64_t)_i;
  if ((size_t)_i >= run_less("head sizes", 2, 4) || !set_up(&options)) return;
  twin_ids(ids, TOKENS, 9);
  twin_run run;
  twin_run_open(&run, &pair, 1, TOKENS);
  twin_feed(&run, ids, 64, 64);
  for (uint32_t i = 64; i < 72; i++)
    twin_pass(&run, &(twin_column){.token = ids[i], .want = true}, 1);
  ck_assert_uint_eq(run.faults, 0);
  twin_run_close(&run);
  twin_close(&pair);
}
END_TEST

START_TEST(caches_side_by_side_and_cut_short_keep_their_bits) {
  uint32_t ids[TOKENS];
  twin_run run;
  if (!set_up(&(tiny_options){.type = 3, .seed = 4})) return;
  twin_ids(ids, TOKENS, 10);
  twin_run_open(&run, &pair, TWIN_SEQUENCES, TOKENS);
  for (uint32_t round = 0; round < 10; round++) {
    twin_column columns[3 * TWIN_SEQUENCES];
    uint32_t count = 0;
    for (uint32_t i = 0; i < 3 * TWIN_SEQUENCES; i++) {
      if ((i + round) % 5 == 0) continue; /* columns of the caches in turns, some left out */
      columns[count++] = (twin_column){.sequence = i % TWIN_SEQUENCES,
                                       .token = ids[(i * 7 + round) % TOKENS],
                                       .want = i % 3 != 1};
    }
    twin_pass(&run, columns, count);
    if (round != 5) continue;
    for (int which = 0; which < 2; which++)
      (which == 0 ? &pair.device : &pair.host)->ops->cache_truncate(run.caches[which][1], 4);
    run.lengths[1] = 4;
  }
  twin_run_close(&run);
  twin_close(&pair);
}
END_TEST

START_TEST(it_tells_what_it_is) {
  if (!set_up(&(tiny_options){.type = 3, .seed = 5})) return;
  const lm_backend_ops *ops = lm_vulkan_backend();
  ck_assert_str_eq(ops->name, "vulkan");
  ck_assert_ptr_nonnull(strstr(ops->describe(pair.device.backend), "vulkan, "));
  ck_assert_uint_gt(ops->memory(pair.device.backend), 10000);
  ck_assert_uint_lt(ops->cache_bytes(pair.device.backend, 8),
                    ops->cache_bytes(pair.device.backend, TINY_CTX));
  twin_close(&pair);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("vulkan");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, a_device_that_is_not_there_is_named);
  tcase_add_test(tests, a_cancelled_read_ends_open);
  tcase_add_test(tests, wrong_columns_change_nothing);
  tcase_add_test(tests, faults_are_those_of_c);
  tcase_add_loop_test(tests, every_format_and_chunk_gives_the_bits_of_c, 0, 5);
  tcase_add_loop_test(tests, mixed_formats_and_heads_of_every_size_do_too, 0, 4);
  tcase_add_test(tests, caches_side_by_side_and_cut_short_keep_their_bits);
  tcase_add_test(tests, it_tells_what_it_is);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
