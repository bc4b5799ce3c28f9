#include "tests/plugins/storage/blocks/vectors.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define CELLS_MAX 8

void tally_row(tally *t, const json_t *row, int32_t status) {
  if (status == DEAI_OK) {
    t->passed++;
  } else if (status == DEAI_EUNSUPPORTED) {
    t->not_in_build++;
  } else {
    t->failed++;
    char *text = row ? json_dumps(row, JSON_COMPACT) : NULL;
    printf("failed with %s: %.300s\n", deai_status_name(status), text ? text : "(row)");
    free(text);
  }
}

void keystream(const char *seed, uint64_t offset, uint8_t *out, size_t len) {
  uint8_t key[32];
  static const uint8_t nonce[12];
  ck_assert_uint_eq(offset % 64, 0);
  (void)crypto_hash_sha256(key, (const uint8_t *)seed, strlen(seed));
  memset(out, 0, len);
  if (len > 0)
    (void)crypto_stream_chacha20_ietf_xor_ic(out, out, len, nonce, (uint32_t)(offset / 64), key);
}

typedef struct csv_job {
  const char *name;
  csv_row *row;
  void *user;
  size_t count;
} csv_job;

static char *strip(char *cell) {
  while (*cell == ' ' || *cell == '"')
    cell++;
  size_t len = strlen(cell);
  while (len > 0 && strchr(" \"\r\n", cell[len - 1]) != NULL)
    cell[--len] = 0;
  return cell;
}

static void csv_of_folder(const char *folder, void *user) {
  csv_job *job = user;
  char path[8448];
  char line[4096];
  (void)snprintf(path, sizeof path, "%s/%s", folder, job->name);
  FILE *file = fopen(path, "r");
  if (file == NULL) return;
  bool first = true;
  while (fgets(line, sizeof line, file) != NULL) {
    char *cells[CELLS_MAX];
    size_t count = 0;
    char *at = line;
    while (at != NULL && count < CELLS_MAX) {
      char *comma = strchr(at, ',');
      if (comma != NULL) *comma = 0;
      cells[count++] = strip(at);
      at = comma ? comma + 1 : NULL;
    }
    if (count > 1 && !first) job->count++;
    if (count > 1) job->row(cells, first ? 0 : count, job->user);
    first = false;
  }
  (void)fclose(file);
}

size_t csv_rows(const char *area, const char *name, csv_row *row, void *user) {
  csv_job job = {.name = name, .row = row, .user = user};
  (void)testing_vectors_each(area, csv_of_folder, &job);
  return job.count;
}

typedef struct memory_block {
  struct memory_block *next;
  blocks_cid cid;
  blocks_buf data;
} memory_block;

#define MEMORY_SLOTS 4096

struct memory_store {
  memory_block *slots[MEMORY_SLOTS];
};

static memory_block **slot_of(memory_store *store, const blocks_cid *cid) {
  return &store->slots[blocks_crc32c(0, cid->bytes, cid->len) % MEMORY_SLOTS];
}

memory_store *memory_store_new(void) {
  memory_store *store = calloc(1, sizeof *store);
  ck_assert_ptr_nonnull(store);
  return store;
}

void memory_store_free(memory_store *store) {
  for (size_t i = 0; i < MEMORY_SLOTS; i++) {
    while (store->slots[i] != NULL) {
      memory_block *block = store->slots[i];
      store->slots[i] = block->next;
      blocks_buf_free(&block->data);
      free(block);
    }
  }
  free(store);
}

void memory_store_put(memory_store *store, const blocks_cid *cid, deai_bytes data) {
  memory_block *block = calloc(1, sizeof *block);
  ck_assert_ptr_nonnull(block);
  memory_block **slot = slot_of(store, cid);
  block->cid = *cid;
  ck_assert_int_eq(blocks_buf_add(&block->data, data.ptr, (size_t)data.len), DEAI_OK);
  block->next = *slot;
  *slot = block;
}

static int32_t memory_get(void *user, const blocks_cid *cid, blocks_buf *buf, blocks_error *err) {
  for (memory_block *block = *slot_of(user, cid); block != NULL; block = block->next) {
    if (!blocks_cid_equal(&block->cid, cid)) continue;
    buf->len = 0;
    return blocks_buf_add(buf, block->data.ptr, block->data.len);
  }
  return blocks_fail(err, DEAI_ENOTFOUND, "block not in memory");
}

blocks_source memory_store_source(memory_store *store) {
  return (blocks_source){.user = store, .get = memory_get};
}
