#ifndef DEAI_HOST_LEDGER_CATCHUP_H
#define DEAI_HOST_LEDGER_CATCHUP_H

#include "host/call.h"
#include "host/ledger/ledger.h"

/* The follower's side of the ledger: it asks a member for blocks from its own height on, hands each
   to the ledger, which verifies it in full, and passes transactions on to the orderer.

   Own writes  A transaction that the orderer has made durable is done when this node's ledger has
               its block too, so that who reads here next sees it; after DEAI_CATCHUP_MS it is done
               without, and at once when following has stopped.
   Threads     [loop]; blocks are applied on a worker, one at a time */

#define DEAI_FOLLOW_MS  60000u /* time of one follow call; then it is asked again */
#define DEAI_CATCHUP_MS 5000u  /* the longest wait for the block of a transaction passed on */

typedef struct deai_catchup deai_catchup;

typedef struct deai_catchup_options {
  deai_loop *loop;
  deai_ledger *ledger;
  deai_open_fn *open; /* the router */
  void *user;
  uint32_t wait_ms; /* 0 = DEAI_CATCHUP_MS */
} deai_catchup_options;

/* deai_catchup_new makes it; nothing runs before go. NULL: no memory. */
DEAI_MUST_CHECK deai_catchup *deai_catchup_new(const deai_catchup_options *options);

/* deai_catchup_go asks for blocks, unless it is asking already: after a connection came up. */
void deai_catchup_go(deai_catchup *catchup);

/* deai_catchup_forward passes signed<tx> on to the orderer. done runs on the loop, with id and
   height, once this node has that height too (page comment); with the orderer's status and words
   when it was refused. It may forward again. */
void deai_catchup_forward(void *user, deai_bytes signed_tx, void *done_user,
                          deai_ledger_done *done);

/* deai_catchup_why returns why it does not go on, "" while it does. */
const char *deai_catchup_why(const deai_catchup *catchup);

/* deai_catchup_stop gives up the call that runs and runs done of what waits for a block. From then
   on the ledger is not read; what is still on its way to the orderer is done when its call ends.
   NULL is allowed. */
void deai_catchup_stop(deai_catchup *catchup);

/* deai_catchup_free frees it, after stop, when every call has closed and the loop was drained; NULL
   is allowed. */
void deai_catchup_free(deai_catchup *catchup);

#endif
