#include "tests/testing.h"

#include "host/base/file.h"
#include "host/http/apikeys.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "host/base/banned.h"

static char err[256];
static char secret[DEAI_APIKEYS_SECRET_CAP];

static void write_keys(const char *text) {
  char path[4096];
  ck_assert_int_eq(deai_path_join(path, sizeof path, testing_folder(), "api-keys"), DEAI_OK);
  ck_assert_int_eq(
      deai_file_replace(path, deai_bytes_of(text, strlen(text)), 0600, err, sizeof err), DEAI_OK);
}

START_TEST(bad_lines_are_named) {
  static const char *const bad[] = {
      "abc name\n",
      "zz00000000000000000000000000000000000000000000000000000000000000 name\n",
      "0000000000000000000000000000000000000000000000000000000000000000\n",
      "0000000000000000000000000000000000000000000000000000000000000000 two words\n",
  };
  deai_apikeys keys;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    write_keys(bad[i]);
    ck_assert_int_eq(deai_apikeys_load(testing_folder(), &keys, err, sizeof err), DEAI_EINVAL);
    ck_assert_ptr_nonnull(strstr(err, "api-keys:1: expected"));
    ck_assert_ptr_null(keys.rows);
    ck_assert_int_eq(deai_apikeys_add(testing_folder(), "a", secret, err, sizeof err), DEAI_EINVAL);
  }
}
END_TEST

START_TEST(bad_names_are_refused) {
  char name[DEAI_APIKEYS_NAME_MAX + 2];
  memset(name, 'n', sizeof name);
  name[sizeof name - 1] = 0;
  write_keys("");
  ck_assert_int_eq(deai_apikeys_add(testing_folder(), name, secret, err, sizeof err), DEAI_EINVAL);
  ck_assert_int_eq(deai_apikeys_add(testing_folder(), "", secret, err, sizeof err), DEAI_EINVAL);
  ck_assert_int_eq(deai_apikeys_add(testing_folder(), "a b", secret, err, sizeof err), DEAI_EINVAL);
  ck_assert_int_eq(deai_apikeys_add("/nowhere", "a", secret, err, sizeof err), DEAI_EIO);
  ck_assert_str_eq(secret, "");
  ck_assert_int_eq(deai_apikeys_remove(testing_folder(), "a", err, sizeof err), DEAI_ENOTFOUND);
  ck_assert_int_eq(deai_apikeys_add(testing_folder(), name + 1, secret, err, sizeof err), DEAI_OK);
  ck_assert_int_eq(deai_apikeys_add(testing_folder(), name + 1, secret, err, sizeof err),
                   DEAI_EINVAL);
}
END_TEST

START_TEST(a_key_is_known_until_it_is_removed) {
  deai_apikeys keys = {0};
  char id[DEAI_APIKEYS_ID_TEXT_CAP];
  char path[4096];
  struct stat about;
  write_keys("");
  ck_assert_int_eq(deai_apikeys_add(testing_folder(), "one", secret, err, sizeof err), DEAI_OK);
  ck_assert_uint_eq(strlen(secret), 5 + 52);
  ck_assert_int_eq(deai_apikeys_refresh(testing_folder(), &keys, err, sizeof err), DEAI_OK);
  const deai_apikey *found = deai_apikeys_find(&keys, deai_str_of(secret));
  ck_assert_ptr_nonnull(found);
  ck_assert_str_eq(found->name, "one");
  deai_apikeys_id(found, id);
  secret[10] = secret[10] == 'a' ? 'b' : 'a';
  ck_assert_ptr_null(deai_apikeys_find(&keys, deai_str_of(secret)));
  ck_assert_ptr_null(deai_apikeys_find(&keys, deai_str_of("")));

  ck_assert_int_eq(deai_apikeys_add(testing_folder(), "two", secret, err, sizeof err), DEAI_OK);
  ck_assert_int_eq(deai_apikeys_refresh(testing_folder(), &keys, err, sizeof err), DEAI_OK);
  ck_assert_uint_eq(keys.count, 2);
  ck_assert_int_eq(deai_apikeys_remove(testing_folder(), id, err, sizeof err), DEAI_OK);
  ck_assert_int_eq(deai_apikeys_refresh(testing_folder(), &keys, err, sizeof err), DEAI_OK);
  ck_assert_uint_eq(keys.count, 1);
  ck_assert_str_eq(keys.rows[0].name, "two");
  ck_assert_ptr_nonnull(deai_apikeys_find(&keys, deai_str_of(secret)));
  deai_apikeys_free(&keys);

  ck_assert_int_eq(deai_path_join(path, sizeof path, testing_folder(), "api-keys"), DEAI_OK);
  ck_assert_int_eq(stat(path, &about), 0);
  ck_assert_uint_eq(about.st_mode & 0777, 0600);
}
END_TEST

START_TEST(a_file_that_turned_bad_knows_nobody) {
  deai_apikeys keys = {0};
  write_keys("");
  ck_assert_int_eq(deai_apikeys_add(testing_folder(), "one", secret, err, sizeof err), DEAI_OK);
  ck_assert_int_eq(deai_apikeys_refresh(testing_folder(), &keys, err, sizeof err), DEAI_OK);
  write_keys("nonsense\n");
  ck_assert_int_eq(deai_apikeys_refresh(testing_folder(), &keys, err, sizeof err), DEAI_EINVAL);
  ck_assert_ptr_null(deai_apikeys_find(&keys, deai_str_of(secret)));
  deai_apikeys_free(&keys);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("apikeys");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, bad_lines_are_named);
  tcase_add_test(tests, bad_names_are_refused);
  tcase_add_test(tests, a_key_is_known_until_it_is_removed);
  tcase_add_test(tests, a_file_that_turned_bad_knows_nobody);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
