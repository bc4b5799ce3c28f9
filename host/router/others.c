#include "others.h"

#include <stdarg.h>
#include <stdio.h>

#include "host/base/banned.h"

static uint32_t find(const deai_others_list *list, const uint8_t key[DEAI_KEY_BYTES]) {
  uint32_t at = 0;
  while (at < list->count && memcmp(list->rows[at].key, key, DEAI_KEY_BYTES) != 0)
    at++;
  return at;
}

/* cut shortens text to whole characters when its end is not one; what is no UTF-8 goes. */
static void cut(char *text) {
  size_t len = strlen(text);
  while (len > 0 && deai_utf8_check((deai_str){text, len}) == 0)
    len--;
  text[len] = 0;
}

/* tame replaces control characters (U+0000 to 1F, 7F to 9F): the reason may be a member's own
   words, and it is shown on terminals. */
static void tame(char *text) {
  for (uint8_t *at = (uint8_t *)text; *at != 0; at++) {
    bool high = at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0;
    if (high) at[1] = '?';
    if (high || *at < 0x20 || *at == 0x7f) *at = '?';
  }
}

void deai_others_add(deai_others_list *list, const uint8_t key[DEAI_KEY_BYTES], int32_t status,
                     const char *format, ...) {
  uint32_t at = find(list, key);
  if (at == DEAI_OTHERS_MAX) return;
  deai_others_row *row = &list->rows[at];
  size_t len = 0;
  if (at < list->count) {
    len = strlen(row->why);
    (void)snprintf(row->why + len, sizeof row->why - len, "; ");
    len = strlen(row->why);
  } else {
    list->count++;
    memcpy(row->key, key, DEAI_KEY_BYTES);
  }
  va_list values;
  va_start(values, format);
  (void)vsnprintf(row->why + len, sizeof row->why - len, format, values);
  va_end(values);
  row->status = status;
  cut(row->why);
  tame(row->why);
}

bool deai_others_has(const deai_others_list *list, const uint8_t key[DEAI_KEY_BYTES]) {
  return find(list, key) < list->count;
}

void deai_others_drop(deai_others_list *list, const uint8_t key[DEAI_KEY_BYTES]) {
  uint32_t at = find(list, key);
  if (at == list->count) return;
  list->count--;
  memmove(&list->rows[at], &list->rows[at + 1], (list->count - at) * sizeof list->rows[0]);
}

int32_t deai_others_encode(const deai_others_list *list, deai_buf out, uint64_t *len_out) {
  deai_other rows[DEAI_OTHERS_MAX];
  deai_others all = {.n = {rows, list->count}};
  for (uint32_t i = 0; i < list->count; i++) {
    rows[i] = (deai_other){.st = list->rows[i].status, .why = deai_str_of(list->rows[i].why)};
    memcpy(rows[i].k, list->rows[i].key, DEAI_KEY_BYTES);
  }
  deai_cbor_writer writer = deai_cbor_writer_of(out);
  int32_t status = deai_encode(&deai_others_table, &all, &writer, NULL, 0);
  *len_out = writer.len;
  return status;
}
