#ifndef DEAI_HOST_REQUEST_H
#define DEAI_HOST_REQUEST_H

#include "host/call.h"

/* A deai_request is a call served by the host itself (ledger, net, node): its head and whole body
   are put together first, then the handler is called once. It may answer at once or later, from a
   task; what comes after the caller has gone is dropped.

   Threads  [loop]
   Memory   The request lives until it was ended and every deai_request_keep was dropped. */

typedef struct deai_request deai_request;
typedef void deai_request_fn(void *user, deai_request *request);

/* deai_request_serve attaches a request to call; a body above body_max ends it with
   DEAI_ETOOLARGE. */
DEAI_MUST_CHECK int32_t deai_request_serve(deai_call *call, uint64_t body_max, deai_request_fn *fn,
                                           void *user);

/* deai_request_about returns what the call is about; NULL once the caller has gone. */
const deai_call_spec *deai_request_about(const deai_request *request);

/* deai_request_time_ms returns the time left; 0 once the caller has gone. */
uint64_t deai_request_time_ms(const deai_request *request);

/* deai_request_args and deai_request_body return what came. */
deai_bytes deai_request_args(const deai_request *request);
/* deai_request_body returns the whole body. */
deai_bytes deai_request_body(const deai_request *request);

/* deai_request_open returns whether somebody still waits for the answer. */
bool deai_request_open(const deai_request *request);

/* deai_request_part sends a part. DEAI_EAGAIN: not now, drain is called later. */
DEAI_MUST_CHECK int32_t deai_request_part(deai_request *request, deai_bytes args, deai_bytes body);

/* deai_request_on_drain sets what is called after DEAI_EAGAIN, and when the caller has gone. */
void deai_request_on_drain(deai_request *request, deai_request_fn *fn, void *user);

/* deai_request_end ends the call with args (one CBOR item or empty) and a body. */
void deai_request_end(deai_request *request, int32_t status, deai_bytes args, deai_bytes body);

/* deai_request_fail ends it with an error and its text. */
void deai_request_fail(deai_request *request, int32_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* deai_request_keep adds an owner; deai_request_drop removes one. */
deai_request *deai_request_keep(deai_request *request);
/* deai_request_drop removes an owner added by keep. */
void deai_request_drop(deai_request *request);

#endif
