#include "plugins/compute/lm/split.h"

#include "tests/testing.h"

#include <string.h>

#include "host/base/banned.h"

/* check compares the words of text with a list joined by '|'. */
static void check(const char *text, bool single_numbers, const char *expected) {
  char joined[256] = {0};
  size_t used = 0;
  size_t start;
  size_t end;
  size_t at = 0;
  lm_split split = {
      .text = (const uint8_t *)text, .len = strlen(text), .single_numbers = single_numbers};
  while (lm_split_next(&split, &start, &end)) {
    ck_assert_uint_eq(start, at);
    ck_assert_uint_gt(end, start);
    if (used > 0) joined[used++] = '|';
    memcpy(joined + used, text + start, end - start);
    used += end - start;
    at = end;
  }
  ck_assert_uint_eq(at, strlen(text));
  ck_assert_str_eq(joined, expected);
}

START_TEST(broken_utf8_is_one_character_a_byte) {
  uint32_t point;
  ck_assert_uint_eq(lm_utf8_length((const uint8_t *)"\xC0\x80", 2, &point), 0);
  ck_assert_uint_eq(lm_utf8_length((const uint8_t *)"\xED\xA0\x80", 3, &point), 0);
  ck_assert_uint_eq(lm_utf8_length((const uint8_t *)"\xE2\x82", 2, &point), 0);
  ck_assert_uint_eq(lm_utf8_length((const uint8_t *)"\xE2\x82\xAC", 3, &point), 3);
  ck_assert_uint_eq(point, 0x20AC);
  check("a\xFF\xFE b", false, "a|\xFF\xFE| b");
}
END_TEST

START_TEST(words_are_those_of_the_pattern) {
  check("", false, "");
  check("Hello   world!", false, "Hello|  | world|!");
  check("don't we'll 's 'S", false, "don|'t| we|'ll| '|s| '|S");
  check("a  \n  b", false, "a|  \n | b");
  check("end  ", false, "end|  ");
  check(" 12 x", false, " 12| x");
  check("caf\xC3\xA9 \xE2\x80\x83x", false, "caf\xC3\xA9| |\xE2\x80\x83|x");
}
END_TEST

START_TEST(smollm_isolates_numbers) {
  check("12 34", true, "1|2| |3|4");
  check("a  1b", true, "a|  |1|b");
  check("x\xC2\xB2y", true, "x|\xC2\xB2|y");
}
END_TEST

int main(void) {
  Suite *suite = suite_create("split");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, broken_utf8_is_one_character_a_byte);
  tcase_add_test(tests, words_are_those_of_the_pattern);
  tcase_add_test(tests, smollm_isolates_numbers);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
