/* Bottom-up merge sort; see sort.h. */
#include "eval/sort.h"

static void merge(const struct sort_item *in, struct sort_item *out, size_t mid, size_t n, int sign) {
    size_t i = 0, j = mid, k = 0;
    while (i < mid && j < n) out[k++] = sort_item_compare(&in[i], &in[j]) * sign <= 0 ? in[i++] : in[j++];
    if (i < mid) memcpy(out + k, in + i, (mid - i) * sizeof(*in));
    else if (j < n) memcpy(out + k, in + j, (n - j) * sizeof(*in));
}

void sort_items(struct sort_item *items, struct sort_item *spare, size_t n, int sign) {
    struct sort_item *in = items, *out = spare;
    for (size_t run = 1; run < n; run *= 2) {
        for (size_t at = 0; at < n; at += 2 * run) {
            size_t left = n - at;
            merge(in + at, out + at, run < left ? run : left, 2 * run < left ? 2 * run : left, sign);
        }
        struct sort_item *swap = in;
        in = out;
        out = swap;
    }
    if (in != items && n != 0) memcpy(items, in, n * sizeof(*items));
}
