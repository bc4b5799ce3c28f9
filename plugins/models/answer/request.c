#include "request.h"

#include "decimal.h"

#include "deai/cbor.h"
#include "deai/contracts/lm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define NAME_SHOWN 40u /* bytes of a client's text that an error repeats */

typedef struct parse {
  answer_request *out;
  answer_error *error;
  deai_str body;
  uint64_t best_of;
  bool top_given;
  bool options_given;
  uint64_t max_new; /* max_completion_tokens */
} parse;

typedef int32_t take_fn(parse *p, const char *name, json_t *value);

typedef struct row {
  const char *name;
  take_fn *take;
} row;

/* ---- refusals ---- */

static const char *kind_of(const json_t *value) {
  switch (json_typeof(value)) {
  case JSON_OBJECT:
    return "an object";
  case JSON_ARRAY:
    return "an array";
  case JSON_STRING:
    return "a string";
  case JSON_INTEGER:
    return "an integer";
  case JSON_REAL:
    return "a decimal";
  case JSON_NULL:
    return "null";
  default:
    return "a boolean";
  }
}

static int32_t wrong_type(parse *p, const char *name, const char *expected, const json_t *value) {
  return answer_fail(p->error, 400, "invalid_type", name, "%s: %s expected, found %s; change it",
                     name, expected, kind_of(value));
}

static int32_t missing(parse *p, const char *name) {
  return answer_fail(p->error, 400, "missing_required_parameter", name,
                     "%s: a value expected, found none; send it", name);
}

static int32_t unsupported(parse *p, const char *name, const char *expected) {
  return answer_fail(p->error, 400, "unsupported_parameter", name,
                     "%s: %s expected, found another value, which this node cannot serve; leave it "
                     "out",
                     name, expected);
}

/* clip copies the beginning of a client's text for an error, cut between characters. */
static const char *clip(const char *text, char room[NAME_SHOWN + 1]) {
  uint32_t len = 0;
  while (text[len] != 0 && len < NAME_SHOWN)
    len++;
  while (len > 0 && text[len] != 0 && ((uint8_t)text[len] & 0xc0) == 0x80)
    len--;
  memcpy(room, text, len);
  room[len] = 0;
  return room;
}

static int32_t unknown(parse *p, const char *name) {
  char room[NAME_SHOWN + 1];
  return answer_fail(p->error, 400, "unknown_parameter", name,
                     "a parameter of the API expected, found %s; leave it out", clip(name, room));
}

/* ---- kinds of values ---- */

static deai_str str_of(const json_t *value) {
  return (deai_str){json_string_value(value), json_string_length(value)};
}

static int32_t take_integer(parse *p, const char *name, const json_t *value, uint64_t min,
                            uint64_t max, uint64_t *out) {
  if (!json_is_integer(value)) return wrong_type(p, name, "an integer", value);
  json_int_t found = json_integer_value(value);
  if (found < 0 || (uint64_t)found < min)
    return answer_fail(p->error, 400, "integer_below_min_value", name,
                       "%s: at least %" PRIu64 " expected, found %" JSON_INTEGER_FORMAT
                       "; raise it",
                       name, min, found);
  if ((uint64_t)found > max)
    return answer_fail(p->error, 400, "integer_above_max_value", name,
                       "%s: at most %" PRIu64 " expected, found %" JSON_INTEGER_FORMAT "; lower it",
                       name, max, found);
  *out = (uint64_t)found;
  return DEAI_OK;
}

/* take_decimal reads a number of 10^-6 between min and max (whole numbers). */
static int32_t take_decimal(parse *p, const char *name, const json_t *value, int64_t min,
                            int64_t max, int64_t *out) {
  deai_str raw = {"", 0};
  if (!json_is_number(value)) return wrong_type(p, name, "a number", value);
  int32_t status = answer_json_member(p->body, name, &raw);
  if (status == DEAI_OK) status = answer_decimal_micro(raw, out);
  if (status != DEAI_OK) return wrong_type(p, name, "a decimal number", value);
  int shown = raw.len > NAME_SHOWN ? (int)NAME_SHOWN : (int)raw.len;
  if (*out < min * 1000000)
    return answer_fail(p->error, 400, "decimal_below_min_value", name,
                       "%s: at least %" PRId64 " expected, found %.*s; raise it", name, min, shown,
                       raw.ptr);
  if (*out > max * 1000000)
    return answer_fail(p->error, 400, "decimal_above_max_value", name,
                       "%s: at most %" PRId64 " expected, found %.*s; lower it", name, max, shown,
                       raw.ptr);
  return DEAI_OK;
}

static int32_t take_boolean(parse *p, const char *name, const json_t *value, bool *out) {
  if (!json_is_boolean(value)) return wrong_type(p, name, "a boolean", value);
  *out = json_is_true(value);
  return DEAI_OK;
}

/* ---- rows without effect ---- */

static int32_t take_label(parse *p, const char *name, json_t *value) {
  return json_is_string(value) ? DEAI_OK : wrong_type(p, name, "a string", value);
}

static int32_t take_flag(parse *p, const char *name, json_t *value) {
  bool ignored = false;
  return take_boolean(p, name, value, &ignored);
}

static int32_t take_metadata(parse *p, const char *name, json_t *value) {
  return json_is_object(value) ? DEAI_OK : wrong_type(p, name, "an object", value);
}

/* take_empty accepts only what changes nothing: an empty list, object or string. */
static int32_t take_empty(parse *p, const char *name, json_t *value) {
  bool empty = (json_is_array(value) && json_array_size(value) == 0) ||
               (json_is_object(value) && json_object_size(value) == 0) ||
               (json_is_string(value) && json_string_length(value) == 0);
  return empty ? DEAI_OK : unsupported(p, name, "nothing");
}

static int32_t take_none(parse *p, const char *name, json_t *value) {
  if (json_is_string(value) && strcmp(json_string_value(value), "none") == 0) return DEAI_OK;
  return unsupported(p, name, "\"none\"");
}

static int32_t take_penalty(parse *p, const char *name, json_t *value) {
  int64_t found = 0;
  int32_t status = take_decimal(p, name, value, -2, 2, &found);
  if (status != DEAI_OK) return status;
  return found == 0 ? DEAI_OK : unsupported(p, name, "0");
}

static int32_t take_modalities(parse *p, const char *name, json_t *value) {
  if (!json_is_array(value)) return wrong_type(p, name, "an array", value);
  for (size_t i = 0; i < json_array_size(value); i++) {
    const char *mode = json_string_value(json_array_get(value, i));
    if (mode == NULL || strcmp(mode, "text") != 0) return unsupported(p, name, "[\"text\"]");
  }
  return DEAI_OK;
}

static int32_t take_format(parse *p, const char *name, json_t *value) {
  if (!json_is_object(value)) return wrong_type(p, name, "an object", value);
  const char *type = json_string_value(json_object_get(value, "type"));
  if (type == NULL)
    return answer_fail(p->error, 400, "missing_required_parameter", "response_format.type",
                       "response_format.type: a string expected, found none; send it");
  if (strcmp(type, "text") == 0 && json_object_size(value) == 1) return DEAI_OK;
  return unsupported(p, name, "{\"type\": \"text\"}");
}

/* ---- rows of both ---- */

static int32_t take_model(parse *p, const char *name, json_t *value) {
  if (!json_is_string(value)) return wrong_type(p, name, "a string", value);
  p->out->model = str_of(value);
  return DEAI_OK;
}

static int32_t take_max(parse *p, const char *name, json_t *value) {
  uint64_t found = 0;
  int32_t status = take_integer(p, name, value, 1, DEAI_LM_IDS_MAX, &found);
  if (status != DEAI_OK) return status;
  p->out->max = (uint32_t)found;
  p->out->max_given = true;
  return DEAI_OK;
}

static int32_t take_max_new(parse *p, const char *name, json_t *value) {
  return take_integer(p, name, value, 1, DEAI_LM_IDS_MAX, &p->max_new);
}

static int32_t take_n(parse *p, const char *name, json_t *value) {
  uint64_t found = 0;
  int32_t status = take_integer(p, name, value, 1, ANSWER_N_MAX, &found);
  if (status == DEAI_OK) p->out->n = (uint32_t)found;
  return status;
}

static int32_t take_temperature(parse *p, const char *name, json_t *value) {
  int64_t found = 0;
  int32_t status = take_decimal(p, name, value, 0, 2, &found);
  if (status == DEAI_OK) p->out->temperature = (uint64_t)found;
  return status;
}

static int32_t take_top_p(parse *p, const char *name, json_t *value) {
  int64_t found = 0;
  int32_t status = take_decimal(p, name, value, 0, 1, &found);
  if (status == DEAI_OK) p->out->top_p = found > 0 ? (uint64_t)found : 1;
  return status;
}

static int32_t take_seed(parse *p, const char *name, json_t *value) {
  if (!json_is_integer(value)) return wrong_type(p, name, "an integer", value);
  p->out->has_seed = true;
  p->out->seed = (uint64_t)json_integer_value(value); /* negative ones wrap */
  return DEAI_OK;
}

static int32_t take_stop_one(parse *p, const json_t *value) {
  if (!json_is_string(value)) return wrong_type(p, "stop", "a string or strings", value);
  deai_str text = str_of(value);
  if (text.len < 1 || text.len > ANSWER_STOP_BYTES)
    return answer_fail(p->error, 400, "invalid_value", "stop",
                       "stop: strings of 1 to %u bytes expected, found %" PRIu64 "; change it",
                       ANSWER_STOP_BYTES, text.len);
  p->out->stops[p->out->stop_count++] = deai_bytes_of(text.ptr, text.len);
  return DEAI_OK;
}

static int32_t take_stop(parse *p, const char *name, json_t *value) {
  if (!json_is_array(value)) return take_stop_one(p, value);
  size_t count = json_array_size(value);
  if (count > ANSWER_STOPS_MAX)
    return answer_fail(p->error, 400, "array_above_max_length", name,
                       "stop: at most %u strings expected, found %zu; leave some out",
                       ANSWER_STOPS_MAX, count);
  int32_t status = DEAI_OK;
  for (size_t i = 0; i < count && status == DEAI_OK; i++)
    status = take_stop_one(p, json_array_get(value, i));
  return status;
}

static int32_t take_stream(parse *p, const char *name, json_t *value) {
  return take_boolean(p, name, value, &p->out->stream);
}

static int32_t take_stream_options(parse *p, const char *name, json_t *value) {
  const char *key = NULL;
  json_t *option = NULL;
  bool ignored = false;
  if (!json_is_object(value)) return wrong_type(p, name, "an object", value);
  p->options_given = true;
  json_object_foreach(value, key, option) {
    int32_t status = DEAI_OK;
    if (json_is_null(option)) continue;
    if (strcmp(key, "include_usage") == 0) {
      status = take_boolean(p, "stream_options.include_usage", option, &p->out->include_usage);
    } else if (strcmp(key, "include_obfuscation") == 0) {
      status = take_boolean(p, "stream_options.include_obfuscation", option, &ignored);
    } else {
      char path[96];
      char room[NAME_SHOWN + 1];
      (void)snprintf(path, sizeof path, "stream_options.%s", clip(key, room));
      status = unknown(p, path);
    }
    if (status != DEAI_OK) return status;
  }
  return DEAI_OK;
}

/* ---- messages ---- */

/* join keeps a copy of text behind what was joined before; the pool is as large as the body. */
static void join(parse *p, deai_str *whole, deai_str text) {
  answer_request *out = p->out;
  if (whole->ptr == NULL) *whole = (deai_str){out->joined + out->joined_len, 0};
  if (text.len > 0) memcpy(out->joined + out->joined_len, text.ptr, (size_t)text.len);
  out->joined_len += (size_t)text.len;
  whole->len += text.len;
}

static int32_t take_part(parse *p, const char *path, const json_t *part, deai_str *whole) {
  const json_t *type = json_object_get(part, "type");
  const json_t *text = json_object_get(part, "text");
  if (!json_is_object(part)) return wrong_type(p, path, "an object", part);
  if (!json_is_string(type) || strcmp(json_string_value(type), "text") != 0)
    return answer_fail(p->error, 400, "invalid_value", path,
                       "%s: a part of the type \"text\" expected, found another; send text only",
                       path);
  if (!json_is_string(text)) return missing(p, path);
  join(p, whole, str_of(text));
  return DEAI_OK;
}

static int32_t take_content(parse *p, const char *path, const json_t *content, bool optional,
                            deai_str *out) {
  if (content == NULL || json_is_null(content)) {
    if (!optional) return missing(p, path);
    *out = deai_str_of("");
    return DEAI_OK;
  }
  if (json_is_string(content)) {
    *out = str_of(content);
    return DEAI_OK;
  }
  if (!json_is_array(content)) return wrong_type(p, path, "a string or an array", content);
  *out = (deai_str){NULL, 0};
  for (size_t i = 0; i < json_array_size(content); i++) {
    char part_path[160];
    (void)snprintf(part_path, sizeof part_path, "%s[%zu]", path, i);
    int32_t status = take_part(p, part_path, json_array_get(content, i), out);
    if (status != DEAI_OK) return status;
  }
  if (out->ptr == NULL) *out = deai_str_of("");
  return DEAI_OK;
}

/* role_of returns the template's name of a role of the API, or NULL. */
static const char *role_of(const char *role) {
  static const char *const known[] = {"system", "user", "assistant", "tool"};
  if (role == NULL) return NULL;
  if (strcmp(role, "developer") == 0) return "system";
  if (strcmp(role, "function") == 0) return "tool";
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (strcmp(role, known[i]) == 0) return known[i];
  return NULL;
}

static int32_t check_message_keys(parse *p, size_t index, json_t *message) {
  static const char *const plain[] = {"role", "content", "name", "refusal", "tool_call_id"};
  static const char *const unserved[] = {"tool_calls", "function_call", "audio"};
  const char *key = NULL;
  json_t *value = NULL;
  json_object_foreach(message, key, value) {
    bool known = false;
    bool known_unserved = false;
    char path[96];
    char room[NAME_SHOWN + 1];
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
      known = known || strcmp(key, plain[i]) == 0;
    for (size_t i = 0; i < sizeof unserved / sizeof unserved[0]; i++)
      known_unserved = known_unserved || strcmp(key, unserved[i]) == 0;
    (void)snprintf(path, sizeof path, "messages[%zu].%s", index, clip(key, room));
    if (!known && !known_unserved) return unknown(p, path);
    if (known_unserved && !json_is_null(value)) {
      int32_t status = take_empty(p, path, value);
      if (status != DEAI_OK) return status;
    }
  }
  return DEAI_OK;
}

static int32_t take_message(parse *p, size_t index, json_t *message) {
  char path[96];
  (void)snprintf(path, sizeof path, "messages[%zu]", index);
  if (!json_is_object(message)) return wrong_type(p, path, "an object", message);
  const json_t *role = json_object_get(message, "role");
  (void)snprintf(path, sizeof path, "messages[%zu].role", index);
  if (role == NULL) return missing(p, path);
  if (!json_is_string(role)) return wrong_type(p, path, "a string", role);
  const char *name = role_of(json_string_value(role));
  if (name == NULL) {
    char room[NAME_SHOWN + 1];
    return answer_fail(p->error, 400, "invalid_value", path,
                       "%s: system, developer, user, assistant or tool expected, found \"%s\"; "
                       "change it",
                       path, clip(json_string_value(role), room));
  }
  int32_t status = check_message_keys(p, index, message);
  if (status != DEAI_OK) return status;
  lm_message *out = &p->out->messages[index];
  out->role = deai_str_of(name);
  (void)snprintf(path, sizeof path, "messages[%zu].content", index);
  return take_content(p, path, json_object_get(message, "content"), strcmp(name, "assistant") == 0,
                      &out->content);
}

static int32_t take_messages(parse *p, const char *name, json_t *value) {
  if (!json_is_array(value)) return wrong_type(p, name, "an array", value);
  size_t count = json_array_size(value);
  if (count == 0)
    return answer_fail(p->error, 400, "empty_array", name,
                       "messages: one or more expected, found none; send at least one");
  if (count > ANSWER_MESSAGES_MAX)
    return answer_fail(p->error, 400, "array_above_max_length", name,
                       "messages: at most %u expected, found %zu; leave the oldest out",
                       ANSWER_MESSAGES_MAX, count);
  p->out->messages = calloc(count, sizeof *p->out->messages);
  if (p->out->messages == NULL) return answer_fail(p->error, 503, NULL, NULL, "not enough memory");
  p->out->message_count = (uint32_t)count;
  p->out->prompt_count = 1;
  int32_t status = DEAI_OK;
  for (size_t i = 0; i < count && status == DEAI_OK; i++)
    status = take_message(p, i, json_array_get(value, i));
  return status;
}

/* ---- chat ---- */

static int32_t take_chat_logprobs(parse *p, const char *name, json_t *value) {
  return take_boolean(p, name, value, &p->out->logprobs);
}

static int32_t take_top_logprobs(parse *p, const char *name, json_t *value) {
  uint64_t found = 0;
  int32_t status = take_integer(p, name, value, 0, DEAI_LM_LOGPROBS_MAX, &found);
  p->out->top_logprobs = (uint32_t)found;
  p->top_given = true;
  return status;
}

static const row chat_rows[] = {
    {"model", take_model},
    {"messages", take_messages},
    {"max_tokens", take_max},
    {"max_completion_tokens", take_max_new},
    {"n", take_n},
    {"temperature", take_temperature},
    {"top_p", take_top_p},
    {"seed", take_seed},
    {"stop", take_stop},
    {"stream", take_stream},
    {"stream_options", take_stream_options},
    {"logprobs", take_chat_logprobs},
    {"top_logprobs", take_top_logprobs},
    {"presence_penalty", take_penalty},
    {"frequency_penalty", take_penalty},
    {"logit_bias", take_empty},
    {"response_format", take_format},
    {"modalities", take_modalities},
    {"tools", take_empty},
    {"functions", take_empty},
    {"tool_choice", take_none},
    {"function_call", take_none},
    {"parallel_tool_calls", take_flag},
    {"user", take_label},
    {"metadata", take_metadata},
    {"store", take_flag},
    {"service_tier", take_label},
    {"safety_identifier", take_label},
    {"prompt_cache_key", take_label},
    {"reasoning_effort", take_none},
    {"audio", take_empty},
    {"prediction", take_empty},
    {"web_search_options", take_empty},
    {NULL, NULL},
};

/* ---- text completions ---- */

static int32_t take_ids(parse *p, const json_t *list, answer_prompt *out) {
  answer_request *request = p->out;
  size_t count = json_array_size(list);
  if (count == 0 || count > DEAI_LM_IDS_MAX)
    return answer_fail(p->error, 400, "invalid_value", "prompt",
                       "prompt: 1 to %u token ids expected, found %zu; change it", DEAI_LM_IDS_MAX,
                       count);
  out->ids = request->ids + request->id_count;
  for (size_t i = 0; i < count; i++) {
    uint64_t id = 0;
    int32_t status = take_integer(p, "prompt", json_array_get(list, i), 0, UINT32_MAX, &id);
    if (status != DEAI_OK) return status;
    request->ids[request->id_count++] = (uint32_t)id;
  }
  out->id_count = (uint32_t)count;
  return DEAI_OK;
}

static int32_t take_prompt_one(parse *p, const json_t *value) {
  answer_prompt *out = &p->out->prompts[p->out->prompt_count++];
  if (json_is_array(value)) return take_ids(p, value, out);
  if (!json_is_string(value)) return wrong_type(p, "prompt", "a string or token ids", value);
  out->text = str_of(value);
  return DEAI_OK;
}

static int32_t take_prompt(parse *p, const char *name, json_t *value) {
  if (!json_is_array(value) || json_is_integer(json_array_get(value, 0)))
    return take_prompt_one(p, value);
  size_t count = json_array_size(value);
  if (count == 0)
    return answer_fail(p->error, 400, "empty_array", name,
                       "prompt: one or more expected, found none; send at least one");
  if (count > ANSWER_PROMPTS_MAX)
    return answer_fail(p->error, 400, "array_above_max_length", name,
                       "prompt: at most %u expected, found %zu; send them in several requests",
                       ANSWER_PROMPTS_MAX, count);
  int32_t status = DEAI_OK;
  for (size_t i = 0; i < count && status == DEAI_OK; i++)
    status = take_prompt_one(p, json_array_get(value, i));
  return status;
}

static int32_t take_text_logprobs(parse *p, const char *name, json_t *value) {
  uint64_t found = 0;
  int32_t status = take_integer(p, name, value, 0, 5, &found);
  p->out->logprobs = true;
  p->out->top_logprobs = (uint32_t)found;
  return status;
}

static int32_t take_echo(parse *p, const char *name, json_t *value) {
  return take_boolean(p, name, value, &p->out->echo);
}

static int32_t take_best_of(parse *p, const char *name, json_t *value) {
  return take_integer(p, name, value, 1, 20, &p->best_of);
}

static const row text_rows[] = {
    {"model", take_model},
    {"prompt", take_prompt},
    {"max_tokens", take_max},
    {"n", take_n},
    {"temperature", take_temperature},
    {"top_p", take_top_p},
    {"seed", take_seed},
    {"stop", take_stop},
    {"stream", take_stream},
    {"stream_options", take_stream_options},
    {"logprobs", take_text_logprobs},
    {"echo", take_echo},
    {"best_of", take_best_of},
    {"suffix", take_empty},
    {"presence_penalty", take_penalty},
    {"frequency_penalty", take_penalty},
    {"logit_bias", take_empty},
    {"user", take_label},
    {NULL, NULL},
};

/* ---- the whole ---- */

static int32_t take_all(parse *p, const row *rows) {
  const char *key = NULL;
  json_t *value = NULL;
  json_object_foreach(p->out->json, key, value) {
    const row *at = rows;
    while (at->name != NULL && strcmp(at->name, key) != 0)
      at++;
    if (at->name == NULL) return unknown(p, key);
    if (json_is_null(value)) continue;
    int32_t status = at->take(p, key, value);
    if (status != DEAI_OK) return status;
  }
  return DEAI_OK;
}

static int32_t check_echo(parse *p) {
  answer_request *out = p->out;
  if (!out->echo) return DEAI_OK;
  if (out->logprobs) return unsupported(p, "echo", "false together with logprobs");
  for (uint32_t i = 0; i < out->prompt_count; i++)
    if (out->prompts[i].ids != NULL) return unsupported(p, "echo", "false with token ids");
  return DEAI_OK;
}

static int32_t check_whole(parse *p) {
  answer_request *out = p->out;
  if (out->model.len == 0) return missing(p, "model");
  if (out->chat && out->message_count == 0) return missing(p, "messages");
  if (out->prompt_count == 0) return missing(p, "prompt");
  if (out->n * out->prompt_count > ANSWER_CHOICES_MAX)
    return answer_fail(p->error, 400, "integer_above_max_value", "n",
                       "n: at most %u answers expected, found %u x %u; send several requests",
                       ANSWER_CHOICES_MAX, out->n, out->prompt_count);
  if (p->options_given && !out->stream)
    return answer_fail(p->error, 400, "invalid_value", "stream_options",
                       "stream_options: \"stream\": true expected with it; add it or leave this "
                       "out");
  if (p->top_given && out->top_logprobs > 0 && !out->logprobs)
    return answer_fail(p->error, 400, "invalid_value", "top_logprobs",
                       "top_logprobs: \"logprobs\": true expected with it; add it");
  if (p->best_of > 0 && p->best_of != out->n) return unsupported(p, "best_of", "the value of n");
  return check_echo(p);
}

static int32_t read_body(parse *p) {
  json_error_t reason;
  answer_request *out = p->out;
  if (p->body.len > ANSWER_BODY_MAX)
    return answer_fail(p->error, 413, "request_too_large", NULL,
                       "a body of at most %u bytes expected, found more; send less",
                       ANSWER_BODY_MAX);
  out->json = json_loadb(p->body.len > 0 ? p->body.ptr : "", (size_t)p->body.len,
                         JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &reason);
  if (!json_is_object(out->json)) {
    const char *found = out->json != NULL ? "an array" : reason.text;
    char room[NAME_SHOWN + 1];
    return answer_fail(p->error, 400, NULL, NULL,
                       "a JSON object expected as the body, found something else (%s); mend it",
                       clip(found, room));
  }
  out->joined = malloc((size_t)p->body.len + 1);
  out->ids = malloc(((size_t)p->body.len / 2 + 1) * sizeof *out->ids); /* "1," is two bytes */
  if (out->joined == NULL || out->ids == NULL)
    return answer_fail(p->error, 503, NULL, NULL, "not enough memory");
  return DEAI_OK;
}

int32_t answer_request_parse(bool chat, deai_bytes body, answer_request *request_out,
                             answer_error *error) {
  *request_out = (answer_request){.chat = chat, .n = 1, .temperature = 1000000, .top_p = 1000000};
  parse p = {.out = request_out, .error = error, .body = {(const char *)body.ptr, body.len}};
  int32_t status = read_body(&p);
  if (status == DEAI_OK) status = take_all(&p, chat ? chat_rows : text_rows);
  if (status == DEAI_OK) status = check_whole(&p);
  if (status != DEAI_OK) {
    answer_request_free(request_out);
    return status;
  }
  if (p.max_new > 0) {
    request_out->max = (uint32_t)p.max_new;
    request_out->max_given = true;
  }
  if (!chat && !request_out->max_given) request_out->max = ANSWER_TEXT_TOKENS;
  return DEAI_OK;
}

void answer_request_free(answer_request *request) {
  json_decref(request->json);
  free(request->messages);
  free(request->joined);
  free(request->ids);
  *request = (answer_request){0};
}
