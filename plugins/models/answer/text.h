#ifndef DEAI_PLUGINS_MODELS_ANSWER_TEXT_H
#define DEAI_PLUGINS_MODELS_ANSWER_TEXT_H

#include "deai/status.h"
#include "deai/types.h"

#include <stddef.h>
#include <stdint.h>

/* An answer_text is a growing run of bytes that remembers its first failure, so that a writer is a
   list of puts and one look at status in the end.

   Threads  [any], one thread a text.
   Memory   Owns ptr; answer_text_free frees it. A zeroed one is empty.
   Limits   ANSWER_TEXT_MAX bytes, then status is DEAI_ETOOLARGE and nothing more is taken. */

#define ANSWER_TEXT_MAX ((size_t)64 << 20)

typedef struct answer_text {
  uint8_t *ptr;
  size_t len;
  size_t cap;
  int32_t status; /* DEAI_OK, or the first of DEAI_ENOMEM, DEAI_ETOOLARGE */
} answer_text;

/* answer_text_put appends len bytes. */
void answer_text_put(answer_text *text, const void *ptr, size_t len);

/* answer_text_add appends a C string. */
void answer_text_add(answer_text *text, const char *string);

/* answer_text_json appends value as a JSON string with its quotes; value is UTF-8. */
void answer_text_json(answer_text *text, deai_str value);

/* answer_text_uint appends a number in decimal digits. */
void answer_text_uint(answer_text *text, uint64_t value);

/* answer_text_micro appends a number of 10^-6 as a JSON number, without trailing zeros. */
void answer_text_micro(answer_text *text, int64_t micro);

/* answer_text_free frees the bytes and leaves the text empty. */
void answer_text_free(answer_text *text);

/* answer_text_bytes returns what was written. */
static inline deai_bytes answer_text_bytes(const answer_text *text) {
  return deai_bytes_of(text->ptr, text->len);
}

/* answer_base64url writes bytes in base64url without padding (RFC 4648 5) as a C string. */
void answer_base64url(answer_text *text, deai_bytes bytes);

/* answer_hex writes bytes in lower-case hex. */
void answer_hex(answer_text *text, deai_bytes bytes);

/* answer_cid_text writes a binary CID as multibase base32 ("b" and RFC 4648 6 in lower case without
   padding); the 34 bytes of a version 0 CID are written as version 1 (CID spec, dag-pb). */
void answer_cid_text(answer_text *text, deai_bytes cid);

#endif
