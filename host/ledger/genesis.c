#include "genesis.h"

#include "host/base/hash.h"
#include "host/base/sign.h"
#include "host/ledger/modules/modules.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define BITS_DEFAULT   8u
#define TABLES_MAX     64u
#define MODULES_MAX    64u
#define LEAVES_MAX     (1u << 20) /* of the top tree */
#define ARENA_PER_BYTE 24u        /* a list of empty texts: 16 bytes of struct for each byte */
#define ARENA_BASE     4096u
#define HOLD_MS_MAX    (UINT64_C(366) * DEAI_DAY_MS)

void deai_account_of_key(const uint8_t key[DEAI_KEY_BYTES], uint8_t out[DEAI_ACCT_BYTES]) {
  static const char prefix[] = "deai/account/1"; /* hashed with its zero byte */
  uint8_t hash[DEAI_HASH_BYTES];
  deai_bytes parts[2] = {deai_bytes_of(prefix, sizeof prefix), deai_bytes_of(key, DEAI_KEY_BYTES)};
  deai_sha256_parts(parts, 2, hash);
  memcpy(out, hash, DEAI_ACCT_BYTES);
}

uint64_t deai_genesis_param(const deai_genesis *genesis, const char *name, uint64_t fallback) {
  const deai_uint_pair *params = genesis->params.items;
  for (uint64_t i = 0; i < genesis->params.count; i++) {
    if (deai_str_eq(params[i].key, deai_str_of(name))) return params[i].value;
  }
  return fallback;
}

/* ---- judging ---- */

static int32_t refuse(char *err, uint32_t err_cap, int32_t status, const char *text,
                      deai_str what) {
  (void)snprintf(err, err_cap, "genesis: %s%s%.*s", text, what.len > 0 ? " " : "", (int)what.len,
                 what.ptr);
  return status;
}

static uint32_t count_tables(const deai_genesis *genesis, deai_str module, deai_str name,
                             uint64_t *bits_out) {
  const deai_table_ref *tables = genesis->tables.items;
  uint32_t count = 0;
  for (uint64_t i = 0; i < genesis->tables.count; i++) {
    if (!deai_str_eq(tables[i].m, module) || !deai_str_eq(tables[i].n, name)) continue;
    *bits_out = tables[i].bits;
    count++;
  }
  return count;
}

static int32_t check_module(const deai_genesis *genesis, const deai_module_ref *ref,
                            uint64_t *tables, char *err, uint32_t err_cap) {
  const deai_ledger_module *code = deai_modules_find(ref->id);
  const deai_module_ref *list = genesis->modules.items;
  if (code == NULL || code->rules != ref->rules)
    return refuse(err, err_cap, DEAI_EVERSION,
                  "expected modules and rules of this release, found other rules of or a new",
                  ref->id);
  for (const deai_module_ref *other = list; other != ref; other++) {
    if (deai_str_eq(other->id, ref->id))
      return refuse(err, err_cap, DEAI_EINVAL, "expected each module once, found twice", ref->id);
  }
  for (uint32_t i = 0; code->tables[i].name != NULL; i++, (*tables)++) {
    uint64_t bits = 0;
    deai_str name = deai_str_of(code->tables[i].name);
    if (count_tables(genesis, ref->id, name, &bits) != 1)
      return refuse(err, err_cap, DEAI_EINVAL, "expected each table once, found another count of",
                    name);
    if (code->tables[i].one_bucket && bits != 0)
      return refuse(err, err_cap, DEAI_EINVAL, "expected 0 bits of table", name);
  }
  return DEAI_OK;
}

static int32_t check_modules(const deai_genesis *genesis, char *err, uint32_t err_cap) {
  static const char *const needed[] = {"account/1", "chain/1", "registry/1"};
  const deai_module_ref *list = genesis->modules.items;
  const deai_table_ref *tables = genesis->tables.items;
  uint64_t table_count = 0, leaves = 0;
  int32_t status = DEAI_OK;
  for (uint64_t i = 0; i < genesis->modules.count && status == DEAI_OK; i++)
    status = check_module(genesis, &list[i], &table_count, err, err_cap);
  if (status != DEAI_OK) return status;
  for (uint32_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
    int32_t found = 0;
    for (uint64_t k = 0; k < genesis->modules.count; k++)
      found |= deai_str_eq(list[k].id, deai_str_of(needed[i]));
    if (!found) return refuse(err, err_cap, DEAI_EINVAL, "expected module", deai_str_of(needed[i]));
  }
  for (uint64_t i = 0; i < genesis->tables.count; i++)
    leaves += UINT64_C(1) << tables[i].bits;
  if (table_count != genesis->tables.count || leaves > LEAVES_MAX)
    return refuse(err, err_cap, DEAI_EINVAL,
                  "expected exactly the tables of its modules, with up to 2^20 buckets",
                  deai_str_of(""));
  return DEAI_OK;
}

static int32_t check_members(const deai_genesis *genesis, char *err, uint32_t err_cap) {
  const deai_genesis_account *accounts = genesis->accounts.items;
  const deai_member *members = genesis->members.items;
  for (uint64_t i = 0; i < genesis->members.count; i++) {
    if (members[i].role == DEAI_ROLE_MEMBER &&
        memcmp(members[i].owner, accounts[0].a, DEAI_ACCT_BYTES) == 0)
      return DEAI_OK;
  }
  return refuse(err, err_cap, DEAI_EINVAL, "expected a member of the first account, found none",
                deai_str_of(""));
}

static int32_t check_accounts(const deai_genesis *genesis, char *err, uint32_t err_cap) {
  const deai_genesis_account *accounts = genesis->accounts.items;
  for (uint64_t i = 0; i < genesis->accounts.count; i++) {
    uint8_t derived[DEAI_ACCT_BYTES];
    deai_account_of_key(((const deai_account_key *)accounts[i].keys.items)[0].k, derived);
    if (memcmp(derived, accounts[i].a, sizeof derived) != 0)
      return refuse(err, err_cap, DEAI_EINVAL, "expected accounts named by their first keys",
                    deai_str_of(""));
  }
  if (deai_sign_key_check(genesis->orderer) != DEAI_OK)
    return refuse(err, err_cap, DEAI_EINVAL, "expected a canonical orderer key", deai_str_of(""));
  if (deai_genesis_param(genesis, DEAI_PARAM_HOLD_MS, DEAI_HOLD_MS_DEFAULT) > HOLD_MS_MAX)
    return refuse(err, err_cap, DEAI_EINVAL, "expected hold_ms up to 366 days", deai_str_of(""));
  return DEAI_OK;
}

static int32_t check_all(const deai_genesis *genesis, char *err, uint32_t err_cap) {
  int32_t status = check_modules(genesis, err, err_cap);
  if (status == DEAI_OK) status = check_accounts(genesis, err, err_cap);
  return status == DEAI_OK ? check_members(genesis, err, err_cap) : status;
}

int32_t deai_genesis_open(deai_bytes bytes, deai_genesis_box **box_out, char *err,
                          uint32_t err_cap) {
  if (bytes.len == 0 || bytes.len > DEAI_GENESIS_MAX)
    return refuse(err, err_cap, DEAI_ETOOLARGE, "expected up to 1,048,576 bytes", deai_str_of(""));
  deai_genesis_box *box = calloc(1, sizeof *box);
  uint64_t arena_bytes = (bytes.len * ARENA_PER_BYTE + ARENA_BASE) & ~UINT64_C(15);
  uint8_t *memory = aligned_alloc(16, (size_t)(arena_bytes + ((bytes.len + 15) & ~UINT64_C(15))));
  if (box == NULL || memory == NULL) {
    free(box);
    free(memory);
    return DEAI_ENOMEM;
  }
  deai_arena arena = {memory, arena_bytes, 0};
  memcpy(memory + arena_bytes, bytes.ptr, (size_t)bytes.len);
  box->memory = memory;
  box->bytes = deai_bytes_of(memory + arena_bytes, bytes.len);
  deai_sha256(box->bytes, box->hash);
  int32_t status =
      deai_decode(&deai_genesis_table, box->bytes, &box->genesis, &arena, err, err_cap);
  if (status == DEAI_OK) status = check_all(&box->genesis, err, err_cap);
  if (status != DEAI_OK) {
    deai_genesis_free(box);
    return status;
  }
  *box_out = box;
  return DEAI_OK;
}

void deai_genesis_free(deai_genesis_box *box) {
  if (box == NULL) return;
  free(box->memory);
  free(box);
}

/* ---- building ---- */

typedef struct build {
  deai_genesis genesis;
  deai_module_ref modules[MODULES_MAX];
  deai_table_ref tables[TABLES_MAX];
  deai_uint_pair params[3];
  deai_genesis_account account;
  deai_account_key keys[2];
  deai_str wallet_rights[1];
  deai_str node_rights[6];
  deai_member member;
} build;

static void build_modules(build *made, uint32_t bits) {
  const deai_ledger_module *code;
  uint32_t module_count = 0, table_count = 0;
  for (; (code = deai_modules_at(module_count)) != NULL; module_count++) {
    made->modules[module_count] = (deai_module_ref){deai_str_of(code->id), code->rules};
    for (uint32_t i = 0; code->tables[i].name != NULL; i++)
      made->tables[table_count++] =
          (deai_table_ref){deai_str_of(code->id), deai_str_of(code->tables[i].name),
                           code->tables[i].one_bucket ? 0 : bits, 0};
  }
  made->genesis.modules = (deai_list){made->modules, module_count};
  made->genesis.tables = (deai_list){made->tables, table_count};
}

/* The owner account: the wallet may do all, the node's key a little of it (docs/formats.md 6). */
static void build_account(build *made, const deai_genesis_options *options, uint64_t supply) {
  static const char *const rights[] = {"channel/1",          "registry/1 put",
                                       "registry/1 rm",      "account/1 create",
                                       "account/1 transfer", "registry/1 member_add"};
  uint32_t count = options->node_invites ? 6 : 3;
  made->wallet_rights[0] = deai_str_of("*");
  for (uint32_t i = 0; i < count; i++)
    made->node_rights[i] = deai_str_of(rights[i]);
  memcpy(made->keys[0].k, options->wallet, DEAI_KEY_BYTES);
  made->keys[0].may = (deai_list){made->wallet_rights, 1};
  memcpy(made->keys[1].k, options->node, DEAI_KEY_BYTES);
  made->keys[1].has = DEAI_ACCOUNT_KEY_HAS_CAP;
  made->keys[1].cap = options->node_cap;
  made->keys[1].may = (deai_list){made->node_rights, count};
  deai_account_of_key(options->wallet, made->account.a);
  made->account.b = supply;
  made->account.keys = (deai_list){made->keys, 2};
  made->genesis.accounts = (deai_list){&made->account, 1};
}

static void build_params(build *made, const deai_genesis_options *options) {
  made->params[0] = (deai_uint_pair){deai_str_of(DEAI_PARAM_FEE_MIN),
                                     options->fee_min ? options->fee_min : DEAI_FEE_MIN_DEFAULT};
  made->params[1] = (deai_uint_pair){deai_str_of(DEAI_PARAM_HOLD_MS),
                                     options->hold_ms ? options->hold_ms : DEAI_HOLD_MS_DEFAULT};
  made->params[2] = (deai_uint_pair){deai_str_of(DEAI_PARAM_TX_FREE),
                                     options->tx_free ? options->tx_free : DEAI_TX_FREE_DEFAULT};
  made->genesis.params = (deai_list){made->params, 3};
}

static int32_t build_encode(const build *made, deai_genesis_box **box_out, char *err,
                            uint32_t err_cap) {
  uint8_t *bytes = malloc(DEAI_GENESIS_MAX);
  if (bytes == NULL) return DEAI_ENOMEM;
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){bytes, DEAI_GENESIS_MAX});
  int32_t status = deai_encode(&deai_genesis_table, &made->genesis, &writer, err, err_cap);
  if (status == DEAI_OK)
    status = deai_genesis_open(deai_bytes_of(bytes, writer.len), box_out, err, err_cap);
  free(bytes);
  return status;
}

int32_t deai_genesis_build(const deai_genesis_options *options, deai_genesis_box **box_out,
                           char *err, uint32_t err_cap) {
  uint64_t supply = options->supply ? options->supply : DEAI_CAP_MAX;
  build *made = calloc(1, sizeof *made);
  if (made == NULL) return DEAI_ENOMEM;
  deai_genesis *genesis = &made->genesis;
  genesis->v = 1;
  genesis->t = options->time_ms;
  genesis->cap = DEAI_CAP_MAX;
  genesis->name = options->name;
  memcpy(genesis->id, options->id, sizeof genesis->id);
  memcpy(genesis->orderer, options->order, DEAI_KEY_BYTES);
  build_modules(made, options->bits ? options->bits : BITS_DEFAULT);
  build_account(made, options, supply);
  build_params(made, options);
  made->member.name = options->node_name;
  made->member.role = DEAI_ROLE_MEMBER;
  memcpy(made->member.node, options->node, DEAI_KEY_BYTES);
  memcpy(made->member.owner, made->account.a, DEAI_ACCT_BYTES);
  genesis->members = (deai_list){&made->member, 1};
  int32_t status = build_encode(made, box_out, err, err_cap);
  free(made);
  return status;
}
