#ifndef DEAI_HOST_BASE_MERKLE_H
#define DEAI_HOST_BASE_MERKLE_H

#include "deai/status.h"
#include "deai/types.h"

#include <stdint.h>

/* The Merkle tree of RFC 6962 section 2.1 over SHA-256:
     leaf  H(0x00 || data)    node  H(0x01 || left || right)    empty tree  H("")
   A tree of n leaves splits at the largest power of two below n.

   A deai_merkle takes leaves one at a time and keeps one hash a level, so the root of a stream
   costs 2 KiB. Paths are made from an array of leaf hashes and checked from a root alone.

   Threads  [any]; plain values.
   Limits   2^63 leaves; a path has at most DEAI_MERKLE_PATH_MAX hashes. */

#define DEAI_MERKLE_PATH_MAX 64

typedef struct deai_merkle {
  uint64_t count;                                       /* leaves so far */
  uint8_t peaks[DEAI_MERKLE_PATH_MAX][DEAI_HASH_BYTES]; /* bit i of count: a tree of 2^i leaves */
} deai_merkle;

typedef struct deai_merkle_path {
  uint32_t count;
  uint8_t nodes[DEAI_MERKLE_PATH_MAX][DEAI_HASH_BYTES]; /* siblings from the leaf up */
} deai_merkle_path;

/* deai_merkle_leaf writes the leaf hash of data to out. */
void deai_merkle_leaf(deai_bytes data, uint8_t out[DEAI_HASH_BYTES]);

/* deai_merkle_node writes the hash of an inner node to out, which may be left or right. */
void deai_merkle_node(const uint8_t left[DEAI_HASH_BYTES], const uint8_t right[DEAI_HASH_BYTES],
                      uint8_t out[DEAI_HASH_BYTES]);

/* deai_merkle_start makes *tree the empty tree. */
void deai_merkle_start(deai_merkle *tree);

/* deai_merkle_add appends a leaf by its data. */
void deai_merkle_add(deai_merkle *tree, deai_bytes data);

/* deai_merkle_add_hash appends a leaf by its leaf hash. */
void deai_merkle_add_hash(deai_merkle *tree, const uint8_t leaf[DEAI_HASH_BYTES]);

/* deai_merkle_root writes the root of the leaves so far to out; more leaves may follow. */
void deai_merkle_root(const deai_merkle *tree, uint8_t out[DEAI_HASH_BYTES]);

/* deai_merkle_path_make writes the audit path of leaf index among count leaf hashes of
   DEAI_HASH_BYTES each. Returns DEAI_EINVAL when index is not below count. Cost: count hashes. */
DEAI_MUST_CHECK int32_t deai_merkle_path_make(const uint8_t *leaves, uint64_t count, uint64_t index,
                                              deai_merkle_path *out);

/* deai_merkle_path_root writes the root that path yields for a leaf hash at index among count
   leaves to out. Returns DEAI_EINVAL when the length of the path does not fit index and count. */
DEAI_MUST_CHECK int32_t deai_merkle_path_root(const uint8_t leaf[DEAI_HASH_BYTES], uint64_t index,
                                              uint64_t count, const deai_merkle_path *path,
                                              uint8_t out[DEAI_HASH_BYTES]);

#endif
