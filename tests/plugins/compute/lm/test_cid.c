#include "plugins/compute/lm/cid.h"

#include "tests/testing.h"

#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

/* A CID and its text as every IPFS tool prints it: the raw block "hello world" without a newline.
   */
static const char known[] = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";

static const atomic_bool go_on;

START_TEST(bytes_that_are_no_cid_are_refused) {
  static const uint8_t zeros[DEAI_CID_MAX + 1];
  static const struct {
    uint8_t bytes[8];
    uint64_t len;
  } rows[] = {{{0}, 0},
              {{1, 0x55, 0x12}, 3},          /* no length */
              {{1, 0x55, 0x12, 0}, 4},       /* no digest */
              {{1, 0x55, 0x12, 3, 1, 2}, 6}, /* too short a digest */
              {{1, 0x55, 0x12, 1, 1, 2}, 6}, /* too long a one */
              {{2, 0x55, 0x12, 2, 1, 2}, 6}, /* another version */
              {{1, 0x80, 0x00, 2, 1, 2}, 6}, /* a codec not in its shortest form */
              {{1, 0xff, 0xff, 0xff, 0xff}, 5}};
  lm_cid cid;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    ck_assert_int_eq(lm_cid_of(deai_bytes_of(rows[i].bytes, rows[i].len), &cid), DEAI_EINVAL);
    ck_assert_uint_eq(cid.len, 0);
  }
  ck_assert_int_eq(lm_cid_of(deai_bytes_of(zeros, sizeof zeros), &cid), DEAI_EINVAL);
}
END_TEST

START_TEST(texts_that_no_tool_prints_are_refused) {
  static const char *const rows[] = {
      "", "b", "zb2rhe5P4gXftAwvA4eXQ5HJwsER2owDyS9sKaQRRVQPn93bA", "bAFK", "bafkrei1", "baaaaaaaa",
      /* the last digit holds bits that are no byte */
      "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5f",
      "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5ea"};
  lm_cid cid;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    ck_assert_msg(lm_cid_of_text(deai_str_of(rows[i]), &cid) == DEAI_EINVAL, "%s", rows[i]);
  char longest[400];
  memset(longest, 'a', sizeof longest);
  longest[0] = 'b';
  ck_assert_int_eq(lm_cid_of_text((deai_str){longest, sizeof longest}, &cid), DEAI_EINVAL);
  ck_assert_int_eq(lm_cid_of_text((deai_str){longest, LM_CID_TEXT_MAX - 1}, &cid), DEAI_EINVAL);
}
END_TEST

START_TEST(text_and_bytes_are_one) {
  char text[LM_CID_TEXT_MAX];
  uint8_t hash[32];
  lm_cid cid;
  lm_cid again;
  ck_assert_int_eq(lm_cid_of_text(deai_str_of(known), &cid), DEAI_OK);
  ck_assert_str_eq(lm_cid_text(&cid, text), known);
  (void)SHA256((const uint8_t *)"hello world", 11, hash);
  ck_assert_uint_eq(cid.len, 36);
  ck_assert_int_eq(memcmp(cid.bytes + 4, hash, sizeof hash), 0);
  ck_assert_int_eq(lm_cid_of(lm_cid_bytes(&cid), &again), DEAI_OK);
  ck_assert(lm_cid_same(&cid, &again));
  again.bytes[20] ^= 1;
  ck_assert(!lm_cid_same(&cid, &again));
  uint8_t zero[34] = {0x12, 0x20, 7}; /* version 0 */
  ck_assert_int_eq(lm_cid_of(deai_bytes_of(zero, sizeof zero), &cid), DEAI_OK);
}
END_TEST

START_TEST(the_longest_cid_has_room) {
  uint8_t bytes[DEAI_CID_MAX] = {1, 0x55, 0x12, DEAI_CID_MAX - 4};
  char text[LM_CID_TEXT_MAX];
  lm_cid cid;
  lm_cid again;
  memset(bytes + 4, 0xff, sizeof bytes - 4);
  ck_assert_int_eq(lm_cid_of(deai_bytes_of(bytes, sizeof bytes), &cid), DEAI_OK);
  ck_assert_uint_eq(strlen(lm_cid_text(&cid, text)), 1 + (8 * DEAI_CID_MAX + 4) / 5);
  ck_assert_int_eq(lm_cid_of_text(deai_str_of(text), &again), DEAI_OK);
  ck_assert(lm_cid_same(&cid, &again));
}
END_TEST

START_TEST(a_file_is_hashed_whole) {
  char path[4200];
  char text[LM_CID_TEXT_MAX];
  atomic_bool stop;
  lm_cid cid;
  atomic_init(&stop, true);
  (void)snprintf(path, sizeof path, "%s/file", testing_folder());
  FILE *file = fopen(path, "w");
  ck_assert_ptr_nonnull(file);
  ck_assert_int_eq(fputs("hello world", file) < 0, 0);
  ck_assert_int_eq(fclose(file), 0);
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  ck_assert_int_ge(descriptor, 0);
  ck_assert_int_eq(lm_cid_of_file(descriptor, &stop, &cid), DEAI_ECANCELLED);
  ck_assert_int_eq(lm_cid_of_file(descriptor, &go_on, &cid), DEAI_OK);
  ck_assert_str_eq(lm_cid_text(&cid, text), known);
  (void)close(descriptor);
  ck_assert_int_eq(lm_cid_of_file(descriptor, &go_on, &cid), DEAI_EIO);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("cid");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, bytes_that_are_no_cid_are_refused);
  tcase_add_test(tests, texts_that_no_tool_prints_are_refused);
  tcase_add_test(tests, text_and_bytes_are_one);
  tcase_add_test(tests, the_longest_cid_has_room);
  tcase_add_test(tests, a_file_is_hashed_whole);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
