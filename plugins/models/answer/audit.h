#ifndef DEAI_PLUGINS_MODELS_ANSWER_AUDIT_H
#define DEAI_PLUGINS_MODELS_ANSWER_AUDIT_H

#include "inst.h"

#include "deai/contracts/lm.h"
#include "deai/contracts/rank.h"

/* An answer_audit has another provider replay a finished answer: all its tokens are forced, and the
   auditor says the root of what it computed and the first token that the sampler would not have
   chosen. It is not told the worker's root.

     start --`replay`, never at the worker--> END --same root, none wrong--> equal | unequal
                                               '--nobody else, busy, lost--> none, and why

   Each ends in one log line, one of the counters audits_equal, audits_unequal, audits_none, and one
   observation for models/rank.

   Threads  [loop]
   Memory   An audit copies what it needs and lives until its END, also when nobody waits.
   Limits   ANSWER_AUDITS_MAX at a time; beyond them an answer counts as not audited. */

/* What is known of a finished answer. */
typedef struct answer_fact {
  deai_lm_job job;            /* as it was asked, with forced = max = all tokens */
  deai_bytes body;            /* prompt ids, then output tokens */
  uint8_t id[DEAI_ID_BYTES];  /* job id of the answer's receipt */
  deai_lm_end end;            /* the worker's statement */
  deai_rank_observe observed; /* node = the worker; audit is set here */
} answer_fact;

typedef void answer_audited_fn(void *user, deai_rank_audit result);

/* answer_audit_drawn returns whether this answer is to be audited, by chance. */
bool answer_audit_drawn(const deai_inst *inst);

/* answer_audit_start begins; done (may be NULL) is called once, later. False when it could not
   begin: then it is counted as none, and done is not called. */
bool answer_audit_start(deai_inst *inst, const answer_fact *fact, answer_audited_fn *done,
                        void *user);

/* answer_audit_skip reports the observation of an answer that is not audited. */
void answer_audit_skip(deai_inst *inst, const deai_rank_observe *observed);

/* answer_audit_forget says that user waits no longer; the audit goes on. */
void answer_audit_forget(deai_inst *inst, const void *user);

/* answer_audit_name returns "none", "equal" or "unequal". */
const char *answer_audit_name(deai_rank_audit result);

/* answer_audits_free frees all audits: the plug-in stops. */
void answer_audits_free(deai_inst *inst);

#endif
