#ifndef DEAI_HOST_NET_JOIN_H
#define DEAI_HOST_NET_JOIN_H

#include "deai/contracts/ledger.h"
#include "host/net/net.h"
#include "host/provider.h"

/* The service deai.net/1: net-channel, and joining a network, the inviter's side. `deai invite`
   makes a one-time code of which the node keeps the hash alone; `join` with that code becomes one
   transaction {create, member_add, transfer}.

   Threads  [loop]
   Limits   DEAI_INVITES_MAX open invitations; DEAI_JOIN_TRIES wrong codes a minute, then DEAI_EBUSY
   Source   docs/formats.md 5, Join */

#define DEAI_INVITES_MAX 64u
#define DEAI_JOIN_TRIES  5u

typedef struct deai_join deai_join;

typedef void deai_join_done(void *user, int32_t status, const char *why, uint64_t height);

typedef struct deai_join_ops {
  /* propose signs and submits ops (CBOR list of op) and calls done on the loop */
  void (*propose)(void *user, deai_bytes ops, void *done_user, deai_join_done *done);
  deai_bytes (*genesis)(void *user, uint8_t hash[DEAI_HASH_BYTES]);
  /* channel answers net-channel of a member or guest into out */
  int32_t (*channel)(void *user, const uint8_t caller[DEAI_KEY_BYTES], deai_bytes args,
                     deai_buf out, uint64_t *len_out, char *err, uint32_t err_cap);
  void (*account_of)(const uint8_t key[DEAI_KEY_BYTES], uint8_t out[DEAI_ACCT_BYTES]);
} deai_join_ops;

/* deai_join_new makes the service. NULL: no memory. */
DEAI_MUST_CHECK deai_join *deai_join_new(deai_loop *loop, deai_net *net, const deai_join_ops *ops,
                                         void *user);

/* deai_join_invite makes an invitation for time_ms and writes its secret. DEAI_EFULL. */
DEAI_MUST_CHECK int32_t deai_join_invite(deai_join *join, uint64_t time_ms, uint32_t role,
                                         uint64_t grant, uint8_t secret[DEAI_ID_BYTES]);

/* deai_join_offering is the service deai.net/1. */
deai_offering deai_join_offering(deai_join *join);

/* deai_join_free frees it; NULL is allowed. */
void deai_join_free(deai_join *join);

#endif
