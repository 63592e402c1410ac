/* The loss of critics that learn quantiles of the return; after `_critic_block.h`. */
#ifndef QPOLICY_QUANTILE_LOSS_H
#define QPOLICY_QUANTILE_LOSS_H

/* Quantile regression with Huber's loss: returns it, `gradient` is that of `q`; see
 * `twin_critic.py`. */
static TARGET float quantile_loss(const float *q, const float *targets, long batch, long quantiles,
                                  long count, float *gradient) {
    long filled = (quantiles + LANES - 1) / LANES * LANES;
    float values[filled], levels[filled], pulls[filled], losses[filled];
    float size = (float)(batch * count * quantiles);
    for (long i = 0; i < filled; i++) levels[i] = ((float)i + 0.5f) / (float)quantiles;
    memset(values, 0, sizeof values);
    double loss = 0.0;
    for (long row = 0; row < TWINS * batch; row++, q += quantiles, gradient += quantiles) {
        const float *samples = targets + row % batch * count;
        memcpy(values, q, 4 * quantiles);
        for (long i = 0; i < filled; i += LANES) {
            vec zero = all(0.0f), pull = zero, lost = zero, value = load(values + i);
            vec under = load(levels + i), over = sub(all(1.0f), under);
            for (long k = 0; k < count; k++) {
                vec gap = sub(all(samples[k]), value);
                vec near = larger(smaller(gap, all(1.0f)), all(-1.0f));
                /* What a sample above the quantile weighs, or one below. */
                vec weight = add(above(under, gap, zero), above(over, zero, gap));
                vec pulled = mul(weight, near);
                pull = add(pull, pulled);
                lost = add_product(lost, pulled, sub_product(gap, all(0.5f), near));
            }
            store(pulls + i, pull);
            store(losses + i, lost);
        }
        for (long i = 0; i < quantiles; i++) {
            gradient[i] = -pulls[i] / size;
            loss += losses[i];
        }
    }
    return (float)(loss / size);
}

#endif
