/* The real plug-in through both local carriers: in this process and in a child. Whatever its device
   ($DEAI_LM_PLUGIN, its id in $DEAI_LM_PLUGIN_ID), its answers are those of a session on the
   processor. */
#include "plugins/compute/cpu/cpu.h"

#include "plugins/compute/lm/session.h"
#include "plugins/compute/lm/settings.h"
#include "run.h"
#include "tests/plugins/compute/lm/tiny.h"
#include "tests/testing.h"

#include "deai/contracts/lm.h"
#include "deai/contracts/wire.h"
#include "host/plugin/child.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define LIMIT_MS 90000u
#define PROMPT   9
#define ANSWER   150
#define CTX      9000
#define LONG     8000 /* with logprobs more than any window: it cannot end while nobody reads */
#define KEPT_MAX 256  /* ids that a caller remembers */

static const uint32_t prompt[PROMPT] = {72, 101, 108, 108, 111, 44, 32, 97, 98};

typedef struct fixture {
  deai_loop *loop;
  deai_loaded loaded;
  deai_instance *instance;
  deai_child *child;
  deai_timer *limit;
  bool running;
  uint8_t cid[DEAI_CID_MAX];
  uint64_t cid_len;
  uint64_t tokens; /* the counter */
} fixture;

typedef struct caller {
  fixture *fix;
  deai_call *call;
  uint64_t ids[KEPT_MAX];
  uint32_t id_count;
  uint64_t units;
  uint32_t stop_at; /* tokens after which no part is taken; 0 = all are */
  uint32_t ends;
  int32_t status;
  char why[DEAI_ERR_CAP];
  uint8_t end[8192];
  uint64_t end_len;
  bool closed;
} caller;

/* ---- the host's side ---- */

static deai_call *no_calls(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                           void *end_user) {
  fixture *fix = user;
  deai_call *call = deai_call_new(fix->loop, spec, ops, end_user);
  ck_assert_ptr_nonnull(call);
  deai_call_fail(call, DEAI_ENOPROVIDER, "none in this test");
  return call;
}

static void on_describe(void *user, const char *plugin, deai_str service, deai_bytes offer) {
  fixture *fix = user;
  _Alignas(16) uint8_t room[2048];
  char err[DEAI_ERR_CAP] = "";
  deai_arena arena = {.base = room, .cap = sizeof room};
  deai_lm_offer value;
  ck_assert_str_eq(plugin, getenv("DEAI_LM_PLUGIN_ID"));
  ck_assert(deai_str_eq(service, deai_str_of(DEAI_LM_SERVICE)));
  ck_assert_msg(deai_decode(&deai_lm_offer_table, offer, &value, &arena, err, sizeof err) == 0,
                "%s", err);
  if (value.models.count != 1) return;
  const deai_bytes *cids = value.models.items;
  memcpy(fix->cid, cids[0].ptr, (size_t)cids[0].len);
  fix->cid_len = cids[0].len;
  deai_loop_stop(fix->loop);
}

static void on_count(void *user, const char *plugin, const char *name, uint64_t value) {
  fixture *fix = user;
  (void)plugin;
  ck_assert_str_eq(name, "tokens");
  __atomic_store_n(&fix->tokens, value, __ATOMIC_SEQ_CST);
}

static const deai_instance_ops instance_ops = {
    .open = no_calls, .describe = on_describe, .count = on_count};

static void on_limit(void *user) {
  (void)user;
  ck_abort_msg("the test did not end in %u ms", LIMIT_MS);
}

static void on_ready(void *user, const char *plugin, bool running) {
  fixture *fix = user;
  (void)plugin;
  fix->running = running;
  if (!running) deai_loop_stop(fix->loop);
}

static deai_bytes settings(void) {
  static uint8_t room[1024];
  char err[DEAI_ERR_CAP] = "";
  lm_settings_file file = {.name = deai_str_of("tiny"), .path = deai_str_of("plugin.gguf")};
  lm_settings set = {
      .files = {.items = &file, .count = 1}, .queue = 8, .device = deai_str_of(""), .threads = 1};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  ck_assert_msg(deai_encode(&lm_settings_table, &set, &writer, err, sizeof err) == 0, "%s", err);
  return deai_bytes_of(room, writer.len);
}

static const char *save_model(void) {
  tiny_file file = {0};
  tiny_options options = {.type = 3, .seed = 11, .ctx = CTX};
  tiny_model(&file, &options, NULL);
  const char *path = tiny_save(&file, "plugin.gguf");
  tiny_free(&file);
  return path;
}

static void begin_instance(fixture *fix) {
  char err[DEAI_ERR_CAP] = "";
  deai_instance_options options = {.loop = fix->loop,
                                   .loaded = &fix->loaded,
                                   .settings = settings(),
                                   .folder = testing_folder(),
                                   .ops = &instance_ops,
                                   .user = fix};
  ck_assert_msg(deai_loader_load(&fix->loaded, err, sizeof err) == DEAI_OK, "%s", err);
  fix->instance = deai_instance_new(&options, err, sizeof err);
  ck_assert_msg(fix->instance != NULL, "%s", err);
  ck_assert_msg(deai_instance_start(fix->instance, err, sizeof err) == DEAI_OK, "%s", err);
}

static void begin_child(fixture *fix) {
  deai_child_options options = {.loop = fix->loop,
                                .loaded = &fix->loaded,
                                .settings = settings(),
                                .folder = testing_folder(),
                                .plughost = getenv("DEAI_PLUGHOST"),
                                .ops = &instance_ops,
                                .user = fix,
                                .ready = on_ready};
  fix->child = deai_child_new(&options);
  ck_assert_ptr_nonnull(fix->child);
}

static void setup(fixture *fix, bool in_child) {
  char err[DEAI_ERR_CAP] = "";
  memset(fix, 0, sizeof *fix);
  (void)save_model();
  fix->loop = deai_loop_new(deai_platform_system(), 1);
  fix->limit = deai_timer_new(fix->loop, on_limit, fix);
  deai_timer_set(fix->limit, LIMIT_MS);
  ck_assert_msg(deai_loader_open(&fix->loaded, getenv("DEAI_LM_PLUGIN"), NULL, err, sizeof err) ==
                    DEAI_OK,
                "%s", err);
  ck_assert_str_eq(fix->loaded.manifest.id, getenv("DEAI_LM_PLUGIN_ID"));
  ck_assert(!fix->loaded.manifest.inproc);
  if (in_child)
    begin_child(fix);
  else
    begin_instance(fix);
  deai_loop_run(fix->loop); /* until the model is offered */
  ck_assert_msg(fix->cid_len > 0, "%s", in_child ? deai_child_reason(fix->child) : "no offer");
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
  } else {
    ck_assert_uint_eq(deai_instance_faults(fix->instance), 0);
  }
  deai_instance_free(fix->instance);
  deai_loop_drain(fix->loop);
  deai_timer_free(fix->limit);
  deai_loop_free(fix->loop);
  deai_loader_close(&fix->loaded);
}

/* ---- the caller's end ---- */

static void take_tokens(caller *who, deai_bytes args) {
  static _Alignas(16) uint8_t room[65536];
  char err[DEAI_ERR_CAP] = "";
  deai_arena arena = {.base = room, .cap = sizeof room};
  deai_lm_tokens tokens;
  ck_assert_msg(deai_decode(&deai_lm_tokens_table, args, &tokens, &arena, err, sizeof err) == 0,
                "%s", err);
  const uint64_t *ids = tokens.ids.items;
  for (uint64_t i = 0; i < tokens.ids.count; i++, who->id_count++)
    if (who->id_count < KEPT_MAX) who->ids[who->id_count] = ids[i];
}

static int32_t caller_part(void *user, const deai_part *part) {
  caller *who = user;
  if ((part->flags & DEAI_PART_END) != 0) {
    who->ends++;
    who->status = part->status;
    (void)snprintf(who->why, sizeof who->why, "%.*s", (int)part->why.len,
                   part->why.len > 0 ? part->why.ptr : "");
    ck_assert_uint_le(part->args.len, sizeof who->end);
    if (part->args.len > 0) memcpy(who->end, part->args.ptr, (size_t)part->args.len);
    who->end_len = part->args.len;
    return DEAI_OK;
  }
  if (who->stop_at > 0 && who->id_count >= who->stop_at) {
    deai_loop_stop(who->fix->loop);
    return DEAI_EAGAIN;
  }
  who->units += part->units;
  take_tokens(who, part->args);
  return DEAI_OK;
}

static void caller_closed(void *user) {
  caller *who = user;
  who->closed = true;
  if (who->fix->child == NULL || who->status != DEAI_EPLUGIN_DIED) deai_loop_stop(who->fix->loop);
}

static const deai_end_ops caller_ops = {.part = caller_part, .closed = caller_closed};

static void call(fixture *fix, caller *who, const char *method, deai_bytes args, deai_bytes body,
                 uint64_t units) {
  who->fix = fix;
  deai_call_spec spec = {.service = deai_str_of(DEAI_LM_SERVICE),
                         .method = deai_str_of(method),
                         .time_ms = 80000,
                         .caller_class = DEAI_CLASS_LOCAL,
                         .units = units};
  deai_part first = {.size = (uint32_t)sizeof first,
                     .flags = DEAI_PART_END,
                     .attachment = -1,
                     .args = args,
                     .body = body};
  who->call = deai_call_new(fix->loop, &spec, &caller_ops, who);
  ck_assert_ptr_nonnull(who->call);
  int32_t status = fix->child != NULL ? deai_child_serve(fix->child, who->call)
                                      : deai_instance_serve(fix->instance, who->call);
  ck_assert_int_eq(status, DEAI_OK);
  ck_assert_int_eq(deai_call_send(who->call, DEAI_SIDE_CALLER, &first), DEAI_OK);
}

static void generate(fixture *fix, caller *who, uint32_t max) {
  uint8_t args[1024];
  char err[DEAI_ERR_CAP] = "";
  deai_lm_job job = {.ids = PROMPT,
                     .max = max,
                     .model = deai_bytes_of(fix->cid, fix->cid_len),
                     .logprobs = max == LONG ? 20 : 0,
                     .sampler = {.p = LM_MICRO, .seed = 42}};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){args, sizeof args});
  ck_assert_msg(deai_encode(&deai_lm_job_table, &job, &writer, err, sizeof err) == 0, "%s", err);
  call(fix, who, "generate", deai_bytes_of(args, writer.len), deai_bytes_of(prompt, sizeof prompt),
       PROMPT);
}

/* ---- what the session says ---- */

typedef struct direct {
  uint32_t ids[256];
  uint32_t count;
  lm_result result;
} direct;

static void run_direct(direct *out) {
  lm_engine *engine = NULL;
  lm_session *session = NULL;
  lm_model *model = run_model(save_model(), 0);
  lm_engine_config config = {.backend = {.threads = 1}};
  lm_request request = {
      .ids = prompt, .id_count = PROMPT, .max = ANSWER, .sampler = {.p = LM_MICRO, .seed = 42}};
  *out = (direct){.count = 0};
  ck_assert_int_eq(lm_engine_open(model, lm_cpu_backend(), &config, &engine, NULL), DEAI_OK);
  ck_assert_int_eq(lm_session_open(engine, &request, &session, NULL), DEAI_OK);
  for (lm_step step = {0}; step.finish == LM_FINISH_NONE;) {
    ck_assert_int_eq(lm_session_step(&session, 1, &step), DEAI_OK);
    if (step.has_token) out->ids[out->count++] = step.token;
  }
  lm_session_result(session, &out->result);
  lm_session_close(session);
  lm_engine_close(engine);
  lm_model_close(model);
}

static void ends_like(fixture *fix, const direct *whole) {
  static caller who;
  char err[DEAI_ERR_CAP] = "";
  deai_lm_end end;
  memset(&who, 0, sizeof who);
  generate(fix, &who, ANSWER);
  deai_loop_run(fix->loop);
  ck_assert(who.closed);
  ck_assert_uint_eq(who.ends, 1);
  ck_assert_msg(who.status == DEAI_OK, "%s", who.why);
  ck_assert_uint_eq(who.id_count, whole->count);
  ck_assert_uint_eq(who.units, whole->count);
  for (uint32_t i = 0; i < whole->count; i++)
    ck_assert_uint_eq(who.ids[i], whole->ids[i]);
  ck_assert_msg(deai_decode(&deai_lm_end_table, deai_bytes_of(who.end, who.end_len), &end, NULL,
                            err, sizeof err) == 0,
                "%s", err);
  ck_assert_int_eq(memcmp(end.root, whole->result.root, DEAI_HASH_BYTES), 0);
}

START_TEST(both_carriers_give_the_answer_of_the_session) {
  static direct whole;
  fixture fix;
  run_direct(&whole);
  setup(&fix, _i == 1);
  ends_like(&fix, &whole);
  ends_like(&fix, &whole); /* with the prefix reused */
  teardown(&fix);
}
END_TEST

START_TEST(refusals_come_with_their_text) {
  static caller who;
  fixture fix;
  setup(&fix, _i == 1);
  memset(&who, 0, sizeof who);
  call(&fix, &who, "generate", deai_bytes_of("\xa0", 1), deai_bytes_of(NULL, 0), 0);
  deai_loop_run(fix.loop);
  ck_assert_int_eq(who.status, DEAI_EINVAL);
  ck_assert_msg(strstr(who.why, "lm-job") != NULL, "%s", who.why);
  teardown(&fix);
}
END_TEST

/* hold runs a long answer until its caller takes no more and the plug-in had to pause. */
static void hold(fixture *fix, caller *who) {
  memset(who, 0, sizeof *who);
  who->stop_at = 3;
  generate(fix, who, LONG);
  deai_loop_run(fix->loop);
  ck_assert_uint_ge(who->id_count, 3);
  ck_assert_uint_eq(who->ends, 0);
}

static void look_alike(const caller *who, const direct *whole) {
  for (uint32_t i = 0; i < who->id_count && i < whole->count && i < KEPT_MAX; i++)
    ck_assert_uint_eq(who->ids[i], whole->ids[i]);
}

START_TEST(a_caller_who_reads_late_gets_it_all) {
  static direct whole;
  static caller who;
  fixture fix;
  run_direct(&whole);
  setup(&fix, _i == 1);
  hold(&fix, &who);
  who.stop_at = 0;
  deai_call_resume(who.call, DEAI_SIDE_CALLER);
  deai_loop_run(fix.loop);
  ck_assert_uint_eq(who.ends, 1);
  ck_assert_msg(who.status == DEAI_OK, "%s", who.why);
  ck_assert_uint_eq(who.id_count, LONG);
  ck_assert_uint_eq(who.units, LONG);
  look_alike(&who, &whole);
  teardown(&fix);
}
END_TEST

START_TEST(a_cancel_ends_the_call_and_the_next_one_runs) {
  static direct whole;
  static caller who;
  fixture fix;
  run_direct(&whole);
  setup(&fix, _i == 1);
  hold(&fix, &who);
  deai_call_cancel(who.call, DEAI_ECANCELLED);
  deai_loop_run(fix.loop);
  ck_assert_uint_eq(who.ends, 1);
  ck_assert_int_eq(who.status, DEAI_ECANCELLED);
  ends_like(&fix, &whole);
  uint64_t tokens = __atomic_load_n(&fix.tokens, __ATOMIC_SEQ_CST);
  ck_assert_uint_lt(tokens, LONG); /* the cancelled one did not go on */
  ends_like(&fix, &whole);
  ck_assert_uint_eq(__atomic_load_n(&fix.tokens, __ATOMIC_SEQ_CST), tokens + whole.count);
  teardown(&fix);
}
END_TEST

START_TEST(a_killed_child_ends_the_answer_and_comes_back) {
  static direct whole;
  static caller who;
  fixture fix;
  run_direct(&whole);
  setup(&fix, true);
  hold(&fix, &who);
  ck_assert_int_eq(kill(deai_child_pid(fix.child), SIGKILL), 0);
  deai_loop_run(fix.loop); /* until the child is no longer running */
  ck_assert(!fix.running);
  who.stop_at = 0;
  deai_call_resume(who.call, DEAI_SIDE_CALLER);
  deai_loop_drain(fix.loop);
  ck_assert(who.closed);
  ck_assert_uint_eq(who.ends, 1);
  ck_assert_msg(who.status == DEAI_EPLUGIN_DIED, "%d: %s", who.status, who.why);
  ck_assert_uint_lt(who.id_count, LONG);
  look_alike(&who, &whole);
  deai_loop_run(fix.loop); /* until the new one offers the model */
  ck_assert(fix.running);
  ends_like(&fix, &whole);
  teardown(&fix);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("lm plugin");
  TCase *tests = tcase_create("both carriers");
  tcase_set_timeout(tests, 120);
  tcase_add_loop_test(tests, both_carriers_give_the_answer_of_the_session, 0, 2);
  tcase_add_loop_test(tests, refusals_come_with_their_text, 0, 2);
  tcase_add_loop_test(tests, a_caller_who_reads_late_gets_it_all, 0, 2);
  tcase_add_loop_test(tests, a_cancel_ends_the_call_and_the_next_one_runs, 0, 2);
  tcase_add_test(tests, a_killed_child_ends_the_answer_and_comes_back);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
