#ifndef DEAI_HOST_NET_NET_H
#define DEAI_HOST_NET_NET_H

#include "host/base/keys.h"
#include "host/link.h"
#include "host/peers.h"

/* The members a node is connected to: it listens, dials, judges who may call what, exchanges node
   records, and lets the router reach them.

     dialling --TLS--> judged by key --HELLO both ways--> connected --record--> offers known
        ^                                                     |
        '------- back-off 0.5 s to 30 s, for known members ---'

   Who is who    The key of the TLS certificate. Its class is asked of the ledger (role); a key that
                 is no member has class public and reaches deai.net/1 join alone. recheck asks
                 again for everybody; one that is no member any longer has class public at once, and
                 its connection ends a second later, with the answers it still had to get.
   Two ways      Of two connections between the same nodes the one dialled by the smaller key stays.
   Threads       [loop]
   Limits        DEAI_PEERS_MAX connected, DEAI_NET_HALF_OPEN_MAX handshakes at a time,
                 DEAI_NET_HANDSHAKE_MS each. */

#define DEAI_NET_HALF_OPEN_MAX 32u
#define DEAI_NET_HANDSHAKE_MS  5000u
#define DEAI_NET_BEAT_MS       2000u

typedef struct deai_net deai_net;

typedef struct deai_net_ops {
  deai_open_fn *open; /* calls of members */
  /* role returns the deai_class of a key: member, guest, or public for strangers */
  uint32_t (*role)(void *user, const uint8_t key[DEAI_KEY_BYTES]);
  uint64_t (*height)(void *user); /* of the ledger, for HELLO and record */
  /* members calls each for every key with role member, connected or not. May be NULL. */
  void (*members)(void *user, void (*each)(void *each_user, const uint8_t key[DEAI_KEY_BYTES]),
                  void *each_user);
  /* offers calls each for what this node offers, for its record */
  void (*offers)(void *user, void (*each)(void *each_user, deai_str service, deai_bytes args),
                 void *each_user);
  /* voucher: one came with a part of a call that the member made; voucher_of: the one that a call
     to a member needs (1, or 0 = none). Both may be NULL. */
  void (*voucher)(void *user, deai_call *call, const deai_signed *voucher);
  int32_t (*voucher_of)(void *user, deai_call *call, deai_signed *voucher_out);
  /* connected: HELLO was exchanged (up) or the connection ended. May be NULL. */
  void (*connected)(void *user, const uint8_t key[DEAI_KEY_BYTES], bool up);
} deai_net_ops;

typedef struct deai_net_options {
  deai_loop *loop;
  const deai_key *key;
  const uint8_t *genesis; /* 32 bytes, or NULL: not joined yet */
  deai_str listen;        /* HOST:PORT; empty = do not listen */
  const deai_str *announce;
  uint32_t announce_count; /* none: the listen address with the real port */
  const deai_net_ops *ops;
  void *user;
} deai_net_options;

typedef struct deai_net_row {
  uint8_t key[DEAI_KEY_BYTES];
  uint64_t height;
  uint64_t latency_us;
  uint32_t peer_class;
  uint32_t tickets;
} deai_net_row;

/* deai_net_new listens. NULL with a reason. */
DEAI_MUST_CHECK deai_net *deai_net_new(const deai_net_options *options, char *err,
                                       uint32_t err_cap);

/* deai_net_port returns the port listened on, 0 when none. */
uint16_t deai_net_port(const deai_net *net);

/* deai_net_know adds a member to dial and to dial again when it is lost; key may be NULL for an
   address alone (the first dial of a join names it). */
DEAI_MUST_CHECK int32_t deai_net_know(deai_net *net, const uint8_t key[DEAI_KEY_BYTES],
                                      deai_str address);

/* deai_net_seam fills what the router needs. */
void deai_net_seam(deai_net *net, deai_peers *out);

/* deai_net_serve makes a connected node the callee of call. */
DEAI_MUST_CHECK int32_t deai_net_serve(deai_net *net, const uint8_t key[DEAI_KEY_BYTES],
                                       deai_call *call);

/* deai_net_pay sends a voucher for a call that a connected node serves; nothing when it is gone. */
void deai_net_pay(deai_net *net, const uint8_t key[DEAI_KEY_BYTES], deai_call *call,
                  const deai_signed *voucher);

/* deai_net_recheck asks for the class of everybody again. */
void deai_net_recheck(deai_net *net);

/* deai_net_announce makes a new record and sends it to all members. */
void deai_net_announce(deai_net *net);

/* deai_net_record returns this node's newest signed record. */
deai_bytes deai_net_record(const deai_net *net);

/* deai_net_records calls each with the record of every connected member. */
void deai_net_records(const deai_net *net, void (*each)(void *user, deai_bytes record), void *user);

/* deai_net_known calls each with every member it dials: for the file that survives a restart. */
void deai_net_known(const deai_net *net,
                    void (*each)(void *user, const uint8_t key[DEAI_KEY_BYTES],
                                 const char *address),
                    void *user);

/* deai_net_rows lists who is connected; returns the count, at most cap. */
uint32_t deai_net_rows(const deai_net *net, deai_net_row *out, uint32_t cap);

/* deai_net_why returns why the last dial or connection ended, for the one that joins. */
const char *deai_net_why(const deai_net *net);

/* deai_net_free closes all; NULL is allowed. */
void deai_net_free(deai_net *net);

#endif
