#include "plugins/models/answer/decimal.h"

#include "tests/testing.h"

#include <string.h>

#include "host/base/banned.h"

START_TEST(what_is_no_number_is_refused) {
  static const char *const bad[] = {"",    "-",  "+1", ".5",  "1.",    "01",  "1e", "1e+",
                                    "0x1", "1 ", " 1", "NaN", "1.2.3", "--1", "1,5"};
  int64_t value = 0;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    ck_assert_msg(answer_decimal_micro(deai_str_of(bad[i]), &value) == DEAI_EINVAL, "%s", bad[i]);
}
END_TEST

START_TEST(digits_round_to_the_nearest_ties_to_even) {
  static const struct {
    const char *text;
    int64_t micro;
  } good[] = {
      {"0", 0},
      {"-0", 0},
      {"1", 1000000},
      {"0.7", 700000},
      {"-1", -1000000},
      {"0.0000005", 0},
      {"0.0000015", 2},
      {"0.0000025", 2}, /* a double of it lies above the tie */
      {"0.00000250000000000000000000000000000000001", 3},
      {"0.0000034999999999999999999999999999", 3},
      {"-0.0000015", -2},
      {"2e0", 2000000},
      {"20E-1", 2000000},
      {"0.002e+3", 2000000},
      {"1.9999995", 2000000},
      {"1e-400", 0},
      {"1e999999999999", ANSWER_DECIMAL_MAX},
      {"-1e30", -ANSWER_DECIMAL_MAX},
      {"123456789012345678901234567890", ANSWER_DECIMAL_MAX},
      {"0.1000000000000000000000000000001", 100000},
      {"999999999999.999999", INT64_C(999999999999999999)},
  };
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    int64_t value = 1;
    ck_assert_int_eq(answer_decimal_micro(deai_str_of(good[i].text), &value), DEAI_OK);
    ck_assert_msg(value == good[i].micro, "%s: %lld", good[i].text, (long long)value);
  }
}
END_TEST

START_TEST(members_are_found_by_their_name) {
  deai_str raw;
  deai_str json = deai_str_of(" { \"a\" : {\"p\":[1,\"}\"]}, \"s\":\"q\\\"p\\\\\", \"temp\\u0065\" "
                              ": 0.5 ,\"p\":1e-3}");
  ck_assert_int_eq(answer_json_member(json, "p", &raw), DEAI_OK);
  ck_assert(deai_str_eq(raw, deai_str_of("1e-3")));
  ck_assert_int_eq(answer_json_member(json, "tempe", &raw), DEAI_OK);
  ck_assert(deai_str_eq(raw, deai_str_of("0.5")));
  ck_assert_int_eq(answer_json_member(json, "s", &raw), DEAI_OK);
  ck_assert(deai_str_eq(raw, deai_str_of("\"q\\\"p\\\\\"")));
  ck_assert_int_eq(answer_json_member(json, "q", &raw), DEAI_ENOTFOUND);
  ck_assert_int_eq(answer_json_member(deai_str_of("{}"), "q", &raw), DEAI_ENOTFOUND);
  ck_assert_int_eq(answer_json_member(deai_str_of("[1]"), "q", &raw), DEAI_ENOTFOUND);
  ck_assert_int_eq(answer_json_member(deai_str_of("{\"q"), "q", &raw), DEAI_ENOTFOUND);
  ck_assert_int_eq(answer_json_member(deai_str_of("{\"q\\"), "q", &raw), DEAI_ENOTFOUND);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("decimal");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, what_is_no_number_is_refused);
  tcase_add_test(tests, digits_round_to_the_nearest_ties_to_even);
  tcase_add_test(tests, members_are_found_by_their_name);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
