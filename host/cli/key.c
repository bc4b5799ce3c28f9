#include "cli.h"

#include "host/http/apikeys.h"

#include "host/base/banned.h"

static const char help[] =
    "deai key add NAME | list | rm NAME|ID\n"
    "  API keys of the HTTP port. add shows the key once; the node keeps a hash. They are asked "
    "for\n"
    "  when deai.yaml says `http: { auth: true }`, and a change holds at once.\n";

static int add(const cli *line) {
  char err[DEAI_ERR_CAP] = "";
  char secret[DEAI_APIKEYS_SECRET_CAP];
  int32_t status = deai_apikeys_add(line->data, line->words[1], secret, err, sizeof err);
  if (status != DEAI_OK) return cli_fail(status, err);
  if (line->json) {
    json_t *row = json_pack("{s:s, s:s}", "name", line->words[1], "key", secret);
    (void)json_dumpf(row, stdout, 0);
    (void)printf("\n");
    json_decref(row);
  } else
    (void)printf("%s\n", secret);
  if (!line->quiet) (void)fprintf(stderr, "keep it: it is not shown again\n");
  return 0;
}

static int list(const cli *line) {
  char err[DEAI_ERR_CAP] = "";
  deai_apikeys keys;
  int32_t status = deai_apikeys_load(line->data, &keys, err, sizeof err);
  if (status != DEAI_OK) return cli_fail(status, err);
  json_t *rows = json_array();
  for (uint32_t i = 0; i < keys.count; i++) {
    char id[DEAI_APIKEYS_ID_TEXT_CAP];
    deai_apikeys_id(&keys.rows[i], id);
    if (line->json)
      (void)json_array_append_new(rows,
                                  json_pack("{s:s, s:s}", "id", id, "name", keys.rows[i].name));
    else
      (void)printf("%s  %s\n", id, keys.rows[i].name);
  }
  if (line->json) (void)json_dumpf(rows, stdout, JSON_INDENT(2));
  if (line->json) (void)printf("\n");
  json_decref(rows);
  deai_apikeys_free(&keys);
  return 0;
}

static int rm(const cli *line) {
  char err[DEAI_ERR_CAP] = "";
  int32_t status = deai_apikeys_remove(line->data, line->words[1], err, sizeof err);
  return status == DEAI_OK ? 0 : cli_fail(status, err);
}

int cli_key(cli *line) {
  if (cli_flag(line, "--help")) {
    (void)fputs(help, stdout);
    return 0;
  }
  if (line->count == 2 && strcmp(line->words[0], "add") == 0) return add(line);
  if (line->count == 1 && strcmp(line->words[0], "list") == 0) return list(line);
  if (line->count == 2 && strcmp(line->words[0], "rm") == 0) return rm(line);
  return cli_usage(help);
}
