#ifndef DEAI_HOST_LEDGER_TX_H
#define DEAI_HOST_LEDGER_TX_H

#include "host/base/keys.h"

#include "deai/contracts/ledger.h"

/* Building and signing transactions: for the command line, the host and tests.

     deai_tx_start -> deai_tx_op for each operation -> deai_tx_sign -> bytes to submit

   Threads  [any]; one builder is used by one thread at a time.
   Memory   A builder is a large plain value (64 KiB of operation bodies); allocate it.
   Limits   DEAI_TX_MAX bytes signed, DEAI_TX_OPS_MAX operations. */

typedef struct deai_tx_builder {
  deai_tx tx;
  deai_op ops[DEAI_TX_OPS_MAX];
  uint32_t op_count;
  int32_t status; /* first failure of deai_tx_op */
  uint64_t used;
  char err[192];
  uint8_t bodies[DEAI_TX_MAX];
} deai_tx_builder;

/* deai_tx_start begins a transaction of account with the nonce of the key that will sign; expires
   is a block time (0 = never). */
void deai_tx_start(deai_tx_builder *builder, const uint8_t account[DEAI_ACCT_BYTES], uint64_t nonce,
                   uint64_t expires_ms, uint64_t fee);

/* deai_tx_op adds an operation: module "account/1", type "transfer", and its struct with the codec
   table of the contract. The strings outlive the builder. A failure is kept and returned by
   deai_tx_sign. */
void deai_tx_op(deai_tx_builder *builder, const char *module, const char *type,
                const deai_table *table, const void *body);

/* deai_tx_op_raw adds an operation whose body is already encoded. */
void deai_tx_op_raw(deai_tx_builder *builder, const char *module, const char *type,
                    deai_bytes body);

/* deai_tx_sign writes signed<tx> to out and its length to *len_out. */
DEAI_MUST_CHECK int32_t deai_tx_sign(deai_tx_builder *builder,
                                     const uint8_t genesis[DEAI_HASH_BYTES], const deai_key *key,
                                     deai_buf out, uint64_t *len_out, char *err, uint32_t err_cap);

/* deai_sign_struct encodes any struct and signs it as type: signed<T> to out (vouchers, receipts,
   records). */
DEAI_MUST_CHECK int32_t deai_sign_struct(deai_sign_type type, const deai_table *table,
                                         const void *value, const uint8_t genesis[DEAI_HASH_BYTES],
                                         const deai_key *key, deai_buf out, uint64_t *len_out,
                                         char *err, uint32_t err_cap);

/* deai_tx_id writes the id of a signed transaction, H(its bytes), to out. */
void deai_tx_id(deai_bytes signed_tx, uint8_t out[DEAI_HASH_BYTES]);

/* deai_channel_id writes the id of the channel that operation op_index of a transaction opens. */
void deai_channel_id(const uint8_t tx_id[DEAI_HASH_BYTES], uint32_t op_index,
                     uint8_t out[DEAI_ID_BYTES]);

#endif
