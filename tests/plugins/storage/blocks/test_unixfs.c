#include "plugins/storage/blocks/unixfs.h"

#include "plugins/storage/blocks/import.h"
#include "tests/plugins/storage/blocks/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define LARGE_BYTES (64u << 20) /* above: only with DEAI_FULL=1 */
#define VERY_LARGE_BYTES                                                                           \
  (1ull << 30) /* above: never; the keystream counts 64-byte blocks in 32 bits */
#define STEP_BYTES (1u << 20)
#define NODES_MAX  16384

static tally counts;

/* --- hostile messages --- */

static int32_t decode_data(const char *hex, uint32_t links) {
  size_t len;
  uint8_t *bytes = testing_hex(hex, &len);
  blocks_pblink some[4] = {0};
  blocks_pbnode node = {
      .links = some, .links_count = links, .data = deai_bytes_of(bytes, len), .has_data = true};
  blocks_unixfs fs;
  int32_t status = blocks_unixfs_decode(&node, &fs, NULL);
  free(bytes);
  return status;
}

START_TEST(refuses_bad_data) {
  static const char *const bad[] = {
      "",                                                   /* no type */
      "0806",                                               /* type 6 */
      "08",                                                 /* cut short */
      "08020802",                                           /* type twice */
      "0802120161120161",                                   /* data twice */
      "08021205",                                           /* data behind the end */
      "080218",                                             /* no file size */
      "08021805",                                           /* file size without bytes */
      "0802120161180a",                                     /* file size that does not add up */
      "08022001",                                           /* a block size and no link */
      "08024801",                                           /* unknown field */
      "0a02",                                               /* wrong wire type */
      "0801420a",                                           /* mtime behind the end */
      "08014200",                                           /* mtime without seconds */
      "0801420708011500000000",                             /* 0 ns */
      "08014207080115ffffffff",                             /* too many ns */
      "0805",                                               /* shard without fanout */
      "080528223007",                                       /* fanout 7 */
      "08052822300c",                                       /* fanout 12 */
      "08052822308010",                                     /* fanout 2048 */
      "0802208080808080808080800120808080808080808080010a", /* sizes above 2^63 */
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    ck_assert_msg(decode_data(bad[i], 0) == DEAI_EINVAL, "row %zu was read", i);
  ck_assert_int_eq(decode_data("08052801308002", 0), DEAI_EUNSUPPORTED);
  ck_assert_int_eq(decode_data("0802", 1), DEAI_EINVAL);
  blocks_pbnode none = {0};
  blocks_unixfs fs;
  ck_assert_int_eq(blocks_unixfs_decode(&none, &fs, NULL), DEAI_EINVAL);
}
END_TEST

START_TEST(reads_mode_mtime_and_packed_sizes) {
  size_t len;
  uint8_t *bytes = testing_hex("080218052202020338a4034207080a1501000000", &len);
  blocks_pblink links[2] = {0};
  blocks_pbnode node = {
      .links = links, .links_count = 2, .data = deai_bytes_of(bytes, len), .has_data = true};
  blocks_unixfs fs;
  uint64_t sizes[2];
  ck_assert_int_eq(blocks_unixfs_decode(&node, &fs, NULL), DEAI_OK);
  blocks_unixfs_sizes(&fs, sizes);
  ck_assert_uint_eq(sizes[0], 2);
  ck_assert_uint_eq(sizes[1], 3);
  ck_assert(fs.has_mode && fs.mode == 0644 && fs.has_mtime);
  ck_assert_int_eq(fs.mtime_s, 10);
  ck_assert_uint_eq(fs.mtime_ns, 1);
  free(bytes);
}
END_TEST

static void refuse_name(blocks_entry *entry, deai_str name, const char *why) {
  blocks_child made;
  blocks_buf block = {0};
  blocks_error err = {{0}};
  entry->name = name;
  ck_assert_int_eq(blocks_unixfs_directory(entry, 1, &block, &made, &err), DEAI_EINVAL);
  ck_assert_msg(strstr(err.text, why) != NULL, "expected \"%s\", found \"%s\"", why, err.text);
  ck_assert_uint_eq(block.len, 0);
}

START_TEST(refuses_bad_names_and_targets) {
  static const char *const none[] = {"", ".", ".."};
  blocks_entry entry = {0};
  blocks_child made;
  blocks_buf block = {0};
  char long_name[300];
  blocks_cid_of_block(BLOCKS_CODEC_RAW, deai_bytes_of("x", 1), &entry.cid);
  for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
    refuse_name(&entry, deai_str_of(none[i]), "name: expected a file name, found");
  refuse_name(&entry, deai_str_of("a/b"), "name: expected none of '/' and zero");
  refuse_name(&entry, deai_str_of("/"), "name: expected none of '/' and zero");
  refuse_name(&entry, (deai_str){.ptr = "a\0b", .len = 3}, "name: expected none of '/' and zero");
  memset(long_name, 'n', sizeof long_name);
  refuse_name(&entry, (deai_str){.ptr = long_name, .len = 256}, "name: expected at most 255 bytes");
  blocks_entry twice[2] = {entry, entry};
  twice[0].name = twice[1].name = deai_str_of("same");
  ck_assert_int_eq(blocks_unixfs_directory(twice, 2, &block, &made, NULL), DEAI_EINVAL);
  ck_assert_int_eq(blocks_unixfs_symlink(deai_str_of(""), &block, &made, NULL), DEAI_EINVAL);
  ck_assert_uint_eq(block.len, 0);
  ck_assert_int_eq(blocks_unixfs_file_node(NULL, 0, &block, &made), DEAI_EINVAL);
  blocks_buf_free(&block);
}
END_TEST

START_TEST(hamt_hash_is_h1_of_murmur3) { /* storage.md 1.2, trap 2 */
  ck_assert_uint_eq(blocks_hamt_hash(deai_bytes_of("470.txt", 7)), 0x006e88df5847e67cull);
  ck_assert_uint_eq(blocks_hamt_hash((deai_bytes){0}), 0);
}
END_TEST

/* --- vectors --- */

typedef struct vector_entry {
  char *path;
  blocks_entry made;
} vector_entry;

static int32_t import_stream(const char *seed, uint64_t size, blocks_import_result *out) {
  blocks_import_options options = {.hash_only = true};
  blocks_import *import;
  uint8_t *step = malloc(STEP_BYTES);
  ck_assert_ptr_nonnull(step);
  ck_assert_int_eq(blocks_import_begin(NULL, &options, &import, NULL), DEAI_OK);
  int32_t status = DEAI_OK;
  for (uint64_t at = 0; at < size && status == DEAI_OK; at += STEP_BYTES) {
    size_t len = size - at < STEP_BYTES ? (size_t)(size - at) : STEP_BYTES;
    keystream(seed, at, step, len);
    status = blocks_import_write(import, deai_bytes_of(step, len), NULL);
  }
  if (status == DEAI_OK) status = blocks_import_finish(import, out, NULL);
  blocks_import_end(import);
  free(step);
  return status;
}

static int32_t import_bytes(const uint8_t *bytes, size_t len, blocks_import_result *out) {
  blocks_import_options options = {.hash_only = true};
  blocks_import *import;
  ck_assert_int_eq(blocks_import_begin(NULL, &options, &import, NULL), DEAI_OK);
  int32_t status = blocks_import_write(import, deai_bytes_of(bytes, len), NULL);
  if (status == DEAI_OK) status = blocks_import_finish(import, out, NULL);
  blocks_import_end(import);
  return status;
}

static int32_t import_hex(json_t *hex, blocks_import_result *out) {
  size_t len;
  uint8_t *bytes = testing_hex(json_string_value(hex), &len);
  int32_t status = import_bytes(bytes, len, out);
  free(bytes);
  return status;
}

static int32_t make_symlink(const char *target, blocks_child *out) {
  blocks_buf block = {0};
  int32_t status = blocks_unixfs_symlink(deai_str_of(target), &block, out, NULL);
  blocks_buf_free(&block);
  return status;
}

static vector_entry *nodes;
static size_t nodes_count;

static vector_entry *node_add(const char *path) {
  ck_assert_uint_lt(nodes_count, NODES_MAX);
  vector_entry *node = &nodes[nodes_count++];
  *node = (vector_entry){.path = strdup(path)};
  return node;
}

static bool node_exists(const char *path) {
  for (size_t i = 0; i < nodes_count; i++)
    if (strcmp(nodes[i].path, path) == 0) return true;
  return false;
}

/* the directories above path, as entries whose CID is computed later */
static void add_parents(const char *path) {
  char parent[1024];
  for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    (void)snprintf(parent, sizeof parent, "%.*s/", (int)(slash - path), path);
    if (!node_exists(parent)) (void)node_add(parent);
  }
}

static int32_t add_entry(json_t *row) {
  const char *path = json_string_value(json_object_get(row, "path"));
  const char *link = json_string_value(json_object_get(row, "link"));
  char folder[1024];
  blocks_child child = {0};
  blocks_import_result result = {0};
  int32_t status = DEAI_OK;
  add_parents(path);
  if (json_is_true(json_object_get(row, "dir"))) {
    (void)snprintf(folder, sizeof folder, "%s/", path);
    if (!node_exists(folder)) (void)node_add(folder);
    return DEAI_OK;
  }
  if (link != NULL) {
    status = make_symlink(link, &child);
  } else {
    status = import_stream(json_string_value(json_object_get(row, "seed")),
                           (uint64_t)json_integer_value(json_object_get(row, "size")), &result);
    child.cid = result.cid;
    child.dag_bytes = result.dag_bytes;
  }
  vector_entry *node = node_add(path);
  node->made.cid = child.cid;
  node->made.dag_bytes = child.dag_bytes;
  return status;
}

/* names from one keystream, taken one after the other */
static int32_t add_many(json_t *row) {
  static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz01234567890-_";
  const char *under = json_string_value(json_object_get(row, "under"));
  blocks_import_result content;
  uint64_t at = 0;
  uint8_t *stream = malloc(STEP_BYTES);
  keystream(json_string_value(json_object_get(row, "seed")), 0, stream, STEP_BYTES);
  int32_t status = import_hex(json_object_get(row, "content_hex"), &content);
  size_t i;
  json_t *pair;
  json_array_foreach(json_object_get(row, "lens"), i, pair) {
    uint64_t names = (uint64_t)json_integer_value(json_array_get(pair, 0));
    uint64_t len = (uint64_t)json_integer_value(json_array_get(pair, 1));
    for (uint64_t k = 0; k < names; k++) {
      char path[1024];
      int start = under ? snprintf(path, sizeof path, "%s/", under) : 0;
      ck_assert_uint_le(at + len, STEP_BYTES);
      for (uint64_t c = 0; c < len; c++)
        path[(size_t)start + c] = alphabet[stream[at++] % 39];
      path[(size_t)start + len] = 0;
      if (k == 0) add_parents(path);
      vector_entry *node = node_add(path);
      node->made.cid = content.cid;
      node->made.dag_bytes = content.dag_bytes;
    }
  }
  free(stream);
  return status;
}

/* the directory `folder` ("" or ending in '/') from its direct children, which are made already */
static int32_t make_directory(const char *folder, blocks_child *out) {
  size_t prefix = strlen(folder);
  blocks_entry *entries = calloc(nodes_count + 1, sizeof *entries);
  uint32_t count = 0;
  blocks_buf block = {0};
  for (size_t i = 0; i < nodes_count; i++) {
    const char *path = nodes[i].path;
    if (strncmp(path, folder, prefix) != 0 || path[prefix] == 0) continue;
    size_t len = strcspn(path + prefix, "/");
    const char *rest = path + prefix + len;
    if (rest[0] == '/' && rest[1] != 0) continue;
    entries[count] = nodes[i].made;
    entries[count++].name = (deai_str){.ptr = path + prefix, .len = len};
  }
  int32_t status = blocks_unixfs_directory(entries, count, &block, out, NULL);
  blocks_buf_free(&block);
  free(entries);
  return status;
}

static size_t depth_of(const char *path) {
  size_t depth = 0;
  for (; *path != 0; path++)
    depth += *path == '/';
  return depth;
}

static int32_t make_tree(json_t *row, blocks_child *out) {
  size_t i;
  json_t *item;
  int32_t status = DEAI_OK;
  nodes = calloc(NODES_MAX, sizeof *nodes);
  nodes_count = 0;
  json_array_foreach(json_object_get(row, "entries"), i, item) if (status == DEAI_OK) status =
      add_entry(item);
  json_array_foreach(json_object_get(row, "many"), i, item) if (status == DEAI_OK) status =
      add_many(item);
  for (size_t depth = 16; depth > 0 && status == DEAI_OK; depth--) {
    for (size_t k = 0; k < nodes_count && status == DEAI_OK; k++) {
      size_t len = strlen(nodes[k].path);
      blocks_child child;
      if (nodes[k].path[len - 1] != '/' || depth_of(nodes[k].path) != depth) continue;
      status = make_directory(nodes[k].path, &child);
      nodes[k].made.cid = child.cid;
      nodes[k].made.dag_bytes = child.dag_bytes;
    }
  }
  if (status == DEAI_OK) status = make_directory("", out);
  for (size_t k = 0; k < nodes_count; k++)
    free(nodes[k].path);
  free(nodes);
  return status;
}

static int32_t make_file(json_t *row, blocks_child *out) {
  json_t *hex = json_object_get(row, "content_hex");
  const char *seed = json_string_value(json_object_get(row, "seed"));
  uint64_t size = (uint64_t)json_integer_value(json_object_get(row, "size"));
  blocks_import_result result = {0};
  int32_t status = hex != NULL ? import_hex(hex, &result) : import_stream(seed, size, &result);
  out->cid = result.cid;
  return status;
}

static void vector_row(json_t *row, void *user) {
  (void)user;
  const char *kind = json_string_value(json_object_get(row, "kind"));
  const char *profile = json_string_value(json_object_get(row, "profile"));
  uint64_t size = (uint64_t)json_integer_value(json_object_get(row, "size"));
  blocks_child made = {0};
  blocks_cid_string text;
  if (strcmp(profile, BLOCKS_PROFILE_DEFAULT) != 0) {
    counts.not_in_build++; /* unixfs-v0-2015 is only read */
    return;
  }
  if (size > LARGE_BYTES && getenv("DEAI_FULL") == NULL) return;
  if (size > VERY_LARGE_BYTES + STEP_BYTES) return;
  int32_t status = strcmp(kind, "file") == 0 ? make_file(row, &made)
                   : strcmp(kind, "dir") == 0
                       ? make_tree(row, &made)
                       : make_symlink(json_string_value(json_object_get(row, "link")), &made);
  const char *want = json_string_value(json_object_get(row, "cid"));
  if (status == DEAI_OK && strcmp(blocks_cid_print(&made.cid, &text), want) != 0)
    status = DEAI_EVERIFY;
  tally_row(&counts, row, status);
}

START_TEST(agrees_with_the_vectors) {
  ck_assert_uint_gt(testing_vector_rows("cid", "unixfs.jsonl", vector_row, NULL), 0);
  (void)testing_vector_rows("cid", "ipip0499.jsonl", vector_row, NULL);
  testing_tally("cid", counts.passed, counts.failed, counts.not_in_build);
  ck_assert_uint_eq(counts.failed, 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks/unixfs");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 300);
  tcase_add_test(tests, refuses_bad_data);
  tcase_add_test(tests, reads_mode_mtime_and_packed_sizes);
  tcase_add_test(tests, refuses_bad_names_and_targets);
  tcase_add_test(tests, hamt_hash_is_h1_of_murmur3);
  tcase_add_test(tests, agrees_with_the_vectors);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
