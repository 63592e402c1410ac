/* The FP32 policy in plain C, for every processor that it is a peer on.
 *
 * Weights lie [input][output], so that the inner loop adds whole rows and vectorises without
 * -ffast-math. Whoever includes this has defined layers, sizes, clip, mean, gain, weights, biases,
 * scale, offset and two buffers of the widest layer.
 */
#include <math.h>
#include <string.h>

static void compute(const float *restrict values, float *restrict actions) {
    float *from = buffers[0], *to = buffers[1];
    for (int i = 0; i < sizes[0]; i++) {
        float x = (values[i] - mean[i]) * gain[i];
        x = x < -clip ? -clip : x;
        from[i] = x > clip ? clip : x;
    }
    for (int layer = 0; layer < layers; layer++) {
        const int outputs = sizes[layer + 1];
        const float *restrict row = weights[layer];
        float *restrict sums = to;
        memcpy(sums, biases[layer], (size_t)outputs * sizeof *sums);
        for (int i = 0; i < sizes[layer]; i++, row += outputs) {
            const float x = from[i];
            if (x == 0.0f) continue; /* half of all behind a ReLU */
            for (int j = 0; j < outputs; j++) sums[j] += x * row[j];
        }
        if (layer < layers - 1)
            for (int j = 0; j < outputs; j++) sums[j] = sums[j] > 0.0f ? sums[j] : 0.0f;
        to = from;
        from = sums;
    }
    for (int j = 0; j < sizes[layers]; j++) actions[j] = tanhf(from[j]) * scale[j] + offset[j];
}
