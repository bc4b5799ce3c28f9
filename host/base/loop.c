#include "loop.h"

#include "assertion.h"
#include "log.h"

#include <event2/event.h>
#include <event2/thread.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "banned.h"

#define TASKS_PER_TURN_MAX 1024 /* so that tasks which ask for tasks do not starve sockets */

typedef struct task {
  struct task *next;
  deai_task_fn *fn;
  void *user;
} task;

typedef struct work_item {
  struct work_item *next;
  deai_task_fn *work;
  deai_task_fn *done;
  void *user;
} work_item;

struct deai_loop {
  const deai_platform *platform;
  struct event_base *base;
  struct event *wake;
  struct event *again;      /* the next turn of tasks, after sockets and timers had theirs */
  _Atomic pthread_t thread; /* that runs the loop; asked from any thread */
  pthread_mutex_t lock;     /* guards the lists below */
  pthread_cond_t work_ready;
  pthread_cond_t changed; /* a task was added, a worker is done */
  task *task_first;
  task **task_last;
  work_item *work_first;
  work_item **work_last;
  uint32_t work_count; /* waiting for a worker or on one */
  bool ending;
  bool in_turn; /* of the loop thread alone: tasks are being run */
  uint32_t worker_count;
  pthread_t *workers;
  uint64_t slow_count;
};

struct deai_timer {
  deai_loop *loop;
  struct event *event;
  deai_task_fn *fn;
  void *user;
};

static pthread_once_t threads_once = PTHREAD_ONCE_INIT;

static void threads_setup(void) {
  DEAI_ASSERT(evthread_use_pthreads() == 0); /* before any base is made: libevent issue 191 */
}

static void *worker_main(void *user) {
  deai_loop *loop = user;
  (void)pthread_mutex_lock(&loop->lock);
  while (true) {
    while (loop->work_first == NULL && !loop->ending)
      (void)pthread_cond_wait(&loop->work_ready, &loop->lock);
    work_item *item = loop->work_first;
    if (item == NULL) break;
    loop->work_first = item->next;
    if (loop->work_first == NULL) loop->work_last = &loop->work_first;
    (void)pthread_mutex_unlock(&loop->lock);
    item->work(item->user);
    deai_loop_task(loop, item->done, item->user);
    free(item);
    (void)pthread_mutex_lock(&loop->lock);
    loop->work_count--;
    (void)pthread_cond_signal(&loop->changed);
  }
  (void)pthread_mutex_unlock(&loop->lock);
  return NULL;
}

static task *tasks_take(deai_loop *loop) {
  (void)pthread_mutex_lock(&loop->lock);
  task *first = loop->task_first;
  if (first != NULL) {
    loop->task_first = first->next;
    if (loop->task_first == NULL) loop->task_last = &loop->task_first;
  }
  (void)pthread_mutex_unlock(&loop->lock);
  return first;
}

/* timed_run runs a callback and counts it when it was slow. */
static void timed_run(deai_loop *loop, deai_task_fn *fn, void *user) {
  uint64_t begin_ns = deai_loop_now_ns(loop);
  fn(user);
  uint64_t took_ms = (deai_loop_now_ns(loop) - begin_ns) / UINT64_C(1000000);
  if (took_ms <= DEAI_LOOP_SLOW_MS) return;
  loop->slow_count++;
  deai_log(DEAI_LEVEL_WARN, "loop", "a callback held the loop for %llu ms",
           (unsigned long long)took_ms);
}

static bool tasks_run(deai_loop *loop) {
  bool more = true;
  loop->in_turn = true;
  for (uint32_t turn = 0; turn < TASKS_PER_TURN_MAX; turn++) {
    task *next = tasks_take(loop);
    if (next == NULL) {
      more = false;
      break;
    }
    timed_run(loop, next->fn, next->user);
    free(next);
  }
  loop->in_turn = false;
  return more;
}

static void on_wake(evutil_socket_t fd, short what, void *user) {
  (void)fd, (void)what;
  deai_loop *loop = user;
  static const struct timeval at_once = {0, 0};
  /* an event that is made active here would run before libevent looks at anything else */
  if (tasks_run(loop)) DEAI_ASSERT(event_add(loop->again, &at_once) == 0);
}

static int32_t workers_start(deai_loop *loop, uint32_t worker_count) {
  if (worker_count == 0) return DEAI_OK;
  loop->workers = calloc(worker_count, sizeof *loop->workers);
  if (loop->workers == NULL) return DEAI_ENOMEM;
  for (uint32_t i = 0; i < worker_count; i++) {
    if (pthread_create(&loop->workers[i], NULL, worker_main, loop) != 0) return DEAI_ENOMEM;
    loop->worker_count++;
  }
  return DEAI_OK;
}

deai_loop *deai_loop_new(const deai_platform *platform, uint32_t worker_count) {
  (void)pthread_once(&threads_once, threads_setup);
  deai_loop *loop = calloc(1, sizeof *loop);
  if (loop == NULL) return NULL;
  loop->platform = platform;
  loop->task_last = &loop->task_first;
  loop->work_last = &loop->work_first;
  (void)pthread_mutex_init(&loop->lock, NULL);
  (void)pthread_cond_init(&loop->work_ready, NULL);
  (void)pthread_cond_init(&loop->changed, NULL);
  atomic_store(&loop->thread, pthread_self());
  loop->base = event_base_new();
  if (loop->base != NULL) {
    loop->wake = event_new(loop->base, -1, EV_PERSIST | EV_READ, on_wake, loop);
    loop->again = event_new(loop->base, -1, 0, on_wake, loop);
  }
  if (loop->wake == NULL || loop->again == NULL || workers_start(loop, worker_count) != DEAI_OK) {
    deai_loop_free(loop);
    return NULL;
  }
  return loop;
}

void deai_loop_run(deai_loop *loop) {
  if (!deai_loop_on_thread(loop)) atomic_store(&loop->thread, pthread_self());
  event_active(loop->wake, EV_READ, 0); /* for tasks that were asked for before */
  (void)event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY);
}

void deai_loop_stop(deai_loop *loop) {
  (void)event_base_loopbreak(loop->base);
}

static void workers_end(deai_loop *loop) {
  (void)pthread_mutex_lock(&loop->lock);
  loop->ending = true;
  (void)pthread_cond_broadcast(&loop->work_ready);
  (void)pthread_mutex_unlock(&loop->lock);
  for (uint32_t i = 0; i < loop->worker_count; i++)
    (void)pthread_join(loop->workers[i], NULL);
  loop->worker_count = 0;
}

void deai_loop_free(deai_loop *loop) {
  if (loop == NULL) return;
  workers_end(loop);
  for (task *next = tasks_take(loop); next != NULL; next = tasks_take(loop))
    free(next);
  if (loop->wake != NULL) event_free(loop->wake);
  if (loop->again != NULL) event_free(loop->again);
  if (loop->base != NULL) event_base_free(loop->base);
  (void)pthread_cond_destroy(&loop->work_ready);
  (void)pthread_cond_destroy(&loop->changed);
  (void)pthread_mutex_destroy(&loop->lock);
  free(loop->workers);
  free(loop);
}

struct event_base *deai_loop_base(deai_loop *loop) {
  return loop->base;
}

const deai_platform *deai_loop_platform(const deai_loop *loop) {
  return loop->platform;
}

uint64_t deai_loop_now_ns(const deai_loop *loop) {
  return deai_now_ns(loop->platform);
}

void deai_loop_task(deai_loop *loop, deai_task_fn *fn, void *user) {
  task *added = calloc(1, sizeof *added);
  DEAI_ASSERT(added != NULL); /* a lost task would lose an end of a call */
  added->fn = fn;
  added->user = user;
  (void)pthread_mutex_lock(&loop->lock);
  bool first = loop->task_first == NULL;
  *loop->task_last = added;
  loop->task_last = &added->next;
  (void)pthread_cond_signal(&loop->changed);
  (void)pthread_mutex_unlock(&loop->lock);
  bool in_turn = deai_loop_on_thread(loop) && loop->in_turn; /* then its end looks at the list */
  if (first && !in_turn) event_active(loop->wake, EV_READ, 0);
}

void deai_loop_work(deai_loop *loop, deai_task_fn *work, deai_task_fn *done, void *user) {
  if (loop->worker_count == 0) {
    deai_loop_task(loop, work, user);
    deai_loop_task(loop, done, user);
    return;
  }
  work_item *item = calloc(1, sizeof *item);
  DEAI_ASSERT(item != NULL);
  item->work = work;
  item->done = done;
  item->user = user;
  (void)pthread_mutex_lock(&loop->lock);
  *loop->work_last = item;
  loop->work_last = &item->next;
  loop->work_count++;
  (void)pthread_cond_signal(&loop->work_ready);
  (void)pthread_mutex_unlock(&loop->lock);
}

void deai_loop_drain(deai_loop *loop) {
  while (tasks_run(loop))
    continue;
}

void deai_loop_settle(deai_loop *loop) {
  bool more = true;
  while (more) {
    deai_loop_drain(loop);
    (void)pthread_mutex_lock(&loop->lock);
    while (loop->work_count > 0 && loop->task_first == NULL)
      (void)pthread_cond_wait(&loop->changed, &loop->lock);
    more = loop->work_count > 0 || loop->task_first != NULL;
    (void)pthread_mutex_unlock(&loop->lock);
  }
}

static void on_timer(evutil_socket_t fd, short what, void *user) {
  (void)fd, (void)what;
  deai_timer *timer = user;
  timed_run(timer->loop, timer->fn, timer->user); /* which may free the timer */
}

deai_timer *deai_timer_new(deai_loop *loop, deai_task_fn *fn, void *user) {
  deai_timer *timer = calloc(1, sizeof *timer);
  if (timer == NULL) return NULL;
  timer->loop = loop;
  timer->fn = fn;
  timer->user = user;
  timer->event = event_new(loop->base, -1, 0, on_timer, timer);
  if (timer->event == NULL) {
    free(timer);
    return NULL;
  }
  return timer;
}

void deai_timer_set(deai_timer *timer, uint64_t delay_ms) {
  struct timeval delay = {.tv_sec = (time_t)(delay_ms / 1000),
                          .tv_usec = (suseconds_t)(delay_ms % 1000 * 1000)};
  DEAI_ASSERT(event_add(timer->event, &delay) == 0);
}

void deai_timer_clear(deai_timer *timer) {
  (void)event_del(timer->event);
}

void deai_timer_free(deai_timer *timer) {
  if (timer == NULL) return;
  (void)event_del(timer->event);
  event_free(timer->event);
  free(timer);
}

bool deai_loop_on_thread(const deai_loop *loop) {
  return pthread_equal(atomic_load(&loop->thread), pthread_self()) != 0;
}

uint32_t deai_loop_workers(const deai_loop *loop) {
  return loop->worker_count;
}

uint64_t deai_loop_slow_count(const deai_loop *loop) {
  return loop->slow_count;
}
