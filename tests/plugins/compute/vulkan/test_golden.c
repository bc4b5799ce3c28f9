/* Greedy and sampled answers written token by token on the device have the golden roots, which the
   portable C kernels made. */
#include "plugins/compute/lm/session.h"
#include "plugins/compute/vulkan/vulkan.h"
#include "tests/plugins/compute/cpu/run.h"
#include "tests/testing.h"
#include "twin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define TOKENS     64u
#define PROMPT_MAX 256u
#define ROWS       2u /* a greedy and a sampled one; with DEAI_FULL=1 all */

typedef struct golden_run {
  lm_engine *engine;
  size_t rows;
  size_t limit;
  size_t passed;
  size_t failed;
} golden_run;

static uint32_t read_ids(const json_t *list, uint32_t *ids, uint32_t max) {
  uint32_t count = (uint32_t)json_array_size(list);
  ck_assert_uint_le(count, max);
  for (uint32_t i = 0; i < count; i++)
    ids[i] = (uint32_t)json_integer_value(json_array_get(list, i));
  return count;
}

static uint32_t write_answer(lm_engine *engine, const lm_request *request, uint32_t *ids,
                             lm_result *result) {
  lm_session *session = NULL;
  lm_error error = {{0}};
  uint32_t count = 0;
  ck_assert_msg(lm_session_open(engine, request, &session, &error) == DEAI_OK, "%s", error.text);
  for (lm_step step = {0}; step.finish == LM_FINISH_NONE;) {
    ck_assert_int_eq(lm_session_step(&session, 1, &step), DEAI_OK);
    ck_assert_int_eq(step.status, DEAI_OK);
    if (step.has_token) ids[count++] = step.token;
  }
  lm_session_result(session, result);
  lm_session_close(session);
  return count;
}

static void check_row(json_t *object, void *user) {
  golden_run *run = user;
  uint32_t prompt[PROMPT_MAX];
  uint32_t expected[TOKENS];
  uint32_t ids[TOKENS];
  char root[2 * DEAI_HASH_BYTES + 1];
  lm_result result;
  if (run->rows++ >= run->limit) return;
  uint32_t count = read_ids(json_object_get(object, "prompt_ids"), prompt, PROMPT_MAX);
  uint32_t n = read_ids(json_object_get(object, "output_ids"), expected, TOKENS);
  uint32_t t = (uint32_t)json_integer_value(json_object_get(object, "t"));
  lm_request request = {
      .ids = prompt,
      .id_count = count,
      .max = TOKENS,
      .sampler = {.t = t, .k = t == 0 ? 0 : 40, .p = t == 0 ? LM_MICRO : 900000, .seed = 20260101}};
  uint32_t written = write_answer(run->engine, &request, ids, &result);
  for (int i = 0; i < DEAI_HASH_BYTES; i++)
    (void)snprintf(root + (ptrdiff_t)2 * i, 3, "%02x", result.root[i]);
  bool equal = written == n && memcmp(ids, expected, n * sizeof *ids) == 0 &&
               strcmp(root, json_string_value(json_object_get(object, "root"))) == 0;
  if (!equal) printf("golden differs on the device: row %zu\n", run->rows);
  run->passed += equal ? 1 : 0;
  run->failed += equal ? 0 : 1;
}

START_TEST(answers_have_the_roots_of_the_rules) {
  const char *path = testing_model();
  const char *full = getenv("DEAI_FULL");
  if (path == NULL || !twin_has_device()) return;
  lm_model *model = run_model(path, 1024);
  lm_error error = {{0}};
  lm_engine_config config = {.caches = 1};
  golden_run run = {.limit = full != NULL && strcmp(full, "1") == 0 ? SIZE_MAX : ROWS};
  int32_t status = lm_engine_open(model, lm_vulkan_backend(), &config, &run.engine, &error);
  ck_assert_msg(status == DEAI_OK, "%s", error.text);
  ck_assert_uint_gt(testing_vector_rows("golden", "rules1.jsonl", check_row, &run), 0);
  testing_tally("golden", run.passed, run.failed, 0);
  ck_assert_uint_eq(run.failed, 0);
  lm_engine_close(run.engine);
  lm_model_close(model);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("vulkan golden");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 600);
  tcase_add_test(tests, answers_have_the_roots_of_the_rules);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
