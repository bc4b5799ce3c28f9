#ifndef DEAI_HOST_LEDGER_BLOCKLOG_H
#define DEAI_HOST_LEDGER_BLOCKLOG_H

#include "deai/status.h"
#include "deai/types.h"

/* The block log: all block entries of a ledger in one append-only file, from which everything else
   can be rebuilt.

   Frame     u32 magic 0x4b4c4244 | u32 length | u64 height | payload | u32 CRC-32C,
             numbers little-endian.
             The checksum covers all bytes before it. Frames stand one behind the other, heights
             1, 2, 3 without a gap. The payload is the block entry of docs/formats.md 7, so the
             frames are also chained by the hash of each signed block in the next one.
   Threads   read is [any]; the rest belongs to one thread.
   Limits    A payload is at most DEAI_BLOCKLOG_PAYLOAD_MAX. */

#define DEAI_BLOCKLOG_PAYLOAD_MAX (8u << 20)
#define DEAI_BLOCKLOG_FRAME_BYTES 20u /* of a frame, beside its payload */

typedef struct deai_blocklog deai_blocklog;

typedef struct deai_blocklog_frame {
  uint64_t height;
  uint64_t next;    /* where the next frame starts */
  uint8_t *payload; /* fresh memory, freed by the caller */
  uint64_t len;
} deai_blocklog_frame;

/* deai_blocklog_open opens the file at path; create 1 makes it where it is missing, create 0 opens
   for reading only. */
DEAI_MUST_CHECK int32_t deai_blocklog_open(const char *path, int32_t create,
                                           deai_blocklog **log_out, char *err, uint32_t err_cap);

/* deai_blocklog_close closes it; NULL is allowed. */
void deai_blocklog_close(deai_blocklog *log);

/* deai_blocklog_size returns the bytes of the file. */
uint64_t deai_blocklog_size(const deai_blocklog *log);

/* deai_blocklog_read reads the frame at byte at. Returns DEAI_ENOTFOUND at the end of the file,
   DEAI_EVERIFY for a frame that is damaged or cut short. */
DEAI_MUST_CHECK int32_t deai_blocklog_read(const deai_blocklog *log, uint64_t at,
                                           deai_blocklog_frame *frame);

/* deai_blocklog_append writes a frame behind the last byte; durable after deai_blocklog_sync. */
DEAI_MUST_CHECK int32_t deai_blocklog_append(deai_blocklog *log, uint64_t height,
                                             deai_bytes payload, char *err, uint32_t err_cap);

/* deai_blocklog_sync makes all frames durable. After a failure the file must be closed. */
DEAI_MUST_CHECK int32_t deai_blocklog_sync(deai_blocklog *log, char *err, uint32_t err_cap);

/* deai_blocklog_cut removes everything from byte at on, durably. */
DEAI_MUST_CHECK int32_t deai_blocklog_cut(deai_blocklog *log, uint64_t at, char *err,
                                          uint32_t err_cap);

#endif
