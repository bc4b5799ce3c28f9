#ifndef DEAI_HOST_BASE_LOG_H
#define DEAI_HOST_BASE_LOG_H

#include <stdint.h>

/* The log of a process: one line an event, on stderr, as text or JSON.

   text   2026-01-31T12:00:00.123Z INFO  net: member barn connected
   json   {"t":"2026-01-31T12:00:00.123Z","level":"info","part":"net","text":"..."}

   Threads  [any]
   Limits   A line is at most DEAI_LOG_LINE_MAX bytes; control characters are escaped.
   Caveats  Prompts, answers, keys and codes never go into a log. */

#define DEAI_LOG_LINE_MAX 4096

typedef enum deai_log_level {
  DEAI_LEVEL_ERROR = 0,
  DEAI_LEVEL_WARN = 1,
  DEAI_LEVEL_INFO = 2,
  DEAI_LEVEL_DEBUG = 3
} deai_log_level;

/* deai_log_setup sets the least important level that is written, and the format. Before it: INFO
   as text. Called once at start. */
void deai_log_setup(deai_log_level level, int json);

/* deai_log_sink sends lines to sink instead of stderr (a child sends them to its host); NULL
   restores stderr. */
typedef void deai_log_sink_fn(void *user, deai_log_level level, const char *text);
void deai_log_sink(deai_log_sink_fn *sink, void *user);

/* deai_log writes one line about part ("net", "plugin storage/blocks", ...). */
void deai_log(deai_log_level level, const char *part, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* deai_log_level_of reads "error", "warn", "info" or "debug"; -1 for anything else. */
int deai_log_level_of(const char *name);

#endif
