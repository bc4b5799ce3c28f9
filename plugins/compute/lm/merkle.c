#include "merkle.h"

#include <openssl/sha.h>
#include <stdbool.h>
#include <string.h>

#include "host/base/banned.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "floats are hashed as they lie in memory, little-endian");

static void put_u32(uint8_t *at, uint32_t value) {
  for (uint32_t i = 0; i < 4; i++)
    at[i] = (uint8_t)(value >> (8 * i));
}

void lm_merkle_leaf(uint32_t index, uint32_t token, const float *hidden, uint32_t hidden_count,
                    const float *logits, uint32_t logit_count, uint8_t leaf_out[DEAI_HASH_BYTES]) {
  uint8_t text[9 + 2 * DEAI_HASH_BYTES];
  text[0] = 0;
  put_u32(text + 1, index);
  put_u32(text + 5, token);
  (void)SHA256((const uint8_t *)hidden, (size_t)hidden_count * sizeof *hidden, text + 9);
  (void)SHA256((const uint8_t *)logits, (size_t)logit_count * sizeof *logits,
               text + 9 + DEAI_HASH_BYTES);
  (void)SHA256(text, sizeof text, leaf_out);
}

/* join writes H(0x01 || left || right) over right. */
static void join(const uint8_t *left, uint8_t *right) {
  uint8_t text[1 + 2 * DEAI_HASH_BYTES];
  text[0] = 1;
  memcpy(text + 1, left, DEAI_HASH_BYTES);
  memcpy(text + 1 + DEAI_HASH_BYTES, right, DEAI_HASH_BYTES);
  (void)SHA256(text, sizeof text, right);
}

void lm_merkle_add(lm_merkle *tree, const uint8_t leaf[DEAI_HASH_BYTES]) {
  uint8_t node[DEAI_HASH_BYTES];
  uint32_t level = 0;
  memcpy(node, leaf, sizeof node);
  for (; (tree->count >> level & 1) != 0; level++)
    join(tree->edge[level], node);
  memcpy(tree->edge[level], node, sizeof node);
  tree->count++;
}

void lm_merkle_root(const lm_merkle *tree, uint8_t root_out[DEAI_HASH_BYTES]) {
  bool any = false;
  (void)SHA256((const uint8_t *)"", 0, root_out);
  for (uint32_t level = 0; level < 32; level++) {
    if ((tree->count >> level & 1) == 0) continue;
    if (any)
      join(tree->edge[level], root_out);
    else
      memcpy(root_out, tree->edge[level], DEAI_HASH_BYTES);
    any = true;
  }
}
