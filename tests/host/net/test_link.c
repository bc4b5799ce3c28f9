/* Two links joined in memory: calls both ways, windows, long bodies, cancel, every protocol fault.
   */
#include "tests/testing.h"

#include "host/base/buffer.h"
#include "host/link.h"
#include "tests/host/router/ends.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/base/banned.h"

#define SERVED_MAX 600u

/* A frame on its way, as bytes. */
typedef struct flight {
  struct flight *next;
  int attachment;
  uint64_t len;
  uint8_t bytes[];
} flight;

/* What the last CALL said. */
typedef struct asked {
  char service[65];
  char method[65];
  char plugin[65];
  uint32_t caller_kind;
  uint32_t caller_class;
  uint8_t caller_id[64];
  uint64_t caller_id_len;
  uint64_t provider_len;
  uint64_t model_len;
  uint64_t avoid_len;
  uint64_t origin_len;
  uint64_t job_len;
  uint64_t voucher_len;
  uint64_t price_max;
  uint64_t time_ms;
  uint64_t units;
  uint32_t flags;
  deai_call *parent;
} asked;

typedef struct side {
  deai_link *link;
  struct side *other;
  flight *first; /* frames to this side */
  flight **last;
  uint32_t frames; /* sent by this side, by kind */
  uint32_t kinds[16];
  uint64_t backlog;
  uint32_t closed;
  char why[DEAI_ERR_CAP];
  test_end served[SERVED_MAX];
  uint32_t served_count;
  asked asked;
  void (*on_part)(test_end *end, const deai_part *part); /* of the ends it serves */
  uint32_t hellos;
  int32_t hello_status;
  uint32_t updates;
  uint32_t logs;
  uint32_t beats;
  uint32_t stops;
  uint32_t vouchers;
  bool pays; /* a CALL to the other side carries a voucher */
} side;

static deai_loop *loop;
static side *a; /* dialled */
static side *b;
static uint64_t buffers_before;

/* ---- the transport ---- */

static void on_send(void *user, const deai_frame *frame, int32_t attachment) {
  side *from = user;
  side *to = from->other;
  uint64_t len = DEAI_FRAME_HEADER + frame->head.len + frame->body.len;
  flight *made = malloc(sizeof *made + (size_t)len);
  ck_assert_ptr_nonnull(made);
  made->next = NULL;
  made->len = len;
  made->attachment = attachment >= 0 ? fcntl(attachment, F_DUPFD_CLOEXEC, 3) : -1;
  deai_frame_header(frame, made->bytes);
  if (frame->head.len > 0)
    memcpy(made->bytes + DEAI_FRAME_HEADER, frame->head.ptr, (size_t)frame->head.len);
  if (frame->body.len > 0)
    memcpy(made->bytes + DEAI_FRAME_HEADER + frame->head.len, frame->body.ptr,
           (size_t)frame->body.len);
  from->frames++;
  from->kinds[frame->kind]++;
  *to->last = made;
  to->last = &made->next;
}

static uint64_t on_backlog(void *user) {
  side *at = user;
  return at->backlog;
}

static void flight_free(flight *gone) {
  if (gone->attachment >= 0) (void)close(gone->attachment);
  free(gone);
}

/* deliver hands the next frame to a side; false when none waits. */
static bool deliver(side *to) {
  flight *next = to->first;
  const char *why = "";
  deai_frame frame;
  if (next == NULL) return false;
  to->first = next->next;
  if (to->first == NULL) to->last = &to->first;
  ck_assert_int_eq(
      deai_frame_read(deai_bytes_of(next->bytes, next->len), DEAI_BODY_MAX, &frame, &why), DEAI_OK);
  int attachment = next->attachment;
  next->attachment = -1;
  if (to->link != NULL)
    deai_link_input(to->link, &frame, attachment);
  else if (attachment >= 0)
    (void)close(attachment);
  flight_free(next);
  return true;
}

static void settle(void) {
  bool more = true;
  while (more) {
    deai_loop_drain(loop);
    more = deliver(a);
    more = deliver(b) || more;
  }
}

/* ---- the owner's side ---- */

static void take_text(char out[65], deai_str text) {
  (void)snprintf(out, 65, "%.*s", (int)text.len, text.len > 0 ? text.ptr : "");
}

static deai_call *on_open(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                          void *end_user) {
  side *at = user;
  ck_assert_uint_lt(at->served_count, SERVED_MAX);
  at->asked = (asked){.caller_kind = spec->caller_kind,
                      .caller_class = spec->caller_class,
                      .caller_id_len = spec->caller_id.len,
                      .provider_len = spec->provider.len,
                      .model_len = spec->model.len,
                      .avoid_len = spec->avoid.len,
                      .origin_len = spec->origin.len,
                      .job_len = spec->job.len,
                      .voucher_len = spec->voucher.len,
                      .price_max = spec->price_max,
                      .time_ms = spec->time_ms,
                      .units = spec->units,
                      .flags = spec->flags,
                      .parent = spec->parent};
  take_text(at->asked.service, spec->service);
  take_text(at->asked.method, spec->method);
  take_text(at->asked.plugin, spec->plugin);
  if (spec->caller_id.len > 0)
    memcpy(at->asked.caller_id, spec->caller_id.ptr, (size_t)spec->caller_id.len);
  deai_call *call = deai_call_new(loop, spec, ops, end_user);
  test_end *end = &at->served[at->served_count++];
  *end = test_end_of(loop, DEAI_SIDE_CALLEE);
  end->on_part = at->on_part;
  end->call = call;
  deai_call_attach(call, &test_callee_ops, end);
  return call;
}

static int32_t on_hello(void *user, const deai_hello_head *hello) {
  side *at = user;
  (void)hello;
  at->hellos++;
  return at->hello_status;
}

static void on_update(void *user, deai_str topic, deai_bytes value) {
  side *at = user;
  (void)topic, (void)value;
  at->updates++;
}

static void on_log(void *user, uint64_t level, deai_str text) {
  side *at = user;
  (void)level, (void)text;
  at->logs++;
}

static void on_beat(void *user) {
  side *at = user;
  at->beats++;
}

static void on_stop(void *user) {
  side *at = user;
  at->stops++;
}

static void on_voucher(void *user, deai_call *call, const deai_signed *voucher) {
  side *at = user;
  ck_assert_ptr_nonnull(call);
  ck_assert_uint_gt(voucher->body.len, 0);
  at->vouchers++;
}

static deai_signed some_voucher(void) {
  return (deai_signed){.body = deai_bytes_of("\xa0", 1)};
}

static int32_t on_voucher_of(void *user, deai_call *call, deai_signed *voucher_out) {
  side *at = user;
  (void)call;
  *voucher_out = some_voucher();
  return at->pays ? 1 : 0;
}

static void on_closed(void *user, const char *why) {
  side *at = user;
  at->closed++;
  (void)snprintf(at->why, sizeof at->why, "%s", why);
}

static const deai_link_ops all_ops = {.send = on_send,
                                      .backlog = on_backlog,
                                      .open = on_open,
                                      .hello = on_hello,
                                      .update = on_update,
                                      .log = on_log,
                                      .beat = on_beat,
                                      .stop = on_stop,
                                      .voucher = on_voucher,
                                      .voucher_of = on_voucher_of,
                                      .closed = on_closed};

static deai_link *link_of(side *at, deai_link_kind kind, bool dialled) {
  static uint8_t key[DEAI_KEY_BYTES] = {7};
  deai_link_options options = {.loop = loop,
                               .kind = kind,
                               .dialled = dialled,
                               .body_max = DEAI_PEER_BODY_MAX,
                               .caller_kind = DEAI_CALLER_PEER,
                               .caller_class = DEAI_CLASS_MEMBER,
                               .caller_id = deai_bytes_of(key, sizeof key),
                               .lost_status = DEAI_EPEER_LOST,
                               .lost_why = "the connection to the member was lost"};
  at->last = &at->first;
  return deai_link_new(&options, &all_ops, at);
}

static void join(deai_link_kind kind_a, deai_link_kind kind_b) {
  a->link = link_of(a, kind_a, true);
  b->link = link_of(b, kind_b, false);
  ck_assert_ptr_nonnull(a->link);
  ck_assert_ptr_nonnull(b->link);
  deai_hello_head hello = {0};
  deai_link_hello(a->link, &hello);
  deai_link_hello(b->link, &hello);
  settle();
  ck_assert(deai_link_ready(a->link) && deai_link_ready(b->link));
}

static void setup(void) {
  buffers_before = deai_buffer_total();
  loop = deai_loop_new(deai_platform_system(), 0);
  a = calloc(1, sizeof *a);
  b = calloc(1, sizeof *b);
  ck_assert(loop != NULL && a != NULL && b != NULL);
  a->other = b;
  b->other = a;
}

static void side_free(side *gone) {
  deai_link_free(gone->link);
  gone->link = NULL;
  for (uint32_t i = 0; i < gone->served_count; i++) {
    if (gone->served[i].call != NULL) test_drop(&gone->served[i], DEAI_EIO, "");
  }
  deai_loop_drain(loop);
  while (deliver(gone))
    continue;
  free(gone);
}

static void teardown(void) {
  side_free(a);
  b->other = b; /* nothing is sent to a any more */
  side_free(b);
  deai_loop_drain(loop);
  ck_assert_uint_eq(deai_buffer_total(), buffers_before);
  deai_loop_free(loop);
}

static const deai_call_spec plain = {.service = {"test/1", 6},
                                     .method = {"m", 1},
                                     .time_ms = 10000,
                                     .caller_class = DEAI_CLASS_LOCAL};

static void call_spec(side *from, test_end *caller, const deai_call_spec *spec) {
  *caller = test_end_of(loop, DEAI_SIDE_CALLER);
  caller->call = deai_call_new(loop, spec, &test_caller_ops, caller);
  ck_assert_ptr_nonnull(caller->call);
  int32_t status = deai_link_serve(from->link, caller->call);
  if (status != DEAI_OK) deai_call_fail(caller->call, status, "not served");
}

static void call_begin(side *from, test_end *caller) {
  call_spec(from, caller, &plain);
}

/* ---- faults ---- */

typedef struct wrong_frame {
  const char *why; /* a part of the reason */
  deai_frame frame;
  bool before_hello;
} wrong_frame;

#define TEXT(text)                                                                                 \
  { (const uint8_t *)(text), sizeof(text) - 1 }
#define CALL_HEAD                                                                                  \
  "\xa3"                                                                                           \
  "am"                                                                                             \
  "am"                                                                                             \
  "as"                                                                                             \
  "ax"                                                                                             \
  "at"                                                                                             \
  "\x01"

static const wrong_frame wrong_frames[] = {
    {"expected HELLO first, found a frame of kind 2", {DEAI_FRAME_CALL, 1, 1, TEXT(""), {0}}, true},
    {"", {DEAI_FRAME_HELLO, 0, 0, TEXT("\xff"), {0}}, true},
    {"expected protocol version 1, found others",
     {DEAI_FRAME_HELLO,
      0,
      0,
      TEXT("\xa2"
           "an"
           "`"
           "av"
           "\x81\x02"),
      {0}},
     true},
    {"expected one HELLO",
     {DEAI_FRAME_HELLO,
      0,
      0,
      TEXT("\xa2"
           "an"
           "`"
           "av"
           "\x81\x01"),
      {0}},
     false},
    {"expected a new ticket of the other side, found 2",
     {DEAI_FRAME_CALL, 1, 2, TEXT(CALL_HEAD), {0}},
     false},
    {"call", {DEAI_FRAME_CALL, 1, 1, TEXT("\xa0"), {0}}, false},
    {"call", {DEAI_FRAME_CALL, 1, 1, TEXT(""), {0}}, false},
    {"expected a known ticket, found 7 in a frame of kind 3",
     {DEAI_FRAME_PART, 0, 7, TEXT("\xa0"), {0}},
     false},
    {"expected a known ticket, found 4 in a frame of kind 4",
     {DEAI_FRAME_WINDOW,
      0,
      4,
      TEXT("\xa1"
           "ac"
           "\x01"),
      {0}},
     false},
    {"expected a known ticket, found 9 in a frame of kind 5",
     {DEAI_FRAME_CANCEL, 0, 9, TEXT("\xa0"), {0}},
     false},
    {"expected a descriptor where the flag says so",
     {DEAI_FRAME_CALL, DEAI_FRAME_ATTACHMENT, 1, TEXT(CALL_HEAD), {0}},
     false},
    {"update", {DEAI_FRAME_UPDATE, 0, 0, TEXT("\xa0"), {0}}, false},
    {"log", {DEAI_FRAME_LOG, 0, 0, TEXT("\xa0"), {0}}, false},
};

static void raw(side *to, uint8_t kind, uint8_t flags, uint64_t ticket, deai_bytes head,
                deai_bytes body) {
  deai_frame frame = {kind, flags, ticket, head, body};
  deai_link_input(to->link, &frame, -1);
}

/* raw_peer makes b a link whose other side is the test itself, which dialled. */
static void raw_peer(void) {
  b->link = link_of(b, DEAI_LINK_PEER, false);
  a->last = &a->first;
  deai_hello_head hello = {0};
  deai_link_hello(b->link, &hello);
}

static void raw_hello(void) {
  raw(b, DEAI_FRAME_HELLO, 0, 0,
      (deai_bytes)TEXT("\xa2"
                       "an"
                       "`"
                       "av"
                       "\x81\x01"),
      (deai_bytes){0});
  ck_assert(deai_link_ready(b->link));
}

static void raw_call(uint64_t ticket, uint8_t flags, uint64_t body_len) {
  static uint8_t zeros[DEAI_BODY_MAX];
  raw(b, DEAI_FRAME_CALL, flags, ticket, (deai_bytes)TEXT(CALL_HEAD),
      deai_bytes_of(zeros, body_len));
}

static void expect_fault(const char *why) {
  ck_assert_uint_eq(b->closed, 1);
  ck_assert_msg(strstr(b->why, why) != NULL, "expected \"%s\", found \"%s\"", why, b->why);
  ck_assert(!deai_link_ready(b->link));
  ck_assert_uint_eq(deai_link_tickets(b->link), 0);
}

START_TEST(a_wrong_frame_ends_the_connection) {
  const wrong_frame *wrong = &wrong_frames[_i];
  raw_peer();
  if (!wrong->before_hello) raw_hello();
  deai_link_input(b->link, &wrong->frame, -1);
  expect_fault(wrong->why);
  deai_link_input(b->link, &wrong->frame, -1); /* late frames are nothing */
  ck_assert_uint_eq(b->closed, 1);
}
END_TEST

START_TEST(frames_that_nobody_expects_here) {
  static const uint8_t kinds[] = {DEAI_FRAME_UPDATE, DEAI_FRAME_LOG, DEAI_FRAME_BEAT,
                                  DEAI_FRAME_STOP};
  deai_link_ops few = all_ops;
  few.update = NULL;
  few.log = NULL;
  few.beat = NULL;
  few.stop = NULL;
  deai_link_options options = {.loop = loop, .kind = DEAI_LINK_CLI, .lost_why = ""};
  b->last = &b->first;
  a->last = &a->first;
  b->link = deai_link_new(&options, &few, b);
  deai_hello_head hello = {0};
  deai_link_hello(b->link, &hello);
  raw_hello();
  raw(b, kinds[_i], 0, 0, (deai_bytes)TEXT("\xa0"), (deai_bytes){0});
  char why[64];
  (void)snprintf(why, sizeof why, "a frame of kind %u is not expected here", kinds[_i]);
  expect_fault(why);
}
END_TEST

START_TEST(a_refused_hello_ends_the_connection) {
  raw_peer();
  b->hello_status = DEAI_EDENIED;
  raw(b, DEAI_FRAME_HELLO, 0, 0,
      (deai_bytes)TEXT("\xa2"
                       "an"
                       "`"
                       "av"
                       "\x81\x01"),
      (deai_bytes){0});
  expect_fault("HELLO was refused");
}
END_TEST

START_TEST(a_ticket_is_never_used_again) {
  raw_peer();
  raw_hello();
  raw_call(3, DEAI_FRAME_END, 0);
  deai_loop_drain(loop);
  ck_assert_uint_eq(b->served_count, 1);
  ck_assert_int_eq(test_send(&b->served[0], NULL, 0, DEAI_PART_END, 0), DEAI_OK);
  deai_loop_drain(loop);
  ck_assert_uint_eq(deai_link_tickets(b->link), 0);
  raw(b, DEAI_FRAME_WINDOW, 0, 3,
      (deai_bytes)TEXT("\xa1"
                       "ac"
                       "\x01"),
      (deai_bytes){0});                                                       /* late */
  raw(b, DEAI_FRAME_CANCEL, 0, 1, (deai_bytes)TEXT("\xa0"), (deai_bytes){0}); /* below: known */
  ck_assert_uint_eq(b->closed, 0);
  raw_call(3, DEAI_FRAME_END, 0);
  expect_fault("expected a new ticket of the other side, found 3");
}
END_TEST

START_TEST(a_sender_that_ignores_its_window_is_a_fault) {
  static uint8_t body[65536];
  raw_peer();
  raw_hello();
  raw_call(1, 0, 10);
  b->served[0].refuse = 1000;
  deai_loop_drain(loop);
  raw(b, DEAI_FRAME_PART, 0, 1, (deai_bytes)TEXT("\xa0"), deai_bytes_of(body, sizeof body));
  ck_assert_uint_eq(b->closed, 0); /* one frame may pass while any credit is left */
  raw(b, DEAI_FRAME_PART, 0, 1, (deai_bytes)TEXT("\xa0"), deai_bytes_of(body, 1));
  expect_fault("expected no frame beyond the window of ticket 1");
  deai_loop_drain(loop);
  ck_assert_uint_eq(b->served[0].cancels, 1); /* its caller is gone */
}
END_TEST

START_TEST(a_window_beyond_its_limit_is_a_fault) {
  raw_peer();
  raw_hello();
  raw_call(1, 0, 10);
  raw(b, DEAI_FRAME_WINDOW, 0, 1,
      _i == 0 ? (deai_bytes)TEXT("\xa1"
                                 "ac"
                                 "\x1a\x00\x10\x00\x00")
              : (deai_bytes)TEXT("\xa1"
                                 "ac"
                                 "\x1b\xff\xff\xff\xff\xff\xff\xff\xff"),
      (deai_bytes){0});
  expect_fault("expected a window of at most 1048576 bytes");
}
END_TEST

START_TEST(bodies_that_go_on_are_checked) {
  static uint8_t body[65536];
  raw_peer();
  raw_hello();
  raw_call(1, DEAI_FRAME_MORE, 100);
  if (_i == 0) {
    raw(b, DEAI_FRAME_PART, 0, 1, (deai_bytes)TEXT("\xa0"), deai_bytes_of(body, 1));
    expect_fault("expected an empty head and no descriptor in a frame that goes on");
    return;
  }
  if (_i == 1) { /* only the callee's END may cut off */
    raw(b, DEAI_FRAME_PART, DEAI_FRAME_END, 1, (deai_bytes)TEXT("\xa0"), deai_bytes_of(body, 1));
    expect_fault("expected an empty head and no descriptor in a frame that goes on");
    return;
  }
  for (int i = 0; i < 17 && b->closed == 0; i++)
    raw(b, DEAI_FRAME_PART, DEAI_FRAME_MORE, 1, (deai_bytes){0}, deai_bytes_of(body, sizeof body));
  expect_fault("expected a body of at most 1048576 bytes, found more");
}
END_TEST

START_TEST(an_end_with_an_unknown_status_is_a_fault) {
  static const deai_bytes heads[] = {TEXT("\xa1"
                                          "bst"
                                          "\x01"),
                                     TEXT("\xa1"
                                          "bst"
                                          "\x22"),
                                     TEXT("\xa1"
                                          "bst"
                                          "\x38\x63"),
                                     TEXT("\xa0")};
  test_end caller;
  raw_peer();
  raw_hello();
  call_begin(b, &caller);
  ck_assert_int_eq(test_send(&caller, "x", 0, 0, 0), DEAI_OK);
  deai_loop_drain(loop);
  raw(b, DEAI_FRAME_PART, DEAI_FRAME_END, 2, heads[_i], (deai_bytes){0});
  expect_fault("expected an end with a known status");
  deai_loop_drain(loop);
  ck_assert_int_eq(caller.status, DEAI_EPEER_LOST);
  ck_assert_str_eq(caller.why, "the connection to the member was lost");
}
END_TEST

START_TEST(a_flood_of_cancels_is_a_fault) {
  raw_peer();
  raw_hello();
  for (uint64_t ticket = 1; ticket < 900 && b->closed == 0; ticket += 2) {
    raw_call(ticket, DEAI_FRAME_END, 0);
    raw(b, DEAI_FRAME_CANCEL, 0, ticket, (deai_bytes)TEXT("\xa0"), (deai_bytes){0});
    deai_loop_drain(loop);
    if (b->served_count > 0 && b->served[b->served_count - 1].call != NULL)
      test_drop(&b->served[b->served_count - 1], DEAI_ECANCELLED, "");
  }
  expect_fault("expected at most 200 cancelled calls a second, found more");
}
END_TEST

START_TEST(a_caller_in_the_head_is_refused) {
  raw_peer();
  raw_hello();
  raw(b, DEAI_FRAME_CALL, DEAI_FRAME_END, 1,
      (deai_bytes)TEXT("\xa4"
                       "ac"
                       "\x82"
                       "ccli"
                       "@"
                       "am"
                       "am"
                       "as"
                       "ax"
                       "at"
                       "\x01"),
      (deai_bytes){0});
  ck_assert_uint_eq(b->closed, 0);
  ck_assert_uint_eq(b->served_count, 0);
  ck_assert_uint_eq(deai_link_tickets(b->link), 0);
  ck_assert_uint_eq(b->kinds[DEAI_FRAME_PART], 1); /* EDENIED */
}
END_TEST

START_TEST(a_cancel_before_the_call_is_whole_ends_the_ticket) {
  raw_peer();
  raw_hello();
  raw_call(1, DEAI_FRAME_MORE, 100);
  ck_assert_uint_eq(deai_link_tickets(b->link), 1);
  raw(b, DEAI_FRAME_CANCEL, 0, 1, (deai_bytes)TEXT("\xa0"), (deai_bytes){0});
  ck_assert_uint_eq(deai_link_tickets(b->link), 0);
  ck_assert_uint_eq(b->kinds[DEAI_FRAME_PART], 1); /* its END */
  ck_assert_uint_eq(b->served_count, 0);
}
END_TEST

START_TEST(serves_nobody_before_hello_or_after_the_end) {
  test_end caller;
  raw_peer();
  call_begin(b, &caller);
  deai_loop_drain(loop);
  ck_assert_int_eq(caller.status, DEAI_EPEER_LOST);
  raw_hello();
  deai_link_end(b->link);
  deai_link_end(b->link);
  call_begin(b, &caller);
  deai_loop_drain(loop);
  ck_assert_int_eq(caller.status, DEAI_EPEER_LOST);
  ck_assert_uint_eq(b->closed, 0); /* not called for our own end */
  deai_link_beat(b->link);
  deai_link_update(b->link, deai_str_of("x"), deai_bytes_of("\xa0", 1));
}
END_TEST

/* ---- calls ---- */

static uint8_t others_said[DEAI_OTHERS_BYTES];
static uint64_t others_said_len; /* of the callee's END */
static uint64_t others_args_len; /* and its args */
static uint64_t others_got;      /* of the caller's */

/* answer_others answers with an END that names others, as only the router of a node does. */
static void answer_others(test_end *end, const deai_part *part) {
  static const uint8_t zeros[DEAI_HEAD_MAX];
  static uint8_t args[DEAI_HEAD_MAX];
  if ((part->flags & DEAI_PART_END) == 0) return;
  deai_part last = {.size = (uint32_t)sizeof last,
                    .flags = DEAI_PART_END,
                    .attachment = -1,
                    .others = deai_bytes_of(others_said, others_said_len)};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){args, sizeof args});
  if (others_args_len > 0) deai_cbor_put_bytes(&writer, deai_bytes_of(zeros, others_args_len));
  last.args = deai_bytes_of(args, writer.len);
  ck_assert_int_eq(deai_call_send(end->call, DEAI_SIDE_CALLEE, &last), DEAI_OK);
}

static void got_others(test_end *end, const deai_part *part) {
  (void)end;
  others_got = part->others.len;
  if (others_got > 0) ck_assert_mem_eq(part->others.ptr, others_said, (size_t)others_got);
}

static uint64_t others_over(deai_link_kind kind_a, deai_link_kind kind_b, uint64_t args_len) {
  test_end caller;
  deai_others all = {0};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){others_said, sizeof others_said});
  ck_assert_int_eq(deai_encode(&deai_others_table, &all, &writer, NULL, 0), DEAI_OK);
  others_said_len = writer.len;
  others_args_len = args_len;
  others_got = UINT64_MAX;
  join(kind_a, kind_b);
  b->on_part = answer_others;
  call_begin(a, &caller);
  caller.on_part = got_others;
  ck_assert_int_eq(test_send(&caller, "x", 0, DEAI_PART_END, 0), DEAI_OK);
  settle();
  ck_assert_int_eq(caller.status, DEAI_OK);
  return others_got;
}

START_TEST(a_member_is_told_of_no_others) {
  ck_assert_uint_eq(others_over(DEAI_LINK_PEER, DEAI_LINK_PEER, 0), 0);
}
END_TEST

START_TEST(a_child_tells_its_host_of_no_others) {
  ck_assert_uint_eq(others_over(DEAI_LINK_TO_CHILD, DEAI_LINK_TO_HOST, 0), 0);
}
END_TEST

START_TEST(others_that_do_not_fit_are_left_out) {
  ck_assert_uint_eq(others_over(DEAI_LINK_TO_HOST, DEAI_LINK_TO_CHILD, DEAI_HEAD_MAX - 1024), 0);
}
END_TEST

START_TEST(a_child_is_told_of_others) {
  ck_assert_uint_eq(others_over(DEAI_LINK_TO_HOST, DEAI_LINK_TO_CHILD, 0), others_said_len);
}
END_TEST

START_TEST(the_command_line_is_told_of_others) {
  ck_assert_uint_eq(others_over(DEAI_LINK_TO_NODE, DEAI_LINK_CLI, 100), others_said_len);
}
END_TEST

static void answer(test_end *end, const deai_part *part) {
  if ((part->flags & DEAI_PART_END) == 0) return;
  ck_assert_int_eq(test_send(end, "answer", 0, 0, 0), DEAI_OK);
  ck_assert_int_eq(test_send(end, NULL, 0, DEAI_PART_END, 0), DEAI_OK);
}

START_TEST(calls_go_both_ways) {
  test_end one;
  test_end two;
  join(DEAI_LINK_PEER, DEAI_LINK_PEER);
  a->on_part = answer;
  b->on_part = answer;
  call_begin(a, &one);
  call_begin(b, &two);
  ck_assert_int_eq(test_send(&one, "first", 0, 0, 0), DEAI_OK);
  ck_assert_int_eq(test_send(&one, "second", 0, DEAI_PART_END, 0), DEAI_OK);
  ck_assert_int_eq(test_send(&two, "x", 0, DEAI_PART_END, 0), DEAI_OK);
  settle();
  ck_assert_uint_eq(one.ends, 1);
  ck_assert_uint_eq(one.parts, 2);
  ck_assert_uint_eq(two.bytes, 6);
  ck_assert_uint_eq(b->served[0].parts, 2);
  ck_assert_uint_eq(b->served[0].closed, 1);
  ck_assert_uint_eq(deai_link_tickets(a->link) + deai_link_tickets(b->link), 0);
  ck_assert_str_eq(b->asked.service, "test/1");
  ck_assert_uint_eq(b->asked.caller_kind, DEAI_CALLER_PEER);
  ck_assert_uint_eq(b->asked.caller_class, DEAI_CLASS_MEMBER);
  ck_assert_uint_eq(b->asked.caller_id_len, DEAI_KEY_BYTES);
}
END_TEST

static const uint8_t id[DEAI_ID_BYTES] = {1, 2, 3};
static const uint8_t keys[3 * DEAI_KEY_BYTES] = {9};
static const uint8_t model[] = {1, 0x71, 0x12, 1, 0};

static deai_call_spec full_spec(void) {
  deai_call_spec spec = plain;
  spec.caller_kind = DEAI_CALLER_KEY;
  spec.caller_id = deai_bytes_of("k", 1);
  spec.origin = deai_bytes_of(id, sizeof id);
  spec.job = deai_bytes_of(id, sizeof id);
  spec.units = 77;
  spec.plugin = deai_str_of("storage/blocks");
  spec.provider = deai_bytes_of(keys, DEAI_KEY_BYTES);
  spec.model = deai_bytes_of(model, sizeof model);
  spec.avoid = deai_bytes_of(keys, sizeof keys);
  spec.price_max = 5;
  spec.flags = DEAI_CALL_AWAY | DEAI_CALL_EXPLAIN;
  return spec;
}

static void one_full_call(deai_link_kind kind_a, deai_link_kind kind_b) {
  test_end caller;
  join(kind_a, kind_b);
  a->pays = kind_a == DEAI_LINK_PEER;
  b->on_part = answer;
  deai_call_spec spec = full_spec();
  call_spec(a, &caller, &spec);
  ck_assert_int_eq(test_send(&caller, "x", 0, DEAI_PART_END, 0), DEAI_OK);
  settle();
  ck_assert_uint_eq(caller.ends, 1);
  ck_assert_int_eq(caller.status, DEAI_OK);
}

START_TEST(a_peer_tells_no_route_and_no_caller) {
  one_full_call(DEAI_LINK_PEER, DEAI_LINK_PEER);
  ck_assert_uint_eq(b->asked.caller_kind, DEAI_CALLER_PEER);
  ck_assert_uint_eq(b->asked.provider_len + b->asked.model_len + b->asked.avoid_len, 0);
  ck_assert_str_eq(b->asked.plugin, "");
  ck_assert_uint_eq(b->asked.job_len, DEAI_ID_BYTES);
  ck_assert_uint_eq(b->asked.origin_len, DEAI_ID_BYTES);
  ck_assert_uint_eq(b->asked.units, 77);
  ck_assert_uint_gt(b->asked.voucher_len, 0);
  ck_assert_uint_le(b->asked.time_ms, 10000);
}
END_TEST

START_TEST(a_child_learns_the_caller) {
  one_full_call(DEAI_LINK_TO_CHILD, DEAI_LINK_TO_HOST);
  ck_assert_uint_eq(b->asked.caller_kind, DEAI_CALLER_KEY);
  ck_assert_uint_eq(b->asked.caller_id_len, 1);
  ck_assert_uint_eq(b->asked.provider_len, 0);
}
END_TEST

START_TEST(a_child_says_how_to_route) {
  one_full_call(DEAI_LINK_TO_HOST, DEAI_LINK_TO_CHILD);
  ck_assert_uint_eq(b->asked.caller_kind, DEAI_CALLER_PEER); /* of the connection, in this test */
  ck_assert_uint_eq(b->asked.provider_len, DEAI_KEY_BYTES);
  ck_assert_uint_eq(b->asked.avoid_len, sizeof keys);
  ck_assert_uint_eq(b->asked.model_len, sizeof model);
  ck_assert_uint_eq(b->asked.price_max, 5);
  ck_assert_uint_eq(b->asked.flags, DEAI_CALL_AWAY | DEAI_CALL_EXPLAIN);
  ck_assert_str_eq(b->asked.plugin, ""); /* only the command line names a plug-in */
}
END_TEST

START_TEST(the_command_line_names_a_plugin_and_no_origin) {
  one_full_call(DEAI_LINK_TO_NODE, DEAI_LINK_CLI);
  ck_assert_str_eq(b->asked.plugin, "storage/blocks");
  ck_assert_uint_eq(b->asked.origin_len, 0);
}
END_TEST

START_TEST(the_class_follows_the_connection) {
  test_end caller;
  join(DEAI_LINK_PEER, DEAI_LINK_PEER);
  deai_link_class(b->link, DEAI_CLASS_GUEST);
  call_begin(a, &caller);
  ck_assert_int_eq(test_send(&caller, "x", 0, 0, 0), DEAI_OK);
  settle();
  ck_assert_uint_eq(b->asked.caller_class, DEAI_CLASS_GUEST);
  deai_link_free(b->link);
  b->link = NULL;
  deai_link_end(a->link);
  deai_loop_drain(loop);
  ck_assert_int_eq(caller.status, DEAI_EPEER_LOST);
}
END_TEST

START_TEST(a_parent_is_found_by_its_ticket) {
  test_end outer;
  test_end inner;
  join(DEAI_LINK_TO_CHILD, DEAI_LINK_TO_HOST);
  call_begin(a, &outer); /* host calls child */
  ck_assert_int_eq(test_send(&outer, "x", 0, 0, 0), DEAI_OK);
  settle();
  deai_call_spec spec = plain;
  spec.parent = b->served[0].call;
  call_spec(b, &inner, &spec); /* the child calls while it serves */
  ck_assert_int_eq(test_send(&inner, "x", 0, 0, 0), DEAI_OK);
  settle();
  ck_assert_ptr_eq(a->asked.parent, outer.call);
  deai_call_cancel(inner.call, DEAI_ECANCELLED);
  deai_call_cancel(outer.call, DEAI_ECANCELLED);
  settle();
}
END_TEST

START_TEST(the_provider_is_told_to_children_alone) {
  static uint8_t worker[DEAI_KEY_BYTES] = {5};
  test_end caller;
  join(DEAI_LINK_TO_HOST, DEAI_LINK_TO_CHILD);
  call_begin(a, &caller);
  ck_assert_int_eq(test_send(&caller, "x", 0, DEAI_PART_END, 0), DEAI_OK);
  settle();
  deai_part end = {.size = (uint32_t)sizeof end,
                   .flags = DEAI_PART_END,
                   .attachment = -1,
                   .units = 3,
                   .provider = deai_bytes_of(worker, sizeof worker)};
  ck_assert_int_eq(deai_call_send(b->served[0].call, DEAI_SIDE_CALLEE, &end), DEAI_OK);
  settle();
  ck_assert_uint_eq(caller.provider_len, DEAI_KEY_BYTES);
  ck_assert_uint_eq(caller.units, 3);
}
END_TEST

/* ---- windows and long bodies ---- */

START_TEST(long_bodies_arrive_whole) {
  test_end caller;
  static uint8_t body[DEAI_BODY_MAX];
  join(DEAI_LINK_PEER, DEAI_LINK_PEER);
  for (size_t i = 0; i < sizeof body; i++)
    body[i] = (uint8_t)(i * 7 + (i >> 11));
  call_begin(a, &caller);
  deai_part part = {
      .size = (uint32_t)sizeof part, .attachment = -1, .body = deai_bytes_of(body, sizeof body)};
  for (int i = 0; i < 12; i++) {
    while (deai_call_send(caller.call, DEAI_SIDE_CALLER, &part) == DEAI_EAGAIN)
      settle();
  }
  settle();
  test_end *callee = &b->served[0];
  ck_assert_uint_eq(callee->parts, 12);
  ck_assert_uint_eq(callee->bytes, UINT64_C(12) * sizeof body);
  part.flags = DEAI_PART_END;
  for (int i = 0; i < 12; i++) {
    part.flags = i == 11 ? DEAI_PART_END : 0;
    while (deai_call_send(callee->call, DEAI_SIDE_CALLEE, &part) == DEAI_EAGAIN)
      settle();
  }
  settle();
  ck_assert_uint_eq(caller.bytes, UINT64_C(12) * sizeof body);
  ck_assert_uint_eq(caller.ends, 1);
  ck_assert_int_eq(caller.status, DEAI_OK);
  ck_assert_uint_eq(a->closed + b->closed, 0);
}
END_TEST

START_TEST(a_reader_that_stops_stalls_only_its_ticket) {
  test_end slow;
  test_end fast;
  join(DEAI_LINK_PEER, DEAI_LINK_PEER);
  call_begin(a, &slow);
  ck_assert_int_eq(test_send(&slow, "x", 0, 0, 0), DEAI_OK);
  settle();
  b->served[0].refuse = 1;
  uint64_t sent = 0;
  while (test_send(&slow, NULL, 30000, 0, 0) == DEAI_OK) {
    settle();
    sent += 30000;
    ck_assert_uint_lt(sent, 8u << 20);
  }
  ck_assert_uint_gt(sent, DEAI_WINDOW_MIN);
  b->on_part = answer;
  call_begin(a, &fast);
  ck_assert_int_eq(test_send(&fast, "x", 0, DEAI_PART_END, 0), DEAI_OK);
  settle();
  ck_assert_uint_eq(fast.ends, 1);
  ck_assert_uint_eq(slow.ends, 0);
  deai_call_resume(b->served[0].call, DEAI_SIDE_CALLEE);
  settle();
  ck_assert_uint_eq(b->served[0].bytes, sent + 1);
  ck_assert_uint_ge(slow.drains, 1);
  deai_call_cancel(slow.call, DEAI_ECANCELLED);
  settle();
}
END_TEST

START_TEST(tickets_take_turns) {
  enum { COUNT = 12 };
  test_end callers[COUNT];
  join(DEAI_LINK_PEER, DEAI_LINK_PEER);
  for (int i = 0; i < COUNT; i++) {
    call_begin(a, &callers[i]);
    ck_assert_int_eq(test_send(&callers[i], NULL, 900000, 0, 0), DEAI_OK);
  }
  /* the transport takes two frames at a time: nobody is served twice before all were once */
  deai_loop_drain(loop);
  a->backlog = DEAI_LINK_BACKLOG_MAX + 1;
  for (int turn = 0; turn < 400; turn++) {
    a->backlog = 0;
    deai_link_writable(a->link);
    deai_loop_drain(loop);
    a->backlog = DEAI_LINK_BACKLOG_MAX + 1;
    while (deliver(b) || deliver(a))
      deai_loop_drain(loop);
  }
  a->backlog = 0;
  settle();
  for (int i = 0; i < COUNT; i++)
    ck_assert_uint_eq(b->served[i].bytes, 900000);
  for (int i = 0; i < COUNT; i++)
    deai_call_cancel(callers[i].call, DEAI_ECANCELLED);
  settle();
}
END_TEST

START_TEST(many_long_bodies_stay_within_the_connections_window) {
  enum { COUNT = 60 };
  test_end callers[COUNT];
  join(DEAI_LINK_PEER, DEAI_LINK_PEER);
  for (int i = 0; i < COUNT; i++) {
    call_begin(a, &callers[i]);
    ck_assert_int_eq(test_send(&callers[i], NULL, DEAI_BODY_MAX, DEAI_PART_END, 0), DEAI_OK);
  }
  settle();
  for (int i = 0; i < COUNT; i++)
    ck_assert_uint_eq(b->served[i].bytes, DEAI_BODY_MAX);
  ck_assert_uint_eq(a->closed + b->closed, 0);
  for (int i = 0; i < COUNT; i++)
    deai_call_cancel(callers[i].call, DEAI_ECANCELLED);
  settle();
}
END_TEST

START_TEST(the_257th_ticket_waits) {
  static test_end callers[DEAI_TICKETS_MAX + 1];
  join(DEAI_LINK_PEER, DEAI_LINK_PEER);
  for (uint32_t i = 0; i <= DEAI_TICKETS_MAX; i++) {
    call_begin(a, &callers[i]);
    if (callers[i].call != NULL) (void)!test_send(&callers[i], "x", 0, DEAI_PART_END, 0);
  }
  settle();
  ck_assert_uint_eq(deai_link_tickets(a->link), DEAI_TICKETS_MAX);
  ck_assert_uint_eq(deai_link_tickets(b->link), DEAI_TICKETS_MAX);
  ck_assert_int_eq(callers[DEAI_TICKETS_MAX].status, DEAI_EBUSY);
  ck_assert_int_eq(test_send(&b->served[9], NULL, 0, DEAI_PART_END, 0), DEAI_OK);
  settle();
  ck_assert_uint_eq(callers[9].ends, 1);
  call_begin(a, &callers[9]); /* a place is free again */
  ck_assert_int_eq(test_send(&callers[9], "x", 0, DEAI_PART_END, 0), DEAI_OK);
  settle();
  ck_assert_uint_eq(b->served_count, DEAI_TICKETS_MAX + 1);
  deai_link_free(a->link);
  a->link = NULL;
  deai_loop_drain(loop);
  for (uint32_t i = 0; i < DEAI_TICKETS_MAX; i++) {
    ck_assert_uint_eq(callers[i].ends, 1);
    ck_assert_uint_eq(callers[i].closed, 1);
  }
}
END_TEST

START_TEST(the_other_side_refuses_a_ticket_too_many) {
  raw_peer();
  raw_hello();
  for (uint64_t i = 0; i <= DEAI_TICKETS_MAX; i++)
    raw_call(2 * i + 1, DEAI_FRAME_END, 0);
  deai_loop_drain(loop);
  ck_assert_uint_eq(b->served_count, DEAI_TICKETS_MAX);
  ck_assert_uint_eq(b->kinds[DEAI_FRAME_PART], 1); /* EBUSY */
  raw(b, DEAI_FRAME_PART, 0, 2 * DEAI_TICKETS_MAX + 1, (deai_bytes)TEXT("\xa0"), (deai_bytes){0});
  ck_assert_uint_eq(b->closed, 0); /* what follows the refused CALL is nothing */
}
END_TEST

/* ---- cancel ---- */

START_TEST(cancel_travels_and_ends_once) {
  test_end caller;
  join(DEAI_LINK_PEER, DEAI_LINK_PEER);
  call_begin(a, &caller);
  ck_assert_int_eq(test_send(&caller, "x", 0, 0, 0), DEAI_OK);
  if (_i > 0) settle();
  if (_i == 2) ck_assert_int_eq(test_send(&b->served[0], "part", 0, 0, 0), DEAI_OK);
  deai_call_cancel(caller.call, DEAI_ECANCELLED);
  settle();
  ck_assert_uint_eq(caller.ends, 1);
  ck_assert_int_eq(caller.status, DEAI_ECANCELLED);
  ck_assert_uint_eq(b->served_count, _i > 0);
  if (_i == 0) return;
  ck_assert_uint_eq(b->served[0].cancels, 1);
  ck_assert_int_eq(test_send(&b->served[0], NULL, 0, DEAI_PART_END, DEAI_ECANCELLED), DEAI_OK);
  settle();
  ck_assert_uint_eq(deai_link_tickets(a->link) + deai_link_tickets(b->link), 0);
}
END_TEST

/* A body of several frames is under way when the call ends: the END cuts it off. */
START_TEST(an_end_cuts_off_a_long_body) {
  test_end caller;
  join(DEAI_LINK_PEER, DEAI_LINK_PEER);
  call_begin(a, &caller);
  ck_assert_int_eq(test_send(&caller, "x", 0, 0, 0), DEAI_OK);
  settle();
  ck_assert_int_eq(test_send(&b->served[0], NULL, DEAI_BODY_MAX, 0, 0), DEAI_OK);
  deai_loop_drain(loop); /* the first frames have left */
  while (deliver(a))
    continue;
  ck_assert_uint_eq(caller.parts, 0);
  /* b's own deadline: a learns it from the END alone */
  if (_i == 0) deai_call_cancel(b->served[0].call, DEAI_ETIMEDOUT);
  if (_i == 1) deai_call_cancel(caller.call, DEAI_ECANCELLED);
  settle();
  ck_assert_uint_eq(a->closed + b->closed, 0);
  ck_assert_uint_eq(caller.parts, 1); /* no piece of the body */
  ck_assert_uint_eq(caller.bytes, 0);
  ck_assert_int_eq(caller.status, _i == 0 ? DEAI_ETIMEDOUT : DEAI_ECANCELLED);
}
END_TEST

START_TEST(a_cancelled_upload_leaves_nothing) {
  test_end caller;
  join(DEAI_LINK_PEER, DEAI_LINK_PEER);
  call_begin(a, &caller);
  ck_assert_int_eq(test_send(&caller, NULL, DEAI_BODY_MAX, 0, 0), DEAI_OK);
  deai_loop_drain(loop);
  (void)deliver(b);
  deai_call_cancel(caller.call, DEAI_ECANCELLED);
  settle();
  ck_assert_int_eq(caller.status, DEAI_ECANCELLED);
  ck_assert_uint_eq(deai_link_tickets(a->link) + deai_link_tickets(b->link), 0);
  ck_assert_uint_eq(b->served_count, 0); /* the CALL was never whole */
}
END_TEST

/* ---- what cannot travel ---- */

START_TEST(a_part_that_cannot_travel_ends_its_call_alone) {
  static uint8_t long_text[DEAI_HEAD_MAX];
  test_end caller;
  test_end other;
  join(DEAI_LINK_PEER, DEAI_LINK_PEER);
  b->on_part = answer;
  deai_part part = {.size = (uint32_t)sizeof part, .attachment = -1};
  part.args = _i % 2 == 0 ? deai_bytes_of(long_text, sizeof long_text) : deai_bytes_of("\xff", 1);
  long_text[0] = 0x59; /* a byte string that fills the head */
  long_text[1] = (uint8_t)((sizeof long_text - 3) >> 8);
  long_text[2] = (uint8_t)(sizeof long_text - 3);
  call_begin(a, &caller);
  if (_i < 2) {
    ck_assert_int_eq(deai_call_send(caller.call, DEAI_SIDE_CALLER, &part), DEAI_OK);
  } else {
    ck_assert_int_eq(test_send(&caller, "x", 0, 0, 0), DEAI_OK);
    settle();
    ck_assert_int_eq(deai_call_send(b->served[0].call, DEAI_SIDE_CALLEE, &part), DEAI_OK);
  }
  settle();
  ck_assert_uint_eq(caller.ends, 1);
  ck_assert_int_eq(caller.status, _i % 2 == 0 ? DEAI_ETOOLARGE : DEAI_EINVAL);
  call_begin(a, &other);
  ck_assert_int_eq(test_send(&other, "x", 0, DEAI_PART_END, 0), DEAI_OK);
  settle();
  ck_assert_int_eq(other.status, DEAI_OK);
  ck_assert_uint_eq(a->closed + b->closed, 0);
}
END_TEST

/* ---- attachments and vouchers ---- */

static int got_fd;

static void keep_fd(test_end *end, const deai_part *part) {
  (void)end;
  if (part->attachment >= 0) got_fd = part->attachment;
}

static int32_t send_fd(test_end *from, uint64_t body_len) {
  static uint8_t zeros[DEAI_BODY_MAX];
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  deai_part part = {
      .size = (uint32_t)sizeof part, .attachment = fd, .body = deai_bytes_of(zeros, body_len)};
  int32_t status = deai_call_send(from->call, from->side, &part);
  (void)close(fd);
  return status;
}

START_TEST(attachments_travel_on_local_carriers) {
  test_end caller;
  got_fd = -1;
  join(DEAI_LINK_TO_CHILD, DEAI_LINK_TO_HOST);
  b->on_part = keep_fd;
  call_begin(a, &caller);
  ck_assert_int_eq(send_fd(&caller, _i == 0 ? 0 : DEAI_BODY_MAX), DEAI_OK);
  settle();
  ck_assert_int_ge(got_fd, 0);
  ck_assert_int_eq(fcntl(got_fd, F_GETFD), FD_CLOEXEC);
  (void)close(got_fd);
  deai_call_cancel(caller.call, DEAI_ECANCELLED);
  settle();
}
END_TEST

START_TEST(attachments_do_not_travel_to_members) {
  test_end caller;
  join(DEAI_LINK_PEER, DEAI_LINK_PEER);
  call_begin(a, &caller);
  ck_assert_int_eq(send_fd(&caller, 10), DEAI_OK);
  settle();
  ck_assert_uint_eq(caller.ends, 1);
  ck_assert_int_eq(caller.status, DEAI_ELOCALONLY);
  ck_assert_uint_eq(a->closed + b->closed, 0);
}
END_TEST

START_TEST(vouchers_pass_between_parts_and_within_the_window) {
  test_end caller;
  deai_signed voucher = some_voucher();
  join(DEAI_LINK_PEER, DEAI_LINK_PEER);
  call_begin(a, &caller);
  deai_link_pay(a->link, caller.call, &voucher); /* before the CALL: it carries its own */
  ck_assert_int_eq(test_send(&caller, NULL, DEAI_BODY_MAX, 0, 0), DEAI_OK);
  deai_loop_drain(loop); /* the body is under way and the window used up */
  deai_link_pay(a->link, caller.call, &voucher);
  deai_link_pay(a->link, caller.call, &voucher);
  settle();
  ck_assert_uint_eq(a->closed + b->closed, 0);
  ck_assert_uint_eq(b->vouchers, 1); /* the later one covers the earlier */
  deai_link_pay(a->link, caller.call, &voucher);
  settle();
  ck_assert_uint_eq(b->vouchers, 2);
  ck_assert_uint_eq(b->served[0].parts, 1);
  deai_call_cancel(caller.call, DEAI_ECANCELLED);
  settle();
}
END_TEST

START_TEST(small_frames_arrive) {
  join(DEAI_LINK_TO_HOST, DEAI_LINK_TO_CHILD);
  deai_link_update(a->link, deai_str_of("topic"), deai_bytes_of("\xa0", 1));
  deai_link_log(a->link, 2, deai_str_of("line"));
  deai_link_beat(a->link);
  deai_link_stop(a->link);
  settle();
  ck_assert_uint_eq(b->updates, 1);
  ck_assert_uint_eq(b->logs, 1);
  ck_assert_uint_eq(b->beats, 1);
  ck_assert_uint_eq(b->stops, 1);
  deai_link_free(NULL);
}
END_TEST

/* ---- random order ---- */

static uint32_t random_state;

static uint32_t draw(uint32_t below) {
  random_state = random_state * 1664525u + 1013904223u;
  return (random_state >> 8) % below;
}

static void random_step(side *at, test_end *callers, uint32_t count) {
  test_end *caller = &callers[draw(count)];
  test_end *served = at->served_count > 0 ? &at->served[draw(at->served_count)] : NULL;
  switch (draw(9)) {
  case 0:
    if (caller->call == NULL && at->served_count < SERVED_MAX - 2 &&
        at->other->served_count < SERVED_MAX - 2)
      call_begin(at, caller);
    break;
  case 1:
  case 2:
    if (caller->call != NULL)
      (void)!test_send(caller, NULL, draw(draw(4) == 0 ? DEAI_BODY_MAX : 300),
                       draw(6) == 0 ? DEAI_PART_END : 0, 0);
    break;
  case 3:
  case 4:
    if (served != NULL && served->call != NULL)
      (void)!test_send(served, NULL, draw(draw(4) == 0 ? DEAI_BODY_MAX : 300),
                       draw(6) == 0 ? DEAI_PART_END : 0, 0);
    break;
  case 5:
    if (caller->call != NULL && draw(6) == 0) deai_call_cancel(caller->call, DEAI_ECANCELLED);
    break;
  case 6:
    if (served != NULL && served->call != NULL) {
      served->refuse = draw(3);
      deai_call_resume(served->call, DEAI_SIDE_CALLEE);
    }
    break;
  case 7:
    if (served != NULL && served->call != NULL && draw(5) == 0)
      deai_call_fail(served->call, DEAI_EIO, "x");
    break;
  default:
    at->backlog = draw(3) == 0 ? DEAI_LINK_BACKLOG_MAX + 1 : 0;
    deai_link_writable(at->link);
  }
}

static void random_end(side *at) {
  at->backlog = 0;
  deai_link_writable(at->link);
  for (uint32_t i = 0; i < at->served_count; i++) {
    test_end *served = &at->served[i];
    served->refuse = 0;
    if (served->call == NULL) continue;
    deai_call_resume(served->call, DEAI_SIDE_CALLEE);
    deai_call_fail(served->call, DEAI_EIO, "the end of the test");
  }
}

START_TEST(random_orders_keep_the_rules) {
  enum { COUNT = 24 };
  static test_end callers[2][COUNT];
  random_state = 104729u * (uint32_t)_i + 7;
  memset(callers, 0, sizeof callers);
  join(_i % 2 == 0 ? DEAI_LINK_PEER : DEAI_LINK_TO_CHILD,
       _i % 2 == 0 ? DEAI_LINK_PEER : DEAI_LINK_TO_HOST);
  for (uint32_t step = 0; step < 3000; step++) {
    random_step(a, callers[0], COUNT);
    random_step(b, callers[1], COUNT);
    if (draw(2) == 0) (void)deliver(a);
    if (draw(2) == 0) (void)deliver(b);
    if (draw(4) == 0) deai_loop_drain(loop);
    ck_assert_msg(a->closed + b->closed == 0, "%s%s", a->why, b->why);
  }
  for (int round = 0; round < 3; round++) {
    random_end(a);
    random_end(b);
    settle();
  }
  for (uint32_t i = 0; i < COUNT; i++) {
    for (int s = 0; s < 2; s++) {
      if (callers[s][i].call != NULL) deai_call_cancel(callers[s][i].call, DEAI_ECANCELLED);
    }
  }
  settle();
  for (int round = 0; round < 3; round++) {
    random_end(a);
    random_end(b);
    settle();
  }
  ck_assert_msg(a->closed + b->closed == 0, "%s%s", a->why, b->why);
  ck_assert_uint_eq(deai_link_tickets(a->link), 0);
  ck_assert_uint_eq(deai_link_tickets(b->link), 0);
  for (uint32_t i = 0; i < COUNT; i++) {
    ck_assert_ptr_null(callers[0][i].call);
    ck_assert_ptr_null(callers[1][i].call);
  }
}
END_TEST

static void add_faults(TCase *tests) {
  int wrong_count = (int)(sizeof wrong_frames / sizeof wrong_frames[0]);
  tcase_add_loop_test(tests, a_wrong_frame_ends_the_connection, 0, wrong_count);
  tcase_add_loop_test(tests, frames_that_nobody_expects_here, 0, 4);
  tcase_add_test(tests, a_refused_hello_ends_the_connection);
  tcase_add_test(tests, a_ticket_is_never_used_again);
  tcase_add_test(tests, a_sender_that_ignores_its_window_is_a_fault);
  tcase_add_loop_test(tests, a_window_beyond_its_limit_is_a_fault, 0, 2);
  tcase_add_loop_test(tests, bodies_that_go_on_are_checked, 0, 3);
  tcase_add_loop_test(tests, an_end_with_an_unknown_status_is_a_fault, 0, 4);
  tcase_add_test(tests, a_flood_of_cancels_is_a_fault);
  tcase_add_test(tests, a_caller_in_the_head_is_refused);
  tcase_add_test(tests, a_cancel_before_the_call_is_whole_ends_the_ticket);
  tcase_add_test(tests, serves_nobody_before_hello_or_after_the_end);
}

static void add_calls(TCase *tests) {
  tcase_add_test(tests, calls_go_both_ways);
  tcase_add_test(tests, a_peer_tells_no_route_and_no_caller);
  tcase_add_test(tests, a_child_learns_the_caller);
  tcase_add_test(tests, a_member_is_told_of_no_others);
  tcase_add_test(tests, a_child_tells_its_host_of_no_others);
  tcase_add_test(tests, others_that_do_not_fit_are_left_out);
  tcase_add_test(tests, a_child_is_told_of_others);
  tcase_add_test(tests, the_command_line_is_told_of_others);
  tcase_add_test(tests, a_child_says_how_to_route);
  tcase_add_test(tests, the_command_line_names_a_plugin_and_no_origin);
  tcase_add_test(tests, the_class_follows_the_connection);
  tcase_add_test(tests, a_parent_is_found_by_its_ticket);
  tcase_add_test(tests, the_provider_is_told_to_children_alone);
  tcase_add_test(tests, long_bodies_arrive_whole);
  tcase_add_test(tests, a_reader_that_stops_stalls_only_its_ticket);
  tcase_add_test(tests, tickets_take_turns);
  tcase_add_test(tests, many_long_bodies_stay_within_the_connections_window);
  tcase_add_test(tests, the_257th_ticket_waits);
  tcase_add_test(tests, the_other_side_refuses_a_ticket_too_many);
  tcase_add_loop_test(tests, cancel_travels_and_ends_once, 0, 3);
  tcase_add_loop_test(tests, an_end_cuts_off_a_long_body, 0, 2);
  tcase_add_test(tests, a_cancelled_upload_leaves_nothing);
  tcase_add_loop_test(tests, a_part_that_cannot_travel_ends_its_call_alone, 0, 4);
  tcase_add_loop_test(tests, attachments_travel_on_local_carriers, 0, 2);
  tcase_add_test(tests, attachments_do_not_travel_to_members);
  tcase_add_test(tests, vouchers_pass_between_parts_and_within_the_window);
  tcase_add_test(tests, small_frames_arrive);
  tcase_add_loop_test(tests, random_orders_keep_the_rules, 0, 20);
}

int main(void) {
  Suite *suite = suite_create("link");
  TCase *faults = tcase_create("faults");
  TCase *calls = tcase_create("calls");
  tcase_set_timeout(faults, 60);
  tcase_set_timeout(calls, 60);
  tcase_add_checked_fixture(faults, setup, teardown);
  tcase_add_checked_fixture(calls, setup, teardown);
  add_faults(faults);
  add_calls(calls);
  suite_add_tcase(suite, faults);
  suite_add_tcase(suite, calls);
  return testing_run(suite);
}
