#ifndef DEAI_PLUGINS_COMPUTE_LM_SAMPLER_H
#define DEAI_PLUGINS_COMPUTE_LM_SAMPLER_H

#include "deai/status.h"

#include <stdint.h>

/* The sampler chooses a token from logits by the rules A5 to A9 of arithmetic.md: a draw depends on
   the logits, the settings and the position of the output token, on nothing else, so anybody can
   repeat it.

   Threads  [any].
   Memory   Cuts (k, p) allocate a copy of the candidates for the time of the call.
   Caveats  Logits are finite, as a backend stores them (N3). */

#define LM_LOGPROBS_MAX 20
#define LM_MICRO        1000000u

typedef struct lm_sampler {
  uint32_t t; /* temperature in 10^-6; 0 = greedy */
  uint32_t k; /* keep the k best; 0 = off */
  uint32_t p; /* keep the shortest prefix with this mass, in 10^-6; 1000000 = off */
  uint64_t seed;
} lm_sampler;

typedef struct lm_logprob {
  uint32_t id;
  int64_t micro; /* natural log of the probability at temperature 1, in 10^-6 (A9) */
} lm_logprob;

/* lm_sampler_check returns DEAI_EINVAL when a setting is outside its range: t above 100 (10^8),
   p of 0 or above 10^6. */
DEAI_MUST_CHECK int32_t lm_sampler_check(const lm_sampler *sampler);

/* lm_micro_of returns value (a temperature or a top_p of a JSON request) in 10^-6, nearest, ties to
   even (A6); UINT32_MAX when it is negative, above 4000 or no number. */
uint32_t lm_micro_of(double value);

/* lm_sampler_greedy returns the id of the highest of count logits, the lowest id on ties (A5). */
uint32_t lm_sampler_greedy(const float *logits, uint32_t count);

/* lm_sampler_pick sets *id_out to the token for output position (0 = the first, forced ones count),
   count >= 1. DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t lm_sampler_pick(const lm_sampler *sampler, const float *logits,
                                        uint32_t count, uint64_t position, uint32_t *id_out);

/* lm_logprobs writes rows: first the chosen token, then the top best (0..LM_LOGPROBS_MAX, at most
   count) by logit descending, id ascending, the chosen one again where it is among them. Returns
   the number of rows, 1 + top. */
uint32_t lm_logprobs(const float *logits, uint32_t count, uint32_t chosen, uint32_t top,
                     lm_logprob rows[1 + LM_LOGPROBS_MAX]);

#endif
