#include "cli.h"

#include "deai/types.h"

#include <inttypes.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define NODE_SERVICE "deai.node/1-draft"
#define COIN         UINT64_C(1000000000)

static const char help[] =
    "deai wallet show               what the account of this node has\n"
    "deai wallet history            what the blocks say of it\n"
    "deai wallet claim              claims now what receipts come to (it also happens by itself)\n"
    "deai wallet close              closes the channels this node pays through; what is left of\n"
    "                               their deposits is back after close_after\n"
    "deai wallet send ACCOUNT COINS\n"
    "  available: may be spent; held: claimed, paid after the hold time; frozen: under objection;\n"
    "  deposits: in channels to members; owed: receipts of this node that are not claimed yet\n";

static uint64_t number(const json_t *object, const char *key) {
  json_int_t value = json_integer_value(json_object_get(object, key));
  return value > 0 ? (uint64_t)value : 0;
}

static const char *text(const json_t *object, const char *key) {
  const char *value = json_string_value(json_object_get(object, key));
  return value != NULL ? value : "";
}

static void amount_line(const char *name, uint64_t amount) {
  (void)printf("%-10s %" PRIu64 ".%09" PRIu64 " coins\n", name, amount / COIN, amount % COIN);
}

static int print_json(json_t *answer) {
  (void)json_dumpf(answer, stdout, JSON_INDENT(2));
  (void)putchar('\n');
  json_decref(answer);
  return 0;
}

static int show(const cli *line) {
  static const char *const rows[] = {"available", "held", "frozen", "deposits", "owed"};
  int code = 0;
  json_t *answer = cli_json_body(line, NODE_SERVICE, "wallet", "{}", &code);
  if (answer == NULL) return code;
  if (line->json) return print_json(answer);
  (void)printf("%-10s %s\n", "account", text(answer, "account"));
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    amount_line(rows[i], number(answer, rows[i]));
  if (number(answer, "unknown") > 0)
    (void)printf("%" PRIu64 " jobs: their receipts are owed by members that were lost\n",
                 number(answer, "unknown"));
  json_decref(answer);
  return 0;
}

static int claim(const cli *line) {
  int code = 0;
  json_t *answer = cli_json_body(line, NODE_SERVICE, "claim", "{}", &code);
  if (answer == NULL) return code;
  if (line->json) return print_json(answer);
  (void)printf("claims     %" PRIu64 "\n", number(answer, "claims"));
  amount_line("amount", number(answer, "amount"));
  json_decref(answer);
  return 0;
}

static int close_channels(const cli *line) {
  int code = 0;
  json_t *answer = cli_json_body(line, NODE_SERVICE, "close", "{}", &code);
  if (answer == NULL) return code;
  if (line->json) return print_json(answer);
  (void)printf("block %" PRIu64 "\n", number(answer, "height"));
  json_decref(answer);
  return 0;
}

/* claim_step replaces the cumulative amount of a claim by what it moved; last maps a channel to the
   highest one before. */
static void claim_step(json_t *row, json_t *last) {
  const char *channel = text(row, "other");
  uint64_t before = number(last, channel);
  uint64_t now = number(row, "amount");
  (void)json_object_set_new(last, channel, json_integer((json_int_t)now));
  (void)json_object_set_new(row, "amount", json_integer((json_int_t)(now - before)));
}

static void print_rows(const json_t *rows) {
  for (size_t i = 0; i < json_array_size(rows); i++) {
    const json_t *row = json_array_get(rows, i);
    uint64_t amount = number(row, "amount");
    (void)printf("%8" PRIu64 "  %-8s %12" PRIu64 ".%09" PRIu64 "  %s\n", number(row, "height"),
                 text(row, "kind"), amount / COIN, amount % COIN, text(row, "other"));
  }
}

static int history(const cli *line) {
  int code = 0;
  uint64_t from = 1;
  json_t *rows = json_array();
  json_t *last = json_object();
  while (from > 0) {
    char body[64];
    (void)snprintf(body, sizeof body, "{\"from\":%" PRIu64 "}", from);
    json_t *answer = cli_json_body(line, NODE_SERVICE, "history", body, &code);
    if (answer == NULL) break;
    json_t *page = json_object_get(answer, "rows");
    for (size_t i = 0; i < json_array_size(page); i++) {
      json_t *row = json_array_get(page, i);
      if (strcmp(text(row, "kind"), "claim") == 0) claim_step(row, last);
      (void)json_array_append(rows, row);
    }
    from = number(answer, "next");
    json_decref(answer);
  }
  json_decref(last);
  if (from > 0) {
    json_decref(rows);
    return code;
  }
  if (line->json) return print_json(rows);
  print_rows(rows);
  json_decref(rows);
  return 0;
}

int cli_wallet(cli *line) {
  const char *verb = line->count > 0 ? line->words[0] : "show";
  if (strcmp(verb, "send") == 0 && line->count == 3) return cli_wallet_send(line);
  if (line->count > 1) return cli_usage(help);
  if (strcmp(verb, "show") == 0) return show(line);
  if (strcmp(verb, "history") == 0) return history(line);
  if (strcmp(verb, "claim") == 0) return claim(line);
  if (strcmp(verb, "close") == 0) return close_channels(line);
  return cli_usage(help);
}
