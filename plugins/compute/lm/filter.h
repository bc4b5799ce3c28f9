#ifndef DEAI_PLUGINS_COMPUTE_LM_FILTER_H
#define DEAI_PLUGINS_COMPUTE_LM_FILTER_H

#include "deai/status.h"
#include "deai/types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An lm_filter turns the bytes of tokens into text that may be given out: whole UTF-8 only, and
   nothing that may still turn out to be the beginning of a stop string.

     bytes --UTF-8 gate--> held text --no stop can begin here--> out

   A byte that cannot become a character gives one U+FFFD for its longest valid beginning (Unicode
   3.9, practice of W3C). What goes out depends on all bytes and on where feed was called, so two
   nodes that feed token by token give out the same pieces.

   Threads  [any], one thread a filter.
   Memory   Owns its buffers; lm_filter_close frees them. The stop strings are borrowed.
   Caveats  After a stop string was found feed gives nothing more. */

typedef struct lm_filter {
  const deai_bytes *stops;
  uint32_t stop_count;
  uint8_t pending[4]; /* valid beginning of a character */
  uint32_t pending_len;
  uint8_t *held; /* whole characters; out_len of them went out with the last call */
  size_t held_len;
  size_t held_cap;
  size_t out_len;
  bool stopped;
} lm_filter;

/* lm_filter_open prepares filter for stop_count non-empty stop strings, which outlive it. */
void lm_filter_open(lm_filter *filter, const deai_bytes *stops, uint32_t stop_count);

/* lm_filter_close frees the buffers. */
void lm_filter_close(lm_filter *filter);

/* lm_filter_feed takes the bytes of one token and sets *out to the text that may go out, valid
   until the next call. *out ends before a stop string when one was found (filter->stopped).
   DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t lm_filter_feed(lm_filter *filter, deai_bytes bytes, deai_bytes *out);

/* lm_filter_flush sets *out to all that was held back: the answer ends here. DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t lm_filter_flush(lm_filter *filter, deai_bytes *out);

#endif
