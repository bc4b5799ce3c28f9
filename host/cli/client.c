#include "client.h"

#include "deai/contracts/wire.h"
#include "host/net/local.h"
#include "host/net/stream.h"

#include <event2/bufferevent.h>
#include <event2/util.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define PIECE_BYTES 262144u

struct deai_client {
  deai_loop *loop;
  deai_stream *stream;
  bool lost;
  /* of the call that runs */
  const deai_client_call *asked;
  deai_call *call;
  int32_t status;
  char *why;
  uint32_t why_cap;
  uint8_t *piece;
  uint64_t piece_len;
  bool body_over;
  bool closed;
  bool started;
};

static deai_call *refuse_calls(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                               void *end_user) {
  deai_client *client = user;
  deai_call *call = deai_call_new(client->loop, spec, ops, end_user);
  if (call != NULL) deai_call_fail(call, DEAI_EDENIED, "the command line serves nothing");
  return call;
}

static int32_t on_hello(void *user, const deai_hello_head *hello) {
  (void)hello;
  deai_client *client = user;
  deai_loop_stop(client->loop);
  return DEAI_OK;
}

static void on_lost(void *user, const char *why) {
  (void)why;
  deai_client *client = user;
  client->lost = true;
  if (client->stream != NULL) deai_link_end(deai_stream_link(client->stream)); /* the call, too */
  deai_loop_stop(client->loop);
}

static const deai_link_ops link_ops = {.open = refuse_calls, .hello = on_hello, .closed = on_lost};

deai_client *deai_client_open(const char *data, char *err, uint32_t err_cap) {
  char path[4200];
  (void)snprintf(path, sizeof path, "%s/deai.sock", data);
  int fd = deai_local_dial(path);
  if (fd < 0) {
    (void)deai_err(err, err_cap, DEAI_EIO,
                   "expected a running node at %s: %s; start it: deai up -d", path,
                   strerror(errno));
    return NULL;
  }
  (void)evutil_make_socket_nonblocking(fd);
  deai_client *client = calloc(1, sizeof *client);
  if (client != NULL) client->loop = deai_loop_new(deai_platform_system(), 0);
  struct bufferevent *bev =
      client == NULL || client->loop == NULL
          ? NULL
          : bufferevent_socket_new(deai_loop_base(client->loop), fd, BEV_OPT_CLOSE_ON_FREE);
  deai_link_options options = {.kind = DEAI_LINK_TO_NODE,
                               .dialled = true,
                               .body_max = DEAI_BODY_MAX,
                               .lost_status = DEAI_EPEER_LOST,
                               .lost_why = "the node ended the connection"};
  if (bev != NULL) {
    options.loop = client->loop;
    client->stream = deai_stream_new(bev, &options, &link_ops, client);
  }
  if (client == NULL || client->stream == NULL) {
    deai_client_free(client);
    return NULL;
  }
  deai_hello_head hello = {0};
  deai_link_hello(deai_stream_link(client->stream), &hello);
  deai_loop_run(client->loop);
  if (!client->lost) return client;
  (void)deai_err(err, err_cap, DEAI_EPEER_LOST, "the node at %s refused the connection", path);
  deai_client_free(client);
  return NULL;
}

/* body_go sends pieces until the window is full or the body is over. */
static void body_go(deai_client *client) {
  const deai_client_call *asked = client->asked;
  while (!client->body_over) {
    if (client->piece_len == 0 && asked->next != NULL) {
      int64_t got = asked->next(asked->user, client->piece, PIECE_BYTES);
      if (got < 0) {
        deai_call_cancel(client->call, DEAI_ECANCELLED);
        client->body_over = true;
        return;
      }
      client->piece_len = (uint64_t)got;
    }
    deai_part part = {.size = (uint32_t)sizeof part, .attachment = -1};
    if (client->piece_len == 0) part.flags = DEAI_PART_END;
    part.body = deai_bytes_of(client->piece, client->piece_len);
    if (!client->started) {
      part.args = asked->args;
      if (asked->next == NULL) part.body = asked->body;
    }
    int32_t status = deai_call_send(client->call, DEAI_SIDE_CALLER, &part);
    if (status == DEAI_EAGAIN) return;
    client->started = true;
    client->piece_len = 0;
    client->body_over = status != DEAI_OK || (part.flags & DEAI_PART_END) != 0;
  }
}

static void call_drain(void *user) {
  body_go(user);
}

static int32_t call_part(void *user, const deai_part *part) {
  deai_client *client = user;
  if ((part->flags & DEAI_PART_END) != 0) {
    client->status = part->status;
    (void)snprintf(client->why, client->why_cap, "%.*s", (int)part->why.len, part->why.ptr);
  }
  if (client->asked->part != NULL && !client->asked->part(client->asked->user, part))
    deai_call_cancel(client->call, DEAI_ECANCELLED);
  return DEAI_OK;
}

static void call_closed(void *user) {
  deai_client *client = user;
  client->closed = true;
  client->call = NULL;
  deai_loop_stop(client->loop);
}

static const deai_end_ops call_ops = {
    .part = call_part, .drain = call_drain, .closed = call_closed};

int32_t deai_client_run(deai_client *client, const deai_client_call *asked, char *why,
                        uint32_t why_cap) {
  deai_call_spec spec = {.service = deai_str_of(asked->service),
                         .method = deai_str_of(asked->method),
                         .plugin = deai_str_of(asked->plugin),
                         .model = asked->model,
                         .provider = asked->provider,
                         .job = asked->job,
                         .units = asked->units,
                         .flags = asked->flags,
                         .time_ms = asked->time_ms,
                         .caller_class = DEAI_CLASS_LOCAL};
  client->asked = asked;
  client->why = why;
  client->why_cap = why_cap;
  client->status = DEAI_EPEER_LOST;
  client->closed = false;
  client->started = false;
  client->body_over = false;
  client->piece_len = 0;
  client->piece = malloc(PIECE_BYTES);
  if (client->piece == NULL) return DEAI_ENOMEM;
  client->call = deai_call_new(client->loop, &spec, &call_ops, client);
  int32_t status = client->call == NULL
                       ? DEAI_ENOMEM
                       : deai_link_serve(deai_stream_link(client->stream), client->call);
  if (client->call != NULL && status != DEAI_OK)
    deai_call_fail(client->call, status, "%s", deai_status_text(status));
  if (client->call != NULL) body_go(client);
  while (client->call != NULL && !client->closed)
    deai_loop_run(client->loop);
  free(client->piece);
  client->piece = NULL;
  return client->status;
}

void deai_client_free(deai_client *client) {
  if (client == NULL) return;
  deai_stream_free(client->stream);
  if (client->loop != NULL) deai_loop_drain(client->loop);
  deai_loop_free(client->loop);
  free(client);
}
