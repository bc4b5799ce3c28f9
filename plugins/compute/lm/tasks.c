#include "tasks.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "host/base/banned.h"

typedef struct queue {
  lm_task *first;
  lm_task **last;
} queue;

struct lm_tasks {
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t more;
  queue waiting;
  queue finished;
  bool stop;
  void (*news)(void *user);
  void *user;
};

static void push(queue *line, lm_task *task) {
  task->next = NULL;
  *line->last = task;
  line->last = &task->next;
}

static lm_task *pop(queue *line) {
  lm_task *task = line->first;
  if (task == NULL) return NULL;
  line->first = task->next;
  if (line->first == NULL) line->last = &line->first;
  return task;
}

static lm_task *wait_for_task(lm_tasks *tasks) {
  (void)pthread_mutex_lock(&tasks->lock);
  while (!tasks->stop && tasks->waiting.first == NULL)
    (void)pthread_cond_wait(&tasks->more, &tasks->lock);
  lm_task *task = tasks->stop ? NULL : pop(&tasks->waiting);
  (void)pthread_mutex_unlock(&tasks->lock);
  return task;
}

static void *thread_main(void *argument) {
  lm_tasks *tasks = argument;
  for (lm_task *task = wait_for_task(tasks); task != NULL; task = wait_for_task(tasks)) {
    task->work(task);
    (void)pthread_mutex_lock(&tasks->lock);
    push(&tasks->finished, task);
    (void)pthread_mutex_unlock(&tasks->lock);
    tasks->news(tasks->user);
  }
  return NULL;
}

int32_t lm_tasks_open(void (*news)(void *user), void *user, lm_tasks **tasks_out) {
  *tasks_out = NULL;
  lm_tasks *tasks = calloc(1, sizeof *tasks);
  if (tasks == NULL) return DEAI_ENOMEM;
  tasks->news = news;
  tasks->user = user;
  tasks->waiting.last = &tasks->waiting.first;
  tasks->finished.last = &tasks->finished.first;
  (void)pthread_mutex_init(&tasks->lock, NULL);
  (void)pthread_cond_init(&tasks->more, NULL);
  if (pthread_create(&tasks->thread, NULL, thread_main, tasks) != 0) {
    (void)pthread_cond_destroy(&tasks->more);
    (void)pthread_mutex_destroy(&tasks->lock);
    free(tasks);
    return DEAI_EBUSY;
  }
  *tasks_out = tasks;
  return DEAI_OK;
}

void lm_tasks_add(lm_tasks *tasks, lm_task *task) {
  (void)pthread_mutex_lock(&tasks->lock);
  push(&tasks->waiting, task);
  (void)pthread_cond_signal(&tasks->more);
  (void)pthread_mutex_unlock(&tasks->lock);
}

static lm_task *take_finished(lm_tasks *tasks) {
  (void)pthread_mutex_lock(&tasks->lock);
  lm_task *task = pop(&tasks->finished);
  (void)pthread_mutex_unlock(&tasks->lock);
  return task;
}

void lm_tasks_deliver(lm_tasks *tasks, void *owner) {
  for (lm_task *task = take_finished(tasks); task != NULL; task = take_finished(tasks))
    task->done(owner, task);
}

void lm_tasks_close(lm_tasks *tasks) {
  if (tasks == NULL) return;
  (void)pthread_mutex_lock(&tasks->lock);
  tasks->stop = true;
  (void)pthread_cond_signal(&tasks->more);
  (void)pthread_mutex_unlock(&tasks->lock);
  (void)pthread_join(tasks->thread, NULL);
  lm_tasks_deliver(tasks, NULL);
  for (lm_task *task = pop(&tasks->waiting); task != NULL; task = pop(&tasks->waiting))
    task->done(NULL, task);
  (void)pthread_cond_destroy(&tasks->more);
  (void)pthread_mutex_destroy(&tasks->lock);
  free(tasks);
}
