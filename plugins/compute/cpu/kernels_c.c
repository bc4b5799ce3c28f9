#include "kernels.h"

#include <string.h>

#include "host/base/banned.h"

static void quantise(const float *x, uint32_t n, int16_t *q, float *d, int32_t *asum) {
  for (uint32_t b = 0; b < n / LM_BLOCK; b++)
    d[b] = lm_quantise_block(x + (size_t)b * LM_BLOCK, q + (size_t)b * LM_BLOCK, &asum[b]);
}

static void quantise_bytes(const float *x, uint32_t n, int8_t *q, float *d) {
  for (uint32_t b = 0; b < n / LM_BLOCK; b++)
    d[b] = lm_quantise_bytes(x + (size_t)b * LM_BLOCK, q + (size_t)b * LM_BLOCK);
}

static int32_t dot_q8(const uint8_t *block, const int16_t *a) {
  int32_t sum = 0;
  for (size_t v = 0; v < 8; v++, a += 4) {
    int8_t q[4];
    memcpy(q, block + 32 * v, sizeof q);
    sum += q[0] * a[0] + q[2] * a[1] + q[1] * a[2] + q[3] * a[3];
  }
  return sum;
}

static int32_t dot_q4(const uint8_t *block, const int16_t *a) {
  int32_t sum = 0;
  for (size_t v = 0; v < 4; v++, a += 8) {
    uint16_t q[2];
    memcpy(q, block + 32 * v, sizeof q);
    for (int i = 0; i < 4; i++)
      sum += (q[0] >> 4 * i & 15) * a[2 * i] + (q[1] >> 4 * i & 15) * a[2 * i + 1];
  }
  return sum;
}

/* dots sets sums to I of M3 for the 8 rows of a group and one column of one block. */
static void dots(const lm_packed *w, const uint8_t *block, const int16_t *a, int32_t asum,
                 int32_t *sums) {
  int32_t bias = w->format == LM_Q4_0 ? 8 * asum : 0;
  for (uint32_t lane = 0; lane < 8; lane++) {
    const uint8_t *row = block + (size_t)lane * 4;
    sums[lane] = w->format == LM_Q8_0 ? dot_q8(row, a) : dot_q4(row, a) - bias;
  }
}

static void dot_group(const lm_packed *w, uint32_t group, const lm_acts *acts, uint32_t column,
                      float *y, uint32_t rows, uint32_t *fault) {
  bool has_min = w->format == LM_Q4_1;
  uint32_t block_bytes = w->format == LM_Q8_0 ? 256 : 128;
  float unit = lm_pow2(w->exponent); /* x 2^xT is exact wherever it stands (N6) */
  uint32_t acc[8] = {0};
  for (uint32_t b = 0; b < w->blocks; b++) {
    size_t at = (size_t)group * w->blocks + b;
    const uint16_t *scale = w->scales + at * (has_min ? 16 : 8);
    size_t in = (size_t)column * acts->blocks + b;
    const int16_t *a = acts->q + (size_t)column * acts->cols + (size_t)b * LM_BLOCK;
    int32_t sums[8];
    dots(w, w->quants + at * block_bytes, a, acts->asum[in], sums);
    for (uint32_t lane = 0; lane < 8; lane++) {
      float s = (lm_half(scale[lane]) * unit) * acts->d[in];
      float p = (float)sums[lane] * s;
      float low = has_min ? (lm_half(scale[8 + lane]) * unit) * acts->da[in] : 0.0f;
      if (has_min) p = p + low;
      acc[lane] += (uint32_t)(int32_t)p;
    }
  }
  float down = lm_pow2(acts->e[column] - w->exponent);
  for (uint32_t lane = 0; lane < rows; lane++)
    y[lane] = lm_store((float)(int32_t)acc[lane] * down, fault);
}

static void matmul(const lm_packed *w, uint32_t group, uint32_t groups, const lm_acts *acts,
                   uint32_t first, uint32_t count, float *y, size_t stride, uint32_t *faults) {
  for (uint32_t g = 0; g < groups; g++) {
    uint32_t left = w->rows - (group + g) * 8;
    for (uint32_t c = 0; c < count; c++)
      dot_group(w, group + g, acts, first + c, y + c * stride + (size_t)g * 8, left < 8 ? left : 8,
                &faults[c]);
  }
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
      const int16_t *k = kv->k + at * 256 + (size_t)(i % 8) * 2;
      int32_t dot_sum = 0;
      for (uint32_t j = 0; j < LM_BLOCK; j++)
        dot_sum += query->q[b * LM_BLOCK + j] * k[(size_t)(j / 2) * 16 + j % 2];
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
                                   .quantise_bytes = quantise_bytes,
                                   .matmul = matmul,
                                   .add = add,
                                   .gate = gate_up,
                                   .scores = scores,
                                   .softmax = lm_softmax,
                                   .values = values};
  return &table;
}
