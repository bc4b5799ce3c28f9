/* deai-plughost runs one plug-in in a process of its own. It is started by deaid with descriptor 3,
   the socket to the host, and descriptor 4, the plug-in's file; its arguments are its own folder
   and its memory cap. Nobody else needs to call it. */
#include "deai/contracts/wire.h"
#include "host/base/log.h"
#include "host/base/loop.h"
#include "host/plugin/child.h"
#include "host/plugin/confine.h"
#include "host/plugin/instance.h"
#include "host/plugin/pipe.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/base/banned.h"

#define SOCKET_FD 3
#define PLUGIN_FD 4
#define WORKERS   1u

typedef struct plughost {
  deai_loop *loop;
  deai_pipe *pipe;
  deai_loaded loaded;
  deai_instance *instance;
  const char *folder;
  uint64_t memory_max; /* 0 = none */
  bool landlock;
} plughost;

typedef struct log_line {
  plughost *host;
  deai_log_level level;
  char text[];
} log_line;

typedef struct number {
  plughost *host;
  uint64_t value;
  char name[];
} number;

static void log_task(void *user) {
  log_line *line = user;
  if (line->host->pipe != NULL)
    deai_link_log(deai_pipe_link(line->host->pipe), line->level, deai_str_of(line->text));
  free(line);
}

static void log_sink(void *user, deai_log_level level, const char *text) {
  plughost *host = user;
  size_t len = strnlen(text, 4000);
  log_line *line = malloc(sizeof *line + len + 1);
  if (line == NULL) return; /* without memory a line is what can be done without */
  line->host = host;
  line->level = level;
  memcpy(line->text, text, len);
  line->text[len] = 0;
  deai_loop_task(host->loop, log_task, line);
}

static void say(plughost *host, const char *topic, deai_bytes value) {
  if (host->pipe == NULL) return; /* what still waited when the host was gone */
  deai_link_update(deai_pipe_link(host->pipe), deai_str_of(topic), value);
}

static void say_pair(plughost *host, const char *topic, deai_str first, deai_bytes second) {
  uint8_t room[8192];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  deai_cbor_put_array(&writer, 2);
  deai_cbor_put_text(&writer, first);
  deai_cbor_put_raw(&writer, second);
  if (writer.status == DEAI_OK) say(host, topic, deai_bytes_of(room, writer.len));
}

static void say_refused(plughost *host, const char *why) {
  uint8_t room[DEAI_ERR_CAP + 16];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  deai_cbor_put_text(&writer, deai_str_of(why));
  if (writer.status == DEAI_OK) say(host, "refused", deai_bytes_of(room, writer.len));
}

/* ---- what the plug-in asks for ---- */

static deai_call *plugin_calls(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                               void *end_user) {
  plughost *host = user;
  deai_call *call = deai_call_new(host->loop, spec, ops, end_user);
  if (call == NULL) return NULL;
  int32_t status = deai_link_serve(deai_pipe_link(host->pipe), call);
  if (status != DEAI_OK) deai_call_fail(call, status, "%s", deai_status_text(status));
  return call;
}

static void plugin_describes(void *user, const char *plugin, deai_str service, deai_bytes offer) {
  (void)plugin;
  say_pair(user, "describe", service, offer);
}

static void number_task(void *user) {
  number *item = user;
  uint8_t room[16];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  deai_cbor_put_uint(&writer, item->value);
  say_pair(item->host, "count", deai_str_of(item->name), deai_bytes_of(room, writer.len));
  free(item);
}

static void plugin_counts(void *user, const char *plugin, const char *name, uint64_t value) {
  (void)plugin;
  plughost *host = user;
  size_t len = strnlen(name, DEAI_NAME_MAX);
  number *item = malloc(sizeof *item + len + 1);
  if (item == NULL) return;
  item->host = host;
  item->value = value;
  memcpy(item->name, name, len);
  item->name[len] = 0;
  deai_loop_task(host->loop, number_task, item);
}

static const deai_instance_ops instance_ops = {
    .open = plugin_calls,
    .describe = plugin_describes,
    .count = plugin_counts,
};

/* ---- what the host says ---- */

static deai_call *host_calls(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                             void *end_user) {
  plughost *host = user;
  deai_call *call = deai_call_new(host->loop, spec, ops, end_user);
  if (call == NULL) return NULL;
  int32_t status =
      host->instance == NULL ? DEAI_EPLUGIN_DIED : deai_instance_serve(host->instance, call);
  if (status != DEAI_OK) deai_call_fail(call, status, "%s", deai_status_text(status));
  return call;
}

/* memory_hint adds to err how much memory this process may have, when it may be what is missing:
   the C library says "memory" or "map segment" then, and some plug-ins say nothing. */
static void memory_hint(const plughost *host, int32_t status, char *err, uint32_t err_cap) {
  const char *plugin = host->loaded.manifest.id;
  bool missing = status == DEAI_ENOMEM || err[0] == 0 || strstr(err, "memory") != NULL ||
                 strstr(err, "map segment") != NULL;
  if (err[0] == 0)
    (void)snprintf(err, err_cap, "%s: not started: %s", plugin, deai_status_text(status));
  size_t len = strlen(err);
  if (missing && host->memory_max > 0)
    (void)snprintf(err + len, err_cap - len,
                   "; plugins.%s.memory is %llu bytes: if that is too little, raise it in the "
                   "config or remove it",
                   plugin, (unsigned long long)host->memory_max);
}

static void plugin_begin(plughost *host, deai_bytes settings) {
  char err[DEAI_ERR_CAP] = "";
  deai_instance_options options = {.loop = host->loop,
                                   .loaded = &host->loaded,
                                   .settings = settings,
                                   .folder = host->folder,
                                   .ops = &instance_ops,
                                   .user = host};
  int32_t status = deai_loader_load(&host->loaded, err, sizeof err);
  if (status == DEAI_OK) {
    host->instance = deai_instance_new(&options, err, sizeof err);
    if (host->instance != NULL)
      status = deai_instance_start(host->instance, err, sizeof err);
    else
      status = err[0] == 0 ? DEAI_ENOMEM : DEAI_EINTERNAL;
  }
  uint8_t empty_map = 0xa0;
  if (status == DEAI_OK) {
    say(host, "started", deai_bytes_of(&empty_map, 1));
    return;
  }
  memory_hint(host, status, err, sizeof err);
  say_refused(host, err);
}

static void host_updates(void *user, deai_str topic, deai_bytes value) {
  plughost *host = user;
  if (deai_str_eq(topic, deai_str_of("settings"))) {
    if (host->instance == NULL) plugin_begin(host, value);
  } else if (host->instance != NULL) {
    deai_instance_update(host->instance, topic, value);
  }
}

static void host_beats(void *user) {
  plughost *host = user;
  deai_link_beat(deai_pipe_link(host->pipe));
}

static void host_stops(void *user) {
  plughost *host = user;
  deai_loop_stop(host->loop);
}

static void host_gone(void *user, const char *why) {
  plughost *host = user;
  deai_log_sink(NULL, NULL); /* the link is over: stderr is what is left */
  deai_log(DEAI_LEVEL_WARN, host->loaded.manifest.id, "the link to the host ended: %s", why);
  deai_loop_stop(host->loop);
}

static const deai_link_ops link_ops = {
    .open = host_calls,
    .update = host_updates,
    .beat = host_beats,
    .stop = host_stops,
    .closed = host_gone,
};

static bool needs_gpu(const deai_manifest *manifest) {
  for (uint32_t i = 0; i < manifest->devices.count; i++) {
    if (strcmp(manifest->devices.items[i], "gpu") == 0) return true;
  }
  return false;
}

/* memory_check returns DEAI_ENOMEM when there is no room for the link to the host. */
static int32_t memory_check(void) {
  void *room = mmap(NULL, DEAI_PIPE_MEMORY, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) return DEAI_ENOMEM;
  return munmap(room, DEAI_PIPE_MEMORY) == 0 ? DEAI_OK : DEAI_EIO;
}

static int32_t plughost_setup(plughost *host, char *err, uint32_t err_cap) {
  if (syscall(SYS_close_range, PLUGIN_FD + 1, ~0U, 0) != 0) return DEAI_EIO;
  int32_t status = deai_loader_adopt(&host->loaded, PLUGIN_FD, err, err_cap);
  if (status != DEAI_OK) return status;
  deai_confine_options confine = {.folder = host->folder,
                                  .plugin_fd = PLUGIN_FD,
                                  .memory_max = host->memory_max,
                                  .gpu = needs_gpu(&host->loaded.manifest)};
  status = deai_confine(&confine, &host->landlock);
  if (status != DEAI_OK) return deai_err(err, err_cap, status, "the child could not be confined");
  host->loop = deai_loop_new(deai_platform_system(), WORKERS);
  deai_link_options options = {.loop = host->loop,
                               .kind = DEAI_LINK_TO_HOST,
                               .dialled = false,
                               .caller_kind = DEAI_CALLER_PLUGIN,
                               .caller_class = DEAI_CLASS_LOCAL,
                               .lost_status = DEAI_EPEER_LOST,
                               .lost_why = "the host is gone"};
  if (host->loop == NULL) return DEAI_ENOMEM;
  status = memory_check();
  if (status != DEAI_OK) return status;
  host->pipe = deai_pipe_new(SOCKET_FD, &options, &link_ops, host);
  return host->pipe == NULL ? DEAI_ENOMEM : DEAI_OK;
}

int main(int count, char **arguments) {
  char err[DEAI_ERR_CAP] = "";
  if (count != 3) {
    (void)fprintf(stderr,
                  "deai-plughost is started by deaid: expected its folder and memory cap\n");
    return 2;
  }
  plughost host = {
      .folder = arguments[1], .memory_max = strtoull(arguments[2], NULL, 10), .loaded.fd = -1};
  (void)signal(SIGPIPE, SIG_IGN);
  int32_t status = plughost_setup(&host, err, sizeof err);
  if (status != DEAI_OK) {
    if (status == DEAI_ENOMEM)
      deai_child_memory_text(host.loaded.manifest.id, host.memory_max, err, sizeof err);
    (void)fprintf(stderr, "deai-plughost: %s: %s\n", deai_status_name(status), err);
    return status == DEAI_ENOMEM ? DEAI_CHILD_NO_MEMORY : 1;
  }
  deai_log_sink(log_sink, &host);
  deai_log_setup(DEAI_LEVEL_DEBUG, 0);
  deai_hello_head hello = {.has = DEAI_HELLO_HAS_PLUGIN};
  hello.plugin.id = deai_str_of(host.loaded.manifest.id);
  hello.plugin.version = deai_str_of(host.loaded.manifest.version);
  deai_pipe_hello(host.pipe, &hello);
  deai_loop_run(host.loop);
  deai_instance_free(host.instance);
  deai_log_sink(NULL, NULL);
  deai_pipe *pipe = host.pipe;
  host.pipe = NULL;
  deai_pipe_free(pipe);
  deai_loop_drain(host.loop);
  deai_loop_free(host.loop);
  deai_loader_close(&host.loaded);
  return 0;
}
