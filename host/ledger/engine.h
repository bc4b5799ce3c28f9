#ifndef DEAI_HOST_LEDGER_ENGINE_H
#define DEAI_HOST_LEDGER_ENGINE_H

#include "host/ledger/core.h"
#include "host/ledger/ledger.h"

#include <pthread.h>

/* The two engines behind ledger.h. Private to host/ledger.

     submit -> work (signature checked by a worker) -> ready -> pending (ledger thread only)
            -> accepted -> durable -> answered

   Threads  lock guards the queues, the head and stopped; pending belongs to the ledger thread. */

#define DEAI_ENGINE_WORKERS_MAX 8u

typedef struct deai_engine_item {
  struct deai_engine_item *next;
  uint8_t *bytes; /* as submitted, until parsed */
  uint64_t len;
  deai_tx_parsed *tx;
  int32_t status; /* of parsing */
  uint64_t deadline_ns;
  void *user;
  deai_ledger_done *done;
  char why[DEAI_ABCI_WHY_MAX];
} deai_engine_item;

typedef struct deai_engine_queue {
  deai_engine_item *first;
  deai_engine_item *last;
} deai_engine_queue;

struct deai_ledger {
  deai_core *core;
  deai_ledger_engine engine;
  const deai_key *order;
  const deai_platform *platform;
  void *user;
  void (*on_block)(void *user, const deai_ledger_update *update);

  pthread_mutex_t lock;
  pthread_cond_t wake; /* of the ledger thread */
  pthread_cond_t work; /* of the workers */
  deai_engine_queue raw;
  deai_engine_queue ready;
  uint64_t waiting; /* submitted and not answered */
  int32_t ending;
  int32_t poked;
  int32_t stopped;
  char stopped_why[256];
  deai_abci_info head;

  pthread_t thread;
  pthread_t workers[DEAI_ENGINE_WORKERS_MAX];
  uint32_t worker_count;
  int32_t thread_runs;
  deai_engine_item **pending; /* in the order of arrival */
  uint64_t pending_count;
  uint64_t pending_cap;

  pthread_mutex_t follow_lock; /* one apply_entry at a time */
};

/* deai_engine_start starts the threads of engine local. */
DEAI_MUST_CHECK int32_t deai_engine_start(deai_ledger *ledger, uint32_t workers, char *err,
                                          uint32_t err_cap);

/* deai_engine_stop ends them; what waits is answered with DEAI_ECANCELLED. */
void deai_engine_stop(deai_ledger *ledger);

/* deai_engine_halt stops the ledger for good and says why in the log. */
void deai_engine_halt(deai_ledger *ledger, const char *why);

/* deai_engine_show takes over the new head and tells on_block. */
void deai_engine_show(deai_ledger *ledger, deai_bytes entry, const deai_abci_result *result);

#endif
