#include "orderstate.h"

#include "host/base/file.h"
#include "host/base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/base/banned.h"

#define MAGIC      0x53524f44u /* "DORS" */
#define VERSION    1u
#define SLOT_BYTES 512u
#define USED_BYTES 52u /* of a slot */
#define CRC_AT     48u

struct deai_orderstate {
  int fd;
  uint32_t slot; /* that holds the newest */
  uint64_t height;
  uint8_t hash[DEAI_HASH_BYTES];
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

static void slot_make(uint8_t out[SLOT_BYTES], uint64_t height,
                      const uint8_t hash[DEAI_HASH_BYTES]) {
  memset(out, 0, SLOT_BYTES);
  put_le(out, MAGIC, 4);
  put_le(out + 4, VERSION, 4);
  put_le(out + 8, height, 8);
  memcpy(out + 16, hash, DEAI_HASH_BYTES);
  put_le(out + CRC_AT, deai_crc32c(DEAI_CRC32C_START, deai_bytes_of(out, CRC_AT)), 4);
}

static int32_t slot_good(const uint8_t slot[USED_BYTES]) {
  uint32_t crc = deai_crc32c(DEAI_CRC32C_START, deai_bytes_of(slot, CRC_AT));
  return get_le(slot, 4) == MAGIC && get_le(slot + 4, 4) == VERSION &&
         get_le(slot + CRC_AT, 4) == crc;
}

static int32_t load(deai_orderstate *state) {
  int32_t found = 0;
  for (uint32_t i = 0; i < 2; i++) {
    uint8_t slot[USED_BYTES];
    ssize_t got = pread(state->fd, slot, sizeof slot, (off_t)(i * SLOT_BYTES));
    if (got < 0) return DEAI_EIO;
    if ((size_t)got < sizeof slot || !slot_good(slot)) continue;
    uint64_t height = get_le(slot + 8, 8);
    if (found && height <= state->height) continue;
    found = 1;
    state->slot = i;
    state->height = height;
    memcpy(state->hash, slot + 16, DEAI_HASH_BYTES);
  }
  return found ? DEAI_OK : DEAI_EVERIFY;
}

static int32_t make(const char *path, char *err, uint32_t err_cap) {
  uint8_t slots[2 * SLOT_BYTES];
  uint8_t hash[DEAI_HASH_BYTES] = {0};
  slot_make(slots, 0, hash);
  slot_make(slots + SLOT_BYTES, 0, hash);
  return deai_file_create(path, deai_bytes_of(slots, sizeof slots), 0600, err, err_cap);
}

int32_t deai_orderstate_open(const char *path, int32_t create, deai_orderstate **state_out,
                             char *err, uint32_t err_cap) {
  int32_t status = DEAI_OK;
  int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 && errno == ENOENT && create) {
    status = make(path, err, err_cap);
    if (status == DEAI_OK) fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  }
  if (fd < 0) {
    if (status == DEAI_OK) {
      status = errno == ENOENT ? DEAI_ENOTFOUND : DEAI_EIO;
      (void)snprintf(err, err_cap, "expected the file %s, found: %s", path, strerror(errno));
    }
    return status;
  }
  deai_orderstate *state = calloc(1, sizeof *state);
  if (state == NULL) {
    (void)close(fd);
    return DEAI_ENOMEM;
  }
  state->fd = fd;
  status = load(state);
  if (status != DEAI_OK) {
    (void)snprintf(err, err_cap, "expected a good slot in %s, found none: it is damaged", path);
    deai_orderstate_close(state);
    return status;
  }
  *state_out = state;
  return DEAI_OK;
}

void deai_orderstate_close(deai_orderstate *state) {
  if (state == NULL) return;
  (void)close(state->fd);
  free(state);
}

uint64_t deai_orderstate_get(const deai_orderstate *state, uint8_t hash[DEAI_HASH_BYTES]) {
  memcpy(hash, state->hash, DEAI_HASH_BYTES);
  return state->height;
}

int32_t deai_orderstate_put(deai_orderstate *state, uint64_t height,
                            const uint8_t hash[DEAI_HASH_BYTES], char *err, uint32_t err_cap) {
  uint8_t slot[SLOT_BYTES];
  uint32_t other = state->slot ^ 1u;
  slot_make(slot, height, hash);
  ssize_t put = pwrite(state->fd, slot, sizeof slot, (off_t)(other * SLOT_BYTES));
  if (put != (ssize_t)sizeof slot || fdatasync(state->fd) != 0) {
    (void)snprintf(err, err_cap, "expected to write order.state, found: %s", strerror(errno));
    return DEAI_EIO;
  }
  state->slot = other;
  state->height = height;
  memcpy(state->hash, hash, DEAI_HASH_BYTES);
  return DEAI_OK;
}
