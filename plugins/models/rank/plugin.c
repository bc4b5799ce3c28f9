/* models/rank: the service deai.rank/1 over the table of score.h, kept in the plug-in's folder. */
#include "keep.h"
#include "score.h"

#include "deai/contracts/wire.h"
#include "deai/host.h"

#include <stdlib.h>

#include "host/base/banned.h"

DEAI_MANIFEST_FILE("manifest.json");

#define FILE_NAME  "scores"
#define KEEP_MS    5000u  /* observations are kept this late at most */
#define ROOM_BYTES 16384u /* the keys of a question, decoded */

typedef struct rank_settings {
  uint64_t window;
} rank_settings;

/* What a worker thread writes. */
typedef struct snapshot {
  char folder[RANK_KEEP_DIR];
  uint8_t *ptr;
  uint64_t len;
  int32_t status;
} snapshot;

struct deai_inst {
  const deai_host *host;
  deai_ctx *ctx;
  rank_table table;
  char folder[RANK_KEEP_DIR];
  uint8_t *room;
  bool dirty;       /* observed since the last snapshot */
  bool timer;       /* a snapshot is due */
  snapshot *flying; /* being written */
};

static const deai_field settings_rows[] = {DEAI_F_UINT(rank_settings, window, "window", 2, 1024)};
static const deai_table settings_table = DEAI_TABLE_HEAD("settings", rank_settings, settings_rows);

/* ---- keeping ---- */

static void snapshot_free(snapshot *shot) {
  if (shot != NULL) free(shot->ptr);
  free(shot);
}

static snapshot *snapshot_new(const deai_inst *inst) {
  snapshot *shot = calloc(1, sizeof *shot);
  if (shot == NULL) return NULL;
  memcpy(shot->folder, inst->folder, sizeof shot->folder);
  if (rank_encode(&inst->table, &shot->ptr, &shot->len) == DEAI_OK) return shot;
  free(shot);
  return NULL;
}

static void snapshot_write(void *user) {
  snapshot *shot = user;
  shot->status = rank_keep_write(shot->folder, FILE_NAME, deai_bytes_of(shot->ptr, shot->len));
}

static void keep_soon(deai_inst *inst);

static void snapshot_done(deai_inst *inst, void *user) {
  snapshot *shot = user;
  if (shot->status != DEAI_OK) {
    inst->dirty = true;
    deai_text(inst->host, inst->ctx, DEAI_LOG_WARN, "the scores were not kept: %s; look at %s",
              deai_status_text(shot->status), inst->folder);
  }
  inst->flying = NULL;
  snapshot_free(shot);
  if (inst->dirty) keep_soon(inst);
}

static void keep_now(deai_inst *inst, void *user) {
  (void)user;
  inst->timer = false;
  if (!inst->dirty || inst->flying != NULL) return; /* snapshot_done goes on */
  snapshot *shot = snapshot_new(inst);
  if (shot != NULL) {
    inst->dirty = false;
    inst->flying = shot;
    if (inst->host->run(inst->ctx, snapshot_write, snapshot_done, shot) == DEAI_OK) return;
    inst->dirty = true;
    inst->flying = NULL;
    snapshot_free(shot);
  }
  deai_text(inst->host, inst->ctx, DEAI_LOG_WARN, "the scores were not kept: not enough memory");
}

static void keep_soon(deai_inst *inst) {
  inst->dirty = true;
  if (inst->timer || inst->flying != NULL) return;
  inst->timer = inst->host->after(inst->ctx, KEEP_MS, keep_now, NULL) == DEAI_OK;
}

static void load(deai_inst *inst) {
  char err[DEAI_ERR_CAP] = "";
  uint8_t *ptr = NULL;
  uint64_t len = 0;
  int32_t status = rank_keep_read(inst->folder, FILE_NAME, &ptr, &len);
  if (status == DEAI_ENOTFOUND) return;
  if (status == DEAI_OK)
    status = rank_decode(&inst->table, deai_bytes_of(ptr, len), err, sizeof err);
  free(ptr);
  if (status != DEAI_OK)
    deai_text(inst->host, inst->ctx, DEAI_LOG_WARN,
              "%s/%s: scores as this version writes them expected, found: %s; starting without",
              inst->folder, FILE_NAME, err[0] != 0 ? err : deai_status_text(status));
}

/* ---- life ---- */

static void destroy(deai_inst *inst) {
  snapshot_free(inst->flying); /* written, but nobody was told */
  rank_table_close(&inst->table);
  free(inst->room);
  free(inst);
}

static int32_t create(const deai_host *host, deai_ctx *ctx, deai_bytes given, deai_inst **inst_out,
                      char *err, uint32_t err_cap) {
  rank_settings set;
  int32_t status = deai_decode(&settings_table, given, &set, NULL, err, err_cap);
  if (status != DEAI_OK) return status;
  deai_str folder = host->folder(ctx);
  if (folder.len >= RANK_KEEP_DIR)
    return deai_err(err, err_cap, DEAI_EINVAL, "expected a folder of less than %u bytes",
                    RANK_KEEP_DIR);
  deai_inst *inst = calloc(1, sizeof *inst);
  if (inst == NULL) return DEAI_ENOMEM;
  inst->host = host;
  inst->ctx = ctx;
  memcpy(inst->folder, folder.ptr, (size_t)folder.len);
  inst->room = aligned_alloc(16, ROOM_BYTES);
  status = rank_table_open(&inst->table, set.window);
  if (status != DEAI_OK || inst->room == NULL) {
    destroy(inst);
    return DEAI_ENOMEM;
  }
  load(inst);
  *inst_out = inst;
  return DEAI_OK;
}

static int32_t start(deai_inst *inst, char *err, uint32_t err_cap) {
  (void)inst, (void)err, (void)err_cap;
  return DEAI_OK;
}

static void stop(deai_inst *inst) {
  if (!inst->dirty) return; /* the host has waited for the worker */
  snapshot *shot = snapshot_new(inst);
  if (shot != NULL) snapshot_write(shot);
  if (shot == NULL || shot->status != DEAI_OK)
    deai_text(inst->host, inst->ctx, DEAI_LOG_WARN, "the last scores were not kept; look at %s",
              inst->folder);
  snapshot_free(shot);
}

/* ---- calls ---- */

static int32_t observe(deai_inst *inst, uint64_t ticket, deai_bytes args, char *err,
                       uint32_t err_cap) {
  static const uint8_t empty_map = 0xa0;
  deai_rank_observe observed;
  int32_t status = deai_decode(&deai_rank_observe_table, args, &observed, NULL, err, err_cap);
  if (status != DEAI_OK) return status;
  rank_observe(&inst->table, &observed);
  inst->host->count(inst->ctx, "observations", inst->table.clock);
  keep_soon(inst);
  return deai_reply_end(inst->host, inst->ctx, ticket, DEAI_OK, deai_bytes_of(&empty_map, 1), NULL);
}

static void score_all(deai_inst *inst, const deai_rank_score *asked, deai_rank_row *rows,
                      char (*whys)[RANK_WHY_MAX]) {
  const deai_rank_key *nodes = asked->nodes.items;
  for (uint64_t i = 0; i < asked->nodes.count; i++) {
    rows[i].score = rank_score(&inst->table, nodes[i].key, asked->service, whys[i]);
    rows[i].why = deai_str_of(whys[i]);
    memcpy(rows[i].node, nodes[i].key, DEAI_KEY_BYTES);
  }
}

static int32_t score(deai_inst *inst, uint64_t ticket, deai_bytes args, char *err,
                     uint32_t err_cap) {
  deai_rank_score asked;
  deai_arena arena = {inst->room, ROOM_BYTES, 0};
  int32_t status = deai_decode(&deai_rank_score_table, args, &asked, &arena, err, err_cap);
  if (status != DEAI_OK) return status;
  deai_rank_row *rows = calloc((size_t)asked.nodes.count + 1, sizeof *rows);
  char(*whys)[RANK_WHY_MAX] = calloc((size_t)asked.nodes.count + 1, sizeof *whys);
  uint8_t *head = malloc(DEAI_HEAD_MAX);
  if (rows == NULL || whys == NULL || head == NULL) {
    status = DEAI_ENOMEM;
  } else {
    score_all(inst, &asked, rows, whys);
    deai_rank_scores scores = {.scores = {rows, asked.nodes.count}};
    deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){head, DEAI_HEAD_MAX});
    status = deai_encode(&deai_rank_scores_table, &scores, &writer, err, err_cap);
    if (status == DEAI_OK)
      status = deai_reply_end(inst->host, inst->ctx, ticket, DEAI_OK,
                              deai_bytes_of(head, writer.len), NULL);
  }
  free(rows);
  free(whys);
  free(head);
  return status;
}

static int32_t on_call(deai_inst *inst, uint64_t ticket, const deai_call_info *info,
                       const deai_part *first, char *err, uint32_t err_cap) {
  if (deai_str_eq(info->method, deai_str_of("observe")) != 0)
    return observe(inst, ticket, first->args, err, err_cap);
  return score(inst, ticket, first->args, err, err_cap);
}

static void on_cancel(deai_inst *inst, uint64_t ticket, int32_t status) {
  (void)deai_reply_end(inst->host, inst->ctx, ticket, status, (deai_bytes){NULL, 0}, NULL);
}

static const deai_plugin plugin = {.size = (uint32_t)sizeof(deai_plugin),
                                   .create = create,
                                   .start = start,
                                   .stop = stop,
                                   .destroy = destroy,
                                   .on_call = on_call,
                                   .on_cancel = on_cancel};

int32_t deai_plugin_entry(deai_hello *hello) {
  return deai_hello_accept(hello, &plugin);
}
