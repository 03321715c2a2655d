/* Derivatives of the decoder as linear maps: latent -> projected -> capped -> closed torsions -> atoms.

   The plain references are in geofold/molecule/kinematics: decoder_derivatives.py and differential.py. Sums over the
   atoms that a torsion moves run up the tree, sums over the torsions that move an atom run down. */
#include "derivatives.h"

/* Screws, rates of the closure residual, and torsion rates that cancel them (implicit-function theorem). */
int expand(const Expansion *at) {
    int64_t n = at->tree->n, r = conditions(at->closure);
    double square[MAX_CONDITIONS * MAX_CONDITIONS], inverse[MAX_CONDITIONS * MAX_CONDITIONS];
    for (int64_t b = 0; b < at->rows; b++) {
        const double *xyz = at->xyz + 3 * b * at->tree->m, *frames = at->frames + 12 * b * n;
        double *screws = at->screws + 6 * b * n, *rates = at->rates + b * r * n;
        tree_screws(at->tree, xyz, frames, screws);
        if (!r) continue;
        const double *basis = at->basis + b * n * r;
        closure_rates(at->tree, at->closure, xyz, frames, screws, rates);
        memset(square, 0, sizeof(double) * r * r);
        for (int64_t i = 0; i < r; i++)
            for (int64_t j = 0; j < n; j++)
                for (int64_t e = 0; e < r; e++) square[i * r + e] += rates[i * n + j] * basis[j * r + e];
        pseudo_inverse(r, square, inverse);
        double *correction = at->correction + b * n * r;
        memset(correction, 0, sizeof(double) * n * r);
        for (int64_t j = 0; j < n; j++)
            for (int64_t e = 0; e < r; e++)
                for (int64_t i = 0; i < r; i++) correction[j * r + i] += basis[j * r + e] * inverse[e * r + i];
    }
    return 0;
}

/* v - N N'v */
static void project(const Row *row, const double *v, double *out) {
    double along[MAX_CONDITIONS] = {0};
    for (int64_t j = 0; j < row->n; j++)
        for (int64_t e = 0; e < row->r; e++) along[e] += row->normal[j * row->r + e] * v[j];
    for (int64_t j = 0; j < row->n; j++) out[j] = v[j] - dot(row->normal + j * row->r, along, row->r);
}

/* v - K C v: torsion rates that keep the loop closed. */
static void stay_closed(const Row *row, double *v) {
    double along[MAX_CONDITIONS];
    for (int64_t e = 0; e < row->r; e++) along[e] = dot(row->rates + e * row->n, v, row->n);
    for (int64_t j = 0; row->r && j < row->n; j++) v[j] -= dot(row->correction + j * row->r, along, row->r);
}

/* Rates of the free increments, then of the capped ones, from rates of the latent. */
static void push_capped(const Row *row, const double *v, double *free_rate, double *rate) {
    project(row, v, free_rate);
    for (int64_t j = 0; j < row->n; j++) rate[j] = free_rate[j] = row->mobility[j] * free_rate[j];
    if (!row->over) return;
    double lead = row->sign * free_rate[row->lead] / row->largest;
    for (int64_t j = 0; j < row->n; j++) rate[j] = row->scale * (free_rate[j] - row->free[j] * lead);
}

/* Velocities (m, 3) of the atoms from torsion rates; `work` holds 6 n numbers. */
static void velocities(const Tree *tree, const Row *row, const double *rate, double *work, double *out) {
    for (int64_t j = 0; j < row->n; j++)
        for (int k = 0; k < 6; k++)
            work[6 * j + k] = rate[j] * row->screws[6 * j + k] + (tree->parent[j] < 0 ? 0 : work[6 * tree->parent[j] + k]);
    for (int64_t a = 0; a < row->m; a++) {
        double *v = out + 3 * a;
        v[0] = v[1] = v[2] = 0;
        if (tree->body[a] >= row->n) continue;
        const double *twist = work + 6 * tree->body[a];
        cross(twist, row->moved + 3 * a, v);
        for (int k = 0; k < 3; k++) v[k] += twist[3 + k];
    }
}

/* J v: rates (p, B, d) -> (p, B, n + 3 m). */
int push(const Expansion *at, int64_t probes, const double *v, double *out) {
    int64_t n = at->tree->n, k = n + 3 * at->tree->m;
    double *work = malloc(sizeof(double) * (7 * n + 1));
    if (!work) return 1;
    for (int64_t b = 0; b < at->rows; b++) {
        Row row = row_of(at, b);
        for (int64_t p = 0; p < probes; p++) {
            double *to = out + (p * at->rows + b) * k;
            push_capped(&row, v + (p * at->rows + b) * at->d, work + 6 * n, to);
            stay_closed(&row, to);
            velocities(at->tree, &row, to, work, to + n);
        }
    }
    free(work);
    return 0;
}

/* J'c: (p, B, n + 3 m) -> (p, B, d). */
int pull(const Expansion *at, int64_t probes, const double *c, double *out) {
    const Tree *tree = at->tree;
    int64_t n = tree->n, k = n + 3 * tree->m;
    double *wrench = malloc(sizeof(double) * (7 * n + 1)), *torque = wrench + 6 * n;
    if (!wrench) return 1;
    for (int64_t b = 0; b < at->rows; b++) {
        Row row = row_of(at, b);
        for (int64_t p = 0; p < probes; p++) {
            const double *from = c + (p * at->rows + b) * k, *force = from + n;
            double *to = out + (p * at->rows + b) * at->d;
            memset(wrench, 0, sizeof(double) * 6 * n);
            for (int64_t a = 0; a < row.m; a++) {
                if (tree->body[a] >= n) continue;
                double *w = wrench + 6 * tree->body[a], moment[3];
                const double *f = force + 3 * a;
                if (f[0] == 0 && f[1] == 0 && f[2] == 0) continue;
                cross(row.moved + 3 * a, f, moment);
                for (int e = 0; e < 3; e++) {
                    w[e] += moment[e];
                    w[3 + e] += f[e];
                }
            }
            for (int64_t j = n - 1; j >= 0; j--) {
                torque[j] = from[j] + dot(row.screws + 6 * j, wrench + 6 * j, 6);
                if (tree->parent[j] >= 0)
                    for (int e = 0; e < 6; e++) wrench[6 * tree->parent[j] + e] += wrench[6 * j + e];
            }
            if (row.r) {
                double along[MAX_CONDITIONS] = {0};
                for (int64_t j = 0; j < n; j++)
                    for (int64_t e = 0; e < row.r; e++) along[e] += row.correction[j * row.r + e] * torque[j];
                for (int64_t e = 0; e < row.r; e++)
                    for (int64_t j = 0; j < n; j++) torque[j] -= along[e] * row.rates[e * n + j];
            }
            if (row.over) {
                for (int64_t j = 0; j < n; j++) torque[j] *= row.scale;
                torque[row.lead] -= row.sign * dot(row.free, torque, n) / row.largest;
            }
            for (int64_t j = 0; j < n; j++) torque[j] *= row.mobility[j];
            project(&row, torque, to);
            memset(to + n, 0, sizeof(double) * (at->d - n));
        }
    }
    free(wrench);
    return 0;
}

/* Matrix A and shift of each torsion, summed along the tree: an atom at x accelerates by A x - shift. */
static void accelerations(const Tree *tree, const Row *row, const double *rate, double *spin, double *sums) {
    for (int64_t j = 0; j < row->n; j++) {
        const double *a = row->screws + 6 * j, *s = a + 3;
        double *before = spin + 3 * j, *sum = sums + 12 * j, b[3], omega[3], origin[3];
        /* the point of the axis next to the origin serves as well as any other */
        cross(a, s, origin);
        for (int k = 0; k < 3; k++) {
            omega[k] = rate[j] * a[k];
            double up = tree->parent[j] < 0 ? 0 : spin[3 * tree->parent[j] + k];
            b[k] = 2 * up + omega[k];
            before[k] = up + omega[k];
        }
        double along = dot3(b, omega), matrix[9];
        for (int i = 0; i < 3; i++)
            for (int k = 0; k < 3; k++) matrix[3 * i + k] = omega[i] * b[k] - (i == k ? along : 0);
        for (int e = 0; e < 9; e++) sum[e] = matrix[e];
        for (int i = 0; i < 3; i++) sum[9 + i] = dot3(matrix + 3 * i, origin);
        if (tree->parent[j] >= 0)
            for (int e = 0; e < 12; e++) sum[e] += sums[12 * tree->parent[j] + e];
    }
}

/* Second derivative of the closure residual while the torsions turn at constant rates. */
static void accelerate_residual(const Tree *tree, const Closure *closure, const Row *row, const double *rate,
                                const double *spin, const double *sums, const double *xyz, const double *frames,
                                const double *twists, double *out) {
    if (closure->end >= 0) {
        double at[3], curl[3] = {0, 0, 0};
        const double *sum = sums + 12 * closure->end;
        transform(frames + 12 * closure->end, xyz + 3 * closure->anchor, at);
        for (int k = 0; k < 3; k++) *out++ = dot3(sum + 3 * k, at) - sum[9 + k];
        for (int64_t j = closure->end; j >= 0; j = tree->parent[j]) {
            double omega[3], before[3], part[3];
            for (int k = 0; k < 3; k++) {
                omega[k] = rate[j] * row->screws[6 * j + k];
                before[k] = spin[3 * j + k] - omega[k];
            }
            cross(before, omega, part);
            for (int k = 0; k < 3; k++) curl[k] += part[k];
        }
        for (int k = 0; k < 3; k++) *out++ = ORIENTATION_ARM * curl[k];
    }
    for (int64_t p = 0; p < closure->pairs; p++) {
        double gap[3] = {0}, drift[3] = {0}, bend[3] = {0};
        for (int e = 0; e < 2; e++) {
            int64_t atom = closure->pair[2 * p + e], body = tree->body[atom];
            const double *x = row->moved + 3 * atom;
            double sign = e ? -1 : 1, speed[3];
            for (int k = 0; k < 3; k++) gap[k] += sign * x[k];
            if (body >= row->n) continue;
            cross(twists + 6 * body, x, speed);
            for (int k = 0; k < 3; k++) {
                drift[k] += sign * (speed[k] + twists[6 * body + 3 + k]);
                bend[k] += sign * (dot3(sums + 12 * body + 3 * k, x) - sums[12 * body + 9 + k]);
            }
        }
        double length = sqrt(dot3(gap, gap)), along = dot3(gap, drift) / length;
        *out++ = (dot3(drift, drift) - along * along + dot3(gap, bend)) / length;
    }
}

/* Second derivative (B, n + 3 m) of the observations along v (B, d). */
int bend(const Expansion *at, const double *v, double *out) {
    const Tree *tree = at->tree;
    int64_t n = tree->n, m = tree->m;
    double *work = malloc(sizeof(double) * (23 * n + 3 * m + 1));
    if (!work) return 1;
    double *rate = work, *free_rate = work + n, *spin = work + 2 * n, *sums = work + 5 * n, *twists = work + 17 * n;
    double *speed = work + 23 * n, error[MAX_CONDITIONS];
    for (int64_t b = 0; b < at->rows; b++) {
        Row row = row_of(at, b);
        double *increment = out + b * (n + 3 * m), *acceleration = increment + n;
        push_capped(&row, v + b * at->d, free_rate, rate);
        double lead = row.over ? row.sign * free_rate[row.lead] / row.largest : 0;
        for (int64_t j = 0; j < n; j++)
            increment[j] = row.over ? 2 * row.scale * lead * (row.free[j] * lead - free_rate[j]) : 0;
        stay_closed(&row, rate);
        accelerations(tree, &row, rate, spin, sums);
        if (row.r) {
            velocities(tree, &row, rate, twists, speed);
            accelerate_residual(tree, at->closure, &row, rate, spin, sums, at->xyz + 3 * b * m,
                                at->frames + 12 * b * n, twists, error);
            for (int64_t e = 0; e < row.r; e++) error[e] += dot(row.rates + e * n, increment, n);
            for (int64_t j = 0; j < n; j++) increment[j] -= dot(row.correction + j * row.r, error, row.r);
        }
        if (row.r || row.over) velocities(tree, &row, increment, twists, acceleration);
        else memset(acceleration, 0, sizeof(double) * 3 * m);
        for (int64_t a = 0; a < m; a++) {
            if (tree->body[a] >= n) continue;
            const double *sum = sums + 12 * tree->body[a];
            for (int k = 0; k < 3; k++) acceleration[3 * a + k] += dot3(sum + 3 * k, row.moved + 3 * a) - sum[9 + k];
        }
    }
    free(work);
    return 0;
}
