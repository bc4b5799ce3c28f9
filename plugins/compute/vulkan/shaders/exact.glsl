/* The exact arithmetic on a device (docs/arithmetic.md; names in capitals are its rules). Every
   float operation goes through add, sub and mul: one rounded operation each, never contracted.
   Shaders of this folder use no other float operator, and a test of the SPIR-V looks after that. */

#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_spirv_intrinsics : require

/* N2: RoundingModeRTE and SignedZeroInfNanPreserve for 32 bits (SPV_KHR_float_controls). */
spirv_execution_mode(extensions = ["SPV_KHR_float_controls"], capabilities = [4467], 4462, 32);
spirv_execution_mode(extensions = ["SPV_KHR_float_controls"], capabilities = [4466], 4461, 32);

#define STORE_ZERO 0x21800000u /* 2^-60, N3 */
#define STORE_FAULT 0x5D800000u /* 2^60, N3 */

uint fault_flag = 0u;

float bits(uint b) { return uintBitsToFloat(b); }
uint bits_of(float x) { return floatBitsToUint(x); }
uint abs_bits(float x) { return floatBitsToUint(x) & 0x7fffffffu; }

float add(float a, float b) {
  precise float r = a + b;
  return r;
}

float sub(float a, float b) {
  precise float r = a - b;
  return r;
}

float mul(float a, float b) {
  precise float r = a * b;
  return r;
}

/* 2^n, -126 <= n <= 127 */
float pow2(int n) { return bits(uint(n + 127) << 23); }

/* N3 */
float store(float x) {
  uint b = abs_bits(x);
  bool high = b >= STORE_FAULT;
  fault_flag |= high ? 1u : 0u;
  return b < STORE_ZERO || high ? 0.0 : x;
}

/* M1: nearest integer, ties to even, |v| < 2^22 */
int rne(float v) { return int(bits_of(add(v, bits(0x4B400000u))) - 0x4B400000u); }

/* F1 */
float ex(float x) {
  float t = add(mul(x, bits(0x3FB8AA3Bu)), bits(0x4B400000u));
  float n = sub(t, bits(0x4B400000u));
  float r = sub(x, mul(n, bits(0x3F318000u)));
  r = sub(r, mul(n, bits(0xB95E8083u)));
  float p = add(mul(r, bits(0x39506967u)), bits(0x3AB743CEu));
  p = add(mul(p, r), bits(0x3C088908u));
  p = add(mul(p, r), bits(0x3D2AA9C1u));
  p = add(mul(p, r), bits(0x3E2AAAAAu));
  p = add(mul(p, r), bits(0x3F000000u));
  float q = mul(p, mul(r, r));
  q = add(q, r);
  q = add(q, bits(0x3F800000u));
  float whole = bits(bits_of(q) + ((bits_of(t) - 0x4B400000u) << 23));
  return x < -86.0 ? 0.0 : whole;
}

/* F2 */
float rc(float a) {
  float r = bits(0x7EF311C3u - bits_of(a));
  r = mul(r, sub(2.0, mul(a, r)));
  r = mul(r, sub(2.0, mul(a, r)));
  r = mul(r, sub(2.0, mul(a, r)));
  float t = mul(r, sub(1.0, mul(a, r)));
  return add(r, t);
}

/* F3 */
float rsq(float a) {
  float h = mul(a, 0.5);
  float r = bits(0x5F375A86u - (bits_of(a) >> 1));
  r = mul(r, sub(1.5, mul(h, mul(r, r))));
  r = mul(r, sub(1.5, mul(h, mul(r, r))));
  r = mul(r, sub(1.5, mul(h, mul(r, r))));
  return r;
}

/* F4 of high * 2^15 + low, two sums of the halves of non-negative 31-bit numbers. */
float i2f(uint high, uint low) {
  high += low >> 15;
  low &= 0x7fffu;
  int length = high == 0u ? findMSB(low) + 1 : findMSB(high) + 16;
  int k = max(length - 24, 0);
  uint whole = k <= 15 ? (high << (15 - k)) | (low >> k) : high >> (k - 15);
  return mul(float(int(whole)), pow2(k));
}

/* F7 */
float silu(float x) {
  float c = x > -80.0 ? x : -80.0;
  c = sub(0.0, c);
  c = c > -80.0 ? c : -80.0;
  return mul(x, rc(add(ex(c), 1.0)));
}

/* M2 for the largest d with these bits */
int column_exponent(uint max_bits) { return max_bits == 0u ? 0 : int(max_bits >> 23) - 126; }

/* M1: 13 bits of activations, queries and K, 8 bits of V */
#define ACT_MAX 4095
#define ACT_STEP 0x39800801u /* fl(1 / 4095) */
#define BYTE_MAX 127
#define BYTE_STEP 0x3C010204u /* fl(1 / 127) */

/* M1: the factor of a block whose largest |x| has these bits, 0 for an empty one */
float block_factor(uint max_bits, int most) {
  return max_bits < STORE_ZERO ? 0.0 : mul(rc(bits(max_bits)), float(most));
}

/* M1: d of the same block */
float block_scale(uint max_bits, uint step_bits) {
  return max_bits < STORE_ZERO ? 0.0 : mul(bits(max_bits), bits(step_bits));
}

/* M1: one value */
int block_value(float x, float factor, int most) {
  return clamp(rne(mul(x, factor)), -most, most);
}

uint pack2(int a, int b) { return (uint(a) & 0xffffu) | (uint(b) << 16); }

/* half `i` of a word of two int16 */
int half_of(uint word, uint i) { return bitfieldExtract(int(word), int(16u * i), 16); }

uint pack4(ivec4 v) {
  return (uint(v.x) & 0xffu) | ((uint(v.y) & 0xffu) << 8) | ((uint(v.z) & 0xffu) << 16) |
         (uint(v.w) << 24);
}
