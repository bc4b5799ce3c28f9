#ifndef DEAI_PLUGINS_MODELS_ANSWER_EXPLAIN_H
#define DEAI_PLUGINS_MODELS_ANSWER_EXPLAIN_H

#include "audit.h"
#include "text.h"

/* What a client that asks for it (request header `x-deai-explain: 1`, streams only) is told behind
   each choice: a comment line `: explain {...}` of JSON.

     nodes      keys in hex of all that gave something, the last one ended the answer
     why        why the last one was chosen
     others     the other nodes of the network, [{node, status, why}]: status OK = it comes behind,
                else it was refused or cannot serve; left out when nothing is known of any
     first_ms   from the call to its first part
     audit      {result, why, by, other_owner, root, wrong, ids, objection, others}; members that
                are not known are left out; others = who has the model and did not audit
     file       the job file of the answer (docs/formats.md 7), base64url; none without a receipt
     audit_file the same of the auditor's replay

   Threads  [any] */

typedef struct answer_explained {
  deai_bytes nodes; /* keys, one after the other */
  const char *why;
  const answer_other *others;
  uint64_t other_count;
  uint64_t first_ms;
  const answer_verdict *verdict;
  deai_bytes file; /* base64url, or empty */
  deai_bytes audit_file;
} answer_explained;

/* answer_others_read appends what an END says of other nodes (deai_others) to rows, answer_other
   items; what has no form adds nothing. */
void answer_others_read(answer_text *rows, deai_bytes others);

/* answer_explain_write appends the comment line. */
void answer_explain_write(answer_text *text, const answer_explained *explained);

/* answer_job_file writes a job file: receipt (signed<receipt>), args and body of its CALL, ids of
   all output tokens (u32 little-endian each). Nothing is written without a receipt; what has no
   form sets out->status. */
void answer_job_file(answer_text *out, deai_bytes receipt, deai_bytes args, deai_bytes body,
                     deai_bytes ids);

#endif
