#ifndef DEAI_TESTS_FAULT_LOG_H
#define DEAI_TESTS_FAULT_LOG_H

#include <stdint.h>

/* The log of the recorder: what a program did to the files under one folder, in order.

   A record is a fault_record, then path_len bytes of path (relative to the folder), then data_len
   bytes: what was written, or the second path of a rename or link. A file is known by its inode
   number, which a later FAULT_CREATE may use again. */

typedef enum fault_kind {
  FAULT_CREATE = 1,   /* path, inode */
  FAULT_WRITE = 2,    /* inode, offset, data; sync when the descriptor has O_DSYNC */
  FAULT_SIZE = 3,     /* inode, offset = the size from now on */
  FAULT_GROW = 4,     /* inode, offset = the least size from now on (fallocate) */
  FAULT_SYNC = 5,     /* inode: fdatasync or fsync of a file */
  FAULT_MKDIR = 6,    /* path */
  FAULT_RENAME = 7,   /* path, data = new path */
  FAULT_LINK = 8,     /* path, data = new path */
  FAULT_UNLINK = 9,   /* path; of a file or an empty folder */
  FAULT_SYNCDIR = 10, /* path of the folder, "" for the root */
  FAULT_MARK = 11     /* data = what the program wrote to its standard output: its promises */
} fault_kind;

#define FAULT_MAGIC 0x544c4146u /* "FALT" */

typedef struct fault_record {
  uint32_t magic;
  uint8_t kind;
  uint8_t sync; /* WRITE: durable on return */
  uint16_t path_len;
  uint64_t inode;
  uint64_t offset;
  uint64_t data_len;
} fault_record;

_Static_assert(sizeof(fault_record) == 32, "the log has no padding");

#endif
