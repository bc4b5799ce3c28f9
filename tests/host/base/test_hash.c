#include "tests/testing.h"

#include "host/base/hash.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

static void expect_hash(const uint8_t hash[DEAI_HASH_BYTES], const char *hex) {
  size_t len;
  uint8_t *bytes = testing_hex(hex, &len);
  ck_assert_uint_eq(len, DEAI_HASH_BYTES);
  ck_assert_mem_eq(hash, bytes, len);
  free(bytes);
}

/* FIPS 180-4 examples. */
static const char *const hash_of_nothing =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
static const char *const hash_of_abc =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

START_TEST(sha256_of_known_bytes) {
  uint8_t hash[DEAI_HASH_BYTES];
  deai_bytes parts[3] = {deai_bytes_of("a", 1), deai_bytes_of(NULL, 0), deai_bytes_of("bc", 2)};
  deai_sha256(deai_bytes_of(NULL, 0), hash);
  expect_hash(hash, hash_of_nothing);
  deai_sha256(deai_bytes_of("abc", 3), hash);
  expect_hash(hash, hash_of_abc);
  deai_sha256_parts(parts, 3, hash);
  expect_hash(hash, hash_of_abc);
}
END_TEST

START_TEST(sha256_in_pieces) {
  uint8_t hash[DEAI_HASH_BYTES];
  deai_hasher *hasher = deai_hasher_new();
  ck_assert_ptr_nonnull(hasher);
  deai_hasher_add(hasher, deai_bytes_of("a", 1));
  deai_hasher_add(hasher, deai_bytes_of("bc", 2));
  deai_hasher_end(hasher, hash);
  expect_hash(hash, hash_of_abc);
  deai_hasher_end(hasher, hash);
  expect_hash(hash, hash_of_nothing);
  deai_hasher_free(hasher);
  deai_hasher_free(NULL);
}
END_TEST

START_TEST(crc32c_of_known_bytes) {
  uint8_t zeros[32] = {0}, ones[32], up[32];
  memset(ones, 0xff, sizeof ones);
  for (uint32_t i = 0; i < sizeof up; i++)
    up[i] = (uint8_t)i;
  /* RFC 3720 appendix B.4 */
  ck_assert_uint_eq(deai_crc32c(0, deai_bytes_of(zeros, 32)), 0x8a9136aau);
  ck_assert_uint_eq(deai_crc32c(0, deai_bytes_of(ones, 32)), 0x62a8ab43u);
  ck_assert_uint_eq(deai_crc32c(0, deai_bytes_of(up, 32)), 0x46dd794eu);
  ck_assert_uint_eq(deai_crc32c(0, deai_bytes_of("123456789", 9)), 0xe3069283u);
  for (uint64_t cut = 0; cut <= sizeof up; cut++) {
    uint32_t crc = deai_crc32c(0, deai_bytes_of(up, cut));
    ck_assert_uint_eq(deai_crc32c(crc, deai_bytes_of(up + cut, sizeof up - cut)), 0x46dd794eu);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("hash");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, sha256_of_known_bytes);
  tcase_add_test(tests, sha256_in_pieces);
  tcase_add_test(tests, crc32c_of_known_bytes);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
