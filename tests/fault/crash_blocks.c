/* The block store after a crash: a child works under the recorder and says after each sync what it
   promises; then crash images of its folder are made, opened, and every promise before the crash is
   checked. The same images without syncs must break a promise, or the test would see nothing.

     crash_blocks RECORDER.so        the test        crash_blocks --work FOLDER     the child */
#include "plugins/storage/blocks/import.h"

#include "tests/fault/crash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

#define ROUNDS        12
#define COLLECT_ROUND 10
#define ROUND_BLOCKS  16
#define MEDIUM_BLOCKS 7
#define MEDIUM_BYTES  (600u << 10)
#define LARGE_BYTES   ((4u << 20) + 4321)
#define PART_LEAVES   5
#define PACK_BYTES    (4u << 20)
#define EXIT_LOST     3

static void die(const char *what, int32_t status, const blocks_error *err) {
  (void)fprintf(stderr, "crash_blocks: %s: %s: %s\n", what, deai_status_name(status),
                err ? err->text : "");
  exit(EXIT_LOST);
}

static void require(const char *what, int32_t status, const blocks_error *err) {
  if (status != DEAI_OK) die(what, status, err);
}

/* content that can be made again from its name */
static void content(uint64_t seed, uint8_t *out, size_t len) {
  uint64_t x = seed * 0x9e3779b97f4a7c15ull + 88172645463325252ull;
  for (size_t i = 0; i < len; i++) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    out[i] = (uint8_t)(x >> 32);
  }
}

static uint8_t scratch[1u << 20];

static deai_bytes small_block(int round, int i, blocks_cid *cid) {
  size_t len = 40 + (size_t)(round * 131 + i * 197) % 3000;
  content((uint64_t)(round * 1000 + i), scratch, len);
  blocks_cid_of_block(BLOCKS_CODEC_RAW, deai_bytes_of(scratch, len), cid);
  return deai_bytes_of(scratch, len);
}

static deai_bytes medium_block(int i, blocks_cid *cid) {
  content((uint64_t)(900000 + i), scratch, MEDIUM_BYTES);
  blocks_cid_of_block(BLOCKS_CODEC_RAW, deai_bytes_of(scratch, MEDIUM_BYTES), cid);
  return deai_bytes_of(scratch, MEDIUM_BYTES);
}

static deai_bytes part_leaf(int i, blocks_cid *cid) {
  content((uint64_t)(700000 + i), scratch, sizeof scratch);
  blocks_cid_of_block(BLOCKS_CODEC_RAW, deai_bytes_of(scratch, sizeof scratch), cid);
  return deai_bytes_of(scratch, sizeof scratch);
}

static void part_root(blocks_buf *block, blocks_child *root) {
  blocks_child leaves[PART_LEAVES];
  for (int i = 0; i < PART_LEAVES; i++) {
    (void)part_leaf(i, &leaves[i].cid);
    leaves[i].file_bytes = leaves[i].dag_bytes = sizeof scratch;
  }
  require("root", blocks_unixfs_file_node(leaves, PART_LEAVES, block, root), NULL);
}

static blocks_cid large_file(blocks_store *store) {
  blocks_import *import;
  blocks_import_result result;
  blocks_error err = {0};
  blocks_import_options options = {
      .hash_only = store == NULL, .pin = store != NULL, .size_hint = LARGE_BYTES};
  require("begin", blocks_import_begin(store, &options, &import, &err), &err);
  for (size_t at = 0; at < LARGE_BYTES; at += sizeof scratch) {
    size_t len = LARGE_BYTES - at < sizeof scratch ? LARGE_BYTES - at : sizeof scratch;
    content(800000 + at, scratch, len);
    require("write", blocks_import_write(import, deai_bytes_of(scratch, len), &err), &err);
  }
  require("finish", blocks_import_finish(import, &result, &err), &err);
  blocks_import_end(import);
  return result.cid;
}

/* --- the child --- */

static void promise(const char *what, int number) {
  char line[64];
  int len = snprintf(line, sizeof line, "%s %d\n", what, number);
  if (write(1, line, (size_t)len) != len) exit(2);
}

static blocks_store *open_store(const char *folder, blocks_error *err, int32_t *status_out) {
  blocks_store_options options = {.folder = folder, .pack_bytes_max = PACK_BYTES};
  blocks_store *store = NULL;
  *status_out = blocks_store_open(&options, &store, err);
  return store;
}

static void work_round(blocks_store *store, int round) {
  blocks_error err = {0};
  blocks_cid cid;
  for (int i = ROUND_BLOCKS - 1; i >= 0; i--) {
    deai_bytes block = small_block(round, i, &cid);
    require("put", blocks_store_put(store, &cid, block, &err), &err);
  }
  require("pin", blocks_store_pin(store, &cid, &err), &err); /* block 0 */
  require("sync", blocks_store_sync(store, &err), &err);
  promise("small", round);
}

static void work_part(blocks_store *store) {
  blocks_error err = {0};
  blocks_buf block = {0};
  blocks_child root;
  blocks_file *file;
  blocks_cid cid;
  part_root(&block, &root);
  require("root", blocks_store_put(store, &root.cid, blocks_buf_bytes(&block), &err), &err);
  require("begin", blocks_file_begin(store, &root.cid, &file, &err), &err);
  for (int i = 0; i < PART_LEAVES; i += 2) {
    deai_bytes leaf = part_leaf(i, &cid);
    require("leaf", blocks_file_put(file, (uint32_t)i, leaf, &err), &err);
    require("sync", blocks_store_sync(store, &err), &err);
    promise("leaf", i);
  }
  blocks_file_end(file);
  blocks_buf_free(&block);
}

static void work_medium(blocks_store *store) {
  blocks_error err = {0};
  blocks_cid cid;
  for (int i = 0; i < MEDIUM_BLOCKS; i++) {
    deai_bytes block = medium_block(i, &cid);
    require("put", blocks_store_put(store, &cid, block, &err), &err);
  }
  require("sync", blocks_store_sync(store, &err), &err);
  promise("medium", MEDIUM_BLOCKS);
}

static void work_unpin(blocks_store *store) {
  blocks_error err = {0};
  blocks_cid cid;
  (void)small_block(0, 0, &cid);
  promise("unpinning", 0);
  require("unpin", blocks_store_unpin(store, &cid, &err), &err);
  require("sync", blocks_store_sync(store, &err), &err);
  promise("unpinned", 0);
}

/* drops all that has no pin: the blocks beside block 0 of each round, medium ones, leaves */
static void work_collect(blocks_store *store) {
  blocks_error err = {0};
  blocks_gc state = {0};
  promise("collecting", COLLECT_ROUND);
  while (!state.finished)
    require("gc", blocks_store_gc(store, &state, 40, &err), &err);
  promise("collected", COLLECT_ROUND);
}

static int work(const char *folder) {
  blocks_error err = {0};
  int32_t status;
  blocks_store *store = open_store(folder, &err, &status);
  require("open", status, &err);
  for (int round = 0; round < ROUNDS; round++) {
    work_round(store, round);
    if (round == 2) {
      (void)large_file(store);
      promise("large", 0);
    }
    if (round == 4) work_part(store);
    if (round == 6) work_medium(store);
    if (round == 8) {
      require("close", blocks_store_close(store), NULL);
      store = open_store(folder, &err, &status);
      require("open again", status, &err);
    }
    if (round == 9) work_unpin(store);
    if (round == COLLECT_ROUND) work_collect(store);
  }
  require("close", blocks_store_close(store), NULL);
  return 0;
}

/* --- the checks --- */

static void check_block(blocks_store *store, const char *what, const blocks_cid *cid,
                        deai_bytes want) {
  blocks_buf buf = {0};
  blocks_error err = {0};
  require(what, blocks_store_get(store, cid, &buf, &err), &err);
  if (!deai_bytes_eq(blocks_buf_bytes(&buf), want)) die(what, DEAI_EVERIFY, NULL);
  blocks_buf_free(&buf);
}

static void check_round(blocks_store *store, int round, bool collecting, bool unpinning,
                        bool unpinned) {
  blocks_cid cid;
  uint64_t pins = 9;
  bool may_be_gone = round == 0 && unpinning;
  for (int i = collecting ? 0 : ROUND_BLOCKS - 1; i >= 0; i--) {
    deai_bytes block = small_block(round, i, &cid);
    if (!collecting || !may_be_gone) check_block(store, "small", &cid, block);
  }
  require("pins", blocks_store_pins(store, &cid, &pins), NULL);
  bool right = pins == 1 || (pins == 0 && may_be_gone);
  if (round == 0 && unpinned) right = pins == 0;
  if (!right) die("pins of a promised round", DEAI_EVERIFY, NULL);
}

static void check_large(blocks_store *store) {
  blocks_cid cid = large_file(NULL);
  blocks_error err = {0};
  blocks_stat stat;
  uint64_t size = 0;
  int fd = -1;
  require("large stat", blocks_store_stat(store, &cid, &stat, &err), &err);
  if (stat.have != stat.blocks || stat.pins != 1) die("large", DEAI_EVERIFY, NULL);
  require("large open", blocks_store_open_file(store, &cid, &fd, &size, &err), &err);
  if (size != LARGE_BYTES) die("size of large", DEAI_EVERIFY, NULL);
  (void)close(fd);
}

static void count_bad(void *user, const blocks_cid *cid) {
  (void)cid;
  ++*(int *)user;
}

static void check_verify(blocks_store *store) {
  blocks_verify state = {0};
  blocks_error err = {0};
  int bad = 0;
  while (!state.finished)
    require("verify", blocks_store_verify(store, &state, UINT64_MAX, &err, &bad, count_bad), &err);
  if (bad > 0) die("verify found damage", DEAI_EVERIFY, NULL);
}

static bool promised(const char *promises, const char *line) {
  return strstr(promises, line) != NULL;
}

static void check_promises(blocks_store *store, const char *promises) {
  char line[64];
  blocks_cid cid;
  bool collecting = promised(promises, "collecting");
  for (int round = 0; round < ROUNDS; round++) {
    (void)snprintf(line, sizeof line, "small %d\n", round);
    if (promised(promises, line))
      check_round(store, round, collecting && round <= COLLECT_ROUND,
                  promised(promises, "unpinning"), promised(promises, "unpinned"));
  }
  for (int i = 0; i < PART_LEAVES && !collecting; i++) {
    (void)snprintf(line, sizeof line, "leaf %d\n", i);
    if (!promised(promises, line)) continue;
    deai_bytes leaf = part_leaf(i, &cid);
    check_block(store, "leaf", &cid, leaf);
  }
  for (int i = 0; i < MEDIUM_BLOCKS && promised(promises, "medium") && !collecting; i++) {
    deai_bytes block = medium_block(i, &cid);
    check_block(store, "medium", &cid, block);
  }
  if (promised(promises, "large")) check_large(store);
}

static int check_image(const char *folder, const char *promises) {
  char path[4200];
  blocks_error err = {0};
  int32_t status;
  (void)snprintf(path, sizeof path, "%s/store", folder);
  blocks_store *store = open_store(path, &err, &status);
  require("open of an image", status, &err);
  check_promises(store, promises);
  check_verify(store);
  require("close", blocks_store_close(store), NULL);
  return 0;
}

/* a store that forgot its syncs: one write in the middle is lost though later ones are there */
static size_t forget(const fault_log *log, size_t number, size_t *calls_out) {
  *calls_out = fault_log_count(log) * (number + 1) / FAULT_CRASH_WITHOUT;
  size_t writes = fault_unsynced_writes(log, *calls_out);
  return fault_unsynced_write(log, *calls_out, true, number * 7919 % (writes + 1));
}

int main(int argc, char **argv) {
  static const fault_crash test = {.name = "crash_blocks",
                                   .place = "store",
                                   .images_least = 500,
                                   .work = work,
                                   .check = check_image,
                                   .forget = forget};
  return fault_crash_main(&test, argc, argv);
}
