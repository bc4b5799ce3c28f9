#include "plugins.h"

#include "host/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "host/base/banned.h"

typedef struct plugin {
  deai_plugins *set;
  deai_loaded loaded;
  deai_instance *instance; /* one of the two */
  deai_child *child;
  bool was_ready; /* a child: it ran at least once */
  bool stopped;
  char reason[DEAI_ERR_CAP]; /* why it was refused */
} plugin;

struct deai_plugins {
  deai_loop *loop;
  char folder[4000];
  char plughost[4096];
  deai_plugins_ops ops;
  void *user;
  uint32_t count;
  plugin *items[DEAI_PLUGINS_MAX];
  uint32_t stopping; /* children not yet gone */
  deai_task_fn *stopped;
  void *stopped_user;
};

deai_plugins *deai_plugins_new(deai_loop *loop, const char *folder, const char *plughost,
                               const deai_plugins_ops *ops, void *user) {
  deai_plugins *set = calloc(1, sizeof *set);
  if (set == NULL) return NULL;
  set->loop = loop;
  set->ops = *ops;
  set->user = user;
  (void)snprintf(set->folder, sizeof set->folder, "%s", folder);
  (void)snprintf(set->plughost, sizeof set->plughost, "%s", plughost);
  return set;
}

static int32_t class_of(const void *user, deai_str service, deai_str method) {
  return deai_manifest_class(user, service, method);
}

static int32_t serve(void *user, deai_call *call, char *err) {
  plugin *item = user;
  if (item->child == NULL && item->instance == NULL) return DEAI_EPLUGIN_DIED;
  int32_t status = item->child != NULL ? deai_child_serve(item->child, call)
                                       : deai_instance_serve(item->instance, call);
  if (status != DEAI_OK && item->child != NULL)
    (void)snprintf(err, DEAI_ERR_CAP, "%s: %s", deai_child_state(item->child),
                   deai_child_reason(item->child));
  return status;
}

static bool any_remote(const deai_manifest_service *service) {
  for (uint32_t i = 0; i < service->method_count; i++) {
    if (service->methods[i].method_class < DEAI_CLASS_LOCAL) return true;
  }
  return false;
}

static int32_t offer_services(plugin *item, char *err, uint32_t err_cap) {
  deai_plugins *set = item->set;
  const deai_manifest *manifest = &item->loaded.manifest;
  for (uint32_t i = 0; i < manifest->offer_count; i++) {
    deai_offering offering = {.plugin = manifest->id,
                              .service = manifest->offers[i].id,
                              .class_of = class_of,
                              .class_user = manifest,
                              .remote = any_remote(&manifest->offers[i]),
                              .provider = {item, serve}};
    int32_t status = set->ops.offer(set->user, &offering);
    if (status != DEAI_OK)
      return deai_err(err, err_cap, status, "%s: expected room for its services, found none",
                      manifest->id);
  }
  return DEAI_OK;
}

/* own_folder makes FOLDER/id with "/" in the id as "-". */
static int32_t own_folder(const deai_plugins *set, const char *id, char *out, size_t cap, char *err,
                          uint32_t err_cap) {
  int len = snprintf(out, cap, "%s/%s", set->folder, id);
  if (len < 0 || (size_t)len >= cap) return DEAI_ETOOLARGE;
  for (char *at = out + strlen(set->folder) + 1; *at != 0; at++) {
    bool plain = (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9') || *at == '-' ||
                 *at == '_' || (*at >= 'A' && *at <= 'Z');
    if (!plain) *at = '-';
  }
  if (mkdir(out, 0700) != 0 && errno != EEXIST)
    return deai_err(err, err_cap, DEAI_EIO, "%s: cannot be made: %s", out, strerror(errno));
  return DEAI_OK;
}

static void child_ready(void *user, const char *name, bool running) {
  deai_plugins *set = user;
  for (uint32_t i = 0; i < set->count; i++) {
    if (strcmp(set->items[i]->loaded.manifest.id, name) == 0 && running)
      set->items[i]->was_ready = true;
  }
  set->ops.enable(set->user, name, running);
}

/* The set is the user of its children, so calls are passed on to the node's user. */
static deai_call *child_open(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                             void *end_user) {
  deai_plugins *set = user;
  return set->ops.instance.open(set->user, spec, ops, end_user);
}

static void child_describe(void *user, const char *name, deai_str service, deai_bytes offer) {
  deai_plugins *set = user;
  if (set->ops.instance.describe != NULL)
    set->ops.instance.describe(set->user, name, service, offer);
}

static void child_count(void *user, const char *name, const char *number, uint64_t value) {
  deai_plugins *set = user;
  if (set->ops.instance.count != NULL) set->ops.instance.count(set->user, name, number, value);
}

static const deai_instance_ops child_ops = {
    .open = child_open, .describe = child_describe, .count = child_count};

static int32_t start_child(plugin *item, const deai_plugin_spec *spec, const char *folder) {
  deai_plugins *set = item->set;
  deai_child_options options = {.loop = set->loop,
                                .loaded = &item->loaded,
                                .settings = spec->settings,
                                .folder = folder,
                                .plughost = set->plughost,
                                .memory_max = spec->memory_max,
                                .ops = &child_ops,
                                .user = set,
                                .ready = child_ready};
  item->child = deai_child_new(&options);
  return item->child == NULL ? DEAI_ENOMEM : DEAI_OK;
}

static int32_t start_here(plugin *item, const deai_plugin_spec *spec, const char *folder, char *err,
                          uint32_t err_cap) {
  deai_plugins *set = item->set;
  deai_instance_options options = {.loop = set->loop,
                                   .loaded = &item->loaded,
                                   .settings = spec->settings,
                                   .folder = folder,
                                   .ops = &set->ops.instance,
                                   .user = set->user};
  int32_t status = deai_loader_load(&item->loaded, err, err_cap);
  if (status != DEAI_OK) return status;
  item->instance = deai_instance_new(&options, err, err_cap);
  if (item->instance == NULL) return DEAI_EINTERNAL;
  status = deai_instance_start(item->instance, err, err_cap);
  if (status == DEAI_OK) return DEAI_OK;
  deai_instance_free(item->instance);
  item->instance = NULL;
  return status;
}

int32_t deai_plugins_add(deai_plugins *set, const deai_plugin_spec *spec, deai_loaded *loaded,
                         char *err, uint32_t err_cap) {
  char folder[4400];
  if (set->count == DEAI_PLUGINS_MAX) {
    deai_loader_close(loaded);
    return deai_err(err, err_cap, DEAI_EFULL, "expected at most %u plug-ins", DEAI_PLUGINS_MAX);
  }
  plugin *item = calloc(1, sizeof *item);
  if (item == NULL) {
    deai_loader_close(loaded);
    return DEAI_ENOMEM;
  }
  item->set = set;
  item->loaded = *loaded;
  loaded->fd = -1;
  memset(&loaded->manifest, 0, sizeof loaded->manifest);
  set->items[set->count++] = item;
  bool here = spec->isolation < 0 ? item->loaded.manifest.inproc : spec->isolation == 0;
  int32_t status = own_folder(set, item->loaded.manifest.id, folder, sizeof folder, item->reason,
                              (uint32_t)sizeof item->reason);
  if (status == DEAI_OK) status = offer_services(item, item->reason, (uint32_t)sizeof item->reason);
  if (status == DEAI_OK)
    status = here ? start_here(item, spec, folder, item->reason, (uint32_t)sizeof item->reason)
                  : start_child(item, spec, folder);
  if (status != DEAI_OK)
    (void)deai_err(err, err_cap, status, "%s",
                   item->reason[0] != 0 ? item->reason : deai_status_text(status));
  if (status == DEAI_OK && here) set->ops.enable(set->user, item->loaded.manifest.id, true);
  return status;
}

void deai_plugins_update(deai_plugins *set, deai_str topic, deai_bytes value) {
  for (uint32_t i = 0; i < set->count; i++) {
    if (set->items[i]->instance != NULL)
      deai_instance_update(set->items[i]->instance, topic, value);
    if (set->items[i]->child != NULL) deai_child_update(set->items[i]->child, topic, value);
  }
}

uint32_t deai_plugins_count(const deai_plugins *set) {
  return set->count;
}

deai_plugin_row deai_plugins_row(const deai_plugins *set, uint32_t at) {
  const plugin *item = set->items[at];
  deai_plugin_row row = {.manifest = &item->loaded.manifest,
                         .path = item->loaded.path,
                         .state = "refused",
                         .reason = item->reason,
                         .in_child = item->child != NULL};
  if (item->child != NULL) {
    row.state = deai_child_state(item->child);
    row.reason = deai_child_reason(item->child);
    row.pid = deai_child_pid(item->child);
    row.restarts = deai_child_restarts(item->child);
  } else if (item->instance != NULL) {
    row.state = item->stopped ? "stopped" : "running";
    row.open_calls = deai_instance_open_calls(item->instance);
    row.faults = deai_instance_faults(item->instance);
  }
  return row;
}

uint32_t deai_plugins_starting(const deai_plugins *set) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < set->count; i++)
    count += set->items[i]->child != NULL && !set->items[i]->was_ready;
  return count;
}

static void child_stopped(void *user) {
  deai_plugins *set = user;
  if (--set->stopping == 0) deai_loop_task(set->loop, set->stopped, set->stopped_user);
}

void deai_plugins_stop(deai_plugins *set, deai_task_fn *stopped, void *user) {
  set->stopped = stopped;
  set->stopped_user = user;
  set->stopping = 1;
  for (uint32_t i = 0; i < set->count; i++) {
    plugin *item = set->items[i];
    if (item->instance != NULL) deai_instance_stop(item->instance);
    item->stopped = true;
    if (item->child == NULL) continue;
    set->stopping++;
    deai_child_stop(item->child, child_stopped, set);
  }
  child_stopped(set);
}

void deai_plugins_free(deai_plugins *set) {
  if (set == NULL) return;
  for (uint32_t i = 0; i < set->count; i++) {
    deai_instance_free(set->items[i]->instance);
    deai_child_free(set->items[i]->child);
    deai_loader_close(&set->items[i]->loaded);
    free(set->items[i]);
  }
  free(set);
}
