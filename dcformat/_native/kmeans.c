/* Exact optimal k-means on a line: the twin of dcformat/kmeans.py, which explains the method.
 *
 * The same floating-point operations in the same order, so the same bits; compile with
 * -ffp-contract=off.
 */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

enum { GUESSES = 40 };

typedef struct {
    double price, error;
    int64_t count;
    int64_t *ends;
} path;

typedef struct {
    const dcf_sums *sums;
    int64_t n;
    double *best;
    int64_t *last, *who, *since;
} search;

static double cost(const dcf_sums *sums, int64_t i, int64_t j)
{
    const double x = sums[j].x - sums[i].x;
    const double c = (sums[j].xx - sums[i].xx) - x * x / (sums[j].w - sums[i].w);
    return c > 0.0 ? c : 0.0;
}

static int beats(const search *s, int64_t new, int64_t old, int64_t j)
{
    return s->best[new] + cost(s->sums, new, j) < s->best[old] + cost(s->sums, old, j);
}

static int64_t takeover(const search *s, int64_t new, int64_t old, int64_t low)
{
    const int64_t n = s->n;
    int64_t step = 1, high = low;
    while (high <= n && !beats(s, new, old, high)) {
        low = high + 1;
        high += step;
        step *= 2;
    }
    if (high > n + 1) {
        high = n + 1;
    }
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (beats(s, new, old, middle)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* The path's clusters go to p->ends, which has room for n. */
static void trace(const search *s, double price, path *p)
{
    int64_t count = 0, j;
    double error = 0.0;
    for (j = s->n; j > 0; j = s->last[j]) {
        error += cost(s->sums, s->last[j], j);
        count++;
    }
    p->price = price;
    p->error = error;
    p->count = count;
    for (j = s->n; j > 0; j = s->last[j]) {
        p->ends[--count] = j;
    }
}

static void cheapest(search *s, double price, path *p)
{
    int64_t head = 0, tail = 1, j;
    s->best[0] = 0.0;
    s->who[0] = 0;
    s->since[0] = 1;
    for (j = 1;; j++) {
        while (head + 1 < tail && s->since[head + 1] <= j) {
            head++;
        }
        s->last[j] = s->who[head];
        s->best[j] = s->best[s->who[head]] + cost(s->sums, s->who[head], j) + price;
        if (j == s->n) {
            break;
        }
        /* the head began at or before j, so this stops there */
        while (s->since[tail - 1] > j && beats(s, j, s->who[tail - 1], s->since[tail - 1])) {
            tail--;
        }
        const int64_t from = s->since[tail - 1] > j ? s->since[tail - 1] : j + 1;
        const int64_t start = takeover(s, j, s->who[tail - 1], from);
        if (start <= s->n) {
            s->who[tail] = j;
            s->since[tail] = start;
            tail++;
        }
    }
    trace(s, price, p);
}

static double guess(const path *few, const path *many, int64_t k, double secant)
{
    const path *known = few->price > 0.0 ? few : many;
    if (known->price <= 0.0) {
        return 2.0 * few->error / ((double)k * (double)k * (double)k);
    }
    const double ratio = (double)known->count / (double)k;
    const double price = known->price * (ratio * ratio * ratio);
    const int below = few->price <= 0.0 || price < few->price;
    return many->price < price && below ? price : secant;
}

/* a(i) and b(i) of kmeans.py are 0 for i = 0, else ends[i - 1] */
static void splice(const path *many, const path *few, int64_t k, int64_t *ends)
{
    const int64_t skip = k - few->count;
    int64_t at = skip;
    while (few->ends[at - skip] <= many->ends[at]) {
        at++;
    }
    memcpy(ends, many->ends, (size_t)at * sizeof *ends);
    memcpy(ends + at, few->ends + (at - skip), (size_t)(k - at) * sizeof *ends);
}

static void swap(path *a, path *b)
{
    const path t = *a;
    *a = *b;
    *b = t;
}

static void find(search *s, int64_t k, path *few, path *many, path *next, int64_t *ends)
{
    int step;
    for (step = 0;; step++) {
        const double secant = (few->error - many->error) / (double)(many->count - few->count);
        const double price = step < GUESSES ? guess(few, many, k, secant) : secant;
        cheapest(s, price, next);
        if (next->count == k) {
            memcpy(ends, next->ends, (size_t)k * sizeof *ends);
            return;
        }
        const int inside = few->count < next->count && next->count < many->count;
        if (price == secant && !inside) {
            splice(many, few, k, ends);
            return;
        }
        swap(next->count < k ? few : many, next);
    }
}

int dcf_kmeans_ends(const dcf_sums *sums, int64_t n, int64_t k, int64_t *ends)
{
    const size_t room = (size_t)n + 1;
    int64_t *const ints = malloc(6 * room * sizeof *ints);
    double *const best = malloc(room * sizeof *best);
    if (ints == NULL || best == NULL) {
        free(ints);
        free(best);
        return -1;
    }
    search s = {sums, n, best, ints, ints + room, ints + 2 * room};
    path few = {0.0, cost(sums, 0, n), 1, ints + 3 * room};
    path many = {0.0, 0.0, n, ints + 4 * room};
    path next = {0.0, 0.0, 0, ints + 5 * room};
    int64_t i;
    few.ends[0] = n;
    for (i = 0; i < n; i++) {
        many.ends[i] = i + 1;
    }
    if (k == 1) {
        ends[0] = n;
    } else {
        find(&s, k, &few, &many, &next, ends);
    }
    free(ints);
    free(best);
    return 0;
}
