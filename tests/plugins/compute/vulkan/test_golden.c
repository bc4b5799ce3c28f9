/* Greedy and sampled answers written token by token on the device have the golden roots, which the
   portable C kernels made. */
#include "plugins/compute/vulkan/vulkan.h"
#include "tests/plugins/compute/cpu/golden.h"
#include "tests/plugins/compute/cpu/run.h"
#include "tests/testing.h"
#include "twin.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define ROWS 2u /* a greedy and a sampled one; with DEAI_FULL=1 all */

START_TEST(answers_have_the_roots_of_the_rules) {
  const char *path = testing_model();
  const char *full = getenv("DEAI_FULL");
  if (path == NULL || !twin_has_device()) return;
  bool all = full != NULL && strcmp(full, "1") == 0;
  golden_device device = {.ops = lm_vulkan_backend(), .rows = all ? SIZE_MAX : ROWS};
  lm_model *model = run_model(path, 1024);
  golden_check(model, &device);
  lm_model_close(model);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("vulkan golden");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 600);
  tcase_add_test(tests, answers_have_the_roots_of_the_rules);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
