#include "fake.h"

#include "plugins/compute/lm/cid.h"
#include "plugins/compute/lm/keep.h"
#include "tests/plugins/compute/lm/tiny.h"
#include "tests/testing.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

static const uint32_t prompt[3] = {72, 101, 108};
static char path[4200];
static lm_cid cid;
static char text[LM_CID_TEXT_MAX];

/* The CID is any: the block store vouches for it. */
static void set_up(void) {
  uint8_t bytes[36] = {0x01, 0x70, 0x12, 0x20, 9};
  (void)snprintf(path, sizeof path, "%s", fake_tiny("shelf.gguf", 11));
  ck_assert_int_eq(lm_cid_of(deai_bytes_of(bytes, sizeof bytes), &cid), DEAI_OK);
  (void)lm_cid_text(&cid, text);
}

static deai_bytes of(void) {
  return lm_cid_bytes(&cid);
}

static int open_file(const char *name) {
  int descriptor = open(name, O_RDONLY | O_CLOEXEC);
  ck_assert_int_ge(descriptor, 0);
  return descriptor;
}

static void load(void) {
  uint64_t ticket = fake_model("load", of());
  fake_call *asked = fake_made("open");
  ck_assert_ptr_nonnull(asked);
  ck_assert_uint_eq(asked->flags, DEAI_CALL_HERE);
  fake_reply(asked, DEAI_OK, "", open_file(path));
  ck_assert_msg(fake_end(ticket)->status == DEAI_OK, "%s", fake_at(ticket)->why);
  ck_assert_uint_eq(fake_offered(), 1);
}

static uint64_t job(uint64_t max) {
  deai_lm_job asked = {.ids = 3, .max = max, .model = of(), .sampler = {.p = 1000000}};
  return fake_job("generate", &asked, prompt, NULL);
}

static uint32_t kept(void) {
  lm_cid cids[LM_KEEP_MAX];
  char err[DEAI_ERR_CAP] = "";
  uint32_t count = 0;
  ck_assert_int_eq(lm_keep_read(testing_folder(), cids, LM_KEEP_MAX, &count, err, sizeof err),
                   DEAI_OK);
  return count;
}

static void expect(uint64_t ticket, int32_t status, const char *words) {
  const fake_answer *a = fake_end(ticket);
  ck_assert_msg(a->status == status, "%d: %s", a->status, a->why);
  ck_assert_msg(strstr(a->why, words) != NULL, "%s", a->why);
}

START_TEST(what_cannot_be_loaded_is_told) {
  char junk[4300];
  (void)snprintf(junk, sizeof junk, "%s.junk", path);
  FILE *file = fopen(junk, "w");
  ck_assert_ptr_nonnull(file);
  ck_assert_int_gt(fprintf(file, "no model at all, but long enough for a header"), 0);
  ck_assert_int_eq(fclose(file), 0);
  (void)fake_open(&(fake_options){.queue = 1});
  expect(fake_call_service("load", deai_bytes_of("\xa0", 1), deai_bytes_of(NULL, 0), 0),
         DEAI_EINVAL, "lm-model-ref");
  expect(fake_model("unload", of()), DEAI_ENOTFOUND, text);
  uint64_t ticket = fake_model("load", of());
  fake_reply(fake_made("open"), DEAI_ENOPROVIDER, "no storage here", -1);
  expect(ticket, DEAI_ENOPROVIDER, "no storage here");
  ticket = fake_model("load", of());
  fake_reply(fake_made("open"), DEAI_OK, "", -1);
  expect(ticket, DEAI_EINTERNAL, "descriptor");
  ticket = fake_model("load", of());
  fake_reply(fake_made("open"), DEAI_OK, "", open_file(junk));
  expect(ticket, DEAI_EINVAL, "");
  expect(job(3), DEAI_ENOTFOUND, text);
  ck_assert_uint_eq(fake_offered(), 0);
  fake_close();
  ck_assert_uint_eq(kept(), 0);
}
END_TEST

START_TEST(a_context_beyond_the_model_is_refused) {
  (void)fake_open(&(fake_options){.context = TINY_CTX + 1});
  uint64_t ticket = fake_model("load", of());
  fake_reply(fake_made("open"), DEAI_OK, "", open_file(path));
  expect(ticket, DEAI_EINVAL, "at most 160 expected, found 161");
  fake_close();
  (void)fake_open(&(fake_options){.context = 40});
  load();
  expect(job(38), DEAI_EINVAL, "within 40 tokens expected, found 3 + 38");
  expect(job(37), DEAI_OK, "");
  fake_close();
}
END_TEST

START_TEST(what_is_not_here_is_fetched_first) {
  (void)fake_open(&(fake_options){.queue = 1});
  uint64_t first = fake_model("load", of());
  uint64_t second = fake_model("load", of()); /* waits for the same */
  fake_reply(fake_made("open"), DEAI_ENOTFOUND, "a block is missing", -1);
  fake_call *fetch = fake_made("fetch");
  ck_assert_ptr_nonnull(fetch);
  fake_progress(fetch, 3, 10);
  fake_progress(fetch, 10, 10);
  ck_assert_uint_eq(fake_at(first)->parts, 2);
  ck_assert_uint_eq(fake_at(second)->parts, 2);
  expect(job(3), DEAI_EBUSY, "still being loaded");
  fake_reply(fetch, DEAI_OK, "", -1);
  fake_reply(fake_made("open"), DEAI_OK, "", open_file(path));
  expect(first, DEAI_OK, "");
  expect(second, DEAI_OK, "");
  ck_assert_uint_eq(fake_at(first)->end_len, 1);
  expect(fake_model("load", of()), DEAI_OK, ""); /* at once: it is here */
  expect(job(3), DEAI_OK, "");
  fake_close();
  ck_assert_uint_eq(kept(), 1);
}
END_TEST

START_TEST(a_missing_block_is_not_fetched_for_ever) {
  (void)fake_open(&(fake_options){.queue = 1});
  uint64_t ticket = fake_model("load", of());
  fake_reply(fake_made("open"), DEAI_ENOTFOUND, "missing", -1);
  fake_reply(fake_made("fetch"), DEAI_OK, "", -1);
  fake_reply(fake_made("open"), DEAI_ENOTFOUND, "still missing", -1);
  expect(ticket, DEAI_ENOTFOUND, "still missing");
  fake_close();
}
END_TEST

START_TEST(models_come_back_after_a_restart) {
  (void)fake_open(&(fake_options){.queue = 1});
  load();
  fake_close();
  ck_assert_uint_eq(kept(), 1);
  (void)fake_open(&(fake_options){.queue = 1});
  fake_reply(fake_made("open"), DEAI_ENOPROVIDER, "the store starts", -1);
  ck_assert_ptr_null(fake_made("open"));
  for (int i = 0; i < 5; i++)
    fake_tick();
  fake_call *again = fake_made("open");
  ck_assert_ptr_nonnull(again); /* a try after 5 seconds */
  uint64_t ticket = fake_model("load", of());
  fake_reply(again, DEAI_OK, "", open_file(path));
  expect(ticket, DEAI_OK, "");
  expect(fake_model("unload", of()), DEAI_OK, "");
  ck_assert_uint_eq(fake_offered(), 0);
  expect(job(3), DEAI_ENOTFOUND, "not loaded");
  fake_close();
  ck_assert_uint_eq(kept(), 0);
}
END_TEST

START_TEST(settings_name_models_too) {
  (void)fake_open(&(fake_options){.cid = text});
  fake_reply(fake_made("open"), DEAI_EIO, "later", -1);
  expect(fake_model("unload", of()), DEAI_OK, ""); /* no more tries */
  for (int i = 0; i < 20; i++)
    fake_tick();
  ck_assert_ptr_null(fake_made("open"));
  fake_close();
}
END_TEST

START_TEST(an_unload_lets_answers_end) {
  (void)fake_open(&(fake_options){.queue = 4});
  load();
  fake_window(0);
  uint64_t running = job(20);
  (void)fake_held(running);
  fake_window(UINT32_MAX);
  uint64_t unload = fake_model("unload", of());
  expect(job(3), DEAI_ENOTFOUND, "not loaded");
  expect(fake_model("load", of()), DEAI_EBUSY, "given up");
  ck_assert(!fake_at(unload)->ended);
  fake_drain(running, UINT32_MAX);
  expect(running, DEAI_OK, "");
  expect(unload, DEAI_OK, "");
  load();
  fake_close();
}
END_TEST

START_TEST(a_load_that_nobody_waits_for_is_given_up) {
  (void)fake_open(&(fake_options){.queue = 1});
  uint64_t ticket = fake_model("load", of());
  fake_call *asked = fake_made("open");
  fake_cancel(ticket, DEAI_ETIMEDOUT);
  ck_assert_int_eq(fake_at(ticket)->status, DEAI_ETIMEDOUT);
  ck_assert(asked->cancelled);
  expect(fake_model("load", of()), DEAI_EBUSY, "given up");
  fake_reply(asked, DEAI_ECANCELLED, "cancelled", -1);
  load();
  ticket = fake_model("unload", of());
  fake_cancel(ticket, DEAI_ECANCELLED); /* goes on without its caller */
  fake_tick();
  fake_close();
  ck_assert_uint_eq(kept(), 0);
}
END_TEST

static bool job_waits(void *user) {
  deai_lm_model row;
  (void)fake_models(&row);
  return row.load == *(const uint64_t *)user;
}

START_TEST(an_idle_model_sleeps_and_wakes) {
  (void)fake_open(&(fake_options){.keep_ms = 3000, .queue = 2});
  load();
  expect(job(5), DEAI_OK, "");
  for (int i = 0; i < 3; i++)
    fake_tick(); /* the third closes the engine */
  uint64_t first = job(5);
  uint64_t second = job(6);
  uint64_t two = 2;
  ck_assert(job_waits(&two)); /* asleep it still takes jobs, and is offered */
  ck_assert_uint_eq(fake_offered(), 1);
  expect(first, DEAI_OK, "");
  expect(second, DEAI_OK, "");
  fake_close();
}
END_TEST

START_TEST(a_stop_while_loading_leaves_nothing) {
  (void)fake_open(&(fake_options){.queue = 1});
  (void)fake_model("load", of());
  fake_reply(fake_made("open"), DEAI_OK, "", open_file(path));
  fake_close();
}
END_TEST

START_TEST(a_file_of_the_settings_must_be_there) {
  char err[DEAI_ERR_CAP] = "";
  ck_assert_int_eq(fake_begin(&(fake_options){.path = "none.gguf"}, err, sizeof err),
                   DEAI_ENOTFOUND);
  ck_assert_msg(strstr(err, "none.gguf") != NULL, "%s", err);
  (void)fake_open(&(fake_options){.path = "shelf.gguf"}); /* from the plug-in's own folder */
  deai_lm_model row;
  deai_bytes name = fake_models(&row);
  ck_assert_uint_eq(name.len, LM_CID_FILE);
  ck_assert_int_eq(memcmp(name.ptr, "\x01\x55\x12\x20", 4), 0);
  ck_assert(deai_str_eq(row.name, deai_str_of("tiny")));
  ck_assert_uint_eq(row.ctx, TINY_CTX);
  ck_assert_uint_eq(row.price_in, 3);
  fake_close();
}
END_TEST

int main(void) {
  Suite *suite = suite_create("shelf");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_checked_fixture(tests, set_up, NULL);
  tcase_add_test(tests, what_cannot_be_loaded_is_told);
  tcase_add_test(tests, a_context_beyond_the_model_is_refused);
  tcase_add_test(tests, what_is_not_here_is_fetched_first);
  tcase_add_test(tests, a_missing_block_is_not_fetched_for_ever);
  tcase_add_test(tests, models_come_back_after_a_restart);
  tcase_add_test(tests, settings_name_models_too);
  tcase_add_test(tests, an_unload_lets_answers_end);
  tcase_add_test(tests, a_load_that_nobody_waits_for_is_given_up);
  tcase_add_test(tests, an_idle_model_sleeps_and_wakes);
  tcase_add_test(tests, a_stop_while_loading_leaves_nothing);
  tcase_add_test(tests, a_file_of_the_settings_must_be_there);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
