/* Signed transfers a second of engine local: CLIENTS threads with IN_FLIGHT transactions each,
   every one answered after its block is durable. Prints one JSON line.

   ledger_bench [FOLDER] [SECONDS]     FOLDER is made, must not hold a ledger, and is left behind */
#include "host/base/file.h"
#include "host/base/log.h"
#include "host/ledger/genesis.h"
#include "host/ledger/ledger.h"
#include "host/ledger/tx.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define CLIENTS      8u
#define IN_FLIGHT    64u
#define LATENCY_MAX  (1u << 22)
#define SEED_WALLET  1u
#define SEED_NODE    2u
#define SEED_ORDER   3u
#define SEED_CLIENTS 100u

typedef struct bench {
  deai_ledger *ledger;
  deai_genesis_box *genesis;
  const deai_platform *platform;
  uint64_t end_ns;
  pthread_mutex_t lock;
  uint32_t *latency_us;
  uint64_t count;
  uint64_t failed;
} bench;

typedef struct client {
  bench *all;
  deai_key *key;
  uint8_t account[DEAI_ACCT_BYTES];
  uint64_t nonce;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  uint32_t open;
  deai_tx_builder *builder;
} client;

typedef struct flight {
  client *owner;
  uint64_t start_ns;
} flight;

static void die(const char *what, const char *err) {
  (void)fprintf(stderr, "ledger_bench: %s: %s\n", what, err);
  exit(1);
}

static deai_key *key_of(uint32_t seed) {
  uint8_t bytes[32];
  memset(bytes, (int)seed, sizeof bytes);
  deai_key *key = deai_key_of_seed(bytes);
  if (key == NULL) die("key", "no memory");
  return key;
}

static void done(void *user, int32_t status, const char *why, const uint8_t *id, uint64_t height) {
  flight *trip = user;
  client *self = trip->owner;
  bench *all = self->all;
  uint64_t took = deai_now_ns(all->platform) - trip->start_ns;
  (void)id, (void)height;
  (void)pthread_mutex_lock(&all->lock);
  if (status != DEAI_OK && all->failed++ == 0) (void)fprintf(stderr, "failed: %s\n", why);
  if (status == DEAI_OK && all->count < LATENCY_MAX)
    all->latency_us[all->count++] = (uint32_t)(took / 1000);
  (void)pthread_mutex_unlock(&all->lock);
  free(trip);
  (void)pthread_mutex_lock(&self->lock);
  self->open--;
  (void)pthread_cond_signal(&self->changed);
  (void)pthread_mutex_unlock(&self->lock);
}

static void submit(client *self, const deai_key *key) {
  uint8_t room[2048];
  char err[200];
  uint64_t len;
  flight *trip = malloc(sizeof *trip);
  if (trip == NULL) die("submit", "no memory");
  if (deai_tx_sign(self->builder, self->all->genesis->hash, key, (deai_buf){room, sizeof room},
                   &len, err, sizeof err) != DEAI_OK)
    die("sign", err);
  (void)pthread_mutex_lock(&self->lock);
  while (self->open == IN_FLIGHT)
    (void)pthread_cond_wait(&self->changed, &self->lock);
  self->open++;
  (void)pthread_mutex_unlock(&self->lock);
  *trip = (flight){self, deai_now_ns(self->all->platform)};
  int32_t status = deai_ledger_submit(self->all->ledger, deai_bytes_of(room, len), trip, done);
  if (status != DEAI_OK) die("submit", deai_status_text(status));
}

static void drain(client *self) {
  (void)pthread_mutex_lock(&self->lock);
  while (self->open > 0)
    (void)pthread_cond_wait(&self->changed, &self->lock);
  (void)pthread_mutex_unlock(&self->lock);
}

static void transfer(client *self, const uint8_t *to, uint64_t amount) {
  deai_op_transfer op;
  memset(&op, 0, sizeof op);
  memcpy(op.to, to, DEAI_ACCT_BYTES);
  op.amount = amount;
  deai_tx_start(self->builder, self->account, self->nonce++, 0, 0);
  deai_tx_op(self->builder, "account/1", "transfer", &deai_op_transfer_table, &op);
  submit(self, self->key);
}

static void *client_run(void *user) {
  client *self = user;
  while (deai_now_ns(self->all->platform) < self->all->end_ns)
    transfer(self, self->account, 1);
  drain(self);
  return NULL;
}

static void client_start(client *self, bench *all, uint32_t seed) {
  memset(self, 0, sizeof *self);
  self->all = all;
  self->key = key_of(seed);
  self->nonce = 1;
  self->builder = malloc(sizeof *self->builder);
  if (self->builder == NULL) die("client", "no memory");
  deai_account_of_key(deai_key_public(self->key), self->account);
  (void)pthread_mutex_init(&self->lock, NULL);
  (void)pthread_cond_init(&self->changed, NULL);
}

static void client_end(client *self) {
  deai_key_free(self->key);
  free(self->builder);
}

static void create(client *owner, const client *made) {
  static const deai_str all[1] = {{"*", 1}};
  deai_account_key key;
  deai_op_create op = {{&key, 1}};
  memset(&key, 0, sizeof key);
  memcpy(key.k, deai_key_public(made->key), DEAI_KEY_BYTES);
  key.may = (deai_list){(void *)(uintptr_t)all, 1};
  deai_tx_start(owner->builder, owner->account, owner->nonce++, 0, 0);
  deai_tx_op(owner->builder, "account/1", "create", &deai_op_create_table, &op);
  submit(owner, owner->key);
  transfer(owner, made->account, 1000);
  drain(owner);
}

static deai_key *open_ledger(bench *all, const char *folder) {
  deai_genesis_options options;
  deai_ledger_options ledger;
  char err[400] = "";
  deai_key *wallet = key_of(SEED_WALLET), *node = key_of(SEED_NODE), *order = key_of(SEED_ORDER);
  memset(&options, 0, sizeof options);
  options.name = options.node_name = deai_str_of("bench");
  options.time_ms = deai_wall_ms(all->platform);
  memcpy(options.wallet, deai_key_public(wallet), DEAI_KEY_BYTES);
  memcpy(options.node, deai_key_public(node), DEAI_KEY_BYTES);
  memcpy(options.order, deai_key_public(order), DEAI_KEY_BYTES);
  options.tx_free = UINT64_C(1) << 40;
  if (deai_sign_start(err, sizeof err) != DEAI_OK) die("sign", err);
  if (deai_genesis_build(&options, &all->genesis, err, sizeof err) != DEAI_OK) die("genesis", err);
  memset(&ledger, 0, sizeof ledger);
  ledger.folder = folder;
  ledger.genesis = all->genesis->bytes;
  ledger.order = order;
  if (deai_ledger_open(&ledger, &all->ledger, err, sizeof err) != DEAI_OK) die("open", err);
  deai_key_free(wallet);
  deai_key_free(node);
  return order;
}

static int number_compare(const void *a, const void *b) {
  uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
  return left < right ? -1 : left > right;
}

static void report(const bench *all, double seconds) {
  deai_ledger_head head;
  deai_ledger_head_get(all->ledger, &head);
  qsort(all->latency_us, (size_t)all->count, sizeof all->latency_us[0], number_compare);
  uint64_t last = all->count > 0 ? all->count - 1 : 0;
  printf("{\"bench\":\"ledger\",\"clients\":%u,\"in_flight\":%u,\"tx\":%llu,\"failed\":%llu,"
         "\"blocks\":%llu,\"tx_s\":%.0f,\"p50_ms\":%.2f,\"p99_ms\":%.2f}\n",
         CLIENTS, IN_FLIGHT, (unsigned long long)all->count, (unsigned long long)all->failed,
         (unsigned long long)head.height, (double)all->count / seconds,
         (double)all->latency_us[last / 2] / 1000.0,
         (double)all->latency_us[last - last / 100] / 1000.0);
}

int main(int argc, char **argv) {
  char folder[64] = "/tmp/deai-ledger-bench-XXXXXX";
  static bench all;
  static client clients[CLIENTS], owner;
  pthread_t threads[CLIENTS];
  double seconds = argc > 2 ? strtod(argv[2], NULL) : 5.0;
  const char *place = argc > 1 ? argv[1] : mkdtemp(folder);
  if (place == NULL) die("folder", "none can be made");
  all.platform = deai_platform_system();
  all.latency_us = calloc(LATENCY_MAX, sizeof all.latency_us[0]);
  if (all.latency_us == NULL) die("start", "no memory");
  (void)pthread_mutex_init(&all.lock, NULL);
  deai_key *order = open_ledger(&all, place);
  client_start(&owner, &all, SEED_WALLET);
  for (uint32_t i = 0; i < CLIENTS; i++) {
    client_start(&clients[i], &all, SEED_CLIENTS + i);
    create(&owner, &clients[i]);
  }
  all.count = 0;
  uint64_t start = deai_now_ns(all.platform);
  all.end_ns = start + (uint64_t)(seconds * 1e9);
  for (uint32_t i = 0; i < CLIENTS; i++) {
    if (pthread_create(&threads[i], NULL, client_run, &clients[i]) != 0) die("start", "no thread");
  }
  for (uint32_t i = 0; i < CLIENTS; i++)
    (void)pthread_join(threads[i], NULL);
  report(&all, (double)(deai_now_ns(all.platform) - start) / 1e9);
  deai_ledger_close(all.ledger);
  deai_genesis_free(all.genesis);
  deai_key_free(order);
  client_end(&owner);
  for (uint32_t i = 0; i < CLIENTS; i++)
    client_end(&clients[i]);
  free(all.latency_us);
  return all.failed == 0 ? 0 : 1;
}
