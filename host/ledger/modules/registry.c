#include "modules.h"

#include "host/base/banned.h"

/* Bytes of a key in the table records: kind 0x00 member/name. */
#define RECORD_KEY_MAX (DEAI_NAME_MAX + 1u + 2u * DEAI_NAME_MAX + 1u)

static const char null_item[] = {(char)0xf6};

static deai_bytes node_key(const uint8_t node[DEAI_KEY_BYTES]) {
  return deai_bytes_of(node, DEAI_KEY_BYTES);
}

static deai_bytes text_key(deai_str text) {
  return deai_bytes_of(text.ptr, text.len);
}

static int32_t member_get(deai_ledger_ctx *ctx, const uint8_t node[DEAI_KEY_BYTES],
                          deai_member_rec *out) {
  return deai_rec_get(ctx, DEAI_REGISTRY_MEMBERS, node_key(node), &deai_member_rec_table, out);
}

/* What an account owns; zero when it owns nothing. */
static int32_t owner_get(deai_ledger_ctx *ctx, const uint8_t account[DEAI_ACCT_BYTES],
                         deai_owner_rec *out) {
  memset(out, 0, sizeof *out);
  int32_t status = deai_rec_get(ctx, DEAI_REGISTRY_OWNERS, deai_bytes_of(account, DEAI_ACCT_BYTES),
                                &deai_owner_rec_table, out);
  return status == DEAI_ENOTFOUND ? DEAI_OK : status;
}

static int32_t owner_put(deai_ledger_ctx *ctx, const uint8_t account[DEAI_ACCT_BYTES],
                         const deai_owner_rec *rec) {
  deai_bytes key = deai_bytes_of(account, DEAI_ACCT_BYTES);
  if (rec->members != 0 || rec->records != 0)
    return deai_rec_put(ctx, DEAI_REGISTRY_OWNERS, key, &deai_owner_rec_table, rec);
  int32_t status = ctx->del(ctx, DEAI_REGISTRY_OWNERS, key);
  return status == DEAI_ENOTFOUND ? DEAI_OK : status;
}

/* A name is shown in tables and stands before '/' in record names: no control characters, no space
   at an end, no '/'. */
static int32_t name_check(deai_ledger_ctx *ctx, deai_str name) {
  int32_t good = name.ptr[0] != ' ' && name.ptr[name.len - 1] != ' ';
  for (uint64_t i = 0; i < name.len && good; i++) {
    uint8_t c = (uint8_t)name.ptr[i];
    good = c >= 0x20 && c != 0x7f && c != '/';
  }
  if (good) return DEAI_OK;
  return ctx->fail(ctx, DEAI_EINVAL,
                   "expected a name without '/', control characters and outer spaces");
}

static int32_t member_make(deai_ledger_ctx *ctx, const deai_member *member,
                           const uint8_t by[DEAI_ACCT_BYTES]) {
  deai_member_rec rec;
  deai_owner_rec owner;
  deai_bytes value;
  if (ctx->key_check(ctx, member->node) != DEAI_OK)
    return ctx->fail(ctx, DEAI_EINVAL, "expected a canonical node key of prime order");
  int32_t status = name_check(ctx, member->name);
  if (status != DEAI_OK) return status;
  if (ctx->get(ctx, DEAI_REGISTRY_MEMBERS, node_key(member->node), &value) == DEAI_OK)
    return ctx->fail(ctx, DEAI_EINVAL, "expected a new node, found a member");
  if (ctx->get(ctx, DEAI_REGISTRY_NAMES, text_key(member->name), &value) == DEAI_OK)
    return ctx->fail(ctx, DEAI_EINVAL, "expected a new name, found that %.*s is taken",
                     (int)member->name.len, member->name.ptr);
  status = ctx->query(ctx, deai_str_of("account/1"), deai_str_of("accounts"),
                      deai_bytes_of(member->owner, DEAI_ACCT_BYTES), &value);
  if (status == DEAI_ENOTFOUND)
    return ctx->fail(ctx, DEAI_ENOTFOUND, "expected the account of the owner, found none");
  if (status != DEAI_OK) return status;
  rec.name = member->name;
  rec.role = member->role;
  memcpy(rec.by, by, sizeof rec.by);
  memcpy(rec.owner, member->owner, sizeof rec.owner);
  status = deai_rec_put(ctx, DEAI_REGISTRY_MEMBERS, node_key(member->node), &deai_member_rec_table,
                        &rec);
  if (status == DEAI_OK)
    status = ctx->put(ctx, DEAI_REGISTRY_NAMES, text_key(member->name), node_key(member->node));
  if (status != DEAI_OK || member->role != DEAI_ROLE_MEMBER) return status;
  status = owner_get(ctx, member->owner, &owner);
  owner.members++;
  return status == DEAI_OK ? owner_put(ctx, member->owner, &owner) : status;
}

static int32_t is_root(deai_ledger_ctx *ctx) {
  deai_bytes root;
  int32_t status = ctx->query(ctx, deai_str_of("chain/1"), deai_str_of("chain"),
                              deai_bytes_of("root", 4), &root);
  return status == DEAI_OK && deai_bytes_eq(root, deai_bytes_of(ctx->account, DEAI_ACCT_BYTES));
}

static void tell(deai_ledger_ctx *ctx, const char *name, deai_bytes body) {
  ctx->event(ctx, deai_str_of(name), body);
}

static void tell_node(deai_ledger_ctx *ctx, const char *name, const uint8_t node[DEAI_KEY_BYTES]) {
  uint8_t room[DEAI_KEY_BYTES + 8];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  deai_cbor_put_bytes(&writer, node_key(node));
  tell(ctx, name, deai_bytes_of(room, writer.len));
}

static int32_t apply_member_add(deai_ledger_ctx *ctx, const void *body) {
  const deai_op_member_add *op = body;
  deai_owner_rec owner;
  int32_t status = owner_get(ctx, ctx->account, &owner);
  if (status != DEAI_OK) return status;
  if (owner.members == 0)
    return ctx->fail(ctx, DEAI_EDENIED, "expected the owner of a member, found another account");
  status = member_make(ctx, &op->member, ctx->account);
  if (status == DEAI_OK) tell_node(ctx, "member_add", op->member.node);
  return status;
}

static int32_t count_one(void *user, deai_bytes key, deai_bytes value) {
  deai_member_rec rec;
  (void)key;
  if (deai_decode(&deai_member_rec_table, value, &rec, NULL, NULL, 0) != DEAI_OK)
    return DEAI_EVERIFY;
  uint32_t *count = user;
  if (rec.role == DEAI_ROLE_MEMBER) (*count)++;
  return *count > 1 ? DEAI_EAGAIN : DEAI_OK; /* two are enough to know */
}

/* The network must keep a member: nobody else could ever add one. */
static int32_t last_member(deai_ledger_ctx *ctx) {
  uint32_t count = 0;
  int32_t status =
      ctx->iterate(ctx, DEAI_REGISTRY_MEMBERS, deai_bytes_of(NULL, 0), count_one, &count);
  if (status != DEAI_OK && status != DEAI_EAGAIN) return status;
  if (count > 1) return DEAI_OK;
  return ctx->fail(ctx, DEAI_EINVAL, "expected another member to stay, found none");
}

static int32_t apply_member_rm(deai_ledger_ctx *ctx, const void *body) {
  const deai_op_member_rm *op = body;
  deai_member_rec rec;
  deai_owner_rec owner;
  int32_t status = member_get(ctx, op->node, &rec);
  if (status == DEAI_ENOTFOUND)
    return ctx->fail(ctx, DEAI_ENOTFOUND, "expected a member, found no such node");
  if (status != DEAI_OK) return status;
  if (memcmp(rec.owner, ctx->account, DEAI_ACCT_BYTES) != 0 &&
      memcmp(rec.by, ctx->account, DEAI_ACCT_BYTES) != 0 && !is_root(ctx))
    return ctx->fail(ctx, DEAI_EDENIED,
                     "expected its owner, who added it, or root, found another account");
  if (rec.role == DEAI_ROLE_MEMBER) {
    status = last_member(ctx);
    if (status == DEAI_OK) status = owner_get(ctx, rec.owner, &owner);
    if (status == DEAI_OK) {
      owner.members--;
      status = owner_put(ctx, rec.owner, &owner);
    }
  }
  if (status == DEAI_OK) status = ctx->del(ctx, DEAI_REGISTRY_NAMES, text_key(rec.name));
  if (status == DEAI_OK) status = ctx->del(ctx, DEAI_REGISTRY_MEMBERS, node_key(op->node));
  if (status == DEAI_OK) tell_node(ctx, "member_rm", op->node);
  return status;
}

static deai_bytes record_key(uint8_t room[RECORD_KEY_MAX], deai_str kind, deai_str name) {
  memcpy(room, kind.ptr, (size_t)kind.len);
  room[kind.len] = 0;
  memcpy(room + kind.len + 1, name.ptr, (size_t)name.len);
  return deai_bytes_of(room, kind.len + 1 + name.len);
}

/* "member/name": the account must own that member, whose role is member. */
static int32_t prefix_check(deai_ledger_ctx *ctx, deai_str name) {
  deai_member_rec rec;
  deai_bytes node;
  const char *slash = memchr(name.ptr, '/', (size_t)name.len);
  if (slash == NULL || slash == name.ptr || slash + 1 == name.ptr + name.len)
    return ctx->fail(ctx, DEAI_EINVAL, "expected a name of the form member/name, found %.*s",
                     (int)name.len, name.ptr);
  deai_str member = {name.ptr, (uint64_t)(slash - name.ptr)};
  int32_t status = ctx->get(ctx, DEAI_REGISTRY_NAMES, text_key(member), &node);
  if (status == DEAI_OK && node.len == DEAI_KEY_BYTES) status = member_get(ctx, node.ptr, &rec);
  if (status != DEAI_OK && status != DEAI_ENOTFOUND) return status;
  if (status == DEAI_ENOTFOUND || rec.role != DEAI_ROLE_MEMBER ||
      memcmp(rec.owner, ctx->account, DEAI_ACCT_BYTES) != 0)
    return ctx->fail(ctx, DEAI_EDENIED, "expected the name of a member of this account before '/'");
  return DEAI_OK;
}

static int32_t kind_check(deai_ledger_ctx *ctx, deai_str kind) {
  for (uint64_t i = 0; i < kind.len; i++) {
    char c = kind.ptr[i];
    if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.')
      return ctx->fail(ctx, DEAI_EINVAL, "expected a kind of a-z, 0-9, '-' and '.'");
  }
  return DEAI_OK;
}

static int32_t entry_get(deai_ledger_ctx *ctx, deai_bytes key, deai_entry_rec *out) {
  return deai_rec_get(ctx, DEAI_REGISTRY_RECORDS, key, &deai_entry_rec_table, out);
}

/* Counts one record more or less for an account. */
static int32_t count_records(deai_ledger_ctx *ctx, const uint8_t account[DEAI_ACCT_BYTES],
                             int32_t more) {
  deai_owner_rec owner;
  int32_t status = owner_get(ctx, account, &owner);
  if (status != DEAI_OK) return status;
  if (more && owner.records >= DEAI_OWNER_RECORDS_MAX)
    return ctx->fail(ctx, DEAI_EFULL, "expected at most %u records of an account, found more",
                     DEAI_OWNER_RECORDS_MAX);
  owner.records = more ? owner.records + 1 : owner.records - 1;
  return owner_put(ctx, account, &owner);
}

static int32_t apply_put(deai_ledger_ctx *ctx, const void *body) {
  const deai_op_put *op = body;
  uint8_t room[RECORD_KEY_MAX];
  deai_entry_rec rec, before;
  int32_t status = kind_check(ctx, op->kind);
  if (status == DEAI_OK) status = prefix_check(ctx, op->name);
  if (status != DEAI_OK) return status;
  deai_bytes key = record_key(room, op->kind, op->name);
  status = entry_get(ctx, key, &before);
  if (status == DEAI_OK && memcmp(before.a, ctx->account, DEAI_ACCT_BYTES) != 0) {
    status = count_records(ctx, before.a, 0); /* the name of the member has a new owner */
    if (status == DEAI_OK) status = DEAI_ENOTFOUND;
  }
  if (status == DEAI_ENOTFOUND) status = count_records(ctx, ctx->account, 1);
  if (status != DEAI_OK) return status;
  memcpy(rec.a, ctx->account, sizeof rec.a);
  rec.h = ctx->height;
  rec.body = op->body;
  status = deai_rec_put(ctx, DEAI_REGISTRY_RECORDS, key, &deai_entry_rec_table, &rec);
  if (status == DEAI_OK) tell(ctx, "put", deai_bytes_of(null_item, sizeof null_item));
  return status;
}

static int32_t apply_rm(deai_ledger_ctx *ctx, const void *body) {
  const deai_op_rm *op = body;
  uint8_t room[RECORD_KEY_MAX];
  deai_entry_rec rec;
  deai_bytes key = record_key(room, op->kind, op->name);
  int32_t status = entry_get(ctx, key, &rec);
  if (status == DEAI_ENOTFOUND)
    return ctx->fail(ctx, DEAI_ENOTFOUND, "expected a record of this kind and name, found none");
  if (status != DEAI_OK) return status;
  if (memcmp(rec.a, ctx->account, DEAI_ACCT_BYTES) != 0 && !is_root(ctx))
    return ctx->fail(ctx, DEAI_EDENIED, "expected who put the record or root, found another");
  status = count_records(ctx, rec.a, 0);
  if (status == DEAI_OK) status = ctx->del(ctx, DEAI_REGISTRY_RECORDS, key);
  if (status == DEAI_OK) tell(ctx, "rm", deai_bytes_of(null_item, sizeof null_item));
  return status;
}

static const deai_op_row rows[] = {
    {"member_add", &deai_op_member_add_table, apply_member_add},
    {"member_rm", &deai_op_member_rm_table, apply_member_rm},
    {"put", &deai_op_put_table, apply_put},
    {"rm", &deai_op_rm_table, apply_rm},
    {NULL, NULL, NULL},
};

static int32_t registry_genesis(deai_ledger_ctx *ctx, const deai_genesis *genesis) {
  const deai_member *list = genesis->members.items;
  int32_t status = DEAI_OK;
  for (uint64_t i = 0; i < genesis->members.count && status == DEAI_OK; i++)
    status = member_make(ctx, &list[i], list[i].owner);
  return status;
}

static int32_t registry_check(deai_ledger_ctx *ctx, deai_str type, deai_bytes body) {
  return deai_ops_check(ctx, rows, type, body);
}

static int32_t registry_apply(deai_ledger_ctx *ctx, deai_str type, deai_bytes body) {
  return deai_ops_apply(ctx, rows, type, body);
}

static const deai_ledger_table tables[] = {
    {"members", 0, 0}, {"names", 0, 0}, {"owners", 0, 0}, {"records", 0, 0}, {NULL, 0, 0}};

const deai_ledger_module deai_module_registry = {
    .size = sizeof(deai_ledger_module),
    .rules = 1,
    .id = "registry/1",
    .tables = tables,
    .genesis = registry_genesis,
    .check = registry_check,
    .apply = registry_apply,
};
