#ifndef DEAI_HOST_LEDGER_GENESIS_H
#define DEAI_HOST_LEDGER_GENESIS_H

#include "deai/contracts/ledger.h"

/* Genesis: the first bytes of a network, from which all else follows (docs/formats.md 7). Its hash
   H(genesis) is part of everything signed; the invite code vouches for it.

   Parameters (params): tx_free    transactions an account may make without fee in a day of block
                                   time (default 10,000)
                        fee_min    least fee beyond that, in units (default 1,000)
                        hold_ms    hold time of claims in channels (default 3,600,000)
   Threads  [any]
   Memory   A deai_genesis_box owns the bytes and everything its struct points to.
   Limits   DEAI_GENESIS_MAX bytes. */

#define DEAI_GENESIS_MAX     1048576u
#define DEAI_PARAM_TX_FREE   "tx_free"
#define DEAI_PARAM_FEE_MIN   "fee_min"
#define DEAI_PARAM_HOLD_MS   "hold_ms"
#define DEAI_TX_FREE_DEFAULT 10000u
#define DEAI_FEE_MIN_DEFAULT 1000u
#define DEAI_HOLD_MS_DEFAULT 3600000u

typedef struct deai_genesis_box {
  deai_genesis genesis;
  uint8_t hash[DEAI_HASH_BYTES];
  deai_bytes bytes;
  void *memory;
} deai_genesis_box;

/* What `deai init` asks for. The whole supply goes to the owner account, which is root. */
typedef struct deai_genesis_options {
  deai_str name;      /* of the network */
  deai_str node_name; /* of the first member */
  uint64_t time_ms;   /* wall clock */
  uint64_t supply;    /* units; 0 = DEAI_CAP_MAX */
  uint8_t id[32];     /* random */
  uint8_t wallet[DEAI_KEY_BYTES];
  uint8_t node[DEAI_KEY_BYTES];
  uint8_t order[DEAI_KEY_BYTES];
  uint64_t node_cap;     /* what the node key may spend a day of block time */
  uint32_t node_invites; /* 1: the node key may also create, member_add and transfer */
  uint32_t bits;         /* of the large tables; 0 = 8 */
  uint64_t tx_free;      /* 0 = default */
  uint64_t fee_min;      /* 0 = default */
  uint64_t hold_ms;      /* 0 = default */
} deai_genesis_options;

/* deai_account_of_key writes the account whose first key is key to out. */
void deai_account_of_key(const uint8_t key[DEAI_KEY_BYTES], uint8_t out[DEAI_ACCT_BYTES]);

/* deai_genesis_build makes genesis with the modules and tables of this build and opens it as
   deai_genesis_open does. */
DEAI_MUST_CHECK int32_t deai_genesis_build(const deai_genesis_options *options,
                                           deai_genesis_box **box_out, char *err, uint32_t err_cap);

/* deai_genesis_open reads and judges genesis: form, keys, that balances are within the cap, that
   the first account is the owner of a member, that this build has every module with the rules
   version asked (DEAI_EVERSION names what is missing) and every table is declared once. The bytes
   are copied. */
DEAI_MUST_CHECK int32_t deai_genesis_open(deai_bytes bytes, deai_genesis_box **box_out, char *err,
                                          uint32_t err_cap);

/* deai_genesis_param returns a parameter, or fallback. */
uint64_t deai_genesis_param(const deai_genesis *genesis, const char *name, uint64_t fallback);

/* deai_genesis_free ends the box; NULL is allowed. */
void deai_genesis_free(deai_genesis_box *box);

#endif
