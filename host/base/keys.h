#ifndef DEAI_HOST_BASE_KEYS_H
#define DEAI_HOST_BASE_KEYS_H

#include "host/base/sign.h"

#include "deai/status.h"
#include "deai/types.h"

#include <stdint.h>

/* A deai_key is an Ed25519 key pair of this node, read from its file and kept in guarded memory
   (sodium_malloc: locked, with guard pages, read-only, wiped when freed).

   Files    DATA/keys (folder, mode 0700) holds up to three, each with mode 0600:
              node    TLS, node records, receipts, vouchers
              wallet  the owner account; may live offline
              order   blocks; only on the ordering node
            One line of text each:
              deai-key/1 NAME SEED PUBLIC\n
            SEED and PUBLIC are 64 lower-case hex digits: the 32-byte seed of RFC 8032 and the
            public key that belongs to it. Whoever has the line has the key.
   Refused  A folder or file of another owner, with rights for group or others, a link instead of
            a file, a line with another name, or a public key that is not the seed's.
   Threads  [any]
   Caveats  No plug-in ever sees a key; no secret is ever logged. */

typedef struct deai_key deai_key;

/* deai_key_make makes a new key pair in memory; NULL when memory is used up. */
deai_key *deai_key_make(void);

/* deai_key_of_seed makes the key pair of a 32-byte seed; NULL when memory is used up. */
deai_key *deai_key_of_seed(const uint8_t seed[32]);

/* deai_key_save writes key to DATA/keys/name, durably; an existing file is never overwritten
   (DEAI_EINVAL). The folder is made where it is missing. */
DEAI_MUST_CHECK int32_t deai_key_save(const deai_key *key, const char *data, const char *name,
                                      char *err, uint32_t err_cap);

/* deai_key_load reads DATA/keys/name. Returns DEAI_ENOTFOUND, DEAI_EDENIED for wrong rights,
   DEAI_EINVAL for a damaged file, each with a text in err. */
DEAI_MUST_CHECK int32_t deai_key_load(const char *data, const char *name, deai_key **key_out,
                                      char *err, uint32_t err_cap);

/* deai_key_public returns the 32 bytes of the public key. */
const uint8_t *deai_key_public(const deai_key *key);

/* deai_key_seed returns the 32 secret bytes: for the TLS library only. */
const uint8_t *deai_key_seed(const deai_key *key);

/* deai_key_sign signs bytes as type for the network of genesis. */
DEAI_MUST_CHECK int32_t deai_key_sign(const deai_key *key, deai_sign_type type,
                                      const uint8_t genesis[DEAI_HASH_BYTES], deai_bytes bytes,
                                      uint8_t sig[DEAI_SIG_BYTES]);

/* deai_key_free wipes the key; NULL is allowed. */
void deai_key_free(deai_key *key);

#endif
