#ifndef DEAI_HOST_BASE_FRAME_H
#define DEAI_HOST_BASE_FRAME_H

#include "deai/contracts/wire.h"
#include "deai/plugin.h"

/* The one frame codec: children, members and the command line (docs/formats.md 2).

     u32 length of the rest | u8 kind | u8 flags | u16 zero | u64 ticket | u32 head length | head |
     body

   Little-endian. deai_frame_size tells from the first four bytes how long a frame is, so that a
   reader never takes memory that a peer chose without a limit.

   Threads  [any]
   Limits   head DEAI_HEAD_MAX, body as given by the carrier; DEAI_FRAME_MAX for the whole. */

#define DEAI_FRAME_MAX (DEAI_FRAME_HEADER + DEAI_HEAD_MAX + DEAI_BODY_MAX)

typedef struct deai_frame {
  uint8_t kind;  /* a deai_frame_kind */
  uint8_t flags; /* DEAI_FRAME_... */
  uint64_t ticket;
  deai_bytes head;
  deai_bytes body;
} deai_frame;

/* deai_frame_size reads the length of the frame that starts with the 4 bytes at start: its size in
   bytes with the length itself, or 0 when it is below the header or head and body would pass
   their limits. */
uint64_t deai_frame_size(const uint8_t start[4], uint64_t body_max);

/* deai_frame_read reads exactly one frame; head and body point into bytes. DEAI_EINVAL with a
   static text in *why_out when it breaks a rule: unknown kind or flag, ticket 0 where one is needed
   or a ticket where none may be, lengths that do not fit. */
DEAI_MUST_CHECK int32_t deai_frame_read(deai_bytes bytes, uint64_t body_max, deai_frame *frame_out,
                                        const char **why_out);

/* deai_frame_header writes the DEAI_FRAME_HEADER bytes that stand before head and body. */
void deai_frame_header(const deai_frame *frame, uint8_t out[DEAI_FRAME_HEADER]);

#endif
