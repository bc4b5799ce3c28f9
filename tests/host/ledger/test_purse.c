/* The purse: refused, damaged, batched, and what free leaves. */
#include "tests/testing.h"

#include "host/base/file.h"
#include "host/ledger/purse.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

static deai_loop *loop;
static deai_purse *purse;
static char folder[4096];
static uint32_t folders;
static uint32_t done_count;
static int32_t done_status;

static void open_purse(uint32_t workers) {
  char err[256] = "";
  loop = deai_loop_new(deai_platform_system(), workers);
  ck_assert_ptr_nonnull(loop);
  ck_assert_msg(deai_purse_open(loop, folder, &purse, err, sizeof err) == DEAI_OK, "%s", err);
}

static void close_purse(void) {
  deai_purse_free(purse);
  deai_loop_free(loop);
}

static void setup(void) {
  (void)snprintf(folder, sizeof folder, "%s/purse-%u", testing_folder(), folders++);
  done_count = 0;
  done_status = 1;
  open_purse(0);
}

static void on_done(void *user, int32_t status) {
  (void)user;
  done_count++;
  done_status = status;
}

static void on_done_stop(void *user, int32_t status) {
  on_done(user, status);
  deai_loop_stop(loop);
}

static int32_t put(const char *key, const char *value) {
  return deai_purse_put(purse, deai_bytes_of(key, strlen(key)),
                        deai_bytes_of(value, strlen(value)));
}

static int32_t row(void *user, deai_bytes key, deai_bytes value) {
  char *text = user;
  size_t len = strlen(text);
  (void)snprintf(text + len, 256 - len, "%.*s=%.*s ", (int)key.len, (const char *)key.ptr,
                 (int)value.len, (const char *)value.ptr);
  return DEAI_OK;
}

static void holds(const char *prefix, const char *expected) {
  char text[256] = "";
  ck_assert_int_eq(deai_purse_each(purse, deai_bytes_of(prefix, strlen(prefix)), text, row),
                   DEAI_OK);
  ck_assert_str_eq(text, expected);
}

START_TEST(sizes_beyond_the_limits_are_refused) {
  static uint8_t large[DEAI_PURSE_VALUE_MAX + 1];
  deai_bytes one = deai_bytes_of("k", 1);
  ck_assert_int_eq(deai_purse_put(purse, one, deai_bytes_of(large, sizeof large)), DEAI_ETOOLARGE);
  ck_assert_int_eq(deai_purse_put(purse, deai_bytes_of(large, DEAI_PURSE_KEY_MAX + 1), one),
                   DEAI_ETOOLARGE);
  ck_assert_int_eq(deai_purse_put(purse, deai_bytes_of(NULL, 0), one), DEAI_ETOOLARGE);
  close_purse();
  deai_purse_free(NULL);
}
END_TEST

START_TEST(a_file_in_place_of_the_folder_is_refused) {
  char err[256] = "";
  deai_purse *other = NULL;
  char path[8200];
  (void)snprintf(path, sizeof path, "%s/data.mdb", folder);
  ck_assert_int_ne(deai_purse_open(loop, path, &other, err, sizeof err), DEAI_OK);
  ck_assert_str_ne(err, "");
  close_purse();
}
END_TEST

START_TEST(a_flipped_byte_is_seen) {
  char path[8200];
  uint8_t *bytes = NULL;
  uint64_t len = 0;
  char text[256] = "";
  ck_assert_int_eq(put("key", "a value that is looked for"), DEAI_OK);
  close_purse();
  (void)snprintf(path, sizeof path, "%s/data.mdb", folder);
  ck_assert_int_eq(deai_file_read(path, 1u << 24, &bytes, &len, NULL, 0), DEAI_OK);
  uint8_t *at = memmem(bytes, (size_t)len, "looked", 6);
  ck_assert_ptr_nonnull(at);
  *at ^= 1;
  ck_assert_int_eq(deai_file_replace(path, deai_bytes_of(bytes, len), 0600, NULL, 0), DEAI_OK);
  free(bytes);
  open_purse(0);
  ck_assert_int_eq(deai_purse_each(purse, deai_bytes_of("k", 1), text, row), DEAI_EVERIFY);
  close_purse();
}
END_TEST

START_TEST(what_was_put_is_there_after_sync) {
  ck_assert_int_eq(put("a1", "x"), DEAI_OK);
  ck_assert_int_eq(put("b1", "y"), DEAI_OK);
  ck_assert_int_eq(put("a1", "z"), DEAI_OK);
  holds("", ""); /* queued only */
  deai_purse_sync(purse, NULL, on_done);
  deai_purse_sync(purse, NULL, on_done);
  ck_assert_uint_eq(done_count, 0);
  deai_loop_drain(loop);
  ck_assert_uint_eq(done_count, 2);
  ck_assert_int_eq(done_status, DEAI_OK);
  holds("a", "a1=z ");
  ck_assert_int_eq(put("a1", ""), DEAI_OK);
  ck_assert_int_eq(put("none", ""), DEAI_OK);
  deai_purse_sync(purse, NULL, NULL);
  deai_loop_drain(loop);
  holds("", "b1=y ");
  close_purse();
}
END_TEST

START_TEST(free_writes_what_is_queued) {
  close_purse();
  for (uint32_t workers = 0; workers < 3; workers++) {
    open_purse(workers);
    ck_assert_int_eq(put("k", workers == 0 ? "0" : workers == 1 ? "1" : "2"), DEAI_OK);
    if (workers > 0) deai_purse_sync(purse, NULL, on_done); /* under way */
    ck_assert_int_eq(put("l", "last"), DEAI_OK);
    close_purse();
  }
  ck_assert_uint_eq(done_count, 2);
  open_purse(0);
  holds("", "k=2 l=last ");
  close_purse();
}
END_TEST

START_TEST(a_worker_writes) {
  close_purse();
  open_purse(2);
  ck_assert_int_eq(put("w", "1"), DEAI_OK);
  deai_purse_sync(purse, NULL, on_done_stop);
  deai_loop_run(loop);
  ck_assert_int_eq(done_status, DEAI_OK);
  holds("w", "w=1 ");
  close_purse();
}
END_TEST

int main(void) {
  Suite *suite = suite_create("purse");
  TCase *tests = tcase_create("purse");
  tcase_add_checked_fixture(tests, setup, NULL);
  tcase_add_test(tests, sizes_beyond_the_limits_are_refused);
  tcase_add_test(tests, a_file_in_place_of_the_folder_is_refused);
  tcase_add_test(tests, a_flipped_byte_is_seen);
  tcase_add_test(tests, what_was_put_is_there_after_sync);
  tcase_add_test(tests, free_writes_what_is_queued);
  tcase_add_test(tests, a_worker_writes);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
