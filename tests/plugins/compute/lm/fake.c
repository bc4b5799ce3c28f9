#include "fake.h"

#include "plugins/compute/cpu/cpu.h"
#include "tests/plugins/compute/lm/tiny.h"
#include "tests/testing.h"

#include "deai/contracts/blocks.h"
#include "deai/contracts/wire.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/base/banned.h"

#define POSTS_MAX 64
#define TICKETS   128
#define LIMIT_S   20

typedef void posted_fn(deai_inst *inst, void *user);

struct deai_ctx {
  pthread_mutex_t lock;
  pthread_cond_t more;
  posted_fn *posts[POSTS_MAX];
  void *users[POSTS_MAX];
  uint32_t post_count;
  posted_fn *timer;
  char folder[4096];
  fake_answer *answers[TICKETS];
  uint64_t next_ticket;
  uint32_t window;
  fake_call calls[FAKE_CALLS_MAX];
  uint32_t call_count;
  _Atomic uint64_t tokens;
  uint32_t offered;
  deai_inst *inst;
};

static deai_ctx fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

/* ---- the table ---- */

static void host_log(deai_ctx *ctx, int32_t level, deai_str text) {
  (void)ctx;
  if (level <= DEAI_LOG_WARN) printf("log %d: %.*s\n", level, (int)text.len, text.ptr);
}

static int32_t host_post(deai_ctx *ctx, posted_fn *call, void *user) {
  (void)pthread_mutex_lock(&ctx->lock);
  bool room = ctx->post_count < POSTS_MAX;
  if (room) {
    ctx->posts[ctx->post_count] = call;
    ctx->users[ctx->post_count++] = user;
  }
  (void)pthread_cond_signal(&ctx->more);
  (void)pthread_mutex_unlock(&ctx->lock);
  return room ? DEAI_OK : DEAI_EAGAIN;
}

static int32_t host_after(deai_ctx *ctx, uint64_t delay_ms, posted_fn *call, void *user) {
  (void)user;
  ck_assert_uint_eq(delay_ms, 1000);
  ctx->timer = call;
  return DEAI_OK;
}

static int32_t host_call(deai_ctx *ctx, const deai_call_options *options, const deai_part *first,
                         uint64_t *ticket_out) {
  ck_assert_uint_lt(ctx->call_count, FAKE_CALLS_MAX);
  ck_assert(deai_str_eq(options->service, deai_str_of(DEAI_BLOCKS_SERVICE)));
  ck_assert_uint_eq(first->flags, DEAI_PART_END);
  fake_call *call = &ctx->calls[ctx->call_count++];
  *call = (fake_call){.ticket = ++ctx->next_ticket, .flags = options->flags};
  (void)snprintf(call->method, sizeof call->method, "%.*s", (int)options->method.len,
                 options->method.ptr);
  ck_assert_uint_le(first->args.len, sizeof call->args);
  memcpy(call->args, first->args.ptr, (size_t)first->args.len);
  call->args_len = (size_t)first->args.len;
  *ticket_out = call->ticket;
  return DEAI_OK;
}

static void take_tokens(fake_answer *a, deai_bytes args) {
  static _Alignas(16) uint8_t room[65536];
  char err[DEAI_ERR_CAP] = "";
  deai_arena arena = {.base = room, .cap = sizeof room};
  deai_lm_tokens tokens;
  ck_assert_msg(deai_decode(&deai_lm_tokens_table, args, &tokens, &arena, err, sizeof err) == 0,
                "%s", err);
  const uint64_t *ids = tokens.ids.items;
  ck_assert_uint_le(a->id_count + tokens.ids.count, 512);
  ck_assert_uint_le(a->text_len + tokens.text.len, sizeof a->text);
  ck_assert(deai_utf8_check((deai_str){(const char *)tokens.text.ptr, tokens.text.len}));
  if (tokens.text.len > 0) memcpy(a->text + a->text_len, tokens.text.ptr, tokens.text.len);
  a->text_len += (size_t)tokens.text.len;
  for (uint64_t i = 0; i < tokens.ids.count; i++) {
    a->text_at[a->id_count] = (uint32_t)a->text_len;
    a->ids[a->id_count++] = ids[i];
  }
  const deai_lm_logprobs *lists = tokens.lp.items;
  ck_assert_uint_eq(tokens.lp.count, tokens.has != 0 ? tokens.ids.count : 0);
  for (uint64_t i = 0; i < tokens.lp.count; i++)
    a->rows += (uint32_t)lists[i].items.count;
  if (tokens.ids.count > a->largest) a->largest = (uint32_t)tokens.ids.count;
}

static void take_end(fake_answer *a, const deai_part *part) {
  char err[DEAI_ERR_CAP];
  a->ended = true;
  a->status = part->status;
  (void)snprintf(a->why, sizeof a->why, "%.*s", (int)part->why.len,
                 part->why.len > 0 ? part->why.ptr : "");
  ck_assert_uint_le(part->args.len, sizeof a->end);
  memcpy(a->end, part->args.ptr, (size_t)part->args.len);
  a->end_len = (size_t)part->args.len;
  deai_lm_end end;
  if (deai_decode(&deai_lm_end_table, deai_bytes_of(a->end, a->end_len), &end, NULL, err,
                  sizeof err) == DEAI_OK)
    a->lm = end;
}

static int32_t host_reply(deai_ctx *ctx, uint64_t ticket, const deai_part *part) {
  (void)ctx;
  fake_answer *a = fake_at(ticket);
  bool end = (part->flags & DEAI_PART_END) != 0;
  if (a->ended) return DEAI_ENOTFOUND;
  if (!end && a->window == 0) {
    a->held = true;
    return DEAI_EAGAIN;
  }
  if (end) {
    take_end(a, part);
    return DEAI_OK;
  }
  a->window--;
  a->parts++;
  a->units += part->units;
  if (part->body.len > 0) {
    a->body = realloc(a->body, a->body_len + (size_t)part->body.len);
    ck_assert_ptr_nonnull(a->body);
    memcpy(a->body + a->body_len, part->body.ptr, (size_t)part->body.len);
    a->body_len += (size_t)part->body.len;
    a->body_parts++;
    ck_assert_uint_le(part->body.len, 65536);
  } else if (part->units > 0) {
    take_tokens(a, part->args);
  }
  return DEAI_OK;
}

static void host_cancel(deai_ctx *ctx, uint64_t ticket) {
  for (uint32_t i = 0; i < ctx->call_count; i++)
    if (ctx->calls[i].ticket == ticket) ctx->calls[i].cancelled = true;
}

static int32_t host_describe(deai_ctx *ctx, deai_str service, deai_bytes offer) {
  _Alignas(16) uint8_t room[4096];
  char err[DEAI_ERR_CAP] = "";
  deai_arena arena = {.base = room, .cap = sizeof room};
  deai_lm_offer value;
  ck_assert(deai_str_eq(service, deai_str_of(DEAI_LM_SERVICE)));
  ck_assert_msg(deai_decode(&deai_lm_offer_table, offer, &value, &arena, err, sizeof err) == 0,
                "%s", err);
  ctx->offered = (uint32_t)value.models.count;
  ck_assert_uint_eq(value.price_out, 7);
  return DEAI_OK;
}

static void host_count(deai_ctx *ctx, const char *name, uint64_t value) {
  ck_assert_str_eq(name, "tokens");
  atomic_store(&ctx->tokens, value);
}

static deai_str host_folder(deai_ctx *ctx) {
  return deai_str_of(ctx->folder);
}

static const deai_host table = {.size = (uint32_t)sizeof(deai_host),
                                .log = host_log,
                                .post = host_post,
                                .after = host_after,
                                .call = host_call,
                                .reply = host_reply,
                                .cancel = host_cancel,
                                .describe = host_describe,
                                .count = host_count,
                                .folder = host_folder};

/* ---- life ---- */

deai_bytes fake_settings(const fake_options *options) {
  static uint8_t room[8192];
  char err[DEAI_ERR_CAP] = "";
  lm_settings_file file = {.name = deai_str_of("tiny"), .path = deai_str_of(options->path)};
  deai_str cid = deai_str_of(options->cid);
  lm_settings set = {.keep = options->keep_ms,
                     .files = {.items = &file, .count = options->path != NULL ? 1 : 0},
                     .queue = options->queue,
                     .device = deai_str_of(""),
                     .models = {.items = &cid, .count = options->cid != NULL ? 1 : 0},
                     .context = options->context,
                     .threads = 1,
                     .price_in = 3,
                     .price_out = 7};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  ck_assert_msg(deai_encode(&lm_settings_table, &set, &writer, err, sizeof err) == DEAI_OK, "%s",
                err);
  return deai_bytes_of(room, writer.len);
}

int32_t fake_begin(const fake_options *options, char *err, uint32_t err_cap) {
  if (fake.folder[0] == 0) (void)snprintf(fake.folder, sizeof fake.folder, "%s", testing_folder());
  fake.post_count = 0;
  fake.timer = NULL;
  fake.call_count = 0;
  fake.offered = 0;
  fake.window = UINT32_MAX;
  fake.inst = NULL;
  int32_t status = lm_service_create(lm_cpu_backend(), &table, &fake, fake_settings(options),
                                     &fake.inst, err, err_cap);
  if (status != DEAI_OK) return status;
  status = lm_service_start(fake.inst, err, err_cap);
  if (status != DEAI_OK) lm_service_destroy(fake.inst);
  return status;
}

static bool one_offered(void *user) {
  (void)user;
  return fake.offered == 1;
}

deai_inst *fake_open(const fake_options *options) {
  char err[DEAI_ERR_CAP] = "";
  ck_assert_msg(fake_begin(options, err, sizeof err) == DEAI_OK, "%s", err);
  if (options->path != NULL) fake_until(one_offered, NULL);
  return fake.inst;
}

void fake_close(void) {
  lm_service_stop(fake.inst);
  lm_service_destroy(fake.inst);
  for (uint32_t i = 0; i < TICKETS; i++) {
    if (fake.answers[i] != NULL) free(fake.answers[i]->body);
    free(fake.answers[i]);
    fake.answers[i] = NULL;
  }
  fake.next_ticket = 0;
}

/* ---- calls ---- */

fake_answer *fake_at(uint64_t ticket) {
  ck_assert(ticket > 0 && ticket < TICKETS);
  if (fake.answers[ticket] == NULL) {
    fake.answers[ticket] = calloc(1, sizeof *fake.answers[ticket]);
    ck_assert_ptr_nonnull(fake.answers[ticket]);
    fake.answers[ticket]->ticket = ticket;
    fake.answers[ticket]->window = fake.window;
  }
  return fake.answers[ticket];
}

void fake_window(uint32_t parts) {
  fake.window = parts;
}

uint64_t fake_call_service(const char *method, deai_bytes args, deai_bytes body, uint64_t units) {
  uint64_t ticket = ++fake.next_ticket;
  fake_answer *a = fake_at(ticket);
  deai_call_info info = {.size = (uint32_t)sizeof info,
                         .caller_kind = DEAI_CALLER_PEER,
                         .caller_id = deai_bytes_of("alice", 5),
                         .service = deai_str_of(DEAI_LM_SERVICE),
                         .method = deai_str_of(method),
                         .time_left_ms = 60000,
                         .units = units};
  deai_part first = {.size = (uint32_t)sizeof first,
                     .flags = DEAI_PART_END,
                     .attachment = -1,
                     .args = args,
                     .body = body};
  int32_t status =
      lm_service_call(fake.inst, ticket, &info, &first, a->why, (uint32_t)sizeof a->why);
  if (status == DEAI_OK) return ticket;
  a->status = status;
  a->ended = true;
  return ticket;
}

uint64_t fake_job(const char *method, const deai_lm_job *job, const uint32_t *prompt,
                  const uint32_t *forced) {
  uint8_t args[2048];
  uint32_t ids[1024];
  char err[DEAI_ERR_CAP] = "";
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){args, sizeof args});
  ck_assert_msg(deai_encode(&deai_lm_job_table, job, &writer, err, sizeof err) == 0, "%s", err);
  memcpy(ids, prompt, (size_t)job->ids * 4);
  if (job->forced > 0) memcpy(ids + job->ids, forced, (size_t)job->forced * 4);
  return fake_call_service(method, deai_bytes_of(args, writer.len),
                           deai_bytes_of(ids, 4 * (job->ids + job->forced)),
                           job->ids + job->forced);
}

uint64_t fake_model(const char *method, deai_bytes cid) {
  uint8_t args[256];
  char err[DEAI_ERR_CAP] = "";
  deai_lm_model_ref ref = {.model = cid};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){args, sizeof args});
  ck_assert_int_eq(deai_encode(&deai_lm_model_ref_table, &ref, &writer, err, sizeof err), DEAI_OK);
  return fake_call_service(method, deai_bytes_of(args, writer.len), deai_bytes_of(NULL, 0), 0);
}

void fake_drain(uint64_t ticket, uint32_t parts) {
  fake_at(ticket)->window = parts;
  fake_at(ticket)->held = false;
  lm_service_drain(fake.inst, ticket);
}

void fake_cancel(uint64_t ticket, int32_t status) {
  lm_service_cancel(fake.inst, ticket, status);
}

/* ---- the loop ---- */

static bool run_post(bool wait, const struct timespec *limit) {
  posted_fn *call = NULL;
  void *user = NULL;
  (void)pthread_mutex_lock(&fake.lock);
  while (wait && fake.post_count == 0)
    ck_assert_msg(pthread_cond_timedwait(&fake.more, &fake.lock, limit) == 0,
                  "nothing came for %d s", LIMIT_S);
  if (fake.post_count > 0) {
    call = fake.posts[0];
    user = fake.users[0];
    fake.post_count--;
    memmove(fake.posts, fake.posts + 1, fake.post_count * sizeof fake.posts[0]);
    memmove(fake.users, fake.users + 1, fake.post_count * sizeof fake.users[0]);
  }
  (void)pthread_mutex_unlock(&fake.lock);
  if (call != NULL) call(fake.inst, user);
  return call != NULL;
}

void fake_until(bool (*done)(void *user), void *user) {
  struct timespec limit;
  (void)clock_gettime(CLOCK_REALTIME, &limit);
  limit.tv_sec += LIMIT_S;
  while (!done(user))
    (void)run_post(true, &limit);
}

static bool has_ended(void *user) {
  return ((const fake_answer *)user)->ended;
}

fake_answer *fake_end(uint64_t ticket) {
  fake_answer *a = fake_at(ticket);
  fake_until(has_ended, a);
  return a;
}

static bool is_held(void *user) {
  return ((const fake_answer *)user)->held;
}

fake_answer *fake_held(uint64_t ticket) {
  fake_answer *a = fake_at(ticket);
  fake_until(is_held, a);
  return a;
}

void fake_tick(void) {
  posted_fn *timer = fake.timer;
  fake.timer = NULL;
  ck_assert(timer != NULL);
  timer(fake.inst, NULL);
  while (run_post(false, NULL))
    continue;
}

/* ---- what the service asks for ---- */

fake_call *fake_made(const char *method) {
  for (uint32_t i = fake.call_count; i-- > 0;)
    if (strcmp(fake.calls[i].method, method) == 0) return &fake.calls[i];
  return NULL;
}

void fake_reply(fake_call *call, int32_t status, const char *why, int32_t attachment) {
  deai_part part = {.size = (uint32_t)sizeof part, .attachment = attachment};
  if (attachment >= 0) ck_assert_int_eq(lm_service_part(fake.inst, call->ticket, &part), DEAI_OK);
  part = (deai_part){.size = (uint32_t)sizeof part,
                     .flags = DEAI_PART_END,
                     .attachment = -1,
                     .status = status,
                     .why = deai_str_of(why)};
  call->method[0] = 0;
  ck_assert_int_eq(lm_service_part(fake.inst, call->ticket, &part), DEAI_OK);
}

void fake_progress(fake_call *call, uint64_t done, uint64_t of) {
  uint8_t args[64];
  char err[DEAI_ERR_CAP] = "";
  deai_blocks_progress progress = {.done = done, .of = of};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){args, sizeof args});
  ck_assert_int_eq(deai_encode(&deai_blocks_progress_table, &progress, &writer, err, sizeof err),
                   DEAI_OK);
  deai_part part = {
      .size = (uint32_t)sizeof part, .attachment = -1, .args = deai_bytes_of(args, writer.len)};
  ck_assert_int_eq(lm_service_part(fake.inst, call->ticket, &part), DEAI_OK);
}

uint64_t fake_counter(const char *name) {
  ck_assert_str_eq(name, "tokens");
  return atomic_load(&fake.tokens);
}

uint32_t fake_offered(void) {
  return fake.offered;
}

deai_bytes fake_models(deai_lm_model *row_out) {
  static _Alignas(16) uint8_t room[8192];
  static uint8_t bytes[8192];
  char err[DEAI_ERR_CAP] = "";
  deai_arena arena = {.base = room, .cap = sizeof room};
  deai_lm_models_end end;
  uint8_t empty = 0xa0;
  uint64_t ticket =
      fake_call_service("models", deai_bytes_of(&empty, 1), deai_bytes_of(NULL, 0), 0);
  const fake_answer *a = fake_at(ticket);
  ck_assert(a->ended && a->status == DEAI_OK);
  memcpy(bytes, a->end, a->end_len);
  ck_assert_msg(deai_decode(&deai_lm_models_end_table, deai_bytes_of(bytes, a->end_len), &end,
                            &arena, err, sizeof err) == DEAI_OK,
                "%s", err);
  ck_assert_uint_eq(end.models.count, 1);
  const deai_lm_model *row = end.models.items;
  if (row_out != NULL) *row_out = *row;
  return row->model;
}

const char *fake_tiny(const char *name, uint64_t seed) {
  tiny_file file = {0};
  tiny_options options = {.type = 3, .seed = seed};
  tiny_model(&file, &options, NULL);
  const char *path = tiny_save(&file, name);
  tiny_free(&file);
  return path;
}
