#include "audit.h"

#include "deai/cbor.h"
#include "deai/contracts/ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

/* A node that could audit. */
typedef struct candidate {
  uint8_t key[DEAI_KEY_BYTES];
  uint8_t owner[DEAI_ACCT_BYTES];
  bool has_owner;
} candidate;

struct answer_audit {
  answer_audit *next;
  deai_inst *inst;
  uint64_t ticket; /* of the call under way, or DEAI_NO_TICKET */
  answer_text args;
  answer_text body;
  answer_text receipt; /* the worker's */
  answer_text auditor_receipt;
  answer_text encode_args;
  answer_text encode_text;
  answer_text encoded; /* what came so far */
  uint8_t encoder[DEAI_KEY_BYTES];
  bool has_encoder;
  uint64_t prompt_ids;
  deai_lm_end end; /* model lies in model */
  uint8_t model[DEAI_CID_MAX];
  uint8_t id[DEAI_ID_BYTES];
  deai_rank_observe observed;
  candidate worker;
  candidate list[ANSWER_MEMBERS_MAX]; /* who has the model, without the worker */
  uint32_t count;
  uint32_t owners_known;                   /* the worker's, then list[i - 1]'s */
  uint32_t at;                             /* list[at] audits */
  uint32_t asked;                          /* how many were asked */
  answer_other others[ANSWER_MEMBERS_MAX]; /* who did not audit: given_up first */
  uint32_t other_count;
  answer_verdict verdict;
  answer_audited_fn *done;
  void *user;
};

static void ask_owner(answer_audit *audit);
static void replay(answer_audit *audit);
static void encode(answer_audit *audit);
static void object(answer_audit *audit);

const char *answer_audit_name(deai_rank_audit result) {
  static const char *const names[] = {"none", "equal", "unequal"};
  return names[result];
}

bool answer_audit_drawn(const deai_inst *inst) {
  uint64_t drawn = 0;
  if (inst->audit == 0 || inst->local_only) return false;
  if (answer_random(&drawn, sizeof drawn) != DEAI_OK) return true;
  return drawn % 1000000 < inst->audit; /* the bias of the remainder is below 2^-44 */
}

static void observe(deai_inst *inst, const deai_rank_observe *given, deai_rank_audit result) {
  uint8_t room[512];
  char err[DEAI_ERR_CAP] = "";
  deai_rank_observe observed = *given;
  observed.audit = (uint32_t)result;
  observed.service = deai_str_of(DEAI_LM_SERVICE);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  int32_t status = deai_encode(&deai_rank_observe_table, &observed, &writer, err, sizeof err);
  if (status == DEAI_OK)
    answer_ask_rank(inst, deai_bytes_of(room, writer.len));
  else
    deai_text(inst->host, inst->ctx, DEAI_LOG_WARN, "an observation was not sent: %s", err);
}

void answer_audit_skip(deai_inst *inst, const deai_rank_observe *observed) {
  observe(inst, observed, DEAI_RANK_NONE);
}

/* ---- the end ---- */

static void count_result(deai_inst *inst, deai_rank_audit result) {
  if (result == DEAI_RANK_EQUAL)
    answer_count(inst, "audits_equal", &inst->counts.audits_equal);
  else if (result == DEAI_RANK_UNEQUAL)
    answer_count(inst, "audits_unequal", &inst->counts.audits_unequal);
  else
    answer_count(inst, "audits_none", &inst->counts.audits_none);
}

static void log_result(deai_inst *inst, const uint8_t id[DEAI_ID_BYTES], const uint8_t *worker,
                       const answer_verdict *verdict) {
  const uint8_t *auditor = verdict->auditor;
  if (verdict->result == DEAI_RANK_NONE)
    deai_text(inst->host, inst->ctx, DEAI_LOG_INFO, "job %02x%02x%02x%02x: not audited: %s", id[0],
              id[1], id[2], id[3], verdict->why);
  else
    deai_text(inst->host, inst->ctx,
              verdict->result == DEAI_RANK_EQUAL ? DEAI_LOG_INFO : DEAI_LOG_WARN,
              "job %02x%02x%02x%02x: audit %s: worker %02x%02x%02x%02x, auditor "
              "%02x%02x%02x%02x%s%s%s%s",
              id[0], id[1], id[2], id[3], answer_audit_name(verdict->result), worker[0], worker[1],
              worker[2], worker[3], auditor[0], auditor[1], auditor[2], auditor[3],
              verdict->why[0] != 0 ? ": " : "", verdict->why,
              verdict->objection[0] != 0 ? "; objection: " : "", verdict->objection);
}

static void audit_free(answer_audit *audit) {
  answer_text_free(&audit->args);
  answer_text_free(&audit->body);
  answer_text_free(&audit->receipt);
  answer_text_free(&audit->auditor_receipt);
  answer_text_free(&audit->encode_args);
  answer_text_free(&audit->encode_text);
  answer_text_free(&audit->encoded);
  free(audit);
}

static void unlink_audit(answer_audit *gone) {
  answer_audit **at = &gone->inst->audits;
  while (*at != gone)
    at = &(*at)->next;
  *at = gone->next;
}

/* observe_all tells models/rank of the worker, and of an encoder whose ids differ. */
static void observe_all(const answer_audit *audit) {
  const answer_verdict *verdict = &audit->verdict;
  bool answer_bad = verdict->root_differs || verdict->has_wrong;
  deai_rank_audit result = verdict->result;
  if (result == DEAI_RANK_UNEQUAL && !answer_bad) result = DEAI_RANK_EQUAL;
  observe(audit->inst, &audit->observed, result);
  if (verdict->ids != ANSWER_IDS_UNEQUAL) return;
  deai_rank_observe encoder = {.ok = false};
  memcpy(encoder.node, audit->encoder, DEAI_KEY_BYTES);
  observe(audit->inst, &encoder, DEAI_RANK_UNEQUAL);
}

static bool stranger(const answer_audit *audit, const candidate *who) {
  return who->has_owner && audit->worker.has_owner &&
         memcmp(who->owner, audit->worker.owner, DEAI_ACCT_BYTES) != 0;
}

static void other_add(answer_audit *audit, const uint8_t key[DEAI_KEY_BYTES], int32_t status,
                      const char *why) {
  if (audit->other_count == ANSWER_MEMBERS_MAX) return;
  answer_other *row = &audit->others[audit->other_count++];
  memcpy(row->key, key, DEAI_KEY_BYTES);
  row->status = status;
  (void)snprintf(row->why, sizeof row->why, "%s", why);
}

/* others_add notes the providers that were not asked, and why. */
static void others_add(answer_audit *audit) {
  const answer_verdict *v = &audit->verdict;
  for (uint32_t i = 0; i < audit->count; i++) {
    const candidate *who = &audit->list[i];
    if (v->has_auditor && memcmp(who->key, v->auditor, DEAI_KEY_BYTES) == 0) continue;
    if (!v->other_owner || stranger(audit, who))
      other_add(audit, who->key, DEAI_OK, "not drawn");
    else if (who->has_owner && audit->worker.has_owner)
      other_add(audit, who->key, DEAI_EDENIED, "has the owner of the worker");
    else
      other_add(audit, who->key, DEAI_EDENIED, "its owner or the worker's is not known");
  }
}

static void finish(answer_audit *audit) {
  deai_inst *inst = audit->inst;
  answer_verdict *verdict = &audit->verdict;
  log_result(inst, audit->id, audit->worker.key, verdict);
  count_result(inst, verdict->result);
  observe_all(audit);
  unlink_audit(audit);
  verdict->args = answer_text_bytes(&audit->args);
  verdict->body = answer_text_bytes(&audit->body);
  verdict->receipt = answer_text_bytes(&audit->auditor_receipt);
  others_add(audit);
  verdict->others = audit->others;
  verdict->other_count = audit->other_count;
  if (audit->done != NULL) audit->done(audit->user, verdict);
  audit_free(audit);
}

static void finish_none(answer_audit *audit, const char *why) {
  (void)snprintf(audit->verdict.why, sizeof audit->verdict.why, "%s", why);
  audit->verdict.result = DEAI_RANK_NONE;
  audit->verdict.has_auditor = false;
  finish(audit);
}

/* ---- object ---- */

/* finish_judged sums up what differs. */
static void finish_judged(answer_audit *audit) {
  answer_verdict *v = &audit->verdict;
  char token[64] = "";
  if (v->has_wrong)
    (void)snprintf(token, sizeof token, "token %" PRIu64 " is not the sampler's", v->wrong);
  (void)snprintf(v->why, sizeof v->why, "%s%s%s%s%s", v->root_differs ? "the roots differ" : "",
                 v->root_differs && v->has_wrong ? ", " : "", token,
                 v->ids == ANSWER_IDS_UNEQUAL && (v->root_differs || v->has_wrong) ? ", " : "",
                 v->ids == ANSWER_IDS_UNEQUAL ? "the ids of the prompt differ" : "");
  finish(audit);
}

static int32_t on_object(void *user, const deai_part *part) {
  answer_audit *audit = user;
  char *text = audit->verdict.objection;
  size_t cap = sizeof audit->verdict.objection;
  deai_ledger_submit_end end;
  if ((part->flags & DEAI_PART_END) == 0) return DEAI_OK;
  audit->ticket = DEAI_NO_TICKET;
  if (part->status == DEAI_OK &&
      deai_decode(&deai_ledger_submit_end_table, part->args, &end, NULL, NULL, 0) == DEAI_OK) {
    answer_count(audit->inst, "audits_objected", &audit->inst->counts.audits_objected);
    (void)snprintf(text, cap, "on the ledger, block %" PRIu64, end.h);
  } else {
    (void)snprintf(text, cap, "refused: %.*s", (int)(part->why.len < 80 ? part->why.len : 80),
                   part->why.len > 0 ? part->why.ptr : "");
  }
  finish_judged(audit);
  return DEAI_OK;
}

/* priced returns whether there is a price to object to. */
static bool priced(const answer_audit *audit) {
  deai_signed pack;
  deai_receipt receipt;
  return audit->receipt.len > 0 && audit->auditor_receipt.len > 0 &&
         deai_decode(&deai_signed_table, answer_text_bytes(&audit->receipt), &pack, NULL, NULL,
                     0) == DEAI_OK &&
         deai_decode(&deai_receipt_table, pack.body, &receipt, NULL, NULL, 0) == DEAI_OK &&
         (receipt.has & DEAI_RECEIPT_HAS_CH) != 0 && receipt.price > 0;
}

static void object(answer_audit *audit) {
  answer_verdict *v = &audit->verdict;
  if ((!v->root_differs && !v->has_wrong) || !priced(audit)) {
    finish_judged(audit);
    return;
  }
  answer_ask ask = {.parent = DEAI_NO_TICKET, .part = on_object, .user = audit};
  int32_t status = answer_ask_object(audit->inst, &ask, answer_text_bytes(&audit->receipt),
                                     answer_text_bytes(&audit->auditor_receipt), &audit->ticket);
  if (status == DEAI_OK) return;
  (void)snprintf(v->objection, sizeof v->objection, "not made: %s", deai_status_text(status));
  finish_judged(audit);
}

/* ---- encode ---- */

static int32_t on_encode(void *user, const deai_part *part) {
  answer_audit *audit = user;
  answer_verdict *v = &audit->verdict;
  uint64_t want = audit->prompt_ids * sizeof(uint32_t);
  if (audit->encoded.len <= want)
    answer_text_put(&audit->encoded, part->body.ptr, (size_t)part->body.len);
  if ((part->flags & DEAI_PART_END) == 0) return DEAI_OK;
  audit->ticket = DEAI_NO_TICKET;
  if (part->status == DEAI_OK && audit->encoded.status == DEAI_OK) {
    bool equal = audit->encoded.len == want &&
                 memcmp(audit->encoded.ptr, audit->body.ptr, (size_t)want) == 0;
    v->ids = equal ? ANSWER_IDS_EQUAL : ANSWER_IDS_UNEQUAL;
    if (!equal) v->result = DEAI_RANK_UNEQUAL;
  }
  object(audit);
  return DEAI_OK;
}

/* encode has a node other than the prompt's encoder encode it again: the auditor, or the worker
   when the auditor was the encoder. */
static void encode(answer_audit *audit) {
  const uint8_t *by = audit->verdict.auditor;
  if (!audit->has_encoder) {
    object(audit);
    return;
  }
  if (memcmp(by, audit->encoder, DEAI_KEY_BYTES) == 0) by = audit->worker.key;
  answer_ask ask = {.parent = DEAI_NO_TICKET,
                    .model = audit->end.model,
                    .provider = deai_bytes_of(by, DEAI_KEY_BYTES),
                    .part = on_encode,
                    .user = audit};
  if (answer_ask_encode(audit->inst, &ask, answer_text_bytes(&audit->encode_args),
                        answer_text_bytes(&audit->encode_text), &audit->ticket) != DEAI_OK)
    object(audit);
}

/* ---- replay ---- */

/* judge compares the auditor's END with the worker's; an error: it cannot be compared, and why. */
static int32_t judge(answer_audit *audit, const deai_part *part, const char **why_out) {
  deai_lm_end theirs;
  deai_arena arena = answer_arena(audit->inst);
  answer_verdict *v = &audit->verdict;
  *why_out = deai_status_text(part->status);
  if (part->status != DEAI_OK) return part->status;
  *why_out = "the auditor's answer has no form";
  if (deai_decode(&deai_lm_end_table, part->args, &theirs, &arena, NULL, 0) != DEAI_OK ||
      theirs.n != audit->end.n || deai_bytes_eq(theirs.model, audit->end.model) == 0)
    return DEAI_EVERIFY;
  *why_out = "the auditor has other rules of arithmetic";
  if (theirs.rules != audit->end.rules) return DEAI_EVERSION;
  v->root_differs = memcmp(theirs.root, audit->end.root, DEAI_HASH_BYTES) != 0;
  v->has_wrong = (theirs.has & DEAI_LM_END_HAS_WRONG) != 0;
  v->wrong = theirs.wrong;
  v->result = v->root_differs || v->has_wrong ? DEAI_RANK_UNEQUAL : DEAI_RANK_EQUAL;
  return DEAI_OK;
}

/* give_up takes the auditor off the list and draws another one. */
static void give_up(answer_audit *audit, int32_t status, const char *why) {
  other_add(audit, audit->list[audit->at].key, status, why);
  (void)snprintf(audit->verdict.why, sizeof audit->verdict.why, "%s", why);
  audit->list[audit->at] = audit->list[--audit->count];
  replay(audit);
}

static int32_t on_replay(void *user, const deai_part *part) {
  answer_audit *audit = user;
  const char *why = NULL;
  if ((part->flags & DEAI_PART_END) == 0) return DEAI_OK;
  audit->ticket = DEAI_NO_TICKET;
  int32_t status = judge(audit, part, &why);
  if (status != DEAI_OK) {
    give_up(audit, status, why);
    return DEAI_OK;
  }
  answer_text_put(&audit->auditor_receipt, part->receipt.ptr, (size_t)part->receipt.len);
  encode(audit);
  return DEAI_OK;
}

/* draw picks the auditor: one of another owner if there is one. DEAI_ENOPROVIDER, DEAI_EIO. */
static int32_t draw(answer_audit *audit) {
  uint32_t pool[ANSWER_MEMBERS_MAX];
  uint32_t count = 0;
  uint64_t drawn = 0;
  for (uint32_t i = 0; i < audit->count; i++)
    if (stranger(audit, &audit->list[i])) pool[count++] = i;
  audit->verdict.other_owner = count > 0;
  for (uint32_t i = 0; i < audit->count && !audit->verdict.other_owner; i++)
    pool[count++] = i;
  if (count == 0) return DEAI_ENOPROVIDER;
  int32_t status = answer_random(&drawn, sizeof drawn);
  if (status == DEAI_OK) audit->at = pool[drawn % count]; /* the bias is below 2^-59 */
  return status;
}

/* replay draws an auditor and asks it. */
static void replay(answer_audit *audit) {
  answer_verdict *v = &audit->verdict;
  int32_t status = draw(audit);
  if (status == DEAI_ENOPROVIDER && audit->asked == 0) {
    answer_count(audit->inst, "audits_alone", &audit->inst->counts.audits_alone);
    finish_none(audit, "no second provider");
    return;
  }
  if (status != DEAI_OK) {
    char why[sizeof v->why];
    (void)snprintf(why, sizeof why, "%u asked, the last one: %.120s", audit->asked,
                   status == DEAI_ENOPROVIDER ? v->why : deai_status_text(status));
    finish_none(audit, why);
    return;
  }
  audit->asked++;
  v->has_auditor = true;
  memcpy(v->auditor, audit->list[audit->at].key, DEAI_KEY_BYTES);
  answer_ask ask = {.parent = DEAI_NO_TICKET, /* it goes on when the client is gone */
                    .model = audit->end.model,
                    .job = deai_bytes_of(audit->id, DEAI_ID_BYTES),
                    .provider = deai_bytes_of(v->auditor, DEAI_KEY_BYTES),
                    .part = on_replay,
                    .user = audit};
  status = answer_ask_tokens(audit->inst, &ask, "replay", answer_text_bytes(&audit->args),
                             answer_text_bytes(&audit->body), &audit->ticket);
  if (status != DEAI_OK) give_up(audit, status, deai_status_text(status));
}

/* ---- who ---- */

/* take_owner reads `owner` of a member's record. */
static void take_owner(candidate *who, deai_bytes record) {
  deai_cbor_reader reader = deai_cbor_reader_of(record);
  deai_cbor_item item;
  if (deai_cbor_next(&reader, &item) != DEAI_OK || item.kind != DEAI_CBOR_MAP) return;
  for (uint64_t i = 0; i < item.number; i++) {
    deai_cbor_item name;
    deai_cbor_item value;
    if (deai_cbor_next(&reader, &name) != DEAI_OK) return;
    deai_str text = {(const char *)name.span.ptr, name.span.len};
    if (deai_str_eq(text, deai_str_of("owner")) == 0) {
      if (deai_cbor_skip(&reader, NULL) != DEAI_OK) return;
      continue;
    }
    if (deai_cbor_next(&reader, &value) != DEAI_OK || value.kind != DEAI_CBOR_BYTES ||
        value.span.len != DEAI_ACCT_BYTES)
      return;
    memcpy(who->owner, value.span.ptr, DEAI_ACCT_BYTES);
    who->has_owner = true;
    return;
  }
}

static candidate *owner_of(answer_audit *audit) {
  return audit->owners_known == 0 ? &audit->worker : &audit->list[audit->owners_known - 1];
}

static int32_t on_owner(void *user, const deai_part *part) {
  answer_audit *audit = user;
  deai_ledger_query_end end;
  if ((part->flags & DEAI_PART_END) == 0) return DEAI_OK;
  audit->ticket = DEAI_NO_TICKET;
  if (part->status == DEAI_OK &&
      deai_decode(&deai_ledger_query_end_table, part->args, &end, NULL, NULL, 0) == DEAI_OK &&
      (end.has & DEAI_LEDGER_QUERY_END_HAS_VALUE) != 0)
    take_owner(owner_of(audit), end.value);
  audit->owners_known++;
  ask_owner(audit);
  return DEAI_OK;
}

/* ask_owner asks the ledger for the next owner; when all were asked the auditor is drawn. */
static void ask_owner(answer_audit *audit) {
  answer_ask ask = {.parent = DEAI_NO_TICKET, .part = on_owner, .user = audit};
  for (; audit->count > 0 && audit->owners_known <= audit->count; audit->owners_known++)
    if (answer_ask_member(audit->inst, &ask, owner_of(audit)->key, &audit->ticket) == DEAI_OK)
      return;
  replay(audit);
}

static bool on_models(void *user, bool complete) {
  answer_audit *audit = user;
  uint8_t keys[ANSWER_MEMBERS_MAX][DEAI_KEY_BYTES];
  if (!complete) return false;
  uint32_t count = answer_models_providers(audit->inst, audit->end.model, keys);
  for (uint32_t i = 0; i < count; i++)
    if (memcmp(keys[i], audit->worker.key, DEAI_KEY_BYTES) != 0)
      memcpy(audit->list[audit->count++].key, keys[i], DEAI_KEY_BYTES);
  if (audit->has_encoder && answer_models_here(audit->inst, audit->encoder))
    audit->has_encoder = false; /* this node encodes for itself */
  ask_owner(audit);
  return true;
}

/* ---- life ---- */

static uint32_t audits_open(const deai_inst *inst) {
  uint32_t count = 0;
  for (const answer_audit *at = inst->audits; at != NULL; at = at->next)
    count++;
  return count;
}

static void refuse(deai_inst *inst, const answer_fact *fact, const char *why,
                   answer_audited_fn *done, void *user) {
  answer_verdict verdict = {.result = DEAI_RANK_NONE};
  (void)snprintf(verdict.why, sizeof verdict.why, "%s", why);
  log_result(inst, fact->id, fact->observed.node, &verdict);
  count_result(inst, DEAI_RANK_NONE);
  observe(inst, &fact->observed, DEAI_RANK_NONE);
  if (done != NULL) done(user, &verdict);
}

static void put(answer_text *text, deai_bytes bytes) {
  answer_text_put(text, bytes.ptr, (size_t)bytes.len);
}

static int32_t fill(answer_audit *audit, const answer_fact *fact) {
  put(&audit->args, fact->args);
  put(&audit->body, fact->body);
  put(&audit->receipt, fact->receipt);
  put(&audit->encode_args, fact->encode_args);
  put(&audit->encode_text, fact->encode_text);
  audit->has_encoder = fact->encoder.len == DEAI_KEY_BYTES && fact->encode_args.len > 0;
  if (audit->has_encoder) memcpy(audit->encoder, fact->encoder.ptr, DEAI_KEY_BYTES);
  audit->prompt_ids = fact->prompt_ids;
  audit->end = fact->end;
  memcpy(audit->model, fact->end.model.ptr, (size_t)fact->end.model.len);
  audit->end.model = deai_bytes_of(audit->model, fact->end.model.len);
  memcpy(audit->id, fact->id, DEAI_ID_BYTES);
  audit->observed = fact->observed;
  memcpy(audit->worker.key, fact->observed.node, DEAI_KEY_BYTES);
  const answer_text *texts[] = {&audit->args, &audit->body, &audit->receipt, &audit->encode_args,
                                &audit->encode_text};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
    if (texts[i]->status != DEAI_OK) return texts[i]->status;
  return fact->args.len == 0 ? DEAI_ENOMEM : DEAI_OK;
}

void answer_audit_start(deai_inst *inst, const answer_fact *fact, answer_audited_fn *done,
                        void *user) {
  if (audits_open(inst) >= ANSWER_AUDITS_MAX) {
    refuse(inst, fact, "too many audits wait", done, user);
    return;
  }
  answer_audit *audit = calloc(1, sizeof *audit);
  int32_t status = audit == NULL ? DEAI_ENOMEM : fill(audit, fact);
  if (status != DEAI_OK) {
    if (audit != NULL) audit_free(audit);
    refuse(inst, fact, deai_status_text(status), done, user);
    return;
  }
  audit->inst = inst;
  audit->done = done;
  audit->user = user;
  audit->next = inst->audits;
  inst->audits = audit;
  if (answer_models_get(inst, on_models, audit) != DEAI_OK) finish_none(audit, "not enough memory");
}

void answer_audit_forget(deai_inst *inst, const void *user) {
  for (answer_audit *at = inst->audits; at != NULL; at = at->next)
    if (at->user == user) at->done = NULL;
}

void answer_audits_free(deai_inst *inst) {
  while (inst->audits != NULL) {
    answer_audit *audit = inst->audits;
    inst->audits = audit->next;
    answer_models_forget(inst, audit);
    audit_free(audit);
  }
}
