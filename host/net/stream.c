#include "stream.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include <stdlib.h>

#include "host/base/banned.h"

#define FRAMES_A_TURN 64u

struct deai_stream {
  struct bufferevent *bev;
  deai_link *link;
  deai_link_ops owner_ops;
  void *owner;
  uint64_t body_max;
  deai_loop *loop;
  deai_timer *closing;
  bool closed;
  bool more_asked;
  bool gone; /* freed while a task was on its way */
};

static void stream_over(deai_stream *stream, const char *why) {
  if (stream->closed) return;
  stream->closed = true;
  (void)bufferevent_disable(stream->bev, EV_READ | EV_WRITE);
  stream->owner_ops.closed(stream->owner, why);
}

static void stream_send(void *user, const deai_frame *frame, int32_t attachment) {
  (void)attachment; /* the link refuses attachments on this kind of carrier */
  deai_stream *stream = user;
  uint8_t header[DEAI_FRAME_HEADER];
  if (stream->closed) return;
  deai_frame_header(frame, header);
  struct evbuffer *out = bufferevent_get_output(stream->bev);
  bool failed = evbuffer_add(out, header, sizeof header) != 0;
  if (frame->head.len > 0)
    failed = evbuffer_add(out, frame->head.ptr, (size_t)frame->head.len) != 0 || failed;
  if (frame->body.len > 0)
    failed = evbuffer_add(out, frame->body.ptr, (size_t)frame->body.len) != 0 || failed;
  if (failed) stream_over(stream, "no memory for a frame");
}

static uint64_t stream_backlog(void *user) {
  deai_stream *stream = user;
  return evbuffer_get_length(bufferevent_get_output(stream->bev));
}

/* frame_next takes one whole frame off the input; false when none is there or the link is over. */
static bool frame_next(deai_stream *stream, struct evbuffer *in) {
  uint8_t start[4];
  const char *why = "";
  if (stream->closed || evbuffer_copyout(in, start, sizeof start) < (ev_ssize_t)sizeof start)
    return false;
  uint64_t size = deai_frame_size(start, stream->body_max);
  if (size == 0) {
    stream_over(stream, "expected a frame within its limits, found a longer one");
    return false;
  }
  if (evbuffer_get_length(in) < size) return false;
  uint8_t *bytes = evbuffer_pullup(in, (ev_ssize_t)size);
  deai_frame frame;
  if (bytes == NULL ||
      deai_frame_read(deai_bytes_of(bytes, size), stream->body_max, &frame, &why) != DEAI_OK) {
    stream_over(stream, why);
    return false;
  }
  if ((frame.flags & (DEAI_FRAME_ARENA | DEAI_FRAME_ATTACHMENT)) != 0) {
    stream_over(stream, "expected no shared memory or descriptor on this carrier");
    return false;
  }
  deai_link_input(stream->link, &frame, -1);
  (void)evbuffer_drain(in, (size_t)size);
  return true;
}

static void on_read(struct bufferevent *bev, void *user);

static void more_task(void *user) {
  deai_stream *stream = user;
  stream->more_asked = false;
  if (stream->gone) {
    free(stream);
    return;
  }
  on_read(stream->bev, stream);
}

static void on_read(struct bufferevent *bev, void *user) {
  deai_stream *stream = user;
  struct evbuffer *in = bufferevent_get_input(bev);
  for (uint32_t turn = 0; turn < FRAMES_A_TURN; turn++) {
    if (!frame_next(stream, in)) return;
  }
  if (stream->more_asked) return;
  stream->more_asked = true;
  deai_loop_task(stream->loop, more_task, stream);
}

static void on_write(struct bufferevent *bev, void *user) {
  (void)bev;
  deai_stream *stream = user;
  if (stream->closing != NULL && stream_backlog(stream) == 0) {
    stream_over(stream, "closed");
    return;
  }
  if (!stream->closed) deai_link_writable(stream->link);
}

static void on_event(struct bufferevent *bev, short what, void *user) {
  (void)bev;
  deai_stream *stream = user;
  if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT)) != 0)
    stream_over(stream, "the connection was closed by the other side");
}

static void link_closed(void *user, const char *why) {
  stream_over(user, why);
}

/* What is the owner's business is passed on under the owner's user. */
static deai_call *pass_open(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                            void *end_user) {
  deai_stream *stream = user;
  return stream->owner_ops.open(stream->owner, spec, ops, end_user);
}

static int32_t pass_hello(void *user, const deai_hello_head *hello) {
  deai_stream *stream = user;
  return stream->owner_ops.hello == NULL ? DEAI_OK : stream->owner_ops.hello(stream->owner, hello);
}

static void pass_update(void *user, deai_str topic, deai_bytes value) {
  deai_stream *stream = user;
  stream->owner_ops.update(stream->owner, topic, value);
}

static void pass_voucher(void *user, deai_call *call, const deai_signed *voucher) {
  deai_stream *stream = user;
  stream->owner_ops.voucher(stream->owner, call, voucher);
}

static int32_t pass_voucher_of(void *user, deai_call *call, deai_signed *voucher_out) {
  deai_stream *stream = user;
  return stream->owner_ops.voucher_of(stream->owner, call, voucher_out);
}

static void pass_beat(void *user) {
  deai_stream *stream = user;
  stream->owner_ops.beat(stream->owner);
}

deai_stream *deai_stream_new(struct bufferevent *bev, const deai_link_options *options,
                             const deai_link_ops *ops, void *user) {
  deai_stream *stream = calloc(1, sizeof *stream);
  deai_link_ops link_ops = {.send = stream_send,
                            .backlog = stream_backlog,
                            .open = pass_open,
                            .hello = pass_hello,
                            .update = ops->update != NULL ? pass_update : NULL,
                            .beat = ops->beat != NULL ? pass_beat : NULL,
                            .voucher = ops->voucher != NULL ? pass_voucher : NULL,
                            .voucher_of = ops->voucher_of != NULL ? pass_voucher_of : NULL,
                            .closed = link_closed};
  if (stream != NULL) stream->link = deai_link_new(options, &link_ops, stream);
  if (stream == NULL || stream->link == NULL) {
    bufferevent_free(bev);
    free(stream);
    return NULL;
  }
  stream->bev = bev;
  stream->loop = options->loop;
  stream->owner_ops = *ops;
  stream->owner = user;
  stream->body_max = options->body_max;
  bufferevent_setcb(bev, on_read, on_write, on_event, stream);
  bufferevent_setwatermark(bev, EV_WRITE, DEAI_LINK_BACKLOG_MAX / 2, 0);
  bufferevent_setwatermark(bev, EV_READ, 0,
                           (size_t)(DEAI_FRAME_HEADER + DEAI_HEAD_MAX + options->body_max));
  (void)bufferevent_enable(bev, EV_READ | EV_WRITE);
  return stream;
}

deai_link *deai_stream_link(deai_stream *stream) {
  return stream->link;
}

static void on_closing(void *user) {
  stream_over(user, "closed");
}

void deai_stream_close(deai_stream *stream) {
  if (stream->closed || stream->closing != NULL) return;
  bufferevent_setwatermark(stream->bev, EV_WRITE, 0, 0);
  stream->closing = deai_timer_new(stream->loop, on_closing, stream);
  if (stream->closing == NULL || stream_backlog(stream) == 0)
    stream_over(stream, "closed");
  else
    deai_timer_set(stream->closing, 1000);
}

void deai_stream_free(deai_stream *stream) {
  if (stream == NULL) return;
  stream->closed = true;
  deai_link_free(stream->link);
  deai_timer_free(stream->closing);
  bufferevent_free(stream->bev);
  if (stream->more_asked)
    stream->gone = true;
  else
    free(stream);
}
