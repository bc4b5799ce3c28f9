#include "money.h"

#include "host/base/base32.h"
#include "host/base/hash.h"
#include "host/ledger/genesis.h"
#include "host/ledger/records.h"

#include <stdlib.h>
#include <unistd.h>

#include "host/base/banned.h"

#define KEEP_HOLDS    10u /* hold times that receipts of a settled channel are kept */
#define ASK_MS        5000u
#define REC_ARENA     16384u
#define HISTORY_TURN  256u /* blocks looked at in one answer */
#define HISTORY_ROWS  256u
#define HISTORY_ARENA 65536u

/* ---- what deai_pay asks of the ledger ---- */

static int32_t money_account(deai_node *node, uint8_t account[DEAI_ACCT_BYTES]) {
  uint64_t nonce = 0;
  return deai_ledger_nonce(node->ledger, deai_key_public(node->key), &nonce, account);
}

static int32_t op_channel(void *user, const uint8_t ch[DEAI_ID_BYTES], deai_channel_rec *out) {
  _Alignas(16) uint8_t room[REC_ARENA];
  deai_arena arena = {room, sizeof room, 0};
  deai_node *node = user;
  deai_ledger_answer answer;
  int32_t status =
      deai_ledger_lookup(node->ledger, deai_str_of("channel/1"), deai_str_of("channels"),
                         deai_bytes_of(ch, DEAI_ID_BYTES), 0, &answer);
  if (status != DEAI_OK) return status;
  status = answer.found ? deai_decode(&deai_channel_rec_table, answer.value, out, &arena, NULL, 0)
                        : DEAI_ENOTFOUND;
  out->holds = (deai_list){NULL, 0}; /* they lay in the arena */
  out->jobs = (deai_list){NULL, 0};
  deai_ledger_answer_free(&answer);
  return status;
}

typedef struct finding {
  const uint8_t *own;
  const uint8_t *payee;
  uint8_t *ch;
  bool found;
} finding;

static int32_t find_row(void *user, deai_bytes key, deai_bytes value) {
  _Alignas(16) uint8_t room[REC_ARENA];
  deai_arena arena = {room, sizeof room, 0};
  finding *what = user;
  deai_channel_rec rec;
  if (key.len != DEAI_ID_BYTES ||
      deai_decode(&deai_channel_rec_table, value, &rec, &arena, NULL, 0) != DEAI_OK)
    return DEAI_OK;
  if (rec.closing != 0 || memcmp(rec.key, what->own, DEAI_KEY_BYTES) != 0 ||
      memcmp(rec.payee, what->payee, DEAI_KEY_BYTES) != 0)
    return DEAI_OK;
  memcpy(what->ch, key.ptr, DEAI_ID_BYTES);
  what->found = true;
  return DEAI_EAGAIN; /* enough */
}

static int32_t op_find(void *user, const uint8_t payee[DEAI_KEY_BYTES],
                       uint8_t ch_out[DEAI_ID_BYTES]) {
  deai_node *node = user;
  finding what = {.own = deai_key_public(node->key), .payee = payee, .ch = ch_out};
  (void)!deai_ledger_each_record(node->ledger, deai_str_of("channel/1"), deai_str_of("channels"),
                                 (deai_bytes){NULL, 0}, &what, find_row);
  return what.found ? DEAI_OK : DEAI_ENOTFOUND;
}

static int32_t account_balance(deai_node *node, const uint8_t account[DEAI_ACCT_BYTES],
                               uint64_t *out) {
  deai_ledger_answer answer;
  deai_account_rec record = {0};
  int32_t status =
      deai_ledger_lookup(node->ledger, deai_str_of("account/1"), deai_str_of("accounts"),
                         deai_bytes_of(account, DEAI_ACCT_BYTES), 0, &answer);
  if (status != DEAI_OK) return status;
  if (answer.found)
    status = deai_decode(&deai_account_rec_table, answer.value, &record, NULL, NULL, 0);
  deai_ledger_answer_free(&answer);
  *out = record.b;
  return status;
}

static int32_t op_balance(void *user, uint64_t *out) {
  uint8_t account[DEAI_ACCT_BYTES];
  int32_t status = money_account(user, account);
  return status == DEAI_OK ? account_balance(user, account, out) : status;
}

static void op_propose(void *user, deai_bytes ops, void *done_user, deai_ledger_done *done) {
  const deai_node *node = user;
  deai_ledger_service_propose(node->ledger_service, ops, done_user, done);
}

/* ---- what it asks of members ---- */

/* A net-channel on its way. */
typedef struct asking {
  void *user;
  deai_pay_asked *done;
  int32_t status;
  char why[DEAI_ERR_CAP];
  uint8_t *args;
  uint64_t args_len;
} asking;

static int32_t ask_part(void *user, const deai_part *part) {
  asking *job = user;
  if (part->attachment >= 0) (void)close(part->attachment);
  if ((part->flags & DEAI_PART_END) == 0) return DEAI_OK;
  job->status = part->status;
  (void)snprintf(job->why, sizeof job->why, "%.*s", (int)part->why.len, part->why.ptr);
  if (part->args.len == 0) return DEAI_OK;
  job->args = malloc((size_t)part->args.len);
  if (job->args == NULL) {
    job->status = DEAI_ENOMEM;
    return DEAI_OK;
  }
  memcpy(job->args, part->args.ptr, (size_t)part->args.len);
  job->args_len = part->args.len;
  return DEAI_OK;
}

static void ask_closed(void *user) {
  asking *job = user;
  job->done(job->user, job->status, job->why, deai_bytes_of(job->args, job->args_len));
  free(job->args);
  free(job);
}

static const deai_end_ops ask_ops = {.part = ask_part, .closed = ask_closed};

static void op_ask(void *user, const uint8_t key[DEAI_KEY_BYTES], deai_bytes args, void *done_user,
                   deai_pay_asked *done) {
  deai_node *node = user;
  deai_call_spec spec = {.service = deai_str_of(DEAI_NET_SERVICE),
                         .method = deai_str_of("channel"),
                         .time_ms = ASK_MS,
                         .caller_class = DEAI_CLASS_LOCAL};
  asking *job = calloc(1, sizeof *job);
  deai_call *call = job != NULL ? deai_call_new(node->loop, &spec, &ask_ops, job) : NULL;
  if (call == NULL) {
    free(job);
    done(done_user, DEAI_ENOMEM, "not enough memory", (deai_bytes){NULL, 0});
    return;
  }
  *job = (asking){.user = done_user, .done = done, .status = DEAI_EPEER_LOST};
  deai_part part = {
      .size = (uint32_t)sizeof part, .flags = DEAI_PART_END, .attachment = -1, .args = args};
  int32_t status =
      node->net != NULL ? deai_net_serve(node->net, key, call) : (int32_t)DEAI_EPEER_LOST;
  if (status != DEAI_OK)
    deai_call_fail(call, status, "the member is not connected");
  else if (deai_call_send(call, DEAI_SIDE_CALLER, &part) != DEAI_OK)
    deai_call_cancel(call, DEAI_EINTERNAL);
}

static void op_send(void *user, const uint8_t key[DEAI_KEY_BYTES], deai_call *call,
                    const deai_signed *voucher) {
  deai_node *node = user;
  if (node->net != NULL) deai_net_pay(node->net, key, call, voucher);
}

static void op_ready(void *user, deai_call *call, int32_t status, const char *why) {
  (void)user;
  deai_router_ready(call, status, why);
}

static void op_reopen(void *user, deai_call *call) {
  (void)user;
  deai_call_reopen(call);
}

static const deai_pay_ops ops = {.channel = op_channel,
                                 .find = op_find,
                                 .height = deai_node_height,
                                 .balance = op_balance,
                                 .propose = op_propose,
                                 .ask = op_ask,
                                 .send = op_send,
                                 .ready = op_ready,
                                 .reopen = op_reopen};

/* hold_ms returns the hold time of this network's claims. */
static uint64_t hold_ms(const deai_node *node) {
  uint8_t hash[DEAI_HASH_BYTES];
  char err[DEAI_ERR_CAP] = "";
  deai_genesis_box *box = NULL;
  uint64_t hold = DEAI_HOLD_MS_DEFAULT;
  if (deai_genesis_open(deai_ledger_genesis(node->ledger, hash), &box, err, sizeof err) == DEAI_OK)
    hold = deai_genesis_param(&box->genesis, DEAI_PARAM_HOLD_MS, hold);
  deai_genesis_free(box);
  return hold;
}

int32_t deai_money_open(deai_node *node, char *err, uint32_t err_cap) {
  char folder[4200];
  deai_settle settle;
  const deai_config_ledger *config = &node->config->node.ledger;
  (void)deai_ledger_genesis(node->ledger, node->genesis);
  (void)snprintf(folder, sizeof folder, "%s/pay", node->data);
  deai_pay_options options = {.loop = node->loop,
                              .folder = folder,
                              .key = node->key,
                              .genesis = node->genesis,
                              .deposit = config->deposit,
                              .close_after_ms = config->close_after,
                              .claim_ms = config->claim,
                              .keep_ms = KEEP_HOLDS * hold_ms(node),
                              .ops = &ops,
                              .user = node};
  int32_t status = deai_pay_open(&options, &node->pay, err, err_cap);
  if (status != DEAI_OK) return status;
  deai_pay_settle(node->pay, &settle);
  deai_router_settle(node->router, &settle);
  return DEAI_OK;
}

/* ---- wallet ---- */

static json_t *text_of(const uint8_t *bytes, uint64_t len) {
  char text[128] = "";
  return deai_base32_put(deai_bytes_of(bytes, len), text, sizeof text) == DEAI_OK
             ? json_string(text)
             : NULL;
}

typedef struct wallet {
  uint8_t account[DEAI_ACCT_BYTES];
  uint64_t held;
  uint64_t frozen;
  uint64_t deposits;
  json_t *channels;
} wallet;

/* job_sums adds up what objections freeze and what verdicts gave back. */
static void job_sums(const deai_channel_rec *rec, uint64_t *frozen, uint64_t *denied) {
  const deai_channel_job *jobs = rec->jobs.items;
  *frozen = 0;
  *denied = 0;
  for (uint64_t i = 0; i < rec->jobs.count; i++) {
    if (jobs[i].state == DEAI_JOB_FROZEN)
      *frozen += jobs[i].price;
    else
      *denied += jobs[i].price - jobs[i].payee;
  }
}

static int32_t wallet_row(void *user, deai_bytes key, deai_bytes value) {
  _Alignas(16) uint8_t room[REC_ARENA];
  deai_arena arena = {room, sizeof room, 0};
  wallet *all = user;
  deai_channel_rec rec;
  uint64_t frozen = 0;
  uint64_t denied = 0;
  if (deai_decode(&deai_channel_rec_table, value, &rec, &arena, NULL, 0) != DEAI_OK) return DEAI_OK;
  bool in = memcmp(rec.owner, all->account, DEAI_ACCT_BYTES) == 0;
  bool out = memcmp(rec.payer, all->account, DEAI_ACCT_BYTES) == 0;
  if (!in && !out) return DEAI_OK;
  job_sums(&rec, &frozen, &denied);
  uint64_t gone = rec.paid + denied;
  uint64_t due = rec.claimed > gone ? rec.claimed - gone : 0; /* claimed and not decided */
  uint64_t kept = frozen < due ? frozen : due;
  if (in) {
    all->held += due - kept;
    all->frozen += kept;
  }
  if (out) all->deposits += rec.deposit - rec.paid;
  (void)json_array_append_new(
      all->channels, json_pack("{s:o, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:b}", "channel",
                               text_of(key.ptr, key.len), "way",
                               in && out ? "both"
                               : in      ? "in"
                                         : "out",
                               "payee", text_of(rec.payee, DEAI_KEY_BYTES), "deposit",
                               (json_int_t)rec.deposit, "claimed", (json_int_t)rec.claimed, "paid",
                               (json_int_t)rec.paid, "held", (json_int_t)(due - kept), "frozen",
                               (json_int_t)frozen, "closing", rec.closing != 0));
  return DEAI_OK;
}

json_t *deai_money_wallet(deai_node *node) {
  wallet all = {.channels = json_array()};
  deai_pay_totals totals;
  uint64_t available = 0;
  int32_t status = money_account(node, all.account);
  if (status == DEAI_OK) status = account_balance(node, all.account, &available);
  if (status == DEAI_OK)
    status =
        deai_ledger_each_record(node->ledger, deai_str_of("channel/1"), deai_str_of("channels"),
                                (deai_bytes){NULL, 0}, &all, wallet_row);
  if (status != DEAI_OK) {
    json_decref(all.channels);
    return NULL;
  }
  deai_pay_totals_get(node->pay, &totals);
  return json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:o}", "account",
                   text_of(all.account, DEAI_ACCT_BYTES), "balance", (json_int_t)available,
                   "available", (json_int_t)available, "held", (json_int_t)all.held, "frozen",
                   (json_int_t)all.frozen, "deposits", (json_int_t)all.deposits, "owed",
                   (json_int_t)totals.owed, "spent", (json_int_t)totals.spent, "pending",
                   (json_int_t)totals.pending, "unknown", (int)totals.unknown, "channels",
                   all.channels);
}

/* ---- history ---- */

typedef struct history {
  uint8_t account[DEAI_ACCT_BYTES];
  uint64_t height;
  uint64_t time_ms;
  json_t *rows;
} history;

static void row_add(history *all, const char *kind, uint64_t amount, json_t *other) {
  (void)json_array_append_new(
      all->rows, json_pack("{s:I, s:I, s:s, s:I, s:o}", "height", (json_int_t)all->height, "time",
                           (json_int_t)all->time_ms, "kind", kind, "amount", (json_int_t)amount,
                           "other", other != NULL ? other : json_null()));
}

static void transfer_row(history *all, const deai_tx *tx, const deai_op *op) {
  deai_op_transfer body;
  if (deai_decode(&deai_op_transfer_table, op->body, &body, NULL, NULL, 0) != DEAI_OK) return;
  if (memcmp(tx->a, all->account, DEAI_ACCT_BYTES) == 0)
    row_add(all, "sent", body.amount, text_of(body.to, DEAI_ACCT_BYTES));
  if (memcmp(body.to, all->account, DEAI_ACCT_BYTES) == 0)
    row_add(all, "received", body.amount, text_of(tx->a, DEAI_ACCT_BYTES));
}

static void claim_row(history *all, const deai_op *op) {
  deai_op_claim claim;
  deai_voucher voucher;
  if (deai_decode(&deai_op_claim_table, op->body, &claim, NULL, NULL, 0) == DEAI_OK &&
      deai_decode(&deai_voucher_table, claim.voucher.body, &voucher, NULL, NULL, 0) == DEAI_OK)
    row_add(all, "claim", voucher.c, text_of(voucher.ch, DEAI_ID_BYTES));
}

static void channel_row(history *all, const deai_op *op) {
  deai_op_open open;
  deai_op_topup topup;
  deai_op_close end;
  if (deai_str_eq(op->type, deai_str_of("open")) &&
      deai_decode(&deai_op_open_table, op->body, &open, NULL, NULL, 0) == DEAI_OK)
    row_add(all, "open", open.deposit, text_of(open.payee, DEAI_KEY_BYTES));
  else if (deai_str_eq(op->type, deai_str_of("topup")) &&
           deai_decode(&deai_op_topup_table, op->body, &topup, NULL, NULL, 0) == DEAI_OK)
    row_add(all, "topup", topup.amount, text_of(topup.ch, DEAI_ID_BYTES));
  else if (deai_str_eq(op->type, deai_str_of("close")) &&
           deai_decode(&deai_op_close_table, op->body, &end, NULL, NULL, 0) == DEAI_OK)
    row_add(all, "close", 0, text_of(end.ch, DEAI_ID_BYTES));
  else if (deai_str_eq(op->type, deai_str_of("claim")))
    claim_row(all, op);
}

static void tx_rows(history *all, const deai_signed *pack, deai_arena arena) {
  deai_tx tx;
  if (deai_decode(&deai_tx_table, pack->body, &tx, &arena, NULL, 0) != DEAI_OK) return;
  const deai_op *list = tx.t.items;
  for (uint64_t i = 0; i < tx.t.count; i++) {
    bool own = memcmp(tx.a, all->account, DEAI_ACCT_BYTES) == 0;
    if (deai_str_eq(list[i].module, deai_str_of("account/1")) &&
        deai_str_eq(list[i].type, deai_str_of("transfer")))
      transfer_row(all, &tx, &list[i]);
    else if (own && deai_str_eq(list[i].module, deai_str_of("channel/1")))
      channel_row(all, &list[i]);
  }
}

/* block_rows adds what one block entry says. */
static int32_t block_rows(history *all, deai_bytes entry) {
  uint64_t cap = entry.len + HISTORY_ARENA; /* a decoded transaction is smaller than its bytes */
  uint8_t *memory = aligned_alloc(16, (size_t)((cap + 15) / 16 * 16));
  if (memory == NULL) return DEAI_ENOMEM;
  deai_arena arena = {memory, cap, 0};
  deai_block_entry block;
  deai_block head;
  int32_t status = deai_decode(&deai_block_entry_table, entry, &block, &arena, NULL, 0);
  if (status == DEAI_OK)
    status = deai_decode(&deai_block_table, block.block.body, &head, NULL, NULL, 0);
  if (status == DEAI_OK) {
    const deai_signed *txs = block.txs.items;
    all->height = head.h;
    all->time_ms = head.t;
    for (uint64_t i = 0; i < block.txs.count; i++)
      tx_rows(all, &txs[i], arena);
  }
  free(memory);
  return status;
}

json_t *deai_money_history(deai_node *node, uint64_t from) {
  history all = {.rows = json_array()};
  int32_t status = money_account(node, all.account);
  uint64_t at = from > 0 ? from : 1;
  uint64_t end = at + HISTORY_TURN;
  while (status == DEAI_OK && at < end && json_array_size(all.rows) < HISTORY_ROWS) {
    uint8_t *entry = NULL;
    uint64_t len = 0;
    status = deai_ledger_read(node->ledger, at, &entry, &len);
    if (status == DEAI_OK) status = block_rows(&all, deai_bytes_of(entry, len));
    free(entry);
    if (status == DEAI_OK) at++;
  }
  if (status != DEAI_OK && status != DEAI_ENOTFOUND) {
    json_decref(all.rows);
    return NULL;
  }
  return json_pack("{s:o, s:I}", "rows", all.rows, "next",
                   status == DEAI_ENOTFOUND ? (json_int_t)0 : (json_int_t)at);
}

/* ---- closing ---- */

typedef struct closing {
  deai_node *node;
  uint32_t count;
  uint8_t ids[DEAI_MONEY_CLOSE_MAX][DEAI_ID_BYTES];
} closing;

static int32_t close_row(void *user, deai_bytes key, deai_bytes value) {
  _Alignas(16) uint8_t room[REC_ARENA];
  deai_arena arena = {room, sizeof room, 0};
  closing *all = user;
  deai_channel_rec rec;
  if (all->count == DEAI_MONEY_CLOSE_MAX) return DEAI_EAGAIN;
  if (key.len != DEAI_ID_BYTES ||
      deai_decode(&deai_channel_rec_table, value, &rec, &arena, NULL, 0) != DEAI_OK)
    return DEAI_OK;
  if (rec.closing == 0 && memcmp(rec.key, deai_key_public(all->node->key), DEAI_KEY_BYTES) == 0 &&
      deai_pay_release(all->node->pay, key.ptr))
    memcpy(all->ids[all->count++], key.ptr, DEAI_ID_BYTES);
  return DEAI_OK;
}

uint32_t deai_money_close(deai_node *node, void *user, deai_ledger_done *done) {
  uint8_t room[DEAI_MONEY_CLOSE_MAX * 64];
  closing all = {.node = node};
  int32_t status =
      deai_ledger_each_record(node->ledger, deai_str_of("channel/1"), deai_str_of("channels"),
                              (deai_bytes){NULL, 0}, &all, close_row);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  if ((status != DEAI_OK && status != DEAI_EAGAIN) || all.count == 0) return 0;
  deai_cbor_put_array(&writer, all.count);
  for (uint32_t i = 0; i < all.count; i++) {
    deai_op_close op;
    memcpy(op.ch, all.ids[i], DEAI_ID_BYTES);
    deai_cbor_put_array(&writer, 3);
    deai_cbor_put_text(&writer, deai_str_of("channel/1"));
    deai_cbor_put_text(&writer, deai_str_of("close"));
    if (deai_encode(&deai_op_close_table, &op, &writer, NULL, 0) != DEAI_OK) return 0;
  }
  op_propose(node, deai_bytes_of(room, writer.len), user, done);
  return all.count;
}
