#ifndef DEAI_PLUGINS_MODELS_ANSWER_REQUEST_H
#define DEAI_PLUGINS_MODELS_ANSWER_REQUEST_H

#include "reply.h"

#include "plugins/compute/lm/template.h"

#include <jansson.h>

/* The body of POST /v1/chat/completions and /v1/completions as a checked struct.

     bytes --JSON, no duplicate keys--> each key by its table row --> struct
                                        unknown key, wrong type, out of range --> answer_error

   Null    stands for "not given", as in the API.
   Taken   chat: model messages max_tokens max_completion_tokens n stop stream stream_options seed
           temperature top_p logprobs top_logprobs response_format(text) user metadata store and
           some labels without effect; text: model prompt(text, texts, ids, lists of ids) suffix("")
           echo best_of(= n) logprobs(0..5).
   Refused what would change the answer and is not there: tools, functions, penalties other than 0,
           logit_bias, other response formats, parts of content that are no text.
   Numbers temperature and top_p are read from the digits of the text (decimal.h). top_p 0 is taken
           as 10^-6: the likeliest token alone.
   Threads [any]
   Memory  An answer_request owns everything it points to; answer_request_free frees it.
   Limits  REQUEST_..._MAX below; the body is at most DEAI_BODY_MAX bytes. */

#define ANSWER_BODY_MAX     1048576u
#define ANSWER_MESSAGES_MAX 800u /* 5 parts each in lm-encode, which takes 4,096 */
#define ANSWER_PROMPTS_MAX  32u
#define ANSWER_N_MAX        8u
#define ANSWER_CHOICES_MAX  32u /* prompts x n */
#define ANSWER_STOPS_MAX    4u
#define ANSWER_STOP_BYTES   256u
#define ANSWER_TEXT_TOKENS  16u /* max_tokens of a text completion when it is not given */

typedef struct answer_prompt {
  deai_str text;       /* when ids is NULL */
  const uint32_t *ids; /* the client's own ids, or NULL */
  uint32_t id_count;
} answer_prompt;

typedef struct answer_request {
  bool chat;
  deai_str model;
  lm_message *messages; /* chat */
  uint32_t message_count;
  answer_prompt prompts[ANSWER_PROMPTS_MAX]; /* text */
  uint32_t prompt_count;                     /* chat: 1, without a text of its own */
  uint32_t n;
  uint32_t max; /* output tokens; 0 = as many as the context holds */
  bool max_given;
  uint64_t temperature; /* 10^-6 */
  uint64_t top_p;       /* 10^-6 */
  bool has_seed;
  uint64_t seed;
  deai_bytes stops[ANSWER_STOPS_MAX];
  uint32_t stop_count;
  bool logprobs;
  uint32_t top_logprobs;
  bool stream;
  bool include_usage;
  bool echo;
  /* what the texts above lie in */
  json_t *json;
  char *joined;
  size_t joined_len;
  uint32_t *ids;
  size_t id_count;
} answer_request;

/* answer_request_parse reads body. DEAI_EINVAL with error filled when it is refused; the request is
   then empty. */
DEAI_MUST_CHECK int32_t answer_request_parse(bool chat, deai_bytes body,
                                             answer_request *request_out, answer_error *error);

/* answer_request_free frees what parse took; a zeroed request is fine. */
void answer_request_free(answer_request *request);

#endif
