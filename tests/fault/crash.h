#ifndef DEAI_TESTS_FAULT_CRASH_H
#define DEAI_TESTS_FAULT_CRASH_H

#include "replay.h"

#include <stddef.h>

/* A crash test: the program runs itself under the recorder, makes images of what a crash would have
   left, and checks each in a process of its own. With its syncs taken away some image must break,
   or the test could not fail. */

#define FAULT_CRASH_WITHOUT 40 /* images without syncs */

typedef struct fault_crash {
  const char *name;
  const char *place; /* the folder, below the recorded root, that work is given */
  size_t images_least;
  /* work does, and promises on stdout, what check then looks for; the exit status */
  int (*work)(const char *folder);
  /* check opens the image in folder and looks for everything promised; an exit status. It runs in a
     child: without syncs the files may be damaged in ways that end a process. */
  int (*check)(const char *folder, const char *promises);
  /* forget chooses for image `number` without syncs how many calls were made, and returns which
     write of these is lost (fault_image.dropped) */
  size_t (*forget)(const fault_log *log, size_t number, size_t *calls_out);
} fault_crash;

/* fault_unsynced_writes counts the writes before `calls` that no sync has made durable when none
   counts. */
size_t fault_unsynced_writes(const fault_log *log, size_t calls);

/* fault_crash_main is main of such a program: NAME RECORDER.so. */
int fault_crash_main(const fault_crash *test, int argc, char **argv);

#endif
