/* The peer on a Cortex-M: the FP32 policy in plain C, its numbers constants. */
#include "baseline.h"

static float buffers[2][WIDTH];

#include "float_mlp.h"

void mlp_act(const float *values, float *actions) { compute(values, actions); }
