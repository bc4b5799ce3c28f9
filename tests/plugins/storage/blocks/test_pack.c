#include "plugins/storage/blocks/pack.h"

#include "tests/testing.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

#define RECORDS 20

static int folder_fd;
static int fd;
static uint32_t salt;
static uint64_t ends[RECORDS + 1];

static deai_bytes data_of(uint8_t i) {
  static uint8_t bytes[256];
  memset(bytes, i, sizeof bytes);
  return deai_bytes_of(bytes, i * 7u % 256);
}

static void setup(void) {
  folder_fd = open(testing_folder(), O_RDONLY | O_DIRECTORY);
  fd = blocks_pack_create(folder_fd, 7, &salt, NULL);
  ck_assert_int_ge(fd, 0);
  ends[0] = BLOCKS_PACK_HEAD_BYTES;
  for (uint8_t i = 0; i < RECORDS; i++) {
    deai_bytes data = data_of(i);
    blocks_record record = {.kind = BLOCKS_RECORD_BLOCK,
                            .crc = blocks_crc32c(0, data.ptr, (size_t)data.len)};
    blocks_cid_of_block(BLOCKS_CODEC_RAW, data, &record.cid);
    ck_assert_int_eq(blocks_record_write(fd, salt, ends[i], &record, data, NULL), DEAI_OK);
    ends[i + 1] = ends[i] + blocks_record_bytes(&record.cid, data.len);
  }
}

static void teardown(void) {
  char name[32];
  blocks_pack_name(7, name);
  ck_assert_int_eq(unlinkat(folder_fd, name, 0), 0);
  (void)close(fd);
  (void)close(folder_fd);
}

START_TEST(a_damaged_header_is_seen) {
  int again = -1;
  uint32_t found = 0;
  ck_assert_int_eq(blocks_pack_open(folder_fd, 8, &again, &found, NULL), DEAI_ENOTFOUND);
  ck_assert_int_eq(blocks_pack_open(folder_fd, 7, &again, &found, NULL), DEAI_OK);
  ck_assert_uint_eq(found, salt);
  (void)close(again);
  for (uint64_t at = 0; at < BLOCKS_PACK_HEAD_BYTES; at++) {
    uint8_t byte;
    ck_assert_int_eq(blocks_read_at(fd, at, &byte, 1, NULL), DEAI_OK);
    byte ^= 1;
    ck_assert_int_eq(blocks_write_at(fd, at, &byte, 1, NULL), DEAI_OK);
    ck_assert_int_eq(blocks_pack_open(folder_fd, 7, &again, &found, NULL), DEAI_EVERIFY);
    (void)close(again);
    byte ^= 1;
    ck_assert_int_eq(blocks_write_at(fd, at, &byte, 1, NULL), DEAI_OK);
  }
  ck_assert_int_lt(blocks_pack_create(folder_fd, 7, &found, NULL), 0);
}
END_TEST

START_TEST(every_flipped_bit_of_a_record_is_seen) {
  blocks_record record;
  blocks_buf buf = {0};
  for (uint64_t at = ends[3]; at < ends[4]; at++) {
    uint8_t byte;
    ck_assert_int_eq(blocks_read_at(fd, at, &byte, 1, NULL), DEAI_OK);
    byte ^= 0x10;
    ck_assert_int_eq(blocks_write_at(fd, at, &byte, 1, NULL), DEAI_OK);
    ck_assert_int_eq(blocks_record_read(fd, salt, ends[3], &record, &buf, NULL), DEAI_EVERIFY);
    byte ^= 0x10;
    ck_assert_int_eq(blocks_write_at(fd, at, &byte, 1, NULL), DEAI_OK);
  }
  ck_assert_int_eq(blocks_record_read(fd, salt, ends[3], &record, &buf, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_record_read(fd, salt + 1, ends[3], &record, &buf, NULL), DEAI_EVERIFY);
  blocks_buf_free(&buf);
}
END_TEST

START_TEST(every_cut_is_seen) {
  blocks_record record;
  blocks_buf buf = {0};
  for (uint64_t at = ends[RECORDS] - 1; at > ends[RECORDS - 1]; at--) {
    ck_assert_int_eq(ftruncate(fd, (off_t)at), 0);
    ck_assert_int_eq(blocks_record_read(fd, salt, ends[RECORDS - 1], &record, &buf, NULL),
                     DEAI_EVERIFY);
  }
  ck_assert_int_eq(ftruncate(fd, (off_t)ends[RECORDS - 1]), 0);
  ck_assert_int_eq(blocks_record_read(fd, salt, ends[RECORDS - 1], &record, &buf, NULL),
                   DEAI_ENOTFOUND);
  blocks_buf_free(&buf);
}
END_TEST

START_TEST(finds_the_next_record) {
  blocks_buf buf = {0};
  blocks_record record;
  for (int i = 0; i + 1 < RECORDS; i++) {
    uint64_t found = 0;
    ck_assert_int_eq(blocks_record_find(fd, salt, ends[i] + 1, &found, &buf, NULL), DEAI_OK);
    ck_assert_uint_eq(found, ends[i + 1]);
    ck_assert_int_eq(blocks_record_read(fd, salt, found, &record, &buf, NULL), DEAI_OK);
    ck_assert_int_eq(deai_bytes_eq(blocks_buf_bytes(&buf), data_of((uint8_t)(i + 1))), 1);
  }
  uint64_t found = 0;
  ck_assert_int_eq(blocks_record_find(fd, salt, ends[RECORDS - 1] + 1, &found, &buf, NULL),
                   DEAI_ENOTFOUND);
  blocks_buf_free(&buf);
}
END_TEST

START_TEST(refuses_long_data) {
  blocks_record record = {.kind = BLOCKS_RECORD_BLOCK};
  static const uint8_t bytes[1];
  blocks_cid_of_block(BLOCKS_CODEC_RAW, (deai_bytes){0}, &record.cid);
  ck_assert_int_eq(blocks_record_write(fd, salt, ends[RECORDS], &record,
                                       deai_bytes_of(bytes, BLOCKS_RECORD_BYTES_MAX + 1), NULL),
                   DEAI_ETOOLARGE);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks/pack");
  TCase *tests = tcase_create("all");
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, a_damaged_header_is_seen);
  tcase_add_test(tests, every_flipped_bit_of_a_record_is_seen);
  tcase_add_test(tests, every_cut_is_seen);
  tcase_add_test(tests, finds_the_next_record);
  tcase_add_test(tests, refuses_long_data);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
