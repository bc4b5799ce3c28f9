#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#include "exact.glsl"
#include "job.glsl"
#include "norm.glsl"

/* A matmul (M3 to M5) with what follows it. A workgroup computes 64 rows of COLUMNS columns: 8
   invocations in x take 8 rows each, SPLIT invocations in y share the blocks of a row (the sums are
   integers, so that changes nothing). weights.h has the layout of the matrix. */

layout(local_size_x = 8, local_size_y_id = 0) in;

#define QKV 0u    /* RoPE, M1; queries into work, K and V into the caches */
#define ADD 1u    /* A4: added to the residual stream; the next norm follows */
#define GATE 2u   /* rows are 4 of gate, 4 of up: F7, M1 into activations */
#define LOGITS 3u /* into result */

#define Q4_0 2u
#define Q4_1 3u
#define WIDE 9u /* Q8_0 with a minimum: what rows of different formats become (weights.h) */
#define HAS_MIN (FORMAT == Q4_1 || FORMAT == WIDE)
#define IS_BYTE (FORMAT >= 8u)
#define OFFSET (IS_BYTE ? 128 : FORMAT == Q4_0 ? 8 : 0) /* of the quants as they are multiplied */

layout(set = 1, binding = 0) uniform usamplerBuffer quants;
layout(set = 1, binding = 1) uniform samplerBuffer scales;
layout(set = 1, binding = 2, std430) readonly buffer Exponents { int exponents[]; }; /* 32 rows */

layout(buffer_reference, std430, buffer_reference_align = 16) writeonly buffer Cache { uint w[]; };

shared int sums[SPLIT > 1u ? 64u * COLUMNS : 1u];
shared uint tops[8u * COLUMNS];
shared int halves[8u * COLUMNS];
shared uint ticket;

int acc[COLUMNS * 8u];
float dn[COLUMNS];
float da[COLUMNS];
int dots[COLUMNS * 8u];
uvec4 acts[COLUMNS * 4u];

uint column_at(uint i) { return min(gl_WorkGroupID.y * COLUMNS + i, push.count - 1u); }
bool column_is(uint i) { return gl_WorkGroupID.y * COLUMNS + i < push.count; }

/* value `i` of 32 of column c in this block */
int act(uint c, uint i) { return half_of(acts[c * 4u + i / 8u][i / 2u % 4u], i % 2u); }

/* The sum of products of a row. Nibbles are masked where they lie in a word, at place 0, 4 or 8
   (from bit 12 on after a shift by 12 or 24), and the sum of each place comes down to the next by 4
   bits. So all that is multiplied fits 16 bits with a sign, which LLVM sees: it multiplies by
   vpmaddwd. docs/decisions/vulkan-texels.md has what else was measured. */
void dot_q4(uint row, const uvec4 w[2]) {
  int sum[COLUMNS];
  [[unroll]] for (uint c = 0u; c < COLUMNS; c++) sum[c] = 0;
  [[unroll]] for (uint step = 0u; step < 3u; step++) {
    uint place = 8u - 4u * step;
    [[unroll]] for (uint c = 0u; c < COLUMNS; c++) sum[c] >>= 4;
    [[unroll]] for (uint i = 0u; i < 32u; i++) {
      uint bit = 16u * (row & 1u) + 4u * (i % 4u);
      if (bit % 12u != place) continue;
      int n = int((w[i / 16u][i / 4u % 4u] >> (bit - place)) & (15u << place));
      [[unroll]] for (uint c = 0u; c < COLUMNS; c++) sum[c] += n * act(c, i);
    }
  }
  [[unroll]] for (uint c = 0u; c < COLUMNS; c++) dots[c * 8u + row] += sum[c];
}

/* The same of bytes, as q + 128 for the same reason. */
void dot_q8(uint row, const uvec4 w[2]) {
  [[unroll]] for (uint i = 0u; i < 32u; i++) {
    uint word = w[i / 16u][i / 4u % 4u] ^ 0x80808080u;
    int n = int((word >> (8u * (i % 4u))) & 255u);
    [[unroll]] for (uint c = 0u; c < COLUMNS; c++) dots[c * 8u + row] += n * act(c, i);
  }
}

void all_dots(uint at) {
  uint lane = gl_LocalInvocationID.x;
  uvec4 w[2];
  [[unroll]] for (uint r = 0u; r < 8u; r++) {
    [[unroll]] for (uint t = 0u; t < 2u; t++) {
      if (IS_BYTE)
        w[t] = texelFetch(quants, int(at * 128u + (r * 2u + t) * 8u + lane));
      else if (r % 2u == 0u)
        w[t] = texelFetch(quants, int(at * 64u + (r + t) * 8u + lane));
    }
    if (IS_BYTE)
      dot_q8(r, w);
    else
      dot_q4(r, w);
  }
}

uvec4 act_texel(uint c, uint block, uint part) {
  uint at = (column_at(c) * push.blocks + block) * ACT_TEXELS + part;
  return texelFetch(work_in, int(push.in_texel + at));
}

/* M4 and M5 of one row; d and m carry 2^xT. */
void accumulate(uint r, float d, float m) {
  [[unroll]] for (uint c = 0u; c < COLUMNS; c++) {
    float s = mul(d, dn[c]);
    float p = mul(float(dots[c * 8u + r]), s);
    if (HAS_MIN) p = add(p, mul(m, da[c]));
    acc[c * 8u + r] += int(p);
  }
}

void scale_rows(uint at) {
  if (HAS_MIN) {
    [[unroll]] for (uint p = 0u; p < 4u; p++) {
      vec4 s = texelFetch(scales, int(at * 32u + p * 8u + gl_LocalInvocationID.x));
      accumulate(2u * p, s.x, s.y);
      accumulate(2u * p + 1u, s.z, s.w);
    }
  } else {
    [[unroll]] for (uint p = 0u; p < 2u; p++) {
      vec4 s = texelFetch(scales, int(at * 16u + p * 8u + gl_LocalInvocationID.x));
      [[unroll]] for (uint r = 0u; r < 4u; r++) accumulate(4u * p + r, s[r], 0.0);
    }
  }
}

void block_terms(uint block, const float down[COLUMNS]) {
  uint at = gl_WorkGroupID.x * push.blocks + block;
  [[unroll]] for (uint c = 0u; c < COLUMNS; c++) {
    uvec4 scale = act_texel(c, block, 4u);
    int sum = int(scale.y);
    dn[c] = mul(bits(scale.x), down[c]);
    da[c] = mul(dn[c], float(sum));
    [[unroll]] for (uint r = 0u; r < 8u; r++) dots[c * 8u + r] = -OFFSET * sum;
    [[unroll]] for (uint t = 0u; t < 4u; t++) acts[c * 4u + t] = act_texel(c, block, t);
  }
  all_dots(at);
  scale_rows(at);
}

/* All invocations in y add what they have; those with y = 0 get the sums. */
void share_sums() {
  uint lane = gl_LocalInvocationID.x;
  if (gl_LocalInvocationID.y == 0u)
    for (uint i = 0u; i < COLUMNS * 8u; i++) sums[i * 8u + lane] = acc[i];
  barrier();
  if (gl_LocalInvocationID.y != 0u)
    for (uint i = 0u; i < COLUMNS * 8u; i++) atomicAdd(sums[i * 8u + lane], acc[i]);
  barrier();
  for (uint i = 0u; i < COLUMNS * 8u; i++) acc[i] = sums[i * 8u + lane];
}

/* ---- what follows ---- */

void finish_add(uint c, const float y[8], uint row) {
  uint at = push.x_texel * 4u + column_at(c) * push.rows + row;
  vec4 x[2];
  x[0] = uintBitsToFloat(texelFetch(work_in, int(at / 4u)));
  x[1] = uintBitsToFloat(texelFetch(work_in, int(at / 4u + 1u)));
  if (!column_is(c) || row >= push.rows) return; /* rows come in whole lanes */
  [[unroll]] for (uint r = 0u; r < 8u; r++)
    work[at + r] = bits_of(store(add(x[r / 4u][r % 4u], y[r])));
}

void finish_logits(uint c, const float y[8], uint row) {
  if (!column_is(c)) return;
  [[unroll]] for (uint r = 0u; r < 8u; r++)
    if (row + r < push.rows) result[push.out_texel + column_at(c) * push.rows + row + r] = y[r];
}

void rope(uint c, inout float y[8], uint in_head) {
  uint at = push.table + (job_what(column_at(c)).y * HEAD_DIM + in_head) / 4u;
  [[unroll]] for (uint t = 0u; t < 2u; t++) {
    vec4 s = texelFetch(tables, int(at + t));
    [[unroll]] for (uint i = 0u; i < 2u; i++) {
      uint k = 4u * t + 2u * i;
      float a = mul(y[k], s[2u * i]);
      float b = mul(y[k + 1u], s[2u * i + 1u]);
      float g = mul(y[k], s[2u * i + 1u]);
      float h = mul(y[k + 1u], s[2u * i]);
      y[k] = store(sub(a, b));
      y[k + 1u] = store(add(g, h));
    }
  }
}

uint top_of(const float y[8], uint n) {
  uint top = 0u;
  [[unroll]] for (uint r = 0u; r < n; r++) top = max(top, abs_bits(y[r]));
  return top;
}

/* The largest of the 8 lanes, or of each 4. Indexes are constant and no control flow is around
   this: lavapipe then reads one word for all. */
uint block_top(uint c, bool fours) {
  uint low = 0u;
  uint high = 0u;
  [[unroll]] for (uint i = 0u; i < 4u; i++) {
    low = max(low, tops[c * 8u + i]);
    high = max(high, tops[c * 8u + 4u + i]);
  }
  return !fours ? max(low, high) : gl_LocalInvocationID.x < 4u ? low : high;
}

/* The place of layer, K or V and head in the cache of a column. */
Cache cache_of(uint column, uint place, out uint word) {
  uint high;
  uint low;
  uint carry;
  uvec4 what = job_what(column);
  uvec4 where = job_where(column);
  umulExtended(push.layer, where.x, high, low);
  high += push.layer * where.y;
  low = uaddCarry(what.z, low, carry);
  high += what.w + carry;
  uint values = max(place, push.kv_heads) - push.kv_heads; /* V heads before this one */
  word = ((place - values) * WIDE_RECORD + values * BYTE_RECORD) * where.z;
  word = (word + what.y * (place < push.kv_heads ? WIDE_RECORD : BYTE_RECORD)) * 4u;
  return Cache(uvec2(low, high));
}

void finish_qkv(uint c, const float y[8], uint row) {
  bool byte = row >= push.q_rows + push.kv_rows; /* V */
  int most = byte ? BYTE_MAX : ACT_MAX;
  uint top = block_top(c, true);
  float factor = block_factor(top, most);
  uint d = bits_of(block_scale(top, byte ? BYTE_STEP : ACT_STEP));
  uint column = column_at(c);
  if (!column_is(c) || row >= push.q_rows + 2u * push.kv_rows || gl_LocalInvocationID.y != 0u)
    return;
  uint place = (row < push.q_rows ? row : row - push.q_rows) / HEAD_DIM; /* K, then V heads */
  uint in_head = row % HEAD_DIM;
  bool first = (gl_LocalInvocationID.x & 3u) == 0u;
  int q[8];
  [[unroll]] for (uint r = 0u; r < 8u; r++) q[r] = block_value(y[r], factor, most);
  if (row < push.q_rows) {
    uint at = (push.out_texel + (column * push.heads + place) * WIDE_RECORD) * 4u;
    [[unroll]] for (uint i = 0u; i < 4u; i++)
      work[at + in_head / 2u + i] = pack2(q[2u * i], q[2u * i + 1u]);
    if (first) work[at + HEAD_DIM / 2u + in_head / 32u] = d;
  } else {
    uint at;
    Cache cache = cache_of(column, place, at);
    if (byte) {
      cache.w[at + in_head / 4u] = pack4(ivec4(q[0], q[1], q[2], q[3]));
      cache.w[at + in_head / 4u + 1u] = pack4(ivec4(q[4], q[5], q[6], q[7]));
    } else {
      [[unroll]] for (uint i = 0u; i < 4u; i++)
        cache.w[at + in_head / 2u + i] = pack2(q[2u * i], q[2u * i + 1u]);
    }
    if (first) cache.w[at + (byte ? HEAD_DIM / 4u : HEAD_DIM / 2u) + in_head / 32u] = d;
  }
}

void finish_gate(uint c, const float h[4]) {
  uint top = block_top(c, false);
  uint lane = gl_LocalInvocationID.x;
  uint column = column_at(c);
  float factor = block_factor(top, ACT_MAX);
  ivec4 q = ivec4(block_value(h[0], factor, ACT_MAX), block_value(h[1], factor, ACT_MAX),
                  block_value(h[2], factor, ACT_MAX), block_value(h[3], factor, ACT_MAX));
  uint block = column * (push.rows / 32u) + gl_WorkGroupID.x;
  uint at = (push.out_texel + block * ACT_TEXELS) * 4u;
  uint d = bits_of(block_scale(top, ACT_STEP));
  halves[c * 8u + lane] = q.x + q.y + q.z + q.w;
  barrier();
  int sum = 0;
  [[unroll]] for (uint i = 0u; i < 8u; i++) sum += halves[c * 8u + i];
  if (!column_is(c) || gl_LocalInvocationID.y != 0u) return;
  work[at + lane * 2u] = pack2(q.x, q.y);
  work[at + lane * 2u + 1u] = pack2(q.z, q.w);
  if (lane != 0u) return;
  work[at + 16u] = d;
  work[at + 17u] = uint(sum);
  atomicMax(work[push.out_slot + column], d);
}

/* The last workgroup of a tile does the norm of its columns. */
void finish_norm() {
  memoryBarrier();
  barrier();
  if (LANE == 0u) ticket = atomicAdd(work[push.ticket + gl_WorkGroupID.y], 1u);
  barrier();
  if (ticket + 1u != gl_NumWorkGroups.x) return;
  memoryBarrier();
  for (uint c = 0u; c < COLUMNS; c++) {
    if (!column_is(c)) return;
    fault_flag = 0u;
    norm_column(column_at(c), push.rows / 32u);
    tell_fault(column_at(c));
  }
}

void main() {
  float down[COLUMNS];
  int e[COLUMNS];
  uint lane = gl_LocalInvocationID.x;
  uint row = gl_WorkGroupID.x * 64u + lane * 8u;
  [[unroll]] for (uint c = 0u; c < COLUMNS; c++) {
    e[c] = column_exponent(work_word(push.in_slot + column_at(c)));
    down[c] = pow2(-e[c]);
  }
  [[unroll]] for (uint i = 0u; i < COLUMNS * 8u; i++) acc[i] = 0;
  for (uint block = gl_LocalInvocationID.y; block < push.blocks; block += SPLIT)
    block_terms(block, down);
  if (SPLIT > 1u) share_sums();
  int x = exponents[gl_WorkGroupID.x * 2u + lane / 4u];
  int x_up = exponents[gl_WorkGroupID.x * 2u + 1u];
  [[unroll]] for (uint c = 0u; c < COLUMNS; c++) {
    float y[8];
    fault_flag = 0u;
    if (KIND == GATE) {
      x = exponents[gl_WorkGroupID.x * 2u];
      float h[4];
      [[unroll]] for (uint r = 0u; r < 4u; r++) {
        float g = store(mul(float(acc[c * 8u + r]), pow2(e[c] - x)));
        float u = store(mul(float(acc[c * 8u + 4u + r]), pow2(e[c] - x_up)));
        h[r] = store(mul(silu(g), u));
        y[r] = h[r];
      }
      tops[c * 8u + lane] = top_of(y, 4u);
      barrier();
      finish_gate(c, h);
    } else {
      [[unroll]] for (uint r = 0u; r < 8u; r++)
        y[r] = store(mul(float(acc[c * 8u + r]), pow2(e[c] - x)));
      if (KIND == QKV) {
        if (row < push.q_rows + push.kv_rows) rope(c, y, row % HEAD_DIM);
        tops[c * 8u + lane] = top_of(y, 8u);
        barrier();
        finish_qkv(c, y, row);
      }
      if (gl_LocalInvocationID.y == 0u) {
        if (KIND == ADD) finish_add(c, y, row);
        if (KIND == LOGITS) finish_logits(c, y, row);
      }
    }
    if (column_is(c) && gl_LocalInvocationID.y == 0u)
      tell_fault(KIND == LOGITS ? listed(column_at(c)) : column_at(c));
  }
  if (KIND == ADD) finish_norm();
}
