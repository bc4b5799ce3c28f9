#include "store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

#define SHAPE_NODES_MAX (UINT64_C(1) << 26) /* links walked while a file is begun */

struct blocks_file {
  blocks_store *store;
  blocks_leaves *leaves;
  pthread_mutex_t mutex; /* guards here and have of leaves */
};

void blocks_file_name(uint64_t number, char out[32]) {
  (void)snprintf(out, 32, "%012" PRIx64 ".leaf", number);
}

blocks_cid blocks_leaf_cid(const uint8_t digest[DEAI_HASH_BYTES]) {
  blocks_cid cid = {0};
  if (blocks_cid_make(BLOCKS_CODEC_RAW, BLOCKS_HASH_SHA2_256,
                      deai_bytes_of(digest, DEAI_HASH_BYTES), &cid) != DEAI_OK)
    return (blocks_cid){0}; /* cannot be: the length is right */
  return cid;
}

/* --- making --- */

static int32_t reserve(blocks_store *store, uint64_t bytes, blocks_error *err) {
  (void)pthread_mutex_lock(&store->append);
  int32_t status = blocks_store_broken(store, err);
  if (status == DEAI_OK) status = blocks_store_reserve(store, bytes, err);
  (void)pthread_mutex_unlock(&store->append);
  return status;
}

static void unreserve(blocks_store *store, uint64_t bytes) {
  (void)pthread_mutex_lock(&store->append);
  store->bytes_used -= bytes;
  (void)pthread_mutex_unlock(&store->append);
}

static int32_t preallocate(int fd, uint64_t from, uint64_t to, blocks_error *err) {
  if (to <= from) return DEAI_OK;
  if (fallocate(fd, 0, (off_t)from, (off_t)(to - from)) == 0) return DEAI_OK;
  if (errno != EOPNOTSUPP) return blocks_fail_errno(err, errno, "room for a file");
  return ftruncate(fd, (off_t)to) == 0 ? DEAI_OK : blocks_fail_errno(err, errno, "room for a file");
}

int32_t blocks_file_make(blocks_store *store, uint64_t bytes, uint64_t *number_out, int *fd_out,
                         blocks_error *err) {
  char name[32];
  int32_t status = reserve(store, bytes, err);
  if (status != DEAI_OK) return status;
  (void)pthread_mutex_lock(&store->append);
  uint64_t number = store->head.next_file++;
  (void)pthread_mutex_unlock(&store->append);
  blocks_file_name(number, name);
  int fd = openat(store->files_fd, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
  status = fd < 0 ? blocks_fail_errno(err, errno, name) : preallocate(fd, 0, bytes, err);
  if (status != DEAI_OK) {
    if (fd >= 0)
      blocks_file_discard(store, number, fd, bytes);
    else
      unreserve(store, bytes);
    return status;
  }
  *number_out = number;
  *fd_out = fd;
  return DEAI_OK;
}

int32_t blocks_file_resize(blocks_store *store, int fd, uint64_t from, uint64_t to,
                           blocks_error *err) {
  if (to < from) {
    if (ftruncate(fd, (off_t)to) != 0) return blocks_fail_errno(err, errno, "size of a file");
    unreserve(store, from - to);
    return DEAI_OK;
  }
  int32_t status = reserve(store, to - from, err);
  if (status != DEAI_OK) return status;
  status = preallocate(fd, from, to, err);
  if (status != DEAI_OK) unreserve(store, to - from);
  return status;
}

void blocks_file_discard(blocks_store *store, uint64_t number, int fd, uint64_t bytes) {
  char name[32];
  blocks_file_name(number, name);
  (void)close(fd);
  if (unlinkat(store->files_fd, name, 0) == 0) unreserve(store, bytes);
}

static int32_t log_file(blocks_store *store, blocks_leaves *leaves, blocks_error *err) {
  uint8_t data[24];
  const blocks_file_spec *spec = &leaves->spec;
  blocks_put_u64(data, spec->number);
  blocks_put_u64(data + 8, spec->size);
  blocks_put_u32(data + 16, spec->leaf_bytes);
  blocks_put_u32(data + 20, spec->leaves);
  blocks_record record = {
      .kind = BLOCKS_RECORD_FILE, .cid = spec->root, .crc = blocks_crc32c(0, data, sizeof data)};
  blocks_op op = {.kind = BLOCKS_OP_FILE, .at = {.cid = spec->root}, .leaves = leaves};
  (void)pthread_mutex_lock(&store->append);
  int32_t status = blocks_store_append(store, &record, deai_bytes_of(data, sizeof data), err);
  if (status == DEAI_OK) status = blocks_batch_add(&store->queued, &op);
  (void)pthread_mutex_unlock(&store->append);
  return status;
}

int32_t blocks_file_register(blocks_store *store, int fd, blocks_leaves *leaves,
                             blocks_error *err) {
  int32_t status = DEAI_OK;
  if (fdatasync(fd) != 0 || fsync(store->files_fd) != 0)
    status = blocks_fail_errno(err, errno, "sync of a file");
  if (status == DEAI_OK) status = log_file(store, leaves, err);
  if (status != DEAI_OK) blocks_leaves_free(leaves);
  return status;
}

/* --- the shape of a file from its inner nodes --- */

typedef struct shape_walk {
  blocks_leaves *leaves; /* grown by doubling */
  uint32_t cap;
  uint64_t last_bytes; /* of the leaf listed last */
  uint64_t *expected;  /* file bytes that the links still to be visited promised, next one last */
  uint32_t expected_count;
  uint32_t expected_cap;
  blocks_error *err;
} shape_walk;

static int32_t shape_refuse(shape_walk *walk, const char *why) {
  return blocks_fail(walk->err, DEAI_EUNSUPPORTED, "file: %s; put its blocks one by one", why);
}

static int32_t shape_grow(shape_walk *walk) {
  if (walk->leaves->spec.leaves < walk->cap) return DEAI_OK;
  uint32_t cap = walk->cap * 2;
  uint8_t *digests = realloc(walk->leaves->digests, (size_t)cap * DEAI_HASH_BYTES);
  if (digests == NULL) return blocks_fail(walk->err, DEAI_ENOMEM, "file: no memory for its leaves");
  walk->leaves->digests = digests;
  walk->cap = cap;
  return DEAI_OK;
}

static int32_t shape_leaf(shape_walk *walk, const blocks_cid *cid, uint64_t bytes) {
  blocks_file_spec *spec = &walk->leaves->spec;
  if (cid->hash != BLOCKS_HASH_SHA2_256 || cid->digest_len != DEAI_HASH_BYTES)
    return shape_refuse(walk, "a leaf is not named by SHA-256");
  if (bytes == 0 || bytes > BLOCKS_BLOCK_BYTES_MAX)
    return shape_refuse(walk, "a leaf is empty or above 2 MiB");
  if (spec->leaves == 0) spec->leaf_bytes = (uint32_t)bytes;
  bool even =
      spec->leaves == 0 || (walk->last_bytes == spec->leaf_bytes && bytes <= spec->leaf_bytes);
  if (!even) return shape_refuse(walk, "its leaves are of several sizes");
  if (spec->leaves == UINT32_MAX / 2) return shape_refuse(walk, "it has too many leaves");
  int32_t status = shape_grow(walk);
  if (status != DEAI_OK) return status;
  memcpy(walk->leaves->digests + (size_t)spec->leaves * DEAI_HASH_BYTES,
         cid->bytes + cid->digest_start, DEAI_HASH_BYTES);
  spec->leaves++;
  spec->size += bytes;
  walk->last_bytes = bytes;
  return DEAI_OK;
}

static int32_t shape_expect(shape_walk *walk, const blocks_unixfs *fs) {
  uint32_t count = fs->sizes_count;
  if (walk->expected_count + count > walk->expected_cap) {
    uint32_t cap = (walk->expected_count + count) * 2;
    uint64_t *expected = realloc(walk->expected, cap * sizeof *expected);
    if (expected == NULL) return blocks_fail(walk->err, DEAI_ENOMEM, "file: no memory");
    walk->expected = expected;
    walk->expected_cap = cap;
  }
  uint64_t *sizes = walk->expected + walk->expected_count;
  blocks_unixfs_sizes(fs, sizes);
  for (uint32_t i = 0; i < count / 2; i++) {
    uint64_t swap = sizes[i];
    sizes[i] = sizes[count - 1 - i];
    sizes[count - 1 - i] = swap;
  }
  walk->expected_count += count;
  return DEAI_OK;
}

static int32_t shape_visit(void *user, const blocks_cid *cid, deai_bytes block) {
  shape_walk *walk = user;
  blocks_pbnode node = {0};
  blocks_unixfs fs;
  bool root = walk->expected_cap == 0;
  if (!root && walk->expected_count == 0) return shape_refuse(walk, "its links do not add up");
  uint64_t bytes = root ? 0 : walk->expected[--walk->expected_count];
  if (root && cid->codec != BLOCKS_CODEC_DAG_PB) return shape_refuse(walk, "it is one block");
  if (cid->codec == BLOCKS_CODEC_RAW) return shape_leaf(walk, cid, bytes);
  int32_t status = blocks_pbnode_decode(block, &node, walk->err);
  if (status == DEAI_OK) status = blocks_unixfs_decode(&node, &fs, walk->err);
  if (status == DEAI_OK &&
      (fs.type != BLOCKS_UNIXFS_FILE || fs.data.len > 0 || fs.sizes_count == 0))
    status = shape_refuse(walk, "an inner node is no file node, or holds data itself");
  if (status == DEAI_OK && !root && fs.filesize != bytes)
    status = blocks_fail(walk->err, DEAI_EINVAL, "file: a node contradicts its parent's size");
  if (status == DEAI_OK) status = shape_expect(walk, &fs);
  blocks_pbnode_free(&node);
  return status;
}

static int32_t shape_finish(shape_walk *walk, const blocks_cid *root, blocks_leaves **out) {
  blocks_leaves *leaves = walk->leaves;
  leaves->spec.root = *root;
  if (leaves->spec.size < BLOCKS_FILE_BYTES_MIN) return shape_refuse(walk, "it is below 4 MiB");
  free(leaves->crcs);
  free(leaves->here);
  leaves->crcs = calloc(leaves->spec.leaves, sizeof *leaves->crcs);
  leaves->here = calloc(leaves->spec.leaves / 8 + 1u, 1);
  if (leaves->crcs == NULL || leaves->here == NULL)
    return blocks_fail(walk->err, DEAI_ENOMEM, "file: no memory for its leaves");
  *out = leaves;
  return DEAI_OK;
}

int32_t blocks_file_shape(blocks_store *store, const blocks_cid *root, blocks_leaves **out,
                          blocks_error *err) {
  shape_walk walk = {.leaves = blocks_leaves_new(64), .cap = 64, .err = err};
  if (walk.leaves == NULL) return blocks_fail(err, DEAI_ENOMEM, "file: no memory");
  walk.leaves->spec.leaves = 0;
  blocks_caps caps = {.blocks_max = SHAPE_NODES_MAX};
  int32_t status =
      blocks_dag_each(blocks_store_source(store), root, false, caps, err, &walk, shape_visit, NULL);
  if (status == DEAI_OK) status = shape_finish(&walk, root, out);
  if (status != DEAI_OK) blocks_leaves_free(walk.leaves);
  free(walk.expected);
  return status;
}

/* --- a file that is fetched --- */

static int32_t load_bits(blocks_store *store, blocks_leaves *leaves, blocks_error *err) {
  blocks_txn *txn;
  uint8_t bits[BLOCKS_SEGMENT_BYTES];
  uint32_t bytes = leaves->spec.leaves / 8 + 1;
  int32_t status = blocks_index_read(store->index, &txn, err);
  if (status != DEAI_OK) return status;
  leaves->spec.have = 0;
  for (uint32_t at = 0; at < bytes && status == DEAI_OK; at += sizeof bits) {
    uint32_t len = bytes - at < sizeof bits ? bytes - at : (uint32_t)sizeof bits;
    status = blocks_index_bits(store->index, txn, leaves->spec.number, (uint32_t)(at / sizeof bits),
                               bits);
    memcpy(leaves->here + at, bits, len);
  }
  for (uint32_t i = 0; i < leaves->spec.leaves; i++)
    leaves->spec.have += leaves->here[i / 8] >> (i % 8) & 1;
  blocks_index_read_done(store->index, txn);
  return status;
}

static blocks_leaves *leaves_copy(const blocks_leaves *from) {
  blocks_leaves *copy = blocks_leaves_new(from->spec.leaves);
  if (copy == NULL) return NULL;
  copy->spec = from->spec;
  memcpy(copy->digests, from->digests, (size_t)from->spec.leaves * DEAI_HASH_BYTES);
  return copy;
}

static int32_t begin_new(blocks_store *store, blocks_leaves *leaves, blocks_error *err) {
  int fd;
  int32_t status = blocks_file_make(store, leaves->spec.size, &leaves->spec.number, &fd, err);
  if (status != DEAI_OK) return status;
  blocks_leaves *copy = leaves_copy(leaves);
  status = copy ? blocks_file_register(store, fd, copy, err)
                : blocks_fail(err, DEAI_ENOMEM, "file: no memory for its leaves");
  if (status != DEAI_OK) {
    blocks_file_discard(store, leaves->spec.number, fd, leaves->spec.size);
    return status;
  }
  (void)close(fd);
  return blocks_store_sync(store, err);
}

int32_t blocks_file_find(blocks_store *store, const blocks_cid *root, blocks_file_spec *out,
                         blocks_error *err) {
  blocks_txn *txn;
  int32_t status = blocks_index_read(store->index, &txn, err);
  if (status != DEAI_OK) return status;
  status = blocks_index_file_of_root(store->index, txn, root, out);
  (void)pthread_mutex_lock(&store->append);
  bool doubtful = store->collecting && status == DEAI_OK && out->born < store->head.collection;
  (void)pthread_mutex_unlock(&store->append);
  if (doubtful) { /* a collection may be about to drop it: only a marked one counts */
    int32_t marked = blocks_index_set_has(store->index, txn, BLOCKS_SET_MARK, root);
    status = marked == 1 ? DEAI_OK : marked == 0 ? DEAI_ENOTFOUND : marked;
  }
  blocks_index_read_done(store->index, txn);
  return status;
}

int32_t blocks_file_begin(blocks_store *store, const blocks_cid *root, blocks_file **out,
                          blocks_error *err) {
  blocks_cid v1 = blocks_cid_v1(root);
  blocks_file_spec known;
  blocks_leaves *leaves = NULL;
  int32_t status = blocks_file_shape(store, &v1, &leaves, err);
  if (status != DEAI_OK) return status;
  status = blocks_file_find(store, &v1, &known, err);
  if (status == DEAI_ENOTFOUND || status == DEAI_EVERIFY) {
    status = begin_new(store, leaves, err);
    /* another thread may have been first: its file counts */
    if (status == DEAI_OK) status = blocks_file_find(store, &v1, &known, err);
  }
  blocks_file *file = status == DEAI_OK ? calloc(1, sizeof *file) : NULL;
  if (status == DEAI_OK && file == NULL) status = blocks_fail(err, DEAI_ENOMEM, "file: no memory");
  if (status == DEAI_OK) {
    leaves->spec.number = known.number;
    status = load_bits(store, leaves, err);
  }
  if (status != DEAI_OK) {
    blocks_leaves_free(leaves);
    free(file);
    return status;
  }
  file->store = store;
  file->leaves = leaves;
  (void)pthread_mutex_init(&file->mutex, NULL);
  *out = file;
  return DEAI_OK;
}

uint32_t blocks_file_leaves(blocks_file *file, uint32_t *have_out) {
  (void)pthread_mutex_lock(&file->mutex);
  if (have_out != NULL) *have_out = file->leaves->spec.have;
  (void)pthread_mutex_unlock(&file->mutex);
  return file->leaves->spec.leaves;
}

static bool leaf_here(const blocks_leaves *leaves, uint32_t i) {
  return (leaves->here[i / 8] >> (i % 8) & 1) != 0;
}

int32_t blocks_file_missing(blocks_file *file, uint32_t from, uint32_t *leaf_out,
                            blocks_cid *cid_out) {
  const blocks_leaves *leaves = file->leaves;
  (void)pthread_mutex_lock(&file->mutex);
  uint32_t i = from;
  while (i < leaves->spec.leaves && leaf_here(leaves, i))
    i++;
  (void)pthread_mutex_unlock(&file->mutex);
  if (i >= leaves->spec.leaves) return 0;
  *leaf_out = i;
  *cid_out = blocks_leaf_cid(leaves->digests + (size_t)i * DEAI_HASH_BYTES);
  return 1;
}

static int32_t queue_leaf(blocks_store *store, blocks_op *op, deai_bytes data, blocks_error *err) {
  int fd;
  int32_t status = blocks_fds_get(store, op->at.store, &fd, err);
  if (status != DEAI_OK) return status;
  status = blocks_write_at(fd, op->at.offset, data.ptr, (size_t)data.len, err);
  (void)pthread_mutex_lock(&store->append);
  if (status == DEAI_OK) status = blocks_store_broken(store, err);
  if (status == DEAI_OK) status = blocks_store_dirty(store, op->at.store, err);
  if (status == DEAI_OK) status = blocks_batch_add(&store->queued, op);
  (void)pthread_mutex_unlock(&store->append);
  blocks_fds_release(store, op->at.store);
  return status;
}

int32_t blocks_file_put(blocks_file *file, uint32_t leaf, deai_bytes data, blocks_error *err) {
  blocks_leaves *leaves = file->leaves;
  if (leaf >= leaves->spec.leaves)
    return blocks_fail(err, DEAI_EINVAL, "file: expected a leaf below %u, found %u",
                       leaves->spec.leaves, leaf);
  uint64_t offset = (uint64_t)leaf * leaves->spec.leaf_bytes;
  uint64_t left = leaves->spec.size - offset;
  uint64_t len = left < leaves->spec.leaf_bytes ? left : leaves->spec.leaf_bytes;
  blocks_op op = {.kind = BLOCKS_OP_LEAF,
                  .at = {.cid = blocks_leaf_cid(leaves->digests + (size_t)leaf * DEAI_HASH_BYTES),
                         .store = leaves->spec.number | BLOCKS_STORE_FILE,
                         .offset = offset,
                         .len = (uint32_t)len,
                         .flags = BLOCKS_PLACE_HERE}};
  if (data.len != len)
    return blocks_fail(err, DEAI_EVERIFY,
                       "file: expected %" PRIu64 " bytes of leaf %u, found %" PRIu64, len, leaf,
                       data.len);
  int32_t status = blocks_cid_check(&op.at.cid, data, err);
  if (status != DEAI_OK) return status;
  (void)pthread_mutex_lock(&file->mutex);
  bool here = leaf_here(leaves, leaf);
  (void)pthread_mutex_unlock(&file->mutex);
  if (here) return DEAI_OK;
  op.at.crc = blocks_crc32c(0, data.ptr, (size_t)data.len);
  status = queue_leaf(file->store, &op, data, err);
  if (status != DEAI_OK) return status;
  (void)pthread_mutex_lock(&file->mutex);
  if (!leaf_here(leaves, leaf)) {
    leaves->here[leaf / 8] = (uint8_t)(leaves->here[leaf / 8] | 1u << (leaf % 8));
    leaves->spec.have++;
  }
  (void)pthread_mutex_unlock(&file->mutex);
  return DEAI_OK;
}

void blocks_file_end(blocks_file *file) {
  if (file == NULL) return;
  blocks_leaves_free(file->leaves);
  (void)pthread_mutex_destroy(&file->mutex);
  free(file);
}
