#include "tests/host/ledger/fixture.h"

#include "tests/testing.h"

#include "host/base/banned.h"

static int32_t orderer(fixture *net, const deai_key *by, const uint8_t account[DEAI_ACCT_BYTES],
                       const uint8_t key[DEAI_KEY_BYTES]) {
  deai_op_orderer op;
  memcpy(op.key, key, DEAI_KEY_BYTES);
  fixture_begin(net, account, by);
  deai_tx_op(net->builder, "chain/1", "orderer", &deai_op_orderer_table, &op);
  return fixture_send(net, by);
}

static int32_t upgrade(fixture *net, const char *id, uint64_t rules, uint64_t height) {
  deai_op_upgrade op = {height, deai_str_of(id), rules};
  fixture_begin(net, net->owner, net->wallet);
  deai_tx_op(net->builder, "chain/1", "upgrade", &deai_op_upgrade_table, &op);
  return fixture_send(net, net->wallet);
}

START_TEST(only_root_changes_the_chain) {
  fixture net;
  uint8_t account[DEAI_ACCT_BYTES], bad[DEAI_KEY_BYTES];
  fixture_start(&net, NULL);
  fixture_open(&net);
  fixture_account(&net, 10, 0, account);
  deai_key *stranger = fixture_key(10);
  memset(bad, 0xff, sizeof bad);
  ck_assert_int_eq(orderer(&net, stranger, account, deai_key_public(net.node)), DEAI_EDENIED);
  ck_assert_int_eq(orderer(&net, net.wallet, net.owner, bad), DEAI_EINVAL);
  ck_assert_int_eq(upgrade(&net, "channel/1", 1, 100), DEAI_EINVAL);
  ck_assert_int_eq(upgrade(&net, "channel/1", 2, 1), DEAI_EINVAL);
  ck_assert_int_eq(upgrade(&net, "bank/1", 2, 100), DEAI_ENOTFOUND);
  deai_key_free(stranger);
  fixture_end(&net);
}
END_TEST

START_TEST(a_new_orderer_takes_over) {
  fixture net;
  fixture_start(&net, NULL);
  fixture_open(&net);
  deai_key *next = fixture_key(40);
  ck_assert_int_eq(orderer(&net, net.wallet, net.owner, deai_key_public(next)), DEAI_OK);
  ck_assert_int_eq(fixture_transfer(&net, net.wallet, net.owner, 1), DEAI_EIO); /* stopped */
  fixture_close(&net);
  ck_assert_int_eq(fixture_try_open(&net, DEAI_ENGINE_LOCAL, 0), DEAI_EDENIED);
  deai_key *before = net.order;
  net.order = next;
  fixture_open(&net);
  ck_assert_int_eq(fixture_transfer(&net, net.wallet, net.owner, 1), DEAI_OK);
  net.order = before;
  fixture_end(&net);
  deai_key_free(next);
}
END_TEST

START_TEST(old_rules_stop_at_the_height_of_an_upgrade) {
  fixture net;
  fixture_start(&net, NULL);
  fixture_open(&net);
  ck_assert_int_eq(upgrade(&net, "channel/1", 2, 4), DEAI_OK); /* block 1 */
  ck_assert_int_eq(upgrade(&net, "channel/1", 3, 3), DEAI_OK); /* replaces it */
  ck_assert_int_eq(fixture_transfer(&net, net.wallet, net.owner, 1), DEAI_EIO);
  fixture_close(&net);
  ck_assert_int_eq(fixture_try_open(&net, DEAI_ENGINE_LOCAL, 0), DEAI_EVERSION);
  ck_assert_ptr_nonnull(strstr(net.err, "channel/1"));
  fixture_end(&net);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("chain");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, only_root_changes_the_chain);
  tcase_add_test(tests, a_new_orderer_takes_over);
  tcase_add_test(tests, old_rules_stop_at_the_height_of_an_upgrade);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
