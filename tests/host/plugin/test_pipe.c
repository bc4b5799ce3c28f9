/* The pipe against a hostile other side that writes to the socketpair by hand. */
#include "tests/testing.h"

#include "host/base/buffer.h"
#include "host/plugin/pipe.h"
#include "tests/host/router/ends.h"

#include <event2/event.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/base/banned.h"

#define ARENA_BYTES (4096u + DEAI_PIPE_RING)

typedef struct side {
  deai_pipe *pipe;
  uint32_t closed;
  char why[DEAI_ERR_CAP];
  test_end served[8];
  uint32_t served_count;
} side;

static deai_loop *loop;
static side host;
static side child;
static int other; /* the hostile side's socket */
static deai_timer *limit;

static deai_call *on_open(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                          void *end_user) {
  side *at = user;
  ck_assert_uint_lt(at->served_count, 8);
  test_end *end = &at->served[at->served_count++];
  *end = test_end_of(loop, DEAI_SIDE_CALLEE);
  end->call = deai_call_new(loop, spec, ops, end_user);
  deai_call_attach(end->call, &test_callee_ops, end);
  return end->call;
}

static void on_closed(void *user, const char *why) {
  side *at = user;
  at->closed++;
  (void)snprintf(at->why, sizeof at->why, "%s", why);
  deai_loop_stop(loop);
}

static const deai_link_ops ops = {.open = on_open, .closed = on_closed};

static void on_limit(void *user) {
  (void)user;
  ck_abort_msg("the pipe did not close in time");
}

static deai_link_options options_of(deai_link_kind kind, bool dialled) {
  return (deai_link_options){.loop = loop,
                             .kind = kind,
                             .dialled = dialled,
                             .caller_class = DEAI_CLASS_LOCAL,
                             .lost_status = DEAI_EPLUGIN_DIED,
                             .lost_why = "the process ended"};
}

static void make_pair(int pair[2]) {
  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
}

static void setup_loop(void) {
  memset(&host, 0, sizeof host);
  memset(&child, 0, sizeof child);
  loop = deai_loop_new(deai_platform_system(), 0);
  limit = deai_timer_new(loop, on_limit, NULL);
  deai_timer_set(limit, 20000);
}

static void setup(void) {
  int pair[2];
  setup_loop();
  make_pair(pair);
  other = pair[1];
  deai_link_options options = options_of(DEAI_LINK_TO_CHILD, true);
  host.pipe = deai_pipe_new(pair[0], &options, &ops, &host);
  ck_assert_ptr_nonnull(host.pipe);
  deai_hello_head hello = {0};
  deai_pipe_hello(host.pipe, &hello);
}

static void side_end(side *gone) {
  deai_pipe_free(gone->pipe);
  for (uint32_t i = 0; i < gone->served_count; i++) {
    if (gone->served[i].call != NULL) test_drop(&gone->served[i], DEAI_EIO, "");
  }
}

static void teardown(void) {
  side_end(&host);
  side_end(&child);
  if (other >= 0) (void)close(other);
  other = -1;
  deai_loop_drain(loop);
  deai_timer_free(limit);
  deai_loop_free(loop);
}

/* send_raw sends bytes as one message with count descriptors. */
static void send_raw(const void *bytes, size_t len, const int *fds, size_t count) {
  union {
    struct cmsghdr header;
    uint8_t room[CMSG_SPACE(16 * sizeof(int))];
  } control = {0};
  struct iovec part = {(void *)(uintptr_t)bytes, len};
  struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};
  if (count > 0) {
    head.msg_control = control.room;
    head.msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr *item = CMSG_FIRSTHDR(&head);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(item), fds, count * sizeof(int));
  }
  ck_assert_int_eq((int)sendmsg(other, &head, MSG_NOSIGNAL), (int)len);
}

static void send_frame(uint8_t kind, uint8_t flags, uint64_t ticket, deai_bytes head,
                       deai_bytes body, const int *fds, size_t count) {
  static uint8_t bytes[DEAI_FRAME_HEADER + DEAI_HEAD_MAX + DEAI_PIPE_BODY_MAX];
  deai_frame frame = {kind, flags, ticket, head, body};
  deai_frame_header(&frame, bytes);
  if (head.len > 0) memcpy(bytes + DEAI_FRAME_HEADER, head.ptr, (size_t)head.len);
  if (body.len > 0) memcpy(bytes + DEAI_FRAME_HEADER + head.len, body.ptr, (size_t)body.len);
  send_raw(bytes, (size_t)(DEAI_FRAME_HEADER + head.len + body.len), fds, count);
}

#define BYTES(text) deai_bytes_of(text, sizeof(text) - 1)
#define NONE        deai_bytes_of(NULL, 0)

static void send_hello(const int *fds, size_t count) {
  send_frame(DEAI_FRAME_HELLO, 0, 0, BYTES("\xa2\x61n`\x61v\x81\x01"), NONE, fds, count);
}

static int arena_fd(off_t size, int seals) {
  int fd = memfd_create("arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(ftruncate(fd, size), 0);
  if (seals != 0) ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
  return fd;
}

static int good_arena(void) {
  return arena_fd(ARENA_BYTES, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

static void expect_closed(const char *why) {
  if (host.closed == 0) deai_loop_run(loop);
  ck_assert_uint_eq(host.closed, 1);
  ck_assert_msg(strstr(host.why, why) != NULL, "expected \"%s\", found \"%s\"", why, host.why);
}

static int lowest_fd(void) {
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  (void)close(fd);
  return fd;
}

/* ---- hostile ---- */

/* turn lets libevent look at its sockets once. */
static void turn(void) {
  deai_loop_drain(loop);
  (void)event_base_loop(deai_loop_base(loop), EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

START_TEST(garbage_closes) {
  uint8_t bytes[256];
  memset(bytes, 0xee, sizeof bytes);
  send_raw(bytes, sizeof bytes, NULL, 0);
  expect_closed("length outside its limits");
}
END_TEST

START_TEST(a_truncated_frame_closes) {
  static const uint8_t part[7] = {40, 0, 0, 0, 3, 0, 0};
  send_raw(part, sizeof part, NULL, 0);
  expect_closed("length outside its limits");
}
END_TEST

START_TEST(a_message_that_is_too_long_closes) {
  static uint8_t bytes[DEAI_FRAME_HEADER + DEAI_HEAD_MAX + DEAI_PIPE_BODY_MAX + 1];
  send_raw(bytes, sizeof bytes, NULL, 0);
  expect_closed("length outside its limits");
}
END_TEST

START_TEST(an_arena_that_is_none_closes) {
  int fds[1] = {-1};
  if (_i == 0) fds[0] = arena_fd(ARENA_BYTES, 0); /* not sealed: it could shrink under us */
  if (_i == 1) fds[0] = arena_fd(4096, F_SEAL_SHRINK);
  if (_i == 2) fds[0] = open("/dev/zero", O_RDWR | O_CLOEXEC);
  if (_i == 3) fds[0] = arena_fd(2 * ARENA_BYTES, F_SEAL_SHRINK | F_SEAL_GROW);
  send_hello(fds, 1);
  (void)close(fds[0]);
  expect_closed("expected a sealed arena with HELLO");
}
END_TEST

START_TEST(a_body_outside_the_arena_closes) {
  static const uint64_t places[][2] = {{0, DEAI_PIPE_BODY_MAX + 1}, {DEAI_PIPE_RING, 1},
                                       {DEAI_PIPE_RING - 10, 11},   {UINT64_MAX, 1},
                                       {UINT64_MAX - 5, 10},        {0, UINT64_MAX}};
  uint8_t place[16];
  int fd = good_arena();
  send_hello(&fd, 1);
  (void)close(fd);
  memcpy(place, places[_i], 16);
  send_frame(DEAI_FRAME_CALL, DEAI_FRAME_ARENA, 2, BYTES("\xa0"), deai_bytes_of(place, 16), NULL,
             0);
  expect_closed("a body lies outside its arena");
}
END_TEST

START_TEST(a_body_in_an_arena_that_is_not_there_closes) {
  uint8_t place[16] = {0};
  send_hello(NULL, 0);
  send_frame(DEAI_FRAME_CALL, DEAI_FRAME_ARENA, 2, BYTES("\xa0"),
             deai_bytes_of(place, _i == 0 ? 16 : 15), NULL, 0);
  expect_closed("a body lies outside its arena");
}
END_TEST

START_TEST(surplus_descriptors_are_closed) {
  int fds[6];
  int before = lowest_fd();
  for (int i = 0; i < 6; i++)
    fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
  int arena = good_arena();
  send_hello(&arena, 1);
  send_frame(DEAI_FRAME_CALL, DEAI_FRAME_ATTACHMENT | DEAI_FRAME_END, 2,
             BYTES("\xa3\x61m\x61m\x61s\x61x\x61t\x19\x10\x00"), NONE, fds, 6);
  for (int i = 0; i < 6; i++)
    (void)close(fds[i]);
  (void)close(arena);
  send_frame(DEAI_FRAME_BEAT, 0, 0, BYTES("\xa0"), NONE, NULL, 0);
  send_raw("x", 1, NULL, 0); /* ends the test */
  expect_closed("length outside its limits");
  deai_loop_drain(loop);
  ck_assert_uint_eq(host.served_count, 1);
  teardown();
  int after = lowest_fd();
  ck_assert_int_le(after, before);
  setup();
}
END_TEST

START_TEST(a_descriptor_without_the_flag_closes) {
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  send_hello(NULL, 0);
  send_frame(DEAI_FRAME_BEAT, 0, 0, BYTES("\xa0"), NONE, &fd, 1);
  (void)close(fd);
  expect_closed("expected a descriptor where the flag says so");
}
END_TEST

START_TEST(a_socket_that_closes_ends_all_calls) {
  test_end caller = test_end_of(loop, DEAI_SIDE_CALLER);
  deai_call_spec spec = {.service = deai_str_of("s"), .method = deai_str_of("m"), .time_ms = 9000};
  send_hello(NULL, 0);
  caller.call = deai_call_new(loop, &spec, &test_caller_ops, &caller);
  deai_link *link = deai_pipe_link(host.pipe);
  send_frame(DEAI_FRAME_LOG, 0, 0, BYTES("\xa2\x64text\x61x\x65level\x01"), NONE, NULL, 0);
  ck_assert(!deai_link_ready(link));
  (void)close(other);
  other = -1;
  deai_loop_run(loop);
  ck_assert_str_eq(host.why, "the process ended");
  if (deai_link_serve(link, caller.call) != DEAI_OK)
    deai_call_fail(caller.call, DEAI_EPLUGIN_DIED, "x");
  deai_pipe_free(host.pipe);
  host.pipe = NULL;
  deai_loop_drain(loop);
  ck_assert_uint_eq(caller.ends, 1);
  ck_assert_int_eq(caller.status, DEAI_EPLUGIN_DIED);
}
END_TEST

START_TEST(a_mark_that_lies_stops_only_the_sharing) {
  int arena = good_arena();
  uint64_t lie = UINT64_MAX;
  uint8_t bytes[20000];
  test_end caller = test_end_of(loop, DEAI_SIDE_CALLER);
  deai_call_spec spec = {.service = deai_str_of("s"), .method = deai_str_of("m"), .time_ms = 9000};
  ck_assert_int_eq((int)pwrite(arena, &lie, sizeof lie, 0), (int)sizeof lie);
  send_hello(&arena, 1);
  (void)close(arena);
  caller.call = deai_call_new(loop, &spec, &test_caller_ops, &caller);
  while (!deai_link_ready(deai_pipe_link(host.pipe)))
    turn();
  ck_assert_int_eq(deai_link_serve(deai_pipe_link(host.pipe), caller.call), DEAI_OK);
  ck_assert_int_eq(test_send(&caller, NULL, 10000, 0, 0), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_int_gt((int)recv(other, bytes, sizeof bytes, MSG_DONTWAIT), 0); /* HELLO */
  ck_assert_int_gt((int)recv(other, bytes, sizeof bytes, MSG_DONTWAIT), 10000);
  ck_assert_int_eq(bytes[4], DEAI_FRAME_CALL);
  ck_assert_int_eq(bytes[5] & DEAI_FRAME_ARENA, 0); /* the body goes inside the message */
  test_drop(&caller, DEAI_ECANCELLED, "");
}
END_TEST

/* ---- two good sides ---- */

static void answer(test_end *end, const deai_part *part) {
  if ((part->flags & DEAI_PART_END) == 0) return;
  ck_assert_int_eq(test_send(end, NULL, 300000, 0, 0), DEAI_OK);
  ck_assert_int_eq(test_send(end, NULL, 0, DEAI_PART_END, 0), DEAI_OK);
}

static deai_call *open_answering(void *user, const deai_call_spec *spec,
                                 const deai_end_ops *end_ops, void *end_user) {
  side *at = user;
  deai_call *call = on_open(user, spec, end_ops, end_user);
  at->served[at->served_count - 1].on_part = answer;
  return call;
}

START_TEST(long_bodies_pass_through_the_ring_many_times) {
  int pair[2];
  setup_loop();
  other = -1;
  make_pair(pair);
  deai_link_ops child_ops = ops;
  child_ops.open = open_answering;
  deai_link_options to_child = options_of(DEAI_LINK_TO_CHILD, true);
  deai_link_options to_host = options_of(DEAI_LINK_TO_HOST, false);
  host.pipe = deai_pipe_new(pair[0], &to_child, &ops, &host);
  child.pipe = deai_pipe_new(pair[1], &to_host, &child_ops, &child);
  deai_hello_head hello = {0};
  deai_pipe_hello(host.pipe, &hello);
  deai_pipe_hello(child.pipe, &hello);
  for (int round = 0; round < 6; round++) {
    test_end caller = test_end_of(loop, DEAI_SIDE_CALLER);
    deai_call_spec spec = {
        .service = deai_str_of("s"), .method = deai_str_of("m"), .time_ms = 15000};
    while (!deai_link_ready(deai_pipe_link(host.pipe)))
      turn();
    caller.call = deai_call_new(loop, &spec, &test_caller_ops, &caller);
    ck_assert_int_eq(deai_link_serve(deai_pipe_link(host.pipe), caller.call), DEAI_OK);
    for (int i = 0; i < 10; i++) {
      while (test_send(&caller, NULL, DEAI_BODY_MAX - (uint64_t)i * 1000, i == 9 ? 1 : 0, 0) ==
             DEAI_EAGAIN)
        turn();
    }
    caller.stop_at_close = true;
    deai_loop_run(loop);
    ck_assert_uint_eq(caller.bytes, 300000);
    ck_assert_int_eq(caller.status, DEAI_OK);
    ck_assert_uint_eq(child.served[round].bytes, UINT64_C(10) * DEAI_BODY_MAX - 45000);
  }
  ck_assert_uint_eq(host.closed + child.closed, 0);
  teardown();
}
END_TEST

int main(void) {
  Suite *suite = suite_create("pipe");
  TCase *hostile = tcase_create("hostile");
  TCase *good = tcase_create("good");
  tcase_set_timeout(hostile, 60);
  tcase_set_timeout(good, 120);
  tcase_add_checked_fixture(hostile, setup, teardown);
  tcase_add_test(hostile, garbage_closes);
  tcase_add_test(hostile, a_truncated_frame_closes);
  tcase_add_test(hostile, a_message_that_is_too_long_closes);
  tcase_add_loop_test(hostile, an_arena_that_is_none_closes, 0, 4);
  tcase_add_loop_test(hostile, a_body_outside_the_arena_closes, 0, 6);
  tcase_add_loop_test(hostile, a_body_in_an_arena_that_is_not_there_closes, 0, 2);
  tcase_add_test(hostile, surplus_descriptors_are_closed);
  tcase_add_test(hostile, a_descriptor_without_the_flag_closes);
  tcase_add_test(hostile, a_socket_that_closes_ends_all_calls);
  tcase_add_test(hostile, a_mark_that_lies_stops_only_the_sharing);
  tcase_add_test(good, long_bodies_pass_through_the_ring_many_times);
  suite_add_tcase(suite, hostile);
  suite_add_tcase(suite, good);
  return testing_run(suite);
}
