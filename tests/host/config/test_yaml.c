/* What of YAML a config may use, and what is refused before the library sees it. */
#include "tests/testing.h"

#include "host/config/yaml.h"

#include <libfyaml.h>

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

typedef struct row {
  const char *text;
  const char *why;
} row;

static const row bad[] = {
    {"? [a]:\t:  1}\n", "f:1:1: expected a plain key, found a complex one (?)"},
    {"a: 1\n? b\n", "f:2:1: expected a plain key"},
    {"{? a : b}", "f:1:2: expected a plain key"},
    {"a:\tb\n", "f:1:3: expected spaces, found a tab"},
    {"a: \"x\ty\"\n", "f:1:6: expected spaces, found a tab"},
    {"a: \x01\n", "f:1:4: expected text, found a control character"},
    {"a: &x 1\n", "f:1:4: expected a value, found an anchor or alias"},
    {"a: [1, *x]\n", "f:1:8: expected a value, found an anchor or alias"},
    {"- *x\n", "f:1:3: expected a value, found an anchor"},
    {"a: !!int 1\n", "found a tag"},
    {"a: |\n  x\n", "found a block"},
    {"a: >-\n  x\n", "found a block"},
    {"%YAML 1.2\n", "found a reserved sign"},
    {"a: @x\n", "found a reserved sign"},
    {"---\na: 1\n", "f:1:1: expected one document"},
    {"a: 1\n...\n", "f:2:1: expected one document"},
    {"a: \"x\n  y\"\n", "f:1:6: expected a text in quotes that ends on its line"},
    {"a: 'x\n", "expected a text in quotes that ends on its line"},
    {"[[[[[[[[[[[[[[[[[", "f:1:17: expected at most 16 brackets in each other"},
    {"- - - - - - - - - - - - - - - - - x", "f:1:33: expected at most 16 lists in each other"},
    {"a: \xff\n", "f:1:1: expected UTF-8"},
    {"a: b\rc\n", "found a control character"},
    {"a: [1\n", "f:"}, /* from here on the library speaks */
    {"a: 'x' 'y'\n", "f:"},
    {"a: b: c\n", "f:"},
};

START_TEST(what_a_config_has_no_use_for_is_refused) {
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    char err[256] = "";
    struct fy_document *document = NULL;
    int32_t status = deai_yaml_open(deai_str_of(bad[i].text), "f", &document, err, sizeof err);
    ck_assert_msg(status == DEAI_EINVAL, "%s was taken", bad[i].text);
    ck_assert_ptr_null(document);
    ck_assert_msg(strncmp(err, "f:", 2) == 0 && strstr(err, bad[i].why) != NULL,
                  "%s: expected \"%s\", found \"%s\"", bad[i].text, bad[i].why, err);
  }
}
END_TEST

static const row good[] = {
    {"a: rock 'n' roll & more! > 5? *yes* # \"no &comment\n", "rock 'n' roll & more! > 5? *yes*"},
    {"# ? & *\na: \"? & * \\\" \\\\\"\n", "? & * \" \\"},
    {"a: 'it''s ? [a]'\n", "it's ? [a]"},
    {"{\"a\":\"b\", c: [1, 'd']}\n", "b"},
    {"a: 127.0.0.1:8340\nb: [x, {y: 1}]\nc:\n  - 1\n  -   - 2\n", "127.0.0.1:8340"},
    {"a: x#y\r\n", "x#y"},
    {"a: caf\xc3\xa9\n", "caf\xc3\xa9"},
};

START_TEST(what_a_config_needs_is_taken) {
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    char err[256] = "";
    size_t len = 0;
    struct fy_document *document = NULL;
    int32_t status = deai_yaml_open(deai_str_of(good[i].text), "f", &document, err, sizeof err);
    ck_assert_msg(status == DEAI_OK, "%s: %s", good[i].text, err);
    struct fy_node *node = fy_node_mapping_lookup_by_string(fy_document_root(document), "a", FY_NT);
    ck_assert_ptr_nonnull(node);
    const char *text = fy_node_get_scalar(node, &len);
    ck_assert_msg(len == strlen(good[i].why) && memcmp(text, good[i].why, len) == 0,
                  "expected \"%s\", found \"%.*s\"", good[i].why, (int)len, text);
    fy_document_destroy(document);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("yaml");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, what_a_config_has_no_use_for_is_refused);
  tcase_add_test(tests, what_a_config_needs_is_taken);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
