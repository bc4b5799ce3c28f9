#include "tree.h"

#include "deai/contracts/blocks.h"
#include "deai/contracts/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/base/banned.h"

#define READ_MS   86400000u
#define NAME_MAX_ 255u
#define PAGE      512u /* entries asked for at a time */

/* What is still to be written: a path below the new folder and what lies there. */
typedef struct item {
  char *path; /* "" is the folder itself */
  uint8_t cid[DEAI_CID_MAX];
  uint64_t cid_len;
  uint32_t depth;
} item;

typedef struct tree {
  deai_client *client;
  bool links;
  int root;
  item *items; /* a queue: [next, count) */
  size_t count;
  size_t cap;
  size_t next;
  cli_tree_done *out;
  char *why;
  uint32_t why_cap;
} tree;

static int32_t fail(const tree *t, int32_t status, const char *path, const char *text) {
  return deai_err(t->why, t->why_cap, status, "%.3000s: %s", path[0] != 0 ? path : ".", text);
}

static int32_t fail_errno(const tree *t, const char *path) {
  if (errno == ELOOP || errno == EXDEV)
    return fail(t, DEAI_EDENIED, path, "a symbolic link stands on the way; remove it first");
  if (errno == EEXIST) return fail(t, DEAI_EINVAL, path, "exists; a new path expected");
  return fail(t, errno == ENOSPC || errno == EDQUOT ? DEAI_EFULL : DEAI_EIO, path, strerror(errno));
}

static int open_below(int folder, const char *path, int flags) {
  struct open_how how = {.flags = (uint32_t)(flags | O_CLOEXEC | O_NOFOLLOW),
                         .mode = (flags & O_CREAT) != 0 ? 0666 : 0,
                         .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
  return (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
}

/* parent_open opens the folder that path lies in and sets *name_out to the last part of path. */
static int parent_open(const tree *t, const char *path, const char **name_out) {
  const char *slash = strrchr(path, '/');
  *name_out = slash != NULL ? slash + 1 : path;
  if (slash == NULL) return open_below(t->root, ".", O_PATH | O_DIRECTORY);
  char *above = strndup(path, (size_t)(slash - path));
  if (above == NULL) return -1;
  int fd = open_below(t->root, above, O_PATH | O_DIRECTORY);
  free(above);
  return fd;
}

/* ---- what the node says ---- */

typedef struct reading {
  deai_blocks_read_end head;
  uint8_t cid[DEAI_CID_MAX];
  bool headed;
  int fd; /* where the body goes; -1: into text */
  char text[4096];
  size_t text_len;
  uint64_t bytes;
  int failed; /* errno of a write */
} reading;

static bool write_all(reading *r, deai_bytes bytes) {
  while (bytes.len > 0) {
    ssize_t put = write(r->fd, bytes.ptr, (size_t)bytes.len);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) r->failed = put < 0 ? errno : EIO;
    if (put <= 0) return false;
    bytes.ptr += put;
    bytes.len -= (uint64_t)put;
  }
  return true;
}

static bool read_part(void *user, const deai_part *part) {
  reading *r = user;
  deai_blocks_read_end head;
  if (part->args.len > 0 &&
      deai_decode(&deai_blocks_read_end_table, part->args, &head, NULL, NULL, 0) == DEAI_OK &&
      head.cid.len <= sizeof r->cid) {
    r->headed = true;
    r->head = head;
    memcpy(r->cid, head.cid.ptr, (size_t)head.cid.len);
    r->head.cid.ptr = r->cid;
  }
  if (part->body.len == 0) return true;
  r->bytes += part->body.len;
  if (r->fd >= 0) return write_all(r, part->body);
  if (part->body.len >= sizeof r->text - r->text_len) return false;
  memcpy(r->text + r->text_len, part->body.ptr, (size_t)part->body.len);
  r->text_len += (size_t)part->body.len;
  r->text[r->text_len] = 0;
  return true;
}

static int32_t read_run(deai_client *client, const deai_blocks_read *ask, reading *r, char *why,
                        uint32_t why_cap) {
  uint8_t room[4600];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  int32_t status = deai_encode(&deai_blocks_read_table, ask, &writer, why, why_cap);
  if (status != DEAI_OK) return status;
  deai_client_call call = {.service = DEAI_BLOCKS_SERVICE,
                           .method = "read",
                           .args = deai_bytes_of(room, writer.len),
                           .part = read_part,
                           .user = r,
                           .time_ms = READ_MS};
  status = deai_client_run(client, &call, why, why_cap);
  if (status == DEAI_OK && !r->headed)
    status = deai_err(why, why_cap, DEAI_EINTERNAL, "expected what it is, found nothing");
  return status;
}

int32_t cli_tree_kind(deai_client *client, deai_bytes cid, const char *path,
                      uint8_t own[DEAI_CID_MAX], uint64_t *own_len, uint64_t *size_out, char *why,
                      uint32_t why_cap) {
  deai_blocks_read ask = {.has = DEAI_BLOCKS_READ_HAS_LEN, .cid = cid, .path = deai_str_of(path)};
  if (path != NULL) ask.has |= DEAI_BLOCKS_READ_HAS_PATH;
  reading r = {.fd = -1};
  int32_t status = read_run(client, &ask, &r, why, why_cap);
  if (status != DEAI_OK) return status;
  memcpy(own, r.cid, (size_t)r.head.cid.len);
  *own_len = r.head.cid.len;
  *size_out = r.head.size;
  return (int32_t)r.head.kind;
}

/* ---- the queue ---- */

static bool name_ok(deai_str name) {
  bool dots = (name.len == 1 && name.ptr[0] == '.') ||
              (name.len == 2 && name.ptr[0] == '.' && name.ptr[1] == '.');
  return name.len >= 1 && name.len <= NAME_MAX_ && !dots &&
         memchr(name.ptr, '/', (size_t)name.len) == NULL &&
         memchr(name.ptr, 0, (size_t)name.len) == NULL;
}

static int32_t push(tree *t, const char *above, deai_str name, deai_bytes cid, uint32_t depth) {
  if (t->count == t->cap) {
    size_t cap = t->cap == 0 ? 64 : t->cap * 2;
    item *more = realloc(t->items, cap * sizeof *more);
    if (more == NULL) return DEAI_ENOMEM;
    t->items = more;
    t->cap = cap;
  }
  size_t len = strlen(above) + 1 + (size_t)name.len + 1;
  item *at = &t->items[t->count];
  *at = (item){.path = malloc(len), .cid_len = cid.len, .depth = depth};
  if (at->path == NULL) return DEAI_ENOMEM;
  (void)snprintf(at->path, len, "%s%s%.*s", above, above[0] != 0 ? "/" : "", (int)name.len,
                 name.ptr);
  memcpy(at->cid, cid.ptr, (size_t)cid.len);
  t->count++;
  return DEAI_OK;
}

typedef struct page {
  tree *tree;
  const char *path;
  uint32_t depth;
  uint64_t seen;
  int32_t status;
} page;

static int32_t take_entry(page *p, const deai_blocks_entry *entry) {
  tree *t = p->tree;
  if (!name_ok(entry->name))
    return fail(t, DEAI_EDENIED, p->path, "holds a name that could leave its folder; refused");
  if (entry->cid.len == 0 || entry->cid.len > DEAI_CID_MAX)
    return fail(t, DEAI_EINVAL, p->path, "holds an entry without a CID of this version");
  if (t->count >= CLI_TREE_MAX || p->depth >= CLI_TREE_DEPTH_MAX)
    return fail(t, DEAI_ETOOLARGE, p->path, "more entries or folders than this command writes");
  return push(t, p->path, entry->name, entry->cid, p->depth + 1);
}

static bool entries_part(void *user, const deai_part *part) {
  _Alignas(16) static uint8_t room[65536 * 2];
  deai_arena arena = {room, sizeof room, 0};
  page *p = user;
  deai_blocks_entries_end end;
  if (part->args.len == 0) return true;
  p->status = deai_decode(&deai_blocks_entries_end_table, part->args, &end, &arena, p->tree->why,
                          p->tree->why_cap);
  const deai_blocks_entry *rows = end.dir.items;
  for (uint64_t i = 0; p->status == DEAI_OK && i < end.dir.count; i++)
    p->status = take_entry(p, &rows[i]);
  if (p->status == DEAI_OK) p->seen += end.dir.count;
  return p->status == DEAI_OK;
}

/* list pushes all entries of a directory, page by page. */
static int32_t list(tree *t, const char *path, deai_bytes cid, uint32_t depth) {
  page p = {.tree = t, .path = path, .depth = depth};
  uint64_t before;
  do {
    uint8_t room[512];
    before = p.seen;
    deai_blocks_read ask = {.has = DEAI_BLOCKS_READ_HAS_LEN | DEAI_BLOCKS_READ_HAS_OFF,
                            .cid = cid,
                            .off = p.seen,
                            .len = PAGE};
    deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
    int32_t status = deai_encode(&deai_blocks_read_table, &ask, &writer, t->why, t->why_cap);
    deai_client_call call = {.service = DEAI_BLOCKS_SERVICE,
                             .method = "entries",
                             .args = deai_bytes_of(room, writer.len),
                             .part = entries_part,
                             .user = &p,
                             .time_ms = READ_MS};
    if (status == DEAI_OK) status = deai_client_run(t->client, &call, t->why, t->why_cap);
    if (p.status != DEAI_OK) return p.status;
    if (status != DEAI_OK) return status;
  } while (p.seen > before);
  return DEAI_OK;
}

/* ---- writing ---- */

static int32_t put_folder(tree *t, const item *at) {
  const char *name = NULL;
  if (at->path[0] != 0) {
    int above = parent_open(t, at->path, &name);
    if (above < 0) return fail_errno(t, at->path);
    int made = mkdirat(above, name, 0777);
    int saved = errno;
    (void)close(above);
    errno = saved;
    if (made != 0) return fail_errno(t, at->path);
  }
  t->out->folders++;
  return list(t, at->path, deai_bytes_of(at->cid, at->cid_len), at->depth);
}

static int32_t put_file(tree *t, const item *at) {
  deai_blocks_read ask = {.cid = deai_bytes_of(at->cid, at->cid_len)};
  reading r = {.fd = open_below(t->root, at->path, O_WRONLY | O_CREAT | O_EXCL)};
  if (r.fd < 0) return fail_errno(t, at->path);
  int32_t status = read_run(t->client, &ask, &r, t->why, t->why_cap);
  if (close(r.fd) != 0 && r.failed == 0) r.failed = errno;
  errno = r.failed;
  if (r.failed != 0) status = fail_errno(t, at->path);
  if (status == DEAI_OK) {
    t->out->files++;
    t->out->bytes += r.bytes;
    return DEAI_OK;
  }
  const char *name = NULL;
  int above = parent_open(t, at->path, &name); /* no half file stays */
  if (above >= 0) (void)unlinkat(above, name, 0);
  if (above >= 0) (void)close(above);
  return status;
}

static int32_t put_link(tree *t, const item *at) {
  if (!t->links)
    return fail(t, DEAI_EDENIED, at->path, "is a symbolic link; --links makes links, too");
  deai_blocks_read ask = {.cid = deai_bytes_of(at->cid, at->cid_len)};
  reading r = {.fd = -1};
  const char *name = NULL;
  int32_t status = read_run(t->client, &ask, &r, t->why, t->why_cap);
  if (status != DEAI_OK) return status;
  int above = parent_open(t, at->path, &name);
  if (above < 0) return fail_errno(t, at->path);
  int made = symlinkat(r.text, above, name);
  int saved = errno;
  (void)close(above);
  errno = saved;
  if (made != 0) return fail_errno(t, at->path);
  t->out->links++;
  return DEAI_OK;
}

static int32_t put(tree *t, const item *at) {
  uint8_t own[DEAI_CID_MAX];
  uint64_t own_len = 0;
  uint64_t size = 0;
  int32_t kind = cli_tree_kind(t->client, deai_bytes_of(at->cid, at->cid_len), NULL, own, &own_len,
                               &size, t->why, t->why_cap);
  if (kind < 0) return kind;
  if (kind == DEAI_BLOCKS_DIR) return put_folder(t, at);
  return kind == DEAI_BLOCKS_LINK ? put_link(t, at) : put_file(t, at);
}

int32_t cli_tree_get(deai_client *client, deai_bytes cid, const char *place, bool links,
                     cli_tree_done *out, char *why, uint32_t why_cap) {
  *out = (cli_tree_done){0};
  tree t = {
      .client = client, .links = links, .root = -1, .out = out, .why = why, .why_cap = why_cap};
  if (mkdir(place, 0777) != 0) return fail_errno(&t, place);
  t.root = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (t.root < 0) return fail_errno(&t, place);
  int32_t status = push(&t, "", (deai_str){"", 0}, cid, 0);
  while (status == DEAI_OK && t.next < t.count) {
    item at = t.items[t.next++]; /* a copy: the queue may move while its folder is listed */
    t.items[t.next - 1].path = NULL;
    status = put(&t, &at);
    free(at.path);
  }
  for (size_t i = t.next; i < t.count; i++)
    free(t.items[i].path);
  free(t.items);
  (void)close(t.root);
  return status;
}

/* ---- adding ---- */

typedef struct level { /* what was added in one folder on the way down */
  deai_blocks_entry *rows;
  uint32_t count;
} level;

static void level_clear(level *l) {
  for (uint32_t i = 0; i < l->count; i++) {
    free((char *)(uintptr_t)l->rows[i].name.ptr);
    free((uint8_t *)(uintptr_t)l->rows[i].cid.ptr);
  }
  free(l->rows);
  *l = (level){NULL, 0};
}

static int level_put(level *l, const char *name, const uint8_t *cid, uint64_t cid_len) {
  deai_blocks_entry *more = realloc(l->rows, ((size_t)l->count + 1) * sizeof *more);
  if (more == NULL) return cli_fail(DEAI_ENOMEM, "");
  l->rows = more;
  char *text = strdup(name);
  uint8_t *bytes = malloc((size_t)cid_len);
  l->rows[l->count++] = (deai_blocks_entry){.name = {text, text != NULL ? strlen(name) : 0},
                                            .cid = deai_bytes_of(bytes, cid_len)};
  if (text == NULL || bytes == NULL) return cli_fail(DEAI_ENOMEM, "");
  memcpy(bytes, cid, (size_t)cid_len);
  return 0;
}

typedef struct added {
  uint8_t cid[DEAI_CID_MAX];
  uint64_t cid_len;
} added;

static bool folder_part(void *user, const deai_part *part) {
  added *got = user;
  deai_blocks_added end;
  if ((part->flags & DEAI_PART_END) == 0 || part->args.len == 0) return true;
  if (deai_decode(&deai_blocks_added_table, part->args, &end, NULL, NULL, 0) != DEAI_OK)
    return false;
  memcpy(got->cid, end.cid.ptr, (size_t)end.cid.len);
  got->cid_len = end.cid.len;
  return true;
}

/* add_folder makes the directory of what a level holds. */
static int add_folder(deai_client *client, const char *path, const level *l, bool pin, added *out) {
  static uint8_t room[DEAI_HEAD_MAX / 2];
  char why[DEAI_ERR_CAP] = "";
  deai_blocks_add ask = {.has = DEAI_BLOCKS_ADD_HAS_DIR | DEAI_BLOCKS_ADD_HAS_PIN,
                         .pin = pin,
                         .dir = {l->rows, l->count}};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  int32_t status = deai_encode(&deai_blocks_add_table, &ask, &writer, why, sizeof why);
  if (status != DEAI_OK) {
    (void)fprintf(stderr, "deai: %s: a folder of fewer entries expected, found %u: %s\n", path,
                  l->count, why);
    return deai_status_exit(status);
  }
  deai_client_call call = {.service = DEAI_BLOCKS_SERVICE,
                           .method = "add",
                           .args = deai_bytes_of(room, writer.len),
                           .part = folder_part,
                           .user = out,
                           .time_ms = READ_MS};
  status = deai_client_run(client, &call, why, sizeof why);
  return status == DEAI_OK ? 0 : cli_fail(status, why);
}

/* add_one handles one thing of the walk; levels[n] belongs to the folder at depth n - 1. */
static int add_one(const cli *line, deai_client *client, const FTSENT *at, level *levels, bool pin,
                   added *last, uint64_t *bytes) {
  uint64_t size = 0;
  int code = 0;
  if (at->fts_info == FTS_D) {
    if (at->fts_level < (int)CLI_TREE_DEPTH_MAX) return 0;
    return cli_fail(DEAI_ETOOLARGE, "more folders inside each other than this command adds");
  }
  if (at->fts_info == FTS_F) {
    code = cli_add(line, client, at->fts_accpath, false, last->cid, &last->cid_len, &size);
    *bytes += size;
  } else if (at->fts_info == FTS_DP) {
    level *inside = &levels[at->fts_level + 1];
    code = add_folder(client, at->fts_path, inside, pin && at->fts_level == 0, last);
    level_clear(inside);
  } else {
    (void)fprintf(stderr, "deai: %s: expected a file or a folder, found something else%s%s\n",
                  at->fts_path, at->fts_errno != 0 ? ": " : "",
                  at->fts_errno != 0 ? strerror(at->fts_errno) : "");
    return deai_status_exit(DEAI_EUNSUPPORTED);
  }
  if (code != 0 || at->fts_level == 0) return code;
  return level_put(&levels[at->fts_level], at->fts_name, last->cid, last->cid_len);
}

int cli_tree_add(const cli *line, deai_client *client, const char *path, bool pin,
                 uint8_t cid[DEAI_CID_MAX], uint64_t *cid_len, uint64_t *bytes_out) {
  char *const roots[] = {(char *)(uintptr_t)path, NULL};
  level *levels = calloc((size_t)CLI_TREE_DEPTH_MAX + 2, sizeof *levels);
  FTS *walk = levels == NULL ? NULL : fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
  added last = {.cid_len = 0};
  int code = walk == NULL ? cli_fail(DEAI_EIO, strerror(errno)) : 0;
  *bytes_out = 0;
  while (code == 0) {
    errno = 0;
    const FTSENT *at = fts_read(walk);
    if (at == NULL && errno != 0) code = cli_fail(DEAI_EIO, strerror(errno));
    if (at == NULL) break;
    code = add_one(line, client, at, levels, pin, &last, bytes_out);
  }
  for (size_t i = 0; levels != NULL && i < (size_t)CLI_TREE_DEPTH_MAX + 2; i++)
    level_clear(&levels[i]);
  free(levels);
  if (walk != NULL) (void)fts_close(walk);
  memcpy(cid, last.cid, (size_t)last.cid_len);
  *cid_len = last.cid_len;
  return code;
}
