#ifndef DEAI_HOST_LEDGER_ABCI_H
#define DEAI_HOST_LEDGER_ABCI_H

#include "host/ledger/state.h"

/* The line between an engine, which orders transactions and makes them durable, and the state
   machine, which knows what they mean. Its calls and their order are those of ABCI 2.0, so that an
   engine for CometBFT is another caller and no other machine.

     init_chain once -> height+
     height = (check_tx | query)* prepare* finalize commit     abandon instead of commit: the block
                                                               in the making is forgotten
   prepare   runs candidates one after the other above the block in the making and says which
             succeed; those that fail leave no trace. May be called again for the same block.
   finalize  runs exactly the given transactions. When they are those that prepare let through, its
             work is used. Each has a status; one that fails leaves no trace but its status.
   commit    makes the block durable. Nothing is durable before.

   Threads  query, check_tx of the form (deai_tx_parse) and info are [any]; the rest is called by
            one thread.
   Memory   Texts and events are valid until the next call of prepare, finalize, commit, abandon. */

#define DEAI_ABCI_WHY_MAX 200

/* A transaction that was read. One block of memory. */
typedef struct deai_tx_parsed {
  deai_bytes bytes; /* signed<tx> */
  uint8_t id[DEAI_HASH_BYTES];
  deai_signed pack;
  deai_tx tx;
} deai_tx_parsed;

/* deai_tx_parse copies and reads signed<tx> and judges its signature for the network of genesis
   (not when genesis is NULL). Free the result with free. Returns DEAI_ETOOLARGE, DEAI_EINVAL or
   DEAI_EVERIFY with a text. [any] */
DEAI_MUST_CHECK int32_t deai_tx_parse(const uint8_t *genesis, deai_bytes signed_tx,
                                      deai_tx_parsed **parsed_out, char *err, uint32_t err_cap);

typedef struct deai_abci_verdict {
  int32_t status; /* DEAI_EAGAIN: the nonce is ahead of its turn */
  uint64_t ahead; /* by so many */
  char why[DEAI_ABCI_WHY_MAX];
} deai_abci_verdict;

typedef struct deai_abci_block {
  uint64_t height;
  uint64_t time_ms;
} deai_abci_block;

typedef struct deai_abci_event {
  deai_str module;
  deai_str name;
  deai_bytes body;
} deai_abci_event;

typedef struct deai_abci_result {
  uint8_t data_root[DEAI_HASH_BYTES];    /* of the transaction ids */
  uint8_t results_root[DEAI_HASH_BYTES]; /* of the statuses */
  uint8_t state_root[DEAI_HASH_BYTES];
  uint64_t failed_count; /* transactions whose status is not DEAI_OK */
  uint64_t due_ms;       /* when a block must be made without a transaction */
  const deai_abci_event *events;
  uint32_t event_count;
} deai_abci_result;

typedef struct deai_abci_info {
  uint64_t height;
  uint64_t time_ms;
  uint64_t due_ms;
  uint8_t hash[DEAI_HASH_BYTES];
  uint8_t root[DEAI_HASH_BYTES];
  uint8_t orderer[DEAI_KEY_BYTES];
  int32_t is_new; /* init_chain is wanted */
} deai_abci_info;

/* What makes a block durable: the engine's bytes of it. */
typedef struct deai_abci_commit {
  deai_bytes signed_block;
  const uint8_t *hash; /* of signed_block; the genesis hash at height 0 */
  uint64_t log_at;
  uint64_t log_end;
  const uint8_t *old_ids; /* transactions to forget */
  uint64_t old_count;
} deai_abci_commit;

typedef struct deai_abci {
  uint32_t size;
  void *app;
  int32_t (*info)(void *app, deai_abci_info *out);
  /* init_chain writes the first records and makes them durable (height 0) */
  int32_t (*init_chain)(void *app, char *err, uint32_t err_cap);
  /* check_tx judges a transaction against the committed state without running it */
  int32_t (*check_tx)(void *app, const deai_tx_parsed *tx, deai_abci_verdict *verdict);
  int32_t (*prepare)(void *app, const deai_abci_block *block, const deai_tx_parsed *tx,
                     deai_abci_verdict *verdict);
  int32_t (*finalize)(void *app, const deai_abci_block *block, const deai_tx_parsed *const *txs,
                      uint64_t count, deai_abci_result *result, char *err, uint32_t err_cap);
  int32_t (*commit)(void *app, const deai_abci_commit *commit, char *err, uint32_t err_cap);
  void (*abandon)(void *app);
  int32_t (*query)(void *app, deai_str module, deai_str table, deai_bytes key, int32_t prove,
                   deai_state_answer *answer);
} deai_abci;

#endif
