#include "tests/host/ledger/fixture.h"

#include "tests/testing.h"

#include "host/ledger/records.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

static int32_t add(fixture *net, const deai_key *by, const uint8_t account[DEAI_ACCT_BYTES],
                   const uint8_t node[DEAI_KEY_BYTES], const char *name,
                   const uint8_t owner[DEAI_ACCT_BYTES], deai_role role) {
  deai_op_member_add op;
  memset(&op, 0, sizeof op);
  op.member.name = deai_str_of(name);
  op.member.role = role;
  memcpy(op.member.node, node, DEAI_KEY_BYTES);
  memcpy(op.member.owner, owner, DEAI_ACCT_BYTES);
  fixture_begin(net, account, by);
  deai_tx_op(net->builder, "registry/1", "member_add", &deai_op_member_add_table, &op);
  return fixture_send(net, by);
}

static int32_t member_rm(fixture *net, const deai_key *by, const uint8_t account[DEAI_ACCT_BYTES],
                         const uint8_t node[DEAI_KEY_BYTES]) {
  deai_op_member_rm op;
  memcpy(op.node, node, DEAI_KEY_BYTES);
  fixture_begin(net, account, by);
  deai_tx_op(net->builder, "registry/1", "member_rm", &deai_op_member_rm_table, &op);
  return fixture_send(net, by);
}

START_TEST(members_are_added_and_removed_by_rights) {
  fixture net;
  uint8_t account[DEAI_ACCT_BYTES], nobody[DEAI_ACCT_BYTES] = {1};
  fixture_start(&net, NULL);
  fixture_open(&net);
  fixture_account(&net, 10, 0, account);
  deai_key *guest = fixture_key(10), *node = fixture_key(11), *other = fixture_key(12);
  const uint8_t *key = deai_key_public(node), *key2 = deai_key_public(other);
  ck_assert_int_eq(add(&net, guest, account, key, "b", account, DEAI_ROLE_MEMBER), DEAI_EDENIED);
  ck_assert_int_eq(add(&net, net.wallet, net.owner, key, "a/b", account, 0), DEAI_EINVAL);
  ck_assert_int_eq(add(&net, net.wallet, net.owner, key, " a", account, 0), DEAI_EINVAL);
  ck_assert_int_eq(add(&net, net.wallet, net.owner, key, "first", account, 0), DEAI_EINVAL);
  ck_assert_int_eq(add(&net, net.wallet, net.owner, key, "b", nobody, 0), DEAI_ENOTFOUND);
  ck_assert_int_eq(add(&net, net.wallet, net.owner, deai_key_public(net.node), "b", account, 0),
                   DEAI_EINVAL);
  ck_assert_int_eq(add(&net, net.wallet, net.owner, key, "b", account, DEAI_ROLE_GUEST), DEAI_OK);
  ck_assert_int_eq(add(&net, guest, account, key2, "c", account, 0), DEAI_EDENIED); /* a guest */
  ck_assert_int_eq(member_rm(&net, net.wallet, net.owner, key2), DEAI_ENOTFOUND);
  ck_assert_int_eq(member_rm(&net, net.wallet, net.owner, deai_key_public(net.node)), DEAI_EINVAL);
  ck_assert_int_eq(member_rm(&net, guest, account, deai_key_public(net.node)), DEAI_EDENIED);
  ck_assert_int_eq(member_rm(&net, guest, account, key), DEAI_OK); /* its owner */
  ck_assert_int_eq(add(&net, net.wallet, net.owner, key, "b", account, DEAI_ROLE_MEMBER), DEAI_OK);
  ck_assert_int_eq(add(&net, guest, account, key2, "c", account, 0), DEAI_OK);
  ck_assert_int_eq(member_rm(&net, net.wallet, net.owner, key2), DEAI_OK); /* root */
  deai_key_free(guest);
  deai_key_free(node);
  deai_key_free(other);
  fixture_end(&net);
}
END_TEST

static int32_t put(fixture *net, const deai_key *by, const uint8_t account[DEAI_ACCT_BYTES],
                   const char *kind, const char *name, deai_bytes body) {
  deai_op_put op = {body, deai_str_of(kind), deai_str_of(name)};
  fixture_begin(net, account, by);
  deai_tx_op(net->builder, "registry/1", "put", &deai_op_put_table, &op);
  return fixture_send(net, by);
}

static int32_t rm(fixture *net, const deai_key *by, const uint8_t account[DEAI_ACCT_BYTES],
                  const char *kind, const char *name) {
  deai_op_rm op = {deai_str_of(kind), deai_str_of(name)};
  fixture_begin(net, account, by);
  deai_tx_op(net->builder, "registry/1", "rm", &deai_op_rm_table, &op);
  return fixture_send(net, by);
}

START_TEST(records_belong_to_the_member_in_their_name) {
  static uint8_t large[8300];
  fixture net;
  uint8_t account[DEAI_ACCT_BYTES];
  deai_bytes body = deai_bytes_of("\x01", 1);
  fixture_start(&net, NULL);
  fixture_open(&net);
  fixture_account(&net, 10, 0, account);
  deai_key *stranger = fixture_key(10);
  ck_assert_int_eq(put(&net, stranger, account, "model", "first/m", body), DEAI_EDENIED);
  ck_assert_int_eq(put(&net, net.wallet, net.owner, "model", "second/m", body), DEAI_EDENIED);
  ck_assert_int_eq(put(&net, net.wallet, net.owner, "model", "first", body), DEAI_EINVAL);
  ck_assert_int_eq(put(&net, net.wallet, net.owner, "model", "first/", body), DEAI_EINVAL);
  ck_assert_int_eq(put(&net, net.wallet, net.owner, "mo del", "first/m", body), DEAI_EINVAL);
  large[0] = 0x59, large[1] = 0x20, large[2] = 0x00; /* 8,192 bytes and the head */
  ck_assert_int_eq(put(&net, net.wallet, net.owner, "model", "first/m", deai_bytes_of(large, 8195)),
                   DEAI_EINVAL);
  ck_assert_int_eq(put(&net, net.node, net.owner, "model", "first/m", body), DEAI_OK);
  ck_assert_int_eq(put(&net, net.wallet, net.owner, "model", "first/m", body), DEAI_OK);
  deai_ledger_answer answer;
  ck_assert_int_eq(deai_ledger_lookup(net.ledger, deai_str_of("registry/1"), deai_str_of("records"),
                                      deai_bytes_of("model\0first/m", 13), 0, &answer),
                   DEAI_OK);
  ck_assert_int_eq(answer.found, 1);
  deai_ledger_answer_free(&answer);
  ck_assert_int_eq(rm(&net, stranger, account, "model", "first/m"), DEAI_EDENIED);
  ck_assert_int_eq(rm(&net, net.wallet, net.owner, "model", "first/x"), DEAI_ENOTFOUND);
  ck_assert_int_eq(rm(&net, net.node, net.owner, "model", "first/m"), DEAI_OK);
  ck_assert_int_eq(rm(&net, net.node, net.owner, "model", "first/m"), DEAI_ENOTFOUND);
  deai_key_free(stranger);
  fixture_end(&net);
}
END_TEST

/* The inviter's one transaction: account, member, grant. */
START_TEST(join_is_one_transaction) {
  static const deai_str all[1] = {{"*", 1}};
  fixture net;
  deai_key *key = fixture_key(30);
  deai_account_key first;
  deai_op_create create = {{&first, 1}};
  deai_op_member_add add_op;
  deai_op_transfer grant;
  fixture_start(&net, NULL);
  fixture_open(&net);
  memset(&first, 0, sizeof first);
  memset(&add_op, 0, sizeof add_op);
  memset(&grant, 0, sizeof grant);
  memcpy(first.k, deai_key_public(key), DEAI_KEY_BYTES);
  first.may = (deai_list){(void *)(uintptr_t)all, 1};
  add_op.member.name = deai_str_of("barn");
  memcpy(add_op.member.node, first.k, DEAI_KEY_BYTES);
  deai_account_of_key(first.k, add_op.member.owner);
  memcpy(grant.to, add_op.member.owner, DEAI_ACCT_BYTES);
  grant.amount = 9;
  fixture_begin(&net, net.owner, net.wallet);
  deai_tx_op(net.builder, "account/1", "create", &deai_op_create_table, &create);
  deai_tx_op(net.builder, "registry/1", "member_add", &deai_op_member_add_table, &add_op);
  deai_tx_op(net.builder, "account/1", "transfer", &deai_op_transfer_table, &grant);
  ck_assert_msg(fixture_send(&net, net.wallet) == DEAI_OK, "%s", net.err);
  ck_assert_uint_eq(fixture_balance(&net, grant.to), 9);
  deai_key_free(key);
  fixture_end(&net);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("registry");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, members_are_added_and_removed_by_rights);
  tcase_add_test(tests, records_belong_to_the_member_in_their_name);
  tcase_add_test(tests, join_is_one_transaction);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
