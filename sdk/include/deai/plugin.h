#ifndef DEAI_PLUGIN_H
#define DEAI_PLUGIN_H

#include "deai/status.h"
#include "deai/types.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a plug-in is: one exported symbol, one manifest in an ELF note, one sized table.

     deai_plugin_entry   the host negotiates the version and gets the table
         |
       create  -->  start  -->  calls, parts, updates  -->  stop  -->  destroy     each once
      created      started                                  created

   A service is a set of methods. A call is two streams of parts: the caller's first part arrives
   with on_call, its later parts with on_part; the plug-in answers with deai_host.reply. A call that
   the plug-in makes itself (deai_host.call) is answered through on_part as well. Each direction
   ends exactly once: the part with DEAI_PART_END is the last one, and the callee's carries the
   status. The host absorbs all races: after stop nothing is delivered, after an end nothing more of
   that ticket.

   Versions  The plug-in states the least host it needs; major must be equal, minor not above the
             host's. Tables are sized: a slot that one side does not know reads as NULL.
   Threads   All functions of deai_plugin are called on the loop thread of the process the plug-in
             lives in. Tags: [loop] on the loop thread, [any] on every thread; the word after it is
             the state the plug-in must be in. The host checks both in release builds.
   Memory    Everything received is borrowed until the function returns; each side frees its own.
   Limits    args at most DEAI_HEAD_MAX bytes, body at most DEAI_BODY_MAX (contracts/wire.h).
   Source    docs/formats.md 3, docs/plugin-authors.md */

#define DEAI_MAGIC     UINT32_C(0x49414544) /* the bytes "DEAI" on a little-endian machine */
#define DEAI_ABI_MAJOR 0u
#define DEAI_ABI_MINOR 1u
#define DEAI_ERR_CAP   512u /* bytes the host gives for a reason */
#define DEAI_NO_TICKET UINT64_C(0)
#define DEAI_EXPORT    __attribute__((visibility("default")))

typedef struct deai_inst deai_inst; /* one instance; the plug-in defines it */
typedef struct deai_ctx deai_ctx;   /* the host's side of that instance; opaque */

/* A buffer holds bulk bytes that several owners share: its memory is the host's and counted. */
typedef struct deai_buffer {
  uint8_t *ptr;
  uint64_t len;
} deai_buffer;

/* Flags of a part. */
#define DEAI_PART_END 1u /* the last part of its direction */

/* One part of a stream. The sender sets size and what it uses; zero means absent. */
typedef struct deai_part {
  uint32_t size;       /* sizeof(deai_part) */
  uint32_t flags;      /* DEAI_PART_... */
  uint64_t units;      /* countable work in this part (lm: tokens); paid by it */
  deai_bytes args;     /* one CBOR item: the head; empty = none */
  deai_bytes body;     /* bulk bytes */
  deai_buffer *buffer; /* NULL, or the buffer body lies in: then it is shared, not copied */
  int32_t attachment;  /* -1, or a read-only descriptor; only on local carriers. The sender's stays
                           its own (it is duplicated); the receiver's is its own to close. */
  int32_t status;      /* with DEAI_PART_END of the callee: 0 or a negative deai_status */
  deai_str why;        /* with a negative status: what was expected, what was found, what to do */
  deai_bytes receipt;  /* received with the callee's END: signed<receipt>, or empty */
  deai_bytes provider; /* received with a callee's part: key of the node that answers */
  deai_bytes others;   /* received with the END of a call that asked for it (DEAI_CALL_EXPLAIN):
                          deai_others of contracts/wire.h, or empty */
} deai_part;

/* Who calls. Set by the host from the connection, never by the caller. */
typedef struct deai_call_info {
  uint32_t size;
  uint32_t caller_kind; /* a deai_caller_kind of contracts/wire.h */
  deai_bytes caller_id; /* name, node key or API key id */
  deai_bytes origin;    /* 16 bytes: keyed hash of the first caller, or empty */
  deai_bytes job;       /* 16 bytes, or empty */
  deai_str service;     /* as in the manifest */
  deai_str method;
  uint64_t time_left_ms; /* never a wall clock */
  uint64_t units;        /* units the caller asks for, checked by the plug-in */
} deai_call_info;

/* What a plug-in asks for with deai_host.call. */
typedef struct deai_call_options {
  uint32_t size;
  uint32_t reserved;
  deai_str service; /* must be among the manifest's needs */
  deai_str method;
  uint64_t time_ms;        /* from now; capped by what the parent has left */
  uint64_t parent;         /* ticket that this call serves, or DEAI_NO_TICKET */
  deai_bytes job;          /* 16 bytes of a replay; empty = the host draws one when it needs one */
  deai_bytes provider;     /* node key: only there; empty = the router chooses */
  const deai_bytes *avoid; /* node keys the router must not choose */
  uint32_t avoid_count;
  uint32_t flags;     /* DEAI_CALL_... */
  uint64_t units;     /* u of the call (lm: prompt ids + forced tokens) */
  uint64_t price_max; /* 10^-9 coin for a unit out; 0 = no limit of its own */
  deai_bytes model;   /* lm: CID, the router looks for nodes that offer it; empty = any */
} deai_call_options;
#define DEAI_CALL_HERE    1u /* only a provider of this node */
#define DEAI_CALL_AWAY    2u /* only another node */
#define DEAI_CALL_EXPLAIN 4u /* the END names the nodes that did not serve it, and why */

typedef struct deai_host deai_host;

typedef struct deai_plugin {
  uint32_t size; /* sizeof(deai_plugin) as the plug-in compiled it */
  uint32_t reserved;

  /* create makes an instance from its settings (canonical CBOR, defaults applied, checked against
     the manifest's schema). host and ctx stay valid until destroy returns. [loop] */
  int32_t (*create)(const deai_host *host, deai_ctx *ctx, deai_bytes settings, deai_inst **inst_out,
                    char *err, uint32_t err_cap);

  /* start begins work; from now on calls may arrive, even before it returns. [loop & created] */
  int32_t (*start)(deai_inst *inst, char *err, uint32_t err_cap);

  /* stop joins all threads of the instance and forgets its tickets: the host ends them. It must
     return within 2 seconds. [loop & started] */
  void (*stop)(deai_inst *inst);

  /* destroy frees the instance. [loop & created] */
  void (*destroy)(deai_inst *inst);

  /* on_call brings a call to a service of the manifest. A negative answer ends the call with that
     status and the text in err; after 0 the plug-in replies until it has sent DEAI_PART_END, at
     once or later. [loop & started] */
  int32_t (*on_call)(deai_inst *inst, uint64_t ticket, const deai_call_info *info,
                     const deai_part *first, char *err, uint32_t err_cap);

  /* on_part brings a later part of a call served or made. DEAI_EAGAIN leaves the part with the
     host, which offers it again after the next on_drain of this instance. [loop & started] */
  int32_t (*on_part)(deai_inst *inst, uint64_t ticket, const deai_part *part);

  /* on_drain says that ticket, whose send or reply answered DEAI_EAGAIN, takes parts again.
     [loop & started] */
  void (*on_drain)(deai_inst *inst, uint64_t ticket);

  /* on_cancel says that the caller of a call served is gone or its time is up (status). The plug-in
     stops the work and still ends the call once; nobody reads it. [loop & started] */
  void (*on_cancel)(deai_inst *inst, uint64_t ticket, int32_t status);

  /* on_update brings a ledger update or a topic of the manifest's subscriptions. [loop & started]
     */
  void (*on_update)(deai_inst *inst, deai_str topic, deai_bytes value);
} deai_plugin;

/* Frozen for ever: the only layout that both sides take for granted. */
typedef struct deai_hello {
  uint32_t magic;       /* in: DEAI_MAGIC */
  uint32_t struct_size; /* in: sizeof, as the host compiled it */
  uint16_t host_major;  /* in: what the host speaks */
  uint16_t host_minor;
  uint16_t need_major; /* out: the least that the plug-in accepts */
  uint16_t need_minor;
  const deai_plugin *plugin; /* out: static table, valid for the life of the process */
  char *err;                 /* in: where the reason for a refusal goes */
  uint32_t err_cap;
  uint32_t reserved;
} deai_hello;

/* deai_plugin_entry is the one exported symbol of a plug-in: it checks magic and version, fills
   need_... and plugin and returns 0, or returns a negative deai_status and a reason in err. It
   touches no file, network or device. [loop] */
DEAI_EXPORT int32_t deai_plugin_entry(deai_hello *hello);

/* deai_hello_accept does what every deai_plugin_entry does: refuses a wrong magic, a smaller
   struct or a host below the version the plug-in was compiled with, and else hands over plugin. */
int32_t deai_hello_accept(deai_hello *hello, const deai_plugin *plugin);

/* deai_err writes a reason into err like snprintf and returns status, so that a refusal is one
   statement: return deai_err(err, cap, DEAI_EINVAL, "expected ..., found ...; ..."). [any] */
int32_t deai_err(char *err, uint32_t err_cap, int32_t status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* DEAI_MANIFEST_FILE("manifest.json") embeds the manifest into the ELF note that the host reads
   without running any code (owner "deai", type 1). Once per plug-in, at file scope. */
#define DEAI_MANIFEST_FILE(path)                                                                   \
  __asm__(".pushsection .note.deai,\"a\",@note\n"                                                  \
          ".balign 4\n"                                                                            \
          ".long 5, 2f-1f, 1\n"                                                                    \
          ".asciz \"deai\"\n"                                                                      \
          ".balign 4\n"                                                                            \
          "1: .incbin \"" path "\"\n"                                                              \
          "2: .balign 4\n"                                                                         \
          ".popsection\n")

#ifdef __cplusplus
}
#endif

#endif
