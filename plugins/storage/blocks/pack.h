#ifndef DEAI_PLUGINS_STORAGE_BLOCKS_PACK_H
#define DEAI_PLUGINS_STORAGE_BLOCKS_PACK_H

#include "cid.h"

#include <stdbool.h>

/* The format of a pack: a header and framed records, all numbers little-endian.

     header  "deaiPAK1" | u64 number | u32 salt | u32 CRC-32C of the 20 bytes before
     record  u32 magic | u8 kind | u8 CID length | u16 0 | u32 data length | u32 CRC of the data
             | u32 CRC of the 16 bytes before and the CID, started with the salt | CID | data

   The salt is random and never leaves the node: bytes inside a block that look like a record are
   not taken for one when a reader has to find its place again behind damage.

     kind 1 BLOCK  data = the block
     kind 2 FILE   CID = root; data = u64 file number | u64 size | u32 leaf size | u32 leaves
     kind 3 PIN    data = u64 references held on CID from here on (the last record counts)

   Threads  [worker]; these functions keep nothing.
   Limits   Data of at most BLOCKS_RECORD_BYTES_MAX. */

#define BLOCKS_PACK_HEAD_BYTES   24
#define BLOCKS_RECORD_HEAD_BYTES 20
#define BLOCKS_RECORD_BYTES_MAX  (2u << 20)

typedef enum blocks_record_kind {
  BLOCKS_RECORD_BLOCK = 1,
  BLOCKS_RECORD_FILE = 2,
  BLOCKS_RECORD_PIN = 3
} blocks_record_kind;

typedef struct blocks_record {
  blocks_record_kind kind;
  blocks_cid cid;
  uint32_t len; /* of the data */
  uint32_t crc; /* of the data */
  uint64_t data_offset;
} blocks_record;

/* blocks_pack_create makes pack number in the folder dir, with its header on disk; returns the
   descriptor (read and write) or a negative status. */
DEAI_MUST_CHECK int32_t blocks_pack_create(int dir, uint64_t number, uint32_t *salt_out,
                                           blocks_error *err);

/* blocks_pack_open opens pack number and reads its header; DEAI_EVERIFY when that is damaged
   (*fd_out is set all the same and the caller closes it). */
DEAI_MUST_CHECK int32_t blocks_pack_open(int dir, uint64_t number, int *fd_out, uint32_t *salt_out,
                                         blocks_error *err);

/* blocks_record_write writes a record at offset and returns 0 or a negative status, DEAI_EFULL when
   the disk is full. record.data_offset is set. */
DEAI_MUST_CHECK int32_t blocks_record_write(int fd, uint32_t salt, uint64_t offset,
                                            blocks_record *record, deai_bytes data,
                                            blocks_error *err);

/* blocks_record_bytes returns what a record takes in a pack. */
uint64_t blocks_record_bytes(const blocks_cid *cid, uint64_t data_bytes);

/* blocks_record_read reads and checks the record at offset, its data into buf. Returns 0,
   DEAI_ENOTFOUND at the end of the file, DEAI_EVERIFY for anything that is no whole record. */
DEAI_MUST_CHECK int32_t blocks_record_read(int fd, uint32_t salt, uint64_t offset,
                                           blocks_record *record, blocks_buf *buf,
                                           blocks_error *err);

/* blocks_record_find returns the offset of the next whole record at or behind offset in *found_out,
   or DEAI_ENOTFOUND. For what lies behind damage. */
DEAI_MUST_CHECK int32_t blocks_record_find(int fd, uint32_t salt, uint64_t offset,
                                           uint64_t *found_out, blocks_buf *buf, blocks_error *err);

/* blocks_pack_name writes the file name of pack number. */
void blocks_pack_name(uint64_t number, char out[32]);

/* blocks_read_at reads len bytes at offset; DEAI_EVERIFY when the file ends before. */
DEAI_MUST_CHECK int32_t blocks_read_at(int fd, uint64_t offset, void *out, size_t len,
                                       blocks_error *err);

/* blocks_write_at writes len bytes at offset; DEAI_EFULL, DEAI_EIO. */
DEAI_MUST_CHECK int32_t blocks_write_at(int fd, uint64_t offset, const void *bytes, size_t len,
                                        blocks_error *err);

/* Little-endian numbers in records and index values. */
void blocks_put_u32(uint8_t *at, uint32_t value);
void blocks_put_u64(uint8_t *at, uint64_t value);
uint32_t blocks_get_u32(const uint8_t *at);
uint64_t blocks_get_u64(const uint8_t *at);

#endif
