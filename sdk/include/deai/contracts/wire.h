#ifndef DEAI_CONTRACTS_WIRE_H
#define DEAI_CONTRACTS_WIRE_H

#include "deai/codec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The heads of frames and calls (docs/formats.md 2 and 3) and the codec tables that write and read
   them. Unknown keys are ignored here: a head may only gain optional keys.

   Threads  [any]
   Memory   Texts and bytes of a decoded head point into the frame.
   Limits   A head is at most DEAI_HEAD_MAX bytes, a body DEAI_BODY_MAX, and DEAI_PEER_BODY_MAX in
            one frame between nodes. */

#define DEAI_WIRE_VERSION    1u        /* the version spoken, in HELLO's v */
#define DEAI_HEAD_MAX        65536u    /* bytes of the head of one part */
#define DEAI_BODY_MAX        1048576u  /* bytes of the body of one part */
#define DEAI_PEER_BODY_MAX   65536u    /* bytes of body in one frame between nodes */
#define DEAI_TICKETS_MAX     256u      /* open tickets of a connection */
#define DEAI_WINDOW_MIN      65536u    /* bytes a direction starts with */
#define DEAI_WINDOW_MAX      1048576u  /* bytes a direction can be raised to */
#define DEAI_WINDOW_CONN_MAX 16777216u /* bytes granted on one connection */
#define DEAI_FRAME_HEADER    20u       /* bytes before the head: see docs/formats.md 2 */

typedef enum deai_frame_kind {
  DEAI_FRAME_HELLO = 1,
  DEAI_FRAME_CALL = 2,
  DEAI_FRAME_PART = 3,
  DEAI_FRAME_WINDOW = 4,
  DEAI_FRAME_CANCEL = 5,
  DEAI_FRAME_UPDATE = 6,
  DEAI_FRAME_LOG = 7,
  DEAI_FRAME_BEAT = 8,
  DEAI_FRAME_STOP = 9
} deai_frame_kind;

/* Flags of a frame. */
#define DEAI_FRAME_END        1u
#define DEAI_FRAME_ARENA      2u
#define DEAI_FRAME_ATTACHMENT 4u
#define DEAI_FRAME_MORE       8u

typedef struct deai_hello_plugin {
  deai_str id;
  deai_str version;
} deai_hello_plugin;

/* hello: has bits 0 g, 1 h, 4 plugin */
typedef struct deai_hello_head {
  uint64_t has;
  uint8_t g[DEAI_HASH_BYTES]; /* genesis hash; absent = not joined yet */
  uint64_t h;                 /* height */
  deai_str n;                 /* product and version, for logs only */
  deai_list v;                /* uint64_t: protocol versions spoken */
  deai_hello_plugin plugin;   /* from a child */
} deai_hello_head;
#define DEAI_HELLO_HAS_G      1u
#define DEAI_HELLO_HAS_H      2u
#define DEAI_HELLO_HAS_PLUGIN 16u

typedef struct deai_window_head {
  uint64_t c; /* bytes of credit */
} deai_window_head;

typedef struct deai_update_head {
  deai_bytes a; /* any item */
  deai_str topic;
} deai_update_head;

typedef struct deai_log_head {
  deai_str text;
  uint64_t level;
} deai_log_head;

typedef enum deai_caller_kind {
  DEAI_CALLER_PLUGIN = 0, /* id = name of the plug-in */
  DEAI_CALLER_CLI = 1,    /* id empty */
  DEAI_CALLER_PEER = 2,   /* id = node key */
  DEAI_CALLER_KEY = 3     /* id = id of an API key of this node */
} deai_caller_kind;

typedef struct deai_caller {
  uint32_t kind; /* a deai_caller_kind */
  deai_bytes id;
} deai_caller;

/* call-head: has bits by field order a c j m o s t u v x; x: from a child or the CLI only */
typedef struct deai_call_head {
  uint64_t has;
  deai_bytes a; /* the method's own arguments */
  deai_caller c;
  uint8_t j[DEAI_ID_BYTES];
  deai_str m;
  uint8_t o[DEAI_ID_BYTES];
  deai_str s;
  uint64_t t; /* ms left */
  uint64_t u;
  deai_signed v;
  deai_bytes x; /* route */
} deai_call_head;
#define DEAI_CALL_HAS_A 1u
#define DEAI_CALL_HAS_C 2u
#define DEAI_CALL_HAS_J 4u
#define DEAI_CALL_HAS_O 16u
#define DEAI_CALL_HAS_U 128u
#define DEAI_CALL_HAS_V 256u
#define DEAI_CALL_HAS_X 512u

/* part-head: w is written by a host for its own children and the CLI only: who answers */
typedef struct deai_part_head {
  uint64_t has;
  deai_bytes a;
  uint64_t u;
  deai_signed v;
  uint8_t w[DEAI_KEY_BYTES];
} deai_part_head;
#define DEAI_PART_HAS_A 1u
#define DEAI_PART_HAS_U 2u
#define DEAI_PART_HAS_V 4u
#define DEAI_PART_HAS_W 8u

/* end-head: has bits by field order a r u w st why others; u: units of a last part that carries
   some; others is written by a host for its own children and the CLI only */
typedef struct deai_end_head {
  uint64_t has;
  deai_bytes a;
  deai_signed r;
  uint64_t u;
  uint8_t w[DEAI_KEY_BYTES];
  int64_t st;
  deai_str why;
  deai_bytes others; /* deai_others */
} deai_end_head;
#define DEAI_END_HAS_A      1u
#define DEAI_END_HAS_R      2u
#define DEAI_END_HAS_U      4u
#define DEAI_END_HAS_W      8u
#define DEAI_END_HAS_WHY    32u
#define DEAI_END_HAS_OTHERS 64u

/* A node that did not serve a call, and why: 0 = it could have, another one comes first; else what
   was wrong with it or the call. */
typedef struct deai_other {
  uint8_t k[DEAI_KEY_BYTES];
  int64_t st;
  deai_str why;
} deai_other;

/* others: the nodes of the network that did not serve a call that asked for them */
typedef struct deai_others {
  deai_list n; /* deai_other */
} deai_others;
#define DEAI_OTHERS_MAX    64u    /* nodes named */
#define DEAI_OTHERS_BYTES  16384u /* of the whole item */
#define DEAI_OTHER_WHY_MAX 160u   /* bytes of a reason */
extern const deai_table deai_others_table;

/* What travels from a child to its host in a call-head's x: how the router should choose. */
typedef struct deai_route_head { /* has bits by field order */
  uint64_t has;
  uint8_t to[DEAI_KEY_BYTES];
  uint8_t away;
  uint8_t here;
  deai_list avoid; /* deai_bytes: node keys */
  deai_bytes model;
  uint64_t price;
  uint64_t parent; /* ticket the call serves */
  deai_str plugin; /* from the CLI only: this plug-in of the node */
  uint8_t explain; /* the END names the others */
} deai_route_head;
#define DEAI_ROUTE_HAS_TO      1u
#define DEAI_ROUTE_HAS_AWAY    2u
#define DEAI_ROUTE_HAS_HERE    4u
#define DEAI_ROUTE_HAS_AVOID   8u
#define DEAI_ROUTE_HAS_MODEL   16u
#define DEAI_ROUTE_HAS_PRICE   32u
#define DEAI_ROUTE_HAS_PARENT  64u
#define DEAI_ROUTE_HAS_PLUGIN  128u
#define DEAI_ROUTE_HAS_EXPLAIN 256u
extern const deai_table deai_route_head_table;

extern const deai_table deai_hello_head_table;
extern const deai_table deai_window_head_table;
extern const deai_table deai_update_head_table;
extern const deai_table deai_log_head_table;
extern const deai_table deai_caller_table;
extern const deai_table deai_call_head_table;
extern const deai_table deai_part_head_table;
extern const deai_table deai_end_head_table;

#ifdef __cplusplus
}
#endif

#endif
