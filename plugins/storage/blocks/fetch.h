#ifndef DEAI_PLUGINS_STORAGE_BLOCKS_FETCH_H
#define DEAI_PLUGINS_STORAGE_BLOCKS_FETCH_H

#include "store.h"

/* A blocks_fetch walks the DAG under a root and says which blocks are missing, so that its caller
   can get them from elsewhere, up to BLOCKS_FETCH_WANTS at a time.

     next --want--> (caller gets the block) --take: hash checked, stored--> its links are walked
     again: repeat with bytes from somebody else when take says DEAI_EVERIFY

   A file from 4 MiB gets its inner nodes first and then its leaves straight into their places in
   files/ (store.h, blocks_file): an interrupted one goes on where it was. Everything else is put
   block by block. What is here is not asked for again.

   Threads  [worker]; one thread at a time.
   Memory   The nodes on the way down: at most BLOCKS_FETCH_STACK_BYTES, then DEAI_ETOOLARGE.
   Limits   BLOCKS_DEPTH_MAX levels, BLOCKS_FETCH_NODES_MAX different inner nodes: a small hostile
            DAG with many ways to the same node is walked once, not once a way.
   Caveats  Links of codecs other than raw and dag-pb are not followed. */

#define BLOCKS_FETCH_WANTS       16u
#define BLOCKS_FETCH_STACK_BYTES (64u << 20)
#define BLOCKS_FETCH_NODES_MAX   (1u << 20)
#define BLOCKS_FETCH_NO_LEAF     UINT32_MAX

typedef struct blocks_fetch blocks_fetch;

typedef struct blocks_want {
  blocks_cid cid;
  uint32_t leaf;  /* of the large file, or BLOCKS_FETCH_NO_LEAF */
  uint32_t mode;  /* of the walk; the caller hands it back as it is */
  uint32_t depth; /* likewise */
} blocks_want;

/* What blocks_fetch_next says. */
typedef enum blocks_fetch_state {
  BLOCKS_FETCH_WAITS = 0, /* nothing more until a want is taken */
  BLOCKS_FETCH_WANT = 1,  /* one more block is missing */
  BLOCKS_FETCH_BUSY = 2,  /* call again: this was enough work for one step */
  BLOCKS_FETCH_DONE = 3   /* everything is here */
} blocks_fetch_state;

/* blocks_fetch_new begins at root; DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t blocks_fetch_new(blocks_store *store, const blocks_cid *root,
                                         blocks_fetch **out, blocks_error *err);

/* blocks_fetch_next walks on. Returns a blocks_fetch_state or a negative status. Not called while
   BLOCKS_FETCH_WANTS are out. */
DEAI_MUST_CHECK int32_t blocks_fetch_next(blocks_fetch *fetch, blocks_want *want,
                                          blocks_error *err);

/* blocks_fetch_take checks data against want and queues it (blocks_store_sync makes it durable).
   DEAI_EVERIFY: data is not that block, the want is still out. */
DEAI_MUST_CHECK int32_t blocks_fetch_take(blocks_fetch *fetch, const blocks_want *want,
                                          deai_bytes data, blocks_error *err);

/* blocks_fetch_progress sets the bytes that are here and the bytes known of, which may grow. */
void blocks_fetch_progress(const blocks_fetch *fetch, uint64_t *done_out, uint64_t *of_out);

/* blocks_fetch_free ends the walk; NULL is fine. */
void blocks_fetch_free(blocks_fetch *fetch);

#endif
