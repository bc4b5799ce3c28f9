/* Log lines: escaping, levels, length, both formats, the sink. */
#include "tests/testing.h"

#include "host/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

static char line[16384];
static int saved_stderr = -1;
static int pipe_ends[2];

static void setup(void) {
  ck_assert_int_eq(pipe(pipe_ends), 0);
  saved_stderr = dup(STDERR_FILENO);
  ck_assert_int_ge(dup2(pipe_ends[1], STDERR_FILENO), 0);
}

static const char *caught(void) {
  ck_assert_int_ge(dup2(saved_stderr, STDERR_FILENO), 0);
  (void)close(saved_stderr);
  (void)close(pipe_ends[1]);
  size_t len = 0;
  ssize_t got = 0;
  while (len < sizeof line - 1 && (got = read(pipe_ends[0], line + len, sizeof line - 1 - len)) > 0)
    len += (size_t)got;
  line[len] = 0;
  (void)close(pipe_ends[0]);
  return line;
}

START_TEST(knows_four_levels) {
  ck_assert_int_eq(deai_log_level_of("error"), DEAI_LEVEL_ERROR);
  ck_assert_int_eq(deai_log_level_of("debug"), DEAI_LEVEL_DEBUG);
  ck_assert_int_eq(deai_log_level_of("DEBUG"), -1);
  ck_assert_int_eq(deai_log_level_of(""), -1);
}
END_TEST

START_TEST(leaves_out_what_is_less_important) {
  setup();
  deai_log_setup(DEAI_LEVEL_WARN, 0);
  deai_log(DEAI_LEVEL_INFO, "net", "hidden");
  deai_log(DEAI_LEVEL_WARN, "net", "member %s", "barn");
  const char *text = caught();
  ck_assert_ptr_null(strstr(text, "hidden"));
  ck_assert_ptr_nonnull(strstr(text, "Z WARN  net: member barn\n"));
  ck_assert_int_eq(text[4], '-');
  ck_assert_int_eq(text[10], 'T');
}
END_TEST

START_TEST(one_event_is_one_line) {
  setup();
  deai_log(DEAI_LEVEL_INFO, "net", "a\nb\r\x1b[31m\x7f");
  const char *text = caught();
  ck_assert_ptr_nonnull(strstr(text, "net: a\\u000ab\\u000d\\u001b[31m\\u007f\n"));
  ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
}
END_TEST

START_TEST(json_lines_parse) {
  setup();
  deai_log_setup(DEAI_LEVEL_INFO, 1);
  deai_log(DEAI_LEVEL_ERROR, "plugin x", "say \"hi\" \\ \n %s", "\xc3\xa4");
  const char *text = caught();
  json_t *object = json_loads(text, 0, NULL);
  ck_assert_msg(object != NULL, "%s", text);
  ck_assert_str_eq(json_string_value(json_object_get(object, "level")), "error");
  ck_assert_str_eq(json_string_value(json_object_get(object, "part")), "plugin x");
  ck_assert_str_eq(json_string_value(json_object_get(object, "text")), "say \"hi\" \\ \n \xc3\xa4");
  json_decref(object);
}
END_TEST

START_TEST(long_lines_are_cut) {
  char *long_text = malloc(20000);
  ck_assert_ptr_nonnull(long_text);
  memset(long_text, _i == 0 ? 'x' : '\n', 19999);
  long_text[19999] = 0;
  setup();
  deai_log(DEAI_LEVEL_INFO, "net", "%s", long_text);
  const char *text = caught();
  ck_assert_uint_lt(strlen(text), DEAI_LOG_LINE_MAX + 160);
  ck_assert_int_eq(text[strlen(text) - 1], '\n');
  free(long_text);
}
END_TEST

static char sunk[64];

static void sink(void *user, deai_log_level level, const char *text) {
  *(int *)user = (int)level;
  (void)snprintf(sunk, sizeof sunk, "%s", text);
}

START_TEST(a_sink_takes_the_place_of_stderr) {
  int level = -1;
  setup();
  deai_log_sink(sink, &level);
  deai_log(DEAI_LEVEL_WARN, "net", "to the host");
  deai_log_sink(NULL, NULL);
  deai_log(DEAI_LEVEL_WARN, "net", "to stderr");
  const char *text = caught();
  ck_assert_str_eq(sunk, "to the host");
  ck_assert_int_eq(level, DEAI_LEVEL_WARN);
  ck_assert_ptr_null(strstr(text, "to the host"));
  ck_assert_ptr_nonnull(strstr(text, "to stderr"));
}
END_TEST

int main(void) {
  Suite *suite = suite_create("log");
  TCase *tests = tcase_create("lines");
  tcase_add_test(tests, knows_four_levels);
  tcase_add_test(tests, leaves_out_what_is_less_important);
  tcase_add_test(tests, one_event_is_one_line);
  tcase_add_test(tests, json_lines_parse);
  tcase_add_loop_test(tests, long_lines_are_cut, 0, 2);
  tcase_add_test(tests, a_sink_takes_the_place_of_stderr);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
