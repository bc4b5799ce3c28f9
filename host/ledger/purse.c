#include "purse.h"

#include "deai/plugin.h"
#include "host/base/file.h"
#include "host/base/hash.h"
#include "host/base/log.h"

#include <lmdb.h>

#include <pthread.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define CRC_BYTES 4u

typedef struct item {
  struct item *next;
  uint32_t key_len;
  uint32_t value_len; /* with its checksum; 0 = remove */
  uint8_t bytes[];    /* key, value, checksum */
} item;

typedef struct waiter {
  struct waiter *next;
  void *user;
  deai_purse_done *done;
} waiter;

/* What goes to the disk together, and who waits for it. */
typedef struct batch {
  item *items;
  item **last_item;
  waiter *waiters;
  waiter **last_waiter;
} batch;

struct deai_purse {
  deai_loop *loop;
  MDB_env *env;
  MDB_dbi dbi;
  batch queued;
  batch writing;
  bool asked;     /* somebody waits for the queue */
  bool busy;      /* `writing` is on its way */
  int32_t status; /* of the last commit; the first failure stays */
  pthread_mutex_t lock;
  pthread_cond_t idle;
  bool running; /* under lock: a worker has `writing` */
};

static void batch_start(batch *at) {
  *at = (batch){0};
  at->last_item = &at->items;
  at->last_waiter = &at->waiters;
}

static void batch_free_items(batch *at) {
  while (at->items != NULL) {
    item *gone = at->items;
    at->items = gone->next;
    free(gone);
  }
  at->last_item = &at->items;
}

static void put_crc(uint8_t *out, deai_bytes value) {
  uint32_t crc = deai_crc32c(DEAI_CRC32C_START, value);
  for (uint32_t i = 0; i < CRC_BYTES; i++)
    out[i] = (uint8_t)(crc >> (8 * i));
}

int32_t deai_purse_put(deai_purse *purse, deai_bytes key, deai_bytes value) {
  if (key.len == 0 || key.len > DEAI_PURSE_KEY_MAX || value.len > DEAI_PURSE_VALUE_MAX)
    return DEAI_ETOOLARGE;
  item *made = malloc(sizeof *made + (size_t)(key.len + value.len) + CRC_BYTES);
  if (made == NULL) return DEAI_ENOMEM;
  made->next = NULL;
  made->key_len = (uint32_t)key.len;
  made->value_len = value.len > 0 ? (uint32_t)value.len + CRC_BYTES : 0;
  memcpy(made->bytes, key.ptr, (size_t)key.len);
  if (value.len > 0) {
    memcpy(made->bytes + key.len, value.ptr, (size_t)value.len);
    put_crc(made->bytes + key.len + value.len, value);
  }
  *purse->queued.last_item = made;
  purse->queued.last_item = &made->next;
  return DEAI_OK;
}

static int item_write(MDB_txn *txn, MDB_dbi dbi, item *at) {
  MDB_val key = {at->key_len, at->bytes};
  MDB_val value = {at->value_len, at->bytes + at->key_len};
  if (at->value_len > 0) return mdb_put(txn, dbi, &key, &value, 0);
  int code = mdb_del(txn, dbi, &key, NULL);
  return code == MDB_NOTFOUND ? MDB_SUCCESS : code;
}

/* commit writes a batch in one durable transaction. */
static int32_t commit(deai_purse *purse, const batch *at) {
  MDB_txn *txn = NULL;
  if (at->items == NULL) return DEAI_OK;
  int code = mdb_txn_begin(purse->env, NULL, 0, &txn);
  for (item *one = at->items; one != NULL && code == MDB_SUCCESS; one = one->next)
    code = item_write(txn, purse->dbi, one);
  if (code == MDB_SUCCESS) {
    code = mdb_txn_commit(txn);
  } else if (txn != NULL) {
    mdb_txn_abort(txn);
  }
  if (code == MDB_SUCCESS) return DEAI_OK;
  deai_log(DEAI_LEVEL_ERROR, "pay", "the purse was not written: %s", mdb_strerror(code));
  return code == MDB_MAP_FULL ? DEAI_EFULL : DEAI_EIO;
}

static void written(void *user);

static void work(void *user) {
  deai_purse *purse = user;
  int32_t status = purse->status != DEAI_OK ? purse->status : commit(purse, &purse->writing);
  (void)pthread_mutex_lock(&purse->lock);
  purse->status = status;
  purse->running = false;
  deai_loop_task(purse->loop, written, purse);
  (void)pthread_cond_signal(&purse->idle);
  (void)pthread_mutex_unlock(&purse->lock);
}

static void work_over(void *user) {
  (void)user; /* `written` was asked by the work itself, so that free can wait for it */
}

static void begin(deai_purse *purse) {
  if (!purse->asked || purse->busy) return;
  purse->asked = false;
  purse->busy = true;
  purse->writing = purse->queued;
  batch_start(&purse->queued);
  (void)pthread_mutex_lock(&purse->lock);
  purse->running = true;
  (void)pthread_mutex_unlock(&purse->lock);
  deai_loop_work(purse->loop, work, work_over, purse);
}

static void waiters_tell(batch *at, int32_t status) {
  while (at->waiters != NULL) {
    waiter *next = at->waiters;
    at->waiters = next->next;
    if (next->done != NULL) next->done(next->user, status);
    free(next);
  }
}

static void written(void *user) {
  deai_purse *purse = user;
  batch over = purse->writing;
  batch_start(&purse->writing);
  purse->busy = false;
  batch_free_items(&over);
  waiters_tell(&over, purse->status);
  begin(purse);
}

typedef struct refused {
  void *user;
  deai_purse_done *done;
} refused;

static void refused_task(void *user) {
  refused *what = user;
  what->done(what->user, DEAI_ENOMEM);
  free(what);
}

void deai_purse_sync(deai_purse *purse, void *user, deai_purse_done *done) {
  if (done != NULL) {
    waiter *made = calloc(1, sizeof *made);
    refused *spare = made == NULL ? malloc(sizeof *spare) : NULL;
    if (spare != NULL) {
      *spare = (refused){user, done};
      deai_loop_task(purse->loop, refused_task, spare);
    }
    if (made == NULL) return;
    made->user = user;
    made->done = done;
    *purse->queued.last_waiter = made;
    purse->queued.last_waiter = &made->next;
  }
  purse->asked = true;
  begin(purse);
}

static int32_t value_open(const MDB_val *value, deai_bytes *out) {
  uint8_t crc[CRC_BYTES];
  if (value->mv_size < CRC_BYTES) return DEAI_EVERIFY;
  *out = deai_bytes_of(value->mv_data, value->mv_size - CRC_BYTES);
  put_crc(crc, *out);
  return memcmp(crc, out->ptr + out->len, CRC_BYTES) == 0 ? DEAI_OK : DEAI_EVERIFY;
}

int32_t deai_purse_each(deai_purse *purse, deai_bytes prefix, void *user,
                        int32_t (*each)(void *user, deai_bytes key, deai_bytes value)) {
  MDB_txn *txn = NULL;
  MDB_cursor *cursor = NULL;
  MDB_val key = {prefix.len, (void *)(uintptr_t)prefix.ptr};
  MDB_val value;
  int32_t status = DEAI_OK;
  if (mdb_txn_begin(purse->env, NULL, MDB_RDONLY, &txn) != MDB_SUCCESS) return DEAI_EIO;
  int code = mdb_cursor_open(txn, purse->dbi, &cursor);
  if (code == MDB_SUCCESS)
    code = mdb_cursor_get(cursor, &key, &value, prefix.len > 0 ? MDB_SET_RANGE : MDB_FIRST);
  while (code == MDB_SUCCESS && status == DEAI_OK) {
    deai_bytes bytes;
    if (key.mv_size < prefix.len || memcmp(key.mv_data, prefix.ptr, (size_t)prefix.len) != 0) break;
    status = value_open(&value, &bytes);
    if (status == DEAI_OK) status = each(user, deai_bytes_of(key.mv_data, key.mv_size), bytes);
    if (status == DEAI_OK) code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
  }
  if (cursor != NULL) mdb_cursor_close(cursor);
  mdb_txn_abort(txn);
  if (code != MDB_SUCCESS && code != MDB_NOTFOUND) return DEAI_EIO;
  return status;
}

static int env_open(deai_purse *purse, const char *folder) {
  MDB_txn *txn = NULL;
  int code = mdb_env_create(&purse->env);
  if (code == MDB_SUCCESS) code = mdb_env_set_mapsize(purse->env, (size_t)DEAI_PURSE_MAP_BYTES);
  if (code == MDB_SUCCESS) code = mdb_env_open(purse->env, folder, MDB_NOTLS, 0600);
  if (code == MDB_SUCCESS) code = mdb_txn_begin(purse->env, NULL, 0, &txn);
  if (code != MDB_SUCCESS) return code;
  code = mdb_dbi_open(txn, NULL, MDB_CREATE, &purse->dbi);
  if (code == MDB_SUCCESS) return mdb_txn_commit(txn);
  mdb_txn_abort(txn);
  return code;
}

int32_t deai_purse_open(deai_loop *loop, const char *folder, deai_purse **purse_out, char *err,
                        uint32_t err_cap) {
  int32_t status = deai_folder_make(folder, 0700, err, err_cap);
  if (status != DEAI_OK) return status;
  deai_purse *purse = calloc(1, sizeof *purse);
  if (purse == NULL) return DEAI_ENOMEM;
  purse->loop = loop;
  batch_start(&purse->queued);
  batch_start(&purse->writing);
  (void)pthread_mutex_init(&purse->lock, NULL);
  (void)pthread_cond_init(&purse->idle, NULL);
  int code = env_open(purse, folder);
  if (code != MDB_SUCCESS) {
    deai_purse_free(purse);
    return deai_err(err, err_cap, DEAI_EIO, "%s: expected the records of payments, found: %s",
                    folder, mdb_strerror(code));
  }
  status = deai_folder_sync(folder, err, err_cap); /* the name of the file is durable as well */
  if (status != DEAI_OK) {
    deai_purse_free(purse);
    return status;
  }
  *purse_out = purse;
  return DEAI_OK;
}

void deai_purse_free(deai_purse *purse) {
  if (purse == NULL) return;
  if (deai_loop_workers(purse->loop) == 0) deai_loop_drain(purse->loop);
  (void)pthread_mutex_lock(&purse->lock);
  while (purse->running)
    (void)pthread_cond_wait(&purse->idle, &purse->lock);
  (void)pthread_mutex_unlock(&purse->lock);
  purse->asked = false; /* what is queued is written below */
  deai_loop_drain(purse->loop);
  if (purse->env != NULL && purse->status == DEAI_OK) purse->status = commit(purse, &purse->queued);
  batch_free_items(&purse->queued);
  while (purse->queued.waiters != NULL) {
    waiter *gone = purse->queued.waiters;
    purse->queued.waiters = gone->next;
    free(gone);
  }
  if (purse->env != NULL) mdb_env_close(purse->env);
  (void)pthread_mutex_destroy(&purse->lock);
  (void)pthread_cond_destroy(&purse->idle);
  free(purse);
}
