/* The disk of the simulated machine; see sim_disk.h. */
#include "os/sim_disk.h"

#include <string.h>

static bool one_in(struct sim_disk *d, uint64_t n) { return chance_below(&d->chance, n) == 0; }

char *sim_copy_text(struct sim_disk *d, const char *s) { return mem_copy(d->own, s, strlen(s) + 1); }
void sim_free_text(struct sim_disk *d, char *s) {
    if (s != NULL) mem_free(d->own, s, strlen(s) + 1);
}

/* --- pages --- */

static void free_page_bytes(struct sim_disk *d, uint8_t **p) {
    mem_free(d->own, *p, PAGE_LEN);
    *p = NULL;
}

bool sim_grow_pages(struct sim_disk *d, struct node *n, size_t count) {
    if (!mem_grow(d->own, (void **) &n->pages, &n->page_cap, count, sizeof(*n->pages))) return false;
    while (n->page_count < count) n->pages[n->page_count++] = (struct page){0};
    return true;
}

static void copy_sector(uint8_t *to, const uint8_t *from, unsigned sector) {
    if (from != NULL) memcpy(to + sector * SECTOR_LEN, from + sector * SECTOR_LEN, SECTOR_LEN);
    else memset(to + sector * SECTOR_LEN, 0, SECTOR_LEN);
}

/* Some sectors of the cached page reach the disk, but it stays dirty. */
static void write_back_some(struct sim_disk *d, struct page *p) {
    if (p->disk == NULL) p->disk = mem_zalloc(d->own, PAGE_LEN);
    uint64_t which = chance_next(&d->chance);
    for (unsigned i = 0; p->disk != NULL && i < PAGE_LEN / SECTOR_LEN; i++)
        if ((which >> i & 1) != 0) copy_sector(p->disk, p->now, i);
}

static void clean_page(struct sim_disk *d, struct page *p) {
    free_page_bytes(d, &p->disk);
    p->state = PAGE_CLEAN;
}

/* Makes the page different from the disk's. */
static bool dirty_page(struct sim_disk *d, struct page *p) {
    if (p->state == PAGE_CLEAN) {
        if (p->now != NULL && (p->disk = mem_copy(d->own, p->now, PAGE_LEN)) == NULL) return false;
    } else if (p->state == PAGE_DIRTY && one_in(d, 16)) {
        write_back_some(d, p);
    }
    p->state = PAGE_DIRTY;
    if (p->now == NULL) p->now = mem_zalloc(d->own, PAGE_LEN);
    return p->now != NULL;
}

bool sim_write_pages(struct sim_disk *d, struct node *n, uint64_t at, const uint8_t *p, size_t len) {
    if (len == 0) return true;
    if (!sim_grow_pages(d, n, (size_t) ((at + len + PAGE_LEN - 1) / PAGE_LEN))) return false;
    while (len != 0) {
        struct page *page = &n->pages[at / PAGE_LEN];
        size_t off = (size_t) (at % PAGE_LEN), part = len < PAGE_LEN - off ? len : PAGE_LEN - off;
        if (!dirty_page(d, page)) return false;
        memcpy(page->now + off, p, part);
        at += part;
        p += part;
        len -= part;
        if (at > n->len_now) n->len_now = at;
    }
    return true;
}

void sim_read_pages(const struct node *n, uint64_t at, uint8_t *p, size_t len) {
    while (len != 0) {
        size_t idx = (size_t) (at / PAGE_LEN), off = (size_t) (at % PAGE_LEN);
        size_t part = len < PAGE_LEN - off ? len : PAGE_LEN - off;
        if (idx < n->page_count && n->pages[idx].now != NULL) memcpy(p, n->pages[idx].now + off, part);
        else memset(p, 0, part);
        at += part;
        p += part;
        len -= part;
    }
}

bool sim_set_len(struct sim_disk *d, struct node *n, uint64_t len) {
    for (size_t i = (size_t) (len / PAGE_LEN); len < n->len_now && i < n->page_count; i++) {
        struct page *page = &n->pages[i];
        uint64_t start = i * (uint64_t) PAGE_LEN;
        if (page->now == NULL) continue;
        if (!dirty_page(d, page)) return false;
        size_t keep = start < len ? (size_t) (len - start) : 0;
        memset(page->now + keep, 0, PAGE_LEN - keep);
    }
    n->len_now = len;
    return true;
}

void sim_sync_node(struct sim_disk *d, struct node *n) {
    for (size_t i = 0; i < n->page_count; i++)
        if (n->pages[i].state == PAGE_DIRTY) clean_page(d, &n->pages[i]);
    n->len_disk = n->len_now;
}

/* A sync that fails: some pages arrive, the kernel forgets about the others. */
void sim_sync_node_badly(struct sim_disk *d, struct node *n) {
    for (size_t i = 0; i < n->page_count; i++) {
        struct page *p = &n->pages[i];
        if (p->state != PAGE_DIRTY) continue;
        switch (chance_below(&d->chance, 3)) {
        case 0: clean_page(d, p); break;
        case 1: /* dropped from the cache: reads see the disk again */
            mem_free(d->own, p->now, PAGE_LEN);
            p->now = p->disk;
            p->disk = NULL;
            p->state = PAGE_CLEAN;
            break;
        default: p->state = PAGE_FORGOTTEN;
        }
    }
    if (one_in(d, 2)) n->len_disk = n->len_now;
}

/* What the disk has of a page after the power cut. luck: 0 nothing that was not synced, 1 everything, else each its own. */
static void settle_page(struct sim_disk *d, struct page *p, uint64_t luck) {
    if (p->state == PAGE_CLEAN) return;
    if (p->state == PAGE_DIRTY) {
        uint64_t pick = luck < 2 ? luck : chance_below(&d->chance, 3);
        if (pick == 1) {
            clean_page(d, p);
            return;
        }
        if (pick == 2) write_back_some(d, p);
    }
    mem_free(d->own, p->now, PAGE_LEN);
    p->now = p->disk;
    p->disk = NULL;
    p->state = PAGE_CLEAN;
}

void sim_settle_node(struct sim_disk *d, struct node *n, uint64_t luck) {
    for (size_t i = 0; i < n->page_count; i++) settle_page(d, &n->pages[i], luck);
    uint64_t lo = n->len_disk, hi = n->len_now;
    if (lo > hi) {
        uint64_t t = lo;
        lo = hi;
        hi = t;
    }
    uint64_t pick = luck < 2 ? luck : chance_below(&d->chance, 3);
    uint64_t len = pick == 0 ? n->len_disk : pick == 1 ? n->len_now : lo + chance_below(&d->chance, hi - lo + 1);
    n->len_now = UINT64_MAX; /* so that everything past `len` is cut off */
    (void) sim_set_len(d, n, len);
    sim_sync_node(d, n);
    n->open_count = n->shared_locks = 0;
    n->is_locked = false;
}

void sim_free_node(struct sim_disk *d, struct node *n) {
    for (size_t i = 0; i < n->page_count; i++) {
        free_page_bytes(d, &n->pages[i].now);
        free_page_bytes(d, &n->pages[i].disk);
    }
    mem_free(d->own, n->pages, n->page_cap * sizeof(*n->pages));
    mem_delete(d->own, n);
}

/* --- names --- */

struct name *sim_find_name(struct table *t, const char *path) {
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->names[i].path, path) == 0) return &t->names[i];
    return NULL;
}

void sim_drop_name(struct sim_disk *d, struct table *t, const char *path) {
    struct name *n = sim_find_name(t, path);
    if (n == NULL) return;
    sim_free_text(d, n->path);
    *n = t->names[--t->count];
}

bool sim_set_name(struct sim_disk *d, struct table *t, const char *path, struct node *node) {
    struct name *n = sim_find_name(t, path);
    if (n == NULL) {
        char *copy = sim_copy_text(d, path);
        if (copy == NULL || !mem_grow(d->own, (void **) &t->names, &t->cap, t->count + 1, sizeof(*t->names))) {
            sim_free_text(d, copy);
            return false;
        }
        n = &t->names[t->count++];
        n->path = copy;
    }
    n->node = node;
    return true;
}

bool sim_is_named(const struct table *t, const struct node *node) {
    for (size_t i = 0; i < t->count; i++)
        if (t->names[i].node == node) return true;
    return false;
}

/* Frees nodes that nothing can reach any more. */
void sim_sweep(struct sim_disk *d) {
    for (struct node **at = &d->nodes; *at != NULL;) {
        struct node *n = *at;
        bool is_used = n->open_count != 0 || sim_is_named(&d->now, n) || sim_is_named(&d->stored, n);
        for (size_t i = 0; i < d->change_count && !is_used; i++) is_used = d->changes[i].node == n;
        if (is_used) {
            at = &n->next;
            continue;
        }
        *at = n->next;
        sim_free_node(d, n);
    }
}

bool sim_note_change(struct sim_disk *d, enum change_kind kind, const char *path, const char *to, struct node *node) {
    struct change c = {kind, sim_copy_text(d, path), to != NULL ? sim_copy_text(d, to) : NULL, node};
    if (c.path == NULL || (to != NULL && c.to == NULL) ||
        !mem_grow(d->own, (void **) &d->changes, &d->change_cap, d->change_count + 1, sizeof(c))) {
        sim_free_text(d, c.path);
        sim_free_text(d, c.to);
        return false;
    }
    d->changes[d->change_count++] = c;
    return true;
}

void sim_apply_change(struct sim_disk *d, const struct change *c) {
    struct name *n = sim_find_name(&d->stored, c->path);
    switch (c->kind) {
    case CHANGE_CREATE: (void) sim_set_name(d, &d->stored, c->path, c->node); break;
    case CHANGE_UNLINK:
        if (n != NULL && n->node == c->node) sim_drop_name(d, &d->stored, c->path);
        break;
    case CHANGE_RENAME:
        if (n != NULL && n->node == c->node) sim_drop_name(d, &d->stored, c->path);
        (void) sim_set_name(d, &d->stored, c->to, c->node);
        break;
    }
}

bool sim_same_directory(const char *a, const char *b) {
    const char *x = strrchr(a, '/'), *y = strrchr(b, '/');
    size_t n = x != NULL ? (size_t) (x - a) : 0, m = y != NULL ? (size_t) (y - b) : 0;
    return n == m && memcmp(a, b, n) == 0;
}

/* Makes the changes in the directory of `path` (NULL: all) durable, or forgets them. */
void sim_settle_changes(struct sim_disk *d, const char *path, bool apply) {
    size_t kept = 0;
    for (size_t i = 0; i < d->change_count; i++) {
        struct change *c = &d->changes[i];
        if (path != NULL && !sim_same_directory(c->path, path)) {
            d->changes[kept++] = *c;
            continue;
        }
        if (apply) sim_apply_change(d, c);
        sim_free_text(d, c->path);
        sim_free_text(d, c->to);
    }
    d->change_count = kept;
}
