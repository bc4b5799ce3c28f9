#include "cli.h"

#include "host/base/file.h"
#include "host/base/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/base/banned.h"

#define NODE_SERVICE "deai.node/1-draft"
#define READY_MS     30000u

static const char up_help[] =
    "deai up [-d]\n"
    "  runs the node of the data folder; -d: in the background, returns when it is ready,\n"
    "  its log goes to DATA/deaid.log\n";

static void deaid_path(char *out, size_t cap) {
  static const char *const near[] = {"deaid"};
  if (deai_path_near(out, cap, near, 1) != DEAI_OK) (void)snprintf(out, cap, "deaid");
}

static pid_t start_behind(const char *program, char *config, const char *log) {
  pid_t pid = fork();
  if (pid != 0) return pid;
  int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
  int null = open("/dev/null", O_RDONLY);
  if (fd < 0 || null < 0 || setsid() < 0) _exit(127);
  (void)dup2(null, 0);
  (void)dup2(fd, 1);
  (void)dup2(fd, 2);
  (void)execlp(program, program, "--config", config, (char *)NULL);
  _exit(127);
}

/* plugins_ready asks the node which plug-ins run: 1 all, 0 not yet, -1 cannot be asked. */
static int plugins_ready(const cli *line) {
  char err[DEAI_ERR_CAP];
  deai_client *probe = deai_client_open(line->data, err, sizeof err);
  if (probe == NULL) return -1;
  deai_client_free(probe);
  int code = 0;
  json_t *list = cli_json(line, NODE_SERVICE, "plugins", &code);
  int ready = list != NULL;
  for (size_t i = 0; i < json_array_size(list); i++) {
    const char *state = json_string_value(json_object_get(json_array_get(list, i), "state"));
    if (state == NULL || strcmp(state, "starting") == 0 || strcmp(state, "restarting") == 0)
      ready = 0;
  }
  json_decref(list);
  return ready;
}

/* wait_ready waits for the node to answer, or to end. The folder's changes and the child's end are
   what it waits for; the clock only bounds it. */
static int wait_ready(const cli *line, pid_t pid) {
  const deai_platform *platform = deai_platform_system();
  uint64_t begin_ns = deai_now_ns(platform);
  int watch = inotify_init1(IN_CLOEXEC);
  if (watch >= 0) (void)inotify_add_watch(watch, line->data, IN_CREATE | IN_MODIFY | IN_MOVED_TO);
  int code = -1;
  while (code < 0 && deai_now_ns(platform) - begin_ns < (uint64_t)READY_MS * 1000000) {
    int how = 0;
    char events[4096];
    struct pollfd item = {.fd = watch, .events = POLLIN};
    if (waitpid(pid, &how, WNOHANG) == pid)
      code = WIFEXITED(how) ? WEXITSTATUS(how) : 1;
    else if (plugins_ready(line) == 1)
      code = 0;
    if (code < 0 && poll(&item, 1, 100) > 0 && read(watch, events, sizeof events) < 0) code = 1;
  }
  if (watch >= 0) (void)close(watch);
  return code < 0 ? 10 : code;
}

int cli_up(cli *line) {
  char program[PATH_MAX + 16];
  char config[4000];
  char log[4000];
  if (cli_flag(line, "--help")) return cli_usage(up_help) * 0;
  bool behind = cli_flag(line, "-d");
  if (line->count > 0) return cli_usage(up_help);
  deaid_path(program, sizeof program);
  (void)snprintf(config, sizeof config, "%s/deai.yaml", line->data);
  (void)snprintf(log, sizeof log, "%s/deaid.log", line->data);
  if (access(config, R_OK) != 0) {
    (void)fprintf(stderr, "deai: expected a config at %s: %s; make one: deai init\n", config,
                  strerror(errno));
    return CLI_EXIT_CONFIG;
  }
  if (!behind) {
    (void)execlp(program, program, "--config", config, (char *)NULL);
    (void)fprintf(stderr, "deai: %s: %s\n", program, strerror(errno));
    return 1;
  }
  pid_t pid = start_behind(program, config, log);
  if (pid < 0) return cli_fail(DEAI_EIO, strerror(errno));
  int code = wait_ready(line, pid);
  if (code != 0) {
    (void)fprintf(stderr, "deai: the node did not become ready; its log: %s\n", log);
    return code;
  }
  if (!line->quiet) (void)printf("up: process %d, log %s\n", (int)pid, log);
  return 0;
}

int cli_stop(const cli *line) {
  int code = 0;
  char path[4000];
  json_t *answer = cli_json(line, NODE_SERVICE, "stop", &code);
  if (answer == NULL) return code;
  json_decref(answer);
  (void)snprintf(path, sizeof path, "%s/lock", line->data);
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return cli_fail(DEAI_EIO, strerror(errno));
  int taken = flock(fd, LOCK_EX); /* free as soon as the node is gone */
  (void)close(fd);
  return taken == 0 ? 0 : cli_fail(DEAI_EIO, strerror(errno));
}

int cli_down(cli *line) {
  if (line->count > 0) return cli_usage("deai down\n  stops the node; requests may end first\n");
  return cli_stop(line);
}

static void print_plugin(json_t *row) {
  const char *id = "";
  const char *state = "";
  const char *reason = "";
  const char *isolation = "";
  const char *contained = "";
  int restarts = 0;
  if (json_unpack(row, "{s:s, s:s, s:s, s:s, s:s, s:i}", "id", &id, "state", &state, "reason",
                  &reason, "isolation", &isolation, "contained", &contained, "restarts",
                  &restarts) != 0)
    return;
  (void)printf("%-18s %-12s %-8s contained: %-6s %d restarts%s%s\n", id, state, isolation,
               contained, restarts, reason[0] != 0 ? "  " : "", reason);
}

static void print_plugins(json_t *list) {
  for (size_t i = 0; i < json_array_size(list); i++)
    print_plugin(json_array_get(list, i));
}

static bool degraded(json_t *list) {
  for (size_t i = 0; i < json_array_size(list); i++) {
    const char *state = json_string_value(json_object_get(json_array_get(list, i), "state"));
    if (state == NULL || strcmp(state, "running") != 0) return true;
  }
  return false;
}

static json_int_t count_of(const json_t *status, const char *name) {
  const json_t *counts = json_object_get(json_object_get(status, "counts"), "models/answer");
  return json_integer_value(json_object_get(counts, name));
}

/* audits_json sums up what the counters of models/answer say of audits. */
static json_t *audits_json(const json_t *status) {
  return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "answers", count_of(status, "answers"),
                   "equal", count_of(status, "audits_equal"), "unequal",
                   count_of(status, "audits_unequal"), "none", count_of(status, "audits_none"),
                   "no_second_provider", count_of(status, "audits_alone"), "objections",
                   count_of(status, "audits_objected"));
}

static void print_audits(const json_t *audits) {
  json_int_t equal = json_integer_value(json_object_get(audits, "equal"));
  json_int_t unequal = json_integer_value(json_object_get(audits, "unequal"));
  json_int_t none = json_integer_value(json_object_get(audits, "none"));
  json_int_t alone = json_integer_value(json_object_get(audits, "no_second_provider"));
  (void)printf("audits   %lld of %lld answers recomputed, %lld equal", (long long)(equal + unequal),
               (long long)json_integer_value(json_object_get(audits, "answers")), (long long)equal);
  if (unequal > 0)
    (void)printf(", %lld UNEQUAL, %lld objections on the ledger", (long long)unequal,
                 (long long)json_integer_value(json_object_get(audits, "objections")));
  if (alone > 0) (void)printf("; %lld not audited: no second provider", (long long)alone);
  if (none > alone) (void)printf("; %lld not audited: the log says why", (long long)(none - alone));
  (void)putchar('\n');
}

int cli_status(cli *line) {
  int code = 0;
  json_t *status = cli_json(line, NODE_SERVICE, "status", &code);
  if (status == NULL) return code;
  json_t *plugins = json_object_get(status, "plugins");
  json_t *audits = audits_json(status);
  (void)json_object_set_new(status, "audits", audits);
  if (line->json) {
    (void)json_dumpf(status, stdout, JSON_INDENT(2));
    (void)putchar('\n');
  } else {
    json_t *ledger = json_object_get(status, "ledger");
    (void)printf("%s  %.12s  deai %s  up %lld s%s\n",
                 json_string_value(json_object_get(status, "name")),
                 json_string_value(json_object_get(status, "key")),
                 json_string_value(json_object_get(status, "version")),
                 (long long)json_integer_value(json_object_get(status, "up_ms")) / 1000,
                 degraded(plugins) ? "  DEGRADED" : "");
    (void)printf("http 127.0.0.1:%lld   ledger %s   block %lld\n",
                 (long long)json_integer_value(json_object_get(status, "http_port")),
                 json_string_value(json_object_get(ledger, "engine")),
                 (long long)json_integer_value(json_object_get(ledger, "height")));
    print_plugins(plugins);
    if (json_integer_value(json_object_get(audits, "answers")) > 0) print_audits(audits);
    (void)printf("Prompts go to the node that works on them and, if drawn, to one auditor.\n");
  }
  code = degraded(plugins) ? CLI_EXIT_DEGRADED : 0;
  json_decref(status);
  return code;
}

static const char plugin_help[] = "deai plugin list | show NAME\n"
                                  "  the plug-ins of the node, their state and why\n";

int cli_plugin(cli *line) {
  int code = 0;
  bool show = line->count == 2 && strcmp(line->words[0], "show") == 0;
  if (!show && !(line->count == 1 && strcmp(line->words[0], "list") == 0))
    return cli_usage(plugin_help);
  json_t *list = cli_json(line, NODE_SERVICE, "plugins", &code);
  if (list == NULL) return code;
  bool found = !show;
  for (size_t i = 0; show && i < json_array_size(list); i++) {
    json_t *row = json_array_get(list, i);
    if (strcmp(json_string_value(json_object_get(row, "id")), line->words[1]) != 0) continue;
    found = true;
    (void)json_dumpf(row, stdout, JSON_INDENT(2));
    (void)putchar('\n');
  }
  if (!show && line->json)
    (void)json_dumpf(list, stdout, JSON_INDENT(2));
  else if (!show)
    print_plugins(list);
  json_decref(list);
  return found ? 0
               : cli_fail(DEAI_ENOTFOUND, "expected a plug-in of this node; see deai plugin list");
}
