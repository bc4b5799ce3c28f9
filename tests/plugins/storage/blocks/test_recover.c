#include "plugins/storage/blocks/store_private.h"

#include "tests/plugins/storage/blocks/tools.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

#define LARGE_BYTES (5u << 20)

static void append_bytes(const char *name, const char *folder, const char *suffix,
                         const char *bytes) {
  int fd = open(file_with(name, folder, suffix), O_WRONLY | O_APPEND);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(write(fd, bytes, strlen(bytes)), (ssize_t)strlen(bytes));
  (void)close(fd);
}

START_TEST(cuts_a_torn_tail) {
  blocks_store *store = store_at("torn");
  blocks_cid a = put_text(store, "a");
  blocks_usage usage;
  store_end(store);
  append_bytes("torn", "packs", ".pack", "DBLK and then nothing that is whole");
  store = store_at("torn");
  ck_assert_int_eq(blocks_store_usage(store, &usage), DEAI_OK);
  ck_assert_uint_eq(usage.cut_bytes, 35);
  ck_assert_int_eq(holds(store, &a), 1);
  blocks_cid b = put_text(store, "b");
  store_end(store);
  store = store_at("torn");
  ck_assert_int_eq(blocks_store_usage(store, &usage), DEAI_OK);
  ck_assert_uint_eq(usage.cut_bytes, 0);
  ck_assert_int_eq(holds(store, &b), 1);
  store_end(store);
}
END_TEST

START_TEST(rebuilds_a_lost_index) {
  blocks_store *store = store_at("lost");
  blocks_cid a = put_text(store, "a");
  blocks_import_result file = import_seed(store, "lost", LARGE_BYTES, true);
  blocks_usage usage;
  blocks_stat stat;
  store_end(store);
  remove_index("lost");
  store = store_at("lost");
  ck_assert_int_eq(blocks_store_usage(store, &usage), DEAI_OK);
  ck_assert_uint_eq(usage.rebuilt, 1);
  ck_assert_uint_eq(usage.files, 1);
  ck_assert_uint_eq(usage.pins, 1);
  ck_assert_int_eq(holds(store, &a), 1);
  ck_assert_int_eq(blocks_store_stat(store, &file.cid, &stat, NULL), DEAI_OK);
  ck_assert_uint_eq(stat.blocks, 6);
  ck_assert_uint_eq(stat.have, 6);
  ck_assert_uint_eq(stat.size, LARGE_BYTES);
  store_end(store);
}
END_TEST

START_TEST(rebuilds_a_damaged_index) {
  char path[4400];
  static const char garbage[16384] = "no index";
  blocks_store *store = store_at("damaged");
  blocks_cid a = put_text(store, "a");
  blocks_usage usage;
  store_end(store);
  (void)snprintf(path, sizeof path, "%s/index/data.mdb", store_path("damaged"));
  int fd = open(path, O_WRONLY);
  ck_assert_int_eq(pwrite(fd, garbage, sizeof garbage, 0), (ssize_t)sizeof garbage);
  (void)close(fd);
  store = store_at("damaged");
  ck_assert_int_eq(blocks_store_usage(store, &usage), DEAI_OK);
  ck_assert_uint_eq(usage.rebuilt, 1);
  ck_assert_int_eq(holds(store, &a), 1);
  store_end(store);
}
END_TEST

START_TEST(finds_its_place_behind_damage) {
  blocks_store *store = store_at("damage");
  blocks_cid a = put_text(store, "first block");
  blocks_cid b = put_text(store, "second block");
  blocks_cid c = put_text(store, "third block");
  store_end(store);
  flip("damage", "packs", ".pack", 24 + 20 + 36 + 11 + 20 + 36 + 3); /* inside the second */
  blocks_store_options options = {.rebuild = true};
  store = store_with("damage", &options);
  blocks_usage usage;
  ck_assert_int_eq(blocks_store_usage(store, &usage), DEAI_OK);
  ck_assert_uint_eq(usage.damaged, 1);
  ck_assert_int_eq(holds(store, &a), 1);
  ck_assert_int_eq(holds(store, &b), 0);
  ck_assert_int_eq(holds(store, &c), 1);
  store_end(store);
}
END_TEST

START_TEST(a_record_inside_a_block_is_no_record) {
  blocks_store *store = store_at("forged");
  blocks_cid pinned = cid_of_text("pin me");
  uint8_t forged[20 + 36 + 8] = {0x44, 0x42, 0x4c, 0x4b, BLOCKS_RECORD_PIN, 36};
  blocks_cid outer;
  blocks_put_u32(forged + 8, 8);
  forged[56] = 1; /* one reference */
  blocks_put_u32(forged + 12, blocks_crc32c(0, forged + 56, 8));
  memcpy(forged + 20, pinned.bytes, 36);
  blocks_put_u32(forged + 16, blocks_crc32c(blocks_crc32c(0, forged, 16), forged + 20, 36));
  blocks_cid_of_block(BLOCKS_CODEC_RAW, deai_bytes_of(forged, sizeof forged), &outer);
  ck_assert_int_eq(blocks_store_put(store, &outer, deai_bytes_of(forged, sizeof forged), NULL), 0);
  store_end(store);
  flip("forged", "packs", ".pack", 24 + 2); /* the outer record's head */
  blocks_store_options options = {.rebuild = true};
  uint64_t count = 9;
  store = store_with("forged", &options);
  ck_assert_int_eq(blocks_store_pins(store, &pinned, &count), DEAI_OK);
  ck_assert_uint_eq(count, 0);
  store_end(store);
}
END_TEST

START_TEST(drops_files_nobody_knows) {
  blocks_store *store = store_at("orphan");
  blocks_import_options options = {0};
  blocks_import *import;
  static uint8_t bytes[6u << 20];
  char path[4400];
  store_end(store);
  (void)snprintf(path, sizeof path, "%s/files/%012x.leaf", store_path("orphan"), 77);
  int fd = open(path, O_CREAT | O_WRONLY, 0600);
  ck_assert_int_eq(ftruncate(fd, 1000), 0);
  (void)close(fd);
  store = store_at("orphan");
  ck_assert_int_ne(access(path, F_OK), 0);
  ck_assert_int_eq(blocks_import_begin(store, &options, &import, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_import_write(import, deai_bytes_of(bytes, sizeof bytes), NULL), DEAI_OK);
  ck_assert_ptr_nonnull(file_with("orphan", "files", ".leaf"));
  blocks_import_end(import); /* given up */
  ck_assert_ptr_null(file_with("orphan", "files", ".leaf"));
  blocks_usage usage;
  ck_assert_int_eq(blocks_store_usage(store, &usage), DEAI_OK);
  ck_assert_uint_lt(usage.bytes, 1000);
  store_end(store);
}
END_TEST

START_TEST(a_file_gone_from_the_disk_is_counted_and_comes_again) {
  blocks_store *store = store_at("lostfile");
  (void)import_seed(store, "lostfile", LARGE_BYTES, true);
  blocks_usage usage;
  store_end(store);
  ck_assert_int_eq(unlink(file_with("lostfile", "files", ".leaf")), 0);
  store = store_at("lostfile");
  ck_assert_int_eq(blocks_store_usage(store, &usage), DEAI_OK);
  ck_assert_uint_eq(usage.lost_files, 1);
  ck_assert_uint_eq(usage.files, 0);
  blocks_import_result file = import_seed(store, "lostfile", LARGE_BYTES, false);
  int fd;
  uint64_t size;
  ck_assert_int_eq(blocks_store_open_file(store, &file.cid, &fd, &size, NULL), DEAI_OK);
  (void)close(fd);
  store_end(store);
}
END_TEST

START_TEST(rebuild_does_not_trust_leaves) {
  blocks_store *store = store_at("leaves");
  blocks_import_result file = import_seed(store, "leaves", LARGE_BYTES, false);
  blocks_stat stat;
  store_end(store);
  flip("leaves", "files", ".leaf", 2 << 20);
  blocks_store_options options = {.rebuild = true};
  store = store_with("leaves", &options);
  ck_assert_int_eq(blocks_store_stat(store, &file.cid, &stat, NULL), DEAI_OK);
  ck_assert_uint_eq(stat.have, 5);
  store_end(store);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks/recover");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, cuts_a_torn_tail);
  tcase_add_test(tests, rebuilds_a_lost_index);
  tcase_add_test(tests, rebuilds_a_damaged_index);
  tcase_add_test(tests, finds_its_place_behind_damage);
  tcase_add_test(tests, a_record_inside_a_block_is_no_record);
  tcase_add_test(tests, drops_files_nobody_knows);
  tcase_add_test(tests, a_file_gone_from_the_disk_is_counted_and_comes_again);
  tcase_add_test(tests, rebuild_does_not_trust_leaves);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
