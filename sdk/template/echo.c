/* A complete plug-in: it answers every part with the same part. Copy the folder, change the id in
   manifest.json, and build it against the installed SDK (README.md beside this file). */
#include <deai/codec.h>
#include <deai/host.h>

#include <stdlib.h>

DEAI_MANIFEST_FILE("manifest.json");

struct deai_inst {
  const deai_host *host;
  deai_ctx *ctx;
  char prefix[65];
};

typedef struct settings {
  deai_str prefix;
} settings;

static const deai_field settings_rows[] = {DEAI_F_TEXT(settings, prefix, "prefix", 0, 64)};
static const deai_table settings_table = DEAI_TABLE_HEAD("settings", settings, settings_rows);

static int32_t create(const deai_host *host, deai_ctx *ctx, deai_bytes given, deai_inst **inst_out,
                      char *err, uint32_t err_cap) {
  settings set;
  int32_t status = deai_decode(&settings_table, given, &set, NULL, err, err_cap);
  if (status != DEAI_OK) return status;
  deai_inst *inst = calloc(1, sizeof *inst);
  if (inst == NULL) return DEAI_ENOMEM;
  inst->host = host;
  inst->ctx = ctx;
  memcpy(inst->prefix, set.prefix.ptr, (size_t)set.prefix.len);
  *inst_out = inst;
  return DEAI_OK;
}

static int32_t start(deai_inst *inst, char *err, uint32_t err_cap) {
  (void)err, (void)err_cap;
  deai_text(inst->host, inst->ctx, DEAI_LOG_INFO, "echo starts");
  return DEAI_OK;
}

static void stop(deai_inst *inst) {
  (void)inst; /* no threads to join */
}

static void destroy(deai_inst *inst) {
  free(inst);
}

/* echo sends the part back. DEAI_EAGAIN: the caller does not read fast enough; the host keeps the
   part and offers it again. */
static int32_t echo(deai_inst *inst, uint64_t ticket, const deai_part *part) {
  deai_part answer = *part;
  answer.size = (uint32_t)sizeof answer;
  answer.status = DEAI_OK;
  answer.attachment = -1;
  size_t prefix_len = strlen(inst->prefix);
  if (prefix_len == 0 || part->body.len == 0) return inst->host->reply(inst->ctx, ticket, &answer);

  uint8_t *body = malloc(prefix_len + (size_t)part->body.len);
  if (body == NULL) return DEAI_ENOMEM;
  memcpy(body, inst->prefix, prefix_len);
  memcpy(body + prefix_len, part->body.ptr, (size_t)part->body.len);
  answer.buffer = NULL;
  answer.body = deai_bytes_of(body, prefix_len + part->body.len);
  int32_t status = inst->host->reply(inst->ctx, ticket, &answer);
  free(body);
  return status;
}

static int32_t on_call(deai_inst *inst, uint64_t ticket, const deai_call_info *info,
                       const deai_part *first, char *err, uint32_t err_cap) {
  (void)info; /* one service, one method: the host has checked both */
  int32_t status = echo(inst, ticket, first);
  if (status < 0) return deai_err(err, err_cap, status, "the first part could not be sent back");
  return DEAI_OK;
}

static int32_t on_part(deai_inst *inst, uint64_t ticket, const deai_part *part) {
  return echo(inst, ticket, part);
}

static void on_cancel(deai_inst *inst, uint64_t ticket, int32_t status) {
  (void)deai_reply_end(inst->host, inst->ctx, ticket, status, deai_bytes_of(NULL, 0), NULL);
}

static const deai_plugin plugin = {.size = (uint32_t)sizeof(deai_plugin),
                                   .create = create,
                                   .start = start,
                                   .stop = stop,
                                   .destroy = destroy,
                                   .on_call = on_call,
                                   .on_part = on_part,
                                   .on_cancel = on_cancel};

int32_t deai_plugin_entry(deai_hello *hello) {
  return deai_hello_accept(hello, &plugin);
}
