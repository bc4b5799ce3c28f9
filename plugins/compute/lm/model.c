#include "model.h"

#include "exact.h"
#include "gguf.h"
#include "template.h"
#include "tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define ENDS_MAX    8
#define CHUNK_BYTES (1u << 20) /* of a read on the way to the device, but at least one row */
#define EPS_MIN     0x1p-40

struct lm_model {
  lm_gguf *gguf;
  lm_shape shape;
  lm_matrix *matrices; /* layer by layer, then embedding, then output */
  const lm_matrix *embedding;
  const lm_matrix *output;
  float *norms; /* attention and feed-forward norm of each layer, then the last */
  float *rope;
  lm_tokenizer *tokenizer;
  deai_str chat;
  deai_str name;
  uint32_t ends[ENDS_MAX];
  uint32_t end_count;
  const atomic_bool *stop; /* lm_model_watch */
};

static const char *const weight_names[LM_WEIGHT_COUNT] = {
    "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"};

uint32_t lm_block_bytes(lm_format format) {
  if (format == LM_Q4_0) return 18;
  return format == LM_Q4_1 ? 20 : 34;
}

/* ---- keys ---- */

static int32_t key_uint(const lm_gguf *gguf, const char *key, uint64_t low, uint64_t high,
                        uint32_t *out, lm_error *error) {
  uint64_t value = 0;
  int32_t status = lm_gguf_uint(gguf, key, &value);
  if (status == DEAI_OK && value >= low && value <= high) {
    *out = (uint32_t)value;
    return DEAI_OK;
  }
  if (status == DEAI_OK)
    return lm_fail(error, DEAI_EUNSUPPORTED,
                   "model: %s of %" PRIu64 " to %" PRIu64 " expected, found %" PRIu64
                   "; take another model",
                   key, low, high, value);
  return lm_fail(error, DEAI_EINVAL, "model: a whole number expected in %s, found none", key);
}

static int32_t key_uint_or(const lm_gguf *gguf, const char *key, uint64_t low, uint64_t high,
                           uint32_t absent, uint32_t *out, lm_error *error) {
  uint64_t value;
  *out = absent;
  if (lm_gguf_uint(gguf, key, &value) == DEAI_ENOTFOUND) return DEAI_OK;
  return key_uint(gguf, key, low, high, out, error);
}

static int32_t key_float(const lm_gguf *gguf, const char *key, double low, double high, double *out,
                         lm_error *error) {
  int32_t status = lm_gguf_float(gguf, key, out);
  if (status == DEAI_OK && *out >= low && *out <= high) return DEAI_OK;
  if (status == DEAI_OK)
    return lm_fail(error, DEAI_EUNSUPPORTED, "model: %s of %g to %g expected, found %g", key, low,
                   high, *out);
  return lm_fail(error, DEAI_EINVAL, "model: a number expected in %s, found none", key);
}

/* text_or returns a key that the file may lack. */
static deai_str text_or(const lm_gguf *gguf, const char *key, const char *absent) {
  deai_str text;
  return lm_gguf_text(gguf, key, &text) == DEAI_OK ? text : deai_str_of(absent);
}

static int32_t check_architecture(const lm_gguf *gguf, lm_error *error) {
  deai_str arch = {0};
  if (lm_gguf_text(gguf, "general.architecture", &arch) != DEAI_OK)
    return lm_fail(error, DEAI_EINVAL, "model: general.architecture expected, found none");
  if (!deai_str_eq(arch, deai_str_of("llama")))
    return lm_fail(error, DEAI_EUNSUPPORTED,
                   "model: architecture llama expected, found '%.*s'; take another model",
                   arch.len > 64 ? 64 : (int)arch.len, arch.ptr);
  uint32_t experts;
  return key_uint_or(gguf, "llama.expert_count", 0, 0, 0, &experts, error);
}

static int32_t read_widths(const lm_gguf *gguf, lm_shape *shape, lm_error *error) {
  int32_t status =
      key_uint(gguf, "llama.block_count", 1, LM_MODEL_LAYERS_MAX, &shape->layers, error);
  if (status == DEAI_OK)
    status =
        key_uint(gguf, "llama.embedding_length", LM_BLOCK, LM_MODEL_WIDTH_MAX, &shape->embd, error);
  if (status == DEAI_OK)
    status = key_uint(gguf, "llama.feed_forward_length", LM_BLOCK, LM_MODEL_WIDTH_MAX, &shape->ffn,
                      error);
  if (status == DEAI_OK)
    status = key_uint(gguf, "llama.attention.head_count", 1, shape->embd, &shape->heads, error);
  if (status == DEAI_OK)
    status = key_uint_or(gguf, "llama.attention.head_count_kv", 1, shape->heads, shape->heads,
                         &shape->kv_heads, error);
  return status;
}

static int32_t read_heads(const lm_gguf *gguf, lm_shape *shape, lm_error *error) {
  uint32_t even = shape->embd / shape->heads;
  uint32_t value_length;
  int32_t status = key_uint_or(gguf, "llama.attention.key_length", LM_BLOCK, LM_MODEL_HEAD_DIM_MAX,
                               even, &shape->head_dim, error);
  if (status == DEAI_OK)
    status = key_uint_or(gguf, "llama.attention.value_length", shape->head_dim, shape->head_dim,
                         shape->head_dim, &value_length, error);
  if (status == DEAI_OK)
    status = key_uint_or(gguf, "llama.rope.dimension_count", 2, shape->head_dim, shape->head_dim,
                         &shape->rope_dim, error);
  if (status != DEAI_OK) return status;
  bool ok = shape->embd % LM_BLOCK == 0 && shape->ffn % LM_BLOCK == 0 &&
            shape->head_dim % LM_BLOCK == 0 && shape->head_dim >= LM_BLOCK &&
            shape->head_dim <= LM_MODEL_HEAD_DIM_MAX && shape->rope_dim % 2 == 0 &&
            shape->heads % shape->kv_heads == 0 &&
            shape->heads <= LM_MODEL_WIDTH_MAX / shape->head_dim;
  if (ok) return DEAI_OK;
  return lm_fail(error, DEAI_EUNSUPPORTED,
                 "model: widths and heads (32 to %d) in multiples of 32 expected, found width %u, "
                 "%u; %u heads over %u of %u; take another model",
                 LM_MODEL_HEAD_DIM_MAX, shape->embd, shape->ffn, shape->heads, shape->kv_heads,
                 shape->head_dim);
}

static int32_t read_shape(const lm_gguf *gguf, uint32_t ctx_max, lm_shape *shape, lm_error *error) {
  double eps = 0.0;
  int32_t status = check_architecture(gguf, error);
  if (status == DEAI_OK) status = read_widths(gguf, shape, error);
  if (status == DEAI_OK) status = read_heads(gguf, shape, error);
  if (status == DEAI_OK)
    status =
        key_uint(gguf, "llama.context_length", 1, LM_MODEL_CTX_MAX * 64ull, &shape->ctx, error);
  if (status == DEAI_OK)
    status = key_float(gguf, "llama.attention.layer_norm_rms_epsilon", EPS_MIN, 1.0, &eps, error);
  if (status != DEAI_OK) return status;
  if (shape->ctx > LM_MODEL_CTX_MAX) shape->ctx = LM_MODEL_CTX_MAX;
  if (ctx_max != 0 && ctx_max < shape->ctx) shape->ctx = ctx_max;
  shape->eps = (float)eps;
  shape->head_scale = lm_inverse_root(shape->head_dim);
  return DEAI_OK;
}

static int32_t make_rope(lm_model *m, lm_error *error) {
  double base = 10000.0;
  double factor = 1.0;
  deai_str scaling = text_or(m->gguf, "llama.rope.scaling.type", "none");
  int32_t status = DEAI_OK;
  if (lm_gguf_float(m->gguf, "llama.rope.freq_base", &base) != DEAI_ENOTFOUND)
    status = key_float(m->gguf, "llama.rope.freq_base", 2.0, 1e12, &base, error);
  if (status == DEAI_OK && deai_str_eq(scaling, deai_str_of("linear")))
    status = key_float(m->gguf, "llama.rope.scaling.factor", 1.0, 1e6, &factor, error);
  else if (status == DEAI_OK && !deai_str_eq(scaling, deai_str_of("none")))
    return lm_fail(error, DEAI_EUNSUPPORTED,
                   "model: rope scaling none or linear expected, found '%.*s'; take another model",
                   scaling.len > 64 ? 64 : (int)scaling.len, scaling.ptr);
  if (status != DEAI_OK) return status;
  m->rope = malloc((size_t)m->shape.ctx * m->shape.rope_dim * sizeof *m->rope);
  if (m->rope == NULL) return lm_fail(error, DEAI_ENOMEM, "model: no memory for the RoPE table");
  lm_rope_table(m->rope, m->shape.ctx, m->shape.rope_dim / 2, base, factor);
  return DEAI_OK;
}

/* ---- tensors ---- */

static int32_t find_tensor(const lm_model *m, const char *name, uint64_t cols, uint64_t rows,
                           uint32_t *index_out, lm_error *error) {
  int64_t index = lm_gguf_tensor_find(m->gguf, name);
  if (index < 0)
    return lm_fail(error, DEAI_EINVAL,
                   "model: tensor %s expected, found none; fetch the file again", name);
  const lm_gguf_tensor *t = lm_gguf_tensor_at(m->gguf, (uint32_t)index);
  *index_out = (uint32_t)index;
  if (t->dims[0] == cols && t->dims[1] == rows && t->dims[2] == 1 && t->dims[3] == 1)
    return DEAI_OK;
  return lm_fail(error, DEAI_EINVAL,
                 "model: %" PRIu64 " x %" PRIu64 " expected in %s, found %" PRIu64 " x %" PRIu64
                 "; fetch the file again",
                 cols, rows, name, t->dims[0], t->dims[1]);
}

static int32_t bind_matrix(const lm_model *m, const char *name, uint32_t cols, uint32_t rows,
                           lm_matrix *matrix, lm_error *error) {
  uint32_t index = 0;
  int32_t status = find_tensor(m, name, cols, rows, &index, error);
  if (status != DEAI_OK) return status;
  uint32_t type = lm_gguf_tensor_at(m->gguf, index)->type;
  bool packed = type == LM_TYPE_Q4_0 || type == LM_TYPE_Q4_1;
  *matrix = (lm_matrix){
      .format = packed ? (lm_format)type : LM_Q8_0, .rows = rows, .cols = cols, .index = index};
  return DEAI_OK;
}

static int32_t load_norm(const lm_model *m, const char *name, float *out, lm_error *error) {
  uint32_t index = 0;
  uint32_t fault = 0;
  int32_t status = find_tensor(m, name, m->shape.embd, 1, &index, error);
  if (status != DEAI_OK) return status;
  const lm_gguf_tensor *t = lm_gguf_tensor_at(m->gguf, index);
  if (t->type != LM_TYPE_F32)
    return lm_fail(error, DEAI_EUNSUPPORTED, "model: F32 expected in %s, found type %u", name,
                   t->type);
  status = lm_gguf_read(m->gguf, t->offset, out, (size_t)t->bytes);
  if (status != DEAI_OK) return lm_fail(error, status, "model: the file ended within %s", name);
  for (uint32_t i = 0; i < m->shape.embd; i++)
    out[i] = lm_store(out[i], &fault);
  if (fault == 0) return DEAI_OK;
  return lm_fail(error, DEAI_EINVAL,
                 "model: numbers below 2^60 expected in %s, found others; "
                 "fetch the file again",
                 name);
}

static void layer_sizes(const lm_shape *s, lm_weight weight, uint32_t *cols, uint32_t *rows) {
  uint32_t q = s->heads * s->head_dim;
  uint32_t kv = s->kv_heads * s->head_dim;
  const uint32_t sizes[LM_WEIGHT_COUNT][2] = {
      {s->embd, q},      {s->embd, kv},     {s->embd, kv},    {q, s->embd},
      {s->embd, s->ffn}, {s->embd, s->ffn}, {s->ffn, s->embd}};
  *cols = sizes[weight][0];
  *rows = sizes[weight][1];
}

static int32_t bind_layer(lm_model *m, uint32_t layer, lm_error *error) {
  char name[LM_GGUF_NAME_MAX];
  float *norms = m->norms + (size_t)2 * layer * m->shape.embd;
  for (uint32_t w = 0; w < LM_WEIGHT_COUNT; w++) {
    uint32_t cols;
    uint32_t rows;
    layer_sizes(&m->shape, (lm_weight)w, &cols, &rows);
    (void)snprintf(name, sizeof name, "blk.%u.%s.weight", layer, weight_names[w]);
    int32_t status =
        bind_matrix(m, name, cols, rows, &m->matrices[layer * LM_WEIGHT_COUNT + w], error);
    if (status != DEAI_OK) return status;
  }
  (void)snprintf(name, sizeof name, "blk.%u.attn_norm.weight", layer);
  int32_t status = load_norm(m, name, norms, error);
  (void)snprintf(name, sizeof name, "blk.%u.ffn_norm.weight", layer);
  return status == DEAI_OK ? load_norm(m, name, norms + m->shape.embd, error) : status;
}

/* A tensor nobody reads would change what the model means (a bias, for one): refuse it. */
static int32_t check_tensor_count(const lm_model *m, bool tied, lm_error *error) {
  uint32_t expected = m->shape.layers * (LM_WEIGHT_COUNT + 2) + (tied ? 2 : 3);
  uint32_t found = lm_gguf_tensor_count(m->gguf);
  if (found == expected) return DEAI_OK;
  return lm_fail(error, DEAI_EUNSUPPORTED,
                 "model: %u tensors of a plain llama expected, found %u: it has parts (biases, "
                 "frequency factors) not known here; take another model",
                 expected, found);
}

static int32_t bind_tensors(lm_model *m, lm_error *error) {
  uint32_t layers = m->shape.layers;
  bool tied = lm_gguf_tensor_find(m->gguf, "output.weight") < 0;
  m->matrices = calloc((size_t)layers * LM_WEIGHT_COUNT + 2, sizeof *m->matrices);
  m->norms = malloc(((size_t)2 * layers + 1) * m->shape.embd * sizeof *m->norms);
  if (m->matrices == NULL || m->norms == NULL)
    return lm_fail(error, DEAI_ENOMEM, "model: no memory for the tensor table");
  int32_t status = check_tensor_count(m, tied, error);
  for (uint32_t layer = 0; status == DEAI_OK && layer < layers; layer++)
    status = bind_layer(m, layer, error);
  lm_matrix *embedding = m->matrices + (size_t)layers * LM_WEIGHT_COUNT;
  m->embedding = embedding;
  m->output = tied ? embedding : embedding + 1;
  if (status == DEAI_OK)
    status = bind_matrix(m, "token_embd.weight", m->shape.embd, m->shape.vocab, embedding, error);
  if (status == DEAI_OK && !tied)
    status = bind_matrix(m, "output.weight", m->shape.embd, m->shape.vocab, embedding + 1, error);
  if (status == DEAI_OK)
    status =
        load_norm(m, "output_norm.weight", m->norms + (size_t)2 * layers * m->shape.embd, error);
  return status;
}

/* ---- tokenizer ---- */

static int32_t read_types(const lm_gguf *gguf, uint32_t count, int32_t **types_out,
                          lm_error *error) {
  lm_gguf_array list;
  *types_out = NULL;
  int32_t status = lm_gguf_list(gguf, "tokenizer.ggml.token_type", &list);
  if (status == DEAI_ENOTFOUND) return DEAI_OK;
  if (status != DEAI_OK || list.type != LM_GGUF_I32 || list.count != count)
    return lm_fail(error, DEAI_EINVAL, "model: %u token types (i32) expected, found others", count);
  *types_out = malloc(((size_t)count + 1) * sizeof **types_out);
  if (*types_out == NULL) return lm_fail(error, DEAI_ENOMEM, "model: no memory for the tokens");
  memcpy(*types_out, list.bytes, (size_t)count * sizeof **types_out);
  return DEAI_OK;
}

static int32_t read_words(lm_model *m, const char *key, uint64_t max, deai_str **out,
                          uint32_t *count_out, lm_error *error) {
  uint64_t count = 0;
  int32_t status = lm_gguf_texts(m->gguf, key, max, out, &count);
  *count_out = (uint32_t)count;
  if (status == DEAI_OK) return DEAI_OK;
  return lm_fail(error, status, "model: at most %" PRIu64 " strings expected in %s, found %s", max,
                 key, status == DEAI_ETOOLARGE ? "more" : "none");
}

static int32_t make_tokenizer(lm_model *m, lm_error *error) {
  lm_tokenizer_source source = {.model = text_or(m->gguf, "tokenizer.ggml.model", "(none)"),
                                .pre = text_or(m->gguf, "tokenizer.ggml.pre", "(none)")};
  deai_str *tokens = NULL;
  deai_str *merges = NULL;
  int32_t *types = NULL;
  int32_t status = read_words(m, "tokenizer.ggml.tokens", LM_MODEL_VOCAB_MAX, &tokens,
                              &source.token_count, error);
  if (status == DEAI_OK) status = read_types(m->gguf, source.token_count, &types, error);
  if (status == DEAI_OK)
    status = read_words(m, "tokenizer.ggml.merges", LM_MODEL_VOCAB_MAX, &merges,
                        &source.merge_count, error);
  source.tokens = tokens;
  source.types = types;
  source.merges = merges;
  if (status == DEAI_OK && source.token_count < 1)
    status = lm_fail(error, DEAI_EINVAL, "model: tokens expected, found none");
  if (status == DEAI_OK) status = lm_tokenizer_open(&source, &m->tokenizer, error);
  m->shape.vocab = source.token_count;
  free(tokens);
  free(merges);
  free(types);
  return status;
}

static void add_end(lm_model *m, int64_t id) {
  if (id < 0 || id >= (int64_t)m->shape.vocab || m->end_count == ENDS_MAX) return;
  if (!lm_model_ends(m, (uint32_t)id)) m->ends[m->end_count++] = (uint32_t)id;
}

static void find_ends(lm_model *m) {
  static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"};
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    uint64_t id;
    if (lm_gguf_uint(m->gguf, keys[i], &id) == DEAI_OK && id < m->shape.vocab)
      add_end(m, (int64_t)id);
  }
  const lm_template *chat = lm_template_find(m->chat, NULL);
  for (size_t i = 0; chat != NULL && i < 4 && chat->stops[i] != NULL; i++)
    add_end(m, lm_tokenizer_find(m->tokenizer, deai_str_of(chat->stops[i])));
}

/* ---- life ---- */

static int32_t fill(lm_model *m, int descriptor, uint32_t ctx_max, lm_error *error) {
  int32_t status = lm_gguf_open(descriptor, &m->gguf, error);
  if (status == DEAI_OK) status = read_shape(m->gguf, ctx_max, &m->shape, error);
  if (status == DEAI_OK) status = make_tokenizer(m, error);
  if (status == DEAI_OK) status = bind_tensors(m, error);
  if (status == DEAI_OK) status = make_rope(m, error);
  if (status != DEAI_OK) return status;
  m->name = text_or(m->gguf, "general.name", "unnamed");
  m->chat = text_or(m->gguf, "tokenizer.chat_template", NULL);
  find_ends(m);
  return DEAI_OK;
}

int32_t lm_model_open(int descriptor, uint32_t ctx_max, lm_model **model_out, lm_error *error) {
  *model_out = NULL;
  lm_model *m = calloc(1, sizeof *m);
  if (m == NULL) return lm_fail(error, DEAI_ENOMEM, "model: no memory");
  int32_t status = fill(m, descriptor, ctx_max, error);
  if (status != DEAI_OK) {
    lm_model_close(m);
    return status;
  }
  *model_out = m;
  return DEAI_OK;
}

void lm_model_close(lm_model *model) {
  if (model == NULL) return;
  lm_tokenizer_close(model->tokenizer);
  lm_gguf_close(model->gguf);
  free(model->matrices);
  free(model->norms);
  free(model->rope);
  free(model);
}

void lm_model_watch(lm_model *model, const atomic_bool *stop) {
  model->stop = stop;
}

const lm_shape *lm_model_shape(const lm_model *model) {
  return &model->shape;
}

const lm_matrix *lm_model_matrix(const lm_model *model, uint32_t layer, lm_weight weight) {
  return &model->matrices[layer * LM_WEIGHT_COUNT + weight];
}

const lm_matrix *lm_model_embedding(const lm_model *model) {
  return model->embedding;
}

const lm_matrix *lm_model_output(const lm_model *model) {
  return model->output;
}

const float *lm_model_attn_norm(const lm_model *model, uint32_t layer) {
  return model->norms + (size_t)2 * layer * model->shape.embd;
}

const float *lm_model_ffn_norm(const lm_model *model, uint32_t layer) {
  return model->norms + ((size_t)2 * layer + 1) * model->shape.embd;
}

const float *lm_model_output_norm(const lm_model *model) {
  return model->norms + (size_t)2 * model->shape.layers * model->shape.embd;
}

const float *lm_model_rope(const lm_model *model) {
  return model->rope;
}

const lm_tokenizer *lm_model_tokenizer(const lm_model *model) {
  return model->tokenizer;
}

deai_str lm_model_template(const lm_model *model) {
  return model->chat;
}

deai_str lm_model_name(const lm_model *model) {
  return model->name;
}

bool lm_model_ends(const lm_model *model, uint32_t id) {
  for (uint32_t i = 0; i < model->end_count; i++)
    if (model->ends[i] == id) return true;
  return false;
}

/* ---- matrices on their way to the device ---- */

typedef struct reading {
  const lm_model *model;
  const lm_matrix *matrix;
  const lm_gguf_tensor *tensor;
  uint8_t *raw;    /* rows as in the file */
  uint8_t *blocks; /* rows as handed out; = raw unless re-quantised */
  uint64_t row_bytes;
  uint64_t bound; /* the largest L_r so far */
} reading;

static bool requantise_row(const reading *r, const uint8_t *row, uint8_t *blocks) {
  float x[LM_BLOCK];
  for (uint32_t b = 0; b < r->matrix->cols / LM_BLOCK; b++) {
    if (r->tensor->type == LM_TYPE_F32) memcpy(x, row + (size_t)b * sizeof x, sizeof x);
    for (uint32_t i = 0; r->tensor->type == LM_TYPE_F16 && i < LM_BLOCK; i++) {
      uint16_t half;
      memcpy(&half, row + 2 * ((size_t)b * LM_BLOCK + i), sizeof half);
      if ((half & 0x7c00u) == 0x7c00u) return false;
      x[i] = lm_half(half);
    }
    if (!lm_requantise(x, blocks + (size_t)b * 34)) return false;
  }
  return true;
}

static int32_t check_rows(reading *r, uint32_t count, lm_error *error) {
  uint32_t block_count = r->matrix->cols / LM_BLOCK;
  size_t bytes = (size_t)block_count * lm_block_bytes(r->matrix->format);
  bool bad = false;
  for (uint32_t row = 0; row < count; row++) {
    uint8_t *blocks = r->blocks + row * bytes;
    if (r->raw != r->blocks) bad |= !requantise_row(r, r->raw + row * r->row_bytes, blocks);
    uint64_t bound = lm_row_bound((int32_t)r->matrix->format, blocks, block_count, &bad);
    if (bound > r->bound) r->bound = bound;
  }
  if (!bad) return DEAI_OK;
  return lm_fail(error, DEAI_EINVAL,
                 "model: finite f16 scales expected in %.*s, found Inf, NaN or a larger number; "
                 "fetch the file again",
                 (int)r->tensor->name.len, r->tensor->name.ptr);
}

static int32_t read_all(reading *r, uint32_t step, lm_matrix_sink *sink, void *user,
                        lm_error *error) {
  for (uint32_t row = 0; row < r->matrix->rows; row += step) {
    uint32_t count = r->matrix->rows - row < step ? r->matrix->rows - row : step;
    if (r->model->stop != NULL && atomic_load(r->model->stop))
      return lm_fail(error, DEAI_ECANCELLED, "model: the read of the weights was cancelled");
    int32_t status = lm_gguf_read(r->model->gguf, r->tensor->offset + row * r->row_bytes, r->raw,
                                  (size_t)(count * r->row_bytes));
    if (status != DEAI_OK)
      return lm_fail(error, status, "model: the file ended within %.*s; fetch it again",
                     (int)r->tensor->name.len, r->tensor->name.ptr);
    status = check_rows(r, count, error);
    if (status == DEAI_OK) status = sink(user, row, count, r->blocks);
    if (status != DEAI_OK) return status;
  }
  return DEAI_OK;
}

int32_t lm_model_read(const lm_model *model, const lm_matrix *matrix, lm_matrix_sink *sink,
                      void *user, int32_t *exponent_out, lm_error *error) {
  reading r = {.model = model, .matrix = matrix};
  r.tensor = lm_gguf_tensor_at(model->gguf, matrix->index);
  r.row_bytes = r.tensor->bytes / matrix->rows;
  uint32_t step = (uint32_t)(CHUNK_BYTES / r.row_bytes);
  if (step < 8) step = 8;
  step = step / 8 * 8; /* whole groups of rows for devices that interleave them */
  bool same = r.tensor->type != LM_TYPE_F32 && r.tensor->type != LM_TYPE_F16;
  r.raw = malloc((size_t)(step * r.row_bytes));
  r.blocks = same ? r.raw : malloc((size_t)step * (matrix->cols / LM_BLOCK) * 34);
  int32_t status = DEAI_ENOMEM;
  if (r.raw == NULL || r.blocks == NULL)
    (void)lm_fail(error, status, "model: no memory to read the weights");
  else
    status = read_all(&r, step, sink, user, error);
  if (status == DEAI_OK && !lm_tensor_exponent(r.bound, exponent_out))
    status = lm_fail(error, DEAI_EINVAL, "model: weights of %.*s are too large for exact sums",
                     (int)r.tensor->name.len, r.tensor->name.ptr);
  if (r.blocks != r.raw) free(r.blocks);
  free(r.raw);
  return status;
}
