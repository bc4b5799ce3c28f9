#include "tests/host/ledger/fixture.h"

#include "tests/testing.h"

#include "host/base/hash.h"
#include "host/ledger/records.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

/* Owner (root) pays from its node key; seed 10 owns member node 11 (payee), seed 12 owns auditor
   node 13. Hold time 1 s. */
typedef struct market {
  fixture net;
  uint8_t payee_acct[DEAI_ACCT_BYTES];
  uint8_t auditor_acct[DEAI_ACCT_BYTES];
  deai_key *payee_owner;
  deai_key *payee_node;
  deai_key *auditor_owner;
  deai_key *auditor_node;
  uint8_t ch[DEAI_ID_BYTES];
  uint64_t start_owner; /* coins of the owner before the channel */
} market;

static int32_t open_channel(market *shop, const uint8_t payee[DEAI_KEY_BYTES], uint64_t deposit,
                            uint64_t close_after) {
  deai_op_open op;
  memcpy(op.payee, payee, DEAI_KEY_BYTES);
  op.deposit = deposit;
  op.close_after = close_after;
  fixture_begin(&shop->net, shop->net.owner, shop->net.node);
  deai_tx_op(shop->net.builder, "channel/1", "open", &deai_op_open_table, &op);
  int32_t status = fixture_send(&shop->net, shop->net.node);
  deai_channel_id(shop->net.tx_id, 0, shop->ch);
  return status;
}

static void market_start(market *shop) {
  fixture *net = &shop->net;
  fixture_start(net, NULL);
  fixture_open(net);
  fixture_account(net, 10, 0, shop->payee_acct);
  fixture_member(net, 11, "payee", shop->payee_acct, DEAI_ROLE_MEMBER);
  fixture_account(net, 12, 0, shop->auditor_acct);
  fixture_member(net, 13, "auditor", shop->auditor_acct, DEAI_ROLE_MEMBER);
  shop->payee_owner = fixture_key(10);
  shop->payee_node = fixture_key(11);
  shop->auditor_owner = fixture_key(12);
  shop->auditor_node = fixture_key(13);
  shop->start_owner = fixture_balance(net, net->owner);
  ck_assert_msg(open_channel(shop, deai_key_public(shop->payee_node), 1000, 5000) == DEAI_OK, "%s",
                net->err);
}

static void market_end(market *shop) {
  fixture_end(&shop->net);
  deai_key_free(shop->payee_owner);
  deai_key_free(shop->payee_node);
  deai_key_free(shop->auditor_owner);
  deai_key_free(shop->auditor_node);
}

static void sign_voucher(market *shop, const deai_key *key, uint64_t amount, uint8_t room[512],
                         deai_signed *out) {
  deai_voucher voucher;
  uint64_t len;
  memset(&voucher, 0, sizeof voucher);
  voucher.c = amount;
  memcpy(voucher.ch, shop->ch, DEAI_ID_BYTES);
  ck_assert_int_eq(deai_sign_struct(DEAI_SIGN_VOUCHER, &deai_voucher_table, &voucher,
                                    shop->net.genesis->hash, key, (deai_buf){room, 512}, &len, NULL,
                                    0),
                   DEAI_OK);
  ck_assert_int_eq(deai_decode(&deai_signed_table, deai_bytes_of(room, len), out, NULL, NULL, 0),
                   DEAI_OK);
}

static int32_t claim_by(market *shop, const deai_key *by, const uint8_t acct[DEAI_ACCT_BYTES],
                        const deai_key *signer, uint64_t amount) {
  uint8_t room[512];
  deai_op_claim op;
  memset(&op, 0, sizeof op);
  sign_voucher(shop, signer, amount, room, &op.voucher);
  fixture_begin(&shop->net, acct, by);
  deai_tx_op(shop->net.builder, "channel/1", "claim", &deai_op_claim_table, &op);
  return fixture_send(&shop->net, by);
}

static int32_t claim(market *shop, uint64_t amount) {
  return claim_by(shop, shop->payee_owner, shop->payee_acct, shop->net.node, amount);
}

static int32_t close_by(market *shop, const deai_key *by, const uint8_t acct[DEAI_ACCT_BYTES]) {
  deai_op_close op;
  memcpy(op.ch, shop->ch, DEAI_ID_BYTES);
  fixture_begin(&shop->net, acct, by);
  deai_tx_op(shop->net.builder, "channel/1", "close", &deai_op_close_table, &op);
  return fixture_send(&shop->net, by);
}

static uint64_t payee_coins(market *shop) {
  return fixture_balance(&shop->net, shop->payee_acct);
}

/* Lets time pass and waits for the block that it causes. Block time runs 1 ms ahead for each block
   while the clock of the test stands. */
static void pass_ms(market *shop, uint64_t ms) {
  deai_ledger_head head;
  deai_ledger_head_get(shop->net.ledger, &head);
  fixture_move(&shop->net, ms + 50);
  fixture_wait(&shop->net, head.height + 1);
}

START_TEST(open_refuses) {
  market shop;
  market_start(&shop);
  const uint8_t *payee = deai_key_public(shop.payee_node);
  ck_assert_int_eq(open_channel(&shop, deai_key_public(shop.net.order), 5, 0), DEAI_ENOTFOUND);
  ck_assert_int_eq(open_channel(&shop, payee, 0, 0), DEAI_EINVAL);
  ck_assert_int_eq(open_channel(&shop, payee, 1, UINT64_MAX), DEAI_EINVAL);
  ck_assert_int_eq(open_channel(&shop, payee, 1001 * DEAI_COIN, 0), DEAI_EPAYMENT); /* the cap */
  market_end(&shop);
}
END_TEST

START_TEST(claims_are_held_then_paid) {
  market shop;
  market_start(&shop);
  ck_assert_int_eq(claim(&shop, 1001), DEAI_EPAYMENT);
  ck_assert_int_eq(claim_by(&shop, shop.payee_owner, shop.payee_acct, shop.net.wallet, 100),
                   DEAI_EDENIED);
  ck_assert_int_eq(claim_by(&shop, shop.auditor_owner, shop.auditor_acct, shop.net.node, 100),
                   DEAI_EDENIED);
  ck_assert_int_eq(claim(&shop, 100), DEAI_OK);
  ck_assert_int_eq(claim(&shop, 100), DEAI_EPAYMENT);
  ck_assert_int_eq(claim(&shop, 250), DEAI_OK);
  ck_assert_uint_eq(payee_coins(&shop), 0);
  pass_ms(&shop, 1001);
  ck_assert_uint_eq(payee_coins(&shop), 250);
  ck_assert_uint_eq(fixture_balance(&shop.net, shop.net.owner), shop.start_owner - 1000);
  market_end(&shop);
}
END_TEST

START_TEST(close_gives_the_rest_back) {
  market shop;
  market_start(&shop);
  ck_assert_int_eq(close_by(&shop, shop.auditor_owner, shop.auditor_acct), DEAI_EDENIED);
  ck_assert_int_eq(close_by(&shop, shop.net.wallet, shop.net.owner), DEAI_OK);
  ck_assert_int_eq(close_by(&shop, shop.net.wallet, shop.net.owner), DEAI_EINVAL);
  deai_op_topup topup;
  memcpy(topup.ch, shop.ch, DEAI_ID_BYTES);
  topup.amount = 5;
  fixture_begin(&shop.net, shop.net.owner, shop.net.node);
  deai_tx_op(shop.net.builder, "channel/1", "topup", &deai_op_topup_table, &topup);
  ck_assert_int_eq(fixture_send(&shop.net, shop.net.node), DEAI_EINVAL);
  fixture_move(&shop.net, 4500);
  ck_assert_int_eq(claim(&shop, 300), DEAI_OK); /* before it closes */
  pass_ms(&shop, 501);
  ck_assert_int_eq(claim(&shop, 400), DEAI_ETIMEDOUT);
  pass_ms(&shop, 600);
  ck_assert_uint_eq(payee_coins(&shop), 300);
  ck_assert_uint_eq(fixture_balance(&shop.net, shop.net.owner), shop.start_owner - 300);
  ck_assert_int_eq(claim(&shop, 500), DEAI_ENOTFOUND);
  market_end(&shop);
}
END_TEST

START_TEST(the_payee_closes_at_once) {
  market shop;
  market_start(&shop);
  ck_assert_int_eq(close_by(&shop, shop.payee_owner, shop.payee_acct), DEAI_OK);
  ck_assert_uint_eq(fixture_balance(&shop.net, shop.net.owner), shop.start_owner);
  market_end(&shop);
}
END_TEST

/* ---- objections ---- */

static void receipt(market *shop, const deai_key *worker, uint8_t job, uint64_t price, uint8_t root,
                    int32_t wrong, uint8_t room[1024], deai_signed *out) {
  uint8_t end[128], hash[DEAI_HASH_BYTES];
  deai_receipt value;
  uint64_t len;
  memset(hash, root, sizeof hash);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){end, sizeof end});
  deai_cbor_put_map(&writer, wrong >= 0 ? 3 : 2);
  deai_cbor_put_text(&writer, deai_str_of("n"));
  deai_cbor_put_uint(&writer, 20);
  deai_cbor_put_text(&writer, deai_str_of("root"));
  deai_cbor_put_bytes(&writer, deai_bytes_of(hash, sizeof hash));
  if (wrong >= 0) {
    deai_cbor_put_text(&writer, deai_str_of("wrong"));
    deai_cbor_put_uint(&writer, (uint64_t)wrong);
  }
  memset(&value, 0, sizeof value);
  value.has = DEAI_RECEIPT_HAS_CH;
  value.s = deai_str_of("deai.lm/1-draft");
  value.m = deai_str_of("generate");
  memset(value.job, job, DEAI_ID_BYTES);
  memcpy(value.ch, shop->ch, DEAI_ID_BYTES);
  value.out = deai_bytes_of(end, writer.len);
  value.u_out = 10; /* tokens 10 to 19 are its own */
  value.price = price;
  memcpy(value.worker, deai_key_public(worker), DEAI_KEY_BYTES);
  ck_assert_int_eq(deai_sign_struct(DEAI_SIGN_RECEIPT, &deai_receipt_table, &value,
                                    shop->net.genesis->hash, worker, (deai_buf){room, 1024}, &len,
                                    NULL, 0),
                   DEAI_OK);
  ck_assert_int_eq(deai_decode(&deai_signed_table, deai_bytes_of(room, len), out, NULL, NULL, 0),
                   DEAI_OK);
}

typedef struct objection {
  uint8_t job, other_job;
  uint64_t price;
  uint8_t root;     /* of the auditor; the worker's is 1 */
  int32_t wrong;    /* -1 = none */
  int32_t stranger; /* 1: the auditor is no member */
} objection;

static int32_t object(market *shop, objection what) {
  uint8_t rooms[2][1024];
  deai_signed packs[2];
  deai_op_object op;
  memcpy(op.ch, shop->ch, DEAI_ID_BYTES);
  op.receipts = (deai_list){packs, 2};
  const deai_key *auditor = what.stranger ? shop->net.order : shop->auditor_node;
  receipt(shop, shop->payee_node, what.job, what.price, 1, -1, rooms[0], &packs[0]);
  receipt(shop, auditor, what.other_job, 0, what.root, what.wrong, rooms[1], &packs[1]);
  fixture_begin(&shop->net, shop->net.owner, shop->net.wallet);
  deai_tx_op(shop->net.builder, "channel/1", "object", &deai_op_object_table, &op);
  return fixture_send(&shop->net, shop->net.wallet);
}

static int32_t verdict(market *shop, const deai_key *by, const uint8_t acct[DEAI_ACCT_BYTES],
                       uint8_t job, uint64_t payee) {
  deai_op_verdict op;
  memcpy(op.ch, shop->ch, DEAI_ID_BYTES);
  memset(op.job, job, DEAI_ID_BYTES);
  op.payee = payee;
  fixture_begin(&shop->net, acct, by);
  deai_tx_op(shop->net.builder, "channel/1", "verdict", &deai_op_verdict_table, &op);
  return fixture_send(&shop->net, by);
}

START_TEST(objections_without_ground_are_refused) {
  market shop;
  market_start(&shop);
  ck_assert_int_eq(object(&shop, (objection){1, 1, 50, 1, -1, 0}), DEAI_EINVAL); /* same root */
  ck_assert_int_eq(object(&shop, (objection){1, 1, 50, 1, 9, 0}), DEAI_EINVAL);  /* a forced one */
  ck_assert_int_eq(object(&shop, (objection){1, 1, 50, 1, 20, 0}), DEAI_EINVAL); /* behind it */
  ck_assert_int_eq(object(&shop, (objection){1, 2, 50, 2, -1, 0}), DEAI_EINVAL); /* two jobs */
  ck_assert_int_eq(object(&shop, (objection){1, 1, 50, 2, -1, 1}), DEAI_EDENIED);
  ck_assert_int_eq(object(&shop, (objection){1, 1, 1001, 2, -1, 0}), DEAI_EPAYMENT);
  ck_assert_int_eq(object(&shop, (objection){1, 1, 0, 2, -1, 0}), DEAI_EPAYMENT);
  ck_assert_int_eq(object(&shop, (objection){1, 1, 50, 1, 10, 0}), DEAI_OK);
  ck_assert_int_eq(object(&shop, (objection){1, 1, 50, 1, 10, 0}), DEAI_EINVAL); /* again */
  ck_assert_int_eq(object(&shop, (objection){2, 2, 960, 2, -1, 0}), DEAI_EPAYMENT);
  market_end(&shop);
}
END_TEST

START_TEST(a_verdict_splits_exactly_the_frozen_price) {
  market shop;
  market_start(&shop);
  ck_assert_int_eq(object(&shop, (objection){1, 1, 50, 2, -1, 0}), DEAI_OK); /* before the claim */
  ck_assert_int_eq(claim(&shop, 200), DEAI_OK);
  pass_ms(&shop, 1001);
  ck_assert_uint_eq(payee_coins(&shop), 150);
  ck_assert_int_eq(verdict(&shop, shop.payee_owner, shop.payee_acct, 1, 50), DEAI_EDENIED);
  ck_assert_int_eq(verdict(&shop, shop.net.wallet, shop.net.owner, 2, 5), DEAI_ENOTFOUND);
  ck_assert_int_eq(verdict(&shop, shop.net.wallet, shop.net.owner, 1, 51), DEAI_EINVAL);
  ck_assert_int_eq(verdict(&shop, shop.net.wallet, shop.net.owner, 1, 20), DEAI_OK);
  ck_assert_int_eq(verdict(&shop, shop.net.wallet, shop.net.owner, 1, 20), DEAI_ENOTFOUND);
  ck_assert_uint_eq(payee_coins(&shop), 170);
  ck_assert_int_eq(close_by(&shop, shop.payee_owner, shop.payee_acct), DEAI_OK);
  ck_assert_uint_eq(fixture_balance(&shop.net, shop.net.owner), shop.start_owner - 170);
  market_end(&shop);
}
END_TEST

START_TEST(without_a_verdict_the_payee_gets_it) {
  market shop;
  market_start(&shop);
  ck_assert_int_eq(claim(&shop, 200), DEAI_OK);
  ck_assert_int_eq(object(&shop, (objection){1, 1, 50, 2, -1, 0}), DEAI_OK);
  pass_ms(&shop, 1001);
  ck_assert_uint_eq(payee_coins(&shop), 150);
  pass_ms(&shop, 9000);
  ck_assert_uint_eq(payee_coins(&shop), 200);
  market_end(&shop);
}
END_TEST

START_TEST(claims_that_wait_have_a_limit) {
  market shop;
  market_start(&shop);
  for (uint64_t i = 1; i <= DEAI_CHANNEL_HOLDS_MAX; i++)
    ck_assert_int_eq(claim(&shop, i), DEAI_OK);
  ck_assert_int_eq(claim(&shop, 900), DEAI_EBUSY);
  pass_ms(&shop, 1100);
  ck_assert_uint_eq(payee_coins(&shop), DEAI_CHANNEL_HOLDS_MAX);
  ck_assert_int_eq(claim(&shop, 900), DEAI_OK);
  market_end(&shop);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("channel");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, open_refuses);
  tcase_add_test(tests, claims_are_held_then_paid);
  tcase_add_test(tests, close_gives_the_rest_back);
  tcase_add_test(tests, the_payee_closes_at_once);
  tcase_add_test(tests, objections_without_ground_are_refused);
  tcase_add_test(tests, a_verdict_splits_exactly_the_frozen_price);
  tcase_add_test(tests, without_a_verdict_the_payee_gets_it);
  tcase_add_test(tests, claims_that_wait_have_a_limit);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
