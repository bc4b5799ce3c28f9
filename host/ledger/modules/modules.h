#ifndef DEAI_HOST_LEDGER_MODULES_MODULES_H
#define DEAI_HOST_LEDGER_MODULES_MODULES_H

#include "host/ledger/records.h"

/* The ledger modules of this build, and the one seam between them and the ledger's core: account/1
   also keeps nonces, fees, rights and balances, which every transaction touches.

   Threads  As in deai/ledger_module.h. */

extern const deai_ledger_module deai_module_account;
extern const deai_ledger_module deai_module_channel;
extern const deai_ledger_module deai_module_registry;
extern const deai_ledger_module deai_module_chain;

/* Numbers of the tables of a module, as in its list. */
enum { DEAI_ACCOUNT_ACCOUNTS = 0, DEAI_ACCOUNT_KEYS = 1, DEAI_ACCOUNT_TOTALS = 2 };
enum {
  DEAI_REGISTRY_MEMBERS = 0,
  DEAI_REGISTRY_NAMES = 1,
  DEAI_REGISTRY_OWNERS = 2,
  DEAI_REGISTRY_RECORDS = 3
};
enum { DEAI_CHANNEL_CHANNELS = 0, DEAI_CHANNEL_DUE = 1 };
enum { DEAI_CHAIN_CHAIN = 0 };

/* deai_modules_find returns the module of this build with id, or NULL. */
const deai_ledger_module *deai_modules_find(deai_str id);

/* deai_modules_at returns the modules of this build one by one, NULL behind the last. */
const deai_ledger_module *deai_modules_at(uint32_t index);

/* deai_account_begin judges key, nonce, expiry and fee of a transaction, burns the fee and counts
   it. Returns DEAI_EAGAIN when the nonce is ahead of its turn. The right of the key is left in
   *key_out. ctx is account/1's. */
DEAI_MUST_CHECK int32_t deai_account_begin(deai_ledger_ctx *ctx, const deai_tx *tx,
                                           const uint8_t key[DEAI_KEY_BYTES],
                                           deai_key_rec *key_out);

/* deai_account_may returns DEAI_OK when a key with these rights may do the operation. */
DEAI_MUST_CHECK int32_t deai_account_may(deai_ledger_ctx *ctx, const deai_key_rec *key,
                                         deai_str module, deai_str type);

/* deai_account_end checks the cap of the key against what the transaction spent. */
DEAI_MUST_CHECK int32_t deai_account_end(deai_ledger_ctx *ctx, const uint8_t key[DEAI_KEY_BYTES],
                                         uint64_t spent);

/* deai_account_move moves coins; to must exist unless make is 1. */
DEAI_MUST_CHECK int32_t deai_account_move(deai_ledger_ctx *ctx, const uint8_t from[DEAI_ACCT_BYTES],
                                          const uint8_t to[DEAI_ACCT_BYTES], uint64_t amount,
                                          int32_t make);

#endif
