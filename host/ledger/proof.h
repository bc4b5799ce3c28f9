#ifndef DEAI_HOST_LEDGER_PROOF_H
#define DEAI_HOST_LEDGER_PROOF_H

#include "deai/contracts/ledger.h"

/* Proofs of records against the state root of a signed block, without a ledger at hand.

   The state is two levels of RFC 6962 trees (leaf and node prefixes as in host/base/merkle.h):
     bucket   the records of one table whose SHA-256(key) starts with the bucket's bits, sorted by
              key; leaf data = varint len(key) || key || varint 32 || SHA-256(value)
     top      one leaf for each bucket of each table, in the order of genesis; its key is
              "MODULE.TABLE.HHHH" (module with '/' written as '.', bucket in hex), its value the
              bucket's root. The root of this tree is the block's s.
   These are the leaves of Tendermint's simple Merkle proofs ("simple:v", ICS-23 TendermintSpec).

   A proof is CBOR: [in, top], in = [total, [* op]], top = op, op = [key, index, hash, [* aunt]],
   hash = SHA-256 of the value. Of a record that exists, `in` has its one op; of one that does not,
   the ops of its neighbours in the bucket (one at an end, none for an empty bucket).

   Threads  [any] */

#define DEAI_PROOF_MAX 65536u

typedef struct deai_proof_claim {
  deai_str module;
  deai_str table;
  uint32_t bits;      /* of the table, from genesis */
  uint32_t top_count; /* leaves of the top tree: sum of 2^bits over the tables of genesis */
  deai_bytes key;
  deai_bytes value; /* ptr NULL: the claim is that there is no such record */
} deai_proof_claim;

/* deai_proof_root computes the state root that proof yields for claim. Returns DEAI_EVERIFY, with a
   text, when the proof does not fit the claim. */
DEAI_MUST_CHECK int32_t deai_proof_root(const deai_proof_claim *claim, deai_bytes proof,
                                        uint8_t root[DEAI_HASH_BYTES], char *err, uint32_t err_cap);

/* deai_proof_verify checks the signature of the signed block by orderer for the network of genesis,
   and that proof leads from claim to the block's state root. *block_out gets the block. */
DEAI_MUST_CHECK int32_t deai_proof_verify(const uint8_t genesis[DEAI_HASH_BYTES],
                                          const uint8_t orderer[DEAI_KEY_BYTES],
                                          deai_bytes signed_block, const deai_proof_claim *claim,
                                          deai_bytes proof, deai_block *block_out, char *err,
                                          uint32_t err_cap);

/* deai_proof_leaf writes the leaf hash of a record (or of a bucket in the top tree). */
void deai_proof_leaf(deai_bytes key, deai_bytes value, uint8_t out[DEAI_HASH_BYTES]);

/* deai_proof_bucket returns the bucket of key in a table with bits. */
uint32_t deai_proof_bucket(deai_bytes key, uint32_t bits);

/* deai_proof_bucket_name writes the key of a bucket in the top tree and returns its length; out has
   room for DEAI_BUCKET_NAME_MAX. */
#define DEAI_BUCKET_NAME_MAX 144
uint32_t deai_proof_bucket_name(deai_str module, deai_str table, uint32_t bucket,
                                char out[DEAI_BUCKET_NAME_MAX]);

#endif
