#ifndef DEAI_PLUGINS_COMPUTE_LM_SERVICE_PRIVATE_H
#define DEAI_PLUGINS_COMPUTE_LM_SERVICE_PRIVATE_H

#include "cid.h"
#include "service.h"
#include "settings.h"
#include "tasks.h"
#include "writer.h"

#include "deai/contracts/lm.h"
#include "deai/contracts/wire.h"

/* What the files of the service share; nobody else includes it.

     service.c   life, dispatch, the tick of a second; method models
     shelf.c     the models: load, unload, wake, sleep, keep
     jobs.c      generate and replay
     encode.c    encode

   A model on the shelf is in one of these states, told by its members:
     coming   model == NULL: asked for at the block store, read by the loader, or waiting for a
     retry
     awake    model and engine
     asleep   model, no engine
     leaving  unload was asked: takes no jobs, and goes when the last one is over
   busy says that a task of the loader has hold of it.

   Threads  [loop]; only `abort`, `posted` and what tasks carry are seen elsewhere. */

#define LM_TEXT_MAX  32768u /* bytes of text in one part, as deai_lm_tokens has it */
#define LM_EMPTY_MAP deai_bytes_of("\xa0", 1) /* {} */

typedef struct lm_held {
  bool used;
  lm_cid cid; /* none while a file is not hashed yet */
  char name[DEAI_NAME_MAX + 1];
  uint8_t template_hash[DEAI_HASH_BYTES];
  lm_model *model;
  lm_engine *engine;
  int descriptor;         /* of the weights while it is coming, else -1 */
  uint64_t blocks_ticket; /* call to the block store in progress, or DEAI_NO_TICKET */
  bool fetching;          /* it is a fetch */
  bool fetched;
  bool busy;
  bool hash;    /* a file: its CID is to be computed */
  bool kept;    /* in the file `models` */
  bool wanted;  /* at start, from settings or the file: retried */
  bool leaving; /* tickets are those of unload */
  bool broken;  /* the device was lost */
  uint32_t jobs;
  uint32_t active; /* of them with the writer */
  uint32_t encodes;
  uint32_t idle_s;
  uint32_t retry_s; /* until the next try; 0 = none planned */
  uint32_t delay_s; /* the last one */
  uint64_t tickets[LM_SERVICE_WAITERS];
  uint32_t ticket_count;
  atomic_bool abort; /* the loader should give up */
} lm_held;

typedef struct lm_job {
  struct lm_job *next;
  uint64_t ticket;
  lm_held *held;
  bool placed; /* the writer has it */
  bool blocked;
  int32_t cancel; /* status it is given up with, or 0 */
  char why[DEAI_ERR_CAP];
  lm_run run;
  uint32_t n; /* delivered: output tokens, and the root over them */
  uint8_t root[DEAI_HASH_BYTES];
  deai_bytes stops[LM_STOPS_MAX];
  uint32_t *ids;   /* prompt, forced */
  uint8_t bytes[]; /* caller, origin, stop strings */
} lm_job;

typedef struct lm_encoding lm_encoding;

struct deai_inst {
  const lm_backend_ops *ops;
  const deai_host *host;
  deai_ctx *ctx;
  lm_settings *settings;
  char *folder;
  lm_writer *writer;
  lm_tasks *loader;
  lm_tasks *helper;   /* encodes, and writes the list of models */
  atomic_bool posted; /* a delivery is on its way */
  lm_held shelf[LM_SETTINGS_MODELS_MAX];
  lm_job *jobs; /* oldest first */
  lm_encoding *encodings;
  uint8_t head[DEAI_HEAD_MAX]; /* room for one encoded head */
  uint8_t text[LM_TEXT_MAX];
};

/* lm_post asks for a delivery of news on the loop. [any] */
void lm_post(deai_inst *inst);

/* lm_reply_end ends ticket with status; value of table (NULL = {}) is the END's argument. */
void lm_reply_end(deai_inst *inst, uint64_t ticket, int32_t status, const deai_table *table,
                  const void *value, const char *why);

/* ---- shelf.c ---- */

/* lm_shelf_start begins to load what settings and the file `models` name; DEAI_EIO and so on when a
   file of the settings cannot be opened. */
DEAI_MUST_CHECK int32_t lm_shelf_start(deai_inst *inst, char *err, uint32_t err_cap);

/* lm_shelf_abort makes the loader give up. */
void lm_shelf_abort(deai_inst *inst);

/* lm_shelf_close frees all models; the threads are gone. */
void lm_shelf_close(deai_inst *inst);

/* lm_shelf_find returns the model of cid that takes jobs. DEAI_EINVAL for no CID, DEAI_ENOTFOUND,
   DEAI_EBUSY while it is coming. */
DEAI_MUST_CHECK int32_t lm_shelf_find(deai_inst *inst, deai_bytes cid, lm_held **held_out,
                                      char *err, uint32_t err_cap);

/* lm_shelf_load and lm_shelf_unload serve the methods of that name. */
DEAI_MUST_CHECK int32_t lm_shelf_load(deai_inst *inst, uint64_t ticket, deai_bytes args, char *err,
                                      uint32_t err_cap);
/* lm_shelf_unload: see lm_shelf_load. */
DEAI_MUST_CHECK int32_t lm_shelf_unload(deai_inst *inst, uint64_t ticket, deai_bytes args,
                                        char *err, uint32_t err_cap);

/* lm_shelf_part takes a part of a call to the block store; false = the ticket is not one. */
bool lm_shelf_part(deai_inst *inst, uint64_t ticket, const deai_part *part);

/* lm_shelf_cancel forgets a caller of load or unload; false = the ticket is none. */
bool lm_shelf_cancel(deai_inst *inst, uint64_t ticket, int32_t status);

/* lm_shelf_tick counts a second: retries, and models that idle. */
void lm_shelf_tick(deai_inst *inst);

/* lm_shelf_settle looks what held needs next: an engine, its end, nothing. */
void lm_shelf_settle(deai_inst *inst, lm_held *held);

/* lm_shelf_ctx returns the tokens of a session of held. */
uint32_t lm_shelf_ctx(const lm_held *held);

/* ---- jobs.c ---- */

/* lm_jobs_begin serves generate, and replay. */
DEAI_MUST_CHECK int32_t lm_jobs_begin(deai_inst *inst, uint64_t ticket, const deai_call_info *info,
                                      const deai_part *first, bool replay, char *err,
                                      uint32_t err_cap);

/* lm_jobs_place hands waiting jobs to the writer where their model has a place. */
void lm_jobs_place(deai_inst *inst);

/* lm_jobs_fail ends the jobs of held that wait. */
void lm_jobs_fail(deai_inst *inst, lm_held *held, int32_t status, const char *why);

/* lm_jobs_deliver sends what the writer has. */
void lm_jobs_deliver(deai_inst *inst);

/* lm_jobs_drain goes on with ticket; lm_jobs_cancel gives it up; false = it is no job's. */
bool lm_jobs_drain(deai_inst *inst, uint64_t ticket);
/* lm_jobs_cancel: see lm_jobs_drain. */
bool lm_jobs_cancel(deai_inst *inst, uint64_t ticket, int32_t status);

/* lm_jobs_close frees all jobs; the writer is closed. */
void lm_jobs_close(deai_inst *inst);

/* ---- encode.c ---- */

/* lm_encode_begin serves encode. */
DEAI_MUST_CHECK int32_t lm_encode_begin(deai_inst *inst, uint64_t ticket, const deai_part *first,
                                        char *err, uint32_t err_cap);

/* lm_encode_drain and lm_encode_cancel: as for jobs. */
bool lm_encode_drain(deai_inst *inst, uint64_t ticket);
/* lm_encode_cancel: see lm_encode_drain. */
bool lm_encode_cancel(deai_inst *inst, uint64_t ticket, int32_t status);

/* lm_encode_close frees what is left; the helper is closed. */
void lm_encode_close(deai_inst *inst);

#endif
