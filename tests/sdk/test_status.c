#include "tests/testing.h"

#include "deai/status.h"

#include <string.h>

#include "host/base/banned.h"

START_TEST(unknown_number_is_named_unknown) {
  ck_assert_str_eq(deai_status_name(1), "UNKNOWN");
  ck_assert_str_eq(deai_status_name(-99), "UNKNOWN");
  ck_assert_int_eq(deai_status_http(-99), 500);
  ck_assert_int_eq(deai_status_exit(-99), 1);
}
END_TEST

START_TEST(numbers_are_those_of_the_wire) {
  ck_assert_int_eq(DEAI_EINVAL, -1);
  ck_assert_int_eq(DEAI_EDENIED, -5);
  ck_assert_int_eq(DEAI_ENOPROVIDER, -19);
  ck_assert_int_eq(DEAI_EINTERNAL, -20);
  for (int32_t status = DEAI_STATUS_MIN; status <= 0; status++)
    ck_assert_str_ne(deai_status_name(status), "UNKNOWN");
  ck_assert_int_eq(deai_status_http(DEAI_EPAYMENT), 402);
  ck_assert_int_eq(deai_status_exit(DEAI_EVERIFY), 9);
  ck_assert_str_eq(deai_status_text(DEAI_OK), "done");
}
END_TEST

int main(void) {
  Suite *suite = suite_create("status");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, unknown_number_is_named_unknown);
  tcase_add_test(tests, numbers_are_those_of_the_wire);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
