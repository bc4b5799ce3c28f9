#ifndef DEAI_HOST_PLUGIN_LOADER_H
#define DEAI_HOST_PLUGIN_LOADER_H

#include "deai/plugin.h"
#include "host/plugin/manifest.h"

/* The loader opens a plug-in's file once, looks at it, and loads that same descriptor.

     open: absolute path, regular file, owned by root or us, not writable by others
           -> hash -> manifest        no code has run so far
     load: dlopen(/proc/self/fd/N, NOW|LOCAL|NODELETE) -> entry -> version window -> table copy

   Threads  [loop]
   Memory   A deai_loaded is plain; close frees it. A library is never unloaded.
   Source   rules A1, A2, A4, A6 of the plug-in contract (docs/plugin-authors.md) */

typedef struct deai_loaded {
  int fd; /* -1 = not open */
  char path[4096];
  uint8_t sha256[DEAI_HASH_BYTES];
  deai_manifest manifest;
  deai_plugin plugin; /* after load: the plug-in's table, copied once; unknown slots are NULL */
} deai_loaded;

/* deai_loader_open checks the file at path, hashes it and reads its manifest. pin is the expected
   SHA-256 or NULL. Refusals name file, what was expected, what was found. */
DEAI_MUST_CHECK int32_t deai_loader_open(deai_loaded *out, const char *path, const uint8_t *pin,
                                         char *err, uint32_t err_cap);

/* deai_loader_adopt does the same for a descriptor that is already open (a child gets one). */
DEAI_MUST_CHECK int32_t deai_loader_adopt(deai_loaded *out, int fd, char *err, uint32_t err_cap);

/* deai_loader_load runs the plug-in's entry and takes its table. */
DEAI_MUST_CHECK int32_t deai_loader_load(deai_loaded *loaded, char *err, uint32_t err_cap);

/* deai_loader_close closes the descriptor and frees the manifest. */
void deai_loader_close(deai_loaded *loaded);

/* deai_table_take copies a sized table of the other side into mine: slots that the other side does
   not know read as NULL, slots that we do not know are left behind. DEAI_EVERSION when the size is
   below least or no multiple of a pointer. [any] */
DEAI_MUST_CHECK int32_t deai_table_take(void *mine, uint32_t mine_bytes, const void *theirs,
                                        uint32_t least_bytes);

#endif
