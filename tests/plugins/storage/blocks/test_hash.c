#include "plugins/storage/blocks/hash.h"

#include "tests/plugins/storage/blocks/vectors.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

static tally counts;

START_TEST(refuses_unknown_and_short) {
  uint8_t out[BLOCKS_DIGEST_BYTES_MAX];
  uint8_t digest[DEAI_HASH_BYTES];
  deai_bytes data = deai_bytes_of("abc", 3);
  ck_assert_int_eq(blocks_hash(0x1e, data, out), DEAI_EUNSUPPORTED);
  ck_assert_uint_eq(blocks_hash_bytes(0x1e), 0);
  blocks_sha256(data, digest);
  ck_assert_int_eq(blocks_hash_check(BLOCKS_HASH_SHA2_256, deai_bytes_of(digest, 19), data),
                   DEAI_EUNSUPPORTED);
  ck_assert_int_eq(blocks_hash_check(BLOCKS_HASH_SHA2_256, deai_bytes_of(digest, 20), data),
                   DEAI_OK);
  digest[19] ^= 1;
  ck_assert_int_eq(blocks_hash_check(BLOCKS_HASH_SHA2_256, deai_bytes_of(digest, 20), data),
                   DEAI_EVERIFY);
  ck_assert_int_eq(blocks_hash_check(BLOCKS_HASH_IDENTITY, data, data), DEAI_OK);
  static const uint8_t large[BLOCKS_DIGEST_BYTES_MAX + 1];
  ck_assert_int_eq(blocks_hash(BLOCKS_HASH_IDENTITY, deai_bytes_of(large, sizeof large), out),
                   DEAI_ETOOLARGE);
}
END_TEST

START_TEST(crc_is_castagnoli) { /* RFC 3720, B.4 */
  uint8_t bytes[32] = {0};
  ck_assert_uint_eq(blocks_crc32c(0, bytes, sizeof bytes), 0x8a9136aau);
  memset(bytes, 0xff, sizeof bytes);
  ck_assert_uint_eq(blocks_crc32c(0, bytes, sizeof bytes), 0x62a8ab43u);
  for (uint8_t i = 0; i < 32; i++)
    bytes[i] = i;
  ck_assert_uint_eq(blocks_crc32c(0, bytes, sizeof bytes), 0x46dd794eu);
  uint32_t parts = blocks_crc32c(0, bytes, 5);
  ck_assert_uint_eq(blocks_crc32c(parts, bytes + 5, 27), 0x46dd794eu);
}
END_TEST

typedef struct hash_name {
  const char *name;
  uint64_t code;
} hash_name;

/* rows: algorithm, bits, input, multihash; the input is text (README of the vectors) */
static void upstream_row(char **cells, size_t count, void *user) {
  (void)user;
  static const hash_name names[] = {{"sha1", BLOCKS_HASH_SHA1},
                                    {"sha2-256", BLOCKS_HASH_SHA2_256},
                                    {"sha2-512", BLOCKS_HASH_SHA2_512},
                                    {"sha3", BLOCKS_HASH_SHA3_512}};
  uint8_t out[BLOCKS_DIGEST_BYTES_MAX];
  if (count < 4) return;
  uint64_t code = UINT64_MAX;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strcmp(names[i].name, cells[0]) == 0) code = names[i].code;
  size_t want_len;
  size_t bytes = strtoul(cells[1], NULL, 10) / 8;
  uint8_t *want = testing_hex(cells[3], &want_len);
  int32_t status = blocks_hash(code, deai_bytes_of(cells[2], strlen(cells[2])), out);
  bool equal = status > 0 && want_len == bytes + 2 && want[0] == code && want[1] == bytes &&
               memcmp(want + 2, out, bytes) == 0;
  if (status > 0) status = equal ? DEAI_OK : DEAI_EVERIFY;
  tally_row(&counts, NULL, status);
  free(want);
}

START_TEST(agrees_with_the_vectors) {
  (void)csv_rows("cid", "multihash_test_cases.csv", upstream_row, NULL);
  testing_tally("cid", counts.passed, counts.failed, counts.not_in_build);
  ck_assert_uint_eq(counts.failed, 0);
}
END_TEST

START_TEST(every_function_has_its_length) {
  static const uint64_t codes[] = {
      BLOCKS_HASH_SHA1,        BLOCKS_HASH_SHA2_256,   BLOCKS_HASH_SHA2_384, BLOCKS_HASH_SHA2_512,
      BLOCKS_HASH_SHA3_224,    BLOCKS_HASH_SHA3_256,   BLOCKS_HASH_SHA3_384, BLOCKS_HASH_SHA3_512,
      BLOCKS_HASH_BLAKE2B_512, BLOCKS_HASH_BLAKE2S_256};
  uint8_t out[BLOCKS_DIGEST_BYTES_MAX];
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
    ck_assert_int_eq(blocks_hash(codes[i], deai_bytes_of("x", 1), out),
                     (int)blocks_hash_bytes(codes[i]));
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks/hash");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, refuses_unknown_and_short);
  tcase_add_test(tests, crc_is_castagnoli);
  tcase_add_test(tests, every_function_has_its_length);
  tcase_add_test(tests, agrees_with_the_vectors);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
