#ifndef DEAI_HOST_CLI_CHAIN_H
#define DEAI_HOST_CLI_CHAIN_H

#include "host/cli/cli.h"
#include "host/ledger/entry.h"

/* Reading the blocks of a data folder, while its node runs or not: what `ledger show`, `verify` and
   `verdict` look things up in. The form of each entry is checked; signatures and roots were checked
   by the node when it took the block, and `ledger verify` checks them again.

   Threads  one, the program's own */

/* each is called for the blocks in order; false ends the walk. */
typedef bool cli_block_each(void *user, const deai_entry *entry);

/* cli_chain_walk reads DATA/ledger/blocks.log. Returns DEAI_ENOTFOUND, DEAI_EVERIFY (also for a
   block that the node is writing just now) and so on with a text in err. */
DEAI_MUST_CHECK int32_t cli_chain_walk(const cli *line, cli_block_each *each, void *user, char *err,
                                       uint32_t err_cap);

/* cli_genesis_hash reads the genesis hash of the data folder. */
DEAI_MUST_CHECK int32_t cli_genesis_hash(const cli *line, uint8_t hash[DEAI_HASH_BYTES], char *err,
                                         uint32_t err_cap);

/* cli_cbor_json returns an item as JSON: bytes as base32 (a nested CBOR item in bytes stays bytes),
   CIDs as text; NULL for what has no form. */
json_t *cli_cbor_json(deai_bytes item);

/* cli_ledger_show serves `ledger show`. */
cli_command cli_ledger_show;

#endif
