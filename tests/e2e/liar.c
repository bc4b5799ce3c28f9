/* compute/cpu that lies, for tests of audits: all of it is the production service over the
   production device, with one function between them that tells the lie. LIAR_KIND says which:
     1  the lowest bit of one logit of each token is flipped: the token stays, the root does not
     2  tokens are drawn with another seed than the one that was asked for, and the END says the one
        asked for: the root is that of an honest prefill of these tokens */
#include "plugins/compute/cpu/cpu.h"
#include "plugins/compute/lm/service.h"

#include "deai/contracts/lm.h"
#include "deai/contracts/wire.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define LIAR_LOGIT 1
#define LIAR_SEED  2
#define OPEN_MAX   64u

DEAI_MANIFEST_FILE("manifest.json");

#if LIAR_KIND == LIAR_LOGIT

static uint32_t vocab;

static int32_t lying_open(const lm_model *model, const lm_backend_config *config,
                          lm_backend **backend_out, lm_error *error) {
  vocab = lm_model_shape(model)->vocab;
  return lm_cpu_backend()->open(model, config, backend_out, error);
}

/* flip changes the lowest bit of the smallest logit: nothing draws that token. */
static void flip(float *logits) {
  uint32_t bits;
  uint32_t at = 0;
  for (uint32_t i = 1; i < vocab; i++)
    if (logits[i] < logits[at]) at = i;
  memcpy(&bits, &logits[at], sizeof bits);
  bits ^= 1;
  memcpy(&logits[at], &bits, sizeof bits);
}

static int32_t lying_forward(lm_backend *backend, const lm_column *columns, uint32_t count,
                             const lm_outputs *outputs) {
  uint32_t row = 0;
  int32_t status = lm_cpu_backend()->forward(backend, columns, count, outputs);
  for (uint32_t i = 0; status == DEAI_OK && i < count; i++)
    if (columns[i].want) flip(outputs->logits + (size_t)row++ * vocab);
  return status;
}

static int32_t create(const deai_host *host, deai_ctx *ctx, deai_bytes settings,
                      deai_inst **inst_out, char *err, uint32_t err_cap) {
  static lm_backend_ops ops;
  ops = *lm_cpu_backend();
  ops.open = lying_open;
  ops.forward = lying_forward;
  return lm_service_create(&ops, host, ctx, settings, inst_out, err, err_cap);
}

#define LIAR_CALL lm_service_call

#elif LIAR_KIND == LIAR_SEED

/* The calls that were lied to. */
static struct {
  uint64_t ticket;
  uint64_t seed; /* as it was asked for */
} told[OPEN_MAX];

static const deai_host *real_host;
static deai_host lying_host;

/* lying_reply puts the seed that was asked for into the END. */
static int32_t lying_reply(deai_ctx *ctx, uint64_t ticket, const deai_part *part) {
  static uint8_t room[DEAI_HEAD_MAX];
  deai_lm_end end;
  deai_part changed = *part;
  for (uint32_t i = 0; i < OPEN_MAX; i++) {
    if (told[i].ticket != ticket || (part->flags & DEAI_PART_END) == 0) continue;
    told[i].ticket = 0;
    if (deai_decode(&deai_lm_end_table, part->args, &end, NULL, NULL, 0) != DEAI_OK) break;
    end.sampler.seed = told[i].seed;
    deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
    if (deai_encode(&deai_lm_end_table, &end, &writer, NULL, 0) != DEAI_OK) break;
    changed.args = deai_bytes_of(room, writer.len);
  }
  return real_host->reply(ctx, ticket, &changed);
}

static int32_t create(const deai_host *host, deai_ctx *ctx, deai_bytes settings,
                      deai_inst **inst_out, char *err, uint32_t err_cap) {
  real_host = host;
  memcpy(&lying_host, host, host->size < sizeof lying_host ? host->size : sizeof lying_host);
  lying_host.reply = lying_reply;
  return lm_service_create(lm_cpu_backend(), &lying_host, ctx, settings, inst_out, err, err_cap);
}

static int32_t lying_call(deai_inst *inst, uint64_t ticket, const deai_call_info *info,
                          const deai_part *first, char *err, uint32_t err_cap) {
  static uint8_t room[DEAI_HEAD_MAX];
  static _Alignas(16) uint8_t arena_room[4096];
  deai_arena arena = {arena_room, sizeof arena_room, 0};
  deai_lm_job job;
  deai_part changed = *first;
  uint32_t at = 0;
  while (at < OPEN_MAX && told[at].ticket != 0)
    at++;
  bool lie = deai_str_eq(info->method, deai_str_of("generate")) != 0 && at < OPEN_MAX &&
             deai_decode(&deai_lm_job_table, first->args, &job, &arena, NULL, 0) == DEAI_OK;
  if (lie) {
    told[at].ticket = ticket;
    told[at].seed = job.sampler.seed;
    job.sampler.seed ^= 1;
    deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
    if (deai_encode(&deai_lm_job_table, &job, &writer, NULL, 0) == DEAI_OK)
      changed.args = deai_bytes_of(room, writer.len);
  }
  int32_t status = lm_service_call(inst, ticket, info, &changed, err, err_cap);
  if (status != DEAI_OK && lie) told[at].ticket = 0;
  return status;
}

#define LIAR_CALL lying_call

#endif

static const deai_plugin plugin = {.size = (uint32_t)sizeof(deai_plugin),
                                   .create = create,
                                   .start = lm_service_start,
                                   .stop = lm_service_stop,
                                   .destroy = lm_service_destroy,
                                   .on_call = LIAR_CALL,
                                   .on_part = lm_service_part,
                                   .on_drain = lm_service_drain,
                                   .on_cancel = lm_service_cancel};

int32_t deai_plugin_entry(deai_hello *hello) {
  return deai_hello_accept(hello, &plugin);
}
