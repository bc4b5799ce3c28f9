#include "core.h"

#include "guard.h"
#include "ledger.h"

#include "host/base/file.h"
#include "host/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "host/base/banned.h"

static int32_t refuse(char *err, uint32_t err_cap, int32_t status, const char *text) {
  (void)snprintf(err, err_cap, "%s", text);
  return status;
}

static int32_t core_path(const deai_core *core, const char *name, char out[DEAI_CORE_PATH_MAX]) {
  return deai_path_join(out, DEAI_CORE_PATH_MAX, core->folder, name);
}

/* ---- folder and genesis ---- */

int32_t deai_core_lock(const char *folder, int *fd_out, char *err, uint32_t err_cap) {
  char path[DEAI_CORE_PATH_MAX];
  int32_t status = deai_path_join(path, sizeof path, folder, "lock");
  if (status != DEAI_OK) return status;
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    (void)snprintf(err, err_cap, "expected to open %s, found: %s", path, strerror(errno));
    return DEAI_EIO;
  }
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    (void)close(fd);
    (void)snprintf(err, err_cap,
                   "expected that no process has %s open, found one: stop the node first", folder);
    return DEAI_EBUSY;
  }
  *fd_out = fd;
  return DEAI_OK;
}

int32_t deai_core_load_genesis(const char *folder, deai_genesis_box **box_out, char *err,
                               uint32_t err_cap) {
  char path[DEAI_CORE_PATH_MAX];
  uint8_t *bytes = NULL;
  uint64_t len = 0;
  int32_t status = deai_path_join(path, sizeof path, folder, "genesis");
  if (status == DEAI_OK)
    status = deai_file_read(path, DEAI_GENESIS_MAX, &bytes, &len, err, err_cap);
  if (status != DEAI_OK) return status;
  status = deai_genesis_open(deai_bytes_of(bytes, len), box_out, err, err_cap);
  free(bytes);
  return status;
}

static int32_t open_genesis(deai_core *core, const deai_core_options *options, char *err,
                            uint32_t err_cap) {
  char path[DEAI_CORE_PATH_MAX];
  int32_t status = deai_core_load_genesis(core->folder, &core->genesis, err, err_cap);
  if (status == DEAI_OK) {
    if (options->genesis.len == 0 || deai_bytes_eq(options->genesis, core->genesis->bytes))
      return DEAI_OK;
    return refuse(err, err_cap, DEAI_EINVAL,
                  "expected the genesis of this ledger, found another network's: keep its folder "
                  "apart (--archive-ledger)");
  }
  if (status != DEAI_ENOTFOUND) return status;
  if (options->genesis.len == 0)
    return refuse(err, err_cap, DEAI_ENOTFOUND,
                  "expected a ledger, found none: run `deai init` or `deai join`");
  status = deai_genesis_open(options->genesis, &core->genesis, err, err_cap);
  if (status == DEAI_OK) status = core_path(core, "genesis", path);
  if (status != DEAI_OK) return status;
  return deai_file_create(path, core->genesis->bytes, 0600, err, err_cap);
}

/* ---- replaying the log ---- */

int32_t deai_core_info(deai_core *core, deai_abci_info *info) {
  return core->abci->info(core->abci->app, info);
}

/* Ids of a block that is forgotten now. */
static int32_t old_ids(deai_core *core, uint64_t height, uint8_t **ids_out, uint64_t *count_out) {
  uint8_t *bytes = NULL;
  uint64_t len = 0;
  deai_entry *entry = NULL;
  char err[160];
  *ids_out = NULL;
  *count_out = 0;
  if (height <= DEAI_TX_REMEMBER_BLOCKS) return DEAI_OK;
  int32_t status = deai_core_read(core, height - DEAI_TX_REMEMBER_BLOCKS, &bytes, &len);
  if (status != DEAI_OK) return DEAI_OK; /* damage of old history is found by verify */
  status = deai_entry_open(deai_bytes_of(bytes, len), &entry, err, sizeof err);
  free(bytes);
  if (status != DEAI_OK) return DEAI_OK;
  uint8_t *ids = malloc((size_t)entry->tx_count * DEAI_HASH_BYTES + 1);
  for (uint64_t i = 0; ids != NULL && i < entry->tx_count; i++)
    memcpy(ids + i * DEAI_HASH_BYTES, entry->txs[i]->id, DEAI_HASH_BYTES);
  *ids_out = ids;
  *count_out = ids != NULL ? entry->tx_count : 0;
  deai_entry_free(entry);
  return ids != NULL ? DEAI_OK : DEAI_ENOMEM;
}

static int32_t commit_state(deai_core *core, uint64_t height, deai_bytes signed_block,
                            const uint8_t *hash, uint64_t log_at, uint64_t log_end, char *err,
                            uint32_t err_cap) {
  deai_abci_commit commit = {signed_block, hash, log_at, log_end, NULL, 0};
  uint8_t *ids = NULL;
  int32_t status = old_ids(core, height, &ids, &commit.old_count);
  commit.old_ids = ids;
  if (status == DEAI_OK) status = core->abci->commit(core->abci->app, &commit, err, err_cap);
  free(ids);
  return status;
}

/* Runs one frame of the log above the state. The log was checked when it was written: its checksum
   and its chain stand for the signatures of transactions. */
static int32_t replay_frame(deai_core *core, const deai_blocklog_frame *frame, uint64_t at,
                            char *err, uint32_t err_cap) {
  deai_abci_info info;
  deai_abci_result result;
  deai_entry *entry = NULL;
  int32_t status = deai_core_info(core, &info);
  if (status == DEAI_OK)
    status = deai_entry_open(deai_bytes_of(frame->payload, frame->len), &entry, err, err_cap);
  if (status != DEAI_OK) return status;
  deai_entry_before before = {info.height, info.time_ms, info.hash, info.orderer};
  status = deai_entry_signed(entry, core->genesis->hash, info.orderer, err, err_cap);
  if (status == DEAI_OK) status = deai_entry_data(entry, err, err_cap);
  if (status == DEAI_OK) status = deai_entry_link(entry, &before, err, err_cap);
  if (status == DEAI_OK) status = deai_entry_run(entry, core->abci, &result, err, err_cap);
  if (status == DEAI_OK)
    status = commit_state(core, entry->block.h, entry->signed_block, entry->hash, at, frame->next,
                          err, err_cap);
  else
    core->abci->abandon(core->abci->app);
  deai_entry_free(entry);
  return status;
}

/* A good frame that the orderer signed stands somewhere behind byte at: no torn end, but damage in
   the middle. */
static int32_t log_goes_on(deai_core *core, uint64_t at) {
  char err[160];
  deai_abci_info info;
  int32_t found = 0;
  if (deai_core_info(core, &info) != DEAI_OK) return 0;
  for (uint64_t next = at + 1; !found && next < deai_blocklog_size(core->log); next++) {
    deai_blocklog_frame frame;
    deai_entry *entry = NULL;
    if (deai_blocklog_read(core->log, next, &frame) != DEAI_OK) continue;
    if (deai_entry_open(deai_bytes_of(frame.payload, frame.len), &entry, err, sizeof err) ==
        DEAI_OK)
      found =
          deai_entry_signed(entry, core->genesis->hash, info.orderer, err, sizeof err) == DEAI_OK;
    deai_entry_free(entry);
    free(frame.payload);
  }
  return found;
}

/* What stands at byte at cannot be read: the end of a write that was never answered is cut, what
   was answered before is damage. */
static int32_t replay_tail(deai_core *core, uint64_t at, uint64_t height, uint64_t answered,
                           int32_t read_only, char *err, uint32_t err_cap) {
  if (height <= answered || read_only || log_goes_on(core, at)) {
    (void)snprintf(err, err_cap,
                   "expected block %llu at byte %llu of the block log, found a damaged frame: "
                   "restore blocks.log from another member",
                   (unsigned long long)height, (unsigned long long)at);
    return DEAI_EVERIFY;
  }
  deai_log(DEAI_LEVEL_WARN, "ledger",
           "block log: cut %llu bytes of a block %llu that was never answered",
           (unsigned long long)(deai_blocklog_size(core->log) - at), (unsigned long long)height);
  return deai_blocklog_cut(core->log, at, err, err_cap);
}

static int32_t replay(deai_core *core, uint64_t answered, int32_t read_only, char *err,
                      uint32_t err_cap) {
  deai_state_head head = deai_state_head_get(core->state);
  uint64_t at = head.log_end, height = head.height;
  for (;;) {
    deai_blocklog_frame frame;
    int32_t status = deai_blocklog_read(core->log, at, &frame);
    if (status == DEAI_ENOTFOUND) return DEAI_OK;
    if (status == DEAI_EVERIFY || (status == DEAI_OK && frame.height != height + 1)) {
      free(frame.payload);
      return replay_tail(core, at, height + 1, answered, read_only, err, err_cap);
    }
    if (status == DEAI_OK && (status = deai_app_rules_check(core->app, err, err_cap)) == DEAI_OK)
      status = replay_frame(core, &frame, at, err, err_cap);
    free(frame.payload);
    if (status != DEAI_OK) return status;
    at = frame.next;
    height = frame.height;
  }
}

/* ---- the state ---- */

static int32_t state_start(deai_core *core, const char *path, deai_state_mode mode, char *err,
                           uint32_t err_cap) {
  int32_t status = deai_state_open(path, &core->genesis->genesis, core->map_bytes, mode,
                                   &core->state, err, err_cap);
  if (status == DEAI_OK)
    status = deai_app_new(core->state, core->genesis, &core->app, err, err_cap);
  if (status != DEAI_OK) return status;
  core->abci = deai_app_table(core->app);
  if (!deai_state_is_new(core->state)) return DEAI_OK;
  return core->abci->init_chain(core->abci->app, err, err_cap);
}

static void state_stop(deai_core *core) {
  deai_app_free(core->app);
  deai_state_close(core->state);
  core->app = NULL;
  core->state = NULL;
  core->abci = NULL;
}

static int32_t folder_remove(const char *path, char *err, uint32_t err_cap) {
  static const char *const names[] = {"data.mdb", "lock.mdb"};
  char file[DEAI_CORE_PATH_MAX];
  for (uint32_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (deai_path_join(file, sizeof file, path, names[i]) != DEAI_OK) return DEAI_ETOOLARGE;
    if (unlink(file) != 0 && errno != ENOENT) break;
  }
  if (rmdir(path) == 0 || errno == ENOENT) return DEAI_OK;
  (void)snprintf(err, err_cap, "expected to remove %s, found: %s", path, strerror(errno));
  return DEAI_EIO;
}

/* Makes the state anew beside the damaged one and puts it in its place when it is whole. */
static int32_t state_rebuild(deai_core *core, uint64_t answered, char *err, uint32_t err_cap) {
  char path[DEAI_CORE_PATH_MAX], fresh[DEAI_CORE_PATH_MAX];
  int32_t status = core_path(core, "state", path);
  if (status == DEAI_OK) status = core_path(core, "state.new", fresh);
  if (status == DEAI_OK) status = folder_remove(fresh, err, err_cap);
  if (status == DEAI_OK) status = state_start(core, fresh, DEAI_STATE_LOOSE, err, err_cap);
  if (status == DEAI_OK) status = replay(core, answered, 0, err, err_cap);
  if (status == DEAI_OK) status = deai_state_sync(core->state, err, err_cap);
  state_stop(core);
  if (status == DEAI_OK) status = folder_remove(path, err, err_cap);
  if (status != DEAI_OK) return status;
  if (rename(fresh, path) != 0)
    return refuse(err, err_cap, DEAI_EIO, "expected to rename state.new, found that it cannot be");
  return deai_folder_sync(core->folder, err, err_cap);
}

/* Decides whether the state on disk may be used; rebuilds it when not. */
static int32_t state_judge(deai_core *core, const deai_core_options *options, uint64_t answered,
                           char *err, uint32_t err_cap) {
  deai_guard_verdict verdict;
  char why[200] = "";
  int32_t status = deai_guard_sealed(core->folder, why, sizeof why);
  if (status == DEAI_ENOTFOUND) {
    deai_guard_judge(core->folder, &core->genesis->genesis, core->map_bytes, &verdict);
    status = verdict.status;
    (void)snprintf(why, sizeof why, "%s", verdict.why);
  }
  if (status == DEAI_OK && !options->read_only)
    return deai_guard_unseal(core->folder, err, err_cap);
  if (status == DEAI_OK || status == DEAI_ENOTFOUND) return DEAI_OK; /* none yet */
  if (status != DEAI_EVERIFY || options->read_only) {
    (void)snprintf(err, err_cap, "%s", why);
    return status;
  }
  deai_log(DEAI_LEVEL_WARN, "ledger", "%s: the state is rebuilt from the block log", why);
  status = deai_guard_unseal(core->folder, err, err_cap);
  return status == DEAI_OK ? state_rebuild(core, answered, err, err_cap) : status;
}

/* The head of the state must stand in the log: a log from an older backup has it not. */
static int32_t head_in_log(deai_core *core, char *err, uint32_t err_cap) {
  deai_abci_info info;
  deai_entry *entry = NULL;
  uint8_t *bytes = NULL;
  uint64_t len = 0;
  int32_t status = deai_core_info(core, &info);
  if (status != DEAI_OK || info.height == 0) return status;
  err[0] = 0;
  status = deai_core_read(core, info.height, &bytes, &len);
  if (status == DEAI_OK) status = deai_entry_open(deai_bytes_of(bytes, len), &entry, err, err_cap);
  free(bytes);
  int32_t same = status == DEAI_OK && memcmp(entry->hash, info.hash, DEAI_HASH_BYTES) == 0;
  deai_entry_free(entry);
  if (same) return DEAI_OK;
  if (status == DEAI_EVERIFY && err[0] == 0)
    (void)snprintf(err, err_cap,
                   "expected block %llu in the block log, found a damaged frame: restore "
                   "blocks.log from another member",
                   (unsigned long long)info.height);
  else
    (void)snprintf(err, err_cap,
                   "expected block %llu of the state in the block log, found none: a backup of the "
                   "log was restored; restore blocks.log from another member",
                   (unsigned long long)info.height);
  return DEAI_EVERIFY;
}

static int32_t open_state(deai_core *core, const deai_core_options *options, uint64_t answered,
                          char *err, uint32_t err_cap) {
  char path[DEAI_CORE_PATH_MAX];
  int32_t status = state_judge(core, options, answered, err, err_cap);
  if (status == DEAI_OK) status = core_path(core, "state", path);
  if (status == DEAI_OK) status = state_start(core, path, DEAI_STATE_SYNC, err, err_cap);
  if (status == DEAI_OK) status = head_in_log(core, err, err_cap);
  if (status == DEAI_OK) status = replay(core, answered, (int32_t)options->read_only, err, err_cap);
  if (status == DEAI_OK) status = deai_app_rules_check(core->app, err, err_cap);
  return status;
}

/* ---- order.state ---- */

static const char restored_text[] =
    "order.state is ahead of the block log: a backup was restored. Signing on would make two "
    "blocks "
    "of one height; restore blocks.log from a member that follows, or start a new network";

static int32_t order_missing(deai_core *core, const uint8_t *order, const char *path, char *err,
                             uint32_t err_cap) {
  deai_abci_info info;
  deai_entry *entry = NULL;
  uint8_t *bytes = NULL;
  uint64_t len = 0;
  int32_t status = deai_core_info(core, &info);
  if (status == DEAI_OK && info.height > 0) {
    status = deai_core_read(core, info.height, &bytes, &len);
    if (status == DEAI_OK)
      status = deai_entry_open(deai_bytes_of(bytes, len), &entry, err, err_cap);
    free(bytes);
    int32_t ours = status == DEAI_OK && memcmp(entry->block.o, order, DEAI_KEY_BYTES) == 0;
    deai_entry_free(entry);
    if (ours)
      return refuse(err, err_cap, DEAI_EVERIFY,
                    "expected order.state beside blocks that this node signed, found none: it was "
                    "not restored with the rest; restore it, or start a new network");
  }
  if (status != DEAI_OK) return status;
  return deai_orderstate_open(path, 1, &core->order, err, err_cap);
}

/* Compares what was signed last with the log, and catches up by the one block that a crash can
   leave between the two. */
static int32_t order_align(deai_core *core, char *err, uint32_t err_cap) {
  uint8_t hash[DEAI_HASH_BYTES];
  deai_abci_info info;
  uint64_t height = deai_orderstate_get(core->order, hash);
  int32_t status = deai_core_info(core, &info);
  if (status != DEAI_OK) return status;
  if (height > info.height ||
      (height > 0 && height == info.height && memcmp(hash, info.hash, sizeof hash) != 0))
    return refuse(err, err_cap, DEAI_EVERIFY, restored_text);
  if (height == info.height) return DEAI_OK;
  return deai_orderstate_put(core->order, info.height, info.hash, err, err_cap);
}

static int32_t order_check(deai_core *core, const uint8_t *order, char *err, uint32_t err_cap) {
  deai_abci_info info;
  int32_t status = deai_core_info(core, &info);
  if (status != DEAI_OK) return status;
  if (memcmp(info.orderer, order, DEAI_KEY_BYTES) == 0) return DEAI_OK;
  return refuse(err, err_cap, DEAI_EDENIED,
                "expected the order key that the ledger names as orderer, found another: this node "
                "must follow");
}

/* Opens order.state where there is one: its height says what was answered. */
static int32_t order_open(deai_core *core, const deai_core_options *options, uint64_t *answered,
                          char *err, uint32_t err_cap) {
  char path[DEAI_CORE_PATH_MAX];
  uint8_t hash[DEAI_HASH_BYTES];
  *answered = 0;
  if (options->order == NULL) return DEAI_OK;
  int32_t status = core_path(core, "order.state", path);
  if (status == DEAI_OK) status = deai_orderstate_open(path, 0, &core->order, err, err_cap);
  if (status == DEAI_ENOTFOUND) return DEAI_OK;
  if (status == DEAI_OK) *answered = deai_orderstate_get(core->order, hash);
  return status;
}

static int32_t order_finish(deai_core *core, const deai_core_options *options, char *err,
                            uint32_t err_cap) {
  char path[DEAI_CORE_PATH_MAX];
  if (options->order == NULL) return DEAI_OK;
  int32_t status = core_path(core, "order.state", path);
  if (status == DEAI_OK && core->order == NULL)
    status = order_missing(core, options->order, path, err, err_cap);
  if (status == DEAI_OK) status = order_align(core, err, err_cap);
  return status == DEAI_OK ? order_check(core, options->order, err, err_cap) : status;
}

/* ---- life ---- */

/* order.state ahead of the end of the log: found before the log's end is judged torn. */
static int32_t restored(const deai_core *core, uint64_t answered) {
  return answered > 0 && deai_blocklog_size(core->log) == 0;
}

static int32_t open_all(deai_core *core, const deai_core_options *options, char *err,
                        uint32_t err_cap) {
  char path[DEAI_CORE_PATH_MAX];
  uint64_t answered = 0;
  int32_t status = deai_folder_make(core->folder, 0700, err, err_cap);
  if (status == DEAI_OK) status = deai_core_lock(core->folder, &core->lock_fd, err, err_cap);
  if (status == DEAI_OK) status = open_genesis(core, options, err, err_cap);
  if (status == DEAI_OK) status = core_path(core, "blocks.log", path);
  if (status == DEAI_OK) status = deai_blocklog_open(path, 1, &core->log, err, err_cap);
  if (status == DEAI_OK) status = order_open(core, options, &answered, err, err_cap);
  if (status == DEAI_OK && restored(core, answered))
    status = refuse(err, err_cap, DEAI_EVERIFY, restored_text);
  if (status == DEAI_OK) status = open_state(core, options, answered, err, err_cap);
  if (status == DEAI_OK) status = order_finish(core, options, err, err_cap);
  return status;
}

int32_t deai_core_open(const deai_core_options *options, deai_core **core_out, char *err,
                       uint32_t err_cap) {
  deai_core *core = calloc(1, sizeof *core);
  if (core == NULL) return DEAI_ENOMEM;
  core->lock_fd = -1;
  core->map_bytes = options->map_bytes;
  int used = snprintf(core->folder, sizeof core->folder, "%s", options->folder);
  int32_t status = used > 0 && (size_t)used < sizeof core->folder ? DEAI_OK : DEAI_ETOOLARGE;
  if (status == DEAI_OK) status = open_all(core, options, err, err_cap);
  if (status != DEAI_OK) {
    deai_core_close(core);
    return status;
  }
  *core_out = core;
  return DEAI_OK;
}

void deai_core_close(deai_core *core) {
  char err[200] = "";
  if (core == NULL) return;
  int32_t whole = core->state != NULL;
  state_stop(core);
  if (whole && deai_guard_seal(core->folder, err, sizeof err) != DEAI_OK)
    deai_log(DEAI_LEVEL_WARN, "ledger", "the state is left without a seal: %s", err);
  deai_orderstate_close(core->order);
  deai_blocklog_close(core->log);
  deai_genesis_free(core->genesis);
  if (core->lock_fd >= 0) (void)close(core->lock_fd);
  free(core);
}

int32_t deai_core_commit(deai_core *core, uint64_t height, deai_bytes entry,
                         deai_bytes signed_block, const uint8_t hash[DEAI_HASH_BYTES], char *err,
                         uint32_t err_cap) {
  uint64_t at = deai_blocklog_size(core->log);
  int32_t status = deai_blocklog_append(core->log, height, entry, err, err_cap);
  if (status == DEAI_OK) status = deai_blocklog_sync(core->log, err, err_cap);
  if (status == DEAI_OK && core->order != NULL)
    status = deai_orderstate_put(core->order, height, hash, err, err_cap);
  if (status != DEAI_OK) return status;
  return commit_state(core, height, signed_block, hash, at, deai_blocklog_size(core->log), err,
                      err_cap);
}

int32_t deai_core_read(deai_core *core, uint64_t height, uint8_t **ptr_out, uint64_t *len_out) {
  deai_blocklog_frame frame;
  uint64_t at = 0;
  int32_t status = deai_state_block_at(core->state, height, &at);
  if (status == DEAI_OK) status = deai_blocklog_read(core->log, at, &frame);
  if (status != DEAI_OK) return status;
  if (frame.height != height) {
    free(frame.payload);
    return DEAI_EVERIFY;
  }
  *ptr_out = frame.payload;
  *len_out = frame.len;
  return DEAI_OK;
}
