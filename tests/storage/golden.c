/* The bytes of format version 1 as they were on the first day: what this version writes, and must read for ever.
 * `UPDATE=1` writes the files anew; that is right only together with a new version number (docs/FORMAT.md). */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/superblock.h"
#include "storage/wal_file.h"

static uint8_t read_back[16384];

/* Compares with the file, or writes it. */
static size_t golden(const char *name, const void *p, size_t len) {
    char path[512];
    snprintf(path, sizeof(path), "%s/golden/format-1/%s", TESTS_DIR, name);
    if (getenv("UPDATE") != NULL) {
        FILE *f = fopen(path, "wb");
        cr_assert_not_null(f, "%s", path);
        cr_assert_eq(fwrite(p, 1, len, f), len);
        fclose(f);
    }
    FILE *f = fopen(path, "rb");
    cr_assert_not_null(f, "%s", path);
    size_t n = fread(read_back, 1, sizeof(read_back), f);
    fclose(f);
    cr_assert_eq(n, len, "%s has another length", name);
    for (size_t i = 0; i < len; i++)
        cr_assert_eq(read_back[i], ((const uint8_t *) p)[i], "%s differs at byte %zu", name, i);
    return n;
}

static void fill_uuid(uint8_t uuid[16]) {
    for (int i = 0; i < 16; i++) uuid[i] = (uint8_t) (0x10 + i);
}

Test(golden, superblock) {
    uint8_t bytes[UNIT_LEN];
    struct superblock sb = {.manifest_len = 5000, .manifest_checksum = 0x0123456789abcdefu, .manifest_extent_count = 2},
                      back;
    enum superblock_state state;
    sb.manifest_extents[0] = (struct extent){3 * UNIT_LEN, UNIT_LEN};
    sb.manifest_extents[1] = (struct extent){9 * UNIT_LEN, 2 * UNIT_LEN};
    sb.head = (struct store_head){
        .format_version = 1, .flags = STORE_CLEAN, .log_count = 2, .replay_lsn = 77, .generation = 7};
    fill_uuid(sb.head.uuid);
    sb.head.logs[0].id = 0xabc0000000000001u;
    sb.head.logs[1].id = 0xdef0000000000002u;
    superblock_encode(&sb, bytes);
    golden("superblock", bytes, sizeof(bytes));
    cr_assert_eq(superblock_decode(read_back, 1, &back, &state, NULL), ST_OK);
    cr_assert_eq(state, SUPERBLOCK_WHOLE);
    cr_expect(memcmp(&sb, &back, sizeof(sb)) == 0);
    cr_assert_eq(superblock_decode(read_back, 0, &back, &state, NULL), ST_OK);
    cr_expect_eq(state, SUPERBLOCK_TORN, "the slot is part of the checksum");
}

Test(golden, manifest) {
    struct manifest m, back;
    struct buf bytes;
    struct extent extents[2] = {{4 * UNIT_LEN, UNIT_LEN}, {20 * UNIT_LEN, 300 * (uint64_t) UNIT_LEN}};
    struct segment_meta seg = {.id = 300,
                               .level = 2,
                               .min_key = SLICE_LIT("apple"),
                               .max_key = SLICE_LIT("pear"),
                               .max_is_exclusive = true,
                               .min_seq = 5,
                               .max_seq = 70000,
                               .entry_count = 1000,
                               .tombstone_count = 10,
                               .range_delete_count = 1,
                               .data_len = 2000000,
                               .file_len = 1200000,
                               .large_len = 1 << 20,
                               .height = 2,
                               .root = {.at = 1100000, .len = 3000, .checksum = 0x1111222233334444u},
                               .filter = {.at = 1103000, .len = 1250, .checksum = 0x5555666677778888u},
                               .range_deletes = {.at = 1105000, .len = 60, .checksum = 3},
                               .large_list = {.at = 1106000, .len = 70, .checksum = 4},
                               .extent_count = 2,
                               .extents = extents};
    manifest_init(&m, mem_default());
    manifest_init(&back, mem_default());
    buf_init(&bytes, mem_default());
    m.last_seq = 70001;
    m.next_segment_id = 301;
    cr_assert_eq(manifest_add(&m, &seg, NULL), ST_OK);
    m.sequences = slice_of(mem_copy(mem_default(), "opaque", 6), 6);
    cr_assert_eq(manifest_encode(&m, &bytes, NULL), ST_OK);
    size_t len = golden("manifest", bytes.p, bytes.len);
    cr_assert_eq(manifest_decode(slice_of(read_back, len), &back, NULL), ST_OK);
    cr_assert_eq(back.segment_count, 1);
    cr_expect(back.last_seq == 70001 && back.segments[0].max_seq == 70000 && back.segments[0].filter.len == 1250);
    cr_expect(slice_equal(back.segments[0].max_key, seg.max_key) && back.segments[0].max_is_exclusive);
    manifest_release(&m);
    manifest_release(&back);
    buf_release(&bytes);
}

Test(golden, log) {
    static const char payload[] = "what the engine wrote";
    uint8_t bytes[WAL_HEADER_LEN + 64] = {0};
    struct wal_header h = {.id = 0xabcdef0000000003u, .salt = 0x1234u, .first_lsn = 9, .created_ms = 1700000000000u},
                      back;
    struct wal_record r = {.len = sizeof(payload), .lsn = 12, .durable_lsn = 10}, got;
    fill_uuid(h.uuid);
    strcpy(h.holder, "pid 123 on host");
    wal_header_encode(&h, bytes);
    r.checksum = wal_payload_checksum(&h, payload, sizeof(payload));
    wal_record_encode(&h, &r, bytes + WAL_HEADER_LEN);
    memcpy(bytes + WAL_HEADER_LEN + WAL_RECORD_HEAD_LEN, payload, sizeof(payload));
    size_t len = WAL_HEADER_LEN + (size_t) wal_record_room(sizeof(payload));
    golden("log", bytes, len);
    cr_assert_eq(wal_header_decode(read_back, "log", &back, NULL), ST_OK);
    cr_expect(back.id == h.id && back.salt == h.salt && strcmp(back.holder, h.holder) == 0);
    cr_assert(wal_record_decode(&back, read_back + WAL_HEADER_LEN, &got));
    cr_expect(got.lsn == 12 && got.durable_lsn == 10 && got.len == sizeof(payload) && got.checksum == r.checksum);
}
