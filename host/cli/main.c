/* deai is the command line of a node. */
#include "host/base/log.h"
#include "host/cli/cli.h"

#include <signal.h>
#include <stdlib.h>

#include "host/base/banned.h"

typedef struct command {
  const char *name;
  cli_command *run;
  const char *about;
} command;

static const command commands[] = {
    {"init", cli_init, "make a data folder: keys, a network of its own, a config"},
    {"up", cli_up, "run the node (-d: in the background)"},
    {"down", cli_down, "stop it: requests that run may end"},
    {"status", cli_status, "what runs, and what does not and why"},
    {"ask", cli_ask, "ask the network: deai ask \"How do bees fly?\""},
    {"verify", cli_verify, "recompute an answer from its job file"},
    {"model", cli_model, "add FILE|CID, list, rm"},
    {"store", cli_store, "add, get, list, pin, unpin, stat, fetch, verify"},
    {"plugin", cli_plugin, "list, show NAME"},
    {"invite", cli_invite, "a one-time code for another node"},
    {"join", cli_join, "join a network: deai join CODE"},
    {"member", cli_member, "list, rm NAME"},
    {"wallet", cli_wallet, "show, history, claim, close, send ACCOUNT COINS"},
    {"key", cli_key, "add NAME, list, rm NAME: API keys of the HTTP port"},
    {"ledger", cli_ledger, "status, verify, show, verdict"},
};

static const char options_text[] =
    "\nOptions, before or after the command:\n"
    "  --data DIR       data folder (default $DEAI_DATA, else ~/.deai)\n"
    "  --json           answers as JSON     --quiet   no remarks on stderr\n"
    "  --timeout SECS   give up after that  --help    help of a command\n"
    "Exit codes: 0 done, 1 failed, 2 usage, 3 config, 4 no node, 5 not found, 6 denied, 7 no\n"
    "provider, 8 money, 9 verification, 10 timeout, 11 partly done, 12 degraded, 13 folder in "
    "use,\n"
    "14 upgrade.\n";

static void help(FILE *out) {
  (void)fprintf(out, "deai %s: one AI network from the machines of a group\n\n", DEAI_VERSION);
  for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
    (void)fprintf(out, "  deai %-8s %s\n", commands[i].name, commands[i].about);
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

int main(int count, char **arguments) {
  deai_log_setup(DEAI_LEVEL_WARN, 0);
  (void)signal(SIGPIPE, SIG_IGN); /* a node that is gone is an error, not an end */
  cli line = {.count = count - 1, .words = arguments + 1};
  line.json = cli_flag(&line, "--json");
  line.quiet = cli_flag(&line, "--quiet");
  const char *seconds = cli_option(&line, "--timeout");
  if (seconds != NULL) line.time_ms = strtoull(seconds, NULL, 10) * 1000;
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
