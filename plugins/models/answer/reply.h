#ifndef DEAI_PLUGINS_MODELS_ANSWER_REPLY_H
#define DEAI_PLUGINS_MODELS_ANSWER_REPLY_H

#include "text.h"

#include "deai/contracts/lm.h"

#include <stdbool.h>

/* What the OpenAI API answers with, written as JSON: errors, chat completions, text completions,
   their chunks in a stream, and the list of models. Writers only; nothing here knows of calls.

   Source   the public API reference (OpenAPI 2.3.0); tests/vectors/openai
   Threads  [any]
   Memory   Everything is appended to the answer_text of the caller.
   Caveats  Log probabilities: a provider tells ids, not the text of every token. The chosen token
            carries the text that went out with it when it came alone in its part, else, and for
            all alternatives, its text is "token_id:N" and its bytes are null. */

typedef struct answer_error {
  int32_t http_status;
  const char *type; /* "invalid_request_error", ...; static text */
  const char *code; /* static text, or NULL = null */
  char param[96];   /* "" = null */
  char message[512];
  const char *allow; /* 405: the methods allowed; static text */
  bool retry;        /* a header says: try again after a second */
} answer_error;

/* What all chunks and the whole of one answer have in common. */
typedef struct answer_shape {
  bool chat;
  bool include_usage; /* stream: chunks carry "usage": null, one more carries the usage */
  char id[48];
  int64_t created; /* seconds since 1970, by the wall clock */
  deai_str model;
} answer_shape;

/* A token with its log probabilities. */
typedef struct answer_row {
  uint64_t text_at;  /* its text lies there in the text of the choice (or of the part) */
  uint32_t text_len; /* 0 = unknown or none */
  uint32_t offset;   /* characters of the choice's text before it */
  uint32_t count;    /* of items */
  deai_lm_logprob items[DEAI_LM_LOGPROBS_MAX + 1]; /* the chosen one first */
} answer_row;

typedef struct answer_rows {
  const answer_row *items;
  uint64_t count;
  deai_str text;    /* what text_at points into */
  uint32_t top_max; /* alternatives shown */
} answer_rows;

typedef struct answer_choice {
  uint32_t index;
  deai_str text;
  const char *finish;      /* "stop", "length", or NULL = null */
  const answer_rows *rows; /* NULL = no log probabilities asked for */
  bool role;               /* chat stream: the first chunk of this choice */
} answer_choice;

typedef struct answer_usage {
  uint64_t prompt_tokens;
  uint64_t completion_tokens;
} answer_usage;

/* What the list of models says of one. */
typedef struct answer_listed {
  deai_str id;
  deai_str cid; /* as text */
  int64_t created;
  uint64_t ctx;
  uint64_t price_in;
  uint64_t price_out;
  const char *chat;   /* the renderer of its chat template, or NULL */
  deai_bytes offered; /* keys of the nodes that offer it, empty = not said */
} answer_listed;

/* answer_fail fills error like snprintf and returns DEAI_EINVAL, so that a refusal is one
   statement. param may be NULL; type follows from http_status. */
int32_t answer_fail(answer_error *error, int32_t http_status, const char *code, const char *param,
                    const char *format, ...) __attribute__((format(printf, 5, 6)));

/* answer_fail_status fills error from a deai_status and its text, as a provider sent them. */
void answer_fail_status(answer_error *error, int32_t status, deai_str why);

/* answer_write_error writes the error body. */
void answer_write_error(answer_text *text, const answer_error *error);

/* answer_write_answer writes a whole answer of count choices. */
void answer_write_answer(answer_text *text, const answer_shape *shape, const answer_choice *choices,
                         uint32_t count, const answer_usage *usage);

/* answer_write_chunk writes one server-sent event with a piece of one choice: "data: {...}\n\n". */
void answer_write_chunk(answer_text *text, const answer_shape *shape, const answer_choice *choice);

/* answer_write_usage writes the event that ends a stream with include_usage. */
void answer_write_usage(answer_text *text, const answer_shape *shape, const answer_usage *usage);

/* answer_write_error_event writes an error inside a stream. */
void answer_write_error_event(answer_text *text, const answer_error *error);

/* answer_write_model writes one model object. */
void answer_write_model(answer_text *text, const answer_listed *model);

/* answer_write_models writes the list object of count models. */
void answer_write_models(answer_text *text, const answer_listed *models, uint32_t count);

#endif
