/* lm_bench MODEL [THREADS [DEVICE]] prints one JSON line with the speed of a backend through the
   session driver: ms until the first token of a prompt of 34 tokens, loading not counted; tokens a
   second while 128 tokens are written and while a prompt of 256 tokens is read (best of three runs
   each); the memory in MB. DEVICE is one of the CPU backend (c, avx2), or "vulkan", or "vulkan:"
   and the index or a part of the name of a device. Not a test: it measures the machine it runs
   on. */

#include "plugins/compute/cpu/cpu.h"
#include "plugins/compute/lm/session.h"
#ifdef DEAI_VULKAN
#include "plugins/compute/vulkan/vulkan.h"
#endif

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/base/banned.h"

#define PROMPT  256u
#define FIRST   34u /* tokens of the prompt whose first token is timed */
#define ANSWER  128u
#define ROUNDS  3
#define CONTEXT 2048u

static double now_s(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static long resident_kb(const char *field) {
  char line[256];
  long kb = -1;
  FILE *file = fopen("/proc/self/smaps_rollup", "r");
  while (file != NULL && fgets(line, sizeof line, file) != NULL)
    if (strncmp(line, field, strlen(field)) == 0) kb = strtol(line + strlen(field), NULL, 10);
  if (file != NULL) (void)fclose(file);
  return kb;
}

static int fail(const char *what, const char *why) {
  (void)fprintf(stderr, "lm_bench: %s: %s\n", what, why);
  return 1;
}

/* run_once reads a prompt nobody has cached and writes max tokens; -1 when a step fails. */
static int run_once(lm_engine *engine, uint32_t salt, uint32_t length, uint32_t max, double *read_s,
                    double *write_s) {
  uint32_t ids[PROMPT];
  for (uint32_t i = 0; i < length; i++)
    ids[i] = 1000 + (i * 7919u + salt * 104729u) % 30000u;
  lm_request request = {.ids = ids,
                        .id_count = length,
                        .max = max,
                        .sampler = {.p = LM_MICRO},
                        .caller = deai_bytes_of(&salt, sizeof salt)};
  lm_session *session = NULL;
  lm_error error = {{0}};
  if (lm_session_open(engine, &request, &session, &error) != DEAI_OK)
    return fail("session", error.text);
  lm_step step = {0};
  double start = now_s();
  while (!step.has_token && step.status == DEAI_OK)
    if (lm_session_step(&session, 1, &step) != DEAI_OK) return fail("step", "device");
  double middle = now_s();
  uint32_t written = 0;
  while (step.finish == LM_FINISH_NONE && step.status == DEAI_OK) {
    if (lm_session_step(&session, 1, &step) != DEAI_OK) return fail("step", "device");
    written++;
  }
  *read_s = middle - start;
  *write_s = written == 0 ? -1.0 : (now_s() - middle) / written;
  lm_session_close(session);
  return step.status == DEAI_OK ? 0 : fail("step", "numeric fault");
}

static int bench(const lm_model *model, const lm_engine_config *config, lm_engine *engine) {
  double first = 0.0;
  double none = 0.0;
  double best_read = 1e9;
  double best_write = 1e9;
  if (run_once(engine, 99, FIRST, 1, &first, &none) != 0) return 1;
  for (uint32_t i = 0; i < ROUNDS; i++) {
    double read_s = 0.0;
    double write_s = 0.0;
    if (run_once(engine, i + 1, PROMPT, ANSWER, &read_s, &write_s) != 0) return 1;
    if (read_s < best_read) best_read = read_s;
    if (write_s > 0.0 && write_s < best_write) best_write = write_s;
  }
  deai_str name = lm_model_name(model);
  printf("{\"engine\": \"deai\", \"model\": \"%.*s\", \"device\": \"%s\", \"threads\": %u, "
         "\"prompt\": %u, \"first_token_ms\": %.0f, \"decode_tok_s\": %.1f, \"prefill_tok_s\": "
         "%.1f, \"pss_mb\": %.1f}\n",
         (int)name.len, name.ptr, lm_engine_describe(engine), config->backend.threads, PROMPT,
         first * 1e3, 1.0 / best_write, PROMPT / best_read, (double)resident_kb("Pss:") / 1024.0);
  return 0;
}

/* pick_backend takes "vulkan" or "vulkan:" off the device; NULL when this build has it not. */
static const lm_backend_ops *pick_backend(const char **device) {
  if (*device == NULL || strncmp(*device, "vulkan", 6) != 0) return lm_cpu_backend();
  *device += (*device)[6] == ':' ? 7 : 6;
#ifdef DEAI_VULKAN
  return lm_vulkan_backend();
#else
  return NULL;
#endif
}

int main(int count, char **arguments) {
  if (count < 2) return fail("usage", "lm_bench MODEL [THREADS [DEVICE]]");
  int descriptor = open(arguments[1], O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return fail("model", "cannot be opened");
  lm_model *model = NULL;
  lm_engine *engine = NULL;
  lm_error error = {{0}};
  lm_engine_config config = {.ctx = CONTEXT, .caches = 1};
  config.backend.threads = count > 2 ? (uint32_t)strtoul(arguments[2], NULL, 10) : 0;
  config.backend.device = count > 3 ? arguments[3] : NULL;
  const lm_backend_ops *ops = pick_backend(&config.backend.device);
  if (ops == NULL) return fail("device", "this build has no Vulkan");
  double start = now_s();
  if (lm_model_open(descriptor, CONTEXT, &model, &error) != DEAI_OK)
    return fail("model", error.text);
  (void)close(descriptor);
  if (lm_engine_open(model, ops, &config, &engine, &error) != DEAI_OK)
    return fail("engine", error.text);
  (void)fprintf(stderr, "loaded in %.0f ms\n", (now_s() - start) * 1e3);
  int failed = bench(model, &config, engine);
  lm_engine_close(engine);
  lm_model_close(model);
  return failed;
}
