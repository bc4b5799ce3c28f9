#ifndef DEAI_HOST_LEDGER_ORDERSTATE_H
#define DEAI_HOST_LEDGER_ORDERSTATE_H

#include "deai/status.h"
#include "deai/types.h"

/* order.state: the height and hash of the last block that this node signed, so that it never signs
   another one of that height, even when an old copy of the block log was put back.

   File      Two slots of 512 bytes, written in turn; the newer good one counts, so that a torn
             write leaves the one before. Slot, little-endian:
               u32 magic 0x53524f44 | u32 version 1 | u64 height | hash (32) | u32 CRC-32C
   Order     block log synced -> order.state synced -> the block leaves the node.
   Threads   One at a time. */

typedef struct deai_orderstate deai_orderstate;

/* deai_orderstate_open opens the file at path. Returns DEAI_ENOTFOUND when it is missing (create
   makes it at height 0 instead), DEAI_EVERIFY when neither slot is good. */
DEAI_MUST_CHECK int32_t deai_orderstate_open(const char *path, int32_t create,
                                             deai_orderstate **state_out, char *err,
                                             uint32_t err_cap);

/* deai_orderstate_close closes it; NULL is allowed. */
void deai_orderstate_close(deai_orderstate *state);

/* deai_orderstate_get returns the height and writes the hash. */
uint64_t deai_orderstate_get(const deai_orderstate *state, uint8_t hash[DEAI_HASH_BYTES]);

/* deai_orderstate_put notes a block, durably. */
DEAI_MUST_CHECK int32_t deai_orderstate_put(deai_orderstate *state, uint64_t height,
                                            const uint8_t hash[DEAI_HASH_BYTES], char *err,
                                            uint32_t err_cap);

#endif
