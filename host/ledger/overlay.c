#include "overlay.h"

#include <stdlib.h>
#include <sys/random.h>

#include "host/base/banned.h"

#define CHUNK_BYTES    (256u << 10)
#define SLOTS_AT_START 1024u
#define ENTRY_ALIGN    16u

typedef struct chunk {
  struct chunk *next;
  uint64_t cap;
  uint64_t used;
  _Alignas(16) uint8_t bytes[];
} chunk;

typedef struct undo {
  deai_overlay_entry *entry;
  deai_bytes value;
  uint32_t kind;
} undo;

struct deai_overlay {
  deai_overlay_entry **slots; /* open addressing; capacity is a power of two */
  uint64_t slot_count;
  uint64_t count;
  undo *journal;
  uint64_t journal_len;
  uint64_t journal_cap;
  chunk *chunks;
  uint64_t bytes;
  uint64_t seed; /* of the hash: nobody can choose keys that fall on one slot */
};

deai_overlay *deai_overlay_new(void) {
  deai_overlay *overlay = calloc(1, sizeof *overlay);
  if (overlay == NULL) return NULL;
  overlay->slots = calloc(SLOTS_AT_START, sizeof(overlay->slots[0]));
  if (overlay->slots == NULL) {
    free(overlay);
    return NULL;
  }
  overlay->slot_count = SLOTS_AT_START;
  if (getrandom(&overlay->seed, sizeof overlay->seed, 0) < 0) overlay->seed = (uintptr_t)overlay;
  return overlay;
}

static void chunks_free(deai_overlay *overlay) {
  while (overlay->chunks != NULL) {
    chunk *next = overlay->chunks->next;
    free(overlay->chunks);
    overlay->chunks = next;
  }
  overlay->bytes = 0;
}

void deai_overlay_free(deai_overlay *overlay) {
  if (overlay == NULL) return;
  chunks_free(overlay);
  free(overlay->journal);
  free(overlay->slots);
  free(overlay);
}

static void *take(deai_overlay *overlay, uint64_t len) {
  uint64_t whole = (len + ENTRY_ALIGN - 1) & ~(uint64_t)(ENTRY_ALIGN - 1);
  chunk *top = overlay->chunks;
  if (overlay->bytes + whole > DEAI_OVERLAY_BYTES_MAX) return NULL;
  if (top == NULL || top->cap - top->used < whole) {
    uint64_t cap = whole > CHUNK_BYTES ? whole : CHUNK_BYTES;
    chunk *made = malloc(sizeof *made + (size_t)cap);
    if (made == NULL) return NULL;
    made->next = top;
    made->cap = cap;
    made->used = 0;
    overlay->chunks = top = made;
  }
  void *out = top->bytes + top->used;
  top->used += whole;
  overlay->bytes += whole;
  return out;
}

static uint64_t hash_of(uint64_t seed, uint32_t table, deai_bytes key) {
  uint64_t hash = seed ^ table; /* FNV-1a */
  for (uint64_t i = 0; i < key.len; i++)
    hash = (hash ^ key.ptr[i]) * UINT64_C(0x100000001b3);
  return hash ^ hash >> 29;
}

/* The slot of key, or the empty one where it belongs. */
static uint64_t slot_of(deai_overlay_entry *const *slots, uint64_t slot_count, uint64_t seed,
                        uint32_t table, deai_bytes key) {
  uint64_t at = hash_of(seed, table, key) & (slot_count - 1);
  while (slots[at] != NULL && !(slots[at]->table == table && deai_bytes_eq(slots[at]->key, key)))
    at = (at + 1) & (slot_count - 1);
  return at;
}

const deai_overlay_entry *deai_overlay_find(const deai_overlay *overlay, uint32_t table,
                                            deai_bytes key) {
  return overlay->slots[slot_of(overlay->slots, overlay->slot_count, overlay->seed, table, key)];
}

static int32_t slots_grow(deai_overlay *overlay) {
  if (overlay->count * 4 < overlay->slot_count * 3) return DEAI_OK;
  uint64_t wider = overlay->slot_count * 2;
  deai_overlay_entry **slots = calloc((size_t)wider, sizeof slots[0]);
  if (slots == NULL) return DEAI_ENOMEM;
  for (uint64_t i = 0; i < overlay->slot_count; i++) {
    deai_overlay_entry *entry = overlay->slots[i];
    if (entry != NULL)
      slots[slot_of(slots, wider, overlay->seed, entry->table, entry->key)] = entry;
  }
  free(overlay->slots);
  overlay->slots = slots;
  overlay->slot_count = wider;
  return DEAI_OK;
}

static int32_t journal_add(deai_overlay *overlay, deai_overlay_entry *entry) {
  if (overlay->journal_len == overlay->journal_cap) {
    uint64_t cap = overlay->journal_cap == 0 ? 256 : overlay->journal_cap * 2;
    undo *journal = realloc(overlay->journal, (size_t)cap * sizeof journal[0]);
    if (journal == NULL) return DEAI_ENOMEM;
    overlay->journal = journal;
    overlay->journal_cap = cap;
  }
  overlay->journal[overlay->journal_len++] = (undo){entry, entry->value, entry->kind};
  return DEAI_OK;
}

static int32_t copy_bytes(deai_overlay *overlay, deai_bytes bytes, deai_bytes *out) {
  uint8_t *room = take(overlay, bytes.len);
  if (room == NULL) return DEAI_EFULL;
  if (bytes.len > 0) memcpy(room, bytes.ptr, (size_t)bytes.len);
  *out = deai_bytes_of(room, bytes.len);
  return DEAI_OK;
}

static int32_t entry_of(deai_overlay *overlay, uint32_t table, uint32_t bucket, deai_bytes key,
                        deai_overlay_entry **out) {
  int32_t status = slots_grow(overlay);
  if (status != DEAI_OK) return status;
  uint64_t at = slot_of(overlay->slots, overlay->slot_count, overlay->seed, table, key);
  if (overlay->slots[at] == NULL) {
    deai_overlay_entry *made = take(overlay, sizeof *made);
    if (made == NULL) return DEAI_EFULL;
    memset(made, 0, sizeof *made);
    status = copy_bytes(overlay, key, &made->key);
    if (status != DEAI_OK) return status;
    made->table = table;
    made->bucket = bucket;
    overlay->slots[at] = made;
    overlay->count++;
  }
  *out = overlay->slots[at];
  return DEAI_OK;
}

int32_t deai_overlay_set(deai_overlay *overlay, uint32_t table, uint32_t bucket, deai_bytes key,
                         uint32_t kind, deai_bytes value) {
  deai_overlay_entry *entry = NULL;
  deai_bytes copy = {NULL, 0};
  int32_t status = kind == DEAI_OVERLAY_SET ? copy_bytes(overlay, value, &copy) : DEAI_OK;
  if (status == DEAI_OK) status = entry_of(overlay, table, bucket, key, &entry);
  if (status == DEAI_OK) status = journal_add(overlay, entry);
  if (status != DEAI_OK) return status;
  entry->kind = kind;
  entry->value = copy;
  return DEAI_OK;
}

uint64_t deai_overlay_mark(const deai_overlay *overlay) {
  return overlay->journal_len;
}

void deai_overlay_rollback(deai_overlay *overlay, uint64_t mark) {
  while (overlay->journal_len > mark) {
    const undo *last = &overlay->journal[--overlay->journal_len];
    last->entry->value = last->value;
    last->entry->kind = last->kind;
  }
}

void deai_overlay_clear(deai_overlay *overlay) {
  chunks_free(overlay);
  memset(overlay->slots, 0, (size_t)overlay->slot_count * sizeof(overlay->slots[0]));
  overlay->count = 0;
  overlay->journal_len = 0;
}

uint64_t deai_overlay_count(const deai_overlay *overlay) {
  return overlay->count;
}

static int key_compare(deai_bytes a, deai_bytes b) {
  uint64_t least = a.len < b.len ? a.len : b.len;
  int order = least == 0 ? 0 : memcmp(a.ptr, b.ptr, (size_t)least);
  if (order != 0) return order;
  return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

static int entry_compare(const void *a, const void *b) {
  const deai_overlay_entry *left = *(const deai_overlay_entry *const *)a;
  const deai_overlay_entry *right = *(const deai_overlay_entry *const *)b;
  if (left->table != right->table) return left->table < right->table ? -1 : 1;
  if (left->bucket != right->bucket) return left->bucket < right->bucket ? -1 : 1;
  return key_compare(left->key, right->key);
}

int32_t deai_overlay_sorted(const deai_overlay *overlay, uint32_t table,
                            const deai_overlay_entry ***list_out, uint64_t *count_out) {
  uint64_t count = 0;
  const deai_overlay_entry **list = malloc(((size_t)overlay->count + 1) * sizeof list[0]);
  if (list == NULL) return DEAI_ENOMEM;
  for (uint64_t i = 0; overlay->count > 0 && i < overlay->slot_count; i++) {
    const deai_overlay_entry *entry = overlay->slots[i];
    if (entry == NULL || entry->kind == DEAI_OVERLAY_NONE) continue;
    if (table == DEAI_OVERLAY_ALL || entry->table == table) list[count++] = entry;
  }
  qsort(list, (size_t)count, sizeof list[0], entry_compare);
  *list_out = list;
  *count_out = count;
  return DEAI_OK;
}
