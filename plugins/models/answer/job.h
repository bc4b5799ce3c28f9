#ifndef DEAI_PLUGINS_MODELS_ANSWER_JOB_H
#define DEAI_PLUGINS_MODELS_ANSWER_JOB_H

#include "output.h"
#include "request.h"

/* An answer_job turns one checked request into what its output sends.

     models --> encode, a prompt at a time --> generate, a choice at a time --> over
                     '------ busy ------'         |  ^        |  ^
                       (again after 100 ms)       '--' lost   '--' audit, when the client waits

   Choices   One after the other: the second one of a prompt finds the first one's cache, and one
             request never takes more than one place at a provider.
   Lost      A provider that dies or is cut off after its first part is replaced: the next one gets
             all delivered tokens as forced. It runs its text filter over them in silence, so text
             that the lost one had still held back comes with its first new token, and the parts
             put together are the same bytes as from one provider. At most ANSWER_RESUMES_MAX times.
   Busy      Every place taken: asked again until ANSWER_BUSY_MAX tries are over, then 429.
   Stream    One event a part. Receipt, price and audit come as comment lines behind a choice.
   Threads   [loop]
   Memory    A job owns its request. Its output outlives it.
   Limits    inst->queue jobs of one model at a time, then 429. */

#define ANSWER_RESUMES_MAX 2u
#define ANSWER_BUSY_MS     100u
#define ANSWER_BUSY_MAX    300u

typedef struct answer_job answer_job;

/* What a client may ask for in headers of its request, besides what the API knows. */
typedef struct answer_wishes {
  bool explain;  /* x-deai-explain: 1, see explain.h; waits for the audit */
  bool no_audit; /* x-deai-audit: none */
  bool has_via;  /* x-deai-via: only the node with this key (hex) sees the prompt and answers */
  uint8_t via[DEAI_KEY_BYTES];
} answer_wishes;

/* answer_job_start takes request (emptied) and begins. NULL when memory is refused. */
DEAI_MUST_CHECK answer_job *answer_job_start(answer_output *output, answer_request *request,
                                             const answer_wishes *wishes);

/* answer_job_model returns the CID of the model while the job waits or runs, else empty. */
deai_bytes answer_job_model(const answer_job *job);

/* answer_job_busy_again asks again if the job waits for a place. */
void answer_job_busy_again(answer_job *job);

/* answer_job_free cancels what is under way and frees the job; NULL is fine. */
void answer_job_free(answer_job *job);

#endif
