#ifndef DEAI_PLUGINS_STORAGE_BLOCKS_UNIXFS_H
#define DEAI_PLUGINS_STORAGE_BLOCKS_UNIXFS_H

#include "dagpb.h"

/* UnixFS v1: files, directories and symbolic links as dag-pb nodes (ipfs/specs src/unixfs.md), and
   the parts of the profile unixfs-v1-2025 (IPIP-499) that are written here.

     file       leaves are raw blocks of 1 MiB; nodes hold up to 1024 links, all leaves equally deep
     directory  one node with links sorted by name; a block above 262,144 bytes would have to be
                sharded (HAMT), which this build reads and does not write
     symlink    one node whose data is the target

   Threads  [any].
   Memory   A decoded blocks_unixfs borrows the block; it holds no memory of its own.
   Limits   A block of at most BLOCKS_BLOCK_BYTES_MAX; as many block sizes as links.
   Caveats  Links to chunks carry an explicit empty Name (12 00): the published CIDs need it. */

#define BLOCKS_BLOCK_BYTES_MAX   (2u << 20) /* largest block read, storage.md 1.2 */
#define BLOCKS_CHUNK_BYTES       (1u << 20) /* leaf of profile unixfs-v1-2025 */
#define BLOCKS_NODE_LINKS_MAX    1024       /* links of a file node, same profile */
#define BLOCKS_DIRECTORY_BYTES   262144     /* largest directory block, same profile */
#define BLOCKS_HAMT_FANOUT_MAX   1024       /* CVE-2023-23625 */
#define BLOCKS_PROFILE_DEFAULT   "unixfs-v1-2025"
#define BLOCKS_UNIXFS_NAME_MAX   255  /* bytes of one entry's name that are written */
#define BLOCKS_UNIXFS_TARGET_MAX 4095 /* bytes of a symlink's target */

typedef enum blocks_unixfs_type {
  BLOCKS_UNIXFS_RAW = 0, /* deprecated leaf of old writers */
  BLOCKS_UNIXFS_DIRECTORY = 1,
  BLOCKS_UNIXFS_FILE = 2,
  BLOCKS_UNIXFS_METADATA = 3,
  BLOCKS_UNIXFS_SYMLINK = 4,
  BLOCKS_UNIXFS_HAMT = 5
} blocks_unixfs_type;

typedef struct blocks_unixfs {
  blocks_unixfs_type type;
  deai_bytes data; /* inline content, symlink target or HAMT bitfield */
  uint64_t filesize;
  deai_bytes sizes;     /* the encoded message, for blocks_unixfs_size */
  uint32_t sizes_count; /* count of blocksizes */
  uint64_t sizes_sum;   /* of all blocksizes */
  uint64_t hash_type;   /* HAMT: 0x22 murmur3-x64-64 */
  uint64_t fanout;      /* HAMT */
  uint32_t mode;        /* as written; the low 12 bits have a meaning */
  int64_t mtime_s;
  uint32_t mtime_ns;
  bool has_data;
  bool has_filesize;
  bool has_mode;
  bool has_mtime;
} blocks_unixfs;

/* blocks_unixfs_decode reads the Data of node: type and fields known, one block size a link
   (files), filesize = inline bytes + sum of block sizes, fanout a power of two in 8..1024.
   DEAI_EINVAL. */
DEAI_MUST_CHECK int32_t blocks_unixfs_decode(const blocks_pbnode *node, blocks_unixfs *out,
                                             blocks_error *err);

/* blocks_unixfs_sizes copies the block sizes into sizes, which has room for sizes_count. */
void blocks_unixfs_sizes(const blocks_unixfs *fs, uint64_t *sizes);

/* One child of a file node: its CID, the file bytes under it and the bytes of its blocks. */
typedef struct blocks_child {
  blocks_cid cid;
  uint64_t file_bytes;
  uint64_t dag_bytes;
} blocks_child;

/* blocks_unixfs_file_node appends the block of a file node over count children (1..1024).
   Its file_bytes and dag_bytes, this block included, go to *node_out with its CID. */
DEAI_MUST_CHECK int32_t blocks_unixfs_file_node(const blocks_child *children, uint32_t count,
                                                blocks_buf *block, blocks_child *node_out);

/* One entry of a directory to be written. */
typedef struct blocks_entry {
  deai_str name;
  blocks_cid cid;
  uint64_t dag_bytes; /* Tsize: bytes of all blocks below */
} blocks_entry;

/* blocks_unixfs_directory appends the block of a basic directory; entries are sorted here.
   DEAI_EINVAL for a name that is empty, ".", "..", longer than 255 bytes, twice there, or holds '/'
   or a zero; DEAI_EUNSUPPORTED above BLOCKS_DIRECTORY_BYTES (sharding is not in this build). */
DEAI_MUST_CHECK int32_t blocks_unixfs_directory(blocks_entry *entries, uint32_t count,
                                                blocks_buf *block, blocks_child *node_out,
                                                blocks_error *err);

/* blocks_unixfs_symlink appends the block of a symbolic link to target (1..4095 bytes, no zero). */
DEAI_MUST_CHECK int32_t blocks_unixfs_symlink(deai_str target, blocks_buf *block,
                                              blocks_child *node_out, blocks_error *err);

/* blocks_unixfs_name_check refuses a name that could leave its folder: empty, ".", "..", longer
   than 255 bytes, with '/' or a zero byte. */
DEAI_MUST_CHECK int32_t blocks_unixfs_name_check(deai_bytes name, blocks_error *err);

/* blocks_hamt_hash is h1 of murmur3_x64_128 with seed 0 over name; a shard takes its bits from the
   most significant one on (storage.md 1.2, trap 2). */
uint64_t blocks_hamt_hash(deai_bytes name);

#endif
