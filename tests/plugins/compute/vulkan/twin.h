#ifndef DEAI_TESTS_PLUGINS_COMPUTE_VULKAN_TWIN_H
#define DEAI_TESTS_PLUGINS_COMPUTE_VULKAN_TWIN_H

#include "plugins/compute/lm/backend.h"
#include "tests/plugins/compute/lm/tiny.h"

/* Helpers of the Vulkan tests: the same passes on two backends, compared bit for bit. */

typedef struct twin_side {
  const lm_backend_ops *ops;
  lm_backend *backend;
} twin_side;

typedef struct twin {
  lm_model *model;
  twin_side device; /* Vulkan */
  twin_side host;   /* C or AVX2 */
} twin;

/* One column of a pass: the next token of sequence (< TWIN_SEQUENCES). */
typedef struct twin_column {
  uint32_t sequence;
  uint32_t token;
  bool want;
} twin_column;

#define TWIN_SEQUENCES 4u

typedef struct twin_run {
  twin *pair;
  lm_cache *caches[2][TWIN_SEQUENCES]; /* device, host */
  uint32_t lengths[TWIN_SEQUENCES];
  float *hidden[2];
  float *logits[2];
  uint64_t values; /* floats compared */
  uint32_t faults; /* columns with a fault, on both sides */
} twin_run;

/* twin_has_device tells whether this machine has a Vulkan device; prints why the test does nothing
   when it has none. Another error aborts the test. */
bool twin_has_device(void);

/* twin_tiny opens a small random model. */
lm_model *twin_tiny(const tiny_options *options);

/* twin_ids fills count random tokens of a small model. */
void twin_ids(uint32_t *ids, uint32_t count, uint64_t seed);

/* twin_open opens the device and the CPU backend with these kernels (NULL = the fastest). */
void twin_open(twin *pair, lm_model *model, const char *kernels);

/* twin_close closes both and the model. */
void twin_close(twin *pair);

/* twin_run_open makes a cache of positions tokens for each of sequences sequences on both sides. */
void twin_run_open(twin_run *run, twin *pair, uint32_t sequences, uint32_t positions);

/* twin_run_close frees it. */
void twin_run_close(twin_run *run);

/* twin_pass runs one pass on both sides and compares all it gives. */
void twin_pass(twin_run *run, const twin_column *columns, uint32_t count);

/* twin_feed runs ids through sequence 0 in passes of chunk columns; every result is wanted. */
void twin_feed(twin_run *run, const uint32_t *ids, uint32_t count, uint32_t chunk);

#endif
