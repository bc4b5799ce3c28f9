#include "net.h"

#include "deai/contracts/lm.h"
#include "deai/contracts/net.h"
#include "host/base/assertion.h"
#include "host/base/log.h"
#include "host/net/record.h"
#include "host/net/stream.h"
#include "host/net/tls.h"

#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <event2/util.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/base/banned.h"

#define TICK_MS         250u
#define BACK_OFF_MIN_MS 500u
#define BACK_OFF_MAX_MS 30000u
#define KNOWN_MAX       256u
#define RECORD_ARENA    8192u
#define RECORD_TTL_MS   600000u
#define SILENT_BEATS    5u
#define REMOVED_MS      1000u /* so that a removed member gets the answers to what it has asked */

typedef struct known {
  uint8_t key[DEAI_KEY_BYTES];
  char address[DEAI_NET_ADDR_MAX + 1];
  bool has_key;
  uint64_t next_ns;
  uint64_t back_off_ms;
} known;

typedef struct peer {
  struct peer *next;
  deai_net *net;
  struct bufferevent *bev; /* until the stream owns it */
  deai_stream *stream;
  uint64_t begin_ns;
  bool dialled;
  bool over;
  bool up; /* HELLO was exchanged */
  bool has_key;
  uint8_t key[DEAI_KEY_BYTES];
  uint32_t peer_class;
  int known_at; /* index of what was dialled, -1 = accepted */
  uint64_t height;
  uint64_t latency_us;
  uint64_t beat_ns; /* when the beat that is not answered yet left, 0 = none */
  uint64_t heard_ns;
  uint64_t removed_ns; /* when it was found to be no member any more, 0 = it is one */
  uint64_t record_len;
  uint8_t *record;
  deai_node_record parsed;
  uint8_t *arena;
} peer;

struct deai_net {
  deai_net_options options;
  deai_net_ops ops;
  uint8_t genesis[DEAI_HASH_BYTES];
  bool joined;
  deai_tls *tls;
  struct evconnlistener *listener;
  uint16_t port;
  char own_address[DEAI_NET_ADDR_MAX + 1];
  peer *peers;
  uint32_t half_open;
  uint32_t known_count;
  known known[KNOWN_MAX];
  deai_timer *tick;
  uint64_t record_seq;
  uint64_t record_len;
  uint8_t record[DEAI_RECORD_MAX];
  char why[DEAI_ERR_CAP];
};

/* ---- peers ---- */

static peer *peer_of(const deai_net *net, const uint8_t *key) {
  for (peer *at = net->peers; at != NULL; at = at->next) {
    if (at->up && !at->over && memcmp(at->key, key, DEAI_KEY_BYTES) == 0) return at;
  }
  return NULL;
}

static void peer_free(peer *gone) {
  deai_net *net = gone->net;
  peer **at = &net->peers;
  while (*at != gone)
    at = &(*at)->next;
  *at = gone->next;
  if (gone->stream == NULL) net->half_open--;
  if (gone->bev != NULL) bufferevent_free(gone->bev);
  deai_stream_free(gone->stream);
  free(gone->record);
  free(gone->arena);
  free(gone);
}

static void sweep_task(void *user) {
  deai_net *net = user;
  peer *at = net->peers;
  while (at != NULL) {
    peer *next = at->next;
    if (at->over) peer_free(at);
    at = next;
  }
}

static void peer_over(peer *who, const char *why) {
  deai_net *net = who->net;
  if (who->over) return;
  who->over = true;
  (void)snprintf(net->why, sizeof net->why, "%s", why);
  if (who->known_at >= 0) {
    known *entry = &net->known[who->known_at];
    entry->next_ns = deai_loop_now_ns(net->options.loop) + entry->back_off_ms * 1000000;
    entry->back_off_ms =
        entry->back_off_ms * 2 < BACK_OFF_MAX_MS ? entry->back_off_ms * 2 : BACK_OFF_MAX_MS;
  }
  if (who->up) {
    deai_log(DEAI_LEVEL_INFO, "net", "%02x%02x%02x%02x left: %s", who->key[0], who->key[1],
             who->key[2], who->key[3], why);
    if (net->ops.connected != NULL) net->ops.connected(net->options.user, who->key, false);
  }
  deai_loop_task(net->options.loop, sweep_task, net);
}

/* ---- what a member says ---- */

static deai_call *got_call(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                           void *end_user) {
  peer *who = user;
  return who->net->ops.open(who->net->options.user, spec, ops, end_user);
}

/* loser returns which of two connections to the same node ends: the one dialled by the larger key.
   */
static peer *loser(const deai_net *net, peer *a, peer *b) {
  bool we_are_smaller = memcmp(deai_key_public(net->options.key), a->key, DEAI_KEY_BYTES) < 0;
  if (a->dialled == b->dialled) return a->begin_ns < b->begin_ns ? a : b;
  return a->dialled == we_are_smaller ? b : a;
}

static void known_good(peer *who) {
  if (who->known_at < 0) return;
  known *entry = &who->net->known[who->known_at];
  entry->back_off_ms = BACK_OFF_MIN_MS;
  memcpy(entry->key, who->key, DEAI_KEY_BYTES);
  entry->has_key = true;
}

static void send_record(peer *who) {
  deai_net *net = who->net;
  if (net->record_len == 0 || who->peer_class < DEAI_CLASS_GUEST) return;
  deai_link_update(deai_stream_link(who->stream), deai_str_of("record"),
                   deai_bytes_of(net->record, net->record_len));
}

static int32_t got_hello(void *user, const deai_hello_head *hello) {
  peer *who = user;
  deai_net *net = who->net;
  bool theirs = (hello->has & DEAI_HELLO_HAS_G) != 0;
  if (theirs && net->joined && memcmp(hello->g, net->genesis, DEAI_HASH_BYTES) != 0)
    return DEAI_EVERSION; /* another network */
  peer *other = peer_of(net, who->key);
  who->up = true;
  who->height = (hello->has & DEAI_HELLO_HAS_H) != 0 ? hello->h : 0;
  who->heard_ns = deai_loop_now_ns(net->options.loop);
  known_good(who);
  deai_log(DEAI_LEVEL_INFO, "net", "%02x%02x%02x%02x connected (%s)", who->key[0], who->key[1],
           who->key[2], who->key[3], who->dialled ? "dialled" : "accepted");
  if (other != NULL && other != who) {
    peer *gone = loser(net, other, who);
    gone->up = false; /* the other one goes on: nobody left */
    deai_stream_close(gone->stream);
    if (gone == who) return DEAI_OK;
  } else if (net->ops.connected != NULL) {
    net->ops.connected(net->options.user, who->key, true);
  }
  send_record(who);
  return DEAI_OK;
}

static void got_update(void *user, deai_str topic, deai_bytes value) {
  peer *who = user;
  deai_net *net = who->net;
  if (!deai_str_eq(topic, deai_str_of("record")) || !net->joined) return;
  uint8_t *bytes = malloc((size_t)value.len + 1);
  uint8_t *arena_bytes = aligned_alloc(16, RECORD_ARENA);
  deai_arena arena = {arena_bytes, RECORD_ARENA, 0};
  deai_node_record record;
  if (bytes != NULL && arena_bytes != NULL) {
    memcpy(bytes, value.ptr, (size_t)value.len);
    int32_t status =
        deai_record_read(deai_bytes_of(bytes, value.len), who->key, net->genesis, &record, &arena);
    if (status == DEAI_OK && (who->record == NULL || record.seq > who->parsed.seq)) {
      free(who->record);
      free(who->arena);
      who->record = bytes;
      who->record_len = value.len;
      who->arena = arena_bytes;
      who->parsed = record;
      who->height = record.h;
      return;
    }
    if (status != DEAI_OK)
      deai_log(DEAI_LEVEL_WARN, "net", "a record of %02x%02x%02x%02x was refused: %s", who->key[0],
               who->key[1], who->key[2], who->key[3], deai_status_name(status));
  }
  free(bytes);
  free(arena_bytes);
}

/* A beat is answered by the side that accepted; the dialler measures. */
static void got_beat(void *user) {
  peer *who = user;
  uint64_t now_ns = deai_loop_now_ns(who->net->options.loop);
  who->heard_ns = now_ns;
  if (!who->dialled) {
    deai_link_beat(deai_stream_link(who->stream));
    return;
  }
  if (who->beat_ns == 0) return;
  uint64_t sample_us = (now_ns - who->beat_ns) / 1000;
  who->latency_us = who->latency_us == 0 ? sample_us : (who->latency_us * 7 + sample_us) / 8;
  who->beat_ns = 0;
}

static void got_closed(void *user, const char *why) {
  peer_over(user, why);
}

static void got_voucher(void *user, deai_call *call, const deai_signed *voucher) {
  const peer *who = user;
  const deai_net *net = who->net;
  if (net->ops.voucher != NULL) net->ops.voucher(net->options.user, call, voucher);
}

static int32_t need_voucher(void *user, deai_call *call, deai_signed *voucher_out) {
  const peer *who = user;
  const deai_net *net = who->net;
  if (net->ops.voucher_of == NULL) return 0;
  return net->ops.voucher_of(net->options.user, call, voucher_out);
}

static const deai_link_ops peer_ops = {.open = got_call,
                                       .hello = got_hello,
                                       .update = got_update,
                                       .beat = got_beat,
                                       .voucher = got_voucher,
                                       .voucher_of = need_voucher,
                                       .closed = got_closed};

/* ---- handshakes ---- */

static void say_hello(peer *who) {
  deai_net *net = who->net;
  deai_hello_head hello = {0};
  if (net->joined) {
    hello.has = DEAI_HELLO_HAS_G | DEAI_HELLO_HAS_H;
    memcpy(hello.g, net->genesis, DEAI_HASH_BYTES);
    hello.h = net->ops.height(net->options.user);
  }
  deai_link_hello(deai_stream_link(who->stream), &hello);
}

static void handshake_done(peer *who) {
  deai_net *net = who->net;
  uint8_t key[DEAI_KEY_BYTES];
  if (deai_tls_peer(who->bev, key) != DEAI_OK) {
    peer_over(who, "expected an Ed25519 certificate and deai/1, found another");
    return;
  }
  bool wrong = who->has_key && memcmp(key, who->key, DEAI_KEY_BYTES) != 0;
  if (wrong || memcmp(key, deai_key_public(net->options.key), DEAI_KEY_BYTES) == 0) {
    peer_over(who, wrong ? "expected the key of the invitation or record, found another node"
                         : "this is the node itself");
    return;
  }
  memcpy(who->key, key, DEAI_KEY_BYTES);
  who->has_key = true;
  who->peer_class = net->ops.role(net->options.user, key);
  deai_link_options options = {.loop = net->options.loop,
                               .kind = DEAI_LINK_PEER,
                               .dialled = who->dialled,
                               .body_max = DEAI_PEER_BODY_MAX,
                               .caller_kind = DEAI_CALLER_PEER,
                               .caller_class = who->peer_class,
                               .caller_id = deai_bytes_of(who->key, DEAI_KEY_BYTES),
                               .lost_status = DEAI_EPEER_LOST,
                               .lost_why = "the connection to the member was lost"};
  struct bufferevent *bev = who->bev;
  who->bev = NULL;
  who->stream = deai_stream_new(bev, &options, &peer_ops, who);
  if (who->stream == NULL) {
    peer_over(who, "no memory for a connection");
    return;
  }
  net->half_open--;
  say_hello(who);
}

static void on_handshake(struct bufferevent *bev, short what, void *user) {
  (void)bev;
  peer *who = user;
  char text[DEAI_ERR_CAP];
  if ((what & BEV_EVENT_CONNECTED) != 0) {
    handshake_done(who);
    return;
  }
  int error = EVUTIL_SOCKET_ERROR();
  (void)snprintf(text, sizeof text, "no connection: %s",
                 error != 0 ? evutil_socket_error_to_string(error) : "TLS was refused");
  peer_over(who, text);
}

static peer *peer_new(deai_net *net, bool dialled) {
  if (net->half_open >= DEAI_NET_HALF_OPEN_MAX) return NULL;
  peer *who = calloc(1, sizeof *who);
  if (who == NULL) return NULL;
  who->net = net;
  who->dialled = dialled;
  who->known_at = -1;
  who->begin_ns = deai_loop_now_ns(net->options.loop);
  who->heard_ns = who->begin_ns;
  who->next = net->peers;
  net->peers = who;
  net->half_open++;
  return who;
}

static bool peer_socket(peer *who, evutil_socket_t fd) {
  deai_net *net = who->net;
  struct ssl_st *session = deai_tls_session(net->tls, who->dialled);
  if (session == NULL) return false;
  enum bufferevent_ssl_state state =
      who->dialled ? BUFFEREVENT_SSL_CONNECTING : BUFFEREVENT_SSL_ACCEPTING;
  who->bev = bufferevent_openssl_socket_new(deai_loop_base(net->options.loop), fd, session, state,
                                            BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
  if (who->bev == NULL) return false;
  bufferevent_openssl_set_allow_dirty_shutdown(who->bev, 1);
  bufferevent_setcb(who->bev, NULL, NULL, on_handshake, who);
  return bufferevent_enable(who->bev, EV_READ | EV_WRITE) == 0;
}

static void no_delay(evutil_socket_t fd) {
  int on = 1;
  (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* tokens are small */
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int len, void *user) {
  (void)listener, (void)address, (void)len;
  peer *who = peer_new(user, false);
  no_delay(fd);
  if (who == NULL) {
    (void)close(fd);
    return;
  }
  if (!peer_socket(who, fd)) {
    if (who->bev == NULL) (void)close(fd);
    peer_over(who, "no memory for a connection");
  }
}

static void dial(deai_net *net, uint32_t at) {
  known *entry = &net->known[at];
  struct sockaddr_storage address;
  int len = (int)sizeof address;
  entry->next_ns = deai_loop_now_ns(net->options.loop) + (uint64_t)BACK_OFF_MAX_MS * 1000000;
  if (evutil_parse_sockaddr_port(entry->address, (struct sockaddr *)&address, &len) != 0) return;
  peer *who = peer_new(net, true);
  if (who == NULL) return;
  who->known_at = (int)at;
  who->has_key = entry->has_key;
  memcpy(who->key, entry->key, DEAI_KEY_BYTES);
  if (!peer_socket(who, -1) ||
      bufferevent_socket_connect(who->bev, (struct sockaddr *)&address, len) != 0) {
    peer_over(who, "the address cannot be dialled");
    return;
  }
  no_delay(bufferevent_getfd(who->bev));
}

/* ---- time ---- */

static bool dialling(const deai_net *net, uint32_t at) {
  for (const peer *who = net->peers; who != NULL; who = who->next) {
    if (!who->over && who->known_at == (int)at) return true;
  }
  return net->known[at].has_key && peer_of(net, net->known[at].key) != NULL;
}

static void peer_tick(peer *who, uint64_t now_ns) {
  uint64_t beat_ns = (uint64_t)DEAI_NET_BEAT_MS * 1000000;
  if (who->over) return;
  if (!who->up) {
    if (now_ns - who->begin_ns > (uint64_t)DEAI_NET_HANDSHAKE_MS * 1000000)
      peer_over(who, "no HELLO in 5 s: the other side is no deai node, or does not know this one");
    return;
  }
  if (who->removed_ns != 0 && now_ns - who->removed_ns > (uint64_t)REMOVED_MS * 1000000) {
    peer_over(who, "it is no member any more");
  } else if (now_ns - who->heard_ns > beat_ns * SILENT_BEATS) {
    peer_over(who, "silent for 10 s");
  } else if (who->dialled && who->beat_ns == 0 && now_ns - who->heard_ns > beat_ns) {
    who->beat_ns = now_ns;
    deai_link_beat(deai_stream_link(who->stream));
  }
}

static void on_tick(void *user) {
  deai_net *net = user;
  uint64_t now_ns = deai_loop_now_ns(net->options.loop);
  for (peer *who = net->peers; who != NULL; who = who->next)
    peer_tick(who, now_ns);
  for (uint32_t i = 0; i < net->known_count; i++) {
    if (now_ns >= net->known[i].next_ns && !dialling(net, i)) dial(net, i);
  }
  deai_timer_set(net->tick, TICK_MS);
}

/* ---- record ---- */

typedef struct offer_list {
  deai_offer offers[32];
  uint64_t count;
} offer_list;

static void offer_add(void *user, deai_str service, deai_bytes args) {
  offer_list *list = user;
  if (list->count == 32) return;
  deai_offer *offer = &list->offers[list->count++];
  *offer = (deai_offer){.s = service, .a = args};
  if (args.len > 0) offer->has = DEAI_OFFER_HAS_A;
}

void deai_net_announce(deai_net *net) {
  offer_list list = {.count = 0};
  deai_str addresses[DEAI_NET_ADDRS_MAX];
  uint64_t count = 0;
  if (!net->joined) return;
  for (uint32_t i = 0; i < net->options.announce_count && count < DEAI_NET_ADDRS_MAX; i++)
    addresses[count++] = net->options.announce[i];
  if (count == 0 && net->port != 0) addresses[count++] = deai_str_of(net->own_address);
  net->ops.offers(net->options.user, offer_add, &list);
  deai_node_record record = {.h = net->ops.height(net->options.user),
                             .seq = ++net->record_seq,
                             .ttl = RECORD_TTL_MS,
                             .addrs = {addresses, count},
                             .offers = {list.offers, list.count}};
  memcpy(record.k, deai_key_public(net->options.key), DEAI_KEY_BYTES);
  int32_t status = deai_record_make(&record, net->options.key, net->genesis,
                                    (deai_buf){net->record, sizeof net->record}, &net->record_len);
  if (status != DEAI_OK) {
    net->record_len = 0;
    deai_log(DEAI_LEVEL_ERROR, "net", "the node record cannot be made: %s",
             deai_status_name(status));
    return;
  }
  for (peer *who = net->peers; who != NULL; who = who->next) {
    if (who->up && !who->over) send_record(who);
  }
}

deai_bytes deai_net_record(const deai_net *net) {
  return deai_bytes_of(net->record, net->record_len);
}

void deai_net_records(const deai_net *net, void (*each)(void *user, deai_bytes record),
                      void *user) {
  for (const peer *who = net->peers; who != NULL; who = who->next) {
    if (who->up && !who->over && who->record_len > 0)
      each(user, deai_bytes_of(who->record, who->record_len));
  }
}

/* ---- the router's seam ---- */

static bool offers_model(deai_bytes args, deai_bytes model, deai_peer_offer *out) {
  _Alignas(16) uint8_t room[32 * sizeof(deai_bytes)];
  deai_arena arena = {room, sizeof room, 0};
  deai_lm_offer offer;
  if (args.len == 0 || deai_decode(&deai_lm_offer_table, args, &offer, &arena, NULL, 0) != DEAI_OK)
    return model.len == 0;
  out->price_in = offer.price_in;
  out->price_out = offer.price_out;
  const deai_bytes *models = offer.models.items;
  for (uint64_t i = 0; i < offer.models.count; i++) {
    if (model.len == 0 || deai_bytes_eq(models[i], model)) return true;
  }
  return model.len == 0;
}

/* offer_find returns whether the record of who has the service and the model; *service_out: the
   service at least. */
static bool offer_find(const peer *who, deai_str service, deai_bytes model, deai_peer_offer *row,
                       bool *service_out) {
  const deai_offer *offers = who->parsed.offers.items;
  *service_out = false;
  for (uint64_t i = 0; i < who->parsed.offers.count; i++) {
    if (!deai_str_eq(offers[i].s, service)) continue;
    *service_out = true;
    if (offers_model(offers[i].a, model, row)) return true;
  }
  return false;
}

static uint32_t seam_list(void *user, deai_str service, deai_bytes model, deai_peer_offer *out,
                          uint32_t cap) {
  deai_net *net = user;
  uint32_t count = 0;
  for (const peer *who = net->peers; who != NULL && count < cap; who = who->next) {
    bool has_service = false;
    if (!who->up || who->over || who->record == NULL || who->peer_class < DEAI_CLASS_MEMBER)
      continue;
    deai_peer_offer row = {.latency_us = who->latency_us,
                           .busy = deai_link_tickets(deai_stream_link(who->stream))};
    if (!offer_find(who, service, model, &row, &has_service)) continue;
    memcpy(row.key, who->key, DEAI_KEY_BYTES);
    out[count++] = row;
  }
  return count;
}

typedef struct others_list {
  deai_net *net;
  deai_str service;
  deai_bytes model;
  deai_peer_other *out;
  uint32_t count;
  uint32_t cap;
} others_list;

static void other_add(void *user, const uint8_t key[DEAI_KEY_BYTES]) {
  others_list *all = user;
  const peer *who = peer_of(all->net, key);
  deai_peer_lack lack = DEAI_PEER_AWAY;
  if (who != NULL) {
    deai_peer_offer row = {0};
    bool has_service = false;
    if (offer_find(who, all->service, all->model, &row, &has_service)) return;
    lack = has_service ? DEAI_PEER_MODEL : DEAI_PEER_SERVICE;
    if (who->record == NULL) lack = DEAI_PEER_SILENT;
  }
  if (all->count == all->cap) return;
  memcpy(all->out[all->count].key, key, DEAI_KEY_BYTES);
  all->out[all->count++].lack = lack;
}

static uint32_t seam_others(void *user, deai_str service, deai_bytes model, deai_peer_other *out,
                            uint32_t cap) {
  deai_net *net = user;
  others_list all = {.net = net, .service = service, .model = model, .out = out, .cap = cap};
  if (net->ops.members != NULL) net->ops.members(net->options.user, other_add, &all);
  return all.count;
}

int32_t deai_net_serve(deai_net *net, const uint8_t key[DEAI_KEY_BYTES], deai_call *call) {
  peer *who = peer_of(net, key);
  if (who == NULL) return DEAI_EPEER_LOST;
  return deai_link_serve(deai_stream_link(who->stream), call);
}

void deai_net_pay(deai_net *net, const uint8_t key[DEAI_KEY_BYTES], deai_call *call,
                  const deai_signed *voucher) {
  peer *who = peer_of(net, key);
  if (who != NULL) deai_link_pay(deai_stream_link(who->stream), call, voucher);
}

static int32_t seam_serve(void *user, const uint8_t key[DEAI_KEY_BYTES], deai_call *call) {
  return deai_net_serve(user, key, call);
}

void deai_net_seam(deai_net *net, deai_peers *out) {
  *out = (deai_peers){.user = net, .list = seam_list, .others = seam_others, .serve = seam_serve};
}

/* ---- members ---- */

void deai_net_recheck(deai_net *net) {
  for (peer *who = net->peers; who != NULL; who = who->next) {
    if (!who->up || who->over) continue;
    uint32_t now = net->ops.role(net->options.user, who->key);
    if (now == who->peer_class) continue;
    bool removed = now < DEAI_CLASS_GUEST;
    who->peer_class = now;
    deai_link_class(deai_stream_link(who->stream), now);
    who->removed_ns = removed ? deai_loop_now_ns(net->options.loop) : 0;
    if (!removed) send_record(who);
  }
}

int32_t deai_net_know(deai_net *net, const uint8_t key[DEAI_KEY_BYTES], deai_str address) {
  if (address.len == 0 || address.len > DEAI_NET_ADDR_MAX) return DEAI_EINVAL;
  if (key != NULL && memcmp(key, deai_key_public(net->options.key), DEAI_KEY_BYTES) == 0)
    return DEAI_OK;
  known *entry = NULL;
  for (uint32_t i = 0; i < net->known_count && key != NULL; i++) {
    if (net->known[i].has_key && memcmp(net->known[i].key, key, DEAI_KEY_BYTES) == 0)
      entry = &net->known[i];
  }
  if (entry == NULL) {
    if (net->known_count == KNOWN_MAX) return DEAI_EFULL;
    entry = &net->known[net->known_count++];
    memset(entry, 0, sizeof *entry);
  }
  (void)snprintf(entry->address, sizeof entry->address, "%.*s", (int)address.len, address.ptr);
  entry->back_off_ms = BACK_OFF_MIN_MS;
  entry->next_ns = 0;
  entry->has_key = key != NULL;
  if (key != NULL) memcpy(entry->key, key, DEAI_KEY_BYTES);
  return DEAI_OK;
}

void deai_net_known(const deai_net *net,
                    void (*each)(void *user, const uint8_t key[DEAI_KEY_BYTES],
                                 const char *address),
                    void *user) {
  for (uint32_t i = 0; i < net->known_count; i++) {
    if (net->known[i].has_key) each(user, net->known[i].key, net->known[i].address);
  }
}

uint32_t deai_net_rows(const deai_net *net, deai_net_row *out, uint32_t cap) {
  uint32_t count = 0;
  for (const peer *who = net->peers; who != NULL && count < cap; who = who->next) {
    if (!who->up || who->over) continue;
    deai_net_row *row = &out[count++];
    *row = (deai_net_row){.height = who->height,
                          .latency_us = who->latency_us,
                          .peer_class = who->peer_class,
                          .tickets = deai_link_tickets(deai_stream_link(who->stream))};
    memcpy(row->key, who->key, DEAI_KEY_BYTES);
  }
  return count;
}

const char *deai_net_why(const deai_net *net) {
  return net->why;
}

uint16_t deai_net_port(const deai_net *net) {
  return net->port;
}

/* ---- life ---- */

static int32_t listen_at(deai_net *net, char *err, uint32_t err_cap) {
  char text[DEAI_NET_ADDR_MAX + 1];
  struct sockaddr_storage address;
  int len = (int)sizeof address;
  (void)snprintf(text, sizeof text, "%.*s", (int)net->options.listen.len, net->options.listen.ptr);
  bool any_port = strlen(text) > 2 && strcmp(text + strlen(text) - 2, ":0") == 0;
  if (any_port) text[strlen(text) - 1] = '1'; /* libevent's parser refuses port 0 */
  if (evutil_parse_sockaddr_port(text, (struct sockaddr *)&address, &len) != 0)
    return deai_err(err, err_cap, DEAI_EINVAL, "peers.listen: expected ADDRESS:PORT, found \"%s\"",
                    text);
  if (any_port && address.ss_family == AF_INET6) ((struct sockaddr_in6 *)&address)->sin6_port = 0;
  if (any_port && address.ss_family == AF_INET) ((struct sockaddr_in *)&address)->sin_port = 0;
  net->listener =
      evconnlistener_new_bind(deai_loop_base(net->options.loop), on_accept, net,
                              LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, 64,
                              (struct sockaddr *)&address, len);
  if (net->listener == NULL)
    return deai_err(err, err_cap, DEAI_EIO,
                    "peers.listen: expected %s to be free: %s; stop who uses it or choose another",
                    text, strerror(errno));
  socklen_t bound_len = sizeof address;
  if (getsockname(evconnlistener_get_fd(net->listener), (struct sockaddr *)&address, &bound_len) !=
      0)
    return DEAI_EIO;
  net->port = address.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&address)->sin6_port)
                                            : ntohs(((struct sockaddr_in *)&address)->sin_port);
  char *colon = strrchr(text, ':');
  int host_len = colon != NULL ? (int)(colon - text) : (int)strlen(text);
  (void)snprintf(net->own_address, sizeof net->own_address, "%.*s:%u",
                 host_len > 200 ? 200 : host_len, text, (unsigned)net->port);
  return DEAI_OK;
}

deai_net *deai_net_new(const deai_net_options *options, char *err, uint32_t err_cap) {
  deai_net *net = calloc(1, sizeof *net);
  if (net == NULL) return NULL;
  net->options = *options;
  net->ops = *options->ops;
  net->joined = options->genesis != NULL;
  if (net->joined) memcpy(net->genesis, options->genesis, DEAI_HASH_BYTES);
  net->record_seq =
      deai_wall_ms(deai_loop_platform(options->loop)); /* above that of any past run */
  net->tls = deai_tls_new(options->key, err, err_cap);
  net->tick = deai_timer_new(options->loop, on_tick, net);
  if (net->tls == NULL || net->tick == NULL ||
      (options->listen.len > 0 && listen_at(net, err, err_cap) != DEAI_OK)) {
    deai_net_free(net);
    return NULL;
  }
  deai_timer_set(net->tick, 1);
  return net;
}

void deai_net_free(deai_net *net) {
  if (net == NULL) return;
  deai_timer_free(net->tick);
  if (net->listener != NULL) evconnlistener_free(net->listener);
  net->ops.connected = NULL;
  while (net->peers != NULL)
    peer_free(net->peers);
  deai_loop_drain(net->options.loop); /* a sweep may be on its way */
  deai_tls_free(net->tls);
  free(net);
}
