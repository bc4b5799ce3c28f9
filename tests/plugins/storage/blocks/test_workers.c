#include "plugins/storage/blocks/workers.h"
#include "tests/testing.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "host/base/banned.h"

/* A host of the test: posts wait until the test, as the loop, runs them. */
typedef struct test_host {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  void (*call)(deai_inst *inst, void *user);
  void *user;
  uint32_t refuse; /* so many posts */
  uint32_t posts;
} test_host;

typedef struct test_job {
  blocks_job job; /* first */
  atomic_uint worked;
  uint32_t done;
  pthread_mutex_t *gate; /* work waits for it, or NULL */
} test_job;

static test_host host_state = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                               .changed = PTHREAD_COND_INITIALIZER};

static int32_t post(deai_ctx *ctx, void (*call)(deai_inst *inst, void *user), void *user) {
  (void)ctx;
  int32_t status = DEAI_EAGAIN;
  (void)pthread_mutex_lock(&host_state.mutex);
  if (host_state.refuse > 0) {
    host_state.refuse--;
  } else {
    ck_assert(host_state.call == NULL); /* one post is on its way, never two */
    host_state.call = call;
    host_state.user = user;
    host_state.posts++;
    status = DEAI_OK;
  }
  (void)pthread_cond_signal(&host_state.changed);
  (void)pthread_mutex_unlock(&host_state.mutex);
  return status;
}

static const deai_host host = {.size = (uint32_t)sizeof host, .post = post};

/* turn waits for the next post and runs it. */
static void turn(void) {
  (void)pthread_mutex_lock(&host_state.mutex);
  while (host_state.call == NULL)
    (void)pthread_cond_wait(&host_state.changed, &host_state.mutex);
  void (*call)(deai_inst * inst, void *user) = host_state.call;
  host_state.call = NULL;
  (void)pthread_mutex_unlock(&host_state.mutex);
  call(NULL, host_state.user);
}

static void work(blocks_job *job) {
  test_job *mine = (test_job *)(void *)job;
  if (mine->gate != NULL) {
    (void)pthread_mutex_lock(mine->gate);
    (void)pthread_mutex_unlock(mine->gate);
  }
  atomic_fetch_add(&mine->worked, 1);
}

static void done(deai_inst *inst, blocks_job *job) {
  (void)inst;
  ((test_job *)(void *)job)->done++;
}

static void add(blocks_workers *workers, test_job *job) {
  job->job.work = work;
  job->job.done = done;
  blocks_workers_add(workers, &job->job);
}

START_TEST(every_job_is_done_once) {
  enum { JOBS = 200 };
  static test_job jobs[JOBS];
  uint32_t finished = 0;
  blocks_workers *workers = blocks_workers_start(&host, NULL, 2);
  ck_assert_ptr_nonnull(workers);
  for (int i = 0; i < JOBS; i++)
    add(workers, &jobs[i]);
  while (finished < JOBS) {
    turn();
    finished = 0;
    for (int i = 0; i < JOBS; i++)
      finished += jobs[i].done;
  }
  for (int i = 0; i < JOBS; i++) {
    ck_assert_uint_eq(atomic_load(&jobs[i].worked), 1);
    ck_assert_uint_eq(jobs[i].done, 1);
  }
  blocks_workers_stop(workers);
}
END_TEST

START_TEST(a_refused_post_is_tried_again) {
  test_job job;
  memset(&job, 0, sizeof job);
  host_state.refuse = 3;
  blocks_workers *workers = blocks_workers_start(&host, NULL, 1);
  add(workers, &job);
  turn();
  ck_assert_uint_eq(job.done, 1);
  ck_assert_uint_eq(host_state.refuse, 0);
  blocks_workers_stop(workers);
}
END_TEST

START_TEST(stop_waits_for_what_runs_and_drops_the_rest) {
  pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
  test_job jobs[2];
  memset(jobs, 0, sizeof jobs);
  jobs[0].gate = &gate;
  host_state.refuse = UINT32_MAX;
  blocks_workers *workers = blocks_workers_start(&host, NULL, 1);
  (void)pthread_mutex_lock(&gate);
  add(workers, &jobs[0]);
  add(workers, &jobs[1]);
  (void)pthread_mutex_unlock(&gate);
  blocks_workers_stop(workers);
  ck_assert_uint_eq(jobs[0].done + jobs[1].done, 0);
  ck_assert_uint_le(atomic_load(&jobs[0].worked), 1);
  blocks_workers_stop(NULL);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("workers");
  TCase *tests = tcase_create("workers");
  tcase_add_test(tests, every_job_is_done_once);
  tcase_add_test(tests, a_refused_post_is_tried_again);
  tcase_add_test(tests, stop_waits_for_what_runs_and_drops_the_rest);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
