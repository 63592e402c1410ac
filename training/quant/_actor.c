/* Forward and backward pass of a quantised actor in one call each, for `compiled_actor.py`.
 *
 * The same values as `fast_quant.py`: codes are multiplied as bytes or as float32, and sums of their
 * products stay below 2**24, so float32 holds them; products of gradients take bfloat16, which
 * holds codes too, or float32. Widths are filled up to whole panels with zeros, batches to blocks
 * of 16.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "_passes.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <math.h>
#include <string.h>

enum { BLOCK = 16, MOST = 6 }; /* rows that go through together; layers */

typedef struct {
    float *weights, *biases, *rounded, *residuals; /* given; rounded biases; what rounding added */
    float *start; /* of the sums: what is added to codes that have a sign comes off here */
    unit *in, *back;
    unit *d_panels;
    double step, slope, bias_step;
    long at; /* the weight that sets the step */
} Layer;

typedef struct {
    float *scaled; /* values by their step, before rounding */
    unit *rows, *panels;
    double step, slope, low, high, last; /* codes' range; below `last` no gradient passes */
    float shift; /* added to the codes in `rows` */
} Quantiser;

typedef struct {
    long layers, batch, rows; /* rows: of the last forward pass, whole blocks */
    long sizes[MOST + 1], widths[MOST + 1]; /* as given; filled up */
    Layer layer[MOST];
    Quantiser quantiser[MOST + 1];
    float *sums, *more_sums, *codes;
    unit *d_rows;
} Actor;

static char *lay_out(Actor *a, char *base) {
    char *at = base;
    long widest = 0, largest = 0;
    take(&at, sizeof(Actor));
    for (long i = 0; i <= a->layers; i++) {
        long width = a->widths[i] = FILLED(a->sizes[i]);
        Quantiser *q = &a->quantiser[i];
        q->scaled = (float *)take(&at, 4 * a->batch * width);
        q->rows = (unit *)take(&at, sizeof(half) * a->batch * width);
        q->panels = (unit *)take(&at, sizeof(half) * a->batch * width);
        widest = width > widest ? width : widest;
    }
    for (long i = 0; i < a->layers; i++) {
        Layer *l = &a->layer[i];
        long inputs = a->widths[i], outputs = a->widths[i + 1];
        l->in = (unit *)take(&at, sizeof(half) * inputs * outputs);
        l->back = (unit *)take(&at, sizeof(half) * inputs * outputs);
        l->d_panels = (unit *)take(&at, sizeof(half) * a->batch * outputs);
        l->start = (float *)take(&at, 4 * outputs);
        l->rounded = (float *)take(&at, 4 * outputs);
        l->residuals = (float *)take(&at, 4 * outputs);
        largest = inputs * outputs > largest ? inputs * outputs : largest;
    }
    a->sums = (float *)take(&at, 4 * BLOCK * widest);
    a->more_sums = (float *)take(&at, 4 * BLOCK * widest);
    a->d_rows = (unit *)take(&at, sizeof(half) * BLOCK * widest);
    a->codes = (float *)take(&at, 4 * largest);
    return at;
}

/* Round the weights and biases of layer `i` to `levels` codes on both sides of zero. */
static TARGET void quantise_layer(Actor *a, long i, float levels) {
    Layer *l = &a->layer[i];
    long inputs = a->sizes[i], outputs = a->sizes[i + 1], count = inputs * outputs;
    vec step = all((float)l->step), most = all(levels), least = all(-levels);
    vec highest = all(0.0f), lowest = highest;
    for (long k = 0; k < count; k += LANES) {
        vec value = load_first(l->weights + k, count - k);
        highest = larger(highest, value);
        lowest = smaller(lowest, value);
        vec code = larger(smaller(nearest(quotient(value, step)), most), least);
        store_first(a->codes + k, count - k, code);
    }
    float high = largest_of(highest), low = smallest_of(lowest);
    float largest = high >= -low ? high : low;
    for (l->at = 0; l->at < count - 1 && l->weights[l->at] != largest;) l->at++;
    l->slope = copysign(l->slope, largest);
    code_panels(a->codes, outputs, inputs, a->widths[i] / QUAD, l->in);
    for (long j = 0; j < outputs && a->quantiser[i].shift > 0.0f; j++) {
        vec total = all(0.0f);
        const float *line = a->codes + j * inputs;
        for (long k = 0; k < inputs; k += LANES) total = add(total, load_first(line + k, inputs - k));
        l->start[j] = -a->quantiser[i].shift * sum_of(total);
    }
    panels_by_output(a->codes, outputs, inputs, inputs, a->widths[i + 1] / PAIR, l->back);
    float bias_step = (float)(a->quantiser[i].step * l->step);
    l->bias_step = bias_step;
    for (long j = 0; j < outputs; j++) {
        float scaled = l->biases[j] / bias_step, code = rintf(scaled);
        code = code < -0x1p31f ? -0x1p31f : code;
        code = code > 0x1p31f ? 0x1p31f : code;
        l->rounded[j] = code * bias_step;
        l->residuals[j] = code - scaled;
    }
}

/* Round one row of `scaled` to codes in `codes`. */
INLINE void round_row(const Quantiser *q, const float *scaled, long width, float *codes) {
    vec low = all((float)q->low), high = all((float)q->high);
    for (long j = 0; j < width; j += LANES) {
        store(codes + j, smaller(larger(nearest(load(scaled + j)), low), high));
    }
}

/* A block's scaled values, rounded, as rows of units, with `keep` as panels too; outputs where
 * wanted. */
INLINE void round_block(const Actor *a, long i, long first_row, long given, long keep, float *out) {
    const Quantiser *q = &a->quantiser[i];
    long width = a->widths[i], size = a->sizes[i];
    for (int r = 0; r < BLOCK; r += PAIR) {
        float *codes = a->more_sums;
        for (int part = 0; part < PAIR; part++, codes += width) {
            long row = first_row + r + part;
            round_row(q, q->scaled + row * width, width, codes);
            code_row(codes, width, q->shift, q->rows + row * width / QUAD);
            if (!out || row >= given) continue;
            for (long j = 0; j < size; j++) out[row * size + j] = codes[j] * (float)q->step;
        }
        if (!keep) continue;
        panel_rows(a->more_sums, width, width, a->rows / PAIR, (first_row + r) / PAIR, q->panels);
    }
}

/* Outputs (given, m) and features (given, h) of `given` normalised observations; with `keep` what
 * the pass back needs too. */
static TARGET void forward(Actor *a, const float *x, long x_row, long given, float *out,
                           float *features, long keep) {
    long last = a->layers;
    a->rows = (given + BLOCK - 1) / BLOCK * BLOCK;
    for (long b = 0; b < a->rows; b += BLOCK) {
        long width = a->widths[0];
        for (long r = b; r < b + BLOCK; r++) {
            vec step = all((float)a->quantiser[0].step);
            for (long j = 0; j < width; j += LANES) {
                vec value = load_first(x + r * x_row + j, r < given ? a->sizes[0] - j : 0);
                store(a->quantiser[0].scaled + r * width + j, quotient(value, step));
            }
        }
        round_block(a, 0, b, given, keep, 0);
        for (long i = 0; i < last; i++) {
            const Layer *l = &a->layer[i];
            Quantiser *q = &a->quantiser[i + 1];
            long units = a->widths[i] / QUAD;
            width = a->widths[i + 1];
            float *scaled = q->scaled + b * width;
            code_product(a->quantiser[i].rows + b * units, units, l->in, units, l->start, scaled,
                         width, BLOCK, width);
            vec by = all((float)l->bias_step), step = all((float)q->step);
            for (long r = 0; r < BLOCK; r++) {
                for (long j = 0; j < width; j += LANES) {
                    float *at = scaled + r * width + j;
                    store(at, quotient(add_product(load(l->rounded + j), load(at), by), step));
                }
            }
            float *wanted = i == last - 1 ? out : i == last - 2 ? features : 0;
            round_block(a, i + 1, b, given, keep, wanted);
        }
    }
}

/* Gradients of quantiser `i`'s values in a block (`a->sums`) made those of what it rounds, and
 * what its step gets of them, by which its range is moved. */
INLINE double through_quantiser(const Actor *a, long i, long first_row) {
    const Quantiser *q = &a->quantiser[i];
    long width = a->widths[i];
    vec low = all((float)q->low), high = all((float)q->high);
    vec last = all((float)q->last), beyond = all((float)(q->high + 0.5)), total = all(0.0f);
    for (long r = 0; r < BLOCK; r++) {
        float *grad = a->sums + r * width;
        const float *scaled = q->scaled + (first_row + r) * width;
        for (long j = 0; j < width; j += LANES) {
            vec g = load(grad + j), value = load(scaled + j);
            vec code = smaller(larger(nearest(value), low), high);
            vec passed = inside(g, value, last, beyond);
            total = sub_product(add_product(total, g, code), passed, value);
            store(grad + j, passed);
        }
    }
    return sum_of(total);
}

/* Gradient of layer `i`'s weights from its panels; returns what the layer's step gets. */
static TARGET double weight_gradient(Actor *a, long i, float *gradient) {
    const Layer *l = &a->layer[i];
    const Quantiser *before = &a->quantiser[i];
    long inputs = a->sizes[i], outputs = a->sizes[i + 1], units = a->rows / PAIR;
    float sums[COLUMNS * a->widths[i]];
    double total = 0.0;
    vec by = all((float)before->step), step = all((float)l->step);
    for (long j = 0; j < outputs; j += COLUMNS) {
        long rows = outputs - j < COLUMNS ? outputs - j : COLUMNS;
        product(l->d_panels + j * units, 1, COLUMNS, before->panels, units, 0, sums, inputs,
                (rows + ROWS - 1) / ROWS * ROWS, inputs);
        vec sum = all(0.0f);
        for (long k = 0; k < rows * inputs; k += LANES) {
            long count = rows * inputs - k;
            vec g = mul(load_first(sums + k, count), by);
            vec value = quotient(load_first(l->weights + j * inputs + k, count), step);
            sum = add_product(sum, g, sub(nearest(value), value));
            store_first(gradient + j * inputs + k, count, g);
        }
        total += sum_of(sum);
    }
    return total;
}

/* Gradients for those of the last forward pass' `given` outputs and features (or 0): ranges
 * (one each), then weight matrices, then biases, as addresses in `into`. */
static TARGET void backward(Actor *a, const float *d_out, const float *d_features, long given,
                            float **into) {
    long last = a->layers;
    double totals[MOST + 1] = {0}, extra = 0.0;
    float **ranges = into, **weights = into + last + 1, **biases = weights + last;
    for (long i = 0; i < last; i++) memset(biases[i], 0, 4 * a->sizes[i + 1]);
    for (long b = 0; b < a->rows; b += BLOCK) {
        for (long r = 0; r < BLOCK; r++) {
            long row = b + r, size = a->sizes[last];
            memset(a->sums + r * a->widths[last], 0, 4 * a->widths[last]);
            if (row < given) {
                memcpy(a->sums + r * a->widths[last], d_out + row * size, 4 * size);
            }
        }
        for (long i = last - 1; i >= 0; i--) {
            Layer *l = &a->layer[i];
            long width = a->widths[i + 1], size = a->sizes[i + 1], before = a->widths[i];
            totals[i + 1] += through_quantiser(a, i + 1, b);
            for (long r = 0; r < BLOCK; r++) {
                float *d = a->sums + r * width;
                for (long j = 0; j < size; j++) biases[i][j] += d[j];
                unit_row(d, width, a->d_rows + r * width / PAIR);
            }
            for (long r = 0; r < BLOCK; r += PAIR) {
                panel_rows(a->sums + r * width, width, width, a->rows / PAIR, (b + r) / PAIR,
                           l->d_panels);
            }
            product(a->d_rows, width / PAIR, 1, l->back, width / PAIR, 0, a->more_sums, before,
                    BLOCK, before);
            for (long k = 0; k < BLOCK * before; k++) a->sums[k] = a->more_sums[k] * (float)l->step;
            if (i == last - 1 && d_features) {
                for (long r = 0; r < BLOCK && b + r < given; r++) {
                    const float *more = d_features + (b + r) * a->sizes[i];
                    for (long j = 0; j < a->sizes[i]; j++) a->sums[r * before + j] += more[j];
                }
            }
        }
        totals[0] += through_quantiser(a, 0, b);
    }
    for (long i = last - 1; i >= 0; i--) {
        Layer *l = &a->layer[i];
        Quantiser *q = &a->quantiser[i + 1];
        double bias_step = 0.0;
        *ranges[i + 1] = (float)((totals[i + 1] + extra) * q->slope);
        for (long j = 0; j < a->sizes[i + 1]; j++) bias_step += biases[i][j] * l->residuals[j];
        double step = weight_gradient(a, i, weights[i]) + bias_step * a->quantiser[i].step;
        weights[i][l->at] += (float)(l->slope * step);
        extra = bias_step * l->step;
    }
    *ranges[0] = (float)((totals[0] + extra) * a->quantiser[0].slope);
}

static int numbers(PyObject *const *arguments, Py_ssize_t given, Py_ssize_t least, long *into) {
    if (given < least || given > 5 * MOST) {
        PyErr_Format(PyExc_TypeError, "at least %zd arguments, not %zd", least, given);
        return 0;
    }
    return read_numbers(arguments, given, into);
}

/* Batch, then vector lengths from the observation to the action. */
static Actor described(const long *v, Py_ssize_t count) {
    Actor a = {.batch = (v[0] + BLOCK - 1) / BLOCK * BLOCK, .layers = count - 2};
    for (long i = 0; i <= a.layers && i <= MOST; i++) a.sizes[i] = v[1 + i];
    return a;
}

static PyObject *py_size(PyObject *self, PyObject *const *arguments, Py_ssize_t given) {
    long v[5 * MOST];
    if (!numbers(arguments, given, 3, v)) return NULL;
    Actor a = described(v, given);
    return PyLong_FromLong((long)(lay_out(&a, (char *)64) - (char *)64));
}

/* The block's address, zeroed memory, and what `size` takes. */
static PyObject *py_prepare(PyObject *self, PyObject *const *arguments, Py_ssize_t given) {
    long v[5 * MOST];
    if (!numbers(arguments, given, 4, v)) return NULL;
    Actor a = described(v + 1, given - 1);
    lay_out(&a, (char *)v[0]);
    memcpy((char *)v[0], &a, sizeof a);
    Py_RETURN_NONE;
}

/* Block; a table of doubles (step, slope, lowest and highest code, bound of the gradient of each
 * quantiser, then step, slope and largest code of each layer's weights); weights; biases. */
static PyObject *py_pack(PyObject *self, PyObject *const *arguments, Py_ssize_t given) {
    long v[5 * MOST];
    if (!numbers(arguments, given, 4, v)) return NULL;
    Actor *a = (Actor *)v[0];
    const double *table = (const double *)v[1];
    for (long i = 0; i <= a->layers; i++, table += 5) {
        Quantiser *q = &a->quantiser[i];
        q->step = table[0], q->slope = table[1], q->low = table[2], q->high = table[3];
        q->last = table[4];
        q->shift = UNSIGNED_CODES ? (float)-q->low : 0.0f;
    }
    for (long i = 0; i < a->layers; i++, table += 3) {
        Layer *l = &a->layer[i];
        l->weights = (float *)v[2 + i], l->biases = (float *)v[2 + a->layers + i];
        l->step = table[0], l->slope = table[1];
        quantise_layer(a, i, (float)table[2]);
    }
    Py_RETURN_NONE;
}

/* Block; observations, their stride and count; outputs; features; whether a pass back follows. */
static PyObject *py_forward(PyObject *self, PyObject *const *arguments, Py_ssize_t given) {
    long v[5 * MOST];
    if (!numbers(arguments, given, 7, v)) return NULL;
    forward((Actor *)v[0], (const float *)v[1], v[2], v[3], (float *)v[4], (float *)v[5], v[6]);
    Py_RETURN_NONE;
}

/* Block; gradients of outputs and of features (or 0), their count; where results go. */
static PyObject *py_backward(PyObject *self, PyObject *const *arguments, Py_ssize_t given) {
    long v[5 * MOST];
    if (!numbers(arguments, given, 8, v)) return NULL;
    backward((Actor *)v[0], (const float *)v[1], (const float *)v[2], v[3], (float **)(v + 4));
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"size", (PyCFunction)(void (*)(void))py_size, METH_FASTCALL, NULL},
    {"prepare", (PyCFunction)(void (*)(void))py_prepare, METH_FASTCALL, NULL},
    {"pack", (PyCFunction)(void (*)(void))py_pack, METH_FASTCALL, NULL},
    {"forward", (PyCFunction)(void (*)(void))py_forward, METH_FASTCALL, NULL},
    {"backward", (PyCFunction)(void (*)(void))py_backward, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

#else

static PyMethodDef methods[] = {{NULL, NULL, 0, NULL}};

#endif

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, MODULE_NAME("_actor"), NULL, -1, methods, NULL, NULL, NULL, NULL};

MODULE_INIT(_actor) { return module_of(&definition); }
