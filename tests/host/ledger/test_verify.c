#include "fixture.h"

#include "tests/testing.h"

#include "host/base/file.h"
#include "host/ledger/verify.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

static char err[400];

static int32_t verify(const char *folder, uint32_t flags, deai_verify_report *report) {
  err[0] = 0;
  return deai_ledger_verify(folder, flags, NULL, NULL, report, err, sizeof err);
}

START_TEST(refuses_what_it_cannot_judge) {
  fixture net;
  deai_verify_report report;
  fixture_start(&net, NULL);
  ck_assert_int_ne(verify(net.folder, 0, &report), DEAI_OK); /* no folder */
  fixture_open(&net);
  ck_assert_int_eq(verify(net.folder, 0, &report), DEAI_EBUSY);
  fixture_end(&net);
}
END_TEST

START_TEST(a_state_that_is_not_of_this_log_is_named) {
  fixture net;
  char path[4200];
  deai_verify_report report;
  fixture_start(&net, NULL);
  fixture_open(&net);
  for (int i = 0; i < 3; i++)
    ck_assert_int_eq(fixture_transfer(&net, net.wallet, net.owner, 1), DEAI_OK);
  fixture_close(&net);
  ck_assert_int_eq(verify(net.folder, DEAI_VERIFY_RULES, &report), DEAI_OK);
  ck_assert_uint_eq(report.blocks, 3);
  ck_assert_uint_eq(report.transactions, 3);
  (void)snprintf(path, sizeof path, "%s/state/data.mdb", net.folder);
  ck_assert_int_eq(truncate(path, 9000), 0);
  ck_assert_int_eq(verify(net.folder, 0, &report), DEAI_EVERIFY);
  (void)snprintf(path, sizeof path, "%s/blocks.log", net.folder);
  ck_assert_int_eq(truncate(path, 600), 0);
  ck_assert_int_eq(verify(net.folder, 0, &report), DEAI_EVERIFY);
  ck_assert_uint_eq(report.bad_height, 2);
  fixture_end(&net);
}
END_TEST

/* ---- golden chains ---- */

typedef struct tally {
  size_t passed;
  size_t failed;
} tally;

static void hex_of(const uint8_t hash[DEAI_HASH_BYTES], char out[65]) {
  for (uint32_t i = 0; i < DEAI_HASH_BYTES; i++)
    (void)snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

/* The folder is copied: verify locks the one it judges. */
static int32_t golden_copy(const char *from, const char *name, char to[4200]) {
  static const char *const names[] = {"genesis", "blocks.log"};
  char path[8500], target[4300];
  (void)snprintf(to, 4200, "%s/%s", testing_folder(), name);
  int32_t status = deai_folder_make(to, 0700, err, sizeof err);
  for (size_t i = 0; i < sizeof names / sizeof names[0] && status == DEAI_OK; i++) {
    uint8_t *bytes = NULL;
    uint64_t len;
    (void)snprintf(path, sizeof path, "%s/%s/%s", from, name, names[i]);
    (void)snprintf(target, sizeof target, "%s/%s", to, names[i]);
    status = deai_file_read(path, 1u << 26, &bytes, &len, err, sizeof err);
    if (status == DEAI_OK)
      status = deai_file_replace(target, deai_bytes_of(bytes, len), 0600, err, sizeof err);
    free(bytes);
  }
  return status;
}

static void golden_chain(const char *area, const char *name, tally *count) {
  char copy[4200], path[8500], root[65], head[65];
  deai_verify_report report;
  (void)snprintf(path, sizeof path, "%s/%s/expect.json", area, name);
  json_t *expect = json_load_file(path, 0, NULL);
  int32_t status = golden_copy(area, name, copy);
  if (status == DEAI_OK) status = verify(copy, DEAI_VERIFY_RULES, &report);
  hex_of(report.root, root);
  hex_of(report.head, head);
  const char *wanted_root = json_string_value(json_object_get(expect, "root"));
  const char *wanted_head = json_string_value(json_object_get(expect, "head"));
  bool ok = status == DEAI_OK && wanted_root != NULL && wanted_head != NULL &&
            strcmp(wanted_root, root) == 0 && strcmp(wanted_head, head) == 0 &&
            json_integer_value(json_object_get(expect, "blocks")) == (json_int_t)report.blocks;
  if (ok) {
    count->passed++;
  } else {
    count->failed++;
    printf("golden-chain %s failed: %s {\"blocks\": %llu, \"root\": \"%s\", \"head\": \"%s\"}\n",
           name, err, (unsigned long long)report.blocks, root, head);
  }
  json_decref(expect);
}

static void golden_area(const char *folder, void *user) {
  DIR *list = opendir(folder);
  ck_assert_ptr_nonnull(list);
  for (const struct dirent *name = readdir(list); name != NULL; name = readdir(list)) {
    char path[8500];
    struct stat info;
    (void)snprintf(path, sizeof path, "%s/%s/blocks.log", folder, name->d_name);
    if (stat(path, &info) == 0) golden_chain(folder, name->d_name, user);
  }
  (void)closedir(list);
}

START_TEST(golden_chains) {
  tally count = {0, 0};
  ck_assert_uint_gt(testing_vectors_each("golden-chain", golden_area, &count), 0);
  testing_tally("golden-chain", count.passed, count.failed, 0);
  ck_assert_uint_eq(count.failed, 0);
  ck_assert_uint_gt(count.passed, 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("verify");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, refuses_what_it_cannot_judge);
  tcase_add_test(tests, a_state_that_is_not_of_this_log_is_named);
  tcase_add_test(tests, golden_chains);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
