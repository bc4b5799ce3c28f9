#ifndef DEAI_PLUGINS_COMPUTE_LM_COLUMNS_H
#define DEAI_PLUGINS_COMPUTE_LM_COLUMNS_H

#include "backend.h"

/* What the caches of all backends have in common: whose they are and how far they are filled, and
   the check of columns against that (backend.h, forward). The struct lm_cache of a backend begins
   with an lm_cache_head.

   Threads  As backend.h: one call at a time on a backend and its caches. */

typedef struct lm_cache_head {
  lm_backend *owner;
  uint32_t positions; /* asked for */
  uint32_t length;    /* written */
} lm_cache_head;

/* lm_columns_ok tells whether count columns may be computed by owner, a model of vocab tokens: each
   has a cache of owner, a token of the vocabulary and the next position of its cache. */
bool lm_columns_ok(const lm_backend *owner, uint32_t vocab, const lm_column *columns,
                   uint32_t count);

/* lm_columns_done counts checked columns that were computed into the length of their caches. */
void lm_columns_done(const lm_column *columns, uint32_t count);

/* lm_columns_truncate is cache_truncate of backend.h. */
void lm_columns_truncate(lm_cache *cache, uint32_t length);

#endif
