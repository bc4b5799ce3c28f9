#include "tests/host/ledger/fixture.h"

#include "tests/testing.h"

#include "host/ledger/records.h"

#include <stdlib.h>

#include "host/base/banned.h"

static int32_t create(fixture *net, const deai_key *by, const uint8_t account[DEAI_ACCT_BYTES],
                      const uint8_t first[DEAI_KEY_BYTES], const char *right) {
  deai_str rights[1] = {deai_str_of(right)};
  deai_account_key key;
  deai_op_create op = {{&key, 1}};
  memset(&key, 0, sizeof key);
  memcpy(key.k, first, DEAI_KEY_BYTES);
  key.may = (deai_list){rights, 1};
  fixture_begin(net, account, by);
  deai_tx_op(net->builder, "account/1", "create", &deai_op_create_table, &op);
  return fixture_send(net, by);
}

START_TEST(create_is_for_owners_of_members) {
  fixture net;
  uint8_t account[DEAI_ACCT_BYTES], bad[DEAI_KEY_BYTES];
  fixture_start(&net, NULL);
  fixture_open(&net);
  fixture_account(&net, 10, 0, account);
  deai_key *stranger = fixture_key(10), *made = fixture_key(11);
  const uint8_t *key = deai_key_public(made);
  ck_assert_int_eq(create(&net, stranger, account, key, "*"), DEAI_EDENIED);
  ck_assert_int_eq(create(&net, net.node, net.owner, key, "*"), DEAI_EDENIED); /* limited key */
  ck_assert_int_eq(create(&net, net.wallet, account, key, "*"), DEAI_EDENIED);
  ck_assert_int_eq(create(&net, net.wallet, net.owner, key, "channel/1"), DEAI_EINVAL);
  ck_assert_int_eq(create(&net, net.wallet, net.owner, deai_key_public(stranger), "*"),
                   DEAI_EINVAL);
  memset(bad, 0xff, sizeof bad);
  ck_assert_int_eq(create(&net, net.wallet, net.owner, bad, "*"), DEAI_EINVAL);
  ck_assert_int_eq(create(&net, net.wallet, net.owner, key, "*"), DEAI_OK);
  deai_key_free(stranger);
  deai_key_free(made);
  fixture_end(&net);
}
END_TEST

static int32_t key_add(fixture *net, const deai_key *by, const uint8_t key[DEAI_KEY_BYTES],
                       const char *right, uint64_t cap) {
  deai_str rights[1] = {deai_str_of(right)};
  deai_op_key_add op;
  memset(&op, 0, sizeof op);
  memcpy(op.key.k, key, DEAI_KEY_BYTES);
  op.key.may = (deai_list){rights, 1};
  op.key.has = cap > 0 ? DEAI_ACCOUNT_KEY_HAS_CAP : 0;
  op.key.cap = cap;
  fixture_begin(net, net->owner, by);
  deai_tx_op(net->builder, "account/1", "key_add", &deai_op_key_add_table, &op);
  return fixture_send(net, by);
}

static int32_t key_rm(fixture *net, const deai_key *by, const uint8_t key[DEAI_KEY_BYTES]) {
  deai_op_key_rm op;
  memcpy(op.k, key, DEAI_KEY_BYTES);
  fixture_begin(net, net->owner, by);
  deai_tx_op(net->builder, "account/1", "key_rm", &deai_op_key_rm_table, &op);
  return fixture_send(net, by);
}

START_TEST(keys_have_their_rights_and_caps) {
  fixture net;
  uint8_t account[DEAI_ACCT_BYTES];
  fixture_start(&net, NULL);
  fixture_open(&net);
  fixture_account(&net, 10, 0, account);
  deai_key *limited = fixture_key(20), *stranger = fixture_key(10);
  const uint8_t *key = deai_key_public(limited);
  ck_assert_int_eq(key_add(&net, net.node, key, "*", 0), DEAI_EDENIED);
  ck_assert_int_eq(key_add(&net, net.wallet, deai_key_public(stranger), "*", 0), DEAI_EINVAL);
  ck_assert_int_eq(key_add(&net, net.wallet, key, "account/1", 100), DEAI_OK);
  ck_assert_int_eq(key_add(&net, limited, deai_key_public(net.order), "*", 0), DEAI_EDENIED);
  ck_assert_int_eq(fixture_transfer(&net, limited, account, 101), DEAI_EPAYMENT);
  ck_assert_int_eq(fixture_transfer(&net, limited, account, 60), DEAI_OK);
  ck_assert_int_eq(fixture_transfer(&net, limited, account, 41), DEAI_EPAYMENT);
  ck_assert_int_eq(fixture_transfer(&net, limited, account, 40), DEAI_OK);
  fixture_move(&net, DEAI_DAY_MS);
  ck_assert_int_eq(fixture_transfer(&net, limited, account, 41), DEAI_OK);
  ck_assert_uint_eq(fixture_balance(&net, account), 141);
  ck_assert_int_eq(key_rm(&net, limited, key), DEAI_EDENIED);
  ck_assert_int_eq(key_rm(&net, net.wallet, deai_key_public(stranger)), DEAI_ENOTFOUND);
  ck_assert_int_eq(key_rm(&net, net.wallet, deai_key_public(net.wallet)), DEAI_EINVAL);
  ck_assert_int_eq(key_rm(&net, net.wallet, key), DEAI_OK);
  ck_assert_int_eq(fixture_transfer(&net, limited, account, 1), DEAI_EDENIED);
  deai_key_free(limited);
  deai_key_free(stranger);
  fixture_end(&net);
}
END_TEST

START_TEST(an_account_has_at_most_16_keys) {
  fixture net;
  fixture_start(&net, NULL);
  fixture_open(&net);
  for (uint8_t i = 0; i < DEAI_ACCOUNT_KEYS_MAX - 1; i++) {
    deai_key *key = fixture_key((uint8_t)(100 + i));
    ck_assert_int_eq(key_add(&net, net.wallet, deai_key_public(key), "channel/1", 1),
                     i < DEAI_ACCOUNT_KEYS_MAX - 2 ? DEAI_OK : DEAI_EFULL);
    deai_key_free(key);
  }
  fixture_end(&net);
}
END_TEST

START_TEST(all_operations_or_none) {
  fixture net;
  uint8_t account[DEAI_ACCT_BYTES];
  fixture_start(&net, NULL);
  fixture_open(&net);
  fixture_account(&net, 10, 0, account);
  deai_op_transfer op;
  memset(&op, 0, sizeof op);
  memcpy(op.to, account, DEAI_ACCT_BYTES);
  op.amount = 7;
  fixture_begin(&net, net.owner, net.wallet);
  for (int i = 0; i < 3; i++)
    deai_tx_op(net.builder, "account/1", "transfer", &deai_op_transfer_table, &op);
  op.amount = UINT64_MAX;
  deai_tx_op(net.builder, "account/1", "transfer", &deai_op_transfer_table, &op);
  ck_assert_int_eq(fixture_send(&net, net.wallet), DEAI_EPAYMENT);
  ck_assert_uint_eq(fixture_balance(&net, account), 0);
  ck_assert_uint_eq(fixture_balance(&net, net.owner), DEAI_CAP_MAX);
  fixture_begin(&net, net.owner, net.wallet);
  deai_tx_op_raw(net.builder, "account/1", "mint", deai_bytes_of("\xa0", 1));
  ck_assert_int_eq(fixture_send(&net, net.wallet), DEAI_EUNSUPPORTED);
  fixture_begin(&net, net.owner, net.wallet);
  deai_tx_op_raw(net.builder, "bank/1", "transfer", deai_bytes_of("\xa0", 1));
  ck_assert_int_eq(fixture_send(&net, net.wallet), DEAI_EUNSUPPORTED);
  fixture_begin(&net, net.owner, net.wallet);
  deai_tx_op_raw(net.builder, "account/1", "transfer", deai_bytes_of("\xa0", 1));
  ck_assert_int_eq(fixture_send(&net, net.wallet), DEAI_EINVAL);
  fixture_end(&net);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("account");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, create_is_for_owners_of_members);
  tcase_add_test(tests, keys_have_their_rights_and_caps);
  tcase_add_test(tests, an_account_has_at_most_16_keys);
  tcase_add_test(tests, all_operations_or_none);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
