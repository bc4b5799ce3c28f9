#include "fixture.h"

#include "tests/testing.h"

#include "host/ledger/abci.h"

#include <stdlib.h>

#include "host/base/banned.h"

START_TEST(limits_are_refused) {
  static uint8_t room[DEAI_TX_MAX], body[DEAI_TX_MAX];
  fixture net;
  uint64_t len;
  fixture_start(&net, NULL);
  deai_tx_start(net.builder, net.owner, 1, 0, 0);
  for (uint32_t i = 0; i < DEAI_TX_OPS_MAX + 1; i++)
    deai_tx_op_raw(net.builder, "a", "b", deai_bytes_of("\xa0", 1));
  ck_assert_int_eq(deai_tx_sign(net.builder, net.genesis->hash, net.wallet,
                                (deai_buf){room, sizeof room}, &len, net.err, sizeof net.err),
                   DEAI_ETOOLARGE);
  body[0] = 0x59, body[1] = 0xff, body[2] = 0xf0; /* a byte string of 65,520 */
  deai_tx_start(net.builder, net.owner, 1, 0, 0);
  deai_tx_op_raw(net.builder, "a", "b", deai_bytes_of(body, 65523));
  ck_assert_int_eq(deai_tx_sign(net.builder, net.genesis->hash, net.wallet,
                                (deai_buf){room, sizeof room}, &len, net.err, sizeof net.err),
                   DEAI_ETOOLARGE);
  deai_op_transfer op;
  memset(&op, 0, sizeof op);
  op.has = DEAI_OP_TRANSFER_HAS_MEMO;
  op.memo = deai_str_of("\xff");
  deai_tx_start(net.builder, net.owner, 1, 0, 0);
  deai_tx_op(net.builder, "account/1", "transfer", &deai_op_transfer_table, &op);
  ck_assert_int_eq(deai_tx_sign(net.builder, net.genesis->hash, net.wallet,
                                (deai_buf){room, sizeof room}, &len, net.err, sizeof net.err),
                   DEAI_EINVAL);
  fixture_end(&net);
}
END_TEST

START_TEST(every_flipped_byte_is_refused) {
  static uint8_t room[1024];
  fixture net;
  uint64_t len;
  deai_op_transfer op;
  deai_tx_parsed *parsed = NULL;
  fixture_start(&net, NULL);
  memset(&op, 0, sizeof op);
  op.amount = 5;
  deai_tx_start(net.builder, net.owner, 3, 7, 9);
  deai_tx_op(net.builder, "account/1", "transfer", &deai_op_transfer_table, &op);
  ck_assert_int_eq(deai_tx_sign(net.builder, net.genesis->hash, net.wallet,
                                (deai_buf){room, sizeof room}, &len, net.err, sizeof net.err),
                   DEAI_OK);
  const uint8_t *genesis = net.genesis->hash;
  for (uint64_t i = 0; i < len; i++) {
    room[i] ^= 0x20;
    ck_assert_msg(deai_tx_parse(genesis, deai_bytes_of(room, len), &parsed, net.err,
                                sizeof net.err) != DEAI_OK,
                  "byte %llu", (unsigned long long)i);
    room[i] ^= 0x20;
    ck_assert_int_ne(
        deai_tx_parse(genesis, deai_bytes_of(room, i), &parsed, net.err, sizeof net.err), DEAI_OK);
  }
  ck_assert_int_eq(
      deai_tx_parse(genesis, deai_bytes_of(room, len), &parsed, net.err, sizeof net.err), DEAI_OK);
  ck_assert_uint_eq(parsed->tx.n, 3);
  ck_assert_uint_eq(parsed->tx.x, 7);
  ck_assert_uint_eq(parsed->tx.f, 9);
  ck_assert_uint_eq(parsed->tx.t.count, 1);
  free(parsed);
  fixture_end(&net);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("tx");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, limits_are_refused);
  tcase_add_test(tests, every_flipped_byte_is_refused);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
