#include "device.h"

#include <ctype.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define DEVICES_MAX  16u
#define FAMILIES_MAX 32u

static const uint32_t embed_code[] =
#include "embed.spv.h"
    ;
static const uint32_t matmul_code[] =
#include "matmul.spv.h"
    ;
static const uint32_t attend_code[] =
#include "attend.spv.h"
    ;

const uint32_t *lm_vk_shader_code(lm_vk_shader shader, size_t *count_out) {
  static const struct {
    const uint32_t *words;
    size_t count;
  } table[LM_VK_SHADER_COUNT] = {
      [LM_VK_EMBED] = {embed_code, sizeof embed_code / sizeof embed_code[0]},
      [LM_VK_MATMUL] = {matmul_code, sizeof matmul_code / sizeof matmul_code[0]},
      [LM_VK_ATTEND] = {attend_code, sizeof attend_code / sizeof attend_code[0]}};
  *count_out = table[shader].count;
  return table[shader].words;
}

int32_t lm_vk_status(VkResult result) {
  switch (result) {
  case VK_SUCCESS:
    return DEAI_OK;
  case VK_ERROR_OUT_OF_HOST_MEMORY:
  case VK_ERROR_OUT_OF_DEVICE_MEMORY:
  case VK_ERROR_OUT_OF_POOL_MEMORY:
  case VK_ERROR_TOO_MANY_OBJECTS:
    return DEAI_ENOMEM;
  case VK_ERROR_INCOMPATIBLE_DRIVER:
  case VK_ERROR_FEATURE_NOT_PRESENT:
  case VK_ERROR_EXTENSION_NOT_PRESENT:
  case VK_ERROR_FORMAT_NOT_SUPPORTED:
    return DEAI_EUNSUPPORTED;
  default:
    return DEAI_EIO; /* lost, no answer in time, or what cannot happen */
  }
}

/* ---- choice ---- */

static int32_t open_instance(lm_vk_device *d, lm_error *error) {
  const VkApplicationInfo about = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                   .pApplicationName = "deai",
                                   .apiVersion = VK_API_VERSION_1_2};
  const VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                     .pApplicationInfo = &about};
  VkResult result = vkCreateInstance(&info, NULL, &d->instance);
  if (result == VK_SUCCESS) return DEAI_OK;
  d->instance = VK_NULL_HANDLE;
  return lm_fail(error, result == VK_ERROR_OUT_OF_HOST_MEMORY ? DEAI_ENOMEM : DEAI_EUNSUPPORTED,
                 "vulkan: a driver expected, found none (%d); install one, for a machine without a "
                 "card mesa-vulkan-drivers",
                 (int)result);
}

static uint32_t rank_of(VkPhysicalDeviceType type) {
  switch (type) {
  case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
    return 5;
  case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
    return 4;
  case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
    return 3;
  case VK_PHYSICAL_DEVICE_TYPE_OTHER:
    return 2;
  default:
    return 1;
  }
}

static bool has_part(const char *text, const char *part) {
  size_t length = strlen(part);
  for (; strlen(text) >= length; text++) {
    size_t i = 0;
    while (i < length && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i]))
      i++;
    if (i == length) return true;
  }
  return false;
}

static bool is_wanted(const char *name, uint32_t index, const char *found) {
  if (name == NULL || name[0] == 0) return true;
  if (strspn(name, "0123456789") != strlen(name)) return has_part(found, name);
  return strlen(name) < 6 && strtoul(name, NULL, 10) == index;
}

static int32_t choose(lm_vk_device *d, const char *name, lm_error *error) {
  VkPhysicalDevice all[DEVICES_MAX];
  uint32_t count = DEVICES_MAX;
  uint32_t best = 0;
  char names[1024] = "";
  VkResult result = vkEnumeratePhysicalDevices(d->instance, &count, all);
  if (result != VK_SUCCESS && result != VK_INCOMPLETE) count = 0;
  for (uint32_t i = 0; i < count; i++) {
    VkPhysicalDeviceProperties properties;
    vkGetPhysicalDeviceProperties(all[i], &properties);
    size_t used = strlen(names);
    (void)snprintf(names + used, sizeof names - used, "%s%u: %.48s", i == 0 ? "" : ", ", i,
                   properties.deviceName);
    uint32_t rank = rank_of(properties.deviceType);
    if (!is_wanted(name, i, properties.deviceName) || rank <= best) continue;
    best = rank;
    d->physical = all[i];
    d->properties = properties;
  }
  d->on_processor = best == 1;
  if (best > 0) return DEAI_OK;
  return lm_fail(error, DEAI_EUNSUPPORTED, "vulkan: device '%.40s' expected, found %s; %s",
                 name == NULL ? "" : name, count == 0 ? "none" : names,
                 count == 0 ? "install a driver" : "change the setting");
}

/* ---- what it must have ---- */

static int32_t lacks(const lm_vk_device *d, const char *what, lm_error *error) {
  return lm_fail(error, DEAI_EUNSUPPORTED,
                 "vulkan: %s expected, %.64s has it not; take another device or compute/cpu", what,
                 d->properties.deviceName);
}

static int32_t check_features(const lm_vk_device *d, uint32_t push_bytes, lm_error *error) {
  if (d->properties.apiVersion < VK_API_VERSION_1_2) return lacks(d, "Vulkan 1.2", error);
  VkPhysicalDeviceVulkan12Features features = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES};
  VkPhysicalDeviceFeatures2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                   .pNext = &features};
  VkPhysicalDeviceVulkan12Properties more = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES};
  VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                            .pNext = &more};
  vkGetPhysicalDeviceFeatures2(d->physical, &all);
  vkGetPhysicalDeviceProperties2(d->physical, &properties);
  if (!features.bufferDeviceAddress) return lacks(d, "bufferDeviceAddress", error);
  if (!more.shaderRoundingModeRTEFloat32) return lacks(d, "shaderRoundingModeRTEFloat32", error);
  if (!more.shaderSignedZeroInfNanPreserveFloat32)
    return lacks(d, "shaderSignedZeroInfNanPreserveFloat32", error);
  if (d->properties.limits.maxPushConstantsSize < push_bytes)
    return lacks(d, "more room for push constants", error);
  return DEAI_OK;
}

static bool find_family(lm_vk_device *d) {
  VkQueueFamilyProperties families[FAMILIES_MAX];
  uint32_t count = FAMILIES_MAX;
  vkGetPhysicalDeviceQueueFamilyProperties(d->physical, &count, families);
  for (uint32_t i = 0; i < count; i++) {
    if ((families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) == 0) continue;
    d->family = i;
    return true;
  }
  return false;
}

/* ---- opening ---- */

static VkResult open_device(lm_vk_device *d) {
  const float priority = 1.0f;
  const VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                         .queueFamilyIndex = d->family,
                                         .queueCount = 1,
                                         .pQueuePriorities = &priority};
  VkPhysicalDeviceVulkan12Features features = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
      .bufferDeviceAddress = VK_TRUE};
  const VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                   .pNext = &features,
                                   .queueCreateInfoCount = 1,
                                   .pQueueCreateInfos = &queue};
  VkResult result = vkCreateDevice(d->physical, &info, NULL, &d->device);
  if (result == VK_SUCCESS) vkGetDeviceQueue(d->device, d->family, 0, &d->queue);
  return result;
}

static VkResult open_commands(lm_vk_device *d) {
  const VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                        .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                        .queueFamilyIndex = d->family};
  const VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
  VkCommandBufferAllocateInfo commands = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                          .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                          .commandBufferCount = 1};
  VkResult result = vkCreateCommandPool(d->device, &pool, NULL, &d->pool);
  commands.commandPool = d->pool;
  if (result == VK_SUCCESS) result = vkAllocateCommandBuffers(d->device, &commands, &d->commands);
  if (result == VK_SUCCESS) result = vkCreateFence(d->device, &fence, NULL, &d->fence);
  return result;
}

static VkResult open_set_layout(lm_vk_device *d, uint32_t set, const VkDescriptorType *types,
                                uint32_t count) {
  VkDescriptorSetLayoutBinding bindings[8];
  for (uint32_t i = 0; i < count; i++)
    bindings[i] = (VkDescriptorSetLayoutBinding){.binding = i,
                                                 .descriptorType = types[i],
                                                 .descriptorCount = 1,
                                                 .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
  const VkDescriptorSetLayoutCreateInfo info = {
      .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
      .bindingCount = count,
      .pBindings = bindings};
  return vkCreateDescriptorSetLayout(d->device, &info, NULL, &d->set_layouts[set]);
}

static VkResult open_layouts(lm_vk_device *d, uint32_t push_bytes) {
  static const VkDescriptorType texels = VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER;
  static const VkDescriptorType words = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
  static const VkDescriptorType image = VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER;
  const VkDescriptorType job[] = {texels, words, texels, texels, words, image};
  const VkDescriptorType matrix[] = {texels, texels, words};
  const VkDescriptorType cache[] = {texels};
  VkResult result = open_set_layout(d, 0, job, 6);
  if (result == VK_SUCCESS) result = open_set_layout(d, 1, matrix, 3);
  if (result == VK_SUCCESS) result = open_set_layout(d, 2, cache, 1);
  if (result != VK_SUCCESS) return result;
  const VkPushConstantRange push = {.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .size = push_bytes};
  const VkPipelineLayoutCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                           .setLayoutCount = LM_VK_SETS,
                                           .pSetLayouts = d->set_layouts,
                                           .pushConstantRangeCount = 1,
                                           .pPushConstantRanges = &push};
  return vkCreatePipelineLayout(d->device, &info, NULL, &d->layout);
}

static VkResult open_shaders(lm_vk_device *d) {
  VkResult result = VK_SUCCESS;
  for (uint32_t i = 0; result == VK_SUCCESS && i < LM_VK_SHADER_COUNT; i++) {
    size_t count = 0;
    const uint32_t *words = lm_vk_shader_code((lm_vk_shader)i, &count);
    const VkShaderModuleCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                           .codeSize = count * sizeof *words,
                                           .pCode = words};
    result = vkCreateShaderModule(d->device, &info, NULL, &d->shaders[i]);
  }
  return result;
}

static VkResult open_all(lm_vk_device *d, uint32_t push_bytes) {
  VkResult result = open_device(d);
  if (result == VK_SUCCESS) result = open_commands(d);
  if (result == VK_SUCCESS) result = open_layouts(d, push_bytes);
  if (result == VK_SUCCESS) result = open_shaders(d);
  return result;
}

int32_t lm_vk_open(const char *name, uint32_t push_bytes, lm_vk_device *d, lm_error *error) {
  *d = (lm_vk_device){0};
  int32_t status = open_instance(d, error);
  if (status == DEAI_OK) status = choose(d, name, error);
  if (status == DEAI_OK) status = check_features(d, push_bytes, error);
  if (status == DEAI_OK && !find_family(d)) status = lacks(d, "a queue that computes", error);
  if (status == DEAI_OK) {
    vkGetPhysicalDeviceMemoryProperties(d->physical, &d->memory);
    VkResult result = open_all(d, push_bytes);
    status = lm_vk_status(result);
    if (status == DEAI_OK) status = lm_vk_buffer_open(d, LM_VK_STAGING, LM_VK_SHARED, &d->staging);
    if (status != DEAI_OK)
      (void)lm_fail(error, status, "vulkan: %.64s could not be opened (%d)",
                    d->properties.deviceName, (int)result);
  }
  if (status != DEAI_OK) lm_vk_close(d);
  return status;
}

void lm_vk_close(lm_vk_device *d) {
  if (d->device != VK_NULL_HANDLE) {
    (void)vkDeviceWaitIdle(d->device);
    lm_vk_buffer_close(d, &d->staging);
    for (uint32_t i = 0; i < LM_VK_SHADER_COUNT; i++)
      vkDestroyShaderModule(d->device, d->shaders[i], NULL);
    vkDestroyPipelineLayout(d->device, d->layout, NULL);
    for (uint32_t i = 0; i < LM_VK_SETS; i++)
      vkDestroyDescriptorSetLayout(d->device, d->set_layouts[i], NULL);
    vkDestroyFence(d->device, d->fence, NULL);
    vkDestroyCommandPool(d->device, d->pool, NULL);
    vkDestroyDevice(d->device, NULL);
  }
  if (d->instance != VK_NULL_HANDLE) vkDestroyInstance(d->instance, NULL);
  *d = (lm_vk_device){0};
}

/* ---- memory ---- */

/* memory_type returns the first type in bits that has all of flags, or -1. */
static int32_t memory_type(const lm_vk_device *d, uint32_t bits, VkMemoryPropertyFlags flags) {
  for (uint32_t i = 0; i < d->memory.memoryTypeCount; i++)
    if ((bits >> i & 1u) != 0 && (d->memory.memoryTypes[i].propertyFlags & flags) == flags)
      return (int32_t)i;
  return -1;
}

static int32_t pick_type(const lm_vk_device *d, uint32_t bits, lm_vk_place place) {
  const VkMemoryPropertyFlags host =
      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  int32_t type = memory_type(d, bits,
                             place == LM_VK_LOCAL ? VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT
                                                  : host | VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
  return type >= 0 ? type : memory_type(d, bits, place == LM_VK_LOCAL ? 0 : host);
}

static VkResult allocate(lm_vk_device *d, lm_vk_place place, lm_vk_buffer *b) {
  VkMemoryRequirements need;
  vkGetBufferMemoryRequirements(d->device, b->buffer, &need);
  int32_t type = pick_type(d, need.memoryTypeBits, place);
  if (type < 0) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
  const VkMemoryAllocateFlagsInfo flags = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
                                           .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT};
  const VkMemoryAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                     .pNext = place == LM_VK_LOCAL ? &flags : NULL,
                                     .allocationSize = need.size,
                                     .memoryTypeIndex = (uint32_t)type};
  VkResult result = vkAllocateMemory(d->device, &info, NULL, &b->memory);
  if (result == VK_SUCCESS) result = vkBindBufferMemory(d->device, b->buffer, b->memory, 0);
  return result;
}

int32_t lm_vk_buffer_open(lm_vk_device *d, uint64_t bytes, lm_vk_place place, lm_vk_buffer *b) {
  const VkBufferCreateInfo info = {
      .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
      .size = bytes,
      .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
               VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT |
               (place == LM_VK_LOCAL ? VK_BUFFER_USAGE_STORAGE_TEXEL_BUFFER_BIT |
                                           VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT
                                     : 0u)};
  *b = (lm_vk_buffer){.bytes = bytes};
  VkResult result = vkCreateBuffer(d->device, &info, NULL, &b->buffer);
  if (result == VK_SUCCESS) result = allocate(d, place, b);
  if (result == VK_SUCCESS && place == LM_VK_SHARED)
    result = vkMapMemory(d->device, b->memory, 0, VK_WHOLE_SIZE, 0, &b->mapped);
  if (result == VK_SUCCESS && place == LM_VK_LOCAL) {
    const VkBufferDeviceAddressInfo of = {.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO,
                                          .buffer = b->buffer};
    b->address = vkGetBufferDeviceAddress(d->device, &of);
  }
  if (result != VK_SUCCESS) lm_vk_buffer_close(d, b);
  return lm_vk_status(result);
}

void lm_vk_buffer_close(lm_vk_device *d, lm_vk_buffer *b) {
  if (b->buffer != VK_NULL_HANDLE) vkDestroyBuffer(d->device, b->buffer, NULL);
  if (b->memory != VK_NULL_HANDLE) vkFreeMemory(d->device, b->memory, NULL);
  *b = (lm_vk_buffer){0};
}

int32_t lm_vk_upload(lm_vk_device *d, const lm_vk_buffer *buffer, uint64_t offset,
                     const void *bytes, uint64_t count) {
  const uint8_t *from = bytes;
  int32_t status = DEAI_OK;
  while (status == DEAI_OK && count > 0) {
    uint64_t step = count < LM_VK_STAGING ? count : LM_VK_STAGING;
    memcpy(d->staging.mapped, from, (size_t)step);
    status = lm_vk_begin(d);
    if (status != DEAI_OK) return status;
    const VkBufferCopy copy = {.dstOffset = offset, .size = step};
    vkCmdCopyBuffer(d->commands, d->staging.buffer, buffer->buffer, 1, &copy);
    status = lm_vk_finish(d);
    from += step;
    offset += step;
    count -= step;
  }
  return status;
}

int32_t lm_vk_view_open(lm_vk_device *d, const lm_vk_buffer *buffer, uint64_t offset,
                        uint64_t bytes, bool floating, VkBufferView *view_out) {
  const VkBufferViewCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO,
                                       .buffer = buffer->buffer,
                                       .format = floating ? VK_FORMAT_R32G32B32A32_SFLOAT
                                                          : VK_FORMAT_R32G32B32A32_UINT,
                                       .offset = offset,
                                       .range = bytes};
  *view_out = VK_NULL_HANDLE;
  if (bytes / LM_VK_TEXEL > d->properties.limits.maxTexelBufferElements) return DEAI_EUNSUPPORTED;
  return lm_vk_status(vkCreateBufferView(d->device, &info, NULL, view_out));
}

/* ---- work ---- */

int32_t lm_vk_pipeline_open(lm_vk_device *d, lm_vk_shader shader, const lm_vk_constants *constants,
                            VkPipeline *pipeline_out) {
  VkSpecializationMapEntry entries[sizeof *constants / 4];
  uint32_t count = sizeof entries / sizeof entries[0];
  for (uint32_t i = 0; i < count; i++)
    entries[i] = (VkSpecializationMapEntry){.constantID = i, .offset = 4 * i, .size = 4};
  const VkSpecializationInfo special = {.mapEntryCount = count,
                                        .pMapEntries = entries,
                                        .dataSize = sizeof *constants,
                                        .pData = constants};
  const VkComputePipelineCreateInfo info = {
      .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
      .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                .module = d->shaders[shader],
                .pName = "main",
                .pSpecializationInfo = &special},
      .layout = d->layout};
  *pipeline_out = VK_NULL_HANDLE;
  return lm_vk_status(
      vkCreateComputePipelines(d->device, VK_NULL_HANDLE, 1, &info, NULL, pipeline_out));
}

int32_t lm_vk_begin(lm_vk_device *d) {
  const VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                         .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
  return lm_vk_status(vkBeginCommandBuffer(d->commands, &info));
}

int32_t lm_vk_finish(lm_vk_device *d) {
  const VkSubmitInfo submit = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                               .commandBufferCount = 1,
                               .pCommandBuffers = &d->commands};
  VkResult result = vkEndCommandBuffer(d->commands);
  if (result == VK_SUCCESS) result = vkResetFences(d->device, 1, &d->fence);
  if (result == VK_SUCCESS) result = vkQueueSubmit(d->queue, 1, &submit, d->fence);
  if (result == VK_SUCCESS)
    result = vkWaitForFences(d->device, 1, &d->fence, VK_TRUE,
                             (uint64_t)LM_VK_WAIT_S * UINT64_C(1000000000));
  return lm_vk_status(result);
}
