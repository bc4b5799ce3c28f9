/* Node records: signed by the node they are of, for one network. */
#include "tests/testing.h"

#include "host/net/record.h"

#include <string.h>

#include "host/base/banned.h"

static const uint8_t genesis[DEAI_HASH_BYTES] = {5};
static deai_key *key;
static uint8_t bytes[DEAI_RECORD_MAX];
static uint64_t len;
static _Alignas(16) uint8_t room[8192];

static deai_node_record record_of(deai_str *addresses, deai_offer *offers) {
  deai_node_record record = {.h = 3, .seq = 9, .ttl = 60000};
  memcpy(record.k, deai_key_public(key), DEAI_KEY_BYTES);
  addresses[0] = deai_str_of("127.0.0.1:1");
  offers[0] = (deai_offer){.s = deai_str_of("deai.lm/1-draft")};
  record.addrs = (deai_list){addresses, 1};
  record.offers = (deai_list){offers, 1};
  return record;
}

static void setup(void) {
  static deai_str addresses[1];
  static deai_offer offers[1];
  key = deai_key_make();
  ck_assert_ptr_nonnull(key);
  deai_node_record record = record_of(addresses, offers);
  ck_assert_int_eq(deai_record_make(&record, key, genesis, (deai_buf){bytes, sizeof bytes}, &len),
                   DEAI_OK);
}

static void teardown(void) {
  deai_key_free(key);
}

static int32_t read_as(deai_bytes from, const uint8_t *who, const uint8_t *network) {
  deai_node_record record;
  deai_arena arena = {room, sizeof room, 0};
  return deai_record_read(from, who, network, &record, &arena);
}

START_TEST(what_is_no_record_is_refused) {
  static uint8_t large[DEAI_RECORD_MAX + 1];
  ck_assert_int_eq(read_as(deai_bytes_of("", 0), NULL, genesis), DEAI_EINVAL);
  ck_assert_int_eq(read_as(deai_bytes_of("\x80", 1), NULL, genesis), DEAI_EINVAL);
  ck_assert_int_eq(read_as(deai_bytes_of(large, sizeof large), NULL, genesis), DEAI_ETOOLARGE);
  ck_assert_int_eq(read_as(deai_bytes_of(bytes, len - 1), NULL, genesis), DEAI_EINVAL);
}
END_TEST

START_TEST(a_record_of_somebody_else_is_refused) {
  uint8_t other[DEAI_KEY_BYTES] = {1};
  uint8_t network[DEAI_HASH_BYTES] = {6};
  ck_assert_int_eq(read_as(deai_bytes_of(bytes, len), other, genesis), DEAI_EVERIFY);
  ck_assert_int_eq(read_as(deai_bytes_of(bytes, len), NULL, network), DEAI_EVERIFY);
  for (uint64_t i = len - DEAI_SIG_BYTES; i < len; i += 7) {
    bytes[i] ^= 1;
    ck_assert_int_eq(read_as(deai_bytes_of(bytes, len), NULL, genesis), DEAI_EVERIFY);
    bytes[i] ^= 1;
  }
}
END_TEST

/* One node signs a record that names another. */
START_TEST(a_record_about_somebody_else_is_refused) {
  deai_str addresses[1];
  deai_offer offers[1];
  deai_node_record record = record_of(addresses, offers);
  record.k[0] ^= 1;
  ck_assert_int_eq(deai_record_make(&record, key, genesis, (deai_buf){bytes, sizeof bytes}, &len),
                   DEAI_OK);
  ck_assert_int_eq(read_as(deai_bytes_of(bytes, len), deai_key_public(key), genesis), DEAI_EVERIFY);
}
END_TEST

START_TEST(limits_hold_when_written) {
  deai_str addresses[1];
  deai_offer offers[1];
  deai_node_record record = record_of(addresses, offers);
  ck_assert_int_eq(deai_record_make(&record, key, genesis, (deai_buf){bytes, 40}, &len),
                   DEAI_ETOOLARGE);
  record.ttl = 0;
  ck_assert_int_eq(deai_record_make(&record, key, genesis, (deai_buf){bytes, sizeof bytes}, &len),
                   DEAI_EINVAL);
}
END_TEST

START_TEST(a_record_comes_back) {
  deai_node_record record;
  deai_arena arena = {room, sizeof room, 0};
  ck_assert_int_eq(
      deai_record_read(deai_bytes_of(bytes, len), deai_key_public(key), genesis, &record, &arena),
      DEAI_OK);
  ck_assert_uint_eq(record.seq, 9);
  ck_assert_uint_eq(record.addrs.count, 1);
  ck_assert(deai_str_eq(*(const deai_str *)record.addrs.items, deai_str_of("127.0.0.1:1")));
  ck_assert_uint_eq(record.offers.count, 1);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("record");
  TCase *tests = tcase_create("all");
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, what_is_no_record_is_refused);
  tcase_add_test(tests, a_record_of_somebody_else_is_refused);
  tcase_add_test(tests, a_record_about_somebody_else_is_refused);
  tcase_add_test(tests, limits_hold_when_written);
  tcase_add_test(tests, a_record_comes_back);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
