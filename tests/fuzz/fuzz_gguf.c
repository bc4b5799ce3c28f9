/* Fuzz target of GGUF files: header, model and the way of the matrices to a device. The first byte
   says how many KiB of zeros follow the rest of the input in the file: room in which all tensors
   may lie. What opens keeps within its limits and is read to the end; a refusal has a text. */
#include "plugins/compute/lm/gguf.h"
#include "plugins/compute/lm/model.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/base/banned.h"

#define CTX_MAX 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition) {
  if (!condition) abort();
}

static int make_file(const uint8_t *data, size_t size, size_t zeros) {
  static int file = -1;
  if (file < 0) file = memfd_create("gguf", MFD_CLOEXEC);
  must(file >= 0 && ftruncate(file, 0) == 0);
  must(pwrite(file, data, size, 0) == (ssize_t)size);
  must(ftruncate(file, (off_t)(size + zeros)) == 0);
  return file;
}

static void check_tensors(const lm_gguf *gguf, uint64_t file_bytes) {
  for (uint32_t i = 0; i < lm_gguf_tensor_count(gguf); i++) {
    char name[LM_GGUF_NAME_MAX + 1] = "";
    uint8_t last = 0;
    const lm_gguf_tensor *tensor = lm_gguf_tensor_at(gguf, i);
    must(tensor->dim_count >= 1 && tensor->dim_count <= LM_GGUF_DIMS_MAX);
    must(tensor->bytes > 0 && tensor->name.len <= LM_GGUF_NAME_MAX);
    must(tensor->bytes <= file_bytes && tensor->offset <= file_bytes - tensor->bytes);
    must(lm_gguf_read(gguf, tensor->offset + tensor->bytes - 1, &last, 1) == DEAI_OK);
    if (tensor->name.len > 0) memcpy(name, tensor->name.ptr, (size_t)tensor->name.len);
    if (strlen(name) == tensor->name.len) must(lm_gguf_tensor_find(gguf, name) == (int64_t)i);
  }
}

static void check_keys(const lm_gguf *gguf) {
  static const char *const names[] = {"k", "tokenizer.ggml.tokens", "general.architecture",
                                      "general.alignment"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    uint64_t number = 0;
    double real = 0;
    deai_str text = {0};
    lm_gguf_array list = {0};
    deai_str *texts = NULL;
    uint64_t count = 0;
    int32_t as_number = lm_gguf_uint(gguf, names[i], &number);
    int32_t as_real = lm_gguf_float(gguf, names[i], &real);
    int32_t as_text = lm_gguf_text(gguf, names[i], &text);
    int32_t as_list = lm_gguf_list(gguf, names[i], &list);
    int32_t good =
        (as_number == DEAI_OK) + (as_real == DEAI_OK) + (as_text == DEAI_OK) + (as_list == DEAI_OK);
    must(good <= 1);
    must((as_number == DEAI_ENOTFOUND) == (as_text == DEAI_ENOTFOUND));
    if (lm_gguf_texts(gguf, names[i], 1000, &texts, &count) != DEAI_OK) continue;
    uint64_t bytes = 0;
    for (uint64_t k = 0; k < count; k++)
      for (uint64_t b = 0; b < texts[k].len; b++)
        bytes += (uint8_t)texts[k].ptr[b];
    must(count == list.count && bytes <= UINT64_C(255) * LM_GGUF_HEADER_MAX);
    free(texts);
  }
}

static int32_t count_rows(void *user, uint32_t first_row, uint32_t row_count,
                          const uint8_t *blocks) {
  uint32_t *rows = user;
  must(first_row == *rows && row_count > 0 && blocks != NULL);
  *rows += row_count;
  return DEAI_OK;
}

static void read_matrix(const lm_model *model, const lm_matrix *matrix) {
  uint32_t rows = 0;
  int32_t exponent = 0;
  lm_error error = {{0}};
  must(matrix->cols % 32 == 0 && matrix->cols <= LM_MODEL_WIDTH_MAX);
  if (lm_model_read(model, matrix, count_rows, &rows, &exponent, &error) == DEAI_OK)
    must(rows == matrix->rows);
  else
    must(error.text[0] != 0);
}

static void check_model(lm_model *model) {
  const lm_shape *shape = lm_model_shape(model);
  atomic_bool stop = false;
  must(shape->ctx >= 1 && shape->ctx <= CTX_MAX && shape->layers <= LM_MODEL_LAYERS_MAX);
  must(shape->heads % shape->kv_heads == 0 && shape->rope_dim <= shape->head_dim);
  must(shape->vocab >= 1 && shape->vocab <= LM_MODEL_VOCAB_MAX);
  lm_model_watch(model, &stop);
  for (uint32_t i = 0; i < LM_WEIGHT_COUNT; i++)
    read_matrix(model, lm_model_matrix(model, shape->layers - 1, (lm_weight)i));
  read_matrix(model, lm_model_embedding(model));
  if (lm_model_output(model) != lm_model_embedding(model))
    read_matrix(model, lm_model_output(model));
  float norms = lm_model_attn_norm(model, 0)[0] + lm_model_ffn_norm(model, 0)[shape->embd - 1] +
                lm_model_output_norm(model)[shape->embd - 1] + lm_model_rope(model)[0];
  must(norms == norms); /* no NaN */
  must(!lm_model_ends(model, shape->vocab) && lm_model_name(model).ptr != NULL);
  must(lm_model_template(model).len <= LM_GGUF_HEADER_MAX && lm_model_tokenizer(model) != NULL);
  stop = true;
  uint32_t rows = 0;
  int32_t exponent = 0;
  must(lm_model_read(model, lm_model_embedding(model), count_rows, &rows, &exponent, NULL) ==
       DEAI_ECANCELLED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  size_t zeros = (size_t)data[0] << 10;
  int file = make_file(data + 1, size - 1, zeros);
  lm_gguf *gguf = NULL;
  lm_model *model = NULL;
  lm_error error = {{0}};
  if (lm_gguf_open(file, &gguf, &error) == DEAI_OK) {
    check_tensors(gguf, size - 1 + zeros);
    check_keys(gguf);
  } else {
    must(gguf == NULL && error.text[0] != 0);
  }
  lm_gguf_close(gguf);
  error.text[0] = 0;
  if (lm_model_open(file, CTX_MAX, &model, &error) == DEAI_OK)
    check_model(model);
  else
    must(model == NULL && error.text[0] != 0);
  lm_model_close(model);
  return 0;
}
