#include "job.h"

#include "audit.h"
#include "explain.h"

#include "deai/cbor.h"
#include "deai/contracts/ledger.h"
#include "deai/contracts/wire.h"
#include "plugins/compute/lm/template.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "host/base/banned.h"

typedef enum job_state {
  JOB_MODELS,
  JOB_ENCODE,
  JOB_GENERATE,
  JOB_BUSY,
  JOB_AUDIT,
  JOB_OVER
} job_state;

/* What is left of one finished or running choice. */
typedef struct result {
  answer_text text;
  answer_text rows; /* answer_row items */
  const char *finish;
  answer_text receipt;    /* base64url */
  const char *audit;      /* NULL = not waited for */
  answer_verdict verdict; /* without the bytes it points to */
  answer_text file;       /* base64url, where the client wants to be explained */
  answer_text audit_file;
  answer_text others;       /* answer_other items: who did not serve, likewise */
  answer_text audit_others; /* and who did not audit */
  const char *chosen;       /* why the last provider was chosen */
  uint64_t first_ms;
} result;

struct answer_job {
  deai_inst *inst;
  answer_output *output;
  answer_request request;
  answer_wishes wishes;
  answer_model model;
  answer_shape shape;
  char model_id[ANSWER_CID_TEXT + DEAI_NAME_MAX];
  job_state state;
  void (*again)(answer_job *job); /* what JOB_BUSY repeats */
  uint32_t busy_tries;
  uint64_t ticket;                     /* of the call under way, or DEAI_NO_TICKET */
  answer_text ids[ANSWER_PROMPTS_MAX]; /* u32 little-endian each */
  uint32_t encoded;                    /* prompts whose ids are known */
  uint8_t encoders[ANSWER_PROMPTS_MAX][DEAI_KEY_BYTES];
  bool has_encoder[ANSWER_PROMPTS_MAX]; /* a node encoded that prompt */
  uint32_t choice;                      /* the running one: prompt x n + i */
  result *results;                      /* of every choice; a stream uses them one at a time */
  answer_usage usage;
  uint64_t paid; /* price of all receipts */
  bool has_price;
  /* the running choice */
  uint8_t id[DEAI_ID_BYTES]; /* job id of the call */
  uint64_t seed;
  answer_text tokens; /* output so far, u32 little-endian each */
  answer_text args;   /* of the call under way */
  uint64_t forced;    /* tokens that went with it */
  uint64_t given;     /* tokens of the provider at work */
  uint64_t chars;     /* of text so far */
  bool role_sent;
  bool broken; /* the provider breaks the contract: cancelled, its END is taken as lost */
  uint32_t resumes;
  uint8_t avoid[ANSWER_RESUMES_MAX + 1][DEAI_KEY_BYTES];
  int32_t avoid_status[ANSWER_RESUMES_MAX + 1]; /* how each was lost */
  uint32_t avoid_count;
  uint8_t provider[DEAI_KEY_BYTES];
  bool has_provider;
  uint8_t providers[ANSWER_HEADERS_MAX][DEAI_KEY_BYTES]; /* all that gave something */
  uint32_t provider_count;
  uint64_t asked_ms;
  uint64_t first_ms; /* to the first part, 0 = none yet */
};

static void generate(answer_job *job);
static void encode(answer_job *job);

static uint64_t now_ms(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint32_t choice_count(const answer_job *job) {
  return job->request.n * job->request.prompt_count;
}

static uint32_t prompt_of(const answer_job *job) {
  return job->choice / job->request.n;
}

static uint64_t ids_in(const answer_text *ids) {
  return ids->len / sizeof(uint32_t);
}

/* put_id appends one id as it travels. */
static void put_id(answer_text *ids, uint32_t id) {
  uint8_t bytes[4] = {(uint8_t)id, (uint8_t)(id >> 8), (uint8_t)(id >> 16), (uint8_t)(id >> 24)};
  answer_text_put(ids, bytes, sizeof bytes);
}

/* ---- the end ---- */

static void fail(answer_job *job, const answer_error *error) {
  if (job->state == JOB_OVER) return;
  job->state = JOB_OVER;
  if (job->ticket != DEAI_NO_TICKET) answer_call_forget(job->inst, job->ticket);
  job->ticket = DEAI_NO_TICKET;
  answer_count(job->inst, "answers_failed", &job->inst->counts.answers_failed);
  answer_output_error(job->output, error);
}

static void fail_status(answer_job *job, int32_t status, deai_str why) {
  answer_error error;
  answer_fail_status(&error, status, why);
  fail(job, &error);
}

/* busy waits for a place and then calls again. */
static void busy(answer_job *job, void (*again)(answer_job *job)) {
  if (++job->busy_tries > ANSWER_BUSY_MAX) {
    fail_status(job, DEAI_EBUSY, deai_str_of("all places of this model stay taken"));
    return;
  }
  job->state = JOB_BUSY;
  job->again = again;
  int32_t status = answer_busy_soon(job->inst);
  if (status != DEAI_OK) fail_status(job, status, deai_str_of("no timer"));
}

void answer_job_busy_again(answer_job *job) {
  if (job == NULL || job->state != JOB_BUSY) return;
  job->again(job);
}

/* ---- what is sent ---- */

static void headers_common(answer_job *job, answer_headers *headers) {
  answer_text keys = {0};
  for (uint32_t i = 0; i < job->provider_count; i++) {
    if (i > 0) answer_text_add(&keys, ",");
    answer_hex(&keys, deai_bytes_of(job->providers[i], DEAI_KEY_BYTES));
  }
  if (keys.len > 0) answer_headers_add(headers, "x-deai-provider", answer_text_bytes(&keys));
  answer_text_free(&keys);
}

/* stream_head begins the stream: with the first part, so that errors before it have a status. */
static void stream_head(answer_job *job) {
  answer_headers headers = {0};
  if (!job->request.stream || job->output->head_sent) return;
  headers_common(job, &headers);
  answer_headers_text(&headers, "content-type", "text/event-stream");
  answer_headers_text(&headers, "cache-control", "no-cache");
  answer_output_head(job->output, 200, &headers);
  answer_headers_free(&headers);
}

static void send_text(answer_job *job, answer_text *text) {
  if (text->status != DEAI_OK)
    fail_status(job, text->status, deai_str_of("the answer is too long to be sent"));
  else
    answer_output_body(job->output, answer_text_bytes(text));
  answer_text_free(text);
}

static void send_chunk(answer_job *job, const answer_choice *choice) {
  answer_text event = {0};
  answer_write_chunk(&event, &job->shape, choice);
  send_text(job, &event);
}

static answer_rows rows_of(const answer_job *job, const result *at, deai_str text) {
  return (answer_rows){.items = (const answer_row *)(const void *)at->rows.ptr,
                       .count = at->rows.len / sizeof(answer_row),
                       .text = text,
                       .top_max = job->request.top_logprobs};
}

/* choice_begin sends the role of a chat choice, and the prompt where it is to be echoed. */
static void choice_begin(answer_job *job) {
  const answer_prompt *prompt = &job->request.prompts[prompt_of(job)];
  result *at = &job->results[job->choice];
  if (job->role_sent) return;
  job->role_sent = true;
  deai_str echo = job->request.echo ? prompt->text : deai_str_of("");
  if (!job->request.stream) {
    answer_text_put(&at->text, echo.ptr, (size_t)echo.len);
    return;
  }
  stream_head(job);
  answer_choice first = {.index = job->choice, .text = echo, .role = job->request.chat};
  if (job->request.chat || echo.len > 0) send_chunk(job, &first);
}

/* give passes on the text of a part. */
static void give(answer_job *job, deai_bytes bytes) {
  result *at = &job->results[job->choice];
  deai_str text = {(const char *)bytes.ptr, bytes.len};
  choice_begin(job);
  if (!job->request.stream) {
    answer_text_put(&at->text, bytes.ptr, (size_t)bytes.len);
    return;
  }
  answer_rows rows = rows_of(job, at, text);
  answer_choice piece = {
      .index = job->choice, .text = text, .rows = job->request.logprobs ? &rows : NULL};
  if (text.len > 0 || rows.count > 0) send_chunk(job, &piece);
  at->rows.len = 0;
}

static void comment(answer_text *text, const char *name, deai_bytes value) {
  answer_text_add(text, ": ");
  answer_text_add(text, name);
  answer_text_add(text, " ");
  answer_text_put(text, value.ptr, (size_t)value.len);
  answer_text_add(text, "\n\n");
}

static uint64_t others_in(const answer_text *rows) {
  return rows->len / sizeof(answer_other);
}

/* explain tells how the choice came about. */
static void explain(answer_job *job, answer_text *lines) {
  result *at = &job->results[job->choice];
  at->verdict.others = (const answer_other *)(const void *)at->audit_others.ptr;
  at->verdict.other_count = (uint32_t)others_in(&at->audit_others);
  answer_explained told = {
      .nodes = deai_bytes_of(job->providers[0], (uint64_t)job->provider_count * DEAI_KEY_BYTES),
      .why = at->chosen,
      .others = (const answer_other *)(const void *)at->others.ptr,
      .other_count = others_in(&at->others),
      .first_ms = at->first_ms,
      .verdict = &at->verdict,
      .file = answer_text_bytes(&at->file),
      .audit_file = answer_text_bytes(&at->audit_file)};
  answer_explain_write(lines, &told);
}

/* comment_audit says what the audit found and who made it. */
static void comment_audit(answer_text *lines, const result *at) {
  char text[64];
  const uint8_t *by = at->verdict.auditor;
  (void)snprintf(text, sizeof text, "%s", at->audit);
  if (at->verdict.has_auditor)
    (void)snprintf(text, sizeof text, "%s by %02x%02x%02x%02x", at->audit, by[0], by[1], by[2],
                   by[3]);
  comment(lines, "audit", deai_bytes_of(text, strlen(text)));
}

/* stream_choice_end sends the finish reason and, as comments, receipt and audit. */
static void stream_choice_end(answer_job *job) {
  const result *at = &job->results[job->choice];
  answer_text lines = {0};
  answer_choice last = {.index = job->choice, .text = {"", 0}, .finish = at->finish};
  choice_begin(job);
  answer_write_chunk(&lines, &job->shape, &last);
  if (at->receipt.len > 0) comment(&lines, "receipt", answer_text_bytes(&at->receipt));
  if (at->audit != NULL) comment_audit(&lines, at);
  if (job->wishes.explain) explain(job, &lines);
  send_text(job, &lines);
}

static void stream_end(answer_job *job) {
  answer_text lines = {0};
  if (job->shape.include_usage) answer_write_usage(&lines, &job->shape, &job->usage);
  if (job->has_price) {
    answer_text price = {0};
    answer_text_uint(&price, job->paid);
    comment(&lines, "price", answer_text_bytes(&price));
    answer_text_free(&price);
  }
  answer_text_add(&lines, "data: [DONE]\n\n");
  send_text(job, &lines);
  answer_output_close(job->output);
}

/* receipt_name is the header of choice i: x-deai-receipt, x-deai-receipt-1, ... */
static const char *receipt_name(uint32_t choice, char names[ANSWER_CHOICES_MAX][32]) {
  if (choice == 0) return "x-deai-receipt";
  (void)snprintf(names[choice], sizeof names[choice], "x-deai-receipt-%u", choice);
  return names[choice];
}

static const char *audits_text(const answer_job *job) {
  const char *worst = NULL;
  for (uint32_t i = 0; i < choice_count(job); i++) {
    const char *audit = job->results[i].audit;
    if (audit != NULL && (worst == NULL || strcmp(audit, "unequal") == 0)) worst = audit;
  }
  return worst;
}

static void whole_end(answer_job *job) {
  char names[ANSWER_CHOICES_MAX][32];
  char price[24];
  answer_choice choices[ANSWER_CHOICES_MAX];
  answer_rows rows[ANSWER_CHOICES_MAX];
  answer_headers headers = {0};
  answer_text body = {0};
  for (uint32_t i = 0; i < choice_count(job); i++) {
    const result *at = &job->results[i];
    deai_str text = {(const char *)at->text.ptr, at->text.len};
    rows[i] = rows_of(job, at, text);
    choices[i] = (answer_choice){.index = i,
                                 .text = text,
                                 .finish = at->finish,
                                 .rows = job->request.logprobs ? &rows[i] : NULL};
    if (at->receipt.len > 0)
      answer_headers_add(&headers, receipt_name(i, names), answer_text_bytes(&at->receipt));
  }
  headers_common(job, &headers);
  (void)snprintf(price, sizeof price, "%" PRIu64, job->paid);
  if (job->has_price) answer_headers_text(&headers, "x-deai-price", price);
  if (audits_text(job) != NULL) answer_headers_text(&headers, "x-deai-audit", audits_text(job));
  answer_write_answer(&body, &job->shape, choices, choice_count(job), &job->usage);
  answer_output_json(job->output, 200, &headers, &body);
  answer_text_free(&body);
  answer_headers_free(&headers);
}

/* ---- one choice ---- */

static void choice_start(answer_job *job) {
  job->tokens.len = 0;
  job->chars = 0;
  job->role_sent = false;
  job->resumes = 0;
  job->avoid_count = 0;
  job->busy_tries = 0;
  job->seed = job->request.seed + job->choice % job->request.n; /* each of n has its own */
  if (!job->request.has_seed && answer_random(&job->seed, sizeof job->seed) != DEAI_OK) {
    fail_status(job, DEAI_EIO, deai_str_of("no random numbers"));
    return;
  }
  generate(job);
}

/* choice_next goes on behind a choice whose audit, if waited for, is known. */
static void choice_next(answer_job *job) {
  if (job->state == JOB_OVER) return;
  if (job->request.stream) stream_choice_end(job);
  if (job->state == JOB_OVER) return;
  if (++job->choice < choice_count(job)) {
    choice_start(job);
    return;
  }
  job->state = JOB_OVER;
  answer_count(job->inst, "answers", &job->inst->counts.answers);
  if (job->request.stream)
    stream_end(job);
  else
    whole_end(job);
}

/* keep_audit keeps what the client is told of the audit. */
static void keep_audit(answer_job *job, const answer_verdict *verdict) {
  result *at = &job->results[job->choice];
  answer_text file = {0};
  at->audit = answer_audit_name(verdict->result);
  at->verdict = *verdict;
  if (job->wishes.explain)
    answer_text_put(&at->audit_others, verdict->others,
                    verdict->other_count * sizeof verdict->others[0]);
  if (job->wishes.explain && verdict->has_auditor)
    answer_job_file(&file, verdict->receipt, verdict->args, verdict->body,
                    answer_text_bytes(&job->tokens));
  if (file.status == DEAI_OK) answer_base64url(&at->audit_file, answer_text_bytes(&file));
  answer_text_free(&file);
}

static void on_audited(void *user, const answer_verdict *verdict) {
  answer_job *job = user;
  if (job->state != JOB_AUDIT) return;
  keep_audit(job, verdict);
  choice_next(job);
}

static deai_lm_job lm_job_of(answer_job *job) {
  const answer_request *request = &job->request;
  uint64_t ids = ids_in(&job->ids[prompt_of(job)]);
  uint64_t room = job->model.ctx - ids;
  uint32_t logprobs = request->top_logprobs > 0 ? request->top_logprobs : 1;
  uint64_t max = request->max == 0 || request->max > room ? room : request->max;
  return (deai_lm_job){
      .ids = ids,
      .max = max < DEAI_LM_IDS_MAX ? max : DEAI_LM_IDS_MAX,
      .stop = {job->request.stops, request->stop_count},
      .model = deai_bytes_of(job->model.cid, job->model.cid_len),
      .forced = ids_in(&job->tokens),
      .sampler = {.k = 0, .p = request->top_p, .t = request->temperature, .seed = job->seed},
      .logprobs = request->logprobs ? logprobs : 0};
}

/* lm_body puts prompt ids and the first tokens behind one another; free it. */
static answer_text lm_body(const answer_job *job, uint64_t tokens) {
  const answer_text *ids = &job->ids[prompt_of(job)];
  answer_text body = {0};
  answer_text_put(&body, ids->ptr, ids->len);
  answer_text_put(&body, job->tokens.ptr, (size_t)tokens * sizeof(uint32_t));
  return body;
}

/* take_receipt keeps the receipt of the choice and returns its price. */
static uint64_t take_receipt(answer_job *job, deai_bytes bytes) {
  deai_signed pack;
  deai_receipt receipt;
  result *at = &job->results[job->choice];
  if (bytes.len == 0 || deai_decode(&deai_signed_table, bytes, &pack, NULL, NULL, 0) != DEAI_OK ||
      deai_decode(&deai_receipt_table, pack.body, &receipt, NULL, NULL, 0) != DEAI_OK)
    return 0;
  answer_base64url(&at->receipt, bytes);
  job->has_price = true;
  job->paid += receipt.price;
  return receipt.price;
}

static deai_rank_observe observation(const answer_job *job, bool ok, uint64_t paid) {
  deai_rank_observe observed = {.n = job->given, .ok = ok, .paid = paid};
  observed.first_ms = job->first_ms < UINT32_MAX ? job->first_ms : UINT32_MAX;
  memcpy(observed.node, job->provider, DEAI_KEY_BYTES);
  return observed;
}

/* not_drawn says why there is no audit. */
static const char *not_drawn(const answer_job *job) {
  if (job->wishes.no_audit) return "the request says so";
  if (job->inst->local_only) return "route: local, prompts stay here";
  return job->inst->audit == 0 ? "audit: 0 in the settings" : "not drawn";
}

/* prompt_write writes what `encode` is asked for a prompt. False with error: it has no form. */
static bool prompt_write(answer_job *job, uint32_t index, answer_text *args, answer_text *text,
                         answer_error *error) {
  lm_error reason = {0};
  lm_rendering rendering = {0};
  const answer_prompt *prompt = &job->request.prompts[index];
  deai_bytes model = deai_bytes_of(job->model.cid, job->model.cid_len);
  if (!job->request.chat) {
    lm_part part = {.text = deai_bytes_of(prompt->text.ptr, prompt->text.len)};
    answer_args_encode(job->inst, model, &part, 1, args);
    answer_text_put(text, prompt->text.ptr, (size_t)prompt->text.len);
    return true;
  }
  const lm_template *chat = lm_template_by_hash(job->model.template_hash);
  if (chat == NULL) {
    (void)answer_fail(error, 400, "unsupported_value", "model",
                      "model: a chat template known to this version expected, found another; use "
                      "/v1/completions or another model");
    return false;
  }
  int32_t status = lm_template_render(chat, job->request.messages, job->request.message_count,
                                      &rendering, &reason);
  if (status != DEAI_OK) {
    answer_fail_status(error, status, deai_str_of(reason.text));
    return false;
  }
  answer_args_encode(job->inst, model, rendering.parts, rendering.part_count, args);
  answer_text_put(text, rendering.bytes, (size_t)rendering.bytes_len);
  lm_rendering_free(&rendering);
  return true;
}

/* audit_begin has the finished choice audited. */
static void audit_begin(answer_job *job, answer_fact *fact, bool waits) {
  uint32_t prompt = prompt_of(job);
  answer_error error;
  answer_text args = {0};
  answer_text body = lm_body(job, ids_in(&job->tokens));
  answer_text encode_args = {0};
  answer_text encode_text = {0};
  deai_lm_job replay = lm_job_of(job);
  replay.max = replay.forced;
  replay.logprobs = 0;
  answer_args_tokens(job->inst, &replay, &args);
  if (job->has_encoder[prompt] && prompt_write(job, prompt, &encode_args, &encode_text, &error))
    fact->encoder = deai_bytes_of(job->encoders[prompt], DEAI_KEY_BYTES);
  bool whole = args.status == DEAI_OK && body.status == DEAI_OK;
  if (whole) fact->args = answer_text_bytes(&args);
  fact->body = answer_text_bytes(&body);
  fact->model = replay.model;
  fact->prompt_ids = replay.ids;
  fact->encode_args = answer_text_bytes(&encode_args);
  fact->encode_text = answer_text_bytes(&encode_text);
  memcpy(fact->id, job->id, DEAI_ID_BYTES);
  answer_audit_start(job->inst, fact, waits ? on_audited : NULL, job);
  answer_text_free(&args);
  answer_text_free(&body);
  answer_text_free(&encode_args);
  answer_text_free(&encode_text);
}

/* audit begins an audit of the finished choice if it is drawn; true = the client waits for it. */
static bool audit(answer_job *job, const deai_part *part, const deai_lm_end *end, uint64_t paid) {
  answer_fact fact = {
      .end = *end, .receipt = part->receipt, .observed = observation(job, true, paid)};
  result *at = &job->results[job->choice];
  bool waits = job->inst->audit_wait || job->wishes.explain;
  if (job->wishes.no_audit || !answer_audit_drawn(job->inst)) {
    (void)snprintf(at->verdict.why, sizeof at->verdict.why, "%s", not_drawn(job));
    if (job->has_provider) answer_audit_skip(job->inst, &fact.observed);
    return false;
  }
  job->state = JOB_AUDIT; /* on_audited may come before start returns */
  audit_begin(job, &fact, waits);
  return waits;
}

/* why_chosen says why the provider of the choice was asked. */
static const char *why_chosen(const answer_job *job) {
  if (job->wishes.has_via) return "asked for by name";
  if (job->forced > 0) return "went on behind the tokens of a node that was lost";
  if (job->has_provider && answer_models_here(job->inst, job->provider))
    return "this node has the model and a free place";
  return "the first that took the call, by price, then latency, load and score";
}

/* keep_others keeps who did not serve the choice; the router does not know how those were lost that
   this job avoids. */
static void keep_others(answer_job *job, const deai_part *end) {
  result *at = &job->results[job->choice];
  if (end->size >= sizeof *end) answer_others_read(&at->others, end->others);
  answer_other *rows = (answer_other *)(void *)at->others.ptr;
  for (uint64_t i = 0; i < others_in(&at->others); i++) {
    for (uint32_t j = 0; j < job->avoid_count; j++) {
      if (memcmp(rows[i].key, job->avoid[j], DEAI_KEY_BYTES) != 0) continue;
      rows[i].status = job->avoid_status[j];
      (void)snprintf(rows[i].why, sizeof rows[i].why, "%s while this was answered",
                     rows[i].status == DEAI_EVERIFY ? "it broke the contract" : "it was lost");
    }
  }
}

/* keep_explained keeps what the client is told of the choice. */
static void keep_explained(answer_job *job, const deai_part *end) {
  result *at = &job->results[job->choice];
  answer_text file = {0};
  at->chosen = why_chosen(job);
  at->first_ms = job->first_ms;
  if (!job->wishes.explain) return;
  keep_others(job, end);
  answer_text body = lm_body(job, job->forced);
  answer_job_file(&file, end->receipt, answer_text_bytes(&job->args), answer_text_bytes(&body),
                  answer_text_bytes(&job->tokens));
  if (file.status == DEAI_OK && body.status == DEAI_OK)
    answer_base64url(&at->file, answer_text_bytes(&file));
  answer_text_free(&body);
  answer_text_free(&file);
}

/* end_fits checks the worker's statement against what was delivered. */
static bool end_fits(const answer_job *job, const deai_lm_end *end) {
  return end->n == ids_in(&job->tokens) && end->n > 0 &&
         deai_bytes_eq(end->model, deai_bytes_of(job->model.cid, job->model.cid_len)) != 0;
}

static void choice_end(answer_job *job, const deai_part *part, const deai_lm_end *end) {
  result *at = &job->results[job->choice];
  at->finish = end->finish == DEAI_LM_STOP ? "stop" : "length";
  job->usage.completion_tokens += ids_in(&job->tokens);
  uint64_t paid = take_receipt(job, part->receipt);
  keep_explained(job, part);
  if (!audit(job, part, end, paid)) choice_next(job);
}

/* ---- generate ---- */

static void avoid_provider(answer_job *job, int32_t status) {
  if (!job->has_provider || job->avoid_count > ANSWER_RESUMES_MAX) return;
  job->avoid_status[job->avoid_count] = status;
  memcpy(job->avoid[job->avoid_count++], job->provider, DEAI_KEY_BYTES);
}

/* lost replaces a provider that is gone in the middle, or ends the job. */
static void lost(answer_job *job, int32_t status, deai_str why) {
  uint64_t tokens = ids_in(&job->tokens);
  bool gone = status == DEAI_EPEER_LOST || status == DEAI_EPLUGIN_DIED || job->broken;
  if (job->has_provider && gone) {
    deai_rank_observe observed = observation(job, false, 0);
    answer_audit_skip(job->inst, &observed);
  }
  if (status == DEAI_EBUSY && !job->broken) {
    busy(job, generate);
    return;
  }
  if (!gone || (tokens == 0 && !job->broken) || job->resumes == ANSWER_RESUMES_MAX) {
    fail_status(job, status, why);
    return;
  }
  avoid_provider(job, status);
  job->resumes++;
  answer_count(job->inst, "answers_resumed", &job->inst->counts.answers_resumed);
  deai_text(job->inst->host, job->inst->ctx, DEAI_LOG_INFO,
            "%s: the provider is lost (%s), going on elsewhere behind %" PRIu64 " tokens",
            job->output->request_id, deai_status_text(status), tokens);
  generate(job);
}

static void on_generate_end(answer_job *job, const deai_part *part) {
  char err[DEAI_ERR_CAP] = "";
  deai_lm_end end;
  deai_arena arena = answer_arena(job->inst);
  job->ticket = DEAI_NO_TICKET;
  if (part->status != DEAI_OK || job->broken) {
    lost(job, job->broken ? DEAI_EVERIFY : part->status,
         job->broken ? deai_str_of("a provider broke the contract") : part->why);
    return;
  }
  int32_t status = deai_decode(&deai_lm_end_table, part->args, &end, &arena, err, sizeof err);
  bool fits = status == DEAI_OK && end_fits(job, &end);
  if (!fits || (end.has & DEAI_LM_END_HAS_FINISH) == 0 || end.finish == DEAI_LM_CANCEL) {
    deai_text(job->inst->host, job->inst->ctx, DEAI_LOG_WARN, "%s: an end was refused: %s",
              job->output->request_id,
              err[0] != 0 ? err : "it does not fit the tokens that came before");
    job->broken = true;
    lost(job, DEAI_EVERIFY, deai_str_of("a provider broke the contract"));
    return;
  }
  choice_end(job, part, &end);
}

/* add_rows keeps the log probabilities of a part; single: its text belongs to its one token. */
static void add_rows(answer_job *job, const deai_lm_tokens *tokens) {
  result *at = &job->results[job->choice];
  const deai_lm_logprobs *lists = tokens->lp.items;
  bool single = tokens->ids.count == 1;
  uint64_t text_at = job->request.stream ? 0 : at->text.len;
  for (uint64_t i = 0; i < tokens->lp.count; i++) {
    answer_row row = {.text_at = text_at,
                      .text_len = single ? (uint32_t)tokens->text.len : 0,
                      .offset = (uint32_t)job->chars,
                      .count = (uint32_t)lists[i].items.count};
    memcpy(row.items, lists[i].items.items, (size_t)row.count * sizeof row.items[0]);
    answer_text_put(&at->rows, &row, sizeof row);
  }
}

static void count_chars(answer_job *job, deai_bytes text) {
  for (uint64_t i = 0; i < text.len; i++)
    if ((text.ptr[i] & 0xc0) != 0x80) job->chars++;
}

/* tokens_fit checks a part against the job; *what_out says what is wrong. */
static bool tokens_fit(const answer_job *job, const deai_lm_tokens *tokens, uint64_t max,
                       const char **what_out) {
  uint64_t wanted = job->request.logprobs ? tokens->ids.count : 0;
  *what_out = "more tokens than asked for";
  if (ids_in(&job->tokens) + tokens->ids.count > max) return false;
  *what_out = "text that is no UTF-8";
  deai_str text = {(const char *)tokens->text.ptr, tokens->text.len};
  if (deai_utf8_check(text) == 0) return false;
  *what_out = "another number of log probabilities than of tokens";
  return wanted == 0 || tokens->lp.count == wanted;
}

static void refuse_part(answer_job *job, const char *what) {
  deai_text(job->inst->host, job->inst->ctx, DEAI_LOG_WARN, "%s: a part was refused: %s",
            job->output->request_id, what);
  job->broken = true;
  job->inst->host->cancel(job->inst->ctx, job->ticket); /* its END goes on from here */
}

static void on_tokens(answer_job *job, const deai_part *part) {
  char err[DEAI_ERR_CAP] = "";
  const char *what = NULL;
  deai_lm_tokens tokens;
  deai_arena arena = answer_arena(job->inst);
  deai_lm_job asked = lm_job_of(job);
  if (deai_decode(&deai_lm_tokens_table, part->args, &tokens, &arena, err, sizeof err) != DEAI_OK) {
    refuse_part(job, err);
    return;
  }
  if (!tokens_fit(job, &tokens, asked.max, &what)) {
    refuse_part(job, what);
    return;
  }
  choice_begin(job);
  const uint64_t *ids = tokens.ids.items;
  for (uint64_t i = 0; i < tokens.ids.count; i++)
    put_id(&job->tokens, (uint32_t)ids[i]);
  job->given += tokens.ids.count;
  if (job->request.logprobs) add_rows(job, &tokens);
  count_chars(job, tokens.text);
  give(job, tokens.text);
  const result *at = &job->results[job->choice];
  int32_t status = at->text.status != DEAI_OK ? at->text.status : at->rows.status;
  if (status == DEAI_OK) status = job->tokens.status;
  if (status != DEAI_OK) fail_status(job, status, deai_str_of("the answer is too long"));
}

/* see_provider notes who answers; gave = it has a share in the answer. */
static void see_provider(answer_job *job, deai_bytes key, bool gave) {
  if (key.len != DEAI_KEY_BYTES) return;
  memcpy(job->provider, key.ptr, DEAI_KEY_BYTES);
  job->has_provider = true;
  if (!gave) return;
  for (uint32_t i = 0; i < job->provider_count; i++)
    if (memcmp(job->providers[i], key.ptr, DEAI_KEY_BYTES) == 0) return;
  if (job->provider_count < ANSWER_HEADERS_MAX)
    memcpy(job->providers[job->provider_count++], key.ptr, DEAI_KEY_BYTES);
}

static int32_t on_generate(void *user, const deai_part *part) {
  answer_job *job = user;
  bool is_end = (part->flags & DEAI_PART_END) != 0;
  if (job->request.stream && answer_output_waits(job->output)) return DEAI_EAGAIN;
  if (job->state == JOB_OVER) return DEAI_OK;
  see_provider(job, part->provider, !is_end || part->status == DEAI_OK);
  if (job->first_ms == 0 && (!is_end || part->status == DEAI_OK))
    job->first_ms = now_ms() - job->asked_ms + 1;
  if (!is_end && !job->broken) on_tokens(job, part);
  if (is_end) on_generate_end(job, part);
  return DEAI_OK;
}

/* via is the only node that may see the prompt, or empty. */
static deai_bytes via(const answer_job *job) {
  return deai_bytes_of(job->wishes.via, job->wishes.has_via ? DEAI_KEY_BYTES : 0);
}

/* generate asks for the running choice, behind what was delivered. */
static void generate(answer_job *job) {
  deai_bytes avoid[ANSWER_RESUMES_MAX + 1];
  int32_t status = answer_random(job->id, sizeof job->id); /* fresh for every call */
  for (uint32_t i = 0; i < job->avoid_count; i++)
    avoid[i] = deai_bytes_of(job->avoid[i], DEAI_KEY_BYTES);
  deai_lm_job asked = lm_job_of(job);
  answer_ask ask = {.parent = job->output->ticket,
                    .model = asked.model,
                    .provider = via(job),
                    .job = deai_bytes_of(job->id, sizeof job->id),
                    .avoid = avoid,
                    .avoid_count = job->avoid_count,
                    .flags = job->wishes.explain ? DEAI_CALL_EXPLAIN : 0,
                    .part = on_generate,
                    .user = job};
  job->state = JOB_GENERATE;
  job->broken = false;
  job->has_provider = false;
  job->given = 0;
  job->first_ms = 0;
  job->asked_ms = now_ms();
  job->forced = asked.forced;
  answer_text_free(&job->args);
  answer_args_tokens(job->inst, &asked, &job->args);
  answer_text body = lm_body(job, asked.forced);
  if (status == DEAI_OK) status = body.status != DEAI_OK ? body.status : job->args.status;
  if (status == DEAI_OK)
    status = answer_ask_tokens(job->inst, &ask, "generate", answer_text_bytes(&job->args),
                               answer_text_bytes(&body), &job->ticket);
  answer_text_free(&body);
  if (status == DEAI_EBUSY)
    busy(job, generate);
  else if (status != DEAI_OK)
    fail_status(job, status, deai_str_of("the question could not be asked"));
}

/* ---- encode ---- */

/* check_context refuses prompts that do not fit; true when all do. */
static bool check_context(answer_job *job) {
  answer_error error;
  const answer_request *request = &job->request;
  const char *param = request->chat ? "messages" : "prompt";
  for (uint32_t i = 0; i < request->prompt_count; i++) {
    uint64_t ids = ids_in(&job->ids[i]);
    uint64_t max = request->max_given ? request->max : 1;
    job->usage.prompt_tokens += ids;
    if (ids > 0 && ids + max <= job->model.ctx) continue;
    if (ids == 0)
      (void)answer_fail(&error, 400, "invalid_value", param,
                        "%s: at least one token expected, found none; send some text", param);
    else
      (void)answer_fail(&error, 400, "context_length_exceeded", param,
                        "%s: at most %" PRIu64 " tokens with the answer expected by this model, "
                        "found %" PRIu64 " and %" PRIu64 " for the answer; shorten one of them",
                        param, job->model.ctx, ids, max);
    fail(job, &error);
    return false;
  }
  return true;
}

static int32_t on_encode(void *user, const deai_part *part) {
  answer_job *job = user;
  if (job->state == JOB_OVER) return DEAI_OK;
  answer_text *ids = &job->ids[job->encoded];
  answer_text_put(ids, part->body.ptr, (size_t)part->body.len);
  bool too_many = ids_in(ids) > DEAI_LM_IDS_MAX;
  if ((part->flags & DEAI_PART_END) == 0 && !too_many) return DEAI_OK;
  if ((part->flags & DEAI_PART_END) != 0) job->ticket = DEAI_NO_TICKET;
  if (part->status != DEAI_OK) ids->len = 0; /* what came before is of no use */
  if (too_many || ids->status != DEAI_OK || ids->len % sizeof(uint32_t) != 0) {
    fail_status(job, DEAI_EVERIFY, deai_str_of("the ids of the prompt have no form"));
    return DEAI_OK;
  }
  bool gone = part->status == DEAI_EPEER_LOST || part->status == DEAI_EPLUGIN_DIED;
  if (part->status == DEAI_EBUSY) {
    busy(job, encode);
  } else if (gone && job->resumes < ANSWER_RESUMES_MAX && part->provider.len == DEAI_KEY_BYTES) {
    see_provider(job, part->provider, false);
    avoid_provider(job, part->status);
    job->resumes++;
    encode(job);
  } else if (part->status != DEAI_OK) {
    fail_status(job, part->status, part->why);
  } else {
    job->has_encoder[job->encoded] = part->provider.len == DEAI_KEY_BYTES;
    if (job->has_encoder[job->encoded])
      memcpy(job->encoders[job->encoded], part->provider.ptr, DEAI_KEY_BYTES);
    job->encoded++;
    encode(job);
  }
  return DEAI_OK;
}

static void ask_encode(answer_job *job) {
  answer_error error;
  deai_bytes avoid[ANSWER_RESUMES_MAX + 1];
  answer_text args = {0};
  answer_text text = {0};
  if (!prompt_write(job, job->encoded, &args, &text, &error)) {
    fail(job, &error);
    return;
  }
  for (uint32_t i = 0; i < job->avoid_count; i++)
    avoid[i] = deai_bytes_of(job->avoid[i], DEAI_KEY_BYTES);
  answer_ask ask = {.parent = job->output->ticket,
                    .model = deai_bytes_of(job->model.cid, job->model.cid_len),
                    .provider = via(job),
                    .avoid = avoid,
                    .avoid_count = job->avoid_count,
                    .part = on_encode,
                    .user = job};
  int32_t status = args.status != DEAI_OK ? args.status : text.status;
  if (status == DEAI_OK)
    status = answer_ask_encode(job->inst, &ask, answer_text_bytes(&args), answer_text_bytes(&text),
                               &job->ticket);
  answer_text_free(&args);
  answer_text_free(&text);
  if (status == DEAI_EBUSY)
    busy(job, encode);
  else if (status != DEAI_OK)
    fail_status(job, status, deai_str_of("the prompt could not be sent to be encoded"));
}

/* encode asks for the ids of the next prompt; behind the last one the first choice begins. */
static void encode(answer_job *job) {
  const answer_request *request = &job->request;
  job->state = JOB_ENCODE;
  for (; job->encoded < request->prompt_count; job->encoded++) {
    const answer_prompt *prompt = &request->prompts[job->encoded];
    if (request->chat || prompt->ids == NULL) {
      ask_encode(job);
      return;
    }
    for (uint32_t i = 0; i < prompt->id_count; i++)
      put_id(&job->ids[job->encoded], prompt->ids[i]);
  }
  if (check_context(job)) choice_start(job);
}

/* ---- life ---- */

static void admit(answer_job *job, const answer_model *model) {
  answer_error error;
  deai_inst *inst = job->inst;
  if (answer_jobs_of(inst, deai_bytes_of(model->cid, model->cid_len)) >= inst->queue) {
    answer_count(inst, "queue_full", &inst->counts.queue_full);
    (void)answer_fail(&error, 429, "rate_limit_exceeded", NULL,
                      "at most %" PRIu64 " requests of a model at a time expected, found more; "
                      "try again in a second",
                      inst->queue);
    fail(job, &error);
    return;
  }
  deai_str asked = job->request.model;
  bool preset = deai_str_eq(asked, deai_str_of(ANSWER_DEFAULT)) != 0;
  job->model = *model;
  if (preset) asked = deai_str_of(model->name);
  (void)snprintf(job->model_id, sizeof job->model_id, "%.*s", (int)asked.len, asked.ptr);
  job->shape.model = deai_str_of(job->model_id);
  encode(job);
}

static bool on_models(void *user, bool complete) {
  answer_job *job = user;
  if (job->state != JOB_MODELS) return true;
  const answer_model *model = answer_models_find(job->inst, job->request.model);
  if (model != NULL) {
    admit(job, model);
    return true;
  }
  if (!complete) return false;
  answer_error error;
  answer_models_unknown(job->inst, &error);
  fail(job, &error);
  return true;
}

answer_job *answer_job_start(answer_output *output, answer_request *request,
                             const answer_wishes *wishes) {
  answer_job *job = calloc(1, sizeof *job);
  result *results = calloc(ANSWER_CHOICES_MAX, sizeof *results);
  if (job == NULL || results == NULL) {
    free(job);
    free(results);
    return NULL;
  }
  job->inst = output->inst;
  job->output = output;
  job->results = results;
  job->request = *request;
  job->wishes = *wishes;
  *request = (answer_request){0};
  job->shape = (answer_shape){.chat = job->request.chat,
                              .include_usage = job->request.include_usage,
                              .created = (int64_t)time(NULL)};
  (void)snprintf(job->shape.id, sizeof job->shape.id, "%s%s",
                 job->request.chat ? "chatcmpl-" : "cmpl-", output->request_id + strlen("req_"));
  if (answer_models_get(job->inst, on_models, job) != DEAI_OK)
    fail_status(job, DEAI_ENOMEM, deai_str_of(""));
  return job;
}

deai_bytes answer_job_model(const answer_job *job) {
  if (job == NULL || job->state == JOB_OVER || job->state == JOB_MODELS)
    return (deai_bytes){NULL, 0};
  return deai_bytes_of(job->model.cid, job->model.cid_len);
}

void answer_job_free(answer_job *job) {
  if (job == NULL) return;
  answer_models_forget(job->inst, job);
  answer_audit_forget(job->inst, job);
  if (job->ticket != DEAI_NO_TICKET) answer_call_forget(job->inst, job->ticket);
  for (uint32_t i = 0; i < ANSWER_CHOICES_MAX; i++) {
    answer_text_free(&job->results[i].text);
    answer_text_free(&job->results[i].rows);
    answer_text_free(&job->results[i].receipt);
    answer_text_free(&job->results[i].file);
    answer_text_free(&job->results[i].audit_file);
    answer_text_free(&job->results[i].others);
    answer_text_free(&job->results[i].audit_others);
  }
  for (uint32_t i = 0; i < ANSWER_PROMPTS_MAX; i++)
    answer_text_free(&job->ids[i]);
  answer_text_free(&job->tokens);
  answer_text_free(&job->args);
  answer_request_free(&job->request);
  free(job->results);
  free(job);
}
