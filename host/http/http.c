#include "http.h"

#include "deai/contracts/http.h"
#include "deai/contracts/wire.h"
#include "host/base/assertion.h"
#include "host/base/log.h"
#include "host/http/conns.h"
#include "host/http/guard.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <jansson.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "host/base/banned.h"

#define HEAD_ROOM_BYTES  32768u
#define OUTPUT_BYTES_MAX (256u << 10) /* waiting for a slow client; then the plug-in waits */
#define EVHTTP_BODY_MAX  (2 * DEAI_HTTP_BODY_BYTES)
#define IO_SECONDS       30

#define CONNECTIONS_A_REQUEST                                                                      \
  4u /* per_address requests need no more connections than so many times */

typedef struct http_route {
  char prefix[DEAI_NAME_MAX + 1];
  char plugin[DEAI_NAME_MAX + 1];
} http_route;

/* One request that is being answered. */
typedef struct pending {
  struct pending *next;
  deai_http *http;
  struct evhttp_request *request; /* NULL once evhttp is done with it */
  struct event *gone;
  deai_call *call;
  bool started; /* the head of the answer was sent */
  bool head_only;
  bool held;
} pending;

struct deai_http {
  deai_http_options options;
  deai_http_ops ops;
  struct evhttp *server;
  deai_conns *conns;
  struct evhttp_bound_socket *bound;
  char host[256];
  uint16_t port;
  deai_str *hosts;
  http_route routes[DEAI_HTTP_ROUTES_MAX];
  uint32_t route_count;
  pending *list;
  uint32_t pending_count;
};

/* ---- plain answers ---- */

static void answer_text(struct evhttp_request *request, int status, const char *type,
                        const char *text) {
  struct evbuffer *body = evbuffer_new();
  struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
  (void)evhttp_add_header(headers, "Content-Type", type);
  (void)evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
  if (status == 429 || status == 503) (void)evhttp_add_header(headers, "Retry-After", "1");
  if (body != NULL) (void)evbuffer_add(body, text, strlen(text));
  evhttp_send_reply(request, status, NULL, body);
  if (body != NULL) evbuffer_free(body);
}

static const char *error_type(int status) {
  if (status == 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

/* answer_error sends an error in the form that OpenAI's clients read. */
static void answer_error(struct evhttp_request *request, int status, const char *code,
                         const char *message) {
  json_t *body = json_pack("{s:{s:s, s:s, s:n, s:s?}}", "error", "message", message, "type",
                           error_type(status), "param", "code", code);
  char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
  answer_text(request, status, "application/json", text != NULL ? text : "{}");
  free(text);
  json_decref(body);
}

/* ---- pending requests ---- */

static void pending_unlink(pending *item) {
  pending **at = &item->http->list;
  while (*at != NULL && *at != item)
    at = &(*at)->next;
  DEAI_ASSERT(*at == item);
  *at = item->next;
  item->http->pending_count--;
}

static void pending_free(pending *item) {
  pending_unlink(item);
  if (item->gone != NULL) event_free(item->gone);
  free(item);
}

static const struct bufferevent *bev_of(struct evhttp_request *request) {
  struct evhttp_connection *connection = evhttp_request_get_connection(request);
  return connection != NULL ? evhttp_connection_get_bufferevent(connection) : NULL;
}

/* request_over forgets evhttp's request; the event goes before evhttp may close the descriptor. */
static void request_over(pending *item) {
  if (item->gone != NULL) event_free(item->gone);
  item->gone = NULL;
  if (item->request != NULL) {
    struct evhttp_connection *connection = evhttp_request_get_connection(item->request);
    if (connection != NULL) evhttp_connection_set_closecb(connection, NULL, NULL);
    deai_conns_idle(item->http->conns, bev_of(item->request));
  }
  item->request = NULL;
}

static void client_gone(pending *item) {
  request_over(item);
  if (item->call != NULL) deai_call_cancel(item->call, DEAI_ECANCELLED);
}

static void on_connection_closed(struct evhttp_connection *connection, void *user) {
  (void)connection;
  pending *item = user;
  if (item->gone != NULL) event_free(item->gone);
  item->gone = NULL;
  /* evhttp frees it with the connection, unless it took the two apart: then it is ours */
  if (item->request != NULL && evhttp_request_get_connection(item->request) == NULL)
    evhttp_request_free(item->request);
  item->request = NULL;
  if (item->call != NULL) deai_call_cancel(item->call, DEAI_ECANCELLED);
}

static void on_gone(evutil_socket_t fd, short what, void *user) {
  (void)fd, (void)what;
  pending *item = user;
  struct evhttp_request *request = item->request;
  client_gone(item);
  if (request == NULL) return;
  struct evhttp_connection *connection = evhttp_request_get_connection(request);
  if (connection != NULL) evhttp_connection_free(connection);
}

/* ---- the HTTP request as the caller's end of a call ---- */

static bool headers_put(struct evhttp_request *request, const deai_http_answer *answer) {
  struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
  const deai_text_pair *pairs = answer->h.items;
  for (uint64_t i = 0; i < answer->h.count; i++) {
    char name[128];
    char value[DEAI_HTTP_VALUE_MAX + 1];
    if (pairs[i].key.len >= sizeof name || pairs[i].value.len >= sizeof value) return false;
    (void)snprintf(name, sizeof name, "%.*s", (int)pairs[i].key.len, pairs[i].key.ptr);
    (void)snprintf(value, sizeof value, "%.*s", (int)pairs[i].value.len, pairs[i].value.ptr);
    if (strlen(value) != pairs[i].value.len || evhttp_add_header(headers, name, value) != 0)
      return false;
  }
  if (evhttp_find_header(headers, "X-Content-Type-Options") == NULL)
    (void)evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
  return true;
}

static void answer_end_status(pending *item, const deai_part *part) {
  char message[DEAI_ERR_CAP];
  struct evhttp_request *request = item->request;
  int32_t status = part->status == DEAI_OK ? DEAI_EINTERNAL : part->status;
  deai_str why = part->why.len > 0 ? part->why : deai_str_of(deai_status_text(status));
  (void)snprintf(message, sizeof message, "%.*s",
                 (int)(why.len < sizeof message ? why.len : sizeof message - 1), why.ptr);
  request_over(item);
  answer_error(request, deai_status_http(status), NULL, message);
}

static void body_put(struct evbuffer *out, deai_bytes body) {
  if (body.len > 0) (void)evbuffer_add(out, body.ptr, (size_t)body.len);
}

static void on_written(struct evhttp_connection *connection, void *user) {
  (void)connection;
  pending *item = user;
  if (!item->held || item->call == NULL) return;
  item->held = false;
  deai_call_resume(item->call, DEAI_SIDE_CALLER);
}

static void answer_start(pending *item, const deai_part *part, bool is_end) {
  _Alignas(16) uint8_t room[DEAI_HTTP_HEADERS_MAX * sizeof(deai_text_pair)];
  deai_arena arena = {room, sizeof room, 0};
  deai_http_answer answer;
  struct evhttp_request *request = item->request;
  if (deai_decode(&deai_http_answer_table, part->args, &answer, &arena, NULL, 0) != DEAI_OK ||
      !headers_put(request, &answer)) {
    request_over(item);
    evhttp_clear_headers(evhttp_request_get_output_headers(request));
    answer_error(request, 500, NULL, "the plug-in sent a malformed answer head");
    if (item->call != NULL) deai_call_cancel(item->call, DEAI_EINTERNAL);
    return;
  }
  item->started = true;
  struct evbuffer *body = evbuffer_new();
  if (body != NULL && !item->head_only) body_put(body, part->body);
  if (is_end) {
    request_over(item);
    evhttp_send_reply(request, (int)answer.status, NULL, body);
  } else {
    evhttp_send_reply_start(request, (int)answer.status, NULL);
    if (body != NULL && evbuffer_get_length(body) > 0)
      evhttp_send_reply_chunk_with_cb(request, body, on_written, item);
  }
  if (body != NULL) evbuffer_free(body);
}

static uint64_t output_waiting(const pending *item) {
  struct evhttp_connection *connection = evhttp_request_get_connection(item->request);
  struct bufferevent *stream =
      connection != NULL ? evhttp_connection_get_bufferevent(connection) : NULL;
  return stream != NULL ? evbuffer_get_length(bufferevent_get_output(stream)) : 0;
}

static int32_t request_part(void *user, const deai_part *part) {
  pending *item = user;
  bool is_end = (part->flags & DEAI_PART_END) != 0;
  if (item->request == NULL) {
    if (part->attachment >= 0) (void)close(part->attachment);
    return DEAI_OK;
  }
  if (!item->started) {
    if (part->attachment >= 0) (void)close(part->attachment);
    if (is_end && (part->status != DEAI_OK || part->args.len == 0))
      answer_end_status(item, part);
    else
      answer_start(item, part, is_end);
    return DEAI_OK;
  }
  if (!is_end && output_waiting(item) > OUTPUT_BYTES_MAX) {
    item->held = true;
    return DEAI_EAGAIN;
  }
  if (part->attachment >= 0) (void)close(part->attachment); /* answers are bytes */
  struct evbuffer *body = evbuffer_new();
  if (body == NULL) return DEAI_OK;
  if (!item->head_only) body_put(body, part->body);
  if (evbuffer_get_length(body) > 0)
    evhttp_send_reply_chunk_with_cb(item->request, body, is_end ? NULL : on_written, item);
  evbuffer_free(body);
  if (is_end) {
    struct evhttp_request *request = item->request;
    request_over(item);
    evhttp_send_reply_end(request);
  }
  return DEAI_OK;
}

static void request_closed(void *user) {
  pending *item = user;
  item->call = NULL;
  if (item->request != NULL) { /* the call ended without an END that reached us */
    struct evhttp_request *request = item->request;
    request_over(item);
    if (item->started)
      evhttp_send_reply_end(request);
    else
      answer_error(request, 500, NULL, "the call ended without an answer");
  }
  pending_free(item);
}

static const deai_end_ops request_ops = {.part = request_part, .closed = request_closed};

/* ---- requests ---- */

static const http_route *route_of(const deai_http *http, const char *path) {
  const http_route *best = NULL;
  for (uint32_t i = 0; i < http->route_count; i++) {
    size_t len = strlen(http->routes[i].prefix);
    if (strncmp(path, http->routes[i].prefix, len) != 0) continue;
    if (best == NULL || len > strlen(best->prefix)) best = &http->routes[i];
  }
  return best;
}

static const char *method_text(enum evhttp_cmd_type method) {
  if (method == EVHTTP_REQ_GET) return "GET";
  if (method == EVHTTP_REQ_POST) return "POST";
  if (method == EVHTTP_REQ_HEAD) return "HEAD";
  if (method == EVHTTP_REQ_PUT) return "PUT";
  if (method == EVHTTP_REQ_DELETE) return "DELETE";
  if (method == EVHTTP_REQ_OPTIONS) return "OPTIONS";
  return "PATCH";
}

static int pair_order(const void *a, const void *b) {
  const deai_text_pair *one = a;
  const deai_text_pair *two = b;
  if (one->key.len != two->key.len) return one->key.len < two->key.len ? -1 : 1;
  return memcmp(one->key.ptr, two->key.ptr, (size_t)one->key.len);
}

/* headers_take lists the request's headers: lower case, sorted, each once, without secrets. */
static uint64_t headers_take(struct evhttp_request *request, deai_text_pair *pairs) {
  uint64_t count = 0;
  struct evkeyvalq *headers = evhttp_request_get_input_headers(request);
  for (struct evkeyval *at = headers->tqh_first; at != NULL; at = at->next.tqe_next) {
    if (count == DEAI_HTTP_HEADERS_MAX) break;
    if (strcasecmp(at->key, "authorization") == 0 || strcasecmp(at->key, "cookie") == 0) continue;
    deai_str value = deai_str_of(at->value);
    if (value.len > DEAI_HTTP_VALUE_MAX || !deai_utf8_check(value)) continue;
    for (char *c = at->key; *c != 0; c++)
      *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
    if (!deai_utf8_check(deai_str_of(at->key))) continue;
    pairs[count++] = (deai_text_pair){deai_str_of(at->key), value};
  }
  qsort(pairs, (size_t)count, sizeof *pairs, pair_order);
  uint64_t kept = 0;
  for (uint64_t i = 0; i < count; i++) {
    if (kept > 0 && deai_str_eq(pairs[kept - 1].key, pairs[i].key)) continue;
    pairs[kept++] = pairs[i];
  }
  return kept;
}

static deai_call *request_open(deai_http *http, pending *item, const http_route *route,
                               const uint8_t *key) {
  deai_call_spec spec = {.service = deai_str_of(DEAI_HTTP_SERVICE),
                         .method = deai_str_of("request"),
                         .time_ms = DEAI_HTTP_TIME_MS,
                         .caller_kind = DEAI_CALLER_KEY,
                         .caller_class = DEAI_CLASS_LOCAL,
                         .caller_id = deai_bytes_of(key, key != NULL ? DEAI_ID_BYTES : 0),
                         .plugin = deai_str_of(route->plugin)};
  return http->ops.open(http->options.user, &spec, &request_ops, item);
}

static int32_t request_send(pending *item, const char *path, const char *query,
                            const uint8_t *key) {
  struct evhttp_request *request = item->request;
  struct evbuffer *body = evhttp_request_get_input_buffer(request);
  deai_text_pair pairs[DEAI_HTTP_HEADERS_MAX];
  uint8_t *room = malloc(HEAD_ROOM_BYTES);
  if (room == NULL) return DEAI_ENOMEM;
  deai_http_request head = {.path = deai_str_of(path),
                            .query = deai_str_of(query),
                            .method =
                                deai_str_of(method_text(evhttp_request_get_command(request)))};
  head.h = (deai_list){pairs, headers_take(request, pairs)};
  if (key != NULL) {
    head.has = DEAI_HTTP_REQUEST_HAS_KEY;
    head.key = deai_bytes_of(key, DEAI_ID_BYTES);
  }
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, HEAD_ROOM_BYTES});
  int32_t status = deai_encode(&deai_http_request_table, &head, &writer, NULL, 0);
  if (status == DEAI_OK) {
    size_t len = evbuffer_get_length(body);
    deai_part part = {.size = (uint32_t)sizeof part,
                      .flags = DEAI_PART_END,
                      .attachment = -1,
                      .args = deai_bytes_of(room, writer.len),
                      .body = deai_bytes_of(len > 0 ? evbuffer_pullup(body, -1) : NULL, len)};
    status = deai_call_send(item->call, DEAI_SIDE_CALLER, &part);
    if (status == DEAI_ENOTFOUND) status = DEAI_OK; /* refused: its END is on its way */
  }
  free(room);
  return status;
}

/* address_full returns whether the client's address has as many requests as it may. */
static bool address_full(const deai_http *http, struct evhttp_request *request) {
  char *mine = NULL;
  uint16_t port = 0;
  uint32_t count = 0;
  if (http->options.per_address == 0) return false;
  evhttp_connection_get_peer(evhttp_request_get_connection(request), &mine, &port);
  for (const pending *item = http->list; item != NULL && mine != NULL; item = item->next) {
    char *other = NULL;
    if (item->request == NULL) continue;
    evhttp_connection_get_peer(evhttp_request_get_connection(item->request), &other, &port);
    count += other != NULL && strcmp(mine, other) == 0;
  }
  return count >= http->options.per_address;
}

static void request_begin(deai_http *http, struct evhttp_request *request, const http_route *route,
                          const char *path, const char *query, const uint8_t *key) {
  struct evhttp_connection *connection = evhttp_request_get_connection(request);
  pending *item = calloc(1, sizeof *item);
  if (item == NULL || connection == NULL) {
    free(item);
    answer_error(request, 503, NULL, "not enough memory");
    return;
  }
  item->http = http;
  item->request = request;
  item->head_only = evhttp_request_get_command(request) == EVHTTP_REQ_HEAD;
  item->next = http->list;
  http->list = item;
  http->pending_count++;
  evutil_socket_t fd = bufferevent_getfd(evhttp_connection_get_bufferevent(connection));
  item->gone = event_new(deai_loop_base(http->options.loop), fd, EV_CLOSED, on_gone, item);
  if (item->gone != NULL) (void)event_add(item->gone, NULL);
  evhttp_connection_set_closecb(connection, on_connection_closed, item);
  item->call = request_open(http, item, route, key);
  int32_t status = item->call == NULL ? DEAI_ENOMEM : request_send(item, path, query, key);
  if (status == DEAI_OK) return;
  if (item->call != NULL) deai_call_drop(item->call, DEAI_SIDE_CALLER, status, "");
  request_over(item);
  pending_free(item);
  answer_error(request, deai_status_http(status), NULL, deai_status_text(status));
}

static bool answer_own(deai_http *http, struct evhttp_request *request, const char *path) {
  char text[1024] = "";
  if (strcmp(path, "/healthz") == 0) {
    answer_text(request, 200, "text/plain", "ok\n");
  } else if (strcmp(path, "/readyz") == 0) {
    bool ready = http->ops.ready(http->options.user, text, sizeof text);
    answer_text(request, ready ? 200 : 503, "text/plain", ready ? "ready\n" : text);
  } else if (strcmp(path, "/metrics") == 0) {
    char *metrics = http->ops.metrics(http->options.user);
    answer_text(request, metrics != NULL ? 200 : 500, "text/plain; version=0.0.4",
                metrics != NULL ? metrics : "");
    free(metrics);
  } else {
    return false;
  }
  return true;
}

/* admit answers a request that may not be served and returns false. */
static bool admit(deai_http *http, struct evhttp_request *request, uint8_t key[DEAI_ID_BYTES],
                  bool *has_key) {
  struct evkeyvalq *headers = evhttp_request_get_input_headers(request);
  deai_guard guard = {deai_str_of(http->host), http->hosts, http->options.host_count};
  const char *authorization = evhttp_find_header(headers, "Authorization");
  if (!deai_guard_host(&guard, evhttp_find_header(headers, "Host"))) {
    answer_error(request, 421, NULL,
                 "expected a Host of this node, found another; add it to http.hosts");
    return false;
  }
  if (!deai_guard_origin(&guard, evhttp_find_header(headers, "Origin"))) {
    answer_error(request, 403, NULL,
                 "expected no Origin or one of this node, found another; add it to http.hosts");
    return false;
  }
  if (authorization != NULL && strncasecmp(authorization, "Bearer ", 7) == 0)
    *has_key = http->ops.key(http->options.user, deai_str_of(authorization + 7), key) == 1;
  if (!http->options.auth || *has_key) return true;
  answer_error(request, 401, authorization == NULL ? NULL : "invalid_api_key",
               authorization == NULL ? "expected an API key, found none; make one: deai key add"
                                     : "expected a known API key, found another");
  return false;
}

static void answer(deai_http *http, struct evhttp_request *request) {
  uint8_t key[DEAI_ID_BYTES];
  bool has_key = false;
  const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
  const char *raw_path = uri != NULL ? evhttp_uri_get_path(uri) : NULL;
  const char *query = uri != NULL ? evhttp_uri_get_query(uri) : NULL;
  size_t len = 0;
  char *path = raw_path != NULL ? evhttp_uridecode(raw_path, 0, &len) : NULL;
  if (path == NULL || path[0] != '/' || strlen(path) != len || len > DEAI_HTTP_VALUE_MAX ||
      !deai_utf8_check(deai_str_of(path)) || !deai_utf8_check(deai_str_of(query))) {
    answer_error(request, 400, NULL, "expected a path in UTF-8 that starts with a slash");
  } else if (answer_own(http, request, path)) {
    /* done */
  } else if (!admit(http, request, key, &has_key)) {
    /* answered */
  } else if (evbuffer_get_length(evhttp_request_get_input_buffer(request)) > DEAI_HTTP_BODY_BYTES) {
    answer_error(request, 413, "request_too_large",
                 "expected a body of at most 1048576 bytes, found more");
  } else if (route_of(http, path) == NULL) {
    answer_error(request, 404, "unknown_url", "expected a path that a plug-in answers, found none");
  } else if (address_full(http, request)) {
    answer_error(request, 429, "too_many_requests",
                 "expected fewer requests at a time from one address; wait for one to end");
  } else {
    request_begin(http, request, route_of(http, path), path, query != NULL ? query : "",
                  has_key ? key : NULL);
  }
  free(path);
}

static bool is_pending(const deai_http *http, const struct evhttp_request *request) {
  const pending *item = http->list;
  while (item != NULL && item->request != request)
    item = item->next;
  return item != NULL;
}

static void on_request(struct evhttp_request *request, void *user) {
  deai_http *http = user;
  const struct bufferevent *bev = bev_of(request);
  deai_conns_busy(http->conns, bev);
  answer(http, request);
  if (!is_pending(http, request)) deai_conns_idle(http->conns, bev);
}

/* ---- life ---- */

static int32_t listen_split(deai_str listen, char *host, size_t cap, uint16_t *port) {
  char text[300];
  if (listen.len == 0 || listen.len >= sizeof text) return DEAI_EINVAL;
  (void)snprintf(text, sizeof text, "%.*s", (int)listen.len, listen.ptr);
  char *colon = strrchr(text, ':');
  char *end = NULL;
  if (colon == NULL) return DEAI_EINVAL;
  unsigned long number = strtoul(colon + 1, &end, 10);
  if (colon[1] == 0 || *end != 0 || number > 65535) return DEAI_EINVAL;
  *colon = 0;
  bool bracketed = text[0] == '[' && strlen(text) > 2 && text[strlen(text) - 1] == ']';
  if (bracketed) text[strlen(text) - 1] = 0;
  *port = (uint16_t)number;
  int len = snprintf(host, cap, "%s", bracketed ? text + 1 : text);
  return len > 0 && (size_t)len < cap ? DEAI_OK : DEAI_EINVAL;
}

static uint16_t bound_port(struct evhttp_bound_socket *bound) {
  struct sockaddr_storage address;
  socklen_t len = sizeof address;
  if (getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address, &len) != 0)
    return 0;
  return address.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&address)->sin6_port)
                                       : ntohs(((struct sockaddr_in *)&address)->sin_port);
}

static uint32_t or_preset(uint32_t given, uint32_t preset) {
  return given != 0 ? given : preset;
}

static int32_t server_new(deai_http *http, char *err, uint32_t err_cap) {
  http->server = evhttp_new(deai_loop_base(http->options.loop));
  if (http->server == NULL) return DEAI_ENOMEM;
  evhttp_set_max_headers_size(http->server, DEAI_HTTP_HEADER_BYTES);
  evhttp_set_max_body_size(http->server, EVHTTP_BODY_MAX);
  evhttp_set_timeout(http->server, IO_SECONDS);
  (void)evhttp_set_flags(http->server, EVHTTP_SERVER_LINGERING_CLOSE);
  evhttp_set_allowed_methods(http->server, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD |
                                               EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
                                               EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
  evhttp_set_gencb(http->server, on_request, http);
  deai_conns_options conns = {.loop = http->options.loop,
                              .header_ms = or_preset(http->options.header_ms, DEAI_CONNS_HEADER_MS),
                              .body_ms = or_preset(http->options.body_ms, DEAI_CONNS_BODY_MS),
                              .per_address = http->options.per_address * CONNECTIONS_A_REQUEST};
  http->conns = deai_conns_new(&conns);
  if (http->conns == NULL) return DEAI_ENOMEM;
  evhttp_set_bevcb(http->server, deai_conns_bev, http->conns);
  http->bound = evhttp_bind_socket_with_handle(http->server, http->host, http->port);
  if (http->bound == NULL)
    return deai_err(
        err, err_cap, DEAI_EIO,
        "http.listen: expected %s:%u to be free: %s; stop who uses it or choose another "
        "port",
        http->host, (unsigned)http->port, strerror(errno));
  http->port = bound_port(http->bound);
  return DEAI_OK;
}

deai_http *deai_http_new(const deai_http_options *options, char *err, uint32_t err_cap) {
  deai_http *http = calloc(1, sizeof *http);
  if (http == NULL) return NULL;
  http->options = *options;
  http->ops = *options->ops;
  http->hosts = calloc(options->host_count + 1, sizeof *http->hosts);
  for (uint32_t i = 0; i < options->host_count && http->hosts != NULL; i++)
    http->hosts[i] = options->hosts[i];
  if (listen_split(options->listen, http->host, sizeof http->host, &http->port) != DEAI_OK) {
    (void)deai_err(err, err_cap, DEAI_EINVAL, "http.listen: expected HOST:PORT, found \"%.*s\"",
                   (int)options->listen.len, options->listen.ptr);
    deai_http_free(http);
    return NULL;
  }
  if (server_new(http, err, err_cap) != DEAI_OK) {
    deai_http_free(http);
    return NULL;
  }
  return http;
}

int32_t deai_http_route(deai_http *http, const char *prefix, const char *plugin) {
  if (prefix[0] != '/' || strlen(prefix) > DEAI_NAME_MAX) return DEAI_EINVAL;
  for (uint32_t i = 0; i < http->route_count; i++) {
    if (strcmp(http->routes[i].prefix, prefix) == 0) return DEAI_EINVAL;
  }
  if (http->route_count == DEAI_HTTP_ROUTES_MAX) return DEAI_EFULL;
  http_route *route = &http->routes[http->route_count++];
  (void)snprintf(route->prefix, sizeof route->prefix, "%s", prefix);
  (void)snprintf(route->plugin, sizeof route->plugin, "%s", plugin);
  return DEAI_OK;
}

uint16_t deai_http_port(const deai_http *http) {
  return http->port;
}

uint32_t deai_http_pending(const deai_http *http) {
  return http->pending_count;
}

void deai_http_drain(deai_http *http) {
  if (http->bound != NULL) evhttp_del_accept_socket(http->server, http->bound);
  http->bound = NULL;
}

void deai_http_free(deai_http *http) {
  if (http == NULL) return;
  while (http->list != NULL) {
    pending *item = http->list;
    deai_call *call = item->call;
    request_over(item);
    pending_free(item);
    if (call != NULL) deai_call_drop(call, DEAI_SIDE_CALLER, DEAI_ECANCELLED, "");
  }
  if (http->server != NULL) evhttp_free(http->server);
  deai_conns_free(http->conns);
  free(http->hosts);
  free(http);
}
