/* The platform of the machine: clocks go on, random bytes differ, sync tells its errors. */
#include "tests/testing.h"

#include "host/base/assertion.h"
#include "host/base/platform.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

START_TEST(sync_of_a_closed_descriptor_fails) {
  const deai_platform *platform = deai_platform_system();
  ck_assert_int_eq(platform->sync(platform->state, -1), -1);
}
END_TEST

START_TEST(a_failed_assertion_aborts) {
  DEAI_ASSERT(testing_folder() == NULL);
}
END_TEST

START_TEST(clocks_and_random_bytes) {
  const deai_platform *platform = deai_platform_system();
  uint8_t one[64] = {0};
  uint8_t two[64] = {0};
  uint8_t zero[64] = {0};
  uint64_t before_ns = deai_now_ns(platform);
  ck_assert_uint_ge(deai_now_ns(platform), before_ns);
  ck_assert_uint_gt(deai_wall_ms(platform), UINT64_C(1700000000000)); /* after 2023 */
  deai_random(platform, one, sizeof one);
  deai_random(platform, two, sizeof two);
  deai_random(platform, zero, 0);
  ck_assert_mem_ne(one, two, sizeof one);
  ck_assert_mem_ne(one, zero, sizeof one);
}
END_TEST

START_TEST(sync_of_a_file) {
  const deai_platform *platform = deai_platform_system();
  char path[4200];
  (void)snprintf(path, sizeof path, "%s/file", testing_folder());
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq((int)write(fd, "x", 1), 1);
  ck_assert_int_eq(platform->sync(platform->state, fd), 0);
  (void)close(fd);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("platform");
  TCase *tests = tcase_create("system");
  tcase_add_test(tests, sync_of_a_closed_descriptor_fails);
  tcase_add_test_raise_signal(tests, a_failed_assertion_aborts, SIGABRT);
  tcase_add_test(tests, clocks_and_random_bytes);
  tcase_add_test(tests, sync_of_a_file);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
