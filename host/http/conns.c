#include "conns.h"

#include "host/base/log.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "host/base/banned.h"

#define TICK_MS  1000u
#define PEEK_MAX 1024u

typedef enum conn_state { CONN_HEADER, CONN_BODY, CONN_BUSY, CONN_IDLE } conn_state;

typedef struct conn {
  struct conn *next;
  deai_conns *conns;
  struct bufferevent *bev; /* ours until adopted; then only to be compared with */
  bool adopted;
  bool ended;
  int fd;
  uint64_t inode;
  char address[INET6_ADDRSTRLEN];
  bool loopback;
  conn_state state;
  uint64_t begin_ns;   /* of the state */
  uint64_t line_bytes; /* of the header line that is coming, without its end */
  bool line_seen;      /* a line that is not empty came before */
} conn;

struct deai_conns {
  deai_conns_options options;
  deai_timer *tick;
  uint64_t tick_ms;
  uint64_t swept_ns;
  bool adopting; /* the tick comes at once, for those that were made */
  conn *list;
  uint32_t count;
};

static uint64_t now_ns(const deai_conns *conns) {
  return deai_loop_now_ns(conns->options.loop);
}

/* ---- which sockets are there ---- */

static uint64_t inode_of(int fd) {
  struct stat info;
  return fd >= 0 && fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode) ? (uint64_t)info.st_ino : 0;
}

static bool is_open(const conn *at) {
  return !at->adopted || (at->inode != 0 && inode_of(at->fd) == at->inode);
}

/* sweep forgets the connections that evhttp has closed. */
static void sweep(deai_conns *conns) {
  conn **at = &conns->list;
  while (*at != NULL) {
    conn *gone = *at;
    if (is_open(gone)) {
      at = &gone->next;
      continue;
    }
    *at = gone->next;
    conns->count--;
    free(gone);
  }
  conns->swept_ns = now_ns(conns);
}

static void end(conn *at, const char *text) {
  if (at->ended || !is_open(at)) return;
  at->ended = true;
  if (text != NULL) (void)send(at->fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
  (void)shutdown(at->fd, SHUT_RDWR);
}

/* ---- accepting ---- */

static void address_of(conn *at) {
  struct sockaddr_storage from;
  socklen_t len = sizeof from;
  memset(&from, 0, sizeof from);
  if (getpeername(at->fd, (struct sockaddr *)&from, &len) != 0) return;
  if (from.ss_family == AF_INET) {
    const struct sockaddr_in *four = (const struct sockaddr_in *)&from;
    at->loopback = (ntohl(four->sin_addr.s_addr) >> 24) == 127;
    (void)inet_ntop(AF_INET, &four->sin_addr, at->address, sizeof at->address);
  } else if (from.ss_family == AF_INET6) {
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&from;
    at->loopback = IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
    (void)inet_ntop(AF_INET6, &six->sin6_addr, at->address, sizeof at->address);
  }
}

static bool address_full(const deai_conns *conns, const conn *of) {
  uint64_t most = (uint64_t)conns->options.per_address * (of->loopback ? DEAI_CONNS_LOOPBACK : 1);
  uint64_t count = 0;
  if (most == 0) return false;
  for (const conn *at = conns->list; at != NULL; at = at->next)
    count += at != of && at->adopted && !at->ended && strcmp(at->address, of->address) == 0;
  return count >= most;
}

static void adopt(conn *at) {
  static const char refusal[] =
      "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nConnection: close\r\n"
      "Content-Type: text/plain\r\nContent-Length: 70\r\n\r\n"
      "expected fewer connections from one address; close some, or reuse one\n";
  deai_conns *conns = at->conns;
  struct bufferevent *bev = at->bev;
  at->fd = bufferevent_getfd(bev);
  at->inode = inode_of(at->fd);
  address_of(at);
  if (address_full(conns, at)) sweep(conns); /* at stays: it is not adopted yet */
  bool full = address_full(conns, at);
  at->adopted = true;
  if (full) {
    deai_log(DEAI_LEVEL_DEBUG, "http", "%s has too many connections", at->address);
    end(at, refusal);
  }
  (void)bufferevent_decref(bev);
}

/* scan looks for the empty line behind a header; false = it did not come yet. */
static bool scan(conn *at, const char *bytes, size_t len) {
  for (size_t i = 0; i < len; i++) {
    if (bytes[i] == '\n') {
      if (at->line_seen && at->line_bytes == 0) return true;
      at->line_seen = at->line_seen || at->line_bytes > 0;
      at->line_bytes = 0;
    } else if (bytes[i] != '\r') {
      at->line_bytes++;
    }
  }
  return false;
}

static void enter(conn *at, conn_state state) {
  at->state = state;
  at->begin_ns = now_ns(at->conns);
  at->line_bytes = 0;
  at->line_seen = false;
}

/* on_input sees what came before evhttp does. */
static void on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *user) {
  conn *at = user;
  char bytes[PEEK_MAX];
  struct evbuffer_ptr from;
  if (info->n_added == 0) return;
  if (at->state == CONN_IDLE) enter(at, CONN_HEADER);
  size_t seen = 0;
  while (at->state == CONN_HEADER && seen < info->n_added) {
    size_t more = info->n_added - seen < sizeof bytes ? info->n_added - seen : sizeof bytes;
    if (evbuffer_ptr_set(input, &from, info->orig_size + seen, EVBUFFER_PTR_SET) != 0) return;
    ev_ssize_t got = evbuffer_copyout_from(input, &from, bytes, more);
    if (got <= 0) return;
    if (scan(at, bytes, (size_t)got)) enter(at, CONN_BODY);
    seen += (size_t)got;
  }
}

struct bufferevent *deai_conns_bev(struct event_base *base, void *user) {
  deai_conns *conns = user;
  conn *made = calloc(1, sizeof *made);
  struct bufferevent *bev =
      made == NULL ? NULL : bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
  if (bev == NULL || evbuffer_add_cb(bufferevent_get_input(bev), on_input, made) == NULL) {
    if (bev != NULL) bufferevent_free(bev);
    free(made);
    return NULL;
  }
  bufferevent_incref(bev);
  made->conns = conns;
  made->bev = bev;
  made->fd = -1;
  conn **last = &conns->list;
  while (*last != NULL)
    last = &(*last)->next;
  *last = made; /* the oldest is first: those that come later are too many */
  conns->count++;
  enter(made, CONN_HEADER);
  if (!conns->adopting) deai_timer_set(conns->tick, 1);
  conns->adopting = true;
  return bev;
}

/* ---- time ---- */

static void check_time(conn *at, uint64_t now) {
  static const char late[] =
      "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
  const deai_conns_options *options = &at->conns->options;
  uint64_t spent_ms = (now - at->begin_ns) / 1000000;
  bool header = at->state == CONN_HEADER && spent_ms >= options->header_ms;
  bool body = at->state == CONN_BODY && spent_ms >= options->body_ms;
  if (!header && !body) return;
  bool silent = header && !at->line_seen && at->line_bytes == 0;
  end(at, silent ? NULL : late);
}

static void on_tick(void *user) {
  deai_conns *conns = user;
  uint64_t now = now_ns(conns);
  conns->adopting = false;
  for (conn *at = conns->list; at != NULL; at = at->next)
    if (!at->adopted) adopt(at); /* may take others out of the list, not this one */
  if (now - conns->swept_ns >= conns->tick_ms * 1000000) {
    sweep(conns);
    for (conn *at = conns->list; at != NULL; at = at->next)
      check_time(at, now);
  }
  if (conns->list != NULL) deai_timer_set(conns->tick, conns->tick_ms);
}

/* ---- what the server says ---- */

static conn *conn_of(const deai_conns *conns, const struct bufferevent *bev) {
  conn *found = NULL; /* the youngest: an older one that was at the same place is closed */
  for (conn *at = conns->list; at != NULL; at = at->next)
    if (at->bev == bev) found = at;
  return found;
}

void deai_conns_busy(deai_conns *conns, const struct bufferevent *bev) {
  conn *at = conn_of(conns, bev);
  if (at != NULL) enter(at, CONN_BUSY);
}

void deai_conns_idle(deai_conns *conns, const struct bufferevent *bev) {
  conn *at = conn_of(conns, bev);
  if (at != NULL) enter(at, CONN_IDLE);
}

uint32_t deai_conns_count(deai_conns *conns) {
  sweep(conns);
  return conns->count;
}

/* ---- life ---- */

deai_conns *deai_conns_new(const deai_conns_options *options) {
  deai_conns *conns = calloc(1, sizeof *conns);
  if (conns == NULL) return NULL;
  conns->options = *options;
  uint32_t least = options->header_ms < options->body_ms ? options->header_ms : options->body_ms;
  conns->tick_ms = least / 4 < TICK_MS ? least / 4 + 1 : TICK_MS;
  conns->tick = deai_timer_new(options->loop, on_tick, conns);
  if (conns->tick != NULL) return conns;
  free(conns);
  return NULL;
}

void deai_conns_free(deai_conns *conns) {
  if (conns == NULL) return;
  while (conns->list != NULL) {
    conn *gone = conns->list;
    conns->list = gone->next;
    if (!gone->adopted) (void)bufferevent_decref(gone->bev);
    free(gone);
  }
  deai_timer_free(conns->tick);
  free(conns);
}
