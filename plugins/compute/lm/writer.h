#ifndef DEAI_PLUGINS_COMPUTE_LM_WRITER_H
#define DEAI_PLUGINS_COMPUTE_LM_WRITER_H

#include "session.h"

/* An lm_writer is the thread that computes: it steps the sessions of all runs, those of one engine
   together, and keeps what they yield until the loop takes it.

     add --> opened --step, step ...--> over        tokens wait in the run, at most LM_RUN_AHEAD
               ^  '--- held: LM_RUN_AHEAD wait, or pause          cancel --> over within one pass

   Engines with something to do take turns, pass by pass.

   Threads  All functions on the loop; news is called on the thread. The loop may free a run before
            add and after peek said that it is over, never between.
   Memory   What request points to lives until the run is over. Tokens wait until
            lm_writer_drop or lm_run_clear; engines outlive their runs.
   Limits   LM_COLUMNS_MAX runs of one engine in a pass. */

#define LM_RUN_AHEAD 16u

typedef struct lm_token lm_token;
struct lm_token {
  lm_token *next;
  uint32_t id;
  uint32_t n;                    /* output tokens up to this one ... */
  uint8_t root[DEAI_HASH_BYTES]; /* ... and the root over them */
  uint32_t row_count;            /* logprobs: the chosen one, then the best */
  lm_logprob rows[1 + LM_LOGPROBS_MAX];
  size_t text_len;
  uint8_t text[];
};

typedef struct lm_run lm_run;
struct lm_run {
  /* the owner's, before add */
  lm_engine *engine;
  lm_request request;
  /* right once it is over */
  int32_t status; /* DEAI_OK, DEAI_ECANCELLED, or why it failed: error has the text */
  lm_error error;
  lm_result result;
  bool lost; /* the device failed: the engine must be closed */
  /* the writer's */
  lm_run *next;
  lm_session *session;
  lm_token *first;
  lm_token **last;
  uint32_t count;
  bool paused;
  bool cancelled;
  bool over;
};

typedef struct lm_writer lm_writer;

/* An lm_writer_news says that runs have tokens or are over; tokens = all that were ever chosen. */
typedef void lm_writer_news(void *user, uint64_t tokens);

/* lm_writer_open starts the thread. DEAI_ENOMEM, DEAI_EBUSY when no thread can be had. */
DEAI_MUST_CHECK int32_t lm_writer_open(lm_writer_news *news, void *user, lm_writer **writer_out);

/* lm_writer_add hands over a run whose engine and request are set and whose rest is zero. */
void lm_writer_add(lm_writer *writer, lm_run *run);

/* lm_writer_cancel asks for the end of run: over follows within one pass. */
void lm_writer_cancel(lm_writer *writer, lm_run *run);

/* lm_writer_pause holds run back, or lets it go on. */
void lm_writer_pause(lm_writer *writer, lm_run *run, bool paused);

/* lm_writer_peek returns how many tokens wait and sets *first_out to them; *over_out tells that
   nothing more follows. */
uint32_t lm_writer_peek(lm_writer *writer, lm_run *run, const lm_token **first_out, bool *over_out);

/* lm_writer_drop frees the first count tokens that wait. */
void lm_writer_drop(lm_writer *writer, lm_run *run, uint32_t count);

/* lm_writer_close waits for the pass in progress and ends the thread; runs that are not over become
   so, with DEAI_ECANCELLED. NULL is fine. */
void lm_writer_close(lm_writer *writer);

/* lm_run_clear frees the tokens that still wait in a run that is over. */
void lm_run_clear(lm_run *run);

#endif
