#include "plugins/models/rank/keep.h"

#include "tests/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

START_TEST(what_is_not_there_is_said) {
  uint8_t *ptr = NULL;
  uint64_t len = 0;
  char name[512];
  memset(name, 'n', sizeof name - 1);
  name[sizeof name - 1] = 0;
  ck_assert_int_eq(rank_keep_read(testing_folder(), "none", &ptr, &len), DEAI_ENOTFOUND);
  ck_assert_int_eq(rank_keep_read("/nonexistent", "none", &ptr, &len), DEAI_ENOTFOUND);
  ck_assert_int_eq(rank_keep_write("/nonexistent", "a", (deai_bytes){NULL, 0}), DEAI_ENOTFOUND);
  ck_assert_int_eq(rank_keep_write(testing_folder(), name, (deai_bytes){NULL, 0}), DEAI_EINVAL);
}
END_TEST

START_TEST(links_and_large_files_are_not_read) {
  uint8_t *ptr = NULL;
  uint64_t len = 0;
  char path[4096];
  char link_path[4096];
  (void)snprintf(path, sizeof path, "%s/large", testing_folder());
  (void)snprintf(link_path, sizeof link_path, "%s/link", testing_folder());
  FILE *file = fopen(path, "w");
  ck_assert_ptr_nonnull(file);
  ck_assert_int_eq(ftruncate(fileno(file), RANK_KEEP_MAX + 1), 0);
  (void)fclose(file);
  ck_assert_int_eq(rank_keep_read(testing_folder(), "large", &ptr, &len), DEAI_ETOOLARGE);
  ck_assert_int_eq(symlink(path, link_path), 0);
  ck_assert_int_eq(rank_keep_read(testing_folder(), "link", &ptr, &len), DEAI_EIO);
}
END_TEST

START_TEST(a_file_is_replaced_as_a_whole) {
  uint8_t *ptr = NULL;
  uint64_t len = 0;
  char path[4096];
  ck_assert_int_eq(rank_keep_write(testing_folder(), "kept", deai_bytes_of("first one", 9)), 0);
  ck_assert_int_eq(rank_keep_write(testing_folder(), "kept", deai_bytes_of("second", 6)), 0);
  ck_assert_int_eq(rank_keep_read(testing_folder(), "kept", &ptr, &len), DEAI_OK);
  ck_assert_uint_eq(len, 6);
  ck_assert_mem_eq(ptr, "second", 6);
  free(ptr);
  (void)snprintf(path, sizeof path, "%s/kept.new", testing_folder());
  ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("keep");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, what_is_not_there_is_said);
  tcase_add_test(tests, links_and_large_files_are_not_read);
  tcase_add_test(tests, a_file_is_replaced_as_a_whole);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
