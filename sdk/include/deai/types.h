#ifndef DEAI_TYPES_H
#define DEAI_TYPES_H

#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The plain types that cross the line between host and plug-in.

   Memory   A deai_str or deai_bytes is borrowed: it is valid until the function that received it
            returns, unless a header says otherwise.
   Caveats  deai_str holds UTF-8 and has no terminating zero. */

#define DEAI_KEY_BYTES  32  /* Ed25519 public key */
#define DEAI_SIG_BYTES  64  /* Ed25519 signature */
#define DEAI_HASH_BYTES 32  /* SHA-256 */
#define DEAI_ID_BYTES   16  /* job, channel, secret */
#define DEAI_ACCT_BYTES 20  /* ledger account */
#define DEAI_CID_MAX    100 /* longest binary CID accepted in a message, in bytes */
#define DEAI_NAME_MAX   64  /* longest name of a node, model or record, in bytes */

typedef struct deai_str {
  const char *ptr;
  uint64_t len;
} deai_str;

typedef struct deai_bytes {
  const uint8_t *ptr;
  uint64_t len;
} deai_bytes;

typedef struct deai_buf { /* the callee fills it, the caller owns it */
  uint8_t *ptr;
  uint64_t cap;
} deai_buf;

/* deai_str_of makes a deai_str of a C string that outlives it; NULL gives the empty text. [any] */
static inline deai_str deai_str_of(const char *text) {
  deai_str out;
  out.ptr = text;
  out.len = text ? (uint64_t)strlen(text) : 0;
  return out;
}

/* deai_bytes_of makes a deai_bytes of len bytes at ptr. [any] */
static inline deai_bytes deai_bytes_of(const void *ptr, uint64_t len) {
  deai_bytes out;
  out.ptr = (const uint8_t *)ptr;
  out.len = len;
  return out;
}

/* deai_str_eq returns 1 when both texts are the same bytes. [any] */
static inline int32_t deai_str_eq(deai_str a, deai_str b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, (size_t)a.len) == 0);
}

/* deai_bytes_eq returns 1 when both are the same bytes. Not in constant time. [any] */
static inline int32_t deai_bytes_eq(deai_bytes a, deai_bytes b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, (size_t)a.len) == 0);
}

#ifdef __cplusplus
}
#endif

#endif
