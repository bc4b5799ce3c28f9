#include "proof.h"

#include "host/base/hash.h"
#include "host/base/merkle.h"
#include "host/base/sign.h"

#include "deai/ledger_module.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define ARENA_BYTES 16384u

typedef struct proof_op {
  deai_bytes key;
  uint64_t index;
  uint8_t hash[DEAI_HASH_BYTES];
  deai_list aunts; /* DEAI_HASH_BYTES each */
} proof_op;

typedef struct proof_in {
  uint64_t total;
  deai_list ops; /* proof_op */
} proof_in;

typedef struct proof {
  proof_in in;
  proof_op top;
} proof;

static const deai_field op_rows[] = {
    DEAI_F_BYTES(proof_op, key, NULL, 0, DEAI_LEDGER_KEY_MAX),
    DEAI_F_UINT(proof_op, index, NULL, 0, UINT64_MAX),
    DEAI_F_FIXED(proof_op, hash, NULL, DEAI_HASH_BYTES),
    DEAI_F_LIST(proof_op, aunts, NULL, DEAI_FIELD_FIXED, 0, DEAI_MERKLE_PATH_MAX, DEAI_HASH_BYTES),
};
static const deai_table op_table = DEAI_TABLE_TUPLE("proof.op", proof_op, op_rows);
static const deai_field in_rows[] = {
    DEAI_F_UINT(proof_in, total, NULL, 0, UINT64_MAX),
    DEAI_F_LIST_OF(proof_in, ops, NULL, 0, 2, &op_table),
};
static const deai_table in_table = DEAI_TABLE_TUPLE("proof.in", proof_in, in_rows);
static const deai_field proof_rows[] = {
    DEAI_F_STRUCT(proof, in, NULL, &in_table),
    DEAI_F_STRUCT(proof, top, NULL, &op_table),
};
static const deai_table proof_table = DEAI_TABLE_TUPLE("proof", proof, proof_rows);

static int32_t refuse(char *err, uint32_t err_cap, const char *text) {
  if (err != NULL && err_cap > 0) (void)snprintf(err, err_cap, "%s", text);
  return DEAI_EVERIFY;
}

static uint32_t put_varint(uint64_t value, uint8_t *out) {
  uint32_t len = 0;
  for (; value >= 0x80; value >>= 7)
    out[len++] = (uint8_t)(value | 0x80);
  out[len++] = (uint8_t)value;
  return len;
}

/* The leaf of a key and the hash of its value. */
static void leaf_of(deai_bytes key, const uint8_t value_hash[DEAI_HASH_BYTES],
                    uint8_t out[DEAI_HASH_BYTES]) {
  static const uint8_t prefix = 0x00, hash_len = DEAI_HASH_BYTES;
  uint8_t key_len[10];
  uint32_t used = put_varint(key.len, key_len);
  deai_bytes parts[5] = {deai_bytes_of(&prefix, 1), deai_bytes_of(key_len, used), key,
                         deai_bytes_of(&hash_len, 1), deai_bytes_of(value_hash, DEAI_HASH_BYTES)};
  deai_sha256_parts(parts, 5, out);
}

void deai_proof_leaf(deai_bytes key, deai_bytes value, uint8_t out[DEAI_HASH_BYTES]) {
  uint8_t value_hash[DEAI_HASH_BYTES];
  deai_sha256(value, value_hash);
  leaf_of(key, value_hash, out);
}

uint32_t deai_proof_bucket(deai_bytes key, uint32_t bits) {
  uint8_t hash[DEAI_HASH_BYTES];
  if (bits == 0) return 0;
  deai_sha256(key, hash);
  return ((uint32_t)hash[0] << 8 | hash[1]) >> (16 - bits);
}

uint32_t deai_proof_bucket_name(deai_str module, deai_str table, uint32_t bucket,
                                char out[DEAI_BUCKET_NAME_MAX]) {
  int len = snprintf(out, DEAI_BUCKET_NAME_MAX, "%.*s.%.*s.%04x", (int)module.len, module.ptr,
                     (int)table.len, table.ptr, bucket);
  for (uint64_t i = 0; i < module.len; i++) {
    if (out[i] == '/') out[i] = '.';
  }
  return (uint32_t)len;
}

static int32_t op_root(const proof_op *op, uint64_t total, uint8_t root[DEAI_HASH_BYTES]) {
  uint8_t leaf[DEAI_HASH_BYTES];
  deai_merkle_path path;
  path.count = (uint32_t)op->aunts.count;
  if (path.count > 0) memcpy(path.nodes, op->aunts.items, path.count * DEAI_HASH_BYTES);
  leaf_of(op->key, op->hash, leaf);
  return deai_merkle_path_root(leaf, op->index, total, &path, root);
}

static int key_compare(deai_bytes a, deai_bytes b) {
  uint64_t least = a.len < b.len ? a.len : b.len;
  int order = least == 0 ? 0 : memcmp(a.ptr, b.ptr, (size_t)least);
  if (order != 0) return order;
  return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

static int32_t existing_root(const deai_proof_claim *claim, const proof_in *in,
                             uint8_t root[DEAI_HASH_BYTES]) {
  uint8_t value_hash[DEAI_HASH_BYTES];
  const proof_op *op = in->ops.items;
  if (in->ops.count != 1 || !deai_bytes_eq(op->key, claim->key)) return DEAI_EVERIFY;
  deai_sha256(claim->value, value_hash);
  if (memcmp(value_hash, op->hash, sizeof value_hash) != 0) return DEAI_EVERIFY;
  return op_root(op, in->total, root);
}

/* The neighbours of a key that is not there: next to each other, or one at an end. */
static int32_t absent_root(const deai_proof_claim *claim, const proof_in *in,
                           uint8_t root[DEAI_HASH_BYTES]) {
  const proof_op *ops = in->ops.items;
  uint8_t second[DEAI_HASH_BYTES];
  if (in->ops.count == 0) {
    deai_sha256(deai_bytes_of(NULL, 0), root);
    return in->total == 0 ? DEAI_OK : DEAI_EVERIFY;
  }
  int first_order = key_compare(ops[0].key, claim->key);
  if (op_root(&ops[0], in->total, root) != DEAI_OK || first_order == 0) return DEAI_EVERIFY;
  if (in->ops.count == 1) {
    uint64_t end = first_order < 0 ? in->total - 1 : 0;
    return ops[0].index == end ? DEAI_OK : DEAI_EVERIFY;
  }
  if (first_order > 0 || key_compare(ops[1].key, claim->key) <= 0) return DEAI_EVERIFY;
  if (ops[1].index != ops[0].index + 1) return DEAI_EVERIFY;
  if (op_root(&ops[1], in->total, second) != DEAI_OK) return DEAI_EVERIFY;
  return memcmp(root, second, sizeof second) == 0 ? DEAI_OK : DEAI_EVERIFY;
}

int32_t deai_proof_root(const deai_proof_claim *claim, deai_bytes bytes,
                        uint8_t root[DEAI_HASH_BYTES], char *err, uint32_t err_cap) {
  _Alignas(16) uint8_t room[ARENA_BYTES];
  deai_arena arena = {room, sizeof room, 0};
  char name[DEAI_BUCKET_NAME_MAX];
  uint8_t bucket_root[DEAI_HASH_BYTES], bucket_hash[DEAI_HASH_BYTES];
  proof value;
  if (claim->module.len > DEAI_NAME_MAX || claim->table.len > DEAI_NAME_MAX ||
      claim->bits > DEAI_LEDGER_BITS_MAX)
    return refuse(err, err_cap, "expected the name and bits of a table, found longer ones");
  if (deai_decode(&proof_table, bytes, &value, &arena, err, err_cap) != DEAI_OK)
    return DEAI_EVERIFY;
  int32_t status = claim->value.ptr != NULL ? existing_root(claim, &value.in, bucket_root)
                                            : absent_root(claim, &value.in, bucket_root);
  if (status != DEAI_OK)
    return refuse(err, err_cap, "expected a proof of this record, found one that does not fit it");
  uint32_t len = deai_proof_bucket_name(claim->module, claim->table,
                                        deai_proof_bucket(claim->key, claim->bits), name);
  deai_sha256(deai_bytes_of(bucket_root, sizeof bucket_root), bucket_hash);
  if (!deai_bytes_eq(value.top.key, deai_bytes_of(name, len)) ||
      memcmp(value.top.hash, bucket_hash, sizeof bucket_hash) != 0)
    return refuse(err, err_cap, "expected the bucket of this key, found another one");
  if (op_root(&value.top, claim->top_count, root) != DEAI_OK)
    return refuse(err, err_cap, "expected a path of the top tree, found another length");
  return DEAI_OK;
}

int32_t deai_proof_verify(const uint8_t genesis[DEAI_HASH_BYTES],
                          const uint8_t orderer[DEAI_KEY_BYTES], deai_bytes signed_block,
                          const deai_proof_claim *claim, deai_bytes bytes, deai_block *block_out,
                          char *err, uint32_t err_cap) {
  uint8_t root[DEAI_HASH_BYTES];
  deai_signed pack;
  int32_t status = deai_decode(&deai_signed_table, signed_block, &pack, NULL, err, err_cap);
  if (status == DEAI_OK)
    status = deai_decode(&deai_block_table, pack.body, block_out, NULL, err, err_cap);
  if (status != DEAI_OK) return DEAI_EVERIFY;
  if (memcmp(pack.key, orderer, DEAI_KEY_BYTES) != 0 ||
      memcmp(block_out->o, orderer, DEAI_KEY_BYTES) != 0 ||
      deai_sign_verify(DEAI_SIGN_BLOCK, genesis, pack.body, pack.key, pack.sig) != DEAI_OK)
    return refuse(err, err_cap, "expected a block signed by the orderer, found another signature");
  status = deai_proof_root(claim, bytes, root, err, err_cap);
  if (status != DEAI_OK) return status;
  if (memcmp(root, block_out->s, sizeof root) != 0)
    return refuse(err, err_cap, "expected the state root of the block, found another root");
  return DEAI_OK;
}
