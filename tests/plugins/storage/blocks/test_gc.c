#include "plugins/storage/blocks/store_private.h"

#include "tests/plugins/storage/blocks/tools.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

#define LARGE_BYTES (5u << 20)

static blocks_gc collect(blocks_store *store, uint32_t step) {
  blocks_gc state = {0};
  blocks_error err = {0};
  for (int i = 0; !state.finished; i++) {
    int32_t status = blocks_store_gc(store, &state, step, &err);
    ck_assert_msg(status == DEAI_OK, "gc: %s: %s", deai_status_name(status), err.text);
    ck_assert_int_lt(i, 100000);
  }
  return state;
}

static uint64_t bytes_of(blocks_store *store) {
  blocks_usage usage;
  ck_assert_int_eq(blocks_store_usage(store, &usage), DEAI_OK);
  return usage.bytes;
}

START_TEST(keeps_what_a_pin_reaches) {
  blocks_store *store = store_at("reach");
  blocks_import_result kept = import_seed(store, "kept", (3u << 20) + 5, true);
  blocks_import_result gone = import_seed(store, "gone", (3u << 20) + 5, false);
  blocks_cid loose = put_text(store, "loose");
  blocks_stat stat;
  blocks_gc state = collect(store, 2);
  ck_assert_uint_eq(state.kept, 5);
  ck_assert_uint_eq(state.freed, 6);
  ck_assert_int_eq(holds(store, &loose), 0);
  ck_assert_int_eq(holds(store, &gone.cid), 0);
  ck_assert_int_eq(blocks_store_stat(store, &kept.cid, &stat, NULL), DEAI_OK);
  ck_assert_uint_eq(stat.have, stat.blocks);
  ck_assert_int_eq(blocks_store_unpin(store, &kept.cid, NULL), DEAI_OK);
  state = collect(store, 100);
  ck_assert_uint_eq(state.kept, 0);
  loose = put_text(store, "loose");
  ck_assert_int_eq(holds(store, &loose), 1);
  store_end(store);
}
END_TEST

START_TEST(drops_files_and_saves_shared_leaves) {
  blocks_store *store = store_at("files");
  blocks_import_result large = import_seed(store, "shared", LARGE_BYTES, false);
  uint8_t *leaf = malloc(BLOCKS_CHUNK_BYTES);
  blocks_cid pinned;
  keystream("shared", 2u << 20, leaf, BLOCKS_CHUNK_BYTES);
  blocks_cid_of_block(BLOCKS_CODEC_RAW, deai_bytes_of(leaf, BLOCKS_CHUNK_BYTES), &pinned);
  free(leaf);
  ck_assert_int_eq(blocks_store_pin(store, &pinned, NULL), DEAI_OK);
  blocks_gc state = collect(store, 10);
  ck_assert_uint_ge(state.bytes_freed, LARGE_BYTES);
  ck_assert_ptr_null(file_with("files", "files", ".leaf"));
  ck_assert_int_eq(holds(store, &pinned), 1);
  ck_assert_int_eq(holds(store, &large.cid), 0);
  ck_assert_uint_lt(bytes_of(store), 2u << 20);
  large = import_seed(store, "shared", LARGE_BYTES, true);
  (void)collect(store, 10);
  int fd;
  uint64_t size;
  ck_assert_int_eq(blocks_store_open_file(store, &large.cid, &fd, &size, NULL), DEAI_OK);
  (void)close(fd);
  store_end(store);
}
END_TEST

START_TEST(writes_half_dead_packs_anew) {
  blocks_store_options options = {.pack_bytes_max = 4u << 20};
  blocks_store *store = store_with("packs", &options);
  blocks_cid keep[3];
  uint8_t *block = malloc(600u << 10);
  for (uint8_t i = 0; i < 30; i++) {
    blocks_cid cid;
    memset(block, i + 1, 600u << 10);
    blocks_cid_of_block(BLOCKS_CODEC_RAW, deai_bytes_of(block, 600u << 10), &cid);
    ck_assert_int_eq(blocks_store_put(store, &cid, deai_bytes_of(block, 600u << 10), NULL), 0);
    if (i % 10 == 0) {
      keep[i / 10] = cid;
      ck_assert_int_eq(blocks_store_pin(store, &cid, NULL), DEAI_OK);
    }
  }
  free(block);
  uint64_t before = bytes_of(store);
  blocks_gc state = collect(store, 100);
  ck_assert_uint_eq(state.kept, 3);
  ck_assert_uint_lt(bytes_of(store), before / 2);
  ck_assert_uint_le(state.bytes_freed - (before - bytes_of(store)), 4 * BLOCKS_PACK_HEAD_BYTES);
  for (int i = 0; i < 3; i++)
    ck_assert_int_eq(holds(store, &keep[i]), 1);
  store_end(store);
  options.rebuild = true; /* the log alone tells the same */
  store = store_with("packs", &options);
  uint64_t pins;
  for (int i = 0; i < 3; i++) {
    ck_assert_int_eq(holds(store, &keep[i]), 1);
    ck_assert_int_eq(blocks_store_pins(store, &keep[i], &pins), DEAI_OK);
    ck_assert_uint_eq(pins, 1);
  }
  store_end(store);
}
END_TEST

START_TEST(gives_back_the_pack_that_is_written) {
  blocks_store *store = store_at("current");
  blocks_cid pinned = put_text(store, "kept");
  ck_assert_int_eq(blocks_store_pin(store, &pinned, NULL), DEAI_OK);
  (void)import_seed(store, "gone", 3u << 20, false);
  (void)collect(store, 100);
  ck_assert_uint_lt(bytes_of(store), 1000);
  ck_assert_int_eq(holds(store, &pinned), 1);
  store_end(store);
}
END_TEST

START_TEST(keeps_what_comes_meanwhile) {
  blocks_store *store = store_at("meanwhile");
  blocks_import_result old = import_seed(store, "old", LARGE_BYTES, false);
  blocks_cid again = put_text(store, "there before");
  blocks_gc state = {0};
  blocks_gc second = {0};
  ck_assert_int_eq(blocks_store_sync(store, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_store_gc(store, &state, 1, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_store_gc(store, &second, 1, NULL), DEAI_EBUSY);
  (void)put_text(store, "there before");
  blocks_cid fresh = put_text(store, "new");
  blocks_import_result same = import_seed(store, "old", LARGE_BYTES, false);
  ck_assert_int_eq(blocks_cid_equal(&old.cid, &same.cid), 1);
  while (!state.finished)
    ck_assert_int_eq(blocks_store_gc(store, &state, 3, NULL), DEAI_OK);
  ck_assert_int_eq(holds(store, &again), 1);
  ck_assert_int_eq(holds(store, &fresh), 1);
  int fd;
  uint64_t size;
  ck_assert_int_eq(blocks_store_open_file(store, &old.cid, &fd, &size, NULL), DEAI_OK);
  (void)close(fd);
  blocks_stat stat;
  ck_assert_int_eq(blocks_store_stat(store, &old.cid, &stat, NULL), DEAI_OK);
  ck_assert_uint_eq(stat.have, 6);
  blocks_usage usage;
  ck_assert_int_eq(blocks_store_usage(store, &usage), DEAI_OK);
  ck_assert_uint_eq(usage.files, 1);
  store_end(store);
}
END_TEST

START_TEST(waits_for_imports_and_can_be_given_up) {
  blocks_store *store = store_at("giveup");
  blocks_import_options options = {0};
  blocks_import *import;
  blocks_gc state = {0};
  ck_assert_int_eq(blocks_import_begin(store, &options, &import, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_store_gc(store, &state, 1, NULL), DEAI_EBUSY);
  blocks_import_end(import);
  (void)put_text(store, "x");
  ck_assert_int_eq(blocks_store_gc(store, &state, 1, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_store_gc(store, &state, 1, NULL), DEAI_OK);
  blocks_store_gc_end(store, &state);
  blocks_gc all = collect(store, 1);
  ck_assert_uint_eq(all.freed, 1);
  store_end(store);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks/gc");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, keeps_what_a_pin_reaches);
  tcase_add_test(tests, drops_files_and_saves_shared_leaves);
  tcase_add_test(tests, writes_half_dead_packs_anew);
  tcase_add_test(tests, gives_back_the_pack_that_is_written);
  tcase_add_test(tests, keeps_what_comes_meanwhile);
  tcase_add_test(tests, waits_for_imports_and_can_be_given_up);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
