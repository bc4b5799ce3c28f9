#include "hash.h"

#include "assertion.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

#include "banned.h"

#define CRC32C_POLYNOMIAL 0x82f63b78u /* reflected, RFC 3720 */
#define CRC32C_SLICES     8u

struct deai_hasher {
  EVP_MD_CTX *ctx;
};

static pthread_once_t start_once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_ctx;
static EVP_MD *sha256;
static uint32_t crc_table[CRC32C_SLICES][256];

static void thread_ctx_free(void *ctx) {
  EVP_MD_CTX_free(ctx);
}

static void crc_start(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t crc = i;
    for (uint32_t bit = 0; bit < 8; bit++)
      crc = (crc >> 1) ^ ((crc & 1u) != 0 ? CRC32C_POLYNOMIAL : 0u);
    crc_table[0][i] = crc;
  }
  for (uint32_t slice = 1; slice < CRC32C_SLICES; slice++) {
    for (uint32_t i = 0; i < 256; i++) {
      uint32_t before = crc_table[slice - 1][i];
      crc_table[slice][i] = (before >> 8) ^ crc_table[0][before & 0xffu];
    }
  }
}

static void start(void) {
  sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
  DEAI_ASSERT(sha256 != NULL);
  DEAI_ASSERT(pthread_key_create(&thread_ctx, thread_ctx_free) == 0);
  crc_start();
}

static EVP_MD_CTX *ctx_of_thread(void) {
  DEAI_ASSERT(pthread_once(&start_once, start) == 0);
  EVP_MD_CTX *ctx = pthread_getspecific(thread_ctx);
  if (ctx == NULL) {
    ctx = EVP_MD_CTX_new();
    DEAI_ASSERT(ctx != NULL);
    DEAI_ASSERT(pthread_setspecific(thread_ctx, ctx) == 0);
  }
  return ctx;
}

static void ctx_end(EVP_MD_CTX *ctx, uint8_t out[DEAI_HASH_BYTES]) {
  unsigned int len = 0;
  DEAI_ASSERT(EVP_DigestFinal_ex(ctx, out, &len) == 1);
  DEAI_ASSERT(len == DEAI_HASH_BYTES);
}

void deai_sha256_parts(const deai_bytes *parts, uint32_t count, uint8_t out[DEAI_HASH_BYTES]) {
  EVP_MD_CTX *ctx = ctx_of_thread();
  DEAI_ASSERT(EVP_DigestInit_ex2(ctx, sha256, NULL) == 1);
  for (uint32_t i = 0; i < count; i++)
    DEAI_ASSERT(EVP_DigestUpdate(ctx, parts[i].ptr, (size_t)parts[i].len) == 1);
  ctx_end(ctx, out);
}

void deai_sha256(deai_bytes bytes, uint8_t out[DEAI_HASH_BYTES]) {
  deai_sha256_parts(&bytes, 1, out);
}

deai_hasher *deai_hasher_new(void) {
  DEAI_ASSERT(pthread_once(&start_once, start) == 0);
  deai_hasher *hasher = malloc(sizeof *hasher);
  if (hasher == NULL) return NULL;
  hasher->ctx = EVP_MD_CTX_new();
  if (hasher->ctx == NULL || EVP_DigestInit_ex2(hasher->ctx, sha256, NULL) != 1) {
    deai_hasher_free(hasher);
    return NULL;
  }
  return hasher;
}

void deai_hasher_add(deai_hasher *hasher, deai_bytes bytes) {
  DEAI_ASSERT(EVP_DigestUpdate(hasher->ctx, bytes.ptr, (size_t)bytes.len) == 1);
}

void deai_hasher_end(deai_hasher *hasher, uint8_t out[DEAI_HASH_BYTES]) {
  ctx_end(hasher->ctx, out);
  DEAI_ASSERT(EVP_DigestInit_ex2(hasher->ctx, sha256, NULL) == 1);
}

void deai_hasher_free(deai_hasher *hasher) {
  if (hasher == NULL) return;
  EVP_MD_CTX_free(hasher->ctx);
  free(hasher);
}

static uint32_t crc_of_eight(uint32_t crc, const uint8_t *at) {
  uint32_t low = crc ^ ((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
                        (uint32_t)at[3] << 24);
  return crc_table[7][low & 0xffu] ^ crc_table[6][(low >> 8) & 0xffu] ^
         crc_table[5][(low >> 16) & 0xffu] ^ crc_table[4][low >> 24] ^ crc_table[3][at[4]] ^
         crc_table[2][at[5]] ^ crc_table[1][at[6]] ^ crc_table[0][at[7]];
}

uint32_t deai_crc32c(uint32_t crc, deai_bytes bytes) {
  DEAI_ASSERT(pthread_once(&start_once, start) == 0);
  uint64_t i = 0;
  crc = ~crc;
  for (; bytes.len - i >= 8; i += 8)
    crc = crc_of_eight(crc, bytes.ptr + i);
  for (; i < bytes.len; i++)
    crc = (crc >> 8) ^ crc_table[0][(crc ^ bytes.ptr[i]) & 0xffu];
  return ~crc;
}
