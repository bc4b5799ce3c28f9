/* Audits: with the share 100 % every answer is replayed. */
#include "play.h"

#include "deai/contracts/ledger.h"
#include "deai/contracts/rank.h"

#include <stdio.h>
#include <string.h>

#include "host/base/banned.h"

#define ALL 1000000u

static const uint8_t *const beta_only[] = {play_beta};
static const uint8_t *const both[] = {play_beta, play_gamma};

static uint8_t own_account(const uint8_t *key) {
  return key[0];
}

/* beta_is_alphas: alpha and beta have one owner, gamma another one. */
static uint8_t beta_is_alphas(const uint8_t *key) {
  return key[0] == play_gamma[0] ? 7 : 1;
}

static uint8_t nobody_known(const uint8_t *key) {
  (void)key;
  return 0;
}

/* answered_with runs a whole answer of two tokens by alpha, which has the model here, while count
   members have it; returns its ticket. */
static uint64_t answered_with(const char *more, const uint8_t *const *members, uint32_t count) {
  uint64_t ticket = play_chat(more);
  if (fake_open("models") != NULL) play_members(100, play_alpha, members, count);
  play_encode(5);
  fake_call *call = fake_open("generate");
  ck_assert_ptr_nonnull(call);
  (void)play_tokens(call, play_alpha, 10, 1, "a");
  (void)play_tokens(call, play_alpha, 11, 1, "b");
  (void)play_end(call, play_alpha, 2, DEAI_LM_STOP, 1);
  return ticket;
}

static uint64_t answered(const char *more) {
  uint64_t ticket = answered_with(more, beta_only, 1);
  (void)play_owners(own_account);
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
  uint64_t ticket = answered_with("", NULL, 0);
  ck_assert_uint_eq(fake_answer_of(ticket)->ends, 1); /* the client does not wait */
  ck_assert_ptr_null(fake_open("replay"));
  ck_assert_ptr_nonnull(strstr(fake.logs, "not audited: no second provider"));
  ck_assert_uint_eq(fake_counted("audits_none"), 1);
  ck_assert_uint_eq(fake_counted("audits_alone"), 1);
  ck_assert_uint_eq(observed(), DEAI_RANK_NONE);
  fake_stop();
}
END_TEST

START_TEST(an_auditor_that_fails_is_replaced_by_another) {
  play_begin((play_settings){.audit = ALL});
  (void)answered_with("", both, 2);
  ck_assert_uint_eq(play_owners(own_account), 3);
  fake_call *first = fake_open("replay");
  fake_fail(first, DEAI_EBUSY, NULL);
  fake_call *second = fake_open("replay");
  ck_assert_ptr_nonnull(second);
  ck_assert_mem_ne(second->provider, first->provider, DEAI_KEY_BYTES);
  (void)fake_end(second, DEAI_OK, deai_bytes_of("\xa0", 1), NULL, (deai_bytes){NULL, 0});
  ck_assert_ptr_null(fake_open("replay"));
  ck_assert_ptr_nonnull(strstr(fake.logs, "not audited: 2 asked, the last one: the auditor's"));
  ck_assert_uint_eq(fake_counted("audits_none"), 1);
  ck_assert_uint_eq(fake_counted("audits_alone"), 0);
  ck_assert_uint_eq(observed(), DEAI_RANK_NONE);
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
  ck_assert_mem_eq(call->provider, play_beta, DEAI_KEY_BYTES);
  ck_assert_uint_eq(call->parent, DEAI_NO_TICKET);
  fake_stop();
}
END_TEST

START_TEST(the_auditor_has_another_owner_when_there_is_one) {
  for (uint32_t i = 0; i < 8; i++) {
    play_begin((play_settings){.audit = ALL});
    (void)answered_with("", both, 2);
    ck_assert_uint_eq(play_owners(beta_is_alphas), 3);
    ck_assert_mem_eq(fake_open("replay")->provider, play_gamma, DEAI_KEY_BYTES);
    fake_fail(fake_open("replay"), DEAI_EPEER_LOST,
              NULL); /* then the own one is better than none */
    ck_assert_mem_eq(fake_open("replay")->provider, play_beta, DEAI_KEY_BYTES);
    fake_stop();
  }
}
END_TEST

START_TEST(auditors_are_drawn_from_all_when_no_owner_is_known) {
  uint32_t betas = 0;
  for (uint32_t i = 0; i < 64; i++) {
    play_begin((play_settings){.audit = ALL});
    (void)answered_with("", both, 2);
    ck_assert_uint_eq(play_owners(nobody_known), 3);
    if (memcmp(fake_open("replay")->provider, play_beta, DEAI_KEY_BYTES) == 0) betas++;
    fake_stop();
  }
  ck_assert_uint_gt(betas, 0); /* wrong once in 2^63 */
  ck_assert_uint_lt(betas, 64);
}
END_TEST

/* encoded_again runs an answer on a node without the model up to the second encode. */
static fake_call *encoded_again(const uint8_t *encoder) {
  play_begin((play_settings){.audit = ALL});
  (void)play_chat("");
  play_members(100, NULL, (const uint8_t *const[]){play_alpha, play_beta}, 2);
  fake_call *first = fake_open("encode");
  (void)fake_part(first, (deai_bytes){NULL, 0}, deai_bytes_of("\1\0\0\0\2\0\0\0", 8), encoder);
  (void)fake_end(first, DEAI_OK, (deai_bytes){NULL, 0}, encoder, (deai_bytes){NULL, 0});
  fake_call *call = fake_open("generate");
  (void)play_tokens(call, play_alpha, 10, 2, "ab");
  (void)play_end(call, play_alpha, 2, DEAI_LM_STOP, 1);
  (void)play_owners(own_account);
  play_replayed(fake_open("replay"), play_beta, 2, 1, -1);
  fake_call *again = fake_open("encode");
  ck_assert_ptr_nonnull(again);
  ck_assert_uint_eq(again->args_len, first->args_len);
  ck_assert_mem_eq(again->args, first->args, first->args_len);
  ck_assert_mem_eq(again->body, first->body, first->body_len);
  return again;
}

START_TEST(a_node_without_the_model_has_its_prompt_encoded_twice) {
  fake_call *call = encoded_again(play_alpha);
  ck_assert_mem_eq(call->provider, play_beta, DEAI_KEY_BYTES);
  (void)fake_part(call, (deai_bytes){NULL, 0}, deai_bytes_of("\1\0\0\0\2\0\0\0", 8), play_beta);
  fake_fail(call, DEAI_OK, play_beta);
  ck_assert_uint_eq(observed(), DEAI_RANK_EQUAL);
  fake_stop();
  call = encoded_again(play_beta); /* the auditor was the encoder: the worker is asked */
  ck_assert_mem_eq(call->provider, play_alpha, DEAI_KEY_BYTES);
  (void)fake_part(call, (deai_bytes){NULL, 0}, deai_bytes_of("\1\0\0\0\3\0\0\0", 8), play_alpha);
  fake_fail(call, DEAI_OK, play_alpha);
  ck_assert_uint_eq(fake_counted("audits_unequal"), 1);
  ck_assert_ptr_nonnull(strstr(fake.logs, "the ids of the prompt differ"));
  ck_assert_uint_eq(observed(), DEAI_RANK_EQUAL); /* the worker's work was right */
  deai_rank_observe row;
  call = fake_open("observe");
  ck_assert_int_eq(deai_decode(&deai_rank_observe_table, deai_bytes_of(call->args, call->args_len),
                               &row, NULL, NULL, 0),
                   DEAI_OK);
  ck_assert_mem_eq(row.node, play_beta, DEAI_KEY_BYTES);
  ck_assert_uint_eq(row.audit, DEAI_RANK_UNEQUAL);
  fake_stop();
  call = encoded_again(play_alpha);
  fake_fail(call, DEAI_EPEER_LOST, NULL); /* not compared: the answer's audit still counts */
  ck_assert_uint_eq(observed(), DEAI_RANK_EQUAL);
  fake_stop();
}
END_TEST

START_TEST(an_unequal_answer_with_a_price_is_objected_to) {
  play_paid = true;
  play_begin((play_settings){.audit = ALL, .audit_wait = true});
  uint64_t ticket = answered("");
  play_replayed(fake_open("replay"), play_beta, 2, 2, -1);
  fake_call *call = fake_open("object");
  ck_assert_ptr_nonnull(call);
  ck_assert_uint_eq(fake_answer_of(ticket)->ends, 0);
  ck_assert_str_eq(call->service, DEAI_LEDGER_SERVICE);
  _Alignas(16) uint8_t room[4 * sizeof(deai_signed)];
  deai_arena arena = {room, sizeof room, 0};
  deai_ledger_object asked;
  ck_assert_int_eq(deai_decode(&deai_ledger_object_table, deai_bytes_of(call->args, call->args_len),
                               &asked, &arena, NULL, 0),
                   DEAI_OK);
  const deai_signed *packs = asked.receipts.items;
  deai_receipt receipt;
  ck_assert_int_eq(deai_decode(&deai_receipt_table, packs[0].body, &receipt, NULL, NULL, 0), 0);
  ck_assert_mem_eq(receipt.worker, play_alpha, DEAI_KEY_BYTES);
  ck_assert_int_eq(deai_decode(&deai_receipt_table, packs[1].body, &receipt, NULL, NULL, 0), 0);
  ck_assert_mem_eq(receipt.worker, play_beta, DEAI_KEY_BYTES);
  deai_ledger_submit_end end = {.h = 12};
  (void)fake_end(call, DEAI_OK, fake_encode(&deai_ledger_submit_end_table, &end), NULL,
                 (deai_bytes){NULL, 0});
  ck_assert_ptr_nonnull(strstr(fake.logs, "the roots differ; objection: on the ledger, block 12"));
  ck_assert_uint_eq(fake_counted("audits_objected"), 1);
  (void)answered("");
  play_replayed(fake_open("replay"), play_beta, 2, 1, 1);
  fake_fail(fake_open("object"), DEAI_EDENIED, NULL);
  ck_assert_ptr_nonnull(strstr(fake.logs, "token 1 is not the sampler's; objection: refused: the"));
  (void)answered("");
  play_replayed(fake_open("replay"), play_beta, 2, 1, -1);
  ck_assert_ptr_null(fake_open("object"));
  fake_stop();
  play_paid = false;
}
END_TEST

START_TEST(a_client_that_asks_is_told_how_it_came_about) {
  fake.header_count = 0;
  play_begin((play_settings){.audit = ALL});
  fake.headers[0] = (deai_text_pair){deai_str_of("x-deai-explain"), deai_str_of("1")};
  fake.header_count = 1;
  uint64_t ticket = answered(",\"stream\":true");
  ck_assert_uint_eq(fake_answer_of(ticket)->ends, 0);
  play_replayed(fake_open("replay"), play_beta, 2, 2, 1);
  const char *body = fake_answer_of(ticket)->body;
  ck_assert_ptr_nonnull(strstr(body, "\n\n: explain {\"nodes\":[\"aa01"));
  ck_assert_ptr_nonnull(
      strstr(body, "\"result\":\"unequal\",\"why\":\"the roots differ, token 1 is"));
  ck_assert_ptr_nonnull(strstr(body, "\"root\":\"unequal\",\"wrong\":1"));
  ck_assert_ptr_nonnull(strstr(body, "\"file\":\"h"));
  ck_assert_ptr_nonnull(strstr(body, "\"audit_file\":\"h"));
  fake.headers[1] = fake.headers[0]; /* the shorter key comes first */
  fake.headers[0] = (deai_text_pair){deai_str_of("x-deai-audit"), deai_str_of("none")};
  fake.header_count = 2;
  ticket = answered(",\"stream\":true");
  ck_assert_uint_eq(fake_answer_of(ticket)->ends, 1);
  ck_assert_ptr_nonnull(strstr(fake_answer_of(ticket)->body, "\"why\":\"the request says so\""));
  fake.headers[0] = (deai_text_pair){deai_str_of("x-deai-via"), deai_str_of("bb")};
  ticket = play_chat("");
  ck_assert_uint_eq(fake_answer_of(ticket)->http_status, 400);
  char via[2 * DEAI_KEY_BYTES + 1];
  (void)snprintf(via, sizeof via, "bb02%060d", 0);
  fake.headers[0].value = deai_str_of(via);
  ticket = play_chat("");
  ck_assert_mem_eq(fake_open("encode")->provider, play_beta, DEAI_KEY_BYTES);
  play_encode(2);
  ck_assert_mem_eq(fake_open("generate")->provider, play_beta, DEAI_KEY_BYTES);
  fake.header_count = 0;
  fake_stop();
}
END_TEST

/* explained_audit runs an answer whose client wants it explained up to the audit's first replay. */
static uint64_t explained_audit(uint8_t (*account_of)(const uint8_t *key)) {
  play_begin((play_settings){.audit = ALL});
  fake.headers[0] = (deai_text_pair){deai_str_of("x-deai-explain"), deai_str_of("1")};
  fake.header_count = 1;
  uint64_t ticket = answered_with(",\"stream\":true", both, 2);
  ck_assert_uint_eq(play_owners(account_of), 3);
  return ticket;
}

static void expect_in(uint64_t ticket, const char *text) {
  const char *body = fake_answer_of(ticket)->body;
  ck_assert_msg(strstr(body, text) != NULL, "expected %s, found %s", text, body);
}

START_TEST(who_did_not_audit_is_named_with_the_reason) {
  char want[256];
  uint64_t ticket = explained_audit(beta_is_alphas);
  play_replayed(fake_open("replay"), play_gamma, 2, 1, -1);
  (void)snprintf(want, sizeof want,
                 "\"root\":\"equal\",\"others\":[{\"node\":\"bb02%060d\",\"status\":\"EDENIED\","
                 "\"why\":\"has the owner of the worker\"}]}",
                 0);
  expect_in(ticket, want);
  fake_stop();
  ticket = explained_audit(nobody_known);
  fake_call *call = fake_open("replay");
  bool beta = memcmp(call->provider, play_beta, DEAI_KEY_BYTES) == 0;
  play_replayed(call, call->provider, 2, 1, -1);
  (void)snprintf(want, sizeof want,
                 "\"others\":[{\"node\":\"%s%060d\",\"status\":\"OK\",\"why\":\"not drawn\"}]}",
                 beta ? "cc03" : "bb02", 0);
  expect_in(ticket, want);
  fake_stop();
}
END_TEST

START_TEST(who_could_not_audit_is_named_with_the_reason) {
  char want[512];
  uint64_t ticket = explained_audit(beta_is_alphas);
  fake_fail(fake_open("replay"), DEAI_EBUSY, NULL);
  (void)fake_end(fake_open("replay"), DEAI_OK, deai_bytes_of("\xa0", 1), NULL,
                 (deai_bytes){NULL, 0});
  (void)snprintf(want, sizeof want,
                 "\"others\":[{\"node\":\"cc03%060d\",\"status\":\"EBUSY\",\"why\":\"too much work "
                 "waits, try again later\"},{\"node\":\"bb02%060d\",\"status\":\"EVERIFY\",\"why\":"
                 "\"the auditor's answer has no form\"}]}",
                 0, 0);
  expect_in(ticket, want);
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
  ck_assert_ptr_nonnull(strstr(fake_answer_of(ticket)->body, "\n\n: audit unequal by "));
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
  (void)answered_with("", NULL, 0);
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
  tcase_add_test(tests, an_auditor_that_fails_is_replaced_by_another);
  tcase_add_test(tests, the_auditor_has_another_owner_when_there_is_one);
  tcase_add_test(tests, auditors_are_drawn_from_all_when_no_owner_is_known);
  tcase_add_test(tests, a_node_without_the_model_has_its_prompt_encoded_twice);
  tcase_add_test(tests, an_unequal_answer_with_a_price_is_objected_to);
  tcase_add_test(tests, a_client_that_asks_is_told_how_it_came_about);
  tcase_add_test(tests, who_did_not_audit_is_named_with_the_reason);
  tcase_add_test(tests, who_could_not_audit_is_named_with_the_reason);
  tcase_add_test(tests, a_replay_says_nothing_of_the_root_and_avoids_the_worker);
  tcase_add_test(tests, another_root_or_a_wrong_token_is_unequal);
  tcase_add_test(tests, a_client_that_waits_is_told);
  tcase_add_test(tests, a_client_that_leaves_does_not_end_the_audit);
  tcase_add_test(tests, too_many_audits_are_not_begun);
  tcase_add_test(tests, prompts_that_stay_here_are_not_audited);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
