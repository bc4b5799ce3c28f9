#version 460
#extension GL_GOOGLE_include_directive : require
#include "exact.glsl"
#include "job.glsl"

/* RMSNorm (F5) of a column of the residual stream, and its quantised form (M1, M2). A workgroup
   takes a column, an invocation whole blocks. The last norm takes the wanted columns and writes
   what it gives into result, too. */

layout(local_size_x = 8) in;

shared uint tops[8];
shared uint lows[8];
shared uint highs[8];

uint source;

vec4 x_at(uint block, uint i) {
  return uintBitsToFloat(texelFetch(work_in, int(source + block * 8u + i)));
}

uint all_max(uint mine) {
  tops[gl_LocalInvocationID.x] = mine;
  barrier();
  uint top = 0u;
  for (uint i = 0u; i < 8u; i++) top = max(top, tops[i]);
  barrier();
  return top;
}

uint top4(vec4 v) {
  return max(max(abs_bits(v.x), abs_bits(v.y)), max(abs_bits(v.z), abs_bits(v.w)));
}

/* R of F5; e is its exponent. */
float factor(int e) {
  uint low = 0u;
  uint high = 0u;
  float down = pow2(-e);
  uint lane = gl_LocalInvocationID.x;
  for (uint b = lane; b < push.blocks; b += 8u) {
    [[unroll]] for (uint i = 0u; i < 8u; i++) {
      vec4 v = x_at(b, i);
      [[unroll]] for (uint k = 0u; k < 4u; k++) {
        float u = mul(v[k], down);
        uint t = uint(int(mul(mul(u, u), pow2(30))));
        low += t & 0x7fffu;
        high += t >> 15;
      }
    }
  }
  lows[lane] = low;
  highs[lane] = high;
  barrier();
  low = 0u;
  high = 0u;
  for (uint i = 0u; i < 8u; i++) {
    low += lows[i];
    high += highs[i];
  }
  float f = mul(i2f(high, low), rc(float(int(push.blocks * 32u))));
  f = mul(f, pow2(-30));
  f = mul(f, pow2(e));
  f = mul(f, pow2(e));
  return rsq(add(f, push.eps));
}

/* One block; returns the bits of its d. */
uint block_out(uint b, uint row, float R) {
  vec4 y[8];
  uint top = 0u;
  [[unroll]] for (uint i = 0u; i < 8u; i++) {
    vec4 x = x_at(b, i);
    vec4 w = texelFetch(tables, int(push.table + b * 8u + i));
    [[unroll]] for (uint k = 0u; k < 4u; k++) y[i][k] = store(mul(mul(x[k], R), w[k]));
    top = max(top, top4(y[i]));
  }
  float id = block_factor(top);
  uint at = (push.out_texel + (row * push.blocks + b) * 3u) * 4u;
  int sum = 0;
  [[unroll]] for (uint i = 0u; i < 8u; i++) {
    ivec4 q = ivec4(block_value(y[i].x, id), block_value(y[i].y, id), block_value(y[i].z, id),
                    block_value(y[i].w, id));
    sum += q.x + q.y + q.z + q.w;
    work[at + i] = pack4(q);
    if (push.wanted != 0u)
      [[unroll]] for (uint k = 0u; k < 4u; k++)
        result[(row * push.blocks + b) * 32u + i * 4u + k] = y[i][k];
  }
  uint d = bits_of(block_scale(top));
  work[at + 8u] = d;
  work[at + 9u] = uint(sum);
  return d;
}

void main() {
  uint row = gl_WorkGroupID.x;
  uint column = push.wanted != 0u ? job[push.list + row] : row;
  uint lane = gl_LocalInvocationID.x;
  source = push.x_texel + column * push.blocks * 8u;
  uint top = 0u;
  for (uint b = lane; b < push.blocks; b += 8u)
    [[unroll]] for (uint i = 0u; i < 8u; i++) top = max(top, top4(x_at(b, i)));
  top = all_max(top);
  float R = factor(max(int(top >> 23) - 126, -60));
  uint d = 0u;
  for (uint b = lane; b < push.blocks; b += 8u) d = max(d, block_out(b, row, R));
  d = all_max(d);
  if (lane == 0u) work[push.out_slot + row] = d;
  tell_fault(column);
}
