#include "service_private.h"

#include "keep.h"
#include "template.h"

#include "deai/contracts/blocks.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

#define RETRY_FIRST_S 5u
#define RETRY_MOST_S  600u
#define FETCH_MS      (UINT64_C(24) * 3600 * 1000)

/* ---- the loader's tasks ---- */

typedef enum shelf_work { WORK_LOAD, WORK_WAKE, WORK_SLEEP, WORK_CLOSE } shelf_work;

/* One thing the loader does with a model; the members are its copies of what the shelf holds. */
typedef struct shelf_task {
  lm_task task;
  shelf_work kind;
  lm_held *held;
  const lm_backend_ops *ops;
  const atomic_bool *abort;
  lm_engine_config config;
  char device[129];
  bool hash;
  int descriptor;
  lm_cid cid;
  lm_model *model;
  lm_engine *engine;
  int32_t status;
  lm_error error;
} shelf_task;

static void load(shelf_task *t) {
  t->status = DEAI_OK;
  if (t->hash) t->status = lm_cid_of_file(t->descriptor, t->abort, &t->cid);
  if (t->status != DEAI_OK) {
    (void)lm_fail(&t->error, t->status, "the file could not be read to its end: %s",
                  deai_status_text(t->status));
    return;
  }
  t->status = lm_model_open(t->descriptor, t->config.ctx, &t->model, &t->error);
  if (t->status != DEAI_OK) return;
  lm_model_watch(t->model, t->abort);
  t->status = lm_engine_open(t->model, t->ops, &t->config, &t->engine, &t->error);
  if (t->status == DEAI_OK) return;
  lm_model_close(t->model);
  t->model = NULL;
}

static void work(lm_task *task) {
  shelf_task *t = (shelf_task *)(void *)task;
  if (t->kind == WORK_LOAD) load(t);
  if (t->kind == WORK_WAKE)
    t->status = lm_engine_open(t->model, t->ops, &t->config, &t->engine, &t->error);
  if (t->kind == WORK_LOAD || t->kind == WORK_WAKE) return;
  lm_engine_close(t->engine);
  t->engine = NULL;
  if (t->kind == WORK_CLOSE) lm_model_close(t->model);
  if (t->kind == WORK_CLOSE) t->model = NULL;
}

static void done(void *owner, lm_task *task);

/* begin_task hands held to the loader; false = no memory. */
static bool begin_task(deai_inst *inst, lm_held *held, shelf_work kind) {
  const lm_settings *set = inst->settings;
  shelf_task *t = calloc(1, sizeof *t);
  if (t == NULL) return false;
  *t = (shelf_task){.task = {.work = work, .done = done},
                    .kind = kind,
                    .held = held,
                    .ops = inst->ops,
                    .abort = &held->abort,
                    .hash = held->hash,
                    .descriptor = held->descriptor,
                    .cid = held->cid,
                    .model = held->model,
                    .engine = held->engine};
  memcpy(t->device, set->device.ptr, (size_t)set->device.len);
  t->config =
      (lm_engine_config){.ctx = (uint32_t)set->context,
                         .caches = LM_SERVICE_PLACES,
                         .backend = {.threads = (uint32_t)set->threads, .device = t->device}};
  held->busy = true;
  if (kind == WORK_SLEEP || kind == WORK_CLOSE) held->engine = NULL;
  if (kind == WORK_CLOSE) held->model = NULL;
  lm_tasks_add(inst->loader, &t->task);
  return true;
}

/* ---- places on the shelf ---- */

static lm_held *place_for(deai_inst *inst, const lm_cid *cid) {
  for (uint32_t i = 0; i < LM_SETTINGS_MODELS_MAX; i++)
    if (inst->shelf[i].used && inst->shelf[i].cid.len > 0 &&
        lm_cid_same(&inst->shelf[i].cid, cid) != 0)
      return &inst->shelf[i];
  return NULL;
}

static lm_held *place_new(deai_inst *inst, const lm_cid *cid) {
  for (uint32_t i = 0; i < LM_SETTINGS_MODELS_MAX; i++) {
    lm_held *held = &inst->shelf[i];
    if (held->used) continue;
    memset(held, 0, sizeof *held);
    atomic_init(&held->abort, false);
    held->used = true;
    held->cid = *cid;
    held->descriptor = -1;
    return held;
  }
  return NULL;
}

static void close_descriptor(lm_held *held) {
  if (held->descriptor >= 0) (void)close(held->descriptor);
  held->descriptor = -1;
}

/* answer ends all callers that wait for held. */
static void answer(deai_inst *inst, lm_held *held, int32_t status, const char *why) {
  while (held->ticket_count > 0)
    lm_reply_end(inst, held->tickets[--held->ticket_count], status, NULL, NULL, why);
}

static void describe(deai_inst *inst) {
  deai_bytes models[LM_SETTINGS_MODELS_MAX];
  deai_lm_offer offer = {.models = {.items = models},
                         .price_in = inst->settings->price_in,
                         .price_out = inst->settings->price_out};
  char why[DEAI_ERR_CAP] = "";
  for (uint32_t i = 0; i < LM_SETTINGS_MODELS_MAX; i++) {
    const lm_held *held = &inst->shelf[i];
    if (held->used && held->model != NULL && !held->leaving)
      models[offer.models.count++] = lm_cid_bytes(&held->cid);
  }
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){inst->head, sizeof inst->head});
  int32_t status = deai_encode(&deai_lm_offer_table, &offer, &writer, why, sizeof why);
  if (status == DEAI_OK)
    status = inst->host->describe(inst->ctx, deai_str_of(DEAI_LM_SERVICE),
                                  deai_bytes_of(inst->head, writer.len));
  if (status != DEAI_OK)
    deai_text(inst->host, inst->ctx, DEAI_LOG_ERROR, "the offer could not be renewed: %s %s",
              deai_status_text(status), why);
}

/* The list of kept models on its way to the disk. */
typedef struct keep_task {
  lm_task task;
  const char *folder;
  lm_cid cids[LM_SETTINGS_MODELS_MAX];
  uint32_t count;
  bool written;
  int32_t status;
  char why[DEAI_ERR_CAP];
} keep_task;

static void keep_work(lm_task *task) {
  keep_task *t = (keep_task *)(void *)task;
  t->written = true;
  t->status = lm_keep_write(t->folder, t->cids, t->count, t->why, (uint32_t)sizeof t->why);
}

static void keep_failed(deai_inst *inst, const char *why) {
  deai_text(inst->host, inst->ctx, DEAI_LOG_ERROR,
            "the list of models was not kept, they must be loaded again after a restart: %s", why);
}

static void keep_done(void *owner, lm_task *task) {
  keep_task *t = (keep_task *)(void *)task;
  if (!t->written) keep_work(task); /* stopped before its turn */
  if (owner != NULL && t->status != DEAI_OK) keep_failed(owner, t->why);
  free(t);
}

static void keep(deai_inst *inst) {
  keep_task *t = calloc(1, sizeof *t);
  if (t == NULL) {
    keep_failed(inst, "no memory");
    return;
  }
  t->task = (lm_task){.work = keep_work, .done = keep_done};
  t->folder = inst->folder;
  for (uint32_t i = 0; i < LM_SETTINGS_MODELS_MAX; i++) {
    const lm_held *held = &inst->shelf[i]; /* a first load may still fail: it does not count */
    if (held->used && held->kept && (held->wanted || held->model != NULL))
      t->cids[t->count++] = held->cid;
  }
  lm_tasks_add(inst->helper, &t->task);
}

static void leave(deai_inst *inst, lm_held *held) {
  close_descriptor(held);
  held->used = false;
  answer(inst, held, DEAI_OK, "");
}

/* ---- coming ---- */

/* failed ends a try to load held; what is wanted is tried again. */
static void failed(deai_inst *inst, lm_held *held, int32_t status, const char *why) {
  char text[LM_CID_TEXT_MAX];
  char reason[DEAI_ERR_CAP];
  (void)deai_err(reason, sizeof reason, status, "%s", why); /* why may be held's */
  close_descriptor(held);
  held->fetched = false;
  if (held->leaving) {
    leave(inst, held);
    return;
  }
  answer(inst, held, status, reason);
  deai_text(inst->host, inst->ctx, DEAI_LOG_WARN, "model %s was not loaded: %s: %s",
            held->cid.len > 0 ? lm_cid_text(&held->cid, text) : held->name,
            deai_status_name(status), reason);
  if (!held->wanted || held->hash) {
    held->used = false;
    return;
  }
  held->delay_s = held->delay_s == 0 ? RETRY_FIRST_S : 2 * held->delay_s;
  if (held->delay_s > RETRY_MOST_S) held->delay_s = RETRY_MOST_S;
  held->retry_s = held->delay_s;
}

/* ask calls the block store for held: open, or fetch. */
static void ask(deai_inst *inst, lm_held *held, bool fetch) {
  uint8_t room[DEAI_CID_MAX + 32];
  char why[DEAI_ERR_CAP] = "";
  deai_blocks_cid of = {.cid = lm_cid_bytes(&held->cid)};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  deai_call_options options = {.size = (uint32_t)sizeof options,
                               .service = deai_str_of(DEAI_BLOCKS_SERVICE),
                               .method = deai_str_of(fetch ? "fetch" : "open"),
                               .time_ms = FETCH_MS,
                               .parent = held->ticket_count > 0 ? held->tickets[0] : DEAI_NO_TICKET,
                               .flags = DEAI_CALL_HERE};
  int32_t status = deai_encode(&deai_blocks_cid_table, &of, &writer, why, sizeof why);
  deai_part first = {.size = (uint32_t)sizeof first,
                     .flags = DEAI_PART_END,
                     .attachment = -1,
                     .args = deai_bytes_of(room, writer.len)};
  held->fetching = fetch;
  held->fetched = held->fetched || fetch;
  if (status == DEAI_OK)
    status = inst->host->call(inst->ctx, &options, &first, &held->blocks_ticket);
  if (status == DEAI_OK) return;
  held->blocks_ticket = DEAI_NO_TICKET;
  failed(inst, held, status, why[0] != 0 ? why : "the block store could not be called");
}

static void coming(deai_inst *inst, lm_held *held) {
  held->retry_s = 0;
  if (held->descriptor < 0)
    ask(inst, held, false);
  else if (!begin_task(inst, held, WORK_LOAD))
    failed(inst, held, DEAI_ENOMEM, "no memory to load a model");
}

static void blocks_end(deai_inst *inst, lm_held *held, const deai_part *part) {
  char why[DEAI_ERR_CAP];
  (void)deai_err(why, sizeof why, part->status, "%.*s", (int)part->why.len,
                 part->why.len > 0 ? part->why.ptr : "");
  bool fetching = held->fetching;
  held->blocks_ticket = DEAI_NO_TICKET;
  if (part->status == DEAI_ENOTFOUND && !fetching && !held->fetched && !held->leaving) {
    ask(inst, held, true);
  } else if (part->status != DEAI_OK || held->leaving) {
    failed(inst, held, part->status, why);
  } else if (!fetching && held->descriptor < 0) {
    failed(inst, held, DEAI_EINTERNAL,
           "a descriptor expected from the block store, found none; report this");
  } else {
    coming(inst, held); /* fetched: open; opened: load */
  }
}

/* pass_on sends a progress part of fetch to all callers; one who does not read misses it. */
static void pass_on(deai_inst *inst, lm_held *held, deai_bytes args) {
  deai_blocks_progress progress;
  char err[DEAI_ERR_CAP];
  if (deai_decode(&deai_blocks_progress_table, args, &progress, NULL, err, sizeof err) != DEAI_OK)
    return;
  deai_part part = {.size = (uint32_t)sizeof part, .attachment = -1, .args = args};
  for (uint32_t i = 0; i < held->ticket_count; i++)
    (void)inst->host->reply(inst->ctx, held->tickets[i], &part);
}

bool lm_shelf_part(deai_inst *inst, uint64_t ticket, const deai_part *part) {
  lm_held *held = NULL;
  for (uint32_t i = 0; i < LM_SETTINGS_MODELS_MAX && held == NULL; i++)
    if (inst->shelf[i].used && inst->shelf[i].blocks_ticket == ticket) held = &inst->shelf[i];
  if (held == NULL) return false;
  if (part->attachment >= 0) {
    close_descriptor(held);
    held->descriptor = part->attachment;
  }
  if (held->fetching && part->args.len > 0 && (part->flags & DEAI_PART_END) == 0)
    pass_on(inst, held, part->args);
  if ((part->flags & DEAI_PART_END) != 0) blocks_end(inst, held, part);
  return true;
}

/* ---- here ---- */

static void name_of(lm_held *held) {
  deai_str name = lm_model_name(held->model);
  if (held->name[0] != 0) return; /* given in the settings */
  while (name.len > DEAI_NAME_MAX ||
         (name.len > 0 && name.len <= DEAI_NAME_MAX && deai_utf8_check(name) == 0))
    name.len--; /* a cut character goes as a whole */
  if (name.len == 0) name = deai_str_of("unnamed");
  memcpy(held->name, name.ptr, (size_t)name.len);
}

static void loaded(deai_inst *inst, lm_held *held, const shelf_task *t) {
  char text[LM_CID_TEXT_MAX];
  const lm_held *twin = held->hash ? place_for(inst, &t->cid) : NULL;
  held->model = t->model;
  held->engine = t->engine;
  close_descriptor(held);
  if (twin != NULL) held->leaving = true; /* a file that is loaded under its CID already */
  if (held->leaving) return;
  held->cid = t->cid;
  held->hash = false;
  held->delay_s = 0;
  name_of(held);
  lm_template_hash(lm_model_template(held->model), held->template_hash);
  deai_text(inst->host, inst->ctx, DEAI_LOG_INFO, "model %s loaded: %s, %u tokens of context, %s",
            lm_cid_text(&held->cid, text), held->name, lm_engine_ctx(held->engine),
            lm_engine_describe(held->engine));
  answer(inst, held, DEAI_OK, "");
  describe(inst);
  if (held->kept) keep(inst);
}

static void loaded_or_not(deai_inst *inst, lm_held *held, shelf_task *t) {
  if (t->status != DEAI_OK)
    failed(inst, held, t->status, t->error.text);
  else
    loaded(inst, held, t);
}

static void awake_or_not(deai_inst *inst, lm_held *held, const shelf_task *t) {
  held->engine = t->engine;
  if (t->status != DEAI_OK) lm_jobs_fail(inst, held, t->status, t->error.text);
}

static void done(void *owner, lm_task *task) {
  shelf_task *t = (shelf_task *)(void *)task;
  deai_inst *inst = owner;
  lm_held *held = t->held;
  held->busy = false;
  if (inst == NULL) { /* stopped: what the task holds goes back to the shelf, or is freed */
    held->model = t->model;
    held->engine = t->engine;
    free(t);
    return;
  }
  if (t->kind == WORK_LOAD) loaded_or_not(inst, held, t);
  if (t->kind == WORK_WAKE) awake_or_not(inst, held, t);
  if (t->kind == WORK_CLOSE) leave(inst, held);
  free(t);
  if (held->used) lm_shelf_settle(inst, held);
}

void lm_shelf_settle(deai_inst *inst, lm_held *held) {
  bool ok = true;
  if (held->busy || held->model == NULL) return;
  if (held->leaving && held->jobs == 0 && held->encodes == 0) {
    ok = begin_task(inst, held, WORK_CLOSE);
  } else if (held->broken && held->active == 0) {
    held->broken = false;
    ok = held->engine == NULL || begin_task(inst, held, WORK_SLEEP);
  } else if (held->engine == NULL && held->jobs > 0) {
    ok = begin_task(inst, held, WORK_WAKE);
  }
  if (ok)
    lm_jobs_place(inst);
  else if (held->jobs > held->active)
    lm_jobs_fail(inst, held, DEAI_ENOMEM, "no memory to wake the model; try again later");
}

uint32_t lm_shelf_ctx(const lm_held *held) {
  return lm_model_shape(held->model)->ctx;
}

int32_t lm_shelf_find(deai_inst *inst, deai_bytes cid, lm_held **held_out, char *err,
                      uint32_t err_cap) {
  char text[LM_CID_TEXT_MAX];
  lm_cid wanted;
  if (lm_cid_of(cid, &wanted) != DEAI_OK)
    return deai_err(err, err_cap, DEAI_EINVAL,
                    "model: a CID expected, found %" PRIu64 " other bytes; take one from `models`",
                    cid.len);
  lm_held *held = place_for(inst, &wanted);
  if (held == NULL || held->leaving)
    return deai_err(err, err_cap, DEAI_ENOTFOUND,
                    "a loaded model expected, found %s, which is not loaded here; load it",
                    lm_cid_text(&wanted, text));
  if (held->model == NULL)
    return deai_err(err, err_cap, DEAI_EBUSY,
                    "a loaded model expected, found %s, which is still being loaded; try again "
                    "later",
                    lm_cid_text(&wanted, text));
  *held_out = held;
  return DEAI_OK;
}

/* ---- load and unload ---- */

static int32_t take_ref(deai_bytes args, lm_cid *out, char *err, uint32_t err_cap) {
  deai_lm_model_ref ref;
  int32_t status = deai_decode(&deai_lm_model_ref_table, args, &ref, NULL, err, err_cap);
  if (status != DEAI_OK) return status;
  if (lm_cid_of(ref.model, out) == DEAI_OK) return DEAI_OK;
  return deai_err(err, err_cap, DEAI_EINVAL,
                  "model: a CID expected, found %" PRIu64 " other bytes; give the CID of a GGUF "
                  "file",
                  ref.model.len);
}

static int32_t add_ticket(lm_held *held, uint64_t ticket, char *err, uint32_t err_cap) {
  if (held->ticket_count == LM_SERVICE_WAITERS)
    return deai_err(err, err_cap, DEAI_EBUSY, "at most %u callers that wait expected, found %u",
                    LM_SERVICE_WAITERS, LM_SERVICE_WAITERS);
  held->tickets[held->ticket_count++] = ticket;
  return DEAI_OK;
}

int32_t lm_shelf_load(deai_inst *inst, uint64_t ticket, deai_bytes args, char *err,
                      uint32_t err_cap) {
  lm_cid cid;
  int32_t status = take_ref(args, &cid, err, err_cap);
  if (status != DEAI_OK) return status;
  lm_held *held = place_for(inst, &cid);
  bool is_new = held == NULL;
  if (held != NULL && (held->leaving || atomic_load(&held->abort)))
    return deai_err(err, err_cap, DEAI_EBUSY,
                    "a model that is not just being given up expected; try again later");
  if (is_new) held = place_new(inst, &cid);
  if (held == NULL)
    return deai_err(err, err_cap, DEAI_EFULL,
                    "at most %u models expected, found as many; unload one",
                    LM_SETTINGS_MODELS_MAX);
  if (held->model != NULL) {
    bool was_kept = held->kept;
    held->kept = held->wanted = true;
    if (!was_kept) keep(inst);
    lm_reply_end(inst, ticket, DEAI_OK, NULL, NULL, "");
    return DEAI_OK;
  }
  status = add_ticket(held, ticket, err, err_cap);
  if (status != DEAI_OK) return status;
  held->kept = true;
  if (is_new || held->retry_s > 0) coming(inst, held);
  return DEAI_OK;
}

int32_t lm_shelf_unload(deai_inst *inst, uint64_t ticket, deai_bytes args, char *err,
                        uint32_t err_cap) {
  char text[LM_CID_TEXT_MAX];
  lm_cid cid;
  int32_t status = take_ref(args, &cid, err, err_cap);
  if (status != DEAI_OK) return status;
  lm_held *held = place_for(inst, &cid);
  if (held == NULL)
    return deai_err(err, err_cap, DEAI_ENOTFOUND,
                    "a loaded model expected, found %s, which is not loaded here",
                    lm_cid_text(&cid, text));
  if (!held->leaving) answer(inst, held, DEAI_ECANCELLED, "the model is being unloaded");
  status = add_ticket(held, ticket, err, err_cap);
  if (status != DEAI_OK) return status;
  bool kept = held->kept;
  held->leaving = true;
  held->kept = false;
  if (kept) keep(inst); /* even if the plug-in stops before it is gone */
  atomic_store(&held->abort, true);
  if (held->blocks_ticket != DEAI_NO_TICKET) inst->host->cancel(inst->ctx, held->blocks_ticket);
  if (held->retry_s > 0) leave(inst, held);
  if (held->used && held->model != NULL) describe(inst);
  if (held->used) lm_shelf_settle(inst, held);
  return DEAI_OK;
}

/* give_up stops a load that nobody waits for any more. */
static void give_up(deai_inst *inst, lm_held *held) {
  if (held->wanted || held->leaving || held->model != NULL) return;
  held->kept = false;
  atomic_store(&held->abort, true);
  if (held->blocks_ticket != DEAI_NO_TICKET) inst->host->cancel(inst->ctx, held->blocks_ticket);
}

bool lm_shelf_cancel(deai_inst *inst, uint64_t ticket, int32_t status) {
  for (uint32_t i = 0; i < LM_SETTINGS_MODELS_MAX; i++) {
    lm_held *held = &inst->shelf[i];
    uint32_t at = 0;
    while (held->used && at < held->ticket_count && held->tickets[at] != ticket)
      at++;
    if (!held->used || at == held->ticket_count) continue;
    held->tickets[at] = held->tickets[--held->ticket_count];
    lm_reply_end(inst, ticket, status, NULL, NULL, deai_status_text(status));
    if (held->ticket_count == 0) give_up(inst, held);
    return true;
  }
  return false;
}

/* ---- life ---- */

void lm_shelf_tick(deai_inst *inst) {
  uint64_t keep_s = (inst->settings->keep + 999) / 1000;
  for (uint32_t i = 0; i < LM_SETTINGS_MODELS_MAX; i++) {
    lm_held *held = &inst->shelf[i];
    if (!held->used) continue;
    if (held->retry_s > 0 && --held->retry_s == 0) coming(inst, held);
    lm_shelf_settle(inst, held);
    if (held->engine == NULL || held->busy || held->jobs > 0) continue;
    held->idle_s++;
    if (keep_s > 0 && held->idle_s >= keep_s && begin_task(inst, held, WORK_SLEEP))
      held->idle_s = 0;
  }
}

static int32_t start_file(deai_inst *inst, const lm_settings_file *file, char *err,
                          uint32_t err_cap) {
  char path[8192];
  const lm_cid none = {.len = 0};
  bool absolute = file->path.ptr[0] == '/';
  int len = snprintf(path, sizeof path, "%s%s%.*s", absolute ? "" : inst->folder,
                     absolute ? "" : "/", (int)file->path.len, file->path.ptr);
  lm_held *held = len < 0 || (size_t)len >= sizeof path ? NULL : place_new(inst, &none);
  if (held == NULL) return deai_err(err, err_cap, DEAI_EINVAL, "settings.files: a path too long");
  memcpy(held->name, file->name.ptr, (size_t)file->name.len);
  held->hash = true;
  held->wanted = true;
  held->descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (held->descriptor < 0)
    return deai_err(err, err_cap, errno == ENOENT ? DEAI_ENOTFOUND : DEAI_EIO,
                    "settings.files: a file to read expected at %.300s, found: %s; put it into "
                    "the folder of the plug-in",
                    path, strerror(errno));
  coming(inst, held);
  return DEAI_OK;
}

static void start_cid(deai_inst *inst, const lm_cid *cid, bool kept) {
  lm_held *held = place_for(inst, cid);
  if (held != NULL) {
    held->kept = held->kept || kept;
    return;
  }
  held = place_new(inst, cid);
  if (held == NULL) return; /* more than the shelf holds: the settings come first */
  held->wanted = true;
  held->kept = kept;
  coming(inst, held);
}

int32_t lm_shelf_start(deai_inst *inst, char *err, uint32_t err_cap) {
  const lm_settings_file *files = inst->settings->files.items;
  const deai_str *models = inst->settings->models.items;
  lm_cid cids[LM_SETTINGS_MODELS_MAX];
  char why[DEAI_ERR_CAP];
  uint32_t count = 0;
  for (uint64_t i = 0; i < inst->settings->files.count; i++) {
    int32_t status = start_file(inst, &files[i], err, err_cap);
    if (status != DEAI_OK) return status;
  }
  for (uint64_t i = 0; i < inst->settings->models.count; i++) {
    lm_cid cid;
    if (lm_cid_of_text(models[i], &cid) == DEAI_OK) start_cid(inst, &cid, false);
  }
  if (lm_keep_read(inst->folder, cids, LM_SETTINGS_MODELS_MAX, &count, why, sizeof why) != DEAI_OK)
    deai_text(inst->host, inst->ctx, DEAI_LOG_ERROR,
              "the kept list of models is of no use, load them again: %s", why);
  for (uint32_t i = 0; i < count; i++)
    start_cid(inst, &cids[i], true);
  return DEAI_OK;
}

void lm_shelf_abort(deai_inst *inst) {
  for (uint32_t i = 0; i < LM_SETTINGS_MODELS_MAX; i++)
    if (inst->shelf[i].used) atomic_store(&inst->shelf[i].abort, true);
}

void lm_shelf_close(deai_inst *inst) {
  for (uint32_t i = 0; i < LM_SETTINGS_MODELS_MAX; i++) {
    lm_held *held = &inst->shelf[i];
    if (!held->used) continue;
    close_descriptor(held);
    lm_engine_close(held->engine);
    lm_model_close(held->model);
    held->used = false;
  }
}
