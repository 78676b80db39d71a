/* Free lists by size; see mem_reuse.h.
 *
 * Every free tells the length that was asked for, so the class of a piece is computed again and pieces carry no header. While a piece is kept, its first
 * word links it to the next.
 *
 *   class 0: 16 KiB, then 20, 24, 28, 32, 40, 48, 56, 64 KiB ... 4 MiB (class 32)
 *
 *   MR1  A piece handed out for a length of class c has the class's full length below.
 *   MR2  kept_len is the sum of the lengths of what the lists hold, and at most keep_max.
 */
#include "storage/mem_reuse.h"

#include <assert.h>
#include <string.h>

#include "os/thread.h"

#define LEN_MIN ((size_t) 16 * 1024)
#define LEN_MAX ((size_t) 4 * 1024 * 1024)
#define CLASS_COUNT 33
#define NO_CLASS CLASS_COUNT

struct piece {
    struct piece *next;
};

struct mem_reuse {
    struct mem hook;
    const struct mem *below;
    size_t keep_max;
    struct mutex mutex;
    size_t kept_len;
    struct piece *kept[CLASS_COUNT];
};

static size_t class_len(unsigned class) { return (LEN_MIN + LEN_MIN / 4 * (class % 4)) << class / 4; }

/* The least class that holds len. */
static unsigned class_of(size_t len) {
    if (len < LEN_MIN || len > LEN_MAX) return NO_CLASS;
    unsigned doublings = 63 - 14 - (unsigned) __builtin_clzll(len); /* LEN_MIN is 2^14 */
    size_t quarter = LEN_MIN / 4 << doublings;
    unsigned class = 4 * doublings + (unsigned) ((len - (LEN_MIN << doublings) + quarter - 1) / quarter);
    assert(class < CLASS_COUNT && class_len(class) >= len);
    return class;
}

void mem_reuse_trim(struct mem_reuse *r) {
    struct piece *kept[CLASS_COUNT];
    mutex_lock(&r->mutex);
    memcpy(kept, r->kept, sizeof(kept));
    memset(r->kept, 0, sizeof(r->kept));
    r->kept_len = 0;
    mutex_unlock(&r->mutex);
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        for (struct piece *p = kept[class], *next; p != NULL; p = next) {
            next = p->next;
            mem_free(r->below, p, class_len(class));
        }
    }
}

static void *take(struct mem_reuse *r, size_t len) {
    unsigned class = class_of(len);
    if (class != NO_CLASS) {
        len = class_len(class); /* MR1 */
        mutex_lock(&r->mutex);
        struct piece *p = r->kept[class];
        if (p != NULL) {
            r->kept[class] = p->next;
            r->kept_len -= len;
        }
        mutex_unlock(&r->mutex);
        if (p != NULL) return p;
    }
    void *p = mem_alloc(r->below, len);
    if (p != NULL || mem_reuse_kept(r) == 0) return p;
    mem_reuse_trim(r);
    return mem_alloc(r->below, len);
}

static void give(struct mem_reuse *r, void *memory, size_t len) {
    unsigned class = class_of(len);
    if (class != NO_CLASS) {
        len = class_len(class);
        mutex_lock(&r->mutex);
        bool is_kept = len <= r->keep_max && r->kept_len <= r->keep_max - len; /* MR2 */
        if (is_kept) {
            struct piece *p = memory;
            p->next = r->kept[class];
            r->kept[class] = p;
            r->kept_len += len;
        }
        mutex_unlock(&r->mutex);
        if (is_kept) return;
    }
    mem_free(r->below, memory, len);
}

static void *resize(void *ctx, void *p, size_t old_len, size_t new_len) {
    struct mem_reuse *r = ctx;
    if (p == NULL) return take(r, new_len);
    if (new_len == 0) {
        give(r, p, old_len);
        return NULL;
    }
    unsigned old_class = class_of(old_len), new_class = class_of(new_len);
    if (old_class == NO_CLASS && new_class == NO_CLASS) return mem_resize(r->below, p, old_len, new_len);
    if (old_class == new_class) return p;
    void *q = take(r, new_len);
    if (q == NULL) return NULL;
    memcpy(q, p, old_len < new_len ? old_len : new_len);
    give(r, p, old_len);
    return q;
}

status mem_reuse_new(const struct mem *below, size_t keep_max, struct mem_reuse **out, struct err *err) {
    struct mem_reuse *r = mem_new(below, struct mem_reuse);
    if (r == NULL) return RAISE(err, ST_NOMEM, "memory to keep chunks");
    status st = mutex_init(&r->mutex, err);
    if (st != ST_OK) {
        mem_delete(below, r);
        return st;
    }
    r->hook = (struct mem){resize, r};
    r->below = below;
    r->keep_max = keep_max;
    *out = r;
    return ST_OK;
}

void mem_reuse_free(struct mem_reuse *r) {
    if (r == NULL) return;
    mem_reuse_trim(r);
    mutex_release(&r->mutex);
    mem_delete(r->below, r);
}

const struct mem *mem_reuse_hook(const struct mem_reuse *r) { return &r->hook; }

size_t mem_reuse_kept(struct mem_reuse *r) {
    mutex_lock(&r->mutex);
    size_t len = r->kept_len;
    mutex_unlock(&r->mutex);
    return len;
}
