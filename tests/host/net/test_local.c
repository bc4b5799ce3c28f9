/* The node's Unix socket: refused paths, its mode, calls of class local, too many connections. */
#include "tests/testing.h"

#include "host/net/local.h"
#include "host/net/stream.h"
#include "tests/host/router/ends.h"

#include <event2/bufferevent.h>
#include <event2/event.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

#define LIMIT_NS UINT64_C(20000000000)

static deai_loop *loop;
static deai_local *local;
static char path[108];
static char err[DEAI_ERR_CAP];
static deai_call_spec asked;
static test_end served[8];
static uint32_t served_count;
static uint32_t closed;

static deai_call *on_open(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                          void *end_user) {
  ck_assert_ptr_eq(user, &served_count);
  asked = *spec;
  test_end *end = &served[served_count++ % 8];
  *end = test_end_of(loop, DEAI_SIDE_CALLEE);
  end->call = deai_call_new(loop, spec, ops, end_user);
  deai_call_attach(end->call, &test_callee_ops, end);
  return end->call;
}

static void on_closed(void *user, const char *why) {
  (void)user, (void)why;
  closed++;
}

static void setup(void) {
  served_count = 0;
  closed = 0;
  loop = deai_loop_new(deai_platform_system(), 0);
  (void)snprintf(path, sizeof path, "%s/deai.sock", testing_folder());
  local = deai_local_new(loop, path, on_open, &served_count, err, sizeof err);
  ck_assert_msg(local != NULL, "%s", err);
}

static void teardown(void) {
  deai_local_free(local);
  deai_local_free(NULL);
  for (uint32_t i = 0; i < served_count && i < 8; i++) {
    if (served[i].call != NULL) test_drop(&served[i], DEAI_EIO, "");
  }
  deai_loop_drain(loop);
  ck_assert_int_ne(access(path, F_OK), 0); /* the socket file is gone */
  deai_loop_free(loop);
}

static void turn(void) {
  (void)event_base_loop(deai_loop_base(loop), EVLOOP_ONCE | EVLOOP_NONBLOCK);
  deai_loop_drain(loop);
}

START_TEST(paths_that_cannot_be_listened_on) {
  char long_path[200];
  char file[4200];
  memset(long_path, 'x', sizeof long_path);
  long_path[0] = '/';
  long_path[sizeof long_path - 1] = 0;
  ck_assert_ptr_null(deai_local_new(loop, long_path, on_open, NULL, err, sizeof err));
  ck_assert_ptr_nonnull(strstr(err, "expected a socket path below 108 bytes; choose a shorter"));
  ck_assert_ptr_null(deai_local_new(loop, "/no/such/folder/s", on_open, NULL, err, sizeof err));
  ck_assert_str_eq(err, "/no/such/folder/s: cannot be listened on: No such file or directory");
  (void)snprintf(file, sizeof file, "%s/file", testing_folder());
  FILE *made = fopen(file, "w");
  ck_assert_ptr_nonnull(made);
  (void)fclose(made);
  ck_assert_ptr_null(deai_local_new(loop, file, on_open, NULL, err, sizeof err));
  ck_assert_int_eq(access(file, F_OK), 0); /* only a socket is replaced */
  ck_assert_int_eq(deai_local_dial(long_path), -1);
  ck_assert_int_eq(errno, ENAMETOOLONG);
  ck_assert_int_eq(deai_local_dial("/no/such/socket"), -1);
  ck_assert_int_eq(errno, ENOENT);
}
END_TEST

START_TEST(only_the_owner_may_connect) {
  struct stat info;
  ck_assert_int_eq(stat(path, &info), 0);
  ck_assert(S_ISSOCK(info.st_mode));
  ck_assert_uint_eq(info.st_mode & 0777, 0600);
}
END_TEST

START_TEST(a_stale_socket_is_replaced) {
  char stale[108];
  (void)snprintf(stale, sizeof stale, "%s/stale", testing_folder());
  deai_local *first = deai_local_new(loop, stale, on_open, NULL, err, sizeof err);
  deai_local *second = deai_local_new(loop, stale, on_open, NULL, err, sizeof err);
  ck_assert(first != NULL && second != NULL);
  deai_local_free(first);
  deai_local_free(second);
}
END_TEST

START_TEST(garbage_ends_the_connection_alone) {
  int fd = deai_local_dial(path);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq((int)send(fd, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL), 18);
  char byte = 0;
  uint64_t begin_ns = deai_loop_now_ns(loop);
  while (recv(fd, &byte, 1, MSG_DONTWAIT) != 0) {
    if (errno == ECONNRESET) break;
    turn();
    ck_assert_uint_lt(deai_loop_now_ns(loop) - begin_ns, LIMIT_NS);
  }
  (void)close(fd);
}
END_TEST

START_TEST(so_many_connections_and_no_more) {
  int fds[DEAI_LOCAL_MAX + 1];
  char byte = 0;
  for (uint32_t i = 0; i <= DEAI_LOCAL_MAX; i++) {
    fds[i] = deai_local_dial(path);
    ck_assert_int_ge(fds[i], 0);
    turn();
  }
  uint64_t begin_ns = deai_loop_now_ns(loop);
  while (recv(fds[DEAI_LOCAL_MAX], &byte, 1, MSG_DONTWAIT) != 0) { /* closed at once */
    turn();
    ck_assert_uint_lt(deai_loop_now_ns(loop) - begin_ns, LIMIT_NS);
  }
  ck_assert_int_gt((int)recv(fds[0], &byte, 1, MSG_DONTWAIT), 0); /* HELLO */
  for (uint32_t i = 0; i <= DEAI_LOCAL_MAX; i++)
    (void)close(fds[i]);
  for (int i = 0; i < 20; i++)
    turn();
}
END_TEST

START_TEST(calls_are_the_operators) {
  static const deai_link_ops ops = {.closed = on_closed};
  test_end caller = test_end_of(loop, DEAI_SIDE_CALLER);
  int fd = deai_local_dial(path);
  ck_assert_int_eq(evutil_make_socket_nonblocking(fd), 0);
  struct bufferevent *bev = bufferevent_socket_new(deai_loop_base(loop), fd, BEV_OPT_CLOSE_ON_FREE);
  deai_link_options options = {.loop = loop,
                               .kind = DEAI_LINK_TO_NODE,
                               .dialled = true,
                               .body_max = DEAI_BODY_MAX,
                               .lost_status = DEAI_EPEER_LOST,
                               .lost_why = "the node is gone"};
  deai_stream *stream = deai_stream_new(bev, &options, &ops, NULL);
  deai_hello_head hello = {0};
  deai_link_hello(deai_stream_link(stream), &hello);
  while (!deai_link_ready(deai_stream_link(stream)))
    turn();
  deai_call_spec spec = {
      .service = deai_str_of("deai.node/1"), .method = deai_str_of("status"), .time_ms = 9000};
  caller.call = deai_call_new(loop, &spec, &test_caller_ops, &caller);
  ck_assert_int_eq(deai_link_serve(deai_stream_link(stream), caller.call), DEAI_OK);
  ck_assert_int_eq(test_send(&caller, NULL, DEAI_BODY_MAX, DEAI_PART_END, 0), DEAI_OK);
  while (served_count == 0 || served[0].parts == 0)
    turn();
  ck_assert_uint_eq(asked.caller_kind, DEAI_CALLER_CLI);
  ck_assert_uint_eq(asked.caller_class, DEAI_CLASS_LOCAL);
  ck_assert_uint_eq(served[0].bytes, DEAI_BODY_MAX);
  deai_stream_free(stream); /* the command line is gone */
  uint64_t begin_ns = deai_loop_now_ns(loop);
  while (served[0].cancels == 0) {
    turn();
    ck_assert_uint_lt(deai_loop_now_ns(loop) - begin_ns, LIMIT_NS);
  }
  ck_assert_int_eq(caller.status, DEAI_EPEER_LOST);
}
END_TEST

int main(void) {
  (void)signal(SIGPIPE, SIG_IGN); /* as every program of ours does */
  Suite *suite = suite_create("local");
  TCase *tests = tcase_create("local");
  tcase_set_timeout(tests, 60);
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, paths_that_cannot_be_listened_on);
  tcase_add_test(tests, only_the_owner_may_connect);
  tcase_add_test(tests, a_stale_socket_is_replaced);
  tcase_add_test(tests, garbage_ends_the_connection_alone);
  tcase_add_test(tests, so_many_connections_and_no_more);
  tcase_add_test(tests, calls_are_the_operators);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
