#include "keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

static int32_t status_of_errno(void) {
  if (errno == ENOENT) return DEAI_ENOTFOUND;
  return errno == ENOSPC || errno == EDQUOT ? DEAI_EFULL : DEAI_EIO;
}

static int32_t write_all(int file, deai_bytes bytes) {
  while (bytes.len > 0) {
    ssize_t done = write(file, bytes.ptr, (size_t)bytes.len);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return status_of_errno();
    bytes.ptr += done;
    bytes.len -= (uint64_t)done;
  }
  return fsync(file) == 0 ? DEAI_OK : status_of_errno();
}

static int32_t write_in(int folder, const char *name, const char *fresh, deai_bytes bytes) {
  int file = openat(folder, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return status_of_errno();
  int32_t status = write_all(file, bytes);
  if (close(file) != 0 && status == DEAI_OK) status = status_of_errno();
  if (status != DEAI_OK) return status;
  if (renameat(folder, fresh, folder, name) != 0) return status_of_errno();
  return fsync(folder) == 0 ? DEAI_OK : status_of_errno();
}

int32_t rank_keep_write(const char *folder, const char *name, deai_bytes bytes) {
  char fresh[256];
  int len = snprintf(fresh, sizeof fresh, "%s.new", name);
  if (len < 0 || (size_t)len >= sizeof fresh) return DEAI_EINVAL;
  int at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (at < 0) return status_of_errno();
  int32_t status = write_in(at, name, fresh, bytes);
  (void)close(at);
  return status;
}

static int32_t read_all(int file, uint8_t *room, uint64_t len) {
  while (len > 0) {
    ssize_t done = read(file, room, (size_t)len);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return DEAI_EIO;
    room += done;
    len -= (uint64_t)done;
  }
  return DEAI_OK;
}

static int32_t read_file(int file, uint8_t **ptr_out, uint64_t *len_out) {
  struct stat info;
  if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) return DEAI_EIO;
  if (info.st_size < 0 || info.st_size > (off_t)RANK_KEEP_MAX) return DEAI_ETOOLARGE;
  uint8_t *room = malloc((size_t)info.st_size + 1);
  if (room == NULL) return DEAI_ENOMEM;
  int32_t status = read_all(file, room, (uint64_t)info.st_size);
  if (status != DEAI_OK) {
    free(room);
    return status;
  }
  *ptr_out = room;
  *len_out = (uint64_t)info.st_size;
  return DEAI_OK;
}

int32_t rank_keep_read(const char *folder, const char *name, uint8_t **ptr_out, uint64_t *len_out) {
  int at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (at < 0) return status_of_errno();
  int file = openat(at, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  int32_t status = file < 0 ? status_of_errno() : read_file(file, ptr_out, len_out);
  if (file >= 0) (void)close(file);
  (void)close(at);
  return status;
}
