#include "verify.h"

#include "core.h"
#include "guard.h"

#include "host/base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/base/banned.h"

typedef struct verify_job {
  deai_genesis_box *genesis;
  deai_blocklog *log;
  deai_verify_report *report;
  deai_verify_progress *progress;
  void *user;
  uint64_t frames; /* estimate of the height, for progress */

  /* the block before */
  uint64_t height;
  uint64_t time_ms;
  uint8_t hash[DEAI_HASH_BYTES];
  uint8_t orderer[DEAI_KEY_BYTES];

  /* with DEAI_VERIFY_RULES: a machine of its own over a state that is thrown away */
  char folder[DEAI_CORE_PATH_MAX];
  deai_state *state;
  deai_app *app;
  const deai_abci *abci;
} verify_job;

/* ---- blocks ---- */

/* Without the rules nobody says who orders: an orderer operation in a good block does. */
static void follow_orderer(verify_job *job, const deai_entry *entry) {
  for (uint64_t i = 0; i < entry->tx_count; i++) {
    const deai_op *ops = entry->txs[i]->tx.t.items;
    for (uint64_t k = 0; k < entry->txs[i]->tx.t.count; k++) {
      deai_op_orderer op;
      if (deai_str_eq(ops[k].module, deai_str_of("chain/1")) &&
          deai_str_eq(ops[k].type, deai_str_of("orderer")) &&
          deai_decode(&deai_op_orderer_table, ops[k].body, &op, NULL, NULL, 0) == DEAI_OK)
        memcpy(job->orderer, op.key, DEAI_KEY_BYTES);
    }
  }
}

static int32_t run_rules(verify_job *job, const deai_entry *entry, char *err, uint32_t err_cap) {
  deai_abci_result result;
  deai_abci_commit commit = {entry->signed_block, entry->hash, 0, 0, NULL, 0};
  int32_t status = deai_app_rules_check(job->app, err, err_cap);
  if (status == DEAI_OK) status = deai_entry_run(entry, job->abci, &result, err, err_cap);
  if (status == DEAI_OK) status = job->abci->commit(job->abci->app, &commit, err, err_cap);
  if (status == DEAI_OK) status = deai_app_conserved(job->app, err, err_cap);
  return status;
}

static int32_t check_entry(verify_job *job, const deai_entry *entry, char *err, uint32_t err_cap) {
  deai_entry_before before = {job->height, job->time_ms, job->hash, job->orderer};
  const uint8_t *genesis = job->genesis->hash;
  int32_t status = deai_entry_signed(entry, genesis, job->orderer, err, err_cap);
  if (status == DEAI_OK) status = deai_entry_link(entry, &before, err, err_cap);
  if (status == DEAI_OK) status = deai_entry_data(entry, err, err_cap);
  if (status == DEAI_OK) status = deai_entry_tx_sigs(entry, genesis, err, err_cap);
  if (status == DEAI_OK && job->app != NULL) status = run_rules(job, entry, err, err_cap);
  if (status != DEAI_OK) return status == DEAI_EVERSION ? status : DEAI_EVERIFY;
  job->height = entry->block.h;
  job->time_ms = entry->block.t;
  memcpy(job->hash, entry->hash, DEAI_HASH_BYTES);
  follow_orderer(job, entry);
  job->report->blocks++;
  job->report->transactions += entry->tx_count;
  memcpy(job->report->head, entry->hash, DEAI_HASH_BYTES);
  memcpy(job->report->root, entry->block.s, DEAI_HASH_BYTES);
  return DEAI_OK;
}

static int32_t check_frame(verify_job *job, const deai_blocklog_frame *frame, char *err,
                           uint32_t err_cap) {
  deai_entry *entry = NULL;
  int32_t status = deai_entry_open(deai_bytes_of(frame->payload, frame->len), &entry, err, err_cap);
  if (status != DEAI_OK) return status == DEAI_ENOMEM ? status : DEAI_EVERIFY;
  status = check_entry(job, entry, err, err_cap);
  deai_entry_free(entry);
  return status;
}

static int32_t check_log(verify_job *job, char *err, uint32_t err_cap) {
  uint64_t at = 0, size = deai_blocklog_size(job->log);
  for (;;) {
    deai_blocklog_frame frame;
    char why[200] = "a damaged frame";
    int32_t status = deai_blocklog_read(job->log, at, &frame);
    if (status == DEAI_ENOTFOUND) return DEAI_OK;
    if (status == DEAI_OK && frame.height != job->height + 1) status = DEAI_EVERIFY;
    if (status == DEAI_OK) status = check_frame(job, &frame, why, sizeof why);
    free(frame.payload);
    if (status != DEAI_OK) {
      job->report->bad_height = job->height + 1;
      job->report->bad_offset = at;
      (void)snprintf(err, err_cap,
                     "expected a good block %llu at byte %llu of the block log, found: %s",
                     (unsigned long long)job->height + 1, (unsigned long long)at, why);
      return status;
    }
    at = frame.next;
    uint64_t mean = at / job->height; /* of a frame so far */
    if (job->progress != NULL) job->progress(job->user, job->height, size / mean);
  }
}

/* ---- state ---- */

static int32_t check_state(verify_job *job, const char *folder, char *err, uint32_t err_cap) {
  deai_guard_verdict verdict;
  deai_guard_judge(folder, &job->genesis->genesis, 0, &verdict);
  if (verdict.status == DEAI_ENOTFOUND) return DEAI_OK; /* it is rebuilt at the next start */
  if (verdict.status != DEAI_OK) {
    (void)snprintf(err, err_cap, "%s: it is rebuilt from the block log at the next start",
                   verdict.why[0] != 0 ? verdict.why : "expected an undamaged state");
    return verdict.status;
  }
  if (verdict.head.height > job->height) {
    (void)snprintf(err, err_cap,
                   "expected a state up to block %llu, found one of block %llu: the block log is "
                   "an older copy",
                   (unsigned long long)job->height, (unsigned long long)verdict.head.height);
    return DEAI_EVERIFY;
  }
  if (verdict.head.height < job->height || job->height == 0) return DEAI_OK;
  if (memcmp(verdict.head.hash, job->hash, DEAI_HASH_BYTES) == 0 &&
      memcmp(verdict.head.root, job->report->root, DEAI_HASH_BYTES) == 0)
    return DEAI_OK;
  (void)snprintf(err, err_cap, "expected the state of block %llu, found another root",
                 (unsigned long long)job->height);
  return DEAI_EVERIFY;
}

/* ---- the machine of --rules ---- */

static int32_t rules_start(verify_job *job, char *err, uint32_t err_cap) {
  const char *parent = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
  int used = snprintf(job->folder, sizeof job->folder, "%s/deai-verify-XXXXXX", parent);
  if (used < 0 || (size_t)used >= sizeof job->folder || mkdtemp(job->folder) == NULL) {
    job->folder[0] = 0;
    (void)snprintf(err, err_cap, "expected a temporary folder in %s, found that none can be made",
                   parent);
    return DEAI_EIO;
  }
  int32_t status = deai_state_open(job->folder, &job->genesis->genesis, 0, DEAI_STATE_LOOSE,
                                   &job->state, err, err_cap);
  if (status == DEAI_OK) status = deai_app_new(job->state, job->genesis, &job->app, err, err_cap);
  if (status != DEAI_OK) return status;
  job->abci = deai_app_table(job->app);
  status = job->abci->init_chain(job->abci->app, err, err_cap);
  return status == DEAI_OK ? deai_app_conserved(job->app, err, err_cap) : status;
}

static void rules_stop(verify_job *job) {
  static const char *const names[] = {"data.mdb", "lock.mdb"};
  char path[DEAI_CORE_PATH_MAX];
  deai_app_free(job->app);
  deai_state_close(job->state);
  if (job->folder[0] == 0) return;
  for (uint32_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (deai_path_join(path, sizeof path, job->folder, names[i]) == DEAI_OK) (void)unlink(path);
  }
  (void)rmdir(job->folder);
}

static int32_t verify_all(verify_job *job, const char *folder, uint32_t flags, char *err,
                          uint32_t err_cap) {
  char path[DEAI_CORE_PATH_MAX];
  int32_t status = deai_core_load_genesis(folder, &job->genesis, err, err_cap);
  if (status != DEAI_OK) return status;
  job->time_ms = job->genesis->genesis.t;
  memcpy(job->hash, job->genesis->hash, DEAI_HASH_BYTES);
  memcpy(job->orderer, job->genesis->genesis.orderer, DEAI_KEY_BYTES);
  status = deai_path_join(path, sizeof path, folder, "blocks.log");
  if (status == DEAI_OK) status = deai_blocklog_open(path, 0, &job->log, err, err_cap);
  if (status == DEAI_OK && (flags & DEAI_VERIFY_RULES) != 0)
    status = rules_start(job, err, err_cap);
  if (status == DEAI_OK) status = check_log(job, err, err_cap);
  return status == DEAI_OK ? check_state(job, folder, err, err_cap) : status;
}

int32_t deai_ledger_verify(const char *folder, uint32_t flags, deai_verify_progress *progress,
                           void *user, deai_verify_report *report, char *err, uint32_t err_cap) {
  int lock = -1;
  memset(report, 0, sizeof *report);
  verify_job *job = calloc(1, sizeof *job);
  if (job == NULL) return DEAI_ENOMEM;
  job->report = report;
  job->progress = progress;
  job->user = user;
  int32_t status = deai_sign_start(err, err_cap);
  if (status == DEAI_OK) status = deai_core_lock(folder, &lock, err, err_cap);
  if (status == DEAI_OK) status = verify_all(job, folder, flags, err, err_cap);
  rules_stop(job);
  deai_blocklog_close(job->log);
  deai_genesis_free(job->genesis);
  if (lock >= 0) (void)close(lock);
  free(job);
  return status;
}
