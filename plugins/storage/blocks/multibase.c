#include "multibase.h"

#include <stdbool.h>
#include <string.h>

#include "host/base/banned.h"

#define DIGITS_PER_BYTE_MAX 3 /* base10 needs 2.41 digits a byte */

typedef struct base_kind {
  char code;
  uint8_t bits; /* of one character; 0: the whole text is one number */
  bool padded;
  bool fold; /* one case only: either is read */
  const char *name;
  const char *alphabet;
} base_kind;

#define LOWER32 "abcdefghijklmnopqrstuvwxyz234567"
#define UPPER32 "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
#define LOWERHX "0123456789abcdefghijklmnopqrstuv"
#define UPPERHX "0123456789ABCDEFGHIJKLMNOPQRSTUV"
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/* multiformats/multibase: multibase.csv and its rfcs folder */
static const base_kind base_kinds[] = {
    {'0', 1, false, false, "base2", "01"},
    {'7', 3, false, false, "base8", "01234567"},
    {'9', 0, false, false, "base10", "0123456789"},
    {'f', 4, false, true, "base16", "0123456789abcdef"},
    {'F', 4, false, true, "base16upper", "0123456789ABCDEF"},
    {'b', 5, false, true, "base32", LOWER32},
    {'B', 5, false, true, "base32upper", UPPER32},
    {'c', 5, true, true, "base32pad", LOWER32},
    {'C', 5, true, true, "base32padupper", UPPER32},
    {'v', 5, false, true, "base32hex", LOWERHX},
    {'V', 5, false, true, "base32hexupper", UPPERHX},
    {'t', 5, true, true, "base32hexpad", LOWERHX},
    {'T', 5, true, true, "base32hexpadupper", UPPERHX},
    {'h', 5, false, true, "base32z", "ybndrfg8ejkmcpqxot1uwisza345h769"},
    {'k', 0, false, true, "base36", "0123456789abcdefghijklmnopqrstuvwxyz"},
    {'K', 0, false, true, "base36upper", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"},
    {'z', 0, false, false, "base58btc",
     "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"},
    {'Z', 0, false, false, "base58flickr",
     "123456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"},
    {'m', 6, false, false, "base64", LETTERS "+/"},
    {'M', 6, true, false, "base64pad", LETTERS "+/"},
    {'u', 6, false, false, "base64url", LETTERS "-_"},
    {'U', 6, true, false, "base64urlpad", LETTERS "-_"},
};

#define BASE_KINDS (sizeof base_kinds / sizeof base_kinds[0])

static const base_kind *kind_of(char code) {
  for (size_t i = 0; i < BASE_KINDS; i++)
    if (base_kinds[i].code == code) return &base_kinds[i];
  return NULL;
}

static char fold_case(char c) {
  return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static void digits_of(const base_kind *kind, int16_t digits[256]) {
  for (int i = 0; i < 256; i++)
    digits[i] = -1;
  for (int16_t i = 0; kind->alphabet[i] != 0; i++) {
    char c = kind->alphabet[i];
    digits[(uint8_t)c] = i;
    if (!kind->fold) continue;
    char lower = fold_case(c);
    digits[(uint8_t)lower] = i;
    if (lower >= 'a' && lower <= 'z') digits[(uint8_t)(lower - 'a' + 'A')] = i;
  }
}

static uint32_t group_chars(const base_kind *kind) {
  return kind->bits == 5 ? 8 : 4;
}

static int32_t encode_bits(const base_kind *kind, deai_bytes bytes, blocks_buf *text) {
  if (bytes.len > SIZE_MAX / 16) return DEAI_ETOOLARGE;
  size_t chars = ((size_t)bytes.len * 8 + kind->bits - 1) / kind->bits;
  size_t group = kind->padded ? group_chars(kind) : 1;
  size_t room = (chars + group - 1) / group * group;
  int32_t status = blocks_buf_reserve(text, text->len + room);
  if (status != DEAI_OK) return status;
  uint32_t held = 0;
  uint32_t held_bits = 0;
  uint32_t mask = (1u << kind->bits) - 1;
  for (uint64_t i = 0; i < bytes.len; i++) {
    held = ((held << 8) | bytes.ptr[i]) & 0xffffu;
    for (held_bits += 8; held_bits >= kind->bits; held_bits -= kind->bits)
      text->ptr[text->len++] = (uint8_t)kind->alphabet[(held >> (held_bits - kind->bits)) & mask];
  }
  if (held_bits > 0)
    text->ptr[text->len++] = (uint8_t)kind->alphabet[(held << (kind->bits - held_bits)) & mask];
  for (; chars < room; chars++)
    text->ptr[text->len++] = '=';
  return DEAI_OK;
}

/* number: digits (or bytes) of base `to`, least significant first; multiplies by `from` and adds */
static size_t number_step(uint8_t *number, size_t used, uint32_t from, uint32_t add, uint32_t to) {
  uint32_t carry = add;
  for (size_t k = 0; k < used; k++) {
    carry += from * number[k];
    number[k] = (uint8_t)(carry % to);
    carry /= to;
  }
  for (; carry > 0; carry /= to)
    number[used++] = (uint8_t)(carry % to);
  return used;
}

static int32_t encode_number(const base_kind *kind, deai_bytes bytes, blocks_buf *text) {
  if (bytes.len > BLOCKS_MULTIBASE_BYTES_MAX) return DEAI_ETOOLARGE;
  uint8_t number[BLOCKS_MULTIBASE_BYTES_MAX * DIGITS_PER_BYTE_MAX];
  uint32_t base = (uint32_t)strlen(kind->alphabet);
  size_t zeros = 0;
  size_t used = 0;
  while (zeros < bytes.len && bytes.ptr[zeros] == 0)
    zeros++;
  for (size_t i = zeros; i < bytes.len; i++)
    used = number_step(number, used, 256, bytes.ptr[i], base);
  int32_t status = blocks_buf_reserve(text, text->len + zeros + used);
  if (status != DEAI_OK) return status;
  for (size_t i = 0; i < zeros; i++)
    text->ptr[text->len++] = (uint8_t)kind->alphabet[0];
  while (used > 0)
    text->ptr[text->len++] = (uint8_t)kind->alphabet[number[--used]];
  return DEAI_OK;
}

int32_t blocks_multibase_encode(char base, deai_bytes bytes, blocks_buf *text) {
  const base_kind *kind = kind_of(base);
  if (kind == NULL) return DEAI_EUNSUPPORTED;
  size_t start = text->len;
  int32_t status = blocks_buf_add(text, &base, 1);
  if (status == DEAI_OK)
    status = kind->bits > 0 ? encode_bits(kind, bytes, text) : encode_number(kind, bytes, text);
  if (status != DEAI_OK) text->len = start;
  return status;
}

static int32_t strip_padding(const base_kind *kind, deai_str *text) {
  if (!kind->padded) return DEAI_OK;
  uint32_t group = group_chars(kind);
  if (text->len % group != 0) return DEAI_EINVAL;
  uint32_t pads = 0;
  while (text->len > 0 && text->ptr[text->len - 1] == '=') {
    text->len--;
    if (++pads == group) return DEAI_EINVAL;
  }
  return DEAI_OK;
}

static int32_t decode_bits(const base_kind *kind, deai_str text, blocks_buf *bytes) {
  int16_t digits[256];
  digits_of(kind, digits);
  int32_t status = strip_padding(kind, &text);
  if (status != DEAI_OK) return status;
  status = blocks_buf_reserve(bytes, (size_t)text.len * kind->bits / 8 + 1);
  if (status != DEAI_OK) return status;
  uint32_t held = 0;
  uint32_t held_bits = 0;
  for (uint64_t i = 0; i < text.len; i++) {
    int16_t digit = digits[(uint8_t)text.ptr[i]];
    if (digit < 0) return DEAI_EINVAL;
    held = ((held << kind->bits) | (uint32_t)(uint16_t)digit) & 0xffffu;
    held_bits += kind->bits;
    if (held_bits < 8) continue;
    held_bits -= 8;
    bytes->ptr[bytes->len++] = (uint8_t)(held >> held_bits);
  }
  bool whole = held_bits < kind->bits && (held & ((1u << held_bits) - 1)) == 0;
  return whole ? DEAI_OK : DEAI_EINVAL;
}

static int32_t decode_number(const base_kind *kind, deai_str text, blocks_buf *bytes) {
  if (text.len > BLOCKS_MULTIBASE_BYTES_MAX * DIGITS_PER_BYTE_MAX) return DEAI_ETOOLARGE;
  int16_t digits[256];
  uint8_t number[BLOCKS_MULTIBASE_BYTES_MAX * DIGITS_PER_BYTE_MAX];
  uint32_t base = (uint32_t)strlen(kind->alphabet);
  digits_of(kind, digits);
  size_t zeros = 0;
  size_t used = 0;
  while (zeros < text.len && text.ptr[zeros] == kind->alphabet[0])
    zeros++;
  for (size_t i = zeros; i < text.len; i++) {
    int16_t digit = digits[(uint8_t)text.ptr[i]];
    if (digit < 0) return DEAI_EINVAL;
    used = number_step(number, used, base, (uint32_t)digit, 256);
  }
  if (zeros + used > BLOCKS_MULTIBASE_BYTES_MAX) return DEAI_ETOOLARGE;
  int32_t status = blocks_buf_reserve(bytes, zeros + used);
  if (status != DEAI_OK) return status;
  if (zeros > 0) memset(bytes->ptr, 0, zeros);
  bytes->len = zeros;
  while (used > 0)
    bytes->ptr[bytes->len++] = number[--used];
  return DEAI_OK;
}

int32_t blocks_multibase_decode_as(char base, deai_str text, blocks_buf *bytes) {
  const base_kind *kind = kind_of(base);
  if (kind == NULL) return DEAI_EUNSUPPORTED;
  if (text.len > SIZE_MAX / 16) return DEAI_ETOOLARGE;
  bytes->len = 0;
  int32_t status =
      kind->bits > 0 ? decode_bits(kind, text, bytes) : decode_number(kind, text, bytes);
  if (status != DEAI_OK) bytes->len = 0;
  return status;
}

int32_t blocks_multibase_decode(deai_str text, blocks_buf *bytes, char *base_out) {
  if (text.len == 0) return DEAI_EINVAL;
  *base_out = text.ptr[0];
  deai_str rest = {.ptr = text.ptr + 1, .len = text.len - 1};
  return blocks_multibase_decode_as(text.ptr[0], rest, bytes);
}

char blocks_multibase_of_name(deai_str name) {
  for (size_t i = 0; i < BASE_KINDS; i++)
    if (deai_str_eq(name, deai_str_of(base_kinds[i].name))) return base_kinds[i].code;
  return 0;
}
