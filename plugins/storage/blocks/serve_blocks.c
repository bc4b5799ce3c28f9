/* have, get, open, stat, pin, unpin, list, verify, collect: each step is one call of store.h. */
#include "task.h"

#include "deai/contracts/wire.h"

#include <stdlib.h>

#include "host/base/banned.h"

#define METHOD_CALLS   192u /* at a time; leaves room for the others */
#define VERIFY_MAX     2u
#define COLLECT_STEP   1024u /* index entries: a few milliseconds */
#define LIST_DEFAULT   256u
#define BAD_SHOWN_MAX  1024u
#define CID_ROOM_BYTES 8u /* of CBOR around a CID in a list */

static void close_plain(blocks_task *task) {
  (void)task; /* the state holds nothing */
}

typedef struct one_state {
  blocks_cid cid;
  bool begun;
} one_state;

static int32_t begin_one(blocks_task *task, const deai_part *first, char *err, uint32_t err_cap) {
  (void)first;
  one_state *state = task->state;
  deai_blocks_cid ask;
  int32_t status = deai_decode(&deai_blocks_cid_table, task->given, &ask, NULL, err, err_cap);
  if (status == DEAI_OK) status = blocks_task_cid(ask.cid, &state->cid, err, err_cap);
  return status;
}

/* ---- have ---- */

typedef struct have_state {
  uint64_t count;
  blocks_cid cids[DEAI_BLOCKS_HAVE_MAX];
} have_state;

static int32_t begin_have(blocks_task *task, const deai_part *first, char *err, uint32_t err_cap) {
  (void)first;
  have_state *state = task->state;
  deai_blocks_have ask;
  int32_t status =
      deai_decode(&deai_blocks_have_table, task->given, &ask, &task->arena, err, err_cap);
  if (status != DEAI_OK) return status;
  const deai_bytes *cids = ask.cids.items;
  state->count = ask.cids.count;
  for (uint64_t i = 0; i < state->count && status == DEAI_OK; i++)
    status = blocks_task_cid(cids[i], &state->cids[i], err, err_cap);
  return status;
}

static int32_t step_have(blocks_task *task) {
  have_state *state = task->state;
  uint8_t bits[DEAI_BLOCKS_HAVE_MAX / 8] = {0};
  for (uint64_t i = 0; i < state->count; i++) {
    int32_t has = blocks_store_has(task->store, &state->cids[i], NULL);
    if (has < 0) return blocks_fail(&task->err, has, "the index of the store cannot be read");
    bits[i / 8] = (uint8_t)(bits[i / 8] | (has << (i % 8)));
  }
  deai_blocks_have_end end = {.bits = deai_bytes_of(bits, (state->count + 7) / 8)};
  int32_t status = blocks_task_args(task, &deai_blocks_have_end_table, &end);
  return status == DEAI_OK ? BLOCKS_NEXT_END : status;
}

const blocks_method blocks_method_have = {.service = DEAI_BLOCKS_SERVICE,
                                          .name = "have",
                                          .number = 0,
                                          .max = METHOD_CALLS,
                                          .arena_bytes = DEAI_BLOCKS_HAVE_MAX * 32,
                                          .state_bytes = sizeof(have_state),
                                          .begin = begin_have,
                                          .step = step_have,
                                          .close = close_plain};

/* ---- get ---- */

typedef struct get_state {
  one_state one; /* first: begin_one fills it */
  blocks_buf block;
  size_t at;
} get_state;

static int32_t step_get(blocks_task *task) {
  get_state *state = task->state;
  uint8_t *room = NULL;
  int32_t status = DEAI_OK;
  if (!state->one.begun)
    status = blocks_store_get(task->store, &state->one.cid, &state->block, &task->err);
  if (status != DEAI_OK) return status;
  state->one.begun = true;
  size_t len = state->block.len - state->at;
  if (len > DEAI_BODY_MAX) len = DEAI_BODY_MAX;
  if (len > 0) status = blocks_task_body(task, len, &room);
  if (status != DEAI_OK) return status;
  if (len > 0) memcpy(room, state->block.ptr + state->at, len);
  state->at += len;
  return state->at < state->block.len ? BLOCKS_NEXT_AGAIN : BLOCKS_NEXT_END;
}

static void close_get(blocks_task *task) {
  get_state *state = task->state;
  if (state != NULL) blocks_buf_free(&state->block);
}

const blocks_method blocks_method_get = {.service = DEAI_BLOCKS_SERVICE,
                                         .name = "get",
                                         .number = 1,
                                         .max = METHOD_CALLS,
                                         .state_bytes = sizeof(get_state),
                                         .begin = begin_one,
                                         .step = step_get,
                                         .close = close_get};

/* ---- open ---- */

static int32_t step_open(blocks_task *task) {
  one_state *state = task->state;
  uint64_t size = 0;
  if (state->begun) return BLOCKS_NEXT_END;
  int32_t status =
      blocks_store_open_file(task->store, &state->cid, &task->out.fd, &size, &task->err);
  if (status != DEAI_OK) return status;
  state->begun = true;
  task->out.used = true;
  return BLOCKS_NEXT_AGAIN;
}

const blocks_method blocks_method_open = {.service = DEAI_BLOCKS_SERVICE,
                                          .name = "open",
                                          .number = 2,
                                          .max = METHOD_CALLS,
                                          .state_bytes = sizeof(one_state),
                                          .begin = begin_one,
                                          .step = step_open,
                                          .close = close_plain};

/* ---- stat ---- */

static int32_t step_stat(blocks_task *task) {
  one_state *state = task->state;
  blocks_stat found;
  int32_t status = blocks_store_stat(task->store, &state->cid, &found, &task->err);
  if (status != DEAI_OK) return status;
  deai_blocks_stat end = {
      .have = found.have, .pins = found.pins, .size = found.size, .blocks = found.blocks};
  status = blocks_task_args(task, &deai_blocks_stat_table, &end);
  return status == DEAI_OK ? BLOCKS_NEXT_END : status;
}

const blocks_method blocks_method_stat = {.service = DEAI_BLOCKS_SERVICE,
                                          .name = "stat",
                                          .number = 3,
                                          .max = METHOD_CALLS,
                                          .state_bytes = sizeof(one_state),
                                          .begin = begin_one,
                                          .step = step_stat,
                                          .close = close_plain};

/* ---- pin, unpin ---- */

static int32_t step_pin(blocks_task *task) {
  one_state *state = task->state;
  int32_t status = blocks_store_pin(task->store, &state->cid, &task->err);
  return status == DEAI_OK ? BLOCKS_NEXT_SYNC : status;
}

static int32_t step_unpin(blocks_task *task) {
  one_state *state = task->state;
  int32_t status = blocks_store_unpin(task->store, &state->cid, &task->err);
  return status == DEAI_OK ? BLOCKS_NEXT_SYNC : status;
}

const blocks_method blocks_method_pin = {.service = DEAI_BLOCKS_SERVICE,
                                         .name = "pin",
                                         .number = 4,
                                         .max = METHOD_CALLS,
                                         .state_bytes = sizeof(one_state),
                                         .begin = begin_one,
                                         .step = step_pin,
                                         .close = close_plain};

const blocks_method blocks_method_unpin = {.service = DEAI_BLOCKS_SERVICE,
                                           .name = "unpin",
                                           .number = 5,
                                           .max = METHOD_CALLS,
                                           .state_bytes = sizeof(one_state),
                                           .begin = begin_one,
                                           .step = step_unpin,
                                           .close = close_plain};

/* ---- list ---- */

typedef struct list_state {
  uint32_t max;
  bool has_after;
  blocks_cid after;
} list_state;

static int32_t begin_list(blocks_task *task, const deai_part *first, char *err, uint32_t err_cap) {
  (void)first;
  list_state *state = task->state;
  deai_blocks_list ask;
  int32_t status = deai_decode(&deai_blocks_list_table, task->given, &ask, NULL, err, err_cap);
  if (status != DEAI_OK) return status;
  state->max = (ask.has & DEAI_BLOCKS_LIST_HAS_MAX) != 0 ? (uint32_t)ask.max : LIST_DEFAULT;
  state->has_after = (ask.has & DEAI_BLOCKS_LIST_HAS_AFTER) != 0;
  return state->has_after ? blocks_task_cid(ask.after, &state->after, err, err_cap) : DEAI_OK;
}

/* list_reply puts as many of cids into the END as a head holds; a cursor when more follow. CIDs too
   long for a message are never stored by this plug-in and are passed over. */
static int32_t list_reply(blocks_task *task, const blocks_cid *cids, uint32_t count,
                          deai_bytes *shown) {
  const list_state *state = task->state;
  deai_blocks_list_end end = {.cids = {shown, 0}};
  uint64_t bytes = 0;
  bool more = count == state->max && count > 0;
  uint32_t i = 0;
  for (; i < count; i++) {
    if (cids[i].len > DEAI_CID_MAX) continue;
    if (bytes + cids[i].len + CID_ROOM_BYTES > BLOCKS_HEAD_ROOM) break;
    bytes += cids[i].len + CID_ROOM_BYTES;
    shown[end.cids.count++] = blocks_cid_bytes(&cids[i]);
  }
  if ((more || i < count) && end.cids.count > 0) {
    end.has = DEAI_BLOCKS_LIST_END_HAS_NEXT;
    end.next = shown[end.cids.count - 1];
  }
  return blocks_task_args(task, &deai_blocks_list_end_table, &end);
}

static int32_t step_list(blocks_task *task) {
  list_state *state = task->state;
  uint32_t count = 0;
  blocks_cid *cids = calloc(state->max, sizeof *cids);
  deai_bytes *shown = calloc(state->max, sizeof *shown);
  int32_t status = cids != NULL && shown != NULL ? DEAI_OK : DEAI_ENOMEM;
  if (status == DEAI_OK)
    status = blocks_store_list(task->store, state->has_after ? &state->after : NULL, cids,
                               state->max, &count, &task->err);
  if (status == DEAI_OK) status = list_reply(task, cids, count, shown);
  free(cids);
  free(shown);
  return status == DEAI_OK ? BLOCKS_NEXT_END : status;
}

const blocks_method blocks_method_list = {.service = DEAI_BLOCKS_SERVICE,
                                          .name = "list",
                                          .number = 6,
                                          .max = METHOD_CALLS,
                                          .state_bytes = sizeof(list_state),
                                          .begin = begin_list,
                                          .step = step_list,
                                          .close = close_plain};

/* ---- verify ---- */

typedef struct verify_state {
  blocks_verify at;
  uint64_t last_ms;
  blocks_cid *bad; /* the first BAD_SHOWN_MAX */
  uint32_t bad_count;
  uint32_t bad_cap;
} verify_state;

static int32_t begin_verify(blocks_task *task, const deai_part *first, char *err,
                            uint32_t err_cap) {
  (void)task, (void)first, (void)err, (void)err_cap; /* it takes no arguments */
  return DEAI_OK;
}

static void verify_bad(void *user, const blocks_cid *cid) {
  verify_state *state = user;
  if (state->bad_count == BAD_SHOWN_MAX) return; /* the text of the END tells the number */
  if (state->bad_count == state->bad_cap) {
    uint32_t cap = state->bad_cap == 0 ? 16 : state->bad_cap * 2;
    blocks_cid *bad = realloc(state->bad, cap * sizeof *bad);
    if (bad == NULL) return; /* as above */
    state->bad = bad;
    state->bad_cap = cap;
  }
  state->bad[state->bad_count++] = *cid;
}

static int32_t verify_end(blocks_task *task) {
  verify_state *state = task->state;
  deai_bytes shown[BAD_SHOWN_MAX];
  deai_blocks_verify_end end = {.bad = {shown, 0}};
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < state->bad_count; i++) {
    bytes += state->bad[i].len + CID_ROOM_BYTES;
    if (state->bad[i].len > DEAI_CID_MAX || bytes > BLOCKS_HEAD_ROOM) break;
    shown[end.bad.count++] = blocks_cid_bytes(&state->bad[i]);
  }
  if (end.bad.count < state->at.bad)
    deai_text(task->host, task->ctx, DEAI_LOG_WARN,
              "verify: %llu blocks are damaged, %llu of them are named in the answer; fetch or add "
              "them again, then verify again",
              (unsigned long long)state->at.bad, (unsigned long long)end.bad.count);
  int32_t status = blocks_task_args(task, &deai_blocks_verify_end_table, &end);
  return status == DEAI_OK ? BLOCKS_NEXT_END : status;
}

static int32_t step_verify(blocks_task *task) {
  verify_state *state = task->state;
  int32_t status = blocks_store_verify(task->store, &state->at, BLOCKS_CHECKED_BYTES, &task->err,
                                       state, verify_bad);
  if (status != DEAI_OK) return status;
  if (state->at.finished) return verify_end(task);
  status = blocks_task_progress(task, &state->last_ms, state->at.done, state->at.of);
  return status == DEAI_OK ? BLOCKS_NEXT_AGAIN : status;
}

static void close_verify(blocks_task *task) {
  verify_state *state = task->state;
  if (state != NULL) free(state->bad);
}

const blocks_method blocks_method_verify = {.service = DEAI_BLOCKS_SERVICE,
                                            .name = "verify",
                                            .number = 7,
                                            .max = VERIFY_MAX,
                                            .state_bytes = sizeof(verify_state),
                                            .begin = begin_verify,
                                            .step = step_verify,
                                            .close = close_verify};

/* ---- collect ---- */

/* A fetch is refused, too: its blocks are not pinned before it ends. */
static int32_t begin_collect(blocks_task *task, const deai_part *first, char *err,
                             uint32_t err_cap) {
  (void)first; /* it takes no arguments */
  if (task->inst->counts[blocks_method_fetch.number] == 0) return DEAI_OK;
  return deai_err(err, err_cap, DEAI_EBUSY,
                  "collect: no fetch under way expected, found %u; try "
                  "again when they have ended",
                  task->inst->counts[blocks_method_fetch.number]);
}

static int32_t step_collect(blocks_task *task) {
  blocks_gc *state = task->state;
  int32_t status = blocks_store_gc(task->store, state, COLLECT_STEP, &task->err);
  if (status != DEAI_OK) return status;
  if (!state->finished) return BLOCKS_NEXT_AGAIN;
  deai_blocks_collect_end end = {
      .kept = state->kept, .bytes = state->bytes_freed, .freed = state->freed};
  status = blocks_task_args(task, &deai_blocks_collect_end_table, &end);
  return status == DEAI_OK ? BLOCKS_NEXT_END : status;
}

static void close_collect(blocks_task *task) {
  if (task->state != NULL && task->store != NULL) blocks_store_gc_end(task->store, task->state);
}

const blocks_method blocks_method_collect = {.service = DEAI_BLOCKS_SERVICE,
                                             .name = "collect",
                                             .number = 13,
                                             .max = 1,
                                             .state_bytes = sizeof(blocks_gc),
                                             .begin = begin_collect,
                                             .step = step_collect,
                                             .close = close_collect};
