/* Fuzz target of the frame codec and of a link: the input is the byte stream of a hostile member.
   The first byte chooses the kind of link (bits 1 and 2), 4 this side dialled, 8 no HELLO of the
   other side, 16 the transport is full, 32 every kind of frame is served, 64 our call has all that
   a call can have, 128 our call is cancelled; frames follow. A link must survive them all, call
   closed at most once, and give everything back. */
#include "deai/contracts/wire.h"
#include "host/base/buffer.h"
#include "host/link.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

#define SERVED_MAX 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct served {
  deai_call *call;
  uint32_t parts;
} served;

typedef struct node {
  deai_loop *loop;
  uint32_t closed;
  bool full;
  uint32_t served_count;
  served served[SERVED_MAX];
} node;

static void must(bool condition) {
  if (!condition) abort();
}

static void on_send(void *user, const deai_frame *frame, int32_t attachment) {
  (void)user, (void)attachment;
  uint8_t header[DEAI_FRAME_HEADER];
  deai_frame_header(frame, header);
  must(deai_frame_size(header, DEAI_PEER_BODY_MAX) ==
       DEAI_FRAME_HEADER + frame->head.len + frame->body.len);
}

static uint64_t on_backlog(void *user) {
  const node *at = user;
  return at->full ? DEAI_LINK_BACKLOG_MAX + 1 : 0;
}

/* Every third part is held once; an END is answered with an END, anything else with a part. */
static int32_t served_part(void *user, const deai_part *part) {
  served *at = user;
  if (++at->parts % 3 == 0) return DEAI_EAGAIN;
  if (part->attachment >= 0) (void)close(part->attachment);
  deai_part answer = {.size = (uint32_t)sizeof answer,
                      .flags = part->flags & DEAI_PART_END,
                      .attachment = -1,
                      .body = part->body,
                      .buffer = part->buffer};
  return deai_call_send(at->call, DEAI_SIDE_CALLEE, &answer) == DEAI_EAGAIN ? DEAI_EAGAIN : DEAI_OK;
}

static void served_cancel(void *user, int32_t status) {
  served *at = user;
  if (status == DEAI_ECANCELLED) deai_call_fail(at->call, status, "gone");
}

static void served_closed(void *user) {
  served *at = user;
  at->call = NULL;
}

static const deai_end_ops served_ops = {
    .part = served_part, .cancel = served_cancel, .closed = served_closed};

static deai_call *on_open(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                          void *end_user) {
  node *at = user;
  deai_call *call = deai_call_new(at->loop, spec, ops, end_user);
  must(call != NULL);
  if (at->served_count == SERVED_MAX) {
    deai_call_fail(call, DEAI_EBUSY, "full");
    return call;
  }
  served *end = &at->served[at->served_count++];
  *end = (served){.call = call};
  deai_call_attach(call, &served_ops, end);
  return call;
}

static void on_closed(void *user, const char *why) {
  node *at = user;
  must(why != NULL && why[0] != 0);
  must(++at->closed == 1);
}

static void on_update(void *user, deai_str topic, deai_bytes value) {
  (void)user, (void)topic, (void)value;
}

static void on_voucher(void *user, deai_call *call, const deai_signed *voucher) {
  (void)user, (void)voucher;
  must(deai_call_about(call) != NULL);
}

static int32_t on_hello(void *user, const deai_hello_head *hello) {
  (void)user;
  return hello->v.count > 8 ? DEAI_EVERSION : DEAI_OK;
}

static void on_log(void *user, uint64_t level, deai_str text) {
  (void)user;
  must(level <= 4 && text.len <= 4096);
}

static void on_plain(void *user) {
  (void)user;
}

static int32_t voucher_of(void *user, deai_call *call, deai_signed *voucher_out) {
  (void)user, (void)call;
  *voucher_out = (deai_signed){.body = deai_bytes_of("v", 1)};
  return 1;
}

static const deai_link_ops link_ops = {.send = on_send,
                                       .backlog = on_backlog,
                                       .open = on_open,
                                       .update = on_update,
                                       .voucher = on_voucher,
                                       .closed = on_closed};

static const deai_link_ops full_ops = {.send = on_send,
                                       .backlog = on_backlog,
                                       .open = on_open,
                                       .hello = on_hello,
                                       .update = on_update,
                                       .log = on_log,
                                       .beat = on_plain,
                                       .stop = on_plain,
                                       .voucher = on_voucher,
                                       .voucher_of = voucher_of,
                                       .closed = on_closed};

static int32_t caller_part(void *user, const deai_part *part) {
  (void)user;
  if (part->attachment >= 0) (void)close(part->attachment);
  return DEAI_OK;
}

static void caller_closed(void *user) {
  bool *closed = user;
  must(!*closed);
  *closed = true;
}

static const deai_end_ops caller_ops = {.part = caller_part, .closed = caller_closed};

/* call_out gives the other side a call to answer. */
static deai_call *call_out(node *at, deai_link *link, bool rich, bool *closed) {
  static const uint8_t key[DEAI_KEY_BYTES];
  static const uint8_t body[100];
  deai_call_spec spec = {.service = deai_str_of("s"), .method = deai_str_of("m"), .time_ms = 60000};
  deai_part part = {.size = (uint32_t)sizeof part, .attachment = -1};
  if (rich) {
    spec.job = deai_bytes_of(key, DEAI_ID_BYTES);
    spec.origin = deai_bytes_of(key, DEAI_ID_BYTES);
    spec.avoid = deai_bytes_of(key, DEAI_KEY_BYTES);
    spec.provider = deai_bytes_of(key, DEAI_KEY_BYTES);
    spec.price_max = 7;
    spec.units = 9;
    spec.flags = DEAI_CALL_AWAY;
    part.args = deai_bytes_of("\x80", 1);
    part.body = deai_bytes_of(body, sizeof body);
  }
  deai_call *call = deai_call_new(at->loop, &spec, &caller_ops, closed);
  must(call != NULL);
  if (deai_link_serve(link, call) != DEAI_OK) deai_call_fail(call, DEAI_EPEER_LOST, "lost");
  (void)!deai_call_send(call, DEAI_SIDE_CALLER, &part);
  return call;
}

/* talk says everything that this side can say by itself. */
static void talk(deai_link *link, deai_call *call, bool alive) {
  deai_signed voucher = {.body = deai_bytes_of("w", 1)};
  deai_link_class(link, DEAI_CLASS_GUEST);
  deai_link_update(link, deai_str_of("t"), deai_bytes_of("\x80", 1));
  deai_link_log(link, 1, deai_str_of("said"));
  deai_link_beat(link);
  if (alive) deai_link_pay(link, call, &voucher);
  must(deai_link_tickets(link) <= DEAI_TICKETS_MAX + 1);
}

/* resume_all takes what was held. */
static void resume_all(node *at) {
  for (uint32_t i = 0; i < at->served_count; i++)
    if (at->served[i].call != NULL) deai_call_resume(at->served[i].call, DEAI_SIDE_CALLEE);
}

/* feed cuts the input into frames as a stream carrier does. */
static void feed(node *at, deai_link *link, const uint8_t *data, size_t size) {
  size_t from = 0;
  while (size - from >= 4 && at->closed == 0) {
    const char *why = NULL;
    deai_frame frame;
    uint64_t len = deai_frame_size(data + from, DEAI_PEER_BODY_MAX);
    if (len == 0 || len > size - from) return;
    if (deai_frame_read(deai_bytes_of(data + from, len), DEAI_PEER_BODY_MAX, &frame, &why) !=
        DEAI_OK) {
      must(why != NULL);
      return;
    }
    deai_link_input(link, &frame, -1);
    if (frame.ticket % 4 != 0) deai_loop_drain(at->loop);
    if (frame.ticket % 4 == 2) resume_all(at);
    from += (size_t)len;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const deai_link_kind kinds[] = {DEAI_LINK_PEER, DEAI_LINK_TO_CHILD, DEAI_LINK_TO_HOST,
                                         DEAI_LINK_CLI};
  if (size == 0) return 0;
  uint64_t before = deai_buffer_total();
  node at = {.loop = deai_loop_new(deai_platform_system(), 0)};
  must(at.loop != NULL);
  deai_link_options options = {.loop = at.loop,
                               .kind = kinds[data[0] % 4],
                               .dialled = (data[0] & 4) != 0,
                               .body_max = DEAI_PEER_BODY_MAX,
                               .lost_status = DEAI_EPEER_LOST,
                               .lost_why = "lost"};
  at.full = (data[0] & 16) != 0;
  deai_link *link = deai_link_new(&options, (data[0] & 32) != 0 ? &full_ops : &link_ops, &at);
  must(link != NULL);
  deai_hello_head hello = {0};
  bool closed = false;
  deai_link_hello(link, &hello);
  deai_frame first = {.kind = DEAI_FRAME_HELLO,
                      .head = deai_bytes_of("\xa2"
                                            "an`av\x81\x01",
                                            8)};
  if ((data[0] & 8) == 0) deai_link_input(link, &first, -1);
  deai_call *call = call_out(&at, link, (data[0] & 64) != 0, &closed);
  deai_loop_drain(at.loop);
  if ((data[0] & 128) != 0 && !closed) deai_call_cancel(call, DEAI_ECANCELLED);
  feed(&at, link, data + 1, size - 1);
  at.full = false;
  deai_link_writable(link);
  talk(link, call, !closed);
  deai_loop_drain(at.loop);
  deai_link_stop(link);
  deai_link_free(link);
  for (uint32_t i = 0; i < at.served_count; i++) {
    if (at.served[i].call != NULL)
      deai_call_drop(at.served[i].call, DEAI_SIDE_CALLEE, DEAI_EIO, "end");
  }
  deai_loop_drain(at.loop);
  must(closed);
  deai_loop_free(at.loop);
  must(deai_buffer_total() == before);
  return 0;
}
