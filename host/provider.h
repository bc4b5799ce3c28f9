#ifndef DEAI_HOST_PROVIDER_H
#define DEAI_HOST_PROVIDER_H

#include "host/call.h"

/* The seam between those who can answer calls on this node (plug-ins in process, plug-ins in a
   child, the ledger, net) and the router.

   Threads  [loop] */

typedef struct deai_provider {
  void *user;
  /* serve makes this provider the callee: it attaches, or refuses with a negative status and a
     reason in err (DEAI_ERR_CAP bytes). */
  int32_t (*serve)(void *user, deai_call *call, char *err);
} deai_provider;

/* One service offered here, with the class of each method. Texts outlive the registration. */
typedef struct deai_offering {
  const char *plugin; /* who offers it, for logs and status */
  const char *service;
  /* class_of returns the deai_class of method, or -1 when the service has no such method */
  int32_t (*class_of)(const void *user, deai_str service, deai_str method);
  const void *class_user;
  bool remote; /* members may call a method of it: it stands in the node record */
  deai_provider provider;
} deai_offering;

#endif
