#ifndef DEAI_PLUGINS_MODELS_RANK_KEEP_H
#define DEAI_PLUGINS_MODELS_RANK_KEEP_H

#include "deai/status.h"
#include "deai/types.h"

/* One small file that is replaced as a whole: after a crash it is the old one or the new one.

     bytes --write--> NAME.new --fsync, rename, fsync of the folder--> NAME

   Threads  [any], one thread a file.
   Limits   RANK_KEEP_MAX bytes. */

#define RANK_KEEP_MAX 1048576u
#define RANK_KEEP_DIR 4096u

/* rank_keep_write replaces folder/name. DEAI_EIO, DEAI_EFULL, or DEAI_EINVAL for a path that is too
   long. */
DEAI_MUST_CHECK int32_t rank_keep_write(const char *folder, const char *name, deai_bytes bytes);

/* rank_keep_read reads folder/name into fresh memory (free it). DEAI_ENOTFOUND, DEAI_ETOOLARGE,
   DEAI_EIO, DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t rank_keep_read(const char *folder, const char *name, uint8_t **ptr_out,
                                       uint64_t *len_out);

#endif
