#include "judge.h"

#include "host/base/file.h"
#include "host/base/hash.h"
#include "host/base/platform.h"
#include "host/base/sign.h"
#include "host/cli/chain.h"
#include "host/ledger/tx.h"

#include "deai/contracts/blocks.h"

#include <inttypes.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define FILE_MAX   (16u << 20)
#define IDS_ROOM   (sizeof(uint64_t) * DEAI_LM_IDS_MAX + 4096u)
#define ROOM_BYTES (2u << 20)
#define LIST_MS    10000u
#define LOAD_MS    600000u
#define REPLAY_MS  3600000u

static const uint8_t empty_map = 0xa0;

/* ---- the file ---- */

static int32_t read_parts(cli_judgement *j, uint64_t len, char *err, uint32_t err_cap) {
  deai_arena ids = {j->ids_room, IDS_ROOM, 0};
  deai_arena job = {j->job_room, sizeof j->job_room, 0};
  int32_t status = deai_decode(&deai_job_file_table, deai_bytes_of(j->memory, len), &j->file, &ids,
                               err, err_cap);
  if (status == DEAI_OK)
    status =
        deai_decode(&deai_receipt_table, j->file.receipt.body, &j->receipt, NULL, err, err_cap);
  if (status == DEAI_OK && deai_str_eq(j->receipt.s, deai_str_of(DEAI_LM_SERVICE)) == 0)
    return deai_err(err, err_cap, DEAI_EUNSUPPORTED, "expected a receipt of %s, found one of %.*s",
                    DEAI_LM_SERVICE, (int)j->receipt.s.len, j->receipt.s.ptr);
  if (status == DEAI_OK)
    status = deai_decode(&deai_lm_job_table, j->file.a, &j->job, &job, err, err_cap);
  if (status == DEAI_OK)
    status = deai_decode(&deai_lm_end_table, j->receipt.out, &j->end, NULL, err, err_cap);
  return status;
}

static void check_signature(const cli *line, cli_judgement *j) {
  char err[DEAI_ERR_CAP] = "";
  uint8_t genesis[DEAI_HASH_BYTES];
  const deai_signed *pack = &j->file.receipt;
  if (deai_sign_start(err, sizeof err) != DEAI_OK ||
      cli_genesis_hash(line, genesis, err, sizeof err) != DEAI_OK) {
    (void)fprintf(stderr, "deai: the signature cannot be checked: %s\n", err);
    return;
  }
  bool good =
      memcmp(pack->key, j->receipt.worker, DEAI_KEY_BYTES) == 0 &&
      deai_sign_verify(DEAI_SIGN_RECEIPT, genesis, pack->body, pack->key, pack->sig) == DEAI_OK;
  j->signature = good ? CLI_GOOD : CLI_BAD;
}

static void check_input(cli_judgement *j) {
  uint8_t in[DEAI_HASH_BYTES];
  deai_bytes parts[] = {j->file.a, j->file.body};
  deai_sha256_parts(parts, 2, in);
  j->input = memcmp(in, j->receipt.in, DEAI_HASH_BYTES) == 0 ? CLI_GOOD : CLI_BAD;
}

static uint64_t id_at(const uint8_t *at) {
  return (uint64_t)at[0] | (uint64_t)at[1] << 8 | (uint64_t)at[2] << 16 | (uint64_t)at[3] << 24;
}

/* check_units compares the receipt's units with the CALL, the END and the tokens in the file. */
static void check_units(cli_judgement *j) {
  const deai_lm_job *job = &j->job;
  const uint64_t *ids = j->file.ids.items;
  bool good = job->ids + job->forced == j->receipt.u_in &&
              j->file.body.len == 4 * (job->ids + job->forced) && j->end.n == j->file.ids.count &&
              j->end.n >= job->forced && j->end.n - job->forced == j->receipt.u_out &&
              deai_bytes_eq(j->end.model, job->model) != 0;
  for (uint64_t i = 0; good && i < job->forced; i++)
    good = id_at(j->file.body.ptr + 4 * (job->ids + i)) == ids[i];
  j->units = good ? CLI_GOOD : CLI_BAD;
}

/* ---- the price ---- */

typedef struct listing {
  deai_bytes model;
  bool found;
  uint64_t price_in;
  uint64_t price_out;
  uint8_t *room;
} listing;

static bool on_models(void *user, const deai_part *part) {
  listing *list = user;
  deai_arena arena = {list->room, ROOM_BYTES, 0};
  deai_lm_models_end end;
  if ((part->flags & DEAI_PART_END) == 0 || part->status != DEAI_OK ||
      deai_decode(&deai_lm_models_end_table, part->args, &end, &arena, NULL, 0) != DEAI_OK)
    return true;
  const deai_lm_model *rows = end.models.items;
  for (uint64_t i = 0; i < end.models.count; i++) {
    if (deai_bytes_eq(rows[i].model, list->model) == 0) continue;
    list->found = true;
    list->price_in = rows[i].price_in;
    list->price_out = rows[i].price_out;
  }
  return true;
}

/* list_models looks for the model at a node (empty key = here). */
static bool list_models(deai_client *client, const cli_judgement *j, deai_bytes provider,
                        listing *out) {
  char why[DEAI_ERR_CAP] = "";
  *out = (listing){.model = j->job.model, .room = aligned_alloc(16, ROOM_BYTES)};
  if (out->room == NULL) return false;
  deai_client_call call = {.service = DEAI_LM_SERVICE,
                           .method = "models",
                           .args = deai_bytes_of(&empty_map, 1),
                           .provider = provider,
                           .flags = provider.len == 0 ? DEAI_CALL_HERE : 0,
                           .part = on_models,
                           .user = out,
                           .time_ms = LIST_MS};
  int32_t status = deai_client_run(client, &call, why, sizeof why);
  free(out->room);
  return status == DEAI_OK && out->found;
}

/* check_price multiplies the units with the worker's present prices, when it can be asked. */
static void check_price(const cli *line, cli_judgement *j) {
  char err[DEAI_ERR_CAP] = "";
  listing list;
  bool free_of_price = j->receipt.price == 0 && (j->receipt.has & DEAI_RECEIPT_HAS_CH) == 0;
  j->price = free_of_price ? CLI_GOOD : CLI_UNKNOWN;
  if (free_of_price) return;
  deai_client *client = deai_client_open(line->data, err, sizeof err);
  if (client == NULL) return;
  if (list_models(client, j, deai_bytes_of(j->receipt.worker, DEAI_KEY_BYTES), &list)) {
    uint64_t in = 0;
    uint64_t out = 0;
    bool fits = !__builtin_mul_overflow(j->receipt.u_in, list.price_in, &in) &&
                !__builtin_mul_overflow(j->receipt.u_out, list.price_out, &out) &&
                !__builtin_add_overflow(in, out, &j->price_want);
    j->price = fits && j->price_want == j->receipt.price ? CLI_GOOD : CLI_BAD;
  }
  deai_client_free(client);
}

/* ---- the channel ---- */

static void take_open(cli_channel *channel, const deai_receipt *receipt, const deai_op *op,
                      uint64_t height) {
  deai_op_open open;
  if (deai_decode(&deai_op_open_table, op->body, &open, NULL, NULL, 0) != DEAI_OK) return;
  channel->opened = height;
  channel->deposit = open.deposit;
  channel->payee_fits = memcmp(open.payee, receipt->worker, DEAI_KEY_BYTES) == 0;
}

static void take_topup(cli_channel *channel, const deai_receipt *receipt, const deai_op *op) {
  deai_op_topup topup;
  if (deai_decode(&deai_op_topup_table, op->body, &topup, NULL, NULL, 0) == DEAI_OK &&
      memcmp(topup.ch, receipt->ch, DEAI_ID_BYTES) == 0)
    channel->deposit += topup.amount;
}

static void take_claim(cli_channel *channel, const deai_receipt *receipt, const deai_op *op,
                       uint64_t height) {
  deai_op_claim claim;
  deai_voucher voucher;
  if (deai_decode(&deai_op_claim_table, op->body, &claim, NULL, NULL, 0) != DEAI_OK ||
      deai_decode(&deai_voucher_table, claim.voucher.body, &voucher, NULL, NULL, 0) != DEAI_OK ||
      memcmp(voucher.ch, receipt->ch, DEAI_ID_BYTES) != 0)
    return;
  channel->claims++;
  channel->claimed = voucher.c;
  channel->claimed_h = height;
}

static void take_object(cli_channel *channel, const deai_receipt *receipt, const deai_op *op,
                        uint64_t height) {
  _Alignas(16) uint8_t room[4 * sizeof(deai_signed)];
  deai_arena arena = {room, sizeof room, 0};
  deai_op_object object;
  deai_receipt audit;
  deai_lm_end end;
  if (deai_decode(&deai_op_object_table, op->body, &object, &arena, NULL, 0) != DEAI_OK ||
      memcmp(object.ch, receipt->ch, DEAI_ID_BYTES) != 0)
    return;
  const deai_signed *packs = object.receipts.items;
  if (deai_decode(&deai_receipt_table, packs[1].body, &audit, NULL, NULL, 0) != DEAI_OK ||
      memcmp(audit.job, receipt->job, DEAI_ID_BYTES) != 0)
    return;
  channel->objected = height;
  memcpy(channel->auditor, audit.worker, DEAI_KEY_BYTES);
  if (deai_decode(&deai_lm_end_table, audit.out, &end, NULL, NULL, 0) != DEAI_OK) return;
  channel->audited = true;
  memcpy(channel->audit_root, end.root, DEAI_HASH_BYTES);
  channel->audit_has_wrong = (end.has & DEAI_LM_END_HAS_WRONG) != 0;
  channel->audit_wrong = end.wrong;
}

static void take_verdict(cli_channel *channel, const deai_receipt *receipt, const deai_op *op,
                         uint64_t height) {
  deai_op_verdict verdict;
  if (deai_decode(&deai_op_verdict_table, op->body, &verdict, NULL, NULL, 0) != DEAI_OK ||
      memcmp(verdict.job, receipt->job, DEAI_ID_BYTES) != 0)
    return;
  channel->decided = height;
  channel->payee = verdict.payee;
}

static bool is(const deai_op *op, const char *type) {
  return deai_str_eq(op->type, deai_str_of(type)) != 0;
}

static bool on_block(void *user, const deai_entry *entry) {
  cli_judgement *j = user;
  cli_channel *channel = &j->channel;
  uint64_t height = entry->block.h;
  for (uint64_t i = 0; i < entry->tx_count; i++) {
    const deai_op *ops = entry->txs[i]->tx.t.items;
    for (uint64_t k = 0; k < entry->txs[i]->tx.t.count; k++) {
      uint8_t ch[DEAI_ID_BYTES];
      if (deai_str_eq(ops[k].module, deai_str_of("channel/1")) == 0) continue;
      deai_channel_id(entry->txs[i]->id, (uint32_t)k, ch);
      if (is(&ops[k], "open") && memcmp(ch, j->receipt.ch, sizeof ch) == 0)
        take_open(channel, &j->receipt, &ops[k], height);
      if (is(&ops[k], "topup")) take_topup(channel, &j->receipt, &ops[k]);
      if (is(&ops[k], "claim")) take_claim(channel, &j->receipt, &ops[k], height);
      if (is(&ops[k], "object")) take_object(channel, &j->receipt, &ops[k], height);
      if (is(&ops[k], "verdict")) take_verdict(channel, &j->receipt, &ops[k], height);
    }
  }
  return true;
}

static int check_channel(const cli *line, cli_judgement *j) {
  char err[DEAI_ERR_CAP] = "";
  if ((j->receipt.has & DEAI_RECEIPT_HAS_CH) == 0) return 0;
  int32_t status = cli_chain_walk(line, on_block, j, err, sizeof err);
  return status == DEAI_OK ? 0 : cli_fail(status, err);
}

/* ---- open ---- */

int cli_judge_open(const cli *line, const char *path, cli_judgement **out) {
  char err[DEAI_ERR_CAP] = "";
  uint64_t len = 0;
  cli_judgement *j = aligned_alloc(16, (sizeof *j + 15) / 16 * 16);
  *out = NULL;
  if (j == NULL) return cli_fail(DEAI_ENOMEM, "");
  memset(j, 0, sizeof *j);
  j->ids_room = aligned_alloc(16, IDS_ROOM);
  int32_t status = j->ids_room == NULL ? DEAI_ENOMEM : DEAI_OK;
  if (status == DEAI_OK) status = deai_file_read(path, FILE_MAX, &j->memory, &len, err, sizeof err);
  if (status == DEAI_OK) status = read_parts(j, len, err, sizeof err);
  if (status != DEAI_OK) {
    cli_judge_free(j);
    (void)fprintf(stderr, "deai: %s: expected a job file of deai ask --receipt\n", path);
    return cli_fail(status, err);
  }
  check_signature(line, j);
  check_input(j);
  check_units(j);
  check_price(line, j);
  int code = check_channel(line, j);
  if (code != 0) {
    cli_judge_free(j);
    return code;
  }
  *out = j;
  return 0;
}

void cli_judge_free(cli_judgement *judgement) {
  if (judgement == NULL) return;
  free(judgement->memory);
  free(judgement->ids_room);
  free(judgement);
}

/* ---- what follows ---- */

bool cli_judge_own(const cli_judgement *j) {
  return j->has_wrong && j->wrong >= j->end.n - j->receipt.u_out;
}

static bool is_replay(const cli_judgement *j) {
  return deai_str_eq(j->receipt.m, deai_str_of("replay")) != 0;
}

bool cli_judge_wrong(const cli_judgement *j) {
  bool said = (j->end.has & DEAI_LM_END_HAS_WRONG) != 0;
  bool same = said == j->has_wrong && (!said || j->end.wrong == j->wrong);
  if (!j->recomputed || j->answer_equal) return false;
  return !j->root_equal || (is_replay(j) ? !same : cli_judge_own(j));
}

bool cli_judge_audit_wrong(const cli_judgement *j) {
  const cli_channel *channel = &j->channel;
  if (!j->recomputed || !channel->audited) return false;
  return memcmp(channel->audit_root, j->root, DEAI_HASH_BYTES) != 0 ||
         channel->audit_has_wrong != j->has_wrong ||
         (j->has_wrong && channel->audit_wrong != j->wrong);
}

/* ---- recompute ---- */

static void not_recomputed(cli_judgement *j, int32_t status, const char *why) {
  j->why_status = status;
  (void)snprintf(j->why_not, sizeof j->why_not, "%s", why);
}

typedef struct stat_ask {
  bool whole;
} stat_ask;

static bool on_stat(void *user, const deai_part *part) {
  stat_ask *ask = user;
  deai_blocks_stat end;
  if ((part->flags & DEAI_PART_END) != 0 && part->status == DEAI_OK &&
      deai_decode(&deai_blocks_stat_table, part->args, &end, NULL, NULL, 0) == DEAI_OK)
    ask->whole = end.blocks > 0 && end.have == end.blocks;
  return true;
}

/* in_blocks returns whether all blocks of the model lie in this node's store. */
static bool in_blocks(deai_client *client, deai_bytes args) {
  char why[DEAI_ERR_CAP] = "";
  stat_ask ask = {false};
  deai_client_call call = {.service = DEAI_BLOCKS_SERVICE,
                           .method = "stat",
                           .args = args,
                           .flags = DEAI_CALL_HERE,
                           .part = on_stat,
                           .user = &ask,
                           .time_ms = LIST_MS};
  return deai_client_run(client, &call, why, sizeof why) == DEAI_OK && ask.whole;
}

/* shelve loads or unloads the model on this node. */
static int32_t shelve(deai_client *client, const cli_judgement *j, const char *method, char *why,
                      uint32_t why_cap) {
  uint8_t room[256];
  deai_lm_model_ref ref = {.model = j->job.model};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  int32_t status = deai_encode(&deai_lm_model_ref_table, &ref, &writer, why, why_cap);
  deai_client_call call = {.service = DEAI_LM_SERVICE,
                           .method = method,
                           .args = deai_bytes_of(room, writer.len),
                           .flags = DEAI_CALL_HERE,
                           .time_ms = LOAD_MS};
  if (status == DEAI_OK) status = deai_client_run(client, &call, why, why_cap);
  return status;
}

/* model_here has the model ready on this node; *loaded_out = it was loaded for this. */
static bool model_here(deai_client *client, cli_judgement *j, bool *loaded_out) {
  char why[DEAI_ERR_CAP] = "";
  uint8_t room[256];
  listing list;
  *loaded_out = false;
  if (list_models(client, j, (deai_bytes){NULL, 0}, &list)) return true;
  deai_blocks_cid ref = {.cid = j->job.model};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  if (deai_encode(&deai_blocks_cid_table, &ref, &writer, NULL, 0) != DEAI_OK ||
      !in_blocks(client, deai_bytes_of(room, writer.len))) {
    not_recomputed(j, DEAI_ENOTFOUND, "model missing");
    return false;
  }
  int32_t status = shelve(client, j, "load", why, sizeof why);
  *loaded_out = status == DEAI_OK;
  if (status != DEAI_OK)
    not_recomputed(j, status, status == DEAI_ENOPROVIDER ? "model missing" : why);
  return *loaded_out;
}

static bool on_replay(void *user, const deai_part *part) {
  cli_judgement *j = user;
  deai_lm_end end;
  if ((part->flags & DEAI_PART_END) == 0 || part->status != DEAI_OK) return true;
  if (deai_decode(&deai_lm_end_table, part->args, &end, NULL, NULL, 0) != DEAI_OK ||
      end.n != j->end.n) {
    not_recomputed(j, DEAI_EVERIFY, "the replay's answer has no form");
    return true;
  }
  if (end.rules != j->end.rules) {
    not_recomputed(j, DEAI_EVERSION, "other rules of arithmetic here");
    return true;
  }
  j->recomputed = true;
  memcpy(j->root, end.root, DEAI_HASH_BYTES);
  j->root_equal = memcmp(end.root, j->end.root, DEAI_HASH_BYTES) == 0;
  j->has_wrong = (end.has & DEAI_LM_END_HAS_WRONG) != 0;
  j->wrong = end.wrong;
  return true;
}

/* replay_body writes prompt ids and all output tokens; free it. */
static uint8_t *replay_body(const cli_judgement *j, uint64_t *len_out) {
  const uint64_t *ids = j->file.ids.items;
  uint64_t count = j->file.ids.count;
  uint8_t *body = malloc((size_t)(4 * (j->job.ids + count)) + 1);
  if (body == NULL) return NULL;
  memcpy(body, j->file.body.ptr, (size_t)(4 * j->job.ids));
  uint8_t *at = body + 4 * j->job.ids;
  for (uint64_t i = 0; i < count; i++)
    for (uint32_t k = 0; k < 4; k++)
      *at++ = (uint8_t)(ids[i] >> (8 * k));
  *len_out = (uint64_t)(at - body);
  return body;
}

static bool on_generate(void *user, const deai_part *part) {
  cli_judgement *j = user;
  deai_lm_end end;
  if ((part->flags & DEAI_PART_END) == 0 || part->status != DEAI_OK) return true;
  j->answered_again = deai_decode(&deai_lm_end_table, part->args, &end, NULL, NULL, 0) == DEAI_OK;
  j->answer_equal =
      j->answered_again && end.n == j->end.n && memcmp(end.root, j->end.root, DEAI_HASH_BYTES) == 0;
  return true;
}

/* answer_again makes the worker's CALL once more when its statement does not fit the tokens of the
   file: the same answer means that these are not the tokens that it gave. */
static void answer_again(deai_client *client, deai_bytes provider, cli_judgement *j) {
  char why[DEAI_ERR_CAP] = "";
  uint8_t id[DEAI_ID_BYTES];
  deai_random(deai_platform_system(), id, sizeof id);
  deai_client_call call = {.service = DEAI_LM_SERVICE,
                           .method = "generate",
                           .args = j->file.a,
                           .body = j->file.body,
                           .model = j->job.model,
                           .provider = provider,
                           .job = deai_bytes_of(id, sizeof id),
                           .units = j->file.body.len / 4,
                           .flags = provider.len == 0 ? DEAI_CALL_HERE : 0,
                           .part = on_generate,
                           .user = j,
                           .time_ms = REPLAY_MS};
  int32_t status = deai_client_run(client, &call, why, sizeof why);
  if (status == DEAI_OK && j->answered_again) return;
  j->recomputed = false; /* so nobody can be blamed */
  not_recomputed(j, status, why[0] != 0 ? why : "the answer could not be made again");
}

static void replay(deai_client *client, deai_bytes provider, cli_judgement *j) {
  char why[DEAI_ERR_CAP] = "";
  uint64_t len = 0;
  deai_lm_job job = j->job;
  job.forced = job.max = j->file.ids.count;
  job.logprobs = 0;
  uint8_t *args = malloc(65536);
  uint8_t *body = replay_body(j, &len);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){args, args != NULL ? 65536u : 0});
  int32_t status = args == NULL || body == NULL
                       ? DEAI_ENOMEM
                       : deai_encode(&deai_lm_job_table, &job, &writer, why, sizeof why);
  deai_client_call call = {.service = DEAI_LM_SERVICE,
                           .method = "replay",
                           .args = deai_bytes_of(args, writer.len),
                           .body = deai_bytes_of(body, len),
                           .model = j->job.model,
                           .provider = provider,
                           .job = deai_bytes_of(j->receipt.job, DEAI_ID_BYTES),
                           .units = len / 4,
                           .flags = provider.len == 0 ? DEAI_CALL_HERE : 0,
                           .part = on_replay,
                           .user = j,
                           .time_ms = REPLAY_MS};
  if (status == DEAI_OK) status = deai_client_run(client, &call, why, sizeof why);
  if (status != DEAI_OK) not_recomputed(j, status, why[0] != 0 ? why : deai_status_text(status));
  free(args);
  free(body);
  if (!is_replay(j) && cli_judge_wrong(j)) answer_again(client, provider, j);
}

static bool key_of(const char *hex, uint8_t key[DEAI_KEY_BYTES]) {
  for (size_t i = 0; i < DEAI_KEY_BYTES; i++) {
    unsigned value = 0;
    if (sscanf(hex + 2 * i, "%2x", &value) != 1) return false;
    key[i] = (uint8_t)value;
  }
  return true;
}

void cli_judge_recompute(const cli *line, const char *via, cli_judgement *j) {
  char err[DEAI_ERR_CAP] = "";
  uint8_t key[DEAI_KEY_BYTES];
  bool loaded = false;
  if (j->units != CLI_GOOD) {
    not_recomputed(j, DEAI_EVERIFY, "the file does not fit its receipt");
    return;
  }
  deai_client *client = deai_client_open(line->data, err, sizeof err);
  if (client == NULL) {
    not_recomputed(j, DEAI_EIO, err);
    return;
  }
  if (via != NULL && key_of(via, key))
    replay(client, deai_bytes_of(key, sizeof key), j);
  else if (via == NULL && model_here(client, j, &loaded))
    replay(client, (deai_bytes){NULL, 0}, j);
  if (loaded && shelve(client, j, "unload", err, sizeof err) != DEAI_OK)
    (void)fprintf(stderr, "deai: the model stays loaded: %s\n", err);
  deai_client_free(client);
}
