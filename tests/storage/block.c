/* Framing of blocks: what is packed is unpacked, and nothing that was changed passes. */
#include "storage/block.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/chance.h"
#include "base/endian.h"
#include "base/hash.h"

#define SALT 77

static struct slice pack(struct block_packer *p, enum compression compression, struct slice payload,
                         struct block_ref *ref) {
    struct slice block;
    struct err err = ERR_INIT;
    block_packer_init(p, mem_default(), compression);
    cr_assert_eq(block_pack(p, BLOCK_LEAF, 3, payload, SALT, ref, &block, &err), ST_OK, "%s", err.text);
    return block;
}

static void fill(uint8_t *p, size_t len, bool is_random, struct chance *chance) {
    for (size_t i = 0; i < len; i++) p[i] = is_random ? (uint8_t) chance_next(chance) : (uint8_t) (i / 7 % 5);
}

Test(block, unpacks_to_what_was_packed) {
    static const size_t lens[] = {0, 1, 15, 63, 64, 65, 1000, 16384, 300000};
    struct chance chance;
    chance_init(&chance, 1);
    for (int compression = COMPRESS_NONE; compression <= COMPRESS_ZSTD; compression++) {
        for (size_t i = 0; i < 2 * sizeof(lens) / sizeof(lens[0]); i++) {
            size_t len = lens[i / 2];
            uint8_t *payload = malloc(len + 1), *raw = malloc(len + 1);
            struct block_packer p;
            struct block_ref ref = {0};
            struct block_header h;
            fill(payload, len, i % 2 == 0, &chance);
            struct slice block = pack(&p, (enum compression) compression, (struct slice){payload, len}, &ref);
            cr_assert_eq(block.len, ref.len);
            cr_assert_leq(block.len, len + BLOCK_HEADER_LEN);
            if (i % 2 == 0) cr_assert_eq(block.p[1], COMPRESS_NONE, "random bytes do not compress");
            if (i % 2 == 1 && len >= 1000) cr_assert_eq(block.p[1], compression);
            cr_assert_null(block_verify(block.p, &ref, SALT, BLOCK_LEAF, &h));
            cr_assert_eq(h.raw_len, len);
            cr_assert_eq(h.item_count, 3);
            cr_assert_eq(block_unpack(mem_default(), block.p, &h, raw, NULL), ST_OK);
            cr_assert_arr_eq(raw, payload, len);
            block_packer_release(&p);
            free(payload);
            free(raw);
        }
    }
}

Test(block, refuses_another_segments_block_another_type_and_every_flipped_bit) {
    uint8_t payload[300], copy[400];
    struct chance chance;
    struct block_packer p;
    struct block_ref ref = {0};
    struct block_header h;
    chance_init(&chance, 2);
    fill(payload, sizeof(payload), false, &chance);
    struct slice block = pack(&p, COMPRESS_LZ4, (struct slice){payload, sizeof(payload)}, &ref);
    cr_assert_not_null(block_verify(block.p, &ref, SALT + 1, BLOCK_LEAF, &h));
    cr_assert_not_null(block_verify(block.p, &ref, SALT, BLOCK_INNER, &h));
    for (size_t bit = 0; bit < block.len * 8; bit++) {
        memcpy(copy, block.p, block.len);
        copy[bit / 8] ^= (uint8_t) (1u << bit % 8);
        cr_assert_not_null(block_verify(copy, &ref, SALT, BLOCK_LEAF, &h), "bit %zu", bit);
    }
    block_packer_release(&p);
}

/* Whoever can write the block can write its checksum: then the payload must still not do harm. */
Test(block, bears_hostile_bytes_under_a_right_checksum) {
    struct chance chance;
    chance_init(&chance, 3);
    for (int round = 0; round < 6000; round++) {
        uint8_t payload[500];
        struct block_packer p;
        struct block_ref ref = {0};
        struct block_header h;
        fill(payload, sizeof(payload), false, &chance);
        struct slice block = pack(&p, (enum compression)(round % 3), (struct slice){payload, sizeof(payload)}, &ref);
        uint8_t *copy = malloc(block.len);
        memcpy(copy, block.p, block.len);
        for (uint64_t n = 1 + chance_below(&chance, 4); n > 0; n--)
            copy[chance_below(&chance, block.len)] = (uint8_t) chance_next(&chance);
        ref.checksum = hash64(copy, ref.len, SALT);
        if (block_verify(copy, &ref, SALT, BLOCK_LEAF, &h) == NULL && h.raw_len < 1 << 20) {
            uint8_t *raw = malloc(h.raw_len + 1);
            status st = block_unpack(mem_default(), copy, &h, raw, NULL);
            cr_assert(st == ST_OK || st == ST_CORRUPT);
            free(raw);
        }
        free(copy);
        block_packer_release(&p);
    }
}
