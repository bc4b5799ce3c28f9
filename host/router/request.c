#include "host/request.h"

#include "host/base/assertion.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/base/banned.h"

struct deai_request {
  deai_call *call; /* NULL once it is over */
  deai_request_fn *fn;
  void *user;
  deai_request_fn *drain_fn;
  void *drain_user;
  uint64_t body_max;
  uint8_t *args;
  uint64_t args_len;
  uint8_t *body;
  uint64_t body_len;
  uint64_t body_cap;
  uint32_t refs;
  bool whole;
  bool ended;
};

static void request_unref(deai_request *request) {
  DEAI_ASSERT(request->refs > 0);
  if (--request->refs > 0) return;
  free(request->args);
  free(request->body);
  free(request);
}

static int32_t body_add(deai_request *request, deai_bytes more) {
  if (more.len > request->body_max - request->body_len) return DEAI_ETOOLARGE;
  if (request->body_len + more.len > request->body_cap) {
    uint64_t cap = request->body_cap * 2 + more.len;
    uint8_t *body = realloc(request->body, (size_t)cap);
    if (body == NULL) return DEAI_ENOMEM;
    request->body = body;
    request->body_cap = cap;
  }
  if (more.len > 0) memcpy(request->body + request->body_len, more.ptr, (size_t)more.len);
  request->body_len += more.len;
  return DEAI_OK;
}

static int32_t end_part(void *user, const deai_part *part) {
  deai_request *request = user;
  if (part->attachment >= 0) (void)close(part->attachment); /* the host serves no descriptors */
  if (request->ended || request->whole) return DEAI_OK;
  int32_t status = body_add(request, part->body);
  if (status == DEAI_OK && request->args == NULL && part->args.len > 0) {
    request->args = malloc((size_t)part->args.len);
    if (request->args == NULL)
      status = DEAI_ENOMEM;
    else
      memcpy(request->args, part->args.ptr, (size_t)part->args.len);
    request->args_len = part->args.len;
  }
  if (status != DEAI_OK) {
    deai_request_fail(request, status, "expected a body of at most %llu bytes, found more",
                      (unsigned long long)request->body_max);
    return DEAI_OK;
  }
  if ((part->flags & DEAI_PART_END) == 0) return DEAI_OK;
  request->whole = true;
  request->refs++;
  request->fn(request->user, request);
  request_unref(request);
  return DEAI_OK;
}

static void end_drain(void *user) {
  deai_request *request = user;
  if (request->drain_fn != NULL) request->drain_fn(request->drain_user, request);
}

static void end_cancel(void *user, int32_t status) {
  deai_request *request = user;
  deai_request_fail(request, status, "the caller gave up");
}

static void end_closed(void *user) {
  deai_request *request = user;
  request->call = NULL;
  request->ended = true;
  if (request->drain_fn != NULL) request->drain_fn(request->drain_user, request);
  request_unref(request);
}

static const deai_end_ops end_ops = {
    .part = end_part, .drain = end_drain, .cancel = end_cancel, .closed = end_closed};

int32_t deai_request_serve(deai_call *call, uint64_t body_max, deai_request_fn *fn, void *user) {
  deai_request *request = calloc(1, sizeof *request);
  if (request == NULL) return DEAI_ENOMEM;
  request->call = call;
  request->fn = fn;
  request->user = user;
  request->body_max = body_max;
  request->refs = 1;
  deai_call_attach(call, &end_ops, request);
  return DEAI_OK;
}

const deai_call_spec *deai_request_about(const deai_request *request) {
  return request->call != NULL ? deai_call_about(request->call) : NULL;
}

uint64_t deai_request_time_ms(const deai_request *request) {
  return request->call != NULL ? deai_call_time_left_ms(request->call) : 0;
}

deai_bytes deai_request_args(const deai_request *request) {
  return deai_bytes_of(request->args, request->args_len);
}

deai_bytes deai_request_body(const deai_request *request) {
  return deai_bytes_of(request->body, request->body_len);
}

bool deai_request_open(const deai_request *request) {
  return request->call != NULL && !request->ended;
}

int32_t deai_request_part(deai_request *request, deai_bytes args, deai_bytes body) {
  if (!deai_request_open(request)) return DEAI_ENOTFOUND;
  deai_part part = {.size = (uint32_t)sizeof part, .attachment = -1, .args = args, .body = body};
  return deai_call_send(request->call, DEAI_SIDE_CALLEE, &part);
}

void deai_request_on_drain(deai_request *request, deai_request_fn *fn, void *user) {
  request->drain_fn = fn;
  request->drain_user = user;
}

void deai_request_end(deai_request *request, int32_t status, deai_bytes args, deai_bytes body) {
  if (!deai_request_open(request)) return;
  request->ended = true;
  deai_part part = {.size = (uint32_t)sizeof part,
                    .flags = DEAI_PART_END,
                    .attachment = -1,
                    .status = status,
                    .args = args,
                    .body = body};
  int32_t sent = deai_call_send(request->call, DEAI_SIDE_CALLEE, &part);
  if (sent == DEAI_ETOOLARGE || sent == DEAI_ENOMEM)
    deai_call_fail(request->call, sent, "the answer does not fit");
}

void deai_request_fail(deai_request *request, int32_t status, const char *format, ...) {
  char why[DEAI_ERR_CAP];
  if (!deai_request_open(request)) return;
  va_list list;
  va_start(list, format);
  (void)vsnprintf(why, sizeof why, format, list);
  va_end(list);
  request->ended = true;
  deai_call_fail(request->call, status, "%s", why);
}

deai_request *deai_request_keep(deai_request *request) {
  request->refs++;
  return request;
}

void deai_request_drop(deai_request *request) {
  request_unref(request);
}
