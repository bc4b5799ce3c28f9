#include "plugins/compute/lm/filter.h"

#include "tests/testing.h"

#include <string.h>

#include "host/base/banned.h"

static void feed(lm_filter *filter, const char *bytes, const char *expected) {
  deai_bytes out;
  ck_assert_int_eq(lm_filter_feed(filter, deai_bytes_of(bytes, strlen(bytes)), &out), DEAI_OK);
  ck_assert_msg(out.len == strlen(expected), "'%s' gave %u bytes", bytes, (unsigned)out.len);
  if (out.len > 0) ck_assert_int_eq(memcmp(out.ptr, expected, out.len), 0);
}

static void flush(lm_filter *filter, const char *expected) {
  deai_bytes out;
  ck_assert_int_eq(lm_filter_flush(filter, &out), DEAI_OK);
  ck_assert_uint_eq(out.len, strlen(expected));
  if (out.len > 0) ck_assert_int_eq(memcmp(out.ptr, expected, out.len), 0);
}

START_TEST(invalid_bytes_become_replacements) {
  lm_filter f;
  lm_filter_open(&f, NULL, 0);
  feed(&f, "a\xFFz", "a\xEF\xBF\xBDz");
  feed(&f, "\xC0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD");
  feed(&f, "\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
  feed(&f, "\xF0\x9F\x98!", "\xEF\xBF\xBD!");
  feed(&f, "\xE4\xBD", "");
  flush(&f, "\xEF\xBF\xBD");
  lm_filter_close(&f);
}
END_TEST

START_TEST(characters_wait_until_they_are_whole) {
  lm_filter f;
  lm_filter_open(&f, NULL, 0);
  feed(&f, "x\xF0", "x");
  feed(&f, "\x9F", "");
  feed(&f, "\x98", "");
  feed(&f, "\x80y", "\xF0\x9F\x98\x80y");
  flush(&f, "");
  lm_filter_close(&f);
}
END_TEST

START_TEST(stop_strings_wait_and_cut) {
  deai_bytes stops[2] = {deai_bytes_of("\n\nUser", 6), deai_bytes_of("END", 3)};
  lm_filter f;
  lm_filter_open(&f, stops, 2);
  feed(&f, "hi\n", "hi");
  feed(&f, "there", "\nthere");
  feed(&f, " E", " ");
  feed(&f, "EN", "E");
  feed(&f, "X\n\nUs", "ENX");
  feed(&f, "er: no", "");
  ck_assert(f.stopped);
  feed(&f, "more", "");
  flush(&f, "");
  lm_filter_close(&f);
  lm_filter_open(&f, stops, 2);
  feed(&f, "a\n\nUse", "a");
  flush(&f, "\n\nUse");
  lm_filter_close(&f);
}
END_TEST

START_TEST(the_first_stop_wins) {
  deai_bytes stops[2] = {deai_bytes_of("b", 1), deai_bytes_of("abc", 3)};
  lm_filter f;
  lm_filter_open(&f, stops, 2);
  feed(&f, "xabc", "x");
  ck_assert(f.stopped);
  lm_filter_close(&f);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("filter");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, invalid_bytes_become_replacements);
  tcase_add_test(tests, characters_wait_until_they_are_whole);
  tcase_add_test(tests, stop_strings_wait_and_cut);
  tcase_add_test(tests, the_first_stop_wins);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
