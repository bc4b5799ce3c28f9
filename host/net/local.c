#include "local.h"

#include "host/base/log.h"
#include "host/net/stream.h"

#include <event2/bufferevent.h>
#include <event2/listener.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/base/banned.h"

typedef struct connection {
  struct connection *next;
  deai_local *local;
  deai_stream *stream;
  bool over;
} connection;

struct deai_local {
  deai_loop *loop;
  deai_open_fn *open;
  void *user;
  struct evconnlistener *listener;
  connection *list;
  uint32_t count;
  char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static void connection_free(connection *gone) {
  deai_local *local = gone->local;
  connection **at = &local->list;
  while (*at != gone)
    at = &(*at)->next;
  *at = gone->next;
  local->count--;
  deai_stream_free(gone->stream);
  free(gone);
}

static void sweep_task(void *user) {
  deai_local *local = user;
  connection *at = local->list;
  while (at != NULL) {
    connection *next = at->next;
    if (at->over) connection_free(at);
    at = next;
  }
}

static void on_closed(void *user, const char *why) {
  (void)why;
  connection *item = user;
  item->over = true;
  deai_loop_task(item->local->loop, sweep_task, item->local);
}

static deai_call *on_open(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                          void *end_user) {
  connection *item = user;
  return item->local->open(item->local->user, spec, ops, end_user);
}

static const deai_link_ops connection_ops = {.open = on_open, .closed = on_closed};

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int len, void *user) {
  (void)listener, (void)address, (void)len;
  deai_local *local = user;
  connection *item = local->count < DEAI_LOCAL_MAX ? calloc(1, sizeof *item) : NULL;
  struct bufferevent *bev =
      item == NULL ? NULL
                   : bufferevent_socket_new(deai_loop_base(local->loop), fd, BEV_OPT_CLOSE_ON_FREE);
  if (bev == NULL) {
    free(item);
    (void)close(fd);
    return;
  }
  deai_link_options options = {.loop = local->loop,
                               .kind = DEAI_LINK_CLI,
                               .body_max = DEAI_BODY_MAX,
                               .caller_kind = DEAI_CALLER_CLI,
                               .caller_class = DEAI_CLASS_LOCAL,
                               .lost_status = DEAI_ECANCELLED,
                               .lost_why = "the command line is gone"};
  item->local = local;
  item->stream = deai_stream_new(bev, &options, &connection_ops, item);
  if (item->stream == NULL) {
    free(item);
    return;
  }
  item->next = local->list;
  local->list = item;
  local->count++;
  deai_hello_head hello = {0};
  deai_link_hello(deai_stream_link(item->stream), &hello);
}

static int32_t socket_address(const char *path, struct sockaddr_un *out) {
  memset(out, 0, sizeof *out);
  out->sun_family = AF_UNIX;
  if (strlen(path) >= sizeof out->sun_path) return DEAI_ETOOLARGE;
  memcpy(out->sun_path, path, strlen(path) + 1);
  return DEAI_OK;
}

static int socket_listen(const struct sockaddr_un *address) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  struct stat info; /* the data folder's lock says that nobody else uses a socket found here */
  if (lstat(address->sun_path, &info) == 0 && S_ISSOCK(info.st_mode))
    (void)unlink(address->sun_path);
  mode_t before = umask(0177);
  int bound = bind(fd, (const struct sockaddr *)address, sizeof *address);
  (void)umask(before);
  if (bound == 0 && listen(fd, 64) == 0) return fd;
  (void)close(fd);
  return -1;
}

deai_local *deai_local_new(deai_loop *loop, const char *path, deai_open_fn *open, void *user,
                           char *err, uint32_t err_cap) {
  struct sockaddr_un address;
  if (socket_address(path, &address) != DEAI_OK) {
    (void)deai_err(err, err_cap, DEAI_ETOOLARGE,
                   "%s: expected a socket path below %zu bytes; choose a shorter `data`", path,
                   sizeof address.sun_path);
    return NULL;
  }
  deai_local *local = calloc(1, sizeof *local);
  int fd = local == NULL ? -1 : socket_listen(&address);
  if (fd < 0) {
    (void)deai_err(err, err_cap, DEAI_EIO, "%s: cannot be listened on: %s", path, strerror(errno));
    free(local);
    return NULL;
  }
  local->loop = loop;
  local->open = open;
  local->user = user;
  (void)snprintf(local->path, sizeof local->path, "%s", path);
  local->listener = evconnlistener_new(deai_loop_base(loop), on_accept, local,
                                       LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
  if (local->listener == NULL) {
    (void)close(fd);
    free(local);
    return NULL;
  }
  return local;
}

void deai_local_free(deai_local *local) {
  if (local == NULL) return;
  evconnlistener_free(local->listener);
  (void)unlink(local->path);
  while (local->list != NULL)
    connection_free(local->list);
  deai_loop_drain(local->loop); /* a sweep may be on its way */
  free(local);
}

int deai_local_dial(const char *path) {
  struct sockaddr_un address;
  if (socket_address(path, &address) != DEAI_OK) {
    errno = ENAMETOOLONG;
    return -1;
  }
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) return fd;
  int saved = errno;
  (void)close(fd);
  errno = saved;
  return -1;
}
