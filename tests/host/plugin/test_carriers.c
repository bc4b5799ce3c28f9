/* The same calls through both local carriers: a plug-in in this process and in a child. */
#include "tests/testing.h"

#include "deai/cbor.h"
#include "deai/contracts/wire.h"
#include "host/base/buffer.h"
#include "host/plugin/child.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/base/banned.h"

#define LOOP_LIMIT_MS 100000u

/* A caller that sends parts and counts what comes back. */
typedef struct caller {
  deai_loop *loop;
  deai_call *call;
  uint64_t part_bytes;
  uint32_t parts_left;
  uint32_t parts_total;
  uint32_t parts_back;
  uint64_t bytes_back;
  uint64_t mismatches;
  uint32_t ends;
  int32_t status;
  bool closed;
  bool stop_at_close;
  char why[DEAI_ERR_CAP];
} caller;

typedef struct fixture {
  deai_loop *loop;
  deai_loaded loaded;
  deai_instance *instance;
  deai_child *child;
  deai_timer *limit;
  bool running;
} fixture;

/* 0 = the default of 10 s: a loop that is slow under a sanitizer is not a child that hangs. */
static uint64_t silent_ms;

static const char *plugin_path(void) {
  return getenv("DEAI_ECHO_PLUGIN");
}

static deai_call *no_calls(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                           void *end_user) {
  fixture *fix = user;
  deai_call *call = deai_call_new(fix->loop, spec, ops, end_user);
  deai_call_fail(call, DEAI_ENOPROVIDER, "none in this test");
  return call;
}

static const deai_instance_ops instance_ops = {.open = no_calls};

static void on_limit(void *user) {
  (void)user;
  ck_abort_msg("the test did not end in %u ms", LOOP_LIMIT_MS);
}

static void on_ready(void *user, const char *plugin, bool running) {
  (void)plugin;
  fixture *fix = user;
  fix->running = running;
  deai_loop_stop(fix->loop);
}

static deai_bytes settings(void) {
  static uint8_t room[64];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  deai_cbor_put_map(&writer, 1);
  deai_cbor_put_text(&writer, deai_str_of("prefix"));
  deai_cbor_put_text(&writer, deai_str_of(""));
  return deai_bytes_of(room, writer.len);
}

static void setup(fixture *fix, bool in_child) {
  char err[DEAI_ERR_CAP] = "";
  memset(fix, 0, sizeof *fix);
  fix->loop = deai_loop_new(deai_platform_system(), 0);
  fix->limit = deai_timer_new(fix->loop, on_limit, fix);
  deai_timer_set(fix->limit, LOOP_LIMIT_MS);
  ck_assert_msg(deai_loader_open(&fix->loaded, plugin_path(), NULL, err, sizeof err) == DEAI_OK,
                "%s", err);
  if (!in_child) {
    ck_assert_msg(deai_loader_load(&fix->loaded, err, sizeof err) == DEAI_OK, "%s", err);
    deai_instance_options options = {.loop = fix->loop,
                                     .loaded = &fix->loaded,
                                     .settings = settings(),
                                     .folder = testing_folder(),
                                     .ops = &instance_ops,
                                     .user = fix};
    fix->instance = deai_instance_new(&options, err, sizeof err);
    ck_assert_msg(fix->instance != NULL, "%s", err);
    ck_assert_int_eq(deai_instance_start(fix->instance, err, sizeof err), DEAI_OK);
    return;
  }
  deai_child_options options = {.loop = fix->loop,
                                .loaded = &fix->loaded,
                                .settings = settings(),
                                .folder = testing_folder(),
                                .plughost = getenv("DEAI_PLUGHOST"),
                                .silent_ms = silent_ms,
                                .ops = &instance_ops,
                                .user = fix,
                                .ready = on_ready};
  fix->child = deai_child_new(&options);
  ck_assert_ptr_nonnull(fix->child);
  deai_loop_run(fix->loop);
  ck_assert_msg(fix->running, "%s", deai_child_reason(fix->child));
}

static void on_stopped(void *user) {
  fixture *fix = user;
  deai_loop_stop(fix->loop);
}

static void teardown(fixture *fix) {
  if (fix->child != NULL) {
    deai_child_stop(fix->child, on_stopped, fix);
    deai_loop_run(fix->loop);
    ck_assert_str_eq(deai_child_state(fix->child), "stopped");
    deai_child_free(fix->child);
  }
  deai_instance_free(fix->instance);
  deai_loop_drain(fix->loop);
  deai_timer_free(fix->limit);
  deai_loop_free(fix->loop);
  deai_loader_close(&fix->loaded);
}

static int32_t serve(fixture *fix, deai_call *call) {
  return fix->child != NULL ? deai_child_serve(fix->child, call)
                            : deai_instance_serve(fix->instance, call);
}

/* ---- the caller's end ---- */

static uint8_t byte_at(uint64_t part, uint64_t i) {
  return (uint8_t)(part * 31 + i * 7 + (i >> 9));
}

static void caller_send(caller *who) {
  while (who->parts_left > 0) {
    uint8_t *body = malloc((size_t)who->part_bytes + 1);
    for (uint64_t i = 0; i < who->part_bytes; i++)
      body[i] = byte_at(who->parts_left, i);
    deai_part part = {.size = (uint32_t)sizeof part,
                      .flags = who->parts_left == 1 ? DEAI_PART_END : 0,
                      .attachment = -1,
                      .body = deai_bytes_of(body, who->part_bytes)};
    int32_t status = deai_call_send(who->call, DEAI_SIDE_CALLER, &part);
    free(body);
    if (status == DEAI_EAGAIN) return;
    ck_assert_int_eq(status, DEAI_OK);
    who->parts_left--;
  }
}

static int32_t caller_part(void *user, const deai_part *part) {
  caller *who = user;
  bool is_end = (part->flags & DEAI_PART_END) != 0;
  if (part->body.len > 0 || !is_end) who->parts_back++;
  uint64_t sent_as = who->parts_total - who->parts_back + 1;
  for (uint64_t i = 0; i < part->body.len; i++)
    who->mismatches += part->body.ptr[i] != byte_at(sent_as, i);
  who->bytes_back += part->body.len;
  if (is_end) {
    who->ends++;
    who->status = part->status;
    (void)snprintf(who->why, sizeof who->why, "%.*s", (int)part->why.len, part->why.ptr);
  }
  if (part->attachment >= 0) who->mismatches++;
  return DEAI_OK;
}

static void caller_drain(void *user) {
  caller_send(user);
}

static void caller_closed(void *user) {
  caller *who = user;
  who->closed = true;
  if (who->stop_at_close) deai_loop_stop(who->loop);
}

static const deai_end_ops caller_ops = {
    .part = caller_part, .drain = caller_drain, .closed = caller_closed};

static void caller_begin(fixture *fix, caller *who, uint32_t parts, uint64_t bytes,
                         uint64_t time_ms) {
  memset(who, 0, sizeof *who);
  who->loop = fix->loop;
  who->parts_left = parts;
  who->parts_total = parts;
  who->part_bytes = bytes;
  who->stop_at_close = true;
  deai_call_spec spec = {.service = deai_str_of("example.echo/1"),
                         .method = deai_str_of("echo"),
                         .time_ms = time_ms,
                         .caller_class = DEAI_CLASS_LOCAL};
  who->call = deai_call_new(fix->loop, &spec, &caller_ops, who);
  ck_assert_ptr_nonnull(who->call);
  ck_assert_int_eq(serve(fix, who->call), DEAI_OK);
}

static void echo_ends_well(fixture *fix, uint32_t parts, uint64_t bytes) {
  caller who;
  caller_begin(fix, &who, parts, bytes, 90000);
  caller_send(&who);
  deai_loop_run(fix->loop);
  ck_assert(who.closed);
  ck_assert_uint_eq(who.ends, 1);
  ck_assert_msg(who.status == DEAI_OK, "%s: %s", who.why,
                fix->child != NULL ? deai_child_reason(fix->child) : "in process");
  ck_assert_uint_eq(who.parts_back, bytes == 0 ? parts - 1 : parts);
  ck_assert_uint_eq(who.bytes_back, bytes * parts);
  ck_assert_uint_eq(who.mismatches, 0);
}

START_TEST(echoes_parts_of_all_sizes) {
  fixture fix;
  setup(&fix, _i == 1);
  echo_ends_well(&fix, 1, 0);
  echo_ends_well(&fix, 1, 5);
  echo_ends_well(&fix, 1, DEAI_BODY_MAX);
  echo_ends_well(&fix, 3, 65536);
  echo_ends_well(&fix, 40, DEAI_BODY_MAX); /* far more than any window */
  echo_ends_well(&fix, 5000, 10);
  teardown(&fix);
}
END_TEST

START_TEST(answers_in_time_or_says_so) {
  fixture fix;
  caller who;
  setup(&fix, _i == 1);
  caller_begin(&fix, &who, 2, 10, 50);
  deai_part part = {.size = (uint32_t)sizeof part, .attachment = -1};
  ck_assert_int_eq(deai_call_send(who.call, DEAI_SIDE_CALLER, &part), DEAI_OK);
  deai_loop_run(fix.loop); /* nobody ends it: the deadline does */
  ck_assert_uint_eq(who.ends, 1);
  ck_assert_int_eq(who.status, DEAI_ETIMEDOUT);
  echo_ends_well(&fix, 2, 100);
  teardown(&fix);
}
END_TEST

START_TEST(cancel_ends_the_call_at_once) {
  fixture fix;
  caller who;
  setup(&fix, _i == 1);
  caller_begin(&fix, &who, 3, 10, 15000);
  deai_part part = {.size = (uint32_t)sizeof part, .attachment = -1};
  ck_assert_int_eq(deai_call_send(who.call, DEAI_SIDE_CALLER, &part), DEAI_OK);
  deai_call_cancel(who.call, DEAI_ECANCELLED);
  deai_loop_run(fix.loop);
  ck_assert_uint_eq(who.ends, 1);
  ck_assert_int_eq(who.status, DEAI_ECANCELLED);
  teardown(&fix);
}
END_TEST

START_TEST(a_killed_child_ends_its_calls_once_and_comes_back) {
  fixture fix;
  caller who;
  setup(&fix, true);
  caller_begin(&fix, &who, 3, 10, 15000);
  who.stop_at_close = false;
  deai_part part = {.size = (uint32_t)sizeof part, .attachment = -1};
  ck_assert_int_eq(deai_call_send(who.call, DEAI_SIDE_CALLER, &part), DEAI_OK);
  ck_assert_int_eq(kill(deai_child_pid(fix.child), SIGKILL), 0);
  deai_loop_run(fix.loop); /* until it is no longer running */
  ck_assert(!fix.running);
  deai_loop_drain(fix.loop);
  ck_assert_uint_eq(who.ends, 1);
  ck_assert_int_eq(who.status, DEAI_EPLUGIN_DIED);
  ck_assert(who.closed);
  ck_assert_ptr_nonnull(strstr(deai_child_reason(fix.child), "signal 9"));
  deai_loop_run(fix.loop); /* until it runs again */
  ck_assert(fix.running);
  ck_assert_uint_eq(deai_child_restarts(fix.child), 1);
  echo_ends_well(&fix, 2, 100);
  teardown(&fix);
}
END_TEST

START_TEST(a_hanging_child_is_killed_and_says_so) {
  fixture fix;
  silent_ms = 1000;
  setup(&fix, true);
  ck_assert_int_eq(kill(deai_child_pid(fix.child), SIGSTOP), 0);
  deai_loop_run(fix.loop);
  ck_assert(!fix.running);
  ck_assert_ptr_nonnull(strstr(deai_child_reason(fix.child), "hangs"));
  teardown(&fix);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("carriers");
  TCase *tests = tcase_create("both");
  tcase_set_timeout(tests, 300);
  tcase_add_loop_test(tests, echoes_parts_of_all_sizes, 0, 2);
  tcase_add_loop_test(tests, answers_in_time_or_says_so, 0, 2);
  tcase_add_loop_test(tests, cancel_ends_the_call_at_once, 0, 2);
  tcase_add_test(tests, a_killed_child_ends_its_calls_once_and_comes_back);
  tcase_add_test(tests, a_hanging_child_is_killed_and_says_so);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
