#ifndef DEAI_HOST_HTTP_HTTP_H
#define DEAI_HOST_HTTP_HTTP_H

#include "host/call.h"

/* The HTTP/1.1 side of a node: applications' requests become calls to deai.http/1 of the plug-in
   that registered the path's prefix. evhttp lives behind this header alone.

     GET /healthz   200 "ok" as long as the loop runs
     GET /readyz    200 when every plug-in runs, else 503 with the names of those that do not
     GET /metrics   Prometheus text

   Client gone  An own EV_CLOSED event per pending request cancels its call; evhttp itself never
                reports a client that leaves while an answer is computed. It is not edge-triggered:
                epoll would then trigger evhttp's own events of that descriptor by edges as well,
                and answers above one write would stall.
   Who may ask  Host must be localhost, a loopback address, the listen address or one of hosts
                (421); an Origin that is none of these is refused (403); with auth a key is needed
                (401). No administrative route exists on TCP.
   Limits       header DEAI_HTTP_HEADER_BYTES, body DEAI_HTTP_BODY_BYTES (413), requests at a time
                from one address and four times as many connections, sixteen times from a loopback
                address (429), DEAI_HTTP_TIME_MS for a whole answer. A header is there within 10 s
                and a body within 60 s, however little comes at a time (conns.h); a connection on
                which nothing moves for 30 s ends.
   Threads      [loop] */

#define DEAI_HTTP_HEADER_BYTES 8192
#define DEAI_HTTP_BODY_BYTES   1048576
#define DEAI_HTTP_TIME_MS      600000u
#define DEAI_HTTP_ROUTES_MAX   32u

typedef struct deai_http deai_http;

typedef struct deai_http_ops {
  deai_open_fn *open;
  /* ready writes what is not ready into out; returns whether all is */
  bool (*ready)(void *user, char *out, size_t cap);
  /* metrics returns fresh text (freed by http) or NULL */
  char *(*metrics)(void *user);
  /* key looks an API key up: 1 known (id_out set, 16 bytes), 0 unknown */
  int32_t (*key)(void *user, deai_str secret, uint8_t id_out[DEAI_ID_BYTES]);
} deai_http_ops;

typedef struct deai_http_options {
  deai_loop *loop;
  deai_str listen; /* HOST:PORT; port 0 = any free one */
  const deai_str *hosts;
  uint32_t host_count;
  bool auth;
  uint32_t per_address; /* requests at a time, 0 = no limit */
  uint32_t header_ms;   /* 0 = 10 s */
  uint32_t body_ms;     /* 0 = 60 s */
  const deai_http_ops *ops;
  void *user;
} deai_http_options;

/* deai_http_new listens. NULL with a reason: bad address, port busy (with what to do). */
DEAI_MUST_CHECK deai_http *deai_http_new(const deai_http_options *options, char *err,
                                         uint32_t err_cap);

/* deai_http_route sends requests below prefix to plugin. DEAI_EFULL, DEAI_EINVAL when another
   plug-in has the prefix. */
DEAI_MUST_CHECK int32_t deai_http_route(deai_http *http, const char *prefix, const char *plugin);

/* deai_http_port returns the port that is listened on. */
uint16_t deai_http_port(const deai_http *http);

/* deai_http_pending returns how many requests are being answered. */
uint32_t deai_http_pending(const deai_http *http);

/* deai_http_drain stops listening; requests that run go on. */
void deai_http_drain(deai_http *http);

/* deai_http_free cancels what runs and closes all; NULL is allowed. */
void deai_http_free(deai_http *http);

#endif
