/* Products of matrices for the learners' passes, from vectors of `_avx512bf16.h` or `_avx2.h`.
 *
 * A unit is PAIR neighbours along the summed index, as the processor multiplies them. The right
 * factor lies in panels of COLUMNS columns: unit (k, j) of a matrix with `units` a column is at
 * PANEL(units, k, j). The left factor is any matrix of units with two strides.
 */
#ifndef QPOLICY_TILES_H
#define QPOLICY_TILES_H

#ifdef PRODUCTS_FLOAT32
#include "_avx2.h"
#else
#include "_avx512bf16.h"
#endif

#define PANEL(units, k, j) ((((j) / COLUMNS) * (units) + (k)) * COLUMNS + (j) % COLUMNS)

/* Units that hold `values` along the summed index. */
#define UNITS(values) (((values) + PAIR - 1) / PAIR)

/* `values`, filled up to whole panels. */
#define FILLED(values) (((values) + COLUMNS - 1) / COLUMNS * COLUMNS)

/* Product of `rows` (a multiple of ROWS) by `columns`; the other arguments are those of `tile`. */
static TARGET void product(const unit *left, long by_row, long by_unit, const unit *right,
                           long units, const float *bias, float *out, long row, long rows,
                           long columns) {
    for (long j = 0; j < columns; j += COLUMNS) {
        tiles(left, by_row, by_unit, right + j * units, units, bias ? bias + j : 0, out + j, row,
              rows, columns - j);
    }
}

/* PAIR rows of the same length, `stride` apart, as panels' units `k`. */
INLINE void panel_rows(const float *rows, long stride, long length, long units, long k,
                       unit *panels) {
    for (long j = 0; j < length; j += LANES) {
        halves lines[PAIR];
        for (int r = 0; r < PAIR; r++) lines[r] = narrow(load(rows + r * stride + j));
        store_units(panels + PANEL(units, k, j), lines);
    }
}

/* A row as units side by side. */
INLINE void unit_row(const float *values, long length, unit *row) {
    for (long j = 0; j < length; j += LANES) store_halves((half *)row + j, narrow(load(values + j)));
}

/* Panels of units along the columns of `weights` (outputs, inputs), float32: for products with
 * what comes in. `units` of `each` neighbours, made by `of`, hold the inputs, the last may not be
 * full. */
INLINE void panels_along(const float *weights, long outputs, long inputs, long units, long each,
                         vec (*of)(const float *, long), unit *panels) {
    for (long j = 0; j < outputs; j += LANES) {
        for (long k = 0; k < units; k += LANES) {
            vec square[LANES];
#pragma GCC unroll 16
            for (int r = 0; r < LANES; r++) {
                const float *line = weights + (j + r) * inputs + each * k;
                square[r] = j + r < outputs ? of(line, inputs - each * k) : all(0.0f);
            }
            transpose(square);
            for (long i = 0; i < LANES && k + i < units; i++) {
                store((float *)(panels + PANEL(units, k + i, j)), square[i]);
            }
        }
    }
}

INLINE void panels_by_input(const float *weights, long outputs, long inputs, long units,
                            unit *panels) {
    panels_along(weights, outputs, inputs, units, PAIR, units_of, panels);
}

INLINE void code_panels(const float *codes, long outputs, long inputs, long units, unit *panels) {
    panels_along(codes, outputs, inputs, units, QUAD, quads_of, panels);
}

/* A row of codes, `shift` added, as units side by side. */
INLINE void code_row(const float *codes, long length, float shift, unit *row) {
    for (long j = 0; j < length; j += LANES) {
        store_codes(row + j / QUAD, add(load(codes + j), all(shift)));
    }
}

/* Product of rows of codes by panels of codes, from `start`, a number a column. */
INLINE void code_product(const unit *left, long by_row, const unit *right, long units,
                         const float *start, float *out, long row, long rows, long columns) {
    for (long j = 0; j < columns; j += COLUMNS) {
        code_tiles(left, by_row, right + j * units, units, start + j, out + j, row, rows,
                   columns - j);
    }
}

/* Panels of units along the rows of `weights` (outputs, inputs), `columns` of them from the first
 * on, in panels of `units`: for products with gradients that come back. */
static TARGET void panels_by_output(const float *weights, long outputs, long inputs, long columns,
                                    long units, unit *panels) {
    for (long k = 0; PAIR * k < outputs; k++) {
        for (long j = 0; j < columns; j += LANES) {
            halves lines[PAIR];
            for (long r = 0; r < PAIR; r++) {
                long given = PAIR * k + r < outputs ? columns - j : 0;
                lines[r] = narrow(load_first(weights + (PAIR * k + r) * inputs + j, given));
            }
            store_units(panels + PANEL(units, k, j), lines);
        }
    }
}

#endif
