/* Audits: with the share 100 % every answer is replayed. */
#include "play.h"

#include "deai/contracts/rank.h"

#include <string.h>

#include "host/base/banned.h"

#define ALL 1000000u

/* answered runs a whole answer of two tokens by alpha; returns its ticket. */
static uint64_t answered(const char *more) {
  uint64_t ticket = play_chat(more);
  if (fake_open("models") != NULL) play_models(100);
  play_encode(5);
  fake_call *call = fake_open("generate");
  ck_assert_ptr_nonnull(call);
  (void)play_tokens(call, play_alpha, 10, 1, "a");
  (void)play_tokens(call, play_alpha, 11, 1, "b");
  (void)play_end(call, play_alpha, 2, DEAI_LM_STOP, 1);
  return ticket;
}

/* observed returns the audit that the open `observe` reports, and ends it. */
static uint32_t observed(void) {
  char err[DEAI_ERR_CAP] = "";
  deai_rank_observe row;
  fake_call *call = fake_open("observe");
  ck_assert_ptr_nonnull(call);
  ck_assert_msg(deai_decode(&deai_rank_observe_table, deai_bytes_of(call->args, call->args_len),
                            &row, NULL, err, sizeof err) == DEAI_OK,
                "%s", err);
  ck_assert_mem_eq(row.node, play_alpha, DEAI_KEY_BYTES);
  ck_assert_uint_eq(row.paid, 7);
  ck_assert_uint_eq(row.n, 2);
  ck_assert(row.ok);
  fake_fail(call, DEAI_ENOPROVIDER, NULL);
  return row.audit;
}

START_TEST(without_a_second_provider_nothing_is_compared) {
  play_begin((play_settings){.audit = ALL});
  uint64_t ticket = answered("");
  ck_assert_uint_eq(fake_answer_of(ticket)->ends, 1); /* the client does not wait */
  fake_call *call = fake_open("replay");
  ck_assert_ptr_nonnull(call);
  fake_fail(call, DEAI_ENOPROVIDER, NULL);
  ck_assert_ptr_nonnull(strstr(fake.logs, "not audited: no second provider"));
  ck_assert_uint_eq(fake_counted("audits_none"), 1);
  ck_assert_uint_eq(observed(), DEAI_RANK_NONE);
  (void)answered("");
  fake_fail(fake_open("replay"), DEAI_EBUSY, play_beta);
  ck_assert_uint_eq(fake_counted("audits_none"), 2);
  fake_stop();
}
END_TEST

START_TEST(a_replay_says_nothing_of_the_root_and_avoids_the_worker) {
  play_begin((play_settings){.audit = ALL});
  (void)answered(",\"stop\":\"q\",\"seed\":3");
  fake_call *asked = &fake.calls[0];
  while (strcmp(asked->method, "generate") != 0)
    asked++;
  fake_call *call = fake_open("replay");
  deai_lm_job job = play_job(call);
  ck_assert_uint_eq(job.forced, 2);
  ck_assert_uint_eq(job.max, 2);
  ck_assert_uint_eq(job.stop.count, 1);
  ck_assert_uint_eq(job.sampler.seed, 3);
  ck_assert_mem_eq(call->body + 4 * 5, "\x0a\0\0\0\x0b\0\0\0", 8);
  ck_assert_mem_eq(call->job, asked->job, DEAI_ID_BYTES);
  ck_assert_uint_eq(call->avoid_count, 1);
  ck_assert_mem_eq(call->avoid[0], play_alpha, DEAI_KEY_BYTES);
  ck_assert_uint_eq(call->parent, DEAI_NO_TICKET);
  fake_stop();
}
END_TEST

START_TEST(another_root_or_a_wrong_token_is_unequal) {
  play_begin((play_settings){.audit = ALL});
  (void)answered("");
  play_replayed(fake_open("replay"), play_beta, 2, 2, -1);
  ck_assert_uint_eq(observed(), DEAI_RANK_UNEQUAL);
  (void)answered("");
  play_replayed(fake_open("replay"), play_beta, 2, 1, 0);
  ck_assert_uint_eq(observed(), DEAI_RANK_UNEQUAL);
  (void)answered("");
  play_replayed(fake_open("replay"), play_beta, 2, 1, -1);
  ck_assert_uint_eq(observed(), DEAI_RANK_EQUAL);
  ck_assert_uint_eq(fake_counted("audits_unequal"), 2);
  ck_assert_uint_eq(fake_counted("audits_equal"), 1);
  ck_assert_ptr_nonnull(strstr(fake.logs, "audit unequal: worker aa010000, auditor bb020000"));
  fake_stop();
}
END_TEST

START_TEST(a_client_that_waits_is_told) {
  play_begin((play_settings){.audit = ALL, .audit_wait = true});
  uint64_t ticket = answered("");
  ck_assert_uint_eq(fake_answer_of(ticket)->ends, 0);
  play_replayed(fake_open("replay"), play_beta, 2, 1, -1);
  ck_assert_uint_eq(fake_answer_of(ticket)->ends, 1);
  ck_assert_ptr_nonnull(strstr(fake_answer_of(ticket)->headers, "x-deai-audit: equal\n"));
  ticket = answered(",\"stream\":true");
  play_replayed(fake_open("replay"), play_beta, 2, 9, -1);
  ck_assert_ptr_nonnull(strstr(fake_answer_of(ticket)->body, "\n\n: audit unequal\n\n"));
  ck_assert_ptr_nonnull(strstr(fake_answer_of(ticket)->body, "data: [DONE]\n\n"));
  fake_stop();
}
END_TEST

START_TEST(a_client_that_leaves_does_not_end_the_audit) {
  play_begin((play_settings){.audit = ALL, .audit_wait = true});
  uint64_t ticket = answered("");
  fake_cancel(ticket);
  fake_call *call = fake_open("replay");
  ck_assert(!call->cancelled);
  play_replayed(call, play_beta, 2, 1, -1);
  ck_assert_uint_eq(fake_counted("audits_equal"), 1);
  fake_stop();
}
END_TEST

START_TEST(too_many_audits_are_not_begun) {
  play_begin((play_settings){.audit = ALL});
  for (uint32_t i = 0; i < 17; i++)
    (void)answered("");
  ck_assert_ptr_nonnull(strstr(fake.logs, "too many audits"));
  ck_assert_uint_eq(fake_counted("audits_none"), 1);
  fake_stop();
}
END_TEST

START_TEST(prompts_that_stay_here_are_not_audited) {
  play_begin((play_settings){.audit = ALL, .local = true});
  (void)answered("");
  ck_assert_ptr_null(fake_open("replay"));
  for (uint32_t i = 0; i < fake.call_count; i++)
    ck_assert_uint_eq(fake.calls[i].flags, DEAI_CALL_HERE);
  fake_stop();
}
END_TEST

int main(void) {
  Suite *suite = suite_create("audit");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, without_a_second_provider_nothing_is_compared);
  tcase_add_test(tests, a_replay_says_nothing_of_the_root_and_avoids_the_worker);
  tcase_add_test(tests, another_root_or_a_wrong_token_is_unequal);
  tcase_add_test(tests, a_client_that_waits_is_told);
  tcase_add_test(tests, a_client_that_leaves_does_not_end_the_audit);
  tcase_add_test(tests, too_many_audits_are_not_begun);
  tcase_add_test(tests, prompts_that_stay_here_are_not_audited);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
