/* The disk of the simulated machine, and the cache before it.
 *
 *   names: path -> node, as the running system sees them (now) and as the disk has them (stored); `changes` turn stored into now
 *   node:  pages, each CLEAN (cache and disk agree), DIRTY (a sync would write it) or FORGOTTEN (a sync failed: nothing will)
 *
 * Nothing here locks: env_sim.c holds the machine's mutex around all of it. False: no memory. */
#ifndef ELMO_OS_SIM_DISK_H
#define ELMO_OS_SIM_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/chance.h"
#include "base/mem.h"

#define PAGE_LEN 4096u
#define SECTOR_LEN 512u

enum page_state { PAGE_CLEAN, PAGE_DIRTY, PAGE_FORGOTTEN };

struct page {
    uint8_t *now;  /* NULL: zeros */
    uint8_t *disk; /* when not CLEAN; NULL: zeros */
    enum page_state state;
};

struct node {
    struct node *next;
    struct page *pages;
    size_t page_count, page_cap;
    uint64_t len_now, len_disk;
    uint32_t open_count, shared_locks;
    bool is_locked;
};

struct name {
    char *path;
    struct node *node;
};

struct table {
    struct name *names;
    size_t count, cap;
};

enum change_kind { CHANGE_CREATE, CHANGE_UNLINK, CHANGE_RENAME };

struct change {
    enum change_kind kind;
    char *path, *to; /* to: of a rename */
    struct node *node;
};

struct sim_disk {
    const struct mem *own;
    struct chance chance;
    struct node *nodes;
    struct table now, stored;
    struct change *changes;
    size_t change_count, change_cap;
};

char *sim_copy_text(struct sim_disk *d, const char *s);
void sim_free_text(struct sim_disk *d, char *s); /* s may be NULL */

bool sim_grow_pages(struct sim_disk *d, struct node *n, size_t count);
bool sim_write_pages(struct sim_disk *d, struct node *n, uint64_t at, const uint8_t *p, size_t len);
void sim_read_pages(const struct node *n, uint64_t at, uint8_t *p, size_t len);
bool sim_set_len(struct sim_disk *d, struct node *n, uint64_t len);
void sim_sync_node(struct sim_disk *d, struct node *n);
/* A sync that fails: some pages arrive, the kernel forgets about the others. */
void sim_sync_node_badly(struct sim_disk *d, struct node *n);
/* The node after the power was cut. luck: 0 nothing that was not synced is there, 1 everything, else each page its own. */
void sim_settle_node(struct sim_disk *d, struct node *n, uint64_t luck);
void sim_free_node(struct sim_disk *d, struct node *n);

struct name *sim_find_name(struct table *t, const char *path); /* NULL: none */
void sim_drop_name(struct sim_disk *d, struct table *t, const char *path);
bool sim_set_name(struct sim_disk *d, struct table *t, const char *path, struct node *node);
bool sim_is_named(const struct table *t, const struct node *node);
/* Frees nodes that nothing can reach any more. */
void sim_sweep(struct sim_disk *d);

/* A change of names that the disk does not have yet; `to` of a rename, else NULL. */
bool sim_note_change(struct sim_disk *d, enum change_kind kind, const char *path, const char *to, struct node *node);
void sim_apply_change(struct sim_disk *d, const struct change *c);
bool sim_same_directory(const char *a, const char *b);
/* Makes the changes in the directory of `path` (NULL: all) durable, or forgets them. */
void sim_settle_changes(struct sim_disk *d, const char *path, bool apply);

#endif
