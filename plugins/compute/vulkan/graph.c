#include "graph.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define JOB_WORDS    8u /* of a column, job.glsl; the places below are texels */
#define JOB_ORDER    (2 * LM_COLUMNS_MAX)
#define JOB_WANTED   (JOB_ORDER + LM_COLUMNS_MAX)
#define JOB_ALL      (JOB_WANTED + LM_COLUMNS_MAX)
#define JOB_UNWANTED UINT32_MAX
#define GROUPS_MAX   65535u /* workgroups every device takes in one dispatch */
#define ACT_TEXELS   5u     /* of a block of activations */
#define SLOTS_LAYER  4u     /* words for the largest d, times columns: two norms, attention, gate */

/* ---- descriptors ---- */

int32_t lm_vk_pool_open(lm_vk_device *device, uint32_t sets, uint32_t texels, uint32_t words,
                        VkDescriptorPool *pool_out) {
  const VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, texels},
                                        {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, words}};
  const VkDescriptorPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                           .maxSets = sets,
                                           .poolSizeCount = words > 0 ? 3 : 1,
                                           .pPoolSizes = sizes};
  *pool_out = VK_NULL_HANDLE;
  return lm_vk_status(vkCreateDescriptorPool(device->device, &info, NULL, pool_out));
}

int32_t lm_vk_set_open(lm_vk_device *device, VkDescriptorPool pool, uint32_t set,
                       VkDescriptorSet *set_out) {
  const VkDescriptorSetAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                            .descriptorPool = pool,
                                            .descriptorSetCount = 1,
                                            .pSetLayouts = &device->set_layouts[set]};
  return lm_vk_status(vkAllocateDescriptorSets(device->device, &info, set_out));
}

static void set_view(lm_vk_device *device, VkDescriptorSet set, uint32_t binding, VkBufferView view,
                     VkDescriptorType type) {
  const VkWriteDescriptorSet write = {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                      .dstSet = set,
                                      .dstBinding = binding,
                                      .descriptorCount = 1,
                                      .descriptorType = type,
                                      .pTexelBufferView = &view};
  vkUpdateDescriptorSets(device->device, 1, &write, 0, NULL);
}

void lm_vk_set_texels(lm_vk_device *device, VkDescriptorSet set, uint32_t binding,
                      VkBufferView view) {
  set_view(device, set, binding, view, VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER);
}

void lm_vk_set_image(lm_vk_device *device, VkDescriptorSet set, uint32_t binding,
                     VkBufferView view) {
  set_view(device, set, binding, view, VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER);
}

void lm_vk_set_words(lm_vk_device *device, VkDescriptorSet set, uint32_t binding,
                     const lm_vk_buffer *buffer) {
  const VkDescriptorBufferInfo whole = {.buffer = buffer->buffer, .range = VK_WHOLE_SIZE};
  const VkWriteDescriptorSet write = {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                      .dstSet = set,
                                      .dstBinding = binding,
                                      .descriptorCount = 1,
                                      .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                      .pBufferInfo = &whole};
  vkUpdateDescriptorSets(device->device, 1, &write, 0, NULL);
}

/* ---- room ---- */

static uint32_t slot_words(const lm_shape *s) {
  return (SLOTS_LAYER * s->layers + 1) * LM_COLUMNS_MAX;
}

static lm_vk_places places_of(const lm_shape *s) {
  lm_vk_places p = {0};
  uint64_t at = 0;
  uint64_t one = (uint64_t)s->heads * ((uint64_t)s->ctx + 3) / 4 * 4;
  p.x = (uint32_t)at;
  at += LM_COLUMNS_MAX * (s->embd / 4);
  p.acts = (uint32_t)at;
  at += LM_COLUMNS_MAX * (s->embd / 32) * ACT_TEXELS;
  p.mixed = (uint32_t)at;
  at += LM_COLUMNS_MAX * (s->heads * s->head_dim / 32) * ACT_TEXELS;
  p.hidden = (uint32_t)at;
  at += LM_COLUMNS_MAX * (s->ffn / 32) * ACT_TEXELS;
  p.query = (uint32_t)at;
  at += (uint64_t)LM_COLUMNS_MAX * s->heads * (s->head_dim / 8 + 1);
  at *= LM_VK_TEXEL / 4;
  p.slots = (uint32_t)at;
  at += slot_words(s);
  p.faults = (uint32_t)at;
  at += LM_COLUMNS_MAX;
  p.tickets = (uint32_t)at;
  at += (2 * s->layers + 1) * LM_COLUMNS_MAX;
  p.scores = (uint32_t)at;
  p.score_words = one * LM_COLUMNS_MAX < LM_VK_SCORES / 4 ? one * LM_COLUMNS_MAX
                  : one < LM_VK_SCORES / 4                ? LM_VK_SCORES / 4
                                                          : one;
  at += p.score_words;
  p.bytes = at * 4;
  return p;
}

/* tables holds the norm weights, then for each position cosine and sine of every pair of a head:
   (1, 0), which changes nothing, for pairs beyond rope_dim. */
static void fill_tables(const lm_backend *b, float *out) {
  const lm_shape *s = b->shape;
  const float *rope = lm_model_rope(b->model);
  for (uint32_t layer = 0; layer < s->layers; layer++) {
    memcpy(out, lm_model_attn_norm(b->model, layer), s->embd * sizeof *out);
    memcpy(out + s->embd, lm_model_ffn_norm(b->model, layer), s->embd * sizeof *out);
    out += (size_t)2 * s->embd;
  }
  memcpy(out, lm_model_output_norm(b->model), s->embd * sizeof *out);
  out += s->embd;
  for (uint32_t position = 0; position < s->ctx; position++, out += s->head_dim) {
    memcpy(out, rope + (size_t)position * s->rope_dim, s->rope_dim * sizeof *out);
    for (uint32_t i = s->rope_dim; i < s->head_dim; i++)
      out[i] = i % 2 == 0 ? 1.0f : 0.0f;
  }
}

static int32_t open_tables(lm_backend *b) {
  const lm_shape *s = b->shape;
  size_t norms = ((size_t)2 * s->layers + 1) * s->embd;
  size_t count = norms + (size_t)s->ctx * s->head_dim;
  b->rope = (uint32_t)(norms / 4);
  float *all = malloc(count * sizeof *all);
  if (all == NULL) return DEAI_ENOMEM;
  fill_tables(b, all);
  int32_t status = lm_vk_buffer_open(&b->device, count * sizeof *all, LM_VK_LOCAL, &b->tables);
  if (status == DEAI_OK) status = lm_vk_upload(&b->device, &b->tables, 0, all, count * sizeof *all);
  if (status == DEAI_OK)
    status = lm_vk_view_open(&b->device, &b->tables, 0, count * sizeof *all, true, &b->tables_view);
  free(all);
  return status;
}

static int32_t open_room(lm_backend *b) {
  const lm_shape *s = b->shape;
  uint64_t result = (uint64_t)LM_COLUMNS_MAX * (s->embd + s->vocab + 1) * 4;
  uint64_t most = b->device.properties.limits.maxStorageBufferRange;
  b->places = places_of(s);
  if (b->places.bytes > most || result > most) return DEAI_EUNSUPPORTED;
  int32_t status = lm_vk_buffer_open(&b->device, b->places.bytes, LM_VK_LOCAL, &b->work);
  if (status == DEAI_OK)
    status = lm_vk_view_open(&b->device, &b->work, 0, (uint64_t)b->places.scores * 4, false,
                             &b->work_view);
  if (status == DEAI_OK) status = open_tables(b);
  if (status == DEAI_OK)
    status = lm_vk_buffer_open(&b->device, JOB_ALL * LM_VK_TEXEL, LM_VK_SHARED, &b->job);
  if (status == DEAI_OK)
    status = lm_vk_view_open(&b->device, &b->job, 0, b->job.bytes, false, &b->job_view);
  if (status == DEAI_OK) status = lm_vk_buffer_open(&b->device, result, LM_VK_SHARED, &b->result);
  return status;
}

static int32_t open_set(lm_backend *b) {
  lm_vk_device *d = &b->device;
  uint32_t matrices = b->shape->layers * LM_VK_WEIGHTS + 2;
  int32_t status = lm_vk_pool_open(d, matrices + 1, 2 * matrices + 3, matrices + 2, &b->pool);
  if (status == DEAI_OK) status = lm_vk_set_open(d, b->pool, 0, &b->set);
  if (status != DEAI_OK) return status;
  lm_vk_set_texels(d, b->set, 0, b->work_view);
  lm_vk_set_words(d, b->set, 1, &b->work);
  lm_vk_set_texels(d, b->set, 2, b->tables_view);
  lm_vk_set_texels(d, b->set, 3, b->job_view);
  lm_vk_set_words(d, b->set, 4, &b->result);
  lm_vk_set_image(d, b->set, 5, b->work_view);
  return DEAI_OK;
}

/* ---- pipelines and matrices ---- */

static lm_vk_constants constants_of(const lm_backend *b, lm_vk_kind kind, uint32_t format,
                                    uint32_t columns) {
  return (lm_vk_constants){.split = b->split,
                           .kind = (uint32_t)kind,
                           .format = format,
                           .columns = columns,
                           .head_dim = b->shape->head_dim,
                           .lanes = b->lanes};
}

static int32_t matmul_pipeline(lm_backend *b, lm_vk_kind kind, uint32_t format, uint32_t columns,
                               VkPipeline *pipeline_out) {
  lm_vk_constants constants = constants_of(b, kind, format, columns);
  for (uint32_t i = 0; i < b->made_count; i++) {
    if (memcmp(&b->made[i].constants, &constants, sizeof constants) != 0) continue;
    *pipeline_out = b->made[i].pipeline;
    return DEAI_OK;
  }
  if (b->made_count == LM_VK_MADE_MAX) return DEAI_EINTERNAL;
  int32_t status = lm_vk_pipeline_open(&b->device, LM_VK_MATMUL, &constants, pipeline_out);
  if (status == DEAI_OK) b->made[b->made_count++] = (lm_vk_made){constants, *pipeline_out};
  return status;
}

static int32_t open_step(lm_backend *b, const lm_matrix *const *parts, uint32_t count,
                         lm_vk_kind kind, lm_vk_step *step, lm_error *error) {
  lm_vk_device *d = &b->device;
  int32_t status =
      lm_vk_matrix_open(d, b->model, parts, count, kind == LM_VK_GATE, &step->matrix, error);
  if (status != DEAI_OK) return status;
  status = lm_vk_set_open(d, b->pool, 1, &step->set);
  if (status == DEAI_OK) {
    lm_vk_set_texels(d, step->set, 0, step->matrix.quants_view);
    lm_vk_set_texels(d, step->set, 1, step->matrix.scales_view);
    lm_vk_set_words(d, step->set, 2, &step->matrix.exponents);
    status = matmul_pipeline(b, kind, step->matrix.format, 1, &step->one);
  }
  if (status == DEAI_OK)
    status = matmul_pipeline(b, kind, step->matrix.format, LM_VK_TILE, &step->tile);
  if (status == DEAI_OK) return DEAI_OK;
  return lm_fail(error, status, "vulkan: a pipeline could not be made");
}

static int32_t open_layer(lm_backend *b, uint32_t layer, lm_error *error) {
  const lm_matrix *m[LM_WEIGHT_COUNT];
  lm_vk_step *steps = b->layers + (size_t)layer * LM_VK_WEIGHTS;
  for (uint32_t w = 0; w < LM_WEIGHT_COUNT; w++)
    m[w] = lm_model_matrix(b->model, layer, (lm_weight)w);
  int32_t status = open_step(b, &m[LM_ATTN_Q], 3, LM_VK_QKV, &steps[LM_VK_W_QKV], error);
  if (status == DEAI_OK)
    status = open_step(b, &m[LM_ATTN_OUT], 1, LM_VK_ADD, &steps[LM_VK_W_OUT], error);
  if (status == DEAI_OK)
    status = open_step(b, &m[LM_FFN_GATE], 2, LM_VK_GATE, &steps[LM_VK_W_GATE], error);
  if (status == DEAI_OK)
    status = open_step(b, &m[LM_FFN_DOWN], 1, LM_VK_ADD, &steps[LM_VK_W_DOWN], error);
  return status;
}

static int32_t open_weights(lm_backend *b, lm_error *error) {
  const lm_matrix *embedding = lm_model_embedding(b->model);
  const lm_matrix *output = lm_model_output(b->model);
  b->layers = calloc((size_t)b->shape->layers * LM_VK_WEIGHTS, sizeof *b->layers);
  if (b->layers == NULL) return lm_fail(error, DEAI_ENOMEM, "vulkan: no memory for the layers");
  int32_t status = DEAI_OK;
  for (uint32_t layer = 0; status == DEAI_OK && layer < b->shape->layers; layer++)
    status = open_layer(b, layer, error);
  if (status == DEAI_OK) status = open_step(b, &embedding, 1, LM_VK_LOGITS, &b->embedding, error);
  if (status == DEAI_OK && output != embedding)
    status = open_step(b, &output, 1, LM_VK_LOGITS, &b->output, error);
  else
    b->output = b->embedding;
  return status;
}

static int32_t open_pipelines(lm_backend *b) {
  lm_vk_constants constants = constants_of(b, LM_VK_QKV, (uint32_t)b->embedding.matrix.format, 1);
  int32_t status = lm_vk_pipeline_open(&b->device, LM_VK_EMBED, &constants, &b->embed);
  if (status == DEAI_OK)
    status = lm_vk_pipeline_open(&b->device, LM_VK_ATTEND, &constants, &b->attend);
  return status;
}

int32_t lm_vk_graph_open(lm_backend *b, lm_error *error) {
  int32_t status = open_room(b);
  if (status == DEAI_OK) status = open_set(b);
  if (status != DEAI_OK)
    return lm_fail(error, status, "vulkan: room for a pass expected, the device has less");
  status = open_weights(b, error);
  if (status != DEAI_OK) return status;
  status = open_pipelines(b);
  if (status == DEAI_OK) return DEAI_OK;
  return lm_fail(error, status, "vulkan: a pipeline could not be made");
}

void lm_vk_graph_close(lm_backend *b) {
  lm_vk_device *d = &b->device;
  if (d->device == VK_NULL_HANDLE) return;
  (void)vkDeviceWaitIdle(d->device);
  if (b->output.set != b->embedding.set) lm_vk_matrix_close(d, &b->output.matrix);
  lm_vk_matrix_close(d, &b->embedding.matrix);
  for (uint32_t i = 0; b->layers != NULL && i < b->shape->layers * LM_VK_WEIGHTS; i++)
    lm_vk_matrix_close(d, &b->layers[i].matrix);
  free(b->layers);
  for (uint32_t i = 0; i < b->made_count; i++)
    vkDestroyPipeline(d->device, b->made[i].pipeline, NULL);
  vkDestroyPipeline(d->device, b->embed, NULL);
  vkDestroyPipeline(d->device, b->attend, NULL);
  vkDestroyDescriptorPool(d->device, b->pool, NULL);
  vkDestroyBufferView(d->device, b->work_view, NULL);
  vkDestroyBufferView(d->device, b->tables_view, NULL);
  vkDestroyBufferView(d->device, b->job_view, NULL);
  lm_vk_buffer_close(d, &b->work);
  lm_vk_buffer_close(d, &b->tables);
  lm_vk_buffer_close(d, &b->job);
  lm_vk_buffer_close(d, &b->result);
}

/* ---- recording ---- */

static lm_vk_push push_of(const lm_backend *b, uint32_t blocks) {
  return (lm_vk_push){.count = b->count,
                      .blocks = blocks,
                      .fault_word = b->places.faults,
                      .x_texel = b->places.x,
                      .heads = b->shape->heads,
                      .kv_heads = b->shape->kv_heads,
                      .eps = b->shape->eps,
                      .head_scale = b->shape->head_scale};
}

static void dispatch(lm_backend *b, VkPipeline pipeline, const lm_vk_push *push, uint32_t x,
                     uint32_t y) {
  VkCommandBuffer c = b->device.commands;
  vkCmdBindPipeline(c, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
  vkCmdPushConstants(c, b->device.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof *push, push);
  vkCmdDispatch(c, x, y, 1);
}

static void barrier(lm_backend *b, VkPipelineStageFlags from, VkAccessFlags wrote,
                    VkPipelineStageFlags to, VkAccessFlags reads) {
  const VkMemoryBarrier memory = {
      .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER, .srcAccessMask = wrote, .dstAccessMask = reads};
  vkCmdPipelineBarrier(b->device.commands, from, to, 0, 1, &memory, 0, NULL, 0, NULL);
}

static void next_step(lm_backend *b) {
  barrier(b, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_WRITE_BIT,
          VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
          VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT);
}

static void bind(lm_backend *b, uint32_t at, VkDescriptorSet set) {
  vkCmdBindDescriptorSets(b->device.commands, VK_PIPELINE_BIND_POINT_COMPUTE, b->device.layout, at,
                          1, &set, 0, NULL);
}

static uint32_t slot_of(const lm_backend *b, uint32_t layer, uint32_t which) {
  return b->places.slots + (layer * SLOTS_LAYER + which) * LM_COLUMNS_MAX;
}

static void record_matmul(lm_backend *b, const lm_vk_step *step, const lm_vk_push *push) {
  bool alone = push->count == 1;
  bind(b, 1, step->set);
  dispatch(b, alone ? step->one : step->tile, push, step->matrix.units,
           alone ? 1 : (push->count + LM_VK_TILE - 1) / LM_VK_TILE);
  next_step(b);
}

/* norm_follows lets norm number `which` (two a layer, then the last) follow on the step of push. */
static void norm_follows(const lm_backend *b, lm_vk_push *push, uint32_t which) {
  push->ticket = b->places.tickets + which * LM_COLUMNS_MAX;
  push->norm_table = which * (b->shape->embd / 4);
  push->norm_texel = b->places.acts;
  push->norm_slot = slot_of(b, which / 2, which % 2 * 2);
  push->norm_last = which == 2 * b->shape->layers ? 1 : 0;
}

/* record_attention runs one dispatch for the columns of each cache, in the order of the job; a
   column has its own scores, and where their room is used again, a barrier. */
static void record_attention(lm_backend *b, uint32_t layer) {
  const lm_shape *s = b->shape;
  lm_vk_push push = push_of(b, 0);
  push.in_texel = b->places.query;
  push.out_texel = b->places.mixed;
  push.out_slot = slot_of(b, layer, 1);
  push.stride = b->longest;
  uint64_t column_words = (uint64_t)s->heads * b->longest;
  uint32_t room = (uint32_t)(b->places.score_words / column_words);
  for (uint32_t i = 0; i < b->count;) {
    const lm_cache *cache = b->columns[b->order[i]].cache;
    uint32_t end = i + 1;
    while (end < b->count && end % room != 0 && b->columns[b->order[end]].cache == cache &&
           (end - i + 1) * s->heads <= GROUPS_MAX)
      end++;
    if (i > 0 && i % room == 0) next_step(b);
    push.list = JOB_ORDER + i;
    push.scores = b->places.scores + (uint32_t)(i % room * column_words);
    bind(b, 2, cache->sets[layer]);
    dispatch(b, b->attend, &push, (end - i) * s->heads, 1);
    i = end;
  }
  next_step(b);
}

static void record_layer(lm_backend *b, uint32_t layer) {
  const lm_shape *s = b->shape;
  const lm_vk_step *steps = b->layers + (size_t)layer * LM_VK_WEIGHTS;
  lm_vk_push push = push_of(b, s->embd / 32);
  push.in_texel = b->places.acts;
  push.in_slot = slot_of(b, layer, 0);
  push.out_texel = b->places.query;
  push.layer = layer;
  push.table = b->rope;
  push.q_rows = s->heads * s->head_dim;
  push.kv_rows = s->kv_heads * s->head_dim;
  record_matmul(b, &steps[LM_VK_W_QKV], &push);
  record_attention(b, layer);
  push = push_of(b, s->heads * s->head_dim / 32);
  push.in_texel = b->places.mixed;
  push.in_slot = slot_of(b, layer, 1);
  push.rows = s->embd;
  norm_follows(b, &push, 2 * layer + 1);
  record_matmul(b, &steps[LM_VK_W_OUT], &push);
  push = push_of(b, s->embd / 32);
  push.in_texel = b->places.acts;
  push.in_slot = slot_of(b, layer, 2);
  push.out_texel = b->places.hidden;
  push.out_slot = slot_of(b, layer, 3);
  push.rows = s->ffn;
  record_matmul(b, &steps[LM_VK_W_GATE], &push);
  push = push_of(b, s->ffn / 32);
  push.in_texel = b->places.hidden;
  push.in_slot = slot_of(b, layer, 3);
  push.rows = s->embd;
  norm_follows(b, &push, 2 * layer + 2);
  record_matmul(b, &steps[LM_VK_W_DOWN], &push);
}

static void record_embedding(lm_backend *b) {
  lm_vk_push push = push_of(b, b->shape->embd / 32);
  bind(b, 0, b->set);
  bind(b, 1, b->embedding.set);
  norm_follows(b, &push, 0);
  dispatch(b, b->embed, &push, b->count, 1);
  next_step(b);
}

static void record_output(lm_backend *b) {
  const lm_shape *s = b->shape;
  lm_vk_push push = push_of(b, s->embd / 32);
  push.count = b->wanted;
  push.in_texel = b->places.acts;
  push.in_slot = slot_of(b, s->layers, 0);
  push.list = JOB_WANTED;
  push.out_texel = LM_COLUMNS_MAX * s->embd; /* floats of result */
  push.rows = s->vocab;
  record_matmul(b, &b->output, &push);
}

/* The words of faults go behind the logits, where the host can read them. */
static uint64_t faults_at(const lm_backend *b) {
  return (uint64_t)LM_COLUMNS_MAX * (b->shape->embd + b->shape->vocab) * 4;
}

static void record(lm_backend *b) {
  VkCommandBuffer c = b->device.commands;
  uint64_t zeroed = (uint64_t)(b->places.scores - b->places.slots) * 4;
  vkCmdFillBuffer(c, b->work.buffer, (uint64_t)b->places.slots * 4, zeroed, 0);
  barrier(b, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_ACCESS_TRANSFER_WRITE_BIT,
          VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
          VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT);
  record_embedding(b);
  for (uint32_t layer = 0; layer < b->shape->layers; layer++)
    record_layer(b, layer);
  if (b->wanted > 0) record_output(b);
  barrier(b, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_WRITE_BIT,
          VK_PIPELINE_STAGE_TRANSFER_BIT, VK_ACCESS_TRANSFER_READ_BIT);
  const VkBufferCopy copy = {.srcOffset = (uint64_t)b->places.faults * 4,
                             .dstOffset = faults_at(b),
                             .size = LM_COLUMNS_MAX * 4};
  vkCmdCopyBuffer(c, b->work.buffer, b->result.buffer, 1, &copy);
  barrier(b, VK_PIPELINE_STAGE_TRANSFER_BIT | VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
          VK_ACCESS_TRANSFER_WRITE_BIT | VK_ACCESS_SHADER_WRITE_BIT, VK_PIPELINE_STAGE_HOST_BIT,
          VK_ACCESS_HOST_READ_BIT);
}

/* ---- a pass ---- */

static void write_job(lm_backend *b) {
  uint32_t *job = b->job.mapped;
  uint32_t placed = 0;
  bool done[LM_COLUMNS_MAX] = {false};
  b->wanted = 0;
  b->longest = 0;
  for (uint32_t c = 0; c < b->count; c++) {
    const lm_column *column = &b->columns[c];
    const lm_cache *cache = column->cache;
    const uint32_t words[JOB_WORDS] = {column->token,
                                       column->position,
                                       (uint32_t)cache->memory.address,
                                       (uint32_t)(cache->memory.address >> 32),
                                       (uint32_t)cache->layer_bytes,
                                       (uint32_t)(cache->layer_bytes >> 32),
                                       cache->head.positions,
                                       column->want ? b->wanted : JOB_UNWANTED};
    memcpy(job + (size_t)c * JOB_WORDS, words, sizeof words);
    if (column->position >= b->longest) b->longest = column->position + 1;
    if (column->want) job[(JOB_WANTED + b->wanted++) * 4] = c;
    for (uint32_t i = c; !done[c] && i < b->count; i++) {
      if (b->columns[i].cache != cache) continue;
      if (i != c) done[i] = true;
      job[(JOB_ORDER + placed) * 4] = i;
      b->order[placed++] = (uint8_t)i;
    }
  }
}

static void read_result(const lm_backend *b, const lm_outputs *outputs) {
  const lm_shape *s = b->shape;
  const uint8_t *result = b->result.mapped;
  const uint8_t *logits = result + (size_t)LM_COLUMNS_MAX * s->embd * 4;
  const uint8_t *faults = result + faults_at(b);
  if (b->wanted > 0) {
    memcpy(outputs->hidden, result, (size_t)b->wanted * s->embd * 4);
    memcpy(outputs->logits, logits, (size_t)b->wanted * s->vocab * 4);
  }
  for (uint32_t c = 0; c < b->count; c++) {
    uint32_t fault;
    memcpy(&fault, faults + (size_t)c * 4, sizeof fault);
    outputs->fault[c] = fault != 0 ? 1 : 0;
  }
}

int32_t lm_vk_graph_run(lm_backend *b, const lm_column *columns, uint32_t count,
                        const lm_outputs *outputs) {
  if (b->lost) return DEAI_EIO;
  b->columns = columns;
  b->count = count;
  write_job(b);
  int32_t status = lm_vk_begin(&b->device);
  if (status == DEAI_OK) {
    record(b);
    status = lm_vk_finish(&b->device);
  }
  if (status == DEAI_OK) read_result(b, outputs);
  b->lost = status != DEAI_OK;
  return status == DEAI_OK ? DEAI_OK : DEAI_EIO;
}
