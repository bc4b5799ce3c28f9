#include "apikeys.h"

#include "deai/plugin.h"
#include "host/base/base32.h"
#include "host/base/file.h"
#include "host/base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

#define FILE_MAX    (DEAI_APIKEYS_MAX * (2u * DEAI_HASH_BYTES + DEAI_APIKEYS_NAME_MAX + 2u))
#define PATH_CAP    4200
#define RANDOM      32u
#define PREFIX      "deai-"
#define HASH_DIGITS ((size_t)2 * DEAI_HASH_BYTES)

static const char domain[] = "deai/api-key/1"; /* hashed with its zero byte */

static void hash_secret(deai_str secret, uint8_t out[DEAI_HASH_BYTES]) {
  deai_bytes parts[] = {deai_bytes_of(domain, sizeof domain),
                        deai_bytes_of(secret.ptr, secret.len)};
  deai_sha256_parts(parts, 2, out);
}

static bool name_ok(const char *name) {
  size_t len = strlen(name);
  for (size_t i = 0; i < len; i++)
    if (name[i] <= ' ' || name[i] > '~') return false;
  return len >= 1 && len <= DEAI_APIKEYS_NAME_MAX;
}

/* read_line reads "HASH NAME"; false when it is none. */
static bool read_line(const char *line, deai_apikey *out) {
  size_t digits = 0;
  if (strlen(line) <= HASH_DIGITS + 1 || line[HASH_DIGITS] != ' ') return false;
  if (sodium_hex2bin(out->hash, sizeof out->hash, line, HASH_DIGITS, NULL, &digits, NULL) != 0 ||
      digits != sizeof out->hash)
    return false;
  if (!name_ok(line + HASH_DIGITS + 1)) return false;
  (void)snprintf(out->name, sizeof out->name, "%s", line + HASH_DIGITS + 1);
  return true;
}

static int32_t read_lines(char *text, const char *path, deai_apikeys *out, char *err,
                          uint32_t err_cap) {
  unsigned number = 0;
  for (char *line = strsep(&text, "\n"); line != NULL; line = strsep(&text, "\n")) {
    number++;
    if (line[0] == 0) continue;
    if (out->count == DEAI_APIKEYS_MAX)
      return deai_err(err, err_cap, DEAI_EFULL, "%s: at most %u keys expected", path,
                      DEAI_APIKEYS_MAX);
    if (!read_line(line, &out->rows[out->count]))
      return deai_err(
          err, err_cap, DEAI_EINVAL,
          "%s:%u: expected 64 hex digits, a space and a name; remove the line, and make "
          "the key anew with: deai key add NAME",
          path, number);
    out->count++;
  }
  return DEAI_OK;
}

int32_t deai_apikeys_load(const char *data, deai_apikeys *out, char *err, uint32_t err_cap) {
  char path[PATH_CAP];
  uint8_t *bytes = NULL;
  uint64_t len = 0;
  *out = (deai_apikeys){0};
  int32_t status = deai_path_join(path, sizeof path, data, "api-keys");
  if (status == DEAI_OK) status = deai_file_read(path, FILE_MAX, &bytes, &len, err, err_cap);
  if (status == DEAI_ENOTFOUND) return DEAI_OK;
  if (status != DEAI_OK) return status;
  out->rows = calloc(DEAI_APIKEYS_MAX, sizeof *out->rows);
  status = out->rows == NULL ? DEAI_ENOMEM : read_lines((char *)bytes, path, out, err, err_cap);
  free(bytes);
  if (status != DEAI_OK) deai_apikeys_free(out);
  return status;
}

void deai_apikeys_free(deai_apikeys *keys) {
  free(keys->rows);
  *keys = (deai_apikeys){0};
}

int32_t deai_apikeys_refresh(const char *data, deai_apikeys *keys, char *err, uint32_t err_cap) {
  char path[PATH_CAP];
  struct stat now = {0};
  int32_t status = deai_path_join(path, sizeof path, data, "api-keys");
  if (status != DEAI_OK) return status;
  if (stat(path, &now) != 0) now = (struct stat){0};
  uint64_t stamp[4] = {(uint64_t)now.st_ino, (uint64_t)now.st_size, (uint64_t)now.st_mtim.tv_sec,
                       (uint64_t)now.st_mtim.tv_nsec};
  if (memcmp(stamp, keys->stamp, sizeof stamp) == 0) return DEAI_OK;
  deai_apikeys_free(keys);
  status = deai_apikeys_load(data, keys, err, err_cap);
  memcpy(keys->stamp, stamp, sizeof stamp);
  return status;
}

const deai_apikey *deai_apikeys_find(const deai_apikeys *keys, deai_str secret) {
  uint8_t hash[DEAI_HASH_BYTES];
  const deai_apikey *found = NULL;
  hash_secret(secret, hash);
  for (uint32_t i = 0; i < keys->count; i++)
    if (sodium_memcmp(keys->rows[i].hash, hash, sizeof hash) == 0) found = &keys->rows[i];
  sodium_memzero(hash, sizeof hash);
  return found;
}

void deai_apikeys_id(const deai_apikey *key, char out[DEAI_APIKEYS_ID_TEXT_CAP]) {
  (void)sodium_bin2hex(out, DEAI_APIKEYS_ID_TEXT_CAP, key->hash, DEAI_APIKEYS_ID_TEXT_CAP / 2);
}

/* ---- changes ---- */

static int32_t lock_open(const char *data, int *fd_out, char *err, uint32_t err_cap) {
  char path[PATH_CAP];
  int32_t status = deai_path_join(path, sizeof path, data, "api-keys.lock");
  if (status != DEAI_OK) return status;
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  int failed = fd < 0 ? -1 : flock(fd, LOCK_EX);
  if (failed == 0) {
    *fd_out = fd;
    return DEAI_OK;
  }
  status = deai_err(err, err_cap, DEAI_EIO,
                    "%s: %s; expected a data folder that this user may write (deai init makes one)",
                    path, strerror(errno));
  if (fd >= 0) (void)close(fd);
  return status;
}

static int32_t save(const char *data, const deai_apikeys *keys, char *err, uint32_t err_cap) {
  char path[PATH_CAP];
  char *text = NULL;
  size_t len = 0;
  int32_t status = deai_path_join(path, sizeof path, data, "api-keys");
  if (status != DEAI_OK) return status;
  FILE *out = open_memstream(&text, &len);
  if (out == NULL) return DEAI_ENOMEM;
  for (uint32_t i = 0; i < keys->count; i++) {
    char hex[HASH_DIGITS + 1];
    (void)sodium_bin2hex(hex, sizeof hex, keys->rows[i].hash, DEAI_HASH_BYTES);
    (void)fprintf(out, "%s %s\n", hex, keys->rows[i].name);
  }
  status = fclose(out) != 0 ? DEAI_ENOMEM
                            : deai_file_replace(path, deai_bytes_of(text, len), 0600, err, err_cap);
  free(text);
  return status;
}

static void make_secret(char out[DEAI_APIKEYS_SECRET_CAP]) {
  uint8_t random[RANDOM];
  randombytes_buf(random, sizeof random);
  (void)snprintf(out, DEAI_APIKEYS_SECRET_CAP, "%s", PREFIX);
  int32_t status = deai_base32_put(deai_bytes_of(random, sizeof random), out + strlen(PREFIX),
                                   DEAI_APIKEYS_SECRET_CAP - strlen(PREFIX));
  sodium_memzero(random, sizeof random);
  if (status != DEAI_OK) out[0] = 0; /* cannot be: the room is a constant */
}

static int32_t append(deai_apikeys *keys, const char *name, const char *secret, char *err,
                      uint32_t err_cap) {
  for (uint32_t i = 0; i < keys->count; i++)
    if (strcmp(keys->rows[i].name, name) == 0)
      return deai_err(err, err_cap, DEAI_EINVAL, "expected a new name, found \"%s\" in use", name);
  if (keys->count == DEAI_APIKEYS_MAX)
    return deai_err(err, err_cap, DEAI_EFULL, "expected at most %u keys; remove one: deai key rm",
                    DEAI_APIKEYS_MAX);
  if (keys->rows == NULL) keys->rows = calloc(DEAI_APIKEYS_MAX, sizeof *keys->rows);
  if (keys->rows == NULL) return DEAI_ENOMEM;
  deai_apikey *row = &keys->rows[keys->count++];
  (void)snprintf(row->name, sizeof row->name, "%s", name);
  hash_secret(deai_str_of(secret), row->hash);
  return DEAI_OK;
}

int32_t deai_apikeys_add(const char *data, const char *name,
                         char secret_out[DEAI_APIKEYS_SECRET_CAP], char *err, uint32_t err_cap) {
  deai_apikeys keys = {0};
  int fd = -1;
  secret_out[0] = 0;
  if (!name_ok(name))
    return deai_err(err, err_cap, DEAI_EINVAL,
                    "expected a name of 1 to %u printable characters without spaces",
                    DEAI_APIKEYS_NAME_MAX);
  int32_t status = lock_open(data, &fd, err, err_cap);
  if (status != DEAI_OK) return status;
  char secret[DEAI_APIKEYS_SECRET_CAP];
  make_secret(secret);
  status = deai_apikeys_load(data, &keys, err, err_cap);
  if (status == DEAI_OK) status = append(&keys, name, secret, err, err_cap);
  if (status == DEAI_OK) status = save(data, &keys, err, err_cap);
  if (status == DEAI_OK) memcpy(secret_out, secret, sizeof secret);
  sodium_memzero(secret, sizeof secret);
  deai_apikeys_free(&keys);
  (void)close(fd);
  return status;
}

static int32_t take_out(deai_apikeys *keys, const char *which, char *err, uint32_t err_cap) {
  for (uint32_t i = 0; i < keys->count; i++) {
    char id[DEAI_APIKEYS_ID_TEXT_CAP];
    deai_apikeys_id(&keys->rows[i], id);
    if (strcmp(id, which) != 0 && strcmp(keys->rows[i].name, which) != 0) continue;
    memmove(&keys->rows[i], &keys->rows[i + 1], (keys->count - i - 1) * sizeof *keys->rows);
    keys->count--;
    return DEAI_OK;
  }
  return deai_err(err, err_cap, DEAI_ENOTFOUND,
                  "expected the name or id of a key, found \"%s\"; see: deai key list", which);
}

int32_t deai_apikeys_remove(const char *data, const char *which, char *err, uint32_t err_cap) {
  deai_apikeys keys = {0};
  int fd = -1;
  int32_t status = lock_open(data, &fd, err, err_cap);
  if (status != DEAI_OK) return status;
  status = deai_apikeys_load(data, &keys, err, err_cap);
  if (status == DEAI_OK) status = take_out(&keys, which, err, err_cap);
  if (status == DEAI_OK) status = save(data, &keys, err, err_cap);
  deai_apikeys_free(&keys);
  (void)close(fd);
  return status;
}
