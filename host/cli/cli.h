#ifndef DEAI_HOST_CLI_CLI_H
#define DEAI_HOST_CLI_CLI_H

#include "deai/codec.h"
#include "host/cli/client.h"

#include <jansson.h>
#include <stdio.h>

/* The command line `deai`: nouns first, verbs second, the same verbs everywhere. What a command
   answers goes to stdout, what it says about it to stderr.

   Threads     one, the program's own
   Exit codes  0 done · 1 failed · 2 usage · 3 config invalid · 4 node not reachable · 5 not found ·
               6 denied · 7 no node can serve it · 8 money · 9 verification failed · 10 timeout ·
               11 partly done · 12 degraded · 13 data folder in use · 14 upgrade needed; 4, 7, 10
               and 11 may be retried */

#define CLI_EXIT_USAGE    2
#define CLI_EXIT_CONFIG   3
#define CLI_EXIT_NO_NODE  4
#define CLI_EXIT_WRONG    9
#define CLI_EXIT_PARTLY   11
#define CLI_EXIT_DEGRADED 12
#define CLI_HEX_KEY       (2 * DEAI_KEY_BYTES + 1)

typedef struct cli {
  char data[3900];  /* --data, $DEAI_DATA or ~/.deai */
  bool json;        /* --json */
  bool quiet;       /* --quiet */
  uint64_t time_ms; /* --timeout, 0 = the command's own */
  int count;        /* words after the options */
  char **words;
} cli;

/* A command: words[0] is its verb or first argument. Returns the exit code. */
typedef int cli_command(cli *line);

cli_command cli_init;
cli_command cli_up;
cli_command cli_down;
cli_command cli_status;
cli_command cli_plugin;
cli_command cli_ask;
cli_command cli_verify;
cli_command cli_store;
cli_command cli_model;
cli_command cli_ledger;
cli_command cli_invite;
cli_command cli_join;
cli_command cli_member;
cli_command cli_wallet;
cli_command cli_wallet_send; /* words: send ACCOUNT COINS */
cli_command cli_key;
cli_command cli_leave;
cli_command cli_doctor;
cli_command cli_bench;

/* cli_fail prints why to stderr and returns the exit code of status. */
int cli_fail(int32_t status, const char *why);

/* cli_usage prints what the command takes and returns CLI_EXIT_USAGE. */
int cli_usage(const char *text);

/* cli_connect opens the node's socket; NULL after printing why (exit code 4). */
deai_client *cli_connect(const cli *line);

/* cli_json runs a method of the node that answers JSON; NULL after printing why, *code_out set. */
json_t *cli_json(const cli *line, const char *service, const char *method, int *code_out);

/* cli_json_body is cli_json with a JSON text as the request. */
json_t *cli_json_body(const cli *line, const char *service, const char *method, const char *body,
                      int *code_out);

/* cli_number reads a decimal number of at most `most`; false when text is none. */
bool cli_number(const char *text, uint64_t most, uint64_t *out);

/* cli_unit_read reads "10m" (duration, ms) or "1.5" (coins); false when text is neither. */
bool cli_unit_read(const char *text, const char *format, uint64_t *out);

/* cli_unit is cli_unit_read that says what is wrong: 0, or 2 after printing it. */
int cli_unit(const char *text, const char *format, uint64_t *out);

/* cli_write_config writes DATA/deai.yaml from the options of init and join; an exit code. */
int cli_write_config(cli *line, const char *name);

/* cli_option takes "--name VALUE" out of the words; NULL when it is not there. */
const char *cli_option(cli *line, const char *name);

/* cli_flag takes "--name" out of the words. */
bool cli_flag(cli *line, const char *name);

/* cli_hex writes bytes in lower-case hex; out takes 2 len + 1. */
void cli_hex(deai_bytes bytes, char *out);

/* cli_members returns the members of the network, [{name, role, key, hex, owner}]; NULL after
   printing why, *code_out set. */
json_t *cli_members(const cli *line, int *code_out);

/* cli_member_name returns the name of the member with this key in hex, or "". */
const char *cli_member_name(const json_t *members, const char *hex);

/* cli_member_find writes the key in hex of the one member with that name, or whose key (base32 or
   hex) begins with text. An exit code, after printing why. */
int cli_member_find(const json_t *members, const char *text, char hex_out[CLI_HEX_KEY]);

/* cli_stop stops the node of the data folder and waits until it is gone; an exit code. */
int cli_stop(const cli *line);

/* What cli_ask_timed measured. */
typedef struct cli_timed {
  uint64_t tokens;
  uint64_t first_ms;
  uint64_t rate10; /* tokens a second, times 10, from the first to the last token */
  char model[DEAI_NAME_MAX * 2 + 1];
} cli_timed;

/* cli_ask_timed asks the node with the key hex for `most` tokens of model (a name or CID) and
   throws the answer away; nobody audits it. An exit code, after printing why. */
int cli_ask_timed(const cli *line, const char *model, const char *hex, uint64_t most,
                  cli_timed *out);

/* cli_http asks a plug-in of this node for path, as an application would over HTTP, and returns the
   JSON of its answer; NULL after printing why, *code_out set. */
json_t *cli_http(const cli *line, const char *plugin, const char *path, int *code_out);

/* cli_sign_submit signs one operation with the wallet key, submits it and prints the block. */
int cli_sign_submit(const cli *line, const char *module, const char *type, const deai_table *table,
                    const void *body);

/* cli_cid_text writes the CIDv1 in base32 of a binary CID. */
void cli_cid_text(deai_bytes cid, char *out, size_t cap);

/* cli_cid_read reads such a text; the length, or 0 when it is none. */
uint64_t cli_cid_read(const char *text, uint8_t *out, uint64_t cap);

/* cli_add adds a file to the node's blocks and shows progress; the binary CID goes to cid, its
   length to *cid_len. Returns an exit code. */
int cli_add(const cli *line, deai_client *client, const char *path, bool pin, uint8_t *cid,
            uint64_t *cid_len, uint64_t *size_out);

#endif
