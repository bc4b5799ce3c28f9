#ifndef DEAI_TESTS_PLUGINS_COMPUTE_CPU_PIECES_H
#define DEAI_TESTS_PLUGINS_COMPUTE_CPU_PIECES_H

#include "plugins/compute/cpu/cache.h"
#include "plugins/compute/cpu/weights.h"

/* Random input for one kernel at a time. */

#define PIECES_DIM 64 /* of a head */

/* pieces_floats fills count floats with values of about -scale to scale. */
void pieces_floats(float *out, uint32_t count, float scale, uint64_t *seed);

/* pieces_room returns zeroed floats, 64-byte aligned, with room up to the next multiple of 8. */
float *pieces_room(uint32_t count);

/* pieces_weights opens the packed matrices of a tiny model whose matrices have this GGUF type. */
lm_model *pieces_weights(uint32_t type, lm_weights *weights);

/* pieces_acts quantises columns random columns of cols values with kernels, exponents included. */
lm_acts pieces_acts(const lm_kernels *kernels, uint32_t columns, uint32_t cols, uint64_t seed);

/* pieces_acts_free frees them. */
void pieces_acts_free(lm_acts *acts);

/* pieces_head fills a query head or K of one. */
void pieces_head(lm_head *head, uint64_t *seed);

/* pieces_value fills V of one head. */
void pieces_value(lm_value *value, uint64_t *seed);

/* pieces_cache returns a cache of one head with positions random positions. */
lm_cache *pieces_cache(uint32_t positions, uint64_t seed);

#endif
