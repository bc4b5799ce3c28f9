/* Fuzz target of what the ledger reads from strangers: a signed transaction, a block entry,
   genesis, a proof; the first byte chooses. What a parser accepts is the one encoding of its
   meaning. */
#include "host/ledger/entry.h"
#include "host/ledger/genesis.h"
#include "host/ledger/proof.h"

#include <stdlib.h>

#include "host/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one_tx(deai_bytes input) {
  deai_tx_parsed *parsed = NULL;
  char err[160];
  static uint8_t room[DEAI_TX_MAX];
  if (deai_tx_parse(NULL, input, &parsed, err, sizeof err) != DEAI_OK) return;
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  if (deai_encode(&deai_tx_table, &parsed->tx, &writer, err, sizeof err) != DEAI_OK) abort();
  if (!deai_bytes_eq(parsed->pack.body, deai_bytes_of(room, writer.len))) abort();
  free(parsed);
  static const uint8_t genesis[DEAI_HASH_BYTES];
  if (deai_tx_parse(genesis, input, &parsed, err, sizeof err) == DEAI_OK) free(parsed);
}

static void one_entry(deai_bytes input) {
  deai_entry *entry = NULL;
  char err[160];
  if (deai_entry_open(input, &entry, err, sizeof err) != DEAI_OK) return;
  uint64_t len = entry->signed_block.len;
  for (uint64_t i = 0; i < entry->tx_count; i++)
    len += entry->txs[i]->bytes.len;
  if (len > input.len) abort();
  static const uint8_t zeros[DEAI_HASH_BYTES];
  deai_entry_before before = {entry->block.h - 1, entry->block.t - 1, entry->block.p, zeros};
  (void)!deai_entry_data(entry, err, sizeof err);
  (void)!deai_entry_signed(entry, zeros, entry->pack.key, err, sizeof err);
  (void)!deai_entry_tx_sigs(entry, zeros, err, sizeof err);
  if (entry->block.t > 0 && deai_entry_link(entry, &before, err, sizeof err) != DEAI_OK) abort();
  before.time_ms = entry->block.t;
  if (deai_entry_link(entry, &before, err, sizeof err) == DEAI_OK) abort();
  before.hash = entry->hash;
  if (deai_entry_link(entry, &before, err, sizeof err) == DEAI_OK) abort();
  before.height++;
  if (deai_entry_link(entry, &before, err, sizeof err) == DEAI_OK) abort();
  deai_entry_free(entry);
}

static void one_genesis(deai_bytes input) {
  deai_genesis_box *box = NULL;
  char err[160];
  (void)!deai_genesis_open(input, &box, err, sizeof err);
  deai_genesis_free(box);
}

static void one_proof(deai_bytes input) {
  uint8_t root[DEAI_HASH_BYTES];
  char err[160];
  deai_proof_claim claim = {deai_str_of("account/1"), deai_str_of("accounts"),  4, 64,
                            deai_bytes_of("key", 3),  deai_bytes_of("value", 5)};
  (void)!deai_proof_root(&claim, input, root, err, sizeof err);
  claim.value = deai_bytes_of(NULL, 0);
  (void)!deai_proof_root(&claim, input, root, err, sizeof err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  deai_bytes input = deai_bytes_of(data + 1, size - 1);
  if (data[0] % 4 == 0) one_tx(input);
  if (data[0] % 4 == 1) one_entry(input);
  if (data[0] % 4 == 2) one_genesis(input);
  if (data[0] % 4 == 3) one_proof(input);
  return 0;
}
