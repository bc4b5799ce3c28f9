#include "plugins/compute/lm/session.h"

#include "plugins/compute/cpu/cpu.h"
#include "tests/plugins/compute/cpu/run.h"
#include "tests/plugins/compute/lm/tiny.h"
#include "tests/testing.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define PROMPT 9
#define ANSWER 40

static const uint32_t prompt[PROMPT] = {72, 101, 108, 108, 111, 44, 32, 97, 98};

static lm_model *model;
static lm_engine *engine;

static void open_engine(const tiny_options *options, uint32_t chunk, uint32_t caches) {
  tiny_file file = {0};
  lm_error error = {{0}};
  tiny_model(&file, options, NULL);
  model = run_model(tiny_save(&file, "session.gguf"), 0);
  tiny_free(&file);
  lm_engine_config config = {.chunk = chunk, .caches = caches, .backend = {.threads = 2}};
  ck_assert_int_eq(lm_engine_open(model, lm_cpu_backend(), &config, &engine, &error), DEAI_OK);
}

static void set_up(void) {
  open_engine(&(tiny_options){.type = 3, .seed = 11}, LM_COLUMNS_MAX, 2);
}

static void tear_down(void) {
  lm_engine_close(engine);
  lm_model_close(model);
}

typedef struct answer {
  uint32_t ids[TINY_CTX];
  uint32_t count;
  char text[4096];
  size_t text_len;
  lm_result result;
  int32_t status;
} answer;

static lm_request plain(uint32_t max) {
  return (lm_request){.ids = prompt,
                      .id_count = PROMPT,
                      .max = max,
                      .sampler = {.t = 900000, .p = LM_MICRO, .seed = 42}};
}

static void take_step(answer *out, const lm_step *step) {
  if (step->has_token) out->ids[out->count++] = step->token;
  ck_assert_uint_lt(out->text_len + step->text.len, sizeof out->text);
  if (step->text.len > 0) memcpy(out->text + out->text_len, step->text.ptr, step->text.len);
  out->text_len += step->text.len;
  out->status = step->status;
}

static void run(const lm_request *request, answer *out) {
  lm_session *session = NULL;
  lm_error error = {{0}};
  *out = (answer){0};
  int32_t status = lm_session_open(engine, request, &session, &error);
  ck_assert_msg(status == DEAI_OK, "%s", error.text);
  for (lm_step step = {0}; step.finish == LM_FINISH_NONE && out->status == DEAI_OK;) {
    ck_assert_int_eq(lm_session_step(&session, 1, &step), DEAI_OK);
    take_step(out, &step);
  }
  lm_session_result(session, &out->result);
  lm_step more;
  ck_assert_int_eq(lm_session_step(&session, 1, &more), DEAI_EINVAL);
  if (out->status != DEAI_OK) ck_assert_ptr_nonnull(strstr(lm_session_error(session), "fault"));
  lm_session_close(session);
}

static void expect_same(const answer *a, const answer *b) {
  ck_assert_uint_eq(a->result.n, b->result.n);
  ck_assert_int_eq(memcmp(a->result.root, b->result.root, DEAI_HASH_BYTES), 0);
}

static void expect_refused(lm_request request, const char *word) {
  lm_session *session = NULL;
  lm_error error = {{0}};
  ck_assert_int_eq(lm_session_open(engine, &request, &session, &error), DEAI_EINVAL);
  ck_assert_ptr_null(session);
  ck_assert_msg(strstr(error.text, word) != NULL, "%s", error.text);
}

START_TEST(wrong_requests_are_refused) {
  uint32_t far[1] = {TINY_VOCAB};
  deai_bytes empty = {0};
  lm_request request = plain(8);
  request.id_count = 0;
  expect_refused(request, "found none");
  expect_refused(plain(TINY_CTX - PROMPT + 1), "160 tokens expected, found 9 + 152");
  request = plain(8);
  request.ids = far;
  request.id_count = 1;
  expect_refused(request, "below 260");
  request = plain(1);
  request.forced = prompt;
  request.forced_count = 2;
  expect_refused(request, "at most 1 forced");
  request.replay = true;
  request.max = 3;
  expect_refused(request, "exactly 3 forced");
  request = plain(8);
  request.logprobs = 21;
  expect_refused(request, "20 logprobs");
  request = plain(8);
  request.sampler.p = 0;
  expect_refused(request, "top_p");
  request = plain(8);
  request.stops = &empty;
  request.stop_count = 1;
  expect_refused(request, "1 to 256 bytes");
  request.stop_count = LM_STOPS_MAX + 1;
  expect_refused(request, "16 stop strings");
}
END_TEST

START_TEST(wrong_configurations_are_refused) {
  lm_engine *other = NULL;
  lm_error error = {{0}};
  lm_engine_config configs[] = {{.ctx = TINY_CTX + 1},
                                {.caches = LM_CACHES_MAX + 1},
                                {.chunk = LM_COLUMNS_MAX + 1},
                                {.backend = {.device = "none"}}};
  for (size_t i = 0; i < 4; i++) {
    ck_assert_int_eq(lm_engine_open(model, lm_cpu_backend(), &configs[i], &other, &error),
                     DEAI_EINVAL);
    ck_assert_ptr_null(other);
  }
  lm_engine_close(NULL);
  lm_session_close(NULL);
}
END_TEST

START_TEST(a_full_engine_says_busy) {
  lm_session *sessions[3] = {0};
  lm_request request = plain(4);
  lm_error error = {{0}};
  ck_assert_int_eq(lm_session_open(engine, &request, &sessions[0], &error), DEAI_OK);
  ck_assert_int_eq(lm_session_open(engine, &request, &sessions[1], &error), DEAI_OK);
  ck_assert_uint_eq(lm_engine_load(engine), 2);
  ck_assert_int_eq(lm_session_open(engine, &request, &sessions[2], &error), DEAI_EBUSY);
  lm_session_close(sessions[0]);
  ck_assert_int_eq(lm_session_open(engine, &request, &sessions[2], &error), DEAI_OK);
  lm_session_close(sessions[1]);
  lm_session_close(sessions[2]);
  ck_assert_uint_eq(lm_engine_load(engine), 0);
  ck_assert_uint_eq(lm_engine_caches(engine), 2);
  ck_assert_uint_eq(lm_engine_ctx(engine), TINY_CTX);
}
END_TEST

START_TEST(a_resumed_answer_is_the_undisturbed_one) {
  static answer whole;
  static answer rest;
  lm_request request = plain(ANSWER);
  run(&request, &whole);
  ck_assert_uint_eq(whole.count, whole.result.n);
  for (uint32_t given = 1; given < whole.count; given += 3) {
    static answer first;
    lm_request begin = plain(given);
    run(&begin, &first);
    request.forced = whole.ids;
    request.forced_count = given;
    run(&request, &rest);
    expect_same(&whole, &rest);
    ck_assert_uint_eq(rest.count, whole.count - given);
    ck_assert_int_eq(memcmp(rest.ids, whole.ids + given, rest.count * sizeof rest.ids[0]), 0);
    ck_assert_uint_le(rest.text_len, whole.text_len);
    const char *tail = whole.text + whole.text_len - rest.text_len;
    ck_assert_int_eq(memcmp(rest.text, tail, rest.text_len), 0);
  }
}
END_TEST

START_TEST(tokens_that_end_the_answer_are_not_given_out_twice) {
  static answer whole;
  static answer rest;
  lm_request request = plain(ANSWER);
  run(&request, &whole);
  request.forced = whole.ids;
  request.forced_count = request.max = whole.count;
  run(&request, &rest);
  expect_same(&whole, &rest);
  ck_assert_uint_eq(rest.count, 0);
  ck_assert_uint_eq(rest.text_len, 0);
  ck_assert_int_eq(rest.result.finish, LM_FINISH_LENGTH);
}
END_TEST

START_TEST(a_replay_has_the_same_root_and_finds_the_wrong_token) {
  static answer whole;
  static answer again;
  lm_request request = plain(ANSWER);
  run(&request, &whole);
  request.forced = whole.ids;
  request.forced_count = request.max = whole.count;
  request.replay = true;
  run(&request, &again);
  expect_same(&whole, &again);
  ck_assert_int_eq(again.result.wrong, -1);
  ck_assert_uint_eq(again.count, 0);
  ck_assert_uint_le(again.result.columns, PROMPT + whole.count);
  request.sampler.seed++;
  run(&request, &again);
  ck_assert_int_ge(again.result.wrong, 0);
  request.sampler.seed--;
  whole.ids[17] = (whole.ids[17] + 1) % TINY_START;
  run(&request, &again);
  ck_assert_int_eq(again.result.wrong, 17);
  ck_assert_int_ne(memcmp(whole.result.root, again.result.root, DEAI_HASH_BYTES), 0);
}
END_TEST

START_TEST(chunks_and_company_change_nothing) {
  static answer whole;
  static answer other;
  lm_request request = plain(ANSWER);
  run(&request, &whole);
  tear_down();
  open_engine(&(tiny_options){.type = 3, .seed = 11}, 0, 1); /* follows the speed */
  run(&request, &other);
  expect_same(&whole, &other);
  tear_down();
  open_engine(&(tiny_options){.type = 3, .seed = 11}, 2, 3);
  run(&request, &other);
  expect_same(&whole, &other);
  lm_session *sessions[3];
  answer *answers = calloc(3, sizeof *answers);
  ck_assert_ptr_nonnull(answers);
  for (int i = 0; i < 3; i++)
    ck_assert_int_eq(lm_session_open(engine, &request, &sessions[i], NULL), DEAI_OK);
  for (uint32_t first = 0; first < 3;) { /* the one with a reused prefix ends before the others */
    lm_step steps[3] = {{0}};
    ck_assert_int_eq(lm_session_step(sessions + first, 3 - first, steps), DEAI_OK);
    for (uint32_t i = first; i < 3; i++)
      take_step(&answers[i], &steps[i - first]);
    while (first < 3 && answers[first].count == ANSWER)
      first++;
  }
  for (int i = 0; i < 3; i++) {
    lm_session_result(sessions[i], &answers[i].result);
    expect_same(&whole, &answers[i]);
    lm_session_close(sessions[i]);
  }
  free(answers);
}
END_TEST

START_TEST(only_the_same_callers_prefix_is_reused) {
  static answer first;
  static answer second;
  lm_request request = plain(4);
  request.caller = deai_bytes_of("alice", 5);
  run(&request, &first);
  ck_assert_uint_eq(first.result.reused, 0);
  run(&request, &second);
  ck_assert_uint_eq(second.result.reused, PROMPT - 1);
  expect_same(&first, &second);
  request.origin = deai_bytes_of("web", 3);
  run(&request, &second);
  ck_assert_uint_eq(second.result.reused, 0);
  request.caller = deai_bytes_of("bob", 3);
  request.origin = deai_bytes_of("", 0);
  run(&request, &second);
  ck_assert_uint_eq(second.result.reused, 0);
  expect_same(&first, &second);
}
END_TEST

START_TEST(stop_strings_are_never_given_out) {
  static answer whole;
  static answer cut;
  lm_request request = plain(ANSWER);
  run(&request, &whole);
  ck_assert_uint_gt(whole.text_len, 12);
  deai_bytes stop = deai_bytes_of(whole.text + 8, 3);
  request.stops = &stop;
  request.stop_count = 1;
  run(&request, &cut);
  ck_assert_int_eq(cut.result.finish, LM_FINISH_STOP);
  ck_assert_ptr_null(memmem(cut.text, cut.text_len, stop.ptr, 3));
  ck_assert_uint_le(cut.text_len, 8);
  ck_assert_int_eq(memcmp(cut.text, whole.text, cut.text_len), 0);
}
END_TEST

START_TEST(an_empty_answer_and_logprobs) {
  static answer none;
  lm_request request = plain(0);
  run(&request, &none);
  ck_assert_int_eq(none.result.finish, LM_FINISH_LENGTH);
  ck_assert_uint_eq(none.result.n, 0);
  request = plain(3);
  request.logprobs = 5;
  lm_session *session = NULL;
  lm_step step = {0};
  ck_assert_int_eq(lm_session_open(engine, &request, &session, NULL), DEAI_OK);
  ck_assert_int_eq(lm_session_step(&session, 1, &step), DEAI_OK);
  ck_assert(step.has_token);
  ck_assert_uint_eq(step.logprob_count, 6);
  ck_assert_uint_eq(step.logprobs[0].id, step.token);
  ck_assert_int_le(step.logprobs[0].micro, 0);
  for (int i = 2; i < 6; i++)
    ck_assert_int_ge(step.logprobs[i - 1].micro, step.logprobs[i].micro);
  lm_session_close(session);
}
END_TEST

START_TEST(a_fault_is_a_defined_result) {
  static answer out;
  tear_down();
  open_engine(&(tiny_options){.type = 0, .seed = 3, .loud = 0x1p40f}, 4, 1);
  lm_request request = plain(5);
  run(&request, &out);
  ck_assert_int_eq(out.status, DEAI_EINVAL);
  ck_assert_uint_eq(out.count, 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("session");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_test(tests, wrong_requests_are_refused);
  tcase_add_test(tests, wrong_configurations_are_refused);
  tcase_add_test(tests, a_full_engine_says_busy);
  tcase_add_test(tests, a_resumed_answer_is_the_undisturbed_one);
  tcase_add_test(tests, tokens_that_end_the_answer_are_not_given_out_twice);
  tcase_add_test(tests, a_replay_has_the_same_root_and_finds_the_wrong_token);
  tcase_add_test(tests, chunks_and_company_change_nothing);
  tcase_add_test(tests, only_the_same_callers_prefix_is_reused);
  tcase_add_test(tests, stop_strings_are_never_given_out);
  tcase_add_test(tests, an_empty_answer_and_logprobs);
  tcase_add_test(tests, a_fault_is_a_defined_result);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
