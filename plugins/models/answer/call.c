#include "call.h"

#include "inst.h"

#include "deai/contracts/ledger.h"
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
                             .provider = ask->provider,
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

/* encode_head appends value as CBOR. */
static void encode_head(deai_inst *inst, const deai_table *table, const void *value,
                        answer_text *out) {
  char err[DEAI_ERR_CAP] = "";
  uint8_t *head = malloc(DEAI_HEAD_MAX);
  int32_t status = head == NULL ? DEAI_ENOMEM : DEAI_OK;
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){head, DEAI_HEAD_MAX});
  if (status == DEAI_OK) status = deai_encode(table, value, &writer, err, sizeof err);
  if (status == DEAI_OK) answer_text_put(out, head, (size_t)writer.len);
  free(head);
  if (status == DEAI_OK) return;
  if (out->status == DEAI_OK) out->status = status;
  deai_text(inst->host, inst->ctx, DEAI_LOG_WARN, "%s", err[0] != 0 ? err : "a head is too long");
}

void answer_args_encode(deai_inst *inst, deai_bytes model, const lm_part *parts, size_t part_count,
                        answer_text *args_out) {
  deai_lm_text *rows = calloc(part_count + 1, sizeof *rows);
  if (rows == NULL) {
    args_out->status = DEAI_ENOMEM;
    return;
  }
  for (size_t i = 0; i < part_count; i++)
    rows[i] = (deai_lm_text){.len = parts[i].text.len, .special = parts[i].special};
  deai_lm_encode args = {.model = model, .parts = {rows, part_count}};
  encode_head(inst, &deai_lm_encode_table, &args, args_out);
  free(rows);
}

void answer_args_tokens(deai_inst *inst, const deai_lm_job *job, answer_text *args_out) {
  encode_head(inst, &deai_lm_job_table, job, args_out);
}

int32_t answer_ask_encode(deai_inst *inst, const answer_ask *ask, deai_bytes args, deai_bytes text,
                          uint64_t *ticket_out) {
  if (text.len > DEAI_BODY_MAX) return DEAI_ETOOLARGE;
  deai_call_options options = options_of(inst, ask, "encode", ANSWER_ENCODE_MS);
  return open_call(inst, &options, args, text, ask, ticket_out);
}

int32_t answer_ask_tokens(deai_inst *inst, const answer_ask *ask, const char *method,
                          deai_bytes args, deai_bytes body, uint64_t *ticket_out) {
  if (body.len > DEAI_BODY_MAX) return DEAI_ETOOLARGE;
  deai_call_options options = options_of(inst, ask, method, ANSWER_CALL_MS);
  options.units = body.len / sizeof(uint32_t);
  return open_call(inst, &options, args, body, ask, ticket_out);
}

/* link_add notes who gets the parts of ticket. */
static int32_t link_add(deai_inst *inst, const answer_ask *ask, uint64_t ticket) {
  answer_link *link = calloc(1, sizeof *link);
  if (link == NULL) return DEAI_ENOMEM;
  *link =
      (answer_link){.ticket = ticket, .part = ask->part, .user = ask->user, .next = inst->links};
  inst->links = link;
  return DEAI_OK;
}

int32_t answer_ask_member(deai_inst *inst, const answer_ask *ask, const uint8_t key[DEAI_KEY_BYTES],
                          uint64_t *ticket_out) {
  answer_text args = {0};
  deai_ledger_query query = {.m = deai_str_of("registry/1"),
                             .n = deai_str_of("members"),
                             .k = deai_bytes_of(key, DEAI_KEY_BYTES)};
  encode_head(inst, &deai_ledger_query_table, &query, &args);
  int32_t status = args.status;
  if (status == DEAI_OK)
    status = inst->host->query(inst->ctx, answer_text_bytes(&args), ticket_out);
  if (status == DEAI_OK) status = link_add(inst, ask, *ticket_out);
  answer_text_free(&args);
  return status;
}

int32_t answer_ask_object(deai_inst *inst, const answer_ask *ask, deai_bytes worker,
                          deai_bytes auditor, uint64_t *ticket_out) {
  deai_signed packs[2];
  answer_text args = {0};
  int32_t status = deai_decode(&deai_signed_table, worker, &packs[0], NULL, NULL, 0);
  if (status == DEAI_OK)
    status = deai_decode(&deai_signed_table, auditor, &packs[1], NULL, NULL, 0);
  if (status != DEAI_OK) return status;
  deai_ledger_object object = {.receipts = {packs, 2}};
  encode_head(inst, &deai_ledger_object_table, &object, &args);
  deai_call_options options = {.size = (uint32_t)sizeof options,
                               .service = deai_str_of(DEAI_LEDGER_SERVICE),
                               .method = deai_str_of("object"),
                               .time_ms = ANSWER_OBJECT_MS,
                               .flags = DEAI_CALL_HERE};
  status = args.status;
  if (status == DEAI_OK)
    status =
        open_call(inst, &options, answer_text_bytes(&args), (deai_bytes){NULL, 0}, ask, ticket_out);
  answer_text_free(&args);
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
