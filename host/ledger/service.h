#ifndef DEAI_HOST_LEDGER_SERVICE_H
#define DEAI_HOST_LEDGER_SERVICE_H

#include "host/ledger/ledger.h"
#include "host/provider.h"

/* The ledger as services of the node: deai.ledger/1 for members, guests and plug-ins, and
   deai.host/1 submit, with which plug-ins propose operations that the node key signs.

   On the ordering node submit goes to the ledger; elsewhere it is passed on to the orderer by
   `forward`, and ends when this node's ledger has the block too (catchup.h).

   Threads  [loop] */

typedef struct deai_ledger_service deai_ledger_service;

typedef struct deai_ledger_service_options {
  deai_loop *loop;
  deai_ledger *ledger;
  const deai_key *node; /* signs what plug-ins propose, and receipts */
  bool orders;          /* this node orders blocks */
  /* forward passes signed<tx> on to the orderer and calls done later on the loop; NULL where this
     node orders */
  void (*forward)(void *user, deai_bytes signed_tx, void *done_user, deai_ledger_done *done);
  void *forward_user;
} deai_ledger_service_options;

/* deai_ledger_service_new makes the service; the ledger outlives it. NULL: no memory. */
DEAI_MUST_CHECK deai_ledger_service *
deai_ledger_service_new(const deai_ledger_service_options *options);

/* deai_ledger_service_offerings writes the two offerings to out. */
void deai_ledger_service_offerings(deai_ledger_service *service, deai_offering out[2]);

/* deai_ledger_service_block tells that a block became durable: who follows gets it. Called on the
   loop. */
void deai_ledger_service_block(deai_ledger_service *service, uint64_t height);

/* deai_ledger_service_submit submits signed<tx> from the node itself; done runs on the loop. */
void deai_ledger_service_submit(deai_ledger_service *service, deai_bytes signed_tx, void *user,
                                deai_ledger_done *done);

/* deai_ledger_service_propose builds, signs with the node key and submits ops (CBOR list of op).
   Proposals go one after the other: each has the nonce behind the last. done runs on the loop, also
   inline. */
void deai_ledger_service_propose(deai_ledger_service *service, deai_bytes ops, void *user,
                                 deai_ledger_done *done);

/* deai_ledger_service_free frees it; NULL is allowed. */
void deai_ledger_service_free(deai_ledger_service *service);

#endif
