/* What all shaders share: buffers and numbers of one dispatch (device.h and graph.c fill them).

   Buffers are in texels of 16 bytes for reads and in words for writes. A column of activations is,
   for each block of 32 values, two texels of int8 and one of (d, sum of q). A record of a head, in
   `work` for queries and in a cache for K and V, is head_dim / 16 texels of int8 and one with the d
   of its blocks. */

layout(constant_id = 0) const uint SPLIT = 1u;    /* invocations along the blocks of a row */
layout(constant_id = 1) const uint KIND = 0u;     /* of a matmul, see matmul.comp */
layout(constant_id = 2) const uint FORMAT = 3u;   /* as in model.h */
layout(constant_id = 3) const uint COLUMNS = 1u;  /* of a tile */
layout(constant_id = 4) const uint HEAD_DIM = 64u;

layout(set = 0, binding = 0) uniform usamplerBuffer work_in;
layout(set = 0, binding = 1, std430) buffer Work { uint work[]; };
layout(set = 0, binding = 2) uniform samplerBuffer tables; /* norms, RoPE */
layout(set = 0, binding = 3, std430) readonly buffer Job { uint job[]; };
layout(set = 0, binding = 4, std430) writeonly buffer Result { float result[]; };

layout(push_constant, std430) uniform Push {
  uint count;      /* columns */
  uint blocks;     /* of an input column */
  uint in_texel;   /* of the input columns */
  uint in_slot;    /* word of their largest d */
  uint out_texel;  /* of the output columns */
  uint out_slot;   /* word of their largest d */
  uint rows;       /* of the output */
  uint layer;
  uint fault_word; /* of the first column */
  uint x_texel;    /* of the residual stream */
  uint table;      /* texel of the norm weights or of the RoPE table */
  uint list;       /* word of job: which column a workgroup takes */
  uint q_rows;     /* of a fused q, k, v matrix */
  uint kv_rows;
  uint scores;     /* word of the first score */
  uint stride;     /* words of scores a head */
  uint kv_heads;
  uint heads;
  float eps;
  float head_scale;
  uint wanted;     /* 1: the norm is the last one and its result is wanted */
} push;

/* Words of a column in `job`. */
#define JOB_WORDS 8u
#define JOB_TOKEN 0u
#define JOB_POSITION 1u
#define JOB_ADDRESS 2u  /* of its cache, two words */
#define JOB_LAYER 4u    /* bytes of a layer of the cache, two words */
#define JOB_ROOM 6u     /* positions of the cache */

uint job_of(uint column, uint what) { return job[column * JOB_WORDS + what]; }

void tell_fault(uint column) {
  if (fault_flag != 0u) atomicOr(work[push.fault_word + column], 1u);
}
