#include "plugins/compute/cpu/cpu.h"
#include "plugins/compute/cpu/kernels.h"
#include "plugins/compute/lm/session.h"
#include "run.h"
#include "tests/testing.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

/* Roots of greedy and sampled answers, made once by the portable C kernels. A change of these bits
   is a change of the rules: it needs a new rule number and a new file, rulesN.jsonl.

   DEAI_GOLDEN_MAKE=1 prints the rows of the file, by the C kernels, in place of comparing. */

#define TOKENS     64
#define PROMPT_MAX 256
#define C_ROWS     1 /* the C kernels are slow: they repeat the first rows only */
#define SOME_ROWS  2

typedef struct golden_run {
  lm_engine *engine;
  const char *kernels;
  size_t rows;
  size_t limit;
  size_t passed;
  size_t failed;
} golden_run;

static lm_engine *open_engine(const lm_model *model, const char *device) {
  lm_engine *engine = NULL;
  lm_error error = {{0}};
  lm_engine_config config = {.caches = 1, .backend = {.threads = 2, .device = device}};
  int32_t status = lm_engine_open(model, lm_cpu_backend(), &config, &engine, &error);
  ck_assert_msg(status == DEAI_OK, "%s", error.text);
  return engine;
}

static uint32_t read_ids(const json_t *list, uint32_t *ids, uint32_t max) {
  uint32_t count = (uint32_t)json_array_size(list);
  ck_assert_uint_le(count, max);
  for (uint32_t i = 0; i < count; i++)
    ids[i] = (uint32_t)json_integer_value(json_array_get(list, i));
  return count;
}

static void run_session(lm_engine *engine, const lm_request *request, uint32_t *ids,
                        lm_result *result) {
  lm_session *session = NULL;
  lm_error error = {{0}};
  uint32_t count = 0;
  int32_t status = lm_session_open(engine, request, &session, &error);
  ck_assert_msg(status == DEAI_OK, "%s", error.text);
  for (lm_step step = {0}; step.finish == LM_FINISH_NONE;) {
    ck_assert_int_eq(lm_session_step(&session, 1, &step), DEAI_OK);
    ck_assert_int_eq(step.status, DEAI_OK);
    if (step.has_token) ids[count++] = step.token;
  }
  lm_session_result(session, result);
  lm_session_close(session);
}

static void hex_of(const uint8_t *bytes, char *out) {
  for (int i = 0; i < DEAI_HASH_BYTES; i++)
    (void)snprintf(out + (ptrdiff_t)2 * i, 3, "%02x", bytes[i]);
}

static lm_request request_of(const uint32_t *prompt, uint32_t count, uint32_t t) {
  return (lm_request){
      .ids = prompt,
      .id_count = count,
      .max = TOKENS,
      .sampler = {.t = t, .k = t == 0 ? 0 : 40, .p = t == 0 ? LM_MICRO : 900000, .seed = 20260101}};
}

static void make_row(json_t *object, void *user) {
  golden_run *run = user;
  uint32_t prompt[PROMPT_MAX];
  uint32_t ids[TOKENS];
  char root[2 * DEAI_HASH_BYTES + 1];
  lm_result result;
  uint32_t t = run->rows++ % 2 == 0 ? 0 : 800000;
  uint32_t count = read_ids(json_object_get(object, "prompt_ids"), prompt, PROMPT_MAX);
  lm_request request = request_of(prompt, count, t);
  run_session(run->engine, &request, ids, &result);
  hex_of(result.root, root);
  printf("{\"prompt_ids\": [");
  for (uint32_t i = 0; i < count; i++)
    printf("%s%u", i == 0 ? "" : ", ", prompt[i]);
  printf("], \"t\": %u, \"output_ids\": [", t);
  for (uint32_t i = 0; i < result.n; i++)
    printf("%s%u", i == 0 ? "" : ", ", ids[i]);
  printf("], \"root\": \"%s\"}\n", root);
}

/* check_row writes the answer anew with AVX2, and replays it as one prefill with C. */
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
  lm_request request = request_of(prompt, count, t);
  if (run->limit != SIZE_MAX) { /* one prefill is faster than one token at a time */
    request.replay = true;
    request.forced = expected;
    request.forced_count = request.max = n;
  }
  run_session(run->engine, &request, ids, &result);
  hex_of(result.root, root);
  bool equal = strcmp(root, json_string_value(json_object_get(object, "root"))) == 0 &&
               result.n == n && result.wrong == -1;
  if (!equal) printf("golden differs with %s: row %zu\n", run->kernels, run->rows);
  run->passed += equal ? 1 : 0;
  run->failed += equal ? 0 : 1;
}

static void check_with(const lm_model *model, const char *kernels, size_t limit) {
  golden_run run = {.kernels = kernels, .limit = limit, .engine = open_engine(model, kernels)};
  size_t rows = testing_vector_rows("golden", "rules1.jsonl", check_row, &run);
  ck_assert_uint_gt(rows, 0);
  testing_tally("golden", run.passed, run.failed, 0);
  ck_assert_uint_eq(run.failed, 0);
  lm_engine_close(run.engine);
}

START_TEST(answers_have_the_roots_of_the_rules) {
  const char *path = testing_model();
  if (path == NULL) return;
  lm_model *model = run_model(path, 1024);
  if (getenv("DEAI_GOLDEN_MAKE") != NULL) {
    golden_run run = {.engine = open_engine(model, "c")};
    (void)testing_vector_rows("greedy", "smollm2.jsonl", make_row, &run);
    lm_engine_close(run.engine);
  } else {
    bool fast = lm_kernels_avx2() != NULL;
    bool all = run_less("golden rows, replayed only", SOME_ROWS, SIZE_MAX) == SIZE_MAX;
    if (fast) check_with(model, "avx2", all ? SIZE_MAX : SOME_ROWS);
    if (all || !fast) check_with(model, "c", C_ROWS);
  }
  lm_model_close(model);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("golden");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 600);
  tcase_add_test(tests, answers_have_the_roots_of_the_rules);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
