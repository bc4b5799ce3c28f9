#ifndef DEAI_TESTS_FAULT_REPLAY_H
#define DEAI_TESTS_FAULT_REPLAY_H

#include "tests/fault/log.h"

#include <stdbool.h>
#include <stddef.h>

/* Crash images out of a recorder's log: folders as a crash could have left them.

   The model is the strict one of POSIX. A write or change of size is durable once the same file was
   synced (or at once through an O_DSYNC descriptor); a name (create, rename, link, unlink, mkdir)
   is durable once the folder that holds it was synced. Of the rest any part may be missing after a
   crash, in any order, and the last write may be torn at any byte.

     fault_log_read -> fault_images_choose -> for each: fault_image_make, open it, compare with
                                               fault_promises -> fault_log_free

   Threads  one. Memory  the log is held as a whole. */

typedef struct fault_log fault_log;

/* fault_log_read reads the log; NULL, with the reason on stderr, when it is none. */
fault_log *fault_log_read(const char *path);
void fault_log_free(fault_log *log);

/* fault_log_count returns the calls in the log, marks and syncs among them. */
size_t fault_log_count(const fault_log *log);

/* fault_promises returns what the program had written to its standard output before call `calls`,
   and its length. */
const char *fault_promises(const fault_log *log, size_t calls, size_t *len_out);

typedef struct fault_image {
  size_t calls;   /* made before the crash */
  size_t kept;    /* of those that are not durable the first `kept` reached the disk */
  size_t torn;    /* bytes of the last of these, if it is a write; SIZE_MAX = whole */
  size_t dropped; /* one of these that did not, by its number; SIZE_MAX = none */
  bool no_syncs;  /* pretend that no sync was made: what a broken program would leave */
} fault_image;

/* fault_unsynced counts the calls before `calls` that are not durable then. */
size_t fault_unsynced(const fault_log *log, size_t calls, bool no_syncs);

/* fault_unsynced_write returns the number, for fault_image.dropped, of the n-th write among the
   calls before `calls` that are not durable then; SIZE_MAX when there are not so many. */
size_t fault_unsynced_write(const fault_log *log, size_t calls, bool no_syncs, size_t n);

/* fault_images_choose fills images with up to max of the crash states, spread evenly over the log:
   after every call all of its effects, only the durable ones, half of the others, all but the first
   of the others, and the last write torn at 512 bytes and at an odd place. Returns the count. */
size_t fault_images_choose(const fault_log *log, fault_image *images, size_t max);

/* fault_image_make writes the image into folder, which must not exist; false with the reason on
   stderr. */
bool fault_image_make(const fault_log *log, const fault_image *image, const char *folder);

/* fault_image_text describes the image for messages. */
void fault_image_text(const fault_image *image, char out[160]);

/* fault_remove removes a folder and all in it. */
void fault_remove(const char *folder);

#endif
