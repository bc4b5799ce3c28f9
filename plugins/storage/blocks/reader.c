#include "reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define SHARD_HASH_BITS 64

/* One block that is being read: its bytes and, for dag-pb, what they decode to. Nodes form the
   explicit stack of every walk; what is behind `depth` in a stack is kept for its memory only. */
typedef struct node {
  blocks_cid cid;
  blocks_buf block;
  blocks_pbnode pb; /* borrows block */
  blocks_unixfs fs; /* borrows block */
  uint64_t *sizes;  /* file: block size of each link */
  uint64_t start;   /* file: offset of the first byte under this node */
  uint32_t next;    /* the link to visit next */
  uint32_t prefix;  /* shard: hex digits before the name in a link */
} node;

typedef struct budget {
  blocks_caps caps;
  uint64_t bytes;
  uint64_t blocks;
} budget;

static void node_clear(node *n) {
  blocks_pbnode_free(&n->pb);
  free(n->sizes);
  n->sizes = NULL;
  n->fs = (blocks_unixfs){0};
  n->block.len = 0;
  n->next = 0;
}

static void node_free(node *n) {
  node_clear(n);
  blocks_buf_free(&n->block);
}

static void stack_free(node *stack) {
  if (stack == NULL) return;
  for (uint32_t i = 0; i < BLOCKS_DEPTH_MAX; i++)
    node_free(&stack[i]);
  free(stack);
}

static int32_t budget_take(budget *b, uint64_t bytes, blocks_error *err) {
  b->bytes += bytes;
  b->blocks++;
  if (b->caps.bytes_max != 0 && b->bytes > b->caps.bytes_max)
    return blocks_fail(err, DEAI_ETOOLARGE,
                       "DAG: read %" PRIu64 " bytes, the cap of this request is %" PRIu64, b->bytes,
                       b->caps.bytes_max);
  if (b->caps.blocks_max != 0 && b->blocks > b->caps.blocks_max)
    return blocks_fail(err, DEAI_ETOOLARGE,
                       "DAG: read %" PRIu64 " blocks, the cap of this request is %" PRIu64,
                       b->blocks, b->caps.blocks_max);
  return DEAI_OK;
}

static int32_t node_fetch(blocks_source source, const blocks_cid *cid, node *n, blocks_error *err) {
  node_clear(n);
  n->cid = *cid;
  if (cid->hash == BLOCKS_HASH_IDENTITY) { /* the block is in the CID */
    deai_bytes inside = blocks_cid_digest(&n->cid);
    return blocks_buf_add(&n->block, inside.ptr, (size_t)inside.len);
  }
  int32_t status = source.get(source.user, cid, &n->block, err);
  if (status == DEAI_OK && n->block.len > BLOCKS_BLOCK_BYTES_MAX)
    return blocks_fail(err, DEAI_ETOOLARGE, "block of %zu bytes, expected at most %u", n->block.len,
                       BLOCKS_BLOCK_BYTES_MAX);
  return status;
}

static int32_t node_decode_file(node *n, blocks_error *err) {
  if (n->fs.sizes_count == 0) return DEAI_OK;
  n->sizes = calloc(n->fs.sizes_count, sizeof *n->sizes);
  if (n->sizes == NULL) return blocks_fail(err, DEAI_ENOMEM, "file node: no memory");
  blocks_unixfs_sizes(&n->fs, n->sizes);
  return DEAI_OK;
}

static uint32_t hex_digits(uint64_t fanout) {
  uint32_t digits = 1;
  while ((fanout - 1) >> (4 * digits) != 0)
    digits++;
  return digits;
}

/* reads a block that must be UnixFS; a raw block is a file whose inline data is the block */
static int32_t node_read(blocks_source source, const blocks_cid *cid, node *n, budget *b,
                         blocks_error *err) {
  int32_t status = node_fetch(source, cid, n, err);
  if (status == DEAI_OK) status = budget_take(b, n->block.len, err);
  if (status != DEAI_OK) return status;
  if (cid->codec == BLOCKS_CODEC_RAW) {
    n->fs = (blocks_unixfs){.type = BLOCKS_UNIXFS_FILE,
                            .data = blocks_buf_bytes(&n->block),
                            .filesize = n->block.len,
                            .has_data = true};
    return DEAI_OK;
  }
  if (cid->codec != BLOCKS_CODEC_DAG_PB)
    return blocks_fail(err, DEAI_EUNSUPPORTED,
                       "UnixFS: expected codec raw or dag-pb, found 0x%" PRIx64, cid->codec);
  status = blocks_pbnode_decode(blocks_buf_bytes(&n->block), &n->pb, err);
  if (status == DEAI_OK) status = blocks_unixfs_decode(&n->pb, &n->fs, err);
  if (status != DEAI_OK) return status;
  if (n->fs.type == BLOCKS_UNIXFS_FILE || n->fs.type == BLOCKS_UNIXFS_RAW)
    return node_decode_file(n, err);
  if (n->fs.type == BLOCKS_UNIXFS_HAMT) n->prefix = hex_digits(n->fs.fanout);
  return DEAI_OK;
}

static bool is_file(const node *n) {
  return n->fs.type == BLOCKS_UNIXFS_FILE || n->fs.type == BLOCKS_UNIXFS_RAW;
}

int32_t blocks_info_read(blocks_source source, const blocks_cid *cid, blocks_info *out,
                         blocks_error *err) {
  node n = {0};
  budget b = {0};
  int32_t status = node_read(source, cid, &n, &b, err);
  if (status == DEAI_OK) {
    *out = (blocks_info){.type = n.fs.type,
                         .mode = n.fs.mode,
                         .mtime_s = n.fs.mtime_s,
                         .mtime_ns = n.fs.mtime_ns,
                         .has_mode = n.fs.has_mode,
                         .has_mtime = n.fs.has_mtime};
    if (is_file(&n)) out->size = n.fs.filesize;
    if (n.fs.type == BLOCKS_UNIXFS_RAW) out->type = BLOCKS_UNIXFS_FILE;
    if (n.fs.type == BLOCKS_UNIXFS_SYMLINK) out->size = n.fs.data.len;
  }
  node_free(&n);
  return status;
}

int32_t blocks_symlink_read(blocks_source source, const blocks_cid *cid, blocks_buf *target,
                            blocks_error *err) {
  node n = {0};
  budget b = {0};
  int32_t status = node_read(source, cid, &n, &b, err);
  if (status == DEAI_OK && n.fs.type != BLOCKS_UNIXFS_SYMLINK)
    status =
        blocks_fail(err, DEAI_EINVAL, "UnixFS: expected a symlink, found type %d", (int)n.fs.type);
  if (status == DEAI_OK && (n.fs.data.len == 0 || n.fs.data.len > BLOCKS_UNIXFS_TARGET_MAX))
    status = blocks_fail(err, DEAI_EINVAL, "symlink: expected a target of 1 to %d bytes",
                         BLOCKS_UNIXFS_TARGET_MAX);
  target->len = 0;
  if (status == DEAI_OK) status = blocks_buf_add(target, n.fs.data.ptr, (size_t)n.fs.data.len);
  node_free(&n);
  return status;
}

/* --- names in directories --- */

static const blocks_pblink *find_name(const node *n, deai_bytes name) {
  for (uint32_t i = 0; i < n->pb.links_count; i++)
    if (deai_bytes_eq(n->pb.links[i].name, name)) return &n->pb.links[i];
  return NULL;
}

static uint32_t fanout_bits(uint64_t fanout) {
  uint32_t bits = 0;
  while (fanout >> (bits + 1) != 0)
    bits++;
  return bits;
}

/* the link of a shard for the name: a child shard (name = prefix) or the entry (prefix + name) */
static const blocks_pblink *find_in_shard(const node *n, deai_bytes name, uint64_t hash,
                                          uint32_t used_bits, bool *is_shard) {
  uint32_t bits = fanout_bits(n->fs.fanout);
  if (used_bits + bits > SHARD_HASH_BITS) return NULL;
  uint64_t slot = (hash << used_bits) >> (64 - bits);
  char digits[8];
  (void)snprintf(digits, sizeof digits, "%0*" PRIX64, (int)n->prefix, slot);
  for (uint32_t i = 0; i < n->pb.links_count; i++) {
    deai_bytes at = n->pb.links[i].name;
    if (at.len < n->prefix || memcmp(at.ptr, digits, n->prefix) != 0) continue;
    *is_shard = at.len == n->prefix;
    deai_bytes rest = deai_bytes_of(at.ptr + n->prefix, at.len - n->prefix);
    if (*is_shard || deai_bytes_eq(rest, name)) return &n->pb.links[i];
  }
  return NULL;
}

typedef struct resolving {
  blocks_source source;
  void *user;
  blocks_visit *visit;
  node n;
  budget b;
} resolving;

static int32_t name_not_found(deai_bytes name, blocks_error *err) {
  return blocks_fail(err, DEAI_ENOTFOUND, "path: no entry '%.*s' in this directory",
                     (int)(name.len < 200 ? name.len : 200), (const char *)name.ptr);
}

static int32_t resolve_read(resolving *r, const blocks_cid *cid, blocks_error *err) {
  int32_t status = node_read(r->source, cid, &r->n, &r->b, err);
  if (status != DEAI_OK || r->visit == NULL) return status;
  return r->visit(r->user, cid, blocks_buf_bytes(&r->n.block));
}

/* one segment: *at is the directory and becomes the entry */
static int32_t resolve_segment(resolving *r, blocks_cid *at, deai_bytes name, blocks_error *err) {
  uint64_t hash = blocks_hamt_hash(name);
  uint32_t used_bits = 0;
  for (uint32_t depth = 0; depth < BLOCKS_DEPTH_MAX; depth++) {
    bool is_shard = false;
    const blocks_pblink *link = NULL;
    int32_t status = resolve_read(r, at, err);
    if (status != DEAI_OK) return status;
    bool wants_shard = depth > 0;
    if (r->n.fs.type == BLOCKS_UNIXFS_DIRECTORY && !wants_shard) {
      link = find_name(&r->n, name);
    } else if (r->n.fs.type == BLOCKS_UNIXFS_HAMT) {
      link = find_in_shard(&r->n, name, hash, used_bits, &is_shard);
      used_bits += fanout_bits(r->n.fs.fanout);
    } else {
      return blocks_fail(err, DEAI_EINVAL, "path: '%.*s' looked for in what is no directory",
                         (int)(name.len < 200 ? name.len : 200), (const char *)name.ptr);
    }
    if (link == NULL) return name_not_found(name, err);
    *at = blocks_pblink_cid(link);
    if (!is_shard) return DEAI_OK;
  }
  return blocks_fail(err, DEAI_EINVAL, "directory: shards deeper than %d levels", BLOCKS_DEPTH_MAX);
}

int32_t blocks_resolve(blocks_source source, const blocks_cid *root, deai_str path, blocks_cid *out,
                       blocks_error *err, void *user, blocks_visit *visit) {
  if (path.len > BLOCKS_PATH_BYTES_MAX)
    return blocks_fail(err, DEAI_EINVAL, "path: expected at most %d bytes, found %" PRIu64,
                       BLOCKS_PATH_BYTES_MAX, path.len);
  resolving r = {.source = source, .user = user, .visit = visit};
  blocks_cid at = *root;
  int32_t status = DEAI_OK;
  uint64_t start = 0;
  while (start < path.len && status == DEAI_OK) {
    uint64_t end = start;
    while (end < path.len && path.ptr[end] != '/')
      end++;
    if (end > start)
      status = resolve_segment(&r, &at, deai_bytes_of(path.ptr + start, end - start), err);
    start = end + 1;
  }
  node_free(&r.n);
  if (status == DEAI_OK) *out = at;
  return status;
}

static int32_t shard_link(node *stack, uint32_t *depth, blocks_source source, budget *b,
                          const blocks_pblink *link, blocks_error *err) {
  if (*depth == BLOCKS_DEPTH_MAX)
    return blocks_fail(err, DEAI_EINVAL, "directory: shards deeper than %d levels",
                       BLOCKS_DEPTH_MAX);
  blocks_cid cid = blocks_pblink_cid(link);
  node *child = &stack[*depth];
  int32_t status = node_read(source, &cid, child, b, err);
  if (status != DEAI_OK) return status;
  if (child->fs.type != BLOCKS_UNIXFS_HAMT)
    return blocks_fail(err, DEAI_EINVAL, "directory: expected a shard, found type %d",
                       (int)child->fs.type);
  (*depth)++;
  return DEAI_OK;
}

static int32_t directory_walk(node *stack, blocks_source source, budget *b, blocks_error *err,
                              void *user, blocks_directory_entry *each) {
  uint32_t depth = 1;
  int32_t status = DEAI_OK;
  while (depth > 0 && status == DEAI_OK) {
    node *top = &stack[depth - 1];
    if (top->next == top->pb.links_count) {
      depth--;
      continue;
    }
    const blocks_pblink *link = &top->pb.links[top->next++];
    bool sharded = top->fs.type == BLOCKS_UNIXFS_HAMT;
    if (sharded && link->name.len < top->prefix)
      return blocks_fail(err, DEAI_EINVAL, "directory: a shard's link has no slot number");
    if (sharded && link->name.len == top->prefix) {
      status = shard_link(stack, &depth, source, b, link, err);
      continue;
    }
    uint32_t skip = sharded ? top->prefix : 0;
    blocks_cid cid = blocks_pblink_cid(link);
    deai_bytes name =
        deai_bytes_of(link->name.len ? link->name.ptr + skip : NULL, link->name.len - skip);
    status = each(user, name, &cid, link->tsize);
  }
  return status;
}

int32_t blocks_directory_each(blocks_source source, const blocks_cid *directory, blocks_caps caps,
                              blocks_error *err, void *user, blocks_directory_entry *each) {
  node *stack = calloc(BLOCKS_DEPTH_MAX, sizeof *stack);
  if (stack == NULL) return blocks_fail(err, DEAI_ENOMEM, "directory: no memory");
  budget b = {.caps = caps};
  int32_t status = node_read(source, directory, &stack[0], &b, err);
  blocks_unixfs_type type = stack[0].fs.type;
  if (status == DEAI_OK && type != BLOCKS_UNIXFS_DIRECTORY && type != BLOCKS_UNIXFS_HAMT)
    status =
        blocks_fail(err, DEAI_EINVAL, "UnixFS: expected a directory, found type %d", (int)type);
  if (status == DEAI_OK) status = directory_walk(stack, source, &b, err, user, each);
  stack_free(stack);
  return status;
}

/* --- whole DAGs --- */

typedef struct dag_walk {
  node *stack;
  uint32_t depth;
  blocks_source source;
  bool leaves;
  budget b;
  void *user;
  blocks_visit *visit;
  blocks_missing *missing;
} dag_walk;

/* visits cid; a dag-pb block with children to follow is pushed */
static int32_t dag_enter(dag_walk *w, const blocks_cid *cid, blocks_error *err) {
  if (cid->codec == BLOCKS_CODEC_RAW && !w->leaves) {
    int32_t taken = budget_take(&w->b, 0, err);
    if (taken != DEAI_OK) return taken;
    int32_t answer = w->visit(w->user, cid, (deai_bytes){0});
    return answer == 1 ? DEAI_OK : answer;
  }
  if (w->depth == BLOCKS_DEPTH_MAX)
    return blocks_fail(err, DEAI_EINVAL, "DAG: deeper than %d levels", BLOCKS_DEPTH_MAX);
  node *n = &w->stack[w->depth];
  int32_t status = node_fetch(w->source, cid, n, err);
  if (status == DEAI_ENOTFOUND && w->missing != NULL) {
    status = budget_take(&w->b, 0, err);
    return status == DEAI_OK ? w->missing(w->user, cid) : status;
  }
  if (status == DEAI_OK) status = budget_take(&w->b, n->block.len, err);
  if (status != DEAI_OK) return status;
  status = w->visit(w->user, cid, blocks_buf_bytes(&n->block));
  if (status == 1) return DEAI_OK;
  if (status != DEAI_OK || cid->codec != BLOCKS_CODEC_DAG_PB) return status;
  status = blocks_pbnode_decode(blocks_buf_bytes(&n->block), &n->pb, err);
  if (status == DEAI_OK) w->depth++;
  return status;
}

static bool dag_follows(const blocks_cid *cid) {
  return cid->codec == BLOCKS_CODEC_RAW || cid->codec == BLOCKS_CODEC_DAG_PB;
}

int32_t blocks_dag_each(blocks_source source, const blocks_cid *root, bool leaves, blocks_caps caps,
                        blocks_error *err, void *user, blocks_visit *visit,
                        blocks_missing *missing) {
  dag_walk w = {.source = source,
                .leaves = leaves,
                .b = {.caps = caps},
                .user = user,
                .visit = visit,
                .missing = missing};
  w.stack = calloc(BLOCKS_DEPTH_MAX, sizeof *w.stack);
  if (w.stack == NULL) return blocks_fail(err, DEAI_ENOMEM, "DAG: no memory");
  int32_t status = dag_enter(&w, root, err);
  while (w.depth > 0 && status == DEAI_OK) {
    node *top = &w.stack[w.depth - 1];
    if (top->next == top->pb.links_count) {
      w.depth--;
      continue;
    }
    blocks_cid cid = blocks_pblink_cid(&top->pb.links[top->next++]);
    if (dag_follows(&cid)) status = dag_enter(&w, &cid, err);
  }
  stack_free(w.stack);
  return status;
}

/* --- ranges of a file --- */

struct blocks_reader {
  blocks_source source;
  budget b;
  uint64_t size;
  uint32_t depth; /* valid nodes in stack, at least the root */
  node stack[BLOCKS_DEPTH_MAX];
};

int32_t blocks_reader_open(blocks_source source, const blocks_cid *cid, blocks_caps caps,
                           blocks_reader **out, blocks_error *err) {
  blocks_reader *reader = calloc(1, sizeof *reader);
  if (reader == NULL) return blocks_fail(err, DEAI_ENOMEM, "reader: no memory");
  reader->source = source;
  reader->b.caps = caps;
  int32_t status = node_read(source, cid, &reader->stack[0], &reader->b, err);
  if (status == DEAI_OK && !is_file(&reader->stack[0]))
    status = blocks_fail(err, DEAI_EINVAL, "UnixFS: expected a file, found type %d",
                         (int)reader->stack[0].fs.type);
  if (status != DEAI_OK) {
    blocks_reader_close(reader);
    return status;
  }
  reader->depth = 1;
  reader->size = reader->stack[0].fs.filesize;
  *out = reader;
  return DEAI_OK;
}

uint64_t blocks_reader_size(const blocks_reader *reader) {
  return reader->size;
}

static bool covers(const node *n, uint64_t offset) {
  return offset >= n->start && offset - n->start < n->fs.filesize;
}

/* finds the link under which offset (relative, behind the inline data) lies and where it starts */
static uint32_t child_at(const node *n, uint64_t offset, uint64_t *start_out) {
  uint64_t start = 0;
  uint32_t i = 0;
  while (i + 1 < n->fs.sizes_count && offset - start >= n->sizes[i])
    start += n->sizes[i++];
  *start_out = start;
  return i;
}

static int32_t reader_descend(blocks_reader *reader, uint64_t offset, blocks_error *err) {
  node *top = &reader->stack[reader->depth - 1];
  uint64_t start = 0;
  if (reader->depth == BLOCKS_DEPTH_MAX)
    return blocks_fail(err, DEAI_EINVAL, "file: deeper than %d levels", BLOCKS_DEPTH_MAX);
  uint32_t i = child_at(top, offset - top->start - top->fs.data.len, &start);
  blocks_cid cid = blocks_pblink_cid(&top->pb.links[i]);
  node *child = &reader->stack[reader->depth];
  int32_t status = node_read(reader->source, &cid, child, &reader->b, err);
  if (status != DEAI_OK) return status;
  child->start = top->start + top->fs.data.len + start;
  if (!is_file(child) || child->fs.filesize != top->sizes[i])
    return blocks_fail(err, DEAI_EINVAL,
                       "file: expected %" PRIu64 " bytes under a link, found %" PRIu64,
                       top->sizes[i], child->fs.filesize);
  reader->depth++;
  return DEAI_OK;
}

int64_t blocks_reader_read(blocks_reader *reader, uint64_t offset, deai_buf dst,
                           blocks_error *err) {
  if (offset >= reader->size || dst.cap == 0) return 0;
  while (reader->depth > 1 && !covers(&reader->stack[reader->depth - 1], offset))
    reader->depth--;
  node *top = &reader->stack[reader->depth - 1];
  while (offset - top->start >= top->fs.data.len) {
    int32_t status = reader_descend(reader, offset, err);
    if (status != DEAI_OK) return status;
    top = &reader->stack[reader->depth - 1];
  }
  uint64_t at = offset - top->start;
  uint64_t len = top->fs.data.len - at;
  if (len > dst.cap) len = dst.cap;
  memcpy(dst.ptr, top->fs.data.ptr + at, (size_t)len);
  return (int64_t)len;
}

void blocks_reader_close(blocks_reader *reader) {
  if (reader == NULL) return;
  for (uint32_t i = 0; i < BLOCKS_DEPTH_MAX; i++)
    node_free(&reader->stack[i]);
  free(reader);
}
