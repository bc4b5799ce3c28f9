#include "keep.h"

#include "deai/codec.h"
#include "deai/plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

#define FILE_BYTES_MAX 8192u
#define PATH_BYTES_MAX 8192u

typedef struct kept {
  deai_list models; /* deai_bytes */
} kept;

static const deai_field kept_rows[] = {
    DEAI_F_LIST(kept, models, "models", DEAI_FIELD_CID, 0, LM_KEEP_MAX, DEAI_CID_MAX),
};
static const deai_table kept_table = DEAI_TABLE_HEAD("models", kept, kept_rows);

static int32_t path_of(char out[PATH_BYTES_MAX], const char *folder, const char *name, char *err,
                       uint32_t err_cap) {
  int len = snprintf(out, PATH_BYTES_MAX, "%s/%s", folder, name);
  if (len > 0 && (size_t)len < PATH_BYTES_MAX) return DEAI_OK;
  return deai_err(err, err_cap, DEAI_EINVAL, "a folder with a shorter path expected");
}

static int32_t write_all(int descriptor, const uint8_t *bytes, uint64_t len) {
  for (uint64_t at = 0; at < len;) {
    ssize_t put = write(descriptor, bytes + at, (size_t)(len - at));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return DEAI_EIO;
    at += (uint64_t)put;
  }
  return fsync(descriptor) == 0 ? DEAI_OK : DEAI_EIO;
}

static int32_t sync_folder(const char *folder) {
  int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return DEAI_EIO;
  int32_t status = fsync(descriptor) == 0 ? DEAI_OK : DEAI_EIO;
  (void)close(descriptor);
  return status;
}

static int32_t replace(const char *folder, const char *path, const char *fresh,
                       const uint8_t *bytes, uint64_t len) {
  int descriptor = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (descriptor < 0) return DEAI_EIO;
  int32_t status = write_all(descriptor, bytes, len);
  if (close(descriptor) != 0) status = DEAI_EIO;
  if (status == DEAI_OK && rename(fresh, path) != 0) status = DEAI_EIO;
  return status == DEAI_OK ? sync_folder(folder) : status;
}

int32_t lm_keep_write(const char *folder, const lm_cid *cids, uint32_t count, char *err,
                      uint32_t err_cap) {
  char path[PATH_BYTES_MAX];
  char fresh[PATH_BYTES_MAX];
  uint8_t room[FILE_BYTES_MAX];
  deai_bytes models[LM_KEEP_MAX];
  kept list = {.models = {.items = models, .count = count}};
  if (count > LM_KEEP_MAX)
    return deai_err(err, err_cap, DEAI_EINVAL, "at most %u models expected, found %u", LM_KEEP_MAX,
                    count);
  for (uint32_t i = 0; i < count; i++)
    models[i] = lm_cid_bytes(&cids[i]);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  int32_t status = deai_encode(&kept_table, &list, &writer, err, err_cap);
  if (status == DEAI_OK) status = path_of(path, folder, "models", err, err_cap);
  if (status == DEAI_OK) status = path_of(fresh, folder, "models.new", err, err_cap);
  if (status != DEAI_OK) return status;
  status = replace(folder, path, fresh, room, writer.len);
  if (status == DEAI_OK) return status;
  return deai_err(err, err_cap, status, "%.300s could not be written: %s", path, strerror(errno));
}

static int32_t read_file(const char *path, uint8_t *room, uint64_t *len_out, char *err,
                         uint32_t err_cap) {
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  *len_out = 0;
  if (descriptor < 0 && errno == ENOENT) return DEAI_ENOTFOUND;
  ssize_t got = descriptor < 0 ? -1 : read(descriptor, room, FILE_BYTES_MAX);
  int reason = errno;
  if (descriptor >= 0) (void)close(descriptor);
  if (got < 0)
    return deai_err(err, err_cap, DEAI_EIO, "%.300s could not be read: %s", path, strerror(reason));
  *len_out = (uint64_t)got;
  return DEAI_OK;
}

int32_t lm_keep_read(const char *folder, lm_cid *cids, uint32_t cap, uint32_t *count_out, char *err,
                     uint32_t err_cap) {
  char path[PATH_BYTES_MAX];
  uint8_t room[FILE_BYTES_MAX];
  _Alignas(16) uint8_t items[LM_KEEP_MAX * sizeof(deai_bytes)];
  deai_arena arena = {.base = items, .cap = sizeof items};
  kept list;
  uint64_t len = 0;
  *count_out = 0;
  int32_t status = path_of(path, folder, "models", err, err_cap);
  if (status == DEAI_OK) status = read_file(path, room, &len, err, err_cap);
  if (status == DEAI_ENOTFOUND) return DEAI_OK;
  if (status == DEAI_OK)
    status = deai_decode(&kept_table, deai_bytes_of(room, len), &list, &arena, err, err_cap);
  if (status != DEAI_OK) return status;
  const deai_bytes *models = list.models.items;
  uint32_t count = 0;
  for (uint64_t i = 0; i < list.models.count && count < cap; i++) {
    if (lm_cid_of(models[i], &cids[count++]) != DEAI_OK)
      return deai_err(err, err_cap, DEAI_EINVAL, "%.300s: CIDs expected, found other bytes", path);
  }
  *count_out = count;
  return DEAI_OK;
}
