#ifndef DEAI_HOST_BASE_LOOP_H
#define DEAI_HOST_BASE_LOOP_H

#include "deai/status.h"
#include "host/base/platform.h"

#include <stdbool.h>
#include <stdint.h>

struct event_base;

/* A deai_loop is the one thread on which a process does all its routing: libevent underneath, with
   tasks, timers and a small pool of workers on top.

     task    runs once, soon, in the order of asking; from the loop itself or from any thread
     timer   runs once after a delay; may be armed again
     work    runs on a worker thread, then its second half on the loop

   Threads  As tagged. [loop] functions assert that they are on the loop thread.
   Memory   A timer belongs to its owner, who frees it; a task keeps only what it was given.
   Caveats  Nothing on the loop may wait. A task or timer that took longer than DEAI_LOOP_SLOW_MS
            is counted and logged. */

#define DEAI_LOOP_SLOW_MS 250u

typedef struct deai_loop deai_loop;
typedef struct deai_timer deai_timer;
typedef void deai_task_fn(void *user);

/* deai_loop_new makes a loop with worker_count worker threads (0 = none). NULL when memory or
   threads are refused. */
DEAI_MUST_CHECK deai_loop *deai_loop_new(const deai_platform *platform, uint32_t worker_count);

/* deai_loop_run serves until deai_loop_stop; the calling thread is the loop thread. */
void deai_loop_run(deai_loop *loop);

/* deai_loop_stop makes deai_loop_run return after the current callback. [any] */
void deai_loop_stop(deai_loop *loop);

/* deai_loop_free ends the workers (work that runs is waited for) and frees the loop. Tasks that
   still wait are dropped. Called on the loop thread after deai_loop_run. */
void deai_loop_free(deai_loop *loop);

/* deai_loop_base returns libevent's base for sockets and listeners. [loop] */
struct event_base *deai_loop_base(deai_loop *loop);

/* deai_loop_platform returns the platform given to new. [any] */
const deai_platform *deai_loop_platform(const deai_loop *loop);

/* deai_loop_now_ns returns monotonic time. [any] */
uint64_t deai_loop_now_ns(const deai_loop *loop);

/* deai_loop_task runs fn(user) once on the loop, never inline. [any] */
void deai_loop_task(deai_loop *loop, deai_task_fn *fn, void *user);

/* deai_loop_work runs work(user) on a worker and then done(user) on the loop. Without workers both
   run as tasks. [loop] */
void deai_loop_work(deai_loop *loop, deai_task_fn *work, deai_task_fn *done, void *user);

/* deai_loop_workers returns how many worker threads there are. [any] */
uint32_t deai_loop_workers(const deai_loop *loop);

/* deai_loop_drain runs tasks that wait until none is left; for orderly ends and tests. [loop] */
void deai_loop_drain(deai_loop *loop);

/* deai_loop_settle runs tasks until none is left and no worker has anything to do: before what work
   uses is freed. [loop] */
void deai_loop_settle(deai_loop *loop);

/* deai_timer_new makes a timer that is not armed. [loop] */
DEAI_MUST_CHECK deai_timer *deai_timer_new(deai_loop *loop, deai_task_fn *fn, void *user);

/* deai_timer_set arms the timer to run once, delay_ms from now; again = the new time counts.
   [loop] */
void deai_timer_set(deai_timer *timer, uint64_t delay_ms);

/* deai_timer_clear disarms. [loop] */
void deai_timer_clear(deai_timer *timer);

/* deai_timer_free disarms and frees; NULL is allowed. [loop] */
void deai_timer_free(deai_timer *timer);

/* deai_loop_on_thread returns whether the caller is on the loop thread. [any] */
bool deai_loop_on_thread(const deai_loop *loop);

/* deai_loop_slow_count returns how many callbacks were too slow since start. [loop] */
uint64_t deai_loop_slow_count(const deai_loop *loop);

#endif
