#ifndef DEAI_PLUGINS_STORAGE_BLOCKS_WORKERS_H
#define DEAI_PLUGINS_STORAGE_BLOCKS_WORKERS_H

#include "deai/host.h"

/* The threads on which the plug-in waits for the disk, so that the loop never does.

     add [loop] --> queue --> work [worker] --> news --one post for all--> done [loop]

   A job is a part of its owner and belongs to one side at a time: to the worker between add and
   done, else to the loop. Jobs start in the order of adding.

   Threads  As tagged.
   Memory   Nothing is taken for a job: it lies in its owner.
   Caveats  A post that the host refuses is tried again every BLOCKS_WORKERS_RETRY_MS. */

#define BLOCKS_WORKERS_MAX      8u
#define BLOCKS_WORKERS_RETRY_MS 20u

typedef struct blocks_job {
  struct blocks_job *next;
  void (*work)(struct blocks_job *job);                  /* [worker] */
  void (*done)(deai_inst *inst, struct blocks_job *job); /* [loop]; may free the job */
} blocks_job;

typedef struct blocks_workers blocks_workers;

/* blocks_workers_start starts count threads (at most BLOCKS_WORKERS_MAX); NULL when threads or
   memory are refused. [loop & started] */
DEAI_MUST_CHECK blocks_workers *blocks_workers_start(const deai_host *host, deai_ctx *ctx,
                                                     uint32_t count);

/* blocks_workers_add queues job. [loop & started] */
void blocks_workers_add(blocks_workers *workers, blocks_job *job);

/* blocks_workers_stop lets running work end and joins the threads. Jobs that wait are not run, and
   done is not called any more: their owners free them. NULL is fine. [loop] */
void blocks_workers_stop(blocks_workers *workers);

#endif
