#include "plugins/compute/lm/error.h"

#include "tests/testing.h"

#include <string.h>

#include "host/base/banned.h"

START_TEST(texts_are_cut_at_the_limit) {
  lm_error error;
  char longer[2 * LM_ERROR_BYTES];
  memset(longer, 'x', sizeof longer);
  longer[sizeof longer - 1] = 0;
  ck_assert_int_eq(lm_fail(&error, DEAI_EIO, "%s", longer), DEAI_EIO);
  ck_assert_uint_eq(strlen(error.text), LM_ERROR_BYTES - 1);
}
END_TEST

START_TEST(the_status_comes_back) {
  lm_error error;
  ck_assert_int_eq(lm_fail(NULL, DEAI_EINVAL, "nobody listens"), DEAI_EINVAL);
  ck_assert_int_eq(lm_fail(&error, DEAI_ENOMEM, "%d of %d", 1, 2), DEAI_ENOMEM);
  ck_assert_str_eq(error.text, "1 of 2");
}
END_TEST

int main(void) {
  Suite *suite = suite_create("error");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, texts_are_cut_at_the_limit);
  tcase_add_test(tests, the_status_comes_back);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
