#include "plugins/storage/blocks/store_private.h"

#include "tests/plugins/storage/blocks/tools.h"

#include <stdio.h>

#include "host/base/banned.h"

START_TEST(finds_the_newest_of_a_kind) {
  blocks_batch batch = {0};
  blocks_cid cid = cid_of_text("pinned");
  ck_assert_ptr_null(blocks_batch_find(&batch, BLOCKS_OP_PIN, &cid));
  for (uint64_t i = 1; i <= 3; i++) {
    blocks_op op = {.kind = BLOCKS_OP_PIN, .at = {.cid = cid}, .count = i};
    ck_assert_int_eq(blocks_batch_add(&batch, &op), DEAI_OK);
  }
  ck_assert_uint_eq(blocks_batch_find(&batch, BLOCKS_OP_PIN, &cid)->count, 3);
  ck_assert_ptr_null(blocks_batch_find(&batch, BLOCKS_OP_BLOCK, &cid));
  blocks_batch_free(&batch);
}
END_TEST

START_TEST(grows) {
  blocks_batch batch = {0};
  char text[32];
  for (uint32_t i = 0; i < 5000; i++) {
    (void)snprintf(text, sizeof text, "%u", i);
    blocks_op op = {.kind = BLOCKS_OP_BLOCK, .at = {.cid = cid_of_text(text), .len = i}};
    ck_assert_int_eq(blocks_batch_add(&batch, &op), DEAI_OK);
  }
  for (uint32_t i = 0; i < 5000; i++) {
    (void)snprintf(text, sizeof text, "%u", i);
    blocks_cid cid = cid_of_text(text);
    const blocks_op *op = blocks_batch_find(&batch, BLOCKS_OP_BLOCK, &cid);
    ck_assert_ptr_nonnull(op);
    ck_assert_uint_eq(op->at.len, i);
  }
  blocks_batch_free(&batch);
  ck_assert_uint_eq(batch.count, 0);
}
END_TEST

START_TEST(owns_the_leaves_of_files) {
  blocks_batch batch = {0};
  blocks_op op = {.kind = BLOCKS_OP_FILE, .leaves = blocks_leaves_new(100)};
  ck_assert_ptr_nonnull(op.leaves);
  op.at.cid = cid_of_text("root");
  ck_assert_int_eq(blocks_batch_add(&batch, &op), DEAI_OK);
  blocks_batch_free(&batch);
  blocks_leaves_free(NULL);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks/batch");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, finds_the_newest_of_a_kind);
  tcase_add_test(tests, grows);
  tcase_add_test(tests, owns_the_leaves_of_files);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
