#include "import.h"

#include "store_private.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

#define LEVELS_MAX      4           /* 1024^4 leaves */
#define GROW_BYTES      (64u << 20) /* a file of unknown size grows by this */
#define WRITEBACK_BYTES (8u << 20)  /* the disk is told to start after this much */

typedef struct level {
  blocks_child *children; /* BLOCKS_NODE_LINKS_MAX, made when first used */
  uint32_t count;
} level;

/* Writes one leaf while the caller hashes it: copying into the page cache takes as long as the
   hash. The leaf is borrowed from writer_post to writer_wait. */
typedef struct writer {
  pthread_t thread;
  pthread_mutex_t mutex; /* guards all below */
  pthread_cond_t changed;
  bool running;
  bool posted; /* a leaf waits or is being written */
  bool stop;
  int fd;
  deai_bytes leaf;
  uint64_t offset;
  int32_t status;
  blocks_error err;
} writer;

struct blocks_import {
  blocks_store *store; /* NULL: hash only */
  bool pin;
  uint64_t size_hint;
  blocks_buf buf; /* small: the whole file so far; large: a leaf that is not full yet */
  level levels[LEVELS_MAX];
  uint64_t size;
  uint64_t blocks;
  blocks_buf node; /* block of an inner node */

  bool large;
  int fd; /* -1 when nothing is stored */
  uint64_t number;
  uint64_t reserved;  /* bytes of the file on disk */
  uint64_t written;   /* of them with content */
  uint64_t flushed;   /* of them on their way to the disk */
  blocks_buf digests; /* 32 bytes a leaf */
  blocks_buf crcs;    /* 4 bytes a leaf */
  writer writer;
};

static void *writer_run(void *user) {
  writer *w = user;
  (void)pthread_mutex_lock(&w->mutex);
  for (;;) {
    while (!w->posted && !w->stop)
      (void)pthread_cond_wait(&w->changed, &w->mutex);
    if (!w->posted) break;
    (void)pthread_mutex_unlock(&w->mutex);
    int32_t status = blocks_write_at(w->fd, w->offset, w->leaf.ptr, (size_t)w->leaf.len, &w->err);
    (void)pthread_mutex_lock(&w->mutex);
    w->status = status;
    w->posted = false;
    (void)pthread_cond_broadcast(&w->changed);
  }
  (void)pthread_mutex_unlock(&w->mutex);
  return NULL;
}

static int32_t writer_start(writer *w, int fd, blocks_error *err) {
  w->fd = fd;
  (void)pthread_mutex_init(&w->mutex, NULL);
  (void)pthread_cond_init(&w->changed, NULL);
  int rc = pthread_create(&w->thread, NULL, writer_run, w);
  w->running = rc == 0;
  return rc == 0 ? DEAI_OK : blocks_fail_errno(err, rc, "thread of an import");
}

static void writer_stop(writer *w) {
  if (!w->running) return;
  (void)pthread_mutex_lock(&w->mutex);
  w->stop = true;
  (void)pthread_cond_broadcast(&w->changed);
  (void)pthread_mutex_unlock(&w->mutex);
  (void)pthread_join(w->thread, NULL);
  (void)pthread_mutex_destroy(&w->mutex);
  (void)pthread_cond_destroy(&w->changed);
  w->running = false;
}

static void writer_post(writer *w, deai_bytes leaf, uint64_t offset) {
  (void)pthread_mutex_lock(&w->mutex);
  w->leaf = leaf;
  w->offset = offset;
  w->posted = true;
  (void)pthread_cond_broadcast(&w->changed);
  (void)pthread_mutex_unlock(&w->mutex);
}

static int32_t writer_wait(writer *w, blocks_error *err) {
  (void)pthread_mutex_lock(&w->mutex);
  while (w->posted)
    (void)pthread_cond_wait(&w->changed, &w->mutex);
  int32_t status = w->status;
  if (status != DEAI_OK && err != NULL) *err = w->err;
  (void)pthread_mutex_unlock(&w->mutex);
  return status;
}

/* --- the balanced tree --- */

static int32_t level_add(blocks_import *import, uint32_t at, const blocks_child *child,
                         blocks_error *err) {
  if (at == LEVELS_MAX) return blocks_fail(err, DEAI_ETOOLARGE, "import: too many leaves");
  level *l = &import->levels[at];
  if (l->children == NULL) l->children = malloc(BLOCKS_NODE_LINKS_MAX * sizeof *l->children);
  if (l->children == NULL) return blocks_fail(err, DEAI_ENOMEM, "import: no memory");
  l->children[l->count++] = *child;
  return DEAI_OK;
}

/* makes the node over a level, stores it and empties the level */
static int32_t level_close(blocks_import *import, uint32_t at, blocks_child *node_out,
                           blocks_error *err) {
  level *l = &import->levels[at];
  import->node.len = 0;
  int32_t status = blocks_unixfs_file_node(l->children, l->count, &import->node, node_out);
  if (status != DEAI_OK) return blocks_fail(err, status, "import: inner node not made");
  l->count = 0;
  import->blocks++;
  if (import->store == NULL) return DEAI_OK;
  return blocks_store_put_checked(import->store, &node_out->cid, blocks_buf_bytes(&import->node),
                                  err);
}

static int32_t tree_add(blocks_import *import, const blocks_child *leaf, blocks_error *err) {
  blocks_child child = *leaf;
  import->blocks++;
  for (uint32_t at = 0;; at++) {
    int32_t status = level_add(import, at, &child, err);
    if (status != DEAI_OK || import->levels[at].count < BLOCKS_NODE_LINKS_MAX) return status;
    status = level_close(import, at, &child, err);
    if (status != DEAI_OK) return status;
  }
}

static bool levels_above(const blocks_import *import, uint32_t at) {
  for (uint32_t i = at + 1; i < LEVELS_MAX; i++)
    if (import->levels[i].count > 0) return true;
  return false;
}

/* closes what is open from the leaves up: all leaves end equally deep */
static int32_t tree_finish(blocks_import *import, blocks_child *root_out, blocks_error *err) {
  for (uint32_t at = 0; at < LEVELS_MAX; at++) {
    level *l = &import->levels[at];
    if (l->count == 0) continue;
    if (l->count == 1 && !levels_above(import, at)) {
      *root_out = l->children[0];
      return DEAI_OK;
    }
    blocks_child node;
    int32_t status = level_close(import, at, &node, err);
    if (status == DEAI_OK) status = level_add(import, at + 1, &node, err);
    if (status != DEAI_OK) return status;
  }
  return blocks_fail(err, DEAI_EINTERNAL, "import: a tree without a root");
}

/* --- leaves --- */

static int32_t grow_file(blocks_import *import, uint64_t need, blocks_error *err) {
  if (need <= import->reserved) return DEAI_OK;
  uint64_t to = import->reserved + GROW_BYTES;
  if (to < need) to = need;
  int32_t status = blocks_file_resize(import->store, import->fd, import->reserved, to, err);
  if (status == DEAI_EFULL && to > need) { /* near the cap the step may be too large */
    to = need;
    status = blocks_file_resize(import->store, import->fd, import->reserved, to, err);
  }
  if (status == DEAI_OK) import->reserved = to;
  return status;
}

/* notes what a written leaf is and tells the disk to start, a hint whose answer is not needed */
static int32_t note_leaf(blocks_import *import, deai_bytes leaf, const uint8_t *digest,
                         uint32_t crc) {
  uint8_t bytes[4];
  blocks_put_u32(bytes, crc);
  int32_t status = blocks_buf_add(&import->digests, digest, DEAI_HASH_BYTES);
  if (status == DEAI_OK) status = blocks_buf_add(&import->crcs, bytes, sizeof bytes);
  import->written += leaf.len;
  if (import->written - import->flushed >= WRITEBACK_BYTES) {
    (void)sync_file_range(import->fd, (off_t)import->flushed,
                          (off_t)(import->written - import->flushed), SYNC_FILE_RANGE_WRITE);
    import->flushed = import->written;
  }
  return status;
}

/* hashes a leaf while it is written to the file */
static int32_t file_leaf(blocks_import *import, deai_bytes leaf, uint8_t *digest,
                         blocks_error *err) {
  int32_t status = grow_file(import, import->written + leaf.len, err);
  if (status != DEAI_OK) return status;
  writer_post(&import->writer, leaf, import->written);
  blocks_sha256(leaf, digest);
  uint32_t crc = blocks_crc32c(0, leaf.ptr, (size_t)leaf.len);
  status = writer_wait(&import->writer, err);
  return status == DEAI_OK ? note_leaf(import, leaf, digest, crc) : status;
}

static int32_t add_leaf(blocks_import *import, deai_bytes leaf, blocks_error *err) {
  uint8_t digest[DEAI_HASH_BYTES];
  int32_t status = DEAI_OK;
  if (import->fd >= 0)
    status = file_leaf(import, leaf, digest, err);
  else
    blocks_sha256(leaf, digest);
  if (status != DEAI_OK) return status;
  blocks_child child = {
      .cid = blocks_leaf_cid(digest), .file_bytes = leaf.len, .dag_bytes = leaf.len};
  if (import->fd < 0 && import->store != NULL)
    status = blocks_store_put_checked(import->store, &child.cid, leaf, err);
  return status == DEAI_OK ? tree_add(import, &child, err) : status;
}

static int32_t add_leaves(blocks_import *import, deai_bytes bytes, blocks_error *err) {
  for (uint64_t at = 0; at < bytes.len; at += BLOCKS_CHUNK_BYTES) {
    uint64_t left = bytes.len - at;
    uint64_t len = left < BLOCKS_CHUNK_BYTES ? left : BLOCKS_CHUNK_BYTES;
    int32_t status = add_leaf(import, deai_bytes_of(bytes.ptr + at, len), err);
    if (status != DEAI_OK) return status;
  }
  return DEAI_OK;
}

/* --- the stream --- */

int32_t blocks_import_begin(blocks_store *store, const blocks_import_options *options,
                            blocks_import **out, blocks_error *err) {
  deai_str profile = options->profile;
  if (profile.len > 0 && !deai_str_eq(profile, deai_str_of(BLOCKS_PROFILE_DEFAULT)))
    return blocks_fail(err, DEAI_EUNSUPPORTED,
                       "import: profile '%.*s' is not in this build; use " BLOCKS_PROFILE_DEFAULT,
                       (int)(profile.len < 64 ? profile.len : 64), profile.ptr);
  if (store == NULL && !options->hash_only)
    return blocks_fail(err, DEAI_EINVAL, "import: expected a store unless only hashing");
  blocks_import *import = calloc(1, sizeof *import);
  if (import == NULL) return blocks_fail(err, DEAI_ENOMEM, "import: no memory");
  import->store = options->hash_only ? NULL : store;
  import->pin = options->pin && !options->hash_only;
  import->size_hint = options->size_hint;
  import->fd = -1;
  if (import->store != NULL) {
    (void)pthread_mutex_lock(&store->append);
    store->imports++;
    (void)pthread_mutex_unlock(&store->append);
  }
  *out = import;
  return DEAI_OK;
}

/* the first 4 MiB are there: from now on leaves go to a file of their own */
static int32_t go_large(blocks_import *import, blocks_error *err) {
  import->large = true;
  if (import->store != NULL) {
    uint64_t room = import->size_hint > BLOCKS_FILE_BYTES_MIN ? import->size_hint : GROW_BYTES;
    int32_t status = blocks_file_make(import->store, room, &import->number, &import->fd, err);
    if (status == DEAI_EFULL && import->size_hint == 0) {
      room = BLOCKS_FILE_BYTES_MIN;
      status = blocks_file_make(import->store, room, &import->number, &import->fd, err);
    }
    if (status != DEAI_OK) return status;
    import->reserved = room;
    status = writer_start(&import->writer, import->fd, err);
    if (status != DEAI_OK) return status;
  }
  int32_t status = add_leaves(import, blocks_buf_bytes(&import->buf), err);
  import->buf.len = 0;
  return status;
}

static int32_t fill(blocks_import *import, deai_bytes *bytes, uint64_t up_to, blocks_error *err) {
  uint64_t room = up_to - import->buf.len;
  uint64_t len = bytes->len < room ? bytes->len : room;
  int32_t status = blocks_buf_add(&import->buf, bytes->ptr, (size_t)len);
  if (status != DEAI_OK) return blocks_fail(err, status, "import: no memory");
  bytes->ptr += len;
  bytes->len -= len;
  return DEAI_OK;
}

int32_t blocks_import_write(blocks_import *import, deai_bytes bytes, blocks_error *err) {
  int32_t status = DEAI_OK;
  if (bytes.len > UINT64_MAX / 2 - import->size)
    return blocks_fail(err, DEAI_ETOOLARGE, "import: too long");
  import->size += bytes.len;
  while (bytes.len > 0 && status == DEAI_OK) {
    if (import->large && import->buf.len == 0 && bytes.len >= BLOCKS_CHUNK_BYTES) {
      status = add_leaf(import, deai_bytes_of(bytes.ptr, BLOCKS_CHUNK_BYTES), err);
      bytes.ptr += BLOCKS_CHUNK_BYTES;
      bytes.len -= BLOCKS_CHUNK_BYTES;
      continue;
    }
    uint64_t full = import->large ? BLOCKS_CHUNK_BYTES : BLOCKS_FILE_BYTES_MIN;
    status = fill(import, &bytes, full, err);
    if (status != DEAI_OK || import->buf.len < full) continue;
    if (import->large) {
      status = add_leaves(import, blocks_buf_bytes(&import->buf), err);
      import->buf.len = 0;
    } else {
      status = go_large(import, err);
    }
  }
  return status;
}

static blocks_leaves *leaves_of(const blocks_import *import, const blocks_cid *root) {
  uint32_t count = (uint32_t)(import->digests.len / DEAI_HASH_BYTES);
  blocks_leaves *leaves = blocks_leaves_new(count);
  if (leaves == NULL) return NULL;
  leaves->spec = (blocks_file_spec){.number = import->number,
                                    .size = import->written,
                                    .leaf_bytes = BLOCKS_CHUNK_BYTES,
                                    .leaves = count,
                                    .have = count,
                                    .root = *root};
  memcpy(leaves->digests, import->digests.ptr, import->digests.len);
  for (uint32_t i = 0; i < count; i++) {
    leaves->crcs[i] = blocks_get_u32(import->crcs.ptr + 4 * (size_t)i);
    leaves->here[i / 8] = (uint8_t)(leaves->here[i / 8] | 1u << (i % 8));
  }
  return leaves;
}

/* the file was begun before from elsewhere: its missing leaves come from this one */
static int32_t fill_known(blocks_import *import, const blocks_cid *root, blocks_error *err) {
  blocks_file *file;
  blocks_cid cid;
  uint32_t leaf = 0;
  int32_t status = blocks_file_begin(import->store, root, &file, err);
  if (status != DEAI_OK) return status;
  status = blocks_buf_reserve(&import->buf, BLOCKS_CHUNK_BYTES);
  while (status == DEAI_OK && blocks_file_missing(file, leaf, &leaf, &cid) == 1) {
    uint64_t at = (uint64_t)leaf * BLOCKS_CHUNK_BYTES;
    uint64_t left = import->written - at;
    size_t len = left < BLOCKS_CHUNK_BYTES ? (size_t)left : BLOCKS_CHUNK_BYTES;
    status = blocks_read_at(import->fd, at, import->buf.ptr, len, err);
    if (status == DEAI_OK)
      status = blocks_file_put(file, leaf, deai_bytes_of(import->buf.ptr, len), err);
  }
  blocks_file_end(file);
  return status;
}

static int32_t finish_large(blocks_import *import, const blocks_cid *root, blocks_error *err) {
  blocks_store *store = import->store;
  blocks_file_spec known;
  writer_stop(&import->writer);
  int32_t status = blocks_file_find(store, root, &known, err);
  if (status == DEAI_OK) {
    status = fill_known(import, root, err);
    return status == DEAI_OK ? blocks_store_sync(store, err) : status;
  }
  if (status != DEAI_ENOTFOUND && status != DEAI_EVERIFY) return status;
  status = blocks_file_resize(store, import->fd, import->reserved, import->written, err);
  if (status != DEAI_OK) return status;
  import->reserved = import->written;
  blocks_leaves *leaves = leaves_of(import, root);
  if (leaves == NULL) return blocks_fail(err, DEAI_ENOMEM, "import: no memory for the leaves");
  status = blocks_file_register(store, import->fd, leaves, err);
  if (status != DEAI_OK) return status;
  (void)close(import->fd); /* the store has it now, whatever the sync says */
  import->fd = -1;
  return blocks_store_sync(store, err);
}

int32_t blocks_import_finish(blocks_import *import, blocks_import_result *out, blocks_error *err) {
  blocks_child root;
  deai_bytes rest = blocks_buf_bytes(&import->buf);
  int32_t status = DEAI_OK;
  if (import->size == 0)
    status = add_leaf(import, deai_bytes_of("", 0), err); /* the empty file is one empty leaf */
  else
    status = add_leaves(import, rest, err);
  import->buf.len = 0;
  if (status == DEAI_OK) status = tree_finish(import, &root, err);
  if (status == DEAI_OK && import->pin) status = blocks_store_pin(import->store, &root.cid, err);
  if (status == DEAI_OK && import->fd >= 0) status = finish_large(import, &root.cid, err);
  if (status != DEAI_OK) return status;
  *out = (blocks_import_result){
      .cid = root.cid, .size = import->size, .blocks = import->blocks, .dag_bytes = root.dag_bytes};
  return DEAI_OK;
}

void blocks_import_end(blocks_import *import) {
  if (import == NULL) return;
  writer_stop(&import->writer);
  if (import->fd >= 0)
    blocks_file_discard(import->store, import->number, import->fd, import->reserved);
  if (import->store != NULL) {
    (void)pthread_mutex_lock(&import->store->append);
    import->store->imports--;
    (void)pthread_mutex_unlock(&import->store->append);
  }
  for (uint32_t i = 0; i < LEVELS_MAX; i++)
    free(import->levels[i].children);
  blocks_buf_free(&import->buf);
  blocks_buf_free(&import->node);
  blocks_buf_free(&import->digests);
  blocks_buf_free(&import->crcs);
  free(import);
}

/* --- directories and links --- */

static int32_t dag_bytes(blocks_store *store, const blocks_cid *cid, blocks_buf *buf, uint64_t *out,
                         blocks_error *err) {
  blocks_pbnode node = {0};
  int32_t status = blocks_store_get(store, cid, buf, err);
  if (status != DEAI_OK) return status;
  *out = buf->len;
  if (cid->codec != BLOCKS_CODEC_DAG_PB) return DEAI_OK;
  status = blocks_pbnode_decode(blocks_buf_bytes(buf), &node, err);
  for (uint32_t i = 0; i < node.links_count && status == DEAI_OK; i++) {
    if (node.links[i].tsize > UINT64_MAX / 2 - *out)
      status = DEAI_EINVAL;
    else
      *out += node.links[i].tsize;
  }
  blocks_pbnode_free(&node);
  return status;
}

/* stores a node that was made here */
static int32_t put_node(blocks_store *store, const blocks_import_options *options,
                        const blocks_child *node, const blocks_buf *block,
                        blocks_import_result *out, blocks_error *err) {
  int32_t status = DEAI_OK;
  if (!options->hash_only)
    status = blocks_store_put_checked(store, &node->cid, blocks_buf_bytes(block), err);
  if (status == DEAI_OK && options->pin && !options->hash_only)
    status = blocks_store_pin(store, &node->cid, err);
  if (status != DEAI_OK) return status;
  *out = (blocks_import_result){
      .cid = node->cid, .size = 0, .blocks = 1, .dag_bytes = node->dag_bytes};
  return DEAI_OK;
}

int32_t blocks_import_directory(blocks_store *store, const blocks_import_entry *entries,
                                uint32_t count, const blocks_import_options *options,
                                blocks_import_result *out, blocks_error *err) {
  blocks_entry *list = calloc(count + 1u, sizeof *list);
  blocks_buf block = {0};
  blocks_child node;
  if (list == NULL) return blocks_fail(err, DEAI_ENOMEM, "directory: no memory");
  int32_t status = DEAI_OK;
  for (uint32_t i = 0; i < count && status == DEAI_OK; i++) {
    list[i].name = entries[i].name;
    list[i].cid = entries[i].cid;
    status = dag_bytes(store, &entries[i].cid, &block, &list[i].dag_bytes, err);
  }
  block.len = 0;
  if (status == DEAI_OK) status = blocks_unixfs_directory(list, count, &block, &node, err);
  if (status == DEAI_OK) status = put_node(store, options, &node, &block, out, err);
  blocks_buf_free(&block);
  free(list);
  return status;
}

int32_t blocks_import_symlink(blocks_store *store, deai_str target,
                              const blocks_import_options *options, blocks_import_result *out,
                              blocks_error *err) {
  blocks_buf block = {0};
  blocks_child node;
  int32_t status = blocks_unixfs_symlink(target, &block, &node, err);
  if (status == DEAI_OK) status = put_node(store, options, &node, &block, out, err);
  blocks_buf_free(&block);
  return status;
}
