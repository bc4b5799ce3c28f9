#ifndef DEAI_PLUGINS_COMPUTE_LM_MODEL_H
#define DEAI_PLUGINS_COMPUTE_LM_MODEL_H

#include "error.h"

#include "deai/types.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An lm_model is what a GGUF file says about one language model of architecture `llama`: shape,
   tokenizer, chat template, norm weights and RoPE table are in memory, matrices stay in the file.

     open --> ready --read (each matrix once, by the backend)--> ready --> close

   The matrices travel once from the file to the device through lm_model_read, in blocks of 32
   weights of one of three formats; F32 and F16 matrices are re-quantised on the way (arithmetic.md
   M7). Every block is checked on that way, and the tensor exponent xT (M6) is computed from the
   very bytes handed out, so a file that changes while it is read cannot break the bound.

   Threads  [any] for the getters; lm_model_read by one thread at a time.
   Memory   The model owns all it returns until lm_model_close. It keeps its own descriptor.
   Limits   The LM_MODEL_*_MAX below; a file beyond them is refused by name.
   Caveats  Row r of a matrix is the r-th output; weights of a row run along the input. */

#define LM_MODEL_LAYERS_MAX   256
#define LM_MODEL_WIDTH_MAX    32768 /* embedding and feed-forward length */
#define LM_MODEL_VOCAB_MAX    1048576
#define LM_MODEL_CTX_MAX      131072
#define LM_MODEL_HEAD_DIM_MAX 128

/* The number of the rule set (arithmetic.md) that every result of this build follows. */
#define LM_RULES 1

/* Formats of a matrix as handed out by lm_model_read, numbered as in GGUF. A block is 32 weights:
   Q4_0  18 bytes: f16 d, 16 bytes; weight i < 16 = low nibble of byte i, i + 16 = high; (q - 8) d
   Q4_1  20 bytes: f16 d, f16 m, 16 bytes as above; q d + m
   Q8_0  34 bytes: f16 d, 32 x int8; q d */
typedef enum lm_format { LM_Q4_0 = 2, LM_Q4_1 = 3, LM_Q8_0 = 8 } lm_format;

/* The matrices of one layer: q, k, v, attention output, gate, up and down of the feed-forward. */
typedef enum lm_weight {
  LM_ATTN_Q,
  LM_ATTN_K,
  LM_ATTN_V,
  LM_ATTN_OUT,
  LM_FFN_GATE,
  LM_FFN_UP,
  LM_FFN_DOWN,
  LM_WEIGHT_COUNT
} lm_weight;

typedef struct lm_matrix {
  lm_format format;
  uint32_t rows;
  uint32_t cols;  /* a multiple of 32 */
  uint32_t index; /* of the tensor in the file: equal pointers and equal indexes mean one tensor */
} lm_matrix;

typedef struct lm_shape {
  uint32_t layers;
  uint32_t embd; /* width of the residual stream */
  uint32_t ffn;
  uint32_t heads;
  uint32_t kv_heads; /* divides heads: query head h reads kv head h / (heads / kv_heads) */
  uint32_t head_dim; /* a multiple of 32 */
  uint32_t rope_dim; /* even, <= head_dim: the first rope_dim values of a head are rotated */
  uint32_t vocab;
  uint32_t ctx;     /* positions the model was made for, or the lower cap given at open */
  float eps;        /* of RMSNorm, F5 */
  float head_scale; /* 1 / sqrt(head_dim), A1 */
} lm_shape;

typedef struct lm_model lm_model;
struct lm_tokenizer;

/* lm_block_bytes returns the bytes of one block of 32 weights: 18, 20 or 34. */
uint32_t lm_block_bytes(lm_format format);

/* lm_model_open reads the header of the GGUF file behind descriptor (which it duplicates) and
   everything but the matrices. ctx_max caps the context, 0 = as the model says. DEAI_EINVAL for a
   broken file, DEAI_EUNSUPPORTED for a sound one of an unknown kind, DEAI_EIO, DEAI_ENOMEM.
   [worker] */
DEAI_MUST_CHECK int32_t lm_model_open(int descriptor, uint32_t ctx_max, lm_model **model_out,
                                      lm_error *error);

/* lm_model_close frees the model and all it returned; NULL is fine. */
void lm_model_close(lm_model *model);

/* lm_model_watch lets reads of the matrices end early: once *stop is true, lm_model_read answers
   DEAI_ECANCELLED. stop outlives the model, or the next watch; NULL = never. */
void lm_model_watch(lm_model *model, const atomic_bool *stop);

/* lm_model_shape returns the hyper-parameters. */
const lm_shape *lm_model_shape(const lm_model *model);

/* lm_model_matrix returns a matrix of layer (< layers). */
const lm_matrix *lm_model_matrix(const lm_model *model, uint32_t layer, lm_weight weight);

/* lm_model_embedding returns the token embedding, vocab rows of embd. */
const lm_matrix *lm_model_embedding(const lm_model *model);

/* lm_model_output returns the output matrix: the same pointer as lm_model_embedding when tied. */
const lm_matrix *lm_model_output(const lm_model *model);

/* lm_model_attn_norm returns the embd weights of the norm before the attention of layer, past
   N3. */
const float *lm_model_attn_norm(const lm_model *model, uint32_t layer);

/* lm_model_ffn_norm returns the embd weights of the norm before the feed-forward of layer. */
const float *lm_model_ffn_norm(const lm_model *model, uint32_t layer);

/* lm_model_output_norm returns the embd weights of the last norm. */
const float *lm_model_output_norm(const lm_model *model);

/* lm_model_rope returns the RoPE table (F8): for position p and pair i < rope_dim / 2 the cosine at
   [(p * rope_dim / 2 + i) * 2] and the sine behind it; pair i is the adjacent values 2i, 2i + 1. */
const float *lm_model_rope(const lm_model *model);

/* lm_model_tokenizer returns the tokenizer of the file (tokenizer.h). */
const struct lm_tokenizer *lm_model_tokenizer(const lm_model *model);

/* lm_model_template returns the text of the chat template, empty when the file has none. */
deai_str lm_model_template(const lm_model *model);

/* lm_model_name returns general.name, or "unnamed". */
deai_str lm_model_name(const lm_model *model);

/* lm_model_ends tells whether token id ends an answer: the end-of-turn and end-of-text tokens of
   the file and of its chat template. */
bool lm_model_ends(const lm_model *model, uint32_t id);

/* An lm_matrix_sink takes row_count whole rows from first_row on, blocks of the matrix's format one
   after the other, valid during the call. A negative answer ends the read with that status. */
typedef int32_t lm_matrix_sink(void *user, uint32_t first_row, uint32_t row_count,
                               const uint8_t *blocks);

/* lm_model_read hands all rows of matrix to sink in rising order and sets *exponent_out to xT (M6).
   DEAI_EIO when the file ends early, DEAI_EINVAL for a scale that is Inf or NaN or too large for
   the bound, DEAI_ECANCELLED (lm_model_watch). The device is complete, and xT known, only after
   DEAI_OK. [worker] */
DEAI_MUST_CHECK int32_t lm_model_read(const lm_model *model, const lm_matrix *matrix,
                                      lm_matrix_sink *sink, void *user, int32_t *exponent_out,
                                      lm_error *error);

#endif
