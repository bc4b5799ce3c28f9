#include "node.h"

#include "host/base/file.h"
#include "host/base/log.h"
#include "host/base/sign.h"
#include "host/money.h"
#include "host/ledger/genesis.h"
#include "host/ledger/records.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "host/base/banned.h"

/* ---- plug-ins meet the router ---- */

static deai_call *plugin_open(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                              void *end_user) {
  deai_node *node = user;
  return deai_router_open(node->router, spec, ops, end_user);
}

static void plugin_describe(void *user, const char *plugin, deai_str service, deai_bytes offer) {
  deai_node *node = user;
  deai_router_describe(node->router, plugin, service, offer);
}

static void plugin_count(void *user, const char *plugin, const char *name, uint64_t value) {
  deai_node *node = user;
  deai_metrics_set(node->metrics, plugin, name, value);
}

static int32_t plugin_offer(void *user, const deai_offering *offering) {
  deai_node *node = user;
  return deai_router_offer(node->router, offering);
}

static void plugin_enable(void *user, const char *plugin, bool enabled) {
  deai_node *node = user;
  deai_router_enable(node->router, plugin, enabled);
}

static const deai_plugins_ops plugins_ops = {
    .instance = {.open = plugin_open, .describe = plugin_describe, .count = plugin_count},
    .offer = plugin_offer,
    .enable = plugin_enable,
};

/* ---- HTTP asks ---- */

static deai_call *http_open(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                            void *end_user) {
  deai_node *node = user;
  return deai_router_open(node->router, spec, ops, end_user);
}

static bool http_ready(void *user, char *out, size_t cap) {
  deai_node *node = user;
  bool ready = !node->stopping;
  size_t len = (size_t)snprintf(out, cap, "not ready:%s", node->stopping ? " stopping" : "");
  for (uint32_t i = 0; i < deai_plugins_count(node->plugins) && len < cap; i++) {
    deai_plugin_row row = deai_plugins_row(node->plugins, i);
    if (strcmp(row.state, "running") == 0) continue;
    ready = false;
    len += (size_t)snprintf(out + len, cap - len, " %s (%s%s%s)", row.manifest->id, row.state,
                            row.reason[0] != 0 ? ": " : "", row.reason);
  }
  return ready;
}

static char *http_metrics(void *user) {
  deai_node *node = user;
  deai_metrics_set(node->metrics, "host", "open_calls", deai_router_open_calls(node->router));
  deai_metrics_set(node->metrics, "host", "http_pending", deai_http_pending(node->http));
  deai_metrics_set(node->metrics, "host", "slow_callbacks", deai_loop_slow_count(node->loop));
  return deai_metrics_text(node->metrics);
}

static int32_t http_key(void *user, deai_str secret, uint8_t id_out[DEAI_ID_BYTES]) {
  deai_node *node = user;
  char err[DEAI_ERR_CAP] = "";
  if (deai_apikeys_refresh(node->data, &node->apikeys, err, sizeof err) != DEAI_OK)
    deai_log(DEAI_LEVEL_WARN, "http", "no API key is accepted: %s", err);
  const deai_apikey *found = deai_apikeys_find(&node->apikeys, secret);
  if (found == NULL) return 0;
  memcpy(id_out, found->hash, DEAI_ID_BYTES);
  return 1;
}

static const deai_http_ops http_ops = {
    .open = http_open, .ready = http_ready, .metrics = http_metrics, .key = http_key};

/* ---- the ledger's news ---- */

typedef struct block_news {
  deai_node *node;
  uint64_t height;
} block_news;

static void block_task(void *user) {
  block_news *news = user;
  uint8_t room[16];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  deai_cbor_put_uint(&writer, news->height);
  if (news->node->ledger_service != NULL)
    deai_ledger_service_block(news->node->ledger_service, news->height);
  if (news->node->pay != NULL) deai_pay_block(news->node->pay);
  if (news->node->net != NULL && !news->node->stopping) deai_net_recheck(news->node->net);
  if (news->node->plugins != NULL)
    deai_plugins_update(news->node->plugins, deai_str_of("ledger"),
                        deai_bytes_of(room, writer.len));
  free(news);
}

/* on_block runs on the ledger thread, or on the worker that applied a block. */
static void on_block(void *user, const deai_ledger_update *update) {
  deai_node *node = user;
  block_news *news = malloc(sizeof *news);
  if (news == NULL) return; /* followers catch up with the next block */
  *news = (block_news){node, update->height};
  deai_loop_task(node->loop, block_task, news);
}

/* ---- members ---- */

static uint32_t net_role(void *user, const uint8_t key[DEAI_KEY_BYTES]) {
  deai_node *node = user;
  deai_ledger_answer answer;
  deai_member_rec member;
  uint32_t role = DEAI_CLASS_PUBLIC;
  if (deai_ledger_lookup(node->ledger, deai_str_of("registry/1"), deai_str_of("members"),
                         deai_bytes_of(key, DEAI_KEY_BYTES), 0, &answer) != DEAI_OK)
    return role;
  if (answer.found &&
      deai_decode(&deai_member_rec_table, answer.value, &member, NULL, NULL, 0) == DEAI_OK)
    role = member.role == DEAI_ROLE_MEMBER ? DEAI_CLASS_MEMBER : DEAI_CLASS_GUEST;
  deai_ledger_answer_free(&answer);
  return role;
}

typedef struct members_walk {
  void (*each)(void *user, const uint8_t key[DEAI_KEY_BYTES]);
  void *user;
} members_walk;

static int32_t member_row(void *user, deai_bytes key, deai_bytes value) {
  members_walk *walk = user;
  deai_member_rec member;
  if (key.len == DEAI_KEY_BYTES &&
      deai_decode(&deai_member_rec_table, value, &member, NULL, NULL, 0) == DEAI_OK &&
      member.role == DEAI_ROLE_MEMBER)
    walk->each(walk->user, key.ptr);
  return DEAI_OK;
}

static void net_members(void *user,
                        void (*each)(void *each_user, const uint8_t key[DEAI_KEY_BYTES]),
                        void *each_user) {
  deai_node *node = user;
  members_walk walk = {each, each_user};
  int32_t status =
      deai_ledger_each_record(node->ledger, deai_str_of("registry/1"), deai_str_of("members"),
                              (deai_bytes){NULL, 0}, &walk, member_row);
  if (status != DEAI_OK)
    deai_log(DEAI_LEVEL_WARN, "net", "the members were not listed: %s", deai_status_text(status));
}

uint64_t deai_node_height(void *user) {
  const deai_node *node = user;
  deai_ledger_head head;
  deai_ledger_head_get(node->ledger, &head);
  return head.height;
}

static void net_offers(void *user, void (*each)(void *each_user, deai_str service, deai_bytes args),
                       void *each_user) {
  deai_node *node = user;
  deai_router_each_offer(node->router, each, each_user);
}

static void peers_line(void *user, const uint8_t key[DEAI_KEY_BYTES], const char *address) {
  FILE *out = user;
  for (int i = 0; i < DEAI_KEY_BYTES; i++)
    (void)fprintf(out, "%02x", key[i]);
  (void)fprintf(out, " %s\n", address);
}

/* peers_save writes whom to dial after a restart. */
static void peers_save(const deai_node *node) {
  char err[DEAI_ERR_CAP] = "";
  char path[4200];
  char *text = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&text, &len);
  if (out == NULL) return;
  deai_net_known(node->net, peers_line, out);
  bool written = fclose(out) == 0;
  (void)snprintf(path, sizeof path, "%s/peers", node->data);
  if (written &&
      deai_file_replace(path, deai_bytes_of(text, len), 0600, err, sizeof err) != DEAI_OK)
    deai_log(DEAI_LEVEL_WARN, "net", "the list of members was not written: %s", err);
  free(text);
}

static bool hex_key(const char *text, uint8_t key[DEAI_KEY_BYTES]) {
  for (int i = 0; i < 2 * DEAI_KEY_BYTES; i++) {
    char c = text[i];
    int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return false;
    key[i / 2] = (uint8_t)(i % 2 == 0 ? digit << 4 : key[i / 2] | digit);
  }
  return text[2 * DEAI_KEY_BYTES] == ' ';
}

static void peers_load(deai_node *node) {
  char err[DEAI_ERR_CAP] = "";
  char path[4200];
  uint8_t *bytes = NULL;
  uint64_t len = 0;
  (void)snprintf(path, sizeof path, "%s/peers", node->data);
  if (deai_file_read(path, 1048576, &bytes, &len, err, sizeof err) != DEAI_OK) return;
  char *text = strndup((const char *)bytes, (size_t)len);
  char *rest = text;
  for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
    uint8_t key[DEAI_KEY_BYTES];
    if (strlen(line) < 2 * DEAI_KEY_BYTES + 2 || !hex_key(line, key)) continue;
    if (deai_net_know(node->net, key, deai_str_of(line + 2 * DEAI_KEY_BYTES + 1)) != DEAI_OK)
      deai_log(DEAI_LEVEL_WARN, "net", "%s: expected KEY ADDRESS in a line", path);
  }
  free(text);
  free(bytes);
}

static void net_connected(void *user, const uint8_t key[DEAI_KEY_BYTES], bool up) {
  (void)key;
  deai_node *node = user;
  if (!up) return;
  peers_save(node);
  if (node->catchup != NULL) deai_catchup_go(node->catchup);
}

static void net_voucher(void *user, deai_call *call, const deai_signed *voucher) {
  deai_node *node = user;
  deai_pay_voucher(node->pay, call, voucher);
}

static int32_t net_voucher_of(void *user, deai_call *call, deai_signed *voucher_out) {
  deai_node *node = user;
  return deai_pay_voucher_of(node->pay, call, voucher_out);
}

static const deai_net_ops net_ops = {.open = http_open,
                                     .voucher = net_voucher,
                                     .voucher_of = net_voucher_of,
                                     .role = net_role,
                                     .height = deai_node_height,
                                     .members = net_members,
                                     .offers = net_offers,
                                     .connected = net_connected};

static void announce_task(void *user) {
  deai_node *node = user;
  node->announce_asked = false;
  if (node->net != NULL && !node->stopping) deai_net_announce(node->net);
}

/* offers_changed gathers all changes of one turn of the loop into one record. */
static void offers_changed(void *user) {
  deai_node *node = user;
  if (node->announce_asked) return;
  node->announce_asked = true;
  deai_loop_task(node->loop, announce_task, node);
}

typedef struct proposed {
  void *user;
  deai_join_done *done;
} proposed;

static void on_proposed(void *user, int32_t status, const char *why,
                        const uint8_t id[DEAI_HASH_BYTES], uint64_t height) {
  (void)id;
  proposed *job = user;
  job->done(job->user, status, why, height);
  free(job);
}

static void join_propose(void *user, deai_bytes ops, void *done_user, deai_join_done *done) {
  deai_node *node = user;
  proposed *job = malloc(sizeof *job);
  if (job == NULL) {
    done(done_user, DEAI_ENOMEM, "not enough memory", 0);
    return;
  }
  *job = (proposed){done_user, done};
  deai_ledger_service_propose(node->ledger_service, ops, job, on_proposed);
}

static deai_bytes join_genesis(void *user, uint8_t hash[DEAI_HASH_BYTES]) {
  deai_node *node = user;
  return deai_ledger_genesis(node->ledger, hash);
}

static int32_t join_channel(void *user, const uint8_t caller[DEAI_KEY_BYTES], deai_bytes args,
                            deai_buf out, uint64_t *len_out, char *err, uint32_t err_cap) {
  deai_node *node = user;
  return deai_pay_channel(node->pay, caller, args, out, len_out, err, err_cap);
}

static const deai_join_ops join_ops = {.channel = join_channel,
                                       .propose = join_propose,
                                       .genesis = join_genesis,
                                       .account_of = deai_account_of_key};

static int32_t open_net(deai_node *node, char *err, uint32_t err_cap) {
  const deai_config_peers *config = &node->config->node.peers;
  deai_net_options options = {.loop = node->loop,
                              .key = node->key,
                              .genesis = node->genesis,
                              .listen = config->listen,
                              .announce = config->announce.items,
                              .announce_count = (uint32_t)config->announce.count,
                              .ops = &net_ops,
                              .user = node};
  deai_peers seam;
  (void)deai_ledger_genesis(node->ledger, node->genesis);
  node->net = deai_net_new(&options, err, err_cap);
  if (node->net == NULL) return DEAI_EIO;
  node->join = deai_join_new(node->loop, node->net, &join_ops, node);
  if (node->join == NULL) return DEAI_ENOMEM;
  deai_offering offering = deai_join_offering(node->join);
  int32_t status = deai_router_offer(node->router, &offering);
  if (status != DEAI_OK) return deai_err(err, err_cap, status, "no room for the node's services");
  deai_router_enable(node->router, offering.plugin, true);
  deai_net_seam(node->net, &seam);
  deai_router_peers(node->router, &seam);
  deai_router_on_change(node->router, offers_changed, node);
  peers_load(node);
  return DEAI_OK;
}

/* ---- open ---- */

static int32_t open_data(deai_node *node, char *err, uint32_t err_cap) {
  char path[4200];
  const deai_str data = node->config->node.data;
  (void)snprintf(node->data, sizeof node->data, "%.*s", (int)data.len, data.ptr);
  (void)snprintf(path, sizeof path, "%s/lock", node->data);
  node->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (node->lock_fd < 0)
    return deai_err(err, err_cap, DEAI_EIO, "%s: expected a data folder: %s; run `deai init`",
                    node->data, strerror(errno));
  if (flock(node->lock_fd, LOCK_EX | LOCK_NB) != 0)
    return deai_err(err, err_cap, DEAI_EBUSY,
                    "%s: expected a data folder that nobody uses, found another deaid in it; stop "
                    "it first",
                    node->data);
  (void)snprintf(path, sizeof path, "%s/plugins", node->data);
  return deai_folder_make(path, 0700, err, err_cap);
}

static int32_t open_ledger(deai_node *node, char *err, uint32_t err_cap) {
  char folder[4200];
  (void)snprintf(folder, sizeof folder, "%s/ledger", node->data);
  int32_t status = deai_key_load(node->data, "node", &node->key, err, err_cap);
  if (status != DEAI_OK) return status;
  status = deai_key_load(node->data, "order", &node->order, err, err_cap);
  if (status == DEAI_ENOTFOUND) {
    node->order = NULL;
    status = DEAI_OK;
  }
  if (status != DEAI_OK) return status;
  deai_ledger_options options = {.folder = folder,
                                 .engine =
                                     node->order != NULL ? DEAI_ENGINE_LOCAL : DEAI_ENGINE_FOLLOW,
                                 .order = node->order,
                                 .user = node,
                                 .on_block = on_block};
  status = deai_ledger_open(&options, &node->ledger, err, err_cap);
  if (status != DEAI_OK) return status;
  if (node->order == NULL) {
    deai_catchup_options catchup = {
        .loop = node->loop, .ledger = node->ledger, .open = http_open, .user = node};
    node->catchup = deai_catchup_new(&catchup);
    if (node->catchup == NULL) return DEAI_ENOMEM;
  }
  deai_ledger_service_options service = {.loop = node->loop,
                                         .ledger = node->ledger,
                                         .node = node->key,
                                         .orders = node->order != NULL,
                                         .forward = deai_catchup_forward,
                                         .forward_user = node->catchup};
  node->ledger_service = deai_ledger_service_new(&service);
  return node->ledger_service == NULL ? DEAI_ENOMEM : DEAI_OK;
}

static int32_t open_router(deai_node *node, char *err, uint32_t err_cap) {
  deai_offering offerings[3];
  node->metrics = deai_metrics_new();
  node->router = deai_router_new(node->loop, deai_key_public(node->key));
  if (node->metrics == NULL || node->router == NULL) return DEAI_ENOMEM;
  int32_t opened = deai_money_open(node, err, err_cap);
  if (opened != DEAI_OK) return opened;
  deai_ledger_service_offerings(node->ledger_service, offerings);
  offerings[2] = deai_admin_offering(node);
  for (uint32_t i = 0; i < 3; i++) {
    int32_t status = deai_router_offer(node->router, &offerings[i]);
    if (status != DEAI_OK) return deai_err(err, err_cap, status, "no room for the node's services");
    deai_router_enable(node->router, offerings[i].plugin, true);
  }
  return DEAI_OK;
}

static int32_t add_plugin(deai_node *node, deai_config_plugin *item, char *err, uint32_t err_cap) {
  deai_manifest_list http = item->loaded.manifest.http;
  const char *id = item->loaded.manifest.id;
  deai_plugin_spec spec = {.path = item->loaded.path,
                           .isolation = item->isolation,
                           .optional = item->optional,
                           .memory_max = item->memory_max,
                           .settings = deai_bytes_of(item->settings, item->settings_len)};
  for (uint32_t i = 0; i < http.count && node->http != NULL; i++) {
    int32_t status = deai_http_route(node->http, http.items[i], id);
    if (status != DEAI_OK)
      return deai_err(err, err_cap, status, "%s: expected a free path, found %s taken", id,
                      http.items[i]);
  }
  int32_t status = deai_plugins_add(node->plugins, &spec, &item->loaded, err, err_cap);
  if (status == DEAI_OK || !item->optional) return status;
  deai_log(DEAI_LEVEL_WARN, item->name, "optional and not started: %s", err);
  return DEAI_OK;
}

static int32_t open_plugins(deai_node *node, char *err, uint32_t err_cap) {
  char folder[4200];
  (void)snprintf(folder, sizeof folder, "%s/plugins", node->data);
  node->plugins = deai_plugins_new(node->loop, folder, node->plughost, &plugins_ops, node);
  if (node->plugins == NULL) return DEAI_ENOMEM;
  for (uint32_t i = 0; i < node->config->plugin_count; i++) {
    deai_config_plugin *item = &node->config->plugins[i];
    if (item->loaded.fd < 0) {
      deai_log(DEAI_LEVEL_WARN, item->name, "optional and refused: %s", item->reason);
      continue;
    }
    int32_t status = add_plugin(node, item, err, err_cap);
    if (status != DEAI_OK) return status;
  }
  return DEAI_OK;
}

static int32_t open_doors(deai_node *node, char *err, uint32_t err_cap) {
  const deai_config_http *http = &node->config->node.http;
  if (http->listen.len == 0) return DEAI_OK;
  deai_http_options options = {.loop = node->loop,
                               .listen = http->listen,
                               .hosts = http->hosts.items,
                               .host_count = (uint32_t)http->hosts.count,
                               .auth = http->auth != 0,
                               .per_address = (uint32_t)http->per_address,
                               .ops = &http_ops,
                               .user = node};
  node->http = deai_http_new(&options, err, err_cap);
  return node->http == NULL ? DEAI_EIO : DEAI_OK;
}

/* The port is written where the command line and scripts find it, also when it was 0. */
static int32_t write_ports(const deai_node *node, char *err, uint32_t err_cap) {
  char path[4200];
  char text[64];
  (void)snprintf(path, sizeof path, "%s/http.port", node->data);
  int len = snprintf(text, sizeof text, "%u\n",
                     node->http != NULL ? (unsigned)deai_http_port(node->http) : 0U);
  int32_t status = deai_file_replace(path, deai_bytes_of(text, (uint64_t)len), 0600, err, err_cap);
  if (status != DEAI_OK) return status;
  (void)snprintf(path, sizeof path, "%s/peers.port", node->data);
  len = snprintf(text, sizeof text, "%u\n", (unsigned)deai_net_port(node->net));
  return deai_file_replace(path, deai_bytes_of(text, (uint64_t)len), 0600, err, err_cap);
}

int32_t deai_node_open(deai_node *node, deai_loop *loop, deai_config *config, const char *plughost,
                       char *err, uint32_t err_cap) {
  char path[4200];
  memset(node, 0, sizeof *node);
  node->lock_fd = -1;
  node->loop = loop;
  node->config = config;
  node->started_ns = deai_loop_now_ns(loop);
  (void)snprintf(node->plughost, sizeof node->plughost, "%s", plughost);
  int32_t status = deai_sign_start(err, err_cap);
  if (status == DEAI_OK) status = open_data(node, err, err_cap);
  if (status == DEAI_OK) status = open_ledger(node, err, err_cap);
  if (status == DEAI_OK) status = open_router(node, err, err_cap);
  if (status == DEAI_OK) status = open_net(node, err, err_cap);
  if (status == DEAI_OK) status = open_doors(node, err, err_cap);
  if (status == DEAI_OK) status = open_plugins(node, err, err_cap);
  if (status != DEAI_OK) return status;
  (void)snprintf(path, sizeof path, "%s/deai.sock", node->data);
  node->local = deai_local_new(loop, path, deai_router_open, node->router, err, err_cap);
  if (node->local == NULL) return DEAI_EIO;
  return write_ports(node, err, err_cap);
}

/* ---- stop ---- */

static void stopped(void *user) {
  deai_node *node = user;
  deai_loop_stop(node->loop);
}

static void on_drain(void *user) {
  deai_node *node = user;
  uint64_t waited_ms = (deai_loop_now_ns(node->loop) - node->started_ns) / UINT64_C(1000000);
  bool busy = node->http != NULL && deai_http_pending(node->http) > 0;
  if (busy && waited_ms < DEAI_NODE_DRAIN_MS) {
    deai_timer_set(node->drain, 50);
    return;
  }
  deai_plugins_stop(node->plugins, stopped, node);
}

void deai_node_stop(deai_node *node) {
  if (node->stopping) return;
  node->stopping = true;
  node->started_ns = deai_loop_now_ns(node->loop); /* from now on: since when it drains */
  deai_log(DEAI_LEVEL_INFO, "node", "stopping: requests that run may end");
  if (node->http != NULL) deai_http_drain(node->http);
  node->drain = deai_timer_new(node->loop, on_drain, node);
  if (node->drain == NULL)
    deai_loop_stop(node->loop);
  else
    deai_timer_set(node->drain, 1);
}

void deai_node_close(deai_node *node) {
  node->stopping = true;
  deai_catchup_stop(node->catchup);
  deai_local_free(node->local);
  deai_http_free(node->http);
  deai_apikeys_free(&node->apikeys);
  deai_net_free(node->net);
  node->net = NULL;
  deai_plugins_free(node->plugins);
  deai_ledger_service *service = node->ledger_service;
  deai_loop_settle(node->loop); /* a block may be on a worker */
  deai_ledger_close(node->ledger);
  deai_loop_drain(node->loop);
  deai_ledger_service_free(service);
  node->ledger_service = NULL;
  deai_pay_free(node->pay);
  node->pay = NULL;
  node->plugins = NULL;
  deai_loop_drain(node->loop);
  deai_join_free(node->join);
  deai_catchup_free(node->catchup);
  deai_router_free(node->router);
  deai_metrics_free(node->metrics);
  deai_timer_free(node->drain);
  deai_key_free(node->key);
  deai_key_free(node->order);
  if (node->lock_fd >= 0) (void)close(node->lock_fd);
}
