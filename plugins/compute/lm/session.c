#include "session.h"

#include "filter.h"
#include "merkle.h"
#include "tokenizer.h"

#include <inttypes.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/base/banned.h"

#define CACHES_DEFAULT 4u
#define CHUNK_START    8u
#define PASS_NS        (LM_PASS_MS * UINT64_C(1000000))

/* A place for one session's KV cache, and what lies in it. */
typedef struct slot {
  lm_cache *cache;  /* made at its first use */
  uint32_t *tokens; /* ctx: the tokens at positions 0..length */
  uint32_t length;
  uint8_t owner[DEAI_HASH_BYTES]; /* of (caller, origin) */
  uint64_t used;                  /* counts up: the lowest is the oldest */
  bool taken;
} slot;

struct lm_engine {
  const lm_model *model;
  const lm_shape *shape;
  const lm_backend_ops *ops;
  lm_backend *backend;
  pthread_mutex_t lock; /* of the backend, the slots and the room below */
  slot *slots;
  uint32_t slot_count;
  uint32_t open_count;
  uint32_t ctx;
  uint32_t chunk;
  bool adapts; /* chunk follows the measured speed */
  uint64_t clock;
  float *hidden; /* LM_COLUMNS_MAX x embd */
  float *logits; /* LM_COLUMNS_MAX x vocab */
};

struct lm_session {
  lm_engine *engine;
  slot *place;
  uint32_t *ids; /* prompt, then output tokens: forced ones at first */
  uint32_t prompt;
  uint32_t forced;
  uint32_t max;
  uint32_t fed; /* positions in the cache */
  uint32_t n;   /* output tokens with a leaf in the tree */
  lm_sampler sampler;
  uint32_t top; /* logprobs asked for */
  bool replay;
  lm_finish finish;
  int32_t status;
  int64_t wrong;
  uint32_t reused;
  uint32_t columns;
  lm_merkle tree;
  lm_filter filter;
  deai_bytes stops[LM_STOPS_MAX];
  uint8_t *stop_bytes;
  uint32_t stop_count;
  lm_logprob rows[1 + LM_LOGPROBS_MAX];
  uint8_t *text; /* of this step: two pieces may meet in it */
  size_t text_len;
  size_t text_cap;
  lm_error error;
};

/* ---- engine ---- */

static int32_t check_config(const lm_shape *shape, const lm_engine_config *config,
                            lm_error *error) {
  if (config->ctx > shape->ctx)
    return lm_fail(error, DEAI_EINVAL,
                   "engine: a context of at most %u expected, found %u; lower it", shape->ctx,
                   config->ctx);
  if (config->caches > LM_CACHES_MAX)
    return lm_fail(error, DEAI_EINVAL, "engine: at most %d caches expected, found %u",
                   LM_CACHES_MAX, config->caches);
  if (config->chunk > LM_COLUMNS_MAX)
    return lm_fail(error, DEAI_EINVAL, "engine: a chunk of at most %d expected, found %u",
                   LM_COLUMNS_MAX, config->chunk);
  return DEAI_OK;
}

static bool engine_room(lm_engine *e) {
  e->slots = calloc(e->slot_count, sizeof *e->slots);
  e->hidden = malloc(sizeof(float) * LM_COLUMNS_MAX * e->shape->embd);
  e->logits = malloc(sizeof(float) * LM_COLUMNS_MAX * e->shape->vocab);
  return e->slots != NULL && e->hidden != NULL && e->logits != NULL;
}

int32_t lm_engine_open(const lm_model *model, const lm_backend_ops *ops,
                       const lm_engine_config *config, lm_engine **engine_out, lm_error *error) {
  *engine_out = NULL;
  const lm_shape *shape = lm_model_shape(model);
  int32_t status = check_config(shape, config, error);
  if (status != DEAI_OK) return status;
  lm_engine *e = calloc(1, sizeof *e);
  if (e == NULL) return lm_fail(error, DEAI_ENOMEM, "engine: no memory");
  e->model = model;
  e->shape = shape;
  e->ops = ops;
  e->ctx = config->ctx == 0 ? shape->ctx : config->ctx;
  e->slot_count = config->caches == 0 ? CACHES_DEFAULT : config->caches;
  e->chunk = config->chunk == 0 ? CHUNK_START : config->chunk;
  e->adapts = config->chunk == 0;
  (void)pthread_mutex_init(&e->lock, NULL);
  status = engine_room(e) ? DEAI_OK : lm_fail(error, DEAI_ENOMEM, "engine: no memory");
  if (status == DEAI_OK) status = ops->open(model, &config->backend, &e->backend, error);
  if (status != DEAI_OK) {
    lm_engine_close(e);
    return status;
  }
  *engine_out = e;
  return DEAI_OK;
}

void lm_engine_close(lm_engine *engine) {
  if (engine == NULL) return;
  for (uint32_t i = 0; engine->slots != NULL && i < engine->slot_count; i++) {
    engine->ops->cache_delete(engine->slots[i].cache);
    free(engine->slots[i].tokens);
  }
  engine->ops->close(engine->backend);
  (void)pthread_mutex_destroy(&engine->lock);
  free(engine->slots);
  free(engine->hidden);
  free(engine->logits);
  free(engine);
}

uint32_t lm_engine_ctx(const lm_engine *engine) {
  return engine->ctx;
}

uint32_t lm_engine_load(lm_engine *engine) {
  (void)pthread_mutex_lock(&engine->lock);
  uint32_t load = engine->open_count;
  (void)pthread_mutex_unlock(&engine->lock);
  return load;
}

uint32_t lm_engine_caches(const lm_engine *engine) {
  return engine->slot_count;
}

const char *lm_engine_describe(const lm_engine *engine) {
  return engine->ops->describe(engine->backend);
}

/* ---- taking a cache ---- */

/* owner_of hashes (caller, origin); the length keeps the two apart. */
static void owner_of(const lm_request *request, uint8_t owner[DEAI_HASH_BYTES]) {
  uint8_t both[2 * DEAI_HASH_BYTES];
  (void)SHA256(request->caller.len == 0 ? (const uint8_t *)"" : request->caller.ptr,
               (size_t)request->caller.len, both);
  (void)SHA256(request->origin.len == 0 ? (const uint8_t *)"" : request->origin.ptr,
               (size_t)request->origin.len, both + DEAI_HASH_BYTES);
  (void)SHA256(both, sizeof both, owner);
}

static uint32_t common_prefix(const slot *place, const lm_session *s) {
  uint32_t most = place->length < s->prompt - 1 ? place->length : s->prompt - 1;
  uint32_t n = 0;
  while (n < most && place->tokens[n] == s->ids[n])
    n++;
  return n;
}

/* pick_slot prefers the owner's longest prefix, then an empty cache, then the oldest. */
static slot *pick_slot(lm_engine *e, const lm_session *s, const uint8_t *owner,
                       uint32_t *prefix_out) {
  slot *best = NULL;
  *prefix_out = 0;
  for (uint32_t i = 0; i < e->slot_count; i++) {
    slot *place = &e->slots[i];
    if (place->taken) continue;
    bool own = memcmp(place->owner, owner, DEAI_HASH_BYTES) == 0;
    uint32_t prefix = own ? common_prefix(place, s) : 0;
    bool better = best == NULL || prefix > *prefix_out ||
                  (prefix == *prefix_out && prefix == 0 && place->used < best->used);
    if (!better) continue;
    best = place;
    *prefix_out = prefix;
  }
  return best;
}

static int32_t make_cache(lm_engine *e, slot *place) {
  if (place->tokens == NULL) place->tokens = malloc(e->ctx * sizeof *place->tokens);
  if (place->tokens == NULL) return DEAI_ENOMEM;
  if (place->cache != NULL) return DEAI_OK;
  return e->ops->cache_new(e->backend, e->ctx, &place->cache);
}

static int32_t take_slot(lm_session *s, const lm_request *request, lm_error *error) {
  lm_engine *e = s->engine;
  uint8_t owner[DEAI_HASH_BYTES];
  owner_of(request, owner);
  (void)pthread_mutex_lock(&e->lock);
  slot *place = pick_slot(e, s, owner, &s->reused);
  int32_t status = place == NULL ? DEAI_EBUSY : make_cache(e, place);
  if (status == DEAI_OK) {
    e->ops->cache_truncate(place->cache, s->reused);
    memcpy(place->owner, owner, sizeof owner);
    place->length = s->reused;
    place->taken = true;
    e->open_count++;
    s->place = place;
    s->fed = s->reused;
  }
  (void)pthread_mutex_unlock(&e->lock);
  if (status == DEAI_EBUSY)
    return lm_fail(error, status,
                   "session: one of %u caches expected free, all are taken; try "
                   "again later",
                   e->slot_count);
  if (status != DEAI_OK)
    return lm_fail(error, status, "session: no memory for a cache of %u tokens; lower the context",
                   e->ctx);
  return DEAI_OK;
}

/* ---- opening a session ---- */

static int32_t check_limits(const lm_request *r, uint32_t ctx, lm_error *error) {
  if (r->id_count < 1)
    return lm_fail(error, DEAI_EINVAL, "session: a prompt of 1 token or more expected, found none");
  if ((uint64_t)r->id_count + r->max > ctx)
    return lm_fail(error, DEAI_EINVAL,
                   "session: prompt and answer within %u tokens expected, found %u + %u; shorten "
                   "one of them",
                   ctx, r->id_count, r->max);
  if (r->forced_count > r->max || (r->replay && r->forced_count != r->max))
    return lm_fail(error, DEAI_EINVAL, "session: %s %u forced tokens expected, found %u",
                   r->replay ? "exactly" : "at most", r->max, r->forced_count);
  if (r->logprobs > LM_LOGPROBS_MAX)
    return lm_fail(error, DEAI_EINVAL, "session: at most %d logprobs expected, found %u",
                   LM_LOGPROBS_MAX, r->logprobs);
  if (lm_sampler_check(&r->sampler) != DEAI_OK)
    return lm_fail(error, DEAI_EINVAL,
                   "session: temperature 0 to 100 and top_p above 0 to 1 expected, found %" PRIu32
                   " and %" PRIu32 " millionths",
                   r->sampler.t, r->sampler.p);
  return DEAI_OK;
}

static int32_t check_ids(uint32_t vocab, const uint32_t *ids, uint32_t count, lm_error *error) {
  for (uint32_t i = 0; i < count; i++)
    if (ids[i] >= vocab)
      return lm_fail(error, DEAI_EINVAL, "session: token ids below %u expected, found %u", vocab,
                     ids[i]);
  return DEAI_OK;
}

static int32_t check_stops(const lm_request *r, lm_error *error) {
  if (r->stop_count > LM_STOPS_MAX)
    return lm_fail(error, DEAI_EINVAL, "session: at most %d stop strings expected, found %u",
                   LM_STOPS_MAX, r->stop_count);
  for (uint32_t i = 0; i < r->stop_count; i++)
    if (r->stops[i].len < 1 || r->stops[i].len > LM_STOP_BYTES_MAX)
      return lm_fail(error, DEAI_EINVAL,
                     "session: stop strings of 1 to %d bytes expected, found %" PRIu64,
                     LM_STOP_BYTES_MAX, r->stops[i].len);
  return DEAI_OK;
}

int32_t lm_request_check(const lm_request *request, const lm_shape *shape, uint32_t ctx,
                         lm_error *error) {
  int32_t status = check_limits(request, ctx, error);
  if (status == DEAI_OK) status = check_ids(shape->vocab, request->ids, request->id_count, error);
  if (status == DEAI_OK)
    status = check_ids(shape->vocab, request->forced, request->forced_count, error);
  return status == DEAI_OK ? check_stops(request, error) : status;
}

static int32_t copy_request(lm_session *s, const lm_request *r) {
  s->ids = malloc(((size_t)r->id_count + r->max) * sizeof *s->ids);
  s->stop_bytes = malloc((size_t)LM_STOPS_MAX * LM_STOP_BYTES_MAX);
  if (s->ids == NULL || s->stop_bytes == NULL) return DEAI_ENOMEM;
  memcpy(s->ids, r->ids, (size_t)r->id_count * sizeof *s->ids);
  if (r->forced_count > 0)
    memcpy(s->ids + r->id_count, r->forced, (size_t)r->forced_count * sizeof *s->ids);
  s->prompt = r->id_count;
  s->forced = r->forced_count;
  s->max = r->max;
  s->sampler = r->sampler;
  s->top = r->logprobs;
  s->replay = r->replay;
  for (uint32_t i = 0; i < r->stop_count; i++) {
    uint8_t *at = s->stop_bytes + (size_t)i * LM_STOP_BYTES_MAX;
    memcpy(at, r->stops[i].ptr, (size_t)r->stops[i].len);
    s->stops[i] = deai_bytes_of(at, r->stops[i].len);
  }
  s->stop_count = r->stop_count;
  return DEAI_OK;
}

int32_t lm_session_open(lm_engine *engine, const lm_request *request, lm_session **session_out,
                        lm_error *error) {
  *session_out = NULL;
  int32_t status = lm_request_check(request, engine->shape, engine->ctx, error);
  if (status != DEAI_OK) return status;
  lm_session *s = calloc(1, sizeof *s);
  if (s == NULL) return lm_fail(error, DEAI_ENOMEM, "session: no memory");
  s->engine = engine;
  s->wrong = -1;
  status = copy_request(s, request);
  if (status != DEAI_OK) (void)lm_fail(error, status, "session: no memory");
  if (status == DEAI_OK) status = take_slot(s, request, error);
  if (status != DEAI_OK) {
    lm_session_close(s);
    return status;
  }
  lm_filter_open(&s->filter, s->stops, s->stop_count);
  *session_out = s;
  return DEAI_OK;
}

void lm_session_close(lm_session *session) {
  if (session == NULL) return;
  lm_engine *e = session->engine;
  if (session->place != NULL) {
    (void)pthread_mutex_lock(&e->lock);
    session->place->taken = false;
    session->place->used = ++e->clock;
    e->open_count--;
    (void)pthread_mutex_unlock(&e->lock);
  }
  lm_filter_close(&session->filter);
  free(session->ids);
  free(session->stop_bytes);
  free(session->text);
  free(session);
}

/* ---- one token ---- */

/* fail ends the session with a status of its own. */
static void fail(lm_session *s, lm_step *step, int32_t status) {
  s->status = status;
  step->status = status;
}

/* add_text appends a piece to the text of this step. */
static int32_t add_text(lm_session *s, deai_bytes piece) {
  if (piece.len == 0) return DEAI_OK;
  size_t wanted = s->text_len + (size_t)piece.len;
  if (wanted > s->text_cap) {
    uint8_t *grown = realloc(s->text, 2 * wanted);
    if (grown == NULL) return DEAI_ENOMEM;
    s->text = grown;
    s->text_cap = 2 * wanted;
  }
  memcpy(s->text + s->text_len, piece.ptr, (size_t)piece.len);
  s->text_len = wanted;
  return DEAI_OK;
}

/* give_text runs token i through the filter and settles whether the answer ends with it. */
static int32_t give_text(lm_session *s, uint32_t i, uint32_t token) {
  bool forced = i < s->forced;
  deai_bytes piece;
  deai_bytes bytes = lm_tokenizer_bytes(lm_model_tokenizer(s->engine->model), token);
  int32_t status = lm_filter_feed(&s->filter, bytes, &piece);
  if (status == DEAI_OK && !forced) status = add_text(s, piece);
  if (status != DEAI_OK) return status;
  bool last = !forced || i + 1 == s->forced;
  bool stops = lm_model_ends(s->engine->model, token) || s->filter.stopped;
  if (!last && s->filter.stopped) { /* taken as given: the text goes on behind it */
    lm_filter_close(&s->filter);
    lm_filter_open(&s->filter, s->stops, s->stop_count);
  }
  if (last && stops) s->finish = LM_FINISH_STOP;
  if (s->finish == LM_FINISH_NONE && i + 1 == s->max) s->finish = LM_FINISH_LENGTH;
  if (s->finish == LM_FINISH_NONE || forced) return DEAI_OK;
  status = lm_filter_flush(&s->filter, &piece);
  return status == DEAI_OK ? add_text(s, piece) : status;
}

/* output makes token i from the logits of its position: sampled, or forced and compared. */
static int32_t output(lm_session *s, uint32_t i, const float *hidden, const float *logits,
                      lm_step *step) {
  const lm_shape *shape = s->engine->shape;
  uint8_t leaf[DEAI_HASH_BYTES];
  bool forced = i < s->forced;
  uint32_t token = forced ? s->ids[s->prompt + i] : 0;
  if (!forced || (s->replay && s->wrong < 0)) {
    uint32_t chosen;
    int32_t status = lm_sampler_pick(&s->sampler, logits, shape->vocab, i, &chosen);
    if (status != DEAI_OK) return status;
    if (forced && chosen != token) s->wrong = i;
    if (!forced) token = chosen;
  }
  s->ids[s->prompt + i] = token;
  lm_merkle_leaf(i, token, hidden, shape->embd, logits, shape->vocab, leaf);
  lm_merkle_add(&s->tree, leaf);
  s->n = i + 1;
  if (!forced) {
    step->has_token = true;
    step->token = token;
    if (s->top > 0) step->logprob_count = lm_logprobs(logits, shape->vocab, token, s->top, s->rows);
  }
  return give_text(s, i, token);
}

/* ---- one pass ---- */

/* known returns how many tokens can be fed: the prompt and the output so far, but never the last
   token of a full answer, from which nothing is chosen. */
static uint32_t known(const lm_session *s) {
  uint32_t outputs = s->n > s->forced ? s->n : s->forced;
  if (outputs == s->max && s->max > 0) outputs--;
  return s->prompt + outputs;
}

static uint32_t plan(lm_session *s, uint32_t most, lm_column *columns) {
  uint32_t left = known(s) - s->fed;
  uint32_t count = left < most ? left : most;
  for (uint32_t c = 0; c < count; c++) {
    uint32_t position = s->fed + c;
    columns[c] = (lm_column){.cache = s->place->cache,
                             .token = s->ids[position],
                             .position = position,
                             .want = position + 1 >= s->prompt};
  }
  return count;
}

static void refuse_fault(lm_session *s, uint32_t position, lm_step *step) {
  (void)lm_fail(&s->error, DEAI_EINVAL,
                "numeric fault at position %" PRIu32
                ": the model and these tokens leave the range of numbers; change the prompt",
                position);
  fail(s, step, DEAI_EINVAL);
}

/* settle takes the results of count columns of s; row counts the wanted ones of the whole pass. */
static void settle(lm_session *s, const lm_column *columns, uint32_t count, const uint8_t *fault,
                   uint32_t *row, lm_step *step) {
  lm_engine *e = s->engine;
  for (uint32_t c = 0; c < count; c++) {
    uint32_t position = columns[c].position;
    uint32_t at = columns[c].want ? (*row)++ : 0;
    if (s->status != DEAI_OK || s->finish != LM_FINISH_NONE) continue;
    if (fault[c] != 0) {
      refuse_fault(s, position, step);
      continue;
    }
    s->place->tokens[position] = columns[c].token;
    s->place->length = position + 1;
    if (!columns[c].want) continue;
    int32_t status = output(s, position + 1 - s->prompt, e->hidden + (size_t)at * e->shape->embd,
                            e->logits + (size_t)at * e->shape->vocab, step);
    if (status != DEAI_OK) {
      (void)lm_fail(&s->error, status, "session: no memory for the answer");
      fail(s, step, status);
    }
  }
  s->fed += count;
  s->columns += count;
  step->logprobs = step->logprob_count > 0 ? s->rows : NULL;
  step->text = deai_bytes_of(s->text, s->text_len);
  step->finish = s->finish;
}

static void step_open(lm_session *s, lm_step *step) {
  *step = (lm_step){0};
  s->text_len = 0;
  if (s->max == 0) step->finish = s->finish = LM_FINISH_LENGTH;
}

static uint32_t plan_all(lm_session *const *sessions, uint32_t count, lm_column *columns,
                         uint32_t *counts) {
  uint32_t used = 0;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t room = LM_COLUMNS_MAX - used - (count - 1 - i); /* one for each session behind */
    uint32_t chunk = sessions[0]->engine->chunk;
    bool over = sessions[i]->finish != LM_FINISH_NONE;
    counts[i] = over ? 0 : plan(sessions[i], room < chunk ? room : chunk, columns + used);
    used += counts[i];
  }
  return used;
}

static uint64_t now_ns(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* adapt moves the chunk towards as many columns as PASS_NS holds; only full passes tell. */
static void adapt(lm_engine *e, uint32_t columns, uint64_t pass_ns) {
  if (!e->adapts || columns < e->chunk) return;
  uint64_t fit = columns * PASS_NS / (pass_ns + 1);
  if (fit > (uint64_t)2 * e->chunk) fit = (uint64_t)2 * e->chunk;
  if (fit > LM_COLUMNS_MAX) fit = LM_COLUMNS_MAX;
  e->chunk = fit < 1 ? 1 : (uint32_t)fit;
}

static int32_t step_locked(lm_session *const *sessions, uint32_t count, lm_step *steps) {
  lm_engine *e = sessions[0]->engine;
  lm_column columns[LM_COLUMNS_MAX];
  uint32_t counts[LM_COLUMNS_MAX];
  uint8_t fault[LM_COLUMNS_MAX] = {0};
  uint32_t total = plan_all(sessions, count, columns, counts);
  if (total == 0) return DEAI_OK;
  lm_outputs outputs = {.hidden = e->hidden, .logits = e->logits, .fault = fault};
  uint64_t start_ns = now_ns();
  int32_t status = e->ops->forward(e->backend, columns, total, &outputs);
  if (status != DEAI_OK) return status;
  adapt(e, total, now_ns() - start_ns);
  uint32_t at = 0;
  uint32_t row = 0;
  for (uint32_t i = 0; i < count; i++) {
    settle(sessions[i], columns + at, counts[i], fault + at, &row, &steps[i]);
    at += counts[i];
  }
  return DEAI_OK;
}

int32_t lm_session_step(lm_session *const *sessions, uint32_t count, lm_step *steps) {
  if (count < 1 || count > LM_COLUMNS_MAX) return DEAI_EINVAL;
  lm_engine *e = sessions[0]->engine;
  for (uint32_t i = 0; i < count; i++)
    if (sessions[i]->engine != e || sessions[i]->finish != LM_FINISH_NONE ||
        sessions[i]->status != DEAI_OK)
      return DEAI_EINVAL;
  for (uint32_t i = 0; i < count; i++)
    step_open(sessions[i], &steps[i]);
  (void)pthread_mutex_lock(&e->lock);
  int32_t status = step_locked(sessions, count, steps);
  (void)pthread_mutex_unlock(&e->lock);
  return status;
}

void lm_session_result(const lm_session *session, lm_result *result_out) {
  *result_out = (lm_result){.n = session->n,
                            .finish = session->finish,
                            .wrong = session->wrong,
                            .reused = session->reused,
                            .columns = session->columns};
  lm_merkle_root(&session->tree, result_out->root);
}

const char *lm_session_error(const lm_session *session) {
  return session->error.text;
}
