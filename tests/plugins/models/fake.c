#include "fake.h"

#include "deai/contracts/wire.h"
#include "tests/testing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

fake_host fake;

static uint8_t *copy(deai_bytes bytes) {
  uint8_t *out = malloc((size_t)bytes.len + 1);
  ck_assert_ptr_nonnull(out);
  if (bytes.len > 0) memcpy(out, bytes.ptr, (size_t)bytes.len);
  out[bytes.len] = 0;
  return out;
}

/* ---- the host table ---- */

static void host_log(deai_ctx *ctx, int32_t level, deai_str text) {
  (void)ctx, (void)level;
  size_t used = strlen(fake.logs);
  (void)snprintf(fake.logs + used, sizeof fake.logs - used, "%.*s\n", (int)text.len, text.ptr);
}

static int32_t host_after(deai_ctx *ctx, uint64_t delay_ms,
                          void (*call)(deai_inst *inst, void *user), void *user) {
  (void)ctx, (void)delay_ms;
  ck_assert_uint_lt(fake.timer_count, 16);
  fake.timers[fake.timer_count] = call;
  fake.timer_users[fake.timer_count++] = user;
  return DEAI_OK;
}

static int32_t host_run(deai_ctx *ctx, void (*work)(void *user),
                        void (*done)(deai_inst *inst, void *user), void *user) {
  (void)ctx;
  work(user);
  done(fake.inst, user);
  return DEAI_OK;
}

static int32_t host_call(deai_ctx *ctx, const deai_call_options *options, const deai_part *first,
                         uint64_t *ticket_out) {
  (void)ctx;
  ck_assert_uint_lt(fake.call_count, FAKE_CALLS_MAX);
  fake_call *call = &fake.calls[fake.call_count++];
  *call = (fake_call){.ticket = ++fake.next_ticket,
                      .args = copy(first->args),
                      .args_len = first->args.len,
                      .body = copy(first->body),
                      .body_len = first->body.len,
                      .flags = options->flags,
                      .units = options->units,
                      .parent = options->parent};
  (void)snprintf(call->service, sizeof call->service, "%.*s", (int)options->service.len,
                 options->service.ptr);
  (void)snprintf(call->method, sizeof call->method, "%.*s", (int)options->method.len,
                 options->method.ptr);
  if (options->provider.len == DEAI_KEY_BYTES)
    memcpy(call->provider, options->provider.ptr, DEAI_KEY_BYTES);
  if (options->job.len == DEAI_ID_BYTES) memcpy(call->job, options->job.ptr, DEAI_ID_BYTES);
  for (uint32_t i = 0; i < options->avoid_count && i < 8; i++)
    memcpy(call->avoid[call->avoid_count++], options->avoid[i].ptr, DEAI_KEY_BYTES);
  *ticket_out = call->ticket;
  return DEAI_OK;
}

static int32_t host_query(deai_ctx *ctx, deai_bytes query, uint64_t *ticket_out) {
  deai_call_options options = {.service = deai_str_of("ledger"), .method = deai_str_of("query")};
  deai_part first = {.args = query};
  return host_call(ctx, &options, &first, ticket_out);
}

static void reply_head(fake_answer *answer, deai_bytes args) {
  static _Alignas(16) uint8_t room[65536];
  char err[DEAI_ERR_CAP] = "";
  deai_arena arena = {room, sizeof room, 0};
  deai_http_answer head;
  ck_assert_msg(deai_decode(&deai_http_answer_table, args, &head, &arena, err, sizeof err) == 0,
                "%s", err);
  answer->http_status = head.status;
  answer->headers = calloc(1, 65536);
  ck_assert_ptr_nonnull(answer->headers);
  const deai_text_pair *rows = head.h.items;
  size_t used = 0;
  for (uint64_t i = 0; i < head.h.count; i++)
    used +=
        (size_t)snprintf(answer->headers + used, 65536 - used, "%.*s: %.*s\n", (int)rows[i].key.len,
                         rows[i].key.ptr, (int)rows[i].value.len, rows[i].value.ptr);
}

static int32_t host_reply(deai_ctx *ctx, uint64_t ticket, const deai_part *part) {
  (void)ctx;
  fake_answer *answer = fake_answer_of(ticket);
  bool is_end = (part->flags & DEAI_PART_END) != 0;
  ck_assert_uint_eq(answer->ends, 0);
  if (!is_end && fake.window == 0) return DEAI_EAGAIN;
  if (!is_end && fake.window > 0) fake.window--;
  if (!is_end && part->args.len > 0) reply_head(answer, part->args);
  if (part->body.len > 0) {
    answer->parts++;
    answer->body = realloc(answer->body, (size_t)(answer->body_len + part->body.len) + 1);
    ck_assert_ptr_nonnull(answer->body);
    memcpy(answer->body + answer->body_len, part->body.ptr, (size_t)part->body.len);
    answer->body_len += part->body.len;
    answer->body[answer->body_len] = 0;
  }
  if (!is_end) return DEAI_OK;
  answer->ends++;
  answer->end_status = part->status;
  answer->args = copy(part->args);
  answer->args_len = part->args.len;
  return DEAI_OK;
}

static void host_cancel(deai_ctx *ctx, uint64_t ticket) {
  (void)ctx;
  for (uint32_t i = 0; i < fake.call_count; i++)
    if (fake.calls[i].ticket == ticket) fake.calls[i].cancelled = true;
}

static void host_count(deai_ctx *ctx, const char *name, uint64_t value) {
  (void)ctx;
  size_t len = strlen(name);
  uint32_t at = 0;
  while (at < fake.count_count &&
         (strncmp(fake.counts[at], name, len) != 0 || fake.counts[at][len] != '='))
    at++;
  ck_assert_uint_lt(at, 64);
  if (at == fake.count_count) fake.count_count++;
  (void)snprintf(fake.counts[at], sizeof fake.counts[at], "%s=%" PRIu64, name, value);
}

static deai_str host_folder(deai_ctx *ctx) {
  (void)ctx;
  return deai_str_of(fake.folder);
}

static const deai_host host_table = {.size = (uint32_t)sizeof(deai_host),
                                     .log = host_log,
                                     .after = host_after,
                                     .run = host_run,
                                     .call = host_call,
                                     .query = host_query,
                                     .reply = host_reply,
                                     .cancel = host_cancel,
                                     .count = host_count,
                                     .folder = host_folder};

/* ---- life ---- */

void fake_begin(deai_bytes settings) {
  char err[DEAI_ERR_CAP] = "";
  deai_hello hello = {.magic = DEAI_MAGIC,
                      .struct_size = (uint32_t)sizeof hello,
                      .host_major = DEAI_ABI_MAJOR,
                      .host_minor = DEAI_ABI_MINOR,
                      .err = err,
                      .err_cap = sizeof err};
  const char *folder = fake.folder;
  memset(&fake, 0, sizeof fake);
  fake.folder = folder != NULL ? folder : testing_folder();
  fake.window = -1;
  ck_assert_int_eq(deai_plugin_entry(&hello), DEAI_OK);
  fake.plugin = hello.plugin;
  ck_assert_msg(fake.plugin->create(&host_table, NULL, settings, &fake.inst, err, sizeof err) == 0,
                "%s", err);
  ck_assert_msg(fake.plugin->start(fake.inst, err, sizeof err) == DEAI_OK, "%s", err);
}

void fake_stop(void) {
  fake.plugin->stop(fake.inst);
  fake.plugin->destroy(fake.inst);
  for (uint32_t i = 0; i < fake.call_count; i++) {
    free(fake.calls[i].args);
    free(fake.calls[i].body);
  }
  for (uint32_t i = 0; i < fake.answer_count; i++) {
    ck_assert_uint_le(fake.answers[i].ends, 1);
    free(fake.answers[i].headers);
    free(fake.answers[i].body);
    free(fake.answers[i].args);
  }
  fake.call_count = 0;
  fake.answer_count = 0;
}

/* ---- the caller ---- */

fake_answer *fake_answer_of(uint64_t ticket) {
  for (uint32_t i = 0; i < fake.answer_count; i++)
    if (fake.answers[i].ticket == ticket) return &fake.answers[i];
  ck_abort_msg("no such ticket");
  return NULL;
}

uint64_t fake_call_in(const char *service, const char *method, deai_bytes args, deai_bytes body) {
  char err[DEAI_ERR_CAP] = "";
  deai_call_info info = {.size = (uint32_t)sizeof info,
                         .service = deai_str_of(service),
                         .method = deai_str_of(method),
                         .time_left_ms = 60000};
  deai_part first = {.size = (uint32_t)sizeof first,
                     .flags = DEAI_PART_END,
                     .attachment = -1,
                     .args = args,
                     .body = body};
  ck_assert_uint_lt(fake.answer_count, FAKE_ANSWERS_MAX);
  uint64_t ticket = ++fake.next_ticket;
  fake.answers[fake.answer_count++] = (fake_answer){.ticket = ticket};
  int32_t status = fake.plugin->on_call(fake.inst, ticket, &info, &first, err, sizeof err);
  if (status < 0) {
    fake_answer *answer = fake_answer_of(ticket);
    answer->ends++;
    answer->end_status = status;
  }
  return ticket;
}

uint64_t fake_http(const char *method, const char *path, const char *body) {
  deai_http_request request = {.path = deai_str_of(path),
                               .query = deai_str_of(""),
                               .method = deai_str_of(method),
                               .h = {fake.headers, fake.header_count}};
  return fake_call_in(DEAI_HTTP_SERVICE, "request", fake_encode(&deai_http_request_table, &request),
                      deai_bytes_of(body, body != NULL ? strlen(body) : 0));
}

void fake_cancel(uint64_t ticket) {
  fake.plugin->on_cancel(fake.inst, ticket, DEAI_ECANCELLED);
}

/* ---- the providers ---- */

fake_call *fake_open(const char *method) {
  for (uint32_t i = 0; i < fake.call_count; i++)
    if (!fake.calls[i].ended && strcmp(fake.calls[i].method, method) == 0) return &fake.calls[i];
  return NULL;
}

int32_t fake_part(fake_call *call, deai_bytes args, deai_bytes body, const uint8_t *provider) {
  deai_part part = {.size = (uint32_t)sizeof part, .attachment = -1, .args = args, .body = body};
  if (provider != NULL) part.provider = deai_bytes_of(provider, DEAI_KEY_BYTES);
  return fake.plugin->on_part(fake.inst, call->ticket, &part);
}

int32_t fake_end(fake_call *call, int32_t status, deai_bytes args, const uint8_t *provider,
                 deai_bytes receipt) {
  deai_part part = {.size = (uint32_t)sizeof part,
                    .flags = DEAI_PART_END,
                    .attachment = -1,
                    .args = args,
                    .status = status,
                    .why = deai_str_of(status == DEAI_OK ? "" : "the test says so"),
                    .receipt = receipt,
                    .others = fake.others};
  if (provider != NULL) part.provider = deai_bytes_of(provider, DEAI_KEY_BYTES);
  call->ended = true;
  int32_t taken = fake.plugin->on_part(fake.inst, call->ticket, &part);
  if (taken == DEAI_EAGAIN) call->ended = false;
  return taken;
}

void fake_fail(fake_call *call, int32_t status, const uint8_t *provider) {
  (void)fake_end(call, status, (deai_bytes){NULL, 0}, provider, (deai_bytes){NULL, 0});
}

deai_bytes fake_encode(const deai_table *table, const void *value) {
  static uint8_t room[DEAI_HEAD_MAX];
  char err[DEAI_ERR_CAP] = "";
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  ck_assert_msg(deai_encode(table, value, &writer, err, sizeof err) == DEAI_OK, "%s", err);
  return deai_bytes_of(room, writer.len);
}

/* ---- the clock ---- */

void fake_timers_run(void) {
  uint32_t count = fake.timer_count;
  void (*calls[16])(deai_inst * inst, void *user);
  void *users[16];
  memcpy(calls, fake.timers, sizeof calls);
  memcpy(users, fake.timer_users, sizeof users);
  fake.timer_count = 0;
  for (uint32_t i = 0; i < count; i++)
    calls[i](fake.inst, users[i]);
}

uint64_t fake_counted(const char *name) {
  size_t len = strlen(name);
  for (uint32_t i = 0; i < fake.count_count; i++)
    if (strncmp(fake.counts[i], name, len) == 0 && fake.counts[i][len] == '=')
      return strtoull(fake.counts[i] + len + 1, NULL, 10);
  return 0;
}
