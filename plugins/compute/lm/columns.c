#include "columns.h"

#include "host/base/banned.h"

static lm_cache_head *head_of(lm_cache *cache) {
  return (lm_cache_head *)(void *)cache;
}

bool lm_columns_ok(const lm_backend *owner, uint32_t vocab, const lm_column *columns,
                   uint32_t count) {
  if (count < 1 || count > LM_COLUMNS_MAX) return false;
  for (uint32_t c = 0; c < count; c++) {
    const lm_cache_head *head = head_of(columns[c].cache);
    if (head == NULL || head->owner != owner || columns[c].token >= vocab) return false;
    uint32_t next = head->length;
    for (uint32_t i = 0; i < c; i++)
      next += columns[i].cache == columns[c].cache ? 1 : 0;
    if (columns[c].position != next || next >= head->positions) return false;
  }
  return true;
}

void lm_columns_done(const lm_column *columns, uint32_t count) {
  for (uint32_t c = 0; c < count; c++)
    head_of(columns[c].cache)->length++;
}

void lm_columns_truncate(lm_cache *cache, uint32_t length) {
  lm_cache_head *head = head_of(cache);
  if (length < head->length) head->length = length;
}
