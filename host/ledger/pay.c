#include "pay_private.h"

#include "host/base/log.h"
#include "host/ledger/tx.h"

#include <stdlib.h>

#include "host/base/banned.h"

uint64_t pay_add(uint64_t a, uint64_t b) {
  uint64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

uint64_t pay_price(uint64_t u_in, uint64_t price_in, uint64_t u_out, uint64_t price_out) {
  uint64_t in = 0;
  uint64_t out = 0;
  if (__builtin_mul_overflow(u_in, price_in, &in)) in = UINT64_MAX;
  if (__builtin_mul_overflow(u_out, price_out, &out)) out = UINT64_MAX;
  return pay_add(in, out);
}

const char *pay_hex(const uint8_t *id, char out[9]) {
  (void)snprintf(out, 9, "%02x%02x%02x%02x", id[0], id[1], id[2], id[3]);
  return out;
}

const uint8_t *pay_own(const deai_pay *pay) {
  return deai_key_public(pay->options.key);
}

int32_t pay_voucher_read(const deai_pay *pay, const deai_signed *pack,
                         const uint8_t key[DEAI_KEY_BYTES], pay_voucher *out, char *err,
                         uint32_t err_cap) {
  char why[DEAI_ERR_CAP] = "";
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){out->bytes, sizeof out->bytes});
  if (deai_encode(&deai_signed_table, pack, &writer, why, sizeof why) != DEAI_OK ||
      deai_decode(&deai_voucher_table, pack->body, &out->voucher, NULL, why, sizeof why) != DEAI_OK)
    return deai_err(err, err_cap, DEAI_EPAYMENT, "expected a voucher, found another form: %s", why);
  out->len = writer.len;
  if (memcmp(pack->key, key, DEAI_KEY_BYTES) != 0)
    return deai_err(err, err_cap, DEAI_EPAYMENT,
                    "expected a voucher signed by the node that calls, found another key");
  if (deai_sign_verify(DEAI_SIGN_VOUCHER, pay->genesis, pack->body, pack->key, pack->sig) !=
      DEAI_OK)
    return deai_err(err, err_cap, DEAI_EPAYMENT,
                    "expected a voucher with a good signature, found a bad one");
  return DEAI_OK;
}

int32_t pay_op_list(const char *type, const deai_table *table, const void *body, deai_buf out,
                    uint64_t *len_out) {
  char err[DEAI_ERR_CAP];
  deai_cbor_writer writer = deai_cbor_writer_of(out);
  deai_cbor_put_array(&writer, 1);
  deai_cbor_put_array(&writer, 3);
  deai_cbor_put_text(&writer, deai_str_of("channel/1"));
  deai_cbor_put_text(&writer, deai_str_of(type));
  int32_t status = deai_encode(table, body, &writer, err, sizeof err);
  *len_out = writer.len;
  return status;
}

/* ---- receipts ---- */

int64_t pay_receipt_sign(const deai_pay *pay, const deai_receipt *receipt, deai_buf out) {
  char err[DEAI_ERR_CAP] = "";
  uint64_t len = 0;
  int32_t status = deai_sign_struct(DEAI_SIGN_RECEIPT, &deai_receipt_table, receipt, pay->genesis,
                                    pay->options.key, out, &len, err, sizeof err);
  if (status == DEAI_OK) return (int64_t)len;
  deai_log(DEAI_LEVEL_ERROR, "pay", "receipt: %s", err);
  return status;
}

static int64_t settle_receipt(void *user, deai_call *call, const deai_receipt *receipt,
                              deai_buf out) {
  deai_pay *pay = user;
  deai_receipt full = *receipt;
  earn_job *job = earn_job_of(pay, call);
  bool paid = job != NULL && job->chan != NULL;
  if (paid) {
    full.has |= DEAI_RECEIPT_HAS_CH;
    memcpy(full.ch, job->chan->ch, DEAI_ID_BYTES);
  } else {
    full.price = 0; /* nobody pays for it: a member of this node, or a free call */
  }
  int64_t len = pay_receipt_sign(pay, &full, out);
  if (len > 0 && paid) earn_receipt(pay, job, full.price, deai_bytes_of(out.ptr, (uint64_t)len));
  return len;
}

/* says returns whether a receipt says what it must, price and channel apart. */
static bool says(const deai_receipt *receipt, const deai_receipt *expected) {
  return memcmp(receipt->payer, expected->payer, DEAI_KEY_BYTES) == 0 &&
         memcmp(receipt->worker, expected->worker, DEAI_KEY_BYTES) == 0 &&
         memcmp(receipt->job, expected->job, DEAI_ID_BYTES) == 0 &&
         memcmp(receipt->in, expected->in, DEAI_HASH_BYTES) == 0 &&
         deai_str_eq(receipt->s, expected->s) && deai_str_eq(receipt->m, expected->m) &&
         receipt->u_in == expected->u_in;
}

static int32_t settle_check(void *user, deai_call *call, const deai_receipt *expected,
                            deai_bytes bytes) {
  deai_pay *pay = user;
  deai_signed pack;
  deai_receipt receipt;
  if (deai_decode(&deai_signed_table, bytes, &pack, NULL, NULL, 0) != DEAI_OK ||
      deai_decode(&deai_receipt_table, pack.body, &receipt, NULL, NULL, 0) != DEAI_OK)
    return DEAI_EVERIFY;
  if (memcmp(pack.key, receipt.worker, DEAI_KEY_BYTES) != 0 || !says(&receipt, expected))
    return DEAI_EVERIFY;
  int32_t status = deai_sign_verify(DEAI_SIGN_RECEIPT, pay->genesis, pack.body, pack.key, pack.sig);
  return status == DEAI_OK ? spend_check(pay, call, expected, &receipt) : DEAI_EVERIFY;
}

static void settle_over(void *user, deai_call *call) {
  deai_pay *pay = user;
  spend_over(pay, call);
  earn_over(pay, call);
}

void deai_pay_settle(deai_pay *pay, deai_settle *out) {
  *out = (deai_settle){.user = pay,
                       .admit = earn_admit,
                       .pay = spend_pay,
                       .give = earn_give,
                       .got = spend_got,
                       .receipt = settle_receipt,
                       .check = settle_check,
                       .left = spend_left,
                       .over = settle_over};
}

/* ---- time ---- */

static void on_tick(void *user) {
  deai_pay *pay = user;
  bool payer = spend_tick(pay);
  bool payee = earn_tick(pay);
  if (payer || payee) deai_timer_set(pay->tick, PAY_TICK_MS);
}

void pay_tick_ask(deai_pay *pay) {
  deai_timer_set(pay->tick, PAY_TICK_MS);
}

void deai_pay_block(deai_pay *pay) {
  earn_block(pay);
}

static void on_claim(void *user) {
  deai_pay *pay = user;
  deai_pay_claim(pay, NULL, NULL);
  deai_timer_set(pay->claim, pay->options.claim_ms);
}

uint64_t deai_pay_prune(deai_pay *pay, uint64_t now_ms) {
  uint64_t removed = earn_prune(pay, now_ms);
  uint64_t left = removed < DEAI_PAY_PRUNE_MAX ? DEAI_PAY_PRUNE_MAX - removed : 0;
  removed += spend_prune(pay, now_ms, left);
  deai_purse_sync(pay->purse, NULL, NULL);
  return removed;
}

static void on_prune(void *user) {
  deai_pay *pay = user;
  uint64_t each_ms = pay->options.keep_ms / 10;
  uint64_t removed = deai_pay_prune(pay, deai_wall_ms(deai_loop_platform(pay->options.loop)));
  if (each_ms > PAY_PRUNE_MAX_MS) each_ms = PAY_PRUNE_MAX_MS;
  if (each_ms < PAY_PRUNE_MIN_MS) each_ms = PAY_PRUNE_MIN_MS;
  deai_timer_set(pay->prune, removed == DEAI_PAY_PRUNE_MAX ? PAY_TICK_MS : each_ms);
}

/* ---- life ---- */

int32_t deai_pay_open(const deai_pay_options *options, deai_pay **pay_out, char *err,
                      uint32_t err_cap) {
  deai_pay *pay = calloc(1, sizeof *pay);
  if (pay == NULL) return DEAI_ENOMEM;
  pay->options = *options;
  pay->ops = *options->ops;
  memcpy(pay->genesis, options->genesis, DEAI_HASH_BYTES);
  int32_t status = deai_purse_open(options->loop, options->folder, &pay->purse, err, err_cap);
  pay->tick = deai_timer_new(options->loop, on_tick, pay);
  pay->claim = deai_timer_new(options->loop, on_claim, pay);
  pay->prune = deai_timer_new(options->loop, on_prune, pay);
  bool timers = pay->tick != NULL && pay->claim != NULL && pay->prune != NULL;
  if (status == DEAI_OK && !timers) status = DEAI_ENOMEM;
  if (status == DEAI_OK) status = spend_load(pay);
  if (status == DEAI_OK) status = earn_load(pay);
  if (status != DEAI_OK) {
    if (err_cap > 0 && err[0] == 0)
      (void)snprintf(err, err_cap, "%s: expected the records of payments, found: %s",
                     options->folder, deai_status_text(status));
    deai_pay_free(pay);
    return status;
  }
  if (options->claim_ms > 0) deai_timer_set(pay->claim, options->claim_ms);
  if (options->keep_ms > 0) deai_timer_set(pay->prune, PAY_PRUNE_MIN_MS);
  *pay_out = pay;
  return DEAI_OK;
}

void deai_pay_free(deai_pay *pay) {
  if (pay == NULL) return;
  deai_purse_free(pay->purse);
  deai_timer_free(pay->tick);
  deai_timer_free(pay->claim);
  deai_timer_free(pay->prune);
  spend_free(pay);
  earn_free(pay);
  free(pay);
}
