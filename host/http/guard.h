#ifndef DEAI_HOST_HTTP_GUARD_H
#define DEAI_HOST_HTTP_GUARD_H

#include "deai/types.h"

#include <stdbool.h>
#include <stdint.h>

/* Who may talk to the HTTP port: a web page on the same machine is hostile (DNS rebinding, cross
   origin requests), so Host and Origin must name this node.

   Threads  [any]
   Source   docs/security.md; RFC 9110 7.2 and 15.5.20 (421) */

typedef struct deai_guard {
  deai_str listen_host; /* the address that is listened on, without the port */
  const deai_str *hosts;
  uint32_t host_count;
} deai_guard;

/* deai_guard_host returns whether the Host header (NULL = absent) names this node: localhost, a
   loopback address, the listen address or one of hosts, each with or without a port. */
bool deai_guard_host(const deai_guard *guard, const char *header);

/* deai_guard_origin returns whether the Origin header is absent or names this node. */
bool deai_guard_origin(const deai_guard *guard, const char *header);

#endif
