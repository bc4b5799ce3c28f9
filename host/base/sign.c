#include "sign.h"

#include "sign_vectors.h"

#include <sodium.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "banned.h"

#define MESSAGE_ON_STACK_MAX 4096
#define PREFIX_MAX           64 /* "deai/certificate/1" 0x00 and the genesis hash */
#define VECTOR_MESSAGE_MAX   256

static const char *const type_names[] = {"tx",      "block",  "vote",       "receipt",
                                         "voucher", "record", "certificate"};

/* Set when the library accepts an R with a small-order part. */
static _Atomic int32_t check_each_r;

int32_t deai_sign_verify_plain(deai_bytes message, const uint8_t key[DEAI_KEY_BYTES],
                               const uint8_t sig[DEAI_SIG_BYTES]) {
  if (crypto_sign_verify_detached(sig, message.ptr, message.len, key) != 0) return DEAI_EVERIFY;
  if (atomic_load(&check_each_r) != 0 && crypto_core_ed25519_is_valid_point(sig) != 1)
    return DEAI_EVERIFY;
  return DEAI_OK;
}

int32_t deai_sign_key_check(const uint8_t key[DEAI_KEY_BYTES]) {
  return crypto_core_ed25519_is_valid_point(key) == 1 ? DEAI_OK : DEAI_EINVAL;
}

static int32_t vector_bytes(const char *hex, uint8_t *out, size_t cap, size_t *len_out) {
  return sodium_hex2bin(out, cap, hex, strlen(hex), NULL, len_out, NULL) == 0 ? DEAI_OK
                                                                              : DEAI_EINTERNAL;
}

static int32_t judge_vector(const sign_vector *vector, char *err, uint32_t err_cap) {
  uint8_t key[DEAI_KEY_BYTES], sig[DEAI_SIG_BYTES], message[VECTOR_MESSAGE_MAX];
  size_t len = 0;
  int32_t status = vector_bytes(vector->key, key, sizeof key, &len);
  if (status == DEAI_OK) status = vector_bytes(vector->sig, sig, sizeof sig, &len);
  if (status == DEAI_OK) status = vector_bytes(vector->message, message, sizeof message, &len);
  if (status != DEAI_OK) return status;
  int32_t accepted = deai_sign_verify_plain(deai_bytes_of(message, len), key, sig) == DEAI_OK;
  int32_t key_good = deai_sign_key_check(key) == DEAI_OK;
  if (accepted && !vector->accept && vector->torsion && atomic_load(&check_each_r) == 0) {
    atomic_store(&check_each_r, 1);
    return judge_vector(vector, err, err_cap);
  }
  if (accepted == vector->accept && key_good == vector->key_good) return DEAI_OK;
  (void)snprintf(err, err_cap,
                 "expected an Ed25519 library with the rules of libsodium 1.0.18, found %s that "
                 "differs at %s: install another libsodium",
                 sodium_version_string(), vector->kind);
  return DEAI_EUNSUPPORTED;
}

int32_t deai_sign_start(char *err, uint32_t err_cap) {
  static atomic_bool judged; /* the library stays the same as long as the process */
  int32_t status = DEAI_OK;
  if (atomic_load(&judged)) return DEAI_OK;
  if (sodium_init() < 0) {
    (void)snprintf(err, err_cap, "expected libsodium to start, found that it cannot");
    return DEAI_EUNSUPPORTED;
  }
  for (uint32_t i = 0; i < sizeof sign_vectors / sizeof sign_vectors[0] && status == DEAI_OK; i++)
    status = judge_vector(&sign_vectors[i], err, err_cap);
  if (status == DEAI_OK) atomic_store(&judged, true);
  return status;
}

/* The message with its prefix: in room when it fits, else in fresh memory (*heap_out). */
static int32_t message_make(deai_sign_type type, const uint8_t genesis[DEAI_HASH_BYTES],
                            deai_bytes bytes, uint8_t *room, uint8_t **heap_out,
                            deai_bytes *message_out) {
  uint8_t *at = room;
  if (bytes.len > DEAI_SIGN_BYTES_MAX || (uint32_t)type > DEAI_SIGN_CERTIFICATE)
    return DEAI_ETOOLARGE;
  *heap_out = NULL;
  if (bytes.len > MESSAGE_ON_STACK_MAX - PREFIX_MAX) {
    at = *heap_out = malloc((size_t)bytes.len + PREFIX_MAX);
    if (at == NULL) return DEAI_ENOMEM;
  }
  int len = snprintf((char *)at, PREFIX_MAX, "deai/%s/1", type_names[type]);
  uint64_t used = (uint64_t)len + 1; /* with the zero byte */
  memcpy(at + used, genesis, DEAI_HASH_BYTES);
  used += DEAI_HASH_BYTES;
  if (bytes.len > 0) memcpy(at + used, bytes.ptr, (size_t)bytes.len);
  *message_out = deai_bytes_of(at, used + bytes.len);
  return DEAI_OK;
}

int32_t deai_sign_make(deai_sign_type type, const uint8_t genesis[DEAI_HASH_BYTES],
                       deai_bytes bytes, const uint8_t secret[DEAI_SIGN_SECRET_LEN],
                       uint8_t sig[DEAI_SIG_BYTES]) {
  uint8_t room[MESSAGE_ON_STACK_MAX];
  uint8_t *heap = NULL;
  deai_bytes message;
  int32_t status = message_make(type, genesis, bytes, room, &heap, &message);
  if (status != DEAI_OK) return status;
  if (crypto_sign_detached(sig, NULL, message.ptr, message.len, secret) != 0)
    status = DEAI_EINTERNAL;
  free(heap);
  return status;
}

int32_t deai_sign_verify(deai_sign_type type, const uint8_t genesis[DEAI_HASH_BYTES],
                         deai_bytes bytes, const uint8_t key[DEAI_KEY_BYTES],
                         const uint8_t sig[DEAI_SIG_BYTES]) {
  uint8_t room[MESSAGE_ON_STACK_MAX];
  uint8_t *heap = NULL;
  deai_bytes message;
  int32_t status = message_make(type, genesis, bytes, room, &heap, &message);
  if (status != DEAI_OK) return status;
  status = deai_sign_verify_plain(message, key, sig);
  free(heap);
  return status;
}
