#include "hash.h"

#define OPENSSL_SUPPRESS_DEPRECATED /* SHA256_* is the one form that allocates nothing */
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <string.h>

#include "host/base/banned.h"

#define CRC32C_POLYNOMIAL 0x82f63b78u /* RFC 3720 B.4, bits reversed */

typedef struct hash_kind {
  uint64_t code;
  size_t bytes;
  const EVP_MD *(*md)(void);
} hash_kind;

/* multicodec:table.csv; the SHA-3 codes count down from 512 */
static const hash_kind hash_kinds[] = {
    {BLOCKS_HASH_SHA1, 20, EVP_sha1},
    {BLOCKS_HASH_SHA2_256, 32, EVP_sha256},
    {BLOCKS_HASH_SHA2_512, 64, EVP_sha512},
    {BLOCKS_HASH_SHA3_512, 64, EVP_sha3_512},
    {BLOCKS_HASH_SHA3_384, 48, EVP_sha3_384},
    {BLOCKS_HASH_SHA3_256, 32, EVP_sha3_256},
    {BLOCKS_HASH_SHA3_224, 28, EVP_sha3_224},
    {BLOCKS_HASH_SHA2_384, 48, EVP_sha384},
    {BLOCKS_HASH_BLAKE2B_512, 64, EVP_blake2b512},
    {BLOCKS_HASH_BLAKE2S_256, 32, EVP_blake2s256},
};

static const hash_kind *kind_of(uint64_t code) {
  for (size_t i = 0; i < sizeof hash_kinds / sizeof hash_kinds[0]; i++)
    if (hash_kinds[i].code == code) return &hash_kinds[i];
  return NULL;
}

size_t blocks_hash_bytes(uint64_t code) {
  const hash_kind *kind = kind_of(code);
  return kind ? kind->bytes : 0;
}

void blocks_sha256(deai_bytes data, uint8_t out[DEAI_HASH_BYTES]) {
  SHA256_CTX ctx;
  (void)SHA256_Init(&ctx);
  (void)SHA256_Update(&ctx, data.ptr, (size_t)data.len);
  (void)SHA256_Final(out, &ctx);
}

int32_t blocks_hash(uint64_t code, deai_bytes data, uint8_t out[BLOCKS_DIGEST_BYTES_MAX]) {
  if (code == BLOCKS_HASH_SHA2_256) {
    blocks_sha256(data, out);
    return DEAI_HASH_BYTES;
  }
  if (code == BLOCKS_HASH_IDENTITY) {
    if (data.len > BLOCKS_DIGEST_BYTES_MAX) return DEAI_ETOOLARGE;
    if (data.len > 0) memcpy(out, data.ptr, (size_t)data.len);
    return (int32_t)data.len;
  }
  const hash_kind *kind = kind_of(code);
  if (kind == NULL) return DEAI_EUNSUPPORTED;
  if (EVP_Digest(data.ptr, (size_t)data.len, out, NULL, kind->md(), NULL) != 1)
    return DEAI_EINTERNAL;
  return (int32_t)kind->bytes;
}

int32_t blocks_hash_check(uint64_t code, deai_bytes digest, deai_bytes data) {
  if (code == BLOCKS_HASH_IDENTITY) return deai_bytes_eq(digest, data) ? DEAI_OK : DEAI_EVERIFY;
  uint8_t found[BLOCKS_DIGEST_BYTES_MAX];
  if (digest.len < BLOCKS_DIGEST_BYTES_MIN) return DEAI_EUNSUPPORTED;
  int32_t len = blocks_hash(code, data, found);
  if (len < 0) return len;
  if (digest.len > (uint64_t)len) return DEAI_EVERIFY;
  return memcmp(found, digest.ptr, (size_t)digest.len) == 0 ? DEAI_OK : DEAI_EVERIFY;
}

static uint32_t crc_table[256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void crc_fill(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; bit++)
      crc = crc & 1 ? crc >> 1 ^ CRC32C_POLYNOMIAL : crc >> 1;
    crc_table[i] = crc;
  }
}

static uint32_t crc_portable(uint32_t crc, const uint8_t *at, size_t len) {
  (void)pthread_once(&crc_once, crc_fill);
  for (; len > 0; len--)
    crc = crc >> 8 ^ crc_table[(crc ^ *at++) & 0xff];
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_sse42(uint32_t crc, const uint8_t *at,
                                                            size_t len) {
  uint64_t wide = crc;
  for (; len >= 8; len -= 8, at += 8) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    wide = __builtin_ia32_crc32di(wide, word);
  }
  crc = (uint32_t)wide;
  for (; len > 0; len--)
    crc = __builtin_ia32_crc32qi(crc, *at++);
  return crc;
}
#endif

uint32_t blocks_crc32c(uint32_t crc, const void *bytes, size_t len) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return ~crc_sse42(~crc, bytes, len);
#endif
  return ~crc_portable(~crc, bytes, len);
}
