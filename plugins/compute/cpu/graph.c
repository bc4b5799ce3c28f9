#include "graph.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define UNIT_GROUPS_MAX 32u /* groups of 8 rows a thread takes at once */
#define LAYER_STEPS     12u /* more than a layer has */
#define OTHER_STEPS     8u

/* ---- room ---- */

static uint32_t widest(const lm_shape *s) {
  uint32_t most = s->heads * s->head_dim;
  if (s->embd > most) most = s->embd;
  return s->ffn > most ? s->ffn : most;
}

static bool acts_open(lm_acts *acts, uint32_t columns, uint32_t values) {
  size_t blocks = (size_t)columns * (values / LM_BLOCK);
  acts->q = malloc((size_t)columns * values * sizeof *acts->q);
  acts->d = malloc(blocks * sizeof *acts->d);
  acts->da = malloc(blocks * sizeof *acts->da);
  acts->asum = malloc(blocks * sizeof *acts->asum);
  acts->e = malloc(columns * sizeof *acts->e);
  return acts->q != NULL && acts->d != NULL && acts->da != NULL && acts->asum != NULL &&
         acts->e != NULL;
}

static void acts_close(lm_acts *acts) {
  free(acts->q);
  free(acts->d);
  free(acts->da);
  free(acts->asum);
  free(acts->e);
}

static bool worker_open(lm_worker *w, const lm_shape *shape) {
  size_t positions = ((size_t)shape->ctx + 7) / 8 * 8;
  size_t part = UNIT_GROUPS_MAX * 8 > shape->head_dim ? UNIT_GROUPS_MAX * 8 : shape->head_dim;
  w->row = malloc(widest(shape) * sizeof *w->row);
  w->part = malloc(LM_COLUMNS_MAX * part * sizeof *w->part);
  w->scores = malloc(positions * sizeof *w->scores);
  w->room = malloc(positions * sizeof *w->room);
  return acts_open(&w->acts, 1, widest(shape)) && w->row != NULL && w->part != NULL &&
         w->scores != NULL && w->room != NULL;
}

int32_t lm_graph_open(lm_backend *b) {
  const lm_shape *s = b->shape;
  b->counter_count = s->layers * LAYER_STEPS + OTHER_STEPS;
  b->counters = calloc(b->counter_count, sizeof *b->counters);
  b->workers = calloc(b->threads, sizeof *b->workers);
  b->x = malloc((size_t)LM_COLUMNS_MAX * s->embd * sizeof *b->x);
  b->query = calloc((size_t)LM_COLUMNS_MAX * s->heads, sizeof *b->query);
  b->mixed = malloc((size_t)LM_COLUMNS_MAX * s->heads * s->head_dim * sizeof *b->mixed);
  b->hidden = malloc((size_t)LM_COLUMNS_MAX * s->ffn * sizeof *b->hidden);
  bool ok = acts_open(&b->acts, LM_COLUMNS_MAX, widest(s)) && b->counters != NULL &&
            b->workers != NULL && b->x != NULL && b->query != NULL && b->mixed != NULL &&
            b->hidden != NULL;
  for (uint32_t i = 0; ok && i < b->threads; i++)
    ok = worker_open(&b->workers[i], s);
  return ok ? DEAI_OK : DEAI_ENOMEM;
}

void lm_graph_close(lm_backend *b) {
  for (uint32_t i = 0; b->workers != NULL && i < b->threads; i++) {
    lm_worker *w = &b->workers[i];
    acts_close(&w->acts);
    free(w->row);
    free(w->part);
    free(w->scores);
    free(w->room);
  }
  acts_close(&b->acts);
  free(b->workers);
  free(b->counters);
  free(b->x);
  free(b->query);
  free(b->mixed);
  free(b->hidden);
}

/* ---- steps ---- */

/* next_unit takes a unit of the worker's step; units <= the answer means that none is left. */
static uint32_t next_unit(lm_backend *b, const lm_worker *w) {
  return atomic_fetch_add_explicit(&b->counters[w->step], 1, memory_order_relaxed);
}

static void end_step(lm_backend *b, lm_worker *w) {
  w->step++;
  lm_pool_barrier(b->pool);
}

static uint32_t unit_groups(const lm_backend *b, uint32_t groups) {
  uint32_t unit = groups / (b->threads * 8) / 4 * 4;
  if (unit < 1) unit = groups / (b->threads * 4) > 0 ? groups / (b->threads * 4) : 1;
  return unit < UNIT_GROUPS_MAX ? unit : UNIT_GROUPS_MAX;
}

/* quantise_column makes column of acts from x: M1 and M2. */
static void quantise_column(const lm_backend *b, const float *x, lm_acts *acts, uint32_t column) {
  float *d = acts->d + (size_t)column * acts->blocks;
  float *da = acts->da + (size_t)column * acts->blocks;
  int32_t *asum = acts->asum + (size_t)column * acts->blocks;
  b->kernels->quantise(x, acts->cols, acts->q + (size_t)column * acts->cols, d, asum);
  uint32_t max = 0;
  for (uint32_t i = 0; i < acts->blocks; i++)
    max = lm_bits(d[i]) > max ? lm_bits(d[i]) : max;
  acts->e[column] = lm_column_exponent(max);
  float down = lm_pow2(-acts->e[column]);
  for (uint32_t i = 0; i < acts->blocks; i++) {
    d[i] = d[i] * down;
    da[i] = d[i] * (float)asum[i];
  }
}

/* prepare quantises all columns of source (values a column), after the norm when there is one. */
static lm_acts prepare(lm_backend *b, lm_worker *w, const float *source, uint32_t values,
                       const float *norm) {
  bool alone = b->count == 1;
  lm_acts acts = alone ? w->acts : b->acts;
  acts.cols = values;
  acts.blocks = values / LM_BLOCK;
  for (uint32_t c = alone ? 0 : next_unit(b, w); c < b->count; c = alone ? 1 : next_unit(b, w)) {
    const float *x = source + (size_t)c * values;
    if (norm != NULL) b->kernels->rms_norm(x, norm, values, b->shape->eps, w->row, &w->faults[c]);
    quantise_column(b, norm != NULL ? w->row : x, &acts, c);
  }
  if (!alone) end_step(b, w);
  return acts;
}

static void embed(lm_backend *b, lm_worker *w) {
  for (uint32_t c = next_unit(b, w); c < b->count; c = next_unit(b, w))
    lm_weights_row(&b->weights.embedding, b->columns[c].token, b->x + (size_t)c * b->shape->embd,
                   &w->faults[c]);
  end_step(b, w);
}

static void rotate(const lm_backend *b, lm_worker *w, uint32_t c, float *head) {
  const float *table = lm_model_rope(b->model);
  uint32_t dim = b->shape->rope_dim;
  lm_rope_apply(head, table + (size_t)b->columns[c].position * dim, dim / 2, &w->faults[c]);
}

/* head_done quantises one head of column c: unit counts query heads, then K heads, then V heads. */
static void head_done(lm_backend *b, lm_worker *w, uint32_t layer, uint32_t unit, uint32_t c,
                      float *head) {
  const lm_shape *s = b->shape;
  int32_t sums[LM_MODEL_HEAD_DIM_MAX / LM_BLOCK];
  uint32_t position = b->columns[c].position;
  const lm_kv *heads = b->columns[c].cache->heads + (size_t)layer * s->kv_heads;
  if (unit >= s->heads + s->kv_heads) {
    lm_value value;
    b->kernels->quantise_bytes(head, s->head_dim, value.q, value.d);
    lm_cache_write_v(&heads[unit - s->heads - s->kv_heads], position, &value);
    return;
  }
  rotate(b, w, c, head);
  lm_head key;
  lm_head *out = unit < s->heads ? &b->query[(size_t)c * s->heads + unit] : &key;
  b->kernels->quantise(head, s->head_dim, out->q, out->d, sums);
  if (unit >= s->heads) lm_cache_write_k(&heads[unit - s->heads], position, &key);
}

static void project(lm_backend *b, lm_worker *w, uint32_t layer) {
  const lm_shape *s = b->shape;
  const lm_packed *weights = b->weights.layers + (size_t)layer * LM_WEIGHT_COUNT;
  lm_acts acts = prepare(b, w, b->x, s->embd, lm_model_attn_norm(b->model, layer));
  uint32_t units = s->heads + 2 * s->kv_heads;
  uint32_t groups = s->head_dim / 8;
  for (uint32_t u = next_unit(b, w); u < units; u = next_unit(b, w)) {
    uint32_t which = u < s->heads ? LM_ATTN_Q : u < s->heads + s->kv_heads ? LM_ATTN_K : LM_ATTN_V;
    uint32_t head = which == LM_ATTN_Q ? u : (u - s->heads) % s->kv_heads;
    b->kernels->matmul(&weights[which], head * groups, groups, &acts, 0, b->count, w->part,
                       s->head_dim, w->faults);
    for (uint32_t c = 0; c < b->count; c++)
      head_done(b, w, layer, u, c, w->part + (size_t)c * s->head_dim);
  }
  end_step(b, w);
}

static void attend(lm_backend *b, lm_worker *w, uint32_t layer) {
  const lm_shape *s = b->shape;
  uint32_t shared = s->heads / s->kv_heads;
  for (uint32_t u = next_unit(b, w); u < b->count * s->heads; u = next_unit(b, w)) {
    uint32_t c = u / s->heads;
    uint32_t head = u % s->heads;
    uint32_t n = b->columns[c].position + 1;
    const lm_kv *kv = &b->columns[c].cache->heads[layer * s->kv_heads + head / shared];
    b->kernels->scores(&b->query[u], kv, n, s->head_scale, w->scores, &w->faults[c]);
    b->kernels->softmax(w->scores, n);
    b->kernels->values(w->scores, kv, n, w->room, b->mixed + (size_t)u * s->head_dim,
                       &w->faults[c]);
  }
  end_step(b, w);
}

/* add_matmul adds weights x acts to the residual stream (A4). */
static void add_matmul(lm_backend *b, lm_worker *w, const lm_packed *weights, const lm_acts *acts) {
  uint32_t unit = unit_groups(b, weights->groups);
  uint32_t units = (weights->groups + unit - 1) / unit;
  for (uint32_t u = next_unit(b, w); u < units; u = next_unit(b, w)) {
    uint32_t first = u * unit;
    uint32_t groups = weights->groups - first < unit ? weights->groups - first : unit;
    uint32_t rows = groups * 8;
    b->kernels->matmul(weights, first, groups, acts, 0, b->count, w->part, rows, w->faults);
    for (uint32_t c = 0; c < b->count; c++)
      b->kernels->add(b->x + (size_t)c * weights->rows + (size_t)first * 8,
                      w->part + (size_t)c * rows, rows, &w->faults[c]);
  }
  end_step(b, w);
}

static void feed_forward(lm_backend *b, lm_worker *w, uint32_t layer) {
  const lm_shape *s = b->shape;
  const lm_packed *weights = b->weights.layers + (size_t)layer * LM_WEIGHT_COUNT;
  lm_acts acts = prepare(b, w, b->x, s->embd, lm_model_ffn_norm(b->model, layer));
  uint32_t unit = unit_groups(b, s->ffn / 8);
  uint32_t units = (s->ffn / 8 + unit - 1) / unit;
  for (uint32_t u = next_unit(b, w); u < units; u = next_unit(b, w)) {
    uint32_t first = u * unit;
    uint32_t groups = s->ffn / 8 - first < unit ? s->ffn / 8 - first : unit;
    float *gate = b->hidden + (size_t)first * 8;
    b->kernels->matmul(&weights[LM_FFN_GATE], first, groups, &acts, 0, b->count, gate, s->ffn,
                       w->faults);
    b->kernels->matmul(&weights[LM_FFN_UP], first, groups, &acts, 0, b->count, w->part,
                       (size_t)groups * 8, w->faults);
    for (uint32_t c = 0; c < b->count; c++)
      b->kernels->gate(gate + (size_t)c * s->ffn, w->part + (size_t)c * groups * 8, groups * 8,
                       &w->faults[c]);
  }
  end_step(b, w);
}

static void layer_run(lm_backend *b, lm_worker *w, uint32_t layer) {
  const lm_shape *s = b->shape;
  const lm_packed *weights = b->weights.layers + (size_t)layer * LM_WEIGHT_COUNT;
  project(b, w, layer);
  attend(b, w, layer);
  lm_acts acts = prepare(b, w, b->mixed, s->heads * s->head_dim, NULL);
  add_matmul(b, w, &weights[LM_ATTN_OUT], &acts);
  feed_forward(b, w, layer);
  acts = prepare(b, w, b->hidden, s->ffn, NULL);
  add_matmul(b, w, &weights[LM_FFN_DOWN], &acts);
}

/* ---- output ---- */

/* finish makes hidden of the wanted columns and their quantised form; one alone is made by every
   thread for itself, and written by the first. */
static lm_acts finish(lm_backend *b, lm_worker *w, bool first) {
  uint32_t embd = b->shape->embd;
  bool alone = b->wanted == 1;
  lm_acts acts = alone ? w->acts : b->acts;
  uint32_t row = 0;
  acts.cols = embd;
  acts.blocks = embd / LM_BLOCK;
  for (uint32_t c = 0; c < b->count; c++) {
    if (!b->columns[c].want) continue;
    if (alone || row % b->threads == (uint32_t)(w - b->workers)) {
      b->kernels->rms_norm(b->x + (size_t)c * embd, lm_model_output_norm(b->model), embd,
                           b->shape->eps, w->row, &w->faults[c]);
      if (!alone || first)
        memcpy(b->outputs->hidden + (size_t)row * embd, w->row, embd * sizeof *w->row);
      quantise_column(b, w->row, &acts, row);
    }
    row++;
  }
  if (!alone) end_step(b, w);
  return acts;
}

static void logits(lm_backend *b, lm_worker *w, const lm_acts *acts) {
  const lm_packed *weights = &b->weights.output;
  uint32_t faults[LM_COLUMNS_MAX] = {0};
  uint32_t unit = unit_groups(b, weights->groups);
  uint32_t units = (weights->groups + unit - 1) / unit;
  for (uint32_t u = next_unit(b, w); u < units; u = next_unit(b, w)) {
    uint32_t first = u * unit;
    uint32_t groups = weights->groups - first < unit ? weights->groups - first : unit;
    b->kernels->matmul(weights, first, groups, acts, 0, b->wanted,
                       b->outputs->logits + (size_t)first * 8, weights->rows, faults);
  }
  uint32_t row = 0;
  for (uint32_t c = 0; c < b->count; c++)
    if (b->columns[c].want) w->faults[c] |= faults[row++];
}

static void pass(void *user, uint32_t thread) {
  lm_backend *b = user;
  lm_worker *w = &b->workers[thread];
  w->step = 0;
  memset(w->faults, 0, sizeof w->faults);
  if (!lm_rounds_to_nearest()) atomic_store(&b->bad_rounding, 1);
  embed(b, w);
  for (uint32_t layer = 0; layer < b->shape->layers; layer++)
    layer_run(b, w, layer);
  if (b->wanted == 0) return;
  lm_acts acts = finish(b, w, thread == 0);
  logits(b, w, &acts);
}

int32_t lm_graph_run(lm_backend *b, const lm_column *columns, uint32_t count,
                     const lm_outputs *outputs) {
  b->columns = columns;
  b->count = count;
  b->outputs = outputs;
  b->wanted = 0;
  for (uint32_t c = 0; c < count; c++)
    b->wanted += columns[c].want ? 1 : 0;
  for (uint32_t i = 0; i < b->counter_count; i++)
    atomic_store_explicit(&b->counters[i], 0, memory_order_relaxed);
  atomic_store(&b->bad_rounding, 0);
  lm_pool_run(b->pool, pass, b);
  for (uint32_t c = 0; c < count; c++) {
    uint32_t fault = 0;
    for (uint32_t t = 0; t < b->threads; t++)
      fault |= b->workers[t].faults[c];
    outputs->fault[c] = fault != 0 ? 1 : 0;
  }
  return atomic_load(&b->bad_rounding) == 0 ? DEAI_OK : DEAI_EINTERNAL;
}
