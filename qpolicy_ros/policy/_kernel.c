/* Python type `Kernel`: an integer policy in C. The arithmetic is in _kernel_layers.h, what a kernel
 * is built from in _kernel_build.h.
 *
 * Arrays come and go through the buffer protocol, so one binary works with every NumPy. All memory
 * is taken when a Kernel is made; a call takes none and keeps the interpreter lock, as a call is
 * shorter than handing the lock over.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "_kernel_build.h"
#include "_kernel_clock.h"
#include "_kernel_layers.h"
#include "_kernel_pack.h"

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
