#ifndef DEAI_HOST_NET_TLS_H
#define DEAI_HOST_NET_TLS_H

#include "host/base/keys.h"

struct ssl_st;
struct bufferevent;

/* TLS between nodes: OpenSSL 3, TLS 1.3 only, self-signed Ed25519 certificates on both sides, ALPN
   "deai/1". Who the other side is, is its 32-byte key and nothing else: names, dates and chains are
   ignored. No tickets, resumption or early data.

   Caveats  Under TLS 1.3 the dialler is connected before its certificate has been judged: only the
            other side's HELLO means admitted.
   Threads  [loop]
   Source   docs/formats.md 2; RFC 8446, RFC 8410 (Ed25519 certificates) */

typedef struct deai_tls deai_tls;

/* deai_tls_new makes the context with a certificate of the node's key. NULL with a reason. */
DEAI_MUST_CHECK deai_tls *deai_tls_new(const deai_key *key, char *err, uint32_t err_cap);

/* deai_tls_session makes the state of one connection for bufferevent_openssl; NULL: no memory. */
DEAI_MUST_CHECK struct ssl_st *deai_tls_session(deai_tls *tls, int dialling);

/* deai_tls_peer writes the other side's key of a finished handshake. DEAI_EVERIFY when it has no
   Ed25519 certificate or ALPN differs. */
DEAI_MUST_CHECK int32_t deai_tls_peer(struct bufferevent *bev, uint8_t key[DEAI_KEY_BYTES]);

/* deai_tls_free frees the context; NULL is allowed. */
void deai_tls_free(deai_tls *tls);

#endif
