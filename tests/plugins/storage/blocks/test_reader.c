#include "plugins/storage/blocks/reader.h"

#include "tests/plugins/storage/blocks/tools.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

static memory_store *memory;

static void setup(void) {
  memory = memory_store_new();
}

static void teardown(void) {
  memory_store_free(memory);
}

static blocks_cid add_bytes(uint64_t codec, deai_bytes bytes) {
  blocks_cid cid;
  blocks_cid_of_block(codec, bytes, &cid);
  memory_store_put(memory, &cid, bytes);
  return cid;
}

static blocks_cid add_node(blocks_pblink *links, uint32_t count, const char *data, size_t len) {
  blocks_pbnode node = {
      .links = links, .links_count = count, .data = deai_bytes_of(data, len), .has_data = true};
  blocks_buf block = {0};
  ck_assert_int_eq(blocks_pblinks_sort(links, count), DEAI_OK);
  ck_assert_int_eq(blocks_pbnode_encode(&node, &block), DEAI_OK);
  blocks_cid cid = add_bytes(BLOCKS_CODEC_DAG_PB, blocks_buf_bytes(&block));
  blocks_buf_free(&block);
  return cid;
}

static blocks_pblink link_to(const blocks_cid *cid, const char *name) {
  return (blocks_pblink){.hash = blocks_cid_bytes(cid),
                         .name = deai_bytes_of(name, strlen(name)),
                         .tsize = 1,
                         .has_name = true,
                         .has_tsize = true};
}

/* a file of small leaves, `fanout` links a node, `depth` levels */
static blocks_child add_file(uint32_t depth, uint32_t fanout, uint8_t *content, size_t *len) {
  blocks_child level[64];
  uint32_t count = 1;
  for (uint32_t i = 0; i < depth; i++)
    count *= fanout;
  ck_assert_uint_le(count, 64);
  for (uint32_t i = 0; i < count; i++) {
    size_t bytes = 3 + i % 5;
    memset(content + *len, (int)('a' + i % 26), bytes);
    level[i].cid = add_bytes(BLOCKS_CODEC_RAW, deai_bytes_of(content + *len, bytes));
    level[i].file_bytes = level[i].dag_bytes = bytes;
    *len += bytes;
  }
  for (; count > 1; count /= fanout) {
    for (uint32_t i = 0; i < count / fanout; i++) {
      blocks_buf block = {0};
      blocks_child node;
      ck_assert_int_eq(blocks_unixfs_file_node(level + i * fanout, fanout, &block, &node), 0);
      memory_store_put(memory, &node.cid, blocks_buf_bytes(&block));
      blocks_buf_free(&block);
      level[i] = node;
    }
  }
  return level[0];
}

START_TEST(refuses_what_is_no_file) {
  blocks_reader *reader;
  blocks_source source = memory_store_source(memory);
  blocks_cid folder = add_node(NULL, 0, "\x08\x01", 2);
  blocks_cid garbage = add_bytes(BLOCKS_CODEC_DAG_PB, deai_bytes_of("garbage", 7));
  blocks_cid missing = cid_of_text("missing");
  blocks_cid cbor = add_bytes(BLOCKS_CODEC_DAG_CBOR, deai_bytes_of("\xa0", 1));
  blocks_caps caps = {0};
  ck_assert_int_eq(blocks_reader_open(source, &folder, caps, &reader, NULL), DEAI_EINVAL);
  ck_assert_int_eq(blocks_reader_open(source, &garbage, caps, &reader, NULL), DEAI_EINVAL);
  ck_assert_int_eq(blocks_reader_open(source, &missing, caps, &reader, NULL), DEAI_ENOTFOUND);
  ck_assert_int_eq(blocks_reader_open(source, &cbor, caps, &reader, NULL), DEAI_EUNSUPPORTED);
}
END_TEST

START_TEST(reads_any_range_as_a_plain_copy_would) {
  uint8_t content[1024];
  size_t len = 0;
  blocks_child file = add_file(3, 4, content, &len);
  blocks_reader *reader;
  ck_assert_int_eq(
      blocks_reader_open(memory_store_source(memory), &file.cid, (blocks_caps){0}, &reader, NULL),
      DEAI_OK);
  ck_assert_uint_eq(blocks_reader_size(reader), len);
  for (size_t step = 0; step < 2000; step++) {
    uint8_t out[32];
    size_t at = step * 7919 % (len + 3);
    size_t want = step % sizeof out;
    int64_t got = blocks_reader_read(reader, at, (deai_buf){.ptr = out, .cap = want}, NULL);
    if (at >= len || want == 0)
      ck_assert_int_eq(got, 0);
    else
      ck_assert_int_gt(got, 0);
    if (got > 0) ck_assert_mem_eq(out, content + at, (size_t)got);
  }
  blocks_reader_close(reader);
}
END_TEST

START_TEST(a_node_that_contradicts_its_parent_is_refused) {
  blocks_cid leaf = add_bytes(BLOCKS_CODEC_RAW, deai_bytes_of("four", 4));
  blocks_pblink link = link_to(&leaf, "");
  blocks_cid root = add_node(&link, 1, "\x08\x02\x18\x05\x20\x05", 6); /* says 5 bytes */
  blocks_reader *reader;
  uint8_t out[8];
  ck_assert_int_eq(
      blocks_reader_open(memory_store_source(memory), &root, (blocks_caps){0}, &reader, NULL),
      DEAI_OK);
  ck_assert_int_eq(blocks_reader_read(reader, 0, (deai_buf){.ptr = out, .cap = 8}, NULL),
                   DEAI_EINVAL);
  blocks_reader_close(reader);
}
END_TEST

static int32_t count_block(void *user, const blocks_cid *cid, deai_bytes block) {
  (void)cid, (void)block;
  ++*(uint64_t *)user;
  return DEAI_OK;
}

START_TEST(a_wide_dag_meets_its_caps) { /* 2^30 paths over 31 blocks */
  blocks_cid at = add_node(NULL, 0, "\x08\x01", 2);
  uint64_t count = 0;
  blocks_source source = memory_store_source(memory);
  for (int i = 0; i < 30; i++) {
    blocks_pblink links[2] = {link_to(&at, "a"), link_to(&at, "b")};
    at = add_node(links, 2, "\x08\x01", 2);
  }
  blocks_caps caps = {.blocks_max = 1000};
  ck_assert_int_eq(blocks_dag_each(source, &at, true, caps, NULL, &count, count_block, NULL),
                   DEAI_ETOOLARGE);
  ck_assert_uint_eq(count, 1000);
  caps = (blocks_caps){.bytes_max = 5000};
  ck_assert_int_eq(blocks_dag_each(source, &at, true, caps, NULL, &count, count_block, NULL),
                   DEAI_ETOOLARGE);
}
END_TEST

START_TEST(a_deep_dag_meets_the_depth) {
  blocks_cid at = add_node(NULL, 0, "\x08\x01", 2);
  uint64_t count = 0;
  for (int i = 0; i < 1024; i++) {
    blocks_pblink link = link_to(&at, "d");
    at = add_node(&link, 1, "\x08\x01", 2);
  }
  ck_assert_int_eq(blocks_dag_each(memory_store_source(memory), &at, true, (blocks_caps){0}, NULL,
                                   &count, count_block, NULL),
                   DEAI_EINVAL);
  ck_assert_uint_eq(count, BLOCKS_DEPTH_MAX);
}
END_TEST

START_TEST(resolves_paths) {
  blocks_source source = memory_store_source(memory);
  blocks_cid leaf = add_bytes(BLOCKS_CODEC_RAW, deai_bytes_of("leaf", 4));
  blocks_pblink inner_link = link_to(&leaf, "b c");
  blocks_cid inner = add_node(&inner_link, 1, "\x08\x01", 2);
  blocks_pblink outer_link = link_to(&inner, "a");
  blocks_cid outer = add_node(&outer_link, 1, "\x08\x01", 2);
  blocks_cid found;
  blocks_error err = {0};
  uint64_t visited = 0;
  ck_assert_int_eq(
      blocks_resolve(source, &outer, deai_str_of("/a//b c"), &found, &err, &visited, count_block),
      DEAI_OK);
  ck_assert_int_eq(blocks_cid_equal(&found, &leaf), 1);
  ck_assert_uint_eq(visited, 2);
  ck_assert_int_eq(blocks_resolve(source, &outer, deai_str_of(""), &found, &err, NULL, NULL), 0);
  ck_assert_int_eq(blocks_cid_equal(&found, &outer), 1);
  ck_assert_int_eq(blocks_resolve(source, &outer, deai_str_of("x"), &found, &err, NULL, NULL),
                   DEAI_ENOTFOUND);
  ck_assert_ptr_nonnull(strstr(err.text, "'x'"));
  ck_assert_int_eq(blocks_resolve(source, &outer, deai_str_of("a/b c/d"), &found, &err, NULL, NULL),
                   DEAI_EINVAL);
  ck_assert_int_eq(blocks_resolve(source, &outer, deai_str_of(".."), &found, &err, NULL, NULL),
                   DEAI_ENOTFOUND);
}
END_TEST

static int32_t note_name(void *user, deai_bytes name, const blocks_cid *cid, uint64_t tsize) {
  (void)cid, (void)tsize;
  char *all = user;
  size_t len = strlen(all);
  (void)snprintf(all + len, 256 - len, "%.*s;", (int)name.len, (const char *)name.ptr);
  return DEAI_OK;
}

START_TEST(reads_sharded_directories) { /* "470.txt" lies in slot 00, then 6E (storage.md 1.2) */
  blocks_source source = memory_store_source(memory);
  static const char shard[] = "\x08\x05\x28\x22\x30\x80\x02";
  blocks_cid leaf = add_bytes(BLOCKS_CODEC_RAW, deai_bytes_of("leaf", 4));
  blocks_pblink low_links[2] = {link_to(&leaf, "6E470.txt"), link_to(&leaf, "6Fother")};
  blocks_cid low = add_node(low_links, 2, shard, 7);
  blocks_pblink top_links[2] = {link_to(&low, "00"), link_to(&leaf, "01wrong slot")};
  blocks_cid top = add_node(top_links, 2, shard, 7);
  blocks_cid found;
  char names[256] = "";
  ck_assert_int_eq(blocks_resolve(source, &top, deai_str_of("470.txt"), &found, NULL, NULL, NULL),
                   DEAI_OK);
  ck_assert_int_eq(blocks_cid_equal(&found, &leaf), 1);
  ck_assert_int_eq(blocks_resolve(source, &top, deai_str_of("other"), &found, NULL, NULL, NULL),
                   DEAI_ENOTFOUND);
  ck_assert_int_eq(blocks_directory_each(source, &top, (blocks_caps){0}, NULL, names, note_name),
                   DEAI_OK);
  ck_assert_str_eq(names, "470.txt;other;wrong slot;");
}
END_TEST

START_TEST(describes_nodes) {
  blocks_source source = memory_store_source(memory);
  blocks_info info;
  blocks_buf text = {0};
  blocks_cid leaf = add_bytes(BLOCKS_CODEC_RAW, deai_bytes_of("leaf", 4));
  blocks_cid link = add_node(NULL, 0, "\x08\x04\x12\x03up/", 7);
  ck_assert_int_eq(blocks_info_read(source, &leaf, &info, NULL), DEAI_OK);
  ck_assert(info.type == BLOCKS_UNIXFS_FILE && info.size == 4);
  ck_assert_int_eq(blocks_info_read(source, &link, &info, NULL), DEAI_OK);
  ck_assert(info.type == BLOCKS_UNIXFS_SYMLINK && info.size == 3);
  ck_assert_int_eq(blocks_symlink_read(source, &link, &text, NULL), DEAI_OK);
  ck_assert_mem_eq(text.ptr, "up/", 3);
  ck_assert_int_eq(blocks_symlink_read(source, &leaf, &text, NULL), DEAI_EINVAL);
  blocks_buf_free(&text);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks/reader");
  TCase *tests = tcase_create("all");
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, refuses_what_is_no_file);
  tcase_add_test(tests, reads_any_range_as_a_plain_copy_would);
  tcase_add_test(tests, a_node_that_contradicts_its_parent_is_refused);
  tcase_add_test(tests, a_wide_dag_meets_its_caps);
  tcase_add_test(tests, a_deep_dag_meets_the_depth);
  tcase_add_test(tests, resolves_paths);
  tcase_add_test(tests, reads_sharded_directories);
  tcase_add_test(tests, describes_nodes);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
