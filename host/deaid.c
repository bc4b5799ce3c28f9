/* deaid is the node: it loads plug-ins, routes calls, orders or follows the ledger, and speaks HTTP
   to applications. */
#include "host/base/file.h"
#include "host/base/log.h"
#include "host/node.h"

#include <event2/event.h>

#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "host/base/banned.h"

#define WORKERS     2u
#define EXIT_CONFIG 3
#define EXIT_LOCKED 13

static const char usage[] =
    "deaid: one node of a deai network\n"
    "\n"
    "  deaid --config FILE                 run (SIGTERM or SIGINT: drain and stop)\n"
    "  deaid --check-config FILE           check the config and all plug-ins' settings; runs no\n"
    "                                      plug-in code\n"
    "  deaid --dump-config FILE            print every effective value\n"
    "  deaid --version | --help\n"
    "\n"
    "Exit codes: 0 done, 1 failed, 2 usage, 3 config invalid, 13 data folder in use.\n";

static void on_signal(evutil_socket_t number, short what, void *user) {
  (void)number, (void)what;
  deai_node_stop(user);
}

/* plughost_path finds deai-plughost in the build tree, in the installed tree, or where the build
   meant it to be. */
static const char *plughost_path(char *out, size_t cap) {
  static const char *const near[] = {"deai-plughost", DEAI_LIBEXEC_NEAR "/deai-plughost"};
  if (deai_path_near(out, cap, near, 2) != DEAI_OK)
    (void)snprintf(out, cap, "%s/deai-plughost", DEAI_LIBEXEC_DIR);
  return out;
}

static void log_setup(const deai_config *config) {
  char level[17];
  (void)snprintf(level, sizeof level, "%.*s", (int)config->node.log.level.len,
                 config->node.log.level.ptr);
  int number = deai_log_level_of(level);
  deai_log_setup(number < 0 ? DEAI_LEVEL_INFO : (deai_log_level)number,
                 deai_str_eq(config->node.log.format, deai_str_of("json")));
}

static int run(deai_config *config) {
  char err[DEAI_ERR_CAP] = "";
  char plughost[PATH_MAX];
  deai_node node;
  deai_loop *loop = deai_loop_new(deai_platform_system(), WORKERS);
  if (loop == NULL) return 1;
  log_setup(config);
  (void)signal(SIGPIPE, SIG_IGN);
  (void)prctl(PR_SET_DUMPABLE, 0);
  int32_t status = deai_node_open(&node, loop, config, plughost_path(plughost, sizeof plughost),
                                  err, sizeof err);
  if (status == DEAI_OK) {
    struct event *term = evsignal_new(deai_loop_base(loop), SIGTERM, on_signal, &node);
    struct event *interrupt = evsignal_new(deai_loop_base(loop), SIGINT, on_signal, &node);
    if (term != NULL && interrupt != NULL) {
      (void)evsignal_add(term, NULL);
      (void)evsignal_add(interrupt, NULL);
      deai_log(DEAI_LEVEL_INFO, "node", "up: http port %u",
               node.http != NULL ? (unsigned)deai_http_port(node.http) : 0U);
      deai_loop_run(loop);
    }
    if (term != NULL) event_free(term);
    if (interrupt != NULL) event_free(interrupt);
  } else {
    deai_log(DEAI_LEVEL_ERROR, "node", "%s", err);
  }
  deai_node_close(&node);
  deai_loop_free(loop);
  if (status == DEAI_EBUSY) return EXIT_LOCKED;
  return status == DEAI_OK ? 0 : deai_status_exit(status);
}

int main(int count, char **arguments) {
  static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                          {"check-config", required_argument, NULL, 'k'},
                                          {"dump-config", required_argument, NULL, 'd'},
                                          {"version", no_argument, NULL, 'v'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
  char err[DEAI_ERR_CAP] = "";
  int what = getopt_long(count, arguments, "", options, NULL);
  if (what == 'v') {
    (void)printf("deaid %s\n", DEAI_VERSION);
    return 0;
  }
  if (what == 'h') {
    (void)fputs(usage, stdout);
    return 0;
  }
  if (what != 'c' && what != 'k' && what != 'd') {
    (void)fputs(usage, stderr);
    return 2;
  }
  deai_config *config = calloc(1, sizeof *config);
  if (config == NULL) return 1;
  int code = 0;
  if (deai_config_load(optarg, config, err, sizeof err) != DEAI_OK) {
    (void)fprintf(stderr, "deaid: %s\n", err);
    free(config);
    return EXIT_CONFIG;
  }
  if (what == 'c')
    code = run(config);
  else if (what == 'd')
    deai_config_print(config, stdout);
  else
    (void)printf("%s: ok, %u plug-ins\n", optarg, config->plugin_count);
  deai_config_free(config);
  free(config);
  return code;
}
