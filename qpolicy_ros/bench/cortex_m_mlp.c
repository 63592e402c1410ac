/* The peer on a Cortex-M: the FP32 policy in plain C, as float_mlp.c computes it. */
#include <math.h>
#include <string.h>

#include "baseline.h" /* LAYERS, WIDTH, CLIP, sizes, mean, gain, weights, biases, scale, offset */

static float buffers[2][WIDTH];

void mlp_act(const float *values, float *actions) {
    float *from = buffers[0], *to = buffers[1];
    for (int i = 0; i < sizes[0]; i++) {
        float x = (values[i] - mean[i]) * gain[i];
        x = x < -CLIP ? -CLIP : x;
        from[i] = x > CLIP ? CLIP : x;
    }
    for (int layer = 0; layer < LAYERS; layer++) {
        const int outputs = sizes[layer + 1];
        const float *restrict row = weights[layer];
        float *restrict sums = to;
        memcpy(sums, biases[layer], (size_t)outputs * sizeof *sums);
        for (int i = 0; i < sizes[layer]; i++, row += outputs) {
            const float x = from[i];
            if (x == 0.0f) continue; /* half of all behind a ReLU */
            for (int j = 0; j < outputs; j++) sums[j] += x * row[j];
        }
        if (layer < LAYERS - 1)
            for (int j = 0; j < outputs; j++) sums[j] = sums[j] > 0.0f ? sums[j] : 0.0f;
        to = from;
        from = sums;
    }
    for (int j = 0; j < sizes[LAYERS]; j++) actions[j] = tanhf(from[j]) * scale[j] + offset[j];
}
