/* Elementary functions in single precision without branches, so that loops over them use vector instructions. */
#ifndef GEOFOLD_ELEMENTARY_H
#define GEOFOLD_ELEMENTARY_H

#include "tree.h"

static inline int32_t bits_of(float x) {
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float float_of(int32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* exp(x) within two units in the last place, for |x| up to 87; beyond, its value there (polynomial of Cephes' expf). */
static inline float exponential(float x) {
    x = x > 87.0f ? 87.0f : x < -87.0f ? -87.0f : x;
    float shifted = x * 1.44269504f + 12582912.0f, whole = shifted - 12582912.0f;
    float r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return p * float_of((bits_of(shifted) - bits_of(12582912.0f) + 127) << 23);
}

/* log(x) of positive normal numbers, within two units in the last place (polynomial of Cephes' logf). */
static inline float logarithm(float x) {
    int32_t exponent = (bits_of(x) - bits_of(0.70710678f)) >> 23;
    float m = float_of(bits_of(x) - exponent * (1 << 23)) - 1.0f, e = (float)exponent, square = m * m;
    float p = 7.0376836292e-2f;
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    return m + (p * m * square - e * 2.12194440e-4f - 0.5f * square) + e * 0.693359375f;
}

/* x / (1 + exp(-x)) */
static inline float silu(float x) { return x / (1.0f + exponential(-x)); }

/* y (rows, out) = x (rows, in) W' + bias, for the transposed matrix (in, out); rows of x are `stride` apart. */
static inline void linear(int64_t rows, int64_t in, int64_t out, const float *x, int64_t stride, const float *matrix,
                          const float *bias, float *y) {
    for (int64_t b = 0; b < rows; b++) {
        float *to = y + b * out;
        const float *from = x + b * stride;
        if (bias) memcpy(to, bias, sizeof(float) * out);
        else memset(to, 0, sizeof(float) * out);
        int64_t i = 0;
        for (; i + 4 <= in; i += 4) {
            const float *w0 = matrix + i * out, *w1 = w0 + out, *w2 = w1 + out, *w3 = w2 + out;
            float x0 = from[i], x1 = from[i + 1], x2 = from[i + 2], x3 = from[i + 3];
            for (int64_t o = 0; o < out; o++) to[o] += x0 * w0[o] + x1 * w1[o] + x2 * w2[o] + x3 * w3[o];
        }
        for (; i < in; i++)
            for (int64_t o = 0; o < out; o++) to[o] += from[i] * matrix[i * out + o];
    }
}

#endif
