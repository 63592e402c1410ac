/* Python type `Kernel`: an integer policy in C. The arithmetic is in _kernel_layers.h.
 *
 * Arrays come and go through the buffer protocol, so one binary works with every NumPy. All memory
 * is taken when a Kernel is made; a call takes none and keeps the interpreter lock, as a call is
 * shorter than handing the lock over.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "_kernel_clock.h"
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

static PyObject *kernel_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    static char *names[] = {"mean",    "gain",       "table", "bits",
                            "weights", "thresholds", "instructions", NULL};
    PyObject *parts[3], *weights, *thresholds;
    const char *instructions = "";
    Source source;
    memset(&source, 0, sizeof source);
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOO(iii)O!O!|s:Kernel", names, &parts[0],
                                     &parts[1], &parts[2], &source.input_bits, &source.core_bits,
                                     &source.output_bits, &PyTuple_Type, &weights, &PyTuple_Type,
                                     &thresholds, &instructions))
        return NULL;
    Kernel *kernel = (Kernel *)type->tp_alloc(type, 0);
    if (!kernel) return NULL;
    if (choose_instructions(kernel, instructions) < 0 ||
        take_source(kernel, &source, parts, weights, thresholds) < 0 ||
        measure(kernel, &source) < 0)
        goto failed;
    size_t size = place(kernel, &source, NULL);
    kernel->memory = PyMem_Calloc(1, size + ALIGNMENT);
    if (!kernel->memory) {
        PyErr_NoMemory();
        goto failed;
    }
    place(kernel, &source, (char *)aligned((size_t)kernel->memory));
    for (int i = 0; i < kernel->layers; i++) {
        const int offset = i ? 0 : 1 << (source.input_bits - 1);
        pack_weights(&kernel->layer[i], source.weights[i].buf, offset, kernel->set->group);
        pack_thresholds(&kernel->layer[i], source.thresholds[i].buf);
    }
    release_source(&source);
    return (PyObject *)kernel;
failed:
    release_source(&source);
    Py_DECREF(kernel);
    return NULL;
}

static void kernel_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyMem_Free(((Kernel *)self)->memory);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Computing. */

/* Codes of 1 or ROWS observations; returns how many come before the first that is not finite. */
static int compute(Kernel *kernel, const float *values, const int count) {
    const Instructions *set = kernel->set;
    const int size = kernel->input.size;
    const long long start = now_ns();
    for (int row = 0; row < count; row++, values += size) {
        if (!set->finite(values, size)) return row;
        set->input(&kernel->input, values, kernel->codes[0] + row * padded(size));
    }
    kernel->quantise_ns = now_ns() - start;
    for (int i = 0; i < kernel->layers; i++)
        (count == 1 ? set->layer : set->rows)(&kernel->layer[i], kernel->codes[i],
                                              kernel->codes[i + 1]);
    return count;
}

static const uint8_t *codes_of(const Kernel *kernel, int layer, int row) {
    return kernel->codes[layer] + row * padded(kernel->widths[layer]);
}

static void write_actions(const Kernel *kernel, int row, void *out, Py_ssize_t to) {
    const uint8_t *counts = codes_of(kernel, kernel->layers, row);
    float *actions = (float *)out + to * kernel->outputs;
    for (int i = 0; i < kernel->outputs; i++)
        actions[i] = kernel->table[i * kernel->table_width + counts[i]];
}

static void write_codes(const Kernel *kernel, int row, void *out, Py_ssize_t to) {
    int32_t *codes = (int32_t *)out + to * kernel->code_total;
    for (int i = 0; i <= kernel->layers; i++) {
        const uint8_t *from = codes_of(kernel, i, row);
        int offset = i == 0 ? (int)kernel->input.low : i == kernel->layers ? kernel->output_min : 0;
        for (int k = 0; k < kernel->widths[i]; k++) *codes++ = from[k] + offset;
    }
}

typedef void (*Writer)(const Kernel *, int row, void *out, Py_ssize_t to);

/* Compute `out` from the rows of `args[0]`; returns the row that holds a value which is not finite
 * (`out` is not complete then), -1 if there is none. */
static PyObject *run(Kernel *kernel, PyObject *const *args, Py_ssize_t count, int axes, char format,
                     int width, Writer write) {
    Py_buffer values, out;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "expected two arrays: observation and result");
        return NULL;
    }
    if (take(args[0], &values, 'f', axes, 0) < 0) return NULL;
    if (take(args[1], &out, format, axes, 1) < 0) {
        PyBuffer_Release(&values);
        return NULL;
    }
    const Py_ssize_t rows = axes == 1 ? 1 : values.shape[0], last = axes - 1;
    Py_ssize_t row = 0;
    int good = values.shape[last] == kernel->input.size && out.shape[last] == width &&
               (axes == 1 || out.shape[0] == rows);
    if (good) {
        while (row < rows) {
            const float *next = (const float *)values.buf + row * kernel->input.size;
            const int many = kernel->set->rows && rows - row >= ROWS, count = many ? ROWS : 1;
            const int done = many ? compute(kernel, next, ROWS) : compute(kernel, next, 1);
            for (int i = 0; done == count && i < count; i++) write(kernel, i, out.buf, row + i);
            row += done;
            if (done < count) break;
        }
    }
    PyBuffer_Release(&values);
    PyBuffer_Release(&out);
    if (!good) {
        PyErr_SetString(PyExc_ValueError, "wrong length of the observation or of the result");
        return NULL;
    }
    return PyLong_FromSsize_t(row < rows ? row : -1);
}

static PyObject *kernel_act(Kernel *self, PyObject *const *args, Py_ssize_t count) {
    return run(self, args, count, 1, 'f', self->outputs, write_actions);
}

static PyObject *kernel_act_batch(Kernel *self, PyObject *const *args, Py_ssize_t count) {
    return run(self, args, count, 2, 'f', self->outputs, write_actions);
}

static PyObject *kernel_codes_batch(Kernel *self, PyObject *const *args, Py_ssize_t count) {
    return run(self, args, count, 2, 'i', self->code_total, write_codes);
}

static PyMethodDef kernel_methods[] = {
    {"act", (PyCFunction)(void (*)(void))kernel_act, METH_FASTCALL,
     "act(observation: float32[n], actions: float32[m]) -> -1, or 0 for a value not finite"},
    {"act_batch", (PyCFunction)(void (*)(void))kernel_act_batch, METH_FASTCALL,
     "act_batch(observations: float32[N, n], actions: float32[N, m]) -> -1, or the bad row"},
    {"codes_batch", (PyCFunction)(void (*)(void))kernel_codes_batch, METH_FASTCALL,
     "codes_batch(observations: float32[N, n], codes: int32[N, sum of widths]) -> as act_batch"},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef kernel_members[] = {
    {"quantise_ns", T_LONGLONG, offsetof(Kernel, quantise_ns), READONLY,
     "time spent on the input codes in the last call, ns"},
    {"instructions", T_STRING, offsetof(Kernel, name), READONLY, "instruction set in use"},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot kernel_slots[] = {
    {Py_tp_doc, "Integer policy in C: Kernel(mean, gain, table, (b_in, b_core, b_out), weights, "
                "thresholds, instructions='')"},
    {Py_tp_new, kernel_new},
    {Py_tp_dealloc, kernel_dealloc},
    {Py_tp_methods, kernel_methods},
    {Py_tp_members, kernel_members},
    {0, NULL},
};

static PyType_Spec kernel_spec = {
    .name = "qpolicy_ros.policy._kernel.Kernel",
    .basicsize = sizeof(Kernel),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = kernel_slots,
};

static PyObject *instruction_sets(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    PyObject *names = PyList_New(0);
    for (int i = 0; names && i < INSTRUCTION_SETS; i++) {
        if (!instructions_work(&INSTRUCTIONS[i])) continue;
        PyObject *name = PyUnicode_FromString(INSTRUCTIONS[i].name);
        if (!name || PyList_Append(names, name) < 0) Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

static PyMethodDef module_methods[] = {
    {"instruction_sets", instruction_sets, METH_NOARGS,
     "instruction_sets() -> names of the instruction sets that work here, fastest first"},
    {NULL, NULL, 0, NULL},
};

#ifndef KERNEL_SOURCE
#define KERNEL_SOURCE "" /* setup.py gives the SHA-256 of this file and its headers */
#endif

static int module_exec(PyObject *module) {
    PyObject *type = PyType_FromSpec(&kernel_spec);
    int failed = !type || PyModule_AddObjectRef(module, "Kernel", type) < 0 ||
                 PyModule_AddStringConstant(module, "source", KERNEL_SOURCE) < 0;
    Py_XDECREF(type);
    return failed ? -1 : 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, "_kernel", NULL, 0, module_methods, module_slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernel(void) { return PyModuleDef_Init(&module_definition); }
