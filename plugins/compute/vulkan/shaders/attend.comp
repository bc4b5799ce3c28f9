#version 460
#extension GL_GOOGLE_include_directive : require
#include "exact.glsl"
#include "job.glsl"

/* Attention of one query head of one column over its cache (A1 to A3), and the quantised result
   (M1). An invocation takes every LANES-th position; sums over positions are integers. */

layout(local_size_x_id = 5) in;
layout(constant_id = 5) const uint LANES = 8u;

layout(set = 2, binding = 0) uniform usamplerBuffer cache; /* this layer of it */

#define BLOCKS (HEAD_DIM / 32u)
#define GROUPS (HEAD_DIM / 8u)

/* With few lanes each reads all partial sums, by constant indexes and outside of control flow,
   which lavapipe turns into one load for all; with many the sums come together by atomics. */
#define FEW (LANES <= 8u)
#define ROUNDS ((GROUPS + LANES - 1u) / LANES) /* groups of 8 values that a lane finishes */

shared uint lane_a[LANES];
shared uint lane_b[LANES];
shared uint lane_tops[BLOCKS * LANES];
shared int sums[FEW ? HEAD_DIM * LANES : HEAD_DIM];
shared int halves[ROUNDS * LANES];
shared uint group_tops[ROUNDS * LANES];

int query[HEAD_DIM];
int total[HEAD_DIM];
float query_d[BLOCKS];
int e[BLOCKS];
float up[BLOCKS];
uint tops[BLOCKS];
float own[ROUNDS * 8u];

int byte_of(uint word, uint j) { return bitfieldExtract(int(word), int(8u * j), 8); }

void take_query(uint at) {
  [[unroll]] for (uint t = 0u; t < GROUPS; t++) {
    uvec4 w = texelFetch(work_in, int(at + t));
    [[unroll]] for (uint i = 0u; i < 8u; i++) query[t * 8u + i] = half_of(w[i / 2u], i % 2u);
  }
  vec4 d = uintBitsToFloat(texelFetch(work_in, int(at + GROUPS)));
  [[unroll]] for (uint b = 0u; b < BLOCKS; b++) query_d[b] = d[b];
}

/* A1 of one position */
float score(uint at) {
  float sum = 0.0;
  vec4 d = uintBitsToFloat(texelFetch(cache, int(at + GROUPS)));
  [[unroll]] for (uint b = 0u; b < BLOCKS; b++) {
    int dot_sum = 0;
    [[unroll]] for (uint t = 0u; t < 4u; t++) {
      uvec4 w = texelFetch(cache, int(at + b * 4u + t));
      [[unroll]] for (uint i = 0u; i < 8u; i++)
        dot_sum += query[b * 32u + t * 8u + i] * half_of(w[i / 2u], i % 2u);
    }
    float term = mul(float(dot_sum), mul(query_d[b], d[b]));
    sum = b == 0u ? term : add(sum, term);
  }
  return store(mul(sum, push.head_scale));
}

/* Scores of all positions; the largest d of each V block becomes tops. Returns the largest
   score. */
float all_scores(uint n, uint keys, uint values, uint scratch) {
  uint lane = gl_LocalInvocationID.x;
  bool none = true;
  float top = 0.0;
  uvec4 top_d = uvec4(0u);
  for (uint i = lane; i < n; i += LANES) {
    float s = score(keys + i * WIDE_RECORD);
    work[scratch + i] = bits_of(s);
    top = none || s > top ? s : top;
    none = false;
    top_d = max(top_d, texelFetch(cache, int(values + i * BYTE_RECORD + HEAD_DIM / 16u)));
  }
  lane_a[lane] = bits_of(top);
  [[unroll]] for (uint b = 0u; b < BLOCKS; b++) lane_tops[b * LANES + lane] = top_d[b];
  barrier();
  top = bits(lane_a[0]);
  [[unroll]] for (uint i = 1u; i < LANES; i++) {
    float other = bits(lane_a[i]);
    top = i < n && other > top ? other : top;
  }
  [[unroll]] for (uint b = 0u; b < BLOCKS; b++) {
    tops[b] = 0u;
    [[unroll]] for (uint i = 0u; i < LANES; i++) tops[b] = max(tops[b], lane_tops[b * LANES + i]);
  }
  barrier();
  return top;
}

/* F6: 1 / sum of e^(x - top) */
float all_inverse(uint n, float top, uint scratch) {
  uint lane = gl_LocalInvocationID.x;
  uint low = 0u;
  uint high = 0u;
  for (uint i = lane; i < n; i += LANES) {
    float v = ex(sub(bits(work[scratch + i]), top));
    uint t = uint(int(mul(v, pow2(30))));
    work[scratch + i] = bits_of(v);
    low += t & 0x7fffu;
    high += t >> 15;
  }
  high += low >> 15;
  lane_a[lane] = low & 0x7fffu;
  lane_b[lane] = high;
  barrier();
  low = 0u;
  high = 0u;
  [[unroll]] for (uint i = 0u; i < LANES; i++) {
    low += lane_a[i];
    high += lane_b[i];
  }
  barrier();
  return rc(mul(i2f(high, low), pow2(-30)));
}

/* A3 of one position */
void add_value(uint at, float p) {
  vec4 d = uintBitsToFloat(texelFetch(cache, int(at + HEAD_DIM / 16u)));
  [[unroll]] for (uint b = 0u; b < BLOCKS; b++) {
    int c = rne(mul(p, mul(d[b], up[b])));
    c = tops[b] == 0u ? 0 : c;
    [[unroll]] for (uint t = 0u; t < 2u; t++) {
      uvec4 w = texelFetch(cache, int(at + b * 2u + t));
      [[unroll]] for (uint i = 0u; i < 16u; i++)
        total[b * 32u + t * 16u + i] += c * byte_of(w[i / 4u], i % 4u);
    }
  }
}

void all_values(uint n, uint values, float inverse, uint scratch) {
  uint lane = gl_LocalInvocationID.x;
  [[unroll]] for (uint b = 0u; b < BLOCKS; b++) {
    e[b] = column_exponent(tops[b]);
    up[b] = pow2(22 - e[b]);
  }
  [[unroll]] for (uint i = 0u; i < HEAD_DIM; i++) total[i] = 0;
  if (!FEW) {
    for (uint i = lane; i < HEAD_DIM; i += LANES) sums[i] = 0;
    barrier();
  }
  for (uint i = lane; i < n; i += LANES)
    add_value(values + i * BYTE_RECORD, mul(bits(work[scratch + i]), inverse));
}

/* own: the sums of the 8 values of each group of this lane, as floats (A3). */
void take_own() {
  uint lane = gl_LocalInvocationID.x;
  int mine[ROUNDS * 8u];
  [[unroll]] for (uint i = 0u; i < HEAD_DIM; i++) {
    if (FEW)
      sums[i * LANES + lane] = total[i];
    else
      atomicAdd(sums[i], total[i]);
  }
  barrier();
  [[unroll]] for (uint i = 0u; i < ROUNDS * 8u; i++) {
    uint group = i / 8u * LANES + lane;
    mine[i] = 0;
    if (!FEW && group < GROUPS) mine[i] = sums[group * 8u + i % 8u];
  }
  [[unroll]] for (uint i = 0u; FEW && i < HEAD_DIM; i++) {
    int sum = 0;
    [[unroll]] for (uint l = 0u; l < LANES; l++) sum += sums[i * LANES + l];
    uint at = i / 8u / LANES * 8u + i % 8u;
    mine[at] = i / 8u % LANES == lane ? sum : mine[at];
  }
  [[unroll]] for (uint i = 0u; i < ROUNDS * 8u; i++) {
    uint block = (i / 8u * LANES + lane) / 4u;
    float down = pow2(e[0] - 22);
    [[unroll]] for (uint b = 1u; b < BLOCKS; b++) down = block == b ? pow2(e[b] - 22) : down;
    own[i] = store(mul(float(mine[i]), down));
  }
}

/* M1 of the head, 8 values at a time. */
void quantise(uint column, uint head) {
  uint lane = gl_LocalInvocationID.x;
  uint first = (push.out_texel + (column * push.heads + head) * BLOCKS * ACT_TEXELS) * 4u;
  uint block_tops[BLOCKS];
  [[unroll]] for (uint r = 0u; r < ROUNDS; r++) {
    uint top = 0u;
    [[unroll]] for (uint i = 0u; i < 8u; i++) top = max(top, abs_bits(own[r * 8u + i]));
    group_tops[r * LANES + lane] = top;
  }
  barrier();
  [[unroll]] for (uint b = 0u; b < BLOCKS; b++) {
    block_tops[b] = 0u;
    [[unroll]] for (uint i = 0u; i < 4u; i++)
      block_tops[b] = max(block_tops[b], group_tops[b * 4u + i]);
  }
  [[unroll]] for (uint r = 0u; r < ROUNDS; r++) {
    uint g = r * LANES + lane;
    uint top = block_tops[0];
    [[unroll]] for (uint b = 1u; b < BLOCKS; b++) top = g / 4u == b ? block_tops[b] : top;
    float id = block_factor(top, ACT_MAX);
    int sum = 0;
    [[unroll]] for (uint k = 0u; k < 4u; k++) {
      uint i = r * 8u + k * 2u;
      ivec2 q = ivec2(block_value(own[i], id, ACT_MAX), block_value(own[i + 1u], id, ACT_MAX));
      sum += q.x + q.y;
      if (g < GROUPS) work[first + (g / 4u * ACT_TEXELS + g % 4u) * 4u + k] = pack2(q.x, q.y);
    }
    halves[g] = sum;
  }
  barrier();
  [[unroll]] for (uint b = 0u; b < BLOCKS; b++) {
    int sum = halves[b * 4u] + halves[b * 4u + 1u] + halves[b * 4u + 2u] + halves[b * 4u + 3u];
    if (lane == 0u) {
      work[first + b * ACT_TEXELS * 4u + 16u] = bits_of(block_scale(block_tops[b], ACT_STEP));
      work[first + b * ACT_TEXELS * 4u + 17u] = uint(sum);
    }
  }
  uint most = block_tops[0];
  [[unroll]] for (uint b = 1u; b < BLOCKS; b++) most = max(most, block_tops[b]);
  if (lane == 0u) atomicMax(work[push.out_slot + column], bits_of(block_scale(most, ACT_STEP)));
}

void main() {
  uint unit = gl_WorkGroupID.x;
  uint head = unit % push.heads;
  uint column = listed(unit / push.heads);
  uint n = job_what(column).y + 1u;
  uint room = job_where(column).z;
  uint kv_head = head / (push.heads / push.kv_heads);
  uint keys = kv_head * room * WIDE_RECORD;
  uint values = (push.kv_heads * WIDE_RECORD + kv_head * BYTE_RECORD) * room;
  uint scratch = push.scores + unit * push.stride;
  take_query(push.in_texel + (column * push.heads + head) * WIDE_RECORD);
  float top = all_scores(n, keys, values, scratch);
  float inverse = all_inverse(n, top, scratch);
  all_values(n, values, inverse, scratch);
  take_own();
  quantise(column, head);
  tell_fault(column);
}
