#ifndef DEAI_PLUGINS_COMPUTE_LM_ERROR_H
#define DEAI_PLUGINS_COMPUTE_LM_ERROR_H

#include "deai/status.h"

/* An lm_error carries the text of one refusal: what was expected, what was found, what to do.

   Threads  [any], one error at a time by one thread.
   Memory   The caller owns it; lm_fail never allocates.
   Limits   A longer text is cut at LM_ERROR_BYTES - 1 bytes. */

#define LM_ERROR_BYTES 256

typedef struct lm_error {
  char text[LM_ERROR_BYTES]; /* always ends in a zero once lm_fail has run */
} lm_error;

/* lm_fail writes the text (printf form) into error, which may be NULL, and returns status. */
int32_t lm_fail(lm_error *error, int32_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
