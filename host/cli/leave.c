#include "cli.h"

#include "deai/contracts/ledger.h"
#include "host/base/base32.h"

#include <inttypes.h>
#include <unistd.h>

#include "host/base/banned.h"

#define NODE_SERVICE "deai.node/1-draft"

static const char help[] =
    "deai leave [--yes]\n"
    "  takes this node out of its network: claims what it is owed, removes it from the members "
    "with\n"
    "  its wallet key, and stops it. The data folder stays: keys, wallet, ledger and blocks.\n"
    "  --yes  does not ask first\n";

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text != NULL ? text : "";
}

/* agreed asks on the terminal. */
static bool agreed(const cli *line, const char *name) {
  char answer[16] = "";
  if (!isatty(0)) {
    (void)cli_usage("deai: expected --yes, or a terminal to ask on: leaving is for good\n");
    return false;
  }
  (void)fprintf(stderr, "take %s out of its network, and stop it? %s stays. [y/N] ", name,
                line->data);
  return fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
}

/* claim_owed gets what receipts come to while this node is still heard; that it cannot is no reason
   to stay. */
static void claim_owed(const cli *line) {
  int code = 0;
  json_t *wallet = cli_json_body(line, NODE_SERVICE, "wallet", "{}", &code);
  json_int_t owed = json_integer_value(json_object_get(wallet, "owed"));
  json_decref(wallet);
  if (owed <= 0) return;
  json_t *claimed = cli_json_body(line, NODE_SERVICE, "claim", "{}", &code);
  uint64_t amount = (uint64_t)json_integer_value(json_object_get(claimed, "amount"));
  if (!line->quiet)
    (void)fprintf(stderr, "claimed %" PRIu64 ".%09" PRIu64 " coins\n", amount / DEAI_COIN,
                  amount % DEAI_COIN);
  json_decref(claimed);
}

static int remove_self(const cli *line, const json_t *status) {
  uint64_t len = 0;
  deai_op_member_rm body;
  if (deai_base32_get(deai_str_of(text_of(status, "key")), (deai_buf){body.node, DEAI_KEY_BYTES},
                      &len) != DEAI_OK ||
      len != DEAI_KEY_BYTES)
    return cli_fail(DEAI_EINTERNAL, "malformed answer");
  return cli_sign_submit(line, "registry/1", "member_rm", &deai_op_member_rm_table, &body);
}

int cli_leave(cli *line) {
  int code = 0;
  if (cli_flag(line, "--help")) return cli_usage(help) * 0;
  bool yes = cli_flag(line, "--yes");
  if (line->count > 0) return cli_usage(help);
  json_t *status = cli_json(line, NODE_SERVICE, "status", &code);
  if (status == NULL) return code;
  if (strcmp(text_of(json_object_get(status, "ledger"), "engine"), "local") == 0)
    code = cli_fail(DEAI_EDENIED,
                    "expected a node that follows the ledger, found the one that orders it: "
                    "without it no member can be paid, added or removed; deai down stops it, and "
                    "each member may deai leave");
  else if (!yes && !agreed(line, text_of(status, "name")))
    code = CLI_EXIT_USAGE;
  if (code == 0) {
    claim_owed(line);
    code = remove_self(line, status);
  }
  if (code == 0) code = cli_stop(line);
  if (code == 0 && !line->quiet)
    (void)printf("left the network; kept %s with the keys of its wallet: remove the folder only "
                 "when nothing is held for it any more\n",
                 line->data);
  json_decref(status);
  return code;
}
