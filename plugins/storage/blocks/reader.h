#ifndef DEAI_PLUGINS_STORAGE_BLOCKS_READER_H
#define DEAI_PLUGINS_STORAGE_BLOCKS_READER_H

#include "unixfs.h"

/* Reading UnixFS out of any source of blocks: paths, directories, ranges of files, whole DAGs.

   Blocks come from a blocks_source: the store (blocks_store_source), a CAR, a test. What is read is
   hostile: depth is capped, every walk counts what it fetched against the caller's caps, and
   nothing recurses.

   Threads  [worker]; a source may wait for the disk. A blocks_reader belongs to one thread.
   Memory   O(depth): one block and its links a level.
   Limits   BLOCKS_DEPTH_MAX levels; blocks_caps of the caller.
   Caveats  In a directory with two equal names the first one wins. */

#define BLOCKS_DEPTH_MAX      32
#define BLOCKS_PATH_BYTES_MAX 4096

/* Where blocks come from. get replaces buf by the block, already checked against cid, and returns
   DEAI_ENOTFOUND when it is not there. */
typedef struct blocks_source {
  void *user;
  int32_t (*get)(void *user, const blocks_cid *cid, blocks_buf *buf, blocks_error *err);
} blocks_source;

/* What one operation may fetch at most; 0 = no cap. Above it: DEAI_ETOOLARGE with both numbers. */
typedef struct blocks_caps {
  uint64_t bytes_max;
  uint64_t blocks_max;
} blocks_caps;

typedef struct blocks_info {
  blocks_unixfs_type type; /* BLOCKS_UNIXFS_FILE for raw blocks too */
  uint64_t size;           /* bytes of the file, of the target of a link; 0 for directories */
  uint32_t mode;           /* valid when has_mode */
  int64_t mtime_s;         /* valid when has_mtime */
  uint32_t mtime_ns;
  bool has_mode;
  bool has_mtime;
} blocks_info;

/* blocks_info_read describes the node cid. DEAI_EUNSUPPORTED for a codec other than raw and dag-pb,
   DEAI_EINVAL for a dag-pb node that is no UnixFS. */
DEAI_MUST_CHECK int32_t blocks_info_read(blocks_source source, const blocks_cid *cid,
                                         blocks_info *out, blocks_error *err);

/* blocks_resolve follows path ("a/b/c"; "" is root itself; empty segments are skipped) through
   directories, sharded ones too. It does not follow symlinks. When visit is not NULL it is called
   for each block on the way, from root to the parent of the end. DEAI_ENOTFOUND names the segment.
 */
typedef int32_t blocks_visit(void *user, const blocks_cid *cid, deai_bytes block);
DEAI_MUST_CHECK int32_t blocks_resolve(blocks_source source, const blocks_cid *root, deai_str path,
                                       blocks_cid *out, blocks_error *err, void *user,
                                       blocks_visit *visit);

/* blocks_directory_each calls each for every entry of a directory, basic (in stored order) or
   sharded (in shard order). each returns 0 to go on; another value ends the walk and is
   returned. */
typedef int32_t blocks_directory_entry(void *user, deai_bytes name, const blocks_cid *cid,
                                       uint64_t tsize);
DEAI_MUST_CHECK int32_t blocks_directory_each(blocks_source source, const blocks_cid *directory,
                                              blocks_caps caps, blocks_error *err, void *user,
                                              blocks_directory_entry *each);

/* blocks_symlink_read puts the target of a symlink into target. */
DEAI_MUST_CHECK int32_t blocks_symlink_read(blocks_source source, const blocks_cid *cid,
                                            blocks_buf *target, blocks_error *err);

/* blocks_dag_each calls visit for the blocks of the DAG under root (raw and dag-pb links are
   followed), depth first and parents before children, a block as often as it is linked. A block
   that the source does not have ends the walk with DEAI_ENOTFOUND, unless missing is not NULL: then
   that is called and the walk goes on. leaves = false does not fetch raw blocks: visit gets them
   with an empty block. visit returns 0 to go on, 1 to skip the children of this block, another
   value ends the walk and is returned. */
typedef int32_t blocks_missing(void *user, const blocks_cid *cid);
DEAI_MUST_CHECK int32_t blocks_dag_each(blocks_source source, const blocks_cid *root, bool leaves,
                                        blocks_caps caps, blocks_error *err, void *user,
                                        blocks_visit *visit, blocks_missing *missing);

/* A blocks_reader reads one file at any offset; neighbouring reads share the nodes on the way. */
typedef struct blocks_reader blocks_reader;

/* blocks_reader_open opens the file cid; DEAI_EINVAL for what is no file. */
DEAI_MUST_CHECK int32_t blocks_reader_open(blocks_source source, const blocks_cid *cid,
                                           blocks_caps caps, blocks_reader **out,
                                           blocks_error *err);

/* blocks_reader_size returns the bytes of the file. */
uint64_t blocks_reader_size(const blocks_reader *reader);

/* blocks_reader_read copies up to dst.cap bytes from offset on and returns the count, 0 only at or
   behind the end; a short count is no error. DEAI_ENOTFOUND for a missing block, DEAI_EINVAL for a
   node that contradicts its parent, DEAI_ETOOLARGE at a cap. */
DEAI_MUST_CHECK int64_t blocks_reader_read(blocks_reader *reader, uint64_t offset, deai_buf dst,
                                           blocks_error *err);

/* blocks_reader_close ends the reader; NULL is fine. */
void blocks_reader_close(blocks_reader *reader);

#endif
