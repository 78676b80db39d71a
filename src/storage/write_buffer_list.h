/* A skip list from keys to what the write buffer knows of them, for one thread: ordered, walked both ways, nodes removed again by rollback.
 *
 * Nodes and key bytes come from memory that the caller provides. Fingers remember the last place of an insert apart for a few groups of
 * keys (by their first 4 bytes), so that ascending keys of several tables, taken in turns, are each linked without a search.
 *
 *   KL1  finger->prev[l] stands at or before finger->prev[0], for every level l. Removing a node forgets all fingers. */
#ifndef ELMO_STORAGE_WRITE_BUFFER_LIST_H
#define ELMO_STORAGE_WRITE_BUFFER_LIST_H

#include <stdbool.h>

#include "base/chance.h"
#include "base/slice.h"

#define KEY_HEIGHT_MAX 12
#define KEY_FINGER_BITS 3

struct key_version;

struct key_node {
    uint64_t head; /* first 8 key bytes, big-endian, zero padded */
    union {
        struct key_version *newest; /* of a written key; NULL when every version was rolled back */
        uint32_t since; /* of a bound: the statement since which keys from here to the next bound are deleted */
    } u;
    struct key_node *back; /* at the lowest level; NULL: the first */
    uint32_t key_len;
    uint32_t height;
    struct key_node *next[]; /* then the key */
};

struct key_finger {
    struct key_node *prev[KEY_HEIGHT_MAX]; /* NULL: before the first node */
};

struct key_list {
    struct key_node *first[KEY_HEIGHT_MAX];
    struct key_node *last;
    unsigned height;
    struct chance chance;
    struct key_finger fingers[1 << KEY_FINGER_BITS];
};

void key_list_init(struct key_list *list);

static inline struct slice key_node_key(const struct key_node *n) {
    return slice_of((const uint8_t *) &n->next[n->height], n->key_len);
}

/* The first node >= key (NULL: none). */
struct key_node *key_list_ge(const struct key_list *list, struct slice key);
/* The last node <= key (NULL: none). */
struct key_node *key_list_le(const struct key_list *list, struct slice key);

/* Where a key stands or belongs. Valid until the list changes. */
struct key_place {
    struct key_finger *finger;
    uint64_t head;
    struct key_node *found; /* NULL: the key is not there */
};
struct key_place key_list_place(struct key_list *list, struct slice key);

/* Draws the height of a new node and says how long it is. */
unsigned key_list_draw(struct key_list *list);
size_t key_node_len(size_t key_len, unsigned height);
/* Links the node made in memory `p` of key_node_len bytes at the place of an absent key. */
struct key_node *key_list_link(struct key_list *list, const struct key_place *place, struct slice key, unsigned height,
                               void *p);
void key_list_unlink(struct key_list *list, struct key_node *n);

#endif
