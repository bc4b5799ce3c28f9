/* storage/blocks: the block store as services of a node. Life and dispatch; see task.h. */
#include "task.h"

#include "deai/contracts/http.h"
#include "deai/contracts/wire.h"

#include <stdlib.h>
#include <unistd.h>

#include "host/base/banned.h"

DEAI_MANIFEST_FILE("manifest.json");

#define PROGRESS_LINES 16u /* while an index is made again */

typedef struct settings {
  uint64_t cap;
} settings;

static const deai_field settings_rows[] = {DEAI_F_UINT(settings, cap, "cap", 0, INT64_MAX)};
static const deai_table settings_table = DEAI_TABLE_HEAD("settings", settings, settings_rows);

static const blocks_method *const methods[] = {
    &blocks_method_have,    &blocks_method_get,    &blocks_method_open, &blocks_method_stat,
    &blocks_method_pin,     &blocks_method_unpin,  &blocks_method_list, &blocks_method_verify,
    &blocks_method_collect, &blocks_method_add,    &blocks_method_read, &blocks_method_entries,
    &blocks_method_fetch,   &blocks_method_request};

/* ---- the store ---- */

static void open_progress(void *user, uint64_t done, uint64_t of) {
  deai_inst *inst = user;
  uint64_t part = of / PROGRESS_LINES + 1;
  if (done / part <= inst->open_shown) return;
  inst->open_shown = done / part;
  deai_text(inst->host, inst->ctx, DEAI_LOG_INFO,
            "the index is made again: %llu of %llu bytes read", (unsigned long long)done,
            (unsigned long long)of);
}

static void open_work(blocks_job *job) {
  deai_inst *inst = (deai_inst *)(void *)((uint8_t *)job - offsetof(deai_inst, opening));
  blocks_store_options options = {.folder = inst->folder,
                                  .bytes_max = inst->bytes_max,
                                  .user = inst,
                                  .progress = open_progress};
  inst->opened = NULL;
  inst->open_status = blocks_store_open(&options, &inst->opened, &inst->open_err);
}

static void open_store(deai_inst *inst, void *user);

static void open_done(deai_inst *inst, blocks_job *job) {
  (void)job;
  inst->store = inst->opened;
  inst->store_state = inst->open_status;
  blocks_task *task = inst->tasks;
  if (inst->open_status != DEAI_OK) {
    deai_text(inst->host, inst->ctx, DEAI_LOG_ERROR,
              "the store is not open: %s; tried again in %u s", inst->open_err.text,
              BLOCKS_REOPEN_MS / 1000);
    if (inst->host->after(inst->ctx, BLOCKS_REOPEN_MS, open_store, NULL) != DEAI_OK)
      deai_text(inst->host, inst->ctx, DEAI_LOG_ERROR, "no timer for that; restart the plug-in");
  }
  while (task != NULL) {
    blocks_task *next = task->next;
    if (!task->over && inst->store != NULL) blocks_task_store(task, inst->store);
    if (!task->over && inst->store == NULL)
      blocks_task_fail(task, inst->open_status, "%s", inst->open_err.text);
    task = next;
  }
}

static void open_store(deai_inst *inst, void *user) {
  (void)user;
  inst->store_state = DEAI_EAGAIN;
  inst->opening.work = open_work;
  inst->opening.done = open_done;
  blocks_workers_add(inst->workers, &inst->opening);
}

/* ---- life ---- */

static int32_t create(const deai_host *host, deai_ctx *ctx, deai_bytes given, deai_inst **inst_out,
                      char *err, uint32_t err_cap) {
  settings set;
  deai_str folder = host->folder(ctx);
  int32_t status = deai_decode(&settings_table, given, &set, NULL, err, err_cap);
  if (status != DEAI_OK) return status;
  deai_inst *inst = calloc(1, sizeof *inst);
  if (inst == NULL) return DEAI_ENOMEM;
  inst->host = host;
  inst->ctx = ctx;
  inst->bytes_max = set.cap;
  inst->folder = strndup(folder.ptr, (size_t)folder.len);
  if (inst->folder == NULL) {
    free(inst);
    return DEAI_ENOMEM;
  }
  *inst_out = inst;
  return DEAI_OK;
}

static int32_t start(deai_inst *inst, char *err, uint32_t err_cap) {
  inst->workers = blocks_workers_start(inst->host, inst->ctx, BLOCKS_WORKERS);
  if (inst->workers == NULL)
    return deai_err(err, err_cap, DEAI_ENOMEM, "expected %u threads, found too little memory",
                    BLOCKS_WORKERS);
  inst->open_shown = 0;
  open_store(inst, NULL);
  return DEAI_OK;
}

static void stop(deai_inst *inst) {
  blocks_workers_stop(inst->workers);
  inst->workers = NULL;
  while (inst->tasks != NULL)
    blocks_task_drop(inst->tasks);
  inst->sync_batch = NULL;
  inst->sync_next = NULL;
  inst->sync_runs = false;
  if (inst->store == NULL) inst->store = inst->opened; /* opened, and not delivered yet */
  int32_t status = blocks_store_close(inst->store);
  if (status != DEAI_OK)
    deai_text(inst->host, inst->ctx, DEAI_LOG_ERROR, "the store ended with %s",
              deai_status_name(status));
  inst->store = NULL;
  inst->opened = NULL;
}

static void destroy(deai_inst *inst) {
  free(inst->folder);
  free(inst);
}

/* ---- dispatch ---- */

static const blocks_method *method_find(deai_str service, deai_str name) {
  for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
    if (deai_str_eq(deai_str_of(methods[i]->service), service) &&
        deai_str_eq(deai_str_of(methods[i]->name), name))
      return methods[i];
  }
  return NULL;
}

static int32_t on_call(deai_inst *inst, uint64_t ticket, const deai_call_info *info,
                       const deai_part *first, char *err, uint32_t err_cap) {
  const blocks_method *method = method_find(info->service, info->method);
  if (first->attachment >= 0) (void)close(first->attachment); /* no method takes one */
  if (method == NULL)
    return deai_err(err, err_cap, DEAI_EUNSUPPORTED, "expected a method of %s, found \"%.*s\"",
                    DEAI_BLOCKS_SERVICE, (int)info->method.len, info->method.ptr);
  if (method == &blocks_method_open && info->caller_kind == DEAI_CALLER_PEER)
    return deai_err(err, err_cap, DEAI_ELOCALONLY,
                    "open: expected a caller on this node, found a member; use get");
  if (inst->store_state != DEAI_OK && inst->store_state != DEAI_EAGAIN)
    return deai_err(err, err_cap, inst->store_state, "%s", inst->open_err.text);
  return blocks_task_begin(inst, method, ticket, first, err, err_cap);
}

static int32_t on_part(deai_inst *inst, uint64_t ticket, const deai_part *part) {
  blocks_task *task = blocks_task_find(inst, ticket);
  if (task != NULL && task->method->part != NULL) {
    int32_t status = task->method->part(task, part);
    if (status == DEAI_EAGAIN) return status;
  } else if (task == NULL) {
    (void)blocks_fetch_part(inst, ticket, part); /* else of a call that is over */
  }
  if (part->attachment >= 0) (void)close(part->attachment);
  return DEAI_OK;
}

static void on_drain(deai_inst *inst, uint64_t ticket) {
  blocks_task *task = blocks_task_find(inst, ticket);
  if (task != NULL) blocks_task_drain(task);
}

static void on_cancel(deai_inst *inst, uint64_t ticket, int32_t status) {
  blocks_task *task = blocks_task_find(inst, ticket);
  if (task != NULL) blocks_task_cancel(task, status);
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
