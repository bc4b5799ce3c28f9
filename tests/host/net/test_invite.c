/* Invite codes: what is no code is refused with a text, what is one has one form. */
#include "tests/testing.h"

#include "host/net/invite.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "host/base/banned.h"

static deai_invite_box box;
static deai_str addresses[DEAI_NET_ADDRS_MAX + 1];

static deai_invite invite_of(uint64_t count, const char *address) {
  deai_invite invite = {.a = {addresses, count}, .g = {1}, .k = {2}, .s = {3}};
  for (uint64_t i = 0; i < count; i++)
    addresses[i] = deai_str_of(address);
  return invite;
}

static void expect(const char *code, uint64_t len, const char *why) {
  char err[160] = "";
  deai_str text = {.ptr = code, .len = len};
  ck_assert_int_eq(deai_invite_get(text, &box, err, sizeof err), DEAI_EINVAL);
  ck_assert_msg(strstr(err, why) != NULL, "expected \"%s\", found \"%s\"", why, err);
  ck_assert_ptr_nonnull(strstr(err, "expected a code of deai invite"));
  ck_assert_ptr_nonnull(strstr(err, "copy all of it"));
}

START_TEST(what_is_no_code_is_refused) {
  char code[DEAI_INVITE_CODE_MAX + 2];
  memset(code, 'a', sizeof code);
  expect("", 0, "found nothing");
  expect(code, sizeof code, "something longer");
  expect(code, DEAI_INVITE_CODE_MAX, "something else");
  expect("hello world", 11, "letters that are cut off or not of one");
  expect("mfrgg", 5, "something else");
}
END_TEST

START_TEST(a_code_that_was_changed_is_refused) {
  char code[DEAI_INVITE_CODE_MAX + 1];
  deai_invite invite = invite_of(1, "127.0.0.1:7");
  ck_assert_int_eq(deai_invite_put(&invite, code, sizeof code), DEAI_OK);
  uint64_t len = strlen(code);
  expect(code, len - 1, "found");
  expect(code, len - 8, "something else");
  code[0] = (char)toupper(code[0]);
  expect(code, len, "letters");
  invite = invite_of(1, "");
  ck_assert_int_eq(deai_invite_put(&invite, code, sizeof code), DEAI_OK);
  expect(code, strlen(code), "an empty address");
}
END_TEST

START_TEST(limits_hold_when_written) {
  char code[DEAI_INVITE_CODE_MAX + 1];
  deai_invite none = invite_of(0, "");
  ck_assert_int_eq(deai_invite_put(&none, code, sizeof code), DEAI_EINVAL);
  deai_invite many = invite_of(DEAI_NET_ADDRS_MAX + 1, "a:1");
  ck_assert_int_eq(deai_invite_put(&many, code, sizeof code), DEAI_EINVAL);
  deai_invite one = invite_of(1, "a:1");
  ck_assert_int_eq(deai_invite_put(&one, code, 20), DEAI_ETOOLARGE);
}
END_TEST

START_TEST(the_largest_invitation_comes_back) {
  char long_address[DEAI_NET_ADDR_MAX + 1];
  char code[DEAI_INVITE_CODE_MAX + 1];
  memset(long_address, 'x', sizeof long_address - 1);
  long_address[sizeof long_address - 1] = 0;
  deai_invite invite = invite_of(DEAI_NET_ADDRS_MAX, long_address);
  ck_assert_int_eq(deai_invite_put(&invite, code, sizeof code), DEAI_OK);
  ck_assert_int_eq(deai_invite_get(deai_str_of(code), &box, NULL, 0), DEAI_OK);
  ck_assert_uint_eq(box.invite.a.count, DEAI_NET_ADDRS_MAX);
  const deai_str *back = box.invite.a.items;
  for (uint32_t i = 0; i < DEAI_NET_ADDRS_MAX; i++)
    ck_assert(deai_str_eq(back[i], deai_str_of(long_address)));
  ck_assert_int_eq(memcmp(box.invite.g, invite.g, sizeof invite.g), 0);
  ck_assert_int_eq(memcmp(box.invite.k, invite.k, sizeof invite.k), 0);
  ck_assert_int_eq(memcmp(box.invite.s, invite.s, sizeof invite.s), 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("invite");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, what_is_no_code_is_refused);
  tcase_add_test(tests, a_code_that_was_changed_is_refused);
  tcase_add_test(tests, limits_hold_when_written);
  tcase_add_test(tests, the_largest_invitation_comes_back);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
