#include "plugins/compute/cpu/pool.h"

#include "tests/testing.h"

#include <stdatomic.h>
#include <time.h>

#include "host/base/banned.h"

#define ROUNDS 200

typedef struct count {
  lm_pool *pool;
  uint32_t threads;
  _Atomic uint32_t steps[3];
  _Atomic uint32_t wrong;
} count;

static void work(void *user, uint32_t thread) {
  count *c = user;
  (void)thread;
  for (int i = 0; i < 3; i++) {
    (void)atomic_fetch_add(&c->steps[i], 1);
    lm_pool_barrier(c->pool);
    if (atomic_load(&c->steps[i]) != c->threads) (void)atomic_fetch_add(&c->wrong, 1);
    lm_pool_barrier(c->pool);
  }
}

START_TEST(wrong_sizes_are_refused) {
  lm_pool *pool = NULL;
  ck_assert_int_eq(lm_pool_open(0, &pool), DEAI_EINVAL);
  ck_assert_int_eq(lm_pool_open(65, &pool), DEAI_EINVAL);
  ck_assert_ptr_null(pool);
  lm_pool_close(NULL);
}
END_TEST

START_TEST(barriers_hold_every_thread) {
  for (uint32_t threads = 1; threads <= 4; threads++) {
    count c = {.threads = threads};
    ck_assert_int_eq(lm_pool_open(threads, &c.pool), DEAI_OK);
    for (int round = 0; round < ROUNDS; round++) {
      for (int i = 0; i < 3; i++)
        atomic_store(&c.steps[i], 0);
      lm_pool_run(c.pool, work, &c);
    }
    ck_assert_uint_eq(atomic_load(&c.wrong), 0);
    lm_pool_close(c.pool);
  }
}
END_TEST

START_TEST(idle_helpers_sleep) {
  count c = {.threads = 3};
  ck_assert_int_eq(lm_pool_open(3, &c.pool), DEAI_OK);
  lm_pool_run(c.pool, work, &c);
  clock_t before = clock();
  struct timespec second = {.tv_nsec = 300000000};
  ck_assert_int_eq(nanosleep(&second, NULL), 0); /* what is measured is what happens meanwhile */
  ck_assert_double_lt((double)(clock() - before) / CLOCKS_PER_SEC, 0.05);
  lm_pool_close(c.pool);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("pool");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, wrong_sizes_are_refused);
  tcase_add_test(tests, barriers_hold_every_thread);
  tcase_add_test(tests, idle_helpers_sleep);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
