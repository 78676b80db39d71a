/* Bytes of a superblock slot; see superblock.h and docs/FORMAT.md.
 *
 *      0   8  magic 89 'E' 'L' 'M' 'O' 0d 0a 1a
 *      8   4  format version          12   4  compatible features      16   4  incompatible features   20  4  unit (4096)
 *     24  16  uuid                    40   8  generation               48   8  zero
 *     56   4  flags                   60   4  number of logs           64   8  replay_lsn
 *     72   8  manifest length         80   8  manifest checksum        88   4  manifest extents        92  4  zero
 *     96 128  8 x (at 8, len 8): where the manifest lies
 *    256 512  64 x log id
 *    768 512  encryption parameters: zero in version 1
 *   1280 256  root of the table of pending extents and their owners: zero in version 1
 *   4088   8  checksum: XXH3 of the 4088 bytes before, seeded with the slot's number */
#include "storage/superblock.h"

#include <assert.h>
#include <inttypes.h>

#include "base/endian.h"
#include "base/hash.h"

static const uint8_t magic[8] = {0x89, 'E', 'L', 'M', 'O', 0x0d, 0x0a, 0x1a};

#define SECTOR_LEN 512 /* what a disk writes whole */

enum place {
    AT_VERSION = 8,
    AT_COMPATIBLE = 12,
    AT_INCOMPATIBLE = 16,
    AT_UNIT = 20,
    AT_UUID = 24,
    AT_GENERATION = 40,
    AT_FLAGS = 56,
    AT_LOG_COUNT = 60,
    AT_REPLAY_LSN = 64,
    AT_MANIFEST_LEN = 72,
    AT_MANIFEST_CHECKSUM = 80,
    AT_MANIFEST_EXTENT_COUNT = 88,
    AT_MANIFEST_EXTENTS = 96,
    AT_LOGS = 256,
    AT_CHECKSUM = 4088,
};

static uint32_t slot_of(uint64_t generation) { return (uint32_t) (generation % SUPERBLOCK_SLOTS); }

uint64_t superblock_seed(const struct superblock *sb) { return get_le64(sb->head.uuid); }

void superblock_encode(const struct superblock *sb, uint8_t out[UNIT_LEN]) {
    const struct store_head *head = &sb->head;
    assert(head->log_count <= STORE_LOGS_MAX && sb->manifest_extent_count <= MANIFEST_EXTENTS_MAX);
    memset(out, 0, UNIT_LEN);
    memcpy(out, magic, sizeof(magic));
    put_le32(out + AT_VERSION, head->format_version);
    put_le32(out + AT_COMPATIBLE, sb->features_compatible);
    put_le32(out + AT_INCOMPATIBLE, sb->features_incompatible);
    put_le32(out + AT_UNIT, UNIT_LEN);
    memcpy(out + AT_UUID, head->uuid, sizeof(head->uuid));
    put_le64(out + AT_GENERATION, head->generation);
    put_le32(out + AT_FLAGS, head->flags);
    put_le32(out + AT_LOG_COUNT, head->log_count);
    put_le64(out + AT_REPLAY_LSN, head->replay_lsn);
    put_le64(out + AT_MANIFEST_LEN, sb->manifest_len);
    put_le64(out + AT_MANIFEST_CHECKSUM, sb->manifest_checksum);
    put_le32(out + AT_MANIFEST_EXTENT_COUNT, sb->manifest_extent_count);
    for (uint32_t i = 0; i < sb->manifest_extent_count; i++) {
        put_le64(out + AT_MANIFEST_EXTENTS + i * 16, sb->manifest_extents[i].at);
        put_le64(out + AT_MANIFEST_EXTENTS + i * 16 + 8, sb->manifest_extents[i].len);
    }
    for (uint32_t i = 0; i < head->log_count; i++) put_le64(out + AT_LOGS + i * 8, head->logs[i].id);
    put_le64(out + AT_CHECKSUM, hash64(out, AT_CHECKSUM, slot_of(head->generation)));
}

static bool is_zero(const uint8_t *p, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (p[i] != 0) return false;
    return true;
}

/* What a first write into an empty slot can leave when it is cut: not even the first sector, or a part of the magic. */
static bool is_partial(const uint8_t *in) {
    size_t n = 0;
    while (n < sizeof(magic) && in[n] == magic[n]) n++;
    return n > 0 ? is_zero(in + n, UNIT_LEN - n) : is_zero(in, SECTOR_LEN);
}

static void read_fields(const uint8_t *in, struct superblock *sb) {
    struct store_head *head = &sb->head;
    *sb = (struct superblock){0};
    head->format_version = get_le32(in + AT_VERSION);
    sb->features_compatible = get_le32(in + AT_COMPATIBLE);
    sb->features_incompatible = get_le32(in + AT_INCOMPATIBLE);
    memcpy(head->uuid, in + AT_UUID, sizeof(head->uuid));
    head->generation = get_le64(in + AT_GENERATION);
    head->flags = get_le32(in + AT_FLAGS);
    head->log_count = get_le32(in + AT_LOG_COUNT);
    head->replay_lsn = get_le64(in + AT_REPLAY_LSN);
    sb->manifest_len = get_le64(in + AT_MANIFEST_LEN);
    sb->manifest_checksum = get_le64(in + AT_MANIFEST_CHECKSUM);
    sb->manifest_extent_count = get_le32(in + AT_MANIFEST_EXTENT_COUNT);
    for (uint32_t i = 0; i < sb->manifest_extent_count && i < MANIFEST_EXTENTS_MAX; i++) {
        sb->manifest_extents[i].at = get_le64(in + AT_MANIFEST_EXTENTS + i * 16);
        sb->manifest_extents[i].len = get_le64(in + AT_MANIFEST_EXTENTS + i * 16 + 8);
    }
    for (uint32_t i = 0; i < head->log_count && i < STORE_LOGS_MAX; i++)
        head->logs[i].id = get_le64(in + AT_LOGS + i * 8);
}

/* Fields that a right checksum does not vouch for in a file made by an enemy. */
static status check_fields(const uint8_t *in, uint32_t slot, const struct superblock *sb, struct err *err) {
    uint64_t room = 0;
    if (sb->head.format_version != FORMAT_VERSION)
        return RAISE(err, ST_UNSUPPORTED, "the database has format version %" PRIu32 "; this version of elmo reads %u",
                     sb->head.format_version, FORMAT_VERSION);
    if ((sb->features_incompatible & ~FEATURES_INCOMPATIBLE_KNOWN) != 0)
        return RAISE(err, ST_UNSUPPORTED,
                     "the database uses features (0x%" PRIx32 ") that this version of elmo does not know",
                     sb->features_incompatible & ~FEATURES_INCOMPATIBLE_KNOWN);
    if (get_le32(in + AT_UNIT) != UNIT_LEN || sb->head.generation == 0 || slot_of(sb->head.generation) != slot ||
        sb->head.log_count > STORE_LOGS_MAX || sb->manifest_extent_count > MANIFEST_EXTENTS_MAX)
        return RAISE(err, ST_CORRUPT, "superblock %" PRIu32 ": its fields contradict each other", slot);
    for (uint32_t i = 0; i < sb->manifest_extent_count; i++) {
        const struct extent *e = &sb->manifest_extents[i];
        if (e->at % UNIT_LEN != 0 || e->len % UNIT_LEN != 0 || e->len == 0 || e->at < SUPERBLOCKS_LEN ||
            e->len > INT64_MAX / MANIFEST_EXTENTS_MAX || e->at > (uint64_t) INT64_MAX - e->len)
            return RAISE(err, ST_CORRUPT, "superblock %" PRIu32 ": the manifest's place is wrong", slot);
        room += e->len;
    }
    if (sb->manifest_len > room)
        return RAISE(err, ST_CORRUPT, "superblock %" PRIu32 ": the manifest's length is wrong", slot);
    return ST_OK;
}

status superblock_decode(const uint8_t in[UNIT_LEN], uint32_t slot, struct superblock *out,
                         enum superblock_state *state, struct err *err) {
    if (memcmp(in, magic, sizeof(magic)) != 0) {
        *state = is_zero(in, UNIT_LEN) ? SUPERBLOCK_EMPTY : is_partial(in) ? SUPERBLOCK_PARTIAL : SUPERBLOCK_FOREIGN;
        return ST_OK;
    }
    *state = SUPERBLOCK_TORN;
    if (hash64(in, AT_CHECKSUM, slot) != get_le64(in + AT_CHECKSUM)) return ST_OK;
    *state = SUPERBLOCK_WHOLE;
    read_fields(in, out);
    return check_fields(in, slot, out, err);
}
