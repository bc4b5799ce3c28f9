#ifndef DEAI_TESTS_HOST_ROUTER_ENDS_H
#define DEAI_TESTS_HOST_ROUTER_ENDS_H

#include "deai/contracts/wire.h"
#include "host/call.h"
#include "tests/testing.h"

/* An end of a call that a test drives: it counts every callback, checks what may never happen, and
   does what the test asks for when a part comes. */

typedef struct test_end test_end;

struct test_end {
  deai_loop *loop;
  deai_call *call; /* NULL after closed or drop */
  deai_side side;
  bool stop_at_close;
  uint32_t refuse;                                       /* the next parts are answered EAGAIN */
  void (*on_part)(test_end *end, const deai_part *part); /* may do anything with the call */
  void *user;
  uint32_t parts; /* taken, the END too */
  uint64_t bytes;
  uint32_t ends;
  int32_t status;
  uint32_t drains;
  uint64_t consumed;
  uint32_t cancels;
  int32_t cancel_status;
  uint32_t closed;
  bool dropped;
  char why[512];
  uint8_t last[64]; /* the first bytes of the last body */
  uint64_t last_len;
  uint64_t units;
  uint64_t provider_len;
};

static inline int32_t test_end_part(void *user, const deai_part *part) {
  test_end *end = user;
  ck_assert_uint_eq(end->closed, 0);
  ck_assert(!end->dropped);
  ck_assert_uint_eq(end->ends, 0);
  if (end->refuse > 0) {
    end->refuse--;
    return DEAI_EAGAIN;
  }
  end->parts++;
  end->bytes += part->body.len;
  end->units += part->units;
  end->provider_len = part->provider.len;
  end->last_len = part->body.len < sizeof end->last ? part->body.len : sizeof end->last;
  if (end->last_len > 0) memcpy(end->last, part->body.ptr, (size_t)end->last_len);
  if ((part->flags & DEAI_PART_END) != 0) {
    end->ends++;
    end->status = part->status;
    (void)snprintf(end->why, sizeof end->why, "%.*s", (int)part->why.len, part->why.ptr);
  }
  if (end->on_part != NULL) end->on_part(end, part);
  return DEAI_OK;
}

static inline void test_end_drain(void *user) {
  test_end *end = user;
  ck_assert_uint_eq(end->closed, 0);
  end->drains++;
}

static inline void test_end_consumed(void *user, uint64_t bytes) {
  test_end *end = user;
  ck_assert_uint_eq(end->closed, 0);
  end->consumed += bytes;
}

static inline void test_end_cancel(void *user, int32_t status) {
  test_end *end = user;
  ck_assert_uint_eq(end->closed, 0);
  end->cancels++;
  end->cancel_status = status;
}

static inline void test_end_closed(void *user) {
  test_end *end = user;
  ck_assert(!end->dropped);
  end->closed++;
  ck_assert_uint_eq(end->closed, 1);
  end->call = NULL;
  if (end->stop_at_close) deai_loop_stop(end->loop);
}

static const deai_end_ops test_caller_ops = {.part = test_end_part,
                                             .drain = test_end_drain,
                                             .consumed = test_end_consumed,
                                             .closed = test_end_closed};
static const deai_end_ops test_callee_ops = {.part = test_end_part,
                                             .drain = test_end_drain,
                                             .consumed = test_end_consumed,
                                             .cancel = test_end_cancel,
                                             .closed = test_end_closed};

static inline test_end test_end_of(deai_loop *loop, deai_side side) {
  return (test_end){.loop = loop, .side = side};
}

/* test_send sends a text, or len zero bytes when text is NULL. */
static inline int32_t test_send(test_end *end, const char *text, uint64_t len, uint32_t flags,
                                int32_t status) {
  static uint8_t zeros[DEAI_BODY_MAX + 1];
  deai_part part = {.size = (uint32_t)sizeof part,
                    .flags = flags,
                    .attachment = -1,
                    .status = status,
                    .body = deai_bytes_of(text != NULL ? (const uint8_t *)text : zeros,
                                          text != NULL ? strlen(text) : len)};
  return deai_call_send(end->call, end->side, &part);
}

static inline void test_drop(test_end *end, int32_t status, const char *why) {
  deai_call *call = end->call;
  end->dropped = true;
  end->call = NULL;
  deai_call_drop(call, end->side, status, why);
}

#endif
