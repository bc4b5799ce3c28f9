#ifndef DEAI_HOST_H
#define DEAI_HOST_H

#include "deai/plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

/* deai_host is what a plug-in may ask of the process it lives in: the same table in deaid and in a
   deai-plughost child.

   Threads  As tagged. A function called on another thread or in another state answers
            DEAI_EDENIED, is logged with the plug-in's name, and does nothing.
   Memory   Arguments are borrowed until return. */

/* Levels of log; the host writes at most 4 KiB a line and 100 lines a second a plug-in. */
enum { DEAI_LOG_ERROR = 0, DEAI_LOG_WARN = 1, DEAI_LOG_INFO = 2, DEAI_LOG_DEBUG = 3 };

struct deai_host {
  uint32_t size;
  uint32_t reserved;

  /* log writes one line. Never prompts, keys or other secrets. [any] */
  void (*log)(deai_ctx *ctx, int32_t level, deai_str text);

  /* post runs call once on the loop, unless stop comes first. DEAI_EAGAIN when 4,096 wait. [any] */
  int32_t (*post)(deai_ctx *ctx, void (*call)(deai_inst *inst, void *user), void *user);

  /* after runs call once on the loop, delay_ms from now, unless stop comes first. [loop & started]
     */
  int32_t (*after)(deai_ctx *ctx, uint64_t delay_ms, void (*call)(deai_inst *inst, void *user),
                   void *user);

  /* run does work on a worker thread and then done on the loop; for jobs under 50 ms. work must
     not touch the instance. After stop done is not called; stop waits for running work.
     [loop & started] */
  int32_t (*run)(deai_ctx *ctx, void (*work)(void *user), void (*done)(deai_inst *inst, void *user),
                 void *user);

  /* call starts a call; its answer comes through on_part. Returns DEAI_EDENIED for a service that
     the manifest does not need and DEAI_EBUSY when 256 calls are open. Everything else, also "no
     provider", arrives as the END. first may carry DEAI_PART_END. [loop & started] */
  int32_t (*call)(deai_ctx *ctx, const deai_call_options *options, const deai_part *first,
                  uint64_t *ticket_out);

  /* send sends a later part of a call made. DEAI_EAGAIN: the window or the voucher is used up,
     nothing changed, wait for on_drain. A ticket that is over answers DEAI_ENOTFOUND: drop it.
     [loop & started] */
  int32_t (*send)(deai_ctx *ctx, uint64_t ticket, const deai_part *part);

  /* reply answers a call served; otherwise as send. A part that ends the call is always taken.
     [loop & started] */
  int32_t (*reply)(deai_ctx *ctx, uint64_t ticket, const deai_part *part);

  /* cancel gives up a call made: its END still comes, with DEAI_ECANCELLED. [loop & started] */
  void (*cancel)(deai_ctx *ctx, uint64_t ticket);

  /* submit proposes ledger operations (CBOR list of op); the host checks that the manifest names
     their types, signs with the node key within its daily cap, and answers as deai.ledger/1 submit
     does, through on_part. [loop & started] */
  int32_t (*submit)(deai_ctx *ctx, deai_bytes ops, uint64_t *ticket_out);

  /* query reads the ledger state (CBOR ledger_query); the answer is deai.ledger/1 query's.
     [loop & started] */
  int32_t (*query)(deai_ctx *ctx, deai_bytes query, uint64_t *ticket_out);

  /* buffer makes a counted buffer of len bytes (at most DEAI_BODY_MAX) with one owner, the caller;
     buffer_keep adds an owner, buffer_drop removes one. [any] */
  int32_t (*buffer)(deai_ctx *ctx, uint64_t len, deai_buffer **buffer_out);
  void (*buffer_keep)(deai_ctx *ctx, deai_buffer *buffer);
  void (*buffer_drop)(deai_ctx *ctx, deai_buffer *buffer);

  /* describe replaces what this plug-in offers besides its manifest: args of its services for the
     node record (CBOR of the service's offer, e.g. lm_offer). [loop & started] */
  int32_t (*describe)(deai_ctx *ctx, deai_str service, deai_bytes offer);

  /* count sets a gauge or counter `deai_<name>` of this plug-in in /metrics. [any] */
  void (*count)(deai_ctx *ctx, const char *name, uint64_t value);

  /* folder returns the plug-in's own folder, absolute, writable. [loop & created] */
  deai_str (*folder)(deai_ctx *ctx);

  /* get_interface returns the sized table of an optional interface, e.g. "deai.host.kv/1", or
     NULL. [loop & created] */
  const void *(*get_interface)(deai_ctx *ctx, const char *id);
};

/* deai_text logs a formatted line; a helper over host->log. [any] */
void deai_text(const deai_host *host, deai_ctx *ctx, int32_t level, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* deai_reply_end ends a served call: args may be empty, format may be NULL when status is 0.
   [loop & started] */
int32_t deai_reply_end(const deai_host *host, deai_ctx *ctx, uint64_t ticket, int32_t status,
                       deai_bytes args, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

#ifdef __cplusplus
}
#endif

#endif
