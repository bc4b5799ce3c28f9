#ifndef DEAI_HOST_LEDGER_RECORDS_H
#define DEAI_HOST_LEDGER_RECORDS_H

#include "deai/contracts/ledger.h"
#include "deai/ledger_module.h"

/* The records of the modules of this build: what deai_ledger_lookup returns, one struct and one
   codec table each.

   module     table     key                          record
   account/1  accounts  account (20)                 deai_account_rec
              keys      public key (32)              deai_key_rec
              totals    "totals"                     deai_totals_rec
   registry/1 members   node key (32)                deai_member_rec
              names     name of a member             node key (32 bytes, as they are)
              owners    account (20)                 deai_owner_rec
              records   kind 0x00 member/name        deai_entry_rec
   channel/1  channels  channel (16)                 deai_channel_rec
              due       u64 time BE, kind, channel, tail   null
   chain/1    chain     "orderer"                    public key (32 bytes, as they are)
                        "root"                       account (20 bytes, as they are)
                        "modules"                    deai_modules_rec, in force
                        "upgrades"                   deai_upgrades_rec, decided and to come

   Threads  [any] */

#define DEAI_CHANNEL_HOLDS_MAX 64u   /* claims of a channel that wait for their hold time */
#define DEAI_CHANNEL_JOBS_MAX  64u   /* objections of a channel in its life */
#define DEAI_ACCOUNT_KEYS_MAX  16u   /* keys of an account */
#define DEAI_OWNER_RECORDS_MAX 4096u /* registry records of an account */
#define DEAI_UPGRADES_MAX      16u   /* upgrades to come */
#define DEAI_DAY_MS            UINT64_C(86400000)

typedef struct deai_account_rec {
  uint64_t b;      /* balance */
  uint64_t day;    /* day of block time that used counts */
  uint64_t keys;   /* keys of the account */
  uint64_t used;   /* transactions of that day */
  uint64_t owners; /* keys with "*" */
} deai_account_rec;

typedef struct deai_key_rec { /* has: 2 cap */
  uint64_t has;
  uint8_t a[DEAI_ACCT_BYTES];
  uint64_t n; /* nonce of its last transaction */
  uint64_t cap;
  uint64_t day;
  deai_list may;  /* deai_str */
  uint64_t spent; /* that day */
} deai_key_rec;
#define DEAI_KEY_REC_HAS_CAP 4u

typedef struct deai_totals_rec {
  uint64_t burned;
  uint64_t minted;
} deai_totals_rec;

typedef struct deai_member_rec {
  uint8_t by[DEAI_ACCT_BYTES]; /* who added it */
  deai_str name;
  uint32_t role; /* a deai_role */
  uint8_t owner[DEAI_ACCT_BYTES];
} deai_member_rec;

typedef struct deai_owner_rec {
  uint64_t members; /* nodes with role member */
  uint64_t records; /* registry records */
} deai_owner_rec;

typedef struct deai_entry_rec {
  uint8_t a[DEAI_ACCT_BYTES];
  uint64_t h; /* height of the last put */
  deai_bytes body;
} deai_entry_rec;

typedef struct deai_channel_hold { /* tuple */
  uint64_t amount;
  uint64_t due;
  uint8_t root[DEAI_HASH_BYTES]; /* of the receipts */
} deai_channel_hold;

typedef enum deai_job_state { DEAI_JOB_FROZEN = 0, DEAI_JOB_DECIDED = 1 } deai_job_state;

typedef struct deai_channel_job { /* tuple */
  uint8_t job[DEAI_ID_BYTES];
  uint64_t price;
  uint64_t payee; /* what the payee gets of it, once decided */
  uint64_t state; /* a deai_job_state */
  uint64_t due;   /* the payee's when nobody decided */
} deai_channel_job;

typedef struct deai_channel_rec {
  uint8_t key[DEAI_KEY_BYTES];    /* signs the vouchers */
  deai_list jobs;                 /* deai_channel_job */
  uint64_t paid;                  /* to the payee so far */
  deai_list holds;                /* deai_channel_hold */
  uint8_t owner[DEAI_ACCT_BYTES]; /* of the payee */
  uint8_t payee[DEAI_KEY_BYTES];
  uint8_t payer[DEAI_ACCT_BYTES];
  uint64_t claimed; /* highest voucher claimed */
  uint64_t closing; /* time after which it ends, 0 = open */
  uint64_t deposit; /* all deposits */
  uint64_t matured; /* claims whose hold time is over */
  uint64_t close_after;
} deai_channel_rec;

typedef struct deai_modules_rec {
  deai_list modules; /* deai_module_ref */
} deai_modules_rec;

typedef struct deai_upgrades_rec {
  deai_list upgrades; /* deai_op_upgrade */
} deai_upgrades_rec;

extern const deai_table deai_account_rec_table;
extern const deai_table deai_key_rec_table;
extern const deai_table deai_totals_rec_table;
extern const deai_table deai_member_rec_table;
extern const deai_table deai_owner_rec_table;
extern const deai_table deai_entry_rec_table;
extern const deai_table deai_channel_rec_table;
extern const deai_table deai_modules_rec_table;
extern const deai_table deai_upgrades_rec_table;

/* deai_rec_get reads the record of key in table of the module of ctx. Returns DEAI_ENOTFOUND, or
   DEAI_EVERIFY for bytes that no module wrote. */
DEAI_MUST_CHECK int32_t deai_rec_get(deai_ledger_ctx *ctx, uint32_t table, deai_bytes key,
                                     const deai_table *codec, void *out);

/* deai_rec_query is deai_rec_get for a table of another module. */
DEAI_MUST_CHECK int32_t deai_rec_query(deai_ledger_ctx *ctx, const char *module, const char *table,
                                       deai_bytes key, const deai_table *codec, void *out);

/* deai_rec_put writes the record of key. */
DEAI_MUST_CHECK int32_t deai_rec_put(deai_ledger_ctx *ctx, uint32_t table, deai_bytes key,
                                     const deai_table *codec, const void *value);

/* One operation of a module: its name, the codec of its body, and what does it. */
typedef struct deai_op_row {
  const char *type; /* NULL ends the list */
  const deai_table *codec;
  int32_t (*apply)(deai_ledger_ctx *ctx, const void *body);
} deai_op_row;

/* deai_ops_check and deai_ops_apply serve check and apply of a module from its rows. */
DEAI_MUST_CHECK int32_t deai_ops_check(deai_ledger_ctx *ctx, const deai_op_row *rows, deai_str type,
                                       deai_bytes body);
/* deai_ops_apply decodes the body and runs the row. */
DEAI_MUST_CHECK int32_t deai_ops_apply(deai_ledger_ctx *ctx, const deai_op_row *rows, deai_str type,
                                       deai_bytes body);

#endif
