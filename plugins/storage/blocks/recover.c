#include "store_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

#define RECOVER_OPS_MAX 4096 /* a transaction */

typedef struct numbers { /* found in a folder, ascending */
  uint64_t *list;
  uint32_t count;
  uint32_t cap;
} numbers;

typedef struct recovery {
  blocks_store *store;
  const blocks_store_options *options;
  numbers packs;
  numbers files;
  blocks_batch batch;
  blocks_file_spec *specs; /* FILE records met on the way */
  uint32_t specs_count;
  uint32_t specs_cap;
  blocks_buf buf;
  uint64_t done_bytes;
  uint64_t all_bytes;
} recovery;

static int compare_numbers(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a;
  uint64_t y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

static int32_t numbers_add(numbers *n, uint64_t number) {
  if (n->count == n->cap) {
    uint32_t cap = n->cap == 0 ? 64 : n->cap * 2;
    uint64_t *list = realloc(n->list, cap * sizeof *list);
    if (list == NULL) return DEAI_ENOMEM;
    n->list = list;
    n->cap = cap;
  }
  n->list[n->count++] = number;
  return DEAI_OK;
}

/* collects the files named NUMBER.suffix, in hex, and adds up their sizes */
static int32_t numbers_read(int folder, const char *suffix, numbers *out, uint64_t *bytes,
                            blocks_error *err) {
  int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = fd < 0 ? NULL : fdopendir(fd);
  if (dir == NULL) return blocks_fail_errno(err, errno, "folder of the store");
  int32_t status = DEAI_OK;
  struct dirent *entry;
  while (status == DEAI_OK && (entry = readdir(dir)) != NULL) {
    char *end;
    struct stat info;
    uint64_t number = strtoull(entry->d_name, &end, 16);
    if (end == entry->d_name || strcmp(end, suffix) != 0) continue;
    if (fstatat(folder, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(info.st_mode))
      continue;
    *bytes += (uint64_t)info.st_size;
    status = numbers_add(out, number);
  }
  (void)closedir(dir);
  if (out->count > 0) qsort(out->list, out->count, sizeof *out->list, compare_numbers);
  return status == DEAI_OK ? DEAI_OK : blocks_fail(err, status, "store: no memory");
}

static void told(recovery *r, uint64_t bytes) {
  r->done_bytes += bytes;
  if (r->options->progress != NULL)
    r->options->progress(r->options->user, r->done_bytes, r->all_bytes);
}

static int32_t batch_flush(recovery *r, blocks_error *err) {
  int32_t status = r->batch.count ? blocks_store_commit(r->store, &r->batch, NULL, err) : DEAI_OK;
  blocks_batch_free(&r->batch);
  return status;
}

static int32_t batch_add(recovery *r, blocks_op *op, blocks_error *err) {
  int32_t status = blocks_batch_add(&r->batch, op);
  if (status != DEAI_OK) return blocks_fail(err, status, "store: no memory to recover");
  return r->batch.count >= RECOVER_OPS_MAX ? batch_flush(r, err) : DEAI_OK;
}

static int32_t take_file(recovery *r, const blocks_record *record, blocks_error *err) {
  const uint8_t *at = r->buf.ptr;
  if (record->len != 24) return DEAI_OK; /* not ours: nothing to know from it */
  if (r->specs_count == r->specs_cap) {
    uint32_t cap = r->specs_cap == 0 ? 16 : r->specs_cap * 2;
    blocks_file_spec *specs = realloc(r->specs, cap * sizeof *specs);
    if (specs == NULL) return blocks_fail(err, DEAI_ENOMEM, "store: no memory to recover");
    r->specs = specs;
    r->specs_cap = cap;
  }
  r->specs[r->specs_count++] = (blocks_file_spec){.number = blocks_get_u64(at),
                                                  .size = blocks_get_u64(at + 8),
                                                  .leaf_bytes = blocks_get_u32(at + 16),
                                                  .leaves = blocks_get_u32(at + 20),
                                                  .root = record->cid};
  return DEAI_OK;
}

static int32_t take_record(recovery *r, uint64_t pack, const blocks_record *record,
                           blocks_error *err) {
  blocks_op op = {.kind = BLOCKS_OP_BLOCK,
                  .at = {.cid = record->cid,
                         .store = pack,
                         .offset = record->data_offset,
                         .len = record->len,
                         .crc = record->crc,
                         .flags = BLOCKS_PLACE_HERE}};
  if (record->kind == BLOCKS_RECORD_FILE) return take_file(r, record, err);
  if (record->kind == BLOCKS_RECORD_PIN) {
    if (record->len != 8) return DEAI_OK;
    op.kind = BLOCKS_OP_PIN;
    op.count = blocks_get_u64(r->buf.ptr);
  }
  return batch_add(r, &op, err);
}

/* reads the records from *at on; *at is then the end of the last whole one */
static int32_t scan_records(recovery *r, uint64_t pack, int fd, uint32_t salt, uint64_t *at,
                            blocks_error *err) {
  blocks_record record;
  uint64_t from = *at;
  for (;;) {
    int32_t status = blocks_record_read(fd, salt, from, &record, &r->buf, err);
    if (status == DEAI_ENOTFOUND) return DEAI_OK;
    if (status == DEAI_EVERIFY) {
      r->store->damaged++;
      status = blocks_record_find(fd, salt, from + 1, &from, &r->buf, err);
      if (status == DEAI_ENOTFOUND) return DEAI_OK; /* nothing whole behind it */
      if (status == DEAI_OK) continue;
    }
    if (status == DEAI_OK) status = take_record(r, pack, &record, err);
    if (status != DEAI_OK) return status;
    told(r, blocks_record_bytes(&record.cid, record.len));
    from = record.data_offset + record.len;
    *at = from;
  }
}

static int32_t cut_tail(recovery *r, int fd, uint64_t end, blocks_error *err) {
  struct stat info;
  if (fstat(fd, &info) != 0) return blocks_fail_errno(err, errno, "last pack");
  if ((uint64_t)info.st_size <= end) return DEAI_OK;
  if (ftruncate(fd, (off_t)end) != 0 || fdatasync(fd) != 0)
    return blocks_fail_errno(err, errno, "cutting the torn end of the log");
  r->store->cut_bytes += (uint64_t)info.st_size - end;
  r->store->bytes_used -= (uint64_t)info.st_size - end;
  return DEAI_OK;
}

static int32_t scan_pack(recovery *r, uint64_t number, uint64_t from, bool last,
                         blocks_error *err) {
  blocks_store *store = r->store;
  int fd = -1;
  uint32_t salt = 0;
  int32_t status = blocks_pack_open(store->packs_fd, number, &fd, &salt, err);
  if (status == DEAI_EVERIFY) { /* its making was cut off, or its first bytes are gone */
    r->store->damaged++;
    (void)close(fd);
    return DEAI_OK;
  }
  if (status != DEAI_OK) return status;
  uint64_t at = from > BLOCKS_PACK_HEAD_BYTES ? from : BLOCKS_PACK_HEAD_BYTES;
  status = scan_records(r, number, fd, salt, &at, err);
  if (status == DEAI_OK && last) status = cut_tail(r, fd, at, err);
  if (status == DEAI_OK && last) {
    store->head.pack = number;
    store->head.pack_end = at;
    store->pack_salt = salt;
    (void)close(fd);
    return blocks_fds_get(store, number, &store->pack_fd, err);
  }
  (void)close(fd);
  return status;
}

/* hashes the leaves of a file that the index does not know: what is right is here */
static int32_t check_leaves(recovery *r, blocks_leaves *leaves, int fd, blocks_error *err) {
  blocks_file_spec *spec = &leaves->spec;
  spec->have = 0;
  int32_t status = blocks_buf_reserve(&r->buf, spec->leaf_bytes);
  for (uint32_t i = 0; i < spec->leaves && status == DEAI_OK; i++) {
    uint8_t digest[DEAI_HASH_BYTES];
    uint64_t offset = (uint64_t)i * spec->leaf_bytes;
    uint64_t left = spec->size - offset;
    size_t len = left < spec->leaf_bytes ? (size_t)left : spec->leaf_bytes;
    status = blocks_read_at(fd, offset, r->buf.ptr, len, err);
    if (status != DEAI_OK) break;
    blocks_sha256(deai_bytes_of(r->buf.ptr, len), digest);
    told(r, len);
    if (memcmp(digest, leaves->digests + (size_t)i * DEAI_HASH_BYTES, sizeof digest) != 0) continue;
    leaves->here[i / 8] = (uint8_t)(leaves->here[i / 8] | 1u << (i % 8));
    leaves->crcs[i] = blocks_crc32c(0, r->buf.ptr, len);
    spec->have++;
  }
  return status;
}

static int32_t recover_file(recovery *r, const blocks_file_spec *spec, blocks_error *err) {
  blocks_store *store = r->store;
  blocks_file_spec known;
  blocks_leaves *leaves = NULL;
  blocks_txn *txn;
  struct stat info;
  int fd;
  int32_t status = blocks_index_read(store->index, &txn, err);
  if (status != DEAI_OK) return status;
  status = blocks_index_file(store->index, txn, spec->number, &known);
  blocks_index_read_done(store->index, txn);
  if (status == DEAI_OK) return DEAI_OK;
  status = blocks_fds_get(store, spec->number | BLOCKS_STORE_FILE, &fd, err);
  if (status == DEAI_ENOTFOUND) return DEAI_OK; /* dropped later, or its content was a double */
  if (status != DEAI_OK) return status;
  status = blocks_file_shape(store, &spec->root, &leaves, err);
  bool fits = status == DEAI_OK && fstat(fd, &info) == 0 && (uint64_t)info.st_size == spec->size &&
              leaves->spec.size == spec->size && leaves->spec.leaf_bytes == spec->leaf_bytes;
  if (fits) {
    leaves->spec.number = spec->number;
    status = check_leaves(r, leaves, fd, err);
    blocks_op op = {.kind = BLOCKS_OP_FILE, .at = {.cid = spec->root}, .leaves = leaves};
    if (status == DEAI_OK) status = batch_add(r, &op, err);
    if (status == DEAI_OK) leaves = NULL;
    if (status == DEAI_OK) status = batch_flush(r, err);
  } else if (status == DEAI_ENOTFOUND || status == DEAI_EUNSUPPORTED || status == DEAI_EVERIFY) {
    r->store->damaged++; /* without its inner nodes nobody can say what the leaves are */
    status = DEAI_OK;
  }
  blocks_leaves_free(leaves);
  blocks_fds_release(store, spec->number | BLOCKS_STORE_FILE);
  return status;
}

static bool recorded(const recovery *r, uint64_t number) {
  for (uint32_t i = 0; i < r->specs_count; i++)
    if (r->specs[i].number == number) return true;
  return false;
}

/* a file that neither index nor log knows is an import that was cut off */
static int32_t drop_orphans(recovery *r, blocks_error *err) {
  blocks_store *store = r->store;
  for (uint32_t i = 0; i < r->files.count; i++) {
    blocks_file_spec known;
    struct stat info;
    blocks_txn *txn;
    char name[32];
    uint64_t number = r->files.list[i];
    int32_t status = blocks_index_read(store->index, &txn, err);
    if (status != DEAI_OK) return status;
    status = blocks_index_file(store->index, txn, number, &known);
    blocks_index_read_done(store->index, txn);
    if (number >= store->head.next_file) store->head.next_file = number + 1;
    if (status != DEAI_ENOTFOUND || recorded(r, number)) continue;
    blocks_file_name(number, name);
    if (fstatat(store->files_fd, name, &info, 0) != 0) continue;
    if (unlinkat(store->files_fd, name, 0) != 0) return blocks_fail_errno(err, errno, name);
    store->bytes_used -= (uint64_t)info.st_size;
  }
  return DEAI_OK;
}

/* a file whose content is gone from the disk is no file; its places read as missing */
static int32_t drop_lost_files(recovery *r, blocks_error *err) {
  blocks_index *index = r->store->index;
  blocks_file_spec spec = {0};
  blocks_txn *txn;
  int32_t status = blocks_index_write(index, &txn, err);
  if (status != DEAI_OK) return status;
  while ((status = blocks_index_file_next(index, txn, spec.number, &spec)) == DEAI_OK) {
    bool there = false;
    for (uint32_t i = 0; i < r->files.count && !there; i++)
      there = r->files.list[i] == spec.number;
    if (there) continue;
    r->store->lost_files++;
    status = blocks_index_file_drop(index, txn, &spec);
    if (status != DEAI_OK) break;
  }
  if (status == DEAI_ENOTFOUND) return blocks_index_commit(txn, err);
  blocks_index_abort(txn);
  return blocks_fail(err, status, "index: lost files not dropped");
}

static int32_t scan_packs(recovery *r, bool fresh, blocks_error *err) {
  blocks_store *store = r->store;
  blocks_head start = store->head;
  int32_t status = DEAI_OK;
  store->packs = r->packs.count;
  for (uint32_t i = 0; i < r->packs.count && status == DEAI_OK; i++) {
    uint64_t number = r->packs.list[i];
    bool last = i + 1 == r->packs.count;
    if (number >= store->head.next_pack) store->head.next_pack = number + 1;
    if (!fresh && number < start.pack && !last) continue;
    uint64_t from = !fresh && number == start.pack ? start.pack_end : 0;
    status = scan_pack(r, number, from, last, err);
  }
  return status == DEAI_OK ? batch_flush(r, err) : status;
}

static int32_t write_head(blocks_store *store, blocks_error *err) {
  blocks_batch none = {0};
  if (store->head.next_pack == 0) store->head.next_pack = 1;
  if (store->head.next_file == 0) store->head.next_file = 1;
  return blocks_store_commit(store, &none, &store->head, err);
}

int32_t blocks_store_recover(blocks_store *store, const blocks_store_options *options, bool fresh,
                             blocks_error *err) {
  recovery r = {.store = store, .options = options};
  int32_t status = numbers_read(store->packs_fd, ".pack", &r.packs, &r.all_bytes, err);
  if (status == DEAI_OK)
    status = numbers_read(store->files_fd, ".leaf", &r.files, &r.all_bytes, err);
  store->bytes_used = r.all_bytes;
  store->rebuilt = fresh && r.packs.count > 0;
  if (status == DEAI_OK) status = scan_packs(&r, fresh, err);
  for (uint32_t i = 0; i < r.specs_count && status == DEAI_OK; i++) {
    if (r.specs[i].number >= store->head.next_file) store->head.next_file = r.specs[i].number + 1;
    status = recover_file(&r, &r.specs[i], err);
  }
  if (status == DEAI_OK) status = drop_orphans(&r, err);
  if (status == DEAI_OK) status = drop_lost_files(&r, err);
  if (status == DEAI_OK) status = write_head(store, err);
  blocks_batch_free(&r.batch);
  blocks_buf_free(&r.buf);
  free(r.packs.list);
  free(r.files.list);
  free(r.specs);
  return status;
}
