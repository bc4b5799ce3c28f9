#include "exact.h"

#include "model.h"

#include "host/base/banned.h"

#define TWO_PI 6.28318530717958647692
#define LN2_HI 6.93145751953125e-1 /* Cephes exp.c: ln 2 in two parts */
#define LN2_LO 1.42860682030941723212e-6
#define LN2    6.93147180559945309417e-1

bool lm_rounds_to_nearest(void) {
  volatile float one = 1.0f;
  volatile float more = 0x1.8p-24f; /* three quarters of the last place of 1 */
  volatile float less = 0x1p-25f;   /* a quarter */
  volatile float up = one + more;
  volatile float down = one + less;
  volatile float negative = -one - more;
  return up == 0x1.000002p0f && down == 1.0f && negative == -0x1.000002p0f;
}

void lm_rms_norm(const float *x, const float *w, uint32_t count, float eps, float *y,
                 uint32_t *fault) {
  uint32_t max = 0;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t b = lm_abs_bits(x[i]);
    max = b > max ? b : max;
  }
  int32_t e = lm_norm_exponent(max);
  float down = lm_pow2(-e);
  int64_t sum = 0;
  for (uint32_t i = 0; i < count; i++) {
    float u = x[i] * down;
    float v = u * u;
    sum += (int32_t)(v * lm_pow2(30));
  }
  float factor = lm_norm_factor(sum, e, count, eps);
  for (uint32_t i = 0; i < count; i++)
    y[i] = lm_store((x[i] * factor) * w[i], fault);
}

void lm_softmax(float *x, uint32_t count) {
  float max = x[0];
  for (uint32_t i = 1; i < count; i++)
    max = x[i] > max ? x[i] : max;
  int64_t sum = 0;
  for (uint32_t i = 0; i < count; i++) {
    x[i] = lm_ex(x[i] - max);
    sum += (int32_t)(x[i] * lm_pow2(30));
  }
  float inverse = lm_rc(lm_i2f(sum) * lm_pow2(-30));
  for (uint32_t i = 0; i < count; i++)
    x[i] = x[i] * inverse;
}

void lm_rope_apply(float *head, const float *table, uint32_t pairs, uint32_t *fault) {
  for (uint32_t i = 0; i < pairs; i++) {
    float c = table[2 * i];
    float s = table[2 * i + 1];
    float x0 = head[2 * i];
    float x1 = head[2 * i + 1];
    float a = x0 * c;
    float b = x1 * s;
    float g = x0 * s;
    float h = x1 * c;
    head[2 * i] = lm_store(a - b, fault);
    head[2 * i + 1] = lm_store(g + h, fault);
  }
}

double lm_ln(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  int32_t exponent = (int32_t)(bits >> 52) - 1023;
  bits = (bits & UINT64_C(0x000fffffffffffff)) | UINT64_C(0x3ff0000000000000);
  double m;
  memcpy(&m, &bits, sizeof m);
  if (m > 1.41421356237309504880) {
    m = m * 0.5;
    exponent++;
  }
  double s = (m - 1.0) / (m + 1.0); /* ln m = 2 atanh s, |s| < 0.1716 */
  double z = s * s;
  double sum = 0.0;
  for (int32_t k = 25; k >= 1; k -= 2)
    sum = sum * z + 1.0 / (double)k;
  return 2.0 * (s * sum) + (double)exponent * LN2;
}

/* e^x for -700 < x <= 0 by Taylor's series after x = n ln 2 + r. */
static double exp_negative(double x) {
  double n = (double)lm_round_even(x / LN2);
  double r = (x - n * LN2_HI) - n * LN2_LO;
  double sum = 1.0;
  for (int32_t k = 18; k >= 1; k--)
    sum = 1.0 + sum * r / (double)k;
  uint64_t bits = (uint64_t)(1023 + (int64_t)n) << 52;
  double scale;
  memcpy(&scale, &bits, sizeof scale);
  return sum * scale;
}

/* The polynomials of Cephes sin.c for |x| <= pi / 4. */
static double sine(double x) {
  double z = x * x;
  double p = 1.58962301576546568060e-10;
  p = p * z - 2.50507477628578072866e-8;
  p = p * z + 2.75573136213857245213e-6;
  p = p * z - 1.98412698295895385996e-4;
  p = p * z + 8.33333333332211858878e-3;
  p = p * z - 1.66666666666666307295e-1;
  return x + x * (z * p);
}

static double cosine(double x) {
  double z = x * x;
  double p = -1.13585365213876817300e-11;
  p = p * z + 2.08757008419747316778e-9;
  p = p * z - 2.75573141792967388112e-7;
  p = p * z + 2.48015872888517045348e-5;
  p = p * z - 1.38888888888730564116e-3;
  p = p * z + 4.16666666666665929218e-2;
  return (1.0 - 0.5 * z) + (z * z) * p;
}

static float rope_round(double x) {
  float out = (float)x;
  return lm_abs_bits(out) < lm_bits(lm_pow2(-24)) ? 0.0f : out;
}

static void rope_entry(float *out, uint64_t phase) {
  uint64_t quadrant = (phase + (UINT64_C(1) << 61)) >> 62;
  uint64_t rest = phase - (quadrant << 62);
  int64_t r;
  memcpy(&r, &rest, sizeof r);
  double x = (double)r * 0x1p-64 * TWO_PI;
  double c = cosine(x);
  double s = sine(x);
  double turned[4][2] = {{c, s}, {-s, c}, {-c, -s}, {s, -c}};
  out[0] = rope_round(turned[quadrant & 3][0]);
  out[1] = rope_round(turned[quadrant & 3][1]);
}

void lm_rope_table(float *table, uint32_t ctx, uint32_t pairs, double base, double factor) {
  double ln_base = lm_ln(base);
  for (uint32_t i = 0; i < pairs; i++) {
    double theta = exp_negative(-(2.0 * (double)i / (2.0 * (double)pairs)) * ln_base) / factor;
    uint64_t turn = (uint64_t)(theta / TWO_PI * 0x1p64);
    uint64_t phase = 0;
    for (uint32_t position = 0; position < ctx; position++) {
      rope_entry(table + 2 * ((size_t)position * pairs + i), phase);
      phase += turn;
    }
  }
}

float lm_inverse_root(uint32_t n) {
  double a = (double)n;
  double root = a;
  for (int i = 0; i < 64; i++)
    root = 0.5 * (root + a / root); /* Newton; far more steps than it needs to settle */
  return (float)(1.0 / root);
}

int64_t lm_round_even(double x) {
  double magic = 0x1.8p52;
  double sum = x + magic;
  return (int64_t)(sum - magic);
}

uint16_t lm_half_of(float x) {
  uint32_t bits = lm_bits(x);
  int32_t exponent = (int32_t)(bits >> 23) - 112;
  uint32_t mantissa = (bits & 0x7fffffu) | 0x800000u;
  uint32_t shift = 13;
  if (exponent < 1) {
    if (exponent < -11) return 0;
    shift += (uint32_t)(1 - exponent);
    exponent = 1;
  }
  uint32_t half = (mantissa >> shift) + ((uint32_t)(exponent - 1) << 10);
  uint32_t rest = mantissa & ((1u << shift) - 1);
  uint32_t tie = 1u << (shift - 1);
  if (rest > tie || (rest == tie && (half & 1) != 0)) half++;
  return half > 0x7bffu ? 0x7c00u : (uint16_t)half;
}

bool lm_requantise(const float *x, uint8_t *block) {
  uint32_t m = lm_block_max(x);
  memset(block, 0, 34);
  if (m < LM_STORE_ZERO) return true;
  if (m >= LM_STORE_FAULT) return false;
  uint16_t half = lm_half_of(lm_float(m) * lm_float(LM_BYTE_STEP));
  if (half == 0) return true;
  if (half >= 0x7c00u) return false;
  memcpy(block, &half, 2);
  float id = lm_rc(lm_half(half));
  for (int i = 0; i < LM_BLOCK; i++) {
    int8_t q = (int8_t)lm_quant(x[i], id, LM_BYTE_MAX);
    memcpy(block + 2 + i, &q, 1);
  }
  return true;
}

/* An f16 in units of 2^-24. */
static int64_t half_units(const uint8_t *at, bool *bad) {
  uint32_t h = (uint32_t)at[0] | (uint32_t)at[1] << 8;
  uint32_t exponent = (h >> 10) & 31;
  int64_t mantissa = h & 0x3ffu;
  if (exponent == 31) *bad = true;
  if (exponent == 31) return 0;
  int64_t value = exponent == 0 ? mantissa : (mantissa + 1024) * (INT64_C(1) << (exponent - 1));
  return (h & 0x8000u) != 0 ? -value : value;
}

static int64_t positive(int64_t x) {
  return x < 0 ? -x : x;
}

static uint64_t bound_q4(const uint8_t *block, uint32_t head, int64_t bias, int64_t d, int64_t m) {
  int64_t sum = 0;
  int64_t coefficients = 0;
  for (uint32_t i = 0; i < 16; i++) {
    int64_t low = (block[head + i] & 15) - bias;
    int64_t high = (block[head + i] >> 4) - bias;
    sum += positive(low * d + m) + positive(high * d + m);
    coefficients += positive(low) + positive(high);
  }
  int64_t slack = ((positive(d) * coefficients + positive(m) * 32) >> 16) + 1;
  return (uint64_t)(sum + slack);
}

static uint64_t bound_q8(const uint8_t *block, int64_t d) {
  int64_t coefficients = 0;
  for (uint32_t i = 0; i < LM_BLOCK; i++) {
    int8_t q;
    memcpy(&q, block + 2 + i, 1);
    coefficients += q < 0 ? -q : q;
  }
  int64_t sum = positive(d) * coefficients;
  return (uint64_t)(sum + (sum >> 16) + 1);
}

uint64_t lm_row_bound(int32_t format, const uint8_t *blocks, uint32_t block_count, bool *bad_out) {
  uint64_t bound = 0;
  uint32_t bytes = lm_block_bytes((lm_format)format);
  for (uint32_t b = 0; b < block_count; b++, blocks += bytes) {
    int64_t d = half_units(blocks, bad_out);
    if (format == LM_Q8_0)
      bound += bound_q8(blocks, d);
    else if (format == LM_Q4_0)
      bound += bound_q4(blocks, 2, 8, d, 0);
    else
      bound += bound_q4(blocks, 4, 0, d, half_units(blocks + 2, bad_out));
  }
  return bound;
}

bool lm_tensor_exponent(uint64_t bound, int32_t *exponent_out) {
  if (bound > ((UINT64_C(1) << 62) - 1) / LM_ACT_MAX) return false;
  uint64_t scaled = bound * LM_ACT_MAX;
  int32_t length = 0;
  while (scaled >> length != 0)
    length++;
  *exponent_out = 54 - length;
  return true;
}
