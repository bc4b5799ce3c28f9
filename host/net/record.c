#include "record.h"

#include <stdlib.h>

#include "host/base/banned.h"

int32_t deai_record_make(const deai_node_record *record, const deai_key *key,
                         const uint8_t genesis[DEAI_HASH_BYTES], deai_buf out, uint64_t *len_out) {
  deai_signed signature;
  uint8_t *body = malloc(DEAI_RECORD_MAX);
  if (body == NULL) return DEAI_ENOMEM;
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){body, DEAI_RECORD_MAX});
  int32_t status = deai_encode(&deai_node_record_table, record, &writer, NULL, 0);
  signature.body = deai_bytes_of(body, writer.len);
  memcpy(signature.key, deai_key_public(key), DEAI_KEY_BYTES);
  if (status == DEAI_OK)
    status = deai_key_sign(key, DEAI_SIGN_RECORD, genesis, signature.body, signature.sig);
  deai_cbor_writer whole = deai_cbor_writer_of(out);
  if (status == DEAI_OK) status = deai_encode(&deai_signed_table, &signature, &whole, NULL, 0);
  *len_out = whole.len;
  free(body);
  return status;
}

int32_t deai_record_read(deai_bytes bytes, const uint8_t *key,
                         const uint8_t genesis[DEAI_HASH_BYTES], deai_node_record *record_out,
                         deai_arena *arena) {
  deai_signed signature;
  if (bytes.len > DEAI_RECORD_MAX) return DEAI_ETOOLARGE;
  int32_t status = deai_decode(&deai_signed_table, bytes, &signature, NULL, NULL, 0);
  if (status == DEAI_OK && key != NULL && memcmp(signature.key, key, DEAI_KEY_BYTES) != 0)
    status = DEAI_EVERIFY;
  if (status == DEAI_OK)
    status =
        deai_sign_verify(DEAI_SIGN_RECORD, genesis, signature.body, signature.key, signature.sig);
  if (status == DEAI_OK)
    status = deai_decode(&deai_node_record_table, signature.body, record_out, arena, NULL, 0);
  if (status == DEAI_OK && memcmp(record_out->k, signature.key, DEAI_KEY_BYTES) != 0)
    status = DEAI_EVERIFY;
  return status;
}
