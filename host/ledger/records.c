#include "records.h"

#include "host/base/banned.h"

#define DECODE_ROOM     8192u
#define ENCODE_ROOM     2048u
#define ERR_BYTES       192u
#define BODY_STRUCT_MAX 512u

#define U64_ROW(type, member, key)  DEAI_F_UINT(type, member, key, 0, UINT64_MAX)
#define KEY_ROW(type, member, key)  DEAI_F_FIXED(type, member, key, DEAI_KEY_BYTES)
#define ACCT_ROW(type, member, key) DEAI_F_FIXED(type, member, key, DEAI_ACCT_BYTES)

static const deai_field account_rows[] = {
    U64_ROW(deai_account_rec, b, "b"),           U64_ROW(deai_account_rec, day, "day"),
    U64_ROW(deai_account_rec, keys, "keys"),     U64_ROW(deai_account_rec, used, "used"),
    U64_ROW(deai_account_rec, owners, "owners"),
};
const deai_table deai_account_rec_table =
    DEAI_TABLE_SIGNED("account", deai_account_rec, account_rows);

static const deai_field key_rows[] = {
    ACCT_ROW(deai_key_rec, a, "a"),
    U64_ROW(deai_key_rec, n, "n"),
    DEAI_F_UINT_OPT(deai_key_rec, cap, "cap", 0, UINT64_MAX),
    U64_ROW(deai_key_rec, day, "day"),
    DEAI_F_LIST(deai_key_rec, may, "may", DEAI_FIELD_TEXT, 0, 16, DEAI_NAME_MAX),
    U64_ROW(deai_key_rec, spent, "spent"),
};
const deai_table deai_key_rec_table = DEAI_TABLE_SIGNED("key", deai_key_rec, key_rows);

static const deai_field totals_rows[] = {
    U64_ROW(deai_totals_rec, burned, "burned"),
    U64_ROW(deai_totals_rec, minted, "minted"),
};
const deai_table deai_totals_rec_table = DEAI_TABLE_SIGNED("totals", deai_totals_rec, totals_rows);

static const char *const role_names[] = {"member", "guest", NULL};
static const deai_field member_rows[] = {
    ACCT_ROW(deai_member_rec, by, "by"),
    DEAI_F_TEXT(deai_member_rec, name, "name", 1, DEAI_NAME_MAX),
    DEAI_F_ENUM(deai_member_rec, role, "role", role_names),
    ACCT_ROW(deai_member_rec, owner, "owner"),
};
const deai_table deai_member_rec_table = DEAI_TABLE_SIGNED("member", deai_member_rec, member_rows);

static const deai_field owner_rows[] = {
    U64_ROW(deai_owner_rec, members, "members"),
    U64_ROW(deai_owner_rec, records, "records"),
};
const deai_table deai_owner_rec_table = DEAI_TABLE_SIGNED("owner", deai_owner_rec, owner_rows);

static const deai_field entry_rows[] = {
    ACCT_ROW(deai_entry_rec, a, "a"),
    U64_ROW(deai_entry_rec, h, "h"),
    DEAI_F_ANY(deai_entry_rec, body, "body", DEAI_RECORD_MAX),
};
const deai_table deai_entry_rec_table = DEAI_TABLE_SIGNED("entry", deai_entry_rec, entry_rows);

static const deai_field hold_rows[] = {
    U64_ROW(deai_channel_hold, amount, NULL),
    U64_ROW(deai_channel_hold, due, NULL),
    DEAI_F_FIXED(deai_channel_hold, root, NULL, DEAI_HASH_BYTES),
};
static const deai_table hold_table = DEAI_TABLE_TUPLE("channel.hold", deai_channel_hold, hold_rows);

static const deai_field job_rows[] = {
    DEAI_F_FIXED(deai_channel_job, job, NULL, DEAI_ID_BYTES),
    U64_ROW(deai_channel_job, price, NULL),
    U64_ROW(deai_channel_job, payee, NULL),
    DEAI_F_UINT(deai_channel_job, state, NULL, 0, DEAI_JOB_DECIDED),
    U64_ROW(deai_channel_job, due, NULL),
};
static const deai_table job_table = DEAI_TABLE_TUPLE("channel.job", deai_channel_job, job_rows);

static const deai_field channel_rows[] = {
    KEY_ROW(deai_channel_rec, key, "key"),
    DEAI_F_LIST_OF(deai_channel_rec, jobs, "jobs", 0, DEAI_CHANNEL_JOBS_MAX, &job_table),
    U64_ROW(deai_channel_rec, paid, "paid"),
    DEAI_F_LIST_OF(deai_channel_rec, holds, "holds", 0, DEAI_CHANNEL_HOLDS_MAX, &hold_table),
    ACCT_ROW(deai_channel_rec, owner, "owner"),
    KEY_ROW(deai_channel_rec, payee, "payee"),
    ACCT_ROW(deai_channel_rec, payer, "payer"),
    U64_ROW(deai_channel_rec, claimed, "claimed"),
    U64_ROW(deai_channel_rec, closing, "closing"),
    U64_ROW(deai_channel_rec, deposit, "deposit"),
    U64_ROW(deai_channel_rec, matured, "matured"),
    U64_ROW(deai_channel_rec, close_after, "close_after"),
};
const deai_table deai_channel_rec_table =
    DEAI_TABLE_SIGNED("channel", deai_channel_rec, channel_rows);

static const deai_field module_rows[] = {
    DEAI_F_TEXT(deai_module_ref, id, "id", 1, DEAI_NAME_MAX),
    DEAI_F_UINT(deai_module_ref, rules, "rules", 1, UINT32_MAX),
};
static const deai_table module_table = DEAI_TABLE_SIGNED("module", deai_module_ref, module_rows);
static const deai_field modules_rows[] = {
    DEAI_F_LIST_OF(deai_modules_rec, modules, NULL, 0, 64, &module_table),
};
const deai_table deai_modules_rec_table =
    DEAI_TABLE_BARE("modules", deai_modules_rec, modules_rows);

static const deai_field upgrades_rows[] = {
    DEAI_F_LIST_OF(deai_upgrades_rec, upgrades, NULL, 0, DEAI_UPGRADES_MAX, &deai_op_upgrade_table),
};
const deai_table deai_upgrades_rec_table =
    DEAI_TABLE_BARE("upgrades", deai_upgrades_rec, upgrades_rows);

static int32_t has_lists(const deai_table *codec) {
  for (uint32_t i = 0; i < codec->field_count; i++) {
    if (codec->fields[i].kind == DEAI_FIELD_LIST) return 1;
  }
  return 0;
}

static int32_t rec_open(deai_ledger_ctx *ctx, const deai_table *codec, deai_bytes value,
                        void *out) {
  char err[ERR_BYTES];
  deai_arena arena = {NULL, 0, 0};
  if (has_lists(codec)) {
    arena.base = ctx->take(ctx, DECODE_ROOM);
    arena.cap = DECODE_ROOM;
    if (arena.base == NULL) return ctx->fail(ctx, DEAI_ENOMEM, "no memory for a record");
  }
  if (deai_decode(codec, value, out, &arena, err, sizeof err) == DEAI_OK) return DEAI_OK;
  return ctx->fail(ctx, DEAI_EVERIFY, "expected a record of this build, found: %s", err);
}

int32_t deai_rec_get(deai_ledger_ctx *ctx, uint32_t table, deai_bytes key, const deai_table *codec,
                     void *out) {
  deai_bytes value;
  int32_t status = ctx->get(ctx, table, key, &value);
  return status == DEAI_OK ? rec_open(ctx, codec, value, out) : status;
}

int32_t deai_rec_query(deai_ledger_ctx *ctx, const char *module, const char *table, deai_bytes key,
                       const deai_table *codec, void *out) {
  deai_bytes value;
  int32_t status = ctx->query(ctx, deai_str_of(module), deai_str_of(table), key, &value);
  return status == DEAI_OK ? rec_open(ctx, codec, value, out) : status;
}

int32_t deai_rec_put(deai_ledger_ctx *ctx, uint32_t table, deai_bytes key, const deai_table *codec,
                     const void *value) {
  uint8_t room[ENCODE_ROOM];
  char err[ERR_BYTES];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  int32_t status = deai_encode(codec, value, &writer, err, sizeof err);
  if (status == DEAI_ETOOLARGE) {
    uint8_t *wide = ctx->take(ctx, writer.len);
    if (wide == NULL) return ctx->fail(ctx, DEAI_ENOMEM, "no memory for a record");
    writer = deai_cbor_writer_of((deai_buf){wide, writer.len});
    status = deai_encode(codec, value, &writer, err, sizeof err);
  }
  if (status != DEAI_OK) return ctx->fail(ctx, status, "%s", err);
  return ctx->put(ctx, table, key, deai_bytes_of(writer.ptr, writer.len));
}

static const deai_op_row *row_find(const deai_op_row *rows, deai_str type) {
  for (; rows->type != NULL; rows++) {
    if (deai_str_eq(type, deai_str_of(rows->type))) return rows;
  }
  return NULL;
}

static int32_t body_decode(deai_ledger_ctx *ctx, const deai_op_row *row, deai_bytes body,
                           void *out) {
  char err[ERR_BYTES];
  deai_arena arena = {ctx->take(ctx, DECODE_ROOM), DECODE_ROOM, 0};
  if (arena.base == NULL) return ctx->fail(ctx, DEAI_ENOMEM, "no memory for an operation");
  int32_t status = deai_decode(row->codec, body, out, &arena, err, sizeof err);
  return status == DEAI_OK ? DEAI_OK : ctx->fail(ctx, status, "%s", err);
}

static int32_t no_type(deai_ledger_ctx *ctx, deai_str type) {
  return ctx->fail(ctx, DEAI_EUNSUPPORTED, "expected a type of operation, found %.*s",
                   (int)(type.len > DEAI_NAME_MAX ? DEAI_NAME_MAX : type.len), type.ptr);
}

int32_t deai_ops_check(deai_ledger_ctx *ctx, const deai_op_row *rows, deai_str type,
                       deai_bytes body) {
  _Alignas(16) uint8_t room[BODY_STRUCT_MAX];
  const deai_op_row *row = row_find(rows, type);
  if (row == NULL) return no_type(ctx, type);
  if (row->codec->size > sizeof room) return DEAI_EINTERNAL;
  return body_decode(ctx, row, body, room);
}

int32_t deai_ops_apply(deai_ledger_ctx *ctx, const deai_op_row *rows, deai_str type,
                       deai_bytes body) {
  _Alignas(16) uint8_t room[BODY_STRUCT_MAX];
  const deai_op_row *row = row_find(rows, type);
  if (row == NULL) return no_type(ctx, type);
  if (row->codec->size > sizeof room) return DEAI_EINTERNAL;
  int32_t status = body_decode(ctx, row, body, room);
  return status == DEAI_OK ? row->apply(ctx, room) : status;
}
