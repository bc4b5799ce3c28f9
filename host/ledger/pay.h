#ifndef DEAI_HOST_LEDGER_PAY_H
#define DEAI_HOST_LEDGER_PAY_H

#include "deai/contracts/net.h"
#include "host/base/keys.h"
#include "host/ledger/ledger.h"
#include "host/ledger/records.h"
#include "host/settle.h"

/* A deai_pay is the money of a node: it pays members that work for it and is paid by those it works
   for (docs/formats.md 8). It implements the router's seam settle.h.

     payer   pay: a channel to the member is found, opened or topped up, then the CALL leaves with a
             voucher for the prompt and 16 units; got: n is kept at received + 16, renewed when half
             is used; END: the receipt's price is added to the sum of the channel, and when no job
             is left a voucher of exactly that sum is handed to the payee
     payee   admit: the voucher is judged against the ledger and the sum of the channel, made
             durable, then the work begins; give: DEAI_EAGAIN once the units given are 16 ahead of
             the units paid; END: the receipt carries price and channel; claims go out in batches

   Sums      Payer and payee both keep the sum of the receipts of a channel. A voucher covers that
             sum and what the open jobs may still cost; it is cumulative, only the highest counts.
             An honest payee claims the lowest voucher that covers its sum, which is the exact one
             as soon as the payer has handed it over.
   Durable   Payer: a ceiling at or above c is on the disk before c is sent. It is raised in steps,
             so that one sync serves many vouchers. Payee: a voucher is on the disk before its
             units count as paid.
   Restart   Before a channel is used again the payee is asked (deai.net/1 channel): the sum goes on
             at what the payee says, at least the own sum and at most the ceiling; a voucher of this
             node above the ceiling (a backup was restored) becomes the ceiling. A payee that names
             no sum: at the ceiling.
   Owed      A member that was lost before its END owes the receipt. It is asked for it; until then
             it gets no new voucher. A payee that was killed makes the receipts of the jobs that
             were open from what was durable.

   Files     DATA/pay (purse.h):
               "o" channel          out: payee, sum, ceiling          (deai_pay_out)
               "i" channel          in: payer, sum, vouchers, jobs    (deai_pay_in)
               "r" channel number   signed<receipt> of this node's work, number big-endian
               "f" job              signed<receipt> that was owed and fetched
               "g" channel          ms: since when the ledger has the channel no more
               "h" channel          the same for receipts that were fetched (deai_pay_fetched)
   Pruning   A channel that the ledger has closed and settled is forgotten with its receipts keep_ms
             after this node has seen that; sooner only to make room for another one. Receipts that
             were fetched go keep_ms after this node's ledger has the channel no more, at a height
             not below one at which it had it: no claim, objection or verdict can come then, and
             no channel ever comes back. Where it was not seen they stay.
   Threads   [loop]
   Memory    A deai_pay owns everything in it; calls are only named, never kept.
   Limits    DEAI_PAY_CHANNELS_MAX channels each way, DEAI_PAY_JOBS_MAX open jobs of a channel;
             beyond: DEAI_EBUSY. */

#define DEAI_PAY_AHEAD        16u /* units paid ahead, and units given ahead of pay */
#define DEAI_PAY_CHANNELS_MAX 1024u
#define DEAI_PAY_JOBS_MAX     64u
#define DEAI_PAY_LEDGER_MS    10000u /* how long a payee waits for a block with the channel */
#define DEAI_PAY_PRUNE_MAX    4096u
#define DEAI_PAY_STEP_IN      1024u /* a step of the ceiling covers so many units in ... */
#define DEAI_PAY_STEP_OUT     256u  /* ... and out */

typedef struct deai_pay deai_pay;

/* done of ask: status, text and the END's a. */
typedef void deai_pay_asked(void *user, int32_t status, const char *why, deai_bytes args);

typedef struct deai_pay_ops {
  /* channel reads a channel from the ledger (its lists may stay empty): DEAI_OK, DEAI_ENOTFOUND */
  int32_t (*channel)(void *user, const uint8_t ch[DEAI_ID_BYTES], deai_channel_rec *out);
  /* find looks for an open channel that this node's key opened to payee: DEAI_OK, DEAI_ENOTFOUND */
  int32_t (*find)(void *user, const uint8_t payee[DEAI_KEY_BYTES], uint8_t ch_out[DEAI_ID_BYTES]);
  /* height returns the height of this node's ledger */
  uint64_t (*height)(void *user);
  /* balance returns what the account of this node's key has available */
  int32_t (*balance)(void *user, uint64_t *out);
  /* propose signs ops (CBOR list of op) with the node key and submits them */
  void (*propose)(void *user, deai_bytes ops, void *done_user, deai_ledger_done *done);
  /* ask calls deai.net/1 channel at a member */
  void (*ask)(void *user, const uint8_t key[DEAI_KEY_BYTES], deai_bytes args, void *done_user,
              deai_pay_asked *done);
  /* send sends a voucher for a call that member key serves */
  void (*send)(void *user, const uint8_t key[DEAI_KEY_BYTES], deai_call *call,
               const deai_signed *voucher);
  /* ready answers an admit or pay that was DEAI_EAGAIN; with an error for a call that runs: it can
     be paid no longer */
  void (*ready)(void *user, deai_call *call, int32_t status, const char *why);
  /* reopen: more units may be given (deai_call_reopen) */
  void (*reopen)(void *user, deai_call *call);
} deai_pay_ops;

typedef struct deai_pay_options {
  deai_loop *loop;
  const char *folder; /* DATA/pay */
  const deai_key *key;
  const uint8_t *genesis;  /* hash, 32 bytes; copied */
  uint64_t deposit;        /* of a new channel and of a top-up */
  uint64_t close_after_ms; /* of a new channel */
  uint64_t claim_ms;       /* between two batches of claims; 0 = only when asked */
  uint64_t keep_ms;        /* receipts of settled channels, fetched ones too; 0 = for ever */
  const deai_pay_ops *ops;
  void *user;
} deai_pay_options;

/* What a node has out and in, in 10^-9 coin. */
typedef struct deai_pay_totals {
  uint64_t owed;    /* receipts of this node's work that are not claimed yet */
  uint64_t spent;   /* sum of the receipts for this node, all channels known */
  uint64_t pending; /* vouchers beyond that sum, of jobs that run */
  uint32_t unknown; /* members that owe a receipt */
} deai_pay_totals;

typedef struct deai_pay_claimed {
  uint32_t count;  /* claims that the ledger took */
  uint64_t amount; /* what they moved to held */
  int32_t status;  /* of the first one it refused */
  char why[DEAI_ERR_CAP];
} deai_pay_claimed;

typedef void deai_pay_claim_done(void *user, const deai_pay_claimed *result);

/* deai_pay_open reads the folder and starts. */
DEAI_MUST_CHECK int32_t deai_pay_open(const deai_pay_options *options, deai_pay **pay_out,
                                      char *err, uint32_t err_cap);

/* deai_pay_settle fills the router's seam. */
void deai_pay_settle(deai_pay *pay, deai_settle *out);

/* deai_pay_voucher_of writes the voucher that the CALL of call needs; returns 1, or 0 when it needs
   none. Its body lives until the next voucher of that call. */
int32_t deai_pay_voucher_of(deai_pay *pay, deai_call *call, deai_signed *out);

/* deai_pay_voucher takes a voucher that came for a call this node serves. */
void deai_pay_voucher(deai_pay *pay, deai_call *call, const deai_signed *voucher);

/* deai_pay_block tells that the ledger has a new block: what waited for it is judged again. */
void deai_pay_block(deai_pay *pay);

/* deai_pay_channel answers net-channel of member caller: the END's a is written to out. */
DEAI_MUST_CHECK int32_t deai_pay_channel(deai_pay *pay, const uint8_t caller[DEAI_KEY_BYTES],
                                         deai_bytes args, deai_buf out, uint64_t *len_out,
                                         char *err, uint32_t err_cap);

/* deai_pay_claim claims what receipts come to on all channels; done (may be NULL) is called once,
   later. */
void deai_pay_claim(deai_pay *pay, void *user, deai_pay_claim_done *done);

/* deai_pay_prune forgets what is due at wall time now_ms (see Pruning), at most DEAI_PAY_PRUNE_MAX
   receipts at a time, and returns how many it removed; it also runs by itself. */
uint64_t deai_pay_prune(deai_pay *pay, uint64_t now_ms);

/* deai_pay_release tells that a channel of this node is about to be closed: false while a job of it
   is open or owed, else it is looked up on the ledger before it is used again. */
DEAI_MUST_CHECK bool deai_pay_release(deai_pay *pay, const uint8_t ch[DEAI_ID_BYTES]);

/* deai_pay_totals_get fills *out. */
void deai_pay_totals_get(deai_pay *pay, deai_pay_totals *out);

/* deai_pay_free makes what is queued durable and frees; NULL is allowed. No call may be open. */
void deai_pay_free(deai_pay *pay);

#endif
