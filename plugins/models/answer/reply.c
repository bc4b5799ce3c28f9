#include "reply.h"

#include "deai/cbor.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "host/base/banned.h"

/* ---- errors ---- */

static const char *type_of(int32_t http_status) {
  if (http_status == 429) return "requests";
  return http_status >= 500 ? "server_error" : "invalid_request_error";
}

int32_t answer_fail(answer_error *error, int32_t http_status, const char *code, const char *param,
                    const char *format, ...) {
  *error = (answer_error){.http_status = http_status, .type = type_of(http_status), .code = code};
  (void)snprintf(error->param, sizeof error->param, "%s", param != NULL ? param : "");
  va_list list;
  va_start(list, format);
  (void)vsnprintf(error->message, sizeof error->message, format, list);
  va_end(list);
  error->retry = http_status == 429 || http_status == 503;
  return DEAI_EINVAL;
}

/* http_of maps what a provider ended with; what is neither the client's fault nor load is 500. */
static int32_t http_of(int32_t status) {
  switch (status) {
  case DEAI_EINVAL:
  case DEAI_ETOOLARGE:
    return 400;
  case DEAI_EBUSY:
  case DEAI_EAGAIN:
    return 429;
  case DEAI_EPAYMENT:
    return 402;
  case DEAI_ENOPROVIDER:
  case DEAI_ENOMEM:
    return 503;
  case DEAI_ETIMEDOUT:
    return 504;
  default:
    return 500;
  }
}

void answer_fail_status(answer_error *error, int32_t status, deai_str why) {
  const char *code = NULL;
  int len = why.len > 400 ? 400 : (int)why.len;
  if (status == DEAI_EBUSY || status == DEAI_EAGAIN) code = "rate_limit_exceeded";
  if (status == DEAI_EPAYMENT) code = "payment_required";
  (void)answer_fail(error, http_of(status), code, NULL, "%s%s%.*s", deai_status_text(status),
                    len > 0 ? ": " : "", len, len > 0 ? why.ptr : "");
}

/* message_str cuts a message that ends inside a character, so that the JSON is UTF-8. */
static deai_str message_str(const char *message) {
  deai_str text = deai_str_of(message);
  for (uint32_t cut = 0; cut < 4 && text.len > 0; cut++) {
    if (deai_utf8_check(text) != 0) return text;
    text.len--;
  }
  return deai_utf8_check(text) != 0 ? text : deai_str_of("the reason is no UTF-8");
}

void answer_write_error(answer_text *text, const answer_error *error) {
  answer_text_add(text, "{\"error\":{\"message\":");
  answer_text_json(text, message_str(error->message));
  answer_text_add(text, ",\"type\":");
  answer_text_json(text, deai_str_of(error->type));
  answer_text_add(text, ",\"param\":");
  if (error->param[0] == 0)
    answer_text_add(text, "null");
  else
    answer_text_json(text, message_str(error->param));
  answer_text_add(text, ",\"code\":");
  if (error->code == NULL)
    answer_text_add(text, "null");
  else
    answer_text_json(text, deai_str_of(error->code));
  answer_text_add(text, "}}");
}

void answer_write_error_event(answer_text *text, const answer_error *error) {
  answer_text_add(text, "data: ");
  answer_write_error(text, error);
  answer_text_add(text, "\n\n");
}

/* ---- log probabilities ---- */

/* token_text writes the text of item of row as the Caveats say; true when it is the real one. */
static bool token_text(answer_text *text, const answer_rows *rows, const answer_row *row,
                       const deai_lm_logprob *item) {
  if (item->id == row->items[0].id && row->text_len > 0) {
    answer_text_json(text, (deai_str){rows->text.ptr + row->text_at, row->text_len});
    return true;
  }
  char name[32];
  (void)snprintf(name, sizeof name, "token_id:%" PRIu64, item->id);
  answer_text_json(text, deai_str_of(name));
  return false;
}

static void token_bytes(answer_text *text, const answer_rows *rows, const answer_row *row) {
  answer_text_add(text, "[");
  for (uint32_t i = 0; i < row->text_len; i++) {
    if (i > 0) answer_text_add(text, ",");
    answer_text_uint(text, (uint8_t)rows->text.ptr[row->text_at + i]);
  }
  answer_text_add(text, "]");
}

static void chat_token(answer_text *text, const answer_rows *rows, const answer_row *row,
                       const deai_lm_logprob *item) {
  answer_text_add(text, "{\"token\":");
  bool known = token_text(text, rows, row, item);
  answer_text_add(text, ",\"logprob\":");
  answer_text_micro(text, item->logprob);
  answer_text_add(text, ",\"bytes\":");
  if (known)
    token_bytes(text, rows, row);
  else
    answer_text_add(text, "null");
}

/* shown returns how many alternatives of row are written; items[0] is the chosen token. */
static uint32_t shown(const answer_rows *rows, const answer_row *row) {
  uint32_t others = row->count > 0 ? row->count - 1 : 0;
  return others < rows->top_max ? others : rows->top_max;
}

static void chat_rows(answer_text *text, const answer_rows *rows) {
  answer_text_add(text, "{\"content\":[");
  for (uint64_t i = 0; i < rows->count; i++) {
    const answer_row *row = &rows->items[i];
    if (i > 0) answer_text_add(text, ",");
    chat_token(text, rows, row, &row->items[0]);
    answer_text_add(text, ",\"top_logprobs\":[");
    for (uint32_t j = 0; j < shown(rows, row); j++) {
      if (j > 0) answer_text_add(text, ",");
      chat_token(text, rows, row, &row->items[1 + j]);
      answer_text_add(text, "}");
    }
    answer_text_add(text, "]}");
  }
  answer_text_add(text, "],\"refusal\":null}");
}

static void text_top(answer_text *text, const answer_rows *rows, const answer_row *row) {
  answer_text_add(text, "{");
  for (uint32_t j = 0; j < shown(rows, row); j++) {
    if (j > 0) answer_text_add(text, ",");
    (void)token_text(text, rows, row, &row->items[1 + j]);
    answer_text_add(text, ":");
    answer_text_micro(text, row->items[1 + j].logprob);
  }
  answer_text_add(text, "}");
}

static void text_rows(answer_text *text, const answer_rows *rows) {
  answer_text_add(text, "{\"tokens\":[");
  for (uint64_t i = 0; i < rows->count; i++) {
    if (i > 0) answer_text_add(text, ",");
    (void)token_text(text, rows, &rows->items[i], &rows->items[i].items[0]);
  }
  answer_text_add(text, "],\"token_logprobs\":[");
  for (uint64_t i = 0; i < rows->count; i++) {
    if (i > 0) answer_text_add(text, ",");
    answer_text_micro(text, rows->items[i].items[0].logprob);
  }
  answer_text_add(text, "],\"top_logprobs\":[");
  for (uint64_t i = 0; i < rows->count; i++) {
    if (i > 0) answer_text_add(text, ",");
    text_top(text, rows, &rows->items[i]);
  }
  answer_text_add(text, "],\"text_offset\":[");
  for (uint64_t i = 0; i < rows->count; i++) {
    if (i > 0) answer_text_add(text, ",");
    answer_text_uint(text, rows->items[i].offset);
  }
  answer_text_add(text, "]}");
}

/* write_rows writes the value of "logprobs" and what follows it in every choice. */
static void write_rows(answer_text *text, bool chat, const answer_choice *choice) {
  answer_text_add(text, ",\"logprobs\":");
  if (choice->rows == NULL || choice->rows->count == 0)
    answer_text_add(text, "null");
  else if (chat)
    chat_rows(text, choice->rows);
  else
    text_rows(text, choice->rows);
  answer_text_add(text, ",\"finish_reason\":");
  if (choice->finish == NULL)
    answer_text_add(text, "null");
  else
    answer_text_json(text, deai_str_of(choice->finish));
  answer_text_add(text, "}");
}

/* ---- answers ---- */

static void write_begin(answer_text *text, const answer_shape *shape, const char *chat_object) {
  answer_text_add(text, "{\"id\":");
  answer_text_json(text, deai_str_of(shape->id));
  answer_text_add(text, ",\"object\":");
  answer_text_json(text, deai_str_of(shape->chat ? chat_object : "text_completion"));
  answer_text_add(text, ",\"created\":");
  answer_text_uint(text, (uint64_t)shape->created);
  answer_text_add(text, ",\"model\":");
  answer_text_json(text, shape->model);
  answer_text_add(text, ",\"choices\":[");
}

static void write_usage(answer_text *text, const answer_usage *usage) {
  answer_text_add(text, "\"usage\":{\"prompt_tokens\":");
  answer_text_uint(text, usage->prompt_tokens);
  answer_text_add(text, ",\"completion_tokens\":");
  answer_text_uint(text, usage->completion_tokens);
  answer_text_add(text, ",\"total_tokens\":");
  answer_text_uint(text, usage->prompt_tokens + usage->completion_tokens);
  answer_text_add(text, "}");
}

static void write_choice(answer_text *text, bool chat, const answer_choice *choice) {
  answer_text_add(text, "{\"index\":");
  answer_text_uint(text, choice->index);
  answer_text_add(text, chat ? ",\"message\":{\"role\":\"assistant\",\"content\":" : ",\"text\":");
  answer_text_json(text, choice->text);
  if (chat) answer_text_add(text, ",\"refusal\":null}");
  write_rows(text, chat, choice);
}

void answer_write_answer(answer_text *text, const answer_shape *shape, const answer_choice *choices,
                         uint32_t count, const answer_usage *usage) {
  write_begin(text, shape, "chat.completion");
  for (uint32_t i = 0; i < count; i++) {
    if (i > 0) answer_text_add(text, ",");
    write_choice(text, shape->chat, &choices[i]);
  }
  answer_text_add(text, "],");
  write_usage(text, usage);
  answer_text_add(text, "}");
}

static void write_delta(answer_text *text, const answer_choice *choice) {
  answer_text_add(text, ",\"delta\":{");
  if (choice->role) answer_text_add(text, "\"role\":\"assistant\",");
  if (choice->role || choice->text.len > 0) {
    answer_text_add(text, "\"content\":");
    answer_text_json(text, choice->text);
  }
  answer_text_add(text, "}");
}

void answer_write_chunk(answer_text *text, const answer_shape *shape, const answer_choice *choice) {
  answer_text_add(text, "data: ");
  write_begin(text, shape, "chat.completion.chunk");
  answer_text_add(text, "{\"index\":");
  answer_text_uint(text, choice->index);
  if (shape->chat) {
    write_delta(text, choice);
  } else {
    answer_text_add(text, ",\"text\":");
    answer_text_json(text, choice->text);
  }
  write_rows(text, shape->chat, choice);
  answer_text_add(text, shape->include_usage ? "],\"usage\":null}\n\n" : "]}\n\n");
}

void answer_write_usage(answer_text *text, const answer_shape *shape, const answer_usage *usage) {
  answer_text_add(text, "data: ");
  write_begin(text, shape, "chat.completion.chunk");
  answer_text_add(text, "],");
  write_usage(text, usage);
  answer_text_add(text, "}\n\n");
}

/* ---- models ---- */

void answer_write_model(answer_text *text, const answer_listed *model) {
  answer_text_add(text, "{\"id\":");
  answer_text_json(text, model->id);
  answer_text_add(text, ",\"object\":\"model\",\"created\":");
  answer_text_uint(text, (uint64_t)model->created);
  answer_text_add(text, ",\"owned_by\":\"deai\",\"cid\":");
  answer_text_json(text, model->cid);
  answer_text_add(text, ",\"context_length\":");
  answer_text_uint(text, model->ctx);
  answer_text_add(text, ",\"price_in\":");
  answer_text_uint(text, model->price_in);
  answer_text_add(text, ",\"price_out\":");
  answer_text_uint(text, model->price_out);
  answer_text_add(text, ",\"chat_template\":");
  if (model->chat != NULL)
    answer_text_json(text, deai_str_of(model->chat));
  else
    answer_text_add(text, "null");
  for (uint64_t at = 0; at + DEAI_KEY_BYTES <= model->offered.len; at += DEAI_KEY_BYTES) {
    answer_text_add(text, at > 0 ? ",\"" : ",\"nodes\":[\"");
    answer_hex(text, deai_bytes_of(model->offered.ptr + at, DEAI_KEY_BYTES));
    answer_text_add(text, "\"");
  }
  answer_text_add(text, model->offered.len > 0 ? "]}" : "}");
}

void answer_write_models(answer_text *text, const answer_listed *models, uint32_t count) {
  answer_text_add(text, "{\"object\":\"list\",\"data\":[");
  for (uint32_t i = 0; i < count; i++) {
    if (i > 0) answer_text_add(text, ",");
    answer_write_model(text, &models[i]);
  }
  answer_text_add(text, "]}");
}
