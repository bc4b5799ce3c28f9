/* The money of a node: a payer and a payee with a ledger and a link that the test plays. */
#include "tests/testing.h"

#include "deai/contracts/wire.h"
#include "host/base/file.h"
#include "host/ledger/pay.h"
#include "host/ledger/purse.h"
#include "host/ledger/tx.h"
#include "tests/host/router/ends.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define PRICE_IN  3u
#define PRICE_OUT 5u
#define UNITS     7u
#define DEPOSIT   10000u
#define KEEP_MS   36000u

static const uint8_t genesis[DEAI_HASH_BYTES] = {9};
static const uint8_t in_hash[DEAI_HASH_BYTES] = {4};

/* One node of the test: its money and what was said to it. */
typedef struct side {
  deai_key *key;
  deai_pay *pay;
  deai_settle settle;
  char folder[4096];
  uint64_t balance;
  uint32_t readies;
  int32_t ready_status;
  char ready_why[DEAI_ERR_CAP];
  uint32_t reopens;
  uint32_t sends;
  deai_voucher sent; /* the newest */
  uint8_t sent_bytes[512];
  uint64_t sent_len;
} side;

static deai_loop *loop;
static uint64_t now_ns;
static deai_platform platform;
static side payer;
static side payee;
static uint32_t folders;
/* the ledger: one channel */
static uint8_t channel_id[DEAI_ID_BYTES];
static deai_channel_rec channel;
static bool has_channel;
static bool payee_lags; /* the payee's ledger has no block yet */
static bool payer_lags;
static bool ledger_fails; /* the payer's ledger cannot be read */
static uint64_t height;
static uint32_t opens;
static uint32_t topups;
static uint32_t claims;
/* the link */
static bool connected;
static bool payee_silent; /* its net-channel names no sum */
static uint32_t asks;
static deai_call *work; /* the call as the payee sees it */
static test_end ends[16];
static uint32_t end_count;

static uint64_t clock_now(void *state) {
  (void)state;
  return now_ns;
}

/* ---- ops ---- */

static int32_t op_channel(void *user, const uint8_t ch[DEAI_ID_BYTES], deai_channel_rec *out) {
  if (user == &payer && ledger_fails) return DEAI_EIO;
  if (!has_channel || memcmp(ch, channel_id, DEAI_ID_BYTES) != 0) return DEAI_ENOTFOUND;
  if (user == &payee ? payee_lags : payer_lags) return DEAI_ENOTFOUND;
  *out = channel;
  return DEAI_OK;
}

static int32_t op_find(void *user, const uint8_t key[DEAI_KEY_BYTES], uint8_t out[DEAI_ID_BYTES]) {
  if (user != &payer || !has_channel || memcmp(key, channel.payee, DEAI_KEY_BYTES) != 0)
    return DEAI_ENOTFOUND;
  memcpy(out, channel_id, DEAI_ID_BYTES);
  return DEAI_OK;
}

static uint64_t op_height(void *user) {
  (void)user;
  return height;
}

static int32_t op_balance(void *user, uint64_t *out) {
  *out = ((side *)user)->balance;
  return DEAI_OK;
}

static void apply_open(const deai_op_open *op) {
  static uint8_t id[DEAI_HASH_BYTES] = {0x50};
  deai_channel_id(id, 0, channel_id);
  memset(&channel, 0, sizeof channel);
  memcpy(channel.key, deai_key_public(payer.key), DEAI_KEY_BYTES);
  memcpy(channel.payee, op->payee, DEAI_KEY_BYTES);
  channel.deposit = op->deposit;
  has_channel = true;
  payer.balance -= op->deposit;
  opens++;
}

static void apply_claim(const deai_op_claim *op) {
  deai_voucher voucher;
  ck_assert_int_eq(deai_decode(&deai_voucher_table, op->voucher.body, &voucher, NULL, NULL, 0),
                   DEAI_OK);
  ck_assert_uint_gt(voucher.c, channel.claimed);
  ck_assert_uint_le(voucher.c, channel.deposit);
  channel.claimed = voucher.c;
  claims++;
}

static void op_propose(void *user, deai_bytes ops, void *done_user, deai_ledger_done *done) {
  static const uint8_t id[DEAI_HASH_BYTES] = {0x50};
  deai_op op;
  deai_op_open open;
  deai_op_topup topup;
  deai_op_claim claim;
  (void)user;
  ck_assert_uint_eq(ops.ptr[0], 0x81); /* a list of one */
  ck_assert_int_eq(
      deai_decode(&deai_op_table, deai_bytes_of(ops.ptr + 1, ops.len - 1), &op, NULL, NULL, 0),
      DEAI_OK);
  if (deai_decode(&deai_op_open_table, op.body, &open, NULL, NULL, 0) == DEAI_OK) {
    apply_open(&open);
  } else if (deai_decode(&deai_op_topup_table, op.body, &topup, NULL, NULL, 0) == DEAI_OK) {
    channel.deposit += topup.amount;
    payer.balance -= topup.amount;
    topups++;
  } else {
    ck_assert_int_eq(deai_decode(&deai_op_claim_table, op.body, &claim, NULL, NULL, 0), DEAI_OK);
    apply_claim(&claim);
  }
  done(done_user, DEAI_OK, "", id, 1);
}

static void op_ask(void *user, const uint8_t key[DEAI_KEY_BYTES], deai_bytes args, void *done_user,
                   deai_pay_asked *done) {
  static uint8_t room[65536];
  char err[DEAI_ERR_CAP] = "";
  uint64_t len = 0;
  asks++;
  ck_assert_ptr_eq(user, &payer);
  ck_assert_mem_eq(key, deai_key_public(payee.key), DEAI_KEY_BYTES);
  int32_t status = DEAI_EPEER_LOST;
  if (connected)
    status = deai_pay_channel(payee.pay, deai_key_public(payer.key), args,
                              (deai_buf){room, sizeof room}, &len, err, sizeof err);
  if (status == DEAI_OK && payee_silent) {
    deai_net_channel_end end;
    deai_signed packs[DEAI_NET_RECEIPTS_MAX];
    deai_arena arena = {(uint8_t *)packs, sizeof packs, 0};
    ck_assert_int_eq(
        deai_decode(&deai_net_channel_end_table, deai_bytes_of(room, len), &end, &arena, NULL, 0),
        DEAI_OK);
    static uint8_t other[65536];
    end.has &= ~(uint64_t)DEAI_NET_CHANNEL_END_HAS_S;
    deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){other, sizeof other});
    ck_assert_int_eq(deai_encode(&deai_net_channel_end_table, &end, &writer, NULL, 0), DEAI_OK);
    done(done_user, DEAI_OK, "", deai_bytes_of(other, writer.len));
    return;
  }
  done(done_user, status, err, deai_bytes_of(room, len));
}

/* disk_top returns the ceiling that a copy of the payer's folder, as it is now, holds. */
static int32_t top_row(void *user, deai_bytes key, deai_bytes value) {
  deai_cbor_reader reader = deai_cbor_reader_of(value);
  deai_cbor_item item;
  (void)key;
  ck_assert_int_eq(deai_cbor_next(&reader, &item), DEAI_OK);
  ck_assert_int_eq(deai_cbor_next(&reader, &item), DEAI_OK); /* sum */
  ck_assert_int_eq(deai_cbor_next(&reader, &item), DEAI_OK);
  ck_assert_int_eq(deai_cbor_next(&reader, &item), DEAI_OK); /* top */
  ck_assert_int_eq(deai_cbor_next(&reader, &item), DEAI_OK);
  *(uint64_t *)user = item.number;
  return DEAI_OK;
}

static void folder_copy(const char *from, char *to, size_t cap) {
  char a[4200], b[4200];
  uint8_t *bytes = NULL;
  uint64_t len = 0;
  (void)snprintf(to, cap, "%s/pay-%u", testing_folder(), folders++);
  ck_assert_int_eq(deai_folder_make(to, 0700, NULL, 0), DEAI_OK);
  (void)snprintf(a, sizeof a, "%s/data.mdb", from);
  (void)snprintf(b, sizeof b, "%s/data.mdb", to);
  ck_assert_int_eq(deai_file_read(a, 1u << 26, &bytes, &len, NULL, 0), DEAI_OK);
  ck_assert_int_eq(deai_file_create(b, deai_bytes_of(bytes, len), 0600, NULL, 0), DEAI_OK);
  free(bytes);
}

static uint64_t disk_top(void) {
  char copy[4096];
  uint64_t top = 0;
  deai_purse *purse = NULL;
  deai_loop *other = deai_loop_new(deai_platform_system(), 0);
  folder_copy(payer.folder, copy, sizeof copy);
  ck_assert_int_eq(deai_purse_open(other, copy, &purse, NULL, 0), DEAI_OK);
  ck_assert_int_eq(deai_purse_each(purse, deai_bytes_of("o", 1), &top, top_row), DEAI_OK);
  deai_purse_free(purse);
  deai_loop_free(other);
  return top;
}

static void note_voucher(side *who, const deai_signed *voucher) {
  ck_assert_int_eq(deai_decode(&deai_voucher_table, voucher->body, &who->sent, NULL, NULL, 0),
                   DEAI_OK);
  ck_assert_uint_ge(disk_top(), who->sent.c); /* on the disk before it is sent */
  deai_cbor_writer writer =
      deai_cbor_writer_of((deai_buf){who->sent_bytes, sizeof who->sent_bytes});
  ck_assert_int_eq(deai_encode(&deai_signed_table, voucher, &writer, NULL, 0), DEAI_OK);
  who->sent_len = writer.len;
}

static void op_send(void *user, const uint8_t key[DEAI_KEY_BYTES], deai_call *call,
                    const deai_signed *voucher) {
  (void)key, (void)call;
  side *who = user;
  who->sends++;
  note_voucher(who, voucher);
  if (work != NULL && connected) deai_pay_voucher(payee.pay, work, voucher);
}

static void op_ready(void *user, deai_call *call, int32_t status, const char *why) {
  (void)call;
  side *who = user;
  who->readies++;
  who->ready_status = status;
  (void)snprintf(who->ready_why, sizeof who->ready_why, "%s", why);
}

static void op_reopen(void *user, deai_call *call) {
  (void)call;
  ((side *)user)->reopens++;
}

static const deai_pay_ops ops = {.channel = op_channel,
                                 .find = op_find,
                                 .height = op_height,
                                 .balance = op_balance,
                                 .propose = op_propose,
                                 .ask = op_ask,
                                 .send = op_send,
                                 .ready = op_ready,
                                 .reopen = op_reopen};

/* ---- the two sides ---- */

static void side_open(side *who) {
  char err[DEAI_ERR_CAP] = "";
  deai_pay_options options = {.loop = loop,
                              .folder = who->folder,
                              .key = who->key,
                              .genesis = genesis,
                              .deposit = DEPOSIT,
                              .close_after_ms = 1000,
                              .keep_ms = KEEP_MS,
                              .ops = &ops,
                              .user = who};
  ck_assert_msg(deai_pay_open(&options, &who->pay, err, sizeof err) == DEAI_OK, "%s", err);
  deai_pay_settle(who->pay, &who->settle);
}

static void side_start(side *who, uint8_t seed) {
  uint8_t bytes[32];
  memset(who, 0, sizeof *who);
  memset(bytes, seed, sizeof bytes);
  who->key = deai_key_of_seed(bytes);
  (void)snprintf(who->folder, sizeof who->folder, "%s/pay-%u", testing_folder(), folders++);
  side_open(who);
}

/* side_crash ends it as SIGKILL would: what was not synced is lost. */
static void side_crash(side *who) {
  char copy[4096];
  folder_copy(who->folder, copy, sizeof copy);
  deai_pay_free(who->pay);
  (void)snprintf(who->folder, sizeof who->folder, "%s", copy);
  who->readies = 0;
  side_open(who);
}

static void setup(void) {
  ck_assert_int_eq(deai_sign_start(NULL, 0), DEAI_OK);
  now_ns = 1000000000;
  platform = *deai_platform_system();
  platform.now_ns = clock_now;
  loop = deai_loop_new(&platform, 0);
  ck_assert_ptr_nonnull(loop);
  side_start(&payer, 1);
  side_start(&payee, 2);
  payer.balance = 100000;
  has_channel = payee_lags = payer_lags = ledger_fails = payee_silent = false;
  height = 10;
  opens = topups = claims = asks = 0;
  connected = true;
  work = NULL;
  end_count = 0;
}

static void call_end(deai_call *call) {
  deai_call_cancel(call, DEAI_ECANCELLED);
  deai_loop_drain(loop);
}

static void teardown(void) {
  for (uint32_t i = 0; i < end_count; i++) {
    if (ends[i].call != NULL) call_end(ends[i].call);
  }
  deai_loop_drain(loop);
  deai_pay_free(payer.pay);
  deai_pay_free(payee.pay);
  deai_key_free(payer.key);
  deai_key_free(payee.key);
  deai_loop_free(loop);
}

static deai_call *call_new(uint8_t job, bool at_payee, deai_bytes voucher) {
  uint8_t id[DEAI_ID_BYTES] = {job};
  ck_assert_uint_lt(end_count, 16);
  test_end *end = &ends[end_count++];
  *end = test_end_of(loop, DEAI_SIDE_CALLER);
  deai_call_spec spec = {.service = deai_str_of("deai.lm/1-draft"),
                         .method = deai_str_of("generate"),
                         .time_ms = 600000,
                         .caller_kind = at_payee ? DEAI_CALLER_PEER : DEAI_CALLER_PLUGIN,
                         .caller_id = deai_bytes_of(deai_key_public(payer.key), DEAI_KEY_BYTES),
                         .job = deai_bytes_of(id, sizeof id),
                         .units = UNITS,
                         .voucher = voucher};
  end->call = deai_call_new(loop, &spec, &test_caller_ops, end);
  ck_assert_ptr_nonnull(end->call);
  return end->call;
}

static int32_t do_pay(deai_call *call, char *err) {
  return payer.settle.pay(payer.pay, call, deai_key_public(payee.key), PRICE_IN, PRICE_OUT, err,
                          DEAI_ERR_CAP);
}

static int32_t do_admit(deai_call *call, char *err) {
  return payee.settle.admit(payee.pay, call, PRICE_IN, PRICE_OUT, err, DEAI_ERR_CAP);
}

/* paid_call brings a job to the payee: the payer's call is returned, `work` is the payee's. */
static deai_call *paid_call(uint8_t job) {
  char err[DEAI_ERR_CAP] = "";
  deai_signed first;
  deai_call *call = call_new(job, false, (deai_bytes){NULL, 0});
  int32_t status = do_pay(call, err);
  if (status == DEAI_EAGAIN) {
    deai_loop_drain(loop);
    ck_assert_msg(payer.ready_status == DEAI_OK && payer.readies > 0, "%s", payer.ready_why);
  } else {
    ck_assert_msg(status == DEAI_OK, "%s", err);
  }
  ck_assert_int_eq(deai_pay_voucher_of(payer.pay, call, &first), 1);
  note_voucher(&payer, &first);
  work = call_new(job, true, deai_bytes_of(payer.sent_bytes, payer.sent_len));
  payee.readies = 0;
  ck_assert_msg(do_admit(work, err) == DEAI_EAGAIN, "%s", err);
  deai_loop_drain(loop);
  ck_assert_msg(payee.readies == 1 && payee.ready_status == DEAI_OK, "%s", payee.ready_why);
  return call;
}

/* give_units lets the payee give up to `count` units one by one, each of which the payer gets;
   returns how many went. */
static uint64_t give_units(deai_call *call, uint64_t from, uint64_t count, bool arrive) {
  for (uint64_t i = from; i < from + count; i++) {
    if (payee.settle.give(payee.pay, work, i, 1, in_hash) != DEAI_OK) return i - from;
    if (arrive) payer.settle.got(payer.pay, call, i + 1);
    deai_loop_drain(loop);
  }
  return count;
}

static deai_receipt receipt_of(uint8_t job, uint64_t units) {
  static const uint8_t empty_map = 0xa0;
  deai_receipt receipt = {.m = deai_str_of("generate"),
                          .s = deai_str_of("deai.lm/1-draft"),
                          .out = deai_bytes_of(&empty_map, 1),
                          .u_in = UNITS,
                          .u_out = units,
                          .price = UNITS * PRICE_IN + units * PRICE_OUT};
  receipt.job[0] = job;
  memcpy(receipt.in, in_hash, sizeof in_hash);
  memcpy(receipt.payer, deai_key_public(payer.key), DEAI_KEY_BYTES);
  memcpy(receipt.worker, deai_key_public(payee.key), DEAI_KEY_BYTES);
  return receipt;
}

/* finish ends the job at both sides; `say` is what the payee's router says. */
static int32_t finish(deai_call *call, const deai_receipt *say, const deai_receipt *expected) {
  static uint8_t room[65536];
  int64_t len = payee.settle.receipt(payee.pay, work, say, (deai_buf){room, sizeof room});
  ck_assert_int_gt(len, 0);
  payee.settle.over(payee.pay, work);
  work = NULL;
  int32_t status =
      payer.settle.check(payer.pay, call, expected, deai_bytes_of(room, (uint64_t)len));
  if (status != DEAI_OK) payer.settle.left(payer.pay, call, DEAI_EVERIFY);
  payer.settle.over(payer.pay, call);
  deai_loop_drain(loop);
  return status;
}

static uint64_t whole_job(uint8_t job, uint64_t units) {
  deai_call *call = paid_call(job);
  ck_assert_uint_eq(give_units(call, 0, units, true), units);
  deai_receipt say = receipt_of(job, units);
  ck_assert_int_eq(finish(call, &say, &say), DEAI_OK);
  return say.price;
}

/* ---- the payee refuses ---- */

typedef struct forged {
  uint8_t job;
  uint64_t n;
  uint64_t c;
  bool other_key;
  bool flip;
  const char *why;
} forged;

static const forged forgeries[] = {
    {1, 16, 101, true, false, "signed by the node that calls"},
    {1, 16, 101, false, true, "good signature"},
    {2, 16, 101, false, false, "for this job"},
    {1, 15, 101, false, false, "for 16 units, found 15"},
    {1, 16, 100, false, false, "at least 101 (101 for this job at 3 and 5 a unit), found 100"},
};

static void channel_open(void) {
  deai_op_open op = {.deposit = DEPOSIT};
  memcpy(op.payee, deai_key_public(payee.key), DEAI_KEY_BYTES);
  apply_open(&op);
}

static uint64_t voucher_make(const forged *what, const deai_key *key, uint8_t *out, uint64_t cap) {
  uint64_t len = 0;
  deai_voucher voucher = {.c = what->c, .n = what->n, .job = {what->job}};
  memcpy(voucher.ch, channel_id, DEAI_ID_BYTES);
  ck_assert_int_eq(deai_sign_struct(DEAI_SIGN_VOUCHER, &deai_voucher_table, &voucher, genesis, key,
                                    (deai_buf){out, cap}, &len, NULL, 0),
                   DEAI_OK);
  if (what->flip) out[len - 1] ^= 1;
  return len;
}

static void admit_refused(deai_bytes voucher, const char *why) {
  char err[DEAI_ERR_CAP] = "";
  deai_call *call = call_new(1, true, voucher);
  int32_t status = do_admit(call, err);
  ck_assert_msg(status == DEAI_EPAYMENT && strstr(err, why) != NULL, "%d: %s", status, err);
}

START_TEST(a_call_without_a_good_voucher_is_refused) {
  uint8_t room[512];
  channel_open();
  admit_refused((deai_bytes){NULL, 0}, "expected a voucher for 101 (7 units in at 3, 16 out at 5)");
  admit_refused(deai_bytes_of("xx", 2), "another form");
  for (size_t i = 0; i < sizeof forgeries / sizeof forgeries[0]; i++) {
    const deai_key *key = forgeries[i].other_key ? payee.key : payer.key;
    admit_refused(deai_bytes_of(room, voucher_make(&forgeries[i], key, room, sizeof room)),
                  forgeries[i].why);
  }
}
END_TEST

START_TEST(a_channel_that_does_not_pay_this_node_is_refused) {
  uint8_t room[512];
  const forged good = {.job = 1, .n = 16, .c = 101};
  channel_open();
  deai_bytes voucher = deai_bytes_of(room, voucher_make(&good, payer.key, room, sizeof room));
  channel.closing = 5;
  admit_refused(voucher, "found one that closes");
  channel.closing = 0;
  channel.key[0] ^= 1;
  admit_refused(voucher, "the calling node opened");
  channel.key[0] ^= 1;
  channel.payee[0] ^= 1;
  admit_refused(voucher, "pays this node");
}
END_TEST

START_TEST(an_unknown_channel_is_waited_for_and_then_refused) {
  char err[DEAI_ERR_CAP] = "";
  uint8_t room[512];
  const forged good = {.job = 1, .n = 16, .c = 101};
  channel_open();
  payee_lags = true;
  deai_bytes voucher = deai_bytes_of(room, voucher_make(&good, payer.key, room, sizeof room));
  ck_assert_int_eq(do_admit(call_new(1, true, voucher), err), DEAI_EAGAIN);
  deai_pay_block(payee.pay);
  ck_assert_uint_eq(payee.readies, 0);
  now_ns += (DEAI_PAY_LEDGER_MS + 1) * UINT64_C(1000000);
  deai_pay_block(payee.pay);
  ck_assert_int_eq(payee.ready_status, DEAI_EPAYMENT);
  ck_assert_ptr_nonnull(strstr(payee.ready_why, "expected a channel of the ledger"));
  ck_assert_int_eq(do_admit(call_new(2, true, voucher), err), DEAI_EPAYMENT); /* of another job */
  ck_assert_int_eq(do_admit(call_new(1, true, voucher), err), DEAI_EAGAIN);
  payee_lags = false;
  deai_pay_block(payee.pay);
  deai_loop_drain(loop);
  ck_assert_uint_eq(payee.readies, 2);
  ck_assert_int_eq(payee.ready_status, DEAI_OK);
}
END_TEST

static void send_forged(const forged *what, const deai_key *key) {
  uint8_t room[512];
  deai_signed pack;
  uint64_t len = voucher_make(what, key, room, sizeof room);
  ck_assert_int_eq(deai_decode(&deai_signed_table, deai_bytes_of(room, len), &pack, NULL, NULL, 0),
                   DEAI_OK);
  deai_pay_voucher(payee.pay, work, &pack);
  deai_loop_drain(loop);
}

START_TEST(vouchers_that_do_not_pay_more_open_nothing) {
  deai_call *call = paid_call(1);
  uint64_t c = payer.sent.c;
  connected = false; /* the payer's own vouchers are lost */
  ck_assert_uint_eq(give_units(call, 0, 100, false), 2 * DEAI_PAY_AHEAD);
  ck_assert_int_eq(payee.settle.give(payee.pay, work, 32, 1, in_hash), DEAI_EAGAIN);
  const forged bad[] = {{.job = 1, .n = 16, .c = c},                   /* the same n again */
                        {.job = 1, .n = 24, .c = c},                   /* c stays behind n */
                        {.job = 1, .n = 24, .c = c - 1},               /* a lower c */
                        {.job = 2, .n = 24, .c = c + 200},             /* of another job */
                        {.job = 1, .n = 24, .c = c + 200, .flip = 1}}; /* another signature */
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    send_forged(&bad[i], payer.key);
  channel_id[0] ^= 1;
  const forged good = {.job = 1, .n = 24, .c = c + 8 * PRICE_OUT};
  send_forged(&good, payer.key); /* of another channel */
  channel_id[0] ^= 1;
  ck_assert_uint_eq(payee.reopens, 0);
  ck_assert_int_eq(payee.settle.give(payee.pay, work, 32, 1, in_hash), DEAI_EAGAIN);
  send_forged(&good, payer.key);
  ck_assert_uint_eq(payee.reopens, 1);
  ck_assert_uint_eq(give_units(call, 32, 100, false), 8);
}
END_TEST

START_TEST(who_may_ask_for_a_channel) {
  uint8_t room[1024];
  char err[DEAI_ERR_CAP] = "";
  uint64_t len = 0;
  deai_net_channel ask = {0};
  (void)paid_call(1);
  memcpy(ask.ch, channel_id, DEAI_ID_BYTES);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  ck_assert_int_eq(deai_encode(&deai_net_channel_table, &ask, &writer, NULL, 0), DEAI_OK);
  deai_bytes args = deai_bytes_of(room, writer.len);
  static uint8_t out[65536];
  deai_buf to = {out, sizeof out};
  ck_assert_int_eq(
      deai_pay_channel(payee.pay, deai_key_public(payee.key), args, to, &len, err, sizeof err),
      DEAI_EDENIED);
  ck_assert_int_eq(
      deai_pay_channel(payee.pay, deai_key_public(payer.key), args, to, &len, err, sizeof err),
      DEAI_EBUSY);
  ck_assert_int_eq(deai_pay_channel(payee.pay, deai_key_public(payer.key), deai_bytes_of("x", 1),
                                    to, &len, err, sizeof err),
                   DEAI_EINVAL);
  room[writer.len - 1] ^= 1;
  ck_assert_int_eq(
      deai_pay_channel(payee.pay, deai_key_public(payer.key), args, to, &len, err, sizeof err),
      DEAI_ENOTFOUND);
}
END_TEST

/* ---- the payer refuses ---- */

START_TEST(without_money_nothing_is_opened) {
  char err[DEAI_ERR_CAP] = "";
  payer.balance = 100;
  deai_call *call = call_new(1, false, (deai_bytes){NULL, 0});
  ck_assert_int_eq(do_pay(call, err), DEAI_EPAYMENT);
  ck_assert_msg(strstr(err, "expected at least 0.000000101 coins") != NULL &&
                    strstr(err, "found 0.000000100") != NULL &&
                    strstr(err, "deai wallet show") != NULL,
                "%s", err);
  ck_assert_uint_eq(opens, 0);
  payer.balance = 101; /* just enough: all of it is the deposit */
  (void)paid_call(2);
  ck_assert_uint_eq(channel.deposit, 101);
}
END_TEST

START_TEST(a_receipt_that_says_more_is_refused) {
  deai_call *call = paid_call(1);
  ck_assert_uint_eq(give_units(call, 0, 5, true), 5);
  deai_receipt expected = receipt_of(1, 5);
  deai_receipt say = receipt_of(1, 5);
  if (_i == 0) say.price++;
  if (_i == 1) say.u_out++, say.price += PRICE_OUT;
  if (_i == 2) say.u_in++;
  if (_i == 3) say.in[0] ^= 1;
  if (_i == 4) say.m = deai_str_of("replay");
  ck_assert_int_eq(finish(call, &say, &expected), DEAI_EVERIFY);
  deai_pay_totals totals;
  deai_pay_totals_get(payer.pay, &totals);
  ck_assert_uint_eq(totals.unknown, 1); /* the right one is still owed */
}
END_TEST

START_TEST(a_free_receipt_has_no_price) {
  static uint8_t room[4096];
  deai_call *mine = call_new(1, false, (deai_bytes){NULL, 0});
  work = call_new(1, true, (deai_bytes){NULL, 0});
  deai_receipt say = receipt_of(1, 5);
  say.price = 0;
  int64_t len = payee.settle.receipt(payee.pay, work, &say, (deai_buf){room, sizeof room});
  ck_assert_int_gt(len, 0);
  deai_bytes bytes = deai_bytes_of(room, (uint64_t)len);
  ck_assert_int_eq(payer.settle.check(payer.pay, mine, &say, bytes), DEAI_OK);
  deai_receipt other = say;
  other.u_out = 6;
  ck_assert_int_eq(payer.settle.check(payer.pay, mine, &other, bytes), DEAI_EVERIFY);
  room[len - 1] ^= 1;
  ck_assert_int_eq(payer.settle.check(payer.pay, mine, &say, bytes), DEAI_EVERIFY);
}
END_TEST

/* ---- an answer and its money ---- */

START_TEST(vouchers_go_with_the_units_and_the_sum_is_exact) {
  deai_pay_totals totals;
  uint64_t price = whole_job(1, 100);
  ck_assert_uint_eq(opens, 1);
  ck_assert_uint_ge(payer.sends, 100 / 9); /* renewed when half is used */
  ck_assert_uint_le(payer.sends, 100 / 7);
  price += whole_job(2, 3);
  deai_pay_totals_get(payee.pay, &totals);
  ck_assert_uint_eq(totals.owed, price);
  deai_pay_totals_get(payer.pay, &totals);
  ck_assert_uint_eq(totals.spent, price);
  ck_assert_uint_eq(totals.pending + totals.unknown, 0);
  deai_pay_claim(payee.pay, NULL, NULL);
  deai_loop_drain(loop);
  ck_assert_uint_eq(channel.claimed, price); /* the exact voucher, not the highest */
  deai_pay_claim(payee.pay, NULL, NULL);
  deai_loop_drain(loop);
  ck_assert_uint_eq(claims, 1);
}
END_TEST

START_TEST(a_channel_is_topped_up_while_an_answer_runs) {
  uint64_t units = 2 * DEPOSIT / PRICE_OUT;
  uint64_t price = whole_job(1, units);
  ck_assert_uint_ge(topups, 1);
  ck_assert_uint_eq(opens, 1);
  deai_pay_claim(payee.pay, NULL, NULL);
  deai_loop_drain(loop);
  ck_assert_uint_eq(channel.claimed, price);
}
END_TEST

START_TEST(without_the_exact_voucher_the_lowest_that_covers_is_claimed) {
  deai_call *call = paid_call(1);
  ck_assert_uint_eq(give_units(call, 0, 20, true), 20);
  connected = false;
  deai_receipt say = receipt_of(1, 20);
  ck_assert_int_eq(finish(call, &say, &say), DEAI_OK);
  deai_pay_claim(payee.pay, NULL, NULL);
  deai_loop_drain(loop);
  ck_assert_uint_ge(channel.claimed, say.price);
  ck_assert_uint_le(channel.claimed, say.price + DEAI_PAY_AHEAD * PRICE_OUT);
  connected = true;
  uint64_t more = whole_job(2, 1) + say.price; /* the surplus counts for the next one */
  deai_pay_totals totals;
  deai_pay_totals_get(payer.pay, &totals);
  ck_assert_uint_eq(totals.spent, more);
}
END_TEST

/* ---- pruning ---- */

static int32_t count_record(void *user, deai_bytes key, deai_bytes value) {
  (void)key, (void)value;
  (*(uint32_t *)user)++;
  return DEAI_OK;
}

/* kept_of closes a side, counts its durable records of a kind, and opens it again. */
static uint32_t kept_of(side *who, const char *kind) {
  char err[DEAI_ERR_CAP] = "";
  deai_purse *purse = NULL;
  uint32_t count = 0;
  deai_loop_drain(loop);
  deai_pay_free(who->pay);
  ck_assert_int_eq(deai_purse_open(loop, who->folder, &purse, err, sizeof err), DEAI_OK);
  ck_assert_int_eq(deai_purse_each(purse, deai_bytes_of(kind, 1), &count, count_record), DEAI_OK);
  deai_purse_free(purse);
  side_open(who);
  return count;
}

static uint32_t records_of(const char *kind) {
  return kept_of(&payee, kind);
}

START_TEST(receipts_of_settled_channels_are_kept_for_a_while) {
  const uint64_t day = 86400000;
  for (uint8_t job = 1; job <= 3; job++)
    (void)whole_job(job, 1);
  ck_assert_uint_eq(deai_pay_prune(payee.pay, day), 0);
  ck_assert_uint_eq(deai_pay_prune(payee.pay, 9 * day), 0); /* the ledger has the channel */
  ck_assert_uint_eq(records_of("r"), 3);
  ck_assert_uint_eq(records_of("g"), 0);
  has_channel = false;
  ck_assert_uint_eq(deai_pay_prune(payee.pay, 10 * day), 0);
  ck_assert_uint_eq(records_of("g"), 1);
  ck_assert_uint_eq(deai_pay_prune(payee.pay, 10 * day + KEEP_MS - 1), 0);
  has_channel = true; /* an older ledger that has caught up */
  ck_assert_uint_eq(deai_pay_prune(payee.pay, 10 * day + KEEP_MS), 0);
  ck_assert_uint_eq(records_of("g"), 0);
  has_channel = false;
  ck_assert_uint_eq(deai_pay_prune(payee.pay, 20 * day), 0);
  ck_assert_uint_eq(records_of("i"), 1); /* it was closed and opened: the time is on the disk */
  ck_assert_uint_eq(deai_pay_prune(payee.pay, 15 * day), 0); /* the clock went back */
  ck_assert_uint_eq(deai_pay_prune(payee.pay, 15 * day + KEEP_MS - 1), 0);
  ck_assert_uint_eq(deai_pay_prune(payee.pay, 15 * day + KEEP_MS), 3);
  ck_assert_uint_eq(records_of("r"), 0);
  ck_assert_uint_eq(records_of("i"), 0);
  ck_assert_uint_eq(records_of("g"), 0);
  ck_assert_uint_eq(deai_pay_prune(payee.pay, 99 * day), 0);
}
END_TEST

/* ---- lost and found ---- */

/* lose_payee has the payee killed in the middle of a job: it owes the receipt. */
static void lose_payee(uint8_t job) {
  deai_call *call = paid_call(job);
  ck_assert_uint_eq(give_units(call, 0, 50, true), 50);
  connected = false;
  payer.settle.left(payer.pay, call, DEAI_EPEER_LOST);
  payer.settle.over(payer.pay, call);
  payee.settle.over(payee.pay, work); /* the test's call ends; the image is from before */
  work = NULL;
  side_crash(&payee);
}

START_TEST(a_killed_payee_owes_its_receipt_and_gives_it) {
  char err[DEAI_ERR_CAP] = "";
  deai_pay_totals totals;
  lose_payee(1);
  deai_call *next = call_new(2, false, (deai_bytes){NULL, 0});
  ck_assert_int_eq(do_pay(next, err), DEAI_EPAYMENT);
  ck_assert_ptr_nonnull(strstr(err, "expected member"));
  connected = true;
  uint64_t price = whole_job(3, 2);
  deai_pay_totals_get(payer.pay, &totals);
  ck_assert_uint_eq(totals.unknown, 0);
  ck_assert_uint_gt(totals.spent, price + UNITS * PRICE_IN + 30 * PRICE_OUT);
  ck_assert_uint_le(totals.spent, price + UNITS * PRICE_IN + 50 * PRICE_OUT);
  deai_pay_totals both;
  deai_pay_totals_get(payee.pay, &both);
  ck_assert_uint_eq(both.owed, totals.spent);
}
END_TEST

/* fetch_owed has a receipt fetched that a killed payee owed; the payer's ledger has its channel as
   `lags` says. */
static void fetch_owed(uint8_t job, bool lags) {
  lose_payee(job);
  payer_lags = lags;
  connected = true;
  (void)whole_job((uint8_t)(job + 1), 2);
}

static const uint64_t day_ms = UINT64_C(86400000);

START_TEST(a_fetched_receipt_stays_while_the_ledger_may_still_have_its_channel) {
  static const char *const cases[] = {"has it", "never had it", "is older", "cannot be read",
                                      "has it again"};
  fetch_owed(1, _i == 1);
  uint64_t now = deai_wall_ms(deai_platform_system());
  ck_assert_uint_eq(deai_pay_prune(payer.pay, now), 0);
  if (_i == 1 || _i == 2 || _i == 4) has_channel = false;
  if (_i == 2) height--;
  if (_i == 3) ledger_fails = true;
  ck_assert_uint_eq(deai_pay_prune(payer.pay, now + day_ms), 0);
  if (_i == 4) {
    has_channel = true; /* after what an operator did to the ledger's files */
    ck_assert_uint_eq(deai_pay_prune(payer.pay, now + 2 * day_ms), 0);
    has_channel = false;
    ck_assert_uint_eq(deai_pay_prune(payer.pay, now + 3 * day_ms), 0);
  } else {
    ck_assert_msg(deai_pay_prune(payer.pay, now + 99 * day_ms) == 0, "%s", cases[_i]);
  }
  ck_assert_msg(kept_of(&payer, "f") == 1, "%s", cases[_i]);
  ck_assert_uint_eq(deai_pay_prune(payer.pay, now + 3 * day_ms + KEEP_MS - 1), 0);
}
END_TEST

START_TEST(fetched_receipts_of_a_settled_channel_go_after_a_while) {
  fetch_owed(1, false);
  fetch_owed(3, false);
  ck_assert_uint_eq(kept_of(&payer, "f"), 2);
  ck_assert_uint_eq(kept_of(&payer, "h"), 1);
  uint64_t now = deai_wall_ms(deai_platform_system()) + day_ms;
  has_channel = false;
  ck_assert_uint_eq(deai_pay_prune(payer.pay, now + day_ms), 0);
  ck_assert_uint_eq(deai_pay_prune(payer.pay, now), 0); /* the clock went back */
  ck_assert_uint_eq(kept_of(&payer, "f"), 2); /* it was closed and opened: the time is kept */
  ck_assert_uint_eq(deai_pay_prune(payer.pay, now + KEEP_MS - 1), 0);
  ck_assert_uint_eq(deai_pay_prune(payer.pay, now + KEEP_MS), 2);
  ck_assert_uint_eq(kept_of(&payer, "f"), 0);
  ck_assert_uint_eq(kept_of(&payer, "h"), 0);
  ck_assert_uint_eq(deai_pay_prune(payer.pay, now + 99 * day_ms), 0);
}
END_TEST

START_TEST(a_lagging_ledger_that_catches_up_lets_a_fetched_receipt_go_later) {
  fetch_owed(1, true);
  uint64_t now = deai_wall_ms(deai_platform_system()) + day_ms;
  ck_assert_uint_eq(deai_pay_prune(payer.pay, now), 0);
  ck_assert_uint_eq(kept_of(&payer, "h"), 0); /* not seen yet: found by the receipt itself */
  payer_lags = false;
  ck_assert_uint_eq(deai_pay_prune(payer.pay, now), 0);
  ck_assert_uint_eq(kept_of(&payer, "h"), 1);
  has_channel = false;
  height++;
  ck_assert_uint_eq(deai_pay_prune(payer.pay, now + day_ms), 0);
  ck_assert_uint_eq(deai_pay_prune(payer.pay, now + day_ms + KEEP_MS), 1);
  ck_assert_uint_eq(kept_of(&payer, "f"), 0);
}
END_TEST

/* f_foreign keeps a receipt of another channel at the payer. */
static void f_foreign(void) {
  char err[DEAI_ERR_CAP] = "";
  uint8_t body[512];
  uint8_t room[1024];
  static const uint8_t key[1 + DEAI_ID_BYTES] = {'f', 77};
  deai_purse *purse = NULL;
  deai_receipt other = receipt_of(77, 1);
  other.has |= DEAI_RECEIPT_HAS_CH;
  memset(other.ch, 0xee, sizeof other.ch);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){body, sizeof body});
  ck_assert_int_eq(deai_encode(&deai_receipt_table, &other, &writer, NULL, 0), DEAI_OK);
  deai_signed pack = {.body = deai_bytes_of(body, writer.len)};
  writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  ck_assert_int_eq(deai_encode(&deai_signed_table, &pack, &writer, NULL, 0), DEAI_OK);
  deai_loop_drain(loop);
  deai_pay_free(payer.pay);
  ck_assert_int_eq(deai_purse_open(loop, payer.folder, &purse, err, sizeof err), DEAI_OK);
  ck_assert_int_eq(
      deai_purse_put(purse, deai_bytes_of(key, sizeof key), deai_bytes_of(room, writer.len)),
      DEAI_OK);
  deai_purse_free(purse);
  side_open(&payer);
}

START_TEST(only_receipts_of_the_settled_channel_go) {
  fetch_owed(1, false);
  f_foreign();
  uint64_t now = deai_wall_ms(deai_platform_system()) + day_ms;
  has_channel = false;
  ck_assert_uint_eq(deai_pay_prune(payer.pay, now), 0);
  ck_assert_uint_eq(deai_pay_prune(payer.pay, now + KEEP_MS), 1);
  ck_assert_uint_eq(kept_of(&payer, "f"), 1);
  ck_assert_uint_eq(deai_pay_prune(payer.pay, now + 99 * day_ms), 0);
}
END_TEST

START_TEST(what_never_arrived_costs_nothing) {
  deai_pay_totals totals;
  deai_call *call = call_new(1, false, (deai_bytes){NULL, 0});
  char err[DEAI_ERR_CAP] = "";
  int32_t status = do_pay(call, err);
  deai_loop_drain(loop);
  ck_assert(status == DEAI_EAGAIN && payer.ready_status == DEAI_OK);
  payer.settle.left(payer.pay, call, DEAI_EPEER_LOST);
  payer.settle.over(payer.pay, call);
  uint64_t price = whole_job(2, 4);
  deai_pay_totals_get(payer.pay, &totals);
  ck_assert_uint_eq(totals.spent, price);
}
END_TEST

START_TEST(a_payer_that_was_killed_goes_on_at_the_payees_sum) {
  deai_pay_totals totals;
  uint64_t price = whole_job(1, 30);
  deai_call *call = paid_call(2);
  ck_assert_uint_eq(give_units(call, 0, 12, true), 12);
  static uint8_t room[65536];
  deai_receipt say = receipt_of(2, 12);
  ck_assert_int_gt(payee.settle.receipt(payee.pay, work, &say, (deai_buf){room, sizeof room}), 0);
  payee.settle.over(payee.pay, work);
  side_crash(&payer);
  asks = 0;
  price += say.price + whole_job(3, 1);
  ck_assert_uint_ge(asks, 1);
  ck_assert_uint_eq(opens, 1);
  deai_pay_totals_get(payer.pay, &totals);
  ck_assert_uint_eq(totals.spent, price);
}
END_TEST

START_TEST(without_the_payees_sum_it_goes_on_at_the_ceiling) {
  (void)whole_job(1, 30);
  (void)paid_call(2);
  uint64_t top = disk_top();
  payee.settle.over(payee.pay, work);
  side_crash(&payer);
  payee_silent = true;
  (void)paid_call(3);
  ck_assert_uint_eq(payer.sent.c, top + UNITS * PRICE_IN + DEAI_PAY_AHEAD * PRICE_OUT);
}
END_TEST

START_TEST(after_a_restore_the_highest_own_voucher_is_adopted) {
  char backup[4096];
  deai_pay_totals totals;
  uint64_t price = whole_job(1, 10);
  folder_copy(payer.folder, backup, sizeof backup);
  price += whole_job(2, 900); /* far above the ceiling in the backup */
  deai_pay_free(payer.pay);
  if (_i == 0)
    (void)snprintf(payer.folder, sizeof payer.folder, "%s", backup);
  else /* all records lost: the channel is found on the ledger */
    (void)snprintf(payer.folder, sizeof payer.folder, "%s/pay-%u", testing_folder(), folders++);
  side_open(&payer);
  price += whole_job(3, 2);
  deai_pay_totals_get(payer.pay, &totals);
  ck_assert_uint_eq(totals.spent, price);
  ck_assert_uint_eq(opens, 1);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("pay");
  TCase *tests = tcase_create("pay");
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, a_call_without_a_good_voucher_is_refused);
  tcase_add_test(tests, a_channel_that_does_not_pay_this_node_is_refused);
  tcase_add_test(tests, an_unknown_channel_is_waited_for_and_then_refused);
  tcase_add_test(tests, vouchers_that_do_not_pay_more_open_nothing);
  tcase_add_test(tests, who_may_ask_for_a_channel);
  tcase_add_test(tests, without_money_nothing_is_opened);
  tcase_add_loop_test(tests, a_receipt_that_says_more_is_refused, 0, 5);
  tcase_add_test(tests, a_free_receipt_has_no_price);
  tcase_add_test(tests, vouchers_go_with_the_units_and_the_sum_is_exact);
  tcase_add_test(tests, a_channel_is_topped_up_while_an_answer_runs);
  tcase_add_test(tests, without_the_exact_voucher_the_lowest_that_covers_is_claimed);
  tcase_add_test(tests, receipts_of_settled_channels_are_kept_for_a_while);
  tcase_add_test(tests, a_killed_payee_owes_its_receipt_and_gives_it);
  tcase_add_loop_test(tests, a_fetched_receipt_stays_while_the_ledger_may_still_have_its_channel, 0,
                      5);
  tcase_add_test(tests, fetched_receipts_of_a_settled_channel_go_after_a_while);
  tcase_add_test(tests, a_lagging_ledger_that_catches_up_lets_a_fetched_receipt_go_later);
  tcase_add_test(tests, only_receipts_of_the_settled_channel_go);
  tcase_add_test(tests, what_never_arrived_costs_nothing);
  tcase_add_test(tests, a_payer_that_was_killed_goes_on_at_the_payees_sum);
  tcase_add_test(tests, without_the_payees_sum_it_goes_on_at_the_ceiling);
  tcase_add_loop_test(tests, after_a_restore_the_highest_own_voucher_is_adopted, 0, 2);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
