/* Blocks as they lie on disk: a header, then the payload, compressed or not.
 *
 *   offset  bytes
 *   0       1      type, enum block_type
 *   1       1      compression, enum compression
 *   2       2      flags: zero. Bit 0 is kept for "an authentication tag of 16 bytes follows the payload"
 *   4       4      length of the payload before compression
 *   8       4      length of the payload as stored
 *   12      4      items in the payload: entries of a leaf, children of an inner block, else as the type says
 *   16      ...    the payload
 *
 * A block has no checksum of its own: who refers to it (struct block_ref) holds it, so that a lost, stale or misdirected write is noticed.
 * It is XXH3 over header and payload as stored, seeded with the segment's id. All integers are little endian. */
#ifndef ELMO_STORAGE_BLOCK_H
#define ELMO_STORAGE_BLOCK_H

#include "base/buf.h"
#include "storage/manifest.h"
#include "storage/segment.h"

#define BLOCK_HEADER_LEN 16u
#define BLOCK_PAYLOAD_LEN_MAX (1u << 30)
/* Of leaves and inner blocks: the longest entry, or two separators of the longest keys, and room. So much memory, and no more, can a hostile block ask for. */
#define BLOCK_NODE_LEN_MAX (64u << 20)

/* On disk: do not renumber. */
enum block_type {
    BLOCK_LEAF = 1,
    BLOCK_INNER = 2,
    BLOCK_FILTER = 3,
    BLOCK_RANGE_DELETES = 4,
    BLOCK_LARGE_LIST = 5,
};

struct block_header {
    enum block_type type;
    enum compression compression;
    uint32_t raw_len, stored_len, item_count;
};

/* Makes blocks. One thread at a time. */
struct block_packer {
    const struct mem *mem;
    enum compression compression;
    void *state; /* the compressor's, made at first use */
    size_t state_len;
    struct buf block; /* the one packed last */
};

void block_packer_init(struct block_packer *p, const struct mem *mem, enum compression compression);
void block_packer_release(struct block_packer *p);

/* Packs a payload. *out is the block, valid until the next pack; ref->len and ref->checksum are set, ref->at is the caller's.
 * A payload that compression makes less than an eighth shorter is stored as it is. Filters are never compressed. */
status block_pack(struct block_packer *p, enum block_type type, uint32_t item_count, struct slice payload,
                  uint64_t salt, struct block_ref *ref, struct slice *out, struct err *err);

/* Verifies the ref->len bytes at `block` against the reference, and the header against the type that the caller expects. NULL when all is well, else what is wrong.
 * Afterwards stored_len bytes lie at block + BLOCK_HEADER_LEN. */
const char *block_verify(const uint8_t *block, const struct block_ref *ref, uint64_t salt, enum block_type type,
                         struct block_header *out);
/* Writes the raw_len bytes of the payload to `raw`. ST_CORRUPT when the payload does not decompress to just that. */
status block_unpack(const struct mem *mem, const uint8_t *block, const struct block_header *h, uint8_t *raw,
                    struct err *err);

#endif
