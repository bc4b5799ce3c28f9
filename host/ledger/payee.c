#include "pay_private.h"

#include "host/base/log.h"

#include <stdlib.h>

#include "host/base/banned.h"

#define OPS_BYTES     2048u
#define ARENA_BYTES   32768u
#define RECEIPT_BYTES 65536u
#define RECENT_BYTES  49152u /* of receipts in one net-channel answer */

/* What is durable of a channel that pays this node. */
typedef struct pay_in_job {
  uint64_t g; /* units given when it was last written */
  uint8_t j[DEAI_ID_BYTES];
  deai_str m;
  uint64_t n;
  deai_str s;
  uint64_t u;
  uint8_t in[DEAI_HASH_BYTES];
  uint64_t pi;
  uint64_t po;
} pay_in_job;

typedef struct deai_pay_in {
  uint64_t sum;
  deai_bytes high;
  deai_list jobs; /* pay_in_job: the open ones */
  deai_bytes exact;
  uint8_t payer[DEAI_KEY_BYTES];
  uint64_t shown;
  uint64_t rooted;
} deai_pay_in;

static const deai_field job_rows[] = {
    DEAI_F_UINT(pay_in_job, g, "g", 0, UINT64_MAX),
    DEAI_F_FIXED(pay_in_job, j, "j", DEAI_ID_BYTES),
    DEAI_F_TEXT(pay_in_job, m, "m", 0, DEAI_NAME_MAX),
    DEAI_F_UINT(pay_in_job, n, "n", 0, UINT64_MAX),
    DEAI_F_TEXT(pay_in_job, s, "s", 0, DEAI_NAME_MAX),
    DEAI_F_UINT(pay_in_job, u, "u", 0, UINT64_MAX),
    DEAI_F_FIXED(pay_in_job, in, "in", DEAI_HASH_BYTES),
    DEAI_F_UINT(pay_in_job, pi, "pi", 0, UINT64_MAX),
    DEAI_F_UINT(pay_in_job, po, "po", 0, UINT64_MAX),
};
static const deai_table job_table = DEAI_TABLE_SIGNED("pay-in-job", pay_in_job, job_rows);
static const deai_field in_rows[] = {
    DEAI_F_UINT(deai_pay_in, sum, "sum", 0, UINT64_MAX),
    DEAI_F_BYTES(deai_pay_in, high, "high", 0, PAY_VOUCHER_BYTES),
    DEAI_F_LIST_OF(deai_pay_in, jobs, "jobs", 0, DEAI_PAY_JOBS_MAX, &job_table),
    DEAI_F_BYTES(deai_pay_in, exact, "exact", 0, PAY_VOUCHER_BYTES),
    DEAI_F_FIXED(deai_pay_in, payer, "payer", DEAI_KEY_BYTES),
    DEAI_F_UINT(deai_pay_in, shown, "shown", 0, UINT64_MAX),
    DEAI_F_UINT(deai_pay_in, rooted, "rooted", 0, UINT64_MAX),
};
static const deai_table in_table = DEAI_TABLE_SIGNED("pay-in", deai_pay_in, in_rows);

/* ---- lists ---- */

earn_job *earn_job_of(const deai_pay *pay, const deai_call *call) {
  earn_job *at = pay->earns;
  while (at != NULL && at->call != call)
    at = at->next;
  return at;
}

static void job_free(deai_pay *pay, earn_job *gone) {
  earn_job **at = &pay->earns;
  while (*at != gone)
    at = &(*at)->next;
  *at = gone->next;
  free(gone);
}

static uint32_t jobs_of(const deai_pay *pay, const earn_chan *chan) {
  uint32_t count = 0;
  for (const earn_job *at = pay->earns; at != NULL; at = at->next)
    count += at->chan == chan ? 1 : 0;
  return count;
}

static earn_chan *chan_find(const deai_pay *pay, const uint8_t ch[DEAI_ID_BYTES]) {
  earn_chan *at = pay->ins;
  while (at != NULL && memcmp(at->ch, ch, DEAI_ID_BYTES) != 0)
    at = at->next;
  return at;
}

static void recent_clear(earn_chan *chan) {
  while (chan->recent != NULL) {
    kept_receipt *gone = chan->recent;
    chan->recent = gone->next;
    free(gone);
  }
}

static void receipt_key(const earn_chan *chan, uint64_t number,
                        uint8_t key[1 + DEAI_ID_BYTES + 8]) {
  key[0] = 'r';
  memcpy(key + 1, chan->ch, DEAI_ID_BYTES);
  for (uint32_t i = 0; i < 8; i++)
    key[1 + DEAI_ID_BYTES + i] = (uint8_t)(number >> (56 - 8 * i));
}

/* chan_prune removes at most `most` receipts and, behind the last one, the channel's own records;
   true when all is gone. */
static bool chan_prune(deai_pay *pay, earn_chan *chan, uint64_t most) {
  uint8_t key[1 + DEAI_ID_BYTES + 8];
  deai_bytes none = {NULL, 0};
  for (; chan->pruned < chan->count && most > 0; most--) {
    receipt_key(chan, chan->pruned, key);
    if (deai_purse_put(pay->purse, deai_bytes_of(key, sizeof key), none) != DEAI_OK) return false;
    chan->pruned++;
  }
  if (chan->pruned < chan->count) return false;
  memcpy(key + 1, chan->ch, DEAI_ID_BYTES);
  static const uint8_t kinds[] = {'g', 'i'};
  for (size_t i = 0; i < sizeof kinds; i++) {
    key[0] = kinds[i];
    if (deai_purse_put(pay->purse, deai_bytes_of(key, 1 + DEAI_ID_BYTES), none) != DEAI_OK)
      return false;
  }
  return true;
}

/* is_gone returns whether nothing of it can come any more: no job, and not on the ledger. */
static bool is_gone(const deai_pay *pay, const earn_chan *chan) {
  deai_channel_rec rec = {0};
  return !chan->claiming && jobs_of(pay, chan) == 0 &&
         pay->ops.channel(pay->options.user, chan->ch, &rec) == DEAI_ENOTFOUND;
}

/* chan_out frees the channel at *at. */
static void chan_out(earn_chan **at) {
  earn_chan *gone = *at;
  *at = gone->next;
  recent_clear(gone);
  free(gone);
}

/* chan_drop makes room: a channel that the ledger no longer has is forgotten with its receipts. */
static bool chan_drop(deai_pay *pay) {
  for (earn_chan **at = &pay->ins; *at != NULL; at = &(*at)->next) {
    if (!is_gone(pay, *at)) continue;
    if (!chan_prune(pay, *at, UINT64_MAX)) return false;
    deai_purse_sync(pay->purse, NULL, NULL);
    chan_out(at);
    return true;
  }
  return false;
}

/* gone_note keeps since when the channel is gone, 0 = it is back: an older ledger was restored and
   has caught up. */
static void gone_note(deai_pay *pay, earn_chan *chan, uint64_t since_ms) {
  uint8_t key[1 + DEAI_ID_BYTES] = {'g'};
  uint8_t room[16];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  if (chan->gone_ms == since_ms) return;
  if (since_ms > 0) deai_cbor_put_uint(&writer, since_ms);
  memcpy(key + 1, chan->ch, DEAI_ID_BYTES);
  chan->gone_ms = since_ms;
  if (deai_purse_put(pay->purse, deai_bytes_of(key, sizeof key), deai_bytes_of(room, writer.len)) !=
      DEAI_OK)
    chan->gone_ms = 0; /* seen again the next time */
}

uint64_t earn_prune(deai_pay *pay, uint64_t now_ms) {
  uint64_t removed = 0;
  earn_chan **at = &pay->ins;
  if (pay->options.keep_ms == 0) return 0;
  while (*at != NULL && removed < DEAI_PAY_PRUNE_MAX) {
    earn_chan *chan = *at;
    bool gone = is_gone(pay, chan);
    uint64_t before = chan->pruned;
    if (!gone || chan->gone_ms == 0 || now_ms < chan->gone_ms)
      gone_note(pay, chan, gone ? now_ms : 0); /* also when the clock was set back */
    bool due = gone && now_ms - chan->gone_ms >= pay->options.keep_ms;
    bool out = due && chan_prune(pay, chan, DEAI_PAY_PRUNE_MAX - removed);
    removed += chan->pruned - before;
    if (out)
      chan_out(at);
    else
      at = &chan->next;
  }
  return removed;
}

static earn_chan *chan_make(deai_pay *pay, const uint8_t ch[DEAI_ID_BYTES],
                            const uint8_t payer[DEAI_KEY_BYTES]) {
  uint32_t count = 0;
  for (const earn_chan *at = pay->ins; at != NULL; at = at->next)
    count++;
  if (count >= DEAI_PAY_CHANNELS_MAX && !chan_drop(pay)) return NULL;
  earn_chan *made = calloc(1, sizeof *made);
  if (made == NULL) return NULL;
  made->pay = pay;
  memcpy(made->ch, ch, DEAI_ID_BYTES);
  memcpy(made->payer, payer, DEAI_KEY_BYTES);
  deai_merkle_start(&made->tree);
  deai_merkle_start(&made->fresh);
  made->next = pay->ins;
  pay->ins = made;
  return made;
}

/* ---- what is durable ---- */

static uint32_t jobs_write(const deai_pay *pay, const earn_chan *chan, pay_in_job *out) {
  uint32_t count = 0;
  for (const earn_job *at = pay->earns; at != NULL && count < DEAI_PAY_JOBS_MAX; at = at->next) {
    if (at->chan != chan) continue;
    out[count] = (pay_in_job){.g = at->given,
                              .m = deai_str_of(at->m),
                              .n = at->n_next,
                              .s = deai_str_of(at->s),
                              .u = at->u_in,
                              .pi = at->price_in,
                              .po = at->price_out};
    memcpy(out[count].j, at->id, DEAI_ID_BYTES);
    memcpy(out[count].in, at->in, DEAI_HASH_BYTES);
    count++;
  }
  return count;
}

static int32_t chan_put(deai_pay *pay, const earn_chan *chan) {
  uint8_t key[1 + DEAI_ID_BYTES] = {'i'};
  pay_in_job jobs[DEAI_PAY_JOBS_MAX];
  uint8_t *room = malloc(RECEIPT_BYTES);
  if (room == NULL) return DEAI_ENOMEM;
  deai_pay_in rec = {.sum = chan->sum,
                     .high = deai_bytes_of(chan->high.bytes, chan->high.len),
                     .exact = deai_bytes_of(chan->exact.bytes, chan->exact.len),
                     .shown = chan->shown,
                     .rooted = chan->rooted};
  rec.jobs = (deai_list){jobs, jobs_write(pay, chan, jobs)};
  memcpy(rec.payer, chan->payer, DEAI_KEY_BYTES);
  memcpy(key + 1, chan->ch, DEAI_ID_BYTES);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, RECEIPT_BYTES});
  int32_t status = deai_encode(&in_table, &rec, &writer, NULL, 0);
  if (status == DEAI_OK)
    status =
        deai_purse_put(pay->purse, deai_bytes_of(key, sizeof key), deai_bytes_of(room, writer.len));
  free(room);
  return status;
}

/* chan_note writes the channel soon; nobody waits for it. */
static void chan_note(deai_pay *pay, const earn_chan *chan) {
  int32_t status = chan_put(pay, chan);
  if (status == DEAI_OK)
    deai_purse_sync(pay->purse, NULL, NULL);
  else
    deai_log(DEAI_LEVEL_ERROR, "pay", "a channel was not written: %s", deai_status_text(status));
}

static void recent_add(earn_chan *chan, deai_bytes receipt) {
  uint32_t count = 0;
  kept_receipt *made = malloc(sizeof *made + (size_t)receipt.len);
  if (made == NULL) return; /* it is on the disk */
  made->len = receipt.len;
  memcpy(made->bytes, receipt.ptr, (size_t)receipt.len);
  made->next = chan->recent;
  chan->recent = made;
  for (kept_receipt **at = &chan->recent; *at != NULL; at = &(*at)->next) {
    if (++count <= DEAI_NET_RECEIPTS_MAX) continue;
    free(*at);
    *at = NULL;
    return;
  }
}

static void receipt_keep(deai_pay *pay, earn_chan *chan, uint64_t price, deai_bytes receipt) {
  uint8_t key[1 + DEAI_ID_BYTES + 8];
  receipt_key(chan, chan->count, key);
  if (deai_purse_put(pay->purse, deai_bytes_of(key, sizeof key), receipt) != DEAI_OK)
    deai_log(DEAI_LEVEL_ERROR, "pay", "a receipt of %llu bytes was not written",
             (unsigned long long)receipt.len);
  chan->count++;
  chan->sum = pay_add(chan->sum, price);
  if (chan->exact.len > 0 && chan->exact.voucher.c < chan->sum) chan->exact.len = 0;
  deai_merkle_add(&chan->tree, receipt);
  deai_merkle_add(&chan->fresh, receipt);
  recent_add(chan, receipt);
}

void earn_receipt(deai_pay *pay, earn_job *job, uint64_t price, deai_bytes receipt) {
  earn_chan *chan = job->chan;
  receipt_keep(pay, chan, price, receipt);
  job_free(pay, job);
  chan_note(pay, chan);
}

/* cut_receipt makes the receipt of a job that never came to an END: what was given counts. */
static void cut_receipt(deai_pay *pay, const earn_job *job) {
  static const uint8_t empty_map = 0xa0;
  uint8_t room[2048];
  deai_receipt receipt = {.has = DEAI_RECEIPT_HAS_CH,
                          .m = deai_str_of(job->m),
                          .s = deai_str_of(job->s),
                          .out = deai_bytes_of(&empty_map, 1),
                          .u_in = job->u_in,
                          .u_out = job->given};
  if (job->given > 0)
    receipt.price = pay_price(job->u_in, job->price_in, job->given, job->price_out);
  memcpy(receipt.ch, job->chan->ch, DEAI_ID_BYTES);
  memcpy(receipt.in, job->in, DEAI_HASH_BYTES);
  memcpy(receipt.job, job->id, DEAI_ID_BYTES);
  memcpy(receipt.payer, job->payer, DEAI_KEY_BYTES);
  memcpy(receipt.worker, pay_own(pay), DEAI_KEY_BYTES);
  int64_t len = pay_receipt_sign(pay, &receipt, (deai_buf){room, sizeof room});
  if (len > 0) receipt_keep(pay, job->chan, receipt.price, deai_bytes_of(room, (uint64_t)len));
}

/* ---- vouchers ---- */

/* others returns what the other open jobs of the channel may still cost. */
static uint64_t others(const deai_pay *pay, const earn_chan *chan, const earn_job *but) {
  uint64_t total = 0;
  for (const earn_job *at = pay->earns; at != NULL; at = at->next) {
    if (at->chan != chan || at == but) continue;
    uint64_t units = at->n_next > at->given ? at->n_next : at->given;
    total = pay_add(total, pay_price(at->u_in, at->price_in, units, at->price_out));
  }
  return total;
}

static int32_t judge_channel(const deai_pay *pay, const earn_job *job, const pay_voucher *given,
                             char *err, uint32_t err_cap) {
  deai_channel_rec rec = {0};
  const deai_voucher *voucher = &given->voucher;
  int32_t status = pay->ops.channel(pay->options.user, voucher->ch, &rec);
  if (status != DEAI_OK)
    return deai_err(err, err_cap, DEAI_EAGAIN,
                    "expected a channel of the ledger, found none of that id; open one");
  if (memcmp(rec.payee, pay_own(pay), DEAI_KEY_BYTES) != 0)
    return deai_err(err, err_cap, DEAI_EPAYMENT,
                    "expected a channel that pays this node, found one for another");
  if (memcmp(rec.key, job->payer, DEAI_KEY_BYTES) != 0)
    return deai_err(err, err_cap, DEAI_EPAYMENT,
                    "expected a channel that the calling node opened, found another's");
  if (rec.closing != 0)
    return deai_err(err, err_cap, DEAI_EPAYMENT,
                    "expected an open channel, found one that closes; open another");
  if (voucher->c > rec.deposit)
    return deai_err(err, err_cap, DEAI_EAGAIN,
                    "expected a deposit of at least %llu, found %llu; top the channel up",
                    (unsigned long long)voucher->c, (unsigned long long)rec.deposit);
  return DEAI_OK;
}

/* judge says whether a voucher pays for the job: DEAI_OK, DEAI_EAGAIN = the ledger may bring it, or
   DEAI_EPAYMENT. */
static int32_t judge(deai_pay *pay, earn_job *job, const pay_voucher *given, earn_chan **chan_out,
                     char *err, uint32_t err_cap) {
  const deai_voucher *voucher = &given->voucher;
  earn_chan *chan = chan_find(pay, voucher->ch);
  if (job->chan != NULL && job->chan != chan)
    return deai_err(err, err_cap, DEAI_EPAYMENT,
                    "expected a voucher of the channel this job began with, found another's");
  int32_t status = judge_channel(pay, job, given, err, err_cap);
  if (status != DEAI_OK) return status;
  uint64_t sum = chan != NULL ? chan->sum : 0;
  uint64_t high = chan != NULL && chan->high.len > 0 ? chan->high.voucher.c : 0;
  uint64_t have = voucher->c > high ? voucher->c : high;
  uint64_t cost = pay_price(job->u_in, job->price_in, voucher->n, job->price_out);
  uint64_t need = pay_add(pay_add(sum, chan != NULL ? others(pay, chan, job) : 0), cost);
  if (need > have)
    return deai_err(err, err_cap, DEAI_EPAYMENT,
                    "expected a voucher of at least %llu (%llu for this job at %llu and %llu a "
                    "unit), found %llu",
                    (unsigned long long)need, (unsigned long long)cost,
                    (unsigned long long)job->price_in, (unsigned long long)job->price_out,
                    (unsigned long long)have);
  if (chan == NULL) chan = chan_make(pay, voucher->ch, job->payer);
  if (chan == NULL || (job->chan == NULL && jobs_of(pay, chan) >= DEAI_PAY_JOBS_MAX))
    return deai_err(err, err_cap, DEAI_EBUSY, "expected fewer channels and open jobs, found %u",
                    DEAI_PAY_JOBS_MAX);
  *chan_out = chan;
  return DEAI_OK;
}

/* A voucher on its way to the disk. */
typedef struct earn_sync {
  deai_pay *pay;
  deai_call *call;
  uint8_t id[DEAI_ID_BYTES];
  uint64_t n;
} earn_sync;

/* job_refuse ends a job that waited to be admitted. */
static void job_refuse(deai_pay *pay, earn_job *job, int32_t status, const char *why) {
  char text[DEAI_ERR_CAP];
  deai_call *call = job->call;
  (void)snprintf(text, sizeof text, "%s", why);
  job_free(pay, job);
  pay->ops.ready(pay->options.user, call, status, text);
}

static void on_synced(void *user, int32_t status) {
  earn_sync *done = user;
  deai_pay *pay = done->pay;
  earn_job *job = earn_job_of(pay, done->call);
  bool same = job != NULL && memcmp(job->id, done->id, DEAI_ID_BYTES) == 0;
  if (same && status != DEAI_OK && job->state == EARN_SYNC) {
    job_refuse(pay, job, status, "expected to write the voucher, found that the disk refuses");
  } else if (same && status == DEAI_OK) {
    bool begins = job->state == EARN_SYNC;
    if (done->n > job->n) job->n = done->n;
    if (begins) job->state = EARN_RUNS;
    if (begins)
      pay->ops.ready(pay->options.user, job->call, DEAI_OK, "");
    else
      pay->ops.reopen(pay->options.user, job->call);
  }
  free(done);
}

/* take keeps a voucher that was judged good; its units count once it is on the disk. */
static int32_t take(deai_pay *pay, earn_job *job, earn_chan *chan, const pay_voucher *voucher) {
  earn_sync *sync = calloc(1, sizeof *sync);
  if (sync == NULL) return DEAI_ENOMEM;
  job->chan = chan;
  job->waits.len = 0;
  if (voucher->voucher.n > job->n_next) job->n_next = voucher->voucher.n;
  if (chan->high.len == 0 || voucher->voucher.c > chan->high.voucher.c) chan->high = *voucher;
  *sync = (earn_sync){.pay = pay, .call = job->call, .n = job->n_next};
  memcpy(sync->id, job->id, DEAI_ID_BYTES);
  int32_t status = chan_put(pay, chan);
  if (status == DEAI_OK)
    deai_purse_sync(pay->purse, sync, on_synced);
  else
    free(sync);
  return status;
}

/* job_judge judges the voucher that waits; status as judge. */
static int32_t job_judge(deai_pay *pay, earn_job *job) {
  earn_chan *chan = NULL;
  pay_voucher voucher = job->waits;
  int32_t status = judge(pay, job, &voucher, &chan, job->why, sizeof job->why);
  return status == DEAI_OK ? take(pay, job, chan, &voucher) : status;
}

/* ---- the router's side ---- */

static int32_t first_voucher(deai_pay *pay, earn_job *job, const deai_call_spec *spec, char *err,
                             uint32_t err_cap) {
  deai_signed pack;
  uint64_t cost = pay_price(job->u_in, job->price_in, DEAI_PAY_AHEAD, job->price_out);
  if (spec->voucher.len == 0)
    return deai_err(err, err_cap, DEAI_EPAYMENT,
                    "expected a voucher for %llu (%llu units in at %llu, %u out at %llu), found "
                    "none; open a channel to this node",
                    (unsigned long long)cost, (unsigned long long)job->u_in,
                    (unsigned long long)job->price_in, DEAI_PAY_AHEAD,
                    (unsigned long long)job->price_out);
  if (deai_decode(&deai_signed_table, spec->voucher, &pack, NULL, NULL, 0) != DEAI_OK)
    return deai_err(err, err_cap, DEAI_EPAYMENT, "expected a voucher, found another form");
  int32_t status = pay_voucher_read(pay, &pack, job->payer, &job->waits, err, err_cap);
  if (status != DEAI_OK) return status;
  if (memcmp(job->waits.voucher.job, job->id, DEAI_ID_BYTES) != 0)
    return deai_err(err, err_cap, DEAI_EPAYMENT,
                    "expected a voucher for this job, found one for another");
  if (job->waits.voucher.n < DEAI_PAY_AHEAD)
    return deai_err(err, err_cap, DEAI_EPAYMENT, "expected a voucher for %u units, found %llu",
                    DEAI_PAY_AHEAD, (unsigned long long)job->waits.voucher.n);
  return DEAI_OK;
}

static earn_job *job_new(deai_pay *pay, deai_call *call, uint64_t price_in, uint64_t price_out) {
  const deai_call_spec *spec = deai_call_about(call);
  earn_job *job = calloc(1, sizeof *job);
  if (job == NULL) return NULL;
  job->call = call;
  job->price_in = price_in;
  job->price_out = price_out;
  job->u_in = spec->units;
  memcpy(job->id, spec->job.ptr, DEAI_ID_BYTES);
  memcpy(job->payer, spec->caller_id.ptr, DEAI_KEY_BYTES);
  (void)snprintf(job->s, sizeof job->s, "%.*s", (int)spec->service.len, spec->service.ptr);
  (void)snprintf(job->m, sizeof job->m, "%.*s", (int)spec->method.len, spec->method.ptr);
  job->until_ns = deai_loop_now_ns(pay->options.loop) + DEAI_PAY_LEDGER_MS * UINT64_C(1000000);
  job->next = pay->earns;
  pay->earns = job;
  return job;
}

int32_t earn_admit(void *user, deai_call *call, uint64_t price_in, uint64_t price_out, char *err,
                   uint32_t err_cap) {
  deai_pay *pay = user;
  const deai_call_spec *spec = deai_call_about(call);
  if (spec->caller_id.len != DEAI_KEY_BYTES || spec->job.len != DEAI_ID_BYTES)
    return deai_err(err, err_cap, DEAI_EPAYMENT, "expected a member with a job id, found none");
  if (spec->units == 0 && price_in > 0) /* they are what the prompt costs */
    return deai_err(err, err_cap, DEAI_EPAYMENT, "expected the units of the prompt, found none");
  earn_job *job = earn_job_of(pay, call);
  if (job != NULL) job_free(pay, job); /* another plug-in of this node takes it over */
  job = job_new(pay, call, price_in, price_out);
  if (job == NULL) return DEAI_ENOMEM;
  int32_t status = first_voucher(pay, job, spec, err, err_cap);
  if (status == DEAI_OK) {
    status = job_judge(pay, job);
    if (status != DEAI_OK && err_cap > 0) (void)snprintf(err, err_cap, "%s", job->why);
    if (status == DEAI_OK) {
      job->state = EARN_SYNC;
      return DEAI_EAGAIN;
    }
  }
  if (status == DEAI_EAGAIN) {
    job->state = EARN_LEDGER;
    pay_tick_ask(pay);
  } else {
    job_free(pay, job);
  }
  return status;
}

int32_t earn_give(void *user, deai_call *call, uint64_t given, uint64_t units,
                  const uint8_t in[DEAI_HASH_BYTES]) {
  earn_job *job = earn_job_of(user, call);
  if (job == NULL) return DEAI_OK;
  bool within = given + units <= job->n + DEAI_PAY_AHEAD;
  bool large = units > DEAI_PAY_AHEAD && given <= job->n; /* it fits no window: one at a time */
  if (!within && !large) return DEAI_EAGAIN;
  job->given = given + units;
  memcpy(job->in, in, DEAI_HASH_BYTES);
  return DEAI_OK;
}

void deai_pay_voucher(deai_pay *pay, deai_call *call, const deai_signed *pack) {
  char err[DEAI_ERR_CAP] = "";
  char name[9];
  pay_voucher voucher = {.len = 0};
  earn_job *job = earn_job_of(pay, call);
  if (job == NULL) return; /* its END is on the way */
  int32_t status = pay_voucher_read(pay, pack, job->payer, &voucher, err, sizeof err);
  if (status == DEAI_OK && memcmp(voucher.voucher.job, job->id, DEAI_ID_BYTES) != 0)
    status = deai_err(err, sizeof err, DEAI_EPAYMENT,
                      "expected a voucher for this job, found one for another");
  if (status == DEAI_OK && (job->state != EARN_RUNS || voucher.voucher.n <= job->n_next))
    return; /* an old one again */
  if (status == DEAI_OK) {
    job->waits = voucher;
    status = job_judge(pay, job);
    (void)snprintf(err, sizeof err, "%s", job->why);
  }
  if (status == DEAI_OK || status == DEAI_EAGAIN) return; /* the next block may bring the deposit */
  job->waits.len = 0;
  deai_log(DEAI_LEVEL_WARN, "pay", "job %s: a voucher was refused: %s", pay_hex(job->id, name),
           err);
}

void earn_over(deai_pay *pay, deai_call *call) {
  earn_job *job = earn_job_of(pay, call);
  if (job == NULL) return;
  earn_chan *chan = job->chan;
  if (chan != NULL && job->given > 0) cut_receipt(pay, job);
  job_free(pay, job);
  if (chan != NULL) chan_note(pay, chan);
}

/* waiting_one judges the first job, from `at` on, whose voucher waits for the ledger; true when the
   list has changed. */
static bool waiting_one(deai_pay *pay, earn_job *at, bool late_only) {
  uint64_t now_ns = deai_loop_now_ns(pay->options.loop);
  for (; at != NULL; at = at->next) {
    if (at->waits.len == 0) continue;
    if (at->state == EARN_SYNC) continue;
    bool late = at->state == EARN_LEDGER && now_ns >= at->until_ns;
    int32_t status = late_only && !late ? DEAI_EAGAIN : job_judge(pay, at);
    if (status == DEAI_OK && at->state == EARN_LEDGER) at->state = EARN_SYNC;
    if (status == DEAI_OK || (status == DEAI_EAGAIN && !late)) continue;
    if (at->state == EARN_RUNS) {
      at->waits.len = 0;
      continue;
    }
    job_refuse(pay, at, status == DEAI_EAGAIN ? DEAI_EPAYMENT : status, at->why);
    return true;
  }
  return false;
}

static bool closes(const deai_pay *pay, const earn_chan *chan) {
  deai_channel_rec rec = {0};
  return pay->ops.channel(pay->options.user, chan->ch, &rec) == DEAI_OK && rec.closing != 0 &&
         rec.claimed < chan->sum;
}

void earn_block(deai_pay *pay) {
  bool claim = false;
  while (waiting_one(pay, pay->earns, false))
    continue;
  for (const earn_chan *at = pay->ins; at != NULL && !claim; at = at->next)
    claim = !at->claiming && at->sum > at->claimed && closes(pay, at);
  if (claim) deai_pay_claim(pay, NULL, NULL);
}

bool earn_tick(deai_pay *pay) {
  bool again = false;
  while (waiting_one(pay, pay->earns, true))
    continue;
  for (const earn_job *at = pay->earns; at != NULL; at = at->next)
    again = again || at->state == EARN_LEDGER;
  return again;
}

/* ---- net-channel ---- */

/* exact_take keeps the voucher that comes to what the receipts come to. */
static int32_t exact_take(deai_pay *pay, earn_chan *chan, const deai_signed *pack, char *err,
                          uint32_t err_cap) {
  deai_channel_rec rec = {0};
  pay_voucher given = {.len = 0};
  int32_t status = pay_voucher_read(pay, pack, chan->payer, &given, err, err_cap);
  if (status != DEAI_OK) return status;
  if (memcmp(given.voucher.ch, chan->ch, DEAI_ID_BYTES) != 0 ||
      pay->ops.channel(pay->options.user, chan->ch, &rec) != DEAI_OK ||
      given.voucher.c > rec.deposit)
    return deai_err(err, err_cap, DEAI_EPAYMENT,
                    "expected a voucher of this channel within its deposit, found another");
  if (given.voucher.c < chan->sum)
    return deai_err(err, err_cap, DEAI_EPAYMENT, "expected a voucher of at least %llu, found %llu",
                    (unsigned long long)chan->sum, (unsigned long long)given.voucher.c);
  bool lower = chan->exact.len == 0 || given.voucher.c < chan->exact.voucher.c;
  if (lower) chan->exact = given;
  if (chan->high.len == 0 || given.voucher.c > chan->high.voucher.c) chan->high = given;
  chan->shown = chan->count;
  recent_clear(chan);
  chan_note(pay, chan);
  return DEAI_OK;
}

static void end_fill(const earn_chan *chan, deai_net_channel_end *end, deai_signed *packs) {
  uint64_t bytes = 0;
  *end = (deai_net_channel_end){.has = DEAI_NET_CHANNEL_END_HAS_S, .s = chan->sum};
  if (chan->high.len > 0 &&
      deai_decode(&deai_signed_table, deai_bytes_of(chan->high.bytes, chan->high.len), &end->v,
                  NULL, NULL, 0) == DEAI_OK)
    end->has |= DEAI_NET_CHANNEL_END_HAS_V;
  for (const kept_receipt *at = chan->recent; at != NULL; at = at->next) {
    bytes += at->len;
    if (end->r.count == DEAI_NET_RECEIPTS_MAX || bytes > RECENT_BYTES) break;
    if (deai_decode(&deai_signed_table, deai_bytes_of(at->bytes, at->len), &packs[end->r.count],
                    NULL, NULL, 0) == DEAI_OK)
      end->r.count++;
  }
  end->r.items = packs;
}

int32_t deai_pay_channel(deai_pay *pay, const uint8_t caller[DEAI_KEY_BYTES], deai_bytes args,
                         deai_buf out, uint64_t *len_out, char *err, uint32_t err_cap) {
  deai_net_channel asked;
  deai_net_channel_end end;
  deai_signed packs[DEAI_NET_RECEIPTS_MAX];
  int32_t status = deai_decode(&deai_net_channel_table, args, &asked, NULL, err, err_cap);
  if (status != DEAI_OK) return status;
  earn_chan *chan = chan_find(pay, asked.ch);
  if (chan == NULL)
    return deai_err(err, err_cap, DEAI_ENOTFOUND,
                    "expected a channel with a voucher at this node, found none of that id");
  if (memcmp(chan->payer, caller, DEAI_KEY_BYTES) != 0)
    return deai_err(err, err_cap, DEAI_EDENIED,
                    "expected the node that pays through this channel, found another");
  if ((asked.has & DEAI_NET_CHANNEL_HAS_V) != 0)
    status = exact_take(pay, chan, &asked.v, err, err_cap);
  else if (jobs_of(pay, chan) > 0)
    status = deai_err(err, err_cap, DEAI_EBUSY,
                      "expected no open job of this channel, found %u; ask again when they ended",
                      jobs_of(pay, chan));
  if (status != DEAI_OK) return status;
  end_fill(chan, &end, packs);
  deai_cbor_writer writer = deai_cbor_writer_of(out);
  status = deai_encode(&deai_net_channel_end_table, &end, &writer, err, err_cap);
  *len_out = writer.len;
  return status;
}

/* ---- claims ---- */

/* One batch of claims, and who waits for it. */
typedef struct claim_run {
  deai_pay *pay;
  void *user;
  deai_pay_claim_done *done;
  uint32_t open;
  deai_pay_claimed result;
} claim_run;

typedef struct claim {
  claim_run *run;
  earn_chan *chan;
  uint64_t c;
  uint64_t amount;
} claim;

static void run_drop(claim_run *run) {
  if (--run->open > 0) return;
  if (run->done != NULL) run->done(run->user, &run->result);
  free(run);
}

static void run_task(void *user) {
  run_drop(user);
}

static void on_claimed(void *user, int32_t status, const char *why,
                       const uint8_t id[DEAI_HASH_BYTES], uint64_t height) {
  (void)id;
  char name[9];
  claim *one = user;
  claim_run *run = one->run;
  earn_chan *chan = one->chan;
  chan->claiming = false;
  if (status == DEAI_OK) {
    run->result.count++;
    run->result.amount += one->amount;
    chan->claimed = one->c;
    chan->rooted = chan->claim_count;
    chan->tree = chan->fresh;
    chan_note(run->pay, chan);
    deai_log(DEAI_LEVEL_INFO, "pay", "channel %s: claimed %llu in block %llu",
             pay_hex(chan->ch, name), (unsigned long long)one->amount, (unsigned long long)height);
  } else {
    deai_log(DEAI_LEVEL_WARN, "pay", "channel %s: a claim was refused: %s", pay_hex(chan->ch, name),
             why);
    if (run->result.status == DEAI_OK) {
      run->result.status = status;
      (void)snprintf(run->result.why, sizeof run->result.why, "%s", why);
    }
  }
  free(one);
  run_drop(run);
}

/* claim_pick chooses the lowest voucher that covers the sum; NULL = nothing to claim now. */
static const pay_voucher *claim_pick(const earn_chan *chan, const deai_channel_rec *rec) {
  bool exact = chan->exact.len > 0 && chan->exact.voucher.c >= chan->sum;
  const pay_voucher *pick = exact ? &chan->exact : &chan->high;
  if (chan->claiming || pick->len == 0 || chan->sum <= chan->claimed) return NULL;
  return pick->voucher.c > rec->claimed && pick->voucher.c > chan->claimed ? pick : NULL;
}

static void chan_claim(claim_run *run, earn_chan *chan) {
  uint8_t room[OPS_BYTES];
  uint64_t len = 0;
  deai_pay *pay = run->pay;
  deai_channel_rec rec = {0};
  deai_op_claim op;
  if (pay->ops.channel(pay->options.user, chan->ch, &rec) != DEAI_OK) return;
  if (rec.claimed > chan->claimed) chan->claimed = rec.claimed;
  const pay_voucher *pick = claim_pick(chan, &rec);
  claim *one = pick != NULL ? calloc(1, sizeof *one) : NULL;
  if (one == NULL) return;
  *one = (claim){
      .run = run, .chan = chan, .c = pick->voucher.c, .amount = pick->voucher.c - chan->claimed};
  deai_merkle_root(&chan->tree, op.receipts_root);
  int32_t status = deai_decode(&deai_signed_table, deai_bytes_of(pick->bytes, pick->len),
                               &op.voucher, NULL, NULL, 0);
  if (status == DEAI_OK)
    status = pay_op_list("claim", &deai_op_claim_table, &op, (deai_buf){room, sizeof room}, &len);
  if (status != DEAI_OK) {
    free(one);
    return;
  }
  deai_merkle_start(&chan->fresh);
  chan->claim_count = chan->count;
  chan->claiming = true;
  run->open++;
  pay->ops.propose(pay->options.user, deai_bytes_of(room, len), one, on_claimed);
}

void deai_pay_claim(deai_pay *pay, void *user, deai_pay_claim_done *done) {
  claim_run *run = calloc(1, sizeof *run);
  if (run == NULL) {
    deai_pay_claimed none = {.status = DEAI_ENOMEM};
    if (done != NULL) done(user, &none);
    return;
  }
  *run = (claim_run){.pay = pay, .user = user, .done = done, .open = 1};
  for (earn_chan *at = pay->ins; at != NULL; at = at->next)
    chan_claim(run, at);
  deai_loop_task(pay->options.loop, run_task, run);
}

void deai_pay_totals_get(deai_pay *pay, deai_pay_totals *out) {
  *out = (deai_pay_totals){0};
  for (earn_chan *at = pay->ins; at != NULL; at = at->next) {
    deai_channel_rec rec = {0};
    if (pay->ops.channel(pay->options.user, at->ch, &rec) != DEAI_OK) continue;
    if (rec.claimed > at->claimed) at->claimed = rec.claimed;
    if (at->sum > at->claimed) out->owed = pay_add(out->owed, at->sum - at->claimed);
  }
  for (const spend_chan *at = pay->outs; at != NULL; at = at->next)
    out->spent = pay_add(out->spent, at->sum);
  for (const spend_job *at = pay->spends; at != NULL; at = at->next) {
    uint64_t cost = pay_price(at->u_in, at->price_in, at->n, at->price_out);
    if (at->state == SPEND_RUNS || at->state == SPEND_OWED)
      out->pending = pay_add(out->pending, cost);
    if (at->state == SPEND_OWED) out->unknown++;
  }
}

/* ---- life ---- */

static int32_t voucher_load(deai_bytes from, pay_voucher *out) {
  deai_signed pack;
  if (from.len == 0) return DEAI_OK;
  if (from.len > sizeof out->bytes ||
      deai_decode(&deai_signed_table, from, &pack, NULL, NULL, 0) != DEAI_OK ||
      deai_decode(&deai_voucher_table, pack.body, &out->voucher, NULL, NULL, 0) != DEAI_OK)
    return DEAI_EVERIFY;
  memcpy(out->bytes, from.ptr, (size_t)from.len);
  out->len = from.len;
  return DEAI_OK;
}

static int32_t job_load(deai_pay *pay, earn_chan *chan, const pay_in_job *from) {
  earn_job *job = calloc(1, sizeof *job);
  if (job == NULL) return DEAI_ENOMEM;
  job->chan = chan;
  job->price_in = from->pi;
  job->price_out = from->po;
  job->u_in = from->u;
  job->given = from->g;
  job->n = job->n_next = from->n;
  memcpy(job->id, from->j, DEAI_ID_BYTES);
  memcpy(job->in, from->in, DEAI_HASH_BYTES);
  memcpy(job->payer, chan->payer, DEAI_KEY_BYTES);
  (void)snprintf(job->s, sizeof job->s, "%.*s", (int)from->s.len, from->s.ptr);
  (void)snprintf(job->m, sizeof job->m, "%.*s", (int)from->m.len, from->m.ptr);
  job->next = pay->earns;
  pay->earns = job;
  return DEAI_OK;
}

static int32_t load_channel(void *user, deai_bytes key, deai_bytes value) {
  deai_pay *pay = user;
  deai_pay_in rec;
  _Alignas(16) uint8_t room[ARENA_BYTES];
  deai_arena arena = {room, sizeof room, 0};
  if (key.len != 1 + DEAI_ID_BYTES ||
      deai_decode(&in_table, value, &rec, &arena, NULL, 0) != DEAI_OK)
    return DEAI_EVERIFY;
  earn_chan *chan = chan_make(pay, key.ptr + 1, rec.payer);
  if (chan == NULL) return DEAI_EFULL;
  chan->sum = rec.sum;
  chan->shown = rec.shown;
  chan->rooted = rec.rooted;
  int32_t status = voucher_load(rec.high, &chan->high);
  if (status == DEAI_OK) status = voucher_load(rec.exact, &chan->exact);
  const pay_in_job *jobs = rec.jobs.items;
  for (uint64_t i = 0; i < rec.jobs.count && status == DEAI_OK; i++)
    status = job_load(pay, chan, &jobs[i]);
  return status;
}

static int32_t load_receipt(void *user, deai_bytes key, deai_bytes value) {
  deai_pay *pay = user;
  uint64_t number = 0;
  if (key.len != 1 + DEAI_ID_BYTES + 8) return DEAI_EVERIFY;
  earn_chan *chan = chan_find(pay, key.ptr + 1);
  if (chan == NULL) return DEAI_OK;
  for (uint32_t i = 0; i < 8; i++)
    number = number << 8 | key.ptr[1 + DEAI_ID_BYTES + i];
  if (number >= chan->rooted) deai_merkle_add(&chan->tree, value);
  if (number >= chan->shown) recent_add(chan, value);
  chan->count = number + 1;
  return DEAI_OK;
}

static int32_t load_gone(void *user, deai_bytes key, deai_bytes value) {
  deai_cbor_reader reader = deai_cbor_reader_of(value);
  deai_cbor_item item;
  if (key.len != 1 + DEAI_ID_BYTES || deai_cbor_next(&reader, &item) != DEAI_OK ||
      item.kind != DEAI_CBOR_UINT)
    return DEAI_EVERIFY;
  earn_chan *chan = chan_find(user, key.ptr + 1);
  if (chan != NULL) chan->gone_ms = item.number;
  return DEAI_OK;
}

int32_t earn_load(deai_pay *pay) {
  int32_t status = deai_purse_each(pay->purse, deai_bytes_of("i", 1), pay, load_channel);
  if (status == DEAI_OK)
    status = deai_purse_each(pay->purse, deai_bytes_of("g", 1), pay, load_gone);
  if (status == DEAI_OK)
    status = deai_purse_each(pay->purse, deai_bytes_of("r", 1), pay, load_receipt);
  if (status != DEAI_OK) return status;
  while (pay->earns != NULL) { /* this node was killed while it worked: it owes these receipts */
    earn_chan *chan = pay->earns->chan;
    cut_receipt(pay, pay->earns);
    job_free(pay, pay->earns);
    chan_note(pay, chan);
  }
  return DEAI_OK;
}

void earn_free(deai_pay *pay) {
  while (pay->earns != NULL)
    job_free(pay, pay->earns);
  while (pay->ins != NULL) {
    earn_chan *gone = pay->ins;
    pay->ins = gone->next;
    recent_clear(gone);
    free(gone);
  }
}
