#include "plugins/compute/lm/writer.h"

#include "plugins/compute/cpu/cpu.h"
#include "tests/plugins/compute/cpu/run.h"
#include "tests/plugins/compute/lm/tiny.h"
#include "tests/testing.h"

#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define PROMPT 9

static const uint32_t prompt[PROMPT] = {72, 101, 108, 108, 111, 44, 32, 97, 98};

static lm_model *model;
static lm_engine *engine;
static lm_writer *writer;
static sem_t news;
static _Atomic uint64_t tokens;
static lm_backend_ops ops; /* the CPU's, whose forward can fail */
static bool broken;

static int32_t forward(lm_backend *backend, const lm_column *columns, uint32_t count,
                       const lm_outputs *outputs) {
  return broken ? DEAI_EIO : lm_cpu_backend()->forward(backend, columns, count, outputs);
}

static void on_news(void *user, uint64_t count) {
  tokens = count;
  (void)sem_post(user);
}

static void set_up(void) {
  tiny_file file = {0};
  tiny_options options = {.type = 3, .seed = 11};
  lm_engine_config config = {.caches = 3, .backend = {.threads = 1}};
  tiny_model(&file, &options, NULL);
  model = run_model(tiny_save(&file, "writer.gguf"), 0);
  tiny_free(&file);
  ops = *lm_cpu_backend();
  ops.forward = forward;
  ck_assert_int_eq(lm_engine_open(model, &ops, &config, &engine, NULL), DEAI_OK);
  ck_assert_int_eq(sem_init(&news, 0, 0), 0);
  ck_assert_int_eq(lm_writer_open(on_news, &news, &writer), DEAI_OK);
}

static void tear_down(void) {
  lm_writer_close(writer);
  lm_engine_close(engine);
  lm_model_close(model);
}

static lm_run run_of(uint32_t max) {
  return (lm_run){
      .engine = engine,
      .request = {.ids = prompt, .id_count = PROMPT, .max = max, .sampler = {.p = LM_MICRO}}};
}

static bool over(lm_run *run, uint32_t *count) {
  const lm_token *first = NULL;
  bool is_over = false;
  *count = lm_writer_peek(writer, run, &first, &is_over);
  return is_over;
}

static uint32_t read_all(lm_run *run) {
  uint32_t sum = 0;
  for (;;) {
    uint32_t count = 0;
    bool is_over = over(run, &count);
    lm_writer_drop(writer, run, count);
    sum += count;
    if (is_over) return sum;
    ck_assert_int_eq(sem_wait(&news), 0);
  }
}

START_TEST(a_wrong_request_ends_with_its_text) {
  lm_run run = run_of(TINY_CTX);
  lm_writer_add(writer, &run);
  ck_assert_uint_eq(read_all(&run), 0);
  ck_assert_int_eq(run.status, DEAI_EINVAL);
  ck_assert_ptr_nonnull(strstr(run.error.text, "160 tokens expected"));
  ck_assert(!run.lost);
}
END_TEST

START_TEST(tokens_wait_and_hold_the_run) {
  lm_run run = run_of(40);
  uint32_t count = 0;
  lm_writer_add(writer, &run);
  while (count < LM_RUN_AHEAD) {
    ck_assert_int_eq(sem_wait(&news), 0);
    ck_assert(!over(&run, &count));
  }
  ck_assert_uint_eq(count, LM_RUN_AHEAD);
  ck_assert_uint_eq(tokens, LM_RUN_AHEAD);
  ck_assert_uint_eq(read_all(&run), 40);
  ck_assert_int_eq(run.status, DEAI_OK);
  ck_assert_uint_eq(run.result.n, 40);
  ck_assert_uint_eq(tokens, 40);
}
END_TEST

START_TEST(a_token_knows_the_root_up_to_it) {
  lm_run run = run_of(5);
  const lm_token *first = NULL;
  bool is_over = false;
  lm_writer_add(writer, &run);
  while (!is_over) {
    ck_assert_int_eq(sem_wait(&news), 0);
    (void)lm_writer_peek(writer, &run, &first, &is_over);
  }
  const lm_token *third = first->next->next;
  lm_run shorter = run_of(3);
  lm_writer_add(writer, &shorter);
  ck_assert_uint_eq(read_all(&shorter), 3);
  ck_assert_uint_eq(third->n, 3);
  ck_assert_int_eq(memcmp(third->root, shorter.result.root, DEAI_HASH_BYTES), 0);
  lm_run_clear(&run);
}
END_TEST

START_TEST(a_paused_run_can_be_cancelled) {
  lm_run run = run_of(100);
  lm_run other = run_of(100);
  run.paused = true;
  lm_writer_add(writer, &run);
  lm_writer_add(writer, &other);
  ck_assert_uint_eq(read_all(&other), 100);
  lm_writer_cancel(writer, &run);
  ck_assert_uint_eq(read_all(&run), 0);
  ck_assert_int_eq(run.status, DEAI_ECANCELLED);
  ck_assert_uint_eq(lm_engine_load(engine), 0);
}
END_TEST

START_TEST(a_paused_run_goes_on) {
  lm_run run = run_of(10);
  run.paused = true;
  lm_writer_add(writer, &run);
  lm_writer_pause(writer, &run, false);
  ck_assert_uint_eq(read_all(&run), 10);
}
END_TEST

START_TEST(a_lost_device_ends_all_its_runs) {
  lm_run one = run_of(10);
  lm_run two = run_of(10);
  broken = true;
  lm_writer_add(writer, &one);
  lm_writer_add(writer, &two);
  ck_assert_uint_eq(read_all(&one) + read_all(&two), 0);
  ck_assert_int_eq(one.status, DEAI_EIO);
  ck_assert(one.lost && two.lost);
  ck_assert_ptr_nonnull(strstr(two.error.text, "device"));
}
END_TEST

START_TEST(a_close_ends_what_is_left) {
  static lm_run runs[3];
  for (int i = 0; i < 3; i++) {
    runs[i] = run_of(100);
    lm_writer_add(writer, &runs[i]);
  }
  ck_assert_int_eq(sem_wait(&news), 0);
  lm_writer_close(writer);
  writer = NULL;
  for (int i = 0; i < 3; i++) {
    ck_assert(runs[i].over);
    ck_assert_int_eq(runs[i].status, DEAI_ECANCELLED);
    lm_run_clear(&runs[i]);
  }
  ck_assert_uint_eq(lm_engine_load(engine), 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("writer");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_test(tests, a_wrong_request_ends_with_its_text);
  tcase_add_test(tests, tokens_wait_and_hold_the_run);
  tcase_add_test(tests, a_token_knows_the_root_up_to_it);
  tcase_add_test(tests, a_paused_run_can_be_cancelled);
  tcase_add_test(tests, a_paused_run_goes_on);
  tcase_add_test(tests, a_lost_device_ends_all_its_runs);
  tcase_add_test(tests, a_close_ends_what_is_left);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
