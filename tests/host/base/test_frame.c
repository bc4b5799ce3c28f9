/* The frame codec: every refused form, then round trips. */
#include "tests/testing.h"

#include "host/base/frame.h"

#include <stdlib.h>

#include "host/base/banned.h"

typedef struct bad_frame {
  const char *hex;
  const char *why;
} bad_frame;

/* length 16 = header alone; kind, flags, zero, ticket, head length */
static const bad_frame bad_frames[] = {
    {"", "length outside its limits"},
    {"10000000", "length outside its limits"},
    {"0f00000003000000010000000000000000000000", "length outside its limits"},
    {"1100000003000000010000000000000000000000", "length outside its limits"},
    {"ffffffff03000000010000000000000000000000", "length outside its limits"},
    {"1000000003000000010000000000000001000000", "head or body longer than its limit"},
    {"10000000030000000100000000000000ffffffff", "head or body longer than its limit"},
    {"1000000000000000000000000000000000000000", "unknown kind"},
    {"100000000a000000000000000000000000000000", "unknown kind"},
    {"1000000003100000010000000000000000000000", "unknown flag"},
    {"1000000003800000010000000000000000000000", "unknown flag"},
    {"1000000003000100010000000000000000000000", "reserved bits are set"},
    {"1000000003000001010000000000000000000000", "reserved bits are set"},
    {"1000000002000000000000000000000000000000", "ticket does not fit the kind"},
    {"1000000003000000000000000000000000000000", "ticket does not fit the kind"},
    {"1000000004000000000000000000000000000000", "ticket does not fit the kind"},
    {"1000000005000000000000000000000000000000", "ticket does not fit the kind"},
    {"1000000001000000010000000000000000000000", "ticket does not fit the kind"},
    {"1000000006000000000000000100000000000000", "ticket does not fit the kind"},
    {"1000000009000000010000000000000000000000", "ticket does not fit the kind"},
    {"1000000004010000010000000000000000000000", "flag or body without stream"},
    {"1100000005000000010000000000000000000000ff", "flag or body without stream"},
    {"1100000001000000000000000000000000000000ff", "flag or body without stream"},
    {"1000000003090000010000000000000000000000", "END and MORE together"},
};

START_TEST(refuses_what_breaks_a_rule) {
  size_t len = 0;
  const char *why = "";
  deai_frame frame;
  uint8_t *bytes = testing_hex(bad_frames[_i].hex, &len);
  ck_assert_int_eq(deai_frame_read(deai_bytes_of(bytes, len), 100, &frame, &why), DEAI_EINVAL);
  ck_assert_str_eq(why, bad_frames[_i].why);
  free(bytes);
}
END_TEST

START_TEST(a_body_has_the_limit_of_its_carrier) {
  const char *why = "";
  deai_frame frame = {.kind = DEAI_FRAME_PART, .ticket = 1};
  uint8_t bytes[DEAI_FRAME_HEADER + 8] = {0};
  frame.body.len = 8;
  deai_frame_header(&frame, bytes);
  ck_assert_int_eq(deai_frame_read(deai_bytes_of(bytes, sizeof bytes), 7, &frame, &why),
                   DEAI_EINVAL);
  ck_assert_str_eq(why, "head or body longer than its limit");
  ck_assert_int_eq(deai_frame_read(deai_bytes_of(bytes, sizeof bytes), 8, &frame, &why), DEAI_OK);
}
END_TEST

START_TEST(tells_the_size_from_four_bytes) {
  static const uint8_t least[4] = {16, 0, 0, 0};
  static const uint8_t below[4] = {15, 0, 0, 0};
  static const uint8_t most[4] = {16, 0, 1, 0}; /* header and a full head */
  static const uint8_t above[4] = {17, 0, 1, 0};
  static const uint8_t huge[4] = {255, 255, 255, 255};
  ck_assert_uint_eq(deai_frame_size(least, 0), DEAI_FRAME_HEADER);
  ck_assert_uint_eq(deai_frame_size(below, 0), 0);
  ck_assert_uint_eq(deai_frame_size(most, 0), DEAI_FRAME_HEADER + DEAI_HEAD_MAX);
  ck_assert_uint_eq(deai_frame_size(above, 0), 0);
  ck_assert_uint_eq(deai_frame_size(above, 1), DEAI_FRAME_HEADER + DEAI_HEAD_MAX + 1);
  ck_assert_uint_eq(deai_frame_size(huge, DEAI_BODY_MAX), 0);
}
END_TEST

START_TEST(what_is_written_reads_back) {
  static const deai_frame frames[] = {
      {DEAI_FRAME_HELLO, 0, 0, {NULL, 3}, {NULL, 0}},
      {DEAI_FRAME_CALL, DEAI_FRAME_END, UINT64_MAX, {NULL, 1}, {NULL, 9}},
      {DEAI_FRAME_PART,
       DEAI_FRAME_MORE | DEAI_FRAME_ARENA | DEAI_FRAME_ATTACHMENT,
       2,
       {NULL, 0},
       {NULL, 16}},
      {DEAI_FRAME_WINDOW, 0, 1u << 31, {NULL, 5}, {NULL, 0}},
  };
  uint8_t bytes[64] = {0};
  const char *why = "";
  deai_frame back;
  uint64_t len = DEAI_FRAME_HEADER + frames[_i].head.len + frames[_i].body.len;
  deai_frame_header(&frames[_i], bytes);
  ck_assert_uint_eq(deai_frame_size(bytes, 100), len);
  ck_assert_int_eq(deai_frame_read(deai_bytes_of(bytes, len), 100, &back, &why), DEAI_OK);
  ck_assert_uint_eq(back.kind, frames[_i].kind);
  ck_assert_uint_eq(back.flags, frames[_i].flags);
  ck_assert_uint_eq(back.ticket, frames[_i].ticket);
  ck_assert_uint_eq(back.head.len, frames[_i].head.len);
  ck_assert_uint_eq(back.body.len, frames[_i].body.len);
  ck_assert_ptr_eq(back.head.ptr, bytes + DEAI_FRAME_HEADER);
  ck_assert_ptr_eq(back.body.ptr, back.head.ptr + back.head.len);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("frame");
  TCase *tests = tcase_create("codec");
  tcase_add_loop_test(tests, refuses_what_breaks_a_rule, 0,
                      (int)(sizeof bad_frames / sizeof bad_frames[0]));
  tcase_add_test(tests, a_body_has_the_limit_of_its_carrier);
  tcase_add_test(tests, tells_the_size_from_four_bytes);
  tcase_add_loop_test(tests, what_is_written_reads_back, 0, 4);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
