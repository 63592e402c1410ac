/* Vectors of 16 float32, and products that take bfloat16 and sum float32: AVX512-BF16. Codes, of 8
 * bits at most, are multiplied as bytes, twice as many at once: AVX512-VNNI, which all of those
 * have.
 *
 * A unit is two neighbours along the summed index, or four bytes: 32 bits.
 */
#ifndef QPOLICY_AVX512BF16_H
#define QPOLICY_AVX512BF16_H

#include <immintrin.h>
#include <stdint.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16,avx512vnni,fma")))
#define INLINE static inline __attribute__((always_inline)) TARGET

enum { LANES = 16, COLUMNS = 32, ROWS = 8, PAIR = 2 };
enum { QUAD = 4, UNSIGNED_CODES = 1 }; /* codes a unit; whether those on the left are unsigned */

typedef uint32_t unit;
typedef uint16_t half;  /* a value as products take it */
typedef __m512 vec;
typedef __m256i halves; /* a vec of them */

/* Whether this processor has these instructions. */
static int supported(void) {
    return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}

INLINE __mmask16 first_lanes(long count) {
    return count >= LANES ? 0xffff : (__mmask16)((1u << (count > 0 ? count : 0)) - 1);
}

INLINE vec all(float value) { return _mm512_set1_ps(value); }
INLINE vec load(const float *from) { return _mm512_loadu_ps(from); }
INLINE void store(float *to, vec values) { _mm512_storeu_ps(to, values); }

/* The first `count` values, which may be negative or beyond a vector; zeros behind them. */
INLINE vec load_first(const float *from, long count) {
    return _mm512_maskz_loadu_ps(first_lanes(count), from);
}
INLINE void store_first(float *to, long count, vec values) {
    _mm512_mask_storeu_ps(to, first_lanes(count), values);
}

INLINE vec add(vec a, vec b) { return _mm512_add_ps(a, b); }
INLINE vec sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
INLINE vec mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
INLINE vec quotient(vec a, vec b) { return _mm512_div_ps(a, b); }
INLINE vec add_product(vec sum, vec a, vec b) { return _mm512_fmadd_ps(a, b, sum); }
INLINE vec sub_product(vec sum, vec a, vec b) { return _mm512_fnmadd_ps(a, b, sum); }
INLINE vec larger(vec a, vec b) { return _mm512_max_ps(a, b); }
INLINE vec smaller(vec a, vec b) { return _mm512_min_ps(a, b); }
INLINE vec nearest(vec a) { return _mm512_roundscale_ps(a, 0); }
INLINE float sum_of(vec a) { return _mm512_reduce_add_ps(a); }
INLINE float largest_of(vec a) { return _mm512_reduce_max_ps(a); }
INLINE float smallest_of(vec a) { return _mm512_reduce_min_ps(a); }

/* `values` where `at` > `low`, else 0. */
INLINE vec above(vec values, vec at, vec low) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(at, low, _CMP_GT_OQ), values);
}

/* `values` where `low` < `at` < `high`, else 0. */
INLINE vec inside(vec values, vec at, vec low, vec high) {
    __mmask16 in = _mm512_cmp_ps_mask(at, low, _CMP_GT_OQ) & _mm512_cmp_ps_mask(at, high, _CMP_LT_OQ);
    return _mm512_maskz_mov_ps(in, values);
}

INLINE halves narrow(vec values) { return (__m256i)_mm512_cvtneps_pbh(values); }
INLINE vec widen(halves values) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(values), 16));
}
INLINE halves load_halves(const half *from) { return _mm256_loadu_si256((const __m256i *)from); }
INLINE void store_halves(half *to, halves values) { _mm256_storeu_si256((__m256i *)to, values); }
INLINE void store_first_halves(half *to, long count, halves values) {
    _mm256_mask_storeu_epi16(to, first_lanes(count), values);
}

/* LANES units whose values are those of neighbouring lines: the first one's is the lower half. */
INLINE void store_units(unit *to, const halves *lines) {
    __m512i low = _mm512_cvtepu16_epi32(lines[0]), high = _mm512_cvtepu16_epi32(lines[1]);
    _mm512_storeu_si512(to, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}

/* LANES units of neighbours in one line, of which `count` values are given, as bits. */
INLINE vec units_of(const float *line, long count) {
    vec low = load_first(line, count), high = load_first(line + LANES, count - LANES);
    return (vec)(__m512i)_mm512_cvtne2ps_pbh(high, low);
}

/* Codes as bytes. */
INLINE __m128i bytes_of(vec codes) { return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(codes)); }

/* LANES codes, unsigned, as units side by side. */
INLINE void store_codes(unit *to, vec codes) { _mm_storeu_si128((__m128i *)to, bytes_of(codes)); }

/* LANES units of codes that are neighbours in one line, of which `count` are given, as bits. */
INLINE vec quads_of(const float *line, long count) {
    __m512i quads = _mm512_castsi128_si512(bytes_of(load_first(line, count)));
    quads = _mm512_inserti32x4(quads, bytes_of(load_first(line + LANES, count - LANES)), 1);
    quads = _mm512_inserti32x4(quads, bytes_of(load_first(line + 2 * LANES, count - 2 * LANES)), 2);
    quads = _mm512_inserti32x4(quads, bytes_of(load_first(line + 3 * LANES, count - 3 * LANES)), 3);
    return (vec)quads;
}

/* A square of LANES by LANES with rows and columns exchanged. */
INLINE void transpose(vec *rows) {
    __m512 pairs[LANES], fours[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i += 2) {
        pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) {
        __m512d first = (__m512d)pairs[i / 4 * 4 + i % 4 / 2];
        __m512d second = (__m512d)pairs[i / 4 * 4 + i % 4 / 2 + 2];
        fours[i] = (__m512)(i % 2 ? _mm512_unpackhi_pd(first, second)
                                  : _mm512_unpacklo_pd(first, second));
    }
    /* Each vector of `fours` has four columns of four rows: column i % 4 + 4 * quarter. */
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512 a = _mm512_shuffle_f32x4(fours[i], fours[4 + i], 0x88);
        __m512 b = _mm512_shuffle_f32x4(fours[i], fours[4 + i], 0xdd);
        __m512 c = _mm512_shuffle_f32x4(fours[8 + i], fours[12 + i], 0x88);
        __m512 d = _mm512_shuffle_f32x4(fours[8 + i], fours[12 + i], 0xdd);
        rows[i] = _mm512_shuffle_f32x4(a, c, 0x88);
        rows[4 + i] = _mm512_shuffle_f32x4(b, d, 0x88);
        rows[8 + i] = _mm512_shuffle_f32x4(a, c, 0xdd);
        rows[12 + i] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
}

/* A block of ROWS by COLUMNS sums, from `bias` (COLUMNS values, or NULL for 0): rows of `out` of
 * stride `row`, whose first `columns` are stored. */
INLINE void tile(const unit *left, long by_row, long by_unit, const unit *right, long units,
                 const float *bias, float *out, long row, long columns) {
    __m512 low[ROWS], high[ROWS];
    __m512 low_bias = bias ? load(bias) : all(0.0f);
    __m512 high_bias = bias ? load(bias + LANES) : all(0.0f);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
        low[r] = low_bias;
        high[r] = high_bias;
    }
    for (long k = 0; k < units; k++) {
        __m512bh b0 = (__m512bh)_mm512_loadu_si512(right + k * COLUMNS);
        __m512bh b1 = (__m512bh)_mm512_loadu_si512(right + k * COLUMNS + LANES);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            __m512bh a = (__m512bh)_mm512_set1_epi32((int)left[r * by_row + k * by_unit]);
            low[r] = _mm512_dpbf16_ps(low[r], a, b0);
            high[r] = _mm512_dpbf16_ps(high[r], a, b1);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
        store_first(out + r * row, columns, low[r]);
        store_first(out + r * row + LANES, columns - LANES, high[r]);
    }
}

/* Tiles side by side down `rows`, a multiple of ROWS. */
INLINE void tiles(const unit *left, long by_row, long by_unit, const unit *right, long units,
                  const float *bias, float *out, long row, long rows, long columns) {
    for (long i = 0; i < rows; i += ROWS) {
        tile(left + i * by_row, by_row, by_unit, right, units, bias, out + i * row, row, columns);
    }
}

/* `tiles` of units of codes, unsigned ones on the left, from `start` (COLUMNS integers). */
INLINE void code_tiles(const unit *left, long by_row, const unit *right, long units,
                       const float *start, float *out, long row, long rows, long columns) {
    __m512i low_start = _mm512_cvtps_epi32(load(start));
    __m512i high_start = _mm512_cvtps_epi32(load(start + LANES));
    for (long i = 0; i < rows; i += ROWS, left += ROWS * by_row, out += ROWS * row) {
        __m512i low[ROWS], high[ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            low[r] = low_start;
            high[r] = high_start;
        }
        for (long k = 0; k < units; k++) {
            __m512i b0 = _mm512_loadu_si512(right + k * COLUMNS);
            __m512i b1 = _mm512_loadu_si512(right + k * COLUMNS + LANES);
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++) {
                __m512i a = _mm512_set1_epi32((int)left[r * by_row + k]);
                low[r] = _mm512_dpbusd_epi32(low[r], a, b0);
                high[r] = _mm512_dpbusd_epi32(high[r], a, b1);
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            store_first(out + r * row, columns, _mm512_cvtepi32_ps(low[r]));
            store_first(out + r * row + LANES, columns - LANES, _mm512_cvtepi32_ps(high[r]));
        }
    }
}

#endif
