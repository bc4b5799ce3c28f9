#include "tests/testing.h"

#include "deai/cbor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define FOREIGN (DEAI_CBOR_FLOAT64 | DEAI_CBOR_DEEP)

static int32_t check_hex(const char *hex, uint32_t flags) {
  size_t len;
  uint8_t *bytes = testing_hex(hex, &len);
  const char *why = NULL;
  int32_t status = deai_cbor_check(deai_bytes_of(bytes, len), flags, &why);
  ck_assert_int_eq(status == DEAI_OK, why == NULL);
  free(bytes);
  return status;
}

START_TEST(refuses_what_is_not_strict) {
  static const char *const bad[] = {
      "",
      "1817",
      "1900ff",
      "1a0000ffff",
      "1b00000000ffffffff",
      "5f",
      "1f",
      "ff",
      "f7",
      "e0",
      "f813",
      "f820",
      "f93c00",
      "fa3fc00000",
      "fb3ff8000000000000",
      "a1016161",
      "a2616101616102",
      "a262616101616202",
      "a2616201616102",
      "c101",
      "d82a40",
      "d82a6100",
      "d82a4100",
      "d82a450001551220",
      "0000",
      "81",
      "8201",
      "a1616b",
      "62c080",
      "63eda080",
      "64f4908080",
      "61c3",
      "9bffffffffffffffff",
      "bb7fffffffffffffff",
      "5bffffffffffffffff",
      "7bfffffffffffffff0",
      "1c",
      "1d",
      "1e",
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    ck_assert_msg(check_hex(bad[i], 0) == DEAI_EINVAL, "accepted %s", bad[i]);
  ck_assert_int_eq(check_hex("fb7ff0000000000000", FOREIGN), DEAI_EINVAL);
  ck_assert_int_eq(check_hex("fbfff8000000000000", FOREIGN), DEAI_EINVAL);
}
END_TEST

START_TEST(depth_has_its_limit) {
  uint8_t nested[1100];
  memset(nested, 0x81, sizeof nested);
  for (uint32_t depth = 1; depth < 1090; depth++) {
    nested[depth] = 0x01;
    deai_bytes bytes = deai_bytes_of(nested, depth + 1);
    ck_assert_int_eq(deai_cbor_check(bytes, 0, NULL), depth <= 16 ? DEAI_OK : DEAI_EINVAL);
    ck_assert_int_eq(deai_cbor_check(bytes, DEAI_CBOR_DEEP, NULL),
                     depth <= 1024 ? DEAI_OK : DEAI_EINVAL);
    nested[depth] = 0x81;
  }
}
END_TEST

START_TEST(every_cut_is_refused) {
  size_t len;
  uint8_t *bytes = testing_hex("a2616182f50063626172a161781903e8", &len);
  ck_assert_int_eq(deai_cbor_check(deai_bytes_of(bytes, len), 0, NULL), DEAI_OK);
  for (size_t cut = 0; cut < len; cut++) {
    uint8_t *copy = malloc(cut + 1); /* exact room: a read past the cut is found by ASan */
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, bytes, cut);
    ck_assert_int_eq(deai_cbor_check(deai_bytes_of(copy, cut), 0, NULL), DEAI_EINVAL);
    free(copy);
  }
  free(bytes);
}
END_TEST

START_TEST(failed_reader_stays_failed) {
  static const uint8_t bytes[] = {0xf7, 0x01};
  deai_cbor_reader reader = deai_cbor_reader_of(deai_bytes_of(bytes, sizeof bytes));
  deai_cbor_item item;
  ck_assert_int_eq(deai_cbor_peek(&reader), DEAI_CBOR_SIMPLE);
  ck_assert_int_eq(deai_cbor_next(&reader, &item), DEAI_EINVAL);
  ck_assert_int_eq(deai_cbor_next(&reader, &item), DEAI_EINVAL);
  ck_assert_int_eq(deai_cbor_skip(&reader, NULL), DEAI_EINVAL);
  ck_assert_int_eq(deai_cbor_peek(&reader), -1);
  ck_assert_ptr_nonnull(reader.why);
}
END_TEST

START_TEST(full_writer_counts_on) {
  uint8_t room[4];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  deai_cbor_put_array(&writer, 2);
  deai_cbor_put_text(&writer, deai_str_of("abc"));
  ck_assert_int_eq(writer.status, DEAI_ETOOLARGE);
  deai_cbor_put_uint(&writer, 1000);
  ck_assert_uint_eq(writer.len, 1 + 4 + 3);
  deai_cbor_writer counter = deai_cbor_writer_of((deai_buf){NULL, 0});
  deai_cbor_put_uint(&counter, UINT64_MAX);
  ck_assert_uint_eq(counter.len, 9);
}
END_TEST

START_TEST(writer_makes_shortest_heads) {
  static const struct {
    uint64_t value;
    uint64_t len;
  } rows[] = {{0, 1},     {23, 1},    {24, 2},         {255, 2},        {256, 3},
              {65535, 3}, {65536, 5}, {UINT32_MAX, 5}, {1ull << 32, 9}, {UINT64_MAX, 9}};
  uint8_t room[16];
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
    deai_cbor_item item;
    deai_cbor_put_uint(&writer, rows[i].value);
    ck_assert_uint_eq(writer.len, rows[i].len);
    deai_cbor_reader reader = deai_cbor_reader_of(deai_bytes_of(room, writer.len));
    ck_assert_int_eq(deai_cbor_next(&reader, &item), DEAI_OK);
    ck_assert_uint_eq(item.number, rows[i].value);
  }
}
END_TEST

START_TEST(reads_what_was_written) {
  uint8_t room[128];
  static const uint8_t cid[] = {1, 0x55, 0x12, 2, 9, 9};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  deai_cbor_put_map(&writer, 3);
  deai_cbor_put_text(&writer, deai_str_of("c"));
  deai_cbor_put_cid(&writer, deai_bytes_of(cid, sizeof cid));
  deai_cbor_put_text(&writer, deai_str_of("n"));
  deai_cbor_put_int(&writer, -500);
  deai_cbor_put_text(&writer, deai_str_of("li"));
  deai_cbor_put_array(&writer, 3);
  deai_cbor_put_bool(&writer, 1);
  deai_cbor_put_null(&writer);
  deai_cbor_put_bytes(&writer, deai_bytes_of("xy", 2));
  ck_assert_int_eq(deai_cbor_check(deai_bytes_of(room, writer.len), 0, NULL), DEAI_OK);
  deai_cbor_reader reader = deai_cbor_reader_of(deai_bytes_of(room, writer.len));
  deai_cbor_item item;
  deai_bytes span;
  ck_assert_int_eq(deai_cbor_next(&reader, &item), DEAI_OK);
  ck_assert_int_eq(item.kind, DEAI_CBOR_MAP);
  ck_assert_uint_eq(item.number, 3);
  ck_assert_int_eq(deai_cbor_skip(&reader, NULL), DEAI_OK);
  ck_assert_int_eq(deai_cbor_skip(&reader, &span), DEAI_OK);
  ck_assert_uint_eq(span.len, 2 + 1 + 1 + sizeof cid);
  ck_assert_int_eq(deai_cbor_skip(&reader, NULL), DEAI_OK);
  ck_assert_int_eq(deai_cbor_next(&reader, &item), DEAI_OK);
  ck_assert_int_eq(item.kind, DEAI_CBOR_NEGINT);
  ck_assert_uint_eq(item.number, 499);
}
END_TEST

START_TEST(utf8_follows_rfc_3629) {
  ck_assert_int_eq(deai_utf8_check(deai_str_of("")), 1);
  ck_assert_int_eq(deai_utf8_check(deai_str_of("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")), 1);
  ck_assert_int_eq(deai_utf8_check(deai_str_of("\xf4\x8f\xbf\xbf")), 1);
  ck_assert_int_eq(deai_utf8_check(deai_str_of("\xf4\x90\x80\x80")), 0);
  ck_assert_int_eq(deai_utf8_check(deai_str_of("\xe0\x9f\xbf")), 0);
  ck_assert_int_eq(deai_utf8_check(deai_str_of("\xf0\x8f\xbf\xbf")), 0);
  ck_assert_int_eq(deai_utf8_check(deai_str_of("\x80")), 0);
  ck_assert_int_eq(deai_utf8_check(deai_str_of("\xed\xb0\x80")), 0);
}
END_TEST

/* ---- vectors ---- */

typedef struct tally {
  size_t passed;
  size_t failed;
} tally;

static void tally_row(tally *count, bool ok, const char *id) {
  if (ok) {
    count->passed++;
  } else {
    count->failed++;
    printf("dagcbor %s failed\n", id);
  }
}

static void put_decimal(deai_cbor_writer *writer, const char *text) {
  errno = 0;
  if (text[0] != '-') {
    deai_cbor_put_uint(writer, strtoull(text, NULL, 10));
  } else if (strcmp(text, "-18446744073709551616") == 0) {
    deai_cbor_put_raw(writer, deai_bytes_of("\x3b\xff\xff\xff\xff\xff\xff\xff\xff", 9));
  } else { /* head of kind 1 with number magnitude - 1 */
    uint64_t at = writer->len;
    deai_cbor_put_uint(writer, strtoull(text + 1, NULL, 10) - 1);
    writer->ptr[at] |= 0x20;
  }
  ck_assert_int_eq(errno, 0);
}

static uint8_t base32_digit(char c) {
  return (uint8_t)(c >= 'a' ? c - 'a' : c - '2' + 26);
}

/* A CID of version 0: 34 bytes in base58 (Bitcoin's alphabet). */
static void put_cid_base58(deai_cbor_writer *writer, const char *text) {
  static const char digits[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
  uint8_t cid[34] = {0};
  for (const char *at = text; *at != 0; at++) {
    const char *digit = strchr(digits, *at);
    ck_assert_ptr_nonnull(digit);
    uint32_t carry = (uint32_t)(digit - digits);
    for (size_t i = sizeof cid; i-- > 0;) {
      carry += 58u * cid[i];
      cid[i] = (uint8_t)carry;
      carry >>= 8;
    }
  }
  deai_cbor_put_cid(writer, deai_bytes_of(cid, sizeof cid));
}

static void put_cid_text(deai_cbor_writer *writer, const char *text) {
  uint8_t cid[256];
  size_t len = 0;
  uint32_t bits = 0, held = 0;
  if (text[0] == 'Q') {
    put_cid_base58(writer, text);
    return;
  }
  ck_assert_int_eq(text[0], 'b');
  for (const char *at = text + 1; *at != 0; at++) {
    held = (held << 5 | base32_digit(*at)) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      cid[len++] = (uint8_t)(held >> bits);
    }
  }
  deai_cbor_put_cid(writer, deai_bytes_of(cid, len));
}

static void put_value(deai_cbor_writer *writer, json_t *value);

static void put_map(deai_cbor_writer *writer, json_t *pairs) {
  deai_cbor_put_map(writer, json_array_size(pairs));
  for (size_t i = 0; i < json_array_size(pairs); i++) {
    put_value(writer, json_array_get(json_array_get(pairs, i), 0));
    put_value(writer, json_array_get(json_array_get(pairs, i), 1));
  }
}

static void put_hex(deai_cbor_writer *writer, const char *hex, bool is_float) {
  size_t len;
  uint8_t *bytes = testing_hex(hex, &len);
  if (is_float) {
    deai_cbor_put_raw(writer, deai_bytes_of("\xfb", 1));
    deai_cbor_put_raw(writer, deai_bytes_of(bytes, len));
  } else {
    deai_cbor_put_bytes(writer, deai_bytes_of(bytes, len));
  }
  free(bytes);
}

static void put_object(deai_cbor_writer *writer, json_t *value) {
  if (json_object_get(value, "int"))
    put_decimal(writer, json_string_value(json_object_get(value, "int")));
  else if (json_object_get(value, "f64"))
    put_hex(writer, json_string_value(json_object_get(value, "f64")), true);
  else if (json_object_get(value, "bytes"))
    put_hex(writer, json_string_value(json_object_get(value, "bytes")), false);
  else if (json_object_get(value, "cid"))
    put_cid_text(writer, json_string_value(json_object_get(value, "cid")));
  else
    put_map(writer, json_object_get(value, "map"));
}

/* The neutral form of the vectors, written with our writer (the depth is that of the test data). */
static void put_value(deai_cbor_writer *writer, json_t *value) {
  if (json_is_null(value)) deai_cbor_put_null(writer);
  if (json_is_boolean(value)) deai_cbor_put_bool(writer, json_is_true(value));
  if (json_is_string(value))
    deai_cbor_put_text(writer, (deai_str){json_string_value(value), json_string_length(value)});
  if (json_is_object(value)) put_object(writer, value);
  if (json_is_array(value)) {
    deai_cbor_put_array(writer, json_array_size(value));
    for (size_t i = 0; i < json_array_size(value); i++)
      put_value(writer, json_array_get(value, i));
  }
}

static void generated_row(json_t *object, void *user) {
  size_t len;
  uint8_t *bytes = testing_hex(json_string_value(json_object_get(object, "hex")), &len);
  uint8_t *room = malloc(len + 4096);
  ck_assert_ptr_nonnull(room);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, len + 4096});
  put_value(&writer, json_object_get(object, "value"));
  bool ok = deai_cbor_check(deai_bytes_of(bytes, len), FOREIGN, NULL) == DEAI_OK;
  ok = ok && writer.status == DEAI_OK && writer.len == len && memcmp(room, bytes, len) == 0;
  tally_row(user, ok, json_string_value(json_object_get(object, "id")));
  free(room);
  free(bytes);
}

static void negative_row(json_t *object, void *user) {
  const char *hex = json_string_value(json_object_get(object, "hex"));
  bool refused = check_hex(hex, FOREIGN) == DEAI_EINVAL && check_hex(hex, 0) == DEAI_EINVAL;
  tally_row(user, refused, json_string_value(json_object_get(object, "id")));
}

static void fixture_row(json_t *object, void *user) {
  json_t *form = json_object_get(json_object_get(object, "forms"), "dag-cbor");
  if (form == NULL) return;
  const char *hex = json_string_value(json_object_get(form, "hex"));
  tally_row(user, check_hex(hex, FOREIGN) == DEAI_OK,
            json_string_value(json_object_get(object, "name")));
}

static void upstream_row(json_t *array, void *user) {
  size_t i;
  json_t *object;
  json_array_foreach(array, i, object) {
    const char *hex = json_string_value(json_object_get(object, "hex"));
    tally_row(user, check_hex(hex, FOREIGN) == DEAI_EINVAL, "upstream negative");
  }
}

START_TEST(vectors) {
  tally count = {0, 0};
  size_t rows = testing_vector_rows("dagcbor", "generated.jsonl", generated_row, &count);
  rows += testing_vector_rows("dagcbor", "negative_generated.jsonl", negative_row, &count);
  ck_assert_uint_gt(rows, 0);
  (void)testing_vector_rows("dagcbor", "codec_fixtures.jsonl", fixture_row, &count);
  (void)testing_vector_rows("dagcbor", "negative_dag-cbor_decode_duplicate-keys.json", upstream_row,
                            &count);
  testing_tally("dagcbor", count.passed, count.failed, 0);
  ck_assert_uint_eq(count.failed, 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("cbor");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, refuses_what_is_not_strict);
  tcase_add_test(tests, depth_has_its_limit);
  tcase_add_test(tests, every_cut_is_refused);
  tcase_add_test(tests, failed_reader_stays_failed);
  tcase_add_test(tests, full_writer_counts_on);
  tcase_add_test(tests, writer_makes_shortest_heads);
  tcase_add_test(tests, reads_what_was_written);
  tcase_add_test(tests, utf8_follows_rfc_3629);
  tcase_add_test(tests, vectors);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
