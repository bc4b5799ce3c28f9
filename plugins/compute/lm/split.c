#include "split.h"

#include <string.h>
#include <utf8proc.h>

#include "host/base/banned.h"

typedef enum char_class { OTHER, LETTER, NUMBER, SPACE } char_class;

size_t lm_utf8_length(const uint8_t *text, size_t len, uint32_t *point_out) {
  utf8proc_int32_t point = 0;
  utf8proc_ssize_t used = utf8proc_iterate(text, (utf8proc_ssize_t)(len > 4 ? 4 : len), &point);
  if (used <= 0 || point < 0) return 0;
  *point_out = (uint32_t)point;
  return (size_t)used;
}

/* White_Space of the Unicode file PropList.txt. */
static bool is_space(uint32_t c) {
  if (c < 0x80) return (c >= 9 && c <= 13) || c == 32;
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

static char_class class_at(const lm_split *split, size_t at, size_t *len_out) {
  uint32_t point;
  size_t used = lm_utf8_length(split->text + at, split->len - at, &point);
  *len_out = used == 0 ? 1 : used;
  if (used == 0) return OTHER;
  if (is_space(point)) return SPACE;
  utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)point);
  if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) return LETTER;
  if (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) return NUMBER;
  return OTHER;
}

static size_t contraction(const lm_split *split) {
  static const char *const endings[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
  size_t left = split->fragment_end - split->at;
  for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
    size_t len = strlen(endings[i]);
    if (len <= left && memcmp(split->text + split->at, endings[i], len) == 0) return len;
  }
  return 0;
}

/* run returns the end of the characters of class wanted from at on; *last_out = start of the
   last. */
static size_t run(const lm_split *split, size_t at, char_class wanted, size_t *last_out) {
  size_t len;
  *last_out = at;
  while (at < split->fragment_end && class_at(split, at, &len) == wanted) {
    *last_out = at;
    at += len;
  }
  return at;
}

static size_t word_end(const lm_split *split) {
  size_t len;
  size_t last;
  size_t at = split->at;
  if (split->text[at] == '\'' && contraction(split) > 0) return at + contraction(split);
  if (split->text[at] == ' ' && at + 1 < split->fragment_end) at++;
  char_class class = class_at(split, at, &len);
  if (class != SPACE) return run(split, at, class, &last);
  size_t end = run(split, split->at, SPACE, &last);
  return end < split->fragment_end && last > split->at ? last : end;
}

static void next_fragment(lm_split *split) {
  size_t len;
  size_t at = split->at;
  if (!split->single_numbers) {
    split->fragment_end = split->len;
    return;
  }
  if (class_at(split, at, &len) == NUMBER) {
    split->fragment_end = at + len;
    return;
  }
  while (at < split->len && class_at(split, at, &len) != NUMBER)
    at += len;
  split->fragment_end = at;
}

bool lm_split_next(lm_split *split, size_t *start_out, size_t *end_out) {
  if (split->at >= split->len) return false;
  if (split->at >= split->fragment_end) next_fragment(split);
  *start_out = split->at;
  *end_out = word_end(split);
  split->at = *end_out;
  return true;
}
