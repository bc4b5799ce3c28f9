#include "workers.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "host/base/banned.h"

typedef struct job_list {
  blocks_job *first;
  blocks_job **last;
} job_list;

struct blocks_workers {
  const deai_host *host;
  deai_ctx *ctx;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  job_list queue;
  job_list news; /* done, not delivered yet */
  bool posted;   /* a delivery is on its way */
  bool stopping;
  uint32_t count;
  pthread_t threads[BLOCKS_WORKERS_MAX];
};

static void list_push(job_list *list, blocks_job *job) {
  job->next = NULL;
  *list->last = job;
  list->last = &job->next;
}

static blocks_job *list_take(job_list *list) {
  blocks_job *job = list->first;
  if (job == NULL) return NULL;
  list->first = job->next;
  if (list->first == NULL) list->last = &list->first;
  return job;
}

static void deliver(deai_inst *inst, void *user) {
  blocks_workers *workers = user;
  (void)pthread_mutex_lock(&workers->mutex);
  blocks_job *job = workers->news.first;
  workers->news.first = NULL;
  workers->news.last = &workers->news.first;
  workers->posted = false;
  (void)pthread_mutex_unlock(&workers->mutex);
  while (job != NULL) {
    blocks_job *next = job->next;
    job->done(inst, job);
    job = next;
  }
}

/* announce asks the host for a delivery, unless one is on its way; the mutex is held. */
static void announce(blocks_workers *workers) {
  if (workers->posted || workers->news.first == NULL) return;
  workers->posted = workers->host->post(workers->ctx, deliver, workers) == DEAI_OK;
}

/* worker_wait waits for a job, or for a while when a post was refused; the mutex is held. */
static void worker_wait(blocks_workers *workers) {
  struct timespec until;
  if (workers->posted || workers->news.first == NULL) {
    (void)pthread_cond_wait(&workers->changed, &workers->mutex);
    return;
  }
  (void)clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += (long)BLOCKS_WORKERS_RETRY_MS * 1000000L;
  if (until.tv_nsec >= 1000000000L) {
    until.tv_nsec -= 1000000000L;
    until.tv_sec++;
  }
  (void)pthread_cond_timedwait(&workers->changed, &workers->mutex, &until);
  announce(workers);
}

static void *worker_main(void *user) {
  blocks_workers *workers = user;
  (void)pthread_mutex_lock(&workers->mutex);
  while (!workers->stopping) {
    blocks_job *job = list_take(&workers->queue);
    if (job == NULL) {
      worker_wait(workers);
      continue;
    }
    (void)pthread_mutex_unlock(&workers->mutex);
    job->work(job);
    (void)pthread_mutex_lock(&workers->mutex);
    list_push(&workers->news, job);
    announce(workers);
  }
  (void)pthread_mutex_unlock(&workers->mutex);
  return NULL;
}

blocks_workers *blocks_workers_start(const deai_host *host, deai_ctx *ctx, uint32_t count) {
  pthread_condattr_t attributes;
  blocks_workers *workers = calloc(1, sizeof *workers);
  if (workers == NULL) return NULL;
  workers->host = host;
  workers->ctx = ctx;
  workers->queue.last = &workers->queue.first;
  workers->news.last = &workers->news.first;
  (void)pthread_condattr_init(&attributes);
  (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  (void)pthread_cond_init(&workers->changed, &attributes);
  (void)pthread_condattr_destroy(&attributes);
  (void)pthread_mutex_init(&workers->mutex, NULL);
  while (workers->count < count && workers->count < BLOCKS_WORKERS_MAX) {
    if (pthread_create(&workers->threads[workers->count], NULL, worker_main, workers) != 0) {
      blocks_workers_stop(workers);
      return NULL;
    }
    workers->count++;
  }
  return workers;
}

void blocks_workers_add(blocks_workers *workers, blocks_job *job) {
  (void)pthread_mutex_lock(&workers->mutex);
  list_push(&workers->queue, job);
  (void)pthread_cond_signal(&workers->changed);
  (void)pthread_mutex_unlock(&workers->mutex);
}

void blocks_workers_stop(blocks_workers *workers) {
  if (workers == NULL) return;
  (void)pthread_mutex_lock(&workers->mutex);
  workers->stopping = true;
  (void)pthread_cond_broadcast(&workers->changed);
  (void)pthread_mutex_unlock(&workers->mutex);
  for (uint32_t i = 0; i < workers->count; i++)
    (void)pthread_join(workers->threads[i], NULL);
  (void)pthread_mutex_destroy(&workers->mutex);
  (void)pthread_cond_destroy(&workers->changed);
  free(workers);
}
