#include "plugins/storage/blocks/store_private.h"

#include "tests/plugins/storage/blocks/tools.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/base/banned.h"

START_TEST(a_damaged_block_is_never_served) {
  blocks_store *store = store_at("bad");
  blocks_cid a = put_text(store, "some bytes");
  blocks_buf buf = {0};
  blocks_error err = {0};
  ck_assert_int_eq(blocks_store_sync(store, NULL), DEAI_OK);
  flip("bad", "packs", ".pack", -3);
  ck_assert_int_eq(blocks_store_get(store, &a, &buf, &err), DEAI_EVERIFY);
  ck_assert_ptr_nonnull(strstr(err.text, "fetch it again"));
  ck_assert_int_eq(blocks_store_get(store, &a, &buf, &err), DEAI_ENOTFOUND);
  ck_assert_int_eq(blocks_store_has(store, &a, NULL), 0);
  a = put_text(store, "some bytes"); /* fetched again */
  ck_assert_int_eq(holds(store, &a), 1);
  blocks_buf_free(&buf);
  store_end(store);
}
END_TEST

START_TEST(identity_is_always_there) {
  blocks_store *store = store_at("identity");
  blocks_cid cid;
  blocks_buf buf = {0};
  uint32_t len = 9;
  ck_assert_int_eq(blocks_cid_of_text(deai_str_of("bafkqaaa"), &cid, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_store_has(store, &cid, &len), 1);
  ck_assert_uint_eq(len, 0);
  ck_assert_int_eq(blocks_store_get(store, &cid, &buf, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_store_put(store, &cid, (deai_bytes){0}, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_store_put(store, &cid, deai_bytes_of("x", 1), NULL), DEAI_EVERIFY);
  blocks_buf_free(&buf);
  store_end(store);
}
END_TEST

START_TEST(v0_and_v1_are_one_block) {
  blocks_store *store = store_at("versions");
  blocks_cid v1, v0;
  blocks_cid_of_block(BLOCKS_CODEC_DAG_PB, (deai_bytes){0}, &v1);
  ck_assert_int_eq(blocks_cid_v0(&v1, &v0), DEAI_OK);
  ck_assert_int_eq(blocks_store_put(store, &v0, (deai_bytes){0}, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_store_has(store, &v1, NULL), 1);
  ck_assert_int_eq(blocks_store_has(store, &v0, NULL), 1);
  store_end(store);
}
END_TEST

START_TEST(lists_with_a_cursor) {
  blocks_store *store = store_at("list");
  blocks_cid page[7];
  blocks_cid last;
  uint32_t count = 0;
  uint32_t all = 0;
  for (int i = 0; i < 100; i++) {
    char text[32];
    (void)snprintf(text, sizeof text, "block %d", i);
    (void)put_text(store, text);
  }
  ck_assert_int_eq(blocks_store_sync(store, NULL), DEAI_OK);
  do {
    ck_assert_int_eq(blocks_store_list(store, all ? &last : NULL, page, 7, &count, NULL), DEAI_OK);
    for (uint32_t i = 0; i < count; i++) {
      if (all + i > 0) ck_assert_int_lt(memcmp(last.bytes, page[i].bytes, 36), 0);
      last = page[i];
    }
    all += count;
  } while (count == 7);
  ck_assert_uint_eq(all, 100);
  store_end(store);
}
END_TEST

START_TEST(stat_counts_what_is_missing) {
  blocks_store *store = store_at("stat");
  blocks_import_result want = import_seed(NULL, "stat", 3u << 20, false);
  blocks_stat stat;
  ck_assert_int_eq(blocks_store_stat(store, &want.cid, &stat, NULL), DEAI_OK);
  ck_assert_uint_eq(stat.blocks, 1);
  ck_assert_uint_eq(stat.have, 0);
  (void)import_seed(store, "stat", 3u << 20, true);
  ck_assert_int_eq(blocks_store_stat(store, &want.cid, &stat, NULL), DEAI_OK);
  ck_assert_uint_eq(stat.blocks, 4);
  ck_assert_uint_eq(stat.have, 4);
  ck_assert_uint_eq(stat.size, 3u << 20);
  ck_assert_uint_eq(stat.pins, 1);
  store_end(store);
}
END_TEST

static void check_descriptor(int fd, const char *seed, uint64_t size) {
  uint8_t *want = malloc(size);
  keystream(seed, 0, want, size);
  uint8_t *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
  ck_assert_ptr_ne(map, MAP_FAILED);
  ck_assert_int_eq(memcmp(map, want, size), 0);
  ck_assert_int_eq(munmap(map, size), 0);
  ck_assert_int_lt(write(fd, "x", 1), 0);
  ck_assert_ptr_eq(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
  free(want);
}

START_TEST(opens_files_for_mapping) {
  static const uint64_t sizes[] = {1, 1000, 3u << 20, (4u << 20) - 1, 4u << 20, (5u << 20) + 1};
  blocks_store *store = store_at("open");
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    blocks_import_result file = import_seed(store, "open", sizes[i], false);
    int fd = -1;
    uint64_t size = 0;
    ck_assert_int_eq(blocks_store_open_file(store, &file.cid, &fd, &size, NULL), DEAI_OK);
    ck_assert_uint_eq(size, sizes[i]);
    check_descriptor(fd, "open", size);
    (void)close(fd);
  }
  blocks_cid none = cid_of_text("not here");
  int fd = -1;
  uint64_t size;
  ck_assert_int_eq(blocks_store_open_file(store, &none, &fd, &size, NULL), DEAI_ENOTFOUND);
  store_end(store);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks/lookup");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, a_damaged_block_is_never_served);
  tcase_add_test(tests, identity_is_always_there);
  tcase_add_test(tests, v0_and_v1_are_one_block);
  tcase_add_test(tests, lists_with_a_cursor);
  tcase_add_test(tests, stat_counts_what_is_missing);
  tcase_add_test(tests, opens_files_for_mapping);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
