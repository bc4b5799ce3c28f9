#include "fixture.h"

#include "tests/testing.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define SENT_MAX 200

typedef struct sent {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  uint32_t open;
  int32_t status[SENT_MAX];
  uint64_t height[SENT_MAX];
} sent;

typedef struct one {
  sent *all;
  uint32_t index;
} one;

static sent all;
static one ones[SENT_MAX];

static void done(void *user, int32_t status, const char *why, const uint8_t *id, uint64_t height) {
  one *self = user;
  (void)why, (void)id;
  (void)pthread_mutex_lock(&self->all->lock);
  self->all->status[self->index] = status;
  self->all->height[self->index] = height;
  self->all->open--;
  (void)pthread_cond_signal(&self->all->changed);
  (void)pthread_mutex_unlock(&self->all->lock);
}

static void start(void) {
  (void)pthread_mutex_init(&all.lock, NULL);
  (void)pthread_cond_init(&all.changed, NULL);
  all.open = 0;
}

static int32_t send_nonce(fixture *net, uint32_t index, uint64_t nonce) {
  uint8_t room[1024];
  uint64_t len;
  deai_op_transfer op;
  memset(&op, 0, sizeof op);
  memcpy(op.to, net->owner, DEAI_ACCT_BYTES);
  op.amount = nonce;
  deai_tx_start(net->builder, net->owner, nonce, 0, 0);
  deai_tx_op(net->builder, "account/1", "transfer", &deai_op_transfer_table, &op);
  ck_assert_int_eq(deai_tx_sign(net->builder, net->genesis->hash, net->wallet,
                                (deai_buf){room, sizeof room}, &len, net->err, sizeof net->err),
                   DEAI_OK);
  ones[index] = (one){&all, index};
  (void)pthread_mutex_lock(&all.lock);
  all.open++;
  all.status[index] = 1;
  (void)pthread_mutex_unlock(&all.lock);
  int32_t status = deai_ledger_submit(net->ledger, deai_bytes_of(room, len), &ones[index], done);
  if (status != DEAI_OK) {
    (void)pthread_mutex_lock(&all.lock);
    all.open--;
    (void)pthread_mutex_unlock(&all.lock);
  }
  return status;
}

static void wait_open(uint32_t open) {
  (void)pthread_mutex_lock(&all.lock);
  while (all.open > open)
    (void)pthread_cond_wait(&all.changed, &all.lock);
  (void)pthread_mutex_unlock(&all.lock);
}

/* move_until moves the clock again and again until at most open answers are missing: signatures are
   checked side by side, so one that was sent first may begin to wait last. */
static void move_until(fixture *net, uint32_t open) {
  uint32_t left = UINT32_MAX;
  while (left > open) {
    fixture_move(net, DEAI_TX_AHEAD_MS + 1);
    (void)sched_yield();
    (void)pthread_mutex_lock(&all.lock);
    left = all.open;
    (void)pthread_mutex_unlock(&all.lock);
  }
}

START_TEST(nonces_in_any_order_run_in_theirs) {
  fixture net;
  fixture_start(&net, NULL);
  fixture_open(&net);
  start();
  for (uint32_t i = 0; i < 60; i++)
    ck_assert_int_eq(send_nonce(&net, i, 60 - i), DEAI_OK);
  wait_open(0);
  for (uint32_t i = 0; i < 60; i++)
    ck_assert_int_eq(all.status[i], DEAI_OK);
  fixture_end(&net);
}
END_TEST

START_TEST(a_gap_waits_five_seconds) {
  fixture net;
  fixture_start(&net, NULL);
  fixture_open(&net);
  start();
  ck_assert_int_eq(send_nonce(&net, 0, 2), DEAI_OK);
  ck_assert_int_eq(send_nonce(&net, 1, 66), DEAI_OK); /* 65 ahead: more than may wait */
  wait_open(1);
  ck_assert_int_eq(all.status[1], DEAI_EBUSY);
  ck_assert_int_eq(all.status[0], 1);
  move_until(&net, 0);
  ck_assert_int_eq(all.status[0], DEAI_ETIMEDOUT);
  ck_assert_uint_eq(net.blocks, 0);
  fixture_end(&net);
}
END_TEST

START_TEST(the_same_bytes_at_once_get_one_answer) {
  fixture net;
  fixture_start(&net, NULL);
  fixture_open(&net);
  start();
  ck_assert_int_eq(send_nonce(&net, 0, 2), DEAI_OK);
  ck_assert_int_eq(send_nonce(&net, 1, 2), DEAI_OK);
  ck_assert_int_eq(send_nonce(&net, 2, 1), DEAI_OK);
  ck_assert_int_eq(send_nonce(&net, 3, 1), DEAI_OK);
  wait_open(0);
  for (uint32_t i = 0; i < 4; i++)
    ck_assert_int_eq(all.status[i], DEAI_OK);
  ck_assert_uint_eq(all.height[0], all.height[1]);
  ck_assert_uint_eq(all.height[2], all.height[3]);
  fixture_end(&net);
}
END_TEST

START_TEST(what_waits_is_cancelled_at_the_end) {
  fixture net;
  fixture_start(&net, NULL);
  fixture_open(&net);
  start();
  for (uint32_t i = 0; i < 50; i++)
    ck_assert_int_eq(send_nonce(&net, i, i + 5), DEAI_OK);
  fixture_close(&net);
  wait_open(0);
  for (uint32_t i = 0; i < 50; i++)
    ck_assert_int_eq(all.status[i], DEAI_ECANCELLED);
  fixture_end(&net);
}
END_TEST

static void few_free(deai_genesis_options *options) {
  options->tx_free = 2;
  options->fee_min = 10;
}

START_TEST(free_transactions_end_and_come_back) {
  fixture net;
  fixture_start(&net, few_free);
  fixture_open(&net);
  uint64_t before = fixture_balance(&net, net.owner);
  ck_assert_int_eq(fixture_transfer(&net, net.wallet, net.owner, 1), DEAI_OK);
  ck_assert_int_eq(fixture_transfer(&net, net.wallet, net.owner, 1), DEAI_OK);
  ck_assert_int_eq(fixture_transfer(&net, net.wallet, net.owner, 1), DEAI_EPAYMENT);
  fixture_begin(&net, net.owner, net.wallet);
  deai_op_transfer op;
  memset(&op, 0, sizeof op);
  memcpy(op.to, net.owner, DEAI_ACCT_BYTES);
  deai_tx_op(net.builder, "account/1", "transfer", &deai_op_transfer_table, &op);
  net.builder->tx.f = 10;
  ck_assert_int_eq(fixture_send(&net, net.wallet), DEAI_OK);
  ck_assert_uint_eq(fixture_balance(&net, net.owner), before - 10);
  fixture_move(&net, 86400000);
  ck_assert_int_eq(fixture_transfer(&net, net.wallet, net.owner, 1), DEAI_OK);
  fixture_end(&net);
}
END_TEST

START_TEST(block_time_never_goes_back) {
  fixture net;
  deai_ledger_head head;
  fixture_start(&net, NULL);
  fixture_open(&net);
  ck_assert_int_eq(fixture_transfer(&net, net.wallet, net.owner, 1), DEAI_OK);
  deai_ledger_head_get(net.ledger, &head);
  ck_assert_uint_eq(head.time_ms, net.wall_ms);
  ck_assert_uint_eq(head.now_ms, head.time_ms + 1);
  fixture_move(&net, (uint64_t)0 - 500000);
  ck_assert_int_eq(fixture_transfer(&net, net.wallet, net.owner, 1), DEAI_OK);
  uint64_t last = head.time_ms;
  deai_ledger_head_get(net.ledger, &head);
  ck_assert_uint_eq(head.time_ms, last + 1);
  fixture_end(&net);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("engine");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, nonces_in_any_order_run_in_theirs);
  tcase_add_test(tests, a_gap_waits_five_seconds);
  tcase_add_test(tests, the_same_bytes_at_once_get_one_answer);
  tcase_add_test(tests, what_waits_is_cancelled_at_the_end);
  tcase_add_test(tests, free_transactions_end_and_come_back);
  tcase_add_test(tests, block_time_never_goes_back);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
