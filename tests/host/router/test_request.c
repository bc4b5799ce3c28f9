/* Calls served by the host itself: put together, answered now or later, dropped. */
#include "tests/testing.h"

#include "host/request.h"
#include "tests/host/router/ends.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "host/base/banned.h"

typedef struct handler {
  uint32_t served;
  uint32_t drains;
  deai_request *kept;
  bool keep;
  bool answer;
} handler;

static deai_loop *loop;
static test_end caller;
static handler host;

static void on_drain(void *user, deai_request *request) {
  handler *at = user;
  (void)request;
  at->drains++;
}

static void on_request(void *user, deai_request *request) {
  handler *at = user;
  at->served++;
  ck_assert(deai_request_open(request));
  ck_assert_ptr_nonnull(deai_request_about(request));
  ck_assert_uint_gt(deai_request_time_ms(request), 0);
  if (at->keep) {
    at->kept = deai_request_keep(request);
    deai_request_on_drain(request, on_drain, at);
  }
  if (at->answer)
    deai_request_end(request, DEAI_OK, deai_request_args(request), deai_request_body(request));
}

static void setup(void) {
  deai_call_spec spec = {
      .service = deai_str_of("s/1"), .method = deai_str_of("m"), .time_ms = 10000};
  loop = deai_loop_new(deai_platform_system(), 0);
  caller = test_end_of(loop, DEAI_SIDE_CALLER);
  host = (handler){0};
  caller.call = deai_call_new(loop, &spec, &test_caller_ops, &caller);
  ck_assert_int_eq(deai_request_serve(caller.call, 100, on_request, &host), DEAI_OK);
}

static void teardown(void) {
  deai_loop_drain(loop);
  deai_loop_free(loop);
}

static void send_args(const char *args, const char *body, uint32_t flags) {
  deai_part part = {.size = (uint32_t)sizeof part,
                    .flags = flags,
                    .attachment = -1,
                    .args = deai_bytes_of(args, strlen(args)),
                    .body = deai_bytes_of(body, strlen(body))};
  ck_assert_int_eq(deai_call_send(caller.call, DEAI_SIDE_CALLER, &part), DEAI_OK);
}

START_TEST(refuses_a_body_beyond_its_limit) {
  ck_assert_int_eq(test_send(&caller, NULL, 60, 0, 0), DEAI_OK);
  ck_assert_int_eq(test_send(&caller, NULL, 41, DEAI_PART_END, 0), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_uint_eq(host.served, 0);
  ck_assert_int_eq(caller.status, DEAI_ETOOLARGE);
  ck_assert_str_eq(caller.why, "expected a body of at most 100 bytes, found more");
}
END_TEST

START_TEST(closes_a_descriptor_nobody_asked_for) {
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  deai_part part = {.size = (uint32_t)sizeof part, .flags = DEAI_PART_END, .attachment = fd};
  host.answer = true;
  ck_assert_int_eq(deai_call_send(caller.call, DEAI_SIDE_CALLER, &part), DEAI_OK);
  (void)close(fd);
  deai_loop_drain(loop);
  ck_assert_int_eq(caller.status, DEAI_OK);
  int again = open("/dev/null", O_RDONLY | O_CLOEXEC);
  ck_assert_int_eq(again, fd);
  (void)close(again);
}
END_TEST

START_TEST(what_comes_after_the_caller_has_gone_is_dropped) {
  host.keep = true;
  send_args("\xa0", "", DEAI_PART_END);
  deai_loop_drain(loop);
  ck_assert_uint_eq(host.served, 1);
  deai_call_cancel(caller.call, DEAI_ECANCELLED);
  ck_assert(!deai_request_open(host.kept));
  deai_loop_drain(loop);
  ck_assert_ptr_null(deai_request_about(host.kept));
  ck_assert_uint_eq(deai_request_time_ms(host.kept), 0);
  ck_assert_int_eq(deai_request_part(host.kept, deai_bytes_of("\xa0", 1), deai_bytes_of(NULL, 0)),
                   DEAI_ENOTFOUND);
  deai_request_end(host.kept, DEAI_OK, deai_bytes_of(NULL, 0), deai_bytes_of(NULL, 0));
  deai_request_fail(host.kept, DEAI_EIO, "late");
  ck_assert_uint_ge(host.drains, 1); /* told that the caller has gone */
  ck_assert_int_eq(caller.status, DEAI_ECANCELLED);
  deai_request_drop(host.kept);
}
END_TEST

START_TEST(a_cancel_before_it_is_whole_serves_nothing) {
  send_args("\xa0", "a", 0);
  deai_loop_drain(loop);
  deai_call_cancel(caller.call, DEAI_ETIMEDOUT);
  deai_loop_drain(loop);
  ck_assert_uint_eq(host.served, 0);
  ck_assert_int_eq(caller.status, DEAI_ETIMEDOUT);
}
END_TEST

START_TEST(puts_head_and_body_together) {
  host.answer = true;
  send_args("\xa1", "ab", 0);
  send_args("\xa2", "cd", 0);
  send_args("", "e", DEAI_PART_END);
  deai_loop_drain(loop);
  ck_assert_uint_eq(host.served, 1);
  ck_assert_int_eq(caller.status, DEAI_OK);
  ck_assert_uint_eq(caller.last_len, 5);
  ck_assert_mem_eq(caller.last, "abcde", 5);
}
END_TEST

START_TEST(parts_stop_at_a_full_window_and_go_on_after_drain) {
  static uint8_t body[65536];
  deai_bytes none = deai_bytes_of(NULL, 0);
  host.keep = true;
  send_args("\xa0", "", DEAI_PART_END);
  deai_loop_drain(loop);
  uint32_t sent = 0;
  while (deai_request_part(host.kept, none, deai_bytes_of(body, sizeof body)) == DEAI_OK)
    sent++;
  ck_assert_uint_eq(sent, DEAI_WINDOW_MAX / sizeof body);
  ck_assert_uint_eq(host.drains, 0);
  deai_loop_drain(loop);
  ck_assert_uint_eq(host.drains, 1);
  ck_assert_uint_eq(caller.parts, sent);
  deai_request_end(host.kept, DEAI_OK, none, none);
  deai_request_end(host.kept, DEAI_EIO, none, none);
  deai_loop_drain(loop);
  ck_assert_uint_eq(caller.ends, 1);
  deai_request_drop(host.kept);
}
END_TEST

START_TEST(an_answer_that_does_not_fit_becomes_an_error) {
  static uint8_t body[DEAI_BODY_MAX + 1];
  host.keep = true;
  send_args("\xa0", "", DEAI_PART_END);
  deai_loop_drain(loop);
  deai_request_end(host.kept, DEAI_OK, deai_bytes_of(NULL, 0), deai_bytes_of(body, sizeof body));
  deai_loop_drain(loop);
  ck_assert_int_eq(caller.status, DEAI_ETOOLARGE);
  deai_request_drop(host.kept);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("request");
  TCase *tests = tcase_create("request");
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, refuses_a_body_beyond_its_limit);
  tcase_add_test(tests, closes_a_descriptor_nobody_asked_for);
  tcase_add_test(tests, what_comes_after_the_caller_has_gone_is_dropped);
  tcase_add_test(tests, a_cancel_before_it_is_whole_serves_nothing);
  tcase_add_test(tests, puts_head_and_body_together);
  tcase_add_test(tests, parts_stop_at_a_full_window_and_go_on_after_drain);
  tcase_add_test(tests, an_answer_that_does_not_fit_becomes_an_error);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
