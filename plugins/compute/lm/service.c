#include "service.h"

#include "service_private.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

#define TICK_MS 1000u

/* ---- news from the threads ---- */

static void deliver(deai_inst *inst, void *user) {
  (void)user;
  atomic_store(&inst->posted, false); /* first: what comes from now on posts again */
  lm_tasks_deliver(inst->loader, inst);
  lm_tasks_deliver(inst->helper, inst);
  lm_jobs_deliver(inst);
}

void lm_post(deai_inst *inst) {
  if (atomic_exchange(&inst->posted, true)) return;
  if (inst->host->post(inst->ctx, deliver, NULL) != DEAI_OK)
    atomic_store(&inst->posted, false); /* the tick of a second delivers */
}

static void task_news(void *user) {
  lm_post(user);
}

static void writer_news(void *user, uint64_t tokens) {
  deai_inst *inst = user;
  inst->host->count(inst->ctx, "tokens", tokens);
  lm_post(inst);
}

static void tick(deai_inst *inst, void *user) {
  (void)user;
  deliver(inst, NULL);
  lm_shelf_tick(inst);
  if (inst->host->after(inst->ctx, TICK_MS, tick, NULL) != DEAI_OK)
    deai_text(inst->host, inst->ctx, DEAI_LOG_ERROR,
              "no timer: retries and the unloading of idle models end here");
}

void lm_reply_end(deai_inst *inst, uint64_t ticket, int32_t status, const deai_table *table,
                  const void *value, const char *why) {
  char err[DEAI_ERR_CAP] = "";
  deai_bytes args = LM_EMPTY_MAP;
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){inst->head, sizeof inst->head});
  int32_t encoded =
      table == NULL ? DEAI_OK : deai_encode(table, value, &writer, err, (uint32_t)sizeof err);
  if (table != NULL) args = deai_bytes_of(inst->head, writer.len);
  if (encoded != DEAI_OK) {
    args = LM_EMPTY_MAP;
    status = encoded;
    why = err;
  }
  int32_t sent = status == DEAI_OK
                     ? deai_reply_end(inst->host, inst->ctx, ticket, DEAI_OK, args, NULL)
                     : deai_reply_end(inst->host, inst->ctx, ticket, status, args, "%s", why);
  if (sent != DEAI_OK && sent != DEAI_ENOTFOUND)
    deai_text(inst->host, inst->ctx, DEAI_LOG_ERROR, "an END could not be sent: %s",
              deai_status_text(sent));
}

/* ---- life ---- */

void lm_service_destroy(deai_inst *inst) {
  lm_settings_close(inst->settings);
  free(inst->folder);
  free(inst);
}

int32_t lm_service_create(const lm_backend_ops *ops, const deai_host *host, deai_ctx *ctx,
                          deai_bytes settings, deai_inst **inst_out, char *err, uint32_t err_cap) {
  deai_str folder = host->folder(ctx);
  deai_inst *inst = calloc(1, sizeof *inst);
  if (inst == NULL) return DEAI_ENOMEM;
  inst->ops = ops;
  inst->host = host;
  inst->ctx = ctx;
  atomic_init(&inst->posted, false);
  inst->folder = strndup(folder.ptr, (size_t)folder.len);
  int32_t status = inst->folder == NULL ? DEAI_ENOMEM : DEAI_OK;
  if (status == DEAI_OK) status = lm_settings_open(settings, &inst->settings, err, err_cap);
  if (status != DEAI_OK) {
    lm_service_destroy(inst);
    return status;
  }
  *inst_out = inst;
  return DEAI_OK;
}

void lm_service_stop(deai_inst *inst) {
  lm_shelf_abort(inst);
  lm_writer_close(inst->writer);
  lm_tasks_close(inst->loader);
  lm_tasks_close(inst->helper);
  lm_jobs_close(inst);
  lm_encode_close(inst);
  lm_shelf_close(inst);
  inst->writer = NULL;
  inst->loader = NULL;
  inst->helper = NULL;
}

int32_t lm_service_start(deai_inst *inst, char *err, uint32_t err_cap) {
  int32_t status = lm_writer_open(writer_news, inst, &inst->writer);
  if (status == DEAI_OK) status = lm_tasks_open(task_news, inst, &inst->loader);
  if (status == DEAI_OK) status = lm_tasks_open(task_news, inst, &inst->helper);
  if (status == DEAI_OK) status = inst->host->after(inst->ctx, TICK_MS, tick, NULL);
  if (status != DEAI_OK)
    (void)deai_err(err, err_cap, status,
                   "three threads and a timer expected, found: %s; free "
                   "memory",
                   deai_status_text(status));
  if (status == DEAI_OK) status = lm_shelf_start(inst, err, err_cap);
  if (status != DEAI_OK) lm_service_stop(inst);
  return status;
}

/* ---- calls ---- */

static void models(deai_inst *inst, uint64_t ticket) {
  deai_lm_model list[LM_SETTINGS_MODELS_MAX];
  deai_lm_models_end end = {.models = {.items = list}};
  for (uint32_t i = 0; i < LM_SETTINGS_MODELS_MAX; i++) {
    const lm_held *held = &inst->shelf[i];
    if (!held->used || held->model == NULL || held->leaving) continue;
    deai_lm_model *row = &list[end.models.count++];
    *row = (deai_lm_model){.ctx = lm_shelf_ctx(held),
                           .load = held->jobs,
                           .name = deai_str_of(held->name),
                           .model = lm_cid_bytes(&held->cid),
                           .price_in = inst->settings->price_in,
                           .price_out = inst->settings->price_out};
    memcpy(row->template_hash, held->template_hash, sizeof row->template_hash);
  }
  lm_reply_end(inst, ticket, DEAI_OK, &deai_lm_models_end_table, &end, "");
}

static bool is(const deai_call_info *info, const char *method) {
  return deai_str_eq(info->method, deai_str_of(method)) != 0;
}

int32_t lm_service_call(deai_inst *inst, uint64_t ticket, const deai_call_info *info,
                        const deai_part *first, char *err, uint32_t err_cap) {
  if (first->attachment >= 0) (void)close(first->attachment); /* no method takes one */
  if (is(info, "generate")) return lm_jobs_begin(inst, ticket, info, first, false, err, err_cap);
  if (is(info, "replay")) return lm_jobs_begin(inst, ticket, info, first, true, err, err_cap);
  if (is(info, "encode")) return lm_encode_begin(inst, ticket, first, err, err_cap);
  if (is(info, "load")) return lm_shelf_load(inst, ticket, first->args, err, err_cap);
  if (is(info, "unload")) return lm_shelf_unload(inst, ticket, first->args, err, err_cap);
  if (!is(info, "models"))
    return deai_err(err, err_cap, DEAI_EUNSUPPORTED,
                    "models, encode, generate, replay, load or unload expected, found %.*s",
                    (int)(info->method.len < 64 ? info->method.len : 64), info->method.ptr);
  models(inst, ticket);
  return DEAI_OK;
}

int32_t lm_service_part(deai_inst *inst, uint64_t ticket, const deai_part *part) {
  if (lm_shelf_part(inst, ticket, part)) return DEAI_OK;
  if (part->attachment >= 0) (void)close(part->attachment);
  return DEAI_OK; /* all of a job is in its CALL: what a caller sends later says nothing */
}

void lm_service_drain(deai_inst *inst, uint64_t ticket) {
  if (!lm_jobs_drain(inst, ticket)) (void)lm_encode_drain(inst, ticket);
}

void lm_service_cancel(deai_inst *inst, uint64_t ticket, int32_t status) {
  if (lm_jobs_cancel(inst, ticket, status) || lm_encode_cancel(inst, ticket, status)) return;
  (void)lm_shelf_cancel(inst, ticket, status);
}
