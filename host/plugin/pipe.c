#include "pipe.h"

#include "host/base/assertion.h"
#include "host/base/log.h"

#include <event2/event.h>

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/base/banned.h"

#define ARENA_HEADER  4096u
#define ARENA_BYTES   (ARENA_HEADER + DEAI_PIPE_RING)
#define MESSAGE_MAX   (DEAI_FRAME_HEADER + DEAI_HEAD_MAX + DEAI_PIPE_BODY_MAX)
#define READS_A_TURN  64u
#define SHARE_ALIGN   64u
#define FDS_A_MESSAGE 8u /* room for surplus descriptors, which are closed */

typedef struct message {
  struct message *next;
  int attachment;
  uint64_t len;
  uint8_t bytes[];
} message;

typedef struct arena {
  int fd;
  uint8_t *base; /* NULL = not there */
} arena;

struct deai_pipe {
  deai_link *link;
  deai_link_ops owner_ops;
  void *owner;
  int fd;
  struct event *readable;
  struct event *writable;
  message *out_first;
  message **out_last;
  uint64_t out_bytes;
  arena mine;
  arena theirs;
  uint64_t written; /* of my ring, ever */
  uint64_t read;    /* of their ring, ever */
  bool closed;
  uint8_t *room; /* MESSAGE_MAX bytes to read into */
};

static void arena_close(arena *at) {
  if (at->base != NULL) (void)munmap(at->base, ARENA_BYTES);
  if (at->fd >= 0) (void)close(at->fd);
  *at = (arena){.fd = -1};
}

static int32_t arena_make(arena *out) {
  *out = (arena){.fd = memfd_create("deai-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  if (out->fd < 0 || ftruncate(out->fd, ARENA_BYTES) != 0 ||
      fcntl(out->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return DEAI_EIO;
  void *base = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, out->fd, 0);
  if (base == MAP_FAILED) return DEAI_ENOMEM;
  out->base = base;
  return DEAI_OK;
}

/* arena_take maps the other side's arena after checking that it cannot shrink under us. */
static int32_t arena_take(arena *out, int fd) {
  int seals = fcntl(fd, F_GET_SEALS);
  off_t size = lseek(fd, 0, SEEK_END);
  *out = (arena){.fd = fd};
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || size != ARENA_BYTES) return DEAI_EINVAL;
  void *base = mmap(NULL, ARENA_BYTES, PROT_READ, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) return DEAI_ENOMEM;
  out->base = base;
  return DEAI_OK;
}

static _Atomic uint64_t *arena_mark(const arena *at) {
  return (_Atomic uint64_t *)(void *)at->base;
}

/* ring_put copies body into my ring; false when there is no room for it now. */
static bool ring_put(deai_pipe *pipe, deai_bytes body, uint8_t out[16]) {
  if (pipe->mine.base == NULL || pipe->theirs.base == NULL) return false;
  uint64_t size = (body.len + SHARE_ALIGN - 1) / SHARE_ALIGN * SHARE_ALIGN;
  uint64_t seen = atomic_load_explicit(arena_mark(&pipe->theirs), memory_order_acquire);
  uint64_t at = pipe->written % DEAI_PIPE_RING;
  uint64_t skip = at + size > DEAI_PIPE_RING ? DEAI_PIPE_RING - at : 0;
  if (seen > pipe->written || pipe->written + skip + size - seen > DEAI_PIPE_RING) return false;
  pipe->written += skip;
  uint64_t offset = pipe->written % DEAI_PIPE_RING;
  memcpy(pipe->mine.base + ARENA_HEADER + offset, body.ptr, (size_t)body.len);
  pipe->written += size;
  memcpy(out, &offset, 8);
  memcpy(out + 8, &body.len, 8);
  return true;
}

/* ring_get copies a body out of their ring into the room behind the frame. */
static int32_t ring_get(deai_pipe *pipe, deai_bytes place, uint8_t *out, uint64_t *len_out) {
  uint64_t offset = 0;
  uint64_t len = 0;
  if (place.len != 16 || pipe->theirs.base == NULL || pipe->mine.base == NULL) return DEAI_EINVAL;
  memcpy(&offset, place.ptr, 8);
  memcpy(&len, place.ptr + 8, 8);
  if (len > DEAI_PIPE_BODY_MAX || offset >= DEAI_PIPE_RING || len > DEAI_PIPE_RING - offset)
    return DEAI_EINVAL;
  memcpy(out, pipe->theirs.base + ARENA_HEADER + offset, (size_t)len);
  uint64_t at = pipe->read % DEAI_PIPE_RING;
  uint64_t step = offset >= at ? offset - at : DEAI_PIPE_RING - at + offset;
  pipe->read += step + (len + SHARE_ALIGN - 1) / SHARE_ALIGN * SHARE_ALIGN;
  atomic_store_explicit(arena_mark(&pipe->mine), pipe->read, memory_order_release);
  *len_out = len;
  return DEAI_OK;
}

static void pipe_close(deai_pipe *pipe, const char *why) {
  if (pipe->closed) return;
  pipe->closed = true;
  (void)event_del(pipe->readable);
  (void)event_del(pipe->writable);
  pipe->owner_ops.closed(pipe->owner, why);
}

static ssize_t message_send(deai_pipe *pipe, const message *out) {
  union {
    struct cmsghdr header;
    uint8_t room[CMSG_SPACE(sizeof(int))];
  } control = {0};
  struct iovec part = {(void *)(uintptr_t)out->bytes, (size_t)out->len};
  struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};
  if (out->attachment >= 0) {
    head.msg_control = control.room;
    head.msg_controllen = sizeof control.room;
    struct cmsghdr *item = CMSG_FIRSTHDR(&head);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(item), &out->attachment, sizeof(int));
  }
  return sendmsg(pipe->fd, &head, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void message_free(message *gone) {
  if (gone->attachment >= 0) (void)close(gone->attachment);
  free(gone);
}

static void pipe_flush(deai_pipe *pipe) {
  while (pipe->out_first != NULL && !pipe->closed) {
    message *next = pipe->out_first;
    ssize_t sent = message_send(pipe, next);
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)) {
      (void)event_add(pipe->writable, NULL);
      return;
    }
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return; /* the other side is gone: reading says so */
    pipe->out_bytes -= next->len;
    pipe->out_first = next->next;
    if (pipe->out_first == NULL) pipe->out_last = &pipe->out_first;
    message_free(next);
  }
}

static void pipe_send(void *user, const deai_frame *given, int32_t attachment) {
  deai_pipe *pipe = user;
  deai_frame frame = *given;
  uint8_t place[16];
  if (pipe->closed) return;
  if (frame.body.len >= DEAI_PIPE_SHARE_MIN && ring_put(pipe, frame.body, place)) {
    frame.body = deai_bytes_of(place, sizeof place);
    frame.flags |= DEAI_FRAME_ARENA;
  }
  uint64_t len = DEAI_FRAME_HEADER + frame.head.len + frame.body.len;
  message *out = malloc(sizeof *out + (size_t)len);
  DEAI_ASSERT(out != NULL); /* a lost frame would lose an end of a call */
  *out = (message){.attachment = -1, .len = len};
  if (attachment >= 0) out->attachment = fcntl(attachment, F_DUPFD_CLOEXEC, 3);
  if (frame.kind == DEAI_FRAME_HELLO && pipe->mine.fd >= 0)
    out->attachment = fcntl(pipe->mine.fd, F_DUPFD_CLOEXEC, 3);
  deai_frame_header(&frame, out->bytes);
  if (frame.head.len > 0)
    memcpy(out->bytes + DEAI_FRAME_HEADER, frame.head.ptr, (size_t)frame.head.len);
  if (frame.body.len > 0)
    memcpy(out->bytes + DEAI_FRAME_HEADER + frame.head.len, frame.body.ptr, (size_t)frame.body.len);
  *pipe->out_last = out;
  pipe->out_last = &out->next;
  pipe->out_bytes += len;
  pipe_flush(pipe);
}

static uint64_t pipe_backlog(void *user) {
  deai_pipe *pipe = user;
  return pipe->out_bytes;
}

static void on_writable(evutil_socket_t fd, short what, void *user) {
  (void)fd, (void)what;
  deai_pipe *pipe = user;
  pipe_flush(pipe);
  if (!pipe->closed && pipe->out_bytes < DEAI_LINK_BACKLOG_MAX / 2) deai_link_writable(pipe->link);
}

/* attachment_of takes the first descriptor of a message and closes all others. */
static int attachment_of(struct msghdr *head) {
  int first = -1;
  for (struct cmsghdr *item = CMSG_FIRSTHDR(head); item != NULL; item = CMSG_NXTHDR(head, item)) {
    if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd = -1;
      memcpy(&fd, CMSG_DATA(item) + i * sizeof(int), sizeof(int));
      if (first < 0)
        first = fd;
      else
        (void)close(fd);
    }
  }
  return first;
}

static int32_t message_recv(deai_pipe *pipe, uint64_t *len_out, int *attachment_out) {
  union {
    struct cmsghdr header;
    uint8_t room[CMSG_SPACE(sizeof(int) * FDS_A_MESSAGE)];
  } control;
  struct iovec part = {pipe->room, MESSAGE_MAX};
  struct msghdr head = {.msg_iov = &part,
                        .msg_iovlen = 1,
                        .msg_control = control.room,
                        .msg_controllen = sizeof control.room};
  ssize_t got = recvmsg(pipe->fd, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) return errno == EAGAIN || errno == EINTR ? DEAI_EAGAIN : DEAI_EPLUGIN_DIED;
  *attachment_out = attachment_of(&head);
  if (got == 0) return DEAI_EPLUGIN_DIED;
  *len_out = (head.msg_flags & MSG_TRUNC) != 0 ? 0 : (uint64_t)got;
  return DEAI_OK;
}

/* pipe_input hands one message on; false with a reason when it breaks a rule. */
static bool pipe_input(deai_pipe *pipe, uint64_t len, int attachment, const char **why) {
  deai_frame frame;
  if (deai_frame_read(deai_bytes_of(pipe->room, len), DEAI_PIPE_BODY_MAX, &frame, why) != DEAI_OK) {
    if (attachment >= 0) (void)close(attachment);
    return false;
  }
  uint8_t *body = NULL;
  if ((frame.flags & DEAI_FRAME_ARENA) != 0) {
    body = malloc(DEAI_PIPE_BODY_MAX);
    if (body == NULL || ring_get(pipe, frame.body, body, &frame.body.len) != DEAI_OK) {
      free(body);
      if (attachment >= 0) (void)close(attachment);
      *why = "a body lies outside its arena";
      return false;
    }
    frame.body.ptr = body;
    frame.flags = (uint8_t)(frame.flags & ~DEAI_FRAME_ARENA);
  }
  if (frame.kind == DEAI_FRAME_HELLO && attachment >= 0 && pipe->theirs.fd < 0) {
    if (arena_take(&pipe->theirs, attachment) != DEAI_OK) {
      *why = "expected a sealed arena with HELLO";
      return false;
    }
    attachment = -1;
  }
  deai_link_input(pipe->link, &frame, attachment);
  free(body);
  return true;
}

static void on_readable(evutil_socket_t fd, short what, void *user) {
  (void)fd, (void)what;
  deai_pipe *pipe = user;
  for (uint32_t turn = 0; turn < READS_A_TURN && !pipe->closed; turn++) {
    uint64_t len = 0;
    int attachment = -1;
    const char *why = "the other side sent a malformed frame";
    int32_t status = message_recv(pipe, &len, &attachment);
    if (status == DEAI_EAGAIN) return;
    if (status != DEAI_OK) {
      if (attachment >= 0) (void)close(attachment);
      pipe_close(pipe, "the process ended");
      return;
    }
    if (!pipe_input(pipe, len, attachment, &why)) pipe_close(pipe, why);
  }
}

static void link_closed(void *user, const char *why) {
  pipe_close(user, why);
}

/* The link knows the pipe as its user; what is the owner's business is passed on. */
static deai_call *pipe_open(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                            void *end_user) {
  deai_pipe *pipe = user;
  return pipe->owner_ops.open(pipe->owner, spec, ops, end_user);
}

static int32_t pipe_got_hello(void *user, const deai_hello_head *hello) {
  deai_pipe *pipe = user;
  return pipe->owner_ops.hello == NULL ? DEAI_OK : pipe->owner_ops.hello(pipe->owner, hello);
}

static void pipe_got_update(void *user, deai_str topic, deai_bytes value) {
  deai_pipe *pipe = user;
  if (pipe->owner_ops.update != NULL) pipe->owner_ops.update(pipe->owner, topic, value);
}

static void pipe_got_log(void *user, uint64_t level, deai_str text) {
  deai_pipe *pipe = user;
  if (pipe->owner_ops.log != NULL) pipe->owner_ops.log(pipe->owner, level, text);
}

static void pipe_got_beat(void *user) {
  deai_pipe *pipe = user;
  if (pipe->owner_ops.beat != NULL) pipe->owner_ops.beat(pipe->owner);
}

static void pipe_got_stop(void *user) {
  deai_pipe *pipe = user;
  if (pipe->owner_ops.stop != NULL) pipe->owner_ops.stop(pipe->owner);
}

static const deai_link_ops pipe_link_ops = {
    .send = pipe_send,
    .backlog = pipe_backlog,
    .open = pipe_open,
    .hello = pipe_got_hello,
    .update = pipe_got_update,
    .log = pipe_got_log,
    .beat = pipe_got_beat,
    .stop = pipe_got_stop,
    .closed = link_closed,
};

deai_pipe *deai_pipe_new(int fd, const deai_link_options *options, const deai_link_ops *ops,
                         void *user) {
  deai_pipe *pipe = calloc(1, sizeof *pipe);
  if (pipe == NULL) {
    (void)close(fd);
    return NULL;
  }
  pipe->fd = fd;
  pipe->mine.fd = -1;
  pipe->theirs.fd = -1;
  pipe->owner_ops = *ops;
  pipe->owner = user;
  pipe->out_last = &pipe->out_first;
  pipe->room = malloc(MESSAGE_MAX);
  int room = 1 << 20;
  (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room); /* a smaller one also works */
  struct event_base *base = deai_loop_base(options->loop);
  pipe->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, pipe);
  pipe->writable = event_new(base, fd, EV_WRITE, on_writable, pipe);
  deai_link_options link_options = *options;
  link_options.body_max = DEAI_PIPE_BODY_MAX;
  pipe->link = deai_link_new(&link_options, &pipe_link_ops, pipe);
  if (pipe->room == NULL || pipe->readable == NULL || pipe->writable == NULL ||
      pipe->link == NULL || arena_make(&pipe->mine) != DEAI_OK ||
      event_add(pipe->readable, NULL) != 0) {
    deai_pipe_free(pipe);
    return NULL;
  }
  return pipe;
}

deai_link *deai_pipe_link(deai_pipe *pipe) {
  return pipe->link;
}

void deai_pipe_hello(deai_pipe *pipe, const deai_hello_head *hello) {
  deai_link_hello(pipe->link, hello);
}

void deai_pipe_free(deai_pipe *pipe) {
  if (pipe == NULL) return;
  pipe->closed = true;
  deai_link_free(pipe->link);
  while (pipe->out_first != NULL) {
    message *next = pipe->out_first;
    pipe->out_first = next->next;
    message_free(next);
  }
  if (pipe->readable != NULL) event_free(pipe->readable);
  if (pipe->writable != NULL) event_free(pipe->writable);
  arena_close(&pipe->mine);
  arena_close(&pipe->theirs);
  (void)close(pipe->fd);
  free(pipe->room);
  free(pipe);
}
