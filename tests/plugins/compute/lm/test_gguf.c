#include "plugins/compute/lm/gguf.h"

#include "tests/testing.h"
#include "tiny.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

static int32_t open_file(const tiny_file *file, lm_gguf **out, lm_error *error) {
  int descriptor = tiny_open(file);
  int32_t status = lm_gguf_open(descriptor, out, error);
  (void)close(descriptor);
  return status;
}

static void expect_refused(tiny_file *file, int32_t status, const char *word) {
  lm_gguf *gguf = NULL;
  lm_error error = {{0}};
  ck_assert_int_eq(open_file(file, &gguf, &error), status);
  ck_assert_ptr_null(gguf);
  ck_assert_msg(strstr(error.text, word) != NULL, "'%s' lacks '%s'", error.text, word);
  tiny_free(file);
}

/* tensor appends one row of the tensor table. */
static void tensor(tiny_file *file, const char *name, uint32_t dims, const uint64_t *sizes,
                   uint32_t type, uint64_t offset) {
  tiny_text(file, name);
  tiny_u32(file, dims);
  for (uint32_t i = 0; i < dims && i < 8; i++)
    tiny_u64(file, sizes[i]);
  tiny_u32(file, type);
  tiny_u64(file, offset);
}

static void zeros(tiny_file *file, size_t count) {
  for (size_t i = 0; i < count; i++)
    tiny_put(file, "", 1);
}

START_TEST(heads_are_checked) {
  tiny_file file = {0};
  expect_refused(&file, DEAI_EINVAL, "the file ends at 0");
  tiny_put(&file, "GGML\3\0\0\0", 8);
  expect_refused(&file, DEAI_EINVAL, "magic");
  tiny_put(&file, "GGUF\2\0\0\0", 8);
  expect_refused(&file, DEAI_EUNSUPPORTED, "version 3");
  tiny_head(&file, UINT64_MAX, 0);
  expect_refused(&file, DEAI_EINVAL, "tensors");
  tiny_head(&file, 0, UINT64_MAX);
  expect_refused(&file, DEAI_EINVAL, "keys");
  tiny_head(&file, LM_GGUF_TENSORS_MAX, 0);
  expect_refused(&file, DEAI_EINVAL, "tensors");
  tiny_head(&file, 1, 0);
  expect_refused(&file, DEAI_EINVAL, "the file ends");
  lm_gguf *gguf = NULL;
  ck_assert_int_eq(lm_gguf_open(-1, &gguf, NULL), DEAI_EIO);
  lm_gguf_close(NULL);
}
END_TEST

START_TEST(keys_are_checked) {
  tiny_file file = {0};
  tiny_head(&file, 0, 1);
  tiny_u64(&file, UINT64_MAX);
  zeros(&file, 64);
  expect_refused(&file, DEAI_EINVAL, "65535 bytes");
  tiny_head(&file, 0, 1);
  tiny_u64(&file, 60000);
  zeros(&file, 64);
  expect_refused(&file, DEAI_EINVAL, "the file ends");
  tiny_head(&file, 0, 1);
  tiny_text(&file, "k");
  tiny_u32(&file, 13);
  zeros(&file, 64);
  expect_refused(&file, DEAI_EINVAL, "found 13");
  tiny_head(&file, 0, 1);
  tiny_text(&file, "k");
  tiny_u32(&file, 8);
  tiny_u64(&file, UINT64_MAX - 3);
  expect_refused(&file, DEAI_EINVAL, "bytes expected");
  tiny_head(&file, 0, 2);
  tiny_key_u32(&file, "same", 1);
  tiny_key_u32(&file, "same", 2);
  expect_refused(&file, DEAI_EINVAL, "'same' twice");
}
END_TEST

static void array(tiny_file *file, uint32_t type, uint64_t count) {
  tiny_head(file, 0, 1);
  tiny_text(file, "list");
  tiny_u32(file, 9);
  tiny_u32(file, type);
  tiny_u64(file, count);
  zeros(file, 40);
}

START_TEST(arrays_are_checked) {
  tiny_file file = {0};
  array(&file, 9, 1);
  expect_refused(&file, DEAI_EUNSUPPORTED, "nested");
  array(&file, 77, 1);
  expect_refused(&file, DEAI_EINVAL, "found 77");
  array(&file, 10, UINT64_MAX / 8 + 2);
  expect_refused(&file, DEAI_EINVAL, "too many");
  array(&file, 10, 6);
  expect_refused(&file, DEAI_EINVAL, "the file ends");
  array(&file, 8, UINT64_MAX);
  expect_refused(&file, DEAI_EINVAL, "the file ends");
  array(&file, 10, 5);
  lm_gguf *gguf = NULL;
  ck_assert_int_eq(open_file(&file, &gguf, NULL), DEAI_OK);
  lm_gguf_array list;
  ck_assert_int_eq(lm_gguf_list(gguf, "list", &list), DEAI_OK);
  ck_assert_uint_eq(list.count, 5);
  deai_str *texts;
  uint64_t count;
  ck_assert_int_eq(lm_gguf_texts(gguf, "list", 9, &texts, &count), DEAI_EINVAL);
  lm_gguf_close(gguf);
  tiny_free(&file);
}
END_TEST

START_TEST(tensors_are_checked) {
  static const struct {
    uint32_t dims;
    uint64_t sizes[4];
    uint32_t type;
    uint64_t offset;
    int32_t status;
    const char *word;
  } bad[] = {{0, {1}, 0, 0, DEAI_EINVAL, "dimensions"},
             {5, {1}, 0, 0, DEAI_EINVAL, "dimensions"},
             {UINT32_MAX, {1}, 0, 0, DEAI_EINVAL, "dimensions"},
             {2, {0, 1}, 0, 0, DEAI_EINVAL, "1 to 2^32"},
             {2, {UINT64_MAX, 2}, 0, 0, DEAI_EINVAL, "1 to 2^32"},
             {4, {1u << 31, 1u << 31, 1u << 31, 1}, 0, 0, DEAI_EINVAL, "1 to 2^32"},
             {1, {33}, 8, 0, DEAI_EINVAL, "multiples of 32"},
             {1, {256}, 12, 0, DEAI_EUNSUPPORTED, "Q4_K"},
             {1, {32}, 6, 0, DEAI_EUNSUPPORTED, "Q5_0"},
             {1, {32}, 99, 0, DEAI_EUNSUPPORTED, "99 is unknown"},
             {1, {32}, 0, 8, DEAI_EINVAL, "aligned"},
             {1, {32}, 0, 1024, DEAI_EINVAL, "within"},
             {1, {1u << 30}, 0, 0, DEAI_EINVAL, "within"},
             {1, {32}, 0, UINT64_MAX - 31, DEAI_EINVAL, "within"}};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    tiny_file file = {0};
    tiny_head(&file, 1, 0);
    tensor(&file, "t", bad[i].dims, bad[i].sizes, bad[i].type, bad[i].offset);
    zeros(&file, 256);
    expect_refused(&file, bad[i].status, bad[i].word);
  }
}
END_TEST

START_TEST(names_and_alignment_are_checked) {
  char name[80];
  tiny_file file = {0};
  memset(name, 'n', 65);
  name[65] = 0;
  tiny_head(&file, 1, 0);
  tensor(&file, name, 1, (uint64_t[]){8}, 0, 0);
  zeros(&file, 256);
  expect_refused(&file, DEAI_EINVAL, "at most 64 bytes");
  tiny_head(&file, 2, 0);
  tensor(&file, "twin", 1, (uint64_t[]){8}, 0, 0);
  tensor(&file, "twin", 1, (uint64_t[]){8}, 0, 32);
  zeros(&file, 256);
  expect_refused(&file, DEAI_EINVAL, "'twin' twice");
  const uint32_t bad[] = {0, 1, 24, 1u << 20};
  for (size_t i = 0; i < 4; i++) {
    tiny_head(&file, 0, 1);
    tiny_key_u32(&file, "general.alignment", bad[i]);
    expect_refused(&file, DEAI_EINVAL, "power of two");
  }
}
END_TEST

START_TEST(values_are_read_by_type) {
  tiny_file file = {0};
  lm_gguf *gguf = NULL;
  uint64_t number;
  double real;
  deai_str text;
  tiny_head(&file, 0, 4);
  tiny_key_u32(&file, "u", 7);
  tiny_key_f32(&file, "f", 0.5f);
  tiny_key_text(&file, "s", "words");
  tiny_text(&file, "negative");
  tiny_u32(&file, 5);
  tiny_u32(&file, UINT32_MAX);
  ck_assert_int_eq(open_file(&file, &gguf, NULL), DEAI_OK);
  ck_assert_int_eq(lm_gguf_uint(gguf, "none", &number), DEAI_ENOTFOUND);
  ck_assert_int_eq(lm_gguf_uint(gguf, "negative", &number), DEAI_EINVAL);
  ck_assert_int_eq(lm_gguf_uint(gguf, "s", &number), DEAI_EINVAL);
  ck_assert_int_eq(lm_gguf_float(gguf, "u", &real), DEAI_EINVAL);
  ck_assert_int_eq(lm_gguf_text(gguf, "u", &text), DEAI_EINVAL);
  ck_assert_int_eq(lm_gguf_uint(gguf, "u", &number), DEAI_OK);
  ck_assert_uint_eq(number, 7);
  ck_assert_int_eq(lm_gguf_float(gguf, "f", &real), DEAI_OK);
  ck_assert(real == 0.5);
  ck_assert_int_eq(lm_gguf_text(gguf, "s", &text), DEAI_OK);
  ck_assert(deai_str_eq(text, deai_str_of("words")));
  lm_gguf_close(gguf);
  tiny_free(&file);
}
END_TEST

/* Every cut and every changed byte of a whole model's header is refused or read, never worse. */
START_TEST(damaged_files_never_do_harm) {
  tiny_file file = {0};
  tiny_model(&file, &(tiny_options){.type = 8, .seed = 1}, NULL);
  size_t whole = file.len;
  uint64_t seed = 3;
  for (size_t cut = 0; cut < 9000; cut += 61) {
    lm_gguf *gguf = NULL;
    file.len = cut;
    ck_assert_int_lt(open_file(&file, &gguf, NULL), 0);
  }
  file.len = whole;
  for (int round = 0; round < 400; round++) {
    size_t at = (size_t)(tiny_random(&seed) % 9000);
    uint8_t before = file.bytes[at];
    file.bytes[at] = (uint8_t)tiny_random(&seed);
    lm_gguf *gguf = NULL;
    if (open_file(&file, &gguf, NULL) == DEAI_OK) lm_gguf_close(gguf);
    file.bytes[at] = before;
  }
  tiny_free(&file);
}
END_TEST

START_TEST(a_file_that_shrinks_is_an_error) {
  tiny_file file = {0};
  tiny_model(&file, &(tiny_options){.type = 8, .seed = 1}, NULL);
  const char *path = tiny_save(&file, "shrinks.gguf");
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  lm_gguf *gguf = NULL;
  uint8_t byte;
  ck_assert_int_eq(lm_gguf_open(descriptor, &gguf, NULL), DEAI_OK);
  (void)close(descriptor);
  int64_t index = lm_gguf_tensor_find(gguf, "output_norm.weight");
  ck_assert_int_ge(index, 0);
  ck_assert_int_eq(lm_gguf_tensor_find(gguf, "nothing"), -1);
  const lm_gguf_tensor *t = lm_gguf_tensor_at(gguf, (uint32_t)index);
  ck_assert_int_eq(lm_gguf_read(gguf, t->offset, &byte, 1), DEAI_OK);
  ck_assert_int_eq(truncate(path, 5000), 0);
  ck_assert_int_eq(lm_gguf_read(gguf, t->offset, &byte, 1), DEAI_EIO);
  lm_gguf_close(gguf);
  tiny_free(&file);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("gguf");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, heads_are_checked);
  tcase_add_test(tests, keys_are_checked);
  tcase_add_test(tests, arrays_are_checked);
  tcase_add_test(tests, tensors_are_checked);
  tcase_add_test(tests, names_and_alignment_are_checked);
  tcase_add_test(tests, values_are_read_by_type);
  tcase_add_test(tests, damaged_files_never_do_harm);
  tcase_add_test(tests, a_file_that_shrinks_is_an_error);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
