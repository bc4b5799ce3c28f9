#include "plugins/storage/blocks/store_private.h"

#include "tests/plugins/storage/blocks/tools.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

#define SIZE   ((9u << 20) + 77)
#define LEAVES 10

/* copies the inner nodes of a file from one store to another */
static int32_t copy_inner(void *user, const blocks_cid *cid, deai_bytes block) {
  if (cid->codec == BLOCKS_CODEC_RAW) return DEAI_OK;
  return blocks_store_put(user, cid, block, NULL);
}

static blocks_cid give_inner(blocks_store *from, blocks_store *to, const char *seed) {
  blocks_import_result file = import_seed(from, seed, SIZE, false);
  ck_assert_int_eq(blocks_dag_each(blocks_store_source(from), &file.cid, false, (blocks_caps){0},
                                   NULL, to, copy_inner, NULL),
                   DEAI_OK);
  return file.cid;
}

static void put_leaf(blocks_file *file, uint32_t leaf, const char *seed) {
  uint8_t *bytes = malloc(BLOCKS_CHUNK_BYTES);
  uint64_t at = (uint64_t)leaf << 20;
  size_t len = SIZE - at < BLOCKS_CHUNK_BYTES ? (size_t)(SIZE - at) : BLOCKS_CHUNK_BYTES;
  keystream(seed, at, bytes, len);
  ck_assert_int_eq(blocks_file_put(file, leaf, deai_bytes_of(bytes, len), NULL), DEAI_OK);
  free(bytes);
}

START_TEST(refuses_what_is_no_file) {
  blocks_store *store = store_at("none");
  blocks_file *file = NULL;
  blocks_cid unknown = cid_of_text("x");
  blocks_cid_of_block(BLOCKS_CODEC_DAG_PB, deai_bytes_of("?", 1), &unknown);
  ck_assert_int_eq(blocks_file_begin(store, &unknown, &file, NULL), DEAI_ENOTFOUND);
  blocks_import_result small = import_seed(store, "small", 3u << 20, false);
  ck_assert_int_eq(blocks_file_begin(store, &small.cid, &file, NULL), DEAI_EUNSUPPORTED);
  small = import_seed(store, "small", 100, false);
  ck_assert_int_eq(blocks_file_begin(store, &small.cid, &file, NULL), DEAI_EUNSUPPORTED);
  store_end(store);
}
END_TEST

START_TEST(refuses_uneven_leaves) {
  blocks_store *store = store_at("uneven");
  blocks_child children[4];
  blocks_child root;
  blocks_buf block = {0};
  blocks_file *file = NULL;
  static const uint64_t sizes[] = {2u << 20, 1u << 20, 2u << 20, 1};
  for (int i = 0; i < 4; i++) {
    children[i].cid = cid_of_text("never read");
    children[i].file_bytes = children[i].dag_bytes = sizes[i];
  }
  ck_assert_int_eq(blocks_unixfs_file_node(children, 4, &block, &root), DEAI_OK);
  ck_assert_int_eq(blocks_store_put(store, &root.cid, blocks_buf_bytes(&block), NULL), DEAI_OK);
  ck_assert_int_eq(blocks_file_begin(store, &root.cid, &file, NULL), DEAI_EUNSUPPORTED);
  blocks_buf_free(&block);
  store_end(store);
}
END_TEST

START_TEST(fetches_leaf_by_leaf_over_restarts) {
  blocks_store *from = store_at("from");
  blocks_store *to = store_at("to");
  blocks_file *file = NULL;
  blocks_cid cid;
  uint32_t leaf = 0;
  uint32_t have = 9;
  int fd;
  uint64_t size;
  blocks_cid root = give_inner(from, to, "fetch");
  ck_assert_int_eq(blocks_file_begin(to, &root, &file, NULL), DEAI_OK);
  ck_assert_uint_eq(blocks_file_leaves(file, &have), LEAVES);
  ck_assert_uint_eq(have, 0);
  ck_assert_int_eq(blocks_file_put(file, 0, deai_bytes_of("short", 5), NULL), DEAI_EVERIFY);
  ck_assert_int_eq(blocks_file_put(file, LEAVES, deai_bytes_of("short", 5), NULL), DEAI_EINVAL);
  put_leaf(file, 9, "fetch");
  put_leaf(file, 4, "fetch");
  ck_assert_int_eq(blocks_file_missing(file, 4, &leaf, &cid), 1);
  ck_assert_uint_eq(leaf, 5);
  blocks_file_end(file);
  store_end(to);
  to = store_at("to");
  ck_assert_int_eq(blocks_file_begin(to, &root, &file, NULL), DEAI_OK);
  (void)blocks_file_leaves(file, &have);
  ck_assert_uint_eq(have, 2);
  ck_assert_int_eq(blocks_store_open_file(to, &root, &fd, &size, NULL), DEAI_ENOTFOUND);
  for (leaf = 0; blocks_file_missing(file, leaf, &leaf, &cid) == 1;)
    put_leaf(file, leaf, "fetch");
  blocks_file_end(file);
  ck_assert_int_eq(blocks_store_sync(to, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_store_open_file(to, &root, &fd, &size, NULL), DEAI_OK);
  ck_assert_uint_eq(size, SIZE);
  (void)close(fd);
  store_end(from);
  store_end(to);
}
END_TEST

START_TEST(import_fills_a_begun_file) {
  blocks_store *from = store_at("from2");
  blocks_store *to = store_at("to2");
  blocks_file *file = NULL;
  blocks_usage usage;
  int fd;
  uint64_t size;
  blocks_cid root = give_inner(from, to, "fill");
  ck_assert_int_eq(blocks_file_begin(to, &root, &file, NULL), DEAI_OK);
  blocks_file_end(file);
  (void)import_seed(to, "fill", SIZE, false);
  (void)import_seed(to, "fill", SIZE, false); /* once more: nothing is stored twice */
  ck_assert_int_eq(blocks_store_open_file(to, &root, &fd, &size, NULL), DEAI_OK);
  (void)close(fd);
  ck_assert_int_eq(blocks_store_usage(to, &usage), DEAI_OK);
  ck_assert_uint_eq(usage.files, 1);
  ck_assert_uint_lt(usage.bytes, SIZE + 10000);
  store_end(from);
  store_end(to);
}
END_TEST

START_TEST(equal_leaves_lie_in_all_places) {
  blocks_store *store = store_at("zeros");
  static uint8_t zeros[6u << 20];
  blocks_import_options options = {0};
  blocks_import_result result;
  blocks_import *import;
  blocks_stat stat;
  ck_assert_int_eq(blocks_import_begin(store, &options, &import, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_import_write(import, deai_bytes_of(zeros, sizeof zeros), NULL), DEAI_OK);
  ck_assert_int_eq(blocks_import_finish(import, &result, NULL), DEAI_OK);
  blocks_import_end(import);
  ck_assert_int_eq(blocks_store_stat(store, &result.cid, &stat, NULL), DEAI_OK);
  ck_assert_uint_eq(stat.blocks, 7);
  ck_assert_uint_eq(stat.have, 7);
  blocks_cid leaf;
  blocks_cid_of_block(BLOCKS_CODEC_RAW, deai_bytes_of(zeros, 1u << 20), &leaf);
  flip("zeros", "files", ".leaf", 0); /* another copy serves */
  ck_assert_int_eq(holds(store, &leaf), 1);
  store_end(store);
}
END_TEST

START_TEST(a_file_above_the_cap_is_refused_at_once) {
  blocks_store_options options = {.bytes_max = 6u << 20};
  blocks_store *from = store_at("from3");
  blocks_store *to = store_with("to3", &options);
  blocks_file *file = NULL;
  blocks_error err = {0};
  blocks_cid root = give_inner(from, to, "cap");
  ck_assert_int_eq(blocks_file_begin(to, &root, &file, &err), DEAI_EFULL);
  ck_assert_uint_gt(strlen(err.text), 20);
  ck_assert_ptr_null(file_with("to3", "files", ".leaf"));
  store_end(from);
  store_end(to);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks/file");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, refuses_what_is_no_file);
  tcase_add_test(tests, refuses_uneven_leaves);
  tcase_add_test(tests, fetches_leaf_by_leaf_over_restarts);
  tcase_add_test(tests, import_fills_a_begun_file);
  tcase_add_test(tests, equal_leaves_lie_in_all_places);
  tcase_add_test(tests, a_file_above_the_cap_is_refused_at_once);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
