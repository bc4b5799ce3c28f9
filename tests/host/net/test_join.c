/* Joining over a real connection: wrong, used and old codes, what a stranger reaches besides. */
#include "nodes.h"

#include "deai/contracts/net.h"
#include "host/net/join.h"
#include "host/net/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define GRANT 500u

/* The ledger of the inviter, as the service sees it. */
typedef struct ledger {
  int32_t status; /* of the next transaction */
  uint32_t asked;
  uint8_t ops[8192];
  uint64_t ops_len;
  bool later; /* the answer waits for answer_later */
  void *done_user;
  deai_join_done *done;
  uint32_t channels;
} ledger;

static test_node *inviter;
static test_node *joiner;
static deai_join *join;
static ledger book;
static uint8_t args_room[4096];

static void propose(void *user, deai_bytes ops, void *done_user, deai_join_done *done) {
  ledger *at = user;
  at->asked++;
  ck_assert_uint_le(ops.len, sizeof at->ops);
  memcpy(at->ops, ops.ptr, (size_t)ops.len);
  at->ops_len = ops.len;
  at->done_user = done_user;
  at->done = done;
  if (!at->later) done(done_user, at->status, at->status == DEAI_OK ? "" : "the name is taken", 12);
}

static deai_bytes genesis(void *user, uint8_t hash[DEAI_HASH_BYTES]) {
  (void)user;
  memcpy(hash, test_genesis, DEAI_HASH_BYTES);
  return deai_bytes_of("genesis", 7);
}

static int32_t channel(void *user, const uint8_t caller[DEAI_KEY_BYTES], deai_bytes args,
                       deai_buf out, uint64_t *len_out, char *err, uint32_t err_cap) {
  ledger *at = user;
  at->channels++;
  ck_assert_int_eq(memcmp(caller, test_node_key(joiner), DEAI_KEY_BYTES), 0);
  if (args.len != 1) return deai_err(err, err_cap, DEAI_ENOTFOUND, "expected a channel");
  ck_assert_uint_gt(out.cap, 1);
  out.ptr[0] = 0xa0;
  *len_out = 1;
  return DEAI_OK;
}

static void account_of(const uint8_t key[DEAI_KEY_BYTES], uint8_t out[DEAI_ACCT_BYTES]) {
  memcpy(out, key, DEAI_ACCT_BYTES);
}

static const deai_join_ops join_ops = {
    .propose = propose, .genesis = genesis, .channel = channel, .account_of = account_of};

static void setup(void) {
  test_nodes_start();
  book = (ledger){.status = DEAI_OK};
  inviter = test_node_open(0, DEAI_CLASS_MEMBER, test_genesis);
  joiner = test_node_open(1, DEAI_CLASS_PUBLIC, NULL);
  join = deai_join_new(test_loop, inviter->net, &join_ops, &book);
  ck_assert_ptr_nonnull(join);
  deai_offering offering = deai_join_offering(join);
  ck_assert_int_eq(deai_router_offer(inviter->router, &offering), DEAI_OK);
  deai_router_enable(inviter->router, offering.plugin, true);
  test_connect(joiner, inviter);
}

static void teardown(void) {
  test_nodes_end();
  deai_join_free(join);
  deai_join_free(NULL);
}

static void invite(uint64_t time_ms, uint8_t code[DEAI_ID_BYTES]) {
  ck_assert_int_eq(deai_join_invite(join, time_ms, DEAI_ROLE_MEMBER, GRANT, code), DEAI_OK);
}

/* args_of encodes the arguments; signer = who signs the record, of_network = for which network. */
static deai_bytes args_of(const uint8_t code[DEAI_ID_BYTES], const deai_key *signer,
                          const uint8_t *of_network) {
  static uint8_t record_bytes[DEAI_RECORD_MAX];
  uint64_t record_len = 0;
  char err[DEAI_ERR_CAP] = "";
  deai_str may[] = {deai_str_of("*")};
  deai_account_key key = {.k = {4}, .may = {may, 1}};
  deai_node_record record = {.seq = 1, .ttl = 60000};
  deai_net_join asked = {.keys = {&key, 1}, .name = deai_str_of("b")};
  memcpy(record.k, deai_key_public(signer), DEAI_KEY_BYTES);
  memcpy(asked.code, code, DEAI_ID_BYTES);
  ck_assert_int_eq(deai_record_make(&record, signer, of_network,
                                    (deai_buf){record_bytes, sizeof record_bytes}, &record_len),
                   DEAI_OK);
  ck_assert_int_eq(deai_decode(&deai_signed_table, deai_bytes_of(record_bytes, record_len),
                               &asked.record, NULL, NULL, 0),
                   DEAI_OK);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){args_room, sizeof args_room});
  ck_assert_int_eq(deai_encode(&deai_net_join_table, &asked, &writer, err, sizeof err), DEAI_OK);
  return deai_bytes_of(args_room, writer.len);
}

static test_answer join_with(const uint8_t code[DEAI_ID_BYTES]) {
  return test_call(joiner, inviter, DEAI_NET_SERVICE, "join",
                   args_of(code, joiner->key, test_genesis));
}

static void expect(test_answer answer, int32_t status, const char *why) {
  ck_assert_msg(answer.status == status && strstr(answer.why, why) != NULL,
                "expected %s with \"%s\", found %s: %s", deai_status_name(status), why,
                deai_status_name(answer.status), answer.why);
}

START_TEST(a_wrong_code_is_refused) {
  uint8_t code[DEAI_ID_BYTES];
  uint8_t wrong[DEAI_ID_BYTES] = {0};
  expect(join_with(wrong), DEAI_EDENIED, "expected an open invitation, found none");
  invite(60000, code);
  code[15] ^= 1;
  expect(join_with(code), DEAI_EDENIED, "the code is wrong, used or too old");
  ck_assert_uint_eq(book.asked, 0);
}
END_TEST

START_TEST(a_code_holds_once) {
  uint8_t code[DEAI_ID_BYTES];
  invite(60000, code);
  test_answer answer = join_with(code);
  expect(answer, DEAI_OK, "");
  ck_assert_uint_eq(answer.len, 7);
  ck_assert_int_eq(memcmp(answer.body, "genesis", 7), 0);
  expect(join_with(code), DEAI_EDENIED, "used");
  ck_assert_uint_eq(book.asked, 1);
}
END_TEST

START_TEST(a_code_is_taken_while_its_transaction_is_on_its_way) {
  uint8_t code[DEAI_ID_BYTES];
  test_end first;
  invite(60000, code);
  book.later = true;
  test_call_start(joiner, inviter, DEAI_NET_SERVICE, "join",
                  args_of(code, joiner->key, test_genesis), &first);
  expect(join_with(code), DEAI_EDENIED, "used");
  ck_assert_uint_eq(book.asked, 1);
  book.done(book.done_user, DEAI_EDENIED, "the name is taken", 0);
  book.later = false;
  expect(join_with(code), DEAI_OK, ""); /* the ledger's refusal gave it back */
  ck_assert_int_eq(first.status, DEAI_EDENIED);
  ck_assert_str_eq(first.why, "the name is taken");
}
END_TEST

START_TEST(an_old_code_is_refused) {
  uint8_t code[DEAI_ID_BYTES];
  invite(2000, code);
  test_move_clock(3);
  expect(join_with(code), DEAI_EDENIED, "too old");
}
END_TEST

static bool connected_again(void *user) {
  (void)user;
  return test_rows(joiner) == 1 && test_rows(inviter) == 1;
}

START_TEST(five_wrong_codes_a_minute_are_heard) {
  uint8_t code[DEAI_ID_BYTES];
  uint8_t wrong[DEAI_ID_BYTES] = {0};
  invite(600000, code);
  for (uint32_t i = 0; i < DEAI_JOIN_TRIES; i++)
    expect(join_with(wrong), DEAI_EDENIED, "found none");
  expect(join_with(wrong), DEAI_EBUSY, "expected at most 5 wrong codes a minute");
  expect(join_with(code), DEAI_EBUSY, "wait a minute"); /* the right one waits as well */
  for (uint32_t i = 0; i < 8; i++) {
    test_move_clock(8); /* less than the silence that ends a connection */
    expect(test_call(joiner, inviter, TEST_SERVICE, "public", (deai_bytes){NULL, 0}), DEAI_OK, "");
    test_until(connected_again, NULL);
  }
  expect(join_with(code), DEAI_OK, "");
}
END_TEST

START_TEST(a_record_of_another_key_or_network_is_refused) {
  static const uint8_t other[DEAI_HASH_BYTES] = {7};
  uint8_t code[DEAI_ID_BYTES];
  const char *why = "expected a record signed with the node's own key for this network";
  invite(60000, code);
  expect(test_call(joiner, inviter, DEAI_NET_SERVICE, "join",
                   args_of(code, inviter->key, test_genesis)),
         DEAI_EVERIFY, why);
  expect(test_call(joiner, inviter, DEAI_NET_SERVICE, "join", args_of(code, joiner->key, other)),
         DEAI_EVERIFY, why);
  expect(test_call(joiner, inviter, DEAI_NET_SERVICE, "join", deai_bytes_of("\xa0", 1)),
         DEAI_EINVAL, "net-join");
  ck_assert_uint_eq(book.asked, 0);
  expect(join_with(code), DEAI_OK, "");
}
END_TEST

START_TEST(a_stranger_reaches_join_alone) {
  expect(test_call(joiner, inviter, DEAI_NET_SERVICE, "channel", deai_bytes_of("\xa0", 1)),
         DEAI_EDENIED, "expected a caller that may call");
  expect(test_call(joiner, inviter, DEAI_NET_SERVICE, "more", deai_bytes_of("\xa0", 1)),
         DEAI_EUNSUPPORTED, "expected a method");
  ck_assert_uint_eq(book.channels, 0);
  joiner->class_of_it = DEAI_CLASS_GUEST;
  deai_net_recheck(inviter->net);
  expect(test_call(joiner, inviter, DEAI_NET_SERVICE, "channel", deai_bytes_of("\xa0", 1)), DEAI_OK,
         "");
  expect(test_call(joiner, inviter, DEAI_NET_SERVICE, "channel", deai_bytes_of("\x18\x30", 2)),
         DEAI_ENOTFOUND, "expected a channel");
  ck_assert_uint_eq(book.channels, 2);
}
END_TEST

static bool ended(void *user) {
  return ((const test_end *)user)->closed == 1;
}

/* The command line and plug-ins of the node itself do not join it. */
START_TEST(join_is_for_connections_of_nodes) {
  static const char *const methods[] = {"join", "channel"};
  for (size_t i = 0; i < 2; i++) {
    deai_call_spec spec = {.service = deai_str_of(DEAI_NET_SERVICE),
                           .method = deai_str_of(methods[i]),
                           .caller_kind = DEAI_CALLER_CLI,
                           .caller_class = DEAI_CLASS_LOCAL,
                           .time_ms = 20000};
    test_end end = test_end_of(test_loop, DEAI_SIDE_CALLER);
    end.call = deai_router_open(inviter->router, &spec, &test_caller_ops, &end);
    ck_assert_int_eq(test_send(&end, "", 0, DEAI_PART_END, 0), DEAI_OK);
    test_until(ended, &end);
    ck_assert_int_eq(end.status, DEAI_EDENIED);
    ck_assert_ptr_nonnull(strstr(end.why, "over a connection of a node"));
  }
}
END_TEST

START_TEST(open_invitations_are_limited) {
  uint8_t code[DEAI_ID_BYTES];
  for (uint32_t i = 0; i < DEAI_INVITES_MAX; i++)
    invite(1000, code);
  ck_assert_int_eq(deai_join_invite(join, 1000, DEAI_ROLE_MEMBER, 0, code), DEAI_EFULL);
  test_move_clock(2);
  invite(60000, code);
  expect(join_with(code), DEAI_OK, "");
}
END_TEST

START_TEST(what_is_proposed_is_account_member_and_grant) {
  uint8_t code[DEAI_ID_BYTES];
  deai_cbor_item item;
  invite(60000, code);
  expect(join_with(code), DEAI_OK, "");
  deai_cbor_reader reader = deai_cbor_reader_of(deai_bytes_of(book.ops, book.ops_len));
  ck_assert_int_eq(deai_cbor_next(&reader, &item), DEAI_OK);
  ck_assert_uint_eq(item.number, 3);
  static const char *const types[] = {"create", "member_add", "transfer"};
  for (size_t i = 0; i < 3; i++) {
    deai_op op;
    deai_bytes bytes;
    ck_assert_int_eq(deai_cbor_skip(&reader, &bytes), DEAI_OK);
    ck_assert_int_eq(deai_decode(&deai_op_table, bytes, &op, NULL, NULL, 0), DEAI_OK);
    ck_assert(deai_str_eq(op.type, deai_str_of(types[i])));
  }
  ck_assert_int_eq(deai_join_invite(join, 60000, DEAI_ROLE_GUEST, 0, code), DEAI_OK);
  expect(join_with(code), DEAI_OK, "");
  ck_assert_uint_eq(book.ops[0], 0x82); /* without a grant there is no transfer */
}
END_TEST

int main(void) {
  Suite *suite = suite_create("join");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, a_wrong_code_is_refused);
  tcase_add_test(tests, a_code_holds_once);
  tcase_add_test(tests, a_code_is_taken_while_its_transaction_is_on_its_way);
  tcase_add_test(tests, an_old_code_is_refused);
  tcase_add_test(tests, five_wrong_codes_a_minute_are_heard);
  tcase_add_test(tests, a_record_of_another_key_or_network_is_refused);
  tcase_add_test(tests, a_stranger_reaches_join_alone);
  tcase_add_test(tests, join_is_for_connections_of_nodes);
  tcase_add_test(tests, open_invitations_are_limited);
  tcase_add_test(tests, what_is_proposed_is_account_member_and_grant);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
