#include "store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

static blocks_fd *find(blocks_fds *fds, uint64_t number) {
  for (uint32_t i = 0; i < fds->count; i++)
    if (fds->entries[i].store == number) return &fds->entries[i];
  return NULL;
}

static void remove_entry(blocks_fds *fds, blocks_fd *entry) {
  (void)close(entry->fd);
  *entry = fds->entries[--fds->count];
}

static void evict(blocks_fds *fds) {
  blocks_fd *oldest = NULL;
  if (fds->count < BLOCKS_FDS_MAX) return;
  for (uint32_t i = 0; i < fds->count; i++) {
    blocks_fd *entry = &fds->entries[i];
    if (entry->refs == 0 && (oldest == NULL || entry->used < oldest->used)) oldest = entry;
  }
  if (oldest != NULL) remove_entry(fds, oldest);
}

static int32_t add(blocks_store *store, uint64_t number, blocks_fd **out, blocks_error *err) {
  blocks_fds *fds = &store->fds;
  bool is_file = (number & BLOCKS_STORE_FILE) != 0;
  char name[32];
  evict(fds);
  if (fds->count == fds->cap) {
    uint32_t cap = fds->cap == 0 ? BLOCKS_FDS_MAX : fds->cap * 2;
    blocks_fd *entries = realloc(fds->entries, cap * sizeof *entries);
    if (entries == NULL) return blocks_fail(err, DEAI_ENOMEM, "store: no memory for descriptors");
    fds->entries = entries;
    fds->cap = cap;
  }
  if (is_file)
    blocks_file_name(number & ~BLOCKS_STORE_FILE, name);
  else
    blocks_pack_name(number, name);
  int fd = openat(is_file ? store->files_fd : store->packs_fd, name, O_RDWR | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT)
    return blocks_fail(err, DEAI_ENOTFOUND, "store: %s is gone from the disk", name);
  if (fd < 0) return blocks_fail_errno(err, errno, name);
  *out = &fds->entries[fds->count++];
  **out = (blocks_fd){.store = number, .fd = fd};
  return DEAI_OK;
}

int32_t blocks_fds_get(blocks_store *store, uint64_t number, int *fd_out, blocks_error *err) {
  int32_t status = DEAI_OK;
  (void)pthread_mutex_lock(&store->fds.mutex);
  blocks_fd *entry = find(&store->fds, number);
  if (entry == NULL) status = add(store, number, &entry, err);
  if (status == DEAI_OK) {
    entry->refs++;
    entry->used = ++store->fds.clock;
    *fd_out = entry->fd;
  }
  (void)pthread_mutex_unlock(&store->fds.mutex);
  return status;
}

void blocks_fds_release(blocks_store *store, uint64_t number) {
  (void)pthread_mutex_lock(&store->fds.mutex);
  blocks_fd *entry = find(&store->fds, number);
  if (entry != NULL && entry->refs > 0) entry->refs--;
  (void)pthread_mutex_unlock(&store->fds.mutex);
}

void blocks_fds_drop(blocks_store *store, uint64_t number) {
  (void)pthread_mutex_lock(&store->fds.mutex);
  blocks_fd *entry = find(&store->fds, number);
  if (entry != NULL && entry->refs == 0) remove_entry(&store->fds, entry);
  (void)pthread_mutex_unlock(&store->fds.mutex);
}

void blocks_fds_free(blocks_fds *fds) {
  for (uint32_t i = 0; i < fds->count; i++)
    (void)close(fds->entries[i].fd);
  free(fds->entries);
  fds->entries = NULL;
  fds->count = fds->cap = 0;
}
