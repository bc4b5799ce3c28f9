#ifndef DEAI_PLUGINS_COMPUTE_LM_SPLIT_H
#define DEAI_PLUGINS_COMPUTE_LM_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An lm_split cuts a text into the words that byte-pair merges stay within: the pattern of gpt-2

     's 't 're 've 'm 'll 'd | ?\p{L}+ | ?\p{N}+ | ?[^\s\p{L}\p{N}]+ | \s+(?!\S) | \s+

   and `smollm`, which first isolates each \p{N} and then applies that pattern to what lies between.
   Categories are those of utf8proc; \s is the property White_Space. A byte that is no part of valid
   UTF-8 counts as one character of neither class.

   Threads  [any], one thread a split.
   Memory   Borrows the text. Nothing is allocated; time is linear in the text. */

typedef struct lm_split {
  const uint8_t *text;
  size_t len;
  size_t at;           /* start of the next word */
  size_t fragment_end; /* the pattern does not look beyond */
  bool single_numbers; /* smollm */
} lm_split;

/* lm_split_next sets *start_out and *end_out to the next word; false at the end of the text. */
bool lm_split_next(lm_split *split, size_t *start_out, size_t *end_out);

/* lm_utf8_length returns the length of the valid UTF-8 character at text (len >= 1 bytes follow)
   and sets *point_out, or returns 0 when there is none. */
size_t lm_utf8_length(const uint8_t *text, size_t len, uint32_t *point_out);

#endif
