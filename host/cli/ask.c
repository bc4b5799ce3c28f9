#include "cli.h"

#include "deai/contracts/http.h"
#include "deai/contracts/wire.h"
#include "host/base/platform.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/base/banned.h"

#define ASK_MS    600000u
#define TEXT_MAX  (1u << 20)
#define EVENT_MAX (1u << 20)

static const char help[] =
    "deai ask [-m MODEL] [--max N] [--temperature T] [--seed N] TEXT | -\n"
    "  asks the network and streams the answer to stdout; model, tok/s and node go to stderr.\n";

typedef struct asking {
  const cli *line;
  char *events; /* server-sent events not yet whole */
  uint64_t len;
  char *error;
  uint64_t tokens;
  uint64_t prompt_tokens;
  uint64_t begin_ns;
  uint64_t first_ns;
  bool head_seen;
  uint64_t http_status;
  char provider[DEAI_KEY_BYTES * 2 + 1];
  char model[DEAI_NAME_MAX * 2 + 1];
} asking;

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
    if (job->first_ns == 0) job->first_ns = deai_now_ns(deai_platform_system());
    (void)fputs(piece, stdout);
    (void)fflush(stdout);
  }
  if (json_is_object(usage)) {
    job->tokens = (uint64_t)json_integer_value(json_object_get(usage, "completion_tokens"));
    job->prompt_tokens = (uint64_t)json_integer_value(json_object_get(usage, "prompt_tokens"));
  }
  take_error(job, event);
  json_decref(event);
}

/* take_events handles every whole event ("data: ...\n\n") and keeps the rest. */
static void take_events(asking *job) {
  char *end = NULL;
  while ((end = strstr(job->events, "\n\n")) != NULL) {
    *end = 0;
    if (strncmp(job->events, "data: {", 7) == 0) take_event(job, job->events + 6);
    if (job->events[0] == ':' && !job->line->quiet && strstr(job->events, "receipt") == NULL)
      (void)fprintf(stderr, "\n%s\n", job->events + 1);
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
  if (!job->line->quiet && job->provider[0] != 0)
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

static char *read_stdin(void) {
  char *text = malloc(TEXT_MAX + 1);
  size_t len = text != NULL ? fread(text, 1, TEXT_MAX, stdin) : 0;
  if (text != NULL) text[len] = 0;
  return text;
}

static json_t *ask_json(cli *line, const char *text) {
  const char *model = cli_option(line, "-m");
  const char *most = cli_option(line, "--max");
  const char *temperature = cli_option(line, "--temperature");
  const char *seed = cli_option(line, "--seed");
  json_t *body = json_pack("{s:s, s:[{s:s, s:s}], s:b, s:{s:b}}", "model",
                           model != NULL ? model : "default", "messages", "role", "user", "content",
                           text, "stream", 1, "stream_options", "include_usage", 1);
  if (body == NULL) return NULL;
  if (most != NULL)
    (void)json_object_set_new(body, "max_tokens", json_integer(strtoll(most, NULL, 10)));
  if (temperature != NULL) {
    json_t *number = json_loads(temperature, JSON_DECODE_ANY, NULL);
    (void)json_object_set_new(body, "temperature",
                              number != NULL ? number : json_string(temperature));
  }
  if (seed != NULL) (void)json_object_set_new(body, "seed", json_integer(strtoll(seed, NULL, 10)));
  return body;
}

static int ask_run(asking *job, deai_client *client, const char *body) {
  char why[DEAI_ERR_CAP] = "";
  uint8_t room[1024];
  deai_text_pair pairs[] = {{deai_str_of("content-type"), deai_str_of("application/json")}};
  deai_http_request head = {.path = deai_str_of("/v1/chat/completions"),
                            .method = deai_str_of("POST"),
                            .query = deai_str_of(""),
                            .h = {pairs, 1}};
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
  if (job->http_status == 404) as = DEAI_ENOTFOUND;
  if (job->http_status == 429) as = DEAI_EBUSY;
  return cli_fail(as, job->error);
}

static void ask_report(const asking *job) {
  uint64_t now_ns = deai_now_ns(deai_platform_system());
  uint64_t first_ms = job->first_ns > 0 ? (job->first_ns - job->begin_ns) / 1000000 : 0;
  uint64_t spent_ms = job->first_ns > 0 ? (now_ns - job->first_ns) / 1000000 + 1 : 1;
  uint64_t rate10 = job->tokens > 1 ? (job->tokens - 1) * 10000 / spent_ms : 0;
  (void)fprintf(stderr,
                "%s  node %.8s  %" PRIu64 " + %" PRIu64 " tokens  first %" PRIu64 " ms  %" PRIu64
                ".%" PRIu64 " tok/s\n",
                job->model, job->provider, job->prompt_tokens, job->tokens, first_ms, rate10 / 10,
                rate10 % 10);
}

int cli_ask(cli *line) {
  if (cli_flag(line, "--help")) return cli_usage(help) * 0;
  if (line->count == 0) return cli_usage(help);
  char *from_stdin = NULL;
  const char *text = line->words[line->count - 1];
  if (strcmp(text, "-") == 0) text = from_stdin = read_stdin();
  line->count--;
  json_t *json = text != NULL ? ask_json(line, text) : NULL;
  char *body = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
  json_decref(json);
  free(from_stdin);
  asking job = {.line = line, .events = calloc(1, EVENT_MAX + 1)};
  int code = 1;
  if (line->count > 0) {
    code = cli_usage(help);
  } else if (body == NULL || job.events == NULL) {
    code = cli_fail(DEAI_EINVAL, "expected a question in UTF-8");
  } else {
    deai_client *client = cli_connect(line);
    job.begin_ns = deai_now_ns(deai_platform_system());
    code = client == NULL ? CLI_EXIT_NO_NODE : ask_run(&job, client, body);
    if (code == 0) (void)putchar('\n');
    if (code == 0 && !line->quiet) ask_report(&job);
    deai_client_free(client);
  }
  free(job.events);
  free(job.error);
  free(body);
  return code;
}
