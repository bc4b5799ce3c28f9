#include "models.h"

#include "inst.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

static void ask_next(deai_inst *inst);

/* tell calls the waiters; all go when the list is complete. */
static void tell(deai_inst *inst, bool complete) {
  answer_waiter *left = NULL;
  answer_waiter **left_last = &left;
  answer_waiter *at = inst->models.waiters;
  inst->models.waiters = NULL; /* look may wait anew */
  while (at != NULL) {
    answer_waiter *next = at->next;
    at->next = NULL;
    if (at->look(at->user, complete) || complete) {
      free(at);
    } else {
      *left_last = at;
      left_last = &at->next;
    }
    at = next;
  }
  *left_last = inst->models.waiters;
  inst->models.waiters = left;
}

static void expire(deai_inst *inst, void *user) {
  (void)user;
  inst->models.fresh = false;
}

static void complete(deai_inst *inst) {
  inst->models.asking = false;
  inst->models.fresh = inst->host->after(inst->ctx, ANSWER_FRESH_MS, expire, NULL) == DEAI_OK;
  tell(inst, true);
}

static answer_model *known(const answer_models *models, deai_bytes cid) {
  for (uint32_t i = 0; i < models->count; i++)
    if (deai_bytes_eq(deai_bytes_of(models->list[i].cid, models->list[i].cid_len), cid) != 0)
      return &models->list[i];
  return NULL;
}

/* add notes what a provider offers; by = its bit in offered. */
static void add(answer_models *models, const deai_lm_model *given, uint32_t by) {
  answer_text cid_text = {0};
  answer_model *before = known(models, given->model);
  if (before != NULL) before->offered |= by;
  if (before != NULL || models->count == ANSWER_MODELS_MAX) return;
  answer_model *model = &models->list[models->count];
  *model = (answer_model){.cid_len = given->model.len,
                          .ctx = given->ctx,
                          .price_in = given->price_in,
                          .price_out = given->price_out,
                          .offered = by};
  memcpy(model->name, given->name.ptr, (size_t)given->name.len);
  memcpy(model->cid, given->model.ptr, (size_t)given->model.len);
  memcpy(model->template_hash, given->template_hash, DEAI_HASH_BYTES);
  answer_cid_text(&cid_text, given->model);
  if (cid_text.status == DEAI_OK && cid_text.len < sizeof model->cid_text) {
    memcpy(model->cid_text, cid_text.ptr, cid_text.len);
    models->count++;
  }
  answer_text_free(&cid_text);
}

static void take_list(deai_inst *inst, const deai_part *part, uint32_t by) {
  char err[DEAI_ERR_CAP] = "";
  deai_lm_models_end end;
  deai_arena arena = answer_arena(inst);
  int32_t status =
      deai_decode(&deai_lm_models_end_table, part->args, &end, &arena, err, sizeof err);
  if (status != DEAI_OK) {
    deai_text(inst->host, inst->ctx, DEAI_LOG_WARN, "a list of models was refused: %s", err);
    return;
  }
  const deai_lm_model *rows = end.models.items;
  for (uint64_t i = 0; i < end.models.count; i++)
    add(&inst->models, &rows[i], by);
}

/* on_part takes the answer of this node, then those of members, each asked once. */
static int32_t on_part(void *user, const deai_part *part) {
  deai_inst *inst = user;
  answer_models *models = &inst->models;
  if ((part->flags & DEAI_PART_END) == 0) return DEAI_OK;
  models->ticket = DEAI_NO_TICKET;
  bool named = part->provider.len == DEAI_KEY_BYTES;
  uint32_t by = named ? UINT32_C(1) << models->member_count : 0;
  if (part->status == DEAI_OK) take_list(inst, part, by);
  if (named && !models->away) memcpy(models->own, part->provider.ptr, DEAI_KEY_BYTES);
  if (named && !models->away) models->has_own = true;
  if (named) memcpy(models->members[models->member_count++], part->provider.ptr, DEAI_KEY_BYTES);
  bool last = inst->local_only || models->member_count == ANSWER_MEMBERS_MAX;
  if (models->away && (part->status != DEAI_OK || !named)) last = true;
  models->away = true;
  if (last) {
    complete(inst);
    return DEAI_OK;
  }
  tell(inst, false);
  ask_next(inst);
  return DEAI_OK;
}

static void ask_next(deai_inst *inst) {
  answer_models *models = &inst->models;
  deai_bytes avoid[ANSWER_MEMBERS_MAX];
  for (uint32_t i = 0; i < models->member_count; i++)
    avoid[i] = deai_bytes_of(models->members[i], DEAI_KEY_BYTES);
  answer_ask ask = {.parent = DEAI_NO_TICKET,
                    .avoid = avoid,
                    .avoid_count = models->member_count,
                    .flags = models->away ? DEAI_CALL_AWAY : DEAI_CALL_HERE,
                    .part = on_part,
                    .user = inst};
  if (answer_ask_models(inst, &ask, &models->ticket) != DEAI_OK) complete(inst);
}

int32_t answer_models_get(deai_inst *inst, answer_models_fn *look, void *user) {
  answer_models *models = &inst->models;
  if (!models->asking && models->fresh) {
    (void)look(user, true);
    return DEAI_OK;
  }
  if (models->asking && look(user, false)) return DEAI_OK;
  answer_waiter *waiter = calloc(1, sizeof *waiter);
  if (models->list == NULL) models->list = calloc(ANSWER_MODELS_MAX, sizeof *models->list);
  if (waiter == NULL || models->list == NULL) {
    free(waiter);
    return DEAI_ENOMEM;
  }
  *waiter = (answer_waiter){.look = look, .user = user};
  answer_waiter **last = &models->waiters;
  while (*last != NULL)
    last = &(*last)->next;
  *last = waiter;
  if (models->asking) return DEAI_OK;
  models->asking = true;
  models->away = false;
  models->count = 0;
  models->member_count = 0;
  ask_next(inst);
  return DEAI_OK;
}

void answer_models_forget(deai_inst *inst, const void *user) {
  answer_waiter **at = &inst->models.waiters;
  while (*at != NULL) {
    answer_waiter *gone = *at;
    if (gone->user == user) {
      *at = gone->next;
      free(gone);
    } else {
      at = &gone->next;
    }
  }
}

const answer_model *answer_models_find(const deai_inst *inst, deai_str id) {
  const answer_models *models = &inst->models;
  if (deai_str_eq(id, deai_str_of(ANSWER_DEFAULT)) != 0) {
    if (inst->preset[0] == 0) return models->count > 0 ? &models->list[0] : NULL;
    id = deai_str_of(inst->preset);
  }
  for (uint32_t i = 0; i < models->count; i++)
    if (deai_str_eq(id, deai_str_of(models->list[i].name)) != 0 ||
        deai_str_eq(id, deai_str_of(models->list[i].cid_text)) != 0)
      return &models->list[i];
  return NULL;
}

uint32_t answer_models_providers(const deai_inst *inst, deai_bytes cid,
                                 uint8_t keys_out[ANSWER_MEMBERS_MAX][DEAI_KEY_BYTES]) {
  const answer_models *models = &inst->models;
  const answer_model *model = known(models, cid);
  uint32_t count = 0;
  for (uint32_t i = 0; model != NULL && i < models->member_count; i++)
    if ((model->offered & UINT32_C(1) << i) != 0)
      memcpy(keys_out[count++], models->members[i], DEAI_KEY_BYTES);
  return count;
}

bool answer_models_here(const deai_inst *inst, const uint8_t key[DEAI_KEY_BYTES]) {
  return inst->models.has_own && memcmp(inst->models.own, key, DEAI_KEY_BYTES) == 0;
}

const char *answer_models_id(const deai_inst *inst, uint32_t index) {
  const answer_model *list = inst->models.list;
  for (uint32_t i = 0; i < index; i++)
    if (strcmp(list[i].name, list[index].name) == 0) return list[index].cid_text;
  return list[index].name;
}

void answer_models_free(deai_inst *inst) {
  while (inst->models.waiters != NULL) {
    answer_waiter *waiter = inst->models.waiters;
    inst->models.waiters = waiter->next;
    free(waiter);
  }
  free(inst->models.list);
  inst->models.list = NULL;
  inst->models.count = 0;
}

void answer_models_unknown(const deai_inst *inst, answer_error *error) {
  if (inst->models.count == 0)
    (void)answer_fail(error, 404, "model_not_found", "model",
                      "model: a model that a node serves now expected, there is none; add one with "
                      "deai model add FILE, or wait for the members that have one");
  else
    (void)answer_fail(
        error, 404, "model_not_found", "model",
        "model: one of the %u models in /v1/models expected, found another; choose one "
        "of them",
        inst->models.count);
}
