#ifndef DEAI_PLUGINS_COMPUTE_LM_SETTINGS_H
#define DEAI_PLUGINS_COMPUTE_LM_SETTINGS_H

#include "deai/codec.h"

/* The settings of a plug-in that offers deai.lm/1: the struct behind the schema in its manifest.

     threads     0 = one for each core; devices without threads ignore it
     context     tokens of prompt and answer together; 0 = the model's. More than a model has makes
                 its load fail; a job that is longer is refused with both numbers, never cut
     device      cpu: "c" or "avx2"; vulkan: index or part of a name; "" = the best
     models      CIDs ("b...") loaded at start, besides those that `load` was called for
     files       {name, path}: files loaded at start without a block store, for tests and benches;
                 a relative path begins in the plug-in's own folder, and in a child process that the
                 kernel confines no other folder can be read. Their CID is that of lm_cid_of_file
     queue       jobs that may wait for a place, all models together; more get DEAI_EBUSY
     keep        ms after which an idle model gives its memory back until the next job; 0 = never
     price_in    10^-9 coin for a prompt token,
     price_out   and for an output token

   Threads  [any]
   Memory   lm_settings_open copies the bytes; all texts point into the copy. */

#define LM_SETTINGS_MODELS_MAX  32u /* models and files together, and models held at a time */
#define LM_SETTINGS_THREADS_MAX 64u
#define LM_SETTINGS_QUEUE_MAX   1024u

typedef struct lm_settings_file {
  deai_str name;
  deai_str path;
} lm_settings_file;

typedef struct lm_settings {
  uint64_t keep;
  deai_list files; /* lm_settings_file */
  uint64_t queue;
  deai_str device;
  deai_list models; /* deai_str */
  uint64_t context;
  uint64_t threads;
  uint64_t price_in;
  uint64_t price_out;
} lm_settings;

extern const deai_table lm_settings_table;

/* lm_settings_open decodes the canonical CBOR that the host hands to create. DEAI_EINVAL with a
   reason for what the schema cannot say (a CID, too many models), DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t lm_settings_open(deai_bytes bytes, lm_settings **settings_out, char *err,
                                         uint32_t err_cap);

/* lm_settings_close frees them; NULL is fine. */
void lm_settings_close(lm_settings *settings);

#endif
