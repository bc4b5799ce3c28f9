#include "store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/base/banned.h"

#define PLACES_TRIED_MAX 8
#define LOOKUPS_MAX      3 /* a compaction may move a block between index and read */
#define STAT_LINKS_MAX   (UINT64_C(1) << 26)
#define MEMFD_BYTES_MAX  (64u << 20) /* a larger copy goes to a nameless file on disk */
#define COPY_BYTES       (1u << 20)

int32_t blocks_place_read(blocks_store *store, const blocks_place *place, bool full,
                          blocks_buf *buf, blocks_error *err) {
  int fd;
  buf->len = 0;
  if (place->len > BLOCKS_BLOCK_BYTES_MAX)
    return blocks_fail(err, DEAI_EVERIFY, "index: a block of %u bytes", place->len);
  int32_t status = blocks_buf_reserve(buf, place->len);
  if (status != DEAI_OK) return blocks_fail(err, status, "store: no memory for a block");
  status = blocks_fds_get(store, place->store, &fd, err);
  if (status != DEAI_OK) return status;
  status = blocks_read_at(fd, place->offset, buf->ptr, place->len, err);
  blocks_fds_release(store, place->store);
  if (status != DEAI_OK) return status;
  buf->len = place->len;
  if (blocks_crc32c(0, buf->ptr, buf->len) != place->crc)
    return blocks_fail(err, DEAI_EVERIFY, "store: a block on disk is damaged (CRC differs)");
  if (!full && (place->store & BLOCKS_STORE_FILE) != 0) return DEAI_OK;
  return blocks_cid_check(&place->cid, blocks_buf_bytes(buf), err);
}

int32_t blocks_store_mark_missing(blocks_store *store, const blocks_place *places, uint32_t count,
                                  blocks_error *err) {
  blocks_txn *txn;
  int32_t marked = 0;
  int32_t status = blocks_index_write(store->index, &txn, err);
  if (status != DEAI_OK) return status;
  blocks_apply apply = {.index = store->index, .txn = txn};
  for (uint32_t i = 0; i < count && status >= DEAI_OK; i++) {
    status = blocks_apply_missing(&apply, &places[i]);
    if (status > 0) marked++;
  }
  if (status >= DEAI_OK) status = blocks_apply_flush(&apply);
  if (status != DEAI_OK) {
    blocks_index_abort(txn);
    return blocks_fail(err, status, "index: damaged blocks not marked");
  }
  status = blocks_index_commit(txn, err);
  return status == DEAI_OK ? marked : status;
}

static int32_t find_places(blocks_store *store, const blocks_cid *cid, blocks_place *places,
                           blocks_error *err) {
  blocks_txn *txn;
  int32_t status = blocks_index_read(store->index, &txn, err);
  if (status != DEAI_OK) return status;
  status = blocks_index_places(store->index, txn, cid, NULL, places, PLACES_TRIED_MAX);
  blocks_index_read_done(store->index, txn);
  return status < 0 ? blocks_fail(err, status, "index: places of a block not read") : status;
}

/* reads from the first place whose bytes are right; *bad_out counts the wrong ones */
static int32_t read_any(blocks_store *store, const blocks_place *places, int32_t count,
                        blocks_buf *buf, uint32_t *bad_out, blocks_error *err) {
  int32_t result = DEAI_ENOTFOUND;
  for (int32_t i = 0; i < count; i++) {
    if ((places[i].flags & BLOCKS_PLACE_HERE) == 0) continue;
    int32_t status = blocks_place_read(store, &places[i], false, buf, err);
    if (status != DEAI_EVERIFY && status != DEAI_ENOTFOUND) return status;
    int32_t marked = blocks_store_mark_missing(store, &places[i], 1, err);
    if (marked < 0) return marked;
    *bad_out += (uint32_t)marked;
    result = DEAI_EAGAIN; /* damaged and marked, or moved meanwhile: look again */
  }
  return result;
}

static int32_t get_v1(blocks_store *store, const blocks_cid *cid, blocks_buf *buf,
                      blocks_error *err) {
  blocks_place places[PLACES_TRIED_MAX];
  blocks_cid_string room;
  uint32_t bad = 0;
  for (int lookup = 0; lookup < LOOKUPS_MAX; lookup++) {
    if (blocks_store_find_queued(store, cid, &places[0])) {
      int32_t status = blocks_place_read(store, &places[0], false, buf, err);
      if (status == DEAI_OK) return DEAI_OK;
    }
    int32_t count = find_places(store, cid, places, err);
    if (count < 0) return count;
    int32_t status = read_any(store, places, count, buf, &bad, err);
    if (status == DEAI_ENOTFOUND) break;
    if (status != DEAI_EAGAIN) return status;
  }
  buf->len = 0;
  if (bad > 0)
    return blocks_fail(err, DEAI_EVERIFY, "block %.80s is damaged on disk; fetch it again",
                       blocks_cid_print(cid, &room));
  return blocks_fail(err, DEAI_ENOTFOUND, "block %.80s is not in the store",
                     blocks_cid_print(cid, &room));
}

int32_t blocks_store_get(blocks_store *store, const blocks_cid *cid, blocks_buf *buf,
                         blocks_error *err) {
  buf->len = 0;
  if (cid->hash == BLOCKS_HASH_IDENTITY) {
    deai_bytes inside = blocks_cid_digest(cid);
    return blocks_buf_add(buf, inside.ptr, (size_t)inside.len);
  }
  blocks_cid v1 = blocks_cid_v1(cid);
  return get_v1(store, &v1, buf, err);
}

int32_t blocks_store_has(blocks_store *store, const blocks_cid *cid, uint32_t *len_out) {
  blocks_place places[PLACES_TRIED_MAX];
  blocks_cid v1 = blocks_cid_v1(cid);
  if (cid->hash == BLOCKS_HASH_IDENTITY) {
    if (len_out != NULL) *len_out = cid->digest_len;
    return 1;
  }
  int32_t count = 1;
  if (!blocks_store_find_queued(store, &v1, &places[0]))
    count = find_places(store, &v1, places, NULL);
  for (int32_t i = 0; i < count; i++) {
    if ((places[i].flags & BLOCKS_PLACE_HERE) == 0) continue;
    if (len_out != NULL) *len_out = places[i].len;
    return 1;
  }
  return count < 0 ? count : 0;
}

static int32_t source_get(void *user, const blocks_cid *cid, blocks_buf *buf, blocks_error *err) {
  return blocks_store_get(user, cid, buf, err);
}

blocks_source blocks_store_source(blocks_store *store) {
  return (blocks_source){.user = store, .get = source_get};
}

int32_t blocks_store_list(blocks_store *store, const blocks_cid *after, blocks_cid *cids,
                          uint32_t max, uint32_t *count_out, blocks_error *err) {
  blocks_txn *txn;
  blocks_cid v1;
  if (after != NULL) v1 = blocks_cid_v1(after);
  int32_t count = blocks_index_read(store->index, &txn, err);
  if (count != DEAI_OK) return count;
  count = blocks_index_list(store->index, txn, after ? &v1 : NULL, cids, max);
  blocks_index_read_done(store->index, txn);
  if (count < 0) return blocks_fail(err, count, "index: list of blocks not read");
  *count_out = (uint32_t)count;
  return DEAI_OK;
}

int32_t blocks_store_list_pins(blocks_store *store, const blocks_cid *after, blocks_cid *cids,
                               uint32_t max, uint32_t *count_out, blocks_error *err) {
  blocks_txn *txn;
  blocks_cid v1;
  if (after != NULL) v1 = blocks_cid_v1(after);
  int32_t count = blocks_index_read(store->index, &txn, err);
  if (count != DEAI_OK) return count;
  count = blocks_index_set_list(store->index, txn, BLOCKS_SET_PIN, after ? &v1 : NULL, cids, max);
  blocks_index_read_done(store->index, txn);
  if (count < 0) return blocks_fail(err, count, "index: list of pins not read");
  *count_out = (uint32_t)count;
  return DEAI_OK;
}

/* --- stat --- */

typedef struct stat_walk {
  blocks_store *store;
  blocks_stat *out;
} stat_walk;

static int32_t stat_visit(void *user, const blocks_cid *cid, deai_bytes block) {
  stat_walk *walk = user;
  walk->out->blocks++;
  int32_t here = block.ptr != NULL ? 1 : blocks_store_has(walk->store, cid, NULL);
  if (here < 0) return here;
  walk->out->have += (uint64_t)here;
  return DEAI_OK;
}

static int32_t stat_missing(void *user, const blocks_cid *cid) {
  stat_walk *walk = user;
  (void)cid;
  walk->out->blocks++;
  return DEAI_OK;
}

int32_t blocks_store_stat(blocks_store *store, const blocks_cid *cid, blocks_stat *out,
                          blocks_error *err) {
  *out = (blocks_stat){0};
  stat_walk walk = {.store = store, .out = out};
  blocks_info info;
  blocks_source source = blocks_store_source(store);
  int32_t status = blocks_store_pins(store, cid, &out->pins);
  if (status != DEAI_OK) return blocks_fail(err, status, "index: pin not read");
  status = blocks_info_read(source, cid, &info, err);
  if (status == DEAI_OK) out->size = info.size;
  blocks_caps caps = {.blocks_max = STAT_LINKS_MAX};
  return blocks_dag_each(source, cid, false, caps, err, &walk, stat_visit, stat_missing);
}

/* --- a file as a descriptor --- */

static int32_t open_in_files(blocks_store *store, const blocks_cid *cid, int *fd_out,
                             uint64_t *size_out, blocks_error *err) {
  blocks_file_spec spec;
  blocks_txn *txn;
  char name[32];
  int32_t status = blocks_index_read(store->index, &txn, err);
  if (status != DEAI_OK) return status;
  status = blocks_index_file_of_root(store->index, txn, cid, &spec);
  blocks_index_read_done(store->index, txn);
  if (status != DEAI_OK) return status;
  if (spec.have != spec.leaves)
    return blocks_fail(err, DEAI_EAGAIN, "file: %u of %u leaves are here; fetch the others first",
                       spec.have, spec.leaves);
  blocks_file_name(spec.number, name);
  int fd = openat(store->files_fd, name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return blocks_fail_errno(err, errno, name);
  *fd_out = fd;
  *size_out = spec.size;
  return DEAI_OK;
}

static int32_t copy_out(blocks_reader *reader, int fd, blocks_error *err) {
  blocks_buf buf = {0};
  uint64_t at = 0;
  int32_t status = blocks_buf_reserve(&buf, COPY_BYTES);
  while (status == DEAI_OK && at < blocks_reader_size(reader)) {
    int64_t got =
        blocks_reader_read(reader, at, (deai_buf){.ptr = buf.ptr, .cap = COPY_BYTES}, err);
    if (got <= 0) {
      status = got < 0 ? (int32_t)got : DEAI_EINVAL;
      break;
    }
    status = blocks_write_at(fd, at, buf.ptr, (size_t)got, err);
    at += (uint64_t)got;
  }
  blocks_buf_free(&buf);
  return status;
}

/* a sealed memory file, or a nameless file opened again for reading only */
static int32_t seal(int fd, bool memory, int *fd_out, blocks_error *err) {
  if (memory) {
    int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    if (fcntl(fd, F_ADD_SEALS, seals) != 0) return blocks_fail_errno(err, errno, "sealing a copy");
  }
  char path[64];
  (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  int again = open(path, O_RDONLY | O_CLOEXEC);
  if (again < 0) return blocks_fail_errno(err, errno, "opening a copy for reading");
  *fd_out = again;
  return DEAI_OK;
}

static int32_t open_copy(blocks_store *store, const blocks_cid *cid, int *fd_out,
                         uint64_t *size_out, blocks_error *err) {
  blocks_reader *reader;
  int32_t status =
      blocks_reader_open(blocks_store_source(store), cid, (blocks_caps){0}, &reader, err);
  if (status != DEAI_OK) return status;
  *size_out = blocks_reader_size(reader);
  bool memory = *size_out <= MEMFD_BYTES_MAX;
  int fd = memory ? memfd_create("deai-file", MFD_CLOEXEC | MFD_ALLOW_SEALING)
                  : openat(store->root_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  status = fd < 0 ? blocks_fail_errno(err, errno, "a copy of a file") : DEAI_OK;
  if (status == DEAI_OK) status = copy_out(reader, fd, err);
  if (status == DEAI_OK) status = seal(fd, memory, fd_out, err);
  if (fd >= 0) (void)close(fd);
  blocks_reader_close(reader);
  return status;
}

int32_t blocks_store_open_file(blocks_store *store, const blocks_cid *cid, int *fd_out,
                               uint64_t *size_out, blocks_error *err) {
  blocks_cid v1 = blocks_cid_v1(cid);
  int32_t status = open_in_files(store, &v1, fd_out, size_out, err);
  if (status == DEAI_OK) return DEAI_OK;
  if (status != DEAI_ENOTFOUND && status != DEAI_EAGAIN && status != DEAI_EVERIFY) return status;
  return open_copy(store, &v1, fd_out, size_out, err);
}
