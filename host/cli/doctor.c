#include "cli.h"

#include "deai/contracts/blocks.h"
#include "deai/contracts/lm.h"
#include "host/base/keys.h"
#include "host/base/platform.h"
#include "host/config/config.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/landlock.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/base/banned.h"

#define NODE_SERVICE "deai.node/1-draft"
#define DISK_LEAST   (UINT64_C(256) << 20)
#define DISK_LITTLE  (UINT64_C(2) << 30)
#define FILES_LEAST  1024u
#define BEHIND_MOST  3    /* blocks that may be on their way */
#define AHEAD_MOST   2000 /* ms: block time before this clock */
#define PROC_MAX     131072u

static const char help[] = "deai doctor [--json]\n"
                           "  checks this node and prints PASS, WARN or FAIL with one fix each; "
                           "exit code 0 without FAIL.\n";

typedef enum level { PASS, WARN, FAIL } level;

typedef struct doctor {
  const cli *line;
  json_t *rows;   /* [{check, level, found, fix}] */
  json_t *status; /* of the node, NULL = it does not answer */
  bool failed;
} doctor;

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text != NULL ? text : "";
}

static int64_t number_of(const json_t *object, const char *key) {
  return (int64_t)json_integer_value(json_object_get(object, key));
}

/* say keeps one finding; fix is "" for PASS. */
static void say(doctor *job, const char *check, level how, const char *fix, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

static void say(doctor *job, const char *check, level how, const char *fix, const char *format,
                ...) {
  static const char *const names[] = {"PASS", "WARN", "FAIL"};
  char found[DEAI_ERR_CAP + 4200];
  va_list list;
  va_start(list, format);
  (void)vsnprintf(found, sizeof found, format, list);
  va_end(list);
  job->failed = job->failed || how == FAIL;
  (void)json_array_append_new(job->rows,
                              json_pack("{s:s, s:s, s:s, s:s}", "check", check, "level", names[how],
                                        "found", found, "fix", how == PASS ? "" : fix));
}

/* ---- files ---- */

static void check_data(doctor *job) {
  struct stat info;
  const char *data = job->line->data;
  if (stat(data, &info) != 0)
    say(job, "data", FAIL, "deai init, or another --data", "%s: %s", data, strerror(errno));
  else if (info.st_uid != geteuid())
    say(job, "data", FAIL, "run deai as its owner", "%s belongs to user %u", data,
        (unsigned)info.st_uid);
  else if ((info.st_mode & 077) != 0)
    say(job, "data", WARN, "chmod 700 the data folder", "%s has mode %04o", data,
        (unsigned)info.st_mode & 07777u);
  else
    say(job, "data", PASS, "", "%s", data);
}

static void check_keys(doctor *job) {
  static const char *const names[] = {"node", "wallet"};
  for (size_t i = 0; i < 2; i++) {
    char err[DEAI_ERR_CAP] = "";
    deai_key *key = NULL;
    int32_t status = deai_key_load(job->line->data, names[i], &key, err, sizeof err);
    deai_key_free(key);
    if (status != DEAI_OK) {
      say(job, "keys", FAIL, "as said; a lost key comes back only from your copy of DATA/keys",
          "%s", err);
      return;
    }
  }
  say(job, "keys", PASS, "", "node and wallet, for their owner only");
}

static void check_config(doctor *job) {
  char path[4000];
  char err[DEAI_ERR_CAP] = "";
  deai_config *config = calloc(1, sizeof *config);
  (void)snprintf(path, sizeof path, "%s/deai.yaml", job->line->data);
  int32_t status = config == NULL ? DEAI_ENOMEM : deai_config_load(path, config, err, sizeof err);
  if (status != DEAI_OK)
    say(job, "config", FAIL, "change that line, then: deaid --check-config FILE", "%s", err);
  else
    say(job, "config", PASS, "", "%u plug-ins", config->plugin_count);
  if (status == DEAI_OK) deai_config_free(config);
  free(config);
}

static void check_disk(doctor *job) {
  struct statvfs info;
  if (statvfs(job->line->data, &info) != 0) {
    say(job, "disk", FAIL, "look at the file system", "%s", strerror(errno));
    return;
  }
  uint64_t left = (uint64_t)info.f_bavail * info.f_frsize;
  level how = left < DISK_LEAST ? FAIL : left < DISK_LITTLE ? WARN : PASS;
  say(job, "disk", how, "make room, or move the data folder", "%" PRIu64 " MiB free", left >> 20);
}

/* ---- the machine ---- */

static void check_landlock(doctor *job) {
  long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (version > 0)
    say(job, "landlock", PASS, "", "version %ld", version);
  else
    say(job, "landlock", WARN, "a kernel from 5.13 with lsm=landlock; until then trust your models",
        "none: plug-ins in processes of their own may read your files");
}

/* proc_number returns the number behind name in a file of /proc, 0 = not there. */
static uint64_t proc_number(const char *path, const char *name) {
  char *text = calloc(1, PROC_MAX);
  FILE *file = fopen(path, "re");
  uint64_t found = 0;
  if (text != NULL && file != NULL) {
    (void)fread(text, 1, PROC_MAX - 1, file);
    const char *at = strstr(text, name);
    if (at != NULL) at += strlen(name);
    if (at != NULL) at += strcspn(at, "0123456789u");
    if (at != NULL) found = *at == 'u' ? UINT64_MAX : strtoull(at, NULL, 10);
  }
  if (file != NULL) (void)fclose(file);
  free(text);
  return found;
}

static void check_files(doctor *job) {
  char path[64];
  int64_t pid = number_of(job->status, "pid");
  (void)snprintf(path, sizeof path, "/proc/%" PRId64 "/limits", pid);
  uint64_t most = proc_number(path, "Max open files");
  say(job, "files", most < FILES_LEAST ? WARN : PASS, "LimitNOFILE=65536 in its unit, or ulimit -n",
      "the node may open %" PRIu64 " files", most);
}

/* ---- the node ---- */

static void check_plugins(doctor *job) {
  const json_t *list = json_object_get(job->status, "plugins");
  size_t count = json_array_size(list);
  size_t running = 0;
  for (size_t i = 0; i < count; i++) {
    const json_t *row = json_array_get(list, i);
    bool runs = strcmp(text_of(row, "state"), "running") == 0;
    running += runs;
    if (!runs)
      say(job, "plug-ins", FAIL, "what it says; then deai down and deai up -d", "%s is %s: %s",
          text_of(row, "id"), text_of(row, "state"), text_of(row, "reason"));
  }
  if (running == count) say(job, "plug-ins", PASS, "", "all %zu run", count);
}

static void check_ledger(doctor *job, const json_t *peers) {
  const json_t *ledger = json_object_get(job->status, "ledger");
  bool orders = strcmp(text_of(ledger, "engine"), "local") == 0;
  int64_t height = number_of(ledger, "height");
  int64_t highest = height;
  for (size_t i = 0; i < json_array_size(peers); i++) {
    int64_t there = number_of(json_array_get(peers, i), "height");
    highest = there > highest ? there : highest;
  }
  if (json_is_true(json_object_get(ledger, "stopped")))
    say(job, "ledger", FAIL, "deai ledger verify, and see the log", "stopped at block %" PRId64,
        height);
  else if (orders)
    say(job, "ledger", PASS, "", "block %" PRId64 ", ordered here", height);
  else if (json_array_size(peers) == 0)
    say(job, "ledger", WARN, "bring the members back", "block %" PRId64 ", nobody to compare with",
        height);
  else
    say(job, "ledger", highest - height > BEHIND_MOST ? WARN : PASS,
        "wait while it follows; if it does not move, see the log", "block %" PRId64 " of %" PRId64,
        height, highest);
}

static void check_members(doctor *job, const json_t *peers) {
  int code = 0;
  json_t *members = cli_members(job->line, &code);
  size_t count = json_array_size(members);
  size_t here = json_array_size(peers);
  bool member = cli_member_name(members, text_of(job->status, "hex"))[0] != 0;
  if (members == NULL)
    say(job, "members", FAIL, "deai ledger verify", "the members cannot be read");
  else if (!member)
    say(job, "members", FAIL, "join again, with another data folder",
        "this node is no member of its network any more");
  else
    say(job, "members", here + 1 < count ? WARN : PASS,
        "on the others: deai status; is their peers port open from here?",
        "%zu of %zu others connected", here, count - 1);
  json_decref(members);
}

static void check_clock(doctor *job) {
  int64_t block_ms = number_of(json_object_get(job->status, "ledger"), "time");
  int64_t ahead_ms = block_ms - (int64_t)deai_wall_ms(deai_platform_system());
  if (ahead_ms > AHEAD_MOST)
    say(job, "clock", FAIL, "timedatectl set-ntp true, here or on the node that orders blocks",
        "the last block is %" PRId64 " ms ahead of this clock", ahead_ms);
  else if (block_ms == 0)
    say(job, "clock", PASS, "", "no block yet to compare with");
  else
    say(job, "clock", PASS, "", "the last block is %" PRId64 " s old", -ahead_ms / 1000);
}

/* ---- models ---- */

typedef struct sizes {
  uint64_t bytes;
  uint64_t count;
  uint8_t cids[64][DEAI_CID_MAX];
  uint64_t lens[64];
} sizes;

static bool models_part(void *user, const deai_part *part) {
  _Alignas(16) static uint8_t room[64 * sizeof(deai_lm_model) + 64];
  deai_arena arena = {room, sizeof room, 0};
  sizes *all = user;
  deai_lm_models_end end;
  if ((part->flags & DEAI_PART_END) == 0 || part->args.len == 0) return true;
  if (deai_decode(&deai_lm_models_end_table, part->args, &end, &arena, NULL, 0) != DEAI_OK)
    return false;
  const deai_lm_model *models = end.models.items;
  for (uint64_t i = 0; i < end.models.count && all->count < 64; i++) {
    if (models[i].model.len > DEAI_CID_MAX) continue;
    memcpy(all->cids[all->count], models[i].model.ptr, (size_t)models[i].model.len);
    all->lens[all->count++] = models[i].model.len;
  }
  return true;
}

static bool size_part(void *user, const deai_part *part) {
  sizes *all = user;
  deai_blocks_stat stat;
  if ((part->flags & DEAI_PART_END) != 0 && part->status == DEAI_OK &&
      deai_decode(&deai_blocks_stat_table, part->args, &stat, NULL, NULL, 0) == DEAI_OK)
    all->bytes += stat.size;
  return true;
}

/* models_sizes adds up the files of the models of this node. */
static void models_sizes(const cli *line, sizes *all) {
  static const uint8_t empty_map = 0xa0;
  char why[DEAI_ERR_CAP] = "";
  deai_client *client = cli_connect(line);
  if (client == NULL) return;
  deai_client_call call = {.service = DEAI_LM_SERVICE,
                           .method = "models",
                           .flags = DEAI_CALL_HERE,
                           .args = deai_bytes_of(&empty_map, 1),
                           .part = models_part,
                           .user = all,
                           .time_ms = 10000};
  int32_t status = deai_client_run(client, &call, why, sizeof why);
  for (uint64_t i = 0; i < all->count && status == DEAI_OK; i++) {
    uint8_t room[256];
    deai_blocks_cid ask = {.cid = deai_bytes_of(all->cids[i], all->lens[i])};
    deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
    status = deai_encode(&deai_blocks_cid_table, &ask, &writer, why, sizeof why);
    call = (deai_client_call){.service = DEAI_BLOCKS_SERVICE,
                              .method = "stat",
                              .flags = DEAI_CALL_HERE,
                              .args = deai_bytes_of(room, writer.len),
                              .part = size_part,
                              .user = all,
                              .time_ms = 10000};
    if (status == DEAI_OK) status = deai_client_run(client, &call, why, sizeof why);
  }
  deai_client_free(client);
}

static void check_memory(doctor *job) {
  sizes *all = calloc(1, sizeof *all);
  uint64_t total = proc_number("/proc/meminfo", "MemTotal:") << 10;
  uint64_t cap = proc_number("/sys/fs/cgroup/memory.max", "");
  if (all == NULL) return;
  if (cap > 0 && cap < total) total = cap;
  models_sizes(job->line, all);
  say(job, "memory", all->bytes > total ? WARN : PASS,
      "deai model rm CID: weights that do not fit are read from disk for each token",
      "%" PRIu64 " models here, %" PRIu64 " of %" PRIu64 " MiB", all->count, all->bytes >> 20,
      total >> 20);
  free(all);
}

/* vulkan_device finds the last device that the plug-in named in the node's log. */
static bool vulkan_device(const cli *line, char *out, size_t cap) {
  static const char mark[] = " vulkan, ";
  char path[4000];
  char row[4096];
  out[0] = 0;
  (void)snprintf(path, sizeof path, "%s/deaid.log", line->data);
  FILE *file = fopen(path, "re");
  while (file != NULL && fgets(row, sizeof row, file) != NULL) {
    const char *at = strstr(row, mark);
    if (at == NULL) continue;
    at += sizeof mark - 1;
    (void)snprintf(out, cap, "%.*s", (int)strcspn(at, "\"\n"), at);
  }
  if (file != NULL) (void)fclose(file);
  return out[0] != 0;
}

static void check_vulkan(doctor *job) {
  char name[256];
  const json_t *list = json_object_get(job->status, "plugins");
  bool there = false;
  for (size_t i = 0; i < json_array_size(list); i++)
    there = there || strcmp(text_of(json_array_get(list, i), "id"), "compute/vulkan") == 0;
  bool seen = there && vulkan_device(job->line, name, sizeof name);
  if (!there)
    say(job, "vulkan", PASS, "", "compute/vulkan is not in the config");
  else if (!seen)
    say(job, "vulkan", PASS, "", "compute/vulkan; it names its device when it loads a model");
  else if (strstr(name, "llvmpipe") != NULL)
    say(job, "vulkan", WARN, "install the driver of the card; on a machine without one compute/cpu",
        "%s: the processor, not a graphics card", name);
  else
    say(job, "vulkan", PASS, "", "%s", name);
}

/* ---- the command ---- */

static void check_node(doctor *job) {
  int code = 0;
  char err[DEAI_ERR_CAP] = "";
  deai_client *probe = deai_client_open(job->line->data, err, sizeof err);
  deai_client_free(probe);
  if (probe != NULL) job->status = cli_json(job->line, NODE_SERVICE, "status", &code);
  if (job->status == NULL) {
    say(job, "node", FAIL, "deai up -d", "%s", err[0] != 0 ? err : "it does not answer");
    return;
  }
  say(job, "node", PASS, "", "%s answers, up %" PRId64 " s", text_of(job->status, "name"),
      number_of(job->status, "up_ms") / 1000);
  json_t *peers = cli_json(job->line, NODE_SERVICE, "peers", &code);
  check_plugins(job);
  check_ledger(job, peers);
  check_members(job, peers);
  check_clock(job);
  check_files(job);
  check_memory(job);
  check_vulkan(job);
  json_decref(peers);
}

static void print_rows(const json_t *rows) {
  for (size_t i = 0; i < json_array_size(rows); i++) {
    const json_t *row = json_array_get(rows, i);
    const char *fix = text_of(row, "fix");
    (void)printf("%s  %-9s %s%s%s\n", text_of(row, "level"), text_of(row, "check"),
                 text_of(row, "found"), fix[0] != 0 ? "\n      fix:      " : "", fix);
  }
}

int cli_doctor(cli *line) {
  if (cli_flag(line, "--help")) return cli_usage(help) * 0;
  if (line->count > 0) return cli_usage(help);
  doctor job = {.line = line, .rows = json_array()};
  check_data(&job);
  check_keys(&job);
  check_config(&job);
  check_disk(&job);
  check_landlock(&job);
  check_node(&job);
  if (line->json) {
    (void)json_dumpf(job.rows, stdout, JSON_INDENT(2));
    (void)putchar('\n');
  } else {
    print_rows(job.rows);
  }
  json_decref(job.rows);
  json_decref(job.status);
  return job.failed ? 1 : 0;
}
