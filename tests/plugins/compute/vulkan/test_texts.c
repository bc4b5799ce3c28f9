/* Real weights: the first positions of texts, read in chunks of every size and written side by side
   from several caches, have the bits of the AVX2 kernels (the CPU tests compare those with C). With
   DEAI_FULL=1 all positions of the texts. */
#include "plugins/compute/lm/exact.h"
#include "tests/plugins/compute/cpu/run.h"
#include "tests/testing.h"
#include "twin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define TEXTS     5u
#define POSITIONS 64u
#define IDS_MAX   1024u
#define FULL_MAX  400u /* five texts of it: 2,000 positions */
#define CONTEXT   1024u
#define TOGETHER  24u /* tokens written side by side from four caches */

typedef struct texts {
  uint32_t ids[TEXTS][IDS_MAX];
  uint32_t counts[TEXTS];
  uint32_t count;
} texts;

static texts all;

static void take_text(json_t *object, void *user) {
  texts *to = user;
  const json_t *ids = json_object_get(object, "ids");
  if (to->count == TEXTS || ids == NULL) return;
  uint32_t count = 0;
  for (size_t i = 0; i < json_array_size(ids) && i < IDS_MAX; i++)
    to->ids[to->count][count++] = (uint32_t)json_integer_value(json_array_get(ids, i));
  to->counts[to->count++] = count;
}

static bool set_up(twin *pair) {
  const char *path = testing_model();
  if (path == NULL) return false;
  lm_model *model = run_model(path, CONTEXT);
  if (!twin_has_device(model)) {
    lm_model_close(model);
    return false;
  }
  all.count = 0;
  (void)testing_vector_rows("nll", "smollm2.jsonl", take_text, &all);
  ck_assert_uint_gt(all.count, 0);
  twin_open(pair, model, NULL);
  return true;
}

static uint32_t positions_of(uint32_t text) {
  const char *full = getenv("DEAI_FULL");
  uint32_t most = full != NULL && full[0] == '1' ? FULL_MAX : POSITIONS;
  return all.counts[text] < most ? all.counts[text] : most;
}

START_TEST(texts_in_chunks_have_the_bits_of_the_processor) {
  static const uint32_t chunks[TEXTS] = {64, 16, 3, 1, 48};
  twin pair;
  uint64_t values = 0;
  if (!set_up(&pair)) return;
  for (uint32_t i = 0; i < all.count; i++) {
    twin_run run;
    twin_run_open(&run, &pair, 1, CONTEXT);
    twin_feed(&run, all.ids[i], positions_of(i), chunks[i]);
    ck_assert_uint_eq(run.faults, 0);
    values += run.values;
    twin_run_close(&run);
  }
  printf("texts: %llu equal floats\n", (unsigned long long)values);
  twin_close(&pair);
}
END_TEST

START_TEST(four_caches_in_one_pass_have_them_too) {
  twin pair;
  twin_run run;
  if (!set_up(&pair)) return;
  twin_run_open(&run, &pair, TWIN_SEQUENCES, CONTEXT);
  for (uint32_t at = 0; at < TOGETHER; at++) {
    twin_column columns[3 * TWIN_SEQUENCES];
    uint32_t count = 0;
    for (uint32_t s = 0; s < TWIN_SEQUENCES; s++) {
      uint32_t own = at == 0 ? 1 + s % 3 : 1; /* they begin with prompts of different lengths */
      for (uint32_t i = 0; i < own; i++)
        columns[count++] = (twin_column){.sequence = s,
                                         .token = all.ids[s % all.count][run.lengths[s] + i],
                                         .want = i + 1 == own};
    }
    twin_pass(&run, columns, count);
  }
  ck_assert_uint_eq(run.faults, 0);
  twin_run_close(&run);
  twin_close(&pair);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("texts");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 900);
  tcase_add_test(tests, texts_in_chunks_have_the_bits_of_the_processor);
  tcase_add_test(tests, four_caches_in_one_pass_have_them_too);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
