#include "cli.h"

#include "host/base/file.h"
#include "host/base/keys.h"
#include "host/base/platform.h"
#include "host/ledger/genesis.h"
#include "host/ledger/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

#define NODE_CAP_A_DAY (UINT64_C(1000) * DEAI_COIN)

static const char help[] =
    "deai init [--name NAME] [--http HOST:PORT] [--peers HOST:PORT] [--plugin-dir DIR]\n"
    "          [--hold 1h]    hold time of claims in this network: for audits and objections\n"
    "  makes a data folder (--data): keys, a network of its own, a config with comments.\n"
    "  An existing one is never overwritten. Then: deai up -d\n";

/* The bundled plug-ins in the order they are started, and what stands in the config for each. */
static const char *const bundled[][2] = {
    {"storage/blocks", ""}, {"compute/cpu", ""}, {"models/rank", ""}, {"models/answer", ""}};

static int32_t make_keys(const char *data, deai_key *keys[3], char *err, uint32_t err_cap) {
  static const char *const names[] = {"node", "wallet", "order"};
  for (int i = 0; i < 3; i++) {
    keys[i] = deai_key_make();
    if (keys[i] == NULL) return DEAI_ENOMEM;
    int32_t status = deai_key_save(keys[i], data, names[i], err, err_cap);
    if (status != DEAI_OK) return status;
  }
  return DEAI_OK;
}

static int32_t make_ledger(const char *data, const char *name, deai_key *keys[3], uint64_t hold_ms,
                           char *err, uint32_t err_cap) {
  char folder[4000];
  const deai_platform *platform = deai_platform_system();
  deai_genesis_box *box = NULL;
  deai_ledger *ledger = NULL;
  deai_genesis_options options = {.name = deai_str_of(name),
                                  .node_name = deai_str_of(name),
                                  .time_ms = deai_wall_ms(platform),
                                  .node_cap = NODE_CAP_A_DAY,
                                  .node_invites = 1,
                                  .hold_ms = hold_ms};
  deai_random(platform, options.id, sizeof options.id);
  memcpy(options.node, deai_key_public(keys[0]), DEAI_KEY_BYTES);
  memcpy(options.wallet, deai_key_public(keys[1]), DEAI_KEY_BYTES);
  memcpy(options.order, deai_key_public(keys[2]), DEAI_KEY_BYTES);
  int32_t status = deai_genesis_build(&options, &box, err, err_cap);
  if (status != DEAI_OK) return status;
  (void)snprintf(folder, sizeof folder, "%s/ledger", data);
  deai_ledger_options ledger_options = {
      .folder = folder, .genesis = box->bytes, .engine = DEAI_ENGINE_LOCAL, .order = keys[2]};
  status = deai_ledger_open(&ledger_options, &ledger, err, err_cap);
  deai_ledger_close(ledger);
  deai_genesis_free(box);
  return status;
}

/* plugin_dir_find: of the build tree, of the installed tree, or where the build meant it to be. */
static void plugin_dir_find(char *out, size_t cap) {
  static const char *const near[] = {"../plugins", DEAI_PLUGIN_NEAR};
  if (deai_path_near(out, cap, near, 2) != DEAI_OK) (void)snprintf(out, cap, "%s", DEAI_PLUGIN_DIR);
}

static bool plugin_there(const char *folder, const char *id) {
  char path[8400];
  int base = snprintf(path, sizeof path, "%s/", folder);
  (void)snprintf(path + base, sizeof path - (size_t)base, "%s.so", id);
  for (char *at = path + base; *at != 0; at++)
    *at = *at == '/' ? '-' : *at;
  return access(path, R_OK) == 0;
}

static int32_t make_config(cli *line, const char *name, char *err, uint32_t err_cap) {
  char text[16384];
  char path[4000];
  char found[PATH_MAX];
  const char *http = cli_option(line, "--http");
  const char *peers = cli_option(line, "--peers");
  const char *folder = cli_option(line, "--plugin-dir");
  plugin_dir_find(found, sizeof found);
  if (folder == NULL) folder = found;
  int len = snprintf(text, sizeof text,
                     "# deai.yaml; check it: deaid --check-config %s/deai.yaml\n"
                     "data: %s\n"
                     "name: %s\n"
                     "plugin_dir: %s\n"
                     "http:\n"
                     "  listen: %s    # OpenAI API, IPFS gateway, /metrics\n"
                     "  auth: false               # true: an API key is needed\n"
                     "peers:\n"
                     "  listen: %s    # other nodes\n"
                     "ledger: { deposit: 1, claim: 10m }   # coins of a channel; time between "
                     "claims\n"
                     "log: { level: info, format: text }\n"
                     "plugins:\n",
                     line->data, line->data, name, folder, http != NULL ? http : "127.0.0.1:8340",
                     peers != NULL ? peers : "127.0.0.1:8341");
  for (size_t i = 0; i < sizeof bundled / sizeof bundled[0] && len > 0; i++) {
    if (!plugin_there(folder, bundled[i][0])) continue;
    len += snprintf(text + len, sizeof text - (size_t)len, "  %s: {%s}\n", bundled[i][0],
                    bundled[i][1]);
  }
  if (len < 0 || (size_t)len >= sizeof text) return DEAI_ETOOLARGE;
  (void)snprintf(path, sizeof path, "%s/deai.yaml", line->data);
  return deai_file_create(path, deai_bytes_of(text, (uint64_t)len), 0600, err, err_cap);
}

int cli_write_config(cli *line, const char *name) {
  char err[DEAI_ERR_CAP] = "";
  int32_t status = make_config(line, name, err, sizeof err);
  return status == DEAI_OK ? 0 : cli_fail(status, err);
}

int cli_init(cli *line) {
  char err[DEAI_ERR_CAP] = "";
  char path[4000];
  deai_key *keys[3] = {NULL, NULL, NULL};
  uint64_t hold_ms = 0;
  if (cli_flag(line, "--help")) return cli_usage(help) * 0;
  const char *hold = cli_option(line, "--hold");
  if (hold != NULL && (cli_unit(hold, "duration", &hold_ms) != 0 || hold_ms == 0))
    return cli_usage(help);
  const char *name = cli_option(line, "--name");
  if (name == NULL) name = "node";
  (void)snprintf(path, sizeof path, "%s/keys", line->data);
  if (access(path, F_OK) == 0) {
    (void)fprintf(stderr, "deai: expected no data folder at %s, found one; choose another --data\n",
                  line->data);
    return 1;
  }
  int32_t status = deai_sign_start(err, sizeof err);
  if (status == DEAI_OK) status = deai_folder_make(line->data, 0700, err, sizeof err);
  if (status == DEAI_OK) status = make_keys(line->data, keys, err, sizeof err);
  if (status == DEAI_OK) status = make_ledger(line->data, name, keys, hold_ms, err, sizeof err);
  if (status == DEAI_OK) status = make_config(line, name, err, sizeof err);
  for (int i = 0; i < 3; i++)
    deai_key_free(keys[i]);
  if (status == DEAI_OK && line->count > 0) return cli_usage(help);
  if (status != DEAI_OK) return cli_fail(status, err);
  if (!line->quiet) (void)printf("made %s; next: deai --data %s up -d\n", line->data, line->data);
  return 0;
}
