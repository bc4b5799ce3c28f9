#include "plugins/compute/lm/model.h"

#include "tests/testing.h"
#include "tiny.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

static int32_t open_file(const tiny_file *file, lm_model **out, lm_error *error) {
  int descriptor = tiny_open(file);
  int32_t status = lm_model_open(descriptor, 0, out, error);
  (void)close(descriptor);
  return status;
}

/* patch overwrites the four bytes behind key (and its type) of a tiny model, or a text as long. */
static void patch(tiny_file *file, const char *key, size_t skip, const void *bytes, size_t len) {
  uint8_t *at = memmem(file->bytes, file->len, key, strlen(key));
  ck_assert_ptr_nonnull(at);
  memcpy(at + strlen(key) + skip, bytes, len);
}

static void expect_refused(const char *key, size_t skip, const void *bytes, size_t len,
                           const char *word) {
  tiny_file file = {0};
  lm_model *model = NULL;
  lm_error error = {{0}};
  tiny_model(&file, &(tiny_options){.type = 8, .seed = 2}, NULL);
  patch(&file, key, skip, bytes, len);
  ck_assert_int_lt(open_file(&file, &model, &error), 0);
  ck_assert_ptr_null(model);
  ck_assert_msg(strstr(error.text, word) != NULL, "'%s' lacks '%s'", error.text, word);
  tiny_free(&file);
}

START_TEST(other_models_are_refused_by_name) {
  expect_refused("general.architecture", 12, "qwenx", 5, "'qwenx'");
  expect_refused("tokenizer.ggml.pre", 12, "qwenxx", 6, "'qwenxx'");
  expect_refused("tokenizer.ggml.model", 12, "bert", 4, "'bert'");
  expect_refused("llama.block_count", 4, &(uint32_t){3}, 4, "tensors of a plain llama");
  expect_refused("llama.block_count", 4, &(uint32_t){0}, 4, "block_count");
  expect_refused("llama.embedding_length", 4, &(uint32_t){65}, 4, "multiples of 32");
  expect_refused("llama.embedding_length", 4, &(uint32_t){1u << 30}, 4, "embedding_length");
  expect_refused("llama.feed_forward_length", 4, &(uint32_t){128}, 4, "expected in blk.0.ffn_gate");
  expect_refused("llama.attention.head_count", 4, &(uint32_t){0}, 4, "head_count");
  expect_refused("llama.attention.head_count_kv", 4, &(uint32_t){3}, 4, "head_count_kv");
  expect_refused("llama.context_length", 4, &(uint32_t){0}, 4, "context_length");
  expect_refused("llama.attention.layer_norm_rms_epsilon", 4, &(float){1e-20f}, 4, "epsilon");
  expect_refused("llama.rope.freq_base", 4, &(float){0.0f}, 4, "freq_base");
  expect_refused("blk.1.attn_k", 0, ".wxyzab", 7, "blk.1.attn_k.weight expected");
}
END_TEST

static int32_t count_rows(void *user, uint32_t first_row, uint32_t row_count,
                          const uint8_t *blocks) {
  uint32_t *rows = user;
  ck_assert_uint_eq(first_row, *rows);
  ck_assert_ptr_nonnull(blocks);
  *rows += row_count;
  return DEAI_OK;
}

static int32_t refuse_rows(void *user, uint32_t first_row, uint32_t row_count,
                           const uint8_t *blocks) {
  (void)user, (void)first_row, (void)row_count, (void)blocks;
  return DEAI_EFULL;
}

START_TEST(matrices_are_read_whole_and_checked) {
  static const uint32_t types[] = {0, 1, 2, 3, 8};
  tiny_file file = {0};
  lm_model *model = NULL;
  lm_error error = {{0}};
  tiny_model(&file, &(tiny_options){.type = types[_i], .seed = 2}, NULL);
  ck_assert_int_eq(open_file(&file, &model, &error), DEAI_OK);
  uint32_t rows = 0;
  int32_t exponent = 999;
  const lm_matrix *embedding = lm_model_embedding(model);
  ck_assert_ptr_eq(embedding, lm_model_output(model));
  ck_assert_int_eq(lm_model_read(model, embedding, count_rows, &rows, &exponent, &error), DEAI_OK);
  ck_assert_uint_eq(rows, TINY_VOCAB);
  ck_assert_int_lt(exponent, 54);
  ck_assert_int_eq(lm_model_read(model, embedding, refuse_rows, NULL, &exponent, &error),
                   DEAI_EFULL);
  lm_model_close(model);
  uint32_t infinite = 0x7c007c00u; /* as f16 Inf, twice */
  memset(&infinite, 0xff, types[_i] == 0 ? 4 : 0);
  memcpy(file.bytes + file.len - 64, &infinite, 4); /* ends the last ffn_down, near enough */
  for (size_t i = file.len - 3200; i + 4 < file.len; i += 4)
    memcpy(file.bytes + i, &infinite, 4);
  ck_assert_int_eq(open_file(&file, &model, &error), DEAI_OK);
  const lm_matrix *last = lm_model_matrix(model, 1, LM_FFN_DOWN);
  rows = 0;
  ck_assert_int_eq(lm_model_read(model, last, count_rows, &rows, &exponent, &error), DEAI_EINVAL);
  ck_assert_ptr_nonnull(strstr(error.text, "ffn_down"));
  lm_model_close(model);
  tiny_free(&file);
}
END_TEST

START_TEST(a_file_that_shrinks_is_an_error) {
  tiny_file file = {0};
  lm_model *model = NULL;
  lm_error error = {{0}};
  tiny_model(&file, &(tiny_options){.type = 3, .seed = 2}, NULL);
  const char *path = tiny_save(&file, "model.gguf");
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  ck_assert_int_eq(lm_model_open(descriptor, 32, &model, &error), DEAI_OK);
  (void)close(descriptor);
  ck_assert_uint_eq(lm_model_shape(model)->ctx, 32);
  ck_assert_int_eq(truncate(path, (off_t)file.len - 4000), 0);
  uint32_t rows = 0;
  int32_t exponent;
  const lm_matrix *last = lm_model_matrix(model, 1, LM_FFN_DOWN);
  ck_assert_int_eq(lm_model_read(model, last, count_rows, &rows, &exponent, &error), DEAI_EIO);
  lm_model_close(model);
  lm_model_close(NULL);
  tiny_free(&file);
}
END_TEST

START_TEST(shape_and_ends_are_read) {
  tiny_file file = {0};
  lm_model *model = NULL;
  tiny_model(&file, &(tiny_options){.type = 2, .seed = 2, .untied = true},
             "<|im_start|><|im_end|>");
  ck_assert_int_eq(open_file(&file, &model, NULL), DEAI_OK);
  const lm_shape *shape = lm_model_shape(model);
  ck_assert_uint_eq(shape->head_dim, 32);
  ck_assert_uint_eq(shape->rope_dim, 32);
  ck_assert_uint_eq(shape->vocab, TINY_VOCAB);
  ck_assert_uint_eq(shape->ctx, TINY_CTX);
  ck_assert(lm_model_output(model) != lm_model_embedding(model));
  ck_assert(lm_model_ends(model, TINY_END) && !lm_model_ends(model, TINY_START));
  ck_assert(deai_str_eq(lm_model_template(model), deai_str_of("<|im_start|><|im_end|>")));
  ck_assert(deai_str_eq(lm_model_name(model), deai_str_of("unnamed")));
  lm_model_close(model);
  tiny_free(&file);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("model");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, other_models_are_refused_by_name);
  tcase_add_loop_test(tests, matrices_are_read_whole_and_checked, 0, 5);
  tcase_add_test(tests, a_file_that_shrinks_is_an_error);
  tcase_add_test(tests, shape_and_ends_are_read);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
