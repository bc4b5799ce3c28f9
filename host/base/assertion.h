#ifndef DEAI_HOST_BASE_ASSERTION_H
#define DEAI_HOST_BASE_ASSERTION_H

/* Assertions for programmer errors, always on. Never used on bytes from a peer, a disk, a plug-in
   or a config file: those get an answer. */

/* deai_assertion_failed writes file, line and condition to stderr and aborts. [any] */
_Noreturn void deai_assertion_failed(const char *file, int line, const char *condition);

#define DEAI_ASSERT(condition)                                                                     \
  ((condition) ? (void)0 : deai_assertion_failed(__FILE__, __LINE__, #condition))

#endif
