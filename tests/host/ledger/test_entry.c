#include "fixture.h"

#include "tests/testing.h"

#include "host/ledger/entry.h"

#include <stdlib.h>

#include "host/base/banned.h"

static char err[300];

static deai_entry *entry_of(fixture *net, uint64_t height) {
  uint8_t *bytes = NULL;
  uint64_t len;
  deai_entry *entry = NULL;
  ck_assert_int_eq(deai_ledger_read(net->ledger, height, &bytes, &len), DEAI_OK);
  ck_assert_int_eq(deai_entry_open(deai_bytes_of(bytes, len), &entry, err, sizeof err), DEAI_OK);
  for (uint64_t cut = 0; cut < len; cut += 7) {
    deai_entry *none = NULL;
    ck_assert_int_eq(deai_entry_open(deai_bytes_of(bytes, cut), &none, err, sizeof err),
                     DEAI_EINVAL);
  }
  free(bytes);
  return entry;
}

START_TEST(entries_are_judged) {
  fixture net;
  fixture_start(&net, NULL);
  fixture_open(&net);
  for (int i = 0; i < 2; i++)
    ck_assert_int_eq(fixture_transfer(&net, net.wallet, net.owner, 1), DEAI_OK);
  deai_entry *first = entry_of(&net, 1), *second = entry_of(&net, 2);
  const uint8_t *genesis = net.genesis->hash, *orderer = deai_key_public(net.order);
  deai_entry_before before = {1, first->block.t, first->hash, orderer};
  ck_assert_int_eq(deai_entry_signed(second, genesis, deai_key_public(net.node), err, sizeof err),
                   DEAI_EDENIED);
  ck_assert_int_eq(deai_entry_signed(second, genesis, orderer, err, sizeof err), DEAI_OK);
  ck_assert_int_eq(deai_entry_link(first, &before, err, sizeof err), DEAI_EVERIFY);
  ck_assert_int_eq(deai_entry_link(second, &before, err, sizeof err), DEAI_OK);
  before.hash = genesis;
  ck_assert_int_eq(deai_entry_link(second, &before, err, sizeof err), DEAI_EVERIFY);
  before.hash = first->hash;
  before.time_ms = second->block.t;
  ck_assert_int_eq(deai_entry_link(second, &before, err, sizeof err), DEAI_EVERIFY);
  ck_assert_int_eq(deai_entry_data(second, err, sizeof err), DEAI_OK);
  ck_assert_int_eq(deai_entry_tx_sigs(second, genesis, err, sizeof err), DEAI_OK);
  second->txs[0]->pack.sig[3] ^= 1;
  ck_assert_int_eq(deai_entry_tx_sigs(second, genesis, err, sizeof err), DEAI_EVERIFY);
  second->txs[0]->id[0] ^= 1;
  ck_assert_int_eq(deai_entry_data(second, err, sizeof err), DEAI_EDENIED);
  deai_entry_free(first);
  deai_entry_free(second);
  deai_entry_free(NULL);
  fixture_end(&net);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("entry");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, entries_are_judged);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
