#ifndef DEAI_PLUGINS_COMPUTE_LM_TOKENIZER_H
#define DEAI_PLUGINS_COMPUTE_LM_TOKENIZER_H

#include "error.h"

#include "deai/types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An lm_tokenizer is the byte-level BPE of a GGUF file (tokenizer.ggml.model = gpt2) with the
   pre-splitters `smollm` and `gpt-2`; others are refused by name.

   A text is a list of parts. Control tokens are looked for only inside a part marked special (the
   template's own text); ordinary text never becomes a control token, whatever it says. Parts that
   touch are one text for the splitter, so ids are those of the whole text.

   Threads  [any]; a tokenizer does not change after open.
   Memory   lm_ids is a growing array of the caller, freed with lm_ids_free.
   Limits   LM_TOKENIZER_TEXT_MAX bytes of text; time grows as n log n on any text.
   Caveats  A byte for which the vocabulary has no token is dropped, as in the original tokenizers.
            No BOS is added. */

#define LM_TOKENIZER_TEXT_MAX (4u << 20)

/* Types of tokens in tokenizer.ggml.token_type. */
enum { LM_TOKEN_NORMAL = 1, LM_TOKEN_UNKNOWN = 2, LM_TOKEN_CONTROL = 3, LM_TOKEN_USER = 4 };

typedef struct lm_tokenizer lm_tokenizer;

typedef struct lm_part {
  deai_bytes text;
  bool special; /* control tokens in text are parsed */
} lm_part;

typedef struct lm_ids {
  uint32_t *ptr;
  size_t len;
  size_t cap;
} lm_ids;

typedef struct lm_tokenizer_source { /* what lm_tokenizer_open reads; borrowed during the call */
  deai_str model;                    /* tokenizer.ggml.model */
  deai_str pre;                      /* tokenizer.ggml.pre */
  const deai_str *tokens;
  const int32_t *types; /* token_count of them, or NULL = all normal */
  uint32_t token_count;
  const deai_str *merges; /* "left right", best first */
  uint32_t merge_count;
} lm_tokenizer_source;

/* lm_tokenizer_open builds the tables. DEAI_EUNSUPPORTED for an unknown model or pre, DEAI_EINVAL
   for a merge without its two halves, DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t lm_tokenizer_open(const lm_tokenizer_source *source,
                                          lm_tokenizer **tokenizer_out, lm_error *error);

/* lm_tokenizer_close frees it; NULL is fine. */
void lm_tokenizer_close(lm_tokenizer *tokenizer);

/* lm_tokenizer_count returns the number of tokens. */
uint32_t lm_tokenizer_count(const lm_tokenizer *tokenizer);

/* lm_tokenizer_encode appends the ids of the parts to ids. DEAI_ETOOLARGE beyond the limit,
   DEAI_ENOMEM; ids is then unchanged in length. */
DEAI_MUST_CHECK int32_t lm_tokenizer_encode(const lm_tokenizer *tokenizer, const lm_part *parts,
                                            size_t part_count, lm_ids *ids);

/* lm_tokenizer_bytes returns the bytes token id stands for; none for a control token, an unknown
   one or an id outside the vocabulary. Lives as long as the tokenizer. */
deai_bytes lm_tokenizer_bytes(const lm_tokenizer *tokenizer, uint32_t id);

/* lm_tokenizer_type returns LM_TOKEN_...; 0 for an id outside the vocabulary. */
int32_t lm_tokenizer_type(const lm_tokenizer *tokenizer, uint32_t id);

/* lm_tokenizer_find returns the id of the control or user token with exactly this text, or -1. */
int64_t lm_tokenizer_find(const lm_tokenizer *tokenizer, deai_str text);

/* lm_ids_push appends one id; DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t lm_ids_push(lm_ids *ids, uint32_t id);

/* lm_ids_free frees the array and leaves it empty. */
void lm_ids_free(lm_ids *ids);

#endif
