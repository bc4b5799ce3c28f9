#ifndef DEAI_HOST_NET_LOCAL_H
#define DEAI_HOST_NET_LOCAL_H

#include "host/link.h"

/* The node's Unix socket DATA/deai.sock, mode 0600: the only way to administrative methods. Who can
   open it is the operator: calls over it have class local.

   Threads  [loop]
   Limits   DEAI_LOCAL_MAX connections at a time; more are closed at once. */

#define DEAI_LOCAL_MAX 64u

typedef struct deai_local deai_local;

/* deai_local_new listens at path (at most 107 bytes); a stale socket file is replaced. NULL with a
   reason. open is the router's. */
DEAI_MUST_CHECK deai_local *deai_local_new(deai_loop *loop, const char *path, deai_open_fn *open,
                                           void *user, char *err, uint32_t err_cap);

/* deai_local_free closes all and removes the socket file; NULL is allowed. */
void deai_local_free(deai_local *local);

/* deai_local_dial connects to a node's socket and calls the link's ops; for the command line. The
   returned descriptor is connected; -1 with errno. */
int deai_local_dial(const char *path);

#endif
