#include "cli.h"

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

int cli_unit(const char *text, const char *format, uint64_t *out) {
  if (deai_schema_unit(text, format, out) == DEAI_OK) return 0;
  (void)fprintf(stderr, "deai: expected %s, found \"%s\"\n",
                strcmp(format, "coins") == 0 ? "a number of coins like 1.5" : "a time like 10m",
                text);
  return CLI_EXIT_USAGE;
}
