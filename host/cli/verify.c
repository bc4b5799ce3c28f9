#include "judge.h"

#include <inttypes.h>
#include <stdlib.h>

#include "host/base/banned.h"

static const char help[] =
    "deai verify FILE [--via NODE]\n"
    "  checks the job file of deai ask --receipt: signature, input, units and price of the "
    "receipt,\n"
    "  its channel on the ledger, and, with the model here, every token and the root. --via has\n"
    "  another node recompute. Exit codes: 0 right, 9 wrong, 11 right as far as it could be "
    "checked.\n";

static const char *finding(cli_finding found) {
  static const char *const names[] = {"not checked", "ok", "WRONG"};
  return names[found];
}

static bool is_replay(const cli_judgement *j) {
  return deai_str_eq(j->receipt.m, deai_str_of("replay")) != 0;
}

/* side names who is wrong: "worker", "auditor", "payer", or NULL. */
static const char *side(const cli_judgement *j) {
  if (j->recomputed && j->answer_equal) return "payer";
  if (cli_judge_wrong(j)) return is_replay(j) ? "auditor" : "worker";
  return cli_judge_audit_wrong(j) ? "auditor" : NULL;
}

static bool bad_form(const cli_judgement *j) {
  return j->signature == CLI_BAD || j->input == CLI_BAD || j->units == CLI_BAD ||
         j->price == CLI_BAD || (j->channel.opened > 0 && !j->channel.payee_fits);
}

static int exit_of(const cli_judgement *j) {
  bool whole = j->recomputed && j->signature == CLI_GOOD && j->price == CLI_GOOD;
  if (bad_form(j) || cli_judge_wrong(j) || (j->recomputed && j->answer_equal))
    return CLI_EXIT_WRONG;
  return whole ? 0 : CLI_EXIT_PARTLY;
}

/* ---- text ---- */

static void print_receipt(const cli_judgement *j) {
  char hex[CLI_HEX_KEY];
  const deai_receipt *r = &j->receipt;
  cli_hex(deai_bytes_of(r->job, DEAI_ID_BYTES), hex);
  (void)printf("job        %s  %.*s\n", hex, (int)r->m.len, r->m.ptr);
  cli_hex(deai_bytes_of(r->worker, DEAI_KEY_BYTES), hex);
  (void)printf("worker     %s\n", hex);
  cli_hex(deai_bytes_of(r->payer, DEAI_KEY_BYTES), hex);
  (void)printf("payer      %s\nsignature  %s\ninput      %s\n", hex, finding(j->signature),
               finding(j->input));
  (void)printf("units      %s: %" PRIu64 " in, %" PRIu64 " out\n", finding(j->units), r->u_in,
               r->u_out);
  (void)printf("price      %s: %" PRIu64 ".%09" PRIu64 " coins", finding(j->price),
               r->price / DEAI_COIN, r->price % DEAI_COIN);
  if (j->price == CLI_BAD)
    (void)printf(", expected %" PRIu64 ".%09" PRIu64 " at the worker's present prices",
                 j->price_want / DEAI_COIN, j->price_want % DEAI_COIN);
  if (j->price == CLI_UNKNOWN) (void)printf("; the worker's prices cannot be asked for");
  (void)putchar('\n');
}

static void print_channel(const cli_judgement *j) {
  char hex[CLI_HEX_KEY];
  const cli_channel *c = &j->channel;
  if ((j->receipt.has & DEAI_RECEIPT_HAS_CH) == 0) {
    (void)printf("channel    none: the answer was free\n");
    return;
  }
  cli_hex(deai_bytes_of(j->receipt.ch, DEAI_ID_BYTES), hex);
  if (c->opened == 0) {
    (void)printf("channel    %s is not in the blocks of this node\n", hex);
    return;
  }
  (void)printf("channel    %s opened in block %" PRIu64 "%s, deposit %" PRIu64 ", ", hex, c->opened,
               c->payee_fits ? "" : " for ANOTHER payee", c->deposit);
  if (c->claims == 0)
    (void)printf("nothing claimed yet\n");
  else
    (void)printf("%" PRIu64 " claimed up to block %" PRIu64 "\n", c->claimed, c->claimed_h);
  if (c->objected > 0) {
    cli_hex(deai_bytes_of(c->auditor, DEAI_KEY_BYTES), hex);
    (void)printf("objection  block %" PRIu64 ", auditor %s\n", c->objected, hex);
  }
  if (c->decided > 0)
    (void)printf("verdict    block %" PRIu64 ": %" PRIu64 " to the payee\n", c->decided, c->payee);
}

/* print_token says which token is the first that the sampler does not choose. */
static void print_token(const cli_judgement *j) {
  const uint64_t *ids = j->file.ids.items;
  if (!j->has_wrong) {
    (void)printf("tokens     all %" PRIu64 " are what the sampler chooses\n", j->end.n);
    return;
  }
  (void)printf("tokens     token %" PRIu64 " of %" PRIu64 " (id %" PRIu64
               ") is the first that the sampler does not choose%s\n",
               j->wrong, j->end.n, j->wrong < j->file.ids.count ? ids[j->wrong] : 0,
               cli_judge_own(j) ? "" : "; an earlier provider gave it");
}

static void print_result(const cli_judgement *j) {
  const char *wrong = side(j);
  if (!j->recomputed) {
    (void)printf("not recomputed: %s\n", j->why_not);
    return;
  }
  (void)printf("root       %s\n", j->root_equal ? "equal" : "UNEQUAL");
  print_token(j);
  if (j->answer_equal)
    (void)printf("WRONG      the payer's side: the worker's receipt is right, and these tokens are "
                 "not those it gave\n");
  else if (wrong != NULL)
    (void)printf("WRONG      the %s's side%s\n", wrong,
                 j->root_equal || j->has_wrong
                     ? ""
                     : ": its root; a receipt does not tell at which token it begins");
  else
    (void)printf("right      recomputed, %s is what the model answers\n",
                 is_replay(j) ? "the audit" : "the answer");
}

/* ---- JSON ---- */

static json_t *hex_json(const uint8_t *bytes, uint64_t len) {
  char hex[CLI_HEX_KEY];
  cli_hex(deai_bytes_of(bytes, len), hex);
  return json_string(hex);
}

static json_t *channel_json(const cli_judgement *j) {
  const cli_channel *c = &j->channel;
  if ((j->receipt.has & DEAI_RECEIPT_HAS_CH) == 0) return json_null();
  return json_pack("{s:o, s:I, s:I, s:b, s:I, s:I, s:I, s:I, s:o?, s:I, s:I}", "id",
                   hex_json(j->receipt.ch, DEAI_ID_BYTES), "opened", (json_int_t)c->opened,
                   "deposit", (json_int_t)c->deposit, "payee_is_worker", (int)c->payee_fits,
                   "claims", (json_int_t)c->claims, "claimed", (json_int_t)c->claimed,
                   "claimed_height", (json_int_t)c->claimed_h, "objected", (json_int_t)c->objected,
                   "auditor", c->objected > 0 ? hex_json(c->auditor, DEAI_KEY_BYTES) : NULL,
                   "decided", (json_int_t)c->decided, "payee", (json_int_t)c->payee);
}

static json_t *recomputed_json(const cli_judgement *j) {
  const uint64_t *ids = j->file.ids.items;
  const char *wrong = side(j);
  json_t *out = json_pack("{s:b}", "recomputed", (int)j->recomputed);
  if (!j->recomputed) {
    (void)json_object_set_new(out, "why", json_string(j->why_not));
    return out;
  }
  (void)json_object_set_new(out, "root", json_string(j->root_equal ? "equal" : "unequal"));
  (void)json_object_set_new(out, "wrong_side", wrong != NULL ? json_string(wrong) : json_null());
  if (!j->has_wrong) return out;
  (void)json_object_set_new(out, "wrong_token", json_integer((json_int_t)j->wrong));
  if (j->wrong < j->file.ids.count)
    (void)json_object_set_new(out, "wrong_id", json_integer((json_int_t)ids[j->wrong]));
  (void)json_object_set_new(out, "wrong_is_workers", json_boolean(cli_judge_own(j)));
  return out;
}

static void print_json(const cli_judgement *j, int code) {
  const deai_receipt *r = &j->receipt;
  json_t *out = json_pack(
      "{s:o, s:s%, s:o, s:o, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:o, s:o, s:i}", "job",
      hex_json(r->job, DEAI_ID_BYTES), "method", r->m.ptr, (size_t)r->m.len, "worker",
      hex_json(r->worker, DEAI_KEY_BYTES), "payer", hex_json(r->payer, DEAI_KEY_BYTES), "signature",
      finding(j->signature), "input", finding(j->input), "units", finding(j->units), "price_check",
      finding(j->price), "u_in", (json_int_t)r->u_in, "u_out", (json_int_t)r->u_out, "price",
      (json_int_t)r->price, "channel", channel_json(j), "answer", recomputed_json(j), "exit", code);
  (void)json_dumpf(out, stdout, JSON_INDENT(2));
  (void)putchar('\n');
  json_decref(out);
}

/* ---- the commands ---- */

/* judged opens and recomputes; an exit code. */
static int judged(const cli *line, const char *path, const char *via, cli_judgement **out) {
  char hex[CLI_HEX_KEY] = "";
  int code = 0;
  if (via != NULL) {
    json_t *members = cli_members(line, &code);
    if (members != NULL) code = cli_member_find(members, via, hex);
    json_decref(members);
    if (code != 0) return code;
  }
  code = cli_judge_open(line, path, out);
  if (code == 0) cli_judge_recompute(line, via != NULL ? hex : NULL, *out);
  return code;
}

int cli_verify(cli *line) {
  cli_judgement *j = NULL;
  if (cli_flag(line, "--help")) return cli_usage(help) * 0;
  const char *via = cli_option(line, "--via");
  if (line->count != 1) return cli_usage(help);
  int code = judged(line, line->words[0], via, &j);
  if (code != 0) return code;
  code = exit_of(j);
  if (line->json) {
    print_json(j, code);
  } else {
    print_receipt(j);
    print_channel(j);
    print_result(j);
  }
  cli_judge_free(j);
  return code;
}

/* may_decide refuses what a verdict cannot be about; an exit code. */
static int may_decide(const cli_judgement *j) {
  if (is_replay(j))
    return cli_fail(DEAI_EINVAL, "expected the worker's job file, found an auditor's");
  if (bad_form(j))
    return cli_fail(DEAI_EVERIFY, "expected a receipt that is right in itself; see deai verify");
  if ((j->receipt.has & DEAI_RECEIPT_HAS_CH) == 0)
    return cli_fail(DEAI_ENOTFOUND, "expected a paid answer, found a free one: nothing to decide");
  if (j->channel.objected == 0)
    return cli_fail(DEAI_ENOTFOUND, "expected an objection to this job on the ledger, found none");
  if (j->channel.decided > 0)
    return cli_fail(DEAI_EINVAL, "expected a job without a verdict, found one with");
  if (j->recomputed) return 0;
  (void)fprintf(stderr, "deai: not recomputed: %s\n", j->why_not);
  return deai_status_exit(j->why_status != DEAI_OK ? j->why_status : DEAI_EVERIFY);
}

int cli_ledger_verdict(cli *line) {
  cli_judgement *j = NULL;
  const char *via = cli_option(line, "--via");
  if (line->count != 2) return cli_usage("deai ledger verdict FILE [--via NODE]\n");
  int code = judged(line, line->words[1], via, &j);
  if (code != 0) return code;
  code = may_decide(j);
  if (code == 0) {
    bool wrong = cli_judge_wrong(j);
    deai_op_verdict verdict = {.payee = wrong ? 0 : j->receipt.price};
    memcpy(verdict.ch, j->receipt.ch, DEAI_ID_BYTES);
    memcpy(verdict.job, j->receipt.job, DEAI_ID_BYTES);
    if (!line->json) print_result(j);
    (void)fflush(stdout);
    code = cli_sign_submit(line, "channel/1", "verdict", &deai_op_verdict_table, &verdict);
    if (code == 0 && line->json)
      (void)printf("{\"wrong_side\":%s%s%s,\"payee\":%" PRIu64 "}\n", side(j) != NULL ? "\"" : "",
                   side(j) != NULL ? side(j) : "null", side(j) != NULL ? "\"" : "", verdict.payee);
    else if (code == 0)
      (void)printf("verdict    %" PRIu64 " of %" PRIu64 " to the payee\n", verdict.payee,
                   j->receipt.price);
  }
  cli_judge_free(j);
  return code;
}
