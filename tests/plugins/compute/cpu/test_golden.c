#include "golden.h"

#include "plugins/compute/cpu/cpu.h"
#include "plugins/compute/cpu/kernels.h"
#include "run.h"
#include "tests/testing.h"

#include <stdlib.h>

#include "host/base/banned.h"

#define C_ROWS    1 /* the C kernels are slow: they repeat the first rows only */
#define SOME_ROWS 2

/* AVX2 writes the answers anew, C replays the first. DEAI_GOLDEN_MAKE=1 prints the rows of the file
   in place of comparing. */
START_TEST(answers_have_the_roots_of_the_rules) {
  const char *path = testing_model();
  if (path == NULL) return;
  lm_model *model = run_model(path, 1024);
  if (getenv("DEAI_GOLDEN_MAKE") != NULL) {
    golden_make(model);
  } else {
    golden_device fast = {.ops = lm_cpu_backend(), .device = "avx2", .rows = SIZE_MAX};
    golden_device plain = {.ops = lm_cpu_backend(), .device = "c", .rows = C_ROWS, .replay = true};
    bool all = run_less("golden rows, replayed only", SOME_ROWS, SIZE_MAX) == SIZE_MAX;
    if (!all) fast.rows = SOME_ROWS;
    fast.replay = !all; /* one prefill is faster than one token at a time */
    if (lm_kernels_avx2() != NULL) golden_check(model, &fast);
    if (all || lm_kernels_avx2() == NULL) golden_check(model, &plain);
  }
  lm_model_close(model);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("golden");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 600);
  tcase_add_test(tests, answers_have_the_roots_of_the_rules);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
