#include "blocklog.h"

#include "host/base/file.h"
#include "host/base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "host/base/banned.h"

#define MAGIC      0x4b4c4244u /* "DBLK" */
#define HEAD_BYTES 16u
#define CRC_BYTES  4u
#define PATH_MAX_  4096

_Static_assert(DEAI_BLOCKLOG_FRAME_BYTES == HEAD_BYTES + CRC_BYTES, "as the header says");

struct deai_blocklog {
  int fd;
  uint64_t size;
};

static void put_le(uint8_t *out, uint64_t value, uint32_t len) {
  for (uint32_t i = 0; i < len; i++)
    out[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_le(const uint8_t *from, uint32_t len) {
  uint64_t value = 0;
  for (uint32_t i = len; i-- > 0;)
    value = value << 8 | from[i];
  return value;
}

static int32_t io_error(const char *what, char *err, uint32_t err_cap) {
  int code = errno;
  bool full = code == ENOSPC || code == EDQUOT;
  (void)snprintf(err, err_cap, "expected to %s the block log, found: %s%s", what, strerror(code),
                 full ? "; free some space on that disk, then restart the node" : "");
  return full ? DEAI_EFULL : DEAI_EIO;
}

/* Makes the name of a new log durable. */
static int32_t folder_sync(const char *path, char *err, uint32_t err_cap) {
  char folder[PATH_MAX_];
  const char *slash = strrchr(path, '/');
  int len = slash == NULL ? 0 : (int)(slash - path);
  int used = slash == NULL ? snprintf(folder, sizeof folder, ".")
                           : snprintf(folder, sizeof folder, "%.*s", len, path);
  if (used < 0 || (size_t)used >= sizeof folder) return DEAI_ETOOLARGE;
  return deai_folder_sync(folder, err, err_cap);
}

int32_t deai_blocklog_open(const char *path, int32_t create, deai_blocklog **log_out, char *err,
                           uint32_t err_cap) {
  struct stat info;
  int flags = create ? O_RDWR | O_CREAT : O_RDONLY;
  int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    int missing = errno == ENOENT;
    int32_t status = io_error("open", err, err_cap);
    return missing ? DEAI_ENOTFOUND : status;
  }
  int32_t status = fstat(fd, &info) == 0 ? DEAI_OK : io_error("open", err, err_cap);
  if (status == DEAI_OK && create) status = folder_sync(path, err, err_cap);
  deai_blocklog *log = status == DEAI_OK ? malloc(sizeof *log) : NULL;
  if (log == NULL) {
    (void)close(fd);
    return status == DEAI_OK ? DEAI_ENOMEM : status;
  }
  log->fd = fd;
  log->size = (uint64_t)info.st_size;
  *log_out = log;
  return DEAI_OK;
}

void deai_blocklog_close(deai_blocklog *log) {
  if (log == NULL) return;
  (void)close(log->fd);
  free(log);
}

uint64_t deai_blocklog_size(const deai_blocklog *log) {
  return log->size;
}

/* Reads len bytes or fails: a file that ends before is a frame that is cut short. */
static int32_t read_exact(int fd, uint8_t *out, uint64_t len, uint64_t at) {
  uint64_t got = 0;
  while (got < len) {
    ssize_t part = pread(fd, out + got, (size_t)(len - got), (off_t)(at + got));
    if (part < 0 && errno == EINTR) continue;
    if (part < 0) return DEAI_EIO;
    if (part == 0) return got == 0 ? DEAI_ENOTFOUND : DEAI_EVERIFY;
    got += (uint64_t)part;
  }
  return DEAI_OK;
}

int32_t deai_blocklog_read(const deai_blocklog *log, uint64_t at, deai_blocklog_frame *frame) {
  uint8_t head[HEAD_BYTES];
  memset(frame, 0, sizeof *frame);
  int32_t status = read_exact(log->fd, head, sizeof head, at);
  if (status != DEAI_OK) return status;
  uint64_t len = get_le(head + 4, 4);
  if (get_le(head, 4) != MAGIC || len > DEAI_BLOCKLOG_PAYLOAD_MAX) return DEAI_EVERIFY;
  uint8_t *payload = malloc((size_t)len + CRC_BYTES);
  if (payload == NULL) return DEAI_ENOMEM;
  status = read_exact(log->fd, payload, len + CRC_BYTES, at + HEAD_BYTES);
  if (status == DEAI_ENOTFOUND) status = DEAI_EVERIFY;
  uint32_t crc = deai_crc32c(DEAI_CRC32C_START, deai_bytes_of(head, sizeof head));
  if (status == DEAI_OK &&
      deai_crc32c(crc, deai_bytes_of(payload, len)) != get_le(payload + len, CRC_BYTES))
    status = DEAI_EVERIFY;
  if (status != DEAI_OK) {
    free(payload);
    return status;
  }
  frame->height = get_le(head + 8, 8);
  frame->next = at + HEAD_BYTES + len + CRC_BYTES;
  frame->payload = payload;
  frame->len = len;
  return DEAI_OK;
}

/* Writes the parts behind each other from byte at on. */
static int32_t write_parts(int fd, struct iovec *parts, int count, uint64_t at) {
  while (count > 0) {
    ssize_t put = pwritev(fd, parts, count, (off_t)at);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return DEAI_EIO;
    at += (uint64_t)put;
    while (count > 0 && (size_t)put >= parts->iov_len) {
      put -= (ssize_t)parts->iov_len;
      parts++;
      count--;
    }
    if (count > 0) {
      parts->iov_base = (uint8_t *)parts->iov_base + put;
      parts->iov_len -= (size_t)put;
    }
  }
  return DEAI_OK;
}

int32_t deai_blocklog_append(deai_blocklog *log, uint64_t height, deai_bytes payload, char *err,
                             uint32_t err_cap) {
  uint8_t head[HEAD_BYTES], tail[CRC_BYTES];
  if (payload.len > DEAI_BLOCKLOG_PAYLOAD_MAX) return DEAI_ETOOLARGE;
  put_le(head, MAGIC, 4);
  put_le(head + 4, payload.len, 4);
  put_le(head + 8, height, 8);
  uint32_t crc = deai_crc32c(DEAI_CRC32C_START, deai_bytes_of(head, sizeof head));
  put_le(tail, deai_crc32c(crc, payload), sizeof tail);
  struct iovec parts[3] = {{head, sizeof head},
                           {(void *)(uintptr_t)payload.ptr, (size_t)payload.len},
                           {tail, sizeof tail}};
  if (write_parts(log->fd, parts, 3, log->size) != DEAI_OK) return io_error("write", err, err_cap);
  log->size += payload.len + DEAI_BLOCKLOG_FRAME_BYTES;
  return DEAI_OK;
}

int32_t deai_blocklog_sync(deai_blocklog *log, char *err, uint32_t err_cap) {
  return fdatasync(log->fd) == 0 ? DEAI_OK : io_error("sync", err, err_cap);
}

int32_t deai_blocklog_cut(deai_blocklog *log, uint64_t at, char *err, uint32_t err_cap) {
  if (ftruncate(log->fd, (off_t)at) != 0) return io_error("cut", err, err_cap);
  log->size = at;
  return fsync(log->fd) == 0 ? DEAI_OK : io_error("sync", err, err_cap);
}
