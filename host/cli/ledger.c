#include "cli.h"
#include "chain.h"
#include "judge.h"

#include "host/base/sign.h"
#include "host/ledger/verify.h"

#include <inttypes.h>
#include <unistd.h>

#include "host/base/banned.h"

static const char help[] =
    "deai ledger status | show [HEIGHT|TXID|ACCOUNT] | verify [--rules] | verdict FILE\n"
    "  show prints a block (the last one), a transaction, or an account and what touched it.\n"
    "  verify reads the ledger's files of the data folder (no node needed): every block, root and\n"
    "  the supply equation; --rules runs all transactions again.\n"
    "  verdict recomputes the answer of a job file that was objected to, and decides over its "
    "price\n"
    "  with the wallet key of root (the first owner of the network).\n";

static int do_status(cli *line) {
  int code = 0;
  json_t *status = cli_json(line, "deai.node/1-draft", "status", &code);
  if (status == NULL) return code;
  (void)json_dumpf(json_object_get(status, "ledger"), stdout,
                   line->json ? JSON_COMPACT : JSON_INDENT(2));
  (void)putchar('\n');
  json_decref(status);
  return 0;
}

static void on_height(void *user, uint64_t height, uint64_t of) {
  (void)user;
  if (isatty(2) && (height % 256 == 0 || height == of))
    (void)fprintf(stderr, "\rblock %" PRIu64 " of %" PRIu64 "%s", height, of,
                  height == of ? "\n" : "");
}

static int do_verify(cli *line) {
  char err[DEAI_ERR_CAP] = "";
  char folder[4000];
  char root[128];
  deai_verify_report report;
  uint32_t flags = cli_flag(line, "--rules") ? DEAI_VERIFY_RULES : 0;
  if (line->count != 1) return cli_usage(help);
  (void)snprintf(folder, sizeof folder, "%s/ledger", line->data);
  int32_t status = deai_sign_start(err, sizeof err);
  if (status == DEAI_OK)
    status = deai_ledger_verify(folder, flags, on_height, NULL, &report, err, sizeof err);
  if (status != DEAI_OK) return cli_fail(status, err);
  cli_cid_text(deai_bytes_of(report.root, DEAI_HASH_BYTES), root, sizeof root);
  (void)printf("ok  blocks %" PRIu64 "  transactions %" PRIu64 "  root %s%s\n", report.blocks,
               report.transactions, root + 1,
               flags != 0 ? "  minted - burned = balances after every block" : "");
  return 0;
}

int cli_ledger(cli *line) {
  const char *verb = line->count > 0 ? line->words[0] : "";
  if (strcmp(verb, "status") == 0 && line->count == 1) return do_status(line);
  if (strcmp(verb, "verify") == 0) return do_verify(line);
  if (strcmp(verb, "show") == 0 && line->count <= 2) return cli_ledger_show(line);
  if (strcmp(verb, "verdict") == 0) return cli_ledger_verdict(line);
  return cli_usage(help);
}
