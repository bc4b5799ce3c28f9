/* The router with fake providers, fake members and a fake settlement. */
#include "tests/testing.h"

#include "deai/contracts/lm.h"
#include "deai/contracts/rank.h"
#include "host/base/hash.h"
#include "host/router/others.h"
#include "host/router/router.h"
#include "tests/host/router/ends.h"

#include <stdio.h>

#include "host/base/banned.h"

#define LM    "deai.lm/1-draft"
#define PEERS 4u
#define ENDS  64u

/* A provider or a member: what it answers to serve, and the calls it got. */
typedef struct provider {
  int32_t status;  /* of serve */
  int32_t refuses; /* END of each call at once, when not 0 */
  uint32_t asked;
} provider;

typedef struct settle_log {
  uint32_t admits;
  int32_t admit_status;
  uint64_t price_in;
  uint64_t price_out;
  uint32_t pays;
  int32_t pay_status;
  uint8_t worker[DEAI_KEY_BYTES];
  uint32_t left;
  int32_t left_status;
  int32_t give_status;
  uint64_t given;
  uint64_t got;
  uint32_t receipts;
  deai_receipt last;
  uint32_t checks;
  int32_t check_status;
  uint32_t over;
} settle_log;

static const uint8_t own[DEAI_KEY_BYTES] = {1};
static uint8_t peer_keys[PEERS][DEAI_KEY_BYTES];
static deai_peer_offer peer_offers[PEERS];
static provider peer_providers[PEERS];
static uint32_t peer_count;
static deai_peer_other lacking[PEERS + 1];
static uint32_t lacking_count;
static provider local_providers[3];
static deai_loop *loop;
static deai_router *router;
static test_end ends[ENDS];
static uint32_t end_count;
static settle_log money;
static uint32_t changes;
static deai_call *last_call;

static test_end *last_end(void) {
  ck_assert_uint_gt(end_count, 0);
  return &ends[end_count - 1];
}

static int32_t provide(provider *who, deai_call *call) {
  who->asked++;
  if (who->status != DEAI_OK) return who->status;
  ck_assert_uint_lt(end_count, ENDS);
  test_end *end = &ends[end_count++];
  *end = test_end_of(loop, DEAI_SIDE_CALLEE);
  end->call = call;
  deai_call_attach(call, &test_callee_ops, end);
  if (who->refuses != DEAI_OK) deai_call_fail(call, who->refuses, "refused after all");
  return DEAI_OK;
}

static int32_t local_serve(void *user, deai_call *call, char *err) {
  provider *who = user;
  last_call = call;
  if (who->status != DEAI_OK) (void)snprintf(err, DEAI_ERR_CAP, "no place here");
  return provide(who, call);
}

static uint32_t peers_list(void *user, deai_str service, deai_bytes model, deai_peer_offer *out,
                           uint32_t cap) {
  (void)user, (void)model;
  if (!deai_str_eq(service, deai_str_of(LM))) return 0;
  for (uint32_t i = 0; i < peer_count && i < cap; i++)
    out[i] = peer_offers[i];
  return peer_count;
}

static uint32_t peers_others(void *user, deai_str service, deai_bytes model, deai_peer_other *out,
                             uint32_t cap) {
  (void)user, (void)service, (void)model;
  for (uint32_t i = 0; i < lacking_count && i < cap; i++)
    out[i] = lacking[i];
  return lacking_count;
}

static int32_t peers_serve(void *user, const uint8_t key[DEAI_KEY_BYTES], deai_call *call) {
  (void)user;
  for (uint32_t i = 0; i < PEERS; i++) {
    if (memcmp(key, peer_keys[i], DEAI_KEY_BYTES) == 0) return provide(&peer_providers[i], call);
  }
  return DEAI_EPEER_LOST;
}

static int32_t settle_admit(void *user, deai_call *call, uint64_t price_in, uint64_t price_out,
                            char *err, uint32_t err_cap) {
  (void)user, (void)call;
  money.admits++;
  money.price_in = price_in;
  money.price_out = price_out;
  if (money.admit_status == DEAI_OK) return DEAI_OK;
  return deai_err(err, err_cap, money.admit_status, "expected 10, found 3");
}

static int32_t settle_pay(void *user, deai_call *call, const uint8_t worker[DEAI_KEY_BYTES],
                          uint64_t price_in, uint64_t price_out, char *err, uint32_t err_cap) {
  (void)user, (void)call, (void)price_in, (void)price_out;
  money.pays++;
  memcpy(money.worker, worker, DEAI_KEY_BYTES);
  if (money.pay_status != DEAI_EPAYMENT) return money.pay_status;
  return deai_err(err, err_cap, DEAI_EPAYMENT, "expected 20 coins, found 4");
}

static int32_t settle_give(void *user, deai_call *call, uint64_t given, uint64_t units,
                           const uint8_t in[DEAI_HASH_BYTES]) {
  (void)user, (void)call, (void)in;
  if (money.give_status == DEAI_OK) money.given = given + units;
  return money.give_status;
}

static void settle_left(void *user, deai_call *call, int32_t status) {
  (void)user, (void)call;
  money.left++;
  money.left_status = status;
}

static void settle_got(void *user, deai_call *call, uint64_t units_so_far) {
  (void)user, (void)call;
  money.got = units_so_far;
}

static int64_t settle_receipt(void *user, deai_call *call, const deai_receipt *receipt,
                              deai_buf out) {
  (void)user, (void)call;
  money.receipts++;
  money.last = *receipt;
  memcpy(out.ptr, "signed", 6);
  return 6;
}

static int32_t settle_check(void *user, deai_call *call, const deai_receipt *expected,
                            deai_bytes receipt) {
  (void)user, (void)call, (void)receipt;
  money.checks++;
  money.last = *expected;
  return money.check_status;
}

static void settle_over(void *user, deai_call *call) {
  (void)user, (void)call;
  money.over++;
}

static const deai_settle settle = {.admit = settle_admit,
                                   .pay = settle_pay,
                                   .left = settle_left,
                                   .give = settle_give,
                                   .got = settle_got,
                                   .receipt = settle_receipt,
                                   .check = settle_check,
                                   .over = settle_over};
static const deai_peers peers = {.list = peers_list, .others = peers_others, .serve = peers_serve};

static int32_t class_of(const void *user, deai_str service, deai_str method) {
  static const char *const names[] = {"public", "guest", "member", "local"};
  (void)user, (void)service;
  for (int32_t i = 0; i < 4; i++) {
    if (deai_str_eq(method, deai_str_of(names[i]))) return i;
  }
  return -1;
}

static void on_change(void *user) {
  (void)user;
  changes++;
}

static int32_t offer(const char *plugin, const char *service, provider *who) {
  deai_offering offering = {.plugin = plugin,
                            .service = service,
                            .class_of = class_of,
                            .remote = who == &local_providers[0],
                            .provider = {who, local_serve}};
  return deai_router_offer(router, &offering);
}

static void setup(void) {
  memset(local_providers, 0, sizeof local_providers);
  memset(peer_providers, 0, sizeof peer_providers);
  memset(peer_offers, 0, sizeof peer_offers);
  memset(&money, 0, sizeof money);
  end_count = 0;
  peer_count = 0;
  lacking_count = 0;
  changes = 0;
  loop = deai_loop_new(deai_platform_system(), 0);
  router = deai_router_new(loop, own);
  ck_assert(loop != NULL && router != NULL);
  deai_router_on_change(router, on_change, NULL);
  ck_assert_int_eq(offer("a/one", LM, &local_providers[0]), DEAI_OK);
  ck_assert_int_eq(offer("b/two", LM, &local_providers[1]), DEAI_OK);
  deai_router_enable(router, "a/one", true);
  deai_router_enable(router, "b/two", true);
  for (uint32_t i = 0; i < PEERS; i++) {
    memset(peer_keys[i], (int)(0x10 * (i + 1)), DEAI_KEY_BYTES);
    memcpy(peer_offers[i].key, peer_keys[i], DEAI_KEY_BYTES);
  }
}

static void teardown(void) {
  for (uint32_t i = 0; i < end_count; i++) {
    if (ends[i].call != NULL) test_drop(&ends[i], DEAI_EIO, "end of the test");
  }
  deai_loop_drain(loop);
  deai_router_free(router); /* asserts that no call is open */
  deai_loop_drain(loop);
  deai_loop_free(loop);
}

static deai_call_spec spec_of(const char *service, const char *method) {
  return (deai_call_spec){.service = deai_str_of(service),
                          .method = deai_str_of(method),
                          .time_ms = 10000,
                          .caller_kind = DEAI_CALLER_PLUGIN,
                          .caller_class = DEAI_CLASS_LOCAL,
                          .caller_id = deai_bytes_of("p", 1)};
}

static void open_call(test_end *caller, const deai_call_spec *spec) {
  *caller = test_end_of(loop, DEAI_SIDE_CALLER);
  caller->call = deai_router_open(router, spec, &test_caller_ops, caller);
  ck_assert_ptr_nonnull(caller->call);
}

/* open_refused expects an END without any provider that was asked. */
static void open_refused(const deai_call_spec *spec, int32_t status, const char *why) {
  test_end caller;
  open_call(&caller, spec);
  deai_loop_drain(loop);
  ck_assert_uint_eq(caller.ends, 1);
  ck_assert_int_eq(caller.status, status);
  ck_assert_msg(strstr(caller.why, why) != NULL, "expected \"%s\", found \"%s\"", why, caller.why);
}

static void end_well(void) {
  ck_assert_int_eq(test_send(last_end(), NULL, 0, DEAI_PART_END, 0), DEAI_OK);
  deai_loop_drain(loop);
}

/* ---- refusals ---- */

START_TEST(a_class_above_the_callers_is_denied) {
  static const char *const methods[] = {"public", "guest", "member", "local"};
  for (uint32_t caller_class = 0; caller_class < 4; caller_class++) {
    for (uint32_t method = 0; method < 4; method++) {
      deai_call_spec spec = spec_of(LM, methods[method]);
      spec.caller_class = caller_class;
      spec.caller_kind = caller_class == DEAI_CLASS_LOCAL ? DEAI_CALLER_CLI : DEAI_CALLER_PEER;
      if (method > caller_class) {
        open_refused(&spec, DEAI_EDENIED, "expected a caller that may call " LM);
        continue;
      }
      test_end caller;
      uint32_t before = end_count;
      open_call(&caller, &spec);
      ck_assert_uint_eq(end_count, before + 1);
      end_well();
      ck_assert_int_eq(caller.status, DEAI_OK);
    }
  }
}
END_TEST

START_TEST(unknown_methods_and_services) {
  deai_call_spec spec = spec_of(LM, "no-such");
  open_refused(&spec, DEAI_EUNSUPPORTED, "expected a method of " LM ", found no-such");
  spec = spec_of("x.y/1", "m");
  open_refused(&spec, DEAI_ENOPROVIDER, "expected a node that offers x.y/1, found none");
  spec.caller_kind = DEAI_CALLER_PEER;
  spec.caller_class = DEAI_CLASS_MEMBER;
  open_refused(&spec, DEAI_ENOTFOUND, "expected a method of x.y/1");
}
END_TEST

START_TEST(too_many_offers) {
  uint32_t added = 0;
  while (offer("c/many", "s/1", &local_providers[2]) == DEAI_OK)
    added++;
  ck_assert_uint_eq(added + 2, DEAI_ROUTER_OFFERS_MAX);
  deai_router_free(NULL);
}
END_TEST

START_TEST(a_call_of_a_member_never_leaves) {
  test_end caller;
  deai_router_peers(router, &peers);
  peer_count = 2;
  local_providers[0].status = DEAI_EBUSY;
  local_providers[1].status = DEAI_EBUSY;
  deai_call_spec spec = spec_of(LM, "member");
  spec.caller_kind = DEAI_CALLER_PEER;
  spec.caller_class = DEAI_CLASS_MEMBER;
  open_call(&caller, &spec);
  deai_loop_drain(loop);
  ck_assert_int_eq(caller.status, DEAI_EBUSY);
  ck_assert_uint_eq(peer_providers[0].asked + peer_providers[1].asked, 0);
}
END_TEST

START_TEST(every_refusal_is_named) {
  test_end caller;
  deai_router_peers(router, &peers);
  peer_count = 1;
  peer_providers[0].status = DEAI_EPEER_LOST;
  local_providers[0].status = DEAI_EBUSY;
  local_providers[1].status = DEAI_EPLUGIN_DIED;
  deai_call_spec spec = spec_of(LM, "guest");
  open_call(&caller, &spec);
  deai_loop_drain(loop);
  ck_assert_int_eq(caller.status, DEAI_EPEER_LOST);
  ck_assert_str_eq(caller.why, "expected a node that offers " LM
                               ", found none; here (a/one): no place here; here (b/two): no place "
                               "here; 10101010: the connection to the member was lost");
}
END_TEST

/* ---- choosing ---- */

START_TEST(local_comes_first_then_the_next_row) {
  test_end caller;
  deai_router_peers(router, &peers);
  peer_count = 1;
  deai_call_spec spec = spec_of(LM, "guest");
  open_call(&caller, &spec);
  ck_assert_uint_eq(local_providers[0].asked, 1);
  ck_assert_uint_eq(deai_router_open_calls(router), 1);
  end_well();
  ck_assert_uint_eq(caller.provider_len, DEAI_KEY_BYTES);
  ck_assert_uint_eq(deai_router_open_calls(router), 0);
  local_providers[0].status = DEAI_EBUSY;
  open_call(&caller, &spec);
  ck_assert_uint_eq(local_providers[1].asked, 1);
  end_well();
  deai_router_enable(router, "b/two", false);
  open_call(&caller, &spec);
  ck_assert_uint_eq(peer_providers[0].asked, 1);
  end_well();
}
END_TEST

START_TEST(flags_provider_plugin_and_avoid) {
  test_end caller;
  deai_router_peers(router, &peers);
  peer_count = 3;
  deai_call_spec spec = spec_of(LM, "guest");
  spec.flags = DEAI_CALL_AWAY;
  open_call(&caller, &spec);
  ck_assert_uint_eq(local_providers[0].asked, 0);
  ck_assert_uint_eq(peer_providers[0].asked, 1);
  end_well();
  spec.flags = 0;
  spec.provider = deai_bytes_of(peer_keys[2], DEAI_KEY_BYTES);
  open_call(&caller, &spec);
  ck_assert_uint_eq(peer_providers[2].asked, 1);
  end_well();
  spec.provider = deai_bytes_of(own, sizeof own);
  open_call(&caller, &spec);
  ck_assert_uint_eq(local_providers[0].asked, 1);
  end_well();
  spec.provider = deai_bytes_of(NULL, 0);
  spec.plugin = deai_str_of("b/two");
  open_call(&caller, &spec);
  ck_assert_uint_eq(local_providers[1].asked, 1);
  end_well();
  spec.plugin = deai_str_of("");
  uint8_t avoid[2 * DEAI_KEY_BYTES];
  memcpy(avoid, own, DEAI_KEY_BYTES);
  memcpy(avoid + DEAI_KEY_BYTES, peer_keys[0], DEAI_KEY_BYTES);
  spec.avoid = deai_bytes_of(avoid, sizeof avoid);
  open_call(&caller, &spec);
  ck_assert_uint_eq(peer_providers[1].asked, 1);
  end_well();
  spec.flags = DEAI_CALL_HERE;
  open_call(&caller, &spec);
  deai_loop_drain(loop);
  ck_assert_int_eq(caller.status, DEAI_ENOPROVIDER);
}
END_TEST

START_TEST(price_then_speed_and_load) {
  test_end caller;
  deai_router_peers(router, &peers);
  peer_count = 4;
  for (uint32_t i = 0; i < 4; i++)
    peer_offers[i].latency_us = 100;
  peer_offers[0].price_out = 50;
  peer_offers[1].price_out = 10;
  peer_offers[1].busy = 3;
  peer_offers[2].price_in = 10;
  peer_offers[3].price_out = 99;
  for (uint32_t i = 0; i < 4; i++)
    peer_providers[i].status = DEAI_EBUSY;
  deai_call_spec spec = spec_of(LM, "guest");
  spec.flags = DEAI_CALL_AWAY;
  spec.price_max = 60;
  open_call(&caller, &spec);
  deai_loop_drain(loop);
  ck_assert_str_eq(caller.why, "expected a node that offers " LM
                               ", found none; 30303030: too much work waits, try again later; "
                               "20202020: too much work waits, try again later; "
                               "10101010: too much work waits, try again later");
  ck_assert_uint_eq(peer_providers[3].asked, 0); /* dearer than price_max */
}
END_TEST

/* ---- scores ---- */

static uint64_t scores_given[PEERS];
static uint32_t rank_asked;

/* answer_scores plays models/rank. */
static void answer_scores(test_end *end, const deai_part *part) {
  _Alignas(16) static uint8_t room[4096];
  static uint8_t head[4096];
  deai_rank_score asked;
  deai_rank_row rows[PEERS];
  deai_arena arena = {room, sizeof room, 0};
  ck_assert_int_eq(deai_decode(&deai_rank_score_table, part->args, &asked, &arena, NULL, 0),
                   DEAI_OK);
  ck_assert(deai_str_eq(asked.service, deai_str_of(LM)));
  ck_assert_uint_le(asked.nodes.count, PEERS);
  const deai_rank_key *keys = asked.nodes.items;
  for (uint64_t i = 0; i < asked.nodes.count; i++) {
    rows[i] =
        (deai_rank_row){.why = deai_str_of("x"), .score = scores_given[keys[i].key[0] / 16 - 1]};
    memcpy(rows[i].node, keys[i].key, DEAI_KEY_BYTES);
  }
  deai_rank_scores answer = {.scores = {rows, asked.nodes.count}};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){head, sizeof head});
  ck_assert_int_eq(deai_encode(&deai_rank_scores_table, &answer, &writer, NULL, 0), DEAI_OK);
  deai_part end_part = {.size = (uint32_t)sizeof end_part,
                        .flags = DEAI_PART_END,
                        .attachment = -1,
                        .args = deai_bytes_of(head, writer.len)};
  (void)!deai_call_send(end->call, DEAI_SIDE_CALLEE, &end_part);
}

static int32_t rank_serve(void *user, deai_call *call, char *why) {
  (void)why;
  rank_asked++;
  ck_assert_int_eq(provide(user, call), DEAI_OK);
  last_end()->on_part = answer_scores;
  return DEAI_OK;
}

static int32_t rank_class(const void *user, deai_str service, deai_str method) {
  (void)user, (void)service;
  return deai_str_eq(method, deai_str_of("score")) ? DEAI_CLASS_LOCAL : -1;
}

/* chosen_of opens a call for a model, and returns which member it went to. */
static uint32_t chosen_of(void) {
  test_end caller;
  uint32_t before[PEERS];
  uint32_t chosen = PEERS;
  deai_call_spec spec = spec_of(LM, "guest");
  spec.model = deai_bytes_of("a model", 7);
  for (uint32_t i = 0; i < PEERS; i++)
    before[i] = peer_providers[i].asked;
  open_call(&caller, &spec);
  for (uint32_t i = 0; i < PEERS; i++)
    if (peer_providers[i].asked > before[i]) chosen = i;
  deai_loop_drain(loop);
  test_drop(&caller, DEAI_ECANCELLED, "");
  deai_loop_drain(loop);
  return chosen;
}

static void two_members(uint64_t first, uint64_t second) {
  static provider rank;
  rank = (provider){0};
  rank_asked = 0;
  deai_offering offering = {.plugin = "models/rank",
                            .service = DEAI_RANK_SERVICE,
                            .class_of = rank_class,
                            .provider = {&rank, rank_serve}};
  ck_assert_int_eq(deai_router_offer(router, &offering), DEAI_OK);
  deai_router_peers(router, &peers);
  peer_count = 2;
  peer_offers[0].latency_us = 100;
  peer_offers[1].latency_us = 150;
  scores_given[0] = first;
  scores_given[1] = second;
}

START_TEST(without_a_rank_nobody_is_asked_for_scores) {
  two_members(100000, 900000);
  ck_assert_uint_eq(chosen_of(), 0);
  ck_assert_uint_eq(chosen_of(), 0);
  ck_assert_uint_eq(rank_asked, 0);
}
END_TEST

START_TEST(a_better_score_outweighs_some_latency) {
  two_members(400000, 900000);
  deai_router_enable(router, "models/rank", true);
  ck_assert_uint_eq(chosen_of(), 0); /* nothing was known yet: the nearer one, and rank is asked */
  ck_assert_uint_eq(rank_asked, 1);
  ck_assert_uint_eq(chosen_of(), 1);
  scores_given[0] = 800000;
  ck_assert_uint_eq(chosen_of(), 1); /* what it knows is of the call before */
  ck_assert_uint_eq(chosen_of(), 0);
  ck_assert_uint_eq(rank_asked, 4);
  peer_offers[1].price_in = 1; /* price comes first */
  scores_given[0] = DEAI_ROUTER_SCORE_POOR;
  (void)chosen_of();
  ck_assert_uint_eq(chosen_of(), 0);
}
END_TEST

START_TEST(a_poor_score_comes_last_whatever_it_costs) {
  two_members(DEAI_ROUTER_SCORE_POOR - 1, 300000);
  deai_router_enable(router, "models/rank", true);
  peer_offers[1].price_out = 1000;
  ck_assert_uint_eq(chosen_of(), 0);
  ck_assert_uint_eq(chosen_of(), 1);
  peer_providers[1].status = DEAI_EBUSY; /* it is still better than none */
  ck_assert_uint_eq(chosen_of(), 1);     /* asked before, then the poor one */
  ck_assert_uint_eq(peer_providers[0].asked, 2);
}
END_TEST

static uint64_t lm_offer(uint8_t *room, uint64_t cap, uint64_t price_in, uint64_t price_out) {
  static const uint8_t cid[] = {1, 0x71, 0x12, 1, 7};
  deai_bytes models[] = {deai_bytes_of(cid, sizeof cid)};
  deai_lm_offer value = {.models = {models, 1}, .price_in = price_in, .price_out = price_out};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, cap});
  ck_assert_int_eq(deai_encode(&deai_lm_offer_table, &value, &writer, NULL, 0), DEAI_OK);
  return writer.len;
}

static void count_offer(void *user, deai_str service, deai_bytes args) {
  (void)service, (void)args;
  (*(uint32_t *)user)++;
}

START_TEST(a_model_must_be_offered) {
  static const uint8_t cid[] = {1, 0x71, 0x12, 1, 7};
  static const uint8_t other[] = {1, 0x71, 0x12, 1, 8};
  static uint8_t long_offer[DEAI_ROUTER_OFFER_ARGS + 1];
  uint8_t room[256];
  uint32_t offers = 0;
  test_end caller;
  deai_call_spec spec = spec_of(LM, "guest");
  spec.model = deai_bytes_of(cid, sizeof cid);
  open_refused(&spec, DEAI_ENOPROVIDER, "with this model, found none");
  deai_router_describe(router, "b/two", deai_str_of(LM),
                       deai_bytes_of(long_offer, sizeof long_offer)); /* refused, logged */
  deai_router_describe(router, "b/two", deai_str_of(LM),
                       deai_bytes_of(room, lm_offer(room, sizeof room, 0, 0)));
  open_call(&caller, &spec);
  ck_assert_uint_eq(local_providers[1].asked, 1);
  end_well();
  spec.model = deai_bytes_of(other, sizeof other);
  open_refused(&spec, DEAI_ENOPROVIDER, "with this model, found none");
  deai_router_each_offer(router, count_offer, &offers);
  ck_assert_uint_eq(offers, 1); /* b/two has nothing that members may call */
  ck_assert_uint_ge(changes, 1);
}
END_TEST

/* ---- retry ---- */

START_TEST(a_lost_provider_is_replaced_before_its_first_part) {
  test_end caller;
  deai_router_peers(router, &peers);
  peer_count = 2;
  local_providers[0].refuses = DEAI_EBUSY;
  deai_call_spec spec = spec_of(LM, "guest");
  open_call(&caller, &spec);
  ck_assert_int_eq(test_send(&caller, "prompt", 0, DEAI_PART_END, 0), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_uint_eq(local_providers[1].asked, 1);
  test_drop(last_end(), DEAI_EPLUGIN_DIED, "it died");
  deai_loop_drain(loop);
  ck_assert_uint_eq(peer_providers[0].asked, 1);
  ck_assert_uint_eq(last_end()->last_len, 6); /* the prompt came along */
  ck_assert_int_eq(test_send(last_end(), "a", 0, 0, 0), DEAI_OK);
  deai_loop_drain(loop);
  test_drop(last_end(), DEAI_EPEER_LOST, "lost now");
  deai_loop_drain(loop);
  ck_assert_uint_eq(peer_providers[1].asked, 0); /* it had begun */
  ck_assert_int_eq(caller.status, DEAI_EPEER_LOST);
}
END_TEST

START_TEST(an_error_of_the_callers_is_not_tried_elsewhere) {
  test_end caller;
  local_providers[0].refuses = DEAI_EINVAL;
  deai_call_spec spec = spec_of(LM, "guest");
  open_call(&caller, &spec);
  deai_loop_drain(loop);
  ck_assert_int_eq(caller.status, DEAI_EINVAL);
  ck_assert_uint_eq(local_providers[1].asked, 0);
}
END_TEST

/* ---- who did not serve it ---- */

static deai_others_list others; /* what the END said */
static uint64_t others_len;

static void keep_others(test_end *end, const deai_part *part) {
  _Alignas(16) static uint8_t room[DEAI_OTHERS_MAX * sizeof(deai_other) + 64];
  deai_arena arena = {room, sizeof room, 0};
  deai_others read = {0};
  (void)end;
  others_len = part->others.len;
  others = (deai_others_list){0};
  if (others_len == 0) return;
  ck_assert_int_eq(deai_decode(&deai_others_table, part->others, &read, &arena, NULL, 0), DEAI_OK);
  const deai_other *rows = read.n.items;
  for (uint64_t i = 0; i < read.n.count; i++) {
    ck_assert(!deai_others_has(&others, rows[i].k));
    deai_others_add(&others, rows[i].k, (int32_t)rows[i].st, "%.*s", (int)rows[i].why.len,
                    rows[i].why.ptr);
  }
}

static void expect_other(const uint8_t *key, int32_t status, const char *why) {
  for (uint32_t i = 0; i < others.count; i++) {
    if (memcmp(others.rows[i].key, key, DEAI_KEY_BYTES) != 0) continue;
    ck_assert_str_eq(others.rows[i].why, why);
    ck_assert_int_eq(others.rows[i].status, status);
    return;
  }
  ck_abort_msg("%02x is not among the others: %s", key[0], why);
}

/* explained ends a call that wants to be explained (or not) well. */
static void explained(deai_call_spec *spec, uint32_t flag) {
  test_end caller;
  spec->flags |= flag;
  open_call(&caller, spec);
  caller.on_part = keep_others;
  end_well();
  ck_assert_int_eq(caller.status, DEAI_OK);
}

START_TEST(who_does_not_ask_is_told_of_no_others) {
  deai_router_peers(router, &peers);
  peer_count = 3;
  deai_call_spec spec = spec_of(LM, "guest");
  others_len = 1;
  explained(&spec, 0);
  ck_assert_uint_eq(others_len, 0);
}
END_TEST

START_TEST(all_others_are_named_with_their_reason) {
  static const uint8_t away[DEAI_KEY_BYTES] = {0xa0};
  static const uint8_t silent[DEAI_KEY_BYTES] = {0xa1};
  static const uint8_t poor[DEAI_KEY_BYTES] = {0xa2};
  static const uint8_t *const keys[] = {own, away, silent, poor};
  deai_router_peers(router, &peers);
  peer_count = 4;
  peer_offers[0].price_out = 99;
  peer_providers[1].status = DEAI_EBUSY;
  local_providers[0].status = DEAI_EBUSY;
  local_providers[1].status = DEAI_EPLUGIN_DIED;
  lacking_count = 4;
  for (uint32_t i = 0; i < 4; i++)
    memcpy(lacking[i].key, keys[i], DEAI_KEY_BYTES);
  lacking[1].lack = DEAI_PEER_AWAY;
  lacking[2].lack = DEAI_PEER_SILENT;
  lacking[3].lack = DEAI_PEER_MODEL;
  deai_call_spec spec = spec_of(LM, "guest");
  spec.avoid = deai_bytes_of(peer_keys[3], DEAI_KEY_BYTES);
  spec.price_max = 60;
  explained(&spec, DEAI_CALL_EXPLAIN);
  ck_assert_uint_eq(peer_providers[2].asked, 1);
  ck_assert_uint_eq(others.count, 7);
  expect_other(own, DEAI_EPLUGIN_DIED, "a/one: no place here; b/two: no place here");
  expect_other(peer_keys[0], DEAI_EPAYMENT, "its price of 99 a unit out is above the limit of 60");
  expect_other(peer_keys[1], DEAI_EBUSY, "too much work waits, try again later");
  expect_other(peer_keys[3], DEAI_EDENIED, "the caller avoids it");
  expect_other(away, DEAI_EPEER_LOST, "not connected");
  expect_other(silent, DEAI_ENOPROVIDER, "has not said yet what it offers");
  expect_other(poor, DEAI_ENOPROVIDER, "does not offer this model");
}
END_TEST

START_TEST(others_of_a_call_that_stays_here) {
  deai_router_peers(router, &peers);
  peer_count = 2;
  peer_offers[0] = (deai_peer_offer){.price_in = 1, .price_out = 2, .latency_us = 345, .busy = 6};
  memcpy(peer_offers[0].key, peer_keys[0], DEAI_KEY_BYTES);
  peer_offers[1].price_out = 7;
  deai_call_spec spec = spec_of(LM, "guest");
  explained(&spec, DEAI_CALL_EXPLAIN);
  ck_assert_uint_eq(others.count, 2);
  expect_other(peer_keys[0], DEAI_OK, "comes behind: price 1 + 2, 345 us, 6 calls, score 0.500");
  spec.flags = DEAI_CALL_HERE;
  explained(&spec, DEAI_CALL_EXPLAIN);
  expect_other(peer_keys[0], DEAI_EDENIED, "only this node is asked");
}
END_TEST

START_TEST(others_of_a_call_that_leaves) {
  deai_router_peers(router, &peers);
  peer_count = 2;
  lacking_count = 1;
  memcpy(lacking[0].key, peer_keys[2], DEAI_KEY_BYTES);
  lacking[0].lack = DEAI_PEER_SERVICE;
  deai_call_spec spec = spec_of(LM, "guest");
  spec.provider = deai_bytes_of(peer_keys[1], DEAI_KEY_BYTES);
  explained(&spec, DEAI_CALL_EXPLAIN);
  ck_assert_uint_eq(others.count, 3);
  expect_other(own, DEAI_EDENIED, "another node is asked for by name");
  expect_other(peer_keys[0], DEAI_EDENIED, "another node is asked for by name");
  expect_other(peer_keys[2], DEAI_ENOPROVIDER, "does not offer " LM);
  spec = spec_of(LM, "guest");
  spec.flags = DEAI_CALL_AWAY;
  explained(&spec, DEAI_CALL_EXPLAIN);
  expect_other(own, DEAI_EDENIED, "only other nodes are asked");
  deai_router_enable(router, "a/one", false);
  deai_router_enable(router, "b/two", false);
  spec = spec_of(LM, "guest");
  explained(&spec, DEAI_CALL_EXPLAIN);
  expect_other(own, DEAI_EPLUGIN_DIED, "a/one does not run; b/two does not run");
}
END_TEST

START_TEST(one_that_was_lost_before_its_first_part_is_among_the_others) {
  test_end caller;
  deai_router_peers(router, &peers);
  peer_count = 2;
  deai_call_spec spec = spec_of(LM, "guest");
  spec.flags = DEAI_CALL_AWAY | DEAI_CALL_EXPLAIN;
  open_call(&caller, &spec);
  caller.on_part = keep_others;
  deai_loop_drain(loop);
  test_drop(last_end(), DEAI_EPEER_LOST, "the cable was cut");
  deai_loop_drain(loop);
  ck_assert_uint_eq(peer_providers[1].asked, 1);
  end_well();
  ck_assert_uint_eq(others.count, 2);
  expect_other(peer_keys[0], DEAI_EPEER_LOST, "the cable was cut");
}
END_TEST

/* ---- settlement ---- */

static const uint8_t job[DEAI_ID_BYTES] = {4, 2};
static const uint8_t member[DEAI_KEY_BYTES] = {0x77};

static deai_call_spec paid_spec(void) {
  deai_call_spec spec = spec_of(LM, "guest");
  spec.caller_kind = DEAI_CALLER_PEER;
  spec.caller_class = DEAI_CLASS_MEMBER;
  spec.caller_id = deai_bytes_of(member, sizeof member);
  spec.job = deai_bytes_of(job, sizeof job);
  spec.units = 5;
  return spec;
}

static int32_t send_units(uint64_t units, uint32_t flags) {
  deai_part part = {
      .size = (uint32_t)sizeof part, .flags = flags, .attachment = -1, .units = units};
  return deai_call_send(last_end()->call, DEAI_SIDE_CALLEE, &part);
}

START_TEST(who_does_not_pay_is_refused) {
  uint8_t room[256];
  deai_router_settle(router, &settle);
  money.admit_status = DEAI_EPAYMENT;
  deai_router_describe(router, "a/one", deai_str_of(LM),
                       deai_bytes_of(room, lm_offer(room, sizeof room, 2, 3)));
  deai_router_enable(router, "b/two", false);
  deai_call_spec spec = paid_spec();
  open_refused(&spec, DEAI_EPAYMENT, "here (a/one): expected 10, found 3");
  ck_assert_uint_eq(local_providers[0].asked, 0);
  ck_assert_uint_eq(money.price_in * 10 + money.price_out, 23);
  ck_assert_uint_eq(money.over, 1);
}
END_TEST

START_TEST(a_priced_call_is_metered_and_receipted) {
  uint8_t room[256];
  uint8_t in[DEAI_HASH_BYTES];
  test_end caller;
  deai_router_settle(router, &settle);
  deai_router_describe(router, "a/one", deai_str_of(LM),
                       deai_bytes_of(room, lm_offer(room, sizeof room, 2, 3)));
  deai_call_spec spec = paid_spec();
  open_call(&caller, &spec);
  ck_assert_int_eq(test_send(&caller, "prompt", 0, 0, 0), DEAI_OK);
  ck_assert_int_eq(test_send(&caller, "more", 0, DEAI_PART_END, 0), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_int_eq(send_units(16, 0), DEAI_OK);
  ck_assert_uint_eq(money.given, 16);
  money.give_status = DEAI_EAGAIN;
  ck_assert_int_eq(send_units(1, 0), DEAI_EAGAIN);
  money.give_status = DEAI_OK;
  deai_call_reopen(last_call);
  deai_loop_drain(loop);
  ck_assert_uint_ge(last_end()->drains, 1);
  ck_assert_int_eq(send_units(1, 0), DEAI_OK);
  ck_assert_int_eq(send_units(2, DEAI_PART_END), DEAI_OK);
  deai_loop_drain(loop);
  deai_sha256(deai_bytes_of("prompt", 6), in);
  ck_assert_uint_eq(money.receipts, 1);
  ck_assert_uint_eq(money.last.u_in, 5);
  ck_assert_uint_eq(money.last.u_out, 19);
  ck_assert_uint_eq(money.last.price, 5 * 2 + 19 * 3);
  ck_assert_mem_eq(money.last.worker, own, DEAI_KEY_BYTES);
  ck_assert_mem_eq(money.last.payer, member, DEAI_KEY_BYTES);
  ck_assert_mem_eq(money.last.in, in, DEAI_HASH_BYTES);
  ck_assert_mem_eq(money.last.job, job, DEAI_ID_BYTES);
  ck_assert_uint_eq(money.over, 1);
  ck_assert_int_eq(caller.status, DEAI_OK);
}
END_TEST

START_TEST(prices_without_a_settlement_cost_nothing) {
  uint8_t room[256];
  test_end caller;
  deai_router_describe(router, "a/one", deai_str_of(LM),
                       deai_bytes_of(room, lm_offer(room, sizeof room, 2, 3)));
  deai_call_spec spec = paid_spec();
  open_call(&caller, &spec);
  ck_assert_int_eq(send_units(3, 0), DEAI_OK);
  end_well();
  ck_assert_int_eq(caller.status, DEAI_OK);
}
END_TEST

static deai_part receipt_end(void) {
  return (deai_part){.size = (uint32_t)sizeof(deai_part),
                     .flags = DEAI_PART_END,
                     .attachment = -1,
                     .units = 1,
                     .receipt = deai_bytes_of("theirs", 6)};
}

static uint64_t receipt_len;

static void note_receipt(test_end *end, const deai_part *part) {
  (void)end;
  receipt_len = part->receipt.len;
}

START_TEST(the_receipt_of_a_member_is_checked) {
  test_end caller;
  deai_router_settle(router, &settle);
  deai_router_peers(router, &peers);
  peer_count = 1;
  peer_offers[0].price_out = 1;
  money.check_status = _i == 0 ? DEAI_EVERIFY : DEAI_OK;
  deai_call_spec spec = paid_spec();
  spec.caller_kind = DEAI_CALLER_PLUGIN;
  spec.caller_class = DEAI_CLASS_LOCAL;
  spec.flags = DEAI_CALL_AWAY;
  open_call(&caller, &spec);
  caller.on_part = note_receipt;
  receipt_len = 99;
  ck_assert_int_eq(send_units(4, 0), DEAI_OK);
  deai_part end = receipt_end();
  ck_assert_int_eq(deai_call_send(last_end()->call, DEAI_SIDE_CALLEE, &end), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_uint_eq(money.got, 5);
  ck_assert_uint_eq(money.checks, 1);
  ck_assert_uint_eq(money.receipts, 0);
  ck_assert_uint_eq(receipt_len, _i == 0 ? 0 : 6);
}
END_TEST

static deai_call_spec away_spec(void) {
  deai_call_spec spec = paid_spec();
  spec.caller_kind = DEAI_CALLER_PLUGIN;
  spec.caller_class = DEAI_CLASS_LOCAL;
  spec.flags = DEAI_CALL_AWAY;
  return spec;
}

static void priced_members(uint32_t count) {
  deai_router_settle(router, &settle);
  deai_router_peers(router, &peers);
  peer_count = count;
  for (uint32_t i = 0; i < count; i++)
    peer_offers[i].price_out = 1 + i;
}

START_TEST(who_cannot_be_paid_is_left_for_another) {
  test_end caller;
  priced_members(2);
  money.pay_status = DEAI_EPAYMENT;
  deai_call_spec spec = away_spec();
  open_call(&caller, &spec);
  deai_loop_drain(loop);
  ck_assert_uint_eq(money.pays, 2);
  ck_assert_uint_eq(peer_providers[0].asked + peer_providers[1].asked, 0);
  ck_assert_int_eq(caller.status, DEAI_EPAYMENT);
  ck_assert_str_eq(caller.why, "expected a node that offers " LM
                               ", found none; 10101010: expected 20 coins, found 4; 20202020: "
                               "expected 20 coins, found 4");
}
END_TEST

START_TEST(a_call_waits_until_it_can_be_paid) {
  test_end caller;
  priced_members(1 + (uint32_t)_i);
  money.pay_status = DEAI_EAGAIN;
  deai_call_spec spec = away_spec();
  open_call(&caller, &spec);
  ck_assert_int_eq(test_send(&caller, "prompt", 0, DEAI_PART_END, 0), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_uint_eq(peer_providers[0].asked, 0);
  money.pay_status = DEAI_OK;
  deai_router_ready(caller.call, _i == 0 ? DEAI_OK : DEAI_EPAYMENT, "no coins");
  deai_loop_drain(loop);
  ck_assert_uint_eq(peer_providers[_i].asked, 1);
  ck_assert_uint_eq(last_end()->last_len, 6);
  ck_assert_mem_eq(money.worker, peer_keys[_i], DEAI_KEY_BYTES);
  end_well();
  ck_assert_int_eq(caller.status, DEAI_OK);
  ck_assert_uint_eq(money.left, 1); /* this END had no receipt */
}
END_TEST

START_TEST(a_call_that_waits_may_be_given_up) {
  test_end caller;
  priced_members(1);
  money.pay_status = DEAI_EAGAIN;
  deai_call_spec spec = away_spec();
  open_call(&caller, &spec);
  deai_call_cancel(caller.call, DEAI_ECANCELLED);
  deai_loop_drain(loop);
  ck_assert_int_eq(caller.status, DEAI_ECANCELLED);
  ck_assert_uint_eq(money.over, 1);
  ck_assert_uint_eq(deai_router_open_calls(router), 0);
}
END_TEST

START_TEST(a_payee_may_have_to_wait_for_the_ledger) {
  uint8_t room[256];
  test_end caller;
  deai_router_settle(router, &settle);
  deai_router_describe(router, "a/one", deai_str_of(LM),
                       deai_bytes_of(room, lm_offer(room, sizeof room, 2, 3)));
  deai_router_enable(router, "b/two", false);
  money.admit_status = DEAI_EAGAIN;
  deai_call_spec spec = paid_spec();
  open_call(&caller, &spec);
  deai_loop_drain(loop);
  ck_assert_uint_eq(local_providers[0].asked, 0);
  deai_router_ready(caller.call, _i == 0 ? DEAI_OK : DEAI_EPAYMENT, "expected a channel");
  deai_loop_drain(loop);
  ck_assert_uint_eq(local_providers[0].asked, _i == 0 ? 1 : 0);
  if (_i == 0) {
    end_well();
    return;
  }
  ck_assert_int_eq(caller.status, DEAI_EPAYMENT);
  ck_assert_ptr_nonnull(strstr(caller.why, "here (a/one): expected a channel"));
  ck_assert_uint_eq(money.receipts, 0);
}
END_TEST

START_TEST(a_lost_member_left_without_a_receipt) {
  test_end caller;
  priced_members(2);
  deai_call_spec spec = away_spec();
  open_call(&caller, &spec);
  ck_assert_int_eq(send_units(4, 0), DEAI_OK);
  deai_loop_drain(loop);
  test_drop(last_end(), DEAI_EPEER_LOST, "lost");
  deai_loop_drain(loop);
  ck_assert_uint_eq(money.left, 1);
  ck_assert_int_eq(money.left_status, DEAI_EPEER_LOST);
  ck_assert_uint_eq(money.checks, 0);
}
END_TEST

START_TEST(a_call_that_can_be_paid_no_longer_is_cancelled) {
  test_end caller;
  priced_members(1);
  deai_call_spec spec = away_spec();
  open_call(&caller, &spec);
  ck_assert_int_eq(send_units(4, 0), DEAI_OK);
  deai_loop_drain(loop);
  deai_router_ready(caller.call, DEAI_EPAYMENT, "no coins");
  deai_loop_drain(loop);
  ck_assert_int_eq(caller.status, DEAI_EPAYMENT);
  ck_assert_uint_eq(last_end()->cancels, 1);
  end_well();
}
END_TEST

START_TEST(a_failure_before_the_first_unit_is_free) {
  uint8_t room[256];
  test_end caller;
  deai_router_settle(router, &settle);
  deai_router_describe(router, "a/one", deai_str_of(LM),
                       deai_bytes_of(room, lm_offer(room, sizeof room, 2, 3)));
  deai_router_enable(router, "b/two", false);
  deai_call_spec spec = paid_spec();
  open_call(&caller, &spec);
  ck_assert_int_eq(test_send(&caller, "prompt", 0, DEAI_PART_END, 0), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_int_eq(test_send(last_end(), NULL, 0, DEAI_PART_END, DEAI_EINVAL), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_uint_eq(money.receipts, 1);
  ck_assert_uint_eq(money.last.price, 0);
}
END_TEST

/* ---- origin ---- */

START_TEST(a_call_inside_a_call_carries_an_origin_and_no_more_time) {
  test_end outer;
  test_end inner;
  uint8_t first[16];
  deai_call_spec spec = spec_of(LM, "guest");
  spec.time_ms = 500;
  open_call(&outer, &spec);
  deai_call_spec below = spec_of(LM, "guest");
  below.parent = outer.call;
  below.origin = deai_bytes_of(member, 16); /* what the caller says of it is not believed */
  open_call(&inner, &below);
  const deai_call_spec *about = deai_call_about(last_call);
  ck_assert_uint_eq(about->origin.len, 16);
  ck_assert_mem_ne(about->origin.ptr, member, 16);
  memcpy(first, about->origin.ptr, 16);
  ck_assert_uint_le(about->time_ms, 500);
  end_well();
  open_call(&inner, &below);
  ck_assert_mem_eq(deai_call_about(last_call)->origin.ptr, first, 16); /* the same first caller */
  end_well();
  test_drop(&ends[0], DEAI_EIO, "over");
  deai_loop_drain(loop);
  ck_assert_int_eq(outer.status, DEAI_EIO);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("router");
  TCase *tests = tcase_create("router");
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, a_class_above_the_callers_is_denied);
  tcase_add_test(tests, unknown_methods_and_services);
  tcase_add_test(tests, too_many_offers);
  tcase_add_test(tests, a_call_of_a_member_never_leaves);
  tcase_add_test(tests, every_refusal_is_named);
  tcase_add_test(tests, local_comes_first_then_the_next_row);
  tcase_add_test(tests, flags_provider_plugin_and_avoid);
  tcase_add_test(tests, price_then_speed_and_load);
  tcase_add_test(tests, without_a_rank_nobody_is_asked_for_scores);
  tcase_add_test(tests, a_better_score_outweighs_some_latency);
  tcase_add_test(tests, a_poor_score_comes_last_whatever_it_costs);
  tcase_add_test(tests, a_model_must_be_offered);
  tcase_add_test(tests, a_lost_provider_is_replaced_before_its_first_part);
  tcase_add_test(tests, an_error_of_the_callers_is_not_tried_elsewhere);
  tcase_add_test(tests, who_does_not_ask_is_told_of_no_others);
  tcase_add_test(tests, all_others_are_named_with_their_reason);
  tcase_add_test(tests, others_of_a_call_that_stays_here);
  tcase_add_test(tests, others_of_a_call_that_leaves);
  tcase_add_test(tests, one_that_was_lost_before_its_first_part_is_among_the_others);
  tcase_add_test(tests, who_does_not_pay_is_refused);
  tcase_add_test(tests, a_priced_call_is_metered_and_receipted);
  tcase_add_test(tests, prices_without_a_settlement_cost_nothing);
  tcase_add_loop_test(tests, the_receipt_of_a_member_is_checked, 0, 2);
  tcase_add_test(tests, who_cannot_be_paid_is_left_for_another);
  tcase_add_loop_test(tests, a_call_waits_until_it_can_be_paid, 0, 2);
  tcase_add_test(tests, a_call_that_waits_may_be_given_up);
  tcase_add_loop_test(tests, a_payee_may_have_to_wait_for_the_ledger, 0, 2);
  tcase_add_test(tests, a_lost_member_left_without_a_receipt);
  tcase_add_test(tests, a_call_that_can_be_paid_no_longer_is_cancelled);
  tcase_add_test(tests, a_failure_before_the_first_unit_is_free);
  tcase_add_test(tests, a_call_inside_a_call_carries_an_origin_and_no_more_time);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
