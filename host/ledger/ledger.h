#ifndef DEAI_HOST_LEDGER_LEDGER_H
#define DEAI_HOST_LEDGER_LEDGER_H

#include "host/base/keys.h"
#include "host/base/platform.h"

#include "deai/contracts/ledger.h"

/* A deai_ledger is the ledger of one node: the state machine, its files, and one engine.

     engine local    this node orders: submit -> a worker checks the signature -> the ledger thread
                     runs it, closes a block, makes it durable, answers
     engine follow   another node orders: apply_entry for each block entry received

   A block closes when the last one is durable and a transaction waits, or something is due; there
   is no timer and no block without cause. Answered = durable: block log synced, then order.state,
   then the state committed. What was answered is never lost.

   Files in the folder (DATA/ledger)
     genesis        the genesis bytes
     blocks.log     all blocks, append-only (blocklog.h)
     order.state    what this node signed last (orderstate.h); only where it orders
     state/         LMDB: the records and the roots of their buckets; rebuilt from the log when it
                    is damaged
     evidence/      two different blocks of one height, or a block with another root: one file each,
                    HEIGHT-HASH.block; while one lies there, the follower stays stopped
     lock           held by the process that has the folder open

   Start     The log is ahead of the state: the blocks are run again. The log has a torn end that
             was never answered: it is cut. The state or order.state is ahead of the log: a backup
             was restored, refused with a text. The state is damaged: rebuilt from the log.
   Answers   The same signed bytes again get their first answer for DEAI_TX_REMEMBER_BLOCKS blocks,
             later DEAI_EINVAL (the nonce is used). A transaction that was refused was never in a
             block and may be sent again. A nonce that is ahead (up to DEAI_TX_AHEAD_MAX) waits
             DEAI_TX_AHEAD_MS for those before it, then gets DEAI_ETIMEDOUT.

   Threads  Every function is [any] unless its comment says else; they lock inside. Callbacks run on
            the ledger thread (engine follow: on the thread that called apply_entry) and must not
            block nor call into the ledger, except lookup, head and read.
   Memory   Bytes handed to callbacks are valid until the callback returns.
   Limits   DEAI_TX_AHEAD_MAX waiting transactions a key and DEAI_TX_WAITING_MAX in all, then
            DEAI_EBUSY; block entries up to DEAI_BLOCK_ENTRY_MAX. */

#define DEAI_TX_AHEAD_MAX       64u
#define DEAI_TX_AHEAD_MS        5000u
#define DEAI_TX_WAITING_MAX     4096u
#define DEAI_TX_REMEMBER_BLOCKS 100000u
#define DEAI_BLOCK_SKEW_MS      10000u /* a follower warns when a block is further ahead */

typedef struct deai_ledger deai_ledger;

typedef enum deai_ledger_engine {
  DEAI_ENGINE_LOCAL = 0,
  DEAI_ENGINE_FOLLOW = 1
} deai_ledger_engine;

/* One durable block: its entry, and the events of its modules. */
typedef struct deai_ledger_event {
  deai_str module;
  deai_str name;
  deai_bytes body; /* CBOR */
} deai_ledger_event;

typedef struct deai_ledger_update {
  uint64_t height;
  uint64_t time_ms;
  deai_bytes entry; /* block-entry */
  const deai_ledger_event *events;
  uint32_t event_count;
} deai_ledger_update;

typedef struct deai_ledger_options {
  const char *folder; /* DATA/ledger; made when missing */
  deai_bytes genesis; /* needed the first time; later empty or the same bytes */
  deai_ledger_engine engine;
  const deai_key *order;         /* engine local: signs blocks; outlives the ledger */
  const deai_platform *platform; /* NULL = the machine */
  void *user;
  /* on_block is called for each block after it is durable; may be NULL */
  void (*on_block)(void *user, const deai_ledger_update *update);
  uint32_t workers;   /* threads that check signatures; 0 = one a core, at most 8 */
  uint32_t read_only; /* 1: refuse instead of repairing */
  uint64_t map_bytes; /* largest size of the state; 0 = 16 GiB (address space, not disk) */
} deai_ledger_options;

/* deai_ledger_open opens or makes the ledger of a folder. */
DEAI_MUST_CHECK int32_t deai_ledger_open(const deai_ledger_options *options,
                                         deai_ledger **ledger_out, char *err, uint32_t err_cap);

/* deai_ledger_close stops the threads (waiting transactions get DEAI_ECANCELLED) and closes the
   files; NULL is allowed. Not from a callback. */
void deai_ledger_close(deai_ledger *ledger);

/* deai_ledger_genesis returns the genesis bytes and their hash. */
deai_bytes deai_ledger_genesis(const deai_ledger *ledger, uint8_t hash[DEAI_HASH_BYTES]);

/* done is called once for each accepted submit: status, text, id and height of the block. */
typedef void deai_ledger_done(void *user, int32_t status, const char *why,
                              const uint8_t id[DEAI_HASH_BYTES], uint64_t height);

/* deai_ledger_submit takes signed<tx> bytes (copied); engine local only. Returns DEAI_EBUSY,
   DEAI_ETOOLARGE, DEAI_EUNSUPPORTED (engine follow) or DEAI_ENOMEM at once and then never calls
   done. */
DEAI_MUST_CHECK int32_t deai_ledger_submit(deai_ledger *ledger, deai_bytes signed_tx, void *user,
                                           deai_ledger_done *done);

/* deai_ledger_apply_entry verifies the next block entry in full, runs it and makes it durable;
   engine follow only. Returns DEAI_EAGAIN for a height that is not the next one, DEAI_OK for a
   block already here, DEAI_EINVAL for bytes that are no block entry, DEAI_EDENIED for one that the
   orderer did not sign, DEAI_EVERIFY for a block whose root differs or another block of a height
   already here: it is kept as evidence and the ledger stops following. */
DEAI_MUST_CHECK int32_t deai_ledger_apply_entry(deai_ledger *ledger, deai_bytes entry, char *err,
                                                uint32_t err_cap);

typedef struct deai_ledger_head {
  uint64_t height;
  uint64_t time_ms;                /* block time of the head */
  uint64_t now_ms;                 /* the block time a block would get now */
  uint8_t hash[DEAI_HASH_BYTES];   /* H(signed bytes of the head); genesis hash at height 0 */
  uint8_t root[DEAI_HASH_BYTES];   /* state root */
  uint8_t orderer[DEAI_KEY_BYTES]; /* who signs the next block */
  uint32_t stopped;                /* 1: damage or evidence; why in the log */
} deai_ledger_head;

/* deai_ledger_head_get fills *head with the durable head. */
void deai_ledger_head_get(deai_ledger *ledger, deai_ledger_head *head);

/* deai_ledger_block returns the signed block of the head as fresh bytes (free them); empty at
   height 0. */
DEAI_MUST_CHECK int32_t deai_ledger_block(deai_ledger *ledger, uint8_t **ptr_out,
                                          uint64_t *len_out);

/* deai_ledger_read returns the block entry of height as fresh bytes (free them); DEAI_ENOTFOUND
   above the head. */
DEAI_MUST_CHECK int32_t deai_ledger_read(deai_ledger *ledger, uint64_t height, uint8_t **ptr_out,
                                         uint64_t *len_out);

/* An answer of deai_ledger_lookup; free it with deai_ledger_answer_free. */
typedef struct deai_ledger_answer {
  int32_t found; /* 1: value holds the record; 0: there is none (the proof says so too) */
  deai_bytes value;
  deai_bytes proof; /* empty unless asked, or at height 0 */
  deai_bytes block; /* signed block of the head the answer belongs to; empty at height 0 */
  uint64_t height;
  void *memory;
} deai_ledger_answer;

/* deai_ledger_lookup reads the record key of table in module from the durable state; with prove
   also its proof (proof.h). Returns DEAI_ENOTFOUND for a module or table that is not there. */
DEAI_MUST_CHECK int32_t deai_ledger_lookup(deai_ledger *ledger, deai_str module, deai_str table,
                                           deai_bytes key, int32_t prove,
                                           deai_ledger_answer *answer_out);

/* deai_ledger_answer_free ends an answer. */
void deai_ledger_answer_free(deai_ledger_answer *answer);

/* deai_ledger_each_record walks the durable records of a table whose keys start with prefix, as
   deai_ledger_each does, until each returns another value than DEAI_OK. */
DEAI_MUST_CHECK int32_t deai_ledger_each_record(deai_ledger *ledger, deai_str module,
                                                deai_str table, deai_bytes prefix, void *user,
                                                int32_t (*each)(void *user, deai_bytes key,
                                                                deai_bytes value));

/* deai_ledger_nonce sets *next_out to the nonce that the next transaction of key must carry and,
   when account is not NULL, writes the account of the key; DEAI_ENOTFOUND for an unknown key. */
DEAI_MUST_CHECK int32_t deai_ledger_nonce(deai_ledger *ledger, const uint8_t key[DEAI_KEY_BYTES],
                                          uint64_t *next_out, uint8_t account[DEAI_ACCT_BYTES]);

/* deai_ledger_wake makes the ledger thread look at the clock again: for a test that moved it. */
void deai_ledger_wake(deai_ledger *ledger);

#endif
