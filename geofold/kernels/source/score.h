/* Potential of loops in the precision `real`; included by score.c once for each precision. */
#include "dense.h"
#include "vectors.h"

typedef struct {
    real *work, *n, *ca, *c, *o, *h, *beta, *axes, *number;  /* (3, N) but axes (N, 3, 3) and number (N) */
    real *row, *own, *pairs, *first, *second, *pooled, *padded, *residue, *place;
} NAME(Space);

/* Vector from one atom to another: the lists are (3, N). */
static void NAME(arm)(const real *from, int64_t i, const real *to, int64_t j, int64_t size, real *out) {
    for (int k = 0; k < 3; k++) out[k] = to[k * size + j] - from[k * size + i];
}

/* CB, axes and amide hydrogen of residues, from `from` to before `to`. */
static void NAME(complete)(const Score *at, NAME(Space) *s, int64_t from, int64_t to) {
    int64_t size = at->residues;
    for (int64_t i = from; i < to; i++) {
        real b[3], c[3], across[3], *x = s->axes + 9 * i, *y = x + 3, before[3], after[3];
        NAME(arm)(s->n, i, s->ca, i, size, b);
        NAME(arm)(s->ca, i, s->c, i, size, c);
        NAME(cross)(b, c, across);
        for (int k = 0; k < 3; k++) {
            s->beta[k * size + i] = (real)at->beta[0] * across[k] + (real)at->beta[1] * b[k] + (real)at->beta[2] * c[k] +
                                    s->ca[k * size + i];
            x[k] = c[k];
        }
        NAME(unit)(x);
        real along = -NAME(dot)(b, x);
        for (int k = 0; k < 3; k++) y[k] = -b[k] - along * x[k];
        NAME(unit)(y);
        NAME(cross)(x, y, x + 6);
        NAME(arm)(s->c, i ? i - 1 : 0, s->n, i, size, before);
        NAME(arm)(s->ca, i, s->n, i, size, after);
        NAME(unit)(before);
        NAME(unit)(after);
        for (int k = 0; k < 3; k++) before[k] += after[k];
        NAME(unit)(before);
        for (int k = 0; k < 3; k++) s->h[k * size + i] = s->n[k * size + i] + (real)N_H * before[k];
    }
}

/* Distances (N) from an atom to a list of atoms. */
static void NAME(distances)(const real *from, int64_t i, const real *to, int64_t size, real *restrict out) {
    const real *x = to, *y = to + size, *z = to + 2 * size;
    real a = from[i], b = from[size + i], c = from[2 * size + i];
    for (int64_t j = 0; j < size; j++) {
        real dx = x[j] - a, dy = y[j] - b, dz = z[j] - c;
        out[j] = NAME(sqrt)(dx * dx + dy * dy + dz * dz);
    }
}

/* Strongest hydrogen bond of residue i, as the donor or as the acceptor, from 0 to 1. */
static real NAME(bond)(const Score *at, const NAME(Space) *s, int64_t i, int donor) {
    int64_t size = at->residues;
    real *no = s->row, *hc = no + size, *ho = hc + size, *nc = ho + size, best = 0;
    if (donor && !at->donates[i]) return 0;
    NAME(distances)(donor ? s->n : s->o, i, donor ? s->o : s->n, size, no);
    NAME(distances)(donor ? s->h : s->c, i, donor ? s->c : s->h, size, hc);
    NAME(distances)(donor ? s->h : s->o, i, donor ? s->o : s->h, size, ho);
    NAME(distances)(donor ? s->n : s->c, i, donor ? s->c : s->n, size, nc);
    for (int64_t j = 0; j < 4 * size; j++) no[j] = 1 / (no[j] < (real)NEAREST ? (real)NEAREST : no[j]);
    for (int64_t j = 0; j < size; j++) no[j] = no[j] + hc[j] - ho[j] - nc[j];
    for (int64_t j = 0; j < size; j++) {
        int64_t offset = donor ? at->number[j] - at->number[i] : at->number[i] - at->number[j];
        real strength = ((real)COULOMB * no[j] - (real)WEAKEST) / (real)(STRONGEST - WEAKEST);
        if (strength > best && offset != 0 && offset != -1 && (donor || at->donates[j])) best = strength;
    }
    return best < 1 ? best : 1;
}

/* Features of one pair: directions, relative orientation, distances. */
static void NAME(pair)(const NAME(Space) *s, int64_t i, int64_t j, int64_t size, real *out) {
    const real *own = s->axes + 9 * i, *other = s->axes + 9 * j;
    real v[3];
    for (int k = 0; k < 4; k++) {
        const real *list = k % 2 ? s->beta : s->ca, *axes = k < 2 ? own : other;
        NAME(arm)(list, k < 2 ? i : j, list, k < 2 ? j : i, size, v);
        NAME(unit)(v);
        for (int e = 0; e < 3; e++) *out++ = NAME(dot)(axes + 3 * e, v);
    }
    for (int e = 0; e < 3; e++)
        for (int f = 0; f < 3; f++) *out++ = NAME(dot)(own + 3 * e, other + 3 * f);
    const real *from[4] = {s->ca, s->beta, s->n, s->o}, *to[4] = {s->ca, s->beta, s->o, s->n};
    for (int k = 0; k < 4; k++) {
        NAME(arm)(from[k], i, to[k], j, size, v);
        real distance = NAME(sqrt)(NAME(dot)(v, v));
        for (int e = 0; e < CENTRES; e++) {
            real gap = distance - (FIRST_CENTRE + e);
            out[e] = -gap * gap;
        }
        out += CENTRES;
    }
}

/* Torsions, burial and hydrogen bonds (L, 9) of the residues of the loop. */
static void NAME(residues)(const Score *at, NAME(Space) *s) {
    int64_t size = at->residues;
    for (int64_t i = 0; i < at->length; i++) {
        int64_t k = at->first + i;
        real *to = s->residue + OWN * i, before[3], one[3], two[3], after[3], phi[2], psi[2];
        NAME(arm)(s->c, k - 1, s->n, k, size, before);
        NAME(arm)(s->n, k, s->ca, k, size, one);
        NAME(arm)(s->ca, k, s->c, k, size, two);
        NAME(arm)(s->c, k, s->n, k + 1, size, after);
        NAME(circle)(before, one, two, phi);
        NAME(circle)(one, two, after, psi);
        to[0] = phi[0];
        to[1] = phi[1];
        to[2] = psi[0];
        to[3] = psi[1];
        NAME(distances)(s->beta, k, s->beta, size, s->row);
        for (int e = 0; e < 3; e++) {
            real radius = (real)radii[e], sum = 0, *close = s->row + size;
            for (int64_t j = 0; j < size; j++) close[j] = 1 / (1 + NAME(exp)(2 * (s->row[j] - radius)));
            for (int64_t j = 0; j < size; j++) sum += j == k ? 0 : close[j];
            to[4 + e] = sum / radius;
        }
        to[7] = NAME(bond)(at, s, k, 1);
        to[8] = NAME(bond)(at, s, k, 0);
    }
}

/* Add the contributions (L) of one network; `counts` (L) neighbours with `index` and features (L, MOST). */
static void NAME(network)(const Score *at, NAME(Space) *s, const real *weights, const int64_t *counts,
                          const int64_t *index, real *out) {
    int64_t width = at->width, length = at->length, size = at->residues;
    const real *base = weights, *table = base + length * width, *flags = table + size * width;
    const real *beside = flags + FLAGS * width, *pair = beside + BESIDE * width, *hidden = pair + PAIR * width;
    const real *bias = hidden + width * width, *sequence = bias + width, *enter = sequence + length * width;
    const real *residue = enter + width * width, *along = residue + OWN * width;
    memset(s->own, 0, sizeof(real) * (size_t)(length * width));
    NAME(dense)(length, BESIDE, width, s->place, BESIDE, beside, s->own);
    memset(s->pooled, 0, sizeof(real) * (size_t)(length * width));
    for (int64_t i = 0; i < length; i++) {
        int64_t count = counts[i], k = at->first + i;
        for (int64_t e = 0; e < count; e++) {
            int64_t j = index[i * MOST + e], offset = at->number[j] - at->number[k];
            int outside = j < at->first || j >= at->first + length;
            int64_t kind = !offset ? 7 : offset > 3 || offset < -3 ? 6 : offset < 0 ? offset + 3 : offset + 2;
            const real *flag = flags + (2 * kind + outside) * width, *letter = table + j * width;
            const real *mine = base + i * width, *near = outside ? NULL : s->own + (j - at->first) * width;
            real *y = s->first + e * width;
            for (int64_t w = 0; w < width; w++) y[w] = mine[w] + letter[w] + flag[w];
            for (int64_t w = 0; near && w < width; w++) y[w] += near[w];
        }
        NAME(dense)(count, PAIR, width, s->pairs + i * MOST * PAIR, PAIR, pair, s->first);
        NAME(silu_all)(count * width, s->first);
        for (int64_t e = 0; e < count; e++) memcpy(s->second + e * width, bias, sizeof(real) * (size_t)width);
        NAME(dense)(count, width, width, s->first, width, hidden, s->second);
        NAME(silu_all)(count * width, s->second);
        real *sum = s->pooled + i * width;
        for (int64_t e = 0; e < count; e++)
            for (int64_t w = 0; w < width; w++) sum[w] += s->second[e * width + w];
    }
    /* a row of zeros on each side, for the convolutions */
    real *h = s->padded + width, *turned = s->first;
    memset(s->padded, 0, sizeof(real) * (size_t)((length + 2) * width));
    memcpy(h, sequence, sizeof(real) * (size_t)(length * width));
    NAME(dense)(length, width, width, s->pooled, width, enter, h);
    NAME(dense)(length, OWN, width, s->residue, OWN, residue, h);
    NAME(silu_all)(length * width, h);
    for (int64_t layer = 0; layer < at->convolutions; layer++) {
        for (int64_t i = 0; i < length; i++) memcpy(turned + i * width, along, sizeof(real) * (size_t)width);
        NAME(dense)(length, 3 * width, width, s->padded, width, along + width, turned);
        NAME(silu_all)(length * width, turned);
        for (int64_t k = 0; k < length * width; k++) h[k] += turned[k];
        along += (3 * width + 1) * width;
    }
    for (int64_t i = 0; i < length; i++) {
        real value = along[width];
        for (int64_t w = 0; w < width; w++) value += h[i * width + w] * along[w];
        out[i] += value;
    }
}

/* Contributions (K, L) of residues to the scores of candidates (K, L, 4, 3), each the mean over the networks. */
int NAME(score)(const Score *at, int64_t rows, const real *candidates, real *out) {
    int64_t size = at->residues, width = at->width, length = at->length, tall = MOST > length ? MOST : length;
    int64_t sizes[18] = {0, 3 * size, 3 * size, 3 * size, 3 * size, 3 * size, 3 * size, 9 * size, size, 4 * size,
                         length * width, length * MOST * PAIR, tall * width, tall * width, length * width,
                         (length + 2) * width, OWN * length, BESIDE * length};
    int64_t total = 0, *index = malloc(sizeof(int64_t) * (size_t)(length * (MOST + 1) + size));
    for (int k = 0; k < 18; k++) total += sizes[k];
    NAME(Space) s;
    s.work = malloc(sizeof(real) * (size_t)total);
    if (!s.work || !index) {
        free(s.work);
        free(index);
        return 1;
    }
    int64_t *counts = index + length * MOST, *found = counts + length;
    real **parts = &s.work;
    for (int k = 1; k < 18; k++) parts[k] = parts[k - 1] + sizes[k - 1];
    const real *environment = at->xyz;
    real *atoms[4] = {s.n, s.ca, s.c, s.o};
    for (int64_t i = 0; i < size; i++)
        for (int e = 0; e < 12; e++) atoms[e / 3][e % 3 * size + i] = environment[12 * i + e];
    NAME(complete)(at, &s, 0, size);
    for (int64_t b = 0; b < rows; b++) {
        const real *candidate = candidates + 12 * length * b;
        for (int64_t i = 0; i < length; i++)
            for (int e = 0; e < 12; e++) atoms[e / 3][e % 3 * size + at->first + i] = candidate[12 * i + e];
        NAME(complete)(at, &s, at->first, at->first + length + 1);
        NAME(residues)(at, &s);
        for (int64_t i = 0; i < length; i++) {
            NAME(distances)(s.beta, at->first + i, s.beta, size, s.row);
            counts[i] = NAME(nearest)(s.row, size, at->first + i, CUTOFF, MOST, found);
            memcpy(index + i * MOST, found, sizeof(int64_t) * (size_t)counts[i]);
            real *features = s.pairs + i * MOST * PAIR;
            for (int64_t e = 0; e < counts[i]; e++) NAME(pair)(&s, at->first + i, found[e], size, features + e * PAIR);
            for (int64_t e = 0; e < counts[i]; e++) {
                real *gaussians = features + e * PAIR + PAIR - 4 * CENTRES;
                for (int k = 0; k < 4 * CENTRES; k++) gaussians[k] = NAME(exp)(gaussians[k]);
            }
            s.place[BESIDE * i] = s.residue[OWN * i + 5];
            memcpy(s.place + BESIDE * i + 1, s.residue + OWN * i, sizeof(real) * 4);
        }
        real *to = out + b * length;
        memset(to, 0, sizeof(real) * (size_t)length);
        for (int64_t k = 0; k < at->networks; k++)
            NAME(network)(at, &s, (const real *)at->weights + k * at->block, counts, index, to);
        for (int64_t i = 0; i < length; i++) to[i] /= (real)at->networks;
    }
    free(s.work);
    free(index);
    return 0;
}
