#ifndef DEAI_PLUGINS_STORAGE_BLOCKS_IMPORT_H
#define DEAI_PLUGINS_STORAGE_BLOCKS_IMPORT_H

#include "store.h"

/* A blocks_import turns a stream of bytes into a UnixFS file in the store.

     begin --write*--> finish (gives CID, size, blocks; queued)    or    end (nothing is kept)

   Streams from 4 MiB on go straight to one file of files/, leaf by leaf; smaller ones become blocks
   of packs. A small file is durable after blocks_store_sync, so that many share one; finish of a
   large one syncs by itself.

   Threads  [worker]; one thread a blocks_import, any number of them beside each other. A large
            import runs one thread of its own, which writes a leaf while the caller hashes it.
   Memory   At most 5 MiB and 40 bytes a leaf.
   Limits   Profile unixfs-v1-2025 only (others: DEAI_EUNSUPPORTED); 2^32 - 1 leaves, so 4 PiB. */

typedef struct blocks_import blocks_import;

typedef struct blocks_import_options {
  deai_str profile;   /* "" = BLOCKS_PROFILE_DEFAULT */
  uint64_t size_hint; /* bytes expected, 0 = unknown; the place is reserved at once */
  bool pin;           /* pin the result in the same transaction */
  bool hash_only;     /* store nothing: only the CID is wanted (store may be NULL) */
} blocks_import_options;

typedef struct blocks_import_result {
  blocks_cid cid;
  uint64_t size;      /* bytes of the file */
  uint64_t blocks;    /* of its DAG, each as often as it is linked */
  uint64_t dag_bytes; /* bytes of these: the Tsize of a link to it */
} blocks_import_result;

/* blocks_import_begin starts an import into store. */
DEAI_MUST_CHECK int32_t blocks_import_begin(blocks_store *store,
                                            const blocks_import_options *options,
                                            blocks_import **out, blocks_error *err);

/* blocks_import_write takes the next bytes. After an error only blocks_import_end is useful.
   DEAI_EFULL, DEAI_ENOMEM, DEAI_EIO. */
DEAI_MUST_CHECK int32_t blocks_import_write(blocks_import *import, deai_bytes bytes,
                                            blocks_error *err);

/* blocks_import_finish queues the file (a large one is durable on return) and fills *out. */
DEAI_MUST_CHECK int32_t blocks_import_finish(blocks_import *import, blocks_import_result *out,
                                             blocks_error *err);

/* blocks_import_end ends the object; what was not finished leaves nothing behind. NULL is fine. */
void blocks_import_end(blocks_import *import);

typedef struct blocks_import_entry {
  deai_str name;
  blocks_cid cid; /* its root block must be in the store (for the sizes) or be raw and here */
} blocks_import_entry;

/* blocks_import_directory makes a directory of what is in the store and queues it. result.blocks
   counts the directory's own block. DEAI_ENOTFOUND for an entry whose root is not here; names and
   size as blocks_unixfs_directory. */
DEAI_MUST_CHECK int32_t blocks_import_directory(blocks_store *store,
                                                const blocks_import_entry *entries, uint32_t count,
                                                const blocks_import_options *options,
                                                blocks_import_result *out, blocks_error *err);

/* blocks_import_symlink makes a symbolic link to target and queues it. */
DEAI_MUST_CHECK int32_t blocks_import_symlink(blocks_store *store, deai_str target,
                                              const blocks_import_options *options,
                                              blocks_import_result *out, blocks_error *err);

#endif
