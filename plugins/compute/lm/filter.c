#include "filter.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

static const uint8_t replacement[3] = {0xEF, 0xBF, 0xBD}; /* U+FFFD */

void lm_filter_open(lm_filter *filter, const deai_bytes *stops, uint32_t stop_count) {
  *filter = (lm_filter){.stops = stops, .stop_count = stop_count};
}

void lm_filter_close(lm_filter *filter) {
  free(filter->held);
  *filter = (lm_filter){0};
}

/* The length of the character a first byte opens, 0 when none (Unicode table 3-7). */
static uint32_t char_length(uint8_t first) {
  if (first < 0x80) return 1;
  if (first < 0xC2) return 0;
  if (first < 0xE0) return 2;
  if (first < 0xF0) return 3;
  return first < 0xF5 ? 4 : 0;
}

/* Whether byte may stand at index 1..3 of the character that first opens (Unicode table 3-7). */
static bool continues(uint8_t first, uint32_t index, uint8_t byte) {
  uint8_t low = 0x80;
  uint8_t high = 0xBF;
  if (index == 1 && first == 0xE0) low = 0xA0;
  if (index == 1 && first == 0xED) high = 0x9F;
  if (index == 1 && first == 0xF0) low = 0x90;
  if (index == 1 && first == 0xF4) high = 0x8F;
  return byte >= low && byte <= high;
}

static void hold(lm_filter *filter, const uint8_t *bytes, size_t len) {
  memcpy(filter->held + filter->held_len, bytes, len);
  filter->held_len += len;
}

static void give_up_pending(lm_filter *filter) {
  if (filter->pending_len > 0) hold(filter, replacement, sizeof replacement);
  filter->pending_len = 0;
}

static void gate(lm_filter *filter, uint8_t byte) {
  if (filter->pending_len > 0 && !continues(filter->pending[0], filter->pending_len, byte))
    give_up_pending(filter);
  if (filter->pending_len == 0 && char_length(byte) == 0) {
    hold(filter, replacement, sizeof replacement);
    return;
  }
  filter->pending[filter->pending_len++] = byte;
  if (filter->pending_len < char_length(filter->pending[0])) return;
  hold(filter, filter->pending, filter->pending_len);
  filter->pending_len = 0;
}

/* reserve makes room for what len more bytes can become and drops what already went out. */
static int32_t reserve(lm_filter *filter, size_t len) {
  filter->held_len -= filter->out_len;
  if (filter->held_len > 0) memmove(filter->held, filter->held + filter->out_len, filter->held_len);
  filter->out_len = 0;
  size_t wanted = filter->held_len + 3 * len + 8;
  if (wanted <= filter->held_cap) return DEAI_OK;
  uint8_t *grown = realloc(filter->held, 2 * wanted);
  if (grown == NULL) return DEAI_ENOMEM;
  filter->held = grown;
  filter->held_cap = 2 * wanted;
  return DEAI_OK;
}

/* first_stop returns where the first stop string begins, or held_len. */
static size_t first_stop(const lm_filter *filter) {
  size_t first = filter->held_len;
  for (uint32_t i = 0; i < filter->stop_count; i++) {
    deai_bytes stop = filter->stops[i];
    const uint8_t *found = memmem(filter->held, filter->held_len, stop.ptr, (size_t)stop.len);
    if (found != NULL && (size_t)(found - filter->held) < first)
      first = (size_t)(found - filter->held);
  }
  return first;
}

/* held_back returns the length of the longest end of the text that begins a stop string. */
static size_t held_back(const lm_filter *filter) {
  size_t most = 0;
  for (uint32_t i = 0; i < filter->stop_count; i++) {
    deai_bytes stop = filter->stops[i];
    size_t len = (size_t)stop.len - 1;
    if (len > filter->held_len) len = filter->held_len;
    while (len > most && memcmp(filter->held + filter->held_len - len, stop.ptr, len) != 0)
      len--;
    if (len > most) most = len;
  }
  return most;
}

/* char_start moves at back to the first byte of its character, so that text goes out whole. */
static size_t char_start(const lm_filter *filter, size_t at) {
  while (at > 0 && at < filter->held_len && (filter->held[at] & 0xC0) == 0x80)
    at--;
  return at;
}

int32_t lm_filter_feed(lm_filter *filter, deai_bytes bytes, deai_bytes *out) {
  *out = deai_bytes_of(NULL, 0);
  if (filter->stopped) return DEAI_OK;
  int32_t status = reserve(filter, (size_t)bytes.len);
  if (status != DEAI_OK) return status;
  for (uint64_t i = 0; i < bytes.len; i++)
    gate(filter, bytes.ptr[i]);
  size_t stop = first_stop(filter);
  filter->stopped = stop < filter->held_len;
  if (!filter->stopped) stop = filter->held_len - held_back(filter);
  filter->out_len = char_start(filter, stop);
  *out = deai_bytes_of(filter->held, filter->out_len);
  return DEAI_OK;
}

int32_t lm_filter_flush(lm_filter *filter, deai_bytes *out) {
  *out = deai_bytes_of(NULL, 0);
  if (filter->stopped) return DEAI_OK;
  int32_t status = reserve(filter, 0);
  if (status != DEAI_OK) return status;
  give_up_pending(filter);
  filter->out_len = filter->held_len;
  *out = deai_bytes_of(filter->held, filter->out_len);
  return DEAI_OK;
}
