#ifndef DEAI_HOST_PEERS_H
#define DEAI_HOST_PEERS_H

#include "host/call.h"

/* The seam between the router and net: which members offer a service, and how to reach one.

   Threads  [loop]
   Memory   What list writes is a copy; keys are 32 bytes. */

#define DEAI_PEERS_MAX 64u

typedef struct deai_peer_offer {
  uint8_t key[DEAI_KEY_BYTES];
  uint64_t price_in;   /* 10^-9 coin a unit in */
  uint64_t price_out;  /* a unit out */
  uint64_t latency_us; /* measured round trip */
  uint32_t busy;       /* calls it serves for us now */
} deai_peer_offer;

/* Why a member cannot serve a call at all. */
typedef enum deai_peer_lack {
  DEAI_PEER_AWAY,    /* not connected */
  DEAI_PEER_SILENT,  /* connected, its record has not come yet */
  DEAI_PEER_SERVICE, /* does not offer the service */
  DEAI_PEER_MODEL    /* offers it, but not the model */
} deai_peer_lack;

typedef struct deai_peer_other {
  uint8_t key[DEAI_KEY_BYTES];
  deai_peer_lack lack;
} deai_peer_other;

typedef struct deai_peers {
  void *user;
  /* list writes up to cap connected members that offer service (and model, when not empty) and
     returns how many there are. */
  uint32_t (*list)(void *user, deai_str service, deai_bytes model, deai_peer_offer *out,
                   uint32_t cap);
  /* others writes up to cap members that list leaves out, and returns how many; own may be among
     them. May be NULL. */
  uint32_t (*others)(void *user, deai_str service, deai_bytes model, deai_peer_other *out,
                     uint32_t cap);
  /* serve makes the member the callee of call; negative when it is not connected. */
  int32_t (*serve)(void *user, const uint8_t key[DEAI_KEY_BYTES], deai_call *call);
} deai_peers;

#endif
