#include "evidence.h"

#include "host/base/file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define PATH_BYTES_MAX 4096

int32_t deai_evidence_keep(const char *folder, uint64_t height, const uint8_t hash[DEAI_HASH_BYTES],
                           deai_bytes entry, char *err, uint32_t err_cap) {
  char path[PATH_BYTES_MAX];
  int used = snprintf(path, sizeof path, "%s/evidence", folder);
  if (used < 0 || used + 64 > PATH_BYTES_MAX) return DEAI_ETOOLARGE;
  int32_t status = deai_folder_make(path, 0700, err, err_cap);
  if (status != DEAI_OK) return status;
  used += snprintf(path + used, sizeof path - (size_t)used, "/%llu-", (unsigned long long)height);
  for (uint32_t i = 0; i < 8; i++)
    used += snprintf(path + used, sizeof path - (size_t)used, "%02x", hash[i]);
  (void)snprintf(path + used, sizeof path - (size_t)used, ".block");
  return deai_file_replace(path, entry, 0600, err, err_cap);
}

uint64_t deai_evidence_height(const char *folder) {
  char path[PATH_BYTES_MAX];
  uint64_t lowest = 0;
  if (deai_path_join(path, sizeof path, folder, "evidence") != DEAI_OK) return 0;
  DIR *list = opendir(path);
  if (list == NULL) return 0;
  for (const struct dirent *name = readdir(list); name != NULL; name = readdir(list)) {
    if (strstr(name->d_name, ".block") == NULL) continue;
    uint64_t height = strtoull(name->d_name, NULL, 10);
    if (height > 0 && (lowest == 0 || height < lowest)) lowest = height;
  }
  (void)closedir(list);
  return lowest;
}
