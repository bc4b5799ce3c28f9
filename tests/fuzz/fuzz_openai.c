/* Fuzz target of the OpenAI request reader: the first byte chooses chat or text; what is taken must
   keep within its limits, what is refused must say so in UTF-8 with a status of 400, 413 or 503. */
#include "plugins/models/answer/request.h"

#include "deai/cbor.h"

#include <stdlib.h>

#include "host/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_taken(const answer_request *request) {
  if (request->n < 1 || request->n > ANSWER_N_MAX || request->model.len == 0) abort();
  if (request->prompt_count < 1 || request->n * request->prompt_count > ANSWER_CHOICES_MAX) abort();
  if (request->temperature > 2000000 || request->top_p < 1 || request->top_p > 1000000) abort();
  if (request->stop_count > ANSWER_STOPS_MAX || request->top_logprobs > 20) abort();
  for (uint32_t i = 0; i < request->message_count; i++)
    if (deai_utf8_check(request->messages[i].content) == 0) abort();
}

static void check_refused(const answer_error *error) {
  int32_t http = error->http_status;
  if (http != 400 && http != 413 && http != 503) abort();
  answer_text text = {0};
  answer_write_error(&text, error);
  if (text.status == DEAI_OK && deai_utf8_check((deai_str){(const char *)text.ptr, text.len}) == 0)
    abort();
  answer_text_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  answer_request request;
  answer_error error;
  if (size == 0) return 0;
  deai_bytes body = deai_bytes_of(data + 1, size - 1);
  if (answer_request_parse(data[0] % 2 == 0, body, &request, &error) == DEAI_OK)
    check_taken(&request);
  else
    check_refused(&error);
  answer_request_free(&request);
  return 0;
}
