#include "plugins/compute/cpu/cpu.h"
#include "plugins/compute/lm/sampler.h"
#include "run.h"
#include "tests/testing.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define IDS_MAX 4096

#define NLL_OFF 0.01 /* how far the mean of a text may be off */

typedef struct vector_run {
  lm_model *model;
  lm_backend *backend;
  uint32_t ids[IDS_MAX];
  uint32_t count;
  uint32_t first; /* output position 0 is chosen at first - 1 */
  const json_t *margins;
  double sum;
  uint32_t scored;
  uint32_t wrong;
  size_t rows;
  size_t limit; /* of rows */
  size_t passed;
  size_t failed;
} vector_run;

static uint32_t append_ids(vector_run *run, const json_t *list) {
  for (size_t i = 0; i < json_array_size(list); i++) {
    ck_assert_uint_lt(run->count, IDS_MAX);
    run->ids[run->count++] = (uint32_t)json_integer_value(json_array_get(list, i));
  }
  return run->count;
}

static void feed(vector_run *run, uint32_t count, uint32_t want_from, run_output *each) {
  lm_cache *cache = NULL;
  ck_assert_int_eq(lm_cpu_backend()->cache_new(run->backend, count, &cache), DEAI_OK);
  uint32_t faults =
      run_tokens(run->backend, run->model, cache, run->ids, 0, count, 64, want_from, each, run);
  ck_assert_uint_eq(faults, 0);
  lm_cpu_backend()->cache_delete(cache);
}

static void compare_best(void *user, uint32_t position, const float *hidden, const float *logits) {
  vector_run *run = user;
  (void)hidden;
  uint32_t i = position + 1 - run->first;
  double margin = json_number_value(json_array_get(run->margins, i));
  if (margin <= 0.5) return;
  uint32_t best = lm_sampler_greedy(logits, lm_model_shape(run->model)->vocab);
  run->scored++;
  if (best != run->ids[position + 1]) run->wrong++;
}

static void greedy_row(json_t *object, void *user) {
  vector_run *run = user;
  if (run->rows++ >= run->limit) return;
  run->count = run->scored = run->wrong = 0;
  run->first = append_ids(run, json_object_get(object, "prompt_ids"));
  uint32_t end = append_ids(run, json_object_get(object, "output_ids"));
  run->margins = json_object_get(object, "margins");
  feed(run, end - 1, run->first - 1, compare_best);
  if (run->wrong != 0)
    printf("greedy: %u of %u clear choices differ: %.40s\n", run->wrong, run->scored,
           json_string_value(json_object_get(object, "prompt")));
  ck_assert_uint_gt(run->scored, 0);
  run->passed += run->wrong == 0 ? 1 : 0;
  run->failed += run->wrong == 0 ? 0 : 1;
}

static void add_nll(void *user, uint32_t position, const float *hidden, const float *logits) {
  vector_run *run = user;
  lm_logprob rows[1 + LM_LOGPROBS_MAX];
  (void)hidden;
  (void)lm_logprobs(logits, lm_model_shape(run->model)->vocab, run->ids[position + 1], 0, rows);
  run->sum -= (double)rows[0].micro * 1e-6;
  run->scored++;
}

static void nll_row(json_t *object, void *user) {
  vector_run *run = user;
  if (run->rows++ >= run->limit) return;
  run->count = run->scored = 0;
  run->sum = 0.0;
  uint32_t end = append_ids(run, json_object_get(object, "ids"));
  feed(run, end - 1, 0, add_nll);
  double expected = json_number_value(json_object_get(object, "mean_nll"));
  double mean = run->sum / (double)run->scored;
  bool near = mean - expected < NLL_OFF && expected - mean < NLL_OFF;
  printf("nll %s: %.5f, expected %.5f\n", json_string_value(json_object_get(object, "name")), mean,
         expected);
  run->passed += near ? 1 : 0;
  run->failed += near ? 0 : 1;
}

static void run_area(const char *area, testing_row *row) {
  const char *path = testing_model();
  if (path == NULL) return;
  vector_run *run = calloc(1, sizeof *run);
  ck_assert_ptr_nonnull(run);
  run->limit = run_less(area, 1, SIZE_MAX);
  run->model = run_model(path, 2048);
  run->backend = run_backend(run->model, NULL, 2);
  ck_assert_uint_gt(testing_vector_rows(area, "smollm2.jsonl", row, run), 0);
  testing_tally(area, run->passed, run->failed, 0);
  ck_assert_uint_eq(run->failed, 0);
  lm_cpu_backend()->close(run->backend);
  lm_model_close(run->model);
  free(run);
}

START_TEST(greedy_choices_are_those_of_the_reference) {
  run_area("greedy", greedy_row);
}
END_TEST

START_TEST(likelihood_is_that_of_the_reference) {
  run_area("nll", nll_row);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("vectors");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, greedy_choices_are_those_of_the_reference);
  tcase_add_test(tests, likelihood_is_that_of_the_reference);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
