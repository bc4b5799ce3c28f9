#include "tests/testing.h"

#include "host/ledger/top.h"

#include <string.h>

#include "host/base/banned.h"

#define LEAVES 101

static uint8_t leaves[LEAVES][DEAI_HASH_BYTES];

static void plain_root(uint8_t out[DEAI_HASH_BYTES]) {
  deai_merkle tree;
  deai_merkle_start(&tree);
  for (uint32_t i = 0; i < LEAVES; i++)
    deai_merkle_add_hash(&tree, leaves[i]);
  deai_merkle_root(&tree, out);
}

START_TEST(changes_show_only_after_commit) {
  uint8_t first[DEAI_HASH_BYTES], root[DEAI_HASH_BYTES], by_path[DEAI_HASH_BYTES];
  deai_merkle_path path;
  for (uint32_t i = 0; i < LEAVES; i++)
    memset(leaves[i], (int)i, DEAI_HASH_BYTES);
  plain_root(first);
  deai_top *top = deai_top_new(leaves[0], LEAVES);
  deai_top_root(top, root);
  ck_assert_mem_eq(root, first, sizeof root);
  for (uint32_t round = 0; round < 20; round++) {
    uint8_t changed[DEAI_HASH_BYTES], before[DEAI_HASH_BYTES];
    memset(changed, 200 + (int)round, sizeof changed);
    plain_root(before);
    for (uint32_t i = 0; i < 7; i++)
      ck_assert_int_eq(deai_top_set(top, (round * 13 + i * 29) % LEAVES, changed), DEAI_OK);
    deai_top_root(top, root);
    ck_assert_mem_ne(root, before, sizeof root);
    deai_top_path(top, 5, &path);
    ck_assert_int_eq(deai_merkle_path_root(leaves[5], 5, LEAVES, &path, by_path), DEAI_OK);
    ck_assert_mem_eq(by_path, before, sizeof before);
    if (round % 2 == 0) {
      deai_top_discard(top);
      deai_top_root(top, root);
      ck_assert_mem_eq(root, before, sizeof root);
      continue;
    }
    deai_top_commit(top);
    for (uint32_t i = 0; i < 7; i++)
      memcpy(leaves[(round * 13 + i * 29) % LEAVES], changed, sizeof changed);
    plain_root(before);
    ck_assert_mem_eq(root, before, sizeof root);
  }
  deai_top_free(top);
  deai_top_free(NULL);
}
END_TEST

START_TEST(one_leaf_is_its_own_root) {
  uint8_t leaf[DEAI_HASH_BYTES] = {7}, root[DEAI_HASH_BYTES];
  deai_top *top = deai_top_new(leaf, 1);
  deai_top_root(top, root);
  ck_assert_mem_eq(root, leaf, sizeof root);
  deai_top_free(top);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("top");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, changes_show_only_after_commit);
  tcase_add_test(tests, one_leaf_is_its_own_root);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
