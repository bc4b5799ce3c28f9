/* What all shaders share: buffers and numbers of one dispatch (device.h and graph.c fill them).

   Buffers are in texels of 16 bytes for reads and in words for writes. A column of activations is,
   for each block of 32 values, four texels of int16 and one of (d, sum of q). A record of a head is
   its values, int16 for queries (in `work`) and K, int8 for V, and a texel with the d of its
   blocks. */

#define ACT_TEXELS 5u                     /* of a block */
#define WIDE_RECORD (HEAD_DIM / 8u + 1u)  /* texels of a query or of K */
#define BYTE_RECORD (HEAD_DIM / 16u + 1u) /* of V */

layout(constant_id = 0) const uint SPLIT = 1u;    /* invocations along the blocks of a row */
layout(constant_id = 1) const uint KIND = 0u;     /* of a matmul, see matmul.comp */
layout(constant_id = 2) const uint FORMAT = 3u;   /* as in model.h */
layout(constant_id = 3) const uint COLUMNS = 1u;  /* of a tile */
layout(constant_id = 4) const uint HEAD_DIM = 64u;

layout(set = 0, binding = 0) uniform usamplerBuffer work_in;
layout(set = 0, binding = 1, std430) coherent buffer Work { uint work[]; };
layout(set = 0, binding = 3) uniform usamplerBuffer job; /* two texels a column, then lists */

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
  uint table;      /* texel of the RoPE table */
  uint list;       /* texel of job: which column a workgroup takes */
  uint q_rows;     /* of a fused q, k, v matrix */
  uint kv_rows;
  uint scores;     /* word of the first score */
  uint stride;     /* words of scores a head */
  uint kv_heads;
  uint heads;
  float eps;
  float head_scale;
  uint ticket;     /* word that counts the workgroups of the first tile; 0 = no norm follows */
  uint norm_table; /* texel of the weights of the norm that follows */
  uint norm_texel; /* of the columns it gives */
  uint norm_slot;  /* word of their largest d */
  uint norm_last;  /* 1: it is the last one */
} push;

/* A column in `job`: (token, position, address of its cache), (bytes of a layer of it, positions it
   has room for, which of the wanted columns it is). Driver code of lavapipe reads texels many times
   faster than words of a storage buffer, so everything read often is a texel. */
#define JOB_UNWANTED 0xffffffffu

uvec4 job_what(uint column) { return texelFetch(job, int(column * 2u)); }
uvec4 job_where(uint column) { return texelFetch(job, int(column * 2u + 1u)); }
uint listed(uint i) { return texelFetch(job, int(push.list + i)).x; }

/* word `word` of work, written by a dispatch before */
uint work_word(uint word) {
  uvec4 w = texelFetch(work_in, int(word / 4u));
  uint k = word % 4u;
  return k == 0u ? w.x : k == 1u ? w.y : k == 2u ? w.z : w.w;
}

void tell_fault(uint column) {
  if (fault_flag != 0u) atomicOr(work[push.fault_word + column], 1u);
}
