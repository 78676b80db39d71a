/* The failing allocator; see mem_fail.h. Each piece carries its length in front, so that a wrong length at free is found. */
#include "support/mem_fail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD 16 /* keeps the alignment */

static void *resize_counted(void *ctx, void *p, size_t old_len, size_t new_len) {
    struct mem_fail *mf = ctx;
    uint8_t *head = p != NULL ? (uint8_t *) p - HEAD : NULL;
    if (head != NULL) {
        size_t len;
        memcpy(&len, head, sizeof(len));
        if (len != old_len) {
            (void) fprintf(stderr, "a piece of %zu bytes was given back as %zu\n", len, old_len);
            abort();
        }
    }
    if (new_len == 0) {
        if (head == NULL) return NULL;
        __atomic_sub_fetch(&mf->live_count, 1, __ATOMIC_RELAXED);
        __atomic_sub_fetch(&mf->live_len, old_len, __ATOMIC_RELAXED);
        memset(p, 0xdd, old_len);
        free(head);
        return NULL;
    }
    if (head == NULL || new_len > old_len) {
        uint64_t n = __atomic_add_fetch(&mf->count, 1, __ATOMIC_RELAXED);
        if (mf->fail_at != 0 && (mf->once ? n == mf->fail_at : n >= mf->fail_at)) return NULL;
    }
    uint8_t *q = malloc(HEAD + new_len);
    if (q == NULL) abort();
    memcpy(q, &new_len, sizeof(new_len));
    memset(q + HEAD, 0xcc, new_len);
    if (head != NULL) {
        memcpy(q + HEAD, p, old_len < new_len ? old_len : new_len);
        free(head);
    } else {
        __atomic_add_fetch(&mf->live_count, 1, __ATOMIC_RELAXED);
    }
    uint64_t live = __atomic_add_fetch(&mf->live_len, new_len - old_len, __ATOMIC_RELAXED);
    uint64_t peak = __atomic_load_n(&mf->peak_len, __ATOMIC_RELAXED);
    while (live > peak &&
           !__atomic_compare_exchange_n(&mf->peak_len, &peak, live, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    return q + HEAD;
}

void mem_fail_init(struct mem_fail *mf, uint64_t fail_at) {
    *mf = (struct mem_fail){.mem = {resize_counted, mf}, .fail_at = fail_at};
}

bool mem_fail_hit(const struct mem_fail *mf) {
    return mf->fail_at != 0 && __atomic_load_n(&mf->count, __ATOMIC_RELAXED) >= mf->fail_at;
}

uint64_t mem_fail_live(const struct mem_fail *mf) { return __atomic_load_n(&mf->live_len, __ATOMIC_RELAXED); }
