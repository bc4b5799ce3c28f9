#ifndef DEAI_HOST_NET_STREAM_H
#define DEAI_HOST_NET_STREAM_H

#include "host/link.h"

struct bufferevent;

/* A deai_stream carries a link over a byte stream: TLS between members, the Unix socket between the
   command line and its node. Bytes in are cut into frames; a length outside the limits ends the
   connection before any memory is taken for it.

   Threads  [loop] */

typedef struct deai_stream deai_stream;

/* deai_stream_new takes over the bufferevent, also when it fails. ops->send and ops->backlog are
   ignored. closed is called once; the owner then frees the stream from a task, never inside it. */
DEAI_MUST_CHECK deai_stream *deai_stream_new(struct bufferevent *bev,
                                             const deai_link_options *options,
                                             const deai_link_ops *ops, void *user);

/* deai_stream_link returns the link, which the stream owns. */
deai_link *deai_stream_link(deai_stream *stream);

/* deai_stream_close ends the connection after what was sent has left, at most 1 s later; closed is
   called then. */
void deai_stream_close(deai_stream *stream);

/* deai_stream_free ends all calls, closes and frees; NULL is allowed. */
void deai_stream_free(deai_stream *stream);

#endif
