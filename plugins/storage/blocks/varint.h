#ifndef DEAI_PLUGINS_STORAGE_BLOCKS_VARINT_H
#define DEAI_PLUGINS_STORAGE_BLOCKS_VARINT_H

#include "base.h"

/* Unsigned LEB128 numbers in two dialects: multiformats' unsigned-varint (minimal form, at most 9
   bytes, so 63 bits) for CIDs and CAR, and protobuf's (at most 10 bytes, 64 bits, any form) for
   dag-pb and UnixFS.

   Threads  [any]. */

#define BLOCKS_VARINT_BYTES_MAX 10

/* blocks_varint_read reads a multiformats number at the front of bytes. Returns the count of bytes
   read (1..9), or DEAI_EINVAL when it is cut short, longer than 9 bytes or not minimal. */
DEAI_MUST_CHECK int32_t blocks_varint_read(deai_bytes bytes, uint64_t *value_out);

/* blocks_varint_read_pb reads a protobuf number at the front of bytes. Returns the count of bytes
   read (1..10), or DEAI_EINVAL when it is cut short or does not fit 64 bits. */
DEAI_MUST_CHECK int32_t blocks_varint_read_pb(deai_bytes bytes, uint64_t *value_out);

/* blocks_varint_write writes value in minimal form and returns its length, 1..10 bytes. */
size_t blocks_varint_write(uint64_t value, uint8_t out[BLOCKS_VARINT_BYTES_MAX]);

/* blocks_varint_len returns the length of value in minimal form, 1..10 bytes. */
size_t blocks_varint_len(uint64_t value);

#endif
