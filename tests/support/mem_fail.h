/* An allocator for tests: counts what is live, checks the lengths that frees tell, and fails on demand.
 *
 *   struct mem_fail mf;
 *   for (uint64_t n = 1;; n++) {
 *       mem_fail_init(&mf, n);            // allocation n and all later ones fail; 0: none does
 *       ... scenario with &mf.mem ...
 *       cr_assert_eq(mem_fail_live(&mf), 0);
 *       if (!mem_fail_hit(&mf)) break;    // the scenario ran to its end without reaching allocation n
 *   }
 *
 * Shrinking never fails. May be used from several threads. */
#ifndef TESTS_SUPPORT_MEM_FAIL_H
#define TESTS_SUPPORT_MEM_FAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

struct mem_fail {
    struct mem mem;      /* give &mf.mem to the code under test */
    uint64_t fail_at;    /* the first allocation that fails, counted from 1; 0: none */
    bool once;           /* only that one fails */
    uint64_t count;      /* allocations and growths asked for so far */
    uint64_t live_count; /* pieces */
    uint64_t live_len;   /* bytes */
    uint64_t peak_len;
};

void mem_fail_init(struct mem_fail *mf, uint64_t fail_at);
bool mem_fail_hit(const struct mem_fail *mf);      /* an allocation was refused */
uint64_t mem_fail_live(const struct mem_fail *mf); /* bytes */

#endif
