#include "modules.h"

#include <stdlib.h>

#include "host/base/banned.h"

static deai_bytes name_of(const char *name) {
  return deai_bytes_of(name, strlen(name));
}

static int32_t need_root(deai_ledger_ctx *ctx) {
  deai_bytes root;
  int32_t status = ctx->get(ctx, DEAI_CHAIN_CHAIN, name_of("root"), &root);
  if (status != DEAI_OK) return status;
  if (!deai_bytes_eq(root, deai_bytes_of(ctx->account, DEAI_ACCT_BYTES)))
    return ctx->fail(ctx, DEAI_EDENIED, "expected the root account, found another");
  if (!ctx->key_is_owner)
    return ctx->fail(ctx, DEAI_EDENIED, "expected a key that may do \"*\", found a limited one");
  return DEAI_OK;
}

static int32_t apply_orderer(deai_ledger_ctx *ctx, const void *body) {
  const deai_op_orderer *op = body;
  int32_t status = need_root(ctx);
  if (status != DEAI_OK) return status;
  if (ctx->key_check(ctx, op->key) != DEAI_OK)
    return ctx->fail(ctx, DEAI_EINVAL, "expected a canonical key of prime order, found another");
  return ctx->put(ctx, DEAI_CHAIN_CHAIN, name_of("orderer"),
                  deai_bytes_of(op->key, DEAI_KEY_BYTES));
}

static int32_t upgrades_get(deai_ledger_ctx *ctx, deai_upgrades_rec *out) {
  int32_t status =
      deai_rec_get(ctx, DEAI_CHAIN_CHAIN, name_of("upgrades"), &deai_upgrades_rec_table, out);
  if (status != DEAI_ENOTFOUND) return status;
  memset(out, 0, sizeof *out);
  return DEAI_OK;
}

static int32_t upgrades_put(deai_ledger_ctx *ctx, deai_op_upgrade *list, uint64_t count) {
  deai_upgrades_rec rec = {{list, count}};
  return deai_rec_put(ctx, DEAI_CHAIN_CHAIN, name_of("upgrades"), &deai_upgrades_rec_table, &rec);
}

/* An upgrade names a module of the set and newer rules; another one for the same module replaces
   it. */
static int32_t upgrade_check(deai_ledger_ctx *ctx, const deai_op_upgrade *op) {
  deai_modules_rec set;
  int32_t status =
      deai_rec_get(ctx, DEAI_CHAIN_CHAIN, name_of("modules"), &deai_modules_rec_table, &set);
  if (status != DEAI_OK) return status;
  if (op->h <= ctx->height)
    return ctx->fail(ctx, DEAI_EINVAL, "expected a height above %llu, found %llu",
                     (unsigned long long)ctx->height, (unsigned long long)op->h);
  const deai_module_ref *list = set.modules.items;
  for (uint64_t i = 0; i < set.modules.count; i++) {
    if (!deai_str_eq(list[i].id, op->id)) continue;
    if (op->rules > list[i].rules) return DEAI_OK;
    return ctx->fail(ctx, DEAI_EINVAL, "expected rules above %llu, found %llu",
                     (unsigned long long)list[i].rules, (unsigned long long)op->rules);
  }
  return ctx->fail(ctx, DEAI_ENOTFOUND, "expected a module of the network, found none of that id");
}

static int32_t apply_upgrade(deai_ledger_ctx *ctx, const void *body) {
  const deai_op_upgrade *op = body;
  deai_upgrades_rec rec;
  uint64_t count = 0;
  int32_t status = need_root(ctx);
  if (status == DEAI_OK) status = upgrade_check(ctx, op);
  if (status == DEAI_OK) status = upgrades_get(ctx, &rec);
  if (status != DEAI_OK) return status;
  deai_op_upgrade *list = ctx->take(ctx, (rec.upgrades.count + 1) * sizeof *list);
  if (list == NULL) return ctx->fail(ctx, DEAI_ENOMEM, "no memory for the upgrades");
  for (uint64_t i = 0; i < rec.upgrades.count; i++) {
    const deai_op_upgrade *before = (const deai_op_upgrade *)rec.upgrades.items + i;
    if (!deai_str_eq(before->id, op->id)) list[count++] = *before;
  }
  if (count == DEAI_UPGRADES_MAX)
    return ctx->fail(ctx, DEAI_EFULL, "expected at most %u upgrades to come", DEAI_UPGRADES_MAX);
  list[count++] = *op;
  return upgrades_put(ctx, list, count);
}

static const deai_op_row rows[] = {
    {"orderer", &deai_op_orderer_table, apply_orderer},
    {"upgrade", &deai_op_upgrade_table, apply_upgrade},
    {NULL, NULL, NULL},
};

static int32_t set_rules(deai_ledger_ctx *ctx, const deai_op_upgrade *op) {
  deai_modules_rec set;
  int32_t status =
      deai_rec_get(ctx, DEAI_CHAIN_CHAIN, name_of("modules"), &deai_modules_rec_table, &set);
  if (status != DEAI_OK) return status;
  deai_module_ref *list = set.modules.items;
  for (uint64_t i = 0; i < set.modules.count; i++) {
    if (deai_str_eq(list[i].id, op->id)) list[i].rules = op->rules;
  }
  return deai_rec_put(ctx, DEAI_CHAIN_CHAIN, name_of("modules"), &deai_modules_rec_table, &set);
}

/* The last block before the height of an upgrade puts the new rules in force: the next block is
   run by who has them. */
static int32_t chain_end_block(deai_ledger_ctx *ctx, uint64_t *due_out) {
  deai_upgrades_rec rec;
  uint64_t left = 0;
  *due_out = DEAI_LEDGER_NEVER;
  int32_t status = upgrades_get(ctx, &rec);
  deai_op_upgrade *list = rec.upgrades.items;
  for (uint64_t i = 0; status == DEAI_OK && i < rec.upgrades.count; i++) {
    if (list[i].h > ctx->height + 1) {
      list[left++] = list[i];
      continue;
    }
    status = set_rules(ctx, &list[i]);
  }
  if (status != DEAI_OK || left == rec.upgrades.count) return status;
  return upgrades_put(ctx, list, left);
}

static int32_t chain_genesis(deai_ledger_ctx *ctx, const deai_genesis *genesis) {
  const deai_genesis_account *root = genesis->accounts.items;
  deai_modules_rec set = {genesis->modules};
  int32_t status = ctx->put(ctx, DEAI_CHAIN_CHAIN, name_of("orderer"),
                            deai_bytes_of(genesis->orderer, DEAI_KEY_BYTES));
  if (status == DEAI_OK)
    status =
        ctx->put(ctx, DEAI_CHAIN_CHAIN, name_of("root"), deai_bytes_of(root->a, DEAI_ACCT_BYTES));
  if (status != DEAI_OK) return status;
  return deai_rec_put(ctx, DEAI_CHAIN_CHAIN, name_of("modules"), &deai_modules_rec_table, &set);
}

static int32_t chain_check(deai_ledger_ctx *ctx, deai_str type, deai_bytes body) {
  return deai_ops_check(ctx, rows, type, body);
}

static int32_t chain_apply(deai_ledger_ctx *ctx, deai_str type, deai_bytes body) {
  return deai_ops_apply(ctx, rows, type, body);
}

static const deai_ledger_table tables[] = {{"chain", 1, 0}, {NULL, 0, 0}};

const deai_ledger_module deai_module_chain = {
    .size = sizeof(deai_ledger_module),
    .rules = 1,
    .id = "chain/1",
    .tables = tables,
    .genesis = chain_genesis,
    .check = chain_check,
    .apply = chain_apply,
    .end_block = chain_end_block,
};
