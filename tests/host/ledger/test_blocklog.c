#include "tests/testing.h"

#include "host/base/file.h"
#include "host/ledger/blocklog.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

static char err[256];

static void path_of(char *out, const char *name) {
  ck_assert_int_eq(deai_path_join(out, 4096, testing_folder(), name), DEAI_OK);
}

START_TEST(every_flipped_byte_is_found) {
  char path[4096];
  deai_blocklog *log = NULL;
  deai_blocklog_frame frame;
  uint8_t *bytes = NULL;
  uint64_t len;
  path_of(path, "flips.log");
  ck_assert_int_eq(deai_blocklog_open(path, 0, &log, err, sizeof err), DEAI_ENOTFOUND);
  ck_assert_int_eq(deai_blocklog_open(path, 1, &log, err, sizeof err), DEAI_OK);
  ck_assert_int_eq(deai_blocklog_read(log, 0, &frame), DEAI_ENOTFOUND);
  ck_assert_int_eq(deai_blocklog_append(log, 1, deai_bytes_of("hello world", 11), err, sizeof err),
                   DEAI_OK);
  deai_blocklog_close(log);
  ck_assert_int_eq(deai_file_read(path, 4096, &bytes, &len, err, sizeof err), DEAI_OK);
  ck_assert_uint_eq(len, 11 + DEAI_BLOCKLOG_FRAME_BYTES);
  for (uint64_t i = 0; i < len; i++) {
    bytes[i] ^= 0x10;
    ck_assert_int_eq(deai_file_replace(path, deai_bytes_of(bytes, len), 0600, err, sizeof err),
                     DEAI_OK);
    ck_assert_int_eq(deai_blocklog_open(path, 0, &log, err, sizeof err), DEAI_OK);
    ck_assert_int_eq(deai_blocklog_read(log, 0, &frame), DEAI_EVERIFY);
    deai_blocklog_close(log);
    bytes[i] ^= 0x10;
  }
  for (uint64_t cut = 1; cut < len; cut++) {
    ck_assert_int_eq(deai_file_replace(path, deai_bytes_of(bytes, cut), 0600, err, sizeof err),
                     DEAI_OK);
    ck_assert_int_eq(deai_blocklog_open(path, 0, &log, err, sizeof err), DEAI_OK);
    ck_assert_int_eq(deai_blocklog_read(log, 0, &frame), DEAI_EVERIFY);
    deai_blocklog_close(log);
  }
  free(bytes);
}
END_TEST

START_TEST(frames_stand_one_behind_the_other) {
  char path[4096];
  deai_blocklog *log = NULL;
  deai_blocklog_frame frame;
  static uint8_t payload[3000];
  path_of(path, "frames.log");
  ck_assert_int_eq(deai_blocklog_open(path, 1, &log, err, sizeof err), DEAI_OK);
  for (uint32_t i = 1; i <= 20; i++) {
    memset(payload, (int)i, sizeof payload);
    ck_assert_int_eq(deai_blocklog_append(log, i, deai_bytes_of(payload, i * 100), err, sizeof err),
                     DEAI_OK);
    ck_assert_int_eq(deai_blocklog_sync(log, err, sizeof err), DEAI_OK);
  }
  static uint8_t large[1];
  ck_assert_int_eq(deai_blocklog_append(log, 21,
                                        deai_bytes_of(large, DEAI_BLOCKLOG_PAYLOAD_MAX + 1), err,
                                        sizeof err),
                   DEAI_ETOOLARGE);
  uint64_t at = 0, third = 0;
  for (uint32_t i = 1; i <= 20; i++) {
    ck_assert_int_eq(deai_blocklog_read(log, at, &frame), DEAI_OK);
    ck_assert_uint_eq(frame.height, i);
    ck_assert_uint_eq(frame.len, i * 100);
    ck_assert_uint_eq(frame.payload[5], i);
    free(frame.payload);
    if (i == 3) third = at;
    at = frame.next;
  }
  ck_assert_uint_eq(at, deai_blocklog_size(log));
  ck_assert_int_eq(deai_blocklog_read(log, at, &frame), DEAI_ENOTFOUND);
  ck_assert_int_eq(deai_blocklog_cut(log, third, err, sizeof err), DEAI_OK);
  ck_assert_int_eq(deai_blocklog_read(log, third, &frame), DEAI_ENOTFOUND);
  ck_assert_int_eq(deai_blocklog_append(log, 3, deai_bytes_of("new", 3), err, sizeof err), DEAI_OK);
  ck_assert_int_eq(deai_blocklog_read(log, third, &frame), DEAI_OK);
  ck_assert_uint_eq(frame.len, 3);
  free(frame.payload);
  deai_blocklog_close(log);
  deai_blocklog_close(NULL);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocklog");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, every_flipped_byte_is_found);
  tcase_add_test(tests, frames_stand_one_behind_the_other);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
