/* Children that misbehave: the host stays up, other calls go on, the reason is told. */
#include "tests/testing.h"

#include "deai/cbor.h"
#include "host/base/log.h"
#include "host/plugin/child.h"
#include "tests/host/router/ends.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define LIMIT_MS 30000u

typedef struct beast {
  deai_loaded loaded;
  deai_child *child;
  bool running;
  uint32_t came; /* how often it became running */
  bool gone;     /* it ended its life or was refused at least once */
} beast;

static deai_loop *loop;
static deai_timer *limit;
static deai_timer *look; /* looks at the state of a child that never runs */
static beast zoo;
static beast echo;
static uint32_t opened;
static char opened_service[65];

static void on_limit(void *user) {
  (void)user;
  ck_abort_msg("the test did not end in time: %s, %s", deai_child_state(zoo.child),
               deai_child_reason(zoo.child));
}

static void on_ready(void *user, const char *plugin, bool running) {
  (void)user;
  beast *which = strcmp(plugin, "zoo/beast") == 0 ? &zoo : &echo;
  which->running = running;
  which->came += running;
  which->gone = which->gone || !running;
  deai_loop_stop(loop);
}

static void on_look(void *user) {
  (void)user;
  if (strcmp(deai_child_state(zoo.child), "restarting") == 0) {
    zoo.gone = true;
    deai_loop_stop(loop);
    return;
  }
  deai_timer_set(look, 20);
}

static deai_call *open_call(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                            void *end_user) {
  (void)user;
  opened++;
  (void)snprintf(opened_service, sizeof opened_service, "%.*s", (int)spec->service.len,
                 spec->service.ptr);
  deai_call *call = deai_call_new(loop, spec, ops, end_user);
  deai_call_fail(call, DEAI_ENOPROVIDER, "none in this test");
  return call;
}

static const deai_instance_ops ops = {.open = open_call};

static deai_bytes settings_of(const char *key, const char *value) {
  static uint8_t room[128];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  deai_cbor_put_map(&writer, 1);
  deai_cbor_put_text(&writer, deai_str_of(key));
  deai_cbor_put_text(&writer, deai_str_of(value));
  return deai_bytes_of(room, writer.len);
}

static void setup(void) {
  memset(&zoo, 0, sizeof zoo);
  memset(&echo, 0, sizeof echo);
  zoo.loaded.fd = -1;
  echo.loaded.fd = -1;
  opened = 0;
  loop = deai_loop_new(deai_platform_system(), 0);
  limit = deai_timer_new(loop, on_limit, NULL);
  look = deai_timer_new(loop, on_look, NULL);
  ck_assert(loop != NULL && limit != NULL && look != NULL);
  deai_timer_set(limit, LIMIT_MS);
}

static void on_stopped(void *user) {
  (void)user;
  deai_loop_stop(loop);
}

static void beast_end(beast *which) {
  if (which->child == NULL) return;
  deai_child_stop(which->child, on_stopped, NULL);
  while (strcmp(deai_child_state(which->child), "stopped") != 0)
    deai_loop_run(loop);
  deai_child_free(which->child);
  deai_loader_close(&which->loaded);
}

static void teardown(void) {
  beast_end(&zoo);
  beast_end(&echo);
  deai_loop_drain(loop);
  deai_timer_free(look);
  deai_timer_free(limit);
  deai_loop_free(loop);
}

static void begin_in(beast *which, const char *path, deai_bytes settings, uint64_t memory_max) {
  char err[DEAI_ERR_CAP] = "";
  ck_assert_msg(deai_loader_open(&which->loaded, path, NULL, err, sizeof err) == DEAI_OK, "%s",
                err);
  deai_child_options options = {.loop = loop,
                                .loaded = &which->loaded,
                                .settings = settings,
                                .folder = testing_folder(),
                                .plughost = getenv("DEAI_PLUGHOST"),
                                .memory_max = memory_max,
                                .silent_ms = 1500,
                                .ops = &ops,
                                .ready = on_ready};
  which->child = deai_child_new(&options);
  ck_assert_ptr_nonnull(which->child);
}

static void begin(beast *which, const char *path, deai_bytes settings) {
  begin_in(which, path, settings, 0);
}

static void begin_zoo(const char *mode) {
  char path[4200];
  (void)snprintf(path, sizeof path, "%s/zoo.so", getenv("DEAI_ZOO"));
  begin(&zoo, path, settings_of("mode", mode));
}

static void begin_both(void) {
  begin_zoo("");
  begin(&echo, getenv("DEAI_ECHO_PLUGIN"), settings_of("prefix", ""));
  while (!zoo.running || !echo.running)
    deai_loop_run(loop);
}

static void call_to(beast *which, test_end *caller, const char *service, const char *method) {
  deai_call_spec spec = {.service = deai_str_of(service),
                         .method = deai_str_of(method),
                         .time_ms = 20000,
                         .caller_class = DEAI_CLASS_LOCAL};
  *caller = test_end_of(loop, DEAI_SIDE_CALLER);
  caller->call = deai_call_new(loop, &spec, &test_caller_ops, caller);
  int32_t status = deai_child_serve(which->child, caller->call);
  if (status != DEAI_OK) deai_call_fail(caller->call, status, "not served");
}

static void send_end(test_end *caller) {
  ck_assert_int_eq(test_send(caller, "body", 0, DEAI_PART_END, 0), DEAI_OK);
}

static void wait_closed(test_end *caller) {
  caller->stop_at_close = true;
  while (caller->closed == 0)
    deai_loop_run(loop);
}

static void echo_answers(void) {
  test_end caller;
  call_to(&echo, &caller, "example.echo/1", "echo");
  send_end(&caller);
  wait_closed(&caller);
  ck_assert_int_eq(caller.status, DEAI_OK);
  ck_assert_uint_eq(caller.bytes, 4);
}

static void expect_reason(const char *why) {
  ck_assert_msg(strstr(deai_child_reason(zoo.child), why) != NULL, "expected \"%s\", found \"%s\"",
                why, deai_child_reason(zoo.child));
}

/* ---- it cannot start ---- */

typedef struct bad_start {
  const char *mode;
  const char *why;
} bad_start;

static const bad_start bad_starts[] = {
    {"create_crash", "ended "},
    {"create_exit", "ended with exit code 7"},
    {"create_refuse", "zoo/beast: not created: expected a better world, found this one"},
    {"start_crash", "ended "},
    {"start_refuse", "zoo/beast: not started: expected a disk, found none"},
};

START_TEST(a_child_that_cannot_start_says_why_and_is_tried_again) {
  begin_zoo(bad_starts[_i].mode);
  deai_timer_set(look, 20);
  while (!zoo.gone)
    deai_loop_run(loop);
  expect_reason(bad_starts[_i].why);
  ck_assert_uint_eq(zoo.came, 0);
  test_end caller;
  call_to(&zoo, &caller, "zoo/1", "ok");
  deai_loop_drain(loop);
  ck_assert_int_eq(caller.status, DEAI_EPLUGIN_DIED);
  while (deai_child_restarts(zoo.child) == 0) {
    deai_timer_set(look, 20);
    deai_loop_run(loop);
  }
}
END_TEST

START_TEST(a_plughost_that_is_not_there) {
  char err[DEAI_ERR_CAP] = "";
  ck_assert_int_eq(deai_loader_open(&zoo.loaded, getenv("DEAI_ECHO_PLUGIN"), NULL, err, sizeof err),
                   DEAI_OK);
  deai_child_options options = {.loop = loop,
                                .loaded = &zoo.loaded,
                                .folder = testing_folder(),
                                .plughost = "/no/such/plughost",
                                .ops = &ops};
  zoo.child = deai_child_new(&options);
  ck_assert_str_eq(deai_child_state(zoo.child), "restarting");
  expect_reason("/no/such/plughost: No such file or directory");
  ck_assert_int_eq(deai_child_pid(zoo.child), 0);
}
END_TEST

#if defined(__SANITIZE_ADDRESS__)
#define CAPPED false /* a sanitizer build has no cap (host/plugin/confine.h) */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CAPPED false
#else
#define CAPPED true
#endif
#else
#define CAPPED true
#endif

static const uint64_t too_small[] = {1u << 20, 16u << 20, 24u << 20, 28u << 20};

START_TEST(a_memory_in_which_it_cannot_start_is_named) {
  char path[4200];
  char want[DEAI_ERR_CAP];
  (void)snprintf(path, sizeof path, "%s/zoo.so", getenv("DEAI_ZOO"));
  (void)snprintf(want, sizeof want,
                 "expected a memory limit in which zoo/beast can start, found %llu bytes; raise "
                 "plugins.zoo/beast.memory in the config or remove it",
                 (unsigned long long)too_small[_i]);
  begin_in(&zoo, path, settings_of("mode", ""), too_small[_i]);
  deai_timer_set(look, 20);
  while (!zoo.gone && !zoo.running)
    deai_loop_run(loop);
  ck_assert_int_eq(zoo.running, !CAPPED);
  if (CAPPED) expect_reason(want);
}
END_TEST

static const bad_start capped_starts[] = {
    {"create_refuse", "zoo/beast: not created: expected a better world, found this one"},
    {"create_poor", "zoo/beast: not created: not enough memory; plugins.zoo/beast.memory is "
                    "1099511627776 bytes: if that is too little, raise it in the config or "
                    "remove it"},
};

START_TEST(only_a_want_of_memory_gets_a_hint) {
  char path[4200];
  (void)snprintf(path, sizeof path, "%s/zoo.so", getenv("DEAI_ZOO"));
  begin_in(&zoo, path, settings_of("mode", capped_starts[_i].mode), UINT64_C(1) << 40);
  deai_timer_set(look, 20);
  while (!zoo.gone)
    deai_loop_run(loop);
  ck_assert_str_eq(deai_child_reason(zoo.child), capped_starts[_i].why);
}
END_TEST

START_TEST(what_is_said_without_memory) {
  char text[DEAI_ERR_CAP];
  deai_child_memory_text("zoo/beast", 0, text, sizeof text);
  ck_assert_str_eq(text, "expected memory for the process of zoo/beast, found none left on this "
                         "machine; free some");
  deai_child_memory_text("zoo/beast", 7, text, 12);
  ck_assert_str_eq(text, "expected a ");
}
END_TEST

START_TEST(calls_before_start_are_refused_and_harm_nothing) {
  begin_zoo("create_call");
  while (!zoo.running)
    deai_loop_run(loop);
  ck_assert_uint_eq(opened, 0);
}
END_TEST

/* ---- it misbehaves while it serves ---- */

typedef struct bad_call {
  const char *method;
  const char *why;
} bad_call;

static const bad_call deadly[] = {
    {"crash", "ended "},
    {"abort", "ended "},
    {"exit", "ended with exit code 3"},
    {"hang", "hangs: no heartbeat for"},
};

START_TEST(a_child_that_dies_ends_its_calls_and_others_go_on) {
  test_end victim;
  test_end silent;
  begin_both();
  call_to(&zoo, &silent, "zoo/1", "silent");
  send_end(&silent);
  call_to(&zoo, &victim, "zoo/1", deadly[_i].method);
  send_end(&victim);
  echo_answers();
  wait_closed(&victim);
  wait_closed(&silent);
  ck_assert_int_eq(victim.status, DEAI_EPLUGIN_DIED);
  ck_assert_int_eq(silent.status, DEAI_EPLUGIN_DIED);
  ck_assert_uint_eq(victim.ends + silent.ends, 2);
  while (zoo.running)
    deai_loop_run(loop);
  expect_reason(deadly[_i].why);
  ck_assert_int_eq(kill(deai_child_pid(echo.child), 0), 0);
  echo_answers();
  while (!zoo.running) /* it comes back */
    deai_loop_run(loop);
  ck_assert_uint_eq(deai_child_restarts(zoo.child), 1);
  call_to(&zoo, &victim, "zoo/1", "ok");
  send_end(&victim);
  wait_closed(&victim);
  ck_assert_int_eq(victim.status, DEAI_OK);
}
END_TEST

typedef struct odd_call {
  const char *method;
  int32_t status;
} odd_call;

static const odd_call odd[] = {
    {"status", DEAI_EINTERNAL}, {"odd", DEAI_EINTERNAL},  {"again", DEAI_EINTERNAL},
    {"args", DEAI_EINVAL},      {"twice", DEAI_OK},       {"thread", DEAI_OK},
    {"refuse", DEAI_EBUSY},     {"submit", DEAI_EDENIED}, {"call", DEAI_ENOPROVIDER},
};

START_TEST(an_odd_answer_harms_its_own_call_alone) {
  test_end caller;
  begin_both();
  call_to(&zoo, &caller, "zoo/1", odd[_i].method);
  if (strcmp(odd[_i].method, "submit") == 0)
    ck_assert_int_eq(test_send(&caller, "\x81\x83\x61m\x61t\xa0", 0, DEAI_PART_END, 0), DEAI_OK);
  else
    send_end(&caller);
  wait_closed(&caller);
  ck_assert_int_eq(caller.status, odd[_i].status);
  ck_assert(zoo.running);
  ck_assert_uint_eq(opened, strcmp(odd[_i].method, "call") == 0);
  echo_answers();
}
END_TEST

START_TEST(a_flood_stalls_its_own_call_alone) {
  test_end flood;
  begin_both();
  call_to(&zoo, &flood, "zoo/1", "flood");
  flood.refuse = 1; /* nobody reads it */
  send_end(&flood);
  for (int i = 0; i < 20; i++)
    echo_answers();
  ck_assert(zoo.running);
  flood.refuse = 0; /* when no part has come yet, it would be the END */
  deai_call_cancel(flood.call, DEAI_ECANCELLED);
  deai_call_resume(flood.call, DEAI_SIDE_CALLER);
  wait_closed(&flood);
  ck_assert_int_eq(flood.status, DEAI_ECANCELLED);
}
END_TEST

typedef struct lines {
  uint32_t flood;
  bool left_out;
} lines;

static void count_line(void *user, deai_log_level level, const char *text) {
  lines *count = user;
  (void)level;
  if (strstr(text, "flood ") != NULL) count->flood++;
  if (strstr(text, "lines of log a second, found") != NULL) count->left_out = true;
}

/* The zoo's flood says 2,000 lines; the host writes 100 a second and says what it left out. */
START_TEST(a_flood_of_log_lines_is_cut) {
  test_end flood;
  lines count = {0, false};
  begin_both();
  uint64_t begin_ns = deai_loop_now_ns(loop);
  deai_log_sink(count_line, &count);
  call_to(&zoo, &flood, "zoo/1", "flood");
  send_end(&flood);
  while (!count.left_out)
    echo_answers();
  deai_log_sink(NULL, NULL);
  uint64_t seconds = (deai_loop_now_ns(loop) - begin_ns) / UINT64_C(1000000000);
  ck_assert_uint_ge(count.flood, 1);
  ck_assert_uint_le(count.flood, (seconds + 2) * DEAI_CHILD_LOG_LINES_MAX);
  ck_assert(zoo.running);
  deai_call_cancel(flood.call, DEAI_ECANCELLED);
  wait_closed(&flood);
}
END_TEST

START_TEST(a_call_that_is_never_ended_ends_by_its_time) {
  test_end caller;
  begin_both();
  deai_call_spec spec = {.service = deai_str_of("zoo/1"),
                         .method = deai_str_of("silent"),
                         .time_ms = 100,
                         .caller_class = DEAI_CLASS_LOCAL};
  caller = test_end_of(loop, DEAI_SIDE_CALLER);
  caller.call = deai_call_new(loop, &spec, &test_caller_ops, &caller);
  ck_assert_int_eq(deai_child_serve(zoo.child, caller.call), DEAI_OK);
  send_end(&caller);
  wait_closed(&caller);
  ck_assert_int_eq(caller.status, DEAI_ETIMEDOUT);
  ck_assert(zoo.running);
}
END_TEST

START_TEST(a_child_that_does_not_stop_is_killed) {
  begin_zoo("stop_hang");
  while (!zoo.running)
    deai_loop_run(loop);
  uint64_t begin_ns = deai_loop_now_ns(loop);
  deai_child_update(zoo.child, deai_str_of("ledger"), deai_bytes_of("\xa0", 1));
  beast_end(&zoo);
  zoo.child = NULL;
  ck_assert_uint_ge(deai_loop_now_ns(loop) - begin_ns, UINT64_C(4000000000));
  ck_assert_uint_lt(deai_loop_now_ns(loop) - begin_ns, UINT64_C(20000000000));
}
END_TEST

int main(void) {
  Suite *suite = suite_create("child");
  TCase *tests = tcase_create("zoo");
  tcase_set_timeout(tests, 60);
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_loop_test(tests, a_child_that_cannot_start_says_why_and_is_tried_again, 0, 5);
  tcase_add_test(tests, a_plughost_that_is_not_there);
  tcase_add_loop_test(tests, a_memory_in_which_it_cannot_start_is_named, 0,
                      (int)(sizeof too_small / sizeof too_small[0]));
  tcase_add_loop_test(tests, only_a_want_of_memory_gets_a_hint, 0, 2);
  tcase_add_test(tests, what_is_said_without_memory);
  tcase_add_test(tests, calls_before_start_are_refused_and_harm_nothing);
  tcase_add_loop_test(tests, a_child_that_dies_ends_its_calls_and_others_go_on, 0, 4);
  tcase_add_loop_test(tests, an_odd_answer_harms_its_own_call_alone, 0,
                      (int)(sizeof odd / sizeof odd[0]));
  tcase_add_test(tests, a_flood_stalls_its_own_call_alone);
  tcase_add_test(tests, a_flood_of_log_lines_is_cut);
  tcase_add_test(tests, a_call_that_is_never_ended_ends_by_its_time);
  tcase_add_test(tests, a_child_that_does_not_stop_is_killed);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
