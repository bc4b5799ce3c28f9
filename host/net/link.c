#include "host/link.h"

#include "host/base/assertion.h"
#include "host/base/buffer.h"
#include "host/base/log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/base/banned.h"

#define CANCELS_A_SECOND_MAX 200u
#define SMALL_FRAME_BYTES    256u /* a window grows only for frames of this size on average */
#define HEAD_ROOM            (DEAI_HEAD_MAX + 1024u)
#define END_ROOM             1024u /* of the head of an END, besides its items */

typedef struct ticket {
  struct ticket *next;
  deai_link *link;
  uint64_t id;     /* 0 until our CALL leaves: on the wire they only grow */
  deai_call *call; /* NULL while the first part is put together, and after closed */
  bool ours;       /* this side made the call: it is the call's callee end */
  /* sending */
  int64_t credit;
  uint64_t body_sent; /* of the part that is being sent */
  bool sent_first;    /* the CALL frame left */
  bool waiting;
  uint64_t parent;  /* ticket of the other side that this call serves, or 0 */
  uint8_t *voucher; /* encoded part head that waits for credit, or NULL */
  uint64_t voucher_len;
  /* receiving */
  int64_t granted; /* bytes the other side may still send */
  uint64_t window;
  uint64_t owed;     /* consumed and not yet returned */
  uint64_t overhead; /* received beyond what the call core counts */
  uint64_t frames;
  uint64_t bytes;
  deai_buffer *gather; /* bodies of a part that came in several frames */
  uint64_t gather_len;
  uint64_t gather_returned; /* given back before it was consumed; at most DEAI_BODY_MAX */
  uint64_t gather_held;     /* of the body now put together: not yet given back */
  uint8_t *gather_head;
  uint64_t gather_head_len;
  uint8_t gather_kind;
  int32_t gather_attachment; /* of the first frame, or -1 */
} ticket;

struct deai_link {
  deai_link_options options;
  deai_link_ops ops;
  void *user;
  uint8_t caller_id[DEAI_NAME_MAX];
  bool sent_hello;
  bool ready;
  bool over;
  bool pump_asked;
  uint32_t refs;
  uint64_t next_id; /* of our own tickets */
  uint64_t last_id; /* highest id seen of the other side */
  uint64_t granted_total;
  uint64_t cancel_second;
  uint32_t cancel_count;
  uint32_t ticket_count;
  ticket *tickets;
  uint8_t *head; /* HEAD_ROOM bytes to encode into */
};

static void link_unref(deai_link *link) {
  DEAI_ASSERT(link->refs > 0);
  if (--link->refs > 0) return;
  free(link->head);
  free(link);
}

static void gather_kick(deai_link *link);

static void gather_clear(ticket *at) {
  deai_buffer_drop(at->gather);
  free(at->gather_head);
  if (at->gather_attachment >= 0) (void)close(at->gather_attachment);
  at->gather = NULL;
  at->gather_head = NULL;
  at->gather_attachment = -1;
}

static void ticket_free(ticket *gone) {
  deai_link *link = gone->link;
  bool gathered = gone->gather_returned > 0;
  ticket **at = &link->tickets;
  while (*at != NULL && *at != gone)
    at = &(*at)->next;
  DEAI_ASSERT(*at == gone);
  *at = gone->next;
  link->ticket_count--;
  link->granted_total -= gone->window;
  gather_clear(gone);
  free(gone->voucher);
  free(gone);
  if (gathered) gather_kick(link);
}

static ticket *ticket_find(const deai_link *link, uint64_t id) {
  ticket *at = link->tickets;
  while (at != NULL && at->id != id)
    at = at->next;
  return id != 0 ? at : NULL;
}

static ticket *ticket_new(deai_link *link, uint64_t id, bool ours) {
  ticket *made = calloc(1, sizeof *made);
  if (made == NULL) return NULL;
  made->link = link;
  made->id = id;
  made->ours = ours;
  made->credit = DEAI_WINDOW_MIN;
  made->granted = DEAI_WINDOW_MIN;
  made->window = DEAI_WINDOW_MIN;
  made->gather_attachment = -1;
  link->granted_total += made->window;
  ticket **at = &link->tickets;
  while (*at != NULL)
    at = &(*at)->next; /* at the end: the order of turns */
  *at = made;
  link->ticket_count++;
  return made;
}

static deai_side ticket_side(const ticket *at) {
  return at->ours ? DEAI_SIDE_CALLEE : DEAI_SIDE_CALLER;
}

static void link_end_tickets(deai_link *link) {
  link->over = true;
  while (link->tickets != NULL) {
    ticket *at = link->tickets;
    deai_call *call = at->call;
    deai_side side = ticket_side(at);
    at->call = NULL;
    ticket_free(at);
    if (call != NULL) deai_call_drop(call, side, link->options.lost_status, link->options.lost_why);
  }
}

static void link_fault(deai_link *link, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void link_fault(deai_link *link, const char *format, ...) {
  if (link->over) return;
  char why[DEAI_ERR_CAP];
  va_list list;
  va_start(list, format);
  (void)vsnprintf(why, sizeof why, format, list);
  va_end(list);
  link->refs++;
  link_end_tickets(link);
  if (link->ops.closed != NULL) link->ops.closed(link->user, why);
  link_unref(link);
}

static void link_send(deai_link *link, uint8_t kind, uint8_t flags, uint64_t id, deai_bytes head,
                      deai_bytes body, int32_t attachment) {
  deai_frame frame = {.kind = kind, .flags = flags, .ticket = id, .head = head, .body = body};
  link->ops.send(link->user, &frame, attachment);
}

/* link_encode encodes value into the link's room; a value that breaks its own table is a bug. */
static deai_bytes link_encode(deai_link *link, const deai_table *table, const void *value) {
  char err[DEAI_ERR_CAP];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){link->head, HEAD_ROOM});
  int32_t status = deai_encode(table, value, &writer, err, sizeof err);
  if (status != DEAI_OK) {
    deai_log(DEAI_LEVEL_ERROR, "link", "head not encoded: %s", err);
    return (deai_bytes){NULL, 0};
  }
  return deai_bytes_of(link->head, writer.len);
}

static void send_window(ticket *at) {
  deai_link *link = at->link;
  uint64_t add = 0;
  bool large = at->bytes >= at->frames * SMALL_FRAME_BYTES;
  if (large && at->window < DEAI_WINDOW_MAX &&
      link->granted_total + at->window <= DEAI_WINDOW_CONN_MAX) {
    add = at->window;
    if (at->window + add > DEAI_WINDOW_MAX) add = DEAI_WINDOW_MAX - at->window;
    at->window += add;
    link->granted_total += add;
  }
  deai_window_head head = {.c = at->owed + add};
  at->granted += (int64_t)head.c;
  at->owed = 0;
  link_send(link, DEAI_FRAME_WINDOW, 0, at->id, link_encode(link, &deai_window_head_table, &head),
            (deai_bytes){NULL, 0}, -1);
}

/* gather_may_grow keeps what is put together on a connection within DEAI_WINDOW_CONN_MAX; the
   oldest body may always go on, so that there is always one that does. */
static bool gather_may_grow(const ticket *at) {
  bool oldest = true;
  uint64_t total = at->gather_held;
  for (const ticket *other = at->link->tickets; other != NULL; other = other->next) {
    total += other->gather_returned;
    if (other->gather != NULL && other->id < at->id) oldest = false;
  }
  return oldest || total <= DEAI_WINDOW_CONN_MAX;
}

/* gather_return gives back the place of a body that is still put together, so that a part may be
   longer than the window; a second such part waits until the first was consumed. */
static void gather_return(ticket *at) {
  if (at->gather_returned + at->gather_held > DEAI_BODY_MAX || !gather_may_grow(at)) return;
  at->gather_returned += at->gather_held;
  at->owed += at->gather_held;
  at->gather_held = 0;
}

/* gather_kick lets bodies go on that waited for the place of others. */
static void gather_kick(deai_link *link) {
  for (ticket *at = link->tickets; at != NULL && !link->over; at = at->next) {
    if (at->gather == NULL || at->gather_held == 0) continue;
    gather_return(at);
    if (at->owed >= at->window / 4) send_window(at);
  }
}

/* ---- the link as an end of a call ---- */

/* parent_ticket finds under which ticket the other side knows the call that spec serves. */
static uint64_t parent_ticket(const deai_link *link, const deai_call *parent) {
  for (ticket *at = link->tickets; at != NULL && parent != NULL; at = at->next) {
    if (at->call == parent && !at->ours) return at->id;
  }
  return 0;
}

/* route_put writes how the router should choose, for the host or node on the other side. */
static deai_bytes route_put(uint64_t parent, const deai_call_spec *spec, uint8_t *room,
                            uint64_t room_bytes) {
  deai_bytes avoid[DEAI_CALL_AVOID_MAX];
  deai_route_head route = {
      .model = spec->model, .price = spec->price_max, .here = 1, .away = 1, .explain = 1};
  route.avoid = (deai_list){avoid, 0};
  uint64_t keys = spec->avoid.len / DEAI_KEY_BYTES;
  while (route.avoid.count < keys && route.avoid.count < DEAI_CALL_AVOID_MAX) {
    avoid[route.avoid.count] =
        deai_bytes_of(spec->avoid.ptr + route.avoid.count * DEAI_KEY_BYTES, DEAI_KEY_BYTES);
    route.avoid.count++;
  }
  route.parent = parent;
  if (spec->provider.len == DEAI_KEY_BYTES) {
    memcpy(route.to, spec->provider.ptr, DEAI_KEY_BYTES);
    route.has |= DEAI_ROUTE_HAS_TO;
  }
  route.has |= (spec->flags & DEAI_CALL_AWAY) != 0 ? DEAI_ROUTE_HAS_AWAY : 0;
  route.has |= (spec->flags & DEAI_CALL_HERE) != 0 ? DEAI_ROUTE_HAS_HERE : 0;
  route.has |= route.avoid.count > 0 ? DEAI_ROUTE_HAS_AVOID : 0;
  route.has |= spec->model.len > 0 ? DEAI_ROUTE_HAS_MODEL : 0;
  route.has |= spec->price_max > 0 ? DEAI_ROUTE_HAS_PRICE : 0;
  route.has |= route.parent != 0 ? DEAI_ROUTE_HAS_PARENT : 0;
  route.has |= spec->plugin.len > 0 ? DEAI_ROUTE_HAS_PLUGIN : 0;
  route.has |= (spec->flags & DEAI_CALL_EXPLAIN) != 0 ? DEAI_ROUTE_HAS_EXPLAIN : 0;
  route.plugin = spec->plugin;
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, room_bytes});
  if (deai_encode(&deai_route_head_table, &route, &writer, NULL, 0) != DEAI_OK) writer.len = 0;
  return deai_bytes_of(room, writer.len);
}

static deai_bytes call_head(ticket *at, const deai_part *part) {
  deai_link *link = at->link;
  uint8_t room[8192];
  const deai_call_spec *spec = deai_call_about(at->call);
  deai_call_head head = {.m = spec->method, .s = spec->service, .u = spec->units, .a = part->args};
  head.t = deai_call_time_left_ms(at->call);
  head.has |= part->args.len > 0 ? DEAI_CALL_HAS_A : 0;
  head.has |= spec->units > 0 ? DEAI_CALL_HAS_U : 0;
  if (spec->job.len == DEAI_ID_BYTES) {
    head.has |= DEAI_CALL_HAS_J;
    memcpy(head.j, spec->job.ptr, DEAI_ID_BYTES);
  }
  if (spec->origin.len == DEAI_ID_BYTES) {
    head.has |= DEAI_CALL_HAS_O;
    memcpy(head.o, spec->origin.ptr, DEAI_ID_BYTES);
  }
  if (link->options.kind == DEAI_LINK_TO_CHILD) {
    head.has |= DEAI_CALL_HAS_C;
    head.c = (deai_caller){.kind = spec->caller_kind, .id = spec->caller_id};
  }
  if (link->options.kind == DEAI_LINK_TO_HOST || link->options.kind == DEAI_LINK_TO_NODE) {
    head.x = route_put(at->parent, spec, room, sizeof room);
    head.has |= head.x.len > 0 ? DEAI_CALL_HAS_X : 0;
  }
  if (link->ops.voucher_of != NULL && link->ops.voucher_of(link->user, at->call, &head.v) > 0)
    head.has |= DEAI_CALL_HAS_V;
  return link_encode(link, &deai_call_head_table, &head);
}

/* is_own returns whether the other side belongs to this node. */
static bool is_own(const deai_link *link) {
  return link->options.kind == DEAI_LINK_TO_CHILD || link->options.kind == DEAI_LINK_CLI;
}

static bool tells_provider(const deai_link *link, const deai_part *part) {
  return is_own(link) && part->provider.len == DEAI_KEY_BYTES;
}

/* tells_others returns whether the END names who did not serve the call: when there is room. */
static bool tells_others(const deai_link *link, const deai_part *part) {
  uint64_t rest = part->args.len + part->receipt.len + part->why.len + END_ROOM;
  return is_own(link) && part->others.len > 0 && part->others.len + rest <= DEAI_HEAD_MAX;
}

static deai_bytes end_head(ticket *at, const deai_part *part) {
  deai_link *link = at->link;
  deai_end_head head = {.a = part->args, .u = part->units, .st = part->status, .why = part->why};
  head.has |= part->args.len > 0 ? DEAI_END_HAS_A : 0;
  head.has |= part->units > 0 ? DEAI_END_HAS_U : 0;
  head.has |= part->why.len > 0 ? DEAI_END_HAS_WHY : 0;
  if (part->receipt.len > 0 &&
      deai_decode(&deai_signed_table, part->receipt, &head.r, NULL, NULL, 0) == DEAI_OK)
    head.has |= DEAI_END_HAS_R;
  if (tells_provider(link, part)) {
    head.has |= DEAI_END_HAS_W;
    memcpy(head.w, part->provider.ptr, DEAI_KEY_BYTES);
  }
  if (tells_others(link, part)) {
    head.has |= DEAI_END_HAS_OTHERS;
    head.others = part->others;
  }
  return link_encode(link, &deai_end_head_table, &head);
}

static deai_bytes part_head(ticket *at, const deai_part *part) {
  deai_link *link = at->link;
  deai_part_head head = {.a = part->args, .u = part->units};
  head.has |= part->args.len > 0 ? DEAI_PART_HAS_A : 0;
  head.has |= part->units > 0 ? DEAI_PART_HAS_U : 0;
  if (tells_provider(link, part)) {
    head.has |= DEAI_PART_HAS_W;
    memcpy(head.w, part->provider.ptr, DEAI_KEY_BYTES);
  }
  return link_encode(link, &deai_part_head_table, &head);
}

static deai_bytes head_of(ticket *at, const deai_part *part) {
  if (at->ours && !at->sent_first) return call_head(at, part);
  if (!at->ours && (part->flags & DEAI_PART_END) != 0) return end_head(at, part);
  return part_head(at, part);
}

static void pump_task(void *user) {
  deai_link *link = user;
  link->pump_asked = false;
  for (ticket *at = link->tickets; at != NULL && !link->over; at = at->next) {
    if (!at->waiting || at->credit <= 0) continue;
    if (link->ops.backlog(link->user) > DEAI_LINK_BACKLOG_MAX) break;
    at->waiting = false;
    if (at->call != NULL) deai_call_resume(at->call, ticket_side(at));
  }
  link_unref(link);
}

static void pump_ask(deai_link *link) {
  if (link->pump_asked || link->over) return;
  link->pump_asked = true;
  link->refs++;
  deai_loop_task(link->options.loop, pump_task, link);
}

static void refuse_call(deai_link *link, uint64_t id, int32_t status, const char *why) {
  deai_end_head head = {.has = DEAI_END_HAS_WHY, .st = status, .why = deai_str_of(why)};
  link_send(link, DEAI_FRAME_PART, DEAI_FRAME_END, id,
            link_encode(link, &deai_end_head_table, &head), (deai_bytes){NULL, 0}, -1);
}

static void send_cancel(ticket *at) {
  link_send(at->link, DEAI_FRAME_CANCEL, 0, at->id, deai_bytes_of("\xa0", 1), (deai_bytes){NULL, 0},
            -1);
}

/* end_refuse ends a call with a part that cannot travel; the connection goes on. */
static void end_refuse(ticket *at, int32_t status, const char *why) {
  deai_call *call = at->call;
  deai_side side = ticket_side(at);
  if (!at->ours)
    refuse_call(at->link, at->id, status, why);
  else if (at->sent_first)
    send_cancel(at);
  at->call = NULL;
  ticket_free(at);
  deai_call_drop(call, side, status, why);
}

/* ticket_last moves the ticket behind all others: the order of turns. */
static void ticket_last(ticket *at) {
  ticket **place = &at->link->tickets;
  if (at->next == NULL) return;
  while (*place != at)
    place = &(*place)->next;
  *place = at->next;
  at->next = NULL;
  while (*place != NULL)
    place = &(*place)->next;
  *place = at;
}

/* voucher_flush sends a voucher between two parts, once there is credit. */
static void voucher_flush(ticket *at) {
  if (at->voucher == NULL || at->credit <= 0 || at->body_sent > 0) return;
  uint8_t *voucher = at->voucher;
  at->voucher = NULL;
  at->credit -= (int64_t)at->voucher_len;
  link_send(at->link, DEAI_FRAME_PART, 0, at->id, deai_bytes_of(voucher, at->voucher_len),
            (deai_bytes){NULL, 0}, -1);
  free(voucher);
}

/* send_frame sends one frame of the part; true when it was the last one. */
static bool send_frame(ticket *at, const deai_part *part, deai_bytes head) {
  deai_link *link = at->link;
  uint64_t left = part->body.len - at->body_sent;
  uint64_t size = left < link->options.body_max ? left : link->options.body_max;
  bool last = size == left;
  bool first = at->body_sent == 0;
  uint8_t kind = at->ours && !at->sent_first ? DEAI_FRAME_CALL : DEAI_FRAME_PART;
  uint8_t flags = last ? 0 : DEAI_FRAME_MORE;
  if (last && (part->flags & DEAI_PART_END) != 0) flags = DEAI_FRAME_END;
  if (first && part->attachment >= 0) flags |= DEAI_FRAME_ATTACHMENT;
  deai_bytes body = deai_bytes_of(size > 0 ? part->body.ptr + at->body_sent : NULL, size);
  if (kind == DEAI_FRAME_CALL) {
    at->id = link->next_id;
    link->next_id += 2;
  }
  at->sent_first = true;
  at->credit -= (int64_t)(head.len + body.len);
  at->body_sent = last ? 0 : at->body_sent + size;
  ticket_last(at);
  link_send(link, kind, flags, at->id, head, body, first ? part->attachment : -1);
  return last;
}

/* travels returns whether the other side would take this part. */
static int32_t travels(const deai_link *link, const deai_part *part, deai_bytes head) {
  bool local = link->options.kind == DEAI_LINK_TO_CHILD || link->options.kind == DEAI_LINK_TO_HOST;
  if (part->attachment >= 0 && !local) return DEAI_ELOCALONLY;
  if (head.len == 0) return DEAI_EINVAL;
  return head.len <= DEAI_HEAD_MAX ? DEAI_OK : DEAI_ETOOLARGE;
}

static const char *refusal_text(int32_t status) {
  if (status == DEAI_ELOCALONLY)
    return "expected no descriptor in a part that leaves the node, found one; send the bytes";
  if (status == DEAI_EINVAL) return "expected args that are one canonical CBOR item, found others";
  return "expected a head of at most 65536 bytes with what the host adds, found more";
}

/* end_part sends one frame of the part; DEAI_EAGAIN until all of it has left. */
static int32_t end_part(void *user, const deai_part *part) {
  ticket *at = user;
  deai_link *link = at->link;
  deai_bytes head = {NULL, 0};
  if (at->credit <= 0 || link->ops.backlog(link->user) > DEAI_LINK_BACKLOG_MAX) {
    at->waiting = true;
    return DEAI_EAGAIN;
  }
  if (part->body.len == 0) at->body_sent = 0; /* an END took the place of a part under way */
  if (at->body_sent == 0) {
    head = head_of(at, part);
    int32_t status = travels(link, part, head);
    if (status != DEAI_OK) {
      if (part->attachment >= 0) (void)close(part->attachment);
      end_refuse(at, status, refusal_text(status));
      return DEAI_OK;
    }
  }
  if (!send_frame(at, part, head)) {
    at->waiting = true; /* others first */
    pump_ask(link);
    return DEAI_EAGAIN;
  }
  if (part->attachment >= 0) (void)close(part->attachment);
  voucher_flush(at);
  return DEAI_OK;
}

static void end_consumed(void *user, uint64_t bytes) {
  ticket *at = user;
  uint64_t back = bytes < at->gather_returned ? bytes : at->gather_returned;
  at->gather_returned -= back;
  at->owed += bytes - back + at->overhead;
  at->overhead = 0;
  gather_return(at);
  if (at->owed >= at->window / 4 && !at->link->over) send_window(at);
  if (back > 0) gather_kick(at->link);
}

static void end_cancel(void *user, int32_t status) {
  ticket *at = user;
  deai_call *call = at->call;
  if (at->sent_first) { /* the other side ends it; it keeps its own time as well */
    if (!at->link->over) send_cancel(at);
    return;
  }
  at->call = NULL;
  ticket_free(at);
  deai_call_drop(call, DEAI_SIDE_CALLEE, status, "the caller gave up");
}

static void end_closed(void *user) {
  ticket *at = user;
  if (at->call == NULL) return; /* link_end_tickets frees it */
  at->call = NULL;
  ticket_free(at);
}

static const deai_end_ops end_ops = {
    .part = end_part,
    .drain = NULL,
    .consumed = end_consumed,
    .cancel = end_cancel,
    .closed = end_closed,
};

/* ---- frames of the other side ---- */

static void spec_route(deai_link *link, const deai_call_head *head, deai_call_spec *spec,
                       uint8_t *keys, deai_route_head *route) {
  _Alignas(16) uint8_t room[DEAI_CALL_AVOID_MAX * sizeof(deai_bytes) + 64];
  deai_arena arena = {room, sizeof room, 0};
  if (deai_decode(&deai_route_head_table, head->x, route, &arena, NULL, 0) != DEAI_OK) return;
  const deai_bytes *avoid = route->avoid.items;
  for (uint64_t i = 0; i < route->avoid.count && i < DEAI_CALL_AVOID_MAX; i++) {
    if (avoid[i].len != DEAI_KEY_BYTES) continue;
    memcpy(keys + spec->avoid.len, avoid[i].ptr, DEAI_KEY_BYTES);
    spec->avoid.len += DEAI_KEY_BYTES;
  }
  spec->avoid.ptr = keys;
  spec->model = route->model;
  spec->price_max = route->price;
  if (link->options.kind == DEAI_LINK_CLI) spec->plugin = route->plugin;
  if ((route->has & DEAI_ROUTE_HAS_TO) != 0) spec->provider = deai_bytes_of(route->to, 32);
  if ((route->has & DEAI_ROUTE_HAS_HERE) != 0 && route->here) spec->flags |= DEAI_CALL_HERE;
  if ((route->has & DEAI_ROUTE_HAS_AWAY) != 0 && route->away) spec->flags |= DEAI_CALL_AWAY;
  if ((route->has & DEAI_ROUTE_HAS_EXPLAIN) != 0 && route->explain)
    spec->flags |= DEAI_CALL_EXPLAIN;
  ticket *parent = ticket_find(link, route->parent);
  if (parent != NULL && parent->ours) spec->parent = parent->call;
}

static bool link_open(deai_link *link, ticket *at, const deai_call_head *head) {
  uint8_t keys[DEAI_CALL_AVOID_MAX * DEAI_KEY_BYTES];
  uint8_t voucher[1024];
  deai_route_head route = {0};
  deai_call_spec spec = {.service = head->s, .method = head->m, .time_ms = head->t};
  spec.units = head->u;
  spec.caller_kind = link->options.caller_kind;
  spec.caller_class = link->options.caller_class;
  spec.caller_id = link->options.caller_id;
  if (link->options.kind == DEAI_LINK_TO_HOST && (head->has & DEAI_CALL_HAS_C) != 0) {
    spec.caller_kind = head->c.kind;
    spec.caller_id = head->c.id;
  }
  if ((head->has & DEAI_CALL_HAS_J) != 0) spec.job = deai_bytes_of(head->j, DEAI_ID_BYTES);
  if ((head->has & DEAI_CALL_HAS_O) != 0 && link->options.kind != DEAI_LINK_CLI)
    spec.origin = deai_bytes_of(head->o, DEAI_ID_BYTES);
  if (is_own(link) && (head->has & DEAI_CALL_HAS_X) != 0)
    spec_route(link, head, &spec, keys, &route);
  if ((head->has & DEAI_CALL_HAS_V) != 0) {
    deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){voucher, sizeof voucher});
    if (deai_encode(&deai_signed_table, &head->v, &writer, NULL, 0) == DEAI_OK)
      spec.voucher = deai_bytes_of(voucher, writer.len);
  }
  at->call = link->ops.open(link->user, &spec, &end_ops, at);
  return at->call != NULL;
}

static void input_send(deai_link *link, ticket *at, const deai_part *part) {
  int32_t status = deai_call_take(at->call, at->ours ? DEAI_SIDE_CALLEE : DEAI_SIDE_CALLER, part);
  if (status == DEAI_EAGAIN)
    link_fault(link, "expected parts within the window of ticket %llu, found more",
               (unsigned long long)at->id);
  else if (status != DEAI_OK && status != DEAI_ENOTFOUND) /* a lost part would lose an end */
    link_fault(link, "a part could not be taken: %s", deai_status_text(status));
}

static void input_call(deai_link *link, ticket *at, deai_bytes head_bytes, deai_part *part) {
  char err[DEAI_ERR_CAP];
  deai_call_head head;
  if (deai_decode(&deai_call_head_table, head_bytes, &head, NULL, err, sizeof err) != DEAI_OK) {
    link_fault(link, "%s", err);
    return;
  }
  if ((head.has & DEAI_CALL_HAS_C) != 0 && link->options.kind != DEAI_LINK_TO_HOST) {
    refuse_call(link, at->id, DEAI_EDENIED, "expected no caller in the head: the node sets it");
    ticket_free(at);
    return;
  }
  part->args = head.a;
  if (!link_open(link, at, &head)) {
    refuse_call(link, at->id, DEAI_ENOMEM, "not enough memory for a call");
    ticket_free(at);
    return;
  }
  at->overhead += head_bytes.len - part->args.len;
  input_send(link, at, part);
}

/* Room for what a head brings besides its item, while its part is handed on. */
typedef struct head_room {
  uint8_t provider[DEAI_KEY_BYTES];
  uint8_t receipt[HEAD_ROOM];
} head_room;

/* from_own returns whether the other side is the node that this process belongs to. */
static bool from_own(const deai_link *link) {
  return link->options.kind == DEAI_LINK_TO_HOST || link->options.kind == DEAI_LINK_TO_NODE;
}

/* provider_take takes who answers from a host or node, which alone may say so. */
static void provider_take(const deai_link *link, bool has, const uint8_t *key, head_room *room,
                          deai_part *part) {
  if (!from_own(link) || !has) return;
  memcpy(room->provider, key, DEAI_KEY_BYTES);
  part->provider = deai_bytes_of(room->provider, DEAI_KEY_BYTES);
}

static bool input_part_head(deai_link *link, ticket *at, deai_bytes head_bytes, deai_part *part,
                            head_room *room) {
  char err[DEAI_ERR_CAP];
  deai_part_head head;
  if (deai_decode(&deai_part_head_table, head_bytes, &head, NULL, err, sizeof err) != DEAI_OK) {
    link_fault(link, "%s", err);
    return false;
  }
  part->args = head.a;
  part->units = head.u;
  provider_take(link, (head.has & DEAI_PART_HAS_W) != 0, head.w, room, part);
  if ((head.has & DEAI_PART_HAS_V) != 0 && link->ops.voucher != NULL && !at->ours)
    link->ops.voucher(link->user, at->call, &head.v);
  bool only_voucher = head.has == DEAI_PART_HAS_V && part->body.len == 0 && part->flags == 0;
  at->overhead += head_bytes.len - part->args.len;
  if (only_voucher) end_consumed(at, 0);
  return !only_voucher;
}

static bool input_end_head(deai_link *link, ticket *at, deai_bytes head_bytes, deai_part *part,
                           head_room *room) {
  char err[DEAI_ERR_CAP];
  deai_end_head head;
  if (deai_decode(&deai_end_head_table, head_bytes, &head, NULL, err, sizeof err) != DEAI_OK ||
      head.st > 0 || head.st < DEAI_STATUS_MIN || head.st == DEAI_EAGAIN) {
    link_fault(link, "expected an end with a known status, found another");
    return false;
  }
  part->args = head.a;
  part->units = head.u;
  part->status = (int32_t)head.st;
  part->why = head.why;
  provider_take(link, (head.has & DEAI_END_HAS_W) != 0, head.w, room, part);
  if (from_own(link) && (head.has & DEAI_END_HAS_OTHERS) != 0) part->others = head.others;
  if ((head.has & DEAI_END_HAS_R) != 0) {
    deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room->receipt, sizeof room->receipt});
    if (deai_encode(&deai_signed_table, &head.r, &writer, NULL, 0) == DEAI_OK)
      part->receipt = deai_bytes_of(room->receipt, writer.len);
  }
  at->overhead += head_bytes.len - part->args.len;
  return true;
}

/* input_part takes a whole part: what came in several frames was put together before. */
static void input_part(deai_link *link, ticket *at, uint8_t kind, uint8_t flags, deai_bytes head,
                       deai_part *part) {
  part->flags = (flags & DEAI_FRAME_END) != 0 ? DEAI_PART_END : 0;
  if (kind == DEAI_FRAME_CALL) {
    input_call(link, at, head, part);
    return;
  }
  head_room *room = malloc(sizeof *room);
  DEAI_ASSERT(room != NULL); /* a lost part would lose an end */
  bool is_end = at->ours && part->flags != 0;
  bool good = is_end ? input_end_head(link, at, head, part, room)
                     : input_part_head(link, at, head, part, room);
  if (good) input_send(link, at, part);
  free(room);
}

/* gather_frame keeps a frame whose body goes on. */
static void gather_frame(deai_link *link, ticket *at, const deai_frame *frame, int32_t attachment) {
  if (at->gather == NULL) {
    at->gather = deai_buffer_new(DEAI_BODY_MAX);
    at->gather_head = malloc((size_t)frame->head.len + 1);
    at->gather_head_len = frame->head.len;
    at->gather_kind = frame->kind;
    at->gather_len = 0;
    if (attachment >= 0) at->gather_attachment = fcntl(attachment, F_DUPFD_CLOEXEC, 3);
    if (at->gather == NULL || at->gather_head == NULL) {
      link_fault(link, "no memory for a body");
      return;
    }
    memcpy(at->gather_head, frame->head.ptr, (size_t)frame->head.len);
  } else if (frame->head.len != 0 || attachment >= 0) {
    link_fault(link,
               "expected an empty head and no descriptor in a frame that goes on, found %llu bytes",
               (unsigned long long)frame->head.len);
    return;
  }
  if (frame->body.len > DEAI_BODY_MAX - at->gather_len) {
    link_fault(link, "expected a body of at most %u bytes, found more", DEAI_BODY_MAX);
    return;
  }
  if (frame->body.len > 0)
    memcpy(at->gather->ptr + at->gather_len, frame->body.ptr, (size_t)frame->body.len);
  at->gather_len += frame->body.len;
}

static void input_gathered(deai_link *link, ticket *at, uint8_t flags, deai_part *part) {
  deai_buffer *gather = at->gather;
  uint8_t *head = at->gather_head;
  int32_t attachment = at->gather_attachment;
  at->gather = NULL;
  at->gather_head = NULL;
  at->gather_attachment = -1;
  part->attachment = attachment;
  part->body = deai_bytes_of(gather->ptr, at->gather_len);
  part->buffer = gather;
  input_part(link, at, at->gather_kind, flags, deai_bytes_of(head, at->gather_head_len), part);
  deai_buffer_drop(gather);
  if (attachment >= 0) (void)close(attachment); /* the call core took its own copy */
  free(head);
}

/* cuts_off returns whether an END takes the place of a body that is under way (its call was
   cancelled or its time is up): it is the only frame then with a head. */
static bool cuts_off(const ticket *at, const deai_frame *frame) {
  return at->ours && at->gather != NULL && frame->flags == DEAI_FRAME_END && frame->head.len > 0;
}

/* input_stream counts a CALL or PART frame against the window and hands it on when complete. */
static void input_stream(deai_link *link, ticket *at, const deai_frame *frame, int32_t attachment) {
  deai_part part = {.size = (uint32_t)sizeof part, .attachment = attachment, .body = frame->body};
  if (at->granted <= 0) {
    link_fault(link, "expected no frame beyond the window of ticket %llu",
               (unsigned long long)at->id);
    return;
  }
  at->granted -= (int64_t)(frame->head.len + frame->body.len);
  at->frames++;
  at->bytes += frame->head.len + frame->body.len;
  bool more = (frame->flags & DEAI_FRAME_MORE) != 0;
  if (cuts_off(at, frame)) gather_clear(at);
  if (!more && at->gather == NULL) {
    input_part(link, at, frame->kind, frame->flags, frame->head, &part);
    return;
  }
  gather_frame(link, at, frame, attachment);
  if (link->over) return;
  if (!more) {
    at->gather_held = 0;
    input_gathered(link, at, frame->flags, &part);
    return;
  }
  at->gather_held += frame->body.len;
  gather_return(at);
  if (at->owed >= at->window / 4) send_window(at);
}

static ticket *input_new_ticket(deai_link *link, const deai_frame *frame) {
  bool odd = (frame->ticket & 1) != 0;
  if (odd == link->options.dialled || frame->ticket <= link->last_id) {
    link_fault(link, "expected a new ticket of the other side, found %llu",
               (unsigned long long)frame->ticket);
    return NULL;
  }
  link->last_id = frame->ticket;
  if (link->ticket_count >= DEAI_TICKETS_MAX) {
    refuse_call(link, frame->ticket, DEAI_EBUSY,
                "expected at most 256 open calls on a connection; wait for one to end");
    return NULL;
  }
  ticket *at = ticket_new(link, frame->ticket, false);
  if (at == NULL) refuse_call(link, frame->ticket, DEAI_ENOMEM, "not enough memory for a call");
  return at;
}

static bool ticket_known(const deai_link *link, uint64_t id) {
  bool ours = ((id & 1) != 0) == link->options.dialled;
  return ours ? id < link->next_id : id <= link->last_id;
}

static void input_cancel(deai_link *link, ticket *at) {
  uint64_t second = deai_loop_now_ns(link->options.loop) / UINT64_C(1000000000);
  if (second != link->cancel_second) link->cancel_count = 0;
  link->cancel_second = second;
  if (++link->cancel_count > CANCELS_A_SECOND_MAX) {
    link_fault(link, "expected at most %u cancelled calls a second, found more",
               CANCELS_A_SECOND_MAX);
    return;
  }
  if (at->ours) return;
  if (at->call != NULL) {
    deai_call_cancel(at->call, DEAI_ECANCELLED);
    return;
  }
  refuse_call(link, at->id, DEAI_ECANCELLED, "the caller gave up"); /* its CALL was not whole */
  ticket_free(at);
}

static void input_window(deai_link *link, ticket *at, const deai_frame *frame) {
  deai_window_head head;
  if (deai_decode(&deai_window_head_table, frame->head, &head, NULL, NULL, 0) != DEAI_OK ||
      at->credit + (int64_t)head.c > (int64_t)DEAI_WINDOW_MAX) {
    link_fault(link, "expected a window of at most %u bytes", DEAI_WINDOW_MAX);
    return;
  }
  at->credit += (int64_t)head.c;
  voucher_flush(at);
  if (at->waiting) pump_ask(link);
}

static void input_ticket(deai_link *link, const deai_frame *frame, int32_t *attachment) {
  ticket *at = NULL;
  if (frame->kind == DEAI_FRAME_CALL) {
    at = input_new_ticket(link, frame);
    if (at == NULL) return;
  } else {
    at = ticket_find(link, frame->ticket);
    if (at == NULL && !ticket_known(link, frame->ticket))
      link_fault(link, "expected a known ticket, found %llu in a frame of kind %u",
                 (unsigned long long)frame->ticket, (unsigned)frame->kind);
    if (at == NULL) return; /* a late frame of a call that is over */
  }
  if (frame->kind == DEAI_FRAME_CANCEL) {
    input_cancel(link, at);
  } else if (frame->kind == DEAI_FRAME_WINDOW) {
    input_window(link, at, frame);
  } else if (frame->kind == DEAI_FRAME_PART && at->call == NULL && at->gather == NULL) {
    link_fault(link, "expected the CALL first on ticket %llu", (unsigned long long)frame->ticket);
  } else {
    int32_t taken = *attachment;
    *attachment = -1;
    input_stream(link, at, frame, taken);
    if (taken >= 0) (void)close(taken); /* the call core took its own copy */
  }
}

static void input_hello(deai_link *link, const deai_frame *frame) {
  char err[DEAI_ERR_CAP] = "";
  _Alignas(16) uint8_t room[512];
  deai_arena arena = {room, sizeof room, 0};
  deai_hello_head hello;
  if (link->ready) {
    link_fault(link, "expected one HELLO, found another");
    return;
  }
  if (deai_decode(&deai_hello_head_table, frame->head, &hello, &arena, err, sizeof err) !=
      DEAI_OK) {
    link_fault(link, "%s", err);
    return;
  }
  bool spoken = false;
  const uint64_t *versions = hello.v.items;
  for (uint64_t i = 0; i < hello.v.count; i++)
    spoken = spoken || versions[i] == DEAI_WIRE_VERSION;
  if (!spoken) {
    link_fault(link, "expected protocol version %u, found others; update the older node",
               DEAI_WIRE_VERSION);
    return;
  }
  link->ready = true;
  if (link->ops.hello != NULL && link->ops.hello(link->user, &hello) != DEAI_OK)
    link_fault(link, "the other side's HELLO was refused");
}

static void input_other(deai_link *link, const deai_frame *frame) {
  char err[DEAI_ERR_CAP] = "";
  deai_update_head update;
  deai_log_head line;
  if (frame->kind == DEAI_FRAME_UPDATE && link->ops.update != NULL) {
    if (deai_decode(&deai_update_head_table, frame->head, &update, NULL, err, sizeof err) ==
        DEAI_OK)
      link->ops.update(link->user, update.topic, update.a);
    else
      link_fault(link, "%s", err);
  } else if (frame->kind == DEAI_FRAME_LOG && link->ops.log != NULL) {
    if (deai_decode(&deai_log_head_table, frame->head, &line, NULL, err, sizeof err) == DEAI_OK)
      link->ops.log(link->user, line.level, line.text);
    else
      link_fault(link, "%s", err);
  } else if (frame->kind == DEAI_FRAME_BEAT && link->ops.beat != NULL) {
    link->ops.beat(link->user);
  } else if (frame->kind == DEAI_FRAME_STOP && link->ops.stop != NULL) {
    link->ops.stop(link->user);
  } else {
    link_fault(link, "a frame of kind %u is not expected here", (unsigned)frame->kind);
  }
}

void deai_link_input(deai_link *link, const deai_frame *frame, int32_t attachment) {
  link->refs++;
  bool stream = frame->kind == DEAI_FRAME_CALL || frame->kind == DEAI_FRAME_PART;
  bool wants_attachment = (frame->flags & DEAI_FRAME_ATTACHMENT) != 0;
  bool local = link->options.kind == DEAI_LINK_TO_CHILD || link->options.kind == DEAI_LINK_TO_HOST;
  if (link->over) {
    /* late */
  } else if ((wants_attachment && !local) || wants_attachment != (attachment >= 0)) {
    link_fault(link, "expected a descriptor where the flag says so");
  } else if (frame->kind == DEAI_FRAME_HELLO) {
    input_hello(link, frame);
  } else if (!link->ready) {
    link_fault(link, "expected HELLO first, found a frame of kind %u", (unsigned)frame->kind);
  } else if (stream || frame->kind == DEAI_FRAME_WINDOW || frame->kind == DEAI_FRAME_CANCEL) {
    input_ticket(link, frame, &attachment);
  } else {
    input_other(link, frame);
  }
  if (attachment >= 0) (void)close(attachment);
  link_unref(link);
}

/* ---- life ---- */

deai_link *deai_link_new(const deai_link_options *options, const deai_link_ops *ops, void *user) {
  DEAI_ASSERT(options->caller_id.len <= DEAI_NAME_MAX && options->body_max <= DEAI_BODY_MAX);
  deai_link *link = calloc(1, sizeof *link);
  if (link == NULL) return NULL;
  link->options = *options;
  link->ops = *ops;
  link->user = user;
  link->refs = 1;
  link->next_id = options->dialled ? 1 : 2;
  link->head = malloc(HEAD_ROOM);
  if (link->head == NULL) {
    free(link);
    return NULL;
  }
  if (options->caller_id.len > 0)
    memcpy(link->caller_id, options->caller_id.ptr, (size_t)options->caller_id.len);
  link->options.caller_id = deai_bytes_of(link->caller_id, options->caller_id.len);
  return link;
}

void deai_link_hello(deai_link *link, const deai_hello_head *hello) {
  if (link->over || link->sent_hello) return;
  link->sent_hello = true;
  uint64_t version = DEAI_WIRE_VERSION;
  deai_hello_head head = *hello;
  head.v = (deai_list){&version, 1};
  head.n = deai_str_of("deai " DEAI_VERSION);
  link_send(link, DEAI_FRAME_HELLO, 0, 0, link_encode(link, &deai_hello_head_table, &head),
            (deai_bytes){NULL, 0}, -1);
}

bool deai_link_ready(const deai_link *link) {
  return link->ready && link->sent_hello && !link->over;
}

void deai_link_class(deai_link *link, uint32_t caller_class) {
  link->options.caller_class = caller_class;
}

void deai_link_writable(deai_link *link) {
  pump_ask(link);
}

int32_t deai_link_serve(deai_link *link, deai_call *call) {
  if (!deai_link_ready(link)) return DEAI_EPEER_LOST;
  if (link->ticket_count >= DEAI_TICKETS_MAX) return DEAI_EBUSY;
  ticket *at = ticket_new(link, 0, true);
  if (at == NULL) return DEAI_ENOMEM;
  at->parent = parent_ticket(link, deai_call_about(call)->parent);
  at->call = call;
  deai_call_attach(call, &end_ops, at);
  return DEAI_OK;
}

void deai_link_pay(deai_link *link, deai_call *call, const deai_signed *voucher) {
  ticket *at = link->tickets;
  while (at != NULL && !(at->ours && at->call == call))
    at = at->next;
  if (at == NULL || link->over || !at->sent_first) return;
  deai_part_head head = {.has = DEAI_PART_HAS_V, .v = *voucher};
  deai_bytes bytes = link_encode(link, &deai_part_head_table, &head);
  uint8_t *copy = bytes.len > 0 ? malloc((size_t)bytes.len) : NULL;
  if (copy == NULL) return; /* the next voucher covers this one as well */
  memcpy(copy, bytes.ptr, (size_t)bytes.len);
  free(at->voucher); /* a later voucher covers the one that still waits */
  at->voucher = copy;
  at->voucher_len = bytes.len;
  voucher_flush(at);
}

void deai_link_update(deai_link *link, deai_str topic, deai_bytes value) {
  deai_update_head head = {.a = value, .topic = topic};
  if (!deai_link_ready(link)) return;
  link_send(link, DEAI_FRAME_UPDATE, 0, 0, link_encode(link, &deai_update_head_table, &head),
            (deai_bytes){NULL, 0}, -1);
}

void deai_link_log(deai_link *link, uint64_t level, deai_str text) {
  deai_log_head head = {.text = text, .level = level};
  if (link->over || !link->sent_hello) return;
  link_send(link, DEAI_FRAME_LOG, 0, 0, link_encode(link, &deai_log_head_table, &head),
            (deai_bytes){NULL, 0}, -1);
}

static void send_plain(deai_link *link, uint8_t kind) {
  if (link->over || !link->sent_hello) return;
  link_send(link, kind, 0, 0, deai_bytes_of("\xa0", 1), (deai_bytes){NULL, 0}, -1);
}

void deai_link_beat(deai_link *link) {
  send_plain(link, DEAI_FRAME_BEAT);
}

void deai_link_stop(deai_link *link) {
  send_plain(link, DEAI_FRAME_STOP);
}

uint32_t deai_link_tickets(const deai_link *link) {
  return link->ticket_count;
}

void deai_link_end(deai_link *link) {
  if (!link->over) link_end_tickets(link);
}

void deai_link_free(deai_link *link) {
  if (link == NULL) return;
  if (!link->over) link_end_tickets(link);
  link_unref(link);
}
