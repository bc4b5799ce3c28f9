/* The ledger after a crash: a child orders blocks under the recorder and says of each transaction
   that was answered in which block it is; then crash images of its folder are made and opened. No
   answered transaction may be missing, the same bytes must get the same answer, and verify must
   pass. The same images without syncs must break that, or the test would see nothing.

     crash_ledger RECORDER.so        the test        crash_ledger --work FOLDER     the child */
#include "host/base/log.h"
#include "host/ledger/genesis.h"
#include "host/ledger/ledger.h"
#include "host/ledger/tx.h"
#include "host/ledger/verify.h"

#include "tests/fault/crash.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

#define TXS          48
#define REOPEN_EVERY 16
#define MAP_BYTES    (UINT64_C(64) << 20)
#define GENESIS_TIME UINT64_C(1700000000000)
#define EXIT_LOST    3

typedef struct network {
  deai_genesis_box *genesis;
  deai_key *wallet;
  deai_key *order;
  uint8_t account[DEAI_ACCT_BYTES];
  deai_tx_builder builder;
} network;

static network net;

static void die(const char *what, int32_t status, const char *err) {
  (void)fprintf(stderr, "crash_ledger: %s: %s: %s\n", what, deai_status_name(status), err);
  exit(EXIT_LOST);
}

static deai_key *key_of(int seed) {
  uint8_t bytes[32];
  memset(bytes, seed, sizeof bytes);
  deai_key *key = deai_key_of_seed(bytes);
  if (key == NULL) die("key", DEAI_ENOMEM, "");
  return key;
}

/* the same network in child and checks */
static void network_start(void) {
  deai_genesis_options options;
  char err[300] = "";
  deai_key *node = key_of(2);
  net.wallet = key_of(1);
  net.order = key_of(3);
  memset(&options, 0, sizeof options);
  options.name = options.node_name = deai_str_of("crash");
  options.time_ms = GENESIS_TIME;
  options.bits = 2;
  memcpy(options.wallet, deai_key_public(net.wallet), DEAI_KEY_BYTES);
  memcpy(options.node, deai_key_public(node), DEAI_KEY_BYTES);
  memcpy(options.order, deai_key_public(net.order), DEAI_KEY_BYTES);
  int32_t status = deai_sign_start(err, sizeof err);
  if (status == DEAI_OK) status = deai_genesis_build(&options, &net.genesis, err, sizeof err);
  if (status != DEAI_OK) die("genesis", status, err);
  deai_account_of_key(options.wallet, net.account);
  deai_key_free(node);
}

static void network_end(void) {
  deai_genesis_free(net.genesis);
  deai_key_free(net.wallet);
  deai_key_free(net.order);
}

static deai_ledger *open_ledger(const char *folder) {
  deai_ledger_options options;
  deai_ledger *ledger = NULL;
  char err[400] = "";
  memset(&options, 0, sizeof options);
  options.folder = folder;
  options.genesis = net.genesis->bytes;
  options.order = net.order;
  options.workers = 1;
  options.map_bytes = MAP_BYTES;
  int32_t status = deai_ledger_open(&options, &ledger, err, sizeof err);
  if (status != DEAI_OK) die("open", status, err);
  return ledger;
}

typedef struct answer {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  int done;
  int32_t status;
  uint64_t height;
  char why[200];
} answer;

static void answered(void *user, int32_t status, const char *why, const uint8_t *id,
                     uint64_t height) {
  answer *self = user;
  (void)id;
  (void)pthread_mutex_lock(&self->lock);
  self->done = 1;
  self->status = status;
  self->height = height;
  (void)snprintf(self->why, sizeof self->why, "%s", why);
  (void)pthread_cond_signal(&self->changed);
  (void)pthread_mutex_unlock(&self->lock);
}

/* transaction number i (from 1) has always the same bytes; returns the height it is in */
static uint64_t submit(deai_ledger *ledger, int number) {
  answer result = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
  uint8_t room[1024];
  uint64_t len;
  char err[200] = "";
  deai_op_transfer op;
  memset(&op, 0, sizeof op);
  memcpy(op.to, net.account, DEAI_ACCT_BYTES);
  op.amount = (uint64_t)number;
  deai_tx_start(&net.builder, net.account, (uint64_t)number, 0, 0);
  deai_tx_op(&net.builder, "account/1", "transfer", &deai_op_transfer_table, &op);
  int32_t status = deai_tx_sign(&net.builder, net.genesis->hash, net.wallet,
                                (deai_buf){room, sizeof room}, &len, err, sizeof err);
  if (status == DEAI_OK)
    status = deai_ledger_submit(ledger, deai_bytes_of(room, len), &result, answered);
  if (status != DEAI_OK) die("submit", status, err);
  (void)pthread_mutex_lock(&result.lock);
  while (!result.done)
    (void)pthread_cond_wait(&result.changed, &result.lock);
  (void)pthread_mutex_unlock(&result.lock);
  if (result.status != DEAI_OK) die("submit", result.status, result.why);
  return result.height;
}

/* --- the child --- */

static int work(const char *folder) {
  network_start();
  deai_ledger *ledger = open_ledger(folder);
  for (int number = 1; number <= TXS; number++) {
    char line[64];
    int len = snprintf(line, sizeof line, "tx %d %llu\n", number,
                       (unsigned long long)submit(ledger, number));
    if (write(1, line, (size_t)len) != len) return 2;
    if (number % REOPEN_EVERY != 0) continue;
    deai_ledger_close(ledger);
    ledger = open_ledger(folder);
  }
  deai_ledger_close(ledger);
  network_end();
  return 0;
}

/* --- the checks --- */

static void check_promises(deai_ledger *ledger, const char *promises) {
  int last = 0;
  for (const char *at = promises; at != NULL && *at != 0;) {
    int number = 0;
    unsigned long long height = 0;
    if (sscanf(at, "tx %d %llu", &number, &height) != 2) break;
    if (submit(ledger, number) != height) die("an answer", DEAI_EVERIFY, "another height");
    last = number;
    at = strchr(at, '\n');
    if (at != NULL) at++;
  }
  (void)submit(ledger, last + 1); /* whether it is there already or not, it goes on */
}

static int check_image(const char *folder, const char *promises) {
  char path[4200], err[400] = "";
  deai_verify_report report;
  deai_log_setup(DEAI_LEVEL_ERROR, 0);
  (void)snprintf(path, sizeof path, "%s/store", folder);
  network_start();
  deai_ledger *ledger = open_ledger(path);
  check_promises(ledger, promises);
  deai_ledger_close(ledger);
  int32_t status =
      deai_ledger_verify(path, DEAI_VERIFY_RULES, NULL, NULL, &report, err, sizeof err);
  if (status != DEAI_OK) die("verify", status, err);
  network_end();
  return 0;
}

/* a ledger that forgot its syncs: one write in the middle is lost though later ones are there */
static size_t forget(const fault_log *log, size_t number, size_t *calls_out) {
  *calls_out = fault_log_count(log);
  size_t writes = fault_unsynced_writes(log, *calls_out);
  return fault_unsynced_write(log, *calls_out, true, number * writes / FAULT_CRASH_WITHOUT);
}

int main(int argc, char **argv) {
  static const fault_crash test = {.name = "crash_ledger",
                                   .place = "store",
                                   .images_least = 500,
                                   .work = work,
                                   .check = check_image,
                                   .forget = forget};
  return fault_crash_main(&test, argc, argv);
}
