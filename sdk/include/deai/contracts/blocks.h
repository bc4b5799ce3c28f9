#ifndef DEAI_CONTRACTS_BLOCKS_H
#define DEAI_CONTRACTS_BLOCKS_H

#include "deai/codec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* deai.blocks/1-draft: content-addressed blocks (docs/formats.md 5).

   method   class   arguments      parts and END
   have     member  blocks_have    END blocks_have_end
   get      member  blocks_cid     bodies: the block, at most 2 MiB; the receiver verifies
   add      local   blocks_add     caller's bodies are the file; END blocks_added
   open     local   blocks_cid     one part with an attachment, only when every leaf is verified
   stat     local   blocks_cid     END blocks_stat
   pin      local   blocks_cid     END {}
   unpin    local   blocks_cid     END {}
   fetch    local   blocks_cid     parts blocks_progress, END {}: from members, verified
   list     local   blocks_list    END blocks_list_end
   verify   local   {}             parts blocks_progress, END blocks_verify_end
   collect  local   {}             END blocks_collect_end: what no pin reaches is dropped;
                                   DEAI_EBUSY while an add or a fetch is under way
   read     local   blocks_read    bodies: bytes of a UnixFS file; END blocks_read_end
   entries  local   blocks_read    END blocks_entries_end: a UnixFS directory

   Memory   CIDs are binary, without the 0x00 prefix of tag 42. */

#define DEAI_BLOCKS_SERVICE  "deai.blocks/1-draft"
#define DEAI_BLOCKS_HAVE_MAX 256u
#define DEAI_BLOCK_MAX       2097152u /* bytes of one block */

typedef struct deai_blocks_have {
  deai_list cids; /* deai_bytes */
} deai_blocks_have;

typedef struct deai_blocks_have_end {
  deai_bytes bits; /* bit i of byte i/8, low first */
} deai_blocks_have_end;

typedef struct deai_blocks_cid {
  deai_bytes cid;
} deai_blocks_cid;

typedef struct deai_blocks_entry {
  deai_bytes cid;
  deai_str name;
} deai_blocks_entry;

typedef struct deai_blocks_add { /* has: 0 dir, 1 pin, 2 name, 3 profile */
  uint64_t has;
  deai_list dir; /* deai_blocks_entry */
  uint8_t pin;
  deai_str name;
  deai_str profile;
} deai_blocks_add;
#define DEAI_BLOCKS_ADD_HAS_DIR     1u
#define DEAI_BLOCKS_ADD_HAS_PIN     2u
#define DEAI_BLOCKS_ADD_HAS_NAME    4u
#define DEAI_BLOCKS_ADD_HAS_PROFILE 8u

typedef struct deai_blocks_added {
  deai_bytes cid;
  uint64_t size;
  uint64_t blocks;
} deai_blocks_added;

typedef struct deai_blocks_stat {
  uint64_t have;
  uint64_t pins;
  uint64_t size;
  uint64_t blocks;
} deai_blocks_stat;

typedef struct deai_blocks_progress {
  uint64_t of;
  uint64_t done;
} deai_blocks_progress;

typedef struct deai_blocks_list { /* has: 0 max, 1 after */
  uint64_t has;
  uint64_t max;
  deai_bytes after;
} deai_blocks_list;
#define DEAI_BLOCKS_LIST_HAS_MAX   1u
#define DEAI_BLOCKS_LIST_HAS_AFTER 2u

typedef struct deai_blocks_list_end { /* has: 1 next */
  uint64_t has;
  deai_list cids;
  deai_bytes next;
} deai_blocks_list_end;
#define DEAI_BLOCKS_LIST_END_HAS_NEXT 2u

typedef struct deai_blocks_verify_end {
  deai_list bad;
} deai_blocks_verify_end;

typedef struct deai_blocks_collect_end {
  uint64_t kept;  /* blocks */
  uint64_t bytes; /* given back to the disk */
  uint64_t freed; /* blocks */
} deai_blocks_collect_end;

typedef struct deai_blocks_read { /* has: 1 len, 2 off, 3 path */
  uint64_t has;
  deai_bytes cid;
  uint64_t len;
  uint64_t off;
  deai_str path; /* below cid, without a leading slash */
} deai_blocks_read;
#define DEAI_BLOCKS_READ_HAS_LEN  2u
#define DEAI_BLOCKS_READ_HAS_OFF  4u
#define DEAI_BLOCKS_READ_HAS_PATH 8u

/* The first part of read carries it: what the path leads to. */
typedef struct deai_blocks_read_end {
  deai_bytes cid;
  uint32_t kind; /* DEAI_BLOCKS_FILE, _DIR, _LINK */
  uint64_t size; /* of the whole file */
} deai_blocks_read_end;

typedef enum deai_blocks_kind {
  DEAI_BLOCKS_FILE = 0,
  DEAI_BLOCKS_DIR = 1,
  DEAI_BLOCKS_LINK = 2
} deai_blocks_kind;

typedef struct deai_blocks_entries_end {
  deai_list dir; /* deai_blocks_entry */
} deai_blocks_entries_end;

extern const deai_table deai_blocks_have_table;
extern const deai_table deai_blocks_have_end_table;
extern const deai_table deai_blocks_cid_table;
extern const deai_table deai_blocks_entry_table;
extern const deai_table deai_blocks_add_table;
extern const deai_table deai_blocks_added_table;
extern const deai_table deai_blocks_stat_table;
extern const deai_table deai_blocks_progress_table;
extern const deai_table deai_blocks_list_table;
extern const deai_table deai_blocks_list_end_table;
extern const deai_table deai_blocks_verify_end_table;
extern const deai_table deai_blocks_collect_end_table;
extern const deai_table deai_blocks_read_table;
extern const deai_table deai_blocks_read_end_table;
extern const deai_table deai_blocks_entries_end_table;

#ifdef __cplusplus
}
#endif

#endif
