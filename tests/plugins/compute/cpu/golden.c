#include "golden.h"

#include "plugins/compute/cpu/cpu.h"
#include "plugins/compute/lm/session.h"
#include "tests/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define TOKENS     64u
#define PROMPT_MAX 256u

typedef struct golden_run {
  const golden_device *device;
  lm_engine *engine;
  size_t rows;
  size_t passed;
  size_t failed;
} golden_run;

typedef struct answer {
  uint32_t ids[TOKENS];
  uint32_t count;
  char root[2 * DEAI_HASH_BYTES + 1];
  int64_t wrong;
} answer;

static lm_engine *open_engine(const lm_model *model, const lm_backend_ops *ops,
                              const char *device) {
  lm_engine *engine = NULL;
  lm_error error = {{0}};
  lm_engine_config config = {.caches = 1, .backend = {.threads = 2, .device = device}};
  int32_t status = lm_engine_open(model, ops, &config, &engine, &error);
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

static void run_session(lm_engine *engine, const lm_request *request, answer *out) {
  lm_session *session = NULL;
  lm_error error = {{0}};
  lm_result result;
  *out = (answer){.count = 0};
  int32_t status = lm_session_open(engine, request, &session, &error);
  ck_assert_msg(status == DEAI_OK, "%s", error.text);
  for (lm_step step = {0}; step.finish == LM_FINISH_NONE;) {
    ck_assert_int_eq(lm_session_step(&session, 1, &step), DEAI_OK);
    ck_assert_int_eq(step.status, DEAI_OK);
    if (step.has_token) out->ids[out->count++] = step.token;
  }
  lm_session_result(session, &result);
  lm_session_close(session);
  out->wrong = result.wrong;
  ck_assert_uint_eq(result.n, request->replay ? request->forced_count : out->count);
  for (int i = 0; i < DEAI_HASH_BYTES; i++)
    (void)snprintf(out->root + (ptrdiff_t)2 * i, 3, "%02x", result.root[i]);
}

static lm_request request_of(const uint32_t *prompt, uint32_t count, uint32_t t) {
  return (lm_request){
      .ids = prompt,
      .id_count = count,
      .max = TOKENS,
      .sampler = {.t = t, .k = t == 0 ? 0 : 40, .p = t == 0 ? LM_MICRO : 900000, .seed = 20260101}};
}

static void print_ids(const char *name, const uint32_t *ids, uint32_t count) {
  printf("\"%s\": [", name);
  for (uint32_t i = 0; i < count; i++)
    printf("%s%u", i == 0 ? "" : ", ", ids[i]);
  printf("], ");
}

static void make_row(json_t *object, void *user) {
  golden_run *run = user;
  uint32_t prompt[PROMPT_MAX];
  answer made;
  uint32_t t = run->rows++ % 2 == 0 ? 0 : 800000;
  uint32_t count = read_ids(json_object_get(object, "prompt_ids"), prompt, PROMPT_MAX);
  lm_request request = request_of(prompt, count, t);
  run_session(run->engine, &request, &made);
  printf("{");
  print_ids("prompt_ids", prompt, count);
  printf("\"t\": %u, ", t);
  print_ids("output_ids", made.ids, made.count);
  printf("\"root\": \"%s\"}\n", made.root);
}

static void check_row(json_t *object, void *user) {
  golden_run *run = user;
  uint32_t prompt[PROMPT_MAX];
  uint32_t expected[TOKENS];
  answer found;
  if (run->rows++ >= run->device->rows) return;
  uint32_t count = read_ids(json_object_get(object, "prompt_ids"), prompt, PROMPT_MAX);
  uint32_t n = read_ids(json_object_get(object, "output_ids"), expected, TOKENS);
  uint32_t t = (uint32_t)json_integer_value(json_object_get(object, "t"));
  lm_request request = request_of(prompt, count, t);
  if (run->device->replay) {
    request.replay = true;
    request.forced = expected;
    request.forced_count = request.max = n;
  }
  run_session(run->engine, &request, &found);
  bool same_ids = run->device->replay ||
                  (found.count == n && memcmp(found.ids, expected, n * sizeof *expected) == 0);
  bool equal = same_ids && found.wrong == -1 &&
               strcmp(found.root, json_string_value(json_object_get(object, "root"))) == 0;
  if (!equal) printf("golden differs on %s: row %zu\n", run->device->ops->name, run->rows);
  run->passed += equal ? 1 : 0;
  run->failed += equal ? 0 : 1;
}

void golden_check(const lm_model *model, const golden_device *device) {
  golden_run run = {.device = device, .engine = open_engine(model, device->ops, device->device)};
  ck_assert_uint_gt(testing_vector_rows("golden", "rules1.jsonl", check_row, &run), 0);
  testing_tally("golden", run.passed, run.failed, 0);
  ck_assert_uint_eq(run.failed, 0);
  lm_engine_close(run.engine);
}

void golden_make(const lm_model *model) {
  golden_run run = {.engine = open_engine(model, lm_cpu_backend(), "c")};
  (void)testing_vector_rows("greedy", "smollm2.jsonl", make_row, &run);
  lm_engine_close(run.engine);
}
