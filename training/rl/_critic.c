/* Forward and backward pass of twin critics in one call each, for `twin_critic.py`.
 *
 * Two hidden layers of `width` units, with or without layer normalisation, ReLU, one Q value. What
 * a pass keeps between its rows lies in one block of memory
 * that the caller owns, so that a pass stays in the second-level cache and allocates nothing. Rows
 * go through in blocks of 16.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../quant/_passes.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <math.h>
#include <string.h>

#include "_critic_block.h"

static const float EPSILON = 1e-5f; /* of layer normalisation */

/* Normalise one row of sums in place, where the critic has it; returns 1 / its spread. */
INLINE float normalise(const Critic *c, float *sums) {
    if (!c->norm) return 1.0f;
    long width = c->width;
    vec total = all(0.0f), squares = all(0.0f);
    for (long j = 0; j < width; j += LANES) total = add(total, load(sums + j));
    vec mean = all(sum_of(total) / (float)width);
    for (long j = 0; j < width; j += LANES) {
        vec gap = sub(load(sums + j), mean);
        squares = add_product(squares, gap, gap);
    }
    float scale = 1.0f / sqrtf(sum_of(squares) / (float)width + EPSILON);
    for (long j = 0; j < width; j += LANES) {
        store(sums + j, mul(sub(load(sums + j), mean), all(scale)));
    }
    return scale;
}

/* Keep a block's rows behind ReLU in `c->rows`; for passes back before it in `y`, behind it in
 * `panels`, where given. */
INLINE void rectify(const Critic *c, long first_row, half *y, unit *panels) {
    long width = c->width;
    for (int r = 0; r < BLOCK; r += PAIR) {
        for (long j = 0; j < width; j += LANES) {
            halves behind[PAIR];
            for (int i = 0; i < PAIR; i++) {
                vec value = load(c->sums + (r + i) * width + j);
                if (panels) store_halves(y + (first_row + r + i) * width + j, narrow(value));
                behind[i] = narrow(larger(value, all(0.0f)));
                store_halves((half *)c->rows + (r + i) * width + j, behind[i]);
            }
            if (!panels) continue;
            store_units(panels + PANEL(c->batch / PAIR, (first_row + r) / PAIR, j), behind);
        }
    }
}

/* The last layer of a block's rows, whose sums of the second are in `c->sums`: a Q value of each
 * into `q`. What it takes is as exact as products have it, its weights are float32. */
INLINE void last_layer(const Critic *c, const Layers *l, half *y, float *q) {
    enum { TOGETHER = 4 };
    long width = c->width;
    for (long j = 0; j < BLOCK * width; j += LANES) {
        halves value = narrow(load(c->sums + j));
        if (y) store_halves(y + j, value);
        store(c->sums + j, larger(widen(value), all(0.0f)));
    }
    for (int r = 0; r < BLOCK; r += TOGETHER) {
        const float *h = c->sums + r * width;
        vec total[TOGETHER] = {all(0.0f), all(0.0f), all(0.0f), all(0.0f)};
        for (long j = 0; j < width; j += LANES) {
            vec weights = load(l->w3 + j);
            for (int i = 0; i < TOGETHER; i++) {
                total[i] = add_product(total[i], load(h + i * width + j), weights);
            }
        }
        for (int i = 0; i < TOGETHER; i++) q[r + i] = sum_of(total[i]) + l->b3[0];
    }
}

/* Q values of the inputs taken; with `keep` what the passes back need too. */
static TARGET void forward(Critic *c, float *flat, float *q, long keep) {
    long width = c->width, units = width / PAIR;
    for (int t = 0; t < TWINS; t++) {
        Layers l = layers_of(c, flat, t);
        for (long b = 0; b < c->batch; b += BLOCK, q += BLOCK) {
            product(c->x_rows + b * c->units, c->units, 1, c->in1[t], c->units, l.b1, c->sums,
                    width, BLOCK, width);
            for (int r = 0; r < BLOCK; r++) {
                c->scale1[t][b + r] = normalise(c, c->sums + r * width);
            }
            rectify(c, b, c->y1[t], keep ? c->h1_panels[t] : 0);
            product(c->rows, units, 1, c->in2[t], units, l.b2, c->sums, width, BLOCK, width);
            for (int r = 0; r < BLOCK; r++) {
                c->scale2[t][b + r] = normalise(c, c->sums + r * width);
            }
            last_layer(c, &l, keep ? c->y2[t] + b * width : 0, q);
        }
    }
}

/* One row's gradient behind ReLU, in `d`, made that of the layer's sums. */
INLINE void to_sums(const Critic *c, float *d, const half *y, float scale) {
    long width = c->width;
    vec zero = all(0.0f), total = zero, along = zero;
    for (long j = 0; j < width; j += LANES) {
        vec value = widen(load_halves(y + j));
        vec passed = above(load(d + j), value, zero);
        total = add(total, passed);
        along = add_product(along, passed, value);
        store(d + j, passed);
    }
    if (!c->norm) return;
    vec mean = all(sum_of(total) / (float)width), share = all(sum_of(along) / (float)width);
    for (long j = 0; j < width; j += LANES) {
        vec gap = sub_product(sub(load(d + j), mean), widen(load_halves(y + j)), share);
        store(d + j, mul(gap, all(scale)));
    }
}

/* A block's gradients, in `sums`, as rows and as panels of units, each where given. */
INLINE void keep_gradients(const Critic *c, long first_row, unit *rows, unit *panels) {
    long width = c->width;
    for (int r = 0; r < BLOCK; r += PAIR) {
        const float *lines = c->sums + r * width;
        for (int i = 0; rows && i < PAIR; i++) {
            unit_row(lines + i * width, width, rows + (r + i) * width / PAIR);
        }
        if (panels) {
            panel_rows(lines, width, width, c->batch / PAIR, (first_row + r) / PAIR, panels);
        }
    }
}

INLINE void add_to(float *total, const float *values, long count) {
    for (long j = 0; j < count; j += LANES) store(total + j, add(load(total + j), load(values + j)));
}

/* Of a block the gradient behind the second layer's ReLU into `c->sums` for that of its Q values,
 * and what the last layer's parameters get from it. */
INLINE void back_last(const Critic *c, const Layers *l, const Layers *g, const half *y,
                      const float *d_q) {
    long width = c->width;
    for (long j = 0; j < width; j += LANES) {
        vec weights = load(l->w3 + j), into = load(g->w3 + j);
        for (int r = 0; r < BLOCK; r++) {
            vec by = all(d_q[r]);
            store(c->sums + r * width + j, mul(by, weights));
            vec h = larger(widen(load_halves(y + r * width + j)), all(0.0f));
            into = add_product(into, by, h);
        }
        store(g->w3 + j, into);
    }
    for (int r = 0; r < BLOCK; r++) g->b3[0] += d_q[r];
}

/* From the gradient behind the second layer's ReLU of 16 rows, in `c->sums`, to that of the second
 * layer's sums and the first's: where `g` is given, biases are added to it and panels kept. */
INLINE void back_block(Critic *c, int t, const Layers *g, const long *index, long first_row) {
    long width = c->width, units = width / PAIR;
    for (int r = 0; r < BLOCK; r++) {
        float *d = c->sums + r * width;
        to_sums(c, d, c->y2[t] + index[r] * width, c->scale2[t][index[r]]);
        if (g) add_to(g->b2, d, width);
    }
    keep_gradients(c, first_row, c->rows, g ? c->d2_panels : 0);
    product(c->rows, units, 1, c->back2[t], units, 0, c->sums, width, BLOCK, width);
    for (int r = 0; r < BLOCK; r++) {
        float *d = c->sums + r * width;
        to_sums(c, d, c->y1[t] + index[r] * width, c->scale1[t][index[r]]);
        if (g) add_to(g->b1, d, width);
    }
    keep_gradients(c, first_row, g ? 0 : c->more_rows, g ? c->d1_panels : 0);
}

/* The parameters' gradients into `gradient`, laid out as `flat`. */
static TARGET void backward(Critic *c, float *flat, const float *d_q, float *gradient) {
    long width = c->width, units = c->batch / PAIR, index[BLOCK];
    for (int t = 0; t < TWINS; t++) {
        Layers l = layers_of(c, flat, t), g = layers_of(c, gradient, t);
        memset(g.b1, 0, 4 * width);
        memset(g.b2, 0, 4 * width);
        memset(g.w3, 0, 4 * width);
        g.b3[0] = 0.0f;
        for (long b = 0; b < c->batch; b += BLOCK, d_q += BLOCK) {
            for (int r = 0; r < BLOCK; r++) index[r] = b + r;
            back_last(c, &l, &g, c->y2[t] + b * width, d_q);
            back_block(c, t, &g, index, b);
        }
        for (long i = 0; i < width; i += COLUMNS) {
            product(c->d2_panels + i * units, 1, COLUMNS, c->h1_panels[t], units, 0,
                    g.w2 + i * width, width, COLUMNS, width);
            product(c->d1_panels + i * units, 1, COLUMNS, c->x_panels, units, 0,
                    g.w1 + i * c->inputs, c->inputs, COLUMNS, c->inputs);
        }
    }
}

/* Gradient of the actions into `out` (batch, actions) for that of the Q values: rows where it is 0
 * are left out. */
static TARGET void action_gradient(Critic *c, float *flat, const float *d_value, float *out) {
    long width = c->width, units = width / PAIR, actions = c->actions, index[BLOCK];
    float by[BLOCK];
    memset(out, 0, 4 * c->batch * actions);
    for (int t = 0; t < TWINS; t++, d_value += c->batch) {
        Layers l = layers_of(c, flat, t);
        int found = 0;
        for (long b = 0; b < c->batch || found > 0; b++) {
            if (b < c->batch && d_value[b] != 0.0f) {
                by[found] = d_value[b];
                index[found++] = b;
            }
            if (found < BLOCK && b < c->batch) continue;
            int filled = found;
            for (; filled < BLOCK; filled++) {
                by[filled] = 0.0f;
                index[filled] = 0;
            }
            for (int r = 0; r < BLOCK; r++) {
                for (long j = 0; j < width; j += LANES) {
                    store(c->sums + r * width + j, mul(all(by[r]), load(l.w3 + j)));
                }
            }
            back_block(c, t, 0, index, 0);
            for (long j = 0; j < actions; j += COLUMNS) {
                product(c->more_rows, units, 1, c->back_actions[t] + j * units, units, 0, c->sums,
                        COLUMNS, BLOCK, COLUMNS);
                long last = actions - j < COLUMNS ? actions - j : COLUMNS;
                for (int r = 0; r < found; r++) {
                    for (long i = 0; i < last; i++) {
                        out[index[r] * actions + j + i] += c->sums[r * COLUMNS + i];
                    }
                }
            }
            found = 0;
        }
    }
}

static Critic described(const long *v) {
    Critic c = {.observations = v[0], .actions = v[1], .width = v[2], .batch = v[3],
                .norm = v[4]};
    c.inputs = c.observations + c.actions;
    c.units = UNITS(c.inputs);
    return c;
}

static PyObject *py_size(PyObject *self, PyObject *const *arguments, Py_ssize_t given) {
    long v[5];
    if (!exactly(arguments, given, 5, v)) return NULL;
    Critic c = described(v);
    return PyLong_FromLong((long)(lay_out(&c, (char *)64) - (char *)64));
}

static PyObject *py_prepare(PyObject *self, PyObject *const *arguments, Py_ssize_t given) {
    long v[6];
    if (!exactly(arguments, given, 6, v)) return NULL;
    Critic c = described(v + 1);
    lay_out(&c, (char *)v[0]);
    memcpy((char *)v[0], &c, sizeof c);
    Py_RETURN_NONE;
}

static PyObject *py_pack(PyObject *self, PyObject *const *arguments, Py_ssize_t given) {
    long v[3];
    if (!exactly(arguments, given, 3, v)) return NULL;
    pack((Critic *)v[0], (float *)v[1], v[2]);
    Py_RETURN_NONE;
}

static PyObject *py_forward(PyObject *self, PyObject *const *arguments, Py_ssize_t given) {
    long v[8];
    if (!exactly(arguments, given, 8, v)) return NULL;
    Critic *c = (Critic *)v[0];
    take_inputs(c, (const float *)v[2], v[3], (const float *)v[4], v[5], v[7]);
    forward(c, (float *)v[1], (float *)v[6], v[7]);
    Py_RETURN_NONE;
}

static PyObject *py_backward(PyObject *self, PyObject *const *arguments, Py_ssize_t given) {
    long v[4];
    if (!exactly(arguments, given, 4, v)) return NULL;
    backward((Critic *)v[0], (float *)v[1], (const float *)v[2], (float *)v[3]);
    Py_RETURN_NONE;
}

static PyObject *py_action_gradient(PyObject *self, PyObject *const *arguments, Py_ssize_t given) {
    long v[4];
    if (!exactly(arguments, given, 4, v)) return NULL;
    action_gradient((Critic *)v[0], (float *)v[1], (const float *)v[2], (float *)v[3]);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"size", (PyCFunction)(void (*)(void))py_size, METH_FASTCALL, NULL},
    {"prepare", (PyCFunction)(void (*)(void))py_prepare, METH_FASTCALL, NULL},
    {"pack", (PyCFunction)(void (*)(void))py_pack, METH_FASTCALL, NULL},
    {"forward", (PyCFunction)(void (*)(void))py_forward, METH_FASTCALL, NULL},
    {"backward", (PyCFunction)(void (*)(void))py_backward, METH_FASTCALL, NULL},
    {"action_gradient", (PyCFunction)(void (*)(void))py_action_gradient, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

#else

static PyMethodDef methods[] = {{NULL, NULL, 0, NULL}};

#endif

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, MODULE_NAME("_critic"), NULL, -1, methods, NULL, NULL, NULL, NULL};

MODULE_INIT(_critic) { return module_of(&definition); }
