#include "log.h"

#include "platform.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "banned.h"

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char *const level_text[] = {"ERROR", "WARN ", "INFO ", "DEBUG"};

static atomic_int log_level = DEAI_LEVEL_INFO;
static atomic_int log_json;
static deai_log_sink_fn *log_sink;
static void *log_sink_user;

void deai_log_setup(deai_log_level level, int json) {
  atomic_store(&log_level, (int)level);
  atomic_store(&log_json, json);
}

void deai_log_sink(deai_log_sink_fn *sink, void *user) {
  log_sink = sink;
  log_sink_user = user;
}

int deai_log_level_of(const char *name) {
  for (int i = 0; i < 4; i++) {
    if (strcmp(name, level_names[i]) == 0) return i;
  }
  return -1;
}

/* log_escape copies text without control characters; json also escapes quotes. */
static size_t log_escape(char *out, size_t cap, const char *text, bool json) {
  size_t len = 0;
  for (const char *at = text; *at != 0 && len + 7 < cap; at++) {
    unsigned char c = (unsigned char)*at;
    if (c < 0x20 || c == 0x7f) {
      len += (size_t)snprintf(out + len, cap - len, "\\u%04x", c);
    } else if (json && (c == '"' || c == '\\')) {
      out[len++] = '\\';
      out[len++] = (char)c;
    } else {
      out[len++] = (char)c;
    }
  }
  out[len] = 0;
  return len;
}

static void log_time(char out[40]) {
  uint64_t wall_ms = deai_wall_ms(deai_platform_system());
  time_t seconds = (time_t)(wall_ms / 1000);
  struct tm parts;
  (void)gmtime_r(&seconds, &parts);
  size_t len = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &parts);
  (void)snprintf(out + len, 40 - len, ".%03uZ", (unsigned)(wall_ms % 1000));
}

static void log_write(deai_log_level level, const char *part, const char *text) {
  char stamp[40];
  char safe[DEAI_LOG_LINE_MAX];
  char line[DEAI_LOG_LINE_MAX + 160];
  bool json = atomic_load(&log_json) != 0;
  log_time(stamp);
  (void)log_escape(safe, sizeof safe, text, json);
  int len =
      json ? snprintf(line, sizeof line,
                      "{\"t\":\"%s\",\"level\":\"%s\",\"part\":\"%.64s\",\"text\":\"%s\"}\n", stamp,
                      level_names[level], part, safe)
           : snprintf(line, sizeof line, "%s %s %.64s: %s\n", stamp, level_text[level], part, safe);
  if (len < 0) return;
  size_t size = (size_t)len < sizeof line ? (size_t)len : sizeof line - 1;
  ssize_t done = write(STDERR_FILENO, line, size);
  (void)done; /* nowhere else to say that stderr is gone */
}

void deai_log(deai_log_level level, const char *part, const char *format, ...) {
  if ((int)level > atomic_load(&log_level)) return;
  char text[DEAI_LOG_LINE_MAX];
  va_list list;
  va_start(list, format);
  (void)vsnprintf(text, sizeof text, format, list);
  va_end(list);
  if (log_sink != NULL) {
    log_sink(log_sink_user, level, text);
    return;
  }
  log_write(level, part, text);
}
