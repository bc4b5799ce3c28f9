/* The core of every call: windows, held parts, ends, cancel, deadline, retry, payment, drops. */
#include "tests/testing.h"

#include "host/base/buffer.h"
#include "tests/host/router/ends.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/base/banned.h"

#define SEEDS      100u
#define STEPS      400u
#define CALLEE_MAX 4u

/* What the hooks saw, and what they shall do. */
typedef struct watch {
  deai_loop *loop;
  uint32_t over;
  uint32_t to_callee;
  uint32_t from_callee;
  uint32_t unpaid; /* the next parts of the callee are not yet paid */
  uint32_t retries;
  int32_t retry_status; /* what the retry hook saw */
  uint32_t retry_max;   /* how many more callees there are */
  test_end *callees;
  uint32_t callee_at;
  void (*next_on_part)(test_end *end, const deai_part *part); /* of the callees to come */
} watch;

static deai_loop *loop;
static test_end caller;
static test_end callees[CALLEE_MAX];
static watch seen;
static uint64_t buffers_before;

#define callee callees[seen.callee_at]

static void hook_to_callee(void *user, deai_call *call, const deai_part *part) {
  (void)call, (void)part;
  watch *at = user;
  at->to_callee++;
}

static int32_t hook_from_callee(void *user, deai_call *call, deai_part *part) {
  (void)call;
  watch *at = user;
  at->from_callee++;
  if ((part->flags & DEAI_PART_END) == 0 && at->unpaid > 0) {
    at->unpaid--;
    return DEAI_EAGAIN;
  }
  return DEAI_OK;
}

static int32_t hook_retry(void *user, deai_call *call, int32_t status, deai_str why) {
  (void)why;
  watch *at = user;
  at->retries++;
  at->retry_status = status;
  if (at->retry_max == 0 || at->callee_at + 1 == CALLEE_MAX) return status;
  at->retry_max--;
  at->callee_at++;
  at->callees[at->callee_at] = test_end_of(at->loop, DEAI_SIDE_CALLEE);
  at->callees[at->callee_at].call = call;
  at->callees[at->callee_at].on_part = at->next_on_part;
  deai_call_attach(call, &test_callee_ops, &at->callees[at->callee_at]);
  return DEAI_OK;
}

static void hook_over(void *user, deai_call *call) {
  (void)call;
  watch *at = user;
  at->over++;
}

static const deai_call_hooks all_hooks = {.to_callee = hook_to_callee,
                                          .from_callee = hook_from_callee,
                                          .retry = hook_retry,
                                          .over = hook_over};

static void setup(void) {
  buffers_before = deai_buffer_total();
  loop = deai_loop_new(deai_platform_system(), 0);
  ck_assert_ptr_nonnull(loop);
}

static void teardown(void) {
  deai_loop_drain(loop);
  ck_assert_uint_eq(seen.over, 1); /* the call is gone: nothing holds it */
  ck_assert_uint_eq(deai_buffer_total(), buffers_before);
  deai_loop_free(loop);
}

static bool from_member; /* the next call is a member's */

static void begin_unattached(uint64_t time_ms) {
  deai_call_spec spec = {.service = deai_str_of("test/1"),
                         .method = deai_str_of("m"),
                         .time_ms = time_ms,
                         .caller_class = DEAI_CLASS_LOCAL,
                         .caller_kind = from_member ? DEAI_CALLER_PEER : DEAI_CALLER_PLUGIN,
                         .caller_id = deai_bytes_of("abc", 3)};
  from_member = false;
  caller = test_end_of(loop, DEAI_SIDE_CALLER);
  for (uint32_t i = 0; i < CALLEE_MAX; i++)
    callees[i] = test_end_of(loop, DEAI_SIDE_CALLEE);
  seen = (watch){.loop = loop, .callees = callees};
  caller.call = deai_call_new(loop, &spec, &test_caller_ops, &caller);
  ck_assert_ptr_nonnull(caller.call);
  deai_call_hook(caller.call, &all_hooks, &seen);
}

static void begin(uint64_t time_ms) {
  begin_unattached(time_ms);
  callee.call = caller.call;
  deai_call_attach(caller.call, &test_callee_ops, &callee);
}

static void run_until_closed(test_end *end) {
  end->stop_at_close = true;
  if (end->closed == 0) deai_loop_run(loop);
  end->stop_at_close = false;
}

static void expect_over(int32_t status) {
  deai_loop_drain(loop);
  ck_assert_uint_eq(caller.ends, 1);
  ck_assert_int_eq(caller.status, status);
  ck_assert_uint_eq(caller.closed, 1);
  ck_assert_uint_eq(seen.over, 1);
}

/* ---- what is refused ---- */

START_TEST(refuses_parts_beyond_their_limits) {
  static uint8_t head[DEAI_HEAD_MAX + 1];
  static char why[DEAI_CALL_WHY_MAX + 1];
  begin(10000);
  deai_part part = {.size = (uint32_t)sizeof part, .attachment = -1};
  part.args = deai_bytes_of(head, sizeof head);
  ck_assert_int_eq(deai_call_send(caller.call, DEAI_SIDE_CALLER, &part), DEAI_ETOOLARGE);
  part.args.len = 0;
  part.body = deai_bytes_of(head, DEAI_BODY_MAX + UINT64_C(1));
  ck_assert_int_eq(deai_call_send(caller.call, DEAI_SIDE_CALLER, &part), DEAI_ETOOLARGE);
  part.body.len = 0;
  part.why = (deai_str){why, sizeof why};
  ck_assert_int_eq(deai_call_send(callee.call, DEAI_SIDE_CALLEE, &part), DEAI_ETOOLARGE);
  ck_assert_uint_eq(seen.from_callee, 0); /* nothing was counted for what was refused */
  part.why.len = 0;
  part.attachment = 10000; /* no descriptor */
  ck_assert_int_eq(deai_call_send(caller.call, DEAI_SIDE_CALLER, &part), DEAI_EIO);
  deai_call_fail(callee.call, DEAI_EINVAL, "no");
  expect_over(DEAI_EINVAL);
  ck_assert_uint_eq(callee.parts, 0);
}
END_TEST

START_TEST(takes_nothing_after_an_end) {
  begin(10000);
  ck_assert_int_eq(test_send(&caller, "a", 0, DEAI_PART_END, 0), DEAI_OK);
  ck_assert_int_eq(test_send(&caller, "b", 0, 0, 0), DEAI_ENOTFOUND);
  ck_assert_int_eq(test_send(&callee, "c", 0, DEAI_PART_END, 0), DEAI_OK);
  ck_assert_int_eq(test_send(&callee, "d", 0, DEAI_PART_END, DEAI_EIO), DEAI_ENOTFOUND);
  deai_call_fail(callee.call, DEAI_EIO, "late");
  ck_assert(deai_call_ended(callee.call));
  expect_over(DEAI_OK);
  ck_assert_uint_eq(callee.closed, 1);
}
END_TEST

START_TEST(caps_the_time) {
  begin(UINT64_MAX);
  ck_assert_uint_eq(deai_call_about(caller.call)->time_ms, DEAI_CALL_TIME_MAX_MS);
  uint64_t left_ms = deai_call_time_left_ms(caller.call);
  ck_assert_uint_gt(left_ms, DEAI_CALL_TIME_MAX_MS - UINT64_C(1000));
  ck_assert_uint_le(left_ms, DEAI_CALL_TIME_MAX_MS);
  deai_call_fail(callee.call, DEAI_EBUSY, "x");
  expect_over(DEAI_EBUSY);
}
END_TEST

/* ---- windows ---- */

START_TEST(a_full_window_blocks_and_drains_once) {
  begin(10000);
  uint32_t sent = 0;
  callee.refuse = 1;
  while (test_send(&caller, NULL, 65536, 0, 0) == DEAI_OK)
    sent++;
  ck_assert_uint_eq(sent, DEAI_WINDOW_MAX / 65536);
  deai_loop_drain(loop);
  ck_assert_uint_eq(callee.parts, 0);
  ck_assert_uint_eq(caller.drains, 0); /* held: nothing moves */
  deai_call_resume(callee.call, DEAI_SIDE_CALLEE);
  deai_call_resume(callee.call, DEAI_SIDE_CALLEE); /* again: nothing to resume */
  deai_loop_drain(loop);
  ck_assert_uint_eq(callee.parts, sent);
  ck_assert_uint_eq(caller.drains, 1);
  ck_assert_uint_eq(caller.consumed, (uint64_t)sent * 65536);
  ck_assert_int_eq(test_send(&caller, NULL, DEAI_BODY_MAX, 0, 0), DEAI_OK); /* one fits always */
  ck_assert_int_eq(test_send(&caller, "x", 0, 0, 0), DEAI_EAGAIN);
  ck_assert_int_eq(test_send(&caller, "x", 0, DEAI_PART_END, 0), DEAI_OK); /* an END always */
  deai_call_fail(callee.call, DEAI_OK, "%s", "");
  expect_over(DEAI_OK);
  ck_assert_uint_eq(caller.drains, 1); /* no drain after its own END */
}
END_TEST

START_TEST(many_small_parts_are_limited_too) {
  begin(10000);
  callee.refuse = 1;
  for (uint32_t i = 0; i < DEAI_CALL_PARTS_MAX; i++)
    ck_assert_int_eq(test_send(&caller, NULL, 0, 0, 0), DEAI_OK);
  ck_assert_int_eq(test_send(&caller, NULL, 0, 0, 0), DEAI_EAGAIN);
  deai_loop_drain(loop);
  deai_call_resume(callee.call, DEAI_SIDE_CALLEE);
  deai_loop_drain(loop);
  ck_assert_uint_eq(callee.parts, DEAI_CALL_PARTS_MAX);
  ck_assert_uint_eq(caller.drains, 1);
  deai_call_fail(callee.call, DEAI_EIO, "x");
  expect_over(DEAI_EIO);
}
END_TEST

START_TEST(a_link_takes_more_than_a_window) {
  static uint8_t body[DEAI_BODY_MAX];
  begin(10000);
  deai_part part = {
      .size = (uint32_t)sizeof part, .attachment = -1, .body = deai_bytes_of(body, sizeof body)};
  for (uint32_t i = 0; i < DEAI_CALL_TAKE_MAX / DEAI_BODY_MAX; i++)
    ck_assert_int_eq(deai_call_take(caller.call, DEAI_SIDE_CALLER, &part), DEAI_OK);
  ck_assert_int_eq(deai_call_take(caller.call, DEAI_SIDE_CALLER, &part), DEAI_EAGAIN);
  test_drop(&callee, DEAI_EPLUGIN_DIED, "gone");
  expect_over(DEAI_EPLUGIN_DIED);
}
END_TEST

START_TEST(buffers_are_shared_and_attachments_duplicated) {
  begin(10000);
  deai_buffer *buffer = deai_buffer_of(deai_bytes_of("hello", 5));
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  ck_assert_int_ge(fd, 0);
  deai_part part = {.size = (uint32_t)sizeof part,
                    .attachment = fd,
                    .buffer = buffer,
                    .body = deai_bytes_of(buffer->ptr + 1, 3)};
  ck_assert_int_eq(deai_call_send(caller.call, DEAI_SIDE_CALLER, &part), DEAI_OK);
  ck_assert_int_eq(deai_call_send(caller.call, DEAI_SIDE_CALLER, &part), DEAI_OK);
  (void)close(fd);
  deai_buffer_drop(buffer);
  test_drop(&callee, DEAI_EPLUGIN_DIED, "gone"); /* not delivered: the call closes both copies */
  expect_over(DEAI_EPLUGIN_DIED);
  int again = open("/dev/null", O_RDONLY | O_CLOEXEC);
  ck_assert_int_eq(again, fd);
  (void)close(again);
}
END_TEST

/* ---- cancel and time ---- */

START_TEST(cancel_ends_the_caller_at_once_and_tells_the_callee_once) {
  begin(10000);
  ck_assert_int_eq(test_send(&callee, "late", 0, 0, 0), DEAI_OK);
  deai_call_cancel(caller.call, DEAI_ECANCELLED);
  deai_call_cancel(caller.call, DEAI_EIO);
  deai_loop_drain(loop);
  ck_assert_uint_eq(caller.parts, 1); /* the END alone: what waited is dropped */
  ck_assert_int_eq(caller.status, DEAI_ECANCELLED);
  ck_assert_uint_eq(caller.closed, 1);
  ck_assert_uint_eq(callee.cancels, 1);
  ck_assert_int_eq(callee.cancel_status, DEAI_ECANCELLED);
  ck_assert_uint_eq(callee.closed, 0);                         /* it has time to end */
  ck_assert_int_eq(test_send(&callee, "x", 0, 0, 0), DEAI_OK); /* nobody reads it */
  ck_assert_int_eq(test_send(&callee, "x", 0, DEAI_PART_END, 0), DEAI_OK);
  ck_assert_uint_eq(callee.closed, 1);
}
END_TEST

static void cancel_now(test_end *end, const deai_part *part) {
  (void)part;
  end->on_part = NULL;
  deai_call_cancel(end->call, DEAI_ECANCELLED);
}

START_TEST(cancel_inside_the_callers_part) {
  begin(10000);
  caller.on_part = cancel_now;
  for (int i = 0; i < 3; i++)
    ck_assert_int_eq(test_send(&callee, NULL, 50000, 0, 0), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_uint_eq(caller.parts, 2); /* the first, then the END */
  ck_assert_int_eq(caller.status, DEAI_ECANCELLED);
  test_drop(&callee, DEAI_EIO, "x");
}
END_TEST

static void cancel_and_refuse(test_end *end, const deai_part *part) {
  (void)part;
  deai_call_cancel(callees[0].call, DEAI_ECANCELLED);
  end->on_part = NULL;
}

START_TEST(cancel_inside_the_callees_part) {
  begin(10000);
  callee.on_part = cancel_and_refuse;
  ck_assert_int_eq(test_send(&caller, NULL, 50000, 0, 0), DEAI_OK);
  ck_assert_int_eq(test_send(&caller, NULL, 50000, 0, 0), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_uint_eq(callee.parts, 1);
  ck_assert_uint_eq(callee.cancels, 1);
  ck_assert_uint_eq(caller.closed, 1);
  ck_assert_int_eq(test_send(&callee, NULL, 0, DEAI_PART_END, 0), DEAI_OK);
}
END_TEST

START_TEST(cancel_after_the_end_changes_nothing) {
  begin(10000);
  caller.refuse = 1;
  ck_assert_int_eq(test_send(&callee, "answer", 0, DEAI_PART_END, 0), DEAI_OK);
  deai_loop_drain(loop);
  deai_call_cancel(caller.call, DEAI_ECANCELLED);
  ck_assert_uint_eq(callee.cancels, 0);
  deai_call_resume(caller.call, DEAI_SIDE_CALLER);
  expect_over(DEAI_OK);
}
END_TEST

START_TEST(the_deadline_cancels) {
  begin(20);
  run_until_closed(&caller);
  ck_assert_int_eq(caller.status, DEAI_ETIMEDOUT);
  ck_assert_ptr_nonnull(strstr(caller.why, "expected an answer in the time given"));
  ck_assert_uint_eq(callee.cancels, 1);
  ck_assert_int_eq(callee.cancel_status, DEAI_ETIMEDOUT);
  ck_assert_uint_eq(deai_call_time_left_ms(callee.call), 0);
  deai_call_fail(callee.call, DEAI_ETIMEDOUT, "x");
}
END_TEST

START_TEST(no_time_is_no_answer) {
  begin_unattached(0);
  run_until_closed(&caller);
  ck_assert_int_eq(caller.status, DEAI_ETIMEDOUT);
}
END_TEST

START_TEST(a_callee_that_never_ends_is_closed_after_its_grace) {
  begin(10000);
  deai_call_cancel(caller.call, DEAI_ECANCELLED);
  deai_loop_drain(loop);
  ck_assert_uint_eq(caller.closed, 1);
  uint64_t begin_ns = deai_loop_now_ns(loop);
  run_until_closed(&callee);
  ck_assert_uint_ge(deai_loop_now_ns(loop) - begin_ns, UINT64_C(4000000000));
}
END_TEST

START_TEST(a_member_that_cancels_gets_the_callees_end) {
  from_member = true;
  begin(10000);
  ck_assert_int_eq(test_send(&callee, "late", 0, 0, 0), DEAI_OK);
  deai_call_cancel(caller.call, DEAI_ECANCELLED);
  deai_loop_drain(loop);
  ck_assert_uint_eq(caller.ends, 0);
  ck_assert_uint_eq(callee.cancels, 1);
  ck_assert_int_eq(test_send(&callee, "x", 0, 0, 0), DEAI_OK); /* nobody reads it */
  uint32_t settled = seen.from_callee;
  if (_i == 0) ck_assert_int_eq(test_send(&callee, "body", 0, DEAI_PART_END, 0), DEAI_OK);
  if (_i == 1) test_drop(&callee, DEAI_EPLUGIN_DIED, "it died");
  if (_i == 2) run_until_closed(&caller); /* the grace is over */
  if (_i == 3) {
    test_drop(&caller, DEAI_EPEER_LOST, "");
    ck_assert_int_eq(test_send(&callee, NULL, 0, DEAI_PART_END, 0), DEAI_OK);
    ck_assert_uint_eq(callee.closed, 1);
    return;
  }
  expect_over(DEAI_ECANCELLED);
  ck_assert_uint_eq(caller.parts, 1);
  ck_assert_uint_eq(caller.bytes, 0);
  ck_assert_uint_eq(caller.consumed, 0);
  ck_assert_uint_eq(seen.from_callee - settled, _i == 0 ? 1 : 0); /* its END got a receipt */
}
END_TEST

/* ---- drops ---- */

START_TEST(a_dropped_caller_cancels) {
  begin(10000);
  ck_assert_int_eq(test_send(&caller, "x", 0, 0, 0), DEAI_OK);
  test_drop(&caller, DEAI_ECANCELLED, "");
  deai_loop_drain(loop);
  ck_assert_uint_eq(callee.cancels, 1);
  ck_assert_uint_eq(callee.parts, 0);
  ck_assert_uint_eq(seen.over, 0);
  ck_assert_int_eq(test_send(&callee, NULL, 0, DEAI_PART_END, 0), DEAI_OK);
  ck_assert_uint_eq(callee.closed, 1);
}
END_TEST

START_TEST(a_dropped_caller_with_an_ended_callee_is_over) {
  begin(10000);
  caller.refuse = 1;
  ck_assert_int_eq(test_send(&callee, "x", 0, DEAI_PART_END, 0), DEAI_OK);
  deai_loop_drain(loop);
  test_drop(&caller, DEAI_ECANCELLED, "");
  ck_assert_uint_eq(callee.closed, 1);
  ck_assert_uint_eq(callee.cancels, 0);
}
END_TEST

START_TEST(a_dropped_callee_ends_the_call_with_its_reason) {
  begin(10000);
  test_drop(&callee, DEAI_EPEER_LOST, "the member is gone");
  expect_over(DEAI_EPEER_LOST);
  ck_assert_str_eq(caller.why, "the member is gone");
}
END_TEST

START_TEST(both_dropped) {
  begin(10000);
  if (_i == 0) test_drop(&caller, DEAI_ECANCELLED, "");
  test_drop(&callee, DEAI_EPEER_LOST, "x");
  if (_i == 1) test_drop(&caller, DEAI_ECANCELLED, "");
  deai_loop_drain(loop);
  ck_assert_uint_eq(caller.parts, 0);
}
END_TEST

static void drop_now(test_end *end, const deai_part *part) {
  (void)part;
  test_drop(end, DEAI_EPLUGIN_DIED, "dropped inside");
}

START_TEST(an_end_may_drop_itself_inside_part) {
  begin(10000);
  test_end *who = _i == 0 ? &caller : &callee;
  who->on_part = drop_now;
  ck_assert_int_eq(test_send(&caller, NULL, 50000, 0, 0), DEAI_OK);
  ck_assert_int_eq(test_send(&callee, NULL, 50000, 0, 0), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_uint_eq(who->parts, 1);
  if (_i == 0) {
    ck_assert_uint_eq(callee.cancels, 1);
    test_drop(&callee, DEAI_EIO, "");
  } else {
    expect_over(DEAI_EPLUGIN_DIED);
  }
}
END_TEST

/* ---- retry ---- */

static void expect_text(const test_end *end, const char *text) {
  ck_assert_uint_eq(end->last_len, strlen(text));
  ck_assert_mem_eq(end->last, text, strlen(text));
}

START_TEST(a_lost_callee_is_replaced_with_all_parts_kept) {
  begin(10000);
  seen.retry_max = 1;
  ck_assert_int_eq(test_send(&caller, "one", 0, 0, 0), DEAI_OK);
  ck_assert_int_eq(test_send(&caller, "two", 0, 0, 0), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_uint_eq(callees[0].parts, 2);
  ck_assert_uint_eq(caller.consumed, 6);
  ck_assert_int_eq(test_send(&caller, "three", 0, DEAI_PART_END, 0), DEAI_OK);
  test_drop(&callees[0], DEAI_EPEER_LOST, "gone");
  ck_assert_int_eq(seen.retry_status, DEAI_EPEER_LOST);
  deai_loop_drain(loop);
  ck_assert_uint_eq(callees[1].parts, 3);
  expect_text(&callees[1], "three");
  ck_assert_uint_eq(caller.consumed, 11); /* each byte once, although some went twice */
  ck_assert_int_eq(test_send(&callees[1], "ok", 0, DEAI_PART_END, 0), DEAI_OK);
  expect_over(DEAI_OK);
}
END_TEST

static void fail_busy(test_end *end, const deai_part *part) {
  deai_call *call = end->call;
  const uint8_t first = part->body.ptr[0];
  deai_call_fail(call, DEAI_EBUSY, "busy");
  ck_assert_uint_eq(part->body.ptr[0], first); /* the part lives until the callback returns */
}

START_TEST(a_callee_that_refuses_the_first_part_is_replaced_with_it) {
  begin(10000);
  seen.retry_max = 2;
  callees[0].on_part = fail_busy;
  ck_assert_int_eq(test_send(&caller, "one", 0, DEAI_PART_END, 0), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_uint_eq(callees[0].closed, 1);
  ck_assert_uint_eq(callees[1].parts, 1);
  expect_text(&callees[1], "one");
  ck_assert_uint_eq(caller.consumed, 3);
  deai_call_fail(callees[1].call, DEAI_EPLUGIN_DIED, "x");
  deai_loop_drain(loop);
  ck_assert_uint_eq(callees[2].parts, 1);
  ck_assert_int_eq(test_send(&callees[2], "ok", 0, DEAI_PART_END, 0), DEAI_OK);
  expect_over(DEAI_OK);
  ck_assert_uint_eq(seen.retries, 2);
}
END_TEST

START_TEST(without_another_callee_the_reason_of_the_last_arrives) {
  begin(10000);
  seen.retry_max = 1;
  callees[0].on_part = fail_busy;
  ck_assert_int_eq(test_send(&caller, "one", 0, DEAI_PART_END, 0), DEAI_OK);
  deai_loop_drain(loop);
  deai_call_fail(callees[1].call, DEAI_EPLUGIN_DIED, "the last");
  expect_over(DEAI_EPLUGIN_DIED);
  ck_assert_str_eq(caller.why, "the last");
}
END_TEST

START_TEST(no_retry_after_the_first_part) {
  begin(10000);
  seen.retry_max = 1;
  ck_assert_int_eq(test_send(&callee, "part", 0, 0, 0), DEAI_OK);
  if (_i == 0) deai_loop_drain(loop); /* delivered, or still on its way */
  test_drop(&callee, DEAI_EPEER_LOST, "gone");
  ck_assert_uint_eq(seen.retries, 0);
  expect_over(DEAI_EPEER_LOST);
  ck_assert_uint_eq(caller.parts, 2);
}
END_TEST

START_TEST(no_retry_when_too_much_would_be_kept) {
  begin(10000);
  seen.retry_max = 1;
  for (int i = 0; i < 3; i++) {
    ck_assert_int_eq(test_send(&caller, NULL, DEAI_BODY_MAX, 0, 0), DEAI_OK);
    deai_loop_drain(loop);
  }
  test_drop(&callee, DEAI_EPEER_LOST, "gone");
  ck_assert_uint_eq(seen.retries, 0);
  expect_over(DEAI_EPEER_LOST);
}
END_TEST

static void close_attachment(test_end *end, const deai_part *part) {
  (void)end;
  if (part->attachment >= 0) (void)close(part->attachment);
}

START_TEST(no_retry_when_a_descriptor_was_handed_over) {
  begin(10000);
  seen.retry_max = 1;
  callee.on_part = close_attachment;
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  deai_part part = {.size = (uint32_t)sizeof part, .attachment = fd};
  ck_assert_int_eq(deai_call_send(caller.call, DEAI_SIDE_CALLER, &part), DEAI_OK);
  (void)close(fd);
  deai_loop_drain(loop);
  test_drop(&callee, DEAI_EPEER_LOST, "gone");
  ck_assert_uint_eq(seen.retries, 0);
  expect_over(DEAI_EPEER_LOST);
}
END_TEST

START_TEST(a_held_part_goes_to_the_next_callee) {
  begin(10000);
  seen.retry_max = 1;
  callee.refuse = 1;
  ck_assert_int_eq(test_send(&caller, "one", 0, 0, 0), DEAI_OK);
  deai_loop_drain(loop);
  test_drop(&callee, DEAI_EPEER_LOST, "gone");
  deai_loop_drain(loop);
  ck_assert_uint_eq(callees[1].parts, 1);
  deai_call_cancel(caller.call, DEAI_ECANCELLED);
  test_drop(&callees[1], DEAI_EIO, "x");
  ck_assert_uint_eq(seen.retries, 1); /* none for who gave up */
  expect_over(DEAI_ECANCELLED);
}
END_TEST

/* ---- payment ---- */

START_TEST(an_unpaid_part_waits_with_its_sender) {
  begin(10000);
  deai_loop_drain(loop);
  seen.unpaid = 2;
  ck_assert_int_eq(test_send(&callee, "a", 0, 0, 0), DEAI_EAGAIN);
  deai_loop_drain(loop);
  ck_assert_uint_eq(callee.drains, 0);
  deai_call_reopen(callee.call);
  deai_call_reopen(callee.call);
  deai_loop_drain(loop);
  ck_assert_uint_eq(callee.drains, 1);
  ck_assert_int_eq(test_send(&callee, "a", 0, 0, 0), DEAI_EAGAIN);
  ck_assert_int_eq(test_send(&callee, "a", 0, DEAI_PART_END, 0), DEAI_OK); /* taken always */
  expect_over(DEAI_OK);
}
END_TEST

static void take_text(test_end *end, const char *text, uint32_t flags) {
  deai_part part = {.size = (uint32_t)sizeof part,
                    .flags = flags,
                    .attachment = -1,
                    .units = 1,
                    .body = deai_bytes_of(text, strlen(text))};
  ck_assert_int_eq(deai_call_take(end->call, DEAI_SIDE_CALLEE, &part), DEAI_OK);
}

START_TEST(an_unpaid_part_of_a_link_waits_in_the_call) {
  begin(10000);
  seen.unpaid = 2;
  take_text(&callee, "a", 0);
  take_text(&callee, "b", 0); /* behind a: not asked for yet */
  take_text(&callee, "end", DEAI_PART_END);
  deai_loop_drain(loop);
  ck_assert_uint_eq(caller.parts, 0);
  ck_assert_uint_eq(seen.from_callee, 1);
  deai_call_reopen(callee.call); /* still not paid */
  deai_loop_drain(loop);
  ck_assert_uint_eq(caller.parts, 0);
  seen.unpaid = 0;
  deai_call_reopen(callee.call);
  expect_over(DEAI_OK);
  ck_assert_uint_eq(caller.parts, 3);
  ck_assert_uint_eq(caller.units, 3);
  ck_assert_uint_eq(callee.consumed, 5);
}
END_TEST

START_TEST(an_unpaid_call_still_ends) {
  begin(_i == 0 ? 20 : 10000);
  seen.unpaid = 100;
  take_text(&callee, "a", 0);
  take_text(&callee, "end", DEAI_PART_END);
  deai_loop_drain(loop);
  ck_assert_uint_eq(caller.ends, 0);
  if (_i == 1) deai_call_cancel(caller.call, DEAI_ECANCELLED);
  if (_i == 2) test_drop(&caller, DEAI_ECANCELLED, "");
  if (_i == 2) return;
  run_until_closed(&caller);
  ck_assert_int_eq(caller.status, _i == 0 ? DEAI_ETIMEDOUT : DEAI_ECANCELLED);
  ck_assert_uint_eq(caller.parts, 1);
  ck_assert_uint_eq(callee.cancels, 0); /* it had ended */
}
END_TEST

/* ---- a random machine ---- */

static uint32_t random_state;

static uint32_t draw(uint32_t below) {
  random_state = random_state * 1664525u + 1013904223u;
  return (random_state >> 8) % below;
}

typedef struct numbers {
  uint32_t sent; /* the number of the last part that was taken */
  uint32_t got;
} numbers;

static numbers to_callee;
static numbers to_caller;

static void number_check(test_end *end, const deai_part *part) {
  numbers *line = end->side == DEAI_SIDE_CALLEE ? &to_callee : &to_caller;
  uint32_t number = 0;
  if (part->body.len < sizeof number) return; /* an END of the core */
  memcpy(&number, part->body.ptr, sizeof number);
  bool first_of_another = end->side == DEAI_SIDE_CALLEE && end->parts == 1;
  ck_assert_uint_eq(number, first_of_another ? 1 : line->got + 1);
  line->got = number;
  if (draw(40) == 0 && end->call != NULL) deai_call_cancel(end->call, DEAI_ECANCELLED);
  if (draw(60) == 0 && end->side == DEAI_SIDE_CALLEE && end->call != NULL && end->closed == 0)
    deai_call_fail(end->call, DEAI_EBUSY, "busy");
}

static void number_send(test_end *end, numbers *line, bool is_end) {
  static uint8_t body[70000];
  uint32_t number = line->sent + 1;
  if (end->call == NULL) return;
  memcpy(body, &number, sizeof number);
  deai_part part = {.size = (uint32_t)sizeof part,
                    .flags = is_end ? DEAI_PART_END : 0,
                    .attachment = -1,
                    .body = deai_bytes_of(body, 4 + draw(draw(4) == 0 ? 69990 : 50))};
  int32_t status = end->side == DEAI_SIDE_CALLEE && draw(2) == 0
                       ? deai_call_take(end->call, end->side, &part)
                       : deai_call_send(end->call, end->side, &part);
  ck_assert(status == DEAI_OK || status == DEAI_EAGAIN || status == DEAI_ENOTFOUND);
  ck_assert(!is_end || status != DEAI_EAGAIN);
  if (status == DEAI_OK) line->sent = number;
}

static void machine_step(void) {
  switch (draw(16)) {
  case 0:
  case 1:
  case 2:
    number_send(&caller, &to_callee, draw(30) == 0);
    break;
  case 3:
  case 4:
  case 5:
    number_send(&callee, &to_caller, draw(60) == 0);
    break;
  case 6:
    caller.refuse = draw(3);
    break;
  case 7:
    callee.refuse = draw(3);
    break;
  case 8:
    if (caller.call != NULL) deai_call_resume(caller.call, DEAI_SIDE_CALLER);
    break;
  case 9:
    if (callee.call != NULL) deai_call_resume(callee.call, DEAI_SIDE_CALLEE);
    break;
  case 10:
    seen.unpaid = draw(3);
    if (callee.call != NULL) deai_call_reopen(callee.call);
    break;
  case 11:
    if (draw(40) == 0 && caller.call != NULL) deai_call_cancel(caller.call, DEAI_ECANCELLED);
    break;
  case 12:
    if (draw(60) == 0 && caller.call != NULL) test_drop(&caller, DEAI_ECANCELLED, "");
    break;
  case 13:
    if (draw(30) == 0 && callee.call != NULL) test_drop(&callee, DEAI_EPEER_LOST, "lost");
    break;
  default:
    deai_loop_drain(loop);
  }
}

START_TEST(a_random_life_keeps_the_rules) {
  random_state = 7919u * (uint32_t)_i + 1;
  to_callee = (numbers){0};
  to_caller = (numbers){0};
  begin(10000);
  seen.retry_max = draw(3);
  caller.on_part = number_check;
  callees[0].on_part = number_check;
  seen.next_on_part = number_check;
  for (uint32_t step = 0; step < STEPS && seen.over == 0; step++)
    machine_step();
  caller.refuse = 0;
  seen.unpaid = 0;
  if (caller.call != NULL) deai_call_cancel(caller.call, DEAI_ECANCELLED);
  if (caller.call != NULL) deai_call_resume(caller.call, DEAI_SIDE_CALLER);
  if (callee.call != NULL) deai_call_reopen(callee.call);
  if (callee.call != NULL) test_drop(&callee, DEAI_EPEER_LOST, "end of the test");
  deai_loop_drain(loop);
  if (!caller.dropped) {
    ck_assert_uint_eq(caller.ends, 1);
    ck_assert_uint_eq(caller.closed, 1);
  }
  for (uint32_t i = 0; i <= seen.callee_at; i++)
    ck_assert(callees[i].closed == 1 || callees[i].dropped);
  ck_assert_uint_le(to_callee.got, to_callee.sent);
  ck_assert_uint_le(to_caller.got, to_caller.sent);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("call");
  TCase *tests = tcase_create("core");
  tcase_set_timeout(tests, 60);
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, refuses_parts_beyond_their_limits);
  tcase_add_test(tests, takes_nothing_after_an_end);
  tcase_add_test(tests, caps_the_time);
  tcase_add_test(tests, a_full_window_blocks_and_drains_once);
  tcase_add_test(tests, many_small_parts_are_limited_too);
  tcase_add_test(tests, a_link_takes_more_than_a_window);
  tcase_add_test(tests, buffers_are_shared_and_attachments_duplicated);
  tcase_add_test(tests, cancel_ends_the_caller_at_once_and_tells_the_callee_once);
  tcase_add_test(tests, cancel_inside_the_callers_part);
  tcase_add_test(tests, cancel_inside_the_callees_part);
  tcase_add_test(tests, cancel_after_the_end_changes_nothing);
  tcase_add_test(tests, the_deadline_cancels);
  tcase_add_test(tests, no_time_is_no_answer);
  tcase_add_test(tests, a_callee_that_never_ends_is_closed_after_its_grace);
  tcase_add_loop_test(tests, a_member_that_cancels_gets_the_callees_end, 0, 4);
  tcase_add_test(tests, a_dropped_caller_cancels);
  tcase_add_test(tests, a_dropped_caller_with_an_ended_callee_is_over);
  tcase_add_test(tests, a_dropped_callee_ends_the_call_with_its_reason);
  tcase_add_loop_test(tests, both_dropped, 0, 2);
  tcase_add_loop_test(tests, an_end_may_drop_itself_inside_part, 0, 2);
  tcase_add_test(tests, a_lost_callee_is_replaced_with_all_parts_kept);
  tcase_add_test(tests, a_callee_that_refuses_the_first_part_is_replaced_with_it);
  tcase_add_test(tests, without_another_callee_the_reason_of_the_last_arrives);
  tcase_add_loop_test(tests, no_retry_after_the_first_part, 0, 2);
  tcase_add_test(tests, no_retry_when_too_much_would_be_kept);
  tcase_add_test(tests, no_retry_when_a_descriptor_was_handed_over);
  tcase_add_test(tests, a_held_part_goes_to_the_next_callee);
  tcase_add_test(tests, an_unpaid_part_waits_with_its_sender);
  tcase_add_test(tests, an_unpaid_part_of_a_link_waits_in_the_call);
  tcase_add_loop_test(tests, an_unpaid_call_still_ends, 0, 3);
  tcase_add_loop_test(tests, a_random_life_keeps_the_rules, 0, SEEDS);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
