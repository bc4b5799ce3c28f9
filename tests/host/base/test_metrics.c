/* Numbers for /metrics: names that are refused, the last value, the limit. */
#include "tests/testing.h"

#include "host/base/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

static void expect_text(deai_metrics *metrics, const char *expected) {
  char *text = deai_metrics_text(metrics);
  ck_assert_ptr_nonnull(text);
  ck_assert_str_eq(text, expected);
  free(text);
}

START_TEST(drops_names_that_would_break_the_text) {
  static const char *const names[] = {"", "Upper", "a-b", "a b", "a\n", "\xc3\xa4"};
  static const char *const plugins[] = {"a\"b", "a\\b", "a\nb"};
  char long_name[70];
  memset(long_name, 'a', sizeof long_name - 1);
  long_name[sizeof long_name - 1] = 0;
  deai_metrics *metrics = deai_metrics_new();
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    deai_metrics_set(metrics, "p", names[i], 1);
  for (size_t i = 0; i < sizeof plugins / sizeof plugins[0]; i++)
    deai_metrics_set(metrics, plugins[i], "n", 1);
  deai_metrics_set(metrics, "p", long_name, 1);
  deai_metrics_set(metrics, long_name, "n", 1);
  expect_text(metrics, "");
  deai_metrics_free(metrics);
  deai_metrics_free(NULL);
}
END_TEST

static void add_up(void *user, const char *plugin, const char *name, uint64_t value) {
  ck_assert_str_eq(plugin, "p");
  ck_assert(strcmp(name, "a") == 0 || strcmp(name, "b") == 0);
  *(uint64_t *)user += value;
}

START_TEST(all_numbers_are_walked) {
  uint64_t sum = 0;
  deai_metrics *metrics = deai_metrics_new();
  deai_metrics_each(metrics, add_up, &sum);
  ck_assert_uint_eq(sum, 0);
  deai_metrics_set(metrics, "p", "a", 3);
  deai_metrics_set(metrics, "p", "b", 4);
  deai_metrics_each(metrics, add_up, &sum);
  ck_assert_uint_eq(sum, 7);
  deai_metrics_free(metrics);
}
END_TEST

START_TEST(keeps_the_last_value_of_each) {
  deai_metrics *metrics = deai_metrics_new();
  deai_metrics_set(metrics, "storage/blocks", "bytes", 1);
  deai_metrics_set(metrics, "node", "bytes", UINT64_MAX);
  deai_metrics_set(metrics, "storage/blocks", "bytes", 2);
  expect_text(metrics, "deai_bytes{plugin=\"storage/blocks\"} 2\n"
                       "deai_bytes{plugin=\"node\"} 18446744073709551615\n");
  deai_metrics_free(metrics);
}
END_TEST

static size_t lines_of(deai_metrics *metrics, const char *with) {
  size_t lines = 0;
  char *text = deai_metrics_text(metrics);
  for (char *at = strstr(text, with); at != NULL; at = strstr(at + 1, with))
    lines++;
  free(text);
  return lines;
}

static void flood(deai_metrics *metrics, const char *plugin) {
  char name[65];
  for (unsigned i = 0; i < DEAI_METRICS_PLUGIN_MAX + 5; i++) {
    (void)snprintf(name, sizeof name, "%060u_end", i);
    deai_metrics_set(metrics, plugin, name, UINT64_MAX);
  }
  deai_metrics_set(metrics, plugin, name, 7); /* a new one too many is dropped */
}

START_TEST(a_flood_of_names_takes_the_room_of_none) {
  deai_metrics *metrics = deai_metrics_new();
  deai_metrics_set(metrics, "calm", "a", 1);
  flood(metrics, "wild");
  ck_assert_uint_eq(lines_of(metrics, "wild"), DEAI_METRICS_PLUGIN_MAX);
  ck_assert_uint_eq(lines_of(metrics, "} 7\n"), 0);
  deai_metrics_set(metrics, "calm", "a", 2);
  deai_metrics_set(metrics, "calm", "b", 3);
  ck_assert_uint_eq(lines_of(metrics, "deai_a{plugin=\"calm\"} 2\n"), 1);
  ck_assert_uint_eq(lines_of(metrics, "deai_b{plugin=\"calm\"} 3\n"), 1);
  deai_metrics_free(metrics);
}
END_TEST

START_TEST(holds_so_many_and_no_more) {
  deai_metrics *metrics = deai_metrics_new();
  char plugin[65];
  for (unsigned i = 0; i < DEAI_METRICS_MAX / DEAI_METRICS_PLUGIN_MAX + 2; i++) {
    (void)snprintf(plugin, sizeof plugin, "%064u", i);
    flood(metrics, plugin);
  }
  ck_assert_uint_eq(lines_of(metrics, "\n"), DEAI_METRICS_MAX);
  deai_metrics_free(metrics);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("metrics");
  TCase *tests = tcase_create("numbers");
  tcase_add_test(tests, all_numbers_are_walked);
  tcase_add_test(tests, drops_names_that_would_break_the_text);
  tcase_add_test(tests, keeps_the_last_value_of_each);
  tcase_add_test(tests, a_flood_of_names_takes_the_room_of_none);
  tcase_add_test(tests, holds_so_many_and_no_more);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
