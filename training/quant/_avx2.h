/* Vectors of 8 float32, and products of float32: AVX2.
 *
 * A unit is one value.
 */
#ifndef QPOLICY_AVX2_H
#define QPOLICY_AVX2_H

#include <immintrin.h>
#include <stdint.h>

#define TARGET __attribute__((target("avx2,fma")))
#define INLINE static inline __attribute__((always_inline)) TARGET

enum { LANES = 8, COLUMNS = 16, ROWS = 4, PAIR = 1 };
enum { QUAD = PAIR, UNSIGNED_CODES = 0 }; /* codes are multiplied as float32 too */

typedef float unit;
typedef float half; /* a value as products take it */
typedef __m256 vec;
typedef __m256 halves; /* a vec of them */

/* Whether this processor has these instructions. */
static int supported(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

INLINE __m256i first_lanes(long count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count < LANES ? (int)count : LANES),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

INLINE vec all(float value) { return _mm256_set1_ps(value); }
INLINE vec load(const float *from) { return _mm256_loadu_ps(from); }
INLINE void store(float *to, vec values) { _mm256_storeu_ps(to, values); }

/* The first `count` values, which may be negative or beyond a vector; zeros behind them. */
INLINE vec load_first(const float *from, long count) {
    return _mm256_maskload_ps(from, first_lanes(count));
}
INLINE void store_first(float *to, long count, vec values) {
    if (count >= LANES) {
        store(to, values);
    } else {
        _mm256_maskstore_ps(to, first_lanes(count), values);
    }
}

INLINE vec add(vec a, vec b) { return _mm256_add_ps(a, b); }
INLINE vec sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
INLINE vec mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
INLINE vec quotient(vec a, vec b) { return _mm256_div_ps(a, b); }
INLINE vec add_product(vec sum, vec a, vec b) { return _mm256_fmadd_ps(a, b, sum); }
INLINE vec sub_product(vec sum, vec a, vec b) { return _mm256_fnmadd_ps(a, b, sum); }
INLINE vec larger(vec a, vec b) { return _mm256_max_ps(a, b); }
INLINE vec smaller(vec a, vec b) { return _mm256_min_ps(a, b); }
INLINE vec nearest(vec a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

INLINE float sum_of(vec a) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
INLINE float largest_of(vec a) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
INLINE float smallest_of(vec a) { return -largest_of(sub(all(-0.0f), a)); }

/* `values` where `at` > `low`, else 0. */
INLINE vec above(vec values, vec at, vec low) {
    return _mm256_and_ps(_mm256_cmp_ps(at, low, _CMP_GT_OQ), values);
}

/* `values` where `low` < `at` < `high`, else 0. */
INLINE vec inside(vec values, vec at, vec low, vec high) {
    vec in = _mm256_and_ps(_mm256_cmp_ps(at, low, _CMP_GT_OQ), _mm256_cmp_ps(at, high, _CMP_LT_OQ));
    return _mm256_and_ps(in, values);
}

INLINE halves narrow(vec values) { return values; }
INLINE vec widen(halves values) { return values; }
INLINE halves load_halves(const half *from) { return load(from); }
INLINE void store_halves(half *to, halves values) { store(to, values); }
INLINE void store_first_halves(half *to, long count, halves values) {
    store_first(to, count, values);
}

/* LANES units whose values are those of a line. */
INLINE void store_units(unit *to, const halves *lines) { store(to, lines[0]); }

/* LANES units of neighbours in one line, of which `count` values are given. */
INLINE vec units_of(const float *line, long count) { return load_first(line, count); }

/* LANES codes as units side by side; units of neighbours in one line. */
INLINE void store_codes(unit *to, vec codes) { store(to, codes); }
INLINE vec quads_of(const float *line, long count) { return units_of(line, count); }

/* A square of LANES by LANES with rows and columns exchanged. */
INLINE void transpose(vec *rows) {
    __m256 pairs[LANES], fours[LANES];
#pragma GCC unroll 8
    for (int i = 0; i < LANES; i += 2) {
        pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < LANES; i++) {
        __m256d first = (__m256d)pairs[i / 4 * 4 + i % 4 / 2];
        __m256d second = (__m256d)pairs[i / 4 * 4 + i % 4 / 2 + 2];
        fours[i] = (__m256)(i % 2 ? _mm256_unpackhi_pd(first, second)
                                  : _mm256_unpacklo_pd(first, second));
    }
    /* Each vector of `fours` has two columns of four rows: i % 4 and 4 + i % 4. */
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        rows[i] = _mm256_permute2f128_ps(fours[i], fours[4 + i], 0x20);
        rows[4 + i] = _mm256_permute2f128_ps(fours[i], fours[4 + i], 0x31);
    }
}

/* A block of `rows` (6 at most) by COLUMNS sums, from `bias` (COLUMNS values, or NULL for 0): rows
 * of `out` of stride `row`, whose first `columns` are stored. */
INLINE void tile(const unit *left, long by_row, long by_unit, const unit *right, long units,
                 const float *bias, float *out, long row, const int rows, long columns) {
    vec low[6], high[6];
    vec low_bias = bias ? load(bias) : all(0.0f), high_bias = bias ? load(bias + LANES) : all(0.0f);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        low[r] = low_bias;
        high[r] = high_bias;
    }
    for (long k = 0; k < units; k++) {
        vec b0 = load(right + k * COLUMNS), b1 = load(right + k * COLUMNS + LANES);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            vec a = _mm256_broadcast_ss(left + r * by_row + k * by_unit);
            low[r] = add_product(low[r], a, b0);
            high[r] = add_product(high[r], a, b1);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        store_first(out + r * row, columns, low[r]);
        store_first(out + r * row + LANES, columns - LANES, high[r]);
    }
}

/* Tiles side by side down `rows`, a multiple of ROWS: of 6 rows, which keep both multipliers busy,
 * and where these do not go in evenly of 4. */
INLINE void tiles(const unit *left, long by_row, long by_unit, const unit *right, long units,
                  const float *bias, float *out, long row, long rows, long columns) {
    while (rows > 0) {
        int taken = rows % 6 == 0 || rows > 8 ? 6 : 4;
        if (taken == 6) {
            tile(left, by_row, by_unit, right, units, bias, out, row, 6, columns);
        } else {
            tile(left, by_row, by_unit, right, units, bias, out, row, 4, columns);
        }
        left += taken * by_row;
        out += taken * row;
        rows -= taken;
    }
}

/* `tiles` of units of codes, from `start` (COLUMNS integers). */
INLINE void code_tiles(const unit *left, long by_row, const unit *right, long units,
                       const float *start, float *out, long row, long rows, long columns) {
    tiles(left, by_row, 1, right, units, start, out, row, rows, columns);
}

#endif
