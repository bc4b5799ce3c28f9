#ifndef DEAI_PLUGINS_COMPUTE_VULKAN_WEIGHTS_H
#define DEAI_PLUGINS_COMPUTE_VULKAN_WEIGHTS_H

#include "device.h"

#include "plugins/compute/lm/model.h"

/* The matrices of a model on the device, laid out for shaders/matmul.comp.

   A matrix here is one of the model, or several with the same input put together: q, k and v one
   after the other, or gate and up in turns of four rows. Rows form units of 64; invocation l < 8 of
   a unit owns the rows 8 l to 8 l + 7. For each unit and block of 32 weights:

     quants  4 bits: for each pair of rows two texels a lane, words 4 i + j: nibble k of the first
             row at bit 4 k, of the second at bit 16 + 4 k, k counting weights 4 (4 i + j) + k.
             8 bits: for each row two texels a lane, as in the file. Lanes lie side by side
     scales  floats that carry 2^xT (N6): (d, m, d, m) for each pair of rows where the format has a
             minimum, else (d, d, d, d) for each four
   exponents hold xT for each 32 rows (for gate and up: of gate, then of up).

   Rows of different formats become LM_VK_WIDE, 8 bits with a minimum of zero where there was none;
   every sum and every product stays the same number.

   Threads  [any] once open
   Memory   On the device; one matrix at a time passes through the memory of the host.
   Limits   A view takes 2^27 texels on most devices, so a matrix may have 2 GB of quants. */

#define LM_VK_WIDE  9u
#define LM_VK_UNIT  64u /* rows */
#define LM_VK_LANES 8u
#define LM_VK_PARTS 3u

typedef struct lm_vk_matrix {
  uint32_t format; /* an lm_format, or LM_VK_WIDE */
  uint32_t rows;   /* of all parts, without padding */
  uint32_t blocks; /* of a row */
  uint32_t units;
  lm_vk_buffer quants;
  lm_vk_buffer scales;
  lm_vk_buffer exponents;
  VkBufferView quants_view;
  VkBufferView scales_view;
} lm_vk_matrix;

/* lm_vk_matrix_open reads part_count matrices (the same input width) and puts them on the device;
   turns = gate and up. What lm_model_read says, DEAI_ENOMEM, DEAI_EUNSUPPORTED, DEAI_EIO.
   [worker] */
DEAI_MUST_CHECK int32_t lm_vk_matrix_open(lm_vk_device *device, const lm_model *model,
                                          const lm_matrix *const *parts, uint32_t part_count,
                                          bool turns, lm_vk_matrix *matrix, lm_error *error);

/* lm_vk_matrix_close frees it; an empty one is fine. */
void lm_vk_matrix_close(lm_vk_device *device, lm_vk_matrix *matrix);

/* lm_vk_matrix_bytes returns what it holds on the device. */
uint64_t lm_vk_matrix_bytes(const lm_vk_matrix *matrix);

#endif
