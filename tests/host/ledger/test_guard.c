#include "fixture.h"

#include "tests/testing.h"

#include "host/ledger/guard.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

START_TEST(seal_and_judge) {
  fixture net;
  char path[4200];
  deai_guard_verdict verdict;
  deai_ledger_head head;
  fixture_start(&net, NULL);
  ck_assert_int_eq(deai_guard_sealed(net.folder, net.err, sizeof net.err), DEAI_ENOTFOUND);
  deai_guard_judge(net.folder, &net.genesis->genesis, 0, &verdict);
  ck_assert_int_eq(verdict.status, DEAI_ENOTFOUND);
  fixture_open(&net);
  ck_assert_int_eq(fixture_transfer(&net, net.wallet, net.owner, 1), DEAI_OK);
  deai_ledger_head_get(net.ledger, &head);
  ck_assert_int_eq(deai_guard_sealed(net.folder, net.err, sizeof net.err), DEAI_ENOTFOUND);
  fixture_close(&net);
  ck_assert_int_eq(deai_guard_sealed(net.folder, net.err, sizeof net.err), DEAI_OK);
  deai_guard_judge(net.folder, &net.genesis->genesis, 0, &verdict);
  ck_assert_int_eq(verdict.status, DEAI_OK);
  ck_assert_uint_eq(verdict.head.height, 1);
  ck_assert_mem_eq(verdict.head.root, head.root, DEAI_HASH_BYTES);
  (void)snprintf(path, sizeof path, "%s/state/data.mdb", net.folder);
  int fd = open(path, O_RDWR | O_CLOEXEC);
  struct stat info;
  ck_assert_int_eq(fstat(fd, &info), 0);
  for (off_t at = 2 * 4096; at < info.st_size; at += 64) /* behind the two heads of LMDB */
    ck_assert_int_eq(pwrite(fd, "\xff\xff\xff\xff", 4, at), 4);
  (void)close(fd);
  ck_assert_int_eq(deai_guard_sealed(net.folder, net.err, sizeof net.err), DEAI_EVERIFY);
  deai_guard_judge(net.folder, &net.genesis->genesis, 0, &verdict);
  ck_assert_int_eq(verdict.status, DEAI_EVERIFY);
  ck_assert_int_eq(deai_guard_unseal(net.folder, net.err, sizeof net.err), DEAI_OK);
  ck_assert_int_eq(deai_guard_unseal(net.folder, net.err, sizeof net.err), DEAI_OK);
  ck_assert_int_eq(deai_guard_sealed(net.folder, net.err, sizeof net.err), DEAI_ENOTFOUND);
  fixture_end(&net);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("guard");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, seal_and_judge);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
