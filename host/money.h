#ifndef DEAI_HOST_MONEY_H
#define DEAI_HOST_MONEY_H

#include "host/node.h"

#include <jansson.h>

/* The money of a node, wired: where deai_pay meets ledger, net and router; and what the command
   line is told of it.

   Threads  [loop] */

#define DEAI_MONEY_CLOSE_MAX 64u

/* deai_money_open opens DATA/pay and sets the router's settlement. */
DEAI_MUST_CHECK int32_t deai_money_open(deai_node *node, char *err, uint32_t err_cap);

/* deai_money_wallet returns what the account of this node has, as JSON; NULL: it cannot be read.
     {account, available, held, frozen, deposits, owed, spent, pending, unknown, channels: [...]}
   in 10^-9 coin. held: claimed, not yet past its hold time; frozen: under objection; deposits: in
   channels of this account, less what was paid; owed: receipts of this node not claimed yet. */
json_t *deai_money_wallet(deai_node *node);

/* deai_money_history returns {rows, next}: what the blocks from height `from` on say of the
   account; next = the height to ask for then, 0 = that was all. NULL: it cannot be read. */
json_t *deai_money_history(deai_node *node, uint64_t from);

/* deai_money_close closes the channels that this node pays through and that no job uses, at most
   DEAI_MONEY_CLOSE_MAX at a time; the rest of a deposit is back after its close_after. Returns how
   many it proposes to close, and then calls done; 0: it does not call done. */
DEAI_MUST_CHECK uint32_t deai_money_close(deai_node *node, void *user, deai_ledger_done *done);

#endif
