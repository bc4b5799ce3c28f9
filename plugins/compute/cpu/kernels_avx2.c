#include "kernels.h"

#include <string.h>

#if defined(__x86_64__) && defined(__AVX2__) && defined(__F16C__)

#include <cpuid.h>
#include <immintrin.h>

#include "host/base/banned.h"

#define INLINE   static inline __attribute__((always_inline))
#define PREFETCH 2048 /* bytes ahead: one column alone waits for memory, not for arithmetic */
#define TILE     4    /* columns that share one pass over a group */
#define CHUNK    4    /* groups that stay in the first cache while the columns pass */

INLINE __m256 bits8(uint32_t bits) {
  return _mm256_castsi256_ps(_mm256_set1_epi32((int32_t)bits));
}

INLINE __m256 pow8(int32_t n) {
  return _mm256_set1_ps(lm_pow2(n));
}

INLINE __m256i abs_bits8(__m256 x) {
  return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff));
}

/* N3 for 8 values; *faults collects the lanes of 2^60 and more. */
INLINE __m256 store8(__m256 x, __m256i *faults) {
  __m256i b = abs_bits8(x);
  __m256i small = _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)LM_STORE_ZERO), b);
  __m256i large = _mm256_cmpgt_epi32(b, _mm256_set1_epi32((int32_t)LM_STORE_FAULT - 1));
  *faults = _mm256_or_si256(*faults, large);
  return _mm256_castsi256_ps(
      _mm256_andnot_si256(_mm256_or_si256(small, large), _mm256_castps_si256(x)));
}

INLINE uint32_t any_lane(__m256i faults) {
  return _mm256_testz_si256(faults, faults) ? 0u : 1u;
}

/* The integer nearest to v (M1). */
INLINE __m256i rne8(__m256 v) {
  __m256 t = _mm256_add_ps(v, bits8(0x4B400000u));
  return _mm256_sub_epi32(_mm256_castps_si256(t), _mm256_set1_epi32(0x4B400000));
}

INLINE __m256 ex8(__m256 x) { /* F1 */
  __m256 t = _mm256_add_ps(_mm256_mul_ps(x, bits8(0x3FB8AA3Bu)), bits8(0x4B400000u));
  __m256 n = _mm256_sub_ps(t, bits8(0x4B400000u));
  __m256 r = _mm256_sub_ps(x, _mm256_mul_ps(n, bits8(0x3F318000u)));
  r = _mm256_sub_ps(r, _mm256_mul_ps(n, bits8(0xB95E8083u)));
  __m256 p = _mm256_add_ps(_mm256_mul_ps(r, bits8(0x39506967u)), bits8(0x3AB743CEu));
  p = _mm256_add_ps(_mm256_mul_ps(p, r), bits8(0x3C088908u));
  p = _mm256_add_ps(_mm256_mul_ps(p, r), bits8(0x3D2AA9C1u));
  p = _mm256_add_ps(_mm256_mul_ps(p, r), bits8(0x3E2AAAAAu));
  p = _mm256_add_ps(_mm256_mul_ps(p, r), bits8(0x3F000000u));
  __m256 q = _mm256_mul_ps(p, _mm256_mul_ps(r, r));
  q = _mm256_add_ps(_mm256_add_ps(q, r), _mm256_set1_ps(1.0f));
  __m256i k = _mm256_slli_epi32(
      _mm256_sub_epi32(_mm256_castps_si256(t), _mm256_set1_epi32(0x4B400000)), 23);
  __m256 y = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(q), k));
  return _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(-86.0f), _CMP_LT_OQ), y);
}

INLINE __m256 rc8(__m256 a) { /* F2 */
  __m256 two = _mm256_set1_ps(2.0f);
  __m256 r =
      _mm256_castsi256_ps(_mm256_sub_epi32(_mm256_set1_epi32(0x7EF311C3), _mm256_castps_si256(a)));
  r = _mm256_mul_ps(r, _mm256_sub_ps(two, _mm256_mul_ps(a, r)));
  r = _mm256_mul_ps(r, _mm256_sub_ps(two, _mm256_mul_ps(a, r)));
  r = _mm256_mul_ps(r, _mm256_sub_ps(two, _mm256_mul_ps(a, r)));
  __m256 t = _mm256_mul_ps(r, _mm256_sub_ps(_mm256_set1_ps(1.0f), _mm256_mul_ps(a, r)));
  return _mm256_add_ps(r, t);
}

INLINE uint32_t max_lane(__m256i m) { /* of bit patterns of positive floats */
  __m128i h = _mm_max_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
  h = _mm_max_epi32(h, _mm_shuffle_epi32(h, 0x4e));
  h = _mm_max_epi32(h, _mm_shuffle_epi32(h, 0xb1));
  return (uint32_t)_mm_cvtsi128_si32(h);
}

INLINE int64_t sum_lanes(__m256i s) {
  int32_t lanes[8];
  int64_t sum = 0;
  _mm256_storeu_si256((__m256i *)(void *)lanes, s);
  for (int i = 0; i < 8; i++)
    sum += lanes[i];
  return sum;
}

INLINE __m256i load(const void *at) {
  return _mm256_loadu_si256((const __m256i *)at);
}

static void rms_norm(const float *x, const float *w, uint32_t n, float eps, float *y,
                     uint32_t *fault) {
  __m256i max = _mm256_setzero_si256();
  for (uint32_t i = 0; i < n; i += 8)
    max = _mm256_max_epi32(max, abs_bits8(_mm256_loadu_ps(x + i)));
  int32_t e = lm_norm_exponent(max_lane(max));
  __m256i low = _mm256_setzero_si256();
  __m256i high = _mm256_setzero_si256();
  for (uint32_t i = 0; i < n; i += 8) {
    __m256 u = _mm256_mul_ps(_mm256_loadu_ps(x + i), pow8(-e));
    __m256i t = _mm256_cvttps_epi32(_mm256_mul_ps(_mm256_mul_ps(u, u), pow8(30)));
    low = _mm256_add_epi32(low, _mm256_and_si256(t, _mm256_set1_epi32(0x7fff)));
    high = _mm256_add_epi32(high, _mm256_srli_epi32(t, 15));
  }
  int64_t sum = sum_lanes(low) + sum_lanes(high) * 32768;
  __m256 factor = _mm256_set1_ps(lm_norm_factor(sum, e, n, eps));
  __m256i faults = _mm256_setzero_si256();
  for (uint32_t i = 0; i < n; i += 8) {
    __m256 v = _mm256_mul_ps(_mm256_mul_ps(_mm256_loadu_ps(x + i), factor), _mm256_loadu_ps(w + i));
    _mm256_storeu_ps(y + i, store8(v, &faults));
  }
  *fault |= any_lane(faults);
}

/* A block of values on its way to M1. */
typedef struct block8 {
  __m256 v[4];
  uint32_t max; /* bits of the largest |v| */
} block8;

INLINE block8 block_load(const float *x) {
  block8 b;
  __m256i max = _mm256_setzero_si256();
  for (int i = 0; i < 4; i++) {
    b.v[i] = _mm256_loadu_ps(x + (ptrdiff_t)8 * i);
    max = _mm256_max_epi32(max, abs_bits8(b.v[i]));
  }
  b.max = max_lane(max);
  return b;
}

/* The block as 16-bit integers of at most `most` in size: values 0 to 15, then 16 to 31. */
INLINE void block_quants(const block8 *b, int16_t most, __m256i *q) {
  __m256 id = _mm256_set1_ps(lm_rc(lm_float(b->max)) * (float)most);
  for (int i = 0; i < 2; i++) {
    __m256i low = rne8(_mm256_mul_ps(b->v[2 * i], id));
    __m256i high = rne8(_mm256_mul_ps(b->v[2 * i + 1], id));
    __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
    both = _mm256_min_epi16(both, _mm256_set1_epi16(most));
    q[i] = _mm256_max_epi16(both, _mm256_set1_epi16((int16_t)-most));
  }
}

INLINE float quantise_block(const float *x, int16_t *q, int32_t *asum) {
  block8 b = block_load(x);
  __m256i halves[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
  if (b.max >= LM_STORE_ZERO) block_quants(&b, LM_ACT_MAX, halves);
  __m256i sum = _mm256_setzero_si256();
  for (int i = 0; i < 2; i++) {
    _mm256_storeu_si256((__m256i *)(void *)(q + (ptrdiff_t)16 * i), halves[i]);
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(halves[i], _mm256_set1_epi16(1)));
  }
  *asum = (int32_t)sum_lanes(sum);
  return b.max < LM_STORE_ZERO ? 0.0f : lm_float(b.max) * lm_float(LM_ACT_STEP);
}

static void quantise(const float *x, uint32_t n, int16_t *q, float *d, int32_t *asum) {
  for (uint32_t b = 0; b < n / LM_BLOCK; b++)
    d[b] = quantise_block(x + (size_t)b * LM_BLOCK, q + (size_t)b * LM_BLOCK, &asum[b]);
}

static void quantise_bytes(const float *x, uint32_t n, int8_t *q, float *d) {
  for (uint32_t i = 0; i < n / LM_BLOCK; i++, x += LM_BLOCK, q += LM_BLOCK) {
    block8 b = block_load(x);
    __m256i halves[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    if (b.max >= LM_STORE_ZERO) block_quants(&b, LM_BYTE_MAX, halves);
    __m256i bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(halves[0], halves[1]), 0xd8);
    _mm256_storeu_si256((__m256i *)(void *)q, bytes);
    d[i] = b.max < LM_STORE_ZERO ? 0.0f : lm_float(b.max) * lm_float(LM_BYTE_STEP);
  }
}

/* The places a tile of columns reads from, moved on block by block. */
typedef struct tile_at {
  const int16_t *q[TILE];
  const float *d[TILE];
  const float *da[TILE];
  const int32_t *asum[TILE];
} tile_at;

INLINE void tile_open(tile_at *at, const lm_acts *acts, uint32_t column, const int count) {
  for (int c = 0; c < count; c++) {
    size_t column_at = column + (uint32_t)c;
    at->q[c] = acts->q + column_at * acts->cols;
    at->d[c] = acts->d + column_at * acts->blocks;
    at->da[c] = acts->da + column_at * acts->blocks;
    at->asum[c] = acts->asum + column_at * acts->blocks;
  }
}

/* Two activations for all rows. */
INLINE __m256i pair8(const int16_t *at) {
  int32_t word;
  memcpy(&word, at, sizeof word);
  return _mm256_set1_epi32(word);
}

INLINE __m256 half8(const uint16_t *at) {
  return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)at));
}

/* Adds to the sums of count columns what weights, two neighbours of each of 8 rows as 16-bit
   halves, give with the activations from k on. */
INLINE void add_pairs(__m256i weights, const tile_at *at, size_t k, const int count,
                      __m256i *sums) {
  for (int c = 0; c < count; c++)
    sums[c] = _mm256_add_epi32(sums[c], _mm256_madd_epi16(weights, pair8(at->q[c] + k)));
}

/* I of M3 for 8 rows x count columns of one Q4 block. */
INLINE void dot_q4(const uint8_t *block, const tile_at *at, size_t k, const int count,
                   __m256i *sums) {
  const __m256i nibble = _mm256_set1_epi16(15);
  for (int v = 0; v < 4; v++, k += 8) {
    __m256i w = load(block + (ptrdiff_t)32 * v);
    add_pairs(_mm256_and_si256(w, nibble), at, k, count, sums);
    add_pairs(_mm256_and_si256(_mm256_srli_epi16(w, 4), nibble), at, k + 2, count, sums);
    add_pairs(_mm256_and_si256(_mm256_srli_epi16(w, 8), nibble), at, k + 4, count, sums);
    add_pairs(_mm256_srli_epi16(w, 12), at, k + 6, count, sums);
  }
}

/* As dot_q4 for Q8. */
INLINE void dot_q8(const uint8_t *block, const tile_at *at, size_t k, const int count,
                   __m256i *sums) {
  for (int v = 0; v < 8; v++, k += 4) {
    __m256i w = load(block + (ptrdiff_t)32 * v);
    add_pairs(_mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8), at, k, count, sums);
    add_pairs(_mm256_srai_epi16(w, 8), at, k + 2, count, sums);
  }
}

INLINE void write_rows(float *y, __m256 value, uint32_t rows) {
  float lanes[8];
  if (rows >= 8) {
    _mm256_storeu_ps(y, value);
    return;
  }
  _mm256_storeu_ps(lanes, value);
  memcpy(y, lanes, rows * sizeof *y);
}

/* One group of 8 rows against count columns: M3, M4, M5. */
INLINE void tile(const lm_packed *w, uint32_t group, const lm_acts *acts, uint32_t column,
                 const int count, const lm_format format, float *y, size_t stride,
                 uint32_t *faults) {
  const size_t block_bytes = format == LM_Q8_0 ? 256 : 128;
  const size_t scale_count = format == LM_Q4_1 ? 16 : 8;
  const uint8_t *block = w->quants + (size_t)group * w->blocks * block_bytes;
  const uint16_t *scale = w->scales + (size_t)group * w->blocks * scale_count;
  const __m256 unit = pow8(w->exponent);
  tile_at at;
  tile_open(&at, acts, column, count);
  __m256i acc[TILE];
  __m256i sums[TILE];
  for (int c = 0; c < count; c++)
    acc[c] = _mm256_setzero_si256();
  for (uint32_t b = 0; b < w->blocks; b++, block += block_bytes, scale += scale_count) {
    for (int c = 0; c < count; c++)
      sums[c] = format == LM_Q4_0 ? _mm256_set1_epi32(-8 * at.asum[c][b]) : _mm256_setzero_si256();
    if (format == LM_Q8_0)
      dot_q8(block, &at, (size_t)b * LM_BLOCK, count, sums);
    else
      dot_q4(block, &at, (size_t)b * LM_BLOCK, count, sums);
    if (count == 1) {
      for (size_t line = 0; line < block_bytes; line += 64)
        _mm_prefetch((const char *)block + PREFETCH + line, _MM_HINT_T0);
      _mm_prefetch((const char *)scale + PREFETCH / 4, _MM_HINT_T0);
    }
    __m256 d = _mm256_mul_ps(half8(scale), unit);
    __m256 m = format == LM_Q4_1 ? _mm256_mul_ps(half8(scale + 8), unit) : d;
    for (int c = 0; c < count; c++) {
      __m256 s = _mm256_mul_ps(d, _mm256_set1_ps(at.d[c][b]));
      __m256 p = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[c]), s);
      if (format == LM_Q4_1) p = _mm256_add_ps(p, _mm256_mul_ps(m, _mm256_set1_ps(at.da[c][b])));
      acc[c] = _mm256_add_epi32(acc[c], _mm256_cvttps_epi32(p));
    }
  }
  for (int c = 0; c < count; c++) {
    __m256i bad = _mm256_setzero_si256();
    __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(acc[c]),
                                  pow8(acts->e[column + (uint32_t)c] - w->exponent));
    write_rows(y + (size_t)c * stride, store8(scaled, &bad), w->rows - group * 8);
    faults[c] |= any_lane(bad);
  }
}

#define TILE_OF(FORMAT, COUNT)                                                                     \
  static void tile_##FORMAT##_##COUNT(const lm_packed *w, uint32_t group, const lm_acts *acts,     \
                                      uint32_t column, float *y, size_t stride,                    \
                                      uint32_t *faults) {                                          \
    tile(w, group, acts, column, COUNT, LM_##FORMAT, y, stride, faults);                           \
  }
TILE_OF(Q4_0, 1)
TILE_OF(Q4_0, 2)
TILE_OF(Q4_0, 3)
TILE_OF(Q4_0, 4)
TILE_OF(Q4_1, 1)
TILE_OF(Q4_1, 2)
TILE_OF(Q4_1, 3)
TILE_OF(Q4_1, 4)
TILE_OF(Q8_0, 1)
TILE_OF(Q8_0, 2)
TILE_OF(Q8_0, 3)
TILE_OF(Q8_0, 4)

typedef void tile_function(const lm_packed *w, uint32_t group, const lm_acts *acts, uint32_t column,
                           float *y, size_t stride, uint32_t *faults);

static tile_function *tile_for(lm_format format, uint32_t count) {
  static tile_function *const q4_0[] = {tile_Q4_0_1, tile_Q4_0_2, tile_Q4_0_3, tile_Q4_0_4};
  static tile_function *const q4_1[] = {tile_Q4_1_1, tile_Q4_1_2, tile_Q4_1_3, tile_Q4_1_4};
  static tile_function *const q8_0[] = {tile_Q8_0_1, tile_Q8_0_2, tile_Q8_0_3, tile_Q8_0_4};
  if (format == LM_Q4_0) return q4_0[count - 1];
  return format == LM_Q4_1 ? q4_1[count - 1] : q8_0[count - 1];
}

static void matmul(const lm_packed *w, uint32_t group, uint32_t groups, const lm_acts *acts,
                   uint32_t first, uint32_t count, float *y, size_t stride, uint32_t *faults) {
  for (uint32_t g = 0; g < groups; g += CHUNK) {
    uint32_t chunk = groups - g < CHUNK ? groups - g : CHUNK;
    for (uint32_t c = 0; c < count; c += TILE) {
      uint32_t columns = count - c < TILE ? count - c : TILE;
      tile_function *run = tile_for(w->format, columns);
      for (uint32_t i = g; i < g + chunk; i++)
        run(w, group + i, acts, first + c, y + c * stride + (size_t)i * 8, stride, faults + c);
    }
  }
}

static void add(float *x, const float *y, uint32_t n, uint32_t *fault) {
  __m256i faults = _mm256_setzero_si256();
  for (uint32_t i = 0; i < n; i += 8) {
    __m256 sum = _mm256_add_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i));
    _mm256_storeu_ps(x + i, store8(sum, &faults));
  }
  *fault |= any_lane(faults);
}

static void gate_up(float *gate, const float *up, uint32_t n, uint32_t *fault) {
  __m256i faults = _mm256_setzero_si256();
  const __m256 low = _mm256_set1_ps(-80.0f);
  for (uint32_t i = 0; i < n; i += 8) {
    __m256 x = _mm256_loadu_ps(gate + i);
    __m256 c = _mm256_sub_ps(_mm256_setzero_ps(), _mm256_max_ps(x, low));
    c = _mm256_max_ps(c, low);
    __m256 y = _mm256_mul_ps(x, rc8(_mm256_add_ps(ex8(c), _mm256_set1_ps(1.0f))));
    y = _mm256_mul_ps(y, _mm256_loadu_ps(up + i));
    _mm256_storeu_ps(gate + i, store8(y, &faults));
  }
  *fault |= any_lane(faults);
}

static void scores(const lm_head *query, const lm_kv *kv, uint32_t n, float head_scale, float *out,
                   uint32_t *fault) {
  __m256i faults = _mm256_setzero_si256();
  const int16_t *k = kv->k;
  const float *kd = kv->kd;
  for (uint32_t i = 0; i < n; i += 8) {
    __m256 sum = _mm256_setzero_ps();
    for (uint32_t b = 0; b < kv->blocks; b++, kd += 8) {
      __m256i dots = _mm256_setzero_si256();
      for (uint32_t v = 0; v < LM_BLOCK / 2; v++, k += 16) {
        __m256i t = _mm256_madd_epi16(load(k), pair8(query->q + b * LM_BLOCK + v * 2));
        dots = _mm256_add_epi32(dots, t);
      }
      __m256 s = _mm256_mul_ps(_mm256_set1_ps(query->d[b]), _mm256_loadu_ps(kd));
      __m256 t = _mm256_mul_ps(_mm256_cvtepi32_ps(dots), s);
      sum = b == 0 ? t : _mm256_add_ps(sum, t);
    }
    __m256i bad = _mm256_setzero_si256();
    _mm256_storeu_ps(out + i, store8(_mm256_mul_ps(sum, _mm256_set1_ps(head_scale)), &bad));
    __m256i lane =
        _mm256_add_epi32(_mm256_set1_epi32((int32_t)i), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    __m256i seen = _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)n), lane);
    faults = _mm256_or_si256(faults, _mm256_and_si256(bad, seen));
  }
  *fault |= any_lane(faults);
}

static float max_value(const float *x, uint32_t n) {
  __m256 m = _mm256_loadu_ps(x);
  float lanes[8];
  for (uint32_t i = 8; i < n; i += 8)
    m = _mm256_max_ps(m, _mm256_loadu_ps(x + i));
  _mm256_storeu_ps(lanes, m);
  for (int i = 1; i < 8; i++)
    lanes[0] = lanes[i] > lanes[0] ? lanes[i] : lanes[0];
  return lanes[0];
}

static void softmax(float *x, uint32_t n) {
  for (uint32_t i = n; i % 8 != 0; i++)
    x[i] = -0x1p61f; /* below every score, so e^x gives +0 */
  __m256 max = _mm256_set1_ps(max_value(x, n));
  __m256i low = _mm256_setzero_si256();
  __m256i high = _mm256_setzero_si256();
  for (uint32_t i = 0; i < n; i += 8) {
    __m256 v = ex8(_mm256_sub_ps(_mm256_loadu_ps(x + i), max));
    __m256i t = _mm256_cvttps_epi32(_mm256_mul_ps(v, pow8(30)));
    low = _mm256_add_epi32(low, _mm256_and_si256(t, _mm256_set1_epi32(0x7fff)));
    high = _mm256_add_epi32(high, _mm256_srli_epi32(t, 15));
    _mm256_storeu_ps(x + i, v);
  }
  int64_t sum = sum_lanes(low) + sum_lanes(high) * 32768;
  __m256 inverse = _mm256_set1_ps(lm_rc(lm_i2f(sum) * lm_pow2(-30)));
  for (uint32_t i = 0; i < n; i += 8)
    _mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), inverse));
}

/* weigh writes C_i of A3 for n positions, each pair as two words of 16-bit halves: the low 11 bits
   of both, then the bits above. Positions from n to the end of the last eight weigh nothing. */
static void weigh(const float *p, const float *d, uint32_t n, int32_t e, int32_t *room) {
  const __m256i low = _mm256_set1_epi32(0x7ff);
  for (uint32_t i = 0; i < n; i += 8) {
    __m256 c =
        _mm256_mul_ps(_mm256_loadu_ps(p + i), _mm256_mul_ps(_mm256_loadu_ps(d + i), pow8(22 - e)));
    __m256i lane =
        _mm256_add_epi32(_mm256_set1_epi32((int32_t)i), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    __m256i seen = _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)n), lane);
    __m256i w = _mm256_and_si256(rne8(c), seen);
    __m256i halves = _mm256_packs_epi32(_mm256_and_si256(w, low), _mm256_srli_epi32(w, 11));
    /* lanes: low of 0-3, high of 0-3, low of 4-7, high of 4-7, two positions a word */
    halves = _mm256_shuffle_epi32(halves, 0xd8);
    _mm256_storeu_si256((__m256i *)(void *)(room + i), halves);
  }
}

static void values_block(const float *p, const lm_kv *kv, uint32_t block, uint32_t n, int32_t *room,
                         float *out, uint32_t *fault) {
  const float *d = kv->vd + (size_t)block * kv->positions;
  __m256i max = _mm256_setzero_si256();
  __m256i low[4];
  __m256i high[4];
  for (uint32_t i = 0; i + 8 <= n; i += 8)
    max = _mm256_max_epi32(max, _mm256_castps_si256(_mm256_loadu_ps(d + i)));
  uint32_t most = max_lane(max);
  for (uint32_t i = n / 8 * 8; i < n; i++)
    most = lm_bits(d[i]) > most ? lm_bits(d[i]) : most;
  memset(out, 0, LM_BLOCK * sizeof *out);
  if (most == 0) return;
  int32_t e = lm_column_exponent(most);
  weigh(p, d, n, e, room);
  for (int j = 0; j < 4; j++)
    low[j] = high[j] = _mm256_setzero_si256();
  const int8_t *v = kv->v + (size_t)block * LM_BLOCK * 2;
  for (uint32_t i = 0; i < n; i += 2, v += (size_t)kv->blocks * LM_BLOCK * 2) {
    __m256i low_pair = _mm256_set1_epi32(room[i]);
    __m256i high_pair = _mm256_set1_epi32(room[i + 1]);
    for (int j = 0; j < 4; j++) {
      const void *at = v + (ptrdiff_t)16 * j;
      __m256i pair = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)at));
      low[j] = _mm256_add_epi32(low[j], _mm256_madd_epi16(pair, low_pair));
      high[j] = _mm256_add_epi32(high[j], _mm256_madd_epi16(pair, high_pair));
    }
  }
  __m256i faults = _mm256_setzero_si256();
  for (int j = 0; j < 4; j++) {
    __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high[j], 11), low[j]);
    __m256 y = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), pow8(e - 22));
    _mm256_storeu_ps(out + (ptrdiff_t)8 * j, store8(y, &faults));
  }
  *fault |= any_lane(faults);
}

static void values(const float *p, const lm_kv *kv, uint32_t n, int32_t *room, float *out,
                   uint32_t *fault) {
  for (uint32_t b = 0; b < kv->blocks; b++)
    values_block(p, kv, b, n, room, out + (size_t)b * LM_BLOCK, fault);
}

const lm_kernels *lm_kernels_avx2(void) {
  static const lm_kernels table = {.name = "avx2",
                                   .rms_norm = rms_norm,
                                   .quantise = quantise,
                                   .quantise_bytes = quantise_bytes,
                                   .matmul = matmul,
                                   .add = add,
                                   .gate = gate_up,
                                   .scores = scores,
                                   .softmax = softmax,
                                   .values = values};
  uint32_t a;
  uint32_t b;
  uint32_t c = 0;
  uint32_t d;
  __builtin_cpu_init();
  bool half = __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
  bool here = __builtin_cpu_supports("avx2") && half;
  return here ? &table : NULL;
}

#else

#include "host/base/banned.h"

const lm_kernels *lm_kernels_avx2(void) {
  return NULL;
}

#endif
