#include "tests/testing.h"

#include "host/base/base32.h"

#include <string.h>

#include "host/base/banned.h"

START_TEST(refuses_what_no_encoder_makes) {
  static const char *const bad[] = {"a", "aaa", "aaaaaa", "ab", "mzxw6yr", "MY", "m1", "my======"};
  uint8_t room[16];
  uint64_t len;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    ck_assert_int_eq(deai_base32_get(deai_str_of(bad[i]), (deai_buf){room, sizeof room}, &len),
                     DEAI_EINVAL);
  ck_assert_int_eq(deai_base32_get(deai_str_of("mzxw6"), (deai_buf){room, 2}, &len),
                   DEAI_ETOOLARGE);
  char small[4];
  ck_assert_int_eq(deai_base32_put(deai_bytes_of("fo", 2), small, sizeof small), DEAI_ETOOLARGE);
}
END_TEST

START_TEST(rfc_4648_rows) {
  static const char *const rows[][2] = {{"", ""},
                                        {"f", "my"},
                                        {"fo", "mzxq"},
                                        {"foo", "mzxw6"},
                                        {"foob", "mzxw6yq"},
                                        {"fooba", "mzxw6ytb"},
                                        {"foobar", "mzxw6ytboi"}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char text[32];
    uint8_t back[16];
    uint64_t len;
    deai_bytes bytes = deai_bytes_of(rows[i][0], strlen(rows[i][0]));
    ck_assert_int_eq(deai_base32_put(bytes, text, sizeof text), DEAI_OK);
    ck_assert_str_eq(text, rows[i][1]);
    ck_assert_int_eq(deai_base32_get(deai_str_of(text), (deai_buf){back, sizeof back}, &len),
                     DEAI_OK);
    ck_assert_int_eq(deai_bytes_eq(bytes, deai_bytes_of(back, len)), 1);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("base32");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, refuses_what_no_encoder_makes);
  tcase_add_test(tests, rfc_4648_rows);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
