#ifndef DEAI_PLUGINS_MODELS_ANSWER_INST_H
#define DEAI_PLUGINS_MODELS_ANSWER_INST_H

#include "call.h"
#include "models.h"

#include "deai/host.h"

#include <stdbool.h>

/* What the parts of models/answer share: one deai_inst.

   Objects  An exchange (plugin.c) is one HTTP request; it owns its output, and a job when it asks a
            model. A link (call.h) is a call made. An audit lives on when its exchange is gone.
   Freeing  An exchange that is over is freed by the sweep at the end of a callback, never below
            its own functions.
   Threads  [loop] */

#define ANSWER_EXCHANGES_MAX 256u
#define ANSWER_AUDITS_MAX    16u
#define ANSWER_ROOM_BYTES    (2u << 20) /* a head of 64 KiB decoded takes at most 1.5 MiB */

typedef struct answer_exchange answer_exchange;
typedef struct answer_audit answer_audit;

typedef struct answer_settings {
  uint64_t audit; /* 10^-6 */
  deai_str route;
  uint64_t queue;
  deai_str preset; /* what the model "default" stands for */
  uint8_t audit_wait;
} answer_settings;

/* Counters in /metrics, by their name there. */
typedef struct answer_counts {
  uint64_t answers;
  uint64_t answers_failed;
  uint64_t answers_resumed;
  uint64_t queue_full;
  uint64_t audits_equal;
  uint64_t audits_unequal;
  uint64_t audits_none;
  uint64_t audits_alone; /* of them: no second provider */
  uint64_t audits_objected;
} answer_counts;

struct deai_inst {
  const deai_host *host;
  deai_ctx *ctx;
  bool started;
  uint64_t audit;
  bool audit_wait;
  bool local_only;
  uint64_t queue;
  char preset[201];
  int64_t created; /* seconds since 1970: "created" of the models */
  uint8_t *room;   /* arena of decoded heads, one head at a time */
  bool busy_timer; /* a retry of busy jobs is due */
  answer_models models;
  answer_exchange *exchanges;
  answer_link *links;
  answer_audit *audits;
  answer_counts counts;
};

/* answer_arena returns the arena over room; what was decoded before is gone. */
static inline deai_arena answer_arena(deai_inst *inst) {
  return (deai_arena){inst->room, ANSWER_ROOM_BYTES, 0};
}

/* answer_count adds 1 to counter and shows it as deai_<name>. */
static inline void answer_count(deai_inst *inst, const char *name, uint64_t *counter) {
  inst->host->count(inst->ctx, name, ++*counter);
}

/* answer_jobs_of counts the jobs of one model that wait or run. */
uint32_t answer_jobs_of(const deai_inst *inst, deai_bytes model);

/* answer_busy_soon has all busy jobs ask again after ANSWER_BUSY_MS, the oldest first. */
DEAI_MUST_CHECK int32_t answer_busy_soon(deai_inst *inst);

#endif
