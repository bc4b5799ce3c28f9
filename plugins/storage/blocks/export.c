#include "export.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/base/banned.h"

#define COPY_BYTES (1u << 20)
#define MODE_MASK  0777u /* never setuid, setgid, sticky */

typedef struct entry {
  char *name;
  uint32_t position; /* in the directory */
  blocks_cid cid;
} entry;

typedef struct frame { /* one folder on the way down */
  int fd;
  entry *entries;
  uint32_t count;
  uint32_t cap;
  uint32_t next;
  blocks_info info;
} frame;

typedef struct exporting {
  blocks_source source;
  const blocks_export_options *options;
  blocks_export_result *out;
  blocks_error *err;
  frame frames[BLOCKS_DEPTH_MAX];
  uint32_t depth;
  uint32_t entries_seen;
  uint64_t bytes_left; /* of the caller's cap; UINT64_MAX without one */
  uint64_t parts;      /* numbers the temporary names */
  blocks_buf buf;
} exporting;

static int open_beneath(int folder, const char *name, uint64_t flags, uint64_t mode) {
  struct open_how how = {.flags = flags | O_CLOEXEC,
                         .mode = mode,
                         .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
  return (int)syscall(SYS_openat2, folder, name, &how, sizeof how);
}

static int32_t fail_open(const exporting *e, const char *name) {
  if (errno == ELOOP || errno == EXDEV)
    return blocks_fail(e->err, DEAI_EDENIED,
                       "export: '%.200s' is a symbolic link on disk; remove it first", name);
  if (errno == EEXIST || errno == ENOTDIR)
    return blocks_fail(e->err, DEAI_EINVAL, "export: '%.200s' exists already; choose another place",
                       name);
  return blocks_fail_errno(e->err, errno, name);
}

static void restore_times(int fd, const blocks_info *info) {
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                              {.tv_sec = info->mtime_s, .tv_nsec = info->mtime_ns}};
  /* of use to people only: a file system that refuses loses nothing of the content */
  if (info->has_mtime) (void)futimens(fd, times);
  if (info->has_mode) (void)fchmod(fd, info->mode & MODE_MASK);
}

static int32_t take_cap(exporting *e, uint64_t bytes) {
  if (bytes <= e->bytes_left) {
    if (e->bytes_left != UINT64_MAX) e->bytes_left -= bytes;
    return DEAI_OK;
  }
  return blocks_fail(e->err, DEAI_ETOOLARGE, "export: more than the cap of %" PRIu64 " bytes",
                     e->options->caps.bytes_max);
}

/* --- files --- */

static int32_t write_all(exporting *e, int fd, const uint8_t *bytes, size_t len) {
  while (len > 0) {
    ssize_t put = write(fd, bytes, len);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return blocks_fail_errno(e->err, errno, "export: write");
    bytes += put;
    len -= (size_t)put;
  }
  return DEAI_OK;
}

static int32_t copy_file(exporting *e, const blocks_cid *cid, int fd) {
  blocks_reader *reader;
  uint64_t at = 0;
  int32_t status = blocks_reader_open(e->source, cid, (blocks_caps){0}, &reader, e->err);
  if (status != DEAI_OK) return status;
  status = take_cap(e, blocks_reader_size(reader));
  if (status == DEAI_OK) status = blocks_buf_reserve(&e->buf, COPY_BYTES);
  while (status == DEAI_OK && at < blocks_reader_size(reader)) {
    deai_buf dst = {.ptr = e->buf.ptr, .cap = COPY_BYTES};
    int64_t got = blocks_reader_read(reader, at, dst, e->err);
    status = got > 0   ? write_all(e, fd, e->buf.ptr, (size_t)got)
             : got < 0 ? (int32_t)got
                       : DEAI_EINVAL;
    if (got > 0) at += (uint64_t)got;
  }
  e->out->bytes += at;
  blocks_reader_close(reader);
  return status;
}

static int32_t put_in_place(exporting *e, int folder, const char *part, const char *name) {
  unsigned flags = e->options->overwrite ? 0 : RENAME_NOREPLACE;
  struct stat info;
  if (renameat2(folder, part, folder, name, flags) == 0) return DEAI_OK;
  if (errno == EISDIR && fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) == 0) errno = EEXIST;
  return fail_open(e, name);
}

static int32_t export_file(exporting *e, int folder, const char *name, const blocks_cid *cid,
                           const blocks_info *info) {
  char part[64];
  (void)snprintf(part, sizeof part, ".deai-%ld-%" PRIu64 ".part", (long)getpid(), e->parts++);
  int fd = open_beneath(folder, part, O_CREAT | O_EXCL | O_WRONLY, 0666);
  if (fd < 0) return fail_open(e, name);
  int32_t status = copy_file(e, cid, fd);
  if (status == DEAI_OK) restore_times(fd, info);
  if (status == DEAI_OK && fdatasync(fd) != 0)
    status = blocks_fail_errno(e->err, errno, "export: sync");
  if (close(fd) != 0 && status == DEAI_OK) status = blocks_fail_errno(e->err, errno, "export");
  if (status == DEAI_OK) status = put_in_place(e, folder, part, name);
  if (status == DEAI_OK)
    e->out->files++;
  else
    (void)unlinkat(folder, part, 0);
  return status;
}

static int32_t export_symlink(exporting *e, int folder, const char *name, const blocks_cid *cid) {
  if (!e->options->symlinks)
    return blocks_fail(e->err, DEAI_EDENIED,
                       "export: '%.200s' is a symbolic link, which was not allowed", name);
  int32_t status = blocks_symlink_read(e->source, cid, &e->buf, e->err);
  if (status == DEAI_OK) status = blocks_buf_add(&e->buf, "", 1);
  if (status != DEAI_OK) return status;
  const char *target = (const char *)e->buf.ptr;
  if (strlen(target) + 1 != e->buf.len)
    return blocks_fail(e->err, DEAI_EDENIED, "export: the target of '%.200s' holds a zero", name);
  int rc = symlinkat(target, folder, name);
  if (rc != 0 && errno == EEXIST && e->options->overwrite && unlinkat(folder, name, 0) == 0)
    rc = symlinkat(target, folder, name);
  if (rc != 0) return fail_open(e, name);
  e->out->symlinks++;
  return DEAI_OK;
}

/* --- folders --- */

static void frame_free(frame *f) {
  for (uint32_t i = 0; i < f->count; i++)
    free(f->entries[i].name);
  free(f->entries);
  if (f->fd >= 0) (void)close(f->fd);
  *f = (frame){.fd = -1};
}

static int32_t add_entry(void *user, deai_bytes name, const blocks_cid *cid, uint64_t tsize) {
  exporting *e = user;
  frame *f = &e->frames[e->depth];
  (void)tsize;
  if (blocks_unixfs_name_check(name, e->err) != DEAI_OK) return DEAI_EDENIED;
  if (++e->entries_seen > BLOCKS_EXPORT_ENTRIES_MAX)
    return blocks_fail(e->err, DEAI_ETOOLARGE, "export: more than %u entries",
                       BLOCKS_EXPORT_ENTRIES_MAX);
  if (f->count == f->cap) {
    uint32_t cap = f->cap == 0 ? 16 : f->cap * 2;
    entry *entries = realloc(f->entries, cap * sizeof *entries);
    if (entries == NULL) return blocks_fail(e->err, DEAI_ENOMEM, "export: no memory");
    f->entries = entries;
    f->cap = cap;
  }
  char *copy = strndup((const char *)name.ptr, (size_t)name.len);
  if (copy == NULL) return blocks_fail(e->err, DEAI_ENOMEM, "export: no memory");
  f->entries[f->count] = (entry){.name = copy, .position = f->count, .cid = *cid};
  f->count++;
  return DEAI_OK;
}

static int compare_entries(const void *a, const void *b) {
  const entry *x = a;
  const entry *y = b;
  int order = strcmp(x->name, y->name);
  return order != 0 ? order : x->position < y->position ? -1 : 1;
}

/* of equal names the first one wins, as for every reader of UnixFS */
static void drop_doubles(frame *f) {
  uint32_t kept = 0;
  if (f->count > 0) qsort(f->entries, f->count, sizeof *f->entries, compare_entries);
  for (uint32_t i = 0; i < f->count; i++) {
    if (kept > 0 && strcmp(f->entries[kept - 1].name, f->entries[i].name) == 0)
      free(f->entries[i].name);
    else
      f->entries[kept++] = f->entries[i];
  }
  f->count = kept;
}

static int32_t enter_folder(exporting *e, int folder, const char *name, const blocks_cid *cid,
                            const blocks_info *info) {
  if (e->depth == BLOCKS_DEPTH_MAX)
    return blocks_fail(e->err, DEAI_EINVAL, "export: deeper than %d folders", BLOCKS_DEPTH_MAX);
  frame *f = &e->frames[e->depth];
  *f = (frame){.fd = -1, .info = *info};
  int32_t status = blocks_directory_each(e->source, cid, e->options->caps, e->err, e, add_entry);
  if (status == DEAI_OK) {
    if (mkdirat(folder, name, 0777) != 0 && errno != EEXIST)
      status = blocks_fail_errno(e->err, errno, name);
    else
      f->fd = open_beneath(folder, name, O_RDONLY | O_DIRECTORY, 0);
  }
  if (status == DEAI_OK && f->fd < 0) status = fail_open(e, name);
  if (status != DEAI_OK) {
    frame_free(f);
    return status;
  }
  drop_doubles(f);
  e->depth++;
  e->out->folders++;
  return DEAI_OK;
}

static int32_t export_node(exporting *e, int folder, const char *name, const blocks_cid *cid) {
  blocks_info info;
  int32_t status = blocks_info_read(e->source, cid, &info, e->err);
  if (status != DEAI_OK) return status;
  switch (info.type) {
  case BLOCKS_UNIXFS_RAW:
  case BLOCKS_UNIXFS_FILE:
    return export_file(e, folder, name, cid, &info);
  case BLOCKS_UNIXFS_SYMLINK:
    return export_symlink(e, folder, name, cid);
  case BLOCKS_UNIXFS_DIRECTORY:
  case BLOCKS_UNIXFS_HAMT:
    return enter_folder(e, folder, name, cid, &info);
  case BLOCKS_UNIXFS_METADATA:
    break;
  }
  return blocks_fail(e->err, DEAI_EUNSUPPORTED, "export: '%.200s' has UnixFS type %d", name,
                     (int)info.type);
}

static int32_t export_tree(exporting *e) {
  int32_t status = DEAI_OK;
  while (e->depth > 0 && status == DEAI_OK) {
    frame *top = &e->frames[e->depth - 1];
    if (top->next < top->count) {
      const entry *at = &top->entries[top->next++];
      status = export_node(e, top->fd, at->name, &at->cid);
      continue;
    }
    restore_times(top->fd, &top->info);
    if (fsync(top->fd) != 0) status = blocks_fail_errno(e->err, errno, "export: sync of a folder");
    frame_free(top);
    e->depth--;
  }
  return status;
}

int32_t blocks_export(blocks_source source, const blocks_cid *cid, const char *folder,
                      const char *name, const blocks_export_options *options,
                      blocks_export_result *out, blocks_error *err) {
  *out = (blocks_export_result){0};
  if (blocks_unixfs_name_check(deai_bytes_of(name, strlen(name)), err) != DEAI_OK)
    return DEAI_EDENIED;
  exporting *e = calloc(1, sizeof *e);
  if (e == NULL) return blocks_fail(err, DEAI_ENOMEM, "export: no memory");
  e->source = source;
  e->options = options;
  e->out = out;
  e->err = err;
  e->bytes_left = options->caps.bytes_max ? options->caps.bytes_max : UINT64_MAX;
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int32_t status = fd < 0 ? blocks_fail_errno(err, errno, folder) : DEAI_OK;
  if (status == DEAI_OK) status = export_node(e, fd, name, cid);
  if (status == DEAI_OK) status = export_tree(e);
  if (status == DEAI_OK && fsync(fd) != 0)
    status = blocks_fail_errno(err, errno, "export: sync of the folder");
  while (e->depth > 0)
    frame_free(&e->frames[--e->depth]);
  if (fd >= 0) (void)close(fd);
  blocks_buf_free(&e->buf);
  free(e);
  return status;
}
