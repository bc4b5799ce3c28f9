#include "output.h"

#include "deai/contracts/http.h"
#include "deai/contracts/wire.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

struct answer_piece {
  answer_piece *next;
  bool head;
  uint64_t len;
  uint8_t bytes[];
};

int32_t answer_output_init(answer_output *output, deai_inst *inst, uint64_t ticket) {
  uint8_t id[DEAI_ID_BYTES];
  *output = (answer_output){.inst = inst, .ticket = ticket};
  output->last = &output->first;
  int32_t status = answer_random(id, sizeof id);
  if (status != DEAI_OK) return status;
  size_t at = (size_t)snprintf(output->request_id, sizeof output->request_id, "req_");
  for (size_t i = 0; i < sizeof id; i++)
    at += (size_t)snprintf(output->request_id + at, sizeof output->request_id - at, "%02x", id[i]);
  return DEAI_OK;
}

bool answer_output_waits(const answer_output *output) {
  return output->first != NULL;
}

static void drop_queue(answer_output *output) {
  while (output->first != NULL) {
    answer_piece *piece = output->first;
    output->first = piece->next;
    free(piece);
  }
  output->last = &output->first;
}

void answer_output_gone(answer_output *output, int32_t status) {
  if (output->over) return;
  drop_queue(output);
  output->over = true;
  (void)deai_reply_end(output->inst->host, output->inst->ctx, output->ticket, status,
                       (deai_bytes){NULL, 0}, NULL);
}

/* flush sends what is queued until the host says EAGAIN, then the END when nothing more comes. */
static void flush(answer_output *output) {
  const deai_host *host = output->inst->host;
  while (output->first != NULL && !output->over) {
    answer_piece *piece = output->first;
    deai_part part = {.size = (uint32_t)sizeof part, .attachment = -1};
    if (piece->head)
      part.args = deai_bytes_of(piece->bytes, piece->len);
    else
      part.body = deai_bytes_of(piece->bytes, piece->len);
    int32_t status = host->reply(output->inst->ctx, output->ticket, &part);
    if (status == DEAI_EAGAIN) return;
    if (status != DEAI_OK) {
      deai_text(host, output->inst->ctx, DEAI_LOG_DEBUG, "%s: an answer was cut: %s",
                output->request_id, deai_status_text(status));
      answer_output_gone(output, status);
      return;
    }
    output->first = piece->next;
    if (output->first == NULL) output->last = &output->first;
    free(piece);
  }
  if (output->closing) answer_output_gone(output, DEAI_OK);
}

static void queue(answer_output *output, bool head, const uint8_t *ptr, uint64_t len) {
  if (output->over) return;
  answer_piece *piece = malloc(sizeof *piece + (size_t)len);
  if (piece == NULL) {
    answer_output_gone(output, DEAI_ENOMEM);
    return;
  }
  *piece = (answer_piece){.head = head, .len = len};
  memcpy(piece->bytes, ptr, (size_t)len);
  *output->last = piece;
  output->last = &piece->next;
  flush(output);
}

/* ---- headers ---- */

void answer_headers_add(answer_headers *headers, const char *name, deai_bytes value) {
  if (headers->room == NULL) headers->room = malloc(ANSWER_HEADER_BYTES);
  if (headers->room == NULL || headers->count == ANSWER_HEADERS_MAX ||
      value.len > DEAI_HTTP_VALUE_MAX || value.len > ANSWER_HEADER_BYTES - headers->used) {
    headers->left_out++;
    return;
  }
  char *at = headers->room + headers->used;
  if (value.len > 0) memcpy(at, value.ptr, (size_t)value.len);
  headers->used += value.len;
  headers->items[headers->count++] =
      (deai_text_pair){.key = deai_str_of(name), .value = {at, value.len}};
}

void answer_headers_text(answer_headers *headers, const char *name, const char *value) {
  answer_headers_add(headers, name, deai_bytes_of(value, strlen(value)));
}

void answer_headers_free(answer_headers *headers) {
  free(headers->room);
  *headers = (answer_headers){0};
}

/* by_key is the order of map keys: length, then bytes. */
static int by_key(const void *a, const void *b) {
  const deai_text_pair *one = a;
  const deai_text_pair *two = b;
  if (one->key.len != two->key.len) return one->key.len < two->key.len ? -1 : 1;
  return memcmp(one->key.ptr, two->key.ptr, (size_t)one->key.len);
}

void answer_output_head(answer_output *output, int32_t http_status, answer_headers *headers) {
  char err[DEAI_ERR_CAP] = "";
  const deai_host *host = output->inst->host;
  answer_headers_text(headers, "x-request-id", output->request_id);
  if (headers->left_out > 0)
    deai_text(host, output->inst->ctx, DEAI_LOG_WARN,
              "%s: %u headers did not fit and were left out", output->request_id,
              headers->left_out);
  qsort(headers->items, headers->count, sizeof headers->items[0], by_key);
  deai_http_answer answer = {.h = {headers->items, headers->count},
                             .status = (uint64_t)http_status};
  uint8_t *room = malloc(DEAI_HEAD_MAX);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, room != NULL ? DEAI_HEAD_MAX : 0});
  int32_t status = deai_encode(&deai_http_answer_table, &answer, &writer, err, sizeof err);
  output->head_sent = true;
  if (status == DEAI_OK) {
    queue(output, true, room, writer.len);
  } else {
    deai_text(host, output->inst->ctx, DEAI_LOG_ERROR, "%s: %s", output->request_id, err);
    answer_output_gone(output, room == NULL ? DEAI_ENOMEM : DEAI_EINTERNAL);
  }
  free(room);
}

/* ---- bodies ---- */

void answer_output_body(answer_output *output, deai_bytes bytes) {
  for (uint64_t at = 0; at < bytes.len; at += ANSWER_OUTPUT_PART) {
    uint64_t left = bytes.len - at;
    queue(output, false, bytes.ptr + at, left < ANSWER_OUTPUT_PART ? left : ANSWER_OUTPUT_PART);
  }
}

void answer_output_close(answer_output *output) {
  output->closing = true;
  if (!output->over) flush(output);
}

void answer_output_json(answer_output *output, int32_t http_status, answer_headers *headers,
                        const answer_text *body) {
  if (body->status != DEAI_OK) {
    answer_output_gone(output, body->status);
    return;
  }
  answer_headers_text(headers, "content-type", "application/json");
  answer_output_head(output, http_status, headers);
  answer_output_body(output, answer_text_bytes(body));
  answer_output_close(output);
}

void answer_output_error(answer_output *output, const answer_error *error) {
  answer_text body = {0};
  answer_headers headers = {0};
  if (output->closing || output->over) return;
  if (output->head_sent) {
    answer_write_error_event(&body, error);
    answer_output_body(output, answer_text_bytes(&body));
    answer_output_close(output);
  } else {
    answer_write_error(&body, error);
    if (error->retry) answer_headers_text(&headers, "retry-after", "1");
    if (error->http_status == 405) answer_headers_text(&headers, "allow", error->allow);
    answer_output_json(output, error->http_status, &headers, &body);
  }
  answer_headers_free(&headers);
  answer_text_free(&body);
}

void answer_output_drain(answer_output *output) {
  if (!output->over) flush(output);
}

void answer_output_free(answer_output *output) {
  drop_queue(output);
}
