#include "plugins/storage/blocks/fetch.h"
#include "tests/plugins/storage/blocks/tools.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define MIB (UINT64_C(1) << 20)

/* put_node puts a dag-pb node with count links to cid into store. */
static blocks_cid put_node(blocks_store *store, const blocks_cid *cid, uint32_t count,
                           uint64_t tsize) {
  blocks_cid made;
  blocks_buf block = {0};
  blocks_pblink *links = calloc(count, sizeof *links);
  ck_assert_ptr_nonnull(links);
  for (uint32_t i = 0; i < count; i++)
    links[i] = (blocks_pblink){
        .hash = blocks_cid_bytes(cid), .tsize = tsize, .has_name = true, .has_tsize = true};
  blocks_pbnode node = {.links = links, .links_count = count};
  ck_assert_int_eq(blocks_pbnode_encode(&node, &block), DEAI_OK);
  blocks_cid_of_block(BLOCKS_CODEC_DAG_PB, blocks_buf_bytes(&block), &made);
  ck_assert_int_eq(blocks_store_put(store, &made, blocks_buf_bytes(&block), NULL), DEAI_OK);
  blocks_buf_free(&block);
  free(links);
  return made;
}

static blocks_fetch *fetch_of(blocks_store *store, const blocks_cid *root) {
  blocks_fetch *fetch = NULL;
  ck_assert_int_eq(blocks_fetch_new(store, root, &fetch, NULL), DEAI_OK);
  return fetch;
}

/* step walks on until something is to be said; *busy_out counts the pieces of work. */
static int32_t step(blocks_fetch *fetch, blocks_want *want, uint32_t *busy_out) {
  blocks_error err = {0};
  int32_t status = BLOCKS_FETCH_BUSY;
  while (status == BLOCKS_FETCH_BUSY) {
    status = blocks_fetch_next(fetch, want, &err);
    (*busy_out)++;
  }
  ck_assert_int_eq(status < 0, err.text[0] != 0);
  return status;
}

static void take(blocks_fetch *fetch, blocks_store *from, const blocks_want *want) {
  blocks_buf block = {0};
  blocks_error err = {0};
  ck_assert_int_eq(blocks_store_get(from, &want->cid, &block, NULL), DEAI_OK);
  ck_assert_msg(blocks_fetch_take(fetch, want, blocks_buf_bytes(&block), &err) == DEAI_OK, "%s",
                err.text);
  blocks_buf_free(&block);
}

/* run fetches root from one store into another with up to wants blocks out; returns how many. */
static uint32_t run(blocks_store *from, blocks_store *to, const blocks_cid *root, uint32_t wants) {
  blocks_want out[BLOCKS_FETCH_WANTS];
  uint32_t count = 0;
  uint32_t busy = 0;
  uint32_t total = 0;
  int32_t status = BLOCKS_FETCH_WAITS;
  blocks_fetch *fetch = fetch_of(to, root);
  while (status != BLOCKS_FETCH_DONE) {
    status = count < wants ? step(fetch, &out[count], &busy) : BLOCKS_FETCH_WAITS;
    ck_assert_int_ge(status, 0);
    if (status == BLOCKS_FETCH_WANT) {
      count++;
      total++;
    } else if (status == BLOCKS_FETCH_WAITS) {
      ck_assert_uint_gt(count, 0);
      take(fetch, from, &out[0]); /* the oldest first */
      memmove(&out[0], &out[1], --count * sizeof out[0]);
    }
  }
  ck_assert_uint_eq(count, 0);
  uint64_t done = 0;
  uint64_t of = 0;
  blocks_fetch_progress(fetch, &done, &of);
  ck_assert_uint_eq(done, of);
  blocks_fetch_free(fetch);
  return total;
}

START_TEST(wrong_bytes_stay_wanted) {
  blocks_store *to = store_at("to");
  blocks_cid cid = cid_of_text("right");
  blocks_fetch *fetch = fetch_of(to, &cid);
  blocks_want want;
  uint32_t busy = 0;
  ck_assert_int_eq(step(fetch, &want, &busy), BLOCKS_FETCH_WANT);
  ck_assert_int_eq(blocks_fetch_take(fetch, &want, deai_bytes_of("wrong", 5), NULL), DEAI_EVERIFY);
  ck_assert_int_eq(step(fetch, &want, &busy), BLOCKS_FETCH_WAITS);
  want.cid = cid;
  want.leaf = BLOCKS_FETCH_NO_LEAF;
  ck_assert_int_eq(blocks_fetch_take(fetch, &want, deai_bytes_of("right", 5), NULL), DEAI_OK);
  ck_assert_int_eq(step(fetch, &want, &busy), BLOCKS_FETCH_DONE);
  blocks_fetch_free(fetch);
  blocks_fetch_free(NULL);
  store_end(to);
}
END_TEST

START_TEST(too_deep_a_dag_is_refused) {
  blocks_store *to = store_at("to");
  blocks_cid cid = put_text(to, "leaf");
  for (int i = 0; i < BLOCKS_DEPTH_MAX + 2; i++)
    cid = put_node(to, &cid, 1, 10);
  blocks_fetch *fetch = fetch_of(to, &cid);
  blocks_want want;
  uint32_t busy = 0;
  ck_assert_int_eq(step(fetch, &want, &busy), DEAI_ETOOLARGE);
  blocks_fetch_free(fetch);
  store_end(to);
}
END_TEST

START_TEST(many_ways_to_one_node_are_walked_once) {
  blocks_store *to = store_at("to");
  blocks_cid cid = put_text(to, "leaf");
  for (int i = 0; i < 20; i++) /* 1000^20 ways */
    cid = put_node(to, &cid, 1000, UINT64_MAX);
  blocks_fetch *fetch = fetch_of(to, &cid);
  blocks_want want;
  uint32_t busy = 0;
  uint64_t done = 0;
  uint64_t of = 0;
  ck_assert_int_eq(step(fetch, &want, &busy), BLOCKS_FETCH_DONE);
  ck_assert_uint_lt(busy, 100);
  blocks_fetch_progress(fetch, &done, &of);
  ck_assert_uint_le(done, of);
  blocks_fetch_free(fetch);
  store_end(to);
}
END_TEST

START_TEST(a_node_that_is_no_dag_pb_ends_the_walk) {
  blocks_store *to = store_at("to");
  blocks_cid cid;
  deai_bytes junk = deai_bytes_of("\xff\xff\xff", 3);
  blocks_cid_of_block(BLOCKS_CODEC_DAG_PB, junk, &cid);
  ck_assert_int_eq(blocks_store_put(to, &cid, junk, NULL), DEAI_OK);
  blocks_fetch *fetch = fetch_of(to, &cid);
  blocks_want want;
  uint32_t busy = 0;
  ck_assert_int_eq(step(fetch, &want, &busy), DEAI_EINVAL);
  blocks_fetch_free(fetch);
  store_end(to);
}
END_TEST

START_TEST(files_of_all_sizes_come_whole) {
  static const uint64_t sizes[] = {0, 1, MIB, MIB + 1, 4 * MIB - 1, 4 * MIB, 9 * MIB + 3};
  blocks_store *from = store_at("from");
  blocks_store *to = store_at("to");
  blocks_import_result made = import_seed(from, "seed", sizes[_i], false);
  ck_assert_uint_eq(run(from, to, &made.cid, _i % 2 == 0 ? BLOCKS_FETCH_WANTS : 1), made.blocks);
  ck_assert_uint_eq(run(from, to, &made.cid, 1), 0);
  ck_assert_int_eq(blocks_store_sync(to, NULL), DEAI_OK);
  blocks_stat stat;
  ck_assert_int_eq(blocks_store_stat(to, &made.cid, &stat, NULL), DEAI_OK);
  ck_assert_uint_eq(stat.have, made.blocks);
  blocks_usage usage;
  ck_assert_int_eq(blocks_store_usage(to, &usage), DEAI_OK);
  ck_assert_uint_eq(usage.files, sizes[_i] >= BLOCKS_FILE_BYTES_MIN);
  store_end(from);
  store_end(to);
}
END_TEST

START_TEST(wide_trees_come_whole) {
  blocks_store *from = store_at("from");
  blocks_store *to = store_at("to");
  static char names[300][16];
  static blocks_import_entry entries[300];
  blocks_import_result dirs[3];
  blocks_import_options none = {0};
  for (uint32_t d = 0; d < 3; d++) {
    for (uint32_t i = 0; i < 300; i++) {
      (void)snprintf(names[i], sizeof names[i], "%u-%u", d, i);
      entries[i] = (blocks_import_entry){deai_str_of(names[i]), put_text(from, names[i])};
    }
    ck_assert_int_eq(blocks_import_directory(from, entries, 300, &none, &dirs[d], NULL), DEAI_OK);
  }
  for (uint32_t d = 0; d < 3; d++)
    entries[d] = (blocks_import_entry){deai_str_of(names[d]), dirs[d].cid};
  blocks_import_result top;
  ck_assert_int_eq(blocks_import_directory(from, entries, 3, &none, &top, NULL), DEAI_OK);
  ck_assert_uint_eq(run(from, to, &top.cid, BLOCKS_FETCH_WANTS), 1 + 3 + 900);
  store_end(from);
  store_end(to);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("fetch");
  TCase *tests = tcase_create("fetch");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, wrong_bytes_stay_wanted);
  tcase_add_test(tests, too_deep_a_dag_is_refused);
  tcase_add_test(tests, many_ways_to_one_node_are_walked_once);
  tcase_add_test(tests, a_node_that_is_no_dag_pb_ends_the_walk);
  tcase_add_loop_test(tests, files_of_all_sizes_come_whole, 0, 7);
  tcase_add_test(tests, wide_trees_come_whole);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
