#include "twin.h"

#include "plugins/compute/cpu/cpu.h"
#include "plugins/compute/vulkan/device.h"
#include "plugins/compute/vulkan/vulkan.h"
#include "tests/plugins/compute/cpu/run.h"
#include "tests/testing.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

/* The loader unloads drivers; what they never freed then looks like a leak of nobody. In a build
   with a sanitizer they stay, so that leaks are those of this project. */
__attribute__((constructor)) static void keep_drivers(void) {
  static const char *const names[] = {"libvulkan_lvp.so", "libvulkan_intel.so",
                                      "libvulkan_intel_hasvk.so", "libvulkan_radeon.so"};
  for (size_t i = 0; RUN_CHECKED && i < sizeof names / sizeof names[0]; i++)
    (void)dlopen(names[i], RTLD_LAZY | RTLD_NODELETE);
}

bool twin_has_device(void) {
  lm_vk_device device;
  lm_error error = {{0}};
  int32_t status = lm_vk_open(NULL, 4, &device, &error);
  lm_vk_close(&device);
  if (status == DEAI_EUNSUPPORTED) printf("skipped: %s\n", error.text);
  ck_assert_msg(status == DEAI_OK || status == DEAI_EUNSUPPORTED, "%s", error.text);
  return status == DEAI_OK;
}

lm_model *twin_tiny(const tiny_options *options) {
  tiny_file file = {0};
  tiny_model(&file, options, NULL);
  lm_model *model = run_model(tiny_save(&file, "vulkan.gguf"), 0);
  tiny_free(&file);
  return model;
}

void twin_ids(uint32_t *ids, uint32_t count, uint64_t seed) {
  for (uint32_t i = 0; i < count; i++)
    ids[i] = (uint32_t)(tiny_random(&seed) % TINY_VOCAB);
}

static void open_side(twin_side *side, const lm_backend_ops *ops, const lm_model *model,
                      const char *device) {
  lm_error error = {{0}};
  lm_backend_config config = {.threads = 2, .device = device};
  side->ops = ops;
  int32_t status = ops->open(model, &config, &side->backend, &error);
  ck_assert_msg(status == DEAI_OK, "%s", error.text);
}

void twin_open(twin *pair, lm_model *model, const char *kernels) {
  pair->model = model;
  open_side(&pair->device, lm_vulkan_backend(), model, NULL);
  open_side(&pair->host, lm_cpu_backend(), model, kernels);
}

void twin_close(twin *pair) {
  pair->device.ops->close(pair->device.backend);
  pair->host.ops->close(pair->host.backend);
  lm_model_close(pair->model);
}

static const twin_side *side_of(const twin_run *run, int which) {
  return which == 0 ? &run->pair->device : &run->pair->host;
}

void twin_run_open(twin_run *run, twin *pair, uint32_t sequences, uint32_t positions) {
  const lm_shape *shape = lm_model_shape(pair->model);
  *run = (twin_run){.pair = pair};
  for (int which = 0; which < 2; which++) {
    const twin_side *side = side_of(run, which);
    for (uint32_t i = 0; i < sequences; i++)
      ck_assert_int_eq(side->ops->cache_new(side->backend, positions, &run->caches[which][i]),
                       DEAI_OK);
    run->hidden[which] = calloc(LM_COLUMNS_MAX, sizeof(float) * shape->embd);
    run->logits[which] = calloc(LM_COLUMNS_MAX, sizeof(float) * shape->vocab);
    ck_assert_ptr_nonnull(run->hidden[which]);
    ck_assert_ptr_nonnull(run->logits[which]);
  }
}

void twin_run_close(twin_run *run) {
  for (int which = 0; which < 2; which++) {
    for (uint32_t i = 0; i < TWIN_SEQUENCES; i++)
      side_of(run, which)->ops->cache_delete(run->caches[which][i]);
    free(run->hidden[which]);
    free(run->logits[which]);
  }
}

static void forward(twin_run *run, int which, const twin_column *columns, uint32_t count,
                    uint8_t *fault) {
  const twin_side *side = side_of(run, which);
  lm_column all[LM_COLUMNS_MAX];
  uint32_t at[TWIN_SEQUENCES];
  lm_outputs outputs = {.hidden = run->hidden[which], .logits = run->logits[which], .fault = fault};
  memcpy(at, run->lengths, sizeof at);
  for (uint32_t c = 0; c < count; c++)
    all[c] = (lm_column){.cache = run->caches[which][columns[c].sequence],
                         .token = columns[c].token,
                         .position = at[columns[c].sequence]++,
                         .want = columns[c].want};
  ck_assert_int_eq(side->ops->forward(side->backend, all, count, &outputs), DEAI_OK);
}

static void look_alike(const twin_run *run, const char *what, const float *a, const float *b,
                       size_t count) {
  for (size_t i = 0; i < count; i++) {
    uint32_t x;
    uint32_t y;
    memcpy(&x, &a[i], sizeof x);
    memcpy(&y, &b[i], sizeof y);
    ck_assert_msg(x == y, "%s %zu after %llu equal floats: %08x on the device, %08x on the host",
                  what, i, (unsigned long long)run->values, x, y);
  }
}

void twin_pass(twin_run *run, const twin_column *columns, uint32_t count) {
  const lm_shape *shape = lm_model_shape(run->pair->model);
  uint8_t fault[2][LM_COLUMNS_MAX];
  size_t wanted = 0;
  forward(run, 0, columns, count, fault[0]);
  forward(run, 1, columns, count, fault[1]);
  for (uint32_t c = 0; c < count; c++) {
    ck_assert_uint_eq(fault[0][c], fault[1][c]);
    run->faults += fault[0][c];
    run->lengths[columns[c].sequence]++;
    if (!columns[c].want) continue;
    size_t embd = wanted * shape->embd;
    size_t vocab = wanted * shape->vocab;
    wanted++;
    if (fault[0][c] != 0) continue;
    look_alike(run, "hidden", run->hidden[0] + embd, run->hidden[1] + embd, shape->embd);
    look_alike(run, "logit", run->logits[0] + vocab, run->logits[1] + vocab, shape->vocab);
    run->values += shape->embd + shape->vocab;
  }
}

void twin_feed(twin_run *run, const uint32_t *ids, uint32_t count, uint32_t chunk) {
  twin_column columns[LM_COLUMNS_MAX];
  for (uint32_t at = 0; at < count; at += chunk) {
    uint32_t step = count - at < chunk ? count - at : chunk;
    for (uint32_t c = 0; c < step; c++)
      columns[c] = (twin_column){.token = ids[at + c], .want = true};
    twin_pass(run, columns, step);
  }
}
