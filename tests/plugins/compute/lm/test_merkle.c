#include "plugins/compute/lm/merkle.h"

#include "tests/testing.h"

#include <openssl/sha.h>
#include <stdbool.h>
#include <string.h>

#include "host/base/banned.h"

/* The definition of RFC 6962 2.1, level by level: an odd node at the end moves up as it is. */
static void by_definition(uint8_t (*nodes)[32], uint32_t count, uint8_t root[32]) {
  if (count == 0) (void)SHA256((const uint8_t *)"", 0, root);
  while (count > 1) {
    for (uint32_t i = 0; i + 1 < count; i += 2) {
      uint8_t text[65] = {1};
      memcpy(text + 1, nodes[i], 64);
      (void)SHA256(text, sizeof text, nodes[i / 2]);
    }
    if (count % 2 != 0) memcpy(nodes[count / 2], nodes[count - 1], 32);
    count = (count + 1) / 2;
  }
  if (count == 1) memcpy(root, nodes[0], 32);
}

START_TEST(roots_are_those_of_the_definition) {
  lm_merkle tree = {0};
  for (uint32_t count = 0; count < 70; count++) {
    static uint8_t leaves[70][32];
    uint8_t expected[32] = {0};
    uint8_t root[32];
    for (uint32_t i = 0; i < count; i++)
      memset(leaves[i], (int)i, 32);
    by_definition(leaves, count, expected);
    lm_merkle_root(&tree, root);
    ck_assert_int_eq(memcmp(root, expected, 32), 0);
    uint8_t leaf[32];
    memset(leaf, (int)count, 32);
    lm_merkle_add(&tree, leaf);
  }
}
END_TEST

START_TEST(a_leaf_hashes_index_token_and_outputs) {
  float hidden[3] = {1.0f, -2.0f, 0.0f};
  float logits[2] = {0.5f, 4.0f};
  uint8_t text[9 + 64] = {0, 4, 3, 2, 1, 8, 7, 6, 5};
  uint8_t expected[32];
  uint8_t leaf[32];
  (void)SHA256((const uint8_t *)hidden, sizeof hidden, text + 9);
  (void)SHA256((const uint8_t *)logits, sizeof logits, text + 41);
  (void)SHA256(text, sizeof text, expected);
  lm_merkle_leaf(0x01020304, 0x05060708, hidden, 3, logits, 2, leaf);
  ck_assert_int_eq(memcmp(leaf, expected, 32), 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("merkle");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, roots_are_those_of_the_definition);
  tcase_add_test(tests, a_leaf_hashes_index_token_and_outputs);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
