#include "engine.h"

#include "tx.h"

#include "host/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "host/base/banned.h"

#define BLOCK_TX_BYTES_MAX (DEAI_BLOCK_ENTRY_MAX - 4096u) /* the rest is the signed block */
#define NS_PER_MS          UINT64_C(1000000)
#define WAIT_MS_MAX        3600000u /* the clock is looked at that often */

/* What a round let through: transactions that run, and repeats that get the same answer. */
typedef struct round_state {
  deai_abci_block block;
  deai_engine_item **accepted;
  const deai_tx_parsed **txs;
  uint64_t count;
  deai_engine_item **repeats; /* of a transaction of this round */
  uint64_t repeat_count;
  uint64_t bytes;
  int32_t full; /* some did not fit: the next round follows at once */
} round_state;

static void queue_put(deai_engine_queue *queue, deai_engine_item *item) {
  item->next = NULL;
  if (queue->last != NULL) {
    queue->last->next = item;
  } else {
    queue->first = item;
  }
  queue->last = item;
}

static deai_engine_item *queue_take(deai_engine_queue *queue) {
  deai_engine_item *item = queue->first;
  if (item == NULL) return NULL;
  queue->first = item->next;
  if (queue->first == NULL) queue->last = NULL;
  return item;
}

static void answer(deai_ledger *ledger, deai_engine_item *item, int32_t status, const char *why,
                   uint64_t height) {
  static const uint8_t no_id[DEAI_HASH_BYTES];
  item->done(item->user, status, why, item->tx != NULL ? item->tx->id : no_id, height);
  free(item->tx);
  free(item->bytes);
  free(item);
  (void)pthread_mutex_lock(&ledger->lock);
  ledger->waiting--;
  (void)pthread_mutex_unlock(&ledger->lock);
}

void deai_engine_halt(deai_ledger *ledger, const char *why) {
  (void)pthread_mutex_lock(&ledger->lock);
  ledger->stopped = 1;
  (void)snprintf(ledger->stopped_why, sizeof ledger->stopped_why, "stopped: %s", why);
  (void)pthread_mutex_unlock(&ledger->lock);
  deai_log(DEAI_LEVEL_ERROR, "ledger", "stopped: %s", why);
}

void deai_engine_show(deai_ledger *ledger, deai_bytes entry, const deai_abci_result *result) {
  deai_abci_info info;
  deai_ledger_update update;
  if (deai_core_info(ledger->core, &info) != DEAI_OK) {
    deai_engine_halt(ledger, "the head of the state cannot be read");
    return;
  }
  (void)pthread_mutex_lock(&ledger->lock);
  ledger->head = info;
  (void)pthread_mutex_unlock(&ledger->lock);
  if (ledger->on_block == NULL) return;
  _Static_assert(sizeof(deai_ledger_event) == sizeof(deai_abci_event), "the same three parts");
  update = (deai_ledger_update){info.height, info.time_ms, entry,
                                (const deai_ledger_event *)(const void *)result->events,
                                result->event_count};
  ledger->on_block(ledger->user, &update);
}

/* ---- workers ---- */

static void work_one(deai_ledger *ledger, deai_engine_item *item) {
  item->status = deai_tx_parse(ledger->core->genesis->hash, deai_bytes_of(item->bytes, item->len),
                               &item->tx, item->why, sizeof item->why);
  free(item->bytes);
  item->bytes = NULL;
}

static void *work_run(void *user) {
  deai_ledger *ledger = user;
  (void)pthread_mutex_lock(&ledger->lock);
  for (;;) {
    while (ledger->raw.first == NULL && !ledger->ending)
      (void)pthread_cond_wait(&ledger->work, &ledger->lock);
    deai_engine_item *item = queue_take(&ledger->raw);
    if (item == NULL) break;
    (void)pthread_mutex_unlock(&ledger->lock);
    work_one(ledger, item);
    (void)pthread_mutex_lock(&ledger->lock);
    int32_t first = ledger->ready.first == NULL;
    queue_put(&ledger->ready, item);
    if (first) (void)pthread_cond_signal(&ledger->wake);
  }
  (void)pthread_mutex_unlock(&ledger->lock);
  return NULL;
}

/* ---- a round of the ledger thread ---- */

static int32_t pending_room(deai_ledger *ledger) {
  if (ledger->pending_count < ledger->pending_cap) return DEAI_OK;
  uint64_t cap = ledger->pending_cap == 0 ? 256 : 2 * ledger->pending_cap;
  deai_engine_item **wider = realloc(ledger->pending, (size_t)cap * sizeof wider[0]);
  if (wider == NULL) return DEAI_ENOMEM;
  ledger->pending = wider;
  ledger->pending_cap = cap;
  return DEAI_OK;
}

/* Takes what the workers have done; what cannot be read is answered at once. */
static void round_take(deai_ledger *ledger, deai_engine_item *list) {
  uint64_t deadline = deai_now_ns(ledger->platform) + DEAI_TX_AHEAD_MS * NS_PER_MS;
  while (list != NULL) {
    deai_engine_item *item = list;
    list = item->next;
    item->deadline_ns = deadline;
    if (item->status != DEAI_OK) {
      answer(ledger, item, item->status, item->why, 0);
    } else if (pending_room(ledger) != DEAI_OK) {
      answer(ledger, item, DEAI_ENOMEM, "no memory for a waiting transaction", 0);
    } else {
      ledger->pending[ledger->pending_count++] = item;
    }
  }
}

static int32_t in_round(const round_state *round, const deai_tx_parsed *tx) {
  for (uint64_t i = 0; i < round->count; i++) {
    if (memcmp(round->txs[i]->id, tx->id, DEAI_HASH_BYTES) == 0) return 1;
  }
  return 0;
}

/* A transaction that may not run: the same bytes were answered before, or will be in this block, or
   it is refused. */
static void round_refuse(deai_ledger *ledger, round_state *round, deai_engine_item *item,
                         const deai_abci_verdict *verdict) {
  if (in_round(round, item->tx)) {
    round->repeats[round->repeat_count++] = item;
    return;
  }
  uint64_t height = deai_state_tx_height(ledger->core->state, item->tx->id);
  if (height > 0) {
    answer(ledger, item, DEAI_OK, "", height);
  } else {
    answer(ledger, item, verdict->status, verdict->why, 0);
  }
}

/* Tries one transaction. Returns 1 when it stays pending. */
static int32_t round_try(deai_ledger *ledger, round_state *round, deai_engine_item *item) {
  deai_abci_verdict verdict;
  const deai_abci *abci = ledger->core->abci;
  uint64_t len = item->tx->bytes.len;
  if (round->bytes + len > BLOCK_TX_BYTES_MAX) {
    round->full = 1;
    return 1;
  }
  int32_t status = abci->prepare(abci->app, &round->block, item->tx, &verdict);
  if (status != DEAI_OK) verdict.status = status;
  if (verdict.status == DEAI_OK) {
    round->bytes += len;
    round->txs[round->count] = item->tx;
    round->accepted[round->count++] = item;
    return 0;
  }
  if (verdict.status == DEAI_EAGAIN) {
    if (verdict.ahead <= DEAI_TX_AHEAD_MAX) return 1;
    answer(ledger, item, DEAI_EBUSY, verdict.why, 0);
    return 0;
  }
  round_refuse(ledger, round, item, &verdict);
  return 0;
}

static void round_pass(deai_ledger *ledger, round_state *round) {
  uint64_t left = 0, count = ledger->pending_count;
  for (uint64_t i = 0; i < count; i++) {
    deai_engine_item *item = ledger->pending[i];
    if (round_try(ledger, round, item)) ledger->pending[left++] = item;
  }
  ledger->pending_count = left;
}

static int item_compare(const void *a, const void *b) {
  const deai_engine_item *left = *(deai_engine_item *const *)a;
  const deai_engine_item *right = *(deai_engine_item *const *)b;
  int order = memcmp(left->tx->pack.key, right->tx->pack.key, DEAI_KEY_BYTES);
  if (order != 0) return order;
  return left->tx->tx.n < right->tx->tx.n ? -1 : left->tx->tx.n > right->tx->tx.n;
}

/* The order of arrival first; then, where nonces came in another order, by key and nonce. */
static void round_prepare(deai_ledger *ledger, round_state *round) {
  round_pass(ledger, round);
  if (ledger->pending_count == 0) return;
  qsort(ledger->pending, (size_t)ledger->pending_count, sizeof(ledger->pending[0]), item_compare);
  round_pass(ledger, round);
}

/* Answers those that waited too long, and those of a key that has too many waiting. */
static void round_expire(deai_ledger *ledger) {
  uint64_t now = deai_now_ns(ledger->platform), left = 0, run = 0;
  for (uint64_t i = 0; i < ledger->pending_count; i++) {
    deai_engine_item *item = ledger->pending[i];
    int32_t same = left > 0 && memcmp(ledger->pending[left - 1]->tx->pack.key, item->tx->pack.key,
                                      DEAI_KEY_BYTES) == 0;
    run = same ? run + 1 : 1;
    if (now >= item->deadline_ns) {
      answer(ledger, item, DEAI_ETIMEDOUT,
             "expected the transactions with the nonces before this one, found none in 5 s", 0);
    } else if (run > DEAI_TX_AHEAD_MAX) {
      answer(ledger, item, DEAI_EBUSY, "expected at most 64 waiting transactions of a key", 0);
    } else {
      ledger->pending[left++] = item;
    }
  }
  ledger->pending_count = left;
}

static void round_answer(deai_ledger *ledger, round_state *round, int32_t status, const char *why) {
  uint64_t height = status == DEAI_OK ? round->block.height : 0;
  for (uint64_t i = 0; i < round->count; i++)
    answer(ledger, round->accepted[i], status, why, height);
  for (uint64_t i = 0; i < round->repeat_count; i++)
    answer(ledger, round->repeats[i], status, why, height);
}

static void block_fill(const deai_ledger *ledger, const round_state *round,
                       const deai_abci_result *result, deai_block *block) {
  memset(block, 0, sizeof *block);
  block->h = round->block.height;
  block->t = round->block.time_ms;
  memcpy(block->p, ledger->head.hash, DEAI_HASH_BYTES);
  memcpy(block->d, result->data_root, DEAI_HASH_BYTES);
  memcpy(block->s, result->state_root, DEAI_HASH_BYTES);
  memcpy(block->r, result->results_root, DEAI_HASH_BYTES);
  memcpy(block->o, deai_key_public(ledger->order), DEAI_KEY_BYTES);
}

/* Makes the block durable and shows it. Any failure stops the ledger: whether a write that failed
   reached the disk is only known after a restart. */
static int32_t block_close(deai_ledger *ledger, const round_state *round, char *err,
                           uint32_t err_cap) {
  deai_core *core = ledger->core;
  deai_abci_result result;
  deai_block block;
  deai_bytes signed_block = {NULL, 0};
  uint8_t hash[DEAI_HASH_BYTES];
  uint8_t *entry = NULL;
  uint64_t len = 0;
  int32_t status = core->abci->finalize(core->abci->app, &round->block, round->txs, round->count,
                                        &result, err, err_cap);
  if (status != DEAI_OK) return status;
  block_fill(ledger, round, &result, &block);
  status = deai_entry_make(&block, ledger->order, core->genesis->hash, round->txs, round->count,
                           &entry, &len, &signed_block);
  if (status == DEAI_OK) {
    deai_tx_id(signed_block, hash);
    status = deai_core_commit(core, block.h, deai_bytes_of(entry, len), signed_block, hash, err,
                              err_cap);
  }
  if (status == DEAI_OK) deai_engine_show(ledger, deai_bytes_of(entry, len), &result);
  free(entry);
  return status;
}

static void round_close(deai_ledger *ledger, round_state *round) {
  char err[256] = "";
  int32_t status = block_close(ledger, round, err, sizeof err);
  round_answer(ledger, round, status, err);
  if (status == DEAI_OK) status = deai_app_rules_check(ledger->core->app, err, sizeof err);
  if (status == DEAI_OK &&
      memcmp(ledger->head.orderer, deai_key_public(ledger->order), DEAI_KEY_BYTES) != 0) {
    status = DEAI_EDENIED;
    (void)snprintf(err, sizeof err, "another key orders from now on: this node must follow");
  }
  if (status != DEAI_OK) deai_engine_halt(ledger, err[0] != 0 ? err : deai_status_text(status));
}

void deai_ledger_wake(deai_ledger *ledger) {
  (void)pthread_mutex_lock(&ledger->lock);
  ledger->poked = 1;
  (void)pthread_cond_signal(&ledger->wake);
  (void)pthread_mutex_unlock(&ledger->lock);
}

static int32_t round_start(const deai_ledger *ledger, round_state *round) {
  uint64_t wall = deai_wall_ms(ledger->platform), least = ledger->head.time_ms + 1;
  size_t room = (size_t)ledger->pending_count + 1;
  memset(round, 0, sizeof *round);
  round->block.height = ledger->head.height + 1;
  round->block.time_ms = wall > least ? wall : least;
  round->accepted = calloc(room, sizeof round->accepted[0]);
  round->txs = calloc(room, sizeof round->txs[0]);
  round->repeats = calloc(room, sizeof round->repeats[0]);
  if (round->accepted != NULL && round->txs != NULL && round->repeats != NULL) return DEAI_OK;
  return DEAI_ENOMEM;
}

static void pending_refuse(deai_ledger *ledger, int32_t status, const char *why) {
  for (uint64_t i = 0; i < ledger->pending_count; i++)
    answer(ledger, ledger->pending[i], status, why, 0);
  ledger->pending_count = 0;
}

static void round_run(deai_ledger *ledger, deai_engine_item *list) {
  round_state round;
  round_take(ledger, list);
  if (ledger->stopped) {
    pending_refuse(ledger, DEAI_EIO, ledger->stopped_why);
    return;
  }
  if (round_start(ledger, &round) == DEAI_OK) {
    round_prepare(ledger, &round);
    round_expire(ledger);
    if (round.count > 0 || ledger->head.due_ms <= round.block.time_ms) {
      round_close(ledger, &round);
    } else {
      ledger->core->abci->abandon(ledger->core->abci->app);
    }
    if (round.full) deai_ledger_wake(ledger);
  } else {
    pending_refuse(ledger, DEAI_ENOMEM, "no memory for a block");
  }
  free(round.accepted);
  free(round.txs);
  free(round.repeats);
}

/* ---- the ledger thread ---- */

/* Milliseconds until something is due without a message. */
static uint64_t wait_ms(const deai_ledger *ledger) {
  uint64_t wall = deai_wall_ms(ledger->platform), now = deai_now_ns(ledger->platform);
  uint64_t wait = WAIT_MS_MAX;
  if (!ledger->stopped && ledger->head.due_ms != DEAI_LEDGER_NEVER) {
    uint64_t due = ledger->head.due_ms > wall ? ledger->head.due_ms - wall : 0;
    if (due < wait) wait = due;
  }
  for (uint64_t i = 0; i < ledger->pending_count; i++) {
    uint64_t at = ledger->pending[i]->deadline_ns;
    uint64_t left = at > now ? (at - now) / NS_PER_MS + 1 : 0;
    if (left < wait) wait = left;
  }
  return wait;
}

static void wait_for(deai_ledger *ledger, uint64_t wait) {
  struct timespec until;
  (void)clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += (time_t)(wait / 1000);
  until.tv_nsec += (long)(wait % 1000) * 1000000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  while (ledger->ready.first == NULL && !ledger->ending && !ledger->poked) {
    if (pthread_cond_timedwait(&ledger->wake, &ledger->lock, &until) == ETIMEDOUT) break;
  }
  ledger->poked = 0;
}

static void *thread_run(void *user) {
  deai_ledger *ledger = user;
  for (int32_t ending = 0; !ending;) {
    (void)pthread_mutex_lock(&ledger->lock);
    if (ledger->ready.first == NULL && !ledger->ending) wait_for(ledger, wait_ms(ledger));
    deai_engine_item *list = ledger->ready.first;
    ledger->ready = (deai_engine_queue){NULL, NULL};
    ending = ledger->ending;
    (void)pthread_mutex_unlock(&ledger->lock);
    if (ending) {
      round_take(ledger, list);
      pending_refuse(ledger, DEAI_ECANCELLED, "the ledger closes");
    } else {
      round_run(ledger, list);
    }
  }
  return NULL;
}

/* ---- life ---- */

static uint32_t worker_wish(uint32_t workers) {
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  if (workers == 0) workers = cores > 1 ? (uint32_t)cores : 1;
  return workers > DEAI_ENGINE_WORKERS_MAX ? DEAI_ENGINE_WORKERS_MAX : workers;
}

int32_t deai_engine_start(deai_ledger *ledger, uint32_t workers, char *err, uint32_t err_cap) {
  uint32_t wish = worker_wish(workers);
  while (ledger->worker_count < wish) {
    if (pthread_create(&ledger->workers[ledger->worker_count], NULL, work_run, ledger) != 0) break;
    ledger->worker_count++;
  }
  ledger->thread_runs =
      ledger->worker_count > 0 && pthread_create(&ledger->thread, NULL, thread_run, ledger) == 0;
  if (ledger->thread_runs) return DEAI_OK;
  (void)snprintf(err, err_cap, "expected threads for the ledger, found that none can start");
  return DEAI_ENOMEM;
}

void deai_engine_stop(deai_ledger *ledger) {
  if (ledger->worker_count == 0) return;
  (void)pthread_mutex_lock(&ledger->lock);
  ledger->ending = 1;
  (void)pthread_cond_broadcast(&ledger->work);
  (void)pthread_mutex_unlock(&ledger->lock);
  for (uint32_t i = 0; i < ledger->worker_count; i++)
    (void)pthread_join(ledger->workers[i], NULL);
  (void)pthread_mutex_lock(&ledger->lock);
  (void)pthread_cond_broadcast(&ledger->wake);
  (void)pthread_mutex_unlock(&ledger->lock);
  if (ledger->thread_runs) (void)pthread_join(ledger->thread, NULL);
  round_take(ledger, ledger->ready.first); /* what a worker finished after the thread had ended */
  ledger->ready = (deai_engine_queue){NULL, NULL};
  pending_refuse(ledger, DEAI_ECANCELLED, "the ledger closes");
  free(ledger->pending);
}

int32_t deai_ledger_submit(deai_ledger *ledger, deai_bytes signed_tx, void *user,
                           deai_ledger_done *done) {
  int32_t status = DEAI_OK;
  if (ledger->engine != DEAI_ENGINE_LOCAL) return DEAI_EUNSUPPORTED;
  if (signed_tx.len == 0 || signed_tx.len > DEAI_TX_MAX) return DEAI_ETOOLARGE;
  deai_engine_item *item = calloc(1, sizeof *item);
  uint8_t *bytes = malloc((size_t)signed_tx.len);
  if (item == NULL || bytes == NULL) status = DEAI_ENOMEM;
  if (status == DEAI_OK) {
    memcpy(bytes, signed_tx.ptr, (size_t)signed_tx.len);
    item->bytes = bytes;
    item->len = signed_tx.len;
    item->user = user;
    item->done = done;
    (void)pthread_mutex_lock(&ledger->lock);
    if (ledger->waiting >= DEAI_TX_WAITING_MAX || ledger->ending) {
      status = DEAI_EBUSY;
    } else {
      ledger->waiting++;
      queue_put(&ledger->raw, item);
      (void)pthread_cond_signal(&ledger->work);
    }
    (void)pthread_mutex_unlock(&ledger->lock);
  }
  if (status != DEAI_OK) {
    free(item);
    free(bytes);
  }
  return status;
}
