#include "tokenizer.h"

#include "split.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define NONE        UINT32_MAX
#define LENGTHS_MAX 64 /* distinct lengths of control and user tokens */
#define SYMBOLS_MAX (8u << 20)

typedef struct names { /* bytes -> symbol, over tokenizer.symbols */
  uint32_t *slots;
  uint32_t mask;
} names;

typedef struct pair_slot {
  uint32_t left; /* NONE = free */
  uint32_t right;
  uint32_t rank;
  uint32_t result;
} pair_slot;

struct lm_tokenizer {
  deai_bytes *symbols; /* tokens by id, then symbols that are no token */
  uint32_t symbol_count;
  uint32_t symbol_cap;
  uint32_t token_count;
  int32_t *types;
  uint8_t *arena; /* all bytes of symbols */
  size_t arena_used;
  names ordinary; /* what merges see */
  names control;  /* control and user tokens by their text */
  pair_slot *pairs;
  uint32_t pair_mask;
  uint32_t lengths[LENGTHS_MAX]; /* of control tokens, longest first */
  uint32_t length_count;
  bool control_first[256]; /* bytes that begin a control token */
  uint32_t bytes[256];     /* symbol of each byte */
  bool single_numbers;
};

int32_t lm_ids_push(lm_ids *ids, uint32_t id) {
  if (ids->len == ids->cap) {
    size_t cap = ids->cap == 0 ? 64 : ids->cap * 2;
    uint32_t *grown = realloc(ids->ptr, cap * sizeof *grown);
    if (grown == NULL) return DEAI_ENOMEM;
    ids->ptr = grown;
    ids->cap = cap;
  }
  ids->ptr[ids->len++] = id;
  return DEAI_OK;
}

void lm_ids_free(lm_ids *ids) {
  free(ids->ptr);
  *ids = (lm_ids){0};
}

/* The 256 printable characters of GPT-2 (encoder.py, bytes_to_unicode): printable Latin-1 bytes are
   themselves, the others follow from U+0100 on in order. */
static bool is_printable(uint32_t byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

static void fill_unprintable(uint8_t map[68]) {
  uint32_t used = 0;
  for (uint32_t byte = 0; byte < 256; byte++)
    if (!is_printable(byte)) map[used++] = (uint8_t)byte;
}

static uint64_t hash_bytes(const uint8_t *text, size_t len) {
  uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
  for (size_t i = 0; i < len; i++)
    hash = (hash ^ text[i]) * UINT64_C(1099511628211);
  return hash ^ (hash >> 32);
}

static uint32_t table_mask(uint32_t count) {
  uint32_t size = 16;
  while (size < 2 * count)
    size *= 2;
  return size - 1;
}

static bool names_open(names *table, uint32_t count) {
  table->mask = table_mask(count);
  table->slots = malloc(((size_t)table->mask + 1) * sizeof *table->slots);
  if (table->slots == NULL) return false;
  memset(table->slots, 0xff, ((size_t)table->mask + 1) * sizeof *table->slots);
  return true;
}

/* find_slot returns the slot of these bytes, or the free one where they belong. */
static uint32_t *find_slot(const lm_tokenizer *t, const names *table, const uint8_t *text,
                           size_t len) {
  uint64_t at = hash_bytes(text, len) & table->mask;
  deai_bytes wanted = deai_bytes_of(text, len);
  while (table->slots[at] != NONE && !deai_bytes_eq(t->symbols[table->slots[at]], wanted))
    at = (at + 1) & table->mask;
  return &table->slots[at];
}

/* unmap writes the bytes a printable text stands for behind the arena; false when a character is
   not one of the 256. */
static bool unmap(lm_tokenizer *t, deai_str text, size_t *len_out) {
  uint8_t unprintable[68];
  fill_unprintable(unprintable);
  size_t len = 0;
  for (size_t at = 0; at < text.len;) {
    uint32_t point = 0;
    size_t used = lm_utf8_length((const uint8_t *)text.ptr + at, (size_t)text.len - at, &point);
    if (used == 0) return false;
    if (point >= 256 && point < 256 + 68)
      t->arena[t->arena_used + len++] = unprintable[point - 256];
    else if (point < 256 && is_printable(point))
      t->arena[t->arena_used + len++] = (uint8_t)point;
    else
      return false;
    at += used;
  }
  *len_out = len;
  return true;
}

/* intern returns the symbol of the len bytes behind the arena, making one when there is none. */
static uint32_t intern(lm_tokenizer *t, size_t len) {
  const uint8_t *text = t->arena + t->arena_used;
  uint32_t *slot = find_slot(t, &t->ordinary, text, len);
  if (*slot == NONE) {
    *slot = t->symbol_count;
    t->symbols[t->symbol_count++] = deai_bytes_of(text, len);
    t->arena_used += len;
  }
  return *slot;
}

static void add_control(lm_tokenizer *t, uint32_t id, deai_str text) {
  memcpy(t->arena + t->arena_used, text.ptr, (size_t)text.len);
  const uint8_t *at = t->arena + t->arena_used;
  t->symbols[id] = deai_bytes_of(at, text.len);
  t->arena_used += (size_t)text.len;
  uint32_t *slot = find_slot(t, &t->control, at, (size_t)text.len);
  if (*slot != NONE || text.len == 0) return;
  *slot = id;
  t->control_first[at[0]] = true;
}

static void add_token(lm_tokenizer *t, uint32_t id, deai_str text) {
  size_t len = 0;
  if (t->types[id] == LM_TOKEN_CONTROL || t->types[id] == LM_TOKEN_USER) {
    add_control(t, id, text);
    return;
  }
  if (t->types[id] != LM_TOKEN_NORMAL || !unmap(t, text, &len) || len == 0) return;
  const uint8_t *at = t->arena + t->arena_used;
  t->symbols[id] = deai_bytes_of(at, len);
  t->arena_used += len;
  uint32_t *slot = find_slot(t, &t->ordinary, at, len);
  if (*slot == NONE) *slot = id;
}

static int32_t add_lengths(lm_tokenizer *t, lm_error *error) {
  for (uint32_t id = 0; id < t->token_count; id++) {
    if (t->types[id] != LM_TOKEN_CONTROL && t->types[id] != LM_TOKEN_USER) continue;
    uint32_t len = (uint32_t)t->symbols[id].len;
    uint32_t i = 0;
    while (i < t->length_count && t->lengths[i] > len)
      i++;
    if (len == 0 || (i < t->length_count && t->lengths[i] == len)) continue;
    if (t->length_count == LENGTHS_MAX)
      return lm_fail(error, DEAI_EUNSUPPORTED,
                     "tokenizer: control tokens of at most %d lengths expected, found more",
                     LENGTHS_MAX);
    memmove(t->lengths + i + 1, t->lengths + i, (t->length_count - i) * sizeof t->lengths[0]);
    t->lengths[i] = len;
    t->length_count++;
  }
  return DEAI_OK;
}

static uint64_t pair_hash(uint32_t left, uint32_t right) {
  uint64_t hash = (((uint64_t)left << 32) | right) * UINT64_C(0x9E3779B97F4A7C15);
  return hash >> 20;
}

static pair_slot *find_pair(const lm_tokenizer *t, uint32_t left, uint32_t right) {
  uint64_t at = pair_hash(left, right) & t->pair_mask;
  while (t->pairs[at].left != NONE && (t->pairs[at].left != left || t->pairs[at].right != right))
    at = (at + 1) & t->pair_mask;
  return &t->pairs[at];
}

static int32_t add_merge(lm_tokenizer *t, deai_str merge, uint32_t rank, lm_error *error) {
  const char *space = merge.len < 3 ? NULL : memchr(merge.ptr + 1, ' ', (size_t)merge.len - 2);
  size_t left_len = 0;
  size_t right_len = 0;
  if (space == NULL)
    return lm_fail(error, DEAI_EINVAL,
                   "tokenizer: two halves expected in merge %u, found '%.*s'; fetch the file again",
                   rank, merge.len > 64 ? 64 : (int)merge.len, merge.ptr);
  deai_str left = {.ptr = merge.ptr, .len = (uint64_t)(space - merge.ptr)};
  deai_str right = {.ptr = space + 1, .len = merge.len - left.len - 1};
  if (!unmap(t, left, &left_len))
    return lm_fail(error, DEAI_EINVAL, "tokenizer: merge %u has a character outside the 256", rank);
  uint32_t left_id = intern(t, left_len);
  if (!unmap(t, right, &right_len))
    return lm_fail(error, DEAI_EINVAL, "tokenizer: merge %u has a character outside the 256", rank);
  uint32_t right_id = intern(t, right_len);
  memmove(t->arena + t->arena_used, t->symbols[left_id].ptr, left_len);
  memmove(t->arena + t->arena_used + left_len, t->symbols[right_id].ptr, right_len);
  uint32_t result = intern(t, left_len + right_len);
  pair_slot *slot = find_pair(t, left_id, right_id);
  if (slot->left == NONE)
    *slot = (pair_slot){.left = left_id, .right = right_id, .rank = rank, .result = result};
  return DEAI_OK;
}

static size_t arena_bytes(const lm_tokenizer_source *source) {
  size_t bytes = 256;
  for (uint32_t i = 0; i < source->token_count; i++)
    bytes += (size_t)source->tokens[i].len;
  for (uint32_t i = 0; i < source->merge_count; i++)
    bytes += 2 * (size_t)source->merges[i].len;
  return bytes + 256;
}

static bool allocate(lm_tokenizer *t, const lm_tokenizer_source *source) {
  t->token_count = source->token_count;
  t->symbol_count = source->token_count;
  t->symbol_cap = source->token_count + 256 + 3 * source->merge_count;
  t->symbols = calloc(t->symbol_cap, sizeof *t->symbols);
  t->types = calloc((size_t)t->token_count + 1, sizeof *t->types);
  t->arena = malloc(arena_bytes(source));
  t->pair_mask = table_mask(source->merge_count);
  t->pairs = malloc(((size_t)t->pair_mask + 1) * sizeof *t->pairs);
  bool ok = t->symbols != NULL && t->types != NULL && t->arena != NULL && t->pairs != NULL &&
            names_open(&t->ordinary, t->symbol_cap) && names_open(&t->control, t->token_count);
  if (ok) memset(t->pairs, 0xff, ((size_t)t->pair_mask + 1) * sizeof *t->pairs);
  return ok;
}

static int32_t fill(lm_tokenizer *t, const lm_tokenizer_source *source, lm_error *error) {
  if (!allocate(t, source)) return lm_fail(error, DEAI_ENOMEM, "tokenizer: no memory");
  for (uint32_t id = 0; id < t->token_count; id++) {
    t->types[id] = source->types == NULL ? LM_TOKEN_NORMAL : source->types[id];
    add_token(t, id, source->tokens[id]);
  }
  for (uint32_t byte = 0; byte < 256; byte++) {
    t->arena[t->arena_used] = (uint8_t)byte;
    t->bytes[byte] = intern(t, 1);
  }
  for (uint32_t rank = 0; rank < source->merge_count; rank++) {
    int32_t status = add_merge(t, source->merges[rank], rank, error);
    if (status != DEAI_OK) return status;
  }
  return add_lengths(t, error);
}

static int32_t check_source(const lm_tokenizer_source *source, bool *single, lm_error *error) {
  if (!deai_str_eq(source->model, deai_str_of("gpt2")))
    return lm_fail(error, DEAI_EUNSUPPORTED,
                   "tokenizer: model gpt2 expected, found '%.*s'; take another model",
                   source->model.len > 64 ? 64 : (int)source->model.len, source->model.ptr);
  *single = deai_str_eq(source->pre, deai_str_of("smollm"));
  if (!*single && !deai_str_eq(source->pre, deai_str_of("gpt-2")))
    return lm_fail(error, DEAI_EUNSUPPORTED,
                   "tokenizer: pre smollm or gpt-2 expected, found '%.*s'; take another model",
                   source->pre.len > 64 ? 64 : (int)source->pre.len, source->pre.ptr);
  if (source->token_count > SYMBOLS_MAX || source->merge_count > SYMBOLS_MAX)
    return lm_fail(error, DEAI_ETOOLARGE, "tokenizer: at most %u tokens and merges expected",
                   SYMBOLS_MAX);
  return DEAI_OK;
}

int32_t lm_tokenizer_open(const lm_tokenizer_source *source, lm_tokenizer **tokenizer_out,
                          lm_error *error) {
  *tokenizer_out = NULL;
  bool single = false;
  int32_t status = check_source(source, &single, error);
  if (status != DEAI_OK) return status;
  lm_tokenizer *t = calloc(1, sizeof *t);
  if (t == NULL) return lm_fail(error, DEAI_ENOMEM, "tokenizer: no memory");
  t->single_numbers = single;
  status = fill(t, source, error);
  if (status != DEAI_OK) {
    lm_tokenizer_close(t);
    return status;
  }
  *tokenizer_out = t;
  return DEAI_OK;
}

void lm_tokenizer_close(lm_tokenizer *tokenizer) {
  if (tokenizer == NULL) return;
  free(tokenizer->symbols);
  free(tokenizer->types);
  free(tokenizer->arena);
  free(tokenizer->pairs);
  free(tokenizer->ordinary.slots);
  free(tokenizer->control.slots);
  free(tokenizer);
}

uint32_t lm_tokenizer_count(const lm_tokenizer *tokenizer) {
  return tokenizer->token_count;
}

deai_bytes lm_tokenizer_bytes(const lm_tokenizer *tokenizer, uint32_t id) {
  if (id >= tokenizer->token_count || tokenizer->types[id] == LM_TOKEN_CONTROL)
    return deai_bytes_of(NULL, 0);
  return tokenizer->symbols[id];
}

int32_t lm_tokenizer_type(const lm_tokenizer *tokenizer, uint32_t id) {
  return id < tokenizer->token_count ? tokenizer->types[id] : 0;
}

int64_t lm_tokenizer_find(const lm_tokenizer *tokenizer, deai_str text) {
  if (text.len == 0) return -1;
  uint32_t id =
      *find_slot(tokenizer, &tokenizer->control, (const uint8_t *)text.ptr, (size_t)text.len);
  return id == NONE ? -1 : (int64_t)id;
}

/* ---- merging one word ---- */

typedef struct node { /* a symbol of the word, in a doubly linked list */
  uint32_t symbol;    /* NONE = merged away */
  uint32_t previous;
  uint32_t next;
} node;

typedef struct bigram {
  uint32_t rank;
  uint32_t left; /* index of the left node */
  uint32_t left_symbol;
  uint32_t right_symbol;
} bigram;

typedef struct merger {
  const lm_tokenizer *t;
  lm_ids *ids;
  node *nodes; /* room for the longest word */
  bigram *heap;
  size_t heap_len;
  size_t cap;
} merger;

static bool before(bigram a, bigram b) {
  return a.rank < b.rank || (a.rank == b.rank && a.left < b.left);
}

static void heap_push(merger *m, bigram item) {
  size_t at = m->heap_len++;
  while (at > 0 && before(item, m->heap[(at - 1) / 2])) {
    m->heap[at] = m->heap[(at - 1) / 2];
    at = (at - 1) / 2;
  }
  m->heap[at] = item;
}

static bigram heap_pop(merger *m) {
  bigram top = m->heap[0];
  bigram last = m->heap[--m->heap_len];
  size_t at = 0;
  for (;;) {
    size_t child = 2 * at + 1;
    if (child >= m->heap_len) break;
    if (child + 1 < m->heap_len && before(m->heap[child + 1], m->heap[child])) child++;
    if (!before(m->heap[child], last)) break;
    m->heap[at] = m->heap[child];
    at = child;
  }
  m->heap[at] = last;
  return top;
}

static void consider(merger *m, uint32_t left) {
  if (left == NONE || m->nodes[left].next == NONE) return;
  uint32_t a = m->nodes[left].symbol;
  uint32_t b = m->nodes[m->nodes[left].next].symbol;
  const pair_slot *pair = find_pair(m->t, a, b);
  if (pair->left == NONE) return;
  heap_push(m, (bigram){.rank = pair->rank, .left = left, .left_symbol = a, .right_symbol = b});
}

static void merge_pair(merger *m, bigram item) {
  node *left = &m->nodes[item.left];
  if (left->symbol != item.left_symbol || left->next == NONE) return;
  node *right = &m->nodes[left->next];
  if (right->symbol != item.right_symbol) return;
  left->symbol = find_pair(m->t, item.left_symbol, item.right_symbol)->result;
  right->symbol = NONE;
  left->next = right->next;
  if (left->next != NONE) m->nodes[left->next].previous = item.left;
  consider(m, left->previous);
  consider(m, item.left);
}

static int32_t emit(merger *m, uint32_t symbol) {
  const lm_tokenizer *t = m->t;
  if (symbol < t->token_count) return lm_ids_push(m->ids, symbol);
  deai_bytes text = t->symbols[symbol]; /* no token: byte by byte, dropping what has none */
  for (uint64_t i = 0; i < text.len; i++) {
    uint32_t id = t->bytes[text.ptr[i]];
    int32_t status = id < t->token_count ? lm_ids_push(m->ids, id) : DEAI_OK;
    if (status != DEAI_OK) return status;
  }
  return DEAI_OK;
}

static int32_t merge_reserve(merger *m, size_t len) {
  if (len <= m->cap) return DEAI_OK;
  size_t cap = len < 256 ? 256 : len;
  free(m->nodes);
  free(m->heap);
  m->nodes = malloc(cap * sizeof *m->nodes);
  m->heap = malloc(3 * cap * sizeof *m->heap); /* len - 1 at first, two more for each merge */
  m->cap = m->nodes != NULL && m->heap != NULL ? cap : 0;
  return m->cap != 0 ? DEAI_OK : DEAI_ENOMEM;
}

static int32_t merge_word(merger *m, const uint8_t *text, size_t len) {
  int32_t status = merge_reserve(m, len);
  if (status != DEAI_OK) return status;
  for (uint32_t i = 0; i < len; i++)
    m->nodes[i] = (node){.symbol = m->t->bytes[text[i]],
                         .previous = i == 0 ? NONE : i - 1,
                         .next = i + 1 == len ? NONE : i + 1};
  m->heap_len = 0;
  for (uint32_t i = 0; i + 1 < len; i++)
    consider(m, i);
  while (m->heap_len > 0)
    merge_pair(m, heap_pop(m));
  for (uint32_t i = 0; status == DEAI_OK && i != NONE; i = m->nodes[i].next)
    status = emit(m, m->nodes[i].symbol);
  return status;
}

/* ---- texts ---- */

static int32_t encode_ordinary(merger *m, const uint8_t *text, size_t len) {
  lm_split split = {.text = text, .len = len, .single_numbers = m->t->single_numbers};
  size_t start;
  size_t end;
  while (lm_split_next(&split, &start, &end)) {
    int32_t status = merge_word(m, text + start, end - start);
    if (status != DEAI_OK) return status;
  }
  return DEAI_OK;
}

/* control_at returns the longest control token at text, or NONE. */
static uint32_t control_at(const lm_tokenizer *t, const uint8_t *text, size_t len) {
  if (!t->control_first[text[0]]) return NONE;
  for (uint32_t i = 0; i < t->length_count; i++) {
    if (t->lengths[i] > len) continue;
    uint32_t id = *find_slot(t, &t->control, text, t->lengths[i]);
    if (id != NONE) return id;
  }
  return NONE;
}

/* encode_special cuts the control tokens out of text[from, to); *plain is where the ordinary text
   before it began and moves behind the last control token. */
static int32_t encode_special(merger *m, const uint8_t *text, size_t from, size_t to,
                              size_t *plain) {
  for (size_t at = from; at < to;) {
    uint32_t id = control_at(m->t, text + at, to - at);
    if (id == NONE) {
      at++;
      continue;
    }
    int32_t status = encode_ordinary(m, text + *plain, at - *plain);
    if (status == DEAI_OK) status = lm_ids_push(m->ids, id);
    if (status != DEAI_OK) return status;
    at += (size_t)m->t->symbols[id].len;
    *plain = at;
  }
  return DEAI_OK;
}

static int32_t encode_joined(merger *m, const lm_part *parts, size_t part_count,
                             const uint8_t *text, size_t len) {
  size_t plain = 0;
  size_t at = 0;
  for (size_t i = 0; i < part_count; i++) {
    size_t end = at + (size_t)parts[i].text.len;
    int32_t status = parts[i].special ? encode_special(m, text, at, end, &plain) : DEAI_OK;
    if (status != DEAI_OK) return status;
    at = end;
  }
  return encode_ordinary(m, text + plain, len - plain);
}

int32_t lm_tokenizer_encode(const lm_tokenizer *tokenizer, const lm_part *parts, size_t part_count,
                            lm_ids *ids) {
  size_t len = 0;
  for (size_t i = 0; i < part_count; i++) {
    if (parts[i].text.len > LM_TOKENIZER_TEXT_MAX - len) return DEAI_ETOOLARGE;
    len += (size_t)parts[i].text.len;
  }
  uint8_t *text = malloc(len + 1);
  if (text == NULL) return DEAI_ENOMEM;
  size_t used = 0;
  for (size_t i = 0; i < part_count; i++) {
    if (parts[i].text.len > 0) memcpy(text + used, parts[i].text.ptr, (size_t)parts[i].text.len);
    used += (size_t)parts[i].text.len;
  }
  merger m = {.t = tokenizer, .ids = ids};
  size_t before_len = ids->len;
  int32_t status = encode_joined(&m, parts, part_count, text, len);
  if (status != DEAI_OK) ids->len = before_len;
  free(m.nodes);
  free(m.heap);
  free(text);
  return status;
}
