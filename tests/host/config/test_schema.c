/* Settings against a schema: every refusal with its exact text, units, defaults, order of keys. */
#include "tests/testing.h"

#include "deai/cbor.h"
#include "host/config/schema.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

static char err[512];
static uint8_t room[DEAI_SETTINGS_MAX];

typedef struct unit_row {
  const char *text;
  const char *format;
  int64_t value; /* -1 = refused */
} unit_row;

static const unit_row units[] = {
    {"", "", -1},
    {"-1", "", -1},
    {"+1", "", -1},
    {"1.5", "", -1},
    {"0x10", "", -1},
    {" 1", "", -1},
    {"1 ", "", -1},
    {"1e3", "", -1},
    {"9223372036854775808", "", -1},
    {"99999999999999999999", "", -1},
    {"999999999999999999999", "", -1},
    {"9223372036854775807", "", INT64_MAX},
    {"007", "", 7},
    {"1", "no-such", -1},
    {"1GB", "bytes", -1},
    {"1gib", "bytes", -1},
    {"GiB", "bytes", -1},
    {".5GiB", "bytes", -1},
    {"1.GiB", "bytes", -1},
    {"1.2.3GiB", "bytes", -1},
    {"0.3KiB", "bytes", -1},
    {"0.5KiB", "bytes", 512},
    {"12GiB", "bytes", INT64_C(12) << 30},
    {"400MiB", "bytes", INT64_C(400) << 20},
    {"8388608TiB", "bytes", -1},
    {"100", "bytes", 100},
    {"90", "duration", -1},
    {"90s", "duration", 90000},
    {"250ms", "duration", 250},
    {"0.5ms", "duration", -1},
    {"1.5h", "duration", 5400000},
    {"10m", "duration", 600000},
    {"2d", "duration", 172800000},
    {"2%", "share", 20000},
    {"0.5%", "share", 5000},
    {"0.00001%", "share", -1},
    {"2", "share", -1},
    {"1.5", "coins", 1500000000},
    {"0.000000001", "coins", 1},
    {"0.0000000001", "coins", -1},
};

START_TEST(units_are_exact_or_refused) {
  uint64_t value = 0;
  const unit_row *row = &units[_i];
  int32_t status = deai_schema_unit(row->text, row->format, &value);
  ck_assert_msg((status == DEAI_OK) == (row->value >= 0), "\"%s\" as %s", row->text, row->format);
  if (row->value >= 0) ck_assert_int_eq((int64_t)value, row->value);
}
END_TEST

typedef struct schema_row {
  const char *schema;
  const char *why;
} schema_row;

static const schema_row schemas[] = {
    {"{}", "schema: the type \"\" is not in the subset"},
    {"{\"type\":\"number\"}", "schema: the type \"number\" is not in the subset"},
    {"{\"type\":\"string\",\"pattern\":\"x\"}", "schema: \"pattern\" is not in the subset"},
    {"{\"type\":\"string\",\"enum\":[1]}", "schema: expected a list of texts in \"enum\""},
    {"{\"type\":\"string\",\"enum\":\"x\"}", "schema: expected a list of texts in \"enum\""},
    {"{\"type\":\"object\",\"required\":[{}]}", "schema: expected a list of texts in \"required\""},
    {"{\"type\":\"array\"}", "schema: expected an object, at most 8 deep"},
    {"{\"type\":\"object\",\"properties\":{\"a\":7}}",
     "schema: expected an object, at most 8 deep"},
    {"{\"type\":\"object\",\"properties\":{\"\":{\"type\":\"string\"}}}",
     "schema: expected keys of 1 to 64 bytes"},
    {"{\"type\":\"object\",\"additionalProperties\":true}",
     "schema: expected an object, at most 8 deep"},
    {"{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":"
     "{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":"
     "{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":"
     "{\"type\":\"string\"}}}}}}}}}}",
     "schema: expected an object, at most 8 deep"},
};

START_TEST(schemas_outside_the_subset_are_refused) {
  json_t *schema = json_loads(schemas[_i].schema, 0, NULL);
  ck_assert_ptr_nonnull(schema);
  ck_assert_int_lt(deai_schema_check(schema, err, sizeof err), 0);
  ck_assert_str_eq(err, schemas[_i].why);
  json_decref(schema);
}
END_TEST

START_TEST(so_many_properties_and_no_more) {
  json_t *schema = json_pack("{s:s, s:{}}", "type", "object", "properties");
  for (int i = 0; i < 65; i++) {
    char key[16];
    (void)snprintf(key, sizeof key, "k%d", i);
    (void)json_object_set_new(json_object_get(schema, "properties"), key,
                              json_pack("{s:s}", "type", "string"));
  }
  ck_assert_int_eq(deai_schema_check(schema, err, sizeof err), DEAI_EINVAL);
  ck_assert_str_eq(err, "schema: expected at most 64 properties");
  json_decref(schema);
}
END_TEST

static const char rich[] =
    "{\"type\":\"object\",\"properties\":{"
    "\"size\":{\"type\":\"integer\",\"format\":\"bytes\",\"minimum\":1024,\"maximum\":4096,"
    "\"default\":\"2KiB\"},"
    "\"n\":{\"type\":\"integer\",\"default\":3},"
    "\"mode\":{\"type\":\"string\",\"enum\":[\"fast\",\"safe\"],\"default\":\"safe\"},"
    "\"name\":{\"type\":\"string\",\"minLength\":2,\"maxLength\":5},"
    "\"on\":{\"type\":\"boolean\"},"
    "\"list\":{\"type\":\"array\",\"maxItems\":2,\"items\":{\"type\":\"string\"}},"
    "\"sub\":{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"integer\",\"default\":1}},"
    "\"required\":[\"y\"],\"additionalProperties\":{\"type\":\"integer\"}}}}";

/* apply runs yaml through the rich schema; NULL = nothing was written. */
static int32_t apply(const char *yaml, uint64_t *len) {
  json_t *schema = json_loads(rich, 0, NULL);
  ck_assert_ptr_nonnull(schema);
  ck_assert_msg(deai_schema_check(schema, err, sizeof err) == DEAI_OK, "%s", err);
  struct fy_document *document =
      yaml != NULL ? fy_document_build_from_string(NULL, yaml, FY_NT) : NULL;
  ck_assert(yaml == NULL || document != NULL);
  err[0] = 0;
  int32_t status = deai_schema_apply(schema, yaml != NULL ? fy_document_root(document) : NULL, "f",
                                     "", (deai_buf){room, sizeof room}, len, err, sizeof err);
  fy_document_destroy(document);
  json_decref(schema);
  return status;
}

typedef struct value_row {
  const char *yaml;
  const char *why;
} value_row;

static const value_row values[] = {
    {"nope: 1\nsub: {y: 1}", "f:1:1: the document: expected no key \"nope\"; remove it or mend its "
                             "spelling"},
    {"sub: {y: 1}\nsize: 12Gb",
     "f:2:7: size: expected a whole number with a unit of bytes, found \"12Gb\""},
    {"sub: {y: 1}\nsize: 1", "f:2:7: size: expected 1024 to 4096, found 1"},
    {"sub: {y: 1}\nsize: 1MiB", "f:2:7: size: expected 1024 to 4096, found 1048576"},
    {"sub: {y: 1}\nn: [1, 2]", "f:2:5: n: expected a whole number, found \"a list or map\""},
    {"sub: {y: 1}\nn: x", "f:2:4: n: expected a whole number, found \"x\""},
    {"sub: {y: 1}\nmode: slow", "f:2:7: mode: expected one of fast, safe, found \"slow\""},
    {"sub: {y: 1}\nname: a", "f:2:7: name: expected 2 to 5 bytes, found 1"},
    {"sub: {y: 1}\nname: abcdef", "f:2:7: name: expected 2 to 5 bytes, found 6"},
    {"sub: {y: 1}\non: yes", "f:2:5: on: expected true or false, found \"yes\""},
    {"sub: {y: 1}\nlist: x", "f:2:7: list: expected a list"},
    {"sub: {y: 1}\nlist: [a, b, c]", "f:2:8: list: expected at most 2 items, found 3"},
    {"sub: {y: 1}\nlist:\n  - a\n  - [b]", "f:4:6: list.1: expected a text below 4096 bytes"},
    {"sub: {}", "f:1:1: sub.y: expected this key, found none; add it"},
    {"sub:\n  x: 2", "f:2:3: sub.y: expected this key, found none; add it"},
    {"sub: 7", "f:1:6: sub: expected a map of keys"},
    {"sub:\n  y: 1\n  z: w", "f:3:6: sub.z: expected a whole number, found \"w\""},
    {"- a", "f:1:3: the document: expected a map of keys"},
    {"7", "f:1:1: the document: expected a map of keys"},
    {"sub: {y: 1}\nname: &n abc\nmode: *n", "f:3:8: mode: expected a value, found an alias; write "
                                            "it out"},
};

START_TEST(values_are_refused_with_their_place) {
  uint64_t len = 0;
  ck_assert_int_eq(apply(values[_i].yaml, &len), DEAI_EINVAL);
  ck_assert_str_eq(err, values[_i].why);
}
END_TEST

START_TEST(long_texts_and_keys) {
  static char yaml[8192];
  uint64_t len = 0;
  (void)snprintf(yaml, sizeof yaml, "sub: {y: 1}\nname: %05000d", 7);
  ck_assert_int_eq(apply(yaml, &len), DEAI_EINVAL);
  ck_assert_str_eq(err, "f:2:7: name: expected a text below 4096 bytes");
  (void)snprintf(yaml, sizeof yaml, "sub:\n  y: 1\n  %065d: 1", 7);
  ck_assert_int_eq(apply(yaml, &len), DEAI_EINVAL);
  ck_assert_str_eq(err, "f:3:3: sub: expected a key of 1 to 64 bytes");
}
END_TEST

static void expect_hex(const char *hex, uint64_t len) {
  size_t wanted_len = 0;
  uint8_t *wanted = testing_hex(hex, &wanted_len);
  ck_assert_uint_eq(len, wanted_len);
  ck_assert_mem_eq(room, wanted, wanted_len);
  free(wanted);
}

START_TEST(defaults_and_canonical_order) {
  uint64_t len = 0;
  ck_assert_int_eq(apply("sub: {y: 5, a: 6}", &len), DEAI_OK);
  /* {n: 3, sub: {a: 6, x: 1, y: 5}, list: [], mode: safe, size: 2048}: shorter keys first */
  expect_hex("a5616e0363737562a361610661780161790564"
             "6c69737480646d6f6465647361666564"
             "73697a65190800",
             len);
  ck_assert_int_eq(deai_cbor_check(deai_bytes_of(room, len), 0, NULL), DEAI_OK);
  ck_assert_int_eq(apply("on: true\nname: 'true'\nlist: [a, '']\nsize: 4KiB\nsub: {y: 0}", &len),
                   DEAI_OK);
  ck_assert_int_eq(deai_cbor_check(deai_bytes_of(room, len), 0, NULL), DEAI_OK);
}
END_TEST

START_TEST(nothing_written_needs_what_is_required) {
  uint64_t len = 0;
  ck_assert_int_eq(apply(NULL, &len), DEAI_EINVAL);
  ck_assert_str_eq(err, "f:1:1: sub.y: expected this key, found none; add it");
}
END_TEST

START_TEST(settings_that_do_not_fit) {
  uint64_t len = 0;
  json_t *schema = json_loads("{\"type\":\"string\"}", 0, NULL);
  struct fy_document *document = fy_document_build_from_string(NULL, "abcdefgh", FY_NT);
  ck_assert_int_eq(deai_schema_apply(schema, fy_document_root(document), "f", "k",
                                     (deai_buf){room, 4}, &len, err, sizeof err),
                   DEAI_EINVAL);
  ck_assert_str_eq(err, "f:1:1: k: expected at most 4 bytes of settings");
  fy_document_destroy(document);
  json_decref(schema);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("schema");
  TCase *tests = tcase_create("schema");
  tcase_add_loop_test(tests, units_are_exact_or_refused, 0, (int)(sizeof units / sizeof units[0]));
  tcase_add_loop_test(tests, schemas_outside_the_subset_are_refused, 0,
                      (int)(sizeof schemas / sizeof schemas[0]));
  tcase_add_test(tests, so_many_properties_and_no_more);
  tcase_add_loop_test(tests, values_are_refused_with_their_place, 0,
                      (int)(sizeof values / sizeof values[0]));
  tcase_add_test(tests, long_texts_and_keys);
  tcase_add_test(tests, defaults_and_canonical_order);
  tcase_add_test(tests, nothing_written_needs_what_is_required);
  tcase_add_test(tests, settings_that_do_not_fit);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
