#include "plugins/compute/vulkan/graph.h"

#include "plugins/compute/vulkan/vulkan.h"
#include "tests/plugins/compute/cpu/run.h"
#include "tests/testing.h"
#include "twin.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define TOKENS 40u

/* The backend with other constants than this device would get; the table closes it. */
static lm_backend *open_with(const lm_model *model, uint32_t split, uint32_t lanes) {
  lm_error error = {{0}};
  lm_backend *b = calloc(1, sizeof *b);
  ck_assert_ptr_nonnull(b);
  b->model = model;
  b->shape = lm_model_shape(model);
  b->split = split;
  b->lanes = lanes;
  ck_assert_int_eq(lm_vk_open(NULL, sizeof(lm_vk_push), &b->device, &error), DEAI_OK);
  ck_assert_int_eq(lm_vk_graph_open(b, &error), DEAI_OK);
  return b;
}

static void compare(twin *pair, uint32_t chunk) {
  uint32_t ids[TOKENS];
  twin_run run;
  twin_ids(ids, TOKENS, 3);
  twin_run_open(&run, pair, 1, TOKENS);
  twin_feed(&run, ids, TOKENS, chunk);
  ck_assert_uint_eq(run.faults, 0);
  twin_run_close(&run);
}

START_TEST(a_lost_device_answers_no_more) {
  twin pair;
  lm_cache *cache = NULL;
  uint8_t fault[LM_COLUMNS_MAX];
  lm_outputs outputs = {.fault = fault};
  if (!twin_has_device()) return;
  twin_open(&pair, twin_tiny(&(tiny_options){.type = 3, .seed = 1}), "c");
  const lm_backend_ops *ops = pair.device.ops;
  ck_assert_int_eq(ops->cache_new(pair.device.backend, 4, &cache), DEAI_OK);
  lm_column column = {.cache = cache, .token = 1};
  pair.device.backend->lost = true;
  ck_assert_int_eq(ops->forward(pair.device.backend, &column, 1, &outputs), DEAI_EIO);
  ck_assert_uint_eq(cache->head.length, 0);
  ops->cache_delete(cache);
  twin_close(&pair);
}
END_TEST

START_TEST(rows_and_heads_shared_by_more_invocations_give_the_same_bits) {
  static const tiny_options rows[] = {{.type = 3}, {.type = 8, .head_dim = 128}};
  twin pair;
  tiny_options options = rows[_i];
  options.seed = 12;
  if (!twin_has_device() || (size_t)_i >= run_less("head sizes", 1, 2)) return;
  lm_model *model = twin_tiny(&options);
  twin_open(&pair, model, "c");
  pair.device.ops->close(pair.device.backend);
  pair.device.backend = open_with(model, 16, 64); /* what a card gets */
  compare(&pair, 1);
  compare(&pair, 16);
  twin_close(&pair);
}
END_TEST

START_TEST(columns_take_turns_where_scores_have_little_room) {
  twin pair;
  if (!twin_has_device()) return;
  twin_open(&pair, twin_tiny(&(tiny_options){.type = 3, .seed = 13}), "c");
  const lm_shape *shape = lm_model_shape(pair.model);
  ck_assert_uint_gt(pair.device.backend->places.score_words, 3u * shape->heads * TOKENS);
  pair.device.backend->places.score_words = 3u * shape->heads * TOKENS;
  compare(&pair, 16);
  twin_close(&pair);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("vulkan graph");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, a_lost_device_answers_no_more);
  tcase_add_loop_test(tests, rows_and_heads_shared_by_more_invocations_give_the_same_bits, 0, 2);
  tcase_add_test(tests, columns_take_turns_where_scores_have_little_room);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
