#ifndef DEAI_HOST_LEDGER_PAY_PRIVATE_H
#define DEAI_HOST_LEDGER_PAY_PRIVATE_H

#include "pay.h"
#include "purse.h"

#include "host/base/merkle.h"

#include <stdio.h>

/* What payer.c, payee.c and pay.c share: the structs behind deai_pay.

   Threads  [loop] */

#define PAY_VOUCHER_BYTES 320u
#define PAY_TICK_MS       250u
#define PAY_PRUNE_MIN_MS  1000u
#define PAY_PRUNE_MAX_MS  3600000u

typedef struct pay_voucher {
  deai_voucher voucher;
  uint64_t len; /* 0 = none */
  uint8_t bytes[PAY_VOUCHER_BYTES];
} pay_voucher;

/* ---- payer ---- */

typedef enum spend_state { SPEND_WAITS, SPEND_FAILED, SPEND_RUNS, SPEND_OWED } spend_state;

typedef struct spend_chan {
  struct spend_chan *next;
  deai_pay *pay;
  uint8_t ch[DEAI_ID_BYTES];
  uint8_t payee[DEAI_KEY_BYTES];
  uint64_t deposit;
  uint64_t sum;     /* of all receipts */
  uint64_t top;     /* ceiling on the disk */
  uint64_t top_new; /* ceiling on its way there */
  uint64_t high;    /* highest voucher signed; after a restart the ceiling */
  uint64_t moving;  /* deposit or top-up on its way */
  bool has_ch;
  bool checked; /* the ledger was asked for it */
  bool born;    /* opened by this run: the own ledger may not have it yet */
  bool unsure;  /* the payee is asked before it is used */
  bool opening, topping, syncing, asking;
  uint8_t last_job[DEAI_ID_BYTES];
} spend_chan;

/* One call at a member. */
typedef struct spend_job {
  struct spend_job *next;
  spend_chan *chan;
  deai_call *call; /* NULL once only the receipt is owed */
  uint8_t id[DEAI_ID_BYTES];
  uint64_t price_in, price_out;
  uint64_t u_in;
  uint64_t n;   /* units paid */
  uint64_t got; /* units that came */
  spend_state state;
  bool told; /* pay answered DEAI_EAGAIN */
  int32_t status;
  char why[DEAI_ERR_CAP];
  pay_voucher voucher;
} spend_job;

/* A channel of which receipts were fetched from a payee that owed them. */
typedef struct spend_fetched {
  struct spend_fetched *next;
  uint8_t ch[DEAI_ID_BYTES];
  uint64_t height;  /* of a ledger that had it, 0 = not seen there yet */
  uint64_t gone_ms; /* since when the ledger has it no more, 0 = it has it */
} spend_fetched;

/* ---- payee ---- */

typedef struct kept_receipt {
  struct kept_receipt *next;
  uint64_t len;
  uint8_t bytes[];
} kept_receipt;

typedef struct earn_chan {
  struct earn_chan *next;
  deai_pay *pay;
  uint8_t ch[DEAI_ID_BYTES];
  uint8_t payer[DEAI_KEY_BYTES];
  uint64_t sum;     /* of all receipts */
  uint64_t claimed; /* as the ledger said last */
  uint64_t count;   /* receipts ever */
  uint64_t shown;   /* receipts before this one were acknowledged by an exact voucher */
  uint64_t rooted;  /* receipts before this one stand in a claim */
  pay_voucher high;
  pay_voucher exact;    /* the lowest that covers sum, when there is one */
  kept_receipt *recent; /* newest first, at most DEAI_NET_RECEIPTS_MAX, from shown on */
  deai_merkle tree;     /* receipts from rooted on */
  deai_merkle fresh;    /* receipts since a claim is on its way */
  uint64_t claim_count; /* count when that claim began */
  bool claiming;
  uint64_t gone_ms; /* since when the ledger has it no more, 0 = it has it */
  uint64_t pruned;  /* receipts before this one are removed */
} earn_chan;

typedef enum earn_state { EARN_LEDGER, EARN_SYNC, EARN_RUNS } earn_state;

/* One call served here for pay. */
typedef struct earn_job {
  struct earn_job *next;
  earn_chan *chan; /* NULL until the voucher was judged */
  deai_call *call;
  uint8_t id[DEAI_ID_BYTES];
  uint8_t payer[DEAI_KEY_BYTES];
  char s[DEAI_NAME_MAX + 1];
  char m[DEAI_NAME_MAX + 1];
  uint8_t in[DEAI_HASH_BYTES];
  uint64_t price_in, price_out;
  uint64_t u_in;
  uint64_t n;      /* durably paid */
  uint64_t n_next; /* paid once the sync is over */
  uint64_t given;
  uint64_t until_ns; /* EARN_LEDGER: then it is refused */
  earn_state state;
  pay_voucher waits; /* the newest one that waits for the ledger */
  char why[DEAI_ERR_CAP];
} earn_job;

struct deai_pay {
  deai_pay_options options;
  deai_pay_ops ops;
  uint8_t genesis[DEAI_HASH_BYTES];
  deai_purse *purse;
  deai_timer *tick;
  deai_timer *claim;
  deai_timer *prune;
  spend_chan *outs;
  spend_job *spends;
  spend_fetched *fetched;
  earn_chan *ins;
  earn_job *earns;
};

/* pay_price returns u_in x price_in + u_out x price_out, at most UINT64_MAX. */
uint64_t pay_price(uint64_t u_in, uint64_t price_in, uint64_t u_out, uint64_t price_out);

/* pay_add returns a + b, at most UINT64_MAX. */
uint64_t pay_add(uint64_t a, uint64_t b);

/* pay_hex writes the first 4 bytes of an id as 8 digits into a static buffer of the caller. */
const char *pay_hex(const uint8_t *id, char out[9]);

/* pay_voucher_read checks form, key and signature; DEAI_EPAYMENT with a text. */
DEAI_MUST_CHECK int32_t pay_voucher_read(const deai_pay *pay, const deai_signed *pack,
                                         const uint8_t key[DEAI_KEY_BYTES], pay_voucher *out,
                                         char *err, uint32_t err_cap);

/* pay_op_list writes the list of one operation of channel/1. */
DEAI_MUST_CHECK int32_t pay_op_list(const char *type, const deai_table *table, const void *body,
                                    deai_buf out, uint64_t *len_out);

/* pay_own returns the public key of this node. */
const uint8_t *pay_own(const deai_pay *pay);

/* pay_tick_ask has pay_tick called soon. */
void pay_tick_ask(deai_pay *pay);

/* ---- payer.c: spend_pay, spend_got and spend_left are the router's seam (settle.h) ---- */

int32_t spend_pay(void *user, deai_call *call, const uint8_t worker[DEAI_KEY_BYTES],
                  uint64_t price_in, uint64_t price_out, char *err, uint32_t err_cap);
void spend_got(void *user, deai_call *call, uint64_t units);
void spend_left(void *user, deai_call *call, int32_t status);

/* spend_check judges price and channel of a receipt that is right otherwise, and settles it. */
int32_t spend_check(deai_pay *pay, deai_call *call, const deai_receipt *expected,
                    const deai_receipt *receipt);

/* spend_over forgets a call; one that ran and had no END is owed. */
void spend_over(deai_pay *pay, deai_call *call);

/* spend_tick asks for receipts that are owed; true while some are. */
bool spend_tick(deai_pay *pay);

/* spend_prune is deai_pay_prune for receipts that were fetched, at most `most` of them. */
uint64_t spend_prune(deai_pay *pay, uint64_t now_ms, uint64_t most);

/* spend_load reads the channels from the purse; spend_free frees them. */
DEAI_MUST_CHECK int32_t spend_load(deai_pay *pay);
void spend_free(deai_pay *pay);

/* ---- payee.c: earn_admit and earn_give are the router's seam (settle.h) ---- */

int32_t earn_admit(void *user, deai_call *call, uint64_t price_in, uint64_t price_out, char *err,
                   uint32_t err_cap);
int32_t earn_give(void *user, deai_call *call, uint64_t given, uint64_t units,
                  const uint8_t in[DEAI_HASH_BYTES]);

/* earn_job_of finds the job of a call, or NULL. */
earn_job *earn_job_of(const deai_pay *pay, const deai_call *call);

/* earn_receipt keeps a signed receipt of the job and ends it. */
void earn_receipt(deai_pay *pay, earn_job *job, uint64_t price, deai_bytes receipt);

/* earn_over forgets a call; one that gave units and had no END gets its receipt here. */
void earn_over(deai_pay *pay, deai_call *call);

/* earn_block judges again what waited for the ledger, and claims on channels that close. */
void earn_block(deai_pay *pay);

/* earn_tick refuses what has waited too long; true while something waits. */
bool earn_tick(deai_pay *pay);

/* earn_prune is deai_pay_prune for receipts of this node's work. */
uint64_t earn_prune(deai_pay *pay, uint64_t now_ms);

/* earn_load reads the channels from the purse and makes the receipts of jobs that were cut off by
   the end of the process; earn_free frees them. */
DEAI_MUST_CHECK int32_t earn_load(deai_pay *pay);
void earn_free(deai_pay *pay);

/* pay_receipt_sign signs a receipt of this node. */
DEAI_MUST_CHECK int64_t pay_receipt_sign(const deai_pay *pay, const deai_receipt *receipt,
                                         deai_buf out);

#endif
