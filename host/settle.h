#ifndef DEAI_HOST_SETTLE_H
#define DEAI_HOST_SETTLE_H

#include "deai/contracts/ledger.h"
#include "host/call.h"

/* The seam between the router and what pays for a call: channels, vouchers, receipts. A call is
   settled when it carries a job id.

   Threads  [loop] */

typedef struct deai_settle {
  void *user;
  /* admit is asked before this node works for a member: does the voucher that came with the CALL
     cover u x price_in + 16 x price_out? DEAI_OK or DEAI_EPAYMENT with amount expected and found.
     */
  int32_t (*admit)(void *user, deai_call *call, uint64_t price_in, uint64_t price_out, char *err,
                   uint32_t err_cap);
  /* give is asked before units of a part leave: DEAI_OK, or DEAI_EAGAIN until more is paid. */
  int32_t (*give)(void *user, deai_call *call, uint64_t units_so_far);
  /* got tells that units of a part of a member arrived, which may send it another voucher. */
  void (*got)(void *user, deai_call *call, uint64_t units_so_far);
  /* receipt signs a receipt of this node's work into out; returns its length or a negative
     status */
  int64_t (*receipt)(void *user, deai_call *call, const deai_receipt *receipt, deai_buf out);
  /* check looks at the receipt of a member's work: DEAI_OK or DEAI_EVERIFY */
  int32_t (*check)(void *user, deai_call *call, const uint8_t worker[DEAI_KEY_BYTES],
                   const uint8_t in[DEAI_HASH_BYTES], deai_bytes receipt);
  /* over: the call is gone */
  void (*over)(void *user, deai_call *call);
} deai_settle;

#endif
