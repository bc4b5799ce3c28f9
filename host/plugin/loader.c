#include "loader.h"

#include "host/base/hash.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

/* The first release of the table ended with on_update. */
#define PLUGIN_TABLE_LEAST ((uint32_t)sizeof(deai_plugin))

int32_t deai_table_take(void *mine, uint32_t mine_bytes, const void *theirs, uint32_t least_bytes) {
  uint32_t size = 0;
  memcpy(&size, theirs, sizeof size); /* size is the first field, always */
  if (size < least_bytes || size % sizeof(void *) != 0) return DEAI_EVERSION;
  memset(mine, 0, mine_bytes);
  memcpy(mine, theirs, size < mine_bytes ? size : mine_bytes);
  return DEAI_OK;
}

static int32_t loader_hash(deai_loaded *loaded, char *err, uint32_t err_cap) {
  uint8_t room[65536];
  deai_hasher *hasher = deai_hasher_new();
  if (hasher == NULL) return DEAI_ENOMEM;
  off_t at = 0;
  ssize_t got = 0;
  while ((got = pread(loaded->fd, room, sizeof room, at)) > 0) {
    deai_hasher_add(hasher, deai_bytes_of(room, (uint64_t)got));
    at += got;
  }
  deai_hasher_end(hasher, loaded->sha256);
  deai_hasher_free(hasher);
  if (got < 0)
    return deai_err(err, err_cap, DEAI_EIO, "%s: cannot be read: %s", loaded->path,
                    strerror(errno));
  return DEAI_OK;
}

static int32_t loader_file(const deai_loaded *loaded, char *err, uint32_t err_cap) {
  struct stat info;
  if (fstat(loaded->fd, &info) != 0)
    return deai_err(err, err_cap, DEAI_EIO, "%s: %s", loaded->path, strerror(errno));
  if (!S_ISREG(info.st_mode))
    return deai_err(err, err_cap, DEAI_EINVAL, "%s: expected a regular file, found another kind",
                    loaded->path);
  if (info.st_uid != 0 && info.st_uid != geteuid())
    return deai_err(err, err_cap, DEAI_EDENIED,
                    "%s: expected a file owned by root or uid %u, found uid %u; chown it",
                    loaded->path, (unsigned)geteuid(), (unsigned)info.st_uid);
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return deai_err(
        err, err_cap, DEAI_EDENIED,
        "%s: expected a file that only its owner can write, found mode %04o; chmod go-w",
        loaded->path, (unsigned)(info.st_mode & 07777));
  return DEAI_OK;
}

static int32_t loader_inspect(deai_loaded *loaded, char *err, uint32_t err_cap) {
  char reason[DEAI_ERR_CAP] = "";
  char *text = NULL;
  uint64_t len = 0;
  int32_t status = loader_hash(loaded, err, err_cap);
  if (status != DEAI_OK) return status;
  status = deai_manifest_note(loaded->fd, &text, &len, reason, sizeof reason);
  if (status == DEAI_OK)
    status = deai_manifest_parse(text, len, &loaded->manifest, reason, sizeof reason);
  free(text);
  if (status != DEAI_OK) return deai_err(err, err_cap, status, "%s: %s", loaded->path, reason);
  return DEAI_OK;
}

int32_t deai_loader_open(deai_loaded *out, const char *path, const uint8_t *pin, char *err,
                         uint32_t err_cap) {
  memset(out, 0, sizeof *out);
  out->fd = -1;
  if (path[0] != '/')
    return deai_err(err, err_cap, DEAI_EINVAL, "%s: expected an absolute path of a plug-in", path);
  if (snprintf(out->path, sizeof out->path, "%s", path) >= (int)sizeof out->path)
    return deai_err(err, err_cap, DEAI_ETOOLARGE, "expected a path below %zu bytes",
                    sizeof out->path);
  out->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a FIFO must not wait */
  if (out->fd < 0)
    return deai_err(err, err_cap, DEAI_ENOTFOUND,
                    "%s: expected the plug-in here: %s; install it or mend `path`", path,
                    strerror(errno));
  int32_t status = loader_file(out, err, err_cap);
  if (status == DEAI_OK) status = loader_inspect(out, err, err_cap);
  if (status == DEAI_OK && pin != NULL && memcmp(pin, out->sha256, DEAI_HASH_BYTES) != 0)
    status =
        deai_err(err, err_cap, DEAI_EVERIFY,
                 "%s: expected the SHA-256 of the config, found another file; mend `sha256`", path);
  if (status != DEAI_OK) deai_loader_close(out);
  return status;
}

int32_t deai_loader_adopt(deai_loaded *out, int fd, char *err, uint32_t err_cap) {
  memset(out, 0, sizeof *out);
  out->fd = fd;
  (void)snprintf(out->path, sizeof out->path, "/proc/self/fd/%d", fd);
  return loader_inspect(out, err, err_cap);
}

static int32_t loader_table(deai_loaded *loaded, deai_hello *hello, char *err, uint32_t err_cap) {
  if (hello->need_major != DEAI_ABI_MAJOR || hello->need_minor > DEAI_ABI_MINOR)
    return deai_err(err, err_cap, DEAI_EVERSION,
                    "%s: expected a plug-in for SDK %u.0 to %u.%u, found one that needs %u.%u; "
                    "update deai or rebuild the plug-in",
                    loaded->manifest.id, DEAI_ABI_MAJOR, DEAI_ABI_MAJOR, DEAI_ABI_MINOR,
                    (unsigned)hello->need_major, (unsigned)hello->need_minor);
  if (hello->plugin == NULL)
    return deai_err(err, err_cap, DEAI_EVERSION, "%s: expected a table from deai_plugin_entry",
                    loaded->manifest.id);
  int32_t status = deai_table_take(&loaded->plugin, (uint32_t)sizeof loaded->plugin, hello->plugin,
                                   PLUGIN_TABLE_LEAST);
  const deai_plugin *table = &loaded->plugin;
  if (status != DEAI_OK || table->create == NULL || table->start == NULL || table->stop == NULL ||
      table->destroy == NULL)
    return deai_err(err, err_cap, DEAI_EVERSION,
                    "%s: expected a complete table with create, start, stop and destroy",
                    loaded->manifest.id);
  if (loaded->manifest.offer_count > 0 && (table->on_call == NULL || table->on_cancel == NULL))
    return deai_err(err, err_cap, DEAI_EVERSION,
                    "%s: expected on_call and on_cancel: the manifest offers services",
                    loaded->manifest.id);
  return DEAI_OK;
}

int32_t deai_loader_load(deai_loaded *loaded, char *err, uint32_t err_cap) {
  char path[64];
  char reason[DEAI_ERR_CAP] = "";
  (void)snprintf(path, sizeof path, "/proc/self/fd/%d", loaded->fd);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == NULL)
    return deai_err(err, err_cap, DEAI_EINVAL, "%s: cannot be loaded: %s; install what is missing",
                    loaded->manifest.id, dlerror());
  void *symbol = dlsym(library, "deai_plugin_entry");
  int32_t (*entry)(deai_hello * hello) = NULL;
  memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast from object to function pointer */
  if (entry == NULL)
    return deai_err(err, err_cap, DEAI_EINVAL,
                    "%s: expected the symbol deai_plugin_entry, found none", loaded->manifest.id);
  deai_hello hello = {.magic = DEAI_MAGIC,
                      .struct_size = (uint32_t)sizeof hello,
                      .host_major = DEAI_ABI_MAJOR,
                      .host_minor = DEAI_ABI_MINOR,
                      .err = reason,
                      .err_cap = (uint32_t)sizeof reason};
  int32_t status = entry(&hello);
  if (status != DEAI_OK)
    return deai_err(err, err_cap, DEAI_EVERSION, "%s: refused this host: %s", loaded->manifest.id,
                    reason[0] != 0 ? reason : "it gave no reason");
  return loader_table(loaded, &hello, err, err_cap);
}

void deai_loader_close(deai_loaded *loaded) {
  if (loaded->fd >= 0) (void)close(loaded->fd);
  loaded->fd = -1;
  deai_manifest_free(&loaded->manifest);
}
