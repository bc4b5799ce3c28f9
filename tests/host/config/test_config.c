/* The config of a node: every refusal with its exact text, then the effective values. */
#include "tests/testing.h"

#include "host/config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "host/base/banned.h"

static char err[2 * DEAI_ERR_CAP];
static char file[4200];
static deai_config config;

/* load writes text to FOLDER/c.yaml with %E as the echo plug-in and %Z as the zoo, and loads it. */
static int32_t load(const char *text) {
  (void)snprintf(file, sizeof file, "%s/c.yaml", testing_folder());
  FILE *out = fopen(file, "w");
  ck_assert_ptr_nonnull(out);
  bool written = true; /* checked once: a text may be long */
  for (const char *at = text; *at != 0; at++) {
    bool echo = at[0] == '%' && at[1] == 'E';
    bool zoo = at[0] == '%' && at[1] == 'Z';
    if (echo || zoo)
      written &= fputs(getenv(echo ? "DEAI_ECHO_PLUGIN" : "DEAI_ZOO"), out) >= 0;
    else
      written &= fputc(*at, out) == (unsigned char)*at;
    at += echo || zoo;
  }
  ck_assert(written);
  ck_assert_int_eq(fclose(out), 0);
  err[0] = 0;
  return deai_config_load(file, &config, err, sizeof err);
}

typedef struct bad_config {
  const char *text;
  const char *why; /* %F is the file, %E and %Z as above */
} bad_config;

static const bad_config bad_configs[] = {
    {"", "%F:1:1: expected YAML"},
    {"data: /d\n? [a]: 1\n", "%F:2:1: expected a plain key, found a complex one (?)"},
    {"data:\t/d\n", "%F:1:6: expected spaces, found a tab"},
    {"name: x\n", "%F:1:1: data: expected this key, found none; add it"},
    {"data: /d\nnmae: x\n",
     "%F:2:1: the document: expected no key \"nmae\"; remove it or mend its spelling"},
    {"data: ''\n", "%F:1:8: data: expected 1 to 3800 bytes, found 0"},
    {"data: [1]\n", "%F:1:8: data: expected a text below 4096 bytes"},
    {"data: /d\nhttp: { auth: maybe }\n",
     "%F:2:15: http.auth: expected true or false, found \"maybe\""},
    {"data: /d\nhttp:\n  per_address: 0\n",
     "%F:3:16: http.per_address: expected 1 to 4096, found 0"},
    {"data: /d\nhttp:\n  ports: 1\n",
     "%F:3:3: http: expected no key \"ports\"; remove it or mend its spelling"},
    {"data: /d\nlog: { level: loud }\n",
     "%F:2:15: log.level: expected one of error, warn, info, debug, found \"loud\""},
    {"data: /d\nplugins: 7\n", "%F: plugins: expected a map of plug-in names"},
    {"data: /d\nplugins:\n  example/echo: { path: /no/such.so }\n",
     "%F: plugins.example/echo: /no/such.so: expected the plug-in here: No such file or "
     "directory; install it or mend `path`"},
    {"data: /d\nplugins:\n  example/echo: {}\nplugin_dir: /no\n",
     "%F: plugins.example/echo: /no/example-echo.so: expected the plug-in here: No such file or "
     "directory; install it or mend `path`"},
    {"data: /d\nplugins:\n  example/other: { path: %E }\n",
     "%F: plugins.example/other: expected this plug-in in %E, found example/echo"},
    {"data: /d\nplugins:\n  example/echo: { path: %E, sha256: 00 }\n",
     "%F: plugins.example/echo.sha256: expected 64 lower-case hex digits"},
    {"data: /d\nplugins:\n  example/echo:\n    path: %E\n    sha256: "
     "0000000000000000000000000000000000000000000000000000000000000000\n",
     "%F: plugins.example/echo: %E: expected the SHA-256 of the config, found another file; mend "
     "`sha256`"},
    {"data: /d\nplugins:\n  example/echo: \n    path: %E\n    isolation: jail\n",
     "%F:5:16: plugins.example/echo.isolation: expected one of \"\", inproc, process, found "
     "\"jail\""},
    {"data: /d\nplugins:\n  example/echo:\n    path: %E\n    memory: 1GB\n",
     "%F:5:13: plugins.example/echo.memory: expected a whole number with a unit of bytes, found "
     "\"1GB\""},
    {"data: /d\nplugins:\n  example/echo:\n    path: %E\n    prefixx: a\n",
     "%F:5:5: plugins.example/echo: expected no key \"prefixx\"; remove it or mend its spelling"},
    {"data: /d\nplugins:\n  example/echo:\n    path: %E\n    prefix: [a]\n",
     "%F:5:14: plugins.example/echo.prefix: expected a text below 4096 bytes"},
    {"data: /d\nplugins:\n  zoo/bad: { path: %Z/zoo_bad_note.so }\n",
     "%F: plugins.zoo/bad: %Z/zoo_bad_note.so: manifest: expected no key \"surprise\"; update "
     "deai"},
};

static const char *filled(const char *why) {
  static char out[2048];
  size_t len = 0;
  for (const char *at = why; *at != 0; at++) {
    const char *put = NULL;
    if (at[0] == '%' && at[1] == 'F') put = file;
    if (at[0] == '%' && at[1] == 'E') put = getenv("DEAI_ECHO_PLUGIN");
    if (at[0] == '%' && at[1] == 'Z') put = getenv("DEAI_ZOO");
    if (put != NULL) at++;
    len += (size_t)snprintf(out + len, sizeof out - len, put != NULL ? "%s" : "%.1s",
                            put != NULL ? put : at);
  }
  return out;
}

START_TEST(refuses_with_the_place_and_the_reason) {
  int32_t status = load(bad_configs[_i].text);
  ck_assert_str_eq(err, filled(bad_configs[_i].why));
  ck_assert_int_lt(status, 0);
  ck_assert_uint_eq(config.plugin_count, 0);
}
END_TEST

static const char *const broken[] = {
    "data: [1\n", "data: /d\ndata: /e\n",      "\t- x", "data: \"\\q\"", "a: b: c\n", "{",
    "\xff\xfe",   "data: /d\n---\ndata: /e\n",
};

START_TEST(broken_yaml_names_its_place) {
  char start[4300];
  int32_t status = load(broken[_i]);
  if (_i == 7 && status == DEAI_OK) { /* a second document is not read */
    deai_config_free(&config);
    return;
  }
  ck_assert_int_eq(status, DEAI_EINVAL);
  (void)snprintf(start, sizeof start, "%s:", file);
  ck_assert_msg(strncmp(err, start, strlen(start)) == 0, "%s", err);
  ck_assert_int_ge(err[strlen(start)], '0');
  ck_assert_int_le(err[strlen(start)], '9');
}
END_TEST

START_TEST(files_that_are_none) {
  char wanted[4400];
  static char big[DEAI_CONFIG_BYTES_MAX + 2];
  ck_assert_int_eq(deai_config_load("/no/such.yaml", &config, err, sizeof err), DEAI_ENOTFOUND);
  ck_assert_str_eq(err, "/no/such.yaml: expected a config file: No such file or directory; run "
                        "`deai init`");
  ck_assert_int_eq(deai_config_load("/tmp", &config, err, sizeof err), DEAI_EINVAL);
  ck_assert_str_eq(err, "/tmp: expected a regular file of at most 1048576 bytes");
  memset(big, '#', sizeof big - 1);
  ck_assert_int_eq(load(big), DEAI_EINVAL);
  (void)snprintf(wanted, sizeof wanted, "%s: expected a regular file of at most 1048576 bytes",
                 file);
  ck_assert_str_eq(err, wanted);
}
END_TEST

static bool text_is(deai_str text, const char *other) {
  return deai_str_eq(text, deai_str_of(other)) != 0;
}

START_TEST(every_key_has_its_default) {
  ck_assert_msg(load("data: /var/lib/deai\n") == DEAI_OK, "%s", err);
  const deai_config_node *node = &config.node;
  ck_assert(text_is(node->data, "/var/lib/deai"));
  ck_assert(text_is(node->name, "node"));
  ck_assert(text_is(node->http.listen, "127.0.0.1:8340"));
  ck_assert(text_is(node->peers.listen, "127.0.0.1:8341"));
  ck_assert(text_is(node->ledger.engine, "local"));
  ck_assert(text_is(node->log.level, "info"));
  ck_assert(text_is(node->log.format, "text"));
  ck_assert_uint_eq(node->http.per_address, 64);
  ck_assert_uint_eq(node->http.auth, 0);
  ck_assert_uint_eq(config.plugin_count, 0);
  deai_config_free(&config);
  deai_config_free(&config);
}
END_TEST

START_TEST(reads_what_is_written) {
  ck_assert_msg(load("data: /d\nname: attic\nhttp:\n  listen: ''\n  hosts: [a.example, b]\n"
                     "  auth: true\npeers: { listen: 0.0.0.0:1, announce: ['x:1'] }\n"
                     "plugins:\n  example/echo:\n    path: %E\n    isolation: process\n"
                     "    memory: 1GiB\n    prefix: '> '\n") == DEAI_OK,
                "%s", err);
  ck_assert_uint_eq(config.node.http.hosts.count, 2);
  ck_assert(text_is(((const deai_str *)config.node.http.hosts.items)[0], "a.example"));
  ck_assert_uint_eq(config.node.http.listen.len, 0);
  ck_assert_uint_eq(config.node.http.auth, 1);
  ck_assert_uint_eq(config.plugin_count, 1);
  const deai_config_plugin *plugin = &config.plugins[0];
  ck_assert_str_eq(plugin->name, "example/echo");
  ck_assert_int_eq(plugin->isolation, 1);
  ck_assert_uint_eq(plugin->memory_max, UINT64_C(1) << 30);
  ck_assert_int_ge(plugin->loaded.fd, 0);
  ck_assert_uint_eq(plugin->settings_len, 11); /* {prefix: "> "} */
  ck_assert_mem_eq(plugin->settings, "\xa1\x66prefix\x62> ", 11);
  deai_config_free(&config);
}
END_TEST

START_TEST(an_optional_plugin_may_be_missing) {
  char wanted[4400];
  ck_assert_msg(load("data: /d\nplugins:\n  a/b: { path: /no/such.so, optional: true }\n"
                     "  example/echo: { path: %E }\n") == DEAI_OK,
                "%s", err);
  ck_assert_uint_eq(config.plugin_count, 2);
  (void)snprintf(wanted, sizeof wanted,
                 "%s: plugins.a/b: /no/such.so: expected the plug-in here: No such file or "
                 "directory; install it or mend `path`",
                 file);
  ck_assert_str_eq(config.plugins[0].reason, wanted);
  ck_assert_int_eq(config.plugins[0].loaded.fd, -1);
  ck_assert_str_eq(config.plugins[1].reason, "");
  ck_assert_int_eq(config.plugins[1].isolation, -1);
  char *text = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&text, &len);
  ck_assert_ptr_nonnull(out);
  deai_config_print(&config, out);
  (void)fclose(out);
  ck_assert_ptr_nonnull(strstr(text, "data: /d\n"));
  ck_assert_ptr_nonnull(strstr(text, "# refused: "));
  free(text);
  deai_config_free(&config);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("config");
  TCase *tests = tcase_create("config");
  tcase_add_loop_test(tests, refuses_with_the_place_and_the_reason, 0,
                      (int)(sizeof bad_configs / sizeof bad_configs[0]));
  tcase_add_loop_test(tests, broken_yaml_names_its_place, 0,
                      (int)(sizeof broken / sizeof broken[0]));
  tcase_add_test(tests, files_that_are_none);
  tcase_add_test(tests, every_key_has_its_default);
  tcase_add_test(tests, reads_what_is_written);
  tcase_add_test(tests, an_optional_plugin_may_be_missing);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
