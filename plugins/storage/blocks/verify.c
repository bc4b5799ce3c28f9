#include "store_private.h"

#include <stdlib.h>

#include "host/base/banned.h"

#define VERIFY_PLACES_MAX 256 /* read between two looks at the index */

typedef struct verifying {
  blocks_store *store;
  blocks_verify *state;
  blocks_place *places;
  blocks_buf buf;
  void *user;
  blocks_bad *bad;
} verifying;

static int32_t next_places(verifying *v, uint32_t *count_out, blocks_error *err) {
  blocks_txn *txn;
  uint64_t files;
  uint64_t pins;
  int32_t status = blocks_index_read(v->store->index, &txn, err);
  if (status != DEAI_OK) return status;
  status = blocks_index_counts(v->store->index, txn, &v->state->of, &files, &pins);
  int32_t count = status != DEAI_OK
                      ? status
                      : blocks_index_scan(v->store->index, txn, v->state->key, &v->state->key_len,
                                          v->places, VERIFY_PLACES_MAX);
  blocks_index_read_done(v->store->index, txn);
  if (count < 0) return blocks_fail(err, count, "index: not read to its end");
  *count_out = (uint32_t)count;
  return DEAI_OK;
}

/* 1 = damaged; a damaged index entry counts too and is dropped with its place */
static int32_t check_place(verifying *v, const blocks_place *place, blocks_error *err) {
  if (place->flags == UINT32_MAX) return 1;
  if ((place->flags & BLOCKS_PLACE_HERE) == 0) return 0;
  int32_t status = blocks_place_read(v->store, place, true, &v->buf, err);
  if (status == DEAI_EVERIFY || status == DEAI_ENOTFOUND) return 1;
  return status;
}

static int32_t settle_bad(verifying *v, const blocks_place *place, blocks_error *err) {
  int32_t marked = blocks_store_mark_missing(v->store, place, 1, err);
  if (marked <= 0) return marked; /* moved or dropped while it was read: not bad */
  v->state->bad++;
  if (v->bad != NULL) v->bad(v->user, &place->cid);
  return DEAI_OK;
}

static int32_t verify_round(verifying *v, uint64_t *bytes, blocks_error *err) {
  uint32_t count = 0;
  int32_t status = next_places(v, &count, err);
  if (status != DEAI_OK) return status;
  v->state->finished = count == 0;
  for (uint32_t i = 0; i < count && status >= DEAI_OK; i++) {
    status = check_place(v, &v->places[i], err);
    if (status == 1) status = settle_bad(v, &v->places[i], err);
    v->state->done++;
    *bytes += v->places[i].len;
  }
  return status;
}

int32_t blocks_store_verify(blocks_store *store, blocks_verify *state, uint64_t bytes_step,
                            blocks_error *err, void *user, blocks_bad *bad) {
  verifying v = {.store = store, .state = state, .user = user, .bad = bad};
  v.places = malloc(VERIFY_PLACES_MAX * sizeof *v.places);
  if (v.places == NULL) return blocks_fail(err, DEAI_ENOMEM, "verify: no memory");
  uint64_t bytes = 0;
  int32_t status = DEAI_OK;
  do {
    status = verify_round(&v, &bytes, err);
  } while (status == DEAI_OK && !state->finished && bytes < bytes_step);
  free(v.places);
  blocks_buf_free(&v.buf);
  return status;
}
