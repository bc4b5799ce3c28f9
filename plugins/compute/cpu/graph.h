#ifndef DEAI_PLUGINS_COMPUTE_CPU_GRAPH_H
#define DEAI_PLUGINS_COMPUTE_CPU_GRAPH_H

#include "cache.h"
#include "kernels.h"
#include "pool.h"
#include "weights.h"

#include "plugins/compute/lm/backend.h"

#include <stdatomic.h>

/* The graph of one pass on the threads of a pool (backend.h names its steps).

   Steps of a layer, with a barrier between them: norm + quantise; q, k, v with RoPE, quantised, K
   and V into the caches; attention; quantise; output + residual; norm + quantise; gate and up;
   quantise; down + residual. Threads take units of a step (heads, groups of rows, columns) from a
   counter.
   With one column every thread makes the quantised column for itself, which saves those barriers.

   Threads  lm_graph_run by one thread at a time.
   Memory   All room is allocated by lm_graph_open for LM_COLUMNS_MAX columns. */

/* What one thread of the pool owns. */
typedef struct lm_worker {
  lm_acts acts;  /* one column */
  float *row;    /* widest column */
  float *part;   /* columns x rows of a unit */
  float *scores; /* ctx */
  int32_t *room; /* ctx */
  uint32_t step; /* of the pass: which counter to take units from */
  uint32_t faults[LM_COLUMNS_MAX];
} lm_worker;

struct lm_backend {
  const lm_model *model;
  const lm_shape *shape;
  const lm_kernels *kernels;
  lm_pool *pool;
  uint32_t threads;
  lm_weights weights;
  lm_worker *workers;
  lm_acts acts;               /* all columns */
  float *x;                   /* column x embd */
  lm_head *query;             /* column x heads */
  float *mixed;               /* column x heads * head_dim: what attention gives */
  float *hidden;              /* column x ffn */
  _Atomic uint32_t *counters; /* one a step */
  uint32_t counter_count;
  _Atomic uint32_t bad_rounding;
  char text[160];
  /* the pass in progress */
  const lm_column *columns;
  uint32_t count;
  uint32_t wanted;
  const lm_outputs *outputs;
};

/* lm_graph_open allocates the room of a pass; model, shape, kernels and threads are set.
   DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t lm_graph_open(lm_backend *backend);

/* lm_graph_close frees it. */
void lm_graph_close(lm_backend *backend);

/* lm_graph_run computes checked columns. DEAI_EINTERNAL when a thread does not round to nearest. */
DEAI_MUST_CHECK int32_t lm_graph_run(lm_backend *backend, const lm_column *columns, uint32_t count,
                                     const lm_outputs *outputs);

#endif
