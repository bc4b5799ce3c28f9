#include "ledger.h"

#include "engine.h"
#include "evidence.h"

#include "host/base/log.h"
#include "host/ledger/records.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

static int32_t refuse(char *err, uint32_t err_cap, int32_t status, const char *text) {
  (void)snprintf(err, err_cap, "%s", text);
  return status;
}

/* ---- life ---- */

static int32_t start_checks(const deai_ledger_options *options, char *err, uint32_t err_cap) {
  if (options->engine == DEAI_ENGINE_LOCAL && options->order == NULL)
    return refuse(err, err_cap, DEAI_EINVAL, "expected an order key for engine local, found none");
  return deai_sign_start(err, err_cap);
}

/* A follower with evidence on disk stays stopped until somebody has looked at it. */
static void start_evidence(deai_ledger *ledger) {
  uint64_t height = deai_evidence_height(ledger->core->folder);
  if (height == 0 || ledger->engine != DEAI_ENGINE_FOLLOW) return;
  ledger->stopped = 1;
  (void)snprintf(ledger->stopped_why, sizeof ledger->stopped_why,
                 "stopped: there is evidence against the orderer at height %llu, see "
                 "ledger/evidence; remove it to follow again",
                 (unsigned long long)height);
  deai_log(DEAI_LEVEL_ERROR, "ledger", "%s", ledger->stopped_why);
}

static int32_t locks_start(deai_ledger *ledger) {
  pthread_condattr_t clock;
  if (pthread_mutex_init(&ledger->lock, NULL) != 0) return DEAI_ENOMEM;
  if (pthread_mutex_init(&ledger->follow_lock, NULL) != 0) return DEAI_ENOMEM;
  if (pthread_condattr_init(&clock) != 0) return DEAI_ENOMEM;
  (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
  int code = pthread_cond_init(&ledger->wake, &clock);
  if (code == 0) code = pthread_cond_init(&ledger->work, &clock);
  (void)pthread_condattr_destroy(&clock);
  return code == 0 ? DEAI_OK : DEAI_ENOMEM;
}

int32_t deai_ledger_open(const deai_ledger_options *options, deai_ledger **ledger_out, char *err,
                         uint32_t err_cap) {
  int32_t status = start_checks(options, err, err_cap);
  if (status != DEAI_OK) return status;
  deai_ledger *ledger = calloc(1, sizeof *ledger);
  if (ledger == NULL) return DEAI_ENOMEM;
  ledger->engine = options->engine;
  ledger->order = options->order;
  ledger->platform = options->platform != NULL ? options->platform : deai_platform_system();
  ledger->user = options->user;
  ledger->on_block = options->on_block;
  status = locks_start(ledger);
  deai_core_options core = {options->folder, options->genesis, NULL, options->read_only,
                            options->map_bytes};
  if (options->engine == DEAI_ENGINE_LOCAL) core.order = deai_key_public(options->order);
  if (status == DEAI_OK) status = deai_core_open(&core, &ledger->core, err, err_cap);
  if (status == DEAI_OK) status = deai_core_info(ledger->core, &ledger->head);
  if (status == DEAI_OK) {
    start_evidence(ledger);
    if (options->engine == DEAI_ENGINE_LOCAL)
      status = deai_engine_start(ledger, options->workers, err, err_cap);
  }
  if (status != DEAI_OK) {
    deai_ledger_close(ledger);
    return status;
  }
  *ledger_out = ledger;
  return DEAI_OK;
}

void deai_ledger_close(deai_ledger *ledger) {
  if (ledger == NULL) return;
  deai_engine_stop(ledger);
  deai_core_close(ledger->core);
  (void)pthread_cond_destroy(&ledger->wake);
  (void)pthread_cond_destroy(&ledger->work);
  (void)pthread_mutex_destroy(&ledger->lock);
  (void)pthread_mutex_destroy(&ledger->follow_lock);
  free(ledger);
}

/* ---- what any thread may ask ---- */

deai_bytes deai_ledger_genesis(const deai_ledger *ledger, uint8_t hash[DEAI_HASH_BYTES]) {
  if (hash != NULL) memcpy(hash, ledger->core->genesis->hash, DEAI_HASH_BYTES);
  return ledger->core->genesis->bytes;
}

void deai_ledger_head_get(deai_ledger *ledger, deai_ledger_head *head) {
  uint64_t wall = deai_wall_ms(ledger->platform);
  (void)pthread_mutex_lock(&ledger->lock);
  head->height = ledger->head.height;
  head->time_ms = ledger->head.time_ms;
  memcpy(head->hash, ledger->head.hash, DEAI_HASH_BYTES);
  memcpy(head->root, ledger->head.root, DEAI_HASH_BYTES);
  memcpy(head->orderer, ledger->head.orderer, DEAI_KEY_BYTES);
  head->stopped = (uint32_t)ledger->stopped;
  (void)pthread_mutex_unlock(&ledger->lock);
  head->now_ms = wall > head->time_ms ? wall : head->time_ms + 1;
}

int32_t deai_ledger_read(deai_ledger *ledger, uint64_t height, uint8_t **ptr_out,
                         uint64_t *len_out) {
  return deai_core_read(ledger->core, height, ptr_out, len_out);
}

int32_t deai_ledger_lookup(deai_ledger *ledger, deai_str module, deai_str table, deai_bytes key,
                           int32_t prove, deai_ledger_answer *answer_out) {
  deai_state_answer answer;
  const deai_abci *abci = ledger->core->abci;
  memset(answer_out, 0, sizeof *answer_out);
  int32_t status = abci->query(abci->app, module, table, key, prove, &answer);
  if (status != DEAI_OK) return status;
  answer_out->found = answer.found;
  answer_out->value = answer.value;
  answer_out->proof = answer.proof;
  answer_out->block = answer.signed_block;
  answer_out->height = answer.height;
  answer_out->memory = answer.memory;
  return DEAI_OK;
}

void deai_ledger_answer_free(deai_ledger_answer *answer) {
  free(answer->memory);
  memset(answer, 0, sizeof *answer);
}

int32_t deai_ledger_block(deai_ledger *ledger, uint8_t **ptr_out, uint64_t *len_out) {
  deai_ledger_answer answer;
  int32_t status = deai_ledger_lookup(ledger, deai_str_of("chain/1"), deai_str_of("chain"),
                                      deai_bytes_of("orderer", 7), 0, &answer);
  if (status != DEAI_OK) return status;
  uint8_t *copy = malloc((size_t)answer.block.len + 1);
  if (copy != NULL && answer.block.len > 0)
    memcpy(copy, answer.block.ptr, (size_t)answer.block.len);
  *ptr_out = copy;
  *len_out = answer.block.len;
  deai_ledger_answer_free(&answer);
  return copy != NULL ? DEAI_OK : DEAI_ENOMEM;
}

int32_t deai_ledger_each_record(deai_ledger *ledger, deai_str module, deai_str table,
                                deai_bytes prefix, void *user,
                                int32_t (*each)(void *user, deai_bytes key, deai_bytes value)) {
  int32_t number = deai_state_table(ledger->core->state, module, table);
  if (number < 0) return DEAI_ENOTFOUND;
  return deai_state_lookup_each(ledger->core->state, (uint32_t)number, prefix, each, user);
}

int32_t deai_ledger_nonce(deai_ledger *ledger, const uint8_t key[DEAI_KEY_BYTES],
                          uint64_t *next_out, uint8_t account[DEAI_ACCT_BYTES]) {
  deai_ledger_answer answer;
  deai_key_rec rec;
  _Alignas(16) uint8_t room[512];
  deai_arena arena = {room, sizeof room, 0};
  int32_t status = deai_ledger_lookup(ledger, deai_str_of("account/1"), deai_str_of("keys"),
                                      deai_bytes_of(key, DEAI_KEY_BYTES), 0, &answer);
  if (status != DEAI_OK) return status;
  status = answer.found ? deai_decode(&deai_key_rec_table, answer.value, &rec, &arena, NULL, 0)
                        : DEAI_ENOTFOUND;
  if (status == DEAI_OK) {
    *next_out = rec.n + 1;
    if (account != NULL) memcpy(account, rec.a, DEAI_ACCT_BYTES);
  }
  deai_ledger_answer_free(&answer);
  return status;
}
