#include "frame.h"

#include "assertion.h"

#include <stdbool.h>

#include "banned.h"

#define FLAGS_KNOWN (DEAI_FRAME_END | DEAI_FRAME_ARENA | DEAI_FRAME_ATTACHMENT | DEAI_FRAME_MORE)

static uint32_t get_u32(const uint8_t *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void put_u32(uint8_t *at, uint32_t value) {
  for (uint32_t i = 0; i < 4; i++)
    at[i] = (uint8_t)(value >> (8 * i));
}

uint64_t deai_frame_size(const uint8_t start[4], uint64_t body_max) {
  uint64_t size = (uint64_t)get_u32(start) + 4;
  if (size < DEAI_FRAME_HEADER || size > DEAI_FRAME_HEADER + DEAI_HEAD_MAX + body_max) return 0;
  return size;
}

static bool kind_has_ticket(uint8_t kind) {
  return kind == DEAI_FRAME_CALL || kind == DEAI_FRAME_PART || kind == DEAI_FRAME_WINDOW ||
         kind == DEAI_FRAME_CANCEL;
}

static const char *frame_fault(const deai_frame *frame, uint16_t zero) {
  if (frame->kind < DEAI_FRAME_HELLO || frame->kind > DEAI_FRAME_STOP) return "unknown kind";
  if ((frame->flags & ~FLAGS_KNOWN) != 0) return "unknown flag";
  if (zero != 0) return "reserved bits are set";
  if (kind_has_ticket(frame->kind) != (frame->ticket != 0)) return "ticket does not fit the kind";
  bool stream = frame->kind == DEAI_FRAME_CALL || frame->kind == DEAI_FRAME_PART;
  if (!stream && (frame->flags != 0 || frame->body.len != 0)) return "flag or body without stream";
  if ((frame->flags & DEAI_FRAME_END) != 0 && (frame->flags & DEAI_FRAME_MORE) != 0)
    return "END and MORE together";
  return NULL;
}

int32_t deai_frame_read(deai_bytes bytes, uint64_t body_max, deai_frame *frame_out,
                        const char **why_out) {
  const char *why = NULL;
  uint64_t size = bytes.len >= DEAI_FRAME_HEADER ? deai_frame_size(bytes.ptr, body_max) : 0;
  if (size == 0 || size != bytes.len) {
    *why_out = "length outside its limits";
    return DEAI_EINVAL;
  }
  uint32_t head_len = get_u32(bytes.ptr + 16);
  uint64_t rest = size - DEAI_FRAME_HEADER;
  if (head_len > DEAI_HEAD_MAX || head_len > rest || rest - head_len > body_max) {
    *why_out = "head or body longer than its limit";
    return DEAI_EINVAL;
  }
  deai_frame frame = {
      .kind = bytes.ptr[4],
      .flags = bytes.ptr[5],
      .ticket = (uint64_t)get_u32(bytes.ptr + 8) | (uint64_t)get_u32(bytes.ptr + 12) << 32,
      .head = deai_bytes_of(bytes.ptr + DEAI_FRAME_HEADER, head_len),
      .body = deai_bytes_of(bytes.ptr + DEAI_FRAME_HEADER + head_len, rest - head_len),
  };
  why = frame_fault(&frame, (uint16_t)(bytes.ptr[6] | bytes.ptr[7] << 8));
  if (why != NULL) {
    *why_out = why;
    return DEAI_EINVAL;
  }
  *frame_out = frame;
  return DEAI_OK;
}

void deai_frame_header(const deai_frame *frame, uint8_t out[DEAI_FRAME_HEADER]) {
  DEAI_ASSERT(frame->head.len <= DEAI_HEAD_MAX && frame->body.len <= DEAI_BODY_MAX);
  uint64_t rest = DEAI_FRAME_HEADER - 4 + frame->head.len + frame->body.len;
  put_u32(out, (uint32_t)rest);
  out[4] = frame->kind;
  out[5] = frame->flags;
  out[6] = 0;
  out[7] = 0;
  put_u32(out + 8, (uint32_t)frame->ticket);
  put_u32(out + 12, (uint32_t)(frame->ticket >> 32));
  put_u32(out + 16, (uint32_t)frame->head.len);
}
