#ifndef DEAI_STATUS_H
#define DEAI_STATUS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A deai_status is the answer of every fallible function: 0 or one negative number.

   The numbers mean the same in C, on the wire and in a receipt; they are never renumbered
   (docs/formats.md 4). One list yields the enum, the text, the HTTP status and the exit code
   of the command line.

   Caveats  DEAI_EAGAIN is no answer to a call: it is the back-pressure of send and reply. */

/*        name            number HTTP exit  text */
#define DEAI_STATUS_LIST(X)                                                                        \
  X(OK, 0, 200, 0, "done")                                                                         \
  X(EINVAL, -1, 400, 2, "input breaks its format or a limit")                                      \
  X(ENOMEM, -2, 503, 1, "not enough memory")                                                       \
  X(EAGAIN, -3, 503, 10, "full or empty now, nothing changed")                                     \
  X(ENOTFOUND, -4, 404, 5, "not found")                                                            \
  X(EDENIED, -5, 403, 6, "not allowed for this caller")                                            \
  X(ETOOLARGE, -6, 413, 2, "larger than its limit")                                                \
  X(EBUSY, -7, 429, 10, "too much work waits, try again later")                                    \
  X(ETIMEDOUT, -8, 504, 10, "time is up")                                                          \
  X(ECANCELLED, -9, 499, 1, "cancelled")                                                           \
  X(EPLUGIN_DIED, -10, 502, 7, "the plug-in ended")                                                \
  X(EPEER_LOST, -11, 502, 7, "the connection to the member was lost")                              \
  X(ELOCALONLY, -12, 501, 1, "only possible on the node itself")                                   \
  X(EUNSUPPORTED, -13, 501, 1, "not supported")                                                    \
  X(EPAYMENT, -14, 402, 8, "payment needed")                                                       \
  X(EVERIFY, -15, 502, 9, "verification failed")                                                   \
  X(EFULL, -16, 507, 1, "disk or quota is full")                                                   \
  X(EIO, -17, 500, 1, "input or output failed")                                                    \
  X(EVERSION, -18, 426, 14, "versions do not fit")                                                 \
  X(ENOPROVIDER, -19, 503, 7, "no node can serve it now")                                          \
  X(EINTERNAL, -20, 500, 1, "internal error")

#define DEAI_STATUS_ENUM_(name, number, http, code, text) DEAI_##name = (number),
typedef enum deai_status { DEAI_STATUS_LIST(DEAI_STATUS_ENUM_) DEAI_STATUS_MIN = -20 } deai_status;

/* DEAI_MUST_CHECK makes the compiler refuse a caller that drops the answer. */
#if defined(__GNUC__)
#define DEAI_MUST_CHECK __attribute__((warn_unused_result))
#else
#define DEAI_MUST_CHECK
#endif

/* deai_status_name returns "EBUSY" for -7; "UNKNOWN" for a number that is not in the list. [any] */
const char *deai_status_name(int32_t status);

/* deai_status_text returns one short sentence without a full stop. [any] */
const char *deai_status_text(int32_t status);

/* deai_status_http returns the HTTP status code; 500 for an unknown number. [any] */
int32_t deai_status_http(int32_t status);

/* deai_status_exit returns the exit code of the command line; 1 for an unknown number. [any] */
int32_t deai_status_exit(int32_t status);

#ifdef __cplusplus
}
#endif

#endif
