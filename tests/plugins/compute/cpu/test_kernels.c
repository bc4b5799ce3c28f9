#include "plugins/compute/cpu/kernels.h"

#include "plugins/compute/cpu/cpu.h"
#include "run.h"
#include "tests/plugins/compute/lm/tiny.h"
#include "tests/testing.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

#define TOKENS 150
#define REAL   64  /* positions with real weights, of each text */
#define FULL   400 /* the same with DEAI_FULL=1 */

static const uint32_t types[] = {0, 1, 2, 3, 8};

static lm_model *tiny(const tiny_options *options) {
  tiny_file file = {0};
  tiny_model(&file, options, NULL);
  lm_model *model = run_model(tiny_save(&file, "kernels.gguf"), 0);
  tiny_free(&file);
  return model;
}

static void random_ids(uint32_t *ids, uint32_t count, uint32_t vocab, uint64_t seed) {
  for (uint32_t i = 0; i < count; i++)
    ids[i] = (uint32_t)(tiny_random(&seed) % vocab);
}

START_TEST(wrong_columns_are_refused) {
  const lm_backend_ops *ops = lm_cpu_backend();
  lm_model *model = tiny(&(tiny_options){.type = 8, .seed = 1});
  lm_backend *backend = run_backend(model, "c", 1);
  lm_cache *cache = NULL;
  ck_assert_int_eq(ops->cache_new(backend, 0, &cache), DEAI_EINVAL);
  ck_assert_int_eq(ops->cache_new(backend, TINY_CTX + 1, &cache), DEAI_EINVAL);
  ck_assert_int_eq(ops->cache_new(backend, 2, &cache), DEAI_OK);
  uint8_t fault[LM_COLUMNS_MAX];
  lm_outputs outputs = {.fault = fault};
  lm_column columns[LM_COLUMNS_MAX + 1] = {{.cache = cache}, {.cache = cache, .position = 1}};
  ck_assert_int_eq(ops->forward(backend, columns, 0, &outputs), DEAI_EINVAL);
  ck_assert_int_eq(ops->forward(backend, columns, LM_COLUMNS_MAX + 1, &outputs), DEAI_EINVAL);
  columns[0].token = TINY_VOCAB;
  ck_assert_int_eq(ops->forward(backend, columns, 1, &outputs), DEAI_EINVAL);
  columns[0].token = 1;
  columns[0].position = 1;
  ck_assert_int_eq(ops->forward(backend, columns, 1, &outputs), DEAI_EINVAL);
  columns[0].position = 0;
  ck_assert_int_eq(ops->forward(backend, columns, 2, &outputs), DEAI_OK);
  columns[0].position = 2;
  ck_assert_int_eq(ops->forward(backend, columns, 1, &outputs), DEAI_EINVAL);
  ops->cache_delete(cache);
  ops->cache_delete(NULL);
  ops->close(backend);
  ops->close(NULL);
  lm_model_close(model);
}
END_TEST

START_TEST(unknown_devices_are_refused_by_name) {
  lm_model *model = tiny(&(tiny_options){.type = 8, .seed = 1});
  lm_backend *backend = NULL;
  lm_error error = {{0}};
  lm_backend_config config = {.device = "abacus"};
  ck_assert_int_eq(lm_cpu_backend()->open(model, &config, &backend, &error), DEAI_EINVAL);
  ck_assert_ptr_nonnull(strstr(error.text, "abacus"));
  config = (lm_backend_config){.threads = LM_CPU_THREADS_MAX + 1};
  ck_assert_int_eq(lm_cpu_backend()->open(model, &config, &backend, &error), DEAI_EINVAL);
  ck_assert_ptr_null(backend);
  lm_model_close(model);
}
END_TEST

/* One hash for each format: C with one thread and single columns, against everything else. */
START_TEST(kernels_chunks_and_threads_give_the_same_bits) {
  static const uint32_t chunks[] = {1, 3, 4, 16, 64};
  tiny_options options = {.type = types[_i],
                          .seed = 7 + (uint64_t)_i,
                          .untied = _i % 2 == 1,
                          .vocab_extra = (uint32_t)_i};
  lm_model *model = tiny(&options);
  uint32_t ids[TOKENS];
  random_ids(ids, TOKENS, lm_model_shape(model)->vocab, 99);
  lm_backend *plain = run_backend(model, "c", 1);
  uint64_t expected = run_hash(plain, model, ids, TOKENS, 1);
  for (size_t c = 0; c < sizeof chunks / sizeof chunks[0]; c++)
    ck_assert_uint_eq(run_hash(plain, model, ids, TOKENS, chunks[c]), expected);
  lm_cpu_backend()->close(plain);
  for (uint32_t threads = 1; lm_kernels_avx2() != NULL && threads <= 3; threads++) {
    lm_backend *fast = run_backend(model, "avx2", threads);
    for (size_t c = 0; c < sizeof chunks / sizeof chunks[0]; c++)
      ck_assert_uint_eq(run_hash(fast, model, ids, TOKENS, chunks[c]), expected);
    lm_cpu_backend()->close(fast);
  }
  lm_model_close(model);
}
END_TEST

static void check_same(void *user, uint32_t position, const float *hidden, const float *logits) {
  (void)hidden;
  float **expected = user;
  ck_assert(memcmp(expected[position], logits, TINY_VOCAB * sizeof *logits) == 0);
}

static void keep(void *user, uint32_t position, const float *hidden, const float *logits) {
  (void)hidden;
  float **kept = user;
  memcpy(kept[position], logits, TINY_VOCAB * sizeof *logits);
}

START_TEST(truncation_and_mixed_batches_change_nothing) {
  const lm_backend_ops *ops = lm_cpu_backend();
  lm_model *model = tiny(&(tiny_options){.type = 3, .seed = 5});
  lm_backend *backend = run_backend(model, NULL, 2);
  uint32_t ids[40];
  float *kept[40];
  random_ids(ids, 40, TINY_VOCAB, 4);
  for (int i = 0; i < 40; i++)
    ck_assert_ptr_nonnull(kept[i] = malloc(TINY_VOCAB * sizeof(float)));
  lm_cache *a = NULL;
  lm_cache *b = NULL;
  ck_assert_int_eq(ops->cache_new(backend, 40, &a), DEAI_OK);
  ck_assert_int_eq(ops->cache_new(backend, 40, &b), DEAI_OK);
  (void)run_tokens(backend, model, a, ids, 0, 40, 7, 0, keep, kept);
  ops->cache_truncate(a, 13);
  (void)run_tokens(backend, model, a, ids, 13, 40, 40, 13, check_same, kept);
  ops->cache_truncate(a, 20);
  float *hidden = malloc(sizeof(float) * TINY_EMBD * 64);
  float *logits = malloc(sizeof(float) * TINY_VOCAB * 64);
  uint8_t fault[LM_COLUMNS_MAX];
  lm_outputs outputs = {.hidden = hidden, .logits = logits, .fault = fault};
  lm_column columns[4] = {{.cache = b, .token = ids[0], .position = 0, .want = true},
                          {.cache = a, .token = ids[20], .position = 20, .want = true},
                          {.cache = b, .token = ids[1], .position = 1},
                          {.cache = a, .token = ids[21], .position = 21, .want = true}};
  ck_assert_int_eq(ops->forward(backend, columns, 4, &outputs), DEAI_OK);
  ck_assert(memcmp(logits, kept[0], TINY_VOCAB * sizeof(float)) == 0);
  ck_assert(memcmp(logits + TINY_VOCAB, kept[20], TINY_VOCAB * sizeof(float)) == 0);
  ck_assert(memcmp(logits + (size_t)2 * TINY_VOCAB, kept[21], TINY_VOCAB * sizeof(float)) == 0);
  for (int i = 0; i < 40; i++)
    free(kept[i]);
  free(hidden);
  free(logits);
  ops->cache_delete(a);
  ops->cache_delete(b);
  ops->close(backend);
  lm_model_close(model);
}
END_TEST

static void ignore(void *user, uint32_t position, const float *hidden, const float *logits) {
  (void)user, (void)position, (void)hidden, (void)logits;
}

START_TEST(faults_are_told_alike) {
  lm_model *model = tiny(&(tiny_options){.type = 0, .seed = 3, .loud = 0x1p40f});
  const char *devices[] = {"c", "avx2"};
  uint32_t ids[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  for (int d = 0; d < (lm_kernels_avx2() == NULL ? 1 : 2); d++) {
    for (uint32_t chunk = 1; chunk <= 9; chunk += 4) {
      lm_backend *backend = run_backend(model, devices[d], 2);
      lm_cache *cache = NULL;
      ck_assert_int_eq(lm_cpu_backend()->cache_new(backend, 9, &cache), DEAI_OK);
      ck_assert_uint_eq(run_tokens(backend, model, cache, ids, 0, 9, chunk, 8, ignore, NULL), 9);
      lm_cpu_backend()->cache_delete(cache);
      lm_cpu_backend()->close(backend);
    }
  }
  lm_model_close(model);
}
END_TEST

static const char *const texts[5] = {
    "The quick brown fox jumps over the lazy dog and runs into the forest before anyone can see "
    "it.",
    "int main(void) { for (int i = 0; i < 10; i++) printf(\"%d\\n\", i * i); return 0; } // "
    "squares",
    "In 1969, 3 astronauts flew 384,400 km; 2 of them walked on the Moon for 2 h 31 min 40 s.",
    "Le caf\xC3\xA9 est tr\xC3\xA8s chaud, \xC3\xA0 bient\xC3\xB4t! \xF0\x9F\x98\x80 "
    "\xE4\xBD\xA0\xE5\xA5\xBD, na\xC3\xAFve fa\xC3\xA7"
    "ade, Stra\xC3\x9F"
    "e.",
    "      \n\n\t- item one\n\t- item two\n\n<div class=\"x\">&nbsp;</div>   ... !!! ??? ((()))  "
    " "};

START_TEST(real_weights_give_the_same_bits) {
  static const uint32_t chunks[] = {1, 3, 16, REAL};
  const char *path = testing_model();
  if (path == NULL || lm_kernels_avx2() == NULL) return;
  if ((size_t)_i >= run_less("texts", 1, 5)) return;
  uint32_t count = (uint32_t)run_less("positions", 12, getenv("DEAI_FULL") != NULL ? FULL : REAL);
  lm_model *model = run_model(path, 512);
  lm_backend *plain = run_backend(model, "c", 2);
  lm_backend *fast = run_backend(model, "avx2", 2);
  uint32_t ids[FULL];
  size_t len = strlen(texts[_i]);
  for (uint32_t k = 0; k < count; k++) /* ids all over the vocabulary, led by the text */
    ids[k] = 17 + (uint32_t)((uint8_t)texts[_i][k % len] * 131u + k * 17u) % 49000u;
  uint64_t expected = run_hash(plain, model, ids, count, REAL);
  for (size_t c = 0; c < run_less("chunks", 2, 4); c++)
    ck_assert_uint_eq(run_hash(fast, model, ids, count, chunks[c]), expected);
  lm_cpu_backend()->close(plain);
  lm_cpu_backend()->close(fast);
  lm_model_close(model);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("kernels");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 600);
  tcase_add_test(tests, wrong_columns_are_refused);
  tcase_add_test(tests, unknown_devices_are_refused_by_name);
  tcase_add_loop_test(tests, kernels_chunks_and_threads_give_the_same_bits, 0, 5);
  tcase_add_test(tests, truncation_and_mixed_batches_change_nothing);
  tcase_add_test(tests, faults_are_told_alike);
  tcase_add_loop_test(tests, real_weights_give_the_same_bits, 0, 5);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
