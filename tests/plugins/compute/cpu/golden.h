#ifndef DEAI_TESTS_PLUGINS_COMPUTE_CPU_GOLDEN_H
#define DEAI_TESTS_PLUGINS_COMPUTE_CPU_GOLDEN_H

#include "plugins/compute/lm/backend.h"

#include <stddef.h>

/* Roots of greedy and sampled answers, made once by the portable C kernels: a row of
   tests/vectors/golden/rulesN.jsonl is {prompt_ids, t, output_ids, root}. A change of these bits is
   a change of the rules: from the first release on it needs a new rule number and a new file. */

typedef struct golden_device {
  const lm_backend_ops *ops;
  const char *device; /* as in lm_backend_config */
  size_t rows;        /* the first of the file; SIZE_MAX = all */
  bool replay;        /* as one prefill, in place of token by token */
} golden_device;

/* golden_check computes the rows on the device and aborts the test when one differs in a token or
   in its root. */
void golden_check(const lm_model *model, const golden_device *device);

/* golden_make prints the rows of the file: each prompt of vectors/greedy, in turns greedy and
   sampled, by the C kernels. */
void golden_make(const lm_model *model);

#endif
