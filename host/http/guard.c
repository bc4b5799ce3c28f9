#include "guard.h"

#include <string.h>
#include <strings.h>

#include "host/base/banned.h"

/* host_part cuts the port off "name:port", "[v6]:port" or "v6". */
static deai_str host_part(const char *text) {
  deai_str whole = deai_str_of(text);
  if (text[0] == '[') {
    const char *end = strchr(text, ']');
    if (end == NULL || (end[1] != 0 && end[1] != ':')) return (deai_str){NULL, 0};
    return (deai_str){text + 1, (uint64_t)(end - text - 1)};
  }
  const char *colon = strchr(text, ':');
  if (colon == NULL) return whole;
  return (deai_str){text, (uint64_t)(colon - text)};
}

static bool same(deai_str a, deai_str b) {
  return a.len == b.len && a.len > 0 && strncasecmp(a.ptr, b.ptr, (size_t)a.len) == 0;
}

static bool loopback_v4(deai_str host) {
  uint32_t dots = 0;
  uint32_t digits = 0;
  if (host.len < 9 || host.len > 15 || memcmp(host.ptr, "127.", 4) != 0) return false;
  for (uint64_t i = 0; i < host.len; i++) {
    char c = host.ptr[i];
    if (c == '.') {
      if (digits == 0) return false;
      dots++;
      digits = 0;
    } else if (c >= '0' && c <= '9') {
      if (++digits > 3) return false;
    } else {
      return false;
    }
  }
  return dots == 3 && digits > 0;
}

static bool known(const deai_guard *guard, deai_str host) {
  if (same(host, deai_str_of("localhost")) || same(host, deai_str_of("::1"))) return true;
  if (loopback_v4(host) || same(host, guard->listen_host)) return true;
  for (uint32_t i = 0; i < guard->host_count; i++) {
    if (same(host, guard->hosts[i])) return true;
  }
  return false;
}

bool deai_guard_host(const deai_guard *guard, const char *header) {
  return header != NULL && known(guard, host_part(header));
}

bool deai_guard_origin(const deai_guard *guard, const char *header) {
  if (header == NULL) return true;
  const char *host = NULL;
  if (strncasecmp(header, "http://", 7) == 0) host = header + 7;
  if (strncasecmp(header, "https://", 8) == 0) host = header + 8;
  return host != NULL && known(guard, host_part(host));
}
