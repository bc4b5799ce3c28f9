/* Fuzz target of chat templates, messages and the tokenizer. The input:
     u8 flags (1 the template of SmolLM2, else its text is in the input; 2 a vocabulary of the
     input; 4 the pre-splitter gpt-2) | text of the template | [u8 tokens, each u8 type, text |
     u8 merges, each text] | messages: u8 role (0 to 3, else the role is in the input), content
   where a text is a u16 length (little-endian) and its bytes. No content becomes a control token,
   whatever it says and whatever the vocabulary is; with whole vocabularies the ids give the text
   back. */
#include "plugins/compute/lm/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define MESSAGES_MAX 64u
#define TOKENS_MAX   255u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct input {
  const uint8_t *at;
  size_t left;
} input;

static void must(bool condition) {
  if (!condition) abort();
}

static uint8_t take_byte(input *in) {
  if (in->left == 0) return 0;
  in->left--;
  return *in->at++;
}

static deai_str take_text(input *in) {
  size_t len = take_byte(in);
  len |= (size_t)take_byte(in) << 8;
  if (len > in->left) len = in->left;
  deai_str text = {.ptr = (const char *)in->at, .len = len};
  in->at += len;
  in->left -= len;
  return text;
}

/* ---- vocabularies ---- */

/* whole_vocabulary knows every byte (token b is byte b), some control tokens and some merges. */
static lm_tokenizer *whole_vocabulary(bool gpt2) {
  static char bytes[256][3];
  static const char *const more[] = {"<|im_start|>", "<|im_end|>", "<|endoftext|>", "<user>", "ab",
                                     "abc",          "im",         "un\xc4\xa0"};
  static const int32_t more_types[] = {3, 3, 3, 4, 1, 1, 1, 1};
  static const char *const merges[] = {"a b", "ab c", "i m", "b c", "\xc4\xa0 a", "x y"};
  deai_str tokens[256 + 8];
  deai_str pairs[6];
  int32_t types[256 + 8];
  uint32_t next = 256;
  lm_tokenizer *made = NULL;
  for (uint32_t b = 0; b < 256; b++) {
    bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    uint32_t point = printable ? b : next++;
    bytes[b][0] = (char)(point < 128 ? point : 0xC0 | point >> 6);
    if (point >= 128) bytes[b][1] = (char)(0x80 | (point & 63));
    tokens[b] = deai_str_of(bytes[b]);
    types[b] = LM_TOKEN_NORMAL;
  }
  for (size_t i = 0; i < 8; i++) {
    tokens[256 + i] = deai_str_of(more[i]);
    types[256 + i] = more_types[i];
  }
  for (size_t i = 0; i < 6; i++)
    pairs[i] = deai_str_of(merges[i]);
  lm_tokenizer_source source = {.model = deai_str_of("gpt2"),
                                .pre = deai_str_of(gpt2 ? "gpt-2" : "smollm"),
                                .tokens = tokens,
                                .types = types,
                                .token_count = 256 + 8,
                                .merges = pairs,
                                .merge_count = 6};
  must(lm_tokenizer_open(&source, &made, NULL) == DEAI_OK);
  return made;
}

static lm_tokenizer *hostile_vocabulary(input *in, bool gpt2) {
  static const int32_t kinds[] = {
      LM_TOKEN_NORMAL, LM_TOKEN_UNKNOWN, LM_TOKEN_CONTROL, LM_TOKEN_USER, 0, INT32_MIN};
  deai_str tokens[TOKENS_MAX];
  deai_str merges[TOKENS_MAX];
  int32_t types[TOKENS_MAX];
  lm_error error = {{0}};
  lm_tokenizer *made = NULL;
  lm_tokenizer_source source = {.model = deai_str_of("gpt2"),
                                .pre = deai_str_of(gpt2 ? "gpt-2" : "smollm"),
                                .tokens = tokens,
                                .types = types,
                                .merges = merges};
  source.token_count = take_byte(in);
  for (uint32_t i = 0; i < source.token_count; i++) {
    types[i] = kinds[take_byte(in) % (sizeof kinds / sizeof kinds[0])];
    tokens[i] = take_text(in);
  }
  source.merge_count = take_byte(in);
  for (uint32_t i = 0; i < source.merge_count; i++)
    merges[i] = take_text(in);
  if (source.token_count == 13) source.types = NULL;             /* all normal */
  if (source.token_count == 14) source.model = tokens[0];        /* most often refused */
  if (source.token_count == 15) source.pre = tokens[0];          /* most often refused */
  if (source.token_count == 16) source.merge_count = UINT32_MAX; /* too many */
  if (lm_tokenizer_open(&source, &made, &error) == DEAI_OK) return made;
  must(made == NULL && error.text[0] != 0);
  return NULL;
}

/* ---- what must hold ---- */

static size_t controls(const lm_tokenizer *t, const lm_ids *ids) {
  size_t count = 0;
  for (size_t i = 0; i < ids->len; i++) {
    int32_t type = lm_tokenizer_type(t, ids->ptr[i]);
    must(ids->ptr[i] < lm_tokenizer_count(t) && type != 0);
    count += type == LM_TOKEN_CONTROL || type == LM_TOKEN_USER ? 1 : 0;
  }
  return count;
}

static size_t controls_of(const lm_tokenizer *t, const lm_part *parts, size_t count) {
  lm_ids ids = {0};
  must(lm_tokenizer_encode(t, parts, count, &ids) == DEAI_OK);
  size_t found = controls(t, &ids);
  lm_ids_free(&ids);
  return found;
}

/* check_text compares what the ids stand for with the text. */
static void check_text(const lm_tokenizer *t, const lm_ids *ids, const lm_rendering *r) {
  static const char *const names[] = {"<|im_start|>", "<|im_end|>", "<|endoftext|>", "<user>"};
  size_t at = 0;
  for (size_t i = 0; i < ids->len; i++) {
    deai_bytes bytes = lm_tokenizer_bytes(t, ids->ptr[i]);
    if (ids->ptr[i] >= 256 && ids->ptr[i] < 260) {
      deai_str name = deai_str_of(names[ids->ptr[i] - 256]);
      must(lm_tokenizer_find(t, name) == (int64_t)ids->ptr[i]);
      bytes = deai_bytes_of(name.ptr, name.len);
    }
    must(bytes.len > 0 && bytes.len <= r->bytes_len - at);
    must(memcmp(bytes.ptr, r->bytes + at, (size_t)bytes.len) == 0);
    at += (size_t)bytes.len;
  }
  must(at == r->bytes_len);
}

static void check_parts(const lm_tokenizer *t, const lm_rendering *r, bool whole) {
  const uint8_t *at = r->bytes;
  size_t expected = 0;
  lm_ids ids = {0};
  for (size_t i = 0; i < r->part_count; i++) {
    must(r->parts[i].text.ptr == at && r->parts[i].text.len > 0);
    at += r->parts[i].text.len;
    size_t alone = controls_of(t, &r->parts[i], 1);
    if (r->parts[i].special)
      expected += alone;
    else
      must(alone == 0);
  }
  must(at == r->bytes + r->bytes_len);
  must(lm_tokenizer_encode(t, r->parts, r->part_count, &ids) == DEAI_OK);
  must(controls(t, &ids) == expected);
  if (whole) check_text(t, &ids, r);
  lm_ids_free(&ids);
}

static size_t take_messages(input *in, lm_message *messages) {
  static const char *const roles[] = {"system", "user", "assistant", "tool"};
  size_t count = 0;
  while (in->left > 0 && count < MESSAGES_MAX) {
    uint8_t role = take_byte(in);
    messages[count].role = role < 4 ? deai_str_of(roles[role]) : take_text(in);
    messages[count++].content = take_text(in);
  }
  if (count == 1 && messages[0].content.len == 13) return LM_TEMPLATE_MESSAGES_MAX + 1;
  if (count == 1 && messages[0].content.len == 14)
    messages[0].content.len = LM_TOKENIZER_TEXT_MAX + 1; /* refused before it is read */
  return count;
}

static void render(const lm_template *chat, const lm_tokenizer *t, input *in, bool whole) {
  lm_message messages[MESSAGES_MAX];
  lm_error error = {{0}};
  lm_rendering r;
  size_t count = take_messages(in, messages);
  bool own = chat->system_prompt != NULL && count > 0 &&
             !deai_str_eq(messages[0].role, deai_str_of("system"));
  int32_t status = lm_template_render(chat, messages, count, &r, &error);
  if (status != DEAI_OK) {
    must(error.text[0] != 0 && r.parts == NULL && r.bytes == NULL);
    return;
  }
  check_parts(t, &r, whole);
  if (whole) must(controls_of(t, r.parts, r.part_count) == 2 * (count + (own ? 1 : 0)) + 1);
  lm_rendering_free(&r);
}

static const lm_template *find(uint8_t flags, deai_str text) {
  static const uint8_t smollm2[] = {0x87, 0x2b, 0xe4, 0x9d, 0xbb, 0x63, 0x80, 0x44,
                                    0xad, 0x01, 0xb6, 0x03, 0x88, 0xf4, 0x8d, 0x46,
                                    0x9f, 0xf2, 0x98, 0x0e, 0x5f, 0x0d, 0xcc, 0xdc,
                                    0x22, 0xec, 0x90, 0x7d, 0xb5, 0x4d, 0x07, 0x88};
  uint8_t hash[DEAI_HASH_BYTES];
  lm_error error = {{0}};
  if ((flags & 1) != 0) return lm_template_by_hash(smollm2);
  const lm_template *found = lm_template_find(text, &error);
  lm_template_hash(text, hash);
  must(found != NULL || error.text[0] != 0);
  must(lm_template_by_hash(hash) == NULL || lm_template_by_hash(hash) == found);
  return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static lm_tokenizer *known[2];
  input in = {data, size};
  uint8_t flags = take_byte(&in);
  const lm_template *chat = find(flags, take_text(&in));
  bool gpt2 = (flags & 4) != 0;
  bool whole = (flags & 2) == 0;
  if (known[gpt2] == NULL) known[gpt2] = whole_vocabulary(gpt2);
  lm_tokenizer *own = whole ? NULL : hostile_vocabulary(&in, gpt2);
  const lm_tokenizer *t = whole ? known[gpt2] : own;
  if (chat != NULL && t != NULL) render(chat, t, &in, whole);
  lm_tokenizer_close(own);
  return 0;
}
