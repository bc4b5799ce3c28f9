#ifndef DEAI_PLUGINS_MODELS_ANSWER_AUDIT_H
#define DEAI_PLUGINS_MODELS_ANSWER_AUDIT_H

#include "inst.h"

#include "deai/contracts/lm.h"
#include "deai/contracts/rank.h"
#include "deai/contracts/wire.h"

/* An answer_audit has another provider replay a finished answer: all its tokens are forced, and the
   auditor says the root of what it computed and the first token that the sampler would not have
   chosen. It is not told the worker's root.

     start --who has the model?--> owners --draw--> `replay` --> `encode` --> `object` --> done
                                     ^                 |            |           |
                                     '--another one----'            |           '- unequal, and paid
                                        (busy, lost, refused)       '- another node encoded the
                                                                       prompt: ids compared as well

   Who      Drawn from the system's random numbers among the providers of the model, never the
            worker, and of another owner than the worker's when there is one.
   Result   equal; unequal: another root, a token that is not the sampler's, or other ids of the
            prompt; none: nobody could say, and why.
   Unequal  models/rank hears of it, and the node objects to the price on the ledger when the answer
            had one (both receipts go there).
   Each ends in one log line, one of the counters audits_equal, audits_unequal, audits_none (and
   audits_alone among these: no second provider), and one observation for models/rank.

   Threads  [loop]
   Memory   An audit copies what it needs and lives until its END, also when nobody waits.
   Limits   ANSWER_AUDITS_MAX at a time; beyond them an answer counts as not audited. */

/* What is known of a finished answer. */
typedef struct answer_fact {
  deai_bytes args;            /* of the replay: as it was asked, with forced = max = all tokens */
  deai_bytes body;            /* prompt ids, then output tokens */
  deai_bytes model;           /* CID */
  uint64_t prompt_ids;        /* of body */
  uint8_t id[DEAI_ID_BYTES];  /* job id of the answer's receipt */
  deai_lm_end end;            /* the worker's statement */
  deai_bytes receipt;         /* the worker's, signed; empty = none came */
  deai_rank_observe observed; /* node = the worker; audit is set here */
  deai_bytes encoder;         /* key of the node that encoded the prompt, or empty = no node did */
  deai_bytes encode_args;     /* what it was asked */
  deai_bytes encode_text;
} answer_fact;

/* A node that did not serve: DEAI_OK = it could have. */
typedef struct answer_other {
  uint8_t key[DEAI_KEY_BYTES];
  int32_t status;
  char why[DEAI_OTHER_WHY_MAX + 1];
} answer_other;

typedef enum answer_ids { ANSWER_IDS_NONE, ANSWER_IDS_EQUAL, ANSWER_IDS_UNEQUAL } answer_ids;

/* What came of an audit; what it points to lives until done returns. */
typedef struct answer_verdict {
  deai_rank_audit result;
  char why[160]; /* none: why; unequal: what differs */
  bool has_auditor;
  uint8_t auditor[DEAI_KEY_BYTES];
  bool other_owner; /* its owner is known to be another one than the worker's */
  bool root_differs;
  bool has_wrong;
  uint64_t wrong;     /* first token that is not the sampler's */
  answer_ids ids;     /* the prompt's, encoded again */
  char objection[96]; /* "" = none was made */
  deai_bytes receipt; /* the auditor's, signed, or empty */
  deai_bytes args;    /* of its replay */
  deai_bytes body;
  const answer_other *others; /* providers of the model that did not audit, without the worker */
  uint32_t other_count;
} answer_verdict;

typedef void answer_audited_fn(void *user, const answer_verdict *verdict);

/* answer_audit_drawn returns whether this answer is to be audited, by chance. */
bool answer_audit_drawn(const deai_inst *inst);

/* answer_audit_start begins; done (may be NULL) is called once, perhaps before start returns. */
void answer_audit_start(deai_inst *inst, const answer_fact *fact, answer_audited_fn *done,
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
