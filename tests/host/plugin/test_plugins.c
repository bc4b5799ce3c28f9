/* The set of plug-ins: refusals with their reasons, services, folders, stop. */
#include "tests/testing.h"

#include "deai/cbor.h"
#include "host/plugin/plugins.h"
#include "tests/host/router/ends.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "host/base/banned.h"

static deai_loop *loop;
static deai_plugins *set;
static deai_timer *limit;
static deai_offering offers[8];
static uint32_t offer_count;
static int32_t offer_status;
static uint32_t enabled;
static uint32_t disabled;
static char err[DEAI_ERR_CAP];

static void on_limit(void *user) {
  (void)user;
  ck_abort_msg("the test did not end in time");
}

static deai_call *open_call(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                            void *end_user) {
  (void)user;
  deai_call *call = deai_call_new(loop, spec, ops, end_user);
  deai_call_fail(call, DEAI_ENOPROVIDER, "none in this test");
  return call;
}

static int32_t on_offer(void *user, const deai_offering *offering) {
  (void)user;
  if (offer_status != DEAI_OK) return offer_status;
  ck_assert_uint_lt(offer_count, 8);
  offers[offer_count++] = *offering;
  return DEAI_OK;
}

static void on_enable(void *user, const char *plugin, bool on) {
  (void)user, (void)plugin;
  enabled += on;
  disabled += !on;
  deai_loop_stop(loop);
}

static const deai_plugins_ops ops = {
    .instance = {.open = open_call}, .offer = on_offer, .enable = on_enable};

static void setup(void) {
  offer_count = 0;
  offer_status = DEAI_OK;
  enabled = 0;
  disabled = 0;
  loop = deai_loop_new(deai_platform_system(), 1);
  limit = deai_timer_new(loop, on_limit, NULL);
  deai_timer_set(limit, 30000);
  set = deai_plugins_new(loop, testing_folder(), getenv("DEAI_PLUGHOST"), &ops, NULL);
  ck_assert_ptr_nonnull(set);
}

static void on_stopped(void *user) {
  *(bool *)user = true;
  deai_loop_stop(loop);
}

static void stop_all(void) {
  bool stopped = false;
  deai_plugins_stop(set, on_stopped, &stopped);
  while (!stopped)
    deai_loop_run(loop);
}

static void teardown(void) {
  stop_all();
  deai_plugins_free(set);
  deai_plugins_free(NULL);
  deai_loop_drain(loop);
  deai_timer_free(limit);
  deai_loop_free(loop);
}

static deai_bytes settings_of(const char *key, const char *value) {
  static uint8_t room[128];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  deai_cbor_put_map(&writer, 1);
  deai_cbor_put_text(&writer, deai_str_of(key));
  deai_cbor_put_text(&writer, deai_str_of(value));
  return deai_bytes_of(room, writer.len);
}

static int32_t add(const char *path, int32_t isolation, deai_bytes settings) {
  deai_loaded loaded;
  err[0] = 0;
  ck_assert_msg(deai_loader_open(&loaded, path, NULL, err, sizeof err) == DEAI_OK, "%s", err);
  deai_plugin_spec spec = {.path = path, .isolation = isolation, .settings = settings};
  int32_t status = deai_plugins_add(set, &spec, &loaded, err, sizeof err);
  ck_assert_int_eq(loaded.fd, -1); /* taken over in any case */
  return status;
}

static int32_t add_echo(int32_t isolation) {
  return add(getenv("DEAI_ECHO_PLUGIN"), isolation, settings_of("prefix", ""));
}

static const char *zoo(const char *name) {
  static char path[4200];
  (void)snprintf(path, sizeof path, "%s/%s.so", getenv("DEAI_ZOO"), name);
  return path;
}

static void expect_row(uint32_t at, const char *state, const char *reason) {
  deai_plugin_row row = deai_plugins_row(set, at);
  ck_assert_str_eq(row.state, state);
  ck_assert_str_eq(row.reason, reason);
}

START_TEST(a_refused_plugin_keeps_its_reason) {
  ck_assert_int_eq(add(zoo("zoo_new_major"), -1, settings_of("x", "")), DEAI_EVERSION);
  ck_assert_ptr_nonnull(strstr(err, "zoo/wild: expected a plug-in for SDK"));
  expect_row(0, "refused", err);
  ck_assert_int_lt(add(zoo("zoo"), 0, settings_of("mode", "create_refuse")), 0);
  expect_row(1, "refused", "zoo/beast: not created: expected a better world, found this one");
  ck_assert_int_eq(add(zoo("zoo"), 0, settings_of("mode", "start_refuse")), DEAI_EIO);
  expect_row(2, "refused", "zoo/beast: not started: expected a disk, found none");
  ck_assert_uint_eq(enabled, 0);
  ck_assert_uint_eq(deai_plugins_count(set), 3);
  test_end caller = test_end_of(loop, DEAI_SIDE_CALLER);
  deai_call_spec spec = {.service = deai_str_of("zoo/1"), .time_ms = 1000};
  caller.call = deai_call_new(loop, &spec, &test_caller_ops, &caller);
  const deai_provider *provider = &offers[offer_count - 1].provider;
  ck_assert_int_eq(provider->serve(provider->user, caller.call, err), DEAI_EPLUGIN_DIED);
  test_drop(&caller, DEAI_ECANCELLED, "");
}
END_TEST

START_TEST(no_room_for_services) {
  offer_status = DEAI_EFULL;
  ck_assert_int_eq(add_echo(0), DEAI_EFULL);
  expect_row(0, "refused", "example/echo: expected room for its services, found none");
}
END_TEST

START_TEST(so_many_plugins_and_no_more) {
  offer_status = DEAI_EFULL;
  for (uint32_t i = 0; i < DEAI_PLUGINS_MAX; i++)
    (void)!add_echo(0);
  ck_assert_int_eq(add_echo(0), DEAI_EFULL);
  ck_assert_str_eq(err, "expected at most 32 plug-ins");
  ck_assert_uint_eq(deai_plugins_count(set), DEAI_PLUGINS_MAX);
}
END_TEST

static void echo_once(void) {
  test_end caller = test_end_of(loop, DEAI_SIDE_CALLER);
  char why[DEAI_ERR_CAP] = "";
  deai_call_spec spec = {
      .service = deai_str_of("example.echo/1"), .method = deai_str_of("echo"), .time_ms = 10000};
  caller.call = deai_call_new(loop, &spec, &test_caller_ops, &caller);
  const deai_provider *provider = &offers[0].provider;
  ck_assert_msg(provider->serve(provider->user, caller.call, why) == DEAI_OK, "%s", why);
  ck_assert_int_eq(test_send(&caller, "hello", 0, DEAI_PART_END, 0), DEAI_OK);
  caller.stop_at_close = true;
  while (caller.closed == 0)
    deai_loop_run(loop);
  ck_assert_int_eq(caller.status, DEAI_OK);
  ck_assert_uint_eq(caller.bytes, 5);
}

START_TEST(runs_here_or_in_a_child) {
  char folder[4300];
  struct stat info;
  ck_assert_msg(add_echo(_i) == DEAI_OK, "%s", err);
  ck_assert_uint_eq(offer_count, 1);
  ck_assert_str_eq(offers[0].service, "example.echo/1");
  ck_assert_int_eq(
      offers[0].class_of(offers[0].class_user, deai_str_of("example.echo/1"), deai_str_of("echo")),
      DEAI_CLASS_MEMBER);
  if (_i == 1) ck_assert_uint_eq(deai_plugins_starting(set), 1);
  while (enabled == 0)
    deai_loop_run(loop);
  ck_assert_uint_eq(deai_plugins_starting(set), 0);
  deai_plugin_row row = deai_plugins_row(set, 0);
  ck_assert_str_eq(row.state, "running");
  ck_assert_int_eq(row.in_child, _i);
  ck_assert_int_eq(row.pid > 0, _i);
  (void)snprintf(folder, sizeof folder, "%s/example-echo", testing_folder());
  ck_assert_int_eq(stat(folder, &info), 0);
  ck_assert_uint_eq(info.st_mode & 0777, 0700);
  echo_once();
  deai_plugins_update(set, deai_str_of("ledger"), deai_bytes_of("\xa0", 1));
  stop_all();
  expect_row(0, "stopped", "");
}
END_TEST

int main(void) {
  Suite *suite = suite_create("plugins");
  TCase *tests = tcase_create("plugins");
  tcase_set_timeout(tests, 60);
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, a_refused_plugin_keeps_its_reason);
  tcase_add_test(tests, no_room_for_services);
  tcase_add_test(tests, so_many_plugins_and_no_more);
  tcase_add_loop_test(tests, runs_here_or_in_a_child, 0, 2);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
