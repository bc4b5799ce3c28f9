#include "plugins/storage/blocks/export.h"

#include "tests/plugins/storage/blocks/tools.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

static memory_store *memory;

static void setup(void) {
  memory = memory_store_new();
}

static void teardown(void) {
  memory_store_free(memory);
}

static blocks_cid add_raw(const char *text) {
  blocks_cid cid = cid_of_text(text);
  memory_store_put(memory, &cid, deai_bytes_of(text, strlen(text)));
  return cid;
}

static blocks_cid add_node(const blocks_pbnode *node) {
  blocks_buf block = {0};
  blocks_cid cid;
  ck_assert_int_eq(blocks_pbnode_encode(node, &block), DEAI_OK);
  blocks_cid_of_block(BLOCKS_CODEC_DAG_PB, blocks_buf_bytes(&block), &cid);
  memory_store_put(memory, &cid, blocks_buf_bytes(&block));
  blocks_buf_free(&block);
  return cid;
}

/* a directory with any name, hostile ones too: the writer of the store would refuse them */
static blocks_cid add_folder(const char *name, size_t name_len, const blocks_cid *child) {
  blocks_pblink link = {
      .hash = blocks_cid_bytes(child), .name = deai_bytes_of(name, name_len), .has_name = true};
  blocks_pbnode node = {
      .links = &link, .links_count = 1, .data = deai_bytes_of("\x08\x01", 2), .has_data = true};
  return add_node(&node);
}

static blocks_cid add_symlink(const char *target) {
  blocks_buf block = {0};
  blocks_child made;
  ck_assert_int_eq(blocks_unixfs_symlink(deai_str_of(target), &block, &made, NULL), DEAI_OK);
  memory_store_put(memory, &made.cid, blocks_buf_bytes(&block));
  blocks_buf_free(&block);
  return made.cid;
}

static const char *target(void) {
  static char path[4200];
  (void)snprintf(path, sizeof path, "%s/target", testing_folder());
  (void)mkdir(path, 0700);
  return path;
}

static int32_t export_as(const blocks_cid *cid, const char *name, bool overwrite, bool symlinks) {
  blocks_export_options options = {.overwrite = overwrite, .symlinks = symlinks};
  blocks_export_result result;
  blocks_error err = {0};
  int32_t status =
      blocks_export(memory_store_source(memory), cid, target(), name, &options, &result, &err);
  if (status != DEAI_OK) ck_assert_uint_gt(strlen(err.text), 10);
  return status;
}

static bool contains(const char *path, const char *want) {
  char full[8400];
  char found[64] = {0};
  (void)snprintf(full, sizeof full, "%s/%s", target(), path);
  int fd = open(full, O_RDONLY);
  if (fd < 0) return false;
  ssize_t len = read(fd, found, sizeof found - 1);
  (void)close(fd);
  return len >= 0 && strcmp(found, want) == 0;
}

START_TEST(refuses_names_that_leave_the_folder) {
  static const char *const bad[] = {"", ".", "..", "/etc", "a/b", "../up", "a/"};
  blocks_cid file = add_raw("content");
  char long_name[300];
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    blocks_cid folder = add_folder(bad[i], strlen(bad[i]), &file);
    ck_assert_int_eq(export_as(&folder, "out", false, true), DEAI_EDENIED);
    ck_assert_int_eq(export_as(&file, bad[i], false, true), DEAI_EDENIED);
  }
  blocks_cid zero = add_folder("a\0b", 3, &file);
  ck_assert_int_eq(export_as(&zero, "out", false, true), DEAI_EDENIED);
  memset(long_name, 'x', sizeof long_name);
  blocks_cid too_long = add_folder(long_name, 256, &file);
  ck_assert_int_eq(export_as(&too_long, "out", false, true), DEAI_EDENIED);
  blocks_cid fits = add_folder(long_name, 255, &file);
  ck_assert_int_eq(export_as(&fits, "fits", false, true), DEAI_OK);
}
END_TEST

START_TEST(never_follows_a_symlink_on_disk) {
  char path[4400];
  blocks_cid file = add_raw("content");
  blocks_cid folder = add_folder("file", 4, &file);
  (void)snprintf(path, sizeof path, "%s/trap", target());
  ck_assert_int_eq(symlink("/tmp", path), 0);
  ck_assert_int_eq(export_as(&folder, "trap", true, true), DEAI_EDENIED);
  ck_assert_int_ne(access("/tmp/file", F_OK), 0);
}
END_TEST

START_TEST(symlinks_only_when_asked) {
  blocks_cid link = add_symlink("../../etc/passwd");
  char path[4400];
  char found[64] = {0};
  ck_assert_int_eq(export_as(&link, "link", false, false), DEAI_EDENIED);
  ck_assert_int_eq(export_as(&link, "link", false, true), DEAI_OK);
  (void)snprintf(path, sizeof path, "%s/link", target());
  ck_assert_int_gt(readlink(path, found, sizeof found - 1), 0);
  ck_assert_str_eq(found, "../../etc/passwd");
  ck_assert_int_eq(export_as(&link, "link", false, true), DEAI_EINVAL);
  ck_assert_int_eq(export_as(&link, "link", true, true), DEAI_OK);
  blocks_cid file = add_raw("file over link"); /* replaces the link, does not write through it */
  ck_assert_int_eq(export_as(&file, "link", true, false), DEAI_OK);
  ck_assert(contains("link", "file over link"));
}
END_TEST

START_TEST(never_overwrites_unless_asked) {
  blocks_cid one = add_raw("one");
  blocks_cid two = add_raw("two");
  ck_assert_int_eq(export_as(&one, "file", false, false), DEAI_OK);
  ck_assert_int_eq(export_as(&two, "file", false, false), DEAI_EINVAL);
  ck_assert(contains("file", "one"));
  ck_assert_int_eq(export_as(&two, "file", true, false), DEAI_OK);
  ck_assert(contains("file", "two"));
}
END_TEST

START_TEST(writes_trees_and_the_first_of_equal_names) {
  blocks_cid one = add_raw("one");
  blocks_cid two = add_raw("two");
  blocks_cid inner = add_folder("deep", 4, &two);
  blocks_pblink links[3] = {{.hash = blocks_cid_bytes(&one), .has_name = true},
                            {.hash = blocks_cid_bytes(&two), .has_name = true},
                            {.hash = blocks_cid_bytes(&inner), .has_name = true}};
  links[0].name = links[1].name = deai_bytes_of("a", 1);
  links[2].name = deai_bytes_of("sub", 3);
  blocks_pbnode node = {
      .links = links, .links_count = 3, .data = deai_bytes_of("\x08\x01", 2), .has_data = true};
  blocks_cid root = add_node(&node);
  ck_assert_int_eq(export_as(&root, "tree", false, false), DEAI_OK);
  ck_assert(contains("tree/a", "one"));
  ck_assert(contains("tree/sub/deep", "two"));
}
END_TEST

START_TEST(caps_depth_bytes_and_missing_blocks) {
  blocks_cid at = add_raw("bottom");
  blocks_cid missing = cid_of_text("not in memory");
  blocks_export_options options = {.caps = {.bytes_max = 5}};
  blocks_export_result result;
  ck_assert_int_eq(
      blocks_export(memory_store_source(memory), &at, target(), "capped", &options, &result, NULL),
      DEAI_ETOOLARGE);
  ck_assert_int_eq(export_as(&missing, "missing", false, false), DEAI_ENOTFOUND);
  for (int i = 0; i < BLOCKS_DEPTH_MAX + 1; i++)
    at = add_folder("d", 1, &at);
  ck_assert_int_eq(export_as(&at, "deep", false, false), DEAI_EINVAL);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks/export");
  TCase *tests = tcase_create("all");
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, refuses_names_that_leave_the_folder);
  tcase_add_test(tests, never_follows_a_symlink_on_disk);
  tcase_add_test(tests, symlinks_only_when_asked);
  tcase_add_test(tests, never_overwrites_unless_asked);
  tcase_add_test(tests, writes_trees_and_the_first_of_equal_names);
  tcase_add_test(tests, caps_depth_bytes_and_missing_blocks);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
