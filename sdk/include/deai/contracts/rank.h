#ifndef DEAI_CONTRACTS_RANK_H
#define DEAI_CONTRACTS_RANK_H

#include "deai/codec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* deai.rank/1-draft: local scores of nodes (docs/formats.md 5). Class local.

   method   arguments     END
   score    rank_score    rank_scores
   observe  rank_observe  {} */

#define DEAI_RANK_SERVICE   "deai.rank/1-draft"
#define DEAI_RANK_NODES_MAX 256u

typedef struct deai_rank_key {
  uint8_t key[DEAI_KEY_BYTES];
} deai_rank_key;

typedef struct deai_rank_score { /* has: 0 model */
  uint64_t has;
  deai_bytes model;
  deai_list nodes; /* deai_rank_key */
  deai_str service;
} deai_rank_score;
#define DEAI_RANK_SCORE_HAS_MODEL 1u

typedef struct deai_rank_row {
  deai_str why;
  uint8_t node[DEAI_KEY_BYTES];
  uint64_t score; /* 10^-6 */
} deai_rank_row;

typedef struct deai_rank_scores {
  deai_list scores; /* deai_rank_row */
} deai_rank_scores;

typedef enum deai_rank_audit {
  DEAI_RANK_NONE = 0,
  DEAI_RANK_EQUAL = 1,
  DEAI_RANK_UNEQUAL = 2
} deai_rank_audit;

typedef struct deai_rank_observe {
  uint64_t n; /* units delivered */
  uint8_t ok;
  uint8_t node[DEAI_KEY_BYTES];
  uint64_t paid;
  uint32_t audit;
  deai_str service;
  uint64_t first_ms; /* to the first part */
} deai_rank_observe;

extern const deai_table deai_rank_score_table;
extern const deai_table deai_rank_scores_table;
extern const deai_table deai_rank_observe_table;

#ifdef __cplusplus
}
#endif

#endif
