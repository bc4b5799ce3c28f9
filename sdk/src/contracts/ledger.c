#include "deai/contracts/ledger.h"

#define KEY_ROW(type, member, key)  DEAI_F_FIXED(type, member, key, DEAI_KEY_BYTES)
#define HASH_ROW(type, member, key) DEAI_F_FIXED(type, member, key, DEAI_HASH_BYTES)
#define ID_ROW(type, member, key)   DEAI_F_FIXED(type, member, key, DEAI_ID_BYTES)
#define ACCT_ROW(type, member, key) DEAI_F_FIXED(type, member, key, DEAI_ACCT_BYTES)
#define U64_ROW(type, member, key)  DEAI_F_UINT(type, member, key, 0, UINT64_MAX)
#define NAME_ROW(type, member, key) DEAI_F_TEXT(type, member, key, 1, DEAI_NAME_MAX)

/* ---- what travels ---- */

static const deai_field head_end_rows[] = {
    U64_ROW(deai_ledger_head_end, h, "h"),
    U64_ROW(deai_ledger_head_end, now, "now"),
    DEAI_F_STRUCT(deai_ledger_head_end, block, "block", &deai_signed_table),
};
const deai_table deai_ledger_head_end_table =
    DEAI_TABLE_HEAD("ledger-head-end", deai_ledger_head_end, head_end_rows);

static const deai_field follow_rows[] = {U64_ROW(deai_ledger_follow, from, "from")};
const deai_table deai_ledger_follow_table =
    DEAI_TABLE_HEAD("ledger-follow", deai_ledger_follow, follow_rows);

static const deai_field slice_rows[] = {
    U64_ROW(deai_ledger_slice, h, "h"),
    DEAI_F_BOOL(deai_ledger_slice, more, "more"),
};
const deai_table deai_ledger_slice_table =
    DEAI_TABLE_HEAD("ledger-slice", deai_ledger_slice, slice_rows);

static const deai_field submit_end_rows[] = {
    U64_ROW(deai_ledger_submit_end, h, "h"),
    HASH_ROW(deai_ledger_submit_end, id, "id"),
};
const deai_table deai_ledger_submit_end_table =
    DEAI_TABLE_HEAD("ledger-submit-end", deai_ledger_submit_end, submit_end_rows);

static const deai_field query_rows[] = {
    DEAI_F_BYTES(deai_ledger_query, k, "k", 0, 256),
    NAME_ROW(deai_ledger_query, m, "m"),
    NAME_ROW(deai_ledger_query, n, "n"),
    DEAI_F_BOOL_OPT(deai_ledger_query, prove, "prove"),
};
const deai_table deai_ledger_query_table =
    DEAI_TABLE_HEAD("ledger-query", deai_ledger_query, query_rows);

static const deai_field query_end_rows[] = {
    DEAI_F_STRUCT(deai_ledger_query_end, block, "block", &deai_signed_table),
    DEAI_F_BYTES_OPT(deai_ledger_query_end, proof, "proof", 0, 65536),
    DEAI_F_BYTES_OPT(deai_ledger_query_end, value, "value", 0, 65536),
};
const deai_table deai_ledger_query_end_table =
    DEAI_TABLE_HEAD("ledger-query-end", deai_ledger_query_end, query_end_rows);

static const deai_field ledger_object_rows[] = {
    DEAI_F_LIST_OF(deai_ledger_object, receipts, "receipts", 2, 2, &deai_signed_table),
};
const deai_table deai_ledger_object_table =
    DEAI_TABLE_HEAD("ledger-object", deai_ledger_object, ledger_object_rows);

/* ---- genesis, transactions, blocks ---- */

static const char *const order_names[] = {"hash", NULL};
static const char *const role_names[] = {"member", "guest", NULL};

static const deai_field module_rows[] = {
    NAME_ROW(deai_module_ref, id, "id"),
    DEAI_F_UINT(deai_module_ref, rules, "rules", 1, UINT32_MAX),
};
static const deai_table module_table =
    DEAI_TABLE_SIGNED("genesis.module", deai_module_ref, module_rows);

static const deai_field table_rows[] = {
    NAME_ROW(deai_table_ref, m, "m"),
    NAME_ROW(deai_table_ref, n, "n"),
    DEAI_F_UINT(deai_table_ref, bits, "bits", 0, 16),
    DEAI_F_ENUM(deai_table_ref, order, "order", order_names),
};
static const deai_table table_table =
    DEAI_TABLE_SIGNED("genesis.table", deai_table_ref, table_rows);

static const deai_field account_key_rows[] = {
    KEY_ROW(deai_account_key, k, "k"),
    DEAI_F_UINT_OPT(deai_account_key, cap, "cap", 0, UINT64_MAX),
    DEAI_F_LIST(deai_account_key, may, "may", DEAI_FIELD_TEXT, 0, 16, DEAI_NAME_MAX),
};
const deai_table deai_account_key_table =
    DEAI_TABLE_SIGNED("account-key", deai_account_key, account_key_rows);

static const deai_field member_rows[] = {
    NAME_ROW(deai_member, name, "name"),
    KEY_ROW(deai_member, node, "node"),
    DEAI_F_ENUM(deai_member, role, "role", role_names),
    ACCT_ROW(deai_member, owner, "owner"),
};
const deai_table deai_member_table = DEAI_TABLE_SIGNED("member", deai_member, member_rows);

static const deai_field genesis_account_rows[] = {
    ACCT_ROW(deai_genesis_account, a, "a"),
    U64_ROW(deai_genesis_account, b, "b"),
    DEAI_F_LIST_OF(deai_genesis_account, keys, "keys", 1, 16, &deai_account_key_table),
};
static const deai_table genesis_account_table =
    DEAI_TABLE_SIGNED("genesis.account", deai_genesis_account, genesis_account_rows);

static const deai_field genesis_rows[] = {
    U64_ROW(deai_genesis, t, "t"),
    DEAI_F_UINT(deai_genesis, v, "v", 1, 1),
    DEAI_F_FIXED(deai_genesis, id, "id", 32),
    DEAI_F_UINT(deai_genesis, cap, "cap", 0, DEAI_CAP_MAX),
    NAME_ROW(deai_genesis, name, "name"),
    DEAI_F_UINT_MAP(deai_genesis, params, "params", 64),
    DEAI_F_LIST_OF(deai_genesis, tables, "tables", 1, 64, &table_table),
    DEAI_F_LIST_OF(deai_genesis, members, "members", 1, 1024, &deai_member_table),
    DEAI_F_LIST_OF(deai_genesis, modules, "modules", 1, 64, &module_table),
    KEY_ROW(deai_genesis, orderer, "orderer"),
    DEAI_F_LIST_OF(deai_genesis, accounts, "accounts", 1, 1024, &genesis_account_table),
};
const deai_table deai_genesis_table = DEAI_TABLE_SIGNED("genesis", deai_genesis, genesis_rows);

static const deai_field op_rows[] = {
    NAME_ROW(deai_op, module, NULL),
    NAME_ROW(deai_op, type, NULL),
    DEAI_F_ANY(deai_op, body, NULL, DEAI_TX_MAX),
};
const deai_table deai_op_table = DEAI_TABLE_TUPLE("op", deai_op, op_rows);

static const deai_field tx_rows[] = {
    ACCT_ROW(deai_tx, a, "a"), U64_ROW(deai_tx, f, "f"),
    U64_ROW(deai_tx, n, "n"),  DEAI_F_LIST_OF(deai_tx, t, "t", 1, DEAI_TX_OPS_MAX, &deai_op_table),
    U64_ROW(deai_tx, x, "x"),
};
const deai_table deai_tx_table = DEAI_TABLE_SIGNED("tx", deai_tx, tx_rows);

static const deai_field block_rows[] = {
    HASH_ROW(deai_block, d, "d"), U64_ROW(deai_block, h, "h"),  KEY_ROW(deai_block, o, "o"),
    HASH_ROW(deai_block, p, "p"), HASH_ROW(deai_block, r, "r"), HASH_ROW(deai_block, s, "s"),
    U64_ROW(deai_block, t, "t"),
};
const deai_table deai_block_table = DEAI_TABLE_SIGNED("block", deai_block, block_rows);

static const deai_field block_entry_rows[] = {
    DEAI_F_STRUCT(deai_block_entry, block, NULL, &deai_signed_table),
    DEAI_F_LIST_OF(deai_block_entry, txs, NULL, 0, 65536, &deai_signed_table),
};
const deai_table deai_block_entry_table =
    DEAI_TABLE_TUPLE("block-entry", deai_block_entry, block_entry_rows);

/* ---- bodies of operations ---- */

static const deai_field create_rows[] = {
    DEAI_F_LIST_OF(deai_op_create, keys, "keys", 1, 16, &deai_account_key_table),
};
const deai_table deai_op_create_table =
    DEAI_TABLE_SIGNED("account/1 create", deai_op_create, create_rows);

static const deai_field key_add_rows[] = {
    DEAI_F_STRUCT(deai_op_key_add, key, "key", &deai_account_key_table),
};
const deai_table deai_op_key_add_table =
    DEAI_TABLE_SIGNED("account/1 key_add", deai_op_key_add, key_add_rows);

static const deai_field key_rm_rows[] = {KEY_ROW(deai_op_key_rm, k, "k")};
const deai_table deai_op_key_rm_table =
    DEAI_TABLE_SIGNED("account/1 key_rm", deai_op_key_rm, key_rm_rows);

static const deai_field transfer_rows[] = {
    ACCT_ROW(deai_op_transfer, to, "to"),
    DEAI_F_TEXT_OPT(deai_op_transfer, memo, "memo", 0, 256),
    U64_ROW(deai_op_transfer, amount, "amount"),
};
const deai_table deai_op_transfer_table =
    DEAI_TABLE_SIGNED("account/1 transfer", deai_op_transfer, transfer_rows);

static const deai_field open_rows[] = {
    KEY_ROW(deai_op_open, payee, "payee"),
    U64_ROW(deai_op_open, deposit, "deposit"),
    U64_ROW(deai_op_open, close_after, "close_after"),
};
const deai_table deai_op_open_table = DEAI_TABLE_SIGNED("channel/1 open", deai_op_open, open_rows);

static const deai_field topup_rows[] = {
    ID_ROW(deai_op_topup, ch, "ch"),
    U64_ROW(deai_op_topup, amount, "amount"),
};
const deai_table deai_op_topup_table =
    DEAI_TABLE_SIGNED("channel/1 topup", deai_op_topup, topup_rows);

static const deai_field claim_rows[] = {
    DEAI_F_STRUCT(deai_op_claim, voucher, "voucher", &deai_signed_table),
    HASH_ROW(deai_op_claim, receipts_root, "receipts_root"),
};
const deai_table deai_op_claim_table =
    DEAI_TABLE_SIGNED("channel/1 claim", deai_op_claim, claim_rows);

static const deai_field object_rows[] = {
    ID_ROW(deai_op_object, ch, "ch"),
    DEAI_F_LIST_OF(deai_op_object, receipts, "receipts", 2, 2, &deai_signed_table),
};
const deai_table deai_op_object_table =
    DEAI_TABLE_SIGNED("channel/1 object", deai_op_object, object_rows);

static const deai_field verdict_rows[] = {
    ID_ROW(deai_op_verdict, ch, "ch"),
    ID_ROW(deai_op_verdict, job, "job"),
    U64_ROW(deai_op_verdict, payee, "payee"),
};
const deai_table deai_op_verdict_table =
    DEAI_TABLE_SIGNED("channel/1 verdict", deai_op_verdict, verdict_rows);

static const deai_field close_rows[] = {ID_ROW(deai_op_close, ch, "ch")};
const deai_table deai_op_close_table =
    DEAI_TABLE_SIGNED("channel/1 close", deai_op_close, close_rows);

static const deai_field member_add_rows[] = {
    DEAI_F_STRUCT(deai_op_member_add, member, "member", &deai_member_table),
};
const deai_table deai_op_member_add_table =
    DEAI_TABLE_SIGNED("registry/1 member_add", deai_op_member_add, member_add_rows);

static const deai_field member_rm_rows[] = {KEY_ROW(deai_op_member_rm, node, "node")};
const deai_table deai_op_member_rm_table =
    DEAI_TABLE_SIGNED("registry/1 member_rm", deai_op_member_rm, member_rm_rows);

static const deai_field put_rows[] = {
    DEAI_F_ANY(deai_op_put, body, "body", 8192),
    NAME_ROW(deai_op_put, kind, "kind"),
    DEAI_F_TEXT(deai_op_put, name, "name", 1, 2 * DEAI_NAME_MAX + 1),
};
const deai_table deai_op_put_table = DEAI_TABLE_SIGNED("registry/1 put", deai_op_put, put_rows);

static const deai_field rm_rows[] = {
    NAME_ROW(deai_op_rm, kind, "kind"),
    DEAI_F_TEXT(deai_op_rm, name, "name", 1, 2 * DEAI_NAME_MAX + 1),
};
const deai_table deai_op_rm_table = DEAI_TABLE_SIGNED("registry/1 rm", deai_op_rm, rm_rows);

static const deai_field orderer_rows[] = {KEY_ROW(deai_op_orderer, key, "key")};
const deai_table deai_op_orderer_table =
    DEAI_TABLE_SIGNED("chain/1 orderer", deai_op_orderer, orderer_rows);

static const deai_field upgrade_rows[] = {
    U64_ROW(deai_op_upgrade, h, "h"),
    NAME_ROW(deai_op_upgrade, id, "id"),
    DEAI_F_UINT(deai_op_upgrade, rules, "rules", 1, UINT32_MAX),
};
const deai_table deai_op_upgrade_table =
    DEAI_TABLE_SIGNED("chain/1 upgrade", deai_op_upgrade, upgrade_rows);

/* ---- off the ledger ---- */

static const deai_field voucher_rows[] = {
    U64_ROW(deai_voucher, c, "c"),
    U64_ROW(deai_voucher, n, "n"),
    ID_ROW(deai_voucher, ch, "ch"),
    ID_ROW(deai_voucher, job, "job"),
};
const deai_table deai_voucher_table = DEAI_TABLE_SIGNED("voucher", deai_voucher, voucher_rows);

static const deai_field receipt_rows[] = {
    NAME_ROW(deai_receipt, m, "m"),
    NAME_ROW(deai_receipt, s, "s"),
    DEAI_F_FIXED_OPT(deai_receipt, ch, "ch", DEAI_ID_BYTES),
    HASH_ROW(deai_receipt, in, "in"),
    ID_ROW(deai_receipt, job, "job"),
    DEAI_F_ANY(deai_receipt, out, "out", 65536),
    U64_ROW(deai_receipt, u_in, "u_in"),
    KEY_ROW(deai_receipt, payer, "payer"),
    U64_ROW(deai_receipt, price, "price"),
    U64_ROW(deai_receipt, u_out, "u_out"),
    KEY_ROW(deai_receipt, worker, "worker"),
};
const deai_table deai_receipt_table = DEAI_TABLE_SIGNED("receipt", deai_receipt, receipt_rows);

static const deai_field offer_rows[] = {
    DEAI_F_ANY_OPT(deai_offer, a, "a", 4096),
    NAME_ROW(deai_offer, s, "s"),
};
static const deai_table offer_table =
    DEAI_TABLE_SIGNED("node-record.offer", deai_offer, offer_rows);

static const deai_field node_record_rows[] = {
    U64_ROW(deai_node_record, h, "h"),
    KEY_ROW(deai_node_record, k, "k"),
    U64_ROW(deai_node_record, seq, "seq"),
    DEAI_F_UINT(deai_node_record, ttl, "ttl", 1, 3600000),
    DEAI_F_LIST(deai_node_record, addrs, "addrs", DEAI_FIELD_TEXT, 0, 8, 256),
    DEAI_F_LIST_OF(deai_node_record, offers, "offers", 0, 32, &offer_table),
};
const deai_table deai_node_record_table =
    DEAI_TABLE_SIGNED("node-record", deai_node_record, node_record_rows);

static const deai_field job_file_rows[] = {
    DEAI_F_STRUCT(deai_job_file, receipt, NULL, &deai_signed_table),
    DEAI_F_BYTES(deai_job_file, a, NULL, 1, 65536),
    DEAI_F_BYTES(deai_job_file, body, NULL, 0, 4194304),
    DEAI_F_LIST(deai_job_file, ids, NULL, DEAI_FIELD_UINT, 0, 262144, UINT32_MAX),
};
const deai_table deai_job_file_table = DEAI_TABLE_TUPLE("job-file", deai_job_file, job_file_rows);

static const deai_field model_record_rows[] = {
    DEAI_F_CID(deai_model_record, cid, "cid"),
    DEAI_F_UINT(deai_model_record, ctx, "ctx", 1, UINT32_MAX),
    NAME_ROW(deai_model_record, arch, "arch"),
    NAME_ROW(deai_model_record, name, "name"),
    U64_ROW(deai_model_record, size, "size"),
    NAME_ROW(deai_model_record, quant, "quant"),
    DEAI_F_TEXT(deai_model_record, license, "license", 0, DEAI_NAME_MAX),
};
const deai_table deai_model_record_table =
    DEAI_TABLE_SIGNED("model-record", deai_model_record, model_record_rows);
