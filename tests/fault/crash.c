#include "crash.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/base/banned.h"

#define IMAGES_MAX 600

static int check_here(const fault_crash *test, const char *folder, const char *promises,
                      bool quiet) {
  if (quiet) {
    int null = open("/dev/null", O_WRONLY);
    if (null < 0 || dup2(null, 2) < 0) return 2;
  }
  return test->check(folder, promises);
}

static bool image_holds(const fault_crash *test, const fault_log *log, const fault_image *image,
                        const char *folder, bool quiet) {
  size_t len;
  const char *text = fault_promises(log, image->calls, &len);
  char *promises = strndup(text, len);
  if (promises == NULL || !fault_image_make(log, image, folder)) exit(2);
  pid_t child = fork();
  if (child == 0) _exit(check_here(test, folder, promises, quiet));
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) exit(2);
  free(promises);
  fault_remove(folder);
  bool holds = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (!holds && !quiet) {
    char about[160];
    fault_image_text(image, about);
    (void)fprintf(stderr, "image broken: %s (status %d)\n", about, status);
  }
  return holds;
}

static int record(const fault_crash *test, const char *recorder, const char *root,
                  const char *log) {
  static const char self[] = "/proc/self/exe";
  char folder[4200];
  (void)snprintf(folder, sizeof folder, "%s/%s", root, test->place);
  pid_t child = fork();
  if (child == 0) {
    const char *options = getenv("ASAN_OPTIONS");
    char more[512];
    (void)snprintf(more, sizeof more, "%s:verify_asan_link_order=0", options ? options : "");
    (void)setenv("ASAN_OPTIONS", more, 1);
    (void)setenv("DEAI_RECORD_ROOT", root, 1);
    (void)setenv("DEAI_RECORD_LOG", log, 1);
    (void)setenv("LD_PRELOAD", recorder, 1);
    int null = open("/dev/null", O_WRONLY);
    if (null < 0 || dup2(null, 1) < 0) _exit(2);
    (void)execl(self, self, "--work", folder, (char *)NULL);
    _exit(2);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return 2;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}

static size_t check_crashes(const fault_crash *test, const fault_log *log, const char *folder,
                            size_t *broken_out) {
  static fault_image images[IMAGES_MAX];
  size_t count = fault_images_choose(log, images, IMAGES_MAX);
  for (size_t i = 0; i < count; i++)
    *broken_out += !image_holds(test, log, &images[i], folder, false);
  return count;
}

static size_t check_without_syncs(const fault_crash *test, const fault_log *log,
                                  const char *folder) {
  size_t broken = 0;
  for (size_t i = 0; i < FAULT_CRASH_WITHOUT; i++) {
    fault_image image = {.kept = SIZE_MAX, .torn = SIZE_MAX, .no_syncs = true};
    image.dropped = test->forget(log, i, &image.calls);
    broken += !image_holds(test, log, &image, folder, true);
  }
  return broken;
}

size_t fault_unsynced_writes(const fault_log *log, size_t calls) {
  size_t writes = 0;
  while (fault_unsynced_write(log, calls, true, writes) != SIZE_MAX)
    writes++;
  return writes;
}

/* in memory where that is possible: what is tested is the order of calls, not this disk */
static const char *scratch_folder(void) {
  if (getenv("TMPDIR") != NULL) return getenv("TMPDIR");
  return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
}

int fault_crash_main(const fault_crash *test, int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "--work") == 0) return test->work(argv[2]);
  if (argc != 2) {
    (void)fprintf(stderr, "usage: %s RECORDER.so\n", test->name);
    return 2;
  }
  char base[4096], root[4110], log_path[4110], image[4110];
  (void)snprintf(base, sizeof base, "%s/deai-crash-XXXXXX", scratch_folder());
  if (mkdtemp(base) == NULL) return 2;
  (void)snprintf(root, sizeof root, "%s/root", base);
  (void)snprintf(log_path, sizeof log_path, "%s/log", base);
  (void)snprintf(image, sizeof image, "%s/image", base);
  int status = 2;
  size_t broken = 0;
  if (mkdir(root, 0700) == 0) status = record(test, argv[1], root, log_path);
  fault_log *log = status == 0 ? fault_log_read(log_path) : NULL;
  if (log != NULL) {
    size_t images = check_crashes(test, log, image, &broken);
    size_t without = check_without_syncs(test, log, image);
    printf("%s: %zu calls, %zu images, %zu broken; without syncs %zu of %d broken\n", test->name,
           fault_log_count(log), images, broken, without, FAULT_CRASH_WITHOUT);
    status = images >= test->images_least && broken == 0 && without > 0 ? 0 : 1;
  }
  fault_log_free(log);
  fault_remove(base);
  return status;
}
