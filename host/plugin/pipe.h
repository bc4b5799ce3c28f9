#ifndef DEAI_HOST_PLUGIN_PIPE_H
#define DEAI_HOST_PLUGIN_PIPE_H

#include "host/link.h"

/* A deai_pipe carries a link over a socketpair between the host and one child: a frame is one
   message (SOCK_SEQPACKET), at most one descriptor travels with it, and bodies go through shared
   memory where there is room.

     arena   each side makes one memfd, sealed SHRINK|GROW|SEAL, written by its maker only:
             4,096 bytes of header, whose first u64 says how far the maker has read the other side's
             ring, then a ring of DEAI_PIPE_RING bytes. A body in it travels as {u64 offset from the
             start of the ring, u64 length}. Offsets are checked, bytes are copied before use.
             When the ring is full the body goes inside the message: nothing ever waits for it.

   The same code runs on both sides; the other side is never trusted.
   Threads  [loop] */

#define DEAI_PIPE_RING      (8u << 20)
#define DEAI_PIPE_BODY_MAX  65536u /* of one frame; longer bodies travel in several */
#define DEAI_PIPE_SHARE_MIN 4096u  /* smaller bodies are not worth the ring */
/* address space of one side: both arenas, messages and queues */
#define DEAI_PIPE_MEMORY (2u * (DEAI_PIPE_RING + 4096u) + (4u << 20))

typedef struct deai_pipe deai_pipe;

/* deai_pipe_new takes over the socket fd, also when it fails. ops->send and ops->backlog are
   ignored; body_max is set by the pipe. closed is called once: when the link is over or the other
   side is gone; the owner then frees the pipe from a task of its own, never inside closed. */
DEAI_MUST_CHECK deai_pipe *deai_pipe_new(int fd, const deai_link_options *options,
                                         const deai_link_ops *ops, void *user);

/* deai_pipe_link returns the link, which the pipe owns. */
deai_link *deai_pipe_link(deai_pipe *pipe);

/* deai_pipe_hello sends HELLO with this side's arena. */
void deai_pipe_hello(deai_pipe *pipe, const deai_hello_head *hello);

/* deai_pipe_free ends all calls, closes the socket and frees; NULL is allowed. */
void deai_pipe_free(deai_pipe *pipe);

#endif
