#include "cli.h"

#include "deai/contracts/lm.h"
#include "host/base/platform.h"

#include <inttypes.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define NODE_SERVICE "deai.node/1-draft"
#define CALLS        500u
#define TOKENS       64u
#define CALL_MS      10000u

static const char help[] =
    "deai bench [--json]\n"
    "  how fast this node is: a call over its socket (median and 99th of 100 of 500 calls), first\n"
    "  token and tok/s of 64 tokens of its first model. It leaves nothing behind.\n";

typedef struct call_times {
  uint64_t median_ns;
  uint64_t p99_ns;
} call_times;

static int by_size(const void *a, const void *b) {
  const uint64_t *left = a;
  const uint64_t *right = b;
  return *left < *right ? -1 : *left > *right;
}

static int time_calls(const cli *line, call_times *out) {
  static uint64_t taken_ns[CALLS];
  char why[DEAI_ERR_CAP] = "";
  int32_t status = DEAI_OK;
  deai_client *client = cli_connect(line);
  if (client == NULL) return CLI_EXIT_NO_NODE;
  for (uint32_t i = 0; i < CALLS && status == DEAI_OK; i++) {
    deai_client_call call = {.service = NODE_SERVICE, .method = "peers", .time_ms = CALL_MS};
    uint64_t begin_ns = deai_now_ns(deai_platform_system());
    status = deai_client_run(client, &call, why, sizeof why);
    taken_ns[i] = deai_now_ns(deai_platform_system()) - begin_ns;
  }
  deai_client_free(client);
  if (status != DEAI_OK) return cli_fail(status, why);
  qsort(taken_ns, CALLS, sizeof taken_ns[0], by_size);
  *out = (call_times){taken_ns[CALLS / 2], taken_ns[CALLS * 99 / 100]};
  return 0;
}

/* first_part keeps the CID of the first model as text. */
static bool first_part(void *user, const deai_part *part) {
  _Alignas(16) static uint8_t room[64 * sizeof(deai_lm_model) + 64];
  deai_arena arena = {room, sizeof room, 0};
  char *cid = user;
  deai_lm_models_end end;
  if ((part->flags & DEAI_PART_END) == 0 || part->args.len == 0) return true;
  if (deai_decode(&deai_lm_models_end_table, part->args, &end, &arena, NULL, 0) != DEAI_OK)
    return false;
  const deai_lm_model *models = end.models.items;
  if (end.models.count > 0) cli_cid_text(models[0].model, cid, 256);
  return true;
}

/* own_model writes the CID of the first model of this node, or "". */
static int own_model(const cli *line, char cid[256]) {
  static const uint8_t empty_map = 0xa0;
  char why[DEAI_ERR_CAP] = "";
  cid[0] = 0;
  deai_client *client = cli_connect(line);
  if (client == NULL) return CLI_EXIT_NO_NODE;
  deai_client_call call = {.service = DEAI_LM_SERVICE,
                           .method = "models",
                           .flags = DEAI_CALL_HERE,
                           .args = deai_bytes_of(&empty_map, 1),
                           .part = first_part,
                           .user = cid,
                           .time_ms = CALL_MS};
  int32_t status = deai_client_run(client, &call, why, sizeof why);
  deai_client_free(client);
  bool none = status == DEAI_ENOPROVIDER || status == DEAI_ENOTFOUND;
  return status == DEAI_OK || none ? 0 : cli_fail(status, why);
}

static int time_model(const cli *line, cli_timed *out, bool *here_out) {
  char cid[256];
  int code = own_model(line, cid);
  *here_out = cid[0] != 0;
  if (code != 0 || cid[0] == 0) return code;
  json_t *status = cli_json(line, NODE_SERVICE, "status", &code);
  const char *hex = json_string_value(json_object_get(status, "hex"));
  if (hex != NULL) code = cli_ask_timed(line, cid, hex, TOKENS, out);
  json_decref(status);
  return code;
}

static void print_json(const call_times *calls, const cli_timed *model, bool here) {
  json_t *out = json_pack("{s:{s:I, s:I, s:I}}", "call", "count", (json_int_t)CALLS, "median_ns",
                          (json_int_t)calls->median_ns, "p99_ns", (json_int_t)calls->p99_ns);
  if (here)
    (void)json_object_set_new(out, "model",
                              json_pack("{s:s, s:I, s:I, s:f}", "model", model->model, "tokens",
                                        (json_int_t)model->tokens, "first_ms",
                                        (json_int_t)model->first_ms, "tokens_per_s",
                                        (double)model->rate10 / 10));
  (void)json_dumpf(out, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
  (void)putchar('\n');
  json_decref(out);
}

int cli_bench(cli *line) {
  call_times calls = {0, 0};
  cli_timed model = {0};
  bool here = false;
  if (cli_flag(line, "--help")) return cli_usage(help) * 0;
  if (line->count > 0) return cli_usage(help);
  int code = time_calls(line, &calls);
  if (code == 0) code = time_model(line, &model, &here);
  if (code != 0) return code;
  if (line->json) {
    print_json(&calls, &model, here);
    return 0;
  }
  (void)printf("call   median %" PRIu64 " us, p99 %" PRIu64 " us (%u calls over the socket)\n",
               calls.median_ns / 1000, calls.p99_ns / 1000, CALLS);
  if (here)
    (void)printf("model  first %" PRIu64 " ms, %" PRIu64 ".%" PRIu64 " tok/s (%" PRIu64
                 " tokens of %s)\n",
                 model.first_ms, model.rate10 / 10, model.rate10 % 10, model.tokens, model.model);
  else
    (void)printf("model  none on this node; add one: deai model add FILE\n");
  return 0;
}
