#include "tests/testing.h"

#include "host/base/hash.h"
#include "host/base/merkle.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define LEAVES 70

static uint8_t leaves[LEAVES][DEAI_HASH_BYTES];

static void make_leaves(void) {
  for (uint8_t i = 0; i < LEAVES; i++)
    deai_merkle_leaf(deai_bytes_of(&i, 1), leaves[i]);
}

/* The definition of RFC 6962 section 2.1, word by word (depth of the test data). */
static void slow_root(uint32_t from, uint32_t count, uint8_t out[DEAI_HASH_BYTES]) {
  uint8_t left[DEAI_HASH_BYTES], right[DEAI_HASH_BYTES];
  uint32_t split = 1;
  if (count == 0) {
    deai_sha256(deai_bytes_of(NULL, 0), out);
    return;
  }
  if (count == 1) {
    memcpy(out, leaves[from], DEAI_HASH_BYTES);
    return;
  }
  while (split * 2 < count)
    split *= 2;
  slow_root(from, split, left);
  slow_root(from + split, count - split, right);
  deai_merkle_node(left, right, out);
}

START_TEST(wrong_paths_are_refused) {
  deai_merkle_path path;
  uint8_t root[DEAI_HASH_BYTES], other[DEAI_HASH_BYTES];
  make_leaves();
  slow_root(0, 13, root);
  ck_assert_int_eq(deai_merkle_path_make(leaves[0], 13, 13, &path), DEAI_EINVAL);
  ck_assert_int_eq(deai_merkle_path_make(leaves[0], 0, 0, &path), DEAI_EINVAL);
  ck_assert_int_eq(deai_merkle_path_make(leaves[0], 13, 5, &path), DEAI_OK);
  ck_assert_int_eq(deai_merkle_path_root(leaves[5], 13, 13, &path, other), DEAI_EINVAL);
  path.count--;
  ck_assert_int_eq(deai_merkle_path_root(leaves[5], 5, 13, &path, other), DEAI_EINVAL);
  path.count += 2;
  ck_assert_int_eq(deai_merkle_path_root(leaves[5], 5, 13, &path, other), DEAI_EINVAL);
  path.count = DEAI_MERKLE_PATH_MAX + 1;
  ck_assert_int_eq(deai_merkle_path_root(leaves[5], 5, 13, &path, other), DEAI_EINVAL);
  path.count = 4;
  ck_assert_int_eq(deai_merkle_path_root(leaves[4], 5, 13, &path, other), DEAI_OK);
  ck_assert_mem_ne(root, other, sizeof root);
}
END_TEST

START_TEST(roots_and_paths_of_all_sizes) {
  make_leaves();
  deai_merkle tree;
  deai_merkle_start(&tree);
  for (uint32_t count = 0; count <= LEAVES; count++) {
    uint8_t root[DEAI_HASH_BYTES], fast[DEAI_HASH_BYTES], by_path[DEAI_HASH_BYTES];
    slow_root(0, count, root);
    deai_merkle_root(&tree, fast);
    ck_assert_mem_eq(root, fast, sizeof root);
    for (uint32_t i = 0; i < count; i++) {
      deai_merkle_path path;
      ck_assert_int_eq(deai_merkle_path_make(leaves[0], count, i, &path), DEAI_OK);
      ck_assert_int_eq(deai_merkle_path_root(leaves[i], i, count, &path, by_path), DEAI_OK);
      ck_assert_mem_eq(root, by_path, sizeof root);
    }
    uint8_t data = (uint8_t)count;
    if (count < LEAVES) deai_merkle_add(&tree, deai_bytes_of(&data, 1));
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("merkle");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, wrong_paths_are_refused);
  tcase_add_test(tests, roots_and_paths_of_all_sizes);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
