#version 460
#extension GL_GOOGLE_include_directive : require
#include "exact.glsl"
#include "job.glsl"
#include "norm.glsl"

/* The embedding row of each column's token into the residual stream (A4). An invocation takes whole
   blocks. The matrix lies as in matmul.comp. The first norm follows. */

layout(local_size_x = 8, local_size_y_id = 0) in;

#define Q4_0 2u
#define Q4_1 3u
#define WIDE 9u
#define HAS_MIN (FORMAT == Q4_1 || FORMAT == WIDE)
#define IS_BYTE (FORMAT >= 8u)

layout(set = 1, binding = 0) uniform usamplerBuffer quants;
layout(set = 1, binding = 1) uniform samplerBuffer scales;
layout(set = 1, binding = 2, std430) readonly buffer Exponents { int exponents[]; };

int weight_at(uvec4 w, uint i, uint j, uint slot) {
  if (IS_BYTE) return bitfieldExtract(int(w[i]), int(8u * j), 8);
  return int((w[i] >> (4u * j + 16u * (slot & 1u))) & 15u) - (FORMAT == Q4_0 ? 8 : 0);
}

void main() {
  uint column = gl_WorkGroupID.x;
  uint row = job_what(column).x;
  uint lane = row % 64u / 8u;
  uint slot = row % 8u;
  float down = pow2(-exponents[row / 32u]); /* the scales carry 2^xT (N6) */
  for (uint b = LANE; b < push.blocks; b += LANES) {
    uint at = row / 64u * push.blocks + b;
    vec4 s = texelFetch(scales, int(HAS_MIN ? at * 32u + slot / 2u * 8u + lane
                                                   : at * 16u + slot / 4u * 8u + lane));
    uint place = HAS_MIN ? slot % 2u * 2u : slot % 4u;
    float d = mul(place == 0u ? s.x : place == 1u ? s.y : place == 2u ? s.z : s.w, down);
    float m = mul(place == 0u ? s.y : s.w, down);
    for (uint part = 0u; part < 2u; part++) {
      uint texel = IS_BYTE ? at * 128u + slot * 16u : at * 64u + slot / 2u * 16u;
      uvec4 w = texelFetch(quants, int(texel + part * 8u + lane));
      [[unroll]] for (uint i = 0u; i < 4u; i++) {
        [[unroll]] for (uint j = 0u; j < 4u; j++) {
          float y = mul(float(weight_at(w, i, j, slot)), d);
          if (HAS_MIN) y = add(y, m);
          work[(push.x_texel + (column * push.blocks + b) * 8u + part * 4u + i) * 4u + j] =
              bits_of(store(y));
        }
      }
    }
  }
  memoryBarrier();
  barrier();
  norm_column(column, push.blocks);
  tell_fault(column);
}
