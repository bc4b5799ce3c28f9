#ifndef DEAI_HOST_LEDGER_ENTRY_H
#define DEAI_HOST_LEDGER_ENTRY_H

#include "host/base/keys.h"
#include "host/ledger/abci.h"

/* A block entry, as it lies in the block log and travels to followers: the signed block and its
   signed transactions. Making one, reading one, and judging one against the block before it.

   Threads  [any]; reading and judging of the form need no state.
   Memory   An entry owns its bytes. */

typedef struct deai_entry {
  deai_bytes bytes;              /* the whole entry */
  deai_bytes signed_block;       /* its raw bytes: what the next block's p is the hash of */
  uint8_t hash[DEAI_HASH_BYTES]; /* of signed_block */
  deai_signed pack;
  deai_block block;
  deai_tx_parsed **txs;
  uint64_t tx_count;
  void *memory;
} deai_entry;

/* What a block is judged against. */
typedef struct deai_entry_before {
  uint64_t height; /* of the block before, 0 = genesis */
  uint64_t time_ms;
  const uint8_t *hash;    /* of its signed bytes; the genesis hash at 0 */
  const uint8_t *orderer; /* who must sign */
} deai_entry_before;

/* deai_entry_open copies and reads an entry: strict form, every transaction parsed. Returns
   DEAI_EINVAL or DEAI_ETOOLARGE with a text. */
DEAI_MUST_CHECK int32_t deai_entry_open(deai_bytes bytes, deai_entry **entry_out, char *err,
                                        uint32_t err_cap);

/* deai_entry_free ends an entry; NULL is allowed. */
void deai_entry_free(deai_entry *entry);

/* deai_entry_signed returns DEAI_OK when the orderer signed the block, else DEAI_EDENIED. */
DEAI_MUST_CHECK int32_t deai_entry_signed(const deai_entry *entry,
                                          const uint8_t genesis[DEAI_HASH_BYTES],
                                          const uint8_t orderer[DEAI_KEY_BYTES], char *err,
                                          uint32_t err_cap);

/* deai_entry_data returns DEAI_OK when the transactions are those that the block names, else
   DEAI_EDENIED: whoever passed the entry on changed them. */
DEAI_MUST_CHECK int32_t deai_entry_data(const deai_entry *entry, char *err, uint32_t err_cap);

/* deai_entry_tx_sigs judges the signatures of all transactions: DEAI_EVERIFY for a bad one. */
DEAI_MUST_CHECK int32_t deai_entry_tx_sigs(const deai_entry *entry,
                                           const uint8_t genesis[DEAI_HASH_BYTES], char *err,
                                           uint32_t err_cap);

/* deai_entry_link checks height, time and hash of the block before. Returns DEAI_EVERIFY with a
   text. */
DEAI_MUST_CHECK int32_t deai_entry_link(const deai_entry *entry, const deai_entry_before *before,
                                        char *err, uint32_t err_cap);

/* deai_entry_run runs the entry above the committed state and compares result and state roots; the
   caller commits or abandons. Returns DEAI_EVERIFY for a root that differs. */
DEAI_MUST_CHECK int32_t deai_entry_run(const deai_entry *entry, const deai_abci *abci,
                                       deai_abci_result *result, char *err, uint32_t err_cap);

/* deai_entry_make signs block with key and encodes the entry as fresh bytes (free them).
   *signed_len_out is the length of the signed block, which stands behind the first byte. */
DEAI_MUST_CHECK int32_t deai_entry_make(const deai_block *block, const deai_key *key,
                                        const uint8_t genesis[DEAI_HASH_BYTES],
                                        const deai_tx_parsed *const *txs, uint64_t count,
                                        uint8_t **ptr_out, uint64_t *len_out,
                                        deai_bytes *signed_block_out);

#endif
