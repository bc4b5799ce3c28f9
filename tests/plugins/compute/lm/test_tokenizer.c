#include "plugins/compute/lm/tokenizer.h"

#include "plugins/compute/lm/model.h"
#include "tests/testing.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/base/banned.h"

#define TINY_TOKENS 12

static const char *const tiny_tokens[TINY_TOKENS] = {
    "<|end|>", "<|end", "a", "b", "c", "ab", "abc", "\xC4\xA0", "\304\240a", "bc", "'", "s"};
static const int32_t tiny_types[TINY_TOKENS] = {3, 4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
static const char *const tiny_merges[] = {"a b", "b c", "ab c", "\xC4\xA0 a"};

static int32_t open_tiny(const char *pre, const char *extra_merge, lm_tokenizer **out,
                         lm_error *error) {
  deai_str tokens[TINY_TOKENS];
  deai_str merges[5];
  for (int i = 0; i < TINY_TOKENS; i++)
    tokens[i] = deai_str_of(tiny_tokens[i]);
  for (int i = 0; i < 4; i++)
    merges[i] = deai_str_of(tiny_merges[i]);
  merges[4] = deai_str_of(extra_merge);
  lm_tokenizer_source source = {.model = deai_str_of("gpt2"),
                                .pre = deai_str_of(pre),
                                .tokens = tokens,
                                .types = tiny_types,
                                .token_count = TINY_TOKENS,
                                .merges = merges,
                                .merge_count = extra_merge == NULL ? 4 : 5};
  return lm_tokenizer_open(&source, out, error);
}

static void check_ids(const lm_tokenizer *t, const lm_part *parts, size_t count,
                      const uint32_t *expected, size_t expected_count) {
  lm_ids ids = {0};
  ck_assert_int_eq(lm_tokenizer_encode(t, parts, count, &ids), DEAI_OK);
  ck_assert_uint_eq(ids.len, expected_count);
  for (size_t i = 0; i < ids.len; i++)
    ck_assert_uint_eq(ids.ptr[i], expected[i]);
  lm_ids_free(&ids);
}

static lm_part part_of(const char *text, bool special) {
  return (lm_part){.text = deai_bytes_of(text, strlen(text)), .special = special};
}

START_TEST(unknown_kinds_are_refused_by_name) {
  lm_tokenizer *t = NULL;
  lm_error error = {{0}};
  ck_assert_int_eq(open_tiny("qwen2", NULL, &t, &error), DEAI_EUNSUPPORTED);
  ck_assert_ptr_nonnull(strstr(error.text, "qwen2"));
  ck_assert_ptr_null(t);
  lm_tokenizer_source source = {.model = deai_str_of("llama"), .pre = deai_str_of("smollm")};
  ck_assert_int_eq(lm_tokenizer_open(&source, &t, &error), DEAI_EUNSUPPORTED);
  ck_assert_ptr_nonnull(strstr(error.text, "llama"));
}
END_TEST

START_TEST(broken_merges_are_refused) {
  static const char *const bad[] = {"", "a", "a ", " a", "ab", "\xE2\x82\xAC a", "a \xFF"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    lm_tokenizer *t = NULL;
    lm_error error = {{0}};
    ck_assert_int_eq(open_tiny("gpt-2", bad[i], &t, &error), DEAI_EINVAL);
    ck_assert_ptr_null(t);
  }
}
END_TEST

START_TEST(ordinary_text_never_becomes_a_control_token) {
  lm_tokenizer *t = NULL;
  ck_assert_int_eq(open_tiny("smollm", NULL, &t, NULL), DEAI_OK);
  lm_part special = part_of("<|end|>a<|end", true);
  check_ids(t, &special, 1, (uint32_t[]){0, 2, 1}, 3);
  lm_part plain = part_of("<|end|>a", false);
  lm_ids ids = {0};
  ck_assert_int_eq(lm_tokenizer_encode(t, &plain, 1, &ids), DEAI_OK);
  for (size_t i = 0; i < ids.len; i++)
    ck_assert_uint_gt(ids.ptr[i], 1);
  lm_ids_free(&ids);
  lm_part mixed[] = {part_of("<|e", true), part_of("nd|>", false), part_of("nd|>", true)};
  check_ids(t, mixed, 3, NULL, 0);
  lm_part joined[] = {part_of("a", false), part_of("b", true), part_of("c", false)};
  check_ids(t, joined, 3, (uint32_t[]){6}, 1);
  lm_tokenizer_close(t);
}
END_TEST

START_TEST(bytes_come_back) {
  lm_tokenizer *t = NULL;
  ck_assert_int_eq(open_tiny("gpt-2", NULL, &t, NULL), DEAI_OK);
  ck_assert_uint_eq(lm_tokenizer_bytes(t, 0).len, 0);
  ck_assert_uint_eq(lm_tokenizer_bytes(t, 1).len, 5);
  ck_assert_uint_eq(lm_tokenizer_bytes(t, TINY_TOKENS).len, 0);
  ck_assert(deai_bytes_eq(lm_tokenizer_bytes(t, 8), deai_bytes_of(" a", 2)));
  ck_assert_int_eq(lm_tokenizer_type(t, 0), LM_TOKEN_CONTROL);
  ck_assert_int_eq(lm_tokenizer_type(t, 99), 0);
  ck_assert_int_eq(lm_tokenizer_find(t, deai_str_of("<|end|>")), 0);
  ck_assert_int_eq(lm_tokenizer_find(t, deai_str_of("abc")), -1);
  ck_assert_int_eq(lm_tokenizer_find(t, deai_str_of("")), -1);
  lm_tokenizer_close(t);
}
END_TEST

START_TEST(hostile_text_takes_linear_time) {
  enum { BYTES = 1 << 20 };
  lm_tokenizer *t = NULL;
  ck_assert_int_eq(open_tiny("smollm", NULL, &t, NULL), DEAI_OK);
  uint8_t *text = malloc(LM_TOKENIZER_TEXT_MAX + 1);
  ck_assert_ptr_nonnull(text);
  const char *const patterns[] = {"a", "ab", " ", "abc ", "'", "\xFF", "1 ", "<|end"};
  clock_t start = clock();
  for (size_t p = 0; p < sizeof patterns / sizeof patterns[0]; p++) {
    size_t len = strlen(patterns[p]);
    for (size_t i = 0; i < BYTES; i++)
      text[i] = (uint8_t)patterns[p][i % len];
    lm_ids ids = {0};
    lm_part part = {.text = deai_bytes_of(text, BYTES), .special = true};
    ck_assert_int_eq(lm_tokenizer_encode(t, &part, 1, &ids), DEAI_OK);
    lm_ids_free(&ids);
  }
  ck_assert_int_lt((clock() - start) / CLOCKS_PER_SEC, 15);
  memset(text, 'a', LM_TOKENIZER_TEXT_MAX + 1);
  lm_ids ids = {0};
  lm_part part = {.text = deai_bytes_of(text, LM_TOKENIZER_TEXT_MAX + 1)};
  ck_assert_int_eq(lm_tokenizer_encode(t, &part, 1, &ids), DEAI_ETOOLARGE);
  free(text);
  lm_tokenizer_close(t);
}
END_TEST

typedef struct vector_run {
  const lm_tokenizer *t;
  size_t passed;
  size_t failed;
} vector_run;

static void vector_row(json_t *object, void *user) {
  vector_run *run = user;
  json_t *text = json_object_get(object, "text");
  json_t *expected = json_object_get(object, "ids");
  lm_part part = {.text = deai_bytes_of(json_string_value(text), json_string_length(text)),
                  .special = json_is_true(json_object_get(object, "special"))};
  lm_ids ids = {0};
  ck_assert_int_eq(lm_tokenizer_encode(run->t, &part, 1, &ids), DEAI_OK);
  bool equal = ids.len == json_array_size(expected);
  for (size_t i = 0; equal && i < ids.len; i++)
    equal = ids.ptr[i] == (uint32_t)json_integer_value(json_array_get(expected, i));
  if (!equal) printf("tokenizer differs: %.60s\n", json_string_value(text));
  run->passed += equal ? 1 : 0;
  run->failed += equal ? 0 : 1;
  lm_ids_free(&ids);
}

START_TEST(vectors_are_met) {
  const char *path = testing_model();
  if (path == NULL) return;
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  ck_assert_int_ge(descriptor, 0);
  lm_model *model = NULL;
  lm_error error = {{0}};
  int32_t status = lm_model_open(descriptor, 16, &model, &error);
  ck_assert_msg(status == DEAI_OK, "%s", error.text);
  (void)close(descriptor);
  vector_run run = {.t = lm_model_tokenizer(model)};
  ck_assert_uint_gt(testing_vector_rows("tokenizer", "smollm2.jsonl", vector_row, &run), 0);
  testing_tally("tokenizer", run.passed, run.failed, 0);
  ck_assert_uint_eq(run.failed, 0);
  lm_model_close(model);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("tokenizer");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, unknown_kinds_are_refused_by_name);
  tcase_add_test(tests, broken_merges_are_refused);
  tcase_add_test(tests, ordinary_text_never_becomes_a_control_token);
  tcase_add_test(tests, bytes_come_back);
  tcase_add_test(tests, hostile_text_takes_linear_time);
  tcase_add_test(tests, vectors_are_met);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
