#include "plugins/storage/blocks/store.h"

#include "tests/plugins/storage/blocks/tools.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/base/banned.h"

START_TEST(refuses_wrong_blocks) {
  blocks_store *store = store_at("refuse");
  blocks_cid cid = cid_of_text("right");
  blocks_error err = {0};
  ck_assert_int_eq(blocks_store_put(store, &cid, deai_bytes_of("wrong", 5), &err), DEAI_EVERIFY);
  ck_assert_uint_gt(strlen(err.text), 20);
  ck_assert_int_eq(blocks_store_has(store, &cid, NULL), 0);
  uint8_t digest[32] = {1};
  ck_assert_int_eq(blocks_cid_make(BLOCKS_CODEC_RAW, 0x1e, deai_bytes_of(digest, 32), &cid),
                   DEAI_OK);
  ck_assert_int_eq(blocks_store_put(store, &cid, deai_bytes_of("x", 1), NULL), DEAI_EUNSUPPORTED);
  uint8_t *large = calloc(1, BLOCKS_BLOCK_BYTES_MAX + 1u);
  blocks_cid_of_block(BLOCKS_CODEC_RAW, deai_bytes_of(large, BLOCKS_BLOCK_BYTES_MAX + 1u), &cid);
  ck_assert_int_eq(
      blocks_store_put(store, &cid, deai_bytes_of(large, BLOCKS_BLOCK_BYTES_MAX + 1u), NULL),
      DEAI_ETOOLARGE);
  free(large);
  store_end(store);
}
END_TEST

START_TEST(refuses_a_second_process) {
  blocks_store *store = store_at("lock");
  blocks_store_options options = {.folder = store_path("lock")};
  blocks_store *second = NULL;
  ck_assert_int_eq(blocks_store_open(&options, &second, NULL), DEAI_EBUSY);
  options.folder = "/nowhere/at/all";
  ck_assert_int_eq(blocks_store_open(&options, &second, NULL), DEAI_EIO);
  options.pack_bytes_max = 100;
  ck_assert_int_eq(blocks_store_open(&options, &second, NULL), DEAI_EINVAL);
  store_end(store);
}
END_TEST

START_TEST(keeps_blocks_over_a_reopen) {
  blocks_store *store = store_at("reopen");
  blocks_cid a = put_text(store, "a");
  ck_assert_int_eq(holds(store, &a), 1); /* queued blocks are readable */
  ck_assert_int_eq(blocks_store_sync(store, NULL), DEAI_OK);
  blocks_cid b = put_text(store, "b");
  ck_assert_int_eq(holds(store, &a), 1);
  store_end(store);
  store = store_at("reopen");
  uint32_t len = 0;
  ck_assert_int_eq(holds(store, &a), 1);
  ck_assert_int_eq(blocks_store_has(store, &b, &len), 1);
  ck_assert_uint_eq(len, 1);
  blocks_usage usage;
  ck_assert_int_eq(blocks_store_usage(store, &usage), DEAI_OK);
  ck_assert_uint_eq(usage.places, 2);
  ck_assert_uint_eq(usage.rebuilt, 0);
  store_end(store);
}
END_TEST

START_TEST(stores_a_block_once) {
  blocks_store *store = store_at("once");
  blocks_usage before, after;
  (void)put_text(store, "double");
  (void)put_text(store, "double");
  ck_assert_int_eq(blocks_store_sync(store, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_store_usage(store, &before), DEAI_OK);
  (void)put_text(store, "double");
  ck_assert_int_eq(blocks_store_sync(store, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_store_usage(store, &after), DEAI_OK);
  ck_assert_uint_eq(before.bytes, after.bytes);
  ck_assert_uint_eq(after.places, 1);
  store_end(store);
}
END_TEST

START_TEST(never_passes_its_cap) {
  blocks_store_options options = {.bytes_max = 4000};
  blocks_store *store = store_with("cap", &options);
  char text[512];
  blocks_error err = {0};
  int32_t status = DEAI_OK;
  int done = 0;
  memset(text, 'c', sizeof text);
  for (int i = 0; i < 100 && status == DEAI_OK; i++) {
    (void)snprintf(text, sizeof text, "%d", i);
    blocks_cid cid;
    blocks_cid_of_block(BLOCKS_CODEC_RAW, deai_bytes_of(text, sizeof text), &cid);
    status = blocks_store_put(store, &cid, deai_bytes_of(text, sizeof text), &err);
    done += status == DEAI_OK;
  }
  ck_assert_int_eq(status, DEAI_EFULL);
  ck_assert_int_eq(done, 7); /* 7 * (512 + 20 + 36) + 24 */
  ck_assert_ptr_nonnull(strstr(err.text, "4000"));
  ck_assert_int_eq(blocks_store_sync(store, NULL), DEAI_OK);
  blocks_usage usage;
  ck_assert_int_eq(blocks_store_usage(store, &usage), DEAI_OK);
  ck_assert_uint_le(usage.bytes, 4000);
  ck_assert_uint_eq(usage.places, 7);
  store_end(store);
}
END_TEST

START_TEST(counts_pins) {
  blocks_store *store = store_at("pins");
  blocks_cid a = cid_of_text("a"); /* not there: a pin may come before its blocks */
  blocks_cid b = put_text(store, "b");
  uint64_t count = 9;
  ck_assert_int_eq(blocks_store_unpin(store, &a, NULL), DEAI_ENOTFOUND);
  ck_assert_int_eq(blocks_store_pin(store, &a, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_store_sync(store, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_store_pin(store, &a, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_store_pin(store, &b, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_store_unpin(store, &b, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_store_pins(store, &a, &count), DEAI_OK);
  ck_assert_uint_eq(count, 2);
  store_end(store);
  for (int rebuild = 0; rebuild < 2; rebuild++) {
    blocks_store_options options = {.rebuild = rebuild != 0};
    blocks_cid found[4];
    uint32_t found_count = 0;
    store = store_with("pins", &options);
    ck_assert_int_eq(blocks_store_pins(store, &a, &count), DEAI_OK);
    ck_assert_uint_eq(count, 2);
    ck_assert_int_eq(blocks_store_pins(store, &b, &count), DEAI_OK);
    ck_assert_uint_eq(count, 0);
    ck_assert_int_eq(blocks_store_list_pins(store, NULL, found, 4, &found_count, NULL), DEAI_OK);
    ck_assert_uint_eq(found_count, 1);
    ck_assert_int_eq(blocks_cid_equal(&found[0], &a), 1);
    store_end(store);
  }
}
END_TEST

START_TEST(rolls_to_the_next_pack) {
  blocks_store_options options = {.pack_bytes_max = 2 * (2u << 20)};
  blocks_store *store = store_with("roll", &options);
  uint8_t *block = malloc(1u << 20);
  blocks_cid cids[9];
  for (uint8_t i = 0; i < 9; i++) {
    memset(block, i, 1u << 20);
    blocks_cid_of_block(BLOCKS_CODEC_RAW, deai_bytes_of(block, 1u << 20), &cids[i]);
    ck_assert_int_eq(blocks_store_put(store, &cids[i], deai_bytes_of(block, 1u << 20), NULL), 0);
  }
  ck_assert_int_eq(blocks_store_sync(store, NULL), DEAI_OK);
  blocks_usage usage;
  ck_assert_int_eq(blocks_store_usage(store, &usage), DEAI_OK);
  ck_assert_uint_eq(usage.packs, 3);
  store_end(store);
  store = store_with("roll", &options);
  for (int i = 0; i < 9; i++)
    ck_assert_int_eq(holds(store, &cids[i]), 1);
  free(block);
  store_end(store);
}
END_TEST

typedef struct writer {
  blocks_store *store;
  int number;
} writer;

static void *write_some(void *user) {
  writer *w = user;
  for (int i = 0; i < 200; i++) {
    char text[64];
    (void)snprintf(text, sizeof text, "writer %d block %d", w->number, i % 150 + w->number % 2);
    blocks_cid cid = cid_of_text(text);
    blocks_buf buf = {0};
    if (blocks_store_put(w->store, &cid, deai_bytes_of(text, strlen(text)), NULL) != 0) return w;
    if (i % 10 == 0 && blocks_store_sync(w->store, NULL) != 0) return w;
    int32_t status = blocks_store_get(w->store, &cid, &buf, NULL);
    blocks_buf_free(&buf);
    if (status != DEAI_OK) return w;
  }
  return NULL;
}

START_TEST(serves_many_threads) {
  blocks_store *store = store_at("threads");
  pthread_t threads[6];
  writer writers[6];
  for (int i = 0; i < 6; i++) {
    writers[i] = (writer){.store = store, .number = i};
    ck_assert_int_eq(pthread_create(&threads[i], NULL, write_some, &writers[i]), 0);
  }
  for (int i = 0; i < 6; i++) {
    void *failed = NULL;
    ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
    ck_assert_ptr_null(failed);
  }
  store_end(store);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks/store");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, refuses_wrong_blocks);
  tcase_add_test(tests, refuses_a_second_process);
  tcase_add_test(tests, keeps_blocks_over_a_reopen);
  tcase_add_test(tests, stores_a_block_once);
  tcase_add_test(tests, never_passes_its_cap);
  tcase_add_test(tests, counts_pins);
  tcase_add_test(tests, rolls_to_the_next_pack);
  tcase_add_test(tests, serves_many_threads);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
