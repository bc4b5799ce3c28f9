#ifndef DEAI_CONTRACTS_LEDGER_H
#define DEAI_CONTRACTS_LEDGER_H

#include "deai/codec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* deai.ledger/1-draft and the signed structures of the ledger (docs/formats.md 5, 7, 8).

   method   class  arguments      parts and END
   head     guest  {}             END ledger_head_end
   follow   guest  ledger_follow  ledger_slice parts whose bodies are slices of a block-entry; goes
                                  on with each new block until the time is up, then asked again
   submit   guest  {}             body = signed<tx>; END ledger_submit_end when durable at the
                                  orderer; the same bytes again get the same answer
   query    guest  ledger_query   END ledger_query_end
   object   local  ledger_object  freezes the price of a job whose audit was unequal (channel/1
                                  object, signed with the node key); END ledger_submit_end.
                                  DEAI_ENOTFOUND: the job was free, nothing can be frozen

   Money    u64, unit 10^-9 coin. Time: ms of block time.
   Rules    Unknown keys are refused in everything that is signed or enters the ledger. */

#define DEAI_LEDGER_SERVICE  "deai.ledger/1-draft"
#define DEAI_TX_MAX          65536u   /* bytes of a signed transaction */
#define DEAI_TX_OPS_MAX      256u     /* operations of a transaction */
#define DEAI_BLOCK_ENTRY_MAX 4194304u /* bytes of a block with its transactions */
#define DEAI_RECORD_MAX      8192u    /* bytes of a signed node record */
#define DEAI_COIN            UINT64_C(1000000000)
#define DEAI_CAP_MAX         (UINT64_C(21000000) * DEAI_COIN)

/* ---- what travels ---- */

typedef struct deai_ledger_head_end {
  uint64_t h;
  uint64_t now; /* the block time a block would get now */
  deai_signed block;
} deai_ledger_head_end;

typedef struct deai_ledger_follow {
  uint64_t from;
} deai_ledger_follow;

typedef struct deai_ledger_slice {
  uint64_t h;
  uint8_t more; /* the entry goes on in the next part */
} deai_ledger_slice;

typedef struct deai_ledger_submit_end {
  uint64_t h;
  uint8_t id[DEAI_HASH_BYTES];
} deai_ledger_submit_end;

typedef struct deai_ledger_query { /* has: 3 prove */
  uint64_t has;
  deai_bytes k;
  deai_str m; /* module */
  deai_str n; /* table */
  uint8_t prove;
} deai_ledger_query;
#define DEAI_LEDGER_QUERY_HAS_PROVE 8u

typedef struct deai_ledger_query_end { /* has: 1 proof, 2 value */
  uint64_t has;
  deai_signed block;
  deai_bytes proof;
  deai_bytes value;
} deai_ledger_query_end;
#define DEAI_LEDGER_QUERY_END_HAS_PROOF 2u
#define DEAI_LEDGER_QUERY_END_HAS_VALUE 4u

typedef struct deai_ledger_object {
  deai_list receipts; /* deai_signed, exactly two: the worker's, an auditor's, of one job */
} deai_ledger_object;

/* ---- genesis, transactions, blocks ---- */

typedef struct deai_module_ref {
  deai_str id;
  uint64_t rules;
} deai_module_ref;

typedef struct deai_table_ref {
  deai_str m;
  deai_str n;
  uint64_t bits;
  uint32_t order; /* 0 = "hash" */
} deai_table_ref;

typedef struct deai_account_key { /* has: 1 cap */
  uint64_t has;
  uint8_t k[DEAI_KEY_BYTES];
  uint64_t cap;  /* a day of block time */
  deai_list may; /* deai_str: "*", "channel/1", "registry/1 put", ... */
} deai_account_key;
#define DEAI_ACCOUNT_KEY_HAS_CAP 2u

typedef struct deai_genesis_account {
  uint8_t a[DEAI_ACCT_BYTES];
  uint64_t b;
  deai_list keys; /* deai_account_key */
} deai_genesis_account;

typedef enum deai_role { DEAI_ROLE_MEMBER = 0, DEAI_ROLE_GUEST = 1 } deai_role;

typedef struct deai_member {
  deai_str name;
  uint8_t node[DEAI_KEY_BYTES];
  uint32_t role;
  uint8_t owner[DEAI_ACCT_BYTES];
} deai_member;

typedef struct deai_genesis {
  uint64_t t;
  uint64_t v; /* 1 */
  uint8_t id[32];
  uint64_t cap;
  deai_str name;
  deai_list params;  /* deai_uint_pair */
  deai_list tables;  /* deai_table_ref */
  deai_list members; /* deai_member */
  deai_list modules; /* deai_module_ref */
  uint8_t orderer[DEAI_KEY_BYTES];
  deai_list accounts; /* deai_genesis_account; the first one is root */
} deai_genesis;

typedef struct deai_op { /* tuple */
  deai_str module;
  deai_str type;
  deai_bytes body;
} deai_op;

typedef struct deai_tx {
  uint8_t a[DEAI_ACCT_BYTES];
  uint64_t f;  /* fee, burned */
  uint64_t n;  /* nonce of the signing key */
  deai_list t; /* deai_op */
  uint64_t x;  /* expires at this block time, 0 = never */
} deai_tx;

typedef struct deai_block {
  uint8_t d[DEAI_HASH_BYTES]; /* RFC 6962 root of the transaction ids */
  uint64_t h;
  uint8_t o[DEAI_KEY_BYTES];
  uint8_t p[DEAI_HASH_BYTES]; /* H(signed bytes of the block before), genesis hash for h = 1 */
  uint8_t r[DEAI_HASH_BYTES]; /* RFC 6962 root of the statuses */
  uint8_t s[DEAI_HASH_BYTES]; /* state root after this block */
  uint64_t t;
} deai_block;

typedef struct deai_block_entry { /* tuple */
  deai_signed block;
  deai_list txs; /* deai_signed */
} deai_block_entry;

/* ---- bodies of operations ---- */

typedef struct deai_op_create {
  deai_list keys; /* deai_account_key */
} deai_op_create;

typedef struct deai_op_key_add {
  deai_account_key key;
} deai_op_key_add;

typedef struct deai_op_key_rm {
  uint8_t k[DEAI_KEY_BYTES];
} deai_op_key_rm;

typedef struct deai_op_transfer { /* has: 1 memo */
  uint64_t has;
  uint8_t to[DEAI_ACCT_BYTES];
  deai_str memo;
  uint64_t amount;
} deai_op_transfer;
#define DEAI_OP_TRANSFER_HAS_MEMO 2u

typedef struct deai_op_open {
  uint8_t payee[DEAI_KEY_BYTES];
  uint64_t deposit;
  uint64_t close_after;
} deai_op_open;

typedef struct deai_op_topup {
  uint8_t ch[DEAI_ID_BYTES];
  uint64_t amount;
} deai_op_topup;

typedef struct deai_op_claim {
  deai_signed voucher;
  uint8_t receipts_root[DEAI_HASH_BYTES];
} deai_op_claim;

typedef struct deai_op_object {
  uint8_t ch[DEAI_ID_BYTES];
  deai_list receipts; /* deai_signed, exactly two: the worker's, an auditor's */
} deai_op_object;

typedef struct deai_op_verdict {
  uint8_t ch[DEAI_ID_BYTES];
  uint8_t job[DEAI_ID_BYTES];
  uint64_t payee; /* what the payee gets of the frozen price */
} deai_op_verdict;

typedef struct deai_op_close {
  uint8_t ch[DEAI_ID_BYTES];
} deai_op_close;

typedef struct deai_op_member_add {
  deai_member member;
} deai_op_member_add;

typedef struct deai_op_member_rm {
  uint8_t node[DEAI_KEY_BYTES];
} deai_op_member_rm;

typedef struct deai_op_put {
  deai_bytes body;
  deai_str kind;
  deai_str name; /* "member/name" */
} deai_op_put;

typedef struct deai_op_rm {
  deai_str kind;
  deai_str name;
} deai_op_rm;

typedef struct deai_op_orderer {
  uint8_t key[DEAI_KEY_BYTES];
} deai_op_orderer;

typedef struct deai_op_upgrade {
  uint64_t h;
  deai_str id;
  uint64_t rules;
} deai_op_upgrade;

/* ---- off the ledger ---- */

typedef struct deai_voucher {
  uint64_t c; /* cumulative amount: only the highest counts */
  uint64_t n; /* units of this job it pays so far */
  uint8_t ch[DEAI_ID_BYTES];
  uint8_t job[DEAI_ID_BYTES];
} deai_voucher;

typedef struct deai_receipt { /* has bits by field order: m s ch in job out u_in ... */
  uint64_t has;
  deai_str m;
  deai_str s;
  uint8_t ch[DEAI_ID_BYTES];
  uint8_t in[DEAI_HASH_BYTES]; /* H(the CALL's a || its body) */
  uint8_t job[DEAI_ID_BYTES];
  deai_bytes out; /* the END's a */
  uint64_t u_in;
  uint8_t payer[DEAI_KEY_BYTES];
  uint64_t price;
  uint64_t u_out;
  uint8_t worker[DEAI_KEY_BYTES];
} deai_receipt;
#define DEAI_RECEIPT_HAS_CH 4u

typedef struct deai_offer { /* has: 0 a */
  uint64_t has;
  deai_bytes a;
  deai_str s;
} deai_offer;
#define DEAI_OFFER_HAS_A 1u

typedef struct deai_node_record {
  uint64_t h;
  uint8_t k[DEAI_KEY_BYTES];
  uint64_t seq;
  uint64_t ttl;
  deai_list addrs;  /* deai_str */
  deai_list offers; /* deai_offer */
} deai_node_record;

typedef struct deai_job_file { /* tuple, written by `ask --receipt`, read by `verify` */
  deai_signed receipt;
  deai_bytes a;
  deai_bytes body;
  deai_list ids; /* uint64_t */
} deai_job_file;

typedef struct deai_model_record {
  deai_bytes cid;
  uint64_t ctx;
  deai_str arch;
  deai_str name;
  uint64_t size;
  deai_str quant;
  deai_str license;
} deai_model_record;

extern const deai_table deai_ledger_head_end_table;
extern const deai_table deai_ledger_follow_table;
extern const deai_table deai_ledger_slice_table;
extern const deai_table deai_ledger_submit_end_table;
extern const deai_table deai_ledger_query_table;
extern const deai_table deai_ledger_query_end_table;
extern const deai_table deai_ledger_object_table;
extern const deai_table deai_account_key_table;
extern const deai_table deai_member_table;
extern const deai_table deai_genesis_table;
extern const deai_table deai_op_table;
extern const deai_table deai_tx_table;
extern const deai_table deai_block_table;
extern const deai_table deai_block_entry_table;
extern const deai_table deai_op_create_table;
extern const deai_table deai_op_key_add_table;
extern const deai_table deai_op_key_rm_table;
extern const deai_table deai_op_transfer_table;
extern const deai_table deai_op_open_table;
extern const deai_table deai_op_topup_table;
extern const deai_table deai_op_claim_table;
extern const deai_table deai_op_object_table;
extern const deai_table deai_op_verdict_table;
extern const deai_table deai_op_close_table;
extern const deai_table deai_op_member_add_table;
extern const deai_table deai_op_member_rm_table;
extern const deai_table deai_op_put_table;
extern const deai_table deai_op_rm_table;
extern const deai_table deai_op_orderer_table;
extern const deai_table deai_op_upgrade_table;
extern const deai_table deai_voucher_table;
extern const deai_table deai_receipt_table;
extern const deai_table deai_node_record_table;
extern const deai_table deai_job_file_table;
extern const deai_table deai_model_record_table;

#ifdef __cplusplus
}
#endif

#endif
