/* Shared buffers: owners are counted, also on threads. */
#include "tests/testing.h"

#include "host/base/buffer.h"

#include <pthread.h>

#include "host/base/banned.h"

#define THREADS 4
#define ROUNDS  20000

START_TEST(refuses_what_no_machine_has) {
  uint64_t before = deai_buffer_total();
  ck_assert_ptr_null(deai_buffer_new(UINT64_MAX));
  ck_assert_ptr_null(deai_buffer_new(UINT64_MAX - 16));
  ck_assert_uint_eq(deai_buffer_total(), before);
  deai_buffer_drop(NULL);
}
END_TEST

START_TEST(counts_bytes_until_the_last_owner_has_gone) {
  uint64_t before = deai_buffer_total();
  deai_buffer *buffer = deai_buffer_of(deai_bytes_of("hello", 5));
  ck_assert_ptr_nonnull(buffer);
  ck_assert_uint_eq(buffer->len, 5);
  ck_assert_mem_eq(buffer->ptr, "hello", 5);
  ck_assert_uint_eq(deai_buffer_total(), before + 5);
  ck_assert_ptr_eq(deai_buffer_keep(buffer), buffer);
  deai_buffer_drop(buffer);
  ck_assert_uint_eq(deai_buffer_total(), before + 5);
  deai_buffer_drop(buffer);
  ck_assert_uint_eq(deai_buffer_total(), before);
  deai_buffer *empty = deai_buffer_of(deai_bytes_of(NULL, 0));
  ck_assert_ptr_nonnull(empty);
  deai_buffer_drop(empty);
}
END_TEST

static void *keep_and_drop(void *user) {
  deai_buffer *buffer = user;
  for (int i = 0; i < ROUNDS; i++)
    deai_buffer_drop(deai_buffer_keep(buffer));
  deai_buffer_drop(buffer);
  return NULL;
}

START_TEST(owners_live_on_any_thread) {
  uint64_t before = deai_buffer_total();
  pthread_t threads[THREADS];
  deai_buffer *buffer = deai_buffer_new(100);
  ck_assert_ptr_nonnull(buffer);
  for (int i = 0; i < THREADS; i++)
    ck_assert_int_eq(pthread_create(&threads[i], NULL, keep_and_drop, deai_buffer_keep(buffer)), 0);
  for (int i = 0; i < THREADS; i++)
    ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
  ck_assert_uint_eq(deai_buffer_total(), before + 100);
  deai_buffer_drop(buffer);
  ck_assert_uint_eq(deai_buffer_total(), before);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("buffer");
  TCase *tests = tcase_create("owners");
  tcase_add_test(tests, refuses_what_no_machine_has);
  tcase_add_test(tests, counts_bytes_until_the_last_owner_has_gone);
  tcase_add_test(tests, owners_live_on_any_thread);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
