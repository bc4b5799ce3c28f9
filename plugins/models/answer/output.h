#ifndef DEAI_PLUGINS_MODELS_ANSWER_OUTPUT_H
#define DEAI_PLUGINS_MODELS_ANSWER_OUTPUT_H

#include "inst.h"
#include "reply.h"

#include "deai/codec.h"

/* An answer_output is what goes back on one HTTP ticket: the head, then bodies, then the END.

     head --body...--> close --queue empty--> over
       '--EAGAIN: the rest is queued, drain goes on--'

   Threads  [loop]
   Memory   Owns what is queued; answer_output_free frees it.
   Limits   A part carries at most ANSWER_OUTPUT_PART bytes. Whoever makes parts asks
   answer_output_waits
            first: a client that does not read must hold up its provider, not fill this queue. */

#define ANSWER_OUTPUT_PART  262144u
#define ANSWER_HEADERS_MAX  48u
#define ANSWER_HEADER_BYTES 49152u /* all values together; a head has 64 KiB */

typedef struct answer_piece answer_piece;

typedef struct answer_output {
  deai_inst *inst;
  uint64_t ticket;
  char request_id[40]; /* "req_" and 32 hex digits */
  bool head_sent;
  bool closing; /* nothing more comes */
  bool over;    /* the END is sent, or the caller is gone */
  answer_piece *first;
  answer_piece **last;
} answer_output;

/* Headers of an answer; the values are copied. */
typedef struct answer_headers {
  deai_text_pair items[ANSWER_HEADERS_MAX];
  uint32_t count;
  uint32_t left_out; /* did not fit */
  uint64_t used;
  char *room; /* ANSWER_HEADER_BYTES */
} answer_headers;

/* answer_output_init prepares output for ticket and draws its request id. DEAI_EIO. */
DEAI_MUST_CHECK int32_t answer_output_init(answer_output *output, deai_inst *inst, uint64_t ticket);

/* answer_output_waits returns whether parts are queued. */
bool answer_output_waits(const answer_output *output);

/* answer_headers_add adds a header; one that does not fit is counted in left_out. name lives on. */
void answer_headers_add(answer_headers *headers, const char *name, deai_bytes value);

/* answer_headers_text is the same for a C string. */
void answer_headers_text(answer_headers *headers, const char *name, const char *value);

/* answer_headers_free frees the values. */
void answer_headers_free(answer_headers *headers);

/* answer_output_head sends status and headers, to which it adds x-request-id. */
void answer_output_head(answer_output *output, int32_t http_status, answer_headers *headers);

/* answer_output_body sends bytes, in several parts when they are many. */
void answer_output_body(answer_output *output, deai_bytes bytes);

/* answer_output_close sends the END behind what is queued. */
void answer_output_close(answer_output *output);

/* answer_output_json sends a whole answer with a JSON body, and closes. */
void answer_output_json(answer_output *output, int32_t http_status, answer_headers *headers,
                        const answer_text *body);

/* answer_output_error sends error as a whole answer, or as an event when a stream has begun, and
   closes. */
void answer_output_error(answer_output *output, const answer_error *error);

/* answer_output_drain goes on after on_drain. */
void answer_output_drain(answer_output *output);

/* answer_output_gone says that the caller is gone: it ends the ticket and drops the queue. */
void answer_output_gone(answer_output *output, int32_t status);

/* answer_output_free frees the queue. */
void answer_output_free(answer_output *output);

#endif
