#include "plugins/storage/blocks/gateway.h"
#include "tests/testing.h"

#include <string.h>

#include "host/base/banned.h"

#define CID "bafkqaaa"

/* read_request reads a request with at most one header. */
static int32_t read_request(const char *method, const char *path, const char *query,
                            const char *name, const char *value, blocks_request *out) {
  static deai_text_pair pair;
  blocks_error err = {0};
  pair = (deai_text_pair){deai_str_of(name), deai_str_of(value)};
  deai_http_request head = {.h = {&pair, name != NULL ? 1 : 0},
                            .path = deai_str_of(path),
                            .query = deai_str_of(query),
                            .method = deai_str_of(method)};
  int32_t status = blocks_request_read(&head, out, &err);
  ck_assert_int_eq(status != 0, err.text[0] != 0);
  return status;
}

static int32_t plain(const char *method, const char *path, const char *query) {
  blocks_request out;
  return read_request(method, path, query, NULL, NULL, &out);
}

static int32_t accepting(const char *accept, blocks_request *out) {
  return read_request("GET", "/ipfs/" CID, "", "accept", accept, out);
}

START_TEST(refuses_requests_it_does_not_serve) {
  ck_assert_int_eq(plain("POST", "/ipfs/" CID, ""), 405);
  ck_assert_int_eq(plain("get", "/ipfs/" CID, ""), 405);
  ck_assert_int_eq(plain("GET", "/ipns/x", ""), 400);
  ck_assert_int_eq(plain("GET", "/ipfs", ""), 400);
  ck_assert_int_eq(plain("GET", "/ipfs/" CID, "format=what"), 400);
  ck_assert_int_eq(plain("GET", "/ipfs/" CID, "format="), 400);
  ck_assert_int_eq(plain("GET", "/ipfs/" CID, "format=car"), 501);
  ck_assert_int_eq(plain("GET", "/ipfs/" CID, "a=b&format=tar"), 501);
  ck_assert_int_eq(plain("GET", "/ipfs/" CID "/a", "format=raw"), 400);
  blocks_request out;
  ck_assert_int_eq(accepting("application/vnd.ipld.car; version=1", &out), 501);
}
END_TEST

START_TEST(reads_what_is_asked_for) {
  blocks_request out;
  ck_assert_int_eq(read_request("HEAD", "/ipfs/" CID "//a/b", "", NULL, NULL, &out), 0);
  ck_assert(out.head);
  ck_assert_int_eq(out.form, BLOCKS_FORM_ANY);
  ck_assert(deai_str_eq(out.cid, deai_str_of(CID)));
  ck_assert(deai_str_eq(out.path, deai_str_of("a/b")));
  ck_assert_int_eq(read_request("GET", "/ipfs/" CID "/", "format=raw", NULL, NULL, &out), 0);
  ck_assert_int_eq(out.form, BLOCKS_FORM_RAW);
  ck_assert_uint_eq(out.path.len, 0);
  ck_assert_int_eq(accepting("application/vnd.ipld.raw", &out), 0);
  ck_assert_int_eq(out.form, BLOCKS_FORM_RAW);
  ck_assert_int_eq(accepting("text/html, application/vnd.ipld.raw", &out), 0);
  ck_assert_int_eq(out.form, BLOCKS_FORM_ANY);
  ck_assert_int_eq(accepting("application/json", &out), 0); /* of a web page's fetch, not IPLD */
  ck_assert_int_eq(out.form, BLOCKS_FORM_ANY);
  ck_assert_int_eq(accepting("application/vnd.ipld.dag-cbor;q=1", &out), 0);
  ck_assert_int_eq(out.form, BLOCKS_FORM_CODEC);
  ck_assert_uint_eq(out.codec, BLOCKS_CODEC_DAG_CBOR);
  ck_assert_int_eq(
      read_request("GET", "/ipfs/" CID, "format=raw", "accept", "application/vnd.ipld.car", &out),
      0); /* format wins */
  ck_assert_int_eq(
      read_request("GET", "/ipfs/" CID, "", "cache-control", "max-age=0, only-if-cached", &out), 0);
  ck_assert(out.only_if_cached);
}
END_TEST

typedef struct range_row {
  const char *text;
  uint64_t size;
  int32_t status;
  uint64_t first;
  uint64_t len;
} range_row;

static const range_row ranges[] = {
    {"", 10, 200, 0, 10},
    {"bytes=", 10, 200, 0, 10},
    {"bytes=-", 10, 200, 0, 10},
    {"bytes", 10, 200, 0, 10},
    {"items=0-1", 10, 200, 0, 10},
    {"bytes=0-1,3-4", 10, 200, 0, 10},
    {"bytes=5-4", 10, 200, 0, 10},
    {"bytes=a-4", 10, 200, 0, 10},
    {"bytes=1-4x", 10, 200, 0, 10},
    {"bytes=0x1-4", 10, 200, 0, 10},
    {"bytes=18446744073709551616-", 10, 200, 0, 10},
    {"bytes=0-0", 10, 206, 0, 1},
    {"bytes=2-5", 10, 206, 2, 4},
    {"bytes=2-", 10, 206, 2, 8},
    {"bytes=-3", 10, 206, 7, 3},
    {"bytes=-30", 10, 206, 0, 10},
    {"bytes=9-999999999999999999", 10, 206, 9, 1},
    {"bytes=10-", 10, 416, 0, 0},
    {"bytes=-0", 10, 416, 0, 0},
    {"bytes=0-", 0, 416, 0, 0},
    {"bytes=-1", 0, 416, 0, 0},
};

START_TEST(ranges_of_all_forms) {
  const range_row *row = &ranges[_i];
  uint64_t first = 99;
  uint64_t len = 99;
  ck_assert_int_eq(blocks_range_read(deai_str_of(row->text), row->size, &first, &len), row->status);
  if (row->status == 416) return;
  ck_assert_uint_eq(first, row->first);
  ck_assert_uint_eq(len, row->len);
}
END_TEST

START_TEST(entity_tags) {
  ck_assert(!blocks_etag_match(deai_str_of(""), "\"a\"", true));
  ck_assert(!blocks_etag_match(deai_str_of("\"ab\""), "\"a\"", true));
  ck_assert(!blocks_etag_match(deai_str_of("W/\"a\""), "\"a\"", false));
  ck_assert(blocks_etag_match(deai_str_of("*"), "\"a\"", true));
  ck_assert(blocks_etag_match(deai_str_of("\"b\" , W/\"a\""), "\"a\"", true));
}
END_TEST

START_TEST(headers_come_out_sorted) {
  static blocks_answer answer;
  uint8_t room[512];
  memset(&answer, 0, sizeof answer);
  answer.status = 200;
  ck_assert_int_eq(blocks_answer_add(&answer, "Content-Length", "%d", 7), DEAI_OK);
  ck_assert_int_eq(blocks_answer_add(&answer, "Etag", "\"x\""), DEAI_OK);
  ck_assert_int_eq(blocks_answer_add(&answer, "Accept-Ranges", "bytes"), DEAI_OK);
  ck_assert_int_eq(blocks_answer_add(&answer, "Content-Range", "bytes */7"), DEAI_OK);
  char long_value[DEAI_HTTP_VALUE_MAX + 2];
  memset(long_value, 'x', sizeof long_value - 1);
  long_value[sizeof long_value - 1] = 0;
  ck_assert_int_eq(blocks_answer_add(&answer, "X", "%s", long_value), DEAI_ETOOLARGE);
  ck_assert_uint_eq(answer.count, 4);
  ck_assert(deai_str_eq(answer.pairs[0].key, deai_str_of("Etag")));
  deai_http_answer head = {.h = {answer.pairs, answer.count}, .status = 200};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  ck_assert_int_eq(deai_encode(&deai_http_answer_table, &head, &writer, NULL, 0), DEAI_OK);
}
END_TEST

static void escapes(const char *text, const char *url, const char *html) {
  blocks_buf out = {0};
  deai_bytes bytes = deai_bytes_of(text, strlen(text));
  ck_assert_int_eq(blocks_escape_url(&out, bytes, true), DEAI_OK);
  ck_assert(deai_bytes_eq(blocks_buf_bytes(&out), deai_bytes_of(url, strlen(url))));
  out.len = 0;
  ck_assert_int_eq(blocks_escape_html(&out, bytes), DEAI_OK);
  ck_assert(deai_bytes_eq(blocks_buf_bytes(&out), deai_bytes_of(html, strlen(html))));
  blocks_buf_free(&out);
}

START_TEST(hostile_names_are_escaped) {
  escapes("", "", "");
  escapes("a/b.c", "a/b.c", "a/b.c");
  escapes("<script>\"'&", "%3Cscript%3E%22%27%26", "&lt;script&gt;&quot;&#39;&amp;");
  escapes("a\r\nX: y", "a%0D%0AX%3A%20y", "a%0D%0AX%3A%20y");
  escapes("\xff\xfe", "%FF%FE", "%FF%FE");
  escapes("\xc3\xa4?", "%C3%A4%3F", "\xc3\xa4?");
  escapes("%2e%2e", "%252e%252e", "%2e%2e");
}
END_TEST

START_TEST(content_types) {
  ck_assert_str_eq(blocks_content_type(deai_str_of("")), "application/octet-stream");
  ck_assert_str_eq(blocks_content_type(deai_str_of(".png")), "application/octet-stream");
  ck_assert_str_eq(blocks_content_type(deai_str_of("a/b.PNG")), "image/png");
  ck_assert_str_eq(blocks_content_type(deai_str_of("x.html")), "text/html; charset=utf-8");
}
END_TEST

int main(void) {
  Suite *suite = suite_create("gateway");
  TCase *tests = tcase_create("gateway");
  tcase_add_test(tests, refuses_requests_it_does_not_serve);
  tcase_add_test(tests, reads_what_is_asked_for);
  tcase_add_loop_test(tests, ranges_of_all_forms, 0, (int)(sizeof ranges / sizeof ranges[0]));
  tcase_add_test(tests, entity_tags);
  tcase_add_test(tests, headers_come_out_sorted);
  tcase_add_test(tests, hostile_names_are_escaped);
  tcase_add_test(tests, content_types);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
