/* The gateway through the plug-in: files, blocks, directories, ranges, hostile requests. */
#include "tests/plugins/storage/blocks/carrier.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define MIB (UINT64_C(1) << 20)

static _Alignas(16) uint8_t answer_room[DEAI_HTTP_HEADERS_MAX * sizeof(deai_text_pair)];

typedef struct reply {
  asker who;
  deai_http_answer head;
} reply;

static const char *header_of(const reply *got, const char *name) {
  static char value[DEAI_HTTP_VALUE_MAX + 1];
  const deai_text_pair *pairs = got->head.h.items;
  for (uint64_t i = 0; i < got->head.h.count; i++) {
    if (!deai_str_eq(pairs[i].key, deai_str_of(name))) continue;
    (void)snprintf(value, sizeof value, "%.*s", (int)pairs[i].value.len, pairs[i].value.ptr);
    return value;
  }
  return NULL;
}

/* fetch_url asks for path with at most one header and expects an HTTP status. */
static reply fetch_url(carrier *fix, const char *method, const char *path, const char *query,
                       const char *name, const char *value, uint64_t status) {
  static uint8_t room[DEAI_HEAD_MAX];
  reply got = {0};
  deai_arena arena = {answer_room, sizeof answer_room, 0};
  deai_text_pair pair = {deai_str_of(name), deai_str_of(value)};
  deai_http_request head = {.h = {&pair, name != NULL ? 1 : 0},
                            .path = deai_str_of(path),
                            .query = deai_str_of(query),
                            .method = deai_str_of(method)};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  ck_assert_int_eq(deai_encode(&deai_http_request_table, &head, &writer, NULL, 0), DEAI_OK);
  ask_begin(fix, &got.who, DEAI_HTTP_SERVICE, "request", deai_bytes_of(room, writer.len),
            DEAI_CALLER_KEY);
  ask_wait(fix, &got.who);
  ck_assert_msg(got.who.status == DEAI_OK, "%s: %s", path, got.who.why);
  ck_assert_int_eq(deai_decode(&deai_http_answer_table, blocks_buf_bytes(&got.who.first), &got.head,
                               &arena, NULL, 0),
                   DEAI_OK);
  ck_assert_msg(got.head.status == status, "%s: expected %u, found %u: %.*s", path,
                (unsigned)status, (unsigned)got.head.status, (int)got.who.body.len,
                (const char *)got.who.body.ptr);
  ck_assert_str_eq(header_of(&got, "X-Content-Type-Options"), "nosniff");
  ck_assert_str_eq(header_of(&got, "Content-Security-Policy"), "sandbox");
  return got;
}

static void status_of(carrier *fix, const char *method, const char *path, const char *query,
                      uint64_t status) {
  reply got = fetch_url(fix, method, path, query, NULL, NULL, status);
  ask_free(&got.who);
}

static const char *url_of(const blocks_cid *cid, const char *rest) {
  static char url[8192];
  blocks_cid_string text;
  (void)snprintf(url, sizeof url, "/ipfs/%s%s", blocks_cid_print(cid, &text), rest);
  return url;
}

static bool contains(const blocks_buf *body, const char *text) {
  return memmem(body->ptr, body->len, text, strlen(text)) != NULL;
}

START_TEST(refuses_what_it_should) {
  carrier fix = {0};
  carrier_begin(&fix, "plug", _i == 1);
  blocks_cid gone = cid_of_text("gone");
  status_of(&fix, "GET", "/ipfs/", "", 400);
  status_of(&fix, "GET", "/ipfs/nonsense", "", 400);
  status_of(&fix, "GET", "/ipfs/../etc/passwd", "", 400);
  status_of(&fix, "GET", "/ipfs/Qm\r\nX-Evil: 1", "", 400);
  status_of(&fix, "GET", url_of(&gone, ""), "", 404);
  status_of(&fix, "HEAD", url_of(&gone, ""), "", 404);
  status_of(&fix, "GET", url_of(&gone, ""), "format=raw", 404);
  status_of(&fix, "GET", url_of(&gone, ""), "format=car", 501);
  status_of(&fix, "GET", url_of(&gone, ""), "format=dag-cbor", 406);
  reply got = fetch_url(&fix, "GET", url_of(&gone, ""), "", "cache-control", "only-if-cached", 412);
  ask_free(&got.who);
  got = fetch_url(&fix, "PUT", url_of(&gone, ""), "", NULL, NULL, 405);
  ck_assert_str_eq(header_of(&got, "Allow"), "GET, HEAD");
  ck_assert_uint_eq(fix.asked[0], 0); /* never asks members */
  ask_free(&got.who);
  carrier_end(&fix);
}
END_TEST

START_TEST(serves_blocks) {
  carrier fix = {0};
  char etag[256];
  blocks_cid_string text;
  carrier_begin(&fix, "plug", _i == 1);
  reply got = fetch_url(&fix, "GET", "/ipfs/bafkqaaa", "format=raw", NULL, NULL, 200);
  ck_assert_uint_eq(got.who.body.len, 0);
  ck_assert_str_eq(header_of(&got, "Content-Length"), "0");
  ask_free(&got.who);
  blocks_cid cid = add_seed(&fix, "b", 500);
  (void)snprintf(etag, sizeof etag, "\"%s.raw\"", blocks_cid_print(&cid, &text));
  got = fetch_url(&fix, "GET", url_of(&cid, ""), "", "accept", "application/vnd.ipld.raw", 200);
  ck_assert_int_eq(blocks_cid_check(&cid, blocks_buf_bytes(&got.who.body), NULL), DEAI_OK);
  ck_assert_str_eq(header_of(&got, "Etag"), etag);
  ck_assert_str_eq(header_of(&got, "Content-Type"), "application/vnd.ipld.raw");
  ck_assert_str_eq(header_of(&got, "Cache-Control"), "public, max-age=29030400, immutable");
  ck_assert_ptr_nonnull(strstr(header_of(&got, "Content-Disposition"), ".bin"));
  ck_assert_str_eq(header_of(&got, "X-Ipfs-Path"), url_of(&cid, ""));
  ask_free(&got.who);
  got = fetch_url(&fix, "GET", url_of(&cid, ""), "format=raw", "if-none-match", etag, 304);
  ck_assert_uint_eq(got.who.body.len, 0);
  ask_free(&got.who);
  carrier_end(&fix);
}
END_TEST

START_TEST(serves_files_and_ranges) {
  carrier fix = {0};
  uint8_t expected[192];
  carrier_begin(&fix, "plug", _i == 1);
  blocks_cid cid = add_seed(&fix, "r", 3 * MIB + 7);
  reply got = fetch_url(&fix, "GET", url_of(&cid, ""), "", NULL, NULL, 200);
  ck_assert_uint_eq(got.who.body.len, 3 * MIB + 7);
  ck_assert_str_eq(header_of(&got, "Content-Length"), "3145735");
  ck_assert_str_eq(header_of(&got, "Accept-Ranges"), "bytes");
  ask_free(&got.who);
  got = fetch_url(&fix, "GET", url_of(&cid, ""), "", "range", "bytes=1048512-1048703", 206);
  keystream("r", 1048512, expected, sizeof expected);
  ck_assert_uint_eq(got.who.body.len, sizeof expected);
  ck_assert_int_eq(memcmp(got.who.body.ptr, expected, sizeof expected), 0);
  ck_assert_str_eq(header_of(&got, "Content-Range"), "bytes 1048512-1048703/3145735");
  ask_free(&got.who);
  got = fetch_url(&fix, "GET", url_of(&cid, ""), "", "range", "bytes=3145735-", 416);
  ck_assert_str_eq(header_of(&got, "Content-Range"), "bytes */3145735");
  ck_assert_uint_eq(got.who.body.len, 0);
  ask_free(&got.who);
  got = fetch_url(&fix, "HEAD", url_of(&cid, ""), "", NULL, NULL, 200);
  ck_assert_uint_eq(got.who.body.len, 0);
  ck_assert_str_eq(header_of(&got, "Content-Length"), "3145735");
  ask_free(&got.who);
  got = fetch_url(&fix, "GET", url_of(&cid, ""), "", "if-none-match", "*", 304);
  ask_free(&got.who);
  status_of(&fix, "GET", url_of(&cid, "/below"), "", 400);
  carrier_end(&fix);
}
END_TEST

START_TEST(lists_directories_with_hostile_names) {
  carrier fix = {0};
  blocks_store *store = store_at("plug");
  blocks_import_entry entries[] = {{deai_str_of("<script>alert(1)"), put_text(store, "a")},
                                   {deai_str_of("a\r\nb"), put_text(store, "b")},
                                   {deai_str_of("page.html"), put_text(store, "<p>")}};
  blocks_import_result dir;
  blocks_import_options none = {0};
  ck_assert_int_eq(blocks_import_directory(store, entries, 3, &none, &dir, NULL), DEAI_OK);
  blocks_import_entry up = {deai_str_of("sub"), dir.cid};
  blocks_import_result top;
  ck_assert_int_eq(blocks_import_directory(store, &up, 1, &none, &top, NULL), DEAI_OK);
  store_end(store);
  carrier_begin(&fix, "plug", _i == 1);
  reply got = fetch_url(&fix, "GET", url_of(&top.cid, "/sub/"), "", NULL, NULL, 200);
  ck_assert_str_eq(header_of(&got, "Content-Type"), "text/html; charset=utf-8");
  ck_assert(!contains(&got.who.body, "<script>"));
  ck_assert(contains(&got.who.body, "&lt;script&gt;"));
  ck_assert(contains(&got.who.body, "a%0D%0Ab"));
  ck_assert(contains(&got.who.body, "/sub/page.html\""));
  ck_assert_ptr_nonnull(strchr(header_of(&got, "X-Ipfs-Roots"), ','));
  ask_free(&got.who);
  got = fetch_url(&fix, "GET", url_of(&top.cid, "/sub/page.html"), "", NULL, NULL, 200);
  ck_assert_str_eq(header_of(&got, "Content-Type"), "text/html; charset=utf-8");
  ck_assert_uint_eq(got.who.body.len, 3);
  ask_free(&got.who);
  got = fetch_url(&fix, "GET", url_of(&top.cid, "/sub/a\r\nb"), "", NULL, NULL, 200);
  ck_assert_ptr_nonnull(strstr(header_of(&got, "X-Ipfs-Path"), "/sub/a%0D%0Ab"));
  ask_free(&got.who);
  status_of(&fix, "GET", url_of(&top.cid, "/sub/../sub"), "", 404);
  char deep[2 * 40 + 1];
  for (size_t i = 0; i < 40; i++)
    memcpy(deep + 2 * i, "/d", 3);
  status_of(&fix, "GET", url_of(&top.cid, deep), "", 404);
  carrier_end(&fix);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("serve_http");
  TCase *tests = tcase_create("both");
  tcase_set_timeout(tests, 60);
  tcase_add_loop_test(tests, refuses_what_it_should, 0, 2);
  tcase_add_loop_test(tests, serves_blocks, 0, 2);
  tcase_add_loop_test(tests, serves_files_and_ranges, 0, 2);
  tcase_add_loop_test(tests, lists_directories_with_hostile_names, 0, 2);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
