#include "plugins/storage/blocks/store_private.h"

#include "tests/plugins/storage/blocks/tools.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/base/banned.h"

#define LARGE_BYTES (5u << 20)

typedef struct bad_list {
  blocks_cid cids[16];
  int count;
} bad_list;

static void note_bad(void *user, const blocks_cid *cid) {
  bad_list *list = user;
  if (list->count < 16) list->cids[list->count] = *cid;
  list->count++;
}

static uint64_t verify_all(blocks_store *store, bad_list *list, uint32_t *steps) {
  blocks_verify state = {0};
  *steps = 0;
  while (!state.finished) {
    blocks_error err = {0};
    ck_assert_msg(blocks_store_verify(store, &state, 1, &err, list, note_bad) == DEAI_OK, "%s",
                  err.text);
    (*steps)++;
    ck_assert_uint_lt(*steps, 1000);
  }
  ck_assert_uint_eq(state.bad, (uint64_t)list->count);
  return state.done;
}

START_TEST(names_a_flipped_block_and_lets_it_come_back) {
  blocks_store *store = store_at("flip");
  blocks_cid a = put_text(store, "block a");
  blocks_cid b = put_text(store, "block b");
  bad_list bad = {0};
  uint32_t steps;
  ck_assert_int_eq(blocks_store_sync(store, NULL), DEAI_OK);
  ck_assert_uint_eq(verify_all(store, &bad, &steps), 2);
  ck_assert_int_eq(bad.count, 0);
  flip("flip", "packs", ".pack", -1);
  (void)verify_all(store, &bad, &steps);
  ck_assert_int_eq(bad.count, 1);
  ck_assert_int_eq(blocks_cid_equal(&bad.cids[0], &b), 1);
  ck_assert_int_eq(blocks_store_has(store, &b, NULL), 0);
  ck_assert_int_eq(holds(store, &a), 1);
  b = put_text(store, "block b");
  store_end(store);
  store = store_at("flip");
  ck_assert_int_eq(holds(store, &b), 1);
  store_end(store);
}
END_TEST

START_TEST(a_flipped_leaf_goes_back_to_its_place) {
  blocks_store *store = store_at("leaf");
  blocks_import_result file = import_seed(store, "leaf", LARGE_BYTES, true);
  bad_list bad = {0};
  uint32_t steps;
  int fd = -1;
  uint64_t size;
  uint8_t *leaf = malloc(BLOCKS_CHUNK_BYTES);
  flip("leaf", "files", ".leaf", (3 << 20) + 5);
  (void)verify_all(store, &bad, &steps);
  ck_assert_int_eq(bad.count, 1);
  ck_assert_int_eq(blocks_store_open_file(store, &file.cid, &fd, &size, NULL), DEAI_ENOTFOUND);
  keystream("leaf", 3u << 20, leaf, BLOCKS_CHUNK_BYTES);
  ck_assert_int_eq(blocks_store_put(store, &bad.cids[0], deai_bytes_of(leaf, 1u << 20), NULL), 0);
  ck_assert_int_eq(blocks_store_sync(store, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_store_open_file(store, &file.cid, &fd, &size, NULL), DEAI_OK);
  (void)close(fd);
  bad.count = 0;
  (void)verify_all(store, &bad, &steps);
  ck_assert_int_eq(bad.count, 0);
  free(leaf);
  store_end(store);
}
END_TEST

START_TEST(a_lost_pack_is_bad_blocks) {
  blocks_store *store = store_at("gone");
  blocks_cid a = put_text(store, "a");
  bad_list bad = {0};
  uint32_t steps;
  store_end(store);
  ck_assert_int_eq(unlink(file_with("gone", "packs", ".pack")), 0);
  store = store_at("gone");
  (void)verify_all(store, &bad, &steps);
  ck_assert_int_eq(bad.count, 1);
  ck_assert_int_eq(blocks_cid_equal(&bad.cids[0], &a), 1);
  a = put_text(store, "a");
  ck_assert_int_eq(holds(store, &a), 1);
  store_end(store);
}
END_TEST

START_TEST(goes_in_steps) {
  blocks_store *store = store_at("steps");
  bad_list bad = {0};
  uint32_t steps;
  for (int i = 0; i < 1000; i++) {
    char text[32];
    (void)snprintf(text, sizeof text, "step %d", i);
    (void)put_text(store, text);
  }
  ck_assert_int_eq(blocks_store_sync(store, NULL), DEAI_OK);
  ck_assert_uint_eq(verify_all(store, &bad, &steps), 1000);
  ck_assert_uint_ge(steps, 4);
  store_end(store);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks/verify");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, names_a_flipped_block_and_lets_it_come_back);
  tcase_add_test(tests, a_flipped_leaf_goes_back_to_its_place);
  tcase_add_test(tests, a_lost_pack_is_bad_blocks);
  tcase_add_test(tests, goes_in_steps);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
