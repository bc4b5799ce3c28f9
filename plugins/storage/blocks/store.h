#ifndef DEAI_PLUGINS_STORAGE_BLOCKS_STORE_H
#define DEAI_PLUGINS_STORAGE_BLOCKS_STORE_H

#include "reader.h"

/* A blocks_store keeps blocks in one folder: an LMDB index over two stores.

     packs/   append-only files of framed records (length, CID, CRC-32C): small blocks, the
              inner nodes of files, pins. They are the log from which the index can be rebuilt.
     files/   one preallocated file for each UnixFS file from 4 MiB with raw leaves of one size:
              leaf i lies at i * leaf size, so the file is blocks and a mappable file at once. A
              bitmap in the index says which leaves are there and verified.
     index/   LMDB: CID and place -> length and CRC; files, bitmaps, pins, the end of the log.

     put, pin, import ... --> QUEUED (readable, not durable) --blocks_store_sync--> DURABLE

   blocks_store_sync writes the packs and files to disk and then commits one LMDB transaction for
   everything queued, of all threads: that is the group commit. After a crash all that a sync
   returned for is there; what was queued and not synced may be there or not, never half.

   Threads  open and close: one thread, no other call running. All else [any], as many threads as
            BLOCKS_THREADS_MAX at once; calls that touch the disk may wait for it, so a loop thread
            hands them to a worker: those are tagged [worker]. Readers take no lock that a sync or
            a verify holds while it works.
   Memory   The store owns what it caches; results go to buffers of the caller.
   Limits   Blocks of at most 2 MiB. bytes_max of the options is never exceeded: DEAI_EFULL with the
            numbers comes before. A full disk is DEAI_EFULL too and loses nothing.
   Caveats  One process a folder (a lock file says who is second). Not across fork; not on a network
            file system. After a failed fdatasync the store refuses all writes with DEAI_EIO until
            it is opened again: the kernel may have dropped the pages, so a retry would lie.
            Identity CIDs carry their block and are never stored. */

#define BLOCKS_FILE_BYTES_MIN   (4u << 20)    /* from here on a file lies in files/ */
#define BLOCKS_PACK_BYTES       (256u << 20)  /* a pack is closed before it passes this */
#define BLOCKS_INDEX_BYTES_MAX  (64ull << 30) /* size of the sparse LMDB map */
#define BLOCKS_THREADS_MAX      120
#define BLOCKS_QUEUED_BYTES_MAX (1ull << 30) /* put syncs by itself above this */

typedef struct blocks_store blocks_store;

/* Told now and then during long work; of may grow. May be NULL. */
typedef void blocks_progress(void *user, uint64_t done, uint64_t of);

typedef struct blocks_store_options {
  const char *folder;      /* created with mode 0700 when it is not there */
  uint64_t bytes_max;      /* cap of packs and files in bytes; 0 = no cap */
  uint64_t pack_bytes_max; /* 0 = BLOCKS_PACK_BYTES */
  bool rebuild;            /* throw the index away and make it again from packs and files */
  void *user;              /* for progress: bytes read while the index is made again */
  blocks_progress *progress;
} blocks_store_options;

/* blocks_store_open opens or makes a store. A torn end of the log is cut off; a lost or damaged
   index is made again. DEAI_EBUSY when another process has it, DEAI_EVERSION, DEAI_EIO, DEAI_EFULL.
   [worker] */
DEAI_MUST_CHECK int32_t blocks_store_open(const blocks_store_options *options, blocks_store **out,
                                          blocks_error *err);

/* blocks_store_close syncs what is queued and ends the store; NULL is fine. Returns the status of
   that sync. [worker] */
int32_t blocks_store_close(blocks_store *store);

/* blocks_store_put checks data against cid and queues the block; a block that is there is not
   written again. A missing leaf of a file in files/ goes to its place there. DEAI_EVERIFY,
   DEAI_EUNSUPPORTED (hash), DEAI_ETOOLARGE, DEAI_EFULL. [worker] */
DEAI_MUST_CHECK int32_t blocks_store_put(blocks_store *store, const blocks_cid *cid,
                                         deai_bytes data, blocks_error *err);

/* blocks_store_sync makes durable all that was queued before the call. [worker] */
DEAI_MUST_CHECK int32_t blocks_store_sync(blocks_store *store, blocks_error *err);

/* blocks_store_get replaces buf by the block, checked against its CID (a leaf of files/, verified
   when it came, against its CRC). DEAI_ENOTFOUND; DEAI_EVERIFY when all copies on disk are damaged,
   which are marked missing, so that the block can be fetched again. [worker] */
DEAI_MUST_CHECK int32_t blocks_store_get(blocks_store *store, const blocks_cid *cid,
                                         blocks_buf *buf, blocks_error *err);

/* blocks_store_has returns 1 when the block is there, 0 when not, or a negative status; *len_out
   (may be NULL) is its length. Reads the index only. */
DEAI_MUST_CHECK int32_t blocks_store_has(blocks_store *store, const blocks_cid *cid,
                                         uint32_t *len_out);

/* blocks_store_source returns the store as a source for reader.h; it lives as long as the store. */
blocks_source blocks_store_source(blocks_store *store);

/* blocks_store_pin adds one reference to the DAG under cid and queues that; the blocks need not be
   there. [worker] */
DEAI_MUST_CHECK int32_t blocks_store_pin(blocks_store *store, const blocks_cid *cid,
                                         blocks_error *err);

/* blocks_store_unpin takes one reference away; DEAI_ENOTFOUND when there is none. [worker] */
DEAI_MUST_CHECK int32_t blocks_store_unpin(blocks_store *store, const blocks_cid *cid,
                                           blocks_error *err);

/* blocks_store_pins sets *count_out to the references held on cid itself. */
DEAI_MUST_CHECK int32_t blocks_store_pins(blocks_store *store, const blocks_cid *cid,
                                          uint64_t *count_out);

/* blocks_store_list fills cids with up to max CIDs (version 1) in key order behind *after (NULL =
   from the start) and sets *count_out; fewer than max = the end. Queued blocks are not listed. */
DEAI_MUST_CHECK int32_t blocks_store_list(blocks_store *store, const blocks_cid *after,
                                          blocks_cid *cids, uint32_t max, uint32_t *count_out,
                                          blocks_error *err);

/* blocks_store_list_pins is the same for pinned CIDs. */
DEAI_MUST_CHECK int32_t blocks_store_list_pins(blocks_store *store, const blocks_cid *after,
                                               blocks_cid *cids, uint32_t max, uint32_t *count_out,
                                               blocks_error *err);

typedef struct blocks_stat {
  uint64_t size;   /* file bytes; 0 while the root block is missing or it is a directory */
  uint64_t blocks; /* known blocks of the DAG, each as often as it is linked */
  uint64_t have;   /* of these, here */
  uint64_t pins;   /* references on the CID itself */
} blocks_stat;

/* blocks_store_stat walks the DAG under cid (inner nodes are read, leaves only looked up). An
   unknown root has blocks 1, have 0. DEAI_ETOOLARGE above 2^26 links. [worker] */
DEAI_MUST_CHECK int32_t blocks_store_stat(blocks_store *store, const blocks_cid *cid,
                                          blocks_stat *out, blocks_error *err);

typedef struct blocks_usage {
  uint64_t bytes;     /* of packs and files on disk */
  uint64_t bytes_max; /* 0 = no cap */
  uint64_t places;    /* index entries: blocks and leaves */
  uint64_t packs;
  uint64_t files;
  uint64_t pins;       /* pinned CIDs */
  uint64_t lost_files; /* of files/, whose content was gone from the disk at this open */
  uint64_t damaged;    /* spots of the log without a whole record, met at this open */
  uint64_t rebuilt;    /* 1 when this open made the index again */
  uint64_t cut_bytes;  /* torn bytes this open cut off the log */
} blocks_usage;

/* blocks_store_usage fills *out with the figures of now. */
DEAI_MUST_CHECK int32_t blocks_store_usage(blocks_store *store, blocks_usage *out);

/* Where a verify stands; zero it to begin. */
typedef struct blocks_verify {
  uint8_t key[BLOCKS_CID_BYTES_MAX + 16]; /* the last place that was read */
  uint32_t key_len;
  bool finished;
  uint64_t done; /* places read so far */
  uint64_t of;   /* places in the index at the last step */
  uint64_t bad;  /* damaged places found so far */
} blocks_verify;

/* blocks_store_verify reads and hashes the next places, about bytes_step bytes of them, calls bad
   for each block whose bytes are wrong or gone, and marks those missing (durably): they can be put
   again. finished is set at the end. Puts and gets go on meanwhile. [worker] */
typedef void blocks_bad(void *user, const blocks_cid *cid);
DEAI_MUST_CHECK int32_t blocks_store_verify(blocks_store *store, blocks_verify *state,
                                            uint64_t bytes_step, blocks_error *err, void *user,
                                            blocks_bad *bad);

/* blocks_store_open_file opens the file cid for reading and mapping, when every block of it is
   here: a file of files/ itself, a smaller one as a sealed copy in memory. The descriptor is the
   caller's, read-only, close-on-exec. DEAI_ENOTFOUND names the first missing block. [worker] */
DEAI_MUST_CHECK int32_t blocks_store_open_file(blocks_store *store, const blocks_cid *cid,
                                               int *fd_out, uint64_t *size_out, blocks_error *err);

/* A blocks_file is a file of files/ that is being fetched leaf by leaf from elsewhere. */
typedef struct blocks_file blocks_file;

/* blocks_file_begin makes or resumes the file under root, whose inner nodes must all be here
   (DEAI_ENOTFOUND names the first missing one). Its place on disk is reserved at once (DEAI_EFULL).
   DEAI_EUNSUPPORTED when it is no file for files/ (under 4 MiB, leaves not raw, of several sizes or
   not sha2-256): put its blocks one by one then. [worker] */
DEAI_MUST_CHECK int32_t blocks_file_begin(blocks_store *store, const blocks_cid *root,
                                          blocks_file **out, blocks_error *err);

/* blocks_file_leaves returns the count of leaves; *have_out (may be NULL) is how many are here. */
uint32_t blocks_file_leaves(blocks_file *file, uint32_t *have_out);

/* blocks_file_missing finds the first missing leaf at or behind from. Returns 1 and its index and
   CID, or 0 when there is none. A leaf that the store has elsewhere is missing too until it is put.
 */
int32_t blocks_file_missing(blocks_file *file, uint32_t from, uint32_t *leaf_out,
                            blocks_cid *cid_out);

/* blocks_file_put checks data against the CID of leaf and queues it; durable after
   blocks_store_sync. A leaf that is there is not written again. [worker] */
DEAI_MUST_CHECK int32_t blocks_file_put(blocks_file *file, uint32_t leaf, deai_bytes data,
                                        blocks_error *err);

/* blocks_file_end ends the handle, not the file; NULL is fine. */
void blocks_file_end(blocks_file *file);

/* Where a garbage collection stands; zero it to begin. */
typedef struct blocks_gc {
  uint32_t phase;                         /* 0 = not begun */
  uint32_t collection;                    /* number of this one */
  uint64_t pins_seen;                     /* pin operations that the marks cover */
  uint64_t number;                        /* the last file or pack looked at */
  uint8_t key[BLOCKS_CID_BYTES_MAX + 16]; /* the last place or pin looked at */
  uint32_t key_len;
  bool last; /* the pack that was written at that time has been looked at */
  bool finished;
  uint64_t kept;        /* places kept */
  uint64_t freed;       /* places dropped */
  uint64_t bytes_freed; /* given back to the disk */
} blocks_gc;

/* blocks_store_gc does the next step of a collection, about places_step index entries of work:
   blocks that no pin reaches are dropped, packs that are more than half dead are written anew.
   finished is set at the end. What is put while a collection runs is kept; a pin made meanwhile
   keeps what is still there. A block under a pinned root that is itself missing is not reached: get
   parents first. DEAI_EBUSY when imports are under way as it begins or another collection runs.
   [worker] */
DEAI_MUST_CHECK int32_t blocks_store_gc(blocks_store *store, blocks_gc *state, uint32_t places_step,
                                        blocks_error *err);

/* blocks_store_gc_end gives up a collection that is not finished; what it dropped stays dropped. */
void blocks_store_gc_end(blocks_store *store, blocks_gc *state);

#endif
