/* Things that stand at paths (operators of an update, fields of a projection), as a tree that is walked beside a
 * document.
 *
 *   T1  Children are in the order in which MongoDB adds new fields: positions by number, then names by bytes. No two
 * have the same name. T2  A node has either a leaf or children: nothing stands at a path that leads on to something
 * else. */
#ifndef ELMO_EVAL_PATH_TREE_H
#define ELMO_EVAL_PATH_TREE_H

#include "base/arena.h"
#include "base/err.h"
#include "bson/path.h"
#include "eval/fields.h"

struct path_node {
    struct field_name name;
    int64_t idx;      /* the position that the name spells, or -1 */
    const void *leaf; /* what stands here; NULL: children */
    uint32_t child_count;
    struct path_node *children;
    uint32_t made_count; /* for projections: children that make fields, in the order of the specification */
    const struct path_node **made;
    uint32_t order;
};

struct path_place {
    const struct path *path;
    const void *leaf;
};

/* Two places that break T2, in the order in which they were given. */
struct path_collision {
    bool found;
    const struct path *first, *second;
};

/* Nodes live in the arena. Costs n log n. Fails only for want of memory; a collision is an answer, the tree is then
 * unusable. */
status path_tree_build(struct arena *arena, const struct path_place *places, uint32_t count, struct path_node *root,
                       struct path_collision *collision, struct err *err);
/* The child of that name, NULL. */
const struct path_node *path_tree_find(const struct path_node *node, const struct field *field);

/* Which children of a node have been met in a document. */
struct path_seen {
    uint64_t word, *words; /* `words` for more than 64 children */
    uint32_t left;
};

/* Words for large nodes come from the arena; false without memory. `s` must stay where it is. */
static inline bool path_seen_init(struct path_seen *s, struct arena *arena, const struct path_node *node) {
    *s = (struct path_seen){.left = node->child_count};
    s->words = node->child_count <= 64 ? &s->word : arena_array(arena, uint64_t, node->child_count / 64 + 1);
    return s->words != NULL;
}

static inline bool path_seen_has(const struct path_seen *s, uint32_t i) {
    return (s->words[i / 64] >> (i % 64) & 1) != 0;
}

static inline void path_seen_add(struct path_seen *s, uint32_t i) {
    s->words[i / 64] |= UINT64_C(1) << (i % 64);
    s->left--;
}

#endif
