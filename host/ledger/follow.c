#include "engine.h"
#include "evidence.h"

#include "host/base/log.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

/* Keeps the entries of a contradiction and stops. ours may be NULL. */
static int32_t contradict(deai_ledger *ledger, const deai_entry *theirs, const deai_entry *ours,
                          const char *what, char *err, uint32_t err_cap) {
  char kept[200] = "";
  const char *folder = ledger->core->folder;
  (void)snprintf(err, err_cap, "%s: kept as evidence, this node stops following", what);
  int32_t status =
      deai_evidence_keep(folder, theirs->block.h, theirs->hash, theirs->bytes, kept, sizeof kept);
  if (status == DEAI_OK && ours != NULL)
    status = deai_evidence_keep(folder, ours->block.h, ours->hash, ours->bytes, kept, sizeof kept);
  if (status != DEAI_OK)
    deai_log(DEAI_LEVEL_ERROR, "ledger", "evidence could not be written: %s", kept);
  deai_engine_halt(ledger, err);
  return DEAI_EVERIFY;
}

static int32_t own_entry(deai_ledger *ledger, uint64_t height, deai_entry **out, char *err,
                         uint32_t err_cap) {
  uint8_t *bytes = NULL;
  uint64_t len = 0;
  int32_t status = deai_core_read(ledger->core, height, &bytes, &len);
  if (status != DEAI_OK) {
    (void)snprintf(err, err_cap, "expected to read block %llu, found a damaged block log",
                   (unsigned long long)height);
    return status;
  }
  status = deai_entry_open(deai_bytes_of(bytes, len), out, err, err_cap);
  free(bytes);
  return status;
}

/* A block of a height that is here already: the same one, or a second one. */
static int32_t apply_old(deai_ledger *ledger, const deai_entry *entry, char *err,
                         uint32_t err_cap) {
  deai_entry *ours = NULL;
  char what[120];
  int32_t status = own_entry(ledger, entry->block.h, &ours, err, err_cap);
  if (status != DEAI_OK) return status;
  if (memcmp(ours->hash, entry->hash, DEAI_HASH_BYTES) != 0) {
    status = deai_entry_signed(entry, ledger->core->genesis->hash, ours->block.o, err, err_cap);
    (void)snprintf(what, sizeof what, "the orderer signed two blocks of height %llu",
                   (unsigned long long)entry->block.h);
    if (status == DEAI_OK) status = contradict(ledger, entry, ours, what, err, err_cap);
  }
  deai_entry_free(ours);
  return status;
}

/* A block that the orderer signed but that does not fit: a fork, or another state. */
static int32_t apply_misfit(deai_ledger *ledger, const deai_entry *entry, char *err,
                            uint32_t err_cap) {
  char what[256];
  deai_entry *ours = NULL;
  (void)snprintf(what, sizeof what, "%.200s", err);
  int32_t forked = memcmp(entry->block.p, ledger->head.hash, DEAI_HASH_BYTES) != 0;
  if (forked && ledger->head.height > 0 &&
      own_entry(ledger, ledger->head.height, &ours, err, err_cap) != DEAI_OK)
    ours = NULL;
  int32_t status = contradict(ledger, entry, ours, what, err, err_cap);
  deai_entry_free(ours);
  return status;
}

static void warn_skew(const deai_ledger *ledger, const deai_entry *entry) {
  uint64_t wall = deai_wall_ms(ledger->platform);
  if (entry->block.t > wall + DEAI_BLOCK_SKEW_MS)
    deai_log(DEAI_LEVEL_WARN, "ledger", "block %llu is %llu ms ahead of this clock: one is wrong",
             (unsigned long long)entry->block.h, (unsigned long long)(entry->block.t - wall));
}

static int32_t apply_next(deai_ledger *ledger, const deai_entry *entry, char *err,
                          uint32_t err_cap) {
  deai_core *core = ledger->core;
  deai_abci_result result;
  deai_entry_before before = {ledger->head.height, ledger->head.time_ms, ledger->head.hash,
                              ledger->head.orderer};
  int32_t status = deai_entry_signed(entry, core->genesis->hash, before.orderer, err, err_cap);
  if (status != DEAI_OK) return status;
  status = deai_app_rules_check(core->app, err, err_cap);
  if (status != DEAI_OK) return status;
  status = deai_entry_data(entry, err, err_cap);
  if (status != DEAI_OK) return status;
  status = deai_entry_link(entry, &before, err, err_cap);
  if (status == DEAI_OK) status = deai_entry_tx_sigs(entry, core->genesis->hash, err, err_cap);
  if (status == DEAI_OK) status = deai_entry_run(entry, core->abci, &result, err, err_cap);
  if (status != DEAI_OK) core->abci->abandon(core->abci->app);
  if (status == DEAI_EVERIFY) return apply_misfit(ledger, entry, err, err_cap);
  if (status != DEAI_OK) return status;
  warn_skew(ledger, entry);
  status = deai_core_commit(core, entry->block.h, entry->bytes, entry->signed_block, entry->hash,
                            err, err_cap);
  if (status != DEAI_OK) {
    deai_engine_halt(ledger, err);
    return status;
  }
  deai_engine_show(ledger, entry->bytes, &result);
  return DEAI_OK;
}

static int32_t apply_locked(deai_ledger *ledger, deai_bytes bytes, char *err, uint32_t err_cap) {
  deai_entry *entry = NULL;
  if (ledger->stopped) {
    (void)snprintf(err, err_cap, "%s", ledger->stopped_why);
    return DEAI_EVERIFY;
  }
  int32_t status = deai_entry_open(bytes, &entry, err, err_cap);
  if (status != DEAI_OK) return status;
  if (entry->block.h == 0 || entry->block.h > ledger->head.height + 1) {
    (void)snprintf(err, err_cap, "expected block %llu, found %llu",
                   (unsigned long long)ledger->head.height + 1, (unsigned long long)entry->block.h);
    status = DEAI_EAGAIN;
  } else if (entry->block.h <= ledger->head.height) {
    status = apply_old(ledger, entry, err, err_cap);
  } else {
    status = apply_next(ledger, entry, err, err_cap);
  }
  deai_entry_free(entry);
  return status;
}

int32_t deai_ledger_apply_entry(deai_ledger *ledger, deai_bytes bytes, char *err,
                                uint32_t err_cap) {
  if (ledger->engine != DEAI_ENGINE_FOLLOW) return DEAI_EUNSUPPORTED;
  (void)pthread_mutex_lock(&ledger->follow_lock);
  int32_t status = apply_locked(ledger, bytes, err, err_cap);
  (void)pthread_mutex_unlock(&ledger->follow_lock);
  return status;
}
