#include "tests/testing.h"

#include "deai/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

typedef struct point {
  uint64_t x;
  int64_t y;
} point;

static const deai_field point_fields[] = {
    DEAI_F_UINT(point, x, NULL, 1, 100),
    DEAI_F_INT(point, y, NULL),
};
static const deai_table point_table = DEAI_TABLE_TUPLE("point", point, point_fields);

typedef struct row {
  deai_list points;
} row;
static const deai_field row_fields[] = {DEAI_F_LIST_OF(row, points, NULL, 0, 4, &point_table)};
static const deai_table row_table = DEAI_TABLE_BARE("row", row, row_fields);

static const char *const colours[] = {"red", "green", NULL};

typedef struct thing {
  uint64_t has;
  uint64_t a;
  uint32_t colour;
  uint8_t flag;
  uint8_t key[4];
  deai_str name;
  deai_bytes cid;
  deai_bytes any;
  deai_list ids;
  deai_list rows;
  deai_list keys;
  deai_list heads;
  deai_list params;
  point at;
} thing;

#define THING_FIELDS                                                                               \
  DEAI_F_UINT(thing, a, "a", 0, UINT64_MAX), DEAI_F_ENUM_OPT(thing, colour, "c", colours),         \
      DEAI_F_BOOL_OPT(thing, flag, "f"), DEAI_F_FIXED(thing, key, "k", 4),                         \
      DEAI_F_TEXT_OPT(thing, name, "n", 1, 8), DEAI_F_STRUCT_OPT(thing, at, "at", &point_table),   \
      DEAI_F_ANY_OPT(thing, any, "any", 32), DEAI_F_CID_OPT(thing, cid, "cid"),                    \
      DEAI_F_LIST_OPT(thing, ids, "ids", DEAI_FIELD_UINT, 1, 3, 9),                                \
      DEAI_F_LIST_OPT(thing, keys, "keys", DEAI_FIELD_FIXED, 0, 2, 2),                             \
      DEAI_F_LIST_OF_OPT(thing, rows, "rows", 0, 3, &row_table),                                   \
      DEAI_F_(thing, heads, "heads", DEAI_FIELD_TEXT_MAP, 0, 1, 0, 4, 8, NULL, NULL),              \
      DEAI_F_(thing, params, "params", DEAI_FIELD_UINT_MAP, 0, 1, 0, 4, 1000, NULL, NULL)

static const deai_field thing_fields[] = {THING_FIELDS};
static const deai_table thing_table = DEAI_TABLE_SIGNED("thing", thing, thing_fields);
static const deai_table loose_table = DEAI_TABLE_HEAD("thing", thing, thing_fields);

static _Alignas(16) uint8_t arena_room[4096];
static char err[160];

static int32_t decode_hex(const deai_table *table, const char *hex, void *out, uint64_t cap) {
  size_t len;
  static uint8_t keep[1024]; /* what was decoded points into it */
  uint8_t *bytes = testing_hex(hex, &len);
  deai_arena arena = {arena_room, cap, 0};
  ck_assert_uint_le(len, sizeof keep);
  memcpy(keep, bytes, len);
  free(bytes);
  return deai_decode(table, deai_bytes_of(keep, len), out, &arena, err, sizeof err);
}

START_TEST(refusals_name_the_key) {
  static const struct {
    const char *hex;
    const char *text;
  } rows[] = {
      {"a0", "thing.a: expected this key, found none"},
      {"a16161f5", "thing.a: expected an unsigned integer, found a bool"},
      {"a1616101", "thing.k: expected this key, found none"},
      {"a2616101616b43000000", "thing.k: expected a length of 4 to 4, found 3"},
      {"a3616101616b4400000000617a01", "thing: expected only known keys, found z"},
      {"a361610161636362656c616b4400000000",
       "thing.c: expected red or another known word, found bel"},
      {"a3616101616600616b4400000000", "thing.f: expected true or false, found an integer"},
      {"a3616101616b4400000000616e60", "thing.n: expected a length of 1 to 8, found 0"},
      {"80", "thing: expected a map, found a list"},
      {"a16161", "thing: expected strict DAG-CBOR, found: expected an item, found the end"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    thing value;
    int32_t status = decode_hex(&thing_table, rows[i].hex, &value, sizeof arena_room);
    ck_assert_int_eq(status, DEAI_EINVAL);
    ck_assert_str_eq(err, rows[i].text);
  }
}
END_TEST

/* head `{a: 1, k: h'00000000', KEY: VALUE}` with the pair put in as hex behind k. */
static int32_t decode_with(const char *pair, thing *value, uint64_t cap) {
  char hex[512];
  (void)snprintf(hex, sizeof hex, "a3616101616b4400000000%s", pair);
  return decode_hex(&thing_table, hex, value, cap);
}

START_TEST(limits_are_checked) {
  thing value;
  ck_assert_int_eq(decode_with("626174821901f400", &value, 0), DEAI_EINVAL); /* x 500 */
  ck_assert_str_eq(err, "point.0: expected a number of 1 to 100, found 500");
  ck_assert_int_eq(decode_with("6261748100", &value, 0), DEAI_EINVAL);
  ck_assert_int_eq(decode_with("6369647380", &value, 64), DEAI_EINVAL); /* ids: at least 1 */
  ck_assert_int_eq(decode_with("636964738401020304", &value, 64), DEAI_EINVAL);
  ck_assert_int_eq(decode_with("63696473810a", &value, 64), DEAI_EINVAL);
  ck_assert_str_eq(err, "thing.ids: expected a number of 0 to 9, found 10");
  ck_assert_int_eq(decode_with("6369647383010203", &value, 16), DEAI_ENOMEM);
  ck_assert_int_eq(decode_with("6369647383010203", &value, 24), DEAI_OK);
  ck_assert_int_eq(decode_with("646b657973814100", &value, 64), DEAI_EINVAL);
  ck_assert_int_eq(decode_with("656865616473a1616101", &value, 64), DEAI_EINVAL);
  ck_assert_int_eq(decode_with("656865616473a1616169313233343536373839", &value, 64), DEAI_EINVAL);
  ck_assert_int_eq(decode_with("656865616473a161616162", &value, 64), DEAI_OK);
  ck_assert_int_eq(decode_with("66706172616d73a161611903e9", &value, 64), DEAI_EINVAL);
  ck_assert_int_eq(decode_with("66706172616d73a161611903e8", &value, 64), DEAI_OK);
}
END_TEST

START_TEST(unknown_keys_are_ignored_in_heads_only) {
  thing value;
  const char *hex = "a4616101616b4400000000616e6161617a820102";
  ck_assert_int_eq(decode_hex(&thing_table, hex, &value, 0), DEAI_EINVAL);
  ck_assert_int_eq(decode_hex(&loose_table, hex, &value, 0), DEAI_OK);
  ck_assert_uint_eq(value.has, 1u << 4);
  ck_assert_int_eq(deai_str_eq(value.name, deai_str_of("a")), 1);
}
END_TEST

static void fill_thing(thing *value, uint64_t *ids, uint8_t *keys, row *rows, point *points,
                       deai_text_pair *heads, deai_uint_pair *params) {
  static const uint8_t cid[] = {1, 0x55, 0x12, 1, 7};
  memset(value, 0, sizeof *value);
  value->has = UINT64_MAX;
  value->a = UINT64_MAX;
  value->colour = 1;
  value->flag = 1;
  memcpy(value->key, "KEYS", 4);
  value->name = deai_str_of("n\xc3\xa9");
  value->cid = deai_bytes_of(cid, sizeof cid);
  value->any = deai_bytes_of("\x82\x01\xf6", 3);
  value->at = (point){100, INT64_MIN};
  ids[0] = 9, ids[1] = 0;
  value->ids = (deai_list){ids, 2};
  memcpy(keys, "aabb", 4);
  value->keys = (deai_list){keys, 2};
  points[0] = (point){1, -1};
  points[1] = (point){2, INT64_MAX};
  rows[0].points = (deai_list){points, 2};
  rows[1].points = (deai_list){NULL, 0};
  value->rows = (deai_list){rows, 2};
  heads[0] = (deai_text_pair){deai_str_of("b"), deai_str_of("x")};
  heads[1] = (deai_text_pair){deai_str_of("aa"), deai_str_of("")};
  value->heads = (deai_list){heads, 2};
  params[0] = (deai_uint_pair){deai_str_of("hold"), 1000};
  value->params = (deai_list){params, 1};
}

START_TEST(encode_and_decode_are_inverse) {
  thing value, back;
  uint64_t ids[2];
  uint8_t keys[4], room[512], again[512];
  row rows[2];
  point points[2];
  deai_text_pair heads[2];
  deai_uint_pair params[1];
  fill_thing(&value, ids, keys, rows, points, heads, params);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  ck_assert_int_eq(deai_encode(&thing_table, &value, &writer, err, sizeof err), DEAI_OK);
  deai_arena arena = {arena_room, sizeof arena_room, 0};
  deai_bytes made = deai_bytes_of(room, writer.len);
  ck_assert_int_eq(deai_decode(&thing_table, made, &back, &arena, err, sizeof err), DEAI_OK);
  ck_assert_int_eq(back.at.y == INT64_MIN, 1);
  ck_assert_uint_eq(back.rows.count, 2);
  const row *first = back.rows.items;
  ck_assert_uint_eq(first->points.count, 2);
  ck_assert_int_eq(((const point *)first->points.items)[0].y, -1);
  ck_assert_mem_eq(back.keys.items, "aabb", 4);
  deai_cbor_writer second = deai_cbor_writer_of((deai_buf){again, sizeof again});
  ck_assert_int_eq(deai_encode(&thing_table, &back, &second, err, sizeof err), DEAI_OK);
  ck_assert_uint_eq(second.len, writer.len);
  ck_assert_mem_eq(room, again, writer.len);
  deai_cbor_writer small = deai_cbor_writer_of((deai_buf){again, 10});
  ck_assert_int_eq(deai_encode(&thing_table, &value, &small, err, sizeof err), DEAI_ETOOLARGE);
  ck_assert_uint_eq(small.len, writer.len);
}
END_TEST

static int32_t encode_thing(const thing *value) {
  uint8_t room[512];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  return deai_encode(&thing_table, value, &writer, err, sizeof err);
}

START_TEST(encode_refuses_what_decode_would_refuse) {
  thing value, good;
  uint64_t ids[2];
  uint8_t keys[4];
  row rows[2];
  point points[2];
  deai_text_pair heads[2];
  deai_uint_pair params[1];
  fill_thing(&good, ids, keys, rows, points, heads, params);
  ck_assert_int_eq(encode_thing(&good), DEAI_OK);
  value = good, value.colour = 2;
  ck_assert_int_eq(encode_thing(&value), DEAI_EINVAL);
  value = good, value.flag = 2;
  ck_assert_int_eq(encode_thing(&value), DEAI_EINVAL);
  value = good, value.name = deai_str_of("123456789");
  ck_assert_int_eq(encode_thing(&value), DEAI_EINVAL);
  value = good, value.name = deai_str_of("\xff");
  ck_assert_int_eq(encode_thing(&value), DEAI_EINVAL);
  value = good, value.any = deai_bytes_of("\x01\x01", 2);
  ck_assert_int_eq(encode_thing(&value), DEAI_EINVAL);
  value = good, value.any = deai_bytes_of("\xf7", 1);
  ck_assert_int_eq(encode_thing(&value), DEAI_EINVAL);
  value = good, value.cid = deai_bytes_of("\x01", 1);
  ck_assert_int_eq(encode_thing(&value), DEAI_EINVAL);
  value = good, value.at.x = 0;
  ck_assert_int_eq(encode_thing(&value), DEAI_EINVAL);
  value = good, value.ids.count = 0;
  ck_assert_int_eq(encode_thing(&value), DEAI_EINVAL);
  heads[0].key = deai_str_of("zzz");
  ck_assert_int_eq(encode_thing(&good), DEAI_EINVAL);
}
END_TEST

START_TEST(signed_value_round_trip) {
  uint8_t room[256];
  deai_signed value, back;
  memset(&value, 0, sizeof value);
  value.body = deai_bytes_of("\xa0", 1);
  memset(value.key, 3, sizeof value.key);
  memset(value.sig, 4, sizeof value.sig);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  ck_assert_int_eq(deai_encode(&deai_signed_table, &value, &writer, err, sizeof err), DEAI_OK);
  ck_assert_int_eq(deai_decode(&deai_signed_table, deai_bytes_of(room, writer.len), &back, NULL,
                               err, sizeof err),
                   DEAI_OK);
  ck_assert_mem_eq(back.sig, value.sig, sizeof value.sig);
  room[0] = 0x84;
  ck_assert_int_eq(deai_decode(&deai_signed_table, deai_bytes_of(room, writer.len), &back, NULL,
                               err, sizeof err),
                   DEAI_EINVAL);
}
END_TEST

START_TEST(arena_gives_aligned_room_or_none) {
  deai_arena arena = {arena_room, 40, 0};
  ck_assert_ptr_eq(deai_arena_take(&arena, 1), arena_room);
  ck_assert_ptr_eq(deai_arena_take(&arena, 17), arena_room + 16);
  ck_assert_ptr_null(deai_arena_take(&arena, 1));
  ck_assert_ptr_null(deai_arena_take(NULL, 1));
  ck_assert_ptr_null(deai_arena_take(&arena, UINT64_MAX));
}
END_TEST

START_TEST(tables_are_judged) {
  static const deai_field order[] = {DEAI_F_INT(point, y, "b"), DEAI_F_UINT(point, x, "a", 0, 1)};
  static const deai_field outside[] = {
      {"a", DEAI_FIELD_INT, 0, 0, 0, sizeof(point), 0, 0, 0, NULL, NULL}};
  static const deai_field no_sub[] = {DEAI_F_STRUCT(thing, at, "a", NULL)};
  static const deai_field over_has[] = {DEAI_F_TEXT_OPT(point, x, "a", 0, 1)};
  static const deai_field no_max[] = {DEAI_F_TEXT(thing, name, "a", 0, 0)};
  static const deai_table bad[] = {
      DEAI_TABLE_SIGNED("order", point, order),    DEAI_TABLE_SIGNED("outside", point, outside),
      DEAI_TABLE_SIGNED("no_sub", thing, no_sub),  DEAI_TABLE_SIGNED("over", point, over_has),
      DEAI_TABLE_SIGNED("no_max", thing, no_max),  DEAI_TABLE_BARE("bare", point, order),
      DEAI_TABLE_TUPLE("with keys", point, order),
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    ck_assert_msg(deai_table_check(&bad[i], err, sizeof err) == DEAI_EINVAL, "%s", bad[i].name);
  static deai_field loop_fields[1];
  static const deai_table loop = DEAI_TABLE_SIGNED("loop", thing, loop_fields);
  loop_fields[0] = (deai_field)DEAI_F_STRUCT(thing, at, "a", &loop);
  loop_fields[0].offset = 0;
  ck_assert_int_eq(deai_table_check(&loop, err, sizeof err), DEAI_EINVAL);
  ck_assert_int_eq(deai_table_check(&thing_table, err, sizeof err), DEAI_OK);
  ck_assert_int_eq(deai_table_check(&deai_signed_table, err, sizeof err), DEAI_OK);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("codec");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, refusals_name_the_key);
  tcase_add_test(tests, limits_are_checked);
  tcase_add_test(tests, unknown_keys_are_ignored_in_heads_only);
  tcase_add_test(tests, encode_and_decode_are_inverse);
  tcase_add_test(tests, encode_refuses_what_decode_would_refuse);
  tcase_add_test(tests, signed_value_round_trip);
  tcase_add_test(tests, arena_gives_aligned_room_or_none);
  tcase_add_test(tests, tables_are_judged);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
