#ifndef DEAI_HOST_PLUGIN_CONFINE_H
#define DEAI_HOST_PLUGIN_CONFINE_H

#include "deai/status.h"

#include <stdbool.h>
#include <stdint.h>

/* What a deai-plughost child gives up before any code of its plug-in runs: new privileges, core
   dumps, its parent's death, memory above a cap, and - where the kernel has Landlock - every path
   but its own folder, its own file, the system's libraries and, if it needs them, GPU device nodes.

   Threads  [any], once, before threads are made
   Source   landlock(7), prctl(2), setrlimit(2) */

typedef struct deai_confine_options {
  const char *folder;  /* own folder: read and write */
  int plugin_fd;       /* the plug-in's file: read and execute */
  uint64_t memory_max; /* RLIMIT_AS in bytes, 0 = none; ignored in sanitizer builds */
  bool gpu;            /* device nodes of GPUs: read and write */
} deai_confine_options;

/* deai_confine gives them up. *landlock_out says whether the kernel confines paths. A refusal of
   anything but Landlock is an error: the child must not go on. */
DEAI_MUST_CHECK int32_t deai_confine(const deai_confine_options *options, bool *landlock_out);

#endif
