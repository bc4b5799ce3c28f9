#ifndef DEAI_PLUGINS_COMPUTE_CPU_KERNELS_H
#define DEAI_PLUGINS_COMPUTE_CPU_KERNELS_H

#include "plugins/compute/lm/exact.h"
#include "plugins/compute/lm/model.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The kernels of the CPU backend: one table in portable C, which is the reference, and one in AVX2.
   Both give the same bits on every input (arithmetic.md; the rule of each kernel is named below).

   Layout of weights (arithmetic.md 7): 8 rows form a group; within a group each block of 32 weights
   is 4 (Q4) or 8 (Q8) vectors of 32 bytes, vector v holding word v of each of the 8 rows. Word v of
   Q4 has weights 8v to 8v + 7, the even ones in its lower half, the odd ones in the upper, the
   first in the lowest nibbles; word v of Q8 has the bytes of weights 4v, 4v + 2, 4v + 1, 4v + 3. So
   a shift gives two neighbours as 16-bit halves, one word of activations feeds 8 rows, and no sum
   crosses lanes. Scales lie apart: for each block 8 f16 d, and for Q4_1 then 8 f16 m. Missing rows
   of the last group are zero.

   Layout of a cache, for each layer and kv head: K in groups of 8 positions, word v of each with
   values 2v and 2v + 1, and 8 float d for each block; V in pairs of positions, the two values of a
   pair side by side, with the d of a block running along the positions.

   Threads  [any]; kernels share nothing.
   Memory   Nothing is allocated. Vectors of floats given to scores, softmax and values have room up
            to the next multiple of 8.
   Caveats  fault is OR-ed with 1 for a value of 2^60 or more (N3). */

typedef struct lm_packed {
  lm_format format;
  uint32_t rows;
  uint32_t cols;
  uint32_t blocks;  /* of a row */
  uint32_t groups;  /* of 8 rows */
  int32_t exponent; /* xT */
  uint8_t *quants;
  uint16_t *scales;
} lm_packed;

/* Columns of activations in M1 blocks with their exponent (M2). */
typedef struct lm_acts {
  uint32_t cols;   /* values of a column */
  uint32_t blocks; /* cols / 32 */
  int16_t *q;      /* column x cols */
  float *d;        /* column x blocks: dn = d x 2^-e */
  float *da;       /* column x blocks: fl(dn x float(asum)) */
  int32_t *asum;   /* column x blocks */
  int32_t *e;      /* column */
} lm_acts;

/* K of one head or a query head in M1 blocks. */
typedef struct lm_head {
  int16_t q[LM_MODEL_HEAD_DIM_MAX];
  float d[LM_MODEL_HEAD_DIM_MAX / LM_BLOCK];
} lm_head;

/* V of one head in M1 blocks of 8 bits. */
typedef struct lm_value {
  int8_t q[LM_MODEL_HEAD_DIM_MAX];
  float d[LM_MODEL_HEAD_DIM_MAX / LM_BLOCK];
} lm_value;

/* One kv head of one layer of a cache. */
typedef struct lm_kv {
  int16_t *k;         /* [position / 8][block][word][position % 8][2] */
  float *kd;          /* [position / 8][block][position % 8] */
  int8_t *v;          /* [position / 2][value][position % 2] */
  float *vd;          /* [block][position] */
  uint32_t positions; /* room, a multiple of 8 */
  uint32_t blocks;    /* of a head */
} lm_kv;

typedef struct lm_kernels {
  const char *name;

  /* F5: y = RMSNorm(x) * w of n values, n a multiple of 32; y may be x. */
  void (*rms_norm)(const float *x, const float *w, uint32_t n, float eps, float *y,
                   uint32_t *fault);

  /* M1 of n values, n a multiple of 32: q, and d and sum of q of each block. */
  void (*quantise)(const float *x, uint32_t n, int16_t *q, float *d, int32_t *asum);

  /* M1 in 8 bits of n values, n a multiple of 32: q, and d of each block. */
  void (*quantise_bytes)(const float *x, uint32_t n, int8_t *q, float *d);

  /* M3 to M5: y[(c * stride) + r] for columns c < count from first on and rows r of the groups
     [group, group + groups), r counted from the first of them. Rows beyond the matrix are not
     written. faults[c] as above. */
  void (*matmul)(const lm_packed *w, uint32_t group, uint32_t groups, const lm_acts *acts,
                 uint32_t first, uint32_t count, float *y, size_t stride, uint32_t *faults);

  /* A4: x = store(x + y). */
  void (*add)(float *x, const float *y, uint32_t n, uint32_t *fault);

  /* F7: gate = store(silu(gate) * up). */
  void (*gate)(float *gate, const float *up, uint32_t n, uint32_t *fault);

  /* A1: out[i] = score of query against position i < n. */
  void (*scores)(const lm_head *query, const lm_kv *kv, uint32_t n, float head_scale, float *out,
                 uint32_t *fault);

  /* F6 in place over n values. */
  void (*softmax)(float *x, uint32_t n);

  /* A3: out = the values of n positions weighted by p; room holds n integers. */
  void (*values)(const float *p, const lm_kv *kv, uint32_t n, int32_t *room, float *out,
                 uint32_t *fault);
} lm_kernels;

/* lm_kernels_c returns the portable kernels. */
const lm_kernels *lm_kernels_c(void);

/* lm_kernels_avx2 returns the AVX2 kernels, or NULL when this processor or build has none. */
const lm_kernels *lm_kernels_avx2(void);

#endif
