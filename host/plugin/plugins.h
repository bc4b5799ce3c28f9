#ifndef DEAI_HOST_PLUGIN_PLUGINS_H
#define DEAI_HOST_PLUGIN_PLUGINS_H

#include "host/plugin/child.h"
#include "host/plugin/instance.h"
#include "host/provider.h"

/* All plug-ins of a node: opened, checked, loaded in process or in a child, started, watched and
   stopped. A plug-in's state always comes with its reason.

     found -> checked -> running | restarting(reason) | quarantined(reason) | refused(reason)
           -> stopping -> stopped

   Threads  [loop]
   Limits   DEAI_PLUGINS_MAX */

#define DEAI_PLUGINS_MAX 32u

typedef struct deai_plugins deai_plugins;

/* What the config says of one plug-in. */
typedef struct deai_plugin_spec {
  const char *path;    /* absolute path of the .so */
  const uint8_t *pin;  /* SHA-256 or NULL */
  int32_t isolation;   /* -1 = as the manifest says, 0 = inproc, 1 = process */
  bool optional;       /* a refusal does not stop the node */
  uint64_t memory_max; /* bytes for a child, 0 = none */
  deai_bytes settings; /* canonical CBOR, checked against the manifest's schema */
} deai_plugin_spec;

/* How the plug-ins meet the rest of the node. */
typedef struct deai_plugins_ops {
  deai_instance_ops instance; /* calls, offers and numbers of the plug-ins */
  /* offer adds a service; enable says that all services of a plug-in answer or no longer do */
  int32_t (*offer)(void *user, const deai_offering *offering);
  void (*enable)(void *user, const char *plugin, bool enabled);
} deai_plugins_ops;

/* One row for `plugin list`. Texts live as long as the plug-ins. */
typedef struct deai_plugin_row {
  const deai_manifest *manifest;
  const char *path;
  const char *state;
  const char *reason;
  bool in_child;
  int32_t pid;
  uint32_t restarts;
  uint32_t open_calls;
  uint64_t faults;
} deai_plugin_row;

/* deai_plugins_new makes an empty set. folder is DATA/plugins: each plug-in gets its own folder in
   it; plughost is the absolute path of deai-plughost. */
DEAI_MUST_CHECK deai_plugins *deai_plugins_new(deai_loop *loop, const char *folder,
                                               const char *plughost, const deai_plugins_ops *ops,
                                               void *user);

/* deai_plugins_add opens, loads and starts one; loaded is what deai_loader_open gave and is taken
   over, also by a refusal. */
DEAI_MUST_CHECK int32_t deai_plugins_add(deai_plugins *plugins, const deai_plugin_spec *spec,
                                         deai_loaded *loaded, char *err, uint32_t err_cap);

/* deai_plugins_update passes an update to every plug-in that asks for topic. */
void deai_plugins_update(deai_plugins *plugins, deai_str topic, deai_bytes value);

/* deai_plugins_count and deai_plugins_row list them. */
uint32_t deai_plugins_count(const deai_plugins *plugins);
/* deai_plugins_row returns row at. */
deai_plugin_row deai_plugins_row(const deai_plugins *plugins, uint32_t at);

/* deai_plugins_starting returns how many are still starting for the first time. */
uint32_t deai_plugins_starting(const deai_plugins *plugins);

/* deai_plugins_stop stops all; stopped is called once every child is gone. */
void deai_plugins_stop(deai_plugins *plugins, deai_task_fn *stopped, void *user);

/* deai_plugins_free frees all; NULL is allowed. */
void deai_plugins_free(deai_plugins *plugins);

#endif
