#ifndef DEAI_PLUGINS_COMPUTE_LM_CID_H
#define DEAI_PLUGINS_COMPUTE_LM_CID_H

#include "deai/status.h"
#include "deai/types.h"

#include <stdatomic.h>
#include <stdint.h>

/* CIDs as the service needs them: it compares them as bytes, reads them from settings, prints them
   in messages, and makes one for a file that no block store has named.

   Threads  [any]
   Source   multiformats: cid, unsigned-varint, multibase `b` (RFC 4648 base32, lower case) */

#define LM_CID_TEXT_MAX 176 /* of DEAI_CID_MAX bytes, with `b` and the terminating zero */
#define LM_CID_FILE     36u /* bytes of what lm_cid_of_file makes */

typedef struct lm_cid {
  uint8_t bytes[DEAI_CID_MAX];
  uint32_t len; /* 0 = none */
} lm_cid;

/* lm_cid_of copies a binary CID: version 1 (version, codec, hash, length, digest) or version 0
   (34 bytes of sha2-256). DEAI_EINVAL for anything else. */
DEAI_MUST_CHECK int32_t lm_cid_of(deai_bytes bytes, lm_cid *out);

/* lm_cid_of_text reads "b" and base32, the usual text of a version 1 CID. DEAI_EINVAL. */
DEAI_MUST_CHECK int32_t lm_cid_of_text(deai_str text, lm_cid *out);

/* lm_cid_text writes that text with a terminating zero and returns out. */
const char *lm_cid_text(const lm_cid *cid, char out[LM_CID_TEXT_MAX]);

/* lm_cid_of_file hashes all of descriptor: a version 1 CID of codec raw and sha2-256 over the whole
   file, which is how the service names files given by path. Ends early with DEAI_ECANCELLED once
   *stop is true. DEAI_EIO, DEAI_ENOMEM. [worker] */
DEAI_MUST_CHECK int32_t lm_cid_of_file(int descriptor, const atomic_bool *stop, lm_cid *out);

/* lm_cid_same returns 1 when both are the same bytes. */
int32_t lm_cid_same(const lm_cid *a, const lm_cid *b);

/* lm_cid_bytes returns the bytes, borrowed from cid. */
static inline deai_bytes lm_cid_bytes(const lm_cid *cid) {
  return deai_bytes_of(cid->bytes, cid->len);
}

#endif
