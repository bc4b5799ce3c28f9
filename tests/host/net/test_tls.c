/* TLS between nodes: what is not TLS 1.3 with one Ed25519 certificate on each side and deai/1 gets
   no connection. */
#include "tests/testing.h"

#include "host/net/tls.h"

#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <string.h>
#include <sys/socket.h>

#include "host/base/banned.h"

typedef struct side {
  struct bufferevent *bev;
  bool up;
  bool over;
} side;

static struct event_base *base;
static deai_key *key_a;
static deai_key *key_b;
static deai_tls *tls_a;
static deai_tls *tls_b;
static side dialler;
static side server;

static void setup(void) {
  char err[256] = "";
  base = event_base_new();
  key_a = deai_key_make();
  key_b = deai_key_make();
  tls_a = deai_tls_new(key_a, err, sizeof err);
  tls_b = deai_tls_new(key_b, err, sizeof err);
  ck_assert_msg(tls_a != NULL && tls_b != NULL, "%s", err);
}

static void teardown(void) {
  if (dialler.bev != NULL) bufferevent_free(dialler.bev);
  if (server.bev != NULL) bufferevent_free(server.bev);
  deai_tls_free(tls_a);
  deai_tls_free(tls_b);
  deai_tls_free(NULL);
  deai_key_free(key_a);
  deai_key_free(key_b);
  event_base_free(base);
}

static void on_event(struct bufferevent *bev, short what, void *user) {
  side *at = user;
  (void)bev;
  if ((what & BEV_EVENT_CONNECTED) != 0)
    at->up = true;
  else
    at->over = true;
}

static void side_open(side *at, int fd, SSL *session, bool dialling) {
  ck_assert_ptr_nonnull(session);
  ck_assert_int_eq(evutil_make_socket_nonblocking(fd), 0);
  enum bufferevent_ssl_state state =
      dialling ? BUFFEREVENT_SSL_CONNECTING : BUFFEREVENT_SSL_ACCEPTING;
  *at = (side){.bev =
                   bufferevent_openssl_socket_new(base, fd, session, state, BEV_OPT_CLOSE_ON_FREE)};
  ck_assert_ptr_nonnull(at->bev);
  bufferevent_setcb(at->bev, NULL, NULL, on_event, at);
  ck_assert_int_eq(bufferevent_enable(at->bev, EV_READ | EV_WRITE), 0);
}

/* shake lets session dial b until both sides have an answer. */
static void shake(SSL *session) {
  int pair[2];
  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  side_open(&dialler, pair[0], session, true);
  side_open(&server, pair[1], deai_tls_session(tls_b, 0), false);
  while (!server.over && !(server.up && dialler.up))
    ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
}

static X509 *certificate_of(EVP_PKEY *key, EVP_PKEY *signer) {
  X509 *made = X509_new();
  ck_assert_ptr_nonnull(made);
  ck_assert_int_eq(X509_set_version(made, 2), 1);
  ck_assert_int_eq(ASN1_INTEGER_set(X509_get_serialNumber(made), 1), 1);
  ck_assert_ptr_nonnull(X509_gmtime_adj(X509_getm_notBefore(made), 0));
  ck_assert_ptr_nonnull(X509_gmtime_adj(X509_getm_notAfter(made), 86400));
  ck_assert_int_eq(X509_set_pubkey(made, key), 1);
  bool plain = EVP_PKEY_id(signer) == EVP_PKEY_ED25519;
  ck_assert_int_gt(X509_sign(made, signer, plain ? NULL : EVP_sha256()), 0);
  return made;
}

/* A foreign client: key NULL = without a certificate, signer = who signs it. */
static SSL *client(EVP_PKEY *key, EVP_PKEY *signer, const char *alpn, int version_max) {
  SSL_CTX *context = SSL_CTX_new(TLS_method());
  ck_assert_ptr_nonnull(context);
  if (key != NULL) {
    X509 *certificate = certificate_of(key, signer);
    ck_assert_int_eq(SSL_CTX_use_certificate(context, certificate), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey(context, key), 1);
    X509_free(certificate);
  }
  if (alpn != NULL)
    ck_assert_int_eq(
        SSL_CTX_set_alpn_protos(context, (const unsigned char *)alpn, (unsigned)strlen(alpn)), 0);
  ck_assert_int_eq(SSL_CTX_set_max_proto_version(context, version_max), 1);
  SSL *session = SSL_new(context);
  SSL_CTX_free(context);
  SSL_set_connect_state(session);
  return session;
}

static void expect_refused(EVP_PKEY *key, EVP_PKEY *signer, const char *alpn, int version_max) {
  uint8_t found[DEAI_KEY_BYTES];
  shake(client(key, signer, alpn, version_max));
  bool refused = server.over || deai_tls_peer(server.bev, found) == DEAI_EVERIFY;
  ck_assert(refused);
  EVP_PKEY_free(key);
  if (signer != key) EVP_PKEY_free(signer);
}

#define ALPN                                                                                       \
  "\x06"                                                                                           \
  "deai/1"

START_TEST(a_dialler_without_a_certificate_is_refused) {
  expect_refused(NULL, NULL, ALPN, TLS1_3_VERSION);
}
END_TEST

START_TEST(another_kind_of_key_is_refused) {
  EVP_PKEY *key = EVP_EC_gen("P-256");
  expect_refused(key, key, ALPN, TLS1_3_VERSION);
}
END_TEST

START_TEST(a_certificate_that_another_key_signed_is_refused) {
  expect_refused(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"),
                 ALPN, TLS1_3_VERSION);
}
END_TEST

START_TEST(another_protocol_is_refused) {
  EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
  expect_refused(key, key, "\x08http/1.1", TLS1_3_VERSION);
}
END_TEST

START_TEST(no_protocol_is_refused) {
  EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
  expect_refused(key, key, NULL, TLS1_3_VERSION);
}
END_TEST

START_TEST(an_older_tls_is_refused) {
  EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
  expect_refused(key, key, ALPN, TLS1_2_VERSION);
}
END_TEST

START_TEST(both_sides_learn_the_key_of_the_other) {
  uint8_t found[DEAI_KEY_BYTES];
  shake(deai_tls_session(tls_a, 1));
  ck_assert(!server.over && !dialler.over);
  ck_assert_int_eq(deai_tls_peer(server.bev, found), DEAI_OK);
  ck_assert_int_eq(memcmp(found, deai_key_public(key_a), DEAI_KEY_BYTES), 0);
  ck_assert_int_eq(deai_tls_peer(dialler.bev, found), DEAI_OK);
  ck_assert_int_eq(memcmp(found, deai_key_public(key_b), DEAI_KEY_BYTES), 0);
  ck_assert_int_eq(SSL_version(bufferevent_openssl_get_ssl(dialler.bev)), TLS1_3_VERSION);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("tls");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, a_dialler_without_a_certificate_is_refused);
  tcase_add_test(tests, another_kind_of_key_is_refused);
  tcase_add_test(tests, a_certificate_that_another_key_signed_is_refused);
  tcase_add_test(tests, another_protocol_is_refused);
  tcase_add_test(tests, no_protocol_is_refused);
  tcase_add_test(tests, an_older_tls_is_refused);
  tcase_add_test(tests, both_sides_learn_the_key_of_the_other);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
