#ifndef DEAI_PLUGINS_MODELS_ANSWER_CALL_H
#define DEAI_PLUGINS_MODELS_ANSWER_CALL_H

#include "text.h"

#include "deai/contracts/lm.h"
#include "deai/plugin.h"
#include "plugins/compute/lm/tokenizer.h"

/* Calls that models/answer makes, and who gets their parts. A link ties the ticket of a call to a
   function and its user until the END.

   Threads  [loop]
   Memory   A link is freed with its END. user must live until then, or call answer_call_forget.
   Caveats  A function that answers DEAI_EAGAIN gets the part again. */

#define ANSWER_CALL_MS   3600000u /* longest answer; the HTTP request's own limit is smaller */
#define ANSWER_ENCODE_MS 60000u
#define ANSWER_LIST_MS   2000u
#define ANSWER_OBJECT_MS 30000u

typedef struct answer_link answer_link;
typedef int32_t answer_part_fn(void *user, const deai_part *part);

/* What all questions have in common. */
typedef struct answer_ask {
  uint64_t parent;         /* ticket served, or DEAI_NO_TICKET */
  deai_bytes model;        /* CID */
  deai_bytes provider;     /* key of the only node that may answer, or empty */
  deai_bytes job;          /* 16 bytes, or empty */
  const deai_bytes *avoid; /* node keys */
  uint32_t avoid_count;
  uint32_t flags;       /* DEAI_CALL_... */
  answer_part_fn *part; /* NULL = nobody reads the answer */
  void *user;
} answer_ask;

/* answer_random fills len bytes from the system; DEAI_EIO. */
DEAI_MUST_CHECK int32_t answer_random(void *out, size_t len);

/* answer_ask_models asks for `deai.lm/1 models`. What host->call refuses is returned. */
DEAI_MUST_CHECK int32_t answer_ask_models(deai_inst *inst, const answer_ask *ask,
                                          uint64_t *ticket_out);

/* answer_args_encode writes the arguments of `encode` for parts of model. What cannot be written is
   logged, and status of args_out says why. */
void answer_args_encode(deai_inst *inst, deai_bytes model, const lm_part *parts, size_t part_count,
                        answer_text *args_out);

/* answer_args_tokens writes the arguments of `generate` or `replay`. */
void answer_args_tokens(deai_inst *inst, const deai_lm_job *job, answer_text *args_out);

/* answer_ask_encode asks for the ids of the texts that args (answer_args_encode) cuts text into. */
DEAI_MUST_CHECK int32_t answer_ask_encode(deai_inst *inst, const answer_ask *ask, deai_bytes args,
                                          deai_bytes text, uint64_t *ticket_out);

/* answer_ask_tokens calls method ("generate" or "replay") with args (answer_args_tokens); body =
   its ids and forced tokens. */
DEAI_MUST_CHECK int32_t answer_ask_tokens(deai_inst *inst, const answer_ask *ask,
                                          const char *method, deai_bytes args, deai_bytes body,
                                          uint64_t *ticket_out);

/* answer_ask_member reads the ledger's record of the member with this node key. */
DEAI_MUST_CHECK int32_t answer_ask_member(deai_inst *inst, const answer_ask *ask,
                                          const uint8_t key[DEAI_KEY_BYTES], uint64_t *ticket_out);

/* answer_ask_object has the node object to the price of a job on the ledger, with the receipts
   (signed<receipt>) of worker and auditor. */
DEAI_MUST_CHECK int32_t answer_ask_object(deai_inst *inst, const answer_ask *ask, deai_bytes worker,
                                          deai_bytes auditor, uint64_t *ticket_out);

/* answer_ask_rank sends `deai.rank/1 observe`; the answer is of no interest. */
void answer_ask_rank(deai_inst *inst, deai_bytes args);

/* answer_call_part gives a part to whom its ticket belongs. */
int32_t answer_call_part(deai_inst *inst, uint64_t ticket, const deai_part *part);

/* answer_call_forget cancels the call: no part of it is given out any more. */
void answer_call_forget(deai_inst *inst, uint64_t ticket);

/* answer_calls_free forgets all calls without cancelling them: the plug-in stops. */
void answer_calls_free(deai_inst *inst);

#endif
