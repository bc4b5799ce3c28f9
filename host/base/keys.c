#include "keys.h"

#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "banned.h"

#define LINE_MAX_BYTES 192
#define PATH_BYTES_MAX 4096
#define SEED_BYTES     32
#define HEX_BYTES      (2 * SEED_BYTES + 1)

struct deai_key {
  uint8_t secret[DEAI_SIGN_SECRET_LEN]; /* seed, then public key */
};

deai_key *deai_key_of_seed(const uint8_t seed[32]) {
  uint8_t public_key[DEAI_KEY_BYTES];
  if (sodium_init() < 0) return NULL;
  deai_key *key = sodium_malloc(sizeof *key);
  if (key == NULL) return NULL;
  (void)crypto_sign_seed_keypair(public_key, key->secret, seed);
  (void)sodium_mprotect_readonly(key);
  return key;
}

deai_key *deai_key_make(void) {
  uint8_t seed[SEED_BYTES];
  if (sodium_init() < 0) return NULL;
  randombytes_buf(seed, sizeof seed);
  deai_key *key = deai_key_of_seed(seed);
  sodium_memzero(seed, sizeof seed);
  return key;
}

void deai_key_free(deai_key *key) {
  sodium_free(key);
}

const uint8_t *deai_key_public(const deai_key *key) {
  return key->secret + SEED_BYTES;
}

const uint8_t *deai_key_seed(const deai_key *key) {
  return key->secret;
}

int32_t deai_key_sign(const deai_key *key, deai_sign_type type,
                      const uint8_t genesis[DEAI_HASH_BYTES], deai_bytes bytes,
                      uint8_t sig[DEAI_SIG_BYTES]) {
  return deai_sign_make(type, genesis, bytes, key->secret, sig);
}

static int32_t keys_folder(const char *data, char *out, char *err, uint32_t err_cap) {
  int32_t status = deai_path_join(out, PATH_BYTES_MAX, data, "keys");
  if (status != DEAI_OK) (void)snprintf(err, err_cap, "expected a shorter path than %s/keys", data);
  return status;
}

/* Owner and rights of a folder or file that holds secrets. */
static int32_t check_rights(const struct stat *info, const char *path, unsigned int mode, char *err,
                            uint32_t err_cap) {
  if (info->st_uid != geteuid()) {
    (void)snprintf(err, err_cap,
                   "expected %s to belong to user %u, found user %u: chown it or run as its owner",
                   path, (unsigned int)geteuid(), (unsigned int)info->st_uid);
    return DEAI_EDENIED;
  }
  if ((info->st_mode & 0777u & ~mode) == 0) return DEAI_OK;
  (void)snprintf(err, err_cap, "expected mode %04o on %s, found %04o: chmod %o %s", mode, path,
                 (unsigned int)info->st_mode & 0777u, mode, path);
  return DEAI_EDENIED;
}

static int32_t check_folder(const char *folder, char *err, uint32_t err_cap) {
  struct stat info;
  if (lstat(folder, &info) != 0) {
    (void)snprintf(err, err_cap, "expected the key folder %s, found: %s", folder, strerror(errno));
    return DEAI_ENOTFOUND;
  }
  if (S_ISDIR(info.st_mode)) return check_rights(&info, folder, 0700, err, err_cap);
  (void)snprintf(err, err_cap, "expected a folder at %s, found something else", folder);
  return DEAI_EDENIED;
}

int32_t deai_key_save(const deai_key *key, const char *data, const char *name, char *err,
                      uint32_t err_cap) {
  char folder[PATH_BYTES_MAX], path[PATH_BYTES_MAX];
  char seed[HEX_BYTES], public_key[HEX_BYTES], line[LINE_MAX_BYTES];
  int32_t status = keys_folder(data, folder, err, err_cap);
  if (status == DEAI_OK) status = deai_folder_make(folder, 0700, err, err_cap);
  if (status == DEAI_OK) status = check_folder(folder, err, err_cap);
  if (status == DEAI_OK) status = deai_path_join(path, sizeof path, folder, name);
  if (status != DEAI_OK) return status;
  (void)sodium_bin2hex(seed, sizeof seed, key->secret, SEED_BYTES);
  (void)sodium_bin2hex(public_key, sizeof public_key, deai_key_public(key), DEAI_KEY_BYTES);
  int len = snprintf(line, sizeof line, "deai-key/1 %s %s %s\n", name, seed, public_key);
  if (len < 0 || (size_t)len >= sizeof line) {
    status = DEAI_EINVAL;
  } else {
    status = deai_file_create(path, deai_bytes_of(line, (uint64_t)len), 0600, err, err_cap);
  }
  sodium_memzero(seed, sizeof seed);
  sodium_memzero(line, sizeof line);
  return status;
}

static int32_t damaged(const char *path, char *err, uint32_t err_cap) {
  (void)snprintf(err, err_cap,
                 "expected one line `deai-key/1 NAME SEED PUBLIC` in %s, found something else: "
                 "restore it from a backup",
                 path);
  return DEAI_EINVAL;
}

static int32_t parse_line(const char *line, const char *name, const char *path, deai_key **key_out,
                          char *err, uint32_t err_cap) {
  char head[LINE_MAX_BYTES];
  uint8_t seed[SEED_BYTES], public_key[DEAI_KEY_BYTES];
  int32_t status = DEAI_OK;
  size_t got = 0;
  int len = snprintf(head, sizeof head, "deai-key/1 %s ", name);
  size_t hex = 2 * SEED_BYTES;
  if (strlen(line) != (size_t)len + 2 * hex + 2 || memcmp(line, head, (size_t)len) != 0 ||
      line[(size_t)len + hex] != ' ' || line[(size_t)len + 2 * hex + 1] != '\n')
    return damaged(path, err, err_cap);
  const char *at = line + len;
  if (sodium_hex2bin(seed, sizeof seed, at, hex, NULL, &got, NULL) != 0 || got != sizeof seed ||
      sodium_hex2bin(public_key, sizeof public_key, at + hex + 1, hex, NULL, &got, NULL) != 0 ||
      got != sizeof public_key)
    status = damaged(path, err, err_cap);
  deai_key *key = status == DEAI_OK ? deai_key_of_seed(seed) : NULL;
  sodium_memzero(seed, sizeof seed);
  if (status != DEAI_OK) return status;
  if (key == NULL) return DEAI_ENOMEM;
  if (memcmp(deai_key_public(key), public_key, sizeof public_key) != 0) {
    deai_key_free(key);
    return damaged(path, err, err_cap);
  }
  *key_out = key;
  return DEAI_OK;
}

static int32_t load_open(int fd, const char *name, const char *path, deai_key **key_out, char *err,
                         uint32_t err_cap) {
  struct stat info;
  char line[LINE_MAX_BYTES];
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return damaged(path, err, err_cap);
  int32_t status = check_rights(&info, path, 0600, err, err_cap);
  if (status != DEAI_OK) return status;
  ssize_t got = read(fd, line, sizeof line - 1);
  if (got < 0) return damaged(path, err, err_cap);
  line[got] = 0;
  status = parse_line(line, name, path, key_out, err, err_cap);
  sodium_memzero(line, sizeof line);
  return status;
}

int32_t deai_key_load(const char *data, const char *name, deai_key **key_out, char *err,
                      uint32_t err_cap) {
  char folder[PATH_BYTES_MAX], path[PATH_BYTES_MAX];
  int32_t status = keys_folder(data, folder, err, err_cap);
  if (status == DEAI_OK) status = check_folder(folder, err, err_cap);
  if (status == DEAI_OK) status = deai_path_join(path, sizeof path, folder, name);
  if (status != DEAI_OK) return status;
  if (sodium_init() < 0) return DEAI_EUNSUPPORTED;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) {
    (void)snprintf(err, err_cap, "expected the key file %s, found: %s", path, strerror(errno));
    return errno == ENOENT ? DEAI_ENOTFOUND : DEAI_EDENIED;
  }
  status = load_open(fd, name, path, key_out, err, err_cap);
  (void)close(fd);
  return status;
}
