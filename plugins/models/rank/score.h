#ifndef DEAI_PLUGINS_MODELS_RANK_SCORE_H
#define DEAI_PLUGINS_MODELS_RANK_SCORE_H

#include "deai/contracts/rank.h"

#include <stdbool.h>

/* What this node has seen of others, one rank_row for a node and a service, and the score made of
   it. Integers only: the same observations give the same score everywhere.

     score = success x speed x honesty        each 0..10^6, and so is the score
     success   share of calls that were answered
     speed     RANK_FIRST_HALF_MS / (RANK_FIRST_HALF_MS + mean time to the first part)
     honesty   10^6, a sixteenth of it after an unequal audit; each equal one gives back 1/window of
               what is missing

   Means forget: the i-th observation weighs 1/min(i, window) (exponential decay by count). A node
   that was never seen scores as one that answers three of four calls in RANK_FIRST_MS, so that it
   is tried.

   Threads  [any], one thread a table.
   Memory   A rank_table owns its rows.
   Limits   RANK_ROWS_MAX rows; the one seen longest ago makes room.
   Caveats  An observation names no model, so the model of a question changes nothing. */

#define RANK_ROWS_MAX      1024u
#define RANK_MICRO         1000000u
#define RANK_FIRST_MS      500u
#define RANK_FIRST_HALF_MS 1000u
#define RANK_WHY_MAX       160u /* 256 rows of an answer share a head of 64 KiB */

typedef struct rank_row {
  uint8_t node[DEAI_KEY_BYTES];
  deai_str service; /* lies in service_text, or in what was decoded */
  uint64_t calls;
  uint64_t ok;
  uint64_t units;
  uint64_t paid;
  uint64_t success;  /* 10^-6 */
  uint64_t first_ms; /* mean, 10^-3 ms, of answered calls */
  uint64_t honesty;  /* 10^-6 */
  uint64_t equal;
  uint64_t unequal;
  uint64_t seen; /* number of the observation, over all rows */
  char service_text[DEAI_NAME_MAX];
} rank_row;

typedef struct rank_table {
  rank_row *rows; /* RANK_ROWS_MAX */
  uint32_t count;
  uint64_t window;
  uint64_t clock; /* observations so far */
} rank_table;

/* rank_table_open makes an empty table. DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t rank_table_open(rank_table *table, uint64_t window);

/* rank_table_close frees the rows. */
void rank_table_close(rank_table *table);

/* rank_observe takes one observation. */
void rank_observe(rank_table *table, const deai_rank_observe *observed);

/* rank_score returns the score of node for service and writes why. */
uint64_t rank_score(const rank_table *table, const uint8_t node[DEAI_KEY_BYTES], deai_str service,
                    char why[RANK_WHY_MAX]);

/* rank_encode writes the table into fresh memory (free it). DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t rank_encode(const rank_table *table, uint8_t **ptr_out, uint64_t *len_out);

/* rank_decode fills an empty table with what rank_encode wrote. DEAI_EINVAL and a reason in err:
   the table is then empty. */
DEAI_MUST_CHECK int32_t rank_decode(rank_table *table, deai_bytes bytes, char *err,
                                    uint32_t err_cap);

#endif
