#include "app.h"

#include "tx.h"

#include "host/base/hash.h"
#include "host/base/merkle.h"
#include "host/base/sign.h"
#include "host/ledger/modules/modules.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define ARENA_BYTES     (8u << 20) /* scratch memory of one call into a module */
#define EVENTS_MAX      4096u
#define EVENT_BYTES_MAX (1u << 20)
#define TABLES_MAX      8u /* of a module */
#define MODULES_MAX     64u

/* A module and its context. */
typedef struct binding {
  deai_ledger_ctx ctx;
  deai_app *app;
  const deai_ledger_module *code;
  uint32_t tables[TABLES_MAX]; /* numbers in the state */
  uint32_t table_count;
} binding;

struct deai_app {
  deai_abci table;
  deai_state *state;
  const deai_genesis_box *genesis;
  binding bindings[MODULES_MAX];
  uint32_t binding_count;
  binding *account;
  deai_arena arena;
  uint32_t depth; /* of module calls: a query into a module keeps the arena of its caller */
  char why[DEAI_ABCI_WHY_MAX];

  /* the block in the making */
  int32_t open;
  deai_abci_block block;
  uint8_t *ids; /* of what prepare let through */
  uint64_t id_count;
  uint64_t id_cap;
  int32_t finalized;
  deai_abci_result result;
  uint64_t due_ms;
  uint8_t modules_hash[DEAI_HASH_BYTES];
  deai_abci_event events[EVENTS_MAX];
  uint32_t event_count;
  uint8_t *event_bytes;
  uint64_t event_used;

  /* the transaction that runs */
  int32_t in_tx;
  uint8_t account_id[DEAI_ACCT_BYTES];
  uint64_t spent;
};

/* ---- parsing ---- */

int32_t deai_tx_parse(const uint8_t *genesis, deai_bytes signed_tx, deai_tx_parsed **parsed_out,
                      char *err, uint32_t err_cap) {
  if (signed_tx.len > DEAI_TX_MAX) {
    (void)snprintf(err, err_cap, "expected at most %u bytes, found %llu", DEAI_TX_MAX,
                   (unsigned long long)signed_tx.len);
    return DEAI_ETOOLARGE;
  }
  uint64_t ops_max = signed_tx.len / 4 < DEAI_TX_OPS_MAX ? signed_tx.len / 4 : DEAI_TX_OPS_MAX;
  uint64_t head = (sizeof(deai_tx_parsed) + 15u) & ~(uint64_t)15u;
  uint64_t room = (ops_max * sizeof(deai_op) + 31u) & ~(uint64_t)15u;
  uint8_t *memory = malloc((size_t)(head + room + signed_tx.len + 1));
  if (memory == NULL) return DEAI_ENOMEM;
  deai_tx_parsed *parsed = (deai_tx_parsed *)(void *)memory;
  deai_arena arena = {memory + head, room, 0};
  memcpy(memory + head + room, signed_tx.ptr, (size_t)signed_tx.len);
  parsed->bytes = deai_bytes_of(memory + head + room, signed_tx.len);
  deai_tx_id(parsed->bytes, parsed->id);
  int32_t status =
      deai_decode(&deai_signed_table, parsed->bytes, &parsed->pack, NULL, err, err_cap);
  if (status == DEAI_OK)
    status = deai_decode(&deai_tx_table, parsed->pack.body, &parsed->tx, &arena, err, err_cap);
  if (status == DEAI_OK && genesis != NULL) {
    status = deai_sign_verify(DEAI_SIGN_TX, genesis, parsed->pack.body, parsed->pack.key,
                              parsed->pack.sig);
    if (status != DEAI_OK)
      (void)snprintf(err, err_cap, "expected a good signature of the transaction, found a bad one");
  }
  if (status != DEAI_OK) {
    free(memory);
    return status;
  }
  *parsed_out = parsed;
  return DEAI_OK;
}

/* ---- the context of a module ---- */

static binding *binding_of(deai_ledger_ctx *ctx) {
  return ctx->impl;
}

static int32_t ctx_get(deai_ledger_ctx *ctx, uint32_t table, deai_bytes key, deai_bytes *value) {
  binding *self = binding_of(ctx);
  if (table >= self->table_count) return DEAI_EINVAL;
  return deai_state_get(self->app->state, self->tables[table], key, value);
}

static int32_t ctx_put(deai_ledger_ctx *ctx, uint32_t table, deai_bytes key, deai_bytes value) {
  binding *self = binding_of(ctx);
  if (table >= self->table_count) return DEAI_EINVAL;
  return deai_state_put(self->app->state, self->tables[table], key, value);
}

static int32_t ctx_del(deai_ledger_ctx *ctx, uint32_t table, deai_bytes key) {
  binding *self = binding_of(ctx);
  if (table >= self->table_count) return DEAI_EINVAL;
  return deai_state_del(self->app->state, self->tables[table], key);
}

static int32_t ctx_iterate(deai_ledger_ctx *ctx, uint32_t table, deai_bytes prefix,
                           deai_ledger_each *each, void *user) {
  binding *self = binding_of(ctx);
  if (table >= self->table_count) return DEAI_EINVAL;
  return deai_state_each(self->app->state, self->tables[table], prefix, each, user);
}

static binding *binding_find(deai_app *app, deai_str id) {
  for (uint32_t i = 0; i < app->binding_count; i++) {
    if (deai_str_eq(id, deai_str_of(app->bindings[i].code->id))) return &app->bindings[i];
  }
  return NULL;
}

static int32_t ctx_query(deai_ledger_ctx *ctx, deai_str module, deai_str name, deai_bytes key,
                         deai_bytes *value) {
  deai_app *app = binding_of(ctx)->app;
  binding *other = binding_find(app, module);
  if (other == NULL) return DEAI_EUNSUPPORTED;
  for (uint32_t i = 0; i < other->table_count; i++) {
    if (deai_str_eq(name, deai_str_of(other->code->tables[i].name)))
      return deai_state_get(app->state, other->tables[i], key, value);
  }
  if (other->code->query == NULL || app->depth > 0) return DEAI_EUNSUPPORTED;
  app->depth++;
  int32_t status = other->code->query(&other->ctx, name, key, value);
  app->depth--;
  return status;
}

static int32_t ctx_transfer(deai_ledger_ctx *ctx, const uint8_t from[DEAI_ACCT_BYTES],
                            const uint8_t to[DEAI_ACCT_BYTES], uint64_t amount) {
  deai_app *app = binding_of(ctx)->app;
  int32_t status = deai_account_move(&app->account->ctx, from, to, amount, 1);
  if (status != DEAI_OK || !app->in_tx) return status;
  if (memcmp(from, app->account_id, DEAI_ACCT_BYTES) == 0)
    app->spent = amount > UINT64_MAX - app->spent ? UINT64_MAX : app->spent + amount;
  return DEAI_OK;
}

static int32_t ctx_verify(deai_ledger_ctx *ctx, uint32_t type, deai_bytes bytes,
                          const uint8_t key[DEAI_KEY_BYTES], const uint8_t sig[DEAI_SIG_BYTES]) {
  const uint8_t *genesis = binding_of(ctx)->app->genesis->hash;
  if (type > 1) return DEAI_EINVAL;
  return deai_sign_verify(type == 0 ? DEAI_SIGN_VOUCHER : DEAI_SIGN_RECEIPT, genesis, bytes, key,
                          sig);
}

static int32_t ctx_key_check(deai_ledger_ctx *ctx, const uint8_t key[DEAI_KEY_BYTES]) {
  (void)ctx;
  return deai_sign_key_check(key);
}

static void ctx_sha256(deai_ledger_ctx *ctx, deai_bytes bytes, uint8_t out[DEAI_HASH_BYTES]) {
  (void)ctx;
  deai_sha256(bytes, out);
}

/* Events are no state: one that finds no room is left out. */
static void ctx_event(deai_ledger_ctx *ctx, deai_str name, deai_bytes body) {
  binding *self = binding_of(ctx);
  deai_app *app = self->app;
  uint64_t len = name.len + body.len;
  if (app->event_count == EVENTS_MAX || len > EVENT_BYTES_MAX - app->event_used) return;
  uint8_t *at = app->event_bytes + app->event_used;
  memcpy(at, name.ptr, (size_t)name.len);
  if (body.len > 0) memcpy(at + name.len, body.ptr, (size_t)body.len);
  deai_abci_event *event = &app->events[app->event_count++];
  event->module = deai_str_of(self->code->id);
  event->name = (deai_str){(const char *)at, name.len};
  event->body = deai_bytes_of(at + name.len, body.len);
  app->event_used += len;
}

static void *ctx_take(deai_ledger_ctx *ctx, uint64_t len) {
  return deai_arena_take(&binding_of(ctx)->app->arena, len);
}

static int32_t ctx_fail(deai_ledger_ctx *ctx, int32_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int32_t ctx_fail(deai_ledger_ctx *ctx, int32_t status, const char *format, ...) {
  deai_app *app = binding_of(ctx)->app;
  va_list args;
  va_start(args, format);
  (void)vsnprintf(app->why, sizeof app->why, format, args);
  va_end(args);
  return status;
}

static uint64_t ctx_param(deai_ledger_ctx *ctx, const char *name, uint64_t fallback) {
  return deai_genesis_param(&binding_of(ctx)->app->genesis->genesis, name, fallback);
}

static void binding_start(deai_app *app, binding *self) {
  self->app = app;
  self->ctx = (deai_ledger_ctx){
      .size = sizeof(deai_ledger_ctx),
      .impl = self,
      .get = ctx_get,
      .put = ctx_put,
      .del = ctx_del,
      .iterate = ctx_iterate,
      .query = ctx_query,
      .transfer = ctx_transfer,
      .verify = ctx_verify,
      .key_check = ctx_key_check,
      .sha256 = ctx_sha256,
      .event = ctx_event,
      .take = ctx_take,
      .fail = ctx_fail,
      .param = ctx_param,
  };
}

static int32_t binding_add(deai_app *app, const deai_module_ref *ref, char *err, uint32_t err_cap) {
  const deai_ledger_module *code = deai_modules_find(ref->id);
  if (code == NULL || app->binding_count == MODULES_MAX) return DEAI_EVERSION;
  binding *self = &app->bindings[app->binding_count++];
  binding_start(app, self);
  self->code = code;
  for (uint32_t i = 0; code->tables[i].name != NULL; i++) {
    int32_t table = deai_state_table(app->state, ref->id, deai_str_of(code->tables[i].name));
    if (table < 0 || i == TABLES_MAX) {
      (void)snprintf(err, err_cap, "expected table %s of %s in genesis, found none",
                     code->tables[i].name, code->id);
      return DEAI_EINVAL;
    }
    self->tables[self->table_count++] = (uint32_t)table;
  }
  if (code == &deai_module_account) app->account = self;
  return DEAI_OK;
}

/* Each call into a module starts with an empty arena and text. */
static deai_ledger_ctx *call_start(deai_app *app, binding *self) {
  app->arena.used = 0;
  app->why[0] = 0;
  self->ctx.height = app->block.height;
  self->ctx.time = app->block.time_ms;
  return &self->ctx;
}

/* ---- transactions ---- */

static int32_t tx_op(deai_app *app, const deai_tx_parsed *tx, const deai_key_rec *key,
                     uint32_t index) {
  const deai_op *op = (const deai_op *)tx->tx.t.items + index;
  binding *self = binding_find(app, op->module);
  deai_ledger_ctx *account = call_start(app, app->account);
  if (self == NULL)
    return ctx_fail(account, DEAI_EUNSUPPORTED, "expected a module of this network, found %.*s",
                    (int)op->module.len, op->module.ptr);
  int32_t status = deai_account_may(account, key, op->module, op->type);
  if (status != DEAI_OK) return status;
  deai_ledger_ctx *ctx = call_start(app, self);
  ctx->op_index = index;
  memcpy(ctx->account, tx->tx.a, DEAI_ACCT_BYTES);
  memcpy(ctx->key, tx->pack.key, DEAI_KEY_BYTES);
  memcpy(ctx->tx_id, tx->id, DEAI_HASH_BYTES);
  ctx->key_is_owner = 0;
  for (uint64_t i = 0; i < key->may.count; i++) {
    if (deai_str_eq(((const deai_str *)key->may.items)[i], deai_str_of("*"))) ctx->key_is_owner = 1;
  }
  return self->code->apply(ctx, op->type, op->body);
}

/* The rights of the key as they were before its first operation; they outlive the arena. */
typedef struct key_copy {
  deai_key_rec rec;
  deai_str rights[16];
  char texts[16 * DEAI_NAME_MAX];
} key_copy;

static void key_keep(const deai_key_rec *rec, key_copy *out) {
  const deai_str *rights = rec->may.items;
  char *at = out->texts;
  out->rec = *rec;
  for (uint64_t i = 0; i < rec->may.count; i++) {
    memcpy(at, rights[i].ptr, (size_t)rights[i].len);
    out->rights[i] = (deai_str){at, rights[i].len};
    at += rights[i].len;
  }
  out->rec.may.items = out->rights;
}

static int32_t tx_run_in(deai_app *app, const deai_tx_parsed *tx) {
  deai_key_rec rec;
  key_copy key;
  app->spent = tx->tx.f;
  memcpy(app->account_id, tx->tx.a, DEAI_ACCT_BYTES);
  int32_t status = deai_account_begin(call_start(app, app->account), &tx->tx, tx->pack.key, &rec);
  if (status != DEAI_OK) return status;
  key_keep(&rec, &key);
  for (uint32_t i = 0; i < tx->tx.t.count && status == DEAI_OK; i++)
    status = tx_op(app, tx, &key.rec, i);
  if (status != DEAI_OK) return status == DEAI_EAGAIN ? DEAI_EINTERNAL : status;
  return deai_account_end(call_start(app, app->account), tx->pack.key, app->spent);
}

/* Runs one transaction: all of it, or nothing. */
static int32_t tx_run(deai_app *app, const deai_tx_parsed *tx) {
  uint64_t mark = deai_state_mark(app->state);
  uint32_t events = app->event_count;
  uint64_t event_bytes = app->event_used;
  app->in_tx = 1;
  int32_t status = tx_run_in(app, tx);
  app->in_tx = 0;
  if (status == DEAI_OK) return DEAI_OK;
  deai_state_rollback(app->state, mark);
  app->event_count = events;
  app->event_used = event_bytes;
  return status;
}

static int32_t ids_add(deai_app *app, const uint8_t id[DEAI_HASH_BYTES]) {
  if (app->id_count == app->id_cap) {
    uint64_t cap = app->id_cap == 0 ? 256 : 2 * app->id_cap;
    uint8_t *wider = realloc(app->ids, (size_t)cap * DEAI_HASH_BYTES);
    if (wider == NULL) return DEAI_ENOMEM;
    app->ids = wider;
    app->id_cap = cap;
  }
  memcpy(app->ids + app->id_count++ * DEAI_HASH_BYTES, id, DEAI_HASH_BYTES);
  return DEAI_OK;
}

/* ---- the table ---- */

static void app_abandon(void *user) {
  deai_app *app = user;
  deai_state_discard(app->state);
  app->open = 0;
  app->finalized = 0;
  app->id_count = 0;
  app->event_count = 0;
  app->event_used = 0;
}

static void block_open(deai_app *app, const deai_abci_block *block) {
  int32_t same = app->open && !app->finalized && app->block.height == block->height &&
                 app->block.time_ms == block->time_ms;
  if (same) return;
  app_abandon(app);
  app->open = 1;
  app->block = *block;
}

static void verdict_set(const deai_app *app, int32_t status, deai_abci_verdict *verdict) {
  verdict->status = status;
  verdict->ahead = 0;
  const char *why = app->why[0] != 0 ? app->why : deai_status_text(status);
  (void)snprintf(verdict->why, sizeof verdict->why, "%s", status == DEAI_OK ? "" : why);
}

/* How far the nonce of tx is ahead of its turn. */
static uint64_t tx_ahead(deai_app *app, const deai_tx_parsed *tx) {
  deai_key_rec rec;
  deai_ledger_ctx *ctx = call_start(app, app->account);
  int32_t status = deai_rec_get(ctx, DEAI_ACCOUNT_KEYS, deai_bytes_of(tx->pack.key, DEAI_KEY_BYTES),
                                &deai_key_rec_table, &rec);
  return status == DEAI_OK ? tx->tx.n - rec.n - 1 : 0;
}

static int32_t app_prepare(void *user, const deai_abci_block *block, const deai_tx_parsed *tx,
                           deai_abci_verdict *verdict) {
  deai_app *app = user;
  block_open(app, block);
  uint64_t mark = deai_state_mark(app->state);
  int32_t status = tx_run(app, tx);
  if (status == DEAI_OK) {
    status = ids_add(app, tx->id);
    if (status != DEAI_OK) deai_state_rollback(app->state, mark);
  }
  verdict_set(app, status, verdict);
  if (status == DEAI_EAGAIN) verdict->ahead = tx_ahead(app, tx);
  return DEAI_OK;
}

static int32_t app_check_tx(void *user, const deai_tx_parsed *tx, deai_abci_verdict *verdict) {
  deai_app *app = user;
  int32_t status = DEAI_OK;
  const deai_op *ops = tx->tx.t.items;
  for (uint64_t i = 0; i < tx->tx.t.count && status == DEAI_OK; i++) {
    binding *self = binding_find(app, ops[i].module);
    app->why[0] = 0;
    status = self == NULL ? DEAI_EUNSUPPORTED
                          : self->code->check(call_start(app, self), ops[i].type, ops[i].body);
  }
  verdict_set(app, status, verdict);
  return DEAI_OK;
}

/* The transactions are exactly those that prepare let through. */
static int32_t prepared(const deai_app *app, const deai_abci_block *block,
                        const deai_tx_parsed *const *txs, uint64_t count) {
  if (!app->open || app->finalized || app->block.height != block->height ||
      app->block.time_ms != block->time_ms || app->id_count != count)
    return 0;
  for (uint64_t i = 0; i < count; i++) {
    if (memcmp(app->ids + i * DEAI_HASH_BYTES, txs[i]->id, DEAI_HASH_BYTES) != 0) return 0;
  }
  return 1;
}

static void status_leaf(int32_t status, deai_merkle *tree) {
  uint8_t room[16];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  deai_cbor_put_int(&writer, status);
  deai_merkle_add(tree, deai_bytes_of(room, writer.len));
}

static int32_t run_all(deai_app *app, const deai_tx_parsed *const *txs, uint64_t count,
                       deai_merkle *statuses) {
  for (uint64_t i = 0; i < count; i++) {
    int32_t status = tx_run(app, txs[i]);
    if (status != DEAI_OK) app->result.failed_count++;
    status_leaf(status, statuses);
    int32_t kept = ids_add(app, txs[i]->id);
    if (kept != DEAI_OK) return kept;
  }
  return DEAI_OK;
}

static int32_t run_end(deai_app *app) {
  app->result.due_ms = DEAI_LEDGER_NEVER;
  for (uint32_t i = 0; i < app->binding_count; i++) {
    uint64_t due = DEAI_LEDGER_NEVER;
    binding *self = &app->bindings[i];
    if (self->code->end_block == NULL) continue;
    int32_t status = self->code->end_block(call_start(app, self), &due);
    if (status != DEAI_OK) return status;
    if (due < app->result.due_ms) app->result.due_ms = due;
  }
  return DEAI_OK;
}

/* ---- conservation ---- */

static int32_t balance_of(deai_bytes value, uint64_t *out) {
  deai_account_rec rec;
  *out = 0;
  if (value.ptr == NULL) return DEAI_OK;
  if (deai_decode(&deai_account_rec_table, value, &rec, NULL, NULL, 0) != DEAI_OK)
    return DEAI_EVERIFY;
  *out = rec.b;
  return DEAI_OK;
}

typedef struct flow {
  uint64_t in;  /* what balances (or minted - burned) were before */
  uint64_t out; /* and are now */
} flow;

static int32_t flow_account(void *user, deai_bytes before, deai_bytes after) {
  flow *sum = user;
  uint64_t old, new;
  int32_t status = balance_of(before, &old);
  if (status == DEAI_OK) status = balance_of(after, &new);
  if (status != DEAI_OK) return status;
  sum->in += old; /* all balances together are within the cap: no sum of them overflows */
  sum->out += new;
  return DEAI_OK;
}

static int32_t coins_of(deai_bytes value, uint64_t *out) {
  deai_totals_rec rec;
  *out = 0;
  if (value.ptr == NULL) return DEAI_OK;
  if (deai_decode(&deai_totals_rec_table, value, &rec, NULL, NULL, 0) != DEAI_OK)
    return DEAI_EVERIFY;
  *out = rec.minted - rec.burned;
  return rec.burned <= rec.minted ? DEAI_OK : DEAI_EVERIFY;
}

static int32_t flow_totals(void *user, deai_bytes before, deai_bytes after) {
  flow *sum = user;
  int32_t status = coins_of(before, &sum->in);
  return status == DEAI_OK ? coins_of(after, &sum->out) : status;
}

/* The change of all balances is the change of minted - burned. */
static int32_t block_conserved(deai_app *app) {
  flow balances = {0, 0}, totals = {0, 0};
  const uint32_t *tables = app->account->tables;
  int32_t status =
      deai_state_each_change(app->state, tables[DEAI_ACCOUNT_ACCOUNTS], flow_account, &balances);
  if (status == DEAI_OK)
    status = deai_state_each_change(app->state, tables[DEAI_ACCOUNT_TOTALS], flow_totals, &totals);
  if (status != DEAI_OK) return status;
  if (balances.out - balances.in == totals.out - totals.in) return DEAI_OK;
  return ctx_fail(&app->account->ctx, DEAI_EINTERNAL,
                  "expected that balances change by minted - burned, found another sum: this is a "
                  "fault of a module, nothing was written");
}

static int32_t sum_account(void *user, deai_bytes key, deai_bytes value) {
  uint64_t balance;
  (void)key;
  int32_t status = balance_of(value, &balance);
  *(uint64_t *)user += balance;
  return status;
}

int32_t deai_app_conserved(deai_app *app, char *err, uint32_t err_cap) {
  uint64_t balances = 0, coins = 0;
  deai_state_answer answer;
  const uint32_t *tables = app->account->tables;
  int32_t status = deai_state_lookup_each(app->state, tables[DEAI_ACCOUNT_ACCOUNTS],
                                          deai_bytes_of(NULL, 0), sum_account, &balances);
  if (status == DEAI_OK)
    status = deai_state_lookup(app->state, tables[DEAI_ACCOUNT_TOTALS], deai_bytes_of("totals", 6),
                               0, &answer);
  if (status != DEAI_OK) return status;
  status = coins_of(answer.value, &coins);
  free(answer.memory);
  if (status == DEAI_OK && balances == coins) return DEAI_OK;
  (void)snprintf(err, err_cap, "expected %llu coins in all accounts, found %llu",
                 (unsigned long long)coins, (unsigned long long)balances);
  return DEAI_EVERIFY;
}

static int32_t finish(deai_app *app, deai_merkle *statuses) {
  deai_merkle ids;
  int32_t status = run_end(app);
  if (status == DEAI_OK) status = block_conserved(app);
  if (status == DEAI_OK) status = deai_state_root(app->state, app->result.state_root);
  if (status != DEAI_OK) return status;
  deai_merkle_start(&ids);
  for (uint64_t i = 0; i < app->id_count; i++)
    deai_merkle_add(&ids, deai_bytes_of(app->ids + i * DEAI_HASH_BYTES, DEAI_HASH_BYTES));
  deai_merkle_root(&ids, app->result.data_root);
  deai_merkle_root(statuses, app->result.results_root);
  app->result.events = app->events;
  app->result.event_count = app->event_count;
  app->finalized = 1;
  return DEAI_OK;
}

static int32_t app_finalize(void *user, const deai_abci_block *block,
                            const deai_tx_parsed *const *txs, uint64_t count,
                            deai_abci_result *result, char *err, uint32_t err_cap) {
  deai_app *app = user;
  deai_merkle statuses;
  int32_t status = DEAI_OK;
  deai_merkle_start(&statuses);
  if (prepared(app, block, txs, count)) {
    app->result.failed_count = 0;
    for (uint64_t i = 0; i < count; i++)
      status_leaf(DEAI_OK, &statuses);
  } else {
    app_abandon(app);
    block_open(app, block);
    app->result.failed_count = 0;
    status = run_all(app, txs, count, &statuses);
  }
  if (status == DEAI_OK) status = finish(app, &statuses);
  if (status != DEAI_OK) {
    (void)snprintf(err, err_cap, "%s", app->why[0] != 0 ? app->why : deai_status_text(status));
    app_abandon(app);
    return status;
  }
  *result = app->result;
  return DEAI_OK;
}

/* The hash of what is in force, kept in the head: a state that another build wrote is noticed. */
static int32_t modules_hash(deai_app *app, uint8_t out[DEAI_HASH_BYTES]) {
  binding *chain = binding_find(app, deai_str_of("chain/1"));
  deai_bytes value;
  if (chain == NULL) return DEAI_EVERSION;
  int32_t status = deai_state_get(app->state, chain->tables[DEAI_CHAIN_CHAIN],
                                  deai_bytes_of("modules", 7), &value);
  if (status == DEAI_OK) deai_sha256(value, out);
  return status;
}

static int32_t app_commit(void *user, const deai_abci_commit *commit, char *err, uint32_t err_cap) {
  deai_app *app = user;
  deai_state_commit out;
  memset(&out, 0, sizeof out);
  if (!app->finalized) return DEAI_EINTERNAL;
  out.head.height = app->block.height;
  out.head.time_ms = app->block.time_ms;
  out.head.log_end = commit->log_end;
  memcpy(out.head.hash, commit->hash, DEAI_HASH_BYTES);
  memcpy(out.head.root, app->result.state_root, DEAI_HASH_BYTES);
  int32_t status = modules_hash(app, out.head.modules);
  if (status != DEAI_OK) return status;
  out.signed_block = commit->signed_block;
  out.log_at = commit->log_at;
  out.tx_ids = app->ids;
  out.tx_count = app->id_count;
  out.old_ids = commit->old_ids;
  out.old_count = commit->old_count;
  status = deai_state_commit_block(app->state, &out, err, err_cap);
  if (status == DEAI_OK) app->due_ms = app->result.due_ms;
  app->open = 0;
  app->finalized = 0;
  app->id_count = 0;
  app->event_count = 0;
  app->event_used = 0;
  return status;
}

static int32_t app_init_chain(void *user, char *err, uint32_t err_cap) {
  deai_app *app = user;
  deai_merkle statuses;
  int32_t status = DEAI_OK;
  const deai_genesis *genesis = &app->genesis->genesis;
  deai_abci_block block = {0, genesis->t};
  deai_abci_commit commit = {{NULL, 0}, app->genesis->hash, 0, 0, NULL, 0};
  deai_merkle_start(&statuses);
  app_abandon(app);
  block_open(app, &block);
  for (uint32_t i = 0; i < app->binding_count && status == DEAI_OK; i++)
    status = app->bindings[i].code->genesis(call_start(app, &app->bindings[i]), genesis);
  app->result.failed_count = 0;
  if (status == DEAI_OK) status = finish(app, &statuses);
  if (status == DEAI_OK) return app_commit(app, &commit, err, err_cap);
  (void)snprintf(err, err_cap, "%s", app->why[0] != 0 ? app->why : deai_status_text(status));
  app_abandon(app);
  return status;
}

static int32_t app_info(void *user, deai_abci_info *out) {
  deai_app *app = user;
  deai_state_head head = deai_state_head_get(app->state);
  deai_state_answer answer;
  memset(out, 0, sizeof *out);
  out->is_new = deai_state_is_new(app->state);
  out->height = head.height;
  out->time_ms = head.time_ms;
  out->due_ms = app->due_ms;
  memcpy(out->hash, head.hash, DEAI_HASH_BYTES);
  memcpy(out->root, head.root, DEAI_HASH_BYTES);
  if (out->is_new) return DEAI_OK;
  int32_t table = deai_state_table(app->state, deai_str_of("chain/1"), deai_str_of("chain"));
  int32_t status = table < 0 ? DEAI_EVERSION
                             : deai_state_lookup(app->state, (uint32_t)table,
                                                 deai_bytes_of("orderer", 7), 0, &answer);
  if (status != DEAI_OK) return status;
  if (answer.value.len == DEAI_KEY_BYTES) memcpy(out->orderer, answer.value.ptr, DEAI_KEY_BYTES);
  status = answer.value.len == DEAI_KEY_BYTES ? DEAI_OK : DEAI_EVERIFY;
  free(answer.memory);
  return status;
}

static int32_t app_query(void *user, deai_str module, deai_str table, deai_bytes key, int32_t prove,
                         deai_state_answer *answer) {
  deai_app *app = user;
  int32_t number = deai_state_table(app->state, module, table);
  if (number < 0) return DEAI_ENOTFOUND;
  return deai_state_lookup(app->state, (uint32_t)number, key, prove, answer);
}

/* ---- life ---- */

/* What is due is no record: it is asked anew, from the committed state, when the machine starts. */
static int32_t due_load(deai_app *app) {
  if (deai_state_is_new(app->state)) return DEAI_OK;
  deai_state_head head = deai_state_head_get(app->state);
  deai_abci_block block = {head.height, head.time_ms};
  block_open(app, &block);
  int32_t status = run_end(app);
  /* more was due than one block does: the next one is due at once */
  app->due_ms = deai_state_mark(app->state) > 0 ? head.time_ms : app->result.due_ms;
  app_abandon(app);
  return status;
}

int32_t deai_app_new(deai_state *state, const deai_genesis_box *genesis, deai_app **app_out,
                     char *err, uint32_t err_cap) {
  const deai_module_ref *refs = genesis->genesis.modules.items;
  int32_t status = DEAI_OK;
  deai_app *app = calloc(1, sizeof *app);
  if (app == NULL) return DEAI_ENOMEM;
  app->state = state;
  app->genesis = genesis;
  app->due_ms = DEAI_LEDGER_NEVER;
  app->table =
      (deai_abci){sizeof(deai_abci), app,          app_info,   app_init_chain, app_check_tx,
                  app_prepare,       app_finalize, app_commit, app_abandon,    app_query};
  app->arena.base = aligned_alloc(16, ARENA_BYTES);
  app->arena.cap = ARENA_BYTES;
  app->event_bytes = malloc(EVENT_BYTES_MAX);
  if (app->arena.base == NULL || app->event_bytes == NULL) status = DEAI_ENOMEM;
  for (uint64_t i = 0; i < genesis->genesis.modules.count && status == DEAI_OK; i++)
    status = binding_add(app, &refs[i], err, err_cap);
  if (status == DEAI_OK && app->account == NULL) status = DEAI_EVERSION;
  if (status == DEAI_OK) status = due_load(app);
  if (status != DEAI_OK) {
    deai_app_free(app);
    return status;
  }
  *app_out = app;
  return DEAI_OK;
}

void deai_app_free(deai_app *app) {
  if (app == NULL) return;
  free(app->arena.base);
  free(app->event_bytes);
  free(app->ids);
  free(app);
}

const deai_abci *deai_app_table(deai_app *app) {
  return &app->table;
}

int32_t deai_app_rules_check(deai_app *app, char *err, uint32_t err_cap) {
  binding *chain = binding_find(app, deai_str_of("chain/1"));
  deai_modules_rec set;
  if (chain == NULL) return DEAI_EVERSION;
  int32_t status = deai_rec_get(call_start(app, chain), DEAI_CHAIN_CHAIN,
                                deai_bytes_of("modules", 7), &deai_modules_rec_table, &set);
  const deai_module_ref *list = set.modules.items;
  for (uint64_t i = 0; status == DEAI_OK && i < set.modules.count; i++) {
    const deai_ledger_module *code = deai_modules_find(list[i].id);
    if (code != NULL && code->rules == list[i].rules) continue;
    (void)snprintf(err, err_cap,
                   "expected module %.*s with rules %llu, found %s%u: install a newer release",
                   (int)list[i].id.len, list[i].id.ptr, (unsigned long long)list[i].rules,
                   code == NULL ? "none, rules " : "rules ", code == NULL ? 0 : code->rules);
    return DEAI_EVERSION;
  }
  return status;
}
