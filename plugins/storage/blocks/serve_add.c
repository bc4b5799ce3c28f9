/* add: the caller's bodies become a file, or a directory is made of what is here. */
#include "import.h"
#include "task.h"

#include <stdlib.h>

#include "host/base/banned.h"

#define ADDS_MAX    32u
#define ARENA_BYTES (4096u * sizeof(deai_blocks_entry) + 64u)

/* Bytes of the caller on their way to the import: shared with the host, or a copy. */
typedef struct chunk {
  struct chunk *next;
  deai_buffer *buffer; /* kept, or NULL: the bytes follow */
  deai_bytes bytes;
  uint8_t copy[];
} chunk;

typedef struct chunk_list {
  chunk *first;
  chunk **last;
  uint64_t bytes;
} chunk_list;

/* inbox and ended are the loop's; prepare moves them to batch and last, which are the worker's. */
typedef struct add_state {
  deai_blocks_add ask;
  chunk_list inbox;
  bool ended;
  chunk_list batch;
  uint64_t batch_bytes; /* loop: bytes of the batch that is with the worker */
  bool last;
  blocks_import *import;
} add_state;

static void list_init(chunk_list *list) {
  list->first = NULL;
  list->last = &list->first;
  list->bytes = 0;
}

static chunk *list_take(chunk_list *list) {
  chunk *item = list->first;
  if (item == NULL) return NULL;
  list->first = item->next;
  if (list->first == NULL) list->last = &list->first;
  list->bytes -= item->bytes.len;
  return item;
}

static void chunk_free(blocks_task *task, chunk *item) {
  if (item->buffer != NULL) task->host->buffer_drop(task->ctx, item->buffer);
  free(item);
}

static int32_t inbox_put(blocks_task *task, const deai_part *part) {
  add_state *state = task->state;
  bool shared = part->buffer != NULL;
  if (part->body.len == 0) return DEAI_OK;
  chunk *item = malloc(sizeof *item + (shared ? 0 : (size_t)part->body.len));
  if (item == NULL) return DEAI_ENOMEM;
  *item = (chunk){.buffer = part->buffer, .bytes = part->body};
  if (shared) {
    task->host->buffer_keep(task->ctx, part->buffer);
  } else {
    memcpy(item->copy, part->body.ptr, (size_t)part->body.len);
    item->bytes.ptr = item->copy;
  }
  *state->inbox.last = item;
  state->inbox.last = &item->next;
  state->inbox.bytes += item->bytes.len;
  return DEAI_OK;
}

static int32_t take_part(blocks_task *task, const deai_part *part, char *err, uint32_t err_cap) {
  add_state *state = task->state;
  if ((state->ask.has & DEAI_BLOCKS_ADD_HAS_DIR) != 0 && part->body.len > 0)
    return deai_err(err, err_cap, DEAI_EINVAL,
                    "add: expected no bytes beside \"dir\", found %llu; add the file first",
                    (unsigned long long)part->body.len);
  int32_t status = inbox_put(task, part);
  if (status != DEAI_OK) return status;
  state->ended = (part->flags & DEAI_PART_END) != 0;
  return DEAI_OK;
}

static int32_t begin_add(blocks_task *task, const deai_part *first, char *err, uint32_t err_cap) {
  add_state *state = task->state;
  list_init(&state->inbox);
  list_init(&state->batch);
  int32_t status =
      deai_decode(&deai_blocks_add_table, task->given, &state->ask, &task->arena, err, err_cap);
  return status == DEAI_OK ? take_part(task, first, err, err_cap) : status;
}

static int32_t part_add(blocks_task *task, const deai_part *part) {
  char err[DEAI_ERR_CAP] = "";
  add_state *state = task->state;
  if (state->inbox.bytes + state->batch_bytes > BLOCKS_INBOX_BYTES) return DEAI_EAGAIN;
  int32_t status = take_part(task, part, err, sizeof err);
  if (status != DEAI_OK)
    blocks_task_fail(task, status, "%s", err[0] != 0 ? err : deai_status_text(status));
  else
    blocks_task_wake(task);
  return DEAI_OK;
}

static void prepare_add(blocks_task *task) {
  add_state *state = task->state;
  if (state->inbox.first != NULL) {
    *state->batch.last = state->inbox.first;
    state->batch.last = state->inbox.last;
    state->batch.bytes += state->inbox.bytes;
    list_init(&state->inbox);
  }
  state->batch_bytes = state->batch.bytes;
  state->last = state->ended;
}

static void looped_add(blocks_task *task) {
  add_state *state = task->state;
  state->batch_bytes = state->batch.bytes;
}

static blocks_import_options import_options(const deai_blocks_add *ask) {
  blocks_import_options options = {0};
  if ((ask->has & DEAI_BLOCKS_ADD_HAS_PROFILE) != 0) options.profile = ask->profile;
  options.pin = (ask->has & DEAI_BLOCKS_ADD_HAS_PIN) != 0 && ask->pin != 0;
  return options;
}

static int32_t added(blocks_task *task, const blocks_import_result *result) {
  deai_blocks_added end = {
      .cid = blocks_cid_bytes(&result->cid), .size = result->size, .blocks = result->blocks};
  int32_t status = blocks_task_args(task, &deai_blocks_added_table, &end);
  return status == DEAI_OK ? BLOCKS_NEXT_SYNC : status;
}

static int32_t add_directory(blocks_task *task) {
  add_state *state = task->state;
  const deai_blocks_entry *rows = state->ask.dir.items;
  uint32_t count = (uint32_t)state->ask.dir.count;
  blocks_import_options options = import_options(&state->ask);
  blocks_import_result result;
  blocks_import_entry *entries = calloc((size_t)count + 1, sizeof *entries);
  int32_t status = entries != NULL ? DEAI_OK : DEAI_ENOMEM;
  for (uint32_t i = 0; i < count && status == DEAI_OK; i++) {
    entries[i].name = rows[i].name;
    status = blocks_cid_of_bytes(rows[i].cid, &entries[i].cid, &task->err);
  }
  if (status == DEAI_OK)
    status = blocks_import_directory(task->store, entries, count, &options, &result, &task->err);
  free(entries);
  return status == DEAI_OK ? added(task, &result) : status;
}

static int32_t step_add(blocks_task *task) {
  add_state *state = task->state;
  blocks_import_result result;
  blocks_import_options options = import_options(&state->ask);
  int32_t status = DEAI_OK;
  if ((state->ask.has & DEAI_BLOCKS_ADD_HAS_DIR) != 0) return add_directory(task);
  if (state->import == NULL)
    status = blocks_import_begin(task->store, &options, &state->import, &task->err);
  while (status == DEAI_OK && !atomic_load(&task->cancelled)) {
    chunk *item = list_take(&state->batch);
    if (item == NULL) break;
    status = blocks_import_write(state->import, item->bytes, &task->err);
    chunk_free(task, item);
  }
  if (status != DEAI_OK) return status;
  if (!state->last || atomic_load(&task->cancelled)) return BLOCKS_NEXT_WAIT;
  status = blocks_import_finish(state->import, &result, &task->err);
  return status == DEAI_OK ? added(task, &result) : status;
}

static void close_add(blocks_task *task) {
  add_state *state = task->state;
  chunk *item = NULL;
  if (state == NULL || state->inbox.last == NULL) return; /* never begun */
  while ((item = list_take(&state->inbox)) != NULL)
    chunk_free(task, item);
  while ((item = list_take(&state->batch)) != NULL)
    chunk_free(task, item);
  blocks_import_end(state->import);
  state->import = NULL;
}

const blocks_method blocks_method_add = {.service = DEAI_BLOCKS_SERVICE,
                                         .name = "add",
                                         .number = 8,
                                         .max = ADDS_MAX,
                                         .arena_bytes = ARENA_BYTES,
                                         .state_bytes = sizeof(add_state),
                                         .begin = begin_add,
                                         .step = step_add,
                                         .close = close_add,
                                         .prepare = prepare_add,
                                         .looped = looped_add,
                                         .part = part_add};
