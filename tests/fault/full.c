/* A library for LD_PRELOAD that plays a full disk: while the file $DEAI_FULL_FLAG exists, no
   regular file under the folder $DEAI_FULL_ROOT gets longer or gets space: ENOSPC. What is there
   may be written over, as on a disk. Works for any user, without a mount.

   Seen: write, writev, pwrite, pwritev, fallocate, posix_fallocate.
   Caveats  Stores through mmap are not seen; files may still be made, renamed, cut and removed. */
#undef _FILE_OFFSET_BITS /* the plain and the 64 names are defined beside each other below */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "host/base/banned.h"

#define EXPORT __attribute__((visibility("default")))

/* next returns the function that would have been called; ISO C has no cast for it. */
static void next(const char *name, void *out, size_t out_bytes) {
  void *symbol = dlsym(RTLD_NEXT, name);
  if (symbol == NULL || out_bytes != sizeof symbol) _exit(99);
  memcpy(out, &symbol, sizeof symbol);
}

/* is_full returns whether descriptor fd is on the full disk and bytes up to end are more than its
   file has. */
static bool is_full(int fd, off_t end) {
  char link[64];
  char path[PATH_MAX];
  struct stat info;
  const char *root = getenv("DEAI_FULL_ROOT");
  const char *flag = getenv("DEAI_FULL_FLAG");
  if (root == NULL || flag == NULL || access(flag, F_OK) != 0) return false;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || end <= info.st_size) return false;
  (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t len = readlink(link, path, sizeof path - 1);
  if (len < 0) return false;
  path[len] = 0;
  return strncmp(path, root, strlen(root)) == 0;
}

static off_t list_bytes(const struct iovec *list, int count) {
  off_t sum = 0;
  for (int i = 0; i < count; i++)
    sum += (off_t)list[i].iov_len;
  return sum;
}

/* here returns where the next write of fd begins. */
static off_t here(int fd) {
  struct stat info;
  bool append = (fcntl(fd, F_GETFL) & O_APPEND) != 0;
  if (append && fstat(fd, &info) == 0) return info.st_size;
  off_t at = lseek(fd, 0, SEEK_CUR);
  return at < 0 ? 0 : at;
}

/* One definition a function: its type, its name, its parameters, how they are passed on, where what
   it writes ends. */
#define FULL(type, name, parameters, passed, end)                                                  \
  EXPORT type name parameters;                                                                     \
  EXPORT type name parameters {                                                                    \
    static type(*real) parameters;                                                                 \
    if (real == NULL) next(#name, &real, sizeof real);                                             \
    if (!is_full(fd, end)) return real passed;                                                     \
    errno = ENOSPC;                                                                                \
    return -1;                                                                                     \
  }

FULL(ssize_t, write, (int fd, const void *bytes, size_t len), (fd, bytes, len),
     here(fd) + (off_t)len)
FULL(ssize_t, writev, (int fd, const struct iovec *list, int count), (fd, list, count),
     here(fd) + list_bytes(list, count))
FULL(ssize_t, pwrite, (int fd, const void *bytes, size_t len, off_t at), (fd, bytes, len, at),
     at + (off_t)len)
FULL(ssize_t, pwrite64, (int fd, const void *bytes, size_t len, off64_t at), (fd, bytes, len, at),
     at + (off_t)len)
FULL(ssize_t, pwritev, (int fd, const struct iovec *list, int count, off_t at),
     (fd, list, count, at), at + list_bytes(list, count))
FULL(ssize_t, pwritev64, (int fd, const struct iovec *list, int count, off64_t at),
     (fd, list, count, at), at + list_bytes(list, count))
FULL(int, fallocate, (int fd, int mode, off_t at, off_t len), (fd, mode, at, len), LONG_MAX)
FULL(int, fallocate64, (int fd, int mode, off64_t at, off64_t len), (fd, mode, at, len), LONG_MAX)

/* These two return the error instead of setting errno. */
EXPORT int posix_fallocate(int fd, off_t at, off_t len);
EXPORT int posix_fallocate(int fd, off_t at, off_t len) {
  static int (*real)(int, off_t, off_t);
  if (real == NULL) next("posix_fallocate", &real, sizeof real);
  return is_full(fd, LONG_MAX) ? ENOSPC : real(fd, at, len);
}

EXPORT int posix_fallocate64(int fd, off64_t at, off64_t len);
EXPORT int posix_fallocate64(int fd, off64_t at, off64_t len) {
  static int (*real)(int, off64_t, off64_t);
  if (real == NULL) next("posix_fallocate64", &real, sizeof real);
  return is_full(fd, LONG_MAX) ? ENOSPC : real(fd, at, len);
}
