#include "template.h"

#include <inttypes.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define SYSTEM_SMOLLM2 "You are a helpful AI assistant named SmolLM, trained by Hugging Face"

typedef struct known_template {
  uint8_t hash[DEAI_HASH_BYTES];
  lm_template chat;
} known_template;

static const known_template known[] = {
    /* SmolLM2-135M, -360M and -1.7B-Instruct */
    {{0x87, 0x2b, 0xe4, 0x9d, 0xbb, 0x63, 0x80, 0x44, 0xad, 0x01, 0xb6,
      0x03, 0x88, 0xf4, 0x8d, 0x46, 0x9f, 0xf2, 0x98, 0x0e, 0x5f, 0x0d,
      0xcc, 0xdc, 0x22, 0xec, 0x90, 0x7d, 0xb5, 0x4d, 0x07, 0x88},
     {.name = "smollm2",
      .system_prompt = SYSTEM_SMOLLM2,
      .stops = {"<|im_end|>", "<|endoftext|>", "<reponame>"},
      .verified = true}},
};

static const lm_template chatml = {.name = "chatml", .stops = {"<|im_end|>", "<|endoftext|>"}};

void lm_template_hash(deai_str text, uint8_t hash_out[DEAI_HASH_BYTES]) {
  (void)SHA256((const uint8_t *)(text.len == 0 ? "" : text.ptr), (size_t)text.len, hash_out);
}

const lm_template *lm_template_by_hash(const uint8_t hash[DEAI_HASH_BYTES]) {
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (memcmp(known[i].hash, hash, DEAI_HASH_BYTES) == 0) return &known[i].chat;
  return NULL;
}

static bool names(deai_str text, const char *word) {
  return text.len > 0 && text.ptr != NULL &&
         memmem(text.ptr, (size_t)text.len, word, strlen(word)) != NULL;
}

const lm_template *lm_template_find(deai_str text, lm_error *error) {
  uint8_t hash[DEAI_HASH_BYTES];
  lm_template_hash(text, hash);
  const lm_template *found = lm_template_by_hash(hash);
  if (found != NULL) return found;
  if (text.len > 0 && names(text, "<|im_start|>") && names(text, "<|im_end|>")) return &chatml;
  (void)lm_fail(error, DEAI_EUNSUPPORTED,
                "chat template: ChatML expected, found %s (SHA-256 %02x%02x%02x%02x...); use the "
                "model without messages, or another model",
                text.len == 0 ? "none" : "an unknown one", hash[0], hash[1], hash[2], hash[3]);
  return NULL;
}

static int32_t check_role(deai_str role, lm_error *error) {
  bool ok = role.len >= 1 && role.len <= LM_TEMPLATE_ROLE_MAX;
  for (uint64_t i = 0; ok && i < role.len; i++)
    ok = (role.ptr[i] >= 'a' && role.ptr[i] <= 'z') || role.ptr[i] == '_';
  if (ok) return DEAI_OK;
  return lm_fail(error, DEAI_EINVAL,
                 "messages: a role of 1 to %d letters a-z expected, found '%.*s'; use system, user "
                 "or assistant",
                 LM_TEMPLATE_ROLE_MAX, role.len > 40 ? 40 : (int)role.len, role.ptr);
}

static int32_t check_messages(const lm_message *messages, size_t count, size_t *bytes_out,
                              lm_error *error) {
  if (count < 1) return lm_fail(error, DEAI_EINVAL, "messages: 1 or more expected, found none");
  if (count > LM_TEMPLATE_MESSAGES_MAX)
    return lm_fail(error, DEAI_ETOOLARGE, "messages: at most %d expected, found %zu",
                   LM_TEMPLATE_MESSAGES_MAX, count);
  size_t bytes = 0;
  for (size_t i = 0; i < count; i++) {
    int32_t status = check_role(messages[i].role, error);
    if (status != DEAI_OK) return status;
    if (messages[i].content.len > LM_TOKENIZER_TEXT_MAX - bytes)
      return lm_fail(error, DEAI_ETOOLARGE,
                     "messages: at most %u bytes of text expected, found more; send less",
                     LM_TOKENIZER_TEXT_MAX);
    bytes += (size_t)messages[i].content.len;
  }
  *bytes_out = bytes;
  return DEAI_OK;
}

static void add(lm_rendering *r, deai_str text, bool special) {
  if (text.len == 0) return;
  memcpy(r->bytes + r->bytes_len, text.ptr, (size_t)text.len);
  r->parts[r->part_count++] =
      (lm_part){.text = deai_bytes_of(r->bytes + r->bytes_len, text.len), .special = special};
  r->bytes_len += (size_t)text.len;
}

static void add_turn(lm_rendering *r, deai_str role, deai_str content, bool own_content) {
  add(r, deai_str_of("<|im_start|>"), true);
  add(r, role, false);
  add(r, deai_str_of("\n"), true);
  add(r, content, own_content);
  add(r, deai_str_of("<|im_end|>\n"), true);
}

int32_t lm_template_render(const lm_template *chat, const lm_message *messages, size_t count,
                           lm_rendering *rendering_out, lm_error *error) {
  *rendering_out = (lm_rendering){0};
  size_t bytes = 0;
  int32_t status = check_messages(messages, count, &bytes, error);
  if (status != DEAI_OK) return status;
  deai_str first = deai_str_of(chat->system_prompt);
  lm_rendering r = {0};
  r.bytes = malloc(bytes + (size_t)first.len + (count + 2) * (64 + LM_TEMPLATE_ROLE_MAX));
  r.parts = calloc(5 * (count + 2), sizeof *r.parts);
  if (r.bytes == NULL || r.parts == NULL) {
    lm_rendering_free(&r);
    return lm_fail(error, DEAI_ENOMEM, "messages: no memory");
  }
  if (first.len > 0 && !deai_str_eq(messages[0].role, deai_str_of("system")))
    add_turn(&r, deai_str_of("system"), first, true);
  for (size_t i = 0; i < count; i++)
    add_turn(&r, messages[i].role, messages[i].content, false);
  add(&r, deai_str_of("<|im_start|>assistant\n"), true);
  *rendering_out = r;
  return DEAI_OK;
}

void lm_rendering_free(lm_rendering *rendering) {
  free(rendering->parts);
  free(rendering->bytes);
  *rendering = (lm_rendering){0};
}
