#include "cli.h"

#include "deai/contracts/blocks.h"
#include "deai/contracts/lm.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/base/banned.h"

#define LOAD_MS 3600000u

static const char help[] =
    "deai model add FILE|CID | list | show CID|NAME | rm CID\n"
    "  add puts the file into the node's blocks (its bytes stay as they are), pins and loads it;\n"
    "  a CID is fetched from members first, verified block by block.\n"
    "  rm unloads it; deai store unpin CID and deai store gc free its blocks.\n"
    "  show says what a model of the network is, what it costs, and which nodes offer it.\n";

static bool list_part(void *user, const deai_part *part) {
  _Alignas(16) static uint8_t room[64 * sizeof(deai_lm_model) + 64];
  deai_arena arena = {room, sizeof room, 0};
  const cli *line = user;
  deai_lm_models_end end;
  if ((part->flags & DEAI_PART_END) == 0 || part->args.len == 0) return true;
  if (deai_decode(&deai_lm_models_end_table, part->args, &end, &arena, NULL, 0) != DEAI_OK)
    return false;
  const deai_lm_model *models = end.models.items;
  json_t *rows = json_array();
  for (uint64_t i = 0; i < end.models.count; i++) {
    char cid[256];
    cli_cid_text(models[i].model, cid, sizeof cid);
    if (!line->json)
      (void)printf("%-32.*s ctx %-7" PRIu64 " price %" PRIu64 "/%" PRIu64 "  %s\n",
                   (int)models[i].name.len, models[i].name.ptr, models[i].ctx, models[i].price_in,
                   models[i].price_out, cid);
    (void)json_array_append_new(rows, json_pack("{s:s, s:s%, s:I}", "cid", cid, "name",
                                                models[i].name.ptr, (int)models[i].name.len, "ctx",
                                                (json_int_t)models[i].ctx));
  }
  if (line->json) {
    (void)json_dumpf(rows, stdout, JSON_INDENT(2));
    (void)putchar('\n');
  } else if (end.models.count == 0) {
    (void)printf("no model yet; add one: deai model add FILE\n");
  }
  json_decref(rows);
  return true;
}

static int do_list(cli *line) {
  char why[DEAI_ERR_CAP] = "";
  static const uint8_t empty_map = 0xa0;
  deai_client *client = cli_connect(line);
  if (client == NULL) return CLI_EXIT_NO_NODE;
  deai_client_call call = {.service = DEAI_LM_SERVICE,
                           .method = "models",
                           .args = deai_bytes_of(&empty_map, 1),
                           .part = list_part,
                           .user = line,
                           .time_ms = 10000};
  int32_t status = deai_client_run(client, &call, why, sizeof why);
  deai_client_free(client);
  return status == DEAI_OK ? 0 : cli_fail(status, why);
}

static bool load_part(void *user, const deai_part *part) {
  (void)user;
  deai_blocks_progress seen;
  if ((part->flags & DEAI_PART_END) != 0 || part->args.len == 0) return true;
  if (deai_decode(&deai_blocks_progress_table, part->args, &seen, NULL, NULL, 0) == DEAI_OK &&
      isatty(2))
    (void)fprintf(stderr, "\rloading %" PRIu64 " of %" PRIu64 " MiB%s", seen.done >> 20,
                  seen.of >> 20, seen.done == seen.of ? "\n" : "");
  return true;
}

static int load(deai_client *client, const char *method, deai_bytes cid) {
  char why[DEAI_ERR_CAP] = "";
  uint8_t room[256];
  deai_lm_model_ref ref = {.model = cid};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  int32_t status = deai_encode(&deai_lm_model_ref_table, &ref, &writer, why, sizeof why);
  deai_client_call call = {.service = DEAI_LM_SERVICE,
                           .method = method,
                           .args = deai_bytes_of(room, writer.len),
                           .part = load_part,
                           .time_ms = LOAD_MS};
  if (status == DEAI_OK) status = deai_client_run(client, &call, why, sizeof why);
  return status == DEAI_OK ? 0 : cli_fail(status, why);
}

static int pin(deai_client *client, const char *method, deai_bytes cid) {
  char why[DEAI_ERR_CAP] = "";
  uint8_t room[256];
  deai_blocks_cid ask = {.cid = cid};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  int32_t status = deai_encode(&deai_blocks_cid_table, &ask, &writer, why, sizeof why);
  deai_client_call call = {.service = DEAI_BLOCKS_SERVICE,
                           .method = method,
                           .flags = DEAI_CALL_HERE,
                           .args = deai_bytes_of(room, writer.len),
                           .time_ms = 60000};
  if (status == DEAI_OK) status = deai_client_run(client, &call, why, sizeof why);
  return status == DEAI_OK ? 0 : cli_fail(status, why);
}

static int do_add(cli *line) {
  char text[256];
  uint8_t cid[DEAI_CID_MAX];
  uint64_t size = 0;
  if (line->count != 2) return cli_usage(help);
  deai_client *client = cli_connect(line);
  if (client == NULL) return CLI_EXIT_NO_NODE;
  int code = 0;
  uint64_t len =
      access(line->words[1], F_OK) != 0 ? cli_cid_read(line->words[1], cid, sizeof cid) : 0;
  if (len == 0)
    code = cli_add(line, client, line->words[1], true, cid, &len, &size);
  else
    code = pin(client, "pin", deai_bytes_of(cid, len)); /* before it comes: gc leaves it alone */
  if (code == 0) {
    code = load(client, "load", deai_bytes_of(cid, len));
    if (code != 0) (void)pin(client, "unpin", deai_bytes_of(cid, len));
  }
  deai_client_free(client);
  if (code != 0) return code;
  cli_cid_text(deai_bytes_of(cid, len), text, sizeof text);
  (void)printf("%s\n", text);
  return 0;
}

static int do_rm(cli *line) {
  uint8_t cid[DEAI_CID_MAX];
  if (line->count != 2) return cli_usage(help);
  uint64_t len = cli_cid_read(line->words[1], cid, sizeof cid);
  if (len == 0) return cli_fail(DEAI_EINVAL, "expected a CID like bafy..., found something else");
  deai_client *client = cli_connect(line);
  if (client == NULL) return CLI_EXIT_NO_NODE;
  int code = load(client, "unload", deai_bytes_of(cid, len));
  deai_client_free(client);
  return code;
}

/* ---- show ---- */

static bool stat_part(void *user, const deai_part *part) {
  deai_blocks_stat *stat = user;
  deai_blocks_stat seen;
  if ((part->flags & DEAI_PART_END) != 0 && part->status == DEAI_OK &&
      deai_decode(&deai_blocks_stat_table, part->args, &seen, NULL, NULL, 0) == DEAI_OK)
    *stat = seen;
  return true;
}

/* add_blocks puts {size, blocks, here, pinned} of the file into model; a node that has no block of
   it knows only that. */
static int add_blocks(const cli *line, json_t *model) {
  char why[DEAI_ERR_CAP] = "";
  uint8_t cid[DEAI_CID_MAX];
  uint8_t room[256];
  deai_blocks_stat stat = {0};
  const char *text = json_string_value(json_object_get(model, "cid"));
  deai_blocks_cid ask = {
      .cid = deai_bytes_of(cid, text != NULL ? cli_cid_read(text, cid, sizeof cid) : 0)};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  int32_t status = deai_encode(&deai_blocks_cid_table, &ask, &writer, why, sizeof why);
  if (status != DEAI_OK) return cli_fail(status, why);
  deai_client *client = cli_connect(line);
  if (client == NULL) return CLI_EXIT_NO_NODE;
  deai_client_call call = {.service = DEAI_BLOCKS_SERVICE,
                           .method = "stat",
                           .flags = DEAI_CALL_HERE,
                           .args = deai_bytes_of(room, writer.len),
                           .part = stat_part,
                           .user = &stat,
                           .time_ms = 10000};
  status = deai_client_run(client, &call, why, sizeof why);
  deai_client_free(client);
  if (status != DEAI_OK && status != DEAI_ENOTFOUND) return cli_fail(status, why);
  (void)json_object_set_new(model, "size", json_integer((json_int_t)stat.size));
  (void)json_object_set_new(model, "blocks", json_integer((json_int_t)stat.blocks));
  (void)json_object_set_new(model, "blocks_here", json_integer((json_int_t)stat.have));
  (void)json_object_set_new(model, "pinned", json_boolean(stat.pins > 0));
  return 0;
}

static long long number_of(const json_t *object, const char *key) {
  return (long long)json_integer_value(json_object_get(object, key));
}

static void print_model(const json_t *model, const json_t *members) {
  const char *chat = json_string_value(json_object_get(model, "chat_template"));
  const json_t *nodes = json_object_get(model, "nodes");
  (void)printf("name       %s\ncid        %s\ncontext    %lld tokens\n",
               json_string_value(json_object_get(model, "id")),
               json_string_value(json_object_get(model, "cid")),
               number_of(model, "context_length"));
  (void)printf("price      %lld in, %lld out (10^-9 coin a token; the first node's)\n",
               number_of(model, "price_in"), number_of(model, "price_out"));
  if (number_of(model, "blocks") > 0)
    (void)printf("file       %lld bytes, %lld of %lld blocks here%s\n", number_of(model, "size"),
                 number_of(model, "blocks_here"), number_of(model, "blocks"),
                 json_is_true(json_object_get(model, "pinned")) ? ", pinned" : ", not pinned");
  else
    (void)printf("file       not here; fetch it: deai model add CID\n");
  (void)printf("template   %s\n", chat != NULL ? chat : "unknown: no chat, only /v1/completions");
  for (size_t i = 0; i < json_array_size(nodes); i++) {
    const char *hex = json_string_value(json_array_get(nodes, i));
    (void)printf("node       %.8s  %s\n", hex, cli_member_name(members, hex));
  }
}

/* find_model returns the row of the list that has this name or CID (a new reference), or NULL. */
static json_t *find_model(const json_t *list, const char *text) {
  const json_t *rows = json_object_get(list, "data");
  for (size_t i = 0; i < json_array_size(rows); i++) {
    json_t *row = json_array_get(rows, i);
    const char *id = json_string_value(json_object_get(row, "id"));
    const char *cid = json_string_value(json_object_get(row, "cid"));
    if (id != NULL && cid != NULL && (strcmp(id, text) == 0 || strcmp(cid, text) == 0))
      return json_incref(row);
  }
  return NULL;
}

static int do_show(cli *line) {
  int code = 0;
  if (line->count != 2) return cli_usage(help);
  json_t *list = cli_http(line, "models/answer", "/v1/models", &code);
  if (list == NULL) return code;
  json_t *model = find_model(list, line->words[1]);
  json_decref(list);
  if (model == NULL)
    return cli_fail(DEAI_ENOTFOUND,
                    "expected the name or CID of a model that a node serves now, found none such; "
                    "see deai model list, or wait for the members that have it");
  code = add_blocks(line, model);
  json_t *members = code == 0 ? cli_members(line, &code) : NULL;
  if (code == 0 && line->json) {
    (void)json_dumpf(model, stdout, JSON_INDENT(2));
    (void)putchar('\n');
  } else if (code == 0) {
    print_model(model, members);
  }
  json_decref(members);
  json_decref(model);
  return code;
}

int cli_model(cli *line) {
  const char *verb = line->count > 0 ? line->words[0] : "";
  if (strcmp(verb, "add") == 0) return do_add(line);
  if (strcmp(verb, "rm") == 0) return do_rm(line);
  if (strcmp(verb, "show") == 0) return do_show(line);
  if (strcmp(verb, "list") == 0 && line->count == 1) return do_list(line);
  return cli_usage(help);
}
