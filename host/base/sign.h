#ifndef DEAI_HOST_BASE_SIGN_H
#define DEAI_HOST_BASE_SIGN_H

#include "deai/status.h"
#include "deai/types.h"

#include <stdint.h>

/* Ed25519 (RFC 8032) as the network accepts it, and what is signed.

   What is signed (docs/formats.md 6):
     "deai/" type "/1" 0x00 || genesis hash (32 bytes) || the bytes as they were received
   so that nothing replays as another type or in another network.

   What is accepted, rule L1: S < L; R canonical; the equation without cofactor; and for a key, once
   at its registration (deai_sign_key_check): canonical and of prime order. Libraries and releases
   differ at these edges, so deai_sign_start judges the linked libsodium with one vector per kind
   of edge: where it accepts an R with a small-order part, each signature's R is checked by us;
   where anything else differs, the node refuses to start.

   Threads  [any] after deai_sign_start returned.
   Limits   A message is at most DEAI_SIGN_BYTES_MAX. */

#define DEAI_SIGN_BYTES_MAX  (8u << 20)
#define DEAI_SIGN_SECRET_LEN 64 /* seed and public key, the form of libsodium */

typedef enum deai_sign_type {
  DEAI_SIGN_TX = 0,
  DEAI_SIGN_BLOCK = 1,
  DEAI_SIGN_VOTE = 2,
  DEAI_SIGN_RECEIPT = 3,
  DEAI_SIGN_VOUCHER = 4,
  DEAI_SIGN_RECORD = 5,
  DEAI_SIGN_CERTIFICATE = 6
} deai_sign_type;

/* deai_sign_start prepares libsodium and judges it. Returns DEAI_EUNSUPPORTED, with the kind of
   edge in err, when the library differs. May be called again; it judges once. */
DEAI_MUST_CHECK int32_t deai_sign_start(char *err, uint32_t err_cap);

/* deai_sign_key_check returns DEAI_OK when key is canonical and of prime order. */
DEAI_MUST_CHECK int32_t deai_sign_key_check(const uint8_t key[DEAI_KEY_BYTES]);

/* deai_sign_make signs bytes as type for the network of genesis and writes sig. Returns
   DEAI_ETOOLARGE or DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t deai_sign_make(deai_sign_type type, const uint8_t genesis[DEAI_HASH_BYTES],
                                       deai_bytes bytes, const uint8_t secret[DEAI_SIGN_SECRET_LEN],
                                       uint8_t sig[DEAI_SIG_BYTES]);

/* deai_sign_verify returns DEAI_OK when sig is key's signature, DEAI_EVERIFY when it is not. */
DEAI_MUST_CHECK int32_t deai_sign_verify(deai_sign_type type,
                                         const uint8_t genesis[DEAI_HASH_BYTES], deai_bytes bytes,
                                         const uint8_t key[DEAI_KEY_BYTES],
                                         const uint8_t sig[DEAI_SIG_BYTES]);

/* deai_sign_verify_plain is deai_sign_verify over message itself, without type and network: for
   test vectors. */
DEAI_MUST_CHECK int32_t deai_sign_verify_plain(deai_bytes message,
                                               const uint8_t key[DEAI_KEY_BYTES],
                                               const uint8_t sig[DEAI_SIG_BYTES]);

#endif
