/* Host and Origin: what a hostile page would send is refused. */
#include "tests/testing.h"

#include "host/http/guard.h"

#include "host/base/banned.h"

typedef struct row {
  const char *header;
  bool host;
  bool origin;
} row;

static const row rows[] = {
    {NULL, false, true},
    {"", false, false},
    {"evil.example", false, false},
    {"localhost.evil.example", false, false},
    {"127.0.0.1.evil.example", false, false},
    {"127.evil.example", false, false},
    {"127.0.0", false, false},
    {"127.0.0.1.", false, false},
    {"127..0.1", false, false},
    {"127.0.0.1234", false, false},
    {"1127.0.0.1", false, false},
    {"128.0.0.1", false, false},
    {"[::1", false, false},
    {"[::1]x", false, false},
    {"[::2]", false, false},
    {"::1", false, false},
    {":8340", false, false},
    {"localhost", true, false},
    {"LOCALHOST:8340", true, false},
    {"127.0.0.1", true, false},
    {"127.9.8.7:1", true, false},
    {"[::1]", true, false},
    {"[::1]:8340", true, false},
    {"192.168.1.5", true, false},
    {"192.168.1.50", false, false},
    {"attic.example:443", true, false},
    {"null", false, false},
    {"file://", false, false},
    {"http://evil.example", false, false},
    {"http://localhost.evil.example", false, false},
    {"http://localhost@evil.example", false, false},
    {"http://localhost/path", false, false},
    {"ftp://localhost", false, false},
    {"https://", false, false},
    {"http://localhost", false, true},
    {"https://localhost:5173", false, true},
    {"HTTP://127.0.0.1:3000", false, true},
    {"http://[::1]:3000", false, true},
    {"https://attic.example", false, true},
};

START_TEST(names_this_node_or_not) {
  const deai_str hosts[] = {deai_str_of("attic.example")};
  deai_guard guard = {deai_str_of("192.168.1.5"), hosts, 1};
  const row *at = &rows[_i];
  ck_assert_msg(deai_guard_host(&guard, at->header) == at->host, "Host: %s", at->header);
  ck_assert_msg(deai_guard_origin(&guard, at->header) == at->origin, "Origin: %s", at->header);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("guard");
  TCase *tests = tcase_create("guard");
  tcase_add_loop_test(tests, names_this_node_or_not, 0, (int)(sizeof rows / sizeof rows[0]));
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
