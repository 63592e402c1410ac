/* A message's stamp, and a `JointState`'s values as a vector, in one call each.
 *
 * The same comes out as with the message's attributes, one by one; but each of those is Python's
 * work, which takes five times as long when a message comes once a millisecond and finds the
 * processor's caches full of other things.
 */
#ifndef QPOLICY_RCL_VECTOR_H
#define QPOLICY_RCL_VECTOR_H

#include "view.h"

static const Member *member_named(const Members *members, const char *name)
{
    for (uint32_t i = 0; members && i < members->member_count_; i++)
        if (!strcmp(members->members_[i].name_, name))
            return &members->members_[i];
    return NULL;
}

/* Where `header.stamp` is, NULL where the type has none. */
static builtin_interfaces__msg__Time *stamp_at(const Message *message)
{
    const Member *header = member_named(message->members, "header");
    if (!header || header->type_id_ != TYPE(MESSAGE) || header->is_array_)
        return NULL;
    const Member *stamp = member_named(nested(header), "stamp");
    if (!stamp || stamp->type_id_ != TYPE(MESSAGE) || stamp->is_array_)
        return NULL;
    return (void *)(message->data + header->offset_ + stamp->offset_);
}

static PyObject *message_stamp(Message *self, PyObject *Py_UNUSED(none))
{
    const builtin_interfaces__msg__Time *stamp = stamp_at(self);
    if (!stamp)
        return PyErr_Format(PyExc_TypeError, "%s has no stamp", self->members->message_name_);
    return Py_BuildValue("iI", stamp->sec, stamp->nanosec);
}

/* The field of doubles, or of strings, of this name; NULL if there is none. */
static void *row_at(const Message *message, const char *name, int kind)
{
    const Member *member = member_named(message->members, name);
    if (!member || member->type_id_ != kind || !member->is_array_ || member->array_size_)
        return NULL;
    return message->data + member->offset_;
}

/* Whether the names are those of the list that the field gave last. */
static bool has_names(const Message *self, const StringRow *row, const PyObject *names)
{
    const Member *member = member_named(self->members, "name");
    const Strings *kept = self->lists ? &self->lists[member - self->members->members_] : NULL;
    return kept && kept->list == names && same_strings(kept, row);
}

/* A contiguous vector of `size` bytes an item. */
static int get_vector(PyObject *value, Py_buffer *buffer, Py_ssize_t size, int flags)
{
    if (PyObject_GetBuffer(value, buffer, flags | PyBUF_C_CONTIGUOUS))
        return -1;
    if (buffer->ndim == 1 && buffer->itemsize == size)
        return 0;
    PyBuffer_Release(buffer);
    PyErr_Format(PyExc_TypeError, "a vector of %zd bytes an item is wanted", size);
    return -1;
}

/* Copy `count` values, in the order that `places` gives; false where it names one that is not there. */
static bool copy_floats(const rosidl_runtime_c__double__Sequence *values, const Py_ssize_t *places,
                        float *to, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const size_t place = places ? (size_t)places[i] : i;
        if (place >= values->size)
            return false;
        to[i] = (float)values->data[place];
    }
    return true;
}

static PyObject *message_floats(Message *self, PyObject *args)
{
    PyObject *names, *order_given, *out;
    if (!PyArg_ParseTuple(args, "OOO", &names, &order_given, &out))
        return NULL;
    const StringRow *given = row_at(self, "name", TYPE(STRING));
    const rosidl_runtime_c__double__Sequence *values = row_at(self, "position", TYPE(DOUBLE));
    if (!given || !values)
        return PyErr_Format(PyExc_TypeError, "%s has no names and positions",
                            self->members->message_name_);
    if (given->size && (given->size != values->size || !has_names(self, given, names)))
        Py_RETURN_FALSE;
    Py_buffer to, order = {.buf = NULL};
    if (get_vector(out, &to, sizeof(float), PyBUF_WRITABLE))
        return NULL;
    if (given->size && order_given != Py_None &&
        get_vector(order_given, &order, sizeof(Py_ssize_t), PyBUF_SIMPLE)) {
        PyBuffer_Release(&to);
        return NULL;
    }
    const size_t count = (size_t)(to.len / to.itemsize);
    const bool fits = order.buf ? (size_t)(order.len / order.itemsize) == count
                                : values->size == count;
    const bool done = fits && copy_floats(values, order.buf, to.buf, count);
    if (order.buf)
        PyBuffer_Release(&order);
    PyBuffer_Release(&to);
    return PyBool_FromLong(done);
}

/* Function `inside` of the module. */
static PyObject *vector_inside(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given)
{
    Py_buffer rows[3]; /* values, low, high */
    Py_ssize_t got = 0;
    if (given != 3)
        return PyErr_Format(PyExc_TypeError, "values, low and high are wanted");
    while (got < 3 && !get_vector(args[got], &rows[got], sizeof(float), PyBUF_SIMPLE))
        got++;
    PyObject *found = NULL;
    if (got == 3 && (rows[0].len != rows[1].len || rows[0].len != rows[2].len)) {
        PyErr_SetString(PyExc_ValueError, "values, low and high differ in length");
    } else if (got == 3) {
        const float *value = rows[0].buf, *low = rows[1].buf, *high = rows[2].buf;
        const Py_ssize_t count = rows[0].len / (Py_ssize_t)sizeof *value;
        Py_ssize_t i = 0;
        while (i < count && value[i] >= low[i] && value[i] <= high[i])
            i++;
        found = PyBool_FromLong(i == count);
    }
    while (got)
        PyBuffer_Release(&rows[--got]);
    return found;
}

static PyMethodDef message_methods[] = {
    {"stamp", (PyCFunction)message_stamp, METH_NOARGS,
     "stamp() -> (int, int)\n\nSeconds and nanoseconds of `header.stamp`."},
    {"floats", (PyCFunction)message_floats, METH_VARARGS,
     "floats(names, order, out) -> bool\n\nCopy `position` into the float32 vector `out`: value\n"
     "`order[i]` to place i, or as they come where `order` is None or the message has no names.\n"
     "False, and nothing of worth in `out`, where the message's names are not `names`, the list\n"
     "that `name` gave last, or where there are more or fewer values."},
    {NULL},
};

#endif
