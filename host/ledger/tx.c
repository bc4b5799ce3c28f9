#include "tx.h"

#include "host/base/hash.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

void deai_tx_id(deai_bytes signed_tx, uint8_t out[DEAI_HASH_BYTES]) {
  deai_sha256(signed_tx, out);
}

void deai_channel_id(const uint8_t tx_id[DEAI_HASH_BYTES], uint32_t op_index,
                     uint8_t out[DEAI_ID_BYTES]) {
  uint8_t index[4], hash[DEAI_HASH_BYTES];
  for (uint32_t i = 0; i < 4; i++)
    index[i] = (uint8_t)(op_index >> (8 * i));
  deai_bytes parts[2] = {deai_bytes_of(tx_id, DEAI_HASH_BYTES), deai_bytes_of(index, 4)};
  deai_sha256_parts(parts, 2, hash);
  memcpy(out, hash, DEAI_ID_BYTES);
}

void deai_tx_start(deai_tx_builder *builder, const uint8_t account[DEAI_ACCT_BYTES], uint64_t nonce,
                   uint64_t expires_ms, uint64_t fee) {
  memset(&builder->tx, 0, sizeof builder->tx);
  memcpy(builder->tx.a, account, DEAI_ACCT_BYTES);
  builder->tx.n = nonce;
  builder->tx.x = expires_ms;
  builder->tx.f = fee;
  builder->op_count = 0;
  builder->status = DEAI_OK;
  builder->used = 0;
  builder->err[0] = 0;
}

static void fail(deai_tx_builder *builder, int32_t status, const char *text) {
  if (builder->status != DEAI_OK) return;
  builder->status = status;
  (void)snprintf(builder->err, sizeof builder->err, "%s", text);
}

static void op_add(deai_tx_builder *builder, const char *module, const char *type, uint64_t len) {
  if (builder->op_count == DEAI_TX_OPS_MAX) {
    fail(builder, DEAI_ETOOLARGE, "expected at most 256 operations, found more");
    return;
  }
  deai_op *op = &builder->ops[builder->op_count++];
  op->module = deai_str_of(module);
  op->type = deai_str_of(type);
  op->body = deai_bytes_of(builder->bodies + builder->used, len);
  builder->used += len;
}

void deai_tx_op(deai_tx_builder *builder, const char *module, const char *type,
                const deai_table *table, const void *body) {
  char err[160];
  deai_cbor_writer writer = deai_cbor_writer_of(
      (deai_buf){builder->bodies + builder->used, sizeof builder->bodies - builder->used});
  int32_t status = deai_encode(table, body, &writer, err, sizeof err);
  if (status != DEAI_OK) {
    fail(builder, status, err);
    return;
  }
  op_add(builder, module, type, writer.len);
}

void deai_tx_op_raw(deai_tx_builder *builder, const char *module, const char *type,
                    deai_bytes body) {
  if (body.len > sizeof builder->bodies - builder->used) {
    fail(builder, DEAI_ETOOLARGE, "expected at most 65,536 bytes of operations, found more");
    return;
  }
  memcpy(builder->bodies + builder->used, body.ptr, (size_t)body.len);
  op_add(builder, module, type, body.len);
}

int32_t deai_sign_struct(deai_sign_type type, const deai_table *table, const void *value,
                         const uint8_t genesis[DEAI_HASH_BYTES], const deai_key *key, deai_buf out,
                         uint64_t *len_out, char *err, uint32_t err_cap) {
  deai_signed pack;
  deai_cbor_writer count = deai_cbor_writer_of((deai_buf){NULL, 0});
  int32_t status = deai_encode(table, value, &count, err, err_cap);
  if (status != DEAI_ETOOLARGE) return status == DEAI_OK ? DEAI_EINTERNAL : status;
  uint8_t *body = malloc((size_t)count.len);
  if (body == NULL) return DEAI_ENOMEM;
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){body, count.len});
  status = deai_encode(table, value, &writer, err, err_cap);
  pack.body = deai_bytes_of(body, writer.len);
  memcpy(pack.key, deai_key_public(key), DEAI_KEY_BYTES);
  if (status == DEAI_OK) status = deai_key_sign(key, type, genesis, pack.body, pack.sig);
  writer = deai_cbor_writer_of(out);
  if (status == DEAI_OK) status = deai_encode(&deai_signed_table, &pack, &writer, err, err_cap);
  *len_out = writer.len;
  free(body);
  return status;
}

int32_t deai_tx_sign(deai_tx_builder *builder, const uint8_t genesis[DEAI_HASH_BYTES],
                     const deai_key *key, deai_buf out, uint64_t *len_out, char *err,
                     uint32_t err_cap) {
  if (builder->status != DEAI_OK) {
    (void)snprintf(err, err_cap, "%s", builder->err);
    return builder->status;
  }
  if (out.cap > DEAI_TX_MAX) out.cap = DEAI_TX_MAX;
  builder->tx.t = (deai_list){builder->ops, builder->op_count};
  return deai_sign_struct(DEAI_SIGN_TX, &deai_tx_table, &builder->tx, genesis, key, out, len_out,
                          err, err_cap);
}
