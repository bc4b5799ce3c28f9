#include "modules.h"

#include "host/ledger/genesis.h"

#include "host/base/banned.h"

#define OWNER_RIGHT "*"

static const char totals_name[] = "totals";

static deai_bytes acct_key(const uint8_t account[DEAI_ACCT_BYTES]) {
  return deai_bytes_of(account, DEAI_ACCT_BYTES);
}

static deai_bytes key_key(const uint8_t key[DEAI_KEY_BYTES]) {
  return deai_bytes_of(key, DEAI_KEY_BYTES);
}

static int32_t account_get(deai_ledger_ctx *ctx, const uint8_t account[DEAI_ACCT_BYTES],
                           deai_account_rec *out) {
  return deai_rec_get(ctx, DEAI_ACCOUNT_ACCOUNTS, acct_key(account), &deai_account_rec_table, out);
}

static int32_t account_put(deai_ledger_ctx *ctx, const uint8_t account[DEAI_ACCT_BYTES],
                           const deai_account_rec *rec) {
  return deai_rec_put(ctx, DEAI_ACCOUNT_ACCOUNTS, acct_key(account), &deai_account_rec_table, rec);
}

static int32_t key_get(deai_ledger_ctx *ctx, const uint8_t key[DEAI_KEY_BYTES], deai_key_rec *out) {
  return deai_rec_get(ctx, DEAI_ACCOUNT_KEYS, key_key(key), &deai_key_rec_table, out);
}

static int32_t key_put(deai_ledger_ctx *ctx, const uint8_t key[DEAI_KEY_BYTES],
                       const deai_key_rec *rec) {
  return deai_rec_put(ctx, DEAI_ACCOUNT_KEYS, key_key(key), &deai_key_rec_table, rec);
}

static int32_t totals_get(deai_ledger_ctx *ctx, deai_totals_rec *out) {
  return deai_rec_get(ctx, DEAI_ACCOUNT_TOTALS, deai_bytes_of(totals_name, 6),
                      &deai_totals_rec_table, out);
}

static int32_t totals_put(deai_ledger_ctx *ctx, const deai_totals_rec *rec) {
  return deai_rec_put(ctx, DEAI_ACCOUNT_TOTALS, deai_bytes_of(totals_name, 6),
                      &deai_totals_rec_table, rec);
}

static int32_t list_has_owner(const deai_list *may) {
  const deai_str *rights = may->items;
  for (uint64_t i = 0; i < may->count; i++) {
    if (deai_str_eq(rights[i], deai_str_of(OWNER_RIGHT))) return 1;
  }
  return 0;
}

/* ---- what the core asks ---- */

static int32_t begin_key(deai_ledger_ctx *ctx, const deai_tx *tx, const uint8_t key[DEAI_KEY_BYTES],
                         deai_key_rec *rec) {
  int32_t status = key_get(ctx, key, rec);
  if (status == DEAI_ENOTFOUND)
    return ctx->fail(ctx, DEAI_EDENIED,
                     "expected a key that is registered to an account, found an unknown one");
  if (status != DEAI_OK) return status;
  if (memcmp(rec->a, tx->a, DEAI_ACCT_BYTES) != 0)
    return ctx->fail(ctx, DEAI_EDENIED, "expected the account of the signing key, found another");
  if (tx->n <= rec->n)
    return ctx->fail(ctx, DEAI_EINVAL, "expected nonce %llu, found %llu, which is used",
                     (unsigned long long)rec->n + 1, (unsigned long long)tx->n);
  if (tx->n > rec->n + 1)
    return ctx->fail(ctx, DEAI_EAGAIN, "expected nonce %llu, found %llu: those between are missing",
                     (unsigned long long)rec->n + 1, (unsigned long long)tx->n);
  if (tx->x != 0 && ctx->time > tx->x)
    return ctx->fail(ctx, DEAI_ETIMEDOUT, "expected block time up to %llu, found %llu: sign anew",
                     (unsigned long long)tx->x, (unsigned long long)ctx->time);
  return DEAI_OK;
}

static int32_t begin_fee(deai_ledger_ctx *ctx, const deai_tx *tx, deai_account_rec *rec) {
  deai_totals_rec totals;
  uint64_t day = ctx->time / DEAI_DAY_MS;
  uint64_t least = ctx->param(ctx, DEAI_PARAM_FEE_MIN, DEAI_FEE_MIN_DEFAULT);
  if (rec->day != day) {
    rec->day = day;
    rec->used = 0;
  }
  if (rec->used >= ctx->param(ctx, DEAI_PARAM_TX_FREE, DEAI_TX_FREE_DEFAULT) && tx->f < least)
    return ctx->fail(ctx, DEAI_EPAYMENT,
                     "expected a fee of %llu, found %llu: the free transactions of today are used",
                     (unsigned long long)least, (unsigned long long)tx->f);
  rec->used++;
  if (tx->f == 0) return DEAI_OK;
  if (rec->b < tx->f)
    return ctx->fail(ctx, DEAI_EPAYMENT, "expected %llu coins for the fee, found %llu",
                     (unsigned long long)tx->f, (unsigned long long)rec->b);
  rec->b -= tx->f;
  int32_t status = totals_get(ctx, &totals);
  if (status != DEAI_OK) return status;
  totals.burned += tx->f;
  return totals_put(ctx, &totals);
}

int32_t deai_account_begin(deai_ledger_ctx *ctx, const deai_tx *tx,
                           const uint8_t key[DEAI_KEY_BYTES], deai_key_rec *key_out) {
  deai_account_rec rec;
  int32_t status = begin_key(ctx, tx, key, key_out);
  if (status == DEAI_OK) status = account_get(ctx, tx->a, &rec);
  if (status == DEAI_OK) status = begin_fee(ctx, tx, &rec);
  if (status == DEAI_OK) status = account_put(ctx, tx->a, &rec);
  if (status != DEAI_OK) return status;
  key_out->n = tx->n;
  return key_put(ctx, key, key_out);
}

/* A right names a module ("channel/1") or one of its operations ("registry/1 put"). */
static int32_t right_fits(deai_str right, deai_str module, deai_str type) {
  if (deai_str_eq(right, deai_str_of(OWNER_RIGHT)) || deai_str_eq(right, module)) return 1;
  if (right.len != module.len + 1 + type.len || right.ptr[module.len] != ' ') return 0;
  return memcmp(right.ptr, module.ptr, (size_t)module.len) == 0 &&
         memcmp(right.ptr + module.len + 1, type.ptr, (size_t)type.len) == 0;
}

int32_t deai_account_may(deai_ledger_ctx *ctx, const deai_key_rec *key, deai_str module,
                         deai_str type) {
  const deai_str *rights = key->may.items;
  for (uint64_t i = 0; i < key->may.count; i++) {
    if (right_fits(rights[i], module, type)) return DEAI_OK;
  }
  return ctx->fail(ctx, DEAI_EDENIED,
                   "expected a key that may do %.*s %.*s, found one that may not", (int)module.len,
                   module.ptr, (int)type.len, type.ptr);
}

int32_t deai_account_end(deai_ledger_ctx *ctx, const uint8_t key[DEAI_KEY_BYTES], uint64_t spent) {
  deai_key_rec rec;
  uint64_t day = ctx->time / DEAI_DAY_MS;
  int32_t status = spent > 0 ? key_get(ctx, key, &rec) : DEAI_ENOTFOUND;
  if (status == DEAI_ENOTFOUND) return DEAI_OK; /* nothing spent, or the key removed itself */
  if (status != DEAI_OK || (rec.has & DEAI_KEY_REC_HAS_CAP) == 0) return status;
  if (rec.day != day) {
    rec.day = day;
    rec.spent = 0;
  }
  if (spent > rec.cap || rec.spent > rec.cap - spent)
    return ctx->fail(ctx, DEAI_EPAYMENT,
                     "expected at most %llu coins a day by this key, found %llu and %llu before",
                     (unsigned long long)rec.cap, (unsigned long long)spent,
                     (unsigned long long)rec.spent);
  rec.spent += spent;
  return key_put(ctx, key, &rec);
}

int32_t deai_account_move(deai_ledger_ctx *ctx, const uint8_t from[DEAI_ACCT_BYTES],
                          const uint8_t to[DEAI_ACCT_BYTES], uint64_t amount, int32_t make) {
  deai_account_rec rec;
  int32_t status = account_get(ctx, from, &rec);
  if (status != DEAI_OK && status != DEAI_ENOTFOUND) return status;
  if (status == DEAI_ENOTFOUND || rec.b < amount)
    return ctx->fail(ctx, DEAI_EPAYMENT, "expected %llu coins, found %llu: top up the account",
                     (unsigned long long)amount,
                     (unsigned long long)(status == DEAI_OK ? rec.b : 0));
  rec.b -= amount;
  status = account_put(ctx, from, &rec);
  if (status != DEAI_OK) return status;
  status = account_get(ctx, to, &rec);
  if (status == DEAI_ENOTFOUND && make) {
    memset(&rec, 0, sizeof rec);
    status = DEAI_OK;
  }
  if (status == DEAI_ENOTFOUND)
    return ctx->fail(ctx, DEAI_ENOTFOUND, "expected an account to pay to, found none");
  if (status != DEAI_OK) return status;
  rec.b += amount; /* the cap bounds the sum of all balances */
  return account_put(ctx, to, &rec);
}

/* ---- operations ---- */

static int32_t key_register(deai_ledger_ctx *ctx, const uint8_t account[DEAI_ACCT_BYTES],
                            const deai_account_key *key, deai_account_rec *rec) {
  deai_key_rec made;
  if (ctx->key_check(ctx, key->k) != DEAI_OK)
    return ctx->fail(ctx, DEAI_EINVAL, "expected a canonical key of prime order, found another");
  int32_t status = key_get(ctx, key->k, &made);
  if (status == DEAI_OK)
    return ctx->fail(ctx, DEAI_EINVAL, "expected a new key, found one that has an account");
  if (status != DEAI_ENOTFOUND) return status;
  if (rec->keys >= DEAI_ACCOUNT_KEYS_MAX)
    return ctx->fail(ctx, DEAI_EFULL, "expected at most %u keys of an account, found more",
                     DEAI_ACCOUNT_KEYS_MAX);
  memset(&made, 0, sizeof made);
  memcpy(made.a, account, DEAI_ACCT_BYTES);
  if ((key->has & DEAI_ACCOUNT_KEY_HAS_CAP) != 0) made.has = DEAI_KEY_REC_HAS_CAP;
  made.cap = key->cap;
  made.may = key->may;
  rec->keys++;
  if (list_has_owner(&key->may)) rec->owners++;
  return key_put(ctx, key->k, &made);
}

static int32_t account_make(deai_ledger_ctx *ctx, const uint8_t account[DEAI_ACCT_BYTES],
                            const deai_list *keys, uint64_t balance) {
  deai_account_rec rec;
  const deai_account_key *list = keys->items;
  int32_t status = account_get(ctx, account, &rec);
  if (status == DEAI_OK) return ctx->fail(ctx, DEAI_EINVAL, "expected a new account, found it");
  if (status != DEAI_ENOTFOUND) return status;
  memset(&rec, 0, sizeof rec);
  rec.b = balance;
  status = DEAI_OK;
  for (uint64_t i = 0; i < keys->count && status == DEAI_OK; i++)
    status = key_register(ctx, account, &list[i], &rec);
  if (status != DEAI_OK) return status;
  if (rec.owners == 0)
    return ctx->fail(ctx, DEAI_EINVAL, "expected a key that may do \"*\", found none");
  return account_put(ctx, account, &rec);
}

static int32_t apply_create(deai_ledger_ctx *ctx, const void *body) {
  const deai_op_create *op = body;
  deai_owner_rec owner;
  uint8_t account[DEAI_ACCT_BYTES];
  int32_t status = deai_rec_query(ctx, "registry/1", "owners", acct_key(ctx->account),
                                  &deai_owner_rec_table, &owner);
  if (status == DEAI_ENOTFOUND || (status == DEAI_OK && owner.members == 0))
    return ctx->fail(ctx, DEAI_EDENIED, "expected the owner of a member, found another account");
  if (status != DEAI_OK) return status;
  deai_account_of_key(((const deai_account_key *)op->keys.items)[0].k, account);
  return account_make(ctx, account, &op->keys, 0);
}

static int32_t need_owner(deai_ledger_ctx *ctx) {
  if (ctx->key_is_owner) return DEAI_OK;
  return ctx->fail(ctx, DEAI_EDENIED, "expected a key that may do \"*\", found a limited one");
}

static int32_t apply_key_add(deai_ledger_ctx *ctx, const void *body) {
  const deai_op_key_add *op = body;
  deai_account_rec rec;
  int32_t status = need_owner(ctx);
  if (status == DEAI_OK) status = account_get(ctx, ctx->account, &rec);
  if (status == DEAI_OK) status = key_register(ctx, ctx->account, &op->key, &rec);
  return status == DEAI_OK ? account_put(ctx, ctx->account, &rec) : status;
}

static int32_t apply_key_rm(deai_ledger_ctx *ctx, const void *body) {
  const deai_op_key_rm *op = body;
  deai_account_rec rec;
  deai_key_rec key;
  int32_t status = need_owner(ctx);
  if (status == DEAI_OK) status = key_get(ctx, op->k, &key);
  if (status == DEAI_ENOTFOUND ||
      (status == DEAI_OK && memcmp(key.a, ctx->account, DEAI_ACCT_BYTES) != 0))
    return ctx->fail(ctx, DEAI_ENOTFOUND, "expected a key of this account, found none");
  if (status == DEAI_OK) status = account_get(ctx, ctx->account, &rec);
  if (status != DEAI_OK) return status;
  if (list_has_owner(&key.may)) {
    if (rec.owners == 1)
      return ctx->fail(ctx, DEAI_EINVAL,
                       "expected another key that may do \"*\", found none: "
                       "add one before this one goes");
    rec.owners--;
  }
  rec.keys--;
  status = account_put(ctx, ctx->account, &rec);
  return status == DEAI_OK ? ctx->del(ctx, DEAI_ACCOUNT_KEYS, key_key(op->k)) : status;
}

static int32_t apply_transfer(deai_ledger_ctx *ctx, const void *body) {
  const deai_op_transfer *op = body;
  deai_bytes value;
  if (ctx->get(ctx, DEAI_ACCOUNT_ACCOUNTS, acct_key(op->to), &value) != DEAI_OK)
    return ctx->fail(ctx, DEAI_ENOTFOUND, "expected an account to pay to, found none: create it");
  return ctx->transfer(ctx, ctx->account, op->to, op->amount);
}

static const deai_op_row rows[] = {
    {"create", &deai_op_create_table, apply_create},
    {"key_add", &deai_op_key_add_table, apply_key_add},
    {"key_rm", &deai_op_key_rm_table, apply_key_rm},
    {"transfer", &deai_op_transfer_table, apply_transfer},
    {NULL, NULL, NULL},
};

/* ---- the module ---- */

static int32_t account_genesis(deai_ledger_ctx *ctx, const deai_genesis *genesis) {
  const deai_genesis_account *list = genesis->accounts.items;
  deai_totals_rec totals = {0, 0};
  int32_t status = DEAI_OK;
  for (uint64_t i = 0; i < genesis->accounts.count && status == DEAI_OK; i++) {
    if (list[i].b > genesis->cap || totals.minted > genesis->cap - list[i].b)
      return ctx->fail(ctx, DEAI_EINVAL, "expected at most %llu coins in genesis, found more",
                       (unsigned long long)genesis->cap);
    totals.minted += list[i].b;
    status = account_make(ctx, list[i].a, &list[i].keys, list[i].b);
  }
  return status == DEAI_OK ? totals_put(ctx, &totals) : status;
}

static int32_t account_check(deai_ledger_ctx *ctx, deai_str type, deai_bytes body) {
  return deai_ops_check(ctx, rows, type, body);
}

static int32_t account_apply(deai_ledger_ctx *ctx, deai_str type, deai_bytes body) {
  return deai_ops_apply(ctx, rows, type, body);
}

static const deai_ledger_table tables[] = {
    {"accounts", 0, 0}, {"keys", 0, 0}, {"totals", 1, 0}, {NULL, 0, 0}};

const deai_ledger_module deai_module_account = {
    .size = sizeof(deai_ledger_module),
    .rules = 1,
    .id = "account/1",
    .tables = tables,
    .genesis = account_genesis,
    .check = account_check,
    .apply = account_apply,
};
