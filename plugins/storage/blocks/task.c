#include "task.h"

#include "deai/contracts/wire.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "host/base/banned.h"

#define ARGS_FIRST_BYTES 512u
#define EMPTY_MAP        "\xa0"

static void task_flush(blocks_task *task);

uint64_t blocks_task_ms(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* ---- the part a step makes ---- */

static void out_clear(blocks_task *task) {
  blocks_out *out = &task->out;
  if (out->buffer != NULL) task->host->buffer_drop(task->ctx, out->buffer);
  if (out->fd >= 0) (void)close(out->fd);
  out->buffer = NULL;
  out->body_len = 0;
  out->fd = -1;
  out->args.len = 0;
  out->used = false;
}

int32_t blocks_task_args(blocks_task *task, const deai_table *table, const void *value) {
  char why[DEAI_ERR_CAP] = "";
  blocks_buf *args = &task->out.args;
  int32_t status = blocks_buf_reserve(args, ARGS_FIRST_BYTES);
  for (int tries = 0; tries < 2 && status == DEAI_OK; tries++) {
    deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){args->ptr, args->cap});
    status = deai_encode(table, value, &writer, why, sizeof why);
    args->len = status == DEAI_OK ? (size_t)writer.len : 0;
    if (status == DEAI_OK) task->out.used = true;
    if (status != DEAI_ETOOLARGE || tries > 0 || writer.len > DEAI_HEAD_MAX) break;
    status = blocks_buf_reserve(args, (size_t)writer.len);
  }
  if (status == DEAI_OK) return DEAI_OK;
  return blocks_fail(&task->err, status, "%s: %s", task->method->name,
                     why[0] != 0 ? why : deai_status_text(status));
}

int32_t blocks_task_body(blocks_task *task, uint64_t len, uint8_t **room_out) {
  int32_t status = task->host->buffer(task->ctx, len, &task->out.buffer);
  if (status != DEAI_OK)
    return blocks_fail(&task->err, status, "expected room for %" PRIu64 " bytes, found none", len);
  task->out.body_len = len;
  task->out.used = true;
  *room_out = task->out.buffer->ptr;
  return DEAI_OK;
}

int32_t blocks_task_progress(blocks_task *task, uint64_t *last_ms, uint64_t done, uint64_t of) {
  uint64_t now_ms = blocks_task_ms();
  deai_blocks_progress progress = {.done = done, .of = of > done ? of : done};
  if (now_ms - *last_ms < BLOCKS_PROGRESS_MS) return DEAI_OK;
  *last_ms = now_ms;
  return blocks_task_args(task, &deai_blocks_progress_table, &progress);
}

int32_t blocks_task_cid(deai_bytes bytes, blocks_cid *out, char *err, uint32_t err_cap) {
  blocks_error why = {0};
  int32_t status = blocks_cid_of_bytes(bytes, out, &why);
  if (status == DEAI_OK) return DEAI_OK;
  return deai_err(err, err_cap, status, "cid: %s", why.text);
}

/* ---- life of a task ---- */

static void task_unlink(blocks_task *task) {
  blocks_task **at = &task->inst->tasks;
  while (*at != task)
    at = &(*at)->next;
  *at = task->next;
  task->inst->task_count--;
  task->inst->counts[task->method->number]--;
}

static void task_free(blocks_task *task) {
  out_clear(task);
  blocks_buf_free(&task->out.args);
  free((void *)(uintptr_t)task->given.ptr);
  free(task->arena.base);
  free(task->state);
  free(task);
}

static void close_work(blocks_job *job) {
  blocks_task *task = (blocks_task *)(void *)job;
  task->method->close(task);
  task->closed = true;
}

static void close_done(deai_inst *inst, blocks_job *job) {
  (void)inst;
  blocks_task *task = (blocks_task *)(void *)job;
  task_unlink(task);
  task_free(task);
}

/* task_close lets a worker free what an ended call holds, once nobody else has the task. */
static void task_close(blocks_task *task) {
  if (task->at_worker || task->in_sync) return;
  out_clear(task);
  task->at_worker = true;
  task->job.work = close_work;
  task->job.done = close_done;
  blocks_workers_add(task->inst->workers, &task->job);
}

/* task_over marks that the END was sent. */
static void task_over(blocks_task *task) {
  task->over = true;
  atomic_store(&task->cancelled, true);
  if (task->method->gone != NULL) task->method->gone(task);
  task_close(task);
}

void blocks_task_fail(blocks_task *task, int32_t status, const char *format, ...) {
  char why[DEAI_ERR_CAP];
  va_list list;
  va_start(list, format);
  (void)vsnprintf(why, sizeof why, format, list);
  va_end(list);
  if (task->over) return;
  (void)deai_reply_end(task->host, task->ctx, task->ticket, status, deai_bytes_of(NULL, 0), "%s",
                       why);
  task_over(task);
}

void blocks_task_drop(blocks_task *task) {
  if (!task->closed) task->method->close(task);
  task_unlink(task);
  task_free(task);
}

blocks_task *blocks_task_find(deai_inst *inst, uint64_t ticket) {
  blocks_task *task = inst->tasks;
  while (task != NULL && (task->ticket != ticket || task->over))
    task = task->next;
  return task;
}

/* ---- sync: one for all that wait ---- */

static void sync_start(deai_inst *inst);

static void sync_work(blocks_job *job) {
  deai_inst *inst = (deai_inst *)(void *)((uint8_t *)job - offsetof(deai_inst, syncing));
  blocks_usage usage;
  inst->sync_status = blocks_store_sync(inst->sync_store, &inst->sync_err);
  if (inst->sync_status != DEAI_OK) return;
  if (blocks_store_usage(inst->sync_store, &usage) != DEAI_OK) return;
  inst->host->count(inst->ctx, "blocks_bytes", usage.bytes);
  inst->host->count(inst->ctx, "blocks_places", usage.places);
  inst->host->count(inst->ctx, "blocks_pins", usage.pins);
}

static void sync_done(deai_inst *inst, blocks_job *job) {
  (void)job;
  blocks_task *task = inst->sync_batch;
  inst->sync_batch = NULL;
  inst->sync_runs = false;
  while (task != NULL) {
    blocks_task *next = task->next_sync;
    task->in_sync = false;
    task->result = BLOCKS_NEXT_END;
    if (task->over)
      task_close(task);
    else if (inst->sync_status != DEAI_OK)
      blocks_task_fail(task, inst->sync_status, "%s", inst->sync_err.text);
    else
      task_flush(task);
    task = next;
  }
  if (inst->sync_next != NULL) sync_start(inst);
}

static void sync_start(deai_inst *inst) {
  inst->sync_runs = true;
  inst->sync_batch = inst->sync_next;
  inst->sync_next = NULL;
  inst->sync_store = inst->store;
  inst->syncing.work = sync_work;
  inst->syncing.done = sync_done;
  blocks_workers_add(inst->workers, &inst->syncing);
}

static void sync_wait(blocks_task *task) {
  deai_inst *inst = task->inst;
  task->in_sync = true;
  task->next_sync = inst->sync_next;
  inst->sync_next = task;
  if (!inst->sync_runs) sync_start(inst);
}

/* ---- steps ---- */

static void step_work(blocks_job *job) {
  blocks_task *task = (blocks_task *)(void *)job;
  task->result = atomic_load(&task->cancelled) ? DEAI_ECANCELLED : task->method->step(task);
}

static void step_done(deai_inst *inst, blocks_job *job) {
  (void)inst;
  blocks_task *task = (blocks_task *)(void *)job;
  task->at_worker = false;
  if (task->over) {
    task_close(task);
    return;
  }
  if (task->result < 0) {
    blocks_task_fail(task, task->result, "%s",
                     task->err.text[0] != 0 ? task->err.text : deai_status_text(task->result));
    return;
  }
  if (task->method->looped != NULL) task->method->looped(task);
  if (task->over) return;
  if (task->result == BLOCKS_NEXT_SYNC)
    sync_wait(task);
  else
    task_flush(task);
}

static void task_run(blocks_task *task) {
  task->waiting = false;
  task->wake = false;
  if (task->method->prepare != NULL) task->method->prepare(task);
  task->at_worker = true;
  task->job.work = step_work;
  task->job.done = step_done;
  blocks_workers_add(task->inst->workers, &task->job);
}

/* part_send sends what the step made: DEAI_OK, or why it was not taken. */
static int32_t part_send(blocks_task *task, bool is_end) {
  blocks_out *out = &task->out;
  deai_part part = {.size = (uint32_t)sizeof part,
                    .flags = is_end ? DEAI_PART_END : 0,
                    .attachment = out->fd,
                    .args = blocks_buf_bytes(&out->args),
                    .buffer = out->buffer};
  if (out->buffer != NULL) part.body = deai_bytes_of(out->buffer->ptr, out->body_len);
  if (part.body.len == 0) part.buffer = NULL;
  if (is_end && part.args.len == 0) part.args = deai_bytes_of(EMPTY_MAP, 1);
  return task->host->reply(task->ctx, task->ticket, &part);
}

/* task_flush sends the part of the last step and goes on as the step said. */
static void task_flush(blocks_task *task) {
  bool is_end = task->result == BLOCKS_NEXT_END;
  if (task->out.used || is_end) {
    int32_t status = part_send(task, is_end);
    task->blocked = status == DEAI_EAGAIN;
    if (task->blocked) return;
    out_clear(task);
    if (status != DEAI_OK) {
      blocks_task_fail(task, status, "the answer was refused: %s", deai_status_text(status));
      return;
    }
  }
  if (is_end) {
    task_over(task);
    return;
  }
  task->waiting = task->result == BLOCKS_NEXT_WAIT && !task->wake;
  if (!task->waiting) task_run(task);
}

void blocks_task_wake(blocks_task *task) {
  task->wake = true;
  if (task->waiting && !task->over) task_run(task);
}

void blocks_task_drain(blocks_task *task) {
  if (!task->blocked || task->over) return;
  task->blocked = false;
  task_flush(task);
}

void blocks_task_cancel(blocks_task *task, int32_t status) {
  blocks_task_fail(task, status, "%s", deai_status_text(status));
}

void blocks_task_store(blocks_task *task, blocks_store *store) {
  task->store = store;
  task->result = BLOCKS_NEXT_AGAIN;
  task_run(task);
}

/* ---- begin ---- */

static int32_t task_fill(blocks_task *task, const deai_part *first) {
  const blocks_method *method = task->method;
  uint8_t *given = malloc((size_t)first->args.len + 1);
  task->given = deai_bytes_of(given, first->args.len);
  task->state = calloc(1, method->state_bytes + 1);
  if (given == NULL || task->state == NULL) return DEAI_ENOMEM;
  if (first->args.len > 0) memcpy(given, first->args.ptr, (size_t)first->args.len);
  if (method->arena_bytes == 0) return DEAI_OK;
  task->arena.base = malloc(method->arena_bytes);
  task->arena.cap = method->arena_bytes;
  return task->arena.base != NULL ? DEAI_OK : DEAI_ENOMEM;
}

int32_t blocks_task_begin(deai_inst *inst, const blocks_method *method, uint64_t ticket,
                          const deai_part *first, char *err, uint32_t err_cap) {
  if (inst->task_count >= BLOCKS_TASKS_MAX || inst->counts[method->number] >= method->max)
    return deai_err(err, err_cap, DEAI_EBUSY,
                    "expected at most %u calls of %s at a time, found more; try again later",
                    method->max, method->name);
  blocks_task *task = calloc(1, sizeof *task);
  if (task == NULL) return DEAI_ENOMEM;
  task->inst = inst;
  task->method = method;
  task->ticket = ticket;
  task->host = inst->host;
  task->ctx = inst->ctx;
  task->out.fd = -1;
  task->result = BLOCKS_NEXT_WAIT;
  atomic_init(&task->cancelled, false);
  int32_t status = task_fill(task, first);
  if (status == DEAI_OK) status = method->begin(task, first, err, err_cap);
  if (status != DEAI_OK) {
    method->close(task);
    task_free(task);
    return status;
  }
  task->next = inst->tasks;
  inst->tasks = task;
  inst->task_count++;
  inst->counts[method->number]++;
  if (inst->store != NULL) blocks_task_store(task, inst->store);
  return DEAI_OK;
}
