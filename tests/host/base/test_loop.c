/* The loop: order of tasks, tasks of other threads, timers, work, the end. */
#include "tests/testing.h"

#include "host/base/loop.h"

#include <pthread.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define THREADS 4
#define TASKS   5000

typedef struct counter {
  deai_loop *loop;
  uint32_t count;
  uint32_t goal;
  uint32_t order[16];
  uint32_t next;
  bool on_thread;
} counter;

typedef struct numbered {
  counter *to;
  uint32_t number;
} numbered;

static void count_one(void *user) {
  counter *at = user;
  at->on_thread = deai_loop_on_thread(at->loop);
  if (++at->count == at->goal) deai_loop_stop(at->loop);
}

static void note_number(void *user) {
  numbered *item = user;
  item->to->order[item->to->next++] = item->number;
}

START_TEST(tasks_that_never_ran_are_dropped) {
  counter to = {0};
  to.loop = deai_loop_new(deai_platform_system(), 2);
  ck_assert_ptr_nonnull(to.loop);
  ck_assert_uint_eq(deai_loop_workers(to.loop), 2);
  deai_loop_task(to.loop, count_one, &to);
  deai_loop_free(to.loop);
  ck_assert_uint_eq(to.count, 0);
  deai_loop_free(NULL);
  deai_timer_free(NULL);
}
END_TEST

START_TEST(tasks_run_once_in_order_and_never_inline) {
  counter to = {0};
  numbered items[3] = {{&to, 1}, {&to, 2}, {&to, 3}};
  to.loop = deai_loop_new(deai_platform_system(), 0);
  for (int i = 0; i < 3; i++)
    deai_loop_task(to.loop, note_number, &items[i]);
  ck_assert_uint_eq(to.next, 0);
  deai_loop_drain(to.loop);
  deai_loop_drain(to.loop);
  ck_assert_uint_eq(to.next, 3);
  ck_assert_uint_eq(to.order[0] * 100 + to.order[1] * 10 + to.order[2], 123);
  deai_loop_free(to.loop);
}
END_TEST

static void task_again(void *user) {
  counter *at = user;
  if (++at->count < at->goal) deai_loop_task(at->loop, task_again, at);
}

static void on_short_timer(void *user) {
  counter *at = user;
  deai_loop_stop(at->loop);
}

START_TEST(tasks_that_ask_for_tasks_do_not_starve_timers) {
  counter to = {.goal = UINT32_MAX};
  to.loop = deai_loop_new(deai_platform_system(), 0);
  deai_timer *timer = deai_timer_new(to.loop, on_short_timer, &to);
  deai_timer_set(timer, 5);
  deai_loop_task(to.loop, task_again, &to);
  deai_loop_run(to.loop); /* returns: the timer had its turn */
  ck_assert_uint_gt(to.count, 0);
  deai_timer_free(timer);
  deai_loop_free(to.loop);
}
END_TEST

static void *post_many(void *user) {
  counter *at = user;
  bool here = deai_loop_on_thread(at->loop);
  for (int i = 0; i < TASKS; i++)
    deai_loop_task(at->loop, count_one, at);
  return here ? user : NULL;
}

START_TEST(tasks_of_other_threads_run_on_the_loop) {
  counter to = {.goal = THREADS * TASKS};
  pthread_t threads[THREADS];
  to.loop = deai_loop_new(deai_platform_system(), 0);
  for (int i = 0; i < THREADS; i++)
    ck_assert_int_eq(pthread_create(&threads[i], NULL, post_many, &to), 0);
  deai_loop_run(to.loop);
  for (int i = 0; i < THREADS; i++) {
    void *was_on_loop = NULL;
    ck_assert_int_eq(pthread_join(threads[i], &was_on_loop), 0);
    ck_assert_ptr_null(was_on_loop);
  }
  ck_assert_uint_eq(to.count, THREADS * TASKS);
  ck_assert(to.on_thread);
  deai_loop_free(to.loop);
}
END_TEST

typedef struct work {
  counter *to;
  bool worked;
  bool elsewhere;
} work;

static void do_work(void *user) {
  work *item = user;
  item->worked = true;
  item->elsewhere = !deai_loop_on_thread(item->to->loop);
}

static void work_done(void *user) {
  work *item = user;
  ck_assert(item->worked);
  if (++item->to->count == item->to->goal) deai_loop_stop(item->to->loop);
}

START_TEST(work_runs_on_a_worker_and_is_done_on_the_loop) {
  enum { COUNT = 500 };
  static work items[COUNT];
  counter to = {.goal = COUNT};
  to.loop = deai_loop_new(deai_platform_system(), _i == 0 ? 3 : 0);
  for (int i = 0; i < COUNT; i++) {
    items[i] = (work){.to = &to};
    deai_loop_work(to.loop, do_work, work_done, &items[i]);
  }
  deai_loop_run(to.loop);
  ck_assert_uint_eq(to.count, COUNT);
  for (int i = 0; i < COUNT; i++)
    ck_assert_int_eq(items[i].elsewhere, _i == 0);
  deai_loop_free(to.loop);
}
END_TEST

START_TEST(the_end_waits_for_work_but_not_for_its_second_half) {
  work items[8];
  counter to = {.goal = 100};
  to.loop = deai_loop_new(deai_platform_system(), 1);
  for (int i = 0; i < 8; i++) {
    items[i] = (work){.to = &to};
    deai_loop_work(to.loop, do_work, work_done, &items[i]);
  }
  deai_loop_free(to.loop);
  for (int i = 0; i < 8; i++)
    ck_assert(items[i].worked);
  ck_assert_uint_eq(to.count, 0);
}
END_TEST

static void work_again(void *user) {
  work *item = user;
  work_done(user);
  if (item->to->count < 50) deai_loop_work(item->to->loop, do_work, work_again, user);
}

START_TEST(settling_waits_for_work_that_asks_for_more_work) {
  work items[8];
  counter to = {.goal = 1000};
  to.loop = deai_loop_new(deai_platform_system(), _i == 0 ? 3 : 0);
  deai_loop_settle(to.loop); /* nothing to wait for */
  for (int i = 0; i < 8; i++) {
    items[i] = (work){.to = &to};
    deai_loop_work(to.loop, do_work, work_again, &items[i]);
  }
  deai_loop_settle(to.loop);
  ck_assert_uint_ge(to.count, 50);
  uint32_t settled = to.count;
  deai_loop_drain(to.loop);
  ck_assert_uint_eq(to.count, settled);
  deai_loop_free(to.loop);
}
END_TEST

typedef struct timer_test {
  deai_loop *loop;
  deai_timer *timer;
  deai_timer *other;
  uint64_t begin_ns;
  uint32_t fired;
} timer_test;

static void timer_frees_itself(void *user) {
  timer_test *at = user;
  at->fired++;
  deai_timer_free(at->timer);
  deai_loop_stop(at->loop);
}

static void timer_must_not(void *user) {
  (void)user;
  ck_abort_msg("a timer that was cleared ran");
}

START_TEST(timers_fire_once_and_may_free_themselves) {
  timer_test at = {0};
  at.loop = deai_loop_new(deai_platform_system(), 0);
  at.timer = deai_timer_new(at.loop, timer_frees_itself, &at);
  at.other = deai_timer_new(at.loop, timer_must_not, &at);
  at.begin_ns = deai_loop_now_ns(at.loop);
  deai_timer_set(at.timer, 60000);
  deai_timer_set(at.timer, 20); /* again: the new time counts */
  deai_timer_set(at.other, 1);
  deai_timer_clear(at.other);
  deai_loop_run(at.loop);
  uint64_t took_ns = deai_loop_now_ns(at.loop) - at.begin_ns;
  ck_assert_uint_eq(at.fired, 1);
  ck_assert_uint_ge(took_ns, UINT64_C(15000000));
  ck_assert_uint_lt(took_ns, UINT64_C(20000000000));
  deai_timer_free(at.other);
  deai_loop_free(at.loop);
}
END_TEST

/* A clock that the test moves. */
static uint64_t fake_ns;

static uint64_t fake_now(void *state) {
  (void)state;
  return fake_ns;
}

static void be_slow(void *user) {
  (void)user;
  fake_ns += (DEAI_LOOP_SLOW_MS + 1) * UINT64_C(1000000);
}

START_TEST(slow_callbacks_are_counted) {
  deai_platform platform = *deai_platform_system();
  platform.now_ns = fake_now;
  deai_loop *loop = deai_loop_new(&platform, 0);
  ck_assert_ptr_eq(deai_loop_platform(loop), &platform);
  deai_loop_task(loop, be_slow, NULL);
  deai_loop_drain(loop);
  ck_assert_uint_eq(deai_loop_slow_count(loop), 1);
  ck_assert_uint_eq(deai_loop_now_ns(loop), fake_ns);
  ck_assert_ptr_nonnull(deai_loop_base(loop));
  deai_loop_free(loop);
}
END_TEST

static void *run_elsewhere(void *user) {
  deai_loop_run(user);
  return NULL;
}

START_TEST(stop_may_come_from_any_thread) {
  counter to = {.goal = 1};
  pthread_t thread;
  to.loop = deai_loop_new(deai_platform_system(), 0);
  ck_assert_int_eq(pthread_create(&thread, NULL, run_elsewhere, to.loop), 0);
  deai_loop_task(to.loop, count_one, &to);
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
  ck_assert(to.on_thread); /* the thread that runs it is the loop's */
  deai_loop_free(to.loop);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("loop");
  TCase *tests = tcase_create("loop");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, tasks_that_never_ran_are_dropped);
  tcase_add_test(tests, tasks_run_once_in_order_and_never_inline);
  tcase_add_test(tests, tasks_that_ask_for_tasks_do_not_starve_timers);
  tcase_add_test(tests, tasks_of_other_threads_run_on_the_loop);
  tcase_add_loop_test(tests, work_runs_on_a_worker_and_is_done_on_the_loop, 0, 2);
  tcase_add_test(tests, the_end_waits_for_work_but_not_for_its_second_half);
  tcase_add_loop_test(tests, settling_waits_for_work_that_asks_for_more_work, 0, 2);
  tcase_add_test(tests, timers_fire_once_and_may_free_themselves);
  tcase_add_test(tests, slow_callbacks_are_counted);
  tcase_add_test(tests, stop_may_come_from_any_thread);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
