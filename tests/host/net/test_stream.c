/* A link over a byte stream: hostile bytes, frames cut anywhere, back-pressure, orderly close. */
#include "tests/testing.h"

#include "host/net/stream.h"
#include "tests/host/router/ends.h"

#include <event2/bufferevent.h>
#include <event2/event.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/base/banned.h"

#define LIMIT_NS UINT64_C(20000000000)

typedef struct side {
  deai_stream *stream;
  uint32_t closed;
  char why[DEAI_ERR_CAP];
  test_end served[64];
  uint32_t served_count;
  uint32_t updates;
  void (*on_part)(test_end *end, const deai_part *part);
} side;

static deai_loop *loop;
static side node;
static side member;
static int other = -1;

static deai_call *on_open(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                          void *end_user) {
  side *at = user;
  ck_assert_uint_lt(at->served_count, 64);
  test_end *end = &at->served[at->served_count++];
  *end = test_end_of(loop, DEAI_SIDE_CALLEE);
  end->on_part = at->on_part;
  end->call = deai_call_new(loop, spec, ops, end_user);
  deai_call_attach(end->call, &test_callee_ops, end);
  return end->call;
}

static void on_update(void *user, deai_str topic, deai_bytes value) {
  side *at = user;
  (void)topic, (void)value;
  at->updates++;
}

static void on_closed(void *user, const char *why) {
  side *at = user;
  at->closed++;
  (void)snprintf(at->why, sizeof at->why, "%s", why);
}

static const deai_link_ops ops = {.open = on_open, .update = on_update, .closed = on_closed};

static deai_stream *stream_of(side *at, int fd, bool dialled) {
  ck_assert_int_eq(evutil_make_socket_nonblocking(fd), 0);
  struct bufferevent *bev = bufferevent_socket_new(deai_loop_base(loop), fd, BEV_OPT_CLOSE_ON_FREE);
  deai_link_options options = {.loop = loop,
                               .kind = DEAI_LINK_PEER,
                               .dialled = dialled,
                               .body_max = DEAI_PEER_BODY_MAX,
                               .caller_class = DEAI_CLASS_MEMBER,
                               .lost_status = DEAI_EPEER_LOST,
                               .lost_why = "lost"};
  deai_stream *made = deai_stream_new(bev, &options, &ops, at);
  ck_assert_ptr_nonnull(made);
  deai_hello_head hello = {0};
  deai_link_hello(deai_stream_link(made), &hello);
  return made;
}

static void setup(void) {
  int pair[2];
  memset(&node, 0, sizeof node);
  memset(&member, 0, sizeof member);
  loop = deai_loop_new(deai_platform_system(), 0);
  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  node.stream = stream_of(&node, pair[0], false);
  other = pair[1];
}

static void join(void) {
  member.stream = stream_of(&member, other, true);
  other = -1;
}

static void side_end(side *gone) {
  deai_stream_free(gone->stream);
  for (uint32_t i = 0; i < gone->served_count; i++) {
    if (gone->served[i].call != NULL) test_drop(&gone->served[i], DEAI_EIO, "");
  }
}

static void teardown(void) {
  side_end(&node);
  side_end(&member);
  deai_stream_free(NULL);
  if (other >= 0) (void)close(other);
  other = -1;
  deai_loop_drain(loop);
  deai_loop_free(loop);
}

static void turn(void) {
  (void)event_base_loop(deai_loop_base(loop), EVLOOP_ONCE | EVLOOP_NONBLOCK);
  deai_loop_drain(loop);
}

static void put(const void *bytes, size_t len) {
  ck_assert_int_eq((int)send(other, bytes, len, MSG_NOSIGNAL), (int)len);
}

static void expect_closed(const char *why) {
  uint64_t begin_ns = deai_loop_now_ns(loop);
  while (node.closed == 0) {
    turn();
    ck_assert_uint_lt(deai_loop_now_ns(loop) - begin_ns, LIMIT_NS);
  }
  turn();
  ck_assert_uint_eq(node.closed, 1);
  ck_assert_msg(strstr(node.why, why) != NULL, "expected \"%s\", found \"%s\"", why, node.why);
}

static const uint8_t hello[] = {24, 0, 0, 0, 1, 0, 0,    0,    0,   0,    0,    0,   0,    0,
                                0,  0, 8, 0, 0, 0, 0xa2, 0x61, 'n', 0x60, 0x61, 'v', 0x81, 1};

START_TEST(a_length_outside_the_limits_ends_it_at_once) {
  static const uint8_t lengths[][4] = {
      {0, 0, 0, 0}, {15, 0, 0, 0}, {255, 255, 255, 255}, {17, 0, 2, 0}};
  put(lengths[_i], 4); /* the rest never comes and is not waited for */
  expect_closed("expected a frame within its limits");
}
END_TEST

START_TEST(a_frame_that_breaks_a_rule) {
  uint8_t bytes[sizeof hello];
  memcpy(bytes, hello, sizeof hello);
  if (_i == 0) bytes[4] = 77;
  if (_i == 1) bytes[6] = 1;
  if (_i == 2) bytes[8] = 1;
  put(bytes, sizeof bytes);
  expect_closed(_i == 0 ? "unknown kind" : _i == 1 ? "reserved bits" : "ticket does not fit");
}
END_TEST

START_TEST(no_shared_memory_on_this_carrier) {
  uint8_t frame[DEAI_FRAME_HEADER] = {16, 0, 0, 0, DEAI_FRAME_PART, 0, 0, 0, 1};
  frame[5] = _i == 0 ? DEAI_FRAME_ARENA : DEAI_FRAME_ATTACHMENT;
  put(hello, sizeof hello);
  put(frame, sizeof frame);
  expect_closed("expected no shared memory or descriptor on this carrier");
}
END_TEST

START_TEST(the_other_side_leaves) {
  test_end caller = test_end_of(loop, DEAI_SIDE_CALLER);
  deai_call_spec spec = {.service = deai_str_of("s"), .method = deai_str_of("m"), .time_ms = 9000};
  put(hello, sizeof hello);
  while (!deai_link_ready(deai_stream_link(node.stream)))
    turn();
  caller.call = deai_call_new(loop, &spec, &test_caller_ops, &caller);
  ck_assert_int_eq(deai_link_serve(deai_stream_link(node.stream), caller.call), DEAI_OK);
  (void)close(other);
  other = -1;
  expect_closed("the connection was closed by the other side");
  deai_stream_free(node.stream);
  node.stream = NULL;
  deai_loop_drain(loop);
  ck_assert_uint_eq(caller.ends, 1);
  ck_assert_int_eq(caller.status, DEAI_EPEER_LOST);
}
END_TEST

START_TEST(frames_cut_anywhere) {
  static const uint8_t update[] = {36,   0,    0,   0,    6,    0,   0,   0,   0,   0,
                                   0,    0,    0,   0,    0,    0,   20,  0,   0,   0,
                                   0xa2, 0x61, 'a', 0xa0, 0x65, 't', 'o', 'p', 'i', 'c',
                                   0x68, 'a',  'b', 'c',  'd',  'e', 'f', 'g', 'h', 0};
  uint8_t bytes[sizeof hello + 3 * (sizeof update)];
  size_t len = 0;
  memcpy(bytes, hello, sizeof hello);
  len += sizeof hello;
  for (int i = 0; i < 3; i++) {
    memcpy(bytes + len, update, sizeof update - 1);
    len += sizeof update - 1;
    bytes[len - (sizeof update - 1)] = 35;
    bytes[len - (sizeof update - 1) + 16] = 19;
  }
  for (size_t i = 0; i < len; i++) {
    put(bytes + i, 1);
    turn();
  }
  ck_assert_uint_eq(node.closed, 0);
  ck_assert_uint_eq(node.updates, 3);
}
END_TEST

static void answer(test_end *end, const deai_part *part) {
  if ((part->flags & DEAI_PART_END) == 0) return;
  ck_assert_int_eq(test_send(end, NULL, 700000, 0, 0), DEAI_OK);
  ck_assert_int_eq(test_send(end, NULL, 0, DEAI_PART_END, 0), DEAI_OK);
}

static void begin(test_end *caller) {
  deai_call_spec spec = {.service = deai_str_of("s"), .method = deai_str_of("m"), .time_ms = 15000};
  *caller = test_end_of(loop, DEAI_SIDE_CALLER);
  caller->call = deai_call_new(loop, &spec, &test_caller_ops, caller);
  ck_assert_int_eq(deai_link_serve(deai_stream_link(member.stream), caller->call), DEAI_OK);
}

START_TEST(many_long_calls_both_directions) {
  enum { COUNT = 40 };
  test_end callers[COUNT];
  node.on_part = answer;
  join();
  while (!deai_link_ready(deai_stream_link(member.stream)))
    turn();
  for (int i = 0; i < COUNT; i++) {
    begin(&callers[i]);
    ck_assert_int_eq(test_send(&callers[i], NULL, 600000, DEAI_PART_END, 0), DEAI_OK);
  }
  uint64_t begin_ns = deai_loop_now_ns(loop);
  for (int i = 0; i < COUNT; i++) {
    while (callers[i].closed == 0) {
      turn();
      ck_assert_uint_lt(deai_loop_now_ns(loop) - begin_ns, LIMIT_NS);
    }
    ck_assert_uint_eq(callers[i].bytes, 700000);
    ck_assert_int_eq(callers[i].status, DEAI_OK);
  }
  ck_assert_uint_eq(node.closed + member.closed, 0);
}
END_TEST

START_TEST(a_reader_that_stops_is_not_buffered_without_end) {
  test_end callers[32];
  char sink[65536];
  put(hello, sizeof hello);
  while (!deai_link_ready(deai_stream_link(node.stream)))
    turn();
  for (int i = 0; i < 32; i++) {
    deai_call_spec spec = {
        .service = deai_str_of("s"), .method = deai_str_of("m"), .time_ms = 15000};
    callers[i] = test_end_of(loop, DEAI_SIDE_CALLER);
    callers[i].call = deai_call_new(loop, &spec, &test_caller_ops, &callers[i]);
    ck_assert_int_eq(deai_link_serve(deai_stream_link(node.stream), callers[i].call), DEAI_OK);
    ck_assert_int_eq(test_send(&callers[i], NULL, DEAI_BODY_MAX, 0, 0), DEAI_OK);
  }
  for (int i = 0; i < 200; i++)
    turn();
  size_t total = 0;
  ssize_t got = 0;
  for (int idle = 0; idle<100; idle = got> 0 ? 0 : idle + 1) {
    got = recv(other, sink, sizeof sink, MSG_DONTWAIT);
    if (got > 0) total += (size_t)got;
    turn();
  }
  ck_assert_uint_le(total, 32 * 2 * (size_t)DEAI_WINDOW_MIN); /* the windows that were granted */
  side_end(&node);
  node.stream = NULL;
  deai_loop_drain(loop);
  for (int i = 0; i < 32; i++)
    ck_assert_uint_eq(callers[i].ends, 1);
}
END_TEST

START_TEST(close_lets_what_was_sent_leave) {
  test_end caller;
  join();
  while (!deai_link_ready(deai_stream_link(member.stream)) ||
         !deai_link_ready(deai_stream_link(node.stream)))
    turn();
  begin(&caller);
  ck_assert_int_eq(test_send(&caller, NULL, 60000, 0, 0), DEAI_OK);
  deai_loop_drain(loop);
  deai_stream_close(member.stream);
  deai_stream_close(member.stream);
  while (member.closed == 0)
    turn();
  deai_stream_free(member.stream); /* the owner closes the socket */
  member.stream = NULL;
  expect_closed("the connection was closed by the other side");
  ck_assert_uint_eq(member.closed, 1);
  ck_assert_uint_eq(node.served_count, 1);
  ck_assert_uint_eq(node.served[0].bytes, 60000);
  deai_loop_drain(loop);
  ck_assert_int_eq(caller.status, DEAI_EPEER_LOST);
}
END_TEST

int main(void) {
  (void)signal(SIGPIPE, SIG_IGN); /* as every program of ours does */
  Suite *suite = suite_create("stream");
  TCase *tests = tcase_create("stream");
  tcase_set_timeout(tests, 60);
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_loop_test(tests, a_length_outside_the_limits_ends_it_at_once, 0, 4);
  tcase_add_loop_test(tests, a_frame_that_breaks_a_rule, 0, 3);
  tcase_add_loop_test(tests, no_shared_memory_on_this_carrier, 0, 2);
  tcase_add_test(tests, the_other_side_leaves);
  tcase_add_test(tests, frames_cut_anywhere);
  tcase_add_test(tests, many_long_calls_both_directions);
  tcase_add_test(tests, a_reader_that_stops_is_not_buffered_without_end);
  tcase_add_test(tests, close_lets_what_was_sent_leave);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
