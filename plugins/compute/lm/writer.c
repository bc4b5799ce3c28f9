#include "writer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

struct lm_writer {
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t more;
  lm_run *runs; /* not over, in the order of their turns */
  bool stop;
  uint64_t tokens;
  lm_writer_news *news;
  void *user;
};

/* What one turn works on: runs of one engine. */
typedef struct turn {
  lm_run *runs[LM_COLUMNS_MAX];
  lm_session *sessions[LM_COLUMNS_MAX];
  lm_step steps[LM_COLUMNS_MAX];
  uint32_t count;
} turn;

static void append(lm_writer *w, lm_run *run) {
  lm_run **at = &w->runs;
  while (*at != NULL)
    at = &(*at)->next;
  run->next = NULL;
  *at = run;
}

static void unlink_run(lm_writer *w, lm_run *run) {
  lm_run **at = &w->runs;
  while (*at != run)
    at = &(*at)->next;
  *at = run->next;
}

static bool may_step(const lm_run *run) {
  return run->cancelled || (!run->paused && run->count < LM_RUN_AHEAD);
}

/* pick collects the runs of the engine whose turn it is and puts them behind the others. */
static bool pick(lm_writer *w, turn *t) {
  const lm_engine *engine = NULL;
  t->count = 0;
  for (lm_run *run = w->runs; run != NULL && t->count < LM_COLUMNS_MAX; run = run->next) {
    if (!may_step(run) || (engine != NULL && run->engine != engine)) continue;
    engine = run->engine;
    t->runs[t->count++] = run;
  }
  for (uint32_t i = 0; i < t->count; i++) {
    unlink_run(w, t->runs[i]);
    append(w, t->runs[i]);
  }
  return t->count > 0;
}

/* finish makes run over. The loop may free it as soon as the lock is given back. */
static void finish(lm_writer *w, lm_run *run, int32_t status, bool lost, const char *text) {
  if (text != NULL) (void)lm_fail(&run->error, status, "%s", text); /* it may be the session's */
  if (run->session != NULL) lm_session_result(run->session, &run->result);
  lm_session_close(run->session);
  run->session = NULL;
  (void)pthread_mutex_lock(&w->lock);
  run->status = status;
  run->lost = lost;
  unlink_run(w, run);
  run->over = true;
  (void)pthread_mutex_unlock(&w->lock);
}

static void remove_at(turn *t, uint32_t i) {
  t->count--;
  for (; i < t->count; i++)
    t->runs[i] = t->runs[i + 1];
}

/* open_all opens new sessions and ends cancelled ones; what stays in the turn can be stepped. */
static void open_all(lm_writer *w, turn *t, const bool *cancelled) {
  bool gone[LM_COLUMNS_MAX];
  for (uint32_t i = 0; i < t->count; i++) {
    lm_run *run = t->runs[i];
    int32_t status = cancelled[i] ? DEAI_ECANCELLED : DEAI_OK;
    if (status == DEAI_OK && run->session == NULL)
      status = lm_session_open(run->engine, &run->request, &run->session, &run->error);
    gone[i] = status != DEAI_OK;
    if (gone[i]) finish(w, run, status, false, cancelled[i] ? "cancelled" : NULL);
  }
  for (uint32_t i = t->count; i-- > 0;)
    if (gone[i]) remove_at(t, i);
  for (uint32_t i = 0; i < t->count; i++)
    t->sessions[i] = t->runs[i]->session;
}

static lm_token *token_of(const lm_run *run, const lm_step *step) {
  lm_result result;
  lm_token *token = calloc(1, sizeof *token + (size_t)step->text.len);
  if (token == NULL) return NULL;
  lm_session_result(run->session, &result);
  token->id = step->token;
  token->n = result.n;
  memcpy(token->root, result.root, sizeof token->root);
  token->row_count = step->logprob_count;
  for (uint32_t i = 0; i < step->logprob_count; i++)
    token->rows[i] = step->logprobs[i];
  token->text_len = (size_t)step->text.len;
  if (token->text_len > 0) memcpy(token->text, step->text.ptr, token->text_len);
  return token;
}

static void keep_token(lm_writer *w, lm_run *run, lm_token *token) {
  (void)pthread_mutex_lock(&w->lock);
  *run->last = token;
  run->last = &token->next;
  run->count++;
  w->tokens++;
  (void)pthread_mutex_unlock(&w->lock);
}

/* settle takes what one step of run gave; true = the loop should look. */
static bool settle(lm_writer *w, lm_run *run, const lm_step *step) {
  if (step->status != DEAI_OK) {
    finish(w, run, step->status, false, lm_session_error(run->session));
    return true;
  }
  if (step->has_token) {
    lm_token *token = token_of(run, step);
    if (token == NULL) {
      finish(w, run, DEAI_ENOMEM, false, "no memory for the next token; try again later");
      return true;
    }
    keep_token(w, run, token);
  }
  if (step->finish != LM_FINISH_NONE) finish(w, run, DEAI_OK, false, NULL);
  return step->has_token || step->finish != LM_FINISH_NONE;
}

/* take_turn runs one pass; true = the loop should look. */
static bool take_turn(lm_writer *w, turn *t, const bool *cancelled) {
  uint32_t before = t->count;
  open_all(w, t, cancelled);
  bool news = t->count < before;
  if (t->count == 0) return news;
  int32_t status = lm_session_step(t->sessions, t->count, t->steps);
  for (uint32_t i = 0; i < t->count; i++) {
    if (status == DEAI_OK) {
      news = settle(w, t->runs[i], &t->steps[i]) || news;
      continue;
    }
    finish(w, t->runs[i], status, true,
           "the device failed in the middle of a pass; the answer can go on elsewhere");
    news = true;
  }
  return news;
}

static bool wait_for_turn(lm_writer *w, turn *t, bool *cancelled) {
  (void)pthread_mutex_lock(&w->lock);
  while (!w->stop && !pick(w, t))
    (void)pthread_cond_wait(&w->more, &w->lock);
  bool stop = w->stop;
  for (uint32_t i = 0; !stop && i < t->count; i++)
    cancelled[i] = t->runs[i]->cancelled;
  (void)pthread_mutex_unlock(&w->lock);
  return !stop;
}

static void *thread_main(void *argument) {
  lm_writer *w = argument;
  bool cancelled[LM_COLUMNS_MAX];
  turn t = {.count = 0};
  while (wait_for_turn(w, &t, cancelled)) {
    if (!take_turn(w, &t, cancelled)) continue;
    (void)pthread_mutex_lock(&w->lock);
    uint64_t tokens = w->tokens;
    (void)pthread_mutex_unlock(&w->lock);
    w->news(w->user, tokens);
  }
  return NULL;
}

int32_t lm_writer_open(lm_writer_news *news, void *user, lm_writer **writer_out) {
  *writer_out = NULL;
  lm_writer *w = calloc(1, sizeof *w);
  if (w == NULL) return DEAI_ENOMEM;
  w->news = news;
  w->user = user;
  (void)pthread_mutex_init(&w->lock, NULL);
  (void)pthread_cond_init(&w->more, NULL);
  if (pthread_create(&w->thread, NULL, thread_main, w) != 0) {
    (void)pthread_cond_destroy(&w->more);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
    return DEAI_EBUSY;
  }
  *writer_out = w;
  return DEAI_OK;
}

void lm_writer_add(lm_writer *writer, lm_run *run) {
  run->last = &run->first;
  (void)pthread_mutex_lock(&writer->lock);
  append(writer, run);
  (void)pthread_cond_signal(&writer->more);
  (void)pthread_mutex_unlock(&writer->lock);
}

void lm_writer_cancel(lm_writer *writer, lm_run *run) {
  (void)pthread_mutex_lock(&writer->lock);
  run->cancelled = true;
  (void)pthread_cond_signal(&writer->more);
  (void)pthread_mutex_unlock(&writer->lock);
}

void lm_writer_pause(lm_writer *writer, lm_run *run, bool paused) {
  (void)pthread_mutex_lock(&writer->lock);
  run->paused = paused;
  (void)pthread_cond_signal(&writer->more);
  (void)pthread_mutex_unlock(&writer->lock);
}

uint32_t lm_writer_peek(lm_writer *writer, lm_run *run, const lm_token **first_out,
                        bool *over_out) {
  (void)pthread_mutex_lock(&writer->lock);
  uint32_t count = run->count;
  *first_out = run->first;
  *over_out = run->over;
  (void)pthread_mutex_unlock(&writer->lock);
  return count;
}

static void drop(lm_run *run, uint32_t count) {
  for (; count > 0 && run->first != NULL; count--) {
    lm_token *token = run->first;
    run->first = token->next;
    if (run->first == NULL) run->last = &run->first;
    run->count--;
    free(token);
  }
}

void lm_run_clear(lm_run *run) {
  drop(run, run->count);
}

void lm_writer_drop(lm_writer *writer, lm_run *run, uint32_t count) {
  (void)pthread_mutex_lock(&writer->lock);
  drop(run, count);
  (void)pthread_cond_signal(&writer->more);
  (void)pthread_mutex_unlock(&writer->lock);
}

void lm_writer_close(lm_writer *writer) {
  if (writer == NULL) return;
  (void)pthread_mutex_lock(&writer->lock);
  writer->stop = true;
  (void)pthread_cond_signal(&writer->more);
  (void)pthread_mutex_unlock(&writer->lock);
  (void)pthread_join(writer->thread, NULL);
  while (writer->runs != NULL) {
    lm_run *run = writer->runs;
    finish(writer, run, DEAI_ECANCELLED, false, "the plug-in stops");
  }
  (void)pthread_cond_destroy(&writer->more);
  (void)pthread_mutex_destroy(&writer->lock);
  free(writer);
}
