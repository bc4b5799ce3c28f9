#include "deai/host.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 4096

int32_t deai_err(char *err, uint32_t err_cap, int32_t status, const char *format, ...) {
  if (err == NULL || err_cap == 0) return status;
  va_list list;
  va_start(list, format);
  (void)vsnprintf(err, err_cap, format, list);
  va_end(list);
  return status;
}

int32_t deai_hello_accept(deai_hello *hello, const deai_plugin *plugin) {
  if (hello == NULL || hello->magic != DEAI_MAGIC) return DEAI_EVERSION;
  if (hello->struct_size < sizeof *hello) return DEAI_EVERSION;
  hello->need_major = DEAI_ABI_MAJOR;
  hello->need_minor = DEAI_ABI_MINOR;
  if (hello->host_major != DEAI_ABI_MAJOR || hello->host_minor < DEAI_ABI_MINOR)
    return deai_err(hello->err, hello->err_cap, DEAI_EVERSION,
                    "expected a host with SDK %u.%u or newer, found %u.%u; update deai",
                    DEAI_ABI_MAJOR, DEAI_ABI_MINOR, (unsigned)hello->host_major,
                    (unsigned)hello->host_minor);
  hello->plugin = plugin;
  return DEAI_OK;
}

void deai_text(const deai_host *host, deai_ctx *ctx, int32_t level, const char *format, ...) {
  char line[LINE_MAX_BYTES];
  va_list list;
  va_start(list, format);
  (void)vsnprintf(line, sizeof line, format, list);
  va_end(list);
  host->log(ctx, level, deai_str_of(line));
}

int32_t deai_reply_end(const deai_host *host, deai_ctx *ctx, uint64_t ticket, int32_t status,
                       deai_bytes args, const char *format, ...) {
  char why[DEAI_ERR_CAP] = "";
  deai_part part;
  memset(&part, 0, sizeof part);
  if (format != NULL) {
    va_list list;
    va_start(list, format);
    (void)vsnprintf(why, sizeof why, format, list);
    va_end(list);
  }
  part.size = (uint32_t)sizeof part;
  part.flags = DEAI_PART_END;
  part.attachment = -1;
  part.status = status;
  part.args = args;
  part.why = deai_str_of(why);
  return host->reply(ctx, ticket, &part);
}
