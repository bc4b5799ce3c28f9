#include "fixture.h"

#include "tests/testing.h"

#include "host/base/file.h"
#include "host/ledger/app.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

static char err[300];

typedef struct machine {
  fixture net;
  deai_state *state;
  deai_app *app;
  const deai_abci *abci;
} machine;

static void machine_start(machine *self, const char *name) {
  char path[4200];
  fixture_start(&self->net, NULL);
  ck_assert_int_eq(deai_path_join(path, sizeof path, testing_folder(), name), DEAI_OK);
  ck_assert_int_eq(deai_state_open(path, &self->net.genesis->genesis, 64u << 20, DEAI_STATE_LOOSE,
                                   &self->state, err, sizeof err),
                   DEAI_OK);
  ck_assert_int_eq(deai_app_new(self->state, self->net.genesis, &self->app, err, sizeof err),
                   DEAI_OK);
  self->abci = deai_app_table(self->app);
  ck_assert_int_eq(self->abci->init_chain(self->abci->app, err, sizeof err), DEAI_OK);
}

static void machine_end(machine *self) {
  deai_app_free(self->app);
  deai_state_close(self->state);
  fixture_end(&self->net);
}

static deai_tx_parsed *transfer(machine *self, uint64_t nonce, uint64_t amount) {
  uint8_t room[1024];
  uint64_t len;
  deai_tx_parsed *parsed = NULL;
  deai_op_transfer op;
  memset(&op, 0, sizeof op);
  memcpy(op.to, self->net.owner, DEAI_ACCT_BYTES);
  op.amount = amount;
  deai_tx_start(self->net.builder, self->net.owner, nonce, 0, 3);
  deai_tx_op(self->net.builder, "account/1", "transfer", &deai_op_transfer_table, &op);
  ck_assert_int_eq(deai_tx_sign(self->net.builder, self->net.genesis->hash, self->net.wallet,
                                (deai_buf){room, sizeof room}, &len, err, sizeof err),
                   DEAI_OK);
  ck_assert_int_eq(
      deai_tx_parse(self->net.genesis->hash, deai_bytes_of(room, len), &parsed, err, sizeof err),
      DEAI_OK);
  return parsed;
}

static void commit(machine *self, uint8_t mark) {
  uint8_t hash[DEAI_HASH_BYTES];
  memset(hash, mark, sizeof hash);
  deai_abci_commit out = {deai_bytes_of("block", 5), hash, 0, 0, NULL, 0};
  ck_assert_int_eq(self->abci->commit(self->abci->app, &out, err, sizeof err), DEAI_OK);
}

START_TEST(finalize_gives_the_same_with_and_without_prepare) {
  machine one, two;
  machine_start(&one, "one");
  machine_start(&two, "two");
  deai_tx_parsed *good = transfer(&one, 1, 5), *ahead = transfer(&one, 4, 5);
  deai_tx_parsed *poor = transfer(&one, 2, UINT64_MAX), *next = transfer(&one, 2, 6);
  deai_abci_block block = {1, FIXTURE_T0 + 5};
  deai_abci_verdict verdict;
  deai_abci_result a, b;
  ck_assert_int_eq(one.abci->prepare(one.app, &block, ahead, &verdict), DEAI_OK);
  ck_assert_int_eq(verdict.status, DEAI_EAGAIN);
  ck_assert_uint_eq(verdict.ahead, 3);
  ck_assert_int_eq(one.abci->prepare(one.app, &block, good, &verdict), DEAI_OK);
  ck_assert_int_eq(verdict.status, DEAI_OK);
  ck_assert_int_eq(one.abci->prepare(one.app, &block, poor, &verdict), DEAI_OK);
  ck_assert_int_eq(verdict.status, DEAI_EPAYMENT);
  ck_assert_int_eq(one.abci->prepare(one.app, &block, next, &verdict), DEAI_OK);
  ck_assert_int_eq(verdict.status, DEAI_OK);
  const deai_tx_parsed *const txs[2] = {good, next};
  ck_assert_int_eq(one.abci->finalize(one.app, &block, txs, 2, &a, err, sizeof err), DEAI_OK);
  ck_assert_int_eq(two.abci->finalize(two.app, &block, txs, 2, &b, err, sizeof err), DEAI_OK);
  ck_assert_mem_eq(a.state_root, b.state_root, DEAI_HASH_BYTES);
  ck_assert_mem_eq(a.data_root, b.data_root, DEAI_HASH_BYTES);
  ck_assert_mem_eq(a.results_root, b.results_root, DEAI_HASH_BYTES);
  ck_assert_uint_eq(a.failed_count, 0);
  commit(&one, 1);
  ck_assert_int_eq(deai_app_conserved(one.app, err, sizeof err), DEAI_OK);
  two.abci->abandon(two.app);
  const deai_tx_parsed *const failing[2] = {good, poor};
  ck_assert_int_eq(two.abci->finalize(two.app, &block, failing, 2, &b, err, sizeof err), DEAI_OK);
  ck_assert_uint_eq(b.failed_count, 1);
  ck_assert_mem_ne(a.results_root, b.results_root, DEAI_HASH_BYTES);
  two.abci->abandon(two.app);
  deai_abci_commit none = {deai_bytes_of("x", 1), (const uint8_t *)err, 0, 0, NULL, 0};
  ck_assert_int_eq(two.abci->commit(two.app, &none, err, sizeof err), DEAI_EINTERNAL);
  free(good), free(ahead), free(poor), free(next);
  machine_end(&one);
  machine_end(&two);
}
END_TEST

START_TEST(an_abandoned_block_leaves_nothing) {
  machine self;
  deai_abci_info before, after;
  deai_abci_verdict verdict;
  deai_abci_result result;
  machine_start(&self, "abandon");
  deai_tx_parsed *tx = transfer(&self, 1, 5);
  deai_abci_block block = {1, FIXTURE_T0 + 5};
  const deai_tx_parsed *const txs[1] = {tx};
  ck_assert_int_eq(self.abci->info(self.app, &before), DEAI_OK);
  for (int i = 0; i < 3; i++) {
    ck_assert_int_eq(self.abci->prepare(self.app, &block, tx, &verdict), DEAI_OK);
    ck_assert_int_eq(verdict.status, DEAI_OK);
    if (i == 1)
      ck_assert_int_eq(self.abci->finalize(self.app, &block, txs, 1, &result, err, sizeof err),
                       DEAI_OK);
    self.abci->abandon(self.app);
  }
  ck_assert_int_eq(self.abci->info(self.app, &after), DEAI_OK);
  ck_assert_mem_eq(before.root, after.root, DEAI_HASH_BYTES);
  ck_assert_int_eq(self.abci->check_tx(self.app, tx, &verdict), DEAI_OK);
  ck_assert_int_eq(verdict.status, DEAI_OK);
  free(tx);
  machine_end(&self);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("app");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, finalize_gives_the_same_with_and_without_prepare);
  tcase_add_test(tests, an_abandoned_block_leaves_nothing);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
