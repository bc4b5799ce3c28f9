#ifndef DEAI_PLUGINS_STORAGE_BLOCKS_STORE_PRIVATE_H
#define DEAI_PLUGINS_STORAGE_BLOCKS_STORE_PRIVATE_H

#include "index.h"
#include "store.h"

#include <pthread.h>

/* The inside of a blocks_store, for the files of this folder only.

     store.c    open, close, put, pin, the log and the group commit
     batch.c    what is queued
     fds.c      open descriptors of packs and files
     lookup.c   get, has, list, stat, open_file
     file.c     files/: making, filling, registering
     recover.c  the end of the log after a crash, the whole index after a loss
     verify.c   reading everything; gc.c  dropping what no pin reaches

   Locks, in the order in which they may be taken: sync, then append; the mutex of the descriptors
   and of the pooled transactions are taken last and alone. */

/* --- batch: operations that wait for a sync, found by CID --- */

#define BLOCKS_BATCH_OPS_MAX 65536 /* put syncs by itself above this */
#define BLOCKS_NO_OP         UINT32_MAX

typedef enum blocks_op_kind {
  BLOCKS_OP_BLOCK, /* at is new in a pack */
  BLOCKS_OP_LEAF,  /* at, a leaf of a file, is here now */
  BLOCKS_OP_FILE,  /* a file with its leaves */
  BLOCKS_OP_PIN,   /* at.cid has count references */
  BLOCKS_OP_MOVE   /* the place from became at (garbage collection) */
} blocks_op_kind;

/* A new file: its leaves lie one behind the other. */
typedef struct blocks_leaves {
  blocks_file_spec spec;
  uint8_t *digests; /* 32 bytes a leaf */
  uint32_t *crcs;   /* a leaf */
  uint8_t *here;    /* bitmap, low bit first */
} blocks_leaves;

typedef struct blocks_op {
  blocks_op_kind kind;
  uint32_t next; /* older operation in the same slot of the hash table */
  uint64_t count;
  blocks_place at;
  blocks_place *from;    /* MOVE, owned */
  blocks_leaves *leaves; /* FILE, owned */
} blocks_op;

typedef struct blocks_batch {
  blocks_op *ops;
  uint32_t *slots;
  uint64_t *dirty; /* store numbers to be synced; a reference on each descriptor is held */
  uint64_t bytes;
  uint32_t count;
  uint32_t cap;
  uint32_t slots_count; /* a power of two, 0 at the start */
  uint32_t dirty_count;
  uint32_t dirty_cap;
} blocks_batch;

/* blocks_batch_add takes over op (with from and leaves) or fails and leaves it to the caller. */
DEAI_MUST_CHECK int32_t blocks_batch_add(blocks_batch *batch, const blocks_op *op);

/* blocks_batch_find returns the newest operation of a kind for cid, or NULL. */
const blocks_op *blocks_batch_find(const blocks_batch *batch, blocks_op_kind kind,
                                   const blocks_cid *cid);

/* blocks_batch_free frees what the operations own and empties the batch; dirty is the caller's. */
void blocks_batch_free(blocks_batch *batch);

/* blocks_leaves_new makes room for count leaves; _free takes NULL too. */
blocks_leaves *blocks_leaves_new(uint32_t count);
void blocks_leaves_free(blocks_leaves *leaves);

/* --- descriptors --- */

#define BLOCKS_FDS_MAX 64 /* kept open while unused */

typedef struct blocks_fd {
  uint64_t store;
  uint64_t used; /* when it was last asked for */
  uint32_t refs;
  int fd;
} blocks_fd;

typedef struct blocks_fds {
  pthread_mutex_t mutex;
  blocks_fd *entries;
  uint32_t count;
  uint32_t cap;
  uint64_t clock;
} blocks_fds;

/* blocks_fds_get returns a descriptor (read and write) of a pack or file in *fd_out and holds it;
   DEAI_ENOTFOUND when it does not exist. blocks_fds_release lets it go. */
DEAI_MUST_CHECK int32_t blocks_fds_get(blocks_store *store, uint64_t number, int *fd_out,
                                       blocks_error *err);
void blocks_fds_release(blocks_store *store, uint64_t number);

/* blocks_fds_drop forgets a descriptor whose file was removed, once nobody holds it. */
void blocks_fds_drop(blocks_store *store, uint64_t number);

/* blocks_fds_free closes all. */
void blocks_fds_free(blocks_fds *fds);

/* --- the store --- */

struct blocks_store {
  int root_fd;
  int packs_fd;
  int files_fd;
  int lock_fd;
  char *index_path;
  uint64_t bytes_max;
  uint64_t pack_bytes_max;
  blocks_index *index;
  blocks_fds fds;
  uint64_t rebuilt;
  uint64_t lost_files;
  uint64_t damaged; /* places in the log where a record was not whole */
  uint64_t cut_bytes;

  pthread_mutex_t append; /* guards all below; held for one write to a pack at most */
  blocks_batch queued;
  blocks_batch committing; /* still searched while it is written to the index */
  blocks_head head;        /* pack and pack_end: where the next record goes */
  int pack_fd;             /* held in fds */
  uint32_t pack_salt;
  uint64_t bytes_used;
  uint64_t packs;
  bool broken;      /* a sync failed: no more writes */
  bool collecting;  /* a garbage collection runs: put does not trust what is there */
  uint32_t imports; /* begun and not ended: no collection begins meanwhile */

  pthread_mutex_t sync; /* one group commit at a time */
};

/* blocks_store_append writes a record to the log. append is held. */
DEAI_MUST_CHECK int32_t blocks_store_append(blocks_store *store, blocks_record *record,
                                            deai_bytes data, blocks_error *err);

/* blocks_store_next_pack closes the pack that is written and makes the next one. append is held. */
DEAI_MUST_CHECK int32_t blocks_store_next_pack(blocks_store *store, blocks_error *err);

/* blocks_store_reserve counts bytes against the cap; DEAI_EFULL. append is held. */
DEAI_MUST_CHECK int32_t blocks_store_reserve(blocks_store *store, uint64_t bytes,
                                             blocks_error *err);

/* blocks_store_dirty notes that the queued batch wrote to store number. append is held. */
DEAI_MUST_CHECK int32_t blocks_store_dirty(blocks_store *store, uint64_t number, blocks_error *err);

/* blocks_store_broken returns DEAI_EIO with the text once a sync failed. append is held. */
DEAI_MUST_CHECK int32_t blocks_store_broken(const blocks_store *store, blocks_error *err);

/* blocks_store_find_queued looks for a block or leaf that waits for a sync: 1 or 0. */
int32_t blocks_store_find_queued(blocks_store *store, const blocks_cid *cid, blocks_place *out);

/* blocks_store_commit writes the operations of batch and the head (unless NULL) to the index in one
   transaction. Used by sync and recovery. */
DEAI_MUST_CHECK int32_t blocks_store_commit(blocks_store *store, const blocks_batch *batch,
                                            const blocks_head *head, blocks_error *err);

/* blocks_store_mark_missing makes damaged places missing, durably; places that changed meanwhile
   are left alone. Returns how many were marked. */
DEAI_MUST_CHECK int32_t blocks_store_mark_missing(blocks_store *store, const blocks_place *places,
                                                  uint32_t count, blocks_error *err);

/* blocks_apply writes one operation to the index, inside a transaction. skipped (may be NULL) is
   set for a file whose root has another file already. */
typedef struct blocks_apply {
  blocks_index *index;
  blocks_txn *txn;
  blocks_file_spec file; /* cached; number 0 = none */
  uint32_t segment;
  bool bits_loaded;
  uint32_t born;
  bool replace; /* a file takes the root of an older one, which is being collected */
  uint8_t bits[BLOCKS_SEGMENT_BYTES];
} blocks_apply;
DEAI_MUST_CHECK int32_t blocks_apply_op(blocks_apply *apply, const blocks_op *op, bool *skipped);

/* blocks_apply_flush writes back the cached file and bitmap; before the commit. */
DEAI_MUST_CHECK int32_t blocks_apply_flush(blocks_apply *apply);

/* blocks_apply_missing marks a damaged place as not here: 1 when it changed something. */
DEAI_MUST_CHECK int32_t blocks_apply_missing(blocks_apply *apply, const blocks_place *place);

/* blocks_place_read reads and checks the bytes of a place: length, CRC, and the hash unless it is a
   leaf of files/ (full = true hashes these too). */
DEAI_MUST_CHECK int32_t blocks_place_read(blocks_store *store, const blocks_place *place, bool full,
                                          blocks_buf *buf, blocks_error *err);

/* blocks_store_recover brings the index up to the end of the log and removes what nothing knows;
   from the start when the index is fresh. [worker] */
DEAI_MUST_CHECK int32_t blocks_store_recover(blocks_store *store,
                                             const blocks_store_options *options, bool fresh,
                                             blocks_error *err);

/* --- files/ --- */

/* blocks_file_name writes the file name of a file number. */
void blocks_file_name(uint64_t number, char out[32]);

/* blocks_file_make makes an empty file with a number of its own and bytes reserved; returns the
   descriptor in *fd_out. */
DEAI_MUST_CHECK int32_t blocks_file_make(blocks_store *store, uint64_t bytes, uint64_t *number_out,
                                         int *fd_out, blocks_error *err);

/* blocks_file_resize changes the reserved size of a file that is being made. */
DEAI_MUST_CHECK int32_t blocks_file_resize(blocks_store *store, int fd, uint64_t from, uint64_t to,
                                           blocks_error *err);

/* blocks_file_discard closes and removes a file of bytes that was not registered. */
void blocks_file_discard(blocks_store *store, uint64_t number, int fd, uint64_t bytes);

/* blocks_file_register syncs the file, logs and queues it, and takes over leaves in any case. */
DEAI_MUST_CHECK int32_t blocks_file_register(blocks_store *store, int fd, blocks_leaves *leaves,
                                             blocks_error *err);

/* blocks_file_shape walks the inner nodes under root and lists the leaves of a file for files/;
   DEAI_EUNSUPPORTED when it is none, DEAI_ENOTFOUND when a node is missing. */
DEAI_MUST_CHECK int32_t blocks_file_shape(blocks_store *store, const blocks_cid *root,
                                          blocks_leaves **out, blocks_error *err);

/* blocks_file_find reads the file registered for root; DEAI_ENOTFOUND. */
DEAI_MUST_CHECK int32_t blocks_file_find(blocks_store *store, const blocks_cid *root,
                                         blocks_file_spec *out, blocks_error *err);

/* blocks_store_pin_count reads the references on cid, queued ones too. append is held. */
DEAI_MUST_CHECK int32_t blocks_store_pin_count(blocks_store *store, const blocks_cid *cid,
                                               uint64_t *count_out);

/* blocks_store_sync_log is blocks_store_sync that also covers records without an operation. */
DEAI_MUST_CHECK int32_t blocks_store_sync_log(blocks_store *store, blocks_error *err);

/* blocks_store_queue_block queues a block as new, wherever else it may be. */
DEAI_MUST_CHECK int32_t blocks_store_queue_block(blocks_store *store, const blocks_cid *cid,
                                                 deai_bytes data, blocks_error *err);

/* blocks_store_put_checked is blocks_store_put for a version 1 CID that was just made of data. */
DEAI_MUST_CHECK int32_t blocks_store_put_checked(blocks_store *store, const blocks_cid *cid,
                                                 deai_bytes data, blocks_error *err);

/* blocks_leaf_cid is the CID of the leaf with this SHA-256. */
blocks_cid blocks_leaf_cid(const uint8_t digest[DEAI_HASH_BYTES]);

#endif
