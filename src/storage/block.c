/* Framing, checksums and compression of blocks; see block.h. */
#define ZSTD_STATIC_LINKING_ONLY /* contexts in memory of our own */
#include "storage/block.h"

#include <assert.h>
#include <lz4.h>
#include <zstd.h>

#include "base/endian.h"
#include "base/hash.h"

#define ZSTD_LEVEL 3
#define LZ4_ACCELERATION 1
#define LZ4_RATIO_MAX 255u /* the most that a byte of LZ4 can stand for */

void block_packer_init(struct block_packer *p, const struct mem *mem, enum compression compression) {
    *p = (struct block_packer){.mem = mem, .compression = compression};
    buf_init(&p->block, mem);
    p->block.cap_max = (size_t) 2 * BLOCK_PAYLOAD_LEN_MAX;
}

void block_packer_release(struct block_packer *p) {
    if (p->state != NULL) mem_free(p->mem, p->state, p->state_len);
    p->state = NULL;
    buf_release(&p->block);
}

static uint32_t payload_len_max(enum block_type type) {
    return type == BLOCK_LEAF || type == BLOCK_INNER ? BLOCK_NODE_LEN_MAX : BLOCK_PAYLOAD_LEN_MAX;
}

static bool make_state(struct block_packer *p) {
    if (p->state != NULL) return true;
    p->state_len = p->compression == COMPRESS_ZSTD ? ZSTD_estimateCCtxSize(ZSTD_LEVEL) : (size_t) LZ4_sizeofState();
    p->state = mem_alloc(p->mem, p->state_len);
    return p->state != NULL;
}

static size_t compress_bound(enum compression compression, size_t len) {
    return compression == COMPRESS_ZSTD ? ZSTD_compressBound(len) : (size_t) LZ4_compressBound((int) len);
}

/* The compressed length, 0 when it does not pay. */
static size_t compress(struct block_packer *p, struct slice payload, uint8_t *to, size_t to_len) {
    size_t n = 0;
    if (p->compression == COMPRESS_LZ4) {
        int r = LZ4_compress_fast_extState(p->state, (const char *) payload.p, (char *) to, (int) payload.len,
                                           (int) to_len, LZ4_ACCELERATION);
        n = r > 0 ? (size_t) r : 0;
    } else {
        ZSTD_CCtx *ctx = ZSTD_initStaticCCtx(p->state, p->state_len);
        if (ctx == NULL) return 0;
        n = ZSTD_compressCCtx(ctx, to, to_len, payload.p, payload.len, ZSTD_LEVEL);
        if (ZSTD_isError(n)) n = 0;
    }
    return n <= payload.len - payload.len / 8 ? n : 0;
}

status block_pack(struct block_packer *p, enum block_type type, uint32_t item_count, struct slice payload,
                  uint64_t salt, struct block_ref *ref, struct slice *out, struct err *err) {
    if (payload.len > payload_len_max(type))
        return RAISE(err, ST_TOO_LARGE, "a block of %zu bytes is too large", payload.len);
    enum compression compression = type == BLOCK_FILTER || payload.len < 64 ? COMPRESS_NONE : p->compression;
    size_t room = payload.len;
    if (compression != COMPRESS_NONE) {
        size_t bound = compress_bound(compression, payload.len);
        if (bound > room) room = bound;
        if (!make_state(p)) return RAISE(err, ST_NOMEM, "out of memory for compression");
    }
    buf_clear(&p->block);
    uint8_t *block = buf_extend(&p->block, BLOCK_HEADER_LEN + room);
    if (block == NULL) return RAISE(err, ST_NOMEM, "out of memory for a block of %zu bytes", payload.len);
    size_t stored_len = 0;
    if (compression != COMPRESS_NONE) stored_len = compress(p, payload, block + BLOCK_HEADER_LEN, room);
    if (stored_len == 0) {
        compression = COMPRESS_NONE;
        stored_len = payload.len;
        if (payload.len != 0) memcpy(block + BLOCK_HEADER_LEN, payload.p, payload.len);
    }
    block[0] = (uint8_t) type;
    block[1] = (uint8_t) compression;
    put_le16(block + 2, 0);
    put_le32(block + 4, (uint32_t) payload.len);
    put_le32(block + 8, (uint32_t) stored_len);
    put_le32(block + 12, item_count);
    ref->len = (uint32_t) (BLOCK_HEADER_LEN + stored_len);
    ref->checksum = hash64(block, ref->len, salt);
    *out = (struct slice){block, ref->len};
    return ST_OK;
}

const char *block_verify(const uint8_t *block, const struct block_ref *ref, uint64_t salt, enum block_type type,
                         struct block_header *out) {
    if (ref->len < BLOCK_HEADER_LEN) return "the reference is too short";
    if (hash64(block, ref->len, salt) != ref->checksum) return "wrong checksum";
    struct block_header h = {
        .type = (enum block_type) block[0],
        .compression = (enum compression) block[1],
        .raw_len = get_le32(block + 4),
        .stored_len = get_le32(block + 8),
        .item_count = get_le32(block + 12),
    };
    if (h.type != type) return "a block of another type";
    if (get_le16(block + 2) != 0) return "unknown flags";
    if (h.stored_len != ref->len - BLOCK_HEADER_LEN) return "wrong length";
    if (h.raw_len > payload_len_max(type)) return "too large";
    switch (h.compression) {
    case COMPRESS_NONE:
        if (h.raw_len != h.stored_len) return "wrong length";
        break;
    case COMPRESS_LZ4:
        if (h.raw_len / LZ4_RATIO_MAX > h.stored_len) return "a payload that cannot be so long";
        break;
    case COMPRESS_ZSTD: break;
    default: return "unknown compression";
    }
    *out = h;
    return NULL;
}

static status unpack_zstd(const struct mem *mem, const uint8_t *from, const struct block_header *h, uint8_t *raw,
                          struct err *err) {
    size_t ctx_len = ZSTD_estimateDCtxSize();
    void *space = mem_alloc(mem, ctx_len);
    if (space == NULL) return RAISE(err, ST_NOMEM, "out of memory for decompression");
    ZSTD_DCtx *ctx = ZSTD_initStaticDCtx(space, ctx_len);
    size_t n = ctx != NULL ? ZSTD_decompressDCtx(ctx, raw, h->raw_len, from, h->stored_len) : SIZE_MAX;
    mem_free(mem, space, ctx_len);
    return n == h->raw_len ? ST_OK : RAISE(err, ST_CORRUPT, "a block that does not decompress");
}

status block_unpack(const struct mem *mem, const uint8_t *block, const struct block_header *h, uint8_t *raw,
                    struct err *err) {
    const uint8_t *from = block + BLOCK_HEADER_LEN;
    if (h->compression == COMPRESS_ZSTD) return unpack_zstd(mem, from, h, raw, err);
    if (h->compression == COMPRESS_NONE) {
        if (h->raw_len != 0) memcpy(raw, from, h->raw_len);
        return ST_OK;
    }
    int n = LZ4_decompress_safe((const char *) from, (char *) raw, (int) h->stored_len, (int) h->raw_len);
    return n >= 0 && (uint32_t) n == h->raw_len ? ST_OK : RAISE(err, ST_CORRUPT, "a block that does not decompress");
}
