/* Products of bfloat16 matrices with float32 sums, by AVX512-BF16.
 *
 * A unit is two neighbours along the summed index, 32 bits. The right factor lies in panels of 32
 * columns: unit (k, j) of a matrix with `pairs` units a column is at PANEL(pairs, k, j). The left
 * factor is any matrix of units with two strides.
 */
#ifndef QPOLICY_TILES_H
#define QPOLICY_TILES_H

#include <immintrin.h>
#include <stdint.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16,fma")))
#define INLINE static inline __attribute__((always_inline)) TARGET

enum { LANES = 16, COLUMNS = 32, ROWS = 8 };

#define PANEL(pairs, k, j) ((((j) / COLUMNS) * (pairs) + (k)) * COLUMNS + (j) % COLUMNS)

/* 16 float32 as 16 bfloat16, rounded to the nearest. */
INLINE __m256i narrow(__m512 values) {
    return (__m256i)_mm512_cvtneps_pbh(values);
}

INLINE __m512 widen(__m256i values) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(values), 16));
}

/* Units of two rows: the first row's value is the lower half. */
INLINE __m512i paired(__m256i first, __m256i second) {
    return _mm512_or_si512(_mm512_cvtepu16_epi32(first),
                           _mm512_slli_epi32(_mm512_cvtepu16_epi32(second), 16));
}

INLINE __mmask16 first_lanes(long count) {
    return count >= LANES ? 0xffff : (__mmask16)((1u << (count > 0 ? count : 0)) - 1);
}

/* An 8 by 32 block of sums, from `bias` (32 values, or NULL for 0): rows of `out` of stride
 * `row`, whose first `columns` are stored. */
INLINE void tile(const uint32_t *left, long by_row, long by_unit, const uint32_t *right, long pairs,
                 const float *bias, float *out, long row, long columns) {
    __m512 low[ROWS], high[ROWS];
    __m512 low_bias = bias ? _mm512_loadu_ps(bias) : _mm512_setzero_ps();
    __m512 high_bias = bias ? _mm512_loadu_ps(bias + LANES) : _mm512_setzero_ps();
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
        low[r] = low_bias;
        high[r] = high_bias;
    }
    for (long k = 0; k < pairs; k++) {
        __m512bh b0 = (__m512bh)_mm512_loadu_si512(right + k * COLUMNS);
        __m512bh b1 = (__m512bh)_mm512_loadu_si512(right + k * COLUMNS + LANES);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            __m512bh a = (__m512bh)_mm512_set1_epi32((int)left[r * by_row + k * by_unit]);
            low[r] = _mm512_dpbf16_ps(low[r], a, b0);
            high[r] = _mm512_dpbf16_ps(high[r], a, b1);
        }
    }
    __mmask16 first = first_lanes(columns), second = first_lanes(columns - LANES);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
        _mm512_mask_storeu_ps(out + r * row, first, low[r]);
        _mm512_mask_storeu_ps(out + r * row + LANES, second, high[r]);
    }
}

/* Product of `rows` (a multiple of 8) by `columns`; arguments as `tile`'s. */
static TARGET void product(const uint32_t *left, long by_row, long by_unit, const uint32_t *right,
                           long pairs, const float *bias, float *out, long row, long rows,
                           long columns) {
    for (long j = 0; j < columns; j += COLUMNS) {
        for (long i = 0; i < rows; i += ROWS) {
            tile(left + i * by_row, by_row, by_unit, right + j * pairs, pairs,
                 bias ? bias + j : 0, out + i * row + j, row, columns - j);
        }
    }
}

/* Two rows of the same length as panels' units `k`. */
INLINE void panel_rows(const float *first, const float *second, long length, long pairs, long k,
                       uint32_t *panels) {
    for (long j = 0; j < length; j += LANES) {
        _mm512_storeu_si512(
            panels + PANEL(pairs, k, j),
            paired(narrow(_mm512_loadu_ps(first + j)), narrow(_mm512_loadu_ps(second + j))));
    }
}

/* A row as units side by side. */
INLINE void unit_row(const float *values, long length, uint32_t *row) {
    for (long j = 0; j < length; j += LANES) {
        _mm256_storeu_si256((__m256i *)((uint16_t *)row + j), narrow(_mm512_loadu_ps(values + j)));
    }
}

/* Panels of units along the columns of `weights` (outputs, inputs), float32: for products with
 * what comes in. `pairs` units hold the inputs, the last may be half empty. */
static TARGET void panels_by_input(const float *weights, long outputs, long inputs, long pairs,
                                   uint32_t *panels) {
    __m512i places = _mm512_mullo_epi32(
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
        _mm512_set1_epi32(COLUMNS));
    for (long j = 0; j < outputs; j++) {
        const float *line = weights + j * inputs;
        for (long k = 0; k < pairs; k += LANES) {
            long left = inputs - 2 * k;
            __m512 low = _mm512_maskz_loadu_ps(first_lanes(left), line + 2 * k);
            __m512 high = _mm512_maskz_loadu_ps(first_lanes(left - LANES), line + 2 * k + LANES);
            __m512i units = (__m512i)_mm512_cvtne2ps_pbh(high, low);
            _mm512_mask_i32scatter_epi32(panels + PANEL(pairs, k, j), first_lanes(pairs - k),
                                         places, units, 4);
        }
    }
}

/* Panels of units along the rows of `weights` (outputs, inputs), `columns` of them from the first
 * on, in panels of `pairs` units: for products with gradients that come back. */
static TARGET void panels_by_output(const float *weights, long outputs, long inputs, long columns,
                                    long pairs, uint32_t *panels) {
    for (long k = 0; 2 * k < outputs; k++) {
        const float *line = weights + 2 * k * inputs;
        for (long j = 0; j < columns; j += LANES) {
            __mmask16 mask = first_lanes(columns - j);
            __m512 even = _mm512_maskz_loadu_ps(mask, line + j);
            mask = 2 * k + 1 < outputs ? mask : 0;
            __m512 odd = _mm512_maskz_loadu_ps(mask, line + inputs + j);
            _mm512_storeu_si512(panels + PANEL(pairs, k, j), paired(narrow(even), narrow(odd)));
        }
    }
}

#endif
