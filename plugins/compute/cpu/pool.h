#ifndef DEAI_PLUGINS_COMPUTE_CPU_POOL_H
#define DEAI_PLUGINS_COMPUTE_CPU_POOL_H

#include "deai/status.h"

#include <stdint.h>

/* An lm_pool runs one function on a fixed number of threads at a time: the caller and its helpers.

     ASLEEP --run--> all threads in the function, meeting at barriers --> return --> ASLEEP

   Inside a run nothing sleeps: threads spin at lm_pool_barrier and, when a processor is missing,
   yield. Between runs a helper spins for a moment, because the next token mostly follows at once,
   and then sleeps on a condition variable.

   Threads  run by one thread at a time; barrier and claim only inside the function.
   Limits   1..64 threads. */

typedef struct lm_pool lm_pool;

/* An lm_pool_work gets the number of its thread, 0 = the caller. */
typedef void lm_pool_work(void *user, uint32_t thread);

/* lm_pool_open starts threads - 1 helpers. DEAI_ENOMEM, DEAI_EBUSY when no thread can be had. */
DEAI_MUST_CHECK int32_t lm_pool_open(uint32_t threads, lm_pool **pool_out);

/* lm_pool_close ends the helpers; NULL is fine. */
void lm_pool_close(lm_pool *pool);

/* lm_pool_run calls work on every thread and returns when all are through. */
void lm_pool_run(lm_pool *pool, lm_pool_work *work, void *user);

/* lm_pool_barrier waits until every thread of the run is here. */
void lm_pool_barrier(lm_pool *pool);

#endif
