#ifndef DEAI_PLUGINS_COMPUTE_LM_MERKLE_H
#define DEAI_PLUGINS_COMPUTE_LM_MERKLE_H

#include "deai/types.h"

#include <stdint.h>

/* An lm_merkle is the hash tree over the output positions of an answer, as it grows (RFC 6962,
   2.1).

   Only the roots of the complete subtrees on the right edge are kept: one for each bit of count.

   Threads  [any], one thread a tree.
   Limits   2^32 leaves. */

typedef struct lm_merkle {
  uint32_t count; /* leaves */
  uint8_t edge[32]
              [DEAI_HASH_BYTES]; /* edge[k]: subtree of 2^k leaves, when bit k of count is set */
} lm_merkle;

/* lm_merkle_leaf writes H(0x00 || u32 index || u32 token || H(hidden) || H(logits)), floats and
   integers little-endian. */
void lm_merkle_leaf(uint32_t index, uint32_t token, const float *hidden, uint32_t hidden_count,
                    const float *logits, uint32_t logit_count, uint8_t leaf_out[DEAI_HASH_BYTES]);

/* lm_merkle_add appends a leaf. */
void lm_merkle_add(lm_merkle *tree, const uint8_t leaf[DEAI_HASH_BYTES]);

/* lm_merkle_root writes the root; of no leaves it is H of nothing. */
void lm_merkle_root(const lm_merkle *tree, uint8_t root_out[DEAI_HASH_BYTES]);

#endif
