#ifndef DEAI_PLUGINS_STORAGE_BLOCKS_HASH_H
#define DEAI_PLUGINS_STORAGE_BLOCKS_HASH_H

#include "base.h"

/* The hash functions of multihash that this build has, and the CRC-32C of the store's records.

   sha2-256 is the one that is written; the others are for reading what others wrote. libcrypto
   does the work (SHA extensions of the processor where it has them).

   Threads  [any].
   Limits   A digest is cut to 20 bytes at the least; shorter ones prove nothing and are refused by
            blocks_hash_check (the rule of go-verifcid). Identity holds at most 128 bytes. */

#define BLOCKS_HASH_IDENTITY    0x00
#define BLOCKS_HASH_SHA1        0x11
#define BLOCKS_HASH_SHA2_256    0x12
#define BLOCKS_HASH_SHA2_512    0x13
#define BLOCKS_HASH_SHA3_512    0x14
#define BLOCKS_HASH_SHA3_384    0x15
#define BLOCKS_HASH_SHA3_256    0x16
#define BLOCKS_HASH_SHA3_224    0x17
#define BLOCKS_HASH_SHA2_384    0x20
#define BLOCKS_HASH_BLAKE2B_512 0xb240
#define BLOCKS_HASH_BLAKE2S_256 0xb260

#define BLOCKS_DIGEST_BYTES_MAX 128
#define BLOCKS_DIGEST_BYTES_MIN 20

/* blocks_hash_bytes returns the natural digest length of a multihash code, 0 for an unknown one
   (identity has none and returns 0 too). */
size_t blocks_hash_bytes(uint64_t code);

/* blocks_hash writes the full digest of data and returns its length; DEAI_EUNSUPPORTED for a code
   that is not in this build, DEAI_EINTERNAL when libcrypto refuses. */
DEAI_MUST_CHECK int32_t blocks_hash(uint64_t code, deai_bytes data,
                                    uint8_t out[BLOCKS_DIGEST_BYTES_MAX]);

/* blocks_hash_check returns 0 when digest is the (possibly cut) digest of data, else DEAI_EVERIFY;
   DEAI_EUNSUPPORTED as above and for a digest shorter than BLOCKS_DIGEST_BYTES_MIN. */
DEAI_MUST_CHECK int32_t blocks_hash_check(uint64_t code, deai_bytes digest, deai_bytes data);

/* blocks_sha256 is the SHA-256 of data; it cannot fail. */
void blocks_sha256(deai_bytes data, uint8_t out[DEAI_HASH_BYTES]);

/* blocks_crc32c continues the CRC-32C crc (0 at the start) with len bytes (RFC 3720, B.4). */
uint32_t blocks_crc32c(uint32_t crc, const void *bytes, size_t len);

#endif
