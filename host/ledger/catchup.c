#include "catchup.h"

#include "deai/contracts/wire.h"
#include "host/base/assertion.h"
#include "host/base/log.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define RETRY_MS  250u
#define SUBMIT_MS 30000u

/* A transaction on its way to the orderer, then one whose block is not here yet. */
typedef struct forwarded {
  struct forwarded *next;
  deai_catchup *catchup;
  deai_ledger_done *done;
  void *user;
  int32_t status;
  char why[DEAI_ERR_CAP];
  deai_ledger_submit_end end;
  uint64_t until_ns; /* how long it waits for its block */
} forwarded;

struct deai_catchup {
  deai_catchup_options options;
  deai_call *call;
  deai_timer *retry;
  forwarded *waiting; /* for their blocks, in the order of until_ns */
  deai_timer *enough; /* for the first one of them */
  uint8_t *entry;     /* the block entry that is put together */
  uint64_t entry_len;
  uint64_t entry_cap;
  uint8_t *applying; /* on the worker now */
  uint64_t applying_len;
  int32_t applied_status;
  bool busy; /* a block is on the worker */
  bool stopped;
  char applied_err[DEAI_ERR_CAP];
  char why[DEAI_ERR_CAP];
};

/* ---- waiting for a block ---- */

static void forward_over(forwarded *job) {
  job->done(job->user, job->status, job->why, job->end.id, job->end.h);
  free(job);
}

/* height_here returns the height up to which nobody need wait: all of them when no block comes any
   more. */
static uint64_t height_here(const deai_catchup *catchup) {
  deai_ledger_head head;
  if (catchup->stopped) return UINT64_MAX; /* the ledger may be closed */
  deai_ledger_head_get(catchup->options.ledger, &head);
  return head.stopped ? UINT64_MAX : head.height;
}

static void enough_set(deai_catchup *catchup, uint64_t now_ns) {
  if (catchup->waiting == NULL)
    deai_timer_clear(catchup->enough);
  else
    deai_timer_set(catchup->enough, (catchup->waiting->until_ns - now_ns) / UINT64_C(1000000) + 1);
}

/* settle ends those whose block is here or whose time is up. They are off the list before the first
   done runs, which may forward again. */
static void settle(deai_catchup *catchup) {
  uint64_t height = height_here(catchup);
  uint64_t now_ns = deai_loop_now_ns(catchup->options.loop);
  forwarded *due = NULL;
  forwarded **due_last = &due;
  forwarded **at = &catchup->waiting;
  while (*at != NULL) {
    forwarded *job = *at;
    if (job->end.h > height && job->until_ns > now_ns) {
      at = &job->next;
      continue;
    }
    *at = job->next;
    job->next = NULL;
    *due_last = job;
    due_last = &job->next;
  }
  enough_set(catchup, now_ns);
  while (due != NULL) {
    forwarded *job = due;
    due = job->next;
    forward_over(job);
  }
}

static void on_enough(void *user) {
  settle(user);
}

static void wait_for_block(forwarded *job) {
  deai_catchup *catchup = job->catchup;
  uint64_t wait_ms = catchup->options.wait_ms != 0 ? catchup->options.wait_ms : DEAI_CATCHUP_MS;
  forwarded **last = &catchup->waiting;
  while (*last != NULL)
    last = &(*last)->next;
  *last = job;
  job->until_ns = deai_loop_now_ns(catchup->options.loop) + wait_ms * UINT64_C(1000000);
  settle(catchup);
}

/* ---- follow ---- */

static void apply_work(void *user) {
  deai_catchup *catchup = user;
  catchup->applied_status = deai_ledger_apply_entry(
      catchup->options.ledger, deai_bytes_of(catchup->applying, catchup->applying_len),
      catchup->applied_err, sizeof catchup->applied_err);
}

static void apply_done(void *user) {
  deai_catchup *catchup = user;
  int32_t status = catchup->applied_status;
  free(catchup->applying);
  catchup->applying = NULL;
  catchup->busy = false;
  if (catchup->stopped) return;
  if (status == DEAI_EVERIFY || status == DEAI_EDENIED) {
    (void)snprintf(catchup->why, sizeof catchup->why, "%s", catchup->applied_err);
    deai_log(DEAI_LEVEL_ERROR, "ledger", "following stopped: %s", catchup->why);
    catchup->stopped = true;
    if (catchup->call != NULL) deai_call_cancel(catchup->call, DEAI_EVERIFY);
    settle(catchup);
    return;
  }
  if (status != DEAI_OK && status != DEAI_EAGAIN) {
    deai_log(DEAI_LEVEL_WARN, "ledger", "a block was not applied: %s", catchup->applied_err);
    if (catchup->call != NULL) deai_call_cancel(catchup->call, status);
    return;
  }
  if (catchup->call != NULL) deai_call_resume(catchup->call, DEAI_SIDE_CALLER);
  settle(catchup);
}

static int32_t entry_add(deai_catchup *catchup, deai_bytes slice) {
  if (catchup->entry_len + slice.len > DEAI_BLOCK_ENTRY_MAX) return DEAI_ETOOLARGE;
  if (catchup->entry_len + slice.len > catchup->entry_cap) {
    uint64_t cap = catchup->entry_cap * 2 + slice.len;
    uint8_t *more = realloc(catchup->entry, (size_t)cap);
    if (more == NULL) return DEAI_ENOMEM;
    catchup->entry = more;
    catchup->entry_cap = cap;
  }
  if (slice.len > 0) memcpy(catchup->entry + catchup->entry_len, slice.ptr, (size_t)slice.len);
  catchup->entry_len += slice.len;
  return DEAI_OK;
}

static int32_t follow_part(void *user, const deai_part *part) {
  deai_catchup *catchup = user;
  deai_ledger_slice slice;
  if ((part->flags & DEAI_PART_END) != 0) {
    if (part->status != DEAI_OK && part->status != DEAI_ETIMEDOUT && !catchup->stopped)
      deai_log(DEAI_LEVEL_DEBUG, "ledger", "follow ended: %.*s", (int)part->why.len, part->why.ptr);
    return DEAI_OK;
  }
  if (catchup->busy) return DEAI_EAGAIN;
  if (deai_decode(&deai_ledger_slice_table, part->args, &slice, NULL, NULL, 0) != DEAI_OK ||
      entry_add(catchup, part->body) != DEAI_OK) {
    deai_log(DEAI_LEVEL_WARN, "ledger", "a member sent a malformed slice of a block");
    deai_call_cancel(catchup->call, DEAI_EINVAL);
    return DEAI_OK;
  }
  if (slice.more) return DEAI_OK;
  catchup->applying = catchup->entry;
  catchup->applying_len = catchup->entry_len;
  catchup->entry = NULL;
  catchup->entry_len = 0;
  catchup->entry_cap = 0;
  catchup->busy = true;
  deai_loop_work(catchup->options.loop, apply_work, apply_done, catchup);
  return DEAI_OK;
}

static void follow_closed(void *user) {
  deai_catchup *catchup = user;
  catchup->call = NULL;
  catchup->entry_len = 0;
  if (!catchup->stopped) deai_timer_set(catchup->retry, RETRY_MS);
}

static const deai_end_ops follow_ops = {.part = follow_part, .closed = follow_closed};

static void on_retry(void *user) {
  deai_catchup_go(user);
}

void deai_catchup_go(deai_catchup *catchup) {
  uint8_t room[32];
  deai_ledger_head head;
  if (catchup->call != NULL || catchup->stopped) return;
  if (catchup->busy) { /* the height to ask from is not known yet */
    deai_timer_set(catchup->retry, RETRY_MS);
    return;
  }
  deai_ledger_head_get(catchup->options.ledger, &head);
  deai_ledger_follow ask = {.from = head.height + 1};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  deai_call_spec spec = {.service = deai_str_of(DEAI_LEDGER_SERVICE),
                         .method = deai_str_of("follow"),
                         .time_ms = DEAI_FOLLOW_MS,
                         .caller_kind = DEAI_CALLER_PLUGIN,
                         .caller_class = DEAI_CLASS_LOCAL,
                         .flags = DEAI_CALL_AWAY};
  if (deai_encode(&deai_ledger_follow_table, &ask, &writer, NULL, 0) != DEAI_OK) return;
  catchup->call = catchup->options.open(catchup->options.user, &spec, &follow_ops, catchup);
  if (catchup->call == NULL) {
    deai_timer_set(catchup->retry, RETRY_MS);
    return;
  }
  deai_part part = {.size = (uint32_t)sizeof part,
                    .flags = DEAI_PART_END,
                    .attachment = -1,
                    .args = deai_bytes_of(room, writer.len)};
  int32_t status = deai_call_send(catchup->call, DEAI_SIDE_CALLER, &part);
  if (status != DEAI_OK && status != DEAI_ENOTFOUND)
    deai_log(DEAI_LEVEL_WARN, "ledger", "follow not sent: %s", deai_status_name(status));
}

/* ---- forward ---- */

static int32_t forward_part(void *user, const deai_part *part) {
  forwarded *job = user;
  if ((part->flags & DEAI_PART_END) == 0) return DEAI_OK;
  job->status = part->status;
  (void)snprintf(job->why, sizeof job->why, "%.*s", (int)part->why.len, part->why.ptr);
  if (job->status == DEAI_OK)
    job->status = deai_decode(&deai_ledger_submit_end_table, part->args, &job->end, NULL, job->why,
                              sizeof job->why);
  return DEAI_OK;
}

static void forward_closed(void *user) {
  forwarded *job = user;
  if (job->status == DEAI_OK)
    wait_for_block(job);
  else
    forward_over(job);
}

static const deai_end_ops forward_ops = {.part = forward_part, .closed = forward_closed};

void deai_catchup_forward(void *user, deai_bytes signed_tx, void *done_user,
                          deai_ledger_done *done) {
  deai_catchup *catchup = user;
  uint8_t nothing[DEAI_HASH_BYTES] = {0};
  deai_call_spec spec = {.service = deai_str_of(DEAI_LEDGER_SERVICE),
                         .method = deai_str_of("submit"),
                         .time_ms = SUBMIT_MS,
                         .caller_kind = DEAI_CALLER_PLUGIN,
                         .caller_class = DEAI_CLASS_LOCAL,
                         .flags = DEAI_CALL_AWAY};
  forwarded *job = calloc(1, sizeof *job);
  deai_call *call = NULL;
  if (job != NULL) {
    *job =
        (forwarded){.catchup = catchup, .done = done, .user = done_user, .status = DEAI_EPEER_LOST};
    call = catchup->options.open(catchup->options.user, &spec, &forward_ops, job);
  }
  if (call == NULL) {
    free(job);
    done(done_user, DEAI_ENOMEM, "not enough memory", nothing, 0);
    return;
  }
  deai_part part = {
      .size = (uint32_t)sizeof part, .flags = DEAI_PART_END, .attachment = -1, .body = signed_tx};
  int32_t status = deai_call_send(call, DEAI_SIDE_CALLER, &part);
  if (status != DEAI_OK && status != DEAI_ENOTFOUND)
    deai_call_fail(call, status, "the transaction cannot be sent");
}

/* ---- life ---- */

deai_catchup *deai_catchup_new(const deai_catchup_options *options) {
  deai_catchup *catchup = calloc(1, sizeof *catchup);
  if (catchup == NULL) return NULL;
  catchup->options = *options;
  catchup->retry = deai_timer_new(options->loop, on_retry, catchup);
  catchup->enough = deai_timer_new(options->loop, on_enough, catchup);
  if (catchup->retry != NULL && catchup->enough != NULL) return catchup;
  deai_catchup_free(catchup);
  return NULL;
}

const char *deai_catchup_why(const deai_catchup *catchup) {
  return catchup->why;
}

void deai_catchup_stop(deai_catchup *catchup) {
  if (catchup == NULL) return;
  catchup->stopped = true;
  deai_timer_clear(catchup->retry);
  if (catchup->call != NULL) deai_call_cancel(catchup->call, DEAI_ECANCELLED);
  settle(catchup);
}

void deai_catchup_free(deai_catchup *catchup) {
  if (catchup == NULL) return;
  DEAI_ASSERT(catchup->waiting == NULL);
  deai_timer_free(catchup->retry);
  deai_timer_free(catchup->enough);
  free(catchup->entry);
  free(catchup->applying);
  free(catchup);
}
