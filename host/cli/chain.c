#include "chain.h"

#include "host/base/base32.h"
#include "host/base/file.h"
#include "host/base/hash.h"
#include "host/ledger/blocklog.h"
#include "host/ledger/records.h"

#include "deai/cbor.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "host/base/banned.h"

#define GENESIS_MAX 1048576u
#define DEPTH_MAX   16u /* of strict DAG-CBOR */
#define NESTED_MIN  33u /* shorter bytes are keys, hashes and ids */
#define QUERY_MS    10000u

/* ---- reading ---- */

int32_t cli_genesis_hash(const cli *line, uint8_t hash[DEAI_HASH_BYTES], char *err,
                         uint32_t err_cap) {
  char path[4000];
  uint8_t *bytes = NULL;
  uint64_t len = 0;
  (void)snprintf(path, sizeof path, "%s/ledger/genesis", line->data);
  int32_t status = deai_file_read(path, GENESIS_MAX, &bytes, &len, err, err_cap);
  if (status == DEAI_OK) deai_sha256(deai_bytes_of(bytes, len), hash);
  free(bytes);
  return status;
}

static int32_t walk_frames(const deai_blocklog *log, cli_block_each *each, void *user, char *err,
                           uint32_t err_cap) {
  uint64_t at = 0;
  bool goes_on = true;
  while (goes_on) {
    deai_blocklog_frame frame;
    deai_entry *entry = NULL;
    int32_t status = deai_blocklog_read(log, at, &frame);
    if (status == DEAI_ENOTFOUND) return DEAI_OK;
    if (status == DEAI_EVERIFY) {
      (void)snprintf(err, err_cap,
                     "blocks.log: expected a whole block at byte %" PRIu64
                     ", found none; run this again if the node is writing it just now, else see "
                     "deai ledger verify",
                     at);
      return status;
    }
    if (status != DEAI_OK) return status;
    status = deai_entry_open(deai_bytes_of(frame.payload, frame.len), &entry, err, err_cap);
    free(frame.payload);
    if (status != DEAI_OK) return status;
    goes_on = each(user, entry);
    deai_entry_free(entry);
    at = frame.next;
  }
  return DEAI_OK;
}

int32_t cli_chain_walk(const cli *line, cli_block_each *each, void *user, char *err,
                       uint32_t err_cap) {
  char path[4000];
  deai_blocklog *log = NULL;
  (void)snprintf(path, sizeof path, "%s/ledger/blocks.log", line->data);
  int32_t status = deai_blocklog_open(path, 0, &log, err, err_cap);
  if (status != DEAI_OK) return status;
  status = walk_frames(log, each, user, err, err_cap);
  deai_blocklog_close(log);
  return status;
}

/* ---- CBOR as JSON ---- */

/* A map or list under construction. */
typedef struct level {
  json_t *box;
  uint64_t left;
  char *key; /* of the next value, maps only */
} level;

typedef struct builder {
  level levels[DEPTH_MAX + 1];
  uint32_t depth;
  json_t *whole;
  bool open; /* a map inside bytes is shown as a map */
} builder;

static json_t *convert(deai_bytes item, bool open);

static json_t *bytes_json(deai_bytes bytes, bool open) {
  const char *why = NULL;
  if (open && bytes.len >= NESTED_MIN && (bytes.ptr[0] & 0xe0) == 0xa0 &&
      deai_cbor_check(bytes, 0, &why) == DEAI_OK)
    return convert(bytes, false); /* once: what lies inside that stays bytes */
  char *text = malloc((size_t)DEAI_BASE32_LEN(bytes.len) + 1);
  json_t *out = NULL;
  if (text != NULL && deai_base32_put(bytes, text, DEAI_BASE32_LEN(bytes.len) + 1) == DEAI_OK)
    out = json_string(text);
  free(text);
  return out;
}

static json_t *cid_json(deai_bytes cid) {
  char text[256];
  cli_cid_text(cid, text, sizeof text);
  return json_string(text);
}

static json_t *number_json(const deai_cbor_item *item) {
  if (item->kind == DEAI_CBOR_UINT) return json_integer((json_int_t)item->number);
  return json_integer(-1 - (json_int_t)item->number);
}

static json_t *value_json(const builder *b, const deai_cbor_item *item) {
  switch (item->kind) {
  case DEAI_CBOR_UINT:
  case DEAI_CBOR_NEGINT:
    return number_json(item);
  case DEAI_CBOR_TEXT:
    return json_stringn((const char *)item->span.ptr, (size_t)item->span.len);
  case DEAI_CBOR_BYTES:
    return bytes_json(item->span, b->open);
  case DEAI_CBOR_ARRAY:
    return json_array();
  case DEAI_CBOR_MAP:
    return json_object();
  default: /* 20 false, 21 true, 22 null */
    return item->number == 22 ? json_null() : json_boolean(item->number == 21);
  }
}

/* place puts value where it belongs; the box keeps it. */
static bool place(builder *b, json_t *value) {
  if (value == NULL) return false;
  if (b->depth == 0) {
    b->whole = value;
    return true;
  }
  level *top = &b->levels[b->depth - 1];
  if (json_is_array(top->box)) return json_array_append_new(top->box, value) == 0;
  int put = json_object_set_new(top->box, top->key, value);
  free(top->key);
  top->key = NULL;
  return put == 0;
}

/* step takes one item: a key, or a value. */
static bool step(builder *b, deai_cbor_reader *reader) {
  deai_cbor_item item;
  if (deai_cbor_next(reader, &item) != DEAI_OK) return false;
  level *top = b->depth > 0 ? &b->levels[b->depth - 1] : NULL;
  if (top != NULL && json_is_object(top->box) && top->key == NULL) {
    top->key = strndup((const char *)item.span.ptr, (size_t)item.span.len);
    return item.kind == DEAI_CBOR_TEXT && top->key != NULL;
  }
  if (top != NULL) top->left--;
  bool cid = item.kind == DEAI_CBOR_TAG;
  if (cid && (deai_cbor_next(reader, &item) != DEAI_OK || item.span.len < 2)) return false;
  json_t *value =
      cid ? cid_json(deai_bytes_of(item.span.ptr + 1, item.span.len - 1)) : value_json(b, &item);
  if (!place(b, value)) return false;
  bool box = item.kind == DEAI_CBOR_ARRAY || item.kind == DEAI_CBOR_MAP;
  if (box && b->depth == DEPTH_MAX) return false;
  if (box) b->levels[b->depth++] = (level){.box = value, .left = item.number};
  while (b->depth > 0 && b->levels[b->depth - 1].left == 0)
    b->depth--;
  return true;
}

static json_t *convert(deai_bytes item, bool open) {
  builder b = {.open = open};
  deai_cbor_reader reader = deai_cbor_reader_of(item);
  bool good = step(&b, &reader);
  while (good && b.depth > 0)
    good = step(&b, &reader);
  for (uint32_t i = 0; i < DEPTH_MAX; i++)
    free(b.levels[i].key);
  if (good) return b.whole;
  json_decref(b.whole);
  return NULL;
}

json_t *cli_cbor_json(deai_bytes item) {
  return convert(item, true);
}

/* ---- show ---- */

static json_t *base32_json(const uint8_t *bytes, uint64_t len) {
  return bytes_json(deai_bytes_of(bytes, len), false);
}

static json_t *tx_json(const deai_tx_parsed *tx, uint64_t height) {
  const deai_op *ops = tx->tx.t.items;
  json_t *list = json_array();
  for (uint64_t i = 0; i < tx->tx.t.count; i++)
    (void)json_array_append_new(list, json_pack("{s:s%, s:s%, s:o?}", "module", ops[i].module.ptr,
                                                (size_t)ops[i].module.len, "type", ops[i].type.ptr,
                                                (size_t)ops[i].type.len, "body",
                                                cli_cbor_json(ops[i].body)));
  return json_pack("{s:o, s:I, s:o, s:o, s:I, s:I, s:I, s:o}", "id",
                   base32_json(tx->id, DEAI_HASH_BYTES), "height", (json_int_t)height, "account",
                   base32_json(tx->tx.a, DEAI_ACCT_BYTES), "key",
                   base32_json(tx->pack.key, DEAI_KEY_BYTES), "nonce", (json_int_t)tx->tx.n, "fee",
                   (json_int_t)tx->tx.f, "expires", (json_int_t)tx->tx.x, "operations", list);
}

static json_t *block_json(const deai_entry *entry) {
  const deai_block *block = &entry->block;
  json_t *txs = json_array();
  for (uint64_t i = 0; i < entry->tx_count; i++)
    (void)json_array_append_new(txs, tx_json(entry->txs[i], block->h));
  return json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "height", (json_int_t)block->h,
                   "time", (json_int_t)block->t, "hash", base32_json(entry->hash, DEAI_HASH_BYTES),
                   "previous", base32_json(block->p, DEAI_HASH_BYTES), "transactions_root",
                   base32_json(block->d, DEAI_HASH_BYTES), "results_root",
                   base32_json(block->r, DEAI_HASH_BYTES), "state_root",
                   base32_json(block->s, DEAI_HASH_BYTES), "orderer",
                   base32_json(block->o, DEAI_KEY_BYTES), "transactions", txs);
}

/* What is looked for, and what was found. */
typedef struct search {
  uint64_t height; /* UINT64_MAX = the last one */
  bool by_id;
  bool by_account;
  uint8_t id[DEAI_HASH_BYTES];
  uint8_t account[DEAI_ACCT_BYTES];
  json_t *found; /* a block, a transaction, or a list of transactions */
} search;

/* touches returns whether account signed the transaction, or an operation names it. */
static bool touches(const deai_tx_parsed *tx, const uint8_t *account) {
  const deai_op *ops = tx->tx.t.items;
  if (memcmp(tx->tx.a, account, DEAI_ACCT_BYTES) == 0) return true;
  for (uint64_t i = 0; i < tx->tx.t.count; i++)
    if (memmem(ops[i].body.ptr, (size_t)ops[i].body.len, account, DEAI_ACCT_BYTES) != NULL)
      return true;
  return false;
}

static bool on_block(void *user, const deai_entry *entry) {
  search *look = user;
  if (look->by_id || look->by_account) {
    for (uint64_t i = 0; i < entry->tx_count; i++) {
      const deai_tx_parsed *tx = entry->txs[i];
      if (look->by_id && memcmp(tx->id, look->id, DEAI_HASH_BYTES) == 0) {
        look->found = tx_json(tx, entry->block.h);
        return false;
      }
      if (look->by_account && touches(tx, look->account))
        (void)json_array_append_new(look->found, tx_json(tx, entry->block.h));
    }
    return true;
  }
  if (look->height != UINT64_MAX && look->height != entry->block.h) return true;
  json_decref(look->found);
  look->found = block_json(entry);
  return look->height == UINT64_MAX;
}

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text != NULL ? text : "";
}

static long long number_of(const json_t *object, const char *key) {
  return (long long)json_integer_value(json_object_get(object, key));
}

static void print_tx(const json_t *tx, const char *indent) {
  const json_t *ops = json_object_get(tx, "operations");
  (void)printf("%stransaction %s\n%s  block %lld  account %s  nonce %lld  fee %lld\n", indent,
               text_of(tx, "id"), indent, number_of(tx, "height"), text_of(tx, "account"),
               number_of(tx, "nonce"), number_of(tx, "fee"));
  for (size_t i = 0; i < json_array_size(ops); i++) {
    const json_t *op = json_array_get(ops, i);
    (void)printf("%s  %s %s  ", indent, text_of(op, "module"), text_of(op, "type"));
    (void)json_dumpf(json_object_get(op, "body"), stdout, JSON_ENCODE_ANY);
    (void)putchar('\n');
  }
}

static void print_block(const json_t *block) {
  char when[40] = "";
  struct tm parts;
  time_t seconds = (time_t)(number_of(block, "time") / 1000);
  const json_t *txs = json_object_get(block, "transactions");
  if (gmtime_r(&seconds, &parts) != NULL)
    (void)strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", &parts);
  (void)printf("block %lld  %s  %zu transactions\n  hash       %s\n  previous   %s\n"
               "  state root %s\n  orderer    %s\n",
               number_of(block, "height"), when, json_array_size(txs), text_of(block, "hash"),
               text_of(block, "previous"), text_of(block, "state_root"), text_of(block, "orderer"));
  for (size_t i = 0; i < json_array_size(txs); i++)
    print_tx(json_array_get(txs, i), "  ");
}

/* An answer of deai.ledger/1 query under way. */
typedef struct balance_ask {
  json_t *account;
} balance_ask;

static bool on_record(void *user, const deai_part *part) {
  balance_ask *ask = user;
  deai_ledger_query_end end;
  if ((part->flags & DEAI_PART_END) == 0 || part->status != DEAI_OK) return true;
  if (deai_decode(&deai_ledger_query_end_table, part->args, &end, NULL, NULL, 0) == DEAI_OK &&
      (end.has & DEAI_LEDGER_QUERY_END_HAS_VALUE) != 0)
    ask->account = cli_cbor_json(end.value);
  return true;
}

/* account_record asks the node for the record of an account; NULL when there is none. */
static json_t *account_record(const cli *line, const uint8_t *account, int *code_out) {
  char why[DEAI_ERR_CAP] = "";
  uint8_t room[256];
  balance_ask ask = {NULL};
  deai_client *client = cli_connect(line);
  *code_out = client == NULL ? CLI_EXIT_NO_NODE : 0;
  if (client == NULL) return NULL;
  deai_ledger_query query = {.m = deai_str_of("account/1"),
                             .n = deai_str_of("accounts"),
                             .k = deai_bytes_of(account, DEAI_ACCT_BYTES)};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  int32_t status = deai_encode(&deai_ledger_query_table, &query, &writer, why, sizeof why);
  deai_client_call call = {.service = DEAI_LEDGER_SERVICE,
                           .method = "query",
                           .args = deai_bytes_of(room, writer.len),
                           .part = on_record,
                           .user = &ask,
                           .time_ms = QUERY_MS};
  if (status == DEAI_OK) status = deai_client_run(client, &call, why, sizeof why);
  deai_client_free(client);
  if (status != DEAI_OK) *code_out = cli_fail(status, why);
  return ask.account;
}

static int show_account(const cli *line, const search *look, const char *text) {
  int code = 0;
  json_t *record = account_record(line, look->account, &code);
  if (code != 0) return code;
  if (record == NULL) return cli_fail(DEAI_ENOTFOUND, "expected an account of the ledger");
  uint64_t balance = (uint64_t)number_of(record, "b");
  if (line->json) {
    json_t *out = json_pack("{s:s, s:O, s:O}", "account", text, "record", record, "transactions",
                            look->found);
    (void)json_dumpf(out, stdout, JSON_INDENT(2));
    (void)putchar('\n');
    json_decref(out);
  } else {
    (void)printf("account %s\nbalance %" PRIu64 ".%09" PRIu64 " coins\n", text, balance / DEAI_COIN,
                 balance % DEAI_COIN);
    for (size_t i = 0; i < json_array_size(look->found); i++)
      print_tx(json_array_get(look->found, i), "");
  }
  json_decref(record);
  return 0;
}

/* search_of reads HEIGHT, TXID or ACCOUNT; false when it is none. */
static bool search_of(const char *text, search *look) {
  uint64_t len = 0;
  uint8_t bytes[DEAI_HASH_BYTES];
  look->height = UINT64_MAX;
  if (text == NULL) return true;
  if (text[0] != 0 && strspn(text, "0123456789") == strlen(text) && strlen(text) < 19) {
    look->height = strtoull(text, NULL, 10);
    return true;
  }
  if (deai_base32_get(deai_str_of(text), (deai_buf){bytes, sizeof bytes}, &len) != DEAI_OK)
    return false;
  look->by_id = len == DEAI_HASH_BYTES;
  look->by_account = len == DEAI_ACCT_BYTES;
  if (look->by_id) memcpy(look->id, bytes, DEAI_HASH_BYTES);
  if (look->by_account) memcpy(look->account, bytes, DEAI_ACCT_BYTES);
  if (look->by_account) look->found = json_array();
  return look->by_id || look->by_account;
}

int cli_ledger_show(cli *line) {
  char err[DEAI_ERR_CAP] = "";
  search look = {0};
  const char *text = line->count > 1 ? line->words[1] : NULL;
  if (!search_of(text, &look))
    return cli_fail(DEAI_EINVAL, "expected a height, or a transaction or an account in base32");
  int32_t status = cli_chain_walk(line, on_block, &look, err, sizeof err);
  int code = 0;
  if (status != DEAI_OK)
    code = cli_fail(status, err);
  else if (look.found == NULL)
    code = cli_fail(DEAI_ENOTFOUND, look.by_id ? "expected a transaction of the ledger"
                                               : "expected a block that is there");
  else if (look.by_account)
    code = show_account(line, &look, text);
  else if (line->json) {
    (void)json_dumpf(look.found, stdout, JSON_INDENT(2));
    (void)putchar('\n');
  } else if (look.by_id) {
    print_tx(look.found, "");
  } else {
    print_block(look.found);
  }
  json_decref(look.found);
  return code;
}
