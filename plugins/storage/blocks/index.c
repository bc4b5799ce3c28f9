#include "index.h"

#include "store.h"

#include <errno.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define LAYOUT_VERSION    1
#define TABLES            8
#define TXN_POOL_MAX      32
#define VALUE_BYTES_MAX   (BLOCKS_SEGMENT_BYTES + 4)
#define PLACE_VALUE_BYTES 16
#define FILE_VALUE_BYTES  (28 + BLOCKS_CID_BYTES_MAX)
#define HEAD_VALUE_BYTES  48

typedef enum table {
  TABLE_PLACE,
  TABLE_FILE,
  TABLE_BITS,
  TABLE_ROOT,
  TABLE_PIN,
  TABLE_MARK,
  TABLE_TODO,
  TABLE_HEAD
} table;

static const char *const table_names[TABLES] = {"place", "file", "bits", "root",
                                                "pin",   "mark", "todo", "head"};

struct blocks_index {
  MDB_env *env;
  MDB_dbi tables[TABLES];
  pthread_mutex_t pool_mutex; /* guards pool and pool_count, never held across a wait */
  MDB_txn *pool[TXN_POOL_MAX];
  uint32_t pool_count;
};

static int32_t status_of(int rc) {
  switch (rc) {
  case MDB_SUCCESS:
    return DEAI_OK;
  case MDB_NOTFOUND:
    return DEAI_ENOTFOUND;
  case MDB_MAP_FULL:
  case ENOSPC:
  case EDQUOT:
    return DEAI_EFULL;
  case MDB_READERS_FULL:
    return DEAI_EBUSY;
  case ENOMEM:
    return DEAI_ENOMEM;
  case MDB_CORRUPTED:
  case MDB_PAGE_NOTFOUND:
  case MDB_INVALID:
  case MDB_VERSION_MISMATCH:
  case MDB_PANIC:
  case MDB_INCOMPATIBLE:
    return DEAI_EVERIFY;
  default:
    return DEAI_EIO;
  }
}

static int32_t fail(blocks_error *err, int rc, const char *what) {
  return blocks_fail(err, status_of(rc), "index: %s: %s", what, mdb_strerror(rc));
}

static MDB_val val_of(const void *bytes, size_t len) {
  return (MDB_val){.mv_size = len, .mv_data = (void *)(uintptr_t)bytes};
}

static void put_be64(uint8_t *at, uint64_t value) {
  for (int i = 0; i < 8; i++)
    at[i] = (uint8_t)(value >> (56 - 8 * i));
}

static uint64_t get_be64(const uint8_t *at) {
  uint64_t value = 0;
  for (int i = 0; i < 8; i++)
    value = value << 8 | at[i];
  return value;
}

static uint32_t check_of(const MDB_val *key, const void *value, size_t len) {
  return blocks_crc32c(blocks_crc32c(0, key->mv_data, key->mv_size), value, len);
}

/* value bytes, then their check */
static int32_t put_checked(blocks_index *index, blocks_txn *txn, table t, MDB_val key,
                           const void *value, size_t len) {
  uint8_t room[VALUE_BYTES_MAX];
  memcpy(room, value, len);
  blocks_put_u32(room + len, check_of(&key, value, len));
  MDB_val all = val_of(room, len + 4);
  return status_of(mdb_put(txn, index->tables[t], &key, &all, 0));
}

static int32_t checked(const MDB_val *key, const MDB_val *value, size_t len) {
  const uint8_t *bytes = value->mv_data;
  if (value->mv_size != len + 4) return DEAI_EVERIFY;
  return blocks_get_u32(bytes + len) == check_of(key, bytes, len) ? DEAI_OK : DEAI_EVERIFY;
}

static int32_t get_checked(blocks_index *index, blocks_txn *txn, table t, MDB_val key, void *value,
                           size_t len) {
  MDB_val found;
  int rc = mdb_get(txn, index->tables[t], &key, &found);
  if (rc != 0) return status_of(rc);
  int32_t status = checked(&key, &found, len);
  if (status == DEAI_OK) memcpy(value, found.mv_data, len);
  return status;
}

static int32_t drop_key(blocks_index *index, blocks_txn *txn, table t, MDB_val key) {
  int rc = mdb_del(txn, index->tables[t], &key, NULL);
  return rc == MDB_NOTFOUND ? DEAI_OK : status_of(rc);
}

/* --- life --- */

static const char head_key[] = "head";

static int32_t head_read(blocks_index *index, blocks_txn *txn, blocks_head *out) {
  uint8_t value[HEAD_VALUE_BYTES];
  int32_t status =
      get_checked(index, txn, TABLE_HEAD, val_of(head_key, sizeof head_key), value, sizeof value);
  if (status != DEAI_OK) return status;
  if (blocks_get_u32(value) != LAYOUT_VERSION) return DEAI_EVERIFY;
  *out = (blocks_head){.collection = blocks_get_u32(value + 4),
                       .pack = blocks_get_u64(value + 8),
                       .pack_end = blocks_get_u64(value + 16),
                       .next_file = blocks_get_u64(value + 24),
                       .next_pack = blocks_get_u64(value + 32),
                       .pins_changed = blocks_get_u64(value + 40)};
  return DEAI_OK;
}

int32_t blocks_index_head_put(blocks_index *index, blocks_txn *txn, const blocks_head *head) {
  uint8_t value[HEAD_VALUE_BYTES];
  blocks_put_u32(value, LAYOUT_VERSION);
  blocks_put_u32(value + 4, head->collection);
  blocks_put_u64(value + 8, head->pack);
  blocks_put_u64(value + 16, head->pack_end);
  blocks_put_u64(value + 24, head->next_file);
  blocks_put_u64(value + 32, head->next_pack);
  blocks_put_u64(value + 40, head->pins_changed);
  return put_checked(index, txn, TABLE_HEAD, val_of(head_key, sizeof head_key), value,
                     sizeof value);
}

static int32_t open_tables(blocks_index *index, bool *fresh_out, blocks_head *head,
                           blocks_error *err) {
  MDB_txn *txn = NULL;
  int rc = mdb_txn_begin(index->env, NULL, 0, &txn);
  if (rc != 0) return fail(err, rc, "first transaction");
  for (int i = 0; i < TABLES && rc == 0; i++)
    rc = mdb_dbi_open(txn, table_names[i], MDB_CREATE, &index->tables[i]);
  MDB_stat stat = {0};
  if (rc == 0) rc = mdb_stat(txn, index->tables[TABLE_HEAD], &stat);
  if (rc != 0) {
    mdb_txn_abort(txn);
    return fail(err, rc, "tables");
  }
  *fresh_out = stat.ms_entries == 0;
  int32_t status = *fresh_out ? DEAI_OK : head_read(index, txn, head);
  if (status != DEAI_OK) {
    mdb_txn_abort(txn);
    return blocks_fail(err, DEAI_EVERIFY, "index: its head is damaged or of another layout");
  }
  return blocks_index_commit(txn, err);
}

int32_t blocks_index_open(const char *folder, blocks_index **out, bool *fresh_out,
                          blocks_head *head_out, blocks_error *err) {
  blocks_index *index = calloc(1, sizeof *index);
  if (index == NULL) return blocks_fail(err, DEAI_ENOMEM, "index: no memory");
  (void)pthread_mutex_init(&index->pool_mutex, NULL);
  int rc = mdb_env_create(&index->env);
  if (rc == 0) rc = mdb_env_set_maxdbs(index->env, TABLES);
  if (rc == 0) rc = mdb_env_set_mapsize(index->env, BLOCKS_INDEX_BYTES_MAX);
  if (rc == 0) rc = mdb_env_open(index->env, folder, MDB_NOTLS | MDB_NORDAHEAD, 0600);
  *head_out = (blocks_head){0};
  int32_t status =
      rc == 0 ? open_tables(index, fresh_out, head_out, err) : fail(err, rc, "not opened");
  if (status == DEAI_OK)
    *out = index;
  else
    blocks_index_close(index);
  return status;
}

void blocks_index_close(blocks_index *index) {
  if (index == NULL) return;
  for (uint32_t i = 0; i < index->pool_count; i++)
    mdb_txn_abort(index->pool[i]);
  if (index->env != NULL) mdb_env_close(index->env);
  (void)pthread_mutex_destroy(&index->pool_mutex);
  free(index);
}

int32_t blocks_index_read(blocks_index *index, blocks_txn **out, blocks_error *err) {
  MDB_txn *txn = NULL;
  (void)pthread_mutex_lock(&index->pool_mutex);
  if (index->pool_count > 0) txn = index->pool[--index->pool_count];
  (void)pthread_mutex_unlock(&index->pool_mutex);
  int rc = txn ? mdb_txn_renew(txn) : mdb_txn_begin(index->env, NULL, MDB_RDONLY, &txn);
  if (rc != 0) {
    if (txn != NULL) mdb_txn_abort(txn);
    return fail(err, rc, "read transaction");
  }
  *out = txn;
  return DEAI_OK;
}

void blocks_index_read_done(blocks_index *index, blocks_txn *txn) {
  mdb_txn_reset(txn);
  (void)pthread_mutex_lock(&index->pool_mutex);
  bool kept = index->pool_count < TXN_POOL_MAX;
  if (kept) index->pool[index->pool_count++] = txn;
  (void)pthread_mutex_unlock(&index->pool_mutex);
  if (!kept) mdb_txn_abort(txn);
}

int32_t blocks_index_write(blocks_index *index, blocks_txn **out, blocks_error *err) {
  int rc = mdb_txn_begin(index->env, NULL, 0, out);
  return rc == 0 ? DEAI_OK : fail(err, rc, "write transaction");
}

int32_t blocks_index_commit(blocks_txn *txn, blocks_error *err) {
  int rc = mdb_txn_commit(txn);
  return rc == 0 ? DEAI_OK : fail(err, rc, "commit");
}

void blocks_index_abort(blocks_txn *txn) {
  mdb_txn_abort(txn);
}

/* --- places --- */

uint32_t blocks_index_key(const blocks_place *place, uint8_t key[BLOCKS_PLACE_KEY_MAX]) {
  memcpy(key, place->cid.bytes, place->cid.len);
  put_be64(key + place->cid.len, place->store);
  put_be64(key + place->cid.len + 8, place->offset);
  return (uint32_t)place->cid.len + 16;
}

static int32_t place_of(const MDB_val *key, const MDB_val *value, blocks_place *out) {
  size_t used = 0;
  *out = (blocks_place){.flags = UINT32_MAX};
  deai_bytes bytes = deai_bytes_of(key->mv_data, key->mv_size);
  if (blocks_cid_read(bytes, &out->cid, &used, NULL) != DEAI_OK || key->mv_size != used + 16)
    return DEAI_EVERIFY;
  out->store = get_be64(bytes.ptr + used);
  out->offset = get_be64(bytes.ptr + used + 8);
  if (checked(key, value, PLACE_VALUE_BYTES) != DEAI_OK) return DEAI_EVERIFY;
  const uint8_t *at = value->mv_data;
  out->len = blocks_get_u32(at);
  out->crc = blocks_get_u32(at + 4);
  out->flags = blocks_get_u32(at + 8);
  out->born = blocks_get_u32(at + 12);
  return DEAI_OK;
}

int32_t blocks_index_places(blocks_index *index, blocks_txn *txn, const blocks_cid *cid,
                            const blocks_place *after, blocks_place *places, uint32_t max) {
  uint8_t room[BLOCKS_PLACE_KEY_MAX];
  MDB_cursor *cursor;
  MDB_val value;
  MDB_val key = val_of(cid->bytes, cid->len);
  if (after != NULL) key = val_of(room, blocks_index_key(after, room));
  int rc = mdb_cursor_open(txn, index->tables[TABLE_PLACE], &cursor);
  if (rc != 0) return status_of(rc);
  uint32_t count = 0;
  MDB_val start = key;
  rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
  if (rc == 0 && after != NULL && key.mv_size == start.mv_size &&
      memcmp(key.mv_data, room, key.mv_size) == 0)
    rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
  while (rc == 0 && count < max && key.mv_size == cid->len + 16u &&
         memcmp(key.mv_data, cid->bytes, cid->len) == 0) {
    if (place_of(&key, &value, &places[count]) == DEAI_OK) count++;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
  }
  mdb_cursor_close(cursor);
  return rc == 0 || rc == MDB_NOTFOUND ? (int32_t)count : status_of(rc);
}

int32_t blocks_index_scan(blocks_index *index, blocks_txn *txn,
                          uint8_t key_io[BLOCKS_PLACE_KEY_MAX], uint32_t *key_len,
                          blocks_place *places, uint32_t max) {
  MDB_cursor *cursor;
  MDB_val key = val_of(key_io, *key_len);
  MDB_val value;
  int rc = mdb_cursor_open(txn, index->tables[TABLE_PLACE], &cursor);
  if (rc != 0) return status_of(rc);
  rc = mdb_cursor_get(cursor, &key, &value, *key_len ? MDB_SET_RANGE : MDB_FIRST);
  if (rc == 0 && *key_len && key.mv_size == *key_len && memcmp(key.mv_data, key_io, *key_len) == 0)
    rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
  uint32_t count = 0;
  while (rc == 0 && count < max) {
    if (place_of(&key, &value, &places[count]) != DEAI_OK) places[count].flags = UINT32_MAX;
    count++;
    if (key.mv_size <= BLOCKS_PLACE_KEY_MAX) {
      *key_len = (uint32_t)key.mv_size;
      memcpy(key_io, key.mv_data, key.mv_size);
    }
    rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
  }
  mdb_cursor_close(cursor);
  return rc == 0 || rc == MDB_NOTFOUND ? (int32_t)count : status_of(rc);
}

int32_t blocks_index_place_put(blocks_index *index, blocks_txn *txn, const blocks_place *place) {
  uint8_t key[BLOCKS_PLACE_KEY_MAX];
  uint8_t value[PLACE_VALUE_BYTES];
  uint32_t key_len = blocks_index_key(place, key);
  blocks_put_u32(value, place->len);
  blocks_put_u32(value + 4, place->crc);
  blocks_put_u32(value + 8, place->flags);
  blocks_put_u32(value + 12, place->born);
  return put_checked(index, txn, TABLE_PLACE, val_of(key, key_len), value, sizeof value);
}

int32_t blocks_index_place_drop(blocks_index *index, blocks_txn *txn, const blocks_place *place) {
  uint8_t key[BLOCKS_PLACE_KEY_MAX];
  return drop_key(index, txn, TABLE_PLACE, val_of(key, blocks_index_key(place, key)));
}

int32_t blocks_index_place_has(blocks_index *index, blocks_txn *txn, const blocks_place *place) {
  uint8_t bytes[BLOCKS_PLACE_KEY_MAX];
  MDB_val key = val_of(bytes, blocks_index_key(place, bytes));
  MDB_val value;
  int rc = mdb_get(txn, index->tables[TABLE_PLACE], &key, &value);
  return rc == 0 ? 1 : rc == MDB_NOTFOUND ? 0 : status_of(rc);
}

int32_t blocks_index_list(blocks_index *index, blocks_txn *txn, const blocks_cid *after,
                          blocks_cid *cids, uint32_t max) {
  uint8_t bytes[BLOCKS_PLACE_KEY_MAX];
  MDB_cursor *cursor;
  MDB_val value;
  MDB_val key = {0};
  if (after != NULL) { /* behind every place of after */
    memcpy(bytes, after->bytes, after->len);
    memset(bytes + after->len, 0xff, 16);
    key = val_of(bytes, after->len + 16u);
  }
  int rc = mdb_cursor_open(txn, index->tables[TABLE_PLACE], &cursor);
  if (rc != 0) return status_of(rc);
  uint32_t count = 0;
  rc = mdb_cursor_get(cursor, &key, &value, after ? MDB_SET_RANGE : MDB_FIRST);
  while (rc == 0 && count < max) {
    blocks_place place;
    bool here = place_of(&key, &value, &place) == DEAI_OK && (place.flags & BLOCKS_PLACE_HERE);
    if (here && (count == 0 || !blocks_cid_equal(&place.cid, &cids[count - 1])))
      cids[count++] = place.cid;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
  }
  mdb_cursor_close(cursor);
  return rc == 0 || rc == MDB_NOTFOUND ? (int32_t)count : status_of(rc);
}

/* --- files --- */

static int32_t file_of(const MDB_val *key, const MDB_val *value, blocks_file_spec *out) {
  if (key->mv_size != 8 || checked(key, value, FILE_VALUE_BYTES) != DEAI_OK) return DEAI_EVERIFY;
  const uint8_t *at = value->mv_data;
  *out = (blocks_file_spec){.number = get_be64(key->mv_data),
                            .size = blocks_get_u64(at),
                            .leaf_bytes = blocks_get_u32(at + 8),
                            .leaves = blocks_get_u32(at + 12),
                            .have = blocks_get_u32(at + 16),
                            .born = blocks_get_u32(at + 20)};
  uint32_t len = blocks_get_u32(at + 24);
  if (len > BLOCKS_CID_BYTES_MAX) return DEAI_EVERIFY;
  return blocks_cid_of_bytes(deai_bytes_of(at + 28, len), &out->root, NULL);
}

int32_t blocks_index_file(blocks_index *index, blocks_txn *txn, uint64_t number,
                          blocks_file_spec *out) {
  uint8_t bytes[8];
  MDB_val value;
  put_be64(bytes, number);
  MDB_val key = val_of(bytes, sizeof bytes);
  int rc = mdb_get(txn, index->tables[TABLE_FILE], &key, &value);
  return rc == 0 ? file_of(&key, &value, out) : status_of(rc);
}

int32_t blocks_index_file_of_root(blocks_index *index, blocks_txn *txn, const blocks_cid *root,
                                  blocks_file_spec *out) {
  uint8_t value[8];
  int32_t status =
      get_checked(index, txn, TABLE_ROOT, val_of(root->bytes, root->len), value, sizeof value);
  return status == DEAI_OK ? blocks_index_file(index, txn, blocks_get_u64(value), out) : status;
}

int32_t blocks_index_file_next(blocks_index *index, blocks_txn *txn, uint64_t number,
                               blocks_file_spec *out) {
  uint8_t bytes[8];
  MDB_cursor *cursor;
  MDB_val value;
  put_be64(bytes, number + 1);
  MDB_val key = val_of(bytes, sizeof bytes);
  int rc = mdb_cursor_open(txn, index->tables[TABLE_FILE], &cursor);
  if (rc != 0) return status_of(rc);
  rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
  while (rc == 0 && file_of(&key, &value, out) != DEAI_OK)
    rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
  mdb_cursor_close(cursor);
  return status_of(rc);
}

int32_t blocks_index_file_put(blocks_index *index, blocks_txn *txn, const blocks_file_spec *file,
                              bool as_root) {
  uint8_t key[8];
  uint8_t number[8];
  uint8_t value[FILE_VALUE_BYTES] = {0};
  put_be64(key, file->number);
  blocks_put_u64(number, file->number);
  blocks_put_u64(value, file->size);
  blocks_put_u32(value + 8, file->leaf_bytes);
  blocks_put_u32(value + 12, file->leaves);
  blocks_put_u32(value + 16, file->have);
  blocks_put_u32(value + 20, file->born);
  blocks_put_u32(value + 24, file->root.len);
  memcpy(value + 28, file->root.bytes, file->root.len);
  int32_t status =
      put_checked(index, txn, TABLE_FILE, val_of(key, sizeof key), value, sizeof value);
  if (status != DEAI_OK || !as_root) return status;
  return put_checked(index, txn, TABLE_ROOT, val_of(file->root.bytes, file->root.len), number,
                     sizeof number);
}

static void bits_key(uint8_t key[12], uint64_t number, uint32_t segment) {
  put_be64(key, number);
  for (int i = 0; i < 4; i++)
    key[8 + i] = (uint8_t)(segment >> (24 - 8 * i));
}

int32_t blocks_index_file_drop(blocks_index *index, blocks_txn *txn, const blocks_file_spec *file) {
  uint8_t key[12];
  int32_t status = DEAI_OK;
  uint32_t segments = file->leaves / BLOCKS_SEGMENT_LEAVES + 1;
  for (uint32_t i = 0; i < segments && status == DEAI_OK; i++) {
    bits_key(key, file->number, i);
    status = drop_key(index, txn, TABLE_BITS, val_of(key, sizeof key));
  }
  put_be64(key, file->number);
  if (status == DEAI_OK) status = drop_key(index, txn, TABLE_FILE, val_of(key, 8));
  if (status != DEAI_OK) return status;
  MDB_val root = val_of(file->root.bytes, file->root.len);
  uint8_t number[8];
  status = get_checked(index, txn, TABLE_ROOT, root, number, sizeof number);
  if (status == DEAI_OK && blocks_get_u64(number) != file->number) return DEAI_OK;
  return status == DEAI_ENOTFOUND ? DEAI_OK : drop_key(index, txn, TABLE_ROOT, root);
}

int32_t blocks_index_bits(blocks_index *index, blocks_txn *txn, uint64_t number, uint32_t segment,
                          uint8_t bits[BLOCKS_SEGMENT_BYTES]) {
  uint8_t key[12];
  bits_key(key, number, segment);
  int32_t status =
      get_checked(index, txn, TABLE_BITS, val_of(key, sizeof key), bits, BLOCKS_SEGMENT_BYTES);
  if (status == DEAI_OK) return DEAI_OK;
  memset(bits, 0, BLOCKS_SEGMENT_BYTES); /* not known to be here: fetched again */
  return status == DEAI_ENOTFOUND || status == DEAI_EVERIFY ? DEAI_OK : status;
}

int32_t blocks_index_bits_put(blocks_index *index, blocks_txn *txn, uint64_t number,
                              uint32_t segment, const uint8_t bits[BLOCKS_SEGMENT_BYTES]) {
  uint8_t key[12];
  bits_key(key, number, segment);
  return put_checked(index, txn, TABLE_BITS, val_of(key, sizeof key), bits, BLOCKS_SEGMENT_BYTES);
}

/* --- pins and sets --- */

int32_t blocks_index_pin(blocks_index *index, blocks_txn *txn, const blocks_cid *cid,
                         uint64_t *count_out) {
  uint8_t value[8];
  int32_t status =
      get_checked(index, txn, TABLE_PIN, val_of(cid->bytes, cid->len), value, sizeof value);
  *count_out = status == DEAI_OK ? blocks_get_u64(value) : 0;
  return status == DEAI_ENOTFOUND ? DEAI_OK : status;
}

int32_t blocks_index_pin_put(blocks_index *index, blocks_txn *txn, const blocks_cid *cid,
                             uint64_t count) {
  uint8_t value[8];
  MDB_val key = val_of(cid->bytes, cid->len);
  if (count == 0) return drop_key(index, txn, TABLE_PIN, key);
  blocks_put_u64(value, count);
  return put_checked(index, txn, TABLE_PIN, key, value, sizeof value);
}

static MDB_dbi set_table(const blocks_index *index, blocks_set set) {
  return index->tables[set == BLOCKS_SET_PIN    ? TABLE_PIN
                       : set == BLOCKS_SET_MARK ? TABLE_MARK
                                                : TABLE_TODO];
}

int32_t blocks_index_set_list(blocks_index *index, blocks_txn *txn, blocks_set set,
                              const blocks_cid *after, blocks_cid *cids, uint32_t max) {
  MDB_cursor *cursor;
  MDB_val value;
  MDB_val key = {0};
  if (after != NULL) key = val_of(after->bytes, after->len);
  int rc = mdb_cursor_open(txn, set_table(index, set), &cursor);
  if (rc != 0) return status_of(rc);
  rc = mdb_cursor_get(cursor, &key, &value, after ? MDB_SET_RANGE : MDB_FIRST);
  if (rc == 0 && after != NULL && key.mv_size == after->len &&
      memcmp(key.mv_data, after->bytes, after->len) == 0)
    rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
  uint32_t count = 0;
  while (rc == 0 && count < max) {
    deai_bytes bytes = deai_bytes_of(key.mv_data, key.mv_size);
    if (blocks_cid_of_bytes(bytes, &cids[count], NULL) == DEAI_OK) count++;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
  }
  mdb_cursor_close(cursor);
  return rc == 0 || rc == MDB_NOTFOUND ? (int32_t)count : status_of(rc);
}

int32_t blocks_index_set_add(blocks_index *index, blocks_txn *txn, blocks_set set,
                             const blocks_cid *cid) {
  MDB_val key = val_of(cid->bytes, cid->len);
  MDB_val value = val_of("", 0);
  int rc = mdb_put(txn, set_table(index, set), &key, &value, MDB_NOOVERWRITE);
  return rc == 0 ? 1 : rc == MDB_KEYEXIST ? 0 : status_of(rc);
}

int32_t blocks_index_set_has(blocks_index *index, blocks_txn *txn, blocks_set set,
                             const blocks_cid *cid) {
  MDB_val key = val_of(cid->bytes, cid->len);
  MDB_val value;
  int rc = mdb_get(txn, set_table(index, set), &key, &value);
  return rc == 0 ? 1 : rc == MDB_NOTFOUND ? 0 : status_of(rc);
}

int32_t blocks_index_set_drop(blocks_index *index, blocks_txn *txn, blocks_set set,
                              const blocks_cid *cid) {
  MDB_val key = val_of(cid->bytes, cid->len);
  int rc = mdb_del(txn, set_table(index, set), &key, NULL);
  return rc == MDB_NOTFOUND ? DEAI_OK : status_of(rc);
}

int32_t blocks_index_set_clear(blocks_index *index, blocks_txn *txn, blocks_set set) {
  return status_of(mdb_drop(txn, set_table(index, set), 0));
}

int32_t blocks_index_counts(blocks_index *index, blocks_txn *txn, uint64_t *places, uint64_t *files,
                            uint64_t *pins) {
  MDB_stat stat;
  int rc = mdb_stat(txn, index->tables[TABLE_PLACE], &stat);
  if (rc == 0) *places = stat.ms_entries;
  if (rc == 0) rc = mdb_stat(txn, index->tables[TABLE_FILE], &stat);
  if (rc == 0) *files = stat.ms_entries;
  if (rc == 0) rc = mdb_stat(txn, index->tables[TABLE_PIN], &stat);
  if (rc == 0) *pins = stat.ms_entries;
  return status_of(rc);
}
