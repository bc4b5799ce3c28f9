#ifndef DEAI_HOST_NET_RECORD_H
#define DEAI_HOST_NET_RECORD_H

#include "deai/contracts/ledger.h"
#include "host/base/keys.h"

/* A node record says what a node offers now and where it can be dialled: signed by the node's key,
   sent to every connected member when it changes. It is never part of the ledger.

   Threads  [any]
   Limits   DEAI_RECORD_MAX bytes signed */

/* deai_record_make signs record into out (signed<node-record>); *len_out is its length. */
DEAI_MUST_CHECK int32_t deai_record_make(const deai_node_record *record, const deai_key *key,
                                         const uint8_t genesis[DEAI_HASH_BYTES], deai_buf out,
                                         uint64_t *len_out);

/* deai_record_read checks signed<node-record> bytes: form, signature, that it is of key (NULL = of
   whoever signed it). Lists lie in arena. DEAI_EVERIFY when the signature is wrong. */
DEAI_MUST_CHECK int32_t deai_record_read(deai_bytes bytes, const uint8_t *key,
                                         const uint8_t genesis[DEAI_HASH_BYTES],
                                         deai_node_record *record_out, deai_arena *arena);

#endif
