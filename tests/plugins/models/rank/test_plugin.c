/* The service deai.rank/1 through the plug-in's table of functions. */
#include "tests/plugins/models/fake.h"

#include "deai/contracts/rank.h"
#include "plugins/models/rank/keep.h"
#include "tests/testing.h"

#include <string.h>

#include "host/base/banned.h"

static const uint8_t node_a[DEAI_KEY_BYTES] = {1};

static void begin(void) {
  fake_begin(deai_bytes_of("\xa1\x66window\x10", 9));
}

static uint64_t observe(bool ok) {
  deai_rank_observe row = {.ok = ok, .service = deai_str_of(DEAI_LM_SERVICE), .first_ms = 100};
  memcpy(row.node, node_a, DEAI_KEY_BYTES);
  return fake_call_in(DEAI_RANK_SERVICE, "observe", fake_encode(&deai_rank_observe_table, &row),
                      (deai_bytes){NULL, 0});
}

/* score asks for count nodes, the first of them node_a, and returns its score. */
static uint64_t score(uint32_t count) {
  static _Alignas(16) uint8_t room[65536];
  static deai_rank_key keys[DEAI_RANK_NODES_MAX];
  deai_arena arena = {room, sizeof room, 0};
  deai_rank_scores scores;
  char err[DEAI_ERR_CAP] = "";
  memset(keys, 0x77, sizeof keys);
  memcpy(keys[0].key, node_a, DEAI_KEY_BYTES);
  deai_rank_score asked = {.nodes = {keys, count}, .service = deai_str_of(DEAI_LM_SERVICE)};
  uint64_t ticket =
      fake_call_in(DEAI_RANK_SERVICE, "score", fake_encode(&deai_rank_score_table, &asked),
                   (deai_bytes){NULL, 0});
  const fake_answer *answer = fake_answer_of(ticket);
  ck_assert_int_eq(answer->end_status, DEAI_OK);
  ck_assert_msg(deai_decode(&deai_rank_scores_table, deai_bytes_of(answer->args, answer->args_len),
                            &scores, &arena, err, sizeof err) == DEAI_OK,
                "%s", err);
  ck_assert_uint_eq(scores.scores.count, count);
  const deai_rank_row *rows = scores.scores.items;
  ck_assert_mem_eq(rows[0].node, node_a, DEAI_KEY_BYTES);
  ck_assert_uint_gt(rows[0].why.len, 0);
  return rows[0].score;
}

START_TEST(questions_without_form_are_refused) {
  begin();
  uint64_t ticket =
      fake_call_in(DEAI_RANK_SERVICE, "observe", deai_bytes_of("\xa0", 1), (deai_bytes){NULL, 0});
  ck_assert_int_eq(fake_answer_of(ticket)->end_status, DEAI_EINVAL);
  ticket =
      fake_call_in(DEAI_RANK_SERVICE, "score", deai_bytes_of("\xa0", 1), (deai_bytes){NULL, 0});
  ck_assert_int_eq(fake_answer_of(ticket)->end_status, DEAI_EINVAL);
  fake_stop();
}
END_TEST

START_TEST(scores_outlive_the_plugin) {
  begin();
  ck_assert_uint_eq(score(1), 499999);
  ck_assert_int_eq(fake_answer_of(observe(true))->end_status, DEAI_OK);
  ck_assert_uint_eq(score(DEAI_RANK_NODES_MAX), 909090);
  ck_assert_uint_eq(fake.timer_count, 1);
  fake_timers_run(); /* kept by the worker */
  fake_stop();
  begin();
  ck_assert_uint_eq(score(1), 909090);
  (void)observe(false);
  fake_stop(); /* kept by stop */
  begin();
  ck_assert_uint_eq(score(1), 454545);
  fake_stop();
}
END_TEST

START_TEST(a_file_that_was_changed_is_left_out_and_named) {
  begin();
  ck_assert_int_eq(rank_keep_write(fake.folder, "scores", deai_bytes_of("x", 1)), DEAI_OK);
  fake_stop();
  begin();
  ck_assert_ptr_nonnull(strstr(fake.logs, "starting without"));
  ck_assert_uint_eq(score(1), 499999);
  fake_stop();
}
END_TEST

int main(void) {
  Suite *suite = suite_create("rank plugin");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, questions_without_form_are_refused);
  tcase_add_test(tests, scores_outlive_the_plugin);
  tcase_add_test(tests, a_file_that_was_changed_is_left_out_and_named);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
