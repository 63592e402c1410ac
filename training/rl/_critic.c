/* Forward and backward pass of twin critics in one call each, for `twin_critic.py`.
 *
 * Two hidden layers of `width` units, with or without layer normalisation, ReLU, one Q value. What
 * a pass keeps between its rows lies in one block of memory that the caller owns, so that a pass
 * stays in the second-level cache and allocates nothing. Rows go through in blocks of 16.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../quant/_passes.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <math.h>
#include <string.h>

#include "../quant/_tiles.h"

enum { BLOCK = 16, TWINS = 2 };
static const float EPSILON = 1e-5f; /* of layer normalisation */

typedef struct {
    long observations, actions, inputs, width, batch, norm;
    long pairs;   /* units that hold the inputs */
    long columns; /* the inputs, filled up to whole panels */
    uint32_t *x_rows, *x_panels;
    uint32_t *in1[TWINS], *in2[TWINS], *back2[TWINS], *back_actions[TWINS];
    uint32_t *h1_panels[TWINS];
    uint16_t *y1[TWINS], *y2[TWINS]; /* sums before ReLU, normalised */
    float *scale1[TWINS], *scale2[TWINS];
    uint32_t *d1_panels, *d2_panels, *rows, *more_rows;
    float *sums;
} Critic;

typedef struct {
    float *w1, *b1, *w2, *b2, *w3, *b3;
} Layers;

/* The parameters of one twin in a flat tensor: weights and biases layer by layer, both twins'. */
static Layers layers_of(const Critic *c, float *flat, long twin) {
    long width = c->width, sizes[] = {width * c->inputs, width, width * width, width, width, 1};
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
    long width = c->width, batch = c->batch, units = width / 2;
    take(&at, sizeof(Critic));
    c->x_rows = (uint32_t *)take(&at, 4 * batch * c->pairs);
    c->x_panels = (uint32_t *)take(&at, 2 * batch * c->columns);
    for (int t = 0; t < TWINS; t++) {
        c->in1[t] = (uint32_t *)take(&at, 4 * c->pairs * width);
        c->in2[t] = (uint32_t *)take(&at, 4 * units * width);
        c->back2[t] = (uint32_t *)take(&at, 4 * units * width);
        c->back_actions[t] =
            (uint32_t *)take(&at, 4 * units * ((c->actions + COLUMNS - 1) / COLUMNS * COLUMNS));
        c->h1_panels[t] = (uint32_t *)take(&at, 2 * batch * width);
        c->y1[t] = (uint16_t *)take(&at, 2 * batch * width);
        c->y2[t] = (uint16_t *)take(&at, 2 * batch * width);
        c->scale1[t] = (float *)take(&at, 4 * batch);
        c->scale2[t] = (float *)take(&at, 4 * batch);
    }
    c->d1_panels = (uint32_t *)take(&at, 2 * batch * width);
    c->d2_panels = (uint32_t *)take(&at, 2 * batch * width);
    c->rows = (uint32_t *)take(&at, 4 * BLOCK * units);
    c->more_rows = (uint32_t *)take(&at, 4 * BLOCK * units);
    c->sums = (float *)take(&at, 4 * BLOCK * (width > COLUMNS ? width : COLUMNS));
    return at;
}

/* Weights as panels; those of the passes back where `back`. */
static TARGET void pack(Critic *c, float *flat, long back) {
    for (int t = 0; t < TWINS; t++) {
        Layers l = layers_of(c, flat, t);
        panels_by_input(l.w1, c->width, c->inputs, c->pairs, c->in1[t]);
        panels_by_input(l.w2, c->width, c->width, c->width / 2, c->in2[t]);
        if (!back) continue;
        panels_by_output(l.w2, c->width, c->width, c->width, c->width / 2, c->back2[t]);
        panels_by_output(l.w1 + c->observations, c->width, c->inputs, c->actions, c->width / 2,
                         c->back_actions[t]);
    }
}

/* Observations and actions, float32 rows of any stride, as rows and as panels of units. */
static TARGET void take_inputs(Critic *c, const float *observations, long observation_row,
                               const float *actions, long action_row) {
    float lines[2][c->columns];
    memset(lines, 0, sizeof lines);
    for (long b = 0; b < c->batch; b += 2) {
        for (int r = 0; r < 2; r++) {
            memcpy(lines[r], observations + (b + r) * observation_row, 4 * c->observations);
            memcpy(lines[r] + c->observations, actions + (b + r) * action_row, 4 * c->actions);
            uint16_t *row = (uint16_t *)(c->x_rows + (b + r) * c->pairs);
            for (long j = 0; j < 2 * c->pairs; j += LANES) {
                _mm256_mask_storeu_epi16(row + j, first_lanes(2 * c->pairs - j),
                                         narrow(_mm512_loadu_ps(lines[r] + j)));
            }
        }
        for (long j = 0; j < c->columns; j += LANES) {
            __m256i first = narrow(_mm512_loadu_ps(lines[0] + j));
            __m256i second = narrow(_mm512_loadu_ps(lines[1] + j));
            _mm512_storeu_si512(c->x_panels + PANEL(c->batch / 2, b / 2, j),
                                paired(first, second));
        }
    }
}

/* Normalise one row of sums in place, where the critic has it; returns 1 / its spread. */
INLINE float normalise(const Critic *c, float *sums) {
    if (!c->norm) return 1.0f;
    long width = c->width;
    __m512 total = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
    for (long j = 0; j < width; j += LANES) total = _mm512_add_ps(total, _mm512_loadu_ps(sums + j));
    __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(total) / (float)width);
    for (long j = 0; j < width; j += LANES) {
        __m512 gap = _mm512_sub_ps(_mm512_loadu_ps(sums + j), mean);
        squares = _mm512_fmadd_ps(gap, gap, squares);
    }
    float scale = 1.0f / sqrtf(_mm512_reduce_add_ps(squares) / (float)width + EPSILON);
    for (long j = 0; j < width; j += LANES) {
        __m512 gap = _mm512_sub_ps(_mm512_loadu_ps(sums + j), mean);
        _mm512_storeu_ps(sums + j, _mm512_mul_ps(gap, _mm512_set1_ps(scale)));
    }
    return scale;
}

/* Keep a block's rows behind ReLU in `c->rows`; for passes back before it in `y`, behind it in
 * `panels`, where given. */
INLINE void rectify(const Critic *c, long first_row, uint16_t *y, uint32_t *panels) {
    long width = c->width;
    for (int r = 0; r < BLOCK; r += 2) {
        for (long j = 0; j < width; j += LANES) {
            __m256i behind[2];
            for (int i = 0; i < 2; i++) {
                __m512 value = _mm512_loadu_ps(c->sums + (r + i) * width + j);
                __m256i *before = (__m256i *)(y + (first_row + r + i) * width + j);
                if (panels) _mm256_storeu_si256(before, narrow(value));
                behind[i] = narrow(_mm512_max_ps(value, _mm512_setzero_ps()));
                _mm256_storeu_si256((__m256i *)((uint16_t *)c->rows + (r + i) * width + j),
                                    behind[i]);
            }
            if (!panels) continue;
            _mm512_storeu_si512(panels + PANEL(c->batch / 2, (first_row + r) / 2, j),
                                paired(behind[0], behind[1]));
        }
    }
}

/* Q values of the inputs taken; with `keep` what the passes back need too. */
static TARGET void forward(Critic *c, float *flat, float *q, long keep) {
    long width = c->width, units = width / 2;
    for (int t = 0; t < TWINS; t++) {
        Layers l = layers_of(c, flat, t);
        for (long b = 0; b < c->batch; b += BLOCK) {
            product(c->x_rows + b * c->pairs, c->pairs, 1, c->in1[t], c->pairs, l.b1, c->sums,
                    width, BLOCK, width);
            for (int r = 0; r < BLOCK; r++) {
                c->scale1[t][b + r] = normalise(c, c->sums + r * width);
            }
            rectify(c, b, c->y1[t], keep ? c->h1_panels[t] : 0);
            product(c->rows, units, 1, c->in2[t], units, l.b2, c->sums, width, BLOCK, width);
            for (int r = 0; r < BLOCK; r++) {
                float *sums = c->sums + r * width;
                c->scale2[t][b + r] = normalise(c, sums);
                __m512 total = _mm512_setzero_ps();
                for (long j = 0; j < width; j += LANES) {
                    __m256i y = narrow(_mm512_loadu_ps(sums + j));
                    __m256i *kept = (__m256i *)(c->y2[t] + (b + r) * width + j);
                    if (keep) _mm256_storeu_si256(kept, y);
                    __m512 h = _mm512_max_ps(widen(y), _mm512_setzero_ps());
                    total = _mm512_fmadd_ps(h, _mm512_loadu_ps(l.w3 + j), total);
                }
                q[t * c->batch + b + r] = _mm512_reduce_add_ps(total) + l.b3[0];
            }
        }
    }
}

/* One row's gradient behind ReLU, in `d`, made that of the layer's sums. */
INLINE void to_sums(const Critic *c, float *d, const uint16_t *y, float scale) {
    long width = c->width;
    __m512 zero = _mm512_setzero_ps(), total = zero, along = zero;
    for (long j = 0; j < width; j += LANES) {
        __m512 value = widen(_mm256_loadu_si256((const __m256i *)(y + j)));
        __mmask16 on = _mm512_cmp_ps_mask(value, zero, _CMP_GT_OQ);
        __m512 passed = _mm512_maskz_mov_ps(on, _mm512_loadu_ps(d + j));
        total = _mm512_add_ps(total, passed);
        along = _mm512_fmadd_ps(passed, value, along);
        _mm512_storeu_ps(d + j, passed);
    }
    if (!c->norm) return;
    __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(total) / (float)width);
    __m512 share = _mm512_set1_ps(_mm512_reduce_add_ps(along) / (float)width);
    for (long j = 0; j < width; j += LANES) {
        __m512 value = widen(_mm256_loadu_si256((const __m256i *)(y + j)));
        __m512 gap = _mm512_sub_ps(_mm512_loadu_ps(d + j), mean);
        gap = _mm512_fnmadd_ps(value, share, gap);
        _mm512_storeu_ps(d + j, _mm512_mul_ps(gap, _mm512_set1_ps(scale)));
    }
}

/* A block's gradients, in `sums`, as rows and as panels of units, each where given. */
INLINE void keep_gradients(const Critic *c, long first_row, uint32_t *rows, uint32_t *panels) {
    long width = c->width;
    for (int r = 0; r < BLOCK; r += 2) {
        for (long j = 0; j < width; j += LANES) {
            __m256i first = narrow(_mm512_loadu_ps(c->sums + r * width + j));
            __m256i second = narrow(_mm512_loadu_ps(c->sums + (r + 1) * width + j));
            if (rows) {
                _mm256_storeu_si256((__m256i *)((uint16_t *)rows + r * width + j), first);
                _mm256_storeu_si256((__m256i *)((uint16_t *)rows + (r + 1) * width + j), second);
            }
            if (panels) {
                _mm512_storeu_si512(panels + PANEL(c->batch / 2, (first_row + r) / 2, j),
                                    paired(first, second));
            }
        }
    }
}

INLINE void add_to(float *total, const float *values, long count) {
    for (long j = 0; j < count; j += LANES) {
        _mm512_storeu_ps(total + j,
                         _mm512_add_ps(_mm512_loadu_ps(total + j), _mm512_loadu_ps(values + j)));
    }
}

/* Gradients of the second layer's sums, then of the first's, of 16 rows into `c->sums`: where
 * `g` is given, biases and last layer are added to it and panels kept. */
INLINE void back_block(Critic *c, int t, const Layers *l, const Layers *g, const long *index,
                       const float *d_q, long first_row) {
    long width = c->width, units = width / 2;
    for (int r = 0; r < BLOCK; r++) {
        const uint16_t *y = c->y2[t] + index[r] * width;
        float *d = c->sums + r * width;
        __m512 by = _mm512_set1_ps(d_q[r]);
        for (long j = 0; j < width; j += LANES) {
            _mm512_storeu_ps(d + j, _mm512_mul_ps(by, _mm512_loadu_ps(l->w3 + j)));
            if (g) {
                __m512 h = widen(_mm256_loadu_si256((const __m256i *)(y + j)));
                h = _mm512_max_ps(h, _mm512_setzero_ps());
                _mm512_storeu_ps(g->w3 + j, _mm512_fmadd_ps(by, h, _mm512_loadu_ps(g->w3 + j)));
            }
        }
        to_sums(c, d, y, c->scale2[t][index[r]]);
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
    long width = c->width, pairs = c->batch / 2, index[BLOCK];
    for (int t = 0; t < TWINS; t++, d_q += c->batch) {
        Layers l = layers_of(c, flat, t), g = layers_of(c, gradient, t);
        memset(g.b1, 0, 4 * width);
        memset(g.b2, 0, 4 * width);
        memset(g.w3, 0, 4 * width);
        *g.b3 = 0.0f;
        for (long b = 0; b < c->batch; b += BLOCK) {
            for (int r = 0; r < BLOCK; r++) {
                index[r] = b + r;
                *g.b3 += d_q[b + r];
            }
            back_block(c, t, &l, &g, index, d_q + b, b);
        }
        for (long i = 0; i < width; i += COLUMNS) {
            product(c->d2_panels + i * pairs, 1, COLUMNS, c->h1_panels[t], pairs, 0,
                    g.w2 + i * width, width, COLUMNS, width);
            product(c->d1_panels + i * pairs, 1, COLUMNS, c->x_panels, pairs, 0,
                    g.w1 + i * c->inputs, c->inputs, COLUMNS, c->inputs);
        }
    }
}

/* Gradient of the actions into `out` (batch, actions): rows whose `d_q` is 0 are left out. */
static TARGET void action_gradient(Critic *c, float *flat, const float *d_q, float *out) {
    long units = c->width / 2, actions = c->actions, index[BLOCK];
    float by[BLOCK];
    memset(out, 0, 4 * c->batch * actions);
    for (int t = 0; t < TWINS; t++, d_q += c->batch) {
        Layers l = layers_of(c, flat, t);
        int found = 0;
        for (long b = 0; b < c->batch || found > 0; b++) {
            if (b < c->batch && d_q[b] != 0.0f) {
                by[found] = d_q[b];
                index[found++] = b;
            }
            if (found < BLOCK && b < c->batch) continue;
            int filled = found;
            for (; filled < BLOCK; filled++) {
                by[filled] = 0.0f;
                index[filled] = 0;
            }
            back_block(c, t, &l, 0, index, by, 0);
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
    Critic c = {.observations = v[0], .actions = v[1], .width = v[2], .batch = v[3], .norm = v[4]};
    c.inputs = c.observations + c.actions;
    c.pairs = (c.inputs + 1) / 2;
    c.columns = (c.inputs + COLUMNS - 1) / COLUMNS * COLUMNS;
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
    take_inputs(c, (const float *)v[2], v[3], (const float *)v[4], v[5]);
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

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_critic", NULL, -1, methods,
                                        NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__critic(void) { return module_of(&definition); }
