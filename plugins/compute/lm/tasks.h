#ifndef DEAI_PLUGINS_COMPUTE_LM_TASKS_H
#define DEAI_PLUGINS_COMPUTE_LM_TASKS_H

#include "deai/status.h"

#include <stdint.h>

/* An lm_tasks is one thread with a queue, for work that is too long for the host's workers: reading
   a model, encoding a megabyte of text.

     add --> [queue] --work, on the thread--> [finished] --deliver--> done, on the loop
                 '------------ close: done(NULL, task) for all that is left ----'

   Threads  open, add, deliver and close on the loop; news is called on the thread.
   Memory   A task is its owner's: done frees it, in both cases. */

typedef struct lm_task lm_task;
struct lm_task {
  lm_task *next;
  void (*work)(lm_task *task); /* on the thread; touches the task only */
  /* on the loop, with what deliver was given; owner NULL: the tasks are closed, only free */
  void (*done)(void *owner, lm_task *task);
};

typedef struct lm_tasks lm_tasks;

/* lm_tasks_open starts the thread. news(user) says that deliver has something to do. DEAI_ENOMEM,
   DEAI_EBUSY when no thread can be had. */
DEAI_MUST_CHECK int32_t lm_tasks_open(void (*news)(void *user), void *user, lm_tasks **tasks_out);

/* lm_tasks_add queues a task; they run in order. */
void lm_tasks_add(lm_tasks *tasks, lm_task *task);

/* lm_tasks_deliver calls done(owner, task) for every finished task. */
void lm_tasks_deliver(lm_tasks *tasks, void *owner);

/* lm_tasks_close waits for the task in progress and ends the thread; NULL is fine. */
void lm_tasks_close(lm_tasks *tasks);

#endif
