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

#define TEXTS             5u
#define POSITIONS         64u
#define CHECKED_POSITIONS 12u
#define IDS_MAX           1024u
#define CONTEXT           1024u
#define TOGETHER          24u /* tokens written side by side from four caches */

typedef struct texts {
  uint32_t ids[TEXTS][IDS_MAX];
  uint32_t counts[TEXTS];
  uint32_t count;
} texts;

static texts all;

static void take_ids(texts *to, const json_t *ids) {
  uint32_t *count = &to->counts[to->count];
  for (size_t i = 0; i < json_array_size(ids) && *count < IDS_MAX; i++)
    to->ids[to->count][(*count)++] = (uint32_t)json_integer_value(json_array_get(ids, i));
}

static void take_text(json_t *object, void *user) {
  texts *to = user;
  if (to->count == TEXTS) return;
  take_ids(to, json_object_get(object, "ids"));
  take_ids(to, json_object_get(object, "prompt_ids"));
  take_ids(to, json_object_get(object, "output_ids"));
  to->count++;
}

static bool set_up(twin *pair) {
  const char *path = testing_model();
  if (path == NULL || !twin_has_device()) return false;
  memset(&all, 0, sizeof all);
  (void)testing_vector_rows("nll", "smollm2.jsonl", take_text, &all);
  (void)testing_vector_rows("greedy", "smollm2.jsonl", take_text, &all);
  ck_assert_uint_eq(all.count, TEXTS);
  twin_open(pair, run_model(path, CONTEXT), NULL);
  return true;
}

static bool is_full(void) {
  const char *full = getenv("DEAI_FULL");
  return full != NULL && strcmp(full, "1") == 0;
}

START_TEST(texts_in_chunks_have_the_bits_of_the_processor) {
  static const uint32_t chunks[TEXTS] = {64, 16, 3, 1, 48};
  twin pair;
  uint64_t values = 0;
  uint32_t positions = 0;
  uint32_t most = (uint32_t)run_less("positions of a text", CHECKED_POSITIONS, POSITIONS);
  if (!set_up(&pair)) return;
  for (uint32_t i = 0; i < all.count * (is_full() ? 2 : 1); i++) {
    twin_run run;
    uint32_t text = i % all.count;
    uint32_t count = is_full() || all.counts[text] < most ? all.counts[text] : most;
    twin_run_open(&run, &pair, 1, CONTEXT);
    twin_feed(&run, all.ids[text], count, chunks[(text + i / all.count) % TEXTS]);
    ck_assert_uint_eq(run.faults, 0);
    positions += count;
    values += run.values;
    twin_run_close(&run);
  }
  printf("texts: %llu equal floats at %u positions\n", (unsigned long long)values, positions);
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
