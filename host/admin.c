#include "node.h"

#include "host/base/base32.h"
#include "host/request.h"

#include <jansson.h>

#include <stdlib.h>

#include "host/base/banned.h"

static const char *const methods[] = {"status", "plugins", "stop"};

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
  return json_pack("{s:s%, s:s, s:s, s:I, s:i, s:{s:s, s:I, s:b}, s:o}", "name",
                   node->config->node.name.ptr, (int)node->config->node.name.len, "key", key,
                   "version", DEAI_VERSION, "up_ms", (json_int_t)(up_ns / UINT64_C(1000000)),
                   "http_port", node->http != NULL ? (int)deai_http_port(node->http) : 0, "ledger",
                   "engine", node->order != NULL ? "local" : "follow", "height",
                   (json_int_t)head.height, "stopped", (int)head.stopped, "plugins",
                   plugins_json(node));
}

static void on_request(void *user, deai_request *request) {
  deai_node *node = user;
  deai_str method = deai_request_about(request)->method;
  if (deai_str_eq(method, deai_str_of("status"))) {
    end_json(request, status_json(node));
  } else if (deai_str_eq(method, deai_str_of("plugins"))) {
    end_json(request, plugins_json(node));
  } else {
    end_json(request, json_object());
    deai_node_stop(node);
  }
}

static int32_t serve(void *user, deai_call *call, char *err) {
  (void)err;
  return deai_request_serve(call, 65536, on_request, user);
}

static int32_t class_of(const void *user, deai_str service, deai_str method) {
  (void)user, (void)service;
  for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
    if (deai_str_eq(method, deai_str_of(methods[i]))) return DEAI_CLASS_LOCAL;
  }
  return -1;
}

deai_offering deai_admin_offering(deai_node *node) {
  return (deai_offering){.plugin = "node",
                         .service = DEAI_NODE_SERVICE,
                         .class_of = class_of,
                         .provider = {node, serve}};
}
