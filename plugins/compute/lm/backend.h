#ifndef DEAI_PLUGINS_COMPUTE_LM_BACKEND_H
#define DEAI_PLUGINS_COMPUTE_LM_BACKEND_H

#include "error.h"
#include "model.h"

#include <stdbool.h>
#include <stdint.h>

/* An lm_backend_ops is the seam between the graph of a model and a device that computes it: C,
   AVX2 and Vulkan each fill one table. A backend holds the weights of one model and any number of
   KV caches, one cache for each sequence.

     open --> IDLE --forward--> IDLE ... --> close        (all caches are deleted before close)

   forward takes columns. A column is one token at one position of one cache. For each layer the K
   and V of all columns are written first, then each column attends to positions 0..position of its
   own cache, so a batch may hold a chunk of a prompt, one token each of several sequences, or both.
   The result of a column depends on the tokens at 0..position of its cache and on nothing else:
   batch size, chunk size, order of columns of different caches, number of threads and the device
   never change a bit (arithmetic.md; every float is stored through N3).

   Graph of arch `llama`, per layer: n = RMSNorm(x) F5; q, k, v = matmul T32 of M1(n); RoPE F8 on q
   and k; K, V, q to M1 blocks; attention A1-A3; x = x + matmul(wo) A4; n = RMSNorm(x);
   x = x + matmul(down, store(silu(gate) * up)) with F7. Last: hidden = RMSNorm(x) F5, logits =
   matmul(output) of M1(hidden). The embedding row is A4.

   Threads  One call at a time on a backend and its caches; the caller holds the lock. Inside, a
            backend uses what threads it likes, and sleeps between calls.
   Memory   Host arrays given to forward belong to the caller. A backend may keep pointers into the
            model (norms, RoPE table) until close; the model outlives it.
   Limits   1..LM_COLUMNS_MAX columns a call.
   Caveats  A fault (a value of 2^60 or more, N3) is a result, not an error: forward returns DEAI_OK
            and sets fault of that column. Later positions of the same cache are then undefined. */

#define LM_COLUMNS_MAX 64

typedef struct lm_backend lm_backend; /* each implementation defines its own */
typedef struct lm_cache lm_cache;

typedef struct lm_backend_config {
  uint32_t threads; /* 0 = one for each core; devices without threads ignore it */
  const char
      *device; /* NULL or "" = the best; cpu: "c" or "avx2"; vulkan: index or part of a name */
} lm_backend_config;

typedef struct lm_column {
  lm_cache *cache;
  uint32_t token;    /* < vocab */
  uint32_t position; /* the length of the cache + the columns of this cache before this one */
  bool want;         /* hidden and logits are wanted */
} lm_column;

/* The outputs of forward. Wanted columns come in the order of the columns, one row each. */
typedef struct lm_outputs {
  float *hidden;  /* wanted x embd: after the last norm; NULL when nothing is wanted */
  float *logits;  /* wanted x vocab */
  uint8_t *fault; /* columns: set to 1 for a numeric fault at that column, else 0 */
} lm_outputs;

typedef struct lm_backend_ops {
  const char *name; /* "cpu", "vulkan" */

  /* open puts the weights of model on the device (lm_model_read, each matrix once). Returns
     DEAI_EUNSUPPORTED when there is no such device here, DEAI_ENOMEM when it is too small, or what
     lm_model_read said; error tells which. [worker] */
  int32_t (*open)(const lm_model *model, const lm_backend_config *config, lm_backend **backend_out,
                  lm_error *error);

  /* describe returns one line for people: device, kernels, threads. Lives as long as the
     backend. */
  const char *(*describe)(const lm_backend *backend);

  /* memory returns the bytes the weights hold on the device. */
  uint64_t (*memory)(const lm_backend *backend);

  /* cache_new makes an empty KV cache for positions tokens (<= ctx of the model). DEAI_ENOMEM. */
  int32_t (*cache_new)(lm_backend *backend, uint32_t positions, lm_cache **cache_out);

  /* cache_bytes returns the device memory a cache of positions tokens can come to hold. */
  uint64_t (*cache_bytes)(const lm_backend *backend, uint32_t positions);

  /* cache_truncate forgets every position from length on; a longer length changes nothing. What is
     kept is bit for bit what it was. */
  void (*cache_truncate)(lm_cache *cache, uint32_t length);

  /* cache_delete frees the cache; NULL is fine. */
  void (*cache_delete)(lm_cache *cache);

  /* forward computes count columns (see the page). DEAI_EINVAL, with nothing changed, when a
     position is not the next of its cache or beyond it, a token is not in the vocabulary or count
     is outside the limits; DEAI_EIO when the device was lost: the backend must then be closed. */
  int32_t (*forward)(lm_backend *backend, const lm_column *columns, uint32_t count,
                     const lm_outputs *outputs);

  /* close frees the device; NULL is fine. */
  void (*close)(lm_backend *backend);
} lm_backend_ops;

#endif
