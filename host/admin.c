#include "node.h"

#include "deai/contracts/net.h"
#include "host/money.h"
#include "host/base/base32.h"
#include "host/ledger/records.h"
#include "host/net/invite.h"
#include "host/request.h"

#include <jansson.h>

#include <stdlib.h>
#include <unistd.h>

#include "host/base/banned.h"

typedef void admin_fn(deai_node *node, deai_request *request, const json_t *asked);

typedef struct admin_method {
  const char *name;
  admin_fn *run;
} admin_method;

/* A transaction on its way whose answer is {height}. */
typedef struct pending_tx {
  deai_request *request;
} pending_tx;

static void end_json(deai_request *request, json_t *value) {
  char *text = value != NULL ? json_dumps(value, JSON_COMPACT) : NULL;
  if (text != NULL)
    deai_request_end(request, DEAI_OK, (deai_bytes){NULL, 0}, deai_bytes_of(text, strlen(text)));
  else
    deai_request_fail(request, DEAI_ENOMEM, "not enough memory");
  free(text);
  json_decref(value);
}

static json_t *plugin_json(const deai_plugin_row *row) {
  json_t *services = json_array();
  for (uint32_t i = 0; i < row->manifest->offer_count; i++)
    (void)json_array_append_new(services, json_string(row->manifest->offers[i].id));
  return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:I, s:o}", "id", row->manifest->id,
                   "version", row->manifest->version, "state", row->state, "reason", row->reason,
                   "isolation", row->in_child ? "process" : "inproc", "contained",
                   row->in_child ? "crash" : "no", "pid", (int)row->pid, "restarts",
                   (int)row->restarts, "faults", (json_int_t)row->faults, "services", services);
}

static json_t *plugins_json(const deai_node *node) {
  json_t *list = json_array();
  for (uint32_t i = 0; i < deai_plugins_count(node->plugins); i++) {
    deai_plugin_row row = deai_plugins_row(node->plugins, i);
    (void)json_array_append_new(list, plugin_json(&row));
  }
  return list;
}

static json_t *status_json(const deai_node *node) {
  char key[DEAI_KEY_BYTES * 2] = "";
  deai_ledger_head head;
  deai_ledger_head_get(node->ledger, &head);
  uint64_t up_ns = deai_loop_now_ns(node->loop) - node->started_ns;
  if (deai_base32_put(deai_bytes_of(deai_key_public(node->key), DEAI_KEY_BYTES), key, sizeof key) !=
      DEAI_OK)
    return NULL;
  char hex[2 * DEAI_KEY_BYTES + 1];
  for (int i = 0; i < DEAI_KEY_BYTES; i++)
    (void)snprintf(hex + 2 * i, 3, "%02x", deai_key_public(node->key)[i]);
  return json_pack("{s:s%, s:s, s:i, s:s, s:s, s:I, s:i, s:{s:s, s:I, s:I, s:b}, s:o}", "name",
                   node->config->node.name.ptr, (int)node->config->node.name.len, "hex", hex, "pid",
                   (int)getpid(), "key", key, "version", DEAI_VERSION, "up_ms",
                   (json_int_t)(up_ns / UINT64_C(1000000)), "http_port",
                   node->http != NULL ? (int)deai_http_port(node->http) : 0, "ledger", "engine",
                   node->order != NULL ? "local" : "follow", "height", (json_int_t)head.height,
                   "time", (json_int_t)head.time_ms, "stopped", (int)head.stopped, "plugins",
                   plugins_json(node));
}

static void count_row(void *user, const char *plugin, const char *name, uint64_t value) {
  json_t *counts = user;
  json_t *own = json_object_get(counts, plugin);
  if (own == NULL) {
    own = json_object();
    (void)json_object_set_new(counts, plugin, own);
  }
  (void)json_object_set_new(own, name, json_integer((json_int_t)value));
}

/* counts_json is what /metrics shows: {plug-in: {name: value}}. */
static json_t *counts_json(const deai_node *node) {
  json_t *counts = json_object();
  deai_metrics_each(node->metrics, count_row, counts);
  return counts;
}

static void do_status(deai_node *node, deai_request *request, const json_t *asked) {
  (void)asked;
  json_t *status = status_json(node);
  if (status != NULL) (void)json_object_set_new(status, "counts", counts_json(node));
  end_json(request, status);
}

static void do_plugins(deai_node *node, deai_request *request, const json_t *asked) {
  (void)asked;
  end_json(request, plugins_json(node));
}

static void do_stop(deai_node *node, deai_request *request, const json_t *asked) {
  (void)asked;
  end_json(request, json_object());
  deai_node_stop(node);
}

/* ---- members ---- */

static json_t *invite_json(deai_node *node, const uint8_t secret[DEAI_ID_BYTES]) {
  char address[DEAI_NET_ADDR_MAX + 1];
  char text[DEAI_INVITE_CODE_MAX + 1];
  const deai_config_peers *peers = &node->config->node.peers;
  deai_str own[1] = {{address, 0}};
  int host_len = (int)peers->listen.len;
  while (host_len > 0 && peers->listen.ptr[host_len - 1] != ':')
    host_len--;
  int len = snprintf(address, sizeof address, "%.*s%u", host_len, peers->listen.ptr,
                     (unsigned)deai_net_port(node->net));
  own[0].len = len > 0 ? (uint64_t)len : 0;
  deai_invite invite = {.a = peers->announce.count > 0 ? peers->announce : (deai_list){own, 1}};
  memcpy(invite.g, node->genesis, DEAI_HASH_BYTES);
  memcpy(invite.k, deai_key_public(node->key), DEAI_KEY_BYTES);
  memcpy(invite.s, secret, DEAI_ID_BYTES);
  if (deai_invite_put(&invite, text, sizeof text) != DEAI_OK) return NULL;
  return json_pack("{s:s}", "code", text);
}

static void do_invite(deai_node *node, deai_request *request, const json_t *asked) {
  uint8_t secret[DEAI_ID_BYTES];
  json_int_t for_ms = 600000;
  json_int_t grant = 0;
  const char *role = "member";
  if (json_unpack((json_t *)(uintptr_t)asked, "{s?I, s?s, s?I}", "for_ms", &for_ms, "role", &role,
                  "grant", &grant) != 0 ||
      for_ms < 1000 || for_ms > 86400000 || grant < 0 ||
      (strcmp(role, "member") != 0 && strcmp(role, "guest") != 0)) {
    deai_request_fail(request, DEAI_EINVAL,
                      "expected a time of 1 s to 24 h, the role member or guest, and a grant");
    return;
  }
  uint32_t number = strcmp(role, "guest") == 0 ? DEAI_ROLE_GUEST : DEAI_ROLE_MEMBER;
  int32_t status = deai_join_invite(node->join, (uint64_t)for_ms, number, (uint64_t)grant, secret);
  if (status != DEAI_OK)
    deai_request_fail(request, status, "expected at most %u open invitations", DEAI_INVITES_MAX);
  else
    end_json(request, invite_json(node, secret));
}

static json_t *key_json(const uint8_t *key, uint64_t len) {
  char text[128] = "";
  return deai_base32_put(deai_bytes_of(key, len), text, sizeof text) == DEAI_OK ? json_string(text)
                                                                                : NULL;
}

static int32_t member_row(void *user, deai_bytes key, deai_bytes value) {
  json_t *list = user;
  deai_member_rec member;
  if (deai_decode(&deai_member_rec_table, value, &member, NULL, NULL, 0) != DEAI_OK) return DEAI_OK;
  (void)json_array_append_new(list, json_pack("{s:s%, s:s, s:o, s:o}", "name", member.name.ptr,
                                              (int)member.name.len, "role",
                                              member.role == DEAI_ROLE_MEMBER ? "member" : "guest",
                                              "key", key_json(key.ptr, key.len), "owner",
                                              key_json(member.owner, DEAI_ACCT_BYTES)));
  return DEAI_OK;
}

static void do_members(deai_node *node, deai_request *request, const json_t *asked) {
  (void)asked;
  json_t *list = json_array();
  int32_t status =
      deai_ledger_each_record(node->ledger, deai_str_of("registry/1"), deai_str_of("members"),
                              (deai_bytes){NULL, 0}, list, member_row);
  if (status == DEAI_OK) {
    end_json(request, list);
    return;
  }
  json_decref(list);
  deai_request_fail(request, status, "the members cannot be read");
}

static void do_peers(deai_node *node, deai_request *request, const json_t *asked) {
  (void)asked;
  deai_net_row rows[DEAI_PEERS_MAX];
  uint32_t count = deai_net_rows(node->net, rows, DEAI_PEERS_MAX);
  json_t *list = json_array();
  for (uint32_t i = 0; i < count; i++)
    (void)json_array_append_new(
        list, json_pack("{s:o, s:I, s:I, s:i}", "key", key_json(rows[i].key, DEAI_KEY_BYTES),
                        "height", (json_int_t)rows[i].height, "latency_us",
                        (json_int_t)rows[i].latency_us, "calls", (int)rows[i].tickets));
  end_json(request, list);
}

static void on_tx(void *user, int32_t status, const char *why, const uint8_t id[DEAI_HASH_BYTES],
                  uint64_t height) {
  pending_tx *job = user;
  (void)id;
  if (status == DEAI_OK)
    end_json(job->request, json_pack("{s:I}", "height", (json_int_t)height));
  else
    deai_request_fail(job->request, status, "%s", why);
  deai_request_drop(job->request);
  free(job);
}

/* do_submit passes signed<tx> on, base32 in {tx}: the command line signs with the wallet key. */
static void do_submit(deai_node *node, deai_request *request, const json_t *asked) {
  uint64_t len = 0;
  const char *text = json_string_value(json_object_get(asked, "tx"));
  uint8_t *bytes = malloc(DEAI_TX_MAX);
  pending_tx *job = malloc(sizeof *job);
  if (bytes == NULL || job == NULL || text == NULL ||
      deai_base32_get(deai_str_of(text), (deai_buf){bytes, DEAI_TX_MAX}, &len) != DEAI_OK) {
    deai_request_fail(request, DEAI_EINVAL, "expected a signed transaction in base32");
    free(job);
  } else {
    job->request = deai_request_keep(request);
    deai_ledger_service_submit(node->ledger_service, deai_bytes_of(bytes, len), job, on_tx);
  }
  free(bytes);
}

/* do_account answers what signing needs: account, next nonce, balance, genesis hash of {key}. */
static void do_account(deai_node *node, deai_request *request, const json_t *asked) {
  uint8_t key[DEAI_KEY_BYTES];
  uint8_t account[DEAI_ACCT_BYTES];
  uint64_t len = 0;
  uint64_t nonce = 0;
  deai_ledger_answer answer;
  deai_account_rec record = {0};
  const char *text = json_string_value(json_object_get(asked, "key"));
  if (text == NULL ||
      deai_base32_get(deai_str_of(text), (deai_buf){key, sizeof key}, &len) != DEAI_OK ||
      len != DEAI_KEY_BYTES) {
    deai_request_fail(request, DEAI_EINVAL, "expected a key in base32");
    return;
  }
  int32_t status = deai_ledger_nonce(node->ledger, key, &nonce, account);
  if (status == DEAI_OK)
    status = deai_ledger_lookup(node->ledger, deai_str_of("account/1"), deai_str_of("accounts"),
                                deai_bytes_of(account, DEAI_ACCT_BYTES), 0, &answer);
  if (status != DEAI_OK) {
    deai_request_fail(request, status, "expected a key of an account, found none on the ledger");
    return;
  }
  if (answer.found &&
      deai_decode(&deai_account_rec_table, answer.value, &record, NULL, NULL, 0) != DEAI_OK)
    deai_request_fail(request, DEAI_EINTERNAL, "the account cannot be read");
  deai_ledger_answer_free(&answer);
  end_json(request, json_pack("{s:o, s:I, s:I, s:o}", "account", key_json(account, sizeof account),
                              "nonce", (json_int_t)nonce, "balance", (json_int_t)record.b,
                              "genesis", key_json(node->genesis, DEAI_HASH_BYTES)));
}

/* ---- money ---- */

static void do_wallet(deai_node *node, deai_request *request, const json_t *asked) {
  (void)asked;
  json_t *answer = deai_money_wallet(node);
  if (answer != NULL)
    end_json(request, answer);
  else
    deai_request_fail(request, DEAI_ENOTFOUND,
                      "expected an account of this node on the ledger, found none");
}

static void do_history(deai_node *node, deai_request *request, const json_t *asked) {
  json_int_t from = json_integer_value(json_object_get(asked, "from"));
  json_t *answer = deai_money_history(node, from > 0 ? (uint64_t)from : 1);
  if (answer != NULL)
    end_json(request, answer);
  else
    deai_request_fail(request, DEAI_EIO, "the blocks cannot be read; run deai ledger verify");
}

static void on_claimed(void *user, const deai_pay_claimed *result) {
  deai_request *request = user;
  if (result->status == DEAI_OK || result->count > 0)
    end_json(request, json_pack("{s:i, s:I}", "claims", (int)result->count, "amount",
                                (json_int_t)result->amount));
  else
    deai_request_fail(request, result->status, "%s", result->why);
  deai_request_drop(request);
}

static void do_claim(deai_node *node, deai_request *request, const json_t *asked) {
  (void)asked;
  deai_pay_claim(node->pay, deai_request_keep(request), on_claimed);
}

static void do_close(deai_node *node, deai_request *request, const json_t *asked) {
  (void)asked;
  pending_tx *job = malloc(sizeof *job);
  if (job == NULL) {
    deai_request_fail(request, DEAI_ENOMEM, "not enough memory");
    return;
  }
  job->request = deai_request_keep(request);
  if (deai_money_close(node, job, on_tx) > 0) return;
  deai_request_fail(request, DEAI_ENOTFOUND,
                    "expected a channel that no job uses and that is not closing, found none");
  deai_request_drop(request);
  free(job);
}

static const admin_method methods[] = {
    {"status", do_status},   {"plugins", do_plugins}, {"stop", do_stop},
    {"invite", do_invite},   {"members", do_members}, {"peers", do_peers},
    {"submit", do_submit},   {"account", do_account}, {"wallet", do_wallet},
    {"history", do_history}, {"claim", do_claim},     {"close", do_close}};

static const admin_method *method_of(deai_str name) {
  for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
    if (deai_str_eq(name, deai_str_of(methods[i].name))) return &methods[i];
  }
  return NULL;
}

static void on_request(void *user, deai_request *request) {
  deai_bytes body = deai_request_body(request);
  const admin_method *method = method_of(deai_request_about(request)->method);
  json_t *asked =
      body.len > 0 ? json_loadb((const char *)body.ptr, (size_t)body.len, 0, NULL) : json_object();
  if (method == NULL || !json_is_object(asked))
    deai_request_fail(request, DEAI_EINVAL, "expected a JSON object");
  else
    method->run(user, request, asked);
  json_decref(asked);
}

static int32_t serve(void *user, deai_call *call, char *err) {
  (void)err;
  return deai_request_serve(call, 65536, on_request, user);
}

static int32_t class_of(const void *user, deai_str service, deai_str method) {
  (void)user, (void)service;
  return method_of(method) != NULL ? DEAI_CLASS_LOCAL : -1;
}

deai_offering deai_admin_offering(deai_node *node) {
  return (deai_offering){.plugin = "node",
                         .service = DEAI_NODE_SERVICE,
                         .class_of = class_of,
                         .provider = {node, serve}};
}
