#include "plugins/storage/blocks/base.h"

#include "tests/testing.h"

#include <errno.h>
#include <string.h>

#include "host/base/banned.h"

START_TEST(errors_keep_their_status_and_text) {
  blocks_error err;
  ck_assert_int_eq(blocks_fail(NULL, DEAI_EINVAL, "nobody reads this"), DEAI_EINVAL);
  ck_assert_int_eq(blocks_fail(&err, DEAI_EINVAL, "expected %d, found %d", 1, 2), DEAI_EINVAL);
  ck_assert_str_eq(err.text, "expected 1, found 2");
  ck_assert_int_eq(blocks_fail_errno(&err, ENOSPC, "write of a pack"), DEAI_EFULL);
  ck_assert_int_eq(blocks_fail_errno(&err, EIO, "write of a pack"), DEAI_EIO);
  ck_assert_ptr_nonnull(strstr(err.text, "write of a pack"));
}
END_TEST

START_TEST(long_texts_are_cut) {
  blocks_error err;
  char text[2 * BLOCKS_ERROR_BYTES];
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = 0;
  ck_assert_int_eq(blocks_fail(&err, DEAI_EIO, "%s", text), DEAI_EIO);
  ck_assert_uint_eq(strlen(err.text), BLOCKS_ERROR_BYTES - 1);
}
END_TEST

START_TEST(buffers_refuse_what_cannot_fit) {
  blocks_buf buf = {0};
  ck_assert_int_eq(blocks_buf_reserve(&buf, SIZE_MAX), DEAI_ENOMEM);
  ck_assert_int_eq(blocks_buf_add(&buf, "ab", 2), DEAI_OK);
  ck_assert_int_eq(blocks_buf_add(&buf, "", SIZE_MAX / 2), DEAI_ENOMEM);
  ck_assert_int_eq(blocks_buf_add(&buf, "cd", 2), DEAI_OK);
  ck_assert_uint_eq(buf.len, 4);
  ck_assert_mem_eq(buf.ptr, "abcd", 4);
  blocks_buf_free(&buf);
  ck_assert_ptr_null(buf.ptr);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks/base");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, errors_keep_their_status_and_text);
  tcase_add_test(tests, long_texts_are_cut);
  tcase_add_test(tests, buffers_refuse_what_cannot_fit);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
