#ifndef DEAI_HOST_PLUGIN_INSTANCE_H
#define DEAI_HOST_PLUGIN_INSTANCE_H

#include "host/call.h"
#include "host/plugin/loader.h"

/* A deai_instance is one running plug-in: the host's side of deai_ctx. It is the same code in deaid
   and in a deai-plughost child; only what `open` does differs.

     NEW --create--> CREATED --start--> STARTED --stop--> CREATED --free--> gone

   It absorbs the races of the contract: nothing is delivered after stop, each direction ends once,
   stale tickets answer DEAI_ENOTFOUND, calls on a wrong thread or in a wrong state are refused,
   counted and logged with the plug-in's name.

   Threads  [loop], but for the functions of deai_host that are tagged [any]
   Limits   DEAI_INSTANCE_SERVED_MAX calls served at a time (then DEAI_EBUSY), DEAI_TICKETS_MAX
   made,
            DEAI_INSTANCE_POSTS_MAX posts that wait. */

#define DEAI_INSTANCE_SERVED_MAX 1024u
#define DEAI_INSTANCE_POSTS_MAX  4096u
#define DEAI_HOST_SERVICE        "deai.host/1-draft" /* submit: what a plug-in asks of its host */

typedef struct deai_instance deai_instance;

/* What an instance asks of the process it lives in. */
typedef struct deai_instance_ops {
  deai_open_fn *open; /* a call the plug-in makes */
  /* a new offer for the node record; [loop] */
  void (*describe)(void *user, const char *plugin, deai_str service, deai_bytes offer);
  /* a number for /metrics; [any] */
  void (*count)(void *user, const char *plugin, const char *name, uint64_t value);
} deai_instance_ops;

typedef struct deai_instance_options {
  deai_loop *loop;
  deai_loaded *loaded; /* loaded; outlives the instance */
  deai_bytes settings; /* canonical CBOR; copied by the plug-in if it wants it */
  const char *folder;  /* own folder, absolute; copied */
  const deai_instance_ops *ops;
  void *user;
} deai_instance_options;

/* deai_instance_new makes the instance and calls create. NULL with a reason in err. */
DEAI_MUST_CHECK deai_instance *deai_instance_new(const deai_instance_options *options, char *err,
                                                 uint32_t err_cap);

/* deai_instance_start calls start. */
DEAI_MUST_CHECK int32_t deai_instance_start(deai_instance *instance, char *err, uint32_t err_cap);

/* deai_instance_serve makes the plug-in the callee of call. DEAI_EBUSY when it serves as many as it
   may, DEAI_EPLUGIN_DIED when it is not started. */
DEAI_MUST_CHECK int32_t deai_instance_serve(deai_instance *instance, deai_call *call);

/* deai_instance_update delivers an update when the manifest asks for topic. */
void deai_instance_update(deai_instance *instance, deai_str topic, deai_bytes value);

/* deai_instance_stop ends all its calls with DEAI_EPLUGIN_DIED, waits for its work and calls
     stop. */
void deai_instance_stop(deai_instance *instance);

/* deai_instance_free stops if needed, calls destroy and frees; NULL is allowed. */
void deai_instance_free(deai_instance *instance);

/* deai_instance_open_calls returns how many calls it serves now. */
uint32_t deai_instance_open_calls(const deai_instance *instance);

/* deai_instance_faults returns how often it broke a rule of its thread or state. */
uint64_t deai_instance_faults(const deai_instance *instance);

#endif
