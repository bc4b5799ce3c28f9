#ifndef DEAI_HOST_LEDGER_VERIFY_H
#define DEAI_HOST_LEDGER_VERIFY_H

#include "deai/status.h"
#include "deai/types.h"

/* Judging the ledger folder of a node that is not running: `deai ledger verify [--rules]`.

   Always   every frame of the block log, the chain of hashes, every signature, the transaction and
            result roots; every record of the state with its checksum, and the state root against
            the last block.
   --rules  also runs every block again from genesis with this build's modules, compares every state
            root and checks minted - burned = sum of balances after each block.

   Threads  [any] on a folder that no node has open.
   Caveats  Nothing is repaired or changed. */

#define DEAI_VERIFY_RULES 1u

typedef struct deai_verify_report {
  uint64_t blocks; /* good blocks */
  uint64_t transactions;
  uint64_t bad_height;           /* of the first damaged frame or block, 0 = none */
  uint64_t bad_offset;           /* of that frame in the log */
  uint8_t head[DEAI_HASH_BYTES]; /* hash of the last good block */
  uint8_t root[DEAI_HASH_BYTES]; /* its state root */
} deai_verify_report;

/* deai_ledger_verify judges the folder (DATA/ledger). Returns DEAI_OK, DEAI_EVERIFY with the first
   damage in err, or why it could not judge. progress may be NULL. */
typedef void deai_verify_progress(void *user, uint64_t height, uint64_t of);
DEAI_MUST_CHECK int32_t deai_ledger_verify(const char *folder, uint32_t flags,
                                           deai_verify_progress *progress, void *user,
                                           deai_verify_report *report, char *err, uint32_t err_cap);

#endif
