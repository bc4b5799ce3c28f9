#ifndef DEAI_PLUGINS_COMPUTE_LM_EXACT_H
#define DEAI_PLUGINS_COMPUTE_LM_EXACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The exact arithmetic in portable C: the reference every device is compared with, bit for bit.

   Names in capitals (N3, M1, F5, A3 ...) are rules of docs/arithmetic.md. Allowed on the token path
   are float + - x rounded to nearest even, int <-> float conversion, compares and powers of two; no
   fma, division, square root or libm. Each operator below is one rounded operation, so this file
   must be compiled with -ffp-contract=off and never with -ffast-math.

   Threads  [any]; nothing is shared.
   Limits   Columns of up to 2^15 values (F5), 2^17 positions (F6).
   Caveats  A fault flag is OR-ed, never cleared, by the functions that take one. */

#define LM_STORE_ZERO  0x21800000u /* bits of 2^-60: smaller is stored as +0 (N3) */
#define LM_STORE_FAULT 0x5D800000u /* bits of 2^60: this and more is a fault (N3) */
#define LM_BLOCK       32
#define LM_ACT_MAX     4095        /* largest |q| of an activation (M1): 32 x 128 x 4095 < 2^24 */
#define LM_ACT_STEP    0x39800801u /* bits of fl(1 / 4095) */
#define LM_BYTE_MAX    127         /* the same for V and re-quantised weights (A1, M7) */
#define LM_BYTE_STEP   0x3C010204u /* bits of fl(1 / 127) */

/* lm_bits returns the bit pattern of x. */
static inline uint32_t lm_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

/* lm_float returns the float with this bit pattern. */
static inline float lm_float(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* lm_pow2 returns 2^n, -126 <= n <= 127. */
static inline float lm_pow2(int32_t n) {
  return lm_float((uint32_t)(n + 127) << 23);
}

/* lm_abs_bits returns the bit pattern of |x|, which orders like |x|. */
static inline uint32_t lm_abs_bits(float x) {
  return lm_bits(x) & 0x7fffffffu;
}

/* lm_store returns x as an activation is written (N3) and ORs 1 into *fault for 2^60 and more. */
static inline float lm_store(float x, uint32_t *fault) {
  uint32_t b = lm_abs_bits(x);
  if (b < LM_STORE_ZERO) return 0.0f;
  if (b >= LM_STORE_FAULT) {
    *fault |= 1;
    return 0.0f;
  }
  return x;
}

/* lm_rne returns the integer nearest to v, ties to even, for |v| < 2^22 (M1). */
static inline int32_t lm_rne(float v) {
  return (int32_t)(lm_bits(v + lm_float(0x4B400000u)) - 0x4B400000u);
}

/* lm_half returns the value of the f16 h (N5); exponent 31 must have been refused. */
static inline float lm_half(uint16_t h) {
  uint32_t a = h & 0x7fffu;
  uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
  if (a < 0x400u) return lm_float(lm_bits((float)(int32_t)a * lm_pow2(-24)) | sign);
  return lm_float(((a << 13) + 0x38000000u) | sign);
}

/* lm_ex returns e^x for x <= 88, +0 below -86 (F1). Max 0.98 ulp. */
static inline float lm_ex(float x) {
  if (x < -86.0f) return 0.0f;
  float t = x * lm_float(0x3FB8AA3Bu) + lm_float(0x4B400000u);
  float n = t - lm_float(0x4B400000u);
  float r = x - n * lm_float(0x3F318000u);
  r = r - n * lm_float(0xB95E8083u);
  float p = r * lm_float(0x39506967u) + lm_float(0x3AB743CEu);
  p = p * r + lm_float(0x3C088908u);
  p = p * r + lm_float(0x3D2AA9C1u);
  p = p * r + lm_float(0x3E2AAAAAu);
  p = p * r + lm_float(0x3F000000u);
  float q = p * (r * r);
  q = q + r;
  q = q + 1.0f;
  return lm_float(lm_bits(q) + ((lm_bits(t) - 0x4B400000u) << 23));
}

/* lm_rc returns 1 / a for 2^-120 <= a <= 2^120 (F2). Max 1.25 ulp. */
static inline float lm_rc(float a) {
  float r = lm_float(0x7EF311C3u - lm_bits(a));
  r = r * (2.0f - a * r);
  r = r * (2.0f - a * r);
  r = r * (2.0f - a * r);
  float t = r * (1.0f - a * r);
  return r + t;
}

/* lm_rsq returns 1 / sqrt(a) for positive normal a (F3). Max 1.94 ulp. */
static inline float lm_rsq(float a) {
  float h = a * 0.5f;
  float r = lm_float(0x5F375A86u - (lm_bits(a) >> 1));
  r = r * (1.5f - h * (r * r));
  r = r * (1.5f - h * (r * r));
  r = r * (1.5f - h * (r * r));
  return r;
}

/* lm_i2f returns s >= 0 as a float, truncated to 24 bits (F4). */
static inline float lm_i2f(int64_t s) {
  int32_t k = 0;
  while ((s >> k) >= (INT64_C(1) << 24))
    k++;
  return (float)(int32_t)(s >> k) * lm_pow2(k);
}

/* lm_silu returns x / (1 + e^-x) (F7). Max 3.2 ulp. */
static inline float lm_silu(float x) {
  float c = x > -80.0f ? x : -80.0f;
  c = 0.0f - c;
  c = c > -80.0f ? c : -80.0f;
  return x * lm_rc(lm_ex(c) + 1.0f);
}

/* lm_norm_exponent returns e of F5 for the largest |x| with these bits. */
static inline int32_t lm_norm_exponent(uint32_t max_bits) {
  int32_t e = (int32_t)(max_bits >> 23) - 126;
  return e > -60 ? e : -60;
}

/* lm_norm_factor returns R of F5 from the sum S, the exponent e, the count K and eps. */
static inline float lm_norm_factor(int64_t sum, int32_t e, uint32_t count, float eps) {
  float f = lm_i2f(sum) * lm_rc((float)(int32_t)count);
  f = f * lm_pow2(-30);
  f = f * lm_pow2(e);
  f = f * lm_pow2(e);
  f = f + eps;
  return lm_rsq(f);
}

/* lm_column_exponent returns e of M2 for the largest d with these bits, 0 when all are zero. */
static inline int32_t lm_column_exponent(uint32_t max_bits) {
  return max_bits == 0 ? 0 : (int32_t)(max_bits >> 23) - 126;
}

/* lm_block_max returns the bits of the largest |x| of 32 values. */
static inline uint32_t lm_block_max(const float *x) {
  uint32_t m = 0;
  for (int i = 0; i < LM_BLOCK; i++) {
    uint32_t b = lm_abs_bits(x[i]);
    m = b > m ? b : m;
  }
  return m;
}

/* lm_quant returns the integer nearest to x * id, at most `most` in size (M1). */
static inline int32_t lm_quant(float x, float id, int32_t most) {
  int32_t v = lm_rne(x * id);
  return v > most ? most : v < -most ? -most : v;
}

/* lm_quantise_block makes one M1 block of 32 values: q, returns d; *asum_out = sum of q. */
static inline float lm_quantise_block(const float *x, int16_t *q, int32_t *asum_out) {
  uint32_t m = lm_block_max(x);
  float max = lm_float(m);
  *asum_out = 0;
  memset(q, 0, LM_BLOCK * sizeof *q);
  if (m < LM_STORE_ZERO) return 0.0f;
  float id = lm_rc(max) * (float)LM_ACT_MAX;
  for (int i = 0; i < LM_BLOCK; i++) {
    int32_t v = lm_quant(x[i], id, LM_ACT_MAX);
    q[i] = (int16_t)v;
    *asum_out += v;
  }
  return max * lm_float(LM_ACT_STEP);
}

/* lm_quantise_bytes makes one M1 block of 8 bits, the form of V (A1): q, returns d. */
static inline float lm_quantise_bytes(const float *x, int8_t *q) {
  uint32_t m = lm_block_max(x);
  float max = lm_float(m);
  memset(q, 0, LM_BLOCK);
  if (m < LM_STORE_ZERO) return 0.0f;
  float id = lm_rc(max) * (float)LM_BYTE_MAX;
  for (int i = 0; i < LM_BLOCK; i++)
    q[i] = (int8_t)lm_quant(x[i], id, LM_BYTE_MAX);
  return max * lm_float(LM_BYTE_STEP);
}

/* lm_rounds_to_nearest tells whether this thread rounds floats to nearest even (N2). */
bool lm_rounds_to_nearest(void);

/* lm_rms_norm writes y = RMSNorm(x) * w of count values (F5). y may be x. */
void lm_rms_norm(const float *x, const float *w, uint32_t count, float eps, float *y,
                 uint32_t *fault);

/* lm_softmax turns count scores into probabilities in place (F6); count >= 1. */
void lm_softmax(float *x, uint32_t count);

/* lm_rope_apply rotates the pairs of one head in place by the table row of its position (F8). */
void lm_rope_apply(float *head, const float *table, uint32_t pairs, uint32_t *fault);

/* lm_rope_table writes ctx * pairs (cosine, sine) couples for base^(-2i/dim) / factor (F8), dim =
   2 * pairs. */
void lm_rope_table(float *table, uint32_t ctx, uint32_t pairs, double base, double factor);

/* lm_ln returns the natural logarithm of a positive normal x in double, by + - x / only (F8,
   A9). */
double lm_ln(double x);

/* lm_inverse_root returns 1 / sqrt(n) as a float, by + - x / in double only (A1). */
float lm_inverse_root(uint32_t n);

/* lm_round_even returns the integer nearest to x, ties to even, for |x| < 2^51. */
int64_t lm_round_even(double x);

/* lm_half_of rounds a float >= 0 to f16 by integers, nearest even (M7); 0x7c00 above 65504. */
uint16_t lm_half_of(float x);

/* lm_requantise makes one Q8_0 block (34 bytes) of 32 finite values (M7). Returns false when the
   scale is above 65504. */
bool lm_requantise(const float *x, uint8_t *block);

/* lm_row_bound returns L_r of M6 for the blocks of one row in units of 2^-24, below 2^63 for up to
   1024 blocks. format is an lm_format. *bad_out is set when a scale has exponent 31. */
uint64_t lm_row_bound(int32_t format, const uint8_t *blocks, uint32_t block_count, bool *bad_out);

/* lm_tensor_exponent sets *exponent_out to xT for the largest L_r; false when 4095 L_r >= 2^62. */
bool lm_tensor_exponent(uint64_t bound, int32_t *exponent_out);

#endif
