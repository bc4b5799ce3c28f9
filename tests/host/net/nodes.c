#include "nodes.h"

#include "host/request.h"

#include <event2/event.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define LIMIT_NS UINT64_C(30000000000)

deai_loop *test_loop;
const uint8_t test_genesis[DEAI_HASH_BYTES] = {1, 2, 3};

static test_node nodes[TEST_NODES_MAX];
static uint64_t moved_ns;
static deai_platform platform;

static uint64_t moved_now(void *state) {
  (void)state;
  return deai_now_ns(deai_platform_system()) + moved_ns;
}

void test_move_clock(uint64_t seconds) {
  moved_ns += seconds * UINT64_C(1000000000);
}

void test_nodes_start(void) {
  moved_ns = 0;
  memset(nodes, 0, sizeof nodes);
  platform = *deai_platform_system();
  platform.now_ns = moved_now;
  test_loop = deai_loop_new(&platform, 0);
  ck_assert_ptr_nonnull(test_loop);
}

static void node_close(test_node *node) {
  deai_net_free(node->net);
  deai_loop_drain(test_loop);
  deai_router_free(node->router);
  deai_key_free(node->key);
  *node = (test_node){0};
}

void test_nodes_end(void) {
  for (uint32_t i = 0; i < TEST_NODES_MAX; i++) {
    if (nodes[i].net != NULL) node_close(&nodes[i]);
  }
  deai_loop_drain(test_loop);
  deai_loop_free(test_loop);
}

/* ---- the service ---- */

static const char *const classes[] = {"public", "guest", "member", "local"};

static int32_t class_of(const void *user, deai_str service, deai_str method) {
  (void)user, (void)service;
  if (deai_str_eq(method, deai_str_of("wait"))) return DEAI_CLASS_GUEST;
  for (int32_t i = 0; i < 4; i++) {
    if (deai_str_eq(method, deai_str_of(classes[i]))) return i;
  }
  return -1;
}

static void on_request(void *user, deai_request *request) {
  (void)user;
  if (deai_str_eq(deai_request_about(request)->method, deai_str_of("wait")))
    deai_request_fail(request, DEAI_EINTERNAL, "expected a call that never ends");
  else
    deai_request_end(request, DEAI_OK, (deai_bytes){NULL, 0}, deai_bytes_of("yes", 3));
}

static int32_t ignore_part(void *user, const deai_part *part) {
  (void)user, (void)part;
  return DEAI_OK;
}

static void end_cancelled(void *user, int32_t status) {
  deai_call_fail(user, status, "gone");
}

static void ignore_closed(void *user) {
  (void)user;
}

static const deai_end_ops waiting_ops = {
    .part = ignore_part, .cancel = end_cancelled, .closed = ignore_closed};

static int32_t serve(void *user, deai_call *call, char *err) {
  (void)err;
  if (!deai_str_eq(deai_call_about(call)->method, deai_str_of("wait")))
    return deai_request_serve(call, 4096, on_request, user);
  deai_call_attach(call, &waiting_ops, call);
  return DEAI_OK;
}

/* ---- the node ---- */

static deai_call *open_call(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                            void *end_user) {
  const test_node *node = user;
  return deai_router_open(node->router, spec, ops, end_user);
}

static uint32_t role(void *user, const uint8_t key[DEAI_KEY_BYTES]) {
  (void)user;
  for (uint32_t i = 0; i < TEST_NODES_MAX; i++) {
    if (nodes[i].key != NULL && memcmp(deai_key_public(nodes[i].key), key, DEAI_KEY_BYTES) == 0)
      return nodes[i].class_of_it;
  }
  return DEAI_CLASS_PUBLIC;
}

static uint64_t height(void *user) {
  (void)user;
  return 7;
}

static void members(void *user, void (*each)(void *each_user, const uint8_t key[DEAI_KEY_BYTES]),
                    void *each_user) {
  (void)user;
  for (uint32_t i = 0; i < TEST_NODES_MAX; i++) {
    if (nodes[i].key != NULL && nodes[i].class_of_it == DEAI_CLASS_MEMBER)
      each(each_user, deai_key_public(nodes[i].key));
  }
}

static void offers(void *user, void (*each)(void *each_user, deai_str service, deai_bytes args),
                   void *each_user) {
  const test_node *node = user;
  deai_router_each_offer(node->router, each, each_user);
}

static void connected(void *user, const uint8_t key[DEAI_KEY_BYTES], bool up) {
  test_node *node = user;
  ck_assert_ptr_nonnull(key);
  if (up)
    node->ups++;
  else
    node->downs++;
}

static const deai_net_ops net_ops = {.open = open_call,
                                     .role = role,
                                     .height = height,
                                     .members = members,
                                     .offers = offers,
                                     .connected = connected};

test_node *test_node_open(uint32_t number, uint32_t class_of_it, const uint8_t *genesis) {
  uint8_t seed[32] = {(uint8_t)(number + 1)};
  char err[DEAI_ERR_CAP] = "";
  test_node *node = &nodes[number];
  ck_assert_uint_lt(number, TEST_NODES_MAX);
  node->class_of_it = class_of_it;
  node->key = deai_key_of_seed(seed);
  ck_assert_ptr_nonnull(node->key);
  node->router = deai_router_new(test_loop, deai_key_public(node->key));
  ck_assert_ptr_nonnull(node->router);
  deai_offering offering = {.plugin = "test",
                            .service = TEST_SERVICE,
                            .class_of = class_of,
                            .remote = true,
                            .provider = {node, serve}};
  ck_assert_int_eq(deai_router_offer(node->router, &offering), DEAI_OK);
  deai_router_enable(node->router, "test", true);
  deai_net_options options = {.loop = test_loop,
                              .key = node->key,
                              .genesis = genesis,
                              .listen = deai_str_of("127.0.0.1:0"),
                              .ops = &net_ops,
                              .user = node};
  node->net = deai_net_new(&options, err, sizeof err);
  ck_assert_msg(node->net != NULL, "%s", err);
  ck_assert_uint_ne(deai_net_port(node->net), 0);
  deai_net_announce(node->net);
  return node;
}

const uint8_t *test_node_key(const test_node *node) {
  return deai_key_public(node->key);
}

void test_dial(test_node *from, const test_node *to, const uint8_t *key) {
  char address[64];
  (void)snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)deai_net_port(to->net));
  ck_assert_int_eq(deai_net_know(from->net, key, deai_str_of(address)), DEAI_OK);
}

uint32_t test_rows(const test_node *node) {
  deai_net_row rows[8];
  return deai_net_rows(node->net, rows, 8);
}

void test_until(bool (*done)(void *user), void *user) {
  uint64_t end_ns = deai_now_ns(deai_platform_system()) + LIMIT_NS;
  while (!done(user)) {
    (void)event_base_loop(deai_loop_base(test_loop), EVLOOP_ONCE);
    ck_assert_msg(deai_now_ns(deai_platform_system()) < end_ns, "waited 30 s in vain");
  }
}

static bool is_connected(void *user) {
  test_node *const *pair = user;
  return test_rows(pair[0]) == 1 && test_rows(pair[1]) == 1;
}

void test_connect(test_node *from, test_node *to) {
  test_node *pair[] = {from, to};
  test_dial(from, to, test_node_key(to));
  test_until(is_connected, pair);
}

void test_call_start(test_node *from, const test_node *to, const char *service, const char *method,
                     deai_bytes args, test_end *end) {
  deai_call_spec spec = {
      .service = deai_str_of(service), .method = deai_str_of(method), .time_ms = 20000};
  deai_part part = {
      .size = (uint32_t)sizeof part, .flags = DEAI_PART_END, .attachment = -1, .args = args};
  *end = test_end_of(test_loop, DEAI_SIDE_CALLER);
  end->call = deai_call_new(test_loop, &spec, &test_caller_ops, end);
  ck_assert_ptr_nonnull(end->call);
  ck_assert_int_eq(deai_call_send(end->call, DEAI_SIDE_CALLER, &part), DEAI_OK);
  ck_assert_int_eq(deai_net_serve(from->net, test_node_key(to), end->call), DEAI_OK);
}

static bool is_closed(void *user) {
  const test_end *end = user;
  return end->closed == 1;
}

test_answer test_call(test_node *from, const test_node *to, const char *service, const char *method,
                      deai_bytes args) {
  test_end end;
  test_answer answer = {0};
  test_call_start(from, to, service, method, args, &end);
  test_until(is_closed, &end);
  ck_assert_uint_eq(end.ends, 1);
  answer.status = end.status;
  answer.len = end.last_len;
  memcpy(answer.body, end.last, (size_t)end.last_len);
  (void)snprintf(answer.why, sizeof answer.why, "%s", end.why);
  return answer;
}
