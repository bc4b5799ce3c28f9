#include "plugins/storage/blocks/cid.h"

#include "plugins/storage/blocks/multibase.h"
#include "tests/plugins/storage/blocks/vectors.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

static tally counts;

static int32_t parse_hex(const char *hex) {
  size_t len;
  uint8_t *bytes = testing_hex(hex, &len);
  blocks_cid cid;
  blocks_error err = {0};
  int32_t status = blocks_cid_of_bytes(deai_bytes_of(bytes, len), &cid, &err);
  if (status != DEAI_OK) ck_assert_uint_gt(strlen(err.text), 10);
  free(bytes);
  return status;
}

#define DIGEST "94907beb52d76c3d610d52dabb361424a0607ba86a49f287223628405b32468e"

START_TEST(refuses_bad_bytes) {
  static const char *const bad[] = {
      "",   /* nothing */
      "12", /* half a v0 */
      "1220"
      "00",               /* v0 cut short */
      "1220" DIGEST "00", /* v0 and a byte */
      "00551220" DIGEST,  /* version 0 with a v1 layout */
      "02551220" DIGEST,  /* reserved versions */
      "03551220" DIGEST,
      "0155",     /* no multihash */
      "01551220", /* no digest */
      "01551220"
      "0011",                 /* digest cut short */
      "01551220" DIGEST "00", /* a byte behind */
      "0155128020" DIGEST,    /* length not minimal or absurd */
      "0155a000"
      "20" DIGEST,         /* hash code not minimal */
      "8100551220" DIGEST, /* version not minimal */
      "0155"
      "1221" DIGEST "00", /* sha2-256 has no 33 bytes */
      "01551200",         /* empty digest */
      "01d500"
      "1220" DIGEST, /* codec not minimal */
      "01ffffffffffffffffff01"
      "1220" DIGEST, /* 10-byte varint */
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    ck_assert_msg(parse_hex(bad[i]) == DEAI_EINVAL, "row %zu was read", i);
}
END_TEST

START_TEST(refuses_bad_texts) {
  static const char *const bad[] = {"",
                                    "b",
                                    "Q",
                                    "Qm",
                                    "zQmYLaqAYmogi8YWrQF9dcLws8awP3UpQ18fWxgsCGqC1y7",
                                    "QmYLaqAYmogi8YWrQF9dcLws8awP3UpQ18fWxgsCGqC1y",
                                    "bafkqaaa ",
                                    "bafkqaab",
                                    "QmYLaqAYmogi8YWrQF9dcLws8awP3UpQ18fWxgsCGqC1y0",
                                    "bciqjjed35njno3b5megvfwv3gykcjidapoug6sp4q4rdmkcaloznjdq"};
  blocks_cid cid;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    ck_assert_msg(blocks_cid_of_text(deai_str_of(bad[i]), &cid, NULL) == DEAI_EINVAL,
                  "'%s' was read", bad[i]);
  ck_assert_int_eq(blocks_cid_of_text(deai_str_of("!afkqaaa"), &cid, NULL), DEAI_EUNSUPPORTED);
}
END_TEST

START_TEST(identity_holds_at_most_128_bytes) {
  uint8_t bytes[160] = {1, 0x55, 0};
  blocks_cid cid;
  bytes[3] = 0x80;
  bytes[4] = 0x01; /* 128 */
  ck_assert_int_eq(blocks_cid_of_bytes(deai_bytes_of(bytes, 5 + 128), &cid, NULL), DEAI_OK);
  ck_assert_uint_eq(cid.digest_len, 128);
  bytes[3] = 0x81; /* 129 */
  ck_assert_int_eq(blocks_cid_of_bytes(deai_bytes_of(bytes, 5 + 129), &cid, NULL), DEAI_EINVAL);
  ck_assert_int_eq(blocks_cid_of_text(deai_str_of("bafkqaaa"), &cid, NULL), DEAI_OK);
  ck_assert_uint_eq(cid.digest_len, 0);
  ck_assert_int_eq(blocks_cid_check(&cid, (deai_bytes){0}, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_cid_check(&cid, deai_bytes_of("x", 1), NULL), DEAI_EVERIFY);
}
END_TEST

START_TEST(unknown_hash_parses_and_does_not_verify) {
  blocks_cid cid;
  uint8_t digest[32] = {9};
  blocks_error err = {0};
  ck_assert_int_eq(blocks_cid_make(BLOCKS_CODEC_RAW, 0x1e, deai_bytes_of(digest, 32), &cid),
                   DEAI_OK);
  ck_assert_int_eq(blocks_cid_check(&cid, deai_bytes_of("x", 1), &err), DEAI_EUNSUPPORTED);
  ck_assert_ptr_nonnull(strstr(err.text, "not in this build"));
  ck_assert_int_eq(blocks_cid_make(UINT64_MAX, 0x12, deai_bytes_of(digest, 32), &cid), DEAI_EINVAL);
  ck_assert_int_eq(blocks_cid_make(BLOCKS_CODEC_RAW, 0x12, deai_bytes_of(digest, 0), &cid),
                   DEAI_EINVAL);
}
END_TEST

START_TEST(versions_convert) {
  blocks_cid v0, v1, back;
  char small[8];
  ck_assert_int_eq(
      blocks_cid_of_text(deai_str_of("QmYLaqAYmogi8YWrQF9dcLws8awP3UpQ18fWxgsCGqC1y7"), &v0, NULL),
      DEAI_OK);
  v1 = blocks_cid_v1(&v0);
  ck_assert_int_eq(v1.version, 1);
  ck_assert_int_eq(blocks_cid_equal(&v0, &v1), 0);
  ck_assert_int_eq(blocks_cid_v0(&v1, &back), DEAI_OK);
  ck_assert_int_eq(blocks_cid_equal(&v0, &back), 1);
  ck_assert_int_eq(blocks_cid_text(&v0, 'b', small, sizeof small), DEAI_EINVAL);
  ck_assert_int_eq(blocks_cid_text(&v0, 0, small, sizeof small), DEAI_ETOOLARGE);
  blocks_cid_of_block(BLOCKS_CODEC_RAW, deai_bytes_of("x", 1), &v1);
  ck_assert_int_eq(blocks_cid_v0(&v1, &back), DEAI_EINVAL);
  blocks_cid_string room;
  ck_assert_int_eq(blocks_cid_print(&v1, &room)[0], 'b');
}
END_TEST

static int32_t check_form(const blocks_cid *want, char base, const char *text) {
  blocks_cid cid;
  char out[BLOCKS_CID_TEXT_MAX];
  int32_t status = blocks_cid_of_text(deai_str_of(text), &cid, NULL);
  if (status != DEAI_OK) return status;
  if (!blocks_cid_equal(&cid, want)) return DEAI_EVERIFY;
  status = blocks_cid_text(want, base, out, sizeof out);
  if (status < 0) return status;
  return strcmp(out, text) == 0 ? DEAI_OK : DEAI_EVERIFY;
}

static int32_t check_parts(const blocks_cid *cid, json_t *row) {
  size_t len;
  uint8_t *digest = testing_hex(json_string_value(json_object_get(row, "digest")), &len);
  bool same = cid->version == json_integer_value(json_object_get(row, "version")) &&
              cid->codec == (uint64_t)json_integer_value(json_object_get(row, "codec")) &&
              cid->hash == (uint64_t)json_integer_value(json_object_get(row, "mh_code")) &&
              deai_bytes_eq(blocks_cid_digest(cid), deai_bytes_of(digest, len));
  free(digest);
  return same ? DEAI_OK : DEAI_EVERIFY;
}

static void text_row(json_t *row, void *user) {
  (void)user;
  size_t len;
  uint8_t *bytes = testing_hex(json_string_value(json_object_get(row, "bytes")), &len);
  blocks_cid cid;
  int32_t status = blocks_cid_of_bytes(deai_bytes_of(bytes, len), &cid, NULL);
  free(bytes);
  if (status == DEAI_OK) status = check_parts(&cid, row);
  if (status == DEAI_OK)
    status = check_form(&cid, 0, json_string_value(json_object_get(row, "string")));
  blocks_cid v1 = blocks_cid_v1(&cid);
  const char *name;
  json_t *text;
  json_object_foreach(json_object_get(row, "v1"), name, text) {
    char base = blocks_multibase_of_name(deai_str_of(name));
    if (status == DEAI_OK) status = check_form(&v1, base, json_string_value(text));
  }
  const char *v0_text = json_string_value(json_object_get(row, "v0"));
  blocks_cid v0;
  if (status == DEAI_OK && v0_text != NULL) {
    status = blocks_cid_v0(&v1, &v0);
    if (status == DEAI_OK) status = check_form(&v0, 0, v0_text);
  }
  tally_row(&counts, row, status);
}

START_TEST(reads_and_writes_the_vectors) {
  ck_assert_uint_gt(testing_vector_rows("cid", "cid_text.jsonl", text_row, NULL), 0);
  testing_tally("cid", counts.passed, counts.failed, counts.not_in_build);
  ck_assert_uint_eq(counts.failed, 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks/cid");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, refuses_bad_bytes);
  tcase_add_test(tests, refuses_bad_texts);
  tcase_add_test(tests, identity_holds_at_most_128_bytes);
  tcase_add_test(tests, unknown_hash_parses_and_does_not_verify);
  tcase_add_test(tests, versions_convert);
  tcase_add_test(tests, reads_and_writes_the_vectors);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
