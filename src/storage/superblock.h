/* The superblock: the first thing read from a database, and the last thing written by a commit.
 *
 * Two slots of UNIT_LEN bytes at 0 and UNIT_LEN; generation g lies in slot g % 2. Byte table: docs/FORMAT.md, which also says
 * which bytes are promised never to move: magic, format version, feature flags, uuid, generation and checksum. */
#ifndef ELMO_STORAGE_SUPERBLOCK_H
#define ELMO_STORAGE_SUPERBLOCK_H

#include "storage/store.h"

#define SUPERBLOCK_SLOTS 2u
#define SUPERBLOCKS_LEN (SUPERBLOCK_SLOTS * (uint64_t) UNIT_LEN)
#define FORMAT_VERSION 1u
#define MANIFEST_EXTENTS_MAX 8u

/* Features: a database with a compatible one that we do not know may be read and written, one with an incompatible one may not. */
#define FEATURES_INCOMPATIBLE_KNOWN 0u

struct superblock {
    struct store_head head;
    uint32_t features_compatible, features_incompatible;
    uint64_t manifest_len;      /* bytes */
    uint64_t manifest_checksum; /* XXH3 seeded with uuid's first eight bytes */
    uint32_t manifest_extent_count;
    struct extent manifest_extents[MANIFEST_EXTENTS_MAX];
};

/* Fills a whole slot. */
void superblock_encode(const struct superblock *sb, uint8_t out[UNIT_LEN]);

enum superblock_state {
    SUPERBLOCK_EMPTY,   /* all zeros: never written */
    SUPERBLOCK_FOREIGN, /* does not begin as one of ours */
    SUPERBLOCK_PARTIAL, /* a sector of zeros and then something, or a piece of the magic alone: a first write that was torn, or foreign */
    SUPERBLOCK_TORN, /* begins as one, but the checksum is wrong */
    SUPERBLOCK_WHOLE,
};

/* Reads slot `slot`. What is WHOLE is checked further: ST_UNSUPPORTED with a text when it is of a newer format or has
 * unknown incompatible features, ST_CORRUPT when its fields contradict each other. In other states the answer is ST_OK. */
status superblock_decode(const uint8_t in[UNIT_LEN], uint32_t slot, struct superblock *out,
                         enum superblock_state *state, struct err *err);
/* The seed of the manifest's checksum. */
uint64_t superblock_seed(const struct superblock *sb);

#endif
