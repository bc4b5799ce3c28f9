#ifndef DEAI_PLUGINS_COMPUTE_VULKAN_GRAPH_H
#define DEAI_PLUGINS_COMPUTE_VULKAN_GRAPH_H

#include "device.h"
#include "weights.h"

#include "plugins/compute/lm/columns.h"

/* The graph of one pass (backend.h names its steps), recorded anew and submitted once a
   pass.

   Dispatches of a layer, with a barrier after each: q, k, v with RoPE, quantised, K and V into the
   caches; attention, one dispatch a cache, quantised; output + residual + norm, quantised; gate and
   up, quantised; down + residual + norm, quantised. Before: embedding + norm. After: logits. A norm
   is done by the workgroup that ends its tile last (shaders/norm.glsl).

   Columns of a pass run in tiles of LM_VK_TILE, or one by one when there is one. Where a float is
   written it passes N3; where a column is quantised from several workgroups, the largest d of the
   column comes together by an atomic maximum in a word of its own (`slot`), zeroed by the pass.

   Threads  One at a time.
   Memory   One work buffer on the device for LM_COLUMNS_MAX columns; scores have LM_VK_SCORES bytes
            of it, or what the longest column needs, and more columns take turns. */

#define LM_VK_TILE   4u
#define LM_VK_SCORES (32u << 20)

/* The push constants of shaders/job.glsl, in its order; texels are of 16 bytes. */
typedef struct lm_vk_push {
  uint32_t count;
  uint32_t blocks;
  uint32_t in_texel;
  uint32_t in_slot;
  uint32_t out_texel;
  uint32_t out_slot;
  uint32_t rows;
  uint32_t layer;
  uint32_t fault_word;
  uint32_t x_texel;
  uint32_t table;
  uint32_t list;
  uint32_t q_rows;
  uint32_t kv_rows;
  uint32_t scores;
  uint32_t stride;
  uint32_t kv_heads;
  uint32_t heads;
  float eps;
  float head_scale;
  uint32_t ticket;
  uint32_t norm_table;
  uint32_t norm_texel;
  uint32_t norm_slot;
  uint32_t norm_last;
} lm_vk_push;

/* What a matmul does with its rows; KIND of shaders/matmul.comp. */
typedef enum lm_vk_kind { LM_VK_QKV, LM_VK_ADD, LM_VK_GATE, LM_VK_LOGITS } lm_vk_kind;

/* The fused matrices of a layer. */
typedef enum lm_vk_weight {
  LM_VK_W_QKV,
  LM_VK_W_OUT,
  LM_VK_W_GATE,
  LM_VK_W_DOWN,
  LM_VK_WEIGHTS
} lm_vk_weight;

/* A matrix with what runs it. */
typedef struct lm_vk_step {
  lm_vk_matrix matrix;
  VkDescriptorSet set;
  VkPipeline one;  /* columns at a time */
  VkPipeline tile; /* LM_VK_TILE at a time */
} lm_vk_step;

/* A pipeline of matmul.comp that is made already. */
typedef struct lm_vk_made {
  lm_vk_constants constants;
  VkPipeline pipeline;
} lm_vk_made;

#define LM_VK_MADE_MAX 32u /* kinds x formats x tiles */

/* Places in the work buffer: texels, and from slots on words. */
typedef struct lm_vk_places {
  uint32_t x;
  uint32_t acts;    /* of embd: after a norm */
  uint32_t mixed;   /* of heads x head_dim: after attention */
  uint32_t hidden;  /* of ffn */
  uint32_t query;   /* records */
  uint32_t slots;   /* (4 x layers + 1) x LM_COLUMNS_MAX words */
  uint32_t faults;  /* LM_COLUMNS_MAX words, behind the slots */
  uint32_t tickets; /* (2 x layers + 1) x LM_COLUMNS_MAX words, behind the faults */
  uint32_t scores;  /* words */
  uint64_t score_words;
  uint64_t bytes;
} lm_vk_places;

struct lm_backend {
  const lm_model *model;
  const lm_shape *shape;
  lm_vk_device device;
  lm_vk_places places;
  lm_vk_buffer work;
  lm_vk_buffer tables;
  lm_vk_buffer job;
  lm_vk_buffer result; /* hidden, logits, faults */
  VkBufferView work_view;
  VkBufferView tables_view;
  VkBufferView job_view;
  VkDescriptorPool pool;
  VkDescriptorSet set;
  lm_vk_step *layers; /* layer x LM_VK_WEIGHTS */
  lm_vk_step embedding;
  lm_vk_step output; /* shares the matrix and set of embedding when the model is tied */
  VkPipeline embed;
  VkPipeline attend;
  lm_vk_made made[LM_VK_MADE_MAX];
  uint32_t made_count;
  uint32_t rope;  /* texel of the RoPE table in tables */
  uint32_t split; /* LM_VK constants of this device */
  uint32_t lanes;
  bool lost;
  char text[320];
  /* the pass in progress */
  const lm_column *columns;
  uint32_t count;
  uint32_t wanted;
  uint32_t longest;              /* positions that a column sees */
  uint8_t order[LM_COLUMNS_MAX]; /* columns, those of a cache side by side */
};

struct lm_cache {
  lm_cache_head head;
  lm_vk_buffer memory;
  uint64_t layer_bytes;
  VkDescriptorPool pool;
  VkBufferView *views;   /* layer */
  VkDescriptorSet *sets; /* layer */
};

/* lm_vk_graph_open puts model on the open device of backend (model, shape, split and lanes are set)
   and makes all it needs for a pass. DEAI_EUNSUPPORTED, DEAI_ENOMEM, DEAI_EIO, or what
   lm_model_read says. [worker] */
DEAI_MUST_CHECK int32_t lm_vk_graph_open(lm_backend *backend, lm_error *error);

/* lm_vk_graph_close frees it. */
void lm_vk_graph_close(lm_backend *backend);

/* lm_vk_graph_run computes checked columns. DEAI_EIO when the device was lost. */
DEAI_MUST_CHECK int32_t lm_vk_graph_run(lm_backend *backend, const lm_column *columns,
                                        uint32_t count, const lm_outputs *outputs);

/* lm_vk_pool_open makes a pool for sets with so many views and storage buffers in all (where there
   are buffers, one image, too). */
DEAI_MUST_CHECK int32_t lm_vk_pool_open(lm_vk_device *device, uint32_t sets, uint32_t texels,
                                        uint32_t words, VkDescriptorPool *pool_out);

/* lm_vk_set_open takes a descriptor set for layout number `set` from pool. */
DEAI_MUST_CHECK int32_t lm_vk_set_open(lm_vk_device *device, VkDescriptorPool pool, uint32_t set,
                                       VkDescriptorSet *set_out);

/* lm_vk_set_texels binds view at binding of set. */
void lm_vk_set_texels(lm_vk_device *device, VkDescriptorSet set, uint32_t binding,
                      VkBufferView view);

/* lm_vk_set_image binds view as an image at binding of set. */
void lm_vk_set_image(lm_vk_device *device, VkDescriptorSet set, uint32_t binding,
                     VkBufferView view);

/* lm_vk_set_words binds the whole buffer at binding of set. */
void lm_vk_set_words(lm_vk_device *device, VkDescriptorSet set, uint32_t binding,
                     const lm_vk_buffer *buffer);

#endif
