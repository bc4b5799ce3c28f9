#include "plugins/storage/blocks/store_private.h"

#include "tests/plugins/storage/blocks/tools.h"

#include <fcntl.h>
#include <unistd.h>

#include "host/base/banned.h"

#define FILES (2 * BLOCKS_FDS_MAX)

static void make_files(blocks_store *store) {
  for (uint64_t i = 1; i <= FILES; i++) {
    char name[32];
    blocks_file_name(i, name);
    int fd = openat(store->files_fd, name, O_CREAT | O_WRONLY, 0600);
    ck_assert_int_ge(fd, 0);
    (void)close(fd);
  }
}

START_TEST(what_is_gone_is_not_found) {
  blocks_store *store = store_at("gone");
  int fd = -1;
  blocks_error err = {0};
  ck_assert_int_eq(blocks_fds_get(store, 99, &fd, &err), DEAI_ENOTFOUND);
  ck_assert_int_eq(blocks_fds_get(store, 99 | BLOCKS_STORE_FILE, &fd, &err), DEAI_ENOTFOUND);
  blocks_fds_release(store, 99);
  blocks_fds_drop(store, 99);
  store_end(store);
}
END_TEST

START_TEST(keeps_few_open_and_none_that_is_held_closes) {
  blocks_store *store = store_at("many");
  int first = -1;
  make_files(store);
  ck_assert_int_eq(blocks_fds_get(store, 1 | BLOCKS_STORE_FILE, &first, NULL), DEAI_OK);
  for (uint64_t i = 2; i <= FILES; i++) {
    int fd = -1;
    ck_assert_int_eq(blocks_fds_get(store, i | BLOCKS_STORE_FILE, &fd, NULL), DEAI_OK);
    blocks_fds_release(store, i | BLOCKS_STORE_FILE);
  }
  ck_assert_uint_le(store->fds.count, BLOCKS_FDS_MAX);
  int again = -1;
  ck_assert_int_eq(blocks_fds_get(store, 1 | BLOCKS_STORE_FILE, &again, NULL), DEAI_OK);
  ck_assert_int_eq(first, again);
  blocks_fds_drop(store, 1 | BLOCKS_STORE_FILE); /* still held: stays */
  ck_assert_int_ge(fcntl(first, F_GETFD), 0);
  blocks_fds_release(store, 1 | BLOCKS_STORE_FILE);
  blocks_fds_release(store, 1 | BLOCKS_STORE_FILE);
  blocks_fds_drop(store, 1 | BLOCKS_STORE_FILE);
  ck_assert_int_lt(fcntl(first, F_GETFD), 0);
  store_end(store);
}
END_TEST

START_TEST(more_than_the_cache_may_be_held) {
  blocks_store *store = store_at("held");
  make_files(store);
  for (uint64_t i = 1; i <= FILES; i++) {
    int fd = -1;
    ck_assert_int_eq(blocks_fds_get(store, i | BLOCKS_STORE_FILE, &fd, NULL), DEAI_OK);
  }
  ck_assert_uint_eq(store->fds.count, FILES);
  store_end(store);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks/fds");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, what_is_gone_is_not_found);
  tcase_add_test(tests, keeps_few_open_and_none_that_is_held_closes);
  tcase_add_test(tests, more_than_the_cache_may_be_held);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
