#include "pay_private.h"

#include "host/base/log.h"
#include "host/ledger/tx.h"

#include <stdlib.h>

#include "host/base/banned.h"

#define OPS_BYTES   1024u
#define ARGS_BYTES  512u
#define ARENA_BYTES 4096u

/* What is durable of a channel that this node pays through. */
typedef struct deai_pay_out {
  uint64_t sum;
  uint64_t top;
  uint8_t payee[DEAI_KEY_BYTES];
} deai_pay_out;

static const deai_field out_rows[] = {
    DEAI_F_UINT(deai_pay_out, sum, "sum", 0, UINT64_MAX),
    DEAI_F_UINT(deai_pay_out, top, "top", 0, UINT64_MAX),
    DEAI_F_FIXED(deai_pay_out, payee, "payee", DEAI_KEY_BYTES),
};
static const deai_table out_table = DEAI_TABLE_SIGNED("pay-out", deai_pay_out, out_rows);

/* What is durable of a channel with fetched receipts: see spend_fetched. */
typedef struct deai_pay_fetched {
  uint64_t gone;
  uint64_t height;
} deai_pay_fetched;

static const deai_field fetched_rows[] = {
    DEAI_F_UINT(deai_pay_fetched, gone, "gone", 0, UINT64_MAX),
    DEAI_F_UINT(deai_pay_fetched, height, "height", 0, UINT64_MAX),
};
static const deai_table fetched_table =
    DEAI_TABLE_SIGNED("pay-fetched", deai_pay_fetched, fetched_rows);

static bool chan_step(spend_chan *chan);
static void chan_rest(spend_chan *chan);

/* ---- jobs ---- */

static spend_job *job_of(const deai_pay *pay, const deai_call *call) {
  spend_job *at = pay->spends;
  while (at != NULL && at->call != call)
    at = at->next;
  return at;
}

static void job_free(deai_pay *pay, spend_job *gone) {
  spend_job **at = &pay->spends;
  while (*at != gone)
    at = &(*at)->next;
  *at = gone->next;
  free(gone);
}

/* job_in returns the first job of the channel in that state. */
static spend_job *job_in(const spend_chan *chan, spend_state state) {
  spend_job *at = chan->pay->spends;
  while (at != NULL && (at->chan != chan || at->state != state))
    at = at->next;
  return at;
}

static uint64_t job_cost(const spend_job *job, uint64_t n) {
  return pay_price(job->u_in, job->price_in, n, job->price_out);
}

/* committed returns the sum of the channel with what its open jobs were promised, one left out. */
static uint64_t committed(const spend_chan *chan, const spend_job *but) {
  uint64_t total = chan->sum;
  for (const spend_job *at = chan->pay->spends; at != NULL; at = at->next) {
    if (at->chan != chan || at == but) continue;
    if (at->state == SPEND_RUNS || at->state == SPEND_OWED)
      total = pay_add(total, job_cost(at, at->n));
  }
  return total;
}

static void job_fail(spend_job *job, int32_t status, const char *why) {
  deai_pay *pay = job->chan->pay;
  deai_call *call = job->call;
  job->state = SPEND_FAILED;
  job->status = status;
  (void)snprintf(job->why, sizeof job->why, "%s", why);
  if (!job->told) return; /* spend_pay answers it */
  char text[DEAI_ERR_CAP];
  (void)snprintf(text, sizeof text, "%s", why);
  job_free(pay, job);
  pay->ops.ready(pay->options.user, call, status, text);
}

static void fail_waiting(spend_chan *chan, int32_t status, const char *why) {
  char text[DEAI_ERR_CAP];
  (void)snprintf(text, sizeof text, "%s", why);
  spend_job *job;
  while ((job = job_in(chan, SPEND_WAITS)) != NULL)
    job_fail(job, status, text);
}

/* fail_starved ends the jobs that need a voucher which cannot be made. */
static void fail_starved(spend_chan *chan, int32_t status, const char *why) {
  spend_job *at = chan->pay->spends;
  while (at != NULL) {
    spend_job *next = at->next;
    if (at->chan == chan && at->state == SPEND_RUNS && at->n <= at->got + DEAI_PAY_AHEAD / 2)
      chan->pay->ops.ready(chan->pay->options.user, at->call, status, why);
    at = next;
  }
}

/* ---- vouchers ---- */

static int32_t voucher_sign(spend_chan *chan, const deai_voucher *voucher, pay_voucher *out) {
  char err[DEAI_ERR_CAP] = "";
  deai_pay *pay = chan->pay;
  out->voucher = *voucher;
  int32_t status = deai_sign_struct(DEAI_SIGN_VOUCHER, &deai_voucher_table, voucher, pay->genesis,
                                    pay->options.key, (deai_buf){out->bytes, sizeof out->bytes},
                                    &out->len, err, sizeof err);
  if (status != DEAI_OK) {
    out->len = 0;
    deai_log(DEAI_LEVEL_ERROR, "pay", "a voucher was not signed: %s", err);
  } else if (voucher->c > chan->high) {
    chan->high = voucher->c;
  }
  return status;
}

static int32_t job_voucher(spend_job *job, uint64_t n) {
  spend_chan *chan = job->chan;
  deai_voucher voucher = {.c = pay_add(committed(chan, job), job_cost(job, n)), .n = n};
  memcpy(voucher.ch, chan->ch, DEAI_ID_BYTES);
  memcpy(voucher.job, job->id, DEAI_ID_BYTES);
  return voucher_sign(chan, &voucher, &job->voucher);
}

static int32_t voucher_open(const pay_voucher *from, deai_signed *out) {
  return deai_decode(&deai_signed_table, deai_bytes_of(from->bytes, from->len), out, NULL, NULL, 0);
}

int32_t deai_pay_voucher_of(deai_pay *pay, deai_call *call, deai_signed *out) {
  const spend_job *job = job_of(pay, call);
  if (job == NULL || job->state != SPEND_RUNS || job->voucher.len == 0) return 0;
  return voucher_open(&job->voucher, out) == DEAI_OK ? 1 : 0;
}

/* ---- what is durable ---- */

static void chan_key(const spend_chan *chan, uint8_t key[1 + DEAI_ID_BYTES]) {
  key[0] = 'o';
  memcpy(key + 1, chan->ch, DEAI_ID_BYTES);
}

static int32_t chan_put(spend_chan *chan, uint64_t top) {
  uint8_t key[1 + DEAI_ID_BYTES];
  uint8_t room[128];
  deai_pay_out rec = {.sum = chan->sum, .top = top};
  memcpy(rec.payee, chan->payee, DEAI_KEY_BYTES);
  chan_key(chan, key);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  int32_t status = deai_encode(&out_table, &rec, &writer, NULL, 0);
  if (status != DEAI_OK) return status;
  return deai_purse_put(chan->pay->purse, deai_bytes_of(key, sizeof key),
                        deai_bytes_of(room, writer.len));
}

static void on_synced(void *user, int32_t status) {
  spend_chan *chan = user;
  chan->syncing = false;
  if (status == DEAI_OK) {
    if (chan->top_new > chan->top) chan->top = chan->top_new;
    if (chan_step(chan)) chan_rest(chan);
    return;
  }
  const char *why = "expected the ceiling of payments on the disk, found that it cannot be written";
  fail_waiting(chan, status, why);
  fail_starved(chan, status, why);
}

/* sync_begin raises the ceiling on the disk to at least c. */
static void sync_begin(spend_chan *chan, const spend_job *job, uint64_t c) {
  uint64_t step = pay_price(DEAI_PAY_STEP_IN, job->price_in, DEAI_PAY_STEP_OUT, job->price_out);
  uint64_t top = pay_add(c, step);
  if (top > chan->deposit) top = chan->deposit > c ? chan->deposit : c;
  chan->top_new = top;
  chan->syncing = true;
  int32_t status = chan_put(chan, top);
  if (status == DEAI_OK) {
    deai_purse_sync(chan->pay->purse, chan, on_synced);
    return;
  }
  on_synced(chan, status);
}

static void chan_forget(spend_chan *chan) {
  uint8_t key[1 + DEAI_ID_BYTES];
  chan_key(chan, key);
  if (deai_purse_put(chan->pay->purse, deai_bytes_of(key, sizeof key), (deai_bytes){NULL, 0}) ==
      DEAI_OK)
    deai_purse_sync(chan->pay->purse, NULL, NULL);
  chan->has_ch = false;
  chan->unsure = false;
  chan->sum = chan->top = chan->top_new = chan->high = 0;
}

/* ---- the exact voucher ---- */

static void on_told(void *user, int32_t status, const char *why, deai_bytes args) {
  (void)user, (void)args;
  if (status != DEAI_OK) deai_log(DEAI_LEVEL_DEBUG, "pay", "an exact voucher: %s", why);
}

static int32_t ask_args(const spend_chan *chan, const pay_voucher *voucher, uint8_t *room,
                        uint64_t *len_out) {
  deai_net_channel ask = {0};
  memcpy(ask.ch, chan->ch, DEAI_ID_BYTES);
  if (voucher != NULL) {
    if (voucher_open(voucher, &ask.v) != DEAI_OK) return DEAI_EINTERNAL;
    ask.has = DEAI_NET_CHANNEL_HAS_V;
  }
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, ARGS_BYTES});
  int32_t status = deai_encode(&deai_net_channel_table, &ask, &writer, NULL, 0);
  *len_out = writer.len;
  return status;
}

static bool chan_quiet(const spend_chan *chan) {
  for (const spend_job *at = chan->pay->spends; at != NULL; at = at->next) {
    if (at->chan == chan) return false;
  }
  return true;
}

static void on_quiet(void *user, int32_t status) {
  uint8_t room[ARGS_BYTES];
  uint64_t len = 0;
  pay_voucher exact;
  spend_chan *chan = user;
  if (status == DEAI_OK && chan->top_new > chan->top) chan->top = chan->top_new;
  bool covered = chan->sum > 0 && chan->sum <= chan->top && chan->sum <= chan->deposit;
  if (status != DEAI_OK || !chan_quiet(chan) || !chan->has_ch || !covered) return;
  deai_voucher voucher = {.c = chan->sum};
  memcpy(voucher.ch, chan->ch, DEAI_ID_BYTES);
  memcpy(voucher.job, chan->last_job, DEAI_ID_BYTES);
  if (voucher_sign(chan, &voucher, &exact) == DEAI_OK &&
      ask_args(chan, &exact, room, &len) == DEAI_OK)
    chan->pay->ops.ask(chan->pay->options.user, chan->payee, deai_bytes_of(room, len), NULL,
                       on_told);
}

/* chan_rest writes the sum when no job is left, and hands over the exact voucher. */
static void chan_rest(spend_chan *chan) {
  if (!chan->has_ch || !chan_quiet(chan) || chan->syncing) return;
  chan->top_new = chan->top > chan->sum ? chan->top : chan->sum;
  if (chan_put(chan, chan->top_new) == DEAI_OK) deai_purse_sync(chan->pay->purse, chan, on_quiet);
}

static void job_settle(spend_job *job, uint64_t price) {
  spend_chan *chan = job->chan;
  chan->sum = pay_add(chan->sum, price);
  memcpy(chan->last_job, job->id, DEAI_ID_BYTES);
  job_free(chan->pay, job);
  chan_rest(chan);
}

/* ---- receipts that were fetched ---- */

/* fetched_of returns the entry of a channel, made when there is none; NULL without memory. */
static spend_fetched *fetched_of(deai_pay *pay, const uint8_t ch[DEAI_ID_BYTES]) {
  spend_fetched *at = pay->fetched;
  while (at != NULL && memcmp(at->ch, ch, DEAI_ID_BYTES) != 0)
    at = at->next;
  if (at != NULL) return at;
  at = calloc(1, sizeof *at);
  if (at == NULL) return NULL;
  memcpy(at->ch, ch, DEAI_ID_BYTES);
  at->next = pay->fetched;
  pay->fetched = at;
  return at;
}

static int32_t fetched_put(deai_pay *pay, const spend_fetched *at, bool remove) {
  uint8_t key[1 + DEAI_ID_BYTES] = {'h'};
  uint8_t room[64];
  deai_pay_fetched rec = {.gone = at->gone_ms, .height = at->height};
  memcpy(key + 1, at->ch, DEAI_ID_BYTES);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  int32_t status = remove ? DEAI_OK : deai_encode(&fetched_table, &rec, &writer, NULL, 0);
  if (status != DEAI_OK) return status;
  return deai_purse_put(pay->purse, deai_bytes_of(key, sizeof key),
                        deai_bytes_of(room, writer.len));
}

/* fetched_look asks the ledger for the channel; true when its receipts are due to go. It is gone
   only for a ledger that is not older than one that had it: one that lags or was restored is no
   proof. anew: the time begins again. */
static bool fetched_look(deai_pay *pay, spend_fetched *at, uint64_t now_ms, bool anew) {
  deai_channel_rec rec = {0};
  spend_fetched before = *at;
  uint64_t height = pay->ops.height(pay->options.user);
  int32_t status = pay->ops.channel(pay->options.user, at->ch, &rec);
  bool gone = status == DEAI_ENOTFOUND && at->height > 0 && height >= at->height;
  if (status != DEAI_OK && status != DEAI_ENOTFOUND) return false; /* nothing was learned */
  if (status == DEAI_OK && at->height == 0) at->height = pay->ops.height(pay->options.user);
  if (!gone)
    at->gone_ms = 0;
  else if (anew || at->gone_ms == 0 || now_ms < at->gone_ms) /* also when the clock was set back */
    at->gone_ms = now_ms;
  bool changed = at->height != before.height || at->gone_ms != before.gone_ms;
  if (changed && fetched_put(pay, at, false) != DEAI_OK) {
    *at = before; /* seen again the next time */
    return false;
  }
  return gone && now_ms - at->gone_ms >= pay->options.keep_ms;
}

/* fetched_note tells that a receipt of channel ch was fetched: the time begins anew. */
static void fetched_note(deai_pay *pay, const uint8_t ch[DEAI_ID_BYTES]) {
  spend_fetched *at = fetched_of(pay, ch);
  if (at == NULL) return; /* it stays until a restart reads it */
  (void)fetched_look(pay, at, deai_wall_ms(deai_loop_platform(pay->options.loop)), true);
}

/* fetched_channel reads the channel of a receipt that was fetched; false when it names none. */
static bool fetched_channel(deai_bytes value, uint8_t ch[DEAI_ID_BYTES]) {
  deai_signed pack;
  deai_receipt receipt;
  if (deai_decode(&deai_signed_table, value, &pack, NULL, NULL, 0) != DEAI_OK ||
      deai_decode(&deai_receipt_table, pack.body, &receipt, NULL, NULL, 0) != DEAI_OK ||
      (receipt.has & DEAI_RECEIPT_HAS_CH) == 0)
    return false;
  memcpy(ch, receipt.ch, DEAI_ID_BYTES);
  return true;
}

typedef struct fetched_removal {
  deai_pay *pay;
  const uint8_t *ch;
  uint64_t left; /* how many more may go */
  uint64_t removed;
} fetched_removal;

static int32_t remove_one(void *user, deai_bytes key, deai_bytes value) {
  fetched_removal *all = user;
  uint8_t ch[DEAI_ID_BYTES];
  if (!fetched_channel(value, ch) || memcmp(ch, all->ch, DEAI_ID_BYTES) != 0) return DEAI_OK;
  if (all->left == 0) return DEAI_EAGAIN;
  int32_t status = deai_purse_put(all->pay->purse, key, (deai_bytes){NULL, 0});
  if (status != DEAI_OK) return status;
  all->left--;
  all->removed++;
  return DEAI_OK;
}

uint64_t spend_prune(deai_pay *pay, uint64_t now_ms, uint64_t most) {
  uint64_t removed = 0;
  spend_fetched **at = &pay->fetched;
  if (pay->options.keep_ms == 0) return 0;
  while (*at != NULL) {
    spend_fetched *one = *at;
    fetched_removal all = {.pay = pay, .ch = one->ch, .left = most - removed};
    int32_t status = DEAI_EAGAIN;
    if (fetched_look(pay, one, now_ms, false))
      status = deai_purse_each(pay->purse, deai_bytes_of("f", 1), &all, remove_one);
    removed += all.removed;
    if (status != DEAI_OK || fetched_put(pay, one, true) != DEAI_OK) {
      at = &one->next;
      continue;
    }
    *at = one->next;
    free(one);
  }
  return removed;
}

/* ---- asking the payee ---- */

/* owed_of returns the job of this channel whose receipt this is. */
static spend_job *owed_of(const spend_chan *chan, const deai_receipt *receipt) {
  spend_job *at = chan->pay->spends;
  while (at != NULL && (at->chan != chan || at->state != SPEND_OWED ||
                        memcmp(at->id, receipt->job, DEAI_ID_BYTES) != 0))
    at = at->next;
  return at;
}

static void owed_keep(deai_pay *pay, const deai_signed *pack, const spend_job *job) {
  uint8_t key[1 + DEAI_ID_BYTES] = {'f'};
  uint8_t *room = malloc(DEAI_PURSE_VALUE_MAX);
  if (room == NULL) return;
  memcpy(key + 1, job->id, DEAI_ID_BYTES);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, DEAI_PURSE_VALUE_MAX});
  if (deai_encode(&deai_signed_table, pack, &writer, NULL, 0) != DEAI_OK ||
      deai_purse_put(pay->purse, deai_bytes_of(key, sizeof key), deai_bytes_of(room, writer.len)) !=
          DEAI_OK)
    deai_log(DEAI_LEVEL_WARN, "pay", "a receipt that was owed was not kept");
  else
    fetched_note(pay, job->chan->ch);
  free(room);
}

/* owed_take settles a job by the receipt that was owed: at most what was risked, the prompt and 16
   units beyond those paid. */
static void owed_take(spend_chan *chan, const deai_signed *pack) {
  char name[9], node[9];
  deai_pay *pay = chan->pay;
  deai_receipt receipt;
  if (deai_decode(&deai_receipt_table, pack->body, &receipt, NULL, NULL, 0) != DEAI_OK) return;
  spend_job *job = owed_of(chan, &receipt);
  bool theirs = memcmp(receipt.worker, chan->payee, DEAI_KEY_BYTES) == 0 &&
                memcmp(pack->key, chan->payee, DEAI_KEY_BYTES) == 0 &&
                memcmp(receipt.payer, pay_own(pay), DEAI_KEY_BYTES) == 0 &&
                (receipt.has & DEAI_RECEIPT_HAS_CH) != 0 &&
                memcmp(receipt.ch, chan->ch, DEAI_ID_BYTES) == 0;
  if (job == NULL || !theirs ||
      deai_sign_verify(DEAI_SIGN_RECEIPT, pay->genesis, pack->body, pack->key, pack->sig) !=
          DEAI_OK)
    return;
  uint64_t units =
      receipt.u_out < job->n + DEAI_PAY_AHEAD ? receipt.u_out : job->n + DEAI_PAY_AHEAD;
  uint64_t most = job_cost(job, units);
  uint64_t price = receipt.price < most ? receipt.price : most;
  deai_log(DEAI_LEVEL_INFO, "pay", "job %s: %s gave the receipt it owed: %llu units, price %llu",
           pay_hex(job->id, name), pay_hex(chan->payee, node), (unsigned long long)receipt.u_out,
           (unsigned long long)receipt.price);
  owed_keep(pay, pack, job);
  chan->sum = pay_add(chan->sum, price);
  memcpy(chan->last_job, job->id, DEAI_ID_BYTES);
  job_free(pay, job);
}

/* owed_end ends the jobs of which the payee knows nothing: they cost nothing. */
static void owed_end(spend_chan *chan) {
  char name[9];
  spend_job *job;
  while ((job = job_in(chan, SPEND_OWED)) != NULL) {
    deai_log(DEAI_LEVEL_INFO, "pay", "job %s: no receipt, no price", pay_hex(job->id, name));
    job_free(chan->pay, job);
  }
}

/* sum_adopt goes on at what the payee says, within what this node signed. */
static void sum_adopt(spend_chan *chan, const deai_net_channel_end *end) {
  char err[DEAI_ERR_CAP];
  pay_voucher theirs = {.len = 0};
  bool shown = (end->has & DEAI_NET_CHANNEL_END_HAS_V) != 0 &&
               pay_voucher_read(chan->pay, &end->v, pay_own(chan->pay), &theirs, err, sizeof err) ==
                   DEAI_OK &&
               memcmp(theirs.voucher.ch, chan->ch, DEAI_ID_BYTES) == 0;
  if (shown && theirs.voucher.c > chan->high) chan->high = theirs.voucher.c;
  uint64_t sum = shown ? chan->high : chan->sum;
  if ((end->has & DEAI_NET_CHANNEL_END_HAS_S) != 0 && end->s < sum) sum = end->s;
  if ((end->has & DEAI_NET_CHANNEL_END_HAS_S) != 0 && !shown && end->s <= chan->high) sum = end->s;
  if (sum > chan->sum) chan->sum = sum;
}

static void on_asked(void *user, int32_t status, const char *why, deai_bytes args) {
  _Alignas(16) uint8_t room[ARENA_BYTES];
  deai_arena arena = {room, sizeof room, 0};
  char err[DEAI_ERR_CAP] = "";
  char node[9];
  spend_chan *chan = user;
  deai_net_channel_end end = {0};
  chan->asking = false;
  if (status == DEAI_OK)
    status = deai_decode(&deai_net_channel_end_table, args, &end, &arena, err, sizeof err);
  if (status == DEAI_ENOTFOUND) status = DEAI_OK; /* it never had a voucher */
  if (status == DEAI_EBUSY) {                     /* it still ends the job: asked again soon */
    pay_tick_ask(chan->pay);
    return;
  }
  if (status != DEAI_OK) {
    char text[DEAI_ERR_CAP];
    (void)snprintf(text, sizeof text,
                   "expected member %s to say what it is owed before it gets another voucher, "
                   "found: %s; try again later or another member",
                   pay_hex(chan->payee, node), err[0] != 0 ? err : why);
    fail_waiting(chan, DEAI_EPAYMENT, text);
    return;
  }
  const deai_signed *receipts = end.r.items;
  for (uint64_t i = 0; i < end.r.count; i++)
    owed_take(chan, &receipts[i]);
  owed_end(chan);
  sum_adopt(chan, &end);
  chan->unsure = false;
  if (!chan_step(chan)) return;
  chan_rest(chan);
}

static void ask_begin(spend_chan *chan) {
  uint8_t room[ARGS_BYTES];
  uint64_t len = 0;
  if (ask_args(chan, NULL, room, &len) != DEAI_OK) return;
  chan->asking = true;
  chan->pay->ops.ask(chan->pay->options.user, chan->payee, deai_bytes_of(room, len), chan,
                     on_asked);
}

/* ---- channels ---- */

static void money_fail(spend_chan *chan, int32_t status, const char *why) {
  fail_waiting(chan, status, why);
  fail_starved(chan, status, why);
}

/* deposit_choose returns what to put in: the node's setting, more when the call needs more, less
   when the account has less. 0 = it cannot be paid, and why is told. */
static uint64_t deposit_choose(spend_chan *chan, uint64_t need) {
  char text[DEAI_ERR_CAP];
  deai_pay *pay = chan->pay;
  uint64_t have = 0;
  uint64_t amount = pay->options.deposit > need ? pay->options.deposit : need;
  int32_t status = pay->ops.balance(pay->options.user, &have);
  if (status != DEAI_OK) {
    money_fail(chan, status == DEAI_ENOTFOUND ? DEAI_EBUSY : status,
               "expected this node's account on its ledger, found none yet: it still follows the "
               "first blocks; try again soon");
    return 0;
  }
  if (have >= amount) return amount;
  if (have >= need && have > 0) return have;
  (void)snprintf(text, sizeof text,
                 "expected at least %llu.%09llu coins to pay for the prompt and %u units, found "
                 "%llu.%09llu on this node's account; have coins sent to it: `deai wallet show` "
                 "names it",
                 (unsigned long long)(need / DEAI_COIN), (unsigned long long)(need % DEAI_COIN),
                 DEAI_PAY_AHEAD, (unsigned long long)(have / DEAI_COIN),
                 (unsigned long long)(have % DEAI_COIN));
  money_fail(chan, DEAI_EPAYMENT, text);
  return 0;
}

static void on_opened(void *user, int32_t status, const char *why,
                      const uint8_t id[DEAI_HASH_BYTES], uint64_t height) {
  char name[9], node[9];
  spend_chan *chan = user;
  chan->opening = false;
  if (status != DEAI_OK) {
    money_fail(chan, status, why);
    return;
  }
  deai_channel_id(id, 0, chan->ch);
  chan->has_ch = true;
  chan->born = true;
  chan->checked = true;
  chan->deposit = chan->moving;
  deai_log(DEAI_LEVEL_INFO, "pay", "channel %s to %s opened in block %llu, deposit %llu",
           pay_hex(chan->ch, name), pay_hex(chan->payee, node), (unsigned long long)height,
           (unsigned long long)chan->deposit);
  (void)chan_step(chan);
}

static void open_begin(spend_chan *chan, uint64_t need) {
  uint8_t room[OPS_BYTES];
  uint64_t len = 0;
  deai_pay *pay = chan->pay;
  chan->moving = deposit_choose(chan, need);
  if (chan->moving == 0) return;
  deai_op_open op = {.deposit = chan->moving, .close_after = pay->options.close_after_ms};
  memcpy(op.payee, chan->payee, DEAI_KEY_BYTES);
  int32_t status =
      pay_op_list("open", &deai_op_open_table, &op, (deai_buf){room, sizeof room}, &len);
  if (status != DEAI_OK) {
    money_fail(chan, status, "a channel cannot be opened");
    return;
  }
  chan->opening = true;
  pay->ops.propose(pay->options.user, deai_bytes_of(room, len), chan, on_opened);
}

static void on_topped(void *user, int32_t status, const char *why,
                      const uint8_t id[DEAI_HASH_BYTES], uint64_t height) {
  (void)id, (void)height;
  spend_chan *chan = user;
  chan->topping = false;
  if (status != DEAI_OK) {
    money_fail(chan, status, why);
    return;
  }
  chan->deposit = pay_add(chan->deposit, chan->moving);
  (void)chan_step(chan);
}

/* topup_begin raises the deposit so that it covers c. */
static void topup_begin(spend_chan *chan, uint64_t c) {
  uint8_t room[OPS_BYTES];
  uint64_t len = 0;
  deai_pay *pay = chan->pay;
  chan->moving = deposit_choose(chan, c - chan->deposit);
  if (chan->moving == 0) return;
  deai_op_topup op = {.amount = chan->moving};
  memcpy(op.ch, chan->ch, DEAI_ID_BYTES);
  int32_t status =
      pay_op_list("topup", &deai_op_topup_table, &op, (deai_buf){room, sizeof room}, &len);
  if (status != DEAI_OK) {
    money_fail(chan, status, "a channel cannot be topped up");
    return;
  }
  chan->topping = true;
  pay->ops.propose(pay->options.user, deai_bytes_of(room, len), chan, on_topped);
}

/* chan_check asks the ledger for a channel that is not of this run. */
static void chan_check(spend_chan *chan) {
  deai_channel_rec rec = {0};
  deai_pay *pay = chan->pay;
  chan->checked = true;
  int32_t status = pay->ops.channel(pay->options.user, chan->ch, &rec);
  if (status != DEAI_OK && chan->born) return; /* this node has not seen its own block yet */
  bool good = status == DEAI_OK && rec.closing == 0 &&
              memcmp(rec.key, pay_own(pay), DEAI_KEY_BYTES) == 0 &&
              memcmp(rec.payee, chan->payee, DEAI_KEY_BYTES) == 0;
  if (!good) {
    chan_forget(chan);
    return;
  }
  if (!chan->born || rec.deposit > chan->deposit) chan->deposit = rec.deposit;
  if (rec.claimed > chan->high) chan->high = rec.claimed;
}

/* ---- one step ---- */

/* renew sends further vouchers to the jobs that have used half of theirs. */
static void renew(spend_chan *chan) {
  deai_pay *pay = chan->pay;
  for (spend_job *at = pay->spends; at != NULL; at = at->next) {
    if (at->chan != chan || at->state != SPEND_RUNS) continue;
    if (at->n > at->got + DEAI_PAY_AHEAD / 2) continue;
    uint64_t n = at->got + DEAI_PAY_AHEAD;
    uint64_t c = pay_add(committed(chan, at), job_cost(at, n));
    if (c > chan->deposit) {
      if (!chan->topping) topup_begin(chan, c);
      return;
    }
    if (c > chan->top) {
      if (!chan->syncing) sync_begin(chan, at, c);
      return;
    }
    deai_signed pack;
    if (job_voucher(at, n) != DEAI_OK || voucher_open(&at->voucher, &pack) != DEAI_OK) return;
    at->n = n;
    pay->ops.send(pay->options.user, chan->payee, at->call, &pack);
  }
}

static void job_run(spend_job *job) {
  deai_pay *pay = job->chan->pay;
  deai_call *call = job->call;
  int32_t status = job_voucher(job, DEAI_PAY_AHEAD);
  if (status != DEAI_OK) {
    job_fail(job, status, "a voucher cannot be signed");
    return;
  }
  job->n = DEAI_PAY_AHEAD;
  job->state = SPEND_RUNS;
  if (job->told) pay->ops.ready(pay->options.user, call, DEAI_OK, "");
}

/* job_step does what the job waits for; false: something is on its way, or it failed. */
static bool job_step(spend_job *job) {
  spend_chan *chan = job->chan;
  deai_pay *pay = chan->pay;
  if (chan->has_ch && !chan->checked && job_in(chan, SPEND_RUNS) == NULL) chan_check(chan);
  if (!chan->has_ch && pay->ops.find(pay->options.user, chan->payee, chan->ch) == DEAI_OK) {
    chan->has_ch = true; /* the records were lost: what the payee shows counts */
    chan->unsure = true;
    chan->born = false;
    chan_check(chan);
  }
  uint64_t need = job_cost(job, DEAI_PAY_AHEAD);
  if (!chan->has_ch) {
    open_begin(chan, need);
    return false;
  }
  if (chan->unsure && job_in(chan, SPEND_RUNS) != NULL) {
    job_fail(job, DEAI_EPAYMENT,
             "expected the receipt of an earlier job first, found it owed while another one runs; "
             "try again later");
    return false;
  }
  if (chan->unsure) {
    ask_begin(chan);
    return false;
  }
  uint64_t c = pay_add(committed(chan, NULL), need);
  if (c > chan->deposit) {
    topup_begin(chan, c);
    return false;
  }
  if (c > chan->top) {
    sync_begin(chan, job, c);
    return false;
  }
  job_run(job);
  return true;
}

/* chan_step goes on with all that waits; true: nothing waits any more. */
static bool chan_step(spend_chan *chan) {
  spend_job *job;
  if (chan->has_ch && !chan->unsure) renew(chan);
  while ((job = job_in(chan, SPEND_WAITS)) != NULL) {
    if (chan->opening || chan->topping || chan->syncing || chan->asking) return false;
    if (!job_step(job) && job_in(chan, SPEND_WAITS) == job) return false;
  }
  return true;
}

/* ---- the router's side ---- */

static spend_chan *chan_of(deai_pay *pay, const uint8_t payee[DEAI_KEY_BYTES]) {
  uint32_t count = 0;
  for (spend_chan *at = pay->outs; at != NULL; at = at->next, count++) {
    if (memcmp(at->payee, payee, DEAI_KEY_BYTES) == 0) return at;
  }
  spend_chan *made = count < DEAI_PAY_CHANNELS_MAX ? calloc(1, sizeof *made) : NULL;
  if (made == NULL) return NULL;
  made->pay = pay;
  memcpy(made->payee, payee, DEAI_KEY_BYTES);
  made->next = pay->outs;
  pay->outs = made;
  return made;
}

static uint32_t jobs_of(const spend_chan *chan) {
  uint32_t count = 0;
  for (const spend_job *at = chan->pay->spends; at != NULL; at = at->next)
    count += at->chan == chan ? 1 : 0;
  return count;
}

int32_t spend_pay(void *user, deai_call *call, const uint8_t worker[DEAI_KEY_BYTES],
                  uint64_t price_in, uint64_t price_out, char *err, uint32_t err_cap) {
  deai_pay *pay = user;
  const deai_call_spec *spec = deai_call_about(call);
  spend_chan *chan = chan_of(pay, worker);
  if (chan == NULL || jobs_of(chan) >= DEAI_PAY_JOBS_MAX)
    return deai_err(err, err_cap, DEAI_EBUSY, "expected at most %u paid jobs at a member at a time",
                    DEAI_PAY_JOBS_MAX);
  spend_job *job = calloc(1, sizeof *job);
  if (job == NULL) return DEAI_ENOMEM;
  *job = (spend_job){.chan = chan,
                     .call = call,
                     .price_in = price_in,
                     .price_out = price_out,
                     .u_in = spec->units};
  memcpy(job->id, spec->job.ptr, DEAI_ID_BYTES);
  spend_job **last = &pay->spends;
  while (*last != NULL)
    last = &(*last)->next;
  *last = job;
  (void)chan_step(chan);
  if (job->state == SPEND_RUNS) return DEAI_OK;
  if (job->state == SPEND_WAITS) {
    job->told = true;
    return DEAI_EAGAIN;
  }
  int32_t status = job->status;
  (void)snprintf(err, err_cap, "%s", job->why);
  job_free(pay, job);
  return status;
}

void spend_got(void *user, deai_call *call, uint64_t units) {
  spend_job *job = job_of(user, call);
  if (job == NULL || job->state != SPEND_RUNS) return;
  job->got = units;
  if (job->n <= job->got + DEAI_PAY_AHEAD / 2) renew(job->chan);
}

int32_t spend_check(deai_pay *pay, deai_call *call, const deai_receipt *expected,
                    const deai_receipt *receipt) {
  spend_job *job = job_of(pay, call);
  bool cut = deai_call_cancelled(call);
  bool units = receipt->u_out == expected->u_out || (cut && receipt->u_out >= expected->u_out);
  if (job == NULL || job->state != SPEND_RUNS) /* a free call */
    return units && receipt->price == 0 ? DEAI_OK : DEAI_EVERIFY;
  bool within = receipt->u_out == expected->u_out || receipt->u_out <= job->n + DEAI_PAY_AHEAD;
  uint64_t price = job_cost(job, receipt->u_out);
  if (expected->price == 0 && receipt->u_out == 0) price = 0; /* it failed before it began */
  bool same_channel = (receipt->has & DEAI_RECEIPT_HAS_CH) != 0 &&
                      memcmp(receipt->ch, job->chan->ch, DEAI_ID_BYTES) == 0;
  if (!units || !within || !same_channel || receipt->price != price) return DEAI_EVERIFY;
  job_settle(job, price);
  return DEAI_OK;
}

bool deai_pay_release(deai_pay *pay, const uint8_t ch[DEAI_ID_BYTES]) {
  spend_chan *at = pay->outs;
  while (at != NULL && (!at->has_ch || memcmp(at->ch, ch, DEAI_ID_BYTES) != 0))
    at = at->next;
  if (at == NULL) return true;
  if (!chan_quiet(at) || at->opening || at->topping) return false;
  at->checked = false;
  at->unsure = true;
  return true;
}

static void job_owed(spend_job *job) {
  char name[9], node[9];
  job->call = NULL;
  job->state = SPEND_OWED;
  job->chan->unsure = true;
  deai_log(DEAI_LEVEL_WARN, "pay", "job %s: %s owes its receipt; it gets no voucher until then",
           pay_hex(job->id, name), pay_hex(job->chan->payee, node));
  pay_tick_ask(job->chan->pay);
}

void spend_left(void *user, deai_call *call, int32_t status) {
  spend_job *job = job_of(user, call);
  if (job == NULL) return;
  spend_chan *chan = job->chan;
  bool owes = job->got > 0 || status == DEAI_EPEER_LOST || status == DEAI_EVERIFY ||
              status == DEAI_ETIMEDOUT || (status == DEAI_ECANCELLED && deai_call_cancelled(call));
  if (job->state == SPEND_RUNS && owes) {
    job_owed(job);
    return;
  }
  bool ran = job->state == SPEND_RUNS;
  job_free(chan->pay, job);
  if (ran && status == DEAI_EPAYMENT) { /* it counts otherwise: ask before the next one */
    chan->unsure = true;
    chan->checked = false;
  }
  if (ran) chan_rest(chan);
}

void spend_over(deai_pay *pay, deai_call *call) {
  spend_job *job = job_of(pay, call);
  if (job == NULL) return;
  if (job->state == SPEND_RUNS)
    job_owed(job);
  else
    job_free(pay, job);
}

bool spend_tick(deai_pay *pay) {
  bool again = false;
  for (spend_chan *at = pay->outs; at != NULL; at = at->next) {
    bool waits = at->unsure && at->has_ch && job_in(at, SPEND_WAITS) != NULL;
    if (job_in(at, SPEND_OWED) == NULL && !waits) continue;
    again = true;
    if (!at->asking && job_in(at, SPEND_RUNS) == NULL) ask_begin(at);
  }
  return again;
}

/* ---- life ---- */

static int32_t load_one(void *user, deai_bytes key, deai_bytes value) {
  deai_pay *pay = user;
  deai_pay_out rec;
  if (key.len != 1 + DEAI_ID_BYTES ||
      deai_decode(&out_table, value, &rec, NULL, NULL, 0) != DEAI_OK)
    return DEAI_EVERIFY;
  spend_chan *chan = chan_of(pay, rec.payee);
  if (chan == NULL) return DEAI_EFULL;
  memcpy(chan->ch, key.ptr + 1, DEAI_ID_BYTES);
  chan->sum = rec.sum;
  chan->top = rec.top;
  chan->top_new = rec.top;
  chan->high = rec.top;
  chan->has_ch = true;
  chan->unsure = true;
  return DEAI_OK;
}

static int32_t load_fetched(void *user, deai_bytes key, deai_bytes value) {
  deai_pay *pay = user;
  deai_pay_fetched rec;
  if (key.len != 1 + DEAI_ID_BYTES ||
      deai_decode(&fetched_table, value, &rec, NULL, NULL, 0) != DEAI_OK)
    return DEAI_EVERIFY;
  spend_fetched *at = fetched_of(pay, key.ptr + 1);
  if (at == NULL) return DEAI_ENOMEM;
  at->height = rec.height;
  at->gone_ms = rec.gone;
  return DEAI_OK;
}

/* load_receipt finds the channels of receipts that were fetched before their channel was seen. */
static int32_t load_receipt(void *user, deai_bytes key, deai_bytes value) {
  uint8_t ch[DEAI_ID_BYTES];
  (void)key;
  if (!fetched_channel(value, ch)) return DEAI_EVERIFY;
  return fetched_of(user, ch) != NULL ? DEAI_OK : DEAI_ENOMEM;
}

int32_t spend_load(deai_pay *pay) {
  int32_t status = deai_purse_each(pay->purse, deai_bytes_of("o", 1), pay, load_one);
  if (status == DEAI_OK)
    status = deai_purse_each(pay->purse, deai_bytes_of("h", 1), pay, load_fetched);
  if (status == DEAI_OK)
    status = deai_purse_each(pay->purse, deai_bytes_of("f", 1), pay, load_receipt);
  return status;
}

void spend_free(deai_pay *pay) {
  while (pay->spends != NULL)
    job_free(pay, pay->spends);
  while (pay->outs != NULL) {
    spend_chan *gone = pay->outs;
    pay->outs = gone->next;
    free(gone);
  }
  while (pay->fetched != NULL) {
    spend_fetched *gone = pay->fetched;
    pay->fetched = gone->next;
    free(gone);
  }
}
