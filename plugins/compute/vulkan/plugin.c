/* compute/vulkan: deai.lm/1 on Vulkan devices. All of it is the service of compute/lm over this
   device. */
#include "vulkan.h"

#include "plugins/compute/lm/service.h"

#include "host/base/banned.h"

DEAI_MANIFEST_FILE("manifest.json");

static int32_t create(const deai_host *host, deai_ctx *ctx, deai_bytes settings,
                      deai_inst **inst_out, char *err, uint32_t err_cap) {
  return lm_service_create(lm_vulkan_backend(), host, ctx, settings, inst_out, err, err_cap);
}

static const deai_plugin plugin = {.size = (uint32_t)sizeof(deai_plugin),
                                   .create = create,
                                   .start = lm_service_start,
                                   .stop = lm_service_stop,
                                   .destroy = lm_service_destroy,
                                   .on_call = lm_service_call,
                                   .on_part = lm_service_part,
                                   .on_drain = lm_service_drain,
                                   .on_cancel = lm_service_cancel};

int32_t deai_plugin_entry(deai_hello *hello) {
  return deai_hello_accept(hello, &plugin);
}
