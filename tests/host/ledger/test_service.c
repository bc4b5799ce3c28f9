/* The ledger's services: what is refused, heads, queries, submits, followers, proposals. */
#include "fixture.h"

#include "tests/testing.h"

#include "host/ledger/abci.h"
#include "host/ledger/records.h"
#include "host/ledger/service.h"
#include "tests/host/router/ends.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define FORWARDED_MAX 4u
#define OPS_MAX       256u

/* A caller, and what the service sent it last. */
typedef struct asker {
  test_end end;
  uint8_t args[DEAI_HEAD_MAX];
  uint64_t args_len;
  uint8_t entry[DEAI_TX_MAX]; /* the slices so far */
  uint64_t entry_len;
  uint64_t height; /* of the last slice */
} asker;

/* A transaction that the service passed on; the test answers it. */
typedef struct forwarded {
  void *user;
  deai_ledger_done *done;
  uint64_t nonce;
} forwarded;

typedef struct answer {
  uint32_t count;
  int32_t status;
  uint64_t height;
  char why[DEAI_ERR_CAP];
} answer;

static fixture net;
static deai_loop *loop;
static deai_ledger_service *service;
static deai_offering offerings[2];
static asker caller;
static forwarded passed[FORWARDED_MAX];
static uint32_t passed_count;
static uint8_t room[DEAI_TX_MAX];
static char err[DEAI_ERR_CAP];

/* ---- what a test starts with ---- */

static void forward(void *user, deai_bytes signed_tx, void *done_user, deai_ledger_done *done) {
  deai_tx_parsed *tx = NULL;
  ck_assert_ptr_eq(user, &net);
  ck_assert_uint_lt(passed_count, FORWARDED_MAX);
  ck_assert_int_eq(deai_tx_parse(net.genesis->hash, signed_tx, &tx, err, sizeof err), DEAI_OK);
  passed[passed_count++] = (forwarded){.user = done_user, .done = done, .nonce = tx->tx.n};
  free(tx);
}

static void node_may_transfer(deai_genesis_options *options) {
  options->node_invites = 1;
}

static void start(bool orders, const deai_key *node) {
  passed_count = 0;
  fixture_start(&net, node_may_transfer);
  fixture_open(&net);
  loop = deai_loop_new(deai_platform_system(), 0);
  ck_assert_ptr_nonnull(loop);
  deai_ledger_service_options options = {.loop = loop,
                                         .ledger = net.ledger,
                                         .node = node != NULL ? node : net.node,
                                         .orders = orders,
                                         .forward = orders ? NULL : forward,
                                         .forward_user = &net};
  service = deai_ledger_service_new(&options);
  ck_assert_ptr_nonnull(service);
  deai_ledger_service_offerings(service, offerings);
}

static void finish(void) {
  deai_ledger_service_free(service);
  deai_loop_drain(loop);
  deai_loop_free(loop);
  fixture_end(&net);
}

static void on_part(test_end *end, const deai_part *part) {
  asker *to = end->user;
  deai_ledger_slice slice;
  if ((part->flags & DEAI_PART_END) != 0) {
    if (part->args.len > 0) memcpy(to->args, part->args.ptr, (size_t)part->args.len);
    to->args_len = part->args.len;
    return;
  }
  ck_assert_int_eq(deai_decode(&deai_ledger_slice_table, part->args, &slice, NULL, NULL, 0),
                   DEAI_OK);
  ck_assert_uint_le(to->entry_len + part->body.len, sizeof to->entry);
  memcpy(to->entry + to->entry_len, part->body.ptr, (size_t)part->body.len);
  to->entry_len += part->body.len;
  to->height = slice.h;
  ck_assert_uint_eq(slice.more, 0); /* the blocks of these tests are small */
}

/* ask calls method of offering and sends args and body. */
static void ask(uint32_t offering, const char *method, uint32_t kind, deai_bytes args,
                deai_bytes body) {
  deai_call_spec spec = {.service = deai_str_of(offerings[offering].service),
                         .method = deai_str_of(method),
                         .time_ms = 60000,
                         .caller_kind = kind,
                         .caller_class = DEAI_CLASS_LOCAL};
  memset(&caller, 0, sizeof caller);
  caller.end = test_end_of(loop, DEAI_SIDE_CALLER);
  caller.end.user = &caller;
  caller.end.on_part = on_part;
  caller.end.call = deai_call_new(loop, &spec, &test_caller_ops, &caller.end);
  ck_assert_ptr_nonnull(caller.end.call);
  const deai_provider *provider = &offerings[offering].provider;
  ck_assert_int_eq(provider->serve(provider->user, caller.end.call, err), DEAI_OK);
  deai_part part = {.size = (uint32_t)sizeof part,
                    .flags = DEAI_PART_END,
                    .attachment = -1,
                    .args = args,
                    .body = body};
  ck_assert_int_eq(deai_call_send(caller.end.call, DEAI_SIDE_CALLER, &part), DEAI_OK);
  deai_loop_drain(loop);
}

/* ask_wait also waits for the answer, which may come from the ledger's thread. */
static int32_t ask_wait(uint32_t offering, const char *method, deai_bytes args, deai_bytes body) {
  ask(offering, method, DEAI_CALLER_PLUGIN, args, body);
  caller.end.stop_at_close = true;
  if (caller.end.closed == 0) deai_loop_run(loop);
  deai_loop_drain(loop);
  ck_assert_uint_eq(caller.end.ends, 1);
  return caller.end.status;
}

static deai_bytes encoded(const deai_table *table, const void *value) {
  static uint8_t args[DEAI_HEAD_MAX];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){args, sizeof args});
  ck_assert_msg(deai_encode(table, value, &writer, err, sizeof err) == DEAI_OK, "%s", err);
  return deai_bytes_of(args, writer.len);
}

static void decode(const deai_table *table, void *value) {
  ck_assert_msg(deai_decode(table, deai_bytes_of(caller.args, caller.args_len), value, NULL, err,
                            sizeof err) == DEAI_OK,
                "%s", err);
}

static const deai_bytes none = {NULL, 0};

/* ops_of writes the list of one transfer of amount to the owner. */
static deai_bytes ops_of(uint64_t amount) {
  static uint8_t ops[OPS_MAX];
  deai_op_transfer op = {.amount = amount};
  memcpy(op.to, net.owner, DEAI_ACCT_BYTES);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){ops, sizeof ops});
  deai_cbor_put_array(&writer, 1);
  deai_cbor_put_array(&writer, 3);
  deai_cbor_put_text(&writer, deai_str_of("account/1"));
  deai_cbor_put_text(&writer, deai_str_of("transfer"));
  ck_assert_int_eq(deai_encode(&deai_op_transfer_table, &op, &writer, NULL, 0), DEAI_OK);
  return deai_bytes_of(ops, writer.len);
}

/* transfer_of signs a transfer of the wallet. */
static deai_bytes transfer_of(uint64_t amount) {
  uint64_t len;
  deai_op_transfer op = {.amount = amount};
  memcpy(op.to, net.owner, DEAI_ACCT_BYTES);
  fixture_begin(&net, net.owner, net.wallet);
  deai_tx_op(net.builder, "account/1", "transfer", &deai_op_transfer_table, &op);
  ck_assert_int_eq(deai_tx_sign(net.builder, net.genesis->hash, net.wallet,
                                (deai_buf){room, sizeof room}, &len, err, sizeof err),
                   DEAI_OK);
  return deai_bytes_of(room, len);
}

static void on_done(void *user, int32_t status, const char *why, const uint8_t id[DEAI_HASH_BYTES],
                    uint64_t height) {
  answer *to = user;
  (void)id;
  to->count++;
  to->status = status;
  to->height = height;
  (void)snprintf(to->why, sizeof to->why, "%s", why);
}

/* ---- what is refused ---- */

static int32_t class_of(uint32_t offering, const char *method) {
  const deai_offering *at = &offerings[offering];
  return at->class_of(at->class_user, deai_str_of(at->service), deai_str_of(method));
}

START_TEST(methods_have_their_class) {
  start(true, NULL);
  ck_assert_int_eq(class_of(0, "nothing"), -1);
  ck_assert_int_eq(class_of(1, "head"), -1);
  ck_assert_int_eq(class_of(0, "head"), DEAI_CLASS_GUEST);
  ck_assert_int_eq(class_of(0, "query"), DEAI_CLASS_GUEST);
  ck_assert_int_eq(class_of(0, "submit"), DEAI_CLASS_GUEST);
  ck_assert_int_eq(class_of(0, "follow"), DEAI_CLASS_GUEST);
  ck_assert_int_eq(class_of(0, "object"), DEAI_CLASS_LOCAL);
  ck_assert_int_eq(class_of(1, "submit"), DEAI_CLASS_LOCAL);
  ck_assert(offerings[0].remote && !offerings[1].remote);
  finish();
}
END_TEST

START_TEST(malformed_heads_and_bodies_are_refused) {
  static const char *const methods[] = {"query", "follow", "object"};
  static uint8_t large[DEAI_TX_MAX + 1];
  start(true, NULL);
  for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
    ck_assert_int_eq(ask_wait(0, methods[i], deai_bytes_of("\xff", 1), none), DEAI_EINVAL);
    ck_assert_str_ne(caller.end.why, "");
    ck_assert_int_eq(ask_wait(0, methods[i], none, none), DEAI_EINVAL);
  }
  ck_assert_int_eq(ask_wait(0, "submit", none, deai_bytes_of(large, sizeof large)), DEAI_ETOOLARGE);
  ck_assert_int_eq(ask_wait(1, "submit", none, deai_bytes_of(large, sizeof large)), DEAI_ETOOLARGE);
  ck_assert_int_eq(ask_wait(0, "submit", none, deai_bytes_of("no tx", 5)), DEAI_EINVAL);
  ck_assert_str_ne(caller.end.why, "");
  ck_assert_int_eq(ask_wait(1, "submit", none, deai_bytes_of("no list", 7)), DEAI_EINVAL);
  ck_assert_str_ne(caller.end.why, "");
  ck_assert_int_eq(ask_wait(1, "submit", none, deai_bytes_of("\x81\x01", 2)), DEAI_EINVAL);
  finish();
}
END_TEST

START_TEST(a_table_that_is_not_there_is_named) {
  start(true, NULL);
  deai_ledger_query query = {
      .m = deai_str_of("account/1"), .n = deai_str_of("stars"), .k = deai_bytes_of("k", 1)};
  ck_assert_int_eq(ask_wait(0, "query", encoded(&deai_ledger_query_table, &query), none),
                   DEAI_ENOTFOUND);
  ck_assert_ptr_nonnull(strstr(caller.end.why, "account/1 stars"));
  finish();
}
END_TEST

START_TEST(a_member_submits_where_blocks_are_ordered) {
  start(false, NULL);
  ask(0, "submit", DEAI_CALLER_PEER, none, transfer_of(1));
  ck_assert_uint_eq(caller.end.closed, 1);
  ck_assert_int_eq(caller.end.status, DEAI_ENOPROVIDER);
  ck_assert_uint_eq(passed_count, 0);
  finish();
}
END_TEST

START_TEST(a_refusal_keeps_its_words) {
  start(true, NULL);
  deai_bytes tx = transfer_of(1);
  ck_assert_int_eq(fixture_transfer(&net, net.wallet, net.owner, 2), DEAI_OK);
  ck_assert_int_eq(ask_wait(0, "submit", none, tx), DEAI_EINVAL); /* its nonce is used */
  ck_assert_ptr_nonnull(strstr(caller.end.why, "nonce"));
  ck_assert_int_lt(ask_wait(1, "submit", none, ops_of(DEAI_CAP_MAX)), 0);
  ck_assert_str_ne(caller.end.why, "");
  finish();
}
END_TEST

START_TEST(a_key_without_account_proposes_nothing) {
  deai_key *stranger = fixture_key(50);
  start(false, stranger);
  ck_assert_int_eq(ask_wait(1, "submit", none, ops_of(1)), DEAI_ENOTFOUND);
  ck_assert_ptr_nonnull(strstr(caller.end.why, "expected an account"));
  ck_assert_uint_eq(passed_count, 0);
  finish();
  deai_key_free(stranger);
}
END_TEST

/* object_of sends an objection with two receipts of a job on channel (NULL: a free one). */
static int32_t object_of(const uint8_t *channel) {
  static uint8_t bodies[1024];
  deai_signed packs[2];
  deai_receipt work = {.m = deai_str_of("answer"), .s = deai_str_of("deai.chat/1")};
  if (channel != NULL) {
    work.has = DEAI_RECEIPT_HAS_CH;
    memcpy(work.ch, channel, DEAI_ID_BYTES);
  }
  work.out = deai_bytes_of("\xa0", 1);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){bodies, sizeof bodies});
  ck_assert_msg(deai_encode(&deai_receipt_table, &work, &writer, err, sizeof err) == DEAI_OK, "%s",
                err);
  memset(packs, 0, sizeof packs);
  packs[0].body = packs[1].body = deai_bytes_of(bodies, writer.len);
  deai_ledger_object object = {.receipts = {packs, 2}};
  ask(0, "object", DEAI_CALLER_PLUGIN, encoded(&deai_ledger_object_table, &object), none);
  return caller.end.status;
}

START_TEST(an_objection_needs_a_paid_job) {
  uint8_t channel[DEAI_ID_BYTES] = {7};
  start(false, NULL);
  ck_assert_int_eq(object_of(NULL), DEAI_ENOTFOUND);
  ck_assert_ptr_nonnull(strstr(caller.end.why, "a free one"));
  ck_assert_uint_eq(passed_count, 0);
  ck_assert_int_eq(object_of(channel), DEAI_OK); /* on its way */
  ck_assert_uint_eq(passed_count, 1);
  passed[0].done(passed[0].user, DEAI_EDENIED, "no such channel", net.genesis->hash, 0);
  deai_loop_drain(loop);
  ck_assert_int_eq(caller.end.status, DEAI_EDENIED);
  ck_assert_str_eq(caller.end.why, "no such channel");
  finish();
}
END_TEST

/* ---- heads, queries, submits ---- */

START_TEST(the_head_is_told) {
  deai_ledger_head_end end;
  start(true, NULL);
  ck_assert_msg(ask_wait(0, "head", none, none) == DEAI_OK, "%s", caller.end.why);
  decode(&deai_ledger_head_end_table, &end);
  ck_assert_uint_eq(end.h, 0);
  ck_assert_uint_eq(end.block.body.len, 1); /* there is none */
  ck_assert_uint_eq(end.block.body.ptr[0], 0xa0);
  ck_assert_int_eq(fixture_transfer(&net, net.wallet, net.owner, 1), DEAI_OK);
  ck_assert_msg(ask_wait(0, "head", none, none) == DEAI_OK, "%s", caller.end.why);
  decode(&deai_ledger_head_end_table, &end);
  ck_assert_uint_eq(end.h, 1);
  ck_assert_uint_gt(end.block.body.len, 1);
  ck_assert_uint_gt(end.now, FIXTURE_T0);
  finish();
}
END_TEST

START_TEST(a_query_tells_what_is_there_and_what_is_not) {
  deai_ledger_query_end end;
  deai_account_rec rec;
  start(true, NULL);
  deai_ledger_query query = {.m = deai_str_of("account/1"),
                             .n = deai_str_of("accounts"),
                             .k = deai_bytes_of(net.owner, DEAI_ACCT_BYTES)};
  ck_assert_int_eq(ask_wait(0, "query", encoded(&deai_ledger_query_table, &query), none), DEAI_OK);
  decode(&deai_ledger_query_end_table, &end);
  ck_assert_uint_eq(end.has, DEAI_LEDGER_QUERY_END_HAS_VALUE);
  ck_assert_int_eq(deai_decode(&deai_account_rec_table, end.value, &rec, NULL, NULL, 0), DEAI_OK);
  ck_assert_uint_eq(rec.b, fixture_balance(&net, net.owner));
  ck_assert_uint_eq(end.block.body.len, 1); /* of height 0 */
  ck_assert_int_eq(fixture_transfer(&net, net.wallet, net.owner, 1), DEAI_OK);
  uint8_t nobody[DEAI_ACCT_BYTES] = {1};
  query.k = deai_bytes_of(nobody, sizeof nobody);
  query.has = DEAI_LEDGER_QUERY_HAS_PROVE;
  query.prove = 1;
  ck_assert_int_eq(ask_wait(0, "query", encoded(&deai_ledger_query_table, &query), none), DEAI_OK);
  decode(&deai_ledger_query_end_table, &end);
  ck_assert_uint_eq(end.has, DEAI_LEDGER_QUERY_END_HAS_PROOF);
  ck_assert_uint_gt(end.block.body.len, 1);
  finish();
}
END_TEST

START_TEST(the_same_bytes_get_the_same_answer) {
  deai_ledger_submit_end first, second;
  uint8_t id[DEAI_HASH_BYTES];
  start(true, NULL);
  deai_bytes tx = transfer_of(1);
  deai_tx_id(tx, id);
  ck_assert_msg(ask_wait(0, "submit", none, tx) == DEAI_OK, "%s", caller.end.why);
  decode(&deai_ledger_submit_end_table, &first);
  ck_assert_mem_eq(first.id, id, DEAI_HASH_BYTES);
  ck_assert_uint_eq(first.h, 1);
  ck_assert_int_eq(ask_wait(0, "submit", none, tx), DEAI_OK);
  decode(&deai_ledger_submit_end_table, &second);
  ck_assert_mem_eq(&first, &second, sizeof first);
  finish();
}
END_TEST

START_TEST(operations_of_plugins_are_signed_and_ordered) {
  deai_ledger_submit_end end;
  start(true, NULL);
  for (uint64_t height = 1; height <= 3; height++) {
    ck_assert_msg(ask_wait(1, "submit", none, ops_of(height)) == DEAI_OK, "%s", caller.end.why);
    decode(&deai_ledger_submit_end_table, &end);
    ck_assert_uint_eq(end.h, height);
  }
  finish();
}
END_TEST

/* ---- followers ---- */

static void check_entry(uint64_t height) {
  uint8_t *bytes = NULL;
  uint64_t len;
  ck_assert_uint_eq(caller.height, height);
  ck_assert_int_eq(deai_ledger_read(net.ledger, height, &bytes, &len), DEAI_OK);
  ck_assert_uint_ge(caller.entry_len, len);
  ck_assert_mem_eq(caller.entry + caller.entry_len - len, bytes, len);
  free(bytes);
}

START_TEST(a_follower_gets_each_block) {
  start(true, NULL);
  for (uint32_t i = 0; i < 2; i++)
    ck_assert_int_eq(fixture_transfer(&net, net.wallet, net.owner, 1), DEAI_OK);
  deai_ledger_follow from = {.from = 0}; /* as 1 */
  ask(0, "follow", DEAI_CALLER_PEER, encoded(&deai_ledger_follow_table, &from), none);
  ck_assert_uint_eq(caller.end.parts, 2);
  check_entry(2);
  ck_assert_int_eq(fixture_transfer(&net, net.wallet, net.owner, 1), DEAI_OK);
  ck_assert_uint_eq(caller.end.parts, 2);
  deai_ledger_service_block(service, 3);
  deai_ledger_service_block(service, 3); /* no block twice */
  deai_loop_drain(loop);
  ck_assert_uint_eq(caller.end.parts, 3);
  check_entry(3);
  deai_call_cancel(caller.end.call, DEAI_ECANCELLED);
  deai_loop_drain(loop);
  ck_assert_uint_eq(caller.end.closed, 1);
  deai_ledger_service_block(service, 3);
  finish();
}
END_TEST

START_TEST(a_slow_follower_goes_on_where_it_was) {
  start(true, NULL);
  deai_ledger_follow from = {.from = 1};
  ask(0, "follow", DEAI_CALLER_PEER, encoded(&deai_ledger_follow_table, &from), none);
  ck_assert_uint_eq(caller.end.parts, 0);
  caller.end.refuse = 1;
  ck_assert_int_eq(fixture_transfer(&net, net.wallet, net.owner, 1), DEAI_OK);
  deai_ledger_service_block(service, 1);
  deai_loop_drain(loop);
  ck_assert_int_eq(fixture_transfer(&net, net.wallet, net.owner, 1), DEAI_OK);
  deai_ledger_service_block(service, 2);
  deai_loop_drain(loop);
  ck_assert_uint_eq(caller.end.parts, 0);
  deai_call_resume(caller.end.call, DEAI_SIDE_CALLER);
  deai_loop_drain(loop);
  ck_assert_uint_eq(caller.end.parts, 2);
  check_entry(2);
  finish(); /* the service ends whom it serves */
  ck_assert_uint_eq(caller.end.closed, 1);
  ck_assert_int_eq(caller.end.status, DEAI_ECANCELLED);
}
END_TEST

/* ---- proposals ---- */

static void answer_passed(uint32_t at, int32_t status, const char *why, uint64_t height) {
  passed[at].done(passed[at].user, status, why, net.genesis->hash, height);
}

START_TEST(proposals_go_one_after_the_other) {
  answer got[3] = {{0}};
  start(false, NULL);
  for (uint32_t i = 0; i < 3; i++)
    deai_ledger_service_propose(service, ops_of(i + 1), &got[i], on_done);
  ck_assert_uint_eq(passed_count, 1);
  ck_assert_uint_eq(passed[0].nonce, 1);
  answer_passed(0, DEAI_OK, "", 4);
  ck_assert_int_eq(got[0].status, DEAI_OK);
  ck_assert_uint_eq(got[0].height, 4);
  ck_assert_uint_eq(passed_count, 2);
  ck_assert_uint_eq(passed[1].nonce, 2); /* although the ledger here has not seen the first */
  answer_passed(1, DEAI_EDENIED, "no", 0);
  ck_assert_int_eq(got[1].status, DEAI_EDENIED);
  ck_assert_str_eq(got[1].why, "no");
  ck_assert_uint_eq(passed_count, 3);
  ck_assert_uint_eq(passed[2].nonce, 1); /* again what the ledger says */
  answer_passed(2, DEAI_OK, "", 5);
  for (uint32_t i = 0; i < 3; i++)
    ck_assert_uint_eq(got[i].count, 1);
  finish();
}
END_TEST

START_TEST(what_waits_at_the_end_is_cancelled) {
  answer got[2] = {{0}};
  start(false, NULL);
  for (uint32_t i = 0; i < 2; i++)
    deai_ledger_service_propose(service, ops_of(1), &got[i], on_done);
  finish();
  for (uint32_t i = 0; i < 2; i++) {
    ck_assert_uint_eq(got[i].count, 1);
    ck_assert_int_eq(got[i].status, DEAI_ECANCELLED);
  }
  deai_ledger_service_free(NULL);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("service");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, methods_have_their_class);
  tcase_add_test(tests, malformed_heads_and_bodies_are_refused);
  tcase_add_test(tests, a_table_that_is_not_there_is_named);
  tcase_add_test(tests, a_member_submits_where_blocks_are_ordered);
  tcase_add_test(tests, a_refusal_keeps_its_words);
  tcase_add_test(tests, a_key_without_account_proposes_nothing);
  tcase_add_test(tests, an_objection_needs_a_paid_job);
  tcase_add_test(tests, the_head_is_told);
  tcase_add_test(tests, a_query_tells_what_is_there_and_what_is_not);
  tcase_add_test(tests, the_same_bytes_get_the_same_answer);
  tcase_add_test(tests, operations_of_plugins_are_signed_and_ordered);
  tcase_add_test(tests, a_follower_gets_each_block);
  tcase_add_test(tests, a_slow_follower_goes_on_where_it_was);
  tcase_add_test(tests, proposals_go_one_after_the_other);
  tcase_add_test(tests, what_waits_at_the_end_is_cancelled);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
