#include "join.h"

#include "deai/contracts/net.h"
#include "deai/contracts/wire.h"
#include "host/base/hash.h"
#include "host/net/record.h"
#include "host/request.h"

#include <sodium.h>

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define ARENA_BYTES 32768u
#define OPS_BYTES   8192u
#define MINUTE_NS   UINT64_C(60000000000)

typedef struct invitation {
  bool used;
  uint8_t hash[DEAI_HASH_BYTES];
  uint64_t until_ns;
  uint32_t role;
  uint64_t grant;
} invitation;

struct deai_join {
  deai_loop *loop;
  deai_net *net;
  deai_join_ops ops;
  void *user;
  invitation list[DEAI_INVITES_MAX];
  uint64_t minute_ns;
  uint32_t wrong;
};

/* A join whose transaction is on its way. */
typedef struct joining {
  deai_join *join;
  deai_request *request;
  invitation *invite;
} joining;

typedef struct record_list {
  deai_signed items[DEAI_NET_PEERS_MAX];
  uint64_t count;
} record_list;

static void secret_hash(const uint8_t secret[DEAI_ID_BYTES], uint8_t out[DEAI_HASH_BYTES]) {
  deai_bytes parts[] = {deai_bytes_of("deai/invite/1", 14), deai_bytes_of(secret, DEAI_ID_BYTES)};
  deai_sha256_parts(parts, 2, out);
}

int32_t deai_join_invite(deai_join *join, uint64_t time_ms, uint32_t role, uint64_t grant,
                         uint8_t secret[DEAI_ID_BYTES]) {
  uint64_t now_ns = deai_loop_now_ns(join->loop);
  for (uint32_t i = 0; i < DEAI_INVITES_MAX; i++) {
    invitation *at = &join->list[i];
    if (at->used && at->until_ns > now_ns) continue;
    deai_random(deai_loop_platform(join->loop), secret, DEAI_ID_BYTES);
    *at = (invitation){
        .used = true, .until_ns = now_ns + time_ms * 1000000, .role = role, .grant = grant};
    secret_hash(secret, at->hash);
    return DEAI_OK;
  }
  return DEAI_EFULL;
}

/* invite_find compares in constant time and counts wrong codes. */
static int32_t invite_find(deai_join *join, const uint8_t code[DEAI_ID_BYTES], invitation **out) {
  uint8_t hash[DEAI_HASH_BYTES];
  uint64_t now_ns = deai_loop_now_ns(join->loop);
  if (now_ns - join->minute_ns > MINUTE_NS) {
    join->minute_ns = now_ns;
    join->wrong = 0;
  }
  if (join->wrong >= DEAI_JOIN_TRIES) return DEAI_EBUSY;
  secret_hash(code, hash);
  for (uint32_t i = 0; i < DEAI_INVITES_MAX; i++) {
    invitation *at = &join->list[i];
    bool same = sodium_memcmp(at->hash, hash, sizeof hash) == 0;
    if (same && at->used && at->until_ns > now_ns) {
      *out = at;
      return DEAI_OK;
    }
  }
  join->wrong++;
  return DEAI_EDENIED;
}

static void put_op(deai_cbor_writer *writer, const char *module, const char *type,
                   const deai_table *table, const void *body, int32_t *status) {
  char err[DEAI_ERR_CAP];
  deai_cbor_put_array(writer, 3);
  deai_cbor_put_text(writer, deai_str_of(module));
  deai_cbor_put_text(writer, deai_str_of(type));
  if (*status == DEAI_OK) *status = deai_encode(table, body, writer, err, sizeof err);
}

static int32_t make_ops(const deai_join *join, const deai_net_join *asked, const uint8_t *node,
                        const invitation *invite, deai_buf room, uint64_t *len_out) {
  int32_t status = DEAI_OK;
  const deai_account_key *keys = asked->keys.items;
  uint8_t account[DEAI_ACCT_BYTES];
  deai_cbor_writer writer = deai_cbor_writer_of(room);
  deai_op_create create = {.keys = asked->keys};
  deai_op_member_add add = {.member = {.name = asked->name, .role = invite->role}};
  deai_op_transfer grant = {.amount = invite->grant};
  join->ops.account_of(keys[0].k, account);
  memcpy(add.member.node, node, DEAI_KEY_BYTES);
  memcpy(add.member.owner, account, DEAI_ACCT_BYTES);
  memcpy(grant.to, account, DEAI_ACCT_BYTES);
  deai_cbor_put_array(&writer, invite->grant > 0 ? 3 : 2);
  put_op(&writer, "account/1", "create", &deai_op_create_table, &create, &status);
  put_op(&writer, "registry/1", "member_add", &deai_op_member_add_table, &add, &status);
  if (invite->grant > 0)
    put_op(&writer, "account/1", "transfer", &deai_op_transfer_table, &grant, &status);
  *len_out = writer.len;
  return status == DEAI_OK ? writer.status : status;
}

static void list_record(void *user, deai_bytes record) {
  record_list *list = user;
  if (list->count == DEAI_NET_PEERS_MAX) return;
  if (deai_decode(&deai_signed_table, record, &list->items[list->count], NULL, NULL, 0) == DEAI_OK)
    list->count++;
}

static void joined(void *user, int32_t status, const char *why, uint64_t height) {
  joining *job = user;
  deai_join *join = job->join;
  uint8_t hash[DEAI_HASH_BYTES];
  uint8_t *room = malloc(DEAI_HEAD_MAX);
  record_list *list = calloc(1, sizeof *list);
  if (status == DEAI_OK && (room == NULL || list == NULL)) status = DEAI_ENOMEM;
  if (status != DEAI_OK) {
    job->invite->used = true; /* it may be tried again with another name */
    deai_request_fail(job->request, status, "%s", why != NULL && why[0] != 0 ? why : "not joined");
  } else {
    list_record(list, deai_net_record(join->net));
    deai_net_records(join->net, list_record, list);
    deai_net_join_end end = {.h = height, .peers = {list->items, list->count}};
    deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, DEAI_HEAD_MAX});
    if (deai_encode(&deai_net_join_end_table, &end, &writer, NULL, 0) == DEAI_OK)
      deai_request_end(job->request, DEAI_OK, deai_bytes_of(room, writer.len),
                       join->ops.genesis(join->user, hash));
    else
      deai_request_fail(job->request, DEAI_ETOOLARGE, "too many members for one answer");
  }
  free(room);
  free(list);
  deai_request_drop(job->request);
  free(job);
}

static int32_t join_begin(deai_join *join, deai_request *request, const deai_net_join *asked,
                          invitation *invite) {
  uint8_t room[OPS_BYTES];
  uint64_t len = 0;
  const uint8_t *node = deai_request_about(request)->caller_id.ptr;
  joining *job = calloc(1, sizeof *job);
  if (job == NULL) return DEAI_ENOMEM;
  *job = (joining){.join = join, .invite = invite};
  int32_t status = make_ops(join, asked, node, invite, (deai_buf){room, sizeof room}, &len);
  if (status != DEAI_OK) {
    free(job);
    return status;
  }
  invite->used = false; /* one time only; given back when the ledger refuses */
  job->request = deai_request_keep(request);
  join->ops.propose(join->user, deai_bytes_of(room, len), job, joined);
  return DEAI_OK;
}

static void do_channel(deai_join *join, deai_request *request) {
  char err[DEAI_ERR_CAP] = "";
  uint64_t len = 0;
  const deai_call_spec *spec = deai_request_about(request);
  uint8_t *room = malloc(DEAI_HEAD_MAX);
  int32_t status = room == NULL ? DEAI_ENOMEM : DEAI_OK;
  if (status == DEAI_OK &&
      (spec->caller_kind != DEAI_CALLER_PEER || spec->caller_id.len != DEAI_KEY_BYTES))
    status =
        deai_err(err, sizeof err, DEAI_EDENIED, "expected channel over a connection of a node");
  if (status == DEAI_OK)
    status = join->ops.channel(join->user, spec->caller_id.ptr, deai_request_args(request),
                               (deai_buf){room, DEAI_HEAD_MAX}, &len, err, sizeof err);
  if (status == DEAI_OK)
    deai_request_end(request, DEAI_OK, deai_bytes_of(room, len), (deai_bytes){NULL, 0});
  else
    deai_request_fail(request, status, "%s", err[0] != 0 ? err : deai_status_text(status));
  free(room);
}

static void do_join(deai_join *join, deai_request *request) {
  char err[DEAI_ERR_CAP] = "";
  deai_net_join asked;
  deai_node_record record;
  invitation *invite = NULL;
  uint8_t hash[DEAI_HASH_BYTES];
  uint8_t *memory = aligned_alloc(16, ARENA_BYTES);
  deai_arena arena = {memory, ARENA_BYTES, 0};
  const deai_call_spec *spec = deai_request_about(request);
  int32_t status = memory == NULL ? DEAI_ENOMEM : DEAI_OK;
  if (status == DEAI_OK &&
      (spec->caller_kind != DEAI_CALLER_PEER || spec->caller_id.len != DEAI_KEY_BYTES))
    status = deai_err(err, sizeof err, DEAI_EDENIED, "expected join over a connection of a node");
  if (status == DEAI_OK)
    status = deai_decode(&deai_net_join_table, deai_request_args(request), &asked, &arena, err,
                         sizeof err);
  if (status == DEAI_OK) {
    (void)join->ops.genesis(join->user, hash);
    uint8_t bytes[DEAI_RECORD_MAX];
    deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){bytes, sizeof bytes});
    status = deai_encode(&deai_signed_table, &asked.record, &writer, NULL, 0);
    if (status == DEAI_OK)
      status = deai_record_read(deai_bytes_of(bytes, writer.len), spec->caller_id.ptr, hash,
                                &record, &arena);
    if (status != DEAI_OK)
      (void)snprintf(err, sizeof err,
                     "expected a record signed with the node's own key for this network");
  }
  if (status == DEAI_OK) {
    status = invite_find(join, asked.code, &invite);
    if (status != DEAI_OK)
      (void)snprintf(
          err, sizeof err,
          status == DEAI_EBUSY
              ? "expected at most 5 wrong codes a minute, found more; wait a minute"
              : "expected an open invitation, found none: the code is wrong, used or too "
                "old; ask for a new one");
  }
  if (status == DEAI_OK) status = join_begin(join, request, &asked, invite);
  if (status != DEAI_OK)
    deai_request_fail(request, status, "%s", err[0] != 0 ? err : deai_status_text(status));
  free(memory);
}

static void on_request(void *user, deai_request *request) {
  if (deai_str_eq(deai_request_about(request)->method, deai_str_of("channel")))
    do_channel(user, request);
  else
    do_join(user, request);
}

static int32_t serve(void *user, deai_call *call, char *err) {
  (void)err;
  return deai_request_serve(call, 4096, on_request, user);
}

static int32_t class_of(const void *user, deai_str service, deai_str method) {
  (void)user, (void)service;
  if (deai_str_eq(method, deai_str_of("channel"))) return DEAI_CLASS_GUEST;
  return deai_str_eq(method, deai_str_of("join")) ? DEAI_CLASS_PUBLIC : -1;
}

deai_offering deai_join_offering(deai_join *join) {
  return (deai_offering){.plugin = "net",
                         .service = DEAI_NET_SERVICE,
                         .class_of = class_of,
                         .provider = {join, serve}};
}

deai_join *deai_join_new(deai_loop *loop, deai_net *net, const deai_join_ops *ops, void *user) {
  deai_join *join = calloc(1, sizeof *join);
  if (join == NULL) return NULL;
  join->loop = loop;
  join->net = net;
  join->ops = *ops;
  join->user = user;
  return join;
}

void deai_join_free(deai_join *join) {
  free(join);
}
