#include "plugins/compute/cpu/graph.h"

#include "plugins/compute/cpu/cpu.h"
#include "run.h"
#include "tests/plugins/compute/lm/tiny.h"
#include "tests/testing.h"

#include <fenv.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define COLUMNS 5

static lm_model *model;
static lm_backend *backend;
static lm_cache *cache;
static float hidden[COLUMNS * TINY_EMBD];
static float logits[COLUMNS * TINY_VOCAB];
static uint8_t fault[LM_COLUMNS_MAX];

static void set_up(void) {
  tiny_file file = {0};
  tiny_options options = {.type = 3, .seed = 9};
  tiny_model(&file, &options, NULL);
  model = run_model(tiny_save(&file, "graph.gguf"), 0);
  tiny_free(&file);
  backend = run_backend(model, "c", 2);
  ck_assert_int_eq(lm_cpu_backend()->cache_new(backend, 64, &cache), DEAI_OK);
}

static void tear_down(void) {
  lm_cpu_backend()->cache_delete(cache);
  lm_cpu_backend()->close(backend);
  lm_model_close(model);
}

static int32_t pass(const bool *want) {
  lm_column columns[COLUMNS];
  lm_outputs outputs = {.hidden = hidden, .logits = logits, .fault = fault};
  for (uint32_t c = 0; c < COLUMNS; c++)
    columns[c] = (lm_column){.cache = cache, .token = 30 + c, .position = c, .want = want[c]};
  return lm_graph_run(backend, columns, COLUMNS, &outputs);
}

START_TEST(a_thread_that_rounds_otherwise_is_refused) {
  static const bool none[COLUMNS];
  ck_assert_int_eq(fesetround(FE_UPWARD), 0);
  int32_t status = pass(none);
  ck_assert_int_eq(fesetround(FE_TONEAREST), 0);
  ck_assert_int_eq(status, DEAI_EINTERNAL);
  ck_assert_int_eq(pass(none), DEAI_OK); /* it is forgotten with the pass */
}
END_TEST

START_TEST(wanted_columns_come_in_order_and_alone) {
  static const bool all[COLUMNS] = {true, true, true, true, true};
  static const bool some[COLUMNS] = {false, true, false, false, true};
  static float kept[COLUMNS * TINY_VOCAB];
  ck_assert_int_eq(pass(all), DEAI_OK);
  memcpy(kept, logits, sizeof kept);
  for (size_t i = 0; i < COLUMNS * TINY_VOCAB; i++)
    logits[i] = 77.0f;
  ck_assert_int_eq(pass(some), DEAI_OK);
  size_t row = TINY_VOCAB * sizeof *logits;
  ck_assert_int_eq(memcmp(logits, kept + TINY_VOCAB, row), 0);
  ck_assert_int_eq(memcmp(logits + TINY_VOCAB, kept + (size_t)4 * TINY_VOCAB, row), 0);
  ck_assert(logits[(size_t)2 * TINY_VOCAB] == 77.0f);
  for (uint32_t c = 0; c < COLUMNS; c++)
    ck_assert_uint_eq(fault[c], 0);
}
END_TEST

START_TEST(logits_are_the_output_matrix_over_hidden) {
  static const bool last[COLUMNS] = {false, false, false, false, true};
  ck_assert_int_eq(pass(last), DEAI_OK);
  float row[TINY_EMBD];
  uint32_t bad = 0;
  double worst = 0.0;
  for (uint32_t token = 0; token < TINY_VOCAB; token++) {
    double sum = 0.0;
    lm_weights_row(&backend->weights.output, token, row, &bad);
    for (uint32_t i = 0; i < TINY_EMBD; i++)
      sum += (double)row[i] * (double)hidden[i];
    double off = sum - (double)logits[token];
    worst = off > worst ? off : -off > worst ? -off : worst;
  }
  ck_assert_double_lt(worst, 0.05); /* M1 rounds hidden to 8 bits a block */
}
END_TEST

START_TEST(room_is_taken_and_given_back) {
  lm_backend other = {
      .model = model, .shape = lm_model_shape(model), .kernels = lm_kernels_c(), .threads = 3};
  ck_assert_int_eq(lm_graph_open(&other), DEAI_OK);
  ck_assert_ptr_nonnull(other.workers);
  lm_graph_close(&other);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("graph");
  TCase *tests = tcase_create("all");
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_test(tests, a_thread_that_rounds_otherwise_is_refused);
  tcase_add_test(tests, wanted_columns_come_in_order_and_alone);
  tcase_add_test(tests, logits_are_the_output_matrix_over_hidden);
  tcase_add_test(tests, room_is_taken_and_given_back);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
