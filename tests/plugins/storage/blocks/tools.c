#include "tests/plugins/storage/blocks/tools.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

#define STEP_BYTES (1u << 20)

const char *store_path(const char *name) {
  static char path[4096];
  (void)snprintf(path, sizeof path, "%s/%s", testing_folder(), name);
  return path;
}

blocks_store *store_with(const char *name, const blocks_store_options *options) {
  blocks_store *store = NULL;
  blocks_error err = {0};
  blocks_store_options copy = *options;
  copy.folder = store_path(name);
  int32_t status = blocks_store_open(&copy, &store, &err);
  ck_assert_msg(status == DEAI_OK, "open: %s: %s", deai_status_name(status), err.text);
  return store;
}

blocks_store *store_at(const char *name) {
  return store_with(name, &(blocks_store_options){0});
}

void store_end(blocks_store *store) {
  ck_assert_int_eq(blocks_store_close(store), DEAI_OK);
}

blocks_cid cid_of_text(const char *text) {
  blocks_cid cid;
  blocks_cid_of_block(BLOCKS_CODEC_RAW, deai_bytes_of(text, strlen(text)), &cid);
  return cid;
}

blocks_cid put_text(blocks_store *store, const char *text) {
  blocks_cid cid = cid_of_text(text);
  blocks_error err = {0};
  int32_t status = blocks_store_put(store, &cid, deai_bytes_of(text, strlen(text)), &err);
  ck_assert_msg(status == DEAI_OK, "put: %s: %s", deai_status_name(status), err.text);
  return cid;
}

int holds(blocks_store *store, const blocks_cid *cid) {
  blocks_buf buf = {0};
  int32_t status = blocks_store_get(store, cid, &buf, NULL);
  if (status == DEAI_OK) ck_assert_int_eq(blocks_cid_check(cid, blocks_buf_bytes(&buf), NULL), 0);
  blocks_buf_free(&buf);
  return status == DEAI_OK;
}

blocks_import_result import_seed(blocks_store *store, const char *seed, uint64_t size, bool pin) {
  blocks_import_options options = {.pin = pin, .hash_only = store == NULL};
  blocks_import_result result = {0};
  blocks_import *import;
  blocks_error err = {0};
  uint8_t *step = malloc(STEP_BYTES);
  int32_t status = blocks_import_begin(store, &options, &import, &err);
  for (uint64_t at = 0; at < size && status == DEAI_OK; at += STEP_BYTES) {
    size_t len = size - at < STEP_BYTES ? (size_t)(size - at) : STEP_BYTES;
    keystream(seed, at, step, len);
    status = blocks_import_write(import, deai_bytes_of(step, len), &err);
  }
  if (status == DEAI_OK) status = blocks_import_finish(import, &result, &err);
  ck_assert_msg(status == DEAI_OK, "import: %s: %s", deai_status_name(status), err.text);
  blocks_import_end(import);
  free(step);
  return result;
}

const char *file_with(const char *name, const char *folder, const char *suffix) {
  static char path[8192];
  char folder_path[4400];
  (void)snprintf(folder_path, sizeof folder_path, "%s/%s", store_path(name), folder);
  DIR *dir = opendir(folder_path);
  struct dirent *entry;
  path[0] = 0;
  ck_assert_ptr_nonnull(dir);
  while ((entry = readdir(dir)) != NULL) {
    size_t len = strlen(entry->d_name);
    if (len >= strlen(suffix) && strcmp(entry->d_name + len - strlen(suffix), suffix) == 0)
      (void)snprintf(path, sizeof path, "%s/%s", folder_path, entry->d_name);
  }
  (void)closedir(dir);
  return path[0] ? path : NULL;
}

void flip(const char *name, const char *folder, const char *suffix, long offset) {
  const char *path = file_with(name, folder, suffix);
  uint8_t byte;
  struct stat info;
  ck_assert_ptr_nonnull(path);
  int fd = open(path, O_RDWR);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(fstat(fd, &info), 0);
  off_t at = offset < 0 ? info.st_size + offset : offset;
  ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
  byte = (uint8_t)~byte;
  ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
  (void)close(fd);
}

void remove_index(const char *name) {
  char path[4400];
  (void)snprintf(path, sizeof path, "%s/index/data.mdb", store_path(name));
  ck_assert_int_eq(unlink(path), 0);
}
