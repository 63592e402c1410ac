/* What twin critics' passes work on: one block of memory, and how parameters and batches get there.
 *
 * After `_passes.h`.
 */
#ifndef QPOLICY_CRITIC_BLOCK_H
#define QPOLICY_CRITIC_BLOCK_H

enum { BLOCK = 16, TWINS = 2 };

typedef struct {
    long observations, actions, inputs, width, batch, norm;
    long units; /* that hold the inputs */
    unit *x_rows, *x_panels;
    unit *in1[TWINS], *in2[TWINS], *back2[TWINS], *back_actions[TWINS];
    unit *h1_panels[TWINS];
    half *y1[TWINS], *y2[TWINS]; /* sums before ReLU, normalised */
    float *scale1[TWINS], *scale2[TWINS];
    unit *d1_panels, *d2_panels, *rows, *more_rows;
    float *sums;
} Critic;

typedef struct {
    float *w1, *b1, *w2, *b2, *w3, *b3;
} Layers;

/* The parameters of one twin in a flat tensor: weights and biases layer by layer, both twins'. */
static Layers layers_of(const Critic *c, float *flat, long twin) {
    long width = c->width;
    long sizes[] = {width * c->inputs, width, width * width, width, width, 1};
    float *parts[6];
    for (int i = 0; i < 6; i++) {
        parts[i] = flat + twin * sizes[i];
        flat += TWINS * sizes[i];
    }
    return (Layers){parts[0], parts[1], parts[2], parts[3], parts[4], parts[5]};
}

/* Lay out the block; with `base` 0 the result's end is its size. */
static char *lay_out(Critic *c, char *base) {
    char *at = base;
    long width = c->width, batch = c->batch;
    long matrix = sizeof(half) * width * width, kept = sizeof(half) * batch * width;
    take(&at, sizeof(Critic));
    c->x_rows = (unit *)take(&at, sizeof(unit) * batch * c->units);
    c->x_panels = (unit *)take(&at, sizeof(half) * batch * FILLED(c->inputs));
    for (int t = 0; t < TWINS; t++) {
        c->in1[t] = (unit *)take(&at, sizeof(unit) * c->units * width);
        c->in2[t] = (unit *)take(&at, matrix);
        c->back2[t] = (unit *)take(&at, matrix);
        c->back_actions[t] = (unit *)take(&at, sizeof(half) * width * FILLED(c->actions));
        c->h1_panels[t] = (unit *)take(&at, kept);
        c->y1[t] = (half *)take(&at, kept);
        c->y2[t] = (half *)take(&at, kept);
        c->scale1[t] = (float *)take(&at, 4 * batch);
        c->scale2[t] = (float *)take(&at, 4 * batch);
    }
    c->d1_panels = (unit *)take(&at, kept);
    c->d2_panels = (unit *)take(&at, kept);
    c->rows = (unit *)take(&at, sizeof(half) * BLOCK * width);
    c->more_rows = (unit *)take(&at, sizeof(half) * BLOCK * width);
    c->sums = (float *)take(&at, 4 * BLOCK * (width > COLUMNS ? width : COLUMNS));
    return at;
}

/* Weights as panels; those of the passes back where `back`. */
static TARGET void pack(Critic *c, float *flat, long back) {
    for (int t = 0; t < TWINS; t++) {
        Layers l = layers_of(c, flat, t);
        panels_by_input(l.w1, c->width, c->inputs, c->units, c->in1[t]);
        panels_by_input(l.w2, c->width, c->width, c->width / PAIR, c->in2[t]);
        if (!back) continue;
        panels_by_output(l.w2, c->width, c->width, c->width, c->width / PAIR, c->back2[t]);
        panels_by_output(l.w1 + c->observations, c->width, c->inputs, c->actions, c->width / PAIR,
                         c->back_actions[t]);
    }
}

/* Observations and actions, float32 rows of any stride, as rows of units; with `keep` as panels
 * too, for the passes back. */
static TARGET void take_inputs(Critic *c, const float *observations, long observation_row,
                               const float *actions, long action_row, long keep) {
    long columns = FILLED(c->inputs), width = PAIR * c->units;
    float lines[PAIR * columns];
    memset(lines, 0, sizeof lines);
    for (long b = 0; b < c->batch; b += PAIR) {
        for (int r = 0; r < PAIR; r++) {
            float *line = lines + r * columns;
            memcpy(line, observations + (b + r) * observation_row, 4 * c->observations);
            memcpy(line + c->observations, actions + (b + r) * action_row, 4 * c->actions);
            half *row = (half *)(c->x_rows + (b + r) * c->units);
            for (long j = 0; j < width; j += LANES) {
                store_first_halves(row + j, width - j, narrow(load(line + j)));
            }
        }
        if (keep) panel_rows(lines, columns, columns, c->batch / PAIR, b / PAIR, c->x_panels);
    }
}

#endif
