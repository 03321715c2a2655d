/* The small algebra of a correction: averaged metric, its solution, lengths in it, and the learned gate.

   The plain references are in geofold/core: pullback.py, metric.py, linearise.py and gate.py. d latent dimensions, k
   observations, c stiff directions. */
#include "tree.h"

#define LIMITED 2  /* status of `dense_factor` if the size or the condition number has to be limited */

/* New average (B, d, d): keep M + (1 - keep) (F + sum of pulled stiff directions (c, B, d) squared). */
int dense_average(int64_t rows, int64_t d, int64_t count, double keep, const double *gram, const double *pulled,
                  const double *before, double *after) {
    for (int64_t b = 0; b < rows; b++)
        for (int64_t i = 0; i < d; i++) {
            const double *from = gram + (b * d + i) * d, *old = before + (b * d + i) * d;
            double *to = after + (b * d + i) * d;
            for (int64_t j = 0; j < d; j++) to[j] = from[j];
            for (int64_t c = 0; c < count; c++) {
                const double *row = pulled + (c * rows + b) * d;
                if (row[i] == 0) continue;
                for (int64_t j = 0; j < d; j++) to[j] += row[i] * row[j];
            }
            for (int64_t j = 0; j < d; j++) to[j] = keep * old[j] + (1 - keep) * to[j];
        }
    return 0;
}

/* G = M / weight + lambda I (B, d, d) and its upper Cholesky factor; `LIMITED` if a trace of M / weight exceeds `bound`. */
int dense_factor(int64_t rows, int64_t d, double damping, double bound, const double *average, const double *weight,
                 double *matrix, double *upper) {
    for (int64_t b = 0; b < rows; b++) {
        double trace = 0, scale = fmax(weight[b], 1e-12);
        for (int64_t i = 0; i < d; i++) trace += average[(b * d + i) * d + i] / scale;
        if (!(trace <= bound)) return LIMITED;
    }
    memset(upper, 0, sizeof(double) * rows * d * d);
    for (int64_t b = 0; b < rows; b++) {
        const double *from = average + b * d * d;
        double *g = matrix + b * d * d, *u = upper + b * d * d, scale = fmax(weight[b], 1e-12);
        for (int64_t e = 0; e < d * d; e++) g[e] = from[e] / scale;
        for (int64_t i = 0; i < d; i++) g[i * d + i] += damping;
        for (int64_t i = 0; i < d; i++) memcpy(u + i * d + i, g + i * d + i, sizeof(double) * (d - i));
        for (int64_t j = 0; j < d; j++) {
            double *top = u + j * d, pivot = sqrt(top[j]);
            for (int64_t e = j; e < d; e++) top[e] /= pivot;
            for (int64_t i = j + 1; i < d; i++) {
                double factor = top[i], *row = u + i * d;
                if (factor == 0) continue;
                for (int64_t e = i; e < d; e++) row[e] -= factor * top[e];
            }
        }
    }
    return 0;
}

/* x = G^-1 g (B, d) from the upper Cholesky factor. */
int dense_solve(int64_t rows, int64_t d, const double *upper, const double *g, double *x) {
    for (int64_t b = 0; b < rows; b++) {
        const double *u = upper + b * d * d;
        double *to = x + b * d;
        memcpy(to, g + b * d, sizeof(double) * d);
        for (int64_t j = 0; j < d; j++) {
            to[j] /= u[j * d + j];
            for (int64_t e = j + 1; e < d; e++) to[e] -= u[j * d + e] * to[j];
        }
        for (int64_t j = d - 1; j >= 0; j--) {
            double sum[4] = {0};
            int64_t e = j + 1;
            for (; e + 4 <= d; e += 4)
                for (int k = 0; k < 4; k++) sum[k] += u[j * d + e + k] * to[e + k];
            for (; e < d; e++) sum[0] += u[j * d + e] * to[e];
            to[j] = (to[j] - (sum[0] + sum[1]) - (sum[2] + sum[3])) / u[j * d + j];
        }
    }
    return 0;
}

/* W y + S S'y (B, k) for weights (B, k), rows `stride` apart, and stiff directions S (c, B, k). */
int weigh(int64_t rows, int64_t k, int64_t count, const double *weight, int64_t stride, const double *stiff,
          const double *y, double *out) {
    for (int64_t b = 0; b < rows; b++) {
        double *to = out + b * k;
        for (int64_t e = 0; e < k; e++) to[e] = weight[b * stride + e] * y[b * k + e];
        for (int64_t c = 0; c < count; c++) {
            const double *direction = stiff + (c * rows + b) * k;
            double along = 0;
            for (int64_t e = 0; e < k; e++)
                if (direction[e] != 0) along += direction[e] * y[b * k + e];
            for (int64_t e = 0; e < k; e++) to[e] += along * direction[e];
        }
    }
    return 0;
}

/* Squared lengths (B): y'(W + S S')y + lambda |v|^2, for v (B, d) that moves the observations by y (B, k). */
int squared_length(int64_t rows, int64_t k, int64_t d, int64_t count, const double *weight, int64_t stride,
                   const double *stiff, const double *y, const double *v, const double *damping, double *out) {
    for (int64_t b = 0; b < rows; b++) {
        double sum = 0, square = 0;
        for (int64_t e = 0; e < k; e++)
            if (weight[b * stride + e] != 0) sum += weight[b * stride + e] * y[b * k + e] * y[b * k + e];
        for (int64_t c = 0; c < count; c++) {
            const double *direction = stiff + (c * rows + b) * k;
            double along = 0;
            for (int64_t e = 0; e < k; e++)
                if (direction[e] != 0) along += direction[e] * y[b * k + e];
            sum += along * along;
        }
        for (int64_t e = 0; e < d; e++) square += v[b * d + e] * v[b * d + e];
        out[b] = sum + damping[b] * square;
    }
    return 0;
}

/* Outputs (B, o) of the network of a learned gate with weights (h, 6 or 7) and (o, h); kappa (B) may be NULL. */
int learned_gate(int64_t rows, int64_t hidden, int64_t outputs, const double *loss, const double *change,
                 const double *violation, const double *radius, const double *motion, const double *kappa,
                 const double *inner, const double *head, double *out) {
    int64_t width = kappa ? 7 : 6;
    memset(out, 0, sizeof(double) * rows * outputs);
    for (int64_t b = 0; b < rows; b++) {
        double x[7] = {log10(fmax(loss[b], 0) + 1e-6) / 3, tanh(change[b]), tanh(violation[b]), log10(radius[b]) / 2,
                       log10((motion ? motion[b] : 0) + 1e-3) / 3, 1, kappa ? log10(fmax(kappa[b], 0) + 1e-6) / 3 : 0};
        if (isnan(loss[b])) x[0] = NAN;
        for (int64_t h = 0; h < hidden; h++) {
            double value = tanh(dot(inner + h * width, x, width));
            for (int64_t o = 0; o < outputs; o++) out[b * outputs + o] += head[o * hidden + h] * value;
        }
    }
    return 0;
}
