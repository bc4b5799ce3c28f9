#include "store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

/* A collection goes through these phases; at the end of each step all is consistent, so it can stop
   anywhere.

     PINS -> MARK -> (new pins: PINS again) -> FILES -> SWEEP -> PACKS -> finished

   FILES drops files of files/ whose root is not marked, SWEEP drops places in packs that are
   neither marked nor younger than the collection, PACKS writes packs anew that are more than half
   dead. */
enum { PHASE_NONE, PHASE_PINS, PHASE_MARK, PHASE_FILES, PHASE_SWEEP, PHASE_PACKS };

#define STEP_MAX 4096

static int32_t fail_index(blocks_error *err, int32_t status) {
  return blocks_fail(err, status, "garbage collection: the index failed: %s",
                     deai_status_text(status));
}

/* ends a transaction of a step: commit on 0, abort otherwise */
static int32_t step_end(blocks_txn *txn, int32_t status, blocks_error *err) {
  if (status == DEAI_OK) return blocks_index_commit(txn, err);
  blocks_index_abort(txn);
  return fail_index(err, status);
}

static int32_t clear_sets(blocks_store *store, blocks_error *err) {
  blocks_txn *txn;
  int32_t status = blocks_index_write(store->index, &txn, err);
  if (status != DEAI_OK) return status;
  status = blocks_index_set_clear(store->index, txn, BLOCKS_SET_MARK);
  if (status == DEAI_OK) status = blocks_index_set_clear(store->index, txn, BLOCKS_SET_TODO);
  return step_end(txn, status, err);
}

void blocks_store_gc_end(blocks_store *store, blocks_gc *state) {
  if (state->phase == PHASE_NONE) return;
  (void)pthread_mutex_lock(&store->append);
  store->collecting = false;
  (void)pthread_mutex_unlock(&store->append);
  *state = (blocks_gc){.finished = state->finished,
                       .kept = state->kept,
                       .freed = state->freed,
                       .bytes_freed = state->bytes_freed};
}

static int32_t gc_begin(blocks_store *store, blocks_gc *state, blocks_error *err) {
  (void)pthread_mutex_lock(&store->append);
  bool busy = store->imports > 0 || store->collecting;
  if (busy)
    (void)blocks_fail(err, DEAI_EBUSY, "garbage collection: %s; try again later",
                      store->imports ? "imports are under way" : "another one runs");
  if (!busy) {
    store->collecting = true;
    state->collection = ++store->head.collection;
    state->pins_seen = store->head.pins_changed;
    state->phase = PHASE_PINS;
  }
  (void)pthread_mutex_unlock(&store->append);
  if (busy) return DEAI_EBUSY;
  int32_t status = clear_sets(store, err);
  if (status != DEAI_OK) blocks_store_gc_end(store, state);
  return status;
}

static void next_phase(blocks_gc *state, uint32_t phase) {
  state->phase = phase;
  state->key_len = 0;
  state->number = 0;
}

/* --- marking --- */

/* 0, also when it was marked before */
static int32_t mark(blocks_store *store, blocks_txn *txn, const blocks_cid *cid) {
  blocks_cid v1 = blocks_cid_v1(cid);
  int32_t added = blocks_index_set_add(store->index, txn, BLOCKS_SET_MARK, &v1);
  if (added == 1 && v1.codec == BLOCKS_CODEC_DAG_PB)
    added = blocks_index_set_add(store->index, txn, BLOCKS_SET_TODO, &v1);
  return added < 0 ? added : DEAI_OK;
}

static int32_t mark_pins(blocks_store *store, blocks_gc *state, blocks_cid *cids, uint32_t max,
                         blocks_error *err) {
  blocks_cid after;
  blocks_txn *txn;
  bool first = state->key_len == 0;
  if (!first && blocks_cid_of_bytes(deai_bytes_of(state->key, state->key_len), &after, err) != 0)
    return DEAI_EINTERNAL;
  int32_t status = blocks_index_write(store->index, &txn, err);
  if (status != DEAI_OK) return status;
  int32_t count =
      blocks_index_set_list(store->index, txn, BLOCKS_SET_PIN, first ? NULL : &after, cids, max);
  status = count < 0 ? count : DEAI_OK;
  for (int32_t i = 0; i < count && status == DEAI_OK; i++)
    status = mark(store, txn, &cids[i]);
  status = step_end(txn, status, err);
  if (status != DEAI_OK) return status;
  if (count > 0) {
    memcpy(state->key, cids[count - 1].bytes, cids[count - 1].len);
    state->key_len = cids[count - 1].len;
  }
  if ((uint32_t)count < max) next_phase(state, PHASE_MARK);
  return DEAI_OK;
}

typedef struct found_children {
  blocks_cid *list;
  uint32_t count;
  uint32_t cap;
} found_children;

/* adds the children of a block; one that is missing or no dag-pb node has none */
static int32_t find_children(blocks_store *store, const blocks_cid *cid, found_children *found,
                             blocks_buf *buf, blocks_error *err) {
  blocks_pbnode node = {0};
  int32_t status = blocks_store_get(store, cid, buf, err);
  if (status == DEAI_OK) status = blocks_pbnode_decode(blocks_buf_bytes(buf), &node, err);
  if (status == DEAI_ENOTFOUND || status == DEAI_EVERIFY || status == DEAI_EINVAL ||
      status == DEAI_ETOOLARGE)
    return DEAI_OK;
  if (status == DEAI_OK && found->count + node.links_count > found->cap) {
    uint32_t cap = (found->count + node.links_count) * 2;
    blocks_cid *list = realloc(found->list, cap * sizeof *list);
    if (list == NULL) status = blocks_fail(err, DEAI_ENOMEM, "garbage collection: no memory");
    if (list != NULL) found->list = list;
    if (list != NULL) found->cap = cap;
  }
  for (uint32_t i = 0; i < node.links_count && status == DEAI_OK; i++)
    found->list[found->count++] = blocks_pblink_cid(&node.links[i]);
  blocks_pbnode_free(&node);
  return status;
}

/* one transaction for the children of all blocks that were read */
static int32_t mark_children(blocks_store *store, const found_children *found,
                             const blocks_cid *parents, int32_t parents_count, blocks_error *err) {
  blocks_txn *txn;
  int32_t status = blocks_index_write(store->index, &txn, err);
  if (status != DEAI_OK) return status;
  for (uint32_t i = 0; i < found->count && status == DEAI_OK; i++)
    status = mark(store, txn, &found->list[i]);
  for (int32_t i = 0; i < parents_count && status == DEAI_OK; i++)
    status = blocks_index_set_drop(store->index, txn, BLOCKS_SET_TODO, &parents[i]);
  return step_end(txn, status, err);
}

static int32_t mark_more(blocks_store *store, blocks_gc *state, blocks_cid *cids, uint32_t max,
                         blocks_error *err) {
  blocks_txn *txn;
  blocks_buf buf = {0};
  found_children found = {0};
  int32_t status = blocks_index_read(store->index, &txn, err);
  if (status != DEAI_OK) return status;
  int32_t count = blocks_index_set_list(store->index, txn, BLOCKS_SET_TODO, NULL, cids, max);
  blocks_index_read_done(store->index, txn);
  if (count < 0) return fail_index(err, count);
  int32_t done = 0;
  while (done < count && found.count < max && status == DEAI_OK)
    status = find_children(store, &cids[done++], &found, &buf, err);
  if (status == DEAI_OK && done > 0) status = mark_children(store, &found, cids, done, err);
  blocks_buf_free(&buf);
  free(found.list);
  if (status == DEAI_OK && count == 0) next_phase(state, PHASE_FILES);
  return status;
}

/* pins that came since the marks were made: mark again, then go on where it was */
static int32_t mark_new_pins(blocks_store *store, blocks_gc *state, blocks_cid *cids,
                             blocks_error *err) {
  (void)pthread_mutex_lock(&store->append);
  uint64_t pins = store->head.pins_changed;
  (void)pthread_mutex_unlock(&store->append);
  if (pins == state->pins_seen) return DEAI_OK;
  blocks_gc round = {.phase = PHASE_PINS};
  int32_t status = DEAI_OK;
  while (round.phase != PHASE_FILES && status == DEAI_OK)
    status = round.phase == PHASE_PINS ? mark_pins(store, &round, cids, STEP_MAX, err)
                                       : mark_more(store, &round, cids, STEP_MAX, err);
  if (status == DEAI_OK) state->pins_seen = pins;
  return status;
}

/* --- files --- */

/* leaves of a dead file that something alive links to move to a pack */
static int32_t save_leaves(blocks_store *store, const blocks_leaves *leaves, blocks_txn *txn,
                           blocks_buf *buf, blocks_error *err) {
  int32_t status = DEAI_OK;
  for (uint32_t i = 0; i < leaves->spec.leaves && status == DEAI_OK; i++) {
    blocks_cid cid = blocks_leaf_cid(leaves->digests + (size_t)i * DEAI_HASH_BYTES);
    int32_t marked = blocks_index_set_has(store->index, txn, BLOCKS_SET_MARK, &cid);
    if (marked < 0) return fail_index(err, marked);
    if (marked == 0) continue;
    status = blocks_store_get(store, &cid, buf, err);
    if (status == DEAI_OK)
      status = blocks_store_queue_block(store, &cid, blocks_buf_bytes(buf), err);
    if (status == DEAI_ENOTFOUND || status == DEAI_EVERIFY) status = DEAI_OK;
  }
  return status;
}

static int32_t drop_leaf_places(blocks_store *store, blocks_gc *state, const blocks_leaves *leaves,
                                blocks_error *err) {
  const blocks_file_spec *spec = &leaves->spec;
  int32_t status = DEAI_OK;
  for (uint32_t at = 0; at < spec->leaves && status == DEAI_OK; at += STEP_MAX) {
    blocks_txn *txn;
    status = blocks_index_write(store->index, &txn, err);
    if (status != DEAI_OK) return status;
    for (uint32_t i = at; i < spec->leaves && i - at < STEP_MAX && status == DEAI_OK; i++) {
      blocks_place place = {.cid = blocks_leaf_cid(leaves->digests + (size_t)i * DEAI_HASH_BYTES),
                            .store = spec->number | BLOCKS_STORE_FILE,
                            .offset = (uint64_t)i * spec->leaf_bytes};
      status = blocks_index_place_drop(store->index, txn, &place);
      state->freed++;
    }
    status = step_end(txn, status, err);
  }
  return status;
}

static int32_t remove_file(blocks_store *store, blocks_gc *state, const blocks_file_spec *spec,
                           blocks_error *err) {
  char name[32];
  blocks_txn *txn;
  int32_t status = blocks_index_write(store->index, &txn, err);
  if (status != DEAI_OK) return status;
  status = step_end(txn, blocks_index_file_drop(store->index, txn, spec), err);
  if (status != DEAI_OK) return status;
  blocks_file_name(spec->number, name);
  if (unlinkat(store->files_fd, name, 0) != 0 && errno != ENOENT)
    return blocks_fail_errno(err, errno, name);
  blocks_fds_drop(store, spec->number | BLOCKS_STORE_FILE);
  (void)pthread_mutex_lock(&store->append);
  store->bytes_used -= spec->size;
  (void)pthread_mutex_unlock(&store->append);
  state->bytes_freed += spec->size;
  return DEAI_OK;
}

static int32_t collect_file(blocks_store *store, blocks_gc *state, const blocks_file_spec *spec,
                            blocks_error *err) {
  blocks_leaves *leaves = NULL;
  blocks_buf buf = {0};
  blocks_txn *txn;
  int32_t shape = blocks_file_shape(store, &spec->root, &leaves, err);
  int32_t status = DEAI_OK;
  if (shape == DEAI_OK) {
    leaves->spec.number = spec->number;
    status = blocks_index_read(store->index, &txn, err);
    if (status == DEAI_OK) {
      status = save_leaves(store, leaves, txn, &buf, err);
      blocks_index_read_done(store->index, txn);
    }
    if (status == DEAI_OK) status = blocks_store_sync(store, err);
  } /* without its inner nodes the places are dropped by the sweep */
  if (status == DEAI_OK) status = remove_file(store, state, spec, err);
  if (status == DEAI_OK && shape == DEAI_OK) status = drop_leaf_places(store, state, leaves, err);
  blocks_leaves_free(leaves);
  blocks_buf_free(&buf);
  return status;
}

static int32_t collect_next_file(blocks_store *store, blocks_gc *state, blocks_error *err) {
  blocks_file_spec spec;
  blocks_file_spec of_root;
  blocks_txn *txn;
  int32_t status = blocks_index_read(store->index, &txn, err);
  if (status != DEAI_OK) return status;
  int32_t found = blocks_index_file_next(store->index, txn, state->number, &spec);
  int32_t marked = 0;
  if (found == DEAI_OK) {
    marked = blocks_index_set_has(store->index, txn, BLOCKS_SET_MARK, &spec.root);
    if (marked == 1 && blocks_index_file_of_root(store->index, txn, &spec.root, &of_root) == 0)
      marked = of_root.number == spec.number; /* an older double is not needed */
  }
  blocks_index_read_done(store->index, txn);
  if (found == DEAI_ENOTFOUND) {
    next_phase(state, PHASE_SWEEP);
    return DEAI_OK;
  }
  if (found != DEAI_OK || marked < 0) return fail_index(err, found != DEAI_OK ? found : marked);
  state->number = spec.number;
  if (marked == 1 || spec.born >= state->collection) return DEAI_OK;
  return collect_file(store, state, &spec, err);
}

/* --- places --- */

/* 1 = garbage */
static int32_t is_garbage(blocks_store *store, blocks_txn *txn, const blocks_gc *state,
                          const blocks_place *place) {
  blocks_file_spec spec;
  if (place->flags == UINT32_MAX) return 0; /* damaged: for verify */
  if ((place->store & BLOCKS_STORE_FILE) != 0) {
    int32_t status = blocks_index_file(store->index, txn, place->store & ~BLOCKS_STORE_FILE, &spec);
    return status == DEAI_ENOTFOUND ? 1 : status == DEAI_EVERIFY ? 0 : status;
  }
  if (place->born >= state->collection) return 0;
  int32_t marked = blocks_index_set_has(store->index, txn, BLOCKS_SET_MARK, &place->cid);
  return marked < 0 ? marked : !marked;
}

static int32_t sweep(blocks_store *store, blocks_gc *state, uint32_t max, blocks_error *err) {
  blocks_place *places = malloc(max * sizeof *places);
  blocks_txn *txn;
  if (places == NULL) return blocks_fail(err, DEAI_ENOMEM, "garbage collection: no memory");
  int32_t status = blocks_index_write(store->index, &txn, err);
  if (status != DEAI_OK) {
    free(places);
    return status;
  }
  int32_t count = blocks_index_scan(store->index, txn, state->key, &state->key_len, places, max);
  status = count < 0 ? count : DEAI_OK;
  for (int32_t i = 0; i < count && status == DEAI_OK; i++) {
    int32_t garbage = is_garbage(store, txn, state, &places[i]);
    if (garbage == 1) status = blocks_index_place_drop(store->index, txn, &places[i]);
    if (garbage < 0) status = garbage;
    state->freed += garbage == 1;
    state->kept += garbage == 0;
  }
  free(places);
  status = step_end(txn, status, err);
  if (status == DEAI_OK && count == 0) next_phase(state, PHASE_PACKS);
  return status;
}

/* --- packs --- */

typedef struct compaction {
  blocks_store *store;
  uint64_t number;
  int fd;
  uint32_t salt;
  uint64_t size;
  uint64_t copied; /* bytes of the records written anew */
  bool oldest;     /* no pack before it, so a pin of 0 says nothing */
  blocks_buf buf;
} compaction;

static bool place_lives(const compaction *c, const blocks_record *record) {
  blocks_place place = {.cid = record->cid, .store = c->number, .offset = record->data_offset};
  blocks_txn *txn;
  if (blocks_index_read(c->store->index, &txn, NULL) != DEAI_OK) return true; /* not known dead */
  int32_t there = blocks_index_place_has(c->store->index, txn, &place);
  blocks_index_read_done(c->store->index, txn);
  return there != 0;
}

typedef int32_t record_each(compaction *c, blocks_record *record, uint64_t *live,
                            blocks_error *err);

/* calls each for every whole record of the pack */
static int32_t each_record(compaction *c, uint64_t *live, record_each *each, blocks_error *err) {
  uint64_t at = BLOCKS_PACK_HEAD_BYTES;
  blocks_record record;
  for (;;) {
    int32_t status = blocks_record_read(c->fd, c->salt, at, &record, &c->buf, err);
    if (status == DEAI_ENOTFOUND) return DEAI_OK;
    if (status == DEAI_EVERIFY) {
      status = blocks_record_find(c->fd, c->salt, at + 1, &at, &c->buf, err);
      if (status == DEAI_ENOTFOUND) return DEAI_OK;
      if (status == DEAI_OK) continue;
    }
    if (status == DEAI_OK) status = each(c, &record, live, err);
    if (status != DEAI_OK) return status;
    at = record.data_offset + record.len;
  }
}

static int32_t count_live(compaction *c, blocks_record *record, uint64_t *live, blocks_error *err) {
  (void)err;
  if (record->kind != BLOCKS_RECORD_BLOCK || place_lives(c, record))
    *live += blocks_record_bytes(&record->cid, record->len);
  return DEAI_OK;
}

static int32_t move_block(compaction *c, const blocks_record *old, blocks_error *err) {
  blocks_store *store = c->store;
  blocks_record record = {.kind = BLOCKS_RECORD_BLOCK, .cid = old->cid, .crc = old->crc};
  blocks_op op = {.kind = BLOCKS_OP_MOVE, .from = malloc(sizeof *op.from)};
  if (op.from == NULL) return blocks_fail(err, DEAI_ENOMEM, "garbage collection: no memory");
  *op.from = (blocks_place){.cid = old->cid, .store = c->number, .offset = old->data_offset};
  (void)pthread_mutex_lock(&store->append);
  int32_t status = blocks_store_append(store, &record, blocks_buf_bytes(&c->buf), err);
  op.at = (blocks_place){.cid = old->cid,
                         .store = store->head.pack,
                         .offset = record.data_offset,
                         .len = record.len,
                         .crc = record.crc,
                         .flags = BLOCKS_PLACE_HERE};
  if (status == DEAI_OK) status = blocks_batch_add(&store->queued, &op);
  (void)pthread_mutex_unlock(&store->append);
  if (status != DEAI_OK) free(op.from);
  return status;
}

/* the count of now, whatever this record said; once a batch is enough */
static int32_t move_pin(compaction *c, const blocks_record *old, blocks_error *err) {
  blocks_store *store = c->store;
  blocks_record record = {.kind = BLOCKS_RECORD_PIN, .cid = old->cid};
  blocks_op op = {.kind = BLOCKS_OP_PIN, .at = {.cid = old->cid}};
  uint8_t data[8];
  (void)pthread_mutex_lock(&store->append);
  bool done = blocks_batch_find(&store->queued, BLOCKS_OP_PIN, &old->cid) != NULL;
  int32_t status = done ? DEAI_OK : blocks_store_pin_count(store, &old->cid, &op.count);
  if (!done && status == DEAI_OK && (op.count > 0 || !c->oldest)) {
    blocks_put_u64(data, op.count);
    record.crc = blocks_crc32c(0, data, sizeof data);
    status = blocks_store_append(store, &record, deai_bytes_of(data, sizeof data), err);
    if (status == DEAI_OK) status = blocks_batch_add(&store->queued, &op);
  }
  (void)pthread_mutex_unlock(&store->append);
  return status;
}

static int32_t move_file(compaction *c, const blocks_record *old, blocks_error *err) {
  blocks_store *store = c->store;
  blocks_record record = {.kind = BLOCKS_RECORD_FILE, .cid = old->cid, .crc = old->crc};
  blocks_file_spec spec;
  blocks_txn *txn;
  if (c->buf.len < 8) return DEAI_OK;
  int32_t status = blocks_index_read(store->index, &txn, err);
  if (status != DEAI_OK) return status;
  status = blocks_index_file(store->index, txn, blocks_get_u64(c->buf.ptr), &spec);
  blocks_index_read_done(store->index, txn);
  if (status == DEAI_ENOTFOUND) return DEAI_OK;
  if (status != DEAI_OK) return fail_index(err, status);
  (void)pthread_mutex_lock(&store->append);
  status = blocks_store_append(store, &record, blocks_buf_bytes(&c->buf), err);
  (void)pthread_mutex_unlock(&store->append);
  return status;
}

static int32_t move_live(compaction *c, blocks_record *record, uint64_t *live, blocks_error *err) {
  (void)live;
  if (record->kind == BLOCKS_RECORD_BLOCK && !place_lives(c, record)) return DEAI_OK;
  c->copied += blocks_record_bytes(&record->cid, record->len);
  switch (record->kind) {
  case BLOCKS_RECORD_BLOCK:
    return move_block(c, record, err);
  case BLOCKS_RECORD_PIN:
    return move_pin(c, record, err);
  case BLOCKS_RECORD_FILE:
    return move_file(c, record, err);
  }
  return DEAI_OK;
}

/* the copies are durable and indexed before the old pack goes */
static int32_t remove_pack(compaction *c, blocks_gc *state, blocks_error *err) {
  blocks_store *store = c->store;
  char name[32];
  int32_t status = blocks_store_sync_log(store, err);
  if (status != DEAI_OK) return status;
  blocks_pack_name(c->number, name);
  if (unlinkat(store->packs_fd, name, 0) != 0) return blocks_fail_errno(err, errno, name);
  if (fsync(store->packs_fd) != 0) return blocks_fail_errno(err, errno, "folder of packs");
  blocks_fds_drop(store, c->number);
  (void)pthread_mutex_lock(&store->append);
  store->bytes_used -= c->size;
  store->packs--;
  (void)pthread_mutex_unlock(&store->append);
  state->bytes_freed += c->size - c->copied;
  return DEAI_OK;
}

static int32_t pack_size(compaction *c, blocks_error *err) {
  struct stat info;
  if (fstat(c->fd, &info) != 0) return blocks_fail_errno(err, errno, "pack");
  c->size = (uint64_t)info.st_size;
  return DEAI_OK;
}

/* the pack that is written is closed before it can be written anew */
static int32_t close_pack(compaction *c, blocks_error *err) {
  blocks_store *store = c->store;
  int32_t status = DEAI_OK;
  (void)pthread_mutex_lock(&store->append);
  if (store->head.pack == c->number) status = blocks_store_next_pack(store, err);
  (void)pthread_mutex_unlock(&store->append);
  /* what was queued for this pack has its places before they are looked up */
  return status == DEAI_OK ? blocks_store_sync_log(store, err) : status;
}

static int32_t compact(compaction *c, blocks_gc *state, blocks_error *err) {
  uint64_t live = 0;
  int32_t status = blocks_pack_open(c->store->packs_fd, c->number, &c->fd, &c->salt, err);
  if (status == DEAI_ENOTFOUND || status == DEAI_EVERIFY) return DEAI_OK; /* verify tells of it */
  if (status == DEAI_OK) status = blocks_store_sync_log(c->store, err);
  if (status == DEAI_OK) status = pack_size(c, err);
  if (status == DEAI_OK) status = each_record(c, &live, count_live, err);
  bool worth = c->size > BLOCKS_PACK_HEAD_BYTES && live * 2 < c->size;
  if (status != DEAI_OK || !worth) return status;
  status = close_pack(c, err);
  if (status == DEAI_OK) status = pack_size(c, err);
  if (status == DEAI_OK) status = each_record(c, &live, move_live, err);
  if (status == DEAI_EFULL) return DEAI_OK; /* no room for the copies; dead packs come first */
  return status == DEAI_OK ? remove_pack(c, state, err) : status;
}

static int32_t compact_next_pack(blocks_store *store, blocks_gc *state, blocks_error *err) {
  (void)pthread_mutex_lock(&store->append);
  uint64_t current = store->head.pack;
  (void)pthread_mutex_unlock(&store->append);
  bool oldest = state->number == 0;
  compaction c = {.store = store, .fd = -1, .number = state->number + 1, .oldest = oldest};
  if (c.number > current || state->last) {
    state->finished = true;
    return clear_sets(store, err);
  }
  state->last = c.number == current;
  int32_t status = compact(&c, state, err);
  if (c.fd >= 0) (void)close(c.fd);
  blocks_buf_free(&c.buf);
  state->number = c.number;
  return status;
}

int32_t blocks_store_gc(blocks_store *store, blocks_gc *state, uint32_t places_step,
                        blocks_error *err) {
  uint32_t max = places_step < 1 ? 1 : places_step > STEP_MAX ? STEP_MAX : places_step;
  if (state->finished) return DEAI_OK;
  int32_t status = blocks_store_sync(store, err);
  if (status == DEAI_OK && state->phase == PHASE_NONE) status = gc_begin(store, state, err);
  if (status != DEAI_OK) return status;
  blocks_cid *cids = malloc(STEP_MAX * sizeof *cids);
  if (cids == NULL) return blocks_fail(err, DEAI_ENOMEM, "garbage collection: no memory");
  if (state->phase >= PHASE_FILES) status = mark_new_pins(store, state, cids, err);
  if (status != DEAI_OK) {
    free(cids);
    return status;
  }
  switch (state->phase) {
  case PHASE_PINS:
    status = mark_pins(store, state, cids, max, err);
    break;
  case PHASE_MARK:
    status = mark_more(store, state, cids, max, err);
    break;
  case PHASE_FILES:
    status = collect_next_file(store, state, err);
    break;
  case PHASE_SWEEP:
    status = sweep(store, state, max, err);
    break;
  default:
    status = compact_next_pack(store, state, err);
    break;
  }
  free(cids);
  if (state->finished) blocks_store_gc_end(store, state);
  return status;
}
