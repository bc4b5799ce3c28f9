#include "merkle.h"

#include "hash.h"

#include <stdlib.h>
#include <string.h>

#include "banned.h"

static const uint8_t leaf_prefix = 0x00;
static const uint8_t node_prefix = 0x01;

void deai_merkle_leaf(deai_bytes data, uint8_t out[DEAI_HASH_BYTES]) {
  deai_bytes parts[2] = {deai_bytes_of(&leaf_prefix, 1), data};
  deai_sha256_parts(parts, 2, out);
}

void deai_merkle_node(const uint8_t left[DEAI_HASH_BYTES], const uint8_t right[DEAI_HASH_BYTES],
                      uint8_t out[DEAI_HASH_BYTES]) {
  deai_bytes parts[3] = {deai_bytes_of(&node_prefix, 1), deai_bytes_of(left, DEAI_HASH_BYTES),
                         deai_bytes_of(right, DEAI_HASH_BYTES)};
  deai_sha256_parts(parts, 3, out);
}

void deai_merkle_start(deai_merkle *tree) {
  tree->count = 0;
}

void deai_merkle_add(deai_merkle *tree, deai_bytes data) {
  uint8_t leaf[DEAI_HASH_BYTES];
  deai_merkle_leaf(data, leaf);
  deai_merkle_add_hash(tree, leaf);
}

void deai_merkle_add_hash(deai_merkle *tree, const uint8_t leaf[DEAI_HASH_BYTES]) {
  uint8_t hash[DEAI_HASH_BYTES];
  uint32_t level = 0;
  memcpy(hash, leaf, sizeof hash);
  while ((tree->count >> level & 1u) != 0) {
    deai_merkle_node(tree->peaks[level], hash, hash);
    level++;
  }
  memcpy(tree->peaks[level], hash, sizeof hash);
  tree->count++;
}

void deai_merkle_root(const deai_merkle *tree, uint8_t out[DEAI_HASH_BYTES]) {
  int32_t started = 0;
  if (tree->count == 0) {
    deai_sha256(deai_bytes_of(NULL, 0), out);
    return;
  }
  for (uint32_t level = 0; level < DEAI_MERKLE_PATH_MAX; level++) {
    if ((tree->count >> level & 1u) == 0) continue;
    if (started) {
      deai_merkle_node(tree->peaks[level], out, out);
    } else {
      memcpy(out, tree->peaks[level], DEAI_HASH_BYTES);
    }
    started = 1;
  }
}

/* Pairs the hashes of a level; an odd last one moves up as it is, which gives the split of the RFC
   (the left part of every node is a full tree). */
static uint64_t level_up(uint8_t *level, uint64_t count) {
  uint64_t half = count / 2;
  for (uint64_t i = 0; i < half; i++) {
    const uint8_t *left = level + 2 * i * DEAI_HASH_BYTES;
    deai_merkle_node(left, left + DEAI_HASH_BYTES, level + i * DEAI_HASH_BYTES);
  }
  if (count % 2 != 0)
    memmove(level + half * DEAI_HASH_BYTES, level + (count - 1) * DEAI_HASH_BYTES, DEAI_HASH_BYTES);
  return half + count % 2;
}

int32_t deai_merkle_path_make(const uint8_t *leaves, uint64_t count, uint64_t index,
                              deai_merkle_path *out) {
  out->count = 0;
  if (index >= count || count > SIZE_MAX / DEAI_HASH_BYTES) return DEAI_EINVAL;
  uint8_t *level = malloc((size_t)(count * DEAI_HASH_BYTES));
  if (level == NULL) return DEAI_ENOMEM;
  memcpy(level, leaves, (size_t)(count * DEAI_HASH_BYTES));
  while (count > 1) {
    uint64_t sibling = index ^ 1u;
    if (sibling < count)
      memcpy(out->nodes[out->count++], level + sibling * DEAI_HASH_BYTES, DEAI_HASH_BYTES);
    count = level_up(level, count);
    index /= 2;
  }
  free(level);
  return DEAI_OK;
}

int32_t deai_merkle_path_root(const uint8_t leaf[DEAI_HASH_BYTES], uint64_t index, uint64_t count,
                              const deai_merkle_path *path, uint8_t out[DEAI_HASH_BYTES]) {
  uint32_t used = 0;
  if (index >= count || path->count > DEAI_MERKLE_PATH_MAX) return DEAI_EINVAL;
  memcpy(out, leaf, DEAI_HASH_BYTES);
  while (count > 1) {
    if ((index ^ 1u) < count) {
      if (used == path->count) return DEAI_EINVAL;
      const uint8_t *sibling = path->nodes[used++];
      if ((index & 1u) != 0) {
        deai_merkle_node(sibling, out, out);
      } else {
        deai_merkle_node(out, sibling, out);
      }
    }
    count = count / 2 + count % 2;
    index /= 2;
  }
  return used == path->count ? DEAI_OK : DEAI_EINVAL;
}
