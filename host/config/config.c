#include "config.h"

#include "host/base/file.h"
#include "host/config/schema.h"
#include "host/config/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

#define ARENA_BYTES 65536u

/* The node's own settings, in the same language as a plug-in's. */
static const char node_schema[] =
    "{\"type\":\"object\",\"properties\":{"
    "\"data\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":3800},"
    "\"name\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":64,\"default\":\"node\"},"
    "\"plugin_dir\":{\"type\":\"string\",\"default\":\"" DEAI_PLUGIN_DIR "\"},"
    "\"http\":{\"type\":\"object\",\"properties\":{"
    "\"listen\":{\"type\":\"string\",\"maxLength\":256,\"default\":\"127.0.0.1:8340\"},"
    "\"hosts\":{\"type\":\"array\",\"maxItems\":32,\"items\":{\"type\":\"string\"}},"
    "\"auth\":{\"type\":\"boolean\",\"default\":false},"
    "\"per_address\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":4096,\"default\":64}}},"
    "\"peers\":{\"type\":\"object\",\"properties\":{"
    "\"listen\":{\"type\":\"string\",\"maxLength\":256,\"default\":\"127.0.0.1:8341\"},"
    "\"announce\":{\"type\":\"array\",\"maxItems\":8,\"items\":{\"type\":\"string\"}}}},"
    "\"ledger\":{\"type\":\"object\",\"properties\":{"
    "\"engine\":{\"type\":\"string\",\"enum\":[\"local\"],\"default\":\"local\"},"
    "\"deposit\":{\"type\":\"integer\",\"format\":\"coins\",\"minimum\":1,\"default\":1000000000},"
    "\"claim\":{\"type\":\"integer\",\"format\":\"duration\",\"minimum\":10,"
    "\"default\":600000},"
    "\"close_after\":{\"type\":\"integer\",\"format\":\"duration\",\"default\":86400000}}},"
    "\"log\":{\"type\":\"object\",\"properties\":{"
    "\"level\":{\"type\":\"string\",\"enum\":[\"error\",\"warn\",\"info\",\"debug\"],"
    "\"default\":\"info\"},"
    "\"format\":{\"type\":\"string\",\"enum\":[\"text\",\"json\"],\"default\":\"text\"}}}},"
    "\"required\":[\"data\"]}";

static const char plugin_schema[] =
    "{\"type\":\"object\",\"properties\":{"
    "\"path\":{\"type\":\"string\",\"default\":\"\"},"
    "\"sha256\":{\"type\":\"string\",\"maxLength\":64,\"default\":\"\"},"
    "\"isolation\":{\"type\":\"string\",\"enum\":[\"\",\"inproc\",\"process\"],\"default\":\"\"},"
    "\"optional\":{\"type\":\"boolean\",\"default\":false},"
    "\"memory\":{\"type\":\"integer\",\"format\":\"bytes\",\"default\":0}}}";

static const deai_field http_rows[] = {
    DEAI_F_BOOL(deai_config_http, auth, "auth"),
    DEAI_F_LIST(deai_config_http, hosts, "hosts", DEAI_FIELD_TEXT, 0, 32, 4096),
    DEAI_F_TEXT(deai_config_http, listen, "listen", 0, 256),
    DEAI_F_UINT(deai_config_http, per_address, "per_address", 1, 4096),
};
static const deai_table http_table = DEAI_TABLE_HEAD("http", deai_config_http, http_rows);
static const deai_field peers_rows[] = {
    DEAI_F_TEXT(deai_config_peers, listen, "listen", 0, 256),
    DEAI_F_LIST(deai_config_peers, announce, "announce", DEAI_FIELD_TEXT, 0, 8, 4096),
};
static const deai_table peers_table = DEAI_TABLE_HEAD("peers", deai_config_peers, peers_rows);
static const deai_field log_rows[] = {
    DEAI_F_TEXT(deai_config_log, level, "level", 0, 16),
    DEAI_F_TEXT(deai_config_log, format, "format", 0, 16),
};
static const deai_table log_table = DEAI_TABLE_HEAD("log", deai_config_log, log_rows);
static const deai_field ledger_rows[] = {
    DEAI_F_UINT(deai_config_ledger, claim, "claim", 10, INT64_MAX),
    DEAI_F_TEXT(deai_config_ledger, engine, "engine", 0, 16),
    DEAI_F_UINT(deai_config_ledger, deposit, "deposit", 1, INT64_MAX),
    DEAI_F_UINT(deai_config_ledger, close_after, "close_after", 0, INT64_MAX),
};
static const deai_table ledger_table = DEAI_TABLE_HEAD("ledger", deai_config_ledger, ledger_rows);
static const deai_field node_rows[] = {
    DEAI_F_STRUCT(deai_config_node, log, "log", &log_table),
    DEAI_F_TEXT(deai_config_node, data, "data", 1, 3800),
    DEAI_F_STRUCT(deai_config_node, http, "http", &http_table),
    DEAI_F_TEXT(deai_config_node, name, "name", 1, 64),
    DEAI_F_STRUCT(deai_config_node, peers, "peers", &peers_table),
    DEAI_F_STRUCT(deai_config_node, ledger, "ledger", &ledger_table),
    DEAI_F_TEXT(deai_config_node, plugin_dir, "plugin_dir", 1, 4096),
};
static const deai_table node_table = DEAI_TABLE_HEAD("config", deai_config_node, node_rows);

typedef struct plugin_keys {
  deai_str path;
  uint64_t memory;
  deai_str sha256;
  uint8_t optional;
  deai_str isolation;
} plugin_keys;

static const deai_field plugin_rows[] = {
    DEAI_F_TEXT(plugin_keys, path, "path", 0, 4096),
    DEAI_F_UINT(plugin_keys, memory, "memory", 0, INT64_MAX),
    DEAI_F_TEXT(plugin_keys, sha256, "sha256", 0, 64),
    DEAI_F_BOOL(plugin_keys, optional, "optional"),
    DEAI_F_TEXT(plugin_keys, isolation, "isolation", 0, 16),
};
static const deai_table plugin_table = DEAI_TABLE_HEAD("plugins", plugin_keys, plugin_rows);

static int32_t apply(const char *schema_text, struct fy_node *node, const char *file,
                     const char *path, uint8_t *room, uint64_t *len, char *err, uint32_t err_cap) {
  json_t *schema = json_loads(schema_text, 0, NULL);
  if (schema == NULL) return DEAI_ENOMEM;
  int32_t status = deai_schema_apply(schema, node, file, path, (deai_buf){room, DEAI_SETTINGS_MAX},
                                     len, err, err_cap);
  json_decref(schema);
  return status;
}

/* take_out moves the pairs of node whose keys are in keys into a new map of the same document. */
static struct fy_node *take_out(struct fy_document *document, struct fy_node *node,
                                const char *const *keys) {
  struct fy_node *out = fy_node_create_mapping(document);
  for (size_t i = 0; keys[i] != NULL && node != NULL && fy_node_is_mapping(node); i++) {
    struct fy_node_pair *pair = fy_node_mapping_lookup_pair_by_string(node, keys[i], FY_NT);
    if (pair == NULL) continue;
    struct fy_node *value = fy_node_pair_value(pair);
    struct fy_node *key = fy_node_copy(document, fy_node_pair_key(pair));
    struct fy_node *copy = fy_node_copy(document, value);
    if (fy_node_mapping_append(out, key, copy) != 0) return NULL;
    fy_node_free(fy_node_mapping_remove_by_key(node, fy_node_pair_key(pair)));
  }
  return out;
}

static bool hex_read(deai_str hex, uint8_t out[DEAI_HASH_BYTES]) {
  if (hex.len != 2 * DEAI_HASH_BYTES) return false;
  for (uint64_t i = 0; i < hex.len; i++) {
    char c = hex.ptr[i];
    int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return false;
    out[i / 2] = (uint8_t)(i % 2 == 0 ? digit << 4 : out[i / 2] | digit);
  }
  return true;
}

static int32_t plugin_open(deai_config_plugin *plugin, const deai_config *config,
                           const plugin_keys *keys, const char *file, char *err, uint32_t err_cap) {
  char path[8300];
  uint8_t pin[DEAI_HASH_BYTES];
  bool pinned = keys->sha256.len > 0;
  if (pinned && !hex_read(keys->sha256, pin))
    return deai_err(err, err_cap, DEAI_EINVAL,
                    "%s: plugins.%s.sha256: expected 64 lower-case hex digits", file, plugin->name);
  if (keys->path.len > 0) {
    (void)snprintf(path, sizeof path, "%.*s", (int)keys->path.len, keys->path.ptr);
  } else {
    int base = snprintf(path, sizeof path, "%.*s/", (int)config->node.plugin_dir.len,
                        config->node.plugin_dir.ptr);
    (void)snprintf(path + base, sizeof path - (size_t)base, "%s.so", plugin->name);
    for (char *at = path + base; *at != 0; at++)
      *at = *at == '/' ? '-' : *at;
  }
  char reason[DEAI_ERR_CAP] = "";
  int32_t status =
      deai_loader_open(&plugin->loaded, path, pinned ? pin : NULL, reason, sizeof reason);
  if (status != DEAI_OK)
    return deai_err(err, err_cap, status, "%s: plugins.%s: %s", file, plugin->name, reason);
  if (strcmp(plugin->loaded.manifest.id, plugin->name) != 0)
    return deai_err(err, err_cap, DEAI_EINVAL,
                    "%s: plugins.%s: expected this plug-in in %s, found %s", file, plugin->name,
                    path, plugin->loaded.manifest.id);
  return DEAI_OK;
}

static int32_t plugin_settings(deai_config_plugin *plugin, struct fy_node *node, const char *file,
                               char *err, uint32_t err_cap) {
  char path[128];
  json_t *schema = plugin->loaded.manifest.settings;
  json_t *empty = json_pack("{s:s}", "type", "object");
  (void)snprintf(path, sizeof path, "plugins.%s", plugin->name);
  if (schema == NULL) schema = empty;
  plugin->settings = malloc(DEAI_SETTINGS_MAX);
  int32_t status = plugin->settings == NULL || empty == NULL
                       ? DEAI_ENOMEM
                       : deai_schema_check(schema, err, err_cap);
  if (status == DEAI_OK)
    status =
        deai_schema_apply(schema, node, file, path, (deai_buf){plugin->settings, DEAI_SETTINGS_MAX},
                          &plugin->settings_len, err, err_cap);
  json_decref(empty);
  return status;
}

static int32_t plugin_load(deai_config *config, struct fy_document *document, const char *name,
                           struct fy_node *node, const char *file, char *err, uint32_t err_cap) {
  static const char *const reserved[] = {"path", "sha256", "isolation", "optional", "memory", NULL};
  uint8_t room[DEAI_SETTINGS_MAX];
  char path[128];
  uint64_t len = 0;
  plugin_keys keys;
  if (config->plugin_count == DEAI_CONFIG_PLUGINS_MAX || strlen(name) > DEAI_NAME_MAX)
    return deai_err(err, err_cap, DEAI_EINVAL,
                    "%s: plugins: expected at most %u with names of at most %u bytes", file,
                    DEAI_CONFIG_PLUGINS_MAX, DEAI_NAME_MAX);
  deai_config_plugin *plugin = &config->plugins[config->plugin_count++];
  plugin->loaded.fd = -1;
  (void)snprintf(plugin->name, sizeof plugin->name, "%s", name);
  (void)snprintf(path, sizeof path, "plugins.%s", name);
  struct fy_node *own = take_out(document, node, reserved);
  int32_t status =
      own == NULL ? DEAI_ENOMEM : apply(plugin_schema, own, file, path, room, &len, err, err_cap);
  if (own != NULL) fy_node_free(own);
  if (status == DEAI_OK)
    status = deai_decode(&plugin_table, deai_bytes_of(room, len), &keys, NULL, err, err_cap);
  if (status != DEAI_OK) return status;
  plugin->isolation =
      keys.isolation.len == 0 ? -1 : deai_str_eq(keys.isolation, deai_str_of("process"));
  plugin->optional = keys.optional != 0;
  plugin->memory_max = keys.memory;
  status = plugin_open(plugin, config, &keys, file, err, err_cap);
  if (status == DEAI_OK) return plugin_settings(plugin, node, file, err, err_cap);
  if (!plugin->optional) return status;
  (void)snprintf(plugin->reason, sizeof plugin->reason, "%s", err);
  deai_loader_close(&plugin->loaded);
  return DEAI_OK;
}

static int32_t plugins_load(deai_config *config, struct fy_document *document, struct fy_node *map,
                            const char *file, char *err, uint32_t err_cap) {
  void *iterator = NULL;
  struct fy_node_pair *pair = NULL;
  if (map == NULL || fy_node_is_null(map)) return DEAI_OK;
  if (!fy_node_is_mapping(map))
    return deai_err(err, err_cap, DEAI_EINVAL, "%s: plugins: expected a map of plug-in names",
                    file);
  while ((pair = fy_node_mapping_iterate(map, &iterator)) != NULL) {
    char name[128];
    size_t len = 0;
    const char *key = fy_node_get_scalar(fy_node_pair_key(pair), &len);
    (void)snprintf(name, sizeof name, "%.*s", (int)(key != NULL ? len : 0), key != NULL ? key : "");
    int32_t status =
        plugin_load(config, document, name, fy_node_pair_value(pair), file, err, err_cap);
    if (status != DEAI_OK) return status;
  }
  return DEAI_OK;
}

static int32_t node_load(deai_config *config, struct fy_node *root, const char *file, char *err,
                         uint32_t err_cap) {
  uint64_t len = 0;
  config->room = malloc(DEAI_SETTINGS_MAX);
  config->arena = aligned_alloc(16, ARENA_BYTES);
  if (config->room == NULL || config->arena == NULL) return DEAI_ENOMEM;
  int32_t status = apply(node_schema, root, file, "", config->room, &len, err, err_cap);
  deai_arena arena = {config->arena, ARENA_BYTES, 0};
  if (status == DEAI_OK)
    status = deai_decode(&node_table, deai_bytes_of(config->room, len), &config->node, &arena, err,
                         err_cap);
  return status;
}

static int32_t document_open(deai_config *config, const char *file, struct fy_document **out,
                             char *err, uint32_t err_cap) {
  struct stat info;
  if (stat(file, &info) != 0)
    return deai_err(err, err_cap, DEAI_ENOTFOUND, "%s: expected a config file: %s; run `deai init`",
                    file, strerror(errno));
  if (!S_ISREG(info.st_mode) || info.st_size > (off_t)DEAI_CONFIG_BYTES_MAX)
    return deai_err(err, err_cap, DEAI_EINVAL, "%s: expected a regular file of at most %u bytes",
                    file, DEAI_CONFIG_BYTES_MAX);
  uint64_t len = 0;
  int32_t status = deai_file_read(file, DEAI_CONFIG_BYTES_MAX, &config->text, &len, err, err_cap);
  if (status != DEAI_OK) return status;
  deai_str text = {.ptr = (const char *)config->text, .len = len};
  return deai_yaml_open(text, file, out, err, err_cap);
}

int32_t deai_config_load(const char *file, deai_config *out, char *err, uint32_t err_cap) {
  static const char *const plugins_key[] = {"plugins", NULL};
  struct fy_document *document = NULL;
  memset(out, 0, sizeof *out);
  int32_t status = document_open(out, file, &document, err, err_cap);
  if (status != DEAI_OK) {
    deai_config_free(out);
    return status;
  }
  struct fy_node *root = fy_document_root(document);
  struct fy_node *rest = root == NULL ? NULL : take_out(document, root, plugins_key);
  status = node_load(out, root, file, err, err_cap);
  if (status == DEAI_OK && rest != NULL)
    status = plugins_load(out, document, fy_node_mapping_lookup_by_string(rest, "plugins", FY_NT),
                          file, err, err_cap);
  if (rest != NULL) fy_node_free(rest);
  fy_document_destroy(document);
  if (status != DEAI_OK) deai_config_free(out);
  return status;
}

void deai_config_print(const deai_config *config, FILE *out) {
  const deai_config_node *node = &config->node;
#define TEXT(value) (int)(value).len, (value).ptr
  (void)fprintf(out, "data: %.*s\nname: %.*s\nplugin_dir: %.*s\n", TEXT(node->data),
                TEXT(node->name), TEXT(node->plugin_dir));
  (void)fprintf(out, "http: { listen: \"%.*s\", auth: %s, per_address: %llu }\n",
                TEXT(node->http.listen), node->http.auth ? "true" : "false",
                (unsigned long long)node->http.per_address);
  (void)fprintf(out, "peers: { listen: \"%.*s\" }\n", TEXT(node->peers.listen));
  (void)fprintf(out,
                "ledger: { engine: %.*s, deposit: %llu.%09llu, claim: %llums, close_after: %llums "
                "}\n",
                TEXT(node->ledger.engine), (unsigned long long)(node->ledger.deposit / 1000000000),
                (unsigned long long)(node->ledger.deposit % 1000000000),
                (unsigned long long)node->ledger.claim,
                (unsigned long long)node->ledger.close_after);
  (void)fprintf(out, "log: { level: %.*s, format: %.*s }\nplugins:\n", TEXT(node->log.level),
                TEXT(node->log.format));
#undef TEXT
  for (uint32_t i = 0; i < config->plugin_count; i++) {
    const deai_config_plugin *plugin = &config->plugins[i];
    bool inproc = plugin->isolation < 0 ? plugin->loaded.manifest.inproc : plugin->isolation == 0;
    (void)fprintf(out, "  %s: { path: %s, isolation: %s }%s%s\n", plugin->name, plugin->loaded.path,
                  inproc ? "inproc" : "process", plugin->reason[0] != 0 ? " # refused: " : "",
                  plugin->reason);
  }
}

void deai_config_free(deai_config *config) {
  for (uint32_t i = 0; i < config->plugin_count; i++) {
    deai_loader_close(&config->plugins[i].loaded);
    free(config->plugins[i].settings);
  }
  free(config->room);
  free(config->arena);
  free(config->text);
  memset(config, 0, sizeof *config);
}
