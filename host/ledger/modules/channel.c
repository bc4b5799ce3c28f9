#include "modules.h"

#include "host/ledger/genesis.h"

#include "host/base/banned.h"

/* Money of a channel, all from its record:
     deposit  what the payer put in            claimed  the highest voucher claimed
     matured  claims past their hold time      paid     what the payee has
     frozen   prices under objection           denied   parts that a verdict gave back to the payer
   The payee gets matured - denied - frozen - paid as soon as that is above zero; at the end the
   payer gets deposit - paid. The account of the module holds deposit - paid meanwhile. */

#define CLOSE_AFTER_MAX (UINT64_C(366) * DEAI_DAY_MS)
#define DUE_PER_BLOCK   256u /* what is left is done in the next block, at once */
#define VERDICT_HOLDS   10u  /* no verdict in so many hold times: the payee's */
#define DUE_KEY_BYTES   (8u + 1u + DEAI_ID_BYTES + DEAI_ID_BYTES)

typedef enum due_kind { DUE_HOLD = 1, DUE_JOB = 2, DUE_CLOSE = 3 } due_kind;

static const uint8_t null_item[] = {0xf6};
static const uint8_t no_job[DEAI_ID_BYTES];

static uint64_t hold_ms(deai_ledger_ctx *ctx) {
  return ctx->param(ctx, DEAI_PARAM_HOLD_MS, DEAI_HOLD_MS_DEFAULT);
}

/* The account that holds the deposits: it has no key. */
static void trust_account(deai_ledger_ctx *ctx, uint8_t out[DEAI_ACCT_BYTES]) {
  static const char seed[] = "deai/channel/1 deposits";
  uint8_t hash[DEAI_HASH_BYTES];
  ctx->sha256(ctx, deai_bytes_of(seed, sizeof seed), hash);
  memcpy(out, hash, DEAI_ACCT_BYTES);
}

static int32_t channel_get(deai_ledger_ctx *ctx, const uint8_t ch[DEAI_ID_BYTES],
                           deai_channel_rec *out) {
  int32_t status = deai_rec_get(ctx, DEAI_CHANNEL_CHANNELS, deai_bytes_of(ch, DEAI_ID_BYTES),
                                &deai_channel_rec_table, out);
  if (status != DEAI_ENOTFOUND) return status;
  return ctx->fail(ctx, DEAI_ENOTFOUND, "expected an open channel, found none of that id");
}

static int32_t channel_put(deai_ledger_ctx *ctx, const uint8_t ch[DEAI_ID_BYTES],
                           const deai_channel_rec *rec) {
  return deai_rec_put(ctx, DEAI_CHANNEL_CHANNELS, deai_bytes_of(ch, DEAI_ID_BYTES),
                      &deai_channel_rec_table, rec);
}

static void put_be64(uint8_t *out, uint64_t value) {
  for (uint32_t i = 0; i < 8; i++)
    out[i] = (uint8_t)(value >> (56 - 8 * i));
}

static uint64_t get_be64(const uint8_t *from) {
  uint64_t value = 0;
  for (uint32_t i = 0; i < 8; i++)
    value = value << 8 | from[i];
  return value;
}

/* A due entry exists once for each (time, kind, channel, job). */
static int32_t due_put(deai_ledger_ctx *ctx, uint64_t time, due_kind kind,
                       const uint8_t ch[DEAI_ID_BYTES], const uint8_t job[DEAI_ID_BYTES]) {
  uint8_t key[DUE_KEY_BYTES];
  put_be64(key, time);
  key[8] = (uint8_t)kind;
  memcpy(key + 9, ch, DEAI_ID_BYTES);
  memcpy(key + 9 + DEAI_ID_BYTES, job, DEAI_ID_BYTES);
  return ctx->put(ctx, DEAI_CHANNEL_DUE, deai_bytes_of(key, sizeof key),
                  deai_bytes_of(null_item, sizeof null_item));
}

static void sums(const deai_channel_rec *rec, uint64_t *frozen, uint64_t *denied) {
  const deai_channel_job *jobs = rec->jobs.items;
  *frozen = 0;
  *denied = 0;
  for (uint64_t i = 0; i < rec->jobs.count; i++) {
    if (jobs[i].state == DEAI_JOB_FROZEN) {
      *frozen += jobs[i].price;
    } else {
      *denied += jobs[i].price - jobs[i].payee;
    }
  }
}

/* Pays what is payable. */
static int32_t pay(deai_ledger_ctx *ctx, deai_channel_rec *rec) {
  uint64_t frozen, denied;
  uint8_t trust[DEAI_ACCT_BYTES];
  sums(rec, &frozen, &denied);
  uint64_t kept = rec->paid + frozen + denied; /* each within the deposit */
  if (rec->matured <= kept) return DEAI_OK;
  uint64_t amount = rec->matured - kept;
  rec->paid += amount;
  trust_account(ctx, trust);
  return ctx->transfer(ctx, trust, rec->owner, amount);
}

/* Writes the channel, or ends it: past its closing time, nothing held and nothing frozen. */
static int32_t settle(deai_ledger_ctx *ctx, const uint8_t ch[DEAI_ID_BYTES],
                      deai_channel_rec *rec) {
  uint64_t frozen, denied;
  uint8_t trust[DEAI_ACCT_BYTES];
  int32_t status = pay(ctx, rec);
  if (status != DEAI_OK) return status;
  sums(rec, &frozen, &denied);
  if (rec->closing == 0 || ctx->time < rec->closing || rec->holds.count > 0 || frozen > 0)
    return channel_put(ctx, ch, rec);
  trust_account(ctx, trust);
  if (rec->deposit > rec->paid)
    status = ctx->transfer(ctx, trust, rec->payer, rec->deposit - rec->paid);
  if (status != DEAI_OK) return status;
  return ctx->del(ctx, DEAI_CHANNEL_CHANNELS, deai_bytes_of(ch, DEAI_ID_BYTES));
}

/* ---- operations ---- */

static void channel_id(deai_ledger_ctx *ctx, uint8_t out[DEAI_ID_BYTES]) {
  uint8_t seed[DEAI_HASH_BYTES + 4], hash[DEAI_HASH_BYTES];
  memcpy(seed, ctx->tx_id, DEAI_HASH_BYTES);
  for (uint32_t i = 0; i < 4; i++)
    seed[DEAI_HASH_BYTES + i] = (uint8_t)(ctx->op_index >> (8 * i));
  ctx->sha256(ctx, deai_bytes_of(seed, sizeof seed), hash);
  memcpy(out, hash, DEAI_ID_BYTES);
}

static int32_t apply_open(deai_ledger_ctx *ctx, const void *body) {
  const deai_op_open *op = body;
  deai_member_rec payee;
  deai_channel_rec rec;
  uint8_t ch[DEAI_ID_BYTES], trust[DEAI_ACCT_BYTES];
  int32_t status =
      deai_rec_query(ctx, "registry/1", "members", deai_bytes_of(op->payee, DEAI_KEY_BYTES),
                     &deai_member_rec_table, &payee);
  if (status == DEAI_ENOTFOUND || (status == DEAI_OK && payee.role != DEAI_ROLE_MEMBER))
    return ctx->fail(ctx, DEAI_ENOTFOUND, "expected the node key of a member as payee");
  if (status != DEAI_OK) return status;
  if (op->close_after > CLOSE_AFTER_MAX)
    return ctx->fail(ctx, DEAI_EINVAL, "expected close_after up to %llu ms, found %llu",
                     (unsigned long long)CLOSE_AFTER_MAX, (unsigned long long)op->close_after);
  if (op->deposit == 0) return ctx->fail(ctx, DEAI_EINVAL, "expected a deposit, found none");
  memset(&rec, 0, sizeof rec);
  memcpy(rec.key, ctx->key, DEAI_KEY_BYTES);
  memcpy(rec.owner, payee.owner, DEAI_ACCT_BYTES);
  memcpy(rec.payee, op->payee, DEAI_KEY_BYTES);
  memcpy(rec.payer, ctx->account, DEAI_ACCT_BYTES);
  rec.deposit = op->deposit;
  rec.close_after = op->close_after;
  trust_account(ctx, trust);
  status = ctx->transfer(ctx, ctx->account, trust, op->deposit);
  if (status != DEAI_OK) return status;
  channel_id(ctx, ch);
  return channel_put(ctx, ch, &rec);
}

static int32_t apply_topup(deai_ledger_ctx *ctx, const void *body) {
  const deai_op_topup *op = body;
  deai_channel_rec rec;
  uint8_t trust[DEAI_ACCT_BYTES];
  int32_t status = channel_get(ctx, op->ch, &rec);
  if (status != DEAI_OK) return status;
  if (memcmp(rec.payer, ctx->account, DEAI_ACCT_BYTES) != 0)
    return ctx->fail(ctx, DEAI_EDENIED, "expected the payer of the channel, found another account");
  if (rec.closing != 0)
    return ctx->fail(ctx, DEAI_EINVAL, "expected an open channel, found one that closes");
  trust_account(ctx, trust);
  status = ctx->transfer(ctx, ctx->account, trust, op->amount);
  if (status != DEAI_OK) return status;
  rec.deposit += op->amount;
  return channel_put(ctx, op->ch, &rec);
}

static int32_t voucher_open(deai_ledger_ctx *ctx, const deai_signed *pack, deai_voucher *voucher) {
  char err[128];
  if (deai_decode(&deai_voucher_table, pack->body, voucher, NULL, err, sizeof err) != DEAI_OK)
    return ctx->fail(ctx, DEAI_EINVAL, "%s", err);
  if (ctx->verify(ctx, 0, pack->body, pack->key, pack->sig) == DEAI_OK) return DEAI_OK;
  return ctx->fail(ctx, DEAI_EVERIFY, "expected a voucher with a good signature, found a bad one");
}

static int32_t claim_check(deai_ledger_ctx *ctx, const deai_channel_rec *rec,
                           const deai_signed *pack, const deai_voucher *voucher) {
  if (memcmp(rec->owner, ctx->account, DEAI_ACCT_BYTES) != 0)
    return ctx->fail(ctx, DEAI_EDENIED, "expected the owner of the payee, found another account");
  if (memcmp(rec->key, pack->key, DEAI_KEY_BYTES) != 0)
    return ctx->fail(ctx, DEAI_EDENIED, "expected a voucher of the key that opened the channel");
  if (rec->closing != 0 && ctx->time >= rec->closing)
    return ctx->fail(ctx, DEAI_ETIMEDOUT, "expected a claim before the channel closed");
  if (voucher->c <= rec->claimed || voucher->c > rec->deposit)
    return ctx->fail(ctx, DEAI_EPAYMENT, "expected a voucher above %llu and up to %llu, found %llu",
                     (unsigned long long)rec->claimed, (unsigned long long)rec->deposit,
                     (unsigned long long)voucher->c);
  if (rec->holds.count >= DEAI_CHANNEL_HOLDS_MAX)
    return ctx->fail(ctx, DEAI_EBUSY, "expected at most %u claims that wait, found more: later",
                     DEAI_CHANNEL_HOLDS_MAX);
  return DEAI_OK;
}

static int32_t apply_claim(deai_ledger_ctx *ctx, const void *body) {
  const deai_op_claim *op = body;
  deai_voucher voucher;
  deai_channel_rec rec;
  int32_t status = voucher_open(ctx, &op->voucher, &voucher);
  if (status == DEAI_OK) status = channel_get(ctx, voucher.ch, &rec);
  if (status == DEAI_OK) status = claim_check(ctx, &rec, &op->voucher, &voucher);
  if (status != DEAI_OK) return status;
  deai_channel_hold *holds = ctx->take(ctx, (rec.holds.count + 1) * sizeof *holds);
  if (holds == NULL) return ctx->fail(ctx, DEAI_ENOMEM, "no memory for a claim");
  if (rec.holds.count > 0) memcpy(holds, rec.holds.items, (size_t)rec.holds.count * sizeof *holds);
  deai_channel_hold *last = &holds[rec.holds.count];
  last->amount = voucher.c - rec.claimed;
  last->due = ctx->time + hold_ms(ctx);
  memcpy(last->root, op->receipts_root, DEAI_HASH_BYTES);
  rec.holds = (deai_list){holds, rec.holds.count + 1};
  rec.claimed = voucher.c;
  status = due_put(ctx, last->due, DUE_HOLD, voucher.ch, no_job);
  return status == DEAI_OK ? channel_put(ctx, voucher.ch, &rec) : status;
}

/* ---- objections ---- */

/* Reads the value of key in the map item; DEAI_ENOTFOUND when item is no map or lacks it. */
static int32_t map_find(deai_bytes map, const char *key, deai_cbor_item *out) {
  deai_cbor_reader reader = deai_cbor_reader_of(map);
  deai_cbor_item item;
  if (deai_cbor_next(&reader, &item) != DEAI_OK || item.kind != DEAI_CBOR_MAP)
    return DEAI_ENOTFOUND;
  for (uint64_t i = 0; i < item.number; i++) {
    deai_cbor_item name;
    if (deai_cbor_next(&reader, &name) != DEAI_OK) return DEAI_ENOTFOUND;
    deai_str text = {(const char *)name.span.ptr, name.span.len};
    if (deai_str_eq(text, deai_str_of(key))) return deai_cbor_next(&reader, out);
    if (deai_cbor_skip(&reader, NULL) != DEAI_OK) return DEAI_ENOTFOUND;
  }
  return DEAI_ENOTFOUND;
}

static int32_t receipt_open(deai_ledger_ctx *ctx, const deai_signed *pack, deai_receipt *out) {
  char err[128];
  if (deai_decode(&deai_receipt_table, pack->body, out, NULL, err, sizeof err) != DEAI_OK)
    return ctx->fail(ctx, DEAI_EINVAL, "%s", err);
  if (memcmp(out->worker, pack->key, DEAI_KEY_BYTES) == 0 &&
      ctx->verify(ctx, 1, pack->body, pack->key, pack->sig) == DEAI_OK)
    return DEAI_OK;
  return ctx->fail(ctx, DEAI_EVERIFY, "expected a receipt signed by its worker, found another");
}

/* The auditor says another root, or a token that the worker itself chose wrongly: positions
   n - u_out .. n - 1 of the answer are the worker's own. */
static int32_t receipts_differ(const deai_receipt *work, const deai_receipt *audit) {
  deai_cbor_item mine, theirs, wrong, count;
  if (map_find(work->out, "root", &mine) != DEAI_OK || mine.kind != DEAI_CBOR_BYTES ||
      map_find(audit->out, "root", &theirs) != DEAI_OK || theirs.kind != DEAI_CBOR_BYTES)
    return 0;
  if (!deai_bytes_eq(mine.span, theirs.span)) return 1;
  if (map_find(audit->out, "wrong", &wrong) != DEAI_OK || wrong.kind != DEAI_CBOR_UINT ||
      map_find(work->out, "n", &count) != DEAI_OK || count.kind != DEAI_CBOR_UINT)
    return 0;
  return work->u_out <= count.number && wrong.number >= count.number - work->u_out &&
         wrong.number < count.number;
}

static int32_t object_parties(deai_ledger_ctx *ctx, const deai_op_object *op,
                              const deai_channel_rec *rec, const deai_receipt *work,
                              const deai_receipt *audit) {
  deai_member_rec auditor;
  if (memcmp(rec->payer, ctx->account, DEAI_ACCT_BYTES) != 0)
    return ctx->fail(ctx, DEAI_EDENIED, "expected the payer of the channel, found another account");
  if (memcmp(work->worker, rec->payee, DEAI_KEY_BYTES) != 0 ||
      (work->has & DEAI_RECEIPT_HAS_CH) == 0 || memcmp(work->ch, op->ch, DEAI_ID_BYTES) != 0)
    return ctx->fail(ctx, DEAI_EINVAL, "expected the payee's receipt of this channel first");
  if (memcmp(work->job, audit->job, DEAI_ID_BYTES) != 0)
    return ctx->fail(ctx, DEAI_EINVAL, "expected two receipts of one job, found two jobs");
  if (memcmp(audit->worker, rec->payee, DEAI_KEY_BYTES) == 0)
    return ctx->fail(ctx, DEAI_EINVAL, "expected another auditor than the payee");
  int32_t status =
      deai_rec_query(ctx, "registry/1", "members", deai_bytes_of(audit->worker, DEAI_KEY_BYTES),
                     &deai_member_rec_table, &auditor);
  if (status == DEAI_ENOTFOUND || (status == DEAI_OK && auditor.role != DEAI_ROLE_MEMBER))
    return ctx->fail(ctx, DEAI_EDENIED, "expected a member as auditor, found another");
  if (status != DEAI_OK) return status;
  if (memcmp(auditor.owner, rec->owner, DEAI_ACCT_BYTES) == 0 || receipts_differ(work, audit) == 0)
    return ctx->fail(ctx, DEAI_EINVAL,
                     "expected another root, or a wrong token of the worker's own, by a stranger");
  return DEAI_OK;
}

static int32_t object_money(deai_ledger_ctx *ctx, const deai_channel_rec *rec,
                            const deai_receipt *work) {
  uint64_t frozen, denied;
  const deai_channel_job *jobs = rec->jobs.items;
  for (uint64_t i = 0; i < rec->jobs.count; i++) {
    if (memcmp(jobs[i].job, work->job, DEAI_ID_BYTES) == 0)
      return ctx->fail(ctx, DEAI_EINVAL, "expected one objection a job, found a second");
  }
  if (rec->jobs.count >= DEAI_CHANNEL_JOBS_MAX)
    return ctx->fail(ctx, DEAI_EBUSY, "expected at most %u objections, found more: open a channel",
                     DEAI_CHANNEL_JOBS_MAX);
  sums(rec, &frozen, &denied);
  uint64_t left = rec->deposit - rec->paid - frozen - denied;
  if (work->price > 0 && work->price <= left) return DEAI_OK;
  return ctx->fail(ctx, DEAI_EPAYMENT, "expected a price up to the %llu not paid yet, found %llu",
                   (unsigned long long)left, (unsigned long long)work->price);
}

static int32_t apply_object(deai_ledger_ctx *ctx, const void *body) {
  const deai_op_object *op = body;
  const deai_signed *packs = op->receipts.items;
  deai_receipt work, audit;
  deai_channel_rec rec;
  int32_t status = channel_get(ctx, op->ch, &rec);
  if (status == DEAI_OK) status = receipt_open(ctx, &packs[0], &work);
  if (status == DEAI_OK) status = receipt_open(ctx, &packs[1], &audit);
  if (status == DEAI_OK) status = object_parties(ctx, op, &rec, &work, &audit);
  if (status == DEAI_OK) status = object_money(ctx, &rec, &work);
  if (status != DEAI_OK) return status;
  deai_channel_job *jobs = ctx->take(ctx, (rec.jobs.count + 1) * sizeof *jobs);
  if (jobs == NULL) return ctx->fail(ctx, DEAI_ENOMEM, "no memory for an objection");
  if (rec.jobs.count > 0) memcpy(jobs, rec.jobs.items, (size_t)rec.jobs.count * sizeof *jobs);
  deai_channel_job *last = &jobs[rec.jobs.count];
  memset(last, 0, sizeof *last);
  memcpy(last->job, work.job, DEAI_ID_BYTES);
  last->price = work.price;
  last->due = ctx->time + VERDICT_HOLDS * hold_ms(ctx);
  rec.jobs = (deai_list){jobs, rec.jobs.count + 1};
  status = due_put(ctx, last->due, DUE_JOB, op->ch, last->job);
  return status == DEAI_OK ? channel_put(ctx, op->ch, &rec) : status;
}

static deai_channel_job *job_find(const deai_channel_rec *rec, const uint8_t job[DEAI_ID_BYTES]) {
  deai_channel_job *jobs = rec->jobs.items;
  for (uint64_t i = 0; i < rec->jobs.count; i++) {
    if (memcmp(jobs[i].job, job, DEAI_ID_BYTES) == 0 && jobs[i].state == DEAI_JOB_FROZEN)
      return &jobs[i];
  }
  return NULL;
}

static int32_t apply_verdict(deai_ledger_ctx *ctx, const void *body) {
  const deai_op_verdict *op = body;
  deai_channel_rec rec;
  deai_bytes root;
  int32_t status = ctx->query(ctx, deai_str_of("chain/1"), deai_str_of("chain"),
                              deai_bytes_of("root", 4), &root);
  if (status != DEAI_OK) return status;
  if (!deai_bytes_eq(root, deai_bytes_of(ctx->account, DEAI_ACCT_BYTES)))
    return ctx->fail(ctx, DEAI_EDENIED, "expected the root account, found another");
  status = channel_get(ctx, op->ch, &rec);
  if (status != DEAI_OK) return status;
  deai_channel_job *job = job_find(&rec, op->job);
  if (job == NULL)
    return ctx->fail(ctx, DEAI_ENOTFOUND, "expected a job under objection, found none");
  if (op->payee > job->price)
    return ctx->fail(ctx, DEAI_EINVAL, "expected at most the price %llu, found %llu",
                     (unsigned long long)job->price, (unsigned long long)op->payee);
  job->state = DEAI_JOB_DECIDED;
  job->payee = op->payee;
  return settle(ctx, op->ch, &rec);
}

static int32_t apply_close(deai_ledger_ctx *ctx, const void *body) {
  const deai_op_close *op = body;
  deai_channel_rec rec;
  int32_t status = channel_get(ctx, op->ch, &rec);
  if (status != DEAI_OK) return status;
  int32_t payer = memcmp(rec.payer, ctx->account, DEAI_ACCT_BYTES) == 0;
  int32_t payee = memcmp(rec.owner, ctx->account, DEAI_ACCT_BYTES) == 0;
  if (!payer && !payee)
    return ctx->fail(ctx, DEAI_EDENIED, "expected payer or payee of the channel, found another");
  uint64_t closing = payee ? ctx->time : ctx->time + rec.close_after;
  if (rec.closing != 0 && rec.closing <= closing)
    return ctx->fail(ctx, DEAI_EINVAL, "expected an open channel, found one that closes");
  rec.closing = closing;
  status = due_put(ctx, closing, DUE_CLOSE, op->ch, no_job);
  return status == DEAI_OK ? settle(ctx, op->ch, &rec) : status;
}

static const deai_op_row rows[] = {
    {"open", &deai_op_open_table, apply_open},
    {"topup", &deai_op_topup_table, apply_topup},
    {"claim", &deai_op_claim_table, apply_claim},
    {"object", &deai_op_object_table, apply_object},
    {"verdict", &deai_op_verdict_table, apply_verdict},
    {"close", &deai_op_close_table, apply_close},
    {NULL, NULL, NULL},
};

/* ---- what is due ---- */

static void mature(deai_channel_rec *rec, uint64_t now) {
  deai_channel_hold *holds = rec->holds.items;
  uint64_t left = 0;
  for (uint64_t i = 0; i < rec->holds.count; i++) {
    if (holds[i].due <= now) {
      rec->matured += holds[i].amount;
    } else {
      holds[left++] = holds[i];
    }
  }
  rec->holds.count = left;
}

static int32_t due_run(deai_ledger_ctx *ctx, const uint8_t key[DUE_KEY_BYTES]) {
  deai_channel_rec rec;
  const uint8_t *ch = key + 9;
  int32_t status = deai_rec_get(ctx, DEAI_CHANNEL_CHANNELS, deai_bytes_of(ch, DEAI_ID_BYTES),
                                &deai_channel_rec_table, &rec);
  if (status == DEAI_ENOTFOUND) return DEAI_OK; /* it ended before */
  if (status != DEAI_OK) return status;
  mature(&rec, ctx->time);
  if (key[8] == DUE_JOB) {
    deai_channel_job *job = job_find(&rec, ch + DEAI_ID_BYTES);
    if (job != NULL) {
      job->state = DEAI_JOB_DECIDED;
      job->payee = job->price;
    }
  }
  return settle(ctx, ch, &rec);
}

typedef struct due_list {
  uint64_t now;
  uint64_t next; /* of the first entry that is not due */
  uint32_t count;
  uint8_t keys[DUE_PER_BLOCK][DUE_KEY_BYTES];
} due_list;

static int32_t due_take(void *user, deai_bytes key, deai_bytes value) {
  due_list *list = user;
  (void)value;
  if (key.len != DUE_KEY_BYTES) return DEAI_EVERIFY;
  uint64_t time = get_be64(key.ptr);
  if (time > list->now || list->count == DUE_PER_BLOCK) {
    list->next = time;
    return DEAI_EAGAIN; /* the rest is later */
  }
  memcpy(list->keys[list->count++], key.ptr, DUE_KEY_BYTES);
  return DEAI_OK;
}

static int32_t channel_end_block(deai_ledger_ctx *ctx, uint64_t *due_out) {
  due_list *list = ctx->take(ctx, sizeof *list);
  if (list == NULL) return ctx->fail(ctx, DEAI_ENOMEM, "no memory for what is due");
  list->now = ctx->time;
  list->next = DEAI_LEDGER_NEVER;
  list->count = 0;
  int32_t status = ctx->iterate(ctx, DEAI_CHANNEL_DUE, deai_bytes_of(NULL, 0), due_take, list);
  if (status == DEAI_EAGAIN) status = DEAI_OK;
  for (uint32_t i = 0; i < list->count && status == DEAI_OK; i++) {
    status = ctx->del(ctx, DEAI_CHANNEL_DUE, deai_bytes_of(list->keys[i], DUE_KEY_BYTES));
    if (status == DEAI_OK) status = due_run(ctx, list->keys[i]);
  }
  *due_out = list->next;
  return status;
}

static int32_t channel_genesis(deai_ledger_ctx *ctx, const deai_genesis *genesis) {
  (void)ctx, (void)genesis;
  return DEAI_OK;
}

static int32_t channel_check(deai_ledger_ctx *ctx, deai_str type, deai_bytes body) {
  return deai_ops_check(ctx, rows, type, body);
}

static int32_t channel_apply(deai_ledger_ctx *ctx, deai_str type, deai_bytes body) {
  return deai_ops_apply(ctx, rows, type, body);
}

static const deai_ledger_table tables[] = {{"channels", 0, 0}, {"due", 1, 0}, {NULL, 0, 0}};

const deai_ledger_module deai_module_channel = {
    .size = sizeof(deai_ledger_module),
    .rules = 1,
    .id = "channel/1",
    .tables = tables,
    .genesis = channel_genesis,
    .check = channel_check,
    .apply = channel_apply,
    .end_block = channel_end_block,
};
