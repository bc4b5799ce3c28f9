/* A library for LD_PRELOAD that logs what a program does to the files under one folder, with the
   bytes, so that replay.h can make every state a crash could have left (log.h is the format).

     DEAI_RECORD_ROOT=FOLDER DEAI_RECORD_LOG=FILE LD_PRELOAD=.../libdeai-recorder.so PROGRAM

   FOLDER exists and is empty when the program starts. Recorded: open and openat with O_CREAT or
   O_TRUNC, openat2, write, writev, pwrite, pwritev, ftruncate, fallocate, fsync, fdatasync, mkdir,
   rename, link, unlink, rmdir; and write to descriptor 1 as a mark. One mutex puts calls and log in
   the same order.

   Caveats  Stores through mmap, stdio streams, O_TMPFILE and copy_file_range are not seen. */
#undef _FILE_OFFSET_BITS /* the plain and the 64 names are defined beside each other below */
#include "log.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "host/base/banned.h"

#define EXPORT     __attribute__((visibility("default")))
#define INODES_MAX 4096

static pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static char root[PATH_MAX]; /* empty: not recording */
static size_t root_len;
static int log_fd = -1;
static uint64_t inodes[INODES_MAX]; /* files under root that are or were open */
static size_t inodes_count;

static struct {
  int (*open)(const char *, int, ...);
  int (*openat)(int, const char *, int, ...);
  ssize_t (*write)(int, const void *, size_t);
  ssize_t (*writev)(int, const struct iovec *, int);
  ssize_t (*pwrite)(int, const void *, size_t, off_t);
  ssize_t (*pwritev)(int, const struct iovec *, int, off_t);
  int (*ftruncate)(int, off_t);
  int (*fallocate)(int, int, off_t, off_t);
  int (*posix_fallocate)(int, off_t, off_t);
  int (*fsync)(int);
  int (*fdatasync)(int);
  int (*mkdirat)(int, const char *, mode_t);
  int (*renameat2)(int, const char *, int, const char *, unsigned);
  int (*linkat)(int, const char *, int, const char *, int);
  int (*unlinkat)(int, const char *, int);
  long (*syscall)(long, ...);
} real;

static void fatal(const char *what) {
  (void)dprintf(2, "recorder: %s: %s\n", what, strerror(errno));
  _exit(99);
}

/* dlsym returns an object pointer; POSIX promises that the copy is a function pointer */
#define LOAD(name)                                                                                 \
  do {                                                                                             \
    void *symbol = dlsym(RTLD_NEXT, #name);                                                        \
    if (symbol == NULL) fatal(#name);                                                              \
    memcpy(&real.name, &symbol, sizeof symbol);                                                    \
  } while (0)

static void load_symbols(void) {
  LOAD(open);
  LOAD(openat);
  LOAD(write);
  LOAD(writev);
  LOAD(pwrite);
  LOAD(pwritev);
  LOAD(ftruncate);
  LOAD(fallocate);
  LOAD(posix_fallocate);
  LOAD(fsync);
  LOAD(fdatasync);
  LOAD(mkdirat);
  LOAD(renameat2);
  LOAD(linkat);
  LOAD(unlinkat);
  LOAD(syscall);
}

static void start(void) {
  const char *folder = getenv("DEAI_RECORD_ROOT");
  const char *path = getenv("DEAI_RECORD_LOG");
  load_symbols();
  if (folder == NULL || path == NULL || realpath(folder, root) == NULL) {
    root[0] = 0;
    return;
  }
  root_len = strlen(root);
  log_fd = real.open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
  if (log_fd < 0) fatal(path);
}

static void begin(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  (void)pthread_once(&once, start);
  (void)pthread_mutex_lock(&mutex);
}

static void end(void) {
  int kept = errno;
  (void)pthread_mutex_unlock(&mutex);
  errno = kept;
}

static void log_bytes(const void *bytes, size_t len) {
  const char *at = bytes;
  while (len > 0) {
    ssize_t put = real.write(log_fd, at, len);
    if (put <= 0) fatal("log");
    at += put;
    len -= (size_t)put;
  }
}

static void log_record(fault_record record, const char *path, const void *data) {
  int kept = errno;
  record.magic = FAULT_MAGIC;
  record.path_len = (uint16_t)(path ? strlen(path) : 0);
  log_bytes(&record, sizeof record);
  log_bytes(path, record.path_len);
  log_bytes(data, (size_t)record.data_len);
  errno = kept;
}

/* the path under root of an absolute path: "" for root itself, NULL for what lies elsewhere */
static const char *under_root(const char *path) {
  if (root[0] == 0 || strncmp(path, root, root_len) != 0) return NULL;
  if (path[root_len] == 0) return "";
  return path[root_len] == '/' ? path + root_len + 1 : NULL;
}

static bool fd_path(int fd, char out[PATH_MAX]) {
  char link[64];
  (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t len = readlink(link, out, PATH_MAX - 1);
  if (len < 0) return false;
  out[len] = 0;
  return true;
}

/* makes dir + name absolute; symlinks in the folder are resolved, the last part is not */
static const char *absolute(int dir, const char *name, char out[PATH_MAX]) {
  char base[PATH_MAX];
  char joined[2 * PATH_MAX + 2];
  if (name[0] == '/')
    (void)snprintf(joined, sizeof joined, "%s", name);
  else if (dir == AT_FDCWD ? getcwd(base, sizeof base) != NULL : fd_path(dir, base))
    (void)snprintf(joined, sizeof joined, "%s/%s", base, name);
  else
    return NULL;
  char *slash = strrchr(joined, '/');
  char last[NAME_MAX + 1];
  (void)snprintf(last, sizeof last, "%s", slash + 1);
  *slash = 0;
  if (realpath(joined[0] ? joined : "/", base) == NULL) return NULL;
  int len = snprintf(out, PATH_MAX, "%s/%s", base, last);
  return len < PATH_MAX ? out : NULL;
}

static bool known_inode(uint64_t inode) {
  for (size_t i = 0; i < inodes_count; i++)
    if (inodes[i] == inode) return true;
  return false;
}

/* the inode of a recorded regular file, 0 otherwise */
static uint64_t recorded(int fd) {
  struct stat info;
  if (root[0] == 0 || fd == log_fd || fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return 0;
  return known_inode(info.st_ino) ? info.st_ino : 0;
}

/* --- open --- */

static void note_open(int fd, bool existed, int flags) {
  struct stat info;
  char absolute_path[PATH_MAX];
  if (root[0] == 0 || fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return;
  if (!fd_path(fd, absolute_path)) return;
  const char *relative = under_root(absolute_path);
  if (relative == NULL || (flags & O_TMPFILE) == O_TMPFILE) return;
  if (!known_inode(info.st_ino)) {
    if (inodes_count == INODES_MAX) fatal("too many files");
    inodes[inodes_count++] = info.st_ino;
  }
  if (!existed)
    log_record((fault_record){.kind = FAULT_CREATE, .inode = info.st_ino}, relative, NULL);
  else if (flags & O_TRUNC)
    log_record((fault_record){.kind = FAULT_SIZE, .inode = info.st_ino}, NULL, NULL);
}

static int do_open(int dir, const char *path, int flags, mode_t mode) {
  struct stat info;
  begin();
  bool existed = fstatat(dir, path, &info, 0) == 0;
  int fd = real.openat(dir, path, flags, mode);
  int kept = errno;
  if (fd >= 0) note_open(fd, existed, flags);
  errno = kept;
  end();
  return fd;
}

#define WITH_MODE(flags)                                                                           \
  mode_t mode = 0;                                                                                 \
  if ((flags) & (O_CREAT | O_TMPFILE)) {                                                           \
    va_list args;                                                                                  \
    va_start(args, flags);                                                                         \
    mode = va_arg(args, mode_t);                                                                   \
    va_end(args);                                                                                  \
  }

EXPORT int open(const char *path, int flags, ...) {
  WITH_MODE(flags)
  return do_open(AT_FDCWD, path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...) {
  WITH_MODE(flags)
  return do_open(AT_FDCWD, path, flags, mode);
}

EXPORT int openat(int dir, const char *path, int flags, ...) {
  WITH_MODE(flags)
  return do_open(dir, path, flags, mode);
}

EXPORT int openat64(int dir, const char *path, int flags, ...) {
  WITH_MODE(flags)
  return do_open(dir, path, flags, mode);
}

EXPORT int creat(const char *path, mode_t mode) {
  return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

EXPORT long syscall(long number, ...) {
  long a[6];
  va_list args;
  va_start(args, number);
  for (int i = 0; i < 6; i++)
    a[i] = va_arg(args, long);
  va_end(args);
  begin();
  struct stat info;
  const char *path = number == SYS_openat2 ? (const char *)a[1] : NULL;
  bool existed = path != NULL && fstatat((int)a[0], path, &info, 0) == 0;
  long result = real.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  int kept = errno;
  if (path != NULL && result >= 0)
    note_open((int)result, existed, (int)((const struct open_how *)a[2])->flags);
  errno = kept;
  end();
  return result;
}

/* --- writing --- */

static void note_write(int fd, uint64_t inode, off_t offset, const void *bytes, ssize_t len) {
  int flags = fcntl(fd, F_GETFL);
  bool sync = flags >= 0 && (flags & O_DSYNC) != 0;
  if (len > 0)
    log_record((fault_record){.kind = FAULT_WRITE,
                              .sync = sync,
                              .inode = inode,
                              .offset = (uint64_t)offset,
                              .data_len = (uint64_t)len},
               NULL, bytes);
}

static void note_vector(int fd, uint64_t inode, off_t offset, const struct iovec *parts, int count,
                        ssize_t len) {
  for (int i = 0; i < count && len > 0; i++) {
    ssize_t part = (ssize_t)parts[i].iov_len < len ? (ssize_t)parts[i].iov_len : len;
    note_write(fd, inode, offset, parts[i].iov_base, part);
    offset += part;
    len -= part;
  }
}

static off_t position(int fd) {
  struct stat info;
  int flags = fcntl(fd, F_GETFL);
  if (flags >= 0 && (flags & O_APPEND) != 0 && fstat(fd, &info) == 0) return info.st_size;
  return lseek(fd, 0, SEEK_CUR);
}

EXPORT ssize_t write(int fd, const void *bytes, size_t len) {
  begin();
  uint64_t inode = recorded(fd);
  off_t at = inode ? position(fd) : 0;
  ssize_t put = real.write(fd, bytes, len);
  if (inode && put > 0) note_write(fd, inode, at, bytes, put);
  if (fd == 1 && root[0] != 0 && put > 0)
    log_record((fault_record){.kind = FAULT_MARK, .data_len = (uint64_t)put}, NULL, bytes);
  end();
  return put;
}

EXPORT ssize_t writev(int fd, const struct iovec *parts, int count) {
  begin();
  uint64_t inode = recorded(fd);
  off_t at = inode ? position(fd) : 0;
  ssize_t put = real.writev(fd, parts, count);
  if (inode && put > 0) note_vector(fd, inode, at, parts, count, put);
  end();
  return put;
}

static ssize_t do_pwrite(int fd, const void *bytes, size_t len, off_t at) {
  begin();
  uint64_t inode = recorded(fd);
  ssize_t put = real.pwrite(fd, bytes, len, at);
  if (inode && put > 0) note_write(fd, inode, at, bytes, put);
  end();
  return put;
}

EXPORT ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at) {
  return do_pwrite(fd, bytes, len, at);
}

EXPORT ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at) {
  return do_pwrite(fd, bytes, len, at);
}

static ssize_t do_pwritev(int fd, const struct iovec *parts, int count, off_t at) {
  begin();
  uint64_t inode = recorded(fd);
  ssize_t put = real.pwritev(fd, parts, count, at);
  if (inode && put > 0) note_vector(fd, inode, at, parts, count, put);
  end();
  return put;
}

EXPORT ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
  return do_pwritev(fd, parts, count, at);
}

EXPORT ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
  return do_pwritev(fd, parts, count, at);
}

static int do_ftruncate(int fd, off_t size) {
  begin();
  uint64_t inode = recorded(fd);
  int rc = real.ftruncate(fd, size);
  if (inode && rc == 0)
    log_record((fault_record){.kind = FAULT_SIZE, .inode = inode, .offset = (uint64_t)size}, NULL,
               NULL);
  end();
  return rc;
}

EXPORT int ftruncate(int fd, off_t size) {
  return do_ftruncate(fd, size);
}

EXPORT int ftruncate64(int fd, off64_t size) {
  return do_ftruncate(fd, size);
}

static void note_grow(uint64_t inode, off_t size) {
  log_record((fault_record){.kind = FAULT_GROW, .inode = inode, .offset = (uint64_t)size}, NULL,
             NULL);
}

static int do_fallocate(int fd, int mode, off_t offset, off_t len) {
  begin();
  uint64_t inode = recorded(fd);
  int rc = real.fallocate(fd, mode, offset, len);
  if (inode && rc == 0) {
    if (mode != 0) fatal("fallocate with a mode is not recorded");
    note_grow(inode, offset + len);
  }
  end();
  return rc;
}

EXPORT int fallocate(int fd, int mode, off_t offset, off_t len) {
  return do_fallocate(fd, mode, offset, len);
}

EXPORT int fallocate64(int fd, int mode, off64_t offset, off64_t len) {
  return do_fallocate(fd, mode, offset, len);
}

static int do_posix_fallocate(int fd, off_t offset, off_t len) {
  begin();
  uint64_t inode = recorded(fd);
  int rc = real.posix_fallocate(fd, offset, len);
  if (inode && rc == 0) note_grow(inode, offset + len);
  end();
  return rc;
}

EXPORT int posix_fallocate(int fd, off_t offset, off_t len) {
  return do_posix_fallocate(fd, offset, len);
}

EXPORT int posix_fallocate64(int fd, off64_t offset, off64_t len) {
  return do_posix_fallocate(fd, offset, len);
}

/* --- syncing --- */

static void note_sync(int fd, uint64_t inode) {
  struct stat info;
  char path[PATH_MAX];
  if (inode != 0) {
    log_record((fault_record){.kind = FAULT_SYNC, .inode = inode}, NULL, NULL);
    return;
  }
  if (root[0] == 0 || fstat(fd, &info) != 0 || !S_ISDIR(info.st_mode) || !fd_path(fd, path)) return;
  const char *relative = under_root(path);
  if (relative != NULL) log_record((fault_record){.kind = FAULT_SYNCDIR}, relative, NULL);
}

EXPORT int fsync(int fd) {
  begin();
  int rc = real.fsync(fd);
  if (rc == 0) note_sync(fd, recorded(fd));
  end();
  return rc;
}

EXPORT int fdatasync(int fd) {
  begin();
  int rc = real.fdatasync(fd);
  if (rc == 0) note_sync(fd, recorded(fd));
  end();
  return rc;
}

/* --- names --- */

static int do_mkdir(int dir, const char *name, mode_t mode) {
  char path[PATH_MAX];
  begin();
  int rc = real.mkdirat(dir, name, mode);
  const char *full = rc == 0 ? absolute(dir, name, path) : NULL;
  const char *relative = full ? under_root(full) : NULL;
  if (relative != NULL) log_record((fault_record){.kind = FAULT_MKDIR}, relative, NULL);
  end();
  return rc;
}

EXPORT int mkdir(const char *name, mode_t mode) {
  return do_mkdir(AT_FDCWD, name, mode);
}

EXPORT int mkdirat(int dir, const char *name, mode_t mode) {
  return do_mkdir(dir, name, mode);
}

static void note_two(fault_kind kind, const char *from, const char *to) {
  const char *a = from ? under_root(from) : NULL;
  const char *b = to ? under_root(to) : NULL;
  if (a == NULL && b == NULL) return;
  if (a == NULL || b == NULL) fatal("a name crosses the root");
  log_record((fault_record){.kind = (uint8_t)kind, .data_len = strlen(b)}, a, b);
}

static int do_rename(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
  char a[PATH_MAX];
  char b[PATH_MAX];
  begin();
  const char *full_from = absolute(from_dir, from, a);
  const char *full_to = absolute(to_dir, to, b);
  int rc = real.renameat2(from_dir, from, to_dir, to, flags);
  if (rc == 0) note_two(FAULT_RENAME, full_from, full_to);
  end();
  return rc;
}

EXPORT int rename(const char *from, const char *to) {
  return do_rename(AT_FDCWD, from, AT_FDCWD, to, 0);
}

EXPORT int renameat(int from_dir, const char *from, int to_dir, const char *to) {
  return do_rename(from_dir, from, to_dir, to, 0);
}

EXPORT int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
  return do_rename(from_dir, from, to_dir, to, flags);
}

static int do_link(int from_dir, const char *from, int to_dir, const char *to, int flags) {
  char a[PATH_MAX];
  char b[PATH_MAX];
  begin();
  const char *full_from = absolute(from_dir, from, a);
  const char *full_to = absolute(to_dir, to, b);
  int rc = real.linkat(from_dir, from, to_dir, to, flags);
  if (rc == 0) note_two(FAULT_LINK, full_from, full_to);
  end();
  return rc;
}

EXPORT int link(const char *from, const char *to) {
  return do_link(AT_FDCWD, from, AT_FDCWD, to, 0);
}

EXPORT int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
  return do_link(from_dir, from, to_dir, to, flags);
}

static int do_unlink(int dir, const char *name, int flags) {
  char path[PATH_MAX];
  begin();
  const char *full = absolute(dir, name, path);
  int rc = real.unlinkat(dir, name, flags);
  const char *relative = rc == 0 && full ? under_root(full) : NULL;
  if (relative != NULL) log_record((fault_record){.kind = FAULT_UNLINK}, relative, NULL);
  end();
  return rc;
}

EXPORT int unlink(const char *name) {
  return do_unlink(AT_FDCWD, name, 0);
}

EXPORT int unlinkat(int dir, const char *name, int flags) {
  return do_unlink(dir, name, flags);
}

EXPORT int rmdir(const char *name) {
  return do_unlink(AT_FDCWD, name, AT_REMOVEDIR);
}
