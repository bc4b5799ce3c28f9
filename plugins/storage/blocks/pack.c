#include "pack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <unistd.h>

#include "host/base/banned.h"

#define PACK_MAGIC        "deaiPAK1"
#define RECORD_MAGIC      0x4b4c4244u /* "DBLK" */
#define RESYNC_BYTES      (64u << 10) /* read at a time while looking for a record */
#define RECORD_ROOM_BYTES (BLOCKS_RECORD_HEAD_BYTES + BLOCKS_CID_BYTES_MAX)

void blocks_put_u32(uint8_t *at, uint32_t value) {
  for (int i = 0; i < 4; i++)
    at[i] = (uint8_t)(value >> (8 * i));
}

void blocks_put_u64(uint8_t *at, uint64_t value) {
  for (int i = 0; i < 8; i++)
    at[i] = (uint8_t)(value >> (8 * i));
}

uint32_t blocks_get_u32(const uint8_t *at) {
  uint32_t value = 0;
  for (int i = 0; i < 4; i++)
    value |= (uint32_t)at[i] << (8 * i);
  return value;
}

uint64_t blocks_get_u64(const uint8_t *at) {
  return blocks_get_u32(at) | (uint64_t)blocks_get_u32(at + 4) << 32;
}

void blocks_pack_name(uint64_t number, char out[32]) {
  (void)snprintf(out, 32, "%012" PRIx64 ".pack", number);
}

int32_t blocks_read_at(int fd, uint64_t offset, void *out, size_t len, blocks_error *err) {
  size_t done = 0;
  while (done < len) {
    ssize_t got = pread(fd, (uint8_t *)out + done, len - done, (off_t)(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EIO) /* the disk lost it: the same as wrong bytes */
      return blocks_fail(err, DEAI_EVERIFY, "store: the disk cannot read %zu bytes", len);
    if (got < 0) return blocks_fail_errno(err, errno, "read of the store");
    if (got == 0)
      return blocks_fail(err, DEAI_EVERIFY, "store: expected %zu bytes, the file ends after %zu",
                         len, done);
    done += (size_t)got;
  }
  return DEAI_OK;
}

int32_t blocks_write_at(int fd, uint64_t offset, const void *bytes, size_t len, blocks_error *err) {
  size_t done = 0;
  while (done < len) {
    ssize_t put = pwrite(fd, (const uint8_t *)bytes + done, len - done, (off_t)(offset + done));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return blocks_fail_errno(err, put < 0 ? errno : EIO, "write to the store");
    done += (size_t)put;
  }
  return DEAI_OK;
}

static int32_t create_header(int fd, uint64_t number, uint32_t *salt_out, blocks_error *err) {
  uint8_t head[BLOCKS_PACK_HEAD_BYTES];
  if (getrandom(salt_out, sizeof *salt_out, 0) != (ssize_t)sizeof *salt_out)
    return blocks_fail_errno(err, errno, "random number for a pack");
  memcpy(head, PACK_MAGIC, 8);
  blocks_put_u64(head + 8, number);
  blocks_put_u32(head + 16, *salt_out);
  blocks_put_u32(head + 20, blocks_crc32c(0, head, 20));
  int32_t status = blocks_write_at(fd, 0, head, sizeof head, err);
  if (status == DEAI_OK && fdatasync(fd) != 0)
    status = blocks_fail_errno(err, errno, "sync of a new pack");
  return status;
}

int32_t blocks_pack_create(int dir, uint64_t number, uint32_t *salt_out, blocks_error *err) {
  char name[32];
  blocks_pack_name(number, name);
  int fd = openat(dir, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) return blocks_fail_errno(err, errno, "new pack");
  int32_t status = create_header(fd, number, salt_out, err);
  if (status == DEAI_OK && fsync(dir) != 0)
    status = blocks_fail_errno(err, errno, "sync of the folder of packs");
  if (status == DEAI_OK) return fd;
  (void)close(fd);
  (void)unlinkat(dir, name, 0);
  return status;
}

int32_t blocks_pack_open(int dir, uint64_t number, int *fd_out, uint32_t *salt_out,
                         blocks_error *err) {
  char name[32];
  uint8_t head[BLOCKS_PACK_HEAD_BYTES];
  blocks_pack_name(number, name);
  *fd_out = openat(dir, name, O_RDWR | O_CLOEXEC);
  if (*fd_out < 0)
    return blocks_fail(err, errno == ENOENT ? DEAI_ENOTFOUND : DEAI_EIO, "pack %s: %s", name,
                       strerror(errno));
  int32_t status = blocks_read_at(*fd_out, 0, head, sizeof head, err);
  if (status != DEAI_OK) return status;
  if (memcmp(head, PACK_MAGIC, 8) != 0 || blocks_get_u64(head + 8) != number ||
      blocks_get_u32(head + 20) != blocks_crc32c(0, head, 20))
    return blocks_fail(err, DEAI_EVERIFY, "pack %s: expected its header, found other bytes", name);
  *salt_out = blocks_get_u32(head + 16);
  return DEAI_OK;
}

uint64_t blocks_record_bytes(const blocks_cid *cid, uint64_t data_bytes) {
  return BLOCKS_RECORD_HEAD_BYTES + cid->len + data_bytes;
}

static uint32_t head_crc(const uint8_t *head, const blocks_cid *cid, uint32_t salt) {
  return blocks_crc32c(blocks_crc32c(salt, head, 16), cid->bytes, cid->len);
}

/* the bytes that a short writev left out */
static int32_t write_rest(int fd, uint64_t offset, size_t done, deai_bytes head, deai_bytes data,
                          blocks_error *err) {
  if (done < head.len) {
    int32_t status =
        blocks_write_at(fd, offset + done, head.ptr + done, (size_t)head.len - done, err);
    if (status != DEAI_OK) return status;
    done = (size_t)head.len;
  }
  size_t skip = done - (size_t)head.len;
  return blocks_write_at(fd, offset + done, data.ptr + skip, (size_t)data.len - skip, err);
}

int32_t blocks_record_write(int fd, uint32_t salt, uint64_t offset, blocks_record *record,
                            deai_bytes data, blocks_error *err) {
  uint8_t head[RECORD_ROOM_BYTES];
  size_t head_len = BLOCKS_RECORD_HEAD_BYTES + (size_t)record->cid.len;
  if (data.len > BLOCKS_RECORD_BYTES_MAX)
    return blocks_fail(err, DEAI_ETOOLARGE, "record: expected at most %u bytes, found %" PRIu64,
                       BLOCKS_RECORD_BYTES_MAX, data.len);
  record->len = (uint32_t)data.len;
  record->data_offset = offset + head_len;
  blocks_put_u32(head, RECORD_MAGIC);
  head[4] = (uint8_t)record->kind;
  head[5] = record->cid.len;
  head[6] = head[7] = 0;
  blocks_put_u32(head + 8, record->len);
  blocks_put_u32(head + 12, record->crc);
  blocks_put_u32(head + 16, head_crc(head, &record->cid, salt));
  memcpy(head + BLOCKS_RECORD_HEAD_BYTES, record->cid.bytes, record->cid.len);
  struct iovec parts[2] = {{.iov_base = head, .iov_len = head_len},
                           {.iov_base = (void *)(uintptr_t)data.ptr, .iov_len = (size_t)data.len}};
  ssize_t put = pwritev(fd, parts, data.len > 0 ? 2 : 1, (off_t)offset);
  if (put < 0 && errno != EINTR) return blocks_fail_errno(err, errno, "write to a pack");
  size_t done = put > 0 ? (size_t)put : 0;
  if (done == head_len + data.len) return DEAI_OK;
  return write_rest(fd, offset, done, deai_bytes_of(head, head_len), data, err);
}

static int32_t record_head(const uint8_t *room, size_t room_len, uint32_t salt, uint64_t offset,
                           blocks_record *record, blocks_error *err) {
  if (room_len < BLOCKS_RECORD_HEAD_BYTES || blocks_get_u32(room) != RECORD_MAGIC ||
      room[5] > room_len - BLOCKS_RECORD_HEAD_BYTES)
    return blocks_fail(err, DEAI_EVERIFY, "pack: expected a record at %" PRIu64 ", found none",
                       offset);
  deai_bytes bytes = deai_bytes_of(room + BLOCKS_RECORD_HEAD_BYTES, room[5]);
  uint32_t len = blocks_get_u32(room + 8);
  if (blocks_cid_of_bytes(bytes, &record->cid, NULL) != DEAI_OK ||
      blocks_get_u32(room + 16) != head_crc(room, &record->cid, salt) ||
      room[4] < BLOCKS_RECORD_BLOCK || room[4] > BLOCKS_RECORD_PIN || len > BLOCKS_RECORD_BYTES_MAX)
    return blocks_fail(err, DEAI_EVERIFY, "pack: damaged record at %" PRIu64, offset);
  record->kind = (blocks_record_kind)room[4];
  record->len = len;
  record->crc = blocks_get_u32(room + 12);
  record->data_offset = offset + BLOCKS_RECORD_HEAD_BYTES + record->cid.len;
  return DEAI_OK;
}

int32_t blocks_record_read(int fd, uint32_t salt, uint64_t offset, blocks_record *record,
                           blocks_buf *buf, blocks_error *err) {
  uint8_t room[RECORD_ROOM_BYTES];
  ssize_t got;
  do {
    got = pread(fd, room, sizeof room, (off_t)offset);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return blocks_fail_errno(err, errno, "read of a pack");
  if (got == 0) return blocks_fail(err, DEAI_ENOTFOUND, "pack: its end");
  int32_t status = record_head(room, (size_t)got, salt, offset, record, err);
  if (status != DEAI_OK) return status;
  status = blocks_buf_reserve(buf, record->len);
  if (status != DEAI_OK) return blocks_fail(err, status, "pack: no memory for a record");
  status = blocks_read_at(fd, record->data_offset, buf->ptr, record->len, err);
  if (status != DEAI_OK) return status;
  buf->len = record->len;
  if (blocks_crc32c(0, buf->ptr, buf->len) != record->crc)
    return blocks_fail(err, DEAI_EVERIFY, "pack: damaged data of the record at %" PRIu64, offset);
  return DEAI_OK;
}

int32_t blocks_record_find(int fd, uint32_t salt, uint64_t offset, uint64_t *found_out,
                           blocks_buf *buf, blocks_error *err) {
  static const uint8_t magic[4] = {0x44, 0x42, 0x4c, 0x4b};
  uint8_t window[RESYNC_BYTES];
  blocks_record record;
  for (;;) {
    ssize_t got = pread(fd, window, sizeof window, (off_t)offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return blocks_fail_errno(err, errno, "read of a pack");
    if (got < (ssize_t)sizeof magic) return DEAI_ENOTFOUND;
    const uint8_t *hit = memmem(window, (size_t)got, magic, sizeof magic);
    if (hit == NULL) {
      offset += (uint64_t)got - sizeof magic + 1;
      continue;
    }
    offset += (uint64_t)(hit - window);
    int32_t status = blocks_record_read(fd, salt, offset, &record, buf, err);
    if (status == DEAI_OK) {
      *found_out = offset;
      return DEAI_OK;
    }
    if (status != DEAI_EVERIFY && status != DEAI_ENOTFOUND) return status;
    offset++;
  }
}
