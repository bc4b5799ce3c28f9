#ifndef DEAI_PLUGINS_COMPUTE_VULKAN_VULKAN_H
#define DEAI_PLUGINS_COMPUTE_VULKAN_VULKAN_H

#include "plugins/compute/lm/backend.h"

/* The backend for Vulkan devices: cards, and the processor through lavapipe of Mesa. It gives the
   same bits as the portable C kernels of compute/cpu. config.device picks the device (device.h),
   config.threads is ignored: the driver decides.

   Threads  As backend.h says; the driver has threads of its own.
   Memory   Weights on the device are as large as in the file, scales as floats (20 % more for Q4_1,
            11 % for Q4_0, 6 % for Q8_0). Mesa keeps compiled shaders in $MESA_SHADER_CACHE_DIR,
            which for a plug-in in a child is its own folder. */

/* lm_vulkan_backend returns the table of the backend; constant. [any] */
const lm_backend_ops *lm_vulkan_backend(void);

#endif
