#ifndef DEAI_HOST_CLI_CLIENT_H
#define DEAI_HOST_CLI_CLIENT_H

#include "host/call.h"

/* A deai_client is the command line's connection to its node over DATA/deai.sock: calls are made
   one at a time and waited for.

   Threads  one, the program's own */

typedef struct deai_client deai_client;

/* What comes back: part is called for each part, the END included. Returning false cancels. */
typedef bool deai_client_part(void *user, const deai_part *part);

/* next fills out with more of the body and returns its length, 0 at the end, negative = give up. */
typedef int64_t deai_client_body(void *user, uint8_t *out, uint64_t cap);

typedef struct deai_client_call {
  const char *service;
  const char *method;
  const char *plugin;  /* NULL, or the plug-in of the node that is meant */
  deai_bytes model;    /* CID that the answering node must offer, or empty */
  deai_bytes provider; /* key of the only node that may answer, or empty */
  deai_bytes job;      /* 16 bytes of a settled call, or empty */
  uint64_t units;
  uint32_t flags; /* DEAI_CALL_... */
  deai_bytes args;
  deai_bytes body;        /* sent with the first part */
  deai_client_body *next; /* NULL, or where more body comes from */
  deai_client_part *part; /* may be NULL */
  void *user;
  uint64_t time_ms;
} deai_client_call;

/* deai_client_open connects to the node of a data folder. NULL with a reason: exit code 4. */
DEAI_MUST_CHECK deai_client *deai_client_open(const char *data, char *err, uint32_t err_cap);

/* deai_client_run makes a call and returns the status of its END; why gets its text. */
DEAI_MUST_CHECK int32_t deai_client_run(deai_client *client, const deai_client_call *call,
                                        char *why, uint32_t why_cap);

/* deai_client_free closes; NULL is allowed. */
void deai_client_free(deai_client *client);

#endif
