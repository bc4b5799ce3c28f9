/* Payments after a crash: a child pays for jobs and is paid, under the recorder. It says of each
   voucher what it comes to when it is sent, and of each that came when its units begin to count.
   Then crash images of both folders are made and opened: the ceiling is never below what was sent,
   and no voucher that counted is missing. The same images without syncs must break that, or the
   test would see nothing.

     crash_pay RECORDER.so        the test        crash_pay --work FOLDER     the child */
#include "deai/contracts/wire.h"
#include "host/base/file.h"
#include "host/base/log.h"
#include "host/ledger/pay.h"
#include "host/ledger/purse.h"
#include "host/ledger/tx.h"

#include "tests/fault/crash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

#define JOBS      4
#define UNITS     300
#define PRICE     2u
#define DEPOSIT   UINT64_C(100000000)
#define EXIT_LOST 3

static const uint8_t genesis[DEAI_HASH_BYTES] = {1};
static deai_loop *loop;
static deai_key *keys[2]; /* payer, payee */
static deai_pay *pays[2];
static uint8_t channel_id[DEAI_ID_BYTES];
static deai_call *work_call;
static deai_call *paid_call;

static void die(const char *what, int32_t status, const char *err) {
  (void)fprintf(stderr, "crash_pay: %s: %s: %s\n", what, deai_status_name(status), err);
  exit(EXIT_LOST);
}

static void promise(char kind, uint64_t amount) {
  char line[64];
  int len = snprintf(line, sizeof line, "%c %llu\n", kind, (unsigned long long)amount);
  if (write(1, line, (size_t)len) != len) exit(2);
}

/* ---- what the child's two sides ask ---- */

static int32_t op_channel(void *user, const uint8_t ch[DEAI_ID_BYTES], deai_channel_rec *out) {
  (void)user, (void)ch;
  memset(out, 0, sizeof *out);
  memcpy(out->key, deai_key_public(keys[0]), DEAI_KEY_BYTES);
  memcpy(out->payee, deai_key_public(keys[1]), DEAI_KEY_BYTES);
  out->deposit = DEPOSIT;
  return DEAI_OK;
}

static int32_t op_find(void *user, const uint8_t key[DEAI_KEY_BYTES], uint8_t out[DEAI_ID_BYTES]) {
  (void)user, (void)key, (void)out;
  return DEAI_ENOTFOUND;
}

static uint64_t op_height(void *user) {
  (void)user;
  return 1;
}

static int32_t op_balance(void *user, uint64_t *out) {
  (void)user;
  *out = DEPOSIT;
  return DEAI_OK;
}

static void op_propose(void *user, deai_bytes ops, void *done_user, deai_ledger_done *done) {
  static const uint8_t id[DEAI_HASH_BYTES] = {7};
  (void)user, (void)ops;
  deai_channel_id(id, 0, channel_id);
  done(done_user, DEAI_OK, "", id, 1);
}

static void op_ask(void *user, const uint8_t key[DEAI_KEY_BYTES], deai_bytes args, void *done_user,
                   deai_pay_asked *done) {
  static uint8_t room[65536];
  char err[DEAI_ERR_CAP] = "";
  uint64_t len = 0;
  (void)user, (void)key;
  int32_t status = deai_pay_channel(pays[1], deai_key_public(keys[0]), args,
                                    (deai_buf){room, sizeof room}, &len, err, sizeof err);
  done(done_user, status, err, deai_bytes_of(room, len));
}

static uint64_t newest; /* c of the voucher that is on its way */

static void voucher_sent(const deai_signed *pack) {
  deai_voucher voucher;
  if (deai_decode(&deai_voucher_table, pack->body, &voucher, NULL, NULL, 0) != DEAI_OK) exit(2);
  newest = voucher.c;
  promise('c', voucher.c);
}

static void op_send(void *user, const uint8_t key[DEAI_KEY_BYTES], deai_call *call,
                    const deai_signed *voucher) {
  (void)user, (void)key, (void)call;
  voucher_sent(voucher);
  deai_pay_voucher(pays[1], work_call, voucher);
}

static void op_ready(void *user, deai_call *call, int32_t status, const char *why) {
  (void)user;
  if (status != DEAI_OK) die("ready", status, why);
  if (call == work_call) promise('v', newest);
}

static void op_reopen(void *user, deai_call *call) {
  (void)user, (void)call;
  promise('v', newest);
}

static const deai_pay_ops pay_ops = {.channel = op_channel,
                                     .find = op_find,
                                     .height = op_height,
                                     .balance = op_balance,
                                     .propose = op_propose,
                                     .ask = op_ask,
                                     .send = op_send,
                                     .ready = op_ready,
                                     .reopen = op_reopen};

/* ---- the child ---- */

static int32_t caller_part(void *user, const deai_part *part) {
  (void)user, (void)part;
  return DEAI_OK;
}

static void caller_closed(void *user) {
  (void)user;
}

static const deai_end_ops caller_ops = {.part = caller_part, .closed = caller_closed};

static deai_call *call_of(uint8_t job, deai_bytes voucher) {
  uint8_t id[DEAI_ID_BYTES] = {job};
  deai_call_spec spec = {.service = deai_str_of("s/1"),
                         .method = deai_str_of("m"),
                         .time_ms = 600000,
                         .caller_kind = DEAI_CALLER_PEER,
                         .caller_id = deai_bytes_of(deai_key_public(keys[0]), DEAI_KEY_BYTES),
                         .job = deai_bytes_of(id, sizeof id),
                         .units = 5,
                         .voucher = voucher};
  deai_call *call = deai_call_new(loop, &spec, &caller_ops, NULL);
  if (call == NULL) exit(2);
  return call;
}

static void job_begin(uint8_t job, const deai_settle settle[2]) {
  char err[DEAI_ERR_CAP] = "";
  uint8_t room[512];
  deai_signed first;
  paid_call = call_of(job, (deai_bytes){NULL, 0});
  int32_t status =
      settle[0].pay(pays[0], paid_call, deai_key_public(keys[1]), PRICE, PRICE, err, sizeof err);
  if (status != DEAI_OK && status != DEAI_EAGAIN) die("pay", status, err);
  deai_loop_drain(loop);
  if (deai_pay_voucher_of(pays[0], paid_call, &first) != 1) exit(2);
  voucher_sent(&first);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  if (deai_encode(&deai_signed_table, &first, &writer, NULL, 0) != DEAI_OK) exit(2);
  work_call = call_of(job, deai_bytes_of(room, writer.len));
  status = settle[1].admit(pays[1], work_call, PRICE, PRICE, err, sizeof err);
  if (status != DEAI_EAGAIN) die("admit", status, err);
  deai_loop_drain(loop);
}

static void job_end(uint8_t job, const deai_settle settle[2]) {
  static const uint8_t empty_map = 0xa0;
  static uint8_t room[65536];
  deai_receipt say = {.m = deai_str_of("m"),
                      .s = deai_str_of("s/1"),
                      .job = {job},
                      .out = deai_bytes_of(&empty_map, 1),
                      .u_in = 5,
                      .u_out = UNITS,
                      .price = (5 + UNITS) * PRICE};
  memcpy(say.payer, deai_key_public(keys[0]), DEAI_KEY_BYTES);
  memcpy(say.worker, deai_key_public(keys[1]), DEAI_KEY_BYTES);
  int64_t len = settle[1].receipt(pays[1], work_call, &say, (deai_buf){room, sizeof room});
  if (len <= 0 ||
      settle[0].check(pays[0], paid_call, &say, deai_bytes_of(room, (uint64_t)len)) != DEAI_OK)
    die("receipt", DEAI_EVERIFY, "");
  for (int i = 0; i < 2; i++) {
    deai_call *call = i == 0 ? paid_call : work_call;
    settle[i].over(pays[i], call);
    deai_call_cancel(call, DEAI_ECANCELLED);
  }
  deai_loop_drain(loop);
}

static void run_jobs(const deai_settle settle[2]) {
  static const uint8_t in[DEAI_HASH_BYTES] = {2};
  for (uint8_t job = 1; job <= JOBS; job++) {
    job_begin(job, settle);
    for (uint64_t i = 0; i < UNITS; i++) {
      if (settle[1].give(pays[1], work_call, i, 1, in) != DEAI_OK) die("give", DEAI_EAGAIN, "");
      settle[0].got(pays[0], paid_call, i + 1);
      deai_loop_drain(loop);
    }
    job_end(job, settle);
  }
}

static int work(const char *folder) {
  deai_settle settle[2];
  char err[DEAI_ERR_CAP] = "";
  int32_t status = deai_folder_make(folder, 0700, err, sizeof err);
  if (status == DEAI_OK) status = deai_sign_start(err, sizeof err);
  loop = deai_loop_new(deai_platform_system(), 0);
  for (int i = 0; i < 2 && status == DEAI_OK; i++) {
    char path[4200];
    uint8_t seed[32] = {(uint8_t)(i + 1)};
    (void)snprintf(path, sizeof path, "%s/%d", folder, i);
    keys[i] = deai_key_of_seed(seed);
    deai_pay_options options = {.loop = loop,
                                .folder = path,
                                .key = keys[i],
                                .genesis = genesis,
                                .deposit = DEPOSIT,
                                .ops = &pay_ops,
                                .user = &pays[i]};
    status = deai_pay_open(&options, &pays[i], err, sizeof err);
    if (status == DEAI_OK) deai_pay_settle(pays[i], &settle[i]);
  }
  if (status != DEAI_OK) die("open", status, err);
  run_jobs(settle);
  deai_loop_drain(loop);
  for (int i = 0; i < 2; i++) {
    deai_pay_free(pays[i]);
    deai_key_free(keys[i]);
  }
  deai_loop_free(loop);
  return 0;
}

/* ---- the checks ---- */

/* value_of finds key in a CBOR map. */
static bool value_of(deai_bytes map, const char *key, deai_cbor_item *out) {
  deai_cbor_reader reader = deai_cbor_reader_of(map);
  deai_cbor_item item;
  if (deai_cbor_next(&reader, &item) != DEAI_OK || item.kind != DEAI_CBOR_MAP) return false;
  for (uint64_t i = 0; i < item.number; i++) {
    deai_cbor_item name;
    if (deai_cbor_next(&reader, &name) != DEAI_OK) return false;
    deai_str text = {(const char *)name.span.ptr, name.span.len};
    if (deai_str_eq(text, deai_str_of(key))) return deai_cbor_next(&reader, out) == DEAI_OK;
    if (deai_cbor_skip(&reader, NULL) != DEAI_OK) return false;
  }
  return false;
}

static int32_t top_row(void *user, deai_bytes key, deai_bytes value) {
  deai_cbor_item item;
  (void)key;
  if (!value_of(value, "top", &item)) return DEAI_EVERIFY;
  *(uint64_t *)user = item.number;
  return DEAI_OK;
}

static int32_t high_row(void *user, deai_bytes key, deai_bytes value) {
  deai_cbor_item item;
  deai_signed pack;
  deai_voucher voucher;
  (void)key;
  if (!value_of(value, "high", &item) ||
      deai_decode(&deai_signed_table, item.span, &pack, NULL, NULL, 0) != DEAI_OK ||
      deai_decode(&deai_voucher_table, pack.body, &voucher, NULL, NULL, 0) != DEAI_OK)
    return DEAI_EVERIFY;
  *(uint64_t *)user = voucher.c;
  return DEAI_OK;
}

static uint64_t disk_value(const char *folder, int side) {
  char path[4200], err[DEAI_ERR_CAP] = "";
  deai_purse *purse = NULL;
  uint64_t value = 0;
  (void)snprintf(path, sizeof path, "%s/%d", folder, side);
  if (access(path, F_OK) != 0) return 0;
  int32_t status = deai_purse_open(loop, path, &purse, err, sizeof err);
  if (status != DEAI_OK) die("open", status, err);
  status = deai_purse_each(purse, deai_bytes_of(side == 0 ? "o" : "i", 1), &value,
                           side == 0 ? top_row : high_row);
  if (status != DEAI_OK) die("records", status, "damaged");
  deai_purse_free(purse);
  return value;
}

static int check_image(const char *folder, const char *promises) {
  char path[4200];
  unsigned long long sent = 0;
  unsigned long long counted = 0;
  deai_log_setup(DEAI_LEVEL_ERROR, 0);
  for (const char *at = promises; at != NULL && *at != 0;) {
    unsigned long long amount = 0;
    if (sscanf(at + 1, "%llu", &amount) != 1) break;
    if (at[0] == 'c' && amount > sent) sent = amount;
    if (at[0] == 'v' && amount > counted) counted = amount;
    at = strchr(at, '\n');
    if (at != NULL) at++;
  }
  loop = deai_loop_new(deai_platform_system(), 0);
  (void)snprintf(path, sizeof path, "%s/pay", folder);
  if (disk_value(path, 0) < sent) die("a ceiling", DEAI_EVERIFY, "below what was sent");
  if (disk_value(path, 1) < counted) die("a voucher", DEAI_EVERIFY, "that counted is missing");
  deai_loop_free(loop);
  return 0;
}

/* a purse that forgot its syncs: at many moments the last write is lost though all others are there
 */
static size_t forget(const fault_log *log, size_t number, size_t *calls_out) {
  *calls_out = fault_log_count(log) * (number + 1) / FAULT_CRASH_WITHOUT;
  size_t writes = fault_unsynced_writes(log, *calls_out);
  return writes > 0 ? fault_unsynced_write(log, *calls_out, true, writes - 1) : SIZE_MAX;
}

int main(int argc, char **argv) {
  static const fault_crash test = {.name = "crash_pay",
                                   .place = "pay",
                                   .images_least = 200,
                                   .work = work,
                                   .check = check_image,
                                   .forget = forget};
  return fault_crash_main(&test, argc, argv);
}
