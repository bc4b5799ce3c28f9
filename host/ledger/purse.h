#ifndef DEAI_HOST_LEDGER_PURSE_H
#define DEAI_HOST_LEDGER_PURSE_H

#include "host/base/loop.h"

#include "deai/types.h"

/* A deai_purse keeps the records of payments durably: ceilings, vouchers, receipts. Many writes
   share one sync of the disk.

     put, put, put --> queue --sync--> one transaction on a worker --> done on the loop

   File     An LMDB environment in the folder (DATA/pay); every value carries a CRC-32C behind it.
   Threads  [loop]
   Memory   put copies. done may be called long after; it is not called after free.
   Limits   Keys up to DEAI_PURSE_KEY_MAX bytes; DEAI_PURSE_MAP_BYTES of address space.
   Caveats  After a failed commit every later sync fails too: what is on the disk is then not
            known, and the node must be started again. */

#define DEAI_PURSE_KEY_MAX   64u
#define DEAI_PURSE_VALUE_MAX 131072u
#define DEAI_PURSE_MAP_BYTES (UINT64_C(4) << 30)

typedef struct deai_purse deai_purse;
typedef void deai_purse_done(void *user, int32_t status);

/* deai_purse_open opens or makes the purse of a folder. */
DEAI_MUST_CHECK int32_t deai_purse_open(deai_loop *loop, const char *folder, deai_purse **purse_out,
                                        char *err, uint32_t err_cap);

/* deai_purse_put queues key = value; an empty value removes the key. DEAI_ETOOLARGE, DEAI_ENOMEM:
   nothing changed. */
DEAI_MUST_CHECK int32_t deai_purse_put(deai_purse *purse, deai_bytes key, deai_bytes value);

/* deai_purse_sync makes all that was put durable and then calls done (may be NULL), never inline.
 */
void deai_purse_sync(deai_purse *purse, void *user, deai_purse_done *done);

/* deai_purse_each calls each for every durable record whose key starts with prefix, in the order of
   the keys, until each returns another value than DEAI_OK. DEAI_EVERIFY: a record is damaged. */
DEAI_MUST_CHECK int32_t deai_purse_each(deai_purse *purse, deai_bytes prefix, void *user,
                                        int32_t (*each)(void *user, deai_bytes key,
                                                        deai_bytes value));

/* deai_purse_free waits for what is being written, writes what is queued, and closes; NULL is
   allowed. */
void deai_purse_free(deai_purse *purse);

#endif
