#include "fixture.h"

#include "tests/testing.h"

#include "host/base/file.h"
#include "host/base/hash.h"
#include "host/base/log.h"
#include "host/ledger/blocklog.h"
#include "host/ledger/verify.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

#if defined(__SANITIZE_ADDRESS__)
#define FLIP_STEP 208u /* a fork of an instrumented process is slow */
#else
#define FLIP_STEP 16u
#endif

static char err[400];

static void path_of(const fixture *net, const char *name, char out[4096]) {
  ck_assert_int_eq(deai_path_join(out, 4096, net->folder, name), DEAI_OK);
}

/* Without a sync: it is done thousands of times, and no crash is tested here. */
static void copy_file(const char *from, const char *to) {
  uint8_t *bytes = NULL;
  uint64_t len;
  int32_t status = deai_file_read(from, UINT64_C(1) << 30, &bytes, &len, err, sizeof err);
  if (status == DEAI_ENOTFOUND) {
    (void)unlink(to);
    return;
  }
  ck_assert_msg(status == DEAI_OK, "%s", err);
  int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(write(fd, bytes, (size_t)len), (ssize_t)len);
  ck_assert_int_eq(close(fd), 0);
  free(bytes);
}

static const char *const names[] = {"genesis", "blocks.log", "order.state", "state.seal",
                                    "state/data.mdb"};

/* Copies the files of a closed ledger to folder/SUFFIX, or back. */
static void keep(const fixture *net, const char *suffix, int back) {
  char here[4096], there[4200], folder[4200];
  (void)snprintf(folder, sizeof folder, "%s-%s", net->folder, suffix);
  (void)mkdir(folder, 0700);
  (void)snprintf(folder, sizeof folder, "%s-%s/state", net->folder, suffix);
  (void)mkdir(folder, 0700);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    path_of(net, names[i], here);
    (void)snprintf(there, sizeof there, "%s-%s/%s", net->folder, suffix, names[i]);
    copy_file(back ? there : here, back ? here : there);
  }
}

static void keep_one(const fixture *net, const char *suffix, const char *name) {
  char here[4096], there[4200];
  path_of(net, name, here);
  (void)snprintf(there, sizeof there, "%s-%s/%s", net->folder, suffix, name);
  copy_file(there, here);
}

static void blocks(fixture *net, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    ck_assert_msg(fixture_transfer(net, net->wallet, net->owner, 1) == DEAI_OK, "%s", net->err);
}

/* A ledger with 3 blocks kept as "three", then with 6 kept as "six"; closed. */
static deai_ledger_head start(fixture *net) {
  deai_ledger_head head;
  fixture_start(net, NULL);
  fixture_open(net);
  blocks(net, 3);
  fixture_close(net);
  keep(net, "three", 0);
  fixture_open(net);
  blocks(net, 3);
  deai_ledger_head_get(net->ledger, &head);
  fixture_close(net);
  keep(net, "six", 0);
  return head;
}

static void expect_head(fixture *net, const deai_ledger_head *wanted) {
  deai_ledger_head head;
  fixture_open(net);
  deai_ledger_head_get(net->ledger, &head);
  ck_assert_uint_eq(head.height, wanted->height);
  ck_assert_mem_eq(head.root, wanted->root, DEAI_HASH_BYTES);
  blocks(net, 1);
  fixture_close(net);
}

START_TEST(restored_backups_are_refused) {
  fixture net;
  (void)start(&net);
  keep_one(&net, "three", "blocks.log"); /* the log alone is old */
  ck_assert_int_eq(fixture_try_open(&net, DEAI_ENGINE_LOCAL, 0), DEAI_EVERIFY);
  ck_assert_ptr_nonnull(strstr(net.err, "restored"));
  keep(&net, "three", 1);
  keep_one(&net, "six", "order.state"); /* all but order.state is old */
  ck_assert_int_eq(fixture_try_open(&net, DEAI_ENGINE_LOCAL, 0), DEAI_EVERIFY);
  ck_assert_ptr_nonnull(strstr(net.err, "backup"));
  keep(&net, "six", 1);
  char path[4096];
  path_of(&net, "order.state", path);
  ck_assert_int_eq(unlink(path), 0);
  ck_assert_int_eq(fixture_try_open(&net, DEAI_ENGINE_LOCAL, 0), DEAI_EVERIFY);
  ck_assert_ptr_nonnull(strstr(net.err, "order.state"));
  path_of(&net, "blocks.log", path);
  keep(&net, "six", 1);
  ck_assert_int_eq(truncate(path, 0), 0);
  ck_assert_int_eq(fixture_try_open(&net, DEAI_ENGINE_LOCAL, 0), DEAI_EVERIFY);
  fixture_end(&net);
}
END_TEST

START_TEST(a_log_that_is_ahead_is_run_again) {
  fixture net;
  deai_ledger_head head = start(&net);
  keep_one(&net, "three", "state/data.mdb");
  keep_one(&net, "three", "state.seal");
  expect_head(&net, &head);
  keep(&net, "six", 1);
  keep_one(&net, "three", "state/data.mdb"); /* without a seal a child judges it */
  char path[4096];
  path_of(&net, "state.seal", path);
  ck_assert_int_eq(unlink(path), 0);
  expect_head(&net, &head);
  keep(&net, "six", 1);
  keep_one(&net, "three", "order.state"); /* the block log is ahead of order.state */
  expect_head(&net, &head);
  fixture_end(&net);
}
END_TEST

START_TEST(a_missing_or_foreign_state_is_rebuilt) {
  fixture net;
  char path[4096], seal[4096];
  deai_ledger_head head = start(&net);
  path_of(&net, "state/data.mdb", path);
  path_of(&net, "state.seal", seal);
  ck_assert_int_eq(unlink(path), 0);
  expect_head(&net, &head); /* the seal names a file that is gone */
  keep(&net, "six", 1);
  ck_assert_int_eq(unlink(path), 0);
  ck_assert_int_eq(unlink(seal), 0);
  expect_head(&net, &head);
  keep(&net, "six", 1);
  ck_assert_int_eq(truncate(path, 5000), 0);
  ck_assert_int_eq(unlink(seal), 0);
  expect_head(&net, &head);
  keep(&net, "six", 1);
  ck_assert_int_eq(truncate(path, 5000), 0);
  ck_assert_int_eq(fixture_try_open(&net, DEAI_ENGINE_LOCAL, 1), DEAI_EVERIFY);
  fixture_end(&net);
}
END_TEST

START_TEST(only_an_unanswered_end_of_the_log_is_cut) {
  fixture net;
  struct stat info;
  char path[4096];
  deai_ledger_head head = start(&net);
  path_of(&net, "blocks.log", path);
  int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
  ck_assert_int_eq(write(fd, "DBLKtorn", 8), 8);
  (void)close(fd);
  ck_assert_int_eq(fixture_try_open(&net, DEAI_ENGINE_LOCAL, 1), DEAI_EVERIFY);
  expect_head(&net, &head);
  keep(&net, "six", 1);
  ck_assert_int_eq(stat(path, &info), 0);
  ck_assert_int_eq(truncate(path, info.st_size - 1), 0); /* the last block was answered */
  ck_assert_int_eq(fixture_try_open(&net, DEAI_ENGINE_LOCAL, 0), DEAI_EVERIFY);
  keep_one(&net, "three", "state/data.mdb");
  keep_one(&net, "three", "state.seal");
  ck_assert_int_eq(fixture_try_open(&net, DEAI_ENGINE_LOCAL, 0), DEAI_EVERIFY);
  ck_assert_ptr_nonnull(strstr(net.err, "block 6"));
  fixture_end(&net);
}
END_TEST

static void flip(const char *path, uint64_t at, uint8_t mask) {
  uint8_t byte;
  int fd = open(path, O_RDWR | O_CLOEXEC);
  ck_assert_int_eq(pread(fd, &byte, 1, (off_t)at), 1);
  byte ^= mask;
  ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
  (void)close(fd);
}

/* Every byte of a log of 20 blocks: verify names the frame that holds it. */
START_TEST(every_flip_of_the_log_is_named) {
  fixture net;
  char path[4096];
  uint64_t frames[32], count = 0, at = 0;
  deai_blocklog *log = NULL;
  deai_blocklog_frame frame;
  deai_verify_report report;
  fixture_start(&net, NULL);
  fixture_open(&net);
  blocks(&net, 20);
  fixture_close(&net);
  path_of(&net, "blocks.log", path);
  ck_assert_int_eq(deai_blocklog_open(path, 0, &log, err, sizeof err), DEAI_OK);
  while (deai_blocklog_read(log, at, &frame) == DEAI_OK) {
    frames[count++] = at;
    at = frame.next;
    free(frame.payload);
  }
  deai_blocklog_close(log);
  ck_assert_uint_eq(count, 20);
  for (uint64_t i = 0, holder = 0; i < at; i++) {
    while (holder + 1 < count && frames[holder + 1] <= i)
      holder++;
    flip(path, i, (uint8_t)(1u << (i % 8)));
    ck_assert_int_eq(deai_ledger_verify(net.folder, 0, NULL, NULL, &report, err, sizeof err),
                     DEAI_EVERIFY);
    ck_assert_uint_eq(report.bad_height, holder + 1);
    ck_assert_uint_eq(report.bad_offset, frames[holder]);
    flip(path, i, (uint8_t)(1u << (i % 8)));
  }
  fixture_end(&net);
}
END_TEST

static int32_t hash_record(void *user, deai_bytes key, deai_bytes value) {
  uint64_t lens[2] = {key.len, value.len};
  deai_hasher_add(user, deai_bytes_of(lens, sizeof lens));
  deai_hasher_add(user, key);
  deai_hasher_add(user, value);
  return DEAI_OK;
}

/* The hash of every record of every table, as the open ledger serves them. */
static void hash_records(fixture *net, uint8_t hash[DEAI_HASH_BYTES]) {
  deai_hasher *hasher = deai_hasher_new();
  const deai_table_ref *tables = net->genesis->genesis.tables.items;
  for (uint64_t i = 0; i < net->genesis->genesis.tables.count; i++)
    ck_assert_int_eq(deai_ledger_each_record(net->ledger, tables[i].m, tables[i].n,
                                             deai_bytes_of(NULL, 0), hasher, hash_record),
                     DEAI_OK);
  deai_hasher_end(hasher, hash);
  deai_hasher_free(hasher);
}

/* Bytes of the state: without its seal, each flip is harmless or leads to the old records. */
START_TEST(no_flip_of_the_state_changes_an_answer) {
  fixture net;
  char path[4096], seal[4096];
  struct stat info;
  deai_ledger_head head = start(&net), after;
  uint64_t step = getenv("DEAI_FULL") != NULL ? 1 : FLIP_STEP;
  path_of(&net, "state/data.mdb", path);
  path_of(&net, "state.seal", seal);
  ck_assert_int_eq(stat(path, &info), 0);
  uint8_t wanted[DEAI_HASH_BYTES], found[DEAI_HASH_BYTES];
  fixture_open(&net);
  hash_records(&net, wanted);
  fixture_close(&net);
  deai_log_setup(DEAI_LEVEL_ERROR, 0);
  for (uint64_t i = 0; i < (uint64_t)info.st_size; i += step) {
    int sealed = i / step % 16 == 0;
    keep(&net, "six", 1);
    flip(path, i, (uint8_t)(1u << (i / step % 8)));
    if (!sealed) (void)unlink(seal);
    fixture_open(&net);
    deai_ledger_head_get(net.ledger, &after);
    ck_assert_uint_eq(after.height, head.height);
    ck_assert_mem_eq(after.root, head.root, DEAI_HASH_BYTES);
    hash_records(&net, found);
    ck_assert_mem_eq(found, wanted, sizeof found);
    fixture_close(&net);
  }
  fixture_end(&net);
}
END_TEST

int main(void) {
  /* thousands of openings: in memory where that is possible, since no crash is tested here */
  if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0)
    (void)setenv("TMPDIR", "/dev/shm", 1);
  Suite *suite = suite_create("core");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 1200);
  tcase_add_test(tests, restored_backups_are_refused);
  tcase_add_test(tests, a_log_that_is_ahead_is_run_again);
  tcase_add_test(tests, a_missing_or_foreign_state_is_rebuilt);
  tcase_add_test(tests, only_an_unanswered_end_of_the_log_is_cut);
  tcase_add_test(tests, every_flip_of_the_log_is_named);
  tcase_add_test(tests, no_flip_of_the_state_changes_an_answer);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
