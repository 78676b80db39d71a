/* The treap of free runs; see space.h.
 *
 *   S1  Runs are disjoint and never touch.      S2  left.at < node.at < right.at
 *   S3  node.priority >= its children's.        S4  longest = max(len, left.longest, right.longest)
 *
 * Shaped by split and join alone: every change cuts the tree at an address, mends the middle and joins the parts again.
 * Recursion is as deep as the tree: about 2.5 log2 n. */
#include "storage/space.h"

#include <assert.h>

struct space_node {
    uint64_t at, len, longest;
    uint32_t left, right, priority;
};

#define SPACE_SEED 0x656c6d6fu

void space_init(struct space *sp, const struct mem *mem) {
    *sp = (struct space){.mem = mem};
    chance_init(&sp->chance, SPACE_SEED);
}

void space_release(struct space *sp) {
    mem_free(sp->mem, sp->nodes, sp->node_cap * sizeof(*sp->nodes));
    space_init(sp, sp->mem);
}

static uint64_t longest_of(const struct space *sp, uint32_t n) { return n != 0 ? sp->nodes[n].longest : 0; }

static void mend(struct space *sp, uint32_t n) {
    struct space_node *node = &sp->nodes[n];
    uint64_t l = longest_of(sp, node->left), r = longest_of(sp, node->right), most = l > r ? l : r;
    node->longest = node->len > most ? node->len : most;
}

/* *left gets the runs that begin before `at`, *right the others. */
static void split(struct space *sp, uint32_t n, uint64_t at, uint32_t *left, uint32_t *right) {
    if (n == 0) {
        *left = *right = 0;
        return;
    }
    struct space_node *node = &sp->nodes[n];
    if (node->at < at) {
        split(sp, node->right, at, &node->right, right);
        *left = n;
    } else {
        split(sp, node->left, at, left, &node->left);
        *right = n;
    }
    mend(sp, n);
}

/* Every run of `left` begins before every run of `right`. */
static uint32_t join(struct space *sp, uint32_t left, uint32_t right) {
    if (left == 0) return right;
    if (right == 0) return left;
    uint32_t top = sp->nodes[left].priority >= sp->nodes[right].priority ? left : right;
    if (top == left) sp->nodes[left].right = join(sp, sp->nodes[left].right, right);
    else sp->nodes[right].left = join(sp, left, sp->nodes[right].left);
    mend(sp, top);
    return top;
}

status space_reserve(struct space *sp, size_t count, struct err *err) {
    /* Nodes in use never outnumber node_count; `unused` ones are a bonus that is not counted here. */
    size_t need = sp->node_count + count + 1;
    if (need > UINT32_MAX || !mem_grow(sp->mem, (void **) &sp->nodes, &sp->node_cap, need, sizeof(*sp->nodes)))
        return RAISE(err, ST_NOMEM, "map of free space");
    if (sp->node_count == 0) sp->nodes[sp->node_count++] = (struct space_node){0};
    return ST_OK;
}

/* A node of its own; space_reserve came before. */
static uint32_t new_node(struct space *sp, uint64_t at, uint64_t len) {
    uint32_t n = sp->unused;
    if (n != 0) {
        sp->unused = sp->nodes[n].left;
    } else {
        assert(sp->node_count < sp->node_cap);
        n = (uint32_t) sp->node_count++;
    }
    sp->nodes[n] = (struct space_node){at, len, len, 0, 0, (uint32_t) chance_next(&sp->chance)};
    return n;
}

static void drop_node(struct space *sp, uint32_t n) {
    sp->nodes[n] = (struct space_node){.left = sp->unused};
    sp->unused = n;
}

static uint32_t leftmost(const struct space *sp, uint32_t n) {
    while (n != 0 && sp->nodes[n].left != 0) n = sp->nodes[n].left;
    return n;
}

static uint32_t rightmost(const struct space *sp, uint32_t n) {
    while (n != 0 && sp->nodes[n].right != 0) n = sp->nodes[n].right;
    return n;
}

/* Takes one node, which is the first (or last) of the tree `*root`, out of it. */
static void unhook(struct space *sp, uint32_t *root, uint32_t n) {
    uint32_t before, from, self, after;
    split(sp, *root, sp->nodes[n].at, &before, &from);
    split(sp, from, sp->nodes[n].at + 1, &self, &after);
    assert(self == n);
    *root = join(sp, before, after);
}

status space_give(struct space *sp, struct extent e, struct err *err) {
    uint32_t left, right;
    if (e.len == 0) return ST_OK;
    if (sp->unused == 0 && sp->node_count >= sp->node_cap) TRY(space_reserve(sp, 1, err));
    if (sp->node_count == 0) TRY(space_reserve(sp, 1, err));
    split(sp, sp->root, e.at, &left, &right);
    uint32_t before = rightmost(sp, left), after = leftmost(sp, right);
    assert(before == 0 || sp->nodes[before].at + sp->nodes[before].len <= e.at);
    assert(after == 0 || e.at + e.len <= sp->nodes[after].at);
    sp->free_len += e.len;
    if (before != 0 && sp->nodes[before].at + sp->nodes[before].len == e.at) {
        e.at = sp->nodes[before].at;
        e.len += sp->nodes[before].len;
        unhook(sp, &left, before);
        drop_node(sp, before);
    }
    if (after != 0 && e.at + e.len == sp->nodes[after].at) {
        e.len += sp->nodes[after].len;
        unhook(sp, &right, after);
        drop_node(sp, after);
    }
    sp->root = join(sp, join(sp, left, new_node(sp, e.at, e.len)), right);
    return ST_OK;
}

/* Cuts off the front of the run with the lowest address that has `min`. If that one reaches the limit too early, those behind it do all the more. */
bool space_take_below(struct space *sp, uint64_t min, uint64_t max, uint64_t limit, struct extent *out) {
    assert(min <= max);
    if (min == 0 || longest_of(sp, sp->root) < min) return false;
    uint32_t n = sp->root;
    for (;;) {
        const struct space_node *node = &sp->nodes[n];
        if (longest_of(sp, node->left) >= min) n = node->left;
        else if (node->len >= min) break;
        else n = node->right;
    }
    struct space_node run = sp->nodes[n];
    if (run.at >= limit || limit - run.at < min) return false;
    if (max > limit - run.at) max = limit - run.at;
    uint64_t len = run.len < max ? run.len : max;
    unhook(sp, &sp->root, n);
    drop_node(sp, n);
    *out = (struct extent){run.at, len};
    sp->free_len -= len;
    if (len == run.len) return true;
    uint32_t left, right;
    split(sp, sp->root, run.at, &left, &right);
    sp->root = join(sp, join(sp, left, new_node(sp, run.at + len, run.len - len)), right);
    return true;
}

bool space_take_some(struct space *sp, uint64_t min, uint64_t max, struct extent *out) {
    return space_take_below(sp, min, max, UINT64_MAX, out);
}

bool space_take(struct space *sp, uint64_t len, struct extent *out) { return space_take_some(sp, len, len, out); }

/* The last run that begins before `end`. */
static uint32_t run_before(const struct space *sp, uint64_t end) {
    uint32_t best = 0;
    for (uint32_t n = sp->root; n != 0;) {
        if (sp->nodes[n].at < end) {
            best = n;
            n = sp->nodes[n].right;
        } else {
            n = sp->nodes[n].left;
        }
    }
    return best;
}

bool space_overlaps(const struct space *sp, struct extent e) {
    uint32_t n = e.len != 0 ? run_before(sp, e.at + e.len) : 0;
    return n != 0 && sp->nodes[n].at + sp->nodes[n].len > e.at;
}

struct extent space_part(const struct space *sp, struct extent e) {
    uint64_t end = e.at + e.len;
    uint32_t n = e.len != 0 ? run_before(sp, end) : 0;
    if (n == 0 || sp->nodes[n].at + sp->nodes[n].len <= e.at) return (struct extent){0, 0};
    uint64_t from = sp->nodes[n].at > e.at ? sp->nodes[n].at : e.at;
    uint64_t until = sp->nodes[n].at + sp->nodes[n].len;
    return (struct extent){from, (until < end ? until : end) - from};
}

status space_claim(struct space *sp, struct extent e, bool *out_was_free, struct err *err) {
    TRY(space_reserve(sp, 2, err));
    uint32_t n = run_before(sp, e.at + 1);
    *out_was_free =
        e.len == 0 || (n != 0 && e.len <= sp->nodes[n].len && e.at - sp->nodes[n].at <= sp->nodes[n].len - e.len);
    if (!*out_was_free || e.len == 0) return ST_OK;
    struct space_node run = sp->nodes[n];
    uint64_t before_len = e.at - run.at, after_len = run.len - before_len - e.len;
    unhook(sp, &sp->root, n);
    drop_node(sp, n);
    sp->free_len -= run.len;
    TRY(space_give(sp, (struct extent){run.at, before_len}, err)); /* reserved above: these do not fail */
    return space_give(sp, (struct extent){e.at + e.len, after_len}, err);
}

struct extent space_last(const struct space *sp) {
    uint32_t n = rightmost(sp, sp->root);
    return n != 0 ? (struct extent){sp->nodes[n].at, sp->nodes[n].len} : (struct extent){0, 0};
}

uint64_t space_longest(const struct space *sp) { return longest_of(sp, sp->root); }

static void visit_node(const struct space *sp, uint32_t n, void (*visit)(void *ctx, struct extent e), void *ctx) {
    if (n == 0) return;
    visit_node(sp, sp->nodes[n].left, visit, ctx);
    visit(ctx, (struct extent){sp->nodes[n].at, sp->nodes[n].len});
    visit_node(sp, sp->nodes[n].right, visit, ctx);
}

void space_each(const struct space *sp, void (*visit)(void *ctx, struct extent e), void *ctx) {
    visit_node(sp, sp->root, visit, ctx);
}
