#include "node.h"

#include "host/base/file.h"
#include "host/base/log.h"
#include "host/base/sign.h"

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
  (void)user, (void)secret, (void)id_out;
  return 0; /* no key file: no key is known */
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
  if (news->node->plugins != NULL)
    deai_plugins_update(news->node->plugins, deai_str_of("ledger"),
                        deai_bytes_of(room, writer.len));
  free(news);
}

/* on_block runs on the ledger thread. */
static void on_block(void *user, const deai_ledger_update *update) {
  deai_node *node = user;
  block_news *news = malloc(sizeof *news);
  if (news == NULL) return; /* followers catch up with the next block */
  *news = (block_news){node, update->height};
  deai_loop_task(node->loop, block_task, news);
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
  deai_ledger_service_options service = {
      .loop = node->loop, .ledger = node->ledger, .node = node->key, .orders = node->order != NULL};
  node->ledger_service = deai_ledger_service_new(&service);
  return node->ledger_service == NULL ? DEAI_ENOMEM : DEAI_OK;
}

static int32_t open_router(deai_node *node, char *err, uint32_t err_cap) {
  deai_offering offerings[3];
  node->metrics = deai_metrics_new();
  node->router = deai_router_new(node->loop, deai_key_public(node->key));
  if (node->metrics == NULL || node->router == NULL) return DEAI_ENOMEM;
  deai_settle settle = {.user = node->ledger_service,
                        .receipt = deai_ledger_service_receipt,
                        .check = deai_ledger_service_check};
  deai_router_settle(node->router, &settle);
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
  deai_local_free(node->local);
  deai_http_free(node->http);
  deai_plugins_free(node->plugins);
  deai_ledger_service *service = node->ledger_service;
  deai_loop_drain(node->loop);
  deai_ledger_close(node->ledger);
  deai_loop_drain(node->loop);
  deai_ledger_service_free(service);
  node->ledger_service = NULL;
  node->plugins = NULL;
  deai_loop_drain(node->loop);
  deai_router_free(node->router);
  deai_metrics_free(node->metrics);
  deai_timer_free(node->drain);
  deai_key_free(node->key);
  deai_key_free(node->order);
  if (node->lock_fd >= 0) (void)close(node->lock_fd);
}
