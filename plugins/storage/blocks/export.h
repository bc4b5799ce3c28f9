#ifndef DEAI_PLUGINS_STORAGE_BLOCKS_EXPORT_H
#define DEAI_PLUGINS_STORAGE_BLOCKS_EXPORT_H

#include "reader.h"

/* Writing a UnixFS file or directory tree to disk.

   The tree is hostile: a name that is empty, ".", "..", longer than 255 bytes or holds '/' or a
   zero is refused, and every open below the target goes through openat2 with RESOLVE_BENEATH and
   RESOLVE_NO_SYMLINKS, so that nothing outside the target is touched even when somebody swaps a
   folder for a link meanwhile. A file is written under a temporary name, synced and then linked to
   its name; with overwrite it replaces the old one.

   Threads  [worker].
   Memory   One block, and the entries of the folders on the way down.
   Limits   BLOCKS_DEPTH_MAX folders deep; caps of the caller; BLOCKS_EXPORT_ENTRIES_MAX entries.
   Caveats  mode (low 9 bits, never setuid) and mtime are restored where the DAG carries them. What
            was written before an error stays. */

#define BLOCKS_EXPORT_ENTRIES_MAX (1u << 20)

typedef struct blocks_export_options {
  bool overwrite; /* replace files that exist; folders are entered in either case */
  bool symlinks;  /* create symbolic links; else they are refused */
  blocks_caps caps;
} blocks_export_options;

typedef struct blocks_export_result {
  uint64_t files;
  uint64_t folders;
  uint64_t symlinks;
  uint64_t bytes;
} blocks_export_result;

/* blocks_export writes the node cid as name into the existing folder. DEAI_EDENIED for a hostile
   name or a symlink that is not allowed, DEAI_EINVAL when the target exists and
   overwrite is not set, DEAI_ENOTFOUND for a missing block, DEAI_EFULL, DEAI_EIO. *out counts what
   was written. */
DEAI_MUST_CHECK int32_t blocks_export(blocks_source source, const blocks_cid *cid,
                                      const char *folder, const char *name,
                                      const blocks_export_options *options,
                                      blocks_export_result *out, blocks_error *err);

#endif
