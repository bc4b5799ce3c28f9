#include "child.h"

#include "deai/contracts/wire.h"
#include "host/base/assertion.h"
#include "host/base/log.h"
#include "host/plugin/pipe.h"

#include <event2/event.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/base/banned.h"

#define BACK_OFF_MIN_MS 500u
#define BACK_OFF_MAX_MS 60000u
#define DEATHS_SPAN_MS  600000u

typedef enum child_state {
  CHILD_STARTING,
  CHILD_RUNNING,
  CHILD_WAITING, /* for the back-off */
  CHILD_STOPPING,
  CHILD_STOPPED,
  CHILD_QUARANTINED
} child_state;

static const char *const state_names[] = {"starting", "running", "restarting",
                                          "stopping", "stopped", "quarantined"};

struct deai_child {
  deai_child_options options;
  deai_instance_ops ops;
  char *folder;
  char *plughost;
  uint8_t *settings;
  child_state state;
  pid_t pid;
  int pidfd;
  struct event *ended;
  deai_pipe *pipe;
  deai_timer *timer; /* start, beat, back-off and stop: one state, one timer */
  uint64_t answered_ns;
  uint64_t deaths_since_ns;
  uint32_t deaths;
  uint32_t restarts;
  uint64_t back_off_ms;
  uint64_t log_second;
  uint64_t log_lines; /* in that second */
  char reason[DEAI_ERR_CAP];
  deai_task_fn *stopped;
  void *stopped_user;
};

static const char *child_name(const deai_child *child) {
  return child->options.loaded->manifest.id;
}

static void ready_tell(deai_child *child, bool running) {
  if (child->options.ready != NULL)
    child->options.ready(child->options.user, child_name(child), running);
}

static void reason_set(deai_child *child, const char *why) {
  (void)snprintf(child->reason, sizeof child->reason, "%s", why);
}

static void child_kill(deai_child *child) {
  if (child->pid > 0) (void)kill(-child->pid, SIGKILL); /* its own process group */
}

static void link_over(void *user, const char *why) {
  deai_child *child = user;
  if (child->state == CHILD_STARTING || child->state == CHILD_RUNNING) {
    if (child->reason[0] == 0) reason_set(child, why);
    child_kill(child);
  }
}

/* ---- what the child says ---- */

static int32_t got_hello(void *user, const deai_hello_head *hello) {
  deai_child *child = user;
  const deai_manifest *manifest = &child->options.loaded->manifest;
  if ((hello->has & DEAI_HELLO_HAS_PLUGIN) == 0 ||
      !deai_str_eq(hello->plugin.id, deai_str_of(manifest->id)) ||
      !deai_str_eq(hello->plugin.version, deai_str_of(manifest->version))) {
    reason_set(child, "expected the plug-in of the manifest, found another");
    return DEAI_EVERSION;
  }
  deai_link *link = deai_pipe_link(child->pipe);
  uint8_t empty_map = 0xa0;
  deai_bytes settings = child->options.settings;
  if (settings.len == 0) settings = deai_bytes_of(&empty_map, 1);
  deai_link_update(link, deai_str_of("settings"), settings);
  return DEAI_OK;
}

static void got_text(deai_bytes value, char *out, uint32_t cap) {
  deai_cbor_reader reader = deai_cbor_reader_of(value);
  deai_cbor_item item;
  out[0] = 0;
  if (deai_cbor_next(&reader, &item) == DEAI_OK && item.kind == DEAI_CBOR_TEXT)
    (void)snprintf(out, cap, "%.*s", (int)(item.span.len < cap ? item.span.len : cap - 1),
                   (const char *)item.span.ptr);
}

static uint64_t silent_ms_of(const deai_child *child) {
  return child->options.silent_ms > 0 ? child->options.silent_ms : DEAI_CHILD_SILENT_MS;
}

/* beat_later arms the next beat: often enough that several fall into the silence allowed. */
static void beat_later(deai_child *child) {
  uint64_t beat_ms = silent_ms_of(child) / 3;
  deai_timer_set(child->timer, beat_ms < DEAI_CHILD_BEAT_MS ? beat_ms : DEAI_CHILD_BEAT_MS);
}

static void got_started(deai_child *child) {
  if (child->state != CHILD_STARTING) return;
  child->state = CHILD_RUNNING;
  child->answered_ns = deai_loop_now_ns(child->options.loop);
  beat_later(child);
  deai_log(DEAI_LEVEL_INFO, child_name(child), "running in process %d", (int)child->pid);
  ready_tell(child, true);
}

/* got_pair reads a list of a text and one more item. */
static bool got_pair(deai_bytes value, deai_str *name_out, deai_bytes *rest_out) {
  deai_cbor_reader reader = deai_cbor_reader_of(value);
  deai_cbor_item head;
  deai_cbor_item name;
  if (deai_cbor_next(&reader, &head) != DEAI_OK || head.kind != DEAI_CBOR_ARRAY || head.number != 2)
    return false;
  if (deai_cbor_next(&reader, &name) != DEAI_OK || name.kind != DEAI_CBOR_TEXT) return false;
  *name_out = (deai_str){(const char *)name.span.ptr, name.span.len};
  return deai_cbor_skip(&reader, rest_out) == DEAI_OK;
}

static void got_describe(deai_child *child, deai_bytes value) {
  deai_str service;
  deai_bytes offer;
  const deai_manifest *manifest = &child->options.loaded->manifest;
  if (child->ops.describe == NULL || !got_pair(value, &service, &offer)) return;
  for (uint32_t i = 0; i < manifest->offer_count; i++) {
    if (!deai_str_eq(deai_str_of(manifest->offers[i].id), service)) continue;
    child->ops.describe(child->options.user, manifest->id, service, offer);
    return;
  }
}

static void got_count(deai_child *child, deai_bytes value) {
  char name[DEAI_NAME_MAX + 1];
  deai_str key;
  deai_bytes rest;
  deai_cbor_item number;
  if (child->ops.count == NULL || !got_pair(value, &key, &rest) || key.len > DEAI_NAME_MAX) return;
  deai_cbor_reader reader = deai_cbor_reader_of(rest);
  if (deai_cbor_next(&reader, &number) != DEAI_OK || number.kind != DEAI_CBOR_UINT) return;
  (void)snprintf(name, sizeof name, "%.*s", (int)key.len, key.ptr);
  child->ops.count(child->options.user, child_name(child), name, number.number);
}

static void got_update(void *user, deai_str topic, deai_bytes value) {
  deai_child *child = user;
  if (deai_str_eq(topic, deai_str_of("started"))) {
    got_started(child);
  } else if (deai_str_eq(topic, deai_str_of("refused"))) {
    got_text(value, child->reason, sizeof child->reason);
    child_kill(child);
  } else if (deai_str_eq(topic, deai_str_of("describe"))) {
    got_describe(child, value);
  } else if (deai_str_eq(topic, deai_str_of("count"))) {
    got_count(child, value);
  }
}

/* log_left_out tells, once its second is over, how much of a flood was not written. */
static void log_left_out(deai_child *child) {
  if (child->log_lines > DEAI_CHILD_LOG_LINES_MAX)
    deai_log(DEAI_LEVEL_WARN, child_name(child),
             "expected at most %u lines of log a second, found %llu: %llu were left out",
             DEAI_CHILD_LOG_LINES_MAX, (unsigned long long)child->log_lines,
             (unsigned long long)(child->log_lines - DEAI_CHILD_LOG_LINES_MAX));
  child->log_lines = 0;
}

static void log_turn(deai_child *child) {
  uint64_t second = deai_loop_now_ns(child->options.loop) / UINT64_C(1000000000);
  if (second != child->log_second) log_left_out(child);
  child->log_second = second;
}

static void got_log(void *user, uint64_t level, deai_str text) {
  deai_child *child = user;
  log_turn(child);
  if (++child->log_lines > DEAI_CHILD_LOG_LINES_MAX) return;
  deai_log(level > DEAI_LEVEL_DEBUG ? DEAI_LEVEL_DEBUG : (deai_log_level)level, child_name(child),
           "%.*s", (int)text.len, text.ptr);
}

static void got_beat(void *user) {
  deai_child *child = user;
  log_turn(child);
  child->answered_ns = deai_loop_now_ns(child->options.loop);
}

/* got_call checks that the manifest allows a call the child makes, then opens it. */
static deai_call *got_call(void *user, const deai_call_spec *given, const deai_end_ops *ops,
                           void *end_user) {
  deai_child *child = user;
  const deai_manifest *manifest = &child->options.loaded->manifest;
  deai_call_spec spec = *given;
  spec.caller_kind = DEAI_CALLER_PLUGIN;
  spec.caller_id = deai_bytes_of(manifest->id, strlen(manifest->id));
  bool own = deai_str_eq(spec.service, deai_str_of(DEAI_HOST_SERVICE)) ||
             (deai_str_eq(spec.service, deai_str_of("deai.ledger/1-draft")) &&
              deai_str_eq(spec.method, deai_str_of("query")));
  if (own || deai_manifest_needs(manifest, spec.service))
    return child->ops.open(child->options.user, &spec, ops, end_user);
  deai_call *call = deai_call_new(child->options.loop, &spec, ops, end_user);
  if (call != NULL)
    deai_call_fail(call, DEAI_EDENIED,
                   "expected a service that the manifest needs, found %.*s; add it to \"needs\"",
                   (int)spec.service.len, spec.service.ptr);
  return call;
}

static const deai_link_ops child_link_ops = {
    .open = got_call,
    .hello = got_hello,
    .update = got_update,
    .log = got_log,
    .beat = got_beat,
    .closed = link_over,
};

/* ---- the process ---- */

static int32_t spawn_process(deai_child *child, int socket_fd) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  char memory[32];
  char shader_cache[4200];
  (void)snprintf(memory, sizeof memory, "%llu", (unsigned long long)child->options.memory_max);
  (void)snprintf(shader_cache, sizeof shader_cache, "MESA_SHADER_CACHE_DIR=%s", child->folder);
  char *arguments[] = {child->plughost, child->folder, memory, NULL};
  char language[] = "LANG=C.UTF-8";
  char *environment[] = {language, shader_cache, NULL, NULL, NULL};
  char sanitizer[512];
  if (getenv("ASAN_OPTIONS") != NULL) { /* a test build keeps its checks in the child */
    (void)snprintf(sanitizer, sizeof sanitizer, "ASAN_OPTIONS=%s", getenv("ASAN_OPTIONS"));
    environment[2] = sanitizer;
  }
  /* above the targets, so that one dup2 cannot overwrite what the next one needs */
  int socket_copy = fcntl(socket_fd, F_DUPFD_CLOEXEC, 5);
  int plugin_copy = fcntl(child->options.loaded->fd, F_DUPFD_CLOEXEC, 5);
  (void)posix_spawn_file_actions_init(&actions);
  (void)posix_spawnattr_init(&attributes);
  (void)posix_spawn_file_actions_adddup2(&actions, socket_copy, 3);
  (void)posix_spawn_file_actions_adddup2(&actions, plugin_copy, 4);
  (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  (void)posix_spawnattr_setpgroup(&attributes, 0);
  int failed =
      posix_spawn(&child->pid, child->plughost, &actions, &attributes, arguments, environment);
  (void)posix_spawn_file_actions_destroy(&actions);
  (void)posix_spawnattr_destroy(&attributes);
  if (socket_copy >= 0) (void)close(socket_copy);
  if (plugin_copy >= 0) (void)close(plugin_copy);
  if (failed != 0) {
    child->pid = 0;
    (void)snprintf(child->reason, sizeof child->reason, "%s: %s", child->plughost,
                   strerror(failed));
    return DEAI_EIO;
  }
  return DEAI_OK;
}

void deai_child_memory_text(const char *plugin, uint64_t memory_max, char *out, uint32_t out_cap) {
  if (memory_max > 0)
    (void)snprintf(out, out_cap,
                   "expected a memory limit in which %s can start, found %llu bytes; raise "
                   "plugins.%s.memory in the config or remove it",
                   plugin, (unsigned long long)memory_max, plugin);
  else
    (void)snprintf(out, out_cap,
                   "expected memory for the process of %s, found none left on this machine; free "
                   "some",
                   plugin);
}

static void child_died(deai_child *child);

/* ended_text says how the process ended, `how` as waitpid gives it. */
static void ended_text(const deai_child *child, int how, char *out, uint32_t out_cap) {
  bool early = child->state == CHILD_STARTING && !deai_link_ready(deai_pipe_link(child->pipe));
  if (WIFSIGNALED(how))
    (void)snprintf(out, out_cap, "ended by signal %d (%s)", WTERMSIG(how),
                   strsignal(WTERMSIG(how)));
  else if (early && WEXITSTATUS(how) == DEAI_CHILD_NO_MEMORY)
    deai_child_memory_text(child_name(child), child->options.memory_max, out, out_cap);
  else
    (void)snprintf(out, out_cap, "ended with exit code %d", WEXITSTATUS(how));
}

static void on_ended(evutil_socket_t fd, short what, void *user) {
  (void)fd, (void)what;
  deai_child *child = user;
  int how = 0;
  if (waitpid(child->pid, &how, WNOHANG) != child->pid) return;
  (void)kill(-child->pid, SIGKILL); /* what it may have left behind */
  child->pid = 0;
  char text[DEAI_ERR_CAP];
  ended_text(child, how, text, sizeof text);
  bool unexplained = child->reason[0] == 0 || strcmp(child->reason, "the process ended") == 0;
  if (unexplained && child->state != CHILD_STOPPING) reason_set(child, text);
  child_died(child);
}

static int32_t child_start(deai_child *child) {
  int pair[2];
  child->state = CHILD_STARTING;
  child->reason[0] = 0;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    reason_set(child, strerror(errno));
    return DEAI_EIO;
  }
  deai_link_options options = {.loop = child->options.loop,
                               .kind = DEAI_LINK_TO_CHILD,
                               .dialled = true,
                               .caller_kind = DEAI_CALLER_PLUGIN,
                               .caller_class = DEAI_CLASS_LOCAL,
                               .lost_status = DEAI_EPLUGIN_DIED,
                               .lost_why = "the plug-in's process ended; it is started again"};
  child->pipe = deai_pipe_new(pair[0], &options, &child_link_ops, child);
  int32_t status = child->pipe == NULL ? DEAI_ENOMEM : spawn_process(child, pair[1]);
  (void)close(pair[1]);
  if (status != DEAI_OK) return status;
  child->pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
  child->ended = event_new(deai_loop_base(child->options.loop), child->pidfd, EV_READ | EV_PERSIST,
                           on_ended, child);
  if (child->pidfd < 0 || child->ended == NULL || event_add(child->ended, NULL) != 0) {
    child_kill(child);
    (void)waitpid(child->pid, NULL, 0);
    child->pid = 0;
    return DEAI_EIO;
  }
  deai_hello_head hello = {0};
  deai_pipe_hello(child->pipe, &hello);
  deai_timer_set(child->timer, DEAI_CHILD_START_MS);
  return DEAI_OK;
}

static void child_clear(deai_child *child) {
  deai_pipe_free(child->pipe);
  child->pipe = NULL;
  if (child->ended != NULL) event_free(child->ended);
  child->ended = NULL;
  if (child->pidfd >= 0) (void)close(child->pidfd);
  child->pidfd = -1;
}

static void child_died(deai_child *child) {
  bool was_running = child->state == CHILD_RUNNING;
  bool stopping = child->state == CHILD_STOPPING;
  child->state = stopping ? CHILD_STOPPED : CHILD_WAITING;
  child_clear(child);
  deai_timer_clear(child->timer);
  if (was_running) ready_tell(child, false);
  if (stopping) {
    if (child->stopped != NULL) child->stopped(child->stopped_user);
    return;
  }
  uint64_t now_ns = deai_loop_now_ns(child->options.loop);
  uint64_t span_ns = (uint64_t)DEATHS_SPAN_MS * 1000000;
  if (child->deaths == 0 || now_ns - child->deaths_since_ns > span_ns) {
    child->deaths = 0;
    child->deaths_since_ns = now_ns;
    child->back_off_ms = BACK_OFF_MIN_MS;
  }
  if (++child->deaths >= DEAI_CHILD_DEATHS_MAX) {
    child->state = CHILD_QUARANTINED;
    deai_log(DEAI_LEVEL_ERROR, child_name(child), "quarantined after %u deaths: %s", child->deaths,
             child->reason);
    return;
  }
  deai_log(DEAI_LEVEL_WARN, child_name(child), "%s; started again in %llu ms", child->reason,
           (unsigned long long)child->back_off_ms);
  deai_timer_set(child->timer, child->back_off_ms);
  child->back_off_ms =
      child->back_off_ms * 2 < BACK_OFF_MAX_MS ? child->back_off_ms * 2 : BACK_OFF_MAX_MS;
}

static void child_beat(deai_child *child) {
  uint64_t silence_ns = deai_loop_now_ns(child->options.loop) - child->answered_ns;
  if (silence_ns > silent_ms_of(child) * UINT64_C(1000000)) {
    (void)snprintf(child->reason, sizeof child->reason, "hangs: no heartbeat for %llu ms",
                   (unsigned long long)(silence_ns / UINT64_C(1000000)));
    child_kill(child);
    return;
  }
  deai_link_beat(deai_pipe_link(child->pipe));
  beat_later(child);
}

static void on_timer(void *user) {
  deai_child *child = user;
  if (child->state == CHILD_RUNNING) {
    child_beat(child);
  } else if (child->state == CHILD_STARTING) {
    reason_set(child, "did not start in 30 s");
    child_kill(child);
  } else if (child->state == CHILD_WAITING) {
    child->restarts++;
    if (child_start(child) != DEAI_OK) child_died(child);
  } else if (child->state == CHILD_STOPPING) {
    child_kill(child);
  }
}

deai_child *deai_child_new(const deai_child_options *options) {
  deai_child *child = calloc(1, sizeof *child);
  if (child == NULL) return NULL;
  child->options = *options;
  child->ops = *options->ops;
  child->folder = strdup(options->folder);
  child->plughost = strdup(options->plughost);
  child->settings = malloc((size_t)options->settings.len + 1);
  child->timer = deai_timer_new(options->loop, on_timer, child);
  child->pidfd = -1;
  child->back_off_ms = BACK_OFF_MIN_MS;
  if (child->folder == NULL || child->plughost == NULL || child->settings == NULL ||
      child->timer == NULL) {
    deai_child_free(child);
    return NULL;
  }
  if (options->settings.len > 0)
    memcpy(child->settings, options->settings.ptr, (size_t)options->settings.len);
  child->options.settings = deai_bytes_of(child->settings, options->settings.len);
  if (child_start(child) != DEAI_OK) child_died(child);
  return child;
}

int32_t deai_child_serve(deai_child *child, deai_call *call) {
  if (child->state != CHILD_RUNNING) return DEAI_EPLUGIN_DIED;
  return deai_link_serve(deai_pipe_link(child->pipe), call);
}

void deai_child_update(deai_child *child, deai_str topic, deai_bytes value) {
  const deai_manifest_list *topics = &child->options.loaded->manifest.topics;
  if (child->state != CHILD_RUNNING) return;
  for (uint32_t i = 0; i < topics->count; i++) {
    if (!deai_str_eq(deai_str_of(topics->items[i]), topic)) continue;
    deai_link_update(deai_pipe_link(child->pipe), topic, value);
    return;
  }
}

const char *deai_child_state(const deai_child *child) {
  return state_names[child->state];
}

const char *deai_child_reason(const deai_child *child) {
  return child->reason;
}

uint32_t deai_child_restarts(const deai_child *child) {
  return child->restarts;
}

int deai_child_pid(const deai_child *child) {
  return (int)child->pid;
}

void deai_child_stop(deai_child *child, deai_task_fn *stopped, void *user) {
  child->stopped = stopped;
  child->stopped_user = user;
  if (child->pid == 0) {
    child->state = CHILD_STOPPED;
    deai_timer_clear(child->timer);
    if (stopped != NULL) deai_loop_task(child->options.loop, stopped, user);
    return;
  }
  child->state = CHILD_STOPPING;
  if (deai_link_ready(deai_pipe_link(child->pipe)))
    deai_link_stop(deai_pipe_link(child->pipe));
  else
    child_kill(child);
  deai_timer_set(child->timer, DEAI_CHILD_STOP_MS);
}

void deai_child_free(deai_child *child) {
  if (child == NULL) return;
  if (child->pid > 0) {
    child_kill(child);
    (void)waitpid(child->pid, NULL, 0);
  }
  child_clear(child);
  deai_timer_free(child->timer);
  free(child->folder);
  free(child->plughost);
  free(child->settings);
  free(child);
}
