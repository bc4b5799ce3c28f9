#ifndef DEAI_CONTRACTS_HTTP_H
#define DEAI_CONTRACTS_HTTP_H

#include "deai/codec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* deai.http/1-draft: HTTP requests of applications (docs/formats.md 5).

   Class local: only the host calls it, for the path prefixes a plug-in registers in its manifest
   ("http": ["/v1/"]). The method is `request`. The caller's bodies are the request body.

   Answer   first part: http_answer; then bodies (server-sent events: one event a part); END.
   Errors   An END with a status before the first part becomes the HTTP status of that status. */

#define DEAI_HTTP_SERVICE     "deai.http/1-draft"
#define DEAI_HTTP_HEADERS_MAX 64u
#define DEAI_HTTP_VALUE_MAX   8192u

typedef struct deai_http_request { /* has: 1 key */
  uint64_t has;
  deai_list h;     /* deai_text_pair: lower-case names, sorted; authorization is removed */
  deai_bytes key;  /* id of the API key, when one was shown and accepted */
  deai_str path;   /* percent-decoded, starts with '/' */
  deai_str query;  /* as it came, without '?' */
  deai_str method; /* GET, HEAD, POST, ... */
} deai_http_request;
#define DEAI_HTTP_REQUEST_HAS_KEY 2u

typedef struct deai_http_answer {
  deai_list h; /* deai_text_pair */
  uint64_t status;
} deai_http_answer;

extern const deai_table deai_http_request_table;
extern const deai_table deai_http_answer_table;

#ifdef __cplusplus
}
#endif

#endif
