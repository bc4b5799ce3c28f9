/* The main program of a fuzz target in an ordinary build: feeds every file of the folders given as
   arguments to the target once, so that `meson test` replays the corpus under the sanitizers. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/base/banned.h"

#define INPUT_BYTES_MAX (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    perror(path);
    return 1;
  }
  /* exactly as long as the input, so that a read behind its end is seen */
  struct stat info;
  if (fstat(fileno(file), &info) != 0 || info.st_size > INPUT_BYTES_MAX) {
    (void)fprintf(stderr, "%s: expected at most %u bytes\n", path, INPUT_BYTES_MAX);
    (void)fclose(file);
    return 1;
  }
  size_t size = (size_t)info.st_size;
  uint8_t *data = malloc(size + (size == 0));
  if (data == NULL || fread(data, 1, size, file) != size) {
    perror(path);
    exit(2);
  }
  (void)fclose(file);
  (void)LLVMFuzzerTestOneInput(data, size);
  free(data);
  return 0;
}

static int replay_folder(const char *folder, size_t *count) {
  DIR *dir = opendir(folder);
  struct dirent *entry;
  int failed = 0;
  if (dir == NULL) {
    perror(folder);
    return 1;
  }
  while ((entry = readdir(dir)) != NULL) {
    char path[4096];
    if (entry->d_name[0] == '.') continue;
    (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    failed |= replay_file(path);
    (*count)++;
  }
  (void)closedir(dir);
  return failed;
}

int main(int argc, char **argv) {
  size_t count = 0;
  int failed = 0;
  for (int i = 1; i < argc; i++)
    failed |= replay_folder(argv[i], &count);
  printf("%zu inputs replayed\n", count);
  return failed != 0 || count == 0;
}
