/* fetch: gets a DAG from members. fetch.h says what is missing; here are the calls. */
#include "fetch.h"
#include "task.h"

#include "deai/contracts/wire.h"

#include <stdlib.h>

#include "host/base/banned.h"

#define FETCHES_MAX      8u
#define CALL_MS          30000u
#define AVOID_MAX        64u /* keys that a call can avoid: DEAI_CALL_AVOID_MAX of the host */
#define MISSES_IN_A_ROW  4u  /* then a member is asked last */
#define ROUNDS_MAX       5u  /* of asking everybody again while members are busy or lost */
#define RETRY_MS         500u
#define SYNC_EVERY_BYTES (64u << 20)

typedef enum slot_state {
  SLOT_FREE = 0,
  SLOT_WANT,    /* to be called for */
  SLOT_CALLING, /* the loop's */
  SLOT_ARRIVED, /* data came, to be checked */
  SLOT_WRONG    /* it was not the block */
} slot_state;

typedef struct key_list {
  uint8_t keys[AVOID_MAX][DEAI_KEY_BYTES];
  uint32_t count;
} key_list;

/* A block that is being got. */
typedef struct slot {
  slot_state state;
  blocks_want want;
  blocks_buf data;
  uint64_t ticket;
  uint8_t provider[DEAI_KEY_BYTES]; /* who sent data */
  bool has_provider;
  key_list asked;   /* for this block, in this round */
  uint32_t refused; /* how many said no, in all rounds */
  uint32_t rounds;
  bool soft;     /* one of them may have it when asked again */
  bool everyone; /* those that miss often are asked too */
  bool resting;  /* until the timer */
} slot;

typedef struct member {
  uint8_t key[DEAI_KEY_BYTES];
  uint32_t misses; /* in a row */
} member;

typedef struct fetch_state {
  blocks_cid cid;
  blocks_fetch *walk;
  slot slots[BLOCKS_FETCH_WANTS];
  bool hand[BLOCKS_FETCH_WANTS]; /* the worker has the slot during this step; set by the loop */
  key_list liars;                /* sent wrong bytes: never asked again */
  member members[AVOID_MAX];
  uint32_t member_count;
  uint64_t last_ms;
  uint64_t unsynced;
} fetch_state;

static bool key_in(const key_list *list, const uint8_t *key) {
  for (uint32_t i = 0; i < list->count; i++) {
    if (memcmp(list->keys[i], key, DEAI_KEY_BYTES) == 0) return true;
  }
  return false;
}

static void key_add(key_list *list, const uint8_t *key) {
  if (key_in(list, key) || list->count == AVOID_MAX) return;
  memcpy(list->keys[list->count++], key, DEAI_KEY_BYTES);
}

static member *member_of(fetch_state *state, const uint8_t *key) {
  for (uint32_t i = 0; i < state->member_count; i++) {
    if (memcmp(state->members[i].key, key, DEAI_KEY_BYTES) == 0) return &state->members[i];
  }
  if (state->member_count == AVOID_MAX) return NULL;
  member *made = &state->members[state->member_count++];
  memcpy(made->key, key, DEAI_KEY_BYTES);
  return made;
}

static int32_t begin_fetch(blocks_task *task, const deai_part *first, char *err, uint32_t err_cap) {
  (void)first;
  fetch_state *state = task->state;
  deai_blocks_cid ask;
  int32_t status = deai_decode(&deai_blocks_cid_table, task->given, &ask, NULL, err, err_cap);
  if (status == DEAI_OK) status = blocks_task_cid(ask.cid, &state->cid, err, err_cap);
  return status;
}

/* ---- the worker's half ---- */

static void slot_clear(slot *at) {
  blocks_buf_free(&at->data);
  at->state = SLOT_FREE;
}

static int32_t slot_take(blocks_task *task, slot *at) {
  fetch_state *state = task->state;
  int32_t status =
      blocks_fetch_take(state->walk, &at->want, blocks_buf_bytes(&at->data), &task->err);
  if (status == DEAI_EVERIFY &&
      blocks_cid_check(&at->want.cid, blocks_buf_bytes(&at->data), NULL) == DEAI_OK)
    return DEAI_EINVAL; /* the right block: its parent lies about it, as the text says */
  if (status == DEAI_EVERIFY) {
    at->state = SLOT_WRONG;
    at->data.len = 0;
    task->err.text[0] = 0;
    return DEAI_OK;
  }
  if (status != DEAI_OK) return status;
  state->unsynced += at->data.len;
  slot_clear(at);
  return DEAI_OK;
}

static int32_t slots_take(blocks_task *task) {
  fetch_state *state = task->state;
  int32_t status = DEAI_OK;
  for (uint32_t i = 0; i < BLOCKS_FETCH_WANTS && status == DEAI_OK; i++) {
    slot *at = &state->slots[i];
    if (state->hand[i] && at->state == SLOT_ARRIVED) status = slot_take(task, at);
  }
  if (status != DEAI_OK || state->unsynced < SYNC_EVERY_BYTES) return status;
  state->unsynced = 0;
  return blocks_store_sync(task->store, &task->err);
}

/* slots_fill walks on while a slot is free: a blocks_fetch_state or a negative status. */
static int32_t slots_fill(blocks_task *task) {
  fetch_state *state = task->state;
  for (uint32_t i = 0; i < BLOCKS_FETCH_WANTS; i++) {
    slot *at = &state->slots[i];
    if (!state->hand[i] || at->state != SLOT_FREE) continue;
    blocks_want want;
    int32_t status = blocks_fetch_next(state->walk, &want, &task->err);
    if (status != BLOCKS_FETCH_WANT) return status;
    *at = (slot){.state = SLOT_WANT, .want = want};
  }
  return BLOCKS_FETCH_WAITS;
}

static int32_t step_fetch(blocks_task *task) {
  fetch_state *state = task->state;
  uint64_t done = 0;
  uint64_t of = 0;
  int32_t status = DEAI_OK;
  if (state->walk == NULL)
    status = blocks_fetch_new(task->store, &state->cid, &state->walk, &task->err);
  if (status == DEAI_OK) status = slots_take(task);
  int32_t found = status == DEAI_OK ? slots_fill(task) : status;
  if (found < 0) return found;
  if (found == BLOCKS_FETCH_DONE) return BLOCKS_NEXT_SYNC;
  blocks_fetch_progress(state->walk, &done, &of);
  status = blocks_task_progress(task, &state->last_ms, done, of);
  if (status != DEAI_OK) return status;
  return found == BLOCKS_FETCH_BUSY ? BLOCKS_NEXT_AGAIN : BLOCKS_NEXT_WAIT;
}

/* close keeps what is verified: a sync that fails here is told to the next who syncs. */
static void close_fetch(blocks_task *task) {
  fetch_state *state = task->state;
  if (state == NULL) return;
  for (uint32_t i = 0; i < BLOCKS_FETCH_WANTS; i++)
    slot_clear(&state->slots[i]);
  blocks_fetch_free(state->walk);
  state->walk = NULL;
  if (state->unsynced == 0) return;
  blocks_error err = {0};
  if (blocks_store_sync(task->store, &err) != DEAI_OK)
    deai_text(task->host, task->ctx, DEAI_LOG_ERROR, "fetch: %s", err.text);
}

/* ---- the loop's half: calls ---- */

static void retry_all(deai_inst *inst, void *user);

static void retry_later(deai_inst *inst) {
  if (inst->fetch_timer) return;
  inst->fetch_timer = inst->host->after(inst->ctx, RETRY_MS, retry_all, NULL) == DEAI_OK;
}

/* avoid_list lists who is not asked for the block of at. */
static uint32_t avoid_list(const fetch_state *state, const slot *at, key_list *room,
                           deai_bytes list[AVOID_MAX]) {
  *room = state->liars;
  for (uint32_t i = 0; i < at->asked.count; i++)
    key_add(room, at->asked.keys[i]);
  for (uint32_t i = 0; i < state->member_count && !at->everyone; i++) {
    if (state->members[i].misses >= MISSES_IN_A_ROW) key_add(room, state->members[i].key);
  }
  for (uint32_t i = 0; i < room->count; i++)
    list[i] = deai_bytes_of(room->keys[i], DEAI_KEY_BYTES);
  return room->count;
}

static void slot_call(blocks_task *task, slot *at) {
  char err[DEAI_ERR_CAP] = "";
  uint8_t args[DEAI_CID_MAX + 32];
  key_list room;
  deai_bytes avoid[AVOID_MAX];
  deai_blocks_cid ask = {.cid = blocks_cid_bytes(&at->want.cid)};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){args, sizeof args});
  int32_t status = deai_encode(&deai_blocks_cid_table, &ask, &writer, err, sizeof err);
  deai_part first = {.size = (uint32_t)sizeof first,
                     .flags = DEAI_PART_END,
                     .attachment = -1,
                     .args = deai_bytes_of(args, writer.len)};
  deai_call_options options = {.size = (uint32_t)sizeof options,
                               .service = deai_str_of(DEAI_BLOCKS_SERVICE),
                               .method = deai_str_of("get"),
                               .time_ms = CALL_MS,
                               .parent = task->ticket,
                               .avoid = avoid,
                               .flags = DEAI_CALL_AWAY};
  options.avoid_count = avoid_list(task->state, at, &room, avoid);
  at->has_provider = false;
  at->data.len = 0;
  at->state = SLOT_WANT;
  if (status == DEAI_OK) status = task->host->call(task->ctx, &options, &first, &at->ticket);
  if (status == DEAI_OK) {
    at->state = SLOT_CALLING;
  } else if (status == DEAI_EBUSY || status == DEAI_ENOMEM) {
    at->resting = true;
    retry_later(task->inst);
  } else {
    blocks_cid_string text;
    blocks_task_fail(task, status, "fetch: block %.100s cannot be asked for: %s",
                     blocks_cid_print(&at->want.cid, &text),
                     err[0] != 0 ? err : deai_status_text(status));
  }
}

/* slot_again decides whom to ask after a refusal; fails the fetch when nobody is left. */
static void slot_again(blocks_task *task, slot *at, bool nobody_left) {
  blocks_cid_string text;
  at->state = SLOT_WANT;
  at->data.len = 0;
  nobody_left = nobody_left || at->asked.count == AVOID_MAX;
  if (!nobody_left || !at->everyone) {
    at->everyone = at->everyone || nobody_left;
    slot_call(task, at);
  } else if (at->soft && at->rounds < ROUNDS_MAX) {
    at->rounds++;
    at->asked.count = 0;
    at->soft = false;
    at->resting = true;
    retry_later(task->inst);
  } else {
    const fetch_state *state = task->state;
    blocks_task_fail(task, state->liars.count > 0 ? DEAI_EVERIFY : DEAI_ENOTFOUND,
                     "fetch: expected a member that has block %.100s, found none (%u said no, %u "
                     "sent wrong bytes); bring a node that has it online, then fetch again: what "
                     "came is kept",
                     blocks_cid_print(&at->want.cid, &text), at->refused, state->liars.count);
  }
}

static bool is_soft(int32_t status) {
  return status == DEAI_EBUSY || status == DEAI_EPEER_LOST || status == DEAI_ETIMEDOUT ||
         status == DEAI_EPLUGIN_DIED || status == DEAI_ENOMEM;
}

static void slot_liar(blocks_task *task, slot *at) {
  fetch_state *state = task->state;
  blocks_cid_string text;
  if (at->has_provider) key_add(&state->liars, at->provider);
  deai_text(
      task->host, task->ctx, DEAI_LOG_WARN,
      "fetch: member %02x%02x%02x%02x sent wrong bytes for block %.100s; it is not asked again",
      at->provider[0], at->provider[1], at->provider[2], at->provider[3],
      blocks_cid_print(&at->want.cid, &text));
  slot_again(task, at, !at->has_provider);
}

static void slot_refused(blocks_task *task, slot *at, int32_t status) {
  fetch_state *state = task->state;
  at->soft = at->soft || is_soft(status);
  at->refused++;
  if (at->has_provider) {
    member *who = member_of(state, at->provider);
    if (who != NULL && status == DEAI_ENOTFOUND) who->misses++;
    key_add(&at->asked, at->provider);
  }
  slot_again(task, at, !at->has_provider);
}

static void slot_part(blocks_task *task, slot *at, const deai_part *part) {
  fetch_state *state = task->state;
  bool is_end = (part->flags & DEAI_PART_END) != 0;
  if (part->provider.len == DEAI_KEY_BYTES) {
    memcpy(at->provider, part->provider.ptr, DEAI_KEY_BYTES);
    at->has_provider = true;
  }
  bool fits = part->body.len <= DEAI_BLOCK_MAX - at->data.len;
  int32_t status = DEAI_OK;
  if (fits && part->body.len > 0)
    status = blocks_buf_add(&at->data, part->body.ptr, (size_t)part->body.len);
  if (!fits || status != DEAI_OK) {
    if (!is_end) task->host->cancel(task->ctx, at->ticket);
    at->ticket = DEAI_NO_TICKET;
    if (!fits)
      slot_liar(task, at);
    else
      slot_refused(task, at, status);
    return;
  }
  if (!is_end) return;
  at->ticket = DEAI_NO_TICKET;
  if (part->status != DEAI_OK) {
    slot_refused(task, at, part->status);
    return;
  }
  member *who = at->has_provider ? member_of(state, at->provider) : NULL;
  if (who != NULL) who->misses = 0;
  at->state = SLOT_ARRIVED;
  blocks_task_wake(task);
}

bool blocks_fetch_part(deai_inst *inst, uint64_t ticket, const deai_part *part) {
  for (blocks_task *task = inst->tasks; task != NULL; task = task->next) {
    if (task->method != &blocks_method_fetch || task->over) continue;
    fetch_state *state = task->state;
    for (uint32_t i = 0; i < BLOCKS_FETCH_WANTS; i++) {
      slot *at = &state->slots[i];
      if (state->hand[i]) continue;
      if (at->state != SLOT_CALLING || at->ticket != ticket) continue;
      slot_part(task, at, part);
      return true;
    }
  }
  return false;
}

/* prepare gives the worker every slot that has no call under way. */
static void prepare_fetch(blocks_task *task) {
  fetch_state *state = task->state;
  for (uint32_t i = 0; i < BLOCKS_FETCH_WANTS; i++)
    state->hand[i] = state->slots[i].state == SLOT_FREE || state->slots[i].state == SLOT_ARRIVED;
}

static void looped_fetch(blocks_task *task) {
  fetch_state *state = task->state;
  for (uint32_t i = 0; i < BLOCKS_FETCH_WANTS && !task->over; i++) {
    slot *at = &state->slots[i];
    if (!state->hand[i]) continue;
    state->hand[i] = false;
    if (at->state == SLOT_WANT) slot_call(task, at);
    if (at->state == SLOT_WRONG) slot_liar(task, at);
  }
}

/* gone gives up the calls. A slot that the worker has now has none. */
static void gone_fetch(blocks_task *task) {
  fetch_state *state = task->state;
  for (uint32_t i = 0; i < BLOCKS_FETCH_WANTS; i++) {
    slot *at = &state->slots[i];
    if (state->hand[i] || at->ticket == DEAI_NO_TICKET) continue;
    task->host->cancel(task->ctx, at->ticket);
    at->ticket = DEAI_NO_TICKET;
  }
}

static void retry_all(deai_inst *inst, void *user) {
  (void)user;
  inst->fetch_timer = false;
  for (blocks_task *task = inst->tasks; task != NULL; task = task->next) {
    if (task->method != &blocks_method_fetch) continue;
    fetch_state *state = task->state;
    for (uint32_t i = 0; i < BLOCKS_FETCH_WANTS && !task->over; i++) {
      slot *at = &state->slots[i];
      if (state->hand[i] || !at->resting) continue;
      at->resting = false;
      slot_call(task, at);
    }
  }
}

const blocks_method blocks_method_fetch = {.service = DEAI_BLOCKS_SERVICE,
                                           .name = "fetch",
                                           .number = 11,
                                           .max = FETCHES_MAX,
                                           .state_bytes = sizeof(fetch_state),
                                           .begin = begin_fetch,
                                           .step = step_fetch,
                                           .close = close_fetch,
                                           .prepare = prepare_fetch,
                                           .looped = looped_fetch,
                                           .gone = gone_fetch};
