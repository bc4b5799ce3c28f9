#include "call.h"

#include "inst.h"

#include "deai/contracts/rank.h"
#include "deai/contracts/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "host/base/banned.h"

struct answer_link {
  answer_link *next;
  uint64_t ticket;
  answer_part_fn *part; /* NULL = forgotten */
  void *user;
};

int32_t answer_random(void *out, size_t len) {
  uint8_t *at = out;
  while (len > 0) {
    ssize_t got = getrandom(at, len, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return DEAI_EIO;
    at += got;
    len -= (size_t)got;
  }
  return DEAI_OK;
}

/* open_call opens a call whose one part is {args, body} and links it. */
static int32_t open_call(deai_inst *inst, const deai_call_options *options, deai_bytes args,
                         deai_bytes body, const answer_ask *ask, uint64_t *ticket_out) {
  answer_link *link = calloc(1, sizeof *link);
  if (link == NULL) return DEAI_ENOMEM;
  deai_part first = {.size = (uint32_t)sizeof first,
                     .flags = DEAI_PART_END,
                     .args = args,
                     .body = body,
                     .attachment = -1};
  int32_t status = inst->host->call(inst->ctx, options, &first, &link->ticket);
  if (status != DEAI_OK) {
    free(link);
    return status;
  }
  link->part = ask->part;
  link->user = ask->user;
  link->next = inst->links;
  inst->links = link;
  *ticket_out = link->ticket;
  return DEAI_OK;
}

static deai_call_options options_of(const deai_inst *inst, const answer_ask *ask,
                                    const char *method, uint64_t time_ms) {
  return (deai_call_options){.size = (uint32_t)sizeof(deai_call_options),
                             .service = deai_str_of(DEAI_LM_SERVICE),
                             .method = deai_str_of(method),
                             .time_ms = time_ms,
                             .parent = ask->parent,
                             .job = ask->job,
                             .avoid = ask->avoid,
                             .avoid_count = ask->avoid_count,
                             .flags = ask->flags | (inst->local_only ? DEAI_CALL_HERE : 0),
                             .model = ask->model};
}

int32_t answer_ask_models(deai_inst *inst, const answer_ask *ask, uint64_t *ticket_out) {
  static const uint8_t empty_map = 0xa0;
  deai_call_options options = options_of(inst, ask, "models", ANSWER_LIST_MS);
  return open_call(inst, &options, deai_bytes_of(&empty_map, 1), (deai_bytes){NULL, 0}, ask,
                   ticket_out);
}

/* encode_head writes value into fresh memory (free it). */
static int32_t encode_head(deai_inst *inst, const deai_table *table, const void *value,
                           uint8_t **head_out, uint64_t *len_out) {
  char err[DEAI_ERR_CAP] = "";
  uint8_t *head = malloc(DEAI_HEAD_MAX);
  if (head == NULL) return DEAI_ENOMEM;
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){head, DEAI_HEAD_MAX});
  int32_t status = deai_encode(table, value, &writer, err, sizeof err);
  if (status != DEAI_OK) {
    deai_text(inst->host, inst->ctx, DEAI_LOG_WARN, "%s", err[0] != 0 ? err : "a head is too long");
    free(head);
    return status;
  }
  *head_out = head;
  *len_out = writer.len;
  return DEAI_OK;
}

int32_t answer_ask_encode(deai_inst *inst, const answer_ask *ask, const lm_part *parts,
                          size_t part_count, deai_bytes text, uint64_t *ticket_out) {
  uint8_t *head = NULL;
  uint64_t len = 0;
  if (text.len > DEAI_BODY_MAX) return DEAI_ETOOLARGE;
  deai_lm_text *rows = calloc(part_count + 1, sizeof *rows);
  if (rows == NULL) return DEAI_ENOMEM;
  for (size_t i = 0; i < part_count; i++)
    rows[i] = (deai_lm_text){.len = parts[i].text.len, .special = parts[i].special};
  deai_lm_encode args = {.model = ask->model, .parts = {rows, part_count}};
  int32_t status = encode_head(inst, &deai_lm_encode_table, &args, &head, &len);
  if (status == DEAI_OK) {
    deai_call_options options = options_of(inst, ask, "encode", ANSWER_ENCODE_MS);
    status = open_call(inst, &options, deai_bytes_of(head, len), text, ask, ticket_out);
    free(head);
  }
  free(rows);
  return status;
}

int32_t answer_ask_tokens(deai_inst *inst, const answer_ask *ask, const char *method,
                          const deai_lm_job *job, deai_bytes body, uint64_t *ticket_out) {
  uint8_t *head = NULL;
  uint64_t len = 0;
  if (body.len > DEAI_BODY_MAX) return DEAI_ETOOLARGE;
  int32_t status = encode_head(inst, &deai_lm_job_table, job, &head, &len);
  if (status != DEAI_OK) return status;
  deai_call_options options = options_of(inst, ask, method, ANSWER_CALL_MS);
  options.units = job->ids + job->forced;
  status = open_call(inst, &options, deai_bytes_of(head, len), body, ask, ticket_out);
  free(head);
  return status;
}

void answer_ask_rank(deai_inst *inst, deai_bytes args) {
  uint64_t ticket = DEAI_NO_TICKET;
  answer_ask ask = {.parent = DEAI_NO_TICKET};
  deai_call_options options = {.size = (uint32_t)sizeof options,
                               .service = deai_str_of(DEAI_RANK_SERVICE),
                               .method = deai_str_of("observe"),
                               .time_ms = ANSWER_LIST_MS,
                               .flags = DEAI_CALL_HERE};
  int32_t status = open_call(inst, &options, args, (deai_bytes){NULL, 0}, &ask, &ticket);
  if (status != DEAI_OK)
    deai_text(inst->host, inst->ctx, DEAI_LOG_DEBUG, "an observation was not sent: %s",
              deai_status_text(status));
}

static answer_link **find(deai_inst *inst, uint64_t ticket) {
  answer_link **at = &inst->links;
  while (*at != NULL && (*at)->ticket != ticket)
    at = &(*at)->next;
  return at;
}

int32_t answer_call_part(deai_inst *inst, uint64_t ticket, const deai_part *part) {
  answer_link *link = *find(inst, ticket);
  int32_t status = DEAI_OK;
  if (link != NULL && link->part != NULL) status = link->part(link->user, part);
  if (status == DEAI_EAGAIN) return status;
  if (part->attachment >= 0) (void)close(part->attachment);
  answer_link **at = find(inst, ticket); /* the function may have changed the list */
  if ((part->flags & DEAI_PART_END) != 0 && *at != NULL) {
    link = *at;
    *at = link->next;
    free(link);
  }
  return DEAI_OK;
}

void answer_call_forget(deai_inst *inst, uint64_t ticket) {
  answer_link *link = *find(inst, ticket);
  if (link == NULL) return;
  link->part = NULL;
  link->user = NULL;
  inst->host->cancel(inst->ctx, ticket);
}

void answer_calls_free(deai_inst *inst) {
  while (inst->links != NULL) {
    answer_link *link = inst->links;
    inst->links = link->next;
    free(link);
  }
}
