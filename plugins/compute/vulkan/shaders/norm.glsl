/* RMSNorm (F5) of a column of the residual stream and its quantised form (M1, M2), by one
   workgroup: an invocation takes whole blocks. In a matmul the workgroup that ends last does this
   for its columns (`coherent` and memoryBarrier make what the others wrote visible), which saves a
   dispatch; nobody waits for anybody. The last norm of a pass takes the wanted columns only, and
   writes what it gives into result, too. */

layout(set = 0, binding = 2) uniform samplerBuffer tables; /* norms, RoPE */
layout(set = 0, binding = 5, rgba32ui) coherent readonly uniform uimageBuffer work_image;
layout(set = 0, binding = 4, std430) writeonly buffer Result { float result[]; };

#define LANES (8u * SPLIT)
#define LANE (gl_LocalInvocationID.y * 8u + gl_LocalInvocationID.x)

shared uint norm_a[LANES];
shared uint norm_b[LANES];

vec4 norm_x(uint source, uint i) {
  return uintBitsToFloat(imageLoad(work_image, int(source + i)));
}

uint norm_max(uint mine) {
  norm_a[LANE] = mine;
  barrier();
  uint top = 0u;
  [[unroll]] for (uint i = 0u; i < LANES; i++) top = max(top, norm_a[i]);
  barrier();
  return top;
}

/* R of F5; e is its exponent. */
float norm_factor(uint source, uint blocks, int e) {
  uint low = 0u;
  uint high = 0u;
  float down = pow2(-e);
  for (uint b = LANE; b < blocks; b += LANES) {
    [[unroll]] for (uint i = 0u; i < 8u; i++) {
      vec4 x = norm_x(source, b * 8u + i);
      [[unroll]] for (uint k = 0u; k < 4u; k++) {
        float u = mul(x[k], down);
        uint t = uint(int(mul(mul(u, u), pow2(30))));
        low += t & 0x7fffu;
        high += t >> 15;
      }
    }
  }
  norm_a[LANE] = low;
  norm_b[LANE] = high;
  barrier();
  low = 0u;
  high = 0u;
  [[unroll]] for (uint i = 0u; i < LANES; i++) {
    low += norm_a[i];
    high += norm_b[i];
  }
  barrier();
  float f = mul(i2f(high, low), rc(float(int(blocks * 32u))));
  f = mul(f, pow2(-30));
  f = mul(f, pow2(e));
  f = mul(f, pow2(e));
  return rsq(add(f, push.eps));
}

/* One block of the column, which becomes column `row` of the activations; returns the bits of d. */
uint norm_block(uint source, uint blocks, uint b, uint row, float R) {
  float y[32];
  uint top = 0u;
  [[unroll]] for (uint i = 0u; i < 8u; i++) {
    vec4 x = norm_x(source, b * 8u + i);
    vec4 w = texelFetch(tables, int(push.norm_table + b * 8u + i));
    [[unroll]] for (uint k = 0u; k < 4u; k++) {
      uint at = i * 4u + k;
      y[at] = store(mul(mul(x[k], R), w[k]));
      top = max(top, abs_bits(y[at]));
    }
  }
  float id = block_factor(top, ACT_MAX);
  uint at = (push.norm_texel + (row * blocks + b) * ACT_TEXELS) * 4u;
  int sum = 0;
  [[unroll]] for (uint i = 0u; i < 16u; i++) {
    int q = block_value(y[2u * i], id, ACT_MAX);
    int r = block_value(y[2u * i + 1u], id, ACT_MAX);
    sum += q + r;
    work[at + i] = pack2(q, r);
    if (push.norm_last != 0u)
      [[unroll]] for (uint k = 0u; k < 2u; k++)
        result[(row * blocks + b) * 32u + i * 2u + k] = y[2u * i + k];
  }
  uint d = bits_of(block_scale(top, ACT_STEP));
  work[at + 16u] = d;
  work[at + 17u] = uint(sum);
  return d;
}

void norm_column(uint column, uint blocks) {
  uint source = push.x_texel + column * blocks * 8u;
  uint row = push.norm_last != 0u ? job_where(column).w : column;
  if (row == JOB_UNWANTED) return;
  uint top = 0u;
  for (uint b = LANE; b < blocks; b += LANES)
    [[unroll]] for (uint i = 0u; i < 8u; i++) {
      vec4 x = norm_x(source, b * 8u + i);
      [[unroll]] for (uint k = 0u; k < 4u; k++) top = max(top, abs_bits(x[k]));
    }
  top = norm_max(top);
  float R = norm_factor(source, blocks, max(int(top >> 23) - 126, -60));
  uint d = 0u;
  for (uint b = LANE; b < blocks; b += LANES) d = max(d, norm_block(source, blocks, b, row, R));
  d = norm_max(d);
  if (LANE == 0u) work[push.norm_slot + row] = d;
}
