#include "tests/fault/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

#define VARIANTS  6 /* crash states at each call */
#define TORN_STEP 512
#define NEVER     SIZE_MAX

typedef struct call {
  fault_record record;
  char *path;          /* with a zero behind it */
  const uint8_t *data; /* into the log's bytes */
  size_t object;       /* of a file, or NEVER */
  size_t durable;      /* the call from which on it is durable, or NEVER */
} call;

struct fault_log {
  uint8_t *bytes;
  call *calls;
  size_t count;
  size_t objects;
  char *marks;
  size_t *marks_len; /* length of marks before each call */
};

/* --- reading --- */

static uint8_t *read_all(const char *path, size_t *len_out) {
  struct stat info;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &info) != 0) {
    perror(path);
    return NULL;
  }
  uint8_t *bytes = malloc((size_t)info.st_size + 1);
  size_t len = 0;
  while (bytes != NULL && len < (size_t)info.st_size) {
    ssize_t got = read(fd, bytes + len, (size_t)info.st_size - len);
    if (got <= 0) break;
    len += (size_t)got;
  }
  (void)close(fd);
  *len_out = len;
  return bytes;
}

static bool parse(fault_log *log, size_t len) {
  size_t cap = 0;
  size_t at = 0;
  while (at < len) {
    call c = {.object = NEVER, .durable = NEVER};
    if (len - at < sizeof c.record) return false;
    memcpy(&c.record, log->bytes + at, sizeof c.record);
    at += sizeof c.record;
    if (c.record.magic != FAULT_MAGIC || c.record.path_len > len - at) return false;
    c.path = strndup((const char *)log->bytes + at, c.record.path_len);
    at += c.record.path_len;
    if (c.path == NULL || c.record.data_len > len - at) return false;
    c.data = log->bytes + at;
    at += (size_t)c.record.data_len;
    if (log->count == cap) {
      cap = cap ? cap * 2 : 1024;
      log->calls = realloc(log->calls, cap * sizeof *log->calls);
      if (log->calls == NULL) return false;
    }
    log->calls[log->count++] = c;
  }
  return true;
}

static bool of_file(const call *c) {
  return c->record.kind == FAULT_WRITE || c->record.kind == FAULT_SIZE ||
         c->record.kind == FAULT_GROW;
}

static bool of_name(const call *c) {
  return c->record.kind == FAULT_CREATE || c->record.kind == FAULT_MKDIR ||
         c->record.kind == FAULT_RENAME || c->record.kind == FAULT_LINK ||
         c->record.kind == FAULT_UNLINK;
}

/* an inode number means the file that was created with it last */
static void number_objects(fault_log *log) {
  for (size_t i = 0; i < log->count; i++) {
    call *c = &log->calls[i];
    if (c->record.kind == FAULT_CREATE) c->object = log->objects++;
    if (!of_file(c) && c->record.kind != FAULT_SYNC) continue;
    for (size_t k = i; k > 0 && c->object == NEVER; k--)
      if (log->calls[k - 1].record.kind == FAULT_CREATE &&
          log->calls[k - 1].record.inode == c->record.inode)
        c->object = log->calls[k - 1].object;
  }
}

static bool in_folder(const char *path, const char *folder) {
  const char *slash = strrchr(path, '/');
  size_t len = slash ? (size_t)(slash - path) : 0;
  return strlen(folder) == len && strncmp(path, folder, len) == 0;
}

static bool covers(const call *sync, const call *c) {
  if (sync->record.kind == FAULT_SYNC) return of_file(c) && c->object == sync->object;
  if (sync->record.kind != FAULT_SYNCDIR || !of_name(c)) return false;
  if (c->record.kind != FAULT_RENAME && c->record.kind != FAULT_LINK)
    return in_folder(c->path, sync->path);
  char to[4096];
  (void)snprintf(to, sizeof to, "%.*s", (int)c->record.data_len, (const char *)c->data);
  return in_folder(to, sync->path);
}

static void find_durable(fault_log *log) {
  for (size_t i = 0; i < log->count; i++) {
    call *c = &log->calls[i];
    if (!of_file(c) && !of_name(c)) continue;
    if (c->record.kind == FAULT_WRITE && c->record.sync) c->durable = i + 1;
    for (size_t k = i + 1; k < log->count && c->durable == NEVER; k++)
      if (covers(&log->calls[k], c)) c->durable = k + 1;
  }
}

static bool collect_marks(fault_log *log) {
  size_t all = 0;
  for (size_t i = 0; i < log->count; i++)
    if (log->calls[i].record.kind == FAULT_MARK) all += (size_t)log->calls[i].record.data_len;
  log->marks = malloc(all + 1);
  log->marks_len = calloc(log->count + 1, sizeof *log->marks_len);
  if (log->marks == NULL || log->marks_len == NULL) return false;
  size_t at = 0;
  for (size_t i = 0; i < log->count; i++) {
    log->marks_len[i] = at;
    if (log->calls[i].record.kind != FAULT_MARK) continue;
    memcpy(log->marks + at, log->calls[i].data, (size_t)log->calls[i].record.data_len);
    at += (size_t)log->calls[i].record.data_len;
  }
  log->marks_len[log->count] = at;
  return true;
}

fault_log *fault_log_read(const char *path) {
  size_t len = 0;
  fault_log *log = calloc(1, sizeof *log);
  if (log == NULL) return NULL;
  log->bytes = read_all(path, &len);
  if (log->bytes == NULL || !parse(log, len) || !collect_marks(log)) {
    (void)fprintf(stderr, "%s: not a whole log of the recorder\n", path);
    fault_log_free(log);
    return NULL;
  }
  number_objects(log);
  find_durable(log);
  return log;
}

void fault_log_free(fault_log *log) {
  if (log == NULL) return;
  for (size_t i = 0; i < log->count; i++)
    free(log->calls[i].path);
  free(log->calls);
  free(log->bytes);
  free(log->marks);
  free(log->marks_len);
  free(log);
}

size_t fault_log_count(const fault_log *log) {
  return log->count;
}

const char *fault_promises(const fault_log *log, size_t calls, size_t *len_out) {
  *len_out = log->marks_len[calls < log->count ? calls : log->count];
  return log->marks;
}

/* --- choosing --- */

static bool changes(const call *c) {
  return of_file(c) || of_name(c);
}

static bool is_durable(const call *c, size_t calls, bool no_syncs) {
  return !no_syncs && c->durable <= calls;
}

size_t fault_unsynced(const fault_log *log, size_t calls, bool no_syncs) {
  size_t count = 0;
  for (size_t i = 0; i < calls && i < log->count; i++)
    count += changes(&log->calls[i]) && !is_durable(&log->calls[i], calls, no_syncs);
  return count;
}

size_t fault_unsynced_write(const fault_log *log, size_t calls, bool no_syncs, size_t n) {
  size_t number = 0;
  for (size_t i = 0; i < calls && i < log->count; i++) {
    const call *c = &log->calls[i];
    if (!changes(c) || is_durable(c, calls, no_syncs)) continue;
    if (c->record.kind == FAULT_WRITE && n-- == 0) return number;
    number++;
  }
  return NEVER;
}

static fault_image variant(const fault_log *log, size_t calls, size_t number) {
  fault_image image = {.calls = calls, .kept = NEVER, .torn = NEVER, .dropped = NEVER};
  size_t open_calls = fault_unsynced(log, calls, false);
  size_t last = calls > 0 ? (size_t)log->calls[calls - 1].record.data_len : 0;
  switch (number) {
  case 1:
    image.kept = 0;
    break;
  case 2:
    image.kept = open_calls / 2;
    break;
  case 3:
    image.dropped = open_calls > 1 ? 0 : NEVER;
    break;
  case 4:
    image.torn = last / TORN_STEP / 2 * TORN_STEP;
    break;
  case 5:
    image.torn = last * 2 / 3 | 1;
    break;
  default:
    break;
  }
  return image;
}

size_t fault_images_choose(const fault_log *log, fault_image *images, size_t max) {
  size_t all = (log->count + 1) * VARIANTS;
  size_t count = all < max ? all : max;
  for (size_t i = 0; i < count; i++) {
    size_t at = i * all / count;
    images[i] = variant(log, at / VARIANTS, at % VARIANTS);
  }
  return count;
}

void fault_image_text(const fault_image *image, char out[160]) {
  (void)snprintf(out, 160, "%zu calls%s, %zd not durable kept, last torn at %zd, dropped %zd",
                 image->calls, image->no_syncs ? " without syncs" : "", (ssize_t)image->kept,
                 (ssize_t)image->torn, (ssize_t)image->dropped);
}

/* --- making --- */

typedef struct object {
  uint8_t *bytes; /* what was written; behind it the file is zeros */
  size_t used;
  size_t cap;
  size_t size;
} object;

typedef struct name {
  char *path;
  size_t object; /* NEVER: a folder */
} name;

typedef struct making {
  object *objects;
  name *names;
  size_t names_count;
} making;

static void put_name(making *m, const char *path, size_t object_number) {
  for (size_t i = 0; i < m->names_count; i++) {
    if (strcmp(m->names[i].path, path) != 0) continue;
    m->names[i].object = object_number;
    return;
  }
  m->names = realloc(m->names, (m->names_count + 1) * sizeof *m->names);
  if (m->names == NULL) abort();
  m->names[m->names_count++] = (name){.path = strdup(path), .object = object_number};
}

static name *get_name(making *m, const char *path) {
  for (size_t i = 0; i < m->names_count; i++)
    if (strcmp(m->names[i].path, path) == 0) return &m->names[i];
  return NULL;
}

static void drop_name(making *m, const char *path) {
  name *found = get_name(m, path);
  if (found == NULL) return;
  free(found->path);
  m->names_count--;
  memmove(found, found + 1, (size_t)(m->names + m->names_count - found) * sizeof *found);
}

/* a file, or a folder with all below it */
static void move_name(making *m, const char *from, const char *to) {
  size_t len = strlen(from);
  if (get_name(m, from) == NULL) return; /* its making was lost */
  drop_name(m, to);
  for (size_t i = 0; i < m->names_count; i++) {
    char *path = m->names[i].path;
    char moved[8192];
    if (strncmp(path, from, len) != 0 || (path[len] != 0 && path[len] != '/')) continue;
    (void)snprintf(moved, sizeof moved, "%s%s", to, path + len);
    m->names[i].path = strdup(moved);
    free(path);
  }
}

static void write_object(object *o, size_t offset, const uint8_t *data, size_t len) {
  if (len == 0) return;
  if (offset + len > o->cap) {
    size_t cap = (offset + len) * 3 / 2;
    o->bytes = realloc(o->bytes, cap);
    if (o->bytes == NULL) abort();
    o->cap = cap;
  }
  if (offset > o->used) memset(o->bytes + o->used, 0, offset - o->used);
  memcpy(o->bytes + offset, data, len);
  if (offset + len > o->used) o->used = offset + len;
  if (o->used > o->size) o->size = o->used;
}

static void apply_call(making *m, const call *c, size_t torn) {
  char to[4096];
  size_t len = (size_t)c->record.data_len;
  (void)snprintf(to, sizeof to, "%.*s", (int)(len < 4095 ? len : 4095), (const char *)c->data);
  object *o = c->object != NEVER ? &m->objects[c->object] : NULL;
  switch (c->record.kind) {
  case FAULT_CREATE:
    put_name(m, c->path, c->object);
    break;
  case FAULT_MKDIR:
    put_name(m, c->path, NEVER);
    break;
  case FAULT_RENAME:
    move_name(m, c->path, to);
    break;
  case FAULT_LINK:
    if (get_name(m, c->path) != NULL) put_name(m, to, get_name(m, c->path)->object);
    break;
  case FAULT_UNLINK:
    drop_name(m, c->path);
    break;
  case FAULT_WRITE:
    if (o != NULL) write_object(o, (size_t)c->record.offset, c->data, len < torn ? len : torn);
    break;
  case FAULT_SIZE:
    if (o != NULL) o->size = (size_t)c->record.offset;
    if (o != NULL && o->used > o->size) o->used = o->size;
    break;
  case FAULT_GROW:
    if (o != NULL && o->size < c->record.offset) o->size = (size_t)c->record.offset;
    break;
  default:
    break;
  }
}

static void apply_image(making *m, const fault_log *log, const fault_image *image) {
  size_t number = 0;
  size_t calls = image->calls < log->count ? image->calls : log->count;
  for (size_t i = 0; i < calls; i++) {
    const call *c = &log->calls[i];
    size_t torn = i + 1 == calls ? image->torn : NEVER;
    if (!changes(c)) continue;
    if (!is_durable(c, calls, image->no_syncs)) {
      size_t mine = number++;
      if (mine >= image->kept || mine == image->dropped) continue;
    } else {
      torn = NEVER;
    }
    apply_call(m, c, torn);
  }
}

static bool write_file(const char *path, const object *o) {
  int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) return errno == ENOENT; /* its folder was lost: so is the file */
  size_t done = 0;
  while (done < o->used) {
    ssize_t put = write(fd, o->bytes + done, o->used - done);
    if (put <= 0) break;
    done += (size_t)put;
  }
  bool ok = done == o->used && ftruncate(fd, (off_t)o->size) == 0;
  return close(fd) == 0 && ok;
}

static int compare_names(const void *a, const void *b) {
  return strcmp(((const name *)a)->path, ((const name *)b)->path);
}

/* folders sort before what lies in them */
static bool write_names(making *m, const char *folder) {
  char path[8192];
  if (mkdir(folder, 0700) != 0) return false;
  if (m->names_count > 0) qsort(m->names, m->names_count, sizeof *m->names, compare_names);
  for (size_t i = 0; i < m->names_count; i++) {
    const name *n = &m->names[i];
    (void)snprintf(path, sizeof path, "%s/%s", folder, n->path);
    bool ok = n->object == NEVER ? mkdir(path, 0700) == 0 || errno == ENOENT
                                 : write_file(path, &m->objects[n->object]);
    if (!ok) return false;
  }
  return true;
}

bool fault_image_make(const fault_log *log, const fault_image *image, const char *folder) {
  making m = {.objects = calloc(log->objects + 1, sizeof *m.objects)};
  if (m.objects == NULL) return false;
  apply_image(&m, log, image);
  bool ok = write_names(&m, folder);
  if (!ok) perror(folder);
  for (size_t i = 0; i < m.names_count; i++)
    free(m.names[i].path);
  for (size_t i = 0; i < log->objects; i++)
    free(m.objects[i].bytes);
  free(m.names);
  free(m.objects);
  return ok;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place) {
  (void)info, (void)kind, (void)place;
  return remove(path);
}

void fault_remove(const char *folder) {
  (void)nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
