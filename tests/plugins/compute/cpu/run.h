#ifndef DEAI_TESTS_PLUGINS_COMPUTE_CPU_RUN_H
#define DEAI_TESTS_PLUGINS_COMPUTE_CPU_RUN_H

#include "plugins/compute/lm/backend.h"

#include <stddef.h>
#include <stdint.h>

/* Helpers of the inference tests: open a model and a backend, run tokens through it. */

/* RUN_CHECKED is 1 in a build with a sanitizer, in which the tests with real weights do less and
   say so (run_less). */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RUN_CHECKED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define RUN_CHECKED 1
#endif
#endif
#ifndef RUN_CHECKED
#define RUN_CHECKED 0
#endif

/* run_less returns full, or in a build with a sanitizer less, and then prints what that leaves out:
   "NAME: N of M in a build with a sanitizer"; full SIZE_MAX = all there are. */
size_t run_less(const char *name, size_t less, size_t full);

/* run_model opens the GGUF file at path; aborts the test with the error text. */
lm_model *run_model(const char *path, uint32_t ctx_max);

/* run_backend opens the CPU backend with these kernels and threads; aborts on an error. */
lm_backend *run_backend(const lm_model *model, const char *device, uint32_t threads);

/* A run_output gets hidden and logits of one position. */
typedef void run_output(void *user, uint32_t position, const float *hidden, const float *logits);

/* run_tokens feeds ids to cache (which holds first of them already) in passes of chunk columns and
   calls each for every position from want_from on. Returns the number of faulted columns. */
uint32_t run_tokens(lm_backend *backend, const lm_model *model, lm_cache *cache,
                    const uint32_t *ids, uint32_t first, uint32_t count, uint32_t chunk,
                    uint32_t want_from, run_output *each, void *user);

/* run_hash returns a 64-bit digest of hidden and logits of ids on a fresh cache, and of the
   faults. */
uint64_t run_hash(lm_backend *backend, const lm_model *model, const uint32_t *ids, uint32_t count,
                  uint32_t chunk);

#endif
