#include "kernels.h"

#include <string.h>

#include "host/base/banned.h"

static void quantise(const float *x, uint32_t n, int8_t *q, float *d, int32_t *asum) {
  for (uint32_t b = 0; b < n / LM_BLOCK; b++)
    d[b] = lm_quantise_block(x + (size_t)b * LM_BLOCK, q + (size_t)b * LM_BLOCK, &asum[b]);
}

/* dot returns I of M3 for one row (lane of its group) and one column. */
static int32_t dot(const lm_packed *w, const uint8_t *block, uint32_t lane, const int8_t *a,
                   int32_t asum) {
  int32_t sum = 0;
  for (uint32_t i = 0; w->format == LM_Q8_0 && i < LM_BLOCK; i++) {
    int8_t q;
    memcpy(&q, block + (size_t)(i / 4) * 32 + lane * 4 + i % 4, 1);
    sum += q * a[i];
  }
  if (w->format == LM_Q8_0) return sum;
  for (uint32_t i = 0; i < 16; i++) {
    uint8_t pair = block[(size_t)(i / 4) * 32 + lane * 4 + i % 4];
    sum += (pair & 15) * a[i] + (pair >> 4) * a[i + 16];
  }
  return w->format == LM_Q4_0 ? sum - 8 * asum : sum;
}

static float dot_row(const lm_packed *w, uint32_t group, uint32_t lane, const lm_acts *acts,
                     uint32_t column, uint32_t *fault) {
  bool has_min = w->format == LM_Q4_1;
  uint32_t block_bytes = w->format == LM_Q8_0 ? 256 : 128;
  float unit = lm_pow2(w->exponent);
  uint32_t acc = 0;
  for (uint32_t b = 0; b < w->blocks; b++) {
    size_t at = (size_t)group * w->blocks + b;
    const uint16_t *scale = w->scales + at * (has_min ? 16 : 8) + lane;
    size_t in = (size_t)column * acts->blocks + b;
    const int8_t *a = acts->q + (size_t)column * acts->cols + (size_t)b * LM_BLOCK;
    int32_t sum = dot(w, w->quants + at * block_bytes, lane, a, acts->asum[in]);
    float s = lm_half(scale[0]) * unit * acts->d[in]; /* x 2^xT is exact (N6) */
    float p = (float)sum * s;
    if (has_min) {
      float low = lm_half(scale[8]) * unit * acts->da[in];
      p = p + low;
    }
    acc += (uint32_t)(int32_t)p;
  }
  return lm_store((float)(int32_t)acc * lm_pow2(acts->e[column] - w->exponent), fault);
}

static void matmul(const lm_packed *w, uint32_t group, uint32_t groups, const lm_acts *acts,
                   uint32_t first, uint32_t count, float *y, size_t stride, uint32_t *faults) {
  uint32_t rows = groups * 8;
  if (rows > w->rows - group * 8) rows = w->rows - group * 8;
  for (uint32_t c = 0; c < count; c++)
    for (uint32_t r = 0; r < rows; r++)
      y[c * stride + r] = dot_row(w, group + r / 8, r % 8, acts, first + c, &faults[c]);
}

static void add(float *x, const float *y, uint32_t n, uint32_t *fault) {
  for (uint32_t i = 0; i < n; i++)
    x[i] = lm_store(x[i] + y[i], fault);
}

static void gate_up(float *gate, const float *up, uint32_t n, uint32_t *fault) {
  for (uint32_t i = 0; i < n; i++)
    gate[i] = lm_store(lm_silu(gate[i]) * up[i], fault);
}

static void scores(const lm_head *query, const lm_kv *kv, uint32_t n, float head_scale, float *out,
                   uint32_t *fault) {
  for (uint32_t i = 0; i < n; i++) {
    float sum = 0.0f;
    for (uint32_t b = 0; b < kv->blocks; b++) {
      size_t at = (size_t)(i / 8) * kv->blocks + b;
      const int8_t *k = kv->k + at * 256 + (size_t)(i % 8) * 4;
      int32_t dot_sum = 0;
      for (uint32_t j = 0; j < LM_BLOCK; j++)
        dot_sum += query->q[b * LM_BLOCK + j] * k[(size_t)(j / 4) * 32 + j % 4];
      float s = query->d[b] * kv->kd[at * 8 + i % 8];
      float t = (float)dot_sum * s;
      sum = b == 0 ? t : sum + t;
    }
    out[i] = lm_store(sum * head_scale, fault);
  }
}

static void values_block(const float *p, const lm_kv *kv, uint32_t block, uint32_t n, int32_t *room,
                         float *out, uint32_t *fault) {
  const float *d = kv->vd + (size_t)block * kv->positions;
  uint32_t max = 0;
  for (uint32_t i = 0; i < n; i++)
    max = lm_bits(d[i]) > max ? lm_bits(d[i]) : max;
  memset(out, 0, LM_BLOCK * sizeof *out);
  if (max == 0) return;
  int32_t e = lm_column_exponent(max);
  float up = lm_pow2(22 - e);
  for (uint32_t i = 0; i < n; i++)
    room[i] = lm_rne(p[i] * (d[i] * up));
  for (uint32_t j = 0; j < LM_BLOCK; j++) {
    const int8_t *v = kv->v + ((size_t)block * LM_BLOCK + j) * 2;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
      sum += (uint32_t)(room[i] * v[(size_t)(i / 2) * kv->blocks * LM_BLOCK * 2 + i % 2]);
    out[j] = lm_store((float)(int32_t)sum * lm_pow2(e - 22), fault);
  }
}

static void values(const float *p, const lm_kv *kv, uint32_t n, int32_t *room, float *out,
                   uint32_t *fault) {
  for (uint32_t b = 0; b < kv->blocks; b++)
    values_block(p, kv, b, n, room, out + (size_t)b * LM_BLOCK, fault);
}

const lm_kernels *lm_kernels_c(void) {
  static const lm_kernels table = {.name = "c",
                                   .rms_norm = lm_rms_norm,
                                   .quantise = quantise,
                                   .matmul = matmul,
                                   .add = add,
                                   .gate = gate_up,
                                   .scores = scores,
                                   .softmax = lm_softmax,
                                   .values = values};
  return &table;
}
