#ifndef DEAI_PLUGINS_COMPUTE_CPU_WEIGHTS_H
#define DEAI_PLUGINS_COMPUTE_CPU_WEIGHTS_H

#include "kernels.h"

#include "plugins/compute/lm/error.h"
#include "plugins/compute/lm/model.h"

/* An lm_weights holds all matrices of a model, repacked into groups of 8 rows (kernels.h).

   Threads  [any] once open; nothing changes.
   Memory   One mapping for all of them, on huge pages where the system gives them: as many bytes as
            the matrices take in the file, rounded up to groups. */

typedef struct lm_weights {
  lm_packed *layers; /* layer x LM_WEIGHT_COUNT */
  lm_packed embedding;
  lm_packed output; /* shares its memory with embedding when the model is tied */
  uint8_t *memory;
  uint64_t bytes;
} lm_weights;

/* lm_weights_open reads every matrix of model. DEAI_ENOMEM or what lm_model_read says. */
DEAI_MUST_CHECK int32_t lm_weights_open(const lm_model *model, lm_weights *weights,
                                        lm_error *error);

/* lm_weights_close frees the memory; an empty lm_weights is fine. */
void lm_weights_close(lm_weights *weights);

/* lm_weights_row writes row (a token's embedding) as floats through N3 (A4). */
void lm_weights_row(const lm_packed *w, uint32_t row, float *out, uint32_t *fault);

#endif
