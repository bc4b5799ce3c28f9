#include "fetch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define LEVELS_MAX                                                                                 \
  (BLOCKS_DEPTH_MAX * BLOCKS_FETCH_WANTS + 1) /* each want may add its own way
*/
#define AGAIN_MAX     (BLOCKS_FETCH_WANTS + 2)
#define STEP_VISITS   512u
#define STEP_BYTES    (8u << 20)
#define SET_FIRST_CAP 64u

/* What the links of a node are. */
enum {
  MODE_TREE = 1, /* of a directory, or the root: each may be a large file */
  MODE_FILE = 2, /* of a file that is put block by block */
  MODE_NODES = 3 /* of a large file: its leaves are not visited */
};

enum { FILE_NONE = 0, FILE_NODES, FILE_LEAVES };

typedef struct level {
  blocks_buf block;
  blocks_pbnode node; /* borrows block */
  uint32_t next;
  uint32_t mode;
  uint32_t depth; /* of its links */
} level;

typedef struct stack {
  level levels[LEVELS_MAX];
  uint32_t count;
} stack;

typedef struct visit_item {
  blocks_cid cid;
  uint64_t tsize;
  uint32_t mode;
  uint32_t depth;
} visit_item;

typedef struct item_list {
  visit_item items[AGAIN_MAX];
  uint32_t count;
} item_list;

/* SHA-256 of the CIDs of inner nodes that were visited. */
typedef struct node_set {
  uint8_t (*keys)[DEAI_HASH_BYTES]; /* all zero = free */
  uint32_t cap;
  uint32_t count;
} node_set;

struct blocks_fetch {
  blocks_store *store;
  bool began;
  stack tree;
  stack nodes; /* of the large file */
  item_list tree_again;
  item_list nodes_again;
  node_set tree_seen;
  node_set nodes_seen;
  uint64_t stack_bytes;
  uint32_t out; /* wants that are out */
  uint32_t nodes_out;
  uint32_t leaves_out;
  /* the large file in work */
  int phase;
  blocks_cid root;
  uint32_t root_depth;
  blocks_file *file;
  uint32_t from; /* leaves before it are here or wanted */
  uint64_t leaf_bytes;
  /* work of this step, and of all */
  uint32_t visits;
  uint64_t read;
  uint64_t done;
  uint64_t of;
};

/* forget empties the text of a failure that is none for the walk. */
static void forget(blocks_error *err) {
  if (err != NULL) err->text[0] = 0;
}

/* ---- what was visited ---- */

static uint8_t *set_slot(const node_set *set, const uint8_t key[DEAI_HASH_BYTES]) {
  static const uint8_t zero[DEAI_HASH_BYTES];
  uint32_t at = 0;
  memcpy(&at, key, sizeof at);
  at &= set->cap - 1;
  while (memcmp(set->keys[at], zero, DEAI_HASH_BYTES) != 0 &&
         memcmp(set->keys[at], key, DEAI_HASH_BYTES) != 0)
    at = (at + 1) & (set->cap - 1);
  return set->keys[at];
}

static int32_t set_grow(node_set *set) {
  static const uint8_t zero[DEAI_HASH_BYTES];
  node_set larger = {.cap = set->cap == 0 ? SET_FIRST_CAP : set->cap * 2, .count = set->count};
  larger.keys = calloc(larger.cap, sizeof *larger.keys);
  if (larger.keys == NULL) return DEAI_ENOMEM;
  for (uint32_t i = 0; i < set->cap; i++) {
    if (memcmp(set->keys[i], zero, DEAI_HASH_BYTES) != 0)
      memcpy(set_slot(&larger, set->keys[i]), set->keys[i], DEAI_HASH_BYTES);
  }
  free(set->keys);
  *set = larger;
  return DEAI_OK;
}

/* set_add returns 1 when cid was there, 0 when it is new, or a negative status. */
static int32_t set_add(node_set *set, const blocks_cid *cid, blocks_error *err) {
  blocks_cid key;
  if (set->count == BLOCKS_FETCH_NODES_MAX)
    return blocks_fail(err, DEAI_ETOOLARGE, "fetch: expected at most %u inner nodes, found more",
                       BLOCKS_FETCH_NODES_MAX);
  if (set->count * 2 >= set->cap && set_grow(set) != DEAI_OK)
    return blocks_fail(err, DEAI_ENOMEM, "fetch: no memory");
  blocks_cid_of_block(BLOCKS_CODEC_RAW, blocks_cid_bytes(cid), &key);
  const uint8_t *digest = blocks_cid_digest(&key).ptr;
  uint8_t *slot = set_slot(set, digest);
  if (memcmp(slot, digest, DEAI_HASH_BYTES) == 0) return 1;
  memcpy(slot, digest, DEAI_HASH_BYTES);
  set->count++;
  return 0;
}

static void set_clear(node_set *set) {
  free(set->keys);
  *set = (node_set){0};
}

/* ---- the way down ---- */

static uint64_t level_bytes(const level *at) {
  return at->block.cap + at->node.links_count * sizeof(blocks_pblink);
}

static void stack_pop(blocks_fetch *fetch, stack *on) {
  level *top = &on->levels[--on->count];
  fetch->stack_bytes -= level_bytes(top);
  blocks_pbnode_free(&top->node);
  blocks_buf_free(&top->block);
}

/* stack_push takes block and node over, also when it refuses. */
static int32_t stack_push(blocks_fetch *fetch, stack *on, level *made, blocks_error *err) {
  uint64_t bytes = level_bytes(made);
  if (made->depth <= BLOCKS_DEPTH_MAX && on->count < LEVELS_MAX &&
      fetch->stack_bytes + bytes <= BLOCKS_FETCH_STACK_BYTES) {
    on->levels[on->count++] = *made;
    fetch->stack_bytes += bytes;
    return DEAI_OK;
  }
  blocks_pbnode_free(&made->node);
  blocks_buf_free(&made->block);
  return blocks_fail(err, DEAI_ETOOLARGE,
                     "fetch: expected a DAG of at most %d levels and %u bytes of nodes on the way, "
                     "found a larger one",
                     BLOCKS_DEPTH_MAX, BLOCKS_FETCH_STACK_BYTES);
}

static void count_done(blocks_fetch *fetch, uint64_t bytes) {
  fetch->done = bytes > UINT64_MAX - fetch->done ? UINT64_MAX : fetch->done + bytes;
}

static void root_size(blocks_fetch *fetch, const blocks_pbnode *node, uint64_t bytes) {
  if (fetch->began) return;
  fetch->began = true;
  fetch->of = bytes;
  for (uint32_t i = 0; i < node->links_count; i++) {
    uint64_t more = node->links[i].tsize;
    fetch->of = more > UINT64_MAX - fetch->of ? UINT64_MAX : fetch->of + more;
  }
}

static int32_t want_out(blocks_fetch *fetch, const visit_item *item, uint32_t leaf,
                        blocks_want *want) {
  *want = (blocks_want){.cid = item->cid, .leaf = leaf, .mode = item->mode, .depth = item->depth};
  fetch->out++;
  if (leaf != BLOCKS_FETCH_NO_LEAF)
    fetch->leaves_out++;
  else if (item->mode == MODE_NODES)
    fetch->nodes_out++;
  return BLOCKS_FETCH_WANT;
}

/* enter looks at an inner node that is here and puts its links on the stack. */
static int32_t enter(blocks_fetch *fetch, const visit_item *item, level *made, blocks_error *err) {
  blocks_unixfs fs = {0};
  int32_t status = blocks_pbnode_decode(blocks_buf_bytes(&made->block), &made->node, err);
  if (status != DEAI_OK) {
    blocks_buf_free(&made->block);
    return status;
  }
  bool is_file =
      blocks_unixfs_decode(&made->node, &fs, NULL) == DEAI_OK && fs.type == BLOCKS_UNIXFS_FILE;
  bool large = is_file && item->mode == MODE_TREE && made->node.links_count > 0 &&
               fs.filesize >= BLOCKS_FILE_BYTES_MIN;
  root_size(fetch, &made->node, made->block.len);
  fetch->read += made->block.len;
  made->next = 0;
  made->depth = item->depth + 1;
  made->mode = item->mode == MODE_TREE && is_file ? MODE_FILE : item->mode;
  if (!large) {
    count_done(fetch, made->block.len);
    return stack_push(fetch, item->mode == MODE_NODES ? &fetch->nodes : &fetch->tree, made, err);
  }
  count_done(fetch, made->block.len);
  fetch->phase = FILE_NODES;
  fetch->root = item->cid;
  fetch->root_depth = item->depth;
  set_clear(&fetch->nodes_seen);
  made->mode = MODE_NODES;
  return stack_push(fetch, &fetch->nodes, made, err);
}

/* visit_leaf looks whether a block without links is here. */
static int32_t visit_leaf(blocks_fetch *fetch, const visit_item *item, blocks_want *want,
                          blocks_error *err) {
  uint32_t len = 0;
  int32_t has = blocks_store_has(fetch->store, &item->cid, &len);
  if (has < 0) return blocks_fail(err, has, "fetch: the index of the store cannot be read");
  if (has == 0) return want_out(fetch, item, BLOCKS_FETCH_NO_LEAF, want);
  count_done(fetch, len);
  return DEAI_OK;
}

/* visit returns 0 to go on, BLOCKS_FETCH_WANT, or a negative status. */
static int32_t visit(blocks_fetch *fetch, const visit_item *item, blocks_want *want,
                     blocks_error *err) {
  level made = {0};
  fetch->visits++;
  if (item->cid.codec != BLOCKS_CODEC_DAG_PB)
    return item->mode == MODE_NODES ? DEAI_OK : visit_leaf(fetch, item, want, err);
  int32_t status = blocks_store_get(fetch->store, &item->cid, &made.block, err);
  if (status == DEAI_ENOTFOUND || status == DEAI_EVERIFY) {
    blocks_buf_free(&made.block);
    forget(err);
    return want_out(fetch, item, BLOCKS_FETCH_NO_LEAF, want);
  }
  node_set *seen = item->mode == MODE_NODES ? &fetch->nodes_seen : &fetch->tree_seen;
  if (status == DEAI_OK) status = set_add(seen, &item->cid, err);
  if (status == 0) return enter(fetch, item, &made, err);
  blocks_buf_free(&made.block);
  if (status == 1) count_done(fetch, item->tsize); /* walked before */
  return status < 0 ? status : DEAI_OK;
}

/* visit_next visits the next link of the topmost level. */
static int32_t visit_next(blocks_fetch *fetch, stack *on, blocks_want *want, blocks_error *err) {
  level *top = &on->levels[on->count - 1];
  if (top->next == top->node.links_count) {
    stack_pop(fetch, on);
    return DEAI_OK;
  }
  const blocks_pblink *link = &top->node.links[top->next++];
  visit_item item = {
      .cid = blocks_pblink_cid(link), .tsize = link->tsize, .mode = top->mode, .depth = top->depth};
  return visit(fetch, &item, want, err);
}

static int32_t visit_again(blocks_fetch *fetch, item_list *list, blocks_want *want,
                           blocks_error *err) {
  visit_item item = list->items[--list->count];
  return visit(fetch, &item, want, err);
}

/* ---- a large file ---- */

/* file_plain puts the links of a file that is none for files/ on the stack of the tree. */
static int32_t file_plain(blocks_fetch *fetch, blocks_error *err) {
  level made = {.mode = MODE_FILE, .depth = fetch->root_depth + 1};
  fetch->phase = FILE_NONE;
  int32_t status = blocks_store_get(fetch->store, &fetch->root, &made.block, err);
  if (status == DEAI_OK)
    status = blocks_pbnode_decode(blocks_buf_bytes(&made.block), &made.node, err);
  if (status == DEAI_OK) return stack_push(fetch, &fetch->tree, &made, err);
  blocks_buf_free(&made.block);
  return status;
}

static int32_t file_begin(blocks_fetch *fetch, blocks_error *err) {
  uint32_t have = 0;
  blocks_info info;
  int32_t status = blocks_file_begin(fetch->store, &fetch->root, &fetch->file, err);
  set_clear(&fetch->nodes_seen);
  if (status == DEAI_EUNSUPPORTED) {
    forget(err);
    return file_plain(fetch, err);
  }
  if (status == DEAI_OK)
    status = blocks_info_read(blocks_store_source(fetch->store), &fetch->root, &info, err);
  if (status != DEAI_OK) return status;
  uint32_t leaves = blocks_file_leaves(fetch->file, &have);
  fetch->leaf_bytes = leaves > 0 ? info.size / leaves : 0;
  count_done(fetch, fetch->leaf_bytes * have);
  fetch->phase = FILE_LEAVES;
  fetch->from = 0;
  return DEAI_OK;
}

static void file_end(blocks_fetch *fetch) {
  blocks_file_end(fetch->file);
  fetch->file = NULL;
  fetch->phase = FILE_NONE;
}

/* leaf_from_here takes a leaf that the store has in another place; 1 = it has not. */
static int32_t leaf_from_here(blocks_fetch *fetch, uint32_t leaf, const blocks_cid *cid,
                              blocks_error *err) {
  blocks_buf block = {0};
  int32_t status = blocks_store_get(fetch->store, cid, &block, err);
  if (status == DEAI_OK) status = blocks_file_put(fetch->file, leaf, blocks_buf_bytes(&block), err);
  if (status == DEAI_OK) {
    count_done(fetch, block.len);
    fetch->read += block.len;
  }
  blocks_buf_free(&block);
  if (status != DEAI_ENOTFOUND && status != DEAI_EVERIFY) return status;
  forget(err);
  return 1;
}

static int32_t next_leaf(blocks_fetch *fetch, blocks_want *want, blocks_error *err) {
  visit_item item = {.mode = MODE_NODES};
  uint32_t leaf = 0;
  fetch->visits++;
  if (blocks_file_missing(fetch->file, fetch->from, &leaf, &item.cid) == 0) {
    if (fetch->leaves_out > 0) return BLOCKS_FETCH_WAITS;
    file_end(fetch);
    return BLOCKS_FETCH_BUSY;
  }
  fetch->from = leaf + 1;
  int32_t status = leaf_from_here(fetch, leaf, &item.cid, err);
  if (status == 1) return want_out(fetch, &item, leaf, want);
  return status == DEAI_OK ? BLOCKS_FETCH_BUSY : status;
}

/* ---- the walk ---- */

/* walk_one does one piece: a blocks_fetch_state (BUSY = go on) or a negative status. */
static int32_t walk_one(blocks_fetch *fetch, blocks_want *want, blocks_error *err) {
  int32_t status = DEAI_OK;
  if (fetch->phase == FILE_LEAVES) return next_leaf(fetch, want, err);
  if (fetch->phase == FILE_NODES) {
    if (fetch->nodes_again.count > 0)
      status = visit_again(fetch, &fetch->nodes_again, want, err);
    else if (fetch->nodes.count > 0)
      status = visit_next(fetch, &fetch->nodes, want, err);
    else if (fetch->nodes_out > 0)
      return BLOCKS_FETCH_WAITS;
    else
      status = file_begin(fetch, err);
  } else if (fetch->tree_again.count > 0) {
    status = visit_again(fetch, &fetch->tree_again, want, err);
  } else if (fetch->tree.count > 0) {
    status = visit_next(fetch, &fetch->tree, want, err);
  } else {
    return fetch->out > 0 ? BLOCKS_FETCH_WAITS : BLOCKS_FETCH_DONE;
  }
  return status == DEAI_OK ? BLOCKS_FETCH_BUSY : status;
}

int32_t blocks_fetch_next(blocks_fetch *fetch, blocks_want *want, blocks_error *err) {
  int32_t status = BLOCKS_FETCH_BUSY;
  fetch->visits = 0;
  fetch->read = 0;
  while (status == BLOCKS_FETCH_BUSY && fetch->visits < STEP_VISITS && fetch->read < STEP_BYTES)
    status = walk_one(fetch, want, err);
  return status;
}

/* again_put notes that a block has come, so that its links are walked. */
static void again_put(blocks_fetch *fetch, const blocks_want *want) {
  item_list *list = want->mode == MODE_NODES ? &fetch->nodes_again : &fetch->tree_again;
  list->items[list->count++] =
      (visit_item){.cid = want->cid, .mode = want->mode, .depth = want->depth};
}

int32_t blocks_fetch_take(blocks_fetch *fetch, const blocks_want *want, deai_bytes data,
                          blocks_error *err) {
  bool is_leaf = want->leaf != BLOCKS_FETCH_NO_LEAF;
  int32_t status = is_leaf ? blocks_file_put(fetch->file, want->leaf, data, err)
                           : blocks_store_put(fetch->store, &want->cid, data, err);
  if (status != DEAI_OK) return status;
  fetch->out--;
  if (is_leaf)
    fetch->leaves_out--;
  else if (want->mode == MODE_NODES)
    fetch->nodes_out--;
  if (is_leaf || want->cid.codec != BLOCKS_CODEC_DAG_PB)
    count_done(fetch, data.len);
  else
    again_put(fetch, want);
  return DEAI_OK;
}

void blocks_fetch_progress(const blocks_fetch *fetch, uint64_t *done_out, uint64_t *of_out) {
  *done_out = fetch->done;
  *of_out = fetch->of > fetch->done ? fetch->of : fetch->done;
}

int32_t blocks_fetch_new(blocks_store *store, const blocks_cid *root, blocks_fetch **out,
                         blocks_error *err) {
  blocks_fetch *fetch = calloc(1, sizeof *fetch);
  if (fetch == NULL) return blocks_fail(err, DEAI_ENOMEM, "fetch: no memory");
  fetch->store = store;
  fetch->tree_again.items[0] = (visit_item){.cid = *root, .mode = MODE_TREE};
  fetch->tree_again.count = 1;
  *out = fetch;
  return DEAI_OK;
}

void blocks_fetch_free(blocks_fetch *fetch) {
  if (fetch == NULL) return;
  while (fetch->tree.count > 0)
    stack_pop(fetch, &fetch->tree);
  while (fetch->nodes.count > 0)
    stack_pop(fetch, &fetch->nodes);
  set_clear(&fetch->tree_seen);
  set_clear(&fetch->nodes_seen);
  blocks_file_end(fetch->file);
  free(fetch);
}
