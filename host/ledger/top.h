#ifndef DEAI_HOST_LEDGER_TOP_H
#define DEAI_HOST_LEDGER_TOP_H

#include "host/base/merkle.h"

/* A deai_top is the upper tree of the state root (proof.h): a fixed number of leaves with all inner
   nodes in memory, so that a block hashes only the ways from its changed buckets to the root.

   It has two faces: the one that a block in the making changes, and the committed one that proofs
   are made from. deai_top_commit and deai_top_discard copy the changed ways from one to the other.

   Threads  The changing functions belong to one thread; the caller locks commit against path.
   Memory   64 bytes a node, two nodes a leaf. */

typedef struct deai_top deai_top;

/* deai_top_new makes a tree of count leaf hashes; NULL when memory is used up. count is above 0. */
deai_top *deai_top_new(const uint8_t *leaves, uint32_t count);

/* deai_top_free ends it; NULL is allowed. */
void deai_top_free(deai_top *top);

/* deai_top_set changes the hash of a leaf. Returns DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t deai_top_set(deai_top *top, uint32_t leaf,
                                     const uint8_t hash[DEAI_HASH_BYTES]);

/* deai_top_root hashes what changed and writes the root. */
void deai_top_root(deai_top *top, uint8_t root[DEAI_HASH_BYTES]);

/* deai_top_commit makes the changes the committed face. */
void deai_top_commit(deai_top *top);

/* deai_top_discard takes the changes back. */
void deai_top_discard(deai_top *top);

/* deai_top_path writes the audit path of a leaf in the committed face. */
void deai_top_path(const deai_top *top, uint32_t leaf, deai_merkle_path *out);

#endif
