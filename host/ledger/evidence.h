#ifndef DEAI_HOST_LEDGER_EVIDENCE_H
#define DEAI_HOST_LEDGER_EVIDENCE_H

#include "deai/status.h"
#include "deai/types.h"

/* Evidence against an orderer: block entries that it signed and that contradict what is here. One
   file each, folder/evidence/HEIGHT-HASH.block, the bytes of the entry. Written once, never
   removed by the node; while one lies there a follower stays stopped.

   Threads  [any] */

/* deai_evidence_keep writes the entry of height whose signed block has hash; durable. */
DEAI_MUST_CHECK int32_t deai_evidence_keep(const char *folder, uint64_t height,
                                           const uint8_t hash[DEAI_HASH_BYTES], deai_bytes entry,
                                           char *err, uint32_t err_cap);

/* deai_evidence_height returns the lowest height there is evidence for, or 0. */
uint64_t deai_evidence_height(const char *folder);

#endif
