#ifndef DEAI_PLUGINS_STORAGE_BLOCKS_DAGPB_H
#define DEAI_PLUGINS_STORAGE_BLOCKS_DAGPB_H

#include "cid.h"

#include <stdbool.h>

/* A blocks_pbnode is one decoded dag-pb block: links and data (ipld specs/codecs/dag-pb/spec.md).

     PBNode  Data = 1 (bytes), Links = 2 (repeated PBLink); Links are written first
     PBLink  Hash = 1, Name = 2, Tsize = 3, each at most once and in this order

   Unknown fields, wrong wire types, duplicates, Links on both sides of Data, a link without Hash
   and a Hash that is no CID are refused. Order and duplicates of names are kept as they are.

   Threads  [any].
   Memory   A decoded node borrows the block: names and data point into it. blocks_pbnode_free.
   Limits   BLOCKS_PBLINKS_MAX links a node; longer is DEAI_ETOOLARGE. Callers cap the block.
   Caveats  Names are bytes: UTF-8 is not asked for, and what a name may do to a file system is
            the caller's to decide (blocks_unixfs_name_check, host/cli/tree.h). */

#define BLOCKS_PBLINKS_MAX 65536

typedef struct blocks_pblink {
  deai_bytes hash; /* binary CID, already checked */
  deai_bytes name; /* "" when absent */
  uint64_t tsize;  /* 0 when absent */
  bool has_name;
  bool has_tsize;
} blocks_pblink;

typedef struct blocks_pbnode {
  blocks_pblink *links;
  uint32_t links_count;
  deai_bytes data;
  bool has_data;
} blocks_pbnode;

/* blocks_pbnode_decode reads block into *out, which must be zeroed or freed before. On an error
   *out is empty. */
DEAI_MUST_CHECK int32_t blocks_pbnode_decode(deai_bytes block, blocks_pbnode *out,
                                             blocks_error *err);

/* blocks_pbnode_free gives the links back and leaves an empty node. */
void blocks_pbnode_free(blocks_pbnode *node);

/* blocks_pblink_cid returns the CID of a decoded link. */
blocks_cid blocks_pblink_cid(const blocks_pblink *link);

/* blocks_pbnode_encode appends the block of links and data (data only when has_data) to out.
   Returns DEAI_EINVAL for a link whose hash is no CID and for links that are not sorted by name
   (blocks_pblinks_sort). */
DEAI_MUST_CHECK int32_t blocks_pbnode_encode(const blocks_pbnode *node, blocks_buf *out);

/* blocks_pblinks_sort sorts links by name bytes and keeps the order of equal names. */
DEAI_MUST_CHECK int32_t blocks_pblinks_sort(blocks_pblink *links, uint32_t count);

/* blocks_pbnode_encode_bytes returns the length that blocks_pbnode_encode would append. */
size_t blocks_pbnode_encode_bytes(const blocks_pbnode *node);

#endif
