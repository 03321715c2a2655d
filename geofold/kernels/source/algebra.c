/* Small dense algebra: singular values by one-sided Jacobi rotations. */
#include "tree.h"

#define SWEEPS 30

/* Rotate rows (rows, n) until they are orthogonal (Hestenes); `also` (rows, k) is rotated along with them. */
static void orthogonalise(int64_t rows, int64_t n, double *matrix, int64_t k, double *also) {
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        int rotated = 0;
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = i + 1; j < rows; j++) {
                double *a = matrix + i * n, *b = matrix + j * n;
                double aa = dot(a, a, n), bb = dot(b, b, n), ab = dot(a, b, n);
                if (!(fabs(ab) > 1e-15 * sqrt(aa * bb)) || fabs(ab) < 1e-300) continue;
                rotated = 1;
                double zeta = (bb - aa) / (2 * ab);
                double t = copysign(1.0, zeta) / (fabs(zeta) + sqrt(1 + zeta * zeta));
                double c = 1 / sqrt(1 + t * t), s = c * t;
                for (int64_t e = 0; e < n; e++) {
                    double x = a[e], y = b[e];
                    a[e] = c * x - s * y;
                    b[e] = s * x + c * y;
                }
                for (int64_t e = 0; e < k; e++) {
                    double x = also[i * k + e], y = also[j * k + e];
                    also[i * k + e] = c * x - s * y;
                    also[j * k + e] = s * x + c * y;
                }
            }
        if (!rotated) break;
    }
}

/* Moore-Penrose inverse of a square matrix; singular values below `INVERSE_TOLERANCE` of the largest count as zero. */
void pseudo_inverse(int64_t size, const double *matrix, double *inverse) {
    double work[MAX_CONDITIONS * MAX_CONDITIONS], left[MAX_CONDITIONS * MAX_CONDITIONS], square[MAX_CONDITIONS];
    for (int64_t e = 0; e < size * size; e++) work[e] = isfinite(matrix[e]) ? matrix[e] : 0.0;
    memset(left, 0, sizeof(double) * size * size);
    for (int64_t e = 0; e < size; e++) left[e * size + e] = 1;
    orthogonalise(size, size, work, size, left);
    double largest = 0;
    for (int64_t e = 0; e < size; e++) {
        square[e] = dot(work + e * size, work + e * size, size);
        largest = fmax(largest, square[e]);
    }
    memset(inverse, 0, sizeof(double) * size * size);
    for (int64_t e = 0; e < size; e++) {
        if (!(square[e] > INVERSE_TOLERANCE * INVERSE_TOLERANCE * largest)) continue;
        for (int64_t i = 0; i < size; i++) {
            double scaled = work[e * size + i] / square[e];
            for (int64_t j = 0; j < size; j++) inverse[i * size + j] += scaled * left[e * size + j];
        }
    }
}

/* Replace rows (rows, n) by an orthonormal basis of their span, zero for dependent ones; returns its dimension. */
int64_t orthonormal_rows(int64_t rows, int64_t n, double *matrix, double tolerance) {
    orthogonalise(rows, n, matrix, 0, NULL);
    double size[MAX_CONDITIONS], largest = 0;
    for (int64_t e = 0; e < rows; e++) {
        size[e] = sqrt(dot(matrix + e * n, matrix + e * n, n));
        largest = fmax(largest, size[e]);
    }
    int64_t independent = 0;
    for (int64_t e = 0; e < rows; e++) {
        int keep = size[e] > tolerance * fmax(largest, 1e-30);
        independent += keep;
        for (int64_t k = 0; k < n; k++) matrix[e * n + k] = keep ? matrix[e * n + k] / size[e] : 0;
    }
    return independent;
}
