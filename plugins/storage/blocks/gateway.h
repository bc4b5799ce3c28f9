#ifndef DEAI_PLUGINS_STORAGE_BLOCKS_GATEWAY_H
#define DEAI_PLUGINS_STORAGE_BLOCKS_GATEWAY_H

#include "cid.h"

#include "deai/contracts/http.h"

#include <stdbool.h>

/* The HTTP side of the gateway, without the store: what a request asks for, ranges, entity tags,
   the head of an answer, names in HTML and in addresses.

     GET|HEAD /ipfs/{cid}[/path][?format=raw]

   Everything a request holds is hostile: nothing of it reaches a header or a page unescaped.

   Source   ipfs/specs src/http-gateways/{path,trustless}-gateway.md, RFC 9110 (13 to 15)
   Threads  [any]
   Memory   A parsed request borrows the deai_http_request. */

#define BLOCKS_GATEWAY_HEADERS_MAX 16u
#define BLOCKS_GATEWAY_TEXT_BYTES  24576u
#define BLOCKS_GATEWAY_SEGMENTS    32u /* of a path */
#define BLOCKS_CACHE_FOR_EVER      "public, max-age=29030400, immutable"
#define BLOCKS_CACHE_A_WEEK        "public, max-age=604800, stale-while-revalidate=2678400"

typedef enum blocks_form {
  BLOCKS_FORM_ANY = 0,  /* a file's bytes, or a directory as a page */
  BLOCKS_FORM_RAW = 1,  /* the block */
  BLOCKS_FORM_CODEC = 2 /* the block, when it has that codec */
} blocks_form;

typedef struct blocks_request {
  bool head;
  blocks_form form;
  uint64_t codec;      /* BLOCKS_FORM_CODEC */
  const char *type;    /* its content type; static */
  deai_str cid;        /* as text */
  deai_str path;       /* below it, without a leading slash */
  deai_str whole;      /* /ipfs/... */
  deai_str none_match; /* If-None-Match, or empty */
  deai_str range;      /* Range, or empty */
  deai_str if_range;   /* If-Range, or empty */
  bool only_if_cached;
} blocks_request;

/* blocks_request_read reads head into *out. Returns 0, or the HTTP status of the refusal with its
   text in err: 400, 405, 406, 501. */
DEAI_MUST_CHECK int32_t blocks_request_read(const deai_http_request *head, blocks_request *out,
                                            blocks_error *err);

/* blocks_etag_match returns whether an If-None-Match or If-Range names etag ("*" names all; weak
   ones count when weak is set). */
bool blocks_etag_match(deai_str list, const char *etag, bool weak);

/* blocks_range_read reads a Range over size bytes. Returns 206 with the first byte and the length,
   416 when no byte is in it, or 200 when there is no range, several, or none that can be read. */
int32_t blocks_range_read(deai_str range, uint64_t size, uint64_t *first_out, uint64_t *len_out);

/* The head of an answer: headers in the order in which deai_http_answer wants them. */
typedef struct blocks_answer {
  uint64_t status;
  deai_text_pair pairs[BLOCKS_GATEWAY_HEADERS_MAX];
  uint32_t count;
  uint32_t text_len;
  char text[BLOCKS_GATEWAY_TEXT_BYTES]; /* what the values point to */
} blocks_answer;

/* blocks_answer_add adds a header; name is static. A value that does not fit, or is longer than a
   header may be, is DEAI_ETOOLARGE and left out. */
int32_t blocks_answer_add(blocks_answer *answer, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* blocks_escape_url appends text with every byte percent-encoded that is not a letter, digit,
   "-._~" or, with slash set, '/'. DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t blocks_escape_url(blocks_buf *out, deai_bytes text, bool slash);

/* blocks_escape_html appends text with & < > " ' escaped; bytes that are no UTF-8 and control
   characters make the whole text percent-encoded. DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t blocks_escape_html(blocks_buf *out, deai_bytes text);

/* blocks_content_type guesses the content type from the ending of path. */
const char *blocks_content_type(deai_str path);

#endif
