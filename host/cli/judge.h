#ifndef DEAI_HOST_CLI_JUDGE_H
#define DEAI_HOST_CLI_JUDGE_H

#include "host/cli/cli.h"

#include "deai/contracts/ledger.h"
#include "deai/contracts/lm.h"

/* Judging a job file (docs/formats.md 7): what `deai verify` prints and `deai ledger verdict`
   decides by.

     file --> receipt: signature, input hash, units, price --> channel in the block log
          --> replay on this node (or on the one that is named): root, and the sampler's tokens
          --> they differ: the CALL is made again. The worker's root: the payer put other tokens
              into the file; another root: the worker is wrong

   Threads  one, the program's own
   Memory   A cli_judgement owns what it points to; cli_judge_free frees it. */

typedef enum cli_finding { CLI_UNKNOWN = 0, CLI_GOOD = 1, CLI_BAD = 2 } cli_finding;

/* What the block log says of the receipt's channel. */
typedef struct cli_channel {
  uint64_t opened;    /* height, 0 = not found */
  uint64_t deposit;   /* with later ones */
  uint64_t claims;    /* how many */
  uint64_t claimed;   /* the highest voucher claimed, */
  uint64_t claimed_h; /* and its height */
  uint64_t objected;  /* height of an objection to this job, 0 = none */
  uint64_t decided;   /* height of the verdict, 0 = none */
  uint64_t payee;     /* what it gave the payee */
  bool payee_fits;    /* the payee is the worker */
  bool audited;       /* the objection's second receipt: */
  uint8_t auditor[DEAI_KEY_BYTES];
  uint8_t audit_root[DEAI_HASH_BYTES];
  bool audit_has_wrong;
  uint64_t audit_wrong;
} cli_channel;

typedef struct cli_judgement {
  deai_job_file file;
  deai_receipt receipt;
  deai_lm_job job; /* the CALL's a */
  deai_lm_end end; /* the END's a */
  cli_finding signature;
  cli_finding input; /* hash of the CALL */
  cli_finding units;
  cli_finding price;
  uint64_t price_want; /* units x the worker's present prices */
  cli_channel channel;
  bool recomputed;
  char why_not[DEAI_ERR_CAP]; /* not recomputed: why */
  int32_t why_status;
  bool root_equal;
  bool has_wrong;
  uint64_t wrong;                /* first token that is not the sampler's */
  uint8_t root[DEAI_HASH_BYTES]; /* as recomputed */
  bool answered_again;           /* something differed: the CALL was made once more */
  bool answer_equal;             /* and gave the worker\'s root: the file has other tokens */
  uint8_t *memory;
  uint8_t *ids_room;
  uint8_t job_room[8192];
} cli_judgement;

/* cli_judge_open reads the file and checks all that needs no model: an exit code, after printing
   why, for a file that has no form. */
int cli_judge_open(const cli *line, const char *path, cli_judgement **out);

/* cli_judge_recompute replays the answer here, or at the node with the key via in hex (NULL =
   here); what prevents it stands in why_not. */
void cli_judge_recompute(const cli *line, const char *via, cli_judgement *judgement);

/* cli_judge_own returns whether wrong is a token that this receipt's worker chose itself. */
bool cli_judge_own(const cli_judgement *judgement);

/* cli_judge_wrong returns whether the statement of the receipt's worker was found wrong: the root,
   a token of its own, or, of a replay, what it said of the tokens. */
bool cli_judge_wrong(const cli_judgement *judgement);

/* cli_judge_audit_wrong returns the same of the auditor whose receipt stands in the objection. */
bool cli_judge_audit_wrong(const cli_judgement *judgement);

/* cli_ledger_verdict serves `ledger verdict`. */
cli_command cli_ledger_verdict;

/* cli_judge_free frees it; NULL is allowed. */
void cli_judge_free(cli_judgement *judgement);

#endif
