/* Nodes over loopback: who is let in, who may call what, hostile and silent ones. */
#include "nodes.h"

#include "host/net/tls.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/base/banned.h"

static const deai_bytes nothing;

static void expect(test_node *from, const test_node *to, const char *method, int32_t status) {
  test_answer answer = test_call(from, to, TEST_SERVICE, method, nothing);
  ck_assert_msg(answer.status == status, "%s: expected %s, found %s: %s", method,
                deai_status_name(status), deai_status_name(answer.status), answer.why);
  if (status == DEAI_OK) ck_assert_int_eq(memcmp(answer.body, "yes", 3), 0);
  if (status == DEAI_EDENIED) ck_assert_ptr_nonnull(strstr(answer.why, "that may call test/1"));
}

static bool refused(void *user) {
  const test_node *node = user;
  return deai_net_why(node->net)[0] != 0;
}

static void expect_refused(test_node *node, const char *why) {
  test_until(refused, node);
  ck_assert_msg(strstr(deai_net_why(node->net), why) != NULL, "%s", deai_net_why(node->net));
  ck_assert_uint_eq(test_rows(node), 0);
}

START_TEST(a_wrong_key_is_refused) {
  test_node *a = test_node_open(0, DEAI_CLASS_MEMBER, test_genesis);
  test_node *b = test_node_open(1, DEAI_CLASS_MEMBER, test_genesis);
  test_node *c = test_node_open(2, DEAI_CLASS_MEMBER, test_genesis);
  test_dial(a, b, test_node_key(c));
  expect_refused(a, "expected the key of the invitation or record, found another node");
  ck_assert_uint_eq(a->ups + b->ups + c->ups, 0);
}
END_TEST

START_TEST(a_node_does_not_talk_to_itself) {
  test_node *a = test_node_open(0, DEAI_CLASS_MEMBER, test_genesis);
  ck_assert_int_eq(deai_net_know(a->net, test_node_key(a), deai_str_of("127.0.0.1:1")), DEAI_OK);
  test_dial(a, a, NULL);
  expect_refused(a, "this is the node itself");
}
END_TEST

START_TEST(another_network_is_refused) {
  static const uint8_t other[DEAI_HASH_BYTES] = {9};
  test_node *a = test_node_open(0, DEAI_CLASS_MEMBER, test_genesis);
  test_node *b = test_node_open(1, DEAI_CLASS_MEMBER, other);
  test_dial(a, b, test_node_key(b));
  expect_refused(a, "");
  ck_assert_uint_eq(a->ups + b->ups, 0);
}
END_TEST

START_TEST(wrong_addresses_are_refused) {
  char err[DEAI_ERR_CAP] = "";
  char text[64];
  test_node *a = test_node_open(0, DEAI_CLASS_MEMBER, test_genesis);
  ck_assert_int_eq(deai_net_know(a->net, NULL, deai_str_of("")), DEAI_EINVAL);
  const deai_net_ops ops = {.open = NULL};
  deai_net_options options = {.loop = test_loop, .key = a->key, .ops = &ops};
  options.listen = deai_str_of("nowhere");
  ck_assert_ptr_null(deai_net_new(&options, err, sizeof err));
  ck_assert_ptr_nonnull(strstr(err, "peers.listen: expected ADDRESS:PORT, found \"nowhere\""));
  (void)snprintf(text, sizeof text, "127.0.0.1:%u", (unsigned)deai_net_port(a->net));
  options.listen = deai_str_of(text);
  ck_assert_ptr_null(deai_net_new(&options, err, sizeof err));
  ck_assert_ptr_nonnull(strstr(err, "to be free: Address already in use; stop who uses it"));
  test_dial(a, a, NULL);
  deai_net_free(NULL);
}
END_TEST

static void count_record(void *user, deai_bytes record) {
  ck_assert_uint_gt(record.len, 0);
  ++*(uint32_t *)user;
}

static bool knows_offer(void *user) {
  test_node *const *pair = user;
  deai_peers seam;
  deai_peer_offer rows[4];
  deai_net_seam(pair[0]->net, &seam);
  return seam.list(seam.user, deai_str_of(TEST_SERVICE), nothing, rows, 4) == 1 &&
         memcmp(rows[0].key, test_node_key(pair[1]), DEAI_KEY_BYTES) == 0;
}

START_TEST(members_exchange_records) {
  test_node *a = test_node_open(0, DEAI_CLASS_MEMBER, test_genesis);
  test_node *b = test_node_open(1, DEAI_CLASS_MEMBER, test_genesis);
  test_node *ab[] = {a, b};
  test_node *ba[] = {b, a};
  uint32_t records = 0;
  deai_net_row row;
  deai_peers seam;
  deai_peer_offer offer;
  test_connect(a, b);
  test_until(knows_offer, ab);
  test_until(knows_offer, ba);
  deai_net_records(a->net, count_record, &records);
  deai_net_records(b->net, count_record, &records);
  ck_assert_uint_eq(records, 2);
  ck_assert_uint_eq(deai_net_rows(a->net, &row, 1), 1);
  ck_assert_uint_eq(row.height, 7);
  ck_assert_uint_eq(row.peer_class, DEAI_CLASS_MEMBER);
  deai_net_seam(a->net, &seam);
  ck_assert_uint_eq(seam.list(seam.user, deai_str_of("other/1"), nothing, &offer, 1), 0);
  deai_net_announce(a->net);
  expect(b, a, "member", DEAI_OK);
}
END_TEST

static deai_peer_lack lack_of(const deai_peer_other *rows, uint32_t count, const test_node *node) {
  for (uint32_t i = 0; i < count; i++) {
    if (memcmp(rows[i].key, test_node_key(node), DEAI_KEY_BYTES) == 0) return rows[i].lack;
  }
  ck_abort_msg("a member is not listed");
}

START_TEST(members_that_cannot_serve_are_listed) {
  static const uint8_t cid[] = {1, 0x71, 0x12, 1, 7};
  test_node *a = test_node_open(0, DEAI_CLASS_MEMBER, test_genesis);
  test_node *b = test_node_open(1, DEAI_CLASS_MEMBER, test_genesis);
  test_node *c = test_node_open(2, DEAI_CLASS_MEMBER, test_genesis);
  test_node *ab[] = {a, b};
  deai_peers seam;
  deai_peer_other rows[4];
  deai_bytes model = deai_bytes_of(cid, sizeof cid);
  (void)test_node_open(3, DEAI_CLASS_GUEST, test_genesis);
  test_connect(a, b);
  test_until(knows_offer, ab);
  deai_net_seam(a->net, &seam);
  uint32_t count = seam.others(seam.user, deai_str_of(TEST_SERVICE), nothing, rows, 4);
  ck_assert_uint_eq(count, 2); /* itself and c; b offers it, guests serve nobody */
  ck_assert_int_eq(lack_of(rows, count, c), DEAI_PEER_AWAY);
  count = seam.others(seam.user, deai_str_of("other/1"), nothing, rows, 4);
  ck_assert_uint_eq(count, 3);
  ck_assert_int_eq(lack_of(rows, count, b), DEAI_PEER_SERVICE);
  count = seam.others(seam.user, deai_str_of(TEST_SERVICE), model, rows, 4);
  ck_assert_int_eq(lack_of(rows, count, b), DEAI_PEER_MODEL);
  ck_assert_uint_eq(seam.others(seam.user, deai_str_of("other/1"), nothing, rows, 1), 1);
}
END_TEST

START_TEST(a_member_may_not_call_what_is_local) {
  test_node *a = test_node_open(0, DEAI_CLASS_MEMBER, test_genesis);
  test_node *b = test_node_open(1, DEAI_CLASS_MEMBER, test_genesis);
  test_connect(a, b);
  expect(a, b, "local", DEAI_EDENIED);
  expect(b, a, "local", DEAI_EDENIED);
  expect(a, b, "none", DEAI_EUNSUPPORTED);
  expect(a, b, "member", DEAI_OK);
  expect(b, a, "member", DEAI_OK);
  expect(a, b, "guest", DEAI_OK);
}
END_TEST

START_TEST(a_guest_may_not_call_what_is_for_members) {
  test_node *a = test_node_open(0, DEAI_CLASS_GUEST, test_genesis);
  test_node *b = test_node_open(1, DEAI_CLASS_MEMBER, test_genesis);
  test_connect(a, b);
  expect(a, b, "member", DEAI_EDENIED);
  expect(a, b, "local", DEAI_EDENIED);
  expect(a, b, "guest", DEAI_OK);
  expect(a, b, "public", DEAI_OK);
}
END_TEST

START_TEST(a_stranger_reaches_what_is_public_alone) {
  test_node *a = test_node_open(0, DEAI_CLASS_PUBLIC, NULL);
  test_node *b = test_node_open(1, DEAI_CLASS_MEMBER, test_genesis);
  test_connect(a, b);
  expect(a, b, "local", DEAI_EDENIED);
  expect(a, b, "member", DEAI_EDENIED);
  expect(a, b, "guest", DEAI_EDENIED);
  expect(a, b, "public", DEAI_OK);
  uint32_t records = 0;
  deai_net_records(a->net, count_record, &records);
  deai_net_records(b->net, count_record, &records);
  ck_assert_uint_eq(records, 0); /* nothing is told to strangers */
}
END_TEST

static bool ended(void *user) {
  const test_end *end = user;
  return end->closed == 1;
}

static bool gone(void *user) {
  const test_node *node = user;
  return node->downs == 1;
}

static bool returned(void *user) {
  test_node *const *pair = user;
  return pair[0]->ups == 2 && test_rows(pair[0]) == 1 && test_rows(pair[1]) == 1;
}

START_TEST(a_removed_member_is_cut) {
  test_node *a = test_node_open(0, DEAI_CLASS_MEMBER, test_genesis);
  test_node *b = test_node_open(1, DEAI_CLASS_MEMBER, test_genesis);
  test_node *pair[] = {a, b};
  test_end end;
  test_connect(a, b);
  test_call_start(a, b, TEST_SERVICE, "wait", nothing, &end);
  expect(a, b, "member", DEAI_OK); /* the one that waits has begun */
  a->class_of_it = DEAI_CLASS_PUBLIC;
  deai_net_recheck(b->net);
  expect(a, b, "member", DEAI_EDENIED); /* at once; what it has asked may still be answered */
  test_until(ended, &end);
  ck_assert_str_eq(deai_net_why(b->net), "it is no member any more");
  ck_assert_uint_eq(test_rows(b), 0);
  ck_assert_int_eq(end.status, DEAI_EPEER_LOST);
  test_until(gone, a);
  test_until(returned, pair); /* it may knock again, as a stranger */
  expect(a, b, "member", DEAI_EDENIED);
  expect(a, b, "public", DEAI_OK);
}
END_TEST

START_TEST(a_class_that_changes_holds_at_once) {
  test_node *a = test_node_open(0, DEAI_CLASS_MEMBER, test_genesis);
  test_node *b = test_node_open(1, DEAI_CLASS_MEMBER, test_genesis);
  test_connect(a, b);
  a->class_of_it = DEAI_CLASS_GUEST;
  deai_net_recheck(b->net);
  expect(a, b, "member", DEAI_EDENIED);
  expect(a, b, "guest", DEAI_OK);
  ck_assert_uint_eq(a->ups, 1);
}
END_TEST

/* call_again calls as the router does: a call on the way that ends is lost before its first part
   and placed again. */
static void call_again(test_node *from, const test_node *to) {
  for (uint32_t lost = 0;; lost++) {
    test_answer answer = test_call(from, to, TEST_SERVICE, "member", nothing);
    if (answer.status == DEAI_OK) return;
    ck_assert_int_eq(answer.status, DEAI_EPEER_LOST);
    ck_assert_uint_lt(lost, 2);
  }
}

START_TEST(of_two_ways_one_stays) {
  test_node *a = test_node_open(0, DEAI_CLASS_MEMBER, test_genesis);
  test_node *b = test_node_open(1, DEAI_CLASS_MEMBER, test_genesis);
  test_node *pair[] = {a, b};
  test_dial(b, a, test_node_key(a));
  test_connect(a, b);
  test_until(knows_offer, pair);
  call_again(a, b);
  call_again(b, a);
  ck_assert_uint_eq(test_rows(a), 1);
  ck_assert_uint_eq(test_rows(b), 1);
  ck_assert_uint_eq(a->ups - a->downs, 1); /* one side may have seen its first way end first */
  ck_assert_uint_eq(b->ups - b->downs, 1);
}
END_TEST

/* ---- hostile ones ---- */

static int raw_socket(const test_node *node) {
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons(deai_net_port(node->net)),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
  return fd;
}

static bool is_shut(void *user) {
  char byte[64];
  ssize_t got = recv(*(int *)user, byte, sizeof byte, MSG_DONTWAIT);
  return got == 0 || (got < 0 && errno == ECONNRESET);
}

START_TEST(who_says_nothing_is_closed) {
  test_node *a = test_node_open(0, DEAI_CLASS_MEMBER, test_genesis);
  int fd = raw_socket(a);
  int talker = raw_socket(a);
  ck_assert_int_eq((int)send(talker, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL), 18);
  test_until(is_shut, &talker);
  ck_assert(!is_shut(&fd));
  test_move_clock(6);
  test_until(is_shut, &fd);
  ck_assert_ptr_nonnull(strstr(deai_net_why(a->net), "no HELLO in 5 s"));
  (void)close(fd);
  (void)close(talker);
}
END_TEST

START_TEST(handshakes_are_limited) {
  test_node *a = test_node_open(0, DEAI_CLASS_MEMBER, test_genesis);
  test_node *b = test_node_open(1, DEAI_CLASS_MEMBER, test_genesis);
  int fds[DEAI_NET_HALF_OPEN_MAX + 1];
  for (uint32_t i = 0; i <= DEAI_NET_HALF_OPEN_MAX; i++)
    fds[i] = raw_socket(a);
  test_until(is_shut, &fds[DEAI_NET_HALF_OPEN_MAX]);
  for (uint32_t i = 0; i < DEAI_NET_HALF_OPEN_MAX; i++)
    ck_assert(!is_shut(&fds[i]));
  test_move_clock(6);
  test_until(is_shut, &fds[0]);
  test_connect(b, a); /* there is room again */
  for (uint32_t i = 0; i <= DEAI_NET_HALF_OPEN_MAX; i++)
    (void)close(fds[i]);
}
END_TEST

/* A node that is not ours behind a good certificate: what it sends is what the test says. */
typedef struct stranger {
  deai_key *key;
  deai_tls *tls;
  struct bufferevent *bev;
  bool up;
  bool over;
  uint64_t got;
} stranger;

static void stranger_event(struct bufferevent *bev, short what, void *user) {
  stranger *who = user;
  (void)bev;
  if ((what & BEV_EVENT_CONNECTED) != 0)
    who->up = true;
  else
    who->over = true;
}

static void stranger_read(struct bufferevent *bev, void *user) {
  stranger *who = user;
  struct evbuffer *in = bufferevent_get_input(bev);
  who->got += evbuffer_get_length(in);
  (void)evbuffer_drain(in, evbuffer_get_length(in));
}

static bool stranger_up(void *user) {
  return ((const stranger *)user)->up;
}

static bool stranger_heard(void *user) {
  return ((const stranger *)user)->got > 0;
}

static bool stranger_over(void *user) {
  return ((const stranger *)user)->over;
}

static void stranger_dial(stranger *who, const test_node *node) {
  char err[DEAI_ERR_CAP] = "";
  *who = (stranger){.key = deai_key_make()};
  who->tls = deai_tls_new(who->key, err, sizeof err);
  ck_assert_msg(who->tls != NULL, "%s", err);
  int fd = raw_socket(node);
  ck_assert_int_eq(evutil_make_socket_nonblocking(fd), 0);
  who->bev =
      bufferevent_openssl_socket_new(deai_loop_base(test_loop), fd, deai_tls_session(who->tls, 1),
                                     BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
  ck_assert_ptr_nonnull(who->bev);
  bufferevent_setcb(who->bev, stranger_read, NULL, stranger_event, who);
  ck_assert_int_eq(bufferevent_enable(who->bev, EV_READ | EV_WRITE), 0);
  test_until(stranger_up, who);
  test_until(stranger_heard, who); /* its HELLO */
}

static void stranger_say(stranger *who, const void *bytes, size_t len) {
  ck_assert_int_eq(bufferevent_write(who->bev, bytes, len), 0);
}

static void stranger_free(stranger *who) {
  bufferevent_free(who->bev);
  deai_tls_free(who->tls);
  deai_key_free(who->key);
}

static void put_u32(uint8_t *at, uint32_t value) {
  for (uint32_t i = 0; i < 4; i++)
    at[i] = (uint8_t)(value >> (8 * i));
}

static void say_frame(stranger *who, uint8_t kind, uint64_t ticket, const char *head,
                      uint32_t head_len) {
  uint8_t bytes[20 + 64] = {0};
  ck_assert_uint_le(head_len, 64);
  put_u32(bytes, 16 + head_len);
  bytes[4] = kind;
  put_u32(bytes + 8, (uint32_t)ticket);
  put_u32(bytes + 16, head_len);
  memcpy(bytes + 20, head, head_len);
  stranger_say(who, bytes, 20 + head_len);
}

static const char hello[] = "\xa2"
                            "an`av\x81\x01";

static void expect_over(const test_node *node, stranger *who, const char *why) {
  test_until(stranger_over, who);
  ck_assert_msg(strstr(deai_net_why(node->net), why) != NULL, "expected \"%s\", found \"%s\"", why,
                deai_net_why(node->net));
  ck_assert_uint_eq(test_rows(node), 0);
  stranger_free(who);
}

static bool has_one(void *user) {
  return test_rows(user) == 1;
}

START_TEST(who_says_no_hello_is_closed) {
  stranger who;
  test_node *a = test_node_open(0, DEAI_CLASS_MEMBER, test_genesis);
  stranger_dial(&who, a);
  test_move_clock(6);
  expect_over(a, &who, "no HELLO in 5 s");
}
END_TEST

START_TEST(who_falls_silent_is_closed) {
  stranger who;
  test_node *a = test_node_open(0, DEAI_CLASS_MEMBER, test_genesis);
  stranger_dial(&who, a);
  say_frame(&who, DEAI_FRAME_HELLO, 0, hello, 8);
  test_until(has_one, a);
  test_move_clock(9);
  say_frame(&who, DEAI_FRAME_BEAT, 0, "\xa0", 1);
  who.got = 0;
  test_until(stranger_heard, &who); /* the beat is answered */
  test_move_clock(9);
  ck_assert_uint_eq(test_rows(a), 1);
  test_move_clock(2);
  expect_over(a, &who, "silent for 10 s");
}
END_TEST

START_TEST(frames_beyond_the_limits_end_the_connection) {
  stranger who;
  uint8_t large[20] = {0};
  test_node *a = test_node_open(0, DEAI_CLASS_MEMBER, test_genesis);
  put_u32(large, 64u << 20);
  large[4] = DEAI_FRAME_PART;
  stranger_dial(&who, a);
  stranger_say(&who, large, sizeof large);
  expect_over(a, &who, "expected a frame within its limits");
  stranger_dial(&who, a);
  say_frame(&who, DEAI_FRAME_HELLO, 0, hello, 8);
  say_frame(&who, 77, 0, "\xa0", 1);
  expect_over(a, &who, "unknown kind");
  stranger_dial(&who, a);
  say_frame(&who, DEAI_FRAME_CALL, 1, "\xa0", 1);
  expect_over(a, &who, "expected HELLO first");
  stranger_dial(&who, a);
  say_frame(&who, DEAI_FRAME_HELLO, 0, hello, 8);
  say_frame(&who, DEAI_FRAME_HELLO, 0, hello, 8);
  expect_over(a, &who, "expected one HELLO");
  stranger_dial(&who, a);
  say_frame(&who, DEAI_FRAME_HELLO, 0, hello, 8);
  say_frame(&who, DEAI_FRAME_LOG, 0, "\xa0", 1);
  expect_over(a, &who, "not expected here");
}
END_TEST

START_TEST(more_than_256_calls_are_refused) {
  test_end ends[DEAI_TICKETS_MAX];
  test_node *a = test_node_open(0, DEAI_CLASS_MEMBER, test_genesis);
  test_node *b = test_node_open(1, DEAI_CLASS_MEMBER, test_genesis);
  deai_call_spec spec = {
      .service = deai_str_of(TEST_SERVICE), .method = deai_str_of("wait"), .time_ms = 20000};
  test_connect(a, b);
  for (uint32_t i = 0; i < DEAI_TICKETS_MAX; i++)
    test_call_start(a, b, TEST_SERVICE, "wait", nothing, &ends[i]);
  test_end more = test_end_of(test_loop, DEAI_SIDE_CALLER);
  more.call = deai_call_new(test_loop, &spec, &test_caller_ops, &more);
  ck_assert_int_eq(deai_net_serve(a->net, test_node_key(b), more.call), DEAI_EBUSY);
  deai_call_fail(more.call, DEAI_EBUSY, "full");
  test_until(ended, &more);
  for (uint32_t i = 0; i < DEAI_TICKETS_MAX; i++)
    deai_call_cancel(ends[i].call, DEAI_ECANCELLED);
  for (uint32_t i = 0; i < DEAI_TICKETS_MAX; i++)
    test_until(ended, &ends[i]);
}
END_TEST

static void count_known(void *user, const uint8_t key[DEAI_KEY_BYTES], const char *address) {
  ck_assert_ptr_nonnull(key);
  ck_assert_int_eq(strncmp(address, "127.0.0.1:", 10), 0);
  ++*(uint32_t *)user;
}

START_TEST(what_is_known_can_be_kept) {
  uint32_t count = 0;
  test_node *a = test_node_open(0, DEAI_CLASS_MEMBER, test_genesis);
  test_node *b = test_node_open(1, DEAI_CLASS_MEMBER, test_genesis);
  test_node *pair[] = {a, b};
  test_dial(a, b, NULL);
  deai_net_known(a->net, count_known, &count);
  ck_assert_uint_eq(count, 0);
  test_until(knows_offer, pair);
  deai_net_known(a->net, count_known, &count);
  ck_assert_uint_eq(count, 1);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("net");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_checked_fixture(tests, test_nodes_start, test_nodes_end);
  tcase_add_test(tests, a_wrong_key_is_refused);
  tcase_add_test(tests, a_node_does_not_talk_to_itself);
  tcase_add_test(tests, another_network_is_refused);
  tcase_add_test(tests, wrong_addresses_are_refused);
  tcase_add_test(tests, members_exchange_records);
  tcase_add_test(tests, members_that_cannot_serve_are_listed);
  tcase_add_test(tests, a_member_may_not_call_what_is_local);
  tcase_add_test(tests, a_guest_may_not_call_what_is_for_members);
  tcase_add_test(tests, a_stranger_reaches_what_is_public_alone);
  tcase_add_test(tests, a_removed_member_is_cut);
  tcase_add_test(tests, a_class_that_changes_holds_at_once);
  tcase_add_test(tests, of_two_ways_one_stays);
  tcase_add_test(tests, who_says_nothing_is_closed);
  tcase_add_test(tests, handshakes_are_limited);
  tcase_add_test(tests, who_says_no_hello_is_closed);
  tcase_add_test(tests, who_falls_silent_is_closed);
  tcase_add_test(tests, frames_beyond_the_limits_end_the_connection);
  tcase_add_test(tests, more_than_256_calls_are_refused);
  tcase_add_test(tests, what_is_known_can_be_kept);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
