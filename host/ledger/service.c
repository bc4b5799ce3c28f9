#include "service.h"

#include "deai/contracts/wire.h"
#include "host/base/log.h"
#include "host/ledger/tx.h"
#include "host/request.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define HOST_SERVICE      "deai.host/1-draft"
#define SLICE_BYTES       65536u
#define BLOCKS_AHEAD_TURN 16u

/* Operations that wait to be signed and submitted, one transaction after the other. */
typedef struct proposal {
  struct proposal *next;
  void *user;
  deai_ledger_done *done;
  uint64_t len;
  uint8_t ops[];
} proposal;

struct deai_ledger_service {
  deai_ledger_service_options options;
  uint8_t genesis[DEAI_HASH_BYTES];
  proposal *proposals; /* the first one is on its way when proposing */
  bool proposing;
  uint64_t nonce; /* of the one on its way, or the least for the next one */
  struct follower *followers;
  uint64_t height;
};

/* Somebody who follows the chain: what is sent next. */
typedef struct follower {
  struct follower *next;
  deai_ledger_service *service;
  deai_request *request;
  uint64_t height; /* of the entry below, or the next one to read */
  uint8_t *entry;
  uint64_t entry_len;
  uint64_t entry_at;
} follower;

/* A submit on its way from the ledger thread back to the loop. */
typedef struct submitted {
  deai_ledger_service *service;
  void *user;
  deai_ledger_done *done;
  int32_t status;
  char why[DEAI_ERR_CAP];
  uint8_t id[DEAI_HASH_BYTES];
  uint64_t height;
} submitted;

/* ---- head and query ---- */

static void end_with(deai_request *request, const deai_table *table, const void *value) {
  char err[DEAI_ERR_CAP] = "";
  uint8_t *room = malloc(DEAI_HEAD_MAX);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, room != NULL ? DEAI_HEAD_MAX : 0});
  int32_t status = deai_encode(table, value, &writer, err, sizeof err);
  if (status == DEAI_OK)
    deai_request_end(request, DEAI_OK, deai_bytes_of(room, writer.len), (deai_bytes){NULL, 0});
  else
    deai_request_fail(request, status, "%s", err);
  free(room);
}

/* block_signed reads the signed block of the head; at height 0 there is none: an empty map, which
   nobody signed, stands for it. */
static int32_t block_signed(deai_bytes bytes, deai_signed *out) {
  static const uint8_t no_block[1] = {0xa0};
  memset(out, 0, sizeof *out);
  out->body = deai_bytes_of(no_block, sizeof no_block);
  if (bytes.len == 0) return DEAI_OK;
  return deai_decode(&deai_signed_table, bytes, out, NULL, NULL, 0);
}

static void do_head(deai_ledger_service *service, deai_request *request) {
  deai_ledger_head head;
  uint8_t *block = NULL;
  uint64_t len = 0;
  deai_ledger_head_end end = {0};
  deai_ledger_head_get(service->options.ledger, &head);
  int32_t status = deai_ledger_block(service->options.ledger, &block, &len);
  if (status == DEAI_OK) status = block_signed(deai_bytes_of(block, len), &end.block);
  end.h = head.height;
  end.now = head.now_ms;
  if (status == DEAI_OK)
    end_with(request, &deai_ledger_head_end_table, &end);
  else
    deai_request_fail(request, status, "the head of the ledger cannot be read");
  free(block);
}

static void do_query(deai_ledger_service *service, deai_request *request) {
  char err[DEAI_ERR_CAP] = "";
  deai_ledger_query query;
  deai_ledger_answer answer;
  int32_t status = deai_decode(&deai_ledger_query_table, deai_request_args(request), &query, NULL,
                               err, sizeof err);
  if (status != DEAI_OK) {
    deai_request_fail(request, status, "%s", err);
    return;
  }
  bool prove = (query.has & DEAI_LEDGER_QUERY_HAS_PROVE) != 0 && query.prove;
  status = deai_ledger_lookup(service->options.ledger, query.m, query.n, query.k, prove, &answer);
  if (status != DEAI_OK) {
    deai_request_fail(request, status, "expected a table of the ledger, found %.*s %.*s",
                      (int)query.m.len, query.m.ptr, (int)query.n.len, query.n.ptr);
    return;
  }
  deai_ledger_query_end end = {.value = answer.value, .proof = answer.proof};
  if (answer.found) end.has |= DEAI_LEDGER_QUERY_END_HAS_VALUE;
  if (answer.proof.len > 0) end.has |= DEAI_LEDGER_QUERY_END_HAS_PROOF;
  if (block_signed(answer.block, &end.block) == DEAI_OK)
    end_with(request, &deai_ledger_query_end_table, &end);
  else
    deai_request_fail(request, DEAI_EINTERNAL, "the head of the ledger cannot be read");
  deai_ledger_answer_free(&answer);
}

/* ---- submit ---- */

static void submitted_task(void *user) {
  submitted *item = user;
  item->done(item->user, item->status, item->why, item->id, item->height);
  free(item);
}

/* on_submitted runs on the ledger thread. */
static void on_submitted(void *user, int32_t status, const char *why,
                         const uint8_t id[DEAI_HASH_BYTES], uint64_t height) {
  submitted *item = user;
  item->status = status;
  (void)snprintf(item->why, sizeof item->why, "%s", why != NULL ? why : "");
  if (id != NULL) memcpy(item->id, id, DEAI_HASH_BYTES);
  item->height = height;
  deai_loop_task(item->service->options.loop, submitted_task, item);
}

void deai_ledger_service_submit(deai_ledger_service *service, deai_bytes signed_tx, void *user,
                                deai_ledger_done *done) {
  uint8_t id[DEAI_HASH_BYTES] = {0};
  if (!service->options.orders) {
    service->options.forward(service->options.forward_user, signed_tx, user, done);
    return;
  }
  submitted *item = calloc(1, sizeof *item);
  if (item == NULL) {
    done(user, DEAI_ENOMEM, "not enough memory", id, 0);
    return;
  }
  *item = (submitted){.service = service, .user = user, .done = done};
  int32_t status = deai_ledger_submit(service->options.ledger, signed_tx, item, on_submitted);
  if (status == DEAI_OK) return;
  free(item);
  done(user, status, deai_status_text(status), id, 0);
}

static void request_submitted(void *user, int32_t status, const char *why,
                              const uint8_t id[DEAI_HASH_BYTES], uint64_t height) {
  deai_request *request = user;
  if (status == DEAI_OK) {
    deai_ledger_submit_end end = {.h = height};
    memcpy(end.id, id, DEAI_HASH_BYTES);
    end_with(request, &deai_ledger_submit_end_table, &end);
  } else {
    deai_request_fail(request, status, "%s", why);
  }
  deai_request_drop(request);
}

static void do_submit(deai_ledger_service *service, deai_request *request) {
  deai_bytes body = deai_request_body(request);
  if (!service->options.orders && deai_request_about(request)->caller_kind == DEAI_CALLER_PEER) {
    deai_request_fail(request, DEAI_ENOPROVIDER,
                      "expected the node that orders blocks, found one that follows");
    return;
  }
  deai_ledger_service_submit(service, body, deai_request_keep(request), request_submitted);
}

/* Room to build one transaction in. */
typedef struct drafting {
  deai_tx_builder builder;
  char names[DEAI_TX_OPS_MAX][2][DEAI_NAME_MAX + 1];
  uint8_t bytes[DEAI_TX_MAX];
} drafting;

/* draft_ops takes the operations of a CBOR list. */
static int32_t draft_ops(drafting *draft, deai_bytes ops, char *err, uint32_t err_cap) {
  deai_cbor_reader reader = deai_cbor_reader_of(ops);
  deai_cbor_item head;
  int32_t status = deai_cbor_next(&reader, &head);
  if (status == DEAI_OK && (head.kind != DEAI_CBOR_ARRAY || head.number > DEAI_TX_OPS_MAX))
    status = DEAI_EINVAL;
  for (uint64_t i = 0; status == DEAI_OK && i < head.number; i++) {
    char(*names)[DEAI_NAME_MAX + 1] = draft->names[i];
    deai_bytes item;
    deai_op op;
    status = deai_cbor_skip(&reader, &item);
    if (status == DEAI_OK) status = deai_decode(&deai_op_table, item, &op, NULL, err, err_cap);
    if (status != DEAI_OK) break;
    (void)snprintf(names[0], sizeof names[0], "%.*s", (int)op.module.len, op.module.ptr);
    (void)snprintf(names[1], sizeof names[1], "%.*s", (int)op.type.len, op.type.ptr);
    deai_tx_op_raw(&draft->builder, names[0], names[1], op.body);
  }
  return status;
}

/* draft_sign makes the signed transaction of a proposal. The nonce is the ledger's next one, or
   the one behind the last that was acknowledged: a follower's own ledger may lag behind it. */
static int32_t draft_sign(deai_ledger_service *service, drafting *draft, deai_bytes ops,
                          uint64_t *len_out, char *err, uint32_t err_cap) {
  uint8_t account[DEAI_ACCT_BYTES];
  uint64_t nonce = 0;
  int32_t status = deai_ledger_nonce(service->options.ledger,
                                     deai_key_public(service->options.node), &nonce, account);
  if (status != DEAI_OK)
    return deai_err(err, err_cap, status,
                    "expected an account of this node's key on the ledger, found none");
  service->nonce = nonce > service->nonce ? nonce : service->nonce;
  deai_tx_start(&draft->builder, account, service->nonce, 0, 0);
  status = draft_ops(draft, ops, err, err_cap);
  if (status != DEAI_OK) return status;
  return deai_tx_sign(&draft->builder, service->genesis, service->options.node,
                      (deai_buf){draft->bytes, DEAI_TX_MAX}, len_out, err, err_cap);
}

static void propose_next(deai_ledger_service *service);

static void propose_over(deai_ledger_service *service, int32_t status, const char *why,
                         const uint8_t id[DEAI_HASH_BYTES], uint64_t height) {
  proposal *gone = service->proposals;
  service->proposals = gone->next;
  service->proposing = false;
  gone->done(gone->user, status, why, id, height);
  free(gone);
}

static void on_proposed(void *user, int32_t status, const char *why,
                        const uint8_t id[DEAI_HASH_BYTES], uint64_t height) {
  deai_ledger_service *service = user;
  service->nonce = status == DEAI_OK ? service->nonce + 1 : 0;
  propose_over(service, status, why, id, height);
  propose_next(service);
}

/* propose_next sends the first proposal; the next one waits for its answer, so that each has the
   nonce behind the last. */
static void propose_next(deai_ledger_service *service) {
  while (service->proposals != NULL && !service->proposing) {
    char err[DEAI_ERR_CAP] = "";
    uint8_t id[DEAI_HASH_BYTES] = {0};
    uint64_t len = 0;
    const proposal *first = service->proposals;
    drafting *draft = malloc(sizeof *draft);
    int32_t status = DEAI_ENOMEM;
    service->proposing = true;
    if (draft != NULL)
      status =
          draft_sign(service, draft, deai_bytes_of(first->ops, first->len), &len, err, sizeof err);
    if (status == DEAI_OK)
      deai_ledger_service_submit(service, deai_bytes_of(draft->bytes, len), service, on_proposed);
    else
      propose_over(service, status, err[0] != 0 ? err : deai_status_text(status), id, 0);
    free(draft);
  }
}

void deai_ledger_service_propose(deai_ledger_service *service, deai_bytes ops, void *user,
                                 deai_ledger_done *done) {
  uint8_t id[DEAI_HASH_BYTES] = {0};
  proposal *made = malloc(sizeof *made + (size_t)ops.len);
  if (made == NULL) {
    done(user, DEAI_ENOMEM, "not enough memory", id, 0);
    return;
  }
  *made = (proposal){.user = user, .done = done, .len = ops.len};
  if (ops.len > 0) memcpy(made->ops, ops.ptr, (size_t)ops.len);
  proposal **last = &service->proposals;
  while (*last != NULL)
    last = &(*last)->next;
  *last = made;
  propose_next(service);
}

/* object_op writes the list of one operation: channel/1 object on the channel of the receipts. */
static int32_t object_op(deai_bytes args, deai_buf out, uint64_t *len_out, char *err,
                         uint32_t err_cap) {
  _Alignas(16) uint8_t room[4 * sizeof(deai_signed)];
  deai_arena arena = {room, sizeof room, 0};
  deai_ledger_object asked;
  deai_receipt work;
  int32_t status = deai_decode(&deai_ledger_object_table, args, &asked, &arena, err, err_cap);
  if (status != DEAI_OK) return status;
  const deai_signed *packs = asked.receipts.items;
  status = deai_decode(&deai_receipt_table, packs[0].body, &work, NULL, err, err_cap);
  if (status != DEAI_OK) return status;
  if ((work.has & DEAI_RECEIPT_HAS_CH) == 0)
    return deai_err(
        err, err_cap, DEAI_ENOTFOUND,
        "expected the receipt of a paid job, found a free one: nothing is to be frozen");
  deai_op_object object = {.receipts = asked.receipts};
  memcpy(object.ch, work.ch, DEAI_ID_BYTES);
  deai_cbor_writer writer = deai_cbor_writer_of(out);
  deai_cbor_put_array(&writer, 1);
  deai_cbor_put_array(&writer, 3);
  deai_cbor_put_text(&writer, deai_str_of("channel/1"));
  deai_cbor_put_text(&writer, deai_str_of("object"));
  status = deai_encode(&deai_op_object_table, &object, &writer, err, err_cap);
  *len_out = writer.len;
  return status;
}

static void do_object(deai_ledger_service *service, deai_request *request) {
  char err[DEAI_ERR_CAP] = "";
  uint64_t len = 0;
  uint8_t *room = malloc(DEAI_TX_MAX);
  int32_t status = room == NULL ? DEAI_ENOMEM : DEAI_OK;
  if (status == DEAI_OK)
    status =
        object_op(deai_request_args(request), (deai_buf){room, DEAI_TX_MAX}, &len, err, sizeof err);
  if (status == DEAI_OK)
    deai_ledger_service_propose(service, deai_bytes_of(room, len), deai_request_keep(request),
                                request_submitted);
  else
    deai_request_fail(request, status, "%s", err[0] != 0 ? err : deai_status_text(status));
  free(room);
}

static void on_host_request(void *user, deai_request *request) {
  deai_ledger_service_propose(user, deai_request_body(request), deai_request_keep(request),
                              request_submitted);
}

/* ---- follow ---- */

static void follower_free(follower *gone) {
  follower **at = &gone->service->followers;
  while (*at != gone)
    at = &(*at)->next;
  *at = gone->next;
  deai_request_on_drain(gone->request, NULL, NULL);
  deai_request_drop(gone->request);
  free(gone->entry);
  free(gone);
}

/* follower_slice sends one slice of the entry at hand. */
static int32_t follower_slice(follower *who) {
  uint8_t room[64];
  uint64_t left = who->entry_len - who->entry_at;
  uint64_t size = left < SLICE_BYTES ? left : SLICE_BYTES;
  deai_ledger_slice slice = {.h = who->height, .more = size < left};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  int32_t status = deai_encode(&deai_ledger_slice_table, &slice, &writer, NULL, 0);
  if (status == DEAI_OK)
    status = deai_request_part(who->request, deai_bytes_of(room, writer.len),
                               deai_bytes_of(who->entry + who->entry_at, size));
  if (status != DEAI_OK) return status;
  who->entry_at += size;
  if (who->entry_at < who->entry_len) return DEAI_OK;
  free(who->entry);
  who->entry = NULL;
  who->height++;
  return DEAI_OK;
}

static void follower_go(follower *who) {
  deai_ledger_service *service = who->service;
  int32_t status = DEAI_OK;
  while (status == DEAI_OK && deai_request_open(who->request)) {
    if (who->entry == NULL) {
      status = deai_ledger_read(service->options.ledger, who->height, &who->entry, &who->entry_len);
      who->entry_at = 0;
    }
    if (status == DEAI_OK) status = follower_slice(who);
  }
  if (status == DEAI_OK || status == DEAI_EAGAIN || status == DEAI_ENOTFOUND) return;
  deai_request_fail(who->request, status, "block %llu cannot be read",
                    (unsigned long long)who->height);
}

static void on_follower(void *user, deai_request *request) {
  follower *who = user;
  if (deai_request_open(request))
    follower_go(who);
  else
    follower_free(who);
}

static void do_follow(deai_ledger_service *service, deai_request *request) {
  char err[DEAI_ERR_CAP] = "";
  deai_ledger_follow ask;
  int32_t status = deai_decode(&deai_ledger_follow_table, deai_request_args(request), &ask, NULL,
                               err, sizeof err);
  follower *who = status == DEAI_OK ? calloc(1, sizeof *who) : NULL;
  if (who == NULL) {
    deai_request_fail(request, status == DEAI_OK ? DEAI_ENOMEM : status, "%s", err);
    return;
  }
  who->service = service;
  who->request = deai_request_keep(request);
  who->height = ask.from == 0 ? 1 : ask.from;
  who->next = service->followers;
  service->followers = who;
  deai_request_on_drain(request, on_follower, who);
  follower_go(who);
}

void deai_ledger_service_block(deai_ledger_service *service, uint64_t height) {
  service->height = height;
  follower *at = service->followers;
  while (at != NULL) {
    follower *next = at->next;
    follower_go(at);
    at = next;
  }
}

/* ---- offerings ---- */

static void on_request(void *user, deai_request *request) {
  deai_ledger_service *service = user;
  const deai_call_spec *spec = deai_request_about(request);
  if (deai_str_eq(spec->method, deai_str_of("head")))
    do_head(service, request);
  else if (deai_str_eq(spec->method, deai_str_of("query")))
    do_query(service, request);
  else if (deai_str_eq(spec->method, deai_str_of("submit")))
    do_submit(service, request);
  else if (deai_str_eq(spec->method, deai_str_of("object")))
    do_object(service, request);
  else
    do_follow(service, request);
}

static int32_t serve_ledger(void *user, deai_call *call, char *err) {
  (void)err;
  return deai_request_serve(call, DEAI_TX_MAX, on_request, user);
}

static int32_t serve_host(void *user, deai_call *call, char *err) {
  (void)err;
  return deai_request_serve(call, DEAI_TX_MAX, on_host_request, user);
}

static int32_t ledger_class(const void *user, deai_str service, deai_str method) {
  (void)user, (void)service;
  static const char *const methods[] = {"head", "query", "submit", "follow"};
  for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
    if (deai_str_eq(method, deai_str_of(methods[i]))) return DEAI_CLASS_GUEST;
  }
  return deai_str_eq(method, deai_str_of("object")) ? DEAI_CLASS_LOCAL : -1;
}

static int32_t host_class(const void *user, deai_str service, deai_str method) {
  (void)user, (void)service;
  return deai_str_eq(method, deai_str_of("submit")) ? DEAI_CLASS_LOCAL : -1;
}

void deai_ledger_service_offerings(deai_ledger_service *service, deai_offering out[2]) {
  out[0] = (deai_offering){.plugin = "ledger",
                           .service = DEAI_LEDGER_SERVICE,
                           .class_of = ledger_class,
                           .remote = true,
                           .provider = {service, serve_ledger}};
  out[1] = (deai_offering){.plugin = "ledger",
                           .service = HOST_SERVICE,
                           .class_of = host_class,
                           .provider = {service, serve_host}};
}

/* ---- life ---- */

deai_ledger_service *deai_ledger_service_new(const deai_ledger_service_options *options) {
  deai_ledger_service *service = calloc(1, sizeof *service);
  if (service == NULL) return NULL;
  service->options = *options;
  (void)deai_ledger_genesis(options->ledger, service->genesis);
  return service;
}

void deai_ledger_service_free(deai_ledger_service *service) {
  if (service == NULL) return;
  while (service->followers != NULL) {
    deai_request_fail(service->followers->request, DEAI_ECANCELLED, "the node stops");
    follower_free(service->followers);
  }
  uint8_t id[DEAI_HASH_BYTES] = {0};
  while (service->proposals != NULL)
    propose_over(service, DEAI_ECANCELLED, "the node stops", id, 0);
  free(service);
}
