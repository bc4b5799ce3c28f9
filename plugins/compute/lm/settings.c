#include "settings.h"

#include "cid.h"
#include "model.h"

#include "deai/plugin.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define ARENA_BYTES 4096u
#define BYTES_MAX   (1u << 20)

/* Everything in one block: settings is its first member. */
typedef struct box {
  lm_settings settings;
  _Alignas(16) uint8_t arena[ARENA_BYTES];
  uint8_t bytes[];
} box;

static const deai_field file_rows[] = {
    DEAI_F_TEXT(lm_settings_file, name, "name", 1, DEAI_NAME_MAX),
    DEAI_F_TEXT(lm_settings_file, path, "path", 1, 4000),
};
static const deai_table file_table = DEAI_TABLE_HEAD("settings.files", lm_settings_file, file_rows);

static const deai_field settings_rows[] = {
    DEAI_F_UINT(lm_settings, keep, "keep", 0, INT64_MAX),
    DEAI_F_LIST_OF(lm_settings, files, "files", 0, LM_SETTINGS_MODELS_MAX, &file_table),
    DEAI_F_UINT(lm_settings, queue, "queue", 0, LM_SETTINGS_QUEUE_MAX),
    DEAI_F_TEXT(lm_settings, device, "device", 0, 128),
    DEAI_F_LIST(lm_settings, models, "models", DEAI_FIELD_TEXT, 0, LM_SETTINGS_MODELS_MAX,
                LM_CID_TEXT_MAX),
    DEAI_F_UINT(lm_settings, context, "context", 0, LM_MODEL_CTX_MAX),
    DEAI_F_UINT(lm_settings, threads, "threads", 0, LM_SETTINGS_THREADS_MAX),
    DEAI_F_UINT(lm_settings, price_in, "price_in", 0, INT64_MAX),
    DEAI_F_UINT(lm_settings, price_out, "price_out", 0, INT64_MAX),
};
const deai_table lm_settings_table = DEAI_TABLE_HEAD("settings", lm_settings, settings_rows);

static int32_t check(const lm_settings *settings, char *err, uint32_t err_cap) {
  const deai_str *models = settings->models.items;
  lm_cid cid;
  if (settings->models.count + settings->files.count > LM_SETTINGS_MODELS_MAX)
    return deai_err(err, err_cap, DEAI_EINVAL,
                    "settings: at most %u models and files expected, found %" PRIu64
                    "; remove some",
                    LM_SETTINGS_MODELS_MAX, settings->models.count + settings->files.count);
  for (uint64_t i = 0; i < settings->models.count; i++)
    if (lm_cid_of_text(models[i], &cid) != DEAI_OK)
      return deai_err(err, err_cap, DEAI_EINVAL,
                      "settings.models: a CID in base32 (b...) expected, found '%.*s'; mend it",
                      (int)models[i].len, models[i].ptr);
  return DEAI_OK;
}

int32_t lm_settings_open(deai_bytes bytes, lm_settings **settings_out, char *err,
                         uint32_t err_cap) {
  *settings_out = NULL;
  if (bytes.len > BYTES_MAX)
    return deai_err(err, err_cap, DEAI_ETOOLARGE, "settings: at most %u bytes expected", BYTES_MAX);
  box *all = calloc(1, sizeof *all + (size_t)bytes.len);
  if (all == NULL) return DEAI_ENOMEM;
  if (bytes.len > 0) memcpy(all->bytes, bytes.ptr, (size_t)bytes.len);
  deai_arena arena = {.base = all->arena, .cap = sizeof all->arena};
  int32_t status = deai_decode(&lm_settings_table, deai_bytes_of(all->bytes, bytes.len),
                               &all->settings, &arena, err, err_cap);
  if (status == DEAI_OK) status = check(&all->settings, err, err_cap);
  if (status != DEAI_OK) {
    free(all);
    return status;
  }
  *settings_out = &all->settings;
  return DEAI_OK;
}

void lm_settings_close(lm_settings *settings) {
  free(settings);
}
