#include "state.h"

#include "overlay.h"
#include "proof.h"
#include "top.h"

#include "host/base/file.h"
#include "host/base/hash.h"

#include <errno.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define DBS_MAX      5
#define KEY_HEAD     4u /* u16 table, u16 bucket */
#define CRC_BYTES    4u
#define HEAD_BYTES   (3u * 8u + 3u * DEAI_HASH_BYTES)
#define TX_KEY_BYTES 16u /* of a transaction id; enough to tell them apart */
#define READERS_MAX  510
#define PROOF_BYTES  8192u

typedef struct table_info {
  deai_str module;
  deai_str name;
  uint32_t bits;
  uint32_t first_leaf; /* of its buckets in the top tree */
} table_info;

typedef struct bucket_root {
  uint32_t leaf;
  uint8_t root[DEAI_HASH_BYTES];
} bucket_root;

struct deai_state {
  MDB_env *env;
  MDB_dbi records, buckets, heads, offsets, ids;
  MDB_txn *reader; /* of the thread that makes blocks */
  table_info *tables;
  uint32_t table_count;
  uint32_t leaf_count;
  deai_overlay *overlay;
  bucket_root *pending; /* what deai_state_root computed */
  uint64_t pending_count;
  uint64_t pending_cap;
  pthread_mutex_t lock; /* head, the committed face of top, and the moment of a commit */
  deai_top *top;
  deai_state_head head;
  int32_t is_new;
};

static int32_t mdb_status(int code, const char *what, char *err, uint32_t err_cap) {
  if (code == MDB_SUCCESS) return DEAI_OK;
  if (code == MDB_NOTFOUND) return DEAI_ENOTFOUND;
  if (err != NULL && err_cap > 0)
    (void)snprintf(err, err_cap, "expected to %s the ledger state, found: %s", what,
                   mdb_strerror(code));
  if (code == MDB_MAP_FULL || code == ENOSPC) return DEAI_EFULL;
  if (code == ENOMEM) return DEAI_ENOMEM;
  if (code == MDB_CORRUPTED || code == MDB_PAGE_NOTFOUND || code == MDB_INVALID ||
      code == MDB_VERSION_MISMATCH || code == MDB_INCOMPATIBLE || code == MDB_BAD_TXN)
    return DEAI_EVERIFY;
  return DEAI_EIO;
}

/* ---- forms of keys and values ---- */

static void put_be(uint8_t *out, uint64_t value, uint32_t len) {
  for (uint32_t i = 0; i < len; i++)
    out[i] = (uint8_t)(value >> (8 * (len - 1 - i)));
}

static uint64_t get_be(const uint8_t *from, uint32_t len) {
  uint64_t value = 0;
  for (uint32_t i = 0; i < len; i++)
    value = value << 8 | from[i];
  return value;
}

static MDB_val record_key(uint8_t room[KEY_HEAD + DEAI_LEDGER_KEY_MAX], uint32_t table,
                          uint32_t bucket, deai_bytes key) {
  put_be(room, table, 2);
  put_be(room + 2, bucket, 2);
  if (key.len > 0) memcpy(room + KEY_HEAD, key.ptr, (size_t)key.len);
  return (MDB_val){KEY_HEAD + (size_t)key.len, room};
}

/* Reads a stored value: contents and CRC-32C over key and contents. */
static int32_t value_open(const MDB_val *key, const MDB_val *stored, deai_bytes *out) {
  if (stored->mv_size < CRC_BYTES) return DEAI_EVERIFY;
  deai_bytes value = deai_bytes_of(stored->mv_data, stored->mv_size - CRC_BYTES);
  uint32_t crc = deai_crc32c(DEAI_CRC32C_START, deai_bytes_of(key->mv_data, key->mv_size));
  crc = deai_crc32c(crc, value);
  if (get_be(value.ptr + value.len, CRC_BYTES) != crc) return DEAI_EVERIFY;
  *out = value;
  return DEAI_OK;
}

static int value_put(MDB_txn *txn, MDB_dbi dbi, MDB_val key, deai_bytes value) {
  MDB_val stored = {(size_t)value.len + CRC_BYTES, NULL};
  uint32_t crc = deai_crc32c(DEAI_CRC32C_START, deai_bytes_of(key.mv_data, key.mv_size));
  int code = mdb_put(txn, dbi, &key, &stored, MDB_RESERVE);
  if (code != MDB_SUCCESS) return code;
  if (value.len > 0) memcpy(stored.mv_data, value.ptr, (size_t)value.len);
  put_be((uint8_t *)stored.mv_data + value.len, deai_crc32c(crc, value), CRC_BYTES);
  return MDB_SUCCESS;
}

static int32_t value_get(MDB_txn *txn, MDB_dbi dbi, MDB_val key, deai_bytes *out) {
  MDB_val stored;
  int code = mdb_get(txn, dbi, &key, &stored);
  if (code != MDB_SUCCESS) return mdb_status(code, "read", NULL, 0);
  return value_open(&key, &stored, out);
}

static void head_put(uint8_t *out, const deai_state_head *head) {
  put_be(out, head->height, 8);
  put_be(out + 8, head->time_ms, 8);
  put_be(out + 16, head->log_end, 8);
  memcpy(out + 24, head->hash, DEAI_HASH_BYTES);
  memcpy(out + 56, head->root, DEAI_HASH_BYTES);
  memcpy(out + 88, head->modules, DEAI_HASH_BYTES);
}

static void head_get(const uint8_t *from, deai_state_head *head) {
  head->height = get_be(from, 8);
  head->time_ms = get_be(from + 8, 8);
  head->log_end = get_be(from + 16, 8);
  memcpy(head->hash, from + 24, DEAI_HASH_BYTES);
  memcpy(head->root, from + 56, DEAI_HASH_BYTES);
  memcpy(head->modules, from + 88, DEAI_HASH_BYTES);
}

static const uint8_t head_name[] = {'h'};

static MDB_val head_key(void) {
  return (MDB_val){sizeof head_name, (void *)(uintptr_t)head_name};
}

/* ---- open and close ---- */

static int32_t tables_make(deai_state *state, const deai_genesis *genesis) {
  const deai_table_ref *refs = genesis->tables.items;
  state->tables = calloc((size_t)genesis->tables.count, sizeof state->tables[0]);
  if (state->tables == NULL) return DEAI_ENOMEM;
  for (uint32_t i = 0; i < genesis->tables.count; i++) {
    state->tables[i] =
        (table_info){refs[i].m, refs[i].n, (uint32_t)refs[i].bits, state->leaf_count};
    state->leaf_count += 1u << refs[i].bits;
  }
  state->table_count = (uint32_t)genesis->tables.count;
  return DEAI_OK;
}

static int dbs_open(deai_state *state, int32_t read_only) {
  static const char *const names[DBS_MAX] = {"records", "buckets", "heads", "offsets", "ids"};
  MDB_dbi *const dbs[DBS_MAX] = {&state->records, &state->buckets, &state->heads, &state->offsets,
                                 &state->ids};
  MDB_txn *txn = NULL;
  int code = mdb_txn_begin(state->env, NULL, read_only ? MDB_RDONLY : 0, &txn);
  for (uint32_t i = 0; i < DBS_MAX && code == MDB_SUCCESS; i++)
    code = mdb_dbi_open(txn, names[i], read_only ? 0 : MDB_CREATE, dbs[i]);
  if (code == MDB_SUCCESS) return mdb_txn_commit(txn);
  if (txn != NULL) mdb_txn_abort(txn);
  return code;
}

static int32_t env_open(deai_state *state, const char *folder, uint64_t map_bytes,
                        deai_state_mode mode, char *err, uint32_t err_cap) {
  static const unsigned int flags[] = {MDB_NOTLS, MDB_NOTLS | MDB_NOSYNC | MDB_NOMETASYNC,
                                       MDB_NOTLS | MDB_RDONLY};
  int32_t status = DEAI_OK;
  if (mode != DEAI_STATE_READ) status = deai_folder_make(folder, 0700, err, err_cap);
  if (status != DEAI_OK) return status;
  size_t map = (size_t)(map_bytes != 0 ? map_bytes : DEAI_STATE_MAP_BYTES);
  int code = mdb_env_create(&state->env);
  if (code == MDB_SUCCESS) code = mdb_env_set_mapsize(state->env, map);
  if (code == MDB_SUCCESS) code = mdb_env_set_maxdbs(state->env, DBS_MAX);
  if (code == MDB_SUCCESS) code = mdb_env_set_maxreaders(state->env, READERS_MAX);
  if (code == MDB_SUCCESS) code = mdb_env_open(state->env, folder, flags[mode], 0600);
  if (code == MDB_SUCCESS) code = dbs_open(state, mode == DEAI_STATE_READ);
  if (code == MDB_SUCCESS) code = mdb_txn_begin(state->env, NULL, MDB_RDONLY, &state->reader);
  return mdb_status(code, "open", err, err_cap);
}

int32_t deai_state_sync(deai_state *state, char *err, uint32_t err_cap) {
  return mdb_status(mdb_env_sync(state->env, 1), "sync", err, err_cap);
}

static int32_t damaged(const char *what, char *err, uint32_t err_cap) {
  if (err != NULL && err_cap > 0)
    (void)snprintf(err, err_cap, "expected an undamaged ledger state, found %s", what);
  return DEAI_EVERIFY;
}

static int32_t head_load(deai_state *state, char *err, uint32_t err_cap) {
  deai_bytes value;
  int32_t status = value_get(state->reader, state->heads, head_key(), &value);
  if (status == DEAI_ENOTFOUND) {
    state->is_new = 1;
    return DEAI_OK;
  }
  if (status != DEAI_OK || value.len < HEAD_BYTES)
    return damaged("a damaged head record", err, err_cap);
  head_get(value.ptr, &state->head);
  return DEAI_OK;
}

static void top_leaf(const deai_state *state, uint32_t table, uint32_t bucket,
                     const uint8_t root[DEAI_HASH_BYTES], uint8_t out[DEAI_HASH_BYTES]) {
  char name[DEAI_BUCKET_NAME_MAX];
  const table_info *info = &state->tables[table];
  uint32_t len = deai_proof_bucket_name(info->module, info->name, bucket, name);
  deai_proof_leaf(deai_bytes_of(name, len), deai_bytes_of(root, DEAI_HASH_BYTES), out);
}

/* The root of a bucket as stored; that of the empty tree when it has none. */
static int32_t stored_root(deai_state *state, MDB_txn *txn, uint32_t leaf,
                           uint8_t root[DEAI_HASH_BYTES]) {
  uint8_t key[4];
  deai_bytes value;
  put_be(key, leaf, sizeof key);
  int32_t status = value_get(txn, state->buckets, (MDB_val){sizeof key, key}, &value);
  if (status == DEAI_ENOTFOUND) {
    deai_sha256(deai_bytes_of(NULL, 0), root);
    return DEAI_OK;
  }
  if (status != DEAI_OK || value.len != DEAI_HASH_BYTES) return DEAI_EVERIFY;
  memcpy(root, value.ptr, DEAI_HASH_BYTES);
  return DEAI_OK;
}

static int32_t top_load(deai_state *state, char *err, uint32_t err_cap) {
  uint8_t root[DEAI_HASH_BYTES];
  int32_t status = DEAI_OK;
  uint8_t *leaves = malloc((size_t)state->leaf_count * DEAI_HASH_BYTES);
  if (leaves == NULL) return DEAI_ENOMEM;
  for (uint32_t table = 0; table < state->table_count && status == DEAI_OK; table++) {
    const table_info *info = &state->tables[table];
    for (uint32_t bucket = 0; bucket < 1u << info->bits && status == DEAI_OK; bucket++) {
      uint32_t leaf = info->first_leaf + bucket;
      status = stored_root(state, state->reader, leaf, root);
      if (status == DEAI_OK)
        top_leaf(state, table, bucket, root, leaves + (size_t)leaf * DEAI_HASH_BYTES);
    }
  }
  if (status == DEAI_OK) {
    state->top = deai_top_new(leaves, state->leaf_count);
    if (state->top == NULL) status = DEAI_ENOMEM;
  } else {
    status = damaged("a damaged bucket root", err, err_cap);
  }
  free(leaves);
  if (status != DEAI_OK || state->is_new) return status;
  deai_top_root(state->top, root);
  if (memcmp(root, state->head.root, sizeof root) != 0)
    return damaged("another root than the one of its head", err, err_cap);
  return DEAI_OK;
}

int32_t deai_state_open(const char *folder, const deai_genesis *genesis, uint64_t map_bytes,
                        deai_state_mode mode, deai_state **state_out, char *err, uint32_t err_cap) {
  deai_state *state = calloc(1, sizeof *state);
  if (state == NULL) return DEAI_ENOMEM;
  (void)pthread_mutex_init(&state->lock, NULL);
  state->overlay = deai_overlay_new();
  int32_t status = state->overlay == NULL ? DEAI_ENOMEM : tables_make(state, genesis);
  if (status == DEAI_OK) status = env_open(state, folder, map_bytes, mode, err, err_cap);
  if (status == DEAI_OK) status = head_load(state, err, err_cap);
  if (status == DEAI_OK) status = top_load(state, err, err_cap);
  if (status != DEAI_OK) {
    deai_state_close(state);
    return status;
  }
  *state_out = state;
  return DEAI_OK;
}

void deai_state_close(deai_state *state) {
  if (state == NULL) return;
  if (state->reader != NULL) mdb_txn_abort(state->reader);
  if (state->env != NULL) mdb_env_close(state->env);
  deai_top_free(state->top);
  deai_overlay_free(state->overlay);
  (void)pthread_mutex_destroy(&state->lock);
  free(state->pending);
  free(state->tables);
  free(state);
}

int32_t deai_state_is_new(const deai_state *state) {
  return state->is_new;
}

deai_state_head deai_state_head_get(deai_state *state) {
  (void)pthread_mutex_lock(&state->lock);
  deai_state_head head = state->head;
  (void)pthread_mutex_unlock(&state->lock);
  return head;
}

int32_t deai_state_table(const deai_state *state, deai_str module, deai_str name) {
  for (uint32_t i = 0; i < state->table_count; i++) {
    if (deai_str_eq(state->tables[i].module, module) && deai_str_eq(state->tables[i].name, name))
      return (int32_t)i;
  }
  return -1;
}

/* ---- records ---- */

static int32_t key_check(const deai_state *state, uint32_t table, deai_bytes key) {
  return table < state->table_count && key.len <= DEAI_LEDGER_KEY_MAX ? DEAI_OK : DEAI_EINVAL;
}

int32_t deai_state_get(deai_state *state, uint32_t table, deai_bytes key, deai_bytes *value) {
  uint8_t room[KEY_HEAD + DEAI_LEDGER_KEY_MAX];
  if (key_check(state, table, key) != DEAI_OK) return DEAI_EINVAL;
  const deai_overlay_entry *entry = deai_overlay_find(state->overlay, table, key);
  if (entry != NULL && entry->kind == DEAI_OVERLAY_GONE) return DEAI_ENOTFOUND;
  if (entry != NULL && entry->kind == DEAI_OVERLAY_SET) {
    *value = entry->value;
    return DEAI_OK;
  }
  uint32_t bucket = deai_proof_bucket(key, state->tables[table].bits);
  return value_get(state->reader, state->records, record_key(room, table, bucket, key), value);
}

int32_t deai_state_put(deai_state *state, uint32_t table, deai_bytes key, deai_bytes value) {
  if (key_check(state, table, key) != DEAI_OK || value.len > DEAI_LEDGER_VALUE_MAX)
    return DEAI_EINVAL;
  uint32_t bucket = deai_proof_bucket(key, state->tables[table].bits);
  return deai_overlay_set(state->overlay, table, bucket, key, DEAI_OVERLAY_SET, value);
}

int32_t deai_state_del(deai_state *state, uint32_t table, deai_bytes key) {
  deai_bytes value;
  int32_t status = deai_state_get(state, table, key, &value);
  if (status != DEAI_OK) return status;
  uint32_t bucket = deai_proof_bucket(key, state->tables[table].bits);
  return deai_overlay_set(state->overlay, table, bucket, key, DEAI_OVERLAY_GONE, value);
}

uint64_t deai_state_mark(const deai_state *state) {
  return deai_overlay_mark(state->overlay);
}

void deai_state_rollback(deai_state *state, uint64_t mark) {
  deai_overlay_rollback(state->overlay, mark);
}

void deai_state_discard(deai_state *state) {
  deai_overlay_clear(state->overlay);
  deai_top_discard(state->top);
  state->pending_count = 0;
}

/* ---- walking: committed records and changes, merged in the order (bucket, key) ---- */

typedef struct walk {
  MDB_cursor *cursor;
  MDB_val key;
  MDB_val stored;
  int code;
  uint8_t start[KEY_HEAD + DEAI_LEDGER_KEY_MAX];
  uint32_t start_len; /* what the keys of the walk begin with */
  const deai_overlay_entry *const *entries;
  uint64_t entry_count;
  uint64_t entry_at;
} walk;

static void walk_settle(walk *state) {
  if (state->code != MDB_SUCCESS) return;
  if (state->key.mv_size < state->start_len ||
      memcmp(state->key.mv_data, state->start, state->start_len) != 0)
    state->code = MDB_NOTFOUND;
}

static int32_t walk_start(walk *state, MDB_txn *txn, MDB_dbi dbi) {
  int code = mdb_cursor_open(txn, dbi, &state->cursor);
  if (code != MDB_SUCCESS) return mdb_status(code, "read", NULL, 0);
  state->key = (MDB_val){state->start_len, state->start};
  state->code = mdb_cursor_get(state->cursor, &state->key, &state->stored, MDB_SET_RANGE);
  walk_settle(state);
  return DEAI_OK;
}

/* Compares the record under the cursor with the next change. */
static int walk_compare(const walk *state) {
  const deai_overlay_entry *entry = state->entries[state->entry_at];
  const uint8_t *at = (const uint8_t *)state->key.mv_data + 2;
  uint32_t bucket = (uint32_t)get_be(at, 2);
  deai_bytes key = deai_bytes_of(at + 2, state->key.mv_size - KEY_HEAD);
  if (bucket != entry->bucket) return bucket < entry->bucket ? -1 : 1;
  uint64_t least = key.len < entry->key.len ? key.len : entry->key.len;
  int order = least == 0 ? 0 : memcmp(key.ptr, entry->key.ptr, (size_t)least);
  if (order != 0) return order;
  return key.len == entry->key.len ? 0 : key.len < entry->key.len ? -1 : 1;
}

/* Sets the next record; DEAI_ENOTFOUND at the end. */
static int32_t walk_next(walk *state, deai_bytes *key, deai_bytes *value) {
  for (;;) {
    if (state->code != MDB_SUCCESS && state->code != MDB_NOTFOUND)
      return mdb_status(state->code, "read", NULL, 0);
    int32_t more = state->entry_at < state->entry_count;
    int order = state->code != MDB_SUCCESS ? 1 : more ? walk_compare(state) : -1;
    if (state->code != MDB_SUCCESS && !more) return DEAI_ENOTFOUND;
    const deai_overlay_entry *entry = order >= 0 ? state->entries[state->entry_at++] : NULL;
    int32_t status = DEAI_OK;
    if (order < 0) {
      status = value_open(&state->key, &state->stored, value);
      *key = deai_bytes_of((uint8_t *)state->key.mv_data + KEY_HEAD, state->key.mv_size - KEY_HEAD);
    }
    if (order <= 0) {
      state->code = mdb_cursor_get(state->cursor, &state->key, &state->stored, MDB_NEXT);
      walk_settle(state);
    }
    if (order < 0) return status;
    if (entry->kind == DEAI_OVERLAY_GONE) continue;
    *key = entry->key;
    *value = entry->value;
    return DEAI_OK;
  }
}

static void walk_table(walk *state, uint32_t table, uint32_t bits, deai_bytes prefix) {
  memset(state, 0, sizeof *state);
  put_be(state->start, table, 2);
  state->start_len = 2;
  if (bits == 0) { /* one bucket: the prefix narrows the walk itself */
    put_be(state->start + 2, 0, 2);
    if (prefix.len > 0) memcpy(state->start + KEY_HEAD, prefix.ptr, (size_t)prefix.len);
    state->start_len = KEY_HEAD + (uint32_t)prefix.len;
  }
}

static int32_t walk_all(walk *state, deai_bytes prefix, deai_ledger_each *each, void *user) {
  deai_bytes key, value;
  int32_t status;
  while ((status = walk_next(state, &key, &value)) == DEAI_OK) {
    if (key.len < prefix.len ||
        (prefix.len > 0 && memcmp(key.ptr, prefix.ptr, (size_t)prefix.len) != 0))
      continue;
    status = each(user, key, value);
    if (status != DEAI_OK) return status;
  }
  return status == DEAI_ENOTFOUND ? DEAI_OK : status;
}

int32_t deai_state_each(deai_state *state, uint32_t table, deai_bytes prefix,
                        deai_ledger_each *each, void *user) {
  walk place;
  const deai_overlay_entry **entries = NULL;
  if (key_check(state, table, prefix) != DEAI_OK) return DEAI_EINVAL;
  walk_table(&place, table, state->tables[table].bits, prefix);
  int32_t status = deai_overlay_sorted(state->overlay, table, &entries, &place.entry_count);
  if (status != DEAI_OK) return status;
  place.entries = entries;
  status = walk_start(&place, state->reader, state->records);
  if (status == DEAI_OK) status = walk_all(&place, prefix, each, user);
  if (place.cursor != NULL) mdb_cursor_close(place.cursor);
  free(entries);
  return status;
}

int32_t deai_state_each_change(deai_state *state, uint32_t table, deai_state_change *each,
                               void *user) {
  const deai_overlay_entry **entries = NULL;
  uint64_t count;
  uint8_t room[KEY_HEAD + DEAI_LEDGER_KEY_MAX];
  int32_t status = deai_overlay_sorted(state->overlay, table, &entries, &count);
  for (uint64_t i = 0; i < count && status == DEAI_OK; i++) {
    deai_bytes before = {NULL, 0}, after = {NULL, 0};
    MDB_val key = record_key(room, table, entries[i]->bucket, entries[i]->key);
    status = value_get(state->reader, state->records, key, &before);
    if (status == DEAI_ENOTFOUND) status = DEAI_OK;
    if (entries[i]->kind == DEAI_OVERLAY_SET) after = entries[i]->value;
    if (status == DEAI_OK) status = each(user, before, after);
  }
  free(entries);
  return status;
}

/* ---- roots ---- */

static int32_t bucket_hash(walk *place, uint8_t root[DEAI_HASH_BYTES]) {
  deai_merkle tree;
  deai_bytes key, value;
  int32_t status;
  deai_merkle_start(&tree);
  while ((status = walk_next(place, &key, &value)) == DEAI_OK) {
    uint8_t leaf[DEAI_HASH_BYTES];
    deai_proof_leaf(key, value, leaf);
    deai_merkle_add_hash(&tree, leaf);
  }
  deai_merkle_root(&tree, root);
  return status == DEAI_ENOTFOUND ? DEAI_OK : status;
}

static void walk_bucket(walk *place, uint32_t table, uint32_t bucket) {
  memset(place, 0, sizeof *place);
  put_be(place->start, table, 2);
  put_be(place->start + 2, bucket, 2);
  place->start_len = KEY_HEAD;
}

static int32_t pending_add(deai_state *state, uint32_t leaf, const uint8_t *root) {
  if (state->pending_count == state->pending_cap) {
    uint64_t cap = state->pending_cap == 0 ? 64 : 2 * state->pending_cap;
    bucket_root *wider = realloc(state->pending, (size_t)cap * sizeof wider[0]);
    if (wider == NULL) return DEAI_ENOMEM;
    state->pending = wider;
    state->pending_cap = cap;
  }
  bucket_root *last = &state->pending[state->pending_count++];
  last->leaf = leaf;
  memcpy(last->root, root, DEAI_HASH_BYTES);
  return DEAI_OK;
}

/* Hashes the bucket of the changes entries[0..count). */
static int32_t root_of_bucket(deai_state *state, const deai_overlay_entry *const *entries,
                              uint64_t count) {
  walk place;
  uint8_t root[DEAI_HASH_BYTES], leaf_hash[DEAI_HASH_BYTES];
  uint32_t table = entries[0]->table, bucket = entries[0]->bucket;
  uint32_t leaf = state->tables[table].first_leaf + bucket;
  walk_bucket(&place, table, bucket);
  place.entries = entries;
  place.entry_count = count;
  int32_t status = walk_start(&place, state->reader, state->records);
  if (status == DEAI_OK) status = bucket_hash(&place, root);
  if (place.cursor != NULL) mdb_cursor_close(place.cursor);
  if (status == DEAI_OK) status = pending_add(state, leaf, root);
  if (status != DEAI_OK) return status;
  top_leaf(state, table, bucket, root, leaf_hash);
  return deai_top_set(state->top, leaf, leaf_hash);
}

int32_t deai_state_root(deai_state *state, uint8_t root[DEAI_HASH_BYTES]) {
  const deai_overlay_entry **entries = NULL;
  uint64_t count, next = 0;
  int32_t status = deai_overlay_sorted(state->overlay, DEAI_OVERLAY_ALL, &entries, &count);
  if (status != DEAI_OK) return status;
  deai_top_discard(state->top);
  state->pending_count = 0;
  while (next < count && status == DEAI_OK) {
    uint64_t first = next;
    while (next < count && entries[next]->table == entries[first]->table &&
           entries[next]->bucket == entries[first]->bucket)
      next++;
    status = root_of_bucket(state, entries + first, next - first);
  }
  free(entries);
  if (status == DEAI_OK) deai_top_root(state->top, root);
  return status;
}

/* ---- commit ---- */

static int commit_records(deai_state *state, MDB_txn *txn, const deai_overlay_entry *const *entries,
                          uint64_t count) {
  uint8_t room[KEY_HEAD + DEAI_LEDGER_KEY_MAX];
  for (uint64_t i = 0; i < count; i++) {
    const deai_overlay_entry *entry = entries[i];
    MDB_val key = record_key(room, entry->table, entry->bucket, entry->key);
    int code = entry->kind == DEAI_OVERLAY_SET ? value_put(txn, state->records, key, entry->value)
                                               : mdb_del(txn, state->records, &key, NULL);
    if (code != MDB_SUCCESS && code != MDB_NOTFOUND) return code;
  }
  return MDB_SUCCESS;
}

static int commit_buckets(deai_state *state, MDB_txn *txn) {
  for (uint64_t i = 0; i < state->pending_count; i++) {
    uint8_t key[4];
    put_be(key, state->pending[i].leaf, sizeof key);
    int code = value_put(txn, state->buckets, (MDB_val){sizeof key, key},
                         deai_bytes_of(state->pending[i].root, DEAI_HASH_BYTES));
    if (code != MDB_SUCCESS) return code;
  }
  return MDB_SUCCESS;
}

static int commit_ids(deai_state *state, MDB_txn *txn, const deai_state_commit *commit) {
  uint8_t height[8];
  put_be(height, commit->head.height, sizeof height);
  for (uint64_t i = 0; i < commit->tx_count; i++) {
    MDB_val key = {TX_KEY_BYTES, (void *)(uintptr_t)(commit->tx_ids + i * DEAI_HASH_BYTES)};
    int code = value_put(txn, state->ids, key, deai_bytes_of(height, sizeof height));
    if (code != MDB_SUCCESS) return code;
  }
  for (uint64_t i = 0; i < commit->old_count; i++) {
    MDB_val key = {TX_KEY_BYTES, (void *)(uintptr_t)(commit->old_ids + i * DEAI_HASH_BYTES)};
    int code = mdb_del(txn, state->ids, &key, NULL);
    if (code != MDB_SUCCESS && code != MDB_NOTFOUND) return code;
  }
  return MDB_SUCCESS;
}

static int commit_head(deai_state *state, MDB_txn *txn, const deai_state_commit *commit) {
  uint8_t height[8], at[8];
  uint8_t *head = malloc(HEAD_BYTES + (size_t)commit->signed_block.len);
  if (head == NULL) return ENOMEM;
  head_put(head, &commit->head);
  if (commit->signed_block.len > 0)
    memcpy(head + HEAD_BYTES, commit->signed_block.ptr, (size_t)commit->signed_block.len);
  int code = value_put(txn, state->heads, head_key(),
                       deai_bytes_of(head, HEAD_BYTES + commit->signed_block.len));
  free(head);
  if (code != MDB_SUCCESS || commit->head.height == 0) return code;
  put_be(height, commit->head.height, sizeof height);
  put_be(at, commit->log_at, sizeof at);
  return value_put(txn, state->offsets, (MDB_val){sizeof height, height},
                   deai_bytes_of(at, sizeof at));
}

/* The durable moment, and what queries see, change under one lock. */
static int commit_show(deai_state *state, MDB_txn *txn, const deai_state_commit *commit) {
  (void)pthread_mutex_lock(&state->lock);
  int code = mdb_txn_commit(txn);
  if (code == MDB_SUCCESS) {
    deai_top_commit(state->top);
    state->head = commit->head;
    state->is_new = 0;
  }
  (void)pthread_mutex_unlock(&state->lock);
  return code;
}

int32_t deai_state_commit_block(deai_state *state, const deai_state_commit *commit, char *err,
                                uint32_t err_cap) {
  const deai_overlay_entry **entries = NULL;
  uint64_t count;
  MDB_txn *txn = NULL;
  int32_t status = deai_overlay_sorted(state->overlay, DEAI_OVERLAY_ALL, &entries, &count);
  if (status != DEAI_OK) return status;
  mdb_txn_reset(state->reader);
  int code = mdb_txn_begin(state->env, NULL, 0, &txn);
  if (code == MDB_SUCCESS) code = commit_records(state, txn, entries, count);
  if (code == MDB_SUCCESS) code = commit_buckets(state, txn);
  if (code == MDB_SUCCESS) code = commit_ids(state, txn, commit);
  if (code == MDB_SUCCESS) code = commit_head(state, txn, commit);
  if (code == MDB_SUCCESS) {
    code = commit_show(state, txn, commit);
  } else if (txn != NULL) {
    mdb_txn_abort(txn);
  }
  free(entries);
  int again = mdb_txn_renew(state->reader);
  deai_overlay_clear(state->overlay);
  state->pending_count = 0;
  return mdb_status(code != MDB_SUCCESS ? code : again, "write", err, err_cap);
}

/* ---- reading from outside ---- */

static int32_t check_buckets(deai_state *state, MDB_txn *txn, char *err, uint32_t err_cap) {
  for (uint32_t table = 0; table < state->table_count; table++) {
    for (uint32_t bucket = 0; bucket < 1u << state->tables[table].bits; bucket++) {
      walk place;
      uint8_t found[DEAI_HASH_BYTES], stored[DEAI_HASH_BYTES];
      walk_bucket(&place, table, bucket);
      int32_t status = walk_start(&place, txn, state->records);
      if (status == DEAI_OK) status = bucket_hash(&place, found);
      if (place.cursor != NULL) mdb_cursor_close(place.cursor);
      if (status == DEAI_OK)
        status = stored_root(state, txn, state->tables[table].first_leaf + bucket, stored);
      if (status == DEAI_OK && memcmp(found, stored, sizeof found) == 0) continue;
      if (err != NULL && err_cap > 0)
        (void)snprintf(
            err, err_cap,
            "expected undamaged records in table %.*s of %.*s, found damage in bucket %u",
            (int)state->tables[table].name.len, state->tables[table].name.ptr,
            (int)state->tables[table].module.len, state->tables[table].module.ptr, bucket);
      return DEAI_EVERIFY;
    }
  }
  return DEAI_OK;
}

/* Every value of a side table opens: they are not under the root. */
static int32_t check_values(MDB_txn *txn, MDB_dbi dbi) {
  MDB_cursor *cursor = NULL;
  MDB_val key, stored;
  deai_bytes value;
  int code = mdb_cursor_open(txn, dbi, &cursor);
  int32_t status = mdb_status(code, "read", NULL, 0);
  while (status == DEAI_OK &&
         (code = mdb_cursor_get(cursor, &key, &stored, MDB_NEXT)) == MDB_SUCCESS)
    status = value_open(&key, &stored, &value);
  if (cursor != NULL) mdb_cursor_close(cursor);
  if (status != DEAI_OK) return status;
  return code == MDB_NOTFOUND ? DEAI_OK : mdb_status(code, "read", NULL, 0);
}

int32_t deai_state_check(deai_state *state, char *err, uint32_t err_cap) {
  const MDB_dbi side[] = {state->buckets, state->heads, state->offsets, state->ids};
  MDB_txn *txn = NULL;
  int code = mdb_txn_begin(state->env, NULL, MDB_RDONLY, &txn);
  if (code != MDB_SUCCESS) return mdb_status(code, "read", err, err_cap);
  int32_t status = check_buckets(state, txn, err, err_cap);
  for (uint32_t i = 0; i < sizeof side / sizeof side[0] && status == DEAI_OK; i++) {
    status = check_values(txn, side[i]);
    if (status != DEAI_OK) status = damaged("a damaged side record", err, err_cap);
  }
  mdb_txn_abort(txn);
  return status;
}

/* A read transaction that sees the same block as the committed face of the top tree; the way of
   leaf is copied while the lock is held. */
static int32_t view_begin(deai_state *state, uint32_t leaf, MDB_txn **txn_out,
                          deai_merkle_path *path) {
  (void)pthread_mutex_lock(&state->lock);
  int code = mdb_txn_begin(state->env, NULL, MDB_RDONLY, txn_out);
  if (path != NULL) deai_top_path(state->top, leaf, path);
  (void)pthread_mutex_unlock(&state->lock);
  return code == MDB_READERS_FULL ? DEAI_EBUSY : mdb_status(code, "read", NULL, 0);
}

typedef struct bucket_copy {
  uint8_t *leaves;
  uint64_t count;
  uint64_t cap;
  uint64_t below; /* leaves with keys before the wanted one */
  deai_bytes wanted;
  deai_bytes before, after;           /* keys of the neighbours */
  uint8_t hashes[3][DEAI_HASH_BYTES]; /* of the values: before, found, after */
  int32_t found;
} bucket_copy;

static int32_t bucket_copy_add(bucket_copy *copy, deai_bytes key, deai_bytes value) {
  if (copy->count == copy->cap) {
    uint64_t cap = copy->cap == 0 ? 64 : 2 * copy->cap;
    uint8_t *wider = realloc(copy->leaves, (size_t)cap * DEAI_HASH_BYTES);
    if (wider == NULL) return DEAI_ENOMEM;
    copy->leaves = wider;
    copy->cap = cap;
  }
  uint64_t least = key.len < copy->wanted.len ? key.len : copy->wanted.len;
  int order = least == 0 ? 0 : memcmp(key.ptr, copy->wanted.ptr, (size_t)least);
  if (order == 0 && key.len != copy->wanted.len) order = key.len < copy->wanted.len ? -1 : 1;
  if (order < 0) {
    copy->below++;
    copy->before = key;
    deai_sha256(value, copy->hashes[0]);
  } else if (order == 0) {
    copy->found = 1;
    deai_sha256(value, copy->hashes[1]);
  } else if (copy->after.ptr == NULL) {
    copy->after = key;
    deai_sha256(value, copy->hashes[2]);
  }
  deai_proof_leaf(key, value, copy->leaves + copy->count * DEAI_HASH_BYTES);
  copy->count++;
  return DEAI_OK;
}

static void put_op(deai_cbor_writer *writer, deai_bytes key, uint64_t index, const uint8_t *hash,
                   const deai_merkle_path *path) {
  deai_cbor_put_array(writer, 4);
  deai_cbor_put_bytes(writer, key);
  deai_cbor_put_uint(writer, index);
  deai_cbor_put_bytes(writer, deai_bytes_of(hash, DEAI_HASH_BYTES));
  deai_cbor_put_array(writer, path->count);
  for (uint32_t i = 0; i < path->count; i++)
    deai_cbor_put_bytes(writer, deai_bytes_of(path->nodes[i], DEAI_HASH_BYTES));
}

static int32_t put_bucket_op(deai_cbor_writer *writer, const bucket_copy *copy, deai_bytes key,
                             uint64_t index, const uint8_t *hash) {
  deai_merkle_path path;
  int32_t status = deai_merkle_path_make(copy->leaves, copy->count, index, &path);
  if (status == DEAI_OK) put_op(writer, key, index, hash, &path);
  return status;
}

/* The `in` part of a proof: the record, or its neighbours. */
static int32_t put_in(deai_cbor_writer *writer, const bucket_copy *copy) {
  uint32_t neighbours = (copy->below > 0 ? 1u : 0u) + (copy->after.ptr != NULL ? 1u : 0u);
  int32_t status = DEAI_OK;
  deai_cbor_put_array(writer, 2);
  deai_cbor_put_uint(writer, copy->count);
  deai_cbor_put_array(writer, copy->found ? 1 : neighbours);
  if (copy->found) return put_bucket_op(writer, copy, copy->wanted, copy->below, copy->hashes[1]);
  if (copy->below > 0)
    status = put_bucket_op(writer, copy, copy->before, copy->below - 1, copy->hashes[0]);
  if (status == DEAI_OK && copy->after.ptr != NULL)
    status = put_bucket_op(writer, copy, copy->after, copy->below, copy->hashes[2]);
  return status;
}

static int32_t proof_make(deai_state *state, MDB_txn *txn, uint32_t table, deai_bytes key,
                          const deai_merkle_path *top_path, deai_cbor_writer *writer) {
  walk place;
  bucket_copy copy;
  deai_bytes at, value;
  uint8_t root[DEAI_HASH_BYTES], root_hash[DEAI_HASH_BYTES];
  char name[DEAI_BUCKET_NAME_MAX];
  const table_info *info = &state->tables[table];
  uint32_t bucket = deai_proof_bucket(key, info->bits);
  memset(&copy, 0, sizeof copy);
  copy.wanted = key;
  walk_bucket(&place, table, bucket);
  int32_t status = walk_start(&place, txn, state->records);
  while (status == DEAI_OK && (status = walk_next(&place, &at, &value)) == DEAI_OK)
    status = bucket_copy_add(&copy, at, value);
  if (place.cursor != NULL) mdb_cursor_close(place.cursor);
  if (status == DEAI_ENOTFOUND) status = DEAI_OK;
  deai_cbor_put_array(writer, 2);
  if (status == DEAI_OK) status = put_in(writer, &copy);
  free(copy.leaves);
  if (status == DEAI_OK) status = stored_root(state, txn, info->first_leaf + bucket, root);
  if (status != DEAI_OK) return status;
  deai_sha256(deai_bytes_of(root, sizeof root), root_hash);
  uint32_t len = deai_proof_bucket_name(info->module, info->name, bucket, name);
  put_op(writer, deai_bytes_of(name, len), info->first_leaf + bucket, root_hash, top_path);
  return writer->status;
}

static int32_t answer_copy(deai_state_answer *answer, deai_bytes value, deai_bytes proof,
                           deai_bytes signed_block) {
  uint8_t *memory = malloc((size_t)(value.len + proof.len + signed_block.len) + 1);
  if (memory == NULL) return DEAI_ENOMEM;
  deai_bytes *const parts[3] = {&answer->value, &answer->proof, &answer->signed_block};
  const deai_bytes from[3] = {value, proof, signed_block};
  uint8_t *at = memory;
  for (uint32_t i = 0; i < 3; i++) {
    if (from[i].len > 0) memcpy(at, from[i].ptr, (size_t)from[i].len);
    *parts[i] = deai_bytes_of(at, from[i].len);
    at += from[i].len;
  }
  answer->memory = memory;
  return DEAI_OK;
}

static int32_t lookup_in(deai_state *state, MDB_txn *txn, uint32_t table, deai_bytes key,
                         const deai_merkle_path *path, deai_state_answer *answer) {
  uint8_t room[KEY_HEAD + DEAI_LEDGER_KEY_MAX], proof[PROOF_BYTES];
  deai_bytes value = {NULL, 0}, head;
  deai_state_head parts;
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){proof, sizeof proof});
  uint32_t bucket = deai_proof_bucket(key, state->tables[table].bits);
  int32_t status = value_get(txn, state->records, record_key(room, table, bucket, key), &value);
  if (status != DEAI_OK && status != DEAI_ENOTFOUND) return status;
  answer->found = status == DEAI_OK;
  status = value_get(txn, state->heads, head_key(), &head);
  if (status == DEAI_ENOTFOUND || (status == DEAI_OK && head.len < HEAD_BYTES)) return DEAI_EVERIFY;
  if (status != DEAI_OK) return status;
  head_get(head.ptr, &parts);
  answer->height = parts.height;
  if (path != NULL) status = proof_make(state, txn, table, key, path, &writer);
  if (status != DEAI_OK) return status;
  return answer_copy(answer, value, deai_bytes_of(proof, writer.len),
                     deai_bytes_of(head.ptr + HEAD_BYTES, head.len - HEAD_BYTES));
}

int32_t deai_state_lookup(deai_state *state, uint32_t table, deai_bytes key, int32_t prove,
                          deai_state_answer *answer) {
  MDB_txn *txn = NULL;
  deai_merkle_path path;
  memset(answer, 0, sizeof *answer);
  if (key_check(state, table, key) != DEAI_OK) return DEAI_EINVAL;
  const table_info *info = &state->tables[table];
  uint32_t leaf = info->first_leaf + deai_proof_bucket(key, info->bits);
  int32_t status = view_begin(state, leaf, &txn, prove ? &path : NULL);
  if (status != DEAI_OK) return status;
  status = lookup_in(state, txn, table, key, prove ? &path : NULL, answer);
  mdb_txn_abort(txn);
  return status;
}

int32_t deai_state_lookup_each(deai_state *state, uint32_t table, deai_bytes prefix,
                               deai_ledger_each *each, void *user) {
  walk place;
  MDB_txn *txn = NULL;
  if (key_check(state, table, prefix) != DEAI_OK) return DEAI_EINVAL;
  int32_t status = view_begin(state, 0, &txn, NULL);
  if (status != DEAI_OK) return status;
  walk_table(&place, table, state->tables[table].bits, prefix);
  status = walk_start(&place, txn, state->records);
  if (status == DEAI_OK) status = walk_all(&place, prefix, each, user);
  if (place.cursor != NULL) mdb_cursor_close(place.cursor);
  mdb_txn_abort(txn);
  return status;
}

static int32_t number_get(deai_state *state, MDB_dbi dbi, MDB_val key, uint64_t *out) {
  MDB_txn *txn = NULL;
  deai_bytes value;
  int32_t status = view_begin(state, 0, &txn, NULL);
  if (status != DEAI_OK) return status;
  status = value_get(txn, dbi, key, &value);
  if (status == DEAI_OK && value.len != 8) status = DEAI_EVERIFY;
  if (status == DEAI_OK) *out = get_be(value.ptr, 8);
  mdb_txn_abort(txn);
  return status;
}

uint64_t deai_state_tx_height(deai_state *state, const uint8_t id[DEAI_HASH_BYTES]) {
  uint64_t height = 0;
  MDB_val key = {TX_KEY_BYTES, (void *)(uintptr_t)id};
  return number_get(state, state->ids, key, &height) == DEAI_OK ? height : 0;
}

int32_t deai_state_block_at(deai_state *state, uint64_t height, uint64_t *at_out) {
  uint8_t key[8];
  put_be(key, height, sizeof key);
  return number_get(state, state->offsets, (MDB_val){sizeof key, key}, at_out);
}
