#include "router.h"

#include "others.h"
#include "scores.h"

#include "deai/contracts/lm.h"
#include "deai/contracts/rank.h"
#include "deai/contracts/wire.h"
#include "host/base/assertion.h"
#include "host/base/hash.h"
#include "host/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define TRIED_TEXT_MAX 1024u

typedef struct offer_row {
  deai_offering offering;
  bool enabled;
  uint64_t args_len;
  uint8_t args[DEAI_ROUTER_OFFER_ARGS];
} offer_row;

struct deai_router {
  deai_loop *loop;
  uint8_t own[DEAI_KEY_BYTES];
  uint8_t origin_key[32];
  deai_peers peers;
  deai_settle settle;
  deai_scores *scores;
  offer_row *rows[DEAI_ROUTER_OFFERS_MAX];
  uint32_t row_count;
  deai_task_fn *changed;
  void *changed_user;
  uint32_t open_calls;
};

/* What the router knows of one call. */
typedef struct route {
  deai_router *router;
  deai_call *call;
  uint8_t tried[DEAI_PEERS_MAX][DEAI_KEY_BYTES];
  uint32_t tried_count;
  uint32_t rows_tried; /* bit i: row i was tried */
  bool local;          /* the callee is of this node */
  bool placed;
  bool waits;   /* for deai_router_ready */
  uint32_t row; /* of a local callee */
  int32_t last_status;
  uint8_t worker[DEAI_KEY_BYTES];
  uint64_t price_in;
  uint64_t price_out;
  uint64_t units_out;
  deai_hasher *in_hasher; /* with a job: a of the CALL and its body */
  uint8_t in_hash[DEAI_HASH_BYTES];
  bool in_done;
  uint8_t *receipt;  /* room for the signed receipt */
  deai_receipt said; /* what the receipt must say; texts are of the call */
  char tried_text[TRIED_TEXT_MAX];
  deai_others_list *refused; /* who was tried in vain; NULL = the call wants no explanation */
  uint8_t *others;           /* what its END says of all others, made when it was placed */
  uint64_t others_len;
} route;

deai_router *deai_router_new(deai_loop *loop, const uint8_t own[DEAI_KEY_BYTES]) {
  deai_router *router = calloc(1, sizeof *router);
  if (router == NULL) return NULL;
  router->loop = loop;
  memcpy(router->own, own, DEAI_KEY_BYTES);
  deai_random(deai_loop_platform(loop), router->origin_key, sizeof router->origin_key);
  router->scores = deai_scores_new(deai_router_open, router);
  if (router->scores != NULL) return router;
  free(router);
  return NULL;
}

void deai_router_free(deai_router *router) {
  if (router == NULL) return;
  DEAI_ASSERT(router->open_calls == 0);
  deai_scores_free(router->scores);
  for (uint32_t i = 0; i < router->row_count; i++)
    free(router->rows[i]);
  free(router);
}

void deai_router_peers(deai_router *router, const deai_peers *peers) {
  router->peers = *peers;
}

void deai_router_settle(deai_router *router, const deai_settle *settle) {
  router->settle = *settle;
}

static void offers_changed(deai_router *router) {
  if (router->changed != NULL) deai_loop_task(router->loop, router->changed, router->changed_user);
}

int32_t deai_router_offer(deai_router *router, const deai_offering *offering) {
  if (router->row_count == DEAI_ROUTER_OFFERS_MAX) return DEAI_EFULL;
  offer_row *row = calloc(1, sizeof *row);
  if (row == NULL) return DEAI_ENOMEM;
  row->offering = *offering;
  router->rows[router->row_count++] = row;
  return DEAI_OK;
}

void deai_router_enable(deai_router *router, const char *plugin, bool enabled) {
  for (uint32_t i = 0; i < router->row_count; i++) {
    if (strcmp(router->rows[i]->offering.plugin, plugin) == 0) router->rows[i]->enabled = enabled;
  }
  offers_changed(router);
}

void deai_router_describe(deai_router *router, const char *plugin, deai_str service,
                          deai_bytes args) {
  for (uint32_t i = 0; i < router->row_count; i++) {
    offer_row *row = router->rows[i];
    if (strcmp(row->offering.plugin, plugin) != 0) continue;
    if (!deai_str_eq(deai_str_of(row->offering.service), service)) continue;
    if (args.len > sizeof row->args) {
      deai_log(DEAI_LEVEL_ERROR, plugin, "expected an offer of at most %u bytes, found %llu",
               DEAI_ROUTER_OFFER_ARGS, (unsigned long long)args.len);
      return;
    }
    memcpy(row->args, args.ptr, (size_t)args.len);
    row->args_len = args.len;
  }
  offers_changed(router);
}

void deai_router_each_offer(deai_router *router, deai_router_each *each, void *user) {
  for (uint32_t i = 0; i < router->row_count; i++) {
    const offer_row *row = router->rows[i];
    if (!row->enabled || !row->offering.remote) continue;
    each(user, deai_str_of(row->offering.service), deai_bytes_of(row->args, row->args_len));
  }
}

void deai_router_on_change(deai_router *router, deai_task_fn *changed, void *user) {
  router->changed = changed;
  router->changed_user = user;
}

uint32_t deai_router_open_calls(const deai_router *router) {
  return router->open_calls;
}

/* ---- choosing ---- */

static void tried_add(route *way, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void tried_add(route *way, const char *format, ...) {
  size_t len = strlen(way->tried_text);
  va_list list;
  va_start(list, format);
  (void)vsnprintf(way->tried_text + len, sizeof way->tried_text - len, format, list);
  va_end(list);
}

/* offer_read reads {models, price_in, price_out} of an offer; false when it has no such form. */
static bool offer_read(deai_bytes args, deai_bytes model, uint64_t *price_in, uint64_t *price_out) {
  _Alignas(16) uint8_t room[32 * sizeof(deai_bytes)];
  deai_arena arena = {room, sizeof room, 0};
  deai_lm_offer offer;
  if (args.len == 0 || deai_decode(&deai_lm_offer_table, args, &offer, &arena, NULL, 0) != DEAI_OK)
    return false;
  *price_in = offer.price_in;
  *price_out = offer.price_out;
  const deai_bytes *models = offer.models.items;
  for (uint64_t i = 0; i < offer.models.count; i++) {
    if (model.len == 0 || deai_bytes_eq(models[i], model)) return true;
  }
  return model.len == 0;
}

static bool row_fits(const route *way, uint32_t at) {
  const deai_call_spec *spec = deai_call_about(way->call);
  const offer_row *row = way->router->rows[at];
  uint64_t price_in = 0;
  uint64_t price_out = 0;
  if (!deai_str_eq(deai_str_of(row->offering.service), spec->service)) return false;
  if (!row->enabled || (way->rows_tried & UINT32_C(1) << at) != 0) return false;
  if (spec->plugin.len > 0 && !deai_str_eq(deai_str_of(row->offering.plugin), spec->plugin))
    return false;
  if (spec->model.len == 0) return true;
  return offer_read(deai_bytes_of(row->args, row->args_len), spec->model, &price_in, &price_out);
}

/* caller_avoids returns whether the call says not to ask this node. */
static bool caller_avoids(const route *way, const uint8_t *key) {
  const deai_call_spec *spec = deai_call_about(way->call);
  for (uint64_t at = 0; at + DEAI_KEY_BYTES <= spec->avoid.len; at += DEAI_KEY_BYTES) {
    if (memcmp(spec->avoid.ptr + at, key, DEAI_KEY_BYTES) == 0) return true;
  }
  return false;
}

static bool key_avoided(const route *way, const uint8_t *key) {
  if (caller_avoids(way, key)) return true;
  for (uint32_t i = 0; i < way->tried_count; i++) {
    if (memcmp(way->tried[i], key, DEAI_KEY_BYTES) == 0) return true;
  }
  return false;
}

static bool may_stay(const route *way) {
  const deai_call_spec *spec = deai_call_about(way->call);
  bool named = spec->provider.len == DEAI_KEY_BYTES;
  bool named_us = named && memcmp(spec->provider.ptr, way->router->own, DEAI_KEY_BYTES) == 0;
  if ((spec->flags & DEAI_CALL_AWAY) != 0 || (named && !named_us)) return false;
  return !key_avoided(way, way->router->own);
}

static bool may_leave(const route *way) {
  const deai_call_spec *spec = deai_call_about(way->call);
  bool named_us = spec->provider.len == DEAI_KEY_BYTES &&
                  memcmp(spec->provider.ptr, way->router->own, DEAI_KEY_BYTES) == 0;
  /* a call that came from a member is served here or not at all */
  if (spec->caller_kind == DEAI_CALLER_PEER || way->router->peers.list == NULL) return false;
  return (spec->flags & DEAI_CALL_HERE) == 0 && !named_us;
}

static int32_t admit(route *way, const offer_row *row, char *err, uint32_t err_cap) {
  const deai_call_spec *spec = deai_call_about(way->call);
  way->price_in = 0;
  way->price_out = 0;
  (void)offer_read(deai_bytes_of(row->args, row->args_len), (deai_bytes){NULL, 0}, &way->price_in,
                   &way->price_out);
  if (spec->caller_kind != DEAI_CALLER_PEER || spec->job.len == 0) return DEAI_OK;
  if (way->router->settle.admit == NULL || (way->price_in == 0 && way->price_out == 0))
    return DEAI_OK;
  return way->router->settle.admit(way->router->settle.user, way->call, way->price_in,
                                   way->price_out, err, err_cap);
}

static void refused_here(route *way, int32_t status, const char *why) {
  const char *plugin = way->router->rows[way->row]->offering.plugin;
  way->placed = false;
  way->last_status = status;
  if (why[0] == 0) why = deai_status_text(status);
  tried_add(way, "; here (%s): %s", plugin, why);
  if (way->refused != NULL)
    deai_others_add(way->refused, way->worker, status, "%s: %s", plugin, why);
}

static int32_t serve_here(route *way, char *err) {
  const deai_provider *provider = &way->router->rows[way->row]->offering.provider;
  return provider->serve(provider->user, way->call, err);
}

static int32_t place_here(route *way) {
  deai_router *router = way->router;
  for (uint32_t i = 0; i < router->row_count && may_stay(way); i++) {
    char err[DEAI_ERR_CAP] = "";
    if (!row_fits(way, i)) continue;
    way->rows_tried |= UINT32_C(1) << i;
    way->local = true;
    way->placed = true;
    way->row = i;
    memcpy(way->worker, router->own, DEAI_KEY_BYTES);
    int32_t status = admit(way, router->rows[i], err, sizeof err);
    way->waits = status == DEAI_EAGAIN;
    if (status == DEAI_OK) status = serve_here(way, err);
    if (status == DEAI_OK || way->waits) return status;
    refused_here(way, status, err);
  }
  return DEAI_ENOPROVIDER;
}

/* A member that offers the service, and its score. */
typedef struct scored {
  deai_peer_offer offer;
  uint64_t score; /* 10^-6 */
} scored;

static bool offer_better(const scored *a, const scored *b) {
  bool poor_a = a->score < DEAI_ROUTER_SCORE_POOR;
  bool poor_b = b->score < DEAI_ROUTER_SCORE_POOR;
  if (poor_a != poor_b) return poor_b;
  uint64_t price_a = a->offer.price_in + a->offer.price_out;
  uint64_t price_b = b->offer.price_in + b->offer.price_out;
  if (price_a != price_b) return price_a < price_b;
  uint64_t slow_a = (1 + a->offer.latency_us) * (1 + a->offer.busy);
  uint64_t slow_b = (1 + b->offer.latency_us) * (1 + b->offer.busy);
  return slow_a * (1 + b->score) < slow_b * (1 + a->score);
}

static bool has_rank(const deai_router *router) {
  for (uint32_t i = 0; i < router->row_count; i++) {
    const offer_row *row = router->rows[i];
    if (row->enabled && strcmp(row->offering.service, DEAI_RANK_SERVICE) == 0) return true;
  }
  return false;
}

/* peers_scored lists the members that offer what the call wants, and asks for their scores anew. */
static uint32_t peers_scored(const route *way, scored out[DEAI_PEERS_MAX]) {
  deai_router *router = way->router;
  const deai_call_spec *spec = deai_call_about(way->call);
  deai_peer_offer list[DEAI_PEERS_MAX];
  uint8_t keys[DEAI_PEERS_MAX][DEAI_KEY_BYTES];
  uint32_t count =
      router->peers.list(router->peers.user, spec->service, spec->model, list, DEAI_PEERS_MAX);
  if (count > DEAI_PEERS_MAX) count = DEAI_PEERS_MAX;
  for (uint32_t i = 0; i < count; i++) {
    out[i].offer = list[i];
    out[i].score = deai_scores_of(router->scores, spec->service, list[i].key);
    memcpy(keys[i], list[i].key, DEAI_KEY_BYTES);
  }
  if (count > 1 && spec->model.len > 0 && has_rank(router))
    deai_scores_ask(router->scores, spec->service, (const uint8_t(*)[DEAI_KEY_BYTES])keys, count);
  return count;
}

/* next_peer returns the best member that was not tried yet, or NULL. */
static const deai_peer_offer *next_peer(const route *way, const scored *list, uint32_t count) {
  const deai_call_spec *spec = deai_call_about(way->call);
  const scored *best = NULL;
  for (uint32_t i = 0; i < count; i++) {
    const deai_peer_offer *offer = &list[i].offer;
    if (key_avoided(way, offer->key)) continue;
    if (spec->provider.len == DEAI_KEY_BYTES &&
        memcmp(spec->provider.ptr, offer->key, DEAI_KEY_BYTES) != 0)
      continue;
    if (spec->price_max > 0 && offer->price_out > spec->price_max) continue;
    if (best == NULL || offer_better(&list[i], best)) best = &list[i];
  }
  return best != NULL ? &best->offer : NULL;
}

static bool priced_away(const route *way) {
  return !way->local && deai_call_about(way->call)->job.len == DEAI_ID_BYTES &&
         (way->price_in > 0 || way->price_out > 0);
}

/* left tells that what a member had of the call is over, without a receipt. */
static void left(route *way, int32_t status) {
  const deai_settle *settle = &way->router->settle;
  if (priced_away(way) && settle->left != NULL) settle->left(settle->user, way->call, status);
}

static void refused_away(route *way, int32_t status, const char *why) {
  const uint8_t *key = way->worker;
  way->placed = false;
  way->last_status = status;
  if (why[0] == 0) why = deai_status_text(status);
  tried_add(way, "; %02x%02x%02x%02x: %s", key[0], key[1], key[2], key[3], why);
  if (way->refused != NULL) deai_others_add(way->refused, key, status, "%s", why);
}

/* serve_away gives the call to the member; what it was to be paid is taken back when it is gone. */
static int32_t serve_away(route *way) {
  deai_router *router = way->router;
  int32_t status = router->peers.serve(router->peers.user, way->worker, way->call);
  if (status != DEAI_OK) left(way, DEAI_ECANCELLED);
  return status;
}

static int32_t pay(route *way, char *err, uint32_t err_cap) {
  const deai_settle *settle = &way->router->settle;
  if (!priced_away(way) || settle->pay == NULL) return DEAI_OK;
  return settle->pay(settle->user, way->call, way->worker, way->price_in, way->price_out, err,
                     err_cap);
}

static int32_t place_away(route *way) {
  scored list[DEAI_PEERS_MAX];
  if (!may_leave(way)) return DEAI_ENOPROVIDER;
  uint32_t count = peers_scored(way, list);
  while (way->tried_count < DEAI_PEERS_MAX) {
    char err[DEAI_ERR_CAP] = "";
    const deai_peer_offer *peer = next_peer(way, list, count);
    if (peer == NULL) return DEAI_ENOPROVIDER;
    memcpy(way->tried[way->tried_count++], peer->key, DEAI_KEY_BYTES);
    memcpy(way->worker, peer->key, DEAI_KEY_BYTES);
    way->local = false;
    way->placed = true;
    way->price_in = peer->price_in;
    way->price_out = peer->price_out;
    int32_t status = pay(way, err, sizeof err);
    way->waits = status == DEAI_EAGAIN;
    if (status == DEAI_OK) status = serve_away(way);
    if (status == DEAI_OK || way->waits) return status;
    refused_away(way, status, err);
  }
  return DEAI_ENOPROVIDER;
}

/* ---- who did not serve it ---- */

/* barred returns why the call itself does not allow that node, or NULL. */
static const char *barred(const route *way, const uint8_t *key) {
  const deai_call_spec *spec = deai_call_about(way->call);
  bool own = memcmp(key, way->router->own, DEAI_KEY_BYTES) == 0;
  if (spec->provider.len == DEAI_KEY_BYTES && memcmp(spec->provider.ptr, key, DEAI_KEY_BYTES) != 0)
    return "another node is asked for by name";
  if (caller_avoids(way, key)) return "the caller avoids it";
  if (own && (spec->flags & DEAI_CALL_AWAY) != 0) return "only other nodes are asked";
  if (!own && (spec->flags & DEAI_CALL_HERE) != 0) return "only this node is asked";
  return NULL;
}

/* lacks notes a node that offers no such service, or not the model. */
static void lacks(const route *way, deai_others_list *all, const uint8_t *key, bool has_service) {
  const deai_call_spec *spec = deai_call_about(way->call);
  if (has_service)
    deai_others_add(all, key, DEAI_ENOPROVIDER, "does not offer this model");
  else
    deai_others_add(all, key, DEAI_ENOPROVIDER, "does not offer %.*s", (int)spec->service.len,
                    spec->service.ptr);
}

/* other_here notes this node, when it is not the one that serves. */
static void other_here(const route *way, deai_others_list *all) {
  const deai_router *router = way->router;
  bool has_service = false;
  if (way->local || deai_others_has(all, router->own)) return;
  const char *why = barred(way, router->own);
  if (why != NULL) {
    deai_others_add(all, router->own, DEAI_EDENIED, "%s", why);
    return;
  }
  for (uint32_t i = 0; i < router->row_count; i++) {
    const offer_row *row = router->rows[i];
    if (!deai_str_eq(deai_str_of(row->offering.service), deai_call_about(way->call)->service))
      continue;
    has_service = has_service || row->enabled;
    if (!row->enabled)
      deai_others_add(all, router->own, DEAI_EPLUGIN_DIED, "%s does not run", row->offering.plugin);
  }
  if (!deai_others_has(all, router->own)) lacks(way, all, router->own, has_service);
}

/* other_offering notes a member that could have served, and was not asked. */
static void other_offering(const route *way, deai_others_list *all, const scored *who) {
  const deai_peer_offer *offer = &who->offer;
  const deai_call_spec *spec = deai_call_about(way->call);
  const char *why = barred(way, offer->key);
  if (why != NULL)
    deai_others_add(all, offer->key, DEAI_EDENIED, "%s", why);
  else if (spec->price_max > 0 && offer->price_out > spec->price_max)
    deai_others_add(all, offer->key, DEAI_EPAYMENT,
                    "its price of %llu a unit out is above the limit of %llu",
                    (unsigned long long)offer->price_out, (unsigned long long)spec->price_max);
  else
    deai_others_add(all, offer->key, DEAI_OK,
                    "comes behind: price %llu + %llu, %llu us, %u calls, score 0.%03llu",
                    (unsigned long long)offer->price_in, (unsigned long long)offer->price_out,
                    (unsigned long long)offer->latency_us, offer->busy,
                    (unsigned long long)(who->score < 1000000 ? who->score / 1000 : 999));
}

/* other_lacking notes a member that cannot serve it at all. */
static void other_lacking(const route *way, deai_others_list *all, const deai_peer_other *who) {
  if (who->lack == DEAI_PEER_AWAY)
    deai_others_add(all, who->key, DEAI_EPEER_LOST, "not connected");
  else if (who->lack == DEAI_PEER_SILENT)
    deai_others_add(all, who->key, DEAI_ENOPROVIDER, "has not said yet what it offers");
  else
    lacks(way, all, who->key, who->lack == DEAI_PEER_MODEL);
}

static void other_members(const route *way, deai_others_list *all) {
  scored list[DEAI_PEERS_MAX];
  deai_peer_other lacking[DEAI_PEERS_MAX];
  const deai_router *router = way->router;
  const deai_call_spec *spec = deai_call_about(way->call);
  uint32_t count = router->peers.list != NULL ? peers_scored(way, list) : 0;
  for (uint32_t i = 0; i < count; i++) {
    bool serves = memcmp(list[i].offer.key, way->worker, DEAI_KEY_BYTES) == 0;
    if (!serves && !deai_others_has(all, list[i].offer.key)) other_offering(way, all, &list[i]);
  }
  if (router->peers.others == NULL) return;
  count =
      router->peers.others(router->peers.user, spec->service, spec->model, lacking, DEAI_PEERS_MAX);
  for (uint32_t i = 0; i < count; i++) {
    bool serves = memcmp(lacking[i].key, way->worker, DEAI_KEY_BYTES) == 0;
    bool own = memcmp(lacking[i].key, router->own, DEAI_KEY_BYTES) == 0;
    if (!serves && !own && !deai_others_has(all, lacking[i].key))
      other_lacking(way, all, &lacking[i]);
  }
}

/* others_make writes who does not serve the call that was placed. Without memory it goes without:
   an explanation is no reason to fail. */
static void others_make(route *way) {
  if (way->refused == NULL || !way->placed) return;
  deai_others_list *all = malloc(sizeof *all);
  if (way->others == NULL) way->others = malloc(DEAI_OTHERS_BYTES);
  way->others_len = 0;
  if (all != NULL && way->others != NULL) {
    *all = *way->refused;
    deai_others_drop(all, way->worker);
    other_here(way, all);
    other_members(way, all);
    int32_t status =
        deai_others_encode(all, (deai_buf){way->others, DEAI_OTHERS_BYTES}, &way->others_len);
    if (status != DEAI_OK) way->others_len = 0;
  }
  free(all);
}

/* place finds the next callee: DEAI_OK, DEAI_EAGAIN when it waits to be paid, or why there is none.
   */
static int32_t place(route *way) {
  way->units_out = 0;
  int32_t status = place_here(way);
  if (status == DEAI_ENOPROVIDER) status = place_away(way);
  if (status == DEAI_OK || status == DEAI_EAGAIN) others_make(way);
  return status == DEAI_ENOPROVIDER ? way->last_status : status;
}

static void fail_unplaced(route *way, int32_t status) {
  const deai_call_spec *spec = deai_call_about(way->call);
  deai_call_fail(way->call, status, "expected a node that offers %.*s%s, found none%s",
                 (int)spec->service.len, spec->service.ptr,
                 spec->model.len > 0 ? " with this model" : "", way->tried_text);
}

void deai_router_ready(deai_call *call, int32_t status, const char *why) {
  char err[DEAI_ERR_CAP] = "";
  route *way = deai_call_hook_user(call);
  if (!way->waits) { /* it runs: it can be paid no longer */
    if (status != DEAI_OK) deai_call_cancel(call, status);
    return;
  }
  way->waits = false;
  (void)snprintf(err, sizeof err, "%s", why);
  if (status == DEAI_OK) status = way->local ? serve_here(way, err) : serve_away(way);
  if (status == DEAI_OK) return;
  if (way->local)
    refused_here(way, status, err);
  else
    refused_away(way, status, err);
  status = place(way);
  if (status != DEAI_OK && status != DEAI_EAGAIN) fail_unplaced(way, status);
}

/* ---- hooks ---- */

static void hook_to_callee(void *user, deai_call *call, const deai_part *part) {
  (void)call;
  route *way = user;
  if (way->in_hasher == NULL || way->in_done) return;
  deai_hasher_add(way->in_hasher, part->args);
  deai_hasher_add(way->in_hasher, part->body);
  deai_hasher_end(way->in_hasher, way->in_hash);
  way->in_done = true; /* the CALL is the first part; later parts are not in the receipt */
}

/* receipt_say fills in what both sides know of the work. */
static void receipt_say(route *way, const deai_part *end) {
  static const uint8_t empty_map = 0xa0;
  const deai_call_spec *spec = deai_call_about(way->call);
  bool from_peer = spec->caller_kind == DEAI_CALLER_PEER && spec->caller_id.len == DEAI_KEY_BYTES;
  bool failed = end->status != DEAI_OK && end->status != DEAI_ECANCELLED &&
                end->status != DEAI_ETIMEDOUT && way->units_out == 0;
  deai_receipt *said = &way->said;
  *said = (deai_receipt){.m = spec->method, .s = spec->service, .u_in = spec->units};
  said->out = end->args.len > 0 ? end->args : deai_bytes_of(&empty_map, 1);
  said->u_out = way->units_out;
  if (!failed) said->price = spec->units * way->price_in + way->units_out * way->price_out;
  memcpy(said->in, way->in_hash, DEAI_HASH_BYTES);
  memcpy(said->job, spec->job.ptr, DEAI_ID_BYTES);
  memcpy(said->worker, way->worker, DEAI_KEY_BYTES);
  memcpy(said->payer, from_peer ? spec->caller_id.ptr : way->router->own, DEAI_KEY_BYTES);
}

static void receipt_add(route *way, deai_part *end) {
  deai_router *router = way->router;
  receipt_say(way, end);
  if (way->receipt == NULL) way->receipt = malloc(DEAI_HEAD_MAX);
  if (way->receipt == NULL) return;
  int64_t len = router->settle.receipt(router->settle.user, way->call, &way->said,
                                       (deai_buf){way->receipt, DEAI_HEAD_MAX});
  if (len > 0)
    end->receipt = deai_bytes_of(way->receipt, (uint64_t)len);
  else
    deai_log(DEAI_LEVEL_ERROR, "router", "receipt not signed: %s", deai_status_name((int32_t)len));
}

static void receipt_check(route *way, deai_part *end) {
  deai_router *router = way->router;
  if (end->receipt.len == 0) {
    left(way, end->status);
    return;
  }
  receipt_say(way, end);
  if (router->settle.check != NULL &&
      router->settle.check(router->settle.user, way->call, &way->said, end->receipt) == DEAI_OK)
    return;
  deai_log(DEAI_LEVEL_WARN, "router", "a receipt of %02x%02x%02x%02x was refused", way->worker[0],
           way->worker[1], way->worker[2], way->worker[3]);
  end->receipt = (deai_bytes){NULL, 0};
  left(way, DEAI_EVERIFY);
}

static int32_t hook_from_callee(void *user, deai_call *call, deai_part *part) {
  route *way = user;
  deai_router *router = way->router;
  const deai_call_spec *spec = deai_call_about(call);
  bool is_end = (part->flags & DEAI_PART_END) != 0;
  bool settled = spec->job.len == DEAI_ID_BYTES;
  if (way->placed) part->provider = deai_bytes_of(way->worker, DEAI_KEY_BYTES);
  part->others = (deai_bytes){NULL, 0};
  if (is_end && way->refused != NULL) {
    if (way->others == NULL) others_make(way); /* it ended before it was placed in full */
    part->others = deai_bytes_of(way->others, way->others_len);
  }
  if (!settled) return DEAI_OK;
  bool priced = way->price_in > 0 || way->price_out > 0;
  bool given = way->local && priced && spec->caller_kind == DEAI_CALLER_PEER && part->units > 0;
  if (given && router->settle.give != NULL) {
    int32_t status =
        router->settle.give(router->settle.user, call, way->units_out, part->units, way->in_hash);
    if (status != DEAI_OK && !is_end) return status;
  }
  way->units_out += part->units;
  if (!way->local && priced && part->units > 0 && router->settle.got != NULL)
    router->settle.got(router->settle.user, call, way->units_out);
  if (is_end && way->placed && way->local && router->settle.receipt != NULL && way->in_done)
    receipt_add(way, part);
  if (is_end && way->placed && !way->local) receipt_check(way, part);
  return DEAI_OK;
}

static bool worth_another(int32_t status) {
  return status == DEAI_EPEER_LOST || status == DEAI_EPLUGIN_DIED || status == DEAI_EBUSY ||
         status == DEAI_ENOPROVIDER || status == DEAI_EVERSION || status == DEAI_EPAYMENT;
}

static int32_t hook_retry(void *user, deai_call *call, int32_t status, deai_str why) {
  (void)call;
  route *way = user;
  if (!worth_another(status)) return status;
  deai_str text = why.len > 0 ? why : deai_str_of(deai_status_text(status));
  tried_add(way, "; %s: %.*s", way->local ? "here" : "member", (int)(why.len < 200 ? why.len : 200),
            why.ptr);
  if (way->refused != NULL && way->placed)
    deai_others_add(way->refused, way->worker, status, "%.*s", (int)text.len, text.ptr);
  if (way->placed) left(way, status);
  way->placed = false;
  way->last_status = status;
  way->in_done = false;
  int32_t placed = place(way);
  return placed == DEAI_EAGAIN ? DEAI_OK : placed;
}

static void hook_over(void *user, deai_call *call) {
  route *way = user;
  if (way->router->settle.over != NULL && deai_call_about(call)->job.len > 0)
    way->router->settle.over(way->router->settle.user, call);
  way->router->open_calls--;
  deai_hasher_free(way->in_hasher);
  free(way->receipt);
  free(way->refused);
  free(way->others);
  free(way);
}

static const deai_call_hooks hooks = {
    .to_callee = hook_to_callee,
    .from_callee = hook_from_callee,
    .retry = hook_retry,
    .over = hook_over,
};

/* ---- open ---- */

/* class_check answers whether the caller may call this method here. */
static int32_t class_check(const deai_router *router, const deai_call_spec *spec) {
  bool service_known = false;
  for (uint32_t i = 0; i < router->row_count; i++) {
    const deai_offering *offering = &router->rows[i]->offering;
    if (!deai_str_eq(deai_str_of(offering->service), spec->service)) continue;
    service_known = true;
    int32_t method_class = offering->class_of(offering->class_user, spec->service, spec->method);
    if (method_class < 0) continue;
    return (uint32_t)method_class <= spec->caller_class ? DEAI_OK : DEAI_EDENIED;
  }
  return service_known ? DEAI_EUNSUPPORTED : DEAI_ENOTFOUND;
}

static void origin_of(const deai_router *router, const deai_call_spec *parent, uint8_t out[16]) {
  uint8_t kind = (uint8_t)parent->caller_kind;
  uint8_t hash[DEAI_HASH_BYTES];
  deai_bytes parts[] = {deai_bytes_of(router->origin_key, sizeof router->origin_key),
                        deai_bytes_of(&kind, 1), parent->caller_id, parent->origin};
  deai_sha256_parts(parts, 4, hash);
  memcpy(out, hash, 16);
}

static void refuse(deai_call *call, const deai_call_spec *spec, int32_t status) {
  if (status == DEAI_EDENIED)
    deai_call_fail(
        call, status, "expected a caller that may call %.*s %.*s, found one that may not",
        (int)spec->service.len, spec->service.ptr, (int)spec->method.len, spec->method.ptr);
  else
    deai_call_fail(call, status, "expected a method of %.*s, found %.*s", (int)spec->service.len,
                   spec->service.ptr, (int)spec->method.len, spec->method.ptr);
}

static int32_t route_new(deai_router *router, deai_call *call) {
  route *way = calloc(1, sizeof *way);
  if (way == NULL) return DEAI_ENOMEM;
  way->router = router;
  way->call = call;
  way->last_status = DEAI_ENOPROVIDER;
  if (deai_call_about(call)->job.len == DEAI_ID_BYTES) {
    way->in_hasher = deai_hasher_new();
    if (way->in_hasher == NULL) {
      free(way);
      return DEAI_ENOMEM;
    }
  }
  if ((deai_call_about(call)->flags & DEAI_CALL_EXPLAIN) != 0)
    way->refused = calloc(1, sizeof *way->refused); /* without memory: without an explanation */
  router->open_calls++;
  deai_call_hook(call, &hooks, way);
  int32_t status = place(way);
  if (status != DEAI_OK && status != DEAI_EAGAIN) fail_unplaced(way, status);
  return DEAI_OK;
}

deai_call *deai_router_open(void *user, const deai_call_spec *given, const deai_end_ops *ops,
                            void *end_user) {
  deai_router *router = user;
  uint8_t origin[16];
  deai_call_spec spec = *given;
  if (spec.parent != NULL) {
    origin_of(router, deai_call_about(spec.parent), origin);
    spec.origin = deai_bytes_of(origin, sizeof origin);
    uint64_t left_ms = deai_call_time_left_ms(spec.parent);
    if (spec.time_ms > left_ms) spec.time_ms = left_ms;
  }
  deai_call *call = deai_call_new(router->loop, &spec, ops, end_user);
  if (call == NULL) return NULL;
  int32_t status = class_check(router, &spec);
  bool elsewhere = status == DEAI_ENOTFOUND && spec.caller_kind != DEAI_CALLER_PEER;
  if (status != DEAI_OK && !elsewhere) {
    refuse(call, &spec, status);
    return call;
  }
  if (route_new(router, call) != DEAI_OK) deai_call_fail(call, DEAI_ENOMEM, "not enough memory");
  return call;
}
