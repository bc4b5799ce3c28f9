#include "play.h"

#include "deai/contracts/http.h"
#include "deai/contracts/ledger.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

const uint8_t play_alpha[DEAI_KEY_BYTES] = {0xaa, 1};
const uint8_t play_beta[DEAI_KEY_BYTES] = {0xbb, 2};
const uint8_t play_gamma[DEAI_KEY_BYTES] = {0xcc, 3};
bool play_paid;

static const uint8_t cid_m[] = {1, 0x55, 0x12, 4, 0xde, 0xad, 0xbe, 0xef};
static const uint8_t cid_o[] = {1, 0x55, 0x12, 4, 1, 2, 3, 4};
/* SHA-256 of the chat template of SmolLM2-135M-Instruct */
static const uint8_t smollm2[DEAI_HASH_BYTES] = {
    0x87, 0x2b, 0xe4, 0x9d, 0xbb, 0x63, 0x80, 0x44, 0xad, 0x01, 0xb6, 0x03, 0x88, 0xf4, 0x8d, 0x46,
    0x9f, 0xf2, 0x98, 0x0e, 0x5f, 0x0d, 0xcc, 0xdc, 0x22, 0xec, 0x90, 0x7d, 0xb5, 0x4d, 0x07, 0x88};

void play_begin(play_settings settings) {
  uint8_t room[512];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  deai_cbor_put_map(&writer, 5);
  deai_cbor_put_text(&writer, deai_str_of("audit"));
  deai_cbor_put_uint(&writer, settings.audit);
  deai_cbor_put_text(&writer, deai_str_of("queue"));
  deai_cbor_put_uint(&writer, settings.queue > 0 ? settings.queue : 8);
  deai_cbor_put_text(&writer, deai_str_of("route"));
  deai_cbor_put_text(&writer, deai_str_of(settings.local ? "local" : "any"));
  deai_cbor_put_text(&writer, deai_str_of("default"));
  deai_cbor_put_text(&writer, deai_str_of(settings.preset != NULL ? settings.preset : ""));
  deai_cbor_put_text(&writer, deai_str_of("audit_wait"));
  deai_cbor_put_bool(&writer, settings.audit_wait);
  ck_assert_int_eq(writer.status, DEAI_OK);
  fake_begin(deai_bytes_of(room, writer.len));
}

static void list_models(uint64_t ctx, const uint8_t *provider) {
  deai_lm_model rows[2] = {
      {.ctx = ctx,
       .name = deai_str_of("m"),
       .model = deai_bytes_of(cid_m, sizeof cid_m),
       .price_out = 3},
      {.ctx = ctx, .name = deai_str_of("o"), .model = deai_bytes_of(cid_o, sizeof cid_o)}};
  memcpy(rows[0].template_hash, smollm2, sizeof smollm2);
  deai_lm_models_end end = {.models = {rows, 2}};
  (void)fake_end(fake_open("models"), DEAI_OK, fake_encode(&deai_lm_models_end_table, &end),
                 provider, (deai_bytes){NULL, 0});
}

void play_members(uint64_t ctx, const uint8_t *here, const uint8_t *const *members,
                  uint32_t count) {
  fake_call *call = fake_open("models");
  ck_assert_ptr_nonnull(call);
  ck_assert_uint_eq(call->flags, DEAI_CALL_HERE);
  if (here != NULL)
    list_models(ctx, here);
  else
    fake_fail(call, DEAI_ENOPROVIDER, NULL);
  for (uint32_t i = 0; i < count; i++) {
    ck_assert_uint_eq(fake_open("models")->flags, DEAI_CALL_AWAY);
    list_models(ctx, members[i]);
  }
  call = fake_open("models");
  if (call == NULL) return;
  ck_assert_uint_eq(call->flags, DEAI_CALL_AWAY);
  fake_fail(call, DEAI_ENOPROVIDER, NULL);
}

void play_models(uint64_t ctx) {
  play_members(ctx, play_alpha, NULL, 0);
}

static deai_bytes member_of(uint8_t account, deai_buf room) {
  uint8_t owner[DEAI_ACCT_BYTES];
  memset(owner, account, sizeof owner);
  deai_cbor_writer writer = deai_cbor_writer_of(room);
  deai_cbor_put_map(&writer, 4);
  deai_cbor_put_text(&writer, deai_str_of("by"));
  deai_cbor_put_bytes(&writer, deai_bytes_of(owner, sizeof owner));
  deai_cbor_put_text(&writer, deai_str_of("name"));
  deai_cbor_put_text(&writer, deai_str_of("x"));
  deai_cbor_put_text(&writer, deai_str_of("role"));
  deai_cbor_put_text(&writer, deai_str_of("member"));
  deai_cbor_put_text(&writer, deai_str_of("owner"));
  deai_cbor_put_bytes(&writer, deai_bytes_of(owner, sizeof owner));
  ck_assert_int_eq(writer.status, DEAI_OK);
  return deai_bytes_of(room.ptr, writer.len);
}

uint32_t play_owners(uint8_t (*account_of)(const uint8_t *key)) {
  static const uint8_t block[1];
  uint8_t room[256];
  uint32_t asked = 0;
  fake_call *call = NULL;
  for (; (call = fake_open("query")) != NULL; asked++) {
    deai_ledger_query query;
    ck_assert_int_eq(deai_decode(&deai_ledger_query_table,
                                 deai_bytes_of(call->args, call->args_len), &query, NULL, NULL, 0),
                     DEAI_OK);
    ck_assert_uint_eq(query.k.len, DEAI_KEY_BYTES);
    uint8_t account = account_of(query.k.ptr);
    deai_ledger_query_end end = {.block = {.body = deai_bytes_of(block, 1)}};
    if (account != 0) {
      end.has = DEAI_LEDGER_QUERY_END_HAS_VALUE;
      end.value = member_of(account, (deai_buf){room, sizeof room});
    }
    (void)fake_end(call, DEAI_OK, fake_encode(&deai_ledger_query_end_table, &end), NULL,
                   (deai_bytes){NULL, 0});
  }
  return asked;
}

static deai_bytes ids_of(uint32_t count) {
  static uint8_t ids[4 * 4096];
  ck_assert_uint_le(count, 4096);
  for (uint32_t i = 0; i < count; i++) {
    ids[4 * i] = (uint8_t)(i + 1);
    ids[4 * i + 1] = (uint8_t)((i + 1) >> 8);
    ids[4 * i + 2] = ids[4 * i + 3] = 0;
  }
  return deai_bytes_of(ids, 4 * (uint64_t)count);
}

void play_encode(uint32_t count) {
  fake_call *call = fake_open("encode");
  ck_assert_ptr_nonnull(call);
  deai_bytes ids = ids_of(count);
  deai_bytes first = deai_bytes_of(ids.ptr, count > 0 ? 2 : 0); /* cut inside an id */
  deai_bytes rest = deai_bytes_of(ids.ptr + first.len, ids.len - first.len);
  (void)fake_part(call, (deai_bytes){NULL, 0}, first, play_alpha);
  (void)fake_part(call, (deai_bytes){NULL, 0}, rest, play_alpha);
  (void)fake_end(call, DEAI_OK, (deai_bytes){NULL, 0}, play_alpha, (deai_bytes){NULL, 0});
}

int32_t play_tokens(fake_call *call, const uint8_t *provider, uint64_t first, uint32_t count,
                    const char *text) {
  uint64_t ids[64];
  deai_lm_logprob items[64][3];
  deai_lm_logprobs rows[64];
  uint64_t wanted = play_job(call).logprobs;
  for (uint32_t i = 0; i < count && i < 64; i++) {
    ids[i] = first + i;
    items[i][0] = (deai_lm_logprob){ids[i], -500000};
    items[i][1] = (deai_lm_logprob){ids[i], -500000};
    items[i][2] = (deai_lm_logprob){ids[i] + 1000, -2250000};
    rows[i].items = (deai_list){items[i], wanted > 1 ? 3 : 2};
  }
  deai_lm_tokens tokens = {.ids = {ids, count}, .text = deai_bytes_of(text, strlen(text))};
  if (wanted > 0) {
    tokens.has = DEAI_LM_TOKENS_HAS_LP;
    tokens.lp = (deai_list){rows, count};
  }
  return fake_part(call, fake_encode(&deai_lm_tokens_table, &tokens), (deai_bytes){NULL, 0},
                   provider);
}

static deai_bytes receipt_of(const fake_call *call, const uint8_t *provider, uint64_t price) {
  static uint8_t room[2048];
  static uint8_t body[1024];
  static const uint8_t empty_map = 0xa0;
  deai_receipt receipt = {.m = deai_str_of("generate"),
                          .s = deai_str_of(DEAI_LM_SERVICE),
                          .out = deai_bytes_of(&empty_map, 1),
                          .price = price};
  if (play_paid) receipt.has = DEAI_RECEIPT_HAS_CH;
  memcpy(receipt.job, call->job, DEAI_ID_BYTES);
  memcpy(receipt.worker, provider, DEAI_KEY_BYTES);
  deai_bytes encoded = fake_encode(&deai_receipt_table, &receipt);
  ck_assert_uint_le(encoded.len, sizeof body);
  memcpy(body, encoded.ptr, (size_t)encoded.len);
  deai_signed pack = {.body = deai_bytes_of(body, encoded.len)};
  encoded = fake_encode(&deai_signed_table, &pack);
  ck_assert_uint_le(encoded.len, sizeof room);
  memcpy(room, encoded.ptr, (size_t)encoded.len);
  return deai_bytes_of(room, encoded.len);
}

int32_t play_end(fake_call *call, const uint8_t *provider, uint64_t n, deai_lm_finish finish,
                 uint8_t root) {
  deai_lm_job job = play_job(call);
  uint8_t cid[DEAI_CID_MAX];
  memcpy(cid, job.model.ptr, (size_t)job.model.len);
  deai_lm_end end = {.has = DEAI_LM_END_HAS_FINISH,
                     .n = n,
                     .model = deai_bytes_of(cid, job.model.len),
                     .rules = DEAI_LM_RULES,
                     .finish = (uint32_t)finish,
                     .sampler = job.sampler};
  memset(end.root, root, sizeof end.root);
  deai_bytes receipt = receipt_of(call, provider, 7);
  return fake_end(call, DEAI_OK, fake_encode(&deai_lm_end_table, &end), provider, receipt);
}

void play_replayed(fake_call *call, const uint8_t *provider, uint64_t n, uint8_t root,
                   int64_t wrong) {
  deai_lm_job job = play_job(call);
  uint8_t cid[DEAI_CID_MAX];
  memcpy(cid, job.model.ptr, (size_t)job.model.len);
  deai_lm_end end = {.has = wrong >= 0 ? DEAI_LM_END_HAS_WRONG : 0,
                     .n = n,
                     .model = deai_bytes_of(cid, job.model.len),
                     .rules = DEAI_LM_RULES,
                     .wrong = wrong >= 0 ? (uint64_t)wrong : 0,
                     .sampler = job.sampler};
  memset(end.root, root, sizeof end.root);
  deai_bytes receipt = receipt_of(call, provider, 5);
  (void)fake_end(call, DEAI_OK, fake_encode(&deai_lm_end_table, &end), provider, receipt);
}

deai_lm_job play_job(const fake_call *call) {
  static _Alignas(16) uint8_t room[4096];
  char err[DEAI_ERR_CAP] = "";
  deai_arena arena = {room, sizeof room, 0};
  deai_lm_job job;
  ck_assert_msg(deai_decode(&deai_lm_job_table, deai_bytes_of(call->args, call->args_len), &job,
                            &arena, err, sizeof err) == DEAI_OK,
                "%s", err);
  ck_assert_uint_eq(call->body_len, 4 * (job.ids + job.forced));
  ck_assert_uint_eq(call->units, job.ids + job.forced);
  return job;
}

uint64_t play_chat(const char *more) {
  char body[2048];
  (void)snprintf(body, sizeof body,
                 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Say hi\"}]%s}",
                 more);
  return fake_http("POST", "/v1/chat/completions", body);
}

json_t *play_json(uint64_t ticket) {
  json_error_t error;
  const fake_answer *answer = fake_answer_of(ticket);
  ck_assert_ptr_nonnull(answer->body);
  json_t *json = json_loads(answer->body, 0, &error);
  ck_assert_msg(json != NULL, "%s: %s", error.text, answer->body);
  return json;
}

const char *play_content(uint64_t ticket) {
  static char whole[65536];
  const char *at = fake_answer_of(ticket)->body;
  whole[0] = 0;
  while (at != NULL && (at = strstr(at, "data: {")) != NULL) {
    const char *end = strstr(at, "\n\n");
    ck_assert_ptr_nonnull(end);
    json_t *event = json_loadb(at + 6, (size_t)(end - at) - 6, 0, NULL);
    ck_assert_ptr_nonnull(event);
    json_t *choice = json_array_get(json_object_get(event, "choices"), 0);
    const char *text =
        json_string_value(json_object_get(json_object_get(choice, "delta"), "content"));
    if (text == NULL) text = json_string_value(json_object_get(choice, "text"));
    size_t used = strlen(whole);
    if (text != NULL) (void)snprintf(whole + used, sizeof whole - used, "%s", text);
    json_decref(event);
    at = end;
  }
  return whole;
}
