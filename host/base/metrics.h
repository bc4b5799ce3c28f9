#ifndef DEAI_HOST_BASE_METRICS_H
#define DEAI_HOST_BASE_METRICS_H

#include <stdint.h>

/* Numbers for /metrics: the last value of each (plug-in, name), in the text form of Prometheus.

   Threads  [any]; locked inside
   Limits   DEAI_METRICS_PLUGIN_MAX numbers a plug-in, so that none takes the room of others, and
            DEAI_METRICS_MAX in all; names are [a-z0-9_]; what is beyond or other is dropped */

#define DEAI_METRICS_MAX        2112u
#define DEAI_METRICS_PLUGIN_MAX 64u

typedef struct deai_metrics deai_metrics;

/* deai_metrics_new makes an empty set; NULL when memory is refused. */
deai_metrics *deai_metrics_new(void);

/* deai_metrics_set keeps value as deai_<name>{plugin="..."}. */
void deai_metrics_set(deai_metrics *metrics, const char *plugin, const char *name, uint64_t value);

/* deai_metrics_text returns all as fresh text (free it), or NULL. */
char *deai_metrics_text(deai_metrics *metrics);

/* deai_metrics_each calls each for every number; each must not call back into metrics. */
typedef void deai_metrics_row(void *user, const char *plugin, const char *name, uint64_t value);
void deai_metrics_each(deai_metrics *metrics, deai_metrics_row *each, void *user);

/* deai_metrics_free frees it; NULL is allowed. */
void deai_metrics_free(deai_metrics *metrics);

#endif
