#include "store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

/* --- the log --- */

int32_t blocks_store_broken(const blocks_store *store, blocks_error *err) {
  if (!store->broken) return DEAI_OK;
  return blocks_fail(err, DEAI_EIO,
                     "store: a write to the disk failed before; check the disk, then restart");
}

int32_t blocks_store_reserve(blocks_store *store, uint64_t bytes, blocks_error *err) {
  if (store->bytes_max != 0 &&
      (bytes > store->bytes_max || store->bytes_used > store->bytes_max - bytes))
    return blocks_fail(err, DEAI_EFULL,
                       "store: %" PRIu64 " bytes wanted, %" PRIu64 " of %" PRIu64
                       " used; unpin something or raise the limit",
                       bytes, store->bytes_used, store->bytes_max);
  store->bytes_used += bytes;
  return DEAI_OK;
}

int32_t blocks_store_dirty(blocks_store *store, uint64_t number, blocks_error *err) {
  blocks_batch *batch = &store->queued;
  int fd;
  for (uint32_t i = batch->dirty_count; i > 0; i--)
    if (batch->dirty[i - 1] == number) return DEAI_OK;
  if (batch->dirty_count == batch->dirty_cap) {
    uint32_t cap = batch->dirty_cap == 0 ? 8 : batch->dirty_cap * 2;
    uint64_t *dirty = realloc(batch->dirty, cap * sizeof *dirty);
    if (dirty == NULL) return blocks_fail(err, DEAI_ENOMEM, "store: no memory");
    batch->dirty = dirty;
    batch->dirty_cap = cap;
  }
  int32_t status = blocks_fds_get(store, number, &fd, err);
  if (status == DEAI_OK) batch->dirty[batch->dirty_count++] = number;
  return status;
}

int32_t blocks_store_next_pack(blocks_store *store, blocks_error *err) {
  uint32_t salt;
  int fd;
  int32_t status = blocks_store_reserve(store, BLOCKS_PACK_HEAD_BYTES, err);
  if (status != DEAI_OK) return status;
  uint64_t number = store->head.next_pack;
  int made = blocks_pack_create(store->packs_fd, number, &salt, err);
  if (made >= 0) (void)close(made);
  status = made < 0 ? made : blocks_fds_get(store, number, &fd, err);
  if (status != DEAI_OK) {
    store->bytes_used -= BLOCKS_PACK_HEAD_BYTES;
    return status;
  }
  if (store->pack_fd >= 0) blocks_fds_release(store, store->head.pack);
  store->pack_fd = fd;
  store->pack_salt = salt;
  store->head.pack = number;
  store->head.pack_end = BLOCKS_PACK_HEAD_BYTES;
  store->head.next_pack = number + 1;
  store->packs++;
  return DEAI_OK;
}

int32_t blocks_store_append(blocks_store *store, blocks_record *record, deai_bytes data,
                            blocks_error *err) {
  uint64_t bytes = blocks_record_bytes(&record->cid, data.len);
  int32_t status = blocks_store_broken(store, err);
  if (status == DEAI_OK &&
      (store->pack_fd < 0 || store->head.pack_end + bytes > store->pack_bytes_max))
    status = blocks_store_next_pack(store, err);
  if (status == DEAI_OK) status = blocks_store_dirty(store, store->head.pack, err);
  if (status == DEAI_OK) status = blocks_store_reserve(store, bytes, err);
  if (status != DEAI_OK) return status;
  status = blocks_record_write(store->pack_fd, store->pack_salt, store->head.pack_end, record, data,
                               err);
  if (status != DEAI_OK) { /* no half record stays in the log */
    store->bytes_used -= bytes;
    if (ftruncate(store->pack_fd, (off_t)store->head.pack_end) != 0) store->broken = true;
    return status;
  }
  store->head.pack_end += bytes;
  return DEAI_OK;
}

static bool batch_full(const blocks_batch *batch) {
  return batch->count >= BLOCKS_BATCH_OPS_MAX || batch->bytes >= BLOCKS_QUEUED_BYTES_MAX;
}

/* --- put --- */

int32_t blocks_store_find_queued(blocks_store *store, const blocks_cid *cid, blocks_place *out) {
  static const blocks_op_kind kinds[] = {BLOCKS_OP_BLOCK, BLOCKS_OP_LEAF, BLOCKS_OP_MOVE};
  const blocks_op *op = NULL;
  (void)pthread_mutex_lock(&store->append);
  for (size_t i = 0; i < 3 && op == NULL; i++) {
    op = blocks_batch_find(&store->queued, kinds[i], cid);
    if (op == NULL) op = blocks_batch_find(&store->committing, kinds[i], cid);
  }
  if (op != NULL) *out = op->at;
  (void)pthread_mutex_unlock(&store->append);
  return op != NULL;
}

int32_t blocks_store_queue_block(blocks_store *store, const blocks_cid *cid, deai_bytes data,
                                 blocks_error *err) {
  blocks_record record = {.kind = BLOCKS_RECORD_BLOCK,
                          .cid = *cid,
                          .crc = blocks_crc32c(0, data.ptr, (size_t)data.len)};
  (void)pthread_mutex_lock(&store->append);
  bool there = blocks_batch_find(&store->queued, BLOCKS_OP_BLOCK, cid) != NULL ||
               blocks_batch_find(&store->committing, BLOCKS_OP_BLOCK, cid) != NULL;
  int32_t status = there ? DEAI_OK : blocks_store_append(store, &record, data, err);
  if (status == DEAI_OK && !there) {
    blocks_op op = {.kind = BLOCKS_OP_BLOCK,
                    .at = {.cid = *cid,
                           .store = store->head.pack,
                           .offset = record.data_offset,
                           .len = record.len,
                           .crc = record.crc,
                           .flags = BLOCKS_PLACE_HERE}};
    status = blocks_batch_add(&store->queued, &op); /* on an error the record is found again */
    if (status != DEAI_OK) (void)blocks_fail(err, status, "store: no memory for the queue");
  }
  bool full = batch_full(&store->queued);
  (void)pthread_mutex_unlock(&store->append);
  return status == DEAI_OK && full ? blocks_store_sync(store, err) : status;
}

/* writes a leaf that a file of files/ lacks to its place there */
static int32_t queue_leaf(blocks_store *store, blocks_place place, deai_bytes data,
                          blocks_error *err) {
  int fd;
  if (place.len != data.len) return DEAI_EVERIFY;
  int32_t status = blocks_fds_get(store, place.store, &fd, err);
  if (status != DEAI_OK) return status;
  status = blocks_write_at(fd, place.offset, data.ptr, (size_t)data.len, err);
  place.crc = blocks_crc32c(0, data.ptr, (size_t)data.len);
  place.flags |= BLOCKS_PLACE_HERE;
  blocks_op op = {.kind = BLOCKS_OP_LEAF, .at = place};
  (void)pthread_mutex_lock(&store->append);
  if (status == DEAI_OK) status = blocks_store_broken(store, err);
  if (status == DEAI_OK) status = blocks_store_dirty(store, place.store, err);
  if (status == DEAI_OK) status = blocks_batch_add(&store->queued, &op);
  (void)pthread_mutex_unlock(&store->append);
  blocks_fds_release(store, place.store);
  return status;
}

/* 1 = the block is here or went to its places in files; 0 = it is new */
static int32_t put_known(blocks_store *store, const blocks_cid *cid, deai_bytes data,
                         blocks_error *err) {
  blocks_place places[8];
  blocks_place after;
  blocks_txn *txn;
  int32_t count;
  int32_t filled = 0;
  bool more = false;
  do {
    int32_t status = blocks_index_read(store->index, &txn, err);
    if (status != DEAI_OK) return status;
    count = blocks_index_places(store->index, txn, cid, more ? &after : NULL, places, 8);
    blocks_index_read_done(store->index, txn);
    if (count < 0) return blocks_fail(err, count, "index: places of a block not read");
    for (int32_t i = 0; i < count; i++) {
      if (places[i].flags & BLOCKS_PLACE_HERE) {
        filled = 1;
        continue;
      }
      status = queue_leaf(store, places[i], data, err);
      if (status == DEAI_OK) filled = 1;
      if (status != DEAI_OK && status != DEAI_ENOTFOUND) return status;
    }
    if (count > 0) after = places[count - 1];
    more = true;
  } while (count == 8);
  return filled;
}

int32_t blocks_store_put_checked(blocks_store *store, const blocks_cid *cid, deai_bytes data,
                                 blocks_error *err) {
  (void)pthread_mutex_lock(&store->append);
  bool collecting = store->collecting;
  (void)pthread_mutex_unlock(&store->append);
  int32_t known = collecting ? 0 : put_known(store, cid, data, err);
  if (known != 0) return known < 0 ? known : DEAI_OK;
  return blocks_store_queue_block(store, cid, data, err);
}

int32_t blocks_store_put(blocks_store *store, const blocks_cid *cid, deai_bytes data,
                         blocks_error *err) {
  if (data.len > BLOCKS_BLOCK_BYTES_MAX)
    return blocks_fail(err, DEAI_ETOOLARGE, "block: expected at most %u bytes, found %" PRIu64,
                       BLOCKS_BLOCK_BYTES_MAX, data.len);
  int32_t status = blocks_cid_check(cid, data, err);
  if (status != DEAI_OK || cid->hash == BLOCKS_HASH_IDENTITY) return status;
  blocks_cid v1 = blocks_cid_v1(cid);
  return blocks_store_put_checked(store, &v1, data, err);
}

/* --- pins --- */

int32_t blocks_store_pin_count(blocks_store *store, const blocks_cid *cid, uint64_t *count_out) {
  const blocks_op *op = blocks_batch_find(&store->queued, BLOCKS_OP_PIN, cid);
  if (op == NULL) op = blocks_batch_find(&store->committing, BLOCKS_OP_PIN, cid);
  if (op != NULL) {
    *count_out = op->count;
    return DEAI_OK;
  }
  blocks_txn *txn;
  int32_t status = blocks_index_read(store->index, &txn, NULL);
  if (status != DEAI_OK) return status;
  status = blocks_index_pin(store->index, txn, cid, count_out);
  blocks_index_read_done(store->index, txn);
  return status;
}

static int32_t pin_change(blocks_store *store, const blocks_cid *cid, int by, blocks_error *err) {
  blocks_op op = {.kind = BLOCKS_OP_PIN, .at = {.cid = blocks_cid_v1(cid)}};
  blocks_record record = {.kind = BLOCKS_RECORD_PIN, .cid = op.at.cid};
  uint8_t data[8];
  (void)pthread_mutex_lock(&store->append);
  int32_t status = blocks_store_pin_count(store, &op.at.cid, &op.count);
  if (status != DEAI_OK) (void)blocks_fail(err, status, "index: pin not read");
  if (status == DEAI_OK && by < 0 && op.count == 0)
    status = blocks_fail(err, DEAI_ENOTFOUND, "unpin: the CID is not pinned");
  if (status == DEAI_OK) {
    op.count = by > 0 ? op.count + 1 : op.count - 1;
    blocks_put_u64(data, op.count);
    record.crc = blocks_crc32c(0, data, sizeof data);
    status = blocks_store_append(store, &record, deai_bytes_of(data, sizeof data), err);
  }
  if (status == DEAI_OK) {
    status = blocks_batch_add(&store->queued, &op);
    store->head.pins_changed++;
  }
  (void)pthread_mutex_unlock(&store->append);
  return status;
}

int32_t blocks_store_pin(blocks_store *store, const blocks_cid *cid, blocks_error *err) {
  return pin_change(store, cid, 1, err);
}

int32_t blocks_store_unpin(blocks_store *store, const blocks_cid *cid, blocks_error *err) {
  return pin_change(store, cid, -1, err);
}

int32_t blocks_store_pins(blocks_store *store, const blocks_cid *cid, uint64_t *count_out) {
  blocks_cid v1 = blocks_cid_v1(cid);
  (void)pthread_mutex_lock(&store->append);
  int32_t status = blocks_store_pin_count(store, &v1, count_out);
  (void)pthread_mutex_unlock(&store->append);
  return status;
}

/* --- the group commit --- */

typedef struct ordered_op {
  const blocks_op *op;
  uint32_t at;
} ordered_op;

/* by key, so that LMDB writes neighbouring pages; by age within a key */
static int compare_ops(const void *a, const void *b) {
  const ordered_op *x = a;
  const ordered_op *y = b;
  uint8_t shorter = x->op->at.cid.len < y->op->at.cid.len ? x->op->at.cid.len : y->op->at.cid.len;
  int order = memcmp(x->op->at.cid.bytes, y->op->at.cid.bytes, shorter);
  if (order != 0) return order;
  if (x->op->at.cid.len != y->op->at.cid.len) return x->op->at.cid.len < y->op->at.cid.len ? -1 : 1;
  return x->at < y->at ? -1 : x->at > y->at;
}

static int32_t apply_sorted(blocks_store *store, blocks_apply *apply, const ordered_op *order,
                            uint32_t count) {
  int32_t status = DEAI_OK;
  for (uint32_t i = 0; i < count && status == DEAI_OK; i++) {
    bool skipped = false;
    status = blocks_apply_op(apply, order[i].op, &skipped);
    if (!skipped) continue;
    char name[32]; /* its content lies in another file: this one is not needed */
    blocks_file_name(order[i].op->leaves->spec.number, name);
    if (unlinkat(store->files_fd, name, 0) == 0) {
      (void)pthread_mutex_lock(&store->append);
      store->bytes_used -= order[i].op->leaves->spec.size;
      (void)pthread_mutex_unlock(&store->append);
    }
  }
  return status == DEAI_OK ? blocks_apply_flush(apply) : status;
}

int32_t blocks_store_commit(blocks_store *store, const blocks_batch *batch, const blocks_head *head,
                            blocks_error *err) {
  ordered_op *order = malloc((batch->count + 1u) * sizeof *order);
  blocks_txn *txn = NULL;
  if (order == NULL) return blocks_fail(err, DEAI_ENOMEM, "store: no memory for a commit");
  (void)pthread_mutex_lock(&store->append);
  uint32_t collection = store->head.collection;
  bool collecting = store->collecting;
  (void)pthread_mutex_unlock(&store->append);
  for (uint32_t i = 0; i < batch->count; i++)
    order[i] = (ordered_op){.op = &batch->ops[i], .at = i};
  qsort(order, batch->count, sizeof *order, compare_ops);
  int32_t status = blocks_index_write(store->index, &txn, err);
  if (status == DEAI_OK) {
    blocks_apply apply = {
        .index = store->index, .txn = txn, .born = collection, .replace = collecting};
    status = apply_sorted(store, &apply, order, batch->count);
    if (status == DEAI_OK && head != NULL) status = blocks_index_head_put(store->index, txn, head);
    if (status == DEAI_OK) {
      status = blocks_index_commit(txn, err);
    } else {
      blocks_index_abort(txn);
      (void)blocks_fail(err, status, "index: a transaction of %u operations failed: %s",
                        batch->count, deai_status_text(status));
    }
  }
  free(order);
  return status;
}

static int32_t sync_dirty(blocks_store *store, blocks_error *err) {
  int32_t status = DEAI_OK;
  for (uint32_t i = 0; i < store->committing.dirty_count; i++) {
    int fd;
    uint64_t number = store->committing.dirty[i];
    if (status == DEAI_OK) status = blocks_fds_get(store, number, &fd, err);
    if (status != DEAI_OK) break;
    if (fdatasync(fd) != 0) status = blocks_fail_errno(err, errno, "sync of a pack or file");
    blocks_fds_release(store, number);
  }
  return status;
}

static void release_dirty(blocks_store *store, blocks_batch *batch) {
  for (uint32_t i = 0; i < batch->dirty_count; i++)
    blocks_fds_release(store, batch->dirty[i]);
  batch->dirty_count = 0;
}

/* puts what was not committed in front of what came meanwhile; append is held */
static int32_t requeue(blocks_store *store) {
  blocks_batch *old = &store->committing;
  int32_t status = DEAI_OK;
  for (uint32_t i = 0; i < store->queued.count && status == DEAI_OK; i++) {
    status = blocks_batch_add(old, &store->queued.ops[i]);
    if (status != DEAI_OK) break;
    store->queued.ops[i].from = NULL;
    store->queued.ops[i].leaves = NULL;
  }
  if (status != DEAI_OK) return status;
  for (uint32_t i = 0; i < store->queued.dirty_count; i++) {
    uint32_t count = old->dirty_count;
    uint64_t *dirty = realloc(old->dirty, (count + 1u) * sizeof *dirty);
    if (dirty == NULL) return DEAI_ENOMEM;
    old->dirty = dirty;
    old->dirty_cap = count + 1;
    old->dirty[old->dirty_count++] = store->queued.dirty[i];
  }
  blocks_batch_free(&store->queued);
  store->queued = *old;
  *old = (blocks_batch){0};
  return DEAI_OK;
}

static void sync_end(blocks_store *store, int32_t status, bool lost) {
  (void)pthread_mutex_lock(&store->append);
  if (status != DEAI_OK && !lost && requeue(store) == DEAI_OK) {
    (void)pthread_mutex_unlock(&store->append);
    return;
  }
  if (status != DEAI_OK) store->broken = true;
  blocks_batch done = store->committing;
  store->committing = (blocks_batch){0};
  (void)pthread_mutex_unlock(&store->append);
  release_dirty(store, &done);
  blocks_batch_free(&done);
}

static int32_t sync_now(blocks_store *store, bool always, blocks_error *err) {
  (void)pthread_mutex_lock(&store->sync);
  (void)pthread_mutex_lock(&store->append);
  int32_t status = blocks_store_broken(store, err);
  bool empty = store->queued.count == 0 && !(always && store->queued.dirty_count > 0);
  blocks_head head = store->head;
  if (status == DEAI_OK && !empty) {
    store->committing = store->queued;
    store->queued = (blocks_batch){0};
  }
  (void)pthread_mutex_unlock(&store->append);
  if (status == DEAI_OK && !empty) {
    status = sync_dirty(store, err);
    bool lost = status != DEAI_OK;
    if (!lost) status = blocks_store_commit(store, &store->committing, &head, err);
    /* a full disk or no memory leaves the log whole: the next sync tries again */
    if (status != DEAI_EFULL && status != DEAI_ENOMEM) lost = status != DEAI_OK;
    sync_end(store, status, lost);
  }
  (void)pthread_mutex_unlock(&store->sync);
  return status;
}

int32_t blocks_store_sync(blocks_store *store, blocks_error *err) {
  return sync_now(store, false, err);
}

int32_t blocks_store_sync_log(blocks_store *store, blocks_error *err) {
  return sync_now(store, true, err);
}

/* --- open and close --- */

static int32_t make_folder(int at, const char *path, int *fd_out, blocks_error *err) {
  if (mkdirat(at, path, 0700) != 0 && errno != EEXIST) return blocks_fail_errno(err, errno, path);
  *fd_out = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return *fd_out < 0 ? blocks_fail_errno(err, errno, path) : DEAI_OK;
}

static int32_t sync_parent(const char *folder, blocks_error *err) {
  char *path = strdup(folder);
  if (path == NULL) return blocks_fail(err, DEAI_ENOMEM, "store: no memory");
  char *slash = strrchr(path, '/');
  if (slash == path)
    slash[1] = 0;
  else if (slash != NULL)
    *slash = 0;
  int fd = open(slash == NULL ? "." : path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  free(path);
  if (fd < 0 && errno == EACCES) return DEAI_OK; /* confined to the folder: its host made it */
  if (fd < 0) return blocks_fail_errno(err, errno, "folder above the store");
  int rc = fsync(fd);
  int code = errno;
  (void)close(fd);
  return rc == 0 ? DEAI_OK : blocks_fail_errno(err, code, "sync of the folder above the store");
}

static int32_t open_folders(blocks_store *store, const char *folder, blocks_error *err) {
  int index_fd = -1;
  int32_t status = make_folder(AT_FDCWD, folder, &store->root_fd, err);
  if (status == DEAI_OK) status = make_folder(store->root_fd, "packs", &store->packs_fd, err);
  if (status == DEAI_OK) status = make_folder(store->root_fd, "files", &store->files_fd, err);
  if (status == DEAI_OK) status = make_folder(store->root_fd, "index", &index_fd, err);
  if (index_fd >= 0) (void)close(index_fd);
  if (status != DEAI_OK) return status;
  store->lock_fd = openat(store->root_fd, "lock", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (store->lock_fd < 0) return blocks_fail_errno(err, errno, "lock of the store");
  if (flock(store->lock_fd, LOCK_EX | LOCK_NB) != 0)
    return blocks_fail(err, DEAI_EBUSY, "store: %s is in use by another process; stop it first",
                       folder);
  if (fsync(store->root_fd) != 0) return blocks_fail_errno(err, errno, "sync of the store");
  return sync_parent(folder, err);
}

static int32_t index_throw_away(blocks_store *store, blocks_error *err) {
  static const char *const names[] = {"index/data.mdb", "index/lock.mdb"};
  for (size_t i = 0; i < 2; i++)
    if (unlinkat(store->root_fd, names[i], 0) != 0 && errno != ENOENT)
      return blocks_fail_errno(err, errno, names[i]);
  return DEAI_OK;
}

static int32_t open_index(blocks_store *store, bool rebuild, bool *fresh_out, blocks_error *err) {
  int32_t status = rebuild ? index_throw_away(store, err) : DEAI_OK;
  if (status == DEAI_OK)
    status = blocks_index_open(store->index_path, &store->index, fresh_out, &store->head, err);
  if (status == DEAI_EVERIFY) { /* damaged: the log has everything */
    status = index_throw_away(store, err);
    if (status == DEAI_OK)
      status = blocks_index_open(store->index_path, &store->index, fresh_out, &store->head, err);
  }
  if (status != DEAI_OK) return status;
  int fd = openat(store->root_fd, "index", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || fsync(fd) != 0) status = blocks_fail_errno(err, errno, "sync of the index folder");
  if (fd >= 0) (void)close(fd);
  return status;
}

static blocks_store *store_new(const blocks_store_options *options) {
  blocks_store *store = calloc(1, sizeof *store);
  if (store == NULL) return NULL;
  size_t room = strlen(options->folder) + sizeof "/index";
  store->index_path = malloc(room);
  if (store->index_path == NULL) {
    free(store);
    return NULL;
  }
  (void)snprintf(store->index_path, room, "%s/index", options->folder);
  store->root_fd = store->packs_fd = store->files_fd = store->lock_fd = store->pack_fd = -1;
  store->bytes_max = options->bytes_max;
  store->pack_bytes_max = options->pack_bytes_max ? options->pack_bytes_max : BLOCKS_PACK_BYTES;
  (void)pthread_mutex_init(&store->append, NULL);
  (void)pthread_mutex_init(&store->sync, NULL);
  (void)pthread_mutex_init(&store->fds.mutex, NULL);
  return store;
}

static void store_free(blocks_store *store) {
  release_dirty(store, &store->queued);
  blocks_batch_free(&store->queued);
  blocks_index_close(store->index);
  blocks_fds_free(&store->fds);
  int fds[] = {store->packs_fd, store->files_fd, store->root_fd, store->lock_fd};
  for (size_t i = 0; i < 4; i++)
    if (fds[i] >= 0) (void)close(fds[i]);
  (void)pthread_mutex_destroy(&store->append);
  (void)pthread_mutex_destroy(&store->sync);
  (void)pthread_mutex_destroy(&store->fds.mutex);
  free(store->index_path);
  free(store);
}

int32_t blocks_store_open(const blocks_store_options *options, blocks_store **out,
                          blocks_error *err) {
  if (options->pack_bytes_max != 0 && options->pack_bytes_max < 2 * BLOCKS_RECORD_BYTES_MAX)
    return blocks_fail(err, DEAI_EINVAL, "store: expected packs of at least %u bytes",
                       2 * BLOCKS_RECORD_BYTES_MAX);
  blocks_store *store = store_new(options);
  if (store == NULL) return blocks_fail(err, DEAI_ENOMEM, "store: no memory");
  bool fresh = false;
  int32_t status = open_folders(store, options->folder, err);
  if (status == DEAI_OK) status = open_index(store, options->rebuild, &fresh, err);
  if (status == DEAI_OK) status = blocks_store_recover(store, options, fresh, err);
  if (status == DEAI_OK)
    *out = store;
  else
    store_free(store);
  return status;
}

int32_t blocks_store_close(blocks_store *store) {
  if (store == NULL) return DEAI_OK;
  int32_t status = blocks_store_sync(store, NULL);
  store_free(store);
  return status;
}

int32_t blocks_store_usage(blocks_store *store, blocks_usage *out) {
  blocks_txn *txn;
  *out = (blocks_usage){.lost_files = store->lost_files,
                        .damaged = store->damaged,
                        .rebuilt = store->rebuilt,
                        .cut_bytes = store->cut_bytes};
  int32_t status = blocks_index_read(store->index, &txn, NULL);
  if (status != DEAI_OK) return status;
  status = blocks_index_counts(store->index, txn, &out->places, &out->files, &out->pins);
  blocks_index_read_done(store->index, txn);
  (void)pthread_mutex_lock(&store->append);
  out->bytes = store->bytes_used;
  out->bytes_max = store->bytes_max;
  out->packs = store->packs;
  (void)pthread_mutex_unlock(&store->append);
  return status;
}
