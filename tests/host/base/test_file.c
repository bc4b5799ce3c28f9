#include "tests/testing.h"

#include "host/base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

static char err[256];

static void path_of(char *out, const char *name) {
  ck_assert_int_eq(deai_path_join(out, 4096, testing_folder(), name), DEAI_OK);
}

START_TEST(refusals) {
  char path[4096], small[4];
  uint8_t *bytes;
  uint64_t len;
  path_of(path, "missing");
  ck_assert_int_eq(deai_file_read(path, 10, &bytes, &len, err, sizeof err), DEAI_ENOTFOUND);
  ck_assert_int_eq(deai_file_read(testing_folder(), 10, &bytes, &len, err, sizeof err),
                   DEAI_EINVAL);
  path_of(path, "large");
  ck_assert_int_eq(deai_file_replace(path, deai_bytes_of("12345", 5), 0644, err, sizeof err),
                   DEAI_OK);
  ck_assert_int_eq(deai_file_read(path, 4, &bytes, &len, err, sizeof err), DEAI_ETOOLARGE);
  ck_assert_int_eq(deai_file_create(path, deai_bytes_of("x", 1), 0644, err, sizeof err),
                   DEAI_EINVAL);
  ck_assert_int_eq(deai_folder_make(path, 0700, err, sizeof err), DEAI_EINVAL);
  ck_assert_int_eq(deai_path_join(small, sizeof small, "ab", "cd"), DEAI_ETOOLARGE);
  path_of(path, "none/file");
  ck_assert_int_eq(deai_file_replace(path, deai_bytes_of("x", 1), 0600, err, sizeof err),
                   DEAI_ENOTFOUND);
}
END_TEST

START_TEST(replaces_and_reads) {
  char path[4096];
  uint8_t *bytes;
  uint64_t len;
  struct stat info;
  path_of(path, "file");
  ck_assert_int_eq(deai_file_create(path, deai_bytes_of("one", 3), 0600, err, sizeof err), DEAI_OK);
  ck_assert_int_eq(deai_file_replace(path, deai_bytes_of("two!", 4), 0600, err, sizeof err),
                   DEAI_OK);
  ck_assert_int_eq(deai_file_read(path, 4, &bytes, &len, err, sizeof err), DEAI_OK);
  ck_assert_uint_eq(len, 4);
  ck_assert_str_eq((char *)bytes, "two!");
  free(bytes);
  ck_assert_int_eq(stat(path, &info), 0);
  ck_assert_uint_eq(info.st_mode & 0777u, 0600);
  path_of(path, "folder");
  ck_assert_int_eq(deai_folder_make(path, 0700, err, sizeof err), DEAI_OK);
  ck_assert_int_eq(deai_folder_make(path, 0700, err, sizeof err), DEAI_OK);
  ck_assert_int_eq(deai_folder_sync(path, err, sizeof err), DEAI_OK);
}
END_TEST

START_TEST(near_the_program) {
  static const char *const none[] = {"no-such-file", "../no/such/file"};
  static const char *const some[] = {"no-such-file", ".", "/"};
  char path[4096], small[2];
  ck_assert_int_eq(deai_path_near(path, sizeof path, none, 2), DEAI_ENOTFOUND);
  ck_assert_int_eq(deai_path_near(small, sizeof small, some, 3), DEAI_ENOTFOUND);
  ck_assert_int_eq(deai_path_near(path, sizeof path, some, 3), DEAI_OK);
  ck_assert_int_eq(path[0], '/');
  ck_assert_int_eq(access(path, R_OK | X_OK), 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("file");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, refusals);
  tcase_add_test(tests, near_the_program);
  tcase_add_test(tests, replaces_and_reads);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
