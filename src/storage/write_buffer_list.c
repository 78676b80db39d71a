/* The write buffer's skip list; see write_buffer_list.h. One node in four rises a level. */
#include "storage/write_buffer_list.h"

#include <assert.h>

#include "base/endian.h"

void key_list_init(struct key_list *list) {
    *list = (struct key_list){.height = 1};
    chance_init(&list->chance, 0x77726974656275u);
}

static inline uint64_t head_of(struct slice key) {
    if (key.len >= 8) return get_be64(key.p);
    uint8_t head[8] = {0};
    if (key.len != 0) memcpy(head, key.p, key.len);
    return get_be64(head);
}

static inline int compare(const struct key_node *n, struct slice key, uint64_t head) {
    if (n->head != head) return n->head < head ? -1 : 1;
    struct slice a = key_node_key(n);
    size_t common = a.len < key.len ? a.len : key.len;
    int c = common > 8 ? memcmp(a.p + 8, key.p + 8, common - 8) : 0;
    return c != 0 ? c : (a.len > key.len) - (a.len < key.len);
}

static inline struct key_node *next_of(const struct key_list *list, const struct key_node *n, unsigned level) {
    return n != NULL ? n->next[level] : list->first[level];
}

/* The first node >= key; prev, when given, gets the last node < key (NULL: none) of every level. */
static struct key_node *find(const struct key_list *list, struct slice key, uint64_t head, struct key_node **prev) {
    struct key_node *n = NULL, *not_less = NULL;
    for (unsigned level = list->height; level-- > 0;) {
        struct key_node *next = next_of(list, n, level);
        while (next != NULL && next != not_less && compare(next, key, head) < 0) {
            n = next;
            next = n->next[level];
        }
        not_less = next;
        if (prev != NULL) prev[level] = n;
    }
    return not_less;
}

struct key_node *key_list_ge(const struct key_list *list, struct slice key) {
    return find(list, key, head_of(key), NULL);
}

struct key_node *key_list_le(const struct key_list *list, struct slice key) {
    uint64_t head = head_of(key);
    struct key_node *prev[KEY_HEIGHT_MAX];
    struct key_node *n = find(list, key, head, prev);
    return n != NULL && compare(n, key, head) == 0 ? n : prev[0];
}

struct key_place key_list_place(struct key_list *list, struct slice key) {
    uint64_t head = head_of(key);
    struct key_finger *f = &list->fingers[(uint32_t) (head >> 32) * 0x9e3779b1u >> (32 - KEY_FINGER_BITS)];
    struct key_node *n = f->prev[0];
    struct key_node *next = NULL;
    if (n != NULL && compare(n, key, head) < 0) next = n->next[0];
    else n = NULL;
    if (n != NULL && (next == NULL || compare(next, key, head) >= 0)) {
        for (unsigned l = 1; l < list->height; l++) { /* KL1 */
            struct key_node *at = f->prev[l], *ahead;
            if (at == n) continue;
            while ((ahead = next_of(list, at, l)) != NULL && ahead != next && compare(ahead, key, head) < 0) at = ahead;
            f->prev[l] = at;
        }
    } else {
        next = find(list, key, head, f->prev);
    }
    bool is_there = next != NULL && compare(next, key, head) == 0;
    return (struct key_place){f, head, is_there ? next : NULL};
}

unsigned key_list_draw(struct key_list *list) {
    uint64_t r = chance_next(&list->chance) | (uint64_t) 1 << 62;
    unsigned height = 1 + (unsigned) __builtin_ctzll(r) / 2;
    return height < KEY_HEIGHT_MAX ? height : KEY_HEIGHT_MAX;
}

size_t key_node_len(size_t key_len, unsigned height) {
    return sizeof(struct key_node) + height * sizeof(struct key_node *) + key_len;
}

struct key_node *key_list_link(struct key_list *list, const struct key_place *place, struct slice key, unsigned height,
                               void *p) {
    struct key_node *n = p;
    assert(place->found == NULL);
    n->head = place->head;
    n->key_len = (uint32_t) key.len;
    n->height = height;
    if (key.len != 0) memcpy((uint8_t *) &n->next[height], key.p, key.len);
    if (height > list->height) list->height = height;
    for (unsigned l = 0; l < height; l++) {
        struct key_node *prev = place->finger->prev[l];
        struct key_node **link = prev != NULL ? &prev->next[l] : &list->first[l];
        assert(prev == NULL || compare(prev, key, place->head) < 0);
        assert(*link == NULL || compare(*link, key, place->head) > 0);
        n->next[l] = *link;
        *link = n;
        if (l == 0) n->back = prev;
        place->finger->prev[l] = n;
    }
    if (n->next[0] != NULL) n->next[0]->back = n;
    else list->last = n;
    return n;
}

void key_list_unlink(struct key_list *list, struct key_node *n) {
    struct key_node *prev[KEY_HEIGHT_MAX];
    struct key_node *at = find(list, key_node_key(n), n->head, prev);
    assert(at == n);
    (void) at;
    for (unsigned l = 0; l < n->height; l++) {
        struct key_node **link = prev[l] != NULL ? &prev[l]->next[l] : &list->first[l];
        assert(*link == n);
        *link = n->next[l];
    }
    if (n->next[0] != NULL) n->next[0]->back = n->back;
    else list->last = n->back;
    memset(list->fingers, 0, sizeof(list->fingers));
}
