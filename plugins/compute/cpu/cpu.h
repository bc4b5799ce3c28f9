#ifndef DEAI_PLUGINS_COMPUTE_CPU_CPU_H
#define DEAI_PLUGINS_COMPUTE_CPU_CPU_H

#include "plugins/compute/lm/backend.h"

/* The backend for processors: portable C and AVX2 kernels with the same bits. config.device picks
   the kernels ("c", "avx2"; NULL or "" = AVX2 where the processor has it), config.threads the
   number of threads (0 = one for each core this process may use, at most LM_CPU_THREADS_MAX).

   Threads  forward wakes threads - 1 helpers, which spin at barriers inside the call and sleep
            between calls.
   Memory   Weights are kept once, repacked into groups of 8 rows; a cache grows page by page as
            positions are written. */

#define LM_CPU_THREADS_MAX 64

/* lm_cpu_backend returns the table of the backend; constant. [any] */
const lm_backend_ops *lm_cpu_backend(void);

#endif
