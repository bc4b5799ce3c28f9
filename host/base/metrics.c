#include "metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "banned.h"

#define NAME_BYTES 64u

typedef struct number {
  char plugin[NAME_BYTES + 1];
  char name[NAME_BYTES + 1];
  uint64_t value;
} number;

struct deai_metrics {
  pthread_mutex_t lock;
  uint32_t count;
  number items[DEAI_METRICS_MAX];
};

deai_metrics *deai_metrics_new(void) {
  deai_metrics *metrics = calloc(1, sizeof *metrics);
  if (metrics != NULL) (void)pthread_mutex_init(&metrics->lock, NULL);
  return metrics;
}

static bool name_ok(const char *name) {
  size_t len = strlen(name);
  return len > 0 && len <= NAME_BYTES &&
         strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

static bool plugin_ok(const char *plugin) {
  return strlen(plugin) <= NAME_BYTES && strpbrk(plugin, "\"\\\n") == NULL;
}

void deai_metrics_set(deai_metrics *metrics, const char *plugin, const char *name, uint64_t value) {
  if (!name_ok(name) || !plugin_ok(plugin)) return;
  (void)pthread_mutex_lock(&metrics->lock);
  uint32_t at = 0;
  uint32_t own = 0; /* of this plug-in */
  for (; at < metrics->count; at++) {
    if (strcmp(metrics->items[at].plugin, plugin) != 0) continue;
    if (strcmp(metrics->items[at].name, name) == 0) break;
    own++;
  }
  if (at == metrics->count && at < DEAI_METRICS_MAX && own < DEAI_METRICS_PLUGIN_MAX) {
    (void)snprintf(metrics->items[at].plugin, NAME_BYTES + 1, "%s", plugin);
    (void)snprintf(metrics->items[at].name, NAME_BYTES + 1, "%s", name);
    metrics->count++;
  }
  if (at < metrics->count) metrics->items[at].value = value;
  (void)pthread_mutex_unlock(&metrics->lock);
}

char *deai_metrics_text(deai_metrics *metrics) {
  size_t cap = (size_t)DEAI_METRICS_MAX * 200 + 1;
  char *text = malloc(cap);
  size_t len = 0;
  if (text == NULL) return NULL;
  text[0] = 0;
  (void)pthread_mutex_lock(&metrics->lock);
  for (uint32_t i = 0; i < metrics->count && len < cap; i++) {
    const number *item = &metrics->items[i];
    len += (size_t)snprintf(text + len, cap - len, "deai_%s{plugin=\"%s\"} %" PRIu64 "\n",
                            item->name, item->plugin, item->value);
  }
  (void)pthread_mutex_unlock(&metrics->lock);
  return text;
}

void deai_metrics_each(deai_metrics *metrics, deai_metrics_row *each, void *user) {
  (void)pthread_mutex_lock(&metrics->lock);
  for (uint32_t i = 0; i < metrics->count; i++)
    each(user, metrics->items[i].plugin, metrics->items[i].name, metrics->items[i].value);
  (void)pthread_mutex_unlock(&metrics->lock);
}

void deai_metrics_free(deai_metrics *metrics) {
  if (metrics == NULL) return;
  (void)pthread_mutex_destroy(&metrics->lock);
  free(metrics);
}
