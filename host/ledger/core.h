#ifndef DEAI_HOST_LEDGER_CORE_H
#define DEAI_HOST_LEDGER_CORE_H

#include "host/base/keys.h"
#include "host/ledger/app.h"
#include "host/ledger/blocklog.h"
#include "host/ledger/entry.h"
#include "host/ledger/orderstate.h"

/* The files of a ledger and the state machine over them, without an engine: opening with recovery,
   making a block durable, closing. Private to host/ledger.

   Threads  One; deai_core_read is [any]. */

#define DEAI_CORE_PATH_MAX 4096

typedef struct deai_core_options {
  const char *folder;
  deai_bytes genesis;
  const uint8_t *order; /* public key of this node's blocks, NULL = it orders none */
  uint32_t read_only;
  uint64_t map_bytes;
} deai_core_options;

typedef struct deai_core {
  char folder[DEAI_CORE_PATH_MAX];
  int lock_fd;
  uint64_t map_bytes;
  deai_genesis_box *genesis;
  deai_blocklog *log;
  deai_state *state;
  deai_app *app;
  const deai_abci *abci;
  deai_orderstate *order; /* NULL when the node orders none */
} deai_core;

/* deai_core_open opens everything and brings log, state and order.state together as the page of
   ledger.h says; or refuses with a text. */
DEAI_MUST_CHECK int32_t deai_core_open(const deai_core_options *options, deai_core **core_out,
                                       char *err, uint32_t err_cap);

/* deai_core_close closes everything and seals the state; NULL is allowed. */
void deai_core_close(deai_core *core);

/* deai_core_info returns the head. */
DEAI_MUST_CHECK int32_t deai_core_info(deai_core *core, deai_abci_info *info);

/* deai_core_commit makes the finalized block durable: block log, order.state where the node orders,
   state. */
DEAI_MUST_CHECK int32_t deai_core_commit(deai_core *core, uint64_t height, deai_bytes entry,
                                         deai_bytes signed_block,
                                         const uint8_t hash[DEAI_HASH_BYTES], char *err,
                                         uint32_t err_cap);

/* deai_core_read returns the block entry of height as fresh bytes. [any] */
DEAI_MUST_CHECK int32_t deai_core_read(deai_core *core, uint64_t height, uint8_t **ptr_out,
                                       uint64_t *len_out);

/* deai_core_load_genesis reads folder/genesis. */
DEAI_MUST_CHECK int32_t deai_core_load_genesis(const char *folder, deai_genesis_box **box_out,
                                               char *err, uint32_t err_cap);

/* deai_core_lock locks the folder for this process: a descriptor, or a negative status. */
DEAI_MUST_CHECK int32_t deai_core_lock(const char *folder, int *fd_out, char *err,
                                       uint32_t err_cap);

#endif
