#include "host/call.h"

#include "deai/contracts/wire.h"
#include "host/base/assertion.h"
#include "host/base/buffer.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/base/banned.h"

typedef struct part_node {
  struct part_node *next;
  deai_part part; /* its bytes lie in room, its body in buffer */
  uint64_t cost;
  uint32_t refs; /* the list, and who delivers it */
  bool counted;  /* its sender was told that it was consumed */
  bool unpaid;   /* taken from a link before it was paid */
  uint8_t room[];
} part_node;

typedef struct stream {
  part_node *first; /* waiting for the receiver */
  part_node **last;
  part_node *kept; /* caller's stream: delivered, kept for a retry */
  part_node **kept_last;
  uint64_t queued_bytes;
  uint32_t queued_parts;
  uint64_t kept_bytes;
  uint32_t kept_parts;
  uint32_t unpaid_parts; /* at the end of the list */
  bool sent_end;
  bool blocked;    /* the sender got DEAI_EAGAIN */
  bool held;       /* the receiver answered DEAI_EAGAIN */
  bool delivering; /* the receiver looks at the first part right now */
} stream;

typedef struct call_end {
  const deai_end_ops *ops; /* NULL = not attached, dropped or closed */
  void *user;
} call_end;

struct deai_call {
  deai_loop *loop;
  deai_call_spec spec;
  uint64_t deadline_ns;
  uint64_t first_ns;
  call_end ends[2];
  stream streams[2]; /* by sending side */
  deai_call_hooks hooks;
  void *hooks_user;
  deai_timer *timer;
  uint32_t refs; /* tasks on their way, and 1 until finished */
  int32_t cancel_status;
  bool deliver_asked;
  bool reopen_asked;
  bool cancelled;   /* the callee is told once */
  bool end_due;     /* cancelled, and its END is not on the way to the caller yet */
  bool keep_parts;  /* a retry is still possible */
  bool caller_done; /* the END was delivered to the caller */
  bool finished;
  uint8_t texts[]; /* what spec points to */
};

static uint64_t part_cost(const deai_part *part) {
  return part->args.len + part->body.len + part->why.len;
}

static void node_drop(part_node *node) {
  if (--node->refs > 0) return;
  if (node->part.attachment >= 0) (void)close(node->part.attachment);
  deai_buffer_drop(node->part.buffer);
  free(node);
}

static deai_bytes room_put(uint8_t **at, deai_bytes bytes) {
  deai_bytes out = {*at, bytes.len};
  if (bytes.len > 0) memcpy(*at, bytes.ptr, (size_t)bytes.len);
  *at += bytes.len;
  return out;
}

static int32_t node_body(part_node *node, const deai_part *part) {
  if (part->body.len == 0) return DEAI_OK;
  if (part->buffer != NULL) {
    node->part.buffer = deai_buffer_keep(part->buffer);
    node->part.body = part->body;
    return DEAI_OK;
  }
  node->part.buffer = deai_buffer_of(part->body);
  if (node->part.buffer == NULL) return DEAI_ENOMEM;
  node->part.body = deai_bytes_of(node->part.buffer->ptr, part->body.len);
  return DEAI_OK;
}

static bool part_fits(const deai_part *part) {
  return part->args.len <= DEAI_HEAD_MAX && part->body.len <= DEAI_BODY_MAX &&
         part->why.len <= DEAI_CALL_WHY_MAX && part->receipt.len <= DEAI_HEAD_MAX &&
         part->others.len <= DEAI_OTHERS_BYTES;
}

static int32_t node_new(const deai_part *part, part_node **node_out) {
  if (!part_fits(part)) return DEAI_ETOOLARGE;
  uint64_t room =
      part->args.len + part->why.len + part->receipt.len + part->provider.len + part->others.len;
  part_node *node = calloc(1, sizeof *node + (size_t)room);
  if (node == NULL) return DEAI_ENOMEM;
  uint8_t *at = node->room;
  node->refs = 1;
  node->part.size = (uint32_t)sizeof node->part;
  node->part.flags = part->flags & DEAI_PART_END;
  node->part.units = part->units;
  node->part.status = part->status;
  node->part.attachment = -1;
  node->part.args = room_put(&at, part->args);
  deai_bytes why = room_put(&at, deai_bytes_of(part->why.ptr, part->why.len));
  node->part.why = (deai_str){(const char *)why.ptr, why.len};
  node->part.receipt = room_put(&at, part->receipt);
  node->part.provider = room_put(&at, part->provider);
  node->part.others = room_put(&at, part->others);
  node->cost = part_cost(part);
  int32_t status = node_body(node, part);
  if (status == DEAI_OK && part->attachment >= 0) {
    node->part.attachment = fcntl(part->attachment, F_DUPFD_CLOEXEC, 3);
    if (node->part.attachment < 0) status = DEAI_EIO;
  }
  if (status != DEAI_OK) {
    node_drop(node);
    return status;
  }
  *node_out = node;
  return DEAI_OK;
}

static void stream_clear(stream *line) {
  while (line->first != NULL) {
    part_node *node = line->first;
    line->first = node->next;
    node_drop(node);
  }
  line->last = &line->first;
  line->queued_bytes = 0;
  line->queued_parts = 0;
  line->unpaid_parts = 0;
  line->delivering = false;
}

static void stream_forget(stream *line) {
  while (line->kept != NULL) {
    part_node *node = line->kept;
    line->kept = node->next;
    node_drop(node);
  }
  line->kept_last = &line->kept;
  line->kept_bytes = 0;
  line->kept_parts = 0;
}

static void stream_push(stream *line, part_node *node) {
  *line->last = node;
  line->last = &node->next;
  line->queued_bytes += node->cost;
  line->queued_parts++;
}

static void call_unref(deai_call *call) {
  DEAI_ASSERT(call->refs > 0);
  if (--call->refs > 0) return;
  if (call->hooks.over != NULL) call->hooks.over(call->hooks_user, call);
  for (int side = 0; side < 2; side++) {
    stream_clear(&call->streams[side]);
    stream_forget(&call->streams[side]);
  }
  deai_timer_free(call->timer);
  free(call);
}

static void end_close(deai_call *call, deai_side side) {
  call_end *end = &call->ends[side];
  const deai_end_ops *ops = end->ops;
  end->ops = NULL;
  if (ops != NULL) ops->closed(end->user);
}

static void call_finish(deai_call *call) {
  if (call->finished) return;
  call->finished = true;
  deai_timer_clear(call->timer);
  end_close(call, DEAI_SIDE_CALLER);
  end_close(call, DEAI_SIDE_CALLEE);
  call_unref(call);
}

/* node_done takes the first part off the list: it was delivered. It is kept while a retry is
   possible; a part whose descriptor is the receiver's cannot be sent again. */
static void node_done(deai_call *call, deai_side from) {
  stream *line = &call->streams[from];
  part_node *node = line->first;
  bool passed_on = node->part.attachment >= 0;
  DEAI_ASSERT(line->queued_bytes >= node->cost && line->queued_parts > 0);
  line->first = node->next;
  if (line->first == NULL) line->last = &line->first;
  line->queued_bytes -= node->cost;
  line->queued_parts--;
  line->delivering = false;
  node->next = NULL;
  node->part.attachment = -1;
  if (from == DEAI_SIDE_CALLEE || !call->keep_parts) {
    node_drop(node);
    return;
  }
  line->kept_bytes += node->cost;
  line->kept_parts++;
  *line->kept_last = node;
  line->kept_last = &node->next;
  if (line->kept_bytes <= DEAI_CALL_KEEP_MAX && !passed_on) return;
  call->keep_parts = false;
  stream_forget(line);
}

static void first_part_seen(deai_call *call) {
  if (call->first_ns != 0) return;
  call->first_ns = deai_loop_now_ns(call->loop);
  call->keep_parts = false;
  stream_forget(&call->streams[DEAI_SIDE_CALLER]);
}

static void consumed_tell(deai_call *call, deai_side from, part_node *node) {
  const call_end *end = &call->ends[from];
  if (node->counted) return; /* a retry delivers it again */
  node->counted = true;
  if (end->ops != NULL && end->ops->consumed != NULL) end->ops->consumed(end->user, node->cost);
}

/* deliver_one hands the first waiting part of side from to the other end; false = stop for now.
   The callback may end, cancel or drop the call, or make the router attach another callee: then
   the part is no longer ours to take off the list. */
static bool deliver_one(deai_call *call, deai_side from) {
  deai_side to = from == DEAI_SIDE_CALLER ? DEAI_SIDE_CALLEE : DEAI_SIDE_CALLER;
  stream *line = &call->streams[from];
  part_node *node = line->first;
  call_end end = call->ends[to];
  if (node == NULL || node->unpaid || line->held || end.ops == NULL || call->finished) return false;

  if (from == DEAI_SIDE_CALLEE) first_part_seen(call);
  if (from == DEAI_SIDE_CALLER && call->hooks.to_callee != NULL)
    call->hooks.to_callee(call->hooks_user, call, &node->part);
  bool is_end = (node->part.flags & DEAI_PART_END) != 0;
  node->refs++;
  line->delivering = true;
  int32_t status = end.ops->part(end.user, &node->part);
  bool still_ours = line->delivering;
  if (status == DEAI_EAGAIN) {
    line->delivering = false;
    if (still_ours) line->held = true;
    node_drop(node);
    return !still_ours;
  }
  if (still_ours)
    node_done(call, from);
  else if (node->refs == 1)
    node->part.attachment = -1; /* cleared meanwhile; the descriptor is the receiver's */
  if (still_ours) consumed_tell(call, from, node);
  node_drop(node);
  if (from == DEAI_SIDE_CALLEE && is_end && still_ours) call->caller_done = true;
  return !call->caller_done;
}

static void drain_blocked(deai_call *call, deai_side side) {
  stream *line = &call->streams[side];
  call_end end = call->ends[side];
  if (!line->blocked || line->queued_bytes > DEAI_WINDOW_MAX / 2 ||
      line->queued_parts > DEAI_CALL_PARTS_MAX / 2)
    return;
  line->blocked = false;
  if (end.ops != NULL && end.ops->drain != NULL && !line->sent_end) end.ops->drain(end.user);
}

static bool callee_is_free(const deai_call *call) {
  return call->ends[DEAI_SIDE_CALLEE].ops == NULL || call->streams[DEAI_SIDE_CALLEE].sent_end;
}

static void deliver_task(void *user) {
  deai_call *call = user;
  call->deliver_asked = false;
  for (int side = 0; side < 2 && !call->finished; side++) {
    while (deliver_one(call, (deai_side)side))
      continue;
  }
  for (int side = 0; side < 2 && !call->finished; side++)
    drain_blocked(call, (deai_side)side);
  if (!call->finished && call->caller_done) {
    end_close(call, DEAI_SIDE_CALLER);
    if (callee_is_free(call)) call_finish(call);
  }
  call_unref(call);
}

static void deliver_ask(deai_call *call) {
  if (call->deliver_asked || call->finished) return;
  call->deliver_asked = true;
  call->refs++;
  deai_loop_task(call->loop, deliver_task, call);
}

static void on_timer(void *user);

static uint64_t spec_bytes(const deai_call_spec *spec) {
  return spec->plugin.len + spec->service.len + spec->method.len + spec->caller_id.len +
         spec->origin.len + spec->job.len + spec->voucher.len + spec->provider.len +
         spec->model.len + spec->avoid.len;
}

static deai_str str_put(uint8_t **at, deai_str text) {
  deai_bytes out = room_put(at, deai_bytes_of(text.ptr, text.len));
  return (deai_str){(const char *)out.ptr, out.len};
}

static void spec_copy(deai_call_spec *to, const deai_call_spec *from, uint8_t *at) {
  *to = *from;
  to->service = str_put(&at, from->service);
  to->method = str_put(&at, from->method);
  to->caller_id = room_put(&at, from->caller_id);
  to->origin = room_put(&at, from->origin);
  to->job = room_put(&at, from->job);
  to->voucher = room_put(&at, from->voucher);
  to->provider = room_put(&at, from->provider);
  to->model = room_put(&at, from->model);
  to->avoid = room_put(&at, from->avoid);
  to->plugin = str_put(&at, from->plugin);
}

deai_call *deai_call_new(deai_loop *loop, const deai_call_spec *spec, const deai_end_ops *ops,
                         void *user) {
  DEAI_ASSERT(deai_loop_on_thread(loop));
  deai_call *call = calloc(1, sizeof *call + (size_t)spec_bytes(spec));
  if (call == NULL) return NULL;
  call->loop = loop;
  spec_copy(&call->spec, spec, call->texts);
  if (call->spec.time_ms > DEAI_CALL_TIME_MAX_MS) call->spec.time_ms = DEAI_CALL_TIME_MAX_MS;
  call->timer = deai_timer_new(loop, on_timer, call);
  if (call->timer == NULL) {
    free(call);
    return NULL;
  }
  for (int side = 0; side < 2; side++) {
    call->streams[side].last = &call->streams[side].first;
    call->streams[side].kept_last = &call->streams[side].kept;
  }
  call->deadline_ns = deai_loop_now_ns(loop) + call->spec.time_ms * UINT64_C(1000000);
  call->ends[DEAI_SIDE_CALLER] = (call_end){ops, user};
  call->keep_parts = true;
  call->refs = 1;
  deai_timer_set(call->timer, call->spec.time_ms);
  return call;
}

void deai_call_hook(deai_call *call, const deai_call_hooks *hooks, void *user) {
  call->hooks = *hooks;
  call->hooks_user = user;
}

void *deai_call_hook_user(const deai_call *call) {
  return call->hooks_user;
}

const deai_call_spec *deai_call_about(const deai_call *call) {
  return &call->spec;
}

uint64_t deai_call_time_left_ms(const deai_call *call) {
  uint64_t now_ns = deai_loop_now_ns(call->loop);
  return now_ns >= call->deadline_ns ? 0 : (call->deadline_ns - now_ns) / UINT64_C(1000000);
}

uint64_t deai_call_first_ns(const deai_call *call) {
  return call->first_ns;
}

void deai_call_attach(deai_call *call, const deai_end_ops *ops, void *user) {
  DEAI_ASSERT(call->ends[DEAI_SIDE_CALLEE].ops == NULL && !call->finished);
  call->refs++;
  call->ends[DEAI_SIDE_CALLEE] = (call_end){ops, user};
  if (call->cancelled && ops->cancel != NULL) ops->cancel(user, call->cancel_status);
  deliver_ask(call);
  call_unref(call);
}

/* retry_callee puts the caller's kept parts back in front and lets the router attach another. */
static bool retry_callee(deai_call *call, int32_t status, deai_str why) {
  if (call->hooks.retry == NULL || !call->keep_parts || call->cancelled || status == DEAI_OK)
    return false;
  if (call->streams[DEAI_SIDE_CALLEE].first != NULL) return false; /* a part is on its way */
  stream *line = &call->streams[DEAI_SIDE_CALLER];
  if (line->delivering && line->first->part.attachment >= 0) return false;
  call->refs++;
  end_close(call, DEAI_SIDE_CALLEE);
  if (line->kept != NULL) {
    *line->kept_last = line->first;
    if (line->first == NULL) line->last = line->kept_last;
    line->first = line->kept;
    line->queued_bytes += line->kept_bytes;
    line->queued_parts += line->kept_parts;
    line->kept_parts = 0;
    line->kept = NULL;
    line->kept_last = &line->kept;
    line->kept_bytes = 0;
  }
  line->held = false;
  line->delivering = false; /* it stays first in the list, for the next callee */
  bool again = call->hooks.retry(call->hooks_user, call, status, why) == DEAI_OK;
  call_unref(call);
  return again;
}

/* send_checked queues a part. What the hook does not let pass yet waits: with its sender, or, from
   a
   link (parks), in the list, where the parts behind it wait as well. */
static int32_t send_checked(deai_call *call, deai_side side, deai_part *part, bool parks) {
  stream *line = &call->streams[side];
  part_node *node = NULL;
  bool is_end = (part->flags & DEAI_PART_END) != 0;
  bool unpaid = line->unpaid_parts > 0;
  if (!part_fits(part)) return DEAI_ETOOLARGE;
  if (side == DEAI_SIDE_CALLEE && call->hooks.from_callee != NULL && !unpaid)
    unpaid = call->hooks.from_callee(call->hooks_user, call, part) == DEAI_EAGAIN && !is_end;
  if (unpaid && !parks && !is_end) {
    line->blocked = true;
    return DEAI_EAGAIN;
  }
  int32_t status = node_new(part, &node);
  if (status != DEAI_OK) return status;
  node->unpaid = unpaid;
  if (unpaid) line->unpaid_parts++;
  stream_push(line, node);
  if (is_end) line->sent_end = true;
  deliver_ask(call);
  return DEAI_OK;
}

/* end_push queues the END of a cancelled call. */
static void end_push(deai_call *call, const deai_part *end) {
  part_node *node = NULL;
  if (node_new(end, &node) != DEAI_OK) {
    deai_part bare = *end;
    bare.receipt = bare.args = bare.body = bare.others = (deai_bytes){NULL, 0};
    bare.why = (deai_str){NULL, 0};
    DEAI_ASSERT(node_new(&bare, &node) == DEAI_OK);
  }
  call->end_due = false;
  node->counted = true; /* its bytes never came over a window: none are given back */
  stream_push(&call->streams[DEAI_SIDE_CALLEE], node);
  deliver_ask(call);
}

/* send_cancelled takes what the callee still sends: nobody reads it, but a member wants the
   receipt of the END. */
static int32_t send_cancelled(deai_call *call, deai_part *part) {
  if ((part->flags & DEAI_PART_END) == 0) return DEAI_OK;
  if (call->hooks.from_callee != NULL) /* what was delivered is still settled */
    (void)call->hooks.from_callee(call->hooks_user, call, part);
  call->streams[DEAI_SIDE_CALLEE].sent_end = true;
  if (call->end_due && call->ends[DEAI_SIDE_CALLER].ops != NULL) {
    part->status = call->cancel_status;
    part->body = (deai_bytes){NULL, 0}; /* so that it can cut off a part that is under way */
    part->buffer = NULL;
    part->attachment = -1;
    end_push(call, part);
    return DEAI_OK;
  }
  if (call->caller_done || call->ends[DEAI_SIDE_CALLER].ops == NULL) {
    call->refs++;
    call_finish(call);
    call_unref(call);
  }
  return DEAI_OK;
}

static int32_t call_send(deai_call *call, deai_side side, const deai_part *given,
                         uint64_t queue_max) {
  stream *line = &call->streams[side];
  bool is_end = (given->flags & DEAI_PART_END) != 0;
  if (call->finished || line->sent_end) return DEAI_ENOTFOUND;
  deai_part part = *given;
  if (side == DEAI_SIDE_CALLEE && call->cancelled) return send_cancelled(call, &part);
  bool full = line->queued_parts >= DEAI_CALL_PARTS_MAX ||
              (line->queued_bytes > 0 && line->queued_bytes + part_cost(&part) > queue_max);
  if (!is_end && full) {
    line->blocked = true;
    return DEAI_EAGAIN;
  }
  if (side == DEAI_SIDE_CALLEE && is_end && retry_callee(call, part.status, part.why))
    return DEAI_OK;
  return send_checked(call, side, &part, queue_max > DEAI_WINDOW_MAX);
}

int32_t deai_call_send(deai_call *call, deai_side side, const deai_part *part) {
  return call_send(call, side, part, DEAI_WINDOW_MAX);
}

int32_t deai_call_take(deai_call *call, deai_side side, const deai_part *part) {
  return call_send(call, side, part, DEAI_CALL_TAKE_MAX);
}

void deai_call_fail(deai_call *call, int32_t status, const char *format, ...) {
  char why[DEAI_ERR_CAP];
  va_list list;
  va_start(list, format);
  (void)vsnprintf(why, sizeof why, format, list);
  va_end(list);
  deai_part part = {.size = (uint32_t)sizeof part,
                    .flags = DEAI_PART_END,
                    .attachment = -1,
                    .status = status,
                    .why = deai_str_of(why)};
  int32_t sent = deai_call_send(call, DEAI_SIDE_CALLEE, &part);
  DEAI_ASSERT(sent == DEAI_OK || sent == DEAI_ENOTFOUND);
}

void deai_call_resume(deai_call *call, deai_side side) {
  deai_side from = side == DEAI_SIDE_CALLER ? DEAI_SIDE_CALLEE : DEAI_SIDE_CALLER;
  if (!call->streams[from].held) return;
  call->streams[from].held = false;
  deliver_ask(call);
}

/* node_pay asks the hook again for a part that waits; false = it still waits. */
static bool node_pay(deai_call *call, part_node **place) {
  stream *line = &call->streams[DEAI_SIDE_CALLEE];
  part_node *node = *place;
  part_node *paid = NULL;
  deai_part part = node->part;
  bool is_end = (part.flags & DEAI_PART_END) != 0;
  if (call->hooks.from_callee(call->hooks_user, call, &part) == DEAI_EAGAIN && !is_end)
    return false;
  line->unpaid_parts--;
  node->unpaid = false;
  if (node_new(&part, &paid) != DEAI_OK) return true; /* it goes as it is, without a receipt */
  paid->next = node->next;
  *place = paid;
  if (paid->next == NULL) line->last = &paid->next;
  node_drop(node);
  return true;
}

static void reopen_task(void *user) {
  deai_call *call = user;
  stream *line = &call->streams[DEAI_SIDE_CALLEE];
  call->reopen_asked = false;
  part_node **place = &line->first;
  while (!call->finished && line->unpaid_parts > 0 && *place != NULL) {
    if ((*place)->unpaid && !node_pay(call, place)) break;
    place = &(*place)->next;
  }
  deliver_ask(call);
  if (!call->finished) drain_blocked(call, DEAI_SIDE_CALLEE);
  call_unref(call);
}

void deai_call_reopen(deai_call *call) {
  if (call->reopen_asked || call->finished) return;
  call->reopen_asked = true;
  call->refs++;
  deai_loop_task(call->loop, reopen_task, call);
}

static void cancel_callee(deai_call *call) {
  call_end end = call->ends[DEAI_SIDE_CALLEE];
  deai_timer_set(call->timer, DEAI_CALL_GRACE_MS);
  if (end.ops != NULL && end.ops->cancel != NULL) end.ops->cancel(end.user, call->cancel_status);
}

static deai_part cancel_end(int32_t status) {
  const char *late = "expected an answer in the time given, found none; allow more time or ask "
                     "another node";
  return (deai_part){.size = (uint32_t)sizeof(deai_part),
                     .flags = DEAI_PART_END,
                     .attachment = -1,
                     .status = status,
                     .why = deai_str_of(status == DEAI_ETIMEDOUT ? late : "the caller gave up")};
}

/* cancel_streams drops what waits in both directions and ends the callee's. A member gets the
   callee's own END, for its receipt; every other caller gets its END at once. */
static void cancel_streams(deai_call *call) {
  stream *line = &call->streams[DEAI_SIDE_CALLEE];
  deai_part end = cancel_end(call->cancel_status);
  bool member =
      call->spec.caller_kind == DEAI_CALLER_PEER && call->cancel_status == DEAI_ECANCELLED &&
      call->ends[DEAI_SIDE_CALLER].ops != NULL && call->ends[DEAI_SIDE_CALLEE].ops != NULL;
  stream_clear(line);
  stream_clear(&call->streams[DEAI_SIDE_CALLER]);
  call->streams[DEAI_SIDE_CALLER].sent_end = true;
  line->held = false;
  if (line->sent_end) { /* its END waited to be paid: settled as it stands */
    if (call->hooks.from_callee != NULL)
      (void)call->hooks.from_callee(call->hooks_user, call, &end);
    end_push(call, &end);
    return;
  }
  call->end_due = true;
  if (!member) end_push(call, &end);
  cancel_callee(call);
}

void deai_call_cancel(deai_call *call, int32_t status) {
  if (call->cancelled || call->finished) return;
  call->refs++;
  const stream *line = &call->streams[DEAI_SIDE_CALLEE];
  bool had_ended = line->sent_end && line->unpaid_parts == 0;
  call->cancelled = true;
  call->cancel_status = status;
  call->keep_parts = false;
  if (!had_ended) cancel_streams(call);
  if (!call->finished) {
    deliver_ask(call);
    if (call->ends[DEAI_SIDE_CALLER].ops == NULL && callee_is_free(call)) call_finish(call);
  }
  call_unref(call);
}

static void on_timer(void *user) {
  deai_call *call = user;
  if (!call->cancelled) {
    deai_call_cancel(call, DEAI_ETIMEDOUT);
    return;
  }
  end_close(call, DEAI_SIDE_CALLEE); /* the grace is over: the callee is no longer waited for */
  if (call->end_due) {
    deai_part end = cancel_end(call->cancel_status);
    call->streams[DEAI_SIDE_CALLEE].sent_end = true;
    end_push(call, &end);
    return;
  }
  if (call->caller_done || call->ends[DEAI_SIDE_CALLER].ops == NULL) call_finish(call);
}

void deai_call_drop(deai_call *call, deai_side side, int32_t status, const char *why) {
  if (call->finished) return;
  call->refs++;
  call->ends[side].ops = NULL;
  if (side == DEAI_SIDE_CALLER) {
    if (!call->cancelled) deai_call_cancel(call, DEAI_ECANCELLED);
    if (!call->finished && callee_is_free(call)) call_finish(call);
  } else if (!call->streams[DEAI_SIDE_CALLEE].sent_end) {
    if (call->cancelled) {
      deai_part end = cancel_end(call->cancel_status);
      call->streams[DEAI_SIDE_CALLEE].sent_end = true;
      if (call->end_due) end_push(call, &end);
      if (call->caller_done || call->ends[DEAI_SIDE_CALLER].ops == NULL) call_finish(call);
    } else {
      deai_call_fail(call, status, "%s", why);
    }
  }
  call_unref(call);
}

bool deai_call_cancelled(const deai_call *call) {
  return call->cancelled;
}

bool deai_call_ended(const deai_call *call) {
  return call->streams[DEAI_SIDE_CALLEE].sent_end;
}
