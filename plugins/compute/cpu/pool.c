#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "host/base/banned.h"

#define SPINS_BEFORE_YIELD 1000u
#define LINGER_NS          200000 /* how long a helper looks for the next run before it sleeps */
#define THREADS_MAX        64u

struct lm_pool {
  _Alignas(64) _Atomic uint32_t arrived; /* at the barrier of this generation */
  _Alignas(64) _Atomic uint32_t generation;
  _Alignas(64) _Atomic uint64_t runs; /* a helper that sees a new number joins */
  _Atomic uint32_t sleepers;
  _Atomic bool ending;
  uint32_t threads;
  uint32_t started; /* helpers */
  lm_pool_work *work;
  void *user;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  pthread_t helpers[THREADS_MAX];
};

typedef struct helper_start {
  lm_pool *pool;
  uint32_t thread;
} helper_start;

static inline void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  atomic_signal_fence(memory_order_seq_cst);
#endif
}

void lm_pool_barrier(lm_pool *pool) {
  if (pool->threads == 1) return;
  uint32_t generation = atomic_load_explicit(&pool->generation, memory_order_acquire);
  if (atomic_fetch_add_explicit(&pool->arrived, 1, memory_order_acq_rel) + 1 == pool->threads) {
    atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->generation, generation + 1, memory_order_release);
    return;
  }
  uint32_t spins = 0;
  while (atomic_load_explicit(&pool->generation, memory_order_acquire) == generation) {
    if (++spins < SPINS_BEFORE_YIELD)
      relax();
    else
      (void)sched_yield();
  }
}

static int64_t now_ns(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* linger looks for a run other than seen for a moment. */
static bool linger(lm_pool *pool, uint64_t seen) {
  int64_t end = now_ns() + LINGER_NS;
  do {
    for (uint32_t i = 0; i < 64; i++) {
      if (atomic_load_explicit(&pool->runs, memory_order_acquire) != seen) return true;
      relax();
    }
  } while (now_ns() < end);
  return false;
}

static void wait_for_run(lm_pool *pool, uint64_t seen) {
  if (linger(pool, seen)) return;
  (void)pthread_mutex_lock(&pool->lock);
  (void)atomic_fetch_add(&pool->sleepers, 1);
  while (atomic_load(&pool->runs) == seen)
    (void)pthread_cond_wait(&pool->wake, &pool->lock);
  (void)atomic_fetch_sub(&pool->sleepers, 1);
  (void)pthread_mutex_unlock(&pool->lock);
}

static void *helper(void *given) {
  helper_start start = *(helper_start *)given;
  lm_pool *pool = start.pool;
  free(given);
  for (uint64_t seen = 0;; seen++) {
    wait_for_run(pool, seen);
    if (atomic_load(&pool->ending)) return NULL;
    pool->work(pool->user, start.thread);
    lm_pool_barrier(pool);
  }
}

/* announce begins a run: who lingers sees the number, who sleeps is woken. */
static void announce(lm_pool *pool) {
  (void)atomic_fetch_add(&pool->runs, 1);
  if (atomic_load(&pool->sleepers) == 0) return;
  (void)pthread_mutex_lock(&pool->lock);
  (void)pthread_cond_broadcast(&pool->wake);
  (void)pthread_mutex_unlock(&pool->lock);
}

void lm_pool_run(lm_pool *pool, lm_pool_work *work, void *user) {
  pool->work = work;
  pool->user = user;
  if (pool->threads > 1) announce(pool);
  work(user, 0);
  lm_pool_barrier(pool);
}

static bool start_helper(lm_pool *pool, uint32_t thread) {
  helper_start *start = malloc(sizeof *start);
  if (start == NULL) return false;
  *start = (helper_start){.pool = pool, .thread = thread};
  sigset_t all;
  sigset_t before;
  (void)sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the business of the host */
  int failed = pthread_create(&pool->helpers[pool->started], NULL, helper, start);
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failed != 0) {
    free(start);
    return false;
  }
  pool->started++;
  return true;
}

int32_t lm_pool_open(uint32_t threads, lm_pool **pool_out) {
  *pool_out = NULL;
  if (threads < 1 || threads > THREADS_MAX) return DEAI_EINVAL;
  lm_pool *pool = aligned_alloc(64, (sizeof *pool + 63) / 64 * 64);
  if (pool == NULL) return DEAI_ENOMEM;
  *pool = (lm_pool){.threads = threads};
  (void)pthread_mutex_init(&pool->lock, NULL);
  (void)pthread_cond_init(&pool->wake, NULL);
  for (uint32_t i = 1; i < threads; i++) {
    if (start_helper(pool, i)) continue;
    lm_pool_close(pool);
    return DEAI_EBUSY;
  }
  *pool_out = pool;
  return DEAI_OK;
}

void lm_pool_close(lm_pool *pool) {
  if (pool == NULL) return;
  atomic_store(&pool->ending, true);
  announce(pool);
  for (uint32_t i = 0; i < pool->started; i++)
    (void)pthread_join(pool->helpers[i], NULL);
  (void)pthread_cond_destroy(&pool->wake);
  (void)pthread_mutex_destroy(&pool->lock);
  free(pool);
}
