#ifndef DEAI_HOST_LINK_H
#define DEAI_HOST_LINK_H

#include "host/base/frame.h"
#include "host/call.h"

/* A deai_link is one connection that carries calls: to a child, to a member, or from the command
   line. It turns frames into calls and calls into frames; deadlines, windows, cancellation and
   errors mean the same on every carrier, only the transport below differs.

      router or instance --open--> deai_call <--end ops-- deai_link --send--> transport
                                                             ^--deai_link_input-- frames

   Tickets   Odd from the side that dialled (the host, for a child), even from the other.
   Windows   A direction of a ticket starts with DEAI_WINDOW_MIN bytes over heads and bodies and
             grows to DEAI_WINDOW_MAX while all that was granted stays within DEAI_WINDOW_CONN_MAX.
   Bodies    Longer bodies than the carrier's limit travel in several frames (MORE); the receiver
             puts them together, so that a part is the same on every carrier. An END with a head may
             take the place of the callee's part under way, which is then void: the call was
             cancelled or its time is up.
   Faults    A frame that breaks a rule ends the connection: closed(user, why) is called once and
             all its tickets end with lost_status.
   Threads   [loop]
   Memory    The transport owns the link and frees it after closed. */

typedef struct deai_link deai_link;

typedef enum deai_link_kind {
  DEAI_LINK_TO_CHILD = 0, /* this is the host; the other side is hostile */
  DEAI_LINK_TO_HOST = 1,  /* this is the child */
  DEAI_LINK_PEER = 2,
  DEAI_LINK_CLI = 3,    /* this is the node; the other side is the command line */
  DEAI_LINK_TO_NODE = 4 /* this is the command line */
} deai_link_kind;

typedef struct deai_link_ops {
  /* send hands a frame to the transport, which takes it always (it queues); attachment -1 or a
     descriptor that it duplicates or sends at once. */
  void (*send)(void *user, const deai_frame *frame, int32_t attachment);
  /* backlog returns the bytes that wait in the transport; above DEAI_LINK_BACKLOG_MAX the link
     waits for deai_link_writable. */
  uint64_t (*backlog)(void *user);
  /* open makes the call for a CALL frame of the other side. */
  deai_open_fn *open;
  /* hello, update, log, beat and stop frames of the other side; NULL = refused as a fault. */
  int32_t (*hello)(void *user, const deai_hello_head *hello);
  void (*update)(void *user, deai_str topic, deai_bytes value);
  void (*log)(void *user, uint64_t level, deai_str text);
  void (*beat)(void *user);
  void (*stop)(void *user);
  /* voucher: one came with a part of this call (the caller's side pays as it goes) */
  void (*voucher)(void *user, deai_call *call, const deai_signed *voucher);
  /* voucher_of writes the voucher that a CALL to the other side needs; 0 = none needed. */
  int32_t (*voucher_of)(void *user, deai_call *call, deai_signed *voucher_out);
  /* closed: the link is over. The transport ends the connection. */
  void (*closed)(void *user, const char *why);
} deai_link_ops;

#define DEAI_LINK_BACKLOG_MAX (256u << 10)

typedef struct deai_link_options {
  deai_loop *loop;
  deai_link_kind kind;
  bool dialled;          /* this side dialled: its tickets are odd */
  uint64_t body_max;     /* bytes of body in one frame */
  uint32_t caller_kind;  /* what the other side is as a caller */
  uint32_t caller_class; /* a deai_class; deai_link_class changes it */
  deai_bytes caller_id;  /* copied */
  int32_t lost_status;   /* END of open calls when the connection ends */
  const char *lost_why;  /* static */
} deai_link_options;

/* deai_link_new makes a link over a transport; NULL when memory is refused. Nothing may be called
   before both HELLOs: deai_link_hello sends ours. */
DEAI_MUST_CHECK deai_link *deai_link_new(const deai_link_options *options, const deai_link_ops *ops,
                                         void *user);

/* deai_link_hello sends this side's HELLO. */
void deai_link_hello(deai_link *link, const deai_hello_head *hello);

/* deai_link_ready returns whether the other side's HELLO was accepted. */
bool deai_link_ready(const deai_link *link);

/* deai_link_class changes what the other side may call. */
void deai_link_class(deai_link *link, uint32_t caller_class);

/* deai_link_input takes one whole frame; attachment -1 or a descriptor that the link now owns.
   The link may be over when it returns. */
void deai_link_input(deai_link *link, const deai_frame *frame, int32_t attachment);

/* deai_link_writable says that the transport's backlog has fallen: waiting tickets go on, one frame
   each in turn. */
void deai_link_writable(deai_link *link);

/* deai_link_serve makes the other side the callee of call. DEAI_EBUSY when 256 tickets are open,
   DEAI_EPEER_LOST when the link is over or not ready. */
DEAI_MUST_CHECK int32_t deai_link_serve(deai_link *link, deai_call *call);

/* deai_link_pay sends a voucher for a call that the other side serves, between two parts and as
   soon
   as the window allows; nothing when it is over. */
void deai_link_pay(deai_link *link, deai_call *call, const deai_signed *voucher);

/* deai_link_update, deai_link_log, deai_link_beat and deai_link_stop send those frames. */
void deai_link_update(deai_link *link, deai_str topic, deai_bytes value);
/* deai_link_log sends a LOG frame. */
void deai_link_log(deai_link *link, uint64_t level, deai_str text);
/* deai_link_beat sends a BEAT frame. */
void deai_link_beat(deai_link *link);
/* deai_link_stop sends a STOP frame. */
void deai_link_stop(deai_link *link);

/* deai_link_tickets returns how many tickets are open. */
uint32_t deai_link_tickets(const deai_link *link);

/* deai_link_end ends all tickets with the lost status; closed is not called. */
void deai_link_end(deai_link *link);

/* deai_link_free ends and frees; NULL is allowed. */
void deai_link_free(deai_link *link);

#endif
