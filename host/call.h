#ifndef DEAI_HOST_CALL_H
#define DEAI_HOST_CALL_H

#include "deai/plugin.h"
#include "host/base/loop.h"

/* A deai_call is one call on its way: two streams of parts between a caller's end and a callee's
   end. It is the seam at which plug-ins, children, members, HTTP and the ledger meet: each brings
   its own pair of deai_end_ops and knows nothing of the other side.

        caller end --send--> [queue] --part--> callee end        each direction: a window of
        caller end <--part-- [queue] <--send-- callee end        DEAI_WINDOW_MAX bytes, one END

   Order     Nothing is delivered inline: parts, drains and ends arrive as tasks of the loop.
   End       The callee's END finishes the call: after it the caller's end, then the callee's end,
             gets closed, its last callback. A caller that cancels, or whose time is up, gets its
             END at once; the callee is told by cancel and may take DEAI_CALL_GRACE_MS to end. A
             member that cancels gets the callee's END, for the sake of its receipt.
   Retry     Until the callee's first part the caller's parts are kept, so that the router can
             attach another callee when the first was lost.
   Threads   [loop]
   Memory    An end keeps the pointer from new or attach until its closed, or until it calls drop.
             Parts are copied, bodies shared where they lie in a deai_buffer. */

#define DEAI_CALL_GRACE_MS    5000u
#define DEAI_CALL_KEEP_MAX    (2u << 20) /* bytes of caller's parts kept for a retry */
#define DEAI_CALL_TAKE_MAX    (3u << 20)
#define DEAI_CALL_PARTS_MAX   8192u /* parts that wait in one direction */
#define DEAI_CALL_AVOID_MAX   64u
#define DEAI_CALL_WHY_MAX     4096u      /* bytes of a reason */
#define DEAI_CALL_TIME_MAX_MS UINT32_MAX /* more time is as much as this */

typedef struct deai_call deai_call;

typedef enum deai_side { DEAI_SIDE_CALLER = 0, DEAI_SIDE_CALLEE = 1 } deai_side;

typedef struct deai_end_ops {
  /* part hands over a part of the other side. 0 = taken (an attachment is then this end's own);
     DEAI_EAGAIN = not now: offered again after deai_call_resume. */
  int32_t (*part)(void *user, const deai_part *part);
  /* drain says that send, after DEAI_EAGAIN, takes parts again. May be NULL. */
  void (*drain)(void *user);
  /* consumed says that the other side took bytes that this end had sent. May be NULL. */
  void (*consumed)(void *user, uint64_t bytes);
  /* cancel tells the callee's end that nobody waits any more. NULL on a caller's end. */
  void (*cancel)(void *user, int32_t status);
  /* closed is the last callback: the end forgets the call. */
  void (*closed)(void *user);
} deai_end_ops;

/* What a call is about. Texts and bytes are copied by deai_call_new. */
typedef struct deai_call_spec {
  deai_str service;
  deai_str method;
  uint64_t time_ms;      /* from now; 0 is answered with DEAI_ETIMEDOUT */
  uint32_t caller_kind;  /* a deai_caller_kind */
  uint32_t caller_class; /* a deai_class: what the caller may call */
  deai_bytes caller_id;
  deai_bytes origin; /* 16 bytes or empty */
  deai_bytes job;    /* 16 bytes or empty */
  uint64_t units;
  deai_bytes voucher; /* encoded signed<voucher> that came with the CALL, or empty */
  /* how the router chooses */
  deai_str plugin;     /* only the offering of this plug-in of this node; set by the host alone */
  deai_bytes provider; /* node key or empty */
  deai_bytes model;
  deai_bytes avoid; /* node keys, 32 bytes each */
  uint64_t price_max;
  uint32_t flags;           /* DEAI_CALL_HERE, DEAI_CALL_AWAY, DEAI_CALL_EXPLAIN */
  struct deai_call *parent; /* the call that this one serves, or NULL; looked at by open only */
} deai_call_spec;

/* Classes of methods and what a caller reaches: a caller of class c may call methods <= c. */
typedef enum deai_class {
  DEAI_CLASS_PUBLIC = 0,
  DEAI_CLASS_GUEST = 1,
  DEAI_CLASS_MEMBER = 2,
  DEAI_CLASS_LOCAL = 3
} deai_class;

/* Hooks of the router; all may be NULL. */
typedef struct deai_call_hooks {
  /* before the callee gets a part of the caller */
  void (*to_callee)(void *user, deai_call *call, const deai_part *part);
  /* a part the callee sends: DEAI_EAGAIN = not yet paid (deai_call_reopen later, then it is asked
     again); may set part->receipt, provider and others, which must live until the next call of
     it */
  int32_t (*from_callee)(void *user, deai_call *call, deai_part *part);
  /* the callee ended with an error before its first part: DEAI_OK = another one was attached */
  int32_t (*retry)(void *user, deai_call *call, int32_t status, deai_str why);
  /* the call is gone */
  void (*over)(void *user, deai_call *call);
} deai_call_hooks;

/* A deai_open_fn opens a call for an end that has a caller's ops: the router in deaid, the link to
   the host in a child. NULL when memory is refused; every other refusal arrives as the END. */
typedef deai_call *deai_open_fn(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                                void *end_user);

/* deai_call_new makes a call with its caller's end; NULL when memory is refused. */
DEAI_MUST_CHECK deai_call *deai_call_new(deai_loop *loop, const deai_call_spec *spec,
                                         const deai_end_ops *ops, void *user);

/* deai_call_hook sets the router's hooks. */
void deai_call_hook(deai_call *call, const deai_call_hooks *hooks, void *user);

/* deai_call_hook_user returns the user given to deai_call_hook. */
void *deai_call_hook_user(const deai_call *call);

/* deai_call_about returns what was given to new, time_ms as it was. */
const deai_call_spec *deai_call_about(const deai_call *call);

/* deai_call_time_left_ms returns the time left, 0 when it is up. */
uint64_t deai_call_time_left_ms(const deai_call *call);

/* deai_call_first_ns returns when the callee's first part was delivered, or 0. */
uint64_t deai_call_first_ns(const deai_call *call);

/* deai_call_attach gives the call its callee's end: parts flow from now on. Called once, and again
   from the retry hook. */
void deai_call_attach(deai_call *call, const deai_end_ops *ops, void *user);

/* deai_call_send queues a part of side. DEAI_EAGAIN: the window is full, nothing changed, drain
   follows; an END is always taken. DEAI_ENOTFOUND: that direction or the call is over.
   DEAI_ENOMEM, DEAI_ETOOLARGE: refused, nothing changed. */
DEAI_MUST_CHECK int32_t deai_call_send(deai_call *call, deai_side side, const deai_part *part);

/* deai_call_take is send for a link, which has its own windows: it takes up to
   DEAI_CALL_TAKE_MAX bytes, a window and the bodies put together from several frames. A part that
   is not yet paid is taken as well and waits inside the call. */
DEAI_MUST_CHECK int32_t deai_call_take(deai_call *call, deai_side side, const deai_part *part);

/* deai_call_fail sends the callee's END with status and text; does nothing when it has ended. */
void deai_call_fail(deai_call *call, int32_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* deai_call_resume offers the part again that side's end had refused with DEAI_EAGAIN. */
void deai_call_resume(deai_call *call, deai_side side);

/* deai_call_reopen tells the callee's end to try again after the hook's DEAI_EAGAIN. */
void deai_call_reopen(deai_call *call);

/* deai_call_cancel gives up for the caller: its END (status) comes at once, the callee is told. */
void deai_call_cancel(deai_call *call, int32_t status);

/* deai_call_drop says that side's end is gone: no callback of it any more. A callee that had not
   ended is ended with status. */
void deai_call_drop(deai_call *call, deai_side side, int32_t status, const char *why);

/* deai_call_cancelled returns whether the caller gave up or its time was up. */
bool deai_call_cancelled(const deai_call *call);

/* deai_call_ended returns whether the callee has sent its END. */
bool deai_call_ended(const deai_call *call);

#endif
