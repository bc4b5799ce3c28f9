#ifndef DEAI_PLUGINS_COMPUTE_LM_KEEP_H
#define DEAI_PLUGINS_COMPUTE_LM_KEEP_H

#include "cid.h"

/* The file `models` in a plug-in's folder: the CIDs that `load` was called for, as one CBOR map
   {models: [cid]}. It is replaced as a whole (temporary file, sync, rename, sync of the folder), so
   after a crash the old or the new list is found.

   Threads  [any]; waits for the disk, a few milliseconds
   Limits   LM_KEEP_MAX CIDs */

#define LM_KEEP_MAX 32u

/* lm_keep_write replaces the list. DEAI_EIO, DEAI_EINVAL for too many, with a reason in err. */
DEAI_MUST_CHECK int32_t lm_keep_write(const char *folder, const lm_cid *cids, uint32_t count,
                                      char *err, uint32_t err_cap);

/* lm_keep_read reads the list, at most cap (LM_KEEP_MAX or more) CIDs; no file is an empty list.
   DEAI_EINVAL or DEAI_EIO with a reason in err, and *count_out = 0. */
DEAI_MUST_CHECK int32_t lm_keep_read(const char *folder, lm_cid *cids, uint32_t cap,
                                     uint32_t *count_out, char *err, uint32_t err_cap);

#endif
