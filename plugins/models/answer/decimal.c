#include "decimal.h"

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "host/base/banned.h"

#define DIGITS_MAX   24     /* digits that can matter: beyond them only "is there more" does */
#define EXPONENT_MAX 100000 /* larger exponents mean 0 or the maximum all the same */

typedef struct number {
  bool negative;
  bool more; /* a digit other than 0 was dropped */
  uint32_t count;
  uint8_t digits[DIGITS_MAX];
  int64_t exponent; /* value = digits x 10^exponent */
} number;

static bool digit_at(deai_str text, uint64_t at) {
  return at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9';
}

/* take_digit appends one digit; after_point says that it lies behind the point. */
static void take_digit(number *n, uint8_t digit, bool after_point) {
  if (n->count == 0 && digit == 0) { /* a leading zero */
    if (after_point) n->exponent--;
    return;
  }
  if (n->count == DIGITS_MAX) {
    n->more = n->more || digit != 0;
    if (!after_point) n->exponent++;
    return;
  }
  n->digits[n->count++] = digit;
  if (after_point) n->exponent--;
}

static int32_t read_exponent(deai_str text, uint64_t *at, number *n) {
  int64_t value = 0;
  bool negative = false;
  (*at)++;
  if (*at < text.len && (text.ptr[*at] == '+' || text.ptr[*at] == '-'))
    negative = text.ptr[(*at)++] == '-';
  if (!digit_at(text, *at)) return DEAI_EINVAL;
  for (; digit_at(text, *at); (*at)++)
    if (value < EXPONENT_MAX) value = value * 10 + (text.ptr[*at] - '0');
  n->exponent += negative ? -value : value;
  return DEAI_OK;
}

static int32_t read_number(deai_str text, number *n) {
  uint64_t at = 0;
  *n = (number){0};
  if (text.len > 0 && text.ptr[0] == '-') {
    n->negative = true;
    at = 1;
  }
  if (!digit_at(text, at)) return DEAI_EINVAL;
  if (text.ptr[at] == '0' && digit_at(text, at + 1)) return DEAI_EINVAL;
  for (; digit_at(text, at); at++)
    take_digit(n, (uint8_t)(text.ptr[at] - '0'), false);
  if (at < text.len && text.ptr[at] == '.') {
    at++;
    if (!digit_at(text, at)) return DEAI_EINVAL;
    for (; digit_at(text, at); at++)
      take_digit(n, (uint8_t)(text.ptr[at] - '0'), true);
  }
  if (at < text.len && (text.ptr[at] == 'e' || text.ptr[at] == 'E')) {
    int32_t status = read_exponent(text, &at, n);
    if (status != DEAI_OK) return status;
  }
  return at == text.len ? DEAI_OK : DEAI_EINVAL;
}

/* scale returns digits x 10^(exponent + 6), rounded, saturated at ANSWER_DECIMAL_MAX. */
static int64_t scale(const number *n) {
  int64_t places = (int64_t)n->count + n->exponent + 6; /* digits before the rounding place */
  int64_t value = 0;
  if (n->count == 0 || places < 0) return 0;
  if (places > 18) return ANSWER_DECIMAL_MAX;
  for (int64_t i = 0; i < places; i++)
    value = value * 10 + (i < (int64_t)n->count ? n->digits[i] : 0);
  if (places >= (int64_t)n->count) return value;
  bool beyond = n->more;
  for (int64_t i = places + 1; i < (int64_t)n->count; i++)
    beyond = beyond || n->digits[i] != 0;
  uint8_t next = n->digits[places];
  bool up = next > 5 || (next == 5 && (beyond || value % 2 != 0));
  return up ? value + 1 : value;
}

int32_t answer_decimal_micro(deai_str text, int64_t *micro_out) {
  number n;
  int32_t status = read_number(text, &n);
  if (status != DEAI_OK) return status;
  int64_t value = scale(&n);
  *micro_out = n.negative ? -value : value;
  return DEAI_OK;
}

/* ---- members of an object ---- */

static uint64_t skip_space(deai_str json, uint64_t at) {
  while (at < json.len && memchr(" \t\r\n", json.ptr[at], 4) != NULL)
    at++;
  return at;
}

/* skip_string returns the place behind the string that begins at at. */
static uint64_t skip_string(deai_str json, uint64_t at) {
  for (at++; at < json.len && json.ptr[at] != '"'; at++)
    if (json.ptr[at] == '\\') at++;
  return at < json.len ? at + 1 : json.len;
}

/* skip_value returns the place behind the value that begins at at. */
static uint64_t skip_value(deai_str json, uint64_t at) {
  uint64_t depth = 0;
  while (at < json.len) {
    char c = json.ptr[at];
    if (c == '"') {
      at = skip_string(json, at);
      if (depth == 0) return at;
      continue;
    }
    if (depth == 0 && memchr(",} \t\r\n]", c, 7) != NULL) return at;
    if (c == '{' || c == '[') depth++;
    at++;
    if ((c == '}' || c == ']') && --depth == 0) return at;
  }
  return at;
}

static bool key_is(deai_str quoted, const char *key) {
  if (quoted.len < 2) return false;
  deai_str plain = {quoted.ptr + 1, quoted.len - 2};
  if (memchr(plain.ptr, '\\', (size_t)plain.len) == NULL)
    return deai_str_eq(plain, deai_str_of(key)) != 0;
  json_t *value =
      json_loadb(quoted.ptr, (size_t)quoted.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
  deai_str text = {json_string_value(value), json_string_length(value)};
  bool same = value != NULL && deai_str_eq(text, deai_str_of(key)) != 0;
  json_decref(value);
  return same;
}

int32_t answer_json_member(deai_str json, const char *key, deai_str *raw_out) {
  uint64_t at = skip_space(json, 0);
  if (at >= json.len || json.ptr[at] != '{') return DEAI_ENOTFOUND;
  at = skip_space(json, at + 1);
  while (at < json.len && json.ptr[at] == '"') {
    uint64_t key_end = skip_string(json, at);
    deai_str name = {json.ptr + at, key_end - at};
    at = skip_space(json, key_end);
    if (at >= json.len || json.ptr[at] != ':') return DEAI_ENOTFOUND;
    at = skip_space(json, at + 1);
    uint64_t value_end = skip_value(json, at);
    if (key_is(name, key)) {
      *raw_out = (deai_str){json.ptr + at, value_end - at};
      return DEAI_OK;
    }
    at = skip_space(json, value_end);
    if (at >= json.len || json.ptr[at] != ',') return DEAI_ENOTFOUND;
    at = skip_space(json, at + 1);
  }
  return DEAI_ENOTFOUND;
}
