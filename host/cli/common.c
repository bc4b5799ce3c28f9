#include "cli.h"

#include "deai/contracts/http.h"
#include "host/base/base32.h"
#include "host/config/schema.h"

#include <stdlib.h>

#include "host/base/banned.h"

#define ANSWER_MAX (4u << 20)

typedef struct collected {
  char *text;
  uint64_t len;
} collected;

int cli_fail(int32_t status, const char *why) {
  (void)fprintf(stderr, "deai: %s\n", why[0] != 0 ? why : deai_status_text(status));
  return deai_status_exit(status);
}

int cli_usage(const char *text) {
  (void)fputs(text, stderr);
  return CLI_EXIT_USAGE;
}

deai_client *cli_connect(const cli *line) {
  char err[DEAI_ERR_CAP] = "";
  deai_client *client = deai_client_open(line->data, err, sizeof err);
  if (client == NULL) (void)fprintf(stderr, "deai: %s\n", err);
  return client;
}

static bool collect_part(void *user, const deai_part *part) {
  collected *all = user;
  if (part->body.len == 0) return true;
  if (all->len + part->body.len > ANSWER_MAX) return false;
  char *more = realloc(all->text, (size_t)(all->len + part->body.len) + 1);
  if (more == NULL) return false;
  all->text = more;
  memcpy(all->text + all->len, part->body.ptr, (size_t)part->body.len);
  all->len += part->body.len;
  all->text[all->len] = 0;
  return true;
}

json_t *cli_json(const cli *line, const char *service, const char *method, int *code_out) {
  return cli_json_body(line, service, method, "", code_out);
}

json_t *cli_json_body(const cli *line, const char *service, const char *method, const char *body,
                      int *code_out) {
  char why[DEAI_ERR_CAP] = "";
  collected all = {NULL, 0};
  *code_out = CLI_EXIT_NO_NODE;
  deai_client *client = cli_connect(line);
  if (client == NULL) return NULL;
  deai_client_call call = {.service = service,
                           .method = method,
                           .body = deai_bytes_of(body, strlen(body)),
                           .part = collect_part,
                           .user = &all,
                           .time_ms = line->time_ms > 0 ? line->time_ms : 40000};
  int32_t status = deai_client_run(client, &call, why, sizeof why);
  deai_client_free(client);
  json_t *value = NULL;
  if (status != DEAI_OK)
    *code_out = cli_fail(status, why);
  else
    value =
        json_loadb(all.text != NULL ? all.text : "null", (size_t)all.len, JSON_DECODE_ANY, NULL);
  if (status == DEAI_OK)
    *code_out = value != NULL ? 0 : cli_fail(DEAI_EINTERNAL, "malformed answer");
  free(all.text);
  return value;
}

/* What a request for a path is answered with. */
typedef struct http_answer {
  collected body;
  uint64_t status;
} http_answer;

static bool http_part(void *user, const deai_part *part) {
  _Alignas(16) static uint8_t room[DEAI_HTTP_HEADERS_MAX * sizeof(deai_text_pair)];
  deai_arena arena = {room, sizeof room, 0};
  http_answer *answer = user;
  deai_http_answer head;
  if (answer->status == 0 && part->args.len > 0 &&
      deai_decode(&deai_http_answer_table, part->args, &head, &arena, NULL, 0) == DEAI_OK)
    answer->status = head.status;
  return collect_part(&answer->body, part);
}

static json_t *http_over(http_answer *answer, int *code_out) {
  json_t *value = json_loadb(answer->body.text != NULL ? answer->body.text : "null",
                             (size_t)answer->body.len, JSON_DECODE_ANY, NULL);
  *code_out = 0;
  if (value != NULL && answer->status == 200) return value;
  const char *said = json_string_value(json_object_get(json_object_get(value, "error"), "message"));
  *code_out = cli_fail(answer->status == 404 ? DEAI_ENOTFOUND : DEAI_EINTERNAL,
                       said != NULL ? said : "malformed answer");
  json_decref(value);
  return NULL;
}

json_t *cli_http(const cli *line, const char *plugin, const char *path, int *code_out) {
  char why[DEAI_ERR_CAP] = "";
  uint8_t room[1024];
  http_answer answer = {{NULL, 0}, 0};
  deai_http_request head = {
      .path = deai_str_of(path), .method = deai_str_of("GET"), .query = deai_str_of("")};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  *code_out = CLI_EXIT_NO_NODE;
  deai_client *client = cli_connect(line);
  if (client == NULL) return NULL;
  int32_t status = deai_encode(&deai_http_request_table, &head, &writer, why, sizeof why);
  deai_client_call call = {.service = DEAI_HTTP_SERVICE,
                           .method = "request",
                           .plugin = plugin,
                           .args = deai_bytes_of(room, writer.len),
                           .part = http_part,
                           .user = &answer,
                           .time_ms = line->time_ms > 0 ? line->time_ms : 40000};
  if (status == DEAI_OK) status = deai_client_run(client, &call, why, sizeof why);
  deai_client_free(client);
  json_t *value = NULL;
  if (status == DEAI_OK)
    value = http_over(&answer, code_out);
  else
    *code_out = cli_fail(status, why);
  free(answer.body.text);
  return value;
}

static void words_cut(cli *line, int at, int count) {
  for (int i = at; i + count < line->count; i++)
    line->words[i] = line->words[i + count];
  line->count -= count;
}

const char *cli_option(cli *line, const char *name) {
  for (int i = 0; i + 1 < line->count; i++) {
    if (strcmp(line->words[i], name) != 0) continue;
    const char *value = line->words[i + 1];
    words_cut(line, i, 2);
    return value;
  }
  return NULL;
}

bool cli_flag(cli *line, const char *name) {
  for (int i = 0; i < line->count; i++) {
    if (strcmp(line->words[i], name) != 0) continue;
    words_cut(line, i, 1);
    return true;
  }
  return false;
}

void cli_cid_text(deai_bytes cid, char *out, size_t cap) {
  if (cap < 2) return;
  out[0] = 'b';
  if (deai_base32_put(cid, out + 1, cap - 1) != DEAI_OK) out[0] = 0;
}

uint64_t cli_cid_read(const char *text, uint8_t *out, uint64_t cap) {
  uint64_t len = 0;
  if (text[0] != 'b' || strlen(text) < 8) return 0;
  if (deai_base32_get(deai_str_of(text + 1), (deai_buf){out, cap}, &len) != DEAI_OK) return 0;
  return len > 4 && out[0] == 1 ? len : 0;
}

bool cli_number(const char *text, uint64_t most, uint64_t *out) {
  if (text[0] == 0 || strspn(text, "0123456789") != strlen(text) || strlen(text) > 19) return false;
  *out = strtoull(text, NULL, 10);
  return *out <= most;
}

bool cli_unit_read(const char *text, const char *format, uint64_t *out) {
  return deai_schema_unit(text, format, out) == DEAI_OK;
}

int cli_unit(const char *text, const char *format, uint64_t *out) {
  if (cli_unit_read(text, format, out)) return 0;
  (void)fprintf(stderr, "deai: expected %s, found \"%s\"\n",
                strcmp(format, "coins") == 0 ? "a number of coins like 1.5" : "a time like 10m",
                text);
  return CLI_EXIT_USAGE;
}
