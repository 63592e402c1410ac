/* What a Kernel is, and how the arrays that Python gives become its memory. */
#ifndef QPOLICY_KERNEL_BUILD_H
#define QPOLICY_KERNEL_BUILD_H

#include <Python.h>

#include "_kernel_layers.h"
#include "_kernel_pack.h"

enum { MAX_LAYERS = 16, ALIGNMENT = 64 };

typedef struct {
    PyObject_HEAD
    const Instructions *set;
    Input input;
    int layers, outputs, table_width;
    Layer layer[MAX_LAYERS];
    int widths[MAX_LAYERS + 1];     /* codes of the input and of each layer */
    int code_total;                 /* their sum */
    int output_min;                 /* output code of count 0 */
    uint8_t *codes[MAX_LAYERS + 1]; /* unsigned, ROWS padded rows */
    const float *table;
    char *memory;
    const char *name;
    long long quantise_ns;
} Kernel;

/* Buffers. */

static int same_format(const Py_buffer *view, char format) {
    const char *given = view->format ? view->format : "B";
    if (*given == '@' || *given == '=') given++;
    if (given[0] == 'l' && view->itemsize == 4) return format == 'i' && !given[1];
    return given[0] == format && !given[1];
}

/* Take a C-contiguous buffer of items `format`, of `axes` axes (0: any). */
static int take(PyObject *object, Py_buffer *view, char format, int axes, int writable) {
    int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(object, view, flags) < 0) return -1;
    if (!same_format(view, format) || (axes && view->ndim != axes)) {
        PyErr_Format(PyExc_ValueError, "buffer of format '%s' and %d axes, expected '%c' and %d",
                     view->format ? view->format : "B", view->ndim, format, axes);
        PyBuffer_Release(view);
        return -1;
    }
    return 0;
}

/* Building. Sizes are collected first, then one block of memory is taken and filled. */

typedef struct {
    Py_buffer mean, gain, table, weights[MAX_LAYERS], thresholds[MAX_LAYERS];
    int input_bits, core_bits, output_bits;
} Source;

static void release_source(Source *source) {
    PyBuffer_Release(&source->mean);
    PyBuffer_Release(&source->gain);
    PyBuffer_Release(&source->table);
    for (int i = 0; i < MAX_LAYERS; i++) {
        PyBuffer_Release(&source->weights[i]);
        PyBuffer_Release(&source->thresholds[i]);
    }
}

static int refuse(const char *what) {
    PyErr_SetString(PyExc_ValueError, what);
    return -1;
}

static int good_bits(int bits) { return bits >= 2 && bits <= 8; }

static int padded(int width) { return (width + LANES - 1) / LANES * LANES; }

static size_t aligned(size_t size) { return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

/* Check every shape and the order of thresholds; set the sizes of `kernel`. */
static int measure(Kernel *kernel, const Source *source) {
    if (!good_bits(source->input_bits) || !good_bits(source->core_bits) ||
        !good_bits(source->output_bits))
        return refuse("bit-widths must be from 2 to 8");
    if (source->mean.shape[0] < 1 || source->mean.shape[0] > MAX_WIDTH ||
        source->gain.shape[0] != source->mean.shape[0])
        return refuse("mean and gain must have the same size from 1 to 16384");
    const float *gain = source->gain.buf;
    int width = (int)source->mean.shape[0];
    if (!input_is_finite(gain, width) || !input_is_finite(source->mean.buf, width))
        return refuse("mean and gain must be finite");
    for (int i = 0; i < width; i++)
        if (!(gain[i] > 0)) return refuse("gain must be above 0");
    kernel->input.size = kernel->code_total = kernel->widths[0] = width;
    kernel->input.low = -(float)(1 << (source->input_bits - 1));
    kernel->input.high = -kernel->input.low - 1;
    for (int i = 0; i < kernel->layers; i++) {
        const Py_buffer *weights = &source->weights[i], *thresholds = &source->thresholds[i];
        Layer *layer = &kernel->layer[i];
        if (weights->shape[0] < 1 || weights->shape[0] > MAX_WIDTH || weights->shape[1] != width)
            return refuse("a layer's weights must be (1 to 16384, width of the layer before)");
        layer->inputs = width;
        layer->outputs = width = (int)weights->shape[0];
        layer->bits = i == kernel->layers - 1 ? source->output_bits : source->core_bits;
        layer->levels = (1 << layer->bits) - 1;
        layer->padded = padded(layer->inputs);
        layer->blocks = padded(width) / LANES;
        if (thresholds->shape[0] != width || thresholds->shape[1] != layer->levels)
            return refuse("a layer's thresholds must be (neurons, 2^bits - 1)");
        const int32_t *row = thresholds->buf;
        for (int neuron = 0; neuron < width; neuron++, row += layer->levels)
            for (int level = 1; level < layer->levels; level++)
                if (row[level] < row[level - 1]) return refuse("thresholds must ascend");
        const int8_t *weight = weights->buf;
        int largest = 0;
        for (Py_ssize_t k = 0; k < weights->len; k++) {
            int size = weight[k] < 0 ? -weight[k] : weight[k];
            if (size > largest) largest = size;
        }
        int code = (1 << (i ? source->core_bits : source->input_bits)) - 1;
        const int sum = kernel->set->products * code * largest;
        layer->run = sum ? 32767 / sum : layer->padded;
        kernel->widths[i + 1] = width;
        kernel->code_total += width;
    }
    kernel->outputs = width;
    kernel->output_min = -(1 << (source->output_bits - 1));
    kernel->table_width = 1 << source->output_bits;
    if (source->table.shape[0] != width || source->table.shape[1] != kernel->table_width)
        return refuse("table must be (actions, 2^output_bits)");
    return 0;
}

/* Hand out the parts of one block of zeros: once to add their sizes up, once to place them. */
static size_t place(Kernel *kernel, const Source *source, char *base) {
    size_t used = 0;
#define PART(pointer, bytes) \
    do { \
        if (base) pointer = (void *)(base + used); \
        used += aligned(bytes); \
    } while (0)
    float *mean = NULL, *gain = NULL, *table = NULL;
    PART(mean, (size_t)source->mean.len);
    PART(gain, (size_t)source->gain.len);
    PART(table, (size_t)source->table.len);
    for (int i = 0; i <= kernel->layers; i++)
        PART(kernel->codes[i], (size_t)ROWS * padded(kernel->widths[i]));
    for (int i = 0; i < kernel->layers; i++) {
        Layer *layer = &kernel->layer[i];
        const size_t neurons = (size_t)layer->blocks * LANES;
        PART(layer->weights, neurons * layer->padded);
        PART(layer->start, neurons * sizeof(int32_t));
        PART(layer->thresholds, kept(layer) * layer->blocks * sizeof(int32_t));
        PART(layer->coarse, kept_coarse(layer) * layer->blocks * sizeof(int32_t));
    }
#undef PART
    if (base) {
        memcpy(mean, source->mean.buf, (size_t)source->mean.len);
        memcpy(gain, source->gain.buf, (size_t)source->gain.len);
        memcpy(table, source->table.buf, (size_t)source->table.len);
        kernel->input.mean = mean;
        kernel->input.gain = gain;
        kernel->table = table;
    }
    return used;
}

static int take_source(Kernel *kernel, Source *source, PyObject *const *parts, PyObject *weights,
                       PyObject *thresholds) {
    Py_ssize_t layers = PyTuple_GET_SIZE(weights);
    if (layers < 1 || layers > MAX_LAYERS || PyTuple_GET_SIZE(thresholds) != layers)
        return refuse("weights and thresholds must be two tuples of 1 to 16 layers");
    kernel->layers = (int)layers;
    if (take(parts[0], &source->mean, 'f', 1, 0) < 0 ||
        take(parts[1], &source->gain, 'f', 1, 0) < 0 ||
        take(parts[2], &source->table, 'f', 2, 0) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < layers; i++)
        if (take(PyTuple_GET_ITEM(weights, i), &source->weights[i], 'b', 2, 0) < 0 ||
            take(PyTuple_GET_ITEM(thresholds, i), &source->thresholds[i], 'i', 2, 0) < 0)
            return -1;
    return 0;
}

static int choose_instructions(Kernel *kernel, const char *name) {
    for (int i = 0; i < INSTRUCTION_SETS; i++) {
        const Instructions *set = &INSTRUCTIONS[i];
        if ((!*name || !strcmp(name, set->name)) && instructions_work(set)) {
            kernel->set = set;
            kernel->name = set->name;
            return 0;
        }
    }
    PyErr_Format(PyExc_ValueError, "instructions '%s' do not work here", name);
    return -1;
}

#endif
