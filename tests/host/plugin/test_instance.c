/* An instance with a table of the test: guards, held parts, timers, work, stop, races. */
#include "tests/testing.h"

#include "deai/host.h"
#include "host/base/buffer.h"
#include "host/plugin/instance.h"
#include "tests/host/router/ends.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#include "host/base/banned.h"

#define TICKETS_SEEN 2000u

struct deai_inst {
  const deai_host *host;
  deai_ctx *ctx;
  uint32_t created;
  uint32_t started;
  uint32_t stopped;
  uint32_t destroyed;
  int32_t create_status;
  int32_t start_status;
  bool no_inst;
  bool has_stopped; /* nothing may come any more */
  uint64_t tickets[TICKETS_SEEN];
  uint32_t calls;
  uint32_t parts;
  uint32_t ends;
  int32_t end_status;
  uint32_t drains;
  uint32_t cancels;
  uint32_t updates;
  uint32_t refuse; /* the next parts are held */
  int32_t call_status;
  uint32_t posted;
  uint32_t timed;
  uint32_t worked;
  uint32_t done;
  void (*on_call)(deai_inst *inst, uint64_t ticket, const deai_part *first);
  void (*on_part)(deai_inst *inst, uint64_t ticket, const deai_part *part);
  void (*on_stop)(deai_inst *inst);
};

static deai_inst me;
static deai_loop *loop;
static deai_loaded loaded;
static deai_instance *instance;
static test_end opened; /* the callee of a call that the plug-in made */
static deai_call_spec opened_spec;
static char opened_service[65];
static uint32_t opened_count;
static uint32_t described;
static uint64_t counted;
static char err[DEAI_ERR_CAP];

/* ---- the plug-in ---- */

static int32_t create(const deai_host *host, deai_ctx *ctx, deai_bytes settings,
                      deai_inst **inst_out, char *why, uint32_t why_cap) {
  (void)settings;
  me.host = host;
  me.ctx = ctx;
  me.created++;
  if (!me.no_inst) *inst_out = &me;
  if (me.create_status != DEAI_OK) {
    *inst_out = NULL;
    return deai_err(why, why_cap, me.create_status, "no clay");
  }
  return DEAI_OK;
}

static int32_t start(deai_inst *inst, char *why, uint32_t why_cap) {
  inst->started++;
  if (inst->start_status != DEAI_OK) return deai_err(why, why_cap, inst->start_status, "no breath");
  return DEAI_OK;
}

static void stop(deai_inst *inst) {
  inst->stopped++;
  if (inst->on_stop != NULL) inst->on_stop(inst);
  inst->has_stopped = true;
}

static void destroy(deai_inst *inst) {
  inst->destroyed++;
}

static int32_t on_call(deai_inst *inst, uint64_t ticket, const deai_call_info *info,
                       const deai_part *first, char *why, uint32_t why_cap) {
  ck_assert(!inst->has_stopped);
  ck_assert_uint_eq(info->size, sizeof *info);
  ck_assert_uint_lt(inst->calls, TICKETS_SEEN);
  inst->tickets[inst->calls++] = ticket;
  if (inst->on_call != NULL) inst->on_call(inst, ticket, first);
  if (inst->call_status != DEAI_OK) return deai_err(why, why_cap, inst->call_status, "not today");
  return DEAI_OK;
}

static int32_t on_part(deai_inst *inst, uint64_t ticket, const deai_part *part) {
  ck_assert(!inst->has_stopped);
  if (inst->refuse > 0) {
    inst->refuse--;
    return DEAI_EAGAIN;
  }
  inst->parts++;
  if ((part->flags & DEAI_PART_END) != 0) {
    inst->ends++;
    inst->end_status = part->status;
  }
  if (inst->on_part != NULL) inst->on_part(inst, ticket, part);
  return DEAI_OK;
}

static void on_drain(deai_inst *inst, uint64_t ticket) {
  (void)ticket;
  ck_assert(!inst->has_stopped);
  inst->drains++;
}

static void on_cancel(deai_inst *inst, uint64_t ticket, int32_t status) {
  (void)ticket, (void)status;
  ck_assert(!inst->has_stopped);
  inst->cancels++;
}

static void on_update(deai_inst *inst, deai_str topic, deai_bytes value) {
  (void)value;
  ck_assert(!inst->has_stopped);
  ck_assert(deai_str_eq(topic, deai_str_of("ledger")));
  inst->updates++;
}

static const deai_plugin table = {.size = (uint32_t)sizeof(deai_plugin),
                                  .create = create,
                                  .start = start,
                                  .stop = stop,
                                  .destroy = destroy,
                                  .on_call = on_call,
                                  .on_part = on_part,
                                  .on_drain = on_drain,
                                  .on_cancel = on_cancel,
                                  .on_update = on_update};

/* ---- the host around it ---- */

static deai_call *op_open(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                          void *end_user) {
  (void)user;
  opened_count++;
  opened_spec = *spec;
  (void)snprintf(opened_service, sizeof opened_service, "%.*s", (int)spec->service.len,
                 spec->service.ptr);
  deai_call *call = deai_call_new(loop, spec, ops, end_user);
  opened = test_end_of(loop, DEAI_SIDE_CALLEE);
  opened.call = call;
  deai_call_attach(call, &test_callee_ops, &opened);
  return call;
}

static void op_describe(void *user, const char *plugin, deai_str service, deai_bytes offer) {
  (void)user, (void)service, (void)offer;
  ck_assert_str_eq(plugin, "test/me");
  described++;
}

static void op_count(void *user, const char *plugin, const char *name, uint64_t value) {
  (void)user, (void)plugin, (void)name;
  counted = value;
}

static const deai_instance_ops ops = {.open = op_open, .describe = op_describe, .count = op_count};

static void setup_workers(uint32_t workers) {
  static const char manifest[] =
      "{\"id\":\"test/me\",\"version\":\"1\",\"offers\":[{\"service\":\"me/1\",\"methods\":"
      "{\"m\":\"member\"}}],\"needs\":[\"need/1\"],\"submits\":[\"registry/1 put\"],"
      "\"topics\":[\"ledger\"]}";
  memset(&me, 0, sizeof me);
  memset(&loaded, 0, sizeof loaded);
  opened_count = 0;
  described = 0;
  loop = deai_loop_new(deai_platform_system(), workers);
  ck_assert_ptr_nonnull(loop);
  loaded.fd = -1;
  loaded.plugin = table;
  ck_assert_msg(
      deai_manifest_parse(manifest, sizeof manifest - 1, &loaded.manifest, err, sizeof err) == 0,
      "%s", err);
}

static deai_instance *make(void) {
  deai_instance_options options = {
      .loop = loop, .loaded = &loaded, .folder = "/tmp/own", .ops = &ops, .user = &me};
  return deai_instance_new(&options, err, sizeof err);
}

static void setup(void) {
  setup_workers(0);
  instance = make();
  ck_assert_msg(instance != NULL, "%s", err);
  ck_assert_int_eq(deai_instance_start(instance, err, sizeof err), DEAI_OK);
}

static void teardown(void) {
  deai_instance_free(instance);
  if (opened.call != NULL) test_drop(&opened, DEAI_EIO, "");
  deai_loop_drain(loop);
  ck_assert_uint_eq(me.created, 1);
  ck_assert_uint_eq(me.stopped, me.started - (me.start_status != DEAI_OK));
  ck_assert_uint_eq(me.destroyed, 1);
  deai_loop_free(loop);
  deai_manifest_free(&loaded.manifest);
}

static const deai_call_spec spec = {
    .service = {"me/1", 4}, .method = {"m", 1}, .time_ms = 10000, .caller_class = DEAI_CLASS_LOCAL};

static void call_begin(test_end *caller) {
  *caller = test_end_of(loop, DEAI_SIDE_CALLER);
  caller->call = deai_call_new(loop, &spec, &test_caller_ops, caller);
  int32_t status = deai_instance_serve(instance, caller->call);
  if (status != DEAI_OK) deai_call_fail(caller->call, status, "not served");
}

static int32_t reply(uint64_t ticket, uint32_t flags, int32_t status, uint64_t body_len) {
  static uint8_t body[DEAI_BODY_MAX];
  deai_part part = {.size = (uint32_t)sizeof part,
                    .flags = flags,
                    .attachment = -1,
                    .status = status,
                    .body = deai_bytes_of(body, body_len)};
  return me.host->reply(me.ctx, ticket, &part);
}

/* ---- birth ---- */

START_TEST(a_plugin_that_cannot_be_created) {
  setup_workers(0);
  me.create_status = DEAI_EIO;
  ck_assert_ptr_null(make());
  ck_assert_str_eq(err, "test/me: not created: no clay");
  me.create_status = DEAI_OK;
  me.no_inst = true; /* it says yes and gives nothing */
  ck_assert_ptr_null(make());
  ck_assert_uint_eq(me.destroyed, 0);
  deai_instance_free(NULL);
  deai_loop_free(loop);
  deai_manifest_free(&loaded.manifest);
}
END_TEST

START_TEST(a_plugin_that_cannot_start) {
  test_end caller;
  setup_workers(0);
  instance = make();
  me.start_status = DEAI_EFULL;
  ck_assert_int_eq(deai_instance_start(instance, err, sizeof err), DEAI_EFULL);
  ck_assert_str_eq(err, "test/me: not started: no breath");
  call_begin(&caller);
  deai_loop_drain(loop);
  ck_assert_int_eq(caller.status, DEAI_EPLUGIN_DIED);
  teardown();
}
END_TEST

/* ---- guards ---- */

static void nothing(deai_inst *inst, void *user) {
  (void)inst, (void)user;
}

static void no_work(void *user) {
  (void)user;
}

/* each_refused calls every guarded function and expects that none did anything. */
static uint32_t each_refused(void) {
  uint64_t ticket = 0;
  deai_bytes map = deai_bytes_of("\xa0", 1);
  deai_part part = {.size = (uint32_t)sizeof part, .attachment = -1};
  deai_call_options options = {.size = (uint32_t)sizeof options, .service = deai_str_of("need/1")};
  const deai_host *host = me.host;
  uint32_t denied = 0;
  denied += host->after(me.ctx, 1, nothing, NULL) == DEAI_EDENIED;
  denied += host->run(me.ctx, no_work, nothing, NULL) == DEAI_EDENIED;
  denied += host->call(me.ctx, &options, &part, &ticket) == DEAI_EDENIED;
  denied += host->send(me.ctx, 1, &part) == DEAI_EDENIED;
  denied += host->reply(me.ctx, 1, &part) == DEAI_EDENIED;
  denied += host->submit(me.ctx, map, &ticket) == DEAI_EDENIED;
  denied += host->query(me.ctx, map, &ticket) == DEAI_EDENIED;
  denied += host->describe(me.ctx, deai_str_of("me/1"), map) == DEAI_EDENIED;
  host->cancel(me.ctx, 1);
  return denied;
}

static void *call_from_a_thread(void *user) {
  *(uint32_t *)user = each_refused();
  return NULL;
}

START_TEST(functions_on_another_thread_are_refused_and_counted) {
  uint32_t denied = 0;
  pthread_t thread;
  ck_assert_int_eq(pthread_create(&thread, NULL, call_from_a_thread, &denied), 0);
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
  ck_assert_uint_eq(denied, 8);
  ck_assert_uint_eq(deai_instance_faults(instance), 9);
  ck_assert_uint_eq(opened_count + described, 0);
}
END_TEST

START_TEST(functions_before_start_and_after_stop_are_refused) {
  setup_workers(0);
  instance = make();
  ck_assert_uint_eq(each_refused(), 8);
  ck_assert_int_eq(me.host->post(me.ctx, nothing, NULL), DEAI_ENOTFOUND);
  ck_assert_uint_eq(deai_instance_faults(instance), 9);
  ck_assert_int_eq(deai_instance_start(instance, err, sizeof err), DEAI_OK);
  deai_instance_stop(instance);
  ck_assert_uint_eq(each_refused(), 8);
  ck_assert_int_eq(me.host->post(me.ctx, nothing, NULL), DEAI_ENOTFOUND);
  deai_str folder = me.host->folder(me.ctx);
  ck_assert(deai_str_eq(folder, deai_str_of("/tmp/own")));
  ck_assert_ptr_null(me.host->get_interface(me.ctx, "no.such/1"));
  teardown();
}
END_TEST

START_TEST(wrong_tickets_and_wrong_sizes) {
  test_end caller;
  deai_part part = {.size = 7, .attachment = -1};
  ck_assert_int_eq(me.host->reply(me.ctx, 99, &part), DEAI_EINVAL);
  part.size = (uint32_t)sizeof part;
  ck_assert_int_eq(me.host->reply(me.ctx, 99, &part), DEAI_ENOTFOUND);
  me.host->cancel(me.ctx, 99);
  call_begin(&caller);
  ck_assert_int_eq(test_send(&caller, "x", 0, 0, 0), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_int_eq(me.host->send(me.ctx, me.tickets[0], &part), DEAI_EINVAL); /* it serves it */
  ck_assert_uint_eq(deai_instance_faults(instance), 1);
  ck_assert_int_eq(reply(me.tickets[0], DEAI_PART_END, -999, 0), DEAI_OK); /* no such status */
  deai_loop_drain(loop);
  ck_assert_int_eq(caller.status, DEAI_EINTERNAL);
  ck_assert_int_eq(reply(me.tickets[0], 0, 0, 0), DEAI_ENOTFOUND);
  ck_assert_uint_eq(deai_instance_open_calls(instance), 0);
}
END_TEST

START_TEST(only_what_the_manifest_names) {
  uint64_t ticket = 0;
  deai_part part = {.size = (uint32_t)sizeof part, .attachment = -1};
  deai_call_options options = {.size = (uint32_t)sizeof options, .service = deai_str_of("other/1")};
  ck_assert_int_eq(me.host->call(me.ctx, &options, &part, &ticket), DEAI_EDENIED);
  ck_assert_int_eq(me.host->submit(me.ctx, deai_bytes_of("\x81\x83\x61m\x61t\xa0", 7), &ticket),
                   DEAI_EDENIED);
  ck_assert_int_eq(me.host->submit(me.ctx, deai_bytes_of("\xff", 1), &ticket), DEAI_EINVAL);
  ck_assert_int_eq(me.host->describe(me.ctx, deai_str_of("x/1"), deai_bytes_of("\xa0", 1)),
                   DEAI_EINVAL);
  ck_assert_int_eq(me.host->describe(me.ctx, deai_str_of("me/1"), deai_bytes_of("\xff", 1)),
                   DEAI_EINVAL);
  ck_assert_uint_eq(opened_count + described, 0);
  ck_assert_int_eq(me.host->describe(me.ctx, deai_str_of("me/1"), deai_bytes_of("\xa0", 1)),
                   DEAI_OK);
  ck_assert_uint_eq(described, 1);
  deai_instance_update(instance, deai_str_of("record"), deai_bytes_of("\xa0", 1));
  ck_assert_uint_eq(me.updates, 0);
  deai_instance_update(instance, deai_str_of("ledger"), deai_bytes_of("\xa0", 1));
  ck_assert_uint_eq(me.updates, 1);
  me.host->count(me.ctx, "n", 7);
  ck_assert_uint_eq(counted, 7);
}
END_TEST

/* ---- calls served ---- */

START_TEST(a_refusal_of_on_call_ends_the_call) {
  static const int32_t given[] = {DEAI_EBUSY, DEAI_EAGAIN, -12345};
  static const int32_t found[] = {DEAI_EBUSY, DEAI_EINTERNAL, DEAI_EINTERNAL};
  test_end caller;
  me.call_status = given[_i];
  call_begin(&caller);
  ck_assert_int_eq(test_send(&caller, "x", 0, 0, 0), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_int_eq(caller.status, found[_i]);
  ck_assert_str_eq(caller.why, "not today");
  ck_assert_uint_eq(deai_instance_open_calls(instance), 0);
}
END_TEST

START_TEST(a_held_part_comes_again) {
  test_end caller;
  call_begin(&caller);
  ck_assert_int_eq(test_send(&caller, "first", 0, 0, 0), DEAI_OK);
  deai_loop_drain(loop);
  me.refuse = 1;
  ck_assert_int_eq(test_send(&caller, "second", 0, 0, 0), DEAI_OK);
  deai_loop_drain(loop);
  deai_loop_drain(loop);
  ck_assert_uint_eq(me.parts, 0);
  if (_i == 0) { /* after a post */
    ck_assert_int_eq(me.host->post(me.ctx, nothing, NULL), DEAI_OK);
  } else { /* after a drain */
    while (reply(me.tickets[0], 0, 0, 65536) == DEAI_OK)
      continue;
  }
  deai_loop_drain(loop);
  ck_assert_uint_eq(me.parts, 1);
  ck_assert_int_eq((int)me.drains, _i);
  deai_call_cancel(caller.call, DEAI_ECANCELLED);
  deai_loop_drain(loop);
  ck_assert_uint_eq(me.cancels, 1);
  ck_assert_int_eq(reply(me.tickets[0], DEAI_PART_END, DEAI_ECANCELLED, 0), DEAI_OK);
  ck_assert_uint_eq(deai_instance_open_calls(instance), 0);
}
END_TEST

static void end_and_refuse(deai_inst *inst, uint64_t ticket, const deai_part *part) {
  (void)inst, (void)part;
  (void)!reply(ticket, DEAI_PART_END, 0, 0);
}

static int32_t part_that_ends(deai_inst *inst, uint64_t ticket, const deai_part *part) {
  inst->parts++;
  end_and_refuse(inst, ticket, part);
  return DEAI_EAGAIN;
}

START_TEST(a_plugin_that_ends_its_call_and_holds_the_part) {
  test_end caller;
  loaded.plugin.on_part = part_that_ends;
  call_begin(&caller);
  ck_assert_int_eq(test_send(&caller, "first", 0, 0, 0), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_int_eq(test_send(&caller, "second", 0, 0, 0), DEAI_OK);
  if (_i == 1) { /* the call is over inside on_part: the caller has gone */
    test_drop(&caller, DEAI_ECANCELLED, "");
  }
  deai_loop_drain(loop);
  if (_i == 0) ck_assert_uint_eq(caller.ends, 1);
  loaded.plugin.on_part = on_part;
}
END_TEST

START_TEST(serves_so_many_and_no_more) {
  static test_end callers[DEAI_INSTANCE_SERVED_MAX + 1];
  for (uint32_t i = 0; i <= DEAI_INSTANCE_SERVED_MAX; i++)
    call_begin(&callers[i]);
  deai_loop_drain(loop);
  ck_assert_int_eq(callers[DEAI_INSTANCE_SERVED_MAX].status, DEAI_EBUSY);
  ck_assert_uint_eq(deai_instance_open_calls(instance), DEAI_INSTANCE_SERVED_MAX);
  deai_instance_stop(instance);
  deai_loop_drain(loop);
  for (uint32_t i = 0; i < DEAI_INSTANCE_SERVED_MAX; i++) {
    ck_assert_uint_eq(callers[i].ends, 1);
    ck_assert_int_eq(callers[i].status, DEAI_EPLUGIN_DIED);
    ck_assert_str_eq(callers[i].why, "the plug-in was stopped");
  }
}
END_TEST

START_TEST(a_cancel_before_on_call_is_never_seen) {
  test_end caller;
  call_begin(&caller);
  deai_call_cancel(caller.call, DEAI_ECANCELLED);
  deai_loop_drain(loop);
  ck_assert_uint_eq(me.calls + me.cancels, 0);
  ck_assert_uint_eq(deai_instance_open_calls(instance), 0);
}
END_TEST

/* ---- calls made ---- */

static int32_t make_call(uint64_t *ticket, uint64_t parent) {
  deai_call_options options = {.size = (uint32_t)sizeof options,
                               .service = deai_str_of("need/1"),
                               .method = deai_str_of("m"),
                               .time_ms = 60000,
                               .parent = parent};
  deai_part part = {.size = (uint32_t)sizeof part, .attachment = -1};
  return me.host->call(me.ctx, &options, &part, ticket);
}

START_TEST(calls_made_are_answered_through_on_part) {
  uint64_t ticket = 0;
  deai_part part = {.size = (uint32_t)sizeof part, .attachment = -1};
  ck_assert_int_eq(make_call(&ticket, DEAI_NO_TICKET), DEAI_OK);
  ck_assert_int_eq(me.host->send(me.ctx, ticket, &part), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_uint_eq(opened.parts, 2);
  ck_assert_uint_eq(opened_spec.caller_kind, DEAI_CALLER_PLUGIN);
  ck_assert_int_eq(me.host->reply(me.ctx, ticket, &part), DEAI_EINVAL); /* it does not serve it */
  ck_assert_int_eq(test_send(&opened, "answer", 0, 0, 0), DEAI_OK);
  me.refuse = 1;
  ck_assert_int_eq(test_send(&opened, NULL, 0, DEAI_PART_END, DEAI_EFULL), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_uint_eq(me.parts, 0);
  ck_assert_int_eq(me.host->post(me.ctx, nothing, NULL), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_uint_eq(me.parts, 2);
  ck_assert_int_eq(me.end_status, DEAI_EFULL);
  ck_assert_int_eq(me.host->send(me.ctx, ticket, &part), DEAI_ENOTFOUND);
}
END_TEST

START_TEST(a_call_made_while_serving_has_a_parent_and_its_time) {
  test_end caller;
  uint64_t ticket = 0;
  call_begin(&caller);
  ck_assert_int_eq(test_send(&caller, "x", 0, 0, 0), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_int_eq(make_call(&ticket, me.tickets[0]), DEAI_OK);
  ck_assert_ptr_eq(opened_spec.parent, caller.call);
  ck_assert_uint_le(opened_spec.time_ms, 10000);
  me.host->cancel(me.ctx, ticket);
  deai_loop_drain(loop);
  ck_assert_uint_eq(me.ends, 1);
  ck_assert_int_eq(me.end_status, DEAI_ECANCELLED);
  ck_assert_uint_eq(opened.cancels, 1);
  ck_assert_int_eq(reply(me.tickets[0], DEAI_PART_END, 0, 0), DEAI_OK);
  deai_loop_drain(loop);
}
END_TEST

START_TEST(makes_so_many_and_no_more) {
  uint64_t ticket = 0;
  for (uint32_t i = 0; i < DEAI_TICKETS_MAX; i++) {
    ck_assert_int_eq(make_call(&ticket, DEAI_NO_TICKET), DEAI_OK);
    test_drop(&opened, DEAI_EIO, "answered"); /* its END waits in a task */
  }
  ck_assert_int_eq(make_call(&ticket, DEAI_NO_TICKET), DEAI_EBUSY);
  deai_loop_drain(loop);
  ck_assert_uint_eq(me.ends, DEAI_TICKETS_MAX);
  ck_assert_int_eq(make_call(&ticket, DEAI_NO_TICKET), DEAI_OK);
}
END_TEST

START_TEST(submit_and_query_are_calls_of_the_host) {
  uint64_t ticket = 0;
  deai_bytes ops_bytes = deai_bytes_of("\x81\x83\x6aregistry/1\x63put\xa0", 18);
  ck_assert_int_eq(me.host->submit(me.ctx, ops_bytes, &ticket), DEAI_OK);
  ck_assert_str_eq(opened_service, DEAI_HOST_SERVICE);
  test_drop(&opened, DEAI_EPAYMENT, "cap");
  ck_assert_int_eq(me.host->query(me.ctx, deai_bytes_of("\xa0", 1), &ticket), DEAI_OK);
  ck_assert_str_eq(opened_service, "deai.ledger/1-draft");
  deai_loop_drain(loop);
  ck_assert_int_eq(me.end_status, DEAI_EPAYMENT);
}
END_TEST

/* ---- posts, timers, work ---- */

static void count_post(deai_inst *inst, void *user) {
  (void)user;
  ck_assert(!inst->has_stopped);
  inst->posted++;
}

START_TEST(so_many_posts_wait_and_no_more) {
  uint32_t taken = 0;
  while (me.host->post(me.ctx, count_post, NULL) == DEAI_OK)
    taken++;
  ck_assert_uint_eq(taken, DEAI_INSTANCE_POSTS_MAX);
  deai_loop_drain(loop);
  ck_assert_uint_eq(me.posted, taken);
  ck_assert_int_eq(me.host->post(me.ctx, count_post, NULL), DEAI_OK);
  deai_instance_stop(instance); /* the last one comes too late */
  deai_loop_drain(loop);
  ck_assert_uint_eq(me.posted, taken);
}
END_TEST

static void *post_from_a_thread(void *user) {
  for (int i = 0; i < 1000; i++) {
    while (me.host->post(me.ctx, count_post, user) == DEAI_EAGAIN)
      (void)sched_yield();
  }
  return NULL;
}

static void post_last(deai_inst *inst, void *user) {
  count_post(inst, user);
  if (inst->posted == 3003) deai_loop_stop(loop);
}

static void *post_checked(void *user) {
  (void)post_from_a_thread(user);
  while (me.host->post(me.ctx, post_last, user) == DEAI_EAGAIN)
    (void)sched_yield();
  return NULL;
}

START_TEST(posts_of_threads_run_on_the_loop) {
  pthread_t threads[3];
  for (int i = 0; i < 3; i++)
    ck_assert_int_eq(pthread_create(&threads[i], NULL, post_checked, NULL), 0);
  deai_loop_run(loop);
  for (int i = 0; i < 3; i++)
    ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
  deai_loop_drain(loop);
  ck_assert_uint_eq(me.posted, 3003);
}
END_TEST

static void count_timer(deai_inst *inst, void *user) {
  (void)user;
  ck_assert(!inst->has_stopped);
  inst->timed++;
  deai_loop_stop(loop);
}

START_TEST(timers_run_once_and_not_after_stop) {
  ck_assert_int_eq(me.host->after(me.ctx, 5, count_timer, NULL), DEAI_OK);
  ck_assert_int_eq(me.host->after(me.ctx, 60000, count_timer, NULL), DEAI_OK);
  deai_loop_run(loop);
  ck_assert_uint_eq(me.timed, 1);
  deai_instance_stop(instance);
}
END_TEST

static atomic_uint worked;

static void do_work(void *user) {
  (void)user;
  atomic_fetch_add(&worked, 1);
}

static void work_done(deai_inst *inst, void *user) {
  (void)user;
  ck_assert(!inst->has_stopped);
  if (++inst->done == 50) deai_loop_stop(loop);
}

START_TEST(work_is_done_and_stop_waits_for_it) {
  setup_workers((uint32_t)_i);
  instance = make();
  ck_assert_int_eq(deai_instance_start(instance, err, sizeof err), DEAI_OK);
  atomic_store(&worked, 0);
  for (int i = 0; i < 50; i++)
    ck_assert_int_eq(me.host->run(me.ctx, do_work, work_done, NULL), DEAI_OK);
  deai_loop_run(loop);
  ck_assert_uint_eq(atomic_load(&worked), 50);
  for (int i = 0; i < 20; i++)
    ck_assert_int_eq(me.host->run(me.ctx, do_work, work_done, NULL), DEAI_OK);
  deai_instance_stop(instance); /* workers: all work is over; none: none of it begins */
  uint32_t after_stop = atomic_load(&worked);
  ck_assert_uint_eq(after_stop, _i > 0 ? 70 : 50);
  deai_loop_drain(loop);
  ck_assert_uint_eq(atomic_load(&worked), after_stop);
  ck_assert_uint_eq(me.done, 50);
  teardown();
}
END_TEST

/* ---- stop ---- */

static void reply_in_stop(deai_inst *inst) {
  uint64_t ticket = 0;
  ck_assert_int_eq(reply(inst->tickets[0], DEAI_PART_END, 0, 3), DEAI_OK); /* still allowed */
  ck_assert_int_eq(make_call(&ticket, DEAI_NO_TICKET), DEAI_OK);
}

START_TEST(stop_ends_every_call_once) {
  test_end served[2];
  uint64_t ticket = 0;
  for (int i = 0; i < 2; i++) {
    call_begin(&served[i]);
    ck_assert_int_eq(test_send(&served[i], "x", 0, 0, 0), DEAI_OK);
  }
  deai_loop_drain(loop);
  ck_assert_int_eq(make_call(&ticket, DEAI_NO_TICKET), DEAI_OK);
  test_drop(&opened, DEAI_EIO, "x");
  me.on_stop = reply_in_stop;
  deai_instance_stop(instance);
  deai_instance_stop(instance);
  deai_loop_drain(loop);
  ck_assert_int_eq(served[0].status, DEAI_OK);
  ck_assert_int_eq(served[1].status, DEAI_EPLUGIN_DIED);
  ck_assert_uint_eq(served[0].ends + served[1].ends, 2);
  ck_assert_uint_eq(opened.cancels, 1); /* nobody waits for what it asked */
  ck_assert_uint_eq(me.ends, 0);
}
END_TEST

START_TEST(buffers_are_counted) {
  uint64_t before = deai_buffer_total();
  deai_buffer *buffer = NULL;
  ck_assert_int_eq(me.host->buffer(me.ctx, DEAI_BODY_MAX + 1, &buffer), DEAI_ETOOLARGE);
  ck_assert_int_eq(me.host->buffer(me.ctx, 10, &buffer), DEAI_OK);
  me.host->buffer_keep(me.ctx, buffer);
  me.host->buffer_drop(me.ctx, buffer);
  ck_assert_uint_eq(deai_buffer_total(), before + 10);
  me.host->buffer_drop(me.ctx, buffer);
  ck_assert_uint_eq(deai_buffer_total(), before);
  me.host->log(me.ctx, 99, deai_str_of("a line of no known level"));
}
END_TEST

static void add_started(TCase *tests) {
  tcase_add_test(tests, functions_on_another_thread_are_refused_and_counted);
  tcase_add_test(tests, wrong_tickets_and_wrong_sizes);
  tcase_add_test(tests, only_what_the_manifest_names);
  tcase_add_loop_test(tests, a_refusal_of_on_call_ends_the_call, 0, 3);
  tcase_add_loop_test(tests, a_held_part_comes_again, 0, 2);
  tcase_add_loop_test(tests, a_plugin_that_ends_its_call_and_holds_the_part, 0, 2);
  tcase_add_test(tests, serves_so_many_and_no_more);
  tcase_add_test(tests, a_cancel_before_on_call_is_never_seen);
  tcase_add_test(tests, calls_made_are_answered_through_on_part);
  tcase_add_test(tests, a_call_made_while_serving_has_a_parent_and_its_time);
  tcase_add_test(tests, makes_so_many_and_no_more);
  tcase_add_test(tests, submit_and_query_are_calls_of_the_host);
  tcase_add_test(tests, so_many_posts_wait_and_no_more);
  tcase_add_test(tests, posts_of_threads_run_on_the_loop);
  tcase_add_test(tests, timers_run_once_and_not_after_stop);
  tcase_add_test(tests, stop_ends_every_call_once);
  tcase_add_test(tests, buffers_are_counted);
}

int main(void) {
  Suite *suite = suite_create("instance");
  TCase *birth = tcase_create("birth");
  TCase *started = tcase_create("started");
  tcase_set_timeout(birth, 60);
  tcase_set_timeout(started, 60);
  tcase_add_checked_fixture(started, setup, teardown);
  tcase_add_test(birth, a_plugin_that_cannot_be_created);
  tcase_add_test(birth, a_plugin_that_cannot_start);
  tcase_add_test(birth, functions_before_start_and_after_stop_are_refused);
  tcase_add_loop_test(birth, work_is_done_and_stop_waits_for_it, 0, 3);
  add_started(started);
  suite_add_tcase(suite, birth);
  suite_add_tcase(suite, started);
  return testing_run(suite);
}
