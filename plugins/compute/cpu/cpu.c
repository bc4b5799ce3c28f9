#include "cpu.h"

#include "graph.h"

#include "plugins/compute/lm/columns.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

static uint32_t processors(void) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  int count = CPU_COUNT(&set);
  return count < 1 ? 1 : (uint32_t)count;
}

static int32_t pick_kernels(const char *device, const lm_kernels **out, lm_error *error) {
  bool any = device == NULL || device[0] == 0;
  bool wants_c = !any && strcmp(device, "c") == 0;
  *out = wants_c ? lm_kernels_c() : lm_kernels_avx2();
  if (!any && !wants_c && strcmp(device, "avx2") != 0)
    return lm_fail(error, DEAI_EINVAL, "cpu: device 'c' or 'avx2' expected, found '%.40s'", device);
  if (*out == NULL && !any)
    return lm_fail(error, DEAI_EUNSUPPORTED,
                   "cpu: a processor with AVX2 expected, this one has none; use device 'c'");
  if (*out == NULL) *out = lm_kernels_c();
  return DEAI_OK;
}

static void cpu_close(lm_backend *backend) {
  if (backend == NULL) return;
  lm_pool_close(backend->pool);
  lm_graph_close(backend);
  lm_weights_close(&backend->weights);
  free(backend);
}

static int32_t fill(lm_backend *b, const lm_backend_config *config, lm_error *error) {
  int32_t status = pick_kernels(config->device, &b->kernels, error);
  if (status != DEAI_OK) return status;
  b->threads = config->threads == 0 ? processors() : config->threads;
  if (b->threads > LM_CPU_THREADS_MAX && config->threads == 0) b->threads = LM_CPU_THREADS_MAX;
  if (b->threads > LM_CPU_THREADS_MAX)
    return lm_fail(error, DEAI_EINVAL, "cpu: 1 to %d threads expected, found %u",
                   LM_CPU_THREADS_MAX, b->threads);
  status = lm_graph_open(b);
  if (status != DEAI_OK) return lm_fail(error, status, "cpu: no memory for a pass");
  status = lm_pool_open(b->threads, &b->pool);
  if (status != DEAI_OK)
    return lm_fail(error, status, "cpu: %u threads expected, the system gives fewer", b->threads);
  (void)snprintf(b->text, sizeof b->text, "cpu, %s kernels, %u thread%s", b->kernels->name,
                 b->threads, b->threads == 1 ? "" : "s");
  return lm_weights_open(b->model, &b->weights, error);
}

static int32_t cpu_open(const lm_model *model, const lm_backend_config *config,
                        lm_backend **backend_out, lm_error *error) {
  *backend_out = NULL;
  lm_backend *b = calloc(1, sizeof *b);
  if (b == NULL) return lm_fail(error, DEAI_ENOMEM, "cpu: no memory");
  b->model = model;
  b->shape = lm_model_shape(model);
  int32_t status = fill(b, config, error);
  if (status != DEAI_OK) {
    cpu_close(b);
    return status;
  }
  *backend_out = b;
  return DEAI_OK;
}

static const char *cpu_describe(const lm_backend *backend) {
  return backend->text;
}

static uint64_t cpu_memory(const lm_backend *backend) {
  return backend->weights.bytes;
}

static int32_t cpu_cache_new(lm_backend *backend, uint32_t positions, lm_cache **cache_out) {
  *cache_out = NULL;
  if (positions < 1 || positions > backend->shape->ctx) return DEAI_EINVAL;
  return lm_cache_open(backend, backend->shape, positions, cache_out);
}

static uint64_t cpu_cache_bytes(const lm_backend *backend, uint32_t positions) {
  return lm_cache_bytes(backend->shape, positions);
}

static int32_t cpu_forward(lm_backend *backend, const lm_column *columns, uint32_t count,
                           const lm_outputs *outputs) {
  if (!lm_columns_ok(backend, backend->shape->vocab, columns, count)) return DEAI_EINVAL;
  int32_t status = lm_graph_run(backend, columns, count, outputs);
  if (status == DEAI_OK) lm_columns_done(columns, count);
  return status;
}

const lm_backend_ops *lm_cpu_backend(void) {
  static const lm_backend_ops ops = {.name = "cpu",
                                     .open = cpu_open,
                                     .describe = cpu_describe,
                                     .memory = cpu_memory,
                                     .cache_new = cpu_cache_new,
                                     .cache_bytes = cpu_cache_bytes,
                                     .cache_truncate = lm_columns_truncate,
                                     .cache_delete = lm_cache_close,
                                     .forward = cpu_forward,
                                     .close = cpu_close};
  return &ops;
}
