#include "fixture.h"

#include "tests/testing.h"

#include "host/base/hash.h"
#include "host/ledger/entry.h"
#include "host/ledger/evidence.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

static char err[400];

typedef struct pair {
  fixture orderer;
  fixture follower;
} pair;

static void pair_start(pair *both) {
  fixture_start(&both->orderer, NULL);
  fixture_start(&both->follower, NULL);
  fixture_open(&both->orderer);
  ck_assert_msg(fixture_try_open(&both->follower, DEAI_ENGINE_FOLLOW, 0) == DEAI_OK, "%s",
                both->follower.err);
  for (uint32_t i = 0; i < 3; i++)
    ck_assert_int_eq(fixture_transfer(&both->orderer, both->orderer.wallet, both->orderer.owner, 1),
                     DEAI_OK);
}

static void pair_end(pair *both) {
  fixture_end(&both->orderer);
  fixture_end(&both->follower);
}

static int32_t pass(pair *both, uint64_t height) {
  uint8_t *bytes = NULL;
  uint64_t len;
  ck_assert_int_eq(deai_ledger_read(both->orderer.ledger, height, &bytes, &len), DEAI_OK);
  int32_t status =
      deai_ledger_apply_entry(both->follower.ledger, deai_bytes_of(bytes, len), err, sizeof err);
  free(bytes);
  return status;
}

START_TEST(entries_of_others_change_nothing) {
  pair both;
  uint8_t *bytes = NULL;
  uint64_t len;
  pair_start(&both);
  ck_assert_int_eq(deai_ledger_submit(both.follower.ledger, deai_bytes_of("x", 1), NULL, NULL),
                   DEAI_EUNSUPPORTED);
  ck_assert_int_eq(
      deai_ledger_apply_entry(both.orderer.ledger, deai_bytes_of("x", 1), err, sizeof err),
      DEAI_EUNSUPPORTED);
  ck_assert_int_eq(pass(&both, 2), DEAI_EAGAIN);
  ck_assert_int_eq(deai_ledger_read(both.orderer.ledger, 1, &bytes, &len), DEAI_OK);
  for (uint64_t i = 0; i < len; i++) { /* changed on the way: nobody is accused */
    bytes[i] ^= 0x01;
    int32_t status =
        deai_ledger_apply_entry(both.follower.ledger, deai_bytes_of(bytes, len), err, sizeof err);
    ck_assert_msg(status == DEAI_EINVAL || status == DEAI_EDENIED || status == DEAI_EAGAIN,
                  "byte %llu: %s %s", (unsigned long long)i, deai_status_name(status), err);
    bytes[i] ^= 0x01;
  }
  free(bytes);
  ck_assert_uint_eq(deai_evidence_height(both.follower.folder), 0);
  ck_assert_int_eq(pass(&both, 1), DEAI_OK);
  pair_end(&both);
}
END_TEST

START_TEST(a_follower_has_the_same_state) {
  pair both;
  deai_ledger_head ours, theirs;
  pair_start(&both);
  for (uint64_t height = 1; height <= 3; height++)
    ck_assert_msg(pass(&both, height) == DEAI_OK, "%s", err);
  ck_assert_int_eq(pass(&both, 2), DEAI_OK);
  deai_ledger_head_get(both.orderer.ledger, &ours);
  deai_ledger_head_get(both.follower.ledger, &theirs);
  ck_assert_mem_eq(ours.root, theirs.root, DEAI_HASH_BYTES);
  ck_assert_mem_eq(ours.hash, theirs.hash, DEAI_HASH_BYTES);
  ck_assert_uint_eq(theirs.height, 3);
  fixture_close(&both.follower);
  ck_assert_int_eq(fixture_try_open(&both.follower, DEAI_ENGINE_FOLLOW, 0), DEAI_OK);
  deai_ledger_head_get(both.follower.ledger, &theirs);
  ck_assert_uint_eq(theirs.height, 3);
  pair_end(&both);
}
END_TEST

/* An entry of height, signed by the orderer, with another root or other transactions. */
static deai_bytes forge(pair *both, uint64_t height, int32_t keep_txs, uint8_t **memory) {
  uint8_t *bytes = NULL;
  uint64_t len;
  deai_entry *entry = NULL;
  deai_bytes signed_block;
  ck_assert_int_eq(deai_ledger_read(both->orderer.ledger, height, &bytes, &len), DEAI_OK);
  ck_assert_int_eq(deai_entry_open(deai_bytes_of(bytes, len), &entry, err, sizeof err), DEAI_OK);
  free(bytes);
  entry->block.s[0] ^= 1;
  if (!keep_txs) deai_sha256(deai_bytes_of(NULL, 0), entry->block.d);
  ck_assert_int_eq(deai_entry_make(&entry->block, both->orderer.order, both->orderer.genesis->hash,
                                   (const deai_tx_parsed *const *)entry->txs,
                                   keep_txs ? entry->tx_count : 0, memory, &len, &signed_block),
                   DEAI_OK);
  deai_entry_free(entry);
  return deai_bytes_of(*memory, len);
}

static void check_stopped(pair *both, uint64_t height) {
  deai_ledger_head head;
  deai_ledger_head_get(both->follower.ledger, &head);
  ck_assert_uint_eq(head.stopped, 1);
  ck_assert_uint_eq(deai_evidence_height(both->follower.folder), height);
  fixture_close(&both->follower);
  ck_assert_int_eq(fixture_try_open(&both->follower, DEAI_ENGINE_FOLLOW, 0), DEAI_OK);
  ck_assert_int_eq(pass(both, 3), DEAI_EVERIFY);
  ck_assert_ptr_nonnull(strstr(err, "evidence"));
}

START_TEST(another_root_stops_and_is_kept) {
  pair both;
  uint8_t *memory = NULL;
  pair_start(&both);
  ck_assert_int_eq(pass(&both, 1), DEAI_OK);
  deai_bytes forged = forge(&both, 2, 1, &memory);
  ck_assert_int_eq(deai_ledger_apply_entry(both.follower.ledger, forged, err, sizeof err),
                   DEAI_EVERIFY);
  ck_assert_ptr_nonnull(strstr(err, "block 2"));
  free(memory);
  check_stopped(&both, 2);
  pair_end(&both);
}
END_TEST

START_TEST(two_blocks_of_one_height_stop_and_are_kept) {
  pair both;
  uint8_t *memory = NULL;
  pair_start(&both);
  for (uint64_t height = 1; height <= 2; height++)
    ck_assert_int_eq(pass(&both, height), DEAI_OK);
  deai_bytes forged = forge(&both, 2, 0, &memory);
  ck_assert_int_eq(deai_ledger_apply_entry(both.follower.ledger, forged, err, sizeof err),
                   DEAI_EVERIFY);
  ck_assert_ptr_nonnull(strstr(err, "height 2"));
  free(memory);
  check_stopped(&both, 2);
  pair_end(&both);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("follow");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, entries_of_others_change_nothing);
  tcase_add_test(tests, a_follower_has_the_same_state);
  tcase_add_test(tests, another_root_stops_and_is_kept);
  tcase_add_test(tests, two_blocks_of_one_height_stop_and_are_kept);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
