#include "fixture.h"

#include "tests/testing.h"

#include "host/base/file.h"
#include "host/ledger/records.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static uint64_t clock_now_ns(void *state) {
  (void)pthread_mutex_lock(&lock);
  uint64_t now = ((fixture *)state)->now_ns;
  (void)pthread_mutex_unlock(&lock);
  return now;
}

static uint64_t clock_wall_ms(void *state) {
  (void)pthread_mutex_lock(&lock);
  uint64_t now = ((fixture *)state)->wall_ms;
  (void)pthread_mutex_unlock(&lock);
  return now;
}

deai_key *fixture_key(uint8_t seed) {
  uint8_t bytes[32];
  memset(bytes, seed, sizeof bytes);
  deai_key *key = deai_key_of_seed(bytes);
  ck_assert_ptr_nonnull(key);
  return key;
}

void fixture_start(fixture *net, void (*tweak)(deai_genesis_options *options)) {
  static uint32_t count;
  deai_genesis_options options;
  char name[32];
  memset(net, 0, sizeof *net);
  ck_assert_int_eq(deai_sign_start(net->err, sizeof net->err), DEAI_OK);
  net->wallet = fixture_key(1);
  net->node = fixture_key(2);
  net->order = fixture_key(3);
  net->builder = malloc(sizeof *net->builder);
  ck_assert_ptr_nonnull(net->builder);
  memset(&options, 0, sizeof options);
  options.name = deai_str_of("test");
  options.node_name = deai_str_of("first");
  options.time_ms = FIXTURE_T0;
  memset(options.id, 9, sizeof options.id);
  memcpy(options.wallet, deai_key_public(net->wallet), DEAI_KEY_BYTES);
  memcpy(options.node, deai_key_public(net->node), DEAI_KEY_BYTES);
  memcpy(options.order, deai_key_public(net->order), DEAI_KEY_BYTES);
  options.node_cap = 1000 * DEAI_COIN;
  options.bits = 4;
  options.hold_ms = 1000;
  if (tweak != NULL) tweak(&options);
  ck_assert_msg(deai_genesis_build(&options, &net->genesis, net->err, sizeof net->err) == DEAI_OK,
                "%s", net->err);
  deai_account_of_key(options.wallet, net->owner);
  (void)snprintf(name, sizeof name, "ledger-%u", count++);
  ck_assert_int_eq(deai_path_join(net->folder, sizeof net->folder, testing_folder(), name),
                   DEAI_OK);
  net->wall_ms = FIXTURE_T0 + 1000;
  net->now_ns = 1000000000;
  net->platform = *deai_platform_system();
  net->platform.state = net;
  net->platform.now_ns = clock_now_ns;
  net->platform.wall_ms = clock_wall_ms;
}

static void on_block(void *user, const deai_ledger_update *update) {
  fixture *net = user;
  (void)pthread_mutex_lock(&lock);
  net->last = *update;
  net->blocks++;
  (void)pthread_cond_broadcast(&changed);
  (void)pthread_mutex_unlock(&lock);
}

int32_t fixture_try_open(fixture *net, deai_ledger_engine engine, uint32_t read_only) {
  deai_ledger_options options;
  memset(&options, 0, sizeof options);
  options.folder = net->folder;
  options.genesis = net->genesis->bytes;
  options.engine = engine;
  options.order = engine == DEAI_ENGINE_LOCAL ? net->order : NULL;
  options.platform = &net->platform;
  options.user = net;
  options.on_block = on_block;
  options.workers = 2;
  options.read_only = read_only;
  options.map_bytes = UINT64_C(256) << 20;
  net->err[0] = 0;
  return deai_ledger_open(&options, &net->ledger, net->err, sizeof net->err);
}

void fixture_open(fixture *net) {
  int32_t status = fixture_try_open(net, DEAI_ENGINE_LOCAL, 0);
  ck_assert_msg(status == DEAI_OK, "open: %s: %s", deai_status_name(status), net->err);
}

void fixture_close(fixture *net) {
  deai_ledger_close(net->ledger);
  net->ledger = NULL;
}

/* Copies the chain of a test to $DEAI_GOLDEN/NUMBER: how tests/vectors/golden-chain is made. */
static void golden_keep(const fixture *net) {
  static const char *const names[] = {"genesis", "blocks.log"};
  const char *place = getenv("DEAI_GOLDEN");
  char folder[4096], from[8300], to[8300];
  uint8_t *bytes = NULL;
  uint64_t len;
  if (place == NULL) return;
  (void)snprintf(folder, sizeof folder, "%s/%s", place, strrchr(net->folder, '/') + 1);
  ck_assert_int_eq(deai_folder_make(folder, 0755, NULL, 0), DEAI_OK);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    (void)snprintf(from, sizeof from, "%s/%s", net->folder, names[i]);
    (void)snprintf(to, sizeof to, "%s/%s", folder, names[i]);
    if (deai_file_read(from, 1u << 24, &bytes, &len, NULL, 0) != DEAI_OK) continue;
    ck_assert_int_eq(deai_file_replace(to, deai_bytes_of(bytes, len), 0644, NULL, 0), DEAI_OK);
    free(bytes);
  }
}

void fixture_end(fixture *net) {
  fixture_close(net);
  golden_keep(net);
  deai_genesis_free(net->genesis);
  deai_key_free(net->wallet);
  deai_key_free(net->node);
  deai_key_free(net->order);
  free(net->builder);
}

void fixture_move(fixture *net, uint64_t ms) {
  (void)pthread_mutex_lock(&lock);
  net->wall_ms += ms;
  net->now_ns += ms * 1000000;
  (void)pthread_mutex_unlock(&lock);
  if (net->ledger != NULL) deai_ledger_wake(net->ledger);
}

void fixture_begin(fixture *net, const uint8_t account[DEAI_ACCT_BYTES], const deai_key *key) {
  uint64_t nonce = 1;
  (void)!deai_ledger_nonce(net->ledger, deai_key_public(key), &nonce, NULL);
  deai_tx_start(net->builder, account, nonce, 0, 0);
}

typedef struct wait_job {
  fixture *net;
  int32_t done;
  int32_t status;
} wait_job;

static void submit_done(void *user, int32_t status, const char *why,
                        const uint8_t id[DEAI_HASH_BYTES], uint64_t height) {
  wait_job *job = user;
  (void)pthread_mutex_lock(&lock);
  job->done = 1;
  job->status = status;
  job->net->height = height;
  memcpy(job->net->tx_id, id, DEAI_HASH_BYTES);
  (void)snprintf(job->net->err, sizeof job->net->err, "%s", why);
  (void)pthread_cond_broadcast(&changed);
  (void)pthread_mutex_unlock(&lock);
}

int32_t fixture_submit(fixture *net, deai_bytes bytes) {
  wait_job job = {net, 0, 0};
  int32_t status = deai_ledger_submit(net->ledger, bytes, &job, submit_done);
  if (status != DEAI_OK) return status;
  (void)pthread_mutex_lock(&lock);
  while (!job.done)
    (void)pthread_cond_wait(&changed, &lock);
  (void)pthread_mutex_unlock(&lock);
  return job.status;
}

int32_t fixture_send(fixture *net, const deai_key *key) {
  uint8_t *room = malloc(DEAI_TX_MAX);
  uint64_t len;
  ck_assert_ptr_nonnull(room);
  int32_t status = deai_tx_sign(net->builder, net->genesis->hash, key,
                                (deai_buf){room, DEAI_TX_MAX}, &len, net->err, sizeof net->err);
  if (status == DEAI_OK) status = fixture_submit(net, deai_bytes_of(room, len));
  free(room);
  return status;
}

int32_t fixture_transfer(fixture *net, const deai_key *key, const uint8_t to[DEAI_ACCT_BYTES],
                         uint64_t amount) {
  uint8_t account[DEAI_ACCT_BYTES] = {0};
  uint64_t nonce;
  deai_op_transfer op;
  memset(&op, 0, sizeof op);
  memcpy(op.to, to, DEAI_ACCT_BYTES);
  op.amount = amount;
  (void)!deai_ledger_nonce(net->ledger, deai_key_public(key), &nonce, account);
  fixture_begin(net, account, key);
  deai_tx_op(net->builder, "account/1", "transfer", &deai_op_transfer_table, &op);
  return fixture_send(net, key);
}

void fixture_account(fixture *net, uint8_t seed, uint64_t coins, uint8_t out[DEAI_ACCT_BYTES]) {
  static const deai_str all[1] = {{"*", 1}};
  deai_key *key = fixture_key(seed);
  deai_account_key first;
  deai_op_create op = {{&first, 1}};
  memset(&first, 0, sizeof first);
  memcpy(first.k, deai_key_public(key), DEAI_KEY_BYTES);
  first.may = (deai_list){(void *)(uintptr_t)all, 1};
  deai_account_of_key(first.k, out);
  fixture_begin(net, net->owner, net->wallet);
  deai_tx_op(net->builder, "account/1", "create", &deai_op_create_table, &op);
  ck_assert_msg(fixture_send(net, net->wallet) == DEAI_OK, "create: %s", net->err);
  if (coins > 0)
    ck_assert_msg(fixture_transfer(net, net->wallet, out, coins) == DEAI_OK, "%s", net->err);
  deai_key_free(key);
}

void fixture_member(fixture *net, uint8_t seed, const char *name,
                    const uint8_t account[DEAI_ACCT_BYTES], deai_role role) {
  deai_key *key = fixture_key(seed);
  deai_op_member_add op;
  memset(&op, 0, sizeof op);
  op.member.name = deai_str_of(name);
  op.member.role = role;
  memcpy(op.member.node, deai_key_public(key), DEAI_KEY_BYTES);
  memcpy(op.member.owner, account, DEAI_ACCT_BYTES);
  fixture_begin(net, net->owner, net->wallet);
  deai_tx_op(net->builder, "registry/1", "member_add", &deai_op_member_add_table, &op);
  ck_assert_msg(fixture_send(net, net->wallet) == DEAI_OK, "member_add: %s", net->err);
  deai_key_free(key);
}

uint64_t fixture_balance(fixture *net, const uint8_t account[DEAI_ACCT_BYTES]) {
  deai_ledger_answer answer;
  deai_account_rec rec;
  ck_assert_int_eq(deai_ledger_lookup(net->ledger, deai_str_of("account/1"),
                                      deai_str_of("accounts"),
                                      deai_bytes_of(account, DEAI_ACCT_BYTES), 0, &answer),
                   DEAI_OK);
  memset(&rec, 0, sizeof rec);
  if (answer.found)
    ck_assert_int_eq(deai_decode(&deai_account_rec_table, answer.value, &rec, NULL, NULL, 0),
                     DEAI_OK);
  deai_ledger_answer_free(&answer);
  return rec.b;
}

void fixture_wait(fixture *net, uint64_t height) {
  (void)pthread_mutex_lock(&lock);
  while (net->last.height < height)
    (void)pthread_cond_wait(&changed, &lock);
  (void)pthread_mutex_unlock(&lock);
}
