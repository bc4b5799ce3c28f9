#ifndef DEAI_PLUGINS_COMPUTE_LM_SESSION_H
#define DEAI_PLUGINS_COMPUTE_LM_SESSION_H

#include "backend.h"
#include "error.h"
#include "model.h"
#include "sampler.h"

#include "deai/types.h"

#include <stdbool.h>
#include <stdint.h>

/* An lm_engine is one model on one device with a few KV caches; an lm_session is one answer being
   written, or replayed, on it. The plug-ins compute/cpu and compute/vulkan turn deai.lm/1 into
   these calls.

     lm_session_open --> PREFILL --step...--> WRITING --step: a token each--> ENDED --> close
                             '---- replay: every output token is forced -----^
     close at any time = cancel.

   One step is one pass of the device, at most LM_COLUMNS_MAX columns, so a thread can look for a
   cancel between two steps. lm_session_step takes several sessions at once: their columns share the
   pass and the weights cross the memory bus once for all of them.

   Text   A step's text is whole UTF-8: an incomplete character waits for the next token, a byte
          that can no longer become one turns into U+FFFD. What may be the beginning of a stop
          string waits too; the stop string itself is never given out. Control tokens have no text.
   Tokens The token that ends an answer (end-of-turn, or the one that completes a stop string)
          counts as an output token: it is in n and in the root.
   Forced Output tokens another provider has delivered: positions 0.. of the output, not given out
          again. The text filter runs over them silently, so the answer goes on to the byte: the
          first new token's text begins with what the filter still held back. When the last of
          them ends the answer, the session ends with finish = stop and no text: what was held
          back went out with that token.
   Root   RFC 6962 tree over all output positions i, forced too: leaf(i) = SHA-256(0x00 || u32 i ||
          u32 token || SHA-256(hidden) || SHA-256(logits)), floats and integers little-endian.
   Replay All output tokens are forced and max = their number; wrong = the first i that the sampler
          does not choose from the logits of its position, -1 when it chooses them all.
   Reuse  A cache keeps its tokens after the session. The next session of the same (caller, origin)
          starts behind the common prefix; nobody else's prefix is ever reused, so the time an
          answer takes tells nothing about other callers.

   Threads  Engine calls and steps are serialised by a lock inside the engine: any thread may call,
            one session by one thread at a time. open and close do not wait for the device longer
            than the step in progress.
   Memory   ids, stop strings and keys are copied at open. A step's text and rows live until the
            next call on that session. An engine owns its backend, not its model.
   Limits   prompt + max <= ctx of the engine, else DEAI_EINVAL with both numbers.
            LM_STOPS_MAX stop strings of 1..LM_STOP_BYTES_MAX bytes.
   Caveats  A numeric fault (N3) ends the session with DEAI_EINVAL "numeric fault at position t": it
            depends on model and tokens only, so another provider would find the same. */

#define LM_STOPS_MAX      16
#define LM_STOP_BYTES_MAX 256
#define LM_CACHES_MAX     64
#define LM_PASS_MS        250 /* aim for one pass of one session while a prompt is read */

typedef struct lm_engine lm_engine;
typedef struct lm_session lm_session;

typedef struct lm_engine_config {
  uint32_t ctx;    /* positions of a session; 0 = the model's; more than the model's is refused */
  uint32_t caches; /* sessions at a time, 1..LM_CACHES_MAX; 0 = 4 */
  uint32_t chunk;  /* columns of a pass while a prompt is read, 1..LM_COLUMNS_MAX; 0 = as many as
                      keep a pass near LM_PASS_MS, so that a cancel never waits long */
  lm_backend_config backend;
} lm_engine_config;

typedef struct lm_request {
  const uint32_t *ids; /* the prompt, 1 or more */
  uint32_t id_count;
  const uint32_t *forced;
  uint32_t forced_count;
  uint32_t max; /* output tokens, forced ones counted; >= forced_count */
  const deai_bytes *stops;
  uint32_t stop_count;
  lm_sampler sampler;
  uint32_t logprobs; /* 0 = none, 1..20: the chosen token and the n best */
  bool replay;
  deai_bytes caller; /* who may reuse the cache: the caller's key ... */
  deai_bytes origin; /* ... and whom it speaks for, as the glue knows it; both may be empty */
} lm_request;

typedef enum lm_finish {
  LM_FINISH_NONE,
  LM_FINISH_STOP,
  LM_FINISH_LENGTH,
} lm_finish;

typedef struct lm_step {
  int32_t status; /* DEAI_OK, or why this session failed (lm_session_error has the text) */
  bool has_token; /* a new output token; false while the prompt is read */
  uint32_t token;
  deai_bytes text; /* what may be given out now, often empty */
  const lm_logprob *logprobs;
  uint32_t logprob_count; /* rows, 1 + top; 0 when not asked for */
  lm_finish finish;       /* not NONE = this was the last step */
} lm_step;

typedef struct lm_result {
  uint32_t n;                    /* output tokens so far, forced ones counted */
  uint8_t root[DEAI_HASH_BYTES]; /* over these n positions */
  lm_finish finish;
  int64_t wrong;    /* replay: see the page; -1 otherwise */
  uint32_t reused;  /* prompt tokens taken from the cache */
  uint32_t columns; /* columns computed for this session */
} lm_result;

/* lm_engine_open opens the backend with model (which must outlive the engine). Returns what the
   backend says, or DEAI_EINVAL for a ctx, caches or chunk outside the limits. [worker] */
DEAI_MUST_CHECK int32_t lm_engine_open(const lm_model *model, const lm_backend_ops *ops,
                                       const lm_engine_config *config, lm_engine **engine_out,
                                       lm_error *error);

/* lm_engine_close frees the engine; every session was closed before. NULL is fine. */
void lm_engine_close(lm_engine *engine);

/* lm_engine_ctx returns the positions of a session. [any] */
uint32_t lm_engine_ctx(const lm_engine *engine);

/* lm_engine_load returns how many sessions are open, of lm_engine_caches. [any] */
uint32_t lm_engine_load(lm_engine *engine);

/* lm_engine_caches returns how many sessions may be open at a time. [any] */
uint32_t lm_engine_caches(const lm_engine *engine);

/* lm_engine_describe returns one line about the device; lives as long as the engine. [any] */
const char *lm_engine_describe(const lm_engine *engine);

/* lm_request_check refuses with DEAI_EINVAL a request that breaks a limit: counts against ctx, ids
   outside the vocabulary of shape, sampler, stop strings. Without a device, so at once. [any] */
DEAI_MUST_CHECK int32_t lm_request_check(const lm_request *request, const lm_shape *shape,
                                         uint32_t ctx, lm_error *error);

/* lm_session_open takes a cache. What lm_request_check says, DEAI_EBUSY when every cache is taken,
   DEAI_ENOMEM. Computes nothing yet. */
DEAI_MUST_CHECK int32_t lm_session_open(lm_engine *engine, const lm_request *request,
                                        lm_session **session_out, lm_error *error);

/* lm_session_step runs one pass for count sessions (1..LM_COLUMNS_MAX, all of one engine, none
   ended, each at most once) and fills steps[i] for sessions[i]. When columns run short, prompts get
   what single tokens leave, at least one each. Returns DEAI_OK when the pass ran, even if a session
   failed (its step says so); DEAI_EINVAL for an ended session; any other answer comes from the
   device: the engine must be closed. [worker] */
DEAI_MUST_CHECK int32_t lm_session_step(lm_session *const *sessions, uint32_t count,
                                        lm_step *steps);

/* lm_session_result tells where the session is; right at any time, so also for a cancel. */
void lm_session_result(const lm_session *session, lm_result *result_out);

/* lm_session_error returns the text of the failure, "" when there was none. */
const char *lm_session_error(const lm_session *session);

/* lm_session_close gives the cache back and frees the session; NULL is fine. */
void lm_session_close(lm_session *session);

#endif
