/* The integer arithmetic of a policy: input codes, layers, counts. No Python in here.
 *
 * Layout. The outputs of a layer are padded to blocks of LANES neurons and its inputs to a multiple
 * of LANES, with zero weights. Within a block the weights lie [input / group][lane][input % group]:
 * one broadcast of `group` codes meets sixteen neurons at once. `group` is 4 for instructions that
 * sum products of bytes and 1 in plain C.
 *
 * Signed input codes are stored with 2^(b_in-1) added, so that every layer multiplies unsigned
 * codes with signed weights, which is what the vector instructions want; `start` takes the
 * addition back. Thresholds of padding are INT32_MAX, which no sum reaches. All sums are exact: with at most MAX_WIDTH inputs, codes up to 255 and weights
 * down to -128 no partial sum exceeds 255 * 128 * 2^14 + 128 * 128 * 2^14 < 2^30.
 */
#ifndef QPOLICY_KERNEL_LAYERS_H
#define QPOLICY_KERNEL_LAYERS_H

#include <float.h>
#include <stdint.h>
#include <string.h>

/* Excess precision (x87) would change input codes. */
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0
#error "float arithmetic has excess precision here; build without the kernel, or with -msse2"
#endif

#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
#define HAVE_X86 1
#include <immintrin.h>
#define TARGET_AVX2 __attribute__((target("avx2,popcnt")))
#define TARGET_VNNI __attribute__((target("avx2,popcnt,avx512f,avx512bw,avx512vl,avx512vnni")))
#endif

#if defined(__GNUC__) || defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#elif defined(_MSC_VER)
#define INLINE static __forceinline
#else
#define INLINE static inline
#endif

enum { LANES = 16, MAX_WIDTH = 1 << 14, FEW_BITS = 4 };
enum { ROWS = 4 }; /* observations of a batch that go through a layer together */

typedef struct {
    int inputs, outputs; /* as in the policy */
    int padded, blocks;  /* inputs padded to a multiple of LANES; blocks of LANES outputs */
    int bits, levels;    /* levels = 2^bits - 1 thresholds a neuron */
    int run;             /* additions that an int16 sum of products holds, see Instructions */
    int8_t *weights;     /* [blocks][padded / group][LANES][group] */
    int32_t *start;      /* [blocks][LANES] */
    /* bits <= FEW_BITS: [blocks][levels][LANES]. Else [blocks][LANES][levels + 1], and in `coarse`
     * each sixteenth one again: [blocks][levels / 16][LANES]. */
    int32_t *thresholds, *coarse;
} Layer;

typedef struct {
    int size;
    float low, high; /* range of the codes */
    const float *mean, *gain;
} Input;

/* Plain C, for every compiler and machine. */

INLINE int input_is_finite(const float *values, int size) {
    uint32_t bad = 0;
    for (int i = 0; i < size; i++) {
        uint32_t bits;
        memcpy(&bits, values + i, sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return !bad;
}

/* q = clip(rint((x - mean) * gain)). Clipping first is the same, as both ends are integers, and
 * below 2^22 adding and subtracting 1.5 * 2^23 rounds to an integer, half to even. */
INLINE void input_codes(const Input *input, const float *values, uint8_t *codes) {
    const float magic = 12582912.0f, low = input->low, high = input->high;
    const float *mean = input->mean, *gain = input->gain;
    const int size = input->size; /* a store to `codes` might change it, for all C knows */
    for (int i = 0; i < size; i++) {
        float scaled = (values[i] - mean[i]) * gain[i];
        scaled = scaled > low ? scaled : low;
        scaled = scaled < high ? scaled : high;
        float rounded = (scaled + magic) - magic;
        codes[i] = (uint8_t)(int32_t)(rounded - low);
    }
}

/* The thresholds of a block of neurons. */
INLINE const int32_t *thresholds_of(const Layer *layer, int block) {
    const int levels = layer->bits <= FEW_BITS ? layer->levels : layer->levels + 1;
    return layer->thresholds + (size_t)block * LANES * levels;
}

static void count_plain(const Layer *layer, int block, const int32_t *sums, uint8_t *counts) {
    const int levels = layer->levels;
    const int32_t *row = thresholds_of(layer, block);
    int32_t count[LANES] = {0};
    if (layer->bits <= FEW_BITS) {
        for (int level = 0; level < levels; level++, row += LANES)
            for (int lane = 0; lane < LANES; lane++) count[lane] += sums[lane] >= row[lane];
    } else {
        for (int lane = 0; lane < LANES; lane++, row += levels + 1)
            for (int step = (levels + 1) / 2; step; step /= 2)
                count[lane] += sums[lane] >= row[count[lane] + step - 1] ? step : 0;
    }
    for (int lane = 0; lane < LANES; lane++) counts[lane] = (uint8_t)count[lane];
}

/* Sums of `run` products stay in int16, which doubles what one vector instruction does. Zero codes,
 * half of all behind a ReLU, are skipped. */
static void layer_plain(const Layer *layer, const uint8_t *codes, uint8_t *counts) {
    const int8_t *weights = layer->weights;
    for (int block = 0; block < layer->blocks; block++) {
        int32_t sums[LANES];
        memcpy(sums, layer->start + block * LANES, sizeof sums);
        for (int i = 0; i < layer->padded;) {
            int16_t narrow[LANES] = {0};
            for (int left = layer->run; left && i < layer->padded; i++, weights += LANES) {
                const int16_t code = codes[i];
                if (!code) continue;
                left--;
                for (int lane = 0; lane < LANES; lane++)
                    narrow[lane] = (int16_t)(narrow[lane] + code * weights[lane]);
            }
            for (int lane = 0; lane < LANES; lane++) sums[lane] += narrow[lane];
        }
        count_plain(layer, block, sums, counts + block * LANES);
    }
}

static int finite_plain(const float *values, int size) { return input_is_finite(values, size); }

static void input_plain(const Input *input, const float *values, uint8_t *codes) {
    input_codes(input, values, codes);
}

#ifdef HAVE_X86

INLINE int32_t four_codes(const uint8_t *codes, int group) {
    int32_t four;
    memcpy(&four, codes + group * 4, sizeof four);
    return four;
}

/* AVX2: products of unsigned and signed bytes, added in pairs into int16, `run` groups at a time
 * before they are widened; where one pair may exceed int16, codes are split at bit 7. */

TARGET_AVX2 INLINE __m256i widen_avx2(__m256i sums, __m256i pairs) {
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/* How many of `levels` rows of LANES thresholds each of eight sums reaches. */
TARGET_AVX2 INLINE __m256i count_avx2(const int32_t *row, int levels, __m256i sums) {
    __m256i missed = _mm256_setzero_si256(); /* minus one for each threshold above the sum */
    for (int level = 0; level < levels; level++, row += LANES) {
        __m256i limit = _mm256_loadu_si256((const __m256i *)row);
        missed = _mm256_add_epi32(missed, _mm256_cmpgt_epi32(limit, sums));
    }
    return _mm256_add_epi32(missed, _mm256_set1_epi32(levels));
}

TARGET_AVX2 INLINE void store_avx2(const Layer *layer, int block, __m256i low, __m256i high,
                                   uint8_t *counts) {
    const int many = layer->bits > FEW_BITS, levels = many ? layer->levels / 16 : layer->levels;
    const int32_t *row = thresholds_of(layer, block);
    const int32_t *first = many ? layer->coarse + (size_t)block * LANES * levels : row;
    counts += block * LANES;
    __m256i reached[2] = {count_avx2(first, levels, low), count_avx2(first + 8, levels, high)};
    if (many) {
        /* Sixteen thresholds are left for each neuron, one after the other in memory. */
        int32_t sum[LANES], from[LANES];
        _mm256_storeu_si256((__m256i *)sum, low);
        _mm256_storeu_si256((__m256i *)sum + 1, high);
        _mm256_storeu_si256((__m256i *)from, reached[0]);
        _mm256_storeu_si256((__m256i *)from + 1, reached[1]);
        for (int lane = 0; lane < LANES; lane++, row += layer->levels + 1) {
            const __m256i *fine = (const __m256i *)(row + 16 * from[lane]);
            const __m256i one = _mm256_set1_epi32(sum[lane]);
            __m256i a = _mm256_cmpgt_epi32(_mm256_loadu_si256(fine), one);
            __m256i b = _mm256_cmpgt_epi32(_mm256_loadu_si256(fine + 1), one);
            int missed = _mm256_movemask_epi8(_mm256_packs_epi32(a, b)); /* two bits each */
            counts[lane] = (uint8_t)(16 * (from[lane] + 1) - __builtin_popcount(missed) / 2);
        }
        return;
    }
    __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(reached[0], reached[1]), 0xD8);
    __m128i bytes =
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)counts, bytes);
}

TARGET_AVX2 INLINE void tile_avx2(const Layer *layer, const uint8_t *codes, uint8_t *counts,
                                  int first, const int blocks) {
    const int groups = layer->padded / 4, run = layer->run;
    const size_t stride = (size_t)layer->padded * LANES;
    const int8_t *weights = layer->weights + first * stride;
    __m256i sums[4];
    for (int i = 0; i < 2 * blocks; i++)
        sums[i] = _mm256_loadu_si256((const __m256i *)(layer->start + first * LANES) + i);
    for (int group = 0; group < groups;) {
        int end = groups - group < run ? groups : group + run;
        __m256i pairs[4];
        for (int i = 0; i < 2 * blocks; i++) pairs[i] = _mm256_setzero_si256();
        for (; group < end; group++) {
            const __m256i four = _mm256_set1_epi32(four_codes(codes, group));
            for (int i = 0; i < 2 * blocks; i++) {
                const int8_t *at = weights + (i / 2) * stride + group * 64 + (i % 2) * 32;
                __m256i weight = _mm256_load_si256((const __m256i *)at);
                pairs[i] = _mm256_add_epi16(pairs[i], _mm256_maddubs_epi16(four, weight));
            }
        }
        for (int i = 0; i < 2 * blocks; i++) sums[i] = widen_avx2(sums[i], pairs[i]);
    }
    for (int b = 0; b < blocks; b++)
        store_avx2(layer, first + b, sums[2 * b], sums[2 * b + 1], counts);
}

TARGET_AVX2 static void wide_avx2(const Layer *layer, const uint8_t *codes, uint8_t *counts) {
    const int8_t *weights = layer->weights;
    const __m256i seven = _mm256_set1_epi8(0x7f);
    for (int block = 0; block < layer->blocks; block++) {
        const __m256i *start = (const __m256i *)(layer->start + block * LANES);
        __m256i sums[2] = {_mm256_loadu_si256(start), _mm256_loadu_si256(start + 1)};
        __m256i tops[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
        for (int group = 0; group < layer->padded / 4; group++, weights += LANES * 4) {
            const __m256i four = _mm256_set1_epi32(four_codes(codes, group));
            const __m256i rest = _mm256_and_si256(four, seven);
            const __m256i top =
                _mm256_srli_epi16(_mm256_andnot_si256(seven, four), 7); /* 0 or 1 a byte */
            for (int i = 0; i < 2; i++) {
                __m256i weight = _mm256_load_si256((const __m256i *)weights + i);
                sums[i] = widen_avx2(sums[i], _mm256_maddubs_epi16(rest, weight));
                tops[i] = widen_avx2(tops[i], _mm256_maddubs_epi16(top, weight));
            }
        }
        for (int i = 0; i < 2; i++)
            sums[i] = _mm256_add_epi32(sums[i], _mm256_slli_epi32(tops[i], 7));
        store_avx2(layer, block, sums[0], sums[1], counts);
    }
}

TARGET_AVX2 static void layer_avx2(const Layer *layer, const uint8_t *codes, uint8_t *counts) {
    if (layer->run == 0) {
        wide_avx2(layer, codes, counts);
        return;
    }
    int block = 0;
    for (; block + 2 <= layer->blocks; block += 2) tile_avx2(layer, codes, counts, block, 2);
    if (block < layer->blocks) tile_avx2(layer, codes, counts, block, 1);
}

TARGET_AVX2 static int finite_avx2(const float *values, int size) {
    return input_is_finite(values, size);
}

TARGET_AVX2 static void input_avx2(const Input *input, const float *values, uint8_t *codes) {
    input_codes(input, values, codes);
}

/* AVX-512 with VNNI: four products of unsigned and signed bytes added into int32 at once. */

TARGET_VNNI INLINE void store_vnni(const Layer *layer, int block, __m512i sums, uint8_t *counts) {
    const int many = layer->bits > FEW_BITS, levels = many ? layer->levels / 16 : layer->levels;
    const int32_t *row = thresholds_of(layer, block);
    const int32_t *first = many ? layer->coarse + (size_t)block * LANES * levels : row;
    const __m512i one = _mm512_set1_epi32(1);
    __m512i reached = _mm512_setzero_si512();
    counts += block * LANES;
    for (int level = 0; level < levels; level++, first += LANES) {
        __mmask16 mask = _mm512_cmpge_epi32_mask(sums, _mm512_loadu_si512(first));
        reached = _mm512_mask_add_epi32(reached, mask, reached, one);
    }
    if (many) {
        /* Sixteen thresholds are left for each neuron, one after the other in memory. */
        int32_t sum[LANES], from[LANES];
        _mm512_storeu_si512(sum, sums);
        _mm512_storeu_si512(from, reached);
        for (int lane = 0; lane < LANES; lane++, row += layer->levels + 1) {
            __m512i fine = _mm512_loadu_si512(row + 16 * from[lane]);
            __mmask16 mask = _mm512_cmple_epi32_mask(fine, _mm512_set1_epi32(sum[lane]));
            counts[lane] = (uint8_t)(16 * from[lane] + __builtin_popcount(mask));
        }
        return;
    }
    _mm_storeu_si128((__m128i *)counts, _mm512_cvtepi32_epi8(reached));
}

/* `chains` sums a block, so that the multiply-adds of one block need not wait for each other. */
TARGET_VNNI INLINE void tile_vnni(const Layer *layer, const uint8_t *codes, uint8_t *counts,
                                  int first, const int blocks, const int chains) {
    const size_t stride = (size_t)layer->padded * LANES;
    const int8_t *weights = layer->weights + first * stride;
    __m512i sums[8];
    for (int i = 0; i < blocks * chains; i++)
        sums[i] = i < blocks ? _mm512_loadu_si512(layer->start + (first + i) * LANES)
                             : _mm512_setzero_si512();
    for (int group = 0; group < layer->padded / 4; group += 4) {
        for (int step = 0; step < 4; step++) {
            const __m512i four = _mm512_set1_epi32(four_codes(codes, group + step));
            for (int b = 0; b < blocks; b++) {
                const int8_t *at = weights + b * stride + (size_t)(group + step) * 64;
                const int i = b + step % chains * blocks;
                sums[i] = _mm512_dpbusd_epi32(sums[i], four, _mm512_load_si512(at));
            }
        }
    }
    for (int b = 0; b < blocks; b++) {
        __m512i sum = sums[b];
        for (int c = 1; c < chains; c++) sum = _mm512_add_epi32(sum, sums[b + c * blocks]);
        store_vnni(layer, first + b, sum, counts);
    }
}

TARGET_VNNI static void layer_vnni(const Layer *layer, const uint8_t *codes, uint8_t *counts) {
    int block = 0;
    for (; block + 4 <= layer->blocks; block += 4) tile_vnni(layer, codes, counts, block, 4, 2);
    for (; block + 2 <= layer->blocks; block += 2) tile_vnni(layer, codes, counts, block, 2, 4);
    if (block < layer->blocks) tile_vnni(layer, codes, counts, block, 1, 4);
}

/* As tile_vnni, for ROWS observations: each vector of weights is loaded once for all of them. Codes
 * lie `padded` bytes apart, counts those of the layer's own width. */
TARGET_VNNI INLINE void tile_rows_vnni(const Layer *layer, const uint8_t *codes, uint8_t *counts,
                                       int first, const int blocks) {
    const size_t stride = (size_t)layer->padded * LANES, apart = (size_t)layer->padded;
    const int8_t *weights = layer->weights + first * stride;
    __m512i sums[4 * ROWS];
    for (int r = 0; r < ROWS; r++)
        for (int b = 0; b < blocks; b++)
            sums[r * blocks + b] = _mm512_loadu_si512(layer->start + (first + b) * LANES);
    for (int group = 0; group < layer->padded / 4; group++) {
        __m512i weight[4];
        for (int b = 0; b < blocks; b++)
            weight[b] = _mm512_load_si512(weights + b * stride + (size_t)group * 64);
        for (int r = 0; r < ROWS; r++) {
            const __m512i four = _mm512_set1_epi32(four_codes(codes + r * apart, group));
            for (int b = 0; b < blocks; b++)
                sums[r * blocks + b] = _mm512_dpbusd_epi32(sums[r * blocks + b], four, weight[b]);
        }
    }
    for (int r = 0; r < ROWS; r++)
        for (int b = 0; b < blocks; b++)
            store_vnni(layer, first + b, sums[r * blocks + b],
                       counts + (size_t)r * layer->blocks * LANES);
}

TARGET_VNNI static void rows_vnni(const Layer *layer, const uint8_t *codes, uint8_t *counts) {
    int block = 0;
    for (; block + 4 <= layer->blocks; block += 4) tile_rows_vnni(layer, codes, counts, block, 4);
    for (; block + 2 <= layer->blocks; block += 2) tile_rows_vnni(layer, codes, counts, block, 2);
    if (block < layer->blocks) tile_rows_vnni(layer, codes, counts, block, 1);
}

TARGET_VNNI static int finite_vnni(const float *values, int size) {
    return input_is_finite(values, size);
}

TARGET_VNNI static void input_vnni(const Input *input, const float *values, uint8_t *codes) {
    input_codes(input, values, codes);
}

#endif /* HAVE_X86 */

typedef struct {
    const char *name;
    int group;    /* inputs whose weights lie together */
    int products; /* added into an int16 sum at once; 0: sums are int32 throughout */
    int (*finite)(const float *values, int size);
    void (*input)(const Input *input, const float *values, uint8_t *codes);
    void (*layer)(const Layer *layer, const uint8_t *codes, uint8_t *counts);
    /* The same for ROWS observations, one behind the other in padded rows; NULL: one by one. */
    void (*rows)(const Layer *layer, const uint8_t *codes, uint8_t *counts);
} Instructions;

/* The fastest first. */
static const Instructions INSTRUCTIONS[] = {
#ifdef HAVE_X86
    {"avx512vnni", 4, 0, finite_vnni, input_vnni, layer_vnni, rows_vnni},
    {"avx2", 4, 2, finite_avx2, input_avx2, layer_avx2, NULL},
#endif
    {"plain", 1, 1, finite_plain, input_plain, layer_plain, NULL},
};

enum { INSTRUCTION_SETS = (int)(sizeof INSTRUCTIONS / sizeof *INSTRUCTIONS) };

/* Whether this processor (and its operating system) has them. */
static int instructions_work(const Instructions *set) {
#ifdef HAVE_X86
    if (set->layer == layer_vnni)
        return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512vnni");
    if (set->layer == layer_avx2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
#endif
    return set->layer == layer_plain;
}

#endif
