#include "fake.h"

#include "plugins/compute/cpu/cpu.h"
#include "plugins/compute/lm/session.h"
#include "tests/plugins/compute/cpu/run.h"
#include "tests/plugins/compute/lm/tiny.h"
#include "tests/testing.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define PROMPT 9
#define ANSWER 120

static const uint32_t prompt[PROMPT] = {72, 101, 108, 108, 111, 44, 32, 97, 98};
static const char *path;
static deai_bytes cid;

static void set_up(void) {
  path = fake_tiny("jobs.gguf", 11);
  (void)fake_open(&(fake_options){.path = path, .queue = 3});
  cid = fake_models(NULL);
}

static void tear_down(void) {
  fake_close();
}

static deai_lm_job plain(uint64_t max) {
  return (deai_lm_job){
      .ids = PROMPT, .max = max, .model = cid, .sampler = {.t = 900000, .p = LM_MICRO, .seed = 42}};
}

/* What the session itself says, without any service. */
typedef struct direct {
  uint32_t ids[512];
  uint32_t count;
  char text[8192];
  size_t text_len;
  uint32_t text_at[512];
  lm_result result;
} direct;

static void run_direct(uint32_t max, const deai_bytes *stops, uint32_t stop_count, direct *out) {
  lm_engine *engine = NULL;
  lm_session *session = NULL;
  lm_model *model = run_model(path, 0);
  lm_engine_config config = {.backend = {.threads = 1}};
  lm_request request = {.ids = prompt,
                        .id_count = PROMPT,
                        .max = max,
                        .stops = stops,
                        .stop_count = stop_count,
                        .sampler = {.t = 900000, .p = LM_MICRO, .seed = 42}};
  *out = (direct){.count = 0};
  ck_assert_int_eq(lm_engine_open(model, lm_cpu_backend(), &config, &engine, NULL), DEAI_OK);
  ck_assert_int_eq(lm_session_open(engine, &request, &session, NULL), DEAI_OK);
  for (lm_step step = {0}; step.finish == LM_FINISH_NONE;) {
    ck_assert_int_eq(lm_session_step(&session, 1, &step), DEAI_OK);
    if (!step.has_token) continue;
    if (step.text.len > 0) memcpy(out->text + out->text_len, step.text.ptr, step.text.len);
    out->text_len += (size_t)step.text.len;
    out->text_at[out->count] = (uint32_t)out->text_len;
    out->ids[out->count++] = step.token;
  }
  lm_session_result(session, &out->result);
  lm_session_close(session);
  lm_engine_close(engine);
  lm_model_close(model);
}

static void expect_root(const fake_answer *a, const direct *whole) {
  ck_assert_msg(a->status == DEAI_OK, "%s", a->why);
  ck_assert_uint_eq(a->lm.n, whole->result.n);
  ck_assert_uint_eq(a->lm.rules, 1);
  ck_assert_int_eq(memcmp(a->lm.root, whole->result.root, DEAI_HASH_BYTES), 0);
  ck_assert(deai_bytes_eq(a->lm.model, cid));
  ck_assert_uint_eq(a->lm.sampler.seed, 42);
}

static void refused(const char *method, deai_lm_job job, int32_t status, const char *words) {
  const fake_answer *a = fake_at(fake_job(method, &job, prompt, prompt));
  ck_assert(a->ended);
  ck_assert_int_eq(a->status, status);
  ck_assert_msg(strstr(a->why, words) != NULL, "%s", a->why);
}

START_TEST(wrong_jobs_are_refused_with_both_numbers) {
  deai_lm_job job = plain(TINY_CTX);
  refused("generate", job, DEAI_EINVAL, "160 tokens expected, found 9 + 160");
  job = plain(8);
  job.ids = 0;
  refused("generate", job, DEAI_EINVAL, "found none");
  job = plain(2);
  job.forced = 3;
  refused("generate", job, DEAI_EINVAL, "at most 2 forced tokens expected, found 3");
  job = plain(3);
  job.forced = 2;
  refused("replay", job, DEAI_EINVAL, "exactly 3 forced tokens expected, found 2");
  job = plain(8);
  job.model = deai_bytes_of("\x01\x55\x12\x02xx", 6);
  refused("generate", job, DEAI_ENOTFOUND, "not loaded here");
  job = plain(8);
  job.sampler.t = 1000000000;
  refused("generate", job, DEAI_EINVAL, "temperature");
  deai_bytes empty = deai_bytes_of("", 0);
  job = plain(8);
  job.stop = (deai_list){.items = &empty, .count = 1};
  refused("generate", job, DEAI_EINVAL, "1 to 256 bytes");
}
END_TEST

START_TEST(counts_of_head_body_and_units_must_agree) {
  uint8_t args[1024];
  char err[DEAI_ERR_CAP];
  uint32_t ids[PROMPT + 1];
  deai_lm_job job = plain(8);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){args, sizeof args});
  ck_assert_int_eq(deai_encode(&deai_lm_job_table, &job, &writer, err, sizeof err), DEAI_OK);
  deai_bytes head = deai_bytes_of(args, writer.len);
  memcpy(ids, prompt, sizeof prompt);
  ids[PROMPT] = 1;
  const fake_answer *a =
      fake_at(fake_call_service("generate", head, deai_bytes_of(ids, sizeof ids), 0));
  ck_assert_int_eq(a->status, DEAI_EINVAL);
  ck_assert_msg(strstr(a->why, "36 bytes expected") && strstr(a->why, "found 40"), "%s", a->why);
  a = fake_at(fake_call_service("generate", head, deai_bytes_of(ids, 35), 0));
  ck_assert_int_eq(a->status, DEAI_EINVAL);
  a = fake_at(fake_call_service("generate", head, deai_bytes_of(ids, 36), 8));
  ck_assert_int_eq(a->status, DEAI_EINVAL);
  ck_assert_msg(strstr(a->why, "9 units expected") && strstr(a->why, "found 8"), "%s", a->why);
  ids[3] = TINY_VOCAB;
  a = fake_at(fake_call_service("generate", head, deai_bytes_of(ids, 36), 9));
  ck_assert_int_eq(a->status, DEAI_EINVAL);
  ck_assert_msg(strstr(a->why, "below 260 expected, found 260") != NULL, "%s", a->why);
  a = fake_at(fake_call_service("generate", deai_bytes_of("\xff", 1), deai_bytes_of(ids, 36), 9));
  ck_assert_int_eq(a->status, DEAI_EINVAL);
  ck_assert_int_eq(fake_end(fake_job("generate", &job, prompt, NULL))->status, DEAI_OK);
}
END_TEST

START_TEST(an_answer_is_that_of_the_session) {
  static direct whole;
  run_direct(ANSWER, NULL, 0, &whole);
  deai_lm_job job = plain(ANSWER);
  job.logprobs = 3;
  const fake_answer *a = fake_end(fake_job("generate", &job, prompt, NULL));
  expect_root(a, &whole);
  ck_assert_uint_eq(a->id_count, whole.count);
  for (uint32_t i = 0; i < whole.count; i++)
    ck_assert_uint_eq(a->ids[i], whole.ids[i]);
  ck_assert_uint_eq(a->units, whole.count);
  ck_assert_uint_eq(a->rows, 4 * whole.count);
  ck_assert_uint_le(a->largest, 16);
  ck_assert_uint_eq(a->text_len, whole.text_len);
  ck_assert_int_eq(memcmp(a->text, whole.text, whole.text_len), 0);
  ck_assert_uint_eq(a->lm.has, DEAI_LM_END_HAS_FINISH);
  ck_assert_uint_eq(fake_counter("tokens"), whole.count);
}
END_TEST

/* resume plays a provider that was lost after given tokens, and the next one. */
static void resume(const direct *whole, uint32_t given, const deai_bytes *stops, uint32_t count) {
  deai_lm_job job = plain(ANSWER);
  job.forced = given;
  job.stop = (deai_list){.items = (void *)(uintptr_t)stops, .count = count};
  const fake_answer *a = fake_end(fake_job("generate", &job, prompt, whole->ids));
  expect_root(a, whole);
  ck_assert_uint_eq(a->id_count, whole->count - given);
  size_t before = given == 0 ? 0 : whole->text_at[given - 1];
  ck_assert_uint_eq(before + a->text_len, whole->text_len);
  ck_assert_int_eq(memcmp(whole->text + before, a->text, a->text_len), 0);
}

START_TEST(a_resumed_answer_goes_on_to_the_byte) {
  static direct whole;
  run_direct(ANSWER, NULL, 0, &whole);
  for (uint32_t given = 0; given <= whole.count; given += 5)
    resume(&whole, given, NULL, 0);
  resume(&whole, whole.count, NULL, 0);
}
END_TEST

START_TEST(a_resumed_answer_holds_back_the_same_bytes) {
  static direct plain_text;
  static direct whole;
  uint8_t late[3][24];
  deai_bytes stops[3];
  run_direct(ANSWER, NULL, 0, &plain_text);
  ck_assert_uint_gt(plain_text.text_len, 60);
  for (uint32_t i = 0; i < 3; i++) { /* the text, but for the last byte: held back, then not */
    memcpy(late[i], plain_text.text + 8 + 16 * i, 14);
    late[i][14] = 1;
    stops[i] = deai_bytes_of(late[i], 15);
  }
  run_direct(ANSWER, stops, 3, &whole);
  ck_assert_uint_eq(whole.text_len, plain_text.text_len);
  for (uint32_t given = 0; given <= whole.count && given < 45; given++)
    resume(&whole, given, stops, 3);
  late[1][14] = (uint8_t)plain_text.text[8 + 16 + 14]; /* now it is found */
  run_direct(ANSWER, stops, 3, &whole);
  ck_assert_uint_lt(whole.text_len, plain_text.text_len);
  for (uint32_t given = 0; given <= whole.count; given++)
    resume(&whole, given, stops, 3);
}
END_TEST

START_TEST(a_replay_finds_the_wrong_token) {
  static direct whole;
  run_direct(ANSWER, NULL, 0, &whole);
  deai_lm_job job = plain(whole.count);
  job.forced = whole.count;
  const fake_answer *a = fake_end(fake_job("replay", &job, prompt, whole.ids));
  expect_root(a, &whole);
  ck_assert_uint_eq(a->lm.has, 0);
  ck_assert_uint_eq(a->parts, 0);
  whole.ids[17] = (whole.ids[17] + 1) % TINY_START;
  a = fake_end(fake_job("replay", &job, prompt, whole.ids));
  ck_assert_int_eq(a->status, DEAI_OK);
  ck_assert_uint_eq(a->lm.has, DEAI_LM_END_HAS_WRONG);
  ck_assert_uint_eq(a->lm.wrong, 17);
}
END_TEST

static bool held_or_ended(void *user) {
  const fake_answer *a = user;
  return a->held || a->ended;
}

START_TEST(a_full_window_holds_the_session) {
  static direct whole;
  run_direct(ANSWER, NULL, 0, &whole);
  deai_lm_job job = plain(ANSWER);
  fake_window(2);
  uint64_t ticket = fake_job("generate", &job, prompt, NULL);
  fake_answer *a = fake_held(ticket);
  ck_assert_uint_eq(a->parts, 2);
  ck_assert_uint_le(fake_counter("tokens"), a->id_count + 16);
  while (!a->ended) {
    fake_drain(ticket, 1);
    fake_until(held_or_ended, a);
  }
  expect_root(a, &whole);
  ck_assert_uint_eq(a->text_len, whole.text_len);
  ck_assert_int_eq(memcmp(a->text, whole.text, whole.text_len), 0);
}
END_TEST

START_TEST(a_cancelled_answer_stops_and_says_what_was_delivered) {
  static direct whole;
  deai_lm_job job = plain(ANSWER);
  fake_window(3);
  uint64_t ticket = fake_job("generate", &job, prompt, NULL);
  const fake_answer *a = fake_held(ticket);
  fake_cancel(ticket, DEAI_ECANCELLED);
  (void)fake_end(ticket);
  uint64_t tokens = fake_counter("tokens");
  ck_assert_int_eq(a->status, DEAI_ECANCELLED);
  ck_assert_uint_eq(a->lm.has, DEAI_LM_END_HAS_FINISH);
  ck_assert_uint_eq(a->lm.finish, DEAI_LM_CANCEL);
  ck_assert_uint_eq(a->lm.n, a->id_count);
  ck_assert_uint_lt(tokens, ANSWER);
  run_direct(a->id_count, NULL, 0, &whole); /* the root is over what was delivered */
  ck_assert_int_eq(memcmp(a->lm.root, whole.result.root, DEAI_HASH_BYTES), 0);
  fake_window(UINT32_MAX);
  job = plain(7);
  ck_assert_int_eq(fake_end(fake_job("generate", &job, prompt, NULL))->status, DEAI_OK);
  ck_assert_uint_eq(fake_counter("tokens"), tokens + 7); /* nothing of the cancelled one */
}
END_TEST

START_TEST(the_queue_has_an_end) {
  uint64_t tickets[7];
  deai_lm_job job = plain(ANSWER);
  deai_lm_model row;
  fake_window(0);
  for (int i = 0; i < 7; i++)
    tickets[i] = fake_job("generate", &job, prompt, NULL); /* 4 run, 3 wait */
  for (int i = 0; i < 4; i++)
    (void)fake_held(tickets[i]);
  (void)fake_models(&row);
  ck_assert_uint_eq(row.load, 7);
  refused("generate", job, DEAI_EBUSY, "3 waiting and 4 running");
  fake_cancel(tickets[6], DEAI_ETIMEDOUT); /* a waiting one ends at once */
  ck_assert_int_eq(fake_at(tickets[6])->status, DEAI_ETIMEDOUT);
  ck_assert(!fake_at(tickets[4])->held && !fake_at(tickets[4])->ended);
  fake_window(UINT32_MAX);
  uint64_t late = fake_job("generate", &job, prompt, NULL);
  fake_drain(tickets[0], UINT32_MAX);
  fake_at(tickets[4])->window = UINT32_MAX;
  fake_at(tickets[5])->window = UINT32_MAX;
  ck_assert_int_eq(fake_end(late)->status, DEAI_OK);
  for (int i = 1; i < 4; i++)
    fake_drain(tickets[i], UINT32_MAX);
  for (int i = 0; i < 6; i++)
    ck_assert_int_eq(memcmp(fake_end(tickets[i])->lm.root, fake_at(late)->lm.root, 32), 0);
}
END_TEST

START_TEST(a_stop_in_the_middle_leaves_nothing) {
  deai_lm_job job = plain(ANSWER);
  fake_window(1);
  for (int i = 0; i < 6; i++)
    (void)fake_job("generate", &job, prompt, NULL);
  fake_window(UINT32_MAX);
  (void)fake_job("generate", &job, prompt, NULL); /* teardown stops: the sanitizer looks */
}
END_TEST

int main(void) {
  Suite *suite = suite_create("jobs");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_test(tests, wrong_jobs_are_refused_with_both_numbers);
  tcase_add_test(tests, counts_of_head_body_and_units_must_agree);
  tcase_add_test(tests, an_answer_is_that_of_the_session);
  tcase_add_test(tests, a_resumed_answer_goes_on_to_the_byte);
  tcase_add_test(tests, a_resumed_answer_holds_back_the_same_bytes);
  tcase_add_test(tests, a_replay_finds_the_wrong_token);
  tcase_add_test(tests, a_full_window_holds_the_session);
  tcase_add_test(tests, a_cancelled_answer_stops_and_says_what_was_delivered);
  tcase_add_test(tests, the_queue_has_an_end);
  tcase_add_test(tests, a_stop_in_the_middle_leaves_nothing);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
