#include "entry.h"

#include "host/base/hash.h"
#include "host/base/merkle.h"
#include "host/ledger/tx.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define SIGNED_BLOCK_MAX 1024u
#define ENTRY_HEADS      16u

static int32_t bad(char *err, uint32_t err_cap, int32_t status, const char *text) {
  (void)snprintf(err, err_cap, "%s", text);
  return status;
}

/* Reads the frame of the entry; the strict form was checked, so that only shapes are judged. */
static int32_t open_shape(deai_entry *entry, deai_cbor_reader *reader, char *err,
                          uint32_t err_cap) {
  deai_cbor_item item;
  int32_t status = deai_cbor_next(reader, &item);
  if (status != DEAI_OK || item.kind != DEAI_CBOR_ARRAY || item.number != 2)
    return bad(err, err_cap, DEAI_EINVAL, "expected a block entry of two items, found another");
  status = deai_cbor_skip(reader, &entry->signed_block);
  if (status != DEAI_OK) return DEAI_EINVAL;
  status = deai_decode(&deai_signed_table, entry->signed_block, &entry->pack, NULL, err, err_cap);
  if (status == DEAI_OK)
    status = deai_decode(&deai_block_table, entry->pack.body, &entry->block, NULL, err, err_cap);
  if (status != DEAI_OK) return status;
  deai_sha256(entry->signed_block, entry->hash);
  status = deai_cbor_next(reader, &item);
  if (status != DEAI_OK || item.kind != DEAI_CBOR_ARRAY)
    return bad(err, err_cap, DEAI_EINVAL, "expected a list of transactions, found another item");
  entry->txs = calloc((size_t)item.number + 1, sizeof entry->txs[0]);
  entry->tx_count = item.number;
  return entry->txs == NULL ? DEAI_ENOMEM : DEAI_OK;
}

static int32_t open_txs(deai_entry *entry, deai_cbor_reader *reader, char *err, uint32_t err_cap) {
  for (uint64_t i = 0; i < entry->tx_count; i++) {
    deai_bytes bytes;
    if (deai_cbor_skip(reader, &bytes) != DEAI_OK) return DEAI_EINVAL;
    int32_t status = deai_tx_parse(NULL, bytes, &entry->txs[i], err, err_cap);
    if (status != DEAI_OK) return status;
  }
  return DEAI_OK;
}

int32_t deai_entry_open(deai_bytes bytes, deai_entry **entry_out, char *err, uint32_t err_cap) {
  const char *why = NULL;
  if (bytes.len > DEAI_BLOCK_ENTRY_MAX)
    return bad(err, err_cap, DEAI_ETOOLARGE, "expected a block entry up to 4 MiB, found a larger");
  if (deai_cbor_check(bytes, 0, &why) != DEAI_OK) {
    (void)snprintf(err, err_cap, "expected a block entry in strict DAG-CBOR, found: %s", why);
    return DEAI_EINVAL;
  }
  deai_entry *entry = calloc(1, sizeof *entry);
  uint8_t *copy = malloc((size_t)bytes.len + 1);
  if (entry == NULL || copy == NULL) {
    free(entry);
    free(copy);
    return DEAI_ENOMEM;
  }
  memcpy(copy, bytes.ptr, (size_t)bytes.len);
  entry->memory = copy;
  entry->bytes = deai_bytes_of(copy, bytes.len);
  deai_cbor_reader reader = deai_cbor_reader_of(entry->bytes);
  int32_t status = open_shape(entry, &reader, err, err_cap);
  if (status == DEAI_OK) status = open_txs(entry, &reader, err, err_cap);
  if (status != DEAI_OK) {
    deai_entry_free(entry);
    return status;
  }
  *entry_out = entry;
  return DEAI_OK;
}

void deai_entry_free(deai_entry *entry) {
  if (entry == NULL) return;
  for (uint64_t i = 0; entry->txs != NULL && i < entry->tx_count; i++)
    free(entry->txs[i]);
  free(entry->txs);
  free(entry->memory);
  free(entry);
}

int32_t deai_entry_signed(const deai_entry *entry, const uint8_t genesis[DEAI_HASH_BYTES],
                          const uint8_t orderer[DEAI_KEY_BYTES], char *err, uint32_t err_cap) {
  const deai_signed *pack = &entry->pack;
  if (memcmp(pack->key, orderer, DEAI_KEY_BYTES) == 0 &&
      memcmp(entry->block.o, orderer, DEAI_KEY_BYTES) == 0 &&
      deai_sign_verify(DEAI_SIGN_BLOCK, genesis, pack->body, pack->key, pack->sig) == DEAI_OK)
    return DEAI_OK;
  (void)snprintf(err, err_cap, "block %llu: expected the signature of the orderer, found another",
                 (unsigned long long)entry->block.h);
  return DEAI_EDENIED;
}

static int32_t differs(const deai_entry *entry, const char *what, char *err, uint32_t err_cap) {
  (void)snprintf(err, err_cap, "block %llu: expected %s, found another",
                 (unsigned long long)entry->block.h, what);
  return DEAI_EVERIFY;
}

int32_t deai_entry_data(const deai_entry *entry, char *err, uint32_t err_cap) {
  uint8_t root[DEAI_HASH_BYTES];
  deai_merkle ids;
  deai_merkle_start(&ids);
  for (uint64_t i = 0; i < entry->tx_count; i++)
    deai_merkle_add(&ids, deai_bytes_of(entry->txs[i]->id, DEAI_HASH_BYTES));
  deai_merkle_root(&ids, root);
  if (memcmp(root, entry->block.d, sizeof root) == 0) return DEAI_OK;
  (void)differs(entry, "the transactions that the block names", err, err_cap);
  return DEAI_EDENIED;
}

int32_t deai_entry_tx_sigs(const deai_entry *entry, const uint8_t genesis[DEAI_HASH_BYTES],
                           char *err, uint32_t err_cap) {
  for (uint64_t i = 0; i < entry->tx_count; i++) {
    const deai_signed *pack = &entry->txs[i]->pack;
    if (deai_sign_verify(DEAI_SIGN_TX, genesis, pack->body, pack->key, pack->sig) != DEAI_OK)
      return differs(entry, "transactions with good signatures", err, err_cap);
  }
  return DEAI_OK;
}

int32_t deai_entry_link(const deai_entry *entry, const deai_entry_before *before, char *err,
                        uint32_t err_cap) {
  if (entry->block.h != before->height + 1) return differs(entry, "the next height", err, err_cap);
  if (memcmp(entry->block.p, before->hash, DEAI_HASH_BYTES) != 0)
    return differs(entry, "the hash of the block before", err, err_cap);
  if (entry->block.t <= before->time_ms)
    return differs(entry, "a later time than that of the block before", err, err_cap);
  return DEAI_OK;
}

int32_t deai_entry_run(const deai_entry *entry, const deai_abci *abci, deai_abci_result *result,
                       char *err, uint32_t err_cap) {
  deai_abci_block block = {entry->block.h, entry->block.t};
  int32_t status = abci->finalize(abci->app, &block, (const deai_tx_parsed *const *)entry->txs,
                                  entry->tx_count, result, err, err_cap);
  if (status != DEAI_OK) return status;
  if (result->failed_count > 0)
    return differs(entry, "only transactions that succeed", err, err_cap);
  if (memcmp(result->results_root, entry->block.r, DEAI_HASH_BYTES) != 0)
    return differs(entry, "the root of its results", err, err_cap);
  if (memcmp(result->state_root, entry->block.s, DEAI_HASH_BYTES) != 0)
    return differs(entry, "the state root that its transactions give", err, err_cap);
  return DEAI_OK;
}

int32_t deai_entry_make(const deai_block *block, const deai_key *key,
                        const uint8_t genesis[DEAI_HASH_BYTES], const deai_tx_parsed *const *txs,
                        uint64_t count, uint8_t **ptr_out, uint64_t *len_out,
                        deai_bytes *signed_block_out) {
  uint8_t room[SIGNED_BLOCK_MAX];
  uint64_t signed_len = 0, cap = SIGNED_BLOCK_MAX + ENTRY_HEADS;
  int32_t status = deai_sign_struct(DEAI_SIGN_BLOCK, &deai_block_table, block, genesis, key,
                                    (deai_buf){room, sizeof room}, &signed_len, NULL, 0);
  if (status != DEAI_OK) return status;
  for (uint64_t i = 0; i < count; i++)
    cap += txs[i]->bytes.len;
  uint8_t *out = malloc((size_t)cap);
  if (out == NULL) return DEAI_ENOMEM;
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){out, cap});
  deai_cbor_put_array(&writer, 2);
  *signed_block_out = deai_bytes_of(out + writer.len, signed_len);
  deai_cbor_put_raw(&writer, deai_bytes_of(room, signed_len));
  deai_cbor_put_array(&writer, count);
  for (uint64_t i = 0; i < count; i++)
    deai_cbor_put_raw(&writer, txs[i]->bytes);
  *ptr_out = out;
  *len_out = writer.len;
  return writer.status == DEAI_OK ? DEAI_OK : DEAI_EINTERNAL;
}
