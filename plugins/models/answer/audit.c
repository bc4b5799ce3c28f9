#include "audit.h"

#include <stdlib.h>

#include "host/base/banned.h"

struct answer_audit {
  answer_audit *next;
  deai_inst *inst;
  deai_lm_end end; /* model lies in model */
  uint8_t model[DEAI_CID_MAX];
  uint8_t id[DEAI_ID_BYTES];
  deai_rank_observe observed;
  answer_audited_fn *done;
  void *user;
};

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

static void count_result(deai_inst *inst, deai_rank_audit result) {
  if (result == DEAI_RANK_EQUAL)
    answer_count(inst, "audits_equal", &inst->counts.audits_equal);
  else if (result == DEAI_RANK_UNEQUAL)
    answer_count(inst, "audits_unequal", &inst->counts.audits_unequal);
  else
    answer_count(inst, "audits_none", &inst->counts.audits_none);
}

static void log_none(deai_inst *inst, const uint8_t id[DEAI_ID_BYTES], const char *why) {
  deai_text(inst->host, inst->ctx, DEAI_LOG_INFO, "job %02x%02x%02x%02x: not audited: %s", id[0],
            id[1], id[2], id[3], why);
}

static void log_result(const answer_audit *audit, const deai_part *part, deai_rank_audit result) {
  const uint8_t *worker = audit->observed.node;
  const uint8_t *id = audit->id;
  uint8_t auditor[4] = {0};
  if (part->provider.len == DEAI_KEY_BYTES) memcpy(auditor, part->provider.ptr, sizeof auditor);
  deai_text(audit->inst->host, audit->inst->ctx,
            result == DEAI_RANK_EQUAL ? DEAI_LOG_INFO : DEAI_LOG_WARN,
            "job %02x%02x%02x%02x: audit %s: worker %02x%02x%02x%02x, auditor %02x%02x%02x%02x",
            id[0], id[1], id[2], id[3], answer_audit_name(result), worker[0], worker[1], worker[2],
            worker[3], auditor[0], auditor[1], auditor[2], auditor[3]);
}

/* judge compares the auditor's END with the worker's; *why_out says why there is no result. */
static deai_rank_audit judge(const answer_audit *audit, const deai_part *part,
                             const char **why_out) {
  deai_lm_end theirs;
  deai_arena arena = answer_arena(audit->inst);
  if (part->status == DEAI_ENOPROVIDER) {
    *why_out = "no second provider";
    return DEAI_RANK_NONE;
  }
  if (part->status != DEAI_OK) {
    *why_out = deai_status_text(part->status);
    return DEAI_RANK_NONE;
  }
  if (deai_decode(&deai_lm_end_table, part->args, &theirs, &arena, NULL, 0) != DEAI_OK) {
    *why_out = "the auditor's answer has no form";
    return DEAI_RANK_NONE;
  }
  if (theirs.rules != audit->end.rules) {
    *why_out = "the auditor has other rules of arithmetic";
    return DEAI_RANK_NONE;
  }
  bool equal = (theirs.has & DEAI_LM_END_HAS_WRONG) == 0 && theirs.n == audit->end.n &&
               deai_bytes_eq(theirs.model, audit->end.model) != 0 &&
               memcmp(theirs.root, audit->end.root, DEAI_HASH_BYTES) == 0;
  return equal ? DEAI_RANK_EQUAL : DEAI_RANK_UNEQUAL;
}

static void unlink_audit(answer_audit *gone) {
  answer_audit **at = &gone->inst->audits;
  while (*at != gone)
    at = &(*at)->next;
  *at = gone->next;
}

static int32_t on_part(void *user, const deai_part *part) {
  answer_audit *audit = user;
  deai_inst *inst = audit->inst;
  const char *why = NULL;
  if ((part->flags & DEAI_PART_END) == 0) return DEAI_OK;
  deai_rank_audit result = judge(audit, part, &why);
  if (result == DEAI_RANK_NONE)
    log_none(inst, audit->id, why);
  else
    log_result(audit, part, result);
  count_result(inst, result);
  observe(inst, &audit->observed, result);
  unlink_audit(audit);
  if (audit->done != NULL) audit->done(audit->user, result);
  free(audit);
  return DEAI_OK;
}

static uint32_t audits_open(const deai_inst *inst) {
  uint32_t count = 0;
  for (const answer_audit *at = inst->audits; at != NULL; at = at->next)
    count++;
  return count;
}

static bool refuse(deai_inst *inst, const answer_fact *fact, const char *why) {
  log_none(inst, fact->id, why);
  count_result(inst, DEAI_RANK_NONE);
  observe(inst, &fact->observed, DEAI_RANK_NONE);
  return false;
}

bool answer_audit_start(deai_inst *inst, const answer_fact *fact, answer_audited_fn *done,
                        void *user) {
  uint64_t ticket = DEAI_NO_TICKET;
  if (audits_open(inst) >= ANSWER_AUDITS_MAX) return refuse(inst, fact, "too many audits wait");
  answer_audit *audit = calloc(1, sizeof *audit);
  if (audit == NULL) return refuse(inst, fact, "not enough memory");
  audit->inst = inst;
  audit->end = fact->end;
  memcpy(audit->model, fact->end.model.ptr, (size_t)fact->end.model.len);
  audit->end.model = deai_bytes_of(audit->model, fact->end.model.len);
  memcpy(audit->id, fact->id, DEAI_ID_BYTES);
  audit->observed = fact->observed;
  audit->done = done;
  audit->user = user;
  deai_bytes worker = deai_bytes_of(audit->observed.node, DEAI_KEY_BYTES);
  answer_ask ask = {.parent = DEAI_NO_TICKET, /* it goes on when the client is gone */
                    .model = fact->job.model,
                    .job = deai_bytes_of(fact->id, DEAI_ID_BYTES),
                    .avoid = &worker,
                    .avoid_count = 1,
                    .part = on_part,
                    .user = audit};
  int32_t status = answer_ask_tokens(inst, &ask, "replay", &fact->job, fact->body, &ticket);
  if (status != DEAI_OK) {
    free(audit);
    return refuse(inst, fact, deai_status_text(status));
  }
  audit->next = inst->audits;
  inst->audits = audit;
  return true;
}

void answer_audit_forget(deai_inst *inst, const void *user) {
  for (answer_audit *at = inst->audits; at != NULL; at = at->next)
    if (at->user == user) at->done = NULL;
}

void answer_audits_free(deai_inst *inst) {
  while (inst->audits != NULL) {
    answer_audit *audit = inst->audits;
    inst->audits = audit->next;
    free(audit);
  }
}
