#include "fixture.h"

#include "tests/testing.h"

#include "host/ledger/proof.h"

#include <stdlib.h>

#include "host/base/banned.h"

/* One proof of a record that is there and one of a record that is not. */
static void flips(fixture *net, uint32_t leaves, const uint8_t key[DEAI_ACCT_BYTES]) {
  deai_ledger_answer answer;
  deai_block block;
  ck_assert_int_eq(deai_ledger_lookup(net->ledger, deai_str_of("account/1"),
                                      deai_str_of("accounts"), deai_bytes_of(key, DEAI_ACCT_BYTES),
                                      1, &answer),
                   DEAI_OK);
  deai_proof_claim claim = {deai_str_of("account/1"),
                            deai_str_of("accounts"),
                            4,
                            leaves,
                            deai_bytes_of(key, DEAI_ACCT_BYTES),
                            answer.found ? answer.value : deai_bytes_of(NULL, 0)};
  const uint8_t *orderer = deai_key_public(net->order);
  uint8_t *copy = malloc((size_t)(answer.proof.len + answer.block.len));
  memcpy(copy, answer.proof.ptr, (size_t)answer.proof.len);
  memcpy(copy + answer.proof.len, answer.block.ptr, (size_t)answer.block.len);
  deai_bytes proof = deai_bytes_of(copy, answer.proof.len);
  deai_bytes signed_block = deai_bytes_of(copy + answer.proof.len, answer.block.len);
  for (uint64_t i = 0; i < 8 * (answer.proof.len + answer.block.len); i += 3) {
    copy[i / 8] ^= (uint8_t)(1u << (i % 8));
    ck_assert_msg(deai_proof_verify(net->genesis->hash, orderer, signed_block, &claim, proof,
                                    &block, net->err, sizeof net->err) == DEAI_EVERIFY,
                  "bit %llu", (unsigned long long)i);
    copy[i / 8] ^= (uint8_t)(1u << (i % 8));
  }
  ck_assert_int_eq(deai_proof_verify(net->genesis->hash, orderer, signed_block, &claim, proof,
                                     &block, net->err, sizeof net->err),
                   DEAI_OK);
  claim.table = deai_str_of("keys");
  ck_assert_int_eq(deai_proof_verify(net->genesis->hash, orderer, signed_block, &claim, proof,
                                     &block, net->err, sizeof net->err),
                   DEAI_EVERIFY);
  claim.table = deai_str_of("accounts");
  claim.bits = 16;
  ck_assert_int_eq(deai_proof_verify(net->genesis->hash, orderer, signed_block, &claim, proof,
                                     &block, net->err, sizeof net->err),
                   DEAI_EVERIFY);
  claim.bits = 4;
  ck_assert_int_eq(deai_proof_verify(net->genesis->hash, deai_key_public(net->node), signed_block,
                                     &claim, proof, &block, net->err, sizeof net->err),
                   DEAI_EVERIFY);
  free(copy);
  deai_ledger_answer_free(&answer);
}

START_TEST(every_changed_bit_fails) {
  fixture net;
  uint8_t account[DEAI_ACCT_BYTES], nobody[DEAI_ACCT_BYTES];
  uint32_t leaves = 0;
  fixture_start(&net, NULL);
  fixture_open(&net);
  for (uint8_t seed = 20; seed < 60; seed++)
    fixture_account(&net, seed, 1, account);
  const deai_table_ref *tables = net.genesis->genesis.tables.items;
  for (uint64_t i = 0; i < net.genesis->genesis.tables.count; i++)
    leaves += 1u << tables[i].bits;
  flips(&net, leaves, account);
  memset(nobody, 0x77, sizeof nobody);
  flips(&net, leaves, nobody);
  fixture_end(&net);
}
END_TEST

START_TEST(names_and_buckets) {
  char name[DEAI_BUCKET_NAME_MAX];
  uint32_t len = deai_proof_bucket_name(deai_str_of("account/1"), deai_str_of("keys"), 0x1f, name);
  ck_assert_uint_eq(len, strlen("account.1.keys.001f"));
  ck_assert_mem_eq(name, "account.1.keys.001f", len);
  ck_assert_uint_eq(deai_proof_bucket(deai_bytes_of("abc", 3), 0), 0);
  ck_assert_uint_eq(deai_proof_bucket(deai_bytes_of("abc", 3), 4), 0xb); /* SHA-256 ba78... */
  ck_assert_uint_eq(deai_proof_bucket(deai_bytes_of("abc", 3), 16), 0xba78);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("proof");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, every_changed_bit_fails);
  tcase_add_test(tests, names_and_buckets);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
