#include "plugins/storage/blocks/multibase.h"

#include "tests/plugins/storage/blocks/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

static int32_t decode(const char *text, blocks_buf *bytes) {
  char base;
  return blocks_multibase_decode(deai_str_of(text), bytes, &base);
}

START_TEST(refuses_bad_texts) {
  static const char *const bad[] = {
      "",      "f0",    "fgg",        "bA1", "ba",         "baaa", "bab",   "b1",
      "caaaa", "caa==", "cmy======x", "m=",  "mA",         "mAB",  "MAA",   "MAA=\n",
      "zO",    "z0",    "k-",         "02",  "0000000001", "u+/A", "m-_A",  "M====",
      "78",    "9a",    "h0",         "zl",  "Zl",         "bmy=", "umy==", "F0x"};
  blocks_buf bytes = {0};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    ck_assert_msg(decode(bad[i], &bytes) == DEAI_EINVAL, "'%s' was read", bad[i]);
  ck_assert_int_eq(decode("!abc", &bytes), DEAI_EUNSUPPORTED);
  ck_assert_int_eq(blocks_multibase_encode('!', (deai_bytes){0}, &bytes), DEAI_EUNSUPPORTED);
  blocks_buf_free(&bytes);
}
END_TEST

START_TEST(caps_the_quadratic_bases) {
  static char text[4 * BLOCKS_MULTIBASE_BYTES_MAX];
  static uint8_t zeros[BLOCKS_MULTIBASE_BYTES_MAX + 1];
  blocks_buf bytes = {0};
  memset(text, 'z', sizeof text - 1);
  ck_assert_int_eq(decode(text, &bytes), DEAI_ETOOLARGE);
  ck_assert_int_eq(blocks_multibase_encode('z', deai_bytes_of(zeros, sizeof zeros), &bytes),
                   DEAI_ETOOLARGE);
  ck_assert_int_eq(blocks_multibase_encode('b', deai_bytes_of(zeros, sizeof zeros), &bytes),
                   DEAI_OK);
  blocks_buf_free(&bytes);
}
END_TEST

static int32_t check_text(char base, const char *text, deai_bytes want, bool canonical) {
  blocks_buf bytes = {0};
  blocks_buf again = {0};
  char found = 0;
  int32_t status = blocks_multibase_decode(deai_str_of(text), &bytes, &found);
  if (status == DEAI_OK && (found != base || !deai_bytes_eq(blocks_buf_bytes(&bytes), want)))
    status = DEAI_EVERIFY;
  if (status == DEAI_OK && canonical) {
    status = blocks_multibase_encode(base, want, &again);
    if (status == DEAI_OK && (again.len != strlen(text) || memcmp(again.ptr, text, again.len) != 0))
      status = DEAI_EVERIFY;
  }
  blocks_buf_free(&bytes);
  blocks_buf_free(&again);
  return status;
}

static tally counts;

static void generated_row(json_t *row, void *user) {
  (void)user;
  size_t len;
  uint8_t *want = testing_hex(json_string_value(json_object_get(row, "hex")), &len);
  const char *name;
  json_t *text;
  json_object_foreach(json_object_get(row, "text"), name, text) {
    char base = blocks_multibase_of_name(deai_str_of(name));
    tally_row(&counts, text,
              base ? check_text(base, json_string_value(text), deai_bytes_of(want, len), true)
                   : DEAI_EUNSUPPORTED);
  }
  free(want);
}

typedef struct upstream_file {
  const char *name;
  bool canonical;
  blocks_buf want;
} upstream_file;

static void unescape(const char *text, blocks_buf *out) {
  out->len = 0;
  for (; *text != 0; text++) {
    uint8_t byte = (uint8_t)*text;
    if (strncmp(text, "\\x00", 4) == 0) {
      byte = 0;
      text += 3;
    }
    ck_assert_int_eq(blocks_buf_add(out, &byte, 1), DEAI_OK);
  }
}

static void upstream_row(char **cells, size_t count, void *user) {
  upstream_file *file = user;
  if (count == 0) {
    unescape(cells[1], &file->want);
    return;
  }
  char base = blocks_multibase_of_name(deai_str_of(cells[0]));
  json_t *row = json_string(cells[1]);
  tally_row(&counts, row,
            base ? check_text(base, cells[1], blocks_buf_bytes(&file->want), file->canonical)
                 : DEAI_EUNSUPPORTED);
  json_decref(row);
}

START_TEST(reads_and_writes_the_vectors) {
  upstream_file files[] = {{.name = "multibase_basic.csv", .canonical = true},
                           {.name = "multibase_leading_zero.csv", .canonical = true},
                           {.name = "multibase_two_leading_zeros.csv", .canonical = true},
                           {.name = "multibase_case_insensitivity.csv", .canonical = false}};
  size_t rows = testing_vector_rows("cid", "multibase_generated.jsonl", generated_row, NULL);
  ck_assert_uint_gt(rows, 0);
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
    (void)csv_rows("cid", files[i].name, upstream_row, &files[i]);
    blocks_buf_free(&files[i].want);
  }
  testing_tally("cid", counts.passed, counts.failed, counts.not_in_build);
  ck_assert_uint_eq(counts.failed, 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks/multibase");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, refuses_bad_texts);
  tcase_add_test(tests, caps_the_quadratic_bases);
  tcase_add_test(tests, reads_and_writes_the_vectors);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
