#ifndef DEAI_TESTS_PLUGINS_COMPUTE_LM_TINY_H
#define DEAI_TESTS_PLUGINS_COMPUTE_LM_TINY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A writer of GGUF files for tests: single values, and whole random llama models small enough to
   run in milliseconds. */

typedef struct tiny_file {
  uint8_t *bytes;
  size_t len;
  size_t cap;
} tiny_file;

typedef struct tiny_options {
  uint32_t type; /* of the matrices: 0 F32, 1 F16, 2 Q4_0, 3 Q4_1, 8 Q8_0 */
  uint64_t seed;
  bool untied;          /* an output matrix of its own */
  float loud;           /* factor on the norms; 0 = 1. Large ones provoke faults */
  uint32_t ctx;         /* positions; 0 = TINY_CTX */
  bool mixed;           /* attn_v and ffn_up as Q8_0, whatever the type of the others */
  uint32_t head_dim;    /* of a head, of which all but the last two values are rotated; 0 = 32,
                           all rotated */
  uint32_t vocab_extra; /* more tokens, so that the vocabulary is no multiple of 8 */
} tiny_options;

#define TINY_CTX   160
#define TINY_EMBD  64
#define TINY_VOCAB 260 /* 256 bytes, then <|im_start|> <|im_end|> and two merges: ab, abc */
#define TINY_START 256
#define TINY_END   257

/* tiny_put, tiny_u32, tiny_u64 and tiny_text append raw bytes, numbers and a GGUF string. */
void tiny_put(tiny_file *file, const void *bytes, size_t len);
void tiny_u32(tiny_file *file, uint32_t value);
void tiny_u64(tiny_file *file, uint64_t value);
void tiny_text(tiny_file *file, const char *text);

/* tiny_head appends magic, version 3 and the two counts. */
void tiny_head(tiny_file *file, uint64_t tensors, uint64_t keys);

/* tiny_key_u32, tiny_key_f32 and tiny_key_text append one key. */
void tiny_key_u32(tiny_file *file, const char *key, uint32_t value);
void tiny_key_f32(tiny_file *file, const char *key, float value);
void tiny_key_text(tiny_file *file, const char *key, const char *value);

/* tiny_model appends a whole model; the chat template is the text of template, or none for NULL. */
void tiny_model(tiny_file *file, const tiny_options *options, const char *template);

/* tiny_save writes the file into the private folder and returns its path (of name). */
const char *tiny_save(const tiny_file *file, const char *name);

/* tiny_open writes the file under an unlinked name and returns a descriptor to read it. */
int tiny_open(const tiny_file *file);

/* tiny_free frees the bytes and leaves the file empty. */
void tiny_free(tiny_file *file);

/* tiny_random returns the next of a stream of numbers (splitmix64). */
uint64_t tiny_random(uint64_t *state);

#endif
