/* The HTTP side with real loopback connections and plug-ins that the test plays. */
#include "tests/testing.h"

#include "deai/contracts/http.h"
#include "host/http/http.h"
#include "tests/host/router/ends.h"

#include <event2/event.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/base/banned.h"

#define SERVED_MAX 16u
#define LIMIT_NS   UINT64_C(20000000000)

/* A client's connection and what it has read. */
typedef struct client {
  int fd;
  char *text;
  size_t len;
  bool closed;
} client;

static deai_loop *loop;
static deai_http *http;
static test_end served[SERVED_MAX];
static uint32_t served_count;
static void (*on_part)(test_end *end, const deai_part *part);
static bool ready;
static char plugin_asked[65];
static char path_seen[256];
static char query_seen[256];
static char method_seen[16];
static uint64_t key_len_seen;
static bool secret_seen;
static char err[DEAI_ERR_CAP];

/* ---- the node ---- */

static deai_call *on_open(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                          void *end_user) {
  (void)user;
  ck_assert_uint_lt(served_count, SERVED_MAX);
  ck_assert(deai_str_eq(spec->service, deai_str_of(DEAI_HTTP_SERVICE)));
  (void)snprintf(plugin_asked, sizeof plugin_asked, "%.*s", (int)spec->plugin.len,
                 spec->plugin.ptr);
  test_end *end = &served[served_count++];
  *end = test_end_of(loop, DEAI_SIDE_CALLEE);
  end->on_part = on_part;
  end->call = deai_call_new(loop, spec, ops, end_user);
  deai_call_attach(end->call, &test_callee_ops, end);
  return end->call;
}

static bool on_ready(void *user, char *out, size_t cap) {
  (void)user;
  if (!ready) (void)snprintf(out, cap, "models/answer: starting\n");
  return ready;
}

static char *on_metrics(void *user) {
  (void)user;
  return strdup("deai_calls{plugin=\"node\"} 7\n");
}

static int32_t on_key(void *user, deai_str secret, uint8_t id_out[DEAI_ID_BYTES]) {
  (void)user;
  memset(id_out, 5, DEAI_ID_BYTES);
  return deai_str_eq(secret, deai_str_of("good"));
}

static const deai_http_ops ops = {
    .open = on_open, .ready = on_ready, .metrics = on_metrics, .key = on_key};

static uint32_t header_ms;
static uint32_t body_ms;

static void setup_with(bool auth, uint32_t per_address) {
  static const deai_str hosts[] = {{"attic.example", 13}};
  served_count = 0;
  on_part = NULL;
  ready = true;
  loop = deai_loop_new(deai_platform_system(), 0);
  deai_http_options options = {.loop = loop,
                               .listen = deai_str_of("127.0.0.1:0"),
                               .hosts = hosts,
                               .host_count = 1,
                               .auth = auth,
                               .per_address = per_address,
                               .header_ms = header_ms,
                               .body_ms = body_ms,
                               .ops = &ops};
  http = deai_http_new(&options, err, sizeof err);
  ck_assert_msg(http != NULL, "%s", err);
  ck_assert_int_eq(deai_http_route(http, "/v1/", "models/answer"), DEAI_OK);
  ck_assert_int_eq(deai_http_route(http, "/v1/files/", "storage/blocks"), DEAI_OK);
}

static void setup(void) {
  header_ms = 0;
  body_ms = 0;
  setup_with(false, 0);
}

static void teardown(void) {
  deai_http_free(http);
  for (uint32_t i = 0; i < served_count; i++) {
    if (served[i].call != NULL) test_drop(&served[i], DEAI_EIO, "");
  }
  deai_loop_drain(loop);
  deai_loop_free(loop);
}

/* turn lets sockets, timers and tasks run once. */
static void turn(void) {
  (void)event_base_loop(deai_loop_base(loop), EVLOOP_ONCE | EVLOOP_NONBLOCK);
  deai_loop_drain(loop);
}

/* ---- the client ---- */

static client dial(void) {
  client made = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(deai_http_port(http))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ck_assert_int_eq(connect(made.fd, (struct sockaddr *)&address, sizeof address), 0);
  return made;
}

static void client_close(client *gone) {
  if (gone->fd >= 0) (void)close(gone->fd);
  free(gone->text);
  *gone = (client){.fd = -1};
}

static void write_all(client *to, const char *text, size_t len) {
  uint64_t begin_ns = deai_loop_now_ns(loop);
  while (len > 0) {
    ssize_t put = send(to->fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put < 0 && errno != EAGAIN) return; /* the other side refused the rest */
    if (put > 0) {
      text += put;
      len -= (size_t)put;
    }
    turn();
    ck_assert_uint_lt(deai_loop_now_ns(loop) - begin_ns, LIMIT_NS);
  }
}

static void write_text(client *to, const char *text) {
  write_all(to, text, strlen(text));
}

/* read_some takes what has come; more = at most so many bytes. */
static void read_some(client *from, size_t more) {
  from->text = realloc(from->text, from->len + more + 1);
  ck_assert_ptr_nonnull(from->text);
  ssize_t got = recv(from->fd, from->text + from->len, more, MSG_DONTWAIT);
  if (got == 0 || (got < 0 && errno != EAGAIN)) from->closed = true;
  if (got > 0) from->len += (size_t)got;
  from->text[from->len] = 0;
}

/* read_until reads until text came (NULL = the connection ended). */
static void read_until(client *from, const char *text) {
  uint64_t begin_ns = deai_loop_now_ns(loop);
  read_some(from, 65536);
  while (!from->closed && (text == NULL || strstr(from->text, text) == NULL)) {
    turn();
    read_some(from, 65536);
    ck_assert_msg(deai_loop_now_ns(loop) - begin_ns < LIMIT_NS, "found only: %.999s", from->text);
  }
  ck_assert_msg(text == NULL || strstr(from->text, text) != NULL,
                "expected \"%s\", found \"%.999s\"", text, from->text);
}

/* ask sends a whole request on a fresh connection and reads until the connection ends. */
static client ask(const char *request) {
  client made = dial();
  write_text(&made, request);
  read_until(&made, NULL);
  return made;
}

static void expect_status(const client *from, int status) {
  char number[8];
  (void)snprintf(number, sizeof number, " %d ", status);
  ck_assert_msg(from->len > 12 && strncmp(from->text + 8, number, strlen(number)) == 0,
                "expected %d, found \"%s\"", status, from->text != NULL ? from->text : "");
}

static void ask_expect(const char *request, int status, const char *text) {
  client from = ask(request);
  expect_status(&from, status);
  ck_assert_msg(strstr(from.text, text) != NULL, "expected \"%s\", found \"%s\"", text, from.text);
  client_close(&from);
}

#define HOST  "Host: localhost\r\n"
#define CLOSE "Connection: close\r\n\r\n"

/* ---- the plug-in ---- */

static deai_bytes head_of(uint64_t status, const char *type) {
  static uint8_t room[512];
  deai_text_pair pair = {deai_str_of("content-type"), deai_str_of(type)};
  deai_http_answer answer = {.h = {&pair, 1}, .status = status};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  ck_assert_int_eq(deai_encode(&deai_http_answer_table, &answer, &writer, NULL, 0), DEAI_OK);
  return deai_bytes_of(room, writer.len);
}

static int32_t answer_part(test_end *end, deai_bytes args, const char *body, uint32_t flags) {
  deai_part part = {.size = (uint32_t)sizeof part,
                    .flags = flags,
                    .attachment = -1,
                    .args = args,
                    .body = deai_bytes_of(body, strlen(body))};
  return deai_call_send(end->call, DEAI_SIDE_CALLEE, &part);
}

static void note_request(const deai_part *part) {
  _Alignas(16) uint8_t room[8192];
  deai_arena arena = {room, sizeof room, 0};
  deai_http_request head;
  ck_assert_int_eq(
      deai_decode(&deai_http_request_table, part->args, &head, &arena, err, sizeof err), DEAI_OK);
  (void)snprintf(path_seen, sizeof path_seen, "%.*s", (int)head.path.len, head.path.ptr);
  (void)snprintf(query_seen, sizeof query_seen, "%.*s", (int)head.query.len, head.query.ptr);
  (void)snprintf(method_seen, sizeof method_seen, "%.*s", (int)head.method.len, head.method.ptr);
  key_len_seen = (head.has & DEAI_HTTP_REQUEST_HAS_KEY) != 0 ? head.key.len : 0;
  secret_seen = false;
  const deai_text_pair *pairs = head.h.items;
  for (uint64_t i = 0; i < head.h.count; i++)
    secret_seen = secret_seen || deai_str_eq(pairs[i].key, deai_str_of("authorization")) ||
                  deai_str_eq(pairs[i].key, deai_str_of("cookie"));
}

static void answer_hello(test_end *end, const deai_part *part) {
  note_request(part);
  (void)!answer_part(end, head_of(200, "text/plain"), "hello", DEAI_PART_END);
}

static void answer_stream(test_end *end, const deai_part *part) {
  (void)part;
  deai_bytes none = deai_bytes_of(NULL, 0);
  (void)!answer_part(end, head_of(200, "text/event-stream"), "data: one\n\n", 0);
  (void)!answer_part(end, none, "data: two\n\n", 0);
  (void)!answer_part(end, none, "", DEAI_PART_END);
}

static void answer_refused(test_end *end, const deai_part *part) {
  (void)part;
  deai_call_fail(end->call, DEAI_EBUSY, "expected fewer jobs, found 9; wait");
}

static void answer_garbage(test_end *end, const deai_part *part) {
  (void)part;
  (void)!answer_part(end, deai_bytes_of("\xa0", 1), "x", 0);
}

static void answer_nothing(test_end *end, const deai_part *part) {
  (void)part;
  (void)!answer_part(end, deai_bytes_of(NULL, 0), "", DEAI_PART_END);
}

/* ---- refusals ---- */

START_TEST(addresses_that_cannot_be_listened_on) {
  static const char *const bad[] = {
      "", "8340", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", ":8340"};
  deai_http_options options = {.loop = loop, .ops = &ops};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    options.listen = deai_str_of(bad[i]);
    ck_assert_ptr_null(deai_http_new(&options, err, sizeof err));
    ck_assert_msg(strstr(err, "http.listen: expected HOST:PORT, found") != NULL, "%s", err);
  }
  char busy[64];
  (void)snprintf(busy, sizeof busy, "127.0.0.1:%u", (unsigned)deai_http_port(http));
  options.listen = deai_str_of(busy);
  ck_assert_ptr_null(deai_http_new(&options, err, sizeof err));
  ck_assert_ptr_nonnull(strstr(err, "to be free"));
  deai_http_free(NULL);
}
END_TEST

START_TEST(routes_are_taken_once) {
  ck_assert_int_eq(deai_http_route(http, "/v1/", "other"), DEAI_EINVAL);
  ck_assert_int_eq(deai_http_route(http, "v2", "other"), DEAI_EINVAL);
  char prefix[16];
  int32_t status = DEAI_OK;
  uint32_t added = 2;
  while (status == DEAI_OK) {
    (void)snprintf(prefix, sizeof prefix, "/p%u/", added);
    status = deai_http_route(http, prefix, "many");
    added += status == DEAI_OK;
  }
  ck_assert_int_eq(status, DEAI_EFULL);
  ck_assert_uint_eq(added, DEAI_HTTP_ROUTES_MAX);
}
END_TEST

START_TEST(who_may_not_ask) {
  on_part = answer_hello;
  ask_expect("GET /v1/x HTTP/1.1\r\nHost: evil.example\r\n" CLOSE, 421, "expected a Host of this");
  ask_expect("GET /v1/x HTTP/1.0\r\n" CLOSE, 421, "add it to http.hosts");
  ask_expect("GET /v1/x HTTP/1.1\r\n" HOST "Origin: http://evil.example\r\n" CLOSE, 403,
             "expected no Origin or one of this node");
  ask_expect("GET /v1/x HTTP/1.1\r\nHost: attic.example\r\nOrigin: https://attic.example\r\n" CLOSE,
             200, "hello");
}
END_TEST

START_TEST(paths_that_are_none) {
  on_part = answer_hello;
  ask_expect("GET /nothing HTTP/1.1\r\n" HOST CLOSE, 404, "\"code\":\"unknown_url\"");
  ask_expect("GET /v1/%ff HTTP/1.1\r\n" HOST CLOSE, 400, "expected a path in UTF-8");
  ask_expect("GET /v1/%00 HTTP/1.1\r\n" HOST CLOSE, 400, "expected a path in UTF-8");
  client from = ask("BREW /v1/x HTTP/1.1\r\n" HOST CLOSE);
  ck_assert_msg(from.len == 0 || strncmp(from.text, "HTTP/1.1 200", 12) != 0, "%s", from.text);
  client_close(&from);
  from = ask("garbage\r\n\r\n");
  ck_assert_msg(from.len == 0 || strncmp(from.text, "HTTP/1.1 200", 12) != 0, "%s", from.text);
  client_close(&from);
  ck_assert_uint_eq(served_count, 0);
}
END_TEST

START_TEST(a_key_is_asked_for) {
  teardown();
  setup_with(true, 0);
  on_part = answer_hello;
  ask_expect("GET /v1/x HTTP/1.1\r\n" HOST CLOSE, 401, "expected an API key, found none");
  ask_expect("GET /v1/x HTTP/1.1\r\n" HOST "Authorization: Bearer bad\r\n" CLOSE, 401,
             "\"code\":\"invalid_api_key\"");
  ask_expect("GET /v1/x HTTP/1.1\r\n" HOST "Authorization: Basic good\r\n" CLOSE, 401,
             "expected a known API key");
  ask_expect("GET /v1/x HTTP/1.1\r\n" HOST "Authorization: bearer good\r\nCookie: a=b\r\n" CLOSE,
             200, "hello");
  ck_assert_uint_eq(key_len_seen, DEAI_ID_BYTES);
  ck_assert(!secret_seen);
  ask_expect("GET /healthz HTTP/1.1\r\n" HOST CLOSE, 200, "ok"); /* needs no key */
}
END_TEST

START_TEST(too_much_is_refused) {
  on_part = answer_hello;
  size_t len = DEAI_HTTP_BODY_BYTES + 1;
  char *request = malloc(len + 200);
  ck_assert_ptr_nonnull(request);
  int head =
      snprintf(request, 200, "POST /v1/x HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n" CLOSE, len);
  memset(request + head, 'x', len);
  client from = dial();
  write_all(&from, request, (size_t)head + len);
  read_until(&from, "request_too_large");
  expect_status(&from, 413);
  client_close(&from);
  from = dial(); /* beyond what is kept: read to its end, then refused */
  write_text(&from, "POST /v1/x HTTP/1.1\r\n" HOST "Content-Length: 3145731\r\n" CLOSE);
  for (int i = 0; i < 3; i++)
    write_all(&from, request, len);
  read_until(&from, " 413 ");
  client_close(&from);
  head = snprintf(request, 200, "GET /v1/x HTTP/1.1\r\n" HOST "X-Long: ");
  memset(request + head, 'y', 9000);
  memcpy(request + head + 9000, "\r\n" CLOSE, sizeof "\r\n" CLOSE);
  from = dial();
  write_text(&from, request);
  read_until(&from, NULL);
  ck_assert_msg(from.len == 0 || strncmp(from.text, "HTTP/1.1 4", 10) == 0, "%s", from.text);
  client_close(&from);
  ck_assert_uint_eq(served_count, 0);
  free(request);
}
END_TEST

START_TEST(one_address_has_its_share) {
  teardown();
  setup_with(false, 2);
  client first = dial();
  client second = dial();
  write_text(&first, "GET /v1/x HTTP/1.1\r\n" HOST "\r\n");
  write_text(&second, "GET /v1/x HTTP/1.1\r\n" HOST "\r\n");
  while (served_count < 2)
    turn();
  ask_expect("GET /v1/x HTTP/1.1\r\n" HOST CLOSE, 429, "expected fewer requests at a time");
  client_close(&first);
  while (deai_http_pending(http) == 2)
    turn();
  test_drop(&served[0], DEAI_ECANCELLED, "");
  on_part = answer_hello;
  ask_expect("GET /v1/x HTTP/1.1\r\n" HOST CLOSE, 200, "hello");
  client_close(&second);
}
END_TEST

/* drip sends one byte now and then until the connection ends, and returns how long that took. */
static uint64_t drip(client *to, const char *bytes, uint64_t each_ms) {
  uint64_t begin_ns = deai_loop_now_ns(loop);
  uint64_t last_ns = begin_ns;
  size_t at = 0;
  while (!to->closed) {
    uint64_t now_ns = deai_loop_now_ns(loop);
    if (now_ns - last_ns > each_ms * 1000000) {
      (void)send(to->fd, bytes + at % strlen(bytes), 1, MSG_DONTWAIT | MSG_NOSIGNAL);
      at++;
      last_ns = now_ns;
    }
    turn();
    read_some(to, 4096);
    ck_assert_uint_lt(now_ns - begin_ns, LIMIT_NS);
  }
  return (deai_loop_now_ns(loop) - begin_ns) / 1000000;
}

static void setup_times(uint32_t header, uint32_t body) {
  teardown();
  header_ms = header;
  body_ms = body;
  setup_with(false, 0);
  on_part = answer_hello;
}

START_TEST(a_connection_that_says_nothing_ends) {
  setup_times(300, 60000);
  client from = dial();
  ck_assert_uint_lt(drip(&from, "", 60000), 5000);
  ck_assert_uint_eq(from.len, 0);
  client_close(&from);
}
END_TEST

START_TEST(a_header_that_drips_is_told_the_time) {
  setup_times(400, 60000);
  client from = dial();
  write_text(&from, "GET /v1/x HTTP/1.1\r\n" HOST);
  uint64_t took_ms = drip(&from, "X-A: b\r\n", 20);
  ck_assert_uint_ge(took_ms, 300);
  ck_assert_uint_lt(took_ms, 5000);
  expect_status(&from, 408);
  client_close(&from);
  ck_assert_uint_eq(served_count, 0);
}
END_TEST

START_TEST(a_body_that_drips_is_told_the_time) {
  setup_times(60000, 400);
  client from = dial();
  write_text(&from, "POST /v1/x HTTP/1.1\r\n" HOST "Content-Length: 100000\r\n\r\n");
  ck_assert_uint_lt(drip(&from, "x", 20), 5000);
  expect_status(&from, 408);
  client_close(&from);
  ck_assert_uint_eq(served_count, 0);
}
END_TEST

START_TEST(the_next_request_of_a_connection_has_its_own_time) {
  setup_times(400, 400);
  client from = dial();
  for (int i = 0; i < 2; i++) {
    write_text(&from, "GET /v1/x HTTP/1.1\r\n" HOST "\r\n");
    read_until(&from, "hello");
    uint64_t begin_ns = deai_loop_now_ns(loop);
    while (deai_loop_now_ns(loop) - begin_ns < UINT64_C(1000000000))
      turn(); /* idle for longer than a header may take */
    from.len = 0;
  }
  ck_assert(!from.closed);
  write_text(&from, "GET /v1/x HT");
  ck_assert_uint_lt(drip(&from, "TP", 20), 5000);
  expect_status(&from, 408);
  client_close(&from);
}
END_TEST

START_TEST(an_answer_may_take_longer_than_a_header) {
  setup_times(200, 200);
  on_part = NULL;
  client from = dial();
  write_text(&from, "GET /v1/x HTTP/1.1\r\n" HOST "\r\n");
  uint64_t begin_ns = deai_loop_now_ns(loop);
  while (served_count == 0 || deai_loop_now_ns(loop) - begin_ns < UINT64_C(1000000000))
    turn();
  ck_assert_int_eq(answer_part(&served[0], head_of(200, "text/plain"), "late", DEAI_PART_END),
                   DEAI_OK);
  read_until(&from, "late");
  expect_status(&from, 200);
  client_close(&from);
}
END_TEST

START_TEST(one_address_has_its_share_of_connections) {
  enum { MOST = 1 * 4 * 4 }; /* per_address, a request, loopback */
  client many[MOST];
  teardown();
  setup_with(false, 1);
  on_part = answer_hello;
  for (size_t i = 0; i < MOST; i++) {
    many[i] = dial();
    write_text(&many[i], "GET /healthz HTTP/1.1\r\n" HOST "\r\n");
    read_until(&many[i], "ok\n");
  }
  client more = dial();
  read_until(&more, NULL);
  expect_status(&more, 429);
  ck_assert_ptr_nonnull(strstr(more.text, "expected fewer connections from one address"));
  client_close(&more);
  client_close(&many[3]);
  uint64_t begin_ns = deai_loop_now_ns(loop);
  while (served_count == 0) { /* as soon as the server has seen that it is closed */
    client again = ask("GET /v1/x HTTP/1.1\r\n" HOST CLOSE);
    client_close(&again);
    ck_assert_uint_lt(deai_loop_now_ns(loop) - begin_ns, LIMIT_NS);
  }
  for (size_t i = 0; i < MOST; i++)
    client_close(&many[i]);
}
END_TEST

START_TEST(answers_that_are_none) {
  on_part = answer_refused;
  ask_expect("GET /v1/x HTTP/1.1\r\n" HOST CLOSE, 429, "expected fewer jobs, found 9; wait");
  on_part = answer_garbage;
  ask_expect("GET /v1/x HTTP/1.1\r\n" HOST CLOSE, 500, "malformed answer head");
  on_part = answer_nothing;
  ask_expect("GET /v1/x HTTP/1.1\r\n" HOST CLOSE, 500, "internal error");
  client from = dial();
  on_part = NULL;
  write_text(&from, "GET /v1/x HTTP/1.1\r\n" HOST CLOSE);
  while (served_count < 4)
    turn();
  test_drop(&served[3], DEAI_EPLUGIN_DIED, "the plug-in ended");
  read_until(&from, "the plug-in ended");
  expect_status(&from, 502);
  client_close(&from);
}
END_TEST

/* ---- answers ---- */

START_TEST(requests_become_calls) {
  on_part = answer_hello;
  ask_expect("POST /v1/chat%20x?a=1&b=%20 HTTP/1.1\r\n" HOST "Content-Length: 4\r\n" CLOSE "body",
             200, "hello");
  ck_assert_str_eq(path_seen, "/v1/chat x");
  ck_assert_str_eq(query_seen, "a=1&b=%20");
  ck_assert_str_eq(method_seen, "POST");
  ck_assert_str_eq(plugin_asked, "models/answer");
  ck_assert_uint_eq(served[0].bytes, 4);
  ask_expect("DELETE /v1/files/7 HTTP/1.1\r\n" HOST CLOSE, 200, "hello");
  ck_assert_str_eq(plugin_asked, "storage/blocks"); /* the longest prefix */
  ck_assert_uint_eq(deai_http_pending(http), 0);
}
END_TEST

START_TEST(a_head_request_has_no_body) {
  on_part = _i == 0 ? answer_hello : answer_stream;
  client from = ask("HEAD /v1/x HTTP/1.1\r\n" HOST CLOSE);
  expect_status(&from, 200);
  ck_assert_ptr_null(strstr(from.text, "hello"));
  ck_assert_ptr_null(strstr(from.text, "data:"));
  client_close(&from);
}
END_TEST

START_TEST(an_answer_streams) {
  on_part = answer_stream;
  client from = dial();
  write_text(&from, "GET /v1/x HTTP/1.1\r\n" HOST "\r\n");
  read_until(&from, "0\r\n\r\n");
  expect_status(&from, 200);
  ck_assert_ptr_nonnull(strstr(from.text, "Transfer-Encoding: chunked"));
  ck_assert_ptr_nonnull(strstr(from.text, "X-Content-Type-Options: nosniff"));
  ck_assert_ptr_nonnull(strstr(from.text, "data: one\n\n"));
  ck_assert_ptr_nonnull(strstr(from.text, "data: two\n\n"));
  from.len = 0;
  on_part = answer_hello;
  write_text(&from, "GET /v1/y HTTP/1.1\r\n" HOST "\r\n"); /* the connection goes on */
  read_until(&from, "hello");
  client_close(&from);
}
END_TEST

START_TEST(a_client_that_leaves_cancels_its_call) {
  client from = dial();
  write_text(&from, "GET /v1/x HTTP/1.1\r\n" HOST "\r\n");
  while (served_count == 0 || served[0].parts == 0)
    turn();
  if (_i == 1) { /* while the answer streams */
    ck_assert_int_eq(answer_part(&served[0], head_of(200, "text/plain"), "first", 0), DEAI_OK);
    read_until(&from, "first");
  }
  client_close(&from);
  uint64_t begin_ns = deai_loop_now_ns(loop);
  while (served[0].cancels == 0) {
    turn();
    ck_assert_uint_lt(deai_loop_now_ns(loop) - begin_ns, LIMIT_NS);
  }
  ck_assert_int_eq(served[0].cancel_status, DEAI_ECANCELLED);
  deai_call_fail(served[0].call, DEAI_ECANCELLED, "x");
  deai_loop_drain(loop);
  ck_assert_uint_eq(deai_http_pending(http), 0);
  ck_assert_uint_eq(served[0].closed, 1);
}
END_TEST

START_TEST(a_slow_reader_holds_the_plugin_back) {
  static char piece[65537];
  memset(piece, 'p', sizeof piece - 1);
  deai_bytes none = deai_bytes_of(NULL, 0);
  client from = dial();
  write_text(&from, "GET /v1/x HTTP/1.1\r\n" HOST "\r\n");
  while (served_count == 0 || served[0].parts == 0)
    turn();
  ck_assert_int_eq(answer_part(&served[0], head_of(200, "text/plain"), piece, 0), DEAI_OK);
  uint64_t sent = 1;
  for (uint32_t idle = 0; idle < 50; turn()) {
    bool taken = answer_part(&served[0], none, piece, 0) == DEAI_OK;
    sent += taken;
    idle = taken ? 0 : idle + 1;
    ck_assert_uint_lt(sent, 4096); /* 256 MiB: nothing held it back */
  }
  ck_assert_uint_ge(served[0].drains + 1, 1);
  uint64_t wanted = sent * (sizeof piece - 1);
  uint64_t begin_ns = deai_loop_now_ns(loop);
  ck_assert_int_eq(answer_part(&served[0], none, "", DEAI_PART_END), DEAI_OK);
  uint64_t seen = 0;
  while (seen < wanted) { /* now it reads, and all of it comes */
    from.len = 0;
    read_some(&from, 1 << 20);
    for (size_t i = 0; i < from.len; i++)
      seen += from.text[i] == 'p';
    turn();
    ck_assert_uint_lt(deai_loop_now_ns(loop) - begin_ns, LIMIT_NS);
  }
  client_close(&from);
}
END_TEST

START_TEST(a_long_first_part_does_not_stall_the_next) {
  static char piece[DEAI_BODY_MAX];
  memset(piece, 'p', sizeof piece - 1);
  client from = dial();
  write_text(&from, "GET /v1/x HTTP/1.1\r\n" HOST "\r\n");
  while (served_count == 0 || served[0].parts == 0)
    turn();
  ck_assert_int_eq(answer_part(&served[0], head_of(200, "text/plain"), piece, 0), DEAI_OK);
  while (answer_part(&served[0], deai_bytes_of(NULL, 0), piece, 0) != DEAI_OK)
    turn();
  while (answer_part(&served[0], deai_bytes_of(NULL, 0), "last", DEAI_PART_END) != DEAI_OK)
    turn();
  read_until(&from, "last");
  client_close(&from);
}
END_TEST

START_TEST(own_answers) {
  ask_expect("GET /healthz HTTP/1.1\r\n" HOST CLOSE, 200, "ok\n");
  ask_expect("GET /readyz HTTP/1.1\r\n" HOST CLOSE, 200, "ready\n");
  ready = false;
  ask_expect("GET /readyz HTTP/1.1\r\n" HOST CLOSE, 503, "models/answer: starting\n");
  ask_expect("GET /metrics HTTP/1.1\r\n" HOST CLOSE, 200, "deai_calls{plugin=\"node\"} 7\n");
}
END_TEST

START_TEST(drain_stops_listening_and_free_cancels) {
  client from = dial();
  write_text(&from, "GET /v1/x HTTP/1.1\r\n" HOST "\r\n");
  while (served_count == 0)
    turn();
  deai_http_drain(http);
  deai_http_drain(http);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(deai_http_port(http))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ck_assert_int_ne(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
  (void)close(fd);
  ck_assert_uint_eq(deai_http_pending(http), 1);
  deai_http_free(http);
  http = NULL;
  deai_loop_drain(loop);
  ck_assert_uint_eq(served[0].cancels, 1);
  client_close(&from);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("http");
  TCase *tests = tcase_create("http");
  tcase_set_timeout(tests, 60);
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, addresses_that_cannot_be_listened_on);
  tcase_add_test(tests, routes_are_taken_once);
  tcase_add_test(tests, who_may_not_ask);
  tcase_add_test(tests, paths_that_are_none);
  tcase_add_test(tests, a_key_is_asked_for);
  tcase_add_test(tests, too_much_is_refused);
  tcase_add_test(tests, one_address_has_its_share);
  tcase_add_test(tests, a_connection_that_says_nothing_ends);
  tcase_add_test(tests, a_header_that_drips_is_told_the_time);
  tcase_add_test(tests, a_body_that_drips_is_told_the_time);
  tcase_add_test(tests, the_next_request_of_a_connection_has_its_own_time);
  tcase_add_test(tests, an_answer_may_take_longer_than_a_header);
  tcase_add_test(tests, one_address_has_its_share_of_connections);
  tcase_add_test(tests, answers_that_are_none);
  tcase_add_test(tests, requests_become_calls);
  tcase_add_loop_test(tests, a_head_request_has_no_body, 0, 2);
  tcase_add_test(tests, an_answer_streams);
  tcase_add_loop_test(tests, a_client_that_leaves_cancels_its_call, 0, 2);
  tcase_add_test(tests, a_slow_reader_holds_the_plugin_back);
  tcase_add_test(tests, a_long_first_part_does_not_stall_the_next);
  tcase_add_test(tests, own_answers);
  tcase_add_test(tests, drain_stops_listening_and_free_cancels);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
