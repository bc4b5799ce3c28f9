#include "fixture.h"

#include "tests/testing.h"

#include "host/base/file.h"
#include "host/ledger/evidence.h"
#include "host/ledger/proof.h"
#include "host/ledger/verify.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

START_TEST(refuses_what_it_cannot_open) {
  fixture net, other;
  fixture_start(&net, NULL);
  deai_genesis_box *genesis = net.genesis;
  net.genesis = &(deai_genesis_box){.bytes = {NULL, 0}};
  ck_assert_int_eq(fixture_try_open(&net, DEAI_ENGINE_LOCAL, 0), DEAI_ENOTFOUND);
  net.genesis = genesis;
  deai_key *order = net.order;
  net.order = net.node;
  ck_assert_int_eq(fixture_try_open(&net, DEAI_ENGINE_LOCAL, 0), DEAI_EDENIED);
  net.order = order;
  fixture_open(&net);
  deai_ledger *first = net.ledger;
  ck_assert_int_eq(fixture_try_open(&net, DEAI_ENGINE_LOCAL, 0), DEAI_EBUSY);
  net.ledger = first;
  fixture_close(&net);
  fixture_start(&other, NULL);
  memcpy(other.folder, net.folder, sizeof net.folder);
  deai_genesis_free(other.genesis);
  deai_genesis_options options;
  memset(&options, 0, sizeof options);
  options.name = options.node_name = deai_str_of("other");
  memcpy(options.wallet, deai_key_public(net.wallet), DEAI_KEY_BYTES);
  memcpy(options.node, deai_key_public(net.node), DEAI_KEY_BYTES);
  memcpy(options.order, deai_key_public(net.order), DEAI_KEY_BYTES);
  ck_assert_int_eq(deai_genesis_build(&options, &other.genesis, net.err, sizeof net.err), DEAI_OK);
  ck_assert_int_eq(fixture_try_open(&other, DEAI_ENGINE_LOCAL, 0), DEAI_EINVAL);
  ck_assert_ptr_nonnull(strstr(other.err, "another network"));
  fixture_end(&other);
  fixture_end(&net);
}
END_TEST

START_TEST(bad_transactions_are_refused) {
  fixture net;
  static uint8_t junk[DEAI_TX_MAX + 1];
  uint8_t to[DEAI_ACCT_BYTES] = {1};
  fixture_start(&net, NULL);
  fixture_open(&net);
  ck_assert_int_eq(fixture_submit(&net, deai_bytes_of(junk, 5)), DEAI_EINVAL);
  ck_assert_int_eq(fixture_submit(&net, deai_bytes_of(junk, sizeof junk)), DEAI_ETOOLARGE);
  ck_assert_int_eq(fixture_submit(&net, deai_bytes_of(junk, 0)), DEAI_ETOOLARGE);
  ck_assert_int_eq(fixture_transfer(&net, net.wallet, to, 5), DEAI_ENOTFOUND);
  ck_assert_int_eq(fixture_transfer(&net, net.order, net.owner, 5), DEAI_EDENIED);
  fixture_begin(&net, net.owner, net.wallet);
  ck_assert_int_ne(fixture_send(&net, net.wallet), DEAI_OK); /* no operation */
  uint8_t account[DEAI_ACCT_BYTES];
  fixture_account(&net, 10, 5 * DEAI_COIN, account);
  ck_assert_uint_eq(fixture_balance(&net, account), 5 * DEAI_COIN);
  ck_assert_int_eq(fixture_transfer(&net, net.wallet, account, UINT64_MAX), DEAI_EPAYMENT);
  deai_ledger_head head;
  deai_ledger_head_get(net.ledger, &head);
  ck_assert_uint_eq(head.height, 2);
  fixture_end(&net);
}
END_TEST

static int32_t sign_transfer(fixture *net, uint64_t nonce, uint64_t amount, uint64_t expires,
                             uint8_t *room, uint64_t *len) {
  deai_op_transfer op;
  memset(&op, 0, sizeof op);
  memcpy(op.to, net->owner, DEAI_ACCT_BYTES);
  op.amount = amount;
  deai_tx_start(net->builder, net->owner, nonce, expires, 0);
  deai_tx_op(net->builder, "account/1", "transfer", &deai_op_transfer_table, &op);
  return deai_tx_sign(net->builder, net->genesis->hash, net->wallet, (deai_buf){room, 1024}, len,
                      net->err, sizeof net->err);
}

START_TEST(the_same_bytes_get_their_first_answer) {
  fixture net;
  uint8_t one[1024], two[1024];
  uint64_t len_one, len_two;
  fixture_start(&net, NULL);
  fixture_open(&net);
  ck_assert_int_eq(sign_transfer(&net, 1, 1, 0, one, &len_one), DEAI_OK);
  ck_assert_int_eq(sign_transfer(&net, 1, 2, 0, two, &len_two), DEAI_OK);
  ck_assert_int_eq(fixture_submit(&net, deai_bytes_of(one, len_one)), DEAI_OK);
  ck_assert_uint_eq(net.height, 1);
  ck_assert_int_eq(fixture_submit(&net, deai_bytes_of(two, len_two)), DEAI_EINVAL);
  ck_assert_int_eq(fixture_transfer(&net, net.wallet, net.owner, 1), DEAI_OK);
  fixture_close(&net);
  fixture_open(&net);
  ck_assert_int_eq(fixture_submit(&net, deai_bytes_of(one, len_one)), DEAI_OK);
  ck_assert_uint_eq(net.height, 1);
  fixture_end(&net);
}
END_TEST

START_TEST(expired_ones_are_refused_by_block_time) {
  fixture net;
  uint8_t room[1024];
  uint64_t len;
  fixture_start(&net, NULL);
  fixture_open(&net);
  ck_assert_int_eq(sign_transfer(&net, 1, 1, net.wall_ms - 1, room, &len), DEAI_OK);
  ck_assert_int_eq(fixture_submit(&net, deai_bytes_of(room, len)), DEAI_ETIMEDOUT);
  ck_assert_int_eq(sign_transfer(&net, 1, 1, net.wall_ms, room, &len), DEAI_OK);
  ck_assert_int_eq(fixture_submit(&net, deai_bytes_of(room, len)), DEAI_OK);
  fixture_end(&net);
}
END_TEST

START_TEST(records_are_proved) {
  fixture net;
  uint8_t account[DEAI_ACCT_BYTES], nobody[DEAI_ACCT_BYTES];
  deai_block block;
  fixture_start(&net, NULL);
  fixture_open(&net);
  for (uint8_t seed = 20; seed < 60; seed++)
    fixture_account(&net, seed, seed, account);
  uint32_t leaves = 0;
  const deai_table_ref *tables = net.genesis->genesis.tables.items;
  for (uint64_t i = 0; i < net.genesis->genesis.tables.count; i++)
    leaves += 1u << tables[i].bits;
  for (uint32_t i = 0; i < 64; i++) {
    deai_ledger_answer answer;
    memset(nobody, (int)i * 4, sizeof nobody);
    const uint8_t *key = i == 0 ? account : nobody;
    ck_assert_int_eq(deai_ledger_lookup(net.ledger, deai_str_of("account/1"),
                                        deai_str_of("accounts"),
                                        deai_bytes_of(key, DEAI_ACCT_BYTES), 1, &answer),
                     DEAI_OK);
    ck_assert_int_eq(answer.found, i == 0);
    deai_proof_claim claim = {deai_str_of("account/1"),
                              deai_str_of("accounts"),
                              4,
                              leaves,
                              deai_bytes_of(key, DEAI_ACCT_BYTES),
                              i == 0 ? answer.value : deai_bytes_of(NULL, 0)};
    const uint8_t *orderer = deai_key_public(net.order);
    ck_assert_msg(deai_proof_verify(net.genesis->hash, orderer, answer.block, &claim, answer.proof,
                                    &block, net.err, sizeof net.err) == DEAI_OK,
                  "%u %s", i, net.err);
    claim.value = i == 0 ? deai_bytes_of(NULL, 0) : deai_bytes_of("x", 1);
    ck_assert_int_eq(deai_proof_verify(net.genesis->hash, orderer, answer.block, &claim,
                                       answer.proof, &block, net.err, sizeof net.err),
                     DEAI_EVERIFY);
    deai_ledger_answer_free(&answer);
  }
  fixture_end(&net);
}
END_TEST

START_TEST(what_is_closed_is_found_again) {
  fixture net;
  deai_verify_report report;
  uint8_t account[DEAI_ACCT_BYTES];
  deai_ledger_head before, after;
  fixture_start(&net, NULL);
  fixture_open(&net);
  for (uint8_t seed = 20; seed < 30; seed++)
    fixture_account(&net, seed, 7, account);
  deai_ledger_head_get(net.ledger, &before);
  fixture_close(&net);
  int32_t status = deai_ledger_verify(net.folder, DEAI_VERIFY_RULES, NULL, NULL, &report, net.err,
                                      sizeof net.err);
  ck_assert_msg(status == DEAI_OK, "%s", net.err);
  ck_assert_uint_eq(report.blocks, before.height);
  ck_assert_mem_eq(report.root, before.root, DEAI_HASH_BYTES);
  fixture_open(&net);
  deai_ledger_head_get(net.ledger, &after);
  ck_assert_uint_eq(after.height, before.height);
  ck_assert_mem_eq(after.root, before.root, DEAI_HASH_BYTES);
  ck_assert_mem_eq(after.hash, before.hash, DEAI_HASH_BYTES);
  ck_assert_uint_eq(fixture_balance(&net, account), 7);
  fixture_end(&net);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("ledger");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, refuses_what_it_cannot_open);
  tcase_add_test(tests, bad_transactions_are_refused);
  tcase_add_test(tests, the_same_bytes_get_their_first_answer);
  tcase_add_test(tests, expired_ones_are_refused_by_block_time);
  tcase_add_test(tests, records_are_proved);
  tcase_add_test(tests, what_is_closed_is_found_again);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
