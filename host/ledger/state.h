#ifndef DEAI_HOST_LEDGER_STATE_H
#define DEAI_HOST_LEDGER_STATE_H

#include "host/base/merkle.h"

#include "deai/contracts/ledger.h"
#include "deai/ledger_module.h"

/* A deai_state holds the records of all modules: committed ones in LMDB, those of the block that is
   made in memory above them, and the roots of both.

     get, put, del, each -> mark, rollback (a transaction that fails) -> root -> commit | discard

   Records   key = u16 table | u16 bucket | key of the module, big-endian; value = the module's
             bytes and a CRC-32C over key and value. Buckets and tree: proof.h. Only the buckets
             that changed are hashed again; their roots are stored, the inner nodes of the top tree
             live in memory.
   Commit    One LMDB transaction: records, bucket roots, the head {height, time, block hash, root,
             module set, signed block}, the place of the block in the log, the ids of its
             transactions. No WRITEMAP: a wild pointer cannot write the file.
   Damage    Every record read is checked; DEAI_EVERIFY names the table. deai_state_check reads all.
   Threads   One thread makes blocks. The lookup functions are [any]; a lock keeps them on one
             committed block.
   Memory    What get and each hand out is valid until the next commit, discard or rollback.
   Limits    Keys and values as in ledger_module.h. */

#define DEAI_STATE_MAP_BYTES (UINT64_C(16) << 30)

typedef struct deai_state deai_state;

typedef struct deai_state_head {
  uint64_t height;
  uint64_t time_ms;
  uint64_t log_end;                 /* bytes of the block log up to this block */
  uint8_t hash[DEAI_HASH_BYTES];    /* of the signed block */
  uint8_t root[DEAI_HASH_BYTES];    /* of the state */
  uint8_t modules[DEAI_HASH_BYTES]; /* of the module set */
} deai_state_head;

/* What commit writes beside the records. */
typedef struct deai_state_commit {
  deai_state_head head;
  deai_bytes signed_block;
  uint64_t log_at;       /* where its frame starts */
  const uint8_t *tx_ids; /* tx_count * DEAI_HASH_BYTES */
  uint64_t tx_count;
  const uint8_t *old_ids; /* ids that are forgotten now */
  uint64_t old_count;
} deai_state_commit;

typedef enum deai_state_mode {
  DEAI_STATE_SYNC = 0,  /* each commit is durable */
  DEAI_STATE_LOOSE = 1, /* durable when deai_state_sync returned: a copy in the making */
  DEAI_STATE_READ = 2   /* nothing is written; it must exist */
} deai_state_mode;

/* deai_state_open opens the state in folder, made when missing, for the tables of genesis. A state
   that is new has height 0 and no records (deai_state_is_new). */
DEAI_MUST_CHECK int32_t deai_state_open(const char *folder, const deai_genesis *genesis,
                                        uint64_t map_bytes, deai_state_mode mode,
                                        deai_state **state_out, char *err, uint32_t err_cap);

/* deai_state_sync makes all commits durable. */
DEAI_MUST_CHECK int32_t deai_state_sync(deai_state *state, char *err, uint32_t err_cap);

/* deai_state_close closes the files; NULL is allowed. */
void deai_state_close(deai_state *state);

/* deai_state_is_new returns 1 before the first commit. */
int32_t deai_state_is_new(const deai_state *state);

/* deai_state_head_get returns the committed head. */
deai_state_head deai_state_head_get(deai_state *state);

/* deai_state_table returns the number of a table, or -1. */
int32_t deai_state_table(const deai_state *state, deai_str module, deai_str name);

/* deai_state_get reads a record, with the changes of the block that is made. */
DEAI_MUST_CHECK int32_t deai_state_get(deai_state *state, uint32_t table, deai_bytes key,
                                       deai_bytes *value);
/* deai_state_put writes a record. */
DEAI_MUST_CHECK int32_t deai_state_put(deai_state *state, uint32_t table, deai_bytes key,
                                       deai_bytes value);
/* deai_state_del removes a record; DEAI_ENOTFOUND when there is none. */
DEAI_MUST_CHECK int32_t deai_state_del(deai_state *state, uint32_t table, deai_bytes key);
/* deai_state_each walks the records of table with prefix, changes included. */
DEAI_MUST_CHECK int32_t deai_state_each(deai_state *state, uint32_t table, deai_bytes prefix,
                                        deai_ledger_each *each, void *user);

/* deai_state_each_change calls each for the changed records of table: their committed and their new
   value (ptr NULL = none). */
typedef int32_t deai_state_change(void *user, deai_bytes before, deai_bytes after);
DEAI_MUST_CHECK int32_t deai_state_each_change(deai_state *state, uint32_t table,
                                               deai_state_change *each, void *user);

/* deai_state_mark returns a place that deai_state_rollback goes back to. */
uint64_t deai_state_mark(const deai_state *state);
/* deai_state_rollback undoes all changes after mark. */
void deai_state_rollback(deai_state *state, uint64_t mark);

/* deai_state_root computes the root with all changes. */
DEAI_MUST_CHECK int32_t deai_state_root(deai_state *state, uint8_t root[DEAI_HASH_BYTES]);

/* deai_state_commit_block makes the changes durable; after DEAI_EIO or DEAI_EFULL the state must be
   closed. deai_state_root must have been called after the last change. */
DEAI_MUST_CHECK int32_t deai_state_commit_block(deai_state *state, const deai_state_commit *commit,
                                                char *err, uint32_t err_cap);

/* deai_state_discard forgets all changes. */
void deai_state_discard(deai_state *state);

/* deai_state_check reads every committed record and bucket, and compares the root with the head's.
   [any] */
DEAI_MUST_CHECK int32_t deai_state_check(deai_state *state, char *err, uint32_t err_cap);

/* One committed record with its proof. memory is freed by the caller. */
typedef struct deai_state_answer {
  int32_t found;
  deai_bytes value;
  deai_bytes proof;
  deai_bytes signed_block;
  uint64_t height;
  void *memory;
} deai_state_answer;

/* deai_state_lookup reads a committed record. [any] */
DEAI_MUST_CHECK int32_t deai_state_lookup(deai_state *state, uint32_t table, deai_bytes key,
                                          int32_t prove, deai_state_answer *answer);

/* deai_state_lookup_each walks committed records. [any] */
DEAI_MUST_CHECK int32_t deai_state_lookup_each(deai_state *state, uint32_t table, deai_bytes prefix,
                                               deai_ledger_each *each, void *user);

/* deai_state_tx_height returns the height of a remembered transaction, or 0. [any] */
uint64_t deai_state_tx_height(deai_state *state, const uint8_t id[DEAI_HASH_BYTES]);

/* deai_state_block_at sets *at_out to the place of a block in the log; DEAI_ENOTFOUND. [any] */
DEAI_MUST_CHECK int32_t deai_state_block_at(deai_state *state, uint64_t height, uint64_t *at_out);

#endif
