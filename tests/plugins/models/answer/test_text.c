#include "plugins/models/answer/text.h"

#include "tests/testing.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

static void is(answer_text *text, const char *expected) {
  ck_assert_int_eq(text->status, DEAI_OK);
  ck_assert_uint_eq(text->len, strlen(expected));
  ck_assert_mem_eq(text->ptr, expected, text->len);
  answer_text_free(text);
}

START_TEST(a_text_that_is_full_says_so_and_stays_full) {
  answer_text text = {0};
  uint8_t *many = calloc(1, ANSWER_TEXT_MAX);
  ck_assert_ptr_nonnull(many);
  answer_text_put(&text, many, 10);
  answer_text_put(&text, many, ANSWER_TEXT_MAX);
  ck_assert_int_eq(text.status, DEAI_ETOOLARGE);
  answer_text_put(&text, many, 1);
  ck_assert_uint_eq(text.len, 10);
  answer_text_free(&text);
  free(many);
}
END_TEST

START_TEST(strings_are_escaped) {
  answer_text text = {0};
  answer_text_json(&text, (deai_str){"a\"\\\n\r\t\0\x1f\xc3\xa9z", 11});
  is(&text, "\"a\\\"\\\\\\n\\r\\t\\u0000\\u001f\xc3\xa9z\"");
  answer_text_json(&text, (deai_str){NULL, 0});
  is(&text, "\"\"");
}
END_TEST

START_TEST(numbers_have_no_more_digits_than_needed) {
  answer_text text = {0};
  answer_text_micro(&text, -2250000);
  answer_text_add(&text, " ");
  answer_text_micro(&text, 0);
  answer_text_add(&text, " ");
  answer_text_micro(&text, -1);
  answer_text_add(&text, " ");
  answer_text_micro(&text, INT64_MIN);
  answer_text_add(&text, " ");
  answer_text_uint(&text, UINT64_MAX);
  is(&text, "-2.25 0 -0.000001 -9223372036854.775808 18446744073709551615");
}
END_TEST

START_TEST(bytes_are_written_in_three_bases) {
  answer_text text = {0};
  answer_hex(&text, deai_bytes_of("\x00\xab", 2));
  is(&text, "00ab");
  answer_base64url(&text, deai_bytes_of("\xfb\xff\xfe", 3)); /* RFC 4648: - and _ */
  is(&text, "-__-");
  answer_base64url(&text, deai_bytes_of("fo", 2));
  is(&text, "Zm8");
}
END_TEST

START_TEST(cids_are_written_as_others_write_them) {
  answer_text text = {0};
  size_t len = 0;
  /* raw block of SHA-256("hello world"), and the same digest as version 0 */
  uint8_t *cid =
      testing_hex("01551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9", &len);
  answer_cid_text(&text, deai_bytes_of(cid, len));
  is(&text, "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
  answer_cid_text(&text, deai_bytes_of(cid + 2, len - 2));
  is(&text, "bafybeifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
  free(cid);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("text");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, a_text_that_is_full_says_so_and_stays_full);
  tcase_add_test(tests, strings_are_escaped);
  tcase_add_test(tests, numbers_have_no_more_digits_than_needed);
  tcase_add_test(tests, bytes_are_written_in_three_bases);
  tcase_add_test(tests, cids_are_written_as_others_write_them);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
