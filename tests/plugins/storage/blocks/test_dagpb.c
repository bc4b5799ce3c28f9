#include "plugins/storage/blocks/dagpb.h"

#include "tests/plugins/storage/blocks/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

static tally counts;

static int32_t decode_hex(const char *hex, blocks_pbnode *node, uint8_t **bytes) {
  size_t len;
  blocks_error err = {0};
  *bytes = testing_hex(hex, &len);
  int32_t status = blocks_pbnode_decode(deai_bytes_of(*bytes, len), node, &err);
  if (status != DEAI_OK) ck_assert_uint_gt(strlen(err.text), 5);
  return status;
}

static void negative_row(json_t *row, void *user) {
  (void)user;
  blocks_pbnode node = {0};
  uint8_t *bytes;
  const char *spec = json_string_value(json_object_get(row, "spec"));
  int32_t status = decode_hex(json_string_value(json_object_get(row, "hex")), &node, &bytes);
  int32_t verdict = DEAI_OK;
  if (strcmp(spec, "accept") == 0) verdict = status;
  if (strcmp(spec, "reject") == 0) verdict = status == DEAI_EINVAL ? DEAI_OK : DEAI_EVERIFY;
  tally_row(&counts, row, verdict);
  blocks_pbnode_free(&node);
  free(bytes);
}

static void edges_row(json_t *rows, void *user) {
  (void)user;
  size_t i;
  json_t *row;
  json_array_foreach(rows, i, row) {
    blocks_pbnode node = {0};
    uint8_t *bytes;
    int32_t status = decode_hex(json_string_value(json_object_get(row, "hex")), &node, &bytes);
    tally_row(&counts, row, status == DEAI_EINVAL ? DEAI_OK : DEAI_EVERIFY);
    blocks_pbnode_free(&node);
    free(bytes);
  }
}

static bool same_optional(json_t *want, bool has, deai_bytes found) {
  if (want == NULL) return !has;
  const char *text = json_string_value(want);
  return has && deai_bytes_eq(found, deai_bytes_of(text, json_string_length(want)));
}

static bool same_link(const blocks_pblink *link, json_t *want) {
  char text[BLOCKS_CID_TEXT_MAX];
  blocks_cid cid = blocks_pblink_cid(link);
  if (blocks_cid_text(&cid, 0, text, sizeof text) < 0) return false;
  if (strcmp(text, json_string_value(json_object_get(want, "Hash"))) != 0) return false;
  json_t *size = json_object_get(want, "Tsize");
  if (link->has_tsize != (size != NULL)) return false;
  if (size != NULL && link->tsize != (uint64_t)json_integer_value(size)) return false;
  return same_optional(json_object_get(want, "Name"), link->has_name, link->name);
}

static bool same_node(const blocks_pbnode *node, json_t *want) {
  json_t *links = json_object_get(want, "Links");
  json_t *data = json_object_get(want, "Data");
  if (node->links_count != json_array_size(links) || node->has_data != (data != NULL)) return false;
  for (uint32_t i = 0; i < node->links_count; i++)
    if (!same_link(&node->links[i], json_array_get(links, i))) return false;
  if (data == NULL) return true;
  size_t len;
  uint8_t *bytes = testing_hex(json_string_value(data), &len);
  bool same = deai_bytes_eq(node->data, deai_bytes_of(bytes, len));
  free(bytes);
  return same;
}

/* decodes, sorts (a no-op for what was written sorted), encodes: the same bytes and CID */
static int32_t round_trip(const char *hex, const char *cid_text, json_t *want) {
  blocks_pbnode node = {0};
  blocks_buf out = {0};
  blocks_cid cid;
  char text[BLOCKS_CID_TEXT_MAX];
  uint8_t *bytes;
  int32_t status = decode_hex(hex, &node, &bytes);
  if (status == DEAI_OK && want != NULL && !same_node(&node, want)) status = DEAI_EVERIFY;
  if (status == DEAI_OK) status = blocks_pblinks_sort(node.links, node.links_count);
  if (status == DEAI_OK) status = blocks_pbnode_encode(&node, &out);
  if (status == DEAI_OK) {
    ck_assert_uint_eq(out.len, blocks_pbnode_encode_bytes(&node));
    deai_bytes again = blocks_buf_bytes(&out);
    blocks_cid_of_block(BLOCKS_CODEC_DAG_PB, again, &cid);
    ck_assert_int_gt(blocks_cid_text(&cid, 0, text, sizeof text), 0);
    bool same = again.len == strlen(hex) / 2 && strcmp(text, cid_text) == 0 &&
                (again.len == 0 || memcmp(again.ptr, bytes, again.len) == 0);
    status = same ? DEAI_OK : DEAI_EVERIFY;
  }
  blocks_pbnode_free(&node);
  blocks_buf_free(&out);
  free(bytes);
  return status;
}

static void generated_row(json_t *row, void *user) {
  (void)user;
  tally_row(&counts, row,
            round_trip(json_string_value(json_object_get(row, "hex")),
                       json_string_value(json_object_get(row, "cid")),
                       json_object_get(row, "node")));
}

static void fixture_row(json_t *row, void *user) {
  (void)user;
  json_t *form = json_object_get(json_object_get(row, "forms"), "dag-pb");
  tally_row(&counts, row,
            round_trip(json_string_value(json_object_get(form, "hex")),
                       json_string_value(json_object_get(form, "cid")), NULL));
}

START_TEST(refuses_a_bad_hash_on_encode) {
  blocks_pblink link = {.hash = deai_bytes_of("no CID", 6)};
  blocks_pbnode node = {.links = &link, .links_count = 1};
  blocks_buf out = {0};
  ck_assert_int_eq(blocks_pbnode_encode(&node, &out), DEAI_EINVAL);
  link.hash = (deai_bytes){0};
  ck_assert_int_eq(blocks_pbnode_encode(&node, &out), DEAI_EINVAL);
  ck_assert_uint_eq(out.len, 0);
}
END_TEST

START_TEST(caps_the_links) {
  blocks_buf block = {0};
  static const uint8_t link[] = {0x12, 6, 0x0a, 4, 1, 0x55, 0, 0}; /* an empty identity CID */
  for (uint32_t i = 0; i < BLOCKS_PBLINKS_MAX; i++)
    ck_assert_int_eq(blocks_buf_add(&block, link, sizeof link), DEAI_OK);
  blocks_pbnode node = {0};
  ck_assert_int_eq(blocks_pbnode_decode(blocks_buf_bytes(&block), &node, NULL), DEAI_OK);
  ck_assert_uint_eq(node.links_count, BLOCKS_PBLINKS_MAX);
  blocks_pbnode_free(&node);
  ck_assert_int_eq(blocks_buf_add(&block, link, sizeof link), DEAI_OK);
  ck_assert_int_eq(blocks_pbnode_decode(blocks_buf_bytes(&block), &node, NULL), DEAI_ETOOLARGE);
  blocks_buf_free(&block);
}
END_TEST

START_TEST(sort_is_by_bytes_and_stable) {
  blocks_pblink links[] = {{.name = {(const uint8_t *)"b", 1}, .tsize = 1},
                           {.name = {(const uint8_t *)"aa", 2}, .tsize = 2},
                           {.name = {(const uint8_t *)"b", 1}, .tsize = 3},
                           {.name = {(const uint8_t *)"a", 1}, .tsize = 4},
                           {.name = {(const uint8_t *)"\xff", 1}, .tsize = 5},
                           {.name = {NULL, 0}, .tsize = 6}};
  static const uint64_t want[] = {6, 4, 2, 1, 3, 5};
  ck_assert_int_eq(blocks_pblinks_sort(links, 6), DEAI_OK);
  for (size_t i = 0; i < 6; i++)
    ck_assert_uint_eq(links[i].tsize, want[i]);
}
END_TEST

/* The upstream rows that must not encode are forms a C struct cannot hold (wrong types, unknown
   fields); what is left of them here are a link without a Hash and links out of order. */
static int32_t encode_unsorted(json_t *links) {
  blocks_cid cids[8];
  blocks_pblink parts[8] = {0};
  blocks_pbnode node = {.links = parts, .links_count = (uint32_t)json_array_size(links)};
  blocks_buf out = {0};
  ck_assert_uint_le(node.links_count, 8);
  for (uint32_t i = 0; i < node.links_count; i++) {
    json_t *link = json_array_get(links, i);
    const char *name = json_string_value(json_object_get(link, "Name"));
    const char *hash = json_string_value(json_object_get(json_object_get(link, "Hash"), "/"));
    ck_assert_int_eq(blocks_cid_of_text(deai_str_of(hash), &cids[i], NULL), DEAI_OK);
    parts[i].hash = blocks_cid_bytes(&cids[i]);
    parts[i].has_name = name != NULL;
    if (name != NULL) parts[i].name = deai_bytes_of(name, strlen(name));
  }
  int32_t status = blocks_pbnode_encode(&node, &out);
  blocks_buf_free(&out);
  return status;
}

static void forms_row(json_t *rows, void *user) {
  (void)user;
  size_t i;
  json_t *row;
  json_array_foreach(rows, i, row) {
    json_t *links = json_object_get(json_object_get(row, "dag-json"), "Links");
    json_t *first = json_array_get(links, 0);
    if (strncmp(json_string_value(json_object_get(row, "name")), "bad sort", 8) == 0) {
      tally_row(&counts, row, encode_unsorted(links) == DEAI_EINVAL ? DEAI_OK : DEAI_EVERIFY);
      continue;
    }
    if (!json_is_object(first) || json_object_get(first, "Hash") != NULL ||
        json_object_get(first, "/") != NULL) {
      counts.not_in_build++;
      continue;
    }
    blocks_pblink link = {.has_name = json_object_get(first, "Name") != NULL};
    blocks_pbnode node = {.links = &link, .links_count = 1};
    blocks_buf out = {0};
    int32_t status = blocks_pbnode_encode(&node, &out);
    tally_row(&counts, row, status == DEAI_EINVAL ? DEAI_OK : DEAI_EVERIFY);
  }
}

START_TEST(agrees_with_the_vectors) {
  ck_assert_uint_gt(testing_vector_rows("dagpb", "generated.jsonl", generated_row, NULL), 0);
  ck_assert_uint_gt(testing_vector_rows("dagpb", "negative_generated.jsonl", negative_row, NULL),
                    0);
  (void)testing_vector_rows("dagpb", "codec_fixtures.jsonl", fixture_row, NULL);
  (void)testing_vector_rows("dagpb", "negative_dag-pb_decode_edges.json", edges_row, NULL);
  (void)testing_vector_rows("dagpb", "negative_dag-pb_encode_invalid-forms.json", forms_row, NULL);
  (void)testing_vector_rows("dagpb", "negative_dag-pb_encode_basic-datamodel-kinds.json", forms_row,
                            NULL);
  testing_tally("dagpb", counts.passed, counts.failed, counts.not_in_build);
  ck_assert_uint_eq(counts.failed, 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks/dagpb");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, refuses_a_bad_hash_on_encode);
  tcase_add_test(tests, caps_the_links);
  tcase_add_test(tests, sort_is_by_bytes_and_stable);
  tcase_add_test(tests, agrees_with_the_vectors);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
