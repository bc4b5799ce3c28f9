#ifndef DEAI_PLUGINS_STORAGE_BLOCKS_MULTIBASE_H
#define DEAI_PLUGINS_STORAGE_BLOCKS_MULTIBASE_H

#include "base.h"

/* Multibase: bytes as text whose first character names the base (multiformats/multibase).

     0 base2   7 base8   9 base10   f F base16   k K base36   z base58btc   Z base58flickr
     b B base32   c C base32 padded   v V base32hex   t T base32hex padded   h base32z
     m base64   M base64 padded   u base64url   U base64url padded

   Decoding takes either case where the alphabet has one case; a wrong character, wrong padding,
   bits that are left over and not zero, and an impossible length are refused.

   Threads  [any].
   Limits   BLOCKS_MULTIBASE_BYTES_MAX bytes for base10, base36 and base58, whose cost is quadratic;
            the others take any length.
   Caveats  base256emoji and the identity base are not in this build: DEAI_EUNSUPPORTED. */

#define BLOCKS_MULTIBASE_BYTES_MAX 1024

/* blocks_multibase_encode appends base and the text of bytes to text, which is no C string.
   DEAI_EUNSUPPORTED for an unknown base, DEAI_ETOOLARGE, DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t blocks_multibase_encode(char base, deai_bytes bytes, blocks_buf *text);

/* blocks_multibase_decode replaces bytes by what text stands for and sets *base_out.
   DEAI_EINVAL, DEAI_EUNSUPPORTED for an unknown base, DEAI_ETOOLARGE, DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t blocks_multibase_decode(deai_str text, blocks_buf *bytes, char *base_out);

/* blocks_multibase_decode_as is blocks_multibase_decode for a text without its base character. */
DEAI_MUST_CHECK int32_t blocks_multibase_decode_as(char base, deai_str text, blocks_buf *bytes);

/* blocks_multibase_of_name returns the character of "base32" and so on, 0 for an unknown name. */
char blocks_multibase_of_name(deai_str name);

#endif
