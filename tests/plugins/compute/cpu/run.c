#include "run.h"

#include "plugins/compute/cpu/cpu.h"
#include "tests/testing.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

size_t run_less(const char *name, size_t less, size_t full) {
  if (!RUN_CHECKED) return full;
  if (full == SIZE_MAX)
    printf("%s: the first %zu in a build with a sanitizer\n", name, less);
  else
    printf("%s: %zu of %zu in a build with a sanitizer\n", name, less, full);
  return less;
}

lm_model *run_model(const char *path, uint32_t ctx_max) {
  lm_error error = {{0}};
  lm_model *model = NULL;
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  ck_assert_int_ge(descriptor, 0);
  int32_t status = lm_model_open(descriptor, ctx_max, &model, &error);
  (void)close(descriptor);
  ck_assert_msg(status == DEAI_OK, "%s", error.text);
  return model;
}

lm_backend *run_backend(const lm_model *model, const char *device, uint32_t threads) {
  lm_error error = {{0}};
  lm_backend *backend = NULL;
  lm_backend_config config = {.threads = threads, .device = device};
  int32_t status = lm_cpu_backend()->open(model, &config, &backend, &error);
  ck_assert_msg(status == DEAI_OK, "%s", error.text);
  return backend;
}

typedef struct room {
  float *hidden;
  float *logits;
  uint8_t fault[LM_COLUMNS_MAX];
} room;

static room room_open(const lm_shape *shape) {
  room r = {.hidden = malloc(sizeof(float) * LM_COLUMNS_MAX * shape->embd),
            .logits = malloc(sizeof(float) * LM_COLUMNS_MAX * shape->vocab)};
  ck_assert_ptr_nonnull(r.hidden);
  ck_assert_ptr_nonnull(r.logits);
  return r;
}

static uint32_t pass(lm_backend *backend, lm_cache *cache, const uint32_t *ids, uint32_t at,
                     uint32_t count, uint32_t want_from, room *r) {
  lm_column columns[LM_COLUMNS_MAX];
  uint32_t faults = 0;
  for (uint32_t c = 0; c < count; c++)
    columns[c] = (lm_column){
        .cache = cache, .token = ids[at + c], .position = at + c, .want = at + c >= want_from};
  lm_outputs outputs = {.hidden = r->hidden, .logits = r->logits, .fault = r->fault};
  ck_assert_int_eq(lm_cpu_backend()->forward(backend, columns, count, &outputs), DEAI_OK);
  for (uint32_t c = 0; c < count; c++)
    faults += r->fault[c];
  return faults;
}

uint32_t run_tokens(lm_backend *backend, const lm_model *model, lm_cache *cache,
                    const uint32_t *ids, uint32_t first, uint32_t count, uint32_t chunk,
                    uint32_t want_from, run_output *each, void *user) {
  const lm_shape *shape = lm_model_shape(model);
  room r = room_open(shape);
  uint32_t faults = 0;
  for (uint32_t at = first; at < count; at += chunk) {
    uint32_t step = count - at < chunk ? count - at : chunk;
    faults += pass(backend, cache, ids, at, step, want_from, &r);
    uint32_t row = 0;
    for (uint32_t c = 0; c < step; c++) {
      if (at + c < want_from) continue;
      each(user, at + c, r.hidden + (size_t)row * shape->embd,
           r.logits + (size_t)row * shape->vocab);
      row++;
    }
  }
  free(r.hidden);
  free(r.logits);
  return faults;
}

typedef struct digest {
  const lm_shape *shape;
  uint64_t hash;
} digest;

static uint64_t mix(uint64_t hash, const float *x, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, &x[i], sizeof bits);
    hash = (hash ^ bits) * UINT64_C(0x9E3779B97F4A7C15);
    hash ^= hash >> 29;
  }
  return hash;
}

static void digest_output(void *user, uint32_t position, const float *hidden, const float *logits) {
  digest *d = user;
  d->hash = mix(d->hash + position, hidden, d->shape->embd);
  d->hash = mix(d->hash, logits, d->shape->vocab);
}

uint64_t run_hash(lm_backend *backend, const lm_model *model, const uint32_t *ids, uint32_t count,
                  uint32_t chunk) {
  lm_cache *cache = NULL;
  ck_assert_int_eq(lm_cpu_backend()->cache_new(backend, count, &cache), DEAI_OK);
  digest d = {.shape = lm_model_shape(model)};
  uint32_t faults = run_tokens(backend, model, cache, ids, 0, count, chunk, 0, digest_output, &d);
  lm_cpu_backend()->cache_delete(cache);
  return d.hash + faults;
}
