/* A plug-in that does what none should do: its setting "mode" says what fails at the start, the
   method that is called what fails later. */
#include "deai/codec.h"
#include "deai/host.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/base/banned.h"

DEAI_MANIFEST_FILE("zoo.json");

struct deai_inst {
  const deai_host *host;
  deai_ctx *ctx;
  char mode[32];
  uint64_t ticket; /* what `call` and `submit` answer once their own call has ended */
};

typedef struct settings {
  deai_str mode;
} settings;

static const deai_field settings_rows[] = {DEAI_F_TEXT(settings, mode, "mode", 0, 31)};
static const deai_table settings_table = DEAI_TABLE_HEAD("settings", settings, settings_rows);

static bool is(const char *text, const char *other) {
  return strcmp(text, other) == 0;
}

static void crash(void) {
  (void)raise(SIGSEGV);
}

static int32_t create(const deai_host *host, deai_ctx *ctx, deai_bytes given, deai_inst **inst_out,
                      char *err, uint32_t err_cap) {
  settings set;
  int32_t status = deai_decode(&settings_table, given, &set, NULL, err, err_cap);
  if (status != DEAI_OK) return status;
  deai_inst *inst = calloc(1, sizeof *inst);
  if (inst == NULL) return DEAI_ENOMEM;
  inst->host = host;
  inst->ctx = ctx;
  memcpy(inst->mode, set.mode.ptr, (size_t)set.mode.len);
  *inst_out = inst;
  if (is(inst->mode, "create_crash")) crash();
  if (is(inst->mode, "create_exit")) exit(7);
  if (is(inst->mode, "create_call")) /* too early: answered with EDENIED */
    status = host->describe(ctx, deai_str_of("zoo/1"), deai_bytes_of("\xa0", 1));
  if (is(inst->mode, "create_refuse") || is(inst->mode, "create_poor")) {
    bool poor = is(inst->mode, "create_poor");
    free(inst);
    *inst_out = NULL;
    if (poor) return DEAI_ENOMEM; /* and not a word */
    return deai_err(err, err_cap, DEAI_EINVAL, "expected a better world, found this one");
  }
  return DEAI_OK;
}

static int32_t start(deai_inst *inst, char *err, uint32_t err_cap) {
  if (is(inst->mode, "start_crash")) crash();
  if (is(inst->mode, "start_refuse"))
    return deai_err(err, err_cap, DEAI_EIO, "expected a disk, found none");
  return DEAI_OK;
}

static void stop(deai_inst *inst) {
  if (is(inst->mode, "stop_hang")) (void)pause();
}

static void destroy(deai_inst *inst) {
  free(inst);
}

static int32_t reply(deai_inst *inst, uint64_t ticket, uint32_t flags, int32_t status,
                     deai_bytes args, deai_bytes body) {
  deai_part part = {.size = (uint32_t)sizeof part,
                    .flags = flags,
                    .attachment = -1,
                    .status = status,
                    .args = args,
                    .body = body};
  return inst->host->reply(inst->ctx, ticket, &part);
}

/* flood sends far more than anybody reads and does not care for DEAI_EAGAIN. */
static void flood(deai_inst *inst, uint64_t ticket) {
  static uint8_t body[65536];
  for (int i = 0; i < 2000; i++) {
    deai_text(inst->host, inst->ctx, DEAI_LOG_INFO, "flood %d", i);
    (void)reply(inst, ticket, 0, 0, deai_bytes_of(NULL, 0), deai_bytes_of(body, sizeof body));
  }
}

static void *from_a_thread(void *user) {
  deai_inst *inst = user;
  int32_t status =
      reply(inst, inst->ticket, DEAI_PART_END, 0, deai_bytes_of(NULL, 0), deai_bytes_of("no", 2));
  return status == DEAI_EDENIED ? NULL : user;
}

static void answer_on_thread(deai_inst *inst, uint64_t ticket) {
  pthread_t thread;
  void *wrong = inst;
  inst->ticket = ticket;
  if (pthread_create(&thread, NULL, from_a_thread, inst) == 0) (void)pthread_join(thread, &wrong);
  (void)deai_reply_end(inst->host, inst->ctx, ticket, wrong == NULL ? DEAI_OK : DEAI_EINTERNAL,
                       deai_bytes_of(NULL, 0), NULL);
}

/* call_out makes a call of its own, or proposes to the ledger, and answers with the answer. */
static int32_t call_out(deai_inst *inst, uint64_t ticket, const char *service, bool submits,
                        const deai_part *first) {
  uint64_t made = 0;
  deai_call_options options = {.size = (uint32_t)sizeof options,
                               .service = deai_str_of(service),
                               .method = deai_str_of("generate"),
                               .time_ms = 5000,
                               .parent = ticket};
  deai_part part = {.size = (uint32_t)sizeof part, .flags = DEAI_PART_END, .attachment = -1};
  inst->ticket = ticket;
  return submits ? inst->host->submit(inst->ctx, first->body, &made)
                 : inst->host->call(inst->ctx, &options, &part, &made);
}

static int32_t misbehave(deai_inst *inst, uint64_t ticket, const char *method,
                         const deai_part *first, char *err, uint32_t err_cap) {
  deai_bytes none = deai_bytes_of(NULL, 0);
  if (is(method, "crash")) crash();
  if (is(method, "abort")) abort();
  if (is(method, "exit")) exit(3);
  while (is(method, "hang"))
    (void)pause();
  if (is(method, "flood")) flood(inst, ticket);
  if (is(method, "status")) return reply(inst, ticket, DEAI_PART_END, -77, none, none);
  if (is(method, "odd")) return -12345;
  if (is(method, "again")) return DEAI_EAGAIN;
  if (is(method, "args"))
    return reply(inst, ticket, DEAI_PART_END, 0, deai_bytes_of("\xff\xff", 2), none);
  if (is(method, "twice")) {
    (void)reply(inst, ticket, DEAI_PART_END, 0, none, deai_bytes_of("first", 5));
    int32_t status = reply(inst, ticket, DEAI_PART_END, DEAI_EIO, none, none);
    return status == DEAI_ENOTFOUND ? DEAI_OK : DEAI_EINTERNAL;
  }
  if (is(method, "thread")) answer_on_thread(inst, ticket);
  if (is(method, "refuse"))
    return deai_err(err, err_cap, DEAI_EBUSY, "expected less work, found more");
  if (is(method, "call")) return call_out(inst, ticket, "deai.lm/1-draft", false, first);
  if (is(method, "submit")) return call_out(inst, ticket, "", true, first);
  if (is(method, "ok")) return reply(inst, ticket, DEAI_PART_END, 0, none, first->body);
  return DEAI_OK; /* silent */
}

static int32_t on_call(deai_inst *inst, uint64_t ticket, const deai_call_info *info,
                       const deai_part *first, char *err, uint32_t err_cap) {
  char method[32] = "";
  memcpy(method, info->method.ptr, info->method.len < 31 ? (size_t)info->method.len : 31);
  return misbehave(inst, ticket, method, first, err, err_cap);
}

static int32_t on_part(deai_inst *inst, uint64_t ticket, const deai_part *part) {
  (void)ticket;
  if ((part->flags & DEAI_PART_END) == 0 || inst->ticket == 0) return DEAI_OK;
  uint64_t waiting = inst->ticket;
  inst->ticket = 0;
  (void)deai_reply_end(inst->host, inst->ctx, waiting, part->status, deai_bytes_of(NULL, 0), "%.*s",
                       (int)part->why.len, part->why.ptr);
  return DEAI_OK;
}

static void on_cancel(deai_inst *inst, uint64_t ticket, int32_t status) {
  (void)inst, (void)ticket, (void)status; /* it never ends: the host does not wait for ever */
}

static const deai_plugin plugin = {.size = (uint32_t)sizeof(deai_plugin),
                                   .create = create,
                                   .start = start,
                                   .stop = stop,
                                   .destroy = destroy,
                                   .on_call = on_call,
                                   .on_part = on_part,
                                   .on_cancel = on_cancel};

int32_t deai_plugin_entry(deai_hello *hello) {
  return deai_hello_accept(hello, &plugin);
}
