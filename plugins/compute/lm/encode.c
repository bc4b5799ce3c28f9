#include "service_private.h"

#include "tokenizer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define IDS_OF_PART (DEAI_PEER_BODY_MAX / 4u)
#define ARENA_BYTES (4096u * sizeof(deai_lm_text) + 64u)
_Static_assert(DEAI_PEER_BODY_MAX <= DEAI_HEAD_MAX, "ids of a part fit the room of a head");

/* One encode: a task of the helper, then an answer being sent. */
struct lm_encoding {
  lm_task task;
  lm_encoding *next;
  uint64_t ticket;
  lm_held *held;
  bool cancelled;
  bool ready; /* the helper is through */
  int32_t status;
  lm_ids ids;
  size_t sent;
  size_t part_count;
  lm_part *parts;
  uint8_t text[];
};

static void encoding_free(lm_encoding *e) {
  lm_ids_free(&e->ids);
  free(e->parts);
  free(e);
}

static void unlink_encoding(deai_inst *inst, lm_encoding *e) {
  lm_encoding **at = &inst->encodings;
  while (*at != e)
    at = &(*at)->next;
  *at = e->next;
}

static void work(lm_task *task) {
  lm_encoding *e = (lm_encoding *)(void *)task;
  e->status =
      lm_tokenizer_encode(lm_model_tokenizer(e->held->model), e->parts, e->part_count, &e->ids);
}

static void finish(deai_inst *inst, lm_encoding *e) {
  lm_held *held = e->held;
  if (!e->cancelled)
    lm_reply_end(inst, e->ticket, e->status, NULL, NULL, deai_status_text(e->status));
  unlink_encoding(inst, e);
  held->encodes--;
  encoding_free(e);
  lm_shelf_settle(inst, held);
}

static int32_t send_part(deai_inst *inst, const lm_encoding *e, size_t count) {
  uint8_t *at = inst->head; /* as large as a part between nodes may be */
  deai_part part = {.size = (uint32_t)sizeof part, .attachment = -1};
  for (size_t i = 0; i < count; i++) {
    uint32_t id = e->ids.ptr[e->sent + i];
    for (uint32_t b = 0; b < 4; b++)
      at[4 * i + b] = (uint8_t)(id >> (8 * b));
  }
  part.body = deai_bytes_of(at, 4 * count);
  return inst->host->reply(inst->ctx, e->ticket, &part);
}

/* go_on sends ids until all are out or the window is used up. */
static void go_on(deai_inst *inst, lm_encoding *e) {
  while (e->status == DEAI_OK && !e->cancelled && e->sent < e->ids.len) {
    size_t left = e->ids.len - e->sent;
    size_t count = left < IDS_OF_PART ? left : IDS_OF_PART;
    int32_t status = send_part(inst, e, count);
    if (status == DEAI_EAGAIN) return;
    if (status != DEAI_OK) e->status = status;
    if (status == DEAI_OK) e->sent += count;
  }
  finish(inst, e);
}

static void done(void *owner, lm_task *task) {
  lm_encoding *e = (lm_encoding *)(void *)task;
  e->ready = true;
  if (owner != NULL) go_on(owner, e);
}

/* take_parts checks the lengths against the body and copies the text. */
static int32_t take_parts(lm_encoding *e, const deai_lm_encode *asked, deai_bytes body, char *err,
                          uint32_t err_cap) {
  const deai_lm_text *texts = asked->parts.items;
  uint64_t at = 0;
  for (uint64_t i = 0; i < asked->parts.count; i++) {
    if (texts[i].len <= body.len - at)
      e->parts[i] = (lm_part){.text = deai_bytes_of(e->text + at, texts[i].len),
                              .special = texts[i].special != 0};
    else
      return deai_err(err, err_cap, DEAI_EINVAL,
                      "lm-encode: a body with %" PRIu64 " more bytes for part %" PRIu64
                      " expected, found %" PRIu64 "; make lengths and body agree",
                      texts[i].len, i, body.len - at);
    at += texts[i].len;
  }
  if (at != body.len)
    return deai_err(err, err_cap, DEAI_EINVAL,
                    "lm-encode: a body of %" PRIu64 " bytes expected, found %" PRIu64
                    "; make lengths and body agree",
                    at, body.len);
  e->part_count = (size_t)asked->parts.count;
  if (body.len > 0) memcpy(e->text, body.ptr, (size_t)body.len);
  return DEAI_OK;
}

static lm_encoding *encoding_new(const deai_lm_encode *asked, deai_bytes body) {
  lm_encoding *e = calloc(1, sizeof *e + (size_t)body.len);
  if (e == NULL) return NULL;
  e->parts = calloc((size_t)asked->parts.count, sizeof *e->parts);
  if (e->parts == NULL) {
    free(e);
    return NULL;
  }
  e->task = (lm_task){.work = work, .done = done};
  return e;
}

static int32_t check_open(const deai_inst *inst, char *err, uint32_t err_cap) {
  uint64_t open = 0;
  uint64_t most = LM_SERVICE_PLACES + inst->settings->queue;
  for (const lm_encoding *e = inst->encodings; e != NULL; e = e->next)
    open++;
  if (open < most) return DEAI_OK;
  return deai_err(err, err_cap, DEAI_EBUSY,
                  "fewer than %" PRIu64 " texts being encoded expected, found %" PRIu64
                  "; try again later",
                  most, open);
}

static int32_t begin(deai_inst *inst, uint64_t ticket, const deai_part *first, deai_arena *arena,
                     char *err, uint32_t err_cap) {
  deai_lm_encode asked;
  lm_held *held = NULL;
  int32_t status = deai_decode(&deai_lm_encode_table, first->args, &asked, arena, err, err_cap);
  if (status == DEAI_OK) status = lm_shelf_find(inst, asked.model, &held, err, err_cap);
  if (status == DEAI_OK) status = check_open(inst, err, err_cap);
  if (status != DEAI_OK) return status;
  lm_encoding *e = encoding_new(&asked, first->body);
  if (e == NULL) return deai_err(err, err_cap, DEAI_ENOMEM, "no memory for the text");
  status = take_parts(e, &asked, first->body, err, err_cap);
  if (status != DEAI_OK) {
    encoding_free(e);
    return status;
  }
  e->ticket = ticket;
  e->held = held;
  e->next = inst->encodings;
  inst->encodings = e;
  held->encodes++;
  lm_tasks_add(inst->helper, &e->task);
  return DEAI_OK;
}

int32_t lm_encode_begin(deai_inst *inst, uint64_t ticket, const deai_part *first, char *err,
                        uint32_t err_cap) {
  deai_arena arena = {.base = malloc(ARENA_BYTES), .cap = ARENA_BYTES};
  if (arena.base == NULL) return deai_err(err, err_cap, DEAI_ENOMEM, "no memory for the text");
  int32_t status = begin(inst, ticket, first, &arena, err, err_cap);
  free(arena.base);
  return status;
}

static lm_encoding *find(deai_inst *inst, uint64_t ticket) {
  lm_encoding *e = inst->encodings;
  while (e != NULL && e->ticket != ticket)
    e = e->next;
  return e;
}

bool lm_encode_drain(deai_inst *inst, uint64_t ticket) {
  lm_encoding *e = find(inst, ticket);
  if (e == NULL) return false;
  if (e->ready) go_on(inst, e);
  return true;
}

bool lm_encode_cancel(deai_inst *inst, uint64_t ticket, int32_t status) {
  lm_encoding *e = find(inst, ticket);
  if (e == NULL) return false;
  lm_reply_end(inst, ticket, status, NULL, NULL, deai_status_text(status));
  e->cancelled = true;
  e->ticket = DEAI_NO_TICKET;
  if (e->ready) finish(inst, e);
  return true;
}

void lm_encode_close(deai_inst *inst) {
  while (inst->encodings != NULL) {
    lm_encoding *e = inst->encodings;
    inst->encodings = e->next;
    e->held->encodes--;
    encoding_free(e);
  }
}
