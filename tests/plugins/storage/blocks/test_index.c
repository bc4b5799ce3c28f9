#include "plugins/storage/blocks/index.h"

#include "tests/plugins/storage/blocks/tools.h"

#include <string.h>
#include <sys/stat.h>

#include "host/base/banned.h"

static blocks_index *index_open;
static blocks_txn *txn;

static void setup(void) {
  bool fresh = false;
  blocks_head head;
  const char *folder = store_path("index");
  (void)mkdir(folder, 0700);
  ck_assert_int_eq(blocks_index_open(folder, &index_open, &fresh, &head, NULL), DEAI_OK);
  ck_assert(fresh);
  ck_assert_int_eq(blocks_index_write(index_open, &txn, NULL), DEAI_OK);
}

static void teardown(void) {
  blocks_index_abort(txn);
  blocks_index_close(index_open);
}

static blocks_place place_of(const char *text, uint64_t store, uint64_t offset) {
  return (blocks_place){.cid = cid_of_text(text),
                        .store = store,
                        .offset = offset,
                        .len = 10,
                        .crc = 20,
                        .flags = BLOCKS_PLACE_HERE,
                        .born = 3};
}

START_TEST(a_block_has_many_places) {
  blocks_place found[8];
  blocks_place a = place_of("a", 1, 100);
  blocks_place b = place_of("a", 2 | BLOCKS_STORE_FILE, 0);
  blocks_place other = place_of("b", 1, 0);
  ck_assert_int_eq(blocks_index_places(index_open, txn, &a.cid, NULL, found, 8), 0);
  ck_assert_int_eq(blocks_index_place_put(index_open, txn, &a), DEAI_OK);
  ck_assert_int_eq(blocks_index_place_put(index_open, txn, &b), DEAI_OK);
  ck_assert_int_eq(blocks_index_place_put(index_open, txn, &other), DEAI_OK);
  ck_assert_int_eq(blocks_index_places(index_open, txn, &a.cid, NULL, found, 8), 2);
  ck_assert_uint_eq(found[0].store, 1);
  ck_assert_uint_eq(found[1].store, 2 | BLOCKS_STORE_FILE);
  ck_assert_uint_eq(found[0].offset, 100);
  ck_assert(found[0].len == 10 && found[0].crc == 20 && found[0].born == 3);
  ck_assert_int_eq(blocks_index_places(index_open, txn, &a.cid, &a, found, 8), 1);
  ck_assert_int_eq(blocks_index_place_has(index_open, txn, &a), 1);
  ck_assert_int_eq(blocks_index_place_drop(index_open, txn, &a), DEAI_OK);
  ck_assert_int_eq(blocks_index_place_drop(index_open, txn, &a), DEAI_OK);
  ck_assert_int_eq(blocks_index_place_has(index_open, txn, &a), 0);
}
END_TEST

START_TEST(a_list_names_a_block_once) {
  blocks_cid cids[8];
  uint8_t key[BLOCKS_PLACE_KEY_MAX];
  uint32_t key_len = 0;
  blocks_place places[8];
  for (uint64_t i = 0; i < 4; i++) {
    blocks_place place = place_of("a", i + 1, 0);
    ck_assert_int_eq(blocks_index_place_put(index_open, txn, &place), DEAI_OK);
  }
  blocks_place b = place_of("b", 1, 0);
  b.flags = 0; /* not here */
  ck_assert_int_eq(blocks_index_place_put(index_open, txn, &b), DEAI_OK);
  ck_assert_int_eq(blocks_index_list(index_open, txn, NULL, cids, 8), 1);
  ck_assert_int_eq(blocks_index_list(index_open, txn, &cids[0], cids, 8), 0);
  ck_assert_int_eq(blocks_index_scan(index_open, txn, key, &key_len, places, 3), 3);
  ck_assert_int_eq(blocks_index_scan(index_open, txn, key, &key_len, places, 3), 2);
  ck_assert_int_eq(blocks_index_scan(index_open, txn, key, &key_len, places, 3), 0);
}
END_TEST

START_TEST(files_roots_and_bits) {
  blocks_file_spec file = {
      .number = 5, .size = 99, .leaf_bytes = 10, .leaves = 10, .have = 4, .born = 2};
  blocks_file_spec found;
  uint8_t bits[BLOCKS_SEGMENT_BYTES] = {1, 2, 3};
  uint8_t read[BLOCKS_SEGMENT_BYTES];
  file.root = cid_of_text("root");
  ck_assert_int_eq(blocks_index_file(index_open, txn, 5, &found), DEAI_ENOTFOUND);
  ck_assert_int_eq(blocks_index_file_put(index_open, txn, &file, true), DEAI_OK);
  ck_assert_int_eq(blocks_index_file_of_root(index_open, txn, &file.root, &found), DEAI_OK);
  ck_assert(found.number == 5 && found.size == 99 && found.have == 4 && found.born == 2);
  ck_assert_int_eq(blocks_index_file_next(index_open, txn, 4, &found), DEAI_OK);
  ck_assert_int_eq(blocks_index_file_next(index_open, txn, 5, &found), DEAI_ENOTFOUND);
  ck_assert_int_eq(blocks_index_bits(index_open, txn, 5, 0, read), DEAI_OK);
  ck_assert_uint_eq(read[0], 0);
  ck_assert_int_eq(blocks_index_bits_put(index_open, txn, 5, 0, bits), DEAI_OK);
  ck_assert_int_eq(blocks_index_bits(index_open, txn, 5, 0, read), DEAI_OK);
  ck_assert_mem_eq(bits, read, sizeof bits);
  blocks_file_spec newer = file;
  newer.number = 6;
  ck_assert_int_eq(blocks_index_file_put(index_open, txn, &newer, true), DEAI_OK);
  ck_assert_int_eq(blocks_index_file_drop(index_open, txn, &file), DEAI_OK);
  ck_assert_int_eq(blocks_index_file_of_root(index_open, txn, &file.root, &found), DEAI_OK);
  ck_assert_uint_eq(found.number, 6);
  ck_assert_int_eq(blocks_index_file_drop(index_open, txn, &newer), DEAI_OK);
  ck_assert_int_eq(blocks_index_file_of_root(index_open, txn, &file.root, &found), DEAI_ENOTFOUND);
}
END_TEST

START_TEST(pins_and_sets) {
  blocks_cid a = cid_of_text("a");
  blocks_cid b = cid_of_text("b");
  blocks_cid found[4];
  uint64_t count = 9;
  ck_assert_int_eq(blocks_index_pin(index_open, txn, &a, &count), DEAI_OK);
  ck_assert_uint_eq(count, 0);
  ck_assert_int_eq(blocks_index_pin_put(index_open, txn, &a, 3), DEAI_OK);
  ck_assert_int_eq(blocks_index_pin(index_open, txn, &a, &count), DEAI_OK);
  ck_assert_uint_eq(count, 3);
  ck_assert_int_eq(blocks_index_set_list(index_open, txn, BLOCKS_SET_PIN, NULL, found, 4), 1);
  ck_assert_int_eq(blocks_index_pin_put(index_open, txn, &a, 0), DEAI_OK);
  ck_assert_int_eq(blocks_index_set_list(index_open, txn, BLOCKS_SET_PIN, NULL, found, 4), 0);
  ck_assert_int_eq(blocks_index_set_add(index_open, txn, BLOCKS_SET_MARK, &a), 1);
  ck_assert_int_eq(blocks_index_set_add(index_open, txn, BLOCKS_SET_MARK, &a), 0);
  ck_assert_int_eq(blocks_index_set_add(index_open, txn, BLOCKS_SET_TODO, &b), 1);
  ck_assert_int_eq(blocks_index_set_has(index_open, txn, BLOCKS_SET_MARK, &b), 0);
  ck_assert_int_eq(blocks_index_set_drop(index_open, txn, BLOCKS_SET_TODO, &b), DEAI_OK);
  ck_assert_int_eq(blocks_index_set_clear(index_open, txn, BLOCKS_SET_MARK), DEAI_OK);
  ck_assert_int_eq(blocks_index_set_has(index_open, txn, BLOCKS_SET_MARK, &a), 0);
}
END_TEST

START_TEST(the_head_comes_back) {
  blocks_head head = {.pack = 1, .pack_end = 2, .next_file = 3, .next_pack = 4, .collection = 5};
  blocks_head found;
  bool fresh = true;
  ck_assert_int_eq(blocks_index_head_put(index_open, txn, &head), DEAI_OK);
  ck_assert_int_eq(blocks_index_commit(txn, NULL), DEAI_OK);
  blocks_index_close(index_open);
  ck_assert_int_eq(blocks_index_open(store_path("index"), &index_open, &fresh, &found, NULL), 0);
  ck_assert(!fresh);
  ck_assert(found.pack == 1 && found.pack_end == 2 && found.next_file == 3 &&
            found.next_pack == 4 && found.collection == 5);
  ck_assert_int_eq(blocks_index_write(index_open, &txn, NULL), DEAI_OK);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks/index");
  TCase *tests = tcase_create("all");
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, a_block_has_many_places);
  tcase_add_test(tests, a_list_names_a_block_once);
  tcase_add_test(tests, files_roots_and_bits);
  tcase_add_test(tests, pins_and_sets);
  tcase_add_test(tests, the_head_comes_back);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
