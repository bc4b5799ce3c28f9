#include "plugins/storage/blocks/varint.h"

#include "tests/testing.h"

#include "host/base/banned.h"

#define READ(kind, ...)                                                                            \
  blocks_varint_##kind(                                                                            \
      deai_bytes_of((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})),       \
      &value)

START_TEST(refuses_bad_forms) {
  uint64_t value = 7;
  ck_assert_int_eq(blocks_varint_read((deai_bytes){0}, &value), DEAI_EINVAL);
  ck_assert_int_eq(READ(read, 0x80), DEAI_EINVAL);
  ck_assert_int_eq(READ(read, 0x81, 0x00), DEAI_EINVAL);
  ck_assert_int_eq(READ(read, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01),
                   DEAI_EINVAL);
  ck_assert_int_eq(READ(read_pb, 0x80), DEAI_EINVAL);
  ck_assert_int_eq(READ(read_pb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02),
                   DEAI_EINVAL);
  ck_assert_uint_eq(value, 7);
}
END_TEST

START_TEST(reads_what_protobuf_allows) {
  uint64_t value = 7;
  ck_assert_int_eq(READ(read_pb, 0x81, 0x00), 2);
  ck_assert_uint_eq(value, 1);
  ck_assert_int_eq(READ(read_pb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01), 10);
  ck_assert_uint_eq(value, UINT64_MAX);
}
END_TEST

START_TEST(round_trips_at_every_length) {
  for (int bits = 0; bits < 64; bits++) {
    for (int delta = -1; delta <= 1; delta++) {
      uint8_t out[BLOCKS_VARINT_BYTES_MAX];
      uint64_t want = (UINT64_C(1) << bits) + (uint64_t)delta;
      uint64_t value = 0;
      size_t len = blocks_varint_write(want, out);
      ck_assert_uint_eq(len, blocks_varint_len(want));
      ck_assert_int_eq(blocks_varint_read_pb(deai_bytes_of(out, len), &value), (int)len);
      ck_assert_uint_eq(value, want);
      int32_t strict = blocks_varint_read(deai_bytes_of(out, len), &value);
      ck_assert_int_eq(strict, want <= INT64_MAX ? (int)len : DEAI_EINVAL);
    }
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks/varint");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, refuses_bad_forms);
  tcase_add_test(tests, reads_what_protobuf_allows);
  tcase_add_test(tests, round_trips_at_every_length);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
