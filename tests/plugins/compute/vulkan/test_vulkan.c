/* The backend as a whole, on small models of every weight format: the bits of the C kernels. */
#include "plugins/compute/vulkan/vulkan.h"

#include "tests/plugins/compute/cpu/run.h"
#include "tests/plugins/compute/lm/tiny.h"
#include "tests/testing.h"
#include "twin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define TOKENS 96u

static const uint32_t types[] = {0, 1, 2, 3, 8}; /* F32, F16, Q4_0, Q4_1, Q8_0 */
static const uint32_t chunks[] = {1, 3, 16, 64};

static lm_model *tiny_open_model(const tiny_options *options) {
  tiny_file file = {0};
  tiny_model(&file, options, NULL);
  lm_model *model = run_model(tiny_save(&file, "vulkan.gguf"), 0);
  tiny_free(&file);
  return model;
}

static void random_ids(uint32_t *ids, uint32_t count, uint64_t seed) {
  for (uint32_t i = 0; i < count; i++)
    ids[i] = (uint32_t)(tiny_random(&seed) % TINY_VOCAB);
}

START_TEST(every_format_and_chunk_gives_the_bits_of_c) {
  tiny_options options = {
      .type = types[_i], .seed = 40 + types[_i], .untied = _i % 2 == 1, .vocab_extra = 3};
  uint32_t ids[TOKENS];
  twin pair;
  lm_model *model = tiny_open_model(&options);
  if (!twin_has_device(model)) {
    lm_model_close(model);
    return;
  }
  random_ids(ids, TOKENS, 7 + types[_i]);
  twin_open(&pair, model, "c");
  for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
    twin_run run;
    twin_run_open(&run, &pair, 1, TOKENS);
    twin_feed(&run, ids, TOKENS, chunks[i]);
    ck_assert_uint_eq(run.faults, 0);
    twin_run_close(&run);
  }
  twin_close(&pair);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("vulkan");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_loop_test(tests, every_format_and_chunk_gives_the_bits_of_c, 0, 5);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
