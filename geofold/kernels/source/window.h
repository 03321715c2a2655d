/* Features of the loop model in the precision `real`; included by window.c once for each precision. */
#include "vectors.h"

/* CB of a backbone of four atoms. */
static void NAME(place_beta)(const Window *at, const real *x, real *beta) {
    real b[3], c[3], across[3];
    for (int e = 0; e < 3; e++) {
        b[e] = x[3 + e] - x[e];
        c[e] = x[6 + e] - x[3 + e];
    }
    NAME(cross)(b, c, across);
    for (int e = 0; e < 3; e++)
        beta[e] = (real)at->beta[0] * across[e] + (real)at->beta[1] * b[e] + (real)at->beta[2] * c[e] + x[3 + e];
}

/* Vector in the frame of the residue; returns what follows. */
static real *NAME(turn)(const real *axes, const real *v, real scale, real *out) {
    for (int e = 0; e < 3; e++) out[e] = NAME(dot)(axes + 3 * e, v) * scale;
    return out + 3;
}

/* Point in the frame of the residue, in units of `SCALE`; returns what follows. */
static real *NAME(locate)(const real *axes, const real *origin, const real *point, real *out) {
    real v[3] = {point[0] - origin[0], point[1] - origin[1], point[2] - origin[2]};
    return NAME(turn)(axes, v, (real)1 / SCALE, out);
}

/* Sines and cosines of phi and psi of residue k; zero if the neighbouring residue is missing. */
static void NAME(circles)(int64_t size, const real *xyz, const uint8_t *present, int64_t k, real *out) {
    for (int e = 0; e < 4; e++) out[e] = 0;
    if (k < 1 || k > size - 2) return;
    const real *x = xyz + 12 * k, *path[5] = {x - 6, x, x + 3, x + 6, x + 12}; /* C, N, CA, C, N */
    real arms[4][3], angle[2];
    for (int a = 0; a < 4; a++)
        for (int e = 0; e < 3; e++) arms[a][e] = path[a + 1][e] - path[a][e];
    for (int side = 0; side < 2; side++) {
        if (!present[side ? k + 1 : k - 1]) continue;
        NAME(circle)(arms[side], arms[side + 1], arms[side + 2], angle);
        out[side] = angle[0];
        out[2 + side] = angle[1];
    }
}

/* Sums over points (n): overlap with an atom, and the repulsions. `work` (4 n) is spent. */
static real NAME(overlap)(int64_t n, const real *restrict x, const real *restrict y, const real *restrict z,
                          const real *restrict weight, const real *atom, real limit, real *restrict work, real *push) {
    real total = 0, a = atom[0], b = atom[1], c = atom[2];
    for (int64_t j = 0; j < n; j++) {
        real dx = a - x[j], dy = b - y[j], dz = c - z[j], distance = NAME(sqrt)(dx * dx + dy * dy + dz * dz);
        real gap = limit - distance;
        work[j] = (gap > 0 ? gap : 0) * weight[j];
    }
    push[0] = push[1] = push[2] = 0;
    for (int64_t j = 0; j < n; j++) {
        if (work[j] == 0) continue; /* few overlap */
        real v[3] = {a - x[j], b - y[j], c - z[j]}, distance = NAME(sqrt)(NAME(dot)(v, v));
        real share = work[j] / (distance > (real)SHORTEST_ARM ? distance : (real)SHORTEST_ARM);
        total += work[j];
        for (int e = 0; e < 3; e++) push[e] += share * v[e];
    }
    return total;
}

/* Features (B, F) at a residue of loops: backbones (B, S, 4, 3), letters (B, S), presence (B, S), other atoms (B, E, 3)
   and their weights (B, E), innovations (B, I). Steps between rows are in `steps` (6), zero if all rows are alike. */
int NAME(window)(const Window *at, int64_t rows, int64_t cursor, double time, const int64_t *steps, const real *backbones,
                 const int64_t *letters, const uint8_t *presence, const real *others, const real *weights,
                 const real *innovations, real *out) {
    int64_t size = at->residues, own = size * ATOMS, points = own + at->others, centre = at->flank + cursor;
    int64_t length = size - 2 * at->flank;
    real *work = malloc(sizeof(real) * (size_t)(5 * points));
    if (!work) return 1;
    real *x = work, *y = x + points, *z = y + points, *weight = z + points, *spent = weight + points;
    for (int64_t b = 0; b < rows; b++) {
        const real *xyz = backbones + b * steps[0], *environment = others + b * steps[3], *origin = xyz + 12 * centre + 3;
        const int64_t *letter = letters + b * steps[1];
        const uint8_t *present = presence + b * steps[2];
        const real *far = weights + b * steps[4];
        real axes[9], atoms[3 * ATOMS], *to = out + b * at->features, beta[3];
        for (int64_t k = 0; k < size; k++) {
            int64_t apart = k > centre ? k - centre : centre - k;
            NAME(place_beta)(at, xyz + 12 * k, beta);
            for (int a = 0; a < ATOMS; a++) {
                const real *from = a < 4 ? xyz + 12 * k + 3 * a : beta;
                x[ATOMS * k + a] = from[0];
                y[ATOMS * k + a] = from[1];
                z[ATOMS * k + a] = from[2];
                weight[ATOMS * k + a] = apart > 1 && present[k] ? 1 : 0;
                for (int e = 0; e < 3 && k == centre; e++) atoms[3 * a + e] = from[e];
            }
        }
        for (int64_t j = 0; j < at->others; j++) {
            x[own + j] = environment[3 * j];
            y[own + j] = environment[3 * j + 1];
            z[own + j] = environment[3 * j + 2];
            weight[own + j] = far[j];
        }
        for (int e = 0; e < 3; e++) {
            axes[e] = origin[3 + e] - origin[e];
            axes[3 + e] = origin[e - 3] - origin[e];
        }
        NAME(unit)(axes);
        real along = NAME(dot)(axes, axes + 3);
        for (int e = 0; e < 3; e++) axes[3 + e] -= along * axes[e];
        NAME(unit)(axes + 3);
        NAME(cross)(axes, axes + 3, axes + 6);

        for (int64_t k = centre - at->half; k <= centre + at->half; k++) {
            int64_t width = at->alphabet + 4 + 2 + 3;
            for (int64_t w = 0; w < width; w++) to[w] = 0;
            if (present[k]) {
                to[letter[k]] = 1;
                NAME(circles)(size, xyz, present, k, to + at->alphabet);
                to[at->alphabet + 4] = k >= at->flank && k < size - at->flank ? 1 : 0;
                to[at->alphabet + 5] = 1;
                NAME(locate)(axes, origin, xyz + 12 * k + 3, to + at->alphabet + 6);
            }
            to += width;
        }
        real pushes[3 * ATOMS];
        for (int a = 0; a < ATOMS; a++)
            *to++ = NAME(overlap)(points, x, y, z, weight, atoms + 3 * a, (real)contact[a], spent, pushes + 3 * a);
        for (int a = 0; a < ATOMS; a++) to = NAME(turn)(axes, pushes + 3 * a, 1, to);

        real counts[SHELLS] = {0}, sums[3 * SHELLS] = {0}, *inside = spent;
        for (int s = 0; s < SHELLS; s++) {
            const real *px = x + own, *py = y + own, *pz = z + own, *beta_at = atoms + 12;
            for (int64_t j = 0; j < at->others; j++) {
                real dx = px[j] - beta_at[0], dy = py[j] - beta_at[1], dz = pz[j] - beta_at[2];
                real distance = NAME(sqrt)(dx * dx + dy * dy + dz * dz);
                distance = distance > (real)SHORTEST_ARM ? distance : (real)SHORTEST_ARM;
                inside[j] = far[j] / (1 + NAME(exp)(-2 * ((real)radii[s] - distance)));
            }
            for (int64_t j = 0; j < at->others; j++) {
                real v[3] = {px[j] - beta_at[0], py[j] - beta_at[1], pz[j] - beta_at[2]};
                real distance = NAME(sqrt)(NAME(dot)(v, v)), share;
                share = inside[j] / (distance > (real)SHORTEST_ARM ? distance : (real)SHORTEST_ARM);
                counts[s] += inside[j];
                for (int e = 0; e < 3; e++) sums[3 * s + e] += share * v[e];
            }
            *to++ = counts[s] / (real)typical[s];
        }
        for (int s = 0; s < SHELLS; s++) to = NAME(turn)(axes, sums + 3 * s, 1 / (counts[s] > 1 ? counts[s] : 1), to);
        for (int side = 0; side < 2; side++) {
            const real *anchor = xyz + 12 * (side ? size - at->flank : at->flank - 1);
            for (int a = 0; a < 4; a++) to = NAME(locate)(axes, origin, anchor + 3 * a, to);
        }
        real place[PLACES] = {(real)cursor / (real)length, (real)(length - 1 - cursor) / (real)length, (real)length / SCALE,
                              (real)time, 1};
        for (int k = 0; k < PLACES; k++) *to++ = place[k];
        for (int64_t k = 0; k < at->innovations; k++) *to++ = innovations[b * steps[5] + k];
    }
    free(work);
    return 0;
}
