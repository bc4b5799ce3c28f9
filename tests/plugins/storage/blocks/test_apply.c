#include "plugins/storage/blocks/store_private.h"

#include "tests/plugins/storage/blocks/tools.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define LEAVES     5000 /* more than one segment of the bitmap */
#define LEAF_BYTES 1024u

static blocks_store *store;
static blocks_apply apply;

static void setup(void) {
  store = store_at("apply");
  apply = (blocks_apply){.index = store->index, .born = 4};
  ck_assert_int_eq(blocks_index_write(store->index, &apply.txn, NULL), DEAI_OK);
}

static void teardown(void) {
  blocks_index_abort(apply.txn);
  store_end(store);
}

static blocks_leaves *make_leaves(uint64_t number) {
  blocks_leaves *leaves = blocks_leaves_new(LEAVES);
  ck_assert_ptr_nonnull(leaves);
  leaves->spec.number = number;
  leaves->spec.leaf_bytes = LEAF_BYTES;
  leaves->spec.size = (uint64_t)LEAVES * LEAF_BYTES - 10;
  leaves->spec.root = cid_of_text("root");
  for (uint32_t i = 0; i < LEAVES; i++)
    memcpy(leaves->digests + (size_t)i * 32, &i, sizeof i);
  return leaves;
}

static blocks_place leaf_place(const blocks_leaves *leaves, uint32_t i) {
  return (blocks_place){.cid = blocks_leaf_cid(leaves->digests + (size_t)i * 32),
                        .store = leaves->spec.number | BLOCKS_STORE_FILE,
                        .offset = (uint64_t)i * LEAF_BYTES,
                        .len = LEAF_BYTES,
                        .flags = BLOCKS_PLACE_HERE};
}

static uint32_t have(void) {
  blocks_file_spec spec;
  ck_assert_int_eq(blocks_apply_flush(&apply), DEAI_OK);
  ck_assert_int_eq(blocks_index_file(store->index, apply.txn, 9, &spec), DEAI_OK);
  return spec.have;
}

START_TEST(leaves_are_counted_once) {
  blocks_leaves *leaves = make_leaves(9);
  blocks_op op = {.kind = BLOCKS_OP_FILE, .leaves = leaves};
  static const uint32_t order[] = {4999, 0, 4096, 0, 4999, 17};
  ck_assert_int_eq(blocks_apply_op(&apply, &op, NULL), DEAI_OK);
  ck_assert_uint_eq(have(), 0);
  for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
    blocks_op leaf = {.kind = BLOCKS_OP_LEAF, .at = leaf_place(leaves, order[i])};
    ck_assert_int_eq(blocks_apply_op(&apply, &leaf, NULL), DEAI_OK);
  }
  ck_assert_uint_eq(have(), 4);
  blocks_place bad = leaf_place(leaves, 4096);
  ck_assert_int_eq(blocks_apply_missing(&apply, &bad), 1);
  ck_assert_uint_eq(have(), 3);
  ck_assert_int_eq(blocks_apply_missing(&apply, &bad), 1);
  ck_assert_uint_eq(have(), 3);
  blocks_leaves_free(leaves);
}
END_TEST

START_TEST(one_file_a_root) {
  blocks_leaves *first = make_leaves(9);
  blocks_leaves *second = make_leaves(10);
  blocks_op op = {.kind = BLOCKS_OP_FILE, .leaves = first};
  blocks_file_spec spec;
  bool skipped = false;
  ck_assert_int_eq(blocks_apply_op(&apply, &op, &skipped), DEAI_OK);
  ck_assert(!skipped);
  op.leaves = second;
  ck_assert_int_eq(blocks_apply_op(&apply, &op, &skipped), DEAI_OK);
  ck_assert(skipped);
  ck_assert_int_eq(blocks_index_file(store->index, apply.txn, 10, &spec), DEAI_ENOTFOUND);
  apply.replace = true; /* while a collection runs */
  skipped = false;
  ck_assert_int_eq(blocks_apply_op(&apply, &op, &skipped), DEAI_OK);
  ck_assert(!skipped);
  ck_assert_int_eq(blocks_index_file_of_root(store->index, apply.txn, &second->spec.root, &spec),
                   DEAI_OK);
  ck_assert_uint_eq(spec.number, 10);
  ck_assert_uint_eq(spec.born, 4);
  blocks_leaves_free(first);
  blocks_leaves_free(second);
}
END_TEST

START_TEST(a_leaf_of_a_dropped_file_is_dropped) {
  blocks_leaves *leaves = make_leaves(77);
  blocks_place place = leaf_place(leaves, 1);
  blocks_op op = {.kind = BLOCKS_OP_LEAF, .at = place};
  ck_assert_int_eq(blocks_apply_op(&apply, &op, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_index_place_has(store->index, apply.txn, &place), 0);
  blocks_leaves_free(leaves);
}
END_TEST

START_TEST(a_move_needs_its_source) {
  blocks_place from = {.cid = cid_of_text("moved"), .store = 1, .offset = 5, .flags = 1};
  blocks_op op = {.kind = BLOCKS_OP_MOVE, .at = from, .from = &from};
  op.at.store = 2;
  ck_assert_int_eq(blocks_apply_op(&apply, &op, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_index_place_has(store->index, apply.txn, &op.at), 0);
  ck_assert_int_eq(blocks_index_place_put(store->index, apply.txn, &from), DEAI_OK);
  ck_assert_int_eq(blocks_apply_op(&apply, &op, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_index_place_has(store->index, apply.txn, &op.at), 1);
  ck_assert_int_eq(blocks_index_place_has(store->index, apply.txn, &from), 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks/apply");
  TCase *tests = tcase_create("all");
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, leaves_are_counted_once);
  tcase_add_test(tests, one_file_a_root);
  tcase_add_test(tests, a_leaf_of_a_dropped_file_is_dropped);
  tcase_add_test(tests, a_move_needs_its_source);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
