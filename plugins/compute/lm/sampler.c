#include "sampler.h"

#include "exact.h"

#include <openssl/sha.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define T_MAX      (100u * LM_MICRO)
#define LN_MIN     -1e9 /* smallest logprob told: no weight of F1 is that small */
#define DRAW_LABEL "deai/sample/1"

__extension__ typedef unsigned __int128 wide;

int32_t lm_sampler_check(const lm_sampler *sampler) {
  bool ok = sampler->t <= T_MAX && sampler->p >= 1 && sampler->p <= LM_MICRO;
  return ok ? DEAI_OK : DEAI_EINVAL;
}

uint32_t lm_micro_of(double value) {
  if (!(value >= 0.0) || value > 4000.0) return UINT32_MAX;
  return (uint32_t)lm_round_even(value * 1e6);
}

uint32_t lm_sampler_greedy(const float *logits, uint32_t count) {
  uint32_t best = 0;
  for (uint32_t i = 1; i < count; i++)
    if (logits[i] > logits[best]) best = i;
  return best;
}

/* u of A8: 64 bits that depend on seed and position only. */
static uint64_t draw(uint64_t seed, uint64_t position) {
  uint8_t text[sizeof DRAW_LABEL - 1 + 16];
  uint8_t hash[SHA256_DIGEST_LENGTH];
  memcpy(text, DRAW_LABEL, sizeof DRAW_LABEL - 1);
  for (uint32_t i = 0; i < 8; i++) {
    text[sizeof DRAW_LABEL - 1 + i] = (uint8_t)(seed >> (8 * i));
    text[sizeof DRAW_LABEL + 7 + i] = (uint8_t)(position >> (8 * i));
  }
  (void)SHA256(text, sizeof text, hash);
  uint64_t u = 0;
  for (uint32_t i = 0; i < 8; i++)
    u |= (uint64_t)hash[i] << (8 * i);
  return u;
}

typedef struct scale { /* l' = (l - max) * inverse (A6) */
  float max;
  float inverse;
} scale;

static uint64_t weight(scale s, float logit) {
  return (uint64_t)(int64_t)(lm_ex((logit - s.max) * s.inverse) * lm_pow2(30));
}

/* pick_all draws from every id: nothing is sorted when no cut is on. */
static uint32_t pick_all(scale s, const float *logits, uint32_t count, uint64_t u) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < count; i++)
    sum += weight(s, logits[i]);
  uint64_t point = (uint64_t)(((wide)u * sum) >> 64);
  uint64_t running = 0;
  for (uint32_t i = 0; i < count; i++) {
    running += weight(s, logits[i]);
    if (running > point) return i;
  }
  return count - 1;
}

typedef struct ranks { /* ids in a heap, best candidate on top */
  const float *logits;
  uint32_t *ids;
  uint32_t count;
} ranks;

static bool better(const ranks *r, uint32_t a, uint32_t b) {
  return r->logits[a] > r->logits[b] || (r->logits[a] == r->logits[b] && a < b);
}

static void sift_down(ranks *r, uint32_t at) {
  uint32_t id = r->ids[at];
  for (;;) {
    uint32_t child = 2 * at + 1;
    if (child >= r->count) break;
    if (child + 1 < r->count && better(r, r->ids[child + 1], r->ids[child])) child++;
    if (!better(r, r->ids[child], id)) break;
    r->ids[at] = r->ids[child];
    at = child;
  }
  r->ids[at] = id;
}

static void make_heap(ranks *r, uint32_t count) {
  r->count = count;
  for (uint32_t i = 0; i < count; i++)
    r->ids[i] = i;
  for (uint32_t i = count / 2; i-- > 0;)
    sift_down(r, i);
}

/* pop_best takes the best candidate off; it then lies behind the heap, at ids[count]. */
static uint32_t pop_best(ranks *r) {
  uint32_t best = r->ids[0];
  r->ids[0] = r->ids[--r->count];
  r->ids[r->count] = best;
  if (r->count > 0) sift_down(r, 0);
  return best;
}

static int id_order(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a;
  uint32_t y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

static uint64_t sum_weights(scale s, const float *logits, const uint32_t *ids, uint32_t count) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < count; i++)
    sum += weight(s, logits[ids[i]]);
  return sum;
}

/* cut pops the kept candidates (A7); they end up at r->ids[r->count..total). */
static void cut(const lm_sampler *sampler, scale s, ranks *r, uint32_t total) {
  uint32_t most = sampler->k == 0 || sampler->k > total ? total : sampler->k;
  bool mass = sampler->p < LM_MICRO;
  uint64_t sum = mass && most == total ? sum_weights(s, r->logits, r->ids, total) : 0;
  if (most < total) {
    for (uint32_t i = 0; i < most; i++)
      (void)pop_best(r);
    if (!mass) return;
    sum = sum_weights(s, r->logits, r->ids + r->count, most);
    uint64_t run = 0;
    uint32_t kept = 0;
    while (kept < most && (wide)run * LM_MICRO < (wide)sampler->p * sum)
      run += weight(s, r->logits[r->ids[total - ++kept]]);
    r->count = total - kept;
    return;
  }
  uint64_t run = 0;
  while (r->count > 0 && (wide)run * LM_MICRO < (wide)sampler->p * sum)
    run += weight(s, r->logits[pop_best(r)]);
}

static int32_t pick_cut(const lm_sampler *sampler, scale s, const float *logits, uint32_t count,
                        uint64_t u, uint32_t *id_out) {
  ranks r = {.logits = logits, .ids = malloc((size_t)count * sizeof *r.ids)};
  if (r.ids == NULL) return DEAI_ENOMEM;
  make_heap(&r, count);
  cut(sampler, s, &r, count);
  uint32_t *kept = r.ids + r.count;
  uint32_t kept_count = count - r.count;
  qsort(kept, kept_count, sizeof *kept, id_order);
  uint64_t point = (uint64_t)(((wide)u * sum_weights(s, logits, kept, kept_count)) >> 64);
  uint64_t running = 0;
  uint32_t i = 0;
  while (i + 1 < kept_count && (running += weight(s, logits[kept[i]])) <= point)
    i++;
  *id_out = kept[i];
  free(r.ids);
  return DEAI_OK;
}

int32_t lm_sampler_pick(const lm_sampler *sampler, const float *logits, uint32_t count,
                        uint64_t position, uint32_t *id_out) {
  uint32_t best = lm_sampler_greedy(logits, count);
  *id_out = best;
  if (sampler->t == 0) return DEAI_OK;
  scale s = {.max = logits[best], .inverse = (float)(1e6 / (double)sampler->t)};
  uint64_t u = draw(sampler->seed, position);
  if ((sampler->k == 0 || sampler->k >= count) && sampler->p >= LM_MICRO) {
    *id_out = pick_all(s, logits, count, u);
    return DEAI_OK;
  }
  return pick_cut(sampler, s, logits, count, u, id_out);
}

/* top_ids writes the top best ids, kept sorted by insertion: top is at most 20. */
static void top_ids(const float *logits, uint32_t count, uint32_t top, lm_logprob *rows) {
  uint32_t used = 0;
  for (uint32_t id = 0; id < count; id++) {
    if (used == top && !(logits[id] > logits[rows[used - 1].id])) continue;
    uint32_t at = used < top ? used++ : used - 1;
    while (at > 0 && logits[id] > logits[rows[at - 1].id]) {
      rows[at] = rows[at - 1];
      at--;
    }
    rows[at].id = id;
  }
}

uint32_t lm_logprobs(const float *logits, uint32_t count, uint32_t chosen, uint32_t top,
                     lm_logprob rows[1 + LM_LOGPROBS_MAX]) {
  if (top > LM_LOGPROBS_MAX) top = LM_LOGPROBS_MAX;
  if (top > count) top = count;
  float max = logits[lm_sampler_greedy(logits, count)];
  uint64_t sum = 0;
  for (uint32_t i = 0; i < count; i++)
    sum += (uint64_t)(int64_t)(lm_ex(logits[i] - max) * lm_pow2(30));
  double ln_sum = lm_ln((double)sum * 0x1p-30);
  rows[0].id = chosen;
  if (top > 0) top_ids(logits, count, top, rows + 1);
  for (uint32_t i = 0; i < 1 + top; i++) {
    double value = ((double)logits[rows[i].id] - (double)max) - ln_sum;
    rows[i].micro = lm_round_even((value > LN_MIN ? value : LN_MIN) * 1e6);
  }
  return 1 + top;
}
