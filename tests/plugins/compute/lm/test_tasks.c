#include "plugins/compute/lm/tasks.h"

#include "tests/testing.h"

#include <semaphore.h>
#include <stdlib.h>

#include "host/base/banned.h"

typedef struct counted {
  lm_task task;
  int number;
  int worked;
} counted;

typedef struct owner {
  int next; /* the number that must come */
} owner;

static sem_t ready;
static sem_t gate;
static int freed;

static void news(void *user) {
  (void)sem_post(user);
}

static void work(lm_task *task) {
  counted *c = (counted *)(void *)task;
  if (c->number == 0) (void)sem_wait(&gate);
  c->worked++;
}

static void done(void *user, lm_task *task) {
  owner *who = user;
  counted *c = (counted *)(void *)task;
  if (who != NULL) {
    ck_assert_int_eq(c->number, who->next++);
    ck_assert_int_eq(c->worked, 1);
  }
  freed++;
  free(c);
}

static void add(lm_tasks *tasks, int number) {
  counted *c = calloc(1, sizeof *c);
  ck_assert_ptr_nonnull(c);
  c->task = (lm_task){.work = work, .done = done};
  c->number = number;
  lm_tasks_add(tasks, &c->task);
}

static lm_tasks *open_tasks(void) {
  lm_tasks *tasks = NULL;
  freed = 0;
  ck_assert_int_eq(sem_init(&ready, 0, 0), 0);
  ck_assert_int_eq(sem_init(&gate, 0, 0), 0);
  ck_assert_int_eq(lm_tasks_open(news, &ready, &tasks), DEAI_OK);
  return tasks;
}

START_TEST(tasks_run_in_order_and_are_delivered_once) {
  owner who = {0};
  lm_tasks *tasks = open_tasks();
  lm_tasks_deliver(tasks, &who); /* nothing yet */
  for (int i = 0; i < 10; i++)
    add(tasks, i);
  ck_assert_int_eq(who.next, 0);
  (void)sem_post(&gate);
  while (who.next < 10) {
    ck_assert_int_eq(sem_wait(&ready), 0);
    lm_tasks_deliver(tasks, &who);
  }
  lm_tasks_close(tasks);
  ck_assert_int_eq(freed, 10);
}
END_TEST

START_TEST(a_close_frees_what_is_left) {
  lm_tasks *tasks = open_tasks();
  for (int i = 0; i < 10; i++)
    add(tasks, i);
  (void)sem_post(&gate);
  ck_assert_int_eq(sem_wait(&ready), 0); /* one at least is finished */
  lm_tasks_close(tasks);
  ck_assert_int_eq(freed, 10);
  lm_tasks_close(NULL);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("tasks");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, tasks_run_in_order_and_are_delivered_once);
  tcase_add_test(tests, a_close_frees_what_is_left);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
