#ifndef DEAI_HOST_BASE_BASE32_H
#define DEAI_HOST_BASE_BASE32_H

#include "deai/status.h"
#include "deai/types.h"

#include <stdint.h>

/* Base32 of RFC 4648 section 6, in lower case and without padding: node ids, invite codes, CIDs.

   Threads  [any]
   Caveats  Strict: only a-z and 2-7, no length that no encoder makes, bits left over are zero. So
            each byte string has exactly one text. */

/* DEAI_BASE32_LEN is the length of the text of len bytes, without the terminating zero. */
#define DEAI_BASE32_LEN(len) (((len)*8u + 4u) / 5u)

/* deai_base32_put writes the text of bytes and a terminating zero to out. Returns DEAI_ETOOLARGE
   when cap is below DEAI_BASE32_LEN(bytes.len) + 1. */
DEAI_MUST_CHECK int32_t deai_base32_put(deai_bytes bytes, char *out, uint64_t cap);

/* deai_base32_get writes the bytes of text to out and sets *len_out. Returns DEAI_EINVAL for a text
   that deai_base32_put does not make, DEAI_ETOOLARGE when out is too small. */
DEAI_MUST_CHECK int32_t deai_base32_get(deai_str text, deai_buf out, uint64_t *len_out);

#endif
