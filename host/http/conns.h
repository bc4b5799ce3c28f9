#ifndef DEAI_HOST_HTTP_CONNS_H
#define DEAI_HOST_HTTP_CONNS_H

#include "host/base/loop.h"

struct bufferevent;
struct event_base;

/* The connections of the HTTP server: how long one may take to say what it wants, and how many one
   address may have. evhttp owns and frees them; here each is known by its socket (descriptor and
   inode), and is ended by shutting that down, which evhttp sees as a client that left.

     accepted --> HEADER --empty line--> BODY --whole--> BUSY --answered--> IDLE --bytes--> HEADER
                    | header_ms           | body_ms       no limit here       evhttp's time-out

   The times are absolute: a client that sends one byte now and then is ended like one that is
   silent. A header or body that is late is told 408, a connection too many 429.

   Threads  [loop]
   Limits   per_address connections of an address, DEAI_CONNS_LOOPBACK times as many of a loopback
            address (a proxy speaks for many).
   Caveats  Libevent tells neither when a connection is accepted nor when it is freed. The
            bufferevent is made here (deai_conns_bev) and looked at a millisecond later, when it
            has its descriptor; whether that is still the same socket is asked of the kernel. */

#define DEAI_CONNS_HEADER_MS 10000u
#define DEAI_CONNS_BODY_MS   60000u
#define DEAI_CONNS_LOOPBACK  4u

typedef struct deai_conns deai_conns;

typedef struct deai_conns_options {
  deai_loop *loop;
  uint32_t header_ms;
  uint32_t body_ms;
  uint32_t per_address; /* 0 = no limit */
} deai_conns_options;

/* deai_conns_new makes an empty table. NULL when memory is refused. */
DEAI_MUST_CHECK deai_conns *deai_conns_new(const deai_conns_options *options);

/* deai_conns_free forgets all; evhttp must be freed before. NULL is allowed. */
void deai_conns_free(deai_conns *conns);

/* deai_conns_bev is what evhttp_set_bevcb takes, with the table as its argument: it makes the
   bufferevent of a connection that is being accepted. NULL when memory is refused. */
struct bufferevent *deai_conns_bev(struct event_base *base, void *conns);

/* deai_conns_busy says that a whole request came on the connection; none of ours: nothing. */
void deai_conns_busy(deai_conns *conns, const struct bufferevent *bev);

/* deai_conns_idle says that it was answered. */
void deai_conns_idle(deai_conns *conns, const struct bufferevent *bev);

/* deai_conns_count returns how many are open. */
uint32_t deai_conns_count(deai_conns *conns);

#endif
