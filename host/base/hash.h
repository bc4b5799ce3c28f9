#ifndef DEAI_HOST_BASE_HASH_H
#define DEAI_HOST_BASE_HASH_H

#include "deai/status.h"
#include "deai/types.h"

#include <stdint.h>

/* SHA-256 (FIPS 180-4, by libcrypto, which uses the CPU's SHA instructions) and CRC-32C
   (Castagnoli, RFC 3720 appendix B.4).

   SHA-256 is identity and proof: of blocks, transactions, structures. CRC-32C only finds torn or
   flipped bytes of our own files and protects against nobody.

   Threads  [any]; one deai_hasher is used by one thread at a time.
   Memory   A thread that hashes keeps one libcrypto context until it ends.
   Caveats  The process aborts when libcrypto has no SHA-256 or no memory for a context: there is
            no state in which a node can go on without it. */

#define DEAI_CRC32C_START 0u

typedef struct deai_hasher deai_hasher;

/* deai_sha256 writes the hash of bytes to out. */
void deai_sha256(deai_bytes bytes, uint8_t out[DEAI_HASH_BYTES]);

/* deai_sha256_parts writes the hash of count byte strings, one behind the other, to out. */
void deai_sha256_parts(const deai_bytes *parts, uint32_t count, uint8_t out[DEAI_HASH_BYTES]);

/* deai_hasher_new starts a SHA-256 over bytes that come in pieces; NULL when memory is used up. */
deai_hasher *deai_hasher_new(void);

/* deai_hasher_add takes the next bytes. */
void deai_hasher_add(deai_hasher *hasher, deai_bytes bytes);

/* deai_hasher_end writes the hash of all bytes taken to out; the hasher then starts anew. */
void deai_hasher_end(deai_hasher *hasher, uint8_t out[DEAI_HASH_BYTES]);

/* deai_hasher_free ends the hasher; NULL is allowed. */
void deai_hasher_free(deai_hasher *hasher);

/* deai_crc32c returns the checksum of bytes, continuing from crc (DEAI_CRC32C_START at first). */
uint32_t deai_crc32c(uint32_t crc, deai_bytes bytes);

#endif
