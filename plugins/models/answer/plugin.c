/* The plug-in: its life, and the way from an HTTP request to what answers it. */
#include "audit.h"
#include "job.h"
#include "plugins/compute/lm/template.h"

#include "deai/contracts/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "host/base/banned.h"

DEAI_MANIFEST_FILE("manifest.json");

typedef enum route_kind {
  ROUTE_NONE,
  ROUTE_MODELS,
  ROUTE_MODEL,
  ROUTE_CHAT,
  ROUTE_TEXT
} route_kind;

/* One HTTP request being served. */
struct answer_exchange {
  answer_exchange *next;
  deai_inst *inst;
  answer_output output;
  route_kind route;
  char *model; /* ROUTE_MODEL: what was asked for */
  answer_wishes wishes;
  answer_text body;
  answer_job *job;
};

static const deai_field settings_rows[] = {
    DEAI_F_UINT(answer_settings, audit, "audit", 0, 1000000),
    DEAI_F_UINT(answer_settings, queue, "queue", 1, 64),
    DEAI_F_TEXT(answer_settings, route, "route", 1, 16),
    DEAI_F_TEXT(answer_settings, preset, "default", 0, 200),
    DEAI_F_BOOL(answer_settings, audit_wait, "audit_wait"),
};
static const deai_table settings_table =
    DEAI_TABLE_HEAD("settings", answer_settings, settings_rows);

/* ---- life ---- */

static int32_t create(const deai_host *host, deai_ctx *ctx, deai_bytes given, deai_inst **inst_out,
                      char *err, uint32_t err_cap) {
  answer_settings set;
  int32_t status = deai_decode(&settings_table, given, &set, NULL, err, err_cap);
  if (status != DEAI_OK) return status;
  deai_inst *inst = calloc(1, sizeof *inst);
  uint8_t *room = aligned_alloc(16, ANSWER_ROOM_BYTES);
  if (inst == NULL || room == NULL) {
    free(inst);
    free(room);
    return DEAI_ENOMEM;
  }
  inst->host = host;
  inst->ctx = ctx;
  inst->room = room;
  inst->audit = set.audit;
  inst->audit_wait = set.audit_wait != 0;
  inst->local_only = deai_str_eq(set.route, deai_str_of("local")) != 0;
  inst->queue = set.queue;
  memcpy(inst->preset, set.preset.ptr, (size_t)set.preset.len);
  inst->created = (int64_t)time(NULL);
  *inst_out = inst;
  return DEAI_OK;
}

static int32_t start(deai_inst *inst, char *err, uint32_t err_cap) {
  (void)err, (void)err_cap;
  inst->started = true;
  return DEAI_OK;
}

static void exchange_free(answer_exchange *exchange) {
  answer_models_forget(exchange->inst, exchange);
  answer_job_free(exchange->job);
  answer_output_free(&exchange->output);
  answer_text_free(&exchange->body);
  free(exchange->model);
  free(exchange);
}

/* sweep frees the exchanges that are over. */
static void sweep(deai_inst *inst) {
  answer_exchange **at = &inst->exchanges;
  while (*at != NULL) {
    answer_exchange *exchange = *at;
    if (exchange->output.over) {
      *at = exchange->next;
      exchange_free(exchange);
    } else {
      at = &exchange->next;
    }
  }
}

static void stop(deai_inst *inst) {
  inst->started = false;
  while (inst->exchanges != NULL) {
    answer_exchange *exchange = inst->exchanges;
    inst->exchanges = exchange->next;
    exchange_free(exchange);
  }
  answer_audits_free(inst);
  answer_calls_free(inst);
  answer_models_free(inst);
}

static void destroy(deai_inst *inst) {
  free(inst->room);
  free(inst);
}

/* ---- jobs ---- */

uint32_t answer_jobs_of(const deai_inst *inst, deai_bytes model) {
  uint32_t count = 0;
  for (const answer_exchange *at = inst->exchanges; at != NULL; at = at->next)
    if (deai_bytes_eq(answer_job_model(at->job), model) != 0) count++;
  return count;
}

static void on_busy(deai_inst *inst, void *user) {
  (void)user;
  inst->busy_timer = false;
  for (answer_exchange *at = inst->exchanges; at != NULL; at = at->next)
    answer_job_busy_again(at->job);
  sweep(inst);
}

int32_t answer_busy_soon(deai_inst *inst) {
  if (inst->busy_timer) return DEAI_OK;
  int32_t status = inst->host->after(inst->ctx, ANSWER_BUSY_MS, on_busy, NULL);
  inst->busy_timer = status == DEAI_OK;
  return status;
}

/* ---- the list of models ---- */

typedef uint8_t provider_keys[ANSWER_MEMBERS_MAX][DEAI_KEY_BYTES];

static answer_listed listed(const deai_inst *inst, const answer_model *model, deai_str id) {
  const lm_template *chat = lm_template_by_hash(model->template_hash);
  return (answer_listed){.id = id,
                         .cid = deai_str_of(model->cid_text),
                         .created = inst->created,
                         .ctx = model->ctx,
                         .price_in = model->price_in,
                         .price_out = model->price_out,
                         .chat = chat != NULL ? chat->name : NULL};
}

/* send_list answers with all models and, since all members have answered, who offers them. */
static void send_list(answer_exchange *exchange) {
  answer_headers headers = {0};
  answer_text body = {0};
  const deai_inst *inst = exchange->inst;
  const answer_models *models = &inst->models;
  answer_listed *rows = calloc(ANSWER_MODELS_MAX, sizeof *rows);
  provider_keys *keys = malloc(ANSWER_MODELS_MAX * sizeof *keys);
  bool room = rows != NULL && keys != NULL;
  for (uint32_t i = 0; room && i < models->count; i++) {
    const answer_model *model = &models->list[i];
    uint64_t count =
        answer_models_providers(inst, deai_bytes_of(model->cid, model->cid_len), keys[i]);
    rows[i] = listed(inst, model, deai_str_of(answer_models_id(inst, i)));
    rows[i].offered = deai_bytes_of(keys[i][0], count * DEAI_KEY_BYTES);
  }
  answer_write_models(&body, rows, room ? models->count : 0);
  if (!room) body.status = DEAI_ENOMEM;
  answer_output_json(&exchange->output, 200, &headers, &body);
  answer_headers_free(&headers);
  answer_text_free(&body);
  free(keys);
  free(rows);
}

static void send_model(answer_exchange *exchange, const answer_model *model) {
  answer_headers headers = {0};
  answer_text body = {0};
  answer_listed row = listed(exchange->inst, model, deai_str_of(exchange->model));
  answer_write_model(&body, &row);
  answer_output_json(&exchange->output, 200, &headers, &body);
  answer_headers_free(&headers);
  answer_text_free(&body);
}

static bool on_models(void *user, bool complete) {
  answer_exchange *exchange = user;
  answer_error error;
  if (exchange->route == ROUTE_MODELS) {
    if (complete) send_list(exchange);
    return complete;
  }
  const answer_model *model = answer_models_find(exchange->inst, deai_str_of(exchange->model));
  if (model != NULL) {
    send_model(exchange, model);
    return true;
  }
  if (!complete) return false;
  answer_models_unknown(exchange->inst, &error);
  answer_output_error(&exchange->output, &error);
  return true;
}

/* ---- requests ---- */

static bool starts(deai_str text, const char *prefix) {
  size_t len = strlen(prefix);
  return text.len > len && memcmp(text.ptr, prefix, len) == 0;
}

static route_kind route_of(deai_str path) {
  if (deai_str_eq(path, deai_str_of("/v1/models")) != 0) return ROUTE_MODELS;
  if (starts(path, "/v1/models/")) return ROUTE_MODEL;
  if (deai_str_eq(path, deai_str_of("/v1/chat/completions")) != 0) return ROUTE_CHAT;
  if (deai_str_eq(path, deai_str_of("/v1/completions")) != 0) return ROUTE_TEXT;
  return ROUTE_NONE;
}

static bool method_fits(route_kind route, deai_str method) {
  if (route == ROUTE_CHAT || route == ROUTE_TEXT)
    return deai_str_eq(method, deai_str_of("POST")) != 0;
  return deai_str_eq(method, deai_str_of("GET")) != 0 ||
         deai_str_eq(method, deai_str_of("HEAD")) != 0;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_key(deai_str text, uint8_t key[DEAI_KEY_BYTES]) {
  if (text.len != 2 * DEAI_KEY_BYTES) return false;
  for (size_t i = 0; i < DEAI_KEY_BYTES; i++) {
    int high = hex_digit(text.ptr[2 * i]);
    int low = hex_digit(text.ptr[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    key[i] = (uint8_t)(high << 4 | low);
  }
  return true;
}

/* take_wishes reads the headers of our own; false = one of them has no form. */
static bool take_wishes(answer_wishes *wishes, const deai_http_request *request) {
  const deai_text_pair *pairs = request->h.items;
  for (uint64_t i = 0; i < request->h.count; i++) {
    deai_str value = pairs[i].value;
    if (deai_str_eq(pairs[i].key, deai_str_of("x-deai-explain")) != 0)
      wishes->explain = deai_str_eq(value, deai_str_of("1")) != 0;
    if (deai_str_eq(pairs[i].key, deai_str_of("x-deai-audit")) != 0)
      wishes->no_audit = deai_str_eq(value, deai_str_of("none")) != 0;
    if (deai_str_eq(pairs[i].key, deai_str_of("x-deai-via")) == 0) continue;
    wishes->has_via = read_key(value, wishes->via);
    if (!wishes->has_via) return false;
  }
  return true;
}

/* begin answers what needs no body. */
static void begin(answer_exchange *exchange, const deai_http_request *request) {
  answer_error error;
  exchange->route = route_of(request->path);
  bool posts = exchange->route == ROUTE_CHAT || exchange->route == ROUTE_TEXT;
  if (!take_wishes(&exchange->wishes, request)) {
    (void)answer_fail(&error, 400, "invalid_value", NULL,
                      "x-deai-via: the key of a node in 64 lower-case hex digits expected");
    answer_output_error(&exchange->output, &error);
  } else if (exchange->route == ROUTE_NONE) {
    (void)answer_fail(&error, 404, "unknown_url", NULL,
                      "a path of the API expected, found another; this node has "
                      "/v1/chat/completions, /v1/completions and /v1/models");
    answer_output_error(&exchange->output, &error);
  } else if (!method_fits(exchange->route, request->method)) {
    (void)answer_fail(&error, 405, "method_not_supported", NULL,
                      "%s expected for this path, found another method; change it",
                      posts ? "POST" : "GET");
    error.allow = posts ? "POST" : "GET, HEAD";
    answer_output_error(&exchange->output, &error);
  } else if (!posts) {
    size_t skip = strlen("/v1/models/");
    if (exchange->route == ROUTE_MODEL)
      exchange->model = strndup(request->path.ptr + skip, (size_t)request->path.len - skip);
    bool ready = exchange->route == ROUTE_MODELS || exchange->model != NULL;
    if (!ready || answer_models_get(exchange->inst, on_models, exchange) != DEAI_OK)
      answer_output_gone(&exchange->output, DEAI_ENOMEM);
  }
}

static void ask(answer_exchange *exchange) {
  answer_error error;
  answer_request request;
  int32_t status = answer_request_parse(exchange->route == ROUTE_CHAT,
                                        answer_text_bytes(&exchange->body), &request, &error);
  answer_text_free(&exchange->body);
  if (status != DEAI_OK) {
    answer_output_error(&exchange->output, &error);
    return;
  }
  exchange->job = answer_job_start(&exchange->output, &request, &exchange->wishes);
  if (exchange->job != NULL) return;
  answer_request_free(&request);
  answer_output_gone(&exchange->output, DEAI_ENOMEM);
}

/* take_body collects the body of a POST; behind its last part the question is asked. */
static void take_body(answer_exchange *exchange, const deai_part *part) {
  if (exchange->output.closing || exchange->output.over || exchange->job != NULL) return;
  if (exchange->route != ROUTE_CHAT && exchange->route != ROUTE_TEXT) return;
  if (exchange->body.len <= ANSWER_BODY_MAX)
    answer_text_put(&exchange->body, part->body.ptr, (size_t)part->body.len);
  bool too_large = exchange->body.len > ANSWER_BODY_MAX;
  if (exchange->body.status != DEAI_OK) {
    answer_output_gone(&exchange->output, exchange->body.status);
    return;
  }
  if (too_large || (part->flags & DEAI_PART_END) != 0) ask(exchange);
}

static uint32_t exchange_count(const deai_inst *inst) {
  uint32_t count = 0;
  for (const answer_exchange *at = inst->exchanges; at != NULL; at = at->next)
    count++;
  return count;
}

static int32_t on_call(deai_inst *inst, uint64_t ticket, const deai_call_info *info,
                       const deai_part *first, char *err, uint32_t err_cap) {
  (void)info; /* one service, one method: the host has checked both */
  deai_http_request request;
  deai_arena arena = answer_arena(inst);
  int32_t status =
      deai_decode(&deai_http_request_table, first->args, &request, &arena, err, err_cap);
  if (status != DEAI_OK) return status;
  if (exchange_count(inst) >= ANSWER_EXCHANGES_MAX)
    return deai_err(err, err_cap, DEAI_EBUSY, "at most %u requests at a time expected, found more",
                    ANSWER_EXCHANGES_MAX);
  answer_exchange *exchange = calloc(1, sizeof *exchange);
  if (exchange == NULL) return DEAI_ENOMEM;
  exchange->inst = inst;
  status = answer_output_init(&exchange->output, inst, ticket);
  if (status != DEAI_OK) {
    free(exchange);
    return deai_err(err, err_cap, status, "expected random numbers, found none");
  }
  answer_exchange **last = &inst->exchanges;
  while (*last != NULL)
    last = &(*last)->next;
  *last = exchange;
  begin(exchange, &request);
  take_body(exchange, first);
  sweep(inst);
  return DEAI_OK;
}

static answer_exchange *exchange_find(deai_inst *inst, uint64_t ticket) {
  answer_exchange *at = inst->exchanges;
  while (at != NULL && at->output.ticket != ticket)
    at = at->next;
  return at;
}

static int32_t on_part(deai_inst *inst, uint64_t ticket, const deai_part *part) {
  answer_exchange *exchange = exchange_find(inst, ticket);
  int32_t status = DEAI_OK;
  if (exchange != NULL)
    take_body(exchange, part);
  else
    status = answer_call_part(inst, ticket, part);
  sweep(inst);
  return status;
}

static void on_drain(deai_inst *inst, uint64_t ticket) {
  answer_exchange *exchange = exchange_find(inst, ticket);
  if (exchange != NULL) answer_output_drain(&exchange->output);
  sweep(inst);
}

static void on_cancel(deai_inst *inst, uint64_t ticket, int32_t status) {
  answer_exchange *exchange = exchange_find(inst, ticket);
  if (exchange != NULL) answer_output_gone(&exchange->output, status);
  sweep(inst);
}

static const deai_plugin plugin = {.size = (uint32_t)sizeof(deai_plugin),
                                   .create = create,
                                   .start = start,
                                   .stop = stop,
                                   .destroy = destroy,
                                   .on_call = on_call,
                                   .on_part = on_part,
                                   .on_drain = on_drain,
                                   .on_cancel = on_cancel};

int32_t deai_plugin_entry(deai_hello *hello) {
  return deai_hello_accept(hello, &plugin);
}
