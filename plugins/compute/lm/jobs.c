#include "service_private.h"

#include "merkle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define ARENA_BYTES 1024u /* of the list of stop strings */

/* ---- a job comes ---- */

static int32_t check_counts(const deai_call_info *info, const deai_part *first,
                            const deai_lm_job *asked, char *err, uint32_t err_cap) {
  uint64_t count = asked->ids + asked->forced;
  if (first->body.len != 4 * count)
    return deai_err(err, err_cap, DEAI_EINVAL,
                    "lm-job: a body of %" PRIu64 " bytes expected for %" PRIu64 " ids and %" PRIu64
                    " forced tokens, found %" PRIu64 "; send 4 bytes for each",
                    4 * count, asked->ids, asked->forced, first->body.len);
  if (info->units != 0 && info->units != count)
    return deai_err(err, err_cap, DEAI_EINVAL,
                    "lm-job: %" PRIu64 " units expected (ids and forced tokens), found %" PRIu64
                    "; ask for as many as the body holds",
                    count, info->units);
  return DEAI_OK;
}

static uint8_t *put(uint8_t **at, deai_bytes bytes) {
  uint8_t *start = *at;
  if (bytes.len > 0) memcpy(start, bytes.ptr, (size_t)bytes.len);
  *at += bytes.len;
  return start;
}

static uint64_t text_bytes(const deai_call_info *info, const deai_lm_job *asked) {
  const deai_bytes *stops = asked->stop.items;
  uint64_t len = 1 + info->caller_id.len + info->origin.len;
  for (uint64_t i = 0; i < asked->stop.count; i++)
    len += stops[i].len;
  return len;
}

/* copy_texts copies who calls, which keys the cache, and the stop strings. */
static void copy_texts(lm_job *job, const deai_call_info *info, const deai_lm_job *asked) {
  const deai_bytes *stops = asked->stop.items;
  uint8_t *at = job->bytes;
  uint8_t kind = (uint8_t)info->caller_kind;
  lm_request *request = &job->run.request;
  const uint8_t *caller = put(&at, deai_bytes_of(&kind, 1));
  (void)put(&at, info->caller_id);
  request->caller = deai_bytes_of(caller, 1 + info->caller_id.len);
  request->origin = deai_bytes_of(put(&at, info->origin), info->origin.len);
  for (uint64_t i = 0; i < asked->stop.count; i++)
    job->stops[i] = deai_bytes_of(put(&at, stops[i]), stops[i].len);
  request->stops = job->stops;
  request->stop_count = (uint32_t)asked->stop.count;
}

static uint32_t u32_at(const uint8_t *bytes) {
  return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
         (uint32_t)bytes[3] << 24;
}

static void job_free(lm_job *job) {
  lm_run_clear(&job->run);
  free(job->ids);
  free(job);
}

static lm_job *job_new(const deai_call_info *info, const deai_part *first, const deai_lm_job *asked,
                       bool replay) {
  uint64_t count = asked->ids + asked->forced;
  lm_job *job = calloc(1, sizeof *job + (size_t)text_bytes(info, asked));
  if (job == NULL) return NULL;
  job->ids = malloc((size_t)count * sizeof *job->ids + 1);
  if (job->ids == NULL) {
    free(job);
    return NULL;
  }
  for (uint64_t i = 0; i < count; i++)
    job->ids[i] = u32_at(first->body.ptr + 4 * i);
  copy_texts(job, info, asked);
  lm_request *request = &job->run.request;
  request->ids = job->ids;
  request->id_count = (uint32_t)asked->ids;
  request->forced = job->ids + asked->ids;
  request->forced_count = (uint32_t)asked->forced;
  request->max = (uint32_t)asked->max;
  request->sampler = (lm_sampler){.t = (uint32_t)asked->sampler.t,
                                  .k = (uint32_t)asked->sampler.k,
                                  .p = (uint32_t)asked->sampler.p,
                                  .seed = asked->sampler.seed};
  request->logprobs = (uint32_t)asked->logprobs;
  request->replay = replay;
  lm_merkle empty = {.count = 0};
  lm_merkle_root(&empty, job->root);
  return job;
}

/* check_queue counts the jobs beyond the places of their models. */
static int32_t check_queue(const deai_inst *inst, const lm_held *held, char *err,
                           uint32_t err_cap) {
  uint64_t waiting = 0;
  if (held->jobs < LM_SERVICE_PLACES) return DEAI_OK;
  for (uint32_t i = 0; i < LM_SETTINGS_MODELS_MAX; i++)
    if (inst->shelf[i].jobs > LM_SERVICE_PLACES) waiting += inst->shelf[i].jobs - LM_SERVICE_PLACES;
  if (waiting < inst->settings->queue) return DEAI_OK;
  return deai_err(err, err_cap, DEAI_EBUSY,
                  "a free place among %" PRIu64 " waiting jobs expected, found %" PRIu64
                  " waiting and %u running; try again later or on another node",
                  inst->settings->queue, waiting, LM_SERVICE_PLACES);
}

static void append(deai_inst *inst, lm_job *job) {
  lm_job **at = &inst->jobs;
  while (*at != NULL)
    at = &(*at)->next;
  *at = job;
}

int32_t lm_jobs_begin(deai_inst *inst, uint64_t ticket, const deai_call_info *info,
                      const deai_part *first, bool replay, char *err, uint32_t err_cap) {
  _Alignas(16) uint8_t room[ARENA_BYTES];
  deai_arena arena = {.base = room, .cap = sizeof room};
  deai_lm_job asked;
  lm_held *held = NULL;
  lm_error error = {{0}};
  int32_t status = deai_decode(&deai_lm_job_table, first->args, &asked, &arena, err, err_cap);
  if (status == DEAI_OK) status = lm_shelf_find(inst, asked.model, &held, err, err_cap);
  if (status == DEAI_OK) status = check_counts(info, first, &asked, err, err_cap);
  if (status != DEAI_OK) return status;
  lm_job *job = job_new(info, first, &asked, replay);
  if (job == NULL) return deai_err(err, err_cap, DEAI_ENOMEM, "no memory for the job");
  status =
      lm_request_check(&job->run.request, lm_model_shape(held->model), lm_shelf_ctx(held), &error);
  if (status != DEAI_OK) (void)deai_err(err, err_cap, status, "%s", error.text);
  if (status == DEAI_OK) status = check_queue(inst, held, err, err_cap);
  if (status != DEAI_OK) {
    job_free(job);
    return status;
  }
  job->ticket = ticket;
  job->held = held;
  append(inst, job);
  held->jobs++;
  lm_shelf_settle(inst, held);
  return DEAI_OK;
}

void lm_jobs_place(deai_inst *inst) {
  for (lm_job *job = inst->jobs; job != NULL; job = job->next) {
    lm_held *held = job->held;
    bool ready = held->engine != NULL && !held->busy && !held->broken;
    if (job->placed || !ready || held->active == LM_SERVICE_PLACES) continue;
    held->active++;
    job->placed = true;
    job->run.engine = held->engine;
    lm_writer_add(inst->writer, &job->run);
  }
}

/* ---- a job ends ---- */

static void end_of(const lm_job *job, int32_t status, deai_lm_end *end) {
  const lm_result *result = &job->run.result;
  const lm_sampler *sampler = &job->run.request.sampler;
  bool whole = status == DEAI_OK;
  *end = (deai_lm_end){
      .n = whole ? result->n : job->n,
      .model = lm_cid_bytes(&job->held->cid),
      .rules = LM_RULES,
      .sampler = {.k = sampler->k, .p = sampler->p, .t = sampler->t, .seed = sampler->seed}};
  memcpy(end->root, whole ? result->root : job->root, DEAI_HASH_BYTES);
  if (whole && job->run.request.replay) {
    if (result->wrong < 0) return;
    end->has = DEAI_LM_END_HAS_WRONG;
    end->wrong = (uint64_t)result->wrong;
    return;
  }
  if (!whole && job->cancel == 0) return; /* failed: it has no finish */
  end->has = DEAI_LM_END_HAS_FINISH;
  end->finish = !whole                             ? DEAI_LM_CANCEL
                : result->finish == LM_FINISH_STOP ? DEAI_LM_STOP
                                                   : DEAI_LM_LENGTH;
}

static void unlink_job(deai_inst *inst, lm_job *job) {
  lm_job **at = &inst->jobs;
  while (*at != job)
    at = &(*at)->next;
  *at = job->next;
}

/* job_end sends the END of a job that the writer does not have, and frees it. */
static void job_end(deai_inst *inst, lm_job *job, int32_t status, const char *why) {
  deai_lm_end end;
  lm_held *held = job->held;
  end_of(job, status, &end);
  lm_reply_end(inst, job->ticket, status, &deai_lm_end_table, &end, why);
  unlink_job(inst, job);
  held->jobs--;
  if (job->placed) held->active--;
  if (job->run.lost) held->broken = true;
  held->idle_s = 0;
  job_free(job);
  lm_shelf_settle(inst, held);
}

void lm_jobs_fail(deai_inst *inst, lm_held *held, int32_t status, const char *why) {
  lm_job *next = NULL;
  bool busy = held->busy;
  held->busy = true; /* so that no end of a job wakes the model again */
  for (lm_job *job = inst->jobs; job != NULL; job = next) {
    next = job->next;
    if (job->held != held || job->placed) continue;
    job_end(inst, job, status, why);
  }
  held->busy = busy;
}

/* ---- tokens go out ---- */

/* One part under way. */
typedef struct batch {
  deai_lm_tokens tokens;
  uint64_t ids[LM_RUN_AHEAD];
  deai_lm_logprobs lists[LM_RUN_AHEAD];
  deai_lm_logprob rows[LM_RUN_AHEAD][1 + LM_LOGPROBS_MAX];
  uint64_t text_len;
  uint32_t count;
} batch;

static void add_token(batch *b, const lm_token *token, uint8_t *text) {
  uint32_t at = b->count++;
  b->ids[at] = token->id;
  for (uint32_t i = 0; i < token->row_count; i++)
    b->rows[at][i] = (deai_lm_logprob){.id = token->rows[i].id, .logprob = token->rows[i].micro};
  b->lists[at].items = (deai_list){.items = b->rows[at], .count = token->row_count};
  if (token->text_len > 0) memcpy(text + b->text_len, token->text, token->text_len);
  b->text_len += token->text_len;
}

static void fill(deai_inst *inst, batch *b, const lm_token *token, uint32_t count) {
  bool rows = token->row_count > 0;
  b->count = 0;
  b->text_len = 0;
  while (b->count < count && b->count < LM_RUN_AHEAD) {
    if (token->text_len > LM_TEXT_MAX - b->text_len) break;
    add_token(b, token, inst->text);
    if (b->count < count) token = token->next; /* behind the last the writer appends */
  }
  b->tokens = (deai_lm_tokens){.has = rows ? DEAI_LM_TOKENS_HAS_LP : 0,
                               .ids = {.items = b->ids, .count = b->count},
                               .text = deai_bytes_of(inst->text, b->text_len)};
  if (rows) b->tokens.lp = (deai_list){.items = b->lists, .count = b->count};
}

/* send sends what fits one part of count waiting tokens; *sent_out = how many it carried. */
static int32_t send(deai_inst *inst, lm_job *job, const lm_token *first, uint32_t count,
                    uint32_t *sent_out) {
  batch b;
  fill(inst, &b, first, count);
  if (b.count == 0)
    return deai_err(job->why, sizeof job->why, DEAI_EINVAL,
                    "tokens of at most %u bytes expected, the model has one of %zu; take another",
                    LM_TEXT_MAX, first->text_len);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){inst->head, sizeof inst->head});
  int32_t status =
      deai_encode(&deai_lm_tokens_table, &b.tokens, &writer, job->why, sizeof job->why);
  if (status != DEAI_OK) return status;
  deai_part part = {.size = (uint32_t)sizeof part,
                    .units = b.count,
                    .attachment = -1,
                    .args = deai_bytes_of(inst->head, writer.len)};
  *sent_out = b.count;
  return inst->host->reply(inst->ctx, job->ticket, &part);
}

/* sent notes what the caller has now. */
static void sent(deai_inst *inst, lm_job *job, const lm_token *first, uint32_t count) {
  const lm_token *last = first;
  for (uint32_t i = 1; i < count; i++)
    last = last->next;
  job->n = last->n;
  memcpy(job->root, last->root, sizeof job->root);
  lm_writer_drop(inst->writer, &job->run, count);
}

static void give_up(deai_inst *inst, lm_job *job, int32_t status) {
  job->cancel = status;
  lm_writer_cancel(inst->writer, &job->run);
}

/* flush sends what waits and ends the job when nothing more comes. */
static void flush(deai_inst *inst, lm_job *job) {
  const lm_token *first = NULL;
  bool over = false;
  uint32_t done = 0;
  if (!job->placed) return;
  uint32_t count = lm_writer_peek(inst->writer, &job->run, &first, &over);
  while (count > 0 && job->cancel == 0) {
    if (job->blocked) return;
    int32_t status = send(inst, job, first, count, &done);
    if (status == DEAI_EAGAIN) {
      job->blocked = true;
      lm_writer_pause(inst->writer, &job->run, true);
      return;
    }
    if (status == DEAI_OK) sent(inst, job, first, done);
    if (status != DEAI_OK) give_up(inst, job, status);
    count = lm_writer_peek(inst->writer, &job->run, &first, &over);
  }
  if (!over) return;
  int32_t status = job->cancel != 0 ? job->cancel : job->run.status;
  char why[DEAI_ERR_CAP];
  (void)deai_err(why, sizeof why, status, "%s",
                 job->cancel == 0   ? job->run.error.text
                 : job->why[0] != 0 ? job->why
                                    : deai_status_text(status));
  job_end(inst, job, status, why);
}

void lm_jobs_deliver(deai_inst *inst) {
  lm_job *next = NULL;
  for (lm_job *job = inst->jobs; job != NULL; job = next) {
    next = job->next;
    flush(inst, job);
  }
}

static lm_job *find(deai_inst *inst, uint64_t ticket) {
  lm_job *job = inst->jobs;
  while (job != NULL && job->ticket != ticket)
    job = job->next;
  return job;
}

bool lm_jobs_drain(deai_inst *inst, uint64_t ticket) {
  lm_job *job = find(inst, ticket);
  if (job == NULL) return false;
  if (job->blocked) lm_writer_pause(inst->writer, &job->run, false);
  job->blocked = false;
  flush(inst, job);
  return true;
}

bool lm_jobs_cancel(deai_inst *inst, uint64_t ticket, int32_t status) {
  lm_job *job = find(inst, ticket);
  if (job == NULL) return false;
  if (job->placed) {
    give_up(inst, job, status);
    flush(inst, job);
    return true;
  }
  job->cancel = status;
  job_end(inst, job, status, deai_status_text(status));
  return true;
}

void lm_jobs_close(deai_inst *inst) {
  while (inst->jobs != NULL) {
    lm_job *job = inst->jobs;
    inst->jobs = job->next;
    job->held->jobs--;
    if (job->placed) job->held->active--;
    job_free(job);
  }
}
