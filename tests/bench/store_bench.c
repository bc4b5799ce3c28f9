/* store_bench: how fast the block store takes bytes. Prints one line of JSON.

     store_bench FOLDER [MIB]     FOLDER is made, filled and left behind; MIB = 1024

   hash_mb_s     CID of a stream, nothing stored (bound: SHA-256 of the machine)
   add_mb_s      the same stream into files/, durable
   small_per_s   files of 1 KiB, durable in groups of 1000
   get_small_s   reads of these, by CID, checked
   get_mb_s      leaves of the large file, by CID, checked
   sha_mb_s      SHA-256 alone, for the ratio */
#include "plugins/storage/blocks/import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/base/banned.h"

#define STEP_BYTES  (1u << 20)
#define SMALL_FILES 20000
#define SMALL_BYTES 1024
#define GROUP_FILES 1000

static double now_s(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void require(int32_t status, const blocks_error *err) {
  if (status == DEAI_OK) return;
  (void)fprintf(stderr, "store_bench: %s: %s\n", deai_status_name(status), err->text);
  exit(1);
}

/* cheap bytes that never repeat: the cost of making them stays far below that of hashing */
static void make_step(uint8_t *step, uint64_t number) {
  uint64_t x = number * 0x9e3779b97f4a7c15ull + 1;
  for (size_t i = 0; i < STEP_BYTES; i += 8) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    memcpy(step + i, &x, 8);
  }
}

static double stream(blocks_store *store, uint8_t *steps, uint64_t mib, blocks_import_result *out) {
  blocks_error err = {0};
  blocks_import *import;
  blocks_import_options options = {.hash_only = store == NULL, .size_hint = mib << 20};
  double start = now_s();
  require(blocks_import_begin(store, &options, &import, &err), &err);
  for (uint64_t i = 0; i < mib; i++) {
    uint8_t *step = steps + i % 64 * STEP_BYTES;
    memcpy(step, &i, sizeof i); /* every leaf differs */
    require(blocks_import_write(import, deai_bytes_of(step, STEP_BYTES), &err), &err);
  }
  require(blocks_import_finish(import, out, &err), &err);
  if (store != NULL) require(blocks_store_sync(store, &err), &err);
  blocks_import_end(import);
  return (double)mib * 1.048576 / (now_s() - start);
}

static double sha_alone(const uint8_t *steps) {
  uint8_t digest[DEAI_HASH_BYTES];
  double start = now_s();
  for (int i = 0; i < 256; i++)
    blocks_sha256(deai_bytes_of(steps + (size_t)(i % 64) * STEP_BYTES, STEP_BYTES), digest);
  return 256 * 1.048576 / (now_s() - start);
}

static double add_small(blocks_store *store, uint8_t *step, blocks_cid *cids) {
  blocks_error err = {0};
  blocks_import_options options = {.size_hint = SMALL_BYTES};
  double start = now_s();
  for (uint64_t i = 0; i < SMALL_FILES; i++) {
    blocks_import *import;
    blocks_import_result result;
    memcpy(step, &i, sizeof i);
    require(blocks_import_begin(store, &options, &import, &err), &err);
    require(blocks_import_write(import, deai_bytes_of(step, SMALL_BYTES), &err), &err);
    require(blocks_import_finish(import, &result, &err), &err);
    blocks_import_end(import);
    cids[i] = result.cid;
    if ((i + 1) % GROUP_FILES == 0) require(blocks_store_sync(store, &err), &err);
  }
  return SMALL_FILES / (now_s() - start);
}

static double get_small(blocks_store *store, const blocks_cid *cids) {
  blocks_error err = {0};
  blocks_buf buf = {0};
  double start = now_s();
  for (size_t i = 0; i < SMALL_FILES; i++)
    require(blocks_store_get(store, &cids[i * 7919 % SMALL_FILES], &buf, &err), &err);
  blocks_buf_free(&buf);
  return SMALL_FILES / (now_s() - start);
}

static double get_large(blocks_store *store, const blocks_cid *root) {
  blocks_error err = {0};
  blocks_reader *reader;
  uint8_t *out = malloc(STEP_BYTES);
  uint64_t at = 0;
  double start = now_s();
  require(blocks_reader_open(blocks_store_source(store), root, (blocks_caps){0}, &reader, &err),
          &err);
  while (at < blocks_reader_size(reader)) {
    deai_buf dst = {.ptr = out, .cap = STEP_BYTES};
    int64_t got = blocks_reader_read(reader, at, dst, &err);
    require(got > 0 ? DEAI_OK : DEAI_EIO, &err);
    at += (uint64_t)got;
  }
  blocks_reader_close(reader);
  free(out);
  return (double)at / 1e6 / (now_s() - start);
}

int main(int argc, char **argv) {
  if (argc < 2) {
    (void)fprintf(stderr, "usage: store_bench FOLDER [MIB]\n");
    return 2;
  }
  uint64_t mib = argc > 2 ? strtoull(argv[2], NULL, 10) : 1024;
  blocks_store_options options = {.folder = argv[1]};
  blocks_store *store;
  blocks_error err = {0};
  blocks_import_result large;
  uint8_t *steps = malloc(64 * (size_t)STEP_BYTES);
  blocks_cid *cids = calloc(SMALL_FILES, sizeof *cids);
  if (steps == NULL || cids == NULL || mib == 0) return 2;
  for (uint64_t i = 0; i < 64; i++)
    make_step(steps + i * STEP_BYTES, i);
  require(blocks_store_open(&options, &store, &err), &err);
  double sha = sha_alone(steps);
  double hash = stream(NULL, steps, mib, &large);
  double add = stream(store, steps, mib, &large);
  double small = add_small(store, steps, cids);
  double small_get = get_small(store, cids);
  double get = get_large(store, &large.cid);
  printf("{\"bench\":\"store\",\"mib\":%llu,\"sha_mb_s\":%.0f,\"hash_mb_s\":%.0f,"
         "\"add_mb_s\":%.0f,\"small_per_s\":%.0f,\"get_small_per_s\":%.0f,\"get_mb_s\":%.0f}\n",
         (unsigned long long)mib, sha, hash, add, small, small_get, get);
  require(blocks_store_close(store), &err);
  free(steps);
  free(cids);
  return 0;
}
