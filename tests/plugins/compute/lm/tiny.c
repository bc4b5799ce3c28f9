#include "tiny.h"

#include "tests/testing.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

#define LAYERS   2
#define HEADS    2
#define KV_HEADS 1
#define HEAD_DIM 32
#define FFN      96

uint64_t tiny_random(uint64_t *state) {
  uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}

void tiny_put(tiny_file *file, const void *bytes, size_t len) {
  if (file->len + len > file->cap) {
    file->cap = 2 * (file->len + len);
    file->bytes = realloc(file->bytes, file->cap);
    ck_assert_ptr_nonnull(file->bytes);
  }
  if (len > 0) memcpy(file->bytes + file->len, bytes, len);
  file->len += len;
}

void tiny_u32(tiny_file *file, uint32_t value) {
  tiny_put(file, &value, sizeof value);
}

void tiny_u64(tiny_file *file, uint64_t value) {
  tiny_put(file, &value, sizeof value);
}

void tiny_text(tiny_file *file, const char *text) {
  tiny_u64(file, strlen(text));
  tiny_put(file, text, strlen(text));
}

void tiny_head(tiny_file *file, uint64_t tensors, uint64_t keys) {
  tiny_put(file, "GGUF", 4);
  tiny_u32(file, 3);
  tiny_u64(file, tensors);
  tiny_u64(file, keys);
}

void tiny_key_u32(tiny_file *file, const char *key, uint32_t value) {
  tiny_text(file, key);
  tiny_u32(file, 4);
  tiny_u32(file, value);
}

void tiny_key_f32(tiny_file *file, const char *key, float value) {
  tiny_text(file, key);
  tiny_u32(file, 6);
  tiny_put(file, &value, sizeof value);
}

void tiny_key_text(tiny_file *file, const char *key, const char *value) {
  tiny_text(file, key);
  tiny_u32(file, 8);
  tiny_text(file, value);
}

static void put_point(tiny_file *file, uint32_t point) {
  uint8_t two[2] = {(uint8_t)(0xC0 | point >> 6), (uint8_t)(0x80 | (point & 63))};
  uint8_t one = (uint8_t)point;
  tiny_u64(file, point < 128 ? 1 : 2);
  tiny_put(file, point < 128 ? &one : two, point < 128 ? 1 : 2);
}

/* Token b is byte b in the printable alphabet of GPT-2. */
static void put_byte_tokens(tiny_file *file) {
  uint32_t next = 256;
  for (uint32_t byte = 0; byte < 256; byte++) {
    bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    put_point(file, printable ? byte : next++);
  }
}

static void put_tokens(tiny_file *file, uint32_t extra) {
  char name[32];
  tiny_text(file, "tokenizer.ggml.tokens");
  tiny_u32(file, 9);
  tiny_u32(file, 8);
  tiny_u64(file, TINY_VOCAB + extra);
  put_byte_tokens(file);
  tiny_text(file, "<|im_start|>");
  tiny_text(file, "<|im_end|>");
  tiny_text(file, "ab");
  tiny_text(file, "abc");
  for (uint32_t i = 0; i < extra; i++) {
    (void)snprintf(name, sizeof name, "extra%u", i);
    tiny_text(file, name);
  }
  tiny_text(file, "tokenizer.ggml.token_type");
  tiny_u32(file, 9);
  tiny_u32(file, 5);
  tiny_u64(file, TINY_VOCAB + extra);
  for (uint32_t i = 0; i < TINY_VOCAB + extra; i++)
    tiny_u32(file, i == TINY_START || i == TINY_END ? 3 : 1);
  tiny_text(file, "tokenizer.ggml.merges");
  tiny_u32(file, 9);
  tiny_u32(file, 8);
  tiny_u64(file, 2);
  tiny_text(file, "a b");
  tiny_text(file, "ab c");
}

static uint64_t matrix_bytes(uint32_t type, uint64_t count) {
  if (type == 0) return 4 * count;
  if (type == 1) return 2 * count;
  return count / 32 * (type == 2 ? 18 : type == 3 ? 20 : 34);
}

static float small_value(uint64_t *seed) {
  return (float)((int64_t)(tiny_random(seed) >> 40) - (1 << 23)) * 0x1p-25f;
}

/* A positive or negative f16 between about 2^-8 and 2^-6, now and then subnormal or zero. */
static uint16_t small_half(uint64_t *seed, bool any_sign) {
  uint64_t r = tiny_random(seed);
  uint16_t sign = any_sign && (r >> 20 & 1) != 0 ? 0x8000 : 0;
  if (r % 37 == 0) return (uint16_t)(sign | (r >> 24 & 0xff));
  return (uint16_t)(sign | ((7 + (r >> 32) % 2) << 10) | (r >> 40 & 0x3ff));
}

static void put_weights(tiny_file *file, uint32_t type, uint64_t count, uint64_t *seed) {
  for (uint64_t i = 0; type == 0 && i < count; i++) {
    float value = small_value(seed);
    tiny_put(file, &value, 4);
  }
  for (uint64_t i = 0; type == 1 && i < count; i++) {
    uint16_t value = small_half(seed, true);
    value = (uint16_t)(value + (3 << 10)); /* 2^-5 to 2^-3 */
    tiny_put(file, &value, 2);
  }
  for (uint64_t block = 0; type >= 2 && block < count / 32; block++) {
    uint16_t d = small_half(seed, true);
    if (type == 8) d = (uint16_t)(d - (3 << 10 & (d & 0x7c00)));
    tiny_put(file, &d, 2);
    uint16_t m = (uint16_t)((d ^ 0x8000) + ((d & 0x7c00) != 0 ? 3 << 10 : 0)); /* about -8 d */
    if (type == 3) tiny_put(file, &m, 2);
    for (uint32_t i = 0; i < (type == 8 ? 32 : 16); i++) {
      uint8_t q = (uint8_t)(tiny_random(seed) >> 50);
      tiny_put(file, &q, 1);
    }
  }
}

typedef struct tensor {
  char name[64];
  uint32_t type;
  uint64_t cols;
  uint64_t rows; /* 0 = a vector */
} tensor;

static uint64_t head_dim_of(const tiny_options *options) {
  return options->head_dim == 0 ? HEAD_DIM : options->head_dim;
}

static uint32_t layer_tensors(tensor *out, uint32_t layer, const tiny_options *options) {
  uint64_t head_dim = head_dim_of(options);
  const struct {
    const char *name;
    uint64_t cols;
    uint64_t rows;
  } parts[] = {{"attn_norm", TINY_EMBD, 0},
               {"ffn_norm", TINY_EMBD, 0},
               {"attn_q", TINY_EMBD, HEADS * head_dim},
               {"attn_k", TINY_EMBD, KV_HEADS * head_dim},
               {"attn_v", TINY_EMBD, KV_HEADS * head_dim},
               {"attn_output", HEADS * head_dim, TINY_EMBD},
               {"ffn_gate", TINY_EMBD, FFN},
               {"ffn_up", TINY_EMBD, FFN},
               {"ffn_down", FFN, TINY_EMBD}};
  uint32_t count = sizeof parts / sizeof parts[0];
  for (uint32_t i = 0; i < count; i++) {
    bool other = strcmp(parts[i].name, "attn_v") == 0 || strcmp(parts[i].name, "ffn_up") == 0;
    uint32_t type = options->mixed && other ? 8 : options->type;
    out[i] = (tensor){
        .type = parts[i].rows == 0 ? 0 : type, .cols = parts[i].cols, .rows = parts[i].rows};
    (void)snprintf(out[i].name, sizeof out[i].name, "blk.%u.%s.weight", layer, parts[i].name);
  }
  return count;
}

static uint32_t all_tensors(tensor *out, const tiny_options *options) {
  uint32_t vocab = TINY_VOCAB + options->vocab_extra;
  uint32_t count = 0;
  out[count++] = (tensor){
      .name = "token_embd.weight", .type = options->type, .cols = TINY_EMBD, .rows = vocab};
  out[count++] = (tensor){.name = "output_norm.weight", .type = 0, .cols = TINY_EMBD};
  if (options->untied)
    out[count++] =
        (tensor){.name = "output.weight", .type = options->type, .cols = TINY_EMBD, .rows = vocab};
  for (uint32_t layer = 0; layer < LAYERS; layer++)
    count += layer_tensors(out + count, layer, options);
  return count;
}

static void put_keys(tiny_file *file, const tiny_options *options, const char *template) {
  tiny_key_text(file, "general.architecture", "llama");
  tiny_key_u32(file, "llama.block_count", LAYERS);
  tiny_key_u32(file, "llama.context_length", options->ctx == 0 ? TINY_CTX : options->ctx);
  tiny_key_u32(file, "llama.embedding_length", TINY_EMBD);
  tiny_key_u32(file, "llama.feed_forward_length", FFN);
  tiny_key_u32(file, "llama.attention.head_count", HEADS);
  tiny_key_u32(file, "llama.attention.head_count_kv", KV_HEADS);
  tiny_key_f32(file, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
  tiny_key_f32(file, "llama.rope.freq_base", 10000.0f);
  if (options->head_dim != 0) {
    tiny_key_u32(file, "llama.attention.key_length", options->head_dim);
    tiny_key_u32(file, "llama.rope.dimension_count", options->head_dim - 2);
  }
  tiny_key_text(file, "tokenizer.ggml.model", "gpt2");
  tiny_key_text(file, "tokenizer.ggml.pre", "smollm");
  tiny_key_u32(file, "tokenizer.ggml.eos_token_id", TINY_END);
  put_tokens(file, options->vocab_extra);
  if (template != NULL) tiny_key_text(file, "tokenizer.chat_template", template);
}

static void pad(tiny_file *file, size_t start) {
  static const uint8_t zeros[32];
  tiny_put(file, zeros, (32 - (file->len - start) % 32) % 32);
}

static void put_tensor(tiny_file *file, const tensor *t, const tiny_options *options,
                       uint64_t *seed) {
  float loud = options->loud > 0.0f ? options->loud : 1.0f;
  if (t->rows > 0) put_weights(file, t->type, t->cols * t->rows, seed);
  for (uint64_t i = 0; t->rows == 0 && i < t->cols; i++) {
    float norm = (1.0f + small_value(seed)) * loud;
    tiny_put(file, &norm, 4);
  }
}

void tiny_model(tiny_file *file, const tiny_options *options, const char *template) {
  tensor tensors[3 + 9 * LAYERS];
  uint32_t count = all_tensors(tensors, options);
  uint64_t seed = options->seed;
  uint64_t offset = 0;
  size_t start = file->len;
  tiny_head(file, count, (template == NULL ? 15u : 16u) + (options->head_dim == 0 ? 0u : 2u));
  put_keys(file, options, template);
  for (uint32_t i = 0; i < count; i++) {
    const tensor *t = &tensors[i];
    uint64_t weights = t->cols * (t->rows == 0 ? 1 : t->rows);
    tiny_text(file, t->name);
    tiny_u32(file, t->rows == 0 ? 1 : 2);
    tiny_u64(file, t->cols);
    if (t->rows != 0) tiny_u64(file, t->rows);
    tiny_u32(file, t->type);
    tiny_u64(file, offset);
    offset += (matrix_bytes(t->type, weights) + 31) / 32 * 32;
  }
  pad(file, start);
  for (uint32_t i = 0; i < count; i++) {
    put_tensor(file, &tensors[i], options, &seed);
    pad(file, start);
  }
}

const char *tiny_save(const tiny_file *file, const char *name) {
  static char path[4200];
  (void)snprintf(path, sizeof path, "%s/%s", testing_folder(), name);
  FILE *out = fopen(path, "w");
  ck_assert_ptr_nonnull(out);
  if (file->len > 0) ck_assert_uint_eq(fwrite(file->bytes, 1, file->len, out), file->len);
  ck_assert_int_eq(fclose(out), 0);
  return path;
}

int tiny_open(const tiny_file *file) {
  const char *path = tiny_save(file, "tiny.gguf");
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  ck_assert_int_ge(descriptor, 0);
  (void)unlink(path);
  return descriptor;
}

void tiny_free(tiny_file *file) {
  free(file->bytes);
  *file = (tiny_file){0};
}
