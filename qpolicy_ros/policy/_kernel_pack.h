/* From a policy's own order of weights and thresholds to the layout of _kernel_layers.h. */
#ifndef QPOLICY_KERNEL_PACK_H
#define QPOLICY_KERNEL_PACK_H

#include "_kernel_layers.h"

/* Thresholds that are kept for a block of neurons: one more a neuron where there are many. */
static size_t kept(const Layer *layer) {
    return (size_t)LANES * (layer->levels + (layer->bits > FEW_BITS));
}

static size_t kept_coarse(const Layer *layer) {
    return (size_t)LANES * (layer->bits > FEW_BITS ? layer->levels / 16 : 0);
}

static void pack_thresholds(Layer *layer, const int32_t *thresholds) {
    const int levels = layer->levels, many = layer->bits > FEW_BITS;
    for (size_t i = 0; i < kept(layer) * layer->blocks; i++) layer->thresholds[i] = INT32_MAX;
    for (size_t i = 0; i < kept_coarse(layer) * layer->blocks; i++) layer->coarse[i] = INT32_MAX;
    for (int neuron = 0; neuron < layer->outputs; neuron++, thresholds += levels) {
        const int block = neuron / LANES, lane = neuron % LANES;
        int32_t *to = layer->thresholds + block * kept(layer);
        int32_t *coarse = layer->coarse + block * kept_coarse(layer);
        for (int level = 0; level < levels; level++) {
            to[many ? lane * (levels + 1) + level : level * LANES + lane] = thresholds[level];
            if (many && level % 16 == 15) coarse[level / 16 * LANES + lane] = thresholds[level];
        }
    }
}

static void pack_weights(Layer *layer, const int8_t *weights, int offset, int group) {
    for (int neuron = 0; neuron < layer->outputs; neuron++) {
        const int block = neuron / LANES, lane = neuron % LANES;
        for (int i = 0; i < layer->inputs; i++, weights++) {
            const size_t at = (size_t)block * (layer->padded / group) + i / group;
            layer->weights[(at * LANES + lane) * group + i % group] = *weights;
            layer->start[neuron] -= offset * *weights;
        }
    }
}

#endif
