/* Layers of networks in the precision `real`; included once for each precision, after precision.h. */

#define BLOCK_ROWS 6  /* rows of a block: its sums stay in registers */
#define SILU_PART 256
typedef real NAME(lanes) __attribute__((vector_size(32), aligned(sizeof(real))));
#define LANE_COUNT ((int64_t)(32 / sizeof(real)))

static inline __attribute__((always_inline)) void NAME(block)(int height, int64_t in, int64_t out, const real *x,
                                                              int64_t stride, const real *matrix, real *y) {
    NAME(lanes) left[BLOCK_ROWS], right[BLOCK_ROWS];
    for (int r = 0; r < height; r++) {
        left[r] = *(const NAME(lanes) *)(y + r * out);
        right[r] = *(const NAME(lanes) *)(y + r * out + LANE_COUNT);
    }
    for (int64_t i = 0; i < in; i++) {
        NAME(lanes) one = *(const NAME(lanes) *)(matrix + i * out);
        NAME(lanes) two = *(const NAME(lanes) *)(matrix + i * out + LANE_COUNT);
        for (int r = 0; r < height; r++) {
            left[r] += x[r * stride + i] * one;
            right[r] += x[r * stride + i] * two;
        }
    }
    for (int r = 0; r < height; r++) {
        *(NAME(lanes) *)(y + r * out) = left[r];
        *(NAME(lanes) *)(y + r * out + LANE_COUNT) = right[r];
    }
}

/* Add x (rows, in) times a matrix (in, out) to y (rows, out); rows of x are `stride` apart, `out` is a multiple of 16. */
static void NAME(dense)(int64_t rows, int64_t in, int64_t out, const real *x, int64_t stride, const real *matrix, real *y) {
    for (int64_t column = 0; column < out; column += 2 * LANE_COUNT) {
        const real *part = matrix + column;
        int64_t b = 0;
        for (; b + BLOCK_ROWS <= rows; b += BLOCK_ROWS)
            NAME(block)(BLOCK_ROWS, in, out, x + b * stride, stride, part, y + b * out + column);
        for (; b + 2 <= rows; b += 2) NAME(block)(2, in, out, x + b * stride, stride, part, y + b * out + column);
        if (b < rows) NAME(block)(1, in, out, x + b * stride, stride, part, y + b * out + column);
    }
}

/* x / (1 + exp(-x)) of n numbers in place; in two loops, since a compiler may divide twice in a single one. */
static void NAME(silu_all)(int64_t n, real *restrict x) {
    real part[SILU_PART];
    for (int64_t k = 0; k < n; k += SILU_PART) {
        int64_t count = n - k < SILU_PART ? n - k : SILU_PART;
        for (int64_t e = 0; e < count; e++) part[e] = 1 + NAME(exp)(-x[k + e]);
        for (int64_t e = 0; e < count; e++) x[k + e] /= part[e];
    }
}
