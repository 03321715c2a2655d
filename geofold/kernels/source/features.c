/* Features of a peptide for its policy.

   The plain references are geofold/molecule/peptide/features.py and geofold/learn/peptide_policy/features.py. */
#include "contacts.h"

#define SLOTS 2        /* contacts that the policy sees, the worst first */
#define SEPARATION 3   /* in sequence, from which another residue counts as spatially near */
#define MEMORY 5       /* last columns, which the predictor fills */
#define POSE 12
#define PER_CONTACT 16

typedef struct {
    int64_t residues, local, alphabet;
    double scale, force_scale;                       /* divisors of lengths (A) and of forces */
    const int64_t *letter, *backbone, *torsion;      /* (L), (L, 3) rows of N, CA, C, (L, 4) with -1 for fixed */
    const double *fixed, *start;                     /* (s, 3) after the m local atoms; (L, 4) NaN for missing angles */
    const int64_t *part;                             /* (m): twice the residue, plus one for side-chain atoms */
} Peptide;

typedef struct {
    double place[2][3], excess, sign;
    int64_t low, high;
} Target;

static void unit(double *v) {
    double length = fmax(sqrt(dot3(v, v)), 1e-12);
    for (int k = 0; k < 3; k++) v[k] /= length;
}

static void into(const double *axes, const double *v, double *out) {
    for (int k = 0; k < 3; k++) out[k] = dot3(axes + 3 * k, v);
}

/* Numbers of the features of a residue. */
static int64_t feature_count(int64_t alphabet) { return 3 * (alphabet + 5) + 4 + 7 + 3 + 4 + SLOTS * PER_CONTACT + MEMORY; }

/* The worst contacts of a conformation, in order; returns their number. `residue` (c, 2) are those of the contacts. */
static int worst_contacts(const Contacts *at, const double *xyz, const int64_t *residue, Target *targets) {
    int count = 0;
    for (int64_t c = 0; at && c < at->count; c++) {
        Target new = {{{0}}, 0, at->sign[c], residue[2 * c], residue[2 * c + 1]};
        int64_t ends[2] = {at->i[c], at->j[c]};
        int swap = new.low > new.high;
        for (int e = 0; e < 2; e++) {
            const double *from = contact_end(at, ends[swap ? 1 - e : e], xyz);
            for (int k = 0; k < 3; k++) new.place[e][k] = 10 * from[k];
        }
        if (swap) {
            new.low = residue[2 * c + 1];
            new.high = residue[2 * c];
        }
        double arm[3];
        for (int k = 0; k < 3; k++) arm[k] = new.place[0][k] - new.place[1][k];
        new.excess = (sqrt(dot3(arm, arm)) - 10 * at->bound[c]) * at->sign[c];
        int slot = 0;
        while (slot < count && !(new.excess > targets[slot].excess)) slot++;
        if (slot == SLOTS) continue;
        if (count < SLOTS) count++;
        for (int k = count - 1; k > slot; k--) targets[k] = targets[k - 1];
        targets[slot] = new;
    }
    return count;
}

static double *contact_features(const Peptide *at, const Target *target, int64_t k, const double *axes,
                                const double *n, const double *ca, double *out) {
    double between = k >= target->low && k <= target->high, arm[3], across[3], axis[3], scale = at->scale;
    *out++ = target->excess / scale;
    *out++ = fmin(fmax(target->excess, -1), 1);
    *out++ = target->sign;
    *out++ = (double)(k - target->low) / scale;
    *out++ = (double)(target->high - k) / scale;
    *out++ = between;
    *out++ = k == target->low;
    *out++ = k == target->high;
    for (int e = 0; e < 2; e++) {
        for (int c = 0; c < 3; c++) arm[c] = target->place[e][c] - ca[c];
        into(axes, arm, out);
        for (int c = 0; c < 3; c++) out[c] /= scale;
        out += 3;
    }
    /* rates at which phi and psi move the second atom away from the first, with everything after the axis */
    double along[3];
    for (int c = 0; c < 3; c++) {
        along[c] = target->place[1][c] - target->place[0][c];
        axis[c] = ca[c] - n[c];
    }
    double distance = fmax(sqrt(dot3(along, along)), 1e-3);
    unit(axis);
    cross(axis, arm, across);
    *out++ = dot3(along, across) / distance * between / scale;
    cross(axes, arm, across);
    *out++ = dot3(along, across) / distance * between / scale;
    return out;
}

/* Input of the predictor (B, L (F + 12) + 2): features and poses, largest violation (A), hash of the goal.

   xyz (B, m, 3) nm, angle (B, n), overlap gradients (B, m, 3); contacts may be NULL, residue (c, 2). */
int peptide_features(const Peptide *at, int64_t rows, int64_t n, const double *xyz, const double *angle,
                     const double *gradient, const Contacts *contacts, const int64_t *residue, double goal,
                     double *out) {
    int64_t length = at->residues, m = at->local, width = feature_count(at->alphabet), letters = at->alphabet;
    double *work = malloc(sizeof(double) * length * (18 + 8 + 8));
    if (!work) return 1;
    double *frame = work, *push = work + 18 * length, *circle = push + 8 * length;
    for (int64_t b = 0; b < rows; b++) {
        const double *x = xyz + 3 * b * m;
        double *to = out + b * (length * (width + POSE) + 2);
        Target targets[SLOTS];
        int count = worst_contacts(contacts, x, residue, targets);
        memset(to, 0, sizeof(double) * length * (width + POSE));
        memset(push, 0, sizeof(double) * 8 * length);
        for (int64_t a = 0; a < m; a++) {
            const double *force = gradient + 3 * (b * m + a);
            double *sum = push + 4 * at->part[a];
            for (int k = 0; k < 3; k++) sum[k] += force[k] / at->force_scale;
            sum[3] += sqrt(dot3(force, force)) / at->force_scale;
        }
        for (int64_t k = 0; k < length; k++) {
            double *axes = frame + 18 * k, *point = axes + 9, along = 0;  /* x, y, z, then N, CA, C */
            for (int e = 0; e < 3; e++) {
                int64_t row = at->backbone[3 * k + e];
                const double *from = row < m ? x + 3 * row : at->fixed + 3 * (row - m);
                for (int c = 0; c < 3; c++) point[3 * e + c] = 10 * from[c];
            }
            for (int c = 0; c < 3; c++) axes[c] = point[6 + c] - point[3 + c];
            unit(axes);
            for (int c = 0; c < 3; c++) along += (point[c] - point[3 + c]) * axes[c];
            for (int c = 0; c < 3; c++) axes[3 + c] = point[c] - point[3 + c] - along * axes[c];
            unit(axes + 3);
            cross(axes, axes + 3, axes + 6);
            for (int e = 0; e < 4; e++) {
                int64_t j = at->torsion[4 * k + e];
                double value = at->start[4 * k + e] + (j >= 0 ? angle[b * n + j] : 0);
                circle[8 * k + 2 * e] = isfinite(value) ? sin(value) : 0;
                circle[8 * k + 2 * e + 1] = isfinite(value) ? cos(value) : 0;
            }
        }
        for (int64_t k = 0; k < length; k++, to += width + POSE) {
            const double *axes = frame + 18 * k, *ca = axes + 12, *pushed = push + 8 * k;
            double *f = to, nearest = INFINITY, arm[3] = {0}, best[3] = {0};
            for (int64_t offset = -1; offset <= 1; offset++) {
                int64_t other = k + offset;
                if (other < 0 || other >= length) continue;
                f[3 * at->letter[other] + offset + 1] = 1;
                for (int e = 0; e < 4; e++) f[3 * (letters + e) + offset + 1] = circle[8 * other + e];
                f[3 * (letters + 4) + offset + 1] = 1;
            }
            f += 3 * (letters + 5);
            for (int e = 0; e < 4; e++) *f++ = circle[8 * k + 4 + e];
            f[0] = pushed[3] + pushed[7];
            into(axes, pushed, f + 1);
            into(axes, pushed + 4, f + 4);
            for (int e = 0; e < 7; e++, f++) *f /= 1 + fabs(*f);
            *f++ = (double)k / (double)length;
            *f++ = (double)(length - 1 - k) / (double)length;
            *f++ = (double)length / at->scale;
            for (int64_t other = 0; other < length; other++) {
                if (llabs(other - k) < SEPARATION) continue;
                for (int c = 0; c < 3; c++) arm[c] = frame[18 * other + 12 + c] - ca[c];
                double gap = sqrt(dot3(arm, arm));
                if (gap >= nearest) continue;
                nearest = gap;
                memcpy(best, arm, sizeof arm);
            }
            if (nearest < 1e3) {
                into(axes, best, f);
                f[3] = nearest;
                for (int e = 0; e < 4; e++) f[e] /= at->scale;
            }
            f += 4;
            for (int slot = 0; slot < SLOTS; slot++)
                if (slot < count) f = contact_features(at, targets + slot, k, axes, axes + 9, ca, f);
                else f += PER_CONTACT;
            f += MEMORY;
            for (int c = 0; c < 3; c++) *f++ = ca[c] / at->scale;
            memcpy(f, axes, sizeof(double) * 9);
        }
        to[0] = count && targets[0].excess > 0 ? targets[0].excess : 0;
        to[1] = goal;
    }
    free(work);
    return 0;
}
