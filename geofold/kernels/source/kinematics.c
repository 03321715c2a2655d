/* Forward kinematics, loop closure, and the decoder of torsion increments.

   The plain references are in geofold/molecule/kinematics: forward.py, loop_closure.py and decoder.py. */
#include "tree.h"

/* Frames (n, 12) of all torsions after increments theta (n). */
void tree_frames(const Tree *tree, const double *xyz, const double *theta, double *frames) {
    for (int64_t j = 0; j < tree->n; j++) {
        const double *o = xyz + 3 * tree->far[j], *from = xyz + 3 * tree->near[j];
        double a[3] = {o[0] - from[0], o[1] - from[1], o[2] - from[2]};
        double length = fmax(sqrt(dot3(a, a)), 1e-12), half = sin(theta[j] / 2);
        for (int k = 0; k < 3; k++) a[k] /= length;
        double s = sin(theta[j]), v = 2 * half * half;
        double turn[12] = {v * (a[0] * a[0] - 1), v * a[0] * a[1] - s * a[2], v * a[0] * a[2] + s * a[1],
                           v * a[1] * a[0] + s * a[2], v * (a[1] * a[1] - 1), v * a[1] * a[2] - s * a[0],
                           v * a[2] * a[0] - s * a[1], v * a[2] * a[1] + s * a[0], v * (a[2] * a[2] - 1)};
        for (int k = 0; k < 3; k++) {
            turn[9 + k] = -dot3(turn + 3 * k, o);
        }
        turn[0] += 1;
        turn[4] += 1;
        turn[8] += 1;
        double *frame = frames + 12 * j;
        if (tree->parent[j] < 0) {
            memcpy(frame, turn, sizeof turn);
            continue;
        }
        const double *p = frames + 12 * tree->parent[j];
        for (int i = 0; i < 3; i++) {
            for (int k = 0; k < 3; k++)
                frame[3 * i + k] = p[3 * i] * turn[k] + p[3 * i + 1] * turn[3 + k] + p[3 * i + 2] * turn[6 + k];
            frame[9 + i] = dot3(p + 3 * i, turn + 9) + p[9 + i];
        }
    }
}

/* Unit axes a and moments o x a (n, 6) of the torsions in their frames. */
void tree_screws(const Tree *tree, const double *xyz, const double *frames, double *screws) {
    for (int64_t j = 0; j < tree->n; j++) {
        const double *o = xyz + 3 * tree->far[j], *from = xyz + 3 * tree->near[j], *f = frames + 12 * j;
        double a[3] = {o[0] - from[0], o[1] - from[1], o[2] - from[2]}, at[3];
        double length = fmax(sqrt(dot3(a, a)), 1e-12);
        for (int k = 0; k < 3; k++) a[k] /= length;
        for (int k = 0; k < 3; k++) screws[6 * j + k] = dot3(f + 3 * k, a);
        transform(f, o, at);
        cross(at, screws + 6 * j, screws + 6 * j + 3);
    }
}

static void residual(const Tree *tree, const Closure *closure, const double *xyz, const double *frames, double *out) {
    if (closure->end >= 0) {
        const double *f = frames + 12 * closure->end, *x = xyz + 3 * closure->anchor;
        double at[3];
        transform(f, x, at);
        for (int k = 0; k < 3; k++) *out++ = at[k] - x[k];
        *out++ = 0.5 * ORIENTATION_ARM * (f[7] - f[5]);
        *out++ = 0.5 * ORIENTATION_ARM * (f[2] - f[6]);
        *out++ = 0.5 * ORIENTATION_ARM * (f[3] - f[1]);
    }
    for (int64_t p = 0; p < closure->pairs; p++) {
        int64_t i = closure->pair[2 * p], j = closure->pair[2 * p + 1];
        double a[3], b[3], gap[3], start[3];
        transform_atom(tree, frames, xyz, i, a);
        transform_atom(tree, frames, xyz, j, b);
        for (int k = 0; k < 3; k++) {
            gap[k] = a[k] - b[k];
            start[k] = xyz[3 * i + k] - xyz[3 * j + k];
        }
        *out++ = sqrt(dot3(gap, gap)) - sqrt(dot3(start, start));
    }
}

/* Derivative (r, n) of the residual by the torsions; exact for a closed loop. */
void closure_rates(const Tree *tree, const Closure *closure, const double *xyz, const double *frames,
                   const double *screws, double *rates) {
    int64_t n = tree->n;
    memset(rates, 0, sizeof(double) * conditions(closure) * n);
    if (closure->end >= 0) {
        double at[3], arm[3];
        transform(frames + 12 * closure->end, xyz + 3 * closure->anchor, at);
        for (int64_t j = closure->end; j >= 0; j = tree->parent[j]) {
            const double *a = screws + 6 * j;
            cross(a, at, arm);
            for (int k = 0; k < 3; k++) {
                rates[k * n + j] = arm[k] + a[3 + k];
                rates[(3 + k) * n + j] = ORIENTATION_ARM * a[k];
            }
        }
        rates += 6 * n;
    }
    for (int64_t p = 0; p < closure->pairs; p++, rates += n) {
        double at[2][3], unit[3], arm[3];
        for (int e = 0; e < 2; e++) transform_atom(tree, frames, xyz, closure->pair[2 * p + e], at[e]);
        for (int k = 0; k < 3; k++) unit[k] = at[0][k] - at[1][k];
        double length = fmax(sqrt(dot3(unit, unit)), 1e-12);
        for (int e = 0; e < 2; e++) {
            int64_t body = tree->body[closure->pair[2 * p + e]];
            for (int64_t j = body < n ? body : -1; j >= 0; j = tree->parent[j]) {
                cross(screws + 6 * j, at[e], arm);
                for (int k = 0; k < 3; k++) arm[k] += screws[6 * j + 3 + k];
                rates[j] += (e ? -1 : 1) * dot3(unit, arm) / length;
            }
        }
    }
}

/* Close a row by Newton's method along `basis` (n, r); returns whether it closed. `work` holds n (r + 6) numbers. */
static int close_row(const Tree *tree, const Closure *closure, const double *xyz, const double *basis, double *theta,
                     double *frames, double *work) {
    int64_t n = tree->n, r = conditions(closure);
    double *screws = work, *rates = work + 6 * n;
    double error[MAX_CONDITIONS], square[MAX_CONDITIONS * MAX_CONDITIONS], inverse[MAX_CONDITIONS * MAX_CONDITIONS];
    double step[MAX_CONDITIONS];
    for (int k = 0;; k++) {
        double worst = 0;
        int finite = 1;
        tree_frames(tree, xyz, theta, frames);
        residual(tree, closure, xyz, frames, error);
        for (int64_t i = 0; i < r; i++) {
            finite &= isfinite(error[i]) != 0;
            worst = fmax(worst, fabs(error[i]));
        }
        if (!finite) return 0;
        if (worst < CLOSURE_TOLERANCE) break;
        if (k == NEWTON_STEPS) return 0;
        tree_screws(tree, xyz, frames, screws);
        closure_rates(tree, closure, xyz, frames, screws, rates);
        memset(square, 0, sizeof(double) * r * r);
        for (int64_t i = 0; i < r; i++)
            for (int64_t j = 0; j < n; j++)
                for (int64_t e = 0; e < r; e++) square[i * r + e] += rates[i * n + j] * basis[j * r + e];
        pseudo_inverse(r, square, inverse);
        for (int64_t i = 0; i < r; i++) step[i] = dot(inverse + i * r, error, r);
        for (int64_t j = 0; j < n; j++) theta[j] -= dot(basis + j * r, step, r);
    }
    /* a rotation by half a turn has no skew part, so the residual alone would accept it */
    const double *f = frames + 12 * (closure->end < 0 ? 0 : closure->end);
    return closure->end < 0 || f[0] + f[4] + f[8] > 2.9;
}

/* Increments, frames and coordinates of latents z (B, d): projected, capped, closed and carried along the tree.

   mobility (n), normal (B, n, r); out: basis (B, n, r), free (B, n), frames (B, n, 12), mean (B, n + 3 m), valid (B). */
int decode(const Tree *tree, const Closure *closure, int64_t rows, int64_t d, double limit, double cap,
           const double *latent, const double *xyz, const double *mobility, const double *normal, double *basis,
           double *free_increments, double *frames, double *mean, uint8_t *valid) {
    int64_t n = tree->n, m = tree->m, r = conditions(closure);
    double along[MAX_CONDITIONS], *work = malloc(sizeof(double) * (n * (r + 6) + 1));
    if (!work) return 1;
    for (int64_t b = 0; b < rows; b++) {
        const double *z = latent + b * d, *x = xyz + 3 * b * m, *side = normal + b * n * r;
        double *theta = mean + b * (n + 3 * m), *moved = theta + n, *move = free_increments + b * n;
        double *frame = frames + 12 * b * n, *bent = basis + b * n * r, largest = 0;
        for (int64_t e = 0; e < r; e++) along[e] = 0;
        for (int64_t j = 0; j < n; j++)
            for (int64_t e = 0; e < r; e++) {
                along[e] += side[j * r + e] * z[j];
                bent[j * r + e] = mobility[j] * side[j * r + e];
            }
        for (int64_t j = 0; j < n; j++) {
            move[j] = mobility[j] * (z[j] - dot(side + j * r, along, r));
            largest = fmax(largest, fabs(move[j]));
        }
        double scale = largest > limit ? limit / largest : 1;
        for (int64_t j = 0; j < n; j++) theta[j] = scale * move[j];
        int closed = 1, turned = 0;
        if (r) closed = close_row(tree, closure, x, bent, theta, frame, work);
        else tree_frames(tree, x, theta, frame);
        double turn = 0;
        for (int64_t j = 0; j < n; j++) {
            turn = fmax(turn, fabs(theta[j]));
            turned |= theta[j] != 0;
            closed &= !isnan(theta[j]);
        }
        valid[b] = closed && turn <= cap * (1 + 1e-9);
        if (!turned) memcpy(moved, x, sizeof(double) * 3 * m);
        else
            for (int64_t a = 0; a < m; a++) transform_atom(tree, frame, x, a, moved + 3 * a);
    }
    free(work);
    return 0;
}

/* Tangent space of closure: normal (B, n, r) and the number of independent conditions (B). */
int tangent(const Tree *tree, const Closure *closure, int64_t rows, const double *xyz, const double *mobility,
            double *normal, int64_t *independent) {
    int64_t n = tree->n, r = conditions(closure);
    double *work = calloc(n * (r + 18), sizeof(double));
    if (!work) return 1;
    double *frames = work, *screws = work + 12 * n, *rates = work + 18 * n;
    for (int64_t j = 0; j < n; j++) frames[12 * j] = frames[12 * j + 4] = frames[12 * j + 8] = 1;
    for (int64_t b = 0; b < rows; b++) {
        const double *x = xyz + 3 * b * tree->m;
        tree_screws(tree, x, frames, screws);
        closure_rates(tree, closure, x, frames, screws, rates);
        for (int64_t i = 0; i < r; i++)
            for (int64_t j = 0; j < n; j++) rates[i * n + j] *= mobility[j];
        independent[b] = orthonormal_rows(r, n, rates, RANK_TOLERANCE);
        for (int64_t i = 0; i < r; i++)
            for (int64_t j = 0; j < n; j++) normal[(b * n + j) * r + i] = rates[i * n + j];
    }
    free(work);
    return 0;
}
