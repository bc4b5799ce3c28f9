#include "tls.h"

#include "deai/plugin.h"

#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <stdbool.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define CERTIFICATE_SECONDS                                                                        \
  (60L * 60 * 24 * 365 * 20) /* dates are ignored; some must stand there */
#define CLOCK_SLACK_SECONDS (60L * 60 * 24)

static const unsigned char alpn[] = "\x06"
                                    "deai/1";

struct deai_tls {
  SSL_CTX *context;
};

static X509 *certificate_make(EVP_PKEY *key) {
  X509 *certificate = X509_new();
  X509_NAME *name = certificate != NULL ? X509_get_subject_name(certificate) : NULL;
  bool made = name != NULL && X509_set_version(certificate, 2) == 1 &&
              ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) == 1 &&
              X509_gmtime_adj(X509_getm_notBefore(certificate), -CLOCK_SLACK_SECONDS) != NULL &&
              X509_gmtime_adj(X509_getm_notAfter(certificate), CERTIFICATE_SECONDS) != NULL &&
              X509_set_pubkey(certificate, key) == 1 &&
              X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"deai",
                                         -1, -1, 0) == 1 &&
              X509_set_issuer_name(certificate, name) == 1 && X509_sign(certificate, key, NULL) > 0;
  if (made) return certificate;
  X509_free(certificate);
  return NULL;
}

/* on_certificate accepts exactly one self-signed Ed25519 certificate; who it is, is judged after
   the
   handshake by its key. */
static int on_certificate(X509_STORE_CTX *store, void *user) {
  (void)user;
  X509 *certificate = X509_STORE_CTX_get0_cert(store);
  EVP_PKEY *key = certificate != NULL ? X509_get0_pubkey(certificate) : NULL;
  STACK_OF(X509) *chain = X509_STORE_CTX_get0_untrusted(store);
  bool alone = chain == NULL || sk_X509_num(chain) == 1;
  if (alone && key != NULL && EVP_PKEY_id(key) == EVP_PKEY_ED25519 &&
      X509_verify(certificate, key) == 1)
    return 1;
  X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
  return 0;
}

static int on_alpn(SSL *session, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned int in_len, void *user) {
  (void)session, (void)user;
  unsigned char *picked = NULL;
  if (SSL_select_next_proto(&picked, out_len, alpn, sizeof alpn - 1, in, in_len) !=
      OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = picked;
  return SSL_TLSEXT_ERR_OK;
}

static bool context_setup(SSL_CTX *context, EVP_PKEY *key, X509 *certificate) {
  (void)SSL_CTX_set_options(context,
                            SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
  SSL_CTX_set_cert_verify_callback(context, on_certificate, NULL);
  SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL);
  (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
         SSL_CTX_set_num_tickets(context, 0) == 1 && SSL_CTX_set_max_early_data(context, 0) == 1 &&
         SSL_CTX_use_certificate(context, certificate) == 1 &&
         SSL_CTX_use_PrivateKey(context, key) == 1 &&
         SSL_CTX_set_alpn_protos(context, alpn, sizeof alpn - 1) == 0;
}

deai_tls *deai_tls_new(const deai_key *key, char *err, uint32_t err_cap) {
  deai_tls *tls = calloc(1, sizeof *tls);
  EVP_PKEY *pkey =
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, deai_key_seed(key), DEAI_KEY_BYTES);
  X509 *certificate = pkey != NULL ? certificate_make(pkey) : NULL;
  bool made = tls != NULL && certificate != NULL;
  if (made) tls->context = SSL_CTX_new(TLS_method());
  made = made && tls->context != NULL && context_setup(tls->context, pkey, certificate);
  X509_free(certificate);
  EVP_PKEY_free(pkey);
  if (made) return tls;
  char text[256];
  ERR_error_string_n(ERR_get_error(), text, sizeof text);
  (void)deai_err(err, err_cap, DEAI_EINTERNAL, "TLS cannot be set up: %s", text);
  deai_tls_free(tls);
  return NULL;
}

struct ssl_st *deai_tls_session(deai_tls *tls, int dialling) {
  SSL *session = SSL_new(tls->context);
  if (session == NULL) return NULL;
  if (dialling)
    SSL_set_connect_state(session);
  else
    SSL_set_accept_state(session);
  return session;
}

int32_t deai_tls_peer(struct bufferevent *bev, uint8_t key[DEAI_KEY_BYTES]) {
  SSL *session = bufferevent_openssl_get_ssl(bev);
  X509 *certificate = session != NULL ? SSL_get1_peer_certificate(session) : NULL;
  const unsigned char *protocol = NULL;
  unsigned int protocol_len = 0;
  size_t len = DEAI_KEY_BYTES;
  int32_t status = DEAI_EVERIFY;
  if (session != NULL) SSL_get0_alpn_selected(session, &protocol, &protocol_len);
  EVP_PKEY *pkey = certificate != NULL ? X509_get0_pubkey(certificate) : NULL;
  if (pkey != NULL && protocol_len == sizeof alpn - 2 &&
      memcmp(protocol, alpn + 1, protocol_len) == 0 &&
      EVP_PKEY_get_raw_public_key(pkey, key, &len) == 1 && len == DEAI_KEY_BYTES &&
      deai_sign_key_check(key) == DEAI_OK)
    status = DEAI_OK;
  X509_free(certificate);
  return status;
}

void deai_tls_free(deai_tls *tls) {
  if (tls == NULL) return;
  SSL_CTX_free(tls->context);
  free(tls);
}
