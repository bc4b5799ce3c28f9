#include "plugins/models/rank/score.h"

#include "tests/testing.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

static const uint8_t node_a[DEAI_KEY_BYTES] = {1};
static const uint8_t node_b[DEAI_KEY_BYTES] = {2};
static char why[RANK_WHY_MAX];

static deai_rank_observe seen(const uint8_t *node, bool ok, uint64_t first_ms, uint32_t audit) {
  deai_rank_observe out = {.n = 10,
                           .ok = ok,
                           .paid = 2,
                           .audit = audit,
                           .service = deai_str_of("s"),
                           .first_ms = first_ms};
  memcpy(out.node, node, DEAI_KEY_BYTES);
  return out;
}

static void observe(rank_table *table, const uint8_t *node, bool ok, uint64_t first_ms,
                    uint32_t audit) {
  deai_rank_observe row = seen(node, ok, first_ms, audit);
  rank_observe(table, &row);
}

static uint64_t score(const rank_table *table, const uint8_t *node) {
  return rank_score(table, node, deai_str_of("s"), why);
}

START_TEST(bytes_without_form_leave_an_empty_table) {
  rank_table table;
  char err[128] = "";
  ck_assert_int_eq(rank_table_open(&table, 16), DEAI_OK);
  ck_assert_int_eq(rank_decode(&table, deai_bytes_of("\xa1\x61v\x02", 4), err, sizeof err),
                   DEAI_EINVAL);
  ck_assert_ptr_nonnull(strstr(err, "rank-file"));
  ck_assert_int_eq(rank_decode(&table, deai_bytes_of("", 0), err, sizeof err), DEAI_EINVAL);
  ck_assert_uint_eq(table.count, 0);
  rank_table_close(&table);
}
END_TEST

START_TEST(a_node_never_seen_is_in_the_middle) {
  rank_table table;
  ck_assert_int_eq(rank_table_open(&table, 16), DEAI_OK);
  ck_assert_uint_eq(score(&table, node_a), 499999); /* 3/4 x 2/3 */
  ck_assert_str_eq(why, "never seen");
  observe(&table, node_a, true, 100, DEAI_RANK_NONE);
  ck_assert_uint_eq(score(&table, node_a), 909090); /* 1000 / 1100 */
  observe(&table, node_b, false, 0, DEAI_RANK_NONE);
  ck_assert_uint_eq(score(&table, node_b), 0);
  ck_assert_uint_eq(rank_score(&table, node_a, deai_str_of("other"), why), 499999);
  rank_table_close(&table);
}
END_TEST

START_TEST(old_observations_fade) {
  rank_table table;
  ck_assert_int_eq(rank_table_open(&table, 4), DEAI_OK);
  for (uint32_t i = 0; i < 100; i++)
    observe(&table, node_a, false, 0, DEAI_RANK_NONE);
  uint64_t last = score(&table, node_a);
  for (uint32_t i = 0; i < 40; i++) {
    observe(&table, node_a, true, 0, DEAI_RANK_NONE);
    ck_assert_uint_ge(score(&table, node_a), last);
    last = score(&table, node_a);
  }
  ck_assert_uint_gt(last, 999900);
  ck_assert_ptr_nonnull(strstr(why, "140 calls, 40 answered, lately 99.9 %"));
  rank_table_close(&table);
}
END_TEST

START_TEST(a_lie_costs_more_than_many_truths_give) {
  rank_table table;
  ck_assert_int_eq(rank_table_open(&table, 16), DEAI_OK);
  for (uint32_t i = 0; i < 10; i++)
    observe(&table, node_a, true, 0, DEAI_RANK_EQUAL);
  ck_assert_uint_eq(score(&table, node_a), 1000000);
  observe(&table, node_a, true, 0, DEAI_RANK_UNEQUAL);
  ck_assert_uint_eq(score(&table, node_a), 62500);
  observe(&table, node_a, true, 0, DEAI_RANK_EQUAL);
  uint64_t after = score(&table, node_a);
  ck_assert(after > 62500 && after < 130000);
  rank_table_close(&table);
}
END_TEST

START_TEST(the_row_seen_longest_ago_makes_room) {
  rank_table table;
  uint8_t node[DEAI_KEY_BYTES] = {0};
  ck_assert_int_eq(rank_table_open(&table, 16), DEAI_OK);
  for (uint32_t i = 0; i <= RANK_ROWS_MAX; i++) {
    node[0] = (uint8_t)i;
    node[1] = (uint8_t)(i >> 8);
    observe(&table, node, true, 0, DEAI_RANK_NONE);
  }
  ck_assert_uint_eq(table.count, RANK_ROWS_MAX);
  node[0] = node[1] = 0;
  (void)score(&table, node);
  ck_assert_str_eq(why, "never seen");
  rank_table_close(&table);
}
END_TEST

START_TEST(a_full_table_comes_back_as_it_was) {
  rank_table table;
  rank_table copy;
  uint8_t *bytes = NULL;
  uint64_t len = 0;
  char err[128] = "";
  uint8_t node[DEAI_KEY_BYTES] = {0};
  ck_assert_int_eq(rank_table_open(&table, 16), DEAI_OK);
  ck_assert_int_eq(rank_table_open(&copy, 16), DEAI_OK);
  for (uint32_t i = 0; i < RANK_ROWS_MAX; i++) {
    node[0] = (uint8_t)i;
    node[1] = (uint8_t)(i >> 8);
    observe(&table, node, i % 3 != 0, i, i % 3);
  }
  ck_assert_int_eq(rank_encode(&table, &bytes, &len), DEAI_OK);
  ck_assert_msg(rank_decode(&copy, deai_bytes_of(bytes, len), err, sizeof err) == DEAI_OK, "%s",
                err);
  ck_assert_uint_eq(copy.count, RANK_ROWS_MAX);
  ck_assert_uint_eq(copy.clock, table.clock);
  for (uint32_t i = 0; i < RANK_ROWS_MAX; i++)
    ck_assert_uint_eq(score(&copy, copy.rows[i].node), score(&table, copy.rows[i].node));
  free(bytes);
  rank_table_close(&table);
  rank_table_close(&copy);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("score");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, bytes_without_form_leave_an_empty_table);
  tcase_add_test(tests, a_node_never_seen_is_in_the_middle);
  tcase_add_test(tests, old_observations_fade);
  tcase_add_test(tests, a_lie_costs_more_than_many_truths_give);
  tcase_add_test(tests, the_row_seen_longest_ago_makes_room);
  tcase_add_test(tests, a_full_table_comes_back_as_it_was);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
