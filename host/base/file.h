#ifndef DEAI_HOST_BASE_FILE_H
#define DEAI_HOST_BASE_FILE_H

#include "deai/status.h"
#include "deai/types.h"

#include <stdint.h>

/* Small files as a whole, and folders: keys, genesis, state that is replaced at once.

   A file that deai_file_replace wrote is found after a crash with the old or the new contents,
   never with a mixture: the bytes go to a temporary file beside it, which is synced, renamed over
   the old one, and the folder is synced.

   Threads  [any]; may wait for the disk.
   Memory   What deai_file_read returns is freed by the caller with free.
   Limits   The caller names the largest size; a larger file is refused before memory is taken. */

/* deai_file_read reads the regular file at path, at most cap bytes; a zero byte stands behind the
   contents. Returns DEAI_ENOTFOUND, DEAI_ETOOLARGE or DEAI_EIO with a text in err. */
DEAI_MUST_CHECK int32_t deai_file_read(const char *path, uint64_t cap, uint8_t **ptr_out,
                                       uint64_t *len_out, char *err, uint32_t err_cap);

/* deai_file_replace puts bytes at path with mode (0600 for keys), atomically and durably. */
DEAI_MUST_CHECK int32_t deai_file_replace(const char *path, deai_bytes bytes, uint32_t mode,
                                          char *err, uint32_t err_cap);

/* deai_file_create is deai_file_replace for a path that must not exist; DEAI_EINVAL if it does. */
DEAI_MUST_CHECK int32_t deai_file_create(const char *path, deai_bytes bytes, uint32_t mode,
                                         char *err, uint32_t err_cap);

/* deai_folder_make makes the folder path with mode if it is not there, and syncs its parent. */
DEAI_MUST_CHECK int32_t deai_folder_make(const char *path, uint32_t mode, char *err,
                                         uint32_t err_cap);

/* deai_folder_sync makes the names inside the folder path durable. */
DEAI_MUST_CHECK int32_t deai_folder_sync(const char *path, char *err, uint32_t err_cap);

/* deai_path_join writes "folder/name" to out; DEAI_ETOOLARGE when it does not fit. */
DEAI_MUST_CHECK int32_t deai_path_join(char *out, uint64_t cap, const char *folder,
                                       const char *name);

/* deai_path_near writes to out the first of count relative paths that exists as seen from the
   folder of the running program, so that a build tree and an installed tree work wherever they lie.
   DEAI_ENOTFOUND when none does. */
DEAI_MUST_CHECK int32_t deai_path_near(char *out, uint64_t cap, const char *const *relative,
                                       uint32_t count);

#endif
