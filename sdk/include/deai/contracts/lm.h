#ifndef DEAI_CONTRACTS_LM_H
#define DEAI_CONTRACTS_LM_H

#include "deai/codec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* deai.lm/1-draft: language models with one exact arithmetic (docs/formats.md 5, arithmetic.md).

   method    class   arguments  body of the CALL          parts and END
   models    guest   {}         -                         END lm_models_end
   encode    guest   lm_encode  the texts, one after the  bodies: ids, u32 little-endian each
                                other
   generate  guest   lm_job     prompt ids, then forced   parts lm_tokens, END lm_end
                                tokens, u32 each
   replay    member  lm_job     the same, every output    END lm_end with wrong where a token is
                                token in forced           not what the sampler chooses
   load      local   lm_model_ref -                       parts blocks_progress, END {}
   unload    local   lm_model_ref -                       END {}

   Text     A part's text is what its tokens completed: whole UTF-8, and nothing that may still be
            the beginning of a stop string. What is held back comes with the token that settles it,
            the last one at the latest; so joined texts are the answer's, whatever the parts were.
            An incomplete character that cannot be completed becomes U+FFFD.
   Resume   A caller whose provider was lost sends the ids of all parts it got as forced, the same
            prompt, stop strings and sampler, and joins the texts. The new provider runs the same
            filter over the forced tokens without giving out their text, so it stands where the lost
            one stood after the part with the last of them: its first text begins with the bytes
            that were held back there, and the whole is the undisturbed answer to the byte. A part
            that did not arrive whole counts as not delivered, ids and text. If the forced tokens
            already end the answer (max, a stop string, an end token), only the END comes, without
            text: what was held back went out with the last token.
   END      n and root are over all output tokens. After a cancel or an error they are over the
            tokens that were sent as parts, so that they can be replayed; finish is then "cancel",
            or absent for an error.
   Root     RFC 6962 tree over all output positions (forced ones too); leaf(i) =
            H(0x00 || u32 i || u32 token || H(hidden) || H(logits)), H = SHA-256, hidden = after the
            last norm, both float32 little-endian, of the position token i was chosen from. */

#define DEAI_LM_SERVICE      "deai.lm/1-draft"
#define DEAI_LM_RULES        1u      /* number of the arithmetic (docs/arithmetic.md) */
#define DEAI_LM_IDS_MAX      262144u /* prompt ids */
#define DEAI_LM_STOP_MAX     16u     /* stop strings */
#define DEAI_LM_LOGPROBS_MAX 20u
#define DEAI_LM_AHEAD        16u /* tokens a worker may be ahead of the voucher */

typedef struct deai_lm_model {
  uint64_t ctx;
  uint64_t load;
  deai_str name;
  deai_bytes model; /* CID of the file */
  uint64_t price_in;
  uint8_t template_hash[DEAI_HASH_BYTES];
  uint64_t price_out;
} deai_lm_model;

typedef struct deai_lm_models_end {
  deai_list models; /* deai_lm_model */
} deai_lm_models_end;

typedef struct deai_lm_model_ref {
  deai_bytes model;
} deai_lm_model_ref;

typedef struct deai_lm_text {
  uint64_t len;
  uint8_t special;
} deai_lm_text;

typedef struct deai_lm_encode {
  deai_bytes model;
  deai_list parts; /* deai_lm_text */
} deai_lm_encode;

typedef struct deai_lm_sampler {
  uint64_t k; /* 0 = off */
  uint64_t p; /* 10^-6; 1000000 = off */
  uint64_t t; /* 10^-6; 0 = greedy */
  uint64_t seed;
} deai_lm_sampler;

typedef struct deai_lm_job {
  uint64_t ids;
  uint64_t max;
  deai_list stop; /* deai_bytes */
  deai_bytes model;
  uint64_t forced;
  deai_lm_sampler sampler;
  uint64_t logprobs;
} deai_lm_job;

typedef struct deai_lm_logprob {
  uint64_t id;
  int64_t logprob; /* 10^-6 */
} deai_lm_logprob;

typedef struct deai_lm_logprobs { /* of one token: the chosen one first */
  deai_list items;                /* deai_lm_logprob */
} deai_lm_logprobs;

typedef struct deai_lm_tokens { /* has: 1 lp */
  uint64_t has;
  deai_list lp;    /* deai_lm_logprobs, one a token */
  deai_list ids;   /* uint64_t */
  deai_bytes text; /* never ends inside a UTF-8 sequence */
} deai_lm_tokens;
#define DEAI_LM_TOKENS_HAS_LP 1u

typedef enum deai_lm_finish {
  DEAI_LM_STOP = 0,
  DEAI_LM_LENGTH = 1,
  DEAI_LM_CANCEL = 2
} deai_lm_finish;

typedef struct deai_lm_end { /* has bits by field order n root model rules wrong finish sampler */
  uint64_t has;
  uint64_t n;
  uint8_t root[DEAI_HASH_BYTES];
  deai_bytes model;
  uint64_t rules;
  uint64_t wrong;
  uint32_t finish;
  deai_lm_sampler sampler;
} deai_lm_end;
#define DEAI_LM_END_HAS_WRONG  16u
#define DEAI_LM_END_HAS_FINISH 32u

/* What a node record says of lm: models served and their price a token. */
typedef struct deai_lm_offer {
  deai_list models; /* deai_bytes: CIDs */
  uint64_t price_in;
  uint64_t price_out;
} deai_lm_offer;

extern const deai_table deai_lm_model_table;
extern const deai_table deai_lm_models_end_table;
extern const deai_table deai_lm_model_ref_table;
extern const deai_table deai_lm_encode_table;
extern const deai_table deai_lm_sampler_table;
extern const deai_table deai_lm_job_table;
extern const deai_table deai_lm_tokens_table;
extern const deai_table deai_lm_end_table;
extern const deai_table deai_lm_offer_table;

#ifdef __cplusplus
}
#endif

#endif
