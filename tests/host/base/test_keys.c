#include "tests/testing.h"

#include "host/base/file.h"
#include "host/base/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

static char err[512];

static void folder_make(char *data, const char *name) {
  ck_assert_int_eq(deai_path_join(data, 4096, testing_folder(), name), DEAI_OK);
  ck_assert_int_eq(deai_folder_make(data, 0700, err, sizeof err), DEAI_OK);
}

static void replace(const char *data, const char *name, const char *text, uint32_t mode) {
  char path[4096];
  (void)snprintf(path, sizeof path, "%s/keys/%s", data, name);
  ck_assert_int_eq(
      deai_file_replace(path, deai_bytes_of(text, strlen(text)), mode, err, sizeof err), DEAI_OK);
}

static int32_t load(const char *data, const char *name) {
  deai_key *key = NULL;
  int32_t status = deai_key_load(data, name, &key, err, sizeof err);
  ck_assert_int_eq(status == DEAI_OK, key != NULL);
  deai_key_free(key);
  return status;
}

START_TEST(wrong_rights_and_forms_are_refused) {
  char data[4096], path[4200], line[512], link_path[4200];
  uint8_t *bytes;
  uint64_t len;
  folder_make(data, "refused");
  ck_assert_int_eq(load(data, "node"), DEAI_ENOTFOUND);
  deai_key *key = deai_key_make();
  ck_assert_int_eq(deai_key_save(key, data, "node", err, sizeof err), DEAI_OK);
  ck_assert_int_eq(deai_key_save(key, data, "node", err, sizeof err), DEAI_EINVAL);
  deai_key_free(key);
  ck_assert_int_eq(load(data, "wallet"), DEAI_ENOTFOUND);
  (void)snprintf(path, sizeof path, "%s/keys/node", data);
  ck_assert_int_eq(chmod(path, 0640), 0);
  ck_assert_int_eq(load(data, "node"), DEAI_EDENIED);
  ck_assert_ptr_nonnull(strstr(err, "0640"));
  ck_assert_int_eq(chmod(path, 0600), 0);
  (void)snprintf(link_path, sizeof link_path, "%s/keys/order", data);
  ck_assert_int_eq(symlink(path, link_path), 0);
  ck_assert_int_eq(load(data, "order"), DEAI_EDENIED);
  ck_assert_int_eq(deai_file_read(path, 512, &bytes, &len, err, sizeof err), DEAI_OK);
  for (uint64_t at = 0; at < len; at++) { /* every digit counts: seed and public key must agree */
    memcpy(line, bytes, len + 1);
    line[at] = line[at] == '1' ? '2' : '1';
    replace(data, "node", line, 0600);
    ck_assert_msg(load(data, "node") == DEAI_EINVAL, "byte %llu", (unsigned long long)at);
  }
  memcpy(line, bytes, len);
  (void)snprintf(line + len, sizeof line - len, "x");
  replace(data, "node", line, 0600);
  ck_assert_int_eq(load(data, "node"), DEAI_EINVAL);
  replace(data, "node", "", 0600);
  ck_assert_int_eq(load(data, "node"), DEAI_EINVAL);
  replace(data, "node", (char *)bytes, 0600);
  ck_assert_int_eq(load(data, "node"), DEAI_OK);
  (void)snprintf(path, sizeof path, "%s/keys", data);
  ck_assert_int_eq(chmod(path, 0755), 0);
  ck_assert_int_eq(load(data, "node"), DEAI_EDENIED);
  ck_assert_int_eq(chmod(path, 0700), 0);
  free(bytes);
}
END_TEST

START_TEST(a_saved_key_is_loaded) {
  char data[4096];
  deai_key *back = NULL;
  folder_make(data, "saved");
  deai_key *key = deai_key_make();
  ck_assert_int_eq(deai_key_save(key, data, "wallet", err, sizeof err), DEAI_OK);
  ck_assert_int_eq(deai_key_load(data, "wallet", &back, err, sizeof err), DEAI_OK);
  ck_assert_mem_eq(deai_key_public(key), deai_key_public(back), DEAI_KEY_BYTES);
  ck_assert_mem_eq(deai_key_seed(key), deai_key_seed(back), 32);
  deai_key_free(key);
  deai_key_free(back);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("keys");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, wrong_rights_and_forms_are_refused);
  tcase_add_test(tests, a_saved_key_is_loaded);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
