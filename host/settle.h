#ifndef DEAI_HOST_SETTLE_H
#define DEAI_HOST_SETTLE_H

#include "deai/contracts/ledger.h"
#include "host/call.h"

/* The seam between the router and what pays for a call: channels, vouchers, receipts. A call is
   settled when it carries a job id.

   Later    admit and pay may answer DEAI_EAGAIN: the router keeps the call until deai_router_ready
            says how it ended; a call that is over meanwhile is told by over.
   Price    u_in x price_in + u_out x price_out; 0 for a call that failed before its first unit
            other than by its caller's cancel or time.
   Threads  [loop] */

typedef struct deai_settle {
  void *user;
  /* admit is asked before this node works for a member: does the voucher that came with the CALL
     cover u x price_in + 16 x price_out? DEAI_OK, DEAI_EAGAIN, or DEAI_EPAYMENT with amount
     expected and found. */
  int32_t (*admit)(void *user, deai_call *call, uint64_t price_in, uint64_t price_out, char *err,
                   uint32_t err_cap);
  /* pay is asked before member worker gets a call with a price: DEAI_OK or DEAI_EAGAIN, or an error
     that moves the call on to another member. */
  int32_t (*pay)(void *user, deai_call *call, const uint8_t worker[DEAI_KEY_BYTES],
                 uint64_t price_in, uint64_t price_out, char *err, uint32_t err_cap);
  /* give is asked before units of a part leave behind the given ones: DEAI_OK, or DEAI_EAGAIN until
     more is paid. in is H(the CALL's a || its body). */
  int32_t (*give)(void *user, deai_call *call, uint64_t given, uint64_t units,
                  const uint8_t in[DEAI_HASH_BYTES]);
  /* got tells that units of a part of a member arrived, which may send it another voucher. */
  void (*got)(void *user, deai_call *call, uint64_t units_so_far);
  /* receipt signs a receipt of this node's work into out; returns its length or a negative
     status */
  int64_t (*receipt)(void *user, deai_call *call, const deai_receipt *receipt, deai_buf out);
  /* check compares the receipt of a member's work with what it must say: DEAI_OK or DEAI_EVERIFY.
     A cancelled call may have a few more units than arrived. */
  int32_t (*check)(void *user, deai_call *call, const deai_receipt *expected, deai_bytes receipt);
  /* left: the part of a priced call that a member had is over without a good receipt; status as its
     END, DEAI_EVERIFY = its receipt was refused. It owes one when it was lost, when its receipt was
     refused, when the time was up or the caller gave up, and when it had given units. */
  void (*left)(void *user, deai_call *call, int32_t status);
  /* over: the call is gone */
  void (*over)(void *user, deai_call *call);
} deai_settle;

#endif
