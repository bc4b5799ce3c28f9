/* deai is the command line of a node. */
#include "host/base/log.h"
#include "host/cli/cli.h"

#include <signal.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define TIMEOUT_MAX_S 86400u

typedef struct command {
  const char *name;
  cli_command *run;
  const char *usage; /* NULL: told on the line of another one */
  const char *about;
} command;

static const command commands[] = {
    {"init", cli_init, "init", "make a data folder: keys, a network of its own, a config"},
    {"up", cli_up, "up | down", "run the node (-d: in the background); stop it, requests may end"},
    {"down", cli_down, NULL, NULL},
    {"status", cli_status, "status", "what runs, and what does not and why"},
    {"doctor", cli_doctor, "doctor | bench", "what is wrong and its fix; how fast this node is"},
    {"bench", cli_bench, NULL, NULL},
    {"ask", cli_ask, "ask TEXT", "ask the network: deai ask \"How do bees fly?\""},
    {"verify", cli_verify, "verify FILE", "recompute an answer from its job file"},
    {"model", cli_model, "model", "add FILE|CID, list, show CID|NAME, rm CID"},
    {"store", cli_store, "store", "add, get, list, pin, unpin, stat, fetch, verify, gc"},
    {"plugin", cli_plugin, "plugin", "list, show NAME"},
    {"invite", cli_invite, "invite | join CODE", "a one-time code for another node; join with it"},
    {"join", cli_join, NULL, NULL},
    {"leave", cli_leave, "leave", "take this node out of its network"},
    {"member", cli_member, "member", "list, rm NAME"},
    {"wallet", cli_wallet, "wallet", "show, history, claim, close, send ACCOUNT COINS"},
    {"key", cli_key, "key", "add NAME, list, rm NAME: API keys of the HTTP port"},
    {"ledger", cli_ledger, "ledger", "status, verify, show, verdict"},
};

static const char options_text[] =
    "Options, before or after the command:\n"
    "  --data DIR      data folder (default $DEAI_DATA, else ~/.deai)   --json   answers as JSON\n"
    "  --timeout 30    give up after that many seconds; or 500ms, 5m    --quiet  no remarks\n"
    "  --help          help of a command\n"
    "Exit codes: 0 done, 1 failed, 2 usage, 3 config, 4 no node, 5 not found, 6 denied, 7 no "
    "provider,\n"
    "8 money, 9 verification, 10 timeout, 11 partly done, 12 degraded, 13 folder in use, 14 "
    "upgrade.\n";

static void help(FILE *out) {
  (void)fprintf(out, "deai %s: one AI network from the machines of a group\n", DEAI_VERSION);
  for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
    if (commands[i].usage != NULL)
      (void)fprintf(out, "  deai %-18s  %s\n", commands[i].usage, commands[i].about);
  (void)fputs(options_text, out);
}

static int data_folder(cli *line) {
  const char *given = cli_option(line, "--data");
  const char *home = getenv("HOME");
  int len = 0;
  if (given == NULL) given = getenv("DEAI_DATA");
  if (given != NULL && given[0] == '/')
    len = snprintf(line->data, sizeof line->data, "%s", given);
  else if (given != NULL) {
    char *absolute = realpath(".", NULL);
    len =
        snprintf(line->data, sizeof line->data, "%s/%s", absolute != NULL ? absolute : ".", given);
    free(absolute);
  } else
    len = snprintf(line->data, sizeof line->data, "%s/.deai", home != NULL ? home : "/root");
  return len > 0 && (size_t)len < sizeof line->data
             ? 0
             : cli_fail(DEAI_ETOOLARGE, "--data is too long");
}

/* take_timeout reads --timeout: seconds, or a number with its unit. */
static int take_timeout(cli *line) {
  const char *text = cli_option(line, "--timeout");
  if (text == NULL) return 0;
  uint64_t seconds = 0;
  bool plain = cli_number(text, TIMEOUT_MAX_S, &seconds);
  if (plain) line->time_ms = seconds * 1000;
  bool read = plain || cli_unit_read(text, "duration", &line->time_ms);
  if (read && line->time_ms > 0 && line->time_ms <= (uint64_t)TIMEOUT_MAX_S * 1000) return 0;
  (void)fprintf(stderr, "deai: --timeout: expected seconds like 30, or 500ms or 5m, found \"%s\"\n",
                text);
  return CLI_EXIT_USAGE;
}

int main(int count, char **arguments) {
  deai_log_setup(DEAI_LEVEL_WARN, 0);
  (void)signal(SIGPIPE, SIG_IGN); /* a node that is gone is an error, not an end */
  cli line = {.count = count - 1, .words = arguments + 1};
  line.json = cli_flag(&line, "--json");
  line.quiet = cli_flag(&line, "--quiet");
  if (take_timeout(&line) != 0) return CLI_EXIT_USAGE;
  if (data_folder(&line) != 0) return 2;
  if (line.count > 0 && strcmp(line.words[0], "--version") == 0) {
    (void)printf("deai %s\n", DEAI_VERSION);
    return 0;
  }
  if (line.count == 0 || strcmp(line.words[0], "--help") == 0) {
    help(line.count == 0 ? stderr : stdout);
    return line.count == 0 ? CLI_EXIT_USAGE : 0;
  }
  for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
    if (strcmp(line.words[0], commands[i].name) != 0) continue;
    line.words++;
    line.count--;
    return commands[i].run(&line);
  }
  (void)fprintf(stderr, "deai: expected a command, found \"%s\"; see deai --help\n", line.words[0]);
  return CLI_EXIT_USAGE;
}
