#ifndef DEAI_HOST_PLUGIN_CHILD_H
#define DEAI_HOST_PLUGIN_CHILD_H

#include "host/link.h"
#include "host/plugin/instance.h"

/* A deai_child is a plug-in in a process of its own (deai-plughost): the host's side of it.

     starting --HELLO, settings, started--> running --stop--> stopping --> stopped
        |  ^                                   |
        |  '---- back-off 0.5 s to 60 s -------'  died (signal, exit, no heartbeat, broken frames)
        '--> refused: it said why it cannot start; tried again with the same back-off
     quarantined: DEAI_CHILD_DEATHS_MAX deaths in 10 minutes; not started again

   The death of a child is an ordinary event: its calls end once with DEAI_EPLUGIN_DIED, the reason
   is kept and shown, nothing else is harmed.

   Log      DEAI_CHILD_LOG_LINES_MAX lines a second are written; how many were left out is said.
   Threads  [loop] */

#define DEAI_CHILD_LOG_LINES_MAX 100u

#define DEAI_CHILD_BEAT_MS    2000u
#define DEAI_CHILD_SILENT_MS  10000u /* without an answer to a beat it is killed */
#define DEAI_CHILD_START_MS   30000u
#define DEAI_CHILD_STOP_MS    5000u
#define DEAI_CHILD_DEATHS_MAX 12u /* the back-off leaves room for 16 in 10 minutes */
#define DEAI_CHILD_NO_MEMORY  112 /* exit code of a deai-plughost that had none before its HELLO */

typedef struct deai_child deai_child;

typedef struct deai_child_options {
  deai_loop *loop;
  deai_loaded *loaded;  /* opened, not loaded: no code of it runs in this process */
  deai_bytes settings;  /* copied */
  const char *folder;   /* copied */
  const char *plughost; /* absolute path of deai-plughost */
  uint64_t memory_max;  /* bytes of address space, 0 = no limit */
  uint64_t silent_ms;   /* 0 = DEAI_CHILD_SILENT_MS */
  const deai_instance_ops *ops;
  void *user;
  /* ready is called when it is running and each time it is no longer */
  void (*ready)(void *user, const char *plugin, bool running);
} deai_child_options;

/* deai_child_new starts the process; it becomes running later. NULL when memory is refused. */
DEAI_MUST_CHECK deai_child *deai_child_new(const deai_child_options *options);

/* deai_child_serve makes the plug-in the callee of call; DEAI_EPLUGIN_DIED while it does not run.
   */
DEAI_MUST_CHECK int32_t deai_child_serve(deai_child *child, deai_call *call);

/* deai_child_update passes an update on when the manifest asks for topic. */
void deai_child_update(deai_child *child, deai_str topic, deai_bytes value);

/* deai_child_state returns "starting", "running", ... */
const char *deai_child_state(const deai_child *child);

/* deai_child_reason returns why it died or was refused last, "" when it never did. */
const char *deai_child_reason(const deai_child *child);

/* deai_child_restarts returns how often it was started again. */
uint32_t deai_child_restarts(const deai_child *child);

/* deai_child_pid returns the process id, 0 when there is none. */
int deai_child_pid(const deai_child *child);

/* deai_child_stop asks the plug-in to stop; stopped is called once the process is gone (killed
   after DEAI_CHILD_STOP_MS). */
void deai_child_stop(deai_child *child, deai_task_fn *stopped, void *user);

/* deai_child_memory_text writes that plug-in `plugin` cannot start within memory_max bytes (0 = no
   limit of its own): expected, found, what to do. Host and child say the same. [any] */
void deai_child_memory_text(const char *plugin, uint64_t memory_max, char *out, uint32_t out_cap);

/* deai_child_free kills what is left and frees; NULL is allowed. */
void deai_child_free(deai_child *child);

#endif
