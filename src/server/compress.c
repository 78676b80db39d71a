/* The compressors of OP_COMPRESSED. */
#include "server/compress.h"

#include <string.h>

#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

/* Answers are made while somebody waits: the fast end of each scale. MongoDB's own defaults are 6 and 3. */
#define ZLIB_LEVEL 3
#define ZSTD_LEVEL 1

static const char *const names[COMPRESSOR_COUNT] = {"noop", "snappy", "zlib", "zstd"};

const char *compressor_name(unsigned compressor) { return compressor < COMPRESSOR_COUNT ? names[compressor] : NULL; }

int compressor_find(const char *name, size_t len) {
    for (int i = 0; i < COMPRESSOR_COUNT; i++)
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0) return i;
    return -1;
}

/* snappy_uncompress writes as much as the bytes say, so what they say is looked at first. */
static bool unpack_snappy(const uint8_t *p, size_t len, uint8_t *out, size_t out_len) {
    size_t told;
    if (snappy_uncompressed_length((const char *) p, len, &told) != SNAPPY_OK || told != out_len) return false;
    return snappy_uncompress((const char *) p, len, (char *) out, &told) == SNAPPY_OK && told == out_len;
}

static bool unpack_zlib(const uint8_t *p, size_t len, uint8_t *out, size_t out_len) {
    uLongf made = out_len;
    return uncompress(out, &made, p, len) == Z_OK && made == out_len;
}

static bool unpack_zstd(const uint8_t *p, size_t len, uint8_t *out, size_t out_len) {
    size_t made = ZSTD_decompress(out, out_len, p, len);
    return !ZSTD_isError(made) && made == out_len;
}

bool unpack(uint8_t compressor, const uint8_t *p, size_t len, uint8_t *out, size_t out_len) {
    switch (compressor) {
    case COMPRESSOR_NOOP:
        if (len != out_len) return false;
        if (len != 0) memcpy(out, p, len);
        return true;
    case COMPRESSOR_SNAPPY: return unpack_snappy(p, len, out, out_len);
    case COMPRESSOR_ZLIB: return unpack_zlib(p, len, out, out_len);
    case COMPRESSOR_ZSTD: return unpack_zstd(p, len, out, out_len);
    default: return false;
    }
}

size_t pack_room(uint8_t compressor, size_t len) {
    switch (compressor) {
    case COMPRESSOR_SNAPPY: return snappy_max_compressed_length(len);
    case COMPRESSOR_ZLIB: return compressBound(len);
    case COMPRESSOR_ZSTD: return ZSTD_compressBound(len);
    default: return len;
    }
}

size_t pack(uint8_t compressor, const uint8_t *p, size_t len, uint8_t *out, size_t room) {
    size_t made = room;
    uLongf z_made = room;
    switch (compressor) {
    case COMPRESSOR_SNAPPY: return snappy_compress((const char *) p, len, (char *) out, &made) == SNAPPY_OK ? made : 0;
    case COMPRESSOR_ZLIB: return compress2(out, &z_made, p, len, ZLIB_LEVEL) == Z_OK ? z_made : 0;
    case COMPRESSOR_ZSTD: made = ZSTD_compress(out, room, p, len, ZSTD_LEVEL); return ZSTD_isError(made) ? 0 : made;
    default: memcpy(out, p, len); return len;
    }
}
