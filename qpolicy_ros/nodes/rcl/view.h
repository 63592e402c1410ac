/* `Message`: the fields of a ROS message in C, read and written under their names.
 *
 * The attributes are those of rclpy's message of the same type, so the same Python reads both:
 * numbers, strings, array('d') for numbers in a row, lists of strings. Nothing is converted before
 * it is asked for, and a list of strings only when one of them has changed. What is returned is a
 * copy, but for nested messages: those show what their message holds now.
 */
#ifndef QPOLICY_RCL_VIEW_H
#define QPOLICY_RCL_VIEW_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "rosidl_typesupport_introspection_c/field_types.h"
#include "rosidl_typesupport_introspection_c/message_introspection.h"
#include "symbols.h"

typedef rosidl_typesupport_introspection_c__MessageMember Member;
typedef rosidl_typesupport_introspection_c__MessageMembers Members;

/* The last list of strings that a field gave, and its strings in a row: comparing with that row
 * leaves hundreds of objects alone, which would have to come from far. */
typedef struct {
    PyObject *list;
    char *text;
    size_t *sizes;
} Strings;

typedef struct Message {
    PyObject_HEAD
    struct Message *owner; /* whose memory `data` is part of, NULL if it is its own */
    const Members *members;
    char *data;
    Strings *lists; /* of an owner: one a member */
} Message;

static PyTypeObject message_type;
static PyObject *array_type; /* array.array */

#define TYPE(name) rosidl_typesupport_introspection_c__ROS_TYPE_##name

static const Members *nested(const Member *member)
{
    return member->members_->data;
}

/* A message of its own, with the type's defaults. */
static Message *new_message(const Members *members)
{
    Message *self = PyObject_New(Message, &message_type);
    if (!self)
        return NULL;
    self->owner = NULL;
    self->members = members;
    self->data = PyMem_RawCalloc(1, members->size_of_);
    self->lists = PyMem_RawCalloc(members->member_count_, sizeof *self->lists);
    if (!self->data || !self->lists) {
        PyMem_RawFree(self->data);
        self->data = NULL;
        Py_DECREF(self);
        PyErr_NoMemory();
        return NULL;
    }
    members->init_function(self->data, ROSIDL_RUNTIME_C_MSG_INIT_ALL);
    return self;
}

static void forget_strings(Strings *kept)
{
    Py_CLEAR(kept->list);
    PyMem_RawFree(kept->text);
    PyMem_RawFree(kept->sizes);
    kept->text = NULL;
    kept->sizes = NULL;
}

static void message_dealloc(Message *self)
{
    if (self->owner) {
        Py_DECREF(self->owner);
    } else {
        if (self->data)
            self->members->fini_function(self->data);
        if (self->lists)
            for (uint32_t i = 0; i < self->members->member_count_; i++)
                forget_strings(&self->lists[i]);
        PyMem_RawFree(self->data);
        PyMem_RawFree(self->lists);
    }
    PyObject_Free(self);
}

static const Member *find_member(const Message *self, PyObject *name)
{
    const char *text = PyUnicode_AsUTF8(name);
    if (!text) {
        PyErr_Clear();
        return NULL;
    }
    for (uint32_t i = 0; i < self->members->member_count_; i++)
        if (!strcmp(self->members->members_[i].name_, text))
            return &self->members->members_[i];
    return NULL;
}

/* Doubles as array('d'), as rclpy gives them. */
static PyObject *as_array(const double *values, size_t count)
{
    PyObject *bytes = PyBytes_FromStringAndSize((const char *)values,
                                                (Py_ssize_t)(count * sizeof *values));
    if (!bytes)
        return NULL;
    PyObject *array = PyObject_CallFunction(array_type, "sO", "d", bytes);
    Py_DECREF(bytes);
    return array;
}

typedef rosidl_runtime_c__String__Sequence StringRow;

static bool same_strings(const Strings *kept, const StringRow *row)
{
    if (!kept->list || PyList_GET_SIZE(kept->list) != (Py_ssize_t)row->size)
        return false;
    const char *text = kept->text;
    for (size_t i = 0; i < row->size; i++) {
        const size_t size = row->data[i].size;
        if (size != kept->sizes[i] || memcmp(text, row->data[i].data, size))
            return false;
        text += size;
    }
    return true;
}

static PyObject *as_text(const rosidl_runtime_c__String *string)
{
    return PyUnicode_DecodeUTF8(string->data ? string->data : "", (Py_ssize_t)string->size,
                                "replace");
}

static PyObject *new_list(const StringRow *row)
{
    PyObject *list = PyList_New((Py_ssize_t)row->size);
    for (size_t i = 0; list && i < row->size; i++) {
        PyObject *text = as_text(&row->data[i]);
        if (text)
            PyList_SET_ITEM(list, (Py_ssize_t)i, text);
        else
            Py_CLEAR(list);
    }
    return list;
}

static int keep_strings(Strings *kept, const StringRow *row)
{
    size_t total = 0;
    for (size_t i = 0; i < row->size; i++)
        total += row->data[i].size;
    forget_strings(kept);
    kept->text = PyMem_RawMalloc(total + 1);
    kept->sizes = PyMem_RawMalloc((row->size + 1) * sizeof *kept->sizes);
    if (!kept->text || !kept->sizes) {
        PyErr_NoMemory();
        return -1;
    }
    char *text = kept->text;
    for (size_t i = 0; i < row->size; i++) {
        kept->sizes[i] = row->data[i].size;
        memcpy(text, row->data[i].data, row->data[i].size);
        text += row->data[i].size;
    }
    kept->list = new_list(row);
    return kept->list ? 0 : -1;
}

/* The list of strings, the same object as long as the strings are the same. */
static PyObject *as_list(Strings *kept, const StringRow *row)
{
    if (!kept)
        return new_list(row);
    if (!same_strings(kept, row) && keep_strings(kept, row))
        return NULL;
    return Py_NewRef(kept->list);
}

static PyObject *unsupported(const Message *self, const Member *member)
{
    return PyErr_Format(PyExc_TypeError, "%s.%s: this kind of field is not supported here",
                        self->members->message_name_, member->name_);
}

static PyObject *get_row(Message *self, const Member *member, const char *at)
{
    if (member->type_id_ == TYPE(DOUBLE)) {
        if (member->array_size_ && !member->is_upper_bound_)
            return as_array((const double *)at, member->array_size_);
        const rosidl_runtime_c__double__Sequence *row = (const void *)at;
        return as_array(row->data, row->size);
    }
    if (member->type_id_ == TYPE(STRING) && !member->array_size_) {
        Strings *kept = self->lists ? &self->lists[member - self->members->members_] : NULL;
        return as_list(kept, (const void *)at);
    }
    return unsupported(self, member);
}

static PyObject *message_get(Message *self, PyObject *name)
{
    const Member *member = find_member(self, name);
    if (!member)
        return PyObject_GenericGetAttr((PyObject *)self, name);
    const char *at = self->data + member->offset_;
    if (member->is_array_)
        return get_row(self, member, at);
    switch (member->type_id_) {
    case TYPE(DOUBLE): return PyFloat_FromDouble(*(const double *)at);
    case TYPE(FLOAT): return PyFloat_FromDouble(*(const float *)at);
    case TYPE(INT8): return PyLong_FromLong(*(const int8_t *)at);
    case TYPE(UINT8): return PyLong_FromLong(*(const uint8_t *)at);
    case TYPE(INT16): return PyLong_FromLong(*(const int16_t *)at);
    case TYPE(UINT16): return PyLong_FromLong(*(const uint16_t *)at);
    case TYPE(INT32): return PyLong_FromLong(*(const int32_t *)at);
    case TYPE(UINT32): return PyLong_FromUnsignedLong(*(const uint32_t *)at);
    case TYPE(INT64): return PyLong_FromLongLong(*(const int64_t *)at);
    case TYPE(UINT64): return PyLong_FromUnsignedLongLong(*(const uint64_t *)at);
    case TYPE(BOOLEAN): return PyBool_FromLong(*(const bool *)at);
    case TYPE(STRING): return as_text((const void *)at);
    case TYPE(MESSAGE): break;
    default: return unsupported(self, member);
    }
    Message *inner = PyObject_New(Message, &message_type);
    if (!inner)
        return NULL;
    inner->owner = self->owner ? self->owner : self;
    Py_INCREF(inner->owner);
    inner->members = nested(member);
    inner->data = self->data + member->offset_;
    inner->lists = NULL;
    return (PyObject *)inner;
}

static int out_of_memory(void)
{
    PyErr_NoMemory();
    return -1;
}

/* Write doubles from an array('d') or a NumPy vector of float64 or float32. */
static int set_doubles(rosidl_runtime_c__double__Sequence *row, PyObject *value)
{
    Py_buffer buffer;
    if (PyObject_GetBuffer(value, &buffer, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS))
        return -1;
    int result = -1;
    const char kind = buffer.format ? buffer.format[0] : 'B';
    if (buffer.ndim != 1 || (kind != 'd' && kind != 'f')) {
        PyErr_SetString(PyExc_TypeError, "a row of float64 or float32 is wanted");
    } else {
        const size_t count = (size_t)(buffer.len / buffer.itemsize);
        bool room = count <= row->capacity;
        if (!room) {
            from.rosidl_runtime_c__double__Sequence__fini_(row);
            room = from.rosidl_runtime_c__double__Sequence__init_(row, count);
        }
        if (room) {
            row->size = count;
            for (size_t i = 0; i < count; i++)
                row->data[i] = kind == 'd' ? ((const double *)buffer.buf)[i]
                                           : (double)((const float *)buffer.buf)[i];
            result = 0;
        } else {
            out_of_memory();
        }
    }
    PyBuffer_Release(&buffer);
    return result;
}

static int set_string(rosidl_runtime_c__String *string, PyObject *value)
{
    Py_ssize_t length;
    const char *text = PyUnicode_AsUTF8AndSize(value, &length);
    if (!text)
        return -1;
    if (!from.rosidl_runtime_c__String__assignn_(string, text, (size_t)length))
        return out_of_memory();
    return 0;
}

static int set_strings(StringRow *strings, PyObject *value)
{
    PyObject *items = PySequence_Fast(value, "a list of strings is wanted");
    if (!items)
        return -1;
    const size_t count = (size_t)PySequence_Fast_GET_SIZE(items);
    from.rosidl_runtime_c__String__Sequence__fini_(strings);
    int result = 0;
    if (!from.rosidl_runtime_c__String__Sequence__init_(strings, count))
        result = out_of_memory();
    for (size_t i = 0; !result && i < count; i++)
        result = set_string(&strings->data[i], PySequence_Fast_GET_ITEM(items, (Py_ssize_t)i));
    Py_DECREF(items);
    return result;
}

static int set_integer(const Member *member, char *at, PyObject *value)
{
    const long long number = PyLong_AsLongLong(value);
    if (number == -1 && PyErr_Occurred())
        return -1;
    const bool is_signed = member->type_id_ == TYPE(INT32);
    if (is_signed ? number < INT32_MIN || number > INT32_MAX : number < 0 || number > UINT32_MAX) {
        PyErr_Format(PyExc_OverflowError, "%s: %lld does not fit", member->name_, number);
        return -1;
    }
    if (is_signed)
        *(int32_t *)at = (int32_t)number;
    else
        *(uint32_t *)at = (uint32_t)number;
    return 0;
}

/* What a command or a figure consists of can be written; other fields are read only. */
static int message_set(Message *self, PyObject *name, PyObject *value)
{
    const Member *member = value ? find_member(self, name) : NULL;
    if (!member) {
        PyErr_SetObject(PyExc_AttributeError, name);
        return -1;
    }
    char *at = self->data + member->offset_;
    if (member->is_array_ && !member->array_size_) {
        if (member->type_id_ == TYPE(DOUBLE))
            return set_doubles((void *)at, value);
        if (member->type_id_ == TYPE(STRING))
            return set_strings((void *)at, value);
    } else if (!member->is_array_) {
        switch (member->type_id_) {
        case TYPE(INT32):
        case TYPE(UINT32): return set_integer(member, at, value);
        case TYPE(STRING): return set_string((void *)at, value);
        case TYPE(DOUBLE):
            *(double *)at = PyFloat_AsDouble(value);
            return *(double *)at == -1.0 && PyErr_Occurred() ? -1 : 0;
        }
    }
    unsupported(self, member);
    return -1;
}

static PyTypeObject message_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "qpolicy_hot_path.Message",
    .tp_doc = PyDoc_STR("The fields of a ROS message in C, under their names."),
    .tp_basicsize = sizeof(Message),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_dealloc = (destructor)message_dealloc,
    .tp_getattro = (getattrofunc)message_get,
    .tp_setattro = (setattrofunc)message_set,
};

#endif
