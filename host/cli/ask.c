#include "cli.h"

#include "deai/contracts/http.h"
#include "deai/contracts/ledger.h"
#include "deai/contracts/lm.h"
#include "deai/contracts/rank.h"
#include "deai/contracts/wire.h"
#include "host/base/file.h"
#include "host/base/platform.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/base/banned.h"

#define ASK_MS    600000u
#define RANK_MS   5000u
#define TEXT_MAX  (1u << 20)
#define EVENT_MAX (12u << 20) /* two job files of the longest prompt in base64 */
#define IDS_ROOM  (sizeof(uint64_t) * 262144u + 4096u)

static const char help[] =
    "deai ask [-m MODEL] [--max N] [--temperature T] [--seed N] [--via NODE] [--explain]\n"
    "         [--receipt FILE] [--no-audit] TEXT | -\n"
    "  asks the network and streams the answer to stdout; model, tok/s and node go to stderr.\n"
    "  --via NODE      only this node (name, or beginning of its key) sees the question\n"
    "  --explain       says behind the answer who gave it, why, for how much, and who checked it\n"
    "  --receipt FILE  writes the job file that deai verify and deai ledger verdict read, and\n"
    "                  FILE.audit, the auditor's, when the answer was audited\n"
    "  --no-audit      nobody else recomputes this answer\n"
    "  --json          one JSON object with the answer and all of the above instead of the "
    "stream\n";

/* What the words of the command ask for. */
typedef struct wishes {
  const char *model;
  const char *most;
  const char *temperature;
  const char *seed;
  uint64_t most_number;
  uint64_t seed_number;
  const char *receipt;
  const char *via_text;
  char via[CLI_HEX_KEY];
  bool no_audit;
  bool explain;
  bool told; /* the node is to explain: one of --explain, --receipt, --json */
} wishes;

typedef struct asking {
  const cli *line;
  wishes want;
  char *events; /* server-sent events not yet whole */
  uint64_t len;
  char *error;
  char *text; /* --json: the answer */
  size_t text_len;
  FILE *out; /* where the answer goes */
  uint64_t tokens;
  uint64_t prompt_tokens;
  uint64_t begin_ns;
  uint64_t first_ns;
  uint64_t last_ns; /* of the last piece of text: what comes behind it is no decoding */
  bool head_seen;
  uint64_t http_status;
  char provider[DEAI_KEY_BYTES * 2 + 1];
  char model[DEAI_NAME_MAX * 2 + 1];
  char audit[96]; /* what the node said of them, or "" */
  char price[24];
  json_t *explained;
  json_t *members;
} asking;

/* ---- what comes back ---- */

static void take_error(asking *job, const json_t *event) {
  const json_t *error = json_object_get(event, "error");
  const char *message = json_string_value(json_object_get(error, "message"));
  if (message == NULL || job->error != NULL) return;
  job->error = strdup(message);
}

static void take_event(asking *job, const char *text) {
  json_t *event = json_loads(text, 0, NULL);
  if (event == NULL) return;
  const json_t *choice = json_array_get(json_object_get(event, "choices"), 0);
  const char *piece =
      json_string_value(json_object_get(json_object_get(choice, "delta"), "content"));
  const json_t *usage = json_object_get(event, "usage");
  const char *model = json_string_value(json_object_get(event, "model"));
  if (model != NULL) (void)snprintf(job->model, sizeof job->model, "%s", model);
  if (piece != NULL && piece[0] != 0) {
    job->last_ns = deai_now_ns(deai_platform_system());
    if (job->first_ns == 0) job->first_ns = job->last_ns;
    (void)fputs(piece, job->out);
    (void)fflush(job->out);
  }
  if (json_is_object(usage)) {
    job->tokens = (uint64_t)json_integer_value(json_object_get(usage, "completion_tokens"));
    job->prompt_tokens = (uint64_t)json_integer_value(json_object_get(usage, "prompt_tokens"));
  }
  take_error(job, event);
  json_decref(event);
}

/* behind returns what stands behind ": NAME " in a comment, or NULL. */
static const char *behind(const char *text, const char *name) {
  size_t len = strlen(name);
  if (strncmp(text, ": ", 2) != 0 || strncmp(text + 2, name, len) != 0) return NULL;
  return text[2 + len] == ' ' ? text + len + 3 : NULL;
}

/* take_comment keeps what the node says about the answer. */
static void take_comment(asking *job, const char *text) {
  const char *explained = behind(text, "explain");
  const char *audit = behind(text, "audit");
  const char *price = behind(text, "price");
  if (explained != NULL) {
    json_decref(job->explained);
    job->explained = json_loads(explained, 0, NULL);
  }
  if (audit != NULL) (void)snprintf(job->audit, sizeof job->audit, "%s", audit);
  if (price != NULL) (void)snprintf(job->price, sizeof job->price, "%s", price);
}

/* take_events handles every whole event ("data: ...\n\n") and keeps the rest. */
static void take_events(asking *job) {
  char *end = NULL;
  while ((end = strstr(job->events, "\n\n")) != NULL) {
    *end = 0;
    if (strncmp(job->events, "data: {", 7) == 0) take_event(job, job->events + 6);
    if (job->events[0] == ':') take_comment(job, job->events);
    size_t used = (size_t)(end - job->events) + 2;
    memmove(job->events, job->events + used, (size_t)job->len - used + 1);
    job->len -= used;
  }
}

static void take_head(asking *job, deai_bytes args) {
  _Alignas(16) uint8_t room[DEAI_HTTP_HEADERS_MAX * sizeof(deai_text_pair)];
  deai_arena arena = {room, sizeof room, 0};
  deai_http_answer head;
  job->head_seen = true;
  if (deai_decode(&deai_http_answer_table, args, &head, &arena, NULL, 0) != DEAI_OK) return;
  job->http_status = head.status;
  const deai_text_pair *pairs = head.h.items;
  for (uint64_t i = 0; i < head.h.count; i++) {
    if (deai_str_eq(pairs[i].key, deai_str_of("x-deai-provider")))
      (void)snprintf(job->provider, sizeof job->provider, "%.*s", (int)pairs[i].value.len,
                     pairs[i].value.ptr);
  }
  if (!job->line->quiet && !job->line->json && job->provider[0] != 0)
    (void)fprintf(stderr, "[node %.8s]\n", job->provider);
}

static bool ask_part(void *user, const deai_part *part) {
  asking *job = user;
  if (!job->head_seen && part->args.len > 0) take_head(job, part->args);
  if (part->body.len == 0) return true;
  if (job->len + part->body.len >= EVENT_MAX) return false;
  memcpy(job->events + job->len, part->body.ptr, (size_t)part->body.len);
  job->len += part->body.len;
  job->events[job->len] = 0;
  take_events(job);
  return true;
}

/* ---- the question ---- */

static char *read_stdin(void) {
  char *text = malloc(TEXT_MAX + 1);
  size_t len = text != NULL ? fread(text, 1, TEXT_MAX, stdin) : 0;
  if (text != NULL) text[len] = 0;
  return text;
}

static json_t *ask_json(const wishes *want, const char *text) {
  json_t *body =
      json_pack("{s:s, s:[{s:s, s:s}], s:b, s:{s:b}}", "model",
                want->model != NULL ? want->model : "default", "messages", "role", "user",
                "content", text, "stream", 1, "stream_options", "include_usage", 1);
  if (body == NULL) return NULL;
  if (want->most != NULL)
    (void)json_object_set_new(body, "max_tokens", json_integer((json_int_t)want->most_number));
  if (want->temperature != NULL) {
    json_t *number = json_loads(want->temperature, JSON_DECODE_ANY, NULL);
    (void)json_object_set_new(body, "temperature",
                              number != NULL ? number : json_string(want->temperature));
  }
  if (want->seed != NULL)
    (void)json_object_set_new(body, "seed", json_integer((json_int_t)want->seed_number));
  return body;
}

/* headers_of writes the request's headers, shorter names first as the codec wants them. */
static uint64_t headers_of(const wishes *want, deai_text_pair pairs[4]) {
  uint64_t count = 0;
  if (want->via[0] != 0)
    pairs[count++] = (deai_text_pair){deai_str_of("x-deai-via"), deai_str_of(want->via)};
  pairs[count++] = (deai_text_pair){deai_str_of("content-type"), deai_str_of("application/json")};
  if (want->no_audit)
    pairs[count++] = (deai_text_pair){deai_str_of("x-deai-audit"), deai_str_of("none")};
  if (want->told)
    pairs[count++] = (deai_text_pair){deai_str_of("x-deai-explain"), deai_str_of("1")};
  return count;
}

static int ask_run(asking *job, deai_client *client, const char *body) {
  char why[DEAI_ERR_CAP] = "";
  uint8_t room[1024];
  deai_text_pair pairs[4];
  deai_http_request head = {.path = deai_str_of("/v1/chat/completions"),
                            .method = deai_str_of("POST"),
                            .query = deai_str_of(""),
                            .h = {pairs, headers_of(&job->want, pairs)}};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  int32_t status = deai_encode(&deai_http_request_table, &head, &writer, why, sizeof why);
  deai_client_call call = {.service = DEAI_HTTP_SERVICE,
                           .method = "request",
                           .plugin = "models/answer",
                           .args = deai_bytes_of(room, writer.len),
                           .body = deai_bytes_of(body, strlen(body)),
                           .part = ask_part,
                           .user = job,
                           .time_ms = job->line->time_ms > 0 ? job->line->time_ms : ASK_MS};
  if (status == DEAI_OK) status = deai_client_run(client, &call, why, sizeof why);
  if (job->len > 0 && job->events[0] == '{') take_event(job, job->events);
  if (status != DEAI_OK) return cli_fail(status, why);
  if (job->error == NULL) return 0;
  int32_t as = DEAI_ENOPROVIDER;
  if (job->http_status == 400) as = DEAI_EINVAL;
  if (job->http_status == 402) as = DEAI_EPAYMENT;
  if (job->http_status == 404) as = DEAI_ENOTFOUND;
  if (job->http_status == 429) as = DEAI_EBUSY;
  return cli_fail(as, job->error);
}

/* ---- what is said about the answer ---- */

/* rate10_of returns tenths of tokens a second, from the first to the last piece of text. */
static uint64_t rate10_of(const asking *job) {
  uint64_t spent_us = (job->last_ns - job->first_ns) / 1000 + 1;
  return job->tokens > 1 && job->first_ns > 0 ? (job->tokens - 1) * 10000000 / spent_us : 0;
}

static uint64_t first_ms_of(const asking *job) {
  return job->first_ns > 0 ? (job->first_ns - job->begin_ns) / 1000000 : 0;
}

static void ask_report(const asking *job, uint64_t rate10) {
  uint64_t price = 0;
  (void)fprintf(stderr,
                "%s  node %.8s  %" PRIu64 " + %" PRIu64 " tokens  first %" PRIu64 " ms  %" PRIu64
                ".%" PRIu64 " tok/s",
                job->model, job->provider, job->prompt_tokens, job->tokens, first_ms_of(job),
                rate10 / 10, rate10 % 10);
  if (cli_number(job->price, UINT64_MAX, &price) && price > 0)
    (void)fprintf(stderr, "  price %" PRIu64 ".%09" PRIu64 " coins", price / DEAI_COIN,
                  price % DEAI_COIN);
  if (job->audit[0] != 0) (void)fprintf(stderr, "  audit %s", job->audit);
  (void)fputc('\n', stderr);
}

/* file_of returns the bytes of a job file in what the node explained (free them), or NULL. */
static uint8_t *file_of(const asking *job, const char *name, size_t *len_out) {
  const char *text = json_string_value(json_object_get(job->explained, name));
  size_t cap = text != NULL ? strlen(text) : 0;
  uint8_t *bytes = text != NULL ? malloc(cap + 1) : NULL;
  if (bytes == NULL) return NULL;
  if (sodium_base642bin(bytes, cap + 1, text, cap, NULL, len_out, NULL,
                        sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0)
    return bytes;
  free(bytes);
  return NULL;
}

/* receipt_of reads the worker's receipt; false when none came. bytes keeps what it points to. */
static bool receipt_of(const asking *job, uint8_t **bytes, deai_receipt *out) {
  size_t len = 0;
  deai_job_file file;
  uint8_t *room = aligned_alloc(16, IDS_ROOM);
  deai_arena arena = {room, room != NULL ? IDS_ROOM : 0, 0};
  *bytes = file_of(job, "file", &len);
  bool found = *bytes != NULL && room != NULL &&
               deai_decode(&deai_job_file_table, deai_bytes_of(*bytes, len), &file, &arena, NULL,
                           0) == DEAI_OK &&
               deai_decode(&deai_receipt_table, file.receipt.body, out, NULL, NULL, 0) == DEAI_OK;
  free(room);
  return found;
}

static int write_file(const asking *job, const char *name, const char *path) {
  char err[DEAI_ERR_CAP] = "";
  size_t len = 0;
  uint8_t *bytes = file_of(job, name, &len);
  if (bytes == NULL) return 0;
  int32_t status = deai_file_replace(path, deai_bytes_of(bytes, len), 0600, err, sizeof err);
  free(bytes);
  return status == DEAI_OK ? 0 : cli_fail(status, err);
}

/* write_receipts writes --receipt FILE and FILE.audit. */
static int write_receipts(const asking *job) {
  char path[4200];
  const char *to = job->want.receipt;
  if (to == NULL) return 0;
  if (json_object_get(job->explained, "file") == NULL)
    return cli_fail(DEAI_ENOTFOUND, "expected a receipt with the answer, found none: not written");
  (void)snprintf(path, sizeof path, "%s.audit", to);
  if (strlen(to) + sizeof ".audit" > sizeof path)
    return cli_fail(DEAI_ETOOLARGE, "expected a shorter path behind --receipt");
  int code = write_file(job, "file", to);
  if (code == 0) code = write_file(job, "audit_file", path);
  return code;
}

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text != NULL ? text : "";
}

/* print_others prints nodes that did not serve, a line each behind a heading. */
static void print_others(const asking *job, const json_t *of, const char *heading) {
  const json_t *others = json_object_get(of, "others");
  for (size_t i = 0; i < json_array_size(others); i++) {
    const json_t *row = json_array_get(others, i);
    const char *hex = text_of(row, "node");
    (void)fprintf(stderr, "%-10s%s %.8s: %s\n", i == 0 ? heading : "",
                  cli_member_name(job->members, hex), hex, text_of(row, "why"));
  }
}

static void print_nodes(const asking *job) {
  const json_t *nodes = json_object_get(job->explained, "nodes");
  (void)fprintf(stderr, "answered  ");
  for (size_t i = 0; i < json_array_size(nodes); i++) {
    const char *hex = json_string_value(json_array_get(nodes, i));
    (void)fprintf(stderr, "%s%s %.8s", i > 0 ? ", then " : "", cli_member_name(job->members, hex),
                  hex);
  }
  (void)fprintf(stderr, "\nwhy       %s\n", text_of(job->explained, "why"));
  print_others(job, job->explained, "others");
}

static void print_audit(const asking *job) {
  const json_t *audit = json_object_get(job->explained, "audit");
  const char *result = text_of(audit, "result");
  const char *by = text_of(audit, "by");
  const char *objection = text_of(audit, "objection");
  bool equal = strcmp(result, "equal") == 0;
  if (by[0] == 0) {
    (void)fprintf(stderr, "audit     not audited: %s\n", text_of(audit, "why"));
    return;
  }
  (void)fprintf(stderr, "audit     %s: %s %.8s (%s) recomputed the answer%s%s%s%s%s\n",
                equal ? "equal" : "UNEQUAL", cli_member_name(job->members, by), by,
                json_is_true(json_object_get(audit, "other_owner")) ? "another owner"
                                                                    : "no other owner known",
                text_of(audit, "ids")[0] != 0 ? " and the ids of the prompt" : "",
                equal ? "" : ": ", text_of(audit, "why"), objection[0] != 0 ? "; objection " : "",
                objection);
}

/* What models/rank of this node thinks of the node that answered. */
typedef struct ranked {
  json_t *found; /* {score, why} */
} ranked;

static bool rank_part(void *user, const deai_part *part) {
  _Alignas(16) uint8_t room[4 * sizeof(deai_rank_row)];
  deai_arena arena = {room, sizeof room, 0};
  ranked *row = user;
  deai_rank_scores answer;
  if ((part->flags & DEAI_PART_END) == 0 || part->status != DEAI_OK) return true;
  if (deai_decode(&deai_rank_scores_table, part->args, &answer, &arena, NULL, 0) != DEAI_OK ||
      answer.scores.count != 1)
    return false;
  const deai_rank_row *first = answer.scores.items;
  row->found = json_pack("{s:f, s:s%}", "score", (double)first->score / 1e6, "why", first->why.ptr,
                         (int)first->why.len);
  return true;
}

/* rank_of asks models/rank for a node; NULL when it is not there. */
static json_t *rank_of(const cli *line, const char *hex) {
  char why[DEAI_ERR_CAP] = "";
  uint8_t room[256];
  size_t len = 0;
  ranked row = {.found = NULL};
  deai_rank_key key;
  if (hex == NULL ||
      sodium_hex2bin(key.key, sizeof key.key, hex, strlen(hex), NULL, &len, NULL) != 0 ||
      len != sizeof key.key)
    return NULL;
  deai_rank_score asked = {.nodes = {&key, 1}, .service = deai_str_of(DEAI_LM_SERVICE)};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  if (deai_encode(&deai_rank_score_table, &asked, &writer, why, sizeof why) != DEAI_OK) return NULL;
  deai_client *client = deai_client_open(line->data, why, sizeof why);
  if (client == NULL) return NULL;
  deai_client_call call = {.service = DEAI_RANK_SERVICE,
                           .method = "score",
                           .flags = DEAI_CALL_HERE,
                           .args = deai_bytes_of(room, writer.len),
                           .part = rank_part,
                           .user = &row,
                           .time_ms = RANK_MS};
  int32_t status = deai_client_run(client, &call, why, sizeof why);
  deai_client_free(client);
  if (status == DEAI_OK && row.found != NULL) return row.found;
  json_decref(row.found);
  return NULL;
}

static const char *last_node(const asking *job) {
  const json_t *nodes = json_object_get(job->explained, "nodes");
  return json_string_value(json_array_get(nodes, json_array_size(nodes) - 1));
}

static void print_rank(const asking *job) {
  json_t *rank = rank_of(job->line, last_node(job));
  if (rank == NULL) return;
  (void)fprintf(stderr, "score     %.3f: %s\n", json_real_value(json_object_get(rank, "score")),
                text_of(rank, "why"));
  json_decref(rank);
}

static void print_explained(const asking *job, uint64_t rate10) {
  deai_receipt receipt;
  uint8_t *bytes = NULL;
  print_nodes(job);
  print_rank(job);
  if (receipt_of(job, &bytes, &receipt))
    (void)fprintf(
        stderr, "price     %" PRIu64 ".%09" PRIu64 " coins for %" PRIu64 " + %" PRIu64 " tokens\n",
        receipt.price / DEAI_COIN, receipt.price % DEAI_COIN, receipt.u_in, receipt.u_out);
  else
    (void)fprintf(stderr, "price     no receipt came\n");
  (void)fprintf(stderr,
                "latency   first token %lld ms at the node, %" PRIu64 " ms here, %" PRIu64
                ".%" PRIu64 " tok/s\n",
                (long long)json_integer_value(json_object_get(job->explained, "first_ms")),
                first_ms_of(job), rate10 / 10, rate10 % 10);
  print_audit(job);
  print_others(job, json_object_get(job->explained, "audit"), "not by");
  free(bytes);
}

static void print_json(asking *job, uint64_t rate10) {
  deai_receipt receipt;
  uint8_t *bytes = NULL;
  const json_t *told = job->explained;
  json_t *out =
      json_pack("{s:s, s:s, s:O?, s:s, s:O*, s:I, s:I, s:I, s:I, s:f, s:O?}", "text",
                job->text != NULL ? job->text : "", "model", job->model, "nodes",
                json_object_get(told, "nodes"), "why", text_of(told, "why"), "others",
                json_object_get(told, "others"), "prompt_tokens", (json_int_t)job->prompt_tokens,
                "tokens", (json_int_t)job->tokens, "first_ms", (json_int_t)first_ms_of(job),
                "node_first_ms", (json_int_t)json_integer_value(json_object_get(told, "first_ms")),
                "tokens_per_s", (double)rate10 / 10, "audit", json_object_get(told, "audit"));
  json_t *rank = rank_of(job->line, last_node(job));
  if (rank != NULL) (void)json_object_set_new(out, "rank", rank);
  if (receipt_of(job, &bytes, &receipt)) {
    char id[2 * DEAI_ID_BYTES + 1];
    (void)json_object_set_new(out, "price", json_integer((json_int_t)receipt.price));
    (void)json_object_set_new(out, "u_in", json_integer((json_int_t)receipt.u_in));
    (void)json_object_set_new(out, "u_out", json_integer((json_int_t)receipt.u_out));
    cli_hex(deai_bytes_of(receipt.job, DEAI_ID_BYTES), id);
    (void)json_object_set_new(out, "job", json_string(id));
    cli_hex(deai_bytes_of(receipt.ch, DEAI_ID_BYTES), id);
    if ((receipt.has & DEAI_RECEIPT_HAS_CH) != 0)
      (void)json_object_set_new(out, "channel", json_string(id));
  }
  if (job->want.receipt != NULL)
    (void)json_object_set_new(out, "receipt", json_string(job->want.receipt));
  (void)json_dumpf(out, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
  (void)putchar('\n');
  json_decref(out);
  free(bytes);
}

static int ask_finish(asking *job) {
  uint64_t rate10 = rate10_of(job);
  if (job->line->json) {
    print_json(job, rate10);
  } else {
    (void)putchar('\n');
    (void)fflush(stdout);
    if (!job->line->quiet) ask_report(job, rate10);
    if (job->want.explain) print_explained(job, rate10);
  }
  return write_receipts(job);
}

/* ---- the command ---- */

static wishes wishes_of(cli *line) {
  wishes want = {.model = cli_option(line, "-m"),
                 .most = cli_option(line, "--max"),
                 .temperature = cli_option(line, "--temperature"),
                 .seed = cli_option(line, "--seed"),
                 .receipt = cli_option(line, "--receipt"),
                 .via_text = cli_option(line, "--via"),
                 .no_audit = cli_flag(line, "--no-audit"),
                 .explain = cli_flag(line, "--explain")};
  want.told = want.explain || want.receipt != NULL || line->json;
  return want;
}

/* wishes_read reads the numbers among the words; false after printing which one is none. */
static bool wishes_read(wishes *want) {
  const char *wrong = NULL;
  if (want->most != NULL && !cli_number(want->most, UINT32_MAX, &want->most_number))
    wrong = want->most;
  if (want->seed != NULL && !cli_number(want->seed, INT64_MAX, &want->seed_number))
    wrong = want->seed;
  if (wrong == NULL) return true;
  (void)fprintf(stderr, "deai: expected a whole number behind %s, found \"%s\"\n",
                wrong == want->seed ? "--seed" : "--max", wrong);
  return false;
}

/* ask_prepare opens where the answer goes and finds out who --via is. */
static int ask_prepare(asking *job) {
  int code = 0;
  wishes *want = &job->want;
  job->events = calloc(1, EVENT_MAX + 1);
  job->out = job->line->json ? open_memstream(&job->text, &job->text_len) : stdout;
  if (job->events == NULL || job->out == NULL) return cli_fail(DEAI_ENOMEM, "");
  if (want->via_text == NULL && !want->explain) return 0;
  job->members = cli_members(job->line, &code);
  if (job->members == NULL) return code;
  return want->via_text != NULL ? cli_member_find(job->members, want->via_text, want->via) : 0;
}

static int ask_question(asking *job, const char *text) {
  json_t *json = ask_json(&job->want, text);
  char *body = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
  json_decref(json);
  if (body == NULL) return cli_fail(DEAI_EINVAL, "expected a question in UTF-8");
  int code = ask_prepare(job);
  deai_client *client = code == 0 ? cli_connect(job->line) : NULL;
  job->begin_ns = deai_now_ns(deai_platform_system());
  if (code == 0) code = client == NULL ? CLI_EXIT_NO_NODE : ask_run(job, client, body);
  if (job->line->json && job->out != NULL) (void)fclose(job->out);
  if (code == 0) code = ask_finish(job);
  deai_client_free(client);
  free(body);
  return code;
}

static void ask_free(asking *job) {
  json_decref(job->explained);
  json_decref(job->members);
  free(job->events);
  free(job->text);
  free(job->error);
}

int cli_ask_timed(const cli *line, const char *model, const char *hex, uint64_t most,
                  cli_timed *out) {
  cli silent = *line;
  silent.json = true; /* the text goes to memory, remarks nowhere */
  asking job = {
      .line = &silent,
      .want = {
          .model = model, .most = "", .most_number = most, .temperature = "0", .no_audit = true}};
  (void)snprintf(job.want.via, sizeof job.want.via, "%s", hex);
  json_t *json = ask_json(&job.want, "Write a long story about a ship in a storm.");
  char *body = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
  json_decref(json);
  int code = body == NULL ? cli_fail(DEAI_ENOMEM, "") : ask_prepare(&job);
  deai_client *client = code == 0 ? cli_connect(line) : NULL;
  job.begin_ns = deai_now_ns(deai_platform_system());
  if (code == 0) code = client == NULL ? CLI_EXIT_NO_NODE : ask_run(&job, client, body);
  if (job.out != NULL) (void)fclose(job.out);
  *out =
      (cli_timed){.tokens = job.tokens, .first_ms = first_ms_of(&job), .rate10 = rate10_of(&job)};
  (void)snprintf(out->model, sizeof out->model, "%s", job.model);
  deai_client_free(client);
  free(body);
  ask_free(&job);
  return code;
}

int cli_ask(cli *line) {
  if (cli_flag(line, "--help")) return cli_usage(help) * 0;
  asking job = {.line = line, .want = wishes_of(line)};
  if (line->count != 1) return cli_usage(help);
  if (!wishes_read(&job.want)) return CLI_EXIT_USAGE;
  const char *text = line->words[0];
  char *from_stdin = strcmp(text, "-") == 0 ? read_stdin() : NULL;
  int code = 1;
  if (strcmp(text, "-") == 0 && from_stdin == NULL)
    code = cli_fail(DEAI_ENOMEM, "");
  else
    code = ask_question(&job, from_stdin != NULL ? from_stdin : text);
  free(from_stdin);
  ask_free(&job);
  return code;
}
