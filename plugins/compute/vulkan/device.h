#ifndef DEAI_PLUGINS_COMPUTE_VULKAN_DEVICE_H
#define DEAI_PLUGINS_COMPUTE_VULKAN_DEVICE_H

#include "plugins/compute/lm/error.h"

#include "deai/types.h"

#include <stdbool.h>
#include <stdint.h>
#include <vulkan/vulkan.h>

/* One Vulkan device with what the backend needs of it: memory, one queue, the pipelines.

   The device is the best by kind (a card of its own, then one inside the processor, virtual ones,
   and last a driver that computes on the processor), or the one the setting names. It must know
   Vulkan 1.2 with bufferDeviceAddress and, for 32-bit floats, round to nearest even and keep the
   sign of zero when a shader asks for it (arithmetic.md N2). Nothing else is asked for: no 8-bit
   or 16-bit types, no 64-bit integers, no integer dot products, no subgroup operations.

   Threads  One at a time.
   Memory   Every lm_vk_buffer has an allocation of its own.
   Limits   LM_VK_WAIT_S seconds for one submission.
   Caveats  After DEAI_EIO the device may be lost: close everything. */

#define LM_VK_WAIT_S  600u
#define LM_VK_SETS    3u
#define LM_VK_STAGING (16u << 20)
#define LM_VK_TEXEL   16u /* bytes of a texel of every view */

typedef enum lm_vk_place {
  LM_VK_LOCAL,  /* memory of the device: storage, texels, source and target of copies, address */
  LM_VK_SHARED, /* mapped for host and device: storage, source and target of copies */
} lm_vk_place;

typedef struct lm_vk_buffer {
  VkBuffer buffer;
  VkDeviceMemory memory;
  VkDeviceAddress address; /* LM_VK_LOCAL */
  void *mapped;            /* LM_VK_SHARED */
  uint64_t bytes;
} lm_vk_buffer;

typedef enum lm_vk_shader {
  LM_VK_EMBED,
  LM_VK_MATMUL,
  LM_VK_ATTEND,
  LM_VK_SHADER_COUNT
} lm_vk_shader;

/* The constants of a pipeline, in the order of their ids in shaders/job.glsl. */
typedef struct lm_vk_constants {
  uint32_t split; /* invocations that share the blocks of a row */
  uint32_t kind;
  uint32_t format;
  uint32_t columns;
  uint32_t head_dim;
  uint32_t lanes; /* invocations of an attention head */
} lm_vk_constants;

typedef struct lm_vk_device {
  VkInstance instance;
  VkPhysicalDevice physical;
  VkPhysicalDeviceProperties properties;
  VkPhysicalDeviceMemoryProperties memory;
  uint32_t family;
  VkDevice device;
  VkQueue queue;
  VkCommandPool pool;
  VkCommandBuffer commands;
  VkFence fence;
  VkDescriptorSetLayout set_layouts[LM_VK_SETS];
  VkPipelineLayout layout;
  VkShaderModule shaders[LM_VK_SHADER_COUNT];
  lm_vk_buffer staging;
  bool on_processor; /* the driver computes on the processor's cores */
} lm_vk_device;

/* lm_vk_open chooses by name (NULL or "" = the best, digits = index, else part of a name without
   regard to case) and opens a device. push_bytes is the size of the push constants.
   DEAI_EUNSUPPORTED when there is none or it lacks something, by name; DEAI_ENOMEM, DEAI_EIO. */
DEAI_MUST_CHECK int32_t lm_vk_open(const char *name, uint32_t push_bytes, lm_vk_device *device,
                                   lm_error *error);

/* lm_vk_close frees all of it; an empty lm_vk_device is fine. */
void lm_vk_close(lm_vk_device *device);

/* lm_vk_status turns a VkResult into a status: DEAI_ENOMEM, DEAI_EIO (lost, or no answer), ... */
int32_t lm_vk_status(VkResult result);

/* lm_vk_buffer_open makes a buffer of bytes (> 0). DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t lm_vk_buffer_open(lm_vk_device *device, uint64_t bytes, lm_vk_place place,
                                          lm_vk_buffer *buffer);

/* lm_vk_buffer_close frees it; an empty one is fine. */
void lm_vk_buffer_close(lm_vk_device *device, lm_vk_buffer *buffer);

/* lm_vk_upload copies bytes into buffer at offset, both multiples of 4. */
DEAI_MUST_CHECK int32_t lm_vk_upload(lm_vk_device *device, const lm_vk_buffer *buffer,
                                     uint64_t offset, const void *bytes, uint64_t count);

/* lm_vk_view_open makes a view of texels; floating tells whether these are 4 floats or 4 uints.
   DEAI_EUNSUPPORTED when the device takes fewer texels in one view. */
DEAI_MUST_CHECK int32_t lm_vk_view_open(lm_vk_device *device, const lm_vk_buffer *buffer,
                                        uint64_t offset, uint64_t bytes, bool floating,
                                        VkBufferView *view_out);

/* lm_vk_pipeline_open makes a pipeline of shader. */
DEAI_MUST_CHECK int32_t lm_vk_pipeline_open(lm_vk_device *device, lm_vk_shader shader,
                                            const lm_vk_constants *constants,
                                            VkPipeline *pipeline_out);

/* lm_vk_begin starts recording the command buffer of the device. */
DEAI_MUST_CHECK int32_t lm_vk_begin(lm_vk_device *device);

/* lm_vk_finish ends it, submits it and waits for its end. */
DEAI_MUST_CHECK int32_t lm_vk_finish(lm_vk_device *device);

/* lm_vk_shader_code returns the SPIR-V words of shader and their number. [any] */
const uint32_t *lm_vk_shader_code(lm_vk_shader shader, size_t *count_out);

#endif
