#include "top.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define LEVELS_MAX 33

typedef struct node {
  uint8_t hash[DEAI_HASH_BYTES];
} node;

struct deai_top {
  uint32_t levels;
  uint32_t counts[LEVELS_MAX]; /* nodes of a level, leaves first */
  node *made[LEVELS_MAX];      /* of the block in the making */
  node *shown[LEVELS_MAX];     /* committed */
  uint32_t *changed;           /* leaves, may repeat */
  uint64_t changed_count;
  uint64_t changed_cap;
  uint64_t hashed_count; /* so many of changed are in made already */
};

static void hash_up(deai_top *top, uint32_t level, uint32_t at) {
  const node *below = top->made[level - 1];
  uint32_t left = 2 * at;
  if (left + 1 < top->counts[level - 1]) {
    deai_merkle_node(below[left].hash, below[left + 1].hash, top->made[level][at].hash);
  } else {
    top->made[level][at] = below[left];
  }
}

static int32_t levels_make(deai_top *top, uint32_t count) {
  for (top->levels = 0;; count = count / 2 + count % 2) {
    uint32_t level = top->levels++;
    top->counts[level] = count;
    top->made[level] = calloc(count, sizeof(node));
    top->shown[level] = calloc(count, sizeof(node));
    if (top->made[level] == NULL || top->shown[level] == NULL) return DEAI_ENOMEM;
    if (count == 1) return DEAI_OK;
  }
}

deai_top *deai_top_new(const uint8_t *leaves, uint32_t count) {
  deai_top *top = calloc(1, sizeof *top);
  if (top == NULL) return NULL;
  if (levels_make(top, count) != DEAI_OK) {
    deai_top_free(top);
    return NULL;
  }
  memcpy(top->made[0], leaves, (size_t)count * sizeof(node));
  for (uint32_t level = 1; level < top->levels; level++) {
    for (uint32_t at = 0; at < top->counts[level]; at++)
      hash_up(top, level, at);
  }
  for (uint32_t level = 0; level < top->levels; level++)
    memcpy(top->shown[level], top->made[level], top->counts[level] * sizeof(node));
  return top;
}

void deai_top_free(deai_top *top) {
  if (top == NULL) return;
  for (uint32_t level = 0; level < top->levels; level++) {
    free(top->made[level]);
    free(top->shown[level]);
  }
  free(top->changed);
  free(top);
}

int32_t deai_top_set(deai_top *top, uint32_t leaf, const uint8_t hash[DEAI_HASH_BYTES]) {
  if (top->changed_count == top->changed_cap) {
    uint64_t cap = top->changed_cap == 0 ? 256 : 2 * top->changed_cap;
    uint32_t *wider = realloc(top->changed, (size_t)cap * sizeof wider[0]);
    if (wider == NULL) return DEAI_ENOMEM;
    top->changed = wider;
    top->changed_cap = cap;
  }
  top->changed[top->changed_count++] = leaf;
  memcpy(top->made[0][leaf].hash, hash, DEAI_HASH_BYTES);
  return DEAI_OK;
}

static int number_compare(const void *a, const void *b) {
  uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
  return left < right ? -1 : left > right;
}

/* Hashes level by level; neighbours that share a parent are hashed once. */
static void hash_changed(deai_top *top, uint32_t *dirty, uint64_t count) {
  qsort(dirty, (size_t)count, sizeof dirty[0], number_compare);
  for (uint32_t level = 1; level < top->levels; level++) {
    uint64_t kept = 0;
    for (uint64_t i = 0; i < count; i++) {
      uint32_t parent = dirty[i] / 2;
      if (kept > 0 && dirty[kept - 1] == parent) continue;
      dirty[kept++] = parent;
      hash_up(top, level, parent);
    }
    count = kept;
  }
}

/* Without memory for the sorted list: one way after the other gives the same hashes. */
static void hash_ways(deai_top *top) {
  for (uint64_t i = top->hashed_count; i < top->changed_count; i++) {
    uint32_t at = top->changed[i];
    for (uint32_t level = 1; level < top->levels; level++)
      hash_up(top, level, at /= 2);
  }
}

void deai_top_root(deai_top *top, uint8_t root[DEAI_HASH_BYTES]) {
  uint64_t count = top->changed_count - top->hashed_count;
  if (count > 0) {
    uint32_t *dirty = malloc((size_t)count * sizeof dirty[0]);
    if (dirty != NULL) {
      memcpy(dirty, top->changed + top->hashed_count, (size_t)count * sizeof dirty[0]);
      hash_changed(top, dirty, count);
      free(dirty);
    } else {
      hash_ways(top);
    }
    top->hashed_count = top->changed_count;
  }
  memcpy(root, top->made[top->levels - 1][0].hash, DEAI_HASH_BYTES);
}

static void copy_ways(deai_top *top, node *const *from, node *const *to) {
  for (uint64_t i = 0; i < top->changed_count; i++) {
    uint32_t at = top->changed[i];
    for (uint32_t level = 0; level < top->levels; level++, at /= 2)
      to[level][at] = from[level][at];
  }
  top->changed_count = 0;
  top->hashed_count = 0;
}

void deai_top_commit(deai_top *top) {
  copy_ways(top, top->made, top->shown);
}

void deai_top_discard(deai_top *top) {
  copy_ways(top, top->shown, top->made);
}

void deai_top_path(const deai_top *top, uint32_t leaf, deai_merkle_path *out) {
  out->count = 0;
  for (uint32_t level = 0; level + 1 < top->levels; level++, leaf /= 2) {
    uint32_t sibling = leaf ^ 1u;
    if (sibling < top->counts[level])
      memcpy(out->nodes[out->count++], top->shown[level][sibling].hash, DEAI_HASH_BYTES);
  }
}
