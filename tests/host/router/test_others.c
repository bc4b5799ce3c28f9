/* Lists of nodes that did not serve a call. */
#include "tests/testing.h"

#include "host/router/others.h"

#include "host/base/banned.h"

static const uint8_t one[DEAI_KEY_BYTES] = {1};
static const uint8_t two[DEAI_KEY_BYTES] = {2};
static const uint8_t three[DEAI_KEY_BYTES] = {3};
static deai_others_list list;

static void setup(void) {
  memset(&list, 0, sizeof list);
}

START_TEST(an_empty_list_has_nobody) {
  uint8_t room[8];
  uint64_t len = 0;
  ck_assert(!deai_others_has(&list, one));
  deai_others_drop(&list, one);
  ck_assert_uint_eq(list.count, 0);
  ck_assert_int_eq(deai_others_encode(&list, (deai_buf){room, sizeof room}, &len), DEAI_OK);
  ck_assert_uint_eq(len, 4);
  ck_assert_int_ne(deai_others_encode(&list, (deai_buf){room, 3}, &len), DEAI_OK);
}
END_TEST

START_TEST(what_does_not_fit_is_left_out) {
  uint8_t key[DEAI_KEY_BYTES] = {0};
  for (uint32_t i = 0; i < DEAI_OTHERS_MAX + 3; i++) {
    key[0] = (uint8_t)i;
    deai_others_add(&list, key, DEAI_EBUSY, "number %u", i);
  }
  ck_assert_uint_eq(list.count, DEAI_OTHERS_MAX);
  ck_assert(!deai_others_has(&list, key));
  deai_others_add(&list, two, DEAI_EIO, "again");
  ck_assert_str_eq(list.rows[2].why, "number 2; again");
}
END_TEST

START_TEST(a_reason_is_cut_behind_a_whole_character) {
  char text[DEAI_OTHER_WHY_MAX + 4];
  memset(text, 'x', sizeof text);
  memcpy(text + DEAI_OTHER_WHY_MAX - 1, "\xc3\xa4", 3); /* one byte too long */
  deai_others_add(&list, one, DEAI_EBUSY, "%s", text);
  ck_assert_uint_eq(strlen(list.rows[0].why), DEAI_OTHER_WHY_MAX - 1);
  deai_others_add(&list, one, DEAI_EIO, "%s", text); /* no room for more */
  ck_assert_uint_eq(strlen(list.rows[0].why), DEAI_OTHER_WHY_MAX);
  ck_assert_uint_eq(list.count, 1);
  deai_others_add(&list, two, DEAI_EIO, "good \xff bad");
  ck_assert_str_eq(list.rows[1].why, "good ");
}
END_TEST

START_TEST(control_characters_do_not_pass) {
  deai_others_add(&list, one, DEAI_EBUSY, "\x1b[2J\n\x7f\xc2\x9b\xc2\xa0\xc3\x9b");
  ck_assert_str_eq(list.rows[0].why, "?[2J????\xc2\xa0\xc3\x9b");
}
END_TEST

START_TEST(the_item_holds_the_longest_list) {
  static uint8_t room[DEAI_OTHERS_BYTES];
  static _Alignas(16) uint8_t memory[DEAI_OTHERS_MAX * sizeof(deai_other) + 64];
  char text[DEAI_OTHER_WHY_MAX + 1] = "";
  uint8_t key[DEAI_KEY_BYTES] = {0};
  uint64_t len = 0;
  deai_others read;
  deai_arena arena = {memory, sizeof memory, 0};
  memset(text, 'y', DEAI_OTHER_WHY_MAX);
  for (uint32_t i = 0; i < DEAI_OTHERS_MAX; i++) {
    key[0] = (uint8_t)i;
    deai_others_add(&list, key, DEAI_STATUS_MIN, "%s", text);
  }
  ck_assert_int_eq(deai_others_encode(&list, (deai_buf){room, sizeof room}, &len), DEAI_OK);
  ck_assert_int_eq(
      deai_decode(&deai_others_table, deai_bytes_of(room, len), &read, &arena, NULL, 0), DEAI_OK);
  ck_assert_uint_eq(read.n.count, DEAI_OTHERS_MAX);
  const deai_other *rows = read.n.items;
  ck_assert_uint_eq(rows[63].k[0], 63);
  ck_assert_int_eq(rows[63].st, DEAI_STATUS_MIN);
  ck_assert_uint_eq(rows[63].why.len, DEAI_OTHER_WHY_MAX);
}
END_TEST

START_TEST(a_node_is_added_and_taken_out) {
  deai_others_add(&list, one, DEAI_EBUSY, "first");
  deai_others_add(&list, two, DEAI_OK, "second");
  deai_others_add(&list, three, DEAI_EIO, "third");
  deai_others_add(&list, one, DEAI_EPEER_LOST, "then lost");
  ck_assert_str_eq(list.rows[0].why, "first; then lost");
  ck_assert_int_eq(list.rows[0].status, DEAI_EPEER_LOST);
  deai_others_drop(&list, two);
  ck_assert_uint_eq(list.count, 2);
  ck_assert(deai_others_has(&list, one) && !deai_others_has(&list, two));
  ck_assert_str_eq(list.rows[1].why, "third");
  deai_others_drop(&list, three);
  ck_assert_uint_eq(list.count, 1);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("others");
  TCase *tests = tcase_create("others");
  tcase_add_checked_fixture(tests, setup, NULL);
  tcase_add_test(tests, an_empty_list_has_nobody);
  tcase_add_test(tests, what_does_not_fit_is_left_out);
  tcase_add_test(tests, a_reason_is_cut_behind_a_whole_character);
  tcase_add_test(tests, control_characters_do_not_pass);
  tcase_add_test(tests, the_item_holds_the_longest_list);
  tcase_add_test(tests, a_node_is_added_and_taken_out);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
