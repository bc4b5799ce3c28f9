#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "banned.h"

#define PATH_BYTES_MAX 4096

static int32_t io_error(const char *what, const char *path, char *err, uint32_t err_cap) {
  int code = errno;
  if (err != NULL && err_cap > 0)
    (void)snprintf(err, err_cap, "expected to %s %s, found: %s", what, path, strerror(code));
  if (code == ENOENT) return DEAI_ENOTFOUND;
  if (code == ENOSPC || code == EDQUOT) return DEAI_EFULL;
  return DEAI_EIO;
}

int32_t deai_path_join(char *out, uint64_t cap, const char *folder, const char *name) {
  int used = snprintf(out, (size_t)cap, "%s/%s", folder, name);
  return used > 0 && (uint64_t)used < cap ? DEAI_OK : DEAI_ETOOLARGE;
}

static int32_t read_all(int fd, uint8_t *room, uint64_t cap, uint64_t *len_out) {
  uint64_t len = 0;
  while (len < cap) {
    ssize_t got = read(fd, room + len, (size_t)(cap - len));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return DEAI_EIO;
    if (got == 0) break;
    len += (uint64_t)got;
  }
  *len_out = len;
  return DEAI_OK;
}

static int32_t read_open(int fd, const char *path, uint64_t cap, uint8_t **ptr_out,
                         uint64_t *len_out, char *err, uint32_t err_cap) {
  struct stat info;
  if (fstat(fd, &info) != 0) return io_error("read", path, err, err_cap);
  uint64_t size = (uint64_t)info.st_size;
  if (!S_ISREG(info.st_mode)) {
    (void)snprintf(err, err_cap, "expected a regular file at %s, found something else", path);
    return DEAI_EINVAL;
  }
  if (size > cap) {
    (void)snprintf(err, err_cap, "expected at most %llu bytes in %s, found %llu",
                   (unsigned long long)cap, path, (unsigned long long)size);
    return DEAI_ETOOLARGE;
  }
  uint8_t *room = malloc((size_t)size + 1);
  if (room == NULL) return DEAI_ENOMEM;
  if (read_all(fd, room, size, len_out) != DEAI_OK) {
    free(room);
    return io_error("read", path, err, err_cap);
  }
  room[*len_out] = 0;
  *ptr_out = room;
  return DEAI_OK;
}

int32_t deai_file_read(const char *path, uint64_t cap, uint8_t **ptr_out, uint64_t *len_out,
                       char *err, uint32_t err_cap) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return io_error("open", path, err, err_cap);
  int32_t status = read_open(fd, path, cap, ptr_out, len_out, err, err_cap);
  (void)close(fd);
  return status;
}

static int32_t write_all(int fd, deai_bytes bytes) {
  uint64_t at = 0;
  while (at < bytes.len) {
    ssize_t put = write(fd, bytes.ptr + at, (size_t)(bytes.len - at));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return DEAI_EIO;
    at += (uint64_t)put;
  }
  return DEAI_OK;
}

/* Writes and syncs path, which must not exist. */
static int32_t write_new(const char *path, deai_bytes bytes, uint32_t mode, char *err,
                         uint32_t err_cap) {
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode);
  if (fd < 0) return io_error("create", path, err, err_cap);
  int32_t status = write_all(fd, bytes);
  if (status == DEAI_OK && (fchmod(fd, (mode_t)mode) != 0 || fsync(fd) != 0)) status = DEAI_EIO;
  if (status != DEAI_OK) status = io_error("write", path, err, err_cap);
  if (close(fd) != 0 && status == DEAI_OK) status = io_error("close", path, err, err_cap);
  return status;
}

int32_t deai_folder_sync(const char *path, char *err, uint32_t err_cap) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return io_error("open", path, err, err_cap);
  int32_t status = fsync(fd) == 0 ? DEAI_OK : io_error("sync", path, err, err_cap);
  (void)close(fd);
  return status;
}

static int32_t parent_sync(const char *path, char *err, uint32_t err_cap) {
  char parent[PATH_BYTES_MAX];
  const char *slash = strrchr(path, '/');
  int len = slash == NULL ? 0 : (int)(slash - path);
  if (slash == NULL) return deai_folder_sync(".", err, err_cap);
  if (len == 0) return deai_folder_sync("/", err, err_cap);
  if (snprintf(parent, sizeof parent, "%.*s", len, path) >= PATH_BYTES_MAX) return DEAI_ETOOLARGE;
  return deai_folder_sync(parent, err, err_cap);
}

static int32_t temporary_path(char *out, const char *path, char *err, uint32_t err_cap) {
  int used = snprintf(out, PATH_BYTES_MAX, "%s.new-%ld", path, (long)getpid());
  if (used > 0 && used < PATH_BYTES_MAX) return DEAI_OK;
  (void)snprintf(err, err_cap, "expected a path of at most %d bytes, found a longer one",
                 PATH_BYTES_MAX);
  return DEAI_ETOOLARGE;
}

static int32_t put(const char *path, deai_bytes bytes, uint32_t mode, int32_t must_be_new,
                   char *err, uint32_t err_cap) {
  char temporary[PATH_BYTES_MAX];
  int32_t status = temporary_path(temporary, path, err, err_cap);
  if (status != DEAI_OK) return status;
  (void)unlink(temporary); /* left by a crash of a process with our number */
  status = write_new(temporary, bytes, mode, err, err_cap);
  if (status == DEAI_OK && must_be_new && link(temporary, path) != 0) {
    status = errno == EEXIST ? DEAI_EINVAL : io_error("create", path, err, err_cap);
    if (status == DEAI_EINVAL)
      (void)snprintf(err, err_cap, "expected no file at %s, found one: it is not overwritten",
                     path);
  }
  if (status == DEAI_OK && !must_be_new && rename(temporary, path) != 0)
    status = io_error("replace", path, err, err_cap);
  if (status != DEAI_OK || must_be_new) (void)unlink(temporary);
  if (status == DEAI_OK) status = parent_sync(path, err, err_cap);
  return status;
}

int32_t deai_file_replace(const char *path, deai_bytes bytes, uint32_t mode, char *err,
                          uint32_t err_cap) {
  return put(path, bytes, mode, 0, err, err_cap);
}

int32_t deai_file_create(const char *path, deai_bytes bytes, uint32_t mode, char *err,
                         uint32_t err_cap) {
  return put(path, bytes, mode, 1, err, err_cap);
}

int32_t deai_folder_make(const char *path, uint32_t mode, char *err, uint32_t err_cap) {
  struct stat info;
  if (mkdir(path, (mode_t)mode) == 0) return parent_sync(path, err, err_cap);
  if (errno != EEXIST) return io_error("make the folder", path, err, err_cap);
  if (stat(path, &info) != 0) return io_error("look at", path, err, err_cap);
  if (S_ISDIR(info.st_mode)) return DEAI_OK;
  (void)snprintf(err, err_cap, "expected a folder at %s, found something else", path);
  return DEAI_EINVAL;
}

int32_t deai_path_near(char *out, uint64_t cap, const char *const *relative, uint32_t count) {
  char self[PATH_MAX];
  char path[PATH_MAX];
  char real[PATH_MAX];
  ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
  if (len <= 0) return DEAI_ENOTFOUND;
  self[len] = 0;
  char *slash = strrchr(self, '/');
  if (slash != NULL) *slash = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (deai_path_join(path, sizeof path, self, relative[i]) != DEAI_OK) continue;
    if (realpath(path, real) == NULL || strlen(real) >= cap) continue;
    memcpy(out, real, strlen(real) + 1);
    return DEAI_OK;
  }
  return DEAI_ENOTFOUND;
}
