#ifndef DEAI_PLUGINS_STORAGE_BLOCKS_INDEX_H
#define DEAI_PLUGINS_STORAGE_BLOCKS_INDEX_H

#include "pack.h"

/* A blocks_index is the LMDB side of the store: where each block lies, which leaves of files are
   here, what is pinned, where the log ends. Every value carries a CRC-32C over its key and itself,
   because LMDB 0.9 has no page checksums.

     place  CID | be64 store | be64 offset -> length, CRC, flags, born
            (a block may lie in several places; store = pack number, or file number | FILE bit)
     file   be64 number -> size, leaf size, leaves, leaves here, born, root CID
     bits   be64 number | be32 segment -> bitmap of 4096 leaves
     root   CID -> file number
     pin    CID -> references
     mark   CID -> nothing: what a garbage collection has reached; todo: what it has yet to read
     head   "head" -> layout version, end of the log, next numbers

   Threads  Reads [any], each on a pooled transaction of its own. One write transaction at a time;
            LMDB makes a second one wait.
   Memory   Results are copies.
   Limits   BLOCKS_INDEX_BYTES_MAX of map, 126 readers.
   Caveats  No WRITEMAP (a stray pointer of a plug-in must not reach the file) and no NOSYNC. */

#define BLOCKS_STORE_FILE     (UINT64_C(1) << 63) /* bit of a store number: a file, not a pack */
#define BLOCKS_PLACE_HERE     1u                  /* written and verified */
#define BLOCKS_PLACE_KEY_MAX  (BLOCKS_CID_BYTES_MAX + 16)
#define BLOCKS_SEGMENT_LEAVES 4096
#define BLOCKS_SEGMENT_BYTES  (BLOCKS_SEGMENT_LEAVES / 8)

typedef struct blocks_index blocks_index;
typedef struct MDB_txn blocks_txn;

typedef struct blocks_place {
  blocks_cid cid; /* version 1 form */
  uint64_t store;
  uint64_t offset;
  uint32_t len;
  uint32_t crc;
  uint32_t flags;
  uint32_t born; /* number of the last garbage collection begun before it was written */
} blocks_place;

typedef struct blocks_file_spec {
  uint64_t number;
  uint64_t size;
  uint32_t leaf_bytes;
  uint32_t leaves;
  uint32_t have; /* leaves here */
  uint32_t born; /* as for places */
  blocks_cid root;
} blocks_file_spec;

typedef struct blocks_head {
  uint64_t pack;      /* number of the pack that is written */
  uint64_t pack_end;  /* bytes of it that are in the index */
  uint64_t next_file; /* file numbers are never used again */
  uint64_t next_pack;
  uint32_t collection;   /* number of the last garbage collection begun */
  uint64_t pins_changed; /* counts pin operations, for the garbage collection */
} blocks_head;

/* blocks_index_open opens or makes the index in folder. DEAI_EVERIFY when it is damaged or has
   another layout: the caller throws it away and rebuilds. *fresh_out: it has no head yet. [worker]
 */
DEAI_MUST_CHECK int32_t blocks_index_open(const char *folder, blocks_index **out, bool *fresh_out,
                                          blocks_head *head_out, blocks_error *err);

/* blocks_index_close ends it; NULL is fine. */
void blocks_index_close(blocks_index *index);

/* blocks_index_read begins a read on a pooled transaction; _done hands it back. */
DEAI_MUST_CHECK int32_t blocks_index_read(blocks_index *index, blocks_txn **out, blocks_error *err);
void blocks_index_read_done(blocks_index *index, blocks_txn *txn);

/* blocks_index_write begins the write transaction; end it with commit or abort. */
DEAI_MUST_CHECK int32_t blocks_index_write(blocks_index *index, blocks_txn **out,
                                           blocks_error *err);
DEAI_MUST_CHECK int32_t blocks_index_commit(blocks_txn *txn, blocks_error *err);
void blocks_index_abort(blocks_txn *txn);

/* blocks_index_places copies up to max places of cid behind *after (NULL = from the first on) and
   returns their count or a negative status; damaged entries are skipped. */
DEAI_MUST_CHECK int32_t blocks_index_places(blocks_index *index, blocks_txn *txn,
                                            const blocks_cid *cid, const blocks_place *after,
                                            blocks_place *places, uint32_t max);

/* blocks_index_scan copies up to max places in key order behind the key (length 0 = from the first
   on) and moves the key to the last one. Returns the count; a damaged entry has flags
   UINT32_MAX. */
DEAI_MUST_CHECK int32_t blocks_index_scan(blocks_index *index, blocks_txn *txn,
                                          uint8_t key[BLOCKS_PLACE_KEY_MAX], uint32_t *key_len,
                                          blocks_place *places, uint32_t max);

/* blocks_index_key writes the key of a place and returns its length. */
uint32_t blocks_index_key(const blocks_place *place, uint8_t key[BLOCKS_PLACE_KEY_MAX]);

/* blocks_index_place_put, _drop and _has write, delete and look up one place. */
DEAI_MUST_CHECK int32_t blocks_index_place_put(blocks_index *index, blocks_txn *txn,
                                               const blocks_place *place);
DEAI_MUST_CHECK int32_t blocks_index_place_drop(blocks_index *index, blocks_txn *txn,
                                                const blocks_place *place);
DEAI_MUST_CHECK int32_t blocks_index_place_has(blocks_index *index, blocks_txn *txn,
                                               const blocks_place *place);

/* blocks_index_list copies up to max CIDs with a place that is here, behind after; the count. */
DEAI_MUST_CHECK int32_t blocks_index_list(blocks_index *index, blocks_txn *txn,
                                          const blocks_cid *after, blocks_cid *cids, uint32_t max);

/* blocks_index_file reads the file of a number, _file_of_root that of a root CID;
   DEAI_ENOTFOUND. */
DEAI_MUST_CHECK int32_t blocks_index_file(blocks_index *index, blocks_txn *txn, uint64_t number,
                                          blocks_file_spec *out);
DEAI_MUST_CHECK int32_t blocks_index_file_of_root(blocks_index *index, blocks_txn *txn,
                                                  const blocks_cid *root, blocks_file_spec *out);

/* blocks_index_file_next reads the first file with a number above number; DEAI_ENOTFOUND. */
DEAI_MUST_CHECK int32_t blocks_index_file_next(blocks_index *index, blocks_txn *txn,
                                               uint64_t number, blocks_file_spec *out);

/* blocks_index_file_put writes a file, with as_root also as the one of its root; _file_drop deletes
   it, its bitmap, and its root unless another file has that now. */
DEAI_MUST_CHECK int32_t blocks_index_file_put(blocks_index *index, blocks_txn *txn,
                                              const blocks_file_spec *file, bool as_root);
DEAI_MUST_CHECK int32_t blocks_index_file_drop(blocks_index *index, blocks_txn *txn,
                                               const blocks_file_spec *file);

/* blocks_index_bits copies the bitmap of a segment (zeros when there is none or it is damaged). */
DEAI_MUST_CHECK int32_t blocks_index_bits(blocks_index *index, blocks_txn *txn, uint64_t number,
                                          uint32_t segment, uint8_t bits[BLOCKS_SEGMENT_BYTES]);
DEAI_MUST_CHECK int32_t blocks_index_bits_put(blocks_index *index, blocks_txn *txn, uint64_t number,
                                              uint32_t segment,
                                              const uint8_t bits[BLOCKS_SEGMENT_BYTES]);

/* blocks_index_pin reads the references on cid (0 for none); _pin_put writes them, 0 deletes. */
DEAI_MUST_CHECK int32_t blocks_index_pin(blocks_index *index, blocks_txn *txn,
                                         const blocks_cid *cid, uint64_t *count_out);
DEAI_MUST_CHECK int32_t blocks_index_pin_put(blocks_index *index, blocks_txn *txn,
                                             const blocks_cid *cid, uint64_t count);

/* The sets of bare CIDs. */
typedef enum blocks_set { BLOCKS_SET_PIN, BLOCKS_SET_MARK, BLOCKS_SET_TODO } blocks_set;

/* blocks_index_set_list copies up to max CIDs of a set behind after (NULL = from the first on). */
DEAI_MUST_CHECK int32_t blocks_index_set_list(blocks_index *index, blocks_txn *txn, blocks_set set,
                                              const blocks_cid *after, blocks_cid *cids,
                                              uint32_t max);

/* blocks_index_set_add adds cid to mark or todo: 1 when it was new, 0 when it was there. */
DEAI_MUST_CHECK int32_t blocks_index_set_add(blocks_index *index, blocks_txn *txn, blocks_set set,
                                             const blocks_cid *cid);
DEAI_MUST_CHECK int32_t blocks_index_set_has(blocks_index *index, blocks_txn *txn, blocks_set set,
                                             const blocks_cid *cid);
DEAI_MUST_CHECK int32_t blocks_index_set_drop(blocks_index *index, blocks_txn *txn, blocks_set set,
                                              const blocks_cid *cid);
DEAI_MUST_CHECK int32_t blocks_index_set_clear(blocks_index *index, blocks_txn *txn,
                                               blocks_set set);

/* blocks_index_head_put writes the head. */
DEAI_MUST_CHECK int32_t blocks_index_head_put(blocks_index *index, blocks_txn *txn,
                                              const blocks_head *head);

/* blocks_index_counts counts the entries of place, file and pin. */
DEAI_MUST_CHECK int32_t blocks_index_counts(blocks_index *index, blocks_txn *txn, uint64_t *places,
                                            uint64_t *files, uint64_t *pins);

#endif
