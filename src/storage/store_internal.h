/* What store.c and store_open.c share. */
#ifndef ELMO_STORAGE_STORE_INTERNAL_H
#define ELMO_STORAGE_STORE_INTERNAL_H

#include <stdio.h>

#include "os/thread.h"
#include "storage/space.h"
#include "storage/superblock.h"

struct store {
    struct env *env;
    const struct mem *mem;
    struct file *file;
    char *path; /* the real one */
    bool read_only;
    bool is_announced; /* `<path>-listen` is ours */
    uint64_t units_max;
    struct mutex commit_lock, lock;
    struct superblock current; /* the newest durable one */
    bool
        other_is_torn; /* the other slot was not whole at open: a power cut during a commit leaves it so; until the next one */
    struct space space;
    struct extent *pending; /* freed by the newest commit */
    size_t pending_count, pending_cap;
    uint64_t file_len; /* a multiple of UNIT_LEN */
    bool has_failed;
    struct err failure;
};

status store_write_superblock(struct store *s, const struct superblock *sb, struct err *err);
/* Reads and checks the manifest that sb refers to. */
status store_load_manifest(struct store *s, const struct superblock *sb, struct manifest *out, struct err *err);

#endif
