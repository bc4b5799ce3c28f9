/* The follower's side: what a member may send, what stops it, and when a transaction that was
   passed on is done. A router of the test's own holds the other end of each call. */
#include "fixture.h"

#include "tests/testing.h"

#include "host/ledger/catchup.h"
#include "host/ledger/entry.h"
#include "tests/host/router/ends.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define CALLS_MAX 16u
#define BLOCKS    3u
#define SHORT_MS  20u
#define LONG_MS   300u /* longer than the pause between two follow calls */

/* One call that the catch-up made, as the member sees it. */
typedef struct asked {
  test_end end;
  char method[16];
  uint64_t from;
} asked;

/* What done was told, and how far this node was then. */
typedef struct answer {
  uint32_t count;
  int32_t status;
  char why[DEAI_ERR_CAP];
  uint8_t id[DEAI_HASH_BYTES];
  uint64_t height;
  uint64_t here;
  bool again; /* forward once more */
  struct answer *next;
} answer;

static char err[DEAI_ERR_CAP];
static fixture orderer;
static fixture follower;
static deai_loop *loop;
static deai_catchup *catchup;
static asked calls[CALLS_MAX];
static uint32_t call_count;
static uint32_t call_goal;  /* the loop stops at that many */
static bool no_memory;      /* open finds none */
static bool no_provider;    /* open finds nobody */
static bool ledger_is_gone; /* the follower's */

/* ---- the router of the test ---- */

static void on_ask(test_end *end, const deai_part *part) {
  asked *call = end->user;
  deai_ledger_follow ask;
  if (strcmp(call->method, "follow") != 0) return;
  ck_assert_int_eq(deai_decode(&deai_ledger_follow_table, part->args, &ask, NULL, NULL, 0),
                   DEAI_OK);
  call->from = ask.from;
}

static deai_call *open_call(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                            void *end_user) {
  ck_assert_ptr_eq(user, &orderer);
  ck_assert(deai_str_eq(spec->service, deai_str_of(DEAI_LEDGER_SERVICE)));
  ck_assert_uint_eq(spec->flags & DEAI_CALL_AWAY, DEAI_CALL_AWAY);
  if (no_memory) return NULL;
  deai_call *call = deai_call_new(loop, spec, ops, end_user);
  ck_assert_ptr_nonnull(call);
  if (no_provider) {
    deai_call_fail(call, DEAI_ENOPROVIDER, "nobody is connected");
    return call;
  }
  ck_assert_uint_lt(call_count, CALLS_MAX);
  asked *made = &calls[call_count++];
  *made = (asked){.end = test_end_of(loop, DEAI_SIDE_CALLEE)};
  made->end.call = call;
  made->end.user = made;
  made->end.on_part = on_ask;
  (void)snprintf(made->method, sizeof made->method, "%.*s", (int)spec->method.len,
                 spec->method.ptr);
  deai_call_attach(call, &test_callee_ops, &made->end);
  if (call_count == call_goal) deai_loop_stop(loop);
  return call;
}

/* run_until serves until the catch-up has made count calls. */
static void run_until(uint32_t count) {
  call_goal = count;
  if (call_count < count) deai_loop_run(loop);
  call_goal = 0;
  deai_loop_drain(loop);
  ck_assert_uint_eq(call_count, count);
}

static uint64_t here(void) {
  deai_ledger_head head;
  if (ledger_is_gone) return 0;
  deai_ledger_head_get(follower.ledger, &head);
  return head.height;
}

static void send_slice(asked *to, deai_bytes args, deai_bytes body) {
  deai_part part = {.size = (uint32_t)sizeof part, .attachment = -1, .args = args, .body = body};
  ck_assert_int_eq(deai_call_send(to->end.call, DEAI_SIDE_CALLEE, &part), DEAI_OK);
}

static void send_bytes(asked *to, uint64_t height, deai_bytes bytes, uint8_t more) {
  uint8_t room[64];
  deai_ledger_slice slice = {.h = height, .more = more};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  ck_assert_int_eq(deai_encode(&deai_ledger_slice_table, &slice, &writer, NULL, 0), DEAI_OK);
  send_slice(to, deai_bytes_of(room, writer.len), bytes);
}

/* send_block sends the orderer's block of height in two slices. */
static void send_block(asked *to, uint64_t height) {
  uint8_t *bytes = NULL;
  uint64_t len;
  ck_assert_int_eq(deai_ledger_read(orderer.ledger, height, &bytes, &len), DEAI_OK);
  send_bytes(to, height, deai_bytes_of(bytes, len / 2), 1);
  send_bytes(to, height, deai_bytes_of(bytes + len / 2, len - len / 2), 0);
  free(bytes);
}

/* send_forged sends a block with another root, signed by the orderer. */
static void send_forged(asked *to, uint64_t height) {
  uint8_t *bytes = NULL, *memory = NULL;
  uint64_t len;
  deai_entry *entry = NULL;
  deai_bytes signed_block;
  ck_assert_int_eq(deai_ledger_read(orderer.ledger, height, &bytes, &len), DEAI_OK);
  ck_assert_int_eq(deai_entry_open(deai_bytes_of(bytes, len), &entry, err, sizeof err), DEAI_OK);
  free(bytes);
  entry->block.s[0] ^= 1;
  ck_assert_int_eq(deai_entry_make(&entry->block, orderer.order, orderer.genesis->hash,
                                   (const deai_tx_parsed *const *)entry->txs, entry->tx_count,
                                   &memory, &len, &signed_block),
                   DEAI_OK);
  deai_entry_free(entry);
  send_bytes(to, height, deai_bytes_of(memory, len), 0);
  free(memory);
}

/* acknowledge ends a submit as the orderer does when the transaction is durable there. */
static void acknowledge(asked *to, uint64_t height) {
  uint8_t room[64];
  deai_ledger_submit_end end = {.h = height};
  memset(end.id, (int)height, sizeof end.id);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  ck_assert_int_eq(deai_encode(&deai_ledger_submit_end_table, &end, &writer, NULL, 0), DEAI_OK);
  deai_part part = {.size = (uint32_t)sizeof part,
                    .flags = DEAI_PART_END,
                    .attachment = -1,
                    .args = deai_bytes_of(room, writer.len)};
  ck_assert_str_eq(to->method, "submit");
  ck_assert_int_eq(deai_call_send(to->end.call, DEAI_SIDE_CALLEE, &part), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_uint_eq(to->end.closed, 1);
}

/* ---- what a test starts with ---- */

static void start(uint32_t workers, uint32_t wait_ms) {
  call_count = 0;
  no_memory = no_provider = ledger_is_gone = false;
  fixture_start(&orderer, NULL);
  fixture_start(&follower, NULL);
  fixture_open(&orderer);
  ck_assert_msg(fixture_try_open(&follower, DEAI_ENGINE_FOLLOW, 0) == DEAI_OK, "%s", follower.err);
  for (uint32_t i = 0; i < BLOCKS; i++)
    ck_assert_int_eq(fixture_transfer(&orderer, orderer.wallet, orderer.owner, 1), DEAI_OK);
  loop = deai_loop_new(deai_platform_system(), workers);
  ck_assert_ptr_nonnull(loop);
  deai_catchup_options options = {.loop = loop,
                                  .ledger = follower.ledger,
                                  .open = open_call,
                                  .user = &orderer,
                                  .wait_ms = wait_ms};
  catchup = deai_catchup_new(&options);
  ck_assert_ptr_nonnull(catchup);
  ck_assert_str_eq(deai_catchup_why(catchup), "");
}

/* start_following starts a follower that has asked for block 1. */
static void start_following(uint32_t wait_ms) {
  start(0, wait_ms);
  deai_catchup_go(catchup);
  deai_loop_drain(loop);
  ck_assert_uint_eq(call_count, 1);
  ck_assert_str_eq(calls[0].method, "follow");
  ck_assert_uint_eq(calls[0].from, 1);
}

static void finish(void) {
  deai_catchup_stop(catchup);
  for (uint32_t i = 0; i < call_count; i++) {
    if (calls[i].end.call != NULL) deai_call_fail(calls[i].end.call, DEAI_ECANCELLED, "over");
  }
  deai_loop_drain(loop);
  for (uint32_t i = 0; i < call_count; i++)
    ck_assert_uint_eq(calls[i].end.closed, 1);
  deai_catchup_free(catchup);
  deai_loop_free(loop);
  fixture_end(&orderer);
  fixture_end(&follower);
}

static void on_done(void *user, int32_t status, const char *why, const uint8_t id[DEAI_HASH_BYTES],
                    uint64_t height) {
  answer *to = user;
  to->count++;
  to->status = status;
  (void)snprintf(to->why, sizeof to->why, "%s", why);
  memcpy(to->id, id, DEAI_HASH_BYTES);
  to->height = height;
  to->here = here();
  if (to->again) deai_catchup_forward(catchup, deai_bytes_of("again", 5), to->next, on_done);
  deai_loop_stop(loop);
}

/* forward passes a transaction on and returns the call that carries it. */
static asked *forward(answer *to) {
  asked *made = &calls[call_count];
  deai_catchup_forward(catchup, deai_bytes_of("tx", 2), to, on_done);
  deai_loop_drain(loop);
  ck_assert_ptr_eq(made, &calls[call_count - 1]);
  ck_assert_str_eq(made->method, "submit");
  ck_assert_uint_eq(made->end.ends, 1);
  ck_assert_mem_eq(made->end.last, "tx", 2);
  ck_assert_uint_eq(to->count, 0);
  return made;
}

static void check_done(const answer *to, uint64_t height) {
  uint8_t id[DEAI_HASH_BYTES];
  memset(id, (int)height, sizeof id);
  ck_assert_uint_eq(to->count, 1);
  ck_assert_int_eq(to->status, DEAI_OK);
  ck_assert_str_eq(to->why, "");
  ck_assert_uint_eq(to->height, height);
  ck_assert_mem_eq(to->id, id, DEAI_HASH_BYTES);
}

/* ---- what a member may not send ---- */

START_TEST(a_malformed_slice_cancels_the_call) {
  start_following(0);
  send_slice(&calls[0], deai_bytes_of("\xff", 1), deai_bytes_of("x", 1));
  deai_loop_drain(loop);
  ck_assert_uint_eq(calls[0].end.cancels, 1);
  ck_assert_int_eq(calls[0].end.cancel_status, DEAI_EINVAL);
  ck_assert_str_eq(deai_catchup_why(catchup), ""); /* the next member may do better */
  ck_assert_uint_eq(here(), 0);
  run_until(2);
  ck_assert_uint_eq(calls[1].from, 1);
  send_block(&calls[1], 1);
  deai_loop_drain(loop);
  ck_assert_uint_eq(here(), 1);
  finish();
}
END_TEST

START_TEST(a_block_without_end_cancels_the_call) {
  start_following(0);
  uint8_t *zeros = calloc(1, 65536);
  ck_assert_ptr_nonnull(zeros);
  for (uint32_t i = 0; i < DEAI_BLOCK_ENTRY_MAX / 65536; i++) {
    send_bytes(&calls[0], 1, deai_bytes_of(zeros, 65536), 1);
    deai_loop_drain(loop);
    ck_assert_uint_eq(calls[0].end.cancels, 0);
  }
  send_bytes(&calls[0], 1, deai_bytes_of(zeros, 1), 1);
  deai_loop_drain(loop);
  free(zeros);
  ck_assert_uint_eq(calls[0].end.cancels, 1);
  ck_assert_int_eq(calls[0].end.cancel_status, DEAI_EINVAL);
  run_until(2); /* what came of it is forgotten */
  send_block(&calls[1], 1);
  deai_loop_drain(loop);
  ck_assert_uint_eq(here(), 1);
  finish();
}
END_TEST

START_TEST(bytes_that_are_no_block_cancel_the_call) {
  start_following(0);
  send_bytes(&calls[0], 1, deai_bytes_of("no block", 8), 0);
  deai_loop_drain(loop);
  ck_assert_uint_eq(calls[0].end.cancels, 1);
  ck_assert_str_eq(deai_catchup_why(catchup), "");
  run_until(2);
  finish();
}
END_TEST

START_TEST(a_block_that_does_not_verify_stops_following) {
  answer waiting = {0}, later = {0};
  start_following(0);
  acknowledge(forward(&waiting), 2);
  ck_assert_uint_eq(waiting.count, 0);
  send_forged(&calls[0], 1);
  deai_loop_drain(loop);
  ck_assert_ptr_nonnull(strstr(deai_catchup_why(catchup), "evidence"));
  ck_assert_uint_eq(calls[0].end.cancels, 1);
  ck_assert_int_eq(calls[0].end.cancel_status, DEAI_EVERIFY);
  check_done(&waiting, 2); /* no block comes any more */
  deai_catchup_go(catchup);
  deai_loop_drain(loop);
  ck_assert_uint_eq(call_count, 2);
  acknowledge(forward(&later), 3);
  check_done(&later, 3);
  ck_assert_uint_eq(here(), 0);
  finish();
}
END_TEST

/* ---- what is passed on and refused ---- */

START_TEST(a_refusal_keeps_its_status_and_words) {
  answer refused = {0}, lost = {0};
  start_following(0);
  deai_call_fail(forward(&refused)->end.call, DEAI_EDENIED, "expected %s", "a right");
  deai_loop_drain(loop);
  ck_assert_uint_eq(refused.count, 1);
  ck_assert_int_eq(refused.status, DEAI_EDENIED);
  ck_assert_str_eq(refused.why, "expected a right");
  test_drop(&forward(&lost)->end, DEAI_EPEER_LOST, "the connection broke");
  deai_loop_drain(loop);
  ck_assert_uint_eq(lost.count, 1);
  ck_assert_int_eq(lost.status, DEAI_EPEER_LOST);
  calls[2].end.closed = 1; /* dropped: finish need not look for its closed */
  finish();
}
END_TEST

START_TEST(an_answer_that_is_none_is_an_error) {
  answer got = {0};
  start_following(0);
  asked *call = forward(&got);
  ck_assert_int_eq(test_send(&call->end, "part", 0, 0, DEAI_OK), DEAI_OK); /* not asked for */
  ck_assert_int_eq(test_send(&call->end, "", 0, DEAI_PART_END, DEAI_OK), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_uint_eq(got.count, 1);
  ck_assert_int_lt(got.status, 0);
  ck_assert_str_ne(got.why, "");
  finish();
}
END_TEST

START_TEST(without_provider_or_memory_nothing_is_sent) {
  answer nobody = {0}, nothing = {0};
  start(0, 0);
  no_provider = true;
  deai_catchup_forward(catchup, deai_bytes_of("tx", 2), &nobody, on_done);
  ck_assert_uint_eq(nobody.count, 0); /* never inline */
  deai_loop_drain(loop);
  ck_assert_uint_eq(nobody.count, 1);
  ck_assert_int_eq(nobody.status, DEAI_ENOPROVIDER);
  ck_assert_str_eq(nobody.why, "nobody is connected");
  no_provider = false;
  no_memory = true;
  deai_catchup_forward(catchup, deai_bytes_of("tx", 2), &nothing, on_done);
  ck_assert_uint_eq(nothing.count, 1);
  ck_assert_int_eq(nothing.status, DEAI_ENOMEM);
  ck_assert_uint_eq(nothing.height, 0);
  deai_catchup_go(catchup); /* asks again later */
  no_memory = false;
  run_until(1);
  finish();
}
END_TEST

/* ---- when it is done ---- */

START_TEST(a_transaction_is_done_when_its_block_is_here) {
  answer got = {0}, old = {0};
  start_following(0);
  acknowledge(forward(&got), 2);
  send_block(&calls[0], 1);
  deai_loop_drain(loop);
  ck_assert_uint_eq(here(), 1);
  ck_assert_uint_eq(got.count, 0);
  send_block(&calls[0], 2);
  deai_loop_drain(loop);
  check_done(&got, 2);
  ck_assert_uint_eq(got.here, 2);
  acknowledge(forward(&old), 1); /* its block came first */
  check_done(&old, 1);
  finish();
}
END_TEST

START_TEST(a_block_that_never_comes_is_waited_for_up_to_a_bound) {
  answer first = {0}, second = {0};
  start_following(SHORT_MS);
  asked *two[2] = {forward(&first), forward(&second)};
  uint64_t begin_ns = deai_loop_now_ns(loop);
  acknowledge(two[0], 3);
  acknowledge(two[1], 2);
  ck_assert_uint_eq(first.count + second.count, 0);
  while (first.count == 0 || second.count == 0)
    deai_loop_run(loop);
  ck_assert_uint_ge(deai_loop_now_ns(loop) - begin_ns, SHORT_MS * UINT64_C(1000000));
  check_done(&first, 3);
  check_done(&second, 2);
  ck_assert_uint_eq(first.here, 0);
  for (uint64_t height = 1; height <= BLOCKS; height++)
    send_block(&calls[0], height);
  deai_loop_drain(loop);
  ck_assert_uint_eq(here(), BLOCKS); /* it follows all the same */
  ck_assert_uint_eq(first.count, 1);
  finish();
}
END_TEST

START_TEST(a_stop_ends_the_wait) {
  answer waiting = {0}, under_way = {0};
  start_following(0);
  acknowledge(forward(&waiting), 1);
  asked *late = forward(&under_way);
  ck_assert_uint_eq(waiting.count, 0);
  deai_catchup_stop(catchup);
  check_done(&waiting, 1);
  ck_assert_uint_eq(under_way.count, 0);
  ledger_is_gone = true; /* as at the end of a node: nobody asks it any more */
  fixture_close(&follower);
  acknowledge(late, 2);
  check_done(&under_way, 2);
  deai_catchup_stop(catchup);
  ck_assert_uint_eq(waiting.count, 1);
  ck_assert_uint_eq(calls[0].end.cancels, 1);
  finish();
  deai_catchup_stop(NULL);
  deai_catchup_free(NULL);
}
END_TEST

START_TEST(each_waits_for_its_own_height) {
  answer high = {0}, low = {0};
  start_following(0);
  asked *two[2] = {forward(&high), forward(&low)};
  acknowledge(two[0], 3);
  acknowledge(two[1], 1);
  send_block(&calls[0], 1);
  deai_loop_drain(loop);
  check_done(&low, 1);
  ck_assert_uint_eq(high.count, 0);
  send_block(&calls[0], 2);
  deai_loop_drain(loop);
  ck_assert_uint_eq(high.count, 0);
  send_block(&calls[0], 3);
  deai_loop_drain(loop);
  check_done(&high, 3);
  ck_assert_uint_eq(low.count, 1);
  finish();
}
END_TEST

START_TEST(done_may_forward_again) {
  answer more[2] = {{0}, {0}};
  answer first = {.again = true, .next = &more[0]};
  answer second = {.again = true, .next = &more[1]};
  start_following(0);
  asked *two[2] = {forward(&first), forward(&second)};
  acknowledge(two[0], 1);
  acknowledge(two[1], 1);
  send_block(&calls[0], 1);
  deai_loop_drain(loop);
  check_done(&first, 1);
  check_done(&second, 1);
  ck_assert_uint_eq(call_count, 5);
  acknowledge(&calls[3], 2);
  acknowledge(&calls[4], 3);
  ck_assert_uint_eq(more[0].count + more[1].count, 0);
  send_block(&calls[0], 2);
  deai_loop_drain(loop);
  check_done(&more[0], 2);
  more[1].again = true; /* in the stop, too */
  more[1].next = &(answer){0};
  deai_catchup_stop(catchup);
  check_done(&more[1], 3);
  ck_assert_uint_eq(call_count, 6);
  deai_loop_drain(loop);
  acknowledge(&calls[5], 9);
  check_done(more[1].next, 9);
  finish();
}
END_TEST

/* ---- a slow worker ---- */

static pthread_mutex_t worker_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t worker_changed = PTHREAD_COND_INITIALIZER;
static bool worker_held;
static uint64_t (*real_wall_ms)(void *state);

/* held_wall_ms holds the worker, which looks at the clock while it applies a block. */
static uint64_t held_wall_ms(void *state) {
  (void)pthread_mutex_lock(&worker_lock);
  while (worker_held && !deai_loop_on_thread(loop))
    (void)pthread_cond_wait(&worker_changed, &worker_lock);
  (void)pthread_mutex_unlock(&worker_lock);
  return real_wall_ms(state);
}

static void worker_hold(bool held) {
  (void)pthread_mutex_lock(&worker_lock);
  worker_held = held;
  (void)pthread_cond_broadcast(&worker_changed);
  (void)pthread_mutex_unlock(&worker_lock);
}

static void on_long(void *user) {
  (void)user;
  deai_loop_stop(loop);
}

START_TEST(a_call_that_ends_while_a_block_is_applied_is_made_again) {
  start(1, 0);
  real_wall_ms = follower.platform.wall_ms;
  follower.platform.wall_ms = held_wall_ms;
  worker_hold(true);
  deai_catchup_go(catchup);
  deai_loop_drain(loop);
  send_block(&calls[0], 1);
  deai_loop_drain(loop);
  deai_call_fail(calls[0].end.call, DEAI_ETIMEDOUT, "asked for long enough");
  deai_loop_drain(loop);
  ck_assert_uint_eq(calls[0].end.closed, 1);
  deai_timer *timer = deai_timer_new(loop, on_long, NULL); /* due after the pause of the catch-up */
  ck_assert_ptr_nonnull(timer);
  deai_timer_set(timer, LONG_MS);
  deai_loop_run(loop);
  ck_assert_uint_eq(call_count, 1); /* the worker is still at it */
  worker_hold(false);
  run_until(2);
  ck_assert_uint_eq(calls[1].from, 2);
  ck_assert_uint_eq(here(), 1);
  deai_timer_free(timer);
  finish();
}
END_TEST

int main(void) {
  Suite *suite = suite_create("catchup");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, a_malformed_slice_cancels_the_call);
  tcase_add_test(tests, a_block_without_end_cancels_the_call);
  tcase_add_test(tests, bytes_that_are_no_block_cancel_the_call);
  tcase_add_test(tests, a_block_that_does_not_verify_stops_following);
  tcase_add_test(tests, a_refusal_keeps_its_status_and_words);
  tcase_add_test(tests, an_answer_that_is_none_is_an_error);
  tcase_add_test(tests, without_provider_or_memory_nothing_is_sent);
  tcase_add_test(tests, a_transaction_is_done_when_its_block_is_here);
  tcase_add_test(tests, a_block_that_never_comes_is_waited_for_up_to_a_bound);
  tcase_add_test(tests, a_stop_ends_the_wait);
  tcase_add_test(tests, each_waits_for_its_own_height);
  tcase_add_test(tests, done_may_forward_again);
  tcase_add_test(tests, a_call_that_ends_while_a_block_is_applied_is_made_again);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
