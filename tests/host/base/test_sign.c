#include "tests/testing.h"

#include "host/base/keys.h"
#include "host/base/sign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

static char err[256];

typedef struct tally {
  size_t passed;
  size_t failed;
} tally;

static void vector_row(json_t *object, void *user) {
  tally *count = user;
  size_t key_len, sig_len, len;
  uint8_t *key = testing_hex(json_string_value(json_object_get(object, "pk")), &key_len);
  uint8_t *sig = testing_hex(json_string_value(json_object_get(object, "sig")), &sig_len);
  uint8_t *message = testing_hex(json_string_value(json_object_get(object, "msg")), &len);
  bool accepted = key_len == DEAI_KEY_BYTES && sig_len == DEAI_SIG_BYTES &&
                  deai_sign_verify_plain(deai_bytes_of(message, len), key, sig) == DEAI_OK;
  bool good = key_len == DEAI_KEY_BYTES && deai_sign_key_check(key) == DEAI_OK;
  bool ok = accepted == (json_integer_value(json_object_get(object, "accept")) == 1) &&
            good == (json_integer_value(json_object_get(object, "pk_valid_point")) == 1);
  if (ok) {
    count->passed++;
  } else {
    count->failed++;
    printf("ed25519 %s failed\n", json_string_value(json_object_get(object, "id")));
  }
  free(key);
  free(sig);
  free(message);
}

START_TEST(vectors) {
  tally count = {0, 0};
  ck_assert_int_eq(deai_sign_start(err, sizeof err), DEAI_OK);
  size_t rows = testing_vector_rows("ed25519", "generated.jsonl", vector_row, &count);
  ck_assert_uint_gt(rows, 0);
  (void)testing_vector_rows("ed25519", "cctv.jsonl", vector_row, &count);
  (void)testing_vector_rows("ed25519", "wycheproof.jsonl", vector_row, &count);
  (void)testing_vector_rows("ed25519", "speccheck.jsonl", vector_row, &count);
  testing_tally("ed25519", count.passed, count.failed, 0);
  ck_assert_uint_eq(count.failed, 0);
}
END_TEST

START_TEST(a_signature_holds_for_its_type_network_and_bytes_only) {
  static const uint8_t seed[32] = {7};
  uint8_t genesis[DEAI_HASH_BYTES] = {1}, sig[DEAI_SIG_BYTES];
  static uint8_t large[70000];
  ck_assert_int_eq(deai_sign_start(err, sizeof err), DEAI_OK);
  deai_key *key = deai_key_of_seed(seed);
  const uint8_t *pub = deai_key_public(key);
  for (size_t len = 0; len <= sizeof large; len = len * 9 + 1) {
    deai_bytes bytes = deai_bytes_of(large, len);
    ck_assert_int_eq(deai_key_sign(key, DEAI_SIGN_TX, genesis, bytes, sig), DEAI_OK);
    ck_assert_int_eq(deai_sign_verify(DEAI_SIGN_TX, genesis, bytes, pub, sig), DEAI_OK);
    ck_assert_int_eq(deai_sign_verify(DEAI_SIGN_BLOCK, genesis, bytes, pub, sig), DEAI_EVERIFY);
    genesis[5] ^= 1;
    ck_assert_int_eq(deai_sign_verify(DEAI_SIGN_TX, genesis, bytes, pub, sig), DEAI_EVERIFY);
    genesis[5] ^= 1;
    ck_assert_int_eq(deai_sign_verify_plain(bytes, pub, sig), DEAI_EVERIFY);
    bytes.len++;
    if (bytes.len <= sizeof large)
      ck_assert_int_eq(deai_sign_verify(DEAI_SIGN_TX, genesis, bytes, pub, sig), DEAI_EVERIFY);
  }
  deai_bytes huge = deai_bytes_of(large, DEAI_SIGN_BYTES_MAX + 1);
  ck_assert_int_eq(deai_key_sign(key, DEAI_SIGN_TX, genesis, huge, sig), DEAI_ETOOLARGE);
  deai_key_free(key);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("sign");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, vectors);
  tcase_add_test(tests, a_signature_holds_for_its_type_network_and_bytes_only);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
