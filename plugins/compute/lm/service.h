#ifndef DEAI_PLUGINS_COMPUTE_LM_SERVICE_H
#define DEAI_PLUGINS_COMPUTE_LM_SERVICE_H

#include "backend.h"

#include "deai/host.h"

/* The service deai.lm/1 for any backend: a plug-in fills its deai_plugin with these functions and
   its create calls lm_service_create with the table of its device.

     load    cid --blocks open (fetch first if it is not here)--> descriptor --> model + engine
     job     CALL --checks--> [queue] --a place of its model--> run --> parts, END
     idle    engine closed after `keep`; the next job opens it again

   Jobs    LM_SERVICE_PLACES jobs of a model run at a time and share each pass; `queue` more wait
           (settings.h), then DEAI_EBUSY. A job for a model that is not loaded: DEAI_ENOTFOUND.
   Parts   The first token goes out at once; when the loop lags, up to 16 tokens share a part. A
           reply that answers DEAI_EAGAIN holds that job's session, 16 tokens ahead at most, until
           on_drain. When a job ends early, n and root of its END are over the tokens delivered.
   Cancel  The session ends within one pass. The counter `tokens` of the plug-in counts all output
           tokens ever chosen, so anybody can see that work stopped.
   Reuse   What a prompt has in common with an earlier one of the same caller and origin is not
           computed again (session.h).
   Models  The CIDs that `load` was called for are kept in the file `models` of the plug-in's folder
           and loaded again at start, in the background and as often as it takes. After each change
           the offer of the node record is renewed. unload: running answers end first.

   Threads  [loop] and the states of deai_plugin. Three threads work below: the writer computes,
            the loader reads models, the helper encodes; the backend has its own.
   Limits   LM_SETTINGS_MODELS_MAX models, LM_SERVICE_WAITERS callers waiting for one load.
   Caveats  stop returns after the pass in progress, which LM_PASS_MS keeps short. */

#define LM_SERVICE_PLACES  4u
#define LM_SERVICE_WAITERS 8u

/* lm_service_create makes the instance of a plug-in on the device of ops. [loop] */
int32_t lm_service_create(const lm_backend_ops *ops, const deai_host *host, deai_ctx *ctx,
                          deai_bytes settings, deai_inst **inst_out, char *err, uint32_t err_cap);

/* lm_service_start, and so on, are the functions of the same name in deai_plugin. */
int32_t lm_service_start(deai_inst *inst, char *err, uint32_t err_cap);
/* lm_service_stop: see lm_service_start. */
void lm_service_stop(deai_inst *inst);
/* lm_service_destroy: see lm_service_start. */
void lm_service_destroy(deai_inst *inst);
/* lm_service_call: see lm_service_start. */
int32_t lm_service_call(deai_inst *inst, uint64_t ticket, const deai_call_info *info,
                        const deai_part *first, char *err, uint32_t err_cap);
/* lm_service_part: see lm_service_start. */
int32_t lm_service_part(deai_inst *inst, uint64_t ticket, const deai_part *part);
/* lm_service_drain: see lm_service_start. */
void lm_service_drain(deai_inst *inst, uint64_t ticket);
/* lm_service_cancel: see lm_service_start. */
void lm_service_cancel(deai_inst *inst, uint64_t ticket, int32_t status);

#endif
