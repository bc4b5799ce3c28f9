#include "tests/testing.h"

#include "host/base/file.h"
#include "host/ledger/orderstate.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

static char err[256];

static void flip(const char *path, off_t at) {
  uint8_t byte;
  int fd = open(path, O_RDWR | O_CLOEXEC);
  ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
  byte ^= 1;
  ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
  (void)close(fd);
}

START_TEST(a_torn_slot_leaves_the_one_before) {
  char path[4096];
  uint8_t hash[DEAI_HASH_BYTES], got[DEAI_HASH_BYTES];
  deai_orderstate *state = NULL;
  ck_assert_int_eq(deai_path_join(path, sizeof path, testing_folder(), "order.state"), DEAI_OK);
  ck_assert_int_eq(deai_orderstate_open(path, 0, &state, err, sizeof err), DEAI_ENOTFOUND);
  ck_assert_int_eq(deai_orderstate_open(path, 1, &state, err, sizeof err), DEAI_OK);
  ck_assert_uint_eq(deai_orderstate_get(state, got), 0);
  for (uint64_t height = 1; height <= 5; height++) {
    memset(hash, (int)height, sizeof hash);
    ck_assert_int_eq(deai_orderstate_put(state, height, hash, err, sizeof err), DEAI_OK);
    deai_orderstate_close(state);
    ck_assert_int_eq(deai_orderstate_open(path, 0, &state, err, sizeof err), DEAI_OK);
    ck_assert_uint_eq(deai_orderstate_get(state, got), height);
    ck_assert_mem_eq(got, hash, sizeof got);
  }
  deai_orderstate_close(state);
  off_t newest = 0; /* height 5 was the fifth write, the first went to slot 1 */
  for (off_t at = 0; at < 52; at++) {
    flip(path, 512 + at);
    ck_assert_int_eq(deai_orderstate_open(path, 0, &state, err, sizeof err), DEAI_OK);
    uint64_t height = deai_orderstate_get(state, got);
    ck_assert(height == 4 || height == 5);
    if (height == 4) newest = 512;
    deai_orderstate_close(state);
    flip(path, 512 + at);
  }
  flip(path, newest + 9);
  ck_assert_int_eq(deai_orderstate_open(path, 0, &state, err, sizeof err), DEAI_OK);
  ck_assert_uint_eq(deai_orderstate_get(state, got), 4);
  deai_orderstate_close(state);
  flip(path, 512 - newest + 9);
  ck_assert_int_eq(deai_orderstate_open(path, 1, &state, err, sizeof err), DEAI_EVERIFY);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("orderstate");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, a_torn_slot_leaves_the_one_before);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
