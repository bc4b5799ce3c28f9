#ifndef DEAI_HOST_LEDGER_GUARD_H
#define DEAI_HOST_LEDGER_GUARD_H

#include "host/ledger/state.h"

/* What stands between a damaged state file and the process that has the keys. LMDB 0.9 maps its
   file and trusts it: a flipped bit in a page can crash whoever reads it.

   Seal      On a clean end the SHA-256 of the file is written beside it (state.seal). A file that
             fits its seal is good as it is; one that does not is damaged. The seal is removed
             before the file is written again.
   Judge     Without a seal (the process ended without notice) a child process reads every record
             and root first. If it finds damage, or crashes, or needs more than its share of CPU
             time, the file is damaged.
   Threads   At start and end, on the thread that opens the ledger. */

typedef struct deai_guard_verdict {
  int32_t status; /* DEAI_OK, DEAI_ENOTFOUND (no state), DEAI_EVERIFY (damaged), another failure */
  deai_state_head head;
  char why[200];
} deai_guard_verdict;

/* deai_guard_seal writes the seal of the state in folder (DATA/ledger). */
DEAI_MUST_CHECK int32_t deai_guard_seal(const char *folder, char *err, uint32_t err_cap);

/* deai_guard_unseal removes the seal, durably; no seal is no error. */
DEAI_MUST_CHECK int32_t deai_guard_unseal(const char *folder, char *err, uint32_t err_cap);

/* deai_guard_sealed returns DEAI_OK when the state fits its seal, DEAI_ENOTFOUND when there is no
   seal, DEAI_EVERIFY when the file differs. */
DEAI_MUST_CHECK int32_t deai_guard_sealed(const char *folder, char *err, uint32_t err_cap);

/* deai_guard_judge lets a child process read the whole state in folder. */
void deai_guard_judge(const char *folder, const deai_genesis *genesis, uint64_t map_bytes,
                      deai_guard_verdict *verdict);

#endif
