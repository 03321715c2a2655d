/* The pullback metric J'WJ of the decoder from the inertia of its tree (Featherstone 2008, 6.2).

   The plain references are `gram` in geofold/molecule/kinematics/decoder_derivatives.py and differential.py. */
#include "derivatives.h"

/* M <- (I - K C)' M (I - K C) for symmetric M (n, n), K (n, r) and C (r, n); `work` holds 2 n r numbers. */
static void sandwich(int64_t n, int64_t r, double *matrix, const double *k, const double *c, double *work) {
    double square[MAX_CONDITIONS * MAX_CONDITIONS] = {0}, *product = work, *rows = work + n * r;
    memset(product, 0, sizeof(double) * n * r);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            for (int64_t e = 0; e < r; e++) product[i * r + e] += matrix[i * n + j] * k[j * r + e];
    for (int64_t i = 0; i < n; i++)
        for (int64_t e = 0; e < r; e++)
            for (int64_t f = 0; f < r; f++) square[e * r + f] += k[i * r + e] * product[i * r + f];
    for (int64_t e = 0; e < r; e++)
        for (int64_t i = 0; i < n; i++) {
            double sum = 0;
            for (int64_t f = 0; f < r; f++) sum += c[f * n + i] * square[f * r + e];
            rows[e * n + i] = product[i * r + e] - sum / 2;
        }
    for (int64_t e = 0; e < r; e++)
        for (int64_t i = 0; i < n; i++) {
            double left = rows[e * n + i], right = c[e * n + i];
            for (int64_t j = 0; j < n; j++) matrix[i * n + j] -= left * c[e * n + j] + right * rows[e * n + j];
        }
}

/* J'WJ (n, n) by the torsions of a tree, for weights (n + 3 m) that are equal for the three coordinates of an atom. */
static void tree_gram(const Tree *tree, const Row *row, const double *weight, double *inertia, double *matrix) {
    int64_t n = row->n;
    memset(inertia, 0, sizeof(double) * 10 * n);
    memset(matrix, 0, sizeof(double) * n * n);
    for (int64_t a = 0; a < row->m; a++) {
        double w = weight[n + 3 * a];
        if (tree->body[a] >= n || w == 0) continue;
        const double *x = row->moved + 3 * a;
        double *sum = inertia + 10 * tree->body[a];
        *sum++ += w;
        for (int i = 0; i < 3; i++) *sum++ += w * x[i];
        for (int i = 0; i < 3; i++)
            for (int k = i; k < 3; k++) *sum++ += w * x[i] * x[k];
    }
    for (int64_t j = n - 1; j >= 0; j--) {
        const double *sum = inertia + 10 * j, *first = sum + 1, *s2 = sum + 4, *a = row->screws + 6 * j, *s = a + 3;
        double trace = s2[0] + s2[3] + s2[5], angular[3], linear[3], by_moment[3];
        double second[3] = {s2[0] * a[0] + s2[1] * a[1] + s2[2] * a[2], s2[1] * a[0] + s2[3] * a[1] + s2[4] * a[2],
                            s2[2] * a[0] + s2[4] * a[1] + s2[5] * a[2]};
        cross(first, s, by_moment);
        cross(a, first, linear);
        for (int k = 0; k < 3; k++) {
            angular[k] = trace * a[k] - second[k] + by_moment[k];
            linear[k] += sum[0] * s[k];
        }
        for (int64_t i = j; i >= 0; i = tree->parent[i]) {
            const double *other = row->screws + 6 * i;
            matrix[i * n + j] = matrix[j * n + i] = dot3(other, angular) + dot3(other + 3, linear);
        }
        matrix[j * n + j] += weight[j];
        if (tree->parent[j] >= 0)
            for (int e = 0; e < 10; e++) inertia[10 * tree->parent[j] + e] += sum[e];
    }
}

/* J'WJ (B, d, d) for weights (B, n + 3 m), or (n + 3 m) if `stride` is zero; 2 if a weight is not isotropic. */
int gram(const Expansion *at, const double *weight, int64_t stride, double *out) {
    int64_t n = at->tree->n, m = at->tree->m, r = conditions(at->closure), d = at->d, wide = r ? r : 1;
    for (int64_t b = 0; b < (stride ? at->rows : 1); b++)
        for (int64_t a = 0; a < m; a++) {
            const double *w = weight + b * stride + n + 3 * a;
            if (w[0] != w[1] || w[0] != w[2]) return 2;
        }
    double *work = malloc(sizeof(double) * (n * n + n * (12 + 3 * wide) + 1));
    if (!work) return 1;
    double *matrix = work, *inertia = work + n * n, *unit = inertia + 10 * n, *leader = unit + n, *spare = leader + n;
    double *across = spare + 2 * n * wide;
    memset(out, 0, sizeof(double) * at->rows * d * d);
    for (int64_t b = 0; b < at->rows; b++) {
        Row row = row_of(at, b);
        tree_gram(at->tree, &row, weight + b * stride, inertia, matrix);
        if (r) sandwich(n, r, matrix, row.correction, row.rates, spare);
        if (row.over) {
            for (int64_t j = 0; j < n; j++) {
                unit[j] = row.free[j] / row.largest;
                leader[j] = j == row.lead ? row.sign : 0;
            }
            sandwich(n, 1, matrix, unit, leader, spare);
        }
        double square = row.scale * row.scale;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++) matrix[i * n + j] *= square * row.mobility[i] * row.mobility[j];
        if (r) {
            for (int64_t j = 0; j < n; j++)
                for (int64_t e = 0; e < r; e++) across[e * n + j] = row.normal[j * r + e];
            sandwich(n, r, matrix, row.normal, across, spare);
        }
        for (int64_t i = 0; i < n; i++) memcpy(out + (b * d + i) * d, matrix + i * n, sizeof(double) * n);
    }
    free(work);
    return 0;
}
