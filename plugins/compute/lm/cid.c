#include "cid.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

#define READ_BYTES (1u << 20)

static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";

/* take_varint reads an unsigned-varint of at most 9 bytes, in its shortest form. */
static int32_t take_varint(deai_bytes bytes, uint64_t *at, uint64_t *out) {
  *out = 0;
  for (uint32_t i = 0; i < 9 && *at < bytes.len; i++) {
    uint8_t byte = bytes.ptr[(*at)++];
    *out |= (uint64_t)(byte & 0x7f) << (7 * i);
    if ((byte & 0x80) != 0) continue;
    return byte == 0 && i > 0 ? DEAI_EINVAL : DEAI_OK;
  }
  return DEAI_EINVAL;
}

static int32_t check_one(deai_bytes bytes) {
  uint64_t at = 1;
  uint64_t codec;
  uint64_t hash;
  uint64_t len;
  if (take_varint(bytes, &at, &codec) != DEAI_OK || take_varint(bytes, &at, &hash) != DEAI_OK ||
      take_varint(bytes, &at, &len) != DEAI_OK)
    return DEAI_EINVAL;
  return len > 0 && len == bytes.len - at ? DEAI_OK : DEAI_EINVAL;
}

int32_t lm_cid_of(deai_bytes bytes, lm_cid *out) {
  *out = (lm_cid){.len = 0};
  if (bytes.len < 4 || bytes.len > DEAI_CID_MAX) return DEAI_EINVAL;
  bool zero = bytes.len == 34 && bytes.ptr[0] == 0x12 && bytes.ptr[1] == 0x20;
  if (!zero && (bytes.ptr[0] != 1 || check_one(bytes) != DEAI_OK)) return DEAI_EINVAL;
  memcpy(out->bytes, bytes.ptr, (size_t)bytes.len);
  out->len = (uint32_t)bytes.len;
  return DEAI_OK;
}

int32_t lm_cid_of_text(deai_str text, lm_cid *out) {
  uint8_t bytes[DEAI_CID_MAX];
  uint64_t len = 0;
  uint32_t bits = 0;
  uint32_t held = 0;
  *out = (lm_cid){.len = 0};
  if (text.len < 2 || text.len >= LM_CID_TEXT_MAX || text.ptr[0] != 'b') return DEAI_EINVAL;
  for (uint64_t i = 1; i < text.len; i++) {
    const char *digit = text.ptr[i] == 0 ? NULL : strchr(digits, text.ptr[i]);
    if (digit == NULL) return DEAI_EINVAL;
    bits = bits << 5 | (uint32_t)(digit - digits);
    held += 5;
    if (held < 8) continue;
    if (len == sizeof bytes) return DEAI_EINVAL;
    held -= 8;
    bytes[len++] = (uint8_t)(bits >> held);
    bits &= (1u << held) - 1;
  }
  if (held >= 5 || bits != 0) return DEAI_EINVAL; /* one text for each CID */
  return lm_cid_of(deai_bytes_of(bytes, len), out);
}

const char *lm_cid_text(const lm_cid *cid, char out[LM_CID_TEXT_MAX]) {
  uint32_t len = 0;
  uint32_t bits = 0;
  uint32_t held = 0;
  out[len++] = 'b';
  for (uint32_t i = 0; i < cid->len; i++) {
    bits = (bits << 8 | cid->bytes[i]) & 0xfff;
    for (held += 8; held >= 5; held -= 5)
      out[len++] = digits[bits >> (held - 5) & 31];
  }
  if (held > 0) out[len++] = digits[bits << (5 - held) & 31];
  out[len] = 0;
  return out;
}

static int32_t hash_all(int descriptor, const atomic_bool *stop, EVP_MD_CTX *hash, uint8_t *room) {
  off_t at = 0;
  for (;;) {
    if (atomic_load(stop)) return DEAI_ECANCELLED;
    ssize_t got = pread(descriptor, room, READ_BYTES, at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return DEAI_EIO;
    if (got == 0) return DEAI_OK;
    if (EVP_DigestUpdate(hash, room, (size_t)got) != 1) return DEAI_ENOMEM;
    at += got;
  }
}

int32_t lm_cid_of_file(int descriptor, const atomic_bool *stop, lm_cid *out) {
  static const uint8_t head[4] = {0x01, 0x55, 0x12, 0x20}; /* version 1, raw, sha2-256, 32 */
  uint8_t *room = malloc(READ_BYTES);
  EVP_MD_CTX *hash = EVP_MD_CTX_new();
  int32_t status = DEAI_ENOMEM;
  *out = (lm_cid){.len = 0};
  if (room != NULL && hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1)
    status = hash_all(descriptor, stop, hash, room);
  if (status == DEAI_OK && EVP_DigestFinal_ex(hash, out->bytes + sizeof head, NULL) != 1)
    status = DEAI_ENOMEM;
  if (status == DEAI_OK) {
    memcpy(out->bytes, head, sizeof head);
    out->len = LM_CID_FILE;
  }
  EVP_MD_CTX_free(hash);
  free(room);
  return status;
}

int32_t lm_cid_same(const lm_cid *a, const lm_cid *b) {
  return deai_bytes_eq(lm_cid_bytes(a), lm_cid_bytes(b));
}
